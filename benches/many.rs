//! A queue of our own with a million finished jobs: what a claim costs beside one on an empty queue, what becomes of it
//! while somebody's idle transaction keeps PostgreSQL from clearing up, and how long `status --json` takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use unwedge::config::queue::Queue;
use unwedge::queue::store::Store;

use crate::rivals::{ask, done, enter, hear, put};
use crate::support::postgres::cluster;
use crate::{median, ms, note, ratio, row};

/// Finished jobs.
const MANY: usize = 1_000_000;
/// Jobs that wait for storage.
const CLOSED: usize = 500_000;
/// So many are claimed and acknowledged for one figure.
const SOME: usize = 500;
/// So many while the horizon is held.
const CHURN: usize = 20_000;

/// All of it.
pub fn rows() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    of("SQLite", &file("few.db"), &file("many.db"), |sql| {
        let connection = rusqlite::Connection::open(dir.path().join("many.db")).unwrap();
        connection.execute_batch(sql).unwrap();
    });
    let Some(cluster) = cluster("figures::many") else {
        note("a million jobs in PostgreSQL are left out: none can be started here");
        return;
    };
    let (few, many) = (cluster.database(), cluster.database());
    of("PostgreSQL", &few.url("postgres"), &many.url("postgres"), |sql| many.sql(sql));
    let mut store = open(&many.url("postgres"));
    let fresh = claims(&mut store, MANY + 10_000, SOME);
    let mut holder = many.client();
    holder
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM unwedge_lanes")
        .unwrap();
    claims(&mut store, MANY + 100_000, CHURN);
    let held = claims(&mut store, MANY + 200_000, SOME);
    row(
        &format!(
            "a job claimed and acknowledged, PostgreSQL, {MANY} are done, a transaction idle since {CHURN} jobs ago"
        ),
        &ms(held),
        &format!("before that {}", ms(fresh)),
        &format!("{:.2}", ratio(held, fresh)),
        "2",
    );
    holder.batch_execute("COMMIT").unwrap();
    many.sql("VACUUM unwedge_jobs");
    let after = claims(&mut store, MANY + 300_000, SOME);
    row(
        "the same, the transaction over and a VACUUM later",
        &ms(after),
        &format!("before that {}", ms(fresh)),
        &format!("{:.2}", ratio(after, fresh)),
        "1",
    );
}

fn open(url: &str) -> Store {
    let queue = Queue::at(url, Duration::from_secs(60));
    drop(hear(queue.clone()));
    let mut store = Store::open(&queue).unwrap();
    enter(&mut store, "w");
    store.adopt("w").unwrap();
    store
}

/// How long one takes, the median of so many, which are put in before.
fn claims(store: &mut Store, from: usize, count: usize) -> Duration {
    for at in (0..count).step_by(1000) {
        put(store, from + at, 1000.min(count - at));
    }
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let claimed = store.claim(&ask("w", 1)).unwrap().remove(0);
        store.end(&[done(claimed.token)], "0.1.0", "w").unwrap();
        times.push(start.elapsed());
    }
    median(times)
}

fn of(what: &str, few: &str, many: &str, sql: impl Fn(&str)) {
    let mut small = open(few);
    let mut large = open(many);
    note(&format!("{MANY} finished jobs are made in {what} ..."));
    let rows = "INSERT INTO unwedge_jobs (type, key, state, needs, input, created_ms, not_before_ms, changed_ms, started_ms, finished_ms, tries)";
    let of = |column: &str, from: &str| {
        format!(
            "{rows} SELECT 't', 'old ' || {column}, 'done', '[]', '/in/' || {column}, 1, 0, 1, 1, 1800000000000 + {column}, 1 FROM {from}"
        )
    };
    if what == "SQLite" {
        sql(&format!(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {MANY}) {}; ANALYZE",
            of("x", "n")
        ));
    } else {
        sql(&format!(
            "{}; ANALYZE unwedge_jobs",
            of("x", &format!("generate_series(1, {MANY}) AS x"))
        ));
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for nth in 0..5 {
        without.push(claims(&mut small, nth * SOME, SOME));
        with.push(claims(&mut large, nth * SOME, SOME));
    }
    let (without, with) = (median(without), median(with));
    row(
        &format!("a job claimed and acknowledged, {what}, {MANY} are done"),
        &ms(with),
        &format!("none are done {}", ms(without)),
        &format!("{:.2}", ratio(with, without)),
        "1.1",
    );
    closed(what, &mut large, &sql);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("unwedge.toml");
    // whose word it is that is asked for
    let files = many.strip_prefix("sqlite://").and_then(|path| Path::new(path).parent());
    for of_nobody in files.into_iter().chain([dir.path()]) {
        let done = Command::new("chown").args(["-R", "nobody"]).arg(of_nobody).status();
        assert!(done.is_ok_and(|it| it.success()));
    }
    status(what, &config, many);
}

/// What a claim costs before which many wait whose storage is closed.
fn closed(what: &str, store: &mut Store, sql: impl Fn(&str)) {
    let without = claims(store, MANY * 2, SOME);
    let from = if what == "SQLite" {
        format!(
            "(WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {CLOSED}) SELECT x FROM n)"
        )
    } else {
        format!("generate_series(1, {CLOSED}) AS x")
    };
    sql(&format!(
        "INSERT INTO unwedge_jobs (type, key, state, needs, input, created_ms, not_before_ms, changed_ms)
         SELECT 't', 'closed ' || x, 'pending', '[\"/dead\"]', '/in/' || x, 1, 0, 1 FROM {from}"
    ));
    let with = claims(store, MANY * 3, SOME);
    let start = Instant::now();
    assert_eq!(store.claim(&ask("w", 1)).unwrap(), []);
    let nothing = start.elapsed();
    row(
        &format!(
            "a job claimed and acknowledged, {what}, {CLOSED} wait before it for storage that is closed"
        ),
        &ms(with),
        &format!("without them {}; to learn that there is none {}", ms(without), ms(nothing)),
        &format!("{:.2}", ratio(with, without)),
        "1.1",
    );
    sql("DELETE FROM unwedge_jobs WHERE key LIKE 'closed %'");
}

fn status(what: &str, config: &Path, url: &str) {
    let at = config.parent().unwrap().display();
    let text = format!(
        "[host]\nuser = \"nobody\"\nstate_dir = \"{at}/state\"\nrun_dir = \"{at}/run\"\nsentinel_dir = \"{at}/sentinels\"\n[jobs]\n[queue]\nadapter = \"unwedge\"\nurl = \"{url}\"\n"
    );
    std::fs::write(config, text).unwrap();
    let program = env!("CARGO_BIN_EXE_unwedge");
    let config = config.display().to_string();
    let args = ["--config", &config, "--json", "status"];
    let ran = Command::new(program).args(args).output().unwrap();
    if !String::from_utf8_lossy(&ran.stdout).contains("\"lanes\"") {
        note(&format!("status on {what} says nothing: {ran:?}"));
        return;
    }
    // there is no service manager here, so it ends with an unknown worker, as said
    let timed = |_| {
        let start = Instant::now();
        assert!(Command::new(program).args(args).output().is_ok());
        start.elapsed()
    };
    let times = (0..5).map(timed).collect();
    row(
        &format!("`unwedge status --json`, {what}, {MANY} jobs"),
        &ms(median(times)),
        "",
        "",
        "1 s",
    );
}
