//! The deed of one step: whether it is still permitted, what does it, and what is seen of it afterwards.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::bind::Place;
use super::child::{self, ACT_LIMIT, Done, Order};
use super::failpoint::{self, Moment};
use super::outcome::Ended;
use super::perform::Actor;
use super::permission::{not_forbidden, still_permitted};
use super::{units, wait, worker};
use crate::config::Whereabouts;
use crate::config::sentinel::Kind;
use crate::decide::plan::{Reason, Shows, Step, Verb};
use crate::probes::connections::Connections;
use crate::probes::holders::{self, Daemons, Process};
use crate::probes::identity::Identity;
use crate::probes::{jobs, mountinfo};
use crate::sys::{command, text};

/// How long a mount without a configured `wait` is given, such as one that comes to light beneath
/// a detached layer.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
/// How long jobs are held back whose storage is broken; while it stays broken they are held back again.
const HELD_BACK_FOR: Duration = Duration::from_secs(600);
/// How long a daemon is given to end after SIGTERM, and again after SIGKILL.
const DAEMON_GRACE: Duration = Duration::from_secs(2);

impl Actor<'_> {
    /// Does one step, if that is still permitted.
    pub(super) fn step(&self, step: &Step, kind: Kind, is_aborted: bool) -> Ended {
        if let Err(ended) = self.still_permitted(step, kind) {
            return ended;
        }
        let verb = step.verb().name();
        failpoint::reached(Moment::Before, verb);
        let ended = match step {
            Step::AbortConnection { path, identity, daemons } => {
                abort(path, identity, daemons, self.settings.probe.daemons)
            }
            Step::Detach { path, identity, along } => detach(path, identity, along),
            Step::RestartUnit { path, unit } => {
                self.unless_mounted(path, || self.ask_unit("restart", unit))
            }
            // it may have no open file there at all, but nobody can tell, and a restart is what mends it
            Step::RestartDependent { unit, .. } => self.ask_unit("try-restart", unit),
            Step::StartUnit { path, unit } => {
                self.unless_mounted(path, || self.ask_unit("start", unit))
            }
            Step::Remount { path } => self.unless_mounted(path, || self.remount(path)),
            Step::WaitLive { path, fstype } => self.wait_live(path, fstype.as_deref()),
            Step::HoldBack { path, .. } => self.hold_back(path),
            Step::Bind { path, shows } => self.bind(path, shows),
            Step::RecoverJobs { .. }
            | Step::StopWorker { .. }
            | Step::ResetFailed { .. }
            | Step::StartWorker { .. } => {
                let owed = self.worker.and_then(|look| self.debts.of_worker(&look.name));
                let before = worker::Before { owed, is_aborted };
                worker::step(self.settings, step, before, self.deadline)
            }
            Step::Rebind { path, identity, along, shows } => {
                self.onto_place(path, shows, |place| Order::Rebind {
                    identity: identity.clone(),
                    along: along.clone(),
                    place,
                })
            }
        };
        failpoint::reached(Moment::After, verb);
        ended
    }

    /// A stop needs the worker's own sentinel, whatever repair it belongs to. What starts the worker again pays
    /// a debt, and for that nobody asks a sentinel.
    fn still_permitted(&self, step: &Step, kind: Kind) -> Result<(), Ended> {
        match step.verb() {
            Verb::StopWorker => still_permitted(self.settings, Kind::Worker, self.deadline),
            Verb::ResetFailed | Verb::StartWorker => {
                not_forbidden(self.settings, Kind::Worker, self.deadline)
            }
            Verb::AbortConnection
            | Verb::Detach
            | Verb::RestartUnit
            | Verb::StartUnit
            | Verb::Remount
            | Verb::WaitLive
            | Verb::Bind
            | Verb::Rebind
            | Verb::HoldBack
            | Verb::RecoverJobs => still_permitted(self.settings, kind, self.deadline),
        }
    }

    /// Mounts, unless something has been mounted since the look: by the service manager, or by what a
    /// killed round had asked for. Nothing is mounted over it, and it is not taken away again by a
    /// restart; whether it is any good the wait for it tells.
    fn unless_mounted(&self, path: &Path, mount: impl FnOnce() -> Ended) -> Ended {
        let known = |id: u64| {
            let seen = self.observations.iter().find(|seen| seen.path == path);
            seen.is_some_and(|seen| seen.layers.iter().any(|l| l.identity.mount_id == id))
        };
        match mountinfo::read(|mount| mount.path == path) {
            Ok(table) => match table.walk(path).layers.last() {
                Some(top) if !known(top.id) => {
                    let source = text::name(&top.source);
                    Ended::Done(format!("{} from {source} is mounted there by now", top.fstype))
                }
                Some(_) | None => mount(),
            },
            Err(error) => Ended::Refused(Reason::UnclearEvidence, error.to_string()),
        }
    }

    fn ask_unit(&self, verb: &str, unit: &str) -> Ended {
        match units::ask(&self.settings.host.systemctl, verb, unit) {
            Ok(()) => Ended::Done(format!("{unit}: {verb} asked for")),
            Err(why) => Ended::Failed(why),
        }
    }

    fn remount(&self, path: &Path) -> Ended {
        let spec = self.settings.mount.iter().find(|spec| spec.path == path);
        let Some((remount, limit)) =
            spec.and_then(|spec| Some((spec.remount.as_ref()?, spec.wait)))
        else {
            return Ended::Failed("there is no remount command for it".to_owned());
        };
        let argv: Vec<OsString> = remount.iter().map(OsString::from).collect();
        match command::run(&argv, limit.min(self.deadline.left())) {
            Ok(done) if done.ok() => Ended::Done(done.describe()),
            Ok(done) => Ended::Failed(format!("{}: {}", remount[0], done.describe())),
            Err(failure) => Ended::Failed(failure.to_string()),
        }
    }

    /// Jobs that write to a mount or bind within it lie on that, whatever becomes of this one.
    fn hold_back(&self, path: &Path) -> Ended {
        let within = self.observations.iter().map(|seen| seen.path.as_path());
        let within: Vec<&Path> = within.filter(|it| it.starts_with(path) && *it != path).collect();
        match jobs::hold_back(self.settings, path, &within, HELD_BACK_FOR, self.deadline) {
            Ok(held) => Ended::Done(format!(
                "{} held back for {}",
                held.jobs.len(),
                text::duration(HELD_BACK_FOR)
            )),
            Err(why) => Ended::Failed(why),
        }
    }

    /// Makes the directory that it is mounted on where that is missing, and the bind.
    fn bind(&self, path: &Path, shows: &Shows) -> Ended {
        let roots = &self.settings.mounts.repair_under;
        let root = roots.iter().find(|root| path.starts_with(root));
        let Some(root) = root.cloned() else {
            return Ended::Refused(Reason::OutsideRoots, "it is under no root".to_owned());
        };
        match understand(child::carry_out(path, &Order::MakeHot { root }, ACT_LIMIT)) {
            Ended::Done(_) => self.onto_place(path, shows, |place| Order::Bind { place }),
            ended => ended,
        }
    }

    /// Makes the cold directory where that is missing, on its base as it is now, and then does what
    /// `order` says with it.
    fn onto_place(&self, path: &Path, shows: &Shows, order: impl FnOnce(Place) -> Order) -> Ended {
        let mount = match Self::base_of(shows) {
            Ok(mount) => mount,
            Err(why) => return Ended::Refused(Reason::StorageNotLive, why),
        };
        let (cold, base) = (shows.cold.clone(), shows.base.clone());
        let place = Place { cold, base, mount };
        let limit = ACT_LIMIT.min(self.deadline.left());
        let made = child::carry_out(path, &Order::MakeCold { place: place.clone() }, limit);
        match understand(made) {
            Ended::Done(_) => understand(child::carry_out(path, &order(place), limit)),
            ended => ended,
        }
    }

    /// The mount at the base: the one that was judged, or the one that this plan has put there.
    pub(super) fn base_of(shows: &Shows) -> Result<Identity, String> {
        let base = text::path(&shows.base);
        let table =
            mountinfo::read(|mount| mount.path == shows.base).map_err(|error| error.to_string())?;
        let walk = table.walk(&shows.base);
        let Some(top) = walk.layers.last() else {
            return Err(format!("nothing is mounted at its base {base}"));
        };
        let now = Identity::from_table(top, &Connections::read());
        match &shows.onto {
            Some(seen) if !seen.same(&now) => Err(format!("its base {base} has been replaced")),
            Some(_) | None => Ok(now),
        }
    }

    fn wait_live(&self, path: &Path, fstype: Option<&str>) -> Ended {
        let spec = self.settings.mount.iter().find(|spec| spec.path == path);
        let limit = spec.map_or(WAIT_DEFAULT, |spec| spec.wait);
        match wait::live(self.settings, path, fstype, self.deadline.within(limit)) {
            Ok(what) => Ended::Done(what),
            Err(why) => Ended::Failed(why),
        }
    }
}

