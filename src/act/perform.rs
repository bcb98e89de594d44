//! Performing a plan. One repair after the other; within one, step by step, and the first step that
//! is not done ends it, because each stands on the one before.
//!
//! Before a repair's first step its charge, its debts and the paths that it leaves bare are on disk.
//! Before every step the sentinel and HALT are read again, and what a step does is checked on both
//! sides of it. Killed anywhere, the next round finds the open charge, the debt or the remembered
//! path, and goes on from there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::incidents::Book;
use super::outcome::{
    Ended, Outcome, failed_base, in_order, is_put_back, missing, refused, touched, waited_in_vain,
    was_stopped,
};
use super::permission::not_forbidden;
use super::{storage_gate, store};
use crate::config::Settings;
use crate::config::sentinel::Kind;
use crate::decide::budget::DAY;
use crate::decide::busy::{self, Scene, Way};
use crate::decide::plan::{Cost, Need, Owed, Plan, Planned, Reason, Repair, Step, Verb};
use crate::decide::worker::is_disabled_since;
use crate::probes::jobs::{self, Job, Row};
use crate::probes::mounts::Observation;
use crate::probes::records::{
    self, Attempts, Charge, Debt, Debts, Interrupted, MountsState, Rebound, Remembered, Repairs,
    Sighting,
};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::probes::worker::{WorkerLook, glance};
use crate::sys::clock::{Deadline, Now};
use crate::sys::text;

/// What performing needs besides the plan.
#[derive(Debug)]
pub struct Actor<'a> {
    /// The settings the plan was made with.
    pub settings: &'a Settings,
    /// What was seen.
    pub observations: &'a [Observation],
    /// The moment before that.
    pub looked_at: &'a Now,
    /// What was at work then.
    pub work: &'a Work,
    /// The worker, where there is one and it was looked at.
    pub worker: Option<&'a WorkerLook>,
    /// Paths that are broken for certain.
    pub broken: &'a [PathBuf],
    /// When the round must have ended.
    pub deadline: Deadline,
    /// What is remembered; kept up to date on disk.
    pub state: MountsState,
    /// What is owed; kept up to date on disk.
    pub debts: Debts,
    /// Where what is done is written down, as the story of an incident.
    pub book: Book,
}

