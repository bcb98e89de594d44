//! One round over the mounts of this host: look, decide, act, report.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use unwedge::act::child;
use unwedge::act::lock::{self, Lock, Tried};
use unwedge::act::round::{self, Acted};
use unwedge::cli::Mounts;
use unwedge::config::sentinel::Permission;
use unwedge::config::{self, Loaded, Request};
use unwedge::decide::mounts::{World, decide};
use unwedge::decide::plan::{Hold, Plan, Reason};
use unwedge::probes::facts::{self, OwnLock, TOOL};
use unwedge::probes::mountinfo::mount_points;
use unwedge::probes::records::{MountsState, Rehearsal};
use unwedge::report::exit::Exit;
use unwedge::report::out;
use unwedge::report::round::{Mode, Round};
use unwedge::report::text::Detail;
use unwedge::report::{self, journal, json, metrics, text};
use unwedge::sys::clock::{Deadline, Now, boottime};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let cli = Mounts::parse();
    let loaded = match config::load(&Request::from_process(cli.common.config.clone(), mount_points))
    {
        Ok(loaded) => loaded,
        Err(errors) => {
            out::complain(&errors.to_string());
            return Exit::Usage.into();
        }
    };
    match run(&cli, &loaded) {
        Ok(exit) => exit.into(),
        Err(error) => {
            out::complain(&format!("unwedge-{TOOL}: {error:#}"));
            Exit::Failed.into()
        }
    }
}

fn run(cli: &Mounts, loaded: &Loaded) -> anyhow::Result<Exit> {
    let start = boottime();
    let settings = &loaded.settings;
    let deadline = Deadline::after(settings.mounts.deadline);
    facts::refuse_own_paths_that_may_hang(settings)?;
    let (mode, held, _own_lock) = match own_lock(cli, loaded)? {
        Locked::DryRun => (Mode::DryRun, OwnLock::NotHeld, None),
        Locked::Apply(lock) => (Mode::Apply, OwnLock::Held, Some(lock)),
        Locked::Busy => return busy(cli, &Now::take()?),
    };

    // look
    let facts = facts::look(settings, loaded.files.is_empty(), held)?;
    let now = &facts.now;

    // decide
    let decision = decide(&World {
        settings,
        observations: &facts.survey.observations,
        table: &facts.survey.table,
        units: &facts.units,
        gates: &facts.gates,
        state: &facts.state,
        debts: &facts.debts,
        now,
    });

    // act
    let mut round = Round {
        armed: facts.gates.permission == Permission::Armed,
        observations: &facts.survey.observations,
        present: &facts.survey.observations,
        orphans: facts.survey.orphans,
        table_seen: facts.survey.table.is_ok(),
        debts: facts.gates.unreadable.is_none().then_some(facts.debts.debts.len()),
        took: boottime().saturating_sub(start),
        ..Round::of_plan(now, mode, &decision.plan, &facts.state)
    };
    let acted: Acted;
    if mode == Mode::Apply {
        let rehearsal = Rehearsal {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: loaded.digest(),
            at: now.stamp(),
            plan_id: decision.plan.id(),
            plan: text::plan(&round).lines().map(str::to_owned).collect(),
        };
        acted = round::carry_out(settings, &facts, &decision, rehearsal, deadline);
        round.outcomes = &acted.outcomes;
        round.late_holds = &acted.holds;
        round.state = &acted.state;
        round.debts = round.debts.and(Some(acted.debts));
        round.trouble = acted.trouble.as_deref();
        round.present = acted.present.as_deref().unwrap_or(round.observations);
        round.took = boottime().saturating_sub(start);
    }

    // report
    report::say(&round, cli.common.json, Detail::of(cli.common.verbose))?;
    if mode == Mode::Apply {
        journal::say(&round);
        metrics::write(&settings.host.textfile_dir, &round)?;
    }
    Ok(round.exit())
}

/// An apply round has the tool's lock before it looks, so that two rounds never decide on the same
/// facts; a dry run takes none.
enum Locked {
    DryRun,
    Apply(Lock),
    Busy,
}

fn own_lock(cli: &Mounts, loaded: &Loaded) -> anyhow::Result<Locked> {
    if !cli.apply {
        return Ok(Locked::DryRun);
    }
    Ok(match lock::tool(&loaded.settings.host.run_dir, TOOL)? {
        Tried::Locked(lock) => Locked::Apply(lock),
        Tried::Busy => Locked::Busy,
    })
}

/// Another round is at work: its metrics stand, and this one did its job by leaving it alone.
fn busy(cli: &Mounts, now: &Now) -> anyhow::Result<Exit> {
    let why = "another round is at work";
    let plan = Plan { repairs: vec![], holds: vec![Hold::gate(Reason::Busy, why.to_owned())] };
    let state = MountsState::default();
    out::complain(&format!("unwedge-{TOOL}: busy: {why}"));
    if cli.common.json {
        out::print(&json::render(&Round::of_plan(now, Mode::Apply, &plan, &state))?)?;
    }
    Ok(Exit::Fine)
}
