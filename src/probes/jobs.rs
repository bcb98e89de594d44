//! What is known of the queue. The programs that run as root link no database: they start
//! `unwedge-jobs facts` as the service user, wait for it no longer than a limit, and take its answer
//! only if it is whole. Here are the words of that answer, and the asking.
//!
//! A queue that could not be read is [`QueueLook::Unknown`], with the reason. It is never an empty
//! one: "no job is running" and "nobody knows" lead to opposite deeds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::records::{self, Record};
use crate::config::Settings;
use crate::config::overrides;
use crate::config::queue::Queue;
use crate::manifest;
use crate::sys::clock::{Deadline, Now, Stamp, millis};
use crate::sys::command::{self, Failure, Finished};
use crate::sys::path_text;
use crate::sys::text;

/// The schema of the answer; another one is not understood.
pub const SCHEMA: u32 = 1;
/// Most running jobs a reading lists; a queue with more of them is unknown, never cut short.
pub const RUNNING_MAX: usize = 1000;

/// The program that is asked, beside the one that asks.
const PROGRAM: &str = "unwedge-jobs";
/// A job that may be taken this soon is as good as next. Two rounds of the timer and one that takes long: a job that
/// is held back is held back anew before its time is over, or a worker fails it over and over until the next round.
pub const NEAR: Duration = Duration::from_secs(180);
/// How much longer than `[queue] timeout` its child may take: to start, to learn who the service user is (within
/// [`USER_LIMIT`]), and to say that nobody answered.
const CHILD_MARGIN: Duration = Duration::from_secs(2);
/// How long it may take to learn who the service user is.
pub const USER_LIMIT: Duration = Duration::from_millis(1500);

/// What is known of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum QueueLook {
    /// This.
    Known(QueueFacts),
    /// Nothing. Nobody may take that for an empty queue.
    Unknown {
        /// Why not.
        why: String,
        /// What was known last, for people; no decision goes by it.
        last_good: Option<LastGood>,
    },
}

impl QueueLook {
    /// Unknown, and nothing was known before.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), last_good: None }
    }

    /// The facts, if there are any.
    #[must_use]
    pub fn known(&self) -> Option<&QueueFacts> {
        match self {
            Self::Known(facts) => Some(facts),
            Self::Unknown { .. } => None,
        }
    }
}

/// One reading of the queue. All of it was seen at one moment, by the clock of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueFacts {
    /// Which queue: the table's name as the config has it, or the adapter's.
    pub queue: String,
    /// That moment, milliseconds since 1970 UTC. It is compared with the queue's own times alone, never with a
    /// clock of this host.
    pub at_utc_ms: u64,
    /// Every running job, by id. A job without an output counts as on every need.
    pub running: Vec<Job>,
    /// The jobs that would be taken next, in the worker's own order, cooling ones left out; at most
    /// `next_jobs`.
    pub next: Vec<Job>,
    /// Jobs that wait for a time, soonest first; at most `next_jobs`.
    pub cooling: Vec<Job>,
    /// How many jobs there are in each state. Every state has its number, 0 too. Finished jobs are not
    /// counted: that would cost the more the older the table is.
    pub counts: BTreeMap<State, u64>,
    /// How long the oldest job that could be taken now has been waiting, milliseconds. None if there
    /// is no such job, or the map has no creation time.
    pub oldest_pending_ms: Option<u64>,
    /// Jobs whose last outcome was an infrastructure error.
    pub infra_errors: InfraErrors,
    /// Running jobs that were started longer ago than `[queue] stale_after`; those without a start time
    /// are not counted. None if the map has no start time.
    pub stale_running: Option<u64>,
    /// Jobs that failed for good and are kept. None where that is not told.
    #[serde(default)]
    pub dead: Option<u64>,
    /// What gives back the rows of a worker that is gone, where that is not us.
    #[serde(default)]
    pub rescue: Option<Rescue>,
    /// Whether the map names a not-before column by which jobs could be held back.
    pub hold_back: bool,
    /// What would make the reading better or cheaper, such as an index; for people.
    pub advice: Vec<String>,
}

impl QueueFacts {
    /// The jobs whose turn is near: those that come next, and those whose waiting time is over in less than
    /// [`NEAR`].
    pub fn near(&self) -> impl Iterator<Item = &Job> {
        let near = millis(NEAR);
        let left = |job: &Job| job.not_before_utc_ms.map(|at| at.saturating_sub(self.at_utc_ms));
        let soon = move |job: &&Job| left(job).is_some_and(|left| left < near);
        self.next.iter().chain(self.cooling.iter().filter(soon))
    }

    /// How many jobs are in a state.
    #[must_use]
    pub fn count(&self, state: State) -> u64 {
        self.counts.get(&state).copied().unwrap_or_default()
    }
}

/// What a queue's library does by itself with rows of a worker that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescue {
    /// What does it, for people.
    pub by: String,
    /// How long after that a row is taken back, milliseconds.
    pub after_ms: u64,
    /// After what.
    #[serde(default)]
    pub since: Since,
}

