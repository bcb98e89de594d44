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
use unwedge::operator::{exit_of, rows as verbs};
use unwedge::probes::facts;
use unwedge::probes::jobs::{self, QueueLook, Reading, StoredFacts};
use unwedge::probes::mountinfo::mount_points;
use unwedge::queue::{self, Fault, Where};
use unwedge::report::exit::Exit;
use unwedge::report::out;
use unwedge::report::queue::{self as report, QueueRound};
use unwedge::sys::clock::{Now, boottime};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = upkeep::run_if_asked(&args) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let cli = Jobs::parse();
    let loaded = match config::load(&Request::from_process(cli.common.config.clone(), mount_points))
    {
        Ok(loaded) => loaded,
        Err(errors) => {
            out::complain(&errors.to_string());
            return Exit::Usage.into();
        }
    };
    let settings = &loaded.settings;
    let done = match (&cli.verb, cli.apply) {
        (Some(_), true) => {
            out::complain("unwedge-jobs: --apply is for a round; a verb does what it says");
            return Exit::Usage.into();
        }
        (Some(JobsVerb::HoldBack { time, dry_run, except, paths }), false) => {
            let place = Where { below: paths.clone(), except: except.clone() };
            verbs::hold_back(settings, time, *dry_run, place, cli.common.json)
                .and_then(|text| said(&text))
        }
        (Some(JobsVerb::Recover { dry_run, rows }), false) => {
            verbs::recover(settings, *dry_run, rows, cli.common.json).and_then(|text| said(&text))
        }
        (None, true) => round(settings, cli.common.json),
        (Some(JobsVerb::Facts) | None, false) => show(settings, cli.common.json),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            out::complain(&format!("{}: {error:#}", JOBS.program));
            exit_of(&error).into()
        }
    }
}

/// What the queue holds, for a person or a program; nothing is written.
fn show(settings: &Settings, json: bool) -> anyhow::Result<Exit> {
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    let look = match &settings.queue {
        None => None,
        Some(_) => match queue::leave_root(settings) {
            Ok(()) => look(settings),
            Err(Fault(why)) => Some(QueueLook::unknown(why)),
        },
    };
    let now = Now::take()?;
    let round = QueueRound { look: look.as_ref(), ..of(&now) };
    report::say(&round, json)?;
    Ok(round.exit())
}

/// What a verb has to say.
fn said(text: &str) -> anyhow::Result<Exit> {
    out::print(text)?;
    Ok(Exit::Fine)
}

/// A round by the timer.
fn round(settings: &Settings, json: bool) -> anyhow::Result<Exit> {
    let start = boottime();
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    queue::leave_root(settings)?;
    let own = manifest::queue_dir(&settings.host);
    let Tried::Locked(_lock) = lock::tool(&own, JOBS.name)? else {
        out::complain(&format!("{}: busy: another round is at work", JOBS.program));
        return Ok(Exit::Fine);
    };

    // look
    let look = look(settings);
    let now = &Now::take()?;

    // act: keep what was seen, and tend a queue of our own
    let host = &settings.host;
    store::sweep_of(&JOBS, host, now);
    let kept = match look.as_ref().and_then(QueueLook::known) {
        Some(facts) => {
            let reading = Reading { at: now.stamp(), facts: facts.clone() };
            store::record(&own, &StoredFacts { reading: Some(reading) })
        }
        None => Ok(()),
    };
    let limit = QUEUE_TIMEOUT_MAX.saturating_sub(boottime().saturating_sub(start));
    let tended = upkeep::tend(settings, &own, now, limit);
    let trouble = tended.told(kept.err());

    // report
    let last_good = match &look {
        Some(QueueLook::Known(_)) => Some(now.utc_ms),
        Some(QueueLook::Unknown { last_good, .. }) => last_good.as_ref().map(|it| it.read_utc_ms),
        None => None,
    };
    let round = QueueRound {
        armed: sentinel::permission(&host.sentinel_dir, Kind::Jobs) == Permission::Armed,
        look: look.as_ref(),
        last_good_utc_ms: last_good,
        tended: Some(&tended),
        trouble: trouble.as_deref(),
        took: boottime().saturating_sub(start),
        ..of(now)
    };
    report::journal(&round);
    report::write_metrics(settings, &round)?;
    report::say(&round, json)?;
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

fn of(now: &Now) -> QueueRound<'_> {
    let (armed, took) = (false, Duration::ZERO);
    QueueRound { now, armed, look: None, last_good_utc_ms: None, tended: None, trouble: None, took }
}
