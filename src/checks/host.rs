//! What belongs to this host: the worker's own unit, the options that decide how long a mount hangs, and the queue.

use std::time::Duration;

use super::{Finding, Host};
use crate::manifest::{BINDS, RUNNER};
use crate::probes::family::Family;
use crate::probes::jobs::{self, QueueLook};
use crate::probes::mountinfo;
use crate::probes::services::Shown;
use crate::sys::text;

/// Longer than this should no dead line keep a mount: `[mounts.confirm] hung` is as long.
const HANG_MAX: Duration = Duration::from_secs(120);

pub fn worker_unit(host: &Host<'_>) -> Vec<Finding> {
    let Some(worker) = &host.settings.worker else { return Vec::new() };
    let Some(name) = worker.unit.as_deref().filter(|_| host.has_systemd()) else {
        return Vec::new();
    };
    let unit = match host.units() {
        Ok(units) => match units.get(name) {
            Some(unit) if unit.is_loaded() => unit,
            Some(_) | None => return Vec::new(),
        },
        Err(why) => return vec![Finding::unknown(name, why)],
    };
    let mut found = vec![stop_limit(host, name, unit)];
    found.extend(after_binds(host, name, unit));
    found.extend(restart(name, unit));
    for storage in host.settings.mount.iter().filter_map(|mount| mount.unit.as_deref()) {
        let tied = ["Requires", "BindsTo", "PartOf", "StopPropagatedFrom"]
            .into_iter()
            .find(|tie| unit.names(tie, storage));
        let ordered = unit.names("After", storage);
        found.push(match (tied, ordered) {
            (Some(tie), false) => Finding::warn(name, format!("{tie}={storage} without After=: at boot it starts before its storage is there"))
                .mended_by("unwedge install --drop-ins worker-after-storage"),
            (Some(tie), true) => Finding::ok(name, format!("{tie}={storage}: a stop of the storage is passed on to it, and it is started again after a repair")),
            (None, _) => Finding::ok(name, format!("a stop of {storage} is not passed on to it")),
        });
    }
    found
}

/// It must be down before the round that stops it has to end.
fn stop_limit(host: &Host<'_>, name: &str, unit: &Shown) -> Finding {
    let ours = host.settings.mounts.deadline;
    // how long the runner may take is what its jobs are given
    let mend = if name == RUNNER.service() {
        "unwedge config show # [jobs] drain, [mounts] deadline"
    } else {
        "unwedge install --drop-ins worker-stop-limit"
    };
    match unit.time("TimeoutStopUSec") {
        Some(limit) if limit * 2 <= ours => {
            Finding::ok(name, format!("it may take {} to stop", text::duration(limit)))
        }
        Some(limit) => Finding::warn(
            name,
            format!(
                "it may take {} to stop, and a whole repair has {}",
                text::duration(limit),
                text::duration(ours)
            ),
        )
        .mended_by(mend),
        None => Finding::warn(
            name,
            "it may take for ever to stop (TimeoutStopSec=infinity): a repair gives up on it",
        )
        .mended_by(mend),
    }
}

fn after_binds(host: &Host<'_>, name: &str, unit: &Shown) -> Option<Finding> {
    if !BINDS.is_needed(host.settings) {
        return None;
    }
    let (requires, after) = (
        unit.names("Requires", "unwedge-binds.service"),
        unit.names("After", "unwedge-binds.service"),
    );
    Some(if requires && after {
        Finding::ok(name, "it starts only once every bind is in place")
    } else {
        Finding::warn(
            name,
            "it may start before its binds are in place, and then writes to the disk below them",
        )
        .mended_by("unwedge install --drop-ins worker-after-binds")
    })
}

fn restart(name: &str, unit: &Shown) -> Option<Finding> {
    let burst = unit.get("StartLimitBurst").parse::<u32>().ok()?;
    let (interval, pause) = (unit.time("StartLimitIntervalUSec")?, unit.time("RestartUSec")?);
    let restarts = !matches!(unit.get("Restart"), "no" | "");
    // so many starts fit into the interval that systemd gives up
    let gives_up = restarts && burst > 0 && !interval.is_zero() && pause * burst < interval;
    Some(if !restarts {
        Finding::ok(name, "systemd does not restart it; unwedge-worker does")
    } else if gives_up {
        Finding::ok(
            name,
            format!(
                "systemd gives it up after {burst} starts within {}; then unwedge-worker waits for a change of its unit",
                text::duration(interval)
            ),
        )
    } else {
        Finding::ok(name, format!("systemd restarts it every {}", text::duration(pause)))
    })
}

