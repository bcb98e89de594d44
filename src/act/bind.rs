//! Making a bind and swapping one for another, each in a child of its own with a limit.
//!
//! A bind keeps the superblock it was made of, so when storage is mounted anew every bind of it must
//! be made anew too. The new one is slid beneath the old one and the old one taken away, so that
//! there is no moment in which the bare directory shows (`MOVE_MOUNT_BENEATH`, Linux 6.5). Where the
//! kernel cannot do that, the new one is at hand before the old one goes.
//!
//! Everything goes by descriptors. The cold directory is reached from its base, and only through the
//! very mount that was judged: no link, no other mount, and never the disk below.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, fchmod, fstat, mkdirat, openat, openat2,
    statx,
};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};
use rustix::process::{geteuid, umask};
use serde::{Deserialize, Serialize};

use super::child::{Done, InTime, Refusal, foreign_in, found, table};
use crate::probes::identity::{self, Identity};
use crate::probes::liveness;
use crate::probes::mountinfo::{Mount, MountTable, Propagation};
use crate::sys::path_text;
use crate::sys::user::{self, Ids};
use crate::sys::{mount_attr, text};

/// The directory that a bind shows, and the mount it must be reached through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The directory.
    #[serde(with = "path_text")]
    pub cold: PathBuf,
    /// The base it lies on.
    #[serde(with = "path_text")]
    pub base: PathBuf,
    /// The mount at the base, just judged.
    pub mount: Identity,
}

impl Place {
    /// Opens the directory: from the base's own mount, without leaving it.
    fn open(&self) -> Result<OwnedFd, Done> {
        let mut here = found(&self.base, &self.mount)?;
        for name in self.names()? {
            here = enter(&here, &name)
                .map_err(|errno| unclear(format!("open {}: {errno}", text::path(&self.cold))))?;
        }
        Ok(here)
    }

    /// Its way down from the base.
    fn names(&self) -> Result<Vec<OsString>, Done> {
        let below = self.cold.strip_prefix(&self.base);
        names(below.map_err(|_| unclear(format!("{} is not below its base", self.shown())))?)
    }

    fn shown(&self) -> String {
        text::path(&self.cold)
    }
}

fn names(path: &Path) -> Result<Vec<OsString>, Done> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Ok(name.to_owned()),
        Component::RootDir | Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
            Err(unclear(format!("{} is no plain path", text::path(path))))
        }
    };
    path.components().map(name).collect()
}

fn unclear(detail: String) -> Done {
    Done::Refused { reason: Refusal::UnclearEvidence, detail }
}

fn failed(what: &str, errno: Errno) -> Done {
    Done::Failed { detail: format!("{what}: {errno}") }
}

/// One directory further down on the same mount; links and other mounts are refused.
fn enter(here: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(here, name, flags, Mode::empty(), how)
}

/// Makes the cold directory where it is missing, on the base and nowhere else, as the owner of the
/// directory it is made in.
pub fn make_cold(place: &Place) -> Done {
    make_cold_now(place).unwrap_or_else(|done| done)
}

fn make_cold_now(place: &Place) -> Result<Done, Done> {
    let mut here = found(&place.base, &place.mount)?;
    let mut made = 0;
    for name in place.names()? {
        let next = match enter(&here, &name) {
            Err(Errno::NOENT) => {
                if made == 0 {
                    become_owner_of(&here).map_err(|errno| failed("become its owner", errno))?;
                }
                made += 1;
                make(&here, &name).inspect(let_enter)
            }
            entered => entered,
        };
        here = next.map_err(|errno| failed(&format!("open or make {}", place.shown()), errno))?;
    }
    Ok(match made {
        0 => Done::Already { detail: format!("{} is there", place.shown()) },
        _ => Done::Done { detail: format!("made {}", place.shown()) },
    })
}

/// What is made on storage belongs to whom the directory above belongs to: root's own would be of
/// no use to a worker, and a server may not let root make any.
fn become_owner_of(directory: &OwnedFd) -> Result<(), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let stat = statx(directory, c"", flags, StatxFlags::UID | StatxFlags::GID)?;
    match (stat.stx_uid, stat.stx_gid) {
        (0, 0) => Ok(()),
        (uid, gid) => user::take_on(&Ids { uid, gid, groups: Vec::new() }),
    }
}

/// What is made here can be entered by whoever is to work in it.
const MADE: Mode = Mode::from_raw_mode(0o755);

