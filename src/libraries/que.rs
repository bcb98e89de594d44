//! Que. No row says that it is at work: its worker's connection holds an advisory lock of the job's number, which goes with
//! the connection. A worker that dies leaves no row that runs.

use std::time::Duration;

use super::{Library, Newer, Relation, Rescue, Row, Sorted, Taken, Unsaid, Version, Whole};

/// Which numbers are locked, and by which connection: asked once, as it is another answer each time.
const LOCKS: &str = "locks AS MATERIALIZED (SELECT (classid::bigint << 32) | objid::bigint AS locked, pid FROM pg_locks \
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// How it is read. The version is what its migrator wrote as a comment of its table.
pub const LIBRARY: Library = Library {
    name: "que",
    called: "Que",
    schema: "public",
    makes: "in its application, with a migration that calls Que.migrate!(version: 7): bin/rails db:migrate",
    reads: &[
        Relation {
            name: "que_jobs",
            columns: &[
                "id",
                "queue",
                "priority",
                "run_at",
                "error_count",
                "finished_at",
                "expired_at",
                "job_schema_version",
            ],
            shown: &["args", "kwargs"],
            unless: None,
            parts: &[],
        },
        Relation::of("que_lockers", &["pid"]),
    ],
    newer: &[Newer {
        name: "kwargs",
        from: 6,
        // looked up of those that are shown, as all of a row is much to put in order
        then: "(SELECT k.kwargs FROM {schema}.que_jobs k WHERE k.id = j.id)",
        before: "NULL::jsonb",
    }],
    version: Version {
        ask: "SELECT obj_description(to_regclass('{schema}.que_jobs'), 'pg_class')",
        from: 5,
        to: 7,
        columns: &[],
        older: "update Que, and in its application: Que.migrate!(version: 7)",
        // 2 takes no job of 1's, and from 5 on a row says whose it is
        cut: Some((
            5,
            "update Que to 1.4, not yet to 2, and in its application: Que.migrate!(version: 5)",
        )),
        unsaid: Some(Unsaid::Lost {
            // what each brought: when the trigger tells, the keywords, whose a row is; without that trigger nothing proves it
            told: "SELECT CASE WHEN strpos(pg_get_triggerdef(t.oid), 'que.skip_notify') > 0 THEN 7 \
                   WHEN bool_or(attname = 'kwargs') THEN 6 WHEN bool_or(attname = 'job_schema_version') THEN 5 END \
                   FROM pg_trigger t JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum > 0 AND NOT a.attisdropped \
                   WHERE t.tgrelid = to_regclass('{schema}.que_jobs') AND t.tgname = 'que_job_notify' GROUP BY t.oid",
            mend: "its comment is lost, or its SQL was applied by hand; as its owner: COMMENT ON TABLE {schema}.que_jobs IS '{told}'",
        }),
    },
    parts: None,
    from: "{schema}.que_jobs j",
    ahead: Some(LOCKS),
    running: "finished_at IS NULL AND expired_at IS NULL AND id IN (SELECT locked FROM locks)",
    // not joined: that would lose the order of the index
    waiting: "finished_at IS NULL AND expired_at IS NULL AND id NOT IN (SELECT locked FROM locks)",
    among: None,
    dead: Some(
        "SELECT count(*) FROM {schema}.que_jobs WHERE expired_at IS NOT NULL AND finished_at IS NULL",
    ),
    whole: Some(Whole { name: "que_jobs", unless: &[] }),
    utc: false,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, run_at, id",
        lane: "queue",
        arguments: Some("jsonb_build_object('args', args, 'kwargs', {kwargs})"),
        started: "NULL::timestamptz",
        until: "run_at",
        held: "false",
        again: "error_count > 0",
        tries: "error_count",
        since: "run_at",
        // held by a connection that is no worker's
        stale: "id NOT IN (SELECT locked FROM locks l JOIN {schema}.que_lockers q ON q.pid = l.pid)",
    },
    // before version 6 it has another beginning, and the first column is null at times
    sorted: Some(Sorted {
        index: "que_poll_idx",
        columns: "(job_schema_version, queue, priority, run_at, id)",
        shares: &["job_schema_version", "queue"],
        part: None,
    }),
    tried: None,
    oldest: None,
    indexes: &[&["que_poll_idx"]],
    rescue: Rescue {
        by: "PostgreSQL, with the connection",
        taken: Taken::AfterSilence(Duration::ZERO),
    },
    unknown: "how many failed for good, where there are more than 5 million rows; when a job was started; and which jobs are begun: what a worker has fetched ahead is locked as well, and counts as \
              running. A job of a job_schema_version that no worker takes any more counts as one that could be taken",
};
