//! What the service manager says of a mount's unit: `systemctl show`, and for a unit that is down
//! the journal of this boot, because a stop by hand and a death look alike in a unit's properties.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::sys::command;

/// The properties asked for; [`parse`] knows these names.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,RequiredBy,\
                          BoundBy,ConsistsOf,InactiveEnterTimestampMonotonic";

/// What is known of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitLook {
    /// This.
    Seen(Unit),
    /// It could not be asked for, and why.
    Unknown(String),
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether there is such a unit.
    pub load: Load,
    /// Whether it runs.
    pub active: Active,
    /// Whether it is enabled: `enabled`, `static`, `generated`, `disabled`, … or empty.
    pub file_state: String,
    /// How it ended last: `success`, `exit-code`, `signal` …
    pub result: String,
    /// Units that are stopped or restarted along with it.
    pub dependents: Vec<String>,
    /// Whether somebody stopped it.
    pub stopped: Stopped,
}

/// Whether systemd knows the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Yes.
    Loaded,
    /// No.
    NotFound,
    /// Forbidden to start.
    Masked,
    /// Its file is broken in some way.
    Other(String),
}

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// Runs.
    Active,
    /// On its way up, or waiting to be restarted.
    Activating,
    /// On its way down.
    Deactivating,
    /// Down after an orderly end.
    Inactive,
    /// Down after a failure.
    Failed,
    /// A state this version does not know.
    Other,
}

/// Whether a unit that is down was stopped by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The last thing the manager did with it in this boot was a stop job.
    ByJob,
    /// It ended by itself, or never ran in this boot.
    No,
    /// The journal could not tell.
    Unknown,
}

/// Asks for all `names` at once.
#[must_use]
pub fn read(
    systemctl: &Path,
    journalctl: &Path,
    names: &[String],
    limit: Duration,
) -> BTreeMap<String, UnitLook> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let mut argv: Vec<OsString> = vec![systemctl.into()];
    let flags = ["--no-pager", "--no-ask-password", "show", "-p", PROPERTIES, "--"];
    argv.extend(flags.iter().map(OsString::from));
    argv.extend(names.iter().map(OsString::from));
    let unknown = |why: String| {
        names.iter().map(|name| (name.clone(), UnitLook::Unknown(why.clone()))).collect()
    };
    let shown = match command::run(&argv, limit) {
        Ok(done) if done.ok() => done.stdout,
        Ok(done) => return unknown(format!("systemctl show: {}", done.describe())),
        Err(failure) => return unknown(failure.to_string()),
    };
    let blocks = parse(&String::from_utf8_lossy(&shown));
    if blocks.len() != names.len() {
        return unknown("systemctl show: not one answer for each unit".to_owned());
    }
    let mut looks = BTreeMap::new();
    for (name, block) in names.iter().zip(blocks) {
        let look = match block {
            Ok(mut unit) => {
                if matches!(unit.active, Active::Inactive | Active::Failed) {
                    unit.stopped = stopped(journalctl, name, limit);
                }
                UnitLook::Seen(unit)
            }
            Err(why) => UnitLook::Unknown(why),
        };
        looks.insert(name.clone(), look);
    }
    looks
}

/// Understands the blocks of `systemctl show`, one a unit, in the order asked for.
#[must_use]
pub fn parse(shown: &str) -> Vec<Result<Unit, String>> {
    shown.trim_end().split("\n\n").map(parse_block).collect()
}

