//! `unwedge workers`: who works for the queue, and a person's hand on them. The list in the queue is the only record
//! there is of them.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::Said;
use super::asking::Asking;
use crate::cli;
use crate::config::jobs::Jobs;
use crate::config::{Settings, duration};
use crate::decide::leases::Seen;
use crate::decide::workers::Standing;
use crate::probes::witness::{self, Fate};
use crate::queue::store::Store;
use crate::queue::store::listing::Worker;
use crate::report::workers as report;
use crate::sys::clock::{Deadline, Now, pause};

/// How often it is asked whether they are gone.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Lists them.
///
/// # Errors
/// There is no answer.
pub fn list(
    settings: &Settings,
    dead_too: bool,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let workers = asking.ask(move |store| store.all_workers(dead_too))?;
    let all: Vec<(Worker, Standing)> =
        workers.into_iter().map(|it| (it.clone(), it.standing())).collect();
    Ok(if json { report::json(&all, now)? } else { report::text(&all) }.into())
}

/// Asks them to end, and waits until they are gone.
///
/// # Errors
/// It is not said which, or systemd would start one again.
pub fn stop(
    settings: &Settings,
    ids: &[String],
    here: bool,
    timeout: &str,
    dry_run: bool,
    at: &cli::QueueAt,
) -> Result<Said> {
    let patience = duration::parse(timeout).map_err(|why| anyhow!("--timeout {timeout}: {why}"))?;
    if ids.is_empty() && !here {
        bail!("which workers? give the beginning of their names, or --here");
    }
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let all = asking.ask(|store| store.all_workers(false))?;
    let is_meant = |it: &&Worker| {
        (here && witness::is_of_here(&it.id)) || ids.iter().any(|id| it.id.starts_with(id.as_str()))
    };
    let meant: Vec<&Worker> = all.iter().filter(is_meant).collect();
    if let Some(none) = ids.iter().find(|id| !all.iter().any(|it| it.id.starts_with(id.as_str()))) {
        bail!("{none}: no such worker");
    }
    if let Some((it, unit)) = meant.iter().find_map(|it| Some((it, it.unit.as_ref()?))) {
        bail!(
            "worker {} is {unit} of {}, and systemd would start it again: systemctl stop {unit} there; nobody was asked",
            it.id,
            it.host
        );
    }
    let names: Vec<String> = meant.iter().map(|it| it.id.clone()).collect();
    if names.is_empty() {
        return Ok("no such worker is there\n".to_owned().into());
    }
    if dry_run {
        return Ok(report::named("would be asked to end", &names).into());
    }
    let asked = names.clone();
    asking.ask(move |store| store.ask_to_stop(&asked))?;
    let deadline = Deadline::after(patience);
    loop {
        let left: Vec<String> = asking
            .ask(|store| store.all_workers(false))?
            .into_iter()
            .map(|it| it.id)
            .filter(|id| names.contains(id))
            .collect();
        if left.is_empty() {
            return Ok(report::named("ended", &names).into());
        }
        if deadline.passed() {
            let text = report::named("asked, and not gone yet", &left);
            return Ok(Said { text, code: 1 });
        }
        pause(ASK_EVERY.min(deadline.left()));
    }
}

/// Takes out of the list who is gone.
///
/// # Errors
/// There is no answer.
pub fn cleanup(settings: &Settings, dry_run: bool, at: &cli::QueueAt) -> Result<Said> {
    let rescues = settings.jobs.as_ref().map_or_else(|| Jobs::default().rescues, |it| it.rescues);
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let seen = asking.ask(Store::workers)?;
    let (gone, left): (Vec<Seen>, Vec<Seen>) =
        seen.into_iter().partition(|it| witness::fate(&it.id) == Fate::Gone);
    let silent: Vec<String> = left
        .iter()
        .filter(|it| Duration::from_millis(it.silent_ms) >= crate::decide::workers::STALE_AFTER)
        .map(|it| format!("{} of {}", it.id, it.host))
        .collect();
    let dead = asking.ask(|store| {
        Ok(store.all_workers(true)?.into_iter().filter(|it| it.state == "dead").count())
    })?;
    let names: Vec<String> = gone.iter().map(|it| it.id.clone()).collect();
    let mut text = String::new();
    if dry_run {
        text += &report::named("gone, would be taken out", &names);
        text += &format!("{dead} that ended would be forgotten\n");
    } else {
        let (back, forgotten) = asking
            .ask(move |store| Ok((store.bury(&gone, rescues)?.len(), store.forget_dead()?)))?;
        text += &report::named("gone, taken out", &names);
        text += &format!("{back} jobs given back, {forgotten} workers forgotten\n");
    }
    if !silent.is_empty() {
        text += &report::named(
            "silent, and not seen from here: a running worker takes their jobs once their lease is over",
            &silent,
        );
    }
    Ok(text.into())
}
