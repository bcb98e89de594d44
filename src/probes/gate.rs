//! The storage gate, as whoever claims work reads it: what is open on this host now. A file that is too old, of another
//! boot, or not to be understood opens nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::binds;
use super::heartbeat::AGE_MAX as AGE_MAX_OF_SIGNS;
use super::mountinfo::{self, Dev};
use super::records::{self, Heartbeats};
use super::witness;
use crate::config::{Settings, heartbeat};
use crate::sys::clock::{Now, Stamp};
use crate::sys::links;
use crate::sys::text;

/// The file's name in the run directory.
pub const FILE: &str = "storage.json";
/// How old it may be where it says nothing else: a round comes every minute, and may take four.
pub const AGE_MAX: Duration = Duration::from_secs(6 * 60);
/// However long rounds may take, an older file opens nothing.
const GOOD_FOR_MAX_S: u64 = 3_600;

#[derive(Deserialize)]
struct Gate {
    schema: u32,
    at: Stamp,
    #[serde(default)]
    good_for_s: Option<u64>,
    paths: BTreeMap<String, Entry>,
}

impl Gate {
    fn age_max(&self) -> Duration {
        self.good_for_s.map_or(AGE_MAX, |secs| Duration::from_secs(secs.min(GOOD_FOR_MAX_S)))
    }
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    verdict: String,
    open: bool,
    /// The file system that this was said of, where one was mounted there.
    #[serde(default)]
    on: Option<Dev>,
}

/// A watched path as the last round left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// As `text::path` writes it.
    pub path: String,
    /// What was seen of it.
    pub verdict: String,
    /// Whether work that needs it may begin.
    pub is_open: bool,
}

/// What is open on a host, and the watched paths of it that are not, as `text::path` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// What is open.
    pub open: Vec<String>,
    /// The watched paths that are not.
    pub closed: Vec<String>,
    /// When the round began that saw them so, by the clock that stands since the boot; none where none is known.
    pub seen_at: Option<Duration>,
}

/// What the keys of room begin with.
const ROOM: &str = "room:";

/// Room on a watched path: what writes there needs it, and what only reads does not.
#[must_use]
pub fn room_key(path: &str) -> String {
    format!("{ROOM}{path}")
}

/// The watched path that a key is room on.
#[must_use]
pub fn room_on(key: &str) -> Option<&str> {
    key.strip_prefix(ROOM)
}

/// What is open now: watched paths, as `text::path` writes them, and room on them.
#[must_use]
pub fn open(run_dir: &Path) -> Vec<String> {
    paths(run_dir).open
}

/// The watched paths. A mount that went since is not open, whatever the last round saw.
fn paths(run_dir: &Path) -> Keys {
    let Some(gate) = read(run_dir) else { return Keys::default() };
    let now = Now::take().ok();
    let age = now.as_ref().and_then(|now| now.since(&gate.at).known());
    let is_fresh = age.is_some_and(|age| age <= gate.age_max());
    // what cannot be told says nothing against the round
    let is_told = is_fresh && gate.paths.values().any(|entry| entry.open && entry.on.is_some());
    let table = is_told.then(|| mountinfo::once().ok()).flatten();
    let is_there = |path: &str, entry: &Entry| match (&table, entry.on) {
        (Some(table), Some(on)) => {
            let path = text::path_of(path);
            path.is_some_and(|it| table.walk(&it).layers.last().is_some_and(|top| top.dev == on))
        }
        (None, _) | (_, None) => true,
    };
    let is_open = |(path, entry): &(String, Entry)| is_fresh && entry.open && is_there(path, entry);
    let (open, closed): (Vec<_>, Vec<_>) = gate.paths.into_iter().partition(is_open);
    let names = |all: Vec<(String, Entry)>| all.into_iter().map(|(path, _)| path).collect();
    let is_of_boot = now.is_some_and(|now| now.boot_id == gate.at.boot_id);
    let seen_at = is_of_boot.then(|| Duration::from_millis(gate.at.boot_ms));
    let mut keys = Keys { open: names(open), closed: names(closed), seen_at };
    // as far as a round can tell there is room on what is live
    for all in [&mut keys.open, &mut keys.closed] {
        let rooms: Vec<String> = all.iter().map(|path| room_key(path)).collect();
        all.extend(rooms);
    }
    keys
}

/// What is open on this host alone: a job whose paths lie below nothing that is watched has them here.
#[must_use]
pub fn host_key() -> String {
    format!("host:{}", witness::host())
}

/// The watched paths, and of what is open, in `own`, the directory of the service user's records, the signs of life of others
/// that are fresh.
#[must_use]
pub fn keys(run_dir: &Path, own: Option<&Path>) -> Keys {
    let mut keys = paths(run_dir);
    if let (Some(own), Ok(now)) = (own, Now::take())
        && let Ok(kept) = records::read::<Heartbeats>(own, &now)
        && let Some(at) = &kept.at
        && now.since(at).known().is_some_and(|age| age <= AGE_MAX_OF_SIGNS)
    {
        keys.open.extend(kept.fresh.iter().map(|name| heartbeat::key(name)));
    }
    keys
}

