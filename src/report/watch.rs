//! What `unwedge-watch` tells: its metrics, its status for systemd, and each thing that is wrong
//! once, however long it lasts.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::exit::Exit;
use super::metrics::{self, Common, Families, count, flag};
use super::out;
use crate::config::Settings;
use crate::manifest::WATCH;
use crate::sys::clock::{Now, boottime};

/// The metrics are written at least so often, so that a watch that is gone is seen.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How the watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The digest of the configuration that it goes by.
    pub config: String,
    /// Mounts at the watched paths.
    pub mounts: usize,
    /// Daemons whose end is waited for.
    pub daemons: usize,
    /// Whether that is all of them, and their mounts are the host's.
    pub supported: bool,
    /// Whether the mount table could be read.
    pub table_read: bool,
    /// Whether the service manager took the last start.
    pub start_taken: bool,
    /// Rounds started.
    pub starts: usize,
}

impl Default for Standing {
    /// Before the first look.
    fn default() -> Self {
        Self {
            config: String::new(),
            mounts: 0,
            daemons: 0,
            supported: true,
            table_read: true,
            start_taken: true,
            starts: 0,
        }
    }
}

impl Standing {
    /// `STATUS=` of `sd_notify(3)`.
    #[must_use]
    pub fn status(&self) -> String {
        let Self { mounts, daemons, starts, .. } = self;
        format!("STATUS={mounts} mounts, {daemons} daemons watched; {starts} rounds started")
    }

    /// Writes the metrics.
    ///
    /// # Errors
    /// They could not be written.
    pub fn write(&self, settings: &Settings, now: &Now, took: Duration) -> Result<()> {
        let text = self.render(now, took).context("render metrics")?;
        metrics::put(settings, &WATCH.metrics_file(), &text, now)
    }

    fn render(&self, now: &Now, took: Duration) -> Result<String> {
        let mut families = Families::default();
        // it has no sentinel: what it does is permitted to whoever may look
        let ok = self.table_read && self.start_taken;
        let exit = if ok { Exit::Fine } else { Exit::Failed };
        families.set_common(&Common {
            tool: WATCH.name,
            now,
            armed: true,
            exit,
            took,
            holds: vec![],
        })?;
        families.set("unwedge_watch_daemons", &[], count(self.daemons))?;
        families.set("unwedge_watch_supported", &[], flag(self.supported))?;
        families.set("unwedge_watch_config", &[("digest", &self.config)], 1.0)?;
        families.set("unwedge_watch_starts", &[], count(self.starts))?;
        families.encode()
    }
}

/// Says how the watch stands, and each thing that is wrong once.
#[derive(Debug, Default)]
pub struct Reporter {
    told: Option<(Standing, Duration)>,
    said: BTreeSet<&'static str>,
}

impl Reporter {
    /// When the metrics are to be written though nothing is new.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.told.as_ref().map_or(Duration::ZERO, |(_, at)| *at + TELL_EVERY)
    }

    /// Writes the metrics of a turn that `began` so, when there is something new in them, and else
    /// when it is time; whether they were written.
    pub fn tell(&mut self, standing: &Standing, settings: &Settings, began: Duration) -> bool {
        if began < self.due() && self.told.as_ref().is_some_and(|(told, _)| told == standing) {
            return false;
        }
        self.told = Some((standing.clone(), began));
        let took = boottime().saturating_sub(began);
        let at = Now::take().map_err(anyhow::Error::from);
        let wrote = at.and_then(|at| standing.write(settings, &at, took));
        let trouble = wrote.err().map(|error| format!("{error:#}; tried again every minute"));
        self.once("metrics", trouble);
        true
    }

    /// Says what is wrong with `topic`, unless that was said before; without trouble it may be said
    /// again.
    pub fn once(&mut self, topic: &'static str, trouble: Option<String>) {
        match trouble {
            None => {
                self.said.remove(topic);
            }
            Some(trouble) if self.said.insert(topic) => say(&trouble),
            Some(_) => {}
        }
    }
}

/// One line for the journal.
pub fn say(line: &str) {
    out::complain(&format!("{}: {line}", WATCH.program));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_every_tool_has_and_its_own() {
        let now = Now { utc_ms: 5_000, boot_ms: 1, boot_id: "a".to_owned() };
        let config = "0a1b".to_owned();
        let standing =
            Standing { config, daemons: 2, supported: false, starts: 7, ..Standing::default() };
        let text = standing.render(&now, Duration::from_millis(2)).unwrap();
        for line in [
            "unwedge_tool_last_run_timestamp_seconds{tool=\"watch\"} 5",
            "unwedge_tool_armed{tool=\"watch\"} 1",
            "unwedge_tool_run_ok{tool=\"watch\"} 1",
            "unwedge_tool_duration_seconds{tool=\"watch\"} 0.002",
            "unwedge_tool_holds{reason=\"busy\",tool=\"watch\"} 0",
            "unwedge_watch_config{digest=\"0a1b\"} 1",
            "unwedge_watch_daemons 2",
            "unwedge_watch_supported 0",
            "unwedge_watch_starts 7",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn the_metrics_are_written_when_they_change_and_every_minute() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.host.textfile_dir = dir.path().to_owned();
        let (mut reporter, moment) = (Reporter::default(), Duration::from_millis(1));
        let (one, two) = (Standing::default(), Standing { starts: 1, ..Standing::default() });
        let start = Duration::from_secs(1_000);
        assert_eq!(reporter.due(), Duration::ZERO);
        assert!(reporter.tell(&one, &settings, start));
        assert!(dir.path().join(WATCH.metrics_file()).is_file());
        assert!(!reporter.tell(&one, &settings, start + moment));
        assert!(reporter.tell(&two, &settings, start + moment));
        let due = start + moment + TELL_EVERY;
        assert_eq!(reporter.due(), due);
        assert!(!reporter.tell(&two, &settings, due.saturating_sub(moment)));
        assert!(reporter.tell(&two, &settings, due));
    }
}
