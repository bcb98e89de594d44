//! Each key by which a person says how often, how long apart and until when: through the programs, and seen in the queue.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use unwedge::config::queue::Database as Place;

use crate::pooler::{self, Pooler};
use crate::store::Db;
use crate::support::isolate;
use crate::support::lab::await_within;

/// Who the programs become.
const NOBODY: u32 = 65534;

/// A host with one type, `t`.
pub struct Desk {
    pub dir: tempfile::TempDir,
    pub db: Db,
}

impl Desk {
    pub fn new(test: &str, kind: &str, jobs: &str) -> Option<Self> {
        Self::file(test, kind, "", jobs)
    }

    /// With a queue in a file, which is its own.
    pub fn file(test: &str, kind: &str, queue: &str, jobs: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            isolate::skip(test, "needs root: a sentinel is root's");
            return None;
        }
        let db = Db::file();
        db.open();
        let Place::Url(url) = &db.queue.database else { panic!() };
        let url = url.0.clone();
        let own = PathBuf::from(url.strip_prefix("sqlite://").unwrap());
        let own = own.parent().unwrap();
        for path in fs::read_dir(own).unwrap().flatten().map(|it| it.path()) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(own, Some(NOBODY), Some(NOBODY)).unwrap();
        Some(Self::of(db, &url, kind, queue, jobs))
    }

    /// The same on each of the two databases.
    pub fn both(test: &str, kind: &str, jobs: &str) -> Vec<Self> {
        let server = || Self::server(test, kind, "", jobs);
        Self::new(test, kind, jobs).into_iter().chain(server()).collect()
    }

    /// The same with a server.
    pub fn server(test: &str, kind: &str, queue: &str, jobs: &str) -> Option<Self> {
        let db = Db::server(test)?;
        db.open();
        let Place::Url(url) = &db.queue.database else { panic!() };
        let url = url.0.clone();
        Some(Self::of(db, &url, kind, queue, jobs))
    }

    /// The one answer of a statement.
    pub fn value(&self, sql: &str) -> String {
        self.db.rows(sql).concat().concat()
    }

    /// Waits until its runner has given so many more signs of life: what it does with each of them it has done.
    #[track_caller]
    pub fn beats(&self, count: u64) {
        let beats = || self.value("SELECT sum(beats) FROM unwedge_workers").parse::<u64>().unwrap();
        let before = beats();
        until("it gives signs of life", || beats() >= before + count);
    }

    /// Whose queue is there already, and is reached by this URL.
    pub fn of(db: Db, url: &str, kind: &str, queue: &str, jobs: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["run", "sentinels", "jobs.d", "state", "state/queue", "prom", "in", "out"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("sentinels/jobs"), "armed by a test\n").unwrap();
        for name in ["", "state/queue", "prom", "out"] {
            chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let out = at("out").display().to_string();
        fs::write(at("jobs.d/t.toml"), kind.replace("OUT", &out)).unwrap();
        let root = dir.path().display();
        let poll = if jobs.contains("poll") { "" } else { "poll = \"200ms\"\n" };
        let text = format!(
            "[host]\nuser = \"nobody\"\nstate_dir = \"{root}/state\"\nrun_dir = \"{root}/run\"\nsentinel_dir = \"{root}/sentinels\"\ntextfile_dir = \"{root}/prom\"\n\
             [queue]\nadapter = \"unwedge\"\nurl = \"{url}\"\n{queue}[jobs]\ndir = \"{root}/jobs.d\"\nbeat = \"1s\"\nmin_free_mib = 0\n{poll}{jobs}"
        );
        fs::write(at("unwedge.toml"), text).unwrap();
        Self { dir, db }
    }

    /// A path of its own.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", program, "--config"])
            .arg(self.dir.path().join("unwedge.toml"))
            .current_dir("/");
        command
    }

    pub fn say(&self, program: &str, words: &[&str]) -> String {
        let done = self.command(program).args(words).output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        assert!(done.status.success(), "{words:?}: {said}");
        said
    }

    pub fn submit(&self, name: &str) {
        let file = self.dir.path().join("in").join(name);
        fs::write(&file, "x").unwrap();
        self.say(env!("CARGO_BIN_EXE_unwedge"), &["jobs", "submit", "t", file.to_str().unwrap()]);
    }

    /// Works off what there is, as if all that waits for a time had waited; what was said.
    pub fn work(&self) -> String {
        self.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
        // one that is started often waits before it takes anything, and a test has no time for that
        let _ = fs::remove_file(self.dir.path().join("state/queue/runner.json"));
        self.say(env!("CARGO_BIN_EXE_unwedge-runner"), &["--once"])
    }

    pub fn row(&self, columns: &str) -> Vec<String> {
        self.db
            .rows(&format!("SELECT {columns} FROM unwedge_jobs ORDER BY id DESC LIMIT 1"))
            .remove(0)
    }
}

