//! What goes into the queue and comes back out of it: jobs, workers, how tries end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::at_work::Stall;
use crate::decide::attempts::{Counted, State, Token};

/// A job to be put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewJob {
    /// Its type: the lane.
    #[serde(rename = "type")]
    pub kind: String,
    /// What tells it from others of its type; the same one twice is one job.
    pub key: String,
    /// Higher ones first.
    pub priority: i64,
    /// What must be open on a host that takes it.
    pub needs: Vec<String>,
    /// What is open on a host that has its paths; others take it after a while, and fetch and deliver.
    pub prefers: Vec<String>,
    /// What it works on, as `text::path` writes it.
    pub input: String,
    /// Where its result goes.
    pub output: Option<String>,
    /// The directory of that, for whoever looks at storage.
    pub output_dir: Option<String>,
    /// What whoever puts it in writes on it, such as when its input was made.
    pub stamp: Option<String>,
    /// The intake that it came by: it is known until its input is gone.
    pub intake: Option<String>,
    /// The host whose own directory it came from: it alone says that the input is gone.
    pub offered_by: Option<String>,
}

/// What became of one that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub id: i64,
    /// How it stands.
    pub state: State,
    /// Whether it is new; else there was one of this key.
    pub is_new: bool,
}

/// A worker that comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewWorker {
    /// Boot, pid and start: never used again.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// Its version.
    pub version: String,
    /// How it runs jobs.
    pub mode: String,
    /// The types it can take.
    pub types: BTreeMap<String, TypeMark>,
    /// Those it knows and cannot take.
    pub lacks: BTreeMap<String, Lack>,
    /// The storage that is open to it.
    pub open: Vec<String>,
    /// The storage of its host that is not.
    pub closed: Vec<String>,
    /// How many cores its host has.
    pub cpus: Option<u32>,
}

/// What came of a worker's coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The queue knows it.
    Entered,
    /// The queue wants a later version.
    TooOld {
        /// At least this one.
        least: String,
    },
}

/// What a worker knows of a type, for others to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeMark {
    /// A digest of what the type says; workers that differ in it do not share a lane.
    pub digest: String,
    /// The tier that should make its results.
    pub first_tier: String,
    /// The tier that this worker would use first: one whose program it has.
    #[serde(default)]
    pub uses: String,
    /// Why it takes one of them now and then alone, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests: Option<String>,
}

/// A type that a worker knows and cannot take just now. Its lane stays what it is to this worker all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What is missing.
    pub why: String,
    /// The digest of what it says, as in [`TypeMark`].
    pub digest: String,
}

/// How a try ended, and what becomes of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Which one.
    #[serde(flatten)]
    pub token: Token,
    /// How the job stands from now on; never running.
    pub state: State,
    /// What it counts for.
    pub counted: Counted,
    /// It waits at least so long, milliseconds.
    pub wait_ms: u64,
    /// The tier that was the last to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// What it exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i64>,
    /// What kind of failure; none of a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was begun, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// How long it took, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// A digest of the type it was run by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How large its result is, where it made one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Ending {
    /// One that was not begun.
    #[must_use]
    pub fn given_back(token: Token) -> Self {
        Self {
            token,
            state: State::Retryable,
            counted: Counted::Nothing,
            wait_ms: 0,
            tier: None,
            exit_code: None,
            signal: None,
            class: None,
            message: None,
            started_ms: None,
            took_ms: None,
            digest: None,
            bytes: None,
        }
    }
}

/// How a worker is, with its beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat<'a> {
    /// Who.
    pub worker: &'a str,
    /// `idle`, `busy` or `draining`.
    pub state: &'a str,
    /// What it does just now.
    pub step: Option<&'a str>,
    /// Jobs done since its start.
    pub done: u64,
    /// Tries that were no success.
    pub failed: u64,
    /// How its host is.
    pub load: Load,
    /// How far jobs are, where they say.
    pub progress: &'a [(Token, String)],
    /// Jobs that do not move, and those that do again.
    pub stalls: &'a [(Token, Option<Stall>)],
    /// The storage that is open to it.
    pub open: &'a [String],
    /// The storage of its host that is not.
    pub closed: &'a [String],
    /// Why it does not hear when jobs come, and only looks for them now and then; none where it does.
    pub deaf: Option<&'a str>,
}

/// How a host is; what could not be told is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The load average of one minute, in thousandths.
    pub load_milli: Option<u64>,
    /// Memory that could be had, MiB.
    pub memory_mib: Option<u64>,
}

/// What a worker hears when it beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it has.
    pub held: Vec<Held>,
    /// Whether somebody asked it to end.
    pub is_asked_to_stop: bool,
}

/// A job that a worker has, as the queue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub token: Token,
    /// Whether somebody called it off.
    pub is_cancelled: bool,
    /// Whether its lane is closed, by a person or by its breaker: nothing of it is begun.
    pub is_closed: bool,
}

/// A row that was taken from a worker that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The job.
    pub id: i64,
    /// How it stands now.
    pub state: State,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The job.
    pub id: i64,
    /// How it stands.
    pub state: State,
    /// What kind of failure its last try was.
    pub class: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// The tier that made the result.
    pub tier: Option<String>,
    /// Where the result goes.
    pub output: Option<String>,
    /// How large it is, where one was made.
    pub bytes: Option<u64>,
    /// When it was over, milliseconds since 1970.
    pub finished_ms: Option<u64>,
}

impl From<Submitted> for Standing {
    /// What is known of one that was put in just now.
    fn from(Submitted { id, state, is_new: _ }: Submitted) -> Self {
        Self {
            id,
            state,
            class: None,
            message: None,
            tier: None,
            output: None,
            bytes: None,
            finished_ms: None,
        }
    }
}
