//! Whether the tools of this host are alive, by the metrics that they leave: for a sign of life that is only given
//! when all of them are. Who cannot ask systemd, such as the service user in a closed unit, knows no better.

use std::path::Path;
use std::time::Duration;

use super::exposition::{self, Sample};
use crate::config::Settings;
use crate::manifest::content::longest_round;
use crate::manifest::{CANARY, MOUNTS, NOTIFY, TOOLS, Tool};
use crate::sys::clock::Now;
use crate::sys::text;

/// What a round may be late by, beside its pause and its length.
const SLACK: Duration = Duration::from_secs(60);

/// Everything that is wrong: a tool that was heard of and is silent now, one whose last round failed, a probe that
/// cannot be trusted.
#[must_use]
pub fn wrong(settings: &Settings, now: &Now) -> Vec<String> {
    let dir = &settings.host.textfile_dir;
    let others = TOOLS.into_iter().filter(|tool| tool.name != NOTIFY.name);
    others.filter_map(|tool| wrong_with(tool, settings, dir, now)).collect()
}

fn wrong_with(tool: &Tool, settings: &Settings, dir: &Path, now: &Now) -> Option<String> {
    let limit = tool.stale_after(longest_round(tool, settings))? + SLACK;
    let path = dir.join(tool.metrics_file());
    let samples = match std::fs::read(&path) {
        Ok(bytes) => exposition::parse(&bytes),
        // one that never ran is none of this host's, but for the one that every host has
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_missed = tool.name == MOUNTS.name;
            return is_missed.then(|| format!("{} has never run", tool.program));
        }
        Err(error) => Err(error.to_string()),
    };
    let samples = match samples {
        Ok(samples) => samples,
        Err(why) => return Some(format!("{}: {why}", text::path(&path))),
    };
    let value = |family: &str| value(&samples, &settings.metrics.name(family));
    let at = value("unwedge_tool_last_run_timestamp_seconds")?;
    #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
    let age = (now.utc_ms / 1000) as f64 - at;
    if age > limit.as_secs_f64() {
        let age = text::duration(Duration::try_from_secs_f64(age).unwrap_or_default());
        return Some(format!("{} has not run for {age}", tool.program));
    }
    if value("unwedge_tool_run_ok") == Some(0.0) {
        let is_canary = tool.name == CANARY.name;
        let what = if is_canary { "the probe cannot be trusted" } else { "its last round failed" };
        return Some(format!("{}: {what}", tool.program));
    }
    None
}

fn value(samples: &[Sample], name: &str) -> Option<f64> {
    samples.iter().find(|sample| sample.name == name).map(|sample| sample.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_silent_or_failed_is_named_and_one_that_was_never_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.host.textfile_dir = dir.path().to_owned();
        let now = Now { utc_ms: 10_000_000, boot_ms: 1, boot_id: String::new() };
        let write = |tool: &Tool, at: u64, ok: u8| {
            let text = format!(
                "unwedge_tool_last_run_timestamp_seconds{{tool=\"{0}\"}} {at}\nunwedge_tool_run_ok{{tool=\"{0}\"}} {ok}\n",
                tool.name
            );
            std::fs::write(dir.path().join(tool.metrics_file()), text).unwrap();
        };
        assert_eq!(wrong(&settings, &now), ["unwedge-mounts has never run"]);
        // twice the pause of a minute, its deadline of four, and the slack of one
        let limit = 120 + 240 + 60;
        write(&MOUNTS, 10_000 - limit, 1);
        assert_eq!(wrong(&settings, &now), [""; 0]);
        write(&MOUNTS, 10_000 - limit - 1, 1);
        assert_eq!(wrong(&settings, &now), ["unwedge-mounts has not run for 7 min 1 s"]);
        write(&MOUNTS, 10_000, 0);
        write(&CANARY, 10_000, 0);
        assert_eq!(
            wrong(&settings, &now),
            [
                "unwedge-mounts: its last round failed",
                "unwedge-canary: the probe cannot be trusted"
            ]
        );
        std::fs::write(dir.path().join(MOUNTS.metrics_file()), "torn").unwrap();
        assert!(wrong(&settings, &now)[0].contains("unwedge_mounts.prom: "));
    }
}
