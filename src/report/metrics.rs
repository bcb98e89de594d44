//! Metrics in a textfile for `node_exporter`: whole or not at all, no timestamps, base units, one
//! family in one file, except the common ones, which have one HELP text for all tools. A round of
//! `unwedge-mounts` is told here; what another tool tells stands in a file of its own beside this.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result};
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};

use super::exit::Exit;
use super::round::Round;
use crate::act::store::{self, Durability};
use crate::config::{self, Settings};
use crate::decide::plan::{Hold, Reason};
use crate::manifest::{MOUNTS, families};
use crate::probes::mounts::Role;
use crate::probes::records::Debt;
use crate::probes::verdict::Verdict;
use crate::sys::clock::Now;
use crate::sys::text;

/// Writes the file.
///
/// # Errors
/// It could not be written: a fault of its own, because the old figures look fresh to nobody.
pub fn write(settings: &Settings, round: &Round<'_>) -> Result<()> {
    let text = render(round).context("render metrics")?;
    put(settings, &round.tool.metrics_file(), &text, round.now)
}

/// Puts the text of the file of this name in its place, with the names that this host has for the families.
pub(super) fn put(settings: &Settings, name: &str, text: &str, now: &Now) -> Result<()> {
    let file = &settings.host.textfile_dir.join(name);
    // others may write in that directory: what cannot be replaced is put aside, never removed
    if std::fs::symlink_metadata(file).is_ok_and(|there| there.is_dir()) {
        let aside = file.with_extension(format!("kept-{}", now.utc_ms));
        std::fs::rename(file, aside).context("put aside a directory in the metrics' place")?;
    }
    store::replace(file, renamed(text, &settings.metrics).as_bytes(), Durability::Fleeting)
}

/// The same text with the families' names as this host has them.
fn renamed(text: &str, names: &config::metrics::Metrics) -> String {
    let line = |line: &str| {
        let comment =
            ["# HELP ", "# TYPE "].into_iter().find(|it| line.starts_with(it)).unwrap_or("");
        format!("{comment}{}\n", names.name(&line[comment.len()..]))
    };
    text.lines().map(line).collect()
}

/// The file's text.
///
/// # Errors
/// A family is not as the library wants it.
pub fn render(round: &Round<'_>) -> Result<String> {
    let mut metrics = Families::default();
    metrics.set_common(&Common {
        tool: round.tool.name,
        now: round.now,
        armed: round.armed,
        exit: round.exit(),
        took: round.took,
        holds: round.holds().collect(),
    })?;
    if round.tool.name == MOUNTS.name {
        of_mounts(&mut metrics, round)?;
    }
    if let Some(news) = &round.worker {
        super::worker::metrics(&mut metrics, round, news)?;
    }
    metrics.encode()
}

fn of_mounts(metrics: &mut Families, round: &Round<'_>) -> Result<()> {
    for seen in round.present {
        let path = text::path(&seen.path);
        for verdict in Verdict::ALL {
            let labels = [("path", path.as_str()), ("state", verdict.name())];
            metrics.set("unwedge_mount_state", &labels, flag(seen.verdict == verdict))?;
        }
        let of_path = [("path", path.as_str())];
        if let Some(errno) = seen.errno {
            metrics.set("unwedge_mount_errno", &of_path, f64::from(errno))?;
        }
        if let Some(probe) = seen.probe {
            metrics.set("unwedge_mount_probe_seconds", &of_path, probe.as_secs_f64())?;
        }
        // the bare directory of a path that is listed should be empty, mounted on or not
        let listed = seen.roles.contains(&Role::Base) || seen.roles.contains(&Role::Bind);
        if let Some(entries) = seen.beneath.filter(|_| listed) {
            metrics.set("unwedge_mount_hidden_entries", &of_path, f64::from(entries))?;
        }
        let sighting = round.state.sightings.iter().find(|sighting| sighting.path == seen.path);
        if let Some(sighting) = sighting.filter(|sighting| sighting.verdict == seen.verdict) {
            let since = seconds_of(sighting.since.utc_ms);
            metrics.set("unwedge_mount_state_since_timestamp_seconds", &of_path, since)?;
        }
    }
    for repairs in &round.state.repairs {
        let path = text::path(&repairs.path);
        for (outcome, total) in [("ok", repairs.ok), ("failed", repairs.failed)] {
            let labels = [("outcome", outcome), ("path", path.as_str())];
            metrics.set("unwedge_mount_repairs", &labels, whole(total))?;
        }
    }
    if let Some(owed) = round.debts {
        for kind in Debt::KINDS {
            let open = owed.debts.iter().filter(|debt| debt.kind() == kind).count();
            metrics.set("unwedge_debts", &[("kind", kind)], count(open))?;
            let since = owed.debts.iter().filter(|debt| debt.kind() == kind);
            if let Some(oldest) = since.map(|debt| debt.since().utc_ms).min() {
                let name = "unwedge_debt_oldest_timestamp_seconds";
                metrics.set(name, &[("kind", kind)], seconds_of(oldest))?;
            }
        }
    }
    if let Some(orphans) = round.orphans {
        metrics.set("unwedge_mounts_orphan_connections", &[], count(orphans))?;
    }
    if let Some(open) = round.incidents {
        metrics.set("unwedge_incidents_open", &[], count(open))?;
    }
    Ok(())
}

