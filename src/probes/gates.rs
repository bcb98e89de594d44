//! What must be open before anything is done: the sentinel, HALT, a person's hold, a deploy, our
//! own locks. Looked at here without taking any lock, so that a dry run can show them too; an
//! acting run takes the locks and is refused by the kernel where this look was too early.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::sentinel::{Halt, Kind, Permission};

/// Everything that can close the way to action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// What each kind of act is permitted; one that is not here is not.
    pub access: BTreeMap<Kind, Access>,
    /// The brake.
    pub halt: Halt,
    /// Somebody is deploying.
    pub deploy: LockLook,
    /// Another round is at work.
    pub busy: LockLook,
    /// Why state, debts or holds cannot be read.
    pub unreadable: Option<String>,
    /// A stored time lies in the future of the wall clock.
    pub clock_fault: bool,
    /// Whether what we would do to mounts is done to the host's mounts.
    pub namespace: Namespace,
}

/// What one kind of act is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// By its sentinel.
    pub permission: Permission,
    /// A person's pause: what is left of it, and why.
    pub hold: Option<(std::time::Duration, String)>,
}

impl Gates {
    /// Whether the sentinel of this kind is there.
    #[must_use]
    pub fn is_armed(&self, kind: Kind) -> bool {
        self.access.get(&kind).is_some_and(|access| access.permission == Permission::Armed)
    }
}

/// Whether somebody holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockLook {
    /// Nobody, or there is no such file.
    Free,
    /// Somebody.
    Held,
    /// It could not be found out.
    Unknown(String),
}

/// Which mount namespace this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// That of PID 1, or it does not matter (`services = "process"`).
    Host,
    /// Another one: the host would not see what is done here.
    Foreign,
    /// It could not be found out.
    Unknown(String),
}

/// Compares our mount namespace with that of PID 1.
#[must_use]
pub fn namespace() -> Namespace {
    let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt"));
    match (link("self"), link("1")) {
        (Ok(own), Ok(host)) if own == host => Namespace::Host,
        (Ok(_), Ok(_)) => Namespace::Foreign,
        (Err(error), _) | (_, Err(error)) => {
            Namespace::Unknown(format!("read the mount namespace of PID 1: {error}"))
        }
    }
}

/// Whether somebody holds an flock on `path` that keeps us out: `exclusive_only` when we would
/// share it. From `/proc/locks`, which shows the locks of this pid namespace.
#[must_use]
pub fn lock(path: &Path, exclusive_only: bool) -> LockLook {
    match holders(path) {
        Ok(holders) if holders.iter().any(|it| it.exclusive || !exclusive_only) => LockLook::Held,
        Ok(_) => LockLook::Free,
        Err(why) => LockLook::Unknown(why),
    }
}

/// Somebody who holds an flock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whether nobody else may.
    pub exclusive: bool,
    /// The process; 0 where it is of another pid namespace.
    pub pid: i32,
}

/// Who holds an flock on `path`; nobody where there is no such file.
///
/// # Errors
/// It could not be looked at.
pub fn holders(path: &Path) -> Result<Vec<Holder>, String> {
    let file = match std::fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", crate::sys::text::path(path))),
    };
    let locks = std::fs::read_to_string("/proc/locks")
        .map_err(|error| format!("read /proc/locks: {error}"))?;
    Ok(parse(&locks, file.dev(), file.ino()))
}

/// The flocks held on one file. A line is `1: FLOCK  ADVISORY  WRITE 708 fe:00:4718 0 EOF`; a waiter's has `->` after
/// the number.
fn parse(locks: &str, dev: u64, inode: u64) -> Vec<Holder> {
    let device = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(dev), rustix::fs::minor(dev));
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, mode, pid, place, ..] if *place == device => {
                Some(Holder { exclusive: *mode == "WRITE", pid: pid.parse().unwrap_or(0) })
            }
            _ => None,
        }
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_held_flocks_of_this_very_file_count() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 708 fe:00:4718 0 EOF
1: -> FLOCK  ADVISORY  WRITE 709 fe:00:4719 0 EOF
2: POSIX  ADVISORY  WRITE 708 fe:00:4720 0 EOF
3: FLOCK  ADVISORY  READ 708 fe:00:4721 0 EOF
";
        let dev = rustix::fs::makedev(0xfe, 0);
        let held = |inode| parse(locks, dev, inode);
        assert_eq!(held(4718), [Holder { exclusive: true, pid: 708 }]);
        assert_eq!(held(4719), []);
        assert_eq!(held(4720), []);
        assert_eq!(held(4721), [Holder { exclusive: false, pid: 708 }]);
    }

    #[test]
    fn a_lock_is_seen_while_it_is_held() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(lock(file.path(), false), LockLook::Free);
        file.as_file().lock_shared().unwrap();
        assert_eq!(lock(file.path(), false), LockLook::Held);
        assert_eq!(lock(file.path(), true), LockLook::Free, "shared keeps no sharer out");
        file.as_file().unlock().unwrap();
        file.as_file().lock().unwrap();
        assert_eq!(lock(file.path(), true), LockLook::Held);
        assert_eq!(lock(Path::new("/nonexistent/lock"), true), LockLook::Free);
    }
}