/// Every watched path.
///
/// # Errors
/// It is not known, and for whoever claims work all of them are closed.
pub fn all(run_dir: &Path) -> Result<Vec<Watched>, String> {
    let file = run_dir.join(FILE);
    let shown = text::path(&file);
    let gate = read(run_dir).ok_or_else(|| format!("{shown}: not there, or not to be read"))?;
    let now = Now::take().map_err(|error| format!("the clock: {error}"))?;
    match now.since(&gate.at).known() {
        Some(age) if age <= gate.age_max() => {}
        Some(age) => return Err(format!("{shown}: written {} ago", text::duration(age))),
        None => return Err(format!("{shown}: of another boot")),
    }
    let watched = |(path, entry): (String, Entry)| Watched {
        path,
        verdict: entry.verdict,
        is_open: entry.open,
    };
    Ok(gate.paths.into_iter().map(watched).collect())
}

/// The storage that a configuration names, the lines of its manifest among it. What is wrong with one of those is told by rounds.
#[must_use]
pub fn named(settings: &Settings) -> Vec<PathBuf> {
    let mut settings = settings.clone();
    let _ = binds::add_manifest(&mut settings);
    let mounts = settings.mount.iter().map(|it| it.path.clone());
    mounts.chain(settings.bind.iter().map(|it| it.hot.clone())).collect()
}

/// Which storage is watched on this host: what the last round wrote, and what the configuration names, for right after
/// boot no round was there yet.
#[derive(Clone, Debug)]
pub struct Watch {
    run_dir: PathBuf,
    named: Vec<PathBuf>,
    /// Where directories lead, as far as that was looked for: half a million files lie in few.
    led: Arc<Mutex<BTreeMap<PathBuf, PathBuf>>>,
}

impl Watch {
    /// That of this configuration.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self::at(settings.host.run_dir.clone(), named(settings))
    }

    /// That of a host whose configuration names these.
    #[must_use]
    pub fn at(run_dir: PathBuf, named: Vec<PathBuf>) -> Self {
        Self { run_dir, named, led: Arc::default() }
    }

    /// The watched paths that files lie at or below, by name or by where their directories lead, open or not: what a job that
    /// reads or writes there needs.
    #[must_use]
    pub fn needs_of(&self, files: &[&Path]) -> Vec<String> {
        self.needed(files, &|file, watched| {
            let (dir, name) = file.parent().zip(file.file_name())?;
            Some(self.leads_to(dir, watched).join(name))
        })
    }

    /// The same of directories.
    #[must_use]
    pub fn needs_of_dirs(&self, dirs: &[&Path]) -> Vec<String> {
        self.needed(dirs, &|dir, watched| Some(self.leads_to(dir, watched)))
    }

    fn needed(
        &self,
        paths: &[&Path],
        leads_to: &dyn Fn(&Path, &BTreeSet<PathBuf>) -> Option<PathBuf>,
    ) -> Vec<String> {
        let written = read(&self.run_dir).map_or_else(BTreeMap::new, |gate| gate.paths);
        let watched: BTreeSet<PathBuf> = written
            .keys()
            .filter_map(|path| text::path_of(path))
            .chain(self.named.iter().cloned())
            .collect();
        if watched.is_empty() {
            return Vec::new();
        }
        let led = paths.iter().filter_map(|path| leads_to(path, &watched));
        let lies: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).chain(led).collect();
        let needed = watched.iter().filter(|it| lies.iter().any(|path| path.starts_with(it)));
        needed.map(|path| text::path(path)).collect()
    }

    /// Where a directory lies; what is watched is not touched.
    fn leads_to(&self, dir: &Path, watched: &BTreeSet<PathBuf>) -> PathBuf {
        /// So many are remembered.
        const MOST: usize = 1000;
        let led = || self.led.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = led().get(dir) {
            return to.clone();
        }
        let known = |path: &Path| watched.contains(path);
        let table = mountinfo::once();
        let to = table.map_or_else(
            |_| dir.to_owned(),
            |it| links::follow(dir, &|part| it.remote(part), &known).to,
        );
        let mut led = led();
        if led.len() < MOST {
            led.insert(dir.to_owned(), to.clone());
        }
        to
    }

    /// The room that a job needs which writes there: on the innermost of the watched paths that this lies at or below.
    #[must_use]
    pub fn room_of(&self, path: &Path) -> Option<String> {
        let needs = self.needs_of(&[path]);
        needs.iter().max_by_key(|it| it.len()).map(|it| room_key(it))
    }
}