impl Actor<'_> {
    /// Takes note of what this round saw: sightings, what has come back by itself, what a killed
    /// round had nearly ended. Stored whatever gate is closed.
    ///
    /// # Errors
    /// It could not be stored; then nothing must be done either.
    pub fn take_note(&mut self, sightings: Vec<Sighting>, now: &Now) -> Result<()> {
        self.state.sightings = sightings;
        let live = self.live_paths();
        let (observations, debts) = (self.observations, &self.debts.debts);
        for charge in &mut self.state.charges {
            let done = !still_broken(charge, observations)
                && (live.contains(&charge.path) || taken_away(charge, observations, debts));
            if charge.open && done {
                charge.open = false;
                count(&mut self.state.repairs, charge.repaired(), true);
            }
        }
        self.state.charges.retain(|charge| {
            charge.open || now.since(&charge.at).known().is_none_or(|age| age < DAY)
        });
        let watched = |path: &Path| observations.iter().any(|seen| seen.path == path);
        self.state.attempts.retain(|it| watched(&it.path) && !live.contains(&it.path));
        self.state.repairs.retain(|repairs| watched(&repairs.path));
        self.state.remembered.retain(|remembered| !live.contains(&remembered.path));
        self.state.rebinds.retain(|rebound| !live.contains(&rebound.path));
        if let Work::Known(facts) = self.work {
            let running: BTreeSet<Row> = facts.running.iter().filter_map(Job::row).collect();
            self.state.interrupted.retain(|interrupted| running.contains(&interrupted.row));
        }
        store::record(&self.settings.host.state_dir, &self.state)
    }

    /// Takes note of what is owed now, for another tool may have written since the look, and strikes out what is seen to
    /// be paid. What was written since is of something that the look did not see. Under `act.lock`.
    ///
    /// # Errors
    /// It could not be read or stored.
    pub fn settle_debts(&mut self) -> Result<()> {
        let state_dir = &self.settings.host.state_dir;
        let present: Debts =
            records::read(state_dir, &Now::take()?).context("read what is owed")?;
        let known = std::mem::replace(&mut self.debts, present).debts;
        let live = self.live_paths();
        let owed = self.debts.debts.len();
        let up = self.worker.filter(|look| look.state.is_up()).map(|look| look.name.as_str());
        let worker = self.worker;
        self.debts.debts.retain(|debt| {
            let back = debt.path().is_some_and(|path| live.contains(path));
            let is_paid =
                back || up.is_some_and(|name| debt.is_of_worker(name)) || is_declined(worker, debt);
            !(is_paid && known.contains(debt))
        });
        if self.debts.debts.len() == owed {
            return Ok(());
        }
        store::record(state_dir, &self.debts).context("strike out paid debts")
    }

    /// Whether a start is owed that nobody wants any more.
    pub fn owes_what_is_declined(&self) -> bool {
        self.debts.debts.iter().any(|debt| is_declined(self.worker, debt))
    }

    /// Whether the worker was stopped and is owed a start.
    pub fn owes_the_worker(&self) -> bool {
        self.worker.is_some_and(|look| self.debts.of_worker(&look.name).is_some())
    }

    fn live_paths(&self) -> BTreeSet<PathBuf> {
        self.observations
            .iter()
            .filter(|seen| seen.verdict == Verdict::Live)
            .map(|seen| seen.path.clone())
            .collect()
    }

    /// Performs the plan, and adds to `outcomes` what came of each step, also of those before an
    /// error. Under `act.lock` and the deploy lock, with every gate open.
    ///
    /// # Errors
    /// State or debts could not be written; then nothing more was done, but that a worker which this plan had
    /// stopped by then was started again.
    pub fn perform(&mut self, plan: &Plan, outcomes: &mut Vec<Outcome>) -> Result<()> {
        let done = self.perform_all(plan, outcomes);
        if done.is_err() {
            let tried = |start: &Repair| outcomes.iter().any(|it| it.subject == start.subject);
            let is_due = |start: &Repair| {
                !tried(start) && was_stopped(outcomes) && self.may_start(start, outcomes).is_ok()
            };
            let start = plan.repairs.iter().find(|it| it.starts_the_worker() && is_due(it));
            let steps = start.map(|it| self.perform_steps(it));
            outcomes.extend(steps.into_iter().flatten());
        }
        done
    }

    fn perform_all(&mut self, plan: &Plan, outcomes: &mut Vec<Outcome>) -> Result<()> {
        let concerned = plan
            .steps()
            .filter(|planned| !planned.step.is_of_worker())
            .map(|planned| planned.step.path().to_path_buf())
            .collect();
        if !plan.repairs.is_empty() {
            storage_gate::write(self.settings, self.observations, &concerned, self.looked_at)?;
        }
        let mut work = self.work_now(plan.repairs.iter().any(Repair::takes_away));
        let mut charged = BTreeSet::new();
        for repair in &plan.repairs {
            let above = failed_base(repair, outcomes).filter(|_| !repair.is_aftermath());
            if let Some(base) = above.or_else(|| missing(repair, outcomes)) {
                let base = text::path(&base);
                let why = format!("{base}, which it stands on, is not as it should be");
                outcomes.extend(refused(repair, Reason::StorageNotLive, why));
                continue;
            }
            if is_put_back(&repair.subject, outcomes) && repair.holds_back() {
                let why = "it has come back: nothing is held back";
                outcomes.extend(in_order(repair, |_| Ended::Done(why.to_owned())));
                continue;
            }
            // an earlier repair may have taken a minute
            if repair.stops_the_worker() && !was_stopped(outcomes) {
                work = self.work_now(true);
            }
            let allowed = self.allowed_by(&work, repair, outcomes);
            if let Err((reason, why)) = allowed.and_then(|()| self.may_start(repair, outcomes)) {
                outcomes.extend(refused(repair, reason, why));
                continue;
            }
            let repair = &with_its_charge(repair, &charged);
            if repair.starts_the_worker() {
                self.note_the_abandoned()?;
            }
            let added = self.begin(repair, &work)?;
            self.book.begun(repair, &Now::take()?);
            let done = self.perform_steps(repair);
            self.book.ended(repair, &done, &Now::take()?);
            if let (Cost::Charge { to, .. }, true) = (&repair.cost, touched(&done)) {
                charged.insert(to.clone());
            }
            let ended = self.end(repair, &done, &added);
            outcomes.extend(done);
            ended?;
        }
        Ok(())
    }

    /// The queue once more, now that its paths are closed to new work: a job claimed since the look
    /// changes what may be done.
    fn work_now(&self, matters: bool) -> Work {
        match self.work {
            Work::Known(_) if matters => Work::look(self.settings),
            Work::Known(_) | Work::Unknown(_) | Work::NoQueue => self.work.clone(),
        }
    }

    /// Whether the work that is there now allows what was decided by the work that was there at the look.
    fn allowed_by(
        &self,
        work: &Work,
        repair: &Repair,
        outcomes: &[Outcome],
    ) -> Result<(), (Reason, String)> {
        let no_stop = busy::cannot_stop(self.settings, self.worker);
        let scene = Scene {
            settings: self.settings,
            work,
            worker: self.worker,
            no_stop: no_stop.as_ref(),
            broken: self.broken,
        };
        let meanwhile = |why: String| (Reason::RunningJobsPresent, why);
        let stops = repair.stops_the_worker();
        if stops && let Some(well) = scene.well() {
            return Err(meanwhile(format!("{well} is well, and was not there at the look")));
        }
        let seen = self.observations.iter().find(|seen| seen.path == repair.subject);
        let (Some(seen), false) = (seen, stops || was_stopped(outcomes)) else { return Ok(()) };
        match scene.allows(seen, repair, false) {
            Ok(Way::WorkerStopped(why)) if seen.bind.is_some() => Err(meanwhile(why)),
            Ok(Way::InTheOpen | Way::WorkerStopped(_)) => Ok(()),
            Err(hold) => Err((hold.reason, hold.detail)),
        }
    }

    /// Whether the worker may still be started by this plan: it is owed that, and nothing it stands on was waited for in
    /// vain, though it may look well by now.
    fn may_start(&self, repair: &Repair, outcomes: &[Outcome]) -> Result<(), (Reason, String)> {
        let needs = repair.steps.iter().find_map(|planned| match &planned.step {
            Step::StartWorker { needs, .. } => Some(needs),
            _ => None,
        });
        let Some(needs) = needs else { return Ok(()) };
        if !self.owes_the_worker() {
            let is_somebodys = outcomes.iter().any(|it| matches!(it.ended, Ended::Already(_)));
            return Err(if is_somebodys {
                let why = "it was down before this plan stopped it: whoever stopped it starts it";
                (Reason::WorkerStoppedByOperator, why.to_owned())
            } else {
                (Reason::WorkerActive, "nothing is owed: it was not stopped here".to_owned())
            });
        }
        let in_vain =
            |need: &&Need| need.identity.is_none() && waited_in_vain(&need.path, outcomes);
        match needs.iter().find(in_vain) {
            None => Ok(()),
            Some(need) => {
                let why = format!("{} did not come back as it should", text::path(&need.path));
                Err((Reason::StorageNotLive, why))
            }
        }
    }

    /// Writes down what is about to be done: charged and remembered first, owed second, done third. Answers with the
    /// debts that were not there before.
    fn begin(&mut self, repair: &Repair, work: &Work) -> Result<Vec<Debt>> {
        let now = Now::take()?;
        let state_dir = &self.settings.host.state_dir;
        let interrupts = repair.stops_the_worker() && self.interrupt(work, &now);
        let remembers = self.remember(repair, &now) || interrupts;
        let charged = matches!(repair.cost, Cost::Charge { .. });
        if let Cost::Charge { to, identity, along } = &repair.cost {
            self.state.charges.push(Charge {
                path: to.clone(),
                led_by: (repair.subject != *to).then(|| repair.subject.clone()),
                identity: identity.clone(),
                along: along.clone(),
                at: now.stamp(),
                open: true,
            });
        }
        if charged || remembers {
            store::record(state_dir, &self.state)?;
        }
        let mut added = Vec::new();
        for debt in repair.owes.iter().map(|owed| debt_of(repair, owed, &now)) {
            if !self.debts.debts.iter().any(|known| known.is_same(&debt)) {
                self.debts.debts.push(debt.clone());
                added.push(debt);
            }
        }
        if !added.is_empty() {
            store::record(state_dir, &self.debts)?;
        }
        Ok(added)
    }

    /// Before it is started: among the rows that nobody is at any more may be some that it took after the last
    /// question of [`Self::begin`], even while it was being stopped. Not asked where no start would come of it, or
    /// where the answer could come too late for it.
    fn note_the_abandoned(&mut self) -> Result<()> {
        let (Some(worker), Some(queue)) = (&self.settings.worker, &self.settings.queue) else {
            return Ok(());
        };
        let permitted = not_forbidden(self.settings, Kind::Worker, self.deadline).is_ok();
        if !permitted || self.deadline.left() < jobs::limit(queue) * 2 {
            return Ok(());
        }
        let work = self.work_now(true);
        // asked for last: whoever was gone then was gone when the rows were read, or came and went
        if glance(self.settings, worker).is_gone() && self.interrupt(&work, &Now::take()?) {
            store::record(&self.settings.host.state_dir, &self.state)?;
        }
        Ok(())
    }

    /// Rows that run when the worker is stopped are nobody's afterwards. Whether there was any that was not known.
    fn interrupt(&mut self, work: &Work, now: &Now) -> bool {
        let running = work.known().into_iter().flat_map(|facts| &facts.running);
        let known = self.state.interrupted.len();
        for row in running.filter_map(Job::row) {
            if !self.state.interrupted.iter().any(|it| it.row == row) {
                self.state.interrupted.push(Interrupted { row, at: now.stamp() });
            }
        }
        self.state.interrupted.len() != known
    }

    /// Writes down what came of it: debts are struck out once paid, and those that it `added` where it came to nothing
    /// that is owed for; the charge is closed.
    fn end(&mut self, repair: &Repair, outcomes: &[Outcome], added: &[Debt]) -> Result<()> {
        let now = Now::take()?;
        let state_dir = &self.settings.host.state_dir;
        let ok = outcomes.iter().all(Outcome::ok);
        let seen_live = |path: &Path| {
            let waited = |outcome: &&Outcome| matches!(&outcome.planned.step, Step::WaitLive { path: waited, .. } if waited == path);
            outcomes.iter().find(waited).is_some_and(Outcome::ok)
        };
        let started = |name: &str| {
            let start = |outcome: &&Outcome| matches!(&outcome.planned.step, Step::StartWorker { unit, .. } if unit == name);
            outcomes.iter().find(start).is_some_and(Outcome::ok)
        };
        let was_tried = |outcome: &Outcome| {
            outcome.planned.step.verb() == Verb::StopWorker && outcome.is_tried()
        };
        let is_idle = |debt: &Debt| match debt {
            Debt::Mount { .. } | Debt::Bind { .. } => !touched(outcomes),
            // a later stop of it would be taken for ours
            Debt::Worker { .. } => !outcomes.iter().any(was_tried),
        };
        let owed = self.debts.debts.len();
        self.debts.debts.retain(|debt| match debt {
            _ if added.contains(debt) && is_idle(debt) => false,
            Debt::Mount { path, .. } | Debt::Bind { path, .. } => !seen_live(path),
            Debt::Worker { unit, .. } => !started(unit),
        });
        if self.debts.debts.len() != owed {
            store::record(state_dir, &self.debts)?;
        }
        // what was refused before anything was done costs nothing
        let untouched = !touched(outcomes);
        let charged_to = match &repair.cost {
            Cost::Charge { to, .. } => to,
            Cost::Along { .. } | Cost::Resumed | Cost::Nothing => &repair.subject,
        };
        if untouched && matches!(repair.cost, Cost::Charge { .. }) {
            self.state.charges.retain(|charge| !(charge.open && charge.path == *charged_to));
        }
        for charge in &mut self.state.charges {
            if charge.path == *charged_to {
                charge.open = false;
            }
        }
        self.note_rebinds(outcomes, &now);
        self.forget_untouched(repair, outcomes);
        if !repair.is_aftermath() {
            count(&mut self.state.repairs, &repair.subject, ok);
        }
        for outcome in outcomes {
            if let (
                Step::WaitLive { path, .. }
                | Step::Remount { path }
                | Step::Bind { path, .. }
                | Step::Rebind { path, .. },
                Ended::Failed(_),
            ) = (&outcome.planned.step, &outcome.ended)
            {
                self.failed_attempt(path, &now);
            } else if matches!(outcome.planned.step, Step::WaitLive { .. }) && outcome.ok() {
                self.state.attempts.retain(|a| a.path != outcome.planned.step.path());
            }
        }
        store::record(state_dir, &self.state)
    }

    /// Which binds were made anew, and onto what: for one that does not come right by it.
    fn note_rebinds(&mut self, outcomes: &[Outcome], now: &Now) {
        for outcome in outcomes.iter().filter(|outcome| outcome.ok()) {
            if let Step::Rebind { path, shows, .. } = &outcome.planned.step
                && let Ok(onto) = Self::base_of(shows)
            {
                self.state.rebinds.retain(|rebound| rebound.path != *path);
                self.state.rebinds.push(Rebound { path: path.clone(), onto, at: now.stamp() });
            }
        }
    }

    /// A path that is about to be detached for good is known from then on, so that it stays bad
    /// until somebody mounts it, even if we do not live to say that it was detached. Whether there
    /// was any that was not known.
    fn remember(&mut self, repair: &Repair, now: &Now) -> bool {
        let known = self.state.remembered.len();
        for left in &repair.leaves {
            if self.state.remembered.iter().any(|known| known.path == left.path) {
                continue;
            }
            self.state.remembered.push(Remembered {
                path: left.path.clone(),
                source: left.source.clone(),
                fstype: left.fstype.clone(),
                at: now.stamp(),
            });
        }
        self.state.remembered.len() != known
    }

    /// What was refused, or not come to, is still mounted and needs no remembering. A detach that
    /// failed may yet succeed.
    fn forget_untouched(&mut self, repair: &Repair, outcomes: &[Outcome]) {
        let touched = |path: &Path| {
            outcomes.iter().any(|outcome| match (&outcome.planned.step, &outcome.ended) {
                (Step::Detach { path: gone, .. }, Ended::Done(_) | Ended::Failed(_)) => {
                    path.starts_with(gone)
                }
                _ => false,
            })
        };
        let untouched =
            |path: &Path| repair.leaves.iter().any(|left| left.path == path) && !touched(path);
        self.state.remembered.retain(|remembered| !untouched(&remembered.path));
    }

    fn failed_attempt(&mut self, path: &Path, now: &Now) {
        let before = self.state.attempts.iter().find(|attempts| attempts.path == path);
        let failed = before.map_or(0, |attempts| attempts.failed).saturating_add(1);
        self.state.attempts.retain(|attempts| attempts.path != path);
        let path = path.to_path_buf();
        self.state.attempts.push(Attempts { path, failed, last: now.stamp() });
    }

    fn perform_steps(&self, repair: &Repair) -> Vec<Outcome> {
        let is_aborted =
            repair.steps.iter().any(|it| matches!(it.step, Step::AbortConnection { .. }));
        in_order(repair, |step| self.step(step, repair.kind, is_aborted))
    }
}

