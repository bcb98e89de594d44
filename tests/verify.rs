//! `verify-ops` and `unwedge doctor`, on a host with a real systemd: all is well, each thing that can be wrong and the
//! command that mends it, and that looking changes nothing.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::install::{TREE, bare, configured};
use crate::quiesce::queue;
use crate::support::Lab;
use crate::support::host::{Host, STOP, storage_unit};

const EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

const PROMETHEUS: &str = "/usr/bin/prometheus";
const TIMEDATECTL: &str = "#!/bin/sh\ncase $1 in set-ntp) rm -f /run/not-synchronised ;; *) [ -e /run/not-synchronised ] && echo no || echo yes ;; esac\n";

/// Installed, switched on, rehearsed, armed, and with an exporter: nothing is to be said of it.
fn furnish(host: &Host) {
    bare(host);
    host.ok(STOP);
    let storage = storage_unit("/srv/storagebox")
        .replace("allow_other,", "allow_other,reconnect,ServerAliveInterval=15,");
    host.put("/etc/systemd/system/storagebox.service", storage.as_bytes(), "644");
    host.put("/etc/systemd/system/exporter.service", format!("[Service]\nExecStart={EXPORTER} --collector.disable-defaults \
        --collector.textfile --collector.textfile.directory=/var/lib/metrics --web.listen-address=127.0.0.1:9100\n").as_bytes(), "644");
    // whether this machine's clock is kept right is not for a test to say: that answer is made up, all others are not
    host.put("/usr/bin/timedatectl", TIMEDATECTL.as_bytes(), "755");
    host.put(
        "/etc/prometheus/prometheus.yml",
        b"rule_files: ['/etc/prometheus/*.rules.yml']\n",
        "644",
    );
    host.put("/etc/systemd/system/prometheus.service", format!("[Service]\nExecStart={PROMETHEUS} --config.file=/etc/prometheus/prometheus.yml \
        --storage.tsdb.path=/run/prometheus --web.listen-address=127.0.0.1:9090\nExecReload=/bin/kill -HUP $MAINPID\n").as_bytes(), "644");
    host.ok("rm -f /etc/prometheus/*.rules.yml; mkdir -p /srv/remote/a; systemctl daemon-reload
        systemctl start storagebox exporter prometheus; await_data");
    configured(
        host,
        "[[bind]]\ncold = \"/srv/storagebox/a\"\nhot = \"/srv/hot/a\"\n[doctor]\nprometheus = \"http://127.0.0.1:9090\"\n\
        [[doctor.pattern]]\nunit = \"app.service\"\nexpression = \"quota of .* exceeded\"\nseverity = \"fault\"\ntext = \"the box is full\"\n\
        command = \"box-quota show\"\n",
    );
    host.ok("/opt/unwedge/unwedge install --enable mounts,binds,worker,jobs,watch,verify,canary --start --drop-ins worker-after-binds,binds-after-storage");
    queue(host, &[(1, "done", "/srv/elsewhere/1")]);
    host.put("/etc/unwedge/sentinels/recover", b"armed by a test\n", "644");
    host.ok("cp /usr/local/share/doc/unwedge/alerts/unwedge.rules.yml /etc/prometheus/; systemctl reload prometheus
        unwedge-mounts --apply >/dev/null; unwedge sentinel arm mounts; unwedge sentinel arm binds
        unwedge-mounts --apply >/dev/null; systemctl start worker; unwedge-worker --apply >/dev/null; unwedge sentinel arm worker
        for tool in mounts worker jobs verify canary; do systemctl start unwedge-$tool.service; done");
}

/// The rows of a look that are not ok, and how it ended.
fn doctor(host: &Host) -> (Option<i32>, Vec<Value>) {
    let ran = host.bash("unwedge doctor --json");
    let said: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let rows = said["rows"].as_array().unwrap().iter();
    (ran.code, rows.filter(|row| row["grade"] != "ok").cloned().collect())
}

host_test! {
    fn a_host_on_which_all_is_well_has_nothing_to_be_told_of_and_looking_changes_nothing(
        host, needs "/usr/bin/prometheus-node-exporter", needs "/usr/bin/prometheus"
    ) {
        furnish(&host);
        // what is there by itself in the meantime
        host.ok("systemctl stop unwedge-mounts.timer unwedge-worker.timer unwedge-jobs.timer");
        let everything = format!("{TREE}; cat /proc/self/mountinfo; sha256sum /var/lib/metrics/* /var/lib/unwedge/queue/queue.db
            systemctl show '*' -p Id,ActiveState,SubState,MainPID,UnitFileState,InactiveEnterTimestampMonotonic | grep -v '^MainPID=0'");
        let before = host.ok(&everything);
        host.ok("verify-ops >/run/said || test $? -lt 3; verify-ops --json >/run/object || test $? -lt 3; unwedge doctor >/run/doctor || test $? -lt 3");
        let after = host.ok(&everything);
        let before: BTreeSet<&str> = before.lines().collect();
        let changed: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
        assert!(changed.is_empty() && after.lines().count() >= before.len(), "it only looks: {changed:#?}");
        host.ok("systemctl start unwedge-mounts.timer unwedge-worker.timer unwedge-jobs.timer");

        let (code, bad) = doctor(&host);
        assert_eq!((code, bad.as_slice()), (Some(0), [].as_slice()), "{bad:#?}\n{}", host.story());
        assert_eq!(host.ok("verify-ops --quiet").split(',').next(), host.ok("verify-ops | grep ', 0 unknown, 0 warn, 0 fault'").split(',').next());
        let object: Value = serde_json::from_str(&host.ok("verify-ops --json")).unwrap();
        assert_eq!((&object["schema"], &object["tool"], &object["grade"]), (&1.into(), &"verify-ops".into(), &"ok".into()));
        let plans: Vec<&str> = object["dry_runs"].as_array().unwrap().iter().map(|it| it["plan"]["tool"].as_str().unwrap()).collect();
        assert_eq!(plans, ["mounts", "binds", "worker", "jobs"], "{object:#}");
        // required is what has to be ok, whatever else
        host.ok("unwedge hold set worker --for 1h --because test");
        for (words, code) in [("", 1), ("--require mounts", 1), ("--require holds", 2), ("--require nothing", 64), ("--nonsense", 64)] {
            assert_eq!(host.bash(&format!("verify-ops --quiet {words}")).code, Some(code), "{words}");
        }
        // the exporter takes what the daily look writes, and tells each check
        host.ok("systemctl start unwedge-verify.service");
        let said = host.ok("scrape | tr -d '\\r' | grep '^unwedge_\\|^node_textfile_scrape_error'");
        for line in [
            "node_textfile_scrape_error 0",
            "unwedge_check_state{check=\"holds\",state=\"warn\"} 1",
            "unwedge_check_state{check=\"queue\",state=\"ok\"} 1",
            "unwedge_check_state{check=\"dry-run\",state=\"ok\"} 1",
            "unwedge_tool_expected{tool=\"worker\"} 1",
            "unwedge_tool_run_ok{tool=\"verify\"} 1",
        ] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
    }
}

host_test! {
    fn each_fault_is_a_row_and_its_command_mends_it(
        host, needs "/usr/bin/prometheus-node-exporter", needs "/usr/bin/prometheus"
    ) {
        furnish(&host);
        // what is done to the host, the row that says so, and how bad that is
        for (fault, check, subject, grade) in [
            ("rm /usr/local/bin/unwedge-jobs", "installed", "/usr/local/bin/unwedge-jobs", "fault"),
            ("echo >>/usr/local/lib/systemd/system/unwedge-watch.service", "installed", "/usr/local/lib/systemd/system/unwedge-watch.service", "fault"),
            ("printf '[Service]\\nNice=1\\n' >/etc/systemd/system/unwedge-jobs.service.d/x.conf", "units-read", "jobs", "warn"),
            ("echo 'Nice=1' >>/etc/systemd/system/worker.service", "units-read", "worker.service", "warn"),
            ("systemctl stop unwedge-mounts.timer", "switched-on", "mounts", "fault"),
            ("systemctl stop unwedge-watch", "switched-on", "watch", "fault"),
            ("systemctl disable --quiet --now unwedge-jobs.timer", "switched-on", "jobs", "warn"),
            ("systemctl disable --quiet unwedge-jobs.timer", "switched-on", "jobs", "warn"),
            ("echo stop >/etc/unwedge/sentinels/HALT", "halt", "", "warn"),
            ("unwedge hold set mounts --for 1h --because test >/dev/null", "holds", "mounts", "warn"),
            ("chmod 666 /etc/unwedge/sentinels/worker", "sentinels", "worker", "fault"),
            ("unwedge sentinel disarm mounts >/dev/null", "sentinels", "mounts", "warn"),
            ("echo x >>/var/lib/unwedge/worker.json", "records", "worker", "fault"),
            ("chmod 755 /var/lib/metrics", "metrics-directory", "/var/lib/metrics", "fault"),
            ("echo x >>/var/lib/metrics/unwedge_mounts.prom", "metrics", "mounts", "fault"),
            ("touch /run/not-synchronised", "clock", "", "warn"),
            ("sed -i '/alert: UnwedgeDrill/s/Drill/Other/' /etc/prometheus/unwedge.rules.yml; systemctl reload prometheus", "alert-rules", "http://127.0.0.1:9090", "fault"),
            ("echo Nonsense=1 >>/usr/local/lib/systemd/system/unwedge-jobs.service", "units-verified", "", "fault"),
            ("rm /var/lib/metrics/unwedge_jobs.prom", "metrics", "jobs", "warn"),
            ("cp /var/lib/unwedge/mounts.json /run/kept; echo x >>/var/lib/unwedge/mounts.json; systemctl start unwedge-mounts.service 2>/dev/null || :; cp /run/kept /var/lib/unwedge/mounts.json", "last-result", "mounts", "fault"),
            ("mkdir -p /etc/systemd/system/unwedge-mounts.service.d; printf '[Service]\\nPrivateTmp=yes\\n' >/etc/systemd/system/unwedge-mounts.service.d/x.conf; systemctl daemon-reload", "host-namespace", "mounts", "fault"),
            ("rm /etc/systemd/system/worker.service.d/50-unwedge-worker-after-binds.conf; systemctl daemon-reload", "worker-unit", "worker.service", "warn"),
            ("mkdir -p /etc/systemd/system/worker.service.d; printf '[Service]\\nTimeoutStopSec=200\\n' >/etc/systemd/system/worker.service.d/10-slow.conf; systemctl daemon-reload", "worker-unit", "worker.service", "warn"),
            ("printf '[Unit]\\nBindsTo=storagebox.service\\n' >/etc/systemd/system/worker.service.d/10-bound.conf; systemctl daemon-reload", "worker-unit", "worker.service", "warn"),
            ("mkdir -p /etc/systemd/system/unwedge-watch.service.d; printf '[Service]\\nEnvironment=UNWEDGE__PROBE__TIMEOUT=3s\\n' >/etc/systemd/system/unwedge-watch.service.d/x.conf; systemctl daemon-reload; systemctl restart unwedge-watch; rm /etc/systemd/system/unwedge-watch.service.d/x.conf; systemctl daemon-reload; touch -d '-1 day' /etc/unwedge /etc/unwedge/unwedge.toml; until grep -q config /var/lib/metrics/unwedge_watch.prom; do sleep 0.1; done", "old-config", "watch", "warn"),
            ("printf x >>/opt/unwedge/unwedge-watch; cp --remove-destination /opt/unwedge/unwedge-watch /usr/local/bin/", "old-code", "watch", "warn"),
            // last: what was rehearsed was another configuration
            ("sed -i 's/^\\[mounts\\]/[mounts]\\ndeadline = \"5m\"/' /etc/unwedge/unwedge.toml", "units-fit", "/etc/systemd/system/unwedge-mounts.service.d/50-unwedge-settings.conf", "fault"),
        ] {
            host.ok(fault);
            let seen = doctor(&host).1;
            let row = seen.iter().find(|row| row["check"] == check && row["subject"] == subject && row["grade"] == grade);
            let row = row.unwrap_or_else(|| panic!("{fault}: no row {check} {subject}: {seen:#?}"));
            let command = row["command"].as_str().unwrap_or_else(|| panic!("{row}"));
            // the programs beside it are those that are installed from
            let command = if command == "unwedge install" { "/opt/unwedge/unwedge install" } else { command };
            host.ok(&format!("{command} >/dev/null"));
            let start = std::time::Instant::now();
            loop {
                let seen = doctor(&host).1;
                let left: Vec<&Value> = seen.iter().filter(|row| row["check"] == check).collect();
                if left.is_empty() {
                    break;
                }
                assert!(start.elapsed().as_secs() < 20, "{fault}: `{command}` does not mend it: {left:#?}\n{}", host.story());
            }
        }
    }
}

host_test! {
    fn a_line_that_the_configuration_knows_is_one_counted_row(
        host, needs "/usr/bin/prometheus-node-exporter", needs "/usr/bin/prometheus"
    ) {
        furnish(&host);
        assert_eq!(doctor(&host).1, Vec::<Value>::new());
        for user in ["u1", "u2"] {
            host.ok(&format!("systemd-run --quiet --wait --unit=app --description=app echo 'write: quota of {user} exceeded'; systemctl stop prometheus"));
        }
        let (code, rows) = doctor(&host);
        let row = rows.iter().find(|row| row["check"] == "patterns").unwrap_or_else(|| panic!("{rows:#?}"));
        assert_eq!((code, &row["subject"], &row["command"]), (Some(2), &"app.service".into(), &"box-quota show".into()));
        assert_eq!(row["evidence"], "the box is full: 2 lines in 10 min");
        // and a Prometheus that does not answer is nothing that is known
        assert!(rows.iter().any(|row| row["check"] == "alert-rules" && row["grade"] == "unknown"), "{rows:#?}");
    }
}

host_test! {
    fn a_cause_is_shown_once_and_its_consequences_are_not(
        host, needs "/usr/bin/prometheus-node-exporter", needs "/usr/bin/prometheus"
    ) {
        furnish(&host);
        host.ok("echo nonsense >>/etc/unwedge/unwedge.toml; systemctl start unwedge-mounts.service 2>/dev/null || :");
        let shown = host.bash("unwedge doctor");
        assert_eq!(shown.code, Some(2), "{shown:?}");
        let first = shown.stdout.lines().next().unwrap_or_default();
        assert!(first.starts_with("fault    config") && shown.stdout.contains("$ unwedge config check"), "{}", shown.stdout);
        assert!(!shown.stdout.contains("last-result"), "{}", shown.stdout);
        assert!(shown.stdout.contains("that follow from these are not shown"), "{}", shown.stdout);
        let (_, rows) = doctor(&host);
        assert!(rows.iter().any(|row| row["check"] == "last-result" && row["consequence"] == true), "{rows:#?}");
    }
}

lab_test! {
    fn without_systemd_nothing_of_it_is_ok(lab) {
        let lab: Lab = lab;
        lab.configure("", "[worker]\nunit = \"w.service\"\n");
        let text = std::fs::read_to_string(&lab.config).unwrap().replace("services = \"process\"\n", "");
        std::fs::write(&lab.config, text).unwrap();
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_verify-ops"));
        let ran = Command::new(program).arg("--config").arg(&lab.config).arg("--json").output().unwrap();
        let said: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_ne!(ran.status.code(), Some(0));
        let rows = said["rows"].as_array().unwrap();
        let of_systemd = ["systemd", "switched-on", "last-run", "last-result", "units-read", "host-namespace"];
        let ok: Vec<&Value> = rows.iter().filter(|row| of_systemd.contains(&row["check"].as_str().unwrap()) && row["grade"] == "ok").collect();
        assert!(ok.is_empty(), "{ok:#?}");
        assert!(rows.iter().any(|row| row["check"] == "systemd" && row["grade"] == "unknown"), "{said:#}");
    }
}
