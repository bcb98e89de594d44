//! The configuration as it may be written: the names and kinds of its keys and nothing more. Everything is
//! optional, values are kept as text, and an unknown key is an error; what a value means is decided when settings
//! are made of it.

use std::collections::BTreeMap;
use std::fmt;

use super::container::{Mode, Pull};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A whole configuration.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct Fragment {
    /// `[host]`
    pub host: Option<HostFragment>,
    /// `[gates]`
    pub gates: Option<GatesFragment>,
    /// `[probe]`
    pub probe: Option<ProbeFragment>,
    /// `[mounts]`
    pub mounts: Option<MountsFragment>,
    /// `[[mount]]`, in the order of the files
    pub mount: Option<Vec<MountFragment>>,
    /// `[binds]`
    pub binds: Option<BindsFragment>,
    /// `[[bind]]`, in the order of the files
    pub bind: Option<Vec<BindFragment>>,
    /// `[queue]`
    pub queue: Option<QueueFragment>,
    /// `[worker]`
    pub worker: Option<WorkerFragment>,
    /// `[metrics]`
    pub metrics: Option<MetricsFragment>,
    /// `[notify]`
    pub notify: Option<NotifyFragment>,
    /// `[doctor]`
    pub doctor: Option<DoctorFragment>,
    /// `[jobs]`
    pub jobs: Option<JobsFragment>,
    /// `[[intake]]`
    pub intake: Option<Vec<IntakeFragment>>,
    /// `[[heartbeat]]`
    pub heartbeat: Option<Vec<HeartbeatFragment>>,
    /// `[[bucket]]`
    pub bucket: Option<Vec<BucketFragment>>,
}

/// `[host]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct HostFragment {
    pub user: Option<String>,
    pub state_dir: Option<String>,
    pub run_dir: Option<String>,
    pub sentinel_dir: Option<String>,
    pub textfile_dir: Option<String>,
    pub services: Option<String>,
    pub systemctl: Option<String>,
    pub journalctl: Option<String>,
}

/// `[gates]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct GatesFragment {
    pub deploy_lock: Option<String>,
}

/// `[probe]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct ProbeFragment {
    pub timeout: Option<DurationText>,
    pub daemons: Option<String>,
}

/// `[mounts]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct MountsFragment {
    pub deadline: Option<DurationText>,
    pub repair_under: Option<Vec<String>>,
    pub watch: Option<String>,
    pub confirm: Option<ConfirmFragment>,
    pub budget: Option<BudgetFragment>,
}

/// `[mounts.confirm]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct ConfirmFragment {
    pub dead: Option<ConfirmationFragment>,
    pub hung: Option<ConfirmationFragment>,
    pub absent: Option<ConfirmationFragment>,
    pub pinned: Option<ConfirmationFragment>,
    pub stacked: Option<ConfirmationFragment>,
    pub transient: Option<ConfirmationFragment>,
}

/// One `{ runs = …, age = … }` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { runs = 2, age = \"2m\" }")]
#[allow(missing_docs)]
pub struct ConfirmationFragment {
    pub runs: Option<i64>,
    pub age: Option<DurationText>,
}

/// `[mounts.budget]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct BudgetFragment {
    pub cooldown: Option<DurationText>,
    pub per_hour: Option<i64>,
    pub per_day: Option<i64>,
    pub per_target_per_day: Option<i64>,
}

/// One `[[mount]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct MountFragment {
    pub path: Option<String>,
    pub unit: Option<String>,
    pub source: Option<String>,
    pub fstype: Option<String>,
    pub wait: Option<DurationText>,
    pub remount: Option<Vec<String>>,
    pub dependents: Option<Vec<String>>,
}

/// `[binds]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct BindsFragment {
    pub manifest: Option<String>,
    pub cold_root: Option<String>,
    pub hot_root: Option<String>,
}

/// One `[[bind]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct BindFragment {
    pub cold: Option<String>,
    pub hot: Option<String>,
}

/// `[worker]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct WorkerFragment {
    pub unit: Option<String>,
    pub start: Option<Vec<String>>,
    pub stop: Option<Vec<String>>,
    pub status: Option<Vec<String>>,
    pub needs: Option<Vec<String>>,
    pub respect_stop: Option<DurationText>,
    pub own_cooldown: Option<bool>,
    pub verify: Option<DurationText>,
    pub free_mib_min: Option<i64>,
    pub free_inodes_min: Option<i64>,
    pub deadline: Option<DurationText>,
    pub budget: Option<WorkerBudgetFragment>,
}

