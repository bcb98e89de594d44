//! The worker around a repair, on a host with a real systemd: stopped only where its job is lost or none runs,
//! always back, and never touched while a job of it is well. And what becomes of the rows that it left.

use crate::support::Lab;
use crate::support::host::{Host, listed, program, shipped};
use crate::support::lab::{all_ok, holds, steps};
use serde_json::Value;

/// It works on two jobs, each a process of its own that keeps its output open and writes to it. A process that
/// cannot write any more ends, and its row stays as it is.
const WORKER: &str = r#"#!/bin/bash
trap 'kill $(jobs -p); exit 0' TERM
for dir in $(cat /run/dirs); do
  ( exec 9>>"$dir/out" || exit; while echo x >&9; do sleep 0.05; done ) &
done
sleep infinity &
wait -n $!
"#;

/// A worker that may be started at once, and its queue.
pub const CONFIG: &str = "[worker]\nunit = \"worker.service\"\nverify = \"200ms\"\nfree_mib_min = 0\nfree_inodes_min = 0\n\
    needs = [\"/srv/storagebox\"]\nbudget.cooldown = \"0s\"\n\
    [queue]\nurl = \"sqlite:///var/lib/unwedge/queue/queue.db\"\nadapter = \"table\"\ntimeout = \"2s\"\nquiet = \"1s\"\n\
    [queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\noutput = \"dir\"\nstarted_at = \"began\"\n\
    states = { pending = [\"queued\"], retryable = [\"again\"], running = [\"running\"], finished = [\"done\"] }\n";