impl Rescue {
    /// When a row is taken back, for people.
    #[must_use]
    pub fn when(&self) -> String {
        let after = text::duration(Duration::from_millis(self.after_ms));
        match self.since {
            Since::Silence if self.after_ms == 0 => "as soon as nobody is at it".to_owned(),
            Since::Start => format!("{after} after its start"),
            Since::Silence => format!("{after} after the last sign of life of whoever was at it"),
            Since::Row => "when the row says".to_owned(),
        }
    }
}

/// What a library goes by when it takes a row back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// When the row was started.
    #[default]
    Start,
    /// When whoever was at it was last heard of.
    Silence,
    /// A time of its own, which each row says.
    Row,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its first try, and could be taken now.
    Pending,
    /// It waits for another try, and could be taken now.
    Retryable,
    /// It waits for a time: nobody takes it before.
    Cooling,
    /// It is at work, as far as the queue knows.
    Running,
}

impl State {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Retryable, Self::Cooling, Self::Running];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retryable => "retryable",
            Self::Cooling => "cooling",
            Self::Running => "running",
        }
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What tells it apart in its table.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// Its share of the queue, if the map says.
    pub lane: Option<String>,
    /// The directory it writes to, absolute and without `.` or `..`; it need not exist. `null` when the
    /// map has none, the job has none, or what it has is no such path: then it may be anywhere.
    #[serde(with = "path_text::option")]
    pub output: Option<PathBuf>,
    /// When it was started, milliseconds since 1970 UTC.
    pub started_utc_ms: Option<u64>,
    /// Before when it is not taken, milliseconds since 1970 UTC.
    pub not_before_utc_ms: Option<u64>,
    /// When its library takes it back, where each row says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_utc_ms: Option<u64>,
    /// How often it was tried.
    pub attempts: Option<u64>,
}

impl Job {
    /// The try that it is at; none where the map has no start time, for then one try is like another.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        Some(Row { id: self.id.clone(), started_utc_ms: self.started_utc_ms? })
    }
}

/// One try of one job: a row that was taken again has another start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The job's id.
    pub id: String,
    /// When this try was started, milliseconds since 1970 UTC, as the queue has it.
    pub started_utc_ms: u64,
}

impl Row {
    /// As it is written on a command line: the id, an `@`, and the start.
    #[must_use]
    pub fn word(&self) -> String {
        format!("{}@{}", self.id, self.started_utc_ms)
    }

    /// The same, read.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (id, started) = word.rsplit_once('@')?;
        Some(Self { id: id.to_owned(), started_utc_ms: started.parse().ok()? })
    }
}

/// Reads rows as they are written on a command line.
///
/// # Errors
/// The first word that is none.
pub fn rows(words: &[String]) -> Result<Vec<Row>, String> {
    let row = |word: &String| {
        Row::parse(word).ok_or_else(|| format!("{word:?} is no row, expected ID@START"))
    };
    words.iter().map(row).collect()
}

/// Jobs whose last outcome was an infrastructure error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfraErrors {
    /// How far back they are counted, milliseconds.
    pub window_ms: u64,
    /// How many there are among the unfinished jobs. None if the map does not say how to tell one.
    pub count: Option<u64>,
}

/// What a verb that writes has written to: jobs that were held back, or given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    /// The jobs' ids.
    pub jobs: Vec<String>,
}

/// A reading that was good, and is old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastGood {
    /// When it was made, milliseconds since 1970 UTC.
    pub read_utc_ms: u64,
    /// How old it is, milliseconds; none if the clocks do not allow an age.
    pub age_ms: Option<u64>,
    /// What it said.
    pub facts: QueueFacts,
}

/// The last good reading as it is kept in a file, by the timer's rounds alone. It is for people: a good
/// reading replaces it, whatever state it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFacts {
    /// The reading, once there was one.
    pub reading: Option<Reading>,
}

/// A reading and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// When.
    pub at: Stamp,
    /// What it said.
    pub facts: QueueFacts,
}

impl Record for StoredFacts {
    const NAME: &'static str = "facts";

    fn stamps(&self) -> Vec<&Stamp> {
        self.reading.iter().map(|reading| &reading.at).collect()
    }
}

/// The last good reading; one that cannot be read is none, and the next good one takes its place.
#[must_use]
pub fn last_good(settings: &Settings, now: &Now) -> Option<LastGood> {
    let stored: StoredFacts = records::read(&manifest::queue_dir(&settings.host), now).ok()?;
    let Reading { at, facts } = stored.reading?;
    let age = now.since(&at).known();
    let age_ms = age.map(millis);
    Some(LastGood { read_utc_ms: at.utc_ms, age_ms, facts })
}

/// The answer of the child, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The tool's name.
    pub tool: String,
    /// When it was given, UTC.
    pub at: String,
    /// What is known.
    pub queue: QueueLook,
}

