//! What becomes of a job when a try of it has ended. Three budgets, three counters: failures of its own use up its
//! tries, failures of what is around it do not, and a job that its worker was lost with too often is put aside.
//!
//! The wait is an amount of time, which the queue adds to its own clock when it writes it down: a `not before` that
//! is stored and not computed from when a row was last touched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::job_type::Meaning;
use crate::config::retry::Retry;

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waiting for its first try.
    Pending,
    /// Waiting for another.
    Retryable,
    /// A worker has it.
    Running,
    /// It is done.
    Done,
    /// It will not be done: its tries are used up.
    Failed,
    /// Somebody called it off.
    Cancelled,
    /// Put aside with all that is known of it, for a person.
    Quarantined,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Retryable,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Quarantined,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retryable => "retryable",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Quarantined => "quarantined",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it may be claimed once its time has come.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Pending | Self::Retryable)
    }

    /// Whether nothing more becomes of it by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        !self.waits() && self != Self::Running
    }
}

/// The token of a try: a job and how often it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The job.
    pub id: i64,
    /// How often it was handed out by then.
    #[serde(rename = "try")]
    pub nth: i64,
}

/// Which counter a try counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// None.
    Nothing,
    /// The job's own failures.
    Failure,
    /// Those of its surroundings.
    Infra,
}

/// What kind of failure a try was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The job's own, such as an exit code that is not accepted. It may be tried again.
    Failed,
    /// It took longer than its limit.
    TimedOut,
    /// The job's own, and another try would end the same.
    Permanent,
    /// Something else is already where its result belongs. A person picks.
    Conflict,
    /// Of what is around it: storage, a server, a full disk.
    Infrastructure,
    /// Of the type or its tools on this host: no job of it could go well.
    Configuration,
    /// Its worker was lost with it.
    Crashed,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::TimedOut,
        Self::Permanent,
        Self::Conflict,
        Self::Infrastructure,
        Self::Configuration,
        Self::Crashed,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Permanent => "permanent",
            Self::Conflict => "conflict",
            Self::Infrastructure => "infrastructure",
            Self::Configuration => "configuration",
            Self::Crashed => "crashed",
        }
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its result is where it belongs.
    Done,
    /// Not so.
    Not(Class),
    /// It was not tried, or not to its end, for no fault of anybody: the worker ends, or a gate closed.
    GivenBack,
    /// It never came to its commands: what it needs from elsewhere is not to be had just now.
    Early,
}

/// What is known of the end of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What it exited with, unless a signal ended it.
    pub exit: Option<i32>,
    /// What the type says of that code.
    pub mapped: Option<Meaning>,
    /// Whether its type accepts that code.
    pub is_accepted: bool,
    /// Whether it was ended because its time was over.
    pub timed_out: bool,
    /// Whether it was killed while the kernel killed for memory that its host had not, and not for a limit of its type.
    pub host_out_of_memory: bool,
    /// What it wrote is as its type wants it, or how it is not.
    pub output: Output,
    /// The end of what it said.
    pub said: String,
}

/// How what a command wrote looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// As it should be, or there is to be none.
    #[default]
    Good,
    /// Too small, or not there.
    Short(String),
    /// It cannot be looked at: an error of its storage.
    Unseen(String),
}

/// What a command says when its storage or its host lets it down, as strerror(3) writes it.
const SURROUNDINGS: [&str; 13] = [
    "Transport endpoint is not connected",
    "Stale file handle",
    "Input/output error",
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Cannot allocate memory",
    "Too many open files",
    // with "or address", too
    "No such device",
    "Remote I/O error",
    "Resource temporarily unavailable",
    "Interrupted system call",
    "Key has expired",
];

/// What it says when there is no way to another host.
const OF_THE_WAY: [&str; 10] = [
    "Host is down",
    "No route to host",
    "Connection timed out",
    "Connection refused",
    "Connection reset by peer",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Cannot send after transport endpoint shutdown",
    "Software caused connection abort",
    "Network is down",
];

/// Whether what a command said last tells that there is no way to another host just now.
#[must_use]
pub fn tells_of_the_way(said: &str) -> bool {
    OF_THE_WAY.iter().any(|words| said.contains(words))
}

/// What kind of end that is.
#[must_use]
pub fn classify(seen: &Evidence) -> Outcome {
    // what it exited with is then an answer to being ended, and means nothing
    if seen.timed_out && !matches!(seen.output, Output::Unseen(_)) {
        return Outcome::Not(Class::TimedOut);
    }
    if seen.host_out_of_memory {
        return Outcome::Not(Class::Infrastructure);
    }
    match (seen.mapped, &seen.output) {
        (Some(Meaning::Transient), _) | (None, Output::Unseen(_)) => {
            return Outcome::Not(Class::Infrastructure);
        }
        (Some(Meaning::Permanent), _) => return Outcome::Not(Class::Permanent),
        (Some(Meaning::Conflict), _) => return Outcome::Not(Class::Conflict),
        (Some(Meaning::Configuration), _) => return Outcome::Not(Class::Configuration),
        (Some(Meaning::Unchanged), _) => return Outcome::Done,
        (None, Output::Good | Output::Short(_)) => {}
    }
    if seen.is_accepted && seen.output == Output::Good {
        return Outcome::Done;
    }
    // only of one that failed: a command may well print such words and succeed
    let is_around = SURROUNDINGS.iter().any(|words| seen.said.contains(words));
    if !seen.is_accepted && (is_around || tells_of_the_way(&seen.said)) {
        return Outcome::Not(Class::Infrastructure);
    }
    Outcome::Not(Class::Failed)
}

