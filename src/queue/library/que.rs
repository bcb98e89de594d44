//! Que. No row says that it is at work: its worker's connection holds an advisory lock of the job's number, which goes with
//! the connection. A worker that dies leaves no row that runs.

use std::time::Duration;

use super::{Library, Rescue, Row, Taken, Version};

/// How it is read. The version is what its migrator wrote as a comment of its table.
pub const LIBRARY: Library = Library {
    name: "que",
    called: "Que",
    schema: "public",
    reads: &["que_jobs", "que_lockers"],
    version: Version {
        // none where the SQL was applied by hand: COMMENT ON TABLE que_jobs IS '7' says it
        // a standby shows none of the locks by which a job is at work: nobody would be at any
        ask: "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE obj_description(to_regclass('{schema}.que_jobs'), 'pg_class') END",
        from: 5,
        to: 7,
        columns: &[],
        older: "update Que, and run its migrations",
        unsaid: Some(
            "its comment is lost, or its SQL was applied by hand; as its owner: COMMENT ON TABLE {schema}.que_jobs IS '7'; for the version that its migrations brought",
        ),
    },
    parts: None,
    from: "{schema}.que_jobs j LEFT JOIN (SELECT (classid::bigint << 32) | objid::bigint AS locked, pid FROM pg_locks \
           WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) l ON l.locked = j.id",
    running: "locked IS NOT NULL AND finished_at IS NULL AND expired_at IS NULL",
    waiting: "locked IS NULL AND finished_at IS NULL AND expired_at IS NULL",
    dead: Some(
        "SELECT count(*) FROM {schema}.que_jobs WHERE expired_at IS NOT NULL AND finished_at IS NULL",
    ),
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, run_at, id",
        lane: "queue",
        // keywords came with version 6
        arguments: Some("jsonb_build_object('args', args, 'kwargs', to_jsonb(j)->'kwargs')"),
        started: "NULL::timestamptz",
        until: "run_at",
        held: "false",
        again: "error_count > 0",
        tries: "error_count",
        since: "run_at",
        // held by a connection that is no worker's
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.que_lockers q WHERE q.pid = l.pid)",
    },
    oldest: None,
    indexes: &[&["que_poll_idx"]],
    rescue: Rescue {
        by: "PostgreSQL, with the connection,",
        taken: Taken::AfterSilence(Duration::ZERO),
    },
    unknown: "when a job was started; and which jobs are begun: what a worker has fetched ahead is locked as well, and counts as \
              running",
};
