//! Who still holds a FUSE connection, and who keeps a detached mount alive: read from the
//! descriptors of every process (`/proc/PID/fdinfo`), which is safe even for a process that is
//! stuck, as long as the descriptor is of a file and of no object of the kernel's with a lock of its
//! own. A mount that answers 107 while somebody still holds its connection is not dead: a
//! stacked file system can answer so itself.
//!
//! The `fuse_connection` line is young (seen on Linux 6.18). Whether this kernel writes it is found
//! out from the descriptors at hand, never from a version: when some descriptor of /dev/fuse is
//! there and none has the line, nobody can tell.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::mountinfo::Dev;
use super::witness::{self, stat_of};
use crate::config::Whereabouts;

/// A process, told from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Clock ticks after boot at which it started: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

/// The inode of the machine's first pid namespace, `PROC_PID_INIT_INO` (`include/linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether this process lives where every process of the machine is seen.
#[must_use]
pub fn sees_every_process() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|ns| ns.ino() == FIRST_PID_NAMESPACE)
}

/// Who holds one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holders {
    /// Nobody: its daemon is gone for good.
    None,
    /// These.
    Living(Vec<Process>),
    /// It cannot be told, and why.
    Unknown(&'static str),
}

/// The open ends of all FUSE connections this process can see.
#[derive(Debug, Default)]
pub struct Daemons {
    by_connection: BTreeMap<u32, Vec<Process>>,
    /// descriptors of /dev/fuse whose fdinfo does not name a connection
    unnamed: usize,
    /// some process would not show its descriptors
    hidden: bool,
    /// some process may not be seen at all
    elsewhere: bool,
}

impl Daemons {
    /// Scans all processes: 1 ms for 150 of them, 7.5 ms for 1,000 (measured on 6.18).
    #[must_use]
    pub fn scan(whereabouts: Whereabouts) -> Self {
        let elsewhere = match whereabouts {
            Whereabouts::Anywhere => !sees_every_process(),
            Whereabouts::Here => false,
        };
        let mut daemons = Self { elsewhere, ..Self::default() };
        if for_each_process(|pid| daemons.look_at(pid)).is_err() {
            daemons.hidden = true;
        }
        daemons
    }

    fn look_at(&mut self, pid: i32) {
        let process = Path::new("/proc").join(pid.to_string());
        let is_empty = self.look_into(pid, &process);
        // one whose first thread has ended shows no descriptor there, and no error: its other threads do
        if is_empty && stat_of(pid).is_some_and(|it| it.state == 'Z' && !witness::has_ended(&it)) {
            let Ok(threads) = fs::read_dir(process.join("task")) else {
                self.hidden = true;
                return;
            };
            threads.flatten().for_each(|thread| {
                self.look_into(pid, &thread.path());
            });
        }
    }

    /// Looks at the descriptors of a process, or of a thread of it; whether it shows none.
    fn look_into(&mut self, pid: i32, dir: &Path) -> bool {
        let entries = match fs::read_dir(dir.join("fd")) {
            Ok(entries) => entries,
            Err(error) => {
                self.hidden |= !is_gone(&error) && !has_ended(pid);
                return false;
            }
        };
        let mut is_empty = true;
        for entry in entries.flatten() {
            is_empty = false;
            // only the link is read: following it could ask a file system
            let link = match fs::read_link(entry.path()) {
                Ok(target) if may_be_of_a_daemon(&target) => target,
                Ok(_) => continue,
                Err(error) => {
                    self.hidden |= !is_gone(&error);
                    continue;
                }
            };
            let info = fs::read_to_string(dir.join("fdinfo").join(entry.file_name()));
            match info.as_deref().map(connection_of) {
                Ok(Some(connection)) => {
                    if let Some(process) = process(pid) {
                        let holders = self.by_connection.entry(connection).or_default();
                        if !holders.contains(&process) {
                            holders.push(process);
                        }
                    }
                }
                // of another file of that name there is nothing to tell
                Ok(None) => self.unnamed += usize::from(link.starts_with("/dev")),
                Err(error) => self.hidden |= !is_gone(error),
            }
        }
        is_empty
    }

    /// Who holds the connection behind `dev`.
    #[must_use]
    pub fn of(&self, dev: Dev) -> Holders {
        if let Some(found) = self.by_connection.get(&dev.minor) {
            return Holders::Living(found.clone());
        }
        if self.elsewhere {
            return Holders::Unknown("its daemon may live outside this pid namespace");
        }
        if self.hidden {
            return Holders::Unknown("not every process shows its descriptors to this user");
        }
        if self.unnamed > 0 && self.by_connection.is_empty() {
            return Holders::Unknown("this kernel does not name connections in fdinfo");
        }
        Holders::None
    }

    /// The connections that `process` holds.
    #[must_use]
    pub fn held_by(&self, process: &Process) -> Vec<u32> {
        let held = self.by_connection.iter().filter(|(_, holders)| holders.contains(process));
        held.map(|(connection, _)| *connection).collect()
    }
}

/// Whether this kernel names the connection of a FUSE daemon; none while there is no daemon to see it by.
#[must_use]
pub fn names_connections() -> Option<bool> {
    let all = Daemons::scan(Whereabouts::Here);
    if !all.by_connection.is_empty() {
        return Some(true);
    }
    (all.unnamed > 0).then_some(false)
}

/// Whether what a descriptor's link names may be the device: where it is, or was, in the file system of whoever opened it,
/// a container, say, depends on that one's root; one that was mounted by itself and is so no more is nothing but `/`.
fn may_be_of_a_daemon(link: &Path) -> bool {
    let link = link.as_os_str().as_bytes();
    let link = link.strip_suffix(b" (deleted)").unwrap_or(link);
    link == b"/" || link.ends_with(b"/fuse")
}

