//! Solid Queue. How a job stands is said by which table has a row for it. Its times are UTC without a zone.

use std::time::Duration;

use super::{Library, Relation, Rescue, Row, Taken, Version};

/// How often a job was tried stands in the text that it was put in with, behind what is its own: the last of that name counts. No
/// JSON is made of it: PostgreSQL's refuses what Ruby's allows, and takes four times as long. What looks from the end came with
/// PostgreSQL 14.
macro_rules! tried {
    ($arguments:literal) => {
        concat!(
            "coalesce(substring(CASE WHEN (SELECT current_setting('server_version_num')::int >= 140000) \
             THEN split_part(",
            $arguments,
            ", '\"executions\":', -1) ELSE substring(",
            $arguments,
            " from '.*\"executions\":(.*)') END from '^ *([0-9]+)')::int, 0)"
        )
    };
}

/// The keys that let nobody in; one whose time is over is taken away.
macro_rules! closed {
    () => {
        "SELECT key FROM {schema}.solid_queue_semaphores WHERE value <= 0 AND expires_at > {now}"
    };
}

/// How it is read. The version is that of its schema, which has not changed since 1.0; a later one may tie a job to its process
/// by another column, and by what is read here nobody would be at any.
pub const LIBRARY: Library = Library {
    name: "solid-queue",
    called: "Solid Queue",
    schema: "public",
    makes: "in its application: bin/rails solid_queue:install && bin/rails db:prepare",
    reads: &[
        Relation::of("solid_queue_jobs", &["id", "queue_name", "arguments", "finished_at"]),
        Relation::of(
            "solid_queue_ready_executions",
            &["job_id", "queue_name", "priority", "created_at"],
        ),
        Relation::of("solid_queue_claimed_executions", &["job_id", "process_id", "created_at"]),
        Relation::of(
            "solid_queue_scheduled_executions",
            &["job_id", "queue_name", "priority", "scheduled_at"],
        ),
        Relation::of(
            "solid_queue_blocked_executions",
            &["job_id", "queue_name", "priority", "concurrency_key", "expires_at"],
        ),
        Relation::of("solid_queue_semaphores", &["key", "value", "expires_at"]),
        Relation::of("solid_queue_failed_executions", &["job_id"]),
        Relation::of("solid_queue_pauses", &["queue_name"]),
        Relation::of("solid_queue_processes", &["id", "last_heartbeat_at"]),
    ],
    newer: &[],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.solid_queue_jobs') IS NULL THEN NULL \
              WHEN to_regclass('{schema}.solid_queue_processes') IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_attribute \
              WHERE attrelid = to_regclass('{schema}.solid_queue_processes') AND attname = 'name' AND NOT attisdropped) THEN 0 \
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
            "key",
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
            "value",
        ],
        // from 0.8 on it brings no migrations
        older: "update Solid Queue to 0.6 first, and in its application: bin/rails solid_queue:install:migrations && bin/rails db:migrate, \
                or, where the queue has a database of its own, with its name in config/database.yml: \
                bin/rails solid_queue:install:migrations DATABASE=NAME && bin/rails db:migrate; then to 1.0 or later",
        cut: None,
        unsaid: None,
    },
    parts: None,
    // of each branch only what is asked of it is read, and what only the job tells only of those that are shown; the types of
    // a column are one in all branches, or the order of their indexes is lost
    from: "(SELECT job_id, 'claimed' AS stand, NULL::varchar AS queue_name, 0 AS priority, created_at AS began, NULL::timestamp AS due, process_id, NULL::varchar AS lock \
           FROM {schema}.solid_queue_claimed_executions \
           UNION ALL SELECT job_id, 'ready', queue_name, priority, NULL, created_at, NULL, NULL FROM {schema}.solid_queue_ready_executions \
           UNION ALL SELECT job_id, 'scheduled', queue_name, priority, NULL, scheduled_at, NULL, NULL FROM {schema}.solid_queue_scheduled_executions \
           UNION ALL SELECT job_id, 'blocked', queue_name, priority, NULL, expires_at, NULL, concurrency_key FROM {schema}.solid_queue_blocked_executions) e",
    ahead: None,
    running: "stand = 'claimed'",
    waiting: "stand IN ('ready', 'scheduled', 'blocked')",
    among: None,
    dead: Some("SELECT count(*) FROM {schema}.solid_queue_failed_executions"),
    whole: None,
    utc: true,
    row: Row {
        id: "job_id::text",
        nth: "job_id",
        turn: "priority, job_id",
        lane: "coalesce(queue_name, (SELECT j.queue_name FROM {schema}.solid_queue_jobs j WHERE j.id = job_id))",
        arguments: Some(
            // an escaped NUL is no text of a database
            "(SELECT CASE WHEN strpos(j.arguments, '\\u0000') = 0 THEN j.arguments::jsonb END FROM {schema}.solid_queue_jobs j WHERE j.id = job_id)",
        ),
        started: "began",
        // of one that is ready nobody asks since when
        until: "CASE WHEN stand <> 'ready' THEN due END",
        // one that is blocked is let go when the last before it is done, and by whichever dispatcher starts once its time is
        // over: unless another of its key was let in since
        held: concat!(
            "queue_name IN (SELECT queue_name FROM {schema}.solid_queue_pauses) OR (stand = 'blocked' AND lock IN (",
            closed!(),
            "))"
        ),
        again: concat!(
            "coalesce((SELECT ",
            tried!("j.arguments"),
            " FROM {schema}.solid_queue_jobs j WHERE j.id = job_id), 0) > 0"
        ),
        tries: concat!(
            "coalesce((SELECT ",
            tried!("j.arguments"),
            " FROM {schema}.solid_queue_jobs j WHERE j.id = job_id), 0)"
        ),
        since: "due",
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.solid_queue_processes p WHERE p.id = e.process_id \
                AND p.last_heartbeat_at >= {now} - interval '5 min')",
    },
    sorted: None,
    // by the index of the unfinished, as a job that is there is; looking each up takes five times as long
    tried: Some(concat!(
        "SELECT count(*) FROM (SELECT job_id, queue_name FROM {schema}.solid_queue_ready_executions \
         UNION ALL SELECT job_id, queue_name FROM {schema}.solid_queue_scheduled_executions WHERE scheduled_at <= {now} \
         UNION ALL SELECT job_id, queue_name FROM {schema}.solid_queue_blocked_executions WHERE expires_at <= {now} AND concurrency_key NOT IN (",
        closed!(),
        ")) e \
         JOIN {schema}.solid_queue_jobs j ON j.id = e.job_id AND j.finished_at IS NULL \
         WHERE e.queue_name NOT IN (SELECT queue_name FROM {schema}.solid_queue_pauses) AND ",
        tried!("j.arguments"),
        " > 0"
    )),
    oldest: None,
    indexes: &[&["index_solid_queue_jobs_on_finished_at"]],
    rescue: Rescue {
        by: "Solid Queue's supervisor, which lets them fail,",
        taken: Taken::AfterSilence(Duration::from_secs(300)),
    },
    unknown: "where a job writes whose arguments have an escaped NUL; in which order the queues of a worker are served; and whether \
              process_alive_threshold is another than 5 min: a job counts as stale after those. A row of a worker that is gone fails for good: \
              somebody has to have it tried again",
};
