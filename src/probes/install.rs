//! What is already there of an installation: files, the service user, directories with owner and mode, units, and who
//! runs a program that has been replaced. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::records::Installed;
use super::worker::WorkerLook;
use crate::config::Host;
use crate::manifest::content::{Body, Content};
use crate::manifest::{TOOLS, Tool};
use crate::sys::text::digest;
use crate::sys::user;

/// A file longer than this is nothing that is installed, bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// One file that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLook {
    /// Where.
    pub path: PathBuf,
    /// What is there now.
    pub there: There,
}

/// What is at the place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// Just this.
    Same,
    /// Another version of it, as an earlier installation put it.
    Older,
    /// Something that this project did not put there, or that was changed since.
    Foreign,
    /// Something that is no file, or could not be looked at.
    Odd(String),
}

/// One unit of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitLook {
    /// Its name.
    pub name: String,
    /// Whether it is started at boot.
    pub enabled: bool,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is one that stays, with a process of a program that has been replaced, or is about to be.
    pub runs_old: bool,
}

/// What was seen of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files that are to be there.
    pub wanted: Vec<FileLook>,
    /// Files that an earlier installation put there, and that are not wanted any more.
    pub surplus: Vec<FileLook>,
    /// The file that names the service user, if that is missing.
    pub users: Option<PathBuf>,
    /// The file that names the directories, if one is missing or not as it should be.
    pub directories: Option<PathBuf>,
    /// Where metrics go.
    pub metrics: PathBuf,
    /// Units of ours, whether wanted or not.
    pub units: Vec<UnitLook>,
    /// The watched worker, where it runs what has been replaced.
    pub worker: Option<OldWorker>,
    /// Whether there is a service manager to tell.
    pub has_manager: bool,
}

/// A worker that runs what has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldWorker {
    /// Its unit.
    pub unit: String,
    /// What was seen.
    pub evidence: String,
    /// Whether somebody waits already for its jobs to end.
    pub awaited: bool,
}

/// What is at the places of these files.
#[must_use]
pub fn files(contents: &[Content], installed: &Installed) -> Vec<FileLook> {
    contents
        .iter()
        .map(|content| FileLook {
            path: content.path.clone(),
            there: there(&content.path, Some(&content.body), installed),
        })
        .collect()
}

/// What an earlier installation put there that is not among `wanted`, and what this version would have put.
#[must_use]
pub fn surplus(wanted: &[Content], everything: &[Content], installed: &Installed) -> Vec<FileLook> {
    let is_wanted = |path: &Path| wanted.iter().any(|content| content.path == path);
    let known: BTreeMap<&Path, Option<&Body>> = installed
        .files
        .iter()
        .map(|file| (file.path.as_path(), None))
        .chain(everything.iter().map(|it| (it.path.as_path(), Some(&it.body))))
        .filter(|(path, _)| !is_wanted(path))
        .collect();
    known
        .into_iter()
        .map(|(path, body)| FileLook { path: path.to_owned(), there: there(path, body, installed) })
        .filter(|look| look.there != There::Nothing)
        .collect()
}

/// The metrics of tools that are not wanted: nobody writes them any more, and they would look stale for ever.
#[must_use]
pub fn stale_metrics(host: &Host, installed: &Installed, tools: &[&Tool]) -> Vec<FileLook> {
    let gone = TOOLS.iter().filter(|tool| tools.iter().all(|wanted| wanted.name != tool.name));
    // a configuration that does not hold any more does not say where they were
    let dirs = BTreeSet::from([&host.textfile_dir, &installed.textfile_dir]);
    let files = gone.flat_map(|tool| dirs.iter().map(|dir| dir.join(tool.metrics_file())));
    files
        .filter(|path| path.symlink_metadata().is_ok_and(|it| it.is_file()))
        .map(|path| FileLook { path, there: There::Older })
        .collect()
}

fn there(path: &Path, body: Option<&Body>, installed: &Installed) -> There {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return There::Nothing,
        Err(error) => return There::Odd(error.to_string()),
        Ok(there) if there.is_symlink() => {
            return There::Odd("a symbolic link is in its place".to_owned());
        }
        Ok(there) if !there.is_file() => {
            return There::Odd("something that is no file is in its place".to_owned());
        }
        Ok(there) if there.len() > FILE_BYTES_MAX => {
            return There::Odd("it is too long".to_owned());
        }
        Ok(_) => {}
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return There::Odd(error.to_string()),
    };
    let same = match body {
        Some(Body::Text(text)) => bytes == *text,
        // of the same file, or alike
        Some(Body::CopyOf(source)) => std::fs::read(source).is_ok_and(|wanted| wanted == bytes),
        None => false,
    };
    let recorded = || installed.files.iter().find(|file| file.path == path);
    if same {
        There::Same
    } else if recorded().is_some_and(|file| file.sha256 == digest(&bytes)) {
        There::Older
    } else {
        There::Foreign
    }
}

