//! Everything a round of `unwedge-mounts` looks at, in one go: gates, records, mounts, units.
//! Nothing is locked and nothing written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gates::{self, Access, Gates, LockLook, Namespace};
use super::heartbeat::{self, State};
use super::mountinfo::mount_points;
use super::mounts::{self, Ground, Observation, Survey};
use super::records::{self, Debt, Debts, Holds, MountsState, Record, Sighting, Unreadable};
use super::units::{self, UnitLook};
use super::verdict::Verdict;
use super::work::Work;
use super::worker::{self, WorkerLook};
use crate::config::sentinel::{self, Kind};
use crate::config::{self, Mounts, Services, Settings, Starts, Worker};
use crate::manifest::{MOUNTS, Tool};
use crate::sys::clock::{Now, Stamp};

/// How long systemctl and journalctl may each take to answer.
const UNIT_LIMIT: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// The moment before the look: nothing that was seen is older.
    pub looked_at: Now,
    /// The moment after the look: what decisions, records and reports go by.
    pub now: Now,
    /// The work on this host.
    pub work: Work,
    /// The gates.
    pub gates: Gates,
    /// The mounts.
    pub survey: Survey,
    /// The units of those that are not live.
    pub units: BTreeMap<String, UnitLook>,
    /// The worker; not looked at where there is none, or where all is well and nothing owed.
    pub worker: Option<WorkerLook>,
    /// What was last seen of the signs of life of others.
    pub heartbeats: BTreeMap<String, Option<State>>,
    /// What earlier rounds wrote down; empty when it cannot be read, and then a gate is closed.
    pub state: MountsState,
    /// What is owed.
    pub debts: Debts,
}

/// Whether this round holds the tool's lock itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLock {
    /// It does: nobody else is at work.
    Held,
    /// It does not, and looks whether somebody does.
    NotHeld,
}

/// Refuses to go on with state, locks, metrics or programs that are started on storage that may hang, whatever links lead
/// there. To be asked before any of them is opened or started.
///
/// # Errors
/// The path, and the mount it lies on.
pub fn refuse_own_paths_that_may_hang(settings: &Settings, starts: Starts) -> std::io::Result<()> {
    match config::own_path_that_may_hang(settings, starts, &Mounts::asked(mount_points)) {
        None => Ok(()),
        Some(what) => Err(std::io::Error::other(format!(
            "{what}, which may hang this very program; nothing is done"
        ))),
    }
}

/// Looks.
///
/// # Errors
/// There is no clock to go by (no /proc).
pub fn look(
    settings: &Settings,
    work: Work,
    everything: bool,
    own_lock: OwnLock,
) -> std::io::Result<Facts> {
    look_with(settings, work, everything, own_lock, |_| {})
}

/// As [`look`], as if what is mounted at `path` were broken in this way, and had been seen so for long: for a drill. Of
/// what earlier rounds remember nothing counts.
///
/// # Errors
/// The clock cannot be read.
pub fn pretend(
    settings: &Settings,
    work: Work,
    path: &Path,
    verdict: Verdict,
) -> std::io::Result<Facts> {
    let mut facts = look_with(settings, work, false, OwnLock::NotHeld, |observations| {
        let of_it = |seen: &Observation| seen.path == path;
        let shared = observations.iter().find(|seen| of_it(seen)).map(|seen| seen.shared.clone());
        // what is taken away takes nothing along: binds of it stay as they are
        let shared = shared.filter(|_| verdict != Verdict::Absent).unwrap_or_default();
        for seen in
            observations.iter_mut().filter(|seen| of_it(seen) || shared.contains(&seen.path))
        {
            seen.verdict = verdict;
            seen.errno = (verdict == Verdict::Dead).then_some(libc::ENOTCONN);
            seen.waiting_since = (verdict == Verdict::Hung).then_some(Duration::ZERO);
            "a drill".clone_into(&mut seen.why);
            if verdict == Verdict::Absent {
                seen.layers.clear();
                seen.ground = Ground::Directory;
            }
        }
    })?;
    let since = Stamp {
        utc_ms: facts.now.utc_ms.saturating_sub(DRILLED_FOR_MS),
        boot_ms: 0,
        boot_id: "a drill".to_owned(),
    };
    let drilled = facts.survey.observations.iter().filter(|seen| seen.why == "a drill");
    let sighting = |seen: &Observation| Sighting {
        path: seen.path.clone(),
        identity: seen.identity().cloned(),
        verdict,
        stacked: false,
        runs: DRILLED_RUNS,
        since: since.clone(),
        waiting_since_ms: seen.waiting_since.map(|_| 0),
    };
    facts.state =
        MountsState { sightings: drilled.map(sighting).collect(), ..MountsState::default() };
    Ok(facts)
}