fn understand(done: Done) -> Ended {
    match done {
        Done::Done { detail } | Done::Already { detail } => Ended::Done(detail),
        Done::Refused { reason, detail } => Ended::Refused(reason.reason(), detail),
        Done::Failed { detail } => Ended::Failed(detail),
    }
}

fn abort(path: &Path, identity: &Identity, daemons: &[Process], whereabouts: Whereabouts) -> Ended {
    let all = Daemons::scan(whereabouts);
    // one that serves other connections too is not ours to end
    let single: Vec<&Process> = daemons
        .iter()
        .filter(|daemon| all.held_by(daemon).iter().all(|held| *held == identity.dev.minor))
        .collect();
    let order = Order::Abort { identity: identity.clone() };
    match understand(child::carry_out(path, &order, ACT_LIMIT)) {
        Ended::Done(detail) => {
            let ends: Vec<String> = single.into_iter().map(end_daemon).collect();
            Ended::Done([vec![detail], ends].concat().join("; "))
        }
        ended => ended,
    }
}

/// Ends a daemon, if it is still the very process that was seen.
fn end_daemon(daemon: &Process) -> String {
    use rustix::process::{Signal, pidfd_send_signal};
    let who = format!("daemon {} ({})", daemon.pid, daemon.comm);
    let Ok(Some(pidfd)) = daemon.open() else { return format!("{who} has ended") };
    for signal in [Signal::TERM, Signal::KILL] {
        let sent = pidfd_send_signal(&pidfd, signal);
        if sent.is_err() || !command::wait_any(&[&pidfd], DAEMON_GRACE).is_empty() {
            return format!("{who} has ended");
        }
    }
    format!("{who} does not end")
}

fn detach(path: &Path, identity: &Identity, along: &[u64]) -> Ended {
    let order = Order::Detach { identity: identity.clone(), along: along.to_vec() };
    match understand(child::carry_out(path, &order, ACT_LIMIT)) {
        Ended::Done(detail) => Ended::Done(detail + &what_lives_on(identity)),
        ended => ended,
    }
}

/// Who keeps the old superblock alive: their descriptors stay dead, whatever is mounted next.
fn what_lives_on(identity: &Identity) -> String {
    let Some(inode) = identity.connection else { return String::new() };
    if !Connections::read().still_has(identity.dev, inode) {
        return String::new();
    }
    let holders: Vec<String> = holders::of_mount(identity.mount_id)
        .iter()
        .map(|holder| format!("{} ({})", holder.pid, holder.comm))
        .collect();
    match holders.as_slice() {
        [] => "; its connection is still held, by a working directory, a map or another mount"
            .to_owned(),
        holders => format!("; still held by {}", text::bytes(holders.join(", ").as_bytes())),
    }
}
