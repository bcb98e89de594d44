//! The files that go onto a host, as they stand in this repository: each is a part of the program, so that it can put
//! them there, and can tell whether what is there is still what it put. A test holds the lists against the folders.

use std::path::{Path, PathBuf};

use super::{OPERATOR, TOOLS, Tool};

/// Where a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `lib/systemd/system`.
    Unit,
    /// `lib/sysusers.d/unwedge.conf`.
    Users,
    /// `lib/tmpfiles.d/unwedge.conf`.
    Directories,
    /// `lib/unwedge`: what types of jobs call.
    Script,
    /// `share/doc/unwedge` and a folder in it.
    Doc(&'static str),
}

impl Place {
    /// Whether only systemd has a use for what goes there.
    #[must_use]
    pub fn is_of_systemd(self) -> bool {
        match self {
            Self::Unit | Self::Users | Self::Directories => true,
            Self::Script | Self::Doc(_) => false,
        }
    }
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Where it goes.
    pub place: Place,
    /// Its name, here and there.
    pub name: &'static str,
    /// What is in it.
    text: &'static str,
}

/// The prefix that the texts are written for.
const WRITTEN_FOR: &str = "/usr";

impl File {
    /// Where it lies below `prefix`.
    #[must_use]
    pub fn path(&self, prefix: &Path) -> PathBuf {
        let below = match self.place {
            Place::Unit => Path::new("lib/systemd/system").join(self.name),
            Place::Users => PathBuf::from("lib/sysusers.d/unwedge.conf"),
            Place::Directories => PathBuf::from("lib/tmpfiles.d/unwedge.conf"),
            Place::Script => Path::new("lib/unwedge").join(self.name),
            Place::Doc(folder) => Path::new("share/doc/unwedge").join(folder).join(self.name),
        };
        prefix.join(below)
    }

    /// Its text as it is in this repository, for programs and pages below `/usr`.
    #[must_use]
    pub fn as_shipped(&self) -> &'static str {
        self.text
    }

    /// Its text where programs and pages lie below `prefix`.
    #[must_use]
    pub fn text(&self, prefix: &Path) -> String {
        let prefix = prefix.to_string_lossy();
        let mut parts = self.text.split(WRITTEN_FOR);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(if is_ours(part) { &prefix } else { WRITTEN_FOR });
            text.push_str(part);
        }
        text
    }

    /// Its mode, when it is made.
    #[must_use]
    pub fn mode(&self) -> u32 {
        if self.place == Place::Script { 0o755 } else { 0o644 }
    }

    /// The tool it is a unit of; none for what every host gets.
    #[must_use]
    pub fn tool(&self) -> Option<&'static Tool> {
        let its = |tool: &&&Tool| tool.units().any(|unit| unit == self.name);
        TOOLS.iter().find(its).copied().filter(|_| self.place == Place::Unit)
    }
}

/// Whether a text goes on with the rest of a path of ours, below the prefix. Programs of others stay where the distribution
/// puts them, wherever ours are.
fn is_ours(rest: &str) -> bool {
    let Some(name) = rest.strip_prefix("/bin/") else {
        return ["/lib/unwedge/", "/share/doc/unwedge/"].iter().any(|dir| rest.starts_with(dir));
    };
    let ends = |c: char| !c.is_ascii_alphanumeric() && !['-', '_', '.'].contains(&c);
    let name = name.split(ends).next().unwrap_or_default().trim_end_matches('.');
    TOOLS.iter().map(|tool| tool.program).chain([OPERATOR]).any(|program| program == name)
}

macro_rules! shipped {
    ($place:expr, $folder:literal: $($name:literal)*) => {
        [$(File {
            place: $place,
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/", $name)),
        }),*]
    };
}

