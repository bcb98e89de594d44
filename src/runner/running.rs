//! A job at work: its helper, what that has told so far, and until when it may take.

use std::rc::Rc;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::errand;
use super::hand::Hand;
use super::order::{Report, Tell};
use super::placed::Mark;
use crate::config::bucket::SCHEME;
use crate::config::job_type::{Errand, JobType};
use crate::decide::at_work::{self, Seen, Stall};
use crate::decide::attempts::Class;
use crate::probes::load;
use crate::probes::motion::Motion;
use crate::queue::store::Claimed;
use crate::sys::clock::boottime;

/// How long a helper may take to end all that is below it and itself, beside the grace of its command.
pub const HELPER_END: Duration = Duration::from_secs(25);
/// How long a result may take to be put in its place, beside the time of commands, once that is allowed.
const PUT: Duration = Duration::from_secs(600);

/// What was heard of a job at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing that asks for anything.
    Nothing,
    /// Its result waits.
    Ready(Mark),
    /// It is over, and its helper waits for the next.
    Over,
}

/// Whether a job moves, as it was seen with each beat.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// Whether its processes are ours, and can be seen to move: what a daemon runs is not.
    pub is_seen: bool,
    motion: Motion,
    moved_at: Duration,
    /// What is wrong with that.
    pub stall: Option<Stall>,
    /// Whether the queue knows it.
    pub is_known: bool,
}

impl Pulse {
    /// Of a job that begins now.
    #[must_use]
    pub fn new(is_seen: bool) -> Self {
        let (motion, moved_at) = (Motion::default(), boottime());
        Self { is_seen, motion, moved_at, stall: None, is_known: true }
    }

    /// Takes in a look at its processes, made at `now`, with what it needs and is not open; whether something is new.
    pub fn look(
        &mut self,
        motion: Motion,
        closed: Vec<String>,
        now: Duration,
        patience: Duration,
    ) -> bool {
        if motion.has_moved_since(&self.motion) {
            self.moved_at = now;
        }
        let waits = motion.waits.clone();
        self.motion = motion;
        let still = now.saturating_sub(self.moved_at);
        let is_seen = self.is_seen;
        let stall = at_work::stall(&Seen { still, is_seen, waits, closed }, patience);
        let is_new = stall != self.stall;
        self.is_known &= !is_new;
        self.stall = stall;
        is_new
    }
}

/// When something was begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Since boot: a clock may be set meanwhile.
    at: Duration,
}

impl Begun {
    fn now() -> Self {
        let ms = crate::sys::clock::since_epoch().as_millis();
        Self { ms: u64::try_from(ms).unwrap_or_default(), at: boottime() }
    }

    /// How long ago.
    #[must_use]
    pub fn ago(self) -> Duration {
        boottime().saturating_sub(self.at)
    }
}

/// A job at work.
pub struct Running {
    /// Which one.
    pub claimed: Claimed,
    /// By which it is done.
    pub kind: Rc<JobType>,
    /// When it was begun.
    pub begun: Begun,
    /// What its helper told last.
    pub report: Option<Report>,
    /// How far it is, and whether the queue knows that.
    pub progress: Option<(String, bool)>,
    /// Whether it moves.
    pub pulse: Pulse,
    /// Its helper.
    pub hand: Hand,
    /// Its cgroup, where there are such.
    pub cgroup: Option<Cgroup>,
    /// When its helper is killed: all its time is over, or it was told to end and did not.
    kill_at: Duration,
    /// How much of that time begins with the queue's word.
    put_limit: Duration,
    /// Whether it was told to end.
    pub is_stopped: bool,
    /// Whether its helper was killed.
    pub is_killed: bool,
    /// Its result, where that waits for the queue's word.
    pub ready: Option<Mark>,
    /// How many processes the kernel had killed for memory when it was begun, as far as that was known.
    killed_before: Option<u64>,
}

