//! Drills and the canary: what is pretended changes nothing, and the probe is tried on what is really dead.

use std::fs;

use crate::support::Lab;
use crate::support::host::{program, shipped};
use crate::support::lab::verdict;

/// Every file of the lab with its content, and the mounts.
fn everything(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![("mounts".to_owned(), fs::read("/proc/self/mountinfo").unwrap())];
    let mut dirs = vec![lab.dir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            if path.starts_with(lab.root("")) {
                continue;
            }
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(path),
                kind if kind.is_file() => {
                    found.push((path.display().to_string(), fs::read(&path).unwrap()));
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

lab_test! {
    fn a_drill_shows_what_would_be_done_and_does_nothing_of_it(lab) {
        let base = lab.root("box");
        let _fault = lab.fault(&base, &[]);
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        // confirmations and caps are those of the real rounds: a drill goes by none
        let text = lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot);
        lab.configure("confirm.dead = { runs = 50, age = \"1h\" }\nbudget.per_day = 1", &text);
        lab.arm();
        lab.apply();
        let before = everything(&lab);
        for (word, step) in [("dead", "detach"), ("hung", "abort-connection"), ("absent", "remount")] {
            let said = lab.unwedge(&["drill", "mount", &base.display().to_string(), "--as", word]);
            assert_eq!(said.code, Some(0), "{said:?}");
            let line = said.stdout.lines().find(|line| line.contains(step) && line.contains(&base.display().to_string()));
            assert!(line.is_some(), "{step}: {}", said.stdout);
            assert!(said.stdout.contains("nothing is done, and nothing remembered"), "{}", said.stdout);
            assert!(word == "absent" || said.stdout.contains("rebind"), "its bind goes along: {}", said.stdout);
        }
        assert_eq!(everything(&lab), before);
        assert_eq!(verdict(&lab.json(&[]), &base), "live");
        for (wrong, code) in [(&["drill", "mount", "/nowhere"][..], 1), (&["drill", "mount", "/nowhere", "--as", "odd"], 2)] {
            assert_eq!(lab.unwedge(wrong).code, Some(code), "{wrong:?}");
        }
    }
}

host_test! {
    fn a_drilled_alert_goes_with_whoever_drills(host) {
        let file = "/var/lib/metrics/unwedge_drill.prom";
        host.ok(&format!("unwedge drill alert --dry-run | grep -q 'would write {file}'; ! test -e {file}"));
        for end in ["TERM", "INT"] {
            host.ok(&format!("systemd-run --quiet --unit=drill-{end} unwedge drill alert --for 1h; until test -e {file}; do sleep 0.02; done
                until=$(awk '/^unwedge_drill_until_timestamp_seconds/ {{printf \"%d\", $2}}' {file}); now=$(date +%s)
                test $((until - now)) -gt 3590 -a $((until - now)) -le 3600
                systemctl kill -s {end} drill-{end}; while test -e {file}; do sleep 0.02; done"));
        }
        host.ok(&format!("unwedge drill alert --for 300ms >/dev/null; ! test -e {file}"));
        for wrong in ["0s", "25h", "soon"] {
            assert_eq!(host.bash(&format!("unwedge drill alert --for {wrong}")).code, Some(2), "{wrong}");
        }
    }
}

host_test! {
    fn the_canary_finds_the_probe_right_and_what_cannot_be_tried_is_not_right(host) {
        host.put("/usr/bin/unwedge-canary", &program("unwedge-canary"), "755");
        host.put("/etc/systemd/system/unwedge-canary.service", &shipped("unwedge-canary.service"), "644");
        host.put("/etc/systemd/system/unwedge-canary.service.d/paths.conf", b"[Service]\nReadWritePaths=/var/lib/metrics\n", "644");
        let table = "cat /proc/self/mountinfo; ls -A /run | grep -v '^systemd\\|^unwedge'";
        let before = host.ok(&format!("systemctl daemon-reload; {table}"));
        host.ok("systemctl start unwedge-canary.service");
        let metrics = "/var/lib/metrics/unwedge_canary.prom";
        host.ok(&format!("grep -qx 'unwedge_canary_ok 1' {metrics}; grep -qx 'unwedge_tool_run_ok{{tool=\"canary\"}} 1' {metrics}"));
        assert_eq!(host.ok(table), before, "the host sees something of it");
        assert_eq!(host.ok("unwedge-canary"), "the probe calls a dead mount dead and a live one live");
        // no mount can be made: nothing is known of the probe
        host.ok("mv /dev/fuse /dev/away");
        let failed = host.bash("systemctl start unwedge-canary.service; unwedge-canary");
        assert_eq!(failed.code, Some(1), "{failed:?}");
        host.ok(&format!("mv /dev/away /dev/fuse; grep -qx 'unwedge_canary_ok 0' {metrics}"));
    }
}
