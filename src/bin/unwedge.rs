//! The operator's verbs.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use unwedge::act::child;
use unwedge::cli::{Run, Unwedge, Verb};
use unwedge::config::{self, ConfigErrors, Loaded, Request, Settings};
use unwedge::kit;
use unwedge::operator::{Said, dispatch, doctor, failed, generate, install, run, wrong};
use unwedge::probes::mountinfo::mount_points;
use unwedge::report::exit::{self, Exit, WRONG_USAGE};
use unwedge::report::round::Mode;
use unwedge::report::{out, said};
use unwedge::runner;
use unwedge::sys::clock::Now;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = child::dispatch(&args).or_else(|| runner::run_if_asked(&args)) {
        return exit::of_copy(code);
    }
    let cli = match Unwedge::try_parse() {
        Ok(cli) => cli,
        Err(wrong) => return called_wrongly(&wrong, &args),
    };
    let json = cli.common.json;
    // what needs no configuration works without a right one too
    let said = match &cli.verb {
        Verb::Demo { .. } | Verb::Faultfs(_) if json => Err(wrong("it has no JSON")),
        Verb::Demo { on_stage: false } => return finish(kit::demo::set_up(), false),
        Verb::Demo { on_stage: true } => return finish(kit::demo::play(), false),
        Verb::Faultfs(options) => return finish(kit::command::faultfs(options), false),
        Verb::Generate { dir } => generate::into(dir).and_then(|text| as_asked(&cli, text)),
        Verb::CanWrite { user, dir } => {
            install::prove(user, dir).and_then(|text| as_asked(&cli, text))
        }
        Verb::Install(asked) => put(&cli, |loaded, now| install::install(asked, loaded, now)),
        Verb::Uninstall(asked) => put(&cli, |loaded, now| install::uninstall(asked, loaded, now)),
        Verb::Doctor => return doctor(&cli),
        Verb::Run(asked) => return run_files(&cli, asked),
        _ => match load(&cli) {
            Ok(loaded) => dispatch::with_config(&cli, &loaded),
            Err(errors) => return refused(&errors.to_string(), json),
        },
    };
    match said.and_then(|said| Ok((out::print(&said.text)?, said.code))) {
        Ok(((), code)) => ExitCode::from(code),
        Err(error) => finish(Err(error), json),
    }
}

fn load(cli: &Unwedge) -> std::result::Result<Loaded, ConfigErrors> {
    config::load(&Request::from_process(cli.common.config.clone(), mount_points))
}

/// Help and version come this way, too. Of verbs whose 2 is a fault that was found it is another code.
fn called_wrongly(wrong: &clap::Error, args: &[OsString]) -> ExitCode {
    let _ = wrong.print();
    if !wrong.use_stderr() {
        return Exit::Fine.into();
    }
    let verb = args.iter().enumerate().find(|(at, it)| {
        let is_file =
            at.checked_sub(1).and_then(|at| args.get(at)).is_some_and(|it| it == "--config");
        !is_file && !it.as_encoded_bytes().starts_with(b"-")
    });
    let is_graded = verb.is_some_and(|(_, it)| it == "status" || it == "doctor");
    let code = if is_graded { WRONG_USAGE } else { Exit::Usage.code() };
    // behind -- stand the words of a command
    if args.iter().take_while(|it| *it != "--").any(|it| it == "--json") {
        said::failed(&wrong.to_string(), code);
    }
    ExitCode::from(code)
}

/// Works through files: without any configuration too, but not past one that may say where commands have to run.
fn run_files(cli: &Unwedge, asked: &Run) -> ExitCode {
    let json = cli.common.json;
    let settings = match load(cli) {
        Ok(loaded) => loaded.settings,
        Err(_) if asked.mode.as_deref() == Some("direct") => Settings::default(),
        Err(errors) => {
            let more =
                "unwedge run: [jobs] may say where commands run; --mode direct goes without it";
            return refused(&format!("{errors}\n{more}"), json);
        }
    };
    run::run(asked, &settings, json).map_or_else(|why| finish(Err(why), json), ExitCode::from)
}

/// The configuration is wrong: nothing is done.
fn refused(why: &str, json: bool) -> ExitCode {
    out::complain(why);
    if json {
        said::failed(why, Exit::Usage.code());
    }
    Exit::Usage.into()
}

fn finish(done: Result<()>, json: bool) -> ExitCode {
    done.map_or_else(|error| failed(&error, json), |()| Exit::Fine).into()
}

/// Its exit code is that of the worst row.
fn doctor(cli: &Unwedge) -> ExitCode {
    let loaded = load(cli);
    let looked = Now::take().map_err(anyhow::Error::from);
    let looked = looked.and_then(|now| doctor::doctor(loaded.as_ref(), cli.common.json, &now));
    match looked {
        Ok(grade) => ExitCode::from(grade.code()),
        Err(error) => finish(Err(error), cli.common.json),
    }
}

/// Puts in place or takes away: also with a configuration that does not hold, which is then a row of its own.
fn put(
    cli: &Unwedge,
    act: impl FnOnce(std::result::Result<&Loaded, &ConfigErrors>, &Now) -> Result<String>,
) -> Result<Said> {
    let loaded = load(cli);
    let now = Now::take()?;
    as_asked(cli, act(loaded.as_ref(), &now)?)
}

/// The text, or the object that was asked for.
fn as_asked(cli: &Unwedge, text: String) -> Result<Said> {
    let mode = cli.verb.is_dry_run().map(|is_dry| Mode::of(!is_dry));
    Ok(if cli.common.json { said::json(&text, 0, mode, &Now::take()?)? } else { text }.into())
}
