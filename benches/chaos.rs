//! What a break around a runner costs: jobs a second before it and after it is over, five times each, on a throw-away host
//! with PostgreSQL; and at the end whether each job was done, and once.

use std::time::{Duration, Instant};

use crate::runner::{furnish_with_postgres, script};
use crate::support::host::{Host, program};
use crate::{note, row};

/// How often each.
const ROUNDS: usize = 5;
/// How long a rate is measured.
const WINDOW: Duration = Duration::from_secs(6);
/// How long it may take until jobs are done again.
const PATIENCE: Duration = Duration::from_secs(90);
const JOBS: usize = 30_000;

/// What is broken, and how.
const BREAKS: [(&str, &str); 5] = [
    ("the server restarted", "systemctl restart lab-pg"),
    (
        "its backends killed",
        "sql \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'unwedge'\" >/dev/null",
    ),
    (
        "300 idle connections",
        // they are there, and one of them asks now and then
        "pkill -x pgbench || :; echo 'SELECT 1' >/run/one.sql; chmod 644 /run/one.sql
         (setsid setpriv --reuid=postgres --regid=postgres --init-groups -- \
             /usr/lib/postgresql/15/bin/pgbench -h /run/pg -n -c 300 -T 900 -R 1 -f /run/one.sql app >/dev/null 2>&1 &)
         timeout 20 bash -c 'until test $(sql \"SELECT count(*) FROM pg_stat_activity\") -gt 300; do sleep 0.2; done'",
    ),
    ("the runner killed", "systemctl kill -s KILL unwedge-runner"),
    (
        "the runner killed again and again",
        "for n in 1 2 3 4 5; do systemctl kill -s KILL unwedge-runner || :; sleep 0.3; rm -f /var/lib/unwedge/queue/runner.json; systemctl restart unwedge-runner; done",
    ),
];

/// All of it.
pub fn rows() {
    let needs = ["/usr/lib/postgresql/15/bin/postgres", "/usr/bin/psql"];
    let Some(host) = Host::boot_for("figures", &needs, Duration::from_secs(3600)) else {
        note("chaos is left out: no throw-away host with PostgreSQL can be booted here");
        return;
    };
    let kind = script("concurrency = 4", "sleep 0.05; cp $1 $2");
    furnish_with_postgres(&host, &[("t", &kind)], "slots = 4\npoll = \"200ms\"");
    host.put("/usr/local/bin/sql", crate::queue_host::SQL.as_bytes(), "755");
    host.put("/usr/bin/unwedge-runner", &program("unwedge-runner"), "755");
    host.ok("sql 'ALTER SYSTEM SET max_connections = 400'; systemctl restart lab-pg
         timeout 20 bash -c 'until /usr/lib/postgresql/15/bin/pg_isready -q -h /run/pg; do sleep 0.1; done'");
    for from in (0..JOBS).step_by(2000) {
        host.ok(&format!(
            "cd /srv/in; for n in $(seq {} {}); do echo $n >$n; done; unwedge jobs submit t $(seq {0} {1}) >/dev/null",
            from + 1,
            from + 2000
        ));
    }
    host.ok("systemctl start unwedge-runner");
    for (what, how) in BREAKS {
        let (mut ratios, mut back) = (Vec::new(), Vec::new());
        for nth in 1..=ROUNDS {
            note(&format!("{what}, {nth} of {ROUNDS} ..."));
            let before = rate(&host);
            host.ok(how);
            let (was, start) = (done(&host), Instant::now());
            while done(&host) < was + 20 {
                assert!(start.elapsed() < PATIENCE, "{what}: {}", host.story());
                std::thread::sleep(Duration::from_millis(100));
            }
            back.push(start.elapsed());
            let after = rate(&host);
            // a runner that ended was started often, and waits longer each time by itself
            host.ok("rm -f /var/lib/unwedge/queue/runner.json");
            ratios.push(after / before);
        }
        ratios.sort_by(f64::total_cmp);
        row(
            &format!("jobs a second after {what}, {ROUNDS} times"),
            &format!("median {:.2}, worst {:.2}", ratios[ROUNDS / 2], ratios[0]),
            "before it",
            &format!("at work after {:.1} s at most", back.iter().max().unwrap().as_secs_f64()),
            "0.95",
        );
    }
    let counted = |what: &str| host.ok(&format!("sql \"{what}\""));
    let twice = counted(
        "SELECT count(*) - count(DISTINCT job) FROM unwedge_attempts WHERE end_state = 'done'",
    );
    let charged = counted("SELECT sum(failures) + sum(infra_errors) FROM unwedge_jobs");
    let left = counted(
        "SELECT count(*) FROM unwedge_jobs WHERE state IN ('failed', 'quarantined', 'cancelled')",
    );
    row(
        "jobs done twice, charged, or not to be done, after all of that",
        &format!("{twice}, {charged}, {left}"),
        "",
        "",
        "0, 0, 0",
    );
    // how fast it is depends on the machine; this does not
    assert_eq!([twice, charged, left].each_ref().map(|it| it.trim()), ["0"; 3]);
}

fn done(host: &Host) -> usize {
    let mut told = Err(());
    let start = Instant::now();
    // the server may be on its way
    while told.is_err() && start.elapsed() < PATIENCE {
        let said = host.bash("sql \"SELECT count(*) FROM unwedge_jobs WHERE state = 'done'\"");
        told = said.stdout.trim().parse().map_err(|_| ());
    }
    told.unwrap()
}

fn rate(host: &Host) -> f64 {
    let (was, start) = (done(host), Instant::now());
    std::thread::sleep(WINDOW);
    let now = done(host);
    (now - was) as f64 / start.elapsed().as_secs_f64()
}
