//! The storage gate: `/run/unwedge/storage.json`, the verdicts of this host for whoever claims work
//! here. A path is open only while it is live; the paths of a repair are closed before it begins.
//! A reader takes a file that is too old, or a path that is not in it, for closed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::store::{self, Durability};
use crate::config::Settings;
use crate::probes::gate::{AGE_MAX, FILE};
use crate::probes::mountinfo::Dev;
use crate::probes::mounts::Observation;
use crate::probes::verdict::Verdict;
use crate::sys::clock::{Now, Stamp};
use crate::sys::text;

/// From the end of one round to the first word of the next, with the timer's minute.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(2 * 60);

#[derive(Serialize)]
struct Gate<'a> {
    schema: u32,
    at: Stamp,
    /// How old it may be, seconds.
    good_for_s: u64,
    paths: BTreeMap<String, Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    verdict: &'a str,
    open: bool,
    /// The file system that this is said of, where one is mounted there.
    on: Option<Dev>,
}

/// Writes the gate: open for what is live, but never for `closed`. `at` is the moment before it was looked at: who has found
/// something gone since takes no older word that it is there. It is good for as long as a round of these `settings` may take:
/// one that repairs for long says nothing meanwhile, and what is well is not to be closed for that.
///
/// # Errors
/// It is not written; the old one goes stale, which closes it.
pub fn write(
    settings: &Settings,
    observations: &[Observation],
    closed: &BTreeSet<PathBuf>,
    at: &Now,
) -> Result<()> {
    let entry = |seen: &Observation| {
        let open = seen.verdict == Verdict::Live && !closed.contains(&seen.path);
        let on = seen.identity().map(|it| it.dev);
        (text::path(&seen.path), Entry { verdict: seen.verdict.name(), open, on })
    };
    let paths = observations.iter().map(entry).collect();
    let good_for_s = AGE_MAX.max(settings.mounts.deadline + BETWEEN_ROUNDS).as_secs();
    let mut bytes =
        serde_json::to_vec_pretty(&Gate { schema: 1, at: at.stamp(), good_for_s, paths })
            .context("render the storage gate")?;
    bytes.push(b'\n');
    store::replace(&settings.host.run_dir.join(FILE), &bytes, Durability::Fleeting)
}
