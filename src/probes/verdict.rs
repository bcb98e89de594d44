//! The words for what a look at a mount says, one each, the same in plan, JSON, metrics, state and
//! playbooks.

use serde::{Deserialize, Serialize};

/// What a probe says of a mount. The order is that of judgement: the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It could not be looked at. Never "down" and never "fine".
    Unknown,
    /// A mount above it does not answer, so nothing can be said of this one.
    ChildOfDead,
    /// Nothing is mounted where something should be.
    Absent,
    /// Something else is mounted there.
    WrongSource,
    /// A request has been waiting longer than the probe's time-out.
    Hung,
    /// FUSE without a daemon: it will never come back by itself.
    Dead,
    /// A bind that answers, or may, but holds what has since been replaced.
    Pinned,
    /// An error that may pass by itself.
    Transient,
    /// An answer that says nothing of its health, such as a refused permission.
    Inconclusive,
    /// It answers, and is what it should be.
    Live,
}

impl Verdict {
    /// Every verdict, in the order of judgement.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::ChildOfDead,
        Self::Absent,
        Self::WrongSource,
        Self::Hung,
        Self::Dead,
        Self::Pinned,
        Self::Transient,
        Self::Inconclusive,
        Self::Live,
    ];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::ChildOfDead => "child-of-dead",
            Self::Absent => "absent",
            Self::WrongSource => "wrong-source",
            Self::Hung => "hung",
            Self::Dead => "dead",
            Self::Pinned => "pinned",
            Self::Transient => "transient",
            Self::Inconclusive => "inconclusive",
            Self::Live => "live",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_word_is_the_shown_word() {
        for verdict in Verdict::ALL {
            let stored = serde_json::to_value(verdict).unwrap();
            assert_eq!(stored, verdict.name());
        }
    }
}
