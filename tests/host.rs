//! The tool as it is installed: started by its real timer, in its real unit, on real sshfs mounts,
//! on a host that is booted for the test. Each test is a promise, and was seen to fail when the
//! promise was broken.

use std::path::Path;
use std::time::Duration;

use unwedge::manifest::families::{FAMILIES, Of};
use unwedge::manifest::{JOBS, MOUNTS};
use unwedge::probes::records::{self, MountsState};

use crate::support::host::{
    BASE, UNIT, listed, private_storage_unit, program, shipped, storage_unit,
};
use crate::support::lab::{all_ok, holds, observation, steps, verdict};

const METRICS: &str = "/var/lib/metrics/unwedge_mounts.prom";
/// Succeeds while nothing waits uninterruptibly and no prober is left.
const NOBODY_IS_STUCK: &str = "! ps -eo stat=,comm= | grep -E '^D|uw-'";

host_test! {
    fn an_unarmed_timer_only_reports_and_an_armed_one_heals_exactly_the_dead_mount(host) {
        let second = "/srv/second";
        host.put("/etc/systemd/system/second.service", storage_unit(second).as_bytes(), "644");
        let more = format!("[[mount]]\npath = \"{second}\"\nunit = \"second.service\"\n");
        host.configure("", &(listed("") + &more));
        host.ok(&format!(
            "mkdir -p {second}; systemctl daemon-reload; systemctl start second; await_data {second}"
        ));
        let healthy = host.ok("main_pid second");
        host.ok("kill -KILL $(main_pid)");
        let table = "grep ' - fuse' /proc/self/mountinfo";
        let before = host.ok(table);

        host.start_timer();
        host.ticks(3);
        let says = |line: &str| host.ok(&format!("grep -Fx '{line}' {METRICS}"));
        says("unwedge_tool_armed{tool=\"mounts\"} 0");
        says("unwedge_mount_state{path=\"/srv/storagebox\",state=\"dead\"} 1");
        says("unwedge_mount_state{path=\"/srv/second\",state=\"live\"} 1");
        assert_eq!(host.ok(table), before, "unarmed, and yet something was done");
        assert_eq!(host.ok(&format!("systemctl show -P ActiveState {UNIT}")), "failed");

        host.arm();
        host.until("timeout 1 cat /srv/storagebox/hello");
        host.ticks(2);
        says("unwedge_tool_armed{tool=\"mounts\"} 1");
        says("unwedge_mount_state{path=\"/srv/storagebox\",state=\"live\"} 1");
        assert_eq!(host.ok("main_pid second"), healthy, "the healthy one was touched");
        assert_eq!(host.ok(&format!("systemctl show -P ActiveState {UNIT}")), "active");
        assert_eq!(host.ok("grep -c ' /srv/storagebox ' /proc/self/mountinfo"), "1");
        assert_eq!(host.ok("systemctl show -P Result unwedge-mounts.service"), "success");
    }
}

/// What `unwedge-jobs` writes after a round that had something to say: the common families stand in both
/// files, and an exporter takes them only if they say the same of themselves.
fn jobs_metrics() -> String {
    use unwedge::act::heartbeat::Seen;
    use unwedge::act::intake::{Of, Passed};
    use unwedge::act::upkeep::{Look, Tended};
    use unwedge::probes::jobs::{InfraErrors, QueueFacts, QueueLook, State};
    use unwedge::queue::store::figures::Figures;
    use unwedge::queue::store::lanes::Lane;
    let look = QueueLook::Known(QueueFacts {
        queue: "jobs".to_owned(),
        at_utc_ms: 0,
        running: vec![],
        next: vec![],
        cooling: vec![],
        counts: State::ALL.map(|state| (state, 1)).into(),
        oldest_pending_ms: Some(1),
        infra_errors: InfraErrors { window_ms: 600_000, count: Some(0) },
        stale_running: Some(1),
        dead: Some(2),
        rescue: None,
        hold_back: false,
        advice: vec![],
    });
    let now = unwedge::sys::clock::Now::take().unwrap();
    let figures =
        Figures { oldest_waiting_ms: Some(1), last_done_ms: Some(2), ..Figures::default() };
    let lane = Lane {
        kind: "t".to_owned(),
        digest: None,
        first_tier: None,
        paused: None,
        open: None,
        others: vec![],
        tiers: vec![],
    };
    let tended = Tended {
        look: Some(Look {
            lanes: vec![lane],
            figures: [("t".to_owned(), figures)].into(),
            workers: vec![],
        }),
        removed: [("done".to_owned(), 3)].into(),
        intakes: vec![Of { name: "in".to_owned(), came: Ok(Passed::default()) }],
        heartbeats: vec![Seen {
            name: "scan".to_owned(),
            state: unwedge::probes::heartbeat::State::Stale,
            age: Some(Duration::from_secs(9)),
            why: None,
        }],
        ..Tended::default()
    };
    let round = unwedge::report::queue::QueueRound {
        now: &now,
        armed: false,
        look: Some(&look),
        last_good_utc_ms: Some(now.utc_ms),
        tended: Some(&tended),
        trouble: None,
        took: std::time::Duration::from_millis(1),
    };
    unwedge::report::queue::render_metrics(&round).unwrap()
}

