//! pg-boss. What is in a dead-letter queue looks like work that waits, and is none.

use super::{Library, Rescue, Row, Sorted, Taken, Version};

/// How it is read. The version is that of its tables: 31 has each column that is read, 46 came with 12.38.
pub const LIBRARY: Library = Library {
    name: "pg-boss",
    called: "pg-boss",
    schema: "pgboss",
    reads: &["job", "queue", "version"],
    version: Version {
        ask: "SELECT max(version) FROM {schema}.version",
        from: 31,
        to: 46,
        columns: &[],
        older: "update pg-boss, and start it once",
        unsaid: None,
    },
    parts: None,
    from: "{schema}.job",
    ahead: None,
    running: "state = 'active'",
    // in the order of an index, as the planner is told that going through a table as a whole costs more than all else
    waiting: "state IN ('created', 'retry') AND name NOT IN (SELECT dead_letter FROM {schema}.queue WHERE dead_letter IS NOT NULL ORDER BY name)",
    dead: Some("SELECT count(*) FROM {schema}.job WHERE state = 'failed'"),
    whole: None,
    utc: false,
    row: Row {
        id: "id::text",
        nth: "created_on",
        turn: "priority DESC, created_on, id",
        lane: "name",
        arguments: Some("data"),
        started: "started_on",
        until: "start_after",
        held: "blocked",
        again: "state = 'retry'",
        tries: "retry_count",
        since: "start_after",
        stale: "started_on + expire_seconds * interval '1 s' < now() OR coalesce(heartbeat_on + heartbeat_seconds * interval '1 s' < now(), false)",
    },
    // from version 40 on; of one rank are few
    sorted: Some(Sorted {
        index: "job_common_i11",
        columns: "(name, priority DESC, created_on, start_after)",
        shares: &["name"],
    }),
    tried: None,
    oldest: None,
    indexes: &[&["job_common_i14"]],
    rescue: Rescue {
        by: "pg-boss",
        taken: Taken::At(
            "least(started_on + expire_seconds * interval '1 s', heartbeat_on + heartbeat_seconds * interval '1 s')",
        ),
    },
    unknown: "which jobs are begun: those that a worker fetched together count as running from then on. Jobs of a queue that is \
              another's dead letters count as none that wait",
};
