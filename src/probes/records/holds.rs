//! What a person has paused, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::sys::clock::{Age, Now, Stamp};

/// Pauses a person has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// By the kind of act, as sentinels name them.
    pub holds: BTreeMap<String, OperatorHold>,
}

impl Record for Holds {
    const NAME: &'static str = "holds";

    fn stamps(&self) -> Vec<&Stamp> {
        self.holds.values().map(|hold| &hold.set).collect()
    }
}

/// A pause that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorHold {
    /// When it was set.
    pub set: Stamp,
    /// For how long, seconds.
    pub for_s: u64,
    /// Why, in the words of who set it.
    pub because: String,
}

impl OperatorHold {
    /// What is left of it; nothing once it has expired. Under a wrong clock it holds.
    #[must_use]
    pub fn left(&self, now: &Now) -> Option<Duration> {
        let whole = Duration::from_secs(self.for_s);
        match now.since(&self.set) {
            Age::Known(age) => whole.checked_sub(age).filter(|left| !left.is_zero()),
            Age::ClockFault | Age::Impossible => Some(whole),
        }
    }
}