#[rustfmt::skip]
/// Units.
pub static UNITS: [File; 16] = shipped!(Place::Unit, "systemd":
    "unwedge-binds.service"
    "unwedge-canary.service"
    "unwedge-canary.timer"
    "unwedge-jobs.service"
    "unwedge-jobs.timer"
    "unwedge-mounts.service"
    "unwedge-mounts.timer"
    "unwedge-notify.service"
    "unwedge-notify.timer"
    "unwedge-runner.service"
    "unwedge-verify.service"
    "unwedge-verify.timer"
    "unwedge-watch.service"
    "unwedge-worker-restart.service"
    "unwedge-worker.service"
    "unwedge-worker.timer"
);

#[rustfmt::skip]
/// The service user.
pub static USERS: [File; 1] = shipped!(Place::Users, "systemd":
    "unwedge.sysusers.conf"
);

#[rustfmt::skip]
/// Directories, with owner and mode.
pub static DIRECTORIES: [File; 1] = shipped!(Place::Directories, "systemd":
    "unwedge.tmpfiles.conf"
);

#[rustfmt::skip]
/// Drop-ins for units of the host, as examples.
pub static DROP_INS: [File; 6] = shipped!(Place::Doc("drop-ins"), "systemd":
    "binds-after-storage.conf"
    "mount-unit-on-failure.conf"
    "runner-docker.conf"
    "worker-after-binds.conf"
    "worker-after-storage.conf"
    "worker-stop-limit.conf"
);

#[rustfmt::skip]
/// What each permission permits.
pub static SENTINELS: [File; 7] = shipped!(Place::Doc("sentinels.example"), "sentinels.example":
    "HALT"
    "binds"
    "jobs"
    "mounts"
    "notify"
    "recover"
    "worker"
);

#[rustfmt::skip]
/// The configuration with every key.
pub static EXAMPLE: [File; 4] = shipped!(Place::Doc(""), ".":
    "unwedge.toml.example"
    "README.md"
    "TUTORIAL.md"
    "CHANGELOG.md"
);

/// Scripts that types of jobs call.
#[rustfmt::skip]
pub static SCRIPTS: [File; 3] = shipped!(Place::Script, "jobs.example":
    "ocr"
    "office-to-pdf"
    "ship"
);

/// Types of jobs, and configurations, to begin with.
#[rustfmt::skip]
pub static TYPES: [File; 9] = shipped!(Place::Doc("jobs.example"), "jobs.example":
    "boxed.toml"
    "desk.toml"
    "mixed.toml"
    "none.toml"
    "office.toml"
    "pdftext.toml"
    "scans.toml"
    "server.toml"
    "ship.toml"
);

/// A page for each alarm.
#[rustfmt::skip]
pub static PAGES: [File; 80] = shipped!(Place::Doc("playbooks"), "playbooks":
    "README.md"
    "abort-unavailable.md"
    "alert-bucket.md"
    "alert-canary-failed.md"
    "alert-checks-failed.md"
    "alert-clock-fault.md"
    "alert-debt-overdue.md"
    "alert-drill.md"
    "alert-files-below-mount.md"
    "alert-halt-forgotten.md"
    "alert-halt-with-debt.md"
    "alert-heartbeat.md"
    "alert-hold-forgotten.md"
    "alert-intake.md"
    "alert-jobs-not-taken.md"
    "alert-jobs-stalled.md"
    "alert-lane-trouble.md"
    "alert-message-undelivered.md"
    "alert-metrics-not-writable.md"
    "alert-no-capable-worker.md"
    "alert-quarantine-growing.md"
    "alert-queue-unreadable.md"
    "alert-repair-failing.md"
    "alert-state-unreadable.md"
    "alert-storage-unrecovered.md"
    "alert-tool-absent.md"
    "alert-tool-stale.md"
    "alert-worker-crash-looping.md"
    "alert-worker-down.md"
    "alert-worker-silent.md"
    "bad-bind.md"
    "busy.md"
    "clock-fault.md"
    "cooling-down.md"
    "crash-looping.md"
    "deploy-in-progress.md"
    "disk-full.md"
    "foreign-namespace.md"
    "halted.md"
    "has-children.md"
    "hides-data.md"
    "how-arm.md"
    "how-cooldown.md"
    "how-deploy.md"
    "how-move.md"
    "how-reboot.md"
    "how-restart.md"
    "identity-changed.md"
    "look-only-type.md"
    "not-a-mount-point.md"
    "not-armed.md"
    "not-confirmed.md"
    "nothing-pending.md"
    "on-hold.md"
    "outside-roots.md"
    "over-daily-cap.md"
    "over-hourly-cap.md"
    "over-target-cap.md"
    "queue-recovers-itself.md"
    "queue-unknown.md"
    "running-jobs-present.md"
    "shared-superblock.md"
    "state-unreadable.md"
    "still-pinned.md"
    "storage-not-live.md"
    "unclear-evidence.md"
    "unit-not-found.md"
    "unit-stopped-by-operator.md"
    "verdict-absent.md"
    "verdict-child-of-dead.md"
    "verdict-dead.md"
    "verdict-hung.md"
    "verdict-inconclusive.md"
    "verdict-pinned.md"
    "verdict-stacked.md"
    "verdict-transient.md"
    "verdict-unknown.md"
    "verdict-wrong-source.md"
    "worker-active.md"
    "worker-stopped-by-operator.md"
);

