//! Whether the probe can be trusted: a mount that is dead on purpose, where nobody else sees it, must be called dead.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::bail;
use unwedge::cli::Canary;
use unwedge::config::{Loaded, Starts};
use unwedge::kit::canary;
use unwedge::manifest::CANARY;
use unwedge::probes::facts;
use unwedge::report::exit::Exit;
use unwedge::report::{canary as report, out, program};
use unwedge::sys::clock::{Now, boottime};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args == ["--on-stage"] {
        return on_stage();
    }
    program::run(&CANARY, |cli: &Canary| &cli.common, run)
}

fn run(cli: &Canary, loaded: &Loaded) -> anyhow::Result<Exit> {
    let start = boottime();
    if cli.common.json {
        bail!("it has no JSON");
    }
    facts::refuse_own_paths_that_may_hang(&loaded.settings, Starts::Nothing)?;
    let now = Now::take()?;

    // look
    let sung = canary::ask();

    // report
    if cli.metrics {
        report::write(&loaded.settings, &sung, &now, boottime().saturating_sub(start))?;
    } else {
        out::print(&format!("{}\n", report::line(&sung)))?;
    }
    Ok(report::exit(&sung))
}

/// The copy that is started in a namespace of its own.
fn on_stage() -> ExitCode {
    let sung = canary::sing().and_then(|sung| Ok(out::print(&serde_json::to_string(&sung)?)?));
    match sung {
        Ok(()) => Exit::Fine.into(),
        Err(error) => {
            out::complain(&format!("{error:#}"));
            Exit::Failed.into()
        }
    }
}
