//! What else may happen while the worker is down for a repair, on a host with a real systemd: the round is killed,
//! somebody wants to deploy, the clock goes back, the host goes down, the database is gone. The worker is back
//! within two rounds, each time.

use crate::incident::{all_are_done_once, scene};
use crate::quiesce::{UNIT, furnish, queue, works_on};
use crate::support::failpoints;
use crate::support::host::{Host, program, shipped};
use crate::support::lab::{all_ok, holds, steps};

const BIND: &str = "[[bind]]\ncold = \"/srv/storagebox/jobs/a\"\nhot = \"/srv/jobs/a\"\n";
const ROUND: &str = "/etc/systemd/system/unwedge-mounts.service.d";
/// The worker is up, reads its storage through its bind, and nothing is owed.
const WELL: &str = "systemctl is-active -q worker; test -e /srv/jobs/a/out
    grep -q ' /srv/jobs/a ' /proc/self/mountinfo; test \"$(unwedge debts)\" = 'nothing is owed'";

/// A base, a bind on it, and a worker whose only job writes through that.
fn tiered(host: &Host) {
    furnish(host, UNIT, BIND);
    programs(host);
    let _ = host.round("--apply");
    queue(host, &[(1, "running", "/srv/jobs/a")]);
    works_on(host, "/srv/jobs/a");
}

/// The one that can be killed at a place, and the one that reads the queue.
fn programs(host: &Host) {
    host.put("/usr/bin/unwedge-mounts", &std::fs::read(failpoints::program()).unwrap(), "755");
    host.put("/usr/bin/unwedge-jobs", &program("unwedge-jobs"), "755");
}

/// The storage dies, and the round that repairs it is killed at this place.
fn killed_at(host: &Host, place: &str) {
    let kill = format!("[Service]\nEnvironment=UNWEDGE_FAILPOINT={place}\n");
    host.put(&format!("{ROUND}/kill.conf"), kill.as_bytes(), "644");
    host.ok("systemctl daemon-reload; kill -KILL $(main_pid)");
    let ran = host.serve();
    assert_ne!(ran.code, Some(0), "{place}: it was not killed: {}", host.story());
    assert_eq!(host.ok("systemctl show -P Result unwedge-mounts"), "signal", "{place}");
    host.ok(&format!("rm -r {ROUND}; systemctl daemon-reload"));
}

fn is_well_within_two_rounds(host: &Host, after: &str) {
    for _ in 0..2 {
        host.serve();
        if host.bash(WELL).code == Some(0) {
            return;
        }
    }
    panic!(
        "{after}: {}\n{}",
        host.bash("unwedge debts; systemctl status --no-pager worker").stdout,
        host.story()
    );
}

host_test! {
    fn killed_at_any_step_a_repair_has_the_worker_back_within_two_rounds(host) {
        tiered(&host);
        for step in ["stop-worker", "detach", "restart-unit", "wait-live", "rebind", "wait-live#2", "start-worker"] {
            for moment in ["before", "after"] {
                let place = format!("{moment}:{step}");
                killed_at(&host, &place);
                is_well_within_two_rounds(&host, &place);
            }
        }
    }
}

