//! From a verb of the command line to the file that does it.

use anyhow::Result;

use super::{
    Said, binds, config as check, debts, drill, hold, incidents, jobs, lanes, mounts, queue,
    sentinel, smoke, smoke_via, start, state, status, submit, worker, workers,
};
use crate::cli::{
    BindsVerb, ConfigVerb, DrillVerb, HoldVerb, JobsOf, LanesVerb, MountsVerb, QueueVerb,
    SentinelVerb, StateVerb, Unwedge, Verb, WorkerVerb, WorkersVerb,
};
use crate::config::{Loaded, Settings, Starts};
use crate::probes::facts;
use crate::queue::store::change::Change;
use crate::report::round::Mode;
use crate::report::said as report;
use crate::sys::clock::Now;

/// Does what the verb says.
///
/// # Errors
/// It could not be done.
pub fn with_config(cli: &Unwedge, loaded: &Loaded) -> Result<Said> {
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Repairs)?;
    let (now, json) = (Now::take()?, cli.common.json);
    let has_json = matches!(
        cli.verb,
        Verb::Debts
            | Verb::Incidents { .. }
            | Verb::Hold(HoldVerb::List)
            | Verb::Sentinel(SentinelVerb::List)
            | Verb::Status(_)
            | Verb::Lanes(LanesVerb::List { .. })
            | Verb::Workers(WorkersVerb::List { .. })
            | Verb::Queue(QueueVerb::Check { .. })
    );
    let is_of_jobs = matches!(&cli.verb, Verb::Jobs(verb) if !matches!(verb, JobsOf::Logs { .. }));
    let said = said(cli, loaded, json, &now)?;
    if json && !has_json && !is_of_jobs {
        let mode = cli.verb.is_dry_run().map(|is_dry| Mode::of(!is_dry));
        let text = report::json(&said.text, said.code, mode, &now)?;
        return Ok(Said { text, code: said.code });
    }
    Ok(said)
}

/// What a verb says; as JSON where it has a form of its own for that.
fn said(cli: &Unwedge, loaded: &Loaded, json: bool, now: &Now) -> Result<Said> {
    let settings = &loaded.settings;
    let said = match &cli.verb {
        Verb::Jobs(verb) => return of_jobs(settings, verb, json, now),
        Verb::Lanes(verb) => return of_lanes(settings, verb, json, now),
        Verb::Workers(verb) => return of_workers(settings, verb, json, now),
        Verb::Queue(QueueVerb::Check { at }) => return queue::check(settings, at, json, now),
        Verb::Queue(QueueVerb::WantVersion { version, dry_run, at }) => {
            return queue::want_version(settings, version, *dry_run, at);
        }
        Verb::Status(asked) => return status::status(settings, asked, json),
        Verb::Config(ConfigVerb::Check) => return Ok(check::check(loaded)),
        Verb::Config(ConfigVerb::Show) => Ok(loaded.show()),
        Verb::Sentinel(SentinelVerb::List) => sentinel::list(loaded, json, now),
        Verb::Sentinel(SentinelVerb::Arm { kind, because, dry_run }) => {
            sentinel::arm(loaded, kind, because.as_deref(), *dry_run, now)
        }
        Verb::Sentinel(SentinelVerb::Disarm { kind, dry_run }) => {
            sentinel::disarm(loaded, kind, *dry_run)
        }
        Verb::Hold(HoldVerb::Set { kind, time, because, dry_run }) => {
            hold::set(settings, kind, time, because, *dry_run, now)
        }
        Verb::Hold(HoldVerb::List) => hold::list(settings, json, now),
        Verb::Hold(HoldVerb::Clear { kind, dry_run }) => hold::clear(settings, kind, *dry_run, now),
        Verb::State(StateVerb::Reset { record, dry_run }) => {
            state::reset(settings, record, *dry_run, now)
        }
        Verb::Mounts(MountsVerb::Forget { path, dry_run }) => {
            mounts::forget(settings, path, *dry_run, now)
        }
        Verb::Binds(BindsVerb::Guard { undo, dry_run }) => {
            binds::guard(settings, *undo, *dry_run, now)
        }
        Verb::Worker(WorkerVerb::Restart { when_idle, time, dry_run }) => {
            worker::restart(settings, *when_idle, time, *dry_run)
        }
        Verb::Drill(DrillVerb::Mount { path, verdict }) => drill::mount(settings, path, verdict),
        Verb::Drill(DrillVerb::Alert { time, dry_run }) => {
            drill::alert(settings, time, *dry_run, json, now)
        }
        Verb::Debts => debts::list(settings, json, now),
        Verb::Incidents { id } => incidents::tell(settings, id.as_deref(), json, now),
        Verb::Demo { .. }
        | Verb::Faultfs(_)
        | Verb::Generate { .. }
        | Verb::Install(_)
        | Verb::Uninstall(_)
        | Verb::Doctor
        | Verb::Run(_)
        | Verb::CanWrite { .. } => Ok(String::new()),
    };
    said.map(Said::from)
}

fn of_jobs(settings: &Settings, verb: &JobsOf, json: bool, now: &Now) -> Result<Said> {
    match verb {
        JobsOf::Submit(asked) => submit::submit(settings, asked, json, now),
        JobsOf::List { filter, most, at } => jobs::list(settings, filter, *most, at, json, now),
        JobsOf::Show { id, at } => jobs::show(settings, *id, at, json, now),
        JobsOf::Why { id, at } => jobs::why(settings, *id, at, json, now),
        JobsOf::Logs { id, nth, at } => jobs::logs(settings, *id, *nth, at),
        JobsOf::Retry(asked) => jobs::change(settings, asked, &Change::Retry, json, now),
        JobsOf::Cancel(asked) => jobs::change(settings, asked, &Change::Cancel, json, now),
        JobsOf::Release(asked) => jobs::change(settings, asked, &Change::Release, json, now),
        JobsOf::Smoke { timeout, via: Some(intake), file: Some(file), at } => {
            smoke_via::smoke(settings, &smoke_via::Via { intake, file }, timeout, at, json, now)
        }
        JobsOf::Smoke { timeout, via: _, file: _, at } => {
            smoke::smoke(settings, timeout, at, json, now)
        }
        JobsOf::Quarantine { rule, because, dry_run, at } => {
            jobs::quarantine(settings, rule, because, *dry_run, at, json, now)
        }
    }
}

fn of_lanes(settings: &Settings, verb: &LanesVerb, json: bool, now: &Now) -> Result<Said> {
    match verb {
        LanesVerb::List { at } => lanes::list(settings, at, json, now),
        LanesVerb::Pause { types, because, dry_run, at } => {
            lanes::pause(settings, types, because, *dry_run, at)
        }
        LanesVerb::Resume { types, dry_run, at } => lanes::resume(settings, types, *dry_run, at),
    }
}

fn of_workers(settings: &Settings, verb: &WorkersVerb, json: bool, now: &Now) -> Result<Said> {
    match verb {
        WorkersVerb::List { dead, at } => workers::list(settings, *dead, at, json, now),
        WorkersVerb::Stop { ids, here, timeout, dry_run, at } => {
            workers::stop(settings, ids, *here, timeout, *dry_run, at)
        }
        WorkersVerb::Start { dry_run } => start::start(settings, *dry_run),
        WorkersVerb::Reap { ids, only, dry_run } => workers::reap(settings, ids, *only, *dry_run),
        WorkersVerb::Cleanup { dry_run, at } => workers::cleanup(settings, *dry_run, at),
    }
}
