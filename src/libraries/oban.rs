//! Oban. Its times are UTC without a zone, and its version is a comment of its table.

use std::time::Duration;

use super::{Library, Newer, Relation, Rescue, Row, Sorted, Taken, Unsaid, Version};

/// How it is read.
pub const LIBRARY: Library = Library {
    name: "oban",
    called: "Oban",
    schema: "public",
    makes: "in its application, with a migration that calls Oban.Migration.up(prefix: {schema}): mix ecto.migrate",
    reads: &[Relation {
        name: "oban_jobs",
        columns: &[
            "id",
            "state",
            "queue",
            "priority",
            "scheduled_at",
            "attempt",
            "max_attempts",
            "attempted_at",
        ],
        shown: &["args"],
        unless: None,
        parts: &[],
    }],
    newer: &[
        Newer {
            name: "suspended",
            from: 14,
            then: "state = 'suspended'",
            // earlier versions may have no such state; as a text it takes half as long again
            before: "state::text = 'suspended'",
        },
        // 12 came with 2.17, and one before 2.13, as 2.15.0, takes these, too
        Newer { name: "spent", from: 12, then: "attempt >= max_attempts", before: "false" },
    ],
    version: Version {
        ask: "SELECT obj_description(to_regclass('{schema}.oban_jobs'), 'pg_class')",
        from: 9,
        to: 14,
        columns: &[],
        // without a prefix it makes a second table in public, of which Oban knows nothing
        older: "update Oban, and in its application, with a migration that calls Oban.Migration.up(prefix: {schema}): mix ecto.migrate",
        // Oban goes by this comment itself: one that says too much keeps its migrations from being run
        cut: None,
        unsaid: Some(Unsaid::Lost {
            // the state that came with 14 is made by a later library at an earlier version, too; the indexes of 13 are not
            told: "SELECT CASE WHEN to_regclass('{schema}.oban_jobs_state_cancelled_at_index') IS NOT NULL \
                       AND to_regclass('{schema}.oban_jobs_state_discarded_at_index') IS NOT NULL AND EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_enum e ON e.enumtypid = a.atttypid \
                       WHERE a.attrelid = to_regclass('{schema}.oban_jobs') AND a.attname = 'state' AND e.enumlabel = 'suspended') THEN 14 END",
            mend: "its comment is lost, as by a restore; as its owner: COMMENT ON TABLE {schema}.oban_jobs IS '{told}'",
        }),
    },
    parts: None,
    from: "{schema}.oban_jobs",
    ahead: None,
    running: "state = 'executing'",
    // of the order in which the states were made, as 14 came with one that earlier versions do not know
    waiting: "state < 'completed' AND state <> 'executing'",
    among: None,
    dead: Some("SELECT count(*) FROM {schema}.oban_jobs WHERE state = 'discarded'"),
    whole: None,
    utc: true,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, scheduled_at, id",
        lane: "queue",
        arguments: Some("args"),
        started: "attempted_at",
        // whatever stands as available is taken, whenever it was to be
        until: "CASE WHEN state <> 'available' THEN scheduled_at END",
        // where it stands among the states depends on who made it; what has no try left is taken by nobody, whatever its state
        held: "{suspended} OR {spent}",
        again: "attempt > 0",
        tries: "attempt",
        since: "scheduled_at",
        stale: "attempted_at < {now} - interval '{stale_after} s'",
    },
    sorted: Some(Sorted {
        index: "oban_jobs_state_queue_priority_scheduled_at_id_index",
        columns: "(state, queue, priority, scheduled_at, id)",
        shares: &["state", "queue"],
        part: None,
    }),
    tried: None,
    oldest: None,
    indexes: &[&["oban_jobs_state_queue_priority_scheduled_at_id_index"]],
    rescue: Rescue {
        by: "Oban's Lifeline, where that is on and rescue_after is as it comes,",
        taken: Taken::AfterStart(Duration::from_secs(3600)),
    },
    unknown: "whether a queue is paused: its jobs count as some that could be taken; and what Lifeline's rescue_after says: a job is \
              called stale after [queue] stale_after, an hour by itself, all the same. Before version 12 a job that has no try left counts as \
              one that could be taken",
};