/// Its mode is right from its first moment, whatever the umask of whoever started us, which is of this child
/// alone: whoever owns the directory above could have put a link in its place by the time that a mode is set by name.
fn make(here: &OwnedFd, name: &OsString) -> Result<OwnedFd, Errno> {
    umask(Mode::empty());
    match mkdirat(here, name.as_os_str(), MADE) {
        Ok(()) | Err(Errno::EXIST) => enter(here, name),
        Err(errno) => Err(errno),
    }
}

/// A server has a umask of its own. Its mode is set by its descriptor, and only where it is what was just made: a
/// directory of ours with nothing in it. Where that cannot be had it stays as the server made it.
fn let_enter(made: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(inside) = openat(made, c".", flags, Mode::empty()) else { return };
    let withheld = |stat: &rustix::fs::Stat| {
        let mode = Mode::from_raw_mode(stat.st_mode);
        stat.st_uid == geteuid().as_raw() && !mode.contains(MADE)
    };
    let is_new = || liveness::count_entries(&inside, 1) == Ok(0);
    if fstat(&inside).is_ok_and(|stat| withheld(&stat)) && is_new() {
        let _ = fchmod(&inside, MADE);
    }
}

/// Makes the hot directory where it is missing, below `root`, as ours and for nobody else to write.
pub fn make_hot(hot: &Path, root: &Path) -> Done {
    make_hot_now(hot, root).unwrap_or_else(|done| done)
}

fn make_hot_now(hot: &Path, root: &Path) -> Result<Done, Done> {
    let below = hot.strip_prefix(root);
    let below = below.map_err(|_| unclear(format!("it is not below {}", text::path(root))))?;
    let open = identity::open_uncached(root);
    let mut here = open.map_err(|errno| failed(&format!("open {}", text::path(root)), errno))?;
    let mut made = 0;
    for name in names(below)? {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let next = match openat2(&here, &name, flags, Mode::empty(), how) {
            Err(Errno::NOENT) => {
                made += 1;
                make(&here, &name)
            }
            entered => entered,
        };
        here = next.map_err(|errno| failed("open or make its directory", errno))?;
    }
    Ok(match made {
        0 => Done::Already { detail: "its directory is there".to_owned() },
        _ => Done::Done { detail: "made its directory".to_owned() },
    })
}

/// Binds `hot`, where nothing is mounted, to its place.
pub fn bind(hot: &Path, place: &Place, in_time: InTime) -> Done {
    bind_now(hot, place, in_time).unwrap_or_else(|done| done)
}

fn bind_now(hot: &Path, place: &Place, in_time: InTime) -> Result<Done, Done> {
    let new = New::of(&place.open()?)?;
    let bare = open_bare(hot)?;
    in_time.still()?;
    new.put_on(&bare)?;
    new.alone_at(hot, &[])?;
    new.seen_at(hot, place)?;
    Ok(Done::Done { detail: format!("shows {} (mount {})", place.shown(), new.id) })
}

/// The directory at `hot`, where nothing is mounted and nothing would be hidden.
fn open_bare(hot: &Path) -> Result<OwnedFd, Done> {
    let fd = open_ground(hot, &[])?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let inside = openat(&fd, c".", flags, Mode::empty()).map_err(again)?;
    if liveness::count_entries(&inside, 1).map_err(again)? > 0 {
        let detail =
            "there is something in the directory by now, which a bind would hide".to_owned();
        return Err(Done::Refused { reason: Refusal::HidesData, detail });
    }
    Ok(fd)
}

/// What lies at `hot`, if it is what a new bind may be put on: the topmost of the mounts that are known to lie there,
/// or, where there are none, the directory.
fn open_ground(hot: &Path, known: &[&Mount]) -> Result<OwnedFd, Done> {
    let fd = identity::open_may_hang(hot).map_err(again)?;
    let opened = identity::describe(&fd).map_err(again)?;
    let is_known = match known.last() {
        None => !opened.mount_root,
        Some(top) => opened.mount_root && (opened.mount_id, opened.dev) == (top.id, top.dev),
    };
    if is_known {
        return Ok(fd);
    }
    let detail = "something else is mounted there by now".to_owned();
    Err(Done::Refused { reason: Refusal::IdentityChanged, detail })
}

fn again(errno: Errno) -> Done {
    unclear(format!("open the path again: {errno}"))
}

