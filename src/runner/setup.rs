//! What a runner is given: its types, its times, and how much at once.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::Floor;
use crate::config::bucket::Bucket;
use crate::config::job_type::JobType;
use crate::config::jobs::Jobs;
use crate::probes::records::path_text;

/// The times of a runner, as [`Jobs`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// How often work is looked for where none was, and up to a tenth more or less.
    pub poll: Duration,
    /// How often it beats.
    pub beat: Duration,
    /// How long nothing of a job may move until that is told.
    pub slow: Duration,
    /// How often others are looked at, workers and buckets.
    pub sweep: Duration,
    /// How long a command that is asked to end may take.
    pub grace: Duration,
    /// How long running jobs may go on once the runner is to end.
    pub drain: Duration,
    /// How long jobs are left to workers that have their paths, and the first tool of their type.
    pub prefer_wait: Duration,
    /// How often tools are looked for.
    pub tools: Duration,
    /// So often a job may lose its worker.
    pub rescues: u32,
    /// Room that must be left where its jobs write.
    pub floor: Floor,
}

impl Numbers {
    /// Those of this host.
    #[must_use]
    pub fn of(jobs: &Jobs) -> Self {
        Self {
            poll: jobs.poll,
            beat: jobs.beat,
            slow: jobs.slow,
            sweep: jobs.sweep,
            grace: jobs.grace,
            drain: jobs.drain,
            prefer_wait: jobs.prefer_wait,
            tools: jobs.tools,
            rescues: jobs.rescues,
            floor: Floor { mib: jobs.min_free_mib, inodes: jobs.min_free_inodes },
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
