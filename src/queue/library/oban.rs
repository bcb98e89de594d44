//! Oban. Its times are UTC without a zone, and its version is a comment of its table.

use std::time::Duration;

use super::{Library, Rescue, Row, Sorted, Taken, Version};

/// How it is read.
pub const LIBRARY: Library = Library {
    name: "oban",
    called: "Oban",
    schema: "public",
    reads: &["oban_jobs"],
    version: Version {
        // a restore may lose it: COMMENT ON TABLE oban_jobs IS '15' puts it back
        ask: "SELECT obj_description(to_regclass('{schema}.oban_jobs'), 'pg_class')",
        from: 9,
        to: 15,
        columns: &[],
        older: "update Oban, and run its migrations",
        unsaid: Some(
            "its comment is lost, as by a restore; as its owner: COMMENT ON TABLE {schema}.oban_jobs IS '15'; for the version that its migrations brought",
        ),
    },
    parts: None,
    from: "{schema}.oban_jobs",
    running: "state = 'executing'",
    // of the order in which the states were made, as 14 came with one that earlier versions do not know
    waiting: "state < 'completed' AND state <> 'executing'",
    dead: Some("SELECT count(*) FROM {schema}.oban_jobs WHERE state = 'discarded'"),
    utc: true,
    row: Row {
        id: "id::text",
        nth: "id",
        turn: "priority, scheduled_at, id",
        lane: "queue",
        arguments: Some("args"),
        started: "attempted_at",
        until: "scheduled_at",
        // suspended ones, of that order too
        held: "state > 'available' AND state < 'scheduled'",
        again: "attempt > 0",
        tries: "attempt",
        since: "scheduled_at",
        stale: "attempted_at < {now} - interval '60 min'",
    },
    sorted: Some(Sorted {
        index: "oban_jobs_state_queue_priority_scheduled_at_id_index",
        columns: "(state, queue, priority, scheduled_at, id)",
        shares: &["state", "queue"],
    }),
    tried: None,
    oldest: None,
    indexes: &[&["oban_jobs_state_queue_priority_scheduled_at_id_index"]],
    rescue: Rescue {
        by: "Oban's Lifeline, where that is on and rescue_after is as it comes,",
        taken: Taken::AfterStart(Duration::from_secs(3600)),
    },
    unknown: "whether a queue is paused: its jobs count as some that could be taken; and what Lifeline's rescue_after says: a job is \
              called stale after an hour all the same",
};
