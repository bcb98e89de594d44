//! River. Its migrations are of several lines since version 5; its jobs are of the line `main`.

use std::time::Duration;

use super::{Library, Relation, Rescue, Row, Sorted, Taken, Unsaid, Version, Whole};

/// How it is read.
pub const LIBRARY: Library = Library {
    name: "river",
    called: "River",
    schema: "public",
    makes: "river migrate-up --schema {schema} --database-url \"$DATABASE_URL\"",
    reads: &[
        Relation {
            name: "river_job",
            columns: &[
                "id",
                "state",
                "queue",
                "priority",
                "scheduled_at",
                "attempt",
                "attempted_at",
                "metadata",
            ],
            shown: &["args"],
            unless: None,
            parts: &[],
        },
        Relation::of("river_queue", &["name", "paused_at"]),
        Relation::of("river_migration", &[]),
    ],
    newer: &[],
    version: Version {
        // before version 5 there was one line, without a name
        ask: "SELECT max(version) FROM {schema}.river_migration m WHERE coalesce(to_jsonb(m)->>'line', 'main') = 'main'",
        from: 4,
        to: 7,
        columns: &[],
        older: "update River, and: river migrate-up --schema {schema} --database-url \"$DATABASE_URL\"",
        cut: None,
        // whoever has a migration tool of its own needs no such table
        unsaid: Some(Unsaid::ByParts {
            ask: "SELECT CASE WHEN to_regclass('{schema}.river_notification') IS NOT NULL THEN 7 \
                  WHEN bool_or(attname = 'unique_states') THEN 6 WHEN bool_or(attname = 'unique_key') THEN 5 \
                  WHEN to_regclass('{schema}.river_queue') IS NOT NULL THEN 4 ELSE 3 END \
                  FROM pg_attribute WHERE attrelid = to_regclass('{schema}.river_job') AND attnum > 0 AND NOT attisdropped",
            columns: &[
                "args",
                "attempt",
                "attempted_at",
                "attempted_by",
                "created_at",
                "errors",
                "finalized_at",
                "id",
                "kind",
                "line",
                "max_attempts",
                "metadata",
                "name",
                "paused_at",
                "priority",
                "queue",
                "scheduled_at",
                "state",
                "tags",
                "unique_key",
                "unique_states",
                "updated_at",
                "version",
            ],
        }),
    },
    parts: None,
    from: "{schema}.river_job",
    ahead: None,
    running: "state = 'running'",
    waiting: "state IN ('available', 'retryable', 'scheduled', 'pending')",
    among: None,
    // one that was put in a second time while there was another is discarded too, and nothing has failed
    dead: Some(
        "SELECT count(*) FROM {schema}.river_job WHERE state = 'discarded' AND metadata->'unique_key_conflict' IS NULL",
    ),
    whole: Some(Whole { name: "river_job", unless: &[] }),
    utc: false,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, scheduled_at, id",
        lane: "queue",
        arguments: Some("args"),
        started: "attempted_at",
        until: "scheduled_at",
        held: "state = 'pending' OR queue IN (SELECT name FROM {schema}.river_queue WHERE paused_at IS NOT NULL)",
        again: "attempt > 0",
        tries: "attempt",
        since: "scheduled_at",
        // what it rescues by itself
        stale: "attempted_at < now() - interval '{stale_after} s'",
    },
    sorted: Some(Sorted {
        index: "river_job_prioritized_fetching_index",
        columns: "(state, queue, priority, scheduled_at, id)",
        shares: &["state", "queue"],
        part: None,
    }),
    tried: None,
    oldest: None,
    indexes: &[&["river_job_prioritized_fetching_index"]],
    rescue: Rescue {
        by: "River's leader, where RescueStuckJobsAfter is as it comes,",
        taken: Taken::AfterStart(Duration::from_secs(3600)),
    },
    unknown: "whether RescueStuckJobsAfter or a job's own timeout is longer than [queue] stale_after, an hour by itself: a job is \
              called stale after that all the same. How many failed for good, where there are more than 5 million rows. Which version its tables are of, where river_migration is not there: it is told by what they have",
};