#[test]
fn each_key_of_retry_says_how_often_and_how_far_apart() {
    const HOUR: &str = "backoff = \"1h\"\nbackoff_max = \"100h\"\njitter = 0\n";
    const WAIT: &str = "state, failures, infra_errors, not_before_ms - changed_ms";
    let test = "keys::each_key_of_retry_says_how_often_and_how_far_apart";
    // what its command exits with, what is said, and how it stands after each try
    let cases: [(u8, &str, &[&str]); 8] = [
        (1, "attempts = 1\n", &["quarantined 1 0"]),
        (1, &format!("attempts = 2\n{HOUR}"), &["retryable 1 0 3600000", "quarantined 2 0"]),
        (1, "backoff = \"7min\"\njitter = 0\n", &["retryable 1 0 420000"]),
        (1, &format!("factor = 3\n{HOUR}"), &["retryable 1 0 3600000", "retryable 2 0 10800000"]),
        (
            1,
            "backoff = \"1h\"\nbackoff_max = \"2h\"\njitter = 0\n",
            &["retryable 1 0 3600000", "retryable 2 0 7200000"],
        ),
        (
            75,
            "infra_attempts = 2\ninfra_wait = \"1h\"\njitter = 0\n",
            &["retryable 0 1 3600000", "failed 0 2"],
        ),
        (75, "infra_wait = \"7min\"\njitter = 0\n", &["retryable 0 1 420000"]),
        (75, "infra_attempts = 1\n", &["failed 0 1"]),
    ];
    for (code, retry, expected) in cases {
        let kind = format!(
            "[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"exit {code}\"]\n[exit]\n75 = \"transient\"\n[retry]\n{retry}"
        );
        let Some(desk) = Desk::new(test, &kind, "") else { return };
        desk.submit("a");
        for stands in expected {
            desk.work();
            let mut row = desk.row(WAIT);
            if row[0] != "retryable" {
                row.truncate(3);
            }
            assert_eq!(row.join(" "), *stands, "{retry}");
        }
    }
    // spread by half of it at most, and by chance
    let kind = "[[tier]]\nargv = [\"/bin/false\"]\n[retry]\nattempts = 99\nbackoff = \"1000s\"\nfactor = 1\njitter = 100\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    desk.submit("a");
    let waits: Vec<u64> = (0..4)
        .map(|_| {
            desk.work();
            desk.row(WAIT)[3].parse().unwrap()
        })
        .collect();
    assert!(waits.iter().all(|it| (500_000..=1_500_000).contains(it)), "{waits:?}");
    assert!(waits.iter().any(|it| it.abs_diff(1_000_000) > 1_000), "{waits:?}");
}

