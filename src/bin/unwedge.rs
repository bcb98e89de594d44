//! The operator's verbs.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use unwedge::act::child;
use unwedge::cli::{
    BindsVerb, ConfigVerb, DrillVerb, HoldVerb, MountsVerb, SentinelVerb, StateVerb, Unwedge, Verb,
    WorkerVerb,
};
use unwedge::config::{self, ConfigErrors, Loaded, Request};
use unwedge::kit;
use unwedge::operator::{
    binds, config as check, debts, doctor, drill, generate, hold, incidents, install, mounts, run,
    sentinel, state, worker,
};
use unwedge::probes::facts;
use unwedge::probes::mountinfo::mount_points;
use unwedge::report::exit::Exit;
use unwedge::report::out;
use unwedge::runner;
use unwedge::sys::clock::Now;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args).or_else(|| runner::run_if_asked(&args)) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let cli = Unwedge::parse();
    // what needs no configuration works without a right one too
    let said = match &cli.verb {
        Verb::Demo { on_stage: false } => return finish(kit::demo::set_up()),
        Verb::Demo { on_stage: true } => return finish(kit::demo::play()),
        Verb::Faultfs(options) => return finish(kit::command::faultfs(options)),
        Verb::Generate { dir } => generate::into(dir),
        Verb::CanWrite { user, dir } => install::prove(user, dir),
        Verb::Install(asked) => put(&cli, |loaded, now| install::install(asked, loaded, now)),
        Verb::Uninstall(asked) => put(&cli, |loaded, now| install::uninstall(asked, loaded, now)),
        Verb::Doctor => return doctor(&cli),
        Verb::Run(asked) => {
            return run::run(asked).map_or_else(|why| finish(Err(why)), ExitCode::from);
        }
        _ => match config::load(&Request::from_process(cli.common.config.clone(), mount_points)) {
            Ok(loaded) => with_config(&cli, &loaded),
            Err(errors) => {
                out::complain(&errors.to_string());
                return Exit::Usage.into();
            }
        },
    };
    finish(said.and_then(|said| Ok(out::print(&said)?)))
}

fn finish(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => Exit::Fine.into(),
        Err(error) => {
            out::complain(&format!("unwedge: {error:#}"));
            Exit::Failed.into()
        }
    }
}

/// Its exit code is that of the worst row.
fn doctor(cli: &Unwedge) -> ExitCode {
    let loaded = config::load(&Request::from_process(cli.common.config.clone(), mount_points));
    let looked = Now::take().map_err(anyhow::Error::from);
    let looked = looked.and_then(|now| doctor::doctor(loaded.as_ref(), cli.common.json, &now));
    match looked {
        Ok(grade) => ExitCode::from(grade.code()),
        Err(error) => finish(Err(error)),
    }
}

/// Puts in place or takes away: also with a configuration that does not hold, which is then a row of its own.
fn put(
    cli: &Unwedge,
    act: impl FnOnce(std::result::Result<&Loaded, &ConfigErrors>, &Now) -> Result<String>,
) -> Result<String> {
    if cli.common.json {
        bail!("this verb has no JSON");
    }
    let loaded = config::load(&Request::from_process(cli.common.config.clone(), mount_points));
    act(loaded.as_ref(), &Now::take()?)
}

fn with_config(cli: &Unwedge, loaded: &Loaded) -> Result<String> {
    facts::refuse_own_paths_that_may_hang(&loaded.settings)?;
    let (now, settings, json) = (Now::take()?, &loaded.settings, cli.common.json);
    let has_json = matches!(
        cli.verb,
        Verb::Debts
            | Verb::Incidents { .. }
            | Verb::Hold(HoldVerb::List)
            | Verb::Sentinel(SentinelVerb::List)
    );
    if json && !has_json {
        bail!(
            "this verb has no JSON; those with one are debts, incidents, hold list and sentinel list"
        );
    }
    match &cli.verb {
        Verb::Config(ConfigVerb::Check) => Ok(check::check(loaded)),
        Verb::Config(ConfigVerb::Show) => Ok(loaded.show()),
        Verb::Sentinel(SentinelVerb::List) => sentinel::list(loaded, json),
        Verb::Sentinel(SentinelVerb::Arm { kind, because, dry_run }) => {
            sentinel::arm(loaded, kind, because.as_deref(), *dry_run, &now)
        }
        Verb::Sentinel(SentinelVerb::Disarm { kind, dry_run }) => {
            sentinel::disarm(loaded, kind, *dry_run)
        }
        Verb::Hold(HoldVerb::Set { kind, time, because, dry_run }) => {
            hold::set(settings, kind, time, because, *dry_run, &now)
        }
        Verb::Hold(HoldVerb::List) => hold::list(settings, json, &now),
        Verb::Hold(HoldVerb::Clear { kind, dry_run }) => {
            hold::clear(settings, kind, *dry_run, &now)
        }
        Verb::State(StateVerb::Reset { record, dry_run }) => {
            state::reset(settings, record, *dry_run, &now)
        }
        Verb::Mounts(MountsVerb::Forget { path, dry_run }) => {
            mounts::forget(settings, path, *dry_run, &now)
        }
        Verb::Binds(BindsVerb::Guard { undo, dry_run }) => {
            binds::guard(settings, *undo, *dry_run, &now)
        }
        Verb::Worker(WorkerVerb::Restart { when_idle, time, dry_run }) => {
            worker::restart(settings, *when_idle, time, *dry_run)
        }
        Verb::Drill(DrillVerb::Mount { path, verdict }) => drill::mount(settings, path, verdict),
        Verb::Drill(DrillVerb::Alert { time, dry_run }) => {
            drill::alert(settings, time, *dry_run, &now)
        }
        Verb::Debts => debts::list(settings, json, &now),
        Verb::Incidents { id } => incidents::tell(settings, id.as_deref(), json, &now),
        Verb::Demo { .. }
        | Verb::Faultfs(_)
        | Verb::Generate { .. }
        | Verb::Install(_)
        | Verb::Uninstall(_)
        | Verb::Doctor
        | Verb::Run(_)
        | Verb::CanWrite { .. } => Ok(String::new()),
    }
}
