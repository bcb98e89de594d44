//! Our own units: there as they were shipped, switched on where the configuration needs them, and run when they
//! should have.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::{Finding, Host, or_ok};
use crate::manifest::content::{self, Body, Content};
use crate::manifest::files::{self, Place};
use crate::manifest::{RESTART_WHEN_IDLE, RunsAs, Start, Tool, WATCH};
use crate::probes::install::{runs_old, worker_runs_old};
use crate::probes::services::Shown;
use crate::probes::worker;
use crate::sys::{clock, command, text};

/// What gives a service a mount namespace of its own, in which the host's mounts are not changed
/// (`systemd/README.md` has the whole list), and the value at which it does not.
const PRIVATE: [(&str, &str); 4] =
    [("PrivateMounts", "no"), ("PrivateTmp", "no"), ("ProtectSystem", "no"), ("ProtectHome", "no")];

/// What reads units as systemd would.
const ANALYZE: &str = "/usr/bin/systemd-analyze";
/// How long that may take for all units together.
const VERIFY_LIMIT: Duration = Duration::from_secs(20);

/// What nobody has told systemd of yet is no evidence of anything.
fn each(host: &Host<'_>, look: impl Fn(&'static Tool, &Shown) -> Option<Finding>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let units = match host.units() {
        Ok(units) => units,
        Err(why) => {
            return host.tools.iter().map(|tool| Finding::unknown(tool.name, why)).collect();
        }
    };
    let of = |tool: &&'static Tool| look(tool, units.get(&tool.service())?);
    host.tools.iter().filter_map(of).collect()
}

/// The unit that is enabled for a tool, as systemd shows it.
fn enabled_unit<'a>(host: &'a Host<'_>, tool: &Tool) -> Option<&'a Shown> {
    host.units().ok()?.get(&tool.enabled_unit())
}

pub fn files_installed(host: &Host<'_>) -> Vec<Finding> {
    let programs = host.tools.iter().map(|tool| host.prefix.join("bin").join(tool.program));
    let lacking = |path: PathBuf, why: &str| {
        Finding::fault(text::path(&path), why).mended_by("unwedge install")
    };
    let missing =
        programs.filter(|path| !path.is_file()).map(|path| lacking(path, "it is not there"));
    let mut found: Vec<Finding> = missing.collect();
    if host.has_systemd() {
        for file in files::of(host.tools).filter(|file| file.place.is_of_systemd()) {
            let path = file.path(host.prefix);
            match std::fs::read_to_string(&path) {
                Ok(there) if there == file.text(host.prefix) => {}
                Ok(_) => found.push(lacking(
                    path,
                    "it is not what this version ships; changes belong into a drop-in",
                )),
                Err(error) => found.push(lacking(path, &error.to_string())),
            }
        }
    }
    or_ok(found, format!("as this version ships them, below {}", text::path(host.prefix)))
}

pub fn units_fit(host: &Host<'_>) -> Vec<Finding> {
    let wanted = content::local(host.tools, host.settings);
    let fits = |content: &&Content| {
        let Body::Text(text) = &content.body else { return true };
        std::fs::read(&content.path).is_ok_and(|there| there == *text)
    };
    let lacking: Vec<Finding> = wanted
        .iter()
        .filter(|content| !fits(content))
        .map(|content| {
            let why = "the configuration differs from what the unit is written for, and this does not say so";
            Finding::fault(text::path(&content.path), why).mended_by("unwedge install")
        })
        .collect();
    or_ok(lacking, "deadlines, users and directories are those of the configuration")
}

pub fn units_read(host: &Host<'_>) -> Vec<Finding> {
    let stale = |unit: &Shown| unit.get("NeedDaemonReload") == "yes";
    let named = host.named_units().into_iter().filter(|name| {
        host.has_systemd() && host.units().is_ok_and(|units| units.get(name).is_some_and(stale))
    });
    let named: Vec<Finding> = named
        .map(|name| {
            Finding::warn(name, "it was changed, and systemd goes by the old one")
                .mended_by("systemctl daemon-reload")
        })
        .collect();
    let mut found = each(host, |tool, shown| {
        let timer = tool.timer().and_then(|timer| host.units().ok()?.get(&timer));
        Some(if stale(shown) || timer.is_some_and(stale) {
            Finding::warn(tool.name, "its unit was changed, and systemd goes by the old one")
                .mended_by("systemctl daemon-reload")
        } else if shown.is_loaded() {
            Finding::ok(tool.name, shown.get("FragmentPath"))
        } else {
            Finding::fault(
                tool.name,
                format!("systemd says of {}: {}", tool.service(), shown.get("LoadState")),
            )
            .mended_by("unwedge install")
        })
    });
    found.extend(named);
    found
}

pub fn verified(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let units = files::of(host.tools).filter(|file| file.place == Place::Unit);
    let ours: Vec<(&str, PathBuf)> =
        units.map(|file| (file.name, file.path(host.prefix))).filter(|it| it.1.is_file()).collect();
    let mut argv: Vec<OsString> = [ANALYZE, "--man=no", "verify"].map(OsString::from).to_vec();
    argv.extend(ours.iter().map(|(_, path)| path.into()));
    let said = match command::run(&argv, VERIFY_LIMIT) {
        Ok(done) => done.stderr + &String::from_utf8_lossy(&done.stdout),
        Err(failure) => return vec![Finding::unknown("", failure.to_string())],
    };
    // of what they stand on it says more than is ours to mend
    let about = |line: &&str| ours.iter().any(|(name, _)| line.contains(name));
    let found = said.lines().filter(about).map(|line| {
        Finding::fault("", format!("systemd-analyze verify: {}", text::bytes(line.as_bytes())))
            .mended_by("unwedge install")
    });
    or_ok(found.collect(), "systemd-analyze verify says nothing of our units")
}

