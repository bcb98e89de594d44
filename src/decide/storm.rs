//! A worker that is not ours, and has no cool-down of its own, takes the same job again and again while
//! its storage is broken, and fails it each time. Jobs whose path is broken for certain are held back where the map
//! names a not-before column; where this plan repairs the path, only if it has not come back by that. Where it
//! names none the worker is stopped as soon as no job runs that is well, and owed its start until its storage is
//! live.

use super::busy;
use super::confirm;
use super::mounts::World;
use super::plan::{Planned, Repair, Step};
use super::quiesce::{Quiesce, stop_alone};
use crate::config::sentinel::Kind;
use crate::probes::jobs::{Job, QueueFacts, State};
use crate::probes::mounts::{Observation, governing};
use crate::probes::records::Sighting;
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;

/// What keeps jobs off the broken paths that they come next to, beside the repairs that there are.
#[must_use]
pub fn keep_off(
    world: &World<'_>,
    sightings: &[Sighting],
    repairs: &[Repair],
    quiesce: &Quiesce<'_>,
) -> Vec<Repair> {
    let Work::Known(facts) = world.work else { return Vec::new() };
    let is_repaired = |seen: &Observation| repairs.iter().any(|it| it.puts_back(&seen.path));
    // time enough to hold back what comes soon, and none to stop a worker for what does not come next
    let soon: Vec<&Job> =
        if facts.hold_back { facts.near().collect() } else { facts.next.iter().collect() };
    // one that runs on it now has failed in a moment, and is the next
    let jobs = facts.running.iter().chain(soon);
    let lost: Vec<(&Observation, &Job)> = jobs
        .filter_map(|job| Some((governing(world.observations, job.output.as_ref()?)?, job)))
        .filter(|(seen, _)| is_broken_for_certain(world, seen, sightings))
        .collect();
    if facts.hold_back {
        hold_back(&lost, is_repaired)
    } else {
        let stays: Vec<_> = lost.into_iter().filter(|(seen, _)| !is_repaired(seen)).collect();
        stop(world, facts, &stays, quiesce).into_iter().collect()
    }
}

/// One for each path.
fn hold_back(
    lost: &[(&Observation, &Job)],
    is_repaired: impl Fn(&Observation) -> bool,
) -> Vec<Repair> {
    let mut held: Vec<Repair> = Vec::new();
    for (seen, job) in lost {
        let of_path = |repair: &&mut Repair| repair.subject == seen.path;
        match held.iter_mut().find(of_path).and_then(|repair| repair.steps.first_mut()) {
            Some(Planned { step: Step::HoldBack { jobs, .. }, .. }) => jobs.push(job.id.clone()),
            Some(_) | None => held.push(one(seen, job, is_repaired(seen))),
        }
    }
    held
}

/// The worker, unless it leaves failing paths alone by itself, or a job of it is well.
fn stop(
    world: &World<'_>,
    facts: &QueueFacts,
    lost: &[(&Observation, &Job)],
    quiesce: &Quiesce<'_>,
) -> Option<Repair> {
    let (worker, look) = (world.settings.worker.as_ref()?, world.worker?);
    // the runner leaves what is closed alone, and has other jobs
    if worker.is_runner(world.settings) {
        return None;
    }
    // whatever does not keep it down would have it started again by this very plan
    let needs = worker.needs(world.settings);
    let keeps_down = |(seen, job): &&(&Observation, &Job)| {
        needs.contains(&seen.path) || job.state != State::Running
    };
    let (seen, _) = lost.iter().find(keeps_down)?;
    let scene = quiesce.scene();
    if worker.own_cooldown || look.state.is_down() || scene.well().is_some() {
        return None;
    }
    busy::cannot_stop(world.settings, world.worker).is_none().then(|| {
        let why = format!(
            "{}, and it is not repaired now: {} of {} jobs would only fail on it, again and again",
            seen.verdict,
            lost.len(),
            facts.running.len() + facts.next.len()
        );
        stop_alone(seen.path.clone(), look, &why)
    })
}

fn one(seen: &Observation, job: &Job, is_repaired: bool) -> Repair {
    let step = Step::HoldBack { path: seen.path.clone(), jobs: vec![job.id.clone()] };
    let why = if is_repaired {
        "unless it has come back by then: jobs would only fail on it".to_owned()
    } else {
        format!("{}, and it is not repaired now: jobs would only fail on it", seen.verdict)
    };
    Repair::new(seen.path.clone(), Kind::Worker, vec![Planned { step, why }])
}

/// Whether it is broken, and was seen so as often and as long as it takes to act on it, or is owed.
pub fn is_broken_for_certain(
    world: &World<'_>,
    seen: &Observation,
    sightings: &[Sighting],
) -> bool {
    match seen.verdict {
        // what could not be judged is neither down nor fine
        Verdict::Live | Verdict::Unknown | Verdict::Inconclusive => false,
        // nobody acts on these, and waiting does not make them surer
        Verdict::WrongSource | Verdict::ChildOfDead => true,
        Verdict::Absent | Verdict::Hung | Verdict::Dead | Verdict::Pinned | Verdict::Transient => {
            // what was taken away for a repair need not be seen missing as often as what nobody knew of
            if world.debts.debts.iter().any(|debt| debt.is_at(&seen.path)) {
                return true;
            }
            let limits = confirm::limits(seen.verdict, false, &world.settings.mounts.confirm);
            let sighting = confirm::of(sightings, &seen.path, seen.identity());
            limits.zip(sighting).is_some_and(|(limits, sighting)| {
                confirm::unconfirmed(seen, sighting, limits, world.now).is_none()
            })
        }
    }
}
