//! A lane whose type is wrong, and a runner that is there all the while.

use std::fs;

use rustix::process::Signal;

use crate::keys::{Desk, Runner, until};

/// Says each time another cause until it is mended, and then waits for a word.
const MENDED: &str = "concurrency = 4\noutput = \"OUT/{name}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", '''echo x >>OUT/.runs; test -e OUT/.mended || { echo \"no licence for $1\"; exit 78; }; until test -e OUT/.go; do sleep 0.05; done; cp $1 $2''', \"job\", \"{input}\", \"{output}\"]\n[exit]\n78 = \"configuration\"\n";

impl Desk {
    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.dir.path().join("out/.runs")).unwrap_or_default();
        runs.lines().count()
    }

    /// As if the lane, and all that wait, had waited for as long as they have to.
    fn hasten_lane(&self) {
        self.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
        self.db.rows("UPDATE unwedge_lanes SET retry_ms = 1 WHERE type = 't' RETURNING type");
    }
}

#[test]
fn a_closed_lane_is_tried_by_one_job_now_and_then_and_opens_by_itself_once_its_type_is_mended() {
    let test = "breaker::a_closed_lane_is_tried_by_one_job_now_and_then_and_opens_by_itself_once_its_type_is_mended";
    for desk in Desk::both(test, MENDED, "sweep = \"1s\"\nslots = 8\n") {
        for nth in 0..12 {
            desk.submit(&nth.to_string());
        }
        let _runner = Runner::of(&desk);
        let is_open =
            "SELECT count(*) FROM unwedge_lanes WHERE type = 't' AND opened_ms IS NOT NULL";
        let running = || desk.value("SELECT count(*) FROM unwedge_jobs WHERE state = 'running'");
        let used = || desk.value("SELECT sum(failures + infra_errors + rescues) FROM unwedge_jobs");
        // each of another cause: the class is what they have in common
        until("five in a row close it", || desk.value(is_open) == "1" && running() == "0");
        let shown = desk.runs();
        assert!((5..=8).contains(&shown), "{shown}");
        // those that were not tried could be taken at once, and a canary's time has not come
        desk.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
        desk.beats(3);
        assert_eq!((desk.runs(), used().as_str()), (shown, "0"), "{}", desk.log());

        // it is as wrong as before: that is one try, and the next wait is longer
        desk.hasten_lane();
        until("one is tried", || desk.runs() > shown && running() == "0");
        desk.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
        desk.beats(3);
        assert_eq!((desk.runs(), used().as_str()), (shown + 1, "0"), "{}", desk.log());
        let stands = "SELECT probes, streak >= 6, retry_ms - opened_ms >= 300000 FROM unwedge_lanes WHERE type = 't' AND opened_ms IS NOT NULL";
        let stands = desk.db.rows(stands).concat().join(" ");
        assert!(["1 1 1", "1 t t"].contains(&stands.as_str()), "{stands}");

        // it is mended, and one shows that before any other is begun
        fs::write(desk.dir.path().join("out/.mended"), "").unwrap();
        desk.hasten_lane();
        until("one is tried again", || desk.runs() == shown + 2);
        desk.beats(3);
        assert_eq!((desk.runs(), running().as_str()), (shown + 2, "1"), "{}", desk.log());
        fs::write(desk.dir.path().join("out/.go"), "").unwrap();
        // what had shown that it was wrong still waits for its time
        until("the lane is open", || desk.value(is_open) == "0");
        desk.hasten_lane();
        until("all is done", || {
            desk.db.rows(
                "UPDATE unwedge_jobs SET not_before_ms = 0 WHERE state = 'pending' RETURNING id",
            );
            desk.is_done()
        });
        assert_eq!(used(), "0");
        let stands =
            "SELECT streak, probes, coalesce(opened_why, '') FROM unwedge_lanes WHERE type = 't'";
        assert_eq!(desk.db.rows(stands), [["0", "0", ""]]);
    }
}

#[test]
fn what_has_lost_all_its_tools_since_it_was_taken_is_no_empty_result_and_no_fault_of_its_own() {
    let test = "breaker::what_has_lost_all_its_tools_since_it_was_taken_is_no_empty_result_and_no_fault_of_its_own";
    // both are taken together, and the first takes the tool away
    let kind = "batch = 9\noutput = \"OUT/{name}\"\n[[tier]]\nargv = [\"OUT/tool\", \"{output}\"]\naccept = { exit = [0] }\nempty = \"allowed\"\n";
    for desk in Desk::both(test, kind, "") {
        let tool = desk.dir.path().join("out/tool");
        fs::write(&tool, "#!/bin/sh\nrm $0\necho made >$1\n").unwrap();
        fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        desk.submit("a");
        desk.submit("b");
        desk.work();
        let rows = "SELECT state, coalesce(class, ''), failures, infra_errors, tries, coalesce(bytes, -1) FROM unwedge_jobs ORDER BY id";
        let rows = desk.db.rows(rows);
        assert_eq!(rows[0][0], "done", "{rows:?}");
        assert_eq!(rows[1], ["pending", "configuration", "0", "0", "1", "-1"]);
        let why = desk.row("message").concat();
        assert!(why.contains("is not on this host: ") && why.contains("/out/tool"), "{why}");
        assert!(!desk.dir.path().join("out/b").exists());
    }
}

