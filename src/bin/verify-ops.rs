//! The ritual before arming and after a change: every check, then the dry run of every tool. It only looks.

use std::process::ExitCode;

use clap::Parser as _;
use unwedge::act::child;
use unwedge::checks::{self, Grade, rehearsal};
use unwedge::cli::VerifyOps;
use unwedge::config::{self, Request, Settings, Starts};
use unwedge::manifest::VERIFY;
use unwedge::operator::install;
use unwedge::probes::facts;
use unwedge::probes::mountinfo::mount_points;
use unwedge::report::checks::{self as report, Shown};
use unwedge::report::exit::{self, WRONG_USAGE};
use unwedge::report::{out, program};
use unwedge::sys::clock::{Now, boottime};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args) {
        return exit::of_copy(code);
    }
    let cli = match VerifyOps::try_parse() {
        Ok(cli) => cli,
        Err(wrong) => {
            // help and version come this way too
            let _ = wrong.print();
            return ExitCode::from(if wrong.use_stderr() { WRONG_USAGE } else { 0 });
        }
    };
    if let Some(name) = cli.require.iter().find(|name| !checks::is_known(name)) {
        out::complain(&format!(
            "{}: --require {name}: no check and no tool is called so",
            VERIFY.program
        ));
        return ExitCode::from(WRONG_USAGE);
    }
    match run(&cli) {
        Ok(grade) => ExitCode::from(grade.code()),
        Err(error) => {
            let why = format!("{}: {error:#}", VERIFY.program);
            program::failed(&VERIFY, &cli.common, Grade::Unknown.code(), &why)
        }
    }
}

fn run(cli: &VerifyOps) -> anyhow::Result<Grade> {
    let start = boottime();
    let request = Request::from_process(cli.common.config.clone(), mount_points);
    let loaded = config::load(&request);
    let usual = Settings::default();
    let settings = loaded.as_ref().map_or(&usual, |loaded| &loaded.settings);
    facts::refuse_own_paths_that_may_hang(settings, Starts::Nothing)?;
    let now = Now::take()?;

    // look
    let (prefix, tools) = install::place(settings, &now)?;
    let config = loaded.as_ref().map_err(ToString::to_string);
    let host = checks::Host::new(settings, config, &prefix, &tools, &now);
    let mut rows = checks::run(&host, |_| true);
    let rehearsed = rehearsal::run(&host, cli.common.config.as_deref(), cli.common.json);
    rows.extend(rehearsed.iter().map(|it| it.row.clone()));

    // decide
    let grade = checks::worst(&rows).max(checks::required(&rows, &cli.require));

    // report
    if cli.common.json {
        out::print(&report::json(VERIFY.program, &rows, &rehearsed, &now)?)?;
    } else {
        out::print(&report::text(&rows, if cli.quiet { Shown::NotOk } else { Shown::All }))?;
        for it in rehearsed.iter().filter(|_| !cli.quiet) {
            out::print(&format!("\n$ {}\n{}", it.tool.program, it.said))?;
        }
    }
    if cli.metrics {
        report::write_metrics(&host, &rows, boottime().saturating_sub(start))?;
    }
    Ok(grade)
}