#[test]
fn each_key_says_how_long_something_is_kept() {
    let test = "keys::each_key_says_how_long_something_is_kept";
    let kind =
        "output = \"OUT/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n";
    for (key, ends, other) in [
        (
            "keep_done",
            "UPDATE unwedge_jobs SET state = 'done', finished_ms = changed_ms - 3600000",
            "",
        ),
        (
            "keep_failed",
            "UPDATE unwedge_jobs SET state = 'failed', class = 'failed', finished_ms = changed_ms - 3600000",
            "",
        ),
        (
            "keep_cancelled",
            "UPDATE unwedge_jobs SET state = 'cancelled', finished_ms = changed_ms - 3600000",
            "",
        ),
        (
            "keep_quarantined",
            "UPDATE unwedge_jobs SET state = 'quarantined', class = 'failed', finished_ms = changed_ms - 3600000",
            "",
        ),
        (
            "keep_events",
            "INSERT INTO unwedge_events (at_ms, kind, job) SELECT changed_ms - 3600000, 'old', NULL FROM unwedge_jobs",
            "SELECT id FROM unwedge_events WHERE kind = 'old'",
        ),
    ] {
        for (age, is_left) in [("61min", true), ("59min", false)] {
            let Some(desk) = Desk::new(test, kind, &format!("{key} = \"{age}\"\n")) else { return };
            desk.submit("a");
            desk.db.rows(ends);
            let said = desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
            let of = if other.is_empty() { "SELECT id FROM unwedge_jobs" } else { other };
            assert_eq!(desk.db.rows(of).len() == 1, is_left, "{key} = {age}");
            // what was put aside goes with a line for each, and is counted
            let is_told = said.contains("job 1 of t (")
                && said.contains("was not done, and is kept no longer");
            let is_undone = ["keep_failed", "keep_quarantined"].contains(&key);
            assert_eq!(is_told, is_undone && !is_left, "{said}");
            let metrics =
                fs::read_to_string(desk.dir.path().join("prom/unwedge_jobs.prom")).unwrap();
            let is_counted = metrics.contains("unwedge_jobs_removed{state=\"quarantined\"} 1\n");
            assert_eq!(is_counted, is_told && key == "keep_quarantined", "{metrics}");
        }
    }
    // 0 is for ever
    let Some(desk) = Desk::new(test, kind, "keep_quarantined = \"0\"\n") else { return };
    desk.submit("a");
    desk.db
        .rows("UPDATE unwedge_jobs SET state = 'quarantined', class = 'failed', finished_ms = 1");
    desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
    assert_eq!(desk.db.rows("SELECT id FROM unwedge_jobs").len(), 1);
    // what a try said
    let kind = "[[tier]]\nargv = [\"/bin/echo\", \"said\"]\n";
    for (age, is_left) in [("61min", true), ("59min", false)] {
        let Some(desk) = Desk::new(test, kind, &format!("keep_logs = \"{age}\"\n")) else { return };
        desk.submit("a");
        desk.work();
        let logs = desk.dir.path().join("state/queue/logs");
        let log = fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        fs::File::options().write(true).open(&log).unwrap().set_modified(then).unwrap();
        desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
        assert_eq!(log.exists(), is_left, "keep_logs = {age}");
    }
}

#[test]
fn each_key_of_a_type_has_its_effect() {
    const ONCE: &str = "[retry]\nattempts = 1\ninfra_attempts = 1\n";
    let test = "keys::each_key_of_a_type_has_its_effect";
    let sh = |text: &str, more: &str| {
        format!(
            "output = \"OUT/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", '''{text}''', \"job\", \"{{input}}\", \"{{output}}\"]\n{more}"
        )
    };
    // what it does, what its type says of that, how it ends
    for (text, more, stands, said) in [
        ("cp $1 $2; exit 3", "accept = { exit = [3] }\n", "done", ""),
        ("cp $1 $2", "accept = { exit = [3] }\n", "quarantined", ""),
        (": >$2", "empty = \"allowed\"\n", "done", ""),
        (": >$2", "", "quarantined", "its result has 0 bytes, at least 1 are expected"),
        ("echo 1 >$2", "accept = { min_bytes = 3 }\n", "quarantined", "has 2 bytes, at least 3"),
        ("sleep 60", "limit = \"1s\"\n", "quarantined", "no end within 1.0 s"),
        (
            "cp $1 $2",
            "accept = { check = { argv = [\"/bin/sleep\", \"60\"], limit = \"1s\" } }\n",
            "quarantined",
            "its result is not accepted: no end within 1.0 s",
        ),
    ] {
        let Some(desk) = Desk::new(test, &(sh(text, more) + ONCE), "grace = \"1s\"\n") else {
            return;
        };
        desk.submit("a");
        desk.work();
        let row = desk.row("state, coalesce(message, ''), coalesce(bytes, -1)");
        assert!(row[0] == stands && row[1].contains(said), "{text} {more}: {row:?}");
        assert_eq!(
            row[2] == "0",
            more.contains("empty"),
            "what is empty is counted apart: {row:?}"
        );
        // by which version and which definition it was made
        let tries = desk
            .db
            .rows("SELECT version, length(digest) > 8, started_ms > 0 FROM unwedge_attempts");
        assert_eq!(tries, [[env!("CARGO_PKG_VERSION"), "1", "1"]]);
    }
    // who carries it may not take for ever either
    for more in [
        "fetch = { argv = [\"/bin/sh\", \"-c\", \"sleep 60\", \"{to}\"], limit = \"1s\" }\n",
        "deliver = { argv = [\"/bin/sh\", \"-c\", \"sleep 60\", \"{from}\"], limit = \"1s\" }\n",
    ] {
        let mut kind = more.to_owned() + &sh("cp $1 $2", ONCE);
        if more.starts_with("deliver") {
            kind = kind.replace("OUT/", "/nowhere/out/");
        }
        let Some(desk) = Desk::new(test, &kind, "grace = \"1s\"\n") else { return };
        if more.starts_with("fetch") {
            let words = ["jobs", "submit", "t", "/nowhere/in/a"];
            desk.say(env!("CARGO_BIN_EXE_unwedge"), &words);
        } else {
            desk.submit("a");
        }
        desk.work();
        let row = desk.row("state, class, failures, infra_errors, coalesce(message, '')");
        // a server that is mute is no item's fault
        assert_eq!(row[..4], ["failed", "infrastructure", "0", "1"], "{more}: {row:?}");
        assert!(row[4].contains("no end within 1.0 s"), "{more}: {row:?}");
    }
    // one that is away costs nothing, however that is said
    for (fails, infra) in [
        ("exit 10", "0"),
        ("echo ssh: connect: Connection refused; exit 255", "0"),
        // what would fill the disk again each minute comes to an end
        ("echo write: No space left on device; exit 1", "1"),
    ] {
        let fetch =
            format!("fetch = {{ argv = [\"/bin/sh\", \"-c\", \"{fails}\", \"{{to}}\"] }}\n");
        let kind = fetch + &sh("cp $1 $2", ONCE) + "[exit]\n10 = \"transient\"\n";
        let Some(desk) = Desk::new(test, &kind, "") else { return };
        desk.say(env!("CARGO_BIN_EXE_unwedge"), &["jobs", "submit", "t", "/nowhere/in/a"]);
        for tries in ["1", "2"] {
            desk.work();
            let row = desk.row("state, class, failures, infra_errors, tries");
            if infra == "1" {
                assert_eq!(row, ["failed", "infrastructure", "0", "1", "1"], "{fails}");
                break;
            }
            assert_eq!(row, ["pending", "infrastructure", "0", "0", tries], "{fails}");
        }
    }
    // what comes first, and what has to be open
    let kind = format!("priority = 7\nneeds = [\"/srv/needed\"]\n{}", sh("cp $1 $2", ONCE));
    let Some(desk) = Desk::new(test, &kind, "") else { return };
    desk.submit("a");
    assert_eq!(desk.row("priority, needs"), ["7", "[\"/srv/needed\"]"]);
    desk.work();
    assert_eq!(desk.row("state, tries"), ["pending", "0"], "it is open nowhere");
    let now = unwedge::sys::clock::Now::take().unwrap().stamp();
    let gate = serde_json::json!({ "schema": 1, "at": now, "paths": { "/srv/needed": { "verdict": "live", "open": true } } });
    fs::write(desk.dir.path().join("run/storage.json"), gate.to_string()).unwrap();
    desk.work();
    assert_eq!(desk.row("state, tries"), ["done", "1"]);
}

