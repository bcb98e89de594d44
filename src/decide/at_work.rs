//! How a job that a worker has is getting on, by five witnesses: the row and the beat of its worker, and what that worker
//! sees of the job's processes, of what they do, and of the storage they need. Only what is known to be gone may be given
//! to another without a person; what waits for storage is neither killed nor begun elsewhere beside itself.
//!
//! | witness | where it comes from |
//! |---|---|
//! | row, beat | the queue: who has the job, and when that worker was last heard ([`Standing`]) |
//! | processes | the process table: whether one of them waits in the kernel and cannot be ended (state D, `proc(5)`) |
//! | growth | the kernel's count of what they wrote and of the time they used: no look at storage, which may hang |
//! | mount | the storage gate: whether what the job needs is open |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::workers::Standing;
use crate::sys::text;

/// How it is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtWork {
    /// Its worker is heard, and it moves or has not stood still for long.
    Working,
    /// Its worker is heard, nothing of it has moved for long, and nothing says why.
    Slow,
    /// Nothing of it has moved for long, and it waits for the kernel, or its storage is closed: it is left alone.
    HungOnIo,
    /// Its worker is gone; it goes to another.
    Gone,
    /// Its worker is not heard, or cannot see what runs it. Nothing is done until its lease is over.
    Unknown,
}

impl AtWork {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Slow => "slow",
            Self::HungOnIo => "hung-on-io",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}

/// What a worker says of a job of its own that does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// How it stands still.
    pub how: Still,
    /// What was seen.
    pub why: String,
}

/// How a job stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Still {
    /// See [`AtWork::Slow`].
    Slow,
    /// See [`AtWork::HungOnIo`].
    HungOnIo,
    /// Nobody sees whether it does: what a daemon runs is none of its worker's processes.
    Unseen,
}

impl Still {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slow, Self::HungOnIo, Self::Unseen];

    /// As which that is told.
    #[must_use]
    pub fn at_work(self) -> AtWork {
        match self {
            Self::Slow => AtWork::Slow,
            Self::HungOnIo => AtWork::HungOnIo,
            Self::Unseen => AtWork::Unknown,
        }
    }
}

/// What a worker sees of a job of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How long nothing of it has moved; of one whose processes are not seen, how long it is at work.
    pub still: Duration,
    /// Whether its processes are seen.
    pub is_seen: bool,
    /// A process of it that waits in the kernel: its pid and name.
    pub waits: Option<(i32, String)>,
    /// What it needs and is not open.
    pub closed: Vec<String>,
}

/// Whether that is a stall, for one that may stand still for `patience`.
#[must_use]
pub fn stall(seen: &Seen, patience: Duration) -> Option<Stall> {
    if seen.still < patience {
        return None;
    }
    // rounded down to what it was found at: the words change only with what they say
    let mut words = vec![if seen.is_seen {
        format!("nothing of it has moved for {}", text::duration(patience))
    } else {
        "a daemon runs it, and nobody sees whether it moves".to_owned()
    }];
    if let Some((pid, name)) = &seen.waits {
        words.push(format!("{name} ({pid}) waits in the kernel"));
    }
    if !seen.closed.is_empty() {
        words.push(format!("{} is not open", seen.closed.join(", ")));
    }
    let how = match (words.len() > 1, seen.is_seen) {
        (true, _) => Still::HungOnIo,
        (false, true) => Still::Slow,
        // it may work as well as hang: that is not known, and is not told as one of them
        (false, false) => Still::Unseen,
    };
    Some(Stall { how, why: words.join("; ") })
}

/// How a job is getting on whose worker stands so, and says this of it.
#[must_use]
pub fn judge(worker: Option<Standing>, stall: Option<&Stall>) -> AtWork {
    match worker {
        // one that is not in the list is as gone as a dead one
        None | Some(Standing::Dead) => AtWork::Gone,
        Some(Standing::Hung | Standing::Stale) => AtWork::Unknown,
        Some(Standing::Idle | Standing::Busy | Standing::Draining) => {
            stall.map_or(AtWork::Working, |it| it.how.at_work())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn seen(still_ms: u64) -> Seen {
        let still = Duration::from_millis(still_ms);
        Seen { still, is_seen: true, waits: None, closed: Vec::new() }
    }

    #[test]
    fn what_stands_still_for_long_is_slow_or_hangs_where_something_says_so() {
        assert_eq!(stall(&seen(59_999), PATIENCE), None);
        let how = |seen: &Seen| stall(seen, PATIENCE).map(|it| it.how);
        assert_eq!(how(&seen(60_000)), Some(Still::Slow));
        let waits = || Some((7, "cp".to_owned()));
        let closed = || vec!["/srv/box".to_owned()];
        for (waits, closed) in [(waits(), vec![]), (None, closed()), (waits(), closed())] {
            let with =
                |still_ms| Seen { waits: waits.clone(), closed: closed.clone(), ..seen(still_ms) };
            assert_eq!(how(&with(60_000)), Some(Still::HungOnIo));
            assert_eq!(how(&with(59_999)), None, "one that moves does not hang");
        }
        let all = Seen { waits: waits(), closed: closed(), ..seen(90_000) };
        let said = stall(&all, PATIENCE).map(|it| it.why);
        let words =
            "nothing of it has moved for 1 min; cp (7) waits in the kernel; /srv/box is not open";
        assert_eq!(said.as_deref(), Some(words));
    }

    #[test]
    fn what_nobody_sees_is_unknown_before_it_is_called_working_for_ever() {
        let unseen = |still_ms| Seen { is_seen: false, ..seen(still_ms) };
        assert_eq!(stall(&unseen(59_999), PATIENCE), None);
        let found = stall(&unseen(60_000), PATIENCE).unwrap();
        assert_eq!(found.how, Still::Unseen);
        assert_eq!(found.why, "a daemon runs it, and nobody sees whether it moves");
        assert_eq!(judge(Some(Standing::Busy), Some(&found)), AtWork::Unknown);
        // of its storage it is known all the same
        let closed = Seen { closed: vec!["/srv/box".to_owned()], ..unseen(60_000) };
        let found = stall(&closed, PATIENCE).unwrap();
        assert_eq!(found.how, Still::HungOnIo);
        assert!(found.why.ends_with("whether it moves; /srv/box is not open"), "{}", found.why);
    }

    #[test]
    fn what_a_worker_says_counts_while_it_is_heard_and_only_a_dead_one_is_gone() {
        let hung = Stall { how: Still::HungOnIo, why: String::new() };
        for (standing, alone, with_stall) in [
            (Some(Standing::Idle), AtWork::Working, AtWork::HungOnIo),
            (Some(Standing::Busy), AtWork::Working, AtWork::HungOnIo),
            (Some(Standing::Draining), AtWork::Working, AtWork::HungOnIo),
            (Some(Standing::Hung), AtWork::Unknown, AtWork::Unknown),
            (Some(Standing::Stale), AtWork::Unknown, AtWork::Unknown),
            (Some(Standing::Dead), AtWork::Gone, AtWork::Gone),
            (None, AtWork::Gone, AtWork::Gone),
        ] {
            assert_eq!(judge(standing, None), alone, "{standing:?}");
            assert_eq!(judge(standing, Some(&hung)), with_stall, "{standing:?}");
        }
    }
}
