//! The acts on a mount, each in a child of its own with a limit: the last reference to a superblock
//! is torn down by whoever drops it, and may wait for a server; abort and detach stand here, the
//! making of binds in [`bind`].
//!
//! The child looks again, does the one thing, and looks again. It goes by descriptors, so nothing
//! that is renamed or linked meanwhile can turn it to another target; a mount that was put on top
//! in the meantime is seen and refused.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::bind::{self, Place};
use crate::decide::plan::Reason;
use crate::probes::connections::{self, Connections};
use crate::probes::identity::{self, Identity};
use crate::probes::mountinfo::{self, MountTable};
use crate::sys::clock::{boottime, millis};
use crate::sys::command::Spawned;
use crate::sys::path_text;

/// The word that makes this program such a child.
const VERB: &str = "--act";

/// How long an act may take; both take under a millisecond unless a server is waited for.
pub const ACT_LIMIT: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Order {
    /// End the connection of this mount.
    Abort {
        /// Which mount.
        identity: Identity,
    },
    /// Take this mount away.
    Detach {
        /// Which mount; it must be the topmost at the path.
        identity: Identity,
        /// Nested mounts that may go along.
        along: Vec<u64>,
    },
    /// Make the directory that a bind is to show, where it is missing.
    MakeCold {
        /// Where.
        place: Place,
    },
    /// Make the directory that a bind is mounted on, where it is missing.
    MakeHot {
        /// It must lie below this one, which is there.
        #[serde(with = "path_text")]
        root: PathBuf,
    },
    /// Bind the path, where nothing is mounted.
    Bind {
        /// What it is to show.
        place: Place,
    },
    /// Swap the mount at the path for a bind.
    Rebind {
        /// The old mount; it must be the topmost at the path.
        identity: Identity,
        /// Nested mounts that may go along with the old one.
        along: Vec<u64>,
        /// What the new one is to show.
        place: Place,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "came", rename_all = "kebab-case")]
pub enum Done {
    /// It is done, and was seen to be.
    Done {
        /// What was seen.
        detail: String,
    },
    /// It was so already.
    Already {
        /// What was seen.
        detail: String,
    },
    /// It must not be done any more.
    Refused {
        /// The reason's word.
        reason: Refusal,
        /// What was seen.
        detail: String,
    },
    /// It was tried and did not succeed.
    Failed {
        /// What the kernel said.
        detail: String,
    },
}

/// Until when (boot time, milliseconds) a child may begin what cannot be taken back. Whoever sent it has
/// given it up then, and nothing that was checked before holds any more: not the lock, not HALT.
#[derive(Clone, Copy, Debug)]
pub struct InTime(u64);

impl InTime {
    /// A little less than the parent waits.
    fn within(limit: Duration) -> Self {
        let until = boottime().saturating_add(limit.saturating_sub(limit / 10));
        Self(millis(until))
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn still(self) -> Result<(), Done> {
        if boottime().as_millis() < u128::from(self.0) {
            return Ok(());
        }
        let detail = "it took too long to come so far; nothing was done".to_owned();
        Err(Done::Refused { reason: Refusal::UnclearEvidence, detail })
    }
}

/// The reasons that can turn up at the last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Another mount is there.
    IdentityChanged,
    /// Something was mounted on it.
    HasChildren,
    /// It could not be looked at again.
    UnclearEvidence,
    /// A bind would hide what is in the directory.
    HidesData,
}

impl Refusal {
    /// The same as a reason of the plan.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::IdentityChanged => Reason::IdentityChanged,
            Self::HasChildren => Reason::HasChildren,
            Self::UnclearEvidence => Reason::UnclearEvidence,
            Self::HidesData => Reason::HidesData,
        }
    }
}

/// Has a child carry out `order` at `path`, and waits for it at most `limit`.
#[must_use]
pub fn carry_out(path: &Path, order: &Order, limit: Duration) -> Done {
    let failed = |detail: String| Done::Failed { detail };
    let order = match serde_json::to_string(order) {
        Ok(order) => order,
        Err(error) => return failed(format!("write the order: {error}")),
    };
    let until = InTime::within(limit).0.to_string();
    let args =
        [VERB.into(), OsString::from(order), OsString::from(until), path.as_os_str().to_owned()];
    let child = match Spawned::start(&args) {
        Ok(child) => child,
        Err(error) => return failed(format!("start a child for it: {error}")),
    };
    if !child.ends_within(limit) {
        // left alone: a kill could only make it unkillable
        return failed(format!("no end within {}", crate::sys::text::duration(limit)));
    }
    match serde_json::from_slice(&child.answer()) {
        Ok(done) => done,
        Err(_) => failed("its child ended without an answer".to_owned()),
    }
}

