//! From what single paths need to what is done to all of them: paths of one superblock are one
//! repair, binds come after their bases, the budget is asked once for a base with all that hangs on
//! it, and nothing is mounted on ground that is not as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::binds::{Unbound, without_its_base};
use super::budget::Ledger;
use super::gates;
use super::mounts::World;
use super::plan::{Cost, Hold, Planned, Reason, Repair, Step, Subject};
use crate::config::MountSpec;
use crate::config::sentinel::Kind;
use crate::probes::identity::Identity;
use crate::probes::mountinfo::Dev;
use crate::probes::mounts::{Observation, Role};
use crate::probes::units::UnitLook;
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
pub fn compose(
    world: &World<'_>,
    broken: Vec<Repairable>,
    binds: Vec<Unbound>,
    waiting: &[Unbound],
    holds: &mut Vec<Hold>,
) -> Vec<Repair> {
    let mut ledger = Ledger::new(world.settings, &world.state.charges, world.now);
    let affordable = afford(gather(broken), &mut ledger, holds);
    let mut repairs = after_bases(world, affordable, holds);
    let binds = on_bases(world, &repairs, binds, holds);
    let bases: BTreeMap<PathBuf, PathBuf> =
        binds.iter().map(|it| (it.repair.subject.clone(), it.base.clone())).collect();
    let binds: Vec<Repair> = binds.into_iter().map(|unbound| unbound.repair).collect();
    let all = binds.clone();
    let binds = permitted(world, Kind::Binds, binds, holds);
    let binds = charge_with_bases(&mut repairs, binds, &mut ledger, holds);
    owe_those_that_wait(&mut repairs, all.iter().chain(waiting.iter().map(|it| &it.repair)));
    let with_binds: BTreeSet<PathBuf> =
        binds.iter().filter_map(|bind| bases.get(&bind.subject).cloned()).collect();
    repairs.extend(binds);
    let dependents = restart_dependents(world, &repairs, &with_binds);
    repairs.extend(dependents);
    repairs
}

/// What stands on a base is restarted once base and binds are done, each for itself: one that does not come
/// up again keeps none of the others from it. Those that go with a restart of the base's own unit are left to that;
/// where it is only started instead, they are restarted here, all but the worker.
fn restart_dependents(
    world: &World<'_>,
    repairs: &[Repair],
    with_binds: &BTreeSet<PathBuf>,
) -> Vec<Repair> {
    let mut dependents = Vec::new();
    for spec in &world.settings.mount {
        let put_back = repairs.iter().find(|repair| repair.puts_back(&spec.path));
        let base_first = put_back.is_some();
        if world.front != Kind::Mounts || !(base_first || with_binds.contains(&spec.path)) {
            continue;
        }
        let mut units = spec.dependents.clone();
        match put_back.map_or(Goes::Nothing, |repair| goes_along(world, repair, spec)) {
            Goes::Nothing => {}
            Goes::With(along) => units.retain(|unit| !along.contains(unit)),
            Goes::Instead(along) => {
                let new = along.iter().filter(|unit| !spec.dependents.contains(unit));
                units.extend(new.cloned());
            }
        }
        for unit in units {
            let path = spec.path.clone();
            let why = "it stands on what was repaired".to_owned();
            let steps = vec![Planned { step: Step::RestartDependent { path, unit }, why }];
            dependents.push(Repair {
                needs: base_first.then(|| spec.path.clone()),
                ..Repair::new(spec.path.clone(), Kind::Mounts, steps)
            });
        }
    }
    dependents
}

/// What goes along when a base is put back by its unit.
enum Goes {
    /// Nothing, as far as is known.
    Nothing,
    /// These, by the manager's own hand.
    With(Vec<String>),
    /// These would have, had the unit been restarted.
    Instead(Vec<String>),
}

