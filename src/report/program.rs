//! What stands around the round of every program that acts: the words of its own children come first,
//! then the command line and the configuration; and however the round ends, that becomes the exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::exit::{self, Exit};
use super::round::{Mode, Round};
use super::{json, out};
use crate::act::child;
use crate::config::{self, Loaded, Request};
use crate::decide::plan::{Hold, Plan, Reason};
use crate::manifest::Tool;
use crate::probes::mountinfo::mount_points;
use crate::probes::records::MountsState;
use crate::sys::clock::Now;

/// Runs the program called `name`; `config` is what its command line says of the configuration file.
#[must_use]
pub fn run<C: Parser>(
    name: &str,
    config: impl FnOnce(&C) -> Option<PathBuf>,
    round: impl FnOnce(&C, &Loaded) -> anyhow::Result<Exit>,
) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args) {
        return exit::of_copy(code);
    }
    let cli = C::parse();
    let loaded = match config::load(&Request::from_process(config(&cli), mount_points)) {
        Ok(loaded) => loaded,
        Err(errors) => {
            out::complain(&errors.to_string());
            return Exit::Usage.into();
        }
    };
    match round(&cli, &loaded) {
        Ok(exit) => exit.into(),
        Err(error) => {
            out::complain(&format!("{name}: {error:#}"));
            Exit::Failed.into()
        }
    }
}

/// Another round is at work: its metrics stand, and this one did its job by leaving it alone.
///
/// # Errors
/// It cannot be told.
pub fn busy(tool: &'static Tool, as_json: bool) -> anyhow::Result<Exit> {
    let why = "another round is at work";
    let plan = Plan { repairs: vec![], holds: vec![Hold::gate(Reason::Busy, why.to_owned())] };
    out::complain(&format!("{}: busy: {why}", tool.program));
    if as_json {
        let (state, now) = (MountsState::default(), Now::take()?);
        let round = Round::of_plan(tool, &now, Mode::Apply, &plan, &state);
        out::print(&json::render(&round)?)?;
    }
    Ok(Exit::Fine)
}
