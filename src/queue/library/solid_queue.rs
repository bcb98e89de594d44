//! Solid Queue. How a job stands is said by which table has a row for it. Its times are UTC without a zone.

use std::time::Duration;

use super::{Library, Rescue, Row, Taken, Version};

/// How it is read. The version is that of its schema, which has not changed since 1.0. What comes
/// after 1.5 ties a job to its process by a column of another name, and by what is read here nobody would be at any.
pub const LIBRARY: Library = Library {
    name: "solid-queue",
    called: "Solid Queue",
    schema: "public",
    reads: &[
        "solid_queue_jobs",
        "solid_queue_ready_executions",
        "solid_queue_claimed_executions",
        "solid_queue_scheduled_executions",
        "solid_queue_blocked_executions",
        "solid_queue_failed_executions",
        "solid_queue_processes",
    ],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.solid_queue_jobs') IS NULL THEN NULL \
              WHEN to_regclass('{schema}.solid_queue_blocked_executions') IS NULL OR NOT EXISTS (SELECT 1 FROM pg_attribute \
              WHERE attrelid = to_regclass('{schema}.solid_queue_processes') AND attname = 'name') THEN 0 \
              ELSE 1 END",
        from: 1,
        to: 1,
        columns: &[
            "active_job_id",
            "arguments",
            "class_name",
            "concurrency_key",
            "created_at",
            "error",
            "expires_at",
            "finished_at",
            "hostname",
            "id",
            "job_id",
            "kind",
            "last_heartbeat_at",
            "metadata",
            "name",
            "pid",
            "priority",
            "process_id",
            "queue_name",
            "scheduled_at",
            "supervisor_id",
            "updated_at",
        ],
        older: "update Solid Queue to 1.0 or later, and run its migrations",
        unsaid: None,
    },
    parts: None,
    // of each branch only what is asked of it is read, and what only the job tells only of those that are shown; the types of
    // a column are one in all branches, or the order of their indexes is lost
    from: "(SELECT job_id, 'claimed' AS stand, NULL::varchar AS queue_name, 0 AS priority, created_at AS began, NULL::timestamp AS due, process_id \
           FROM {schema}.solid_queue_claimed_executions \
           UNION ALL SELECT job_id, 'ready', queue_name, priority, NULL, created_at, NULL FROM {schema}.solid_queue_ready_executions \
           UNION ALL SELECT job_id, 'scheduled', queue_name, priority, NULL, scheduled_at, NULL FROM {schema}.solid_queue_scheduled_executions \
           UNION ALL SELECT job_id, 'blocked', queue_name, priority, NULL, NULL, NULL FROM {schema}.solid_queue_blocked_executions) e",
    ahead: None,
    running: "stand = 'claimed'",
    waiting: "stand IN ('ready', 'scheduled', 'blocked')",
    dead: Some("SELECT count(*) FROM {schema}.solid_queue_failed_executions"),
    whole: None,
    utc: true,
    row: Row {
        id: "job_id::text",
        nth: "job_id",
        turn: "priority, job_id",
        lane: "coalesce(queue_name, (SELECT j.queue_name FROM {schema}.solid_queue_jobs j WHERE j.id = job_id))",
        arguments: Some(
            "(SELECT j.arguments::jsonb FROM {schema}.solid_queue_jobs j WHERE j.id = job_id)",
        ),
        started: "began",
        until: "due",
        held: "stand = 'blocked'",
        // how often it was tried stands in what it was put in with
        again: "coalesce((SELECT (j.arguments::jsonb->>'executions')::int FROM {schema}.solid_queue_jobs j WHERE j.id = job_id), 0) > 0",
        tries: "coalesce((SELECT (j.arguments::jsonb->>'executions')::int FROM {schema}.solid_queue_jobs j WHERE j.id = job_id), 0)",
        since: "due",
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.solid_queue_processes p WHERE p.id = e.process_id \
                AND p.last_heartbeat_at >= {now} - interval '5 min')",
    },
    sorted: None,
    // by the index of the unfinished, as a job that is there is; looking each up takes five times as long
    tried: Some(
        "SELECT count(*) FROM (SELECT job_id FROM {schema}.solid_queue_ready_executions WHERE created_at <= {now} \
         UNION ALL SELECT job_id FROM {schema}.solid_queue_scheduled_executions WHERE scheduled_at <= {now}) e \
         JOIN {schema}.solid_queue_jobs j ON j.id = e.job_id AND j.finished_at IS NULL WHERE (j.arguments::jsonb->>'executions')::int > 0",
    ),
    oldest: None,
    indexes: &[],
    rescue: Rescue {
        by: "Solid Queue's supervisor, which lets them fail,",
        taken: Taken::AfterSilence(Duration::from_secs(300)),
    },
    unknown: "whether a queue is paused: its jobs count as some that could be taken. A row of a worker that is gone fails for good: \
              somebody has to have it tried again",
};
