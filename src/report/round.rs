//! What a round has to tell, gathered for all who tell it.

use std::time::Duration;

use super::exit::Exit;
use crate::act::perform::{Ended, Outcome};
use crate::decide::plan::{Hold, Plan, Reason};
use crate::probes::mounts::{Observation, Role};
use crate::probes::records::MountsState;
use crate::probes::verdict::Verdict;
use crate::sys::clock::Now;

/// Whether the plan was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It was only made: nothing anywhere was changed.
    DryRun,
    /// It was to be carried out.
    Apply,
}

impl Mode {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Apply => "apply",
        }
    }
}

/// A round of `unwedge-mounts`.
#[derive(Debug)]
pub struct Round<'a> {
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
    /// Whether there was a mount table.
    pub table_seen: bool,
    /// What was decided.
    pub plan: &'a Plan,
    /// Holds that turned up when it came to acting.
    pub late_holds: &'a [Hold],
    /// What came of each step, after an apply.
    pub outcomes: &'a [Outcome],
    /// What is now remembered.
    pub state: &'a MountsState,
    /// How many debts are open, where they could be read.
    pub debts: Option<usize>,
    /// What could not be stored, so that nothing, or nothing more, was done.
    pub trouble: Option<&'a str>,
    /// How long it all took.
    pub took: Duration,
}

impl<'a> Round<'a> {
    /// A round that came no further than its plan.
    #[must_use]
    pub fn of_plan(now: &'a Now, mode: Mode, plan: &'a Plan, state: &'a MountsState) -> Self {
        Self {
            now,
            mode,
            armed: false,
            observations: &[],
            present: &[],
            orphans: None,
            table_seen: true,
            plan,
            late_holds: &[],
            outcomes: &[],
            state,
            debts: None,
            trouble: None,
            took: Duration::ZERO,
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

    /// How the run should end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let failed = self.outcomes.iter().any(|outcome| match outcome.ended {
            Ended::Failed(_) => true,
            Ended::Done(_) | Ended::Refused(..) | Ended::Skipped => false,
        });
        // a path of the config had to be seen
        let unseen = self
            .observations
            .iter()
            .any(|seen| seen.verdict == Verdict::Unknown && seen.roles.contains(&Role::Base));
        let unreadable = self.holds().any(|hold| hold.reason == Reason::StateUnreadable);
        if failed || self.trouble.is_some() || unreadable || unseen || !self.table_seen {
            Exit::Failed
        } else {
            Exit::Fine
        }
    }
}
