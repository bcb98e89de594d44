//! Rows that the queue calls running, though the worker of this host is down or was so after they were begun. Here
//! it is told which these are, whether anybody can still be at them, and what their outputs look like; whether they
//! may go back is decided elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use super::growth::{self, Output};
use super::jobs::Job;
use super::mountinfo;
use super::mounts::{Observation, governing};
use super::records::{Interrupted, Watched};
use super::verdict::Verdict;
use super::work::Work;
use super::worker::WorkerLook;
use crate::config::{Services, Settings};
use crate::sys::clock::{self, Now};

/// Such a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The job as the queue has it.
    pub job: Job,
    /// Whether anybody of the worker can be at it.
    pub left: Left,
    /// The mount that its output lies on, and how that is; none where it lies on no watched one.
    pub mount: Option<(PathBuf, Verdict)>,
    /// What its output looks like.
    pub output: Output,
}

/// Who is left of the worker that may be at a row, and by what that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nobody.
    Nobody(String),
    /// Somebody.
    Somebody(String),
    /// Nobody knows.
    Unknown(String),
}

impl Left {
    /// Whether nobody can be at it.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody(_))
    }
}

/// What earlier rounds wrote down of rows.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Those that were watched.
    pub watched: &'a [Watched],
    /// Those that were running when the worker was stopped for a repair, or before it was started again.
    pub interrupted: &'a [Interrupted],
}

/// Looks; outputs are looked through within `limit`.
#[must_use]
pub fn look(
    settings: &Settings,
    work: &Work,
    worker: &WorkerLook,
    known: Known<'_>,
    observations: &[Observation],
    limit: Duration,
) -> Vec<Orphan> {
    let (Some(facts), Ok(now)) = (work.known(), Now::take()) else { return Vec::new() };
    let of = |job| match settings.host.services {
        Services::Systemd => left(job, worker, known, &now),
        // a library takes its rows back itself, and lets in who comes: that the worker is down is enough
        Services::Process if worker.state.is_down() && facts.rescue.is_some() => {
            Some(Left::Nobody("the worker is down, as its status command says".to_owned()))
        }
        Services::Process if worker.state.is_down() => Some(Left::Unknown(
            "without a service manager nobody knows who is left of the worker".to_owned(),
        )),
        Services::Process => None,
    };
    let lost = facts.running.iter().filter_map(|job| Some((job, of(job)?)));
    let mut orphans: Vec<Orphan> = lost
        .map(|(job, left)| Orphan {
            job: job.clone(),
            left,
            mount: job.output.as_deref().and_then(|output| {
                let seen = governing(observations, output)?;
                Some((seen.path.clone(), seen.verdict))
            }),
            output: Output::Unknown("the queue does not say where it is".to_owned()),
        })
        .collect();
    // what is never given back by us needs no such witness
    let is_given_back = facts.rescue.is_none();
    let asked = orphans.iter().filter(|_| is_given_back).filter_map(may_be_asked);
    let asked: Vec<PathBuf> = asked.collect();
    let outputs = growth::look(&asked, limit);
    for orphan in &mut orphans {
        let Some(path) = &orphan.job.output else { continue };
        let why = if is_given_back { "what it lies on may hang" } else { "nobody asks for it" };
        let not_asked = || Output::Unknown(why.to_owned());
        orphan.output = outputs.get(path).cloned().unwrap_or_else(not_asked);
    }
    orphans
}

/// Who of this worker may be at a row; none where it is up, and the row may be one of its own.
fn left(job: &Job, worker: &WorkerLook, known: Known<'_>, now: &Now) -> Option<Left> {
    if worker.state.is_down() {
        return Some(match &worker.processes {
            _ if worker.is_gone() => {
                Left::Nobody("the worker is down, with nobody in its control group".to_owned())
            }
            Ok(left) if !left.is_empty() => {
                let count = left.len();
                Left::Somebody(format!("the worker is down, with {count} in its control group"))
            }
            Ok(_) => Left::Unknown("there is no such worker here".to_owned()),
            Err(why) => Left::Unknown(why.clone()),
        });
    }
    let row = job.row()?;
    if known.watched.iter().any(|watched| watched.row == row) {
        return Some(Left::Nobody("it was begun before the worker was last seen down".to_owned()));
    }
    // both by the clocks of this host
    let started = worker.active_since.filter(|_| worker.state.is_up())?;
    let ago = clock::monotonic().saturating_sub(started).as_millis();
    let started_ms = now.boot_ms.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX));
    let before = |it: &&Interrupted| {
        it.row == row && it.at.boot_id == now.boot_id && it.at.boot_ms < started_ms
    };
    let stopped = known.interrupted.iter().find(before);
    stopped.map(|it| {
        Left::Nobody(format!("the worker was down after {}, and is another by now", it.at.utc()))
    })
}

/// An output on a watched mount that answers, or on a disk of this host.
fn may_be_asked(orphan: &Orphan) -> Option<PathBuf> {
    let output = orphan.job.output.clone()?;
    let answers = if let Some((_, verdict)) = &orphan.mount {
        *verdict == Verdict::Live
    } else {
        let mounts = mountinfo::mount_points();
        let mut above = mounts.iter().filter(|mount| output.starts_with(&mount.path)).peekable();
        above.peek().is_some() && above.all(|mount| !mount.may_hang)
    };
    answers.then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::jobs::{InfraErrors, QueueFacts, Rescue, Since, State};
    use crate::probes::worker::State as WorkerState;

    fn left_of(services: &str, rescue: Option<Rescue>) -> Left {
        let text = format!("[host]\nservices = \"{services}\"\n");
        let settings = crate::config::from_str(&text).unwrap();
        let row = Job {
            id: "1".to_owned(),
            state: State::Running,
            lane: None,
            output: None,
            started_utc_ms: Some(1),
            not_before_utc_ms: None,
            back_utc_ms: None,
            attempts: Some(1),
        };
        let facts = QueueFacts {
            queue: "jobs".to_owned(),
            at_utc_ms: 2,
            running: vec![row],
            next: vec![],
            cooling: vec![],
            counts: [(State::Running, 1)].into(),
            oldest_pending_ms: None,
            infra_errors: InfraErrors { window_ms: 1, count: None },
            stale_running: None,
            dead: None,
            rescue,
            hold_back: false,
            advice: vec![],
        };
        let worker = WorkerLook::of("worker", WorkerState::Inactive);
        let known = Known { watched: &[], interrupted: &[] };
        let work = Work::Known(Box::new(facts));
        let mut orphans = look(&settings, &work, &worker, known, &[], Duration::ZERO);
        assert_eq!(orphans.len(), 1, "{orphans:?}");
        orphans.remove(0).left
    }

    #[test]
    fn without_a_service_manager_a_librarys_rows_are_nobodys_once_its_worker_is_down() {
        let rescue = || Some(Rescue { by: "it".to_owned(), after_ms: 1, since: Since::Start });
        assert!(left_of("process", rescue()).is_nobody());
        // those that we give back want more of a witness
        assert!(matches!(left_of("process", None), Left::Unknown(_)));
        assert!(left_of("systemd", rescue()).is_nobody());
    }
}
