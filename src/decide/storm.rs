//! A worker that is not ours, and has no cool-down of its own, takes the same job again and again while
//! its storage is broken, and fails it each time. Where the map names a not-before column, jobs that
//! come next and whose path is broken for certain, and is not repaired by this plan, are held back.

use super::confirm;
use super::mounts::World;
use super::plan::{Cost, Planned, Repair, Step};
use crate::config::sentinel::Kind;
use crate::probes::jobs::Job;
use crate::probes::mounts::Observation;
use crate::probes::records::Sighting;
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;

/// One for each broken path that jobs come next to, beside the repairs that there are.
#[must_use]
pub fn hold_back(world: &World<'_>, sightings: &[Sighting], repairs: &[Repair]) -> Vec<Repair> {
    // one that runs on it now has failed in a moment, and is the next
    let (running, next): (&[Job], &[Job]) = match world.work {
        Work::Known(facts) if facts.hold_back => (&facts.running, &facts.next),
        Work::Known(_) | Work::Unknown(_) | Work::NoQueue => (&[], &[]),
    };
    let mut held: Vec<Repair> = Vec::new();
    for job in running.iter().chain(next) {
        let Some(seen) = governing(world, job) else { continue };
        let repaired = repairs.iter().any(|repair| repair.puts_back(&seen.path));
        if repaired || !is_broken_for_certain(world, seen, sightings) {
            continue;
        }
        let of_path = |repair: &&mut Repair| repair.subject == seen.path;
        match held.iter_mut().find(of_path).and_then(|repair| repair.steps.first_mut()) {
            Some(Planned { step: Step::HoldBack { jobs, .. }, .. }) => jobs.push(job.id.clone()),
            Some(_) | None => held.push(one(seen, job)),
        }
    }
    held
}

fn one(seen: &Observation, job: &Job) -> Repair {
    let step = Step::HoldBack { path: seen.path.clone(), jobs: vec![job.id.clone()] };
    let why = format!("{}, and it is not repaired now: jobs would only fail on it", seen.verdict);
    Repair {
        subject: seen.path.clone(),
        kind: Kind::Worker,
        needs: None,
        cost: Cost::Nothing,
        owes: Vec::new(),
        leaves: Vec::new(),
        steps: vec![Planned { step, why }],
    }
}

/// The deepest path that is watched and that the job's output lies at or below. One that lies nowhere of the
/// kind, or does not say where, is nobody's concern here.
fn governing<'a>(world: &World<'a>, job: &Job) -> Option<&'a Observation> {
    let output = job.output.as_ref()?;
    let above = world.observations.iter().filter(|seen| output.starts_with(&seen.path));
    above.max_by_key(|seen| seen.path.components().count())
}

fn is_broken_for_certain(world: &World<'_>, seen: &Observation, sightings: &[Sighting]) -> bool {
    match seen.verdict {
        // what could not be judged is neither down nor fine
        Verdict::Live | Verdict::Unknown | Verdict::Inconclusive => false,
        // nobody acts on these, and waiting does not make them surer
        Verdict::WrongSource | Verdict::ChildOfDead => true,
        Verdict::Absent | Verdict::Hung | Verdict::Dead | Verdict::Pinned | Verdict::Transient => {
            let limits = confirm::limits(seen.verdict, false, &world.settings.mounts.confirm);
            let sighting = confirm::of(sightings, &seen.path, seen.identity());
            limits.zip(sighting).is_some_and(|(limits, sighting)| {
                confirm::unconfirmed(seen, sighting, limits, world.now).is_none()
            })
        }
    }
}