pub fn switched_on(host: &Host<'_>) -> Vec<Finding> {
    each(host, |tool, _| {
        let unit = enabled_unit(host, tool)?;
        let name = tool.enabled_unit();
        let enable = format!("unwedge install --enable {} --start", tool.name);
        Some(match (unit.is_enabled(), unit.is_active(), tool.is_needed(host.settings)) {
            (_, _, false) => Finding::ok(tool.name, "the configuration has nothing for it"),
            (true, true, true) => Finding::ok(tool.name, format!("{name} is enabled and active")),
            (true, false, true) if tool.start == Start::AtBoot => {
                Finding::ok(tool.name, format!("{name} is enabled"))
            }
            (true, false, true) => {
                Finding::fault(tool.name, format!("{name} is enabled, and does not run"))
                    .mended_by(format!("systemctl start --no-block {name}"))
            }
            (false, true, true) => {
                Finding::warn(tool.name, format!("{name} runs, and will not after a reboot"))
                    .mended_by(enable)
            }
            (false, false, true) => Finding::warn(
                tool.name,
                format!("{name} is not enabled: nobody starts {}", tool.program),
            )
            .mended_by(enable),
        })
    })
}

pub fn ran(host: &Host<'_>) -> Vec<Finding> {
    each(host, |tool, shown| {
        let limit = tool.stale_after(content::longest_round(tool, host.settings))?;
        if !enabled_unit(host, tool)?.is_active() {
            return None;
        }
        let start = format!("systemctl start --no-block {}", tool.service());
        let age = |moment: &str| Some(clock::monotonic().saturating_sub(shown.moment(moment)?));
        if let ("activating", Some(since)) =
            (shown.get("ActiveState"), age("InactiveExitTimestampMonotonic"))
        {
            let said = format!("a round is at work since {}", text::duration(since));
            return Some(if since > limit {
                Finding::fault(tool.name, said)
                    .mended_by(format!("systemctl stop --no-block {}", tool.service()))
            } else {
                Finding::ok(tool.name, said)
            });
        }
        // one that has just been switched on waits for its first time
        let timer = enabled_unit(host, tool)?;
        let waits = clock::monotonic()
            .saturating_sub(timer.moment("ActiveEnterTimestampMonotonic").unwrap_or_default());
        Some(match age("InactiveEnterTimestampMonotonic") {
            Some(age) if age <= limit => {
                Finding::ok(tool.name, format!("{} ago", text::duration(age)))
            }
            Some(age) => Finding::fault(
                tool.name,
                format!(
                    "the last round was {} ago, at most {} is right",
                    text::duration(age),
                    text::duration(limit)
                ),
            )
            .mended_by(start),
            None if waits <= limit => Finding::ok(tool.name, "its timer has just been started"),
            None => Finding::fault(tool.name, "there was no round since boot").mended_by(start),
        })
    })
}

pub fn result(host: &Host<'_>) -> Vec<Finding> {
    each(host, |tool, shown| {
        let service = tool.service();
        Some(match (shown.get("ActiveState"), shown.get("Result")) {
            ("failed", result) => Finding::fault(
                tool.name,
                format!("its last run ended with {result}, exit {}; why is in `journalctl -u {service}`", shown.get("ExecMainStatus")),
            )
            .mended_by(format!("systemctl start --no-block {service}")),
            (state, "success") => Finding::ok(tool.name, state),
            (state, result) => Finding::warn(tool.name, format!("{state}, {result}")).mended_by(format!("systemctl start --no-block {service}")),
        })
    })
}

pub fn old_code(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(pid) = host.units().ok().and_then(|units| units.get(&WATCH.service())?.main_pid())
        && let Some(program) = runs_old(pid, host.prefix, &[])
    {
        let why = format!("process {pid} runs what {} was before", text::path(&program));
        found.push(
            Finding::warn(WATCH.name, why)
                .mended_by(format!("systemctl restart --no-block {}", WATCH.service())),
        );
    }
    if let Some(configured) = &host.settings.worker {
        let look = worker::glance(host.settings, configured);
        if let Some((pid, program)) = worker_runs_old(&look, host.prefix, &[]) {
            let why = format!(
                "old code until idle: process {pid} runs what {} was before",
                text::path(&program)
            );
            found.push(
                Finding::warn(&look.name, why)
                    .mended_by(format!("systemctl start --no-block {RESTART_WHEN_IDLE}")),
            );
        }
    }
    or_ok(found, "whatever runs is what is installed")
}

pub fn host_namespace(host: &Host<'_>) -> Vec<Finding> {
    each(host, |tool, shown| {
        if tool.runs_as == RunsAs::ServiceUser {
            return None;
        }
        // what is shipped so is meant so
        let shipped = content::unit_of(tool).unwrap_or_default();
        let meant = |property: &str| shipped.contains(&format!("\n{property}="));
        let wrong = PRIVATE.iter().find(|(property, open)| {
            !["", open].contains(&shown.get(property)) && !meant(property)
        });
        Some(match wrong {
            None => Finding::ok(tool.name, "it lives among the host's own mounts"),
            Some((property, _)) => {
                let files: Vec<String> =
                    shown.files().skip(1).map(|file| text::path(&file)).collect();
                let why = format!(
                    "{property}={} gives it mounts of its own: the host sees nothing of a repair ({})",
                    shown.get(property),
                    files.join(", ")
                );
                Finding::fault(tool.name, why)
                    .mended_by(format!("systemctl revert {} && unwedge install", tool.service()))
            }
        })
    })
}
