//! The verbs of `unwedge-jobs` that write to a queue. Each answers with what it did, or would do, and runs as
//! the service user, who alone holds what opens the database.

use anyhow::{Error, Result, bail};

use super::time_of;
use crate::config::queue::Queue;
use crate::config::{Settings, Starts};
use crate::probes::{facts, jobs};
use crate::queue::{self, Where};
use crate::report::queue as report;

/// Keeps jobs from being taken where they would only fail.
///
/// # Errors
/// Nothing is known to have been held back.
pub fn hold_back(
    settings: &Settings,
    time: &str,
    dry_run: bool,
    place: Where,
    json: bool,
) -> Result<String> {
    let time = time_of("--for", time)?;
    let held = queue::hold_back(queue_of(settings)?, place, time, dry_run)?;
    report::held_back(&held, time, dry_run, json)
}

/// Gives back rows that nobody is at.
///
/// # Errors
/// Nothing is known to have been given back.
pub fn recover(settings: &Settings, dry_run: bool, rows: &[String], json: bool) -> Result<String> {
    let rows = jobs::rows(rows).map_err(Error::msg)?;
    let given = queue::recover(queue_of(settings)?, rows, dry_run)?;
    report::recovered(&given, dry_run, json)
}

/// The queue that is written to, as the user who may.
fn queue_of(settings: &Settings) -> Result<&Queue> {
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    let Some(queue) = &settings.queue else { bail!("there is no [queue] in the configuration") };
    queue::leave_root(settings)?;
    Ok(queue)
}
