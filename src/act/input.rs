//! Deleting an input whose job is done. It goes aside first and is looked at there: whoever puts another one in its place
//! meanwhile keeps that. What was cut off in between is ended, or put back, by the next one who comes. Storage may hang, so
//! a child does it.
//!
//! Aside is `.unwedge-deleting/VERSION/NAME` beside the file: no name is too long for that, and it tells all that is to be
//! known. Whoever may write there may put a link in its place, and a link is followed nowhere: what lies elsewhere is none of
//! this.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};
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
    let aside = Aside::make(dir, version)?;
    let moved = place::beside_none(path, &aside.file(name));
    let ended = match moved {
        Ok(()) | Err(Errno::EXIST) => end(&aside.file(name), version, path),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    aside.tidy(dir);
    ended
}

/// A directory where files of one version go aside, held open so that no other one takes its place.
struct Aside {
    /// That of all versions.
    all: OwnedFd,
    version: OsString,
    its: OwnedFd,
}

impl Aside {
    /// The one of a version, below this directory, made where it is missing.
    fn make(dir: &Path, version: &OsStr) -> Result<Self, String> {
        let made = |at: &OwnedFd, name: &OsStr| match mkdirat(at, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => below(at, name),
            Err(error) => Err(error),
        };
        let all = directory(dir).and_then(|dir| made(&dir, OsStr::new(ASIDE)));
        let both = all.and_then(|all| Ok((made(&all, version)?, all)));
        let (its, all) = both.map_err(|error| said(dir, error))?;
        Ok(Self { all, version: version.to_owned(), its })
    }

    /// Those that are there.
    fn every(dir: &Path) -> Result<Vec<Result<Self, String>>, String> {
        let all = directory(dir).and_then(|dir| below(&dir, OsStr::new(ASIDE)));
        let named = all.and_then(|all| Ok((names(&all)?, all)));
        let (versions, all) = named.map_err(|error| said(dir, error))?;
        let open = |version: OsString| {
            let both = below(&all, &version).and_then(|its| Ok((its, rustix::io::dup(&all)?)));
            let (its, all) = both.map_err(|error| said(dir, error))?;
            Ok(Self { all, version, its })
        };
        Ok(versions.into_iter().map(open).collect())
    }

    fn file(&self, name: &OsStr) -> PathBuf {
        path_of(&self.its).join(name)
    }

    /// Takes away what is empty.
    fn tidy(&self, dir: &Path) {
        let _ = unlinkat(&self.all, &self.version, AtFlags::REMOVEDIR);
        let _ = fs::remove_dir(dir.join(ASIDE));
    }
}

fn said(dir: &Path, error: Errno) -> String {
    format!("{}: {error}", text::path(&dir.join(ASIDE)))
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A directory in one, and nothing that a link there leads to.
fn below(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, how, Mode::empty())
}

/// What is open, whatever has its name now (proc(5)).
fn path_of(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

fn names(dir: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let found = fs::read_dir(path_of(dir)).map_err(place::errno)?;
    found.map(|it| it.map(|it| it.file_name()).map_err(place::errno)).collect()
}

/// What lies aside is deleted if it is that version, and put back if not.
fn end(aside: &Path, version: &OsStr, path: &Path) -> Result<(), String> {
    let it = aside.symlink_metadata().map_err(|error| error.to_string())?;
    if is_version(&it, version) {
        return fs::remove_file(aside).map_err(|error| error.to_string());
    }
    place::beside_none(aside, path).map_err(|error| {
        format!(
            "what lies aside of {} is another one, and cannot be put back: {error}",
            text::path(path)
        )
    })
}

fn is_version(it: &fs::Metadata, version: &OsStr) -> bool {
    it.is_file() && version_of(it).as_bytes() == version.as_bytes()
}

fn settle_all(dir: &Path) -> Result<(), String> {
    let mut wrong = None;
    for aside in Aside::every(dir)? {
        let settled = aside.and_then(|aside| {
            let files = names(&aside.its).map_err(|error| error.to_string())?;
            let ends =
                files.iter().map(|name| end(&aside.file(name), &aside.version, &dir.join(name)));
            let wrong = ends.filter_map(Result::err).reduce(|first, _| first);
            aside.tidy(dir);
            wrong.map_or(Ok(()), Err)
        });
        wrong = wrong.or(settled.err());
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

    #[test]
    fn a_link_in_the_place_of_what_is_aside_leads_nowhere() {
        for at in [ASIDE.to_owned(), format!("{ASIDE}/1-1")] {
            let (dir, path, version) = desk();
            let other = tempfile::tempdir().unwrap();
            let theirs = other.path().join("1-1");
            fs::create_dir(&theirs).unwrap();
            fs::write(other.path().join("1-1/f"), "x").unwrap();
            let its = version_of(&theirs.join("f").symlink_metadata().unwrap());
            fs::create_dir(other.path().join(&its)).unwrap();
            fs::write(other.path().join("f"), "x").unwrap();
            let link = dir.path().join(at.replace("1-1", &its));
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(other.path(), &link).unwrap();
            assert!(settle_all(dir.path()).is_err(), "{at}");
            if at == ASIDE {
                assert!(remove(&word(&version, &path)).is_err());
            }
            assert!(path.exists() || at != ASIDE, "it stays where it cannot go aside");
            let left = |path: &Path| fs::read_dir(path).unwrap().count();
            assert_eq!([left(other.path()), left(&theirs)], [3, 1], "{at}");
            assert_eq!(fs::read_to_string(other.path().join("f")).unwrap(), "x");
        }
    }
}
