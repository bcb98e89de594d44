//! `unwedge-jobs.service` as it ships, on a throw-away host with a real systemd and a PostgreSQL that
//! knows the service user by its socket.

use crate::support::host::{Host, listed, program, shipped, shipped_path};

pub const METRICS: &str = "/var/lib/prometheus/node-exporter/unwedge_jobs.prom";

const POSTGRES: &[u8] = b"[Service]\nUser=postgres\nKillSignal=SIGINT\n\
    ExecStart=/usr/lib/postgresql/15/bin/postgres -D /var/lib/pg -k /run/pg -c listen_addresses= -c fsync=off\n";

/// The user, the directories, the units, the program, a cluster and a configuration.
pub fn furnish(host: &Host) {
    host.put("/usr/bin/unwedge-jobs", &program("unwedge-jobs"), "755");
    for (name, place) in [
        ("unwedge-jobs.service", "/etc/systemd/system/unwedge-jobs.service"),
        ("unwedge-jobs.timer", "/etc/systemd/system/unwedge-jobs.timer"),
        ("unwedge.sysusers.conf", "/usr/lib/sysusers.d/unwedge.conf"),
        ("unwedge.tmpfiles.conf", "/usr/lib/tmpfiles.d/unwedge.conf"),
    ] {
        host.put(place, &shipped(name), "644");
    }
    host.put("/etc/unwedge/queue.url", b"postgres://unwedge@%2Frun%2Fpg/app\n", "600");
    host.put(
        "/etc/unwedge/unwedge.toml",
        b"[queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"table\"\ntimeout = \"2s\"\n\
          [queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\n\
          states = { pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }\n\
          output = \"dir\"\n",
        "644",
    );
    host.put("/etc/systemd/system/lab-pg.service", POSTGRES, "644");
    host.ok("systemd-sysusers /usr/lib/sysusers.d/unwedge.conf 2>/dev/null
         mkdir -p /var/lib/prometheus/node-exporter
         systemd-tmpfiles --create /usr/lib/tmpfiles.d/unwedge.conf
         systemctl daemon-reload
         install -d -o postgres -m 755 /run/pg; install -d -o postgres -m 700 /var/lib/pg
         cd /; as() { setpriv --reuid=postgres --regid=postgres --init-groups -- \"$@\"; }
         bin=/usr/lib/postgresql/15/bin
         as $bin/initdb -D /var/lib/pg -U postgres -A trust --no-locale --no-sync >/dev/null
         echo 'local all all peer' >/var/lib/pg/pg_hba.conf
         systemctl start lab-pg
         timeout 20 bash -c 'until /usr/lib/postgresql/15/bin/pg_isready -q -h /run/pg; do sleep 0.1; done'
         as psql -q -h /run/pg postgres -c 'CREATE ROLE unwedge LOGIN' -c 'CREATE DATABASE app'
         as psql -q -h /run/pg app -c 'CREATE TABLE jobs (id int PRIMARY KEY, status text NOT NULL, dir text)' \
           -c 'CREATE INDEX ON jobs (status)' -c 'GRANT SELECT ON jobs TO unwedge' \
           -c \"INSERT INTO jobs VALUES (1, 'queued', '/srv/a'), (2, 'running', '/srv/b')\"");
}

host_test! {
    fn the_jobs_unit_reads_the_queue_as_the_service_user_and_says_when_it_cannot(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        furnish(&host);
        let ran = host.bash("systemctl start unwedge-jobs.service");
        assert_eq!(ran.code, Some(0), "{ran:?}\n{}", host.story());
        host.ok(&format!("grep -Fx 'unwedge_jobs{{queue=\"jobs\",state=\"running\"}} 1' {METRICS}"));
        host.ok(&format!("grep -Fx 'unwedge_queue_readable 1' {METRICS}"));
        assert_eq!(host.ok(&format!("stat -c '%U %a' {METRICS}")), "unwedge 644");
        let kept = "/var/lib/unwedge/queue/facts.json";
        assert_eq!(host.ok(&format!("stat -c '%U:%G %a' {kept}")), "unwedge:unwedge 644");
        assert_eq!(host.ok("stat -c '%U:%G %a' /var/lib/unwedge /etc/unwedge/queue.url"),
            "root:root 755\nroot:unwedge 640");
        let line = host.ok("journalctl --sync; journalctl -b -q -o cat UNWEDGE_TOOL=jobs");
        assert!(line.starts_with("queue jobs: 1 pending, 0 retryable, 0 cooling, 1 running; in "), "{line}");

        let said = host.ok("unwedge-jobs; cd /; unwedge-jobs facts --json | grep -c /srv/b");
        assert!(said.starts_with("queue jobs: 1 pending") && said.ends_with("\n1"), "{said}");

        // and a root program's unit closes nothing that its child needs to become that user and for a socket
        let ask = b"[Service]\nExecStart=\nExecStart=/usr/bin/unwedge-jobs facts --json\n\
            StandardOutput=append:/run/answer\n";
        host.put("/etc/systemd/system/unwedge-mounts.service.d/ask.conf", ask, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-mounts.service; grep -c /srv/b /run/answer");
        host.ok("rm -r /etc/systemd/system/unwedge-mounts.service.d; systemctl daemon-reload");

        // the timer as it ships, only more often
        let often = b"[Timer]\nOnBootSec=\nOnBootSec=1s\nOnUnitInactiveSec=1s\nRandomizedDelaySec=0\n";
        host.put("/etc/systemd/system/unwedge-jobs.timer.d/often.conf", often, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-jobs.timer; systemctl stop lab-pg");
        host.until(&format!("grep -Fx 'unwedge_queue_readable 0' {METRICS}"));
        host.ok(&format!("! grep '^unwedge_jobs{{' {METRICS}"));
        host.ok(&format!("grep '^unwedge_queue_last_good_timestamp_seconds 1' {METRICS}"));
        host.until("test $(systemctl show -P Result unwedge-jobs.service) = exit-code");
        // by hand, root becomes the service user too
        let said = host.ok("unwedge-jobs || :");
        assert!(said.starts_with("queue-unknown: no connection to ") && said.contains("last read 2"), "{said}");
    }
}

host_test! {
    fn the_jobs_unit_is_sound_and_no_more_exposed_than_the_readme_says(host) {
        furnish_units(&host);
        let units = "/etc/systemd/system/unwedge-jobs.service /etc/systemd/system/unwedge-jobs.timer";
        let ran = host.bash(&format!("systemd-analyze verify --man=no {units}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
        let readme = std::fs::read_to_string(shipped_path("README.md")).unwrap();
        let stated = readme.split_once("exposure of this unit: ").unwrap().1.split_once(". ").unwrap().0;
        let said = host.ok(&format!(
            "systemd-analyze security --no-pager --offline=true --threshold={} \
             /etc/systemd/system/unwedge-jobs.service", stated.replace('.', "")
        ));
        assert!(said.contains(&format!(": {stated} ")), "the README says {stated}: {said}");
    }
}

fn furnish_units(host: &Host) {
    for name in ["unwedge-jobs.service", "unwedge-jobs.timer"] {
        host.put(&format!("/etc/systemd/system/{name}"), &shipped(name), "644");
    }
    host.put("/usr/bin/unwedge-jobs", &program("unwedge-jobs"), "755");
}

#[test]
fn the_longest_question_fits_into_the_units_time() {
    let unit = String::from_utf8(shipped("unwedge-jobs.service")).unwrap();
    let seconds = unwedge::config::queue::QUEUE_TIMEOUT_MAX.as_secs() + 10;
    assert!(unit.lines().any(|line| line == format!("TimeoutStartSec={seconds}")));
}

/// Asks the database as its owner.
pub const SQL: &str = "#!/bin/sh\nexec setpriv --reuid=postgres --regid=postgres --init-groups -- \
    psql -qAtX -h /run/pg app -c \"$1\"\n";

/// A worker without any cool-down of its own: it takes the next job, fails it when it cannot write, and
/// puts it back at once.
const WORKER: &str = r#"#!/bin/bash
sql() { psql -qAtX -h /run/pg -U postgres app -c "$1"; }
while :; do
  id=$(sql "UPDATE jobs SET status = 'running', tries = tries + 1 WHERE id = (SELECT id FROM jobs
    WHERE status = 'queued' AND (not_before IS NULL OR not_before <= now()) ORDER BY id LIMIT 1
    FOR UPDATE SKIP LOCKED) RETURNING id")
  [ -n "$id" ] || { sleep 0.05; continue; }
  dir=$(sql "SELECT dir FROM jobs WHERE id = $id")
  if echo done >"$dir/out-$id" 2>/dev/null; then to=done; else to=queued; fi
  sql "UPDATE jobs SET status = '$to' WHERE id = $id" >/dev/null
done
"#;

host_test! {
    fn a_worker_without_a_cooldown_does_not_storm_a_path_that_stays_broken(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        furnish(&host);
        let queue = "[queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"table\"\ntimeout = \"2s\"\n\
             [queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\noutput = \"dir\"\n\
             states = { pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }\n\
             next_attempt_at = \"not_before\"\nhold_back = \"not_before\"\n";
        let base = listed("").replace("wait = \"10s\"", "wait = \"1s\"");
        host.configure("", &(base + queue));
        host.arm();
        host.put("/etc/unwedge/sentinels/worker", b"armed by a test\n", "644");
        host.put("/usr/local/bin/worker", WORKER.as_bytes(), "755");
        host.put("/usr/local/bin/sql", SQL.as_bytes(), "755");
        let unit = "[Service]\nUser=postgres\nExecStart=/usr/local/bin/worker\n";
        host.put("/etc/systemd/system/worker.service", unit.as_bytes(), "644");
        host.put("/etc/systemd/system/storagebox.service.d/broken.conf",
            b"[Service]\nExecStart=\nExecStart=/bin/false\n", "644");
        let sql = |text: &str| host.ok(&format!("sql \"{text}\""));
        // two on the storage that will stay away, and one elsewhere that nothing is wrong with
        sql("DELETE FROM jobs; ALTER TABLE jobs ADD tries int NOT NULL DEFAULT 0, ADD not_before timestamptz; \
             GRANT UPDATE (not_before) ON jobs TO unwedge; \
             INSERT INTO jobs (id, status, dir) VALUES (1, 'queued', '/srv/storagebox/x'), \
             (2, 'queued', '/srv/storagebox/y'), (9, 'queued', '/srv/elsewhere')");
        host.ok("install -d -o postgres /srv/elsewhere; chmod 755 /srv; systemctl daemon-reload; kill -KILL $(main_pid)");
        host.ok("systemctl start worker");
        host.until("test $(sql 'SELECT tries FROM jobs WHERE id = 1') -gt 3");
        // the very round that tries to repair it and cannot
        let _ = host.round("--apply");
        let held = sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM jobs WHERE not_before > now() + interval '9 min'");
        assert_eq!(held, "1,2", "{}", host.round(""));
        let tries = || sql("SELECT string_agg(tries::text, ',' ORDER BY id) FROM jobs WHERE id < 9");
        let before = tries();
        host.until("test $(sql 'SELECT status FROM jobs WHERE id = 9') = done");
        // twenty minutes: between two rounds, which are a minute apart, the time that is left shrinks by one
        for minute in 1..=20 {
            host.serve();
            sql("UPDATE jobs SET not_before = not_before - interval '1 min' WHERE id < 9");
            host.ok("sleep 0.2");
            assert_eq!(tries(), before, "taken again in minute {minute}, though it could only fail");
        }
        // and the journal has a line for each, not one for each job or try
        let lines = host.ok("journalctl --sync; journalctl -b -q -o cat --no-pager UNWEDGE_TOOL=mounts | wc -l");
        assert_eq!(lines, "20", "{}", host.story());
        assert_eq!(sql("SELECT count(*) FROM jobs WHERE status = 'queued' AND not_before > now()"), "2");
    }
}
