//! Rows that the queue calls running, and that nobody of this host's worker can be at: it is down with nobody
//! left in its control group, or it was so after they were begun. Here it is told which these are, and what
//! their outputs look like; whether they may go back is decided elsewhere.

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
    /// Why nobody can be at it.
    pub why: String,
    /// The mount that its output lies on, and how that is; none where it lies on no watched one.
    pub mount: Option<(PathBuf, Verdict)>,
    /// What its output looks like.
    pub output: Output,
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
    let (Some(facts), Services::Systemd) = (work.known(), settings.host.services) else {
        return Vec::new();
    };
    let Ok(now) = Now::take() else { return Vec::new() };
    let lost =
        facts.running.iter().filter_map(|job| Some((job, abandoned(job, worker, known, &now)?)));
    let mut orphans: Vec<Orphan> = lost
        .map(|(job, why)| Orphan {
            job: job.clone(),
            why,
            mount: job.output.as_deref().and_then(|output| {
                let seen = governing(observations, output)?;
                Some((seen.path.clone(), seen.verdict))
            }),
            output: Output::Unknown("the queue does not say where it is".to_owned()),
        })
        .collect();
    let asked: Vec<PathBuf> = orphans.iter().filter_map(may_be_asked).collect();
    let outputs = growth::look(&asked, limit);
    for orphan in &mut orphans {
        let Some(path) = &orphan.job.output else { continue };
        let not_asked = || Output::Unknown("what it lies on may hang".to_owned());
        orphan.output = outputs.get(path).cloned().unwrap_or_else(not_asked);
    }
    orphans
}

/// Why nobody of this worker can be at a row; none where somebody may.
fn abandoned(job: &Job, worker: &WorkerLook, known: Known<'_>, now: &Now) -> Option<String> {
    if worker.state.is_down() {
        let why = || "the worker is down, with nobody in its control group".to_owned();
        return worker.is_gone().then(why);
    }
    let row = job.row()?;
    if known.watched.iter().any(|watched| watched.row == row) {
        return Some("it was begun before the worker was last seen down".to_owned());
    }
    // both by the clocks of this host
    let started = worker.active_since.filter(|_| worker.state.is_up())?;
    let ago = clock::monotonic().saturating_sub(started).as_millis();
    let started_ms = now.boot_ms.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX));
    let before = |it: &&Interrupted| {
        it.row == row && it.at.boot_id == now.boot_id && it.at.boot_ms < started_ms
    };
    let stopped = known.interrupted.iter().find(before);
    stopped.map(|it| format!("the worker was down after {}, and is another by now", it.at.utc()))
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
