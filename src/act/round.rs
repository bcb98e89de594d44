//! An apply round from the decision on: store what was seen, settle what is paid, and, when every
//! gate is open and there is something to do, take the locks and do it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::incidents::Book;
use super::lock::{self, Lock, Tried};
use super::outcome::Outcome;
use super::perform::Actor;
use super::{storage_gate, store};
use crate::config::{Loaded, Settings};
use crate::decide::incidents::{forgotten, of_heartbeats, of_mounts};
use crate::decide::mounts::Decision;
use crate::decide::plan::{Hold, Plan, Reason};
use crate::manifest::{BINDS, MOUNTS, Tool};
use crate::probes::facts::{self, Facts};
use crate::probes::gate;
use crate::probes::mounts::{self, Observation};
use crate::probes::records::{Debts, MountsState, Rehearsal};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::sys::clock::{Deadline, Now};

/// What is left of the deadline for looking again, and for the report, when acting ends.
const RESERVE: Duration = Duration::from_secs(15);

/// Whether this run may act at all. An apply round has the tool's lock before it looks, so that two
/// rounds never decide on the same facts; a dry run takes none.
#[derive(Debug)]
pub enum Turn {
    /// It only looks.
    DryRun,
    /// It may, as long as this is held.
    Apply(Lock),
    /// Another round is at work.
    Busy,
}

/// Takes the lock of `tool`'s rounds where one is to act, waiting for another round at most `wait`.
///
/// # Errors
/// The lock cannot be opened.
pub fn turn(settings: &Settings, tool: &Tool, apply: bool, wait: Duration) -> Result<Turn> {
    if !apply {
        return Ok(Turn::DryRun);
    }
    Ok(match lock::within(&settings.host.run_dir, tool.name, wait)? {
        Tried::Locked(lock) => Turn::Apply(lock),
        Tried::Busy => Turn::Busy,
    })
}

/// The plan for the person who is about to arm.
#[must_use]
pub fn rehearsal(loaded: &Loaded, plan: &Plan, text: &str, now: &Now) -> Rehearsal {
    Rehearsal {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: loaded.digest(),
        at: now.stamp(),
        plan_id: plan.id(),
        plan: text.lines().map(str::to_owned).collect(),
    }
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Acted {
    /// One for each step that was to be done.
    pub outcomes: Vec<Outcome>,
    /// Holds that turned up only when it came to acting.
    pub holds: Vec<Hold>,
    /// The state as stored.
    pub state: MountsState,
    /// What is still owed.
    pub debts: Debts,
    /// A second look, when something was done.
    pub present: Option<Vec<Observation>>,
    /// How many incidents are open, if that is known.
    pub incidents: Option<usize>,
    /// Why something could not be stored: then nothing, or nothing more, was done.
    pub trouble: Option<String>,
}

/// Carries out a decision. What goes wrong on the way is in the answer, beside what was done before.
#[must_use]
pub fn carry_out(
    tool: &'static Tool,
    settings: &Settings,
    facts: &Facts,
    decision: &Decision,
    rehearsal: Option<Rehearsal>,
    deadline: Deadline,
) -> Acted {
    let mut acted = Acted { state: facts.state.clone(), ..Acted::default() };
    if facts.gates.unreadable.is_some() {
        // what cannot be read is not overwritten either
        return acted;
    }
    sweep(settings, &facts.now);
    let mut actor = Actor {
        settings,
        looked_at: &facts.looked_at,
        observations: &facts.survey.observations,
        work: &facts.work,
        worker: facts.worker.as_ref(),
        broken: &decision.broken,
        deadline: deadline.less(RESERVE),
        state: facts.state.clone(),
        debts: facts.debts.clone(),
        book: Book::of(settings, tool),
    };
    let (holds, sightings) = (&decision.plan.holds, &decision.sightings);
    let mut seen = of_mounts(settings, actor.observations, sightings, holds, &facts.now);
    if !matches!(facts.work, Work::Unknown(_)) {
        seen.extend(forgotten(actor.book.open(), actor.observations));
    }
    seen.extend(of_heartbeats(&facts.heartbeats, actor.book.open()));
    actor.book.follow(&seen, holds, &actor.debts, &facts.now);
    actor.state.rehearsal = rehearsal.or(actor.state.rehearsal);
    let mut outcomes = Vec::new();
    let done = actor
        .take_note(decision.sightings.clone(), &facts.now)
        .context("store what was seen")
        .and_then(|()| act(&mut actor, &decision.plan, &mut outcomes));
    match done {
        Ok(holds) => acted.holds = holds,
        Err(error) => acted.trouble = Some(format!("{error:#}")),
    }
    let before = Now::take().unwrap_or_else(|_| facts.looked_at.clone());
    acted.present = (!outcomes.is_empty()).then(|| {
        let remembered = facts::remembered(&actor.state, &actor.debts);
        mounts::survey(settings, &remembered, false, deadline.left() / 2).observations
    });
    let seen = acted.present.as_deref().unwrap_or(&facts.survey.observations);
    let looked_at = if acted.present.is_some() { &before } else { &facts.looked_at };
    let gate = storage_gate::write(settings, seen, &BTreeSet::new(), looked_at);
    if let Err(error) = gate.context("write the storage gate") {
        acted.trouble.get_or_insert(format!("{error:#}"));
    }
    if let Some(present) = &acted.present {
        let now = Now::take().unwrap_or_else(|_| facts.now.clone());
        // nothing is confirmed by a second look: what is bad in it opens nothing
        let seen = of_mounts(settings, present, &[], &acted.holds, &now);
        actor.book.follow(&seen, &acted.holds, &actor.debts, &now);
    }
    acted.incidents = actor.book.count();
    if let Some(trouble) = actor.book.trouble() {
        acted.trouble.get_or_insert_with(|| trouble.to_owned());
    }
    acted.outcomes = outcomes;
    acted.debts = actor.debts;
    acted.state = actor.state;
    acted
}

/// Acts as far as the locks let it; the holds that turn up.
fn act(actor: &mut Actor<'_>, plan: &Plan, outcomes: &mut Vec<Outcome>) -> Result<Vec<Hold>> {
    let none = |hold: Hold| Ok(vec![hold]);
    let back = actor.observations.iter().any(|seen| {
        seen.verdict == Verdict::Live && actor.debts.debts.iter().any(|debt| debt.is_at(&seen.path))
    });
    let is_up = actor.worker.is_some_and(|look| look.state.is_up());
    let is_owed = actor.owes_the_worker();
    let paid = back || (is_up && is_owed) || actor.owes_what_is_declined();
    if plan.performed(is_owed).repairs.is_empty() && !paid {
        return Ok(Vec::new());
    }
    let Tried::Locked(_act) = lock::act(&actor.settings.host.run_dir)? else {
        return none(Hold::gate(Reason::Busy, "another tool is acting".to_owned()));
    };
    actor.settle_debts()?;
    // a start that somebody else has made by now opens nothing
    let plan = &plan.performed(is_owed && actor.owes_the_worker());
    if plan.repairs.is_empty() {
        return Ok(Vec::new());
    }
    let _deploy = match lock::no_deploy(&actor.settings.gates.deploy_lock) {
        Ok(lock) => lock,
        Err(hold) => return none(hold),
    };
    actor.perform(plan, outcomes)?;
    Ok(outcomes.iter().filter_map(Outcome::hold).collect())
}

fn sweep(settings: &Settings, now: &Now) {
    store::sweep_of(&MOUNTS, &settings.host, now);
    store::sweep_of(&BINDS, &settings.host, now);
    store::sweep(&settings.host.run_dir, &[gate::FILE], now);
}
