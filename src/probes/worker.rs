//! How the worker is: running, on its way, down, and if down then why. That somebody wanted it down
//! needs a positive sign, because a stop by hand and a death look alike in a unit's properties. The sign
//! is a stop job of this boot that no other unit passed on, or a unit that is masked or disabled.
//!
//! A crash loop is told from what the manager said, not from `Result=`: that keeps `exit-code` when a
//! unit fails more often than its start limit allows.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statfs;
use rustix::io::Errno;

use super::systemctl::{self, Leader, Properties};
use super::units::{self, Active, LINES_MAX, Line, Load};
use crate::config::{Services, Settings, Worker};
use crate::sys::clock::{self, Deadline, Now, Stamp};
use crate::sys::{command, text};

/// How long systemctl, journalctl and a `status` command may each take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How long [`look`] may take.
pub const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// The manager says how a unit ended right before it is down; what it said earlier is of another end.
const END_IS_SAID_WITHIN: Duration = Duration::from_secs(2);

/// The properties asked for; [`parse`] knows these names.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,NRestarts,\
                          ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic,\
                          TimeoutStopUSec,FragmentPath,DropInPaths,NeedDaemonReload,ControlGroup,\
                          Slice,Requires,BindsTo,PartOf,StopPropagatedFrom,LogLevelMax";

/// What is known of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLook {
    /// Its unit, or `worker` where there is no service manager.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Whether it is enabled: `enabled`, `static`, `disabled`, … or empty where nobody knows.
    pub enabled: String,
    /// Its main process, while there is one.
    pub main_pid: Option<u32>,
    /// Since when it is active, as `CLOCK_MONOTONIC` has it.
    pub active_since: Option<Duration>,
    /// When it went down for the last time, on the same clock; none where the manager has forgotten.
    pub down_since: Option<Duration>,
    /// How often the manager has restarted it by itself.
    pub restarts: u32,
    /// Whether somebody stopped it; told only of one that is down.
    pub stopped: Stopped,
    /// How long the manager gives it to stop; none: without end, or nobody knows.
    pub stop_limit: Option<Duration>,
    /// Whether the manager has given it up; told only of one that has failed.
    pub crash_loop: CrashLoop,
    /// Processes of its control group and of those within it, or why nobody knows.
    pub processes: Result<Vec<u32>, String>,
}

/// How the worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Active,
    /// It runs and reads its configuration again.
    Reloading,
    /// It is on its way up, or waits to be restarted: the manager's word for it.
    Activating(String),
    /// It is on its way down.
    Deactivating,
    /// It is down after an orderly end.
    Inactive,
    /// It is down after a failure: of which kind.
    Failed(String),
    /// There is no such unit.
    NotFound,
    /// It is forbidden to start.
    Masked,
    /// Nobody can tell, and why.
    Unknown(String),
}

impl State {
    /// The word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Activating(_) => "activating",
            Self::Deactivating => "deactivating",
            Self::Inactive => "inactive",
            Self::Failed(_) => "failed",
            Self::NotFound => "not-found",
            Self::Masked => "masked",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether it runs now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Active | Self::Reloading)
    }

    /// Whether it is down for certain.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Inactive | Self::Failed(_) | Self::NotFound | Self::Masked)
    }
}

/// Whether somebody stopped a worker that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody: it ended by itself, or was never started in this boot.
    Nobody,
    /// Another unit, which passed its own stop or its end on.
    Along,
    /// A stop job that came from no other unit.
    ByJob {
        /// When it ended.
        at: Stamp,
        /// When the worker had been started before that, in this boot.
        started: Option<Stamp>,
    },
    /// The journal cannot tell.
    Unknown,
}

/// Whether the manager has given a worker up that failed again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashLoop {
    /// It has not.
    No,
    /// It has, and nothing has changed since.
    Stands,
    /// Its files have changed since, and the manager has not read them.
    NotReloaded,
    /// It has, and this has changed since.
    Changed(String),
}

