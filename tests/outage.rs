//! The queue away for longer than anything lasts, and back again.

use std::fs;

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
