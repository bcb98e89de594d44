//! The binds of the table, put in place: at boot after the storage and before the worker, or by hand.
//! The same look, the same rules and the same hands as in a round of `unwedge-mounts`, of which it does
//! only the binds.

use std::process::ExitCode;
use std::time::Duration;

use unwedge::act::round::{self, Acted, Turn};
use unwedge::act::wait;
use unwedge::cli::Binds;
use unwedge::config::sentinel::Kind;
use unwedge::config::{Loaded, Settings, Starts};
use unwedge::decide::mounts::{World, decide};
use unwedge::decide::plan::Plan;
use unwedge::manifest::{BINDS, MOUNTS};
use unwedge::probes::binds;
use unwedge::probes::facts::{self, OwnLock};
use unwedge::probes::work::Work;
use unwedge::report::exit::Exit;
use unwedge::report::round::{Mode, Round};
use unwedge::report::text::Detail;
use unwedge::report::{self, journal, metrics, program};
use unwedge::sys::clock::{Deadline, boottime};

/// How long a round of `unwedge-mounts` that is at work is waited for: it may be putting back the very
/// binds that are wanted here.
const TURN_WAIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    program::run(&BINDS, |cli: &Binds| &cli.common, run)
}

fn run(cli: &Binds, loaded: &Loaded) -> anyhow::Result<Exit> {
    let start = boottime();
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Repairs)?;
    let deadline = Deadline::after(loaded.settings.mounts.deadline);
    if cli.apply {
        let work = wait::queue_known(&loaded.settings, deadline);
        let (table, _) = binds::complete(&loaded.settings, &work);
        wait::bases_live(&table, deadline);
    }
    let turn = match round::turn(&loaded.settings, &MOUNTS, cli.apply, Duration::ZERO)? {
        // it may be the very round that starts the worker, and that waits for us
        Turn::Busy if is_in_place(&loaded.settings)? => Turn::Busy,
        Turn::Busy => round::turn(&loaded.settings, &MOUNTS, cli.apply, TURN_WAIT)?,
        turn => turn,
    };
    let (mode, held, _lock) = match turn {
        Turn::Apply(lock) => (Mode::Apply, OwnLock::Held, Some(lock)),
        // what another round has not put in place by then is told by what is seen now
        Turn::DryRun | Turn::Busy => (Mode::DryRun, OwnLock::NotHeld, None),
    };

    // look
    let work = Work::look(&loaded.settings);
    let (settings, faults) = &binds::complete(&loaded.settings, &work);
    let facts = facts::look(settings, work, false, held)?;

    // decide
    let decision = decide(&World::of(Kind::Binds, settings, &facts, faults));

    // act
    let acted: Acted;
    let mut round = Round::of(&BINDS, mode, settings, &facts, faults, &decision.plan);
    if mode == Mode::Apply {
        acted = round::carry_out(&BINDS, settings, &facts, &decision, None, deadline);
        round = round.after(&acted);
    }
    round.took = boottime().saturating_sub(start);

    // report
    report::say(&round, cli.common.json, Detail::of(cli.common.verbose))?;
    if mode == Mode::Apply {
        journal::say(&round);
        metrics::write(settings, &round)?;
    }
    match round.lacks_a_bind().filter(|_| cli.require) {
        Some(why) => anyhow::bail!("not every bind is in place: {why}"),
        None => Ok(round.exit()),
    }
}

/// Whether every bind is there already.
fn is_in_place(settings: &Settings) -> anyhow::Result<bool> {
    let work = Work::look(settings);
    let (settings, faults) = &binds::complete(settings, &work);
    let facts = facts::look(settings, work, false, OwnLock::NotHeld)?;
    let plan = Plan::default();
    let round = Round::of(&BINDS, Mode::DryRun, settings, &facts, faults, &plan);
    Ok(round.lacks_a_bind().is_none())
}
