//! Why a job is not running. Everything that keeps it back is told, the first of it first; where nothing does, it is
//! its turn that it waits for.

use crate::decide::at_work::{self, AtWork, Stall};
use crate::decide::attempts::State;
use crate::decide::workers::Standing;
use crate::probes::gate;

/// What is known of a job, its lane, and those who could take it.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// How it stands.
    pub state: State,
    /// Who has it, and how that worker stands; none of one that is not in the list.
    pub worker: Option<(&'a str, Option<Standing>)>,
    /// What that worker says of it while it does not move.
    pub stall: Option<&'a Stall>,
    /// The other job that it alone was at when it was heard last, though it had this one, too.
    pub at_another: Option<i64>,
    /// What kind of failure its last was, and what was said of it.
    pub class: Option<&'a str>,
    /// In words.
    pub message: Option<&'a str>,
    /// The present of the queue, milliseconds since 1970, as the times below.
    pub now_ms: u64,
    /// Before when it is not taken.
    pub not_before_ms: u64,
    /// When it was put in.
    pub created_ms: u64,
    /// What must be open on a host that takes it.
    pub needs: &'a [String],
    /// What is open on a host that has its paths.
    pub prefers: &'a [String],
    /// Whether it is of a command that was given on the spot, which its run alone knows.
    pub is_of_a_run: bool,
    /// Its lane; none where nobody knows its type.
    pub lane: Option<LaneCase<'a>>,
    /// The workers of the queue.
    pub workers: Vec<WorkerCase<'a>>,
    /// The version that the queue wants at least, where it refuses workers of this one.
    pub refuses: Option<&'a str>,
    /// How long it is left to hosts that have its paths, and to those that have its first tool.
    pub prefer_wait_ms: u64,
}

/// What is known of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneCase<'a> {
    /// As which its type is known.
    pub digest: Option<&'a str>,
    /// The tier that should make its results.
    pub first_tier: Option<&'a str>,
    /// Why a person paused it.
    pub paused: Option<&'a str>,
    /// Why its breaker is open, and when one is let through.
    pub open: Option<(&'a str, u64)>,
}

/// What is known of a worker.
#[derive(Clone, Debug)]
pub struct WorkerCase<'a> {
    /// Its host.
    pub host: &'a str,
    /// How it stands.
    pub standing: Standing,
    /// As which it knows the type, where it can take it.
    pub digest: Option<&'a str>,
    /// The tier that it would use first.
    pub first_tier: Option<&'a str>,
    /// What it lacks for the type.
    pub lacks: Option<&'a str>,
    /// The storage that is open to it.
    pub open: &'a [String],
    /// Why it takes one of the type now and then alone, where it does.
    pub rests: Option<&'a str>,
    /// What it waits for before it takes anything, where it does.
    pub waits: Option<&'a str>,
    /// The storage of its host that is not: what prefers it is left to others.
    pub closed: &'a [String],
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It runs.
    Runs {
        /// Who has it.
        worker: String,
        /// How it is getting on.
        how: AtWork,
        /// What was seen, where it does not move.
        seen: Option<String>,
    },
    /// Nothing more becomes of it by itself.
    Over {
        /// How it stands.
        state: State,
        /// What kind of failure, and what was said.
        reason: String,
    },
    /// It waits for a time, after a failure.
    CoolingDown {
        /// Until then, milliseconds since 1970.
        until_ms: u64,
        /// What kind of failure, and what was said.
        reason: String,
    },
    /// A person paused its lane.
    Paused {
        /// Why.
        why: String,
    },
    /// Its lane was closed because its type does not work.
    LaneOpen {
        /// What the last said.
        why: String,
        /// When one is let through, milliseconds since 1970.
        until_ms: u64,
    },
    /// No worker is there.
    NoWorker,
    /// It is of a run that has ended, and no other worker knows what is to be done.
    RunOver,
    /// No worker is there, and one of this version would be refused.
    TooOld {
        /// At least this one is wanted.
        least: String,
    },
    /// Workers are there, and none knows or can take its type; with what each lacks.
    NoCapableWorker {
        /// `host: what`.
        lacks: Vec<String>,
    },
    /// All that know its type know it otherwise than its lane does.
    OtherDefinition {
        /// Their hosts.
        hosts: Vec<String>,
    },
    /// What it needs is open on no host that could take it.
    StorageClosed {
        /// `host: what`.
        closed: Vec<String>,
    },
    /// All that could take it take one of its type now and then alone: the last failed for what is around them.
    Resting {
        /// `host: what`.
        why: Vec<String>,
    },
    /// All that could take it take nothing yet.
    WorkersWait {
        /// `host: what`.
        why: Vec<String>,
    },
    /// It is left to those that have its paths; others would have to fetch and deliver.
    LeftToItsHost {
        /// Their hosts.
        hosts: Vec<String>,
        /// Until then, milliseconds since 1970.
        until_ms: u64,
    },
    /// It is left to a host that has its first tool; no such host is there now.
    LeftToOthers {
        /// Until then, milliseconds since 1970.
        until_ms: u64,
    },
    /// Nothing keeps it back: those before it come first.
    ItsTurn,
}