fn parse_block(block: &str) -> Result<Unit, String> {
    let properties: BTreeMap<&str, &str> =
        block.lines().filter_map(|line| line.split_once('=')).collect();
    let get = |key: &str| {
        properties
            .get(key)
            .copied()
            .ok_or_else(|| format!("systemctl show: no {key} in its answer"))
    };
    let load = match get("LoadState")? {
        "loaded" => Load::Loaded,
        "not-found" => Load::NotFound,
        "masked" => Load::Masked,
        other => Load::Other(other.to_owned()),
    };
    let active = match get("ActiveState")? {
        "active" | "reloading" | "refreshing" => Active::Active,
        "activating" => Active::Activating,
        "deactivating" => Active::Deactivating,
        "inactive" => Active::Inactive,
        "failed" => Active::Failed,
        _ => Active::Other,
    };
    let mut dependents: Vec<String> = ["RequiredBy", "BoundBy", "ConsistsOf"]
        .iter()
        .flat_map(|key| properties.get(key).copied().unwrap_or_default().split_whitespace())
        .map(str::to_owned)
        .collect();
    dependents.sort();
    dependents.dedup();
    Ok(Unit {
        load,
        active,
        file_state: get("UnitFileState")?.to_owned(),
        // mount and service units have a result; a target has none
        result: properties.get("Result").copied().unwrap_or_default().to_owned(),
        dependents,
        stopped: Stopped::No,
    })
}

/// Asks the journal for the manager's last finished job of the unit in this boot.
fn stopped(journalctl: &Path, unit: &str, limit: Duration) -> Stopped {
    let mut argv: Vec<OsString> = vec![journalctl.into()];
    let flags = ["-b", "-o", "json", "-n", "1", "--no-pager", "--output-fields=JOB_TYPE", "-q"];
    argv.extend(flags.iter().map(OsString::from));
    argv.push(format!("UNIT={unit}").into());
    // only what the manager itself says, and only of jobs that ended: the stop half of a restart
    // is announced as JOB_TYPE=stop too, but never ends as one
    let jobs = ["JOB_TYPE=start", "JOB_TYPE=stop", "JOB_TYPE=restart"];
    argv.extend(["_PID=1", "JOB_RESULT=done", "JOB_RESULT=failed"].map(OsString::from));
    argv.extend(jobs.map(OsString::from));
    match command::run(&argv, limit) {
        Ok(done) if done.ok() => parse_job(&done.stdout),
        Ok(_) | Err(_) => Stopped::Unknown,
    }
}

fn parse_job(line: &[u8]) -> Stopped {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Stopped::No;
    }
    match serde_json::from_slice::<serde_json::Value>(line) {
        Ok(entry) => match entry.get("JOB_TYPE").and_then(|job| job.as_str()) {
            Some("stop") => Stopped::ByJob,
            Some(_) => Stopped::No,
            None => Stopped::Unknown,
        },
        Err(_) => Stopped::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
Id=box.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=signal
UnitFileState=enabled
RequiredBy=worker.service multi-user.target
BoundBy=worker.service
ConsistsOf=
InactiveEnterTimestampMonotonic=123

Id=none.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
InactiveEnterTimestampMonotonic=0
";

    #[test]
    fn a_block_is_a_unit() {
        let units = parse(TWO);
        let first = units[0].as_ref().unwrap();
        assert_eq!((first.load.clone(), first.active), (Load::Loaded, Active::Failed));
        assert_eq!(first.dependents, ["multi-user.target", "worker.service"]);
        assert_eq!(units[1].as_ref().unwrap().load, Load::NotFound);
    }

    #[test]
    fn an_answer_without_what_was_asked_for_is_unknown() {
        assert!(parse("Id=x.service\nLoadState=loaded\n")[0].is_err());
        assert!(parse("")[0].is_err());
    }

    #[test]
    fn only_a_stop_job_is_a_stop() {
        assert_eq!(parse_job(b"{\"JOB_TYPE\":\"stop\"}\n"), Stopped::ByJob);
        assert_eq!(parse_job(b"{\"JOB_TYPE\":\"restart\"}\n"), Stopped::No);
        assert_eq!(parse_job(b"\n"), Stopped::No);
        assert_eq!(parse_job(b"{\"JOB_TYPE\":null}\n"), Stopped::Unknown);
        assert_eq!(parse_job(b"{"), Stopped::Unknown);
    }
}
