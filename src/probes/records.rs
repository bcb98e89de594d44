//! What earlier rounds wrote down: the state of a tool, debts and holds. Reading only; `act::store`
//! writes.
//!
//! A file is one header line (name, schema, checksum) and the body it vouches for. One that is
//! torn, empty, of a later schema, not ours, or that speaks of a moment this boot has not reached is
//! unreadable: it is kept as it is and nothing is done, because acting on a reset memory is how a
//! tool unmounts the same thing all night.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::heartbeat::State;
use super::identity::Identity;
use super::jobs::Row;
use super::verdict::Verdict;
use crate::sys::clock::{Age, Now, Stamp};
use crate::sys::text;

/// The schema written by this version; a higher one is refused.
pub const SCHEMA: u32 = 1;

/// How much later than the round's own time a record may have been written, milliseconds.
const SINCE_MS: u64 = 10_000;

/// A record is never this long, bytes.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// What `unwedge-mounts` remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountsState {
    /// What each watched path was last seen as.
    pub sightings: Vec<Sighting>,
    /// Repairs charged to the budget.
    pub charges: Vec<Charge>,
    /// Tries to mount what was absent, by path.
    pub attempts: Vec<Attempts>,
    /// How many repairs ended how, by path.
    pub repairs: Vec<Repairs>,
    /// Paths detached and not to be put back by us: they stay bad until mounted again.
    pub remembered: Vec<Remembered>,
    /// Binds that were made anew and have not been seen live since.
    #[serde(default)]
    pub rebinds: Vec<Rebound>,
    /// Rows that were running when the worker was stopped, or before it was started again, as long as they are
    /// called so.
    #[serde(default)]
    pub interrupted: Vec<Interrupted>,
    /// The last plan an armed or unarmed round made.
    pub rehearsal: Option<Rehearsal>,
}

/// A path as it was seen, round after round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// The path.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// The mount that was there; counting starts anew with another one.
    pub identity: Option<Identity>,
    /// What was said of it.
    pub verdict: Verdict,
    /// Whether it was a surplus layer over an identical one.
    pub stacked: bool,
    /// Rounds in a row that said so.
    pub runs: u32,
    /// When the first of them was.
    pub since: Stamp,
    /// For a hang: since when (boot time, milliseconds) its request has been waiting.
    pub waiting_since_ms: Option<u64>,
}

/// A repair that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charge {
    /// The base.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// The bind of that base which was repaired, when it was not the base itself.
    #[serde(default, with = "path_text::option", skip_serializing_if = "Option::is_none")]
    pub led_by: Option<PathBuf>,
    /// The mount that was to be taken away.
    pub identity: Identity,
    /// Others that go with it for the same charge: layers beneath it, other places of its
    /// superblock.
    pub along: Vec<Identity>,
    /// When.
    pub at: Stamp,
    /// Whether it is still under way: a round that finds one open was killed, and resumes it
    /// without charge.
    pub open: bool,
}

impl Charge {
    /// The path that was repaired.
    #[must_use]
    pub fn repaired(&self) -> &Path {
        self.led_by.as_deref().unwrap_or(&self.path)
    }

    /// Whether it was taken for this very mount.
    #[must_use]
    pub fn covers(&self, mount: &Identity) -> bool {
        self.identity.same(mount) || self.along.iter().any(|along| along.same(mount))
    }
}

/// Tries to mount something absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The path.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// Failed ones in a row.
    pub failed: u32,
    /// The last of them.
    pub last: Stamp,
}

/// Totals since the state began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repairs {
    /// The path.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// Repairs that ended with the path as it should be.
    pub ok: u64,
    /// Those that did not.
    pub failed: u64,
}

/// A bind that was made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebound {
    /// The hot path.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// The mount of its base that it was bound to.
    pub onto: Identity,
    /// When.
    pub at: Stamp,
}

/// A row that the queue called running when the worker was about to be stopped, or was down for a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interrupted {
    /// Which.
    pub row: Row,
    /// When: from before the worker was started again.
    pub at: Stamp,
}

/// A row that nobody of this host's worker can be at, and since when its output is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// Which.
    pub row: Row,
    /// A digest of its output; none where it could not be looked at.
    pub digest: Option<String>,
    /// Since when.
    pub since: Stamp,
}

/// A mount that was detached and is in no table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// Where it was.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// What it was mounted from.
    pub source: String,
    /// Its type.
    pub fstype: String,
    /// When it was detached.
    pub at: Stamp,
}

/// A plan that was made but not carried out, for the person who is about to arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// The version that made it.
    pub version: String,
    /// The config it was made with.
    pub config: String,
    /// When.
    pub at: Stamp,
    /// Its digest.
    pub plan_id: String,
    /// The plan as text.
    pub plan: Vec<String>,
}

