//! What a round has to tell, gathered for all who tell it.

use std::time::Duration;

use super::exit::Exit;
use super::worker::WorkerNews;
use crate::act::outcome::{Ended, Outcome};
use crate::act::round::Acted;
use crate::act::worker_round::WorkerActed;
use crate::config::Settings;
use crate::decide::plan::{Hold, Plan, Reason};
use crate::decide::worker;
use crate::manifest::{Tool, WORKER};
use crate::probes::binds::{Fault, Place};
use crate::probes::facts::Facts;
use crate::probes::gates::Gates;
use crate::probes::mounts::{Observation, Role};
use crate::probes::records::{Debts, MountsState};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::probes::worker_facts::WorkerFacts;
use crate::sys::clock::Now;
use crate::sys::text;

/// Whether the plan was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It was only made: nothing anywhere was changed.
    DryRun,
    /// It was to be carried out.
    Apply,
}

impl Mode {
    /// By whether `--apply` was given.
    #[must_use]
    pub fn of(apply: bool) -> Self {
        if apply { Self::Apply } else { Self::DryRun }
    }

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Apply => "apply",
        }
    }
}

/// A round of `unwedge-mounts`, or of a front that does a part of it.
#[derive(Debug)]
pub struct Round<'a> {
    /// Which tool it is of.
    pub tool: &'static Tool,
    /// When it began.
    pub now: &'a Now,
    /// How.
    pub mode: Mode,
    /// Whether its sentinel is there.
    pub armed: bool,
    /// What was seen, and decided upon.
    pub observations: &'a [Observation],
    /// What is there now: the same, or what a second look saw after something was done.
    pub present: &'a [Observation],
    /// FUSE connections in no mount namespace, where that is known.
    pub orphans: Option<usize>,
    /// Whether there was a mount table and, where one is configured, a bind manifest.
    pub sources_seen: bool,
    /// Why it is not known which binds there should be, if so: a fault, or a queue that cannot be read and names some.
    pub unknown_binds: Option<String>,
    /// What was decided.
    pub plan: &'a Plan,
    /// Holds that turned up when it came to acting.
    pub late_holds: &'a [Hold],
    /// What came of each step, after an apply.
    pub outcomes: &'a [Outcome],
    /// What is now remembered.
    pub state: &'a MountsState,
    /// What is owed, where that could be read.
    pub debts: Option<&'a Debts>,
    /// How many incidents are open, after an apply that knows.
    pub incidents: Option<usize>,
    /// What could not be stored, so that nothing, or nothing more, was done.
    pub trouble: Option<&'a str>,
    /// The worker, in a round over it.
    pub worker: Option<WorkerNews<'a>>,
    /// How long it all took.
    pub took: Duration,
}

impl<'a> Round<'a> {
    /// A round that came no further than its plan.
    #[must_use]
    pub fn of_plan(
        tool: &'static Tool,
        now: &'a Now,
        mode: Mode,
        plan: &'a Plan,
        state: &'a MountsState,
    ) -> Self {
        Self {
            tool,
            now,
            mode,
            armed: false,
            observations: &[],
            present: &[],
            orphans: None,
            sources_seen: true,
            unknown_binds: None,
            plan,
            late_holds: &[],
            outcomes: &[],
            state,
            debts: None,
            incidents: None,
            trouble: None,
            worker: None,
            took: Duration::ZERO,
        }
    }

    /// A round that has looked and decided.
    #[must_use]
    pub fn of(
        tool: &'static Tool,
        mode: Mode,
        settings: &Settings,
        facts: &'a Facts,
        faults: &[Fault],
        plan: &'a Plan,
    ) -> Self {
        let manifest_seen = faults.iter().all(|fault| fault.place != Place::Manifest);
        let no_queue = match &facts.work {
            Work::Unknown(why) if settings.binds.jobs.is_some() => {
                Some(format!("the queue, which names some, is unknown: {why}"))
            }
            Work::Unknown(_) | Work::NoQueue | Work::Known(_) => None,
        };
        Self {
            armed: is_armed(tool, &facts.gates),
            observations: &facts.survey.observations,
            present: &facts.survey.observations,
            orphans: facts.survey.orphans,
            unknown_binds: faults.first().map(Fault::to_string).or(no_queue),
            sources_seen: facts.survey.table.is_ok() && manifest_seen,
            debts: facts.gates.unreadable.is_none().then_some(&facts.debts),
            ..Self::of_plan(tool, &facts.now, mode, plan, &facts.state)
        }
    }

