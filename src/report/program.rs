//! What stands around the round of every program that acts: the words of its own children come first,
//! then the command line and the configuration; and however the round ends, that becomes the exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use super::exit::Exit;
use super::out;
use crate::act::child;
use crate::config::{self, Loaded, Request};
use crate::probes::mountinfo::mount_points;

/// Runs the program called `name`; `config` is what its command line says of the configuration file.
#[must_use]
pub fn run<C: Parser>(
    name: &str,
    config: impl FnOnce(&C) -> Option<PathBuf>,
    round: impl FnOnce(&C, &Loaded) -> anyhow::Result<Exit>,
) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
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