/// What `unwedge-worker` remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerState {
    /// Starts of the last day, oldest first.
    pub starts: Vec<WorkerStart>,
    /// How many of them in a row failed or did not last; the wait doubles with each.
    pub failed: u32,
    /// How many starts there were since the state began, by how they ended.
    pub totals: WorkerTotals,
    /// The last plan an armed or unarmed round made.
    pub rehearsal: Option<Rehearsal>,
    /// Rows that may have to go back to the queue.
    #[serde(default)]
    pub watched: Vec<Watched>,
}

/// A start that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerStart {
    /// When.
    pub at: Stamp,
    /// Whether it was owed, and so costs nothing.
    pub owed: bool,
}

/// How starts ended. One that was begun counts as failed until it has succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerTotals {
    /// It stayed up.
    pub ok: u64,
    /// It did not come up, or did not stay up, or nobody lived to see.
    pub failed: u64,
}

/// What every acting tool owes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debts {
    /// In the order they were made.
    pub debts: Vec<Debt>,
}

impl Debts {
    /// The debt of the worker of this name.
    #[must_use]
    pub fn of_worker(&self, name: &str) -> Option<&Debt> {
        self.debts.iter().find(|debt| debt.is_of_worker(name))
    }
}

/// A promise to put something back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Debt {
    /// Mount this again.
    Mount {
        /// Where.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Since when it is owed.
        since: Stamp,
        /// Why.
        why: String,
    },
    /// Bind this again, as the table has it.
    Bind {
        /// The hot path.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Since when it is owed.
        since: Stamp,
        /// Why.
        why: String,
    },
    /// Start the worker again.
    Worker {
        /// Its name.
        unit: String,
        /// Whether it was enabled then: if it is disabled by now, a person did that since, and wants it down.
        #[serde(default)]
        was_enabled: bool,
        /// Since when it is owed: from before it was stopped.
        since: Stamp,
        /// Why.
        why: String,
    },
}

impl Debt {
    /// The kinds, as metrics and lists name them.
    pub const KINDS: [&str; 3] = ["mount", "bind", "worker"];

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mount { .. } => "mount",
            Self::Bind { .. } => "bind",
            Self::Worker { .. } => "worker",
        }
    }

    /// The path that is owed; a worker has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Mount { path, .. } | Self::Bind { path, .. } => Some(path),
            Self::Worker { .. } => None,
        }
    }

    /// Whether the worker of this name is owed.
    #[must_use]
    pub fn is_of_worker(&self, name: &str) -> bool {
        match self {
            Self::Worker { unit, .. } => unit == name,
            Self::Mount { .. } | Self::Bind { .. } => false,
        }
    }

    /// Whether it is of the same thing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match self {
            Self::Mount { .. } | Self::Bind { .. } => self.path() == other.path(),
            Self::Worker { unit, .. } => other.is_of_worker(unit),
        }
    }

    /// Whether what is owed is at this very path.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path() == Some(path)
    }

    /// What is owed: the path, or the worker's name.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Mount { path, .. } | Self::Bind { path, .. } => text::path(path),
            Self::Worker { unit, .. } => unit.clone(),
        }
    }

    /// Why it is owed.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Mount { why, .. } | Self::Bind { why, .. } | Self::Worker { why, .. } => why,
        }
    }

    /// Since when it is owed.
    #[must_use]
    pub fn since(&self) -> &Stamp {
        match self {
            Self::Mount { since, .. } | Self::Bind { since, .. } | Self::Worker { since, .. } => {
                since
            }
        }
    }
}

/// Bare directories that were made to refuse writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guards {
    /// In the order they were guarded.
    pub guards: Vec<Guard>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Where.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// Its mode before.
    pub was_mode: u32,
    /// When.
    pub at: Stamp,
}

/// What was installed, so that a later version knows what it may replace and take away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// By which version.
    pub version: String,
    /// Below what.
    #[serde(with = "path_text")]
    pub prefix: PathBuf,
    /// Where the tools write metrics.
    #[serde(with = "path_text")]
    pub textfile_dir: PathBuf,
    /// The tools.
    pub tools: Vec<String>,
    /// The files.
    pub files: Vec<InstalledFile>,
}

/// One file that was put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Where.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// SHA-256 of what was put there, hexadecimal.
    pub sha256: String,
}

/// What `unwedge-runner` remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerState {
    /// When it was started lately.
    pub starts: Vec<Stamp>,
}

impl Record for RunnerState {
    const NAME: &'static str = "runner";

    fn stamps(&self) -> Vec<&Stamp> {
        self.starts.iter().collect()
    }
}

