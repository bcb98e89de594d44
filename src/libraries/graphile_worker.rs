//! Graphile Worker. Its tables have row-level security and show nobody but their owner a row, without an error; its view
//! `jobs` shows all, but for what a job was put in with.

use std::time::Duration;

use super::{Library, Relation, Rescue, Row, Taken, Version};

/// The named queues of which a job is at work: of each one is taken at a time. Asked once, as no index has those.
const BUSY: &str = "busy AS MATERIALIZED (SELECT queue_name FROM {schema}.jobs WHERE locked_at IS NOT NULL AND queue_name IS NOT NULL)";

/// How it is read. The version is that of its migrations, which 0.16 brought to 17.
pub const LIBRARY: Library = Library {
    name: "graphile-worker",
    called: "Graphile Worker",
    schema: "graphile_worker",
    makes: "npx graphile-worker --schema-only --schema {schema} --connection \"$DATABASE_URL\"",
    reads: &[
        Relation::of(
            "jobs",
            &[
                "id",
                "queue_name",
                "task_identifier",
                "priority",
                "run_at",
                "attempts",
                "max_attempts",
                "locked_at",
            ],
        ),
        Relation::of("migrations", &["id"]),
    ],
    newer: &[],
    version: Version {
        ask: "SELECT max(id) FROM {schema}.migrations",
        from: 17,
        to: 20,
        columns: &[],
        older: "update graphile-worker to 0.16 or later, and: npx graphile-worker --schema-only --schema {schema} --connection \"$DATABASE_URL\"",
        cut: None,
        unsaid: None,
    },
    parts: None,
    from: "{schema}.jobs",
    ahead: Some(BUSY),
    running: "locked_at IS NOT NULL",
    waiting: "locked_at IS NULL AND attempts < max_attempts",
    among: None,
    dead: Some(
        "SELECT count(*) FROM {schema}.jobs WHERE locked_at IS NULL AND attempts >= max_attempts",
    ),
    whole: None,
    utc: false,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, run_at, id",
        lane: "task_identifier",
        arguments: None,
        started: "locked_at",
        until: "run_at",
        // most have no name of a queue
        held: "queue_name IS NOT NULL AND queue_name IN (SELECT queue_name FROM busy)",
        again: "attempts > 0",
        tries: "attempts",
        since: "run_at",
        // what it takes over by itself
        stale: "locked_at < now() - interval '4 hours'",
    },
    sorted: None,
    tried: None,
    oldest: None,
    indexes: &[],
    rescue: Rescue {
        by: "graphile-worker",
        taken: Taken::AfterStart(Duration::from_secs(4 * 3600)),
    },
    unknown: "where a job writes: its view does not show what jobs were put in with. With a local queue, jobs that its worker has \
              fetched and not begun count as running",
};
