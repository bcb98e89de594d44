//! The only place that reads a clock. A round takes [`Now`] once and hands it on, so that
//! decisions are functions of their arguments and a test can be at any time it likes.
//!
//! Within a boot, ages come from `CLOCK_BOOTTIME` alone (it goes on in suspend and nobody can set
//! it). Across a reboot only the wall clock is left, and a stamp that then lies in the future is a
//! fault with a name, which ends by itself as time passes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One moment, as both clocks and the boot saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970 UTC.
    pub utc_ms: u64,
    /// `CLOCK_BOOTTIME`, milliseconds since this boot.
    pub boot_ms: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// A moment as it is stored: UTC for people and for other boots, boot time for this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Milliseconds since 1970 UTC.
    pub utc_ms: u64,
    /// Milliseconds since the boot named by `boot_id`.
    pub boot_ms: u64,
    /// The boot this stamp was taken in.
    pub boot_id: String,
}

/// How long ago a stamp was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// So long.
    Known(Duration),
    /// The stamp is of another boot and lies in the future: the wall clock is, or was, wrong.
    ClockFault,
    /// The stamp is of this boot and lies in the future. No clock does that: it was not written
    /// by us, or not whole.
    Impossible,
}

impl Now {
    /// Reads the clocks.
    ///
    /// # Errors
    /// The boot id cannot be read (no /proc).
    pub fn take() -> std::io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            utc_ms: utc_ms(),
            boot_ms: millis(boottime()),
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// This moment, for storing.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp { utc_ms: self.utc_ms, boot_ms: self.boot_ms, boot_id: self.boot_id.clone() }
    }

    /// How long ago `stamp` was taken.
    #[must_use]
    pub fn since(&self, stamp: &Stamp) -> Age {
        let same_boot = self.boot_id == stamp.boot_id;
        let (now, then) =
            if same_boot { (self.boot_ms, stamp.boot_ms) } else { (self.utc_ms, stamp.utc_ms) };
        match now.checked_sub(then) {
            Some(ms) => Age::Known(Duration::from_millis(ms)),
            None if same_boot => Age::Impossible,
            None => Age::ClockFault,
        }
    }
}

impl Age {
    /// The age, or nothing where the clocks do not allow one.
    #[must_use]
    pub fn known(self) -> Option<Duration> {
        match self {
            Self::Known(age) => Some(age),
            Self::ClockFault | Self::Impossible => None,
        }
    }
}

impl Stamp {
    /// How long after `earlier` this was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Age {
        let Self { utc_ms, boot_ms, boot_id } = self.clone();
        Now { utc_ms, boot_ms, boot_id }.since(earlier)
    }

    /// `2026-11-22T04:44:00Z`.
    #[must_use]
    pub fn utc(&self) -> String {
        rfc3339(self.utc_ms)
    }
}

/// `2026-11-22T04:44:00Z` for milliseconds since 1970; a time beyond year 9999 is said as such.
#[must_use]
pub fn rfc3339(utc_ms: u64) -> String {
    /// humantime refuses to format beyond the year 9999.
    const LAST_MS: u64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(utc_ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The present as `2026-11-22T04:44:00Z`: for lines in a log, never for a decision.
#[must_use]
pub fn utc_now() -> String {
    rfc3339(utc_ms())
}

/// `CLOCK_BOOTTIME`: for measuring how long something took, and for deadlines.
#[must_use]
pub fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// `CLOCK_PROCESS_CPUTIME_ID`: what this process has cost so far. On a busy host far less than what it took.
#[must_use]
pub fn cpu_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// `CLOCK_MONOTONIC`: what the service manager and the journal stamp by. It stands still in suspend.
#[must_use]
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// A point in boot time by which something must have ended.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    /// From now on, so long.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(boottime().saturating_add(limit))
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_sub(boottime())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The same, so much earlier; not earlier than a fourth of what is left.
    #[must_use]
    pub fn less(self, reserve: Duration) -> Self {
        let left = self.left();
        Self(self.0.saturating_sub(reserve.min(left / 4 * 3)))
    }

    /// The earlier of this one and `limit` from now.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self(self.0.min(boottime().saturating_add(limit)))
    }
}

/// The end of something that stands still while the host sleeps, as a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwakeDeadline(Duration);

impl AwakeDeadline {
    /// From now on, so long without the time in suspend.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(monotonic().saturating_add(limit))
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_sub(monotonic())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }
}

/// How long the host has slept since it was started.
#[must_use]
pub fn asleep() -> Duration {
    boottime().saturating_sub(monotonic())
}

/// Waits. Only for polling something under a [`Deadline`].
#[expect(clippy::disallowed_methods, reason = "this is the one module that waits")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The wall clock, for stamping what is stored or served: never for an age.
#[expect(clippy::disallowed_methods, reason = "this is the one module that reads the wall clock")]
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn utc_ms() -> u64 {
    millis(since_epoch())
}

/// A length of time in milliseconds; one that is longer than those can count is the longest that they can.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(utc_ms: u64, boot_ms: u64, boot: &str) -> Now {
        Now { utc_ms, boot_ms, boot_id: boot.to_owned() }
    }

    #[track_caller]
    fn check(now: &Now, stamp: &Now, expected: Age) {
        assert_eq!(now.since(&stamp.stamp()), expected);
    }

    #[test]
    fn within_a_boot_the_wall_clock_is_not_asked() {
        let age = Age::Known(Duration::from_millis(5));
        check(&now(1_000, 105, "a"), &now(9_000_000, 100, "a"), age);
        check(&now(9_000_000, 105, "a"), &now(1_000, 100, "a"), age);
    }

    #[test]
    fn a_stamp_of_another_boot_in_the_future_is_a_clock_fault_until_it_is_past() {
        check(&now(999, 5, "b"), &now(1_000, 100, "a"), Age::ClockFault);
        check(&now(1_000, 5, "b"), &now(1_000, 100, "a"), Age::Known(Duration::ZERO));
    }

    #[test]
    fn a_stamp_of_this_boot_in_the_future_is_impossible() {
        check(&now(1_000, 99, "a"), &now(1_000, 100, "a"), Age::Impossible);
    }

    #[test]
    fn times_are_written_in_utc_and_never_panic() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
