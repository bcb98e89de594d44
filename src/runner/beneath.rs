//! What the files of a try lie on: noted before it begins, and looked at again when it ends badly or is about to be put in
//! its place. What went meanwhile is neither the item's fault nor a place for its result.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::text;

/// The directories of its files, and on which file system each of them was.
#[derive(Debug)]
pub struct Beneath(Vec<(PathBuf, u64)>);

impl Beneath {
    /// As it is now, below these files. What cannot be looked at was not there before either.
    #[must_use]
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let dirs = files.into_iter().filter_map(Path::parent);
        Self(dirs.filter_map(|dir| Some((dir.to_owned(), fs::metadata(dir).ok()?.dev()))).collect())
    }

    /// What is not as it was.
    #[must_use]
    pub fn gone(&self) -> Option<String> {
        self.0.iter().find_map(|(dir, before)| match now(dir) {
            Ok(now) if now == *before => None,
            Ok(_) => {
                let dir = text::path(dir);
                Some(format!("{dir} is on another file system than when it began"))
            }
            Err(error) => Some(format!("{}: {error}", text::path(dir))),
        })
    }
}

/// On which file system a directory is now. What stat(2) says may be remembered from when a daemon lived; statfs(2) asks it.
fn now(dir: &Path) -> std::io::Result<u64> {
    rustix::fs::statfs(dir)?;
    Ok(fs::metadata(dir)?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_was_is_told_from_what_went_and_from_what_never_was() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one/a"), dir.path().join("other/b"));
        fs::create_dir(dir.path().join("one")).unwrap();
        let beneath = Beneath::of([one.as_path(), other.as_path(), Path::new("/")]);
        assert_eq!(beneath.gone(), None);
        fs::remove_dir(dir.path().join("one")).unwrap();
        assert!(beneath.gone().unwrap().contains("/one: No such file"));
        // as a mount that is detached leaves another below it
        let moved = Beneath(vec![(dir.path().to_owned(), u64::MAX)]);
        assert!(moved.gone().unwrap().ends_with("is on another file system than when it began"));
    }
}