/// The metric of a drill, which says itself when it is over.
///
/// # Errors
/// It could not be written.
pub fn write_drill(settings: &Settings, name: &str, time: Duration, now: &Now) -> Result<()> {
    let mut families = Families::default();
    let until = seconds_of(now.utc_ms) + time.as_secs_f64();
    families.set("unwedge_drill_until_timestamp_seconds", &[], until)?;
    put(settings, name, &families.encode()?, now)
}

/// What every tool's file tells of its round.
pub(super) struct Common<'a> {
    pub tool: &'a str,
    pub now: &'a Now,
    pub armed: bool,
    pub exit: Exit,
    pub took: Duration,
    pub holds: Vec<&'a Hold>,
}

/// The families of one file, each made when it is first set: a family without a value is left out.
#[derive(Default)]
pub(super) struct Families {
    registry: Registry,
    gauges: BTreeMap<&'static str, GaugeVec>,
}

impl Families {
    /// The families that are in every file.
    pub(super) fn set_common(&mut self, round: &Common<'_>) -> Result<()> {
        for (name, value) in [
            ("unwedge_tool_last_run_timestamp_seconds", seconds_of(round.now.utc_ms)),
            ("unwedge_tool_armed", flag(round.armed)),
            ("unwedge_tool_run_ok", flag(round.exit == Exit::Fine)),
            ("unwedge_tool_duration_seconds", round.took.as_secs_f64()),
        ] {
            self.set(name, &[("tool", round.tool)], value)?;
        }
        for reason in Reason::ALL {
            let labels = [("reason", reason.name()), ("tool", round.tool)];
            let held = round.holds.iter().filter(|hold| hold.reason == reason).count();
            self.set("unwedge_tool_holds", &labels, count(held))?;
        }
        Ok(())
    }

    /// Sets one value.
    pub(super) fn set(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
        let family = families::named(name).with_context(|| format!("{name} is not declared"))?;
        let gauge = match self.gauges.entry(family.name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let gauge = GaugeVec::new(Opts::new(family.name, family.help), family.labels)?;
                self.registry.register(Box::new(gauge.clone()))?;
                vacant.insert(gauge)
            }
        };
        gauge.get_metric_with(&labels.iter().copied().collect::<HashMap<_, _>>())?.set(value);
        Ok(())
    }

    /// The file's text.
    pub(super) fn encode(&self) -> Result<String> {
        let mut bytes = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut bytes)?;
        String::from_utf8(bytes).context("metrics are text")
    }
}

pub(super) fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

pub(super) fn seconds_of(utc_ms: u64) -> f64 {
    whole(utc_ms) / 1000.0
}

/// A number of things.
pub(super) fn count(value: usize) -> f64 {
    whole(u64::try_from(value).unwrap_or(u64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(super) fn whole(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_other_names_for_every_family_and_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.host.textfile_dir = dir.path().to_owned();
        let now = Now { utc_ms: 1, boot_ms: 1, boot_id: String::new() };
        let text = "# HELP unwedge_x About unwedge_x.\n# TYPE unwedge_x gauge\nunwedge_x{path=\"/unwedge_x\"} 1\n";
        for (prefix, expected) in [
            ("unwedge", text),
            (
                "old",
                "# HELP old_x About unwedge_x.\n# TYPE old_x gauge\nold_x{path=\"/unwedge_x\"} 1\n",
            ),
        ] {
            settings.metrics.prefix = prefix.to_owned();
            put(&settings, "unwedge_mounts.prom", text, &now).unwrap();
            let written = std::fs::read_to_string(dir.path().join("unwedge_mounts.prom")).unwrap();
            assert_eq!(written, expected);
        }
    }
}