impl Why {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Runs { .. } => "running",
            Self::Over { state, .. } => state.name(),
            Self::CoolingDown { .. } => "cooling-down",
            Self::Paused { .. } => "lane-paused",
            Self::LaneOpen { .. } => "lane-open",
            Self::NoWorker => "no-worker",
            Self::RunOver => "run-over",
            Self::TooOld { .. } => "too-old",
            Self::NoCapableWorker { .. } => "no-capable-worker",
            Self::OtherDefinition { .. } => "other-definition",
            Self::StorageClosed { .. } => "storage-closed",
            Self::Resting { .. } => "resting",
            Self::WorkersWait { .. } => "workers-wait",
            Self::LeftToItsHost { .. } => "left-to-its-host",
            Self::LeftToOthers { .. } => "left-to-others",
            Self::ItsTurn => "waiting-its-turn",
        }
    }
}

/// Every reason, the first of which is the one to see to.
#[must_use]
pub fn why(case: &Case<'_>) -> Vec<Why> {
    let reason = || match (case.class, case.message) {
        (Some(class), Some(message)) => format!("{class}: {message}"),
        (Some(word), None) | (None, Some(word)) => word.to_owned(),
        (None, None) => "no reason was kept".to_owned(),
    };
    match case.state {
        State::Running => {
            let (worker, standing) = case.worker.unwrap_or(("nobody", None));
            let how = at_work::judge(standing, case.stall);
            let said = case.stall.filter(|it| it.how.at_work() == how);
            let at_another = case.at_another.filter(|_| how == AtWork::Working).map(|id| {
                format!(
                    "it was at job {id} when it was heard last, and may not have begun this one"
                )
            });
            let seen = said.map(|it| it.why.clone()).or(at_another);
            return vec![Why::Runs { worker: worker.to_owned(), how, seen }];
        }
        State::Done | State::Failed | State::Cancelled | State::Quarantined => {
            return vec![Why::Over { state: case.state, reason: reason() }];
        }
        State::Pending | State::Retryable => {}
    }
    let mut all = Vec::new();
    if let Some(why) = case.lane.and_then(|lane| lane.paused) {
        all.push(Why::Paused { why: why.to_owned() });
    }
    if let Some((why, until_ms)) = case.lane.and_then(|lane| lane.open) {
        all.push(Why::LaneOpen { why: why.to_owned(), until_ms });
    }
    all.extend(nobody(case));
    if case.not_before_ms > case.now_ms {
        all.push(Why::CoolingDown { until_ms: case.not_before_ms, reason: reason() });
    }
    if all.is_empty() {
        all.push(Why::ItsTurn);
    }
    all
}

