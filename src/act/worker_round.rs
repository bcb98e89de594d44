//! An apply round of `unwedge-worker` from the decision on: store what was seen, strike out a debt that
//! is paid, and, when every gate is open and there is something to do, take the locks and do it. A start
//! is written down before it is made, as one that failed; only one that was seen to stay up is not.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::failpoint::{self, Moment};
use super::incidents::Book;
use super::lock::{self, Tried};
use super::outcome::{Ended, Outcome, in_order, refused, touched};
use super::permission::{not_forbidden, still_permitted};
use super::{store, worker};
use crate::config::sentinel::Kind;
use crate::config::{Settings, Worker};
use crate::decide::budget::DAY;
use crate::decide::incidents::of_worker;
use crate::decide::plan::{Hold, Plan, Reason, Repair, Step, Verb};
use crate::decide::worker::{Decision, has_lasted};
use crate::manifest::WORKER;
use crate::probes::records::{self, Debts, Rehearsal, WorkerStart, WorkerState};
use crate::probes::worker::{self as probe, WorkerLook};
use crate::probes::worker_facts::WorkerFacts;
use crate::sys::clock::{Deadline, Now};

/// What is left of the deadline for the report when acting ends.
const RESERVE: Duration = Duration::from_secs(5);

/// What came of a round.
#[derive(Debug, Default)]
pub struct WorkerActed {
    /// One for each step that was to be done.
    pub outcomes: Vec<Outcome>,
    /// Holds that turned up only when it came to acting.
    pub holds: Vec<Hold>,
    /// The state as stored.
    pub state: WorkerState,
    /// What is still owed.
    pub debts: Debts,
    /// A second look, when something was done.
    pub present: Option<WorkerLook>,
    /// Why something could not be stored: then nothing, or nothing more, was done.
    pub trouble: Option<String>,
}

/// Carries out a decision. What goes wrong on the way is in the answer, beside what was done before.
#[must_use]
pub fn carry_out(
    settings: &Settings,
    worker: &Worker,
    facts: &WorkerFacts,
    decision: &Decision,
    rehearsal: Rehearsal,
    deadline: Deadline,
) -> WorkerActed {
    let mut acted = WorkerActed {
        state: facts.state.clone(),
        debts: facts.debts.clone(),
        ..Default::default()
    };
    if facts.gates.unreadable.is_some() {
        // what cannot be read is not overwritten either
        return acted;
    }
    store::sweep_of(&WORKER, &settings.host, &facts.now);
    acted.state.rehearsal = Some(rehearsal);
    acted.state.watched.clone_from(&decision.watched);
    let book = Book::of(settings, &WORKER);
    let mut round =
        Round { settings, worker, facts, acted, book, deadline: deadline.less(RESERVE) };
    let holds = &decision.plan.holds;
    round.book.follow(&[of_worker(&facts.look, holds)], holds, &round.acted.debts, &facts.now);
    let done =
        round.take_note().context("store what was seen").and_then(|()| round.act(&decision.plan));
    if let Err(error) = done {
        round.acted.trouble = Some(format!("{error:#}"));
    }
    if !round.acted.outcomes.is_empty() {
        let present = probe::glance(settings, worker);
        let now = Now::take().unwrap_or_else(|_| facts.now.clone());
        // a reason from before the act is none any more
        let late = [of_worker(&present, &round.acted.holds)];
        round.book.follow(&late, &round.acted.holds, &round.acted.debts, &now);
        round.acted.present = Some(present);
    }
    if let Some(trouble) = round.book.trouble() {
        round.acted.trouble.get_or_insert_with(|| trouble.to_owned());
    }
    round.acted
}

struct Round<'a> {
    settings: &'a Settings,
    worker: &'a Worker,
    facts: &'a WorkerFacts,
    acted: WorkerActed,
    book: Book,
    deadline: Deadline,
}