#[test]
fn what_was_put_aside_is_swept_no_more_often_than_said() {
    let test = "keys::what_was_put_aside_is_swept_no_more_often_than_said";
    let kind = "[[tier]]\nargv = [\"/bin/true\"]\n";
    let Some(desk) = Desk::new(test, kind, "keep_quarantined = \"59min\"\n") else { return };
    let pass = || desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
    let count = || desk.db.rows("SELECT id FROM unwedge_jobs").len();
    pass();
    desk.submit("a");
    desk.db.rows("UPDATE unwedge_jobs SET state = 'quarantined', class = 'failed', finished_ms = changed_ms - 3600000 RETURNING id");
    pass();
    assert_eq!(count(), 1, "an hour has not gone by");
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}tidy = \"1s\"\n")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    pass();
    assert_eq!(count(), 0);
}

#[test]
fn what_fails_for_its_surroundings_does_not_take_all_that_wait_along() {
    let test = "keys::what_fails_for_its_surroundings_does_not_take_all_that_wait_along";
    for batch in [1, 20] {
        let kind = format!(
            "batch = {batch}\noutput = \"OUT/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"test -e OUT/.well || exit 75; cp $0 $1\", \"{{input}}\", \"{{output}}\"]\n[exit]\n75 = \"transient\"\n"
        );
        let Some(desk) = Desk::new(test, &kind, "") else { return };
        for nth in 0..30 {
            desk.submit(&nth.to_string());
        }
        let said = desk.work();
        assert!(said.contains("t: the last 5 failed for what is around them; one is tried now and then until that works: exit 75"), "{said}");
        let charged = "SELECT count(*), sum(infra_errors), sum(failures) FROM unwedge_jobs WHERE infra_errors > 0";
        assert_eq!(desk.db.rows(charged), [["5", "5", "0"]]);
        fs::write(desk.dir.path().join("out/.well"), "").unwrap();
        let said = desk.work();
        assert!(!said.contains("around them"), "{said}");
        let stand = "SELECT state, count(*) FROM unwedge_jobs GROUP BY state";
        assert_eq!(desk.db.rows(stand), [["done", "30"]]);
    }
}

