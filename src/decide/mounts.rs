//! The decision of `unwedge-mounts`: for every watched path leave it, hold it (and why), or repair
//! it (and how).
//!
//! Read aloud it goes: what is live is left. What may not be touched, is not what it should be, or
//! cannot be judged, is held. What is broken must be confirmed, be a plain mount point, carry
//! nothing of anybody else's, and have something that can put it back; then the budget is asked.
//! Paths that share one superblock are one repair, charged once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::binds::{BindCase, Unbound};
use super::budget;
use super::compose::{Rank, Repairable, compose, permitted};
use super::confirm;
use super::gates;
use super::plan::{Cost, Hold, Left, Owed, Plan, Planned, Reason, Repair, Step};
use super::quiesce::{self, Quiesce};
use super::storm;
use crate::config::sentinel::Kind;
use crate::config::{MountSpec, Services, Settings};
use crate::probes::binds::Fault;
use crate::probes::facts::Facts;
use crate::probes::family::Family;
use crate::probes::gates::Gates;
use crate::probes::heartbeat::State;
use crate::probes::holders::Holders;
use crate::probes::mountinfo::TableError;
use crate::probes::mounts::{Ground, Layer, Nested, Observation};
use crate::probes::records::{Debts, MountsState, Sighting};
use crate::probes::units::{Active, Load, Stopped, UnitLook};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::probes::worker::WorkerLook;
use crate::sys::clock::Now;
use crate::sys::text;

/// A unit that says it is active while nothing is mounted is waited for so often before it is
/// restarted: many are active before their mount is there.
const WAITS_BEFORE_RESTART: u32 = 2;

/// More layers than this are not taken away in one round.
const LAYERS_MAX: usize = 8;

/// Everything a decision is made of.
#[derive(Debug)]
pub struct World<'a> {
    /// Which tool asks: `mounts` repairs everything, `binds` only makes and swaps binds.
    pub front: Kind,
    /// What should be a bind and is none.
    pub faults: &'a [Fault],
    /// What is known of the work on this host.
    pub work: &'a Work,
    /// The limits.
    pub settings: &'a Settings,
    /// What was seen.
    pub observations: &'a [Observation],
    /// Whether there was a mount table to see it in.
    pub table: &'a Result<(), TableError>,
    /// The units of the config's mounts, where they were asked for.
    pub units: &'a BTreeMap<String, UnitLook>,
    /// The worker, where there is one and it was asked for.
    pub worker: Option<&'a WorkerLook>,
    /// What was last seen of the signs of life of others.
    pub heartbeats: &'a BTreeMap<String, Option<State>>,
    /// The gates.
    pub gates: &'a Gates,
    /// What earlier rounds wrote down.
    pub state: &'a MountsState,
    /// What is owed.
    pub debts: &'a Debts,
    /// The present.
    pub now: &'a Now,
}