/// The limit that [`ask`] is best given: the time the child has for the database, and for itself.
#[must_use]
pub fn limit(queue: &Queue) -> Duration {
    queue.timeout + CHILD_MARGIN
}

/// Asks the sibling program for the facts; returns within `limit` and a moment. Not to be asked when
/// there is no `[queue]`.
///
/// The child that root starts becomes the service user before anything else, without a capability: root never
/// holds what opens the database.
#[must_use]
pub fn ask(settings: &Settings, limit: Duration) -> QueueLook {
    match sibling() {
        Ok(program) => ask_of(&program, settings, limit),
        Err(why) => QueueLook::unknown(why),
    }
}

/// As [`ask`], of this very program.
#[must_use]
pub fn ask_of(program: &Path, settings: &Settings, limit: Duration) -> QueueLook {
    match run(&argv(program, settings, "facts"), limit) {
        Ok(done) => understand(&done.stdout, done.code).unwrap_or_else(|why| {
            QueueLook::unknown(format!("{PROGRAM}: {why}; {}", done.describe()))
        }),
        Err(failure) => QueueLook::unknown(failure.to_string()),
    }
}

/// Has the sibling program hold back for `time` the jobs that come next or soon and write at or below `path`, but
/// not at or below one of `except`, as the service user; returns by `deadline` and a moment, and within [`limit`].
///
/// # Errors
/// Why nothing is known to have been held back.
pub fn hold_back(
    settings: &Settings,
    path: &Path,
    except: &[&Path],
    time: Duration,
    deadline: Deadline,
) -> Result<Touched, String> {
    let mut words = vec!["--for".into(), format!("{}ms", time.as_millis()).into()];
    words.extend(except.iter().flat_map(|it| ["--except".into(), OsString::from(it)]));
    order(settings, "hold-back", words, vec![path.into()], deadline)
}

/// Has the sibling program give rows back to the queue, as the service user; returns by `deadline` and a moment,
/// and within [`limit`].
///
/// # Errors
/// Why nothing is known to have been given back.
pub fn recover(settings: &Settings, rows: &[Row], deadline: Deadline) -> Result<Touched, String> {
    let words = rows.iter().map(|row| OsString::from(row.word())).collect();
    order(settings, "recover", Vec::new(), words, deadline)
}

/// A verb that writes, and its answer.
fn order(
    settings: &Settings,
    verb: &str,
    options: Vec<OsString>,
    to: Vec<OsString>,
    deadline: Deadline,
) -> Result<Touched, String> {
    let queue = settings.queue.as_ref().ok_or("there is no queue")?;
    let deadline = deadline.within(limit(queue));
    let mut argv = argv(&sibling()?, settings, verb);
    argv.extend(options);
    argv.push("--".into());
    argv.extend(to);
    let done = run(&argv, deadline.left()).map_err(|failure| failure.to_string())?;
    if !done.ok() {
        return Err(format!("{PROGRAM} {verb}: {}", done.describe()));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| format!("its answer: {error}"))
}

/// Runs it with the settings of this process's environment, so that both read the same configuration.
fn run(argv: &[OsString], limit: Duration) -> Result<Finished, Failure> {
    command::run_with(argv, &overrides::of_process(), limit)
}

fn sibling() -> Result<PathBuf, String> {
    let own = std::fs::read_link("/proc/self/exe").map_err(|e| format!("/proc/self/exe: {e}"))?;
    let dir = own.parent().ok_or("this program lies in no directory")?;
    Ok(dir.join(PROGRAM))
}

fn argv(program: &Path, settings: &Settings, verb: &str) -> Vec<OsString> {
    let mut argv = vec![program.into(), verb.into(), "--json".into()];
    if let Some(file) = &settings.file {
        argv.extend(["--config".into(), file.into()]);
    }
    argv
}

/// Takes an answer only if it is whole, of this schema, and the exit code says the same.
fn understand(stdout: &[u8], code: i32) -> Result<QueueLook, String> {
    if stdout.is_empty() {
        return Err("no answer".to_owned());
    }
    let answer: Answer = serde_json::from_slice(stdout)
        .map_err(|error| format!("its answer is not understood ({error})"))?;
    match (answer.schema, code, answer.queue) {
        (SCHEMA, 0, known @ QueueLook::Known(_)) => Ok(known),
        (SCHEMA, 1, unknown @ QueueLook::Unknown { .. }) => Ok(unknown),
        (SCHEMA, _, _) => Err("its answer and its exit code differ".to_owned()),
        (schema, _, _) => Err(format!("its answer is of schema {schema}, not {SCHEMA}")),
    }
}

/// A path that a job may write to: absolute, plain, and one that a file can have.
#[must_use]
pub fn plain_path(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
    let plain = |part: &[u8]| part != b"." && part != b"..";
    let sound =
        path.is_absolute() && !bytes.contains(&0) && bytes.split(|byte| *byte == b'/').all(plain);
    // without doubled and trailing slashes
    sound.then(|| path.components().collect())
}

#[cfg(test)]
mod tests;
