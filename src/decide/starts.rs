//! How long a program that was started often waits before it does anything. systemd of 252 starts one again after the
//! same pause each time; whatever ends it each time must not do so as fast as that.

use std::time::Duration;

/// Starts within this time count.
pub const WITHIN: Duration = Duration::from_secs(600);
/// So many of them are nothing to speak of: a person at work.
const FREE: usize = 3;
/// The first wait; it doubles.
const FIRST: Duration = Duration::from_secs(5);
/// The longest.
const LAST: Duration = Duration::from_secs(300);

/// The wait of one that was started so many times within that time, this start among them.
#[must_use]
pub fn wait(starts: usize) -> Duration {
    match starts.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(over) => FIRST.saturating_mul(1 << over.min(16)).min(LAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_begins_late_doubles_and_has_an_end() {
        for (starts, secs) in [(0, 0), (3, 0), (4, 5), (5, 10), (9, 160), (10, 300), (1000, 300)] {
            assert_eq!(wait(starts), Duration::from_secs(secs), "{starts}");
        }
    }
}