/// When these arguments are for a child of a round, a prober or an actor: does its work, and says
/// how the process should end. The first thing that every program of this package does.
#[must_use]
pub fn dispatch(args: &[OsString]) -> Option<i32> {
    crate::probes::prober::run_if_asked(args)
        .or_else(|| crate::probes::headroom::run_if_asked(args))
        .or_else(|| crate::probes::growth::run_if_asked(args))
        .or_else(|| crate::probes::ability::run_if_asked(args))
        .or_else(|| run_if_asked(args))
}

fn run_if_asked(args: &[OsString]) -> Option<i32> {
    let [verb, order, until, path] = args else { return None };
    if verb != VERB {
        return None;
    }
    let path = PathBuf::from(path);
    // without a time it is too late
    let in_time = InTime(until.to_str().and_then(|ms| ms.parse().ok()).unwrap_or_default());
    let done = match order.to_str().map(serde_json::from_str::<Order>) {
        Some(Ok(Order::Abort { identity })) => abort(&path, &identity, in_time),
        Some(Ok(Order::Detach { identity, along })) => detach(&path, &identity, &along, in_time),
        Some(Ok(Order::MakeCold { place })) => bind::make_cold(&place),
        Some(Ok(Order::MakeHot { root })) => bind::make_hot(&path, &root),
        Some(Ok(Order::Bind { place })) => bind::bind(&path, &place, in_time),
        Some(Ok(Order::Rebind { identity, along, place })) => {
            bind::rebind(&path, &identity, &along, &place, in_time)
        }
        Some(Err(_)) | None => Done::Failed { detail: "an order that is none".to_owned() },
    };
    let written = serde_json::to_vec(&done)
        .map_err(std::io::Error::from)
        .and_then(|answer| std::io::stdout().write_all(&answer));
    Some(i32::from(written.is_err()))
}

/// The mount at `path` as it is now, if it is the one that is meant.
pub(super) fn found(path: &Path, identity: &Identity) -> Result<std::os::fd::OwnedFd, Done> {
    let refused = |reason, detail: String| Done::Refused { reason, detail };
    let unclear = |what: &str, errno: Errno| {
        refused(Refusal::UnclearEvidence, format!("{what} the path again: {errno}"))
    };
    let fd = match identity::open_may_hang(path) {
        Ok(fd) => fd,
        Err(Errno::LOOP) => {
            let detail = "there is a symbolic link in the path now".to_owned();
            return Err(refused(Refusal::IdentityChanged, detail));
        }
        Err(errno) => return Err(unclear("open", errno)),
    };
    let now = identity::describe(&fd).map_err(|errno| unclear("identify", errno))?;
    if !now.is(identity) {
        let detail = if now.mount_root {
            format!("mount {} on {} is there now", now.mount_id, now.dev)
        } else {
            "nothing is mounted there now".to_owned()
        };
        return Err(refused(Refusal::IdentityChanged, detail));
    }
    same_connection(identity, &Connections::read())?;
    Ok(fd)
}

/// Mount id and device are used again, both at once, and before Linux 6.8 an opened path tells no more. Asked while it
/// is open: as long as that keeps its superblock, the number of the connection is nobody else's.
fn same_connection(identity: &Identity, connections: &Connections) -> Result<(), Done> {
    let Some(inode) = identity.connection else { return Ok(()) };
    let (reason, detail) = match connections {
        Connections::Known(_) if connections.still_has(identity.dev, inode) => return Ok(()),
        Connections::Known(_) => {
            let detail = format!("another mount on {} is there now", identity.dev);
            (Refusal::IdentityChanged, detail)
        }
        Connections::NotMounted => {
            let detail = "/sys/fs/fuse/connections, which told it from others, is not there now";
            (Refusal::UnclearEvidence, detail.to_owned())
        }
    };
    Err(Done::Refused { reason, detail })
}

pub(super) fn table() -> Result<MountTable, Done> {
    mountinfo::once().map_err(|error| Done::Refused {
        reason: Refusal::UnclearEvidence,
        detail: error.to_string(),
    })
}

fn detach(path: &Path, identity: &Identity, along: &[u64], in_time: InTime) -> Done {
    detach_now(path, identity, along, in_time).unwrap_or_else(|done| done)
}