#[test]
fn what_shows_that_its_type_is_wrong_is_shown_by_a_few_of_all_that_were_taken() {
    let test = "keys::what_shows_that_its_type_is_wrong_is_shown_by_a_few_of_all_that_were_taken";
    let kind = "batch = 40\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"echo x >>OUT/.runs; exit 78\"]\n[exit]\n78 = \"configuration\"\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    for nth in 0..30 {
        desk.submit(&nth.to_string());
    }
    desk.work();
    let runs = fs::read_to_string(desk.dir.path().join("out/.runs")).unwrap().lines().count();
    // the breaker opens with the fifth, and one may be at work then
    assert!((5..=8).contains(&runs), "{runs}");
    let open = "SELECT count(*) FROM unwedge_lanes WHERE opened_ms IS NOT NULL";
    assert_eq!(desk.db.rows(open), [["1"]]);
    let held = "SELECT count(*) FROM unwedge_jobs WHERE state = 'running' OR failures + infra_errors + rescues > 0";
    assert_eq!(desk.db.rows(held), [["0"]]);
}

#[test]
fn what_waits_to_be_begun_goes_back_when_its_type_is_another_or_its_lane_is_closed() {
    let test =
        "keys::what_waits_to_be_begun_goes_back_when_its_type_is_another_or_its_lane_is_closed";
    let kind = |word: &str| {
        format!(
            "batch = 9\noutput = \"OUT/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"until test -e OUT/.{word}; do sleep 0.05; done; echo {word} >$1\", \"job\", \"{{output}}\"]\n"
        )
    };
    let Some(desk) = Desk::new(test, &kind("old"), "") else { return };
    for name in ["a", "b", "c", "d"] {
        desk.submit(name);
    }
    let out = desk.dir.path().join("out");
    let running = || {
        let count = desk.db.rows("SELECT count(*) FROM unwedge_jobs WHERE state = 'running'");
        count[0][0].clone()
    };
    let runner = Runner::of(&desk);
    until("all are its own", || running() == "4");
    let new = kind("new").replace("OUT", &out.display().to_string());
    fs::write(desk.dir.path().join("jobs.d/t.toml"), new).unwrap();
    runner.tell(Signal::HUP);
    until("those that wait are back", || running() == "1");
    fs::write(out.join(".old"), "").unwrap();
    until("they are taken by what the type is now", || running() == "3");
    // a person closes the lane
    desk.db.rows("UPDATE unwedge_lanes SET paused_ms = 1, paused_why = 'x' RETURNING type");
    until("those that wait are back again", || running() == "1");
    fs::write(out.join(".new"), "").unwrap();
    until("what ran is done", || running() == "0");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let done = "SELECT count(*) FROM unwedge_jobs WHERE state = 'done'";
    assert_eq!(desk.db.rows(done), [["2"]], "a closed lane begins nothing");
    desk.db.rows("UPDATE unwedge_lanes SET paused_ms = NULL, paused_why = NULL RETURNING type");
    until("all is done", || desk.is_done());
    let said = |name: &str| fs::read_to_string(out.join(name)).unwrap().trim().to_owned();
    assert_eq!(["a", "b", "c", "d"].map(said), ["old", "new", "new", "new"]);
    let charged = "SELECT sum(failures + infra_errors + rescues) FROM unwedge_jobs";
    assert_eq!(desk.db.rows(charged), [["0"]]);
}

#[test]
fn what_lost_its_worker_once_is_taken_though_many_others_wait() {
    let test = "keys::what_lost_its_worker_once_is_taken_though_many_others_wait";
    let kind = "batch = 12\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"echo $0 >>OUT/.order\", \"{name}\"]\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    for nth in 1..=50 {
        desk.submit(&nth.to_string());
    }
    desk.db
        .rows("UPDATE unwedge_jobs SET rescues = 1, state = 'retryable' WHERE id = 1 RETURNING id");
    desk.work();
    let order = fs::read_to_string(desk.dir.path().join("out/.order")).unwrap();
    let place = order.lines().position(|it| it == "1");
    assert!(order.lines().count() == 50 && place.is_some_and(|it| it < 30), "{order}");
}