host_test! {
    fn killed_at_any_step_a_round_of_the_worker_has_it_back_within_two_rounds(host, needs "/usr/bin/python3") {
        // given up at its second start; its unit is changed then, so that it may be started again
        let unit = format!("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n{}",
            UNIT.replace("[Install]", "Restart=on-failure\nRestartSec=0\n[Install]"));
        furnish(&host, &unit, "");
        host.put("/usr/bin/unwedge-worker", &std::fs::read(failpoints::worker()).unwrap(), "755");
        host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
        host.ok("systemctl enable --quiet worker");
        for step in ["recover-jobs", "reset-failed", "start-worker"] {
            for moment in ["before", "after"] {
                let place = format!("{moment}:{step}");
                host.ok("systemctl stop worker; systemctl reset-failed worker 2>/dev/null || :; rm -f /var/lib/unwedge/*.json");
                queue(&host, &[(1, "running", "/srv/storagebox/jobs/a"), (2, "queued", "/srv/elsewhere/2")]);
                works_on(&host, "/srv/storagebox/jobs/a");
                host.ok("kill -KILL $(main_pid worker.service); until systemctl is-failed -q worker; do sleep 0.02; done; sleep 0.1
                    touch /etc/systemd/system/worker.service; systemctl daemon-reload; unwedge-worker --apply >/dev/null || :; sleep 1.2");
                let killed = host.bash(&format!("UNWEDGE_FAILPOINT={place} unwedge-worker --apply"));
                assert_eq!(killed.code, Some(137), "{place}: {killed:?}\n{}", host.story());
                let well = "systemctl is-active -q worker && unwedge debts | grep -q 'nothing is owed'";
                let round = format!("unwedge-worker --apply || :; {well}");
                assert!((0..2).any(|_| host.bash(&round).code == Some(0)), "{place}: {}\n{}",
                    host.bash("unwedge-worker").stdout, host.story());
                let rows = "import sqlite3; print(sqlite3.connect('/var/lib/unwedge/queue/queue.db').execute('SELECT status FROM jobs ORDER BY id').fetchall())";
                assert_eq!(host.ok(&format!("python3 -c \"{rows}\"")), "[('again',), ('queued',)]", "{place}");
            }
        }
    }
}

/// Every wall clock time that is written down becomes one of tomorrow.
const LATER: &str = r#"
import glob, hashlib, json, re
for name in glob.glob("/var/lib/unwedge/*.json"):
    head, body = open(name).read().split("\n", 1)
    body = re.sub('("utc_ms": *)([0-9]+)', lambda it: it[1] + str(int(it[2]) + 86400000), body)
    head = json.loads(head) | {"sha256": hashlib.sha256(body.encode()).hexdigest()}
    open(name, "w").write(json.dumps(head) + "\n" + body)
"#;

host_test! {
    fn a_clock_that_goes_back_a_day_in_the_middle_changes_nothing(host, needs "/usr/bin/python3") {
        tiered(&host);
        host.put("/run/later", LATER.as_bytes(), "644");
        for place in ["after:stop-worker", "after:rebind"] {
            killed_at(&host, place);
            // for every record the wall clock is a day behind now
            host.ok("python3 /run/later");
            is_well_within_two_rounds(&host, place);
        }
    }
}

host_test! {
    fn who_deploys_in_the_middle_of_a_repair_waits_for_its_end_and_finds_the_worker_up(host) {
        tiered(&host);
        // asked for by the storage's own start, which is in the middle
        let ask = "#!/bin/bash\nlock=/run/unwedge/deploy.lock\nflock --nonblock $lock touch /run/intruded\n\
            systemd-run --quiet --unit=deploy --property=StandardOutput=file:/run/deployed \
            flock $lock bash -c 'systemctl is-active worker; cat /srv/jobs/a/../../storagebox/hello'\n\
            until systemctl is-active -q deploy; do sleep 0.02; done\n";
        host.put("/usr/local/bin/ask", ask.as_bytes(), "755");
        host.put("/etc/systemd/system/storagebox.service.d/ask.conf", b"[Service]\nExecStartPre=/usr/local/bin/ask\n", "644");
        host.ok("systemctl daemon-reload; kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}\n{}", host.story());
        host.until("test $(wc -l </run/deployed) = 2");
        assert_eq!(host.ok("cat /run/deployed; test ! -e /run/intruded"), "active\nhello");
        // and whoever has it first keeps every hand off
        host.ok("rm -r /etc/systemd/system/storagebox.service.d; systemctl daemon-reload
            systemd-run --quiet --unit=deploy flock /run/unwedge/deploy.lock sleep infinity
            until ! flock -n /run/unwedge/deploy.lock true; do sleep 0.02; done; kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert_eq!(holds(&round), ["* deploy-in-progress"], "{round:#}");
        host.ok("systemctl is-active -q worker; grep -q ' /srv/storagebox ' /proc/self/mountinfo; systemctl stop deploy");
        is_well_within_two_rounds(&host, "a deployment");
    }
}

host_test! {
    fn a_host_that_goes_down_in_the_middle_has_its_binds_back_before_the_worker_starts(host) {
        for (name, place) in [
            ("worker-after-binds.conf", "worker.service.d/after-binds.conf"),
            ("binds-after-storage.conf", "unwedge-binds.service.d/after-storage.conf"),
        ] {
            host.put(&format!("/etc/systemd/system/{place}"), &shipped(name), "644");
        }
        tiered(&host);
        host.ok("systemctl enable --quiet worker storagebox");
        let mut host = host;
        for place in ["after:stop-worker", "after:detach", "before:rebind", "before:start-worker"] {
            killed_at(&host, place);
            // nobody answers for the queue yet, and no bind depends on it
            host = host.rebooted();
            let are = host.bash("systemctl is-active worker storagebox").stdout;
            assert_eq!(are, "active\nactive\n", "{place}: {}", host.story());
            let times = host.ok("systemctl show -P ActiveEnterTimestampMonotonic storagebox
                systemctl show -P ExecMainExitTimestampMonotonic unwedge-binds
                systemctl show -P ExecMainStartTimestampMonotonic worker");
            let times: Vec<u64> = times.lines().map(|it| it.parse().unwrap()).collect();
            assert!(times.is_sorted() && times[0] > 0, "{place}: {times:?}");
            programs(&host);
            is_well_within_two_rounds(&host, place);
            // nothing was ever written below the bind
            host.ok("mkdir /bare; mount --bind /srv /bare; test -z \"$(ls -A /bare/jobs/a /bare/storagebox | grep -v :)\"
                     umount /bare");
        }
        // and what starts the worker in a round does not wait for that round
        host.ok("kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}\n{}", host.story());
        assert_eq!(steps(&round).last().unwrap(), "start-worker worker.service");
    }
}

/// A worker of its own storage that finds the database gone waits until it is back.
const PATIENT: &str = "#!/bin/bash\nuntil said=$(/usr/local/bin/sql.once \"$1\" 2>/dev/null); do sleep 0.1; done; echo \"$said\"\n";

host_test! {
    fn a_database_that_is_down_mute_or_read_only_in_the_middle_costs_no_job(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        scene(&host);
        host.ok("mv /usr/local/bin/sql /usr/local/bin/sql.once");
        host.put("/usr/local/bin/sql", PATIENT.as_bytes(), "755");
        let read_only = |switch: &str| format!(
            "sql.once \"ALTER SYSTEM SET default_transaction_read_only = {switch}\"; sql.once 'SELECT pg_reload_conf()' >/dev/null"
        );
        let all = "$(cat /sys/fs/cgroup$(systemctl show -P ControlGroup lab-pg)/cgroup.procs)";
        for (trouble, mend) in [
            ("systemctl stop lab-pg".to_owned(), "systemctl start lab-pg".to_owned()),
            (format!("kill -STOP {all}"), format!("kill -CONT {all}")),
            (read_only("on"), read_only("off")),
        ] {
            host.ok("sql.once \"UPDATE jobs SET status = 'queued', ended = 0, not_before = NULL\" >/dev/null
                rm -rf /srv/remote/jobs/*/*; systemctl reset-failed storagebox 2>/dev/null || :; systemctl start worker");
            host.until("test -s /srv/remote/jobs/1/part");
            host.ok(&format!("{trouble}; kill -KILL $(main_pid)"));
            // the storage does not wait for the database
            host.until("grep -q ' /srv/storagebox ' /proc/self/mountinfo && timeout 1 cat /srv/storagebox/hello && reported_live");
            host.ok(&mend);
            all_are_done_once(&host);
            assert_eq!(host.ok("systemctl is-active worker; unwedge debts"), "active\nnothing is owed", "{trouble}");
        }
    }
}
