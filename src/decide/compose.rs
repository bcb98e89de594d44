//! From what single paths need to what is done to all of them: paths of one superblock are one
//! repair, the budget is asked once for each, and nothing is mounted on ground that is not as it
//! should be.

use std::path::{Path, PathBuf};

use super::budget::Ledger;
use super::mounts::World;
use super::plan::{Cost, Hold, Planned, Reason, Repair, Step};
use crate::probes::mountinfo::Dev;
use crate::probes::verdict::Verdict;
use crate::sys::text;

/// A path that can be repaired.
pub struct Repairable {
    /// The observation's place among its superblock's: one repair takes all of them.
    pub superblock: Option<Dev>,
    /// Its place among those of one superblock: the lowest leads the repair.
    pub rank: Rank,
    /// What would be done.
    pub repair: Repair,
}

/// Who leads the repair of a superblock: the mount of the whole file system before one of a
/// directory in it, which can only be a bind of it and must come back after it; then the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Not the root of the file system is mounted.
    pub of_a_part: bool,
    /// Lower is older, as far as ids are not used again.
    pub mount_id: u64,
}

/// The repairs of a plan; what is not done after all becomes a hold.
#[must_use]
pub fn compose(world: &World<'_>, broken: Vec<Repairable>, holds: &mut Vec<Hold>) -> Vec<Repair> {
    let affordable = afford(world, gather(broken), holds);
    after_bases(world, affordable, holds)
}

/// Makes one repair of all paths that share a superblock: all are detached before the first is put
/// back, the leader first, and the connection is aborted once.
fn gather(mut broken: Vec<Repairable>) -> Vec<Repair> {
    broken.sort_by_key(|repairable| repairable.rank);
    let mut repairs: Vec<(Option<Dev>, Repair)> = Vec::new();
    for Repairable { superblock, repair, .. } in broken {
        let leader = repairs
            .iter_mut()
            .find(|(known, _)| superblock.is_some() && *known == superblock)
            .map(|(_, leader)| leader);
        match leader {
            Some(leader) => join(leader, repair),
            None => repairs.push((superblock, repair)),
        }
    }
    let mut repairs: Vec<Repair> = repairs.into_iter().map(|(_, repair)| repair).collect();
    repairs.sort_by(|a, b| a.subject.cmp(&b.subject));
    repairs
}

fn join(leader: &mut Repair, other: Repair) {
    let done: Vec<Step> = leader.steps.iter().map(|planned| planned.step.clone()).collect();
    let (mut away, back): (Vec<Planned>, Vec<Planned>) = other
        .steps
        .into_iter()
        .filter(|planned| {
            let aborts = matches!(planned.step, Step::AbortConnection { .. });
            !aborts && !done.contains(&planned.step)
        })
        .partition(|planned| matches!(planned.step, Step::Detach { .. }));
    let first_detach = leader
        .steps
        .iter()
        .position(|planned| !matches!(planned.step, Step::AbortConnection { .. }))
        .unwrap_or(leader.steps.len());
    away.extend(leader.steps.drain(first_detach..));
    leader.steps.extend(away);
    leader.steps.extend(back);
    leader.owes.extend(other.owes);
    leader.leaves.extend(other.leaves);
    if matches!((&leader.cost, &other.cost), (Cost::Charge(_), Cost::Resumed)) {
        leader.cost = Cost::Resumed;
    }
}

/// Lets the budget take out what it does not allow. What the config lists is paid for first, so that
/// nobody can spend its budget by breaking mounts of their own.
fn afford(world: &World<'_>, repairs: Vec<Repair>, holds: &mut Vec<Hold>) -> Vec<Repair> {
    let listed =
        |repair: &Repair| world.settings.mount.iter().any(|spec| spec.path == repair.subject);
    let mut ledger = Ledger::new(&world.settings.mounts.budget, &world.state.charges, world.now);
    let (first, second): (Vec<_>, Vec<_>) = repairs.into_iter().partition(listed);
    let mut affordable: Vec<Repair> = first
        .into_iter()
        .chain(second)
        .filter(|repair| match &repair.cost {
            Cost::Resumed | Cost::Nothing => true,
            Cost::Charge(_) => match ledger.charge(&repair.subject) {
                Ok(()) => true,
                Err(hold) => {
                    holds.push(hold);
                    false
                }
            },
        })
        .collect();
    affordable.sort_by(|a, b| a.subject.cmp(&b.subject));
    affordable
}

/// Holds what would be mounted below a base that is not as it should be and that this plan does not
/// put back: on its bare directory it would fill the disk below and vanish when the base returns, and
/// on another file system it would be somebody else's.
fn after_bases(world: &World<'_>, repairs: Vec<Repair>, holds: &mut Vec<Hold>) -> Vec<Repair> {
    let subjects: Vec<PathBuf> = repairs.iter().map(|repair| repair.subject.clone()).collect();
    let missing_above = |subject: &Path| {
        world.observations.iter().find(|above| {
            matches!(above.verdict, Verdict::Absent | Verdict::WrongSource)
                && subject != above.path
                && subject.starts_with(&above.path)
                && !subjects.contains(&above.path)
        })
    };
    let is_absent = |subject: &Path| {
        let seen = world.observations.iter().find(|seen| seen.path == subject);
        seen.is_some_and(|seen| seen.verdict == Verdict::Absent)
    };
    repairs
        .into_iter()
        .filter(|repair| {
            let subject = &repair.subject;
            let Some(above) = missing_above(subject).filter(|_| is_absent(subject)) else {
                return true;
            };
            let detail = format!("{} above it is {}", text::path(&above.path), above.verdict);
            holds.push(Hold::on(subject, Reason::UnclearEvidence, detail));
            false
        })
        .collect()
}
