//! The operator's verbs on a queue of our own, on both databases: what they say, what they change, how they end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::store::Db;

/// A person at a queue, with one type.
struct Desk {
    dir: tempfile::TempDir,
    queue: String,
}

impl Desk {
    fn new(db: &Db) -> Self {
        let unwedge::config::queue::Database::Url(url) = &db.queue.database else { panic!() };
        let desk = Self { dir: tempfile::tempdir().unwrap(), queue: url.0.clone() };
        let kind = "[[tier]]\nargv = [\"/bin/true\"]\n[[tier]]\nargv = [\"/bin/false\"]\n";
        fs::write(desk.path("kind.toml"), kind).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn call(&self, words: &str) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).env("SUDO_USER", "ada");
        command.stdin(Stdio::null());
        let words = words.split_whitespace().map(|word| word.replace('_', " "));
        command.args(words).args(["--queue", &self.queue]).output().unwrap()
    }

    fn say(&self, words: &str) -> (Option<i32>, String) {
        let output = self.call(words);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), said)
    }

    #[track_caller]
    fn ok(&self, words: &str) -> String {
        let (code, said) = self.say(words);
        assert_eq!(code, Some(0), "{words}: {said}");
        said
    }

    #[track_caller]
    fn json(&self, words: &str) -> Value {
        object(&self.call(&format!("--json {words}")))
    }
}

