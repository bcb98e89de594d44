//! The clock of a queue that is a file. Its host's wall clock may be set at any moment, and a lease of two minutes
//! must not be over because of that: so within a boot time goes on by `CLOCK_BOOTTIME` alone, from an anchor that the
//! file keeps. A boot anchors anew, and never before a time that was already given out.
//!
//! A server has its own clock; what may be set there is no more believed for a lease than here (`decide::leases`).

use serde::{Deserialize, Serialize};

use crate::sys::clock::Now;

/// Where the clock of a file stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The boot that it is of.
    pub boot_id: String,
    /// What is added to the time since boot, milliseconds.
    pub offset_ms: u64,
    /// The last time that is known to have been given out.
    pub seen_ms: u64,
}

impl Anchor {
    /// The anchor in this boot.
    #[must_use]
    pub fn of(stored: Option<Self>, now: &Now) -> Self {
        match stored {
            Some(anchor) if anchor.boot_id == now.boot_id => anchor,
            stored => {
                let seen_ms = stored.map_or(0, |anchor| anchor.seen_ms);
                let start = now.utc_ms.max(seen_ms);
                let offset_ms = start.saturating_sub(now.boot_ms);
                Self { boot_id: now.boot_id.clone(), offset_ms, seen_ms }
            }
        }
    }

    /// The time now, milliseconds since 1970 as the file has it.
    #[must_use]
    pub fn time(&self, boot_ms: u64) -> u64 {
        self.offset_ms.saturating_add(boot_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, utc_ms: u64, boot_ms: u64) -> Now {
        Now { utc_ms, boot_ms, boot_id: boot.to_owned() }
    }

    #[test]
    fn within_a_boot_no_step_of_the_wall_clock_is_seen() {
        let anchor = Anchor::of(None, &at("a", 1_000_000, 1_000));
        assert_eq!(anchor.time(1_000), 1_000_000);
        for utc_ms in [0, 4_600_000] {
            let again = Anchor::of(Some(anchor.clone()), &at("a", utc_ms, 2_000));
            assert_eq!(again.time(2_000), 1_001_000, "{utc_ms}");
        }
    }

    #[test]
    fn a_boot_anchors_anew_and_never_before_what_was_given_out() {
        let seen = Anchor { boot_id: "a".to_owned(), offset_ms: 999_000, seen_ms: 2_000_000 };
        assert_eq!(Anchor::of(Some(seen.clone()), &at("b", 5_000_000, 10)).time(10), 5_000_000);
        assert_eq!(Anchor::of(Some(seen.clone()), &at("b", 2_000_001, 10)).time(10), 2_000_001);
        assert_eq!(Anchor::of(Some(seen), &at("b", 1_999_999, 10)).time(20), 2_000_010);
    }
}
