//! One round over the mounts of this host: look, decide, act, report.

use std::process::ExitCode;
use std::time::Duration;

use unwedge::act::round::{self, Acted, Turn};
use unwedge::cli::Mounts;
use unwedge::config::sentinel::Kind;
use unwedge::config::{Loaded, Starts};
use unwedge::decide::mounts::{World, decide};
use unwedge::manifest::MOUNTS;
use unwedge::probes::binds;
use unwedge::probes::facts::{self, OwnLock};
use unwedge::probes::work::Work;
use unwedge::report::exit::Exit;
use unwedge::report::round::{Mode, Round};
use unwedge::report::text::Detail;
use unwedge::report::{self, journal, metrics, program, text};
use unwedge::sys::clock::{Deadline, boottime};

fn main() -> ExitCode {
    program::run(&MOUNTS, |cli: &Mounts| &cli.common, run)
}

fn run(cli: &Mounts, loaded: &Loaded) -> anyhow::Result<Exit> {
    let start = boottime();
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Repairs)?;
    let deadline = Deadline::after(loaded.settings.mounts.deadline);
    let (mode, held, _lock) =
        match round::turn(&loaded.settings, &MOUNTS, cli.apply, Duration::ZERO)? {
            Turn::DryRun => (Mode::DryRun, OwnLock::NotHeld, None),
            Turn::Apply(lock) => (Mode::Apply, OwnLock::Held, Some(lock)),
            Turn::Busy => return program::busy(&MOUNTS, cli.common.json),
        };

    // look
    let work = Work::look(&loaded.settings);
    let (settings, faults) = &binds::complete(&loaded.settings, &work);
    let facts = facts::look(settings, work, loaded.files.is_empty(), held)?;

    // decide
    let decision = decide(&World::of(Kind::Mounts, settings, &facts, faults));

    // act
    let acted: Acted;
    let mut round = Round::of(&MOUNTS, mode, settings, &facts, faults, &decision.plan);
    if mode == Mode::Apply {
        let rehearsed = round::rehearsal(loaded, &decision.plan, &text::plan(&round), &facts.now);
        acted = round::carry_out(&MOUNTS, settings, &facts, &decision, Some(rehearsed), deadline);
        round = round.after(&acted);
    }
    round.took = boottime().saturating_sub(start);

    // report
    report::say(&round, cli.common.json, Detail::of(cli.common.verbose))?;
    if mode == Mode::Apply {
        journal::say(&round);
        metrics::write(settings, &round)?;
    }
    Ok(round.exit())
}
