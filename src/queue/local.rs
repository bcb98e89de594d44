//! Files of this host alone. Whoever opens one on a file system that hangs waits for ever, and cannot even
//! be killed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Fault;
use crate::probes::mountinfo;
use crate::sys::links::{self, End, Way};
use crate::sys::text;

/// Why a file with a credential or a certificate is refused elsewhere.
pub const MAY_HANG: &str = "which may hang; keep it on a local disk";

/// The path without links, by [`links::follow`].
///
/// # Errors
/// It lies on storage that may hang, which is refused with `why`, or is not there.
pub fn resolve(path: &Path, why: &str) -> Result<PathBuf, Fault> {
    follow(path, why).map_err(|(fault, _)| fault)
}

/// Whether there is certainly nothing of this name: of what may hang that is not asked.
#[must_use]
pub fn is_absent(path: &Path) -> bool {
    follow(path, MAY_HANG).is_err_and(|(_, why)| why == Some(ErrorKind::NotFound))
}

/// The same; where it fails by what the system says, with that.
fn follow(path: &Path, why: &str) -> Result<PathBuf, (Fault, Option<ErrorKind>)> {
    let table = mountinfo::once().map_err(|error| (Fault(error.to_string()), None))?;
    let Way { to, end } = links::follow(path, &|it| table.remote(it), &|_| false);
    match end {
        // nobody asked for any
        None | Some(End::Known) => Ok(to),
        Some(End::Remote(words)) => Err((Fault(format!("{words}: {why}")), None)),
        Some(End::Said(words, kind)) => Err((Fault(words), Some(kind))),
        Some(End::Ring) => Err((Fault(format!("{}: too many links", text::path(path))), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_by_hand_and_a_ring_ends() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::write(base.join("a/b/file"), "").unwrap();
        symlink("b/../b", base.join("a/link")).unwrap();
        symlink(base.join("a/link/file"), base.join("far")).unwrap();
        symlink("ring", base.join("ring")).unwrap();
        let found = |name: &str| resolve(&base.join(name), MAY_HANG);
        for name in ["a/b/file", "a/link/file", "far"] {
            assert_eq!(found(name), Ok(base.join("a/b/file")), "{name}");
        }
        assert!(found("ring").unwrap_err().0.contains("too many links"));
        assert!(found("a/none").unwrap_err().0.contains("No such file"));
    }
}
