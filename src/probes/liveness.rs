//! What a prober does: the look at one path that may never return. It runs in a child of its own,
//! named after the mount, and its answer goes through a pipe.
//!
//! The order matters. A plain stat may be answered from a cache for a mount long dead, statfs
//! answers root with zeros on a private mount dead or alive, and over an overlay only an entry
//! tells; on FUSE that says only how the entry is. So: open for identity, become the owner, ask with
//! `AT_STATX_FORCE_SYNC` first, and read one entry, never the whole directory.

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Mode, OFlags, RawDir, ResolveFlags, StatxFlags, fstatfs, openat, openat2, statx,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::{Deserialize, Serialize};

use super::identity::{self, Opened};
use crate::sys::user::{self, Ids};

/// Entries of a bare directory are counted so far: that there are any is the news.
pub const ENTRIES_MAX: u32 = 1000;

/// What a prober saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "saw", rename_all = "kebab-case")]
pub enum Look {
    /// The path could not be reached.
    Unreachable {
        /// What openat2(2) answered: ELOOP for a link on the way, ENOENT, EACCES …
        errno: i32,
    },
    /// Something is there which is not the root of a mount.
    NoMount {
        /// Whether it is a directory.
        directory: bool,
        /// How many entries it has, up to [`ENTRIES_MAX`]; `None` where that was not found out.
        entries: Option<u32>,
    },
    /// A mount is there, and this is what it said.
    Mount {
        /// Which one.
        opened: Opened,
        /// How it answered.
        answer: Answer,
        /// How many entries the directory below it has, up to [`ENTRIES_MAX`]; `None` where that was
        /// not found out.
        beneath: Option<u32>,
    },
    /// Another prober of this mount is at work.
    Doubled,
}

/// How a mount answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Every question.
    Yes,
    /// Not this one.
    No {
        /// The question.
        stage: Stage,
        /// The answer.
        errno: i32,
    },
}

/// The questions, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Becoming the owner of a private mount.
    BecomeOwner,
    /// `statx(AT_STATX_FORCE_SYNC)` of the root.
    Statx,
    /// `statfs` of the root.
    Statfs,
    /// Opening the root directory.
    Open,
    /// Reading one entry.
    Read,
    /// Looking at that entry.
    Entry,
}

impl Stage {
    /// In words for a person.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::BecomeOwner => "becoming its owner",
            Self::Statx => "statx",
            Self::Statfs => "statfs",
            Self::Open => "opening its root",
            Self::Read => "reading an entry",
            Self::Entry => "looking at an entry",
        }
    }
}

/// Whether this prober is the one to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Ask,
    /// Another one is at it.
    MakeWay,
}

/// Looks at `path`, as `owner` when that is given, and writes the answer to standard output.
/// **May never return**: only for a child.
///
/// # Errors
/// The answer could not be written: nobody waits for it any more.
pub fn look_and_answer(turn: &Turn, owner: Option<(u32, u32)>, path: &Path) -> std::io::Result<()> {
    let look = match turn {
        Turn::Ask => look(path, owner),
        Turn::MakeWay => Look::Doubled,
    };
    let mut answer = serde_json::to_vec(&look)?;
    answer.push(b'\n');
    std::io::stdout().write_all(&answer)
}

fn look(path: &Path, owner: Option<(u32, u32)>) -> Look {
    let fd = match identity::open_may_hang(path) {
        Ok(fd) => fd,
        Err(errno) => return Look::Unreachable { errno: errno.raw_os_error() },
    };
    let opened = match identity::describe(&fd) {
        Ok(opened) if opened.mount_root => opened,
        Ok(opened) => {
            let directory = opened.directory == Some(true);
            let entries = directory.then(|| count_in(&fd).ok()).flatten();
            return Look::NoMount { directory, entries };
        }
        Err(errno) => return Look::Unreachable { errno: errno.raw_os_error() },
    };
    let beneath = count_beneath(path);
    if let Some((uid, gid)) = owner
        && let Err(errno) = user::take_on(&Ids { uid, gid, groups: Vec::new() })
    {
        let answer = Answer::No { stage: Stage::BecomeOwner, errno: errno.raw_os_error() };
        return Look::Mount { opened, answer, beneath };
    }
    // as the owner a private mount shows what it withheld from root
    let opened = identity::describe(&fd).unwrap_or(opened);
    let answer = match ask(&fd) {
        Ok(()) => Answer::Yes,
        Err((stage, errno)) => Answer::No { stage, errno: errno.raw_os_error() },
    };
    Look::Mount { opened, answer, beneath }
}