pub fn mount_options(host: &Host<'_>) -> Vec<Finding> {
    let table = match mountinfo::read(|_| true) {
        Ok(table) => table,
        Err(why) => return vec![Finding::unknown("", why.to_string())],
    };
    let mounted = host.settings.mount.iter().filter_map(|spec| {
        table.iter().filter(|mount| mount.path == spec.path).last().map(|mount| (spec, mount))
    });
    let look = |(spec, mount): (&crate::config::MountSpec, &mountinfo::Mount)| {
        let shown = text::path(&spec.path);
        if Family::of(&mount.fstype) != Family::Fuse {
            return None;
        }
        let words = daemon_of(&shown)?;
        Some(match mount.fstype.as_str() {
            "fuse.sshfs" => sshfs(shown, &words, spec.unit.as_deref()),
            "fuse.rclone" => rclone(shown, &words, spec.unit.as_deref()),
            _ => return None,
        })
    };
    mounted.filter_map(look).collect()
}

/// The command line of the process that was started for a mount point.
fn daemon_of(path: &str) -> Option<Vec<String>> {
    let all = procfs::process::all_processes().ok()?;
    all.filter_map(|process| process.ok()?.cmdline().ok()).find(|words| {
        let program = words.first().map(String::as_str).unwrap_or_default();
        (program.ends_with("sshfs") || program.ends_with("rclone"))
            && words.iter().any(|word| word == path)
    })
}

fn sshfs(path: String, words: &[String], unit: Option<&str>) -> Finding {
    let options: Vec<&str> = words
        .iter()
        .flat_map(|word| word.split(','))
        .map(|word| word.trim_start_matches("-o"))
        .collect();
    let number = |key: &str| {
        options.iter().find_map(|it| it.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    let edit = format!("systemctl edit --full {}", unit.unwrap_or("UNIT"));
    // ServerAliveCountMax is 3 unless it is said (ssh_config(5))
    match (number("ServerAliveInterval"), number("ServerAliveCountMax").unwrap_or(3)) {
        (None | Some(0), _) => Finding::warn(path, "no ServerAliveInterval: a line that is dead keeps it hanging until TCP gives up, some 15 min; -o reconnect,ServerAliveInterval=15,ServerAliveCountMax=3 is usual").mended_by(edit),
        (Some(interval), count) => {
            let hangs = Duration::from_secs(interval.saturating_mul(count));
            let said = format!("a dead line is noticed after {}", text::duration(hangs));
            if hangs > HANG_MAX { Finding::warn(path, said).mended_by(edit) } else { Finding::ok(path, said) }
        }
    }
}

fn rclone(path: String, words: &[String], unit: Option<&str>) -> Finding {
    let flag = |name: &str| {
        let mut words = words.iter();
        words.find_map(|word| match word.strip_prefix(name) {
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        })
    };
    let edit = format!("systemctl edit --full {}", unit.unwrap_or("UNIT"));
    match flag("--timeout") {
        // the default of --timeout is 5m (rclone.org/docs)
        None => Finding::warn(path, "no --timeout: an idle transfer is given up after 5 min; --timeout=60s --contimeout=15s is usual").mended_by(edit),
        Some(said) => Finding::ok(path, format!("--timeout={said}")),
    }
}

pub fn queue(host: &Host<'_>) -> Vec<Finding> {
    let Some(queue) = &host.settings.queue else { return Vec::new() };
    match jobs::ask_of(&host.prefix.join("bin/unwedge-jobs"), host.settings, jobs::limit(queue)) {
        QueueLook::Unknown { why, .. } => {
            vec![Finding::unknown("", format!("queue-unknown: {why}")).mended_by("unwedge-jobs")]
        }
        QueueLook::Known(facts) => {
            let mut found = vec![Finding::ok(
                "",
                format!("{}: it can be read", text::bytes(facts.queue.as_bytes())),
            )];
            found.extend(
                facts.advice.iter().map(|advice| Finding::warn("", text::bytes(advice.as_bytes()))),
            );
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Grade;

    #[test]
    fn how_long_a_mount_hangs_is_read_from_its_command_line() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, grade) in [
            (
                "sshfs -f -o reconnect,ServerAliveInterval=15,ServerAliveCountMax=3 box: /srv/a",
                Grade::Ok,
            ),
            ("sshfs -f -oServerAliveInterval=15 box: /srv/a", Grade::Ok),
            ("sshfs -f -o ServerAliveInterval=40 box: /srv/a", Grade::Ok),
            ("sshfs -f -o ServerAliveInterval=41 box: /srv/a", Grade::Warn),
            ("sshfs -f -o ServerAliveInterval=0 box: /srv/a", Grade::Warn),
            ("sshfs -f box: /srv/a", Grade::Warn),
        ] {
            assert_eq!(sshfs("/srv/a".to_owned(), &words(line), None).grade, grade, "{line}");
        }
        for (line, grade) in [
            ("rclone mount box: /srv/a --timeout=60s", Grade::Ok),
            ("rclone mount box: /srv/a", Grade::Warn),
        ] {
            assert_eq!(rclone("/srv/a".to_owned(), &words(line), None).grade, grade, "{line}");
        }
    }
}
