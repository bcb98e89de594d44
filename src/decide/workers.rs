//! How a worker stands, by what it says of itself, how long ago that was, and what is seen of its process.

use std::time::Duration;

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It waits for work.
    Idle,
    /// It works.
    Busy,
    /// It is to end, and takes no more.
    Draining,
    /// Its process is there, and gives no sign of life.
    Hung,
    /// It gives no sign of life, and cannot be seen from here.
    Stale,
    /// It is gone.
    Dead,
}

/// What is seen of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    There,
    /// It is gone.
    Gone,
    /// It is on another host, or may not be looked at.
    NotSeen,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Busy, Self::Draining, Self::Hung, Self::Stale, Self::Dead];

    /// How one stands that says so of itself, was last heard so long ago, and is seen so; `stale` is the silence from
    /// which on it is not heard any more.
    #[must_use]
    pub fn of(said: &str, silent: Duration, stale: Duration, seen: Seen) -> Self {
        match (said, seen, silent >= stale) {
            ("dead", _, _) | (_, Seen::Gone, _) => Self::Dead,
            (_, Seen::There, true) => Self::Hung,
            (_, Seen::NotSeen, true) => Self::Stale,
            ("draining", Seen::There | Seen::NotSeen, false) => Self::Draining,
            ("busy", Seen::There | Seen::NotSeen, false) => Self::Busy,
            (_, Seen::There | Seen::NotSeen, false) => Self::Idle,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Hung => "hung",
            Self::Stale => "stale",
            Self::Dead => "dead",
        }
    }

    /// Whether it takes work.
    #[must_use]
    pub fn takes_work(self) -> bool {
        match self {
            Self::Idle | Self::Busy => true,
            Self::Draining | Self::Hung | Self::Stale | Self::Dead => false,
        }
    }

    /// Whether what it says of its host is of now.
    #[must_use]
    pub fn is_heard(self) -> bool {
        match self {
            Self::Idle | Self::Busy | Self::Draining => true,
            Self::Hung | Self::Stale | Self::Dead => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_worker_is_dead_only_where_that_was_seen() {
        let s = Duration::from_secs;
        for (said, silent, seen, expected) in [
            ("idle", 59, Seen::NotSeen, Standing::Idle),
            ("busy", 59, Seen::There, Standing::Busy),
            ("draining", 0, Seen::There, Standing::Draining),
            ("busy", 60, Seen::NotSeen, Standing::Stale),
            ("busy", 60, Seen::There, Standing::Hung),
            ("busy", 6000, Seen::NotSeen, Standing::Stale),
            ("busy", 0, Seen::Gone, Standing::Dead),
            ("dead", 0, Seen::There, Standing::Dead),
        ] {
            assert_eq!(
                Standing::of(said, s(silent), s(60), seen),
                expected,
                "{said} {silent} {seen:?}"
            );
        }
    }
}