impl<'a> World<'a> {
    /// The world that was looked at.
    #[must_use]
    pub fn of(front: Kind, settings: &'a Settings, facts: &'a Facts, faults: &'a [Fault]) -> Self {
        Self {
            front,
            faults,
            work: &facts.work,
            settings,
            observations: &facts.survey.observations,
            table: &facts.survey.table,
            units: &facts.units,
            worker: facts.worker.as_ref(),
            heartbeats: &facts.heartbeats,
            gates: &facts.gates,
            state: &facts.state,
            debts: &facts.debts,
            now: &facts.now,
        }
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What to do and what not.
    pub plan: Plan,
    /// What has now been seen how often: to be stored by a round that may.
    pub sightings: Vec<Sighting>,
    /// Paths that are broken for certain: a job on one of them is not well.
    pub broken: Vec<PathBuf>,
}

/// Decides. Pure: the same world gives the same decision.
#[must_use]
pub fn decide(world: &World<'_>) -> Decision {
    let sightings = confirm::advance(&world.state.sightings, world.observations, world.now);
    let mut holds = gates::closed(world.gates, world.front, world.now);
    let no_bind = |fault: &Fault| Hold::on(&fault.subject, Reason::BadBind, fault.to_string());
    holds.extend(world.faults.iter().map(no_bind));
    if let Err(error) = world.table {
        holds.push(Hold::gate(Reason::UnclearEvidence, error.to_string()));
    }
    let findings: Vec<(&Observation, Finding)> =
        world.observations.iter().map(|seen| (seen, examine(world, seen, &sightings))).collect();
    let broken = quiesce::broken(world, &findings, &sightings);
    let mut quiesce = Quiesce::of(world, &broken);
    let (mut bases, mut binds, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for (seen, finding) in findings {
        match finding {
            Finding::Fine => {}
            Finding::Held(hold) => holds.push(hold),
            Finding::Broken(repairable) => match quiesce.allows(seen, &repairable.repair) {
                Ok(()) => bases.push(repairable),
                Err(hold) => holds.push(hold),
            },
            Finding::Unbound(unbound) => match quiesce.allows(seen, &unbound.repair) {
                Ok(()) => binds.push(unbound),
                Err(hold) => {
                    holds.push(hold);
                    waiting.push(unbound);
                }
            },
        }
    }
    let mut repairs = compose(world, bases, binds, &waiting, &mut holds);
    quiesce.stop_first(&mut repairs);
    if world.front == Kind::Mounts {
        let kept_off = storm::keep_off(world, &sightings, &repairs, &quiesce);
        repairs.extend(permitted(world, Kind::Worker, kept_off, &mut holds));
    }
    // at boot the worker comes after the binds by its own order: what is owed from before is not for them
    if world.front == Kind::Mounts || repairs.iter().any(Repair::stops_the_worker) {
        match quiesce::resume(world, &repairs) {
            Ok(start) => repairs.extend(start),
            Err(kept) => holds.extend(kept),
        }
    }
    holds.sort_by(|a, b| a.subject.cmp(&b.subject).then(a.reason.cmp(&b.reason)));
    Decision { plan: Plan { repairs, holds }, sightings, broken }
}

fn examine<'a>(world: &'a World<'a>, seen: &'a Observation, sightings: &'a [Sighting]) -> Finding {
    let case = Case { world, observation: seen, sightings };
    match (&seen.bind, world.front) {
        (Some(bind), _) => BindCase { case, bind }.examine(),
        (None, Kind::Binds) => Finding::Fine,
        (None, Kind::Mounts | Kind::Worker | Kind::Recover | Kind::Jobs | Kind::Notify) => {
            case.examine()
        }
    }
}

/// What examining one path came to.
pub(super) enum Finding {
    /// Nothing to do.
    Fine,
    /// Something is wrong and nothing is done.
    Held(Hold),
    /// It can be repaired, if the budget allows.
    Broken(Repairable),
    /// A bind that can be made or swapped, if the budget allows and its base is live by then.
    Unbound(Unbound),
}

/// How a path is put back once it is bare.
enum PutBack {
    /// By these steps.
    By(Vec<Planned>),
    /// Nothing says how.
    Nobody,
}

/// One path under examination.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) observation: &'a Observation,
    pub(super) sightings: &'a [Sighting],
}

