//! The incident that this project exists for, on a host with a real systemd, sshfs and PostgreSQL: storage
//! dies under a queue of jobs, and nobody is there.

use serde_json::Value;

use crate::queue_host::{SQL, furnish};
use crate::support::host::{BASE, Host, listed, shipped, storage_unit};

/// Takes one job at a time and writes to its directory for a second. What it cannot write fails the job,
/// which it takes again two seconds later.
const WORKER: &str = r#"#!/bin/bash
exec 8>/run/one; flock --nonblock 8 || echo $$ >>/run/two
work() { # its output appears whole, and nothing is made that is not there
  for nth in 1 2 3 4 5 6 7 8 9 10; do
    [ ! -e /run/fails ] || exit 1
    echo $nth >>"$1/part" || return 1
    sleep 0.1
  done
  mv "$1/part" "$1/whole"
}
while :; do
  [ ! -e /run/fails ] || exit 1
  id=$(sql "UPDATE jobs SET status = 'running', began = now(), tries = tries + 1 WHERE id = (SELECT id FROM jobs
    WHERE status = 'queued' AND (not_before IS NULL OR not_before <= now()) ORDER BY id LIMIT 1
    FOR UPDATE SKIP LOCKED) RETURNING id")
  [ -n "$id" ] || { sleep 0.05; continue; }
  if work "$(sql "SELECT dir FROM jobs WHERE id = $id")" 2>/dev/null; then
    sql "UPDATE jobs SET status = 'done', ended = ended + 1 WHERE id = $id"
  else
    sql "UPDATE jobs SET status = 'queued', not_before = now() + interval '2 s' WHERE id = $id"
  fi
done
"#;

const JOBS: &str = "id BETWEEN 1 AND 4";

