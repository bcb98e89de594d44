//! What an installation takes, from what is there: files that are missing or old, users and directories, units to
//! enable and to start, and who still runs what was replaced. An uninstallation is the same with nothing wanted.
//!
//! Nothing is enabled, started or armed that was not asked for, and what somebody changed by hand is kept.

use std::path::{Path, PathBuf};

use crate::probes::install::{OldWorker, Seen, There, UnitLook};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Units to enable.
    pub enable: Vec<String>,
    /// Units to start.
    pub start: Vec<String>,
    /// Whether somebody else has changed units.
    pub reload: bool,
    /// What becomes of who runs old code.
    pub restart: Restart,
    /// Units that stay; every other one of ours is switched off.
    pub keep: Vec<String>,
}

/// What becomes of who runs old code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Our services at once, the worker when no job runs.
    #[default]
    WhenIdle,
    /// All at once, jobs or not.
    Now,
    /// Nobody.
    Skip,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Stop a unit that goes away, and do not start it at boot.
    SwitchOff(String),
    /// Do not start a unit at boot that goes away and does not run. It is not stopped: a stop is passed on to whoever
    /// requires it, and the worker may require the binds.
    Disable(String),
    /// Write a file that is missing or old.
    Write(PathBuf),
    /// Write a file, and keep what is there beside it: somebody changed it.
    WriteKeeping(PathBuf),
    /// Take away a file that an earlier installation put there.
    Remove(PathBuf),
    /// Make the user that this file names.
    MakeUsers(PathBuf),
    /// Make the directories that this file names.
    MakeDirectories(PathBuf),
    /// Write into this directory as the service user, and take it back.
    ProveMetrics(PathBuf),
    /// Have systemd read its files again.
    Reload,
    /// Start at boot from now on.
    Enable(String),
    /// Start.
    Start(String),
    /// Restart one that runs old code.
    Restart(String),
    /// Have the worker restarted once no job runs.
    RestartWhenIdle(String),
}

impl Step {
    /// The verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::SwitchOff(_) => "switch-off",
            Self::Disable(_) => "disable",
            Self::Write(_) => "write",
            Self::WriteKeeping(_) => "write-keeping-old",
            Self::Remove(_) => "remove",
            Self::MakeUsers(_) => "make-users",
            Self::MakeDirectories(_) => "make-directories",
            Self::ProveMetrics(_) => "prove-metrics",
            Self::Reload => "reload",
            Self::Enable(_) => "enable",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::RestartWhenIdle(_) => "restart-when-idle",
        }
    }

    /// The file or directory it is about.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Write(path)
            | Self::WriteKeeping(path)
            | Self::Remove(path)
            | Self::MakeUsers(path)
            | Self::MakeDirectories(path)
            | Self::ProveMetrics(path) => Some(path),
            Self::SwitchOff(_)
            | Self::Disable(_)
            | Self::Reload
            | Self::Enable(_)
            | Self::Start(_)
            | Self::Restart(_)
            | Self::RestartWhenIdle(_) => None,
        }
    }

    /// The unit it is about.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::SwitchOff(unit)
            | Self::Disable(unit)
            | Self::Enable(unit)
            | Self::Start(unit)
            | Self::Restart(unit)
            | Self::RestartWhenIdle(unit) => Some(unit),
            Self::Write(_)
            | Self::WriteKeeping(_)
            | Self::Remove(_)
            | Self::MakeUsers(_)
            | Self::MakeDirectories(_)
            | Self::ProveMetrics(_)
            | Self::Reload => None,
        }
    }
}

/// What is to be done, and what is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Told, and nothing done about it.
    pub notes: Vec<String>,
    /// Why nothing can be done at all.
    pub refusals: Vec<String>,
}

/// Makes the plan.
#[must_use]
pub fn decide(seen: &Seen, asked: &Asked) -> Plan {
    let mut plan = Plan::default();
    let going =
        |unit: &&UnitLook| !asked.keep.contains(&unit.name) && (unit.enabled || unit.active);
    for unit in seen.units.iter().filter(going) {
        let name = unit.name.clone();
        plan.steps.push(if unit.active { Step::SwitchOff(name) } else { Step::Disable(name) });
    }
    files(seen, &mut plan);
    plan.steps.extend(seen.users.clone().map(Step::MakeUsers));
    if let Some(file) = &seen.directories {
        plan.steps.push(Step::MakeDirectories(file.clone()));
        plan.steps.push(Step::ProveMetrics(seen.metrics.clone()));
    }
    if seen.has_manager {
        units(seen, asked, &mut plan);
    } else if !asked.enable.is_empty() {
        plan.refusals.push("there is no systemd here to enable a unit of".to_owned());
    }
    plan
}

