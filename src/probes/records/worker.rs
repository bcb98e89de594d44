//! What is remembered of the worker, and of the rows that it left behind.

use serde::{Deserialize, Serialize};

use super::{Record, Rehearsal};
use crate::probes::jobs::Row;
use crate::sys::clock::Stamp;

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

impl Record for WorkerState {
    const NAME: &'static str = "worker";

    fn stamps(&self) -> Vec<&Stamp> {
        let rehearsal = self.rehearsal.iter().map(|rehearsal| &rehearsal.at);
        let watched = self.watched.iter().map(|watched| &watched.since);
        self.starts.iter().map(|start| &start.at).chain(watched).chain(rehearsal).collect()
    }
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
