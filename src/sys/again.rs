//! How long is waited until what is away is asked again: longer each time, and never longer than that.

use std::time::Duration;

/// Waits that double.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Again {
    /// The first of them, and the longest.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// It is there: the next time begins with the first.
    pub fn is_well(&mut self) {
        self.next = self.first.min(self.most);
    }

    /// It is away: so long is waited.
    pub fn wait(&mut self) -> Duration {
        self.wait_up_to(self.most)
    }

    /// The same, where no wait may be longer than this.
    pub fn wait_up_to(&mut self, most: Duration) -> Duration {
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
        let mut again = Again::new(secs(5), secs(120));
        let mut waits = |count| (0..count).map(|_| again.wait().as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(7), [5, 10, 20, 40, 80, 120, 120]);
        again.is_well();
        assert_eq!([again.wait(), again.wait()], [secs(5), secs(10)]);
        // who has something to lose waits less, and afterwards as long as ever
        assert_eq!([again.wait_up_to(secs(15)), again.wait_up_to(secs(15))], [secs(15); 2]);
        assert_eq!([again.wait(), again.wait()], [secs(15), secs(30)]);
        assert_eq!(Again::new(secs(9), secs(3)).wait(), secs(3));
    }
}