fn files(seen: &Seen, plan: &mut Plan) {
    for file in &seen.wanted {
        let path = file.path.clone();
        match &file.there {
            There::Same => {}
            There::Nothing | There::Older => plan.steps.push(Step::Write(path)),
            There::Foreign => plan.steps.push(Step::WriteKeeping(path)),
            There::Odd(why) => plan.refusals.push(format!("{}: {why}", path.display())),
        }
    }
    for file in &seen.surplus {
        match &file.there {
            There::Nothing => {}
            There::Same | There::Older => plan.steps.push(Step::Remove(file.path.clone())),
            There::Foreign => plan
                .notes
                .push(format!("{} was changed by somebody and is left", file.path.display())),
            There::Odd(why) => {
                plan.notes.push(format!("{} is left: {why}", file.path.display()));
            }
        }
    }
}

fn units(seen: &Seen, asked: &Asked, plan: &mut Plan) {
    // what is changed by then is known by the paths
    let concerns_units = |step: &Step| {
        let path = step.path().map(Path::to_string_lossy);
        let is_file = matches!(step, Step::Write(_) | Step::WriteKeeping(_) | Step::Remove(_));
        is_file && path.is_some_and(|path| path.contains("/systemd/system/"))
    };
    if asked.reload || plan.steps.iter().any(concerns_units) {
        plan.steps.push(Step::Reload);
    }
    let look = |name: &String| seen.units.iter().find(|unit| unit.name == *name);
    let enabled = |name: &&String| look(name).is_some_and(|unit| unit.enabled);
    for name in asked.enable.iter().filter(|name| !enabled(name)) {
        plan.steps.push(Step::Enable(name.clone()));
    }
    let active = |name: &&String| look(name).is_some_and(|unit| unit.active);
    for name in asked.start.iter().filter(|name| !active(name)) {
        plan.steps.push(Step::Start(name.clone()));
    }
    let kept = |unit: &&UnitLook| asked.keep.contains(&unit.name);
    let old = |unit: &&UnitLook| unit.active && unit.runs_old;
    for unit in seen.units.iter().filter(kept).filter(old) {
        match asked.restart {
            Restart::WhenIdle | Restart::Now => plan.steps.push(Step::Restart(unit.name.clone())),
            Restart::Skip => plan.notes.push(format!("{} goes on with old code", unit.name)),
        }
    }
    let Some(OldWorker { unit, evidence, awaited }) = &seen.worker else { return };
    match asked.restart {
        Restart::Now => plan.steps.push(Step::Restart(unit.clone())),
        Restart::WhenIdle if *awaited => {
            plan.notes.push(format!("{unit}: old code until idle; {evidence}"));
        }
        Restart::WhenIdle => {
            plan.notes.push(format!("{unit}: old code until idle; {evidence}"));
            plan.steps.push(Step::RestartWhenIdle(unit.clone()));
        }
        Restart::Skip => plan.notes.push(format!("{unit} goes on with old code; {evidence}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::install::FileLook;

    fn file(path: &str, there: There) -> FileLook {
        FileLook { path: PathBuf::from(path), there }
    }

    fn unit(name: &str) -> UnitLook {
        UnitLook { name: name.to_owned(), enabled: true, active: true, runs_old: false }
    }

    fn kept() -> Asked {
        Asked { keep: vec!["w.service".to_owned()], ..Asked::default() }
    }

    #[track_caller]
    fn check(seen: &Seen, asked: &Asked, expected: &[&str]) {
        let plan = decide(seen, asked);
        let words = |step: &Step| {
            let what = step.path().map(|path| path.display().to_string());
            let what = what.or_else(|| step.unit().map(str::to_owned)).unwrap_or_default();
            format!("{} {what}", step.verb()).trim_end().to_owned()
        };
        assert_eq!(plan.steps.iter().map(words).collect::<Vec<_>>(), expected, "{plan:?}");
    }

    #[test]
    fn what_is_in_place_needs_nothing() {
        let seen = Seen {
            wanted: vec![file("/usr/bin/x", There::Same)],
            units: vec![unit("w.service")],
            has_manager: true,
            ..Seen::default()
        };
        let w = || vec!["w.service".to_owned()];
        let asked = Asked { enable: w(), start: w(), ..kept() };
        assert_eq!(decide(&seen, &asked), Plan::default());
    }

    #[test]
    fn nothing_is_enabled_or_started_that_was_not_asked_for() {
        let off = UnitLook { enabled: false, active: false, ..unit("w.service") };
        let seen = Seen { units: vec![off], has_manager: true, ..Seen::default() };
        check(&seen, &kept(), &[]);
        let enable = Asked { enable: vec!["w.service".to_owned()], ..kept() };
        check(&seen, &enable, &["enable w.service"]);
        let start = Asked { start: vec!["w.service".to_owned()], ..enable };
        check(&seen, &start, &["enable w.service", "start w.service"]);
    }

    #[test]
    fn what_somebody_changed_is_kept_and_what_is_no_file_ends_it() {
        let wanted =
            vec![file("/a", There::Nothing), file("/b", There::Older), file("/c", There::Foreign)];
        let surplus = vec![
            file("/d", There::Older),
            file("/e", There::Foreign),
            file("/f", There::Nothing),
            file("/g", There::Odd("a directory".to_owned())),
        ];
        let mut seen = Seen { wanted, surplus, ..Seen::default() };
        check(&seen, &kept(), &["write /a", "write /b", "write-keeping-old /c", "remove /d"]);
        assert_eq!(decide(&seen, &kept()).notes.len(), 2);
        seen.wanted.push(file("/h", There::Odd("a directory".to_owned())));
        assert_eq!(decide(&seen, &kept()).refusals, ["/h: a directory"]);
    }

    #[test]
    fn systemd_reads_its_files_again_only_when_one_of_them_changes() {
        let at = |path: &str| Seen {
            wanted: vec![file(path, There::Older)],
            has_manager: true,
            ..Seen::default()
        };
        check(&at("/usr/bin/x"), &kept(), &["write /usr/bin/x"]);
        let path = "/usr/lib/systemd/system/w.service";
        check(&at(path), &kept(), &[&format!("write {path}"), "reload"]);
    }

    #[test]
    fn our_services_are_restarted_at_once_and_the_worker_when_it_is_idle() {
        let old = UnitLook { runs_old: true, ..unit("w.service") };
        let worker =
            OldWorker { unit: "job.service".to_owned(), evidence: "x".to_owned(), awaited: false };
        let seen = |unit: &UnitLook, worker: Option<&OldWorker>| Seen {
            units: vec![unit.clone()],
            worker: worker.cloned(),
            has_manager: true,
            ..Seen::default()
        };
        let with = |restart| Asked { restart, ..kept() };
        check(&seen(&old, None), &with(Restart::WhenIdle), &["restart w.service"]);
        check(&seen(&old, None), &with(Restart::Skip), &[]);
        let idle = unit("w.service");
        let rows: [(Restart, bool, &[&str]); 4] = [
            (Restart::WhenIdle, false, &["restart-when-idle job.service"]),
            (Restart::WhenIdle, true, &[]),
            (Restart::Now, false, &["restart job.service"]),
            (Restart::Skip, false, &[]),
        ];
        for (restart, awaited, expected) in rows {
            let worker = OldWorker { awaited, ..worker.clone() };
            check(&seen(&idle, Some(&worker)), &with(restart), expected);
            let told = decide(&seen(&idle, Some(&worker)), &with(restart)).notes;
            assert_eq!(told.is_empty(), restart == Restart::Now, "{told:?}");
        }
    }

    #[test]
    fn an_uninstallation_switches_off_before_it_takes_away() {
        let seen = Seen {
            surplus: vec![
                file("/usr/bin/x", There::Same),
                file("/usr/lib/systemd/system/w.service", There::Same),
            ],
            units: vec![unit("w.service")],
            has_manager: true,
            ..Seen::default()
        };
        let expected = [
            "switch-off w.service",
            "remove /usr/bin/x",
            "remove /usr/lib/systemd/system/w.service",
            "reload",
        ];
        check(&seen, &Asked::default(), &expected);
    }
}
