//! Signs of life in files, which may lie on storage that hangs: a child looks.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::{self, ask};
use crate::sys::clock::Deadline;

/// The word that makes this program such a child.
const VERB: &str = "--heartbeat";

/// What a look at a file gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// When it was last written, milliseconds since 1970.
    At(u64),
    /// It is not there.
    Absent,
    /// It cannot be looked at, and why.
    Unknown(String),
}

/// Looks, within `limit`.
#[must_use]
pub fn file(path: &Path, limit: Duration) -> Written {
    let answer = ask(VERB, path).answer(Deadline::after(limit), limit, "no answer");
    answer.unwrap_or_else(Written::Unknown)
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, look)
}

fn look(path: &Path) -> Written {
    match path.metadata() {
        Ok(it) => {
            let ms = it.mtime().saturating_mul(1000).saturating_add(it.mtime_nsec() / 1_000_000);
            Written::At(u64::try_from(ms).unwrap_or_default())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Written::Absent,
        Err(error) => Written::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_absent_and_one_below_a_file_cannot_be_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        assert_eq!(look(&path), Written::Absent);
        std::fs::write(&path, "").unwrap();
        assert!(matches!(look(&path), Written::At(ms) if ms > 1_600_000_000_000));
        assert!(matches!(look(&path.join("x")), Written::Unknown(_)));
    }
}
