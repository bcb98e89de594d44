//! The dry run of every tool, one after the other: what each would do now. A dry run writes nothing anywhere.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::{Finding, Host, Row};
use crate::config::overrides;
use crate::manifest::{CANARY, Start, Tool, content};
use crate::sys::command;

/// How much longer than its own deadline a dry run is waited for.
const GRACE: Duration = Duration::from_secs(10);

/// One tool's dry run.
#[derive(Debug)]
pub struct Rehearsed {
    /// The tool.
    pub tool: &'static Tool,
    /// What it printed: its JSON where that was asked for.
    pub said: String,
    /// How it went.
    pub row: Row,
}

/// Runs them; `config` is the file that was named on the command line.
#[must_use]
pub fn run(host: &Host<'_>, config: Option<&Path>, json: bool) -> Vec<Rehearsed> {
    let has_plan = |tool: &&&'static Tool| {
        matches!(tool.start, Start::Every { .. } | Start::AtBoot)
            && tool.name != CANARY.name
            && tool.is_needed(host.settings)
    };
    host.tools.iter().filter(has_plan).map(|tool| one(host, tool, config, json)).collect()
}

fn one(host: &Host<'_>, tool: &'static Tool, config: Option<&Path>, json: bool) -> Rehearsed {
    let mut argv: Vec<OsString> = vec![host.prefix.join("bin").join(tool.program).into()];
    argv.extend(
        config.into_iter().flat_map(|file| ["--config".into(), file.as_os_str().to_owned()]),
    );
    argv.extend(json.then(|| "--json".into()));
    let limit = content::longest_round(tool, host.settings) + GRACE;
    let (finding, said) = match command::run_with(&argv, &overrides::of_process(), limit) {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            let finding = match done.code {
                0 => Finding::ok(tool.name, "its dry run went well"),
                1 => Finding::unknown(
                    tool.name,
                    format!("something that has to be seen cannot be: {}", done.describe()),
                ),
                _ => Finding::fault(tool.name, done.describe()),
            };
            (finding.mended_by(tool.program), said)
        }
        Err(failure) => (
            Finding::unknown(tool.name, failure.to_string()).mended_by(tool.program),
            String::new(),
        ),
    };
    Rehearsed { tool, said, row: finding.of("dry-run") }
}
