//! What the service manager says of a mount's unit: `systemctl show`, and for a unit that is down
//! the journal of this boot, because a stop by hand and a death look alike in a unit's properties.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::systemctl::{self, Leader, Properties};
use crate::sys::command;

/// The properties asked for; [`parse`] knows these names.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,RequiredBy,\
                          BoundBy,ConsistsOf,Requires,BindsTo,PartOf,StopPropagatedFrom,LogLevelMax,\
                          InactiveEnterTimestampMonotonic";

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

/// A unit as shown, with what is needed to understand what the journal says of it.
#[derive(Debug)]
struct Shown {
    unit: Unit,
    /// Units whose stop is passed on to it.
    leaders: Vec<Leader>,
    /// Whether `LogLevelMax=` keeps its jobs out of the journal.
    jobs_hidden: bool,
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

impl Active {
    pub(super) fn named(word: &str) -> Self {
        match word {
            "active" | "reloading" | "refreshing" => Self::Active,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            _ => Self::Other,
        }
    }
}

/// Whether a unit that is down was stopped by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The last thing the manager did with it in this boot was a stop job.
    ByJob,
    /// So it was, but only along with a unit that died, or that has come back since.
    Along,
    /// It ended by itself, or never ran in this boot.
    No,
    /// The journal could not tell.
    Unknown,
}

