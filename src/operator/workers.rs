//! `unwedge workers`: who works for the queue, and a person's hand on them. The list in the queue is the only record
//! there is of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::asking::Asking;
use super::{Said, time_of, wrong};
use crate::act::units;
use crate::cli::{self, Reaped};
use crate::config::{Services, Settings};
use crate::decide::leases::Seen;
use crate::manifest::{self, RUNNER, RUNNER_RUNTIME_DIR};
use crate::probes::engine::{self, Start};
use crate::probes::services;
use crate::probes::types;
use crate::probes::witness::{self, Fate, OfJob};
use crate::queue::spool::Waiting;
use crate::queue::store::Store;
use crate::queue::store::listing::{Worker, seen};
use crate::queue::{self, Fault};
use crate::report::workers as report;
use crate::runner::{container, left};
use crate::sys::clock::{Deadline, Now};
use crate::sys::limit::within;
use crate::sys::{text, user};

/// How often it is asked whether they are gone.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long systemctl may take to say how a unit is.
const SHOW_LIMIT: Duration = Duration::from_secs(5);
/// How long the process table may take.
const REAP_LIMIT: Duration = Duration::from_secs(5);

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
    let all = seen(asking.ask(move |store| store.all_workers(dead_too))?);
    Ok(if json { report::json(&all, now)? } else { report::text(&all) }.into())
}

/// Asks them to end, waits until they are gone, and takes them out of the list, with what is left of their containers: the unit of this host by systemd, which root alone may ask.
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
    let patience = time_of("--timeout", timeout)?;
    if ids.is_empty() && !here {
        return Err(wrong("which workers? give the beginning of their names, or --here"));
    }
    refuse_nameless(ids)?;
    let is_named = |name: &str| ids.iter().any(|id| name.starts_with(id.as_str()));
    // who asks the queue is not root any more; a unit works for the queue of the configuration alone
    let of_unit = of_unit(settings).filter(|_| at.queue.is_none());
    let of_unit = of_unit.filter(|name| here || is_named(name));
    let is_ours = of_unit.is_some() && rustix::process::geteuid().is_root();
    // whether there are such is not known before the unit is asked
    let is_other = |id: &&String| of_unit.as_ref().is_some_and(|own| !own.starts_with(id.as_str()));
    if let Some(other) = ids.iter().find(is_other).filter(|_| is_ours) {
        bail!(
            "{other} is not the worker of this host's unit: stop it by a call of its own; nobody was asked"
        );
    }
    if is_ours && !dry_run {
        let (systemctl, unit) = (&settings.host.systemctl, RUNNER.service());
        units::ask(systemctl, "stop", &unit).map_err(|why| anyhow!(why))?;
    }
    // as root still: a daemon's containers do not go with the unit
    let of_daemon = match &of_unit {
        Some(id) if is_ours && !dry_run => {
            let daemons = engines(settings).unwrap_or_default().into_iter();
            reap_of(daemons.filter(|it| is_daemons(it)), std::slice::from_ref(id), false)
        }
        Some(_) | None => (String::new(), false),
    };
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let all = asking.ask(|store| store.all_workers(false))?;
    let is_meant = |it: &&Worker| (here && witness::is_of_here(&it.id)) || is_named(&it.id);
    let meant: Vec<&Worker> = all.iter().filter(is_meant).collect();
    if let Some(none) = ids.iter().find(|id| !all.iter().any(|it| it.id.starts_with(id.as_str()))) {
        bail!("{none}: no such worker");
    }
    let is_asked = |it: &Worker| is_ours && of_unit.as_ref() == Some(&it.id);
    let others = meant.iter().filter(|it| !is_asked(it));
    if let Some((it, unit)) = others.into_iter().find_map(|it| Some((it, it.unit.as_ref()?))) {
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
    let left = wait_for_their_end(&mut asking, settings, &names, patience)?;
    if !left.is_empty() {
        let text = report::named("asked, and not gone yet", &left);
        return Ok(Said { text, code: 1 });
    }
    // an engine that was away may have kept what they could not take away
    let of_others = reap_containers(settings, &names, false);
    let mut text = report::named("ended", &names);
    let left: Vec<&str> = [&of_daemon, &of_others]
        .into_iter()
        .filter_map(|(text, are_left)| are_left.then_some(text.as_str()))
        .collect();
    text.extend(left.iter().copied());
    Ok(Said { text, code: u8::from(!left.is_empty()) })
}

/// Waits until these are out of the list; who is not by then. A queue that is away may be back before.
fn wait_for_their_end(
    asking: &mut Asking,
    settings: &Settings,
    names: &[String],
    patience: Duration,
) -> Result<Vec<String>> {
    let look = |asking: &mut Asking| still_there(asking, settings, names);
    let is_enough = |left: &Result<Vec<String>>| left.as_ref().is_ok_and(Vec::is_empty);
    let left = asking.ask_until(Deadline::after(patience), ASK_EVERY, look, is_enough);
    left.with_context(|| format!("asked, and not known to be gone: {}", names.join(", ")))
}

