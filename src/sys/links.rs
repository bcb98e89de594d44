//! Where a path leads. The kernel would follow a link onto a file system that hangs, and never come back; so each part of a
//! way is asked about before it is touched, and storage that may hang is where it ends. Which that is, whoever asks says: it
//! is told from the mount table.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::text;

/// More links on one way are a ring; the kernel's own limit.
const LINKS_MAX: usize = 40;

/// How far a path was followed.
#[derive(Debug)]
pub struct Way {
    /// What it leads to; from the part where it ended, as it is written.
    pub to: PathBuf,
    /// Why it ended before its last part; none where it did not.
    pub end: Option<End>,
}

/// Why a path was followed no further.
#[derive(Debug)]
pub enum End {
    /// The next part lies on storage that may hang: in these words.
    Remote(String),
    /// The next part is one that was asked for.
    Known,
    /// What the system said of the next part.
    Said(String, ErrorKind),
    /// It leads in a ring.
    Ring,
}

/// Follows an absolute path through the links on it, up to storage that may hang, in the words of `remote`, or to what is
/// `known` to whoever asks.
#[must_use]
pub fn follow(
    path: &Path,
    remote: &dyn Fn(&Path) -> Option<String>,
    known: &dyn Fn(&Path) -> bool,
) -> Way {
    let mut left: Vec<OsString> = parts(path);
    let (mut done, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        let here = done.join(&part);
        let end = match (remote(&here), links > LINKS_MAX) {
            (Some(words), _) => Some(End::Remote(words)),
            (None, true) => Some(End::Ring),
            (None, false) if known(&here) => Some(End::Known),
            (None, false) => match std::fs::read_link(&here) {
                Ok(target) => {
                    links += 1;
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    left.extend(parts(&target));
                    continue;
                }
                // what is no link
                Err(error) if error.kind() == ErrorKind::InvalidInput => None,
                Err(error) => {
                    Some(End::Said(format!("{}: {error}", text::path(&here)), error.kind()))
                }
            },
        };
        done = here;
        if end.is_some() {
            let to = left.into_iter().rev().fold(done, |path, part| path.join(part));
            return Way { to, end };
        }
    }
    Way { to: done, end: None }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn nothing_hangs(_: &Path) -> Option<String> {
        None
    }

    #[test]
    fn a_path_leads_where_its_links_do_and_what_is_not_there_stays_as_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        symlink("a/b", base.join("link")).unwrap();
        symlink("ring", base.join("ring")).unwrap();
        let to = |name: &str| follow(&base.join(name), &nothing_hangs, &|_| false).to;
        assert_eq!(to("link"), base.join("a/b"));
        assert_eq!(to("link/none/../more/file"), base.join("a/b/none/../more/file"));
        assert_eq!(to("link/.."), base.join("a"));
        let ring = follow(&base.join("ring"), &nothing_hangs, &|_| false);
        assert!(matches!(ring.end, Some(End::Ring)));
    }

    #[test]
    fn nothing_is_touched_on_storage_that_may_hang() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        // it is there, and a link; nobody looks
        std::fs::create_dir(base.join("box")).unwrap();
        symlink("/etc", base.join("box/out")).unwrap();
        symlink("box/out", base.join("link")).unwrap();
        let hangs =
            |path: &Path| path.starts_with(base.join("box")).then(|| "on the box".to_owned());
        let way = follow(&base.join("link/file"), &hangs, &|_| false);
        assert_eq!(way.to, base.join("box/out/file"));
        assert!(matches!(way.end, Some(End::Remote(words)) if words == "on the box"));
        // nor on what whoever asks knows
        let way = follow(&base.join("link/file"), &nothing_hangs, &|path| path.ends_with("box"));
        assert!(way.to == base.join("box/out/file") && matches!(way.end, Some(End::Known)));
    }
}