/// Four jobs with binds of their own, a worker, the watch and the timer; each acts.
pub fn scene(host: &Host) {
    furnish(host);
    for (name, place) in [
        ("unwedge-worker.timer", "/etc/systemd/system/unwedge-worker.timer"),
        ("unwedge-worker.service", "/etc/systemd/system/unwedge-worker.service"),
    ] {
        host.put(place, &shipped(name), "644");
    }
    let more = "[binds]\ncold_root = \"/srv/storagebox/jobs\"\nhot_root = \"/srv/jobs\"\n\
        [worker]\nunit = \"worker.service\"\nown_cooldown = true\nverify = \"300ms\"\nfree_mib_min = 1\n\
        free_inodes_min = 1\nbudget.cooldown = \"0s\"\nbudget.per_day = 100\n\
        [queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"table\"\ntimeout = \"2s\"\nquiet = \"1s\"\n\
        [queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\noutput = \"dir\"\n\
        states = { pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }\n\
        next_attempt_at = \"not_before\"\nstarted_at = \"began\"\n";
    host.configure("", &(listed("") + more));
    host.arm();
    for kind in ["worker", "recover"] {
        host.put(&format!("/etc/unwedge/sentinels/{kind}"), b"armed by a test\n", "644");
    }
    // a row that the stopped worker left goes back by the rounds of the worker's own program
    let often = "[Timer]\nOnBootSec=\nOnBootSec=1s\nOnUnitInactiveSec=1s\nRandomizedDelaySec=0\n";
    host.put("/etc/systemd/system/unwedge-worker.timer.d/often.conf", often.as_bytes(), "644");
    host.put("/usr/local/bin/worker", WORKER.as_bytes(), "755");
    host.put("/usr/local/bin/sql", SQL.as_bytes(), "755");
    let unit =
        "[Service]\nExecStart=/usr/local/bin/worker\n[Install]\nWantedBy=multi-user.target\n";
    host.put("/etc/systemd/system/worker.service", unit.as_bytes(), "644");
    host.ok("sql \"DELETE FROM jobs; ALTER TABLE jobs ADD tries int NOT NULL DEFAULT 0, ADD ended int NOT NULL \
             DEFAULT 0, ADD not_before timestamptz, ADD began timestamptz; GRANT UPDATE (status) ON jobs TO unwedge; INSERT INTO jobs (id, status, dir) \
             SELECT n, 'queued', '/srv/jobs/' || n FROM generate_series(1, 4) n\"
         mkdir -p /srv/jobs; systemctl daemon-reload; systemctl enable --quiet worker
         unwedge-mounts --apply >/dev/null; test $(grep -c ' /srv/jobs/[1-4] ' /proc/self/mountinfo) = 4");
    host.start_timer();
    host.ok("systemctl start unwedge-watch unwedge-worker.timer");
}

pub fn all_are_done_once(host: &Host) {
    host.until(&format!(
        "test $(sql \"SELECT count(*) FROM jobs WHERE status = 'done' AND {JOBS}\") = 4"
    ));
    assert_eq!(
        host.ok("sql 'SELECT sum(ended) FROM jobs'"),
        "4",
        "each is done once: {}",
        host.story()
    );
    // each output is whole and on the storage, and the bare directories below saw nothing of it
    for job in 1..=4 {
        host.ok(&format!("test $(tail -n 10 /srv/remote/jobs/{job}/whole | wc -l) = 10"));
    }
    host.ok("mkdir -p /bare; mount --bind /srv /bare; test -z \"$(find /bare/jobs /bare/storagebox -type f)\"
             umount /bare; rmdir /bare");
    host.until("reported_live && for job in 1 2 3 4; do reported_live /srv/jobs/$job; done");
}

host_test! {
    fn storage_dies_under_a_running_job_and_all_heals_without_a_human(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        scene(&host);
        host.ok("systemctl start worker");
        host.until("test -s /srv/remote/jobs/1/part");
        // a round of unwedge-worker may have come before that start, and have been about to make it
        let before = host.ok("unwedge incidents --json");
        host.ok("kill -KILL $(main_pid)");
        all_are_done_once(&host);
        assert_eq!(host.ok("systemctl is-active worker; unwedge debts"), "active\nnothing is owed");
        let repairs = host.ok("grep '^unwedge_mount_repairs{' /var/lib/metrics/unwedge_mounts.prom");
        assert!(repairs.lines().any(|line| line.contains("\"/srv/storagebox\"") && line.ends_with(" 1")
            && line.contains("\"ok\"")), "one incident: {repairs}");
        // it is one story, and it is told
        host.until("unwedge incidents | grep -q over; grep -qx 'unwedge_incidents_open 0' /var/lib/metrics/unwedge_mounts.prom");
        let told: Value = serde_json::from_str(&host.ok("unwedge incidents --json")).unwrap();
        let is_new = |it: &&Value| !before.contains(it["id"].as_str().unwrap());
        let new: Vec<&Value> = told["incidents"].as_array().unwrap().iter().filter(is_new).collect();
        let [incident] = new.as_slice() else { panic!("one incident: {told:#}") };
        assert_eq!((&incident["root"], &incident["cause"], &incident["open"]), (&"/srv/storagebox".into(), &"dead".into(), &false.into()));
        let story = host.ok("su -s /bin/bash nobody -c \"unwedge incidents ID\"".replace("ID", incident["id"].as_str().unwrap()).as_str());
        let mut rest = story.as_str();
        for word in [
            "opened: /srv/storagebox is dead",
            "saw /srv/storagebox dead: ",
            "began: stop-worker worker.service, detach /srv/storagebox, ",
            "did stop-worker worker.service in ",
            "saw worker.service stopped",
            "did detach /srv/storagebox",
            "saw /srv/storagebox live",
            "closed: everything it touched is good again",
        ] {
            let at = rest.find(word).unwrap_or_else(|| panic!("{word} is not next in {story}"));
            rest = &rest[at..];
        }
        assert!(story.contains("did start-worker worker.service"), "{story}");
        println!("{story}");
        println!("tries: {}", host.ok("sql 'SELECT string_agg(tries::text, $$,$$ ORDER BY id) FROM jobs'"));
    }
}

host_test! {
    fn a_worker_that_dies_alone_is_started_again_and_never_twice(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        scene(&host);
        host.ok("sql 'DELETE FROM jobs WHERE id > 1'");
        let down = "until systemctl show -P ActiveState worker | grep -Eqx 'inactive|failed'; do sleep 0.01; done";
        for (how, kill) in [
            ("SIGKILL", format!("kill -KILL $(main_pid worker); {down}")),
            ("SIGTERM", format!("kill -TERM $(main_pid worker); {down}")),
            ("exit 1", format!("touch /run/fails; {down}; rm /run/fails")),
        ] {
            for at_work in [false, true] {
                let state = if at_work { "queued" } else { "done" };
                host.ok(&format!("sql \"UPDATE jobs SET status = '{state}', ended = 0, not_before = NULL\"
                    rm -rf /srv/remote/jobs/*/*; systemctl start worker"));
                if at_work {
                    host.until("test -s /srv/remote/jobs/1/part");
                } else {
                    host.until("test \"$(systemctl show -P ActiveState worker)\" = active");
                }
                // one that was idle finds a job that came meanwhile
                let ms = host.ok(&format!("from=${{EPOCHREALTIME/./}}; {kill}
                    sql \"UPDATE jobs SET status = 'queued' WHERE status = 'done'\"; tries=$(sql 'SELECT sum(tries) FROM jobs')
                    until [ $(sql 'SELECT sum(tries) FROM jobs') -gt $tries ]; do sleep 0.02; done
                    echo $(((${{EPOCHREALTIME/./}} - from) / 1000))"));
                let was = if at_work { "at work" } else { "idle" };
                println!("{how}, {was}: {ms} ms from its death to the next claim");
                host.until("test $(sql 'SELECT sum(ended) FROM jobs WHERE status = $$done$$') = 1");
                host.ok("systemctl is-active -q worker; test ! -e /run/two");
            }
        }
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
        host.until("! unwedge incidents | grep -q OPEN");
        let told = host.ok("unwedge incidents");
        assert!(told.lines().count() >= 6 && told.lines().all(|it| it.contains("worker.service was ")), "{told}");
    }
}

host_test! {
    fn what_nobody_repairs_stays_one_open_incident_that_names_every_refusal(host) {
        host.configure("", &listed(""));
        host.ok("kill -KILL $(main_pid); systemctl disable --quiet storagebox; rm /etc/systemd/system/storagebox.service; systemctl daemon-reload");
        host.ok("unwedge-mounts; test ! -e /var/lib/unwedge/incidents"); // a dry run writes nothing
        let open = "unwedge incidents | grep -c OPEN || :";
        for _ in 0..3 {
            host.bash("unwedge-mounts --apply");
            assert_eq!(host.ok(open), "1");
        }
        let id = host.ok("unwedge incidents | cut -d' ' -f1");
        let story = host.ok(&format!("unwedge incidents {id}"));
        for (word, count) in [("refused to do anything: not-armed", 1), ("not good yet: /srv/storagebox (dead)", 1), ("closed", 0)] {
            assert_eq!(story.matches(word).count(), count, "{word}: {story}");
        }
        // a person puts it right: the next round says so
        host.put("/etc/systemd/system/storagebox.service", storage_unit(BASE).as_bytes(), "644");
        host.ok("umount -l /srv/storagebox; systemctl daemon-reload; systemctl start storagebox; await_data; unwedge-mounts --apply");
        assert_eq!(host.ok(open), "0");
        assert_eq!(host.bash("unwedge incidents 2026-01-24-1").code, Some(1));
        assert_eq!(host.bash("unwedge incidents ../../../etc/passwd").code, Some(1));
    }
}

host_test! {
    fn what_cannot_be_written_down_is_repaired_all_the_same(host) {
        host.configure("", &listed(""));
        host.arm();
        host.ok("mkdir -p /var/lib/unwedge; touch /var/lib/unwedge/incidents; kill -KILL $(main_pid)");
        let round = host.bash("unwedge-mounts --apply 2>&1");
        assert!(round.code == Some(1) && round.stdout.contains("incidents"), "{round:?}");
        host.ok("cat /srv/storagebox/hello; grep -qx 'unwedge_tool_run_ok{tool=\"mounts\"} 0' /var/lib/metrics/unwedge_mounts.prom");
    }
}
