//! The decision of `unwedge-worker`: whether the worker is to be started, and every reason why not.
//!
//! Read aloud it goes: one that runs, or is on its way, is left. One that is down is started when
//! nobody wanted it down, everything it stands on is live and has room, the queue is known, has a job
//! that waits and none that runs, the manager has not given it up, and it was not started too often.
//! A worker that we owe a start is started without asking for work, waits and caps.

mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::budget::DAY;
use super::gates;
use super::plan::{Cost, Hold, Need, Plan, Planned, Reason, Repair, Step};
use crate::config::sentinel::Kind;
use crate::config::{COOLDOWN_MAX, Settings, Worker, WorkerBudget};
use crate::probes::binds::Fault;
use crate::probes::gates::Gates;
use crate::probes::headroom::Headroom;
use crate::probes::jobs::{QueueFacts, QueueLook, State as JobState};
use crate::probes::mounts::Observation;
use crate::probes::records::{Debt, Debts, WorkerState};
use crate::probes::worker::{CrashLoop, State, Stopped, WorkerLook};
use crate::probes::worker_facts::WorkerFacts;
use crate::sys::clock::{Now, Stamp};
use crate::sys::text;

/// Everything a decision is made of.
#[derive(Debug)]
pub struct World<'a> {
    /// The limits.
    pub settings: &'a Settings,
    /// The worker.
    pub worker: &'a Worker,
    /// What in the bind manifest is no bind.
    pub faults: &'a [Fault],
    /// How the worker is.
    pub look: &'a WorkerLook,
    /// What it stands on.
    pub observations: &'a [Observation],
    /// The queue; none where there is no `[queue]`.
    pub queue: Option<&'a QueueLook>,
    /// The room on each need that is live.
    pub headroom: &'a BTreeMap<PathBuf, Headroom>,
    /// The gates.
    pub gates: &'a Gates,
    /// What earlier rounds wrote down.
    pub state: &'a WorkerState,
    /// What is owed.
    pub debts: &'a Debts,
    /// The present.
    pub now: &'a Now,
}

impl<'a> World<'a> {
    /// The world that was looked at.
    #[must_use]
    pub fn of(
        settings: &'a Settings,
        worker: &'a Worker,
        facts: &'a WorkerFacts,
        faults: &'a [Fault],
    ) -> Self {
        Self {
            settings,
            worker,
            faults,
            look: &facts.look,
            observations: &facts.survey.observations,
            queue: facts.queue.as_ref(),
            headroom: &facts.headroom,
            gates: &facts.gates,
            state: &facts.state,
            debts: &facts.debts,
            now: &facts.now,
        }
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What to do and what not.
    pub plan: Plan,
    /// Whether jobs wait and what they write to is live, so that the worker should be up.
    pub should_be_running: bool,
}

/// Decides. Pure: the same world gives the same decision.
#[must_use]
pub fn decide(world: &World<'_>) -> Decision {
    let mut holds = gates::closed(world.gates, Kind::Worker, world.now);
    let work = world.work();
    let should_be_running = work.is_empty();
    let refusals = match &world.look.state {
        State::Active | State::Reloading | State::Deactivating => {
            vec![world.hold(Reason::WorkerActive, format!("it is {}", world.look.state.name()))]
        }
        State::Activating(sub) => {
            vec![world.hold(Reason::WorkerActive, format!("it is activating ({sub})"))]
        }
        State::Unknown(why) => vec![world.hold(Reason::UnclearEvidence, why.clone())],
        State::NotFound => {
            vec![world.hold(Reason::UnitNotFound, "there is no such unit".to_owned())]
        }
        State::Masked | State::Inactive | State::Failed(_) => world.refusals(work),
    };
    let repairs = if refusals.is_empty() { vec![world.start()] } else { Vec::new() };
    holds.extend(refusals);
    Decision { plan: Plan { repairs, holds }, should_be_running }
}

/// How long after the last start the next one has to wait: doubling with each that did not last.
#[must_use]
pub fn wait(budget: &WorkerBudget, failed: u32) -> Duration {
    match failed.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            let wait = budget.cooldown.saturating_mul(1 << doublings.min(16));
            wait.min(COOLDOWN_MAX.max(budget.cooldown))
        }
    }
}

/// Whether a worker that is up has outlived its last start, so that the next one need not wait.
#[must_use]
pub fn has_lasted(state: &WorkerState, budget: &WorkerBudget, now: &Now) -> bool {
    state.starts.last().is_none_or(|start| age(now, &start.at) >= budget.cooldown)
}

