//! The queue away for longer than anything lasts, and back again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::Signal;

use crate::keys::{Desk, Runner, until};
use crate::store::Db;
use crate::support::postgres::{Cluster, cluster, standby};

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
fn a_server_that_takes_over_is_believed_once_it_stands_by_no_more_and_what_was_begun_is_handed_in_to_it()
 {
    let test = "outage::a_server_that_takes_over_is_believed_once_it_stands_by_no_more_and_what_was_begun_is_handed_in_to_it";
    let kind =
        "[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"until test -e OUT/go; do sleep 0.05; done\"]\n";
    let queue = "reconnect = \"200ms\"\nreconnect_max = \"1s\"\n";
    let Some(cluster) = cluster(test) else { return };
    let first = cluster.database();
    let name = &first.name;
    // one address, which is now the one's and then the other's
    let at = tempfile::tempdir().unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
    let leads_to = |cluster: &Cluster| {
        let new = at.path().join("new");
        symlink(cluster.dir.join(format!(".s.PGSQL.{}", cluster.port)), &new).unwrap();
        fs::rename(new, at.path().join(".s.PGSQL.5432")).unwrap();
    };
    leads_to(cluster);
    let dir = at.path().to_str().unwrap().replace('/', "%2F");
    let url = format!("postgres://postgres@{dir}:5432/{name}");
    let db = Db::of(cluster.database_called(name));
    db.open();
    let mut desk = Desk::of(db, &url, kind, queue, "");
    desk.submit("a");
    let _runner = Runner::of(&desk);
    until("it is begun", || desk.row("state") == ["running"]);
    let other: &Cluster = Box::leak(Box::new(standby(&format!(
        "CREATE DATABASE {name};\n\\connect {name}\n{}",
        first.dump()
    ))));
    desk.db.close_to_others(true);
    leads_to(other);
    until("it is no use yet", || desk.log().contains("this server is a standby"));
    fs::write(desk.dir.path().join("out/go"), "").unwrap();
    desk.db = Db::of(other.database_called(name));
    other.admin(name).batch_execute("SELECT pg_promote()").unwrap();
    until("it is done", || desk.is_done());
    let used = "tries, rescues, infra_errors, failures";
    assert_eq!(desk.row(used), ["1", "0", "0", "0"], "{}", desk.log());
}
