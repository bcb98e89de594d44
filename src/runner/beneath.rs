//! What the files of a try lie on: noted before it begins, and looked at again when it ends badly or is about to be put in
//! its place. What went meanwhile is neither the item's fault nor a place for its result. A child asks storage, which may
//! give no answer; on what the input lies is told by the mount table, so that nothing waits for it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::probes::asked;
use crate::probes::errno::{self, Says};
use crate::probes::family::Family;
use crate::probes::mountinfo::{self, Dev, Mount};
use crate::sys::text;

/// The word that makes this program such a child.
const VERB: &str = "--lies-there";
/// How long storage may take for an answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The directories of its files, and on which file system each of them was.
#[derive(Debug)]
pub struct Beneath {
    input: Option<(PathBuf, Option<Dev>)>,
    output: Option<(PathBuf, u64)>,
}

impl Beneath {
    /// As it is now, of an input and of a result on its way. What cannot be looked at was not there before either.
    #[must_use]
    pub fn of(input: &Path, scratch: Option<&Path>) -> Self {
        let on = |dir: &Path| Some((dir.to_owned(), fs::metadata(dir).ok()?.dev()));
        Self {
            input: input.parent().map(|dir| (dir.to_owned(), mounted_at(dir))),
            output: scratch.and_then(Path::parent).and_then(on),
        }
    }

    /// Whether the result would land elsewhere than where it began.
    #[must_use]
    pub fn moved(&self) -> Option<String> {
        let (dir, before) = self.output.as_ref()?;
        match fs::metadata(dir) {
            Ok(now) if now.dev() == *before => None,
            Ok(_) => Some(elsewhere(dir)),
            Err(error) => Some(format!("{}: {error}", text::path(dir))),
        }
    }

    /// What is not as it was, or gives no answer.
    #[must_use]
    pub fn gone(&self) -> Option<String> {
        let input = self.input.as_ref().map(|(dir, _)| dir);
        let output = self.output.as_ref().map(|(dir, _)| dir);
        for dir in input.into_iter().chain(output) {
            if let Some(why) = lost(dir) {
                return Some(format!("{}: {why}", text::path(dir)));
            }
        }
        match &self.input {
            Some((dir, Some(before))) if mounted_at(dir) != Some(*before) => Some(elsewhere(dir)),
            Some(_) | None => self.moved(),
        }
    }
}

/// Why the storage of a directory is not to be worked on: it gives no answer, or says that it is gone.
fn lost(dir: &Path) -> Option<String> {
    asked::within::<()>(VERB, dir, LIMIT).err()
}

/// Whether that is so of all that is mounted there, and not of this directory alone.
#[must_use]
pub fn is_lost(dir: &Path) -> bool {
    lost(dir).is_some()
        && lost(&mount_of(dir).map_or_else(|| dir.to_owned(), |it| it.path)).is_some()
}

fn elsewhere(dir: &Path) -> String {
    format!("{} is on another file system than when it began", text::path(dir))
}

/// The file system that is mounted where a directory lies; nothing of it is touched.
fn mounted_at(dir: &Path) -> Option<Dev> {
    mount_of(dir).map(|mount| mount.dev)
}

fn mount_of(dir: &Path) -> Option<Mount> {
    let table = mountinfo::once().ok()?;
    table.walk(dir).lies_on().cloned()
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, look)
}

/// Whether the storage of a directory answers; that there is none of that name, or none for us, is an answer. What stat(2)
/// says may be remembered from when a daemon lived; statfs(2) asks it.
fn look(dir: &Path) -> Result<(), String> {
    match rustix::fs::statfs(dir) {
        Err(error) if errno::says(error.raw_os_error(), Family::Fuse) != Says::Inconclusive => {
            Err(error.to_string())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_would_land_elsewhere_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("out/a");
        assert_eq!(Beneath::of(Path::new("/a"), Some(&scratch)).moved(), None, "it was not there");
        fs::create_dir(dir.path().join("out")).unwrap();
        let mut beneath = Beneath::of(Path::new("/a"), Some(&scratch));
        assert_eq!(beneath.moved(), None);
        beneath.output = Some((dir.path().join("out"), u64::MAX));
        assert!(beneath.moved().unwrap().ends_with("is on another file system than when it began"));
        fs::remove_dir(dir.path().join("out")).unwrap();
        assert!(beneath.moved().unwrap().contains("/out: No such file"));
        assert!(mounted_at(dir.path()).is_some());
        assert_eq!(look(&dir.path().join("out")), Ok(()), "a name that is not there is an answer");
    }
}
