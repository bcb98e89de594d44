//! How long is waited until what is away is asked again: longer each time, and never longer than that.

use std::time::Duration;

/// Waits that double.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// The first of them, and the longest.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// It is there: the next time begins with the first.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.most);
    }

    /// It is away: so long is waited.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_up_to(self.most)
    }

    /// The same, where no wait may be longer than this.
    pub fn next_delay_up_to(&mut self, most: Duration) -> Duration {
        let wait = self.next.min(most);
        self.next = wait.saturating_mul(2).min(self.most.min(most));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_the_longest_and_begins_anew_when_all_is_well() {
        let secs = Duration::from_secs;
        let mut waits = Backoff::new(secs(5), secs(120));
        let mut first =
            |count| (0..count).map(|_| waits.next_delay().as_secs()).collect::<Vec<_>>();
        assert_eq!(first(7), [5, 10, 20, 40, 80, 120, 120]);
        waits.reset();
        assert_eq!([waits.next_delay(), waits.next_delay()], [secs(5), secs(10)]);
        // who has something to lose waits less, and afterwards as long as ever
        assert_eq!(
            [waits.next_delay_up_to(secs(15)), waits.next_delay_up_to(secs(15))],
            [secs(15); 2]
        );
        assert_eq!([waits.next_delay(), waits.next_delay()], [secs(15), secs(30)]);
        assert_eq!(Backoff::new(secs(9), secs(3)).next_delay(), secs(3));
    }
}