impl Running {
    /// A job that was given to a helper.
    #[must_use]
    pub fn new(
        claimed: Claimed,
        kind: Rc<JobType>,
        hand: Hand,
        cgroup: Option<Cgroup>,
        grace: Duration,
        killed_before: Option<u64>,
    ) -> Self {
        Self {
            kill_at: boottime() + longest(&claimed, &kind, grace),
            put_limit: putting(&claimed, &kind, grace),
            claimed,
            kind,
            begun: Begun::now(),
            report: None,
            progress: None,
            pulse: Pulse::new(true),
            hand,
            cgroup,
            is_stopped: false,
            is_killed: false,
            ready: None,
            killed_before,
        }
    }

    /// Takes in what its helper tells.
    pub fn hear(&mut self, told: Tell) -> News {
        match told {
            Tell::Ready(mark) => News::Ready(mark),
            Tell::Progress(step) => {
                self.progress = Some((step.text, false));
                News::Nothing
            }
            Tell::Ended { report, goes_on } => {
                self.report = Some(report);
                if goes_on && self.hand.is_free() { News::Over } else { News::Nothing }
            }
        }
    }

    /// Lets its result go to its place.
    pub fn go(&mut self) {
        self.kill_at = self.kill_at.max(boottime() + self.put_limit);
        self.hand.go();
    }

    /// When it has to be over. A result that waits for the queue's word has no end: the queue may be away for long, and
    /// nothing of the job runs meanwhile.
    #[must_use]
    pub fn over_at(&self) -> Duration {
        over_at(self.kill_at, self.ready.is_some() && !self.is_stopped && !self.is_killed)
    }

    /// The host has slept so long, and nothing of it ran meanwhile.
    pub fn slept(&mut self, time: Duration) {
        self.kill_at = self.kill_at.saturating_add(time);
    }

    /// Tells it to end, and to leave nothing: it is this worker's no more.
    pub fn drop_result(&mut self) {
        // it may have waited for longer than a job may take
        self.kill_at = self.kill_at.max(boottime() + HELPER_END);
        self.hand.deny();
    }

    /// Tells it to end; it is killed when it has not within `patience`. What is ready waits for the next try, unless the job
    /// is this worker's no more.
    pub fn stop(&mut self, is_ours: bool, now: Duration, patience: Duration) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            if is_ours {
                self.hand.dismiss();
            } else {
                self.hand.deny();
            }
            let waited = self.ready.is_some();
            self.kill_at = if waited { now + patience } else { self.kill_at.min(now + patience) };
        }
    }

    /// Kills its helper, and what is in its cgroup. False where that was done before and was of no use.
    pub fn kill(&mut self, now: Duration) -> bool {
        if std::mem::replace(&mut self.is_killed, true) {
            return false;
        }
        self.hand.dismiss();
        self.hand.kill();
        if let Some(cgroup) = &self.cgroup {
            cgroup.end();
        }
        self.kill_at = now + HELPER_END;
        true
    }

    /// What came of it.
    pub fn over(&mut self) -> Report {
        self.report.take().unwrap_or_else(|| self.without_report())
    }

    /// What is known of one whose helper ended without a word.
    fn without_report(&self) -> Report {
        let own = self.cgroup.as_ref().map_or(0, Cgroup::out_of_memory);
        let ran_out = ran_out(self.killed_before, load::out_of_memory(), own);
        ended_without_word(self.is_stopped, self.is_killed, ran_out)
    }
}

fn ended_without_word(is_stopped: bool, is_killed: bool, ran_out: bool) -> Report {
    match (is_stopped, is_killed, ran_out) {
        (true, _, _) => Report::given_up(),
        (false, true, _) => Report::failed(
            Class::Infrastructure,
            "it did not end with its time: its storage gave no answer",
        ),
        (false, false, true) => Report::failed(
            Class::Infrastructure,
            "this host ran out of memory; its helper was killed",
        ),
        (false, false, false) => Report::failed(Class::Crashed, "its helper was killed"),
    }
}