impl Case<'_> {
    fn examine(&self) -> Finding {
        let seen = self.observation;
        let stacked = confirm::is_stacked(seen);
        match seen.verdict {
            Verdict::Live if stacked => self.confirmed(Case::unstack),
            Verdict::Live => Finding::Fine,
            Verdict::Unknown
            | Verdict::ChildOfDead
            | Verdict::WrongSource
            | Verdict::Inconclusive
            // only a bind is ever pinned, and binds have rules of their own
            | Verdict::Pinned => self.hold(Reason::UnclearEvidence, seen.why.clone()),
            Verdict::Dead => self.confirmed(|case| case.take_away(Abort::No)),
            Verdict::Hung | Verdict::Transient => {
                self.confirmed(|case| case.take_away(Abort::First))
            }
            Verdict::Absent => self.confirmed(Self::put_up),
        }
    }

    /// The rules that hold for every repair, then `repair`.
    fn confirmed(&self, repair: impl Fn(&Self) -> Result<Repair, Hold>) -> Finding {
        match self.allowed().and_then(|()| repair(self)) {
            Ok(repair) => Finding::Broken(Repairable {
                superblock: self.observation.identity().map(|identity| identity.dev),
                rank: self.rank(),
                repair,
            }),
            Err(hold) => Finding::Held(hold),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        let top = self.observation.top();
        Rank {
            of_a_part: top.is_some_and(|top| top.root != "/"),
            mount_id: top.map_or(0, |top| top.identity.mount_id),
        }
    }

    pub(super) fn allowed(&self) -> Result<(), Hold> {
        let seen = self.observation;
        if !self.world.settings.mounts.is_under_root(&seen.path) {
            return Err(self.on(Reason::OutsideRoots, format!("{}: {}", seen.verdict, seen.why)));
        }
        match self.family() {
            Family::Fuse => {}
            Family::Network | Family::Other if seen.verdict == Verdict::Absent => {}
            Family::Other if matches!(seen.verdict, Verdict::Live | Verdict::Pinned) => {}
            Family::Network | Family::Other => {
                let fstype = seen.top().map_or("", |top| top.fstype.as_str());
                let detail = format!("{} on {fstype}: {}", seen.verdict, seen.why);
                return Err(self.on(Reason::LookOnlyType, detail));
            }
        }
        if self.is_resumed() {
            return Ok(());
        }
        let stacked = confirm::is_stacked(seen);
        let limits = confirm::limits(seen.verdict, stacked, &self.world.settings.mounts.confirm);
        let sighting = confirm::of(self.sightings, &seen.path, seen.identity());
        match (limits, sighting) {
            (Some(limits), Some(sighting)) => {
                confirm::unconfirmed(seen, sighting, limits, self.world.now).map_or(Ok(()), Err)
            }
            (None, _) | (_, None) => {
                Err(self.on(Reason::UnclearEvidence, "it was never seen so".to_owned()))
            }
        }
    }

    /// Copies of what lies beneath them: take those, and leave the lowest.
    pub(super) fn unstack(&self) -> Result<Repair, Hold> {
        let seen = self.observation;
        let top = self.top()?;
        self.no_children(&top.nested, top)?;
        let surplus = seen.layers.windows(2).rev().take_while(|pair| {
            confirm::is_copy(&pair[1], &pair[0]) && (pair[1] == *top || pair[1].nested.is_empty())
        });
        let surplus: Vec<&Layer> = surplus.map(|pair| &pair[1]).take(LAYERS_MAX).collect();
        let why = format!("the same as the mount beneath it ({} layers)", seen.layers.len());
        let wait = Step::WaitLive { path: seen.path.clone(), fstype: Some(top.fstype.clone()) };
        let steps = surplus
            .into_iter()
            .map(|layer| detach(&seen.path, layer, &why))
            .chain([planned(wait, "it must still answer")])
            .collect();
        let repair = Repair::new(seen.path.clone(), self.kind(), steps);
        Ok(Repair { cost: self.cost(top), ..repair })
    }

    /// Dead, hung or failing: (abort,) detach, put back.
    fn take_away(&self, abort: Abort) -> Result<Repair, Hold> {
        let seen = self.observation;
        let top = self.top()?;
        self.no_children(&top.nested, top)?;
        let why = format!("{}: {}", seen.verdict, seen.why);
        let mut steps = Vec::new();
        match abort {
            Abort::No => {}
            Abort::First => steps.push(self.abort(top, &why)?),
        }
        let put_back = self.put_back()?;
        if let (PutBack::Nobody, Some(_)) = (&put_back, self.spec()) {
            let detail = "nothing says how to mount it again, so it stays in place, loud: add a \
                          unit to its [[mount]]";
            return Err(self.on(Reason::UnitNotFound, detail.to_owned()));
        }
        if let (PutBack::Nobody, Some(base)) = (&put_back, self.listed_base(top)) {
            // a dead bind is loud; the bare directory beneath it would take the writes in silence
            let detail = format!(
                "a bind of {}, and nothing says how to make it again: it stays in place",
                text::path(base)
            );
            return Err(self.on(Reason::UnitNotFound, detail));
        }
        let broken = self.broken_layers();
        steps.extend(broken.iter().map(|layer| detach(&seen.path, layer, &why)));
        let mut repair =
            Repair { cost: self.cost(top), ..Repair::new(seen.path.clone(), self.kind(), steps) };
        let revealed = seen.layers.iter().rev().nth(broken.len());
        let is_it = |layer: &Layer| layer.fstype == top.fstype && layer.source == top.source;
        match put_back {
            // beneath the broken one lies one that is as it should be
            PutBack::By(_) if revealed.is_some_and(is_it) => {
                let fstype = Some(top.fstype.clone());
                let wait = Step::WaitLive { path: seen.path.clone(), fstype };
                repair.steps.push(planned(wait, "a mount beneath it comes to light"));
                return Ok(repair);
            }
            PutBack::Nobody if revealed.is_some() => return Ok(repair),
            PutBack::By(more) => {
                repair.owes.push(Owed::Mount(seen.path.clone()));
                repair.steps.extend(more);
                self.put_back_nested(&top.nested, &mut repair);
            }
            PutBack::Nobody => repair.leaves.push(left(&seen.path, top)),
        }
        for nested in &top.nested {
            if !repair.owes.iter().any(|owed| owed.path() == Some(&nested.path)) {
                repair.leaves.push(left(&nested.path, &nested.layer));
            }
        }
        Ok(repair)
    }

    /// Mounts of the config that went with their base come back after it.
    fn put_back_nested(&self, nested: &[Nested], repair: &mut Repair) {
        for nested in nested.iter().rev() {
            if self.world.settings.bind.iter().any(|bind| bind.hot == nested.path) {
                repair.owes.push(Owed::Bind(nested.path.clone()));
                continue;
            }
            let Some(spec) = self.spec_of(&nested.path) else { continue };
            let step = match (self.world.settings.host.services, &spec.unit, &spec.remount) {
                (Services::Systemd, Some(unit), _) => {
                    self.mount_again(nested.path.clone(), unit.clone())
                }
                (Services::Process, _, Some(_)) => Step::Remount { path: nested.path.clone() },
                (Services::Systemd | Services::Process, _, _) => continue,
            };
            let why = format!("it went with {}", text::path(&repair.subject));
            repair.owes.push(Owed::Mount(nested.path.clone()));
            repair.steps.push(planned(step, &why));
            let fstype = Some(nested.layer.fstype.clone());
            let wait = Step::WaitLive { path: nested.path.clone(), fstype };
            repair.steps.push(planned(wait, "it must answer"));
        }
    }

    /// Nothing there: mount it.
    fn put_up(&self) -> Result<Repair, Hold> {
        let seen = self.observation;
        match seen.ground {
            Ground::Directory | Ground::Missing | Ground::Automount => {}
            Ground::NoDirectory => {
                return Err(self.on(Reason::NotAMountPoint, "it is no directory".to_owned()));
            }
            Ground::Link => {
                let detail = "there is a symbolic link in the path".to_owned();
                return Err(self.on(Reason::NotAMountPoint, detail));
            }
            Ground::NotSeen => {
                let detail = "nothing is mounted, and the path itself cannot be seen".to_owned();
                return Err(self.on(Reason::UnclearEvidence, detail));
            }
        }
        let steps = match self.put_back()? {
            PutBack::By(steps) => steps,
            PutBack::Nobody => {
                let detail = "nothing is mounted, and nothing says how to mount it: add a unit to \
                              its [[mount]], mount it by hand, or `unwedge mounts forget` it";
                return Err(self.on(Reason::UnitNotFound, detail.to_owned()));
            }
        };
        if let Some(hold) = budget::backoff(&seen.path, &self.world.state.attempts, self.world.now)
        {
            return Err(hold);
        }
        Ok(Repair::new(seen.path.clone(), self.kind(), steps))
    }

    /// How the path is mounted again, from the config and the state of its unit.
    fn put_back(&self) -> Result<PutBack, Hold> {
        let path = &self.observation.path;
        let Some(spec) = self.spec() else { return Ok(PutBack::Nobody) };
        let wait = planned(
            Step::WaitLive {
                path: path.clone(),
                fstype: self.observation.top().map(|top| top.fstype.clone()),
            },
            &format!("it must answer within {}", text::duration(spec.wait)),
        );
        match (self.world.settings.host.services, &spec.unit, &spec.remount) {
            (Services::Systemd, Some(unit), _) => {
                let mut steps = self.start(unit)?;
                steps.push(wait);
                Ok(PutBack::By(steps))
            }
            (Services::Process, _, Some(_)) => {
                let remount = Step::Remount { path: path.clone() };
                let why = if self.is_absent() { "nothing is mounted" } else { "mount it again" };
                Ok(PutBack::By(vec![planned(remount, why), wait]))
            }
            (Services::Systemd, None, _) | (Services::Process, _, None) => Ok(PutBack::Nobody),
        }
    }

    /// By its unit. A restart takes along what requires that, also from a unit that is down. Where the worker is
    /// among those, of which a job may be well elsewhere, one that is down is only started.
    fn mount_again(&self, path: PathBuf, unit: String) -> Step {
        let worker = self.world.settings.worker.as_ref().and_then(|it| it.unit.as_ref());
        if let (Some(UnitLook::Seen(known)), Some(worker)) = (self.world.units.get(&unit), worker)
            && matches!(known.active, Active::Inactive | Active::Failed)
            && known.dependents.contains(worker)
        {
            return Step::StartUnit { path, unit };
        }
        Step::RestartUnit { path, unit }
    }

    /// What to do with the unit, by its state.
    fn start(&self, unit: &str) -> Result<Vec<Planned>, Hold> {
        let path = self.observation.path.clone();
        let known = match self.world.units.get(unit) {
            Some(UnitLook::Seen(known)) => known,
            Some(UnitLook::Unknown(why)) => {
                return Err(self.on(Reason::UnclearEvidence, why.clone()));
            }
            None => {
                let detail = format!("{unit} was not looked at");
                return Err(self.on(Reason::UnclearEvidence, detail));
            }
        };
        match &known.load {
            Load::Loaded => {}
            Load::NotFound => {
                return Err(self.on(Reason::UnitNotFound, format!("there is no {unit}")));
            }
            Load::Masked => {
                let detail = format!("{unit} is masked");
                return Err(self.on(Reason::UnitStoppedByOperator, detail));
            }
            Load::Other(state) => {
                let detail = format!("{unit} cannot be loaded: {state}");
                return Err(self.on(Reason::UnitNotFound, detail));
            }
        }
        let along = if known.dependents.is_empty() {
            String::new()
        } else {
            format!("; along with it: {}", known.dependents.join(" "))
        };
        let unit = unit.to_owned();
        let down = matches!(known.active, Active::Inactive | Active::Failed);
        if down && known.stopped == Stopped::ByJob {
            let detail = format!("{unit} was stopped in this boot, not by itself");
            return Err(self.on(Reason::UnitStoppedByOperator, detail));
        }
        if !self.is_absent() {
            let step = self.mount_again(path, unit);
            let why = if matches!(step, Step::StartUnit { .. }) {
                "mount it again; a start, because a restart takes the worker along".to_owned()
            } else {
                format!("mount it again{along}")
            };
            return Ok(vec![planned(step, &why)]);
        }
        match known.active {
            Active::Activating | Active::Deactivating => Ok(Vec::new()),
            // on its way up, as far as anybody can tell: a restart takes along what requires it
            Active::Active if !self.is_owed() && self.failed_waits() < WAITS_BEFORE_RESTART => {
                Ok(Vec::new())
            }
            Active::Active => {
                let why = format!("it is active, and yet nothing is mounted{along}");
                Ok(vec![planned(Step::RestartUnit { path, unit }, &why)])
            }
            Active::Inactive | Active::Failed => {
                if known.stopped == Stopped::Unknown && !self.is_owed() {
                    let detail = format!("the journal does not tell whether {unit} was stopped");
                    return Err(self.on(Reason::UnclearEvidence, detail));
                }
                if known.file_state == "disabled" && !self.is_owed() {
                    let detail = format!("{unit} is disabled");
                    return Err(self.on(Reason::UnitStoppedByOperator, detail));
                }
                Ok(vec![planned(Step::StartUnit { path, unit }, "nothing is mounted")])
            }
            Active::Other => {
                let detail = format!("{unit} is in a state this version does not know");
                Err(self.on(Reason::UnclearEvidence, detail))
            }
        }
    }

    /// The abort of the connection, where everything it kills may be killed.
    pub(super) fn abort(&self, top: &Layer, why: &str) -> Result<Planned, Hold> {
        let seen = self.observation;
        if top.identity.connection.is_none() {
            let detail = "there is no /sys/fs/fuse/connections entry for it";
            return Err(self.on(Reason::AbortUnavailable, detail.to_owned()));
        }
        let roots = &self.world.settings.mounts;
        if let Some(outside) = seen.shared.iter().find(|path| !roots.is_under_root(path)) {
            let detail = format!("an abort would kill {} too", text::path(outside));
            return Err(self.on(Reason::SharedSuperblock, detail));
        }
        // without a service manager nobody else ends the daemon, and a new one may need its place
        let ours = self.spec().is_some_and(|spec| spec.remount.is_some());
        let daemons = match (self.world.settings.host.services, &top.holders) {
            (Services::Process, Holders::Living(daemons)) if ours => daemons.clone(),
            (Services::Process | Services::Systemd, _) => Vec::new(),
        };
        let step = Step::AbortConnection {
            path: seen.path.clone(),
            identity: top.identity.clone(),
            daemons,
        };
        Ok(planned(step, why))
    }

    /// The topmost layer and those right beneath it that are broken for certain: of the same
    /// superblock, or FUSE without a daemon. A layer with somebody else's mount on it stays, and
    /// all below it.
    pub(super) fn broken_layers(&self) -> Vec<&Layer> {
        let mut layers = self.observation.layers.iter().rev();
        let Some(top) = layers.next() else { return Vec::new() };
        let below = layers.take_while(|layer| {
            (layer.identity.dev == top.identity.dev || layer.is_daemonless())
                && self.no_children(&layer.nested, layer).is_ok()
                && layer.nested.is_empty()
        });
        std::iter::once(top).chain(below).take(LAYERS_MAX).collect()
    }

    /// A detach takes along what is nested. That may be only what is broken with it or as dead
    /// itself, under the roots.
    pub(super) fn no_children(&self, nested: &[Nested], base: &Layer) -> Result<(), Hold> {
        let (roots, binds) = (&self.world.settings.mounts, &self.world.settings.bind);
        let foreign = nested.iter().find(|nested| {
            // a bind of the table is made again
            let listed = binds.iter().any(|bind| bind.hot == nested.path);
            let same = nested.layer.identity.dev == base.identity.dev;
            !(same || listed || nested.layer.is_daemonless()) || !roots.is_under_root(&nested.path)
        });
        match foreign {
            None => Ok(()),
            Some(nested) => {
                let detail = format!("{} hangs on it", text::path(&nested.path));
                Err(self.on(Reason::HasChildren, detail))
            }
        }
    }

    /// The path of the config that this is a bind of: the same superblock is mounted there, or was, before
    /// it was replaced by one of the same source.
    fn listed_base(&self, top: &Layer) -> Option<&Path> {
        let listed = |path: &&PathBuf| self.spec_of(path).is_some();
        let shares = self.observation.shared.iter().find(listed).map(PathBuf::as_path);
        let of_source = |spec: &&MountSpec| {
            let seen = self.world.observations.iter().find(|seen| seen.path == spec.path);
            let now = seen
                .and_then(Observation::top)
                .is_some_and(|base| base.source == top.source && base.fstype == top.fstype);
            let written = spec.source.as_ref().is_some_and(|source| top.source == **source);
            spec.path != self.observation.path && (now || written)
        };
        let was =
            || self.world.settings.mount.iter().find(of_source).map(|spec| spec.path.as_path());
        shares.or_else(was)
    }

    fn cost(&self, top: &Layer) -> Cost {
        if self.is_resumed() {
            return Cost::Resumed;
        }
        let (to, identity) = (self.observation.path.clone(), top.identity.clone());
        Cost::Charge { to, identity, along: Vec::new() }
    }

    /// Whether an earlier round began this very repair and did not live to end it, or owes this
    /// mount: then nothing is confirmed, charged or waited for again.
    pub(super) fn is_resumed(&self) -> bool {
        let charges = &self.world.state.charges;
        match self.observation.identity() {
            // a bind stays in place until it is swapped, so it can be owed while it is there
            Some(_) if self.observation.bind.is_some() && self.is_owed() => true,
            Some(identity) => charges.iter().any(|charge| charge.open && charge.covers(identity)),
            None => self.is_owed(),
        }
    }

    /// How often it was waited for in vain.
    fn failed_waits(&self) -> u32 {
        let path = &self.observation.path;
        let attempts = self.world.state.attempts.iter().find(|attempts| attempts.path == *path);
        attempts.map_or(0, |attempts| attempts.failed)
    }

    fn kind(&self) -> Kind {
        if self.observation.bind.is_some() { Kind::Binds } else { Kind::Mounts }
    }

    pub(super) fn is_owed(&self) -> bool {
        self.world.debts.debts.iter().any(|debt| debt.is_at(&self.observation.path))
    }

    fn is_absent(&self) -> bool {
        self.observation.layers.is_empty()
    }

    pub(super) fn top(&self) -> Result<&Layer, Hold> {
        let nothing = || self.on(Reason::NotAMountPoint, "nothing is mounted".to_owned());
        self.observation.top().ok_or_else(nothing)
    }

    /// The family of what is mounted, or should be.
    fn family(&self) -> Family {
        let should = self.spec().and_then(|spec| spec.fstype.as_deref());
        self.observation
            .top()
            .map(|top| top.fstype.as_str())
            .or(should)
            .map_or(Family::Other, Family::of)
    }

    fn spec(&self) -> Option<&MountSpec> {
        self.spec_of(&self.observation.path)
    }

    fn spec_of(&self, path: &Path) -> Option<&MountSpec> {
        self.world.settings.mount.iter().find(|spec| spec.path == path)
    }

    pub(super) fn on(&self, reason: Reason, detail: String) -> Hold {
        Hold::on(&self.observation.path, reason, detail)
    }

    pub(super) fn hold(&self, reason: Reason, detail: String) -> Finding {
        let outside = !self.world.settings.mounts.is_under_root(&self.observation.path);
        let reason = if outside { Reason::OutsideRoots } else { reason };
        Finding::Held(self.on(reason, detail))
    }
}

/// Whether the connection is ended before the mount is taken away: one whose daemon is gone has
/// nothing to end.
#[derive(Clone, Copy)]
enum Abort {
    First,
    No,
}

/// Takes this layer away, and says what goes along.
pub(super) fn detach(path: &Path, layer: &Layer, why: &str) -> Planned {
    let identity = layer.identity.clone();
    let along = layer.nested.iter().map(|nested| nested.layer.identity.mount_id).collect();
    let names: Vec<String> = layer.nested.iter().map(|n| text::path(&n.path)).collect();
    let step = Step::Detach { path: path.to_path_buf(), identity, along };
    let takes = if names.is_empty() { "" } else { "; it takes along " };
    planned(step, &format!("{why}{takes}{}", names.join(" ")))
}

pub(super) fn planned(step: Step, why: &str) -> Planned {
    Planned { step, why: why.to_owned() }
}

pub(super) fn left(path: &Path, layer: &Layer) -> Left {
    Left {
        path: path.to_path_buf(),
        source: text::name(&layer.source),
        fstype: layer.fstype.clone(),
    }
}

#[cfg(test)]
mod tests;