impl WorkerLook {
    /// A worker of which only its state is known.
    #[must_use]
    pub fn of(name: &str, state: State) -> Self {
        Self {
            name: name.to_owned(),
            state,
            enabled: String::new(),
            main_pid: None,
            active_since: None,
            down_since: None,
            restarts: 0,
            stopped: Stopped::Nobody,
            stop_limit: None,
            crash_loop: CrashLoop::No,
            processes: Ok(Vec::new()),
        }
    }

    /// Whether it is down for certain, with nobody left of it. A unit that does not exist tells nothing of who
    /// works: it may be called something else.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let ended = matches!(self.state, State::Inactive | State::Failed(_) | State::Masked);
        ended && self.processes.as_ref().is_ok_and(Vec::is_empty)
    }

    /// Whether it is disabled: nobody but a person starts it. Not told where nobody knows.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.enabled.starts_with("disabled")
    }

    /// Whether it is enabled for good: what was so for this boot alone is disabled after it by nobody's wish.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled == "enabled"
    }

    /// How many processes are left of it, in words.
    #[must_use]
    pub fn left(&self) -> String {
        match self.processes.as_ref().map(Vec::len) {
            Ok(0) => "no process in its control group".to_owned(),
            Ok(count) => format!("{count} processes in its control group"),
            Err(why) => format!("whether a process is left of it is not known: {why}"),
        }
    }
}

/// Looks, within 15 s at worst: three questions with a limit each.
#[must_use]
pub fn look(settings: &Settings, worker: &Worker) -> WorkerLook {
    match (settings.host.services, &worker.unit, &worker.status) {
        (Services::Systemd, Some(unit), _) => of_unit(settings, worker, unit),
        (Services::Process, _, Some(status)) => WorkerLook::of(worker.name(), ask(status)),
        (Services::Systemd | Services::Process, _, _) => {
            let why = "the configuration does not say how to ask".to_owned();
            WorkerLook::of(worker.name(), State::Unknown(why))
        }
    }
}

/// As [`look`], without asking the journal: whether it runs, since when, and as which process.
#[must_use]
pub fn glance(settings: &Settings, worker: &Worker) -> WorkerLook {
    match (settings.host.services, &worker.unit) {
        (Services::Systemd, Some(unit)) => match show(settings, unit, LIMIT) {
            Ok(shown) => WorkerLook { processes: processes(&shown.groups), ..shown.look },
            Err(why) => WorkerLook::of(unit, State::Unknown(why)),
        },
        (Services::Systemd | Services::Process, _) => look(settings, worker),
    }
}

/// Without a service manager: 0 is up, any other end is down, and no end is neither.
fn ask(status: &[String]) -> State {
    let argv: Vec<OsString> = status.iter().map(OsString::from).collect();
    match command::run(&argv, LIMIT) {
        Ok(done) if done.ok() => State::Active,
        Ok(_) => State::Inactive,
        Err(failure) => State::Unknown(failure.to_string()),
    }
}

