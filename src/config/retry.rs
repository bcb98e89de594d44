//! `[retry]` of a type: how often a job may fail, and how long is waited between. What is its own fault and what its
//! surroundings do to it have a budget each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use crate::sys::clock::millis;

/// How much there is to use up, and how long is waited between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries that may fail. Default 3, at least 1.
    pub attempts: u32,
    /// The wait after the first failure, milliseconds. Default 30 s.
    pub backoff_ms: u64,
    /// Each further wait is so many times as long. Default 4, from 1 to 100.
    pub factor: u32,
    /// The longest wait after a failure, milliseconds. Default 1 h.
    pub backoff_max_ms: u64,
    /// Failures of the surroundings. Default 20, at least 1.
    pub infra_attempts: u32,
    /// The wait after one of those, milliseconds. Default 10 min.
    pub infra_wait_ms: u64,
    /// Each wait is up to half of this longer or shorter, percent: what failed together is not tried again together.
    /// Default 20, from 0 to 100.
    pub jitter: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff_ms: 30_000,
            factor: 4,
            backoff_max_ms: 3_600_000,
            infra_attempts: 20,
            infra_wait_ms: 600_000,
            jitter: 20,
        }
    }
}

/// As a file says it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    attempts: Option<u32>,
    backoff: Option<String>,
    factor: Option<u32>,
    backoff_max: Option<String>,
    infra_attempts: Option<u32>,
    infra_wait: Option<String>,
    jitter: Option<u32>,
}

impl Written {
    /// Understands it.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub(super) fn read(self) -> Result<Retry, String> {
        let default = Retry::default();
        let count = |key: &str, written: Option<u32>, default, least, most| {
            let count = written.unwrap_or(default);
            match (count < least, count > most) {
                (true, _) => Err(format!("[retry] {key}: at least {least}")),
                (_, true) => Err(format!("[retry] {key}: at most {most}")),
                (false, false) => Ok(count),
            }
        };
        let time = |key: &str, written: Option<String>, default| match written {
            None => Ok(default),
            Some(text) => {
                duration::parse(&text).map(millis).map_err(|why| format!("[retry] {key}: {why}"))
            }
        };
        let retry = Retry {
            attempts: count("attempts", self.attempts, default.attempts, 1, u32::MAX)?,
            backoff_ms: time("backoff", self.backoff, default.backoff_ms)?,
            factor: count("factor", self.factor, default.factor, 1, 100)?,
            backoff_max_ms: time("backoff_max", self.backoff_max, default.backoff_max_ms)?,
            infra_attempts: count(
                "infra_attempts",
                self.infra_attempts,
                default.infra_attempts,
                1,
                u32::MAX,
            )?,
            infra_wait_ms: time("infra_wait", self.infra_wait, default.infra_wait_ms)?,
            jitter: count("jitter", self.jitter, default.jitter, 0, 100)?,
        };
        Ok(retry)
    }
}

impl Retry {
    /// One that is not tried again.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, backoff_ms: 0, ..Self::default() }
    }

    /// The wait after so many failures before this one, spread; never longer than the longest.
    #[must_use]
    pub fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        let times = u64::from(self.factor).saturating_pow(failures);
        let most = Duration::from_millis(self.backoff_max_ms);
        let wait = Duration::from_millis(self.backoff_ms.saturating_mul(times));
        self.spread(wait.min(most), jitter).min(most)
    }

    /// A wait, longer or shorter by what `jitter`, from 0 to 1, says.
    #[must_use]
    pub fn spread(&self, wait: Duration, jitter: f64) -> Duration {
        let share = f64::from(self.jitter) / 100.0;
        wait.mul_f64(share.mul_add(jitter.clamp(0.0, 1.0) - 0.5, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Retry, String> {
        toml::from_str::<Written>(text).unwrap().read()
    }

    #[test]
    fn each_key_has_an_effect_and_its_limits() {
        assert_eq!(read("").unwrap(), Retry::default());
        let all = "attempts = 1\nbackoff = \"1s\"\nfactor = 2\nbackoff_max = \"4s\"\ninfra_attempts = 5\ninfra_wait = \"2m\"\njitter = 0\n";
        let retry = read(all).unwrap();
        assert_eq!((retry.attempts, retry.infra_attempts, retry.infra_wait_ms), (1, 5, 120_000));
        let secs = Duration::from_secs;
        let waits: Vec<Duration> = (0..4).map(|nth| retry.backoff(nth, 0.5)).collect();
        assert_eq!(waits, [secs(1), secs(2), secs(4), secs(4)]);
        assert_eq!(retry.backoff(u32::MAX, 1.0), secs(4));
        assert_eq!(retry.spread(secs(10), 1.0), secs(10));
        let wide = Retry { jitter: 100, ..retry };
        assert_eq!((wide.spread(secs(10), 0.0), wide.spread(secs(10), 1.0)), (secs(5), secs(15)));
        for (text, expected) in [
            ("attempts = 0", "[retry] attempts: at least 1"),
            ("factor = 0", "[retry] factor: at least 1"),
            ("factor = 101", "[retry] factor: at most 100"),
            ("infra_attempts = 0", "[retry] infra_attempts: at least 1"),
            ("jitter = 101", "[retry] jitter: at most 100"),
        ] {
            assert_eq!(read(text).unwrap_err(), expected);
        }
        for key in ["backoff", "backoff_max", "infra_wait"] {
            let why = read(&format!("{key} = \"soon\"")).unwrap_err();
            assert!(why.starts_with(&format!("[retry] {key}: ")), "{why}");
        }
    }
}