/// What a program reads: the one object of standard output.
#[track_caller]
pub fn object(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What a program reads of a verb that could not, and a person beside it; the lines.
#[track_caller]
pub fn failed(output: &std::process::Output, code: i32) -> String {
    let told = object(output);
    assert!(told["schema"] == 1 && told["tool"] == "unwedge", "{told}");
    assert!(output.status.code() == Some(code) && told["code"] == code, "{output:?}");
    let lines: Vec<&str> =
        told["said"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let for_people = String::from_utf8_lossy(&output.stderr);
    assert!(!lines.is_empty() && lines.iter().all(|line| for_people.contains(line)), "{output:?}");
    lines.join("\n")
}

#[test]
fn a_damaged_file_is_said_to_be_one_and_keeps_nobody_waiting() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let names: Vec<String> = (0..400).map(|nth| format!("{nth:060}")).collect();
    desk.ok(&format!("jobs submit ./kind.toml {}", names.join(" ")));
    let file = PathBuf::from(desk.queue.strip_prefix("sqlite://").unwrap());
    let fold = rusqlite::Connection::open(&file).unwrap();
    fold.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'unwedge_jobs_output'";
    let page: u32 = fold.query_row(root, [], |row| row.get(0)).unwrap();
    let page = page as usize;
    drop(fold);
    assert!(desk.ok("queue check").starts_with("the queue can be used"));
    // one that nothing of that reads
    let sound = fs::read(&file).unwrap();
    let mut bytes = sound.clone();
    bytes[(page - 1) * 4096..page * 4096].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let (code, said) = desk.say("queue check");
    assert!(code == Some(1) && said.contains("the file is damaged"), "{code:?} {said}");
    fs::write(&file, sound).unwrap();
    // the last pages are those of jobs
    let mut bytes = fs::read(&file).unwrap();
    let from = bytes.len() - 20 * 4096;
    bytes[from..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    for words in ["queue check", "jobs list", "jobs cancel --all"] {
        let (code, said) = desk.say(words);
        assert!(
            code == Some(1) && said.contains("the file is damaged: stop what works for it"),
            "{words}: {code:?} {said}"
        );
    }
}

#[test]
fn a_dry_run_of_putting_in_tells_what_is_known() {
    for db in Db::both("a_dry_run_of_putting_in_tells_what_is_known") {
        let desk = Desk::new(&db);
        desk.ok("jobs submit ./kind.toml a");
        let would = desk.ok("jobs submit ./kind.toml a d --dry-run");
        assert!(
            would.contains("/a: job 1, pending") && would.contains("would put in kind "),
            "{would}"
        );
        let would = desk.json("jobs submit ./kind.toml a d --dry-run");
        assert_eq!(
            (&would["jobs"][0]["known"], &would["jobs"][1]["known"]),
            (&1.into(), &serde_json::Value::Null)
        );
    }
}

#[test]
fn a_job_is_put_in_once_listed_explained_called_off_and_begun_anew() {
    for db in Db::both("a_job_is_put_in_once_listed_explained_called_off_and_begun_anew") {
        let desk = Desk::new(&db);
        for words in ["jobs list", "lanes list", "queue check", "workers cleanup"] {
            let (code, said) = desk.say(words);
            assert!(code == Some(1) && said.contains("there is no queue there yet"), "{said}");
        }
        let would = desk.ok("jobs submit ./kind.toml a b --dry-run");
        assert!(
            would.contains("would put in kind ")
                && would.contains("no worker is there: unwedge workers start"),
            "{would}"
        );
        let wants = desk.ok("queue want-version 0.0.1 --dry-run");
        assert!(wants.contains("would want"), "{wants}");
        assert!(!db.is_made(), "whoever only looks makes nothing");
        let (code, said) = desk.say("jobs submit ./kind.toml a b --require-capable");
        assert!(
            code == Some(1)
                && said.contains("no worker is there")
                && said.contains("nothing was put in"),
            "{said}"
        );
        assert_eq!(desk.ok("jobs list"), "no such job\n");
        let said = desk.ok("jobs submit ./kind.toml a b --priority -3 --stamp today");
        assert!(said.contains("2 put in, 0 known before"), "{said}");
        let said = desk.ok("jobs submit ./kind.toml a b c");
        assert!(said.contains("1 put in, 2 known before"), "{said}");
        let (code, said) = desk.say("jobs submit ./kind.toml a --wait --timeout 300ms");
        assert!(code == Some(1) && said.contains("they are not over yet"), "{said}");

        assert_eq!(
            desk.ok("jobs why 1"),
            format!("no-worker: {}\n", unwedge::report::workers::NO_WORKER)
        );
        let one = desk.json("jobs show 1");
        assert_eq!(
            (&one["job"]["priority"], &one["job"]["stamp"], &one["why"][0]["reason"]),
            (&(-3).into(), &"today".into(), &"no-worker".into())
        );
        for (words, expected) in [
            ("jobs list", 3),
            ("jobs list --state pending,running --type kind", 3),
            ("jobs list --state done", 0),
            ("jobs list --input a", 1),
            ("jobs list --most 2", 2),
            ("jobs list --older 1h", 0),
        ] {
            let told = desk.json(words);
            assert_eq!(told["jobs"].as_array().unwrap().len(), expected, "{words}");
            assert_eq!(told["is_cut"], words.contains("--most"), "{words}");
        }
        for (most, is_cut) in [(2, true), (3, false)] {
            let told = desk.ok(&format!("jobs list --most {most}"));
            assert_eq!(told.contains("there are more; --most N lists so many"), is_cut, "{told}");
        }
        // what is called wrongly is told from what could not be done
        for words in
            ["jobs submit nosuch a", "jobs submit ./nosuch.toml a", "run --type nosuch.toml a"]
        {
            let (code, said) = desk.say(words);
            assert!(code == Some(2) && said.contains("nosuch"), "{words}: {said}");
        }

        // what would be done to all is asked for as that, and a dry run changes nothing
        let (code, said) = desk.say("jobs cancel");
        assert!(code == Some(2) && said.contains("which jobs?"), "{said}");
        let said = desk.ok("jobs cancel --all --dry-run");
        assert!(said.starts_with("3 would be called off: 1 2 "), "{said}");
        assert_eq!(desk.ok("jobs cancel 1 2"), "2 called off: 1 2\n");
        let (code, said) = desk.say("jobs cancel 1");
        assert_eq!(
            (code, said.as_str()),
            (Some(1), "nothing called off: no such job waits or runs\n")
        );
        assert_eq!(desk.ok("jobs retry --state cancelled --dry-run"), "2 would begin anew: 1 2\n");
        assert_eq!(desk.ok("jobs retry 2"), "1 begin anew: 2\n");
        assert_eq!(
            desk.ok("jobs quarantine --where stamp=malformed,type=kind --because too_old"),
            "1 put aside: 2\n"
        );
        let told = desk.ok("jobs show 2");
        assert!(
            told.contains("quarantined: set-aside: too old")
                && told.contains("quarantined by ada (uid 0)"),
            "{told}"
        );
        assert_eq!(desk.json("jobs release --class set-aside")["jobs"], serde_json::json!([2]));
        let (code, said) = desk.say("jobs show 99");
        assert!(code == Some(1) && said.contains("job 99: there is none"), "{said}");
        let (code, said) = desk.say("jobs list --state odd");
        assert!(
            code == Some(2) && said.contains("--state odd: no such state; there are pending, "),
            "{said}"
        );
    }
}

#[test]
fn a_lane_is_paused_by_a_person_with_a_reason_and_the_screen_says_so() {
    for db in Db::both("a_lane_is_paused_by_a_person_with_a_reason_and_the_screen_says_so") {
        let desk = Desk::new(&db);
        desk.ok("queue want-version 0.0.1");
        let (code, said) = desk.say("lanes pause kind --because x");
        assert!(code == Some(1) && said.contains("kind: no such lane"), "{said}");
        desk.ok("jobs submit ./kind.toml a");
        assert_eq!(
            desk.ok("lanes pause kind --because new_tool --dry-run"),
            "kind: would be paused\n"
        );
        assert_eq!(desk.ok("lanes pause kind --because new_tool"), "kind: paused\n");
        assert_eq!(desk.ok("lanes pause kind --because again"), "kind: paused already\n");
        // what has no form of its own for a program says its lines, and whether it could
        let told: serde_json::Value =
            serde_json::from_str(&desk.ok("lanes pause kind --because again --json")).unwrap();
        assert_eq!(
            (&told["code"], &told["said"][0]),
            (&0.into(), &"kind: paused already".into()),
            "{told}"
        );
        let why = desk.ok("jobs why 1");
        assert!(
            why.starts_with(
                "lane-paused: new tool (by ada (uid 0)); unwedge lanes resume\nno-worker: "
            ),
            "{why}"
        );
        let lanes = desk.json("lanes list");
        assert_eq!(
            (&lanes["lanes"][0]["troubles"], &lanes["lanes"][0]["waiting"]),
            (&serde_json::json!(["paused"]), &1.into())
        );
        let (code, screen) = desk.say("status");
        assert!(
            code == Some(2) && screen.contains("kind waits: lane-paused: new tool"),
            "{screen}"
        );
        assert_eq!(desk.ok("lanes resume kind --dry-run"), "kind: would be resumed\n");
        assert!(desk.ok("jobs why 1").starts_with("lane-paused: "), "it is as it was");
        assert_eq!(desk.ok("lanes resume kind"), "kind: resumed\n");
        assert_eq!(desk.ok("lanes resume kind"), "kind: open already\n");
        desk.ok("jobs cancel 1");
        let (code, screen) = desk.say("status");
        assert!(code == Some(0) && screen.contains("workers: none"), "{screen}");
    }
}

#[test]
fn what_a_worker_needs_is_said_and_a_version_is_a_version() {
    for db in Db::both("what_a_worker_needs_is_said_and_a_version_is_a_version") {
        let desk = Desk::new(&db);
        let mut store = db.open();
        crate::store::worker(&mut store, "some:1:2:3");
        let list = desk.ok("workers list");
        assert!(
            list.starts_with(
                "idle      some:1:2:3  host of some:1:2:3, no unit, version 0.5.0, direct\n"
            ),
            "{list}"
        );
        assert!(list.contains("types: t"), "{list}");
        let said = desk.ok("jobs submit ./kind.toml a");
        assert!(
            said.contains("they wait: no worker knows kind: put its file into [jobs] dir there"),
            "{said}"
        );
        assert!(desk.ok("jobs why 1").starts_with("no-capable-worker: "), "{said}");
        // one of another host is left to those who can hear whether it is silent
        assert!(desk.ok("workers cleanup").contains("0 jobs given back, 0 workers forgotten"));
        assert_eq!(desk.ok("workers stop some --dry-run"), "would be asked to end: some:1:2:3\n");
        let (code, said) = desk.say("workers stop some --timeout 100ms");
        assert_eq!((code, said.as_str()), (Some(1), "asked, and not gone yet: some:1:2:3\n"));
        let (code, said) = desk.say("workers stop other");
        assert!(code == Some(1) && said.contains("other: no such worker"), "{said}");
        // what is mistyped is no empty list
        for (words, why) in [
            ("jobs list --type knd", "knd: no such type is known here; there are kind, t"),
            ("jobs retry --type knd", "knd: no such type is known here"),
            ("jobs quarantine --where type=knd --because x", "knd: no such type is known here"),
            ("jobs cancel --class faild", "--class faild: no such class; there are failed, "),
        ] {
            let (code, said) = desk.say(words);
            let expected = if words.contains("--class") { 2 } else { 1 };
            assert!(code == Some(expected) && said.contains(why), "{words}: {said}");
        }
        let found =
            |input: &str| desk.ok(&format!("jobs list --input {input}")).matches("pending").count();
        let here = desk.dir.path().display().to_string();
        assert_eq!(
            [".", "./", "a", "./a", &here, &format!("{here}//")].map(found),
            [1; 6],
            "however it is spelled"
        );

        let (code, said) = desk.say("queue want-version 1.x");
        assert!(code == Some(2) && said.contains("1.x: expected a version"), "{said}");
        desk.ok("queue want-version 9.0.0");
        let about = desk.json("queue check");
        assert_eq!(about["about"]["workers"], "of version 9.0.0 or later");
        assert_eq!((&about["jobs"], &about["about"]["schema"]), (&1.into(), &"4".into()));
    }
}

#[test]
fn a_queue_that_cannot_be_used_is_told_with_its_place_its_owner_and_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let url = format!("sqlite://{}", path.display());
    let say = |words: &[&str]| {
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .args(words)
            .args(["--queue", &url])
            .output()
            .unwrap();
        assert!(start.elapsed().as_secs() < 15);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(say(&["queue", "want-version", "0.0.1"]).0, Some(0));
    assert_eq!(say(&["queue", "check"]).0, Some(0));
    // somebody else writes, and does not come to an end
    let own = rusqlite::Connection::open(&path).unwrap();
    own.execute_batch("BEGIN IMMEDIATE; DELETE FROM unwedge_events").unwrap();
    let (code, said) = say(&["jobs", "cancel", "--all"]);
    assert_eq!(code, Some(1));
    let holder = format!("(pid {})", std::process::id());
    for words in [
        "locked",
        &path.display().to_string(),
        "owner 0:0, mode 644",
        "it was tried to ",
        "locked by ",
        &holder,
        "; on /",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    own.execute_batch("ROLLBACK").unwrap();
    drop(own);
    fs::write(&path, "this is no database, and it is longer than one page has in its head")
        .unwrap();
    let (code, said) = say(&["queue", "check"]);
    assert!(code == Some(1) && said.contains("not a database"), "{said}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let (code, said) = say(&["queue", "check"]);
    assert!(code == Some(1) && said.contains("it was tried to open it"), "{said}");
    let url = "postgres://nobody:secret@127.0.0.1:1/none?sslmode=disable";
    let output = Command::new(env!("CARGO_BIN_EXE_unwedge"))
        .args(["queue", "check", "--queue", url])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1)
            && said.contains("no connection to ")
            && !said.contains("secret"),
        "{said}"
    );
}

/// A process that does not outlive its test.
struct Sleeper(std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_is_gone_is_taken_out_and_who_gives_a_sign_of_life_is_never_touched() {
    for db in Db::both("who_is_gone_is_taken_out_and_who_gives_a_sign_of_life_is_never_touched") {
        let desk = Desk::new(&db);
        desk.ok("jobs submit ./kind.toml a b");
        let own = unwedge::probes::witness::own().unwrap();
        let gone = format!("{}:1", own.rsplit_once(':').unwrap().0);
        let mut store = db.open();
        let kind = db.rows("SELECT type FROM unwedge_jobs").remove(0).remove(0);
        for id in [&own, &gone] {
            crate::store::worker(&mut store, id);
            let ask = unwedge::queue::store::Ask { kind: &kind, ..crate::store::ask(id, &[], 1) };
            assert_eq!(store.claim(&ask).unwrap().len(), 1);
        }
        // a process that has no name yet, such as other tests start, could be one of its helpers
        let said_of = |words: &str, told: &str| {
            let mut said = desk.ok(words);
            for _ in 0..100 {
                if said.contains(told) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
                said = desk.ok(words);
            }
            assert!(said.contains(told), "{said}");
            said
        };
        let would = said_of("workers cleanup --dry-run", &gone);
        assert!(!would.contains(&own), "{would}");
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE state = 'running'").len(), 2);
        // a copy of this machine has the same boot, and other processes
        let host = unwedge::probes::witness::host();
        let is_of = |host: &str| {
            db.rows(&format!("UPDATE unwedge_workers SET host = '{host}' RETURNING id"))
        };
        is_of("a-copy");
        let would = desk.ok("workers cleanup --dry-run");
        assert!(would.contains("none gone, would be taken out"), "{would}");
        is_of(&host);
        said_of("workers cleanup", "1 jobs given back");
        assert_eq!(db.rows("SELECT worker FROM unwedge_jobs WHERE state = 'running'"), [[own]]);
    }
}

#[test]
fn a_worker_that_is_not_heard_is_stale_and_its_figures_are_blank() {
    for db in Db::both("a_worker_that_is_not_heard_is_stale_and_its_figures_are_blank") {
        let desk = Desk::new(&db);
        let mut store = db.open();
        crate::store::worker(&mut store, "some:1:2:3");
        db.rows("UPDATE unwedge_workers SET load_milli = 1500, memory_mib = 77 RETURNING id");
        for (seconds, is_heard) in [(50, true), (61, false)] {
            db.rows(&format!(
                "UPDATE unwedge_workers SET beat_ms = started_ms - {seconds}000 RETURNING id"
            ));
            let list = desk.ok("workers list");
            assert_eq!(
                (
                    list.starts_with("idle "),
                    list.starts_with("stale "),
                    list.contains("load 1.50"),
                    list.contains("77 MiB")
                ),
                (is_heard, !is_heard, is_heard, is_heard),
                "{list}"
            );
            let told = desk.json("workers list");
            for figure in ["cpus", "load_milli", "memory_mib"] {
                assert_eq!(told["workers"][0][figure].is_null(), !is_heard, "{figure}: {told}");
            }
            let start = told["workers"][0]["started_ms"].as_u64().unwrap();
            let start = unwedge::sys::clock::rfc3339(start);
            assert!(list.contains(&format!(" ago, started {start}, 0 done")), "{start}: {list}");
        }
    }
}

#[test]
fn the_screen_is_shown_again_and_again_and_what_nobody_knows_is_a_warning() {
    use std::io::BufRead as _;
    let db = Db::file();
    let desk = Desk::new(&db);
    let (code, said) = desk.say("status");
    assert!(code == Some(1) && said.contains("there is no queue there yet"), "{code:?} {said}");
    desk.ok("jobs submit ./kind.toml a");
    let mut child = Command::new(env!("CARGO_BIN_EXE_unwedge"))
        .args(["--json", "status", "--watch", "--queue", &desk.queue])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut screens = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut child = Sleeper(child);
    let mut at = Vec::new();
    for screen in screens.by_ref().take(2) {
        let told: Value = serde_json::from_str(&screen.unwrap()).unwrap();
        assert_eq!(told["schema"], 1, "{told}");
        at.push(told["at"].clone());
    }
    assert!(at[0] != at[1], "{at:?}");
    // until nobody reads it any more
    drop(screens);
    crate::support::lab::await_that("it ends", || child.0.try_wait().unwrap().is_some());
}

#[test]
fn who_is_called_wrongly_or_asked_for_help_takes_no_job() {
    let db = Db::file();
    let desk = Desk::new(&db);
    desk.ok("jobs submit ./kind.toml a");
    let config = desk.path("unwedge.toml");
    let at = desk.dir.path().display();
    let text = format!(
        "[host]\nstate_dir = \"{at}/state\"\nrun_dir = \"{at}/run\"\n[jobs]\ndir = \"{at}\"\n[queue]\nurl = \"{}\"\nadapter = \"unwedge\"\n",
        desk.queue
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let before = db.rows("SELECT state, tries, changed_ms FROM unwedge_jobs");
    for (program, words) in [
        (env!("CARGO_BIN_EXE_unwedge-runner"), &["--help"][..]),
        (env!("CARGO_BIN_EXE_unwedge-runner"), &["--bogus"]),
        (env!("CARGO_BIN_EXE_unwedge-runner"), &["--once", "now"]),
        (env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply", "--bogus"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["run", "--help"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["run", "--bogus", "a", "--", "true"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["jobs", "retry", "--bogus"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["workers", "start", "--bogus"]),
        // their 2 is a fault that was found
        (env!("CARGO_BIN_EXE_unwedge"), &["status", "--bogus"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["doctor", "--bogus"]),
        (env!("CARGO_BIN_EXE_unwedge"), &["jobs", "submit", "status", "--bogus"]),
    ] {
        let output = Command::new(program)
            .args(["--config", &config])
            .args(words)
            .current_dir(desk.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let expected = match words[0] {
            _ if words.contains(&"--help") => 0,
            "status" | "doctor" => 64,
            _ => 2,
        };
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {output:?}");
    }
    assert_eq!(db.rows("SELECT state, tries, changed_ms FROM unwedge_jobs"), before);
    assert_eq!(db.rows("SELECT id FROM unwedge_workers").len(), 0);
    assert!(!desk.path("state").exists() && !desk.path("run").exists());
}

#[test]
fn only_processes_whose_worker_is_seen_to_be_gone_are_ended() {
    let own = unwedge::probes::witness::own().unwrap();
    let gone = format!("{}:1", own.rsplit_once(':').unwrap().0);
    let start = |worker: &str| {
        let mut command = Command::new("/bin/sleep");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Sleeper(command.arg("1000").env("UNWEDGE_WORKER", worker).spawn().unwrap())
    };
    let mut all = [start(&gone), start(&own), start("another-host:1:2:3")];
    let pids: Vec<String> = all.iter().map(|it| format!("  {:>8}  sleep", it.0.id())).collect();
    let say = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_unwedge")).args(words).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let parts = |said: &str| -> Vec<String> {
        let mut parts: Vec<String> = Vec::new();
        for line in said.lines() {
            match parts.last_mut() {
                Some(part) if line.starts_with(' ') => part.push_str(line),
                Some(_) | None => parts.push(line.to_owned()),
            }
        }
        parts
    };
    let (code, said) = say(&["workers", "reap", "--dry-run"]);
    let told = parts(&said);
    assert_eq!((code, told.len()), (Some(0), 3), "{said}");
    for (part, pid) in told.iter().zip(&pids) {
        assert!(part.contains(pid), "{pid}: {said}");
    }
    assert!(all.iter_mut().all(|it| it.0.try_wait().unwrap().is_none()), "a dry run ends nobody");
    let (code, said) = say(&["workers", "reap", ""]);
    assert_eq!((code, said.as_str()), (Some(2), ""), "nobody's name is no selection");
    // what is not meant is neither shown nor ended
    for other in
        [&["workers", "reap", "another:worker"][..], &["workers", "reap", "--only", "containers"]]
    {
        let (code, said) = say(other);
        assert_eq!(code, Some(0), "{said}");
        assert!(pids.iter().all(|pid| !said.contains(pid)), "{other:?}: {said}");
        assert!(all.iter_mut().all(|it| it.0.try_wait().unwrap().is_none()), "{other:?}: {said}");
    }
    let (code, said) = say(&["workers", "reap", "--only", "processes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(parts(&said)[0].starts_with("of a worker that is gone, ended"), "{said}");
    all[0].0.wait().unwrap();
    assert!(all[1..].iter_mut().all(|it| it.0.try_wait().unwrap().is_none()), "{said}");
}

lab_test! {
    fn where_processes_of_others_are_hidden_nobody_is_taken_for_gone(lab) {
        let _ = &lab;
        let db = Db::file();
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let own = unwedge::probes::witness::own().unwrap();
        let mut parts: Vec<&str> = own.split(':').collect();
        let pid = pid.to_string();
        parts[2] = &pid;
        let gone = parts.join(":");
        crate::store::worker(&mut db.open(), &gone);
        let unwedge::config::queue::Database::Url(url) = &db.queue.database else { panic!() };
        let told = |before: &str| {
            let script = format!("{before} exec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$0\" workers cleanup --dry-run --queue \"$1\"");
            let output = Command::new("/bin/sh")
                .args(["-ec", &script, env!("CARGO_BIN_EXE_unwedge"), &url.0])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let dir = Path::new(url.0.strip_prefix("sqlite://").unwrap()).parent().unwrap();
        let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(dir).status().unwrap();
        assert!(open.success());
        // helpers of another user may be there, and see to their job
        let hidden = told("mount -t proc -o hidepid=invisible proc /proc;");
        assert!(!hidden.contains(&gone), "{hidden}");
        let seen = told("mount -t proc -o hidepid=off proc /proc;");
        assert!(seen.contains(&gone), "{seen}");
    }
}

#[test]
fn a_sign_of_life_on_a_server_is_told_by_the_servers_own_clock() {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;
    use unwedge::config::heartbeat::{Heartbeat, Source};
    use unwedge::probes::heartbeat::State;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1000];
            let length = stream.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            // hours from this host's clock, and of no matter
            let date = "Date: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
            let at = |time: &str| {
                format!(
                    "HTTP/1.1 200 OK\r\n{date}Last-Modified: {time}\r\nContent-Length: 0\r\n\r\n"
                )
            };
            let answer = match asked.split(' ').nth(1).unwrap_or_default() {
                "/fresh" => at("Sun, 06 Nov 1994 08:49:37 GMT"),
                "/stale" => at("Sun, 06 Nov 1994 08:39:37 GMT"),
                "/ahead" => at("Sun, 06 Nov 1994 09:50:37 GMT"),
                "/untold" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
                "/broken" => "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n".to_owned(),
                "/mute" => {
                    std::mem::forget(stream);
                    continue;
                }
                _ => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let cases = [
        ("fresh", State::Fresh),
        ("stale", State::Stale),
        ("ahead", State::Skewed),
        ("untold", State::Unknown),
        ("broken", State::Unknown),
        ("gone", State::Absent),
        ("mute", State::Unknown),
    ];
    let all: Vec<Heartbeat> = cases
        .iter()
        .map(|(name, _)| Heartbeat {
            name: (*name).to_owned(),
            source: Source::Url(format!("http://127.0.0.1:{port}/{name}")),
            max_age: Duration::from_secs(120),
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let now = unwedge::sys::clock::Now::take().unwrap();
    let start = Instant::now();
    let usual = unwedge::config::from_str("").unwrap();
    let settings = unwedge::config::Settings { heartbeat: all, ..usual };
    let limit = Duration::from_secs(3);
    let seen = unwedge::act::heartbeat::round(&settings, dir.path(), &now, limit).unwrap();
    assert!(start.elapsed().as_secs() < 5);
    for (seen, (name, state)) in seen.iter().zip(cases) {
        assert_eq!(seen.state, state, "{name}: {:?}", seen.why);
    }
    assert_eq!(seen[0].age, Some(Duration::from_secs(60)));
    let open = unwedge::probes::gate::keys(std::path::Path::new("/nowhere"), Some(dir.path())).open;
    assert_eq!(open, ["heartbeat:fresh"]);
}

#[test]
fn a_runner_is_started_once_stopped_and_one_that_cannot_come_up_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        let test =
            "jobs::a_runner_is_started_once_stopped_and_one_that_cannot_come_up_leaves_nothing";
        return crate::support::isolate::skip(test, "needs root: it becomes another user");
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    for name in ["state", "run", "prom", "jobs.d"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    // where its log goes it makes itself
    for name in ["", "state", "prom"] {
        std::os::unix::fs::chown(dir.path().join(name), Some(65534), Some(65534)).unwrap();
    }
    let config = dir.path().join("unwedge.toml");
    let text = format!(
        "[host]\nuser = \"nobody\"\nservices = \"process\"\nstate_dir = \"{at}/state\"\nrun_dir = \"{at}/run\"\ntextfile_dir = \"{at}/prom\"\n\
         [jobs]\ndir = \"{at}/jobs.d\"\nbeat = \"200ms\"\ndrain = \"1s\"\nautostart = true\n"
    );
    fs::write(&config, &text).unwrap();
    fs::write(dir.path().join("jobs.d/t.toml"), "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    let say = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        let output =
            command.arg("--config").arg(&config).args(words).current_dir("/").output().unwrap();
        (
            output.status.code(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        )
    };
    let runners = || {
        let output = Command::new("/usr/bin/pgrep")
            .args(["-f", &format!("unwedge-runner --config {at}")])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    let (code, said) = say(&["workers", "start", "--dry-run"]);
    assert_eq!(
        (code, said.as_str(), runners()),
        (Some(0), "would start a process of its own\n", 0)
    );
    let (code, said) = say(&["workers", "start"]);
    assert!(code == Some(0) && said.ends_with(" is there\n"), "{said}");
    let (code, said) = say(&["workers", "start"]);
    assert!(code == Some(0) && said.ends_with(" is there already\n"), "{said}");
    assert_eq!(runners(), 1);
    let (code, said) =
        say(&["jobs", "submit", "--require-capable", "--wait", "--timeout", "10s", "t", "/in/a"]);
    assert!(code == Some(0) && said.starts_with("job 1: done by 1"), "{said}");
    let (code, said) = say(&["workers", "stop", "--here"]);
    assert!(code == Some(0) && said.starts_with("ended: "), "{said}");
    crate::support::lab::await_that("it has ended", || runners() == 0);
    // whoever puts something in starts it, where that is wanted
    let (code, said) = say(&["jobs", "submit", "--wait", "--timeout", "10s", "t", "/in/b"]);
    assert!(code == Some(0) && said.contains(": done by 1"), "{said}");
    assert_eq!(say(&["workers", "stop", "--here"]).0, Some(0));
    crate::support::lab::await_that("it has ended again", || runners() == 0);
    // and one that cannot come up says why
    fs::set_permissions(
        dir.path().join("state/queue"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let (code, said) = say(&["workers", "start"]);
    assert!(
        code == Some(1)
            && said.contains("did not come up in 3 tries")
            && said.contains("others may write there"),
        "{said}"
    );
    assert_eq!(runners(), 0);
    // nor does one that its queue does not want, and of each try nothing is left
    fs::set_permissions(
        dir.path().join("state/queue"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    assert_eq!(say(&["queue", "want-version", "99.0.0"]).0, Some(0));
    let (code, said) = say(&["workers", "start"]);
    assert!(
        code == Some(1)
            && said.contains("did not come up in 3 tries")
            && said.contains("this queue wants workers of 99.0.0 or later"),
        "{said}"
    );
    assert_eq!(runners(), 0);
    // none is started where the queue itself says nothing
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let queue = format!(
        "[queue]\nurl = \"postgres://u@127.0.0.1:{}/q\"\nadapter = \"unwedge\"\ntimeout = \"1s\"\n",
        mute.local_addr().unwrap().port()
    );
    fs::write(&config, text + &queue).unwrap();
    let (code, said) = say(&["workers", "start"]);
    assert!(code == Some(1) && said.contains("the queue: no answer within 1.0 s"), "{said}");
    assert_eq!(runners(), 0);
}

/// Each verb that asks the queue, with what it is asked for.
const VERBS: [&str; 25] = [
    "jobs submit ./kind.toml a b c",
    "jobs list",
    "jobs show 1",
    "jobs why 1",
    "jobs cancel 2 --dry-run",
    "jobs cancel 2",
    "jobs quarantine --where type=kind --because x --dry-run",
    "jobs quarantine --where type=kind --because x",
    "jobs release --all --dry-run",
    "jobs release --all",
    "jobs retry --all --dry-run",
    "jobs retry --all",
    "lanes list",
    "lanes pause kind --because x --dry-run",
    "lanes pause kind --because x",
    "lanes resume kind --dry-run",
    "lanes resume kind",
    "workers list",
    "workers cleanup --dry-run",
    "workers cleanup",
    "queue check",
    "queue want-version 0.0.1 --dry-run",
    "queue want-version 0.0.1",
    "jobs smoke --timeout 100ms",
    "status",
];

#[test]
fn each_verb_says_one_object_for_a_program() {
    for db in Db::both("each_verb_says_one_object_for_a_program") {
        let desk = Desk::new(&db);
        for words in VERBS {
            let told = desk.json(words);
            assert!(told["schema"] == 1 && told["tool"] == "unwedge", "{words}: {told}");
            let is_dry = words.ends_with("--dry-run");
            assert!(!is_dry || told["mode"] == "dry-run", "{words}: {told}");
            // what has lines alone says of each change whether it was made
            let changes = VERBS.contains(&format!("{words} --dry-run").as_str());
            let has_lines = told.get("said").is_some();
            assert!(!(changes && has_lines) || told["mode"] == "apply", "{words}: {told}");
        }
    }
}

#[test]
fn a_verb_that_cannot_says_so_to_a_program_too() {
    for db in Db::both("a_verb_that_cannot_says_so_to_a_program_too") {
        let desk = Desk::new(&db);
        let call = |words: &str, code: i32| failed(&desk.call(&format!("{words} --json")), code);
        assert!(call("jobs list", 1).contains("there is no queue there yet"));
        desk.ok("jobs submit ./kind.toml a");
        for (words, code, why) in [
            ("jobs show 99", 1, "job 99: there is none"),
            ("jobs why 99", 1, "job 99: there is none"),
            ("jobs logs 1", 1, "job 1: it was not tried yet"),
            ("jobs list --state gone", 2, "gone"),
            ("jobs submit ./kind.toml b --require-capable", 1, "nothing was put in"),
            ("jobs submit ./none.toml b", 2, "none.toml"),
            ("jobs smoke --timeout 100ms", 1, "nobody has done it in time"),
            ("jobs smoke --timeout soon", 2, "--timeout soon"),
            ("jobs quarantine --where type=kind --because _", 2, "--because: "),
            ("lanes pause none --because x", 1, "none: no such lane"),
            ("lanes resume none", 1, "none: no such lane"),
            ("workers stop a:1:2:3", 1, "a:1:2:3: no such worker"),
            ("workers stop", 2, "which workers?"),
            ("queue want-version new", 2, "new: expected a version"),
            // what is not understood at all
            ("jobs shwo 1", 2, "unrecognized subcommand 'shwo'"),
            ("status --wacth", 64, "--wacth"),
        ] {
            let said = call(words, code);
            assert!(said.contains(why), "{words}: {said}");
        }
        // help is none, and what stands behind -- is for another program
        let help = desk.call("jobs --json --help");
        assert!(help.status.success() && !help.stdout.starts_with(b"{"), "{help:?}");
        let wrong = desk.call("run --colour a -- /bin/true --json");
        assert!(wrong.status.code() == Some(2) && wrong.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_faulty_configuration_is_told_to_a_program_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("unwedge.toml");
    fs::write(&config, "[mounts]\ndeadlnie = \"1s\"\n[host]\nuser = 1\n").unwrap();
    for words in ["config check", "jobs list", "status", "run a -- /bin/true"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.arg("--config").arg(&config).arg("--json").args(words.split(' '));
        let said = failed(&command.env("HOME", dir.path()).output().unwrap(), 2);
        // each fault with its place is a line
        assert!(said.lines().count() >= 2, "{words}: {said}");
        assert!(said.contains("unwedge.toml:2: ") && said.contains("unwedge.toml:4: "), "{said}");
    }
}

#[test]
fn a_tool_that_cannot_do_its_round_says_so_once_to_a_program_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("unwedge.toml");
    let tools = [
        ("mounts", env!("CARGO_BIN_EXE_unwedge-mounts")),
        ("binds", env!("CARGO_BIN_EXE_unwedge-binds")),
        ("worker", env!("CARGO_BIN_EXE_unwedge-worker")),
        ("notify", env!("CARGO_BIN_EXE_unwedge-notify")),
        ("canary", env!("CARGO_BIN_EXE_unwedge-canary")),
    ];
    for (name, program) in tools {
        fs::write(&config, "[mounts]\ndeadlnie = \"1s\"\n").unwrap();
        let call = |flags: &[&str]| {
            Command::new(program).arg("--config").arg(&config).args(flags).output().unwrap()
        };
        let said = call(&["--json"]);
        let told = object(&said);
        assert!(said.status.code() == Some(2) && told["code"] == 2, "{name}: {said:?}");
        assert!(told["schema"] == 1 && told["tool"] == name, "{told}");
        assert!(told["said"][0].as_str().unwrap().contains("unwedge.toml:2: "), "{told}");
        assert!(call(&[]).stdout.is_empty(), "{name}: for a person it is on standard error");
    }
}

#[test]
fn a_round_of_the_queue_that_cannot_be_says_so_to_a_program_too() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("unwedge.toml");
    let own = dir.path().display();
    let sound = format!(
        "[host]\nuser = \"nobody-is-called-so\"\nstate_dir = \"{own}\"\n[queue]\nadapter = \"unwedge\"\nurl = \"sqlite://{own}/q.db\"\n"
    );
    let is_root = rustix::process::geteuid().is_root();
    for (text, words, code, why) in [
        (sound.as_str(), "", 1, "\"nobody-is-called-so\" is not known here"),
        (&sound, "--apply", 1, "\"nobody-is-called-so\" is not known here"),
        (&sound, "--apply facts", 2, "--apply is for a round"),
        ("[mounts]\ndeadlnie = \"1s\"\n", "", 2, "unwedge.toml:2: "),
    ] {
        if code == 1 && !is_root {
            continue;
        }
        fs::write(&config, text).unwrap();
        let call = |json: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge-jobs"));
            command.arg("--config").arg(&config).args(json).args(words.split_whitespace());
            command.output().unwrap()
        };
        let said = call(&["--json"]);
        let told = object(&said);
        assert!(told["schema"] == 1 && told["tool"] == "jobs", "{words}: {told}");
        assert!(said.status.code() == Some(code) && told["code"] == code, "{words}: {said:?}");
        assert!(told["said"][0].as_str().unwrap().contains(why), "{words}: {told}");
        assert!(String::from_utf8_lossy(&said.stderr).contains(why), "{words}: {said:?}");
        assert!(call(&[]).stdout.is_empty(), "{words}: for a person it is on standard error");
    }
}

#[test]
fn each_verb_gives_up_on_a_server_that_is_mute_within_the_queues_timeout() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = format!(
        "[host]\nuser = \"nobody\"\nstate_dir = \"{0}/state\"\nrun_dir = \"{0}/run\"\n[queue]\nurl = \"postgres://u@127.0.0.1:{port}/q\"\nadapter = \"unwedge\"\ntimeout = \"1500ms\"\n",
        dir.path().display()
    );
    fs::write(at("unwedge.toml"), text).unwrap();
    fs::write(at("kind.toml"), "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    // whoever asks it may be another user by then
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let more = [
        "jobs logs 1",
        "jobs smoke",
        "workers stop a:1:2:3",
        "jobs submit --wait --timeout 60s ./kind.toml a",
    ];
    let runs = ["", "--dry-run "].map(|how| {
        format!("run {how}--queue postgres://u@127.0.0.1:{port}/q --output out/{{name}} a -- /bin/true {{input}}")
    });
    let asked: Vec<(&str, Instant, std::process::Child)> = VERBS
        .iter()
        .copied()
        .chain(more)
        .chain(runs.iter().map(String::as_str))
        .map(|words| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
            command.arg("--json").arg("--config").arg(at("unwedge.toml")).args(words.split(' '));
            command.current_dir(dir.path()).env("HOME", dir.path()).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (words, Instant::now(), command.spawn().unwrap())
        })
        .collect();
    for (words, _, child) in asked {
        let pid = child.id();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
        // all at once, each on a share of this machine; one that waits for ever is the fault
        let Ok(output) = told.recv_timeout(std::time::Duration::from_secs(20)) else {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            panic!("{words}: it does not give up");
        };
        let told = object(&output);
        assert!(output.status.code() == Some(1) && told["schema"] == 1, "{words}: {output:?}");
        let said = told.to_string();
        assert!(said.contains("1.5 s"), "{words}: it does not say how long it waited: {said}");
    }
}

#[test]
fn a_smoke_test_that_nobody_takes_says_so_and_leaves_nothing() {
    for db in Db::both("a_smoke_test_that_nobody_takes_says_so_and_leaves_nothing") {
        let desk = Desk::new(&db);
        desk.ok("jobs submit ./kind.toml a");
        let (code, said) = desk.say("jobs smoke --timeout 1s");
        assert!(
            code == Some(1) && said.contains("nobody has done it in time, it is pending"),
            "{said}"
        );
        assert!(
            said.contains("no worker is there: ") && said.contains("; one is waited for"),
            "{said}"
        );
        assert_eq!(db.rows("SELECT type FROM unwedge_jobs"), [["kind"]]);
    }
}

#[test]
fn a_queue_that_cannot_be_looked_for_is_unknown_and_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let say = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.args(words).env("XDG_STATE_HOME", dir.path().join("state"));
        let done = command.output().unwrap();
        (done.status.code(), format!("{done:?}"))
    };
    let (code, said) = say(&["status"]);
    assert!(code == Some(0) && said.contains("there is none"), "{said}");
    fs::write(dir.path().join("state"), "").unwrap();
    let (code, said) = say(&["status"]);
    assert!(code == Some(1) && said.contains("Not a directory"), "{said}");
    let (code, said) = say(&["jobs", "list"]);
    assert!(code == Some(1) && said.contains("Not a directory"), "{said}");
}

#[test]
fn a_type_that_is_wrong_is_seen_where_the_configuration_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (config, kind) = (dir.path().join("unwedge.toml"), dir.path().join("t.toml"));
    fs::write(&config, format!("[jobs]\ndir = \"{}\"\n", dir.path().display())).unwrap();
    fs::write(&kind, "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    // it is no type
    fs::rename(&config, dir.path().join("config")).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.arg("--config").arg(dir.path().join("config")).args(["config", "check"]);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    assert_eq!(check().0, Some(0));
    fs::write(&kind, "[[tier]]\nargv = [\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("t.toml:"), "{said}");
    fs::write(&kind, "mode = \"container\"\n[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    let (code, said) = check();
    assert!(code == Some(2) && said.contains("t: ") && said.contains("image"), "{said}");
}

#[test]
fn two_jobs_never_write_one_file_and_a_dry_run_says_so_too() {
    for db in Db::both("two_jobs_never_write_one_file_and_a_dry_run_says_so_too") {
        let desk = Desk::new(&db);
        let kind = "output = \"/srv/out/{stem}\"\n[[tier]]\nargv = [\"/bin/true\"]\n";
        fs::write(desk.path("one.toml"), kind).unwrap();
        desk.ok("jobs submit ./one.toml in/a.x");
        for words in ["jobs submit --dry-run", "jobs submit"] {
            let (code, said) = desk.say(&format!("{words} ./one.toml in/a.y"));
            let is_told = said.contains("/srv/out/a is the output of job 1 already");
            assert!(code == Some(1) && is_told, "{words}: {said}");
            assert!(!said.contains("to say it again"), "{said}");
        }
        // the same job is no other
        desk.ok("jobs submit --dry-run ./one.toml in/a.x");
        assert_eq!(db.rows("SELECT input FROM unwedge_jobs").len(), 1);
    }
}

/// A verb that is at work.
fn begin(desk: &Desk, words: &str) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
    command.current_dir(desk.dir.path()).env("HOME", desk.dir.path());
    command.args(words.split(' ')).args(["--queue", &desk.queue]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// How it ended, and what it said.
fn end(child: std::process::Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn seconds(number: u64) {
    std::thread::sleep(std::time::Duration::from_secs(number));
}

#[test]
fn whoever_waits_for_jobs_outlasts_a_queue_that_is_away_and_has_their_numbers_anyhow() {
    let test = "whoever_waits_for_jobs_outlasts_a_queue_that_is_away_and_has_their_numbers_anyhow";
    let Some(db) = Db::server(test) else { return };
    let desk = Desk::new(&db);
    db.open();
    let is_there = |count| {
        crate::support::lab::await_that("it is put in", || {
            db.rows("SELECT id FROM unwedge_jobs").len() == count
        });
    };
    let waits = begin(&desk, "jobs submit ./kind.toml a --wait --timeout 60s");
    is_there(1);
    db.close_to_others(true);
    seconds(1);
    db.close_to_others(false);
    desk.ok("jobs cancel 1");
    let (code, said) = end(waits);
    assert!(code == Some(1) && said.starts_with("job 1: cancelled"), "{said}");
    // nor is it for nothing where it stays away
    let waits = begin(&desk, "jobs submit ./kind.toml b --wait --timeout 4s");
    is_there(2);
    db.close_to_others(true);
    let (code, said) = end(waits);
    db.close_to_others(false);
    assert!(
        code == Some(1)
            && said.starts_with("job 2: pending")
            && said.contains("how they stand now is not known: the queue: "),
        "{said}"
    );
}

#[test]
fn a_smoke_test_leaves_nothing_also_where_its_queue_was_away() {
    let Some(db) = Db::server("a_smoke_test_leaves_nothing_also_where_its_queue_was_away") else {
        return;
    };
    let desk = Desk::new(&db);
    db.open();
    let smoke = begin(&desk, "jobs smoke --timeout 4s");
    crate::support::lab::await_that("it is put in", || {
        db.rows("SELECT id FROM unwedge_jobs").len() == 1
    });
    db.close_to_others(true);
    seconds(5);
    db.close_to_others(false);
    let (code, said) = end(smoke);
    assert!(code == Some(1) && !said.contains("is left"), "{said}");
    assert_eq!(db.rows("SELECT id FROM unwedge_jobs"), [] as [Vec<String>; 0], "{said}");
}

#[test]
fn who_is_gone_is_taken_out_by_whoever_stops_it() {
    for db in Db::both("who_is_gone_is_taken_out_by_whoever_stops_it") {
        let desk = Desk::new(&db);
        let own = unwedge::probes::witness::own().unwrap();
        let gone = format!("{}:1", own.rsplit_once(':').unwrap().0);
        let mut store = db.open();
        crate::store::worker(&mut store, &gone);
        store.submit(&[crate::store::job("a")]).unwrap();
        assert_eq!(store.claim(&crate::store::ask(&gone, &[], 1)).unwrap().len(), 1);
        let said = desk.ok(&format!("workers stop {gone} --timeout 60s"));
        assert!(said.starts_with(&format!("ended: {gone}")), "{said}");
        assert_eq!(db.rows("SELECT id FROM unwedge_workers"), [] as [Vec<String>; 0]);
        assert_eq!(db.rows("SELECT state FROM unwedge_jobs"), [["retryable"]]);
    }
}

#[test]
fn what_is_named_twice_is_one_and_a_path_may_have_commas() {
    for db in Db::both("what_is_named_twice_is_one_and_a_path_may_have_commas") {
        let desk = Desk::new(&db);
        desk.ok("jobs submit ./kind.toml a /srv/a,b");
        assert_eq!(desk.ok("jobs cancel 1 1"), "1 called off: 1\n");
        let (code, said) = desk.say("jobs cancel 1 2 2 --dry-run");
        assert!(code == Some(1) && said.contains("of the rest: no such job waits"), "{said}");
        let said =
            desk.ok("jobs quarantine --where input=/srv/a,b --where type=kind,age=0s --because x");
        assert_eq!(said, "1 put aside: 2\n");
    }
}

#[test]
fn a_lane_of_this_host_is_closed_before_anything_is_put_in_and_a_dry_run_tells_what_would_be() {
    for db in Db::both(
        "a_lane_of_this_host_is_closed_before_anything_is_put_in_and_a_dry_run_tells_what_would_be",
    ) {
        let desk = Desk::new(&db);
        desk.ok("queue want-version 0.0.1");
        fs::create_dir(desk.path("types")).unwrap();
        fs::write(desk.path("types/t.toml"), "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
        fs::write(
            desk.path("host.toml"),
            "[jobs]\ndir = \"types\"\n".replace("types", &desk.path("types").display().to_string()),
        )
        .unwrap();
        let say = |words: &str| desk.ok(&format!("--config host.toml lanes {words}"));
        for (words, expected) in [
            ("resume t --dry-run", "t: open already\n"),
            ("pause t --because x --dry-run", "t: would be paused\n"),
            ("pause t --because x", "t: paused\n"),
            ("pause t --because x --dry-run", "t: paused already\n"),
            ("resume t --dry-run", "t: would be resumed\n"),
            ("resume t", "t: resumed\n"),
            ("resume t --dry-run", "t: open already\n"),
        ] {
            assert_eq!(say(words), expected, "{words}");
        }
    }
}

#[test]
fn why_tells_who_takes_nothing_yet_and_what_may_not_be_begun() {
    for db in Db::both("why_tells_who_takes_nothing_yet_and_what_may_not_be_begun") {
        let desk = Desk::new(&db);
        let mut store = db.open();
        crate::store::worker(&mut store, "w:1:2:3");
        let jobs = ["a", "b", "c"].map(crate::store::job);
        store.submit(&jobs).unwrap();
        let step = |state: &str, step: &str| {
            db.rows(&format!(
                "UPDATE unwedge_workers SET state = '{state}', step = '{step}' RETURNING id"
            ));
        };
        step("idle", "waits 30 s before it takes anything: it was started often");
        let why = desk.ok("jobs why 3");
        assert!(why.starts_with("workers-wait: ") && why.contains("started often"), "{why}");
        assert_eq!(store.claim(&crate::store::ask("w:1:2:3", &[], 2)).unwrap().len(), 2);
        db.rows("UPDATE unwedge_jobs SET started_ms = started_ms - 60000 WHERE state = 'running' RETURNING id");
        step("busy", "t job 1, page 3");
        let unbegun = "working: it was at job 1 when it was heard last, and may not have begun";
        assert!(desk.ok("jobs why 2").contains(unbegun), "{}", desk.ok("jobs why 2"));
        assert!(!desk.ok("jobs why 1").contains("may not have begun"));
        // with several at work it is not known which
        step("busy", "t job 1, page 3; and 1 more");
        assert!(!desk.ok("jobs why 2").contains("may not have begun"));
    }
}

#[test]
fn what_came_by_an_intake_that_nobody_looks_for_any_more_goes_in_its_time() {
    for db in Db::both("what_came_by_an_intake_that_nobody_looks_for_any_more_goes_in_its_time") {
        let mut store = db.open();
        let keep = unwedge::config::jobs::Keep::default();
        let of = |intake: &str| {
            let intake = Some(intake.to_owned());
            unwedge::queue::store::NewJob { intake, ..crate::store::job("a") }
        };
        let all = [of("old"), unwedge::queue::store::NewJob { key: "b".to_owned(), ..of("new") }];
        store.submit(&all).unwrap();
        let done = "UPDATE unwedge_jobs SET state = 'done', finished_ms = 1 RETURNING id";
        assert_eq!(db.rows(done).len(), 2);
        let mut left = |days: u64| {
            let ms = days * 86_400_000;
            db.rows(&format!(
                "UPDATE unwedge_meta SET value = CAST(CAST(value AS BIGINT) - {ms} AS TEXT) WHERE name LIKE 'intake:%' RETURNING name"
            ));
            store.taken_in("new", "t", 0, 10).unwrap();
            let soon = unwedge::sys::clock::Deadline::after(std::time::Duration::from_secs(20));
            store.remove_old(&keep, true, soon).unwrap();
            db.rows("SELECT intake FROM unwedge_jobs ORDER BY intake").concat()
        };
        // who was known before anybody counted is counted from now on
        assert_eq!(left(366), ["new", "old"]);
        assert_eq!(left(364), ["new", "old"]);
        assert_eq!(left(2), ["new"]);
    }
}
