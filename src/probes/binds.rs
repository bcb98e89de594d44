//! The bind table: the `[[bind]]` tables of the configuration, the lines of the manifest, and what the
//! jobs that run or come next need. A line that is wrong is told with its number and stops none of the
//! others.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::mountinfo::{self, Mount, unescape};
use super::records::{self, Debt, Debts};
use super::work::Work;
use crate::config::{self, BindSpec, Settings};
use crate::sys::clock::Now;
use crate::sys::text;

/// Something that should be a bind and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The manifest, or a job's output directory.
    pub subject: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is wrong with it.
    pub what: String,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The manifest itself: none of its lines is known.
    Manifest,
    /// This line of it, counted from 1.
    Line(usize),
    /// The job with this id.
    Job(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Manifest => f.write_str(&self.what),
            Place::Line(line) => write!(f, "line {line}: {}", self.what),
            Place::Job(id) => write!(f, "job {id}: {}", self.what),
        }
    }
}

/// The settings with every bind there should be: their own, the manifest's, and those that jobs need; and
/// what should be one and is none.
#[must_use]
pub fn complete(settings: &Settings, work: &Work) -> (Settings, Vec<Fault>) {
    let mut settings = settings.clone();
    let mut faults = add_manifest(&mut settings);
    for job in work.jobs() {
        let Some(output) = &job.output else { continue };
        match settings.bind_of_output(output) {
            None => {}
            Some(Ok(bind)) => settings.bind.push(bind),
            Some(Err(what)) => {
                let place = Place::Job(text::bytes(job.id.as_bytes()));
                faults.push(Fault { subject: output.clone(), place, what });
            }
        }
    }
    if settings.binds.jobs.is_some() {
        keep_those_of_earlier_jobs(&mut settings);
    }
    (settings, faults)
}

/// A bind that a job once needed is needed after it, by whatever reads its output, and goes down with the
/// base like any other. So those that are mounted as the template says, or owed, belong to the table
/// whatever became of their jobs. Without a mount table none is known.
fn keep_those_of_earlier_jobs(settings: &mut Settings) {
    let table = mountinfo::read_bytes(Path::new(mountinfo::MOUNTINFO));
    let mut mounts = table.and_then(|bytes| mountinfo::parse(&bytes)).unwrap_or_default();
    // one that lies in another is carried by it
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    for mount in &mounts {
        if let Some(Ok(bind)) = settings.bind_of_output(&mount.path)
            && shows(mount, &bind, &mounts, settings)
        {
            settings.bind.push(bind);
        }
    }
    let owed: Option<Debts> =
        Now::take().ok().and_then(|now| records::read(&settings.host.state_dir, &now).ok());
    for debt in owed.unwrap_or_default().debts {
        match debt {
            Debt::Bind { path, .. } => {
                settings.bind.extend(settings.bind_of_output(&path).and_then(Result::ok));
            }
            Debt::Mount { .. } | Debt::Worker { .. } => {}
        }
    }
}

/// Whether what is mounted is, or was, this bind: the same directory of the same source.
fn shows(mount: &Mount, bind: &BindSpec, mounts: &[Mount], settings: &Settings) -> bool {
    let below = bind.cold.strip_prefix(&bind.base).unwrap_or(Path::new(""));
    let root = mount.root.as_bytes();
    let root = root.strip_suffix(mountinfo::DELETED).unwrap_or(root);
    let of_base = match mounts.iter().find(|base| base.path == bind.base) {
        Some(base) => base.source == mount.source && base.fstype == mount.fstype,
        None => settings.mount.iter().filter(|spec| spec.path == bind.base).all(|spec| {
            let source = spec.source.as_ref().is_none_or(|source| mount.source == **source);
            source && spec.fstype.as_ref().is_none_or(|fstype| mount.fstype == *fstype)
        }),
    };
    of_base && Path::new(OsStr::from_bytes(root)).ends_with(below)
}

/// Adds what the manifest lists; what is wrong with it is returned.
pub fn add_manifest(settings: &mut Settings) -> Vec<Fault> {
    let Some(file) = settings.binds.manifest.clone() else { return Vec::new() };
    let fault = |place: Place, what: String| Fault { subject: file.clone(), place, what };
    let bytes = match config::beside(&file) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return vec![fault(Place::Manifest, "there is no such file".to_owned())],
        Err(error) => return vec![fault(Place::Manifest, error.to_string())],
    };
    let faults = add(settings, &bytes);
    faults.into_iter().map(|(line, what)| fault(Place::Line(line), what)).collect()
}