fn of_unit(settings: &Settings, worker: &Worker, unit: &str) -> WorkerLook {
    let Shown { mut look, leaders, jobs_hidden, files, needs_reload, groups } =
        match show(settings, unit, LIMIT) {
            Ok(shown) => shown,
            Err(why) => return WorkerLook::of(unit, State::Unknown(why)),
        };
    let down_since = look.down_since.unwrap_or_default();
    look.processes = processes(&groups);
    if !matches!(look.state, State::Inactive | State::Failed(_)) {
        return look;
    }
    let (journalctl, deadline) = (&settings.host.journalctl, Deadline::after(LIMIT));
    // of it alone: whoever says much beside it must not push what it says out of sight
    let own = vec![format!("UNIT={unit}")];
    let said = units::ask_journal(journalctl, LINES_MAX, own, deadline.left());
    let (Ok(said), Ok(now)) = (said, Now::take()) else {
        look.stopped = Stopped::Unknown;
        return look;
    };
    let lines = units::parse_lines(&said);
    let clock = Clock { now, monotonic: clock::monotonic() };
    let was_led = || {
        if leaders.is_empty() {
            return Ok(false);
        }
        let said = units::ask_who_led(journalctl, unit, &leaders, deadline.left())?;
        Ok(units::passed_on(&said, unit, &leaders))
    };
    look.stopped = match stopped(&lines, unit, look.down_since, &clock, was_led) {
        _ if jobs_hidden => Stopped::Unknown,
        stopped => stopped,
    };
    if matches!(&look.state, State::Failed(result) if given_up(&lines, unit, result)) {
        let changed = changed_file(&files, down_since, &clock)
            .map(|file| format!("{} has changed since", text::path(&file)))
            .or_else(|| restarted_need(settings, worker, down_since));
        look.crash_loop = match changed {
            Some(_) if needs_reload => CrashLoop::NotReloaded,
            Some(what) => CrashLoop::Changed(what),
            None => CrashLoop::Stands,
        };
    }
    look
}

/// The clocks of one moment, for turning the journal's times into stamps.
struct Clock {
    now: Now,
    monotonic: Duration,
}

impl Clock {
    fn stamp(&self, at: Duration) -> Stamp {
        let ago = self.monotonic.saturating_sub(at).as_millis();
        let ago = u64::try_from(ago).unwrap_or(u64::MAX);
        let then = Now {
            utc_ms: self.now.utc_ms.saturating_sub(ago),
            boot_ms: self.now.boot_ms.saturating_sub(ago),
            boot_id: self.now.boot_id.clone(),
        };
        then.stamp()
    }
}

/// The last job that the manager ended for the unit, if it was a stop, and whose it was: `was_led` asks whether it came
/// from another unit.
fn stopped(
    lines: &[Line],
    unit: &str,
    down_since: Option<Duration>,
    clock: &Clock,
    was_led: impl FnOnce() -> Result<bool, ()>,
) -> Stopped {
    let of_it = |line: &&Line| line.unit == unit && line.ends_a_job();
    let Some(last) = lines.iter().rfind(of_it) else {
        return without_a_job(lines, unit, down_since, clock);
    };
    if !last.is_stopped() {
        return Stopped::Nobody;
    }
    let Some(at) = last.at() else { return Stopped::Unknown };
    match was_led() {
        Ok(true) => return Stopped::Along,
        Ok(false) => {}
        Err(()) => return Stopped::Unknown,
    }
    let started = lines.iter().rfind(|line| line.unit == unit && line.is_up());
    Stopped::ByJob {
        at: clock.stamp(at),
        started: started.and_then(Line::at).map(|at| clock.stamp(at)),
    }
}

/// What no job was seen to end for: it was never up in this boot, or the journal shows how it ended and no stop with that.
/// Else the journal has lost what was said then: it counts as a stop of that moment, which is respected as long as any, and
/// pays what is owed since before it.
fn without_a_job(
    lines: &[Line],
    unit: &str,
    down_since: Option<Duration>,
    clock: &Clock,
) -> Stopped {
    let Some(since) = down_since else { return Stopped::Nobody };
    let is_end = |line: &&Line| {
        let near = |at: Duration| at.saturating_add(END_IS_SAID_WITHIN) >= since;
        line.unit == unit && line.is_down() && line.at().is_some_and(near)
    };
    if lines.iter().any(|line| is_end(&line)) {
        return Stopped::Nobody;
    }
    Stopped::ByJob { at: clock.stamp(since), started: None }
}

/// Whether the manager gave the unit up after it was last up.
fn given_up(lines: &[Line], unit: &str, result: &str) -> bool {
    let mut own = lines.iter().rev().filter(|line| line.unit == unit);
    result == "start-limit-hit" || own.by_ref().take_while(|line| !line.is_up()).any(Line::gives_up)
}

