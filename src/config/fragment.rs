//! The configuration as it may be written: the names and kinds of its keys and nothing more. Everything is
//! optional, values are kept as text, and an unknown key is an error; what a value means is decided when settings
//! are made of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

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
}

/// `[binds]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct BindsFragment {
    pub manifest: Option<String>,
}

/// One `[[bind]]` as written.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[allow(missing_docs)]
pub struct BindFragment {
    pub cold: Option<String>,
    pub hot: Option<String>,
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