/// Whether the kernel has killed something for memory meanwhile, and not because the job itself wanted more than it may have.
fn ran_out(before: Option<u64>, now: Option<u64>, own: u64) -> bool {
    own == 0 && before.zip(now).is_some_and(|(before, now)| before < now)
}

fn over_at(kill_at: Duration, waits_for_word: bool) -> Duration {
    if waits_for_word { Duration::MAX } else { kill_at }
}

/// All the time that a job of a type may take, whatever it meets.
fn longest(claimed: &Claimed, kind: &JobType, grace: Duration) -> Duration {
    let checks = kind.tiers.iter().filter_map(|tier| tier.check.as_ref());
    let limits = kind.tiers.iter().map(|tier| tier.limit_ms).chain(checks.map(|it| it.limit_ms));
    let limits = limits.map(|limit| Duration::from_millis(limit) + grace + HELPER_END);
    limits.sum::<Duration>()
        + carrying(Some(&claimed.input), kind.fetch.as_ref(), grace)
        + putting(claimed, kind, grace)
}

/// What of it comes after the commands.
fn putting(claimed: &Claimed, kind: &JobType, grace: Duration) -> Duration {
    carrying(claimed.output.as_ref(), kind.deliver.as_ref(), grace) + PUT
}

/// How long something may be carried, by its type's command or by us where it lies in a bucket.
fn carrying(what: Option<&String>, by: Option<&Errand>, grace: Duration) -> Duration {
    let of_bucket = what.filter(|it| it.starts_with(SCHEME)).map(|_| errand::LIMIT);
    let limits = by.map(|it| Duration::from_millis(it.limit_ms)).into_iter().chain(of_bucket);
    limits.map(|limit| limit + grace + HELPER_END).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_result_that_waits_for_a_queue_that_is_away_waits_for_ever() {
        let secs = Duration::from_secs;
        assert_eq!([over_at(secs(7), false), over_at(secs(7), true)], [secs(7), Duration::MAX]);
    }

    #[test]
    fn a_helper_that_was_killed_for_the_memory_of_its_host_is_no_fault_of_its_job() {
        for (before, now, own, class) in [
            (Some(3), Some(4), 0, Class::Infrastructure),
            (Some(3), Some(3), 0, Class::Crashed),
            // it had less than it wanted by its own type
            (Some(3), Some(4), 1, Class::Crashed),
            (None, Some(4), 0, Class::Crashed),
        ] {
            let report = ended_without_word(false, false, ran_out(before, now, own));
            assert_eq!(report.class, Some(class), "{before:?} {now:?} {own}");
        }
        assert!(ended_without_word(true, false, true).is_given_up);
    }

    #[test]
    fn a_job_has_the_time_of_all_that_it_may_meet() {
        let claimed = Claimed {
            token: crate::decide::attempts::Token { id: 1, nth: 1 },
            key: "k".to_owned(),
            input: "/in/a".to_owned(),
            output: Some("/out/a".to_owned()),
            needs: Vec::new(),
            failures: 0,
            infra_errors: 0,
            rescues: 0,
            placed: None,
        };
        let grace = Duration::from_secs(10);
        let of = |more: &str, of_tier: &str| {
            let text = format!(
                "output = \"/out/{{name}}\"\n{more}[[tier]]\nargv = [\"/bin/true\"]\nlimit = \"1m\"\n{of_tier}"
            );
            let kind = JobType::parse(Path::new("t.toml"), &text).unwrap();
            longest(&claimed, &kind, grace).as_secs()
        };
        let alone = of("", "");
        assert_eq!(alone, 60 + 10 + 25 + 600);
        let check = "accept = { check = { argv = [\"/bin/true\"], limit = \"30m\" } }\n";
        assert_eq!(of("", check) - alone, 1800 + 35);
        let carried = "fetch = { argv = [\"/bin/a\", \"{input}\", \"{to}\"], limit = \"5m\" }\n";
        assert_eq!(of(carried, "") - alone, 300 + 35);
    }
}
