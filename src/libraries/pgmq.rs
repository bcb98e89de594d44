//! pgmq. Each queue is a table of its own, which the table `meta` names. A message has no state: it is at work as long as it
//! is out of sight after it was read, and whoever wants it gone for good archives or deletes it.

use super::{Library, Parts, Relation, Rescue, Row, Taken, Version};

/// How it is read. The version is that of the extension, 104 for 1.4; where there is none, as its SQL was applied by hand,
/// the columns tell it.
pub const LIBRARY: Library = Library {
    name: "pgmq",
    called: "pgmq",
    schema: "pgmq",
    makes: "as an administrator: CREATE EXTENSION pgmq",
    reads: &[Relation::of("meta", &["queue_name"])],
    newer: &[],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.meta') IS NULL THEN NULL ELSE coalesce(\
              (SELECT split_part(extversion, '.', 1)::int * 100 + split_part(extversion, '.', 2)::int FROM pg_extension WHERE extname = 'pgmq'), \
              (SELECT CASE WHEN count(*) FILTER (WHERE attname = ANY (ARRAY['queue_name', 'is_partitioned', 'is_unlogged', 'created_at'])) < 4 THEN 103 \
              WHEN count(*) > 4 THEN 114 END FROM pg_attribute WHERE attrelid = to_regclass('{schema}.meta') AND attnum > 0 AND NOT attisdropped), \
              (SELECT CASE WHEN bool_or(attname NOT IN ('msg_id', 'read_ct', 'enqueued_at', 'last_read_at', 'vt', 'message', 'headers')) \
              OR to_regprocedure('{schema}.read(text, timestamptz, integer, jsonb)') IS NOT NULL THEN 114 \
              WHEN to_regproc('{schema}.read_grouped_head_with_poll') IS NOT NULL THEN 112 \
              WHEN to_regclass('{schema}.topic_bindings') IS NOT NULL THEN 111 WHEN bool_or(attname = 'last_read_at') THEN 110 \
              WHEN bool_or(attname = 'headers') THEN 105 ELSE 104 END \
              FROM pg_attribute a JOIN pg_type t ON t.typrelid = a.attrelid WHERE t.oid = to_regtype('{schema}.message_record') \
              AND a.attnum > 0 AND NOT a.attisdropped)) END",
        from: 104,
        to: 113,
        columns: &[],
        older: "update pgmq to 1.4 or later, and as its owner: ALTER EXTENSION pgmq UPDATE; or, where its SQL was applied by hand, \
                with psql each of its files pgmq--OLD--NEW.sql from its version on",
        cut: None,
        unsaid: None,
    },
    parts: Some(Parts {
        begin: "q_",
        columns: &["msg_id", "read_ct", "vt", "enqueued_at", "last_read_at"],
        shown: &["message"],
        later: ("last_read_at", "timestamptz"),
        // none where its table is gone; names that differ in case alone have one table
        ask: "SELECT coalesce(json_agg(json_build_array(queue_name, 'q_' || lower(queue_name), (SELECT bool_or(a.attname = 'last_read_at' \
              AND NOT a.attisdropped) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
              WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname = 'q_' || lower(queue_name))) ORDER BY queue_name), '[]') FROM (SELECT DISTINCT ON (lower(queue_name)) queue_name FROM {schema}.meta ORDER BY lower(queue_name), queue_name) AS q",
        lost: "a queue has no table any more; as the owner of the tables: DELETE FROM {schema}.meta WHERE queue_name = {part};",
        each: "SELECT {part}::text AS queue, msg_id, read_ct, vt, enqueued_at, {shown}, {later} AS began FROM {schema}.{table}",
        none: "SELECT ''::text AS queue, 0::bigint AS msg_id, 0 AS read_ct, now() AS vt, now() AS enqueued_at, '{}'::jsonb AS message, now() AS began WHERE false",
    }),
    from: "({parts}) m",
    ahead: None,
    running: "vt > now() AND read_ct > 0",
    waiting: "vt <= now() OR read_ct = 0",
    among: None,
    dead: None,
    whole: None,
    utc: false,
    row: Row {
        id: "queue || ':' || msg_id",
        nth: "msg_id",
        turn: "msg_id",
        lane: "queue",
        arguments: Some("message"),
        // from 1.10 on
        started: "began",
        until: "vt",
        held: "false",
        again: "read_ct > 0",
        tries: "read_ct",
        // what was put off could not be taken before, and what was given back is new again
        since: "vt",
        // a message that nobody gets done
        stale: "read_ct >= 5",
    },
    sorted: None,
    tried: None,
    oldest: None,
    indexes: &[],
    rescue: Rescue { by: "pgmq's visibility timeout", taken: Taken::At("vt") },
    unknown: "when a message was read, before version 1.10; and who is at one: a message that is out of sight counts as running, and one whose \
              reader takes longer than that as one that waits. What was popped is gone from its table before it is worked on, and counts as nothing. One \
              that was read five times or more and is out of sight counts as one that nobody gets done; one that waits behind another of its group \
              counts as one that could be taken",
};
