//! Runs jobs of our own queue by the types of this host. Before it begins: look at types and tools, decide how many at
//! once and how long it waits. Then the supervisor works until it is asked to end.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use unwedge::act::lock::{self, Tried};
use unwedge::act::store;
use unwedge::cli;
use unwedge::config::{Settings, Starts};
use unwedge::manifest::{self, RUNNER};
use unwedge::probes::{facts, witness};
use unwedge::queue::{self, Fault};
use unwedge::report::exit::{self, Exit};
use unwedge::report::runner::Standing;
use unwedge::runner::setup::{self, Setup};
use unwedge::runner::supervise::{self, Around, End, mode_of, names, say};
use unwedge::runner::{cgroup, sign, taking_in, wish};
use unwedge::sys::clock::{Now, boottime};
use unwedge::sys::manager::Manager;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = unwedge::runner::run_if_asked(&args) {
        return exit::of_copy(code);
    }
    let cli = cli::RunnerTool::parse();
    let ended = run(&cli).unwrap_or_else(|(exit, why)| {
        say(&why);
        exit
    });
    ended.into()
}

fn failed(error: impl std::fmt::Display) -> (Exit, String) {
    (Exit::Failed, format!("{error:#}"))
}

fn run(cli: &cli::RunnerTool) -> Result<Exit, (Exit, String)> {
    let began = boottime();
    // look
    let flags = wish::flags(cli);
    let wish = wish::read(cli.config.as_deref(), &flags)?;
    let settings = wish.loaded.settings.clone();
    let Some(queue) = settings.queue.clone() else {
        return Err((Exit::Unfit, "there is no [queue] in the configuration".to_owned()));
    };
    facts::refuse_own_paths_that_may_hang(&settings, Starts::Nothing).map_err(failed)?;
    queue::leave_root(&settings).map_err(failed)?;
    let own = manifest::queue_dir(&settings.host);
    let Tried::Locked(_lock) = lock::tool(&own, RUNNER.name).map_err(failed)? else {
        say("already running: another one has the lock; this one changes nothing");
        return Ok(Exit::Fine);
    };
    let manager = Manager::from_environment().map_err(failed)?;
    let is_service = std::env::var_os("INVOCATION_ID").is_some() && manager.is_there();
    let now = Now::take().map_err(failed)?;
    store::sweep_of(&RUNNER, &settings.host, &now);

    // decide
    let wait = wish::wait(&settings, cli.once, &now);
    let files = wish.loaded.files.iter().map(|file| file.display().to_string());
    // names alone: a value may be a secret
    let variables = unwedge::config::overrides::of_process().into_iter();
    let variables = variables.map(|(name, _)| name.to_string_lossy().into_owned());
    let given = flags.iter().map(|flag| flag.name.clone());
    let from: Vec<String> = files.chain(variables).chain(given).collect();
    let numbers = wish.numbers();
    let mut clamped = wish::Clamped::default();
    let (types, slots) = wish.sized(&[], &mut clamped);
    let setup = Setup {
        types,
        slots,
        run_dir: settings.host.run_dir.clone(),
        named: setup::named(&settings),
        dir: own.clone(),
        log_dir: Some(own.join(manifest::LOGS)),
        keep_dir: Some(own.clone()),
        service_dir: own,
        buckets: settings.bucket.clone(),
        unit: is_service.then(|| manifest::RUNNER.service()),
        once: cli.once,
        wait,
        numbers,
    };
    let (cgroups, no_limits) = cgroup::own(&setup.types, is_service);
    let id = witness::own().map_err(failed)?;
    say(&format!(
        "begins as {}: {}; {}; at most {slots} at once; settings from {}{}",
        id,
        names(setup.types.iter()),
        mode_of(setup.types.iter()),
        if from.is_empty() { "no file".to_owned() } else { from.join(", ") },
        if wait.is_zero() {
            String::new()
        } else {
            format!("; it was started often and waits {} s first", wait.as_secs())
        }
    ));

    // act, and report
    if !settings.intake.is_empty() && !cli.once {
        taking_in::follow(&settings);
    }
    let sign = sign::give(&settings);
    let told = settings.clone();
    let around = Around {
        manager: Some(manager),
        cgroups,
        no_limits,
        reread: Some(wish::anew(cli.config.clone(), flags, clamped)),
        tell: Some(Box::new(move |standing| {
            tell(&told, standing);
            if let Some(sign) = &sign {
                // where it cannot be given that was said
                let _ = sign.send(standing.clone());
            }
        })),
    };
    let end = supervise::run(setup, queue, around);
    if end.as_ref().is_ok_and(|it| matches!(it.end, End::Asked | End::WorkedOff)) {
        Standing::take_away(&settings);
    }
    let done = end
        .as_ref()
        .map_or_else(|_| String::new(), |it| format!(" {} done, {} failed;", it.done, it.failed));
    let uptime = boottime().saturating_sub(began).as_secs();
    let (exit, why) = match end.map(|it| it.end) {
        Ok(End::Asked) => (Exit::Fine, "it was asked to".to_owned()),
        Ok(End::WorkedOff) => (Exit::Fine, "nothing more can be claimed".to_owned()),
        Ok(End::Lost) => (Exit::Lost, "the queue knows it no more".to_owned()),
        Ok(End::TooOld(why)) => (Exit::Unfit, why),
        Err(Fault(why)) => (Exit::Failed, why),
    };
    say(&format!("{id} ends after {uptime} s:{done} {why}"));
    Ok(exit)
}

fn tell(settings: &Settings, standing: &Standing) {
    // where metrics cannot be written the checks say so
    if let Ok(now) = Now::take() {
        let _ = standing.write(settings, &now);
    }
}
