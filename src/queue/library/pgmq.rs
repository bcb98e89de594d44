//! pgmq. Each queue is a table of its own, which the table `meta` names. A message has no state: it is at work as long as it
//! is out of sight after it was read, and whoever wants it gone for good archives or deletes it.

use std::time::Duration;

use super::{Library, Parts, Rescue, Row, Version};
use crate::probes::jobs::Since;

/// How it is read. The version is that of the extension, 104 for 1.4; where there is none, as its SQL was applied by hand,
/// the columns tell it.
pub const LIBRARY: Library = Library {
    name: "pgmq",
    called: "pgmq",
    schema: "pgmq",
    reads: &["meta"],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.meta') IS NULL THEN NULL ELSE coalesce(\
              (SELECT split_part(extversion, '.', 1)::int * 100 + split_part(extversion, '.', 2)::int FROM pg_extension WHERE extname = 'pgmq'), \
              (SELECT CASE count(*) WHEN 2 THEN 104 ELSE 103 END FROM pg_attribute WHERE attrelid = to_regclass('{schema}.meta') \
              AND attname IN ('is_partitioned', 'is_unlogged') AND NOT attisdropped)) END",
        from: 104,
        to: 113,
        older: "update pgmq to 1.4 or later",
    },
    parts: Some(Parts {
        ask: "SELECT coalesce(json_agg(json_build_array(queue_name, 'q_' || lower(queue_name)) ORDER BY queue_name), '[]') FROM {schema}.meta",
        each: "SELECT {part}::text AS queue, msg_id, read_ct, vt, enqueued_at, message FROM {schema}.{table}",
        none: "SELECT ''::text AS queue, 0::bigint AS msg_id, 0 AS read_ct, now() AS vt, now() AS enqueued_at, '{}'::jsonb AS message WHERE false",
    }),
    from: "({parts}) m",
    running: "vt > now() AND read_ct > 0",
    waiting: "vt <= now() OR read_ct = 0",
    dead: None,
    row: Row {
        id: "queue || ':' || msg_id",
        nth: "msg_id",
        rank: "msg_id",
        lane: "queue",
        arguments: Some("message"),
        started: "NULL::timestamptz",
        until: "vt",
        held: "false",
        again: "read_ct > 0",
        tries: "read_ct",
        since: "enqueued_at",
        // a message that nobody gets done
        stale: "read_ct >= 5",
    },
    oldest: None,
    index: "meta_queue_name_key",
    rescue: Rescue {
        by: "pgmq's visibility timeout",
        // as its examples have it; who reads it says how long
        after: Duration::from_secs(30),
        since: Since::Start,
    },
    unknown: "when a message was read, and whether whoever read it is still at it: one that is out of sight counts as running. One \
              that was read five times or more and is out of sight counts as one that nobody gets done",
};
