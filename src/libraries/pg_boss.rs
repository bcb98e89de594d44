//! pg-boss. What is in a dead-letter queue looks like work that waits, and is none.

use super::{Library, Newer, Relation, Rescue, Row, Sorted, Taken, Version, Whole};

/// Those that wait for others of which each is completed: a worker's own look-out lets them go, and one that was killed before
/// has not. How many are completed and not yet told of is what that goes by, too; those of failed ones wait for ever.
const RELEASED: &str = "released AS MATERIALIZED (SELECT d.child_name, d.child_id, max(p.completed_on) AS at \
    FROM {schema}.job p JOIN {schema}.job_dependency d ON d.parent_name = p.name AND d.parent_id = p.id \
    JOIN {schema}.job c ON c.name = d.child_name AND c.id = d.child_id \
    WHERE p.blocking AND p.state = 'completed' AND c.blocked \
    GROUP BY d.child_name, d.child_id, c.pending_dependencies HAVING count(*) >= c.pending_dependencies)";

/// How it is read. The version is that of its tables: 46 came with 12.38.
pub const LIBRARY: Library = Library {
    name: "pg-boss",
    called: "pg-boss",
    schema: "pgboss",
    makes: "npx pg-boss create --schema {schema} --connection-string \"$DATABASE_URL\"",
    reads: &[
        Relation {
            name: "job",
            columns: &[
                "id",
                "name",
                "priority",
                "state",
                "start_after",
                "created_on",
                "started_on",
                "expire_seconds",
                "heartbeat_on",
                "heartbeat_seconds",
                "retry_count",
                "blocked",
                "blocking",
                "pending_dependencies",
                "completed_on",
                "source_id",
            ],
            shown: &["data"],
            unless: None,
            parts: &["job_common", "j[0-9a-f]{56}"],
        },
        Relation {
            name: "queue",
            columns: &["name", "dead_letter"],
            shown: &[],
            unless: Some(("job", "source_id")),
            parts: &[],
        },
        Relation::of("job_dependency", &["child_name", "child_id", "parent_name", "parent_id"]),
        Relation::of("version", &["version"]),
    ],
    newer: &[
        Newer { name: "heartbeat_on", from: 30, then: "heartbeat_on", before: "NULL::timestamptz" },
        Newer {
            name: "heartbeat_seconds",
            from: 30,
            then: "heartbeat_seconds",
            before: "NULL::int",
        },
        Newer { name: "blocked", from: 31, then: "blocked", before: "false" },
        Newer { name: "blocking", from: 31, then: "blocking", before: "false" },
        Newer { name: "pending_dependencies", from: 31, then: "pending_dependencies", before: "0" },
        // before that whatever completes a job lets those go by itself that wait for it
        Newer {
            name: "released",
            from: 33,
            then: RELEASED,
            before: "released AS (SELECT NULL::text AS child_name, NULL::uuid AS child_id, NULL::timestamptz AS at WHERE false)",
        },
        Newer {
            name: "source_id",
            from: 34,
            then: "source_id IS NULL",
            // in the order of an index, as the planner is told that going through a table as a whole costs more than all else
            before: "name NOT IN (SELECT dead_letter FROM {schema}.queue WHERE dead_letter IS NOT NULL ORDER BY name)",
        },
    ],
    version: Version {
        ask: "SELECT max(version) FROM {schema}.version",
        from: 26,
        to: 46,
        columns: &[],
        older: "update pg-boss, and: npx pg-boss migrate --schema {schema} --connection-string \"$DATABASE_URL\"",
        cut: Some((
            25,
            "pg-boss brings no tables up to date that one before 11 has made: have a new one make its own in another schema, let the old \
             one work off what is in its, and name the other: [queue.library] schema = \"NAME\"",
        )),
        unsaid: None,
    },
    parts: None,
    from: "{schema}.job",
    ahead: Some("{released}"),
    running: "state = 'active'",
    waiting: "state IN ('created', 'retry') AND {source_id}",
    among: None,
    dead: Some("SELECT count(*) FROM {schema}.job WHERE state = 'failed'"),
    whole: Some(Whole { name: "job", unless: &["job_common_i14", "job_i14"] }),
    utc: false,
    row: Row {
        id: "id::text",
        nth: "created_on",
        turn: "priority DESC, created_on, id",
        lane: "name",
        arguments: Some("data"),
        started: "started_on",
        until: "start_after",
        held: "{blocked} AND (name, id) NOT IN (SELECT child_name, child_id FROM released)",
        again: "state = 'retry'",
        tries: "retry_count",
        since: "CASE WHEN {blocked} THEN greatest(start_after, (SELECT at FROM released WHERE child_name = name AND child_id = id)) ELSE start_after END",
        stale: "started_on + expire_seconds * interval '1 s' < now() OR coalesce({heartbeat_on} + {heartbeat_seconds} * interval '1 s' < now(), false)",
    },
    // from version 40 on; of one rank are few
    sorted: Some(Sorted {
        index: "job_common_i11",
        columns: "(name, priority DESC, created_on, start_after)",
        shares: &["name"],
        part: Some(("NOT {blocked}", "EXISTS (SELECT 1 FROM released)")),
    }),
    tried: None,
    oldest: None,
    // where its table is not parted it has the other name
    indexes: &[&["job_common_i14", "job_i14"]],
    rescue: Rescue {
        by: "pg-boss",
        taken: Taken::At(
            "least(started_on + expire_seconds * interval '1 s', {heartbeat_on} + {heartbeat_seconds} * interval '1 s')",
        ),
    },
    unknown: "how many failed for good, where there are more than 5 million rows and no index has them; which jobs are begun: those that a worker fetched together count as running from then on. Dead letters, and \
              before version 34 all jobs of a queue that is another's dead letters, count as none that wait; those that came in before its \
              tables were brought to version 34 count as some that do. Whether the policy of a queue \
              or a limit of a group keeps a job back: it counts as one that could be taken",
};
