//! What a sign of life says: how old it is, by a clock that can tell.

use std::time::Duration;

use crate::probes::heartbeat::State;

/// Clocks that differ by no more than this are the same.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was given then, by a clock that says this now; milliseconds since 1970.
    At {
        /// When it was given.
        at_ms: u64,
        /// The present of the same clock.
        now_ms: u64,
    },
    /// There is none.
    Absent,
    /// It could not be looked at, and why.
    Unknown(String),
}

/// What it is, and how old.
#[must_use]
pub fn judge(found: &Found, max_age: Duration) -> (State, Option<Duration>) {
    match found {
        Found::Absent => (State::Absent, None),
        Found::Unknown(_) => (State::Unknown, None),
        Found::At { at_ms, now_ms } => {
            let ahead = Duration::from_millis(at_ms.saturating_sub(*now_ms));
            let age = Duration::from_millis(now_ms.saturating_sub(*at_ms));
            if ahead > SKEW_MAX {
                (State::Skewed, None)
            } else if age > max_age {
                (State::Stale, Some(age))
            } else {
                (State::Fresh, Some(age))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_of_one_clock_and_the_future_is_none() {
        let max = Duration::from_secs(300);
        for (at_s, now_s, expected) in [
            (1000, 1300, State::Fresh),
            (1000, 1301, State::Stale),
            (1060, 1000, State::Fresh),
            (1061, 1000, State::Skewed),
        ] {
            let found = Found::At { at_ms: at_s * 1000, now_ms: now_s * 1000 };
            assert_eq!(judge(&found, max).0, expected, "{at_s} {now_s}");
        }
        assert_eq!(judge(&Found::Absent, max).0, State::Absent);
        assert_eq!(judge(&Found::Unknown(String::new()), max), (State::Unknown, None));
    }
}