#[test]
fn storage_that_is_watched_since_a_job_was_put_in_keeps_it_back_as_well() {
    let test = "keys::storage_that_is_watched_since_a_job_was_put_in_keeps_it_back_as_well";
    let kind =
        "output = \"OUT/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    desk.submit("a");
    assert_eq!(desk.row("needs"), ["[]"]);
    let root = desk.dir.path();
    let elsewhere = root.join("b");
    fs::write(&elsewhere, "x").unwrap();
    desk.say(env!("CARGO_BIN_EXE_unwedge"), &["jobs", "submit", "t", elsewhere.to_str().unwrap()]);
    let watched = root.join("in").display().to_string();
    let config = root.join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    let mount = format!("[[mount]]\npath = \"{watched}\"\nfstype = \"fuse.faultfs\"\n");
    fs::write(&config, text + &mount).unwrap();
    let work = |is_open: bool| {
        let now = unwedge::sys::clock::Now::take().unwrap();
        let entry = serde_json::json!({ "verdict": "live", "open": is_open });
        let gate = serde_json::json!({ "schema": 1, "at": now.stamp(), "paths": { watched.as_str(): entry } });
        fs::write(root.join("run/storage.json"), gate.to_string()).unwrap();
        let said = desk.work();
        let row = "SELECT state, failures, infra_errors, rescues FROM unwedge_jobs WHERE id = 1";
        (said, desk.db.rows(row).remove(0))
    };
    let (said, row) = work(false);
    assert_eq!(row, ["pending", "0", "0", "0"], "{said}");
    let why = desk.db.rows("SELECT message FROM unwedge_jobs WHERE id = 1").concat().concat();
    assert!(why.contains(&format!("{watched} is not open on this host")), "{why}: {said}");
    assert!(!root.join("out/a").exists());
    // what lies elsewhere is not kept back for that
    assert!(root.join("out/b").exists(), "{said}");
    let (said, row) = work(true);
    assert_eq!(row, ["done", "0", "0", "0"], "{said}");
}

/// A runner as a service, which does not outlive its test.
pub struct Runner(pub Child);