/// Swaps the mount at `hot`, known as `old`, for a bind of its place.
pub fn rebind(hot: &Path, old: &Identity, along: &[u64], place: &Place, in_time: InTime) -> Done {
    rebind_now(hot, old, along, place, in_time).unwrap_or_else(|done| done)
}

fn rebind_now(
    hot: &Path,
    old: &Identity,
    along: &[u64],
    place: &Place,
    in_time: InTime,
) -> Result<Done, Done> {
    let before = table()?;
    let was = before.get(old.mount_id).filter(|mount| mount.dev == old.dev);
    let Some(was) = was.cloned() else {
        let detail = "the old one is not mounted any more".to_owned();
        return Err(Done::Refused { reason: Refusal::IdentityChanged, detail });
    };
    let layers = before.walk(hot).layers;
    let below: Vec<&Mount> = layers.into_iter().take_while(|it| it.id != old.mount_id).collect();
    // what may wait for storage comes first, and all is looked at again after it
    let new = New::of(&place.open()?)?;
    mount_attr::set_options(&new.fd, mount_attr::parse(was.options.as_bytes()))
        .map_err(|errno| failed("give the new bind the options of the old one", errno))?;
    let top = found(hot, old)?;
    foreign_in(&table()?, old, along)?;
    in_time.still()?;
    let how = if knows_beneath() == Some(true) {
        new.slide_beneath(&top).map_err(|errno| failed("slide it beneath the old one", errno))?;
        travel_like(&new.fd, was.propagation)?;
        take_away(&top, old, along)?;
        "slid beneath the old one"
    } else {
        // the new one is at hand before the old one goes: the directory is bare for two system calls
        take_away(&top, old, along)?;
        new.put_on(&open_ground(hot, &below).map_err(half_done)?)?;
        new.alone_at(hot, &below).map_err(half_done)?;
        travel_like(&new.fd, was.propagation)?;
        "put in place of the old one"
    };
    let now = new.seen_at(hot, place)?;
    is_dressed_like(&now, &was)?;
    Ok(Done::Done { detail: format!("shows {} (mount {}), {how}", place.shown(), new.id) })
}

/// What is refused once the old one is gone is no refusal any more.
fn half_done(done: Done) -> Done {
    match done {
        Done::Refused { detail, .. } => Done::Failed {
            detail: format!("the old one is gone, and no new one is there: {detail}"),
        },
        Done::Done { .. } | Done::Already { .. } | Done::Failed { .. } => done,
    }
}

/// Whether this kernel knows `MOVE_MOUNT_BENEATH`: on a path that is not there it says so (ENOENT),
/// or that it does not know the flag (EINVAL). The true call says EINVAL for other reasons too. None where that may
/// not be asked: it takes root, and a unit that may mount.
#[must_use]
pub fn knows_beneath() -> Option<bool> {
    let missing = c"/proc/self/fd/-1";
    let flags = MoveMountFlags::MOVE_MOUNT_BENEATH;
    match move_mount(CWD, missing, CWD, missing, flags) {
        Err(Errno::NOENT) => Some(true),
        Err(Errno::INVAL) => Some(false),
        _ => None,
    }
}

fn take_away(top: &OwnedFd, old: &Identity, along: &[u64]) -> Result<(), Done> {
    foreign_in(&table()?, old, along)?;
    // without UMOUNT_NOFOLLOW, because the descriptor's own path is a link
    unmount(format!("/proc/self/fd/{}", top.as_raw_fd()), UnmountFlags::DETACH)
        .map_err(|errno| failed("umount2 of the old one", errno))?;
    let stands = |mount: &Mount| mount.dev == old.dev;
    if table()?.get(old.mount_id).is_some_and(stands) {
        let detail = "umount2 succeeded, and yet the old one is still mounted: something was put on top \
                      of it at the very moment, and went instead";
        return Err(Done::Failed { detail: detail.to_owned() });
    }
    Ok(())
}

