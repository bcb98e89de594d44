//! One round over the worker of this host: whether it is to be started, and if not, every reason why not.

use std::process::ExitCode;
use std::time::Duration;

use unwedge::act::round::{self, Turn};
use unwedge::act::worker_round::{self, WorkerActed};
use unwedge::cli::WorkerTool;
use unwedge::config::{Loaded, Starts};
use unwedge::decide::plan::Plan;
use unwedge::decide::worker::{World, decide};
use unwedge::manifest::WORKER;
use unwedge::probes::binds;
use unwedge::probes::facts::{self, OwnLock};
use unwedge::probes::records::MountsState;
use unwedge::probes::work::Work;
use unwedge::probes::worker_facts;
use unwedge::report::exit::Exit;
use unwedge::report::out;
use unwedge::report::round::{Mode, Round};
use unwedge::report::text::Detail;
use unwedge::report::{self, journal, json, metrics, program, text};
use unwedge::sys::clock::{Deadline, Now, boottime};

fn main() -> ExitCode {
    program::run(&WORKER, |cli: &WorkerTool| &cli.common, run)
}

fn run(cli: &WorkerTool, loaded: &Loaded) -> anyhow::Result<Exit> {
    let start = boottime();
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Repairs)?;
    let Some(worker) = &loaded.settings.worker else { return without(cli, &Now::take()?) };
    let settings = &loaded.settings;
    let deadline = Deadline::after(worker.deadline);
    let (mode, held, _lock) = match round::turn(settings, &WORKER, cli.apply, Duration::ZERO)? {
        Turn::DryRun => (Mode::DryRun, OwnLock::NotHeld, None),
        Turn::Apply(lock) => (Mode::Apply, OwnLock::Held, Some(lock)),
        Turn::Busy => return program::busy(&WORKER, cli.common.json),
    };

    // look
    let work = Work::look(settings);
    let (settings, faults) = &binds::complete(settings, &work);
    let facts = worker_facts::look(settings, worker, work, held)?;

    // decide
    let decision = decide(&World::of(settings, worker, &facts, faults));

    // act
    let acted: WorkerActed;
    let none = MountsState::default();
    let mut round = Round::of_worker(mode, &facts, &decision, &none);
    if mode == Mode::Apply {
        let rehearsed = round::rehearsal(loaded, &decision.plan, &text::plan(&round), &facts.now);
        acted = worker_round::carry_out(settings, worker, &facts, &decision, rehearsed, deadline);
        round = round.after_worker(&acted);
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

/// There is no worker to look after, and that is no fault.
fn without(cli: &WorkerTool, now: &Now) -> anyhow::Result<Exit> {
    let (plan, state) = (Plan::default(), MountsState::default());
    if cli.common.json {
        let round = Round::of_plan(&WORKER, now, Mode::of(cli.apply), &plan, &state);
        out::print(&json::render(&round)?)?;
    } else if !journal::is_ours() {
        out::print("no worker: there is no [worker] in the configuration; nothing to do\n")?;
    }
    Ok(Exit::Fine)
}
