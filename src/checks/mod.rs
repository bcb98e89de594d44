//! Everything that can be said of an installation by looking: one registry of checks, each with a name, what it looks
//! at, and what else explains it. The installer asks those that it stands on, `verify-ops` and `unwedge doctor` all.
//!
//! A check only looks. It takes no lock, starts nothing but programs that look, and what it could not look at is
//! `unknown`, never `ok`.

mod ground;
mod host;
mod jobs;
mod journal;
mod metrics;
mod permissions;
pub mod rehearsal;
mod state;
mod units;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::config::{Loaded, Services, Settings};
use crate::manifest::{self, Tool};
use crate::probes::services::{self, Shown};
use crate::sys::clock::Now;

/// How long systemctl may take for all units together.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(10);

/// How a row stands, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// It works, and a person should know.
    Warn,
    /// Something does not work, or would not when it is needed.
    Fault,
}

impl Grade {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warn, Self::Fault];

    /// The exit code of a program whose worst row is this.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unknown | Self::Warn => 1,
            Self::Fault => 2,
        }
    }

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fault => "fault",
        }
    }
}

/// What a check found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The check.
    pub check: &'static str,
    /// Of what: a unit, a path, a tool; empty for the host as a whole.
    pub subject: String,
    /// How it stands.
    pub grade: Grade,
    /// What was seen.
    pub evidence: String,
    /// The one command that mends it.
    pub mend: Option<String>,
}

/// What a check says of one thing before it is known whose it is.
#[derive(Clone, Debug)]
pub struct Finding {
    subject: String,
    grade: Grade,
    evidence: String,
    mend: Option<String>,
}

impl Finding {
    fn new(grade: Grade, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { subject: subject.into(), grade, evidence: evidence.into(), mend: None }
    }

    fn ok(subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Grade::Ok, subject, evidence)
    }

    fn warn(subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Grade::Warn, subject, evidence)
    }

    fn fault(subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Grade::Fault, subject, evidence)
    }

    fn unknown(subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(Grade::Unknown, subject, evidence)
    }

    /// As a row of this check.
    fn of(self, check: &'static str) -> Row {
        let Self { subject, grade, evidence, mend } = self;
        Row { check, subject, grade, evidence, mend }
    }

    /// The command that mends it.
    fn mended_by(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
}

/// What was found; where that is nothing, all is well.
fn or_ok(mut found: Vec<Finding>, evidence: impl Into<String>) -> Vec<Finding> {
    if found.is_empty() {
        found.push(Finding::ok("", evidence));
    }
    found
}

/// One check.
pub struct Check {
    /// Its name, the same in lists, metrics and alerts.
    pub name: &'static str,
    /// What it looks at, one line.
    pub about: &'static str,
    /// Checks whose fault explains one of this: then this is a consequence, and not shown beside its cause.
    pub after: &'static [&'static str],
    /// Whether the installer wants it to be without a fault before it touches anything.
    pub is_ground: bool,
    look: fn(&Host<'_>) -> Vec<Finding>,
}