/// How many entries the directory has that a mount covers: looked at in a copy of the mount around it
/// that carries none of what is mounted on it. The copy is attached nowhere and gone at the end; it
/// takes `CAP_SYS_ADMIN`.
fn count_beneath(path: &Path) -> Option<u32> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    let around = identity::open_may_hang(parent).ok()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let bare = open_tree(around, c"", flags).ok()?;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    count_in(&openat2(&bare, name, flags, Mode::empty(), how).ok()?).ok()
}

fn count_in(directory: &OwnedFd) -> Result<u32, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    count_entries(&openat(directory, c".", flags, Mode::empty())?, ENTRIES_MAX)
}

/// How many entries an opened directory has besides `.` and `..`, counted up to `max`.
///
/// # Errors
/// What getdents64(2) says.
pub fn count_entries(directory: impl AsFd, max: u32) -> Result<u32, Errno> {
    /// Room for some names at a time.
    const BUFFER_BYTES: usize = 4096;
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    let mut count = 0;
    while count < max {
        match entries.next() {
            Some(Ok(entry)) if [c".", c".."].contains(&entry.file_name()) => {}
            Some(Ok(_)) => count += 1,
            Some(Err(errno)) => return Err(errno),
            None => break,
        }
    }
    Ok(count)
}

fn ask(root: &OwnedFd) -> Result<(), (Stage, Errno)> {
    const EMPTY: &CStr = c"";
    let at = |stage: Stage| move |errno: Errno| (stage, errno);
    let sync = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = statx(root, EMPTY, sync, StatxFlags::BASIC_STATS).map_err(at(Stage::Statx))?;
    fstatfs(root).map_err(at(Stage::Statfs))?;
    let is_directory = u32::from(stat.stx_mode) & 0o170_000 == 0o040_000;
    if !is_directory {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let directory = openat(root, c".", flags, Mode::empty()).map_err(at(Stage::Open))?;
    for name in first_entries(&directory).map_err(at(Stage::Read))? {
        match look_at_entry(&directory, &name) {
            // a mount of its own answers for itself
            Err(Errno::XDEV) => {}
            // an entry that was removed, or that this user may not see, says nothing of the mount
            Ok(()) | Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => break,
            Err(errno) => return Err((Stage::Entry, errno)),
        }
    }
    Ok(())
}

/// Asks for one entry, without entering what is mounted on it.
fn look_at_entry(directory: impl AsFd, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let entry = openat2(directory, name, flags, Mode::empty(), how)?;
    let sync = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC | AtFlags::NO_AUTOMOUNT;
    statx(entry, c"", sync, StatxFlags::BASIC_STATS).map(drop)
}

/// A few names of the directory besides `.` and `..`, from a single read of it.
fn first_entries(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    /// Room for some names; the kernel fills it from the daemon's first answer.
    const BUFFER_BYTES: usize = 1024;
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory.as_fd(), &mut buffer);
    let mut names = Vec::new();
    loop {
        match entries.next() {
            Some(Ok(entry)) if [c".", c".."].contains(&entry.file_name()) => {}
            Some(Ok(entry)) => names.push(entry.file_name().to_owned()),
            Some(Err(errno)) => return Err(errno),
            None => return Ok(names),
        }
        if entries.is_buffer_empty() {
            return Ok(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_mount_answers_and_a_plain_directory_is_none() {
        assert!(matches!(look(Path::new("/proc"), None), Look::Mount { answer: Answer::Yes, .. }));
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let bare = |directory, entries| Look::NoMount { directory, entries };
        assert_eq!(look(&dir, None), bare(true, Some(0)));
        std::fs::write(dir.join("file"), "").unwrap();
        assert_eq!(look(&dir, None), bare(true, Some(1)));
        assert_eq!(look(&dir.join("file"), None), bare(false, None));
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let errno = Errno::LOOP.raw_os_error();
        assert_eq!(look(&dir.join("link"), None), Look::Unreachable { errno });
    }

    #[test]
    fn answers_survive_the_pipe() {
        let opened = Opened {
            mount_id: 30,
            unique_id: Some(1 << 32),
            dev: crate::probes::mountinfo::Dev { major: 0, minor: 52 },
            mount_root: true,
            directory: None,
        };
        let answer = Answer::No { stage: Stage::Statx, errno: 107 };
        for look in [
            Look::Mount { opened: opened.clone(), answer, beneath: Some(3) },
            Look::Mount { opened, answer: Answer::Yes, beneath: None },
            Look::NoMount { directory: true, entries: Some(0) },
            Look::Unreachable { errno: 40 },
            Look::Doubled,
        ] {
            let text = serde_json::to_string(&look).unwrap();
            assert_eq!(serde_json::from_str::<Look>(&text).unwrap(), look, "{text}");
        }
    }
}
