//! Queues of other people's libraries at work: a real worker of each of the three that can be had here is killed in
//! mid-job, and what is read before, during and after that is held against what the library itself says and does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use unwedge::probes::jobs::{QueueFacts, State};

use crate::libraries::{ALL, Fixture, Packages, read};
use crate::support::postgres::{Database, cluster};

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A library on a database of its own, with a role that may read and no more.
struct Live {
    fixture: &'static Fixture,
    packages: Packages,
    database: Database,
    role: String,
}

/// A worker of it, killed at the end of the test at the latest.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Live {
    fn of(test: &str, name: &str) -> Option<Self> {
        let (cluster, packages) = (cluster(test)?, Packages::of(test)?);
        let fixture = ALL.iter().find(|it| it.name == name).unwrap();
        let database = cluster.database();
        let role = database.role("reader");
        Some(Self { fixture, packages, database, role })
    }

    #[allow(clippy::disallowed_methods, reason = "tests start processes")]
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.packages.worker(self.fixture.name);
        command.arg(self.database.url("postgres")).args(words).stdin(Stdio::null());
        command
    }

    fn does(&self, words: &[&str]) -> String {
        let ran = self.command(words).output().unwrap();
        assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    fn view(&self) -> Value {
        serde_json::from_str(&self.does(&["view"])).unwrap()
    }

    /// Starts a worker, and waits until it has begun a job; which.
    fn worker(&self) -> (Worker, String) {
        let mut child = self.command(&["work"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Worker { child, lines };
        let begun = worker.begun();
        (worker, begun)
    }

    fn facts(&self) -> QueueFacts {
        read(self.fixture, &self.database, &self.role)
    }

    /// What runs, how many wait, how many wait again, and how many run that nobody is at.
    fn told(&self) -> (Vec<String>, u64, u64, Option<u64>) {
        let facts = self.facts();
        let running = facts.running.iter().map(|it| it.id.clone()).collect();
        let count = |state| facts.count(state);
        (running, count(State::Pending), count(State::Retryable), facts.stale_running)
    }
}

impl Worker {
    fn begun(&mut self) -> String {
        let line = self.lines.next().expect("it ended").unwrap();
        line.strip_prefix("begun ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn graphile_workers_killed_job_runs_until_four_hours_are_over_and_then_it_takes_it_again() {
    let test = "libraries_live::graphile_workers_killed_job_runs_until_four_hours_are_over_and_then_it_takes_it_again";
    let Some(live) = Live::of(test, "graphile-worker") else { return };
    live.does(&["put", "3"]);
    assert_eq!(live.told(), (vec![], 3, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [], "waiting": 3}));

    let (worker, one) = live.worker();
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2}));

    // it is dead, and its library does not know either
    worker.kill();
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2}));
    let began_before = |ago: &str| {
        live.database.sql(&format!("UPDATE graphile_worker._private_jobs SET locked_at = now() - interval '{ago}' WHERE id = {one}"));
    };
    began_before("239 min");
    assert_eq!(live.told().3, Some(0));
    let (worker, other) = live.worker();
    assert_ne!(other, one, "it is not given to another before that");
    worker.kill();

    began_before("241 min");
    assert_eq!(live.told().3, Some(1));
    // whoever comes next gives it back, and may have taken another before
    let (worker, _) = live.worker();
    until(|| live.told().3 == Some(0));
    worker.kill();
    let facts = live.facts();
    let waits = facts.count(State::Pending) + facts.count(State::Retryable);
    let running: Vec<&str> = facts.running.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(live.view(), json!({"running": running, "waiting": waits}));
    if !facts.running.iter().any(|it| it.id == one) {
        assert_eq!((&facts.next[0].id, facts.next[0].state), (&one, State::Retryable));
        assert_eq!(live.worker().1, one);
    }
}

#[test]
fn pg_bosss_killed_job_runs_until_its_time_is_over_and_then_it_takes_it_back() {
    let test =
        "libraries_live::pg_bosss_killed_job_runs_until_its_time_is_over_and_then_it_takes_it_back";
    let Some(live) = Live::of(test, "pg-boss") else { return };
    live.does(&["put", "3"]);
    assert_eq!(live.told(), (vec![], 3, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [], "waiting": 3}));

    let (worker, one) = live.worker();
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2}));
    worker.kill();
    // a job has 8 s, and nobody keeps the house any more
    let (running, waiting, retryable, _) = live.told();
    assert_eq!((running, waiting, retryable), (vec![one.clone()], 2, 0));
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2}));
    until(|| live.told().3 == Some(1));
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(1)), "it runs, and nobody is at it");
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2}));

    // whoever comes next takes it back, as one that is tried again
    let (worker, other) = live.worker();
    assert_ne!(other, one);
    until(|| live.facts().next.iter().any(|it| it.id == one && it.state == State::Retryable));
    worker.kill();
    let (running, waiting, retryable, _) = live.told();
    assert!(!running.contains(&one));
    assert_eq!(live.view(), json!({"running": running, "waiting": waiting + retryable}));
}

#[test]
fn procrastinates_killed_job_runs_until_its_worker_was_silent_for_long_and_stays_so() {
    let test = "libraries_live::procrastinates_killed_job_runs_until_its_worker_was_silent_for_long_and_stays_so";
    let Some(live) = Live::of(test, "procrastinate") else { return };
    live.does(&["put", "3"]);
    assert_eq!(live.told(), (vec![], 3, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [], "waiting": 3, "stale": []}));

    let (worker, one) = live.worker();
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(0)));
    let started = live.facts().running[0].started_utc_ms.unwrap();
    assert!(live.facts().at_utc_ms - started < 60_000, "when it began is known");
    worker.kill();
    assert_eq!(live.told(), (vec![one.clone()], 2, 0, Some(0)));
    assert_eq!(live.view(), json!({"running": [one], "waiting": 2, "stale": []}));

    let silent_for = |ago: &str| {
        live.database.sql(&format!(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '{ago}'"
        ));
    };
    silent_for("25 s");
    assert_eq!((live.told().3, &live.view()["stale"]), (Some(0), &json!([])));
    silent_for("31 s");
    assert_eq!((live.told().3, &live.view()["stale"]), (Some(1), &json!([one])));

    // another worker takes others: only a task of the application's own gives it back
    let (worker, other) = live.worker();
    assert_ne!(other, one);
    worker.kill();
    live.does(&["retry"]);
    let facts = live.facts();
    let again = facts.next.iter().find(|it| it.id == one).unwrap();
    assert_eq!(again.state, State::Retryable);
    let (running, waiting, retryable, _) = live.told();
    let view = live.view();
    assert_eq!(
        (&view["running"], &view["waiting"]),
        (&json!(running), &json!(waiting + retryable))
    );
}

fn until(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never true");
        std::thread::sleep(Duration::from_millis(100));
    }
}
