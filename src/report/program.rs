//! What stands around the round of every program that acts: the words of its own children come first,
//! then the command line and the configuration; and however the round ends, that becomes the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use super::exit::{self, Exit};
use super::round::{Mode, Round};
use super::{json, out, said};
use crate::act::child;
use crate::cli::Common;
use crate::config::{self, Loaded, Request};
use crate::decide::plan::{Hold, Plan, Reason};
use crate::manifest::Tool;
use crate::probes::mountinfo::mount_points;
use crate::probes::records::MountsState;
use crate::sys::clock::Now;

/// Runs a tool; `common` are the flags on its command line that every tool has.
#[must_use]
pub fn run<C: Parser>(
    tool: &Tool,
    common: impl FnOnce(&C) -> &Common,
    round: impl FnOnce(&C, &Loaded) -> anyhow::Result<Exit>,
) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args) {
        return exit::of_copy(code);
    }
    let cli = C::parse();
    let common = common(&cli);
    let loaded = config::load(&Request::from_process(common.config.clone(), mount_points));
    let (exit, why) = match loaded.as_ref().map(|it| round(&cli, it)) {
        Ok(Ok(exit)) => return exit.into(),
        Ok(Err(error)) => (Exit::Failed, format!("{}: {error:#}", tool.program)),
        Err(errors) => (Exit::Usage, errors.to_string()),
    };
    failed(tool, common, exit.code(), &why)
}

/// A tool could not, and why: for people, and for a program that asked for JSON.
#[must_use]
pub fn failed(tool: &Tool, common: &Common, code: u8, why: &str) -> ExitCode {
    out::complain(why);
    if common.json {
        said::failed_as(tool.name, why, code);
    }
    ExitCode::from(code)
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
