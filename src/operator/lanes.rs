//! `unwedge lanes`: the lanes as they are, and a person's hand on them.

use anyhow::{Result, bail};

use super::asking::Asking;
use super::{Said, by, reason};
use crate::cli;
use crate::config::Settings;
use crate::queue::store::Store;
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
    refuse_unknown(&mut asking, types)?;
    if dry_run {
        return Ok(format!("would pause {}\n", types.join(", ")).into());
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
    refuse_unknown(&mut asking, types)?;
    if dry_run {
        return Ok(format!("would resume {}\n", types.join(", ")).into());
    }
    let (all, who) = (types.to_vec(), by());
    let resumed = asking.ask(move |store| store.resume(&all, who))?;
    Ok(told(types, &resumed, "resumed", "open already").into())
}

fn told(types: &[String], done: &[String], word: &str, already: &str) -> String {
    let say =
        |kind: &String| format!("{kind}: {}\n", if done.contains(kind) { word } else { already });
    types.iter().map(say).collect()
}

fn refuse_unknown(asking: &mut Asking, types: &[String]) -> Result<()> {
    let known: Vec<String> = asking.ask(Store::types)?;
    match types.iter().find(|kind| !known.contains(kind)) {
        None => Ok(()),
        Some(kind) => bail!("{kind}: no such lane; there are {}", known.join(", ")),
    }
}
