//! What is remembered of mounts and binds, and of the bare directories beneath them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Record;
use crate::probes::identity::Identity;
use crate::probes::jobs::Row;
use crate::probes::verdict::Verdict;
use crate::sys::clock::Stamp;
use crate::sys::path_text;

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

/// Bare directories that were made to refuse writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guards {
    /// In the order they were guarded.
    pub guards: Vec<Guard>,
}

impl Record for Guards {
    const NAME: &'static str = "guards";

    fn stamps(&self) -> Vec<&Stamp> {
        self.guards.iter().map(|guard| &guard.at).collect()
    }
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
