//! `unwedge jobs submit`: files become jobs of a type. What is said is how they stand afterwards, and where nobody is
//! there to take them the command that starts somebody.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};

use super::asking::Asking;
use super::{Said, start, time_of, wrong};
use crate::act::offer::{absent, jobs_of};
use crate::cli;
use crate::config::Settings;
use crate::config::job_type::JobType;
use crate::probes::gate::{self, Watch};
use crate::probes::types;
use crate::queue::store::listing::Worker;
use crate::queue::store::{Standing, Submitted};
use crate::report::workers::NO_WORKER;
use crate::report::{out, submit as report};
use crate::sys::clock::{Deadline, Now};
use crate::sys::text;

/// How often it is asked whether they are over.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long it may take to look which files are there: another host may have them, and somebody waits.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Puts them in.
///
/// # Errors
/// Nothing is put in.
pub fn submit(settings: &Settings, asked: &cli::Submit, json: bool, now: &Now) -> Result<Said> {
    let patience = time_of("--timeout", &asked.timeout)?;
    let kind = kind_of(settings, &asked.kind).map_err(|why| wrong(format!("{why:#}")))?;
    let base = std::env::current_dir().context("the working directory")?;
    let mut all = jobs_of(&kind, &asked.files, &base, &Watch::of(settings)).map_err(wrong)?;
    for job in &mut all {
        job.priority = asked.priority.unwrap_or(job.priority);
        job.stamp.clone_from(&asked.stamp);
    }
    let at = asked.at.queue.as_deref();
    let may_start = settings.jobs.as_ref().is_some_and(|jobs| jobs.autostart) && at.is_none();
    let may_start = may_start && !asked.dry_run;
    // what only root may ask for comes first
    let mut started = (may_start && start::is_wanted(settings, &asked.kind))
        .then(|| start::start(settings, false));
    let mut asking =
        if asked.dry_run { Asking::to(settings, at)? } else { Asking::making(settings, at)? };
    // a dry run makes no queue
    let is_made = !asked.dry_run || asking.is_made()?;
    let (workers, refuses) = if is_made {
        asking.ask(|store| {
            Ok((store.all_workers(false)?, store.refuses(env!("CARGO_PKG_VERSION"))?))
        })?
    } else {
        (Vec::new(), None)
    };
    let nobody = nobody_for(&kind, &workers, refuses.as_deref());
    let nobody = match nobody {
        Some(_) if may_start => {
            // what is put in waits for somebody, whoever could start one
            let started = started.take().unwrap_or_else(|| start::start(settings, false));
            let workers = asking.ask(|store| store.all_workers(false))?;
            let nobody = nobody_for(&kind, &workers, refuses.as_deref());
            match (nobody, started.err()) {
                (Some(nobody), Some(why)) => Some(format!("{nobody}; to start one here: {why:#}")),
                (nobody, _) => nobody,
            }
        }
        nobody => nobody,
    };
    if let (Some(why), true) = (&nobody, asked.require_capable) {
        bail!("{why}; nothing was put in");
    }
    let gone = absent(&all, &gate::open(&settings.host.run_dir), LOOK_LIMIT).ok();
    if let (Some([first, ..]), false) = (gone.as_deref(), json) {
        let first = all.get(*first).map_or("", |it| it.input.as_str());
        out::complain(&format!(
            "{} of {} files are not there on this host: {}",
            gone.iter().flatten().count(),
            all.len(),
            first
        ));
    }
    if asked.dry_run {
        let known = if is_made { asking.known(&all)? } else { BTreeMap::new() };
        return Ok(report::would(&all, &known, nobody.as_deref(), json, now)?.into());
    }
    let put = asking.put(&all)?;
    let new = put.iter().filter(|it| it.is_new).count();
    let patience = if asked.wait { patience } else { Duration::ZERO };
    let (stand, unknown) = wait(&mut asking, put, Deadline::after(patience));
    let told = report::Came {
        stand: &stand,
        unknown: unknown.as_deref(),
        new,
        absent: gone.as_ref().map(Vec::len),
        nobody: nobody.as_deref(),
        waited: asked.wait,
    };
    Ok(Said { text: report::text(&told, json, now)?, code: told.code() })
}

