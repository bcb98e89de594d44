//! What a round of `unwedge-worker` tells beside what every round does: how the worker is, what waits for
//! it, and how its starts went.

use anyhow::Result;
use serde::Serialize;

use super::metrics::{Families, flag, seconds_of, whole};
use super::round::Round;
use crate::act::outcome::Ended;
use crate::decide::plan::{Reason, Subject, Verb};
use crate::probes::jobs::State as JobState;
use crate::probes::records::WorkerState;
use crate::probes::work::Work;
use crate::probes::worker::{State, WorkerLook};

/// The worker as a round saw it.
#[derive(Clone, Copy, Debug)]
pub struct WorkerNews<'a> {
    /// When it was decided.
    pub look: &'a WorkerLook,
    /// Now: the same, or what a second look saw after something was done.
    pub present: &'a WorkerLook,
    /// The queue; none where there is no `[queue]`.
    pub work: &'a Work,
    /// Whether jobs wait and what they write to is live.
    pub should_be_running: bool,
    /// Whether it could work, were it started now: what it stands on is live.
    pub could_work: bool,
    /// What is remembered of its starts.
    pub state: &'a WorkerState,
}

impl WorkerNews<'_> {
    /// Whether it could be seen how it is.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.look.state, State::Unknown(_))
    }

    fn queue(&self) -> String {
        match self.work {
            Work::NoQueue => "no queue is configured".to_owned(),
            Work::Unknown(_) => "nobody knows what is in its queue".to_owned(),
            Work::Known(facts) => {
                let count = |state: JobState| format!("{} {}", facts.count(state), state.name());
                format!("jobs: {}", JobState::ALL.map(count).join(", "))
            }
        }
    }
}

/// One line for people: `worker w.service: inactive; jobs: 3 pending, …; it should be running`.
#[must_use]
pub fn line(news: &WorkerNews<'_>) -> String {
    let should = match (news.should_be_running, news.could_work) {
        (true, _) => "it should be running",
        (false, true) => "it need not run",
        (false, false) => "it could not work now",
    };
    let (name, state) = (&news.look.name, news.look.state.name());
    format!("worker {name}: {state}; {}; {should}", news.queue())
}

/// As the JSON object has it.
#[derive(Serialize)]
pub struct WorkerJson<'a> {
    name: &'a str,
    state: &'static str,
    enabled: &'a str,
    main_pid: Option<u32>,
    restarts: u32,
    should_be_running: bool,
    starts_in_a_row_that_failed: u32,
    queue: String,
}

impl<'a> From<&WorkerNews<'a>> for WorkerJson<'a> {
    fn from(news: &WorkerNews<'a>) -> Self {
        Self {
            name: &news.present.name,
            state: news.present.state.name(),
            enabled: &news.look.enabled,
            main_pid: news.present.main_pid,
            restarts: news.present.restarts,
            should_be_running: news.should_be_running,
            starts_in_a_row_that_failed: news.state.failed,
            queue: news.queue(),
        }
    }
}

/// How the round ended: `started`, `failed`, `refused`, `active`, `held`; and the first reason.
#[must_use]
pub fn result(round: &Round<'_>) -> (&'static str, &'static str) {
    let started = |verb: Verb| verb == Verb::StartWorker;
    let start = round.outcomes.iter().find(|outcome| started(outcome.planned.step.verb()));
    let closed = round.holds().filter(|hold| hold.subject == Subject::Everything);
    let reason = closed.chain(round.holds()).map(|hold| hold.reason).next();
    let word = reason.map_or("", Reason::name);
    match start.map(|start| &start.ended) {
        Some(Ended::Done(_) | Ended::Already(_)) => ("started", ""),
        Some(Ended::Failed(_) | Ended::Skipped) => ("failed", ""),
        Some(Ended::Refused(reason, _)) => ("held", reason.name()),
        None if round.holds().any(|hold| hold.reason == Reason::WorkerActive) => {
            ("active", Reason::WorkerActive.name())
        }
        None => ("held", word),
    }
}

pub(super) fn metrics(
    families: &mut Families,
    round: &Round<'_>,
    news: &WorkerNews<'_>,
) -> Result<()> {
    // a zero would call for a person, who would find a worker that runs
    if !matches!(news.present.state, State::Unknown(_)) {
        families.set("unwedge_worker_active", &[], flag(news.present.state.is_up()))?;
    }
    families.set("unwedge_worker_should_be_running", &[], flag(news.should_be_running))?;
    if let Some(last) = news.state.starts.last() {
        let at = seconds_of(last.at.utc_ms);
        families.set("unwedge_worker_last_start_attempt_timestamp_seconds", &[], at)?;
    }
    let totals = &news.state.totals;
    for (outcome, total) in [("ok", totals.ok), ("failed", totals.failed)] {
        families.set("unwedge_worker_starts", &[("outcome", outcome)], whole(total))?;
    }
    let (result, reason) = result(round);
    let labels = [("result", result), ("reason", reason)];
    families.set("unwedge_worker_last_result", &labels, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whose_storage_is_not_live_could_not_work_rather_than_need_not_run() {
        let look = WorkerLook::of("w", State::Inactive);
        let state = WorkerState::default();
        let said = |should_be_running, could_work| {
            let news = WorkerNews {
                look: &look,
                present: &look,
                work: &Work::NoQueue,
                should_be_running,
                could_work,
                state: &state,
            };
            line(&news)
        };
        assert!(said(false, false).ends_with("; it could not work now"));
        assert!(said(false, true).ends_with("; it need not run"));
        assert!(said(true, true).ends_with("; it should be running"));
    }
}
