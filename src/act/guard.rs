//! Guarding the bare directories that mounts cover: while nothing is mounted there, nobody, not even
//! root, writes files into them that a mount would hide. Immutable where the file system knows that
//! (`FS_IOC_SETFLAGS`), mode 000 where it does not; both can be taken back, and nothing is deleted.
//!
//! A directory that is mounted on is reached through a copy of the mount around it, attached nowhere,
//! that carries none of what is mounted on it. So this works at any time, and no storage is asked.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{
    IFlags, Mode, OFlags, ResolveFlags, fchmod, fstat, ioctl_getflags, ioctl_setflags, openat2,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::probes::family::Family;
use crate::probes::identity;
use crate::probes::liveness;
use crate::probes::mountinfo;
use crate::sys::text;

/// A bare directory, open.
#[derive(Debug)]
pub struct Bare(OwnedFd);

/// How a bare directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// Whoever may write there by its mode can.
    No,
    /// Immutable: nobody can.
    Immutable,
    /// Mode 000, on a file system that knows no immutable: nobody but root can.
    Closed,
}

impl Bare {
    /// Opens the directory that is, or would be, mounted on. `None` when there is none.
    ///
    /// # Errors
    /// It lies on storage that may hang, a link leads to it, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let table = mountinfo::read(|mount| mount.path == path)?;
        let above = table.walk(path).ancestors;
        if let Some(remote) = above.iter().find(|mount| Family::of(&mount.fstype).is_remote()) {
            bail!("lies on {} ({}), which may hang", text::path(&remote.path), remote.fstype);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("has no directory above it");
        };
        let around = match identity::open_may_hang(parent) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.with_context(|| format!("open {}", text::path(parent)))?,
        };
        let clone = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let bare = open_tree(around, c"", clone).context("open_tree")?;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat2(&bare, name, flags, Mode::empty(), how) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context("open the bare directory"),
        }
    }

    /// Why it is better not guarded, if there is a reason.
    ///
    /// # Errors
    /// What the file system says.
    pub fn reason_against(&self, covered: bool) -> Result<Option<String>> {
        let owner = fstat(&self.0).context("fstat")?.st_uid;
        if owner != 0 {
            // fusermount3 wants its caller to be able to write to the directory
            return Ok(Some(format!(
                "it belongs to uid {owner}, who could not mount there any more"
            )));
        }
        if !covered && liveness::count_entries(&self.0, 1).context("read the directory")? > 0 {
            return Ok(Some("nothing is mounted there, and something is in it".to_owned()));
        }
        Ok(None)
    }

    /// How it is, and its mode.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn look(&self) -> Result<(Guarded, u32)> {
        let mode = fstat(&self.0).context("fstat")?.st_mode & 0o7777;
        let immutable =
            ioctl_getflags(&self.0).is_ok_and(|flags| flags.contains(IFlags::IMMUTABLE));
        Ok(match (immutable, mode) {
            (true, _) => (Guarded::Immutable, mode),
            (false, 0) => (Guarded::Closed, mode),
            (false, _) => (Guarded::No, mode),
        })
    }

    /// Guards it.
    ///
    /// # Errors
    /// EPERM without the right to, and what the file system says.
    pub fn guard(&self) -> Result<Guarded> {
        let flags = ioctl_getflags(&self.0);
        match flags.and_then(|flags| ioctl_setflags(&self.0, flags | IFlags::IMMUTABLE)) {
            Ok(()) => Ok(Guarded::Immutable),
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => {
                fchmod(&self.0, Mode::empty()).context("close it by its mode")?;
                Ok(Guarded::Closed)
            }
            Err(errno) => Err(errno).context("make it immutable"),
        }
    }

    /// Takes the guard back, as `was` says it was before.
    ///
    /// # Errors
    /// As for [`Self::guard`].
    pub fn release(&self, was_mode: u32) -> Result<()> {
        let (guarded, _) = self.look()?;
        match guarded {
            Guarded::Immutable => {
                let flags = ioctl_getflags(&self.0).context("read its flags")?;
                ioctl_setflags(&self.0, flags - IFlags::IMMUTABLE).context("make it mutable")
            }
            Guarded::Closed => {
                fchmod(&self.0, Mode::from_raw_mode(was_mode)).context("give it its mode back")
            }
            Guarded::No => Ok(()),
        }
    }
}