/// What a job has used up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Failures of its own.
    pub failures: u32,
    /// Of its surroundings.
    pub infra_errors: u32,
    /// Workers lost with it.
    pub rescues: u32,
}

/// A job of which no try was at fault waits so long where the type itself is.
const CONFIGURATION_WAIT: Duration = Duration::from_secs(60);

/// A job whose input is not to be had just now waits so long.
const EARLY_WAIT: Duration = Duration::from_secs(60);

/// So often a try may crash before it is the item's own doing: as often as a worker may be lost with it, unless said otherwise.
const CRASHES: u32 = 3;

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// How it stands from now on.
    pub state: State,
    /// What the try counts for.
    pub counted: Counted,
    /// How long it waits at least.
    pub wait: Duration,
}

/// What becomes of a job that has used up so much when a try ends so. `jitter` is from 0 to 1: what failed together
/// is not tried again together.
#[must_use]
pub fn next(used: Used, outcome: Outcome, retry: &Retry, jitter: f64) -> Next {
    let over = |state, counted| Next { state, counted, wait: Duration::ZERO };
    let again = |counted, wait| Next { state: State::Retryable, counted, wait };
    let is_fresh = used == Used::default();
    let back = if is_fresh { State::Pending } else { State::Retryable };
    match outcome {
        Outcome::Done => over(State::Done, Counted::Nothing),
        Outcome::GivenBack => over(back, Counted::Nothing),
        // for ever, since nothing of it ran: a server that is away for a week costs no job anything
        Outcome::Early => {
            Next { state: back, counted: Counted::Nothing, wait: retry.spread(EARLY_WAIT, jitter) }
        }
        Outcome::Not(Class::Configuration) => {
            Next { state: back, counted: Counted::Nothing, wait: CONFIGURATION_WAIT }
        }
        Outcome::Not(Class::Permanent | Class::Conflict) => {
            over(State::Quarantined, Counted::Failure)
        }
        Outcome::Not(Class::Infrastructure) if used.infra_errors + 1 >= retry.infra_attempts => {
            over(State::Failed, Counted::Infra)
        }
        Outcome::Not(Class::Infrastructure) => {
            let wait = Duration::from_millis(retry.infra_wait_ms);
            again(Counted::Infra, retry.spread(wait, jitter))
        }
        // somebody may have killed it, which is no failure of the item where its type wants but one try
        Outcome::Not(Class::Crashed) if used.failures + 1 < CRASHES => {
            again(Counted::Failure, retry.backoff(used.failures, jitter))
        }
        Outcome::Not(Class::Failed | Class::TimedOut | Class::Crashed)
            if used.failures + 1 >= retry.attempts =>
        {
            over(State::Quarantined, Counted::Failure)
        }
        Outcome::Not(Class::Failed | Class::TimedOut | Class::Crashed) => {
            again(Counted::Failure, retry.backoff(used.failures, jitter))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[track_caller]
    fn check(used: (u32, u32, u32), outcome: Outcome, state: State, counted: Counted, wait: u64) {
        let used = Used { failures: used.0, infra_errors: used.1, rescues: used.2 };
        let found = next(used, outcome, &Retry::default(), 0.5);
        assert_eq!(found, Next { state, counted, wait: secs(wait) }, "{used:?} {outcome:?}");
    }

    #[test]
    fn each_failure_uses_up_its_own_budget_and_no_other() {
        use Class::*;
        let failed = Outcome::Not(Failed);
        check((0, 19, 2), failed, State::Retryable, Counted::Failure, 30);
        check((1, 0, 0), failed, State::Retryable, Counted::Failure, 120);
        check((2, 0, 0), failed, State::Quarantined, Counted::Failure, 0);
        let infra = Outcome::Not(Infrastructure);
        check((2, 0, 2), infra, State::Retryable, Counted::Infra, 600);
        check((0, 18, 0), infra, State::Retryable, Counted::Infra, 600);
        check((0, 19, 0), infra, State::Failed, Counted::Infra, 0);
        check((2, 19, 2), Outcome::Not(Configuration), State::Retryable, Counted::Nothing, 60);
        check((0, 0, 0), Outcome::Not(Configuration), State::Pending, Counted::Nothing, 60);
    }

    #[test]
    fn what_the_system_calls_an_error_of_storage_is_one() {
        use rustix::io::Errno;
        for errno in [
            Errno::NOTCONN,
            Errno::STALE,
            Errno::IO,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::TIMEDOUT,
            Errno::CONNREFUSED,
            Errno::CONNRESET,
            Errno::CONNABORTED,
            Errno::NETUNREACH,
            Errno::NETDOWN,
            Errno::NODEV,
            Errno::NXIO,
            Errno::SHUTDOWN,
            Errno::REMOTEIO,
            Errno::KEYEXPIRED,
            Errno::NOMEM,
            Errno::MFILE,
            Errno::NFILE,
            Errno::AGAIN,
            Errno::INTR,
        ] {
            let words = std::io::Error::from(errno).to_string();
            let said = format!("cp: writing '/x': {words}");
            let seen = Evidence { exit: Some(1), said, ..Evidence::default() };
            assert_eq!(classify(&seen), Outcome::Not(Class::Infrastructure), "{words}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::PERM, Errno::INVAL, Errno::NOTDIR] {
            let said = std::io::Error::from(errno).to_string();
            let seen = Evidence { exit: Some(1), said, ..Evidence::default() };
            assert_eq!(classify(&seen), Outcome::Not(Class::Failed), "{errno}");
        }
    }

    #[test]
    fn an_end_is_judged_by_its_type_then_its_storage_then_its_words() {
        use Class::*;
        let good = Evidence { exit: Some(0), is_accepted: true, ..Evidence::default() };
        let bad = Evidence { exit: Some(1), ..Evidence::default() };
        let said =
            |words: &str, seen: &Evidence| Evidence { said: words.to_owned(), ..seen.clone() };
        let output = |output, seen: &Evidence| Evidence { output, ..seen.clone() };
        let mapped = |meaning, seen: &Evidence| Evidence { mapped: Some(meaning), ..seen.clone() };
        let dead = "cp: writing 'x': Transport endpoint is not connected";
        for (seen, expected) in [
            (good.clone(), Outcome::Done),
            (said(dead, &good), Outcome::Done),
            (bad.clone(), Outcome::Not(Failed)),
            (said(dead, &bad), Outcome::Not(Infrastructure)),
            (Evidence { timed_out: true, ..said(dead, &bad) }, Outcome::Not(TimedOut)),
            (output(Output::Short("0 bytes".to_owned()), &good), Outcome::Not(Failed)),
            (output(Output::Unseen("EIO".to_owned()), &good), Outcome::Not(Infrastructure)),
            (mapped(Meaning::Transient, &bad), Outcome::Not(Infrastructure)),
            (mapped(Meaning::Permanent, &good), Outcome::Not(Permanent)),
            (
                Evidence { timed_out: true, ..mapped(Meaning::Transient, &bad) },
                Outcome::Not(TimedOut),
            ),
            (
                Evidence { timed_out: true, ..mapped(Meaning::Unchanged, &bad) },
                Outcome::Not(TimedOut),
            ),
            (
                Evidence { timed_out: true, ..output(Output::Unseen("EIO".to_owned()), &bad) },
                Outcome::Not(Infrastructure),
            ),
            (Evidence { host_out_of_memory: true, ..bad.clone() }, Outcome::Not(Infrastructure)),
            (mapped(Meaning::Conflict, &bad), Outcome::Not(Conflict)),
            (mapped(Meaning::Unchanged, &bad), Outcome::Done),
            (mapped(Meaning::Configuration, &bad), Outcome::Not(Configuration)),
        ] {
            assert_eq!(classify(&seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_crash_is_no_items_failure_before_the_third_however_few_tries_are_wanted() {
        let retry = Retry { attempts: 1, ..Retry::default() };
        for (failures, expected) in
            [(0, State::Retryable), (1, State::Retryable), (2, State::Quarantined)]
        {
            let used = Used { failures, ..Used::default() };
            let next = next(used, Outcome::Not(Class::Crashed), &retry, 0.5);
            assert_eq!((next.state, next.counted), (expected, Counted::Failure), "{failures}");
        }
    }

    #[test]
    fn what_another_try_would_not_change_is_not_tried_again() {
        for class in [Class::Permanent, Class::Conflict] {
            check((0, 0, 0), Outcome::Not(class), State::Quarantined, Counted::Failure, 0);
        }
    }

    #[test]
    fn what_is_given_back_is_as_it_was() {
        check((0, 0, 0), Outcome::GivenBack, State::Pending, Counted::Nothing, 0);
        for used in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
            check(used, Outcome::GivenBack, State::Retryable, Counted::Nothing, 0);
            check(used, Outcome::Early, State::Retryable, Counted::Nothing, 60);
        }
    }

    #[test]
    fn a_wait_has_an_end_and_never_two_the_same() {
        let retry = Retry { attempts: u32::MAX, ..Retry::default() };
        let wait = |failures, jitter| {
            let used = Used { failures, ..Used::default() };
            next(used, Outcome::Not(Class::Failed), &retry, jitter).wait
        };
        assert_eq!(wait(40, 0.5), secs(3600));
        assert_eq!((wait(0, 0.0), wait(0, 1.0)), (secs(27), secs(33)));
        assert_eq!((wait(0, -1.0), wait(0, 9.0)), (secs(27), secs(33)));
    }
}