/// What `unwedge-jobs` remembers of a queue of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpkeepState {
    /// When what was put aside was last looked through.
    pub swept: Option<Stamp>,
    /// When the workers were last looked at.
    #[serde(default)]
    pub looked: Option<Stamp>,
    /// Since when each worker is at the beat that it was last seen at.
    pub heard: BTreeMap<String, FirstSeen>,
    /// How many jobs were taken out, by how they stood.
    pub removed: BTreeMap<String, u64>,
    /// How many scratch files of jobs that are put aside were taken away.
    #[serde(default)]
    pub scratch_files: u64,
}

/// What `unwedge-jobs` saw of the signs of life of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeats {
    /// When it looked.
    pub at: Option<Stamp>,
    /// Those that are fresh, by name.
    pub fresh: Vec<String>,
    /// What each was seen as.
    #[serde(default)]
    pub states: BTreeMap<String, State>,
}

impl Record for Heartbeats {
    const NAME: &'static str = "heartbeats";

    fn stamps(&self) -> Vec<&Stamp> {
        self.at.iter().collect()
    }
}

/// When a beat was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSeen {
    /// The beat.
    pub beats: u64,
    /// When.
    pub at: Stamp,
}

impl Record for UpkeepState {
    const NAME: &'static str = "upkeep";

    fn stamps(&self) -> Vec<&Stamp> {
        let looks = self.swept.iter().chain(&self.looked);
        looks.chain(self.heard.values().map(|it| &it.at)).collect()
    }
}

/// Pauses a person has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// By the kind of act, as sentinels name them.
    pub holds: BTreeMap<String, OperatorHold>,
}

/// A pause that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorHold {
    /// When it was set.
    pub set: Stamp,
    /// For how long, seconds.
    pub for_s: u64,
    /// Why, in the words of who set it.
    pub because: String,
}

impl OperatorHold {
    /// What is left of it; nothing once it has expired. Under a wrong clock it holds.
    #[must_use]
    pub fn left(&self, now: &Now) -> Option<std::time::Duration> {
        let whole = std::time::Duration::from_secs(self.for_s);
        match now.since(&self.set) {
            Age::Known(age) => whole.checked_sub(age).filter(|left| !left.is_zero()),
            Age::ClockFault | Age::Impossible => Some(whole),
        }
    }
}

/// A kind of record: what its file is called and which times it speaks of.
pub trait Record: Serialize + DeserializeOwned + Default {
    /// The file's name without `.json`, and the name in its header.
    const NAME: &'static str;

    /// Every moment it speaks of.
    fn stamps(&self) -> Vec<&Stamp>;
}

impl Record for MountsState {
    const NAME: &'static str = "mounts";

    fn stamps(&self) -> Vec<&Stamp> {
        let sightings = self.sightings.iter().map(|sighting| &sighting.since);
        let charges = self.charges.iter().map(|charge| &charge.at);
        let attempts = self.attempts.iter().map(|attempts| &attempts.last);
        let remembered = self.remembered.iter().map(|remembered| &remembered.at);
        let rehearsal = self.rehearsal.iter().map(|rehearsal| &rehearsal.at);
        let rebinds = self.rebinds.iter().map(|rebound| &rebound.at);
        let interrupted = self.interrupted.iter().map(|interrupted| &interrupted.at);
        let kept = sightings.chain(charges).chain(attempts).chain(remembered).chain(rebinds);
        kept.chain(interrupted).chain(rehearsal).collect()
    }
}

impl Record for WorkerState {
    const NAME: &'static str = "worker";

    fn stamps(&self) -> Vec<&Stamp> {
        let rehearsal = self.rehearsal.iter().map(|rehearsal| &rehearsal.at);
        let watched = self.watched.iter().map(|watched| &watched.since);
        self.starts.iter().map(|start| &start.at).chain(watched).chain(rehearsal).collect()
    }
}

impl Record for Debts {
    const NAME: &'static str = "debts";

    fn stamps(&self) -> Vec<&Stamp> {
        self.debts.iter().map(Debt::since).collect()
    }
}

impl Record for Guards {
    const NAME: &'static str = "guards";

    fn stamps(&self) -> Vec<&Stamp> {
        self.guards.iter().map(|guard| &guard.at).collect()
    }
}

impl Record for Installed {
    const NAME: &'static str = "installed";

    fn stamps(&self) -> Vec<&Stamp> {
        Vec::new()
    }
}

impl Record for Holds {
    const NAME: &'static str = "holds";

    fn stamps(&self) -> Vec<&Stamp> {
        self.holds.values().map(|hold| &hold.set).collect()
    }
}

/// Why a record cannot be used. The file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}; it is kept and nothing is done")]
pub struct Unreadable {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

/// The header line of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    record: String,
    schema: u32,
    sha256: String,
}