fn goes_along(world: &World<'_>, repair: &Repair, spec: &MountSpec) -> Goes {
    let Some(unit) = &spec.unit else { return Goes::Nothing };
    let Some(UnitLook::Seen(known)) = world.units.get(unit) else { return Goes::Nothing };
    let worker = world.settings.worker.as_ref().and_then(|it| it.unit.as_ref());
    let any = |is: &dyn Fn(&Step) -> bool| repair.steps.iter().any(|planned| is(&planned.step));
    if any(&|step| matches!(step, Step::RestartUnit { unit: name, .. } if name == unit)) {
        Goes::With(known.dependents.clone())
    } else if repair.takes_away()
        && any(&|step| matches!(step, Step::StartUnit { unit: name, .. } if name == unit))
    {
        let others = known.dependents.iter().filter(|name| Some(*name) != worker);
        Goes::Instead(others.cloned().collect())
    } else {
        Goes::Nothing
    }
}

/// Holds binds whose base is neither live nor put back by this plan; the others learn which it is.
fn on_bases(
    world: &World<'_>,
    repairs: &[Repair],
    binds: Vec<Unbound>,
    holds: &mut Vec<Hold>,
) -> Vec<Unbound> {
    let mut kept = Vec::with_capacity(binds.len());
    for mut unbound in binds {
        if let Some(above) = missing_above(world, repairs, &kept, &unbound.repair.subject) {
            let above = format!("{} above it is {}", text::path(&above.path), above.verdict);
            holds.push(Hold::on(&unbound.repair.subject, Reason::StorageNotLive, above));
            continue;
        }
        let base = world.observations.iter().find(|seen| seen.path == unbound.base);
        let onto =
            base.filter(|base| base.verdict == Verdict::Live).and_then(|base| base.identity());
        if let Some(onto) = onto {
            set_onto(&mut unbound.repair, onto);
        } else if repairs.iter().any(|repair| repair.puts_back(&unbound.base)) {
            unbound.repair.needs = Some(unbound.base.clone());
        } else {
            let detail = without_its_base(&unbound.base, base.map(|base| base.verdict));
            holds.push(Hold::on(&unbound.repair.subject, Reason::StorageNotLive, detail));
            continue;
        }
        kept.push(unbound);
    }
    kept
}

/// A base or a bind that the hot path lies in, and that is neither as it should be nor made so by this plan:
/// what were made there would lie on its bare directory, or go when it comes back.
fn missing_above<'a>(
    world: &World<'a>,
    repairs: &[Repair],
    binds: &[Unbound],
    hot: &Path,
) -> Option<&'a Observation> {
    world.observations.iter().find(|above| {
        let listed = above.bind.is_some() || above.roles.contains(&Role::Base);
        let inside = hot != above.path && hot.starts_with(&above.path);
        let made = repairs.iter().chain(binds.iter().map(|it| &it.repair));
        let live = above.verdict == Verdict::Live
            || made.into_iter().any(|repair| repair.puts_back(&above.path));
        listed && inside && !live
    })
}

/// A bind that cannot be swapped now, because a job runs on it or its sentinel is missing, went down with the
/// base that is charged here: when its time comes it is owed and costs nothing.
fn owe_those_that_wait<'a>(repairs: &mut [Repair], waiting: impl Iterator<Item = &'a Repair>) {
    for bind in waiting {
        let Cost::Charge { to, identity, .. } = &bind.cost else { continue };
        for repair in repairs.iter_mut() {
            let Cost::Charge { to: charged, along, .. } = &mut repair.cost else { continue };
            if charged == to && !along.contains(identity) {
                along.push(identity.clone());
                repair.owes.extend(bind.owes.iter().cloned());
            }
        }
    }
}

fn set_onto(repair: &mut Repair, mount: &Identity) {
    for planned in &mut repair.steps {
        match &mut planned.step {
            Step::Bind { shows, .. } | Step::Rebind { shows, .. } => {
                shows.onto = Some(mount.clone());
            }
            Step::AbortConnection { .. }
            | Step::Detach { .. }
            | Step::RestartUnit { .. }
            | Step::RestartDependent { .. }
            | Step::StartUnit { .. }
            | Step::Remount { .. }
            | Step::WaitLive { .. }
            | Step::HoldBack { .. }
            | Step::RecoverJobs { .. }
            | Step::StopWorker { .. }
            | Step::ResetFailed { .. }
            | Step::StartWorker { .. } => {}
        }
    }
}