host_test! {
    fn an_exporter_reads_the_metrics_also_when_rounds_are_killed_half_way(
        host, needs "/usr/bin/prometheus-node-exporter"
    ) {
        host.put("/etc/systemd/system/exporter.service", b"[Service]\n\
            ExecStart=/usr/bin/prometheus-node-exporter --collector.disable-defaults \
            --collector.textfile --collector.textfile.directory=/var/lib/metrics \
            --web.listen-address=127.0.0.1:9100\n", "644");
        host.put("/var/lib/metrics/unwedge_jobs.prom", jobs_metrics().as_bytes(), "644");
        host.ok("systemctl daemon-reload; systemctl start exporter unwedge-mounts.service");
        host.until("scrape >/dev/null");
        let families = host.ok("scrape");
        for family in &FAMILIES {
            let family = match family.of {
                Of::One(tool) if [MOUNTS.name, JOBS.name].contains(&tool.name) => family.name,
                Of::Each => family.name,
                Of::One(_) | Of::Drill => continue,
            };
            // one that has nothing to say is left out
            let silent = [
                "unwedge_mount_errno",
                "unwedge_mount_repairs",
                "unwedge_mounts_orphan_connections",
                "unwedge_debt_oldest_timestamp_seconds",
            ];
            let silent = silent.contains(&family);
            assert!(silent || families.contains(&format!("\n{family}")), "{family}: {families}");
        }
        let killed = host.ok(
            "killed=0
             for round in $(seq 60); do
               unwedge-mounts --apply >/dev/null 2>&1 & pid=$!
               sleep 0.0$((round % 2))$((RANDOM % 10))
               if kill -KILL $pid; then killed=$((killed + 1)); fi 2>/dev/null
               wait $pid 2>/dev/null || :
               said=$(scrape)
               grep -qx 'node_textfile_scrape_error 0' <<<\"$said\"
               grep -q '^unwedge_tool_last_run_timestamp_seconds{tool=\"mounts\"}' <<<\"$said\"
             done
             echo $killed",
        );
        assert!(killed.parse::<u32>().unwrap() > 10, "only {killed} of 60 were killed");
        let log = host.ok("journalctl --sync; journalctl -b -q -o cat --no-pager -u exporter");
        for complaint in ["error gathering", "duplicate", "failed to"] {
            assert!(!log.contains(complaint), "{log}");
        }
        assert_eq!(host.ok("ls /var/lib/metrics"), "unwedge_jobs.prom\nunwedge_mounts.prom");
    }
}

host_test! {
    fn a_hang_is_confirmed_then_ended_and_nobody_stays_stuck(host) {
        host.arm();
        host.ok("kill -STOP $(server_pid); setsid cat /srv/storagebox/hello >/dev/null 2>&1 &");
        let first = host.round("--apply");
        assert_eq!(verdict(&first, Path::new(BASE)), "hung", "{first:#}");
        assert_eq!(holds(&first), [format!("{BASE} not-confirmed")]);
        host.until("unwedge-mounts --json | grep -q abort-connection");
        let second = host.round("--apply");
        assert!(all_ok(&second), "{second:#}");
        assert_eq!(steps(&second), [
            format!("abort-connection {BASE}"),
            format!("detach {BASE}"),
            format!("restart-unit {UNIT}"),
            format!("wait-live {BASE}"),
        ]);
        host.until("timeout 1 cat /srv/storagebox/hello");
        host.until(NOBODY_IS_STUCK);
        host.ok("! pgrep -x cat");
        let third = host.round("--apply");
        assert!(steps(&third).is_empty() && holds(&third).is_empty(), "{third:#}");
    }
}