/// Whether every directory of a text of tmpfiles.d(5) is there with its owner and mode; only `d` and `z` lines
/// without blanks in them are understood, which is what is shipped.
#[must_use]
pub fn has_directories(text: &str) -> bool {
    text.lines().filter(|line| !line.starts_with('#')).all(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, path, mode, owner, group, ..] = words.as_slice() else {
            return words.is_empty();
        };
        match std::fs::symlink_metadata(path.trim_matches('"')) {
            Ok(there) => {
                let ids = (known(owner).map(|it| it.uid), known(group).map(|it| it.gid));
                let mode = u32::from_str_radix(mode, 8).ok();
                (ids == (Some(there.uid()), Some(there.gid())))
                    && mode == Some(there.mode() & 0o7777)
            }
            Err(_) => *kind == "z",
        }
    })
}

/// The user of this name; its group is called so, too.
fn known(name: &str) -> Option<user::Ids> {
    user::named(name, user::LIMIT).ok()
}

/// Whether there is such a user.
#[must_use]
pub fn has_user(name: &str) -> bool {
    known(name).is_some()
}

/// Whether a process runs one of our programs below `prefix` that has been replaced since, or is among `to_be`.
#[must_use]
pub fn runs_old(pid: u32, prefix: &Path, to_be: &[PathBuf]) -> Option<PathBuf> {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let shown = std::fs::read_link(&link).ok()?;
    let shown = shown.to_string_lossy();
    let path = PathBuf::from(shown.strip_suffix(" (deleted)").unwrap_or(&shown));
    if !path.starts_with(prefix.join("bin")) {
        return None;
    }
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let replaced = identity(&link) != identity(&path);
    (replaced || to_be.contains(&path)).then_some(path)
}

/// The process of the worker that does, and which program it runs.
#[must_use]
pub fn worker_runs_old(
    look: &WorkerLook,
    prefix: &Path,
    to_be: &[PathBuf],
) -> Option<(u32, PathBuf)> {
    let pids = look.processes.as_ref().ok()?;
    pids.iter().find_map(|pid| Some((*pid, runs_old(*pid, prefix, to_be)?)))
}

#[cfg(test)]
mod tests {
    use super::super::records::InstalledFile;
    use super::*;

    #[test]
    fn a_file_is_told_by_what_is_in_it_and_who_put_it_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let text = |name: &str| Content {
            path: path(name),
            mode: 0o644,
            body: Body::Text(b"new".to_vec()),
        };
        for (name, bytes) in [("same", "new"), ("older", "old"), ("foreign", "mine")] {
            std::fs::write(path(name), bytes).unwrap();
        }
        std::fs::create_dir(path("directory")).unwrap();
        std::os::unix::fs::symlink("same", path("link")).unwrap();
        let recorded = |name: &str| InstalledFile { path: path(name), sha256: digest(b"old") };
        let installed = Installed {
            files: ["older", "foreign", "gone", "dropped"].map(recorded).to_vec(),
            ..Installed::default()
        };
        let names = ["nothing", "same", "older", "foreign", "directory", "link"];
        let looks = files(&names.map(text), &installed);
        let expected = [There::Nothing, There::Same, There::Older, There::Foreign];
        assert_eq!(looks.iter().take(4).map(|it| it.there.clone()).collect::<Vec<_>>(), expected);
        assert!(looks[4..].iter().all(|it| matches!(it.there, There::Odd(_))), "{looks:?}");
        std::fs::write(path("dropped"), "old").unwrap();
        let left = surplus(&names.map(text), &[text("extra")], &installed);
        assert_eq!(left, [FileLook { path: path("dropped"), there: There::Older }]);
    }

    #[test]
    fn directories_count_with_owner_and_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (path, own) = (dir.path().display(), rustix::process::geteuid().as_raw());
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (line, expected) in [
            (format!("d {path} 0755 {own} {own} -"), true),
            (format!("d {path} 0750 {own} {own} -"), false),
            (format!("d {path} 0755 daemon {own} -"), false),
            (format!("d {path} 0755 nobody-at-all {own} -"), false),
            (format!("d {path}/missing 0755 {own} {own} -"), false),
            (format!("z {path}/missing 0640 {own} {own} -"), true),
            ("# a remark".to_owned(), true),
        ] {
            assert_eq!(has_directories(&line), expected, "{line}");
        }
    }

    #[test]
    fn a_process_whose_program_was_replaced_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let program = bin.join("sleep");
        std::fs::copy("/bin/sleep", &program).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a process to look at")]
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let link = format!("/proc/{}/exe", child.id());
        while std::fs::read_link(&link).ok().as_ref() != Some(&program) {}
        assert_eq!(runs_old(child.id(), dir.path(), &[]), None);
        assert_eq!(
            runs_old(child.id(), dir.path(), std::slice::from_ref(&program)),
            Some(program.clone())
        );
        std::fs::copy("/bin/sleep", bin.join("new")).unwrap();
        std::fs::rename(bin.join("new"), &program).unwrap();
        assert_eq!(runs_old(child.id(), dir.path(), &[]), Some(program.clone()));
        assert_eq!(runs_old(child.id(), Path::new("/usr"), &[]), None, "nobody's but ours");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
