//! Everything a round of `unwedge-worker` looks at, in one go: gates, records, the worker, the mounts, the
//! queue, and the room that is left. Nothing is locked and nothing written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::facts::{self, OwnLock, Remembered, remember};
use super::gates::Gates;
use super::headroom::{self, Headroom};
use super::heartbeat::{self, State};
use super::mounts::{self, Survey};
use super::orphans::{self, Known, Orphan};
use super::records::{self, Debts, MountsState, WorkerState};
use super::verdict::Verdict;
use super::work::Work;
use super::worker::{self, WorkerLook};
use crate::config::{Settings, Worker};
use crate::manifest::WORKER;
use crate::sys::clock::Now;

/// What was seen.
#[derive(Debug)]
pub struct WorkerFacts {
    /// The moment after the look: what decisions, records and reports go by.
    pub now: Now,
    /// The gates.
    pub gates: Gates,
    /// The worker.
    pub look: WorkerLook,
    /// The mounts and binds.
    pub survey: Survey,
    /// The queue.
    pub work: Work,
    /// Rows that nobody of the worker can be at.
    pub orphans: Vec<Orphan>,
    /// The room that is left on each need that is live.
    pub headroom: BTreeMap<PathBuf, Headroom>,
    /// What was last seen of the signs of life of others.
    pub heartbeats: BTreeMap<String, Option<State>>,
    /// What earlier rounds wrote down; empty when it cannot be read, and then a gate is closed.
    pub state: WorkerState,
    /// What is owed.
    pub debts: Debts,
}

/// Looks.
///
/// # Errors
/// There is no clock to go by (no /proc).
pub fn look(
    settings: &Settings,
    worker: &Worker,
    work: Work,
    own_lock: OwnLock,
) -> std::io::Result<WorkerFacts> {
    let now = &Now::take()?;
    let Remembered { state, debts, gates } =
        remember::<WorkerState>(settings, &WORKER, own_lock, now);
    // what the repairs took away stays bad until somebody mounts it, and that is in another tool's record
    let repairs: MountsState = records::read(&settings.host.state_dir, now).unwrap_or_default();
    let gone = facts::remembered(&repairs, &debts);
    let survey = mounts::survey(settings, &gone, false, worker.deadline / 4);
    let look = worker::look(settings, worker);
    let headroom = headroom::look(&roomy(settings, worker, &survey), settings.probe.timeout);
    let known = Known { watched: &state.watched, interrupted: &repairs.interrupted };
    let seen = &survey.observations;
    let orphans = orphans::look(settings, &work, &look, known, seen, worker.deadline / 8);
    let heartbeats = heartbeat::last(settings, now);
    let now = Now::take()?;
    Ok(WorkerFacts { now, gates, look, survey, work, orphans, headroom, heartbeats, state, debts })
}

/// The needs that can be asked for their room.
fn roomy(
    settings: &Settings,
    worker: &Worker,
    survey: &Survey,
) -> Vec<(PathBuf, super::mountinfo::Dev)> {
    let needs = worker.needs(settings);
    let live = survey.observations.iter().filter(|seen| seen.verdict == Verdict::Live);
    live.filter(|seen| needs.contains(&seen.path))
        .filter_map(|seen| Some((seen.path.clone(), seen.identity()?.dev)))
        .collect()
}
