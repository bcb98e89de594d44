//! Whose lease is over. A lease is a promise to beat, and it is broken only by a silence that somebody has listened
//! to: the same beat, seen for that long by the clock since boot of whoever looks. What the clocks of other hosts say
//! alone proves nothing: one that is set forward by an hour would end every lease there is, and one that is set back
//! would keep the dead alive for that hour.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::probes::records::FirstSeen;
use crate::probes::witness::Fate;
use crate::sys::clock::Now;

/// A worker as it shows itself to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub id: String,
    /// Its host.
    pub host: String,
    /// A number that grows with each beat.
    pub beats: u64,
    /// How long ago the last was, by the queue's clock, milliseconds.
    pub silent_ms: u64,
}

/// How long a silence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A lease. Default 120 s.
    pub lease: Duration,
    /// What a living worker that has jobs never stays silent for while the queue is there: the longest wait until it
    /// tries again, and a few beats. By then a clock that was set has been found out, too.
    pub proof: Duration,
}

/// What was heard so far.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    heard: BTreeMap<String, Heard>,
    looked: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    beats: u64,
    since: Duration,
}

impl Leases {
    /// Looks at all workers, at `now` since boot; those whose lease is over.
    pub fn look(&mut self, all: &[Seen], now: Duration, patience: Patience) -> Vec<Seen> {
        // who did not look for so long (a suspended host) has heard no silence either
        if self.looked.is_some_and(|last| now.saturating_sub(last) >= patience.lease) {
            self.was_deaf();
        }
        self.looked = Some(now);
        self.heard.retain(|id, _| all.iter().any(|seen| seen.id == *id));
        let over = |seen: &&Seen| {
            let heard = self
                .heard
                .entry(seen.id.clone())
                .or_insert(Heard { beats: seen.beats, since: now });
            if heard.beats != seen.beats {
                *heard = Heard { beats: seen.beats, since: now };
            }
            let silence = now.saturating_sub(heard.since);
            let told = Duration::from_millis(seen.silent_ms);
            silence >= patience.lease || (told >= patience.lease && silence >= patience.proof)
        };
        all.iter().filter(over).cloned().collect()
    }

    /// Forgets what was heard: who could not listen for a while has heard no silence.
    pub fn was_deaf(&mut self) {
        self.heard.clear();
    }
}

/// Those that are to be buried: whose lease is over, unless something of them still hangs, which is at their jobs however
/// long they are silent; and those that are seen to be gone.
#[must_use]
pub fn gone(over: &[Seen], fates: &[(Seen, Fate)]) -> Vec<Seen> {
    let is_over = |it: &Seen| over.iter().any(|other| other.id == it.id);
    let is_gone = |(it, fate): &&(Seen, Fate)| match fate {
        Fate::Gone => true,
        Fate::Unknown => is_over(it),
        Fate::Ending => false,
    };
    fates.iter().filter(is_gone).map(|(it, _)| it.clone()).collect()
}

