//! What came of the steps of a repair. They stand each on the one before: the first that is not done ends it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::decide::plan::{Hold, Planned, Reason, Repair, Step, Verb};
use crate::sys::clock::boottime;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Done, and seen to be.
    Done(String),
    /// It was so before anything was done, and by somebody else's hand.
    Already(String),
    /// Not done, because it must not be any more.
    Refused(Reason, String),
    /// Tried without success.
    Failed(String),
    /// Not tried, because an earlier one of its repair was not done.
    Skipped,
}

impl Ended {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Done(words) | Self::Already(words) | Self::Failed(words) => words.clone(),
            Self::Refused(reason, why) => format!("{}: {why}", reason.name()),
            Self::Skipped => "not tried".to_owned(),
        }
    }
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The repair it belongs to.
    pub subject: PathBuf,
    /// The step.
    pub planned: Planned,
    /// How it ended.
    pub ended: Ended,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether what was planned is so now.
    #[must_use]
    pub fn ok(&self) -> bool {
        match self.ended {
            Ended::Done(_) | Ended::Already(_) => true,
            Ended::Refused(..) | Ended::Failed(_) | Ended::Skipped => false,
        }
    }

    /// Whether it was done, or tried.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        matches!(self.ended, Ended::Done(_) | Ended::Failed(_))
    }

    /// What was refused only when it came to acting is a hold like any other.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        match &self.ended {
            Ended::Refused(reason, detail) => Some(self.planned.step.hold(*reason, detail.clone())),
            Ended::Done(_) | Ended::Already(_) | Ended::Failed(_) | Ended::Skipped => None,
        }
    }
}

/// Performs the steps of a repair by `step`, one after the other.
pub(super) fn in_order(repair: &Repair, mut step: impl FnMut(&Step) -> Ended) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(repair.steps.len());
    for planned in &repair.steps {
        let start = boottime();
        let going = outcomes.last().is_none_or(Outcome::ok);
        outcomes.push(Outcome {
            subject: repair.subject.clone(),
            planned: planned.clone(),
            ended: if going { step(&planned.step) } else { Ended::Skipped },
            took: boottime().saturating_sub(start),
        });
    }
    outcomes
}

/// Nothing of a repair is begun.
pub(super) fn refused(repair: &Repair, reason: Reason, why: String) -> Vec<Outcome> {
    let mut ending = Some(Ended::Refused(reason, why));
    let endings = |_: &Step| ending.take().unwrap_or(Ended::Skipped);
    in_order(repair, endings)
}

/// Whether anything was done, or tried.
pub(super) fn touched(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(Outcome::is_tried)
}

/// The base above a repair's subject whose own repair, earlier in this plan, did not succeed.
pub(super) fn failed_base(repair: &Repair, outcomes: &[Outcome]) -> Option<PathBuf> {
    let failed = outcomes.iter().find(|outcome| {
        !outcome.ok()
            && outcome.subject != repair.subject
            && repair.subject.starts_with(&outcome.subject)
    });
    failed.map(|outcome| outcome.subject.clone())
}

/// The base of a bind that this plan was to put back, and did not.
pub(super) fn missing(repair: &Repair, outcomes: &[Outcome]) -> Option<PathBuf> {
    let base = repair.needs.as_ref()?;
    (!is_put_back(base, outcomes)).then(|| base.clone())
}

/// Whether this plan waited for a path, and it was not live again in time, or not as what it should be.
pub(super) fn waited_in_vain(path: &Path, outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| {
        let waited = matches!(&outcome.planned.step, Step::WaitLive { path: it, .. } if it == path);
        waited && matches!(outcome.ended, Ended::Failed(_))
    })
}

/// Whether a path was seen to be live again by this plan.
pub(super) fn is_put_back(path: &Path, outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| {
        let waited = matches!(&outcome.planned.step, Step::WaitLive { path: it, .. } if it == path);
        waited && outcome.ok()
    })
}

/// Whether the worker is down for this round, by whomever.
pub(super) fn was_stopped(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| outcome.ok() && outcome.planned.step.verb() == Verb::StopWorker)
}
