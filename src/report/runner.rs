//! What `unwedge-runner` tells: its metrics, now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::exit::Exit;
use super::metrics::{self, Common, Families, count, flag};
use crate::config::Settings;
use crate::manifest::RUNNER;
use crate::sys::clock::Now;

/// How a runner stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `waiting` for its queue, `idle`, `busy` or `draining`.
    pub state: &'static str,
    /// Jobs at work.
    pub running: usize,
    /// Done since its start.
    pub done: u64,
    /// Tries that were no success, since its start.
    pub failed: u64,
    /// Whether the queue answered last.
    pub has_queue: bool,
    /// Buckets, and whether they answered last.
    pub buckets: BTreeMap<String, bool>,
    /// Engines of containers, and whether they answered last.
    pub engines: BTreeMap<String, bool>,
}

impl Standing {
    /// Writes the metrics.
    ///
    /// # Errors
    /// They could not be written.
    pub fn write(&self, settings: &Settings, now: &Now) -> Result<()> {
        let text = self.render(now).context("render metrics")?;
        metrics::put(settings, &RUNNER.metrics_file(), &text, now)
    }

    /// Takes the metrics away: of a runner that has ended as it was to, nobody waits for a sign.
    pub fn take_away(settings: &Settings) {
        // where they stay they are told to be old, which they are
        let _ = std::fs::remove_file(settings.host.textfile_dir.join(RUNNER.metrics_file()));
    }

    fn render(&self, now: &Now) -> Result<String> {
        let mut families = Families::default();
        // it has no sentinel: its unit being enabled is its permission
        let exit = if self.has_queue { Exit::Fine } else { Exit::Failed };
        families.set_common(&Common {
            tool: RUNNER.name,
            now,
            armed: true,
            exit,
            took: Duration::ZERO,
            holds: vec![],
        })?;
        let whole = |number: u64| count(usize::try_from(number).unwrap_or(usize::MAX));
        families.set("unwedge_runner_queue_reachable", &[], flag(self.has_queue))?;
        families.set("unwedge_runner_jobs_running", &[], count(self.running))?;
        families.set("unwedge_runner_jobs_done", &[], whole(self.done))?;
        families.set("unwedge_runner_tries_failed", &[], whole(self.failed))?;
        for (name, answers) in &self.buckets {
            families.set(
                "unwedge_runner_bucket_answers",
                &[("name", name.as_str())],
                flag(*answers),
            )?;
        }
        for (name, answers) in &self.engines {
            let labels = [("name", name.as_str())];
            families.set("unwedge_runner_engine_answers", &labels, flag(*answers))?;
        }
        families.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_every_tool_has_and_its_own() {
        let now = Now { utc_ms: 5_000, boot_ms: 1, boot_id: "a".to_owned() };
        let standing = Standing {
            running: 2,
            done: 7,
            failed: 1,
            buckets: [("scans".to_owned(), true)].into(),
            engines: [("/usr/bin/podman".to_owned(), false)].into(),
            ..Standing::default()
        };
        let text = standing.render(&now).unwrap();
        for line in [
            "unwedge_tool_last_run_timestamp_seconds{tool=\"runner\"} 5",
            "unwedge_tool_run_ok{tool=\"runner\"} 0",
            "unwedge_runner_queue_reachable 0",
            "unwedge_runner_jobs_running 2",
            "unwedge_runner_jobs_done 7",
            "unwedge_runner_tries_failed 1",
            "unwedge_runner_bucket_answers{name=\"scans\"} 1",
            "unwedge_runner_engine_answers{name=\"/usr/bin/podman\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }
}