    /// A round over the worker that has looked and decided.
    #[must_use]
    pub fn of_worker(
        mode: Mode,
        facts: &'a WorkerFacts,
        decision: &'a worker::Decision,
        state: &'a MountsState,
    ) -> Self {
        Self {
            armed: is_armed(&WORKER, &facts.gates),
            observations: &facts.survey.observations,
            present: &facts.survey.observations,
            sources_seen: facts.survey.table.is_ok(),
            debts: facts.gates.unreadable.is_none().then_some(&facts.debts),
            worker: Some(WorkerNews {
                look: &facts.look,
                present: &facts.look,
                work: &facts.work,
                should_be_running: decision.should_be_running,
                could_work: !decision
                    .plan
                    .holds
                    .iter()
                    .any(|hold| hold.is_of_worker() && hold.reason == Reason::StorageNotLive),
                state: &facts.state,
            }),
            ..Self::of_plan(&WORKER, &facts.now, mode, &decision.plan, state)
        }
    }

    /// The same after it has acted.
    #[must_use]
    pub fn after_worker(self, acted: &'a WorkerActed) -> Self {
        let now = |news: WorkerNews<'a>| WorkerNews {
            present: acted.present.as_ref().unwrap_or(news.look),
            state: &acted.state,
            ..news
        };
        Self {
            outcomes: &acted.outcomes,
            late_holds: &acted.holds,
            debts: self.debts.and(Some(&acted.debts)),
            trouble: acted.trouble.as_deref(),
            worker: self.worker.map(now),
            ..self
        }
    }

    /// The same after it has acted.
    #[must_use]
    pub fn after(self, acted: &'a Acted) -> Self {
        Self {
            outcomes: &acted.outcomes,
            late_holds: &acted.holds,
            state: &acted.state,
            debts: self.debts.and(Some(&acted.debts)),
            incidents: acted.incidents,
            trouble: acted.trouble.as_deref(),
            present: acted.present.as_deref().unwrap_or(self.observations),
            ..self
        }
    }

    /// Every hold.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.plan.holds.iter().chain(self.late_holds)
    }

    /// How many paths were seen as `verdict`.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.observations.iter().filter(|seen| seen.verdict == verdict).count()
    }

    /// Why not every bind that there should be is known, in place, and answers; none if so.
    #[must_use]
    pub fn lacks_a_bind(&self) -> Option<String> {
        let mut binds = self.present.iter().filter(|seen| seen.bind.is_some());
        let broken = binds.find(|seen| seen.verdict != Verdict::Live);
        let broken = broken.map(|seen| format!("{} is {}", text::path(&seen.path), seen.verdict));
        self.unknown_binds.clone().or(broken)
    }

    /// How the run should end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let failed = self.outcomes.iter().any(|outcome| match outcome.ended {
            Ended::Failed(_) => true,
            Ended::Done(_) | Ended::Already(_) | Ended::Refused(..) | Ended::Skipped => false,
        });
        // a path of the config had to be seen
        let listed = |seen: &Observation| {
            seen.roles.contains(&Role::Base) || seen.roles.contains(&Role::Bind)
        };
        let unseen =
            self.observations.iter().any(|seen| seen.verdict == Verdict::Unknown && listed(seen));
        let unreadable = self
            .holds()
            .any(|hold| matches!(hold.reason, Reason::StateUnreadable | Reason::QueueUnknown));
        let unseen = unseen || self.worker.is_some_and(|news| !news.is_known());
        if failed || self.trouble.is_some() || unreadable || unseen || !self.sources_seen {
            Exit::Failed
        } else {
            Exit::Fine
        }
    }
}

fn is_armed(tool: &Tool, gates: &Gates) -> bool {
    tool.sentinel().is_some_and(|kind| gates.is_armed(kind))
}
