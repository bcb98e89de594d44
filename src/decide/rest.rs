//! When a worker takes less of a type because its tries fail here for what is around them. Each of them waits for long then,
//! and all that are waiting would be taken, one after the other, only to fail the same; other hosts may do them meanwhile.

use std::time::Duration;

use super::attempts::{Class, Outcome};

/// So many jobs in a row.
pub const IN_A_ROW: u32 = 5;
/// After each of them from then on.
pub const WAIT: Duration = Duration::from_secs(60);

/// How a type fares on this host. Times are since the boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    in_a_row: u32,
    /// The job of the last of these: one that fails again and again is one.
    last: Option<i64>,
    until: Duration,
}

impl Rest {
    /// A try of a job has ended so. Whether the type begins to rest by it, or works again; nothing where neither is new.
    pub fn hear(&mut self, job: i64, outcome: Outcome, now: Duration) -> Option<News> {
        let rested = self.is_on_trial();
        match outcome {
            Outcome::Not(Class::Infrastructure) | Outcome::Early => {
                self.in_a_row += u32::from(self.last.replace(job) != Some(job));
                if self.is_on_trial() {
                    self.until = now + WAIT;
                }
                (self.is_on_trial() && !rested).then_some(News::Rests)
            }
            // whose settings are wrong, or who lost its worker, says nothing of what is around it
            Outcome::GivenBack | Outcome::Not(Class::Configuration | Class::Crashed) => None,
            Outcome::Done | Outcome::Not(_) => {
                *self = Self::default();
                rested.then_some(News::Works)
            }
        }
    }

    /// None is to be taken until then.
    pub fn rest(&mut self, until: Duration) {
        self.until = self.until.max(until);
    }

    /// Whether none is taken now.
    #[must_use]
    pub fn rests(&self, now: Duration) -> bool {
        self.until > now
    }

    /// Whether it is to be shown by one that it works again.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.in_a_row >= IN_A_ROW
    }

    /// How many of it may be begun now, where there is room for `free` beside `running`.
    #[must_use]
    pub fn most(&self, now: Duration, free: usize, running: usize) -> usize {
        match (self.rests(now), self.is_on_trial()) {
            (true, _) => 0,
            (false, true) => free.min(1_usize.saturating_sub(running)),
            (false, false) => free,
        }
    }
}

/// What is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It rests from now on.
    Rests,
    /// It works again.
    Works,
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFRA: Outcome = Outcome::Not(Class::Infrastructure);

    #[test]
    fn so_many_in_a_row_and_no_fewer_make_a_rest_after_which_one_alone_is_tried() {
        let secs = Duration::from_secs;
        let mut rest = Rest::default();
        for (job, outcome) in [(1, INFRA), (2, Outcome::Early), (3, INFRA), (4, INFRA), (4, INFRA)]
        {
            assert_eq!(rest.hear(job, outcome, secs(9)), None, "{job}");
            assert_eq!(rest.most(secs(9), 4, 0), 4);
        }
        assert_eq!(rest.hear(5, INFRA, secs(10)), Some(News::Rests));
        assert_eq!([rest.most(secs(69), 4, 0), rest.most(secs(70), 4, 0)], [0, 1]);
        assert_eq!([rest.most(secs(70), 4, 1), rest.most(secs(70), 0, 0)], [0, 0]);
        // it failed as those before, and the rest begins anew
        assert_eq!(rest.hear(6, INFRA, secs(71)), None);
        assert_eq!([rest.most(secs(130), 4, 0), rest.most(secs(131), 4, 0)], [0, 1]);
        // whatever is the item's own shows that all is well around it
        assert_eq!(rest.hear(7, Outcome::Not(Class::Failed), secs(132)), Some(News::Works));
        assert_eq!((rest.most(secs(132), 4, 3), rest), (4, Rest::default()));
        assert_eq!(rest.hear(8, Outcome::Done, secs(133)), None);
    }

    #[test]
    fn what_says_nothing_of_its_surroundings_neither_counts_nor_clears() {
        let mut rest = Rest::default();
        for job in 1..5 {
            rest.hear(job, INFRA, Duration::ZERO);
        }
        let configuration = Outcome::Not(Class::Configuration);
        for outcome in [Outcome::GivenBack, configuration, Outcome::Not(Class::Crashed)] {
            assert_eq!(rest.hear(9, outcome, Duration::ZERO), None);
        }
        assert_eq!(rest.hear(5, INFRA, Duration::ZERO), Some(News::Rests));
    }

    #[test]
    fn a_rest_that_is_asked_for_ends_with_its_time() {
        let mut rest = Rest::default();
        rest.rest(Duration::from_secs(30));
        let most = |at| rest.most(Duration::from_secs(at), 4, 2);
        assert_eq!([most(29), most(30)], [0, 4]);
    }
}