/// The connection named by the fdinfo of a descriptor of /dev/fuse that is mounted.
fn connection_of(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("fuse_connection:")?.trim().parse().ok())
}

/// Processes that have a file of mount `mount_id` open: while one lives, a detached mount and its
/// old superblock live too. Working directories and memory maps do not show here.
#[must_use]
pub fn of_mount(mount_id: u64) -> Vec<Process> {
    let mut found = Vec::new();
    // what could not be seen is not claimed: this names holders, it does not deny them
    let _ = for_each_process(|pid| {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return };
        let infos = Path::new("/proc").join(pid.to_string()).join("fdinfo");
        let holds = entries.flatten().any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| may_lie_on_a_mount(&link))
                && fs::read_to_string(infos.join(entry.file_name()))
                    .is_ok_and(|info| mount_of(&info) == Some(mount_id))
        });
        if holds {
            found.extend(process(pid));
        }
    });
    found
}

/// Whether what a descriptor's link names may be a file of a mount. What is of the kernel's own making, or a device, is
/// not, and more is told of it than its place: of an epoll under a lock that whoever waits on a silent FUSE file may hold.
fn may_lie_on_a_mount(link: &Path) -> bool {
    let link = link.as_os_str().as_bytes();
    link.starts_with(b"/") && !link.starts_with(b"/dev/")
}

fn mount_of(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

impl Process {
    /// A descriptor of just this process; none when it has ended.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> Result<Option<OwnedFd>, Errno> {
        let is_same = |now: Self| now.start_ticks == self.start_ticks;
        open_process(self.pid, || process(self.pid).is_some_and(is_same))
    }
}

/// A descriptor of the process with this number; none when it has ended, or is not the one that is meant. It is opened
/// first and looked at second: from then on the number cannot be another's, and what is done by the descriptor is done to
/// the process that `is_it` has seen, or to none.
///
/// # Errors
/// It cannot be opened.
pub fn open_process(pid: i32, is_it: impl FnOnce() -> bool) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(is_it().then_some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The process with this number, as it is now.
#[must_use]
pub fn process(pid: i32) -> Option<Process> {
    let stat = stat_of(pid)?;
    Some(Process { pid, comm: stat.comm, start_ticks: stat.starttime })
}

/// Calls `look` for every process.
///
/// # Errors
/// /proc could not be listed.
pub fn for_each_process(mut look: impl FnMut(i32)) -> std::io::Result<()> {
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            look(pid);
        }
    }
    Ok(())
}

/// Whether a process has ended, with all its threads, and only waits for its parent: it holds no descriptor any more.
/// Its list of them may be closed to whoever has no capability in the first user namespace, even to its own user
/// (EACCES, measured on 6.18).
fn has_ended(pid: i32) -> bool {
    stat_of(pid).is_some_and(|it| witness::has_ended(&it))
}

/// Whether a process or a descriptor went away while it was looked at.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev(minor: u32) -> Dev {
        Dev { major: 0, minor }
    }

    fn sshfs() -> Process {
        Process { pid: 7, comm: "sshfs".to_owned(), start_ticks: 1 }
    }

    #[test]
    fn the_lines_are_found() {
        let info = "pos:\t0\nflags:\t02\nmnt_id:\t24\nino:\t85\nfuse_connection:\t52\n";
        assert_eq!((connection_of(info), mount_of(info)), (Some(52), Some(24)));
        assert_eq!(connection_of("pos:\t0\n"), None);
    }

    #[test]
    fn only_of_what_may_lie_on_a_mount_more_is_read_than_its_name() {
        for (link, may) in [
            ("/srv/box/data.txt", true),
            ("/srv/box/gone (deleted)", true),
            ("/", true),
            ("/devices/a", true),
            ("anon_inode:[eventpoll]", false),
            ("anon_inode:inotify", false),
            ("socket:[4711]", false),
            ("pipe:[4711]", false),
            ("mnt:[4026531841]", false),
            ("/dev/dri/renderD128", false),
        ] {
            assert_eq!(may_lie_on_a_mount(Path::new(link)), may, "{link}");
        }
    }

    #[test]
    fn the_device_is_known_wherever_its_opener_had_it() {
        for (link, may) in [
            ("/dev/fuse", true),
            ("/srv/chroot/dev/fuse", true),
            ("/fuse", true),
            ("/", true),
            ("/dev/fuse (deleted)", true),
            ("/srv/fuse/a", false),
            ("/dev/fuse2", false),
            ("socket:[4711]", false),
        ] {
            assert_eq!(may_be_of_a_daemon(Path::new(link)), may, "{link}");
        }
    }

    #[test]
    fn nobody_is_claimed_only_where_everybody_was_seen() {
        let mut daemons = Daemons::default();
        assert_eq!(daemons.of(dev(52)), Holders::None, "no descriptor of /dev/fuse anywhere");
        daemons.unnamed = 1;
        assert!(matches!(daemons.of(dev(52)), Holders::Unknown(_)), "the line is not known to be");
        daemons.by_connection.insert(53, vec![sshfs()]);
        assert_eq!(daemons.of(dev(52)), Holders::None, "another descriptor has the line");
        assert_eq!(daemons.of(dev(53)), Holders::Living(vec![sshfs()]));
        daemons.elsewhere = true;
        assert!(matches!(daemons.of(dev(52)), Holders::Unknown(_)), "in another namespace");
        daemons.elsewhere = false;
        daemons.hidden = true;
        assert!(matches!(daemons.of(dev(52)), Holders::Unknown(_)));
        assert_eq!(daemons.of(dev(53)), Holders::Living(vec![sshfs()]), "seen is seen");
    }
}