/// Every check, causes before consequences.
pub static CHECKS: &[Check] = &[
    Check {
        name: "config",
        about: "the configuration can be read and holds",
        after: &[],
        is_ground: true,
        look: ground::config,
    },
    Check {
        name: "systemd",
        about: "systemd runs here, answers, and is not too old",
        after: &[],
        is_ground: true,
        look: ground::systemd,
    },
    Check {
        name: "kernel",
        about: "the kernel has what repairs and looks are made of",
        after: &[],
        is_ground: true,
        look: ground::kernel,
    },
    Check {
        name: "programs",
        about: "the programs that are called are where they are called",
        after: &[],
        is_ground: true,
        look: ground::programs,
    },
    Check {
        name: "service-user",
        about: "the user exists whom everything runs as that needs no root",
        after: &[],
        is_ground: false,
        look: ground::service_user,
    },
    Check {
        name: "units-named",
        about: "every unit of others that the configuration names exists",
        after: &["config", "systemd"],
        is_ground: true,
        look: ground::units_named,
    },
    Check {
        name: "installed",
        about: "programs and units are those of this version",
        after: &[],
        is_ground: false,
        look: units::files_installed,
    },
    Check {
        name: "units-fit",
        about: "the units know the deadlines, users and directories of the configuration",
        after: &["config"],
        is_ground: false,
        look: units::units_fit,
    },
    Check {
        name: "units-verified",
        about: "systemd finds nothing wrong in the units",
        after: &["systemd", "installed"],
        is_ground: false,
        look: units::verified,
    },
    Check {
        name: "units-read",
        about: "systemd goes by the units as they are on disk",
        after: &["systemd", "installed"],
        is_ground: false,
        look: units::units_read,
    },
    Check {
        name: "host-namespace",
        about: "what acts on mounts lives among the host's own",
        after: &["systemd", "units-read"],
        is_ground: false,
        look: units::host_namespace,
    },
    Check {
        name: "switched-on",
        about: "what the configuration needs is started by itself",
        after: &["systemd", "installed", "units-read"],
        is_ground: false,
        look: units::switched_on,
    },
    Check {
        name: "halt",
        about: "nobody has stopped everything",
        after: &[],
        is_ground: false,
        look: permissions::halt,
    },
    Check {
        name: "holds",
        about: "no kind of act is paused",
        after: &["records"],
        is_ground: false,
        look: permissions::holds,
    },
    Check {
        name: "sentinels",
        about: "what is permitted and what is started fit each other",
        after: &["switched-on"],
        is_ground: false,
        look: permissions::sentinels,
    },
    Check {
        name: "deploy-lock",
        about: "no deployment keeps everything from acting",
        after: &["config"],
        is_ground: false,
        look: permissions::deploy_lock,
    },
    Check {
        name: "locks",
        about: "no round holds its lock longer than it may take",
        after: &["config"],
        is_ground: false,
        look: permissions::locks,
    },
    Check {
        name: "records",
        about: "everything that is remembered can be read, and its times can be true",
        after: &["config"],
        is_ground: false,
        look: state::records,
    },
    Check {
        name: "clock",
        about: "the clock is kept right by somebody",
        after: &[],
        is_ground: false,
        look: ground::clock,
    },
    Check {
        name: "room",
        about: "there is room for state and metrics",
        after: &["config"],
        is_ground: false,
        look: state::room,
    },
    Check {
        name: "debts",
        about: "what was taken away has been put back",
        after: &["records", "halt", "switched-on"],
        is_ground: false,
        look: state::debts,
    },
    Check {
        name: "last-run",
        about: "each round was when it should have been",
        after: &["switched-on", "locks"],
        is_ground: false,
        look: units::ran,
    },
    Check {
        name: "last-result",
        about: "each tool's last run did its job",
        after: &[
            "config",
            "installed",
            "records",
            "metrics-directory",
            "queue",
            "service-user",
            "host-namespace",
        ],
        is_ground: false,
        look: units::result,
    },
    Check {
        name: "old-code",
        about: "whatever runs is what is installed",
        after: &[],
        is_ground: false,
        look: units::old_code,
    },
    Check {
        name: "old-config",
        about: "whatever runs goes by the configuration as it is now",
        after: &["config", "metrics", "metrics-directory", "switched-on"],
        is_ground: false,
        look: metrics::old_config,
    },
    Check {
        name: "worker-unit",
        about: "the worker's own unit fits what is done with it",
        after: &["config", "units-named"],
        is_ground: false,
        look: host::worker_unit,
    },
    Check {
        name: "mount-options",
        about: "a dead line does not keep a mount hanging for long",
        after: &["config"],
        is_ground: false,
        look: host::mount_options,
    },
    Check {
        name: "queue",
        about: "the queue can be read",
        after: &["config", "service-user"],
        is_ground: false,
        look: host::queue,
    },
    Check {
        name: "job-types",
        about: "the types of jobs can be read, and their programs are here",
        after: &["config"],
        is_ground: false,
        look: jobs::types,
    },
    Check {
        name: "lanes",
        about: "jobs of every type are taken, and done by its first tool",
        after: &["config", "queue", "metrics", "last-run", "job-types"],
        is_ground: false,
        look: jobs::lanes,
    },
    Check {
        name: "stalled",
        about: "no job that runs stands still",
        after: &["config", "queue", "metrics", "last-run"],
        is_ground: false,
        look: jobs::stalled,
    },
    Check {
        name: "quarantine",
        about: "nothing was put aside of late",
        after: &["config", "queue", "metrics", "last-run"],
        is_ground: false,
        look: jobs::quarantine,
    },
    Check {
        name: "workers",
        about: "every worker of the queue gives signs of life",
        after: &["config", "queue", "metrics", "last-run"],
        is_ground: false,
        look: jobs::workers,
    },
    Check {
        name: "engines",
        about: "every engine of containers answers the runner",
        after: &["config", "metrics"],
        is_ground: false,
        look: jobs::engines,
    },
    Check {
        name: "buckets",
        about: "every bucket answers the runner",
        after: &["config", "metrics"],
        is_ground: false,
        look: jobs::buckets,
    },
    Check {
        name: "heartbeats",
        about: "the signs of life that something waits for are fresh",
        after: &["config", "metrics", "last-run"],
        is_ground: false,
        look: jobs::heartbeats,
    },
    Check {
        name: "intakes",
        about: "what lies complete in an intake can be taken in",
        after: &["config", "metrics", "last-run", "buckets"],
        is_ground: false,
        look: jobs::intakes,
    },
    Check {
        name: "journal",
        about: "nobody complained in the journal in the last minutes",
        after: &["systemd", "last-result", "config", "records", "queue"],
        is_ground: false,
        look: journal::recent,
    },
    Check {
        name: "patterns",
        about: "no line in a journal is one of those that the configuration knows",
        after: &["systemd", "config"],
        is_ground: false,
        look: journal::patterns,
    },
    Check {
        name: "metrics-directory",
        about: "metrics can be written by root and by the service user",
        after: &["config", "service-user"],
        is_ground: false,
        look: metrics::directory,
    },
    Check {
        name: "metrics",
        about: "metrics are written, fresh, and what the exporter takes",
        after: &["metrics-directory", "switched-on", "last-run", "last-result"],
        is_ground: false,
        look: metrics::files_fresh,
    },
    Check {
        name: "node-exporter",
        about: "somebody reads the directory that metrics are written to",
        after: &["config"],
        is_ground: true,
        look: ground::node_exporter,
    },
    Check {
        name: "alert-rules",
        about: "the Prometheus that the configuration names has loaded every alert",
        after: &["config"],
        is_ground: false,
        look: metrics::alert_rules,
    },
];

