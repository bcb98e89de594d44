//! When a worker takes less of a type because its tries fail here for what is around them. Each of them waits for long then,
//! and all that are waiting would be taken, one after the other, only to fail the same; other hosts may do them meanwhile.

use std::time::Duration;

use super::attempts::{Class, Outcome};

/// So many jobs in a row.
pub const IN_A_ROW: u32 = 5;
/// After these none is taken for so long, and after each more that fails twice as long,
const WAIT: Duration = Duration::from_secs(1);
/// up to this.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// How a type fares on this host. Times are since the boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    in_a_row: u32,
    /// The job of the last of these: one that fails again and again is one.
    last: Option<i64>,
    until: Duration,
    /// What was said of the last.
    pub why: String,
}

impl Rest {
    /// A try of a job has ended so. Whether the type begins to rest by it, or works again; nothing where neither is new.
    pub fn hear(&mut self, job: i64, outcome: Outcome, why: &str, now: Duration) -> Option<News> {
        let was_on_trial = self.is_on_trial();
        match outcome {
            // what is not to be had is tried as often as what fails, however little it counts for its job
            Outcome::Not(Class::Infrastructure) | Outcome::Early => {
                self.in_a_row += u32::from(self.last.replace(job) != Some(job));
                why.clone_into(&mut self.why);
                if self.is_on_trial() {
                    let times = 2_u32.saturating_pow(self.in_a_row - IN_A_ROW);
                    // it has told of itself: what it was waited for at most counts no more
                    self.until = now + WAIT.saturating_mul(times).min(WAIT_MAX);
                }
                (self.is_on_trial() && !was_on_trial).then_some(News::Rests)
            }
            // these say nothing of what is around it: what was not tried to its end, or is wrong with the type, or hung
            Outcome::GivenBack
            | Outcome::Not(Class::Configuration | Class::Crashed | Class::TimedOut) => None,
            Outcome::Done | Outcome::Not(_) => {
                *self = Self::default();
                was_on_trial.then_some(News::Works)
            }
        }
    }

    /// None is to be taken until then. Whether that is new, and not the same again.
    pub fn rest(&mut self, until: Duration) -> bool {
        let is_new = until.saturating_sub(self.until) > WAIT_MAX;
        self.until = self.until.max(until);
        is_new
    }

    /// Whether it is to be shown by one alone that it works again.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.in_a_row >= IN_A_ROW
    }

    /// How many of it may be begun now, where there is room for `free`.
    #[must_use]
    pub fn most(&self, now: Duration, free: usize) -> usize {
        match (self.until > now, self.is_on_trial()) {
            (true, _) => 0,
            (false, true) => free.min(1),
            (false, false) => free,
        }
    }

    /// One of it was begun: where that is a trial, none follows until it has told something, or for the longest wait.
    pub fn begin(&mut self, now: Duration) {
        if self.is_on_trial() {
            self.rest(now + WAIT_MAX);
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

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn resting() -> Rest {
        let mut rest = Rest::default();
        let of = |job| if job % 2 == 0 { Outcome::Early } else { INFRA };
        let news: Vec<_> = (1..=5).map(|job| rest.hear(job, of(job), "down", secs(10))).collect();
        assert_eq!(news, [None, None, None, None, Some(News::Rests)]);
        rest
    }

    #[test]
    fn so_many_jobs_in_a_row_and_no_fewer_make_a_rest() {
        let mut rest = Rest::default();
        for job in [1, 2, 3, 4, 4, 4] {
            assert_eq!(rest.hear(job, INFRA, "down", secs(9)), None, "{job}");
            assert_eq!(rest.most(secs(9), 4), 4);
        }
        let rest = resting();
        assert_eq!((rest.most(secs(10), 4), rest.why.as_str()), (0, "down"));
        assert_eq!([rest.most(secs(11), 4), rest.most(secs(11), 0)], [1, 0]);
    }

    #[test]
    fn each_that_fails_after_that_makes_the_wait_twice_as_long_up_to_the_longest() {
        let mut rest = resting();
        let mut now = secs(11);
        for wait in [2, 4, 8, 16, 32, 60, 60] {
            rest.begin(now);
            assert_eq!(rest.most(now, 4), 0, "one is at it");
            assert_eq!(rest.hear(i64::from(rest.in_a_row) + 1, INFRA, "down", now), None);
            let most = |at| rest.most(now + secs(at), 4);
            assert_eq!([most(wait - 1), most(wait)], [0, 1], "{wait}");
            now += secs(wait);
        }
        // the same one again says nothing new
        let before = rest.in_a_row;
        rest.hear(rest.last.unwrap(), INFRA, "down", now);
        assert_eq!(rest.in_a_row, before);
    }

    #[test]
    fn a_trial_that_does_not_end_is_followed_by_another() {
        let mut rest = resting();
        rest.begin(secs(11));
        assert_eq!([rest.most(secs(70), 4), rest.most(secs(71), 4)], [0, 1]);
    }

    #[test]
    fn whatever_is_the_items_own_shows_that_all_is_well_around_it() {
        for outcome in [Outcome::Done, Outcome::Not(Class::Failed), Outcome::Not(Class::Permanent)]
        {
            let mut rest = resting();
            assert_eq!(rest.hear(9, outcome, "", secs(11)), Some(News::Works));
            assert_eq!(rest, Rest::default());
            assert_eq!(rest.hear(9, outcome, "", secs(11)), None);
        }
    }

    #[test]
    fn what_says_nothing_of_its_surroundings_neither_counts_nor_clears() {
        let not = Outcome::Not;
        let silent = [Class::Configuration, Class::Crashed, Class::TimedOut].map(not);
        for outcome in silent.into_iter().chain([Outcome::GivenBack]) {
            let mut rest = resting();
            let before = rest.clone();
            assert_eq!(rest.hear(9, outcome, "", secs(11)), None);
            assert_eq!(rest, before);
        }
    }

    #[test]
    fn a_rest_that_is_asked_for_ends_with_its_time_and_is_new_once() {
        let mut rest = Rest::default();
        assert!(rest.rest(secs(100)));
        assert_eq!([rest.most(secs(99), 4), rest.most(secs(100), 4)], [0, 4]);
        assert_eq!([rest.rest(secs(160)), rest.rest(secs(221))], [false, true]);
    }
}
