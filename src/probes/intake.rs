//! What lies in a directory of an intake. It may lie on storage that hangs, so a child looks.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked;
use crate::sys::path_text;

/// The word that makes this program such a child.
const LIST: &str = "--intake-list";
/// In a directory of an intake: what is about to be deleted.
pub const ASIDE: &str = ".unwedge-deleting";

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    #[serde(with = "path_text")]
    pub name: PathBuf,
    /// Which one of that name: when it was last written, milliseconds since 1970, and its size.
    pub version: String,
}

/// What lies in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its regular files.
    pub files: Vec<Entry>,
    /// Whether a deletion was cut off.
    pub has_aside: bool,
}

/// Lists a directory. That there are no files is another answer than that nobody knows.
///
/// # Errors
/// It cannot be listed, or that was not known within `limit`.
pub fn list(dir: &Path, limit: Duration) -> Result<Listing, String> {
    asked::alone_within(LIST, dir, limit)
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(LIST, args, |dir| look(dir).map_err(|error| error.to_string()))
}

fn look(dir: &Path) -> std::io::Result<Listing> {
    let mut found = Listing::default();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let it = match entry.path().symlink_metadata() {
            Ok(it) => it,
            // it went meanwhile
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // of whatever cannot be looked at nobody knows that it is not there
            Err(error) => return Err(error),
        };
        if it.is_file() {
            found.files.push(Entry { name: entry.file_name().into(), version: version_of(&it) });
        } else if it.is_dir() && entry.file_name() == ASIDE {
            found.has_aside = true;
        }
    }
    Ok(found)
}

/// Which file of its name it is: see [`Entry::version`].
#[must_use]
pub fn version_of(it: &std::fs::Metadata) -> String {
    format!("{}-{}", it.mtime() * 1000 + it.mtime_nsec() / 1_000_000, it.size())
}

/// Whether that is this version of it, a later or an earlier one, as well as it is told from here: some file systems keep whole
/// seconds, others keep what they were told until it was flushed, and a host may be shown what was there before. None
/// where that is no version.
#[must_use]
pub fn as_version(it: &std::fs::Metadata, version: &str) -> Option<Ordering> {
    const APART_MS_MAX: u64 = 2000;
    let parts = |text: &str| {
        let (ms, size) = text.rsplit_once('-')?;
        Some((ms.parse::<i64>().ok()?, size.to_owned()))
    };
    let ((ms, size), (wanted_ms, wanted_size)) = parts(&version_of(it)).zip(parts(version))?;
    let is_same = size == wanted_size && ms.abs_diff(wanted_ms) <= APART_MS_MAX;
    Some(match (is_same, ms > wanted_ms) {
        (true, _) => Ordering::Equal,
        (false, true) => Ordering::Greater,
        (false, false) => Ordering::Less,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_listed_and_a_listing_that_fails_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a:b"), "x").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("a:b", dir.path().join("link")).unwrap();
        let found = look(dir.path()).unwrap();
        assert_eq!((found.files.len(), found.files[0].name.to_str()), (1, Some("a:b")));
        assert!(!found.has_aside);
        std::fs::create_dir(dir.path().join(ASIDE)).unwrap();
        assert!(look(dir.path()).unwrap().has_aside);
        assert!(look(&dir.path().join("none")).is_err());
    }
}
