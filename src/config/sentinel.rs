//! The files that permit and forbid: one a kind of act, and HALT, which stops them all. They are looked at again
//! before every step and nothing is remembered in between. Whatever cannot be told for sure permits nothing:
//! only a proper file arms, and only the certain absence of HALT is no halt.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The kinds of acts, each permitted by a file of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Abort, detach, mount.
    Mounts,
    /// Bind, rebind.
    Binds,
    /// Stop the worker and start it.
    Worker,
    /// Give running rows back to the queue.
    Recover,
    /// Change rows of our own queue.
    Jobs,
    /// Send messages.
    Notify,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Mounts, Self::Binds, Self::Worker, Self::Recover, Self::Jobs, Self::Notify];

    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mounts => "mounts",
            Self::Binds => "binds",
            Self::Worker => "worker",
            Self::Recover => "recover",
            Self::Jobs => "jobs",
            Self::Notify => "notify",
        }
    }
}

/// The name that stops every act.
pub const HALT: &str = "HALT";

/// Longest part of HALT's text that is passed on, in characters.
pub const HALT_TEXT_MAX: usize = 200;

/// Bits of a mode that let somebody other than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// Whether a kind of act is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Permitted.
    Armed,
    /// Not permitted: there is no such file.
    NotArmed,
    /// Not permitted: something is there that permits nothing, and why not.
    Invalid(String),
    /// Not permitted: it could not be looked at, and why not.
    Unknown(String),
}

/// Whether everything is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// There is no HALT.
    Clear,
    /// There is one; with the first line of its text, or what it is if it has none. At most 200 printable characters.
    Set(String),
    /// It could not be looked at, and why not. To be treated as set.
    Unknown(String),
}

/// Looks at the permission for a kind of act: a regular file of root's (or of the effective user, when that is not
/// root), which nobody else can write, in a directory that nobody else can write.
pub fn permission(dir: &Path, kind: Kind) -> Permission {
    let kind = kind.name();
    let look = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir_fd = match rustix::fs::open(dir, look, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Permission::NotArmed,
        Err(errno) => return Permission::Unknown(failed("open", dir, errno)),
    };
    let path = dir.join(kind);
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(&dir_fd, kind, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Permission::NotArmed,
        Err(Errno::LOOP) => {
            return Permission::Invalid(format!("{} is a symbolic link", path.display()));
        }
        Err(Errno::NXIO) => {
            return Permission::Invalid(format!("{} is not a regular file", path.display()));
        }
        Err(errno) => return Permission::Unknown(failed("open", &path, errno)),
    };
    let (dir_stat, stat) = match (rustix::fs::fstat(&dir_fd), rustix::fs::fstat(&fd)) {
        (Ok(dir_stat), Ok(stat)) => (dir_stat, stat),
        (Err(errno), _) | (_, Err(errno)) => {
            return Permission::Unknown(failed("examine", &path, errno));
        }
    };
    let euid = rustix::process::geteuid().as_raw();
    let sound = if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        safe(&path, &stat, euid).and_then(|()| safe(dir, &dir_stat, euid))
    } else {
        Err(format!("{} is not a regular file", path.display()))
    };
    sound.map_or_else(Permission::Invalid, |()| Permission::Armed)
}

/// Looks for HALT: anything of that name, even a directory or a link to nowhere, stops everything.
pub fn halt(dir: &Path) -> Halt {
    let path = dir.join(HALT);
    match rustix::fs::statat(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Halt::Clear,
        Err(errno) => Halt::Unknown(failed("examine", &path, errno)),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Halt::Set(first_line(&path).unwrap_or_else(|| "no text".to_owned()))
        }
        Ok(stat) => Halt::Set(format!("not a regular file (mode {:o})", stat.st_mode)),
    }
}

/// Whether only root, or the effective user, can have written it.
fn safe(path: &Path, stat: &Stat, euid: u32) -> Result<(), String> {
    if stat.st_uid != 0 && stat.st_uid != euid {
        return Err(format!(
            "{} is owned by uid {}, expected {}",
            path.display(),
            stat.st_uid,
            owner(euid)
        ));
    }
    if stat.st_mode & OTHERS_WRITE != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(format!(
            "{0} is writable by others (mode {mode:04o}); chmod go-w {0}",
            path.display()
        ));
    }
    Ok(())
}

fn owner(euid: u32) -> String {
    if euid == 0 { "root".to_owned() } else { format!("root or uid {euid}") }
}

/// The first line of the text, cut and made printable; `None` if there is none, or it cannot be read.
fn first_line(path: &Path) -> Option<String> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    // Four bytes a character are enough for any text that is passed on.
    File::from(fd).take(4 * HALT_TEXT_MAX as u64).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty())?;
    Some(line.chars().take(HALT_TEXT_MAX).map(|c| if is_printable(c) { c } else { '?' }).collect())
}

/// Not a control character, nor one that turns the direction of the text or hides.
fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !c.is_control() && !invisible
}

fn failed(verb: &str, path: &Path, errno: Errno) -> String {
    format!("{verb} {}: {errno}", path.display())
}

#[cfg(test)]
#[path = "sentinel_tests.rs"]
mod tests;
