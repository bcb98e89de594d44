//! `unwedge workers start`: the runner of this host, by its unit where systemd has one, else as a process that stays. The
//! list in the queue says whether it is there; a runner that does not come up leaves nothing behind.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::asking::Asking;
use super::{Said, types_of_host};
use crate::act::units::{self, Up};
use crate::config::job_type::JobType;
use crate::config::{Services, Settings, overrides};
use crate::manifest::{self, RUNNER};
use crate::probes::services;
use crate::probes::witness;
use crate::queue::store::listing::Worker;
use crate::sys::clock::Deadline;
use crate::sys::{command, text};

/// How often it is tried, and how long each may take.
const TRIES: u32 = 3;
const EACH: Duration = Duration::from_secs(10);
/// How often the queue is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How much of what it said is told, bytes.
const TAIL: usize = 2048;
/// How long the journal may take.
const SAID_LIMIT: Duration = Duration::from_secs(5);
/// Where a runner that is no service says what it does, beside its records.
const LOG: &str = "runner.log";

/// Starts it.
///
/// # Errors
/// It does not come up, with the end of what it said.
pub fn start(settings: &Settings, dry_run: bool) -> Result<Said> {
    if settings.jobs.is_none() {
        bail!("there is no [jobs] in the configuration: this host runs none");
    }
    // what only root may ask for comes first
    let unit = RUNNER.service();
    let is_unit = has_unit(settings, &unit);
    let is_asked = is_unit && !dry_run && rustix::process::geteuid().is_root();
    if is_asked {
        units::ask(&settings.host.systemctl, "start", &unit).map_err(|why| anyhow!(why))?;
        // it is there once its queue has answered; who asks the queue is not root any more
        match units::come_up(&settings.host.systemctl, &unit, EACH * TRIES) {
            Ok(Up::Active) => {}
            Ok(Up::Failed | Up::Not(_)) => bail!("{}", gave_up(settings, &unit)),
            Err(why) => bail!("{why}"),
        }
    }
    let types = types_of_host(settings);
    let is_hosts = |it: &Worker| it.unit.as_ref() == Some(&unit) || is_for(it, types.as_ref());
    let mut asking = Asking::to(settings, None)?;
    if !is_asked
        && asking.is_made()?
        && let Some(there) = here(&mut asking, is_hosts)?
    {
        return Ok(format!("worker {} is there already\n", there.id).into());
    }
    if is_unit && !is_asked && !dry_run {
        bail!("{unit} is not up, and only root may start it: systemctl start {unit}");
    }
    if dry_run {
        let what = if is_unit { unit } else { "a process of its own".to_owned() };
        return Ok(format!("would start {what}\n").into());
    }
    let mut asking = Asking::making(settings, None)?;
    if is_unit {
        return match wait(
            &mut asking,
            |it| it.unit.as_deref() == Some(&unit),
            EACH * TRIES,
            || true,
        )? {
            Some(it) => Ok(format!("{unit} is there: worker {}\n", it.id).into()),
            None => bail!("{unit} is up, and the queue knows no worker of it: unwedge queue check"),
        };
    }
    let (program, dir) = (program()?, manifest::queue_dir(&settings.host));
    std::fs::create_dir_all(&dir).with_context(|| text::path(&dir))?;
    let log = dir.join(LOG);
    for _ in 0..TRIES {
        let mut argv = vec![OsString::from(program.clone())];
        if let Some(file) = &settings.file {
            argv.extend([OsString::from("--config"), file.into()]);
        }
        let file = std::fs::File::create(&log).with_context(|| text::path(&log))?;
        let mut process = command::start_detached(&argv, file).context("start unwedge-runner")?;
        let pid = format!(":{}:", process.pid.as_raw_nonzero());
        let came =
            wait(&mut asking, |it| it.id.contains(&pid), EACH, || !process.within(Duration::ZERO));
        match came {
            Ok(Some(it)) => return Ok(format!("worker {} is there\n", it.id).into()),
            Ok(None) => process.kill(),
            Err(error) => {
                process.kill();
                return Err(
                    error.context("whether it came up is not known, and nothing of it is left")
                );
            }
        }
    }
    let said = std::fs::read(&log).unwrap_or_default();
    bail!(
        "it did not come up in {TRIES} tries, and nothing of it is left; it said: {}",
        text::tail(&said, TAIL)
    )
}

/// Whether this is root on a host where systemd has the runner, and nobody takes jobs of this type. A copy of this program asks
/// the queue, as nobody is root any more who has.
pub fn is_wanted(settings: &Settings, kind: &str) -> bool {
    /// It asks three questions.
    const LIMIT: Duration = Duration::from_secs(60);
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || !has_unit(settings, &RUNNER.service()) {
        return false;
    }
    let Ok(own) = std::env::current_exe() else { return false };
    let mut argv = vec![own.into_os_string()];
    if let Some(file) = &settings.file {
        argv.extend([OsString::from("--config"), file.into()]);
    }
    // a file is named from here
    let Ok(base) = std::env::current_dir() else { return false };
    let kind = if kind.contains('/') { base.join(kind).into() } else { OsString::from(kind) };
    // as a job of any name would be put in
    argv.extend(["--json", "jobs", "submit", "--dry-run", "--"].map(OsString::from));
    argv.extend([kind, "/nowhere".into()]);
    let said = command::run_with(&argv, &overrides::of_process(), LIMIT);
    let said = said.ok().filter(command::Finished::ok);
    let told = said.and_then(|it| serde_json::from_slice::<Value>(&it.stdout).ok());
    told.is_some_and(|it| it["nobody"].is_string())
}