/// Who of these is still there; once nobody is, they are out of the list. Who is seen to be gone hears nothing any more, and
/// is taken out: it may have been the only one who would do that.
fn still_there(asking: &mut Asking, settings: &Settings, names: &[String]) -> Result<Vec<String>> {
    let (rescues, waiting) = (settings.jobs_or_default().rescues, waiting(settings));
    let all = asking.ask(Store::workers)?.into_iter();
    let is_gone = |it: &Seen| names.contains(&it.id) && waiting.fate_of(it) == Fate::Gone;
    let gone: Vec<Seen> = all.filter(is_gone).collect();
    if !gone.is_empty() {
        asking.ask(move |store| store.bury(&gone, rescues))?;
    }
    let names = names.to_vec();
    asking.ask(move |store| {
        let all = store.workers()?.into_iter().map(|it| it.id);
        let left: Vec<String> = all.filter(|id| names.contains(id)).collect();
        if left.is_empty() {
            store.forget_dead(Some(&names))?;
        }
        Ok(left)
    })
}

/// Of which workers results wait on this host's disk.
fn waiting(settings: &Settings) -> Waiting {
    Waiting::in_dir(&manifest::queue_dir(&settings.host))
}

/// An empty name is the beginning of every other, and comes of a variable that was not set.
fn refuse_nameless(ids: &[String]) -> Result<()> {
    if ids.iter().any(String::is_empty) {
        return Err(wrong("a worker without a name was named"));
    }
    Ok(())
}

/// The worker that is the unit of this host now.
fn of_unit(settings: &Settings) -> Option<String> {
    let unit = RUNNER.service();
    if settings.host.services != Services::Systemd || !services::is_running() {
        return None;
    }
    let names = std::slice::from_ref(&unit);
    let shown = services::show(&settings.host.systemctl, names, SHOW_LIMIT).ok()?;
    let pid = i32::try_from(shown.get(&unit)?.main_pid()?).ok()?;
    witness::of(pid).ok()
}

/// Shows the processes and the containers of jobs, and ends those whose worker is gone; where `ids` names workers, those of
/// these alone.
///
/// # Errors
/// The process table gave no answer.
pub fn reap(
    settings: &Settings,
    ids: &[String],
    only: Option<Reaped>,
    dry_run: bool,
) -> Result<Said> {
    refuse_nameless(ids)?;
    let nothing = || (String::new(), false);
    // before processes, as what runs in one is one of those, too
    let (containers, are_left) = match only {
        Some(Reaped::Processes) => nothing(),
        Some(Reaped::Containers) | None => reap_containers(settings, ids, dry_run),
    };
    let (processes, is_left) = match only {
        Some(Reaped::Containers) => nothing(),
        Some(Reaped::Processes) | None => reap_processes(ids, dry_run)?,
    };
    // last, as nothing more can be done as root after that
    let (of_service, are_left_there) = match only {
        Some(Reaped::Processes) => nothing(),
        Some(Reaped::Containers) | None => reap_containers_of_service(settings, ids, dry_run),
    };
    let code = u8::from(is_left || are_left || are_left_there);
    Ok(Said { text: processes + &containers + &of_service, code })
}