/// `[worker.budget]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct WorkerBudgetFragment {
    pub cooldown: Option<DurationText>,
    pub per_day: Option<i64>,
}

/// `[metrics]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct MetricsFragment {
    pub prefix: Option<String>,
}

/// `[notify]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct NotifyFragment {
    pub repeat: Option<DurationText>,
    pub timeout: Option<DurationText>,
    pub command: Option<Vec<String>>,
    pub webhook: Option<Vec<WebhookFragment>>,
    pub ping: Option<PingFragment>,
    pub ca_file: Option<String>,
}

/// `[[notify.webhook]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct WebhookFragment {
    pub shape: Option<String>,
    pub url_file: Option<String>,
    pub url_credential: Option<String>,
}

/// `[notify.ping]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct PingFragment {
    pub url_file: Option<String>,
    pub url_credential: Option<String>,
}

/// `[doctor]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct DoctorFragment {
    pub prometheus: Option<String>,
    pub pattern: Option<Vec<PatternFragment>>,
}

/// `[[doctor.pattern]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct PatternFragment {
    pub unit: Option<String>,
    pub expression: Option<String>,
    pub severity: Option<String>,
    pub text: Option<String>,
    pub command: Option<String>,
}

/// `[queue]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct QueueFragment {
    pub url: Option<String>,
    pub url_file: Option<String>,
    pub adapter: Option<String>,
    pub next_jobs: Option<i64>,
    pub timeout: Option<DurationText>,
    pub ca_file: Option<String>,
    pub infra_window: Option<DurationText>,
    pub stale_after: Option<DurationText>,
    pub quiet: Option<DurationText>,
    pub lease: Option<DurationText>,
    pub worker_stale: Option<DurationText>,
    pub reconnect: Option<DurationText>,
    pub reconnect_max: Option<DurationText>,
    pub breaker: Option<i64>,
    pub breaker_waits: Option<Vec<DurationText>>,
    pub table: Option<TableFragment>,
    pub library: Option<LibraryFragment>,
}

/// `[queue.library]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct LibraryFragment {
    pub schema: Option<String>,
    pub output: Option<String>,
    pub columns: Option<Vec<String>>,
}

/// `[queue.table]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct TableFragment {
    pub name: Option<String>,
    pub id: Option<String>,
    pub status: Option<String>,
    pub states: Option<StatesFragment>,
    pub order: Option<Vec<String>>,
    pub output: Option<String>,
    pub started_at: Option<String>,
    pub created_at: Option<String>,
    pub lane: Option<String>,
    pub attempts: Option<String>,
    pub next_attempt_at: Option<String>,
    pub infra: Option<InfraFragment>,
    pub cooldown: Option<CooldownFragment>,
    pub hold_back: Option<String>,
    pub rescue: Option<RescueFragment>,
    pub zone: Option<String>,
}

/// `[queue.table] states` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct StatesFragment {
    pub pending: Option<Vec<String>>,
    pub retryable: Option<Vec<String>>,
    pub running: Option<Vec<String>>,
    pub finished: Option<Vec<String>>,
}

/// `[queue.table] infra` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct InfraFragment {
    pub column: Option<String>,
    pub values: Option<Vec<String>>,
    pub at: Option<String>,
}

/// `[queue.table] cooldown` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct CooldownFragment {
    pub when: Option<WhenFragment>,
    pub at: Option<String>,
    #[serde(rename = "for")]
    pub time: Option<DurationText>,
}

/// `[queue.table] rescue` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct RescueFragment {
    pub by: Option<String>,
    pub after: Option<DurationText>,
}

/// `[queue.table] cooldown.when` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct WhenFragment {
    pub column: Option<String>,
    pub values: Option<Vec<String>>,
}

/// `[jobs]` as written: its keys, and a table for each type that is named in it.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct JobsFragment {
    pub dir: Option<String>,
    pub concurrency: Option<i64>,
    pub slots: Option<i64>,
    pub poll: Option<DurationText>,
    pub beat: Option<DurationText>,
    pub slow: Option<DurationText>,
    pub sweep: Option<DurationText>,
    pub tidy: Option<DurationText>,
    pub tools: Option<DurationText>,
    pub grace: Option<DurationText>,
    pub drain: Option<DurationText>,
    pub prefer_wait: Option<DurationText>,
    pub rescues: Option<i64>,
    pub mode: Option<Mode>,
    pub engine: Option<Vec<String>>,
    pub image: Option<String>,
    pub network: Option<String>,
    pub pull: Option<Pull>,
    pub autostart: Option<bool>,
    pub min_free_mib: Option<i64>,
    pub min_free_inodes: Option<i64>,
    pub sign_path: Option<String>,
    pub sign_bucket: Option<String>,
    pub sign_key: Option<String>,
    pub keep_done: Option<DurationText>,
    pub keep_failed: Option<DurationText>,
    pub keep_cancelled: Option<DurationText>,
    pub keep_quarantined: Option<DurationText>,
    pub keep_events: Option<DurationText>,
    pub keep_logs: Option<DurationText>,
    pub each: BTreeMap<String, OfTypeFragment>,
}

