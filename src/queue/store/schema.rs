//! The tables, as steps that only go forward. What must always hold is a constraint, so that no version and no
//! hand at the console can break it: a row is running if and only if a worker has it, and has ended if and only if
//! it says when. A row refers to one of another table without a foreign key: asked for each row of a batch, two of them
//! took a third of what a server does for it. Whoever deletes a job deletes its tries with it (`upkeep`), and a worker that
//! is not in the list is as gone as a dead one (`Store::bury`).
//!
//! Times are milliseconds since 1970 UTC and say so in their name: no session's time zone has a part in them, and
//! both databases have the same statements.

/// Each step, from an empty database on. `{id}` and `{json}` are written as the database has them, and `{none}` is an object
/// with nothing in it.
pub const STEPS: [&str; 4] = ["
    CREATE TABLE unwedge_workers (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        unit TEXT,
        version TEXT NOT NULL,
        mode TEXT NOT NULL,
        types {json} NOT NULL,
        lacks {json} NOT NULL,
        open {json} NOT NULL,
        cpus BIGINT,
        load_milli BIGINT,
        memory_mib BIGINT,
        state TEXT NOT NULL CHECK (state IN ('idle', 'busy', 'draining', 'dead')),
        step TEXT,
        done BIGINT NOT NULL DEFAULT 0,
        failed BIGINT NOT NULL DEFAULT 0,
        beats BIGINT NOT NULL DEFAULT 0,
        beat_ms BIGINT NOT NULL,
        started_ms BIGINT NOT NULL,
        ended_ms BIGINT,
        stop_ms BIGINT,
        deaf TEXT,
        CHECK ((ended_ms IS NOT NULL) = (state = 'dead'))
    );
    CREATE TABLE unwedge_lanes (
        type TEXT PRIMARY KEY,
        digest TEXT,
        first_tier TEXT,
        paused_ms BIGINT,
        paused_why TEXT,
        streak BIGINT NOT NULL DEFAULT 0,
        opened_ms BIGINT,
        opened_why TEXT,
        probes BIGINT NOT NULL DEFAULT 0,
        retry_ms BIGINT NOT NULL DEFAULT 0
    );
    CREATE TABLE unwedge_jobs (
        id {id},
        type TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('pending', 'retryable', 'running', 'done', 'failed', 'cancelled', 'quarantined')),
        priority BIGINT NOT NULL DEFAULT 0,
        needs {json} NOT NULL,
        prefers {json} NOT NULL DEFAULT '[]',
        input TEXT NOT NULL,
        output TEXT,
        output_dir TEXT,
        created_ms BIGINT NOT NULL,
        not_before_ms BIGINT NOT NULL,
        started_ms BIGINT,
        finished_ms BIGINT,
        changed_ms BIGINT NOT NULL,
        tries BIGINT NOT NULL DEFAULT 0,
        failures BIGINT NOT NULL DEFAULT 0,
        infra_errors BIGINT NOT NULL DEFAULT 0,
        rescues BIGINT NOT NULL DEFAULT 0,
        worker TEXT,
        cancel_ms BIGINT,
        placed_ms BIGINT,
        progress TEXT,
        class TEXT,
        message TEXT,
        tier TEXT,
        stamp TEXT,
        intake TEXT,
        gone_ms BIGINT,
        UNIQUE (type, key),
        CHECK ((worker IS NOT NULL) = (state = 'running')),
        CHECK ((finished_ms IS NOT NULL) = (state IN ('done', 'failed', 'cancelled', 'quarantined')))
    );
    CREATE INDEX unwedge_jobs_ready ON unwedge_jobs (type, priority DESC, not_before_ms, id)
        WHERE state IN ('pending', 'retryable');
    CREATE INDEX unwedge_jobs_taken_in ON unwedge_jobs (intake, id) WHERE intake IS NOT NULL AND gone_ms IS NULL;
    CREATE INDEX unwedge_jobs_state ON unwedge_jobs (state, type, finished_ms);
    CREATE UNIQUE INDEX unwedge_jobs_output ON unwedge_jobs (output)
        WHERE output IS NOT NULL AND state IN ('pending', 'retryable', 'running');
    CREATE TABLE unwedge_attempts (
        job BIGINT NOT NULL,
        try BIGINT NOT NULL,
        worker TEXT NOT NULL,
        end_state TEXT NOT NULL,
        tier TEXT,
        exit_code BIGINT,
        signal BIGINT,
        class TEXT,
        message TEXT,
        version TEXT,
        digest TEXT,
        started_ms BIGINT,
        ended_ms BIGINT NOT NULL,
        PRIMARY KEY (job, try)
    );
    CREATE TABLE unwedge_events (
        id {id},
        at_ms BIGINT NOT NULL,
        kind TEXT NOT NULL,
        job BIGINT,
        worker TEXT,
        detail TEXT
    );
    CREATE INDEX unwedge_events_job ON unwedge_events (job);
", "
    ALTER TABLE unwedge_jobs ADD COLUMN bytes BIGINT;
    ALTER TABLE unwedge_jobs ADD COLUMN stall TEXT;
", "
    ALTER TABLE unwedge_workers ADD COLUMN closed {json} NOT NULL DEFAULT '[]';
    UPDATE unwedge_workers SET lacks = {none};
    ALTER TABLE unwedge_jobs DROP COLUMN placed_ms;
    ALTER TABLE unwedge_jobs ADD COLUMN placed TEXT;
    DROP INDEX unwedge_jobs_ready;
    CREATE INDEX unwedge_jobs_ready ON unwedge_jobs (type, {mark}, priority DESC, not_before_ms, id)
        WHERE state IN ('pending', 'retryable');
", "
    ALTER TABLE unwedge_jobs ADD COLUMN offered_by TEXT;
"];

/// The oldest step that a program must know to work with what the last one made: one that only adds columns which may be
/// null leaves older programs at work.
pub const LEAST: usize = 3;

/// The table that says which steps were taken and what the clock of a file is.
pub const META: &str =
    "CREATE TABLE IF NOT EXISTS unwedge_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)";
