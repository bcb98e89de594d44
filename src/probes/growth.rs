//! Whether anything changes in a job's output. A child walks through it, because the storage may hang, and
//! is left alone when it does not answer; what it saw becomes one digest of names, sizes and times. Two looks
//! with the same digest are the evidence: the clock of a server elsewhere is never compared with ours.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::asked::{self, Asked, ask};
use crate::sys::clock::Deadline;
use crate::sys::text;

/// The word that makes this program such a child.
const VERB: &str = "--growth";
/// An output with more entries than this is not looked through.
const ENTRIES_MAX: usize = 20_000;

/// What was seen of one output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// A digest of all there is in it; of one that does not exist too.
    Known(String),
    /// Nothing, and why.
    Unknown(String),
}

/// Looks through each, all at once. Returns within `limit`.
#[must_use]
pub fn look(paths: &[PathBuf], limit: Duration) -> BTreeMap<PathBuf, Output> {
    let deadline = Deadline::after(limit);
    let children: Vec<(&PathBuf, Asked)> =
        paths.iter().map(|path| (path, ask(VERB, path))).collect();
    let answer = |child: Asked| {
        child.answer(deadline, limit, "not looked through").unwrap_or_else(Output::Unknown)
    };
    children.into_iter().map(|(path, child)| (path.clone(), answer(child))).collect()
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, digest)
}

fn digest(path: &Path) -> Output {
    let mut digest = Sha256::new();
    match walk(path, &mut digest) {
        Ok(()) => Output::Known(text::hex(&digest.finalize())),
        Err(why) => Output::Unknown(why),
    }
}

/// In the order of names, so that two looks at the same come to the same. Links are not followed.
fn walk(path: &Path, digest: &mut Sha256) -> Result<(), String> {
    let mut open = vec![path.to_path_buf()];
    let mut seen = 0;
    while let Some(at) = open.pop() {
        let wrong = |error: io::Error| format!("{}: {error}", text::path(&at));
        let meta = match std::fs::symlink_metadata(&at) {
            Ok(meta) => meta,
            // what is gone is a change that the directory it was in tells of
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(wrong(error)),
        };
        seen += 1;
        if seen > ENTRIES_MAX {
            return Err(format!("{} holds more than {ENTRIES_MAX} entries", text::path(path)));
        }
        digest.update(at.as_os_str().as_bytes());
        for number in [meta.size(), meta.mtime().cast_unsigned(), meta.mtime_nsec().cast_unsigned()]
        {
            digest.update(number.to_le_bytes());
        }
        if meta.is_dir() {
            let entries = std::fs::read_dir(&at).map_err(wrong)?;
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            if seen + paths.len() > ENTRIES_MAX {
                return Err(format!("{} holds more than {ENTRIES_MAX} entries", text::path(path)));
            }
            paths.sort();
            open.extend(paths);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_deep_down_is_another_digest_and_a_second_look_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        let known = |output: Output| match output {
            Output::Known(digest) => digest,
            Output::Unknown(why) => panic!("{why}"),
        };
        let now = || known(digest(dir.path()));
        let mut seen = vec![known(digest(&deep)), now()];
        std::fs::create_dir_all(&deep).unwrap();
        seen.push(now());
        std::fs::write(deep.join("part"), "one").unwrap();
        seen.push(now());
        std::fs::write(deep.join("part"), "one two").unwrap();
        seen.push(now());
        assert_eq!(now(), now());
        std::fs::remove_file(deep.join("part")).unwrap();
        seen.push(now());
        for (nth, one) in seen.iter().enumerate() {
            assert!(!seen[nth + 1..].contains(one), "{nth}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_too_much_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(digest(&file.join("x")), Output::Unknown(_)));
        for nth in 0..=ENTRIES_MAX {
            std::fs::hard_link(&file, dir.path().join(nth.to_string())).unwrap();
        }
        assert!(matches!(digest(dir.path()), Output::Unknown(why) if why.contains("more than")));
    }
}
