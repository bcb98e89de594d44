//! What everything stands on: a configuration that holds, systemd, the kernel, programs, users, and somebody who reads
//! the metrics.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::{Finding, Host};
use crate::act::bind;
use crate::config::Services;
use crate::probes::{holders, identity};
use crate::sys::{command, text, user};

/// The first systemd with the names of units that a stop is passed on from (`StopPropagatedFrom=`, 249), which tell a
/// stop by hand from one that came along.
const SYSTEMD_MIN: u32 = 249;
/// How long systemctl may take for a single answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Who knows whether the clock is synchronised.
const TIMEDATECTL: &str = "/usr/bin/timedatectl";

/// The first kernel with `mount_setattr(2)`.
const KERNEL: (u32, u32) = (5, 12);
/// Since when a mount can be slid beneath another.
const BENEATH: (u32, u32) = (6, 5);

pub fn config(host: &Host<'_>) -> Vec<Finding> {
    vec![match &host.config {
        Ok(loaded) if loaded.files.is_empty() => Finding::ok(
            "",
            "there is none: nothing is watched but what is found, and nothing is repaired",
        ),
        Ok(loaded) => {
            let files: Vec<String> = loaded.files.iter().map(|file| text::path(file)).collect();
            Finding::ok("", files.join(", "))
        }
        Err(why) => Finding::fault("", why.trim_end()).mended_by("unwedge config check"),
    }]
}

pub fn systemd(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return vec![Finding::ok("", "services = \"process\": no service manager is asked")];
    }
    vec![match crate::probes::services::version(&host.settings.host.systemctl, ANSWER_LIMIT) {
        Ok(Some(version)) if version >= SYSTEMD_MIN => {
            Finding::ok("", format!("version {version}"))
        }
        Ok(Some(version)) => Finding::fault(
            "",
            format!(
                "version {version}; at least {SYSTEMD_MIN} is needed to tell a stop by hand from a death"
            ),
        ),
        Ok(None) => {
            Finding::unknown("", "systemd is not PID 1 here, so no unit can be asked about")
        }
        Err(why) => Finding::unknown("", why),
    }]
}

pub fn kernel(_: &Host<'_>) -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return vec![Finding::unknown("", format!("a release that is no number: {release}"))];
    };
    if (major, minor) < KERNEL {
        let why = format!("{release} lacks mount_setattr(2): without it nothing here works");
        return vec![Finding::fault("", why)];
    }
    let mut lacks = Vec::new();
    // these by looking: a version does not tell, where parts of a later kernel were taken over
    if !bind::knows_beneath().unwrap_or((major, minor) >= BENEATH) {
        lacks.push("MOVE_MOUNT_BENEATH; without it a bind that is swapped shows the bare directory for two system calls");
    }
    if has_unique_ids() == Some(false) {
        lacks.push("unique mount ids; without them a mount is told from its successor by less");
    }
    if holders::names_connections() == Some(false) {
        lacks.push("fuse_connection in fdinfo; without it a dead mount is confirmed by a second round, and unwedge-watch sees no daemon end");
    }
    vec![match lacks.as_slice() {
        [] => Finding::ok("", release),
        _ => Finding::warn("", format!("{release} lacks {}", lacks.join("; "))),
    }]
}

/// Whether a mount has an id of its own for ever; none where that could not be looked at.
fn has_unique_ids() -> Option<bool> {
    let root = std::fs::File::open("/").ok()?;
    Some(identity::describe(root).ok()?.unique_id.is_some())
}

pub fn clock(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let argv = [TIMEDATECTL, "show", "--property=NTPSynchronized", "--value"].map(OsString::from);
    vec![match command::run(&argv, ANSWER_LIMIT) {
        Ok(done) if done.ok() && done.stdout == b"yes\n" => Finding::ok("", "it is synchronised"),
        Ok(done) if done.ok() && done.stdout == b"no\n" => Finding::warn(
            "",
            "nobody keeps it right: after a reboot it may say a time that is past, and then nothing is done (clock-fault)",
        )
        .mended_by("timedatectl set-ntp true"),
        Ok(done) => Finding::unknown("", format!("timedatectl: {}", done.describe())),
        Err(failure) => Finding::unknown("", failure.to_string()),
    }]
}

pub fn programs(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let settings = &host.settings.host;
    let programs = [
        (settings.systemctl.as_path(), "apt-get install systemd"),
        (settings.journalctl.as_path(), "apt-get install systemd"),
        (Path::new("/usr/bin/systemd-sysusers"), "apt-get install systemd"),
        (Path::new("/usr/bin/systemd-tmpfiles"), "apt-get install systemd"),
    ];
    let look = |(path, mend): (&Path, &str)| {
        let shown = text::path(path);
        match std::fs::metadata(path) {
            Ok(there) if there.is_file() => Finding::ok(shown, "it is there"),
            Ok(_) => Finding::fault(shown, "it is no file").mended_by(mend),
            Err(error) => Finding::fault(shown, error.to_string()).mended_by(mend),
        }
    };
    programs.into_iter().map(look).collect()
}

pub fn service_user(host: &Host<'_>) -> Vec<Finding> {
    let name = &host.settings.host.user;
    vec![match user::named(name, user::LIMIT) {
        Ok(ids) if ids.uid == 0 => {
            Finding::fault(name, "it is root: nothing would be kept from it")
        }
        Ok(ids) => Finding::ok(name, format!("uid {}, gid {}", ids.uid, ids.gid)),
        Err(why) => Finding::fault(name, why).mended_by(format!(
            "systemd-sysusers {}",
            text::path(&crate::manifest::files::USERS[0].path(host.prefix))
        )),
    }]
}

pub fn units_named(host: &Host<'_>) -> Vec<Finding> {
    if host.settings.host.services == Services::Process {
        return Vec::new();
    }
    // those of our own come with the installation, and are missed by `installed`
    let own: Vec<String> = host.tools.iter().flat_map(|tool| tool.units()).collect();
    let names: Vec<String> =
        host.named_units().into_iter().filter(|name| !own.contains(name)).collect();
    let units = match host.units() {
        Ok(units) => units,
        Err(why) => return names.into_iter().map(|name| Finding::unknown(name, why)).collect(),
    };
    let look = |name: String| match units.get(&name) {
        Some(unit) if unit.is_loaded() => Finding::ok(name, unit.get("FragmentPath")),
        Some(unit) => {
            let mend = format!("systemctl cat {name}");
            let how = unit.get("LoadState").to_owned();
            Finding::fault(name, format!("the configuration names it, and systemd says: {how}"))
                .mended_by(mend)
        }
        None => Finding::unknown(name, "systemd said nothing of it"),
    };
    names.into_iter().map(look).collect()
}

pub fn node_exporter(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.textfile_dir;
    let shown = text::path(dir);
    let readers = crate::probes::exporters::reading(dir);
    vec![match readers {
        Ok(pids) if pids.is_empty() => Finding::warn(
            &shown,
            format!("no node_exporter runs with --collector.textfile.directory={shown}: nobody reads the metrics"),
        )
        .mended_by("apt-get install prometheus-node-exporter"),
        Ok(pids) => Finding::ok(&shown, format!("read by process {}", pids[0])),
        Err(why) => Finding::unknown(&shown, why),
    }]
}
