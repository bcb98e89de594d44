//! From the death of storage under a queue of jobs to the first job that writes again, on a host with a real
//! systemd, sshfs and PostgreSQL, as the test of the incident sets it up: woken by the watch, and by the timers
//! as they ship. And from the death of the worker alone to its next claim.

use std::time::Duration;

use crate::incident::scene;
use crate::support::host::{Host, shipped};
use crate::{median, ms, note, row};

/// How often each is measured.
const RUNS: usize = 10;
/// How often the death of the worker alone is measured, idle and at work: each takes up to four minutes.
const RUNS_ALONE: usize = 3;
/// Ten times the period of the timers, and what comes on top.
const TTL: Duration = Duration::from_secs(3_600);

/// From the kill of sshfs until a job has written to the storage; microseconds.
const MEASURE: &[u8] = b"#!/bin/bash
written() { cat /srv/remote/jobs/*/* 2>/dev/null | wc -c; }
from=$EPOCHREALTIME; kill -KILL $(systemctl show -P MainPID storagebox.service)
sleep 0.1; was=$(written); until [ $(written) -gt $was ]; do sleep 0.02; done
to=$EPOCHREALTIME; echo $((${to/./} - ${from/./})) >/run/took
";

/// From the kill of the worker until it claims again; microseconds. Whether it is at work or idle then is the
/// argument: what has been done is to be done again.
const MEASURE_ALONE: &[u8] = b"#!/bin/bash
sql \"UPDATE jobs SET status = '$1', not_before = NULL\"; rm -rf /srv/remote/jobs/*/*; systemctl start worker
[ $1 = done ] || until test -s /srv/remote/jobs/1/part; do sleep 0.01; done
sleep 0.3; tried() { sql 'SELECT sum(tries) FROM jobs'; }
from=$EPOCHREALTIME; systemctl kill -s KILL worker; while systemctl is-active -q worker; do sleep 0.01; done
sql \"UPDATE jobs SET status = 'queued' WHERE status = 'done'\"
was=$(tried); until [ $(tried) -gt $was ]; do sleep 0.1; done
to=$EPOCHREALTIME; echo $((${to/./} - ${from/./})) >/run/took
";

/// All.
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
    alone(&host, "idle", "done");
    alone(&host, "at work", "queued");
}

fn alone(host: &Host, how: &str, jobs: &str) {
    let mut times = Vec::new();
    host.put("/usr/local/bin/measure", MEASURE_ALONE, "755");
    for nth in 1..=RUNS_ALONE {
        note(&format!("the worker dies, {how}, {nth} of {RUNS_ALONE} ..."));
        times.push(measured(host, jobs));
    }
    let what = format!(
        "the worker alone is killed, {how}, its timer as it ships: from the kill to its next claim"
    );
    told(&what, times, "5 min");
}

/// Runs what measures in the background, because it may take longer than one command may.
fn measured(host: &Host, argument: &str) -> Duration {
    host.ok(&format!(
        "rm -f /run/took; systemd-run --quiet --collect --unit=measured /usr/local/bin/measure {argument}"
    ));
    let us = (0..12).find_map(|_| {
        let wait =
            "timeout 25 bash -c 'until test -s /run/took; do sleep 0.1; done'; cat /run/took";
        host.bash(wait).stdout.trim().parse().ok()
    });
    Duration::from_micros(us.unwrap())
}

fn told(what: &str, times: Vec<Duration>, target: &str) {
    let worst = *times.iter().max().unwrap();
    row(what, &format!("{}, worst {}", ms(median(times)), ms(worst)), "", "", target);
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
        host.put("/usr/local/bin/measure", MEASURE, "755");
        times.push(measured(host, ""));
        host.ok("until ! systemctl is-active -q unwedge-mounts.service; do sleep 0.05; done
             systemctl reset-failed storagebox.service worker.service 2>/dev/null || :");
    }
    let what = format!(
        "storage dies under a running job, {how}: from the kill to a job that writes again"
    );
    told(&what, times, target);
}