impl Round<'_> {
    /// Forgets starts that are older than a day, but for the last, and failures that a worker has outlived.
    fn take_note(&mut self) -> Result<()> {
        let (state, now) = (&mut self.acted.state, &self.facts.now);
        if self.facts.look.state.is_up() && has_lasted(state, &self.worker.budget, now) {
            state.failed = 0;
        }
        let last = state.starts.pop();
        state.starts.retain(|start| now.since(&start.at).known().is_none_or(|age| age < DAY));
        state.starts.extend(last);
        self.store()
    }

    fn store(&self) -> Result<()> {
        store::record(&self.settings.host.state_dir, &self.acted.state)
    }

    /// Acts as far as the locks let it.
    fn act(&mut self, plan: &Plan) -> Result<()> {
        let facts = self.facts;
        let known = facts.debts.of_worker(&facts.look.name);
        let paid = known.is_some() && facts.look.state.is_up();
        if plan.performed(known.is_some()).repairs.is_empty() && !paid {
            return Ok(());
        }
        let Tried::Locked(_act) = lock::act(&self.settings.host.run_dir)? else {
            let detail = "another tool is acting".to_owned();
            self.acted.holds.push(Hold::gate(Reason::Busy, detail));
            return Ok(());
        };
        // another tool may have written since the look
        let state_dir = &self.settings.host.state_dir;
        self.acted.debts = records::read(state_dir, &Now::take()?).context("read what is owed")?;
        if paid {
            // another debt than was known is of a stop that the look did not see
            let is_it = self.acted.debts.of_worker(&facts.look.name) == known;
            return if is_it { self.strike_out() } else { Ok(()) };
        }
        let is_owed = self.is_owed();
        let plan = &plan.performed(known.is_some() && is_owed);
        if plan.repairs.is_empty() {
            return Ok(());
        }
        let _deploy = match lock::no_deploy(&self.settings.gates.deploy_lock) {
            Ok(lock) => lock,
            Err(hold) => {
                self.acted.holds.push(hold);
                return Ok(());
            }
        };
        for repair in &plan.repairs {
            match repair.kind {
                Kind::Recover => self.give_back(repair),
                _ if self.rows_are_left() && !is_owed => self.leave(repair),
                _ => self.perform(repair, is_owed)?,
            }
        }
        Ok(())
    }

    /// Whether an earlier round stopped the worker and owes it a start.
    fn is_owed(&self) -> bool {
        self.acted.debts.of_worker(&self.facts.look.name).is_some()
    }

    /// Gives rows back, before anybody is started who could take them.
    fn give_back(&mut self, repair: &Repair) {
        let outcomes = self.recorded(repair);
        self.take(outcomes);
    }

    /// Performs the steps, and writes down before and after that they were.
    fn recorded(&mut self, repair: &Repair) -> Vec<Outcome> {
        let now = || Now::take().unwrap_or_else(|_| self.facts.now.clone());
        self.book.begun(repair, &now());
        let outcomes = self.steps(repair);
        self.book.ended(repair, &outcomes, &now());
        outcomes
    }

    /// Whether rows were to go back and did not.
    fn rows_are_left(&self) -> bool {
        !self.acted.outcomes.iter().all(Outcome::ok)
    }

    /// Not done, because of the rows.
    fn leave(&mut self, repair: &Repair) {
        let why = "the rows that are left did not go back".to_owned();
        let outcomes = refused(repair, Reason::RunningJobsPresent, why);
        self.take(outcomes);
    }

    /// Takes note of what came of a repair; what was refused at the last moment is a hold.
    fn take(&mut self, outcomes: Vec<Outcome>) {
        self.acted.holds.extend(outcomes.iter().filter_map(Outcome::hold));
        self.acted.outcomes.extend(outcomes);
    }

    /// Written down first, done second, and then written down what came of it.
    fn perform(&mut self, repair: &Repair, is_owed: bool) -> Result<()> {
        let before = self.acted.state.clone();
        let at = Now::take()?.stamp();
        self.acted.state.starts.push(WorkerStart { at, owed: is_owed });
        self.acted.state.failed = before.failed.saturating_add(1);
        self.acted.state.totals.failed = before.totals.failed.saturating_add(1);
        self.store().context("write down the start")?;
        let outcomes = self.recorded(repair);
        let (touched, up) = (touched(&outcomes), outcomes.last().is_some_and(Outcome::ok));
        self.take(outcomes);
        if !touched {
            // what was refused before anything was done costs nothing
            self.acted.state = before;
        } else if up {
            let state = &mut self.acted.state;
            state.totals.failed = before.totals.failed;
            state.totals.ok = before.totals.ok.saturating_add(1);
        }
        self.store().context("write down what came of the start")?;
        if up && is_owed { self.strike_out() } else { Ok(()) }
    }

    fn steps(&self, repair: &Repair) -> Vec<Outcome> {
        in_order(repair, |step| self.step(step))
    }

    fn step(&self, step: &Step) -> Ended {
        let permitted = match step.verb() {
            Verb::RecoverJobs => still_permitted(self.settings, Kind::Recover, self.deadline),
            _ if self.is_owed() => not_forbidden(self.settings, Kind::Worker, self.deadline),
            _ => still_permitted(self.settings, Kind::Worker, self.deadline),
        };
        if let Err(ended) = permitted {
            return ended;
        }
        failpoint::reached(Moment::Before, step.verb().name());
        let owed = self.acted.debts.of_worker(&self.facts.look.name);
        let ended = worker::step(
            self.settings,
            step,
            worker::Before { owed, is_aborted: false },
            self.deadline,
        );
        failpoint::reached(Moment::After, step.verb().name());
        ended
    }

    /// Strikes out the debt of a worker that is seen up. Under `act.lock`.
    fn strike_out(&mut self) -> Result<()> {
        let name = &self.facts.look.name;
        self.acted.debts.debts.retain(|debt| !debt.is_of_worker(name));
        store::record(&self.settings.host.state_dir, &self.acted.debts)
            .context("strike out the debt")
    }
}