/// Whether a mount that was to be taken away stands there as broken as it was.
fn still_broken(charge: &Charge, observations: &[Observation]) -> bool {
    let broken = observations.iter().filter(|seen| seen.verdict != Verdict::Live);
    broken.flat_map(|seen| &seen.layers).any(|layer| charge.covers(&layer.identity))
}

/// Whether a repair that was charged has nothing left to do: its mounts are gone, for certain, and
/// none is owed.
fn taken_away(charge: &Charge, observations: &[Observation], debts: &[Debt]) -> bool {
    let seen = observations
        .iter()
        .any(|seen| seen.path == charge.path && seen.verdict != Verdict::Unknown);
    let mut layers = observations.iter().flat_map(|seen| &seen.layers);
    let stands = layers.any(|layer| charge.covers(&layer.identity));
    seen && !stands && !debts.iter().any(|debt| debt.is_at(&charge.path))
}

fn count(repairs: &mut Vec<Repairs>, path: &Path, ok: bool) {
    if !repairs.iter().any(|repairs| repairs.path == path) {
        repairs.push(Repairs { path: path.to_path_buf(), ok: 0, failed: 0 });
    }
    for repairs in repairs.iter_mut().filter(|repairs| repairs.path == path) {
        let total = if ok { &mut repairs.ok } else { &mut repairs.failed };
        *total = total.saturating_add(1);
    }
}

