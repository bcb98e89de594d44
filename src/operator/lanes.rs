//! `unwedge lanes`: the lanes as they are, and a person's hand on them.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::asking::Asking;
use super::{Said, by, reason, types_of_host};
use crate::cli;
use crate::config::Settings;
use crate::queue::store::Store;
use crate::queue::store::lanes::Lane;
use crate::queue::store::listing::seen;
use crate::report::lanes as report;
use crate::sys::clock::Now;

/// Lists them.
///
/// # Errors
/// There is no answer.
pub fn list(settings: &Settings, at: &cli::QueueAt, json: bool, now: &Now) -> Result<Said> {
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let (lanes, figures, workers) = asking
        .ask(|store| Ok((store.lanes()?, store.figures()?, seen(store.all_workers(false)?))))?;
    Ok(if json {
        report::json(&lanes, &figures, &workers, now)?
    } else {
        report::text(&lanes, &figures, &workers)
    }
    .into())
}

/// Closes lanes.
///
/// # Errors
/// One of them is none; nothing is changed.
pub fn pause(
    settings: &Settings,
    types: &[String],
    because: &str,
    dry_run: bool,
    at: &cli::QueueAt,
) -> Result<Said> {
    let because = reason(because)?;
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    refuse_unknown(settings, &mut asking, types)?;
    if dry_run {
        let would = would(&mut asking, types, true, |lane| lane.paused.is_none())?;
        return Ok(told(types, &would, "would be paused", "paused already").into());
    }
    let (all, why) = (types.to_vec(), format!("{because} ({})", by()));
    let paused = asking.ask(move |store| store.pause(&all, &why))?;
    Ok(told(types, &paused, "paused", "paused already").into())
}

/// Opens them again.
///
/// # Errors
/// One of them is none; nothing is changed.
pub fn resume(
    settings: &Settings,
    types: &[String],
    dry_run: bool,
    at: &cli::QueueAt,
) -> Result<Said> {
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    refuse_unknown(settings, &mut asking, types)?;
    if dry_run {
        let is_closed = |lane: &Lane| lane.paused.is_some() || lane.open.is_some();
        let would = would(&mut asking, types, false, is_closed)?;
        return Ok(told(types, &would, "would be resumed", "open already").into());
    }
    let (all, who) = (types.to_vec(), by());
    let resumed = asking.ask(move |store| store.resume(&all, who))?;
    Ok(told(types, &resumed, "resumed", "open already").into())
}

/// Of which of these something would be changed: by how the lane is, and where there is none yet by `without`.
fn would(
    asking: &mut Asking,
    types: &[String],
    without: bool,
    is_changed: impl Fn(&Lane) -> bool,
) -> Result<Vec<String>> {
    let lanes = asking.ask(Store::lanes)?;
    let lane_of = |kind: &&String| lanes.iter().find(|it| it.kind == **kind);
    let changed = types.iter().filter(|kind| lane_of(kind).map_or(without, &is_changed));
    Ok(changed.cloned().collect())
}

fn told(types: &[String], done: &[String], word: &str, already: &str) -> String {
    let say =
        |kind: &String| format!("{kind}: {}\n", if done.contains(kind) { word } else { already });
    types.iter().map(say).collect()
}

fn refuse_unknown(settings: &Settings, asking: &mut Asking, types: &[String]) -> Result<()> {
    let mut known: BTreeSet<String> = asking.ask(Store::types)?.into_iter().collect();
    // one of this host that nobody has put anything in of yet
    known.extend(types_of_host(settings).unwrap_or_default());
    match types.iter().find(|kind| !known.contains(*kind)) {
        None => Ok(()),
        Some(kind) => {
            let known: Vec<String> = known.into_iter().collect();
            bail!("{kind}: no such lane; there are {}", known.join(", "))
        }
    }
}
