//! Metrics: whether they can be written, whether they are, and whether a parser takes them.

use std::time::{Duration, SystemTime};

use super::{Finding, Host};
use crate::manifest::content;
use crate::manifest::{Start, Tool};
use crate::probes::{exposition, install};
use crate::sys::clock;
use crate::sys::text;

/// A watch writes every minute, whatever happens.
const WATCH_LIMIT: Duration = Duration::from_secs(180);

pub fn directory(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.textfile_dir;
    let shown = text::path(dir);
    if !host.has_systemd() {
        return Vec::new();
    }
    let lines = content::directories(&host.settings.host);
    let own: Vec<&str> = lines.lines().filter(|line| line.contains(shown.as_str())).collect();
    let file = content::directories_file(&host.settings.host, host.prefix);
    vec![if own.iter().all(|line| install::has_directories(line)) {
        Finding::ok(
            shown,
            "root and the service user may write there, and nobody replaces another's file",
        )
    } else {
        Finding::fault(shown, format!("it is missing, or not as it should be: {}", own.join("; ")))
            .mended_by(format!("systemd-tmpfiles --create {}", text::path(&file)))
    }]
}

pub fn files_fresh(host: &Host<'_>) -> Vec<Finding> {
    host.tools.iter().filter_map(|tool| of(host, tool)).collect()
}

fn of(host: &Host<'_>, tool: &Tool) -> Option<Finding> {
    let active = host.units().ok()?.get(&tool.enabled_unit())?.is_active();
    let limit = match tool.start {
        Start::Every { .. } | Start::Daily => {
            tool.stale_after(content::longest_round(tool, host.settings))?
        }
        Start::Always => WATCH_LIMIT,
        Start::AtBoot => return None,
    };
    if !active || !tool.is_needed(host.settings) {
        return None;
    }
    let path = host.settings.host.textfile_dir.join(tool.metrics_file());
    let start = format!("systemctl start --no-block {}", tool.service());
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            return Some(
                Finding::warn(tool.name, format!("{}: {error}", text::path(&path)))
                    .mended_by(start),
            );
        }
    };
    let written =
        std::fs::metadata(&path).and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let age = clock::since_epoch()
        .saturating_sub(written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    Some(match exposition::parse(&bytes) {
        Err(why) => Finding::fault(
            tool.name,
            format!("{}: {why}: node_exporter leaves the whole file out", text::path(&path)),
        )
        .mended_by(start),
        Ok(_) if age > limit => Finding::fault(
            tool.name,
            format!(
                "written {} ago, at most {} is right",
                text::duration(age),
                text::duration(limit)
            ),
        )
        .mended_by(start),
        Ok(_) => Finding::ok(tool.name, format!("written {} ago", text::duration(age))),
    })
}