/// The type of this name, or of this file.
fn kind_of(settings: &Settings, named: &str) -> Result<JobType> {
    let host = settings.jobs_or_default();
    if named.contains('/') {
        let said = std::fs::read_to_string(named).with_context(|| named.to_owned())?;
        let kind = JobType::parse(Path::new(named), &said).map_err(Error::msg)?;
        return kind.on_host(&host.run).map_err(Error::msg);
    }
    let dir = &host.dir;
    let types = types::of(dir).map_err(|why| anyhow!(why))?;
    if let Some((_, why)) = types.bad.iter().find(|(name, _)| name == named) {
        bail!("{why}");
    }
    let known: Vec<String> = types.good.iter().map(|kind| kind.name.clone()).collect();
    let kind = types.good.into_iter().find(|kind| kind.name == named).with_context(|| {
        let known = text::list_or_none(&known);
        format!("{named}: no such type in {}; there are {known}", text::path(dir))
    })?;
    kind.on_host(&host.run).map_err(Error::msg)
}

/// Why nobody would take it now, with the command that helps.
fn nobody_for(kind: &JobType, workers: &[Worker], refuses: Option<&str>) -> Option<String> {
    let there: Vec<&Worker> = workers.iter().filter(|it| it.standing().takes_work()).collect();
    let can =
        |it: &&Worker| it.types.get(&kind.name).is_some_and(|mark| mark.digest == kind.digest());
    if there.iter().any(can) {
        return None;
    }
    if there.is_empty() {
        return Some(refuses.map_or_else(|| NO_WORKER.to_owned(), crate::report::jobs::too_old));
    }
    let hosts = |of: &dyn Fn(&Worker) -> bool| -> Vec<&str> {
        there.iter().filter(|it| of(it)).map(|it| it.host.as_str()).collect()
    };
    let lack = there.iter().find_map(|it| Some((it.lacks.get(&kind.name)?, &it.host)));
    let differ = hosts(&|it| it.types.contains_key(&kind.name));
    Some(match (lack, differ.is_empty()) {
        (_, false) => format!(
            "{} has another definition of {}: give all hosts the same file, and systemctl reload unwedge-runner there",
            differ.join(", "),
            kind.name
        ),
        (Some((lack, host)), true) => {
            format!("no worker can take {}: {host}: {}", kind.name, lack.why)
        }
        (None, true) => format!(
            "no worker knows {}: put its file into [jobs] dir there, and systemctl reload unwedge-runner",
            kind.name
        ),
    })
}

/// How those that were put in stand once they are over, or it is time; and why that is not known, where a queue that was away
/// is not back by then.
fn wait(
    asking: &mut Asking,
    put: Vec<Submitted>,
    deadline: Deadline,
) -> (Vec<Standing>, Option<String>) {
    let ids: Vec<i64> = put.iter().map(|it| it.id).collect();
    let mut stand: Vec<Standing> = put.into_iter().map(Standing::from).collect();
    // a file that was named twice is one job
    stand.sort_unstable_by_key(|it| it.id);
    stand.dedup_by_key(|it| it.id);
    let mut is_said = false;
    let look = |asking: &mut Asking| {
        let ids = ids.clone();
        let now = asking.ask(move |store| store.stand(&ids));
        if let Some(why) = now.as_ref().err().filter(|_| !is_said) {
            is_said = true;
            out::complain(&format!("{why:#}; it is asked again until the time is over"));
        }
        if let Ok(now) = &now {
            stand.clone_from(now);
        }
        now.map(|now| now.iter().all(|it| it.state.is_over()))
    };
    let seen = asking.ask_until(deadline, ASK_EVERY, look, |seen| matches!(seen, Ok(true)));
    let unknown = seen.err().map(|why| format!("{why:#}"));
    (stand, unknown)
}