/// Where a record lies.
#[must_use]
pub fn path_of<R: Record>(state_dir: &Path) -> PathBuf {
    state_dir.join(format!("{}.json", R::NAME))
}

/// Reads a record; one that is not there yet is empty.
///
/// # Errors
/// Anything else that keeps it from being trusted.
pub fn read<R: Record>(state_dir: &Path, now: &Now) -> Result<R, Unreadable> {
    read_of(state_dir, rustix::process::geteuid().as_raw(), now)
}

/// As [`read`], of a record that may be this user's instead of one's own. Nothing may be decided by what another
/// user wrote; it may be told of.
///
/// # Errors
/// Anything that keeps it from being trusted.
pub fn read_of<R: Record>(state_dir: &Path, owner: u32, now: &Now) -> Result<R, Unreadable> {
    let path = path_of::<R>(state_dir);
    let unreadable = |what: String| Unreadable { path: text::path(&path), what };
    let Some(bytes) = read_bytes(&path, owner).map_err(unreadable)? else {
        return Ok(R::default());
    };
    let record: R = parse(&bytes).map_err(unreadable)?;
    // a person may have written it since the round took its time
    let a_little_later = Now { boot_ms: now.boot_ms.saturating_add(SINCE_MS), ..now.clone() };
    let impossible = |stamp: &Stamp| a_little_later.since(stamp) == Age::Impossible;
    if record.stamps().into_iter().any(impossible) {
        return Err(unreadable("it speaks of a time this boot has not reached".to_owned()));
    }
    Ok(record)
}

/// Whether a record holds a time that lies in the future of the wall clock.
#[must_use]
pub fn clock_fault<R: Record>(record: &R, now: &Now) -> bool {
    record.stamps().into_iter().any(|stamp| now.since(stamp) == Age::ClockFault)
}

fn read_bytes(path: &Path, owner: u32) -> Result<Option<Vec<u8>>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(format!("open: {errno}")),
    };
    let stat = fstat(&fd).map_err(|errno| format!("fstat: {errno}"))?;
    if stat.st_mode & 0o170_000 != 0o100_000 {
        return Err("it is no regular file".to_owned());
    }
    if stat.st_uid != 0 && stat.st_uid != owner {
        return Err(format!("it belongs to uid {}", stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(format!("others may write it (mode {:04o})", stat.st_mode & 0o7777));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(RECORD_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read: {error}"))?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err("it is too long".to_owned());
    }
    Ok(Some(bytes))
}

/// The bytes of a record's file.
///
/// # Errors
/// It cannot be written as JSON.
pub fn render<R: Record>(record: &R) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec_pretty(record)?;
    body.push(b'\n');
    let header = Header { record: R::NAME.to_owned(), schema: SCHEMA, sha256: digest(&body) };
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.push(b'\n');
    bytes.append(&mut body);
    Ok(bytes)
}

/// Understands the bytes of a record's file.
///
/// # Errors
/// What is wrong with it.
pub fn parse<R: Record>(bytes: &[u8]) -> Result<R, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it is cut off in its first line")?;
    let (header, body) = (&bytes[..end], &bytes[end + 1..]);
    let header: Header =
        serde_json::from_slice(header).map_err(|error| format!("its first line: {error}"))?;
    if header.record != R::NAME {
        return Err(format!("it is a record of {:?}, not of {:?}", header.record, R::NAME));
    }
    if header.schema > SCHEMA {
        return Err(format!("schema {} is of a later version (this one: {SCHEMA})", header.schema));
    }
    if header.sha256 != digest(body) {
        return Err("its checksum is wrong: torn, or changed by hand".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    text::hex(&Sha256::digest(bytes))
}

/// Paths in records: text where they are text, otherwise a list of bytes; no path is ever bent.
pub mod path_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes(Vec<u8>),
    }

    /// Writes one.
    ///
    /// # Errors
    /// What the format says.
    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(to),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is neither text nor a list of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(path(Stored::deserialize(from)?))
    }

    fn path(stored: Stored) -> PathBuf {
        match stored {
            Stored::Text(text) => PathBuf::from(text),
            Stored::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        }
    }

    /// The same for a path that may not be there.
    pub mod option {
        use std::path::PathBuf;

        use serde::{Deserialize, Deserializer, Serializer};

        use super::Stored;

        /// Writes one, or `null`.
        ///
        /// # Errors
        /// What the format says.
        pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
            match path {
                Some(path) => super::serialize(path, to),
                None => to.serialize_none(),
            }
        }

        /// Reads one, or `null`.
        ///
        /// # Errors
        /// It is neither text nor a list of bytes.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<PathBuf>, D::Error> {
            Ok(Option::<Stored>::deserialize(from)?.map(super::path))
        }
    }
}

#[cfg(test)]
mod tests;