/// The processes; whether some are left that should not be.
fn reap_processes(ids: &[String], dry_run: bool) -> Result<(String, bool)> {
    let all = within(REAP_LIMIT, witness::of_jobs).map_err(|why| {
        anyhow!("the process table: {why}; something waits for storage that hangs: unwedge-mounts")
    })?;
    let is_meant = |it: &OfJob| {
        let named = |id: &String| it.worker.as_ref().is_some_and(|worker| worker.starts_with(id));
        ids.is_empty() || ids.iter().any(named)
    };
    let own = rustix::process::geteuid().as_raw();
    let (mut matched, mut foreign, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for it in all.into_iter().filter(is_meant) {
        let fate = it.worker.as_ref().map(|id| (witness::is_of_here(id), witness::is_over(id)));
        match fate {
            Some((true, true)) if own == 0 || it.uid == own => matched.push(it),
            Some((true, _)) => foreign.push(it),
            Some((false, _)) | None => unknown.push(it),
        }
    }
    let mut ended = 0;
    for it in matched.iter().filter(|_| !dry_run) {
        ended += usize::from(left::kill(it));
    }
    let what = if dry_run { "would be ended" } else { "ended" };
    let mut text = report::processes(&format!("of a worker that is gone, {what}"), &matched);
    text += &report::processes("of a worker that lives, or of another user: left alone", &foreign);
    text += &report::processes("whose worker cannot be told from here: left alone", &unknown);
    let left = if dry_run { 0 } else { matched.len() - ended };
    if left > 0 {
        text += &format!(
            "{left} of them cannot be ended: they wait for storage, unwedge-mounts says which\n"
        );
    }
    Ok((text, left > 0))
}

/// The engines that types are run by here.
fn engines(settings: &Settings) -> Result<BTreeSet<Vec<String>>, String> {
    let Some(jobs) = &settings.jobs else { return Ok(BTreeSet::new()) };
    let types = types::of(&jobs.dir)?.on_host(&jobs.run);
    Ok(types.good.into_iter().filter_map(|kind| Some(kind.container?.engine)).collect())
}

/// The same for containers of these engines; whether some may be left.
fn reap_containers(settings: &Settings, ids: &[String], dry_run: bool) -> (String, bool) {
    match engines(settings) {
        Ok(engines) => {
            reap_of(engines.into_iter().filter_map(|it| of_user(settings, it)), ids, dry_run)
        }
        Err(why) => (format!("containers were not looked for: {why}\n"), true),
    }
}

/// What an engine keeps for the service's user alone is not seen as root.
fn reap_containers_of_service(
    settings: &Settings,
    ids: &[String],
    dry_run: bool,
) -> (String, bool) {
    if !rustix::process::geteuid().is_root() {
        return (String::new(), false);
    }
    // where the types cannot be read, that was said already
    let mut engines = engines(settings).unwrap_or_default();
    engines.retain(|it| !is_daemons(it));
    if engines.is_empty() {
        return (String::new(), false);
    }
    match queue::leave_root(settings) {
        Ok(()) => reap_of(engines.into_iter().filter_map(|it| of_user(settings, it)), ids, dry_run),
        Err(Fault(why)) => {
            (format!("containers of the service's user were not looked for: {why}\n"), true)
        }
    }
}

/// The engine as its service has it, where this is the service's user: what it keeps is in the service's home, and not in that
/// of whoever asks. None where it can have nothing at work: what an engine without root runs goes with the runner's unit, and
/// what it has noted of that by the next start.
fn of_user(settings: &Settings, engine: Vec<String>) -> Option<Vec<String>> {
    // in a session of its own: what that user has put in its home for the engine to run has no hold on this terminal; and with
    // a limit of its own there, as whoever ends this program's group does not reach it
    const ALONE: [&str; 7] = [
        "/usr/bin/setsid",
        "--wait",
        "/usr/bin/timeout",
        "--signal=KILL",
        "15s",
        "/usr/bin/env",
        "--chdir=/",
    ];
    let own = rustix::process::geteuid().as_raw();
    let is_service =
        own != 0 && user::named(&settings.host.user, user::LIMIT).is_ok_and(|it| it.uid == own);
    let home = manifest::runner_home(&settings.host);
    if !is_service || !home.is_dir() || is_daemons(&engine) {
        return Some(engine);
    }
    let runtime = Path::new(RUNNER_RUNTIME_DIR).is_dir();
    let variables =
        [format!("HOME={}", text::path(&home)), format!("XDG_RUNTIME_DIR={RUNNER_RUNTIME_DIR}")];
    let alone = ALONE.map(str::to_owned).into_iter().chain(variables);
    runtime.then(|| alone.chain(engine).collect())
}

/// Whether a daemon has what it runs, whoever asks.
fn is_daemons(engine: &[String]) -> bool {
    engine::ask(engine).is_ok_and(|ground| ground.start == Start::Daemon)
}

fn reap_of(
    engines: impl Iterator<Item = Vec<String>>,
    ids: &[String],
    dry_run: bool,
) -> (String, bool) {
    let (mut text, mut is_left) = (String::new(), false);
    for engine in engines {
        let removed = container::orphans(&engine).and_then(|mut names| {
            let is_of = |name: &String| ids.iter().any(|id| container::is_of(name, id));
            names.retain(|name| ids.is_empty() || is_of(name));
            container::remove_all(&engine, names.iter().filter(|_| !dry_run))?;
            Ok(names)
        });
        match removed {
            Ok(names) => {
                let what = if dry_run { "would be removed" } else { "removed" };
                text += &report::named(
                    &format!("of the containers whose worker is gone, {what}"),
                    &names,
                );
            }
            Err(why) => {
                text += &format!("{}: containers may be left: {why}\n", engine.join(" "));
                is_left = true;
            }
        }
    }
    (text, is_left)
}

/// Takes out of the list who is gone.
///
/// # Errors
/// There is no answer.
pub fn cleanup(settings: &Settings, dry_run: bool, at: &cli::QueueAt) -> Result<Said> {
    let rescues = settings.jobs_or_default().rescues;
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let stale = asking.queue().terms.worker_stale;
    let seen = asking.ask(Store::workers)?;
    let waiting = waiting(settings);
    let (gone, left): (Vec<Seen>, Vec<Seen>) =
        seen.into_iter().partition(|it| waiting.fate_of(it) == Fate::Gone);
    let silent: Vec<String> = left
        .iter()
        .filter(|it| Duration::from_millis(it.silent_ms) >= stale)
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
            .ask(move |store| Ok((store.bury(&gone, rescues)?.len(), store.forget_dead(None)?)))?;
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