impl Runner {
    pub fn of(desk: &Desk) -> Self {
        let log = fs::File::create(desk.dir.path().join("log")).unwrap();
        let mut command = desk.command(env!("CARGO_BIN_EXE_unwedge-runner"));
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    pub fn tell(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.tell(Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

impl Desk {
    pub fn is_done(&self) -> bool {
        let left = "SELECT id FROM unwedge_jobs WHERE state <> 'done'";
        self.db.rows(left).is_empty()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }
}

/// Waits for something within a minute.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    await_within(std::time::Duration::from_secs(60), what, is_so);
}

#[test]
fn a_runner_that_hears_nothing_looks_as_often_as_said() {
    let test = "keys::a_runner_that_hears_nothing_looks_as_often_as_said";
    let kind = "[[tier]]\nargv = [\"/bin/sleep\", \"1\"]\n";
    let [seldom, often] = ["1h", "200ms"].map(|poll| {
        let database = pooler::database(test)?;
        let pooler = Pooler::new(&database, "transaction");
        let db = Db::of(database);
        db.open();
        let desk = Desk::of(db, &pooler.url, kind, "", &format!("poll = \"{poll}\"\n"));
        let runner = Runner::of(&desk);
        Some((desk, runner, pooler))
    });
    let (Some(seldom), Some(often)) = (seldom, often) else { return };
    for (desk, ..) in [&seldom, &often] {
        until("it is known that no word comes", || desk.log().contains("do not arrive"));
    }
    seldom.0.submit("a");
    // three times as long as a runner waits that nobody told otherwise
    for nth in 0..6 {
        often.0.submit(&nth.to_string());
    }
    until("what is looked for often is done", || often.0.is_done());
    assert_eq!(seldom.0.row("state, tries"), ["pending", "0"]);
    // it would take it: whoever is told to read its types anew looks at once
    seldom.1.tell(Signal::HUP);
    until("it is done", || seldom.0.is_done());
}

#[test]
fn what_runs_is_ended_when_its_time_is_over_though_the_queue_is_mute() {
    let test = "keys::what_runs_is_ended_when_its_time_is_over_though_the_queue_is_mute";
    let Some(database) = pooler::database(test) else { return };
    let pooler = Pooler::new(&database, "transaction");
    let db = Db::of(database);
    db.open();
    let kind = "[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"trap 'echo >OUT/.ended; exit 1' TERM; echo >OUT/.begun; while :; do sleep 0.1; done\"]\n";
    let desk = Desk::of(db, &pooler.url, kind, "timeout = \"40s\"\n", "drain = \"1s\"\n");
    desk.submit("a");
    let runner = Runner::of(&desk);
    let there = |name: &str| desk.dir.path().join("out").join(name).exists();
    until("it runs", || there(".begun"));
    let beats = || desk.db.rows("SELECT beats FROM unwedge_workers");
    let before = beats();
    until("it has said so", || beats() != before);
    // until the next time nothing is asked
    std::thread::sleep(std::time::Duration::from_millis(200));
    pooler.tell(Signal::STOP);
    runner.tell(Signal::TERM);
    await_within(std::time::Duration::from_secs(20), "it is ended", || there(".ended"));
    pooler.tell(Signal::CONT);
}

#[test]
fn a_queue_that_is_away_is_tried_as_often_as_said() {
    let test = "keys::a_queue_that_is_away_is_tried_as_often_as_said";
    let kind = "[[tier]]\nargv = [\"/bin/sleep\", \"1\"]\n";
    let [seldom, often] = ["1h", "200ms"].map(|first| {
        let db = Db::server(test)?;
        db.open();
        let Place::Url(url) = &db.queue.database else { panic!() };
        let url = url.0.clone();
        let most = if first == "1h" { "1h" } else { "400ms" };
        let queue = format!("reconnect = \"{first}\"\nreconnect_max = \"{most}\"\n");
        let desk = Desk::of(db, &url, kind, &queue, "");
        let runner = Runner::of(&desk);
        Some((desk, runner))
    });
    let (Some(seldom), Some(often)) = (seldom, often) else { return };
    for (desk, _) in [&seldom, &often] {
        until("it is entered", || desk.db.rows("SELECT id FROM unwedge_workers").len() == 1);
        desk.db.close_to_others(true);
    }
    until("it is known to be away", || seldom.0.log().contains("(57P01)"));
    let is_tried = |log: &str| log.contains("unwedge-runner: no connection to ");
    until("it was tried", || is_tried(&often.0.log()));
    // and again
    std::thread::sleep(std::time::Duration::from_secs(2));
    for (desk, _) in [&seldom, &often] {
        desk.db.close_to_others(false);
    }
    seldom.0.submit("a");
    // longer than a runner waits that nobody told otherwise
    for nth in 0..8 {
        often.0.submit(&nth.to_string());
    }
    until("what is tried often is at work again", || often.0.is_done());
    assert_eq!(seldom.0.row("state, tries"), ["pending", "0"]);
    // for as long as one reason lasts it is said once, and once that it is over
    let log = often.0.log();
    let said: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("unwedge-runner: ")).map(|it| it.1).collect();
    let of = |text: &str| said.iter().filter(|it| it.starts_with(text)).count();
    assert_eq!(of("no connection to "), 1, "{log}");
    assert_eq!(of("the queue answers again"), 1, "{log}");
}

#[test]
fn what_cannot_be_fetched_does_not_take_all_that_wait_along() {
    let test = "keys::what_cannot_be_fetched_does_not_take_all_that_wait_along";
    let kind = "output = \"OUT/{name}\"\nfetch = { argv = [\"/bin/sh\", \"-c\", \"test -e OUT/.well || exit 75; echo x >$0\", \"{to}\"] }\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n[exit]\n75 = \"transient\"\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    for nth in 0..12 {
        let input = format!("/nowhere/in/{nth}");
        desk.say(env!("CARGO_BIN_EXE_unwedge"), &["jobs", "submit", "t", &input]);
    }
    let said = desk.work();
    assert!(said.contains("t: the last 5 failed for what is around them"), "{said}");
    let tried = "SELECT count(*), max(tries), sum(infra_errors) FROM unwedge_jobs WHERE tries > 0";
    assert_eq!(desk.db.rows(tried), [["5", "1", "0"]]);
    fs::write(desk.dir.path().join("out/.well"), "").unwrap();
    desk.work();
    assert!(desk.is_done());
}

/// A job whose end waits on disk, its runner killed, and its queue away.
fn whose_end_waits_on_disk(test: &str) -> Option<Desk> {
    let kind =
        "[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"until test -e OUT/go; do sleep 0.05; done\"]\n";
    let db = Db::server(test)?;
    db.open();
    let Place::Url(url) = &db.queue.database else { panic!() };
    let url = url.0.clone();
    let queue = "reconnect = \"1h\"\nreconnect_max = \"1h\"\n";
    let desk = Desk::of(db, &url, kind, queue, "grace = \"1s\"\n");
    desk.submit("a");
    let mut runner = Runner::of(&desk);
    until("it is begun", || desk.row("state") == ["running"]);
    desk.db.close_to_others(true);
    fs::write(desk.dir.path().join("out/go"), "").unwrap();
    let spool = desk.dir.path().join("state/queue/spool.json");
    until("its end is on disk", || {
        fs::read_to_string(&spool).is_ok_and(|text| text.contains("done"))
    });
    runner.tell(Signal::KILL);
    runner.0.wait().unwrap();
    let _ = fs::remove_file(desk.dir.path().join("state/queue/runner.json"));
    Some(desk)
}

#[test]
fn what_waits_to_be_handed_in_is_handed_in_soon_after_its_queue_is_back() {
    let test = "keys::what_waits_to_be_handed_in_is_handed_in_soon_after_its_queue_is_back";
    let Some(desk) = whose_end_waits_on_disk(test) else { return };
    // the next one comes before the queue does, and others may soon find the first one gone
    let _next = Runner::of(&desk);
    until("it was tried", || desk.log().contains("no connection"));
    desk.db.close_to_others(false);
    until("it is handed in", || desk.is_done());
    let used = "tries, rescues, infra_errors, failures";
    assert_eq!(desk.row(used), ["1", "0", "0", "0"]);
}

#[test]
fn nobody_gives_a_job_to_others_whose_end_waits_on_this_hosts_disk() {
    let test = "keys::nobody_gives_a_job_to_others_whose_end_waits_on_this_hosts_disk";
    let Some(desk) = whose_end_waits_on_disk(test) else { return };
    desk.db.close_to_others(false);
    // each of them sees that its worker is gone
    desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
    desk.say(env!("CARGO_BIN_EXE_unwedge"), &["workers", "cleanup"]);
    assert_eq!(desk.row("state, rescues"), ["running", "0"]);
    let _next = Runner::of(&desk);
    until("it is handed in", || desk.is_done());
    assert_eq!(desk.row("tries, rescues"), ["1", "0"]);
}

#[test]
fn how_long_a_job_took_is_from_when_it_was_begun_and_not_from_when_it_was_claimed() {
    let test =
        "keys::how_long_a_job_took_is_from_when_it_was_begun_and_not_from_when_it_was_claimed";
    let kind = "batch = 20\n[[tier]]\nargv = [\"/bin/sleep\", \"0.5\"]\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    for nth in 0..8 {
        desk.submit(&nth.to_string());
    }
    let start = std::time::Instant::now();
    desk.work();
    let wall = start.elapsed().as_millis();
    // one after the other
    let took = &desk.db.rows("SELECT count(*), sum(finished_ms - started_ms) FROM unwedge_jobs")[0];
    assert_eq!(took[0], "8");
    assert!(took[1].parse::<u128>().unwrap() <= wall, "{took:?} of {wall} ms");
}

