//! From the death of storage under a queue of jobs to the first job that writes again, on a host with a real
//! systemd, sshfs and PostgreSQL, as the test of the incident sets it up: woken by the watch, and by the timers
//! as they ship.

use std::time::Duration;

use crate::incident::scene;
use crate::support::host::{Host, shipped};
use crate::{median, ms, note, row};

/// How often each is measured.
const RUNS: usize = 10;
/// Ten times the period of the timers, and what comes on top.
const TTL: Duration = Duration::from_secs(1_500);

/// From the kill of sshfs until a job has written to the storage; microseconds.
const MEASURE: &[u8] = b"#!/bin/bash
written() { cat /srv/remote/jobs/*/* 2>/dev/null | wc -c; }
from=$EPOCHREALTIME; kill -KILL $(systemctl show -P MainPID storagebox.service)
sleep 0.1; was=$(written); until [ $(written) -gt $was ]; do sleep 0.02; done
to=$EPOCHREALTIME; echo $((${to/./} - ${from/./})) >/run/took
";

/// Both.
pub fn rows() {
    let needs = ["/usr/lib/postgresql/15/bin/postgres", "/usr/bin/psql"];
    let Some(host) = Host::boot_for("figures", &needs, TTL) else {
        note("claiming again is left out: no throw-away host with PostgreSQL can be booted here");
        return;
    };
    scene(&host);
    host.ok("systemctl stop unwedge-mounts.timer");
    // a new one has no starts behind it that would keep it from the next
    again(&host, "by the watch", "systemctl restart unwedge-watch", "10 s");
    for name in ["unwedge-mounts", "unwedge-worker"] {
        let place = format!("/etc/systemd/system/{name}.timer");
        host.ok(&format!("systemctl stop {name}.timer; rm -rf {place}.d"));
        host.put(&place, &shipped(&format!("{name}.timer")), "644");
    }
    host.ok("systemctl stop unwedge-watch; systemctl daemon-reload; systemctl start unwedge-mounts unwedge-worker
         systemctl start unwedge-mounts.timer unwedge-worker.timer");
    again(&host, "by the timers as they ship", ":", "75 s");
}

fn again(host: &Host, how: &str, before: &str, target: &str) {
    let mut times = Vec::new();
    for nth in 1..=RUNS {
        note(&format!("storage dies under a job, {how}, {nth} of {RUNS} ..."));
        host.ok(&format!(
            "{before}; sql \"UPDATE jobs SET status = 'queued', not_before = NULL\"
             systemctl start worker; written() {{ {{ cat /srv/remote/jobs/*/* 2>/dev/null || :; }} | wc -c; }}
             was=$(written); until [ $(written) -gt $was ]; do sleep 0.02; done"
        ));
        // in the background, because it may take longer than one command may
        host.put("/usr/local/bin/measure", MEASURE, "755");
        host.ok(
            "rm -f /run/took; systemd-run --quiet --collect --unit=measured /usr/local/bin/measure",
        );
        let us = (0..5).find_map(|_| {
            let ran = host.bash(
                "timeout 25 bash -c 'until test -s /run/took; do sleep 0.1; done'; cat /run/took",
            );
            ran.stdout.trim().parse().ok()
        });
        times.push(Duration::from_micros(us.unwrap()));
        host.ok("until ! systemctl is-active -q unwedge-mounts.service; do sleep 0.05; done
             systemctl reset-failed storagebox.service worker.service 2>/dev/null || :");
    }
    let worst = *times.iter().max().unwrap();
    row(
        &format!(
            "storage dies under a running job, {how}: from the kill to a job that writes again"
        ),
        &format!("{}, worst {}", ms(median(times)), ms(worst)),
        "",
        "",
        target,
    );
}
