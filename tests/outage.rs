//! The queue away for longer than anything lasts, and back again.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::keys::{Desk, Runner, until};

#[test]
fn a_job_is_heard_of_at_once_where_the_queue_can_tell() {
    let test = "outage::a_job_is_heard_of_at_once_where_the_queue_can_tell";
    let kind = "[[tier]]\nargv = [\"/bin/true\"]\n";
    let Some(desk) = Desk::server(test, kind, "", "poll = \"1h\"\n") else { return };
    let _runner = Runner::of(&desk);
    until("it is there", || desk.value("SELECT count(*) FROM unwedge_workers") == "1");
    for name in ["a", "b", "c"] {
        // it has nothing to do, and looks again in an hour
        desk.beats(3);
        desk.submit(name);
        until(&format!("{name} is done"), || desk.is_done());
    }
}

#[test]
fn what_was_given_back_while_the_queue_was_away_is_charged_with_nothing() {
    let test = "outage::what_was_given_back_while_the_queue_was_away_is_charged_with_nothing";
    let kind =
        "[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"until test -e OUT/go; do sleep 0.05; done\"]\n";
    let queue = "reconnect = \"200ms\"\nreconnect_max = \"1s\"\n";
    let jobs = "grace = \"1s\"\ndrain = \"0s\"\nsweep = \"1s\"\n";
    let Some(desk) = Desk::server(test, kind, queue, jobs) else { return };
    desk.submit("a");
    let mut runner = Runner::of(&desk);
    until("it is begun", || desk.row("state") == ["running"]);
    desk.db.close_to_others(true);
    runner.tell(Signal::TERM);
    assert_eq!(runner.0.wait().unwrap().code(), Some(0), "{}", desk.log());
    let _ = fs::remove_file(desk.dir.path().join("state/queue/runner.json"));
    let _next = Runner::of(&desk);
    until("it was tried", || desk.log().contains("no connection"));
    fs::write(desk.dir.path().join("out/go"), "").unwrap();
    desk.db.close_to_others(false);
    until("it is done", || desk.is_done());
    let used = "tries, rescues, infra_errors, failures";
    assert_eq!(desk.row(used), ["2", "0", "0", "0"], "{}", desk.log());
}

#[test]
fn of_several_workers_none_loses_a_job_to_another_while_the_queue_is_away_for_three_leases() {
    let test = "outage::of_several_workers_none_loses_a_job_to_another_while_the_queue_is_away_for_three_leases";
    let kind = "concurrency = 2\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"echo x >>OUT/begun; until test -e OUT/go; do sleep 0.05; done\"]\n";
    let queue = "lease = \"4s\"\ntimeout = \"2s\"\nreconnect = \"500ms\"\nreconnect_max = \"2s\"\n";
    let jobs = "sweep = \"500ms\"\nslots = 2\n";
    let Some(desk) = Desk::server(test, kind, queue, jobs) else { return };
    // three of them on one queue, each with a directory of its own
    let more = [(); 2].map(|()| {
        let unwedge::config::queue::Database::Url(url) = &desk.db.queue.database else { panic!() };
        let db = crate::store::Db::at(url.0.clone());
        let out = desk.dir.path().join("out").display().to_string();
        Desk::of(db, &url.0, &kind.replace("OUT", &out), queue, jobs)
    });
    let all: Vec<&Desk> = std::iter::once(&desk).chain(&more).collect();
    for nth in 0..6 {
        desk.submit(&nth.to_string());
    }
    let mut runners: Vec<Runner> = all.iter().map(|it| Runner::of(it)).collect();
    let begun = || {
        fs::read_to_string(desk.dir.path().join("out/begun")).unwrap_or_default().lines().count()
    };
    until("all are at work", || begun() == 6);
    let held = "SELECT count(DISTINCT worker) FROM unwedge_jobs WHERE state = 'running'";
    assert_eq!(desk.value(held), "3");
    desk.db.close_to_others(true);
    until("each knows that it is away", || all.iter().all(|it| it.log().contains("no connection")));
    std::thread::sleep(Duration::from_secs(13));
    desk.db.close_to_others(false);
    // each looks again for two leases more
    let beats = "SELECT min(beats) FROM unwedge_workers";
    let beats = || desk.value(beats).parse::<u64>().unwrap();
    let before = beats();
    until("all are back", || beats() >= before + 8);
    let stands = "SELECT count(*), max(tries), sum(rescues), sum(failures + infra_errors) FROM unwedge_jobs WHERE state = 'running'";
    let logs = || all.iter().map(|it| it.log()).collect::<Vec<_>>().join("\n==\n");
    assert_eq!(desk.db.rows(stands), [["6", "1", "0", "0"]], "{}", logs());
    assert!(runners.iter_mut().all(|it| it.0.try_wait().unwrap().is_none()), "{}", logs());
    fs::write(desk.dir.path().join("out/go"), "").unwrap();
    until("all are done", || desk.is_done());
    let stands = "SELECT max(tries), sum(rescues), sum(failures + infra_errors) FROM unwedge_jobs";
    assert_eq!(desk.db.rows(stands), [["1", "0", "0"]], "{}", logs());
    assert_eq!(begun(), 6);
}