/// What is to be said of a unit that did not come up. It stays what systemd makes of it: one that waits for its queue is
/// there when that comes back.
fn gave_up(settings: &Settings, unit: &str) -> String {
    let words = ["--no-pager", "--quiet", "--output", "cat", "--lines", "20", "--unit", unit];
    let mut argv = vec![settings.host.journalctl.clone().into_os_string()];
    argv.extend(words.map(OsString::from));
    let said = command::run(&argv, SAID_LIMIT);
    let said = said.map_or_else(|error| error.to_string(), |it| text::tail(&it.stdout, TAIL));
    format!("{unit} did not come up (systemctl status {unit}); it said: {said}")
}

fn has_unit(settings: &Settings, unit: &str) -> bool {
    settings.host.services == Services::Systemd
        && services::is_running()
        && services::show(&settings.host.systemctl, &[unit.to_owned()], Duration::from_secs(5))
            .is_ok_and(|all| all.get(unit).is_some_and(services::Shown::is_loaded))
}

/// The program beside this one.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this program lies")?;
    let program = own.parent().unwrap_or(Path::new("/")).join(RUNNER.program);
    if !program.is_file() {
        bail!("{} is not there", text::path(&program));
    }
    Ok(program)
}

/// Whether a worker is there for these types: one of a command that somebody gave on the spot does nothing of what is put in
/// for this host, and is gone with its run.
fn is_for(worker: &Worker, types: Option<&BTreeSet<String>>) -> bool {
    let Some(types) = types else { return true };
    let smoke = JobType::smoke().name;
    let mut known = worker.types.keys().chain(worker.lacks.keys()).filter(|it| **it != smoke);
    if types.is_empty() { known.next().is_none() } else { known.any(|it| types.contains(it)) }
}

/// A living worker of this host that is as wanted.
fn here(asking: &mut Asking, wanted: impl Fn(&Worker) -> bool) -> Result<Option<Worker>> {
    let all = asking.ask(|store| store.all_workers(false))?;
    let is_so =
        |it: &Worker| witness::is_of_here(&it.id) && it.standing().takes_work() && wanted(it);
    Ok(all.into_iter().find(is_so))
}

/// Waits until it is there, for as long as it may yet come.
fn wait(
    asking: &mut Asking,
    wanted: impl Fn(&Worker) -> bool,
    limit: Duration,
    mut may_come: impl FnMut() -> bool,
) -> Result<Option<Worker>> {
    let is_enough = |there: &Result<Option<Worker>>| matches!(there, Ok(Some(_))) || !may_come();
    let look = |asking: &mut Asking| here(asking, &wanted);
    asking.ask_until(Deadline::after(limit), ASK_EVERY, look, is_enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_of_a_run_is_not_that_of_the_host() {
        let of = |types: &[&str], lacks: &[&str]| {
            let mark = serde_json::json!({ "digest": "d", "first_tier": "one", "why": "x" });
            let all = |names: &[&str]| -> serde_json::Map<String, Value> {
                names.iter().map(|it| ((*it).to_owned(), mark.clone())).collect()
            };
            Worker {
                id: "a:1:2:3".to_owned(),
                host: "h".to_owned(),
                unit: None,
                version: "1".to_owned(),
                mode: "direct".to_owned(),
                types: serde_json::from_value(Value::Object(all(types))).unwrap(),
                lacks: serde_json::from_value(Value::Object(all(lacks))).unwrap(),
                open: Vec::new(),
                closed: Vec::new(),
                state: "idle".to_owned(),
                step: None,
                done: 0,
                failed: 0,
                silent_ms: 0,
                started_ms: 0,
                ended_ms: None,
                cpus: None,
                load_milli: None,
                memory_mib: None,
                deaf: None,
                stale: Duration::from_secs(60),
            }
        };
        let smoke = JobType::smoke().name;
        let host = BTreeSet::from(["t".to_owned(), "u".to_owned()]);
        for (types, lacks, expected) in [
            (vec!["t", &smoke], vec![], true),
            (vec![&smoke], vec!["u"], true),
            (vec!["run-0123456789ab", &smoke], vec![], false),
            (vec!["t-0123456789ab", &smoke], vec![], false),
            (vec![smoke.as_str()], vec![], false),
        ] {
            assert_eq!(is_for(&of(&types, &lacks), Some(&host)), expected, "{types:?} {lacks:?}");
        }
        // a host without types has a runner all the same
        let none = BTreeSet::new();
        assert!(is_for(&of(&[&smoke], &[]), Some(&none)));
        assert!(!is_for(&of(&["run-0123456789ab", &smoke], &[]), Some(&none)));
    }
}
