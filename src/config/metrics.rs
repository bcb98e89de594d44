//! `[metrics]`: what the names of the metric families begin with.

use super::check::Checker;
use super::fragment::MetricsFragment;
use super::tree::KeyPath;

/// What they begin with where nothing says otherwise.
pub const USUAL: &str = "unwedge";

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// What the name of each family begins with, before the first `_`. Default `unwedge`; another one lets dashboards
    /// of an earlier tool go on.
    pub prefix: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { prefix: USUAL.to_owned() }
    }
}

impl Metrics {
    /// The name of a family on this host.
    #[must_use]
    pub fn name(&self, family: &str) -> String {
        match family.strip_prefix(USUAL) {
            Some(rest) => format!("{}{rest}", self.prefix),
            None => family.to_owned(),
        }
    }
}

/// Makes settings of `[metrics]`.
pub(super) fn metrics(check: &mut Checker<'_>, written: MetricsFragment) -> Metrics {
    let Some(prefix) = written.prefix else { return Metrics::default() };
    let odd = |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_';
    let begins = prefix.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || prefix.contains(odd) || prefix.ends_with('_') || prefix.len() > 40 {
        let at = KeyPath::of(&["metrics", "prefix"]);
        let expected = "expected at most 40 of a-z, 0-9 and _, a letter first and no _ last";
        check.problem(&at, format!("{prefix:?} found, {expected}"));
    }
    Metrics { prefix }
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[test]
    fn a_prefix_takes_the_place_of_the_usual_one_in_every_name() {
        let metrics = from_str("[metrics]\nprefix = \"healtharchive\"\n").unwrap().metrics;
        assert_eq!(metrics.name("unwedge_mount_state"), "healtharchive_mount_state");
        assert_eq!(Metrics::default().name("unwedge_mount_state"), "unwedge_mount_state");
        for wrong in ["", "1a", "a-b", "A", "a_", "ä"] {
            let errors =
                from_str(&format!("[metrics]\nprefix = \"{wrong}\"\n")).unwrap_err().to_string();
            assert!(errors.contains("2: [metrics] prefix"), "{errors}");
        }
    }
}