/// `[jobs.NAME]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a key of [jobs] or a table for one type: dir, concurrency, slots, poll, beat, slow, sweep, tidy, tools, grace, drain, prefer_wait, rescues, mode, engine, image, network, pull, autostart, min_free_mib, min_free_inodes, sign_path, sign_bucket, sign_key, keep_done, keep_failed, keep_cancelled, keep_quarantined, keep_events, keep_logs"
)]
#[allow(missing_docs)]
pub struct OfTypeFragment {
    pub concurrency: Option<i64>,
}

impl<'de> Deserialize<'de> for JobsFragment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = JobsFragment;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JobsFragment, A::Error> {
                let mut jobs = JobsFragment::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "dir" => jobs.dir = map.next_value()?,
                        "concurrency" => jobs.concurrency = map.next_value()?,
                        "slots" => jobs.slots = map.next_value()?,
                        "poll" => jobs.poll = map.next_value()?,
                        "beat" => jobs.beat = map.next_value()?,
                        "slow" => jobs.slow = map.next_value()?,
                        "sweep" => jobs.sweep = map.next_value()?,
                        "tidy" => jobs.tidy = map.next_value()?,
                        "tools" => jobs.tools = map.next_value()?,
                        "grace" => jobs.grace = map.next_value()?,
                        "drain" => jobs.drain = map.next_value()?,
                        "prefer_wait" => jobs.prefer_wait = map.next_value()?,
                        "rescues" => jobs.rescues = map.next_value()?,
                        "mode" => jobs.mode = map.next_value()?,
                        "engine" => jobs.engine = map.next_value()?,
                        "image" => jobs.image = map.next_value()?,
                        "network" => jobs.network = map.next_value()?,
                        "pull" => jobs.pull = map.next_value()?,
                        "autostart" => jobs.autostart = map.next_value()?,
                        "min_free_mib" => jobs.min_free_mib = map.next_value()?,
                        "min_free_inodes" => jobs.min_free_inodes = map.next_value()?,
                        "sign_path" => jobs.sign_path = map.next_value()?,
                        "sign_bucket" => jobs.sign_bucket = map.next_value()?,
                        "sign_key" => jobs.sign_key = map.next_value()?,
                        "keep_done" => jobs.keep_done = map.next_value()?,
                        "keep_failed" => jobs.keep_failed = map.next_value()?,
                        "keep_cancelled" => jobs.keep_cancelled = map.next_value()?,
                        "keep_quarantined" => jobs.keep_quarantined = map.next_value()?,
                        "keep_events" => jobs.keep_events = map.next_value()?,
                        "keep_logs" => jobs.keep_logs = map.next_value()?,
                        _ => {
                            let of_type = map.next_value()?;
                            jobs.each.insert(key, of_type);
                        }
                    }
                }
                Ok(jobs)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// `[[intake]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct IntakeFragment {
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub path: Option<String>,
    pub rule: Option<String>,
    pub marker: Option<String>,
    pub suffixes: Option<Vec<String>>,
    pub after: Option<String>,
    pub every: Option<DurationText>,
    pub bucket: Option<String>,
    pub prefix: Option<String>,
    pub output_prefix: Option<String>,
}

/// `[[bucket]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct BucketFragment {
    pub name: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub bucket: Option<String>,
    pub path_style: Option<bool>,
    pub ca_file: Option<String>,
    pub key_file: Option<String>,
    pub key_credential: Option<String>,
    pub timeout: Option<DurationText>,
}

/// `[[heartbeat]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct HeartbeatFragment {
    pub name: Option<String>,
    pub path: Option<String>,
    pub url: Option<String>,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub max_age: Option<DurationText>,
}

/// The text of a duration. A bare number is taken in too, so that the message can speak of the missing unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationText(pub String);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a duration such as \"30s\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<DurationText, E> {
                Ok(DurationText(number.to_string()))
            }
        }

        deserializer.deserialize_any(Text)
    }
}