/// The same over rounds of a program that remembers: those that have been seen at the same beat for a whole lease, by this
/// host's own clock and within one boot.
pub fn over_rounds(
    seen: &mut BTreeMap<String, FirstSeen>,
    all: &[Seen],
    now: &Now,
    lease: Duration,
) -> Vec<Seen> {
    seen.retain(|id, _| all.iter().any(|it| it.id == *id));
    let mut over = Vec::new();
    for it in all {
        let first = || FirstSeen { beats: it.beats, at: now.stamp() };
        let known = seen.entry(it.id.clone()).or_insert_with(first);
        match now.since(&known.at).known() {
            Some(silence) if known.beats == it.beats => {
                if silence >= lease {
                    over.push(it.clone());
                }
            }
            Some(_) | None => *known = first(),
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { lease: Duration::from_secs(120), proof: Duration::from_secs(30) };

    fn worker(beats: u64, silent: u64) -> Vec<Seen> {
        let (id, host) = ("w".to_owned(), "h".to_owned());
        vec![Seen { id, host, beats, silent_ms: silent * 1000 }]
    }

    fn is_over(leases: &mut Leases, at: u64, beats: u64, silent: u64) -> bool {
        !leases.look(&worker(beats, silent), Duration::from_secs(at), PATIENCE).is_empty()
    }

    #[test]
    fn a_silence_is_over_when_it_was_heard_to_its_end() {
        let mut leases = Leases::default();
        for (at, expected) in [(0, false), (60, false), (119, false), (120, true)] {
            assert_eq!(is_over(&mut leases, at, 7, at.min(119)), expected, "{at}");
        }
    }

    #[test]
    fn who_was_heard_from_for_long_is_not_heard_anew_for_a_whole_lease() {
        let mut leases = Leases::default();
        for (at, silent, expected) in
            [(0, 95, false), (29, 124, false), (30, 119, false), (30, 120, true)]
        {
            assert_eq!(is_over(&mut leases, at, 7, silent), expected, "{at} {silent}");
        }
    }

    #[test]
    fn a_clock_that_is_set_ends_no_lease_and_keeps_none() {
        let mut leases = Leases::default();
        // an hour forward, in the middle of a life
        for (at, beats) in [(0, 1), (15, 2), (30, 3), (45, 4), (60, 5), (75, 6)] {
            let silent = if at > 20 { 3600 } else { 0 };
            assert!(!is_over(&mut leases, at, beats, silent), "{at}");
        }
        // an hour back, and dead
        for at in [90, 105, 150, 194] {
            assert!(!is_over(&mut leases, at, 6, 0), "{at}");
        }
        assert!(is_over(&mut leases, 195, 6, 0));
    }

    #[test]
    fn what_still_hangs_of_a_worker_outlasts_its_lease_and_who_is_seen_gone_needs_none() {
        let (silent, heard) = (worker(7, 200), vec![]);
        for (fate, when_over, when_heard) in
            [(Fate::Unknown, true, false), (Fate::Ending, false, false), (Fate::Gone, true, true)]
        {
            let fates = [(silent[0].clone(), fate)];
            assert_eq!(!gone(&silent, &fates).is_empty(), when_over, "{fate:?}");
            assert_eq!(!gone(&heard, &fates).is_empty(), when_heard, "{fate:?}");
        }
    }

    #[test]
    fn who_slept_has_heard_no_silence() {
        let mut leases = Leases::default();
        assert!(!is_over(&mut leases, 0, 1, 0));
        assert!(!is_over(&mut leases, 120, 1, 3600), "it was not listened to");
        let mut leases = Leases::default();
        assert!(!is_over(&mut leases, 0, 1, 0));
        assert!(is_over(&mut leases, 119, 1, 3600));
    }

    #[test]
    fn who_was_deaf_has_heard_no_silence() {
        let mut leases = Leases::default();
        assert!(!is_over(&mut leases, 0, 1, 0));
        leases.was_deaf();
        assert!(!is_over(&mut leases, 4000, 1, 4000));
        assert!(!is_over(&mut leases, 4029, 1, 4029));
        assert!(is_over(&mut leases, 4030, 1, 4030));
    }

    #[test]
    fn over_rounds_a_silence_is_of_one_beat_and_of_one_boot() {
        let at = |secs: u64, boot: &str| Now {
            utc_ms: 1_000_000 + secs * 1000,
            boot_ms: secs * 1000,
            boot_id: boot.to_owned(),
        };
        let mut seen = BTreeMap::new();
        let mut look = |secs, boot, beats| {
            !over_rounds(&mut seen, &worker(beats, 0), &at(secs, boot), PATIENCE.lease).is_empty()
        };
        for (secs, boot, beats, expected) in [
            (100, "a", 7, false),
            (219, "a", 7, false),
            (220, "a", 7, true),
            (230, "a", 8, false),
            (349, "a", 8, false),
            (10, "b", 8, false),
            (129, "b", 8, false),
            (130, "b", 8, true),
        ] {
            assert_eq!(look(secs, boot, beats), expected, "{secs} {boot}");
        }
        assert_eq!(over_rounds(&mut seen, &[], &at(131, "b"), PATIENCE.lease), []);
        assert!(seen.is_empty());
    }
}
