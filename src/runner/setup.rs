//! What a runner is given: its types, its times, and how much at once.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::Floor;
use crate::config::bucket::Bucket;
use crate::config::job_type::JobType;
use crate::probes::records::path_text;

/// The times of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// How often work is looked for where none was. Default 2 s, and up to a tenth more or less.
    pub poll: Duration,
    /// How often it beats. Default 15 s.
    pub beat: Duration,
    /// How long nothing of a job may move until that is told. Default 60 s.
    pub slow: Duration,
    /// How long a worker may be silent. Default 120 s.
    pub lease: Duration,
    /// How often others are looked at, workers and buckets. Default 30 s.
    pub sweep: Duration,
    /// How long a command that is asked to end may take. Default 10 s.
    pub grace: Duration,
    /// How long running jobs may go on once the runner is to end. Default 90 s.
    pub drain: Duration,
    /// How long jobs are left to workers that have the first tool of their type, by one that has only another.
    /// Default 120 s.
    pub prefer_wait: Duration,
    /// How often tools are looked for. Default 5 min.
    pub tools: Duration,
    /// So often a job may lose its worker. Default 3.
    pub rescues: u32,
    /// Room that must be left where its jobs write.
    pub floor: Floor,
}

impl Default for Numbers {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            poll: secs(2),
            beat: secs(15),
            slow: secs(60),
            lease: secs(120),
            sweep: secs(30),
            grace: secs(10),
            drain: secs(90),
            prefer_wait: secs(120),
            tools: secs(300),
            rescues: 3,
            floor: Floor::default(),
        }
    }
}

/// What a runner is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What it can do.
    pub types: Vec<JobType>,
    /// At most so many at once, of all types together.
    pub slots: u32,
    /// The directory of the storage gate.
    #[serde(with = "path_text")]
    pub run_dir: PathBuf,
    /// Where commands run.
    #[serde(with = "path_text")]
    pub dir: PathBuf,
    /// Where results wait on disk for a queue that is away: a directory of this runner alone. Without one they are lost
    /// with it.
    #[serde(with = "path_text::option")]
    pub keep_dir: Option<PathBuf>,
    /// Where what commands said is kept, if it is.
    #[serde(with = "path_text::option")]
    pub log_dir: Option<PathBuf>,
    /// The buckets that its jobs may name.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// Its unit, where it is a service.
    pub unit: Option<String>,
    /// Whether it ends when nothing more can be claimed.
    pub once: bool,
    /// How long it waits before it takes anything: it was started often.
    pub wait: Duration,
    /// Its times.
    pub numbers: Numbers,
}
