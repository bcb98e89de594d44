//! Deleting an input whose job is done. It goes aside first and is looked at there: whoever puts another one in its place
//! meanwhile keeps that. What was cut off in between is ended, or put back, by the next one who comes. Storage may hang, so
//! a child does it.
//!
//! Aside is `.unwedge-deleting/VERSION/NAME` beside the file: no name is too long for that, and it tells all that is to be
//! known.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::probes::asked;
use crate::probes::intake::{ASIDE, version_of};
use crate::sys::{place, text};

/// The words that make this program such a child.
const DELETE: &str = "--intake-delete";
const SETTLE: &str = "--intake-settle";

/// Deletes a file, if it is still this version of it.
///
/// # Errors
/// It is still there, or that is not known.
pub fn delete(path: &Path, version: &str, limit: Duration) -> Result<(), String> {
    let mut word = OsString::from(format!("{version}:"));
    word.push(path);
    asked::alone_within(DELETE, Path::new(&word), limit)
}

/// Ends what deletions in this directory were cut off at.
///
/// # Errors
/// Some of it is still aside, and why.
pub fn settle(dir: &Path, limit: Duration) -> Result<(), String> {
    asked::alone_within(SETTLE, dir, limit)
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(DELETE, args, remove)
        .or_else(|| asked::run_if_asked(SETTLE, args, settle_all))
}

fn remove(word: &Path) -> Result<(), String> {
    let bytes = word.as_os_str().as_bytes();
    let at = bytes.iter().position(|byte| *byte == b':').ok_or("no version")?;
    let (version, path) =
        (OsStr::from_bytes(&bytes[..at]), Path::new(OsStr::from_bytes(&bytes[at + 1..])));
    let (dir, name) = path.parent().zip(path.file_name()).ok_or("no file")?;
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        // another one of the same name is another job's
        Ok(it) if !is_version(&it, version) => return Ok(()),
        Ok(_) => {}
    }
    let aside = dir.join(ASIDE).join(version);
    fs::create_dir_all(&aside).map_err(|error| error.to_string())?;
    let moved = place::beside_none(path, &aside.join(name));
    let ended = match moved {
        Ok(()) | Err(Errno::EXIST) => end(&aside.join(name), version, path),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    tidy(&aside);
    ended
}

/// What lies aside is deleted if it is that version, and put back if not.
fn end(aside: &Path, version: &OsStr, path: &Path) -> Result<(), String> {
    let it = aside.symlink_metadata().map_err(|error| error.to_string())?;
    if is_version(&it, version) {
        return fs::remove_file(aside).map_err(|error| error.to_string());
    }
    place::beside_none(aside, path).map_err(|error| {
        format!("{} is another one, and cannot be put back: {error}", text::path(aside))
    })
}

fn is_version(it: &fs::Metadata, version: &OsStr) -> bool {
    it.is_file() && version_of(it).as_bytes() == version.as_bytes()
}

/// Takes away what is empty.
fn tidy(aside: &Path) {
    let _ = fs::remove_dir(aside);
    if let Some(above) = aside.parent() {
        let _ = fs::remove_dir(above);
    }
}

fn settle_all(dir: &Path) -> Result<(), String> {
    let list = |dir: &Path| -> Result<Vec<fs::DirEntry>, String> {
        let found = fs::read_dir(dir).and_then(Iterator::collect);
        found.map_err(|error| format!("{}: {error}", text::path(dir)))
    };
    let mut wrong = None;
    for versions in list(&dir.join(ASIDE))? {
        for file in list(&versions.path())? {
            let path = dir.join(file.file_name());
            wrong = wrong.or(end(&file.path(), &versions.file_name(), &path).err());
        }
        tidy(&versions.path());
    }
    wrong.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn desk() -> (tempfile::TempDir, PathBuf, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a:b");
        fs::write(&path, "x").unwrap();
        let version = version_of(&path.symlink_metadata().unwrap());
        (dir, path, version)
    }

    fn word(version: &str, path: &Path) -> PathBuf {
        format!("{version}:{}", path.display()).into()
    }

    #[test]
    fn only_the_same_one_is_deleted_and_nothing_is_left_behind() {
        let (dir, path, version) = desk();
        assert_eq!(remove(&word("1-1", &path)), Ok(()));
        assert!(path.exists(), "another version");
        assert_eq!(remove(&word(&version, &path)), Ok(()));
        assert!(!path.exists());
        assert_eq!(remove(&word(&version, &path)), Ok(()), "it is gone already");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// As if the child had been ended with the file aside.
    fn cut_off(dir: &Path, path: &Path, version: &str) -> PathBuf {
        let aside = dir.join(ASIDE).join(version);
        fs::create_dir_all(&aside).unwrap();
        fs::rename(path, aside.join("a:b")).unwrap();
        aside.join("a:b")
    }

    #[test]
    fn what_was_cut_off_is_ended_and_what_was_another_one_comes_back() {
        let (dir, path, version) = desk();
        cut_off(dir.path(), &path, &version);
        assert_eq!(settle_all(dir.path()), Ok(()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        fs::write(&path, "another").unwrap();
        cut_off(dir.path(), &path, &version);
        assert_eq!(settle_all(dir.path()), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        // a third has come to its place: both are kept, and that is said
        let aside = cut_off(dir.path(), &path, &version);
        fs::write(&path, "a third").unwrap();
        let told = settle_all(dir.path()).unwrap_err();
        assert!(told.contains("is another one, and cannot be put back"), "{told}");
        assert_eq!(fs::read_to_string(&aside).unwrap(), "another");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a third");
    }

    #[test]
    fn one_that_was_put_in_its_place_at_the_last_moment_is_kept() {
        let (dir, path, version) = desk();
        // what has the name is another one by the time that it is moved aside
        let aside = cut_off(dir.path(), &path, &version);
        fs::write(&aside, "put there between the two looks").unwrap();
        assert_eq!(end(&aside, OsStr::new(&version), &path), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "put there between the two looks");
    }
}