/// The unit's own file or drop-in that was changed after it went down for the last time.
fn changed_file(files: &[PathBuf], down_since: Duration, clock: &Clock) -> Option<PathBuf> {
    let down = clock.stamp(down_since).utc_ms;
    let changed = |file: &&PathBuf| {
        std::fs::metadata(file).is_ok_and(|file| {
            let ms = file.mtime().saturating_mul(1000) + file.mtime_nsec() / 1_000_000;
            u64::try_from(ms).is_ok_and(|ms| ms > down)
        })
    };
    files.iter().find(changed).cloned()
}

/// The unit of a mount that the worker stands on which came up after the worker went down.
fn restarted_need(settings: &Settings, worker: &Worker, down_since: Duration) -> Option<String> {
    let needs = worker.needs(settings);
    let on = |path: &Path| needs.iter().any(|need| need == path);
    let under_a_bind =
        |base: &Path| settings.bind.iter().any(|bind| bind.base == base && on(&bind.hot));
    let units = settings
        .mount
        .iter()
        .filter(|spec| on(&spec.path) || under_a_bind(&spec.path))
        .filter_map(|spec| spec.unit.clone());
    // all of them together: a manager that does not answer must not be waited for once for each
    let deadline = Deadline::after(LIMIT);
    units.into_iter().find_map(|unit| {
        let up = show(settings, &unit, deadline.left()).ok()?.look.active_since?;
        (up > down_since).then(|| format!("{unit} was started since"))
    })
}

/// A unit as shown, with what is needed to understand it.
struct Shown {
    look: WorkerLook,
    leaders: Vec<Leader>,
    jobs_hidden: bool,
    files: Vec<PathBuf>,
    needs_reload: bool,
    groups: BTreeSet<String>,
}

fn show(settings: &Settings, unit: &str, limit: Duration) -> Result<Shown, String> {
    let words = ["show", "-p", PROPERTIES, "--", unit];
    let systemctl = &settings.host.systemctl;
    parse(&systemctl::ask(systemctl, &words, &format!("show {unit}"), limit)?, unit)
}

fn parse(shown: &str, unit: &str) -> Result<Shown, String> {
    let shown = Properties::of(shown);
    let optional = |property: &str| shown.get(property);
    let since = |property: &str| {
        let us = optional(property).parse().unwrap_or(0);
        Duration::from_micros(us)
    };
    let load = shown.load()?;
    let (word, sub) = (shown.required("ActiveState")?, optional("SubState").to_owned());
    let state = match (Active::named(word), load) {
        (Active::Active, _) if word == "active" => State::Active,
        (Active::Active, _) => State::Reloading,
        (Active::Activating, _) => State::Activating(sub),
        (Active::Deactivating, _) => State::Deactivating,
        (Active::Inactive | Active::Failed, Load::NotFound) => State::NotFound,
        (Active::Inactive | Active::Failed, Load::Masked) => State::Masked,
        (Active::Inactive | Active::Failed, Load::Other(load)) => {
            State::Unknown(format!("{unit} cannot be loaded: {load}"))
        }
        (Active::Inactive, Load::Loaded) => State::Inactive,
        (Active::Failed, Load::Loaded) => State::Failed(optional("Result").to_owned()),
        (Active::Other, _) => State::Unknown(format!("{unit} is {word}, which is not known here")),
    };
    let up = state.is_up();
    let slice = optional("Slice");
    Ok(Shown {
        look: WorkerLook {
            enabled: shown.required("UnitFileState")?.to_owned(),
            main_pid: optional("MainPID").parse().ok().filter(|pid| *pid != 0),
            active_since: up.then(|| since("ActiveEnterTimestampMonotonic")),
            down_since: Some(since("InactiveEnterTimestampMonotonic")).filter(|at| !at.is_zero()),
            restarts: optional("NRestarts").parse().unwrap_or(0),
            stop_limit: stop_limit(optional("TimeoutStopUSec")),
            ..WorkerLook::of(unit, state)
        },
        leaders: shown.leaders(),
        jobs_hidden: shown.hides_jobs(),
        files: std::iter::once(optional("FragmentPath"))
            .chain(shown.names("DropInPaths"))
            .filter(|file| !file.is_empty())
            .map(PathBuf::from)
            .collect(),
        needs_reload: optional("NeedDaemonReload") == "yes",
        groups: [optional("ControlGroup").to_owned(), format!("{slice}/{unit}")]
            .into_iter()
            .map(|group| group.trim_start_matches('/').to_owned())
            .filter(|group| !group.is_empty())
            .collect(),
    })
}

