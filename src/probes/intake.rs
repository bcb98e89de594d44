//! What lies in a directory of an intake. It may lie on storage that hangs, so a child looks, and a child deletes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::{self, ask};
use super::records::path_text;
use crate::sys::clock::Deadline;

/// The words that make this program such a child.
const LIST: &str = "--intake-list";
const DELETE: &str = "--intake-delete";

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    #[serde(with = "path_text")]
    pub name: PathBuf,
    /// Which one of that name: when it was last written, milliseconds since 1970, and its size.
    pub version: String,
}

/// The regular files of a directory. That there are none is another answer than that nobody knows.
///
/// # Errors
/// It cannot be listed, or that was not known within `limit`.
pub fn list(dir: &Path, limit: Duration) -> Result<Vec<Entry>, String> {
    ask(LIST, dir).answer::<Result<Vec<Entry>, String>>(
        Deadline::after(limit),
        limit,
        "no answer",
    )?
}

/// Deletes a file, if it is still this version of it.
///
/// # Errors
/// It is still there, or that is not known.
pub fn delete(path: &Path, version: &str, limit: Duration) -> Result<(), String> {
    let mut word = OsString::from(format!("{version}:"));
    word.push(path);
    let deadline = Deadline::after(limit);
    ask(DELETE, Path::new(&word)).answer::<Result<(), String>>(deadline, limit, "no answer")?
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(LIST, args, |dir| look(dir).map_err(|error| error.to_string()))
        .or_else(|| asked::run_if_asked(DELETE, args, remove))
}

fn look(dir: &Path) -> std::io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(it) = entry.path().symlink_metadata() else { continue };
        if it.is_file() {
            found.push(Entry { name: entry.file_name().into(), version: version_of(&it) });
        }
    }
    Ok(found)
}

fn version_of(it: &std::fs::Metadata) -> String {
    format!("{}-{}", it.mtime() * 1000 + it.mtime_nsec() / 1_000_000, it.size())
}

fn remove(word: &Path) -> Result<(), String> {
    let bytes = word.as_os_str().as_bytes();
    let at = bytes.iter().position(|byte| *byte == b':').ok_or("no version")?;
    let (version, path) = (&bytes[..at], Path::new(std::ffi::OsStr::from_bytes(&bytes[at + 1..])));
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(it) if !it.is_file() || version_of(&it).as_bytes() != version => {
            // another one of the same name is another job's
            Ok(())
        }
        Ok(_) => std::fs::remove_file(path).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_listed_and_only_the_same_one_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a:b");
        std::fs::write(&path, "x").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("a:b", dir.path().join("link")).unwrap();
        let found = look(dir.path()).unwrap();
        assert_eq!((found.len(), found[0].name.to_str()), (1, Some("a:b")));
        let word = |version: &str| PathBuf::from(format!("{version}:{}", path.display()));
        assert_eq!(remove(&word("1-1")), Ok(()));
        assert!(path.exists(), "another version");
        assert_eq!(remove(&word(&found[0].version)), Ok(()));
        assert!(!path.exists());
        assert_eq!(remove(&word(&found[0].version)), Ok(()), "it is gone already");
        assert!(look(&dir.path().join("none")).is_err(), "a listing that fails is no empty one");
    }
}