/// Whether one unit runs, and nothing else of it.
///
/// # Errors
/// What systemctl said, or that it did not end.
pub fn active(systemctl: &Path, unit: &str, limit: Duration) -> Result<Active, String> {
    let words = ["show", "-P", "ActiveState", "--", unit];
    let said = systemctl::ask(systemctl, &words, &format!("show {unit}"), limit)?;
    Ok(Active::named(said.trim()))
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
    let unknown = |why: String| {
        names.iter().map(|name| (name.clone(), UnitLook::Unknown(why.clone()))).collect()
    };
    let shown = match systemctl::show(systemctl, PROPERTIES, names, limit) {
        Ok(shown) => shown,
        Err(why) => return unknown(why),
    };
    let mut looks = BTreeMap::new();
    for (name, properties) in names.iter().zip(&shown) {
        let look = match understand(properties) {
            Ok(mut shown) => {
                if matches!(shown.unit.active, Active::Inactive | Active::Failed) {
                    shown.unit.stopped = stopped(journalctl, name, &shown, limit);
                }
                UnitLook::Seen(shown.unit)
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
    parse_all(shown).into_iter().map(|block| Ok(block?.unit)).collect()
}

fn parse_all(shown: &str) -> Vec<Result<Shown, String>> {
    systemctl::blocks(shown).iter().map(understand).collect()
}

fn understand(shown: &Properties) -> Result<Shown, String> {
    let load = shown.load()?;
    let active = Active::named(shown.required("ActiveState")?);
    let mut dependents: Vec<String> = ["RequiredBy", "BoundBy", "ConsistsOf"]
        .into_iter()
        .flat_map(|property| shown.names(property))
        .map(str::to_owned)
        .collect();
    dependents.sort();
    dependents.dedup();
    let unit = Unit {
        load,
        active,
        file_state: shown.required("UnitFileState")?.to_owned(),
        // mount and service units have a result; a target has none
        result: shown.get("Result").to_owned(),
        dependents,
        stopped: Stopped::No,
    };
    Ok(Shown { unit, leaders: shown.leaders(), jobs_hidden: shown.hides_jobs() })
}

/// Asks the journal for the manager's last finished job of the unit in this boot, and for what
/// became of its leaders when that was a stop.
///
/// Two stops by hand cannot be told: one of a unit that is down already leaves no trace at all, and
/// `systemctl stop LEADER UNIT` looks like one of the leader alone.
fn stopped(journalctl: &Path, name: &str, shown: &Shown, limit: Duration) -> Stopped {
    if shown.jobs_hidden {
        return Stopped::Unknown;
    }
    // only of jobs that ended: the stop half of a restart is announced as JOB_TYPE=stop too, but
    // never ends as one. A canceled one was replaced by the next
    let results = ["done", "failed", "timeout", "dependency", "skipped", "assert", "invalid"];
    let mut matches: Vec<String> = results.iter().map(|end| format!("JOB_RESULT={end}")).collect();
    matches.extend(["start", "stop", "restart"].map(|job| format!("JOB_TYPE={job}")));
    matches.push(format!("UNIT={name}"));
    let last = match ask_journal(journalctl, 1, matches, limit) {
        Ok(said) => parse_job(&said),
        Err(()) => Stopped::Unknown,
    };
    if last != Stopped::ByJob || shown.leaders.is_empty() {
        return last;
    }
    match ask_who_led(journalctl, name, &shown.leaders, limit) {
        Ok(said) if passed_on(&said, name, &shown.leaders) => Stopped::Along,
        Ok(_) | Err(()) => Stopped::ByJob,
    }
}

/// What the manager said of a unit's leaders as they came and went, and of the unit itself beside them.
pub(super) fn ask_who_led(
    journalctl: &Path,
    name: &str,
    leaders: &[Leader],
    limit: Duration,
) -> Result<Vec<Line>, ()> {
    let mut matches: Vec<String> =
        [STARTED, STOPPING].into_iter().chain(DOWN).map(|id| format!("MESSAGE_ID={id}")).collect();
    let leaders = leaders.iter().map(|leader| leader.name.as_str());
    matches.extend(leaders.chain([name]).map(|name| format!("UNIT={name}")));
    Ok(parse_lines(&ask_journal(journalctl, LINES_MAX, matches, limit)?))
}

/// How far back the leaders are followed; a stop that lies further back counts as one by hand.
pub(super) const LINES_MAX: u32 = 1000;

/// `SD_MESSAGE_UNIT_STARTED` and `SD_MESSAGE_UNIT_STOPPING`.
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
/// What the manager says of a unit that goes down: stopped, its process exited, deactivated, failed.
const DOWN: [&str; 4] = [
    "9d1aaa27d60140bd96365438aad20286",
    "98e322203f7a4ed290d09fe03c09fe15",
    "7ad2d189f7e94e70a38c781354912448",
    "d9b373ed55a64feb8242e02dbe79a49c",
];

/// What the manager says when a unit has failed more often than `StartLimitBurst=`. It has no message id, and
/// `Result=` keeps what the process failed by (systemd 252), so this text is the sign.
const GIVES_UP: &str = ": Start request repeated too quickly.";

/// The last `lines` of what the manager itself said in this boot.
pub(super) fn ask_journal(
    journalctl: &Path,
    lines: u32,
    matches: Vec<String>,
    limit: Duration,
) -> Result<Vec<u8>, ()> {
    const FIELDS: &str = "--output-fields=UNIT,MESSAGE_ID,JOB_TYPE,JOB_RESULT,JOB_ID,MESSAGE";
    let mut argv: Vec<OsString> = vec![journalctl.into()];
    argv.extend(["-b", "-q", "-o", "json", "--no-pager", FIELDS, "-n"].map(OsString::from));
    argv.push(lines.to_string().into());
    argv.push("_PID=1".into());
    argv.extend(matches.into_iter().map(OsString::from));
    match command::run(&argv, limit) {
        Ok(done) if done.ok() => Ok(done.stdout),
        Ok(_) | Err(_) => Err(()),
    }
}

fn parse_job(line: &[u8]) -> Stopped {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Stopped::No;
    }
    match serde_json::from_slice::<Line>(line) {
        Ok(line) => match line.job_type.as_deref() {
            Some("stop") => Stopped::ByJob,
            Some(_) => Stopped::No,
            None => Stopped::Unknown,
        },
        Err(_) => Stopped::Unknown,
    }
}

/// One line of the manager about one unit.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE", default)]
pub(super) struct Line {
    pub(super) unit: String,
    message_id: String,
    job_type: Option<String>,
    job_result: Option<String>,
    job_id: Option<String>,
    /// Text, or where it is none a list of bytes.
    message: serde_json::Value,
    /// Microseconds of `CLOCK_MONOTONIC`.
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    monotonic_us: String,
}

impl Line {
    pub(super) fn is_up(&self) -> bool {
        self.message_id == STARTED && self.job_result.as_deref() == Some("done")
    }

    pub(super) fn is_down(&self) -> bool {
        DOWN.contains(&self.message_id.as_str())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.job_type.as_deref() == Some("stop") && self.job_result.as_deref() == Some("done")
    }

    /// Whether it is the end of a job that was not replaced by the next one.
    pub(super) fn ends_a_job(&self) -> bool {
        matches!(self.job_type.as_deref(), Some("start" | "stop" | "restart"))
            && self.job_result.as_deref().is_some_and(|result| result != "canceled")
    }

    /// Whether the manager says here that it gives up starting the unit.
    pub(super) fn gives_up(&self) -> bool {
        self.message.as_str().is_some_and(|said| said.ends_with(GIVES_UP))
    }

    /// When it was said, since this boot as `CLOCK_MONOTONIC` has it.
    pub(super) fn at(&self) -> Option<Duration> {
        self.monotonic_us.parse().ok().map(Duration::from_micros)
    }

    /// Jobs are numbered in the order they are made: what is passed on comes after what it comes from.
    fn job(&self) -> Option<u64> {
        self.job_id.as_deref()?.parse().ok()
    }
}

/// Lines in the journal's order; one that is no such line says nothing.
pub(super) fn parse_lines(said: &[u8]) -> Vec<Line> {
    said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Whether the last stop of `unit` came to it from a leader that died, or from one that was stopped
/// and is up again. A leader that somebody stopped and left down was meant to be down, and a start
/// of this unit would start it too.
pub(super) fn passed_on(lines: &[Line], unit: &str, leaders: &[Leader]) -> bool {
    let own = |line: &&Line| line.unit == unit;
    let Some(stop) = lines.iter().rfind(|line| own(line) && line.is_stopped()) else {
        return false;
    };
    let began = lines.iter().position(|line| line.unit == unit && line.job_id == stop.job_id);
    leaders.iter().any(|leader| {
        let of_it = |line: &&Line| line.unit == leader.name;
        let before = lines[..began.unwrap_or_default()].iter().rev().filter(of_it);
        let mut before = before.take_while(|line| !line.is_up()).filter(|line| line.is_down());
        let went_down = before.clone().next().is_some();
        let died = leader.bound && went_down && !before.any(Line::is_stopped);
        let its_stop = lines.iter().rfind(|line| of_it(line) && line.is_stopped());
        let was_stopped = its_stop.is_some_and(|its| its.job() < stop.job() && its.job().is_some());
        let last = lines.iter().rfind(|line| of_it(line) && (line.is_up() || line.is_down()));
        died || (was_stopped && last.is_some_and(Line::is_up))
    })
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

    /// What systemd 252 printed.
    macro_rules! shown {
        ($name:literal) => {
            parse(include_str!(concat!("../../tests/fixtures/systemctl/", $name, ".txt")))
                .remove(0)
                .unwrap()
        };
    }

    macro_rules! journal {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fixtures/journal/", $name, ".json")).as_slice()
        };
    }

    #[test]
    fn real_answers_are_understood() {
        let check = |unit: Unit, load: Load, active: Active, file_state: &str| {
            assert_eq!(
                (&unit.load, unit.active, unit.file_state.as_str()),
                (&load, active, file_state)
            );
        };
        check(shown!("running"), Load::Loaded, Active::Active, "disabled");
        check(shown!("not-found"), Load::NotFound, Active::Inactive, "");
        check(shown!("masked"), Load::Masked, Active::Inactive, "masked");
        check(shown!("disabled"), Load::Loaded, Active::Inactive, "disabled");
        check(shown!("enabled-never-started"), Load::Loaded, Active::Inactive, "enabled");
        check(shown!("activating"), Load::Loaded, Active::Activating, "static");
        check(shown!("auto-restarting"), Load::Loaded, Active::Activating, "disabled");
        check(shown!("deactivating"), Load::Loaded, Active::Deactivating, "static");
        check(shown!("stopped-by-hand"), Load::Loaded, Active::Failed, "disabled");
        check(shown!("killed-by-signal-9"), Load::Loaded, Active::Failed, "disabled");
        assert_eq!(shown!("required-by-running-worker").dependents, ["worker.service"]);
    }

    #[test]
    fn leaders_and_a_silenced_unit_are_seen() {
        let text = TWO.replace(
            "ConsistsOf=\n",
            "ConsistsOf=\nRequires=tunnel.service a.slice\nBindsTo=tunnel.service\nPartOf=all.target\n\
             LogLevelMax=5\n",
        );
        let unit = parse_all(&text).remove(0).unwrap();
        let leaders: Vec<(&str, bool)> =
            unit.leaders.iter().map(|leader| (leader.name.as_str(), leader.bound)).collect();
        assert_eq!(leaders, [("a.slice", false), ("all.target", false), ("tunnel.service", true)]);
        assert!(unit.jobs_hidden);
        for level in ["-1", "6", "7", ""] {
            let text = text.replace("LogLevelMax=5", &format!("LogLevelMax={level}"));
            assert!(!parse_all(&text).remove(0).unwrap().jobs_hidden, "{level}");
        }
    }

    /// What the two questions to the journal come to, on lines that systemd 252 wrote.
    fn told(said: &[u8], unit: &str, leaders: &[Leader]) -> Stopped {
        let lines = parse_lines(said);
        assert!(!lines.is_empty());
        let finished = lines.iter().rfind(|line| {
            line.unit == unit
                && line.job_result.as_deref().is_some_and(|result| result != "canceled")
                && matches!(line.job_type.as_deref(), Some("start" | "stop" | "restart"))
        });
        match finished.and_then(|line| line.job_type.as_deref()) {
            Some("stop") if passed_on(&lines, unit, leaders) => Stopped::Along,
            Some("stop") => Stopped::ByJob,
            Some(_) | None => Stopped::No,
        }
    }

    #[test]
    fn a_stop_by_hand_is_told_from_a_death_and_a_restart() {
        let box_ = |said: &[u8]| told(said, "storagebox.service", &[]);
        assert_eq!(box_(journal!("stopped-by-hand")), Stopped::ByJob);
        assert_eq!(box_(journal!("conflict")), Stopped::ByJob);
        assert_eq!(box_(journal!("stopped-while-restarting")), Stopped::ByJob);
        assert_eq!(box_(journal!("restarted-by-hand")), Stopped::No);
        assert_eq!(box_(journal!("died-and-restarted")), Stopped::No);
        assert_eq!(box_(journal!("killed")), Stopped::No);
        assert_eq!(box_(journal!("terminated-by-kill")), Stopped::No);
        assert_eq!(box_(journal!("unmounted-by-hand")), Stopped::No);
        assert_eq!(box_(journal!("stopped-then-start-failed")), Stopped::No, "it was wanted again");
        // of these nothing is written: see `stopped`
        assert_eq!(box_(journal!("stopped-by-hand-after-it-died")), Stopped::No);
        assert_eq!(box_(journal!("log-level-max")), Stopped::No);
    }

    #[test]
    fn a_stop_passed_on_from_a_death_is_told_from_one_by_hand() {
        let leader = |bound| [Leader { name: "storagebox.service".to_owned(), bound }];
        let bound = |said: &[u8]| told(said, "worker.service", &leader(true));
        assert_eq!(bound(journal!("worker-passed-on-from-death")), Stopped::Along);
        assert_eq!(bound(journal!("worker-passed-on-from-umount")), Stopped::Along);
        assert_eq!(bound(journal!("worker-passed-on-from-restart")), Stopped::No);
        assert_eq!(
            bound(journal!("worker-passed-on-from-stop")),
            Stopped::ByJob,
            "that was by hand"
        );
        assert_eq!(bound(journal!("worker-stopped-by-hand")), Stopped::ByJob);
        assert_eq!(bound(journal!("worker-and-base-stopped-by-hand")), Stopped::ByJob);
        assert_eq!(bound(journal!("worker-then-base-stopped-by-hand")), Stopped::ByJob);
        assert_eq!(bound(journal!("worker-stopped-by-hand-then-base-died")), Stopped::ByJob);
        assert_eq!(bound(journal!("base-and-worker-stopped-by-hand")), Stopped::ByJob);
        // only BindsTo= passes a death on: whoever is merely required may have ended long ago
        let required =
            told(journal!("worker-passed-on-from-death"), "worker.service", &leader(false));
        assert_eq!(required, Stopped::ByJob);
    }

    #[test]
    fn a_leader_that_is_back_leaves_nobodys_wish_behind() {
        let leader = [Leader { name: "storagebox.service".to_owned(), bound: false }];
        let mut said = journal!("worker-passed-on-from-stop").to_vec();
        let back = format!(
            "{{\"UNIT\":\"storagebox.service\",\"MESSAGE_ID\":\"{STARTED}\",\"JOB_TYPE\":\"start\",\
             \"JOB_RESULT\":\"done\",\"JOB_ID\":\"900\"}}\n"
        );
        said.extend(back.bytes());
        assert_eq!(told(&said, "worker.service", &leader), Stopped::Along);
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
