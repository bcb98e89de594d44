//! The worker on a host with a real systemd: what is a death and what a wish, and that it is started
//! only on storage that is live, with work in its queue, once, and not again and again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use unwedge::probes::records::{self, Debt, Debts, WorkerState};
use unwedge::sys::clock::Stamp;

use crate::support::Lab;
use crate::support::host::{BASE, Host, STOP, UNIT, listed, program, shipped};
use crate::support::lab::{all_ok, holds, steps};

const METRICS: &str = "/var/lib/metrics/unwedge_worker.prom";
const WORKER: &str = "worker.service";
const STATE: &str = "/var/lib/unwedge/worker.json";
const START: [&str; 1] = ["start-worker worker.service"];
const ALONE: &str =
    "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// The programs, the unit as shipped, a queue with so many jobs, and a worker that is up.
fn furnish(host: &Host) {
    for name in ["unwedge-worker", "unwedge-jobs"] {
        host.put(&format!("/usr/bin/{name}"), &program(name), "755");
    }
    for (name, place) in [
        ("unwedge-worker.service", "/etc/systemd/system/unwedge-worker.service"),
        ("unwedge-worker.timer", "/etc/systemd/system/unwedge-worker.timer"),
        ("unwedge.sysusers.conf", "/usr/lib/sysusers.d/unwedge.conf"),
        ("unwedge.tmpfiles.conf", "/usr/lib/tmpfiles.d/unwedge.conf"),
    ] {
        host.put(place, &shipped(name), "644");
    }
    configure(host, "");
    host.put("/etc/unwedge/sentinels/worker", b"armed by a test\n", "644");
    host.ok("systemd-sysusers /usr/lib/sysusers.d/unwedge.conf 2>/dev/null
         mkdir -p /var/lib/prometheus/node-exporter; systemd-tmpfiles --create /usr/lib/tmpfiles.d/unwedge.conf");
    queue(host, 2, 0);
    unit(host, ALONE);
    host.ok("systemctl enable --quiet --now worker");
}

/// The worker's settings: quick ones, unless `more` says otherwise.
fn configure(host: &Host, more: &str) {
    let defaults = [
        ("verify", "\"300ms\""),
        ("free_mib_min", "1"),
        ("free_inodes_min", "1"),
        ("budget.cooldown", "\"0s\""),
        ("budget.per_day", "100"),
    ];
    let wide: String = defaults
        .iter()
        .filter(|(key, _)| !more.contains(key))
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let worker = format!("[worker]\nunit = \"{WORKER}\"\n{wide}{more}\n");
    let queue = "[queue]\nurl = \"sqlite:///var/lib/unwedge/queue/queue.db\"\nadapter = \"table\"\ntimeout = \"2s\"\n\
        [queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\n\
        states = { pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }\noutput = \"dir\"\n";
    host.configure("", &(listed("") + &worker + queue));
}

/// A queue of the service user's with so many jobs that wait, and that run.
fn queue(host: &Host, waiting: u32, running: u32) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queue.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let table = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT NOT NULL, dir TEXT);
                 CREATE INDEX by_status ON jobs (status)";
    database.execute_batch(table).unwrap();
    for (status, count) in [("queued", waiting), ("running", running)] {
        for _ in 0..count {
            let insert = "INSERT INTO jobs (status, dir) VALUES (?1, '/srv/storagebox/x')";
            database.execute(insert, [status]).unwrap();
        }
    }
    drop(database);
    host.put("/var/lib/unwedge/queue/queue.db", &std::fs::read(file).unwrap(), "644");
    host.ok("chown unwedge:unwedge /var/lib/unwedge/queue/queue.db");
}

fn unit(host: &Host, text: &str) {
    host.put("/etc/systemd/system/worker.service", text.as_bytes(), "644");
    host.ok("systemctl daemon-reload");
}