fn read(run_dir: &Path) -> Option<Gate> {
    let gate: Gate = serde_json::from_slice(&std::fs::read(run_dir.join(FILE)).ok()?).ok()?;
    (gate.schema == 1).then_some(gate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(age_ms: u64, boot: Option<&str>, schema: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut at = Now::take().unwrap().stamp();
        at.boot_ms = at.boot_ms.saturating_sub(age_ms);
        at.utc_ms += 3_600_000;
        if let Some(boot) = boot {
            boot.clone_into(&mut at.boot_id);
        }
        let text = serde_json::json!({ "schema": schema, "at": at, "paths": {
            "/srv/a": { "verdict": "live", "open": true }, "/srv/b": { "verdict": "dead", "open": false },
            "/srv/\\xff": { "verdict": "live", "open": true } } });
        std::fs::write(dir.path().join(FILE), text.to_string()).unwrap();
        dir
    }

    #[test]
    fn what_is_old_or_foreign_opens_nothing() {
        let (a, odd) = ("/srv/a".to_owned(), "/srv/\\xff".to_owned());
        let all = [odd.clone(), a.clone(), room_key(&odd), room_key(&a)];
        assert_eq!(open(written(0, None, 1).path()), all);
        assert_eq!(open(written(359_000, None, 1).path()), all);
        for dir in [written(361_000, None, 1), written(0, Some("another"), 1), written(0, None, 2)]
        {
            assert_eq!(open(dir.path()), [] as [String; 0]);
        }
        assert_eq!(open(Path::new("/nowhere")), [] as [String; 0]);
        // of rounds that may take longer it says so itself
        let good_for = |secs: u64, age_ms: u64| {
            let dir = written(age_ms, None, 1);
            let file = dir.path().join(FILE);
            let text = std::fs::read_to_string(&file).unwrap();
            let more = format!("{{\"good_for_s\":{secs},");
            std::fs::write(&file, text.replacen('{', &more, 1)).unwrap();
            open(dir.path()).len()
        };
        assert_eq!([good_for(900, 899_000), good_for(900, 901_000)], [4, 0]);
        assert_eq!([good_for(86_400, 3_599_000), good_for(86_400, 3_601_000)], [4, 0]);
    }

    #[test]
    fn a_job_needs_the_storage_that_its_paths_lie_on_live_or_not() {
        let dir = written(3_600_000, None, 1);
        let needs = |paths: &[&str]| {
            let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
            Watch::at(dir.path().to_owned(), Vec::new()).needs_of(&paths)
        };
        assert_eq!(needs(&["/srv/b/in", "/srv/a/out"]), ["/srv/a", "/srv/b"]);
        assert_eq!(needs(&["/srv/ab/in", "/srv"]), [] as [String; 0]);
        let watch = Watch::at(dir.path().to_owned(), vec!["/srv".into()]);
        let room = |path: &str| watch.room_of(Path::new(path));
        assert_eq!(room("/srv/b/out").as_deref(), Some("room:/srv/b"), "not on what lies above it");
        assert_eq!((room("/srv/c").as_deref(), room("/opt")), (Some("room:/srv"), None));
    }

    #[test]
    fn a_job_needs_the_storage_that_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("box")).unwrap();
        std::os::unix::fs::symlink("box", base.join("link")).unwrap();
        let watch = Watch::at("/nowhere".into(), vec![base.join("box")]);
        let needs = |name: &str| watch.needs_of(&[&base.join(name)]);
        let boxed = [text::path(&base.join("box"))];
        for path in ["box/a", "link/a", "link/none/a"] {
            assert_eq!([needs(path), needs(path)], [boxed.to_vec(), boxed.to_vec()], "{path}");
        }
        assert_eq!(needs("a"), [] as [String; 0]);
        assert_eq!(watch.needs_of_dirs(&[&base.join("link")]), boxed);
        // who names the other one first is watched by both names
        let by_link = Watch::at("/nowhere".into(), vec![base.join("link")]);
        assert_eq!(by_link.needs_of(&[&base.join("link/a")]).len(), 1);
    }

    #[test]
    fn what_the_configuration_names_is_needed_before_any_round_was_there() {
        let text =
            "[[mount]]\npath = \"/srv/a\"\n[[bind]]\ncold = \"/srv/a/x\"\nhot = \"/hot/x\"\n";
        let settings = crate::config::from_str(text).unwrap();
        let watch = Watch { run_dir: "/nowhere".into(), ..Watch::of(&settings) };
        let needs = |path: &str| watch.needs_of(&[Path::new(path)]);
        assert_eq!(needs("/srv/a/in"), ["/srv/a"]);
        assert_eq!(needs("/hot/x/in"), ["/hot/x"]);
        assert_eq!(needs("/srv/ab"), [] as [String; 0]);
        // and named twice it is needed once
        let watch = Watch { run_dir: written(0, None, 1).path().to_owned(), ..watch };
        assert_eq!(watch.needs_of(&[Path::new("/srv/a/in"), Path::new("/srv/b")]), ["/srv/a"]);
    }
}