/// As systemctl prints a time: `1min 30s`; `infinity` is none.
fn stop_limit(shown: &str) -> Option<Duration> {
    humantime::parse_duration(shown).ok()
}

/// Who is left in the unit's control group; after a failure its property is empty and the group may
/// still have somebody in it.
fn processes(groups: &BTreeSet<String>) -> Result<Vec<u32>, String> {
    let root = hierarchy()?;
    let mut all = BTreeSet::new();
    for group in groups {
        let at = root.join(group);
        members(&at, &mut all).map_err(|error| format!("{}: {error}", text::path(&at)))?;
    }
    Ok(all.into_iter().collect())
}

/// Where systemd keeps its control groups: in version 2, or in the hierarchy of its own.
///
/// systemd mounts them at fixed places (its `mount-setup.c`), where a question takes no daemon and no table.
fn hierarchy() -> Result<&'static Path, String> {
    let is_there = |(place, magic): &(&str, _)| statfs(*place).is_ok_and(|it| it.f_type == *magic);
    let known = HIERARCHIES.iter().find(|it| is_there(it));
    known
        .map(|(place, _)| Path::new(place))
        .ok_or_else(|| "no control groups are mounted here".to_owned())
}

/// Where, and the magic number that is there (`magic.h`): version 2 first.
const HIERARCHIES: [(&str, rustix::fs::FsWord); 3] = [
    ("/sys/fs/cgroup", 0x6367_7270),
    ("/sys/fs/cgroup/unified", 0x6367_7270),
    ("/sys/fs/cgroup/systemd", 0x0027_e0eb),
];