/// Holds what the sentinel or pause of its kind does not permit. Where the tool's own gate is closed nothing
/// is done at all, and it stays to be seen.
#[must_use]
pub fn permitted(
    world: &World<'_>,
    kind: Kind,
    repairs: Vec<Repair>,
    holds: &mut Vec<Hold>,
) -> Vec<Repair> {
    let shut = gates::shut(world.gates, kind, world.now);
    let Some(first) = shut.first().filter(|_| world.front != kind) else { return repairs };
    if !gates::shut(world.gates, world.front, world.now).is_empty() {
        return repairs;
    }
    for repair in repairs {
        let verbs: Vec<&str> =
            repair.steps.iter().map(|planned| planned.step.verb().name()).collect();
        let detail = format!("{}: would {}", first.detail, verbs.join(", "));
        let hold = Hold::on(&repair.subject, first.reason, detail);
        holds.push(hold.until(first.until_utc_ms));
    }
    Vec::new()
}

/// One charge is one base with all that hangs on it: binds go with their base's charge, or, where the
/// base needs none, one of them is charged to the base and the others go with that. Whoever is charged
/// owes them all from the beginning, so that a round that is killed leaves none of them forgotten.
fn charge_with_bases(
    repairs: &mut [Repair],
    binds: Vec<Repair>,
    ledger: &mut Ledger<'_>,
    holds: &mut Vec<Hold>,
) -> Vec<Repair> {
    let mut kept: Vec<Repair> = Vec::with_capacity(binds.len());
    let mut refused: BTreeMap<PathBuf, Hold> = BTreeMap::new();
    for mut bind in binds {
        if bind.cost == Cost::Resumed {
            // the charge that covers both ends with the base: killed after that, the bind must be owed by then
            let is_base = |it: &&mut Repair| Some(&it.subject) == bind.needs.as_ref();
            let base = repairs.iter_mut().find(is_base).filter(|it| it.cost == Cost::Resumed);
            if let Some(base) = base {
                base.owes.extend(bind.owes.iter().cloned());
            }
        }
        if let Cost::Charge { to, identity, along: lower } = &bind.cost {
            let leads = |repair: &&mut Repair| matches!(&repair.cost, Cost::Charge { to: charged, .. } if charged == to);
            if let Some(leader) = repairs.iter_mut().chain(&mut kept).find(leads) {
                if let Cost::Charge { along, .. } = &mut leader.cost {
                    along.push(identity.clone());
                    along.extend(lower.iter().cloned());
                }
                leader.owes.extend(bind.owes.iter().cloned());
                bind.cost = Cost::Along { to: to.clone(), identity: identity.clone() };
            } else {
                let asked = match refused.get(to) {
                    Some(hold) => Err(hold.clone()),
                    None => ledger.charge(to),
                };
                if let Err(hold) = asked {
                    let to = to.clone();
                    let subject = Subject::Path(bind.subject.clone());
                    holds.push(Hold { subject, ..hold.clone() });
                    refused.insert(to, hold);
                    continue;
                }
            }
        }
        kept.push(bind);
    }
    kept
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
    let mut repairs: Vec<Repair> =
        repairs.into_iter().map(|(_, repair)| with_all(repair)).collect();
    repairs.sort_by(|a, b| a.subject.cmp(&b.subject));
    repairs
}

/// A charge is for every mount that goes.
fn with_all(mut repair: Repair) -> Repair {
    let going = repair.steps.iter().filter_map(|planned| planned.step.identity());
    if let Cost::Charge { identity, along, .. } = &mut repair.cost {
        along.extend(going.filter(|other| *other != identity).cloned());
    }
    repair
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
    if matches!((&leader.cost, &other.cost), (Cost::Charge { .. }, Cost::Resumed)) {
        leader.cost = Cost::Resumed;
    }
}

/// Lets the budget take out what it does not allow.
fn afford(repairs: Vec<Repair>, ledger: &mut Ledger<'_>, holds: &mut Vec<Hold>) -> Vec<Repair> {
    repairs
        .into_iter()
        .filter(|repair| match &repair.cost {
            Cost::Resumed | Cost::Nothing | Cost::Along { .. } => true,
            Cost::Charge { to, .. } => match ledger.charge(to) {
                Ok(()) => true,
                Err(hold) => {
                    holds.push(hold);
                    false
                }
            },
        })
        .collect()
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
            holds.push(Hold::on(subject, Reason::StorageNotLive, detail));
            false
        })
        .collect()
}