#[test]
fn times_are_the_same_wherever_on_earth_a_process_is() {
    let test = "breaker::times_are_the_same_wherever_on_earth_a_process_is";
    let kind = "output = \"OUT/{name}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"case $1 in *bad) exit 1;; esac; cp $1 $2\", \"job\", \"{input}\", \"{output}\"]\n[retry]\nattempts = 9\nbackoff = \"1h\"\njitter = 0\n";
    let zones = ["Pacific/Pago_Pago", "UTC", "Pacific/Kiritimati"];
    for zone in zones {
        assert!(fs::exists(format!("/usr/share/zoneinfo/{zone}")).unwrap(), "needs tzdata: {zone}");
    }
    let Some(desk) = Desk::new(test, kind, "keep_cancelled = \"1h\"\n") else { return };
    let say = |zone: &str, program: &str, words: &[&str]| {
        let done = desk.command(program).args(words).env("TZ", zone).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(
            done.status.success(),
            "{zone} {words:?}: {said} {:?}",
            String::from_utf8(done.stderr)
        );
        said
    };
    let unwedge = env!("CARGO_BIN_EXE_unwedge");
    // put in by one, and worked off at once by another, east or west of it
    let mut id = 0;
    for (puts, works) in [(0, 2), (2, 0), (1, 0), (0, 1), (2, 1)] {
        for name in ["good", "bad"] {
            id += 1;
            let file = desk.dir.path().join("in").join(format!("{id}-{name}"));
            fs::write(&file, "x").unwrap();
            say(zones[puts], unwedge, &["jobs", "submit", "t", file.to_str().unwrap()]);
        }
        let _ = fs::remove_file(desk.dir.path().join("state/queue/runner.json"));
        say(zones[works], env!("CARGO_BIN_EXE_unwedge-runner"), &["--once"]);
        let rows =
            "SELECT state, not_before_ms - changed_ms FROM unwedge_jobs WHERE state <> 'done'";
        let rows = desk.db.rows(rows);
        assert!(
            rows.len() == id / 2 && rows.iter().all(|it| *it == ["retryable", "3600000"]),
            "{rows:?}"
        );
        let done = "SELECT count(*) FROM unwedge_jobs WHERE state = 'done' AND finished_ms - created_ms BETWEEN 0 AND 600000";
        assert_eq!(desk.value(done), (id / 2).to_string());
    }
    // what is called off is kept for an hour, whoever looks
    say(zones[0], unwedge, &["jobs", "cancel", "2"]);
    for zone in zones {
        say(zone, env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
        assert_eq!(desk.value("SELECT count(*) FROM unwedge_jobs"), "10", "{zone}");
    }
    // and every time that is told is the same one
    for words in [
        ["--json", "jobs", "list"].as_slice(),
        &["--json", "jobs", "show", "4"],
        &["jobs", "show", "1"],
        &["jobs", "why", "4"],
    ] {
        // how long ago something was goes on meanwhile
        let told = || zones.map(|zone| say(zone, unwedge, words));
        until(&format!("{words:?} says the same in each"), || {
            let [west, mid, east] = told();
            west == mid && mid == east
        });
    }
}

/// Forks twice, leaves the session, and hears no request to end.
const CLINGS: &str = "trap \"\" TERM HUP INT; (setsid sleep 4000 & sleep 4000 &); setsid sh -c \"trap \\\"\\\" TERM; sleep 4000; :\" & echo >OUT/.begun; while :; do sleep 1000; done";

/// The living processes that have this in their environment.
fn alive(mark: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let has = |it: &fs::DirEntry| {
        let bytes = fs::read(it.path().join("environ")).unwrap_or_default();
        bytes.windows(mark.len()).any(|part| part == mark.as_bytes())
    };
    all.filter(has).count()
}

#[test]
fn nothing_is_left_of_a_job_that_is_called_off_while_it_clings_and_its_runner_goes_on() {
    let test = "breaker::nothing_is_left_of_a_job_that_is_called_off_while_it_clings_and_its_runner_goes_on";
    let mark = format!("CLINGS_OF_{}", std::process::id());
    let kind = format!(
        "[[tier]]\nargv = [\"/bin/sh\", \"-c\", '''case $1 in *b) exit 0;; esac; export MARK={mark}; {CLINGS}''', \"job\", \"{{input}}\"]\n"
    );
    for desk in Desk::both(test, &kind, "grace = \"1s\"\n") {
        desk.submit("a");
        let mut runner = Runner::of(&desk);
        until("it clings", || desk.dir.path().join("out/.begun").exists() && alive(&mark) >= 4);
        let unwedge = env!("CARGO_BIN_EXE_unwedge");
        desk.say(unwedge, &["jobs", "cancel", "1"]);
        until("nothing of it is left", || alive(&mark) == 0);
        until("it is called off", || desk.row("state") == ["cancelled"]);
        desk.submit("b");
        until("the next one is done", || desk.row("state") == ["done"]);
        assert!(runner.0.try_wait().unwrap().is_none(), "{}", desk.log());
        runner.tell(Signal::TERM);
        assert_eq!(runner.0.wait().unwrap().code(), Some(0));
    }
}