/// Whether whoever has disabled a worker since it was stopped wants it down: then nothing is owed.
fn is_declined(worker: Option<&WorkerLook>, debt: &Debt) -> bool {
    worker.is_some_and(|look| {
        let is_it = debt.is_of_worker(&look.name) && look.state.is_down();
        is_it && is_disabled_since(look, Some(debt))
    })
}

/// What is owed from the first step of a repair on, and by which step.
fn debt_of(repair: &Repair, owed: &Owed, now: &Now) -> Debt {
    let is_of_it = |planned: &&Planned| match owed {
        // the stop comes first and is for what comes after it
        Owed::Mount(_) | Owed::Bind(_) => !planned.step.is_of_worker(),
        Owed::Worker { .. } => planned.step.verb() == Verb::StopWorker,
    };
    let step = repair.steps.iter().find(is_of_it).or(repair.steps.first());
    let (since, why) = (now.stamp(), step.map_or_else(String::new, |it| it.why.clone()));
    match owed.clone() {
        Owed::Mount(path) => Debt::Mount { path, since, why },
        Owed::Bind(path) => Debt::Bind { path, since, why },
        Owed::Worker { unit, was_enabled } => Debt::Worker { unit, was_enabled, since, why },
    }
}

/// One that was to go with another's charge makes it when that other came to nothing.
fn with_its_charge(repair: &Repair, charged: &BTreeSet<PathBuf>) -> Repair {
    let mut repair = repair.clone();
    if let Cost::Along { to, identity } = &repair.cost
        && !charged.contains(to)
    {
        let (to, identity) = (to.clone(), identity.clone());
        repair.cost = Cost::Charge { to, identity, along: Vec::new() };
    }
    repair
}