/// Adds what the manifest's bytes list; the lines that list nothing are returned.
fn add(settings: &mut Settings, bytes: &[u8]) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    for (number, line) in parse(bytes) {
        let bind = line.and_then(|(cold, hot)| settings.bind_of(&cold, &hot));
        match bind {
            Ok(bind) => settings.bind.push(bind),
            Err(what) => faults.push((number, what)),
        }
    }
    faults
}

/// What one line says: cold and hot, or what is wrong with it.
type Line = Result<(PathBuf, PathBuf), String>;

/// Understands a manifest: two paths a line, with blanks between them and fstab's escapes for blanks
/// inside (`\040`, `\011`, `\012`, `\134`, `\043`); empty lines and those that begin with `#` say nothing.
fn parse(bytes: &[u8]) -> Vec<(usize, Line)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let understood = |line: &[u8]| -> Option<Line> {
        let words: Vec<&[u8]> =
            line.split(|byte| blank(byte)).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => None,
            [first, ..] if first.starts_with(b"#") => None,
            [cold, hot] => Some(path(cold).and_then(|cold| Ok((cold, path(hot)?)))),
            words => Some(Err(format!("{} words found, expected <cold> <hot>", words.len()))),
        }
    };
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines.filter_map(|(index, line)| Some((index + 1, understood(line)?))).collect()
}

/// An absolute path without `.` and `..`.
fn path(word: &[u8]) -> Result<PathBuf, String> {
    if let Some(control) = word.iter().find(|byte| byte.is_ascii_control()) {
        return Err(format!(
            "{} holds the control character {control:#04x}; written as \\{control:03o} if it is meant",
            text::bytes(word)
        ));
    }
    let bytes = unescape(word);
    let path = Path::new(OsStr::from_bytes(&bytes));
    let plain = path
        .components()
        .all(|component| matches!(component, Component::RootDir | Component::Normal(_)));
    let dots = bytes.split(|byte| *byte == b'/').any(|part| part == b".");
    if !path.is_absolute() || !plain || dots || bytes.contains(&0) {
        return Err(format!("{} is no plain absolute path", text::bytes(&bytes)));
    }
    // doubled and trailing slashes go
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let text = "[[mount]]\npath = \"/srv/box\"\n[[bind]]\ncold = \"/srv/box/a\"\nhot = \"/srv/jobs/a\"\n";
        config::from_str(text).unwrap()
    }

    #[track_caller]
    fn check(manifest: &[u8], binds: &[(&[u8], &[u8])], faults: &[(usize, &str)]) {
        let mut settings = settings();
        let told = add(&mut settings, manifest);
        let added: Vec<(&[u8], &[u8])> = settings.bind[1..]
            .iter()
            .map(|bind| (bind.cold.as_os_str().as_bytes(), bind.hot.as_os_str().as_bytes()))
            .collect();
        assert_eq!(added, binds);
        assert_eq!(told.len(), faults.len(), "{told:?}");
        for ((line, what), (expected, part)) in told.iter().zip(faults) {
            assert!(line == expected && what.contains(part), "{told:?}: {part}");
        }
    }

    #[test]
    fn a_line_is_a_cold_and_a_hot_path_with_fstab_escapes() {
        check(
            b"# tiering\n\n/srv/box/b /srv/jobs/b\n  /srv/box/c//\t/srv/jobs/c/  \n",
            &[(b"/srv/box/b", b"/srv/jobs/b"), (b"/srv/box/c", b"/srv/jobs/c")],
            &[],
        );
        check(
            b"/srv/box/a\\040b\\134 /srv/jobs/\\043x\\012\xff",
            &[(b"/srv/box/a b\\", b"/srv/jobs/#x\n\xff")],
            &[],
        );
        check(b"/srv/box /srv/jobs/all\n", &[(b"/srv/box", b"/srv/jobs/all")], &[]);
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_stops_no_other() {
        check(
            b"/srv/box/b\n/srv/box/c /srv/jobs/c\nsrv/box/d /srv/jobs/d\n/srv/box/../etc /srv/jobs/e\n",
            &[(b"/srv/box/c", b"/srv/jobs/c")],
            &[(1, "1 words"), (3, "no plain absolute path"), (4, "no plain absolute path")],
        );
        check(b"/srv/box/x /srv/jobs/a\n", &[], &[(1, "already listed")]);
        check(b"/srv/other/x /srv/jobs/x\n", &[], &[(1, "at or below no [[mount]]")]);
        check(b"/srv/box/x /srv/box/y\n", &[], &[(1, "in the way")]);
        check(b"/srv/box/x /srv\n", &[], &[(1, "in the way")]);
        check(b"/srv/box/x /\n", &[], &[(1, "in the way")]);
    }
}