/// A round by hand, its JSON.
#[track_caller]
fn round(host: &Host, flags: &str) -> Value {
    let ran = host.bash(&format!("unwedge-worker --json {flags}"));
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A round that starts the worker and nothing else.
#[track_caller]
fn starts(host: &Host, why: &str) {
    let done = round(host, "--apply");
    assert_eq!(steps(&done), START, "{why}: {done:#}");
    assert!(all_ok(&done) && holds(&done).is_empty(), "{why}: {done:#}\n{}", host.story());
    host.ok("systemctl is-active -q worker");
    says(host, 1, 1);
}

/// A round that holds for just this, and leaves the worker down; and what the metrics say of it.
#[track_caller]
fn held(host: &Host, reasons: &[&str], should: u8) -> Value {
    let seen = round(host, "--apply");
    let expected: Vec<String> = reasons.iter().map(|it| format!("{WORKER} {it}")).collect();
    assert_eq!(holds(&seen), expected, "{seen:#}");
    assert!(steps(&seen).is_empty(), "{seen:#}");
    host.ok("! systemctl is-active -q worker");
    says(host, 0, should);
    host.ok(&format!(
        "grep -Fx 'unwedge_tool_holds{{reason=\"{}\",tool=\"worker\"}} 1' {METRICS}",
        reasons[0]
    ));
    seen
}

#[track_caller]
fn says(host: &Host, active: u8, should: u8) {
    host.ok(&format!(
        "grep -Fx 'unwedge_worker_active {active}' {METRICS} && grep -Fx 'unwedge_worker_should_be_running {should}' {METRICS}"
    ));
}

host_test! {
    fn a_death_is_no_wish_and_a_stop_by_hand_is_one_for_a_time(host) {
        furnish(&host);
        let up = round(&host, "--apply");
        assert_eq!(holds(&up), [format!("{WORKER} worker-active")], "{up:#}");
        says(&host, 1, 1);
        for (death, why) in [
            ("kill -KILL $(main_pid worker)", "SIGKILL"),
            ("kill -TERM $(main_pid worker)", "SIGTERM to its process"),
            ("systemctl kill --signal=TERM worker", "SIGTERM by systemctl kill"),
        ] {
            host.ok(&format!("{death}; timeout 5 bash -c 'while systemctl is-active -q worker; do sleep 0.02; done'"));
            starts(&host, why);
        }

        host.ok("systemctl stop worker");
        let seen = held(&host, &["worker-stopped-by-operator"], 1);
        assert!(seen["holds"][0]["detail"].as_str().unwrap().contains("unwedge hold set worker"), "{seen:#}");
        assert!(seen["holds"][0]["until"].is_string(), "{seen:#}");
        configure(&host, "respect_stop = \"3s\"");
        host.until("unwedge-worker --json | grep -q start-worker");
        starts(&host, "the stop has lapsed");

        // a stop of a unit that waits for its restart is one too
        unit(&host, &ALONE.replace("[Install]", "Restart=always\nRestartSec=60\n[Install]"));
        configure(&host, "");
        host.ok("kill -KILL $(main_pid worker); until test $(systemctl show -P SubState worker) = auto-restart; do sleep 0.02; done");
        assert_eq!(holds(&round(&host, "--apply")), [format!("{WORKER} worker-active")]);
        host.ok("systemctl stop worker");
        held(&host, &["worker-stopped-by-operator"], 1);
        host.ok("systemctl start worker; systemctl restart worker; kill -KILL $(main_pid worker); systemctl mask --runtime worker 2>/dev/null || :");
    }
}

host_test! {
    fn a_stop_by_hand_is_known_however_much_is_said_of_other_units_afterwards(host) {
        furnish(&host);
        host.put("/etc/systemd/system/talker.service",
            b"[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n", "644");
        unit(&host, &format!("[Unit]\nPartOf=talker.service\n{ALONE}"));
        host.ok("systemctl restart worker; systemctl stop worker
                 for nth in {1..350}; do systemctl start talker; done; journalctl --sync");
        let said = host.ok("journalctl -b -q -o cat _PID=1 UNIT=talker.service | wc -l");
        assert!(said.parse::<u32>().unwrap() >= 1000, "{said} lines");
        held(&host, &["worker-stopped-by-operator"], 1);
    }
}

host_test! {
    fn masked_disabled_and_on_hold_are_wishes_that_do_not_lapse(host) {
        furnish(&host);
        configure(&host, "respect_stop = \"0s\"");
        host.ok("systemctl stop worker; systemctl disable --quiet worker");
        held(&host, &["worker-stopped-by-operator"], 1);
        host.ok("systemctl enable --quiet worker; unwedge hold set worker --for 1h --because lunch");
        let seen = round(&host, "--apply");
        assert_eq!(holds(&seen), ["* on-hold"], "{seen:#}");
        host.ok("! systemctl is-active -q worker");
        says(&host, 0, 1);
        host.ok("unwedge hold clear worker; mv /etc/systemd/system/worker.service /usr/lib/systemd/system/
                 systemctl daemon-reload; systemctl mask --quiet worker");
        held(&host, &["worker-stopped-by-operator"], 1);
        host.ok("systemctl unmask --quiet worker; systemctl enable --quiet worker");
        starts(&host, "nobody wants it down any more");
    }
}

host_test! {
    fn a_worker_that_went_with_its_storage_comes_back_with_it_and_never_before(host) {
        furnish(&host);
        for binding in ["BindsTo", "Requires"] {
            unit(&host, &format!("[Unit]\n{binding}={UNIT}\nAfter={UNIT}\n{ALONE}"));
            host.ok(&format!("systemctl restart worker; {STOP}
                     timeout 5 bash -c 'while systemctl is-active -q worker; do sleep 0.02; done'"));
            let seen = round(&host, "--apply");
            assert!(holds(&seen).contains(&format!("{WORKER} storage-not-live")), "{seen:#}");
            assert!(steps(&seen).is_empty(), "{seen:#}");
            host.ok("! systemctl is-active -q worker");
            says(&host, 0, 0);
            host.ok("systemctl start storagebox; await_data");
            starts(&host, binding);
        }
        unit(&host, &format!("[Unit]\nBindsTo={UNIT}\nAfter={UNIT}\n{ALONE}"));
        host.ok("systemctl restart worker; kill -KILL $(main_pid)
                 timeout 5 bash -c 'while systemctl is-active -q worker; do sleep 0.02; done'");
        held(&host, &["storage-not-live"], 0);
        host.ok("umount -l /srv/storagebox; systemctl reset-failed storagebox; systemctl start storagebox; await_data");
        starts(&host, "the storage died, and is back");
    }
}

host_test! {
    fn a_worker_that_needs_a_sign_of_life_of_another_is_started_only_while_there_is_a_fresh_one(host) {
        furnish(&host);
        configure(&host, "needs = [\"/srv/storagebox\", \"heartbeat:scan\"]\n[[heartbeat]]\nname = \"scan\"\npath = \"/srv/heart\"\nmax_age = \"1h\"\n");
        let looks = "unwedge-jobs --apply >/dev/null || :";
        host.ok("kill -KILL $(main_pid worker)");
        for (age, word) in [(None, "absent"), (Some("2 hours ago"), "stale"), (Some("2 hours"), "skewed")] {
            if let Some(age) = age {
                host.ok(&format!("touch -d '{age}' /srv/heart"));
            }
            host.ok(looks);
            let seen = held(&host, &["storage-not-live"], 0);
            assert!(seen["holds"][0]["detail"].as_str().unwrap().contains(word), "{seen:#}");
        }
        host.ok(&format!("touch /srv/heart; {looks}"));
        starts(&host, "there is a fresh one");
    }
}

host_test! {
    fn no_worker_is_started_on_a_bare_directory_or_on_a_dead_mount(host) {
        furnish(&host);
        host.ok("kill -KILL $(main_pid worker) $(main_pid)");
        held(&host, &["storage-not-live"], 0);
        host.ok(&format!("umount -l {BASE}; mkdir -p {BASE}/x; ls {BASE} >/dev/null"));
        let seen = held(&host, &["storage-not-live"], 0);
        assert!(seen["holds"][0]["detail"].as_str().unwrap().contains("absent"), "{seen:#}");
        // another file system in its place is not it either, nor one that hangs
        host.ok(&format!("mount -t tmpfs tmpfs {BASE}"));
        let seen = held(&host, &["storage-not-live"], 0);
        assert!(seen["holds"][0]["detail"].as_str().unwrap().contains("wrong-source"), "{seen:#}");
        host.ok(&format!("umount {BASE}; rmdir {BASE}/x; systemctl start storagebox; await_data"));
        host.ok("kill -STOP $(server_pid)");
        let ms = host.ok("before=${EPOCHREALTIME/./}; unwedge-worker >/dev/null; echo $(((${EPOCHREALTIME/./} - before) / 1000))");
        assert!(ms.parse::<u64>().unwrap() < 2_000, "{ms} ms");
        let seen = held(&host, &["storage-not-live"], 0);
        assert!(seen["holds"][0]["detail"].as_str().unwrap().contains("hung"), "{seen:#}");
        host.ok("kill -CONT $(server_pid)");
        starts(&host, "the right mount is there, and answers");
    }
}

host_test! {
    fn a_crash_loop_is_left_alone_by_name_until_its_unit_or_its_storage_has_changed(host) {
        furnish(&host);
        let crashing = "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=20ms\n[Install]\nWantedBy=multi-user.target\n";
        unit(&host, crashing);
        let given_up = "timeout 10 bash -c 'until test $(systemctl show -P ActiveState worker) = failed; do sleep 0.02; done'; journalctl --sync";
        host.ok(&format!("systemctl restart worker; {given_up}"));
        assert_eq!(host.ok("systemctl show -P Result worker"), "exit-code", "it does not say start-limit-hit");
        held(&host, &["crash-looping"], 1);

        // mended, and not told to systemd
        host.ok("sleep 0.05; sed -i 's|/bin/false|/bin/sleep infinity|' /etc/systemd/system/worker.service");
        let seen = held(&host, &["crash-looping"], 1);
        assert!(seen["holds"][0]["detail"].as_str().unwrap().contains("daemon-reload"), "{seen:#}");
        host.ok("systemctl daemon-reload");
        let done = round(&host, "--apply");
        assert_eq!(steps(&done), ["reset-failed worker.service", START[0]], "{done:#}");
        assert!(all_ok(&done), "{done:#}");

        // and storage that came back: it had failed for want of it
        unit(&host, crashing);
        host.ok(&format!("systemctl restart worker; {given_up}"));
        held(&host, &["crash-looping"], 1);
        host.ok("systemctl restart storagebox; await_data");
        let tried = round(&host, "--apply");
        assert_eq!(steps(&tried), ["reset-failed worker.service", START[0]], "{tried:#}");
        assert!(!all_ok(&tried), "{tried:#}");
        host.ok(given_up);
        held(&host, &["crash-looping"], 1);
        host.ok(&format!("grep -Fx 'unwedge_worker_starts{{outcome=\"failed\"}} 1' {METRICS}"));
    }
}

host_test! {
    fn a_start_that_does_not_last_is_a_failure_and_the_next_one_waits_twice_as_long(host) {
        furnish(&host);
        configure(&host, "verify = \"2s\"\nbudget.cooldown = \"1m\"");
        unit(&host, &ALONE.replace("infinity", "0.7"));
        host.ok("systemctl restart worker; sleep 1");
        // short, so that a machine that was just started has that much past
        for minutes in [1, 2] {
            let tried = round(&host, "--apply");
            assert_eq!(steps(&tried), START, "{tried:#}");
            let detail = tried["outcomes"][0]["detail"].as_str().unwrap();
            assert!(!all_ok(&tried) && detail.starts_with("it did not stay up"), "{tried:#}");
            held(&host, &["cooling-down"], 1);
            host.ok(&format!("grep -q '^unwedge_worker_last_start_attempt_timestamp_seconds 1' {METRICS}"));
            age(&host, minutes * 60 - 20);
            held(&host, &["cooling-down"], 1);
            age(&host, 21);
        }
        assert_eq!(host.bash("unwedge-worker --apply >/dev/null 2>&1").code, Some(1), "a start that failed");
        unit(&host, ALONE);
        age(&host, 240);
        starts(&host, "it is mended");
    }
}

host_test! {
    fn a_round_that_is_killed_has_written_its_start_down_and_the_next_one_makes_no_second(host) {
        furnish(&host);
        configure(&host, "verify = \"20s\"\nbudget.cooldown = \"5m\"");
        host.ok("kill -KILL $(main_pid worker); until test $(systemctl show -P ActiveState worker) = failed; do sleep 0.02; done
                 unwedge-worker --apply >/dev/null 2>&1 & pid=$!
                 until systemctl is-active -q worker; do sleep 0.02; done
                 kill -KILL $pid; wait $pid 2>/dev/null || :");
        let stored = host.bash(&format!("cat {STATE}")).stdout;
        let state: WorkerState = records::parse(stored.as_bytes()).unwrap();
        assert_eq!((state.starts.len(), state.failed, state.totals.failed, state.totals.ok), (1, 1, 1, 0));
        let pid = host.ok("main_pid worker");
        assert_eq!(holds(&round(&host, "--apply")), [format!("{WORKER} worker-active")]);
        assert_eq!(host.ok("main_pid worker"), pid);
        host.ok("kill -KILL $(main_pid worker)");
        held(&host, &["cooling-down"], 1);
        // a worker that outlives the wait has made good for it
        host.ok("systemctl reset-failed worker; systemctl start worker");
        age(&host, 301);
        round(&host, "--apply");
        host.ok("kill -KILL $(main_pid worker); until test $(systemctl show -P ActiveState worker) = failed; do sleep 0.02; done");
        assert_eq!(steps(&round(&host, "")), START);
    }
}

/// Lets the last start have been so many seconds earlier.
fn age(host: &Host, seconds: u64) {
    let stored = host.bash(&format!("cat {STATE}")).stdout;
    let mut state: WorkerState = records::parse(stored.as_bytes()).unwrap();
    for start in &mut state.starts {
        start.at.boot_ms = start.at.boot_ms.saturating_sub(seconds * 1000);
    }
    host.put(STATE, &records::render(&state).unwrap(), "644");
}

host_test! {
    fn the_queue_must_be_known_have_work_and_nothing_running(host) {
        furnish(&host);
        host.ok("kill -KILL $(main_pid worker)");
        queue(&host, 0, 0);
        held(&host, &["nothing-pending"], 0);
        queue(&host, 1, 1);
        held(&host, &["running-jobs-present"], 1);
        // who asks is whom this program was told, by whatever way it was told
        let said = host.bash("UNWEDGE__HOST__USER=nobody-at-all unwedge-worker --json").stdout;
        assert!(said.contains("user \\\"nobody-at-all\\\" is not known here"), "{said}");
        host.put("/var/lib/unwedge/queue/queue.db", b"no database\n", "644");
        held(&host, &["queue-unknown"], 0);
        assert_eq!(host.bash("unwedge-worker >/dev/null").code, Some(1));
        host.ok("rm /var/lib/unwedge/queue/queue.db");
        held(&host, &["queue-unknown"], 0);
        queue(&host, 1, 0);
        configure(&host, "free_mib_min = 1000000000");
        held(&host, &["disk-full"], 1);
        configure(&host, "");
        starts(&host, "work, and room");
    }
}

host_test! {
    fn whoever_is_left_anywhere_in_its_control_group_keeps_it_from_being_gone(host) {
        furnish(&host);
        queue(&host, 1, 0);
        // a worker that makes groups of its own, as a container runtime does, and leaves somebody in one
        let script = "#!/bin/bash -e\ncd \"$(findmnt -nt cgroup2 -o TARGET | head -1)$(sed -n s/^0:://p /proc/self/cgroup)\"\n\
            mkdir inner\nsleep 300 &\necho $! >inner/cgroup.procs\nexec sleep infinity\n";
        host.put("/usr/local/bin/nests", script.as_bytes(), "755");
        let unit = "[Service]\nDelegate=yes\nKillMode=process\nExecStart=/usr/local/bin/nests\n";
        host.put("/etc/systemd/system/worker.service", unit.as_bytes(), "644");
        host.ok("systemctl daemon-reload; systemctl restart worker; until pgrep -x sleep -c | grep -q 2; do sleep 0.02; done
                 kill -KILL $(main_pid worker); until systemctl is-failed -q worker; do sleep 0.02; done");
        queue(&host, 1, 1);
        let seen = round(&host, "");
        assert!(seen["holds"].to_string().contains("1 processes in its control group"), "{seen:#}");
        host.ok("pkill -KILL -x sleep");
        let seen = round(&host, "");
        assert!(!seen["holds"].to_string().contains("1 processes in its control group"), "{seen:#}");
    }
}

host_test! {
    fn halt_a_deploy_and_a_missing_sentinel_stop_a_start_and_a_dry_run_writes_nothing(host) {
        furnish(&host);
        host.ok("kill -KILL $(main_pid worker); until test $(systemctl show -P ActiveState worker) = failed; do sleep 0.02; done");
        let state = "sha256sum /var/lib/unwedge/* /run/unwedge/* /var/lib/metrics/* /var/lib/unwedge/queue/* 2>/dev/null | sort || :";
        let before = host.ok(state);
        let planned = round(&host, "");
        assert_eq!(steps(&planned), START, "{planned:#}");
        assert_eq!(host.ok(state), before, "a dry run wrote something");
        let gated = |host: &Host, reason: &str| {
            let seen = round(host, "--apply");
            assert_eq!(holds(&seen), [format!("* {reason}")], "{seen:#}");
            assert_eq!(steps(&seen), START, "the steps are still shown");
            host.ok("! systemctl is-active -q worker");
            assert_eq!(seen["plan_id"], planned["plan_id"]);
        };
        host.ok("touch /etc/unwedge/sentinels/HALT");
        gated(&host, "halted");
        host.ok("rm /etc/unwedge/sentinels/HALT; mkdir -p /run/unwedge; systemd-run --quiet --unit=deploy flock /run/unwedge/deploy.lock sleep infinity
                 until ! flock -n /run/unwedge/deploy.lock true; do sleep 0.02; done");
        gated(&host, "deploy-in-progress");
        host.ok("systemctl stop deploy; mv /etc/unwedge/sentinels/worker /run/armed");
        gated(&host, "not-armed");
        host.put(STATE, b"torn", "644");
        let seen = round(&host, "--apply");
        assert_eq!(holds(&seen), ["* not-armed", "* state-unreadable"], "{seen:#}");
        assert_eq!(host.ok("cat /var/lib/unwedge/worker.json; unwedge state reset worker >/dev/null"), "torn");
        host.ok("exec 9>/run/unwedge/worker.lock; flock 9; unwedge-worker --apply 2>&1 9>&- | grep busy");
        gated(&host, "not-armed");
        assert!(host.ok("unwedge sentinel arm worker").contains("worker.service may be started"));
        starts(&host, "every gate is open");
        let pid = host.ok("main_pid worker");
        round(&host, "--apply");
        assert_eq!(host.ok("main_pid worker"), pid, "started twice");
    }
}

host_test! {
    fn the_unit_as_shipped_asks_the_queue_and_starts_the_worker(host) {
        furnish(&host);
        host.ok("kill -KILL $(main_pid worker)");
        let ran = host.bash("systemctl start unwedge-worker.service");
        assert_eq!(ran.code, Some(0), "{ran:?}\n{}", host.story());
        host.ok("systemctl is-active -q worker");
        says(&host, 1, 1);
        host.ok(&format!("grep -Fx 'unwedge_worker_last_result{{reason=\"\",result=\"started\"}} 1' {METRICS}"));
        let line = host.ok("journalctl --sync; journalctl -b -q -o cat UNWEDGE_TOOL=worker");
        assert!(line.contains("worker worker.service: failed; jobs: 2 pending"), "{line}");
        host.ok("systemctl stop worker; systemctl start unwedge-worker.service; ! systemctl is-active -q worker");
        // without a [worker] there is nothing to do
        host.configure("", &listed(""));
        assert_eq!(host.ok("unwedge-worker --apply"), "no worker: there is no [worker] in the configuration; nothing to do");
        let units = "/etc/systemd/system/unwedge-worker.service /etc/systemd/system/unwedge-worker.timer";
        let ran = host.bash(&format!("systemd-analyze verify --man=no {units}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    }
}

host_test! {
    fn a_start_that_is_owed_is_paid_without_work_and_a_later_stop_by_hand_is_still_a_wish(host) {
        furnish(&host);
        queue(&host, 0, 0);
        configure(&host, "budget.per_day = 0");
        owe(&host, "systemctl stop worker");
        let done = round(&host, "--apply");
        assert_eq!(steps(&done), START, "{done:#}");
        assert!(all_ok(&done), "{done:#}");
        assert_eq!(host.ok("systemctl is-active worker; unwedge debts"), "active\nnothing is owed");

        owe(&host, "systemctl stop worker; systemctl start worker; systemctl stop worker");
        let seen = round(&host, "--apply");
        assert_eq!(holds(&seen), [format!("{WORKER} worker-stopped-by-operator")], "{seen:#}");
        // seen up it is paid, whoever started it
        host.ok("systemctl start worker");
        round(&host, "--apply");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
    }
}

/// Writes down that the worker is owed, and then does `script`.
fn owe(host: &Host, script: &str) {
    let now =
        host.ok("cut -d' ' -f1 /proc/uptime; cat /proc/sys/kernel/random/boot_id; date +%s%3N");
    let [uptime, boot_id, utc_ms] = now.lines().collect::<Vec<_>>()[..] else { panic!("{now}") };
    let uptime: f64 = uptime.parse().unwrap();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let boot_ms = (uptime * 1000.0) as u64;
    let since = Stamp { utc_ms: utc_ms.parse().unwrap(), boot_ms, boot_id: boot_id.to_owned() };
    let debt = Debt::Worker {
        unit: WORKER.to_owned(),
        was_enabled: true,
        since,
        why: "a repair".to_owned(),
    };
    let debts = Debts { debts: vec![debt] };
    host.put("/var/lib/unwedge/debts.json", &records::render(&debts).unwrap(), "644");
    host.ok(&format!("unwedge debts | grep '^worker worker.service: owed for '; {script}"));
}

host_test! {
    fn a_restart_waits_for_the_last_job_and_keeps_everybody_out_meanwhile(host) {
        furnish(&host);
        let before = host.ok("main_pid worker");
        queue(&host, 1, 1);
        assert!(host.ok("unwedge worker restart --when-idle --dry-run").contains("running-jobs-present: 1 jobs run"));
        let refused = host.bash("unwedge worker restart 2>&1");
        assert_eq!(refused.code, Some(1));
        assert!(refused.stdout.contains("running-jobs-present"), "{refused:?}");
        host.ok("touch /etc/unwedge/sentinels/HALT");
        queue(&host, 1, 0);
        let refused = host.bash("unwedge worker restart 2>&1");
        assert!(refused.code == Some(1) && refused.stdout.contains("halted"), "{refused:?}");
        host.ok("rm /etc/unwedge/sentinels/HALT; unwedge debts | grep 'nothing is owed'");
        queue(&host, 1, 1);
        let refused = host.bash("unwedge worker restart --when-idle --for 6s 2>&1");
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert_eq!(host.ok("main_pid worker"), before);
        host.ok("systemd-run --quiet --unit=restart unwedge worker restart --when-idle --for 1m");
        queue(&host, 1, 0);
        host.until(&format!("test $(main_pid worker) != {before}; test $(systemctl show -P ActiveState restart) = inactive"));
        assert_eq!(host.ok("systemctl is-active worker; unwedge debts"), "active\nnothing is owed");
        host.put("/var/lib/unwedge/queue/queue.db", b"no database\n", "644");
        let refused = host.bash("unwedge worker restart 2>&1");
        assert!(refused.code == Some(1) && refused.stdout.contains("queue-unknown"), "{refused:?}");
    }
}

/// Without a service manager: a worker that is a file. `at_status` is what the command that asks for it
/// does first, the first time.
fn in_process(lab: &Lab, path: &Path, at_status: &str) -> String {
    let script = |name: &str, text: &str| {
        let file = lab.dir.join(name);
        std::fs::write(&file, format!("#!/bin/sh\ncd {}\n{text}\n", lab.dir.display())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("{name} = [\"{}\"]\n", file.display())
    };
    let once = format!("test -e asked || {{ :> asked; {at_status}\n}}\ntest -e up");
    std::fs::write(lab.dir.join("sentinels/worker"), "armed by a test\n").unwrap();
    let worker = script("start", "echo x >>starts; :> up")
        + &script("stop", "rm up")
        + &script("status", &once)
        + "verify = \"300ms\"\nfree_mib_min = 0\nfree_inodes_min = 0\nbudget.cooldown = \"0s\"\n";
    lab.configure("", &format!("{}[worker]\n{worker}", lab.listed(path)));
    std::fs::remove_file(lab.dir.join("asked")).ok();
    let ran = lab.worker(&["--apply", "--json"]);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let outcome = said["outcomes"][0]["detail"].as_str().unwrap_or_default().to_owned();
    format!("{} {outcome}", holds(&said).join(" "))
}

lab_test! {
    fn right_before_the_start_everything_is_looked_at_once_more(lab) {
        let path = lab.root("box");
        let fault = lab.fault(&path, &[]);
        let (at, unwedge) = (path.display(), env!("CARGO_BIN_EXE_unwedge"));
        let starts = || std::fs::read_to_string(lab.dir.join("starts")).unwrap_or_default().lines().count();

        let said = in_process(&lab, &path, &format!("umount -l {at}; {unwedge} faultfs --background {at}"));
        assert!(said.starts_with("worker identity-changed "), "{said}");
        let said = in_process(&lab, &path, ":");
        assert!(said.contains("up for 300 ms"), "{said}");
        assert_eq!(starts(), 1);
        std::fs::remove_file(lab.dir.join("up")).unwrap();
        let said = in_process(&lab, &path, &format!("umount -l {at}"));
        assert!(said.starts_with("worker storage-not-live "), "{said}");
        assert_eq!(starts(), 1, "a refused start was made");
        let state: WorkerState = records::parse(&std::fs::read(lab.dir.join("state/worker.json")).unwrap()).unwrap();
        assert_eq!((state.starts.len(), state.totals.ok, state.totals.failed), (1, 1, 0), "what was refused costs nothing");

        // somebody starts it in between: it is not started a second time
        let _again = lab.fault(&path, &[]);
        let said = in_process(&lab, &path, ":> up; exit 1");
        assert!(said.contains("somebody has started it"), "{said}");
        assert_eq!(starts(), 1);
        drop(fault);
    }
}

lab_test! {
    fn of_a_worker_whose_storage_is_dead_it_is_said_that_it_could_not_work(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        assert!(in_process(&lab, &path, ":").contains("up for 300 ms"));
        std::fs::remove_file(lab.dir.join("up")).unwrap();
        fault.kill();
        let said = lab.worker(&[]).stdout;
        assert!(said.contains("; it could not work now"), "{said}");
    }
}

lab_test! {
    fn without_a_service_manager_commands_start_and_ask_and_one_that_hangs_is_neither_up_nor_down(lab) {
        let path = lab.root("box");
        let _fault = lab.fault(&path, &[]);
        assert!(in_process(&lab, &path, ":").contains("up for 300 ms"));
        let metrics = || std::fs::read_to_string(lab.dir.join("metrics/unwedge_worker.prom")).unwrap();
        assert_eq!(in_process(&lab, &path, ":").trim(), "worker worker-active");
        assert!(metrics().contains("\nunwedge_worker_active 1\n"), "{}", metrics());
        let said = in_process(&lab, &path, "sleep 60");
        assert_eq!(said.trim(), "worker unclear-evidence");
        assert!(!metrics().contains("unwedge_worker_active"), "told as down: {}", metrics());
    }
}

#[test]
fn a_round_fits_into_the_units_time() {
    let unit = String::from_utf8(shipped("unwedge-worker.service")).unwrap();
    let seconds = unwedge::config::Worker::default().deadline.as_secs() + 10;
    for line in [&format!("TimeoutStartSec={seconds}"), "KillMode=process"] {
        assert!(unit.lines().any(|known| known == line), "{line}");
    }
}
