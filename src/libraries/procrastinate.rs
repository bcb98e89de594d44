//! Procrastinate. A row has no time of its start and none of when it was put in; its events have both. Of its versions
//! nothing tells but the functions that each brought.

use std::time::Duration;

use super::{Library, Relation, Rescue, Row, Taken, Version, Whole};

/// Of each lock the one that comes first, where its time is still to come: the others wait for it. Since 3.3 the priority goes
/// first, which the function says that fetches jobs; before that the number alone.
const PARKED: &str = "parked AS MATERIALIZED (SELECT id, lock FROM (SELECT DISTINCT ON (lock) id, lock, scheduled_at \
    FROM {schema}.procrastinate_jobs WHERE status = 'todo' AND lock IN \
        (SELECT lock FROM {schema}.procrastinate_jobs WHERE status = 'todo' AND scheduled_at > now() AND lock IS NOT NULL) \
    ORDER BY lock, CASE WHEN (SELECT strpos(prosrc, 'other_jobs.priority') > 0 FROM pg_proc \
        WHERE oid = to_regproc('{schema}.procrastinate_fetch_job_v2')) THEN priority END DESC, id) AS h WHERE scheduled_at > now())";

/// Whether none of the same lock is at work, nor one ahead of it whose time is still to come. It is asked once, not for each row.
macro_rules! unlocked {
    () => {
        "(lock IS NULL OR (lock NOT IN (SELECT lock FROM {schema}.procrastinate_jobs WHERE status = 'doing' AND lock IS NOT NULL) \
         AND (lock NOT IN (SELECT lock FROM parked) OR id IN (SELECT id FROM parked))))"
    };
}

/// How it is read. The version is that of the function that fetches jobs: the second came with 3.1, and workers' heartbeats
/// with it.
pub const LIBRARY: Library = Library {
    name: "procrastinate",
    called: "Procrastinate",
    schema: "public",
    makes: "procrastinate schema --read | PGOPTIONS='-c search_path={schema}' psql \"$DATABASE_URL\"",
    reads: &[
        Relation {
            name: "procrastinate_jobs",
            columns: &[
                "id",
                "queue_name",
                "status",
                "priority",
                "scheduled_at",
                "attempts",
                "worker_id",
                "lock",
            ],
            shown: &["args"],
            unless: None,
            parts: &[],
        },
        Relation::of("procrastinate_workers", &["id", "last_heartbeat"]),
        Relation::of("procrastinate_events", &["job_id", "type", "at"]),
    ],
    newer: &[],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.procrastinate_jobs') IS NULL THEN NULL \
              WHEN to_regproc('{schema}.procrastinate_fetch_job_v3') IS NOT NULL OR EXISTS (SELECT 1 FROM pg_enum \
              WHERE enumtypid = to_regtype('{schema}.procrastinate_job_status') AND enumlabel NOT IN \
              ('todo', 'doing', 'succeeded', 'failed', 'cancelled', 'aborting', 'aborted')) THEN 3 \
              WHEN to_regproc('{schema}.procrastinate_fetch_job_v2') IS NOT NULL THEN 2 ELSE 1 END",
        from: 2,
        to: 2,
        columns: &[
            "abort_requested",
            "args",
            "at",
            "attempts",
            "id",
            "job_id",
            "last_heartbeat",
            "lock",
            "priority",
            "queue_name",
            "queueing_lock",
            "scheduled_at",
            "status",
            "task_name",
            "type",
            "worker_id",
        ],
        older: "update procrastinate to 3.1 or later, and apply with psql what is new in the directory that this names: procrastinate schema --migrations-path",
        cut: None,
        unsaid: None,
    },
    parts: None,
    from: "{schema}.procrastinate_jobs j",
    ahead: Some(PARKED),
    // in this form the index of locks serves it, and no other has these rows. `aborting` is none of them: 3.0 made each such row
    // `doing`, none of its functions since takes, ends or retries one, and its enum keeps the word as one that is not used
    running: "status = 'doing'",
    waiting: "status = 'todo'",
    among: None,
    dead: Some("SELECT count(*) FROM {schema}.procrastinate_jobs WHERE status = 'failed'"),
    whole: Some(Whole { name: "procrastinate_jobs", unless: &[] }),
    utc: false,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority DESC, id",
        lane: "queue_name",
        arguments: Some("args"),
        started: "(SELECT max(at) FROM {schema}.procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started')",
        until: "scheduled_at",
        // one of the same lock is at work, or comes first
        held: concat!("NOT ", unlocked!()),
        again: "attempts > 0",
        tries: "attempts",
        since: "scheduled_at",
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.procrastinate_workers w WHERE w.id = j.worker_id AND w.last_heartbeat >= now() - interval '30 s')",
    },
    sorted: None,
    tried: None,
    oldest: Some(concat!(
        "SELECT least((SELECT min(scheduled_at) FROM {schema}.procrastinate_jobs WHERE status = 'todo' AND scheduled_at <= now() AND scheduled_at > 'epoch' AND ",
        unlocked!(),
        "), (SELECT min(at) FROM {schema}.procrastinate_events WHERE job_id = \
         (SELECT min(id) FROM {schema}.procrastinate_jobs WHERE status = 'todo' AND scheduled_at IS NULL AND ",
        unlocked!(),
        ")))"
    )),
    indexes: &[
        &["procrastinate_jobs_queueing_lock_idx_v1"],
        &["procrastinate_jobs_lock_idx_v1"],
        &["procrastinate_events_job_id_fkey_v1"],
    ],
    rescue: Rescue {
        by: "a task of the application's that calls retry_job for get_stalled_jobs, where there is one,",
        taken: Taken::AfterSilence(Duration::from_secs(30)),
    },
    unknown: "how many failed for good, where there are more than 5 million rows; and whether its workers are given another \
              stalled_worker_timeout than 30 s: a job counts as stale after those. Of a lock one job is taken at a time: where the first \
              could be, the others count as some that could be taken, too",
};
