//! What runner and helper tell each other, one JSON object a line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::bucket::Bucket;
use crate::config::job_type::JobType;
use crate::decide::attempts::{Class, Token};
use crate::probes::engine::Ground;
use crate::runner::placed::{Mark, Placed};
use crate::runner::room::Floor;
use crate::sys::path_text;

/// What a helper is to do: a line. One that has done it well waits for the next, so that not every job costs the start
/// of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The try.
    pub token: Token,
    /// By which it is done.
    pub kind: JobType,
    /// What it works on: a file, or an object of a bucket.
    #[serde(with = "path_text")]
    pub input: PathBuf,
    /// The version of that object, where one is meant.
    pub version: Option<String>,
    /// The buckets that it needs.
    pub buckets: Vec<Bucket>,
    /// Where on this host is place for what does not belong here.
    #[serde(with = "path_text::option")]
    pub spare: Option<PathBuf>,
    /// How much must stay free there, and where it writes.
    pub floor: Floor,
    /// Where its result goes.
    #[serde(with = "path_text::option")]
    pub output: Option<PathBuf>,
    /// What is known of that from tries before.
    pub placed: Placed,
    /// What tells scratch files of this queue from those of another.
    pub mark: String,
    /// Where its commands run.
    #[serde(with = "path_text")]
    pub dir: PathBuf,
    /// Whose the containers of its engine are, where it is done in one.
    pub ground: Option<Ground>,
    /// Paths that no command in a container may see, as `text::path` writes them: the queue's own, keys, sockets.
    pub private: Vec<String>,
    /// Its cgroup, where it has one.
    #[serde(with = "path_text::option")]
    pub cgroup: Option<PathBuf>,
    /// Where what its commands say is kept.
    #[serde(with = "path_text::option")]
    pub log: Option<PathBuf>,
    /// How long a command that is asked to end may take, milliseconds.
    pub grace_ms: u64,
}

/// What a helper tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "kebab-case")]
pub enum Tell {
    /// There is a result, under a name of its own; it is put in its place once the runner has made sure that the job
    /// is still its own and says so.
    Ready(Mark),
    /// How far it is, in words of its own: `3/10 pages`.
    Progress(Step),
    /// It is over.
    Ended {
        /// How.
        report: Report,
        /// Whether it waits for another: nothing is left of this one.
        goes_on: bool,
    },
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As the command says it: `k/n text`.
    pub text: String,
}

/// How a try ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What kind of failure it was; none where it went well.
    pub class: Option<Class>,
    /// Whether it was given up because the runner said so: it counts for nothing.
    pub is_given_up: bool,
    /// Whether it waits for what is elsewhere and cannot be reached just now: before its commands, or with a result that is kept.
    #[serde(default)]
    pub is_early: bool,
    /// Whether that is so where its files lie, and of no other job of its type.
    #[serde(default)]
    pub is_of_place: bool,
    /// The directories of its files whose storage was gone when it ended, as `text::path` writes them.
    #[serde(default)]
    pub lost: Vec<String>,
    /// The tier that was the last to run; none where nothing of it ran.
    pub tier: Option<String>,
    /// What it exited with.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// In words.
    pub message: Option<String>,
    /// How large its result is, where it made one.
    #[serde(default)]
    pub bytes: Option<u64>,
}

impl Report {
    /// Of a try that went wrong so.
    #[must_use]
    pub fn failed(class: Class, message: impl Into<String>) -> Self {
        Self { class: Some(class), message: Some(message.into()), ..Self::default() }
    }

    /// Nothing of it ran, for no fault of its own.
    #[must_use]
    pub fn not_begun(why: impl Into<String>) -> Self {
        Self { is_early: true, ..Self::failed(Class::Infrastructure, why) }
    }

    /// Nothing of it ran, for what is so where its files lie: what lies elsewhere is begun all the same.
    #[must_use]
    pub fn not_begun_there(why: impl Into<String>) -> Self {
        Self { is_of_place: true, ..Self::not_begun(why) }
    }

    /// It is its storage that is at fault, whatever else came of it.
    #[must_use]
    pub fn of_storage(self, why: String) -> Self {
        let message = match self.message {
            Some(message) => format!("{why}: {message}"),
            None => why,
        };
        Self { class: Some(Class::Infrastructure), message: Some(message), ..self }
    }

    /// With more to be said of it.
    #[must_use]
    pub fn adding(self, more: &str) -> Self {
        let message = self.message.map_or_else(|| more.to_owned(), |it| format!("{it}; {more}"));
        Self { message: Some(message), ..self }
    }

    /// It was given up because the runner said so.
    #[must_use]
    pub fn given_up() -> Self {
        Self { is_given_up: true, ..Self::default() }
    }
}

/// What a helper is told when its result may be put in its place.
pub const GO: &str = "go\n";
/// What it is told when the job is its own no more: to end, and to leave nothing. The end of its input says that its runner
/// ends, or is gone: then it ends too, and a result that is ready waits for the next try.
pub const NO: &str = "no\n";