/// Programs, units, a queue with times, a worker that is up.
pub fn furnish(host: &Host, unit: &str, more: &str) {
    for name in ["unwedge-worker", "unwedge-jobs"] {
        host.put(&format!("/usr/bin/{name}"), &program(name), "755");
    }
    for (name, place) in [
        ("unwedge.sysusers.conf", "/usr/lib/sysusers.d/unwedge.conf"),
        ("unwedge.tmpfiles.conf", "/usr/lib/tmpfiles.d/unwedge.conf"),
    ] {
        host.put(place, &shipped(name), "644");
    }
    host.configure("", &(listed("") + more + CONFIG));
    host.arm();
    host.put("/etc/unwedge/sentinels/worker", b"armed by a test\n", "644");
    host.ok("systemd-sysusers /usr/lib/sysusers.d/unwedge.conf 2>/dev/null
         mkdir -p /var/lib/prometheus/node-exporter /srv/elsewhere /srv/remote/jobs/a
         systemd-tmpfiles --create /usr/lib/tmpfiles.d/unwedge.conf");
    host.put("/usr/local/bin/worker", WORKER.as_bytes(), "755");
    host.put("/etc/systemd/system/worker.service", unit.as_bytes(), "644");
    host.ok("systemctl daemon-reload");
}

/// The queue with these rows: id, status, directory. What runs began a while ago.
pub fn queue(host: &Host, rows: &[(u32, &str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queue.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let table =
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT NOT NULL, dir TEXT, began TEXT);
                 CREATE INDEX by_status ON jobs (status)";
    database.execute_batch(table).unwrap();
    for row in rows {
        let insert = "INSERT INTO jobs VALUES (?1, ?2, ?3, '2026-11-01 10:00:00')";
        database.execute(insert, *row).unwrap();
    }
    drop(database);
    host.put("/var/lib/unwedge/queue/queue.db", &std::fs::read(file).unwrap(), "644");
    host.ok("chown unwedge:unwedge /var/lib/unwedge/queue/queue.db");
}

fn statuses(host: &Host) -> String {
    let script = "import sqlite3; print(' '.join(f'{i}:{s}' for i, s in \
                  sqlite3.connect('/var/lib/unwedge/queue/queue.db').execute('SELECT id, status FROM jobs ORDER BY id')))";
    host.ok(&format!("python3 -c \"{script}\""))
}

pub fn works_on(host: &Host, dirs: &str) {
    host.put("/run/dirs", dirs.as_bytes(), "644");
    host.ok("systemctl restart worker; for dir in $(cat /run/dirs); do until test -s $dir/out; do sleep 0.02; done; done");
}

/// A round of the worker's program, its JSON.
fn worker_round(host: &Host) -> Value {
    let ran = host.bash("unwedge-worker --json --apply");
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

pub const UNIT: &str =
    "[Service]\nExecStart=/usr/local/bin/worker\n[Install]\nWantedBy=multi-user.target\n";
pub const REPAIR: [&str; 5] = [
    "stop-worker worker.service",
    "detach /srv/storagebox",
    "restart-unit storagebox.service",
    "wait-live /srv/storagebox",
    "start-worker worker.service",
];

const REQUIRES: &str = "[Unit]\nRequires=storagebox.service\nAfter=storagebox.service\n";

/// A restart of what the worker requires would take it along; it has failed, so that a start will do.
fn repair(tie: &str) -> [&'static str; 5] {
    let mut steps = REPAIR;
    if tie == REQUIRES {
        steps[2] = "start-unit storagebox.service";
    }
    steps
}

host_test! {
    fn a_worker_whose_job_is_lost_is_stopped_for_the_repair_and_back_and_its_row_goes_back_once_it_is_still(
        host, needs "/usr/bin/python3"
    ) {
        // bound to its storage in both ways
        for tie in ["", REQUIRES] {
            furnish(&host, &format!("{tie}{UNIT}"), "");
            host.ok("rm -f /etc/unwedge/sentinels/recover /var/lib/unwedge/*.json; await_data");
            queue(&host, &[(1, "running", "/srv/storagebox/jobs/a"), (2, "queued", "/srv/elsewhere/2")]);
            works_on(&host, "/srv/storagebox/jobs/a");
            let before = host.ok("main_pid worker.service");
            host.ok("kill -KILL $(main_pid)");
            let round = host.round("--apply");
            assert!(all_ok(&round), "{round:#}\n{}", host.story());
            assert_eq!(steps(&round), repair(tie), "{round:#}");
            assert_ne!(host.ok("systemctl is-active -q worker; main_pid worker.service"), before);
            assert_eq!(host.ok("unwedge debts"), "nothing is owed");
            // its row is nobody's: that is told, and it goes back once that is permitted and its output still
            host.put("/run/dirs", b"", "644");
            host.ok("systemctl restart worker; sleep 0.2");
            let told = worker_round(&host);
            let words = told["holds"].to_string();
            assert!(holds(&told).contains(&"jobs running-jobs-present".to_owned()), "{told:#}");
            for witness in ["age:", "beat:", "process: the worker was down after", "growth:", "mount: /srv/storagebox is live"] {
                assert!(words.contains(witness), "{witness}: {words}");
            }
            host.ok("sleep 1.2");
            let told = worker_round(&host);
            assert!(told["holds"].to_string().contains("1 could go back, but its sentinel is not there"), "{told:#}");
            assert_eq!(statuses(&host), "1:running 2:queued");
            host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
            let back = worker_round(&host);
            assert_eq!(steps(&back), [format!("recover-jobs jobs 1@{}", 1_793_527_200_000_u64)], "{back:#}");
            assert!(all_ok(&back), "{back:#}");
            assert_eq!(statuses(&host), "1:again 2:queued");
        }
    }
}

/// The row of job 1 goes back once its output has been still, and only then is the worker started.
fn goes_back_and_starts(host: &Host) {
    let _ = worker_round(host);
    host.ok("sleep 1.2");
    let back = worker_round(host);
    assert!(all_ok(&back), "{back:#}");
    let recovered = format!("recover-jobs jobs 1@{}", 1_793_527_200_000_u64);
    assert_eq!(steps(&back), [recovered, REPAIR[4].to_owned()]);
    assert_eq!(statuses(host), "1:again 2:queued");
    host.ok("systemctl is-active -q worker");
}

host_test! {
    fn a_worker_that_its_storage_takes_along_is_back_after_the_repair(host, needs "/usr/bin/python3") {
        furnish(&host, &format!("[Unit]\nBindsTo=storagebox.service\nAfter=storagebox.service\n{UNIT}"), "");
        host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
        queue(&host, &[(1, "running", "/srv/storagebox/jobs/a"), (2, "queued", "/srv/elsewhere/2")]);
        works_on(&host, "/srv/storagebox/jobs/a");
        host.ok("systemctl enable --quiet worker; kill -KILL $(main_pid)");
        host.until("! systemctl is-active -q worker");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}\n{}", host.story());
        assert_eq!(host.ok("head -c 1 /srv/storagebox/hello | wc -c"), "1");
        // nobody wished it down; its row goes first, once its output has been still
        host.ok("sleep 0.1");
        goes_back_and_starts(&host);
    }
}

host_test! {
    fn a_start_that_is_owed_needs_no_sentinel_of_either_tool(host) {
        for tool in ["unwedge-mounts", "unwedge-worker"] {
            furnish(&host, UNIT, "");
            queue(&host, &[]);
            host.ok("rm -f /var/lib/unwedge/*.json");
            host.put("/etc/systemd/system/storagebox.service.d/halt.conf",
                b"[Service]\nExecStartPre=/bin/touch /etc/unwedge/sentinels/HALT\n", "644");
            host.ok("systemctl daemon-reload; systemctl start worker; kill -KILL $(main_pid)");
            let _ = host.round("--apply");
            host.ok("(! systemctl is-active -q worker); unwedge debts | grep -q worker.service
                     rm /etc/unwedge/sentinels/*; rm /etc/systemd/system/storagebox.service.d/halt.conf; systemctl daemon-reload");
            host.until("grep -q ' /srv/storagebox ' /proc/self/mountinfo");
            let ran = host.bash(&format!("{tool} --json --apply"));
            let round: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
            assert!(holds(&round).contains(&"* not-armed".to_owned()) && all_ok(&round), "{tool}: {round:#}");
            assert_eq!(steps(&round), [REPAIR[4]], "{tool}: {round:#}");
            host.ok("systemctl is-active -q worker; ! unwedge debts | grep -q worker.service");
        }
    }
}

host_test! {
    fn a_row_that_the_worker_took_while_it_was_being_stopped_goes_back_too(host, needs "/usr/bin/python3") {
        // nobody can have seen it before the stop: it is taken by the stop itself
        let take = "#!/usr/bin/python3\nimport sqlite3\nwith sqlite3.connect('/var/lib/unwedge/queue/queue.db') as queue:\n\
                    \x20   queue.execute(\"UPDATE jobs SET status = 'running' WHERE id = 2\")\n";
        host.put("/usr/local/bin/take", take.as_bytes(), "755");
        furnish(&host, &UNIT.replace("[Install]", "ExecStop=/usr/local/bin/take\n[Install]"), "");
        queue(&host, &[(1, "running", "/srv/storagebox/jobs/a"), (2, "queued", "/srv/elsewhere/2")]);
        works_on(&host, "/srv/storagebox/jobs/a");
        host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
        host.put("/run/dirs", b"", "644");
        host.ok("kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}\n{}", host.story());
        assert_eq!(steps(&round), REPAIR, "{round:#}");
        assert_eq!(statuses(&host), "1:running 2:running");
        let _ = worker_round(&host);
        host.ok("sleep 1.2; systemctl is-active -q worker");
        let back = worker_round(&host);
        assert!(all_ok(&back), "{back:#}");
        assert_eq!(statuses(&host), "1:again 2:again", "{back:#}");
        // and a restart by hand, which waits until no job runs, tells of one
        let said = host.ok("unwedge worker restart --when-idle");
        assert!(said.contains("nobody's now: 2@1793527200000; see unwedge-jobs recover"), "{said}");
    }
}

host_test! {
    fn a_job_that_is_well_never_notices_the_repair_of_anothers_path(host) {
        let bind = "[[bind]]\ncold = \"/srv/storagebox/jobs/a\"\nhot = \"/srv/jobs/a\"\n";
        for tie in ["", REQUIRES] {
            furnish(&host, &format!("{tie}{UNIT}"), bind);
            let _ = host.round("--apply");
            queue(&host, &[(1, "running", "/srv/jobs/a"), (2, "running", "/srv/elsewhere")]);
            works_on(&host, "/srv/elsewhere /srv/jobs/a");
            let children = || host.ok("for pid in $(pgrep -f /usr/local/bin/worker); do \
                readlink /proc/$pid/fd/9 2>/dev/null | grep -q elsewhere && echo $pid $(awk '{print $22}' /proc/$pid/stat); done | head -1 || :");
            let (worker, child) = (host.ok("main_pid worker.service"), children());
            assert!(!child.is_empty());
            host.ok("kill -KILL $(main_pid)");
            let round = host.round("--apply");
            // the base is mounted again; the bind under a job that runs waits for the other
            assert_eq!(steps(&round), repair(tie)[1..4], "{round:#}");
            assert_eq!(holds(&round), ["/srv/jobs/a running-jobs-present"]);
            let lines = || host.ok("wc -l </srv/elsewhere/out").parse::<u64>().unwrap();
            let written = lines();
            host.until(&format!("test $(wc -l </srv/elsewhere/out) -gt {}", written + 3));
            assert_eq!((host.ok("main_pid worker.service"), children()), (worker, child));
            // once that has ended the bind is swapped with the worker stopped, because the other job is lost
            queue(&host, &[(1, "running", "/srv/jobs/a"), (2, "done", "/srv/elsewhere")]);
            let round = host.round("--apply");
            assert!(all_ok(&round), "{round:#}");
            assert_eq!(steps(&round), ["stop-worker worker.service", "rebind /srv/jobs/a", "wait-live /srv/jobs/a",
                "start-worker worker.service"]);
            host.ok("systemctl is-active -q worker");
        }
    }
}

host_test! {
    fn a_stop_that_outlasts_its_limit_takes_nothing_away_and_the_worker_comes_back(host) {
        let slow = "[Service]\nExecStart=/bin/bash -c 'trap : TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=7\n\
            SendSIGHUP=no\n";
        furnish(&host, slow, "");
        let text = host.ok("cat /etc/unwedge/unwedge.toml").replace("[mounts]", "[mounts]\ndeadline = \"28s\"");
        host.put("/etc/unwedge/unwedge.toml", text.replace("wait = \"10s\"", "wait = \"2s\"").as_bytes(), "644");
        queue(&host, &[(1, "running", "/srv/storagebox/jobs/a")]);
        host.ok("systemctl start worker; kill -KILL $(main_pid)");
        // systemd ends it for good within its own limit, which is waited for
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}\n{}", host.story());
        assert_eq!(steps(&round), REPAIR);
        host.ok("systemctl is-active -q worker");
        // one that is not down in time: nothing is detached under it, its start stays owed
        host.put("/etc/systemd/system/worker.service", slow.replace("=7", "=90").as_bytes(), "644");
        host.ok("systemctl daemon-reload; systemctl kill -s KILL worker; until systemctl is-failed -q worker; do sleep 0.02; done; systemctl start worker; kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert_eq!(steps(&round), REPAIR, "{round:#}");
        let ended: Vec<bool> = round["outcomes"].as_array().unwrap().iter().map(|it| it["ok"] == true).collect();
        assert_eq!(ended, [false; 5], "{round:#}");
        host.ok("grep -q ' /srv/storagebox ' /proc/self/mountinfo; unwedge debts | grep -q worker.service");
        host.ok("kill -KILL $(main_pid worker.service)");
        host.until("systemctl show -P ActiveState worker | grep -Eq 'inactive|failed'");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(steps(&round), REPAIR[1..]);
        host.ok("systemctl is-active -q worker");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
    }
}

host_test! {
    fn halt_between_stop_and_start_leaves_a_debt_that_is_paid_once_it_is_lifted(host) {
        furnish(&host, UNIT, "");
        queue(&host, &[]);
        // the storage's own start sets it, so that it comes in the middle of the repair
        host.put("/etc/systemd/system/storagebox.service.d/halt.conf",
            b"[Service]\nExecStartPre=/bin/touch /etc/unwedge/sentinels/HALT\n", "644");
        host.ok("systemctl daemon-reload; systemctl start worker; kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(holds(&round).iter().any(|hold| hold.ends_with(" halted")), "{round:#}");
        host.ok("(! systemctl is-active -q worker); unwedge debts | grep -q worker.service; rm /etc/unwedge/sentinels/HALT");
        host.until("grep -q ' /srv/storagebox ' /proc/self/mountinfo");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(steps(&round), ["start-worker worker.service"]);
        host.ok("systemctl is-active -q worker");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
    }
}

/// A round that has looked and waits for its turn to act, while this is done; what it says.
#[track_caller]
fn between_look_and_act(host: &Host, script: &str) -> Value {
    host.ok(&format!("rm -f /var/lib/unwedge/*.json; mkdir -p /run/unwedge; exec 9>>/run/unwedge/act.lock; flock 9
         kill -KILL $(main_pid); (unwedge-mounts --json --apply >/run/said 9>&- || :) & round=$!
         timeout 10 bash -c 'until test -e /var/lib/unwedge/mounts.json; do sleep 0.02; done'
         {script}
         flock -u 9; wait $round"));
    let said = host.ok("cat /run/said");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

host_test! {
    fn a_stop_by_hand_between_look_and_repair_is_a_wish_and_a_death_there_is_none(host) {
        furnish(&host, UNIT, "");
        queue(&host, &[]);
        host.ok("systemctl start worker");
        let round = between_look_and_act(&host, "systemctl stop worker");
        assert_eq!(steps(&round), REPAIR, "{round:#}");
        assert_eq!(round["outcomes"][0]["detail"], "it was down already", "{round:#}");
        assert_eq!(holds(&round), ["worker.service worker-stopped-by-operator"], "{round:#}");
        host.ok("await_data; ! systemctl is-active -q worker");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
        assert!(steps(&host.round("--apply")).is_empty());

        host.ok("systemctl start worker");
        let round = between_look_and_act(&host,
            "kill -KILL $(main_pid worker.service); until systemctl is-failed -q worker; do sleep 0.02; done; sleep 0.2");
        assert!(all_ok(&round) && steps(&round) == REPAIR, "{round:#}");
        assert_eq!(round["outcomes"][0]["detail"], "it was down already: it ended by itself", "{round:#}");
        assert_eq!(host.ok("systemctl is-active worker; unwedge debts"), "active\nnothing is owed");
    }
}

host_test! {
    fn a_worker_that_is_disabled_while_it_is_stopped_for_a_repair_is_not_started_at_its_end(host) {
        furnish(&host, UNIT, "");
        queue(&host, &[]);
        host.ok("systemctl enable --quiet --now worker");
        let round = between_look_and_act(&host, "systemctl disable --quiet worker");
        assert_eq!(steps(&round), REPAIR, "{round:#}");
        assert_eq!(holds(&round), ["worker.service worker-stopped-by-operator"], "{round:#}");
        host.ok("await_data; ! systemctl is-active -q worker");
        // a round that sees it so owes it nothing more
        host.ok("unwedge debts | grep -q worker.service");
        assert!(steps(&host.round("--apply")).is_empty());
        assert_eq!(host.ok("unwedge debts; ! systemctl is-active worker"), "nothing is owed\ninactive");
    }
}

host_test! {
    fn a_row_of_a_worker_that_died_goes_back_before_it_is_started_and_never_while_its_output_grows(
        host, needs "/usr/bin/python3"
    ) {
        furnish(&host, UNIT, "");
        queue(&host, &[(1, "running", "/srv/storagebox/jobs/a"), (2, "queued", "/srv/elsewhere/2")]);
        works_on(&host, "/srv/storagebox/jobs/a");
        host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
        host.ok("systemctl enable --quiet worker");
        // one that outlives it elsewhere, as a container does
        host.ok("systemd-run --quiet --unit=left bash -c 'while :; do echo y >>/srv/storagebox/jobs/a/out; sleep 0.05; done'
                 systemctl kill -s KILL worker; until systemctl is-failed -q worker; do sleep 0.02; done");
        for _ in 0..3 {
            let held = worker_round(&host);
            assert_eq!(holds(&held), ["worker.service running-jobs-present"], "{held:#}");
            assert!(steps(&held).is_empty());
            host.ok("sleep 0.6");
        }
        host.ok("systemctl stop left");
        goes_back_and_starts(&host);
    }
}

/// A worker that is a file and is up, for a lab without a service manager.
fn of_files(lab: &Lab) -> String {
    let worker = script(lab, "start", ":>up")
        + &script(lab, "stop", "echo x >>stops; rm up")
        + &script(lab, "status", "test -e up");
    std::fs::write(lab.dir.join("sentinels/worker"), "armed by a test\n").unwrap();
    std::fs::write(lab.dir.join("up"), "").unwrap();
    format!("[worker]\nverify = \"50ms\"\n{worker}")
}

/// A program of this name; the line of the configuration that names it.
fn script(lab: &Lab, name: &str, text: &str) -> String {
    let file = lab.dir.join(name);
    std::fs::write(&file, format!("#!/bin/sh\ncd {}\n{text}\n", lab.dir.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, mode).unwrap();
    format!("{name} = [\"{}\"]\n", file.display())
}

lab_test! {
    fn a_worker_without_a_service_manager_is_stopped_once_for_a_base_and_its_binds(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let bind = lab.bound(&base.join("jobs/a"), &lab.root("jobs/a"));
        let worker = of_files(&lab);
        lab.configure("", &format!("{}{bind}{worker}", lab.listed(&base)));
        lab.arm();
        assert!(all_ok(&lab.apply()));
        fault.kill();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let verbs: Vec<String> = steps(&round).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(verbs, ["stop-worker", "detach", "remount", "wait-live", "rebind", "wait-live", "start-worker"]);
        assert_eq!(std::fs::read_to_string(lab.dir.join("stops")).unwrap(), "x\n");
        assert!(lab.dir.join("up").exists());
    }
}

lab_test! {
    fn a_worker_that_was_stopped_comes_back_though_nothing_can_be_written_any_more(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let (at, unwedge) = (base.display(), env!("CARGO_BIN_EXE_unwedge"));
        // the state cannot be written from the middle of the repair on
        script(&lab, "again", &format!("{unwedge} faultfs --background {at}; mount --bind state state && mount -o remount,bind,ro state"));
        let worker = of_files(&lab);
        lab.configure("", &format!("{}{worker}", lab.mounted_by(&base, "5s", &lab.dir.join("again"))));
        lab.arm();
        fault.kill();
        let ran = lab.round(&["--apply", "--json"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("Read-only") || ran.stderr.contains("Read-only"), "{ran:?}");
        assert_eq!(std::fs::read_to_string(lab.dir.join("stops")).unwrap(), "x\n");
        assert!(lab.dir.join("up").exists(), "{ran:?}");
    }
}

lab_test! {
    fn a_worker_without_a_service_manager_that_a_person_stopped_right_before_the_repair_stays_down(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let worker = of_files(&lab);
        // up at the look, and down when it is to be stopped
        script(&lab, "status", "test -e asked && test ! -e went && :>went && rm up\n:>asked\ntest -e up");
        lab.configure("", &format!("{}{worker}", lab.listed(&base)));
        lab.arm();
        fault.kill();
        let round = lab.apply();
        let verbs: Vec<String> = steps(&round).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(verbs, ["stop-worker", "detach", "remount", "wait-live", "start-worker"], "{round:#}");
        assert_eq!(round["outcomes"][0]["detail"], "it was down already", "{round:#}");
        assert_eq!(holds(&round), ["worker worker-stopped-by-operator"], "{round:#}");
        assert!(!lab.dir.join("stops").exists() && !lab.dir.join("up").exists(), "{round:#}");
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n");
    }
}

lab_test! {
    fn a_repair_that_halt_kept_from_everything_owes_nothing_and_a_later_stop_by_hand_is_not_taken_for_its_own(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let worker = of_files(&lab);
        // the look has seen no HALT, and the first step sees one
        script(&lab, "status", "test -e asked || :>sentinels/HALT\n:>asked\ntest -e up");
        lab.configure("", &format!("{}{worker}", lab.listed(&base)));
        lab.arm();
        fault.kill();
        let round = lab.apply();
        assert!(holds(&round).iter().any(|hold| hold.ends_with(" halted")), "{round:#}");
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n", "{round:#}");
        std::fs::remove_file(lab.dir.join("sentinels/HALT")).unwrap();
        std::fs::remove_file(lab.dir.join("up")).unwrap();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let verbs: Vec<String> = steps(&round).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(verbs, ["detach", "remount", "wait-live"], "{round:#}");
        assert!(!lab.dir.join("up").exists());
    }
}

lab_test! {
    fn a_worker_is_not_started_on_what_was_put_back_as_something_else_and_each_debt_says_its_own_reason(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        // it answers, and is not what was taken away
        script(&lab, "again", &format!("mount -t tmpfs other {}", base.display()));
        let worker = of_files(&lab);
        lab.configure("", &format!("{}{worker}", lab.mounted_by(&base, "1s", &lab.dir.join("again"))));
        lab.arm();
        fault.kill();
        let round = lab.apply();
        let ended: Vec<bool> = round["outcomes"].as_array().unwrap().iter().map(|it| it["ok"] == true).collect();
        assert_eq!(ended, [true, true, true, false, false], "{round:#}");
        assert_eq!(holds(&round), ["worker storage-not-live"], "{round:#}");
        assert!(!lab.dir.join("up").exists(), "{round:#}");
        let debts = lab.unwedge(&["debts"]).stdout;
        let of = |kind: &str| debts.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("{debts}"));
        let stopped_for = "the worker runs, and without a [queue]";
        assert!(of("worker").contains(stopped_for) && !of("mount").contains(stopped_for), "{debts}");
    }
}

lab_test! {
    fn a_job_on_what_was_taken_away_and_is_in_no_table_keeps_the_worker_off_the_bare_directory(lab) {
        let queue = crate::work::Queue::of(&mut lab);
        std::fs::copy(env!("CARGO_BIN_EXE_unwedge-worker"), lab.dir.join("bin/unwedge-worker")).unwrap();
        let found = lab.root("found");
        let mut fault = lab.fault(&found, &[]);
        queue.job("7", "queued", &found.join("x"));
        let worker = of_files(&lab);
        std::fs::remove_file(lab.dir.join("up")).unwrap();
        lab.queued("", &worker);
        let json = |ran: crate::support::lab::Ran| -> Value { serde_json::from_str(&ran.stdout).unwrap() };
        let round = json(lab.run(&lab.dir.join("bin/unwedge-worker"), &["--json"]));
        assert_eq!((holds(&round), steps(&round)), (vec![], vec!["start-worker worker".to_owned()]), "{round:#}");
        fault.kill();
        let round = lab.apply();
        assert!(all_ok(&round) && !steps(&round).is_empty(), "{round:#}");
        let round = json(lab.run(&lab.dir.join("bin/unwedge-worker"), &["--apply", "--json"]));
        assert_eq!((holds(&round), steps(&round)), (vec!["worker storage-not-live".to_owned()], vec![]), "{round:#}");
        assert!(!lab.dir.join("up").exists());
    }
}

lab_test! {
    fn of_five_dead_bases_one_is_over_its_cap_and_the_worker_is_back_on_the_other_four(lab) {
        let bases: Vec<_> = (1..=5).map(|nth| lab.root(&format!("box{nth}"))).collect();
        let mut faults: Vec<_> = bases.iter().map(|base| lab.fault(base, &[])).collect();
        let listed: String = bases.iter().map(|base| lab.listed(base)).collect();
        let needs: Vec<_> = bases[..4].iter().map(|base| format!("{base:?}")).collect();
        let worker = format!("{}needs = [{}]\n", of_files(&lab), needs.join(", "));
        let often = "deadline = \"2m\"\nbudget.per_target_per_day = 1";
        lab.configure(often, &format!("{listed}{worker}"));
        lab.arm();
        // the fifth has had its repair of the day
        faults[4].kill();
        let round = lab.apply();
        assert!(all_ok(&round) && steps(&round).len() == 3, "{round:#}");
        assert!(!lab.dir.join("stops").exists(), "the worker has nothing to do with it");
        crate::binds::kill_daemons(&bases[4]);
        faults[..4].iter_mut().for_each(crate::support::Fault::kill);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(holds(&round), [format!("{} over-target-cap", bases[4].display())], "{round:#}");
        let verbs: Vec<String> = steps(&round).iter().map(|it| it.split(' ').next().unwrap().to_owned()).collect();
        // each repair stands for itself, so each names the stop; it is done once
        let mut expected = ["stop-worker", "detach", "remount", "wait-live"].repeat(4);
        expected.push("start-worker");
        assert_eq!(verbs, expected);
        assert_eq!(std::fs::read_to_string(lab.dir.join("stops")).unwrap(), "x\n");
        assert!(lab.dir.join("up").exists());
    }
}
