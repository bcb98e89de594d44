//! What wakes `unwedge-watch`: the end of a process that serves a watched FUSE mount (a pidfd, in
//! about 2 ms), and a change of the mount table (`POLLPRI` on it). Nothing in the mount table tells
//! of a daemon's death, and a pidfd does not tell of a mount that was taken away.
//!
//! No mount is opened, asked or touched, and of other processes only descriptors and stat are read,
//! which is safe even when they are stuck.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::family::Family;
use super::gates::{Namespace, namespace};
use super::holders::{Daemons, Holders, Process};
use super::mountinfo::{self, Dev, MOUNTINFO, Mount, TableError};
use super::mounts::watched_mounts;
use crate::config::Settings;
use crate::sys::clock::pause;
use crate::sys::command::timespec;
use crate::sys::text;

/// How long a wait is given up that the kernel refused.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// The watched mounts and who serves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// What stands at the watched paths.
    pub mounts: Vec<Mount>,
    /// Who serves those that are FUSE.
    pub holders: BTreeMap<Dev, Holders>,
}

/// Whether the process table is looked through when the mounts are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scan {
    /// It is not: only other mounts came and went, and on a busy host they do all the time.
    IfMountsChanged,
    /// It is: a daemon ended, or it is time.
    Always,
}

impl Scene {
    /// Looks. One reading of the table is enough here: what an old kernel loses of it costs a round
    /// that finds nothing.
    ///
    /// # Errors
    /// There is no mount table.
    pub fn look(
        settings: &Settings,
        before: Option<&Self>,
        scan: Scan,
    ) -> Result<Self, TableError> {
        let table = mountinfo::once()?;
        let mounts: Vec<Mount> = watched_mounts(settings, &table).into_iter().cloned().collect();
        if let (Scan::IfMountsChanged, Some(before)) = (scan, before)
            && before.still_holds(&mounts)
        {
            return Ok(before.clone());
        }
        let fuse = mounts.iter().filter(|mount| Family::of(&mount.fstype) == Family::Fuse);
        let devs: Vec<Dev> = fuse.map(|mount| mount.dev).collect();
        let mut holders = BTreeMap::new();
        if !devs.is_empty() {
            let daemons = Daemons::scan(settings.probe.daemons);
            holders.extend(devs.into_iter().map(|dev| (dev, daemons.of(dev))));
        }
        Ok(Self { mounts, holders })
    }

    /// Whether it need not be asked again who serves these mounts. Ids and connection numbers are used
    /// again at once: a dead mount that was replaced between two looks is the same to the letter, and
    /// only somebody who lives and serves it makes it sure that it is.
    fn still_holds(&self, mounts: &[Mount]) -> bool {
        let served = |holders: &Holders| matches!(holders, Holders::Living(_));
        self.mounts == mounts && self.holders.values().all(served)
    }

    /// Takes out a process that has ended, so that the next look does not find that out once more.
    pub fn without(&mut self, ended: &Ended) {
        let holders = self.holders.entry(ended.dev).or_insert(Holders::None);
        if let Holders::Living(processes) = holders {
            processes.retain(|process| *process != ended.process);
            if processes.is_empty() {
                *holders = Holders::None;
            }
        }
    }

    /// Where a connection is mounted, as text.
    #[must_use]
    pub fn place(&self, dev: Dev) -> String {
        let mount = self.mounts.iter().find(|mount| mount.dev == dev);
        mount.map_or_else(|| dev.to_string(), |mount| text::path(&mount.path))
    }
}

/// A process that serves a watched mount.
#[derive(Debug)]
struct Daemon {
    process: Process,
    dev: Dev,
    pidfd: OwnedFd,
}

/// A process that served a watched mount and has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub process: Process,
    /// The connection it served.
    pub dev: Dev,
}

/// What woke us.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Somebody wants us to end.
    pub stop: bool,
    /// The mount table has changed.
    pub table: bool,
    /// These have ended.
    pub ended: Vec<Ended>,
}

/// Everything that is waited for.
#[derive(Debug)]
pub struct Wakes {
    stop: UnixStream,
    table: File,
    daemons: Vec<Daemon>,
    /// those that ended before they could be held
    missed: Vec<Ended>,
}

impl Wakes {
    /// Opens the mount table; from now on no change of it is missed.
    ///
    /// # Errors
    /// There is none.
    pub fn open(stop: UnixStream) -> std::io::Result<Self> {
        Ok(Self { stop, table: File::open(MOUNTINFO)?, daemons: Vec::new(), missed: Vec::new() })
    }

    /// How many daemons are held.
    #[must_use]
    pub fn daemons(&self) -> usize {
        self.daemons.len()
    }