/// The processes of a group and of all within it; a group that is not there has none.
fn members(group: &Path, all: &mut BTreeSet<u32>) -> std::io::Result<()> {
    let gone = |error: &std::io::Error| {
        matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV))
    };
    match std::fs::read_to_string(group.join("cgroup.procs")) {
        Ok(listed) => all.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok())),
        Err(error) if gone(&error) => return Ok(()),
        // one of threads: its processes are listed above it (cgroup-v2.rst)
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error),
    }
    let within = match std::fs::read_dir(group) {
        Ok(within) => within,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in within {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            members(&entry.path(), all)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Id=w.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\n\
        Result=exit-code\nUnitFileState=enabled\nMainPID=0\nNRestarts=5\n\
        ActiveEnterTimestampMonotonic=90\nInactiveEnterTimestampMonotonic=100\n\
        TimeoutStopUSec=1min 30s\nFragmentPath=/etc/w\nDropInPaths=/etc/w.d/a /etc/w.d/b\n\
        NeedDaemonReload=no\nControlGroup=\nSlice=system.slice\nRequires=box.service\nBindsTo=x.service\n";

    #[test]
    fn what_systemctl_shows_is_understood() {
        let shown = parse(SHOWN, "w.service").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(shown.look.state, State::Failed("exit-code".to_owned()));
        assert_eq!((shown.look.restarts, shown.look.main_pid), (5, None));
        assert_eq!(shown.look.stop_limit, Some(Duration::from_secs(90)));
        assert_eq!(shown.files.len(), 3);
        assert_eq!(shown.look.down_since, Some(Duration::from_micros(100)));
        let leaders: Vec<_> = shown.leaders.iter().map(|it| (it.name.as_str(), it.bound)).collect();
        assert_eq!(leaders, [("box.service", false), ("x.service", true)]);
        let other = |from: &str, to: &str| {
            let look = parse(&SHOWN.replace(from, to), "w.service").map(|shown| shown.look);
            look.map_or_else(State::Unknown, |look| look.state).name()
        };
        assert_eq!(other("=failed\nSubState=failed", "=reloading"), "reloading");
        assert_eq!(other("ActiveState=failed", "ActiveState=activating"), "activating");
        assert_eq!(other("LoadState=loaded", "LoadState=masked"), "masked");
        assert_eq!(other("LoadState=loaded", "LoadState=not-found"), "not-found");
        assert_eq!(other("LoadState=loaded", "LoadState=bad-setting"), "unknown");
        assert_eq!(other("UnitFileState=enabled\n", ""), "unknown");
        assert_eq!(stop_limit("infinity"), None);
    }

    #[test]
    fn who_is_left_is_looked_for_all_the_way_down_and_not_being_able_to_look_is_no_answer() {
        let root = tempfile::tempdir().unwrap();
        let look = || {
            let mut all = BTreeSet::new();
            members(&root.path().join("w"), &mut all).map(|()| all.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(look().unwrap(), Vec::<u32>::new(), "a group that is gone has nobody");
        std::fs::create_dir_all(root.path().join("w/a/b")).unwrap();
        for (group, list) in [("w", "7\n"), ("w/a", ""), ("w/a/b", "8\n9\n")] {
            std::fs::write(root.path().join(group).join("cgroup.procs"), list).unwrap();
        }
        assert_eq!(look().unwrap(), [7, 8, 9]);
        std::fs::remove_file(root.path().join("w/a/b/cgroup.procs")).unwrap();
        std::fs::create_dir(root.path().join("w/a/b/cgroup.procs")).unwrap();
        assert!(look().is_err());
    }

    fn clock() -> Clock {
        let now = Now { utc_ms: 9_000_000, boot_ms: 5_000_000, boot_id: "b".to_owned() };
        Clock { now, monotonic: Duration::from_secs(4_000) }
    }

    fn line(unit: &str, job: &str, id: u32, at_s: u64, message: &str) -> String {
        let up = if job == "start" { "39f53479d3a045ac8e11786248231fbf" } else { "" };
        let job = match job {
            "" => String::new(),
            job => format!("\"JOB_TYPE\":{job:?},\"JOB_RESULT\":\"done\",\"JOB_ID\":\"{id}\","),
        };
        format!(
            "{{\"UNIT\":{unit:?},\"MESSAGE_ID\":{up:?},{job}\"MESSAGE\":{message:?},\
             \"__MONOTONIC_TIMESTAMP\":\"{}\"}}\n",
            at_s * 1_000_000
        )
    }

    #[test]
    fn a_stop_by_hand_has_its_time_and_one_that_was_passed_on_is_nobodys() {
        let told = |said: &str| {
            let leaders = [Leader { name: "box".to_owned(), bound: true }];
            let lines = units::parse_lines(said.as_bytes());
            let was_led = || Ok(units::passed_on(&lines, "w", &leaders));
            stopped(&lines, "w", None, &clock(), was_led)
        };
        let up = line("w", "start", 1, 3_000, "Started");
        let stop = line("w", "stop", 3, 3_400, "Stopped");
        let by_hand = told(&format!("{up}{stop}"));
        let Stopped::ByJob { at, started: Some(started) } = by_hand else { panic!("{by_hand:?}") };
        assert_eq!((at.boot_ms, at.utc_ms), (5_000_000 - 600_000, 9_000_000 - 600_000));
        assert_eq!(started.boot_ms, 5_000_000 - 1_000_000);
        let back =
            line("box", "stop", 2, 3_399, "Stopped") + &line("box", "start", 4, 3_500, "Started");
        assert_eq!(told(&format!("{up}{stop}{back}")), Stopped::Along);
        assert_eq!(
            told(&format!("{up}{stop}{}", line("w", "restart", 5, 3_600, ""))),
            Stopped::Nobody
        );
        assert_eq!(told(&up), Stopped::Nobody, "it died");
        assert_eq!(told(""), Stopped::Nobody);
    }

    #[test]
    fn what_the_journal_has_lost_is_not_told_as_nobodys_stop() {
        let down = Some(Duration::from_secs(3_400));
        let told = |said: &str, down_since| {
            let lines = units::parse_lines(said.as_bytes());
            stopped(&lines, "w", down_since, &clock(), || Ok(false))
        };
        assert_eq!(told("", None), Stopped::Nobody, "never up in this boot");
        // it is respected like a stop of that moment, and pays what is owed since before it
        let lost = Stopped::ByJob { at: clock().stamp(Duration::from_secs(3_400)), started: None };
        assert_eq!(told("", down), lost);
        let end = |at_s| {
            line("w", "", 0, at_s, "w: Failed with result 'signal'.").replace(
                "\"MESSAGE_ID\":\"\"",
                "\"MESSAGE_ID\":\"d9b373ed55a64feb8242e02dbe79a49c\"",
            )
        };
        // its start is too long ago for the journal, and its end is there without a stop
        assert_eq!(told(&end(3_399), down), Stopped::Nobody, "it died");
        assert_eq!(told(&end(3_000), down), lost, "that was another end");
        assert_eq!(told(&end(3_399).replace("\"w\"", "\"x\""), down), lost);
        let stop = line("w", "stop", 3, 3_400, "Stopped");
        let lines = units::parse_lines(stop.as_bytes());
        let nobody_tells = stopped(&lines, "w", down, &clock(), || Err(()));
        assert_eq!(nobody_tells, Stopped::Unknown);
    }

    #[test]
    fn a_crash_loop_is_what_the_manager_gave_up_since_it_was_last_up() {
        let told =
            |said: &str, result: &str| given_up(&units::parse_lines(said.as_bytes()), "w", result);
        let up = line("w", "start", 1, 1, "Started");
        let up_again = line("w", "start", 2, 3, "Started");
        let gives_up = line("w", "", 0, 2, "w: Start request repeated too quickly.");
        assert!(told(&format!("{up}{gives_up}"), "exit-code"));
        assert!(!told(&format!("{up}{gives_up}{up_again}"), "exit-code"));
        assert!(!told(&up, "exit-code"));
        assert!(told(&up, "start-limit-hit"));
        let others = line("x", "", 0, 2, "x: Start request repeated too quickly.");
        assert!(!told(&format!("{up}{others}"), "exit-code"));
    }

    #[test]
    fn only_a_file_that_is_newer_than_the_failure_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.service");
        std::fs::write(&file, "").unwrap();
        let made = std::fs::metadata(&file).unwrap().mtime();
        let at = |offset: i64| {
            let utc_ms = u64::try_from((made + offset) * 1000).unwrap();
            let now = Now { utc_ms, boot_ms: 5_000_000, boot_id: "b".to_owned() };
            let clock = Clock { now, monotonic: Duration::from_secs(10) };
            changed_file(std::slice::from_ref(&file), Duration::from_secs(10), &clock)
        };
        assert_eq!((at(-2), at(2)), (Some(file.clone()), None));
    }

    #[test]
    fn without_a_service_manager_the_command_tells_and_none_that_hangs_is_down() {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(ask(&argv(&["/bin/true"])), State::Active);
        assert_eq!(ask(&argv(&["/bin/false"])), State::Inactive);
        assert!(matches!(ask(&argv(&["/nonexistent"])), State::Unknown(_)));
    }
}