impl World<'_> {
    fn hold(&self, reason: Reason, detail: String) -> Hold {
        Hold::of_worker(&self.look.name, reason, detail)
    }

    fn start(&self) -> Repair {
        let unit = self.look.name.clone();
        let mut steps = Vec::new();
        if let CrashLoop::Changed(what) = &self.look.crash_loop {
            let step = Step::ResetFailed { unit: unit.clone() };
            steps.push(Planned { step, why: format!("it failed too often, and {what}") });
        }
        let needs = self.worker.needs(self.settings);
        let need = |path: &PathBuf| Need {
            path: path.clone(),
            identity: self.seen(path).and_then(Observation::identity).cloned(),
        };
        let step = Step::StartWorker { unit, needs: needs.iter().map(need).collect() };
        steps.push(Planned { step, why: self.why() });
        Repair {
            subject: PathBuf::from(&self.look.name),
            kind: Kind::Worker,
            needs: None,
            cost: Cost::Nothing,
            owes: Vec::new(),
            leaves: Vec::new(),
            steps,
        }
    }

    fn why(&self) -> String {
        let state = match &self.look.state {
            State::Failed(result) => format!("it is down ({result})"),
            State::Active
            | State::Reloading
            | State::Activating(_)
            | State::Deactivating
            | State::Inactive
            | State::NotFound
            | State::Masked
            | State::Unknown(_) => "it is down".to_owned(),
        };
        match (self.owed(), self.queue.and_then(QueueLook::known)) {
            (Some(debt), _) => format!("{state}, and its start is owed: {}", debt.why()),
            (None, Some(facts)) => format!("{state}, and {} jobs wait", waiting(facts)),
            (None, None) => format!("{state}, and its storage is live"),
        }
    }

    /// Everything that keeps a worker that is down from being started.
    fn refusals(&self, work: Vec<Hold>) -> Vec<Hold> {
        let mut holds: Vec<Hold> = self.operator().into_iter().collect();
        holds.extend(work);
        holds.extend(self.running());
        holds.extend(self.crash_loop());
        holds.extend(self.room());
        if self.owed().is_none() {
            holds.extend(self.budget());
        }
        holds
    }

    /// A person's wish that it be down, which needs a positive sign.
    fn operator(&self) -> Option<Hold> {
        let operator = |detail: String| Some(self.hold(Reason::WorkerStoppedByOperator, detail));
        if self.look.state == State::Masked {
            return operator("it is masked".to_owned());
        }
        if self.look.enabled.starts_with("disabled") {
            return operator("it is disabled; `systemctl enable` permits it again".to_owned());
        }
        match &self.look.stopped {
            Stopped::Nobody | Stopped::Along => None,
            Stopped::Unknown => {
                let detail = "the journal does not tell whether somebody stopped it".to_owned();
                Some(self.hold(Reason::UnclearEvidence, detail))
            }
            Stopped::ByJob { at, started } => {
                if self.owed().is_some_and(|debt| is_ours(debt, at, started.as_ref())) {
                    return None;
                }
                let respect = self.worker.respect_stop;
                let left = respect.checked_sub(age(self.now, at)).filter(|left| !left.is_zero())?;
                let detail = format!(
                    "stopped by hand at {}; respected for {}, and longer with `unwedge hold set worker`",
                    at.utc(),
                    text::duration(respect)
                );
                let hold = self.hold(Reason::WorkerStoppedByOperator, detail);
                Some(hold.until(self.after(left)))
            }
        }
    }

    fn crash_loop(&self) -> Option<Hold> {
        let detail = match self.look.crash_loop {
            CrashLoop::No | CrashLoop::Changed(_) => return None,
            CrashLoop::Stands => {
                "systemd has given it up, and nothing has changed since: neither its unit nor its \
                 storage"
            }
            CrashLoop::NotReloaded => {
                "systemd has given it up; its unit has changed since, and `systemctl daemon-reload` is \
                 still to be done"
            }
        };
        Some(self.hold(Reason::CrashLooping, detail.to_owned()))
    }

    fn budget(&self) -> Vec<Hold> {
        let budget = &self.worker.budget;
        let mut holds = Vec::new();
        if let Some(last) = self.state.starts.last() {
            let wait = wait(budget, self.state.failed);
            let left = wait.checked_sub(age(self.now, &last.at)).filter(|left| !left.is_zero());
            if let Some(left) = left {
                let detail = format!(
                    "{} starts in a row did not last; the next comes {} after the last",
                    self.state.failed,
                    text::duration(wait)
                );
                holds.push(self.hold(Reason::CoolingDown, detail).until(self.after(left)));
            }
        }
        let counted = self.state.starts.iter().filter(|start| !start.owed);
        let ages: Vec<Duration> =
            counted.map(|start| age(self.now, &start.at)).filter(|age| *age < DAY).collect();
        if u32::try_from(ages.len()).unwrap_or(u32::MAX) >= budget.per_day {
            let left = ages.iter().max().map(|oldest| DAY.saturating_sub(*oldest));
            let detail = format!("{} of {} starts in a day", ages.len(), budget.per_day);
            let until = left.and_then(|left| self.after(left));
            holds.push(self.hold(Reason::OverDailyCap, detail).until(until));
        }
        holds
    }

    /// The debt of this very worker.
    fn owed(&self) -> Option<&Debt> {
        owed(self.debts, &self.look.name)
    }

    fn seen(&self, path: &Path) -> Option<&Observation> {
        self.observations.iter().find(|seen| seen.path == path)
    }

    fn after(&self, left: Duration) -> Option<u64> {
        self.now.utc_ms.checked_add(u64::try_from(left.as_millis()).ok()?)
    }
}

/// The debt of the worker of this name.
#[must_use]
pub fn owed<'a>(debts: &'a Debts, name: &str) -> Option<&'a Debt> {
    debts.debts.iter().find(|debt| match debt {
        Debt::Worker { unit, .. } => unit == name,
        Debt::Mount { .. } | Debt::Bind { .. } => false,
    })
}

/// Whether a stop is the one that a debt was written down for: the first after it. One that came after the
/// worker was up again is somebody else's.
fn is_ours(debt: &Debt, stop: &Stamp, started: Option<&Stamp>) -> bool {
    let owed = debt.since();
    let after = |stamp: &Stamp| {
        if stamp.boot_id == owed.boot_id {
            stamp.boot_ms >= owed.boot_ms
        } else {
            stamp.utc_ms >= owed.utc_ms
        }
    };
    after(stop) && !started.is_some_and(after)
}

/// Jobs that could be taken now.
fn waiting(facts: &QueueFacts) -> u64 {
    facts.count(JobState::Pending).saturating_add(facts.count(JobState::Retryable))
}

/// One whose age the clocks do not tell counts as of just now.
fn age(now: &Now, stamp: &Stamp) -> Duration {
    now.since(stamp).known().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
