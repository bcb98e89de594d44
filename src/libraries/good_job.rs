//! `GoodJob`. Its times are UTC without a zone; of its versions nothing tells but the columns that each brought, so one
//! that nobody has looked at is told by a column that nobody knows.

use std::time::Duration;

use super::{Among, Library, Relation, Rescue, Row, Taken, Version, Whole};

/// How it is read. The version is the first number of its own: the fourth has one row a job, however often that is tried.
pub const LIBRARY: Library = Library {
    name: "good-job",
    called: "GoodJob",
    schema: "public",
    makes: "in its application: bin/rails g good_job:install && bin/rails db:migrate",
    reads: &[
        Relation {
            name: "good_jobs",
            columns: &[
                "id",
                "queue_name",
                "priority",
                "scheduled_at",
                "created_at",
                "performed_at",
                "finished_at",
                "error",
                "retried_good_job_id",
                "executions_count",
                "locked_by_id",
            ],
            shown: &["serialized_params"],
            unless: None,
            parts: &[],
        },
        Relation::of("good_job_processes", &["id", "updated_at"]),
    ],
    newer: &[],
    version: Version {
        // by what the last of each brought
        ask: "SELECT CASE WHEN to_regclass('{schema}.good_jobs') IS NULL THEN NULL \
              WHEN count(*) FILTER (WHERE attname IN ('executions_count', 'locked_by_id')) = 2 THEN 4 \
              WHEN count(*) FILTER (WHERE attname = 'retried_good_job_id') = 0 THEN 1 \
              WHEN count(*) FILTER (WHERE attname = 'cron_at') = 0 OR to_regclass('{schema}.good_job_processes') IS NULL THEN 2 ELSE 3 END \
              FROM pg_attribute WHERE attrelid = to_regclass('{schema}.good_jobs') AND attnum > 0 AND NOT attisdropped",
        from: 4,
        to: 4,
        columns: &[
            "active_job_id",
            "batch_callback_id",
            "batch_id",
            "concurrency_key",
            "created_at",
            "cron_at",
            "cron_key",
            "error",
            "error_event",
            "executions_count",
            "finished_at",
            "id",
            "is_discrete",
            "job_class",
            "labels",
            "lock_type",
            "locked_at",
            "locked_by_id",
            "performed_at",
            "priority",
            "queue_name",
            "retried_good_job_id",
            "scheduled_at",
            "serialized_params",
            "state",
            "updated_at",
        ],
        // none brings the migrations of the one before
        older: "update GoodJob to 3.99 first, and in its application: bin/rails g good_job:update && bin/rails db:migrate; then to 4, \
                once bin/rails runner 'p GoodJob.v4_ready?' says true",
        cut: Some((
            3,
            "update GoodJob one major version at a time, to 1.99, 2.99 and 3.99, and in its application with each: \
             bin/rails g good_job:update && bin/rails db:migrate; then to 4, once bin/rails runner 'p GoodJob.v4_ready?' says true",
        )),
        unsaid: None,
    },
    parts: None,
    from: "{schema}.good_jobs j",
    ahead: None,
    // one that is to be tried again is said to be so while its work still goes on: who has it is said until that ends. One that was
    // begun runs though nobody is said to have it: the others take a process for gone whose connection that listens is gone, or that
    // was silent for 5 min, and empty that of all that it is at, which may go on
    running: "finished_at IS NULL AND (performed_at IS NOT NULL OR locked_by_id IS NOT NULL)",
    waiting: "finished_at IS NULL AND performed_at IS NULL AND locked_by_id IS NULL",
    among: Some(Among { all: "finished_at IS NULL", number: "id" }),
    // one that was tried again as a row of its own, as jobs once were, is done with
    dead: Some(
        "SELECT count(*) FROM {schema}.good_jobs WHERE finished_at IS NOT NULL AND error IS NOT NULL AND retried_good_job_id IS NULL",
    ),
    whole: Some(Whole { name: "good_jobs", unless: &["index_good_jobs_on_discarded"] }),
    utc: true,
    row: Row {
        id: "id::text",
        // as nothing that an index has: the planner would walk through all finished jobs in this order for the few that run
        nth: "created_at + interval '0 s'",
        turn: "priority NULLS LAST, created_at",
        lane: "queue_name",
        arguments: Some("serialized_params"),
        started: "performed_at",
        until: "coalesce(scheduled_at, created_at)",
        // from 4.8.2 on none is taken that has no time, as only versions before 3.15.4 wrote one; tables that have this column are
        // of a later one
        held: "scheduled_at IS NULL AND EXISTS (SELECT 1 FROM pg_attribute \
               WHERE attrelid = to_regclass('{schema}.good_jobs') AND attname = 'lock_type' AND NOT attisdropped)",
        again: "coalesce(executions_count, 0) > 0",
        tries: "coalesce(executions_count, 0)",
        since: "coalesce(scheduled_at, created_at)",
        stale: "NOT EXISTS (SELECT 1 FROM {schema}.good_job_processes p WHERE p.id = j.locked_by_id \
                AND p.updated_at >= {now} - interval '5 min')",
    },
    sorted: None,
    tried: None,
    oldest: None,
    indexes: &[
        &[
            "index_good_job_jobs_for_candidate_lookup",
            "index_good_jobs_jobs_on_priority_created_at_when_unfinished",
            "index_good_jobs_on_scheduled_at",
        ],
        &["index_good_jobs_on_discarded"],
    ],
    rescue: Rescue {
        by: "GoodJob, or at once the end of the connection that has a lock on it, which is its default",
        taken: Taken::AfterSilence(Duration::from_secs(300)),
    },
    unknown: "how many failed for good, where there are more than 5 million rows and no index has them; whether a queue is paused or a concurrency key keeps a job back: they count as some that could be taken; whether \
              its tables are of 3.29 to 3.99, where the larger priority goes first, or its workers are told another order; and whether a \
              running job's connection is gone: it is stale once its process was silent for 5 min. A row without scheduled_at counts as one that \
              could be taken where its tables have no lock_type, though no version since 4.8.2 takes it",
};
