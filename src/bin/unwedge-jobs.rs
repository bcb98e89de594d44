//! One round over the job queue: look, keep what was seen, report. It runs as the service user. To the database of
//! another worker it writes nothing, but by two verbs; a queue of our own it tends, where that is permitted.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use unwedge::act::lock::{self, Tried};
use unwedge::act::{store, upkeep};
use unwedge::cli::{Jobs, JobsVerb};
use unwedge::config::queue::QUEUE_TIMEOUT_MAX;
use unwedge::config::sentinel::{self, Kind, Permission};
use unwedge::config::{self, Request, Settings, Starts};
use unwedge::manifest::{self, JOBS};
use unwedge::operator::{exit_of, rows as verbs, wrong};
use unwedge::probes::facts;
use unwedge::probes::jobs::{self, QueueLook, Reading, StoredFacts};
use unwedge::probes::mountinfo::mount_points;
use unwedge::queue::{self, Fault, Where};
use unwedge::report::exit::{self, Exit};
use unwedge::report::queue::{self as report, QueueRound};
use unwedge::report::round::Mode;
use unwedge::report::{out, program};
use unwedge::sys::clock::{Now, boottime};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = upkeep::run_if_asked(&args) {
        return exit::of_copy(code);
    }
    let cli = Jobs::parse();
    let loaded = config::load(&Request::from_process(cli.common.config.clone(), mount_points));
    let (exit, why) = match loaded.as_ref().map(|it| run(&cli, &it.settings)) {
        Ok(Ok(exit)) => return exit.into(),
        Ok(Err(error)) => (exit_of(&error), format!("{}: {error:#}", JOBS.program)),
        Err(errors) => (Exit::Usage, errors.to_string()),
    };
    program::failed(&JOBS, &cli.common, exit.code(), &why)
}

/// What it was called for; whatever that prints comes last.
fn run(cli: &Jobs, settings: &Settings) -> anyhow::Result<Exit> {
    match (&cli.verb, cli.apply) {
        (Some(_), true) => Err(wrong("--apply is for a round; a verb does what it says")),
        (Some(JobsVerb::HoldBack { time, dry_run, except, paths }), false) => {
            let place = Where { below: paths.clone(), except: except.clone() };
            verbs::hold_back(settings, time, *dry_run, place, cli.common.json)
                .and_then(|text| print(&text))
        }
        (Some(JobsVerb::Recover { dry_run, rows }), false) => {
            verbs::recover(settings, *dry_run, rows, cli.common.json).and_then(|text| print(&text))
        }
        (Some(JobsVerb::Facts), false) => tell(settings, cli.common.json),
        (None, apply) => round(settings, Mode::of(apply), cli.common.json),
    }
}

/// What the queue holds, for a person or a program; nothing is written.
fn tell(settings: &Settings, json: bool) -> anyhow::Result<Exit> {
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    let look = settings.queue.as_ref().and_then(|_| match queue::leave_root(settings) {
        Ok(()) => look(settings),
        Err(Fault(why)) => Some(QueueLook::unknown(why)),
    });
    let now = Now::take()?;
    report::say_facts(look.as_ref(), &now, json)?;
    Ok(of(&now, look.as_ref()).exit())
}

/// What a verb has to say.
fn print(text: &str) -> anyhow::Result<Exit> {
    out::print(text)?;
    Ok(Exit::Fine)
}

/// A round by the timer, or what it would do now: then nothing is written and no lock taken.
fn round(settings: &Settings, mode: Mode, json: bool) -> anyhow::Result<Exit> {
    let start = boottime();
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    if mode == Mode::Apply || settings.queue.is_some() || !settings.heartbeat.is_empty() {
        queue::leave_root(settings)?;
    }
    let own = manifest::queue_dir(&settings.host);
    let lock = match mode {
        Mode::DryRun => None,
        Mode::Apply => Some(lock::tool(&own, JOBS.name)?),
    };
    if !matches!(lock, None | Some(Tried::Locked(_))) {
        return program::busy(&JOBS, json);
    }

    // look
    let look = look(settings);
    let now = &Now::take()?;

    // act: keep what was seen, and tend a queue of our own
    let limit = QUEUE_TIMEOUT_MAX.saturating_sub(boottime().saturating_sub(start));
    let (kept, tended) = match mode {
        Mode::DryRun => (Ok(()), upkeep::preview(settings, &own, now, limit)),
        Mode::Apply => {
            store::sweep_of(&JOBS, &settings.host, now);
            let facts = look.as_ref().and_then(QueueLook::known);
            let kept = facts.map_or(Ok(()), |facts| {
                let reading = Reading { at: now.stamp(), facts: facts.clone() };
                store::record(&own, &StoredFacts { reading: Some(reading) })
            });
            (kept, upkeep::tend(settings, &own, now, limit))
        }
    };
    let trouble = tended.told(kept.err());

    // report
    let round = QueueRound {
        armed: sentinel::permission(&settings.host.sentinel_dir, Kind::Jobs) == Permission::Armed,
        last_good_utc_ms: report::last_good(look.as_ref(), now),
        tended: Some(&tended),
        trouble: trouble.as_deref(),
        took: boottime().saturating_sub(start),
        ..of(now, look.as_ref())
    };
    if mode == Mode::Apply {
        report::journal(&round);
        report::write_metrics(settings, &round)?;
    }
    report::say(&round, mode, json)?;
    Ok(round.exit())
}

/// What is in the queue now; where nobody can tell, also what was there last.
fn look(settings: &Settings) -> Option<QueueLook> {
    let mut look = queue::look(settings.queue.as_ref()?);
    if let QueueLook::Unknown { last_good, .. } = &mut look {
        *last_good = Now::take().ok().and_then(|now| jobs::last_good(settings, &now));
    }
    Some(look)
}

fn of<'a>(now: &'a Now, look: Option<&'a QueueLook>) -> QueueRound<'a> {
    let (armed, took) = (false, Duration::ZERO);
    QueueRound { now, armed, look, last_good_utc_ms: None, tended: None, trouble: None, took }
}