#[test]
fn what_a_host_cannot_run_counts_for_its_surroundings_and_flags_win() {
    let test = "keys::what_a_host_cannot_run_counts_for_its_surroundings_and_flags_win";
    let kind = "concurrency = 0\n[retry]\nattempts = 1\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"exit 127\"]\n[[tier]]\nargv = [\"/bin/false\"]\n";
    let Some(desk) = Desk::new(test, kind, "[jobs.t]\nconcurrency = 0\n") else { return };
    desk.submit("a");
    let waits = [["pending", "0", "0"]];
    let stands = || desk.db.rows("SELECT state, failures, infra_errors FROM unwedge_jobs");
    desk.work();
    assert_eq!(stands(), waits, "none at once is none");
    desk.say(env!("CARGO_BIN_EXE_unwedge-runner"), &["--once", "--concurrency", "1"]);
    assert_eq!(stands(), [["retryable", "0", "1"]]);
}

#[test]
fn of_a_runner_that_ends_as_it_was_to_no_metrics_stay_and_of_one_that_is_killed_they_do() {
    let test = "keys::of_a_runner_that_ends_as_it_was_to_no_metrics_stay_and_of_one_that_is_killed_they_do";
    let kind = "[[tier]]\nargv = [\"/bin/true\"]\n";
    let Some(desk) = Desk::new(test, kind, "") else { return };
    let metrics = desk.dir.path().join("prom/unwedge_runner.prom");
    for (signal, stay) in [(Signal::KILL, true), (Signal::TERM, false)] {
        let _ = fs::remove_file(desk.dir.path().join("state/queue/runner.json"));
        let _ = fs::remove_file(&metrics);
        let mut runner = Runner::of(&desk);
        until("it has told how it is", || metrics.exists());
        runner.tell(signal);
        runner.0.wait().unwrap();
        assert_eq!(metrics.exists(), stay, "{signal:?}");
    }
}
