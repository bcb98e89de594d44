//! `GoodJob`. Its times are UTC without a zone; of its versions nothing tells but the columns that each brought.

use std::time::Duration;

use super::{Library, Rescue, Row, Version};
use crate::probes::jobs::Since;

/// How it is read. The version is the first number of its own: the fourth has one row a job, however often that is tried.
pub const LIBRARY: Library = Library {
    name: "good-job",
    called: "GoodJob",
    schema: "public",
    reads: &["good_jobs", "good_job_processes"],
    version: Version {
        ask: "SELECT CASE WHEN to_regclass('{schema}.good_jobs') IS NULL THEN NULL ELSE \
              (SELECT CASE count(*) WHEN 2 THEN 4 ELSE 3 END FROM pg_attribute WHERE attrelid = to_regclass('{schema}.good_jobs') \
              AND attname IN ('executions_count', 'locked_by_id') AND NOT attisdropped) END",
        from: 4,
        to: 4,
        older: "update GoodJob to 4, and run its migrations",
    },
    parts: None,
    from: "{schema}.good_jobs j",
    running: "performed_at IS NOT NULL AND finished_at IS NULL",
    waiting: "performed_at IS NULL AND finished_at IS NULL",
    dead: Some(
        "SELECT count(*) FROM {schema}.good_jobs WHERE finished_at IS NOT NULL AND error IS NOT NULL",
    ),
    row: Row {
        id: "id::text",
        nth: "created_at",
        // none comes last
        rank: "coalesce(priority, 2147483647)",
        lane: "queue_name",
        arguments: Some("serialized_params"),
        started: "performed_at AT TIME ZONE 'UTC'",
        until: "coalesce(scheduled_at, created_at) AT TIME ZONE 'UTC'",
        held: "false",
        again: "coalesce(executions_count, 0) > 0",
        tries: "coalesce(executions_count, 0)",
        since: "coalesce(scheduled_at, created_at) AT TIME ZONE 'UTC'",
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.good_job_processes p WHERE p.id = j.locked_by_id \
                AND p.updated_at AT TIME ZONE 'UTC' >= now() - interval '5 min')",
    },
    oldest: None,
    index: "index_good_jobs_on_scheduled_at",
    rescue: Rescue { by: "GoodJob", after: Duration::from_secs(300), since: Since::Silence },
    unknown: "whether a queue is paused or a concurrency key keeps a job back: they count as some that could be taken; and whether \
              its tables are of a later version than 4",
};
