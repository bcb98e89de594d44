//! What the probe said of two mounts that were made to try it: one that is dead, and one that is well.

use serde::{Deserialize, Serialize};

use super::verdict::Verdict;

/// What the probe said of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sung {
    /// Of the mount that is dead.
    pub dead: String,
    /// Of one that is well.
    pub live: String,
}

impl Sung {
    /// Whether it said so.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.dead == Verdict::Dead.name() && self.live == Verdict::Live.name()
    }
}
