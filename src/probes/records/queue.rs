//! What is remembered beside our own queue: of the runner, of its upkeep, of the signs of life of others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::probes::heartbeat::State;
use crate::sys::clock::Stamp;

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

impl Record for UpkeepState {
    const NAME: &'static str = "upkeep";

    fn stamps(&self) -> Vec<&Stamp> {
        let looks = self.swept.iter().chain(&self.looked);
        looks.chain(self.heard.values().map(|it| &it.at)).collect()
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