/// Rules for Prometheus, and how they may be routed.
#[rustfmt::skip]
pub static ALERTS: [File; 3] = shipped!(Place::Doc("alerts"), "alerts":
    "README.md"
    "alertmanager.example.yml"
    "unwedge.rules.yml"
);

/// The rules.
pub static RULES: &File = &ALERTS[2];

/// The names of the alerts.
#[must_use]
pub fn alerts() -> Vec<&'static str> {
    RULES.text.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect()
}

/// Every file for a host with these tools.
pub fn of<'a>(tools: &'a [&'static Tool]) -> impl Iterator<Item = &'static File> + 'a {
    let units = UNITS.iter().filter(|unit| {
        unit.tool().is_none_or(|its| tools.iter().any(|tool| tool.name == its.name))
    });
    let rest = [
        &USERS[..],
        &DIRECTORIES,
        &DROP_INS,
        &SENTINELS,
        &EXAMPLE,
        &SCRIPTS,
        &TYPES,
        &PAGES,
        &ALERTS,
    ];
    units.chain(rest.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_paths_those_of_our_own_alone_go_with_the_prefix() {
        for (text, expected) in [
            (
                "ExecStart=/usr/bin/unwedge-mounts --apply",
                "ExecStart=/opt/x/bin/unwedge-mounts --apply",
            ),
            ("say /usr/bin/unwedge.", "say /opt/x/bin/unwedge."),
            ("/usr/bin/verify-ops", "/opt/x/bin/verify-ops"),
            ("[\"/usr/lib/unwedge/ocr\"]", "[\"/opt/x/lib/unwedge/ocr\"]"),
            ("/usr/share/doc/unwedge/playbooks/a.md", "/opt/x/share/doc/unwedge/playbooks/a.md"),
            ("/usr/bin/pdftotext -layout", "/usr/bin/pdftotext -layout"),
            ("systemctl = \"/usr/bin/systemctl\"", "systemctl = \"/usr/bin/systemctl\""),
            // of the same beginning, and no more
            ("/usr/bin/unwedge-else /usr/bin/unwedged", "/usr/bin/unwedge-else /usr/bin/unwedged"),
            (
                "/usr/local/bin/unwedge /usr/lib/unwedge.d",
                "/usr/local/bin/unwedge /usr/lib/unwedge.d",
            ),
            ("/usr", "/usr"),
            ("", ""),
        ] {
            let file = File { place: Place::Doc(""), name: "a", text };
            assert_eq!(file.text(Path::new("/opt/x")), expected);
            assert_eq!(file.text(Path::new("/usr")), text);
        }
    }
}