    /// Holds every process that serves a mount of `scene`, all of each: while one of them lives,
    /// the mount hangs instead of being dead. The answer is why some cannot be held.
    pub fn hold(&mut self, scene: &Scene) -> Vec<String> {
        let mut troubles = Vec::new();
        match namespace() {
            Namespace::Host => {}
            Namespace::Foreign => troubles.push("not in the host's mount namespace".to_owned()),
            Namespace::Unknown(why) => troubles.push(why),
        }
        let mut held = std::mem::take(&mut self.daemons);
        for (dev, holders) in &scene.holders {
            let processes = match holders {
                Holders::Living(processes) => processes.as_slice(),
                Holders::None => &[],
                Holders::Unknown(why) => {
                    troubles.push(format!("{}: {why}", scene.place(*dev)));
                    &[]
                }
            };
            for process in processes {
                let known =
                    held.iter().position(|known| known.dev == *dev && known.process == *process);
                match known
                    .map(|at| held.swap_remove(at))
                    .map_or_else(|| open(process), |it| Ok(Some(it.pidfd)))
                {
                    Ok(Some(pidfd)) => {
                        self.daemons.push(Daemon { process: process.clone(), dev: *dev, pidfd });
                    }
                    Ok(None) => self.missed.push(Ended { process: process.clone(), dev: *dev }),
                    Err(why) => troubles.push(format!("{}: {why}", scene.place(*dev))),
                }
            }
        }
        troubles
    }

    /// Waits until something happens, at most for `limit`; for a change of the mount table only with
    /// `table`. A change that is not waited for is told by the next wait that does.
    pub fn wait(&mut self, table: bool, limit: Duration) -> Woken {
        let limit = if self.missed.is_empty() { limit } else { Duration::ZERO };
        let mut fds = vec![PollFd::new(&self.stop, PollFlags::IN)];
        fds.extend(self.daemons.iter().map(|daemon| PollFd::new(&daemon.pidfd, PollFlags::IN)));
        if table {
            fds.push(PollFd::new(&self.table, PollFlags::PRI));
        }
        let mut woken = Woken { ended: std::mem::take(&mut self.missed), ..Woken::default() };
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) => {}
            // whoever waits looks at the time and waits again
            Err(Errno::INTR) => return woken,
            // no memory: not again at once
            Err(_) => {
                pause(limit.min(TROUBLE_PAUSE));
                return woken;
            }
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        woken.stop = ready[0];
        woken.table = table && ready[ready.len() - 1];
        let mut ready = ready[1..].iter();
        self.daemons.retain(|daemon| {
            let ended = ready.next() == Some(&true);
            if ended {
                woken.ended.push(Ended { process: daemon.process.clone(), dev: daemon.dev });
            }
            !ended
        });
        woken
    }
}

/// A descriptor of just this process; none when it has ended.
fn open(process: &Process) -> Result<Option<OwnedFd>, String> {
    let Process { pid, comm, start_ticks: _ } = process;
    process.open().map_err(|errno| format!("open a pidfd of {comm} ({pid}): {errno}"))
}

#[cfg(test)]
mod tests {
    use super::super::holders;
    use super::*;

    const DEV: Dev = Dev { major: 0, minor: 52 };

    fn mount() -> Mount {
        Mount {
            id: 40,
            parent: 1,
            dev: DEV,
            root: "/".into(),
            path: "/srv/box".into(),
            propagation: super::super::mountinfo::Propagation::default(),
            options: "rw".into(),
            fstype: "fuse.sshfs".to_owned(),
            source: "u1@box:/data".into(),
            super_options: "rw".into(),
        }
    }

    fn process(pid: i32) -> Process {
        Process { pid, comm: "sshfs".to_owned(), start_ticks: 1 }
    }

    fn scene(holders: Holders) -> Scene {
        Scene { mounts: vec![mount()], holders: BTreeMap::from([(DEV, holders)]) }
    }

    #[test]
    fn a_dead_mount_replaced_by_one_with_the_same_numbers_is_looked_at_again() {
        let living = scene(Holders::Living(vec![process(7)]));
        assert!(living.still_holds(&[mount()]));
        assert!(!living.still_holds(&[]));
        assert!(!scene(Holders::None).still_holds(&[mount()]));
        assert!(!scene(Holders::Unknown("elsewhere")).still_holds(&[mount()]));
    }

    #[test]
    fn a_mount_is_without_a_daemon_when_the_last_of_them_has_ended() {
        let mut scene = scene(Holders::Living(vec![process(7), process(8)]));
        let ended = |pid| Ended { process: process(pid), dev: DEV };
        scene.without(&ended(7));
        assert_eq!(scene.holders[&DEV], Holders::Living(vec![process(8)]));
        scene.without(&ended(8));
        assert_eq!(scene.holders[&DEV], Holders::None);
    }

    #[test]
    fn the_end_of_a_process_wakes_once_and_one_that_ended_before_it_was_held_wakes_too() {
        let (mut stop, stopper) = UnixStream::pair().unwrap();
        let mut wakes = Wakes::open(stop.try_clone().unwrap()).unwrap();
        let own = holders::process(i32::try_from(std::process::id()).unwrap()).unwrap();
        let gone = Process { start_ticks: own.start_ticks + 1, ..own.clone() };
        wakes.hold(&scene(Holders::Living(vec![own, gone.clone()])));
        assert_eq!(wakes.daemons(), 1);
        let woken = wakes.wait(false, Duration::from_secs(10));
        assert_eq!(woken.ended, [Ended { process: gone, dev: DEV }]);
        assert_eq!(wakes.wait(false, Duration::ZERO), Woken::default());
        std::io::Write::write_all(&mut &stopper, b"x").unwrap();
        assert!(wakes.wait(false, Duration::from_secs(10)).stop);
        std::io::Read::read_exact(&mut stop, &mut [0]).unwrap();
        wakes.hold(&scene(Holders::None));
        assert_eq!(wakes.daemons(), 0);
    }
}