/// What is pretended has been so for a day, and a thousand rounds: longer than any confirmation asks for.
const DRILLED_FOR_MS: u64 = 24 * 3_600_000;
const DRILLED_RUNS: u32 = 1_000;

fn look_with(
    settings: &Settings,
    work: Work,
    everything: bool,
    own_lock: OwnLock,
    bend: impl FnOnce(&mut [Observation]),
) -> std::io::Result<Facts> {
    let host = &settings.host;
    let now = &Now::take()?;
    let Remembered { state, debts, gates } =
        remember::<MountsState>(settings, &MOUNTS, own_lock, now);
    let remembered = remembered(&state, &debts);
    // looking may take half of the round's time; the other half is for what is found
    let limit = settings.mounts.deadline / 2;
    let mut survey = mounts::survey(settings, &remembered, everything, limit);
    bend(&mut survey.observations);
    let names = units_needed(settings, &survey.observations);
    let units = units::read(&host.systemctl, &host.journalctl, &names, UNIT_LIMIT);
    let worker = settings
        .worker
        .as_ref()
        .filter(|worker| concerns_the_worker(&survey.observations, &debts, worker))
        .map(|config| worker::look(settings, config));
    let heartbeats = heartbeat::last(settings, now);
    Ok(Facts {
        looked_at: now.clone(),
        now: Now::take()?,
        work,
        gates,
        survey,
        units,
        worker,
        heartbeats,
        state,
        debts,
    })
}

/// Whether anything may be to be done for which the worker matters.
fn concerns_the_worker(observations: &[Observation], debts: &Debts, worker: &Worker) -> bool {
    let fine = |seen: &Observation| seen.verdict == Verdict::Live && seen.layers.len() == 1;
    debts.of_worker(worker.name()).is_some() || !observations.iter().all(fine)
}

/// What a tool has written down, and its gates.
pub(super) struct Remembered<S> {
    /// Its state; empty when it cannot be read, and then a gate is closed.
    pub state: S,
    /// What is owed.
    pub debts: Debts,
    /// The gates.
    pub gates: Gates,
}

/// Reads them; `tool` is whose lock tells of another round.
pub(super) fn remember<S: Record>(
    settings: &Settings,
    tool: &Tool,
    own_lock: OwnLock,
    now: &Now,
) -> Remembered<S> {
    let host = &settings.host;
    let mut unreadable = None;
    let state: S = readable(records::read(&host.state_dir, now), &mut unreadable);
    let debts: Debts = readable(records::read(&host.state_dir, now), &mut unreadable);
    let holds: Holds = readable(records::read(&host.state_dir, now), &mut unreadable);
    let access = |kind: Kind| Access {
        permission: sentinel::permission(&host.sentinel_dir, kind),
        hold: holds
            .holds
            .get(kind.name())
            .and_then(|hold| Some((hold.left(now)?, hold.because.clone()))),
    };
    let gates = Gates {
        access: Kind::ALL.into_iter().map(|kind| (kind, access(kind))).collect(),
        halt: sentinel::halt(&host.sentinel_dir),
        deploy: gates::lock(&settings.gates.deploy_lock, true),
        busy: match own_lock {
            OwnLock::Held => LockLook::Free,
            OwnLock::NotHeld => {
                tool.lock_file(host).map_or(LockLook::Free, |path| gates::lock(&path, false))
            }
        },
        clock_fault: records::clock_fault(&state, now) || records::clock_fault(&debts, now),
        unreadable,
        namespace: match host.services {
            Services::Systemd => gates::namespace(),
            Services::Process => Namespace::Host,
        },
    };
    Remembered { state, debts, gates }
}

/// Paths that are looked at because of what earlier rounds did.
#[must_use]
pub fn remembered(state: &MountsState, debts: &Debts) -> BTreeSet<PathBuf> {
    let detached = state.remembered.iter().map(|remembered| remembered.path.clone());
    detached.chain(debts.debts.iter().filter_map(Debt::path).map(Path::to_path_buf)).collect()
}

fn readable<R: Default>(read: Result<R, Unreadable>, unreadable: &mut Option<String>) -> R {
    read.unwrap_or_else(|error| {
        unreadable.get_or_insert(error.to_string());
        R::default()
    })
}

/// The units whose state a decision needs: those of listed mounts that are not simply live.
fn units_needed(settings: &Settings, observations: &[Observation]) -> Vec<String> {
    match settings.host.services {
        Services::Process => return Vec::new(),
        Services::Systemd => {}
    }
    let listed = |seen: &Observation| settings.mount.iter().find(|spec| spec.path == seen.path);
    let mut names: Vec<String> = observations
        .iter()
        .filter(|seen| seen.verdict != Verdict::Live)
        .filter(|seen| settings.mounts.is_under_root(&seen.path))
        .filter_map(|seen| listed(seen)?.unit.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}
