//! How much room there is on what the worker writes to. statfs(2) may hang, so a child asks, one for
//! each file system, and is left alone when it does not answer. Only mounts that were seen live in the
//! same round are asked, so such a child is left only where a mount began to hang in between.
//!
//! A private mount answers root with zeros, alive or dead, and so may a server that does not know: a
//! file system without any blocks is unknown, and what is unknown is too little. One with blocks and no
//! inodes at all does not count them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::asked::{self, Asked, ask, ask_alone};
use super::mountinfo::Dev;
use crate::sys::clock::Deadline;
use crate::sys::place;

/// The word that makes this program such a child.
const VERB: &str = "--headroom";

/// The word that makes it one that looks at a directory for results.
const PLACE: &str = "--headroom-place";

/// What is known of one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Headroom {
    /// This.
    Known {
        /// Bytes that an ordinary user may still write.
        free_bytes: u64,
        /// Inodes that are free; none where it does not count them.
        free_inodes: Option<u64>,
    },
    /// Nothing, and why.
    Unknown(String),
}

/// A directory where results are to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Why no file can be made in it.
    pub refusal: Option<Refusal>,
    /// How much room there is, or will be once it is made.
    pub room: Headroom,
}

/// Why no file can be made in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// There is none.
    Missing,
    /// This user may not, or nobody can.
    Denied(String),
}

/// Asks for each path, all at once; those of one file system are asked once. Returns within `limit`.
#[must_use]
pub fn look(paths: &[(PathBuf, Dev)], limit: Duration) -> BTreeMap<PathBuf, Headroom> {
    let deadline = Deadline::after(limit);
    let mut children: BTreeMap<Dev, Asked> = BTreeMap::new();
    for (path, dev) in paths {
        children.entry(*dev).or_insert_with(|| ask(VERB, path));
    }
    let answer = |child: Asked| {
        child.answer(deadline, limit, "statfs: no answer").unwrap_or_else(Headroom::Unknown)
    };
    let answers: BTreeMap<Dev, Headroom> =
        children.into_iter().map(|(dev, child)| (dev, answer(child))).collect();
    let of = |dev: &Dev| {
        let none = || Headroom::Unknown("it was not asked".to_owned());
        answers.get(dev).cloned().unwrap_or_else(none)
    };
    paths.iter().map(|(path, dev)| (path.clone(), of(dev))).collect()
}

/// Looks at a directory for results, unless a look before has not come to its end. Returns within `limit`.
///
/// # Errors
/// There is no answer.
pub fn place(path: &Path, limit: Duration) -> Result<Place, String> {
    ask_alone(PLACE, path).answer(Deadline::after(limit), limit, "no answer")
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, room).or_else(|| asked::run_if_asked(PLACE, args, place_of))
}

fn place_of(path: &Path) -> Place {
    let there = |path: &&Path| path.symlink_metadata().is_ok();
    Place { refusal: refusal(path), room: room(path.ancestors().find(there).unwrap_or(path)) }
}

fn refusal(dir: &Path) -> Option<Refusal> {
    match std::fs::metadata(dir) {
        Ok(it) if !it.is_dir() => return Some(Refusal::Denied(Errno::NOTDIR.to_string())),
        Ok(_) | Err(_) => {}
    }
    match place::takes_files(dir) {
        Ok(()) => None,
        Err(Errno::NOENT) => Some(Refusal::Missing),
        Err(errno) => Some(Refusal::Denied(errno.to_string())),
    }
}

/// How much room there is here. It may hang: this is for processes that may be left.
#[must_use]
pub fn room(path: &Path) -> Headroom {
    match rustix::fs::statvfs(path) {
        Ok(stat) => understand(
            stat.f_blocks,
            stat.f_bavail.saturating_mul(stat.f_frsize),
            stat.f_files,
            stat.f_favail,
        ),
        Err(errno) => Headroom::Unknown(format!("statfs: {errno}")),
    }
}

fn understand(blocks: u64, free_bytes: u64, inodes: u64, free_inodes: u64) -> Headroom {
    match (blocks, inodes) {
        (0, _) => Headroom::Unknown("it says that it has no blocks at all".to_owned()),
        (_, 0) => Headroom::Known { free_bytes, free_inodes: None },
        (_, _) => Headroom::Known { free_bytes, free_inodes: Some(free_inodes) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_blocks_is_unknown_and_one_without_inodes_does_not_count_them() {
        assert!(matches!(understand(0, 0, 0, 0), Headroom::Unknown(_)));
        let known = |free_inodes| Headroom::Known { free_bytes: 5, free_inodes };
        assert_eq!(understand(9, 5, 0, 0), known(None));
        assert_eq!(understand(9, 5, 7, 0), known(Some(0)));
        assert!(matches!(room(Path::new("/")), Headroom::Known { .. }));
        assert!(matches!(room(Path::new("/nonexistent")), Headroom::Unknown(_)));
    }

    #[test]
    fn where_no_file_can_be_made_there_is_a_reason_and_room_is_that_above() {
        let refused = |path: &str| {
            let place = place_of(Path::new(path));
            assert!(matches!(place.room, Headroom::Known { .. }), "{place:?}");
            place.refusal
        };
        assert_eq!(refused("/tmp"), None);
        assert_eq!(refused("/nonexistent/a"), Some(Refusal::Missing));
        assert_eq!(refused("/bin/sh"), Some(Refusal::Denied(Errno::NOTDIR.to_string())));
    }
}