/// Why nobody could take it.
fn nobody(case: &Case<'_>) -> Option<Why> {
    let there: Vec<&WorkerCase<'_>> =
        case.workers.iter().filter(|worker| worker.standing.takes_work()).collect();
    if case.is_of_a_run && there.iter().all(|it| it.digest.is_none() && it.lacks.is_none()) {
        return Some(Why::RunOver);
    }
    if there.is_empty() {
        let least = case.refuses.map(str::to_owned);
        return Some(least.map_or(Why::NoWorker, |least| Why::TooOld { least }));
    }
    let able: Vec<&&WorkerCase<'_>> = there.iter().filter(|it| it.digest.is_some()).collect();
    if able.is_empty() {
        let lacks = there
            .iter()
            .map(|it| format!("{}: {}", it.host, it.lacks.unwrap_or("it does not know the type")));
        return Some(Why::NoCapableWorker { lacks: sorted(lacks) });
    }
    let of_lane = |it: &WorkerCase<'_>| match case.lane.and_then(|lane| lane.digest) {
        Some(digest) => it.digest == Some(digest),
        // it is about to be the first to say what the type is
        None => true,
    };
    let same: Vec<&&&WorkerCase<'_>> = able.iter().filter(|it| of_lane(it)).collect();
    if same.is_empty() {
        let hosts = sorted(able.iter().map(|it| it.host.to_owned()));
        return Some(Why::OtherDefinition { hosts });
    }
    let closed = |it: &WorkerCase<'_>| -> Vec<String> {
        let needs = case.needs.iter().filter(|need| !it.open.contains(need));
        let closed = needs.chain(case.prefers.iter().filter(|path| it.closed.contains(path)));
        let closed: Vec<&String> = closed.collect();
        let told = closed.iter().filter_map(|key| match gate::room_on(key) {
            None => Some((*key).clone()),
            // where the path itself is not open, nobody asks for room
            Some(path) => {
                let is_open = !closed.iter().any(|it| *it == path);
                is_open.then(|| format!("{path} (no room)"))
            }
        });
        told.collect()
    };
    let open: Vec<&&&&WorkerCase<'_>> = same.iter().filter(|it| closed(it).is_empty()).collect();
    if open.is_empty() {
        let closed = same.iter().map(|it| format!("{}: {}", it.host, closed(it).join(", ")));
        return Some(Why::StorageClosed { closed: sorted(closed) });
    }
    if open.iter().all(|it| it.rests.is_some()) {
        let why = open.iter().map(|it| format!("{}: {}", it.host, it.rests.unwrap_or_default()));
        return Some(Why::Resting { why: sorted(why) });
    }
    let keeps = |it: &WorkerCase<'_>| it.waits.or(it.rests).map(str::to_owned);
    if open.iter().all(|it| keeps(it).is_some()) {
        let why = open.iter().map(|it| format!("{}: {}", it.host, keeps(it).unwrap_or_default()));
        return Some(Why::WorkersWait { why: sorted(why) });
    }
    let first = case.lane.and_then(|lane| lane.first_tier);
    let until_ms = case.created_ms.max(case.not_before_ms).saturating_add(case.prefer_wait_ms);
    if until_ms <= case.now_ms {
        return None;
    }
    // also one that takes no work now: it may come back
    let lives = || case.workers.iter().filter(|it| it.standing != Standing::Dead);
    let has_first = |it: &WorkerCase<'_>| first.is_none() || it.first_tier == first;
    let is_first_there = lives().any(|it| it.digest.is_some() && of_lane(it) && has_first(it));
    if is_first_there && !open.iter().any(|it| has_first(it)) {
        return Some(Why::LeftToOthers { until_ms });
    }
    let is_near = |it: &WorkerCase<'_>| case.prefers.iter().all(|key| it.open.contains(key));
    let near = lives().filter(|it| it.digest.is_some() && is_near(it));
    let hosts = sorted(near.map(|it| it.host.to_owned()));
    let is_left = !hosts.is_empty() && !open.iter().all(|it| is_near(it));
    is_left.then_some(Why::LeftToItsHost { hosts, until_ms })
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(host: &str) -> WorkerCase<'_> {
        WorkerCase {
            host,
            standing: Standing::Idle,
            digest: Some("d"),
            first_tier: Some("first"),
            lacks: None,
            open: &[],
            rests: None,
            waits: None,
            closed: &[],
        }
    }

    fn waiting(workers: Vec<WorkerCase<'_>>) -> Case<'_> {
        Case {
            state: State::Pending,
            worker: None,
            stall: None,
            at_another: None,
            class: None,
            message: None,
            now_ms: 1_000,
            not_before_ms: 0,
            created_ms: 500,
            needs: &[],
            prefers: &[],
            is_of_a_run: false,
            lane: Some(LaneCase {
                digest: Some("d"),
                first_tier: Some("first"),
                paused: None,
                open: None,
            }),
            workers,
            refuses: None,
            prefer_wait_ms: 600,
        }
    }

    #[track_caller]
    fn check(case: &Case<'_>, expected: &[&str]) {
        let all = why(case);
        let names: Vec<&str> = all.iter().map(Why::name).collect();
        assert_eq!(names, expected, "{all:?}");
    }

    #[test]
    fn each_thing_that_keeps_a_job_back_has_its_word() {
        check(&waiting(vec![worker("a")]), &["waiting-its-turn"]);
        check(&waiting(vec![]), &["no-worker"]);
        check(&Case { refuses: Some("9.0.0"), ..waiting(vec![]) }, &["too-old"]);
        // a service could do nothing for a command that was given on the spot
        let of_a_run = |workers| Case { is_of_a_run: true, ..waiting(workers) };
        check(&of_a_run(vec![]), &["run-over"]);
        check(&of_a_run(vec![WorkerCase { digest: None, ..worker("a") }]), &["run-over"]);
        check(&of_a_run(vec![worker("a")]), &["waiting-its-turn"]);
        let lacks = WorkerCase { digest: None, lacks: Some("x"), ..worker("a") };
        check(&of_a_run(vec![lacks]), &["no-capable-worker"]);
        check(
            &Case { refuses: Some("9.0.0"), ..waiting(vec![worker("a")]) },
            &["waiting-its-turn"],
        );
        for standing in [Standing::Stale, Standing::Hung, Standing::Dead, Standing::Draining] {
            check(&waiting(vec![WorkerCase { standing, ..worker("a") }]), &["no-worker"]);
        }
        let cannot = || WorkerCase { digest: None, lacks: Some("/bin/x"), ..worker("a") };
        check(&waiting(vec![cannot()]), &["no-capable-worker"]);
        check(&waiting(vec![cannot(), worker("b")]), &["waiting-its-turn"]);
        let other = || WorkerCase { digest: Some("e"), ..worker("a") };
        check(&waiting(vec![other()]), &["other-definition"]);
        let needs = ["/srv/x".to_owned()];
        let needy = |workers| Case { needs: &needs, ..waiting(workers) };
        check(&needy(vec![worker("a")]), &["storage-closed"]);
        check(
            &needy(vec![worker("a"), WorkerCase { open: &needs, ..worker("b") }]),
            &["waiting-its-turn"],
        );
        check(
            &needy(vec![worker("a"), WorkerCase { open: &needs, ..other() }]),
            &["storage-closed"],
        );
        let both = ["/srv/x".to_owned(), "room:/srv/x".to_owned()];
        let writes = |workers| Case { needs: &both, ..waiting(workers) };
        let told = |workers| match why(&writes(workers)).as_slice() {
            [Why::StorageClosed { closed }] => closed.join("; "),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(vec![WorkerCase { open: &needs, ..worker("b") }]), "b: /srv/x (no room)");
        assert_eq!(told(vec![worker("b")]), "b: /srv/x");
        check(&writes(vec![WorkerCase { open: &both, ..worker("c") }]), &["waiting-its-turn"]);
        let rests = || WorkerCase { rests: Some("no receiver"), ..worker("a") };
        check(&waiting(vec![rests()]), &["resting"]);
        check(&waiting(vec![rests(), worker("b")]), &["waiting-its-turn"]);
        let waits = || WorkerCase { waits: Some("it was started often"), ..worker("a") };
        check(&waiting(vec![waits()]), &["workers-wait"]);
        check(&waiting(vec![waits(), rests()]), &["workers-wait"]);
        check(&waiting(vec![waits(), worker("b")]), &["waiting-its-turn"]);
        // whose own storage it would work on, and that is closed, is no better than one without
        let fond = |workers| Case { prefers: &needs, ..waiting(workers) };
        let closed = || WorkerCase { closed: &needs, ..worker("a") };
        check(&fond(vec![closed()]), &["storage-closed"]);
        check(&fond(vec![closed(), worker("b")]), &["waiting-its-turn"]);
        let lane = waiting(vec![]).lane.unwrap();
        for (lane, word) in [
            (LaneCase { paused: Some("x"), ..lane }, "lane-paused"),
            (LaneCase { open: Some(("x", 5)), ..lane }, "lane-open"),
        ] {
            check(&Case { lane: Some(lane), ..waiting(vec![worker("a")]) }, &[word]);
            check(&Case { lane: Some(lane), ..waiting(vec![]) }, &[word, "no-worker"]);
        }
        check(&Case { state: State::Running, ..waiting(vec![]) }, &["running"]);
        check(&Case { state: State::Quarantined, ..waiting(vec![]) }, &["quarantined"]);
    }

    #[test]
    fn what_a_worker_has_and_is_not_at_is_not_said_to_be_begun() {
        let told = |standing, at_another| {
            let worker = Some(("w", Some(standing)));
            let case = Case { state: State::Running, worker, at_another, ..waiting(vec![]) };
            match why(&case).as_slice() {
                [Why::Runs { seen, .. }] => seen.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert!(told(Standing::Busy, Some(5)).unwrap().contains("at job 5"));
        assert_eq!(told(Standing::Busy, None), None);
        assert_eq!(told(Standing::Dead, Some(5)), None, "nobody is at it any more");
    }

    #[test]
    fn a_time_that_is_waited_for_ends_when_it_is_there() {
        let at = |not_before_ms| Case { not_before_ms, ..waiting(vec![worker("a")]) };
        check(&at(1_000), &["waiting-its-turn"]);
        check(&at(1_001), &["cooling-down"]);
        let second = || WorkerCase { first_tier: Some("second"), ..worker("a") };
        let stale = || WorkerCase { standing: Standing::Stale, ..worker("b") };
        for (created_ms, expected) in [(400, "waiting-its-turn"), (401, "left-to-others")] {
            check(&Case { created_ms, ..waiting(vec![second(), stale()]) }, &[expected]);
        }
        // to nobody, where nobody has the first tool
        for other in [
            WorkerCase { standing: Standing::Dead, ..worker("b") },
            WorkerCase { digest: None, first_tier: None, lacks: Some("/bin/x"), ..worker("b") },
            WorkerCase { digest: Some("e"), ..worker("b") },
        ] {
            check(&waiting(vec![second(), other]), &["waiting-its-turn"]);
        }
        check(&waiting(vec![second(), worker("b")]), &["waiting-its-turn"]);
        let prefers = ["host:a".to_owned()];
        let at_home =
            |created_ms, workers| Case { prefers: &prefers, created_ms, ..waiting(workers) };
        let near = || WorkerCase { open: &prefers, ..worker("a") };
        check(&at_home(500, vec![worker("b")]), &["waiting-its-turn"]);
        check(&at_home(500, vec![near()]), &["waiting-its-turn"]);
        for standing in [Standing::Busy, Standing::Stale, Standing::Draining] {
            let near = || WorkerCase { standing, ..near() };
            for (created_ms, expected) in [(400, "waiting-its-turn"), (401, "left-to-its-host")] {
                check(&at_home(created_ms, vec![near(), worker("b")]), &[expected]);
            }
        }
        let gone = WorkerCase { standing: Standing::Dead, ..near() };
        check(&at_home(500, vec![gone, worker("b")]), &["waiting-its-turn"]);
    }
}
