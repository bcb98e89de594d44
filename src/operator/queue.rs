//! `unwedge queue`: whether the queue can be used or read, and what it wants of its workers.

use anyhow::{Result, bail};

use super::asking::{self, Asking};
use super::{Said, wrong};
use crate::cli;
use crate::config::Settings;
use crate::config::queue::Adapter;
use crate::queue;
use crate::queue::store::{Store, is_before};
use crate::report::{out, queue_about as report};
use crate::sys::clock::{Now, boottime};

/// Looks at it.
///
/// # Errors
/// It cannot be used, with all that is known of why.
pub fn check(settings: &Settings, at: &cli::QueueAt, json: bool, now: &Now) -> Result<Said> {
    if let (None, Some(queue)) = (&at.queue, &settings.queue)
        && let Adapter::Library(_) = queue.adapter
    {
        queue::leave_root(settings)?;
        let about = queue::about_library(queue).map_err(asking::said)?;
        return Ok(if json {
            report::json_of_library(&about, now)?
        } else {
            report::of_library(&about)
        }
        .into());
    }
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let start = boottime();
    asking.ask(Store::now_ms)?;
    let opened = boottime().saturating_sub(start);
    let start = boottime();
    let (about, counts) = asking.ask(|store| Ok((store.about()?, store.counts()?)))?;
    let answered = boottime().saturating_sub(start);
    // a large file may take longer than there is time, and what was asked so far was answered
    match asking.ask(Store::damage) {
        Ok(None) => {}
        Ok(Some(why)) => bail!("the queue: {why}"),
        Err(why) => out::complain(&format!("not each page of it was looked at: {why:#}")),
    }
    let about = report::About { about: &about, counts: &counts, opened, answered };
    Ok(if json { report::json(&about, now)? } else { report::text(&about) }.into())
}

/// Wants later workers.
///
/// # Errors
/// It is no version, or there is no answer.
pub fn want_version(
    settings: &Settings,
    version: &str,
    dry_run: bool,
    at: &cli::QueueAt,
) -> Result<Said> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    if release.split('.').count() != 3 || !release.split('.').all(|it| it.parse::<u64>().is_ok()) {
        return Err(wrong(format!("{version}: expected a version such as 0.2.0")));
    }
    if dry_run {
        let mut asking = Asking::making(settings, at.queue.as_deref())?;
        // a dry run makes no queue
        let is_made = asking.is_made()?;
        let workers =
            if is_made { asking.ask(|store| store.all_workers(false))? } else { Vec::new() };
        let older = workers.iter().filter(|it| is_before(&it.version, version));
        let older: Vec<String> =
            older.map(|it| format!("{} of {}, {}", it.id, it.host, it.version)).collect();
        let end = match older.as_slice() {
            [] => "nobody has to end for that".to_owned(),
            older => format!("it would end {}: {}", older.len(), older.join("; ")),
        };
        return Ok(format!("would want workers of version {version} or later; {end}\n").into());
    }
    let mut asking = Asking::making(settings, at.queue.as_deref())?;
    let wanted = version.to_owned();
    asking.ask(move |store| store.want_version(&wanted))?;
    Ok(format!(
        "wants workers of version {version} or later; older ones end by themselves within a minute, as if they were asked to\n"
    )
    .into())
}
