//! Everything that can be said of an installation by looking: one registry of checks, each with a name, what it looks
//! at, and what else explains it. The installer asks those that it stands on, `verify-ops` and `unwedge doctor` all.
//!
//! A check only looks. It takes no lock, starts nothing but programs that look, and what it could not look at is
//! `unknown`, never `ok`.

mod ground;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Services, Settings};
use crate::manifest::Tool;
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

    /// The command that mends it.
    fn mended_by(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
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
        about: "every unit that the configuration names exists",
        after: &["config", "systemd"],
        is_ground: true,
        look: ground::units_named,
    },
    Check {
        name: "node-exporter",
        about: "somebody reads the directory that metrics are written to",
        after: &["config"],
        is_ground: true,
        look: ground::node_exporter,
    },
];

/// What checks look with.
pub struct Host<'a> {
    /// The settings; the defaults where the configuration does not hold.
    pub settings: &'a Settings,
    /// What is wrong with the configuration.
    pub config: Result<&'a [PathBuf], String>,
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
        config: Result<&'a [PathBuf], String>,
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
    let rows = |check: &Check| {
        let name = check.name;
        let row = move |Finding { subject, grade, evidence, mend }: Finding| Row {
            check: name,
            subject,
            grade,
            evidence,
            mend,
        };
        (check.look)(host).into_iter().map(row).collect::<Vec<_>>()
    };
    CHECKS.iter().filter(|check| wanted(check)).flat_map(rows).collect()
}
