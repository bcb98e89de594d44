//! What a reading of a library's queue costs, with 1,000,000 jobs that are done and 50,000 that wait: connecting, its
//! version, and all of it; and which index of the library's it goes by.

use std::time::Instant;

use unwedge::queue::about_library;

use crate::libraries::{ALL, Packages, queue};
use crate::support::postgres::cluster;
use crate::{median, ms, note, row};

/// How often each is read.
const RUNS: usize = 21;

/// Done ones and waiting ones, put in by the library's own table.
fn many(name: &str) -> &'static str {
    match name {
        "graphile-worker" => {
            "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t');
             INSERT INTO graphile_worker._private_jobs (task_id, run_at) SELECT t.id, now() - interval '1 min'
                 FROM graphile_worker._private_tasks t, generate_series(1, 50000)"
        }
        "pg-boss" => {
            "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                 deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
             INSERT INTO pgboss.job (name, state, completed_on) SELECT 't', 'completed', now() FROM generate_series(1, 1000000);
             INSERT INTO pgboss.job (name) SELECT 't' FROM generate_series(1, 50000)"
        }
        "procrastinate" => {
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status) SELECT 'q', 't', 'succeeded' FROM generate_series(1, 1000000);
             INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT 'q', 't' FROM generate_series(1, 50000)"
        }
        "river" => {
            "INSERT INTO river_job (kind, args, state, finalized_at) SELECT 'k', '{}', 'completed', now() FROM generate_series(1, 1000000);
             INSERT INTO river_job (kind, args) SELECT 'k', '{}' FROM generate_series(1, 50000)"
        }
        "oban" => {
            "INSERT INTO oban_jobs (worker, state) SELECT 'k', 'completed' FROM generate_series(1, 1000000);
             INSERT INTO oban_jobs (worker) SELECT 'k' FROM generate_series(1, 50000)"
        }
        "good-job" => {
            "INSERT INTO good_jobs (created_at, updated_at, performed_at, finished_at) SELECT now(), now(), now(), now() FROM generate_series(1, 1000000);
             INSERT INTO good_jobs (created_at, updated_at) SELECT now(), now() FROM generate_series(1, 50000)"
        }
        "que" => {
            "INSERT INTO que_jobs (job_class, job_schema_version, finished_at) SELECT 'k', 1, now() FROM generate_series(1, 1000000);
             INSERT INTO que_jobs (job_class, job_schema_version) SELECT 'k', 1 FROM generate_series(1, 50000)"
        }
        "solid-queue" => {
            "INSERT INTO solid_queue_jobs (queue_name, class_name, arguments, finished_at) SELECT 'q', 'k', '{}', now() FROM generate_series(1, 1000000);
             WITH put AS (INSERT INTO solid_queue_jobs (queue_name, class_name, arguments) SELECT 'q', 'k', '{}' FROM generate_series(1, 50000) RETURNING id)
                 INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at) SELECT id, 'q', now() FROM put"
        }
        "pgmq" => {
            "INSERT INTO pgmq.a_q (msg_id, vt, message) SELECT g, now(), '{}' FROM generate_series(1, 1000000) g;
             INSERT INTO pgmq.q_q (vt, message) SELECT now(), '{}' FROM generate_series(1, 50000)"
        }
        other => panic!("{other}: no rows for it"),
    }
}

/// All of it.
pub fn rows() {
    let (Some(cluster), Some(packages)) = (cluster("figures"), Packages::of("figures")) else {
        note("libraries' queues are left out: no PostgreSQL, or none of their packages");
        return;
    };
    for fixture in &ALL {
        note(&format!("1000000 jobs of {} ...", fixture.name));
        let database = cluster.database();
        (fixture.install)(&packages, &database, fixture.versions[1]);
        database.sql(many(fixture.name));
        database.sql("VACUUM ANALYZE");
        let asked = queue(fixture, &database.url("postgres"));
        let about = about_library(&asked).unwrap();
        let times = (0..RUNS).map(|_| {
            let start = Instant::now();
            assert!(unwedge::queue::look(&asked).known().is_some());
            start.elapsed()
        });
        let named = |all: &std::collections::BTreeSet<String>| {
            all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let whole = match named(&about.whole) {
            none if none.is_empty() => none,
            whole => format!("; as a whole {whole}"),
        };
        let by = format!("{}{whole}", named(&about.indexes));
        row(
            // this one keeps none that are done
            &format!(
                "a reading of {}, 50000 jobs wait and {} are done",
                fixture.name,
                if fixture.name == "graphile-worker" { 0 } else { 1_000_000 }
            ),
            &ms(median(times.collect())),
            &by,
            "",
            "100 ms",
        );
    }
}