/// A shared place makes shared what is put there; an old bind that was not shared stays so.
fn travel_like(mount: &OwnedFd, was: Propagation) -> Result<(), Done> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let wanted = match was {
        Propagation { unbindable: true, .. } => &[MountPropagationFlags::UNBINDABLE][..],
        Propagation { shared: Some(_), master: Some(_), .. } => {
            &[MountPropagationFlags::DOWNSTREAM, MountPropagationFlags::SHARED][..]
        }
        Propagation { shared: None, master: Some(_), .. } => {
            &[MountPropagationFlags::DOWNSTREAM][..]
        }
        Propagation { shared: Some(_), master: None, .. } => &[MountPropagationFlags::SHARED][..],
        Propagation { shared: None, master: None, .. } => &[MountPropagationFlags::PRIVATE][..],
    };
    for kind in wanted {
        mount_change(&path, *kind)
            .map_err(|errno| failed("let the new bind travel as the old one did", errno))?;
    }
    Ok(())
}

fn is_dressed_like(now: &Mount, was: &Mount) -> Result<(), Done> {
    if now.options == was.options && now.propagation.is_like(&was.propagation) {
        return Ok(());
    }
    let shown = |mount: &Mount| format!("{} {:?}", text::name(&mount.options), mount.propagation);
    let detail = format!("it is there, but as {} and not as {}", shown(now), shown(was));
    Err(Done::Failed { detail })
}

/// A bind that is made and attached nowhere yet; dropped before it is, it is gone.
struct New {
    fd: OwnedFd,
    id: u64,
    of: Identity,
}

impl New {
    fn of(cold: &OwnedFd) -> Result<Self, Done> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let fd = open_tree(cold, c"", flags).map_err(|errno| failed("open_tree", errno))?;
        let opened = identity::describe(&fd).map_err(|errno| failed("identify it", errno))?;
        let of = Identity {
            mount_id: opened.mount_id,
            unique_id: opened.unique_id,
            dev: opened.dev,
            connection: None,
        };
        Ok(Self { fd, id: opened.mount_id, of })
    }

    fn attach(&self, to: impl AsFd, flags: MoveMountFlags) -> Result<(), Errno> {
        let by_descriptor =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.fd, c"", to, c"", by_descriptor | flags)
    }

    fn slide_beneath(&self, top: &OwnedFd) -> Result<(), Errno> {
        self.attach(top, MoveMountFlags::MOVE_MOUNT_BENEATH)
    }

    fn put_on(&self, bare: &OwnedFd) -> Result<(), Done> {
        self.attach(bare, MoveMountFlags::empty()).map_err(|errno| failed("move_mount", errno))
    }

    /// Whatever was mounted there at the very moment, besides what is known to lie below, is not covered: then this one
    /// goes again. Not where that lies on top of this one: an unmount by the descriptor takes the topmost.
    fn alone_at(&self, hot: &Path, below: &[&Mount]) -> Result<(), Done> {
        let after = table()?;
        let layers = after.walk(hot).layers;
        let is_known = |id: u64| id == self.id || below.iter().any(|mount| mount.id == id);
        if layers.iter().all(|mount| is_known(mount.id)) {
            return Ok(());
        }
        let what = "something was mounted there at the very moment";
        if layers.last().is_none_or(|top| top.id != self.id) {
            let detail = format!("{what}, on top of the new bind; both are left");
            return Err(Done::Failed { detail });
        }
        unmount(format!("/proc/self/fd/{}", self.fd.as_raw_fd()), UnmountFlags::DETACH)
            .map_err(|errno| failed(&format!("{what}; undo"), errno))?;
        if table()?.get(self.id).is_some_and(|mount| mount.dev == self.of.dev) {
            let detail = format!("{what}, and another on top of the new bind, which went instead");
            return Err(Done::Failed { detail });
        }
        let detail = format!("{what}; it is left");
        Err(Done::Refused { reason: Refusal::IdentityChanged, detail })
    }

    /// The new mount as the table has it: the topmost at `hot`, and of the superblock that holds the
    /// cold directory.
    fn seen_at(&self, hot: &Path, place: &Place) -> Result<Mount, Done> {
        let after: MountTable = table()?;
        match after.walk(hot).layers.last() {
            Some(top) if top.id == self.id && top.dev == self.of.dev => {
                if top.dev == place.mount.dev {
                    return Ok((*top).clone());
                }
                let detail = format!("it is on {}, its base on {}", top.dev, place.mount.dev);
                Err(Done::Failed { detail })
            }
            Some(top) => {
                let detail = format!("mount {} on {} is on top there", top.id, top.dev);
                Err(Done::Failed { detail })
            }
            None => Err(Done::Failed { detail: "nothing is mounted there now".to_owned() }),
        }
    }
}
