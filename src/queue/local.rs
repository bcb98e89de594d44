//! Files of this host alone. Whoever opens one on a file system that hangs waits for ever, and cannot even
//! be killed; so each part of a way is looked up in the mount table before it is touched.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::Fault;
use crate::probes::family::Family;
use crate::probes::mountinfo::{self, MountTable};
use crate::sys::text;

/// More links on one way are a ring; the kernel's own limit.
const LINKS_MAX: usize = 40;
/// Why a file with a credential or a certificate is refused elsewhere.
pub const MAY_HANG: &str = "which may hang; keep it on a local disk";

/// The path without links. Each part of it is looked up in the mount table before it is touched: the
/// kernel would follow a link onto a file system that hangs, and never come back.
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
    let fault = |why: String| (Fault(why), None);
    let table = &mountinfo::once().map_err(|error| fault(error.to_string()))?;
    let mut left: Vec<OsString> = parts(path);
    let (mut done, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let here = done.join(&part);
        refuse_remote(&here, table, why).map_err(|fault| (fault, None))?;
        match std::fs::read_link(&here) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(fault(format!("{}: too many links", text::path(path))));
                }
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                left.extend(parts(&target));
            }
            // what is no link
            Err(error) if error.kind() == ErrorKind::InvalidInput => done = here,
            Err(error) => {
                let said = Fault(format!("{}: {error}", text::path(&here)));
                return Err((said, Some(error.kind())));
            }
        }
    }
    Ok(done)
}

/// The names of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let mut parts: Vec<OsString> = path.components().filter_map(name).collect();
    parts.reverse();
    parts
}

/// Asks the mount table, and touches nothing.
fn refuse_remote(path: &Path, table: &MountTable, why: &str) -> Result<(), Fault> {
    let walk = table.walk(path);
    let Some(mount) = walk.layers.last().or(walk.ancestors.last()) else { return Ok(()) };
    if Family::of(&mount.fstype).is_remote() && mount.path != Path::new("/") {
        return Err(Fault(format!(
            "{} lies on {} ({}): {why}",
            text::path(path),
            text::path(&mount.path),
            mount.fstype
        )));
    }
    Ok(())
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
