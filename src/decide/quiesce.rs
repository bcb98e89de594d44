//! Quiescing the worker, as part of a plan: which repairs it is stopped for, where among their steps, and its
//! start at the end. Whether it may be stopped at all is asked of the work that runs (`busy`).
//!
//! The stop comes after the abort of a connection, because a worker that waits on a hung mount cannot be
//! stopped before, and before anything is taken away. The start is the last step of the plan and stands for
//! itself: whatever else fails, a worker whose own storage is live comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::busy::{self, Scene, Way};
use super::gates::{self, Shut};
use super::mounts::{Finding, World};
use super::plan::{Hold, Owed, Planned, Repair, Step};
use super::storm;
use super::worker;
use crate::config::sentinel::Kind;
use crate::probes::mounts::Observation;
use crate::probes::records::{Sighting, WorkerState};
use crate::probes::units::UnitLook;
use crate::probes::verdict::Verdict;
use crate::probes::worker::WorkerLook;

/// The paths that are broken for certain: what is about to be repaired, and what is confirmed though it is
/// not. A bind that is only missing is none: it is made whatever runs.
pub(super) fn broken(
    world: &World<'_>,
    findings: &[(&Observation, Finding)],
    sightings: &[Sighting],
) -> Vec<PathBuf> {
    let is_broken = |seen: &Observation, finding: &Finding| match seen.verdict {
        Verdict::Live
        | Verdict::Unknown
        | Verdict::Inconclusive
        | Verdict::WrongSource
        // it answers, though it is not the storage of today
        | Verdict::Pinned => false,
        Verdict::Absent if seen.bind.is_some() => false,
        Verdict::Dead | Verdict::Hung | Verdict::Absent | Verdict::Transient | Verdict::ChildOfDead => {
            matches!(finding, Finding::Broken(_) | Finding::Unbound(_))
                || storm::is_broken_for_certain(world, seen, sightings)
        }
    };
    let broken = findings.iter().filter(|(seen, finding)| is_broken(seen, finding));
    broken.map(|(seen, _)| seen.path.clone()).collect()
}

/// What work asks of the repairs of one plan.
pub struct Quiesce<'a> {
    world: &'a World<'a>,
    broken: &'a [PathBuf],
    no_stop: Option<Shut>,
    /// Subjects of repairs for which the worker is stopped, and why.
    stopped_for: BTreeMap<PathBuf, String>,
}

impl<'a> Quiesce<'a> {
    /// Nothing is asked yet.
    pub fn of(world: &'a World<'a>, broken: &'a [PathBuf]) -> Self {
        let shut = gates::shut(world.gates, Kind::Worker, world.now).into_iter().next();
        let no_stop = busy::cannot_stop(world.settings, world.worker).or(shut);
        Self { world, broken, no_stop, stopped_for: BTreeMap::new() }
    }

    /// The work on this host.
    pub fn scene(&self) -> Scene<'_> {
        Scene {
            settings: self.world.settings,
            work: self.world.work,
            worker: self.world.worker,
            no_stop: self.no_stop.as_ref(),
            broken: self.broken,
        }
    }

    /// Whether what was seen may be repaired; takes note of how.
    pub fn allows(&mut self, seen: &Observation, repair: &Repair) -> Result<(), Hold> {
        let way = self.scene().allows(seen, repair, takes_along(self.world, repair))?;
        if let Way::WorkerStopped(why) = way {
            self.stopped_for.insert(seen.path.clone(), why);
        }
        Ok(())
    }

    /// Puts the stop where it belongs. A bind that stands on a base of this plan comes after that one's.
    pub fn stop_first(&self, repairs: &mut [Repair]) {
        let Some(worker) = self.world.worker else { return };
        let mut stopped: BTreeSet<PathBuf> = BTreeSet::new();
        for repair in repairs {
            let asks = |planned: &Planned| self.stopped_for.get(planned.step.path());
            let Some(why) = repair.steps.iter().find_map(asks) else { continue };
            if !repair.needs.as_ref().is_some_and(|base| stopped.contains(base)) {
                stop_in(repair, worker, why);
                stopped.insert(repair.subject.clone());
            }
        }
    }
}

/// Whether a restart in a repair takes the worker along, which makes it a stop of the worker.
fn takes_along(world: &World<'_>, repair: &Repair) -> bool {
    let Some(worker) = world.settings.worker.as_ref().and_then(|it| it.unit.as_ref()) else {
        return false;
    };
    repair.steps.iter().any(|planned| {
        let Step::RestartUnit { unit, .. } = &planned.step else { return false };
        match world.units.get(unit) {
            Some(UnitLook::Seen(unit)) => unit.dependents.contains(worker),
            Some(UnitLook::Unknown(_)) | None => false,
        }
    })
}

/// One step more, and the debt for it.
fn stop_in(repair: &mut Repair, worker: &WorkerLook, why: &str) {
    let unit = worker.name.clone();
    let ends_a_connection =
        |planned: &Planned| matches!(planned.step, Step::AbortConnection { .. });
    let at = repair.steps.iter().take_while(|planned| ends_a_connection(planned)).count();
    let step = Step::StopWorker { unit: unit.clone() };
    repair.steps.insert(at, Planned { step, why: why.to_owned() });
    repair.owes.push(Owed::Worker { unit, was_enabled: worker.is_enabled() });
}

/// A repair that is nothing but a stop.
pub fn stop_alone(subject: PathBuf, worker: &WorkerLook, why: &str) -> Repair {
    let mut repair = Repair::new(subject, Kind::Worker, Vec::new());
    stop_in(&mut repair, worker, why);
    repair
}

/// The start at the end of the plan, of a worker that is stopped in it or was by an earlier round.
pub fn resume(world: &World<'_>, repairs: &[Repair]) -> Result<Option<Repair>, Vec<Hold>> {
    let (Some(worker), Some(look)) = (&world.settings.worker, world.worker) else {
        return Ok(None);
    };
    worker::resume(&worker::World {
        settings: world.settings,
        worker,
        faults: world.faults,
        before: repairs,
        look,
        observations: world.observations,
        work: world.work,
        orphans: &[],
        headroom: &BTreeMap::new(),
        heartbeats: world.heartbeats,
        gates: world.gates,
        state: &WorkerState::default(),
        debts: world.debts,
        now: world.now,
    })
}