/// What checks look with.
pub struct Host<'a> {
    /// The settings; the defaults where the configuration does not hold.
    pub settings: &'a Settings,
    /// The configuration, or what is wrong with it.
    pub config: Result<&'a Loaded, String>,
    /// Below which programs, units and pages lie.
    pub prefix: &'a Path,
    /// The tools that are installed.
    pub tools: &'a [&'static Tool],
    /// When it was begun.
    pub now: &'a Now,
    units: OnceCell<Result<BTreeMap<String, Shown>, String>>,
}

impl<'a> Host<'a> {
    /// A host with these settings.
    #[must_use]
    pub fn new(
        settings: &'a Settings,
        config: Result<&'a Loaded, String>,
        prefix: &'a Path,
        tools: &'a [&'static Tool],
        now: &'a Now,
    ) -> Self {
        Self { settings, config, prefix, tools, now, units: OnceCell::new() }
    }

    /// Whether there is a service manager to ask.
    fn has_systemd(&self) -> bool {
        self.settings.host.services == Services::Systemd
    }

    /// What the service manager says of every unit that matters here, asked once.
    ///
    /// # Errors
    /// Why it said nothing.
    pub fn units(&self) -> Result<&BTreeMap<String, Shown>, &str> {
        let asked = self.units.get_or_init(|| {
            let ours = self.tools.iter().flat_map(|tool| tool.units());
            let mut names: Vec<String> = ours.chain(self.named_units()).collect();
            names.sort();
            names.dedup();
            services::show(&self.settings.host.systemctl, &names, SYSTEMCTL_LIMIT)
        });
        asked.as_ref().map_err(String::as_str)
    }

    /// Whether a tool that is a service is at work, as far as the service manager says so.
    fn runs(&self, tool: &Tool) -> bool {
        self.is_up(tool) == Ok(true)
    }

    /// Whether it is.
    ///
    /// # Errors
    /// Why nobody knows.
    fn is_up(&self, tool: &Tool) -> Result<bool, &str> {
        let unit = self.units()?.get(&tool.service());
        unit.map(|unit| unit.main_pid().is_some()).ok_or("systemd was not asked for it")
    }

    /// The units that the configuration names.
    #[must_use]
    pub fn named_units(&self) -> Vec<String> {
        let mounts = self.settings.mount.iter();
        let of_mounts = mounts.flat_map(|mount| mount.unit.iter().chain(&mount.dependents));
        let of_worker = self.settings.worker.iter().filter_map(|worker| worker.unit.as_ref());
        let mut names: Vec<String> = of_mounts.chain(of_worker).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Runs the checks that `wanted` picks; every row, in the order of the registry.
#[must_use]
pub fn run(host: &Host<'_>, wanted: impl Fn(&Check) -> bool) -> Vec<Row> {
    let rows = |check: &'static Check| (check.look)(host).into_iter().map(|it| it.of(check.name));
    CHECKS.iter().filter(|check| wanted(check)).flat_map(rows).collect()
}

/// Which rows are explained by another: a fault of what a check comes after, of the same subject or of the whole host.
#[must_use]
pub fn consequences(rows: &[Row]) -> Vec<bool> {
    let causes =
        |check: &str| CHECKS.iter().find(|it| it.name == check).map_or(&[][..], |it| it.after);
    let explains = |cause: &Row, row: &Row| {
        let bad = matches!(cause.grade, Grade::Fault | Grade::Unknown);
        bad && causes(row.check).contains(&cause.check)
            && (cause.subject.is_empty() || cause.subject == row.subject || row.subject.is_empty())
    };
    let explained =
        |row: &Row| row.grade != Grade::Ok && rows.iter().any(|cause| explains(cause, row));
    rows.iter().map(explained).collect()
}

/// Whether a check or a tool is called so.
#[must_use]
pub fn is_known(name: &str) -> bool {
    CHECKS.iter().any(|check| check.name == name) || manifest::tool(name).is_some()
}

/// Fault where something that is required, a check or a tool by its name, is anything but ok; or not here at all.
#[must_use]
pub fn required(rows: &[Row], names: &[String]) -> Grade {
    let is_ok = |name: &String| {
        let about = |row: &&Row| row.check == name.as_str() || row.subject == *name;
        let mut about = rows.iter().filter(about).peekable();
        about.peek().is_some() && about.all(|row| row.grade == Grade::Ok)
    };
    if names.iter().all(is_ok) { Grade::Ok } else { Grade::Fault }
}

/// The worst of all; ok where there is nothing.
#[must_use]
pub fn worst(rows: &[Row]) -> Grade {
    rows.iter().map(|row| row.grade).max().unwrap_or(Grade::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(check: &'static str, subject: &str, grade: Grade) -> Row {
        Row { check, subject: subject.to_owned(), grade, evidence: String::new(), mend: None }
    }

    #[test]
    fn checks_are_named_once_and_come_after_others_that_there_are() {
        for (index, check) in CHECKS.iter().enumerate() {
            assert!(CHECKS[..index].iter().all(|it| it.name != check.name), "{}", check.name);
            for cause in check.after {
                assert!(CHECKS.iter().any(|it| it.name == *cause), "{}: {cause}", check.name);
                assert_ne!(*cause, check.name);
            }
            assert!(check.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        }
    }

    #[test]
    fn what_is_required_must_be_there_and_ok() {
        let rows = [
            row("switched-on", "mounts", Grade::Ok),
            row("last-run", "mounts", Grade::Warn),
            row("halt", "", Grade::Ok),
        ];
        for (name, grade) in [
            ("halt", Grade::Ok),
            ("mounts", Grade::Fault),
            ("last-run", Grade::Fault),
            ("jobs", Grade::Fault),
        ] {
            assert_eq!(required(&rows, &[name.to_owned()]), grade, "{name}");
        }
        assert_eq!(required(&rows, &[]), Grade::Ok);
        assert!(
            is_known("halt")
                && is_known("mounts")
                && is_known("unwedge-mounts")
                && !is_known("mount")
        );
    }

    #[test]
    fn a_cause_hides_its_consequences_and_only_those() {
        let rows = [
            row("switched-on", "mounts", Grade::Fault),
            row("last-run", "mounts", Grade::Fault),
            row("last-run", "worker", Grade::Fault),
            row("metrics", "mounts", Grade::Ok),
            row("halt", "", Grade::Warn),
        ];
        assert_eq!(consequences(&rows), [false, true, false, false, false]);
        let rows = [
            row("config", "", Grade::Fault),
            row("units-fit", "x", Grade::Fault),
            row("systemd", "", Grade::Warn),
            row("switched-on", "mounts", Grade::Warn),
        ];
        assert_eq!(consequences(&rows), [false, true, false, false], "a warning explains nothing");
        assert_eq!(worst(&rows), Grade::Fault);
        assert_eq!(worst(&[]), Grade::Ok);
        assert!(Grade::Unknown > Grade::Ok && Grade::Unknown < Grade::Fault, "unknown is never ok");
    }
}