fn detach_now(
    path: &Path,
    identity: &Identity,
    along: &[u64],
    in_time: InTime,
) -> Result<Done, Done> {
    let before = table()?;
    let is_it = |table: &MountTable| {
        table.get(identity.mount_id).is_some_and(|mount| mount.dev == identity.dev)
    };
    if !is_it(&before) {
        let detail = "it is not mounted any more".to_owned();
        return Ok(Done::Already { detail });
    }
    let fd = found(path, identity)?;
    foreign_in(&table()?, identity, along)?;
    in_time.still()?;
    // by descriptor: no path is walked now, so none can lead elsewhere. Without UMOUNT_NOFOLLOW,
    // because the descriptor's own path is a link.
    unmount(format!("/proc/self/fd/{}", fd.as_raw_fd()), UnmountFlags::DETACH)
        .map_err(|errno| Done::Failed { detail: format!("umount2: {errno}") })?;
    let after = table()?;
    if is_it(&after) {
        let detail = "umount2 succeeded, and yet it is still mounted: something was put on top of \
                      it at the very moment, and went instead";
        return Err(Done::Failed { detail: detail.to_owned() });
    }
    Ok(Done::Done { detail: format!("mount {} is gone", identity.mount_id) })
}

/// Refuses when something hangs on a mount that may not go along with it.
pub(super) fn foreign_in(
    table: &MountTable,
    identity: &Identity,
    along: &[u64],
) -> Result<(), Done> {
    let nested = table.nested_in(identity.mount_id);
    match nested.iter().find(|mount| !along.contains(&mount.id)) {
        None => Ok(()),
        Some(foreign) => {
            let detail = format!("{} was mounted on it", crate::sys::text::path(&foreign.path));
            Err(Done::Refused { reason: Refusal::HasChildren, detail })
        }
    }
}

fn abort(path: &Path, identity: &Identity, in_time: InTime) -> Done {
    abort_now(path, identity, in_time).unwrap_or_else(|done| done)
}

fn abort_now(path: &Path, identity: &Identity, in_time: InTime) -> Result<Done, Done> {
    let failed = |what: &str, errno: Errno| Done::Failed { detail: format!("{what}: {errno}") };
    let Some(inode) = identity.connection else {
        let detail = "its connection is not known".to_owned();
        return Err(Done::Refused { reason: Refusal::UnclearEvidence, detail });
    };
    let directory = connections::directory(identity.dev);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let connection = match open(&directory, flags, Mode::empty()) {
        Ok(connection) => connection,
        Err(Errno::NOENT) => {
            return Ok(Done::Already { detail: "the connection is gone".to_owned() });
        }
        Err(errno) => return Err(failed("open the connection", errno)),
    };
    // the number may be another's by now; the inode is not, and the descriptor stays with it
    let connection = std::fs::File::from(connection);
    let same = connection.metadata().is_ok_and(|directory| directory.ino() == inode);
    if !same {
        return Ok(Done::Already { detail: "its number is another connection's now".to_owned() });
    }
    found(path, identity)?;
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let abort = openat(&connection, "abort", flags, Mode::empty())
        .map_err(|errno| failed("open abort", errno))?;
    in_time.still()?;
    rustix::io::write(&abort, b"1").map_err(|errno| failed("write abort", errno))?;
    Ok(Done::Done { detail: format!("connection {} is ended", identity.dev.minor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::mountinfo::Dev;

    fn nobody() -> Identity {
        let dev = Dev { major: 0, minor: u32::MAX };
        Identity { mount_id: u64::MAX, unique_id: None, dev, connection: Some(1) }
    }

    #[test]
    fn what_is_gone_already_is_said_to_be() {
        let in_time = InTime::within(ACT_LIMIT);
        assert!(matches!(detach(Path::new("/"), &nobody(), &[], in_time), Done::Already { .. }));
        assert!(matches!(abort(Path::new("/"), &nobody(), in_time), Done::Already { .. }));
    }

    #[test]
    fn a_connection_of_the_same_number_is_another_mount_and_an_unseen_one_is_unclear() {
        let of = |connection| Identity { connection, ..nobody() };
        let known = Connections::Known([(u32::MAX, 1)].into());
        let reason = |connection, connections: &Connections| match same_connection(
            &of(connection),
            connections,
        ) {
            Err(Done::Refused { reason, .. }) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(Some(1), &known), None);
        assert_eq!(reason(Some(2), &known), Some(Refusal::IdentityChanged));
        let gone = Connections::Known(std::collections::BTreeMap::new());
        assert_eq!(reason(Some(1), &gone), Some(Refusal::IdentityChanged));
        assert_eq!(reason(Some(1), &Connections::NotMounted), Some(Refusal::UnclearEvidence));
        assert_eq!(reason(None, &Connections::NotMounted), None, "it is not told by one");
    }

    #[test]
    fn orders_and_answers_survive_the_way() {
        let order = Order::Detach { identity: nobody(), along: vec![1] };
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
        let done = Done::Refused { reason: Refusal::IdentityChanged, detail: "another".to_owned() };
        let text = serde_json::to_string(&done).unwrap();
        assert_eq!(serde_json::from_str::<Done>(&text).unwrap(), done);
    }
}