host_test! {
    fn a_stuck_prober_delays_no_tick(host) {
        host.configure("confirm.hung = { runs = 1, age = \"1h\" }", &listed(""));
        host.arm();
        host.ok("kill -STOP $(server_pid)");
        host.start_timer();
        host.ticks(6);
        let at: Vec<u64> = host
            .rounds()
            .iter()
            .map(|line| line["__MONOTONIC_TIMESTAMP"].as_str().unwrap().parse().unwrap())
            .collect();
        for pair in at.windows(2) {
            let gap = Duration::from_micros(pair[1] - pair[0]);
            assert!(gap < Duration::from_secs(4), "{gap:?}: {}", host.story());
        }
        let probers = host.ok("ps -eo stat=,comm= | grep ' uw-'");
        assert!(probers.lines().count() == 1 && probers.starts_with('S'), "{probers}");
        assert_eq!(host.ok("systemctl show -P Result unwedge-mounts.service"), "success");
        assert_eq!(host.ok("systemctl show -P ActiveState unwedge-mounts.timer"), "active");

        host.configure("", &listed(""));
        host.until("reported_live");
        host.ok("cat /srv/storagebox/hello");
        host.until(NOBODY_IS_STUCK);
    }
}

host_test! {
    fn a_configuration_that_is_linked_onto_what_hangs_hangs_nobody_and_is_told(host) {
        host.arm();
        host.ok("cp /etc/unwedge/unwedge.toml /srv/remote; mkdir /srv/remote/conf.d; ls /srv/storagebox/conf.d
             kill -STOP $(server_pid)");
        let asked = "for ask in 'unwedge-mounts --apply' unwedge-worker 'unwedge status' 'unwedge doctor'; do
               timeout -k 1 10 $ask >/run/out 2>&1 && exit 1 || code=$?
               test $code = 2 || { echo \"$ask: $code\" >&2; cat /run/out >&2; exit 1; }
               grep -q 'leads to /srv/storagebox/.* on /srv/storagebox (fuse.sshfs), which may hang; keep it on a local disk' /run/out
             done";
        host.ok(&format!("cd /etc/unwedge; mv unwedge.toml /run/kept; ln -s /srv/storagebox/unwedge.toml .; {asked}"));
        host.ok(&format!("cd /etc/unwedge; rm unwedge.toml; mv /run/kept unwedge.toml; ln -s /srv/storagebox/conf.d .; {asked}"));
        host.ok("cd /etc/unwedge; rm conf.d; cp unwedge.toml /run/kept; ln -s /srv/storagebox/conf.d jobs.d
             printf '[queue]\nadapter = \"unwedge\"\nurl = \"sqlite:///var/lib/none\"\n[jobs]\n' >>unwedge.toml
             for ask in 'unwedge config check' 'unwedge doctor'; do
               timeout -k 1 10 $ask >/run/out 2>&1 && exit 1 || test $? -lt 100
               grep -q 'jobs.d: leads to /srv/storagebox/conf.d on /srv/storagebox (fuse.sshfs), which may hang' /run/out ||
                 { cat /run/out >&2; exit 1; }
             done");
        // as soon as it is no more, all goes on
        host.ok("cd /etc/unwedge; rm jobs.d; mv /run/kept unwedge.toml");
        host.until("unwedge-mounts --apply --json | grep -q abort-connection");
        host.until("timeout 1 cat /srv/storagebox/hello");
        host.until(NOBODY_IS_STUCK);
    }
}

host_test! {
    fn each_sshfs_gets_its_verdict_and_only_broken_ones_are_touched(host) {
        let units = [
            ("live", storage_unit("/srv/live")),
            ("dead", storage_unit("/srv/dead")),
            ("hung", storage_unit("/srv/hung")),
            ("absent", storage_unit("/srv/absent")),
            ("wrong", storage_unit("/srv/wrong")),
            ("private", private_storage_unit("/srv/private")),
        ];
        let mut config = listed("");
        for (name, text) in &units {
            host.put(&format!("/etc/systemd/system/{name}.service"), text.as_bytes(), "644");
            let source = if *name == "wrong" { "source = \"lab:/elsewhere\"\n" } else { "" };
            config += &format!(
                "[[mount]]\npath = \"/srv/{name}\"\nunit = \"{name}.service\"\nwait = \"10s\"\n{source}"
            );
        }
        host.configure("", &config);
        // a node of its own, not the machine's
        host.ok("grep -q ' /dev/fuse ' /proc/self/mountinfo || chmod 666 /dev/fuse
                 cd /srv; mkdir -p live dead hung absent wrong private; chown nobody private
                 systemctl daemon-reload; systemctl enable --quiet absent
                 systemctl start live dead hung wrong private
                 for name in live dead hung wrong; do await_data /srv/$name; done
                 timeout 10 bash -c 'until grep -q \" /srv/private \" /proc/self/mountinfo; do sleep 0.02; done'
                 kill -KILL $(main_pid dead)
                 kill -STOP $(grep -vx $(main_pid hung) /sys/fs/cgroup$(systemctl show -P ControlGroup hung)/cgroup.procs)");
        let pids = "for name in live wrong private; do main_pid $name; done";
        let before = host.ok(pids);
        let seen = host.round("");
        let said = |name: &str| verdict(&seen, Path::new(&format!("/srv/{name}"))).to_owned();
        for name in ["live", "dead", "hung", "absent"] {
            assert_eq!(said(name), name, "{seen:#}");
        }
        assert_eq!(said("wrong"), "wrong-source", "{seen:#}");
        assert_eq!(said("private"), "live", "looked at with its owner's eyes: {seen:#}");
        assert_eq!(observation(&seen, Path::new("/srv/dead"))["errno_name"], "ENOTCONN");

        host.arm();
        host.round("--apply");
        let planned = host.until(
            "unwedge-mounts --json >/run/plan; cat /run/plan; grep -q abort-connection /run/plan",
        );
        let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
        // the first round has healed what needs no more evidence
        assert_eq!(steps(&planned), [
            "abort-connection /srv/hung", "detach /srv/hung", "restart-unit hung.service", "wait-live /srv/hung",
        ]);
        assert_eq!(holds(&planned), ["/srv/wrong unclear-evidence"]);
        host.round("--apply");
        for name in ["live", "dead", "hung", "absent", "wrong"] {
            host.until(&format!("timeout 1 cat /srv/{name}/hello"));
        }
        assert_eq!(host.ok(pids), before, "what was not broken was touched");
        // with all of the unit's restrictions it sees the same
        host.ok("systemctl start unwedge-mounts.service");
        for name in ["live", "dead", "hung", "absent", "private"] {
            let line = format!("unwedge_mount_state{{path=\"/srv/{name}\",state=\"live\"}} 1");
            host.ok(&format!("grep -Fx '{line}' {METRICS}"));
        }
    }
}

host_test! {
    fn a_unit_is_started_only_when_nobody_wanted_it_down(host) {
        let names = ["masked", "disabled", "stopped", "failed", "slow", "hidden"];
        let mut config = "[[mount]]\npath = \"/srv/nowhere\"\nunit = \"nowhere.service\"\n".to_owned();
        for name in names {
            let mut unit = storage_unit(&format!("/srv/{name}"));
            if name == "slow" {
                unit = unit.replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 60");
            }
            if name == "hidden" {
                unit = unit.replace("[Service]", "[Service]\nLogLevelMax=notice");
            }
            host.put(&format!("/etc/systemd/system/{name}.service"), unit.as_bytes(), "644");
            config += &format!(
                "[[mount]]\npath = \"/srv/{name}\"\nunit = \"{name}.service\"\nwait = \"10s\"\n"
            );
        }
        host.configure("", &config);
        host.ok("for name in nowhere masked disabled stopped failed slow hidden; do mkdir /srv/$name; done
                 systemctl daemon-reload; systemctl enable --quiet stopped failed slow hidden
                 mv /etc/systemd/system/masked.service /usr/lib/systemd/system/; systemctl mask --quiet masked
                 systemctl start stopped failed hidden; await_data /srv/stopped; await_data /srv/failed; await_data /srv/hidden
                 systemctl stop stopped hidden
                 kill -KILL $(main_pid failed); sleep 0.1; umount --lazy /srv/failed
                 systemctl start --no-block slow");
        let seen = host.round("");
        let mut held = holds(&seen);
        held.sort();
        assert_eq!(held, [
            "* not-armed",
            "/srv/disabled unit-stopped-by-operator",
            "/srv/hidden unclear-evidence",
            "/srv/masked unit-stopped-by-operator",
            "/srv/nowhere unit-not-found",
            "/srv/stopped unit-stopped-by-operator",
        ]);
        assert_eq!(
            steps(&seen),
            [
                "start-unit failed.service", "wait-live /srv/failed", "wait-live /srv/slow",
            ]
        );
        host.ok("systemctl stop slow");
        host.arm();
        let done = host.round("--apply");
        assert!(all_ok(&done), "{done:#}");
        host.ok("cat /srv/failed/hello; for name in masked disabled stopped hidden slow; do (! systemctl is-active -q $name); done");
    }
}

host_test! {
    fn a_stop_passed_on_from_a_unit_that_died_is_nobodys_wish(host) {
        host.put("/etc/systemd/system/tunnel.service", b"[Service]\nExecStart=/bin/sleep infinity\n", "644");
        let bound = storage_unit(BASE).replace("[Service]", "BindsTo=tunnel.service\nAfter=tunnel.service\n[Service]");
        host.put("/etc/systemd/system/storagebox.service", bound.as_bytes(), "644");
        host.ok("systemctl daemon-reload; systemctl restart storagebox; await_data");
        let down = "timeout 10 bash -c 'while systemctl is-active -q storagebox || grep -q \" /srv/storagebox \" /proc/self/mountinfo; do sleep 0.02; done'; systemctl reset-failed";
        host.arm();

        host.ok(&format!("systemctl stop tunnel; {down}"));
        let stopped = host.round("--apply");
        assert_eq!(holds(&stopped), [format!("{BASE} unit-stopped-by-operator")], "{stopped:#}");

        // what it went with is back, and it alone is not
        host.ok("systemctl start tunnel");
        let healed = host.round("--apply");
        assert!(all_ok(&healed), "{healed:#}");

        host.ok(&format!("kill -KILL $(main_pid tunnel); {down}"));
        let healed = host.round("--apply");
        assert_eq!(steps(&healed), [format!("start-unit {UNIT}"), format!("wait-live {BASE}")]);
        assert!(all_ok(&healed), "{healed:#}");
        host.ok("systemctl is-active tunnel; cat /srv/storagebox/hello");
    }
}

host_test! {
    fn a_round_writes_one_line_with_its_fields_and_nothing_twice(host) {
        assert_eq!(host.serve().code, Some(0));
        assert_eq!(host.serve().code, Some(0));
        let rounds = host.rounds();
        let all = host.ok("journalctl -b -q -o cat --no-pager _COMM=unwedge-mounts");
        assert_eq!((rounds.len(), all.lines().count()), (2, 2), "{all}");
        for line in &rounds {
            let message = line["MESSAGE"].as_str().unwrap();
            assert!(message.starts_with("apply: 1 watched, 1 live; held: * not-armed; in "), "{line:#}");
            assert_eq!(line["PRIORITY"], "6", "an ordinary round is no notice");
            assert_eq!(line["_SYSTEMD_UNIT"], "unwedge-mounts.service");
            assert_eq!(line["SYSLOG_IDENTIFIER"], "unwedge-mounts");
            assert!(line["UNWEDGE_PLAN"].is_string() && line["UNWEDGE_MS"].is_string(), "{line:#}");
        }
        host.arm();
        host.configure("", &listed("").replace("wait = \"10s\"", "wait = \"1s\""));
        host.put("/etc/systemd/system/storagebox.service.d/broken.conf", BROKEN, "644");
        host.ok("systemctl daemon-reload; kill -KILL $(main_pid)");
        assert_eq!(host.serve().code, Some(1));
        assert_eq!(host.rounds()[2]["PRIORITY"], "3");
    }
}

const BROKEN: &[u8] = b"[Service]\nExecStart=\nExecStart=/bin/false\n";

host_test! {
    fn the_units_are_sound_and_no_more_exposed_than_the_readme_says(host) {
        let dir = "/etc/systemd/system";
        for unit in &unwedge::manifest::files::UNITS {
            host.put(&format!("{dir}/{}", unit.name), &shipped(unit.name), "644");
        }
        for name in crate::install::programs() {
            host.put(&format!("/usr/bin/{name}"), &program(name), "755");
        }
        let units = format!("{dir}/unwedge-*");
        let ran = host.bash(&format!("systemd-analyze verify --man=no {units}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));

        let readme = String::from_utf8(shipped("README.md")).unwrap();
        for unit in [
            "mounts", "binds", "watch", "worker", "worker-restart", "verify", "canary", "notify",
        ] {
            let before = format!("exposure of `unwedge-{unit}.service`: ");
            let stated = readme.split_once(&before).unwrap().1.split_once(". ").unwrap().0;
            let tenfold = stated.replace('.', "");
            let said = host.ok(&format!(
                "systemd-analyze security --no-pager --offline=true --threshold={tenfold} \
                 {dir}/unwedge-{unit}.service"
            ));
            assert!(said.contains(&format!(": {stated} ")), "the README says {stated}: {said}");
        }
    }
}

/// Options of systemd.exec(5), each of which gives a service a mount namespace (tried on 252), or
/// takes away the right to use the host's, or (`PrivateNetwork=`) does so from 254 on.
const PRIVATE_NAMESPACE: [&str; 34] = [
    "RootDirectory",
    "RootImage",
    "RootHash",
    "MountAPIVFS",
    "BindPaths",
    "BindReadOnlyPaths",
    "MountImages",
    "ExtensionImages",
    "ExtensionDirectories",
    "DynamicUser",
    "ProtectSystem",
    "ProtectHome",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "TemporaryFileSystem",
    "PrivateTmp",
    "PrivateDevices",
    "PrivateNetwork",
    "NetworkNamespacePath",
    "PrivateIPC",
    "IPCNamespacePath",
    "PrivateUsers",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ProtectProc",
    "ProcSubset",
    "PrivateMounts",
    "MountFlags",
    "LogNamespace",
];

#[test]
fn no_unit_asks_for_a_mount_namespace_or_has_a_silent_condition() {
    for unit in [
        "unwedge-mounts.service",
        "unwedge-binds.service",
        "unwedge-watch.service",
        "unwedge-worker.service",
    ] {
        let text = String::from_utf8(shipped(unit)).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let key = line.split_once('=').map_or("", |(key, _)| key);
            assert!(!PRIVATE_NAMESPACE.contains(&key), "{unit}: {line}");
            assert!(!key.starts_with("Condition") && !key.starts_with("Assert"), "{unit}: {line}");
        }
        assert!(text.lines().any(|line| line == "StartLimitIntervalSec=0"), "{unit}");
    }
    let seconds = unwedge::config::Settings::default().mounts.deadline.as_secs() + 10;
    for unit in ["unwedge-mounts.service", "unwedge-binds.service"] {
        let text = String::from_utf8(shipped(unit)).unwrap();
        assert!(!text.contains("\nRestrictSUIDSGID="), "{unit}: it takes openat2 away");
        for line in [&format!("TimeoutStartSec={seconds}"), "KillMode=process"] {
            assert!(text.lines().any(|known| known == line), "{unit}: {line}");
        }
    }
}

host_test! {
    fn the_service_lives_in_the_mount_namespace_of_the_host_and_elsewhere_holds(host) {
        let look = b"[Service]\nExecStart=\nExecStart=/bin/sh -c 'readlink /proc/self/ns/mnt >/run/namespace'\n";
        host.put("/etc/systemd/system/unwedge-mounts.service.d/look.conf", look, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-mounts
                 test $(cat /run/namespace) = $(readlink /proc/1/ns/mnt)
                 rm -r /etc/systemd/system/unwedge-mounts.service.d; systemctl daemon-reload");

        host.arm();
        host.ok("kill -KILL $(main_pid)");
        let table = host.ok("grep ' - fuse' /proc/self/mountinfo");
        let ran = host.ok("unshare -m unwedge-mounts --json --apply");
        let round: serde_json::Value = serde_json::from_str(&ran).unwrap();
        assert_eq!(holds(&round), ["* foreign-namespace"], "{round:#}");
        assert!(round["outcomes"].as_array().unwrap().is_empty(), "{round:#}");
        assert_eq!(host.ok("grep ' - fuse' /proc/self/mountinfo"), table);

        // a drop-in that takes the namespace away is held too
        let private = b"[Service]\nPrivateTmp=yes\n";
        host.put("/etc/systemd/system/unwedge-mounts.service.d/private.conf", private, "644");
        host.ok("systemctl daemon-reload; systemctl start unwedge-mounts");
        let held = "unwedge_tool_holds{reason=\"foreign-namespace\",tool=\"mounts\"} 1";
        host.ok(&format!("grep -Fx '{held}' {METRICS}"));
        assert_eq!(host.ok("grep ' - fuse' /proc/self/mountinfo"), table);
        host.ok("rm -r /etc/systemd/system/unwedge-mounts.service.d; systemctl daemon-reload; systemctl start unwedge-mounts; cat /srv/storagebox/hello");
        host.ok("test -e /run/unwedge/mounts.lock");
    }
}

host_test! {
    fn a_stop_ends_a_waiting_round_at_once_and_the_next_one_goes_on(host) {
        host.configure_probe("5s", "", &listed(""));
        host.arm();
        host.ok("kill -STOP $(server_pid); systemctl start --no-block unwedge-mounts");
        host.until("pgrep uw-");
        assert_eq!(host.ok("systemctl show -P ActiveState unwedge-mounts"), "activating");
        let ms = host.ok("before=${EPOCHREALTIME/./}; systemctl stop unwedge-mounts; echo $(((${EPOCHREALTIME/./} - before) / 1000))");
        assert!(ms.parse::<u64>().unwrap() < 2_000, "{ms} ms");
        assert_eq!(host.ok("systemctl show -P ActiveState unwedge-mounts"), "inactive");
        assert_eq!(host.ok("ps -eo stat=,comm= | grep -c ' uw-'"), "1");
        host.configure("", &listed(""));
        host.until("systemctl start unwedge-mounts && reported_live");
        host.ok("cat /srv/storagebox/hello");
        host.until(NOBODY_IS_STUCK);
    }
}

host_test! {
    fn a_repair_that_fails_is_owed_until_it_succeeds_and_not_tried_without_end(host) {
        host.configure("", &listed("").replace("wait = \"10s\"", "wait = \"2s\""));
        host.arm();
        host.put("/etc/systemd/system/storagebox.service.d/broken.conf", BROKEN, "644");
        host.ok("systemctl daemon-reload; kill -KILL $(main_pid)");
        assert_eq!(host.serve().code, Some(1));
        assert_eq!(host.ok("systemctl show -P Result unwedge-mounts"), "exit-code");
        assert!(host.ok("unwedge debts").starts_with("mount /srv/storagebox: owed for "));

        for _ in 0..3 {
            let round = host.round("--apply");
            assert_eq!(holds(&round), [format!("{BASE} cooling-down")], "{round:#}");
            assert!(steps(&round).is_empty(), "{round:#}");
        }
        host.ok("rm -r /etc/systemd/system/storagebox.service.d; systemctl daemon-reload");
        assert_eq!(holds(&host.round("--apply")), [format!("{BASE} cooling-down")]);

        // the wait of a minute, in an instant
        let stored = host.bash("cat /var/lib/unwedge/mounts.json").stdout;
        let mut state: MountsState = records::parse(stored.as_bytes()).unwrap();
        state.attempts[0].last.boot_ms -= 61_000;
        host.put("/var/lib/unwedge/mounts.json", &records::render(&state).unwrap(), "644");
        let healed = host.round("--apply");
        assert!(all_ok(&healed), "{healed:#}");
        host.ok("cat /srv/storagebox/hello");
        assert_eq!(host.ok("unwedge debts"), "nothing is owed");
    }
}

/// A bind of the storage's directory `jobs/a`, and a worker that writes through it all the while.
const TIERED: &str = "[[bind]]\ncold = \"/srv/storagebox/jobs/a\"\nhot = \"/srv/jobs/a\"\n";
const WORKER: &[u8] = b"[Service]\nExecStart=/bin/bash -c 'while :; do date +%%N >>/srv/jobs/a/log; sleep 0.01; done'\n";

host_test! {
    fn a_worker_that_requires_the_binds_starts_only_once_they_are_in_place(host) {
        host.configure("", &(listed("").replace("wait = \"10s\"", "wait = \"3s\"") + TIERED));
        host.arm();
        host.put("/etc/systemd/system/worker.service", WORKER, "644");
        let dropin = "/etc/systemd/system/worker.service.d/after-binds.conf";
        host.put(dropin, &shipped("worker-after-binds.conf"), "644");
        let dropin = "/etc/systemd/system/unwedge-binds.service.d/after-storage.conf";
        host.put(dropin, &shipped("binds-after-storage.conf"), "644");
        host.put("/etc/systemd/system/storagebox.service.d/broken.conf", BROKEN, "644");
        host.ok("mkdir -p /srv/jobs/a; systemctl stop storagebox; umount --quiet --lazy /srv/storagebox || :; systemctl daemon-reload
                 (! systemctl start worker 2>/dev/null)
                 test \"$(systemctl show -P ActiveState worker)\" = inactive
                 test -z \"$(ls /srv/jobs/a)\"");
        // the storage comes along by itself now, and the binds before the worker's first write
        host.configure("", &(listed("").replace("wait = \"10s\"", "wait = \"60s\"") + TIERED));
        host.ok("rm -r /etc/systemd/system/storagebox.service.d; systemctl daemon-reload; systemctl start worker
                 grep -q ' /srv/jobs/a ' /proc/self/mountinfo");
        host.until("test -s /srv/remote/jobs/a/log");
        host.ok("systemctl stop worker; umount -l /srv/jobs/a; test -z \"$(ls /srv/jobs/a)\"");
    }
}

host_test! {
    fn binds_that_outlive_a_restart_of_sshfs_are_swapped_under_a_writing_worker(host) {
        host.configure("", &(listed("") + TIERED));
        host.arm();
        host.put("/etc/systemd/system/worker.service", WORKER, "644");
        host.ok("mkdir -p /srv/jobs/a; systemctl daemon-reload; systemctl start unwedge-binds; systemctl start worker
                 unwedge binds guard; sleep 0.2");
        for _ in 0..3 {
            host.ok("kill -KILL $(main_pid); systemctl reset-failed storagebox
                     umount -l /srv/storagebox; systemctl restart storagebox; await_data");
            let round = host.round("--apply");
            assert!(all_ok(&round), "{round:#}");
            assert_eq!(steps(&round), ["rebind /srv/jobs/a", "wait-live /srv/jobs/a"]);
            host.ok("before=$(stat -c %s /srv/remote/jobs/a/log); sleep 0.3
                     test \"$(stat -c %s /srv/remote/jobs/a/log)\" -gt \"$before\"
                     test \"$(systemctl show -P NRestarts worker)\" = 0; systemctl is-active worker");
        }
        // the whole of it: base and bind, dead together, with a unit that mounts on a guarded directory
        host.ok("kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(all_ok(&round), "{round:#}");
        host.ok("systemctl stop worker; umount -l /srv/jobs/a; test -z \"$(ls /srv/jobs/a)\"
                 systemctl stop storagebox; umount --quiet --lazy /srv/storagebox || :; test -z \"$(ls -A /srv/storagebox)\"");
    }
}

host_test! {
    fn what_stands_on_a_base_is_restarted_after_it_and_one_that_fails_keeps_no_other_from_it(host) {
        let unit = b"[Service]\nExecStart=/bin/sh -c 'exec 9</srv/storagebox/hello; exec sleep infinity'\n";
        for name in ["reader", "broken", "down"] {
            host.put(&format!("/etc/systemd/system/{name}.service"), unit, "644");
        }
        host.configure("", &listed("dependents = [\"broken.service\", \"reader.service\", \"down.service\"]"));
        host.arm();
        host.ok("systemctl daemon-reload; systemctl start reader broken");
        host.put("/etc/systemd/system/broken.service.d/broken.conf", BROKEN, "644");
        let before = host.ok("systemctl daemon-reload; systemctl show -P MainPID reader");
        host.ok("kill -KILL $(main_pid)");
        let round = host.round("--apply");
        assert!(all_ok(&round), "what is asked for without waiting is not waited for: {round:#}");
        let after: Vec<String> = ["broken", "reader", "down"].map(|it| format!("restart-unit {it}.service")).into();
        assert_eq!(steps(&round)[3..], after, "{round:#}");
        host.until(&format!("test \"$(systemctl show -P MainPID reader)\" != {before}"));
        host.until("systemctl is-active reader");
        assert_eq!(host.ok("systemctl show -P ActiveState down"), "inactive", "nobody had started it");
        host.ok("readlink /proc/$(systemctl show -P MainPID reader)/fd/9; cat /srv/storagebox/hello");
        assert!(steps(&host.round("--apply")).is_empty());
    }
}
