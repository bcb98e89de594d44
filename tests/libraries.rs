//! Queues of other people's libraries, on the tables that their own packages make: rows in every state, versions too old
//! and too new, a role that may read and no more, policies, missing tables, another time zone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use unwedge::config::queue::{Adapter, Queue};
use unwedge::config::{self};
use unwedge::libraries as library;
use unwedge::probes::jobs::{Job, QueueFacts, QueueLook, Since, State};
use unwedge::queue::library::About;
use unwedge::queue::{self, Fault};

use crate::support::isolate;
use crate::support::postgres::{Database, PASSWORD, cluster, standby};

/// A library, what its tables are made of, and rows of every kind.
pub struct Fixture {
    pub name: &'static str,
    /// Its schema, for what the tests change.
    pub schema: &'static str,
    /// Makes its tables as they are at a version.
    pub install: fn(&Packages, &Database, i64),
    /// The oldest that is read, the newest, and one before.
    pub versions: [i64; 3],
    /// Makes a version of it that nobody has looked at.
    pub later: &'static str,
    /// Rows: 1 and 2 at work, 2 of them stale; 3 comes first, then 4, and 5 again; 6 and 7 wait for a time, or for
    /// another; 8 failed for good; 9 is done.
    pub rows: &'static str,
    /// Two rows of one rank, `a` put in first and `b` due first, and which of them is taken first.
    pub equals: (&'static str, [&'static str; 2]),
    /// How its rows are told, by the numbers above.
    pub ids: &'static str,
    /// Where in what a job was put in with its output stands, where that is shown.
    pub output: Option<&'static str>,
    /// A table of it that can have a policy, and one that can be a view.
    pub tables: [&'static str; 2],
    /// What the way up from the version before begins with.
    pub older: &'static str,
    /// When it takes a row back by itself, and after how many seconds, as its own sources have it.
    pub rescue: (Since, u64),
    /// 1000000 done ones and 50000 waiting ones, put in by its own table.
    pub many: &'static str,
    /// COUNT rows at work; none where they need as many connections.
    pub running: Option<&'static str>,
    /// More than one share of what waits, of several ranks, due and not; none where no index has its order.
    pub in_shares: Option<&'static str>,
    /// What no index of it has of all that is counted; none where they have all.
    pub without: Option<&'static str>,
    /// Its rows counted by how they stand, as plainly as that can be said: what a reading is held against.
    pub plain: &'static str,
}

pub const ALL: &[Fixture] = &[
    Fixture {
        name: "graphile-worker",
        schema: "graphile_worker",
        install: graphile_worker,
        versions: [17, 20, 16],
        later: "INSERT INTO graphile_worker.migrations (id) VALUES (99)",
        rows: "
            INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t');
            INSERT INTO graphile_worker._private_jobs (task_id, payload, key, priority, run_at, attempts, max_attempts, locked_at)
            SELECT t.id, json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)), r.key, r.priority,
                now() + r.run_at::interval, r.attempts, 3, now() + r.locked::interval
            FROM graphile_worker._private_tasks t, (VALUES
                ('1', 0, '-2 h', 1, '-10 min'), ('2', 0, '-6 h', 1, '-5 h'), ('3', -1, '-1 min', 0, NULL), ('4', 0, '-1 h', 0, NULL),
                ('5', 1, '-3 min', 2, NULL), ('6', 0, '1 h', 0, NULL), ('7', 0, '2 h', 1, NULL), ('8', 0, '-1 h', 3, NULL))
                AS r (key, priority, run_at, attempts, locked)",
        equals: (
            "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t');
             INSERT INTO graphile_worker._private_jobs (task_id, payload, key, run_at) SELECT t.id, '{}', key, now() + at::interval
                FROM graphile_worker._private_tasks t, (VALUES ('a', '-2 min'), ('b', '-1 h')) AS r (key, at)",
            ["b", "a"],
        ),
        ids: "SELECT id::text, key FROM graphile_worker._private_jobs",
        output: None,
        tables: ["_private_jobs", "migrations"],
        older: "and",
        rescue: (Since::Start, 4 * 3600),
        many: "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t');
             INSERT INTO graphile_worker._private_jobs (task_id, run_at) SELECT t.id, now() - interval '1 min'
                 FROM graphile_worker._private_tasks t, generate_series(1, 50000)",
        running: Some(
            "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t') ON CONFLICT DO NOTHING;
             INSERT INTO graphile_worker._private_jobs (task_id, locked_at) SELECT t.id, now() FROM graphile_worker._private_tasks t, generate_series(1, COUNT)"
        ),
        in_shares: None,
        without: Some("its indexes are of a column that its view does not show"),
        plain: "SELECT count(*) FILTER (WHERE locked_at IS NOT NULL), count(*) FILTER (WHERE locked_at IS NULL AND run_at <= now()), count(*) FILTER (WHERE attempts >= max_attempts) FROM graphile_worker.jobs",
    },
    Fixture {
        name: "pg-boss",
        schema: "pgboss",
        install: pg_boss,
        versions: [26, 46, 25],
        later: "UPDATE pgboss.version SET version = 99",
        rows: "
            INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                deletion_seconds, partition, table_name, dead_letter)
            VALUES ('dead', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common', NULL),
                ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common', 'dead');
            INSERT INTO pgboss.job (name, singleton_key, data, priority, state, start_after, started_on, retry_count, expire_seconds)
            SELECT r.name, r.key, json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)), r.priority, r.state::pgboss.job_state,
                now() + r.after::interval, now() + r.started::interval, r.count, r.expire
            FROM (VALUES
                ('t', '1', 0, 'active', '-2 h', '-10 min', 0, 900), ('t', '2', 0, 'active', '-6 h', '-5 min', 0, 120),
                ('t', '3', 1, 'created', '-1 min', NULL, 0, 900), ('t', '4', 0, 'created', '-1 h', NULL, 0, 900),
                ('t', '5', -1, 'retry', '-3 min', '-1 h', 2, 900), ('t', '6', 0, 'created', '1 h', NULL, 0, 900),
                ('t', '7', 0, 'created', '1 day', NULL, 0, 900), ('t', '8', 0, 'failed', '-1 h', '-1 h', 2, 900),
                ('t', '9', 0, 'completed', '-1 h', '-1 h', 0, 900), ('t', '11', 0, 'cancelled', '-1 h', NULL, 0, 900), ('dead', '10', 0, 'created', '-1 h', NULL, 0, 900))
                AS r (name, key, priority, state, after, started, count, expire);
            DO $$ BEGIN
                IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'pgboss.job'::regclass AND attname = 'heartbeat_on') THEN
                    EXECUTE $q$UPDATE pgboss.job SET heartbeat_seconds = 60, heartbeat_on = now() - CASE singleton_key WHEN '1' THEN interval '10 s'
                        ELSE interval '4 min' END WHERE state = 'active'$q$;
                END IF;
                IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'pgboss.job'::regclass AND attname = 'blocked') THEN
                    EXECUTE $q$UPDATE pgboss.job SET blocked = true WHERE singleton_key = '7'$q$;
                END IF;
                IF EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'pgboss.job'::regclass AND attname = 'source_id') THEN
                    EXECUTE $q$UPDATE pgboss.job SET source_id = gen_random_uuid() WHERE name = 'dead'$q$;
                END IF;
            END $$",
        equals: (
            "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
            INSERT INTO pgboss.job (name, singleton_key, created_on, start_after) SELECT 't', key, now() + put::interval, now() + at::interval
                FROM (VALUES ('a', '-3 h', '-2 min'), ('b', '-2 h', '-1 h')) AS r (key, put, at)",
            ["a", "b"],
        ),
        ids: "SELECT id::text, singleton_key FROM pgboss.job",
        output: Some("out.dir"),
        tables: ["job", "version"],
        older: "and",
        rescue: (Since::Row, 0),
        many: "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                 deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
             INSERT INTO pgboss.job (name, state, completed_on) SELECT 't', 'completed', now() FROM generate_series(1, 1000000);
             INSERT INTO pgboss.job (name, created_on) SELECT 't', now() - g * interval '1 ms' FROM generate_series(1, 50000) g",
        running: Some(
            "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                 deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common') ON CONFLICT DO NOTHING;
             INSERT INTO pgboss.job (name, state, started_on) SELECT 't', 'active', now() FROM generate_series(1, COUNT)"
        ),
        in_shares: Some(
            "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                 deletion_seconds, partition, table_name) SELECT 't' || g, 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common' FROM generate_series(0, 6) g;
             INSERT INTO pgboss.job (name, priority, created_on, start_after, state) SELECT 't' || g % 7, g * 5 % 4, now() - g * interval '1 s',
                 now() + (g * 37 % 1000 - 700) * interval '1 s', (ARRAY['created', 'retry'])[1 + g % 2]::pgboss.job_state
             FROM generate_series(1, 400) g"
        ),
        without: None,
        plain: "SELECT state, count(*) FROM pgboss.job WHERE state IN ('created', 'retry', 'active', 'failed') GROUP BY 1",
    },
    Fixture {
        name: "procrastinate",
        schema: "public",
        install: procrastinate,
        versions: [2, 2, 1],
        later: "CREATE FUNCTION procrastinate_fetch_job_v3() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        rows: "
            INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '10 s'), (now() - interval '1 min');
            INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args, priority, scheduled_at, attempts)
            SELECT 'q', 't', r.key, json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)), r.priority,
                now() + r.at::interval, r.attempts
            FROM (VALUES ('1', 0, NULL, 0), ('2', 0, NULL, 0), ('3', 1, NULL, 0), ('4', 0, '-1 h', 0), ('5', -1, '-3 min', 2),
                ('6', 0, '1 h', 0), ('7', 0, '2 h', 1), ('8', 0, NULL, 0), ('9', 0, NULL, 0), ('10', 0, NULL, 0), ('11', 0, NULL, 0)) AS r (key, priority, at, attempts);
            UPDATE procrastinate_jobs SET status = 'cancelled' WHERE queueing_lock = '10';
            UPDATE procrastinate_jobs SET status = 'aborted' WHERE queueing_lock = '11';
            UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT min(id) FROM procrastinate_workers) WHERE queueing_lock = '1';
            UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT max(id) FROM procrastinate_workers) WHERE queueing_lock = '2';
            UPDATE procrastinate_jobs SET status = 'failed' WHERE queueing_lock = '8';
            UPDATE procrastinate_jobs SET status = 'succeeded' WHERE queueing_lock = '9';
            UPDATE procrastinate_events SET at = at - interval '10 min' WHERE type = 'started';
            DO $$ BEGIN
                IF EXISTS (SELECT 1 FROM pg_enum WHERE enumtypid = 'procrastinate_job_status'::regtype AND enumlabel = 'aborting') THEN
                    EXECUTE $q$INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, args) VALUES ('q', 't', '12', '{}')$q$;
                    EXECUTE $q$UPDATE procrastinate_jobs SET status = 'aborting' WHERE queueing_lock = '12'$q$;
                END IF;
            END $$",
        equals: (
            "INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, scheduled_at) SELECT 'q', 't', key, now() + at::interval
                FROM (VALUES ('a', NULL), ('b', '-1 h')) AS r (key, at)",
            ["a", "b"],
        ),
        ids: "SELECT id::text, queueing_lock FROM procrastinate_jobs",
        output: Some("out.dir"),
        tables: ["procrastinate_jobs", "procrastinate_workers"],
        older: "and",
        rescue: (Since::Silence, 30),
        many: "INSERT INTO procrastinate_jobs (queue_name, task_name, status) SELECT 'q', 't', 'succeeded' FROM generate_series(1, 1000000);
             INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT 'q', 't' FROM generate_series(1, 50000)",
        running: Some(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, status) SELECT 'q', 't', 'doing' FROM generate_series(1, COUNT)"
        ),
        in_shares: None,
        without: Some("none has those that failed"),
        plain: "SELECT status, count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed') GROUP BY 1",
    },
    Fixture {
        name: "river",
        schema: "public",
        install: river,
        versions: [4, 7, 3],
        later: "INSERT INTO river_migration (line, version) VALUES ('pro', 99), ('main', 8)",
        rows: "
            INSERT INTO river_job (kind, args, priority, state, scheduled_at, attempt, attempted_at, finalized_at)
            SELECT r.key, json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)), r.priority, r.state::river_job_state,
                now() + r.at::interval, r.attempt, now() + r.began::interval, now() + r.ended::interval
            FROM (VALUES
                ('1', 1, 'running', '-2 h', 1, '-10 min', NULL), ('2', 1, 'running', '-6 h', 1, '-2 h', NULL),
                ('3', 1, 'available', '-1 min', 0, NULL, NULL), ('4', 2, 'available', '-1 h', 0, NULL, NULL),
                ('5', 3, 'retryable', '-3 min', 2, '-1 h', NULL), ('6', 1, 'scheduled', '1 h', 0, NULL, NULL),
                ('7', 1, 'pending', '2 h', 0, NULL, NULL), ('8', 1, 'discarded', '-1 h', 3, '-1 h', '-1 h'),
                ('9', 1, 'completed', '-1 h', 1, '-1 h', '-1 h'), ('10', 1, 'cancelled', '-1 h', 1, '-1 h', '-1 h'))
                AS r (key, priority, state, at, attempt, began, ended)",
        equals: (
            "INSERT INTO river_job (kind, args, scheduled_at) SELECT key, '{}', now() + at::interval FROM (VALUES ('a', '-2 min'), ('b', '-1 h')) AS r (key, at)",
            ["b", "a"],
        ),
        ids: "SELECT id::text, kind FROM river_job",
        output: Some("out.dir"),
        tables: ["river_job", "river_migration"],
        older: "and",
        rescue: (Since::Start, 3600),
        many: "INSERT INTO river_job (kind, args, state, finalized_at) SELECT 'k', '{}', 'completed', now() FROM generate_series(1, 1000000);
             INSERT INTO river_job (kind, args) SELECT 'k', '{}' FROM generate_series(1, 50000)",
        running: Some(
            "INSERT INTO river_job (kind, args, state, attempted_at) SELECT 'k', '{}', 'running', now() FROM generate_series(1, COUNT)"
        ),
        in_shares: Some(
            "INSERT INTO river_job (kind, args, queue, priority, scheduled_at, state) SELECT 'k', '{}', 'q' || g % 7, 1 + g * 5 % 4,
                 now() + (g * 37 % 1000 - 700) * interval '1 s', (ARRAY['available', 'retryable', 'scheduled'])[1 + g % 3]::river_job_state
             FROM generate_series(1, 400) g"
        ),
        without: None,
        plain: "SELECT state, count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending', 'discarded') GROUP BY 1",
    },
    Fixture {
        name: "oban",
        schema: "public",
        install: oban,
        versions: [9, 14, 8],
        later: "COMMENT ON TABLE oban_jobs IS '15'",
        rows: "
            INSERT INTO oban_jobs (worker, args, priority, state, scheduled_at, attempt, attempted_at)
            SELECT r.key, json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)), r.priority, r.state::oban_job_state,
                timezone('UTC', now() + r.at::interval), r.attempt, timezone('UTC', now() + r.began::interval)
            FROM (VALUES
                ('1', 0, 'executing', '-2 h', 1, '-10 min'), ('2', 0, 'executing', '-6 h', 1, '-2 h'),
                ('3', 0, 'available', '-1 min', 0, NULL), ('4', 1, 'available', '-1 h', 0, NULL),
                ('5', 2, 'retryable', '-3 min', 2, '-1 h'), ('6', 0, 'scheduled', '1 h', 0, NULL),
                ('7', 0, 'retryable', '2 h', 1, '-1 h'), ('8', 0, 'discarded', '-1 h', 3, '-1 h'),
                ('9', 0, 'completed', '-1 h', 1, '-1 h'), ('10', 0, 'cancelled', '-1 h', 1, '-1 h')) AS r (key, priority, state, at, attempt, began);
            DO $$ BEGIN
                IF EXISTS (SELECT 1 FROM pg_enum WHERE enumtypid = 'oban_job_state'::regtype AND enumlabel = 'suspended') THEN
                    EXECUTE $q$UPDATE oban_jobs SET state = 'suspended' WHERE worker = '7'$q$;
                END IF;
            END $$",
        equals: (
            "INSERT INTO oban_jobs (worker, scheduled_at) SELECT key, timezone('UTC', now() + at::interval) FROM (VALUES ('a', '-2 min'), ('b', '-1 h')) AS r (key, at)",
            ["b", "a"],
        ),
        ids: "SELECT id::text, worker FROM oban_jobs",
        output: Some("out.dir"),
        tables: ["oban_jobs", "oban_jobs"],
        older: "and",
        rescue: (Since::Start, 3600),
        many: "INSERT INTO oban_jobs (worker, state) SELECT 'k', 'completed' FROM generate_series(1, 1000000);
             INSERT INTO oban_jobs (worker) SELECT 'k' FROM generate_series(1, 50000)",
        running: Some(
            "INSERT INTO oban_jobs (worker, state, attempted_at) SELECT 'k', 'executing', timezone('UTC', now()) FROM generate_series(1, COUNT)"
        ),
        in_shares: Some(
            "INSERT INTO oban_jobs (worker, queue, priority, scheduled_at, state) SELECT 'k', 'q' || g % 7, g * 5 % 4,
                 timezone('UTC', now() + (g * 37 % 1000 - 700) * interval '1 s'),
                 (ARRAY['available', 'retryable', 'scheduled', 'suspended'])[1 + g % 4]::oban_job_state
             FROM generate_series(1, 400) g"
        ),
        without: None,
        plain: "SELECT state, count(*) FROM oban_jobs WHERE state IN ('available', 'suspended', 'scheduled', 'executing', 'retryable', 'discarded') GROUP BY 1",
    },
    Fixture {
        name: "good-job",
        schema: "public",
        install: good_job,
        versions: [4, 4, 3],
        later: "ALTER TABLE good_job_processes ADD COLUMN shard text",
        rows: "
            INSERT INTO good_job_processes (created_at, updated_at) SELECT timezone('UTC', now() - interval '1 h'), timezone('UTC', now() + beat::interval)
            FROM (VALUES ('-10 s'), ('-6 min')) AS p (beat);
            INSERT INTO good_jobs (job_class, serialized_params, priority, scheduled_at, created_at, updated_at, executions_count, performed_at, finished_at, error, locked_by_id)
            SELECT r.key, json_build_object('arguments', json_build_array(json_build_object('out', json_build_object('dir', '/srv/out/' || r.key)))),
                r.priority, timezone('UTC', now() + r.at::interval), timezone('UTC', now() - interval '1 h'), timezone('UTC', now()), r.count,
                timezone('UTC', now() + r.began::interval), timezone('UTC', now() + r.ended::interval), r.error,
                (SELECT id FROM good_job_processes p WHERE (r.key = '1' AND p.updated_at = (SELECT max(updated_at) FROM good_job_processes))
                    OR (r.key = '2' AND p.updated_at = (SELECT min(updated_at) FROM good_job_processes)))
            FROM (VALUES
                ('1', 0, '-2 h', 1, '-10 min', NULL, NULL), ('2', 0, '-6 h', 1, '-20 min', NULL, NULL),
                ('3', -1, '-1 min', 0, NULL, NULL, NULL), ('4', 0, '-1 h', 0, NULL, NULL, NULL),
                ('5', NULL, '-3 min', 2, NULL, NULL, NULL), ('6', 0, '1 h', 0, NULL, NULL, NULL),
                ('7', 0, '2 h', 1, NULL, NULL, NULL), ('8', 0, '-1 h', 3, '-1 h', '-1 h', 'e'),
                ('9', 0, '-1 h', 1, '-1 h', '-1 h', NULL)) AS r (key, priority, at, count, began, ended, error);
            INSERT INTO good_jobs (job_class, created_at, updated_at, performed_at, finished_at, error, retried_good_job_id)
            SELECT '10', created_at, updated_at, performed_at, finished_at, 'e', id FROM good_jobs WHERE job_class = '9'",
        equals: (
            "INSERT INTO good_jobs (job_class, created_at, updated_at, scheduled_at) SELECT key, timezone('UTC', now() + put::interval), timezone('UTC', now()),
                timezone('UTC', now() + at::interval) FROM (VALUES ('a', '-3 h', '-2 min'), ('b', '-2 h', '-1 h')) AS r (key, put, at)",
            ["a", "b"],
        ),
        ids: "SELECT id::text, job_class FROM good_jobs",
        output: Some("arguments.0.out.dir"),
        tables: ["good_jobs", "good_job_processes"],
        older: "to 3.99 first, and in its application: bin/rails g good_job:update",
        rescue: (Since::Silence, 300),
        many: "INSERT INTO good_jobs (created_at, updated_at, performed_at, finished_at) SELECT now(), now(), now(), now() FROM generate_series(1, 1000000);
             INSERT INTO good_jobs (created_at, updated_at, scheduled_at) SELECT now(), now(), timezone('UTC', now()) FROM generate_series(1, 50000)",
        running: Some(
            "INSERT INTO good_jobs (created_at, updated_at, performed_at) SELECT now(), now(), now() FROM generate_series(1, COUNT)"
        ),
        in_shares: None,
        without: None,
        plain: "SELECT count(*) FILTER (WHERE performed_at IS NOT NULL AND finished_at IS NULL), count(*) FILTER (WHERE performed_at IS NULL), count(*) FILTER (WHERE error IS NOT NULL) FROM good_jobs WHERE finished_at IS NULL OR error IS NOT NULL",
    },
    Fixture {
        name: "que",
        schema: "public",
        install: que,
        versions: [5, 7, 4],
        later: "COMMENT ON TABLE que_jobs IS '8'",
        rows: "
            INSERT INTO que_jobs (job_class, job_schema_version, args, priority, run_at, error_count, finished_at, expired_at)
            SELECT r.key, 1, json_build_array(json_build_object('out', json_build_object('dir', '/srv/out/' || r.key))), r.priority,
                now() + r.at::interval, r.errors, now() + r.ended::interval, now() + r.expired::interval
            FROM (VALUES
                ('1', 1, '-2 h', 0, NULL, NULL), ('2', 1, '-6 h', 0, NULL, NULL), ('3', 1, '-1 min', 0, NULL, NULL),
                ('4', 2, '-1 h', 0, NULL, NULL), ('5', 3, '-3 min', 2, NULL, NULL), ('6', 1, '1 h', 0, NULL, NULL),
                ('7', 1, '2 h', 1, NULL, NULL), ('8', 1, '-1 h', 15, NULL, '-1 h'), ('9', 1, '-1 h', 0, '-1 h', NULL))
                AS r (key, priority, at, errors, ended, expired)",
        equals: (
            "INSERT INTO que_jobs (job_class, job_schema_version, run_at) SELECT key, 1, now() + at::interval FROM (VALUES ('a', '-2 min'), ('b', '-1 h')) AS r (key, at)",
            ["b", "a"],
        ),
        ids: "SELECT id::text, job_class FROM que_jobs",
        output: Some("args.0.out.dir"),
        tables: ["que_jobs", "que_lockers"],
        older: "and",
        rescue: (Since::Silence, 0),
        many: "INSERT INTO que_jobs (job_class, job_schema_version, finished_at) SELECT 'k', 1, now() FROM generate_series(1, 1000000);
             INSERT INTO que_jobs (job_class, job_schema_version) SELECT 'k', 1 FROM generate_series(1, 50000)",
        running: None,
        in_shares: Some(
            "INSERT INTO que_jobs (job_class, job_schema_version, queue, priority, run_at) SELECT 'k', 1 + g % 2, 'q' || g % 7, g * 5 % 4,
                 now() + (g * 37 % 1000 - 700) * interval '1 s' FROM generate_series(1, 400) g"
        ),
        without: Some("none has those that failed"),
        plain: "WITH l AS (SELECT (classid::bigint << 32) | objid::bigint AS id FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1) SELECT count(l.id), count(*) FILTER (WHERE l.id IS NULL), count(*) FILTER (WHERE expired_at IS NOT NULL) FROM que_jobs LEFT JOIN l USING (id) WHERE finished_at IS NULL",
    },
    Fixture {
        name: "solid-queue",
        schema: "public",
        install: solid_queue,
        versions: [1, 1, 0],
        later: "ALTER TABLE solid_queue_claimed_executions ADD COLUMN process_name varchar",
        rows: "
            INSERT INTO solid_queue_processes (kind, name, pid, created_at, last_heartbeat_at)
            SELECT 'Worker', 'w', 1, timezone('UTC', now()), timezone('UTC', now() + beat::interval) FROM (VALUES ('-10 s'), ('-6 min')) AS p (beat);
            INSERT INTO solid_queue_jobs (id, queue_name, class_name, arguments, priority, finished_at)
            SELECT r.key, 'q', r.key, format('{\"job_class\":\"K\",\"arguments\":[{\"out\":{\"dir\":\"/srv/out/%s\"}}],\"executions\":%s,\"exception_executions\":{}}',
                r.key, r.count), r.priority, timezone('UTC', now() + r.ended::interval)
            FROM (VALUES (1, 0, 0, NULL), (2, 0, 0, NULL), (3, -1, 0, NULL), (4, 0, 0, NULL), (5, 1, 2, NULL), (6, 0, 0, NULL),
                (7, 0, 1, NULL), (8, 0, 3, NULL), (9, 0, 0, '-1 h')) AS r (key, priority, count, ended);
            INSERT INTO solid_queue_claimed_executions (job_id, process_id, created_at)
            VALUES (1, 1, timezone('UTC', now() - interval '10 min')), (2, 2, timezone('UTC', now() - interval '20 min'));
            INSERT INTO solid_queue_ready_executions (job_id, queue_name, priority, created_at)
            SELECT key, 'q', j.priority, timezone('UTC', now() + at::interval) FROM solid_queue_jobs j
                JOIN (VALUES (3, '-1 min'), (4, '-1 h'), (5, '-3 min')) AS r (key, at) ON j.id = r.key;
            INSERT INTO solid_queue_scheduled_executions (job_id, queue_name, scheduled_at, created_at)
            VALUES (6, 'q', timezone('UTC', now() + interval '1 h'), timezone('UTC', now()));
            INSERT INTO solid_queue_blocked_executions (job_id, queue_name, concurrency_key, expires_at, created_at)
            VALUES (7, 'q', 'k', timezone('UTC', now() + interval '1 h'), timezone('UTC', now()));
            INSERT INTO solid_queue_failed_executions (job_id, created_at) VALUES (8, timezone('UTC', now()))",
        equals: (
            "INSERT INTO solid_queue_jobs (id, queue_name, class_name, arguments) VALUES (1, 'q', 'a', '{}'), (2, 'q', 'b', '{}');
            INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at)
                SELECT id, 'q', timezone('UTC', now() + at::interval) FROM (VALUES (1, '-2 min'), (2, '-1 h')) AS r (id, at)",
            ["a", "b"],
        ),
        ids: "SELECT id::text, class_name FROM solid_queue_jobs",
        output: Some("arguments.0.out.dir"),
        tables: ["solid_queue_claimed_executions", "solid_queue_processes"],
        older: "to 0.6 first, and in its application: bin/rails solid_queue:install:migrations",
        rescue: (Since::Silence, 300),
        many: "INSERT INTO solid_queue_jobs (queue_name, class_name, arguments, finished_at) SELECT 'q', 'k', '{}', now() FROM generate_series(1, 1000000);
             WITH put AS (INSERT INTO solid_queue_jobs (queue_name, class_name, arguments) SELECT 'q', 'k', '{}' FROM generate_series(1, 50000) RETURNING id)
                 INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at) SELECT id, 'q', now() FROM put",
        running: Some(
            "WITH put AS (INSERT INTO solid_queue_jobs (queue_name, class_name, arguments) SELECT 'q', 'k', '{}' FROM generate_series(1, COUNT) RETURNING id)
                 INSERT INTO solid_queue_claimed_executions (job_id, created_at) SELECT id, now() FROM put"
        ),
        in_shares: None,
        without: Some("none has how often a job was tried, which stands in a text"),
        plain: "SELECT (SELECT count(*) FROM solid_queue_claimed_executions), (SELECT count(*) FROM solid_queue_ready_executions), (SELECT count(*) FROM solid_queue_scheduled_executions), (SELECT count(*) FROM solid_queue_blocked_executions), (SELECT count(*) FROM solid_queue_failed_executions)",
    },
    Fixture {
        name: "pgmq",
        schema: "pgmq",
        install: pgmq,
        versions: [104, 112, 103],
        later: "SET allow_system_table_mods = on; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
            VALUES (99999, 'pgmq', 10, 'pgmq'::regnamespace, false, '1.14.0')",
        rows: "
            INSERT INTO pgmq.q_q (message, vt, read_ct, enqueued_at)
            SELECT json_build_object('key', r.key, 'out', json_build_object('dir', '/srv/out/' || r.key)), now() + r.vt::interval, r.count,
                now() + r.put::interval
            FROM (VALUES ('1', '10 min', 1, '-2 h'), ('3', '-1 min', 0, '-1 min'), ('4', '-1 h', 0, '-1 h'), ('5', '-3 min', 2, '-3 min'),
                ('6', '1 h', 0, '-3 min'), ('7', '2 h', 0, '-3 min')) AS r (key, vt, count, put);
            INSERT INTO pgmq.q_other (message, vt, read_ct)
            SELECT json_build_object('key', '2', 'out', json_build_object('dir', '/srv/out/2')), now() + interval '1 min', 5;
            INSERT INTO pgmq.a_q (msg_id, vt) VALUES (99, now())",
        equals: (
            "INSERT INTO pgmq.q_q (message, vt) SELECT json_build_object('key', key), now() + at::interval FROM (VALUES ('a', '-2 min'), ('b', '-1 h')) AS r (key, at)",
            ["a", "b"],
        ),
        ids: "SELECT 'q:' || msg_id, message->>'key' FROM pgmq.q_q UNION ALL SELECT 'Other:' || msg_id, message->>'key' FROM pgmq.q_other",
        output: Some("out.dir"),
        tables: ["q_q", "meta"],
        older: "ALTER EXTENSION pgmq UPDATE; or, where its SQL was applied by hand, with psql",
        rescue: (Since::Row, 0),
        many: "INSERT INTO pgmq.a_q (msg_id, vt, message) SELECT g, now(), '{}' FROM generate_series(1, 1000000) g;
             INSERT INTO pgmq.q_q (vt, message) SELECT now(), '{}' FROM generate_series(1, 50000)",
        running: Some(
            "INSERT INTO pgmq.q_q (vt, read_ct, message) SELECT now() + interval '1 h', 1, '{}' FROM generate_series(1, COUNT)"
        ),
        in_shares: None,
        without: None,
        plain: "SELECT count(*) FILTER (WHERE vt > now() AND read_ct > 0), count(*) FILTER (WHERE vt <= now()) FROM pgmq.q_q",
    },
];

/// Where `tests/setup` puts what they are made of.
pub struct Packages(PathBuf);

impl Packages {
    pub fn of(test: &str) -> Option<Self> {
        let dir = std::env::var_os("UNWEDGE_RIVALS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rivals"),
            PathBuf::from,
        );
        let stamps = ["node.installed", "python.installed"];
        if let Some(missing) = stamps.iter().find(|it| !dir.join(it).exists()) {
            isolate::skip(
                test,
                &format!("needs {missing} in target/rivals, which tests/setup makes"),
            );
            return None;
        }
        Some(Self(dir))
    }

    /// Pastes a command that was told, with the names in it that stand for databases.
    pub fn paste(&self, command: &str, databases: &[(&str, &Database)]) {
        let script = format!(
            "set -o pipefail; PATH=$PWD:$PWD/venv/bin:/usr/lib/postgresql/15/bin:$PATH
             npx() {{ local it=$1; shift; \"node_modules/.bin/$it\" \"$@\"; }}
             {command}"
        );
        let ran = Command::new("/bin/bash")
            .args(["-ec", &script])
            .envs(databases.iter().map(|(name, database)| (name, database.url("postgres"))))
            .env("ON_ERROR_STOP", "1")
            .current_dir(&self.0)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && !said.contains("ERROR"), "{command}: {ran:?}");
    }

    /// What a script for Node says.
    fn node(&self, script: &str) -> String {
        let ran = Command::new(self.0.join("node"))
            .args(["--input-type=module", "-e", script])
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// What starts a worker of one, or what its API does.
    pub fn worker(&self, name: &str) -> Command {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/libraries/workers");
        let (program, script) = match name {
            "procrastinate" => ("venv/bin/python", format!("{dir}/procrastinate-worker.py")),
            name => ("node", format!("{dir}/{name}.mjs")),
        };
        let mut command = Command::new(self.0.join(program));
        command.arg(script).current_dir(&self.0);
        command
    }

    /// Files of a directory of theirs, in the order of their names.
    fn files(&self, dir: &str) -> Vec<PathBuf> {
        let mut dir_of = self.0.clone();
        for part in dir.split('/') {
            dir_of = match part {
                // whichever Python it is
                "python*" => fs::read_dir(&dir_of).unwrap().next().unwrap().unwrap().path(),
                part => dir_of.join(part),
            };
        }
        let mut all: Vec<PathBuf> = fs::read_dir(dir_of)
            .unwrap()
            .map(|it| it.unwrap().path())
            .filter(|it| it.extension().is_some_and(|it| it == "sql"))
            .collect();
        all.sort();
        all
    }
}

/// Its own migrations up to one.
fn graphile_worker(packages: &Packages, database: &Database, version: i64) {
    database.sql(
        "CREATE SCHEMA graphile_worker;
         CREATE TABLE graphile_worker.migrations (id int PRIMARY KEY, ts timestamptz DEFAULT now() NOT NULL, breaking boolean)",
    );
    for file in packages.files("node_modules/graphile-worker/sql") {
        let number: i64 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        if number <= version {
            let text = fs::read_to_string(&file).unwrap();
            database.sql(&text.replace(":GRAPHILE_WORKER_SCHEMA", "graphile_worker"));
            database.sql(&format!("INSERT INTO graphile_worker.migrations (id) VALUES ({number})"));
        }
    }
}

/// Its own plan to make its tables, and its own plans back from there.
fn pg_boss(packages: &Packages, database: &Database, version: i64) {
    let plans = packages.node(&format!(
        "import {{ getConstructionPlans, getRollbackPlans }} from 'pg-boss';
         const now = JSON.parse((await import('node:fs')).readFileSync('node_modules/pg-boss/package.json')).pgboss.schema;
         const all = [getConstructionPlans('pgboss')];
         for (let at = now; at > {version}; at--) all.push(getRollbackPlans('pgboss', at));
         console.log(all.join('\\n;\\n'))"
    ));
    database.sql(&plans);
}

/// Its whole schema, or its migrations from before the second function that fetches jobs.
fn procrastinate(packages: &Packages, database: &Database, version: i64) {
    let sql = "venv/lib/python*/site-packages/procrastinate/sql";
    if version == 2 {
        let all = packages.files(sql);
        let whole = all.iter().find(|it| it.ends_with("schema.sql")).unwrap();
        database.sql(&fs::read_to_string(whole).unwrap());
        return;
    }
    for file in packages.files(&format!("{sql}/migrations")) {
        if file.file_name().unwrap() < std::ffi::OsStr::new("03.01") {
            database.sql(&fs::read_to_string(file).unwrap());
        }
    }
}

/// Tables that were put together again from what their project publishes: they are in packages for Go, Ruby and Elixir, and no
/// registry of those is asked.
fn rebuilt(name: &str) -> String {
    let file = format!("{}/tests/lab/libraries/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(file).unwrap()
}

fn river(_: &Packages, database: &Database, version: i64) {
    database.sql(&rebuilt("river"));
    for (brought_by, back) in [
        (7, "DROP TABLE river_notification"),
        (6, "ALTER TABLE river_job DROP COLUMN unique_states"),
        (
            5,
            "ALTER TABLE river_job DROP COLUMN unique_key; ALTER TABLE river_migration DROP COLUMN line",
        ),
        (4, "DROP TABLE river_queue"),
    ] {
        if version < brought_by {
            database.sql(back);
        }
    }
    let line = if version < 5 { ["", ""] } else { ["line, ", "'main', "] };
    database.sql(&format!(
        "INSERT INTO river_migration ({}version) SELECT {}v FROM generate_series(1, {version}) v",
        line[0], line[1]
    ));
}

fn oban(_: &Packages, database: &Database, version: i64) {
    let suspended = if version < 14 { "" } else { "'suspended', " };
    let states = format!(
        "'available', {suspended}'scheduled', 'executing', 'retryable', 'completed', 'discarded', 'cancelled'"
    );
    database.sql(&rebuilt("oban").replace("(STATES)", &format!("({states})")));
    database.sql(&format!("COMMENT ON TABLE oban_jobs IS '{version}'"));
    if version < 13 {
        database.sql(
            "DROP INDEX oban_jobs_state_cancelled_at_index, oban_jobs_state_discarded_at_index",
        );
    }
}

/// From 1.12 on its own SQL, which a package for Python brings as of 1.13; before that put together again.
fn pgmq(packages: &Packages, database: &Database, version: i64) {
    if version >= 112 {
        let own = packages.files("venv/lib/python*/site-packages/pgmq/sql");
        database.sql(&fs::read_to_string(&own[0]).unwrap());
        database.sql("SELECT pgmq.create('q'), pgmq.create('Other')");
        return;
    }
    database.sql(&rebuilt("pgmq"));
    let each = |does: &str| {
        for table in ["q_q", "q_other", "a_q"] {
            database.sql(&format!("ALTER TABLE pgmq.{table} {does}"));
        }
    };
    if version < 104 {
        database.sql("ALTER TABLE pgmq.meta DROP COLUMN is_unlogged");
    }
    if version < 105 {
        each("DROP COLUMN headers");
        database.sql("ALTER TYPE pgmq.message_record DROP ATTRIBUTE headers");
    }
    if version >= 110 {
        each("ADD COLUMN last_read_at timestamptz");
        database.sql("ALTER TYPE pgmq.message_record ADD ATTRIBUTE last_read_at timestamptz");
    }
    if version >= 111 {
        database.sql(
            "CREATE TABLE pgmq.topic_bindings (pattern text NOT NULL, queue_name text NOT NULL REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
                 UNIQUE (pattern, queue_name))",
        );
    }
}

fn good_job(_: &Packages, database: &Database, version: i64) {
    database.sql(&rebuilt("good_job"));
    for (brought_by, column) in
        [(4, "locked_by_id"), (3, "executions_count"), (3, "cron_at"), (2, "retried_good_job_id")]
    {
        if version < brought_by {
            database.sql(&format!("ALTER TABLE good_jobs DROP COLUMN {column}"));
        }
    }
}

fn que(_: &Packages, database: &Database, version: i64) {
    database.sql(&rebuilt("que"));
    if version < 6 {
        database.sql(
            "ALTER TABLE que_jobs DROP COLUMN kwargs, ALTER job_schema_version DROP NOT NULL;
             ALTER INDEX que_poll_idx RENAME TO que_poll_idx_with_job_schema_version;
             CREATE INDEX que_poll_idx ON que_jobs (queue, priority, run_at, id) WHERE finished_at IS NULL AND expired_at IS NULL",
        );
    }
    if version < 7 {
        database.sql(
            "DROP TRIGGER que_job_notify ON que_jobs;
             CREATE TRIGGER que_job_notify AFTER INSERT ON que_jobs FOR EACH ROW EXECUTE FUNCTION que_job_notify()",
        );
    }
    database.sql(&format!("COMMENT ON TABLE que_jobs IS '{version}'"));
}

fn solid_queue(_: &Packages, database: &Database, version: i64) {
    database.sql(&rebuilt("solid_queue"));
    if version < 1 {
        database.sql("ALTER TABLE solid_queue_processes DROP COLUMN name");
    }
}

/// The rows, and whoever has to be there with them.
pub fn plant(fixture: &Fixture, database: &Database) -> Vec<postgres::Client> {
    database.sql(fixture.rows);
    if fixture.name != "que" {
        return Vec::new();
    }
    let mut all = vec![database.client(), database.client()];
    for (client, key) in all.iter_mut().zip(["1", "2"]) {
        let lock = "SELECT pg_advisory_lock(id) FROM que_jobs WHERE job_class = $1";
        client.query(lock, &[&key]).unwrap();
    }
    all[0]
        .batch_execute("INSERT INTO que_lockers VALUES (pg_backend_pid(), 1, '{1}', 1, 'h', '{default}', true)")
        .unwrap();
    all
}

pub fn queue(fixture: &Fixture, url: &str) -> Queue {
    let output = fixture
        .output
        .map_or_else(String::new, |it| format!("[queue.library]\noutput = \"{it}\"\n"));
    let text = format!("[queue]\nurl = \"{url}\"\nadapter = \"{}\"\n{output}", fixture.name);
    config::from_str(&text).unwrap().queue.unwrap()
}

fn about(fixture: &Fixture, database: &Database, role: &str) -> Result<About, String> {
    queue::about_library(&queue(fixture, &database.url(role))).map_err(|Fault(why)| why)
}

/// Grants what a reading says is the least, and reads.
pub fn read(fixture: &Fixture, database: &Database, role: &str) -> QueueFacts {
    let grants = about(fixture, database, "postgres").unwrap().grants;
    for grant in &grants {
        assert!(grant.contains("\"postgres\""), "{grant}");
        let to = |it: &str| format!(" TO \"{it}\";");
        database.sql(&grant.replace(&to("postgres"), &to(role)));
    }
    match queue::look(&queue(fixture, &database.url(role))) {
        QueueLook::Known(facts) => facts,
        QueueLook::Unknown { why, .. } => panic!("{}: {why}", fixture.name),
    }
}

/// Each library on a database of its own, at a version.
fn each(test: &str, check: impl FnMut(&Fixture, &Packages, &Database)) {
    let all: Vec<&str> = ALL.iter().map(|it| it.name).collect();
    only(&all, test, check);
}

/// The same at the oldest that is read, and at the newest.
fn oldest_and_newest(test: &str, mut check: impl FnMut(&Fixture, &Packages, &Database, i64)) {
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL {
        let [oldest, newest, _] = fixture.versions;
        let others = (oldest != newest).then_some(oldest);
        for version in [Some(newest), others].into_iter().flatten() {
            check(fixture, &packages, &cluster.database(), version);
        }
    }
}

/// Those of these names.
fn only(names: &[&str], test: &str, mut check: impl FnMut(&Fixture, &Packages, &Database)) {
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL.iter().filter(|it| names.contains(&it.name)) {
        check(fixture, &packages, &cluster.database());
    }
}

#[test]
fn each_row_counts_as_what_it_is_to_its_library_whatever_the_zone_of_the_session() {
    let test =
        "libraries::each_row_counts_as_what_it_is_to_its_library_whatever_the_zone_of_the_session";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL {
        for version in fixture.versions[0]..=fixture.versions[1] {
            let database = cluster.database();
            (fixture.install)(&packages, &database, version);
            let _held = plant(fixture, &database);
            let role = database.role("reader");
            // UTC+14
            database.sql(&format!("ALTER ROLE {role} SET timezone = 'Pacific/Kiritimati'"));
            let facts = read(fixture, &database, &role);
            let shown = format!("{} at {version}: {facts:?}", fixture.name);
            let counts = State::ALL.map(|state| facts.count(state));
            assert_eq!(counts, [2, 1, 2, 2], "{shown}");
            // pgmq has no rows of such
            let dead = (fixture.name != "pgmq").then_some(1);
            assert_eq!((facts.dead, facts.stale_running), (dead, Some(1)), "{shown}");
            let rows = database.client().query(fixture.ids, &[]).unwrap();
            let number = |job: &Job| -> String {
                let row = rows.iter().find(|row| row.get::<_, String>(0) == job.id).unwrap();
                row.get(1)
            };
            let numbers = |jobs: &[Job]| jobs.iter().map(number).collect::<Vec<_>>();
            let mut running = numbers(&facts.running);
            running.sort();
            assert_eq!(running, ["1", "2"], "{shown}");
            assert_eq!(numbers(&facts.next), ["3", "4", "5"], "{shown}");
            assert_eq!(numbers(&facts.cooling), ["6", "7"], "{shown}");
            assert_eq!(
                facts.next.iter().map(|it| it.state).collect::<Vec<_>>(),
                [State::Pending, State::Pending, State::Retryable]
            );
            for job in facts.running.iter().chain(&facts.next) {
                let output =
                    fixture.output.map(|_| PathBuf::from(format!("/srv/out/{}", number(job))));
                assert_eq!(job.output, output, "{shown}");
            }
            let ago = |ms: u64| facts.at_utc_ms.saturating_sub(ms) / 60_000;
            let first = facts.running.iter().find(|it| number(it) == "1").unwrap();
            // these keep no time of it
            let started = (!["que", "pgmq"].contains(&fixture.name)).then_some(10);
            assert_eq!(first.started_utc_ms.map(ago), started, "{shown}");
            assert_eq!(facts.oldest_pending_ms.unwrap() / 60_000, 60, "{shown}");
            let rescue = facts.rescue.as_ref().unwrap();
            let after = std::time::Duration::from_millis(rescue.after_ms).as_secs();
            assert_eq!((rescue.since, after), fixture.rescue, "{shown}");
            assert!(!facts.hold_back, "{shown}");
            // some of pgmq's have the same tables, and tell the first that had
            let told = about(fixture, &database, "postgres").unwrap().version;
            let tells =
                if fixture.name == "pgmq" && (106..110).contains(&version) { 105 } else { version };
            assert_eq!(told, tells, "{shown}");
            // that of pg-boss came later
            let has_index = fixture.name != "pg-boss"
                || database.value("SELECT to_regclass('pgboss.job_common_i14') IS NOT NULL") == "t";
            assert_eq!(facts.advice.is_empty(), has_index, "{shown}");
        }
    }
}

#[test]
fn a_standby_is_never_believed() {
    let test = "libraries::a_standby_is_never_believed";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "river").unwrap();
    let database = cluster.database();
    (fixture.install)(&packages, &database, fixture.versions[1]);
    let _held = plant(fixture, &database);
    let standby = standby(&database.dump());
    let url = standby.url("postgres", "postgres");
    let own = Queue { adapter: Adapter::Unwedge, ..queue(fixture, &url) };
    for asked in [queue(fixture, &url), own] {
        let QueueLook::Unknown { why, .. } = queue::look(&asked) else { panic!("it is believed") };
        assert!(why.contains("standby") && why.contains("name the primary"), "{why}");
    }
}

#[test]
fn a_job_that_is_let_go_meanwhile_is_neither_lost_nor_counted_twice() {
    let test = "libraries::a_job_that_is_let_go_meanwhile_is_neither_lost_nor_counted_twice";
    only(&["que"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("INSERT INTO que_jobs (job_class, job_schema_version) SELECT 'k', 1 FROM generate_series(1, 20000)");
        let id: i64 = database.value("SELECT min(id) FROM que_jobs").parse().unwrap();
        let mut client = database.client();
        let (stop, stopped) = mpsc::channel::<()>();
        let toggles = std::thread::spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                client.batch_execute(&format!("SELECT pg_advisory_lock({id}); SELECT pg_sleep(0.003); SELECT pg_advisory_unlock({id}); SELECT pg_sleep(0.003)")).unwrap();
            }
        });
        for _ in 0..40 {
            let facts = about(fixture, database, "postgres").unwrap().facts;
            let counts = State::ALL.map(|it| facts.count(it));
            assert_eq!(counts.iter().sum::<u64>(), 20000, "{counts:?}");
        }
        drop(stop);
        toggles.join().unwrap();
    });
}

#[test]
fn each_reading_goes_by_the_indexes_that_are_missed_where_they_are_not_there() {
    let test =
        "libraries::each_reading_goes_by_the_indexes_that_are_missed_where_they_are_not_there";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL {
        let library = library::named(fixture.name).unwrap();
        let [oldest, newest, _] = fixture.versions;
        // where there are none that are missed, each version is read alike
        let has_others = oldest != newest && !library.indexes.is_empty();
        for version in [Some(newest), has_others.then_some(oldest)].into_iter().flatten() {
            let database = &cluster.database();
            (fixture.install)(&packages, database, version);
            database.sql(&fixture.many.replace("1000000", "20000").replace("50000", "1000"));
            database.sql("VACUUM ANALYZE");
            let about = about(fixture, database, "postgres").unwrap();
            let shown = format!("{} at {version}: {:?}", fixture.name, about.indexes);
            let sorted: Vec<&str> = library.sorted.iter().map(|it| it.index).collect();
            let is_sorted = |it: &str| {
                let columns = format!(
                    "SELECT coalesce(pg_get_indexdef(to_regclass('{}.{it}')), '')",
                    fixture.schema
                );
                library
                    .sorted
                    .as_ref()
                    .is_some_and(|sorted| database.value(&columns).contains(sorted.columns))
            };
            // what comes next is looked for by that one, in each version that has it in that order
            for index in sorted {
                let goes = about.indexes.contains(index) || !is_sorted(index);
                assert!(goes && (is_sorted(index) || version != newest), "{index}: {shown}");
            }
            // where no index is missed, whatever is gone through as a whole is no table of done ones
            let done = fixture.many.split("INSERT INTO ").filter(|it| it.contains("1000000"));
            for into in done.filter(|_| fixture.without.is_none()) {
                let table = into.split(' ').next().unwrap().rsplit('.').next().unwrap();
                assert!(!about.whole.contains(table), "{table}: {shown}, {:?}", about.whole);
            }
            for any in library.indexes {
                // some came later, and are missed before
                let missed = any.join(" or ");
                let is_missed = about.facts.advice.iter().any(|it| it.contains(&missed));
                let goes = any.iter().any(|it| about.indexes.contains(*it));
                assert!(goes || (is_missed && version != newest), "{any:?}: {shown}");
            }
            // one of all rows is walked along for none of the open ones
            assert!(!about.indexes.contains("index_good_jobs_on_created_at"), "{shown}");
        }
    }
}

#[test]
fn what_comes_next_is_the_same_by_an_index_and_without() {
    let test = "libraries::what_comes_next_is_the_same_by_an_index_and_without";
    only(&["river", "oban", "que", "pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(fixture.in_shares.unwrap());
        let sorted = library::named(fixture.name).unwrap().sorted.as_ref().unwrap();
        let lists = |most| {
            let asked = queue(fixture, &database.url("postgres"));
            let QueueLook::Known(facts) = queue::look(&Queue { next_jobs: most, ..asked }) else {
                panic!("{}", fixture.name)
            };
            assert_eq!(facts.next.len(), usize::try_from(most).unwrap());
            (facts.next, facts.cooling)
        };
        let by_it = [1, 10, 100].map(lists);
        let schema = fixture.schema;
        database.sql(&format!("DROP INDEX {schema}.{}", sorted.index));
        assert_eq!([1, 10, 100].map(lists), by_it, "{}", fixture.name);
        // nor does one of another order under that name change it
        let on = if fixture.name == "pg-boss" { "job_common" } else { fixture.tables[0] };
        database.sql(&format!("CREATE INDEX {} ON {schema}.{on} (priority, id)", sorted.index));
        assert_eq!([1, 10, 100].map(lists), by_it, "{}", fixture.name);
    });
}

#[test]
fn what_waits_for_a_time_is_told_ahead_of_what_is_held_for_something_else() {
    let test = "libraries::what_waits_for_a_time_is_told_ahead_of_what_is_held_for_something_else";
    only(&["river", "pg-boss", "oban"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        // the time of twelve that are held was an hour ago; the last one waits for a minute
        database.sql(match fixture.name {
            "river" => {
                "INSERT INTO river_job (kind, args, state, scheduled_at)
                     SELECT 'k', '{}', (CASE WHEN g > 12 THEN 'scheduled' ELSE 'pending' END)::river_job_state,
                         now() + CASE WHEN g > 12 THEN interval '1 min' ELSE interval '-1 h' END FROM generate_series(1, 13) g"
            }
            "oban" => {
                "INSERT INTO oban_jobs (worker, state, scheduled_at)
                     SELECT 'k', (CASE WHEN g > 12 THEN 'scheduled' ELSE 'suspended' END)::oban_job_state,
                         timezone('UTC', now() + CASE WHEN g > 12 THEN interval '1 min' ELSE interval '-1 h' END) FROM generate_series(1, 13) g"
            }
            _ => {
                "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                     deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
                 INSERT INTO pgboss.job (name, blocked, start_after)
                     SELECT 't', g <= 12, now() + CASE WHEN g > 12 THEN interval '1 min' ELSE interval '-1 h' END FROM generate_series(1, 13) g"
            }
        });
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [0, 0, 13, 0], "{facts:?}");
        let in_seconds =
            |job: &Job| Some(job.not_before_utc_ms?.saturating_sub(facts.at_utc_ms).div_ceil(1000));
        let until: Vec<Option<u64>> = facts.cooling.iter().map(in_seconds).collect();
        assert!(until.len() == 10 && matches!(until[0], Some(50..=60)), "{facts:?}");
        // nobody knows when what is held is let go
        assert!(until[1..].iter().all(Option::is_none), "{facts:?}");
    });
}

#[test]
fn what_has_no_try_left_at_oban_is_taken_by_nobody() {
    let test = "libraries::what_has_no_try_left_at_oban_is_taken_by_nobody";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "oban").unwrap();
    // before 12 its tables may be those of one that takes it
    for (version, expected) in [(14, [0, 0, 1, 0]), (12, [0, 0, 1, 0]), (11, [0, 1, 0, 0])] {
        let database = &cluster.database();
        (fixture.install)(&packages, database, version);
        database.sql("INSERT INTO oban_jobs (worker, attempt, max_attempts) VALUES ('k', 3, 3)");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), expected, "{version}: {facts:?}");
        assert_eq!(facts.next.len(), usize::from(version < 12), "{version}: {facts:?}");
    }
}

#[test]
fn what_is_suspended_at_oban_waits_for_somebody() {
    let test = "libraries::what_is_suspended_at_oban_waits_for_somebody";
    for place in ["BEFORE", "AFTER"] {
        only(&["oban"], test, |fixture, packages, database| {
            // whoever else uses these tables puts it elsewhere
            (fixture.install)(packages, database, 13);
            database.sql(&format!(
                "ALTER TYPE oban_job_state ADD VALUE 'suspended' {place} 'scheduled'"
            ));
            database.sql("COMMENT ON TABLE oban_jobs IS '14'; INSERT INTO oban_jobs (worker, args, state, scheduled_at) VALUES ('w', '{}', 'suspended', timezone('UTC', now() - interval '1 h'))");
            let facts = about(fixture, database, "postgres").unwrap().facts;
            assert_eq!(
                State::ALL.map(|state| facts.count(state)),
                [0, 0, 1, 0],
                "{place}: {facts:?}"
            );
            assert_eq!(facts.next, []);
        });
    }
}

#[test]
fn what_comes_next_is_what_the_library_would_take_next() {
    let test = "libraries::what_comes_next_is_what_the_library_would_take_next";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let (rows, order) = fixture.equals;
        database.sql(rows);
        let facts = read(fixture, database, "postgres");
        let known = database.client().query(fixture.ids, &[]).unwrap();
        let key = |job: &Job| -> String {
            known.iter().find(|row| row.get::<_, String>(0) == job.id).unwrap().get(1)
        };
        assert_eq!(facts.next.iter().map(key).collect::<Vec<_>>(), order, "{}", fixture.name);
    });
}

#[test]
fn a_row_that_says_when_it_goes_back_is_believed() {
    let test = "libraries::a_row_that_says_when_it_goes_back_is_believed";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let facts = read(fixture, database, "postgres");
        let backs: Vec<Option<i64>> = facts
            .running
            .iter()
            .map(|job| {
                let back = i64::try_from(job.back_utc_ms?).unwrap();
                Some((back - i64::try_from(facts.at_utc_ms).unwrap()) / 1000)
            })
            .collect();
        let mut backs: Vec<i64> = backs.into_iter().flatten().collect();
        backs.sort_unstable();
        match fixture.name {
            // a beat of 10 s ago is good for 60, and one of 4 min ago is not any more; not the 15 min of its queue
            "pg-boss" => assert!(
                (-185..=-175).contains(&backs[0]) && (40..=50).contains(&backs[1]),
                "{backs:?}"
            ),
            "pgmq" => assert!(
                (55..=60).contains(&backs[0]) && (590..=600).contains(&backs[1]),
                "{backs:?}"
            ),
            _ => assert!(backs.is_empty(), "{}: {backs:?}", fixture.name),
        }
    });
}

#[test]
fn procrastinate_is_read_from_the_first_version_on_that_is_told() {
    let test = "libraries::procrastinate_is_read_from_the_first_version_on_that_is_told";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let database = cluster.database();
    let fixture = ALL.iter().find(|it| it.name == "procrastinate").unwrap();
    let role = database.role("reader");
    let mut read_at = Vec::new();
    for file in packages.files("venv/lib/python*/site-packages/procrastinate/sql/migrations") {
        database.sql(&fs::read_to_string(&file).unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        // 3.1 brought heartbeats; what it and each later one leaves behind is read, half done too
        if name < "03.01" {
            continue;
        }
        if read_at.is_empty() {
            let _held = plant(fixture, &database);
        }
        let facts = read(fixture, &database, &role);
        let shown = format!("{name}: {facts:?}");
        assert_eq!(State::ALL.map(|state| facts.count(state)), [2, 1, 2, 2], "{shown}");
        assert_eq!((facts.stale_running, facts.dead), (Some(1), Some(1)), "{shown}");
        assert!(facts.advice.is_empty(), "{shown}");
        read_at.push(name[..5].to_owned());
    }
    for version in ["03.01", "03.02", "03.03", "03.04"] {
        assert!(read_at.iter().any(|it| it == version), "{version}: {read_at:?}");
    }
}

#[test]
fn a_job_counts_as_stale_after_the_time_that_is_configured_where_its_library_says_none() {
    let test = "libraries::a_job_counts_as_stale_after_the_time_that_is_configured_where_its_library_says_none";
    only(&["river", "oban"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        // one was begun 10 min ago, the other 2 h
        for (minutes, expected) in [(5, 2), (15, 1), (119, 1), (121, 0)] {
            let mut asked = queue(fixture, &database.url("postgres"));
            asked.stale_after = std::time::Duration::from_secs(minutes * 60);
            let look = queue::look(&asked);
            assert_eq!(
                look.known().unwrap().stale_running,
                Some(expected),
                "{minutes} min: {look:?}"
            );
        }
    });
}

#[test]
fn what_is_at_its_last_try_runs_until_its_library_lets_it_go_and_then_has_failed_for_good() {
    let test = "libraries::what_is_at_its_last_try_runs_until_its_library_lets_it_go_and_then_has_failed_for_good";
    only(&["graphile-worker", "pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        // of two whose worker is gone one has a try left; what takes them back is the library's own
        let (rows, own) = match fixture.name {
            "pg-boss" => (
                "INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                     deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
                 INSERT INTO pgboss.job (name, state, started_on, expire_seconds, retry_limit, retry_count)
                     SELECT 't', 'active', now() - interval '1 h', 900, 2, tries FROM generate_series(1, 2) tries",
                "import { failJobsByTimeout } from './node_modules/pg-boss/dist/plans.js';
                 console.log(failJobsByTimeout('pgboss', 'job_common', ['t']))",
            ),
            _ => (
                "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t');
                 INSERT INTO graphile_worker._private_jobs (task_id, locked_at, max_attempts, attempts)
                     SELECT id, now() - interval '5 h', 3, tries FROM graphile_worker._private_tasks, generate_series(2, 3) tries",
                "import { resetLockedAt } from './node_modules/graphile-worker/dist/sql/resetLockedAt.js';
                 const worker = { preparedStatements: false, useNodeTime: false };
                 const options = { escapedWorkerSchema: 'graphile_worker', workerSchema: 'graphile_worker', resolvedPreset: { worker } };
                 await resetLockedAt(options, { withRetries: (does) => does({ query: (it) => console.log(it.text) }) })",
            ),
        };
        database.sql(rows);
        let told = || {
            let facts = about(fixture, database, "postgres").unwrap().facts;
            let counts = State::ALL.map(|it| facts.count(it));
            (counts, facts.stale_running, facts.dead)
        };
        assert_eq!(told(), ([0, 0, 0, 2], Some(2), Some(0)), "{}", fixture.name);
        database.sql(&packages.node(own));
        assert_eq!(told(), ([0, 1, 0, 0], Some(0), Some(1)), "{}", fixture.name);
    });
}

#[test]
fn a_job_that_is_begun_and_that_nobody_has_runs_and_nobody_is_at_it() {
    let test = "libraries::a_job_that_is_begun_and_that_nobody_has_runs_and_nobody_is_at_it";
    only(&["good-job"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "INSERT INTO good_jobs (created_at, updated_at, scheduled_at, performed_at) VALUES (now(), now(), now(), now())",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|state| facts.count(state)), [0, 0, 0, 1], "{facts:?}");
        assert_eq!(facts.stale_running, Some(1), "{facts:?}");
    });
}

#[test]
fn what_a_job_was_put_in_with_by_keywords_is_found_too() {
    let test = "libraries::what_a_job_was_put_in_with_by_keywords_is_found_too";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let database = cluster.database();
    que(&packages, &database, 7);
    database.sql("INSERT INTO que_jobs (job_class, job_schema_version, kwargs) VALUES ('k', 1, '{\"dir\": \"/srv/out/k\"}')");
    let text = format!(
        "[queue]\nurl = \"{}\"\nadapter = \"que\"\n[queue.library]\noutput = \"kwargs.dir\"\n",
        database.url("postgres")
    );
    let queue = config::from_str(&text).unwrap().queue.unwrap();
    let QueueLook::Known(facts) = queue::look(&queue) else { panic!("not known") };
    assert_eq!(facts.next[0].output, Some(PathBuf::from("/srv/out/k")));
}

#[test]
fn what_was_applied_by_hand_tells_its_version_by_what_it_brought() {
    let test = "libraries::what_was_applied_by_hand_tells_its_version_by_what_it_brought";
    only(&["pgmq"], test, |fixture, packages, database| {
        pgmq(packages, database, 104);
        let version = || about(fixture, database, "postgres").map(|it| it.version);
        assert_eq!(version(), Ok(104));
        for (brings, expected) in [
            ("ALTER TYPE pgmq.message_record ADD ATTRIBUTE headers jsonb", 105),
            ("ALTER TYPE pgmq.message_record ADD ATTRIBUTE last_read_at timestamptz", 110),
            ("CREATE TABLE pgmq.topic_bindings (queue_name text)", 111),
            (
                "CREATE FUNCTION pgmq.read_grouped_head_with_poll(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
                112,
            ),
        ] {
            database.sql(brings);
            assert_eq!(version(), Ok(expected), "{brings}");
        }
        for brings in [
            "ALTER TYPE pgmq.message_record ADD ATTRIBUTE priority int",
            "ALTER TYPE pgmq.message_record DROP ATTRIBUTE priority; ALTER TABLE pgmq.meta ADD COLUMN shard int",
            "ALTER TABLE pgmq.meta DROP COLUMN shard; CREATE FUNCTION pgmq.read(text, timestamptz, integer, jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ] {
            database.sql(brings);
            let why = version().unwrap_err();
            assert!(why.contains("nobody has looked at a later one"), "{brings}: {why}");
        }
    });
}

#[test]
fn a_queue_that_somebody_else_makes_later_may_be_read_too() {
    let test = "libraries::a_queue_that_somebody_else_makes_later_may_be_read_too";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let (role, maker) = (database.role("reader"), database.role("maker"));
        database.sql(&format!(
            "GRANT ALL ON SCHEMA pgmq TO {maker}; GRANT ALL ON pgmq.meta TO {maker}; ALTER TABLE pgmq.q_q OWNER TO {maker}"
        ));
        read(fixture, database, &role);
        let more = "CREATE TABLE pgmq.q_later (LIKE pgmq.q_q INCLUDING ALL);
            INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ('later', false, false);
            INSERT INTO pgmq.q_later (vt, message) VALUES (now(), '{}')";
        database.sql(&format!("SET ROLE {maker}; {more}; RESET ROLE"));
        let facts = about(fixture, database, &role).unwrap().facts;
        assert_eq!(facts.count(State::Pending), 1, "{facts:?}");
    });
}

#[test]
fn what_a_person_has_paused_waits_and_is_nothing_that_could_be_taken() {
    let test = "libraries::what_a_person_has_paused_waits_and_is_nothing_that_could_be_taken";
    only(&["river", "solid-queue"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let role = database.role("reader");
        read(fixture, database, &role);
        let [other, this] = match fixture.name {
            "river" => ["other", "default"].map(|queue| format!("INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('{queue}', now(), now())")),
            _ => ["other", "q"].map(|queue| format!("INSERT INTO solid_queue_pauses (queue_name, created_at) VALUES ('{queue}', now())")),
        };
        database.sql(&other);
        let facts = about(fixture, database, &role).unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [2, 1, 2, 2], "{facts:?}");
        database.sql(&this);
        let facts = about(fixture, database, &role).unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [0, 0, 5, 2], "{facts:?}");
        assert_eq!((facts.next.len(), facts.oldest_pending_ms), (0, None), "{facts:?}");
        if fixture.name == "river" {
            database.sql("UPDATE river_queue SET paused_at = NULL");
            assert_eq!(about(fixture, database, &role).unwrap().facts.count(State::Pending), 2);
        }
    });
}

#[test]
fn a_job_whose_lock_is_another_ones_just_now_is_nothing_that_could_be_taken() {
    let test =
        "libraries::a_job_whose_lock_is_another_ones_just_now_is_nothing_that_could_be_taken";
    only(&["procrastinate"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock) VALUES ('q', 't', 'a'), ('q', 't', 'a'), ('q', 't', 'b'), ('q', 't', NULL);
             UPDATE procrastinate_events SET at = at - interval '1 h' WHERE job_id < 3",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [4, 0, 0, 0], "{facts:?}");
        database.sql("UPDATE procrastinate_jobs SET status = 'doing' WHERE id = 1");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [2, 0, 1, 1], "{facts:?}");
        assert!(facts.oldest_pending_ms.unwrap() < 600_000, "{facts:?}");
    });
}

#[test]
fn a_job_behind_one_of_its_lock_whose_time_is_to_come_is_nothing_that_could_be_taken() {
    let test = "libraries::a_job_behind_one_of_its_lock_whose_time_is_to_come_is_nothing_that_could_be_taken";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "procrastinate").unwrap();
    // since 3.3 the priority says which of a lock comes first, before that the number
    for (before, expected, next) in
        [("03.03", [2, 0, 3, 0], vec!["3", "5"]), ("99", [1, 0, 4, 0], vec!["5"])]
    {
        let database = &cluster.database();
        for file in packages.files("venv/lib/python*/site-packages/procrastinate/sql/migrations") {
            if file.file_name().unwrap() < std::ffi::OsStr::new(before) {
                database.sql(&fs::read_to_string(&file).unwrap());
            }
        }
        database.sql(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, priority, scheduled_at)
                 VALUES ('q', 't', 'a', 0, now() + interval '1 h'), ('q', 't', 'a', 0, NULL), ('q', 't', 'b', 0, NULL),
                     ('q', 't', 'b', 5, now() + interval '1 h'), ('q', 't', NULL, 0, NULL);
             UPDATE procrastinate_events SET at = at - interval '1 h' WHERE job_id IN (1, 2, 4)",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), expected, "{before}: {facts:?}");
        let ids = |jobs: &[Job]| jobs.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&facts.next), next, "{before}: {facts:?}");
        assert!(facts.oldest_pending_ms.unwrap() < 600_000, "{before}: {facts:?}");
        // those that the others wait for wait for a time themselves
        assert_eq!(ids(&facts.cooling[..2]), ["1", "4"], "{before}: {facts:?}");
        assert!(facts.cooling[..2].iter().all(|it| it.not_before_utc_ms.is_some()));
        assert!(facts.cooling[2..].iter().all(|it| it.not_before_utc_ms.is_none()));
        // and its own function takes these, and no other
        let take = "SELECT coalesce(id::text, '') FROM procrastinate_fetch_job_v2(NULL, NULL)";
        for id in next.iter().chain(&[""]) {
            assert_eq!(database.value(take), *id, "{before}");
        }
    }
}

#[test]
fn a_job_whose_named_queue_is_busy_waits_until_that_is_not() {
    let test = "libraries::a_job_whose_named_queue_is_busy_waits_until_that_is_not";
    only(&["graphile-worker"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "SELECT graphile_worker.add_job('t', '{}', q) FROM (VALUES ('busy'), ('busy'), ('idle'), (NULL)) AS r (q);
             UPDATE graphile_worker._private_jobs SET locked_at = now() WHERE id = (SELECT min(id) FROM graphile_worker._private_jobs);
             UPDATE graphile_worker._private_job_queues SET locked_at = now() WHERE queue_name = 'busy'",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [2, 0, 1, 1], "{facts:?}");
        assert_eq!((facts.next.len(), facts.cooling.len()), (2, 1), "{facts:?}");
        assert_eq!(facts.cooling[0].not_before_utc_ms, None, "{facts:?}");
        database.sql(
            "UPDATE graphile_worker._private_jobs SET locked_at = NULL;
             UPDATE graphile_worker._private_job_queues SET locked_at = NULL",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [4, 0, 0, 0], "{facts:?}");
    });
}

#[test]
fn what_no_text_of_a_database_can_be_makes_no_queue_unknown() {
    let test = "libraries::what_no_text_of_a_database_can_be_makes_no_queue_unknown";
    only(&["solid-queue"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        // what is a job's own may say what the library says behind it
        database.sql(r#"
            UPDATE solid_queue_jobs SET arguments = '{"job_class":"k","arguments":[{"note":"a\u0000b","executions": 7}],"executions":0,"exception_executions":{"[E]":3}}' WHERE id = 3;
            UPDATE solid_queue_jobs SET arguments = '{"job_class":"k","arguments":[{"executions":0}],"executions":12,"exception_executions":{}}' WHERE id = 4"#);
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [1, 2, 2, 2], "{facts:?}");
        let tries: Vec<_> =
            facts.next.iter().map(|it| (it.attempts, it.output.is_some())).collect();
        assert_eq!(tries, [(Some(0), false), (Some(12), false), (Some(2), true)]);
    });
}

#[test]
fn what_waits_for_others_and_what_was_given_up_at_pg_boss_is_nothing_that_could_be_taken() {
    let test = "libraries::what_waits_for_others_and_what_was_given_up_at_pg_boss_is_nothing_that_could_be_taken";
    only(&["pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("
            INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
                deletion_seconds, partition, table_name, dead_letter)
            VALUES ('dead', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common', NULL),
                ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common', 'dead');
            INSERT INTO pgboss.job (name, blocked, source_id) VALUES ('t', true, NULL), ('dead', false, gen_random_uuid()), ('dead', false, NULL)");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        // what was put into the queue of dead letters by itself is work like any other
        assert_eq!(State::ALL.map(|it| facts.count(it)), [1, 0, 1, 0], "{facts:?}");
    });
}

#[test]
fn a_queue_in_parts_is_read_as_one() {
    let test = "libraries::a_queue_in_parts_is_read_as_one";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "CREATE TABLE pgmq.q_parted (msg_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, read_ct int NOT NULL DEFAULT 0,
                 enqueued_at timestamptz NOT NULL DEFAULT now(), vt timestamptz NOT NULL, message jsonb, headers jsonb) PARTITION BY RANGE (msg_id);
             CREATE TABLE pgmq.q_parted_p0 PARTITION OF pgmq.q_parted FOR VALUES FROM (0) TO (2);
             CREATE TABLE pgmq.q_parted_default PARTITION OF pgmq.q_parted DEFAULT;
             INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ('parted', true, false);
             INSERT INTO pgmq.q_parted (msg_id, vt) VALUES (1, now()), (2, now()), (3, now() + interval '1 h')",
        );
        let facts = read(fixture, database, &database.role("reader"));
        assert_eq!(State::ALL.map(|it| facts.count(it)), [2, 0, 1, 0], "{facts:?}");
        let grants = about(fixture, database, "postgres").unwrap().grants.concat();
        assert!(!grants.contains("q_parted_p0"), "a part is read by its whole: {grants}");
    });
}

#[test]
fn a_queue_whose_table_is_gone_is_named_with_what_mends_it() {
    let test = "libraries::a_queue_whose_table_is_gone_is_named_with_what_mends_it";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        database.sql("DROP TABLE pgmq.q_other");
        let why = about(fixture, database, "postgres").unwrap_err();
        let (_, mend) =
            why.split_once("as the owner of the tables: ").unwrap_or_else(|| panic!("{why}"));
        assert!(why.starts_with("Other, table q_other: "), "{why}");
        database.sql(mend);
        assert_eq!(about(fixture, database, "postgres").unwrap().facts.count(State::Running), 1);
    });
}

#[test]
fn a_statement_that_takes_too_long_is_ended_by_the_server_and_is_no_empty_queue() {
    let test =
        "libraries::a_statement_that_takes_too_long_is_ended_by_the_server_and_is_no_empty_queue";
    only(&["river", "que"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let table = fixture.tables[0];
        let comment = if fixture.name == "que" { "COMMENT ON VIEW que_jobs IS '7'" } else { "" };
        database.sql(&format!(
            "ALTER TABLE {table} RENAME TO a_real_one;
             CREATE VIEW {table} AS SELECT * FROM a_real_one WHERE pg_sleep(0.4) IS NOT NULL; {comment}"
        ));
        let mut asked = queue(fixture, &database.url("postgres"));
        asked.timeout = std::time::Duration::from_secs(2);
        let look = queue::look(&asked);
        assert!(
            matches!(&look, QueueLook::Unknown { why, .. } if why.contains("statement timeout") && why.contains("timeout = \"1m\"")),
            "{look:?}"
        );
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'unwedge-jobs' AND state = 'active'";
        assert_eq!(database.value(busy), "0", "and it goes on no longer there");
    });
}

#[test]
fn what_was_put_in_twice_has_not_failed() {
    let test = "libraries::what_was_put_in_twice_has_not_failed";
    only(&["river"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("INSERT INTO river_job (kind, args, state, finalized_at, metadata) SELECT 'k', '{}', 'discarded', now(), m::jsonb
            FROM (VALUES ('{}'), ('{\"unique_key_conflict\": \"scheduler_discarded\"}')) AS r (m)");
        assert_eq!(about(fixture, database, "postgres").unwrap().facts.dead, Some(1));
    });
}

#[test]
fn more_that_run_than_can_be_listed_are_not_cut_short() {
    each(
        "libraries::more_that_run_than_can_be_listed_are_not_cut_short",
        |fixture, packages, database| {
            (fixture.install)(packages, database, fixture.versions[1]);
            let Some(rows) = fixture.running else { return };
            database.sql(&rows.replace("COUNT", "1000"));
            let look = || queue::look(&queue(fixture, &database.url("postgres")));
            let facts = look();
            let facts = facts.known().unwrap();
            assert_eq!((facts.running.len(), facts.count(State::Running)), (1000, 1000));
            database.sql(&rows.replace("COUNT", "1"));
            let QueueLook::Unknown { why, .. } = look() else {
                panic!("{}: cut short", fixture.name)
            };
            assert!(
                why.starts_with("more than 1000 jobs are running, and each is looked at: "),
                "{why}"
            );
        },
    );
}

#[test]
fn an_index_that_was_never_finished_serves_nothing() {
    let test = "libraries::an_index_that_was_never_finished_serves_nothing";
    only(&["river"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        assert_eq!(about(fixture, database, "postgres").unwrap().facts.advice, [""; 0]);
        database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'river_job_prioritized_fetching_index'::regclass");
        let advice = about(fixture, database, "postgres").unwrap().facts.advice;
        assert!(
            advice[0].contains("has no index river_job_prioritized_fetching_index"),
            "{advice:?}"
        );
        // nor is what comes next looked for by it, share by share: each would be a walk through all rows
        database.sql(fixture.in_shares.unwrap());
        database.sql("SELECT pg_stat_reset()");
        about(fixture, database, "postgres").unwrap();
        let scans = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0)::text FROM pg_stat_user_tables WHERE relname = 'river_job'";
        let mut count = 0;
        for _ in 0..100 {
            count = database.value(scans).parse().unwrap();
            if count > 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!((1..20).contains(&count), "{count} scans");
    });
}

#[test]
fn an_extension_tells_its_version_itself() {
    let test = "libraries::an_extension_tells_its_version_itself";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "pgmq").unwrap();
    let database = cluster.database();
    pgmq(&packages, &database, 104);
    database.sql(fixture.later);
    for (version, expected) in
        [("1.3.9", "version 103"), ("1.4.0", ""), ("1.13.0", ""), ("1.14.0", "version 114")]
    {
        database.sql(&format!(
            "SET allow_system_table_mods = on; UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'pgmq'"
        ));
        let why = about(fixture, &database, "postgres").err().unwrap_or_default();
        assert!(
            why.contains(expected) && why.is_empty() == expected.is_empty(),
            "{version}: {why}"
        );
    }
    database
        .sql("SET allow_system_table_mods = on; DELETE FROM pg_extension WHERE extname = 'pgmq'");
}

#[test]
fn tables_without_a_row_are_a_queue_without_a_job() {
    each(
        "libraries::tables_without_a_row_are_a_queue_without_a_job",
        |fixture, packages, database| {
            (fixture.install)(packages, database, fixture.versions[1]);
            let facts = read(fixture, database, &database.role("reader"));
            assert_eq!(State::ALL.map(|state| facts.count(state)), [0; 4]);
            assert_eq!(
                (facts.dead, facts.stale_running, facts.oldest_pending_ms),
                ((fixture.name != "pgmq").then_some(0), Some(0), None)
            );
            assert_eq!((facts.running.len(), facts.next.len(), facts.cooling.len()), (0, 0, 0));
            if fixture.name == "pgmq" {
                database.sql("DELETE FROM pgmq.meta");
                let facts = about(fixture, database, "postgres").unwrap().facts;
                assert_eq!(State::ALL.map(|state| facts.count(state)), [0; 4], "no queue at all");
            }
        },
    );
}

#[test]
fn a_version_that_nobody_has_looked_at_is_unknown_and_never_empty() {
    let test = "libraries::a_version_that_nobody_has_looked_at_is_unknown_and_never_empty";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL {
        let (old, new) = (cluster.database(), cluster.database());
        (fixture.install)(&packages, &old, fixture.versions[2]);
        let why = about(fixture, &old, "postgres").unwrap_err();
        assert!(why.contains(&format!("version {}", fixture.versions[2])), "{why}");
        assert!(why.contains("are read here: update "), "{why}");
        assert!(why.contains(fixture.older), "{why}");
        (fixture.install)(&packages, &new, fixture.versions[1]);
        about(fixture, &new, "postgres").unwrap();
        new.sql(fixture.later);
        let why = about(fixture, &new, "postgres").unwrap_err();
        assert!(why.contains("nobody has looked at a later one"), "{why}");
        assert!(why.contains("install a later unwedge, whose `unwedge queue check` says"), "{why}");
        // a column of the application's own is no later version once it is said to be that
        if let Some((_, rest)) = why.split_once("has not: ") {
            let (column, _) = rest.split_once(';').unwrap();
            assert!(fixture.later.contains(&format!(" ADD COLUMN {column} ")), "{why}");
            let mut asked = queue(fixture, &new.url("postgres"));
            let Adapter::Library(library) = &mut asked.adapter else { panic!() };
            library.columns = vec![column.to_owned()];
            queue::about_library(&asked).unwrap();
        }
        let look = queue::look(&queue(fixture, &new.url("postgres")));
        assert!(matches!(look, QueueLook::Unknown { .. }), "{look:?}");
    }
}

#[test]
fn the_version_of_another_line_of_rivers_is_none_of_its_jobs() {
    let test = "libraries::the_version_of_another_line_of_rivers_is_none_of_its_jobs";
    only(&["river"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("INSERT INTO river_migration (line, version) VALUES ('pro', 99)");
        assert_eq!(about(fixture, database, "postgres").unwrap().version, fixture.versions[1]);
    });
}

#[test]
fn nobody_is_sent_straight_to_que_2() {
    let test = "libraries::nobody_is_sent_straight_to_que_2";
    only(&["que"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[2]);
        for version in [3, 4] {
            database.sql(&format!("COMMENT ON TABLE que_jobs IS '{version}'"));
            let why = about(fixture, database, "postgres").unwrap_err();
            assert!(why.contains(&format!("of version {version}, and")), "{why}");
            assert!(why.contains("update Que to 1.4, not yet to 2"), "{why}");
            assert!(why.ends_with("Que.migrate!(version: 5)"), "{why}");
        }
    });
}

#[test]
fn good_job_is_told_each_major_version_that_is_on_the_way() {
    let test = "libraries::good_job_is_told_each_major_version_that_is_on_the_way";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "good-job").unwrap();
    let by_one = "one major version at a time, to 1.99, 2.99 and 3.99, and in its application";
    for (version, way) in [(3, "update GoodJob to 3.99 first"), (2, by_one), (1, by_one)] {
        let database = &cluster.database();
        (fixture.install)(&packages, database, version);
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains(&format!("are of version {version}, and")), "{why}");
        assert!(why.contains(way), "{why}");
        if version == 3 {
            // what 2 brought last
            database.sql("DROP TABLE good_job_processes");
            let why = about(fixture, database, "postgres").unwrap_err();
            assert!(why.contains("are of version 2, and") && why.contains(by_one), "{why}");
        }
    }
}

#[test]
fn what_brings_oban_up_to_date_names_the_schema_that_it_lives_in() {
    let test = "libraries::what_brings_oban_up_to_date_names_the_schema_that_it_lives_in";
    only(&["oban"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[2]);
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains("Oban.Migration.up(prefix: \"public\")"), "{why}");
        database.sql("ALTER SCHEMA public RENAME TO jobs; CREATE SCHEMA public");
        let mut asked = queue(fixture, &database.url("postgres"));
        let Adapter::Library(read) = &mut asked.adapter else { panic!() };
        read.schema = Some("jobs".to_owned());
        let Fault(why) = queue::about_library(&asked).unwrap_err();
        assert!(why.contains("Oban.Migration.up(prefix: \"jobs\")"), "{why}");
    });
}

#[test]
fn what_brings_solid_queue_up_to_date_is_told_for_a_database_of_its_own_too() {
    let test =
        "libraries::what_brings_solid_queue_up_to_date_is_told_for_a_database_of_its_own_too";
    only(&["solid-queue"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[2]);
        let why = about(fixture, database, "postgres").unwrap_err();
        for command in ["install:migrations && ", "install:migrations DATABASE=NAME && "] {
            let command = format!("bin/rails solid_queue:{command}bin/rails db:migrate");
            assert!(why.contains(&command), "{why}");
        }
    });
}

#[test]
fn the_command_that_an_old_version_is_told_brings_it_to_one_that_is_read() {
    let test = "libraries::the_command_that_an_old_version_is_told_brings_it_to_one_that_is_read";
    only(&["graphile-worker", "pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[2]);
        let why = about(fixture, database, "postgres").unwrap_err();
        let (_, command) = why.split_once("and: npx ").unwrap_or_else(|| panic!("{why}"));
        packages.paste(&format!("npx {command}"), &[("DATABASE_URL", database)]);
        about(fixture, database, "postgres").unwrap();
    });
}

#[test]
fn a_schema_that_has_some_tables_called_as_a_librarys_is_not_told_a_restore_where_another_has_all()
{
    let test = "libraries::a_schema_that_has_some_tables_called_as_a_librarys_is_not_told_a_restore_where_another_has_all";
    let Some(cluster) = cluster(test) else { return };
    for name in ["graphile-worker", "pg-boss", "procrastinate"] {
        let library = library::ALL.iter().find(|it| it.name == name).unwrap();
        let fixture = ALL.iter().find(|it| it.name == name).unwrap();
        let database = cluster.database();
        let needed = library.reads.iter().filter(|it| it.unless.is_none()).map(|it| it.name);
        let needed: Vec<&str> = needed.collect();
        let own = library.schema;
        database.sql(&format!("CREATE SCHEMA IF NOT EXISTS {own}; CREATE SCHEMA \"Right one\""));
        for table in &needed {
            database.sql(&format!("CREATE TABLE \"Right one\".{table} (it int)"));
        }
        // what it was told to read has one of them
        let last = needed.last().unwrap();
        assert!(needed.len() > 1, "{name}");
        database.sql(&format!("CREATE TABLE {own}.{last} (it int)"));
        let why = about(fixture, &database, "postgres").unwrap_err();
        let mend = "all of them are in another: [queue.library] schema = \"Right one\"";
        assert!(why.ends_with(mend) && !why.contains("pg_dump"), "{name}: {why}");
        // a part of them is no such set
        database.sql(&format!("DROP TABLE \"Right one\".{last}"));
        let why = about(fixture, &database, "postgres").unwrap_err();
        assert!(why.contains("pg_dump") && !why.contains("Right one"), "{name}: {why}");
    }
}

#[test]
fn the_command_that_is_told_where_there_are_no_tables_makes_some_that_are_read() {
    let test =
        "libraries::the_command_that_is_told_where_there_are_no_tables_makes_some_that_are_read";
    let all = ["graphile-worker", "pg-boss", "procrastinate"];
    only(&all, test, |fixture, packages, database| {
        let mut asked = queue(fixture, &database.url("postgres"));
        for schema in [None, Some("jobs")] {
            let Adapter::Library(read) = &mut asked.adapter else { panic!() };
            read.schema = schema.map(str::to_owned);
            let Fault(why) = queue::about_library(&asked).unwrap_err();
            let (_, command) =
                why.split_once("which makes its tables: ").unwrap_or_else(|| panic!("{why}"));
            let (command, _) = command.split_once("; or it lives in another").unwrap();
            if let Some(schema) = schema {
                database.sql(&format!("CREATE SCHEMA {schema}"));
            }
            packages.paste(command, &[("DATABASE_URL", database)]);
            let facts = queue::about_library(&asked).unwrap().facts;
            assert_eq!(State::ALL.map(|it| facts.count(it)), [0; 4], "{command}");
            // the next are to be made where there are none elsewhere
            let own = fixture.schema;
            database.sql(&format!(
                "DROP SCHEMA IF EXISTS {own} CASCADE; CREATE SCHEMA IF NOT EXISTS public"
            ));
        }
    });
}

#[test]
fn what_may_not_be_read_says_the_grant_that_mends_it() {
    oldest_and_newest(
        "libraries::what_may_not_be_read_says_the_grant_that_mends_it",
        |fixture, packages, database, version| {
            (fixture.install)(packages, database, version);
            database.sql("REVOKE ALL ON SCHEMA public FROM public");
            let _held = plant(fixture, database);
            let role = database.role("reader");
            let why = about(fixture, database, &role).unwrap_err();
            let (said, grants) = why.split_once("tables: ").unwrap_or_else(|| panic!("{why}"));
            assert!(said.contains("permission denied"), "{why}");
            database.sql(grants);
            assert_eq!(about(fixture, database, &role).unwrap().facts.count(State::Running), 2);
            // no grant could be left out, nor any column of one
            let is_of_now = |it: &&str| it.trim().starts_with("GRANT");
            let each = |grant: &str| -> Vec<String> {
                match grant.split_once(" (").and_then(|(_, rest)| rest.split_once(") ON ")) {
                    Some((columns, on)) => columns
                        .split(", ")
                        .map(|it| format!("GRANT SELECT ({it}) ON {on}"))
                        .collect(),
                    None => vec![grant.to_owned()],
                }
            };
            for grant in grants.split_inclusive(';').filter(is_of_now).flat_map(each) {
                database.sql(&grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM "));
                // a column that an old version has, and that is read of later ones alone
                let column = grant.split('"').nth(1).unwrap_or_default();
                let newer = library::named(fixture.name).unwrap().newer.iter();
                let is_later =
                    newer.clone().any(|it| it.from > version && it.then.contains(column));
                assert!(is_later || about(fixture, database, &role).is_err(), "{version}: {grant}");
                database.sql(&grant);
            }
            // what jobs were put in with is shown to nobody who does not ask for it
            let mut asked = queue(fixture, &database.url("postgres"));
            let Adapter::Library(read) = &mut asked.adapter else { panic!() };
            read.output.clear();
            let all = queue::about_library(&asked).unwrap().grants.concat();
            for shown in ["\"args\"", "\"data\"", "\"message\"", "\"serialized_params\""] {
                assert!(!all.contains(shown), "{all}");
            }
        },
    );
}

#[test]
fn a_policy_that_hides_rows_is_no_empty_queue() {
    let test = "libraries::a_policy_that_hides_rows_is_no_empty_queue";
    oldest_and_newest(test, |fixture, packages, database, version| {
        (fixture.install)(packages, database, version);
        let held = plant(fixture, database);
        let role = database.role("reader");
        assert_eq!(read(fixture, database, &role).count(State::Running), 2);
        if fixture.name == "graphile-worker" {
            // its tables have policies, and its view shows past them what its owner sees: unless that is another
            let owner = database.role("owner");
            database.sql(&format!("GRANT USAGE ON SCHEMA graphile_worker TO {owner}; GRANT SELECT ON ALL TABLES IN SCHEMA graphile_worker TO {owner};
                ALTER VIEW graphile_worker.jobs OWNER TO {owner}; GRANT SELECT ON graphile_worker.jobs TO {role}"));
        } else {
            // of whichever of its tables rows are hidden
            let reads = library::named(fixture.name).unwrap().reads;
            let own = reads.iter().map(|it| it.name);
            // what came later, or is read of old ones alone, hides nothing of this one
            let granted = about(fixture, database, "postgres").unwrap().grants.concat();
            let own = own.filter(|it| granted.contains(&format!(".\"{it}\" TO")));
            for table in own.chain([fixture.tables[0]]) {
                let alter = format!("ALTER TABLE {}.{table}", fixture.schema);
                database.sql(&format!("{alter} ENABLE ROW LEVEL SECURITY"));
                let why = about(fixture, database, &role).unwrap_err();
                assert!(why.contains("row-level security"), "{table}: {why}");
                database.sql(&format!("{alter} DISABLE ROW LEVEL SECURITY"));
            }
            let table = fixture.tables[0];
            database
                .sql(&format!("ALTER TABLE {}.{table} ENABLE ROW LEVEL SECURITY", fixture.schema));
        }
        let why = about(fixture, database, &role).unwrap_err();
        assert!(why.contains("row-level security"), "{why}");
        // what it says mends it
        let (_, mend) = why.split_once("as an administrator: ").unwrap_or_else(|| panic!("{why}"));
        database.sql(mend);
        let facts = about(fixture, database, &role).unwrap().facts;
        assert_eq!(facts.count(State::Running), 2, "{mend}");
        drop(held);
    });
}

#[test]
fn tables_that_are_not_there_are_told_with_where_they_were_looked_for() {
    let test = "libraries::tables_that_are_not_there_are_told_with_where_they_were_looked_for";
    each(test, |fixture, packages, database| {
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains(&format!("in the schema {:?}", fixture.schema)), "{why}");
        assert!(why.contains("was never started there"), "{why}");
        // and where they are elsewhere
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        database.sql(&format!("ALTER SCHEMA {} RENAME TO elsewhere", fixture.schema));
        if fixture.schema == "public" {
            database.sql("CREATE SCHEMA public");
        }
        let why = self::about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains("[queue.library] schema = \"elsewhere\""), "{why}");
        let role = database.role("reader");
        let text = |role: &str| {
            format!(
                "[queue]\nurl = \"{}\"\nadapter = \"{}\"\n[queue.library]\nschema = \"elsewhere\"\n",
                database.url(role),
                fixture.name
            )
        };
        let about = |role| {
            let queue = config::from_str(&text(role)).unwrap().queue.unwrap();
            queue::about_library(&queue).map_err(|Fault(why)| why)
        };
        let why = about(&role).unwrap_err();
        let (_, grants) = why.split_once("tables: ").unwrap_or_else(|| panic!("{why}"));
        database.sql(grants);
        assert_eq!(about(&role).unwrap().facts.count(State::Running), 2, "{grants}");
    });
}

#[test]
fn a_server_that_goes_mute_between_two_questions_costs_the_timeout_and_is_no_empty_queue() {
    let test = "libraries::a_server_that_goes_mute_between_two_questions_costs_the_timeout_and_is_no_empty_queue";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let role = database.role("reader");
        read(fixture, database, &role);
        let through = |heard| {
            let (mut nth, port) = (0, database.cluster.port);
            let proxy = stand_still(port, move || {
                if nth == heard {
                    std::thread::sleep(std::time::Duration::from_secs(2));
                }
                nth += 1;
            });
            let through = database.tcp_url(&role, "127.0.0.1", "?sslmode=disable");
            let mut asked =
                queue(fixture, &through.replace(&format!(":{port}/"), &format!(":{proxy}/")));
            asked.timeout = std::time::Duration::from_millis(500);
            (queue::look(&asked), proxy)
        };
        // after the connection, whether it is a standby, the version, where each queue has a table which those are, the rows, and
        // where something fails for good how much that is
        for heard in 0..ANSWERS {
            let (look, proxy) = through(heard);
            let QueueLook::Unknown { why, .. } = &look else {
                panic!("{} after {heard}: {look:?}", fixture.name)
            };
            assert!(
                why.contains("no answer within 500 ms"),
                "{} after {heard}: {why}",
                fixture.name
            );
            let name = &database.name;
            let asks =
                format!("whether it answers at all: pg_isready -h 127.0.0.1 -p {proxy} -d {name}");
            assert!(why.ends_with(&asks), "{why}");
        }
        // and no answer is waited for after those
        assert!(through(ANSWERS).0.known().is_some(), "{}", fixture.name);
    });
}

#[test]
fn a_table_under_an_exclusive_lock_is_unknown_and_whoever_has_it_or_waits_for_it_is_told() {
    let test = "libraries::a_table_under_an_exclusive_lock_is_unknown_and_whoever_has_it_or_waits_for_it_is_told";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        // nothing of another database or of another table is in the way
        let elsewhere = database.cluster.database();
        (fixture.install)(packages, &elsewhere, fixture.versions[1]);
        let table = format!("{}.{}", fixture.schema, fixture.tables[0]);
        let lock = |mode: &str| format!("BEGIN; LOCK TABLE {table} IN {mode} MODE");
        let mut other = elsewhere.client();
        other.batch_execute(&lock("ACCESS EXCLUSIVE")).unwrap();
        database.sql("CREATE SCHEMA own; CREATE TABLE own.own ()");
        let mut own = database.client();
        own.batch_execute("BEGIN; LOCK TABLE own.own IN ACCESS EXCLUSIVE MODE").unwrap();

        let mut asked = queue(fixture, &database.url("postgres"));
        asked.timeout = std::time::Duration::from_secs(2);
        let pid = |client: &mut postgres::Client| -> i32 {
            client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
        };
        let mends = |culprit: i32| {
            let look = queue::look(&asked);
            let QueueLook::Unknown { why, .. } = &look else { panic!("{table}: {look:?}") };
            assert!(why.contains("lock timeout"), "{table}: {why}");
            // and what waited for a lock waits no more
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
                AND application_name = 'unwedge-jobs'";
            assert_eq!(database.value(waits), "0");
            let (_, who) = why.split_once("; who: ").unwrap_or_else(|| panic!("{why}"));
            let (who, end) =
                who.split_once("; and to end one, with what it has not yet written: ").unwrap();
            let found = database.client().query(who, &[]).unwrap();
            let mut found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
            found.dedup();
            assert_eq!(found, [culprit], "{table}: {who}");
            database.sql(&end.replace("PID", &culprit.to_string()));
            // it ends in its own time
            let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {culprit}");
            while database.value(&gone) != "0" {
                std::thread::yield_now();
            }
            assert!(queue::look(&asked).known().is_some(), "{table}: {end}");
        };

        // one that does nothing any more, and has not ended
        let mut holder = database.client();
        let culprit = pid(&mut holder);
        holder.batch_execute(&lock("ACCESS EXCLUSIVE")).unwrap();
        mends(culprit);

        // one that only waits, for a reader that keeps nobody out
        let mut reader = database.client();
        reader.batch_execute(&lock("ACCESS SHARE")).unwrap();
        let mut waiter = database.client();
        let (culprit, text) = (pid(&mut waiter), lock("ACCESS EXCLUSIVE"));
        let waiting = std::thread::spawn(move || waiter.batch_execute(&text).is_err());
        let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {culprit} AND NOT granted");
        while database.value(&waits) == "0" {
            std::thread::yield_now();
        }
        mends(culprit);
        assert!(waiting.join().unwrap(), "it was ended");
        for client in [&mut reader, &mut own, &mut other] {
            client.batch_execute("ROLLBACK").unwrap();
        }
    });
}

#[test]
fn a_comment_that_is_lost_is_said_with_what_puts_it_back_and_never_with_a_guess() {
    let test =
        "libraries::a_comment_that_is_lost_is_said_with_what_puts_it_back_and_never_with_a_guess";
    only(&["oban", "que"], test, |fixture, packages, _| {
        for version in fixture.versions[..2].iter().rev().copied() {
            let database = &cluster(test).unwrap().database();
            let table = fixture.tables[0];
            (fixture.install)(packages, database, version);
            database.sql(&format!("COMMENT ON TABLE {table} IS NULL"));
            let why = about(fixture, database, "postgres").unwrap_err();
            let (_, mend) = why.split_once("as its owner: ").unwrap_or_else(|| panic!("{why}"));
            // each of Que's brought something; what Oban's 9 to 12 brought a later library's has, too
            let is_proved = fixture.name == "que" || version > 13;
            let puts_back = |mend: &str| {
                assert!(mend.ends_with(&format!("IS '{version}';")), "{mend}");
                database.sql(mend);
                assert_eq!(about(fixture, database, "postgres").unwrap().version, version);
            };
            let asks = "IS 'N', with the number that its migrations brought for N";
            if is_proved {
                puts_back(mend);
            } else {
                assert!(mend.ends_with(asks), "{why}");
            }
            if fixture.name == "oban" && version == fixture.versions[0] {
                // a later library makes tables of an earlier version with the state of 14
                database.sql(&format!("COMMENT ON TABLE {table} IS NULL; ALTER TYPE oban_job_state ADD VALUE 'suspended' BEFORE 'scheduled'"));
                let why = about(fixture, database, "postgres").unwrap_err();
                assert!(why.contains("IS 'N'"), "{why}");
            }
            // of somebody else's
            database.sql(&format!("COMMENT ON TABLE {table} IS '\u{221e}'"));
            let why = about(fixture, database, "postgres").unwrap_err();
            assert!(why.contains("of version \"\u{221e}\"") && why.contains("'s own, "), "{why}");
            let (_, mend) = why.split_once("as its owner: ").unwrap_or_else(|| panic!("{why}"));
            if is_proved {
                puts_back(mend);
            } else {
                assert!(mend.ends_with(asks), "{why}");
            }
            if fixture.name == "que" {
                // applied by hand, without what its workers hear by
                database.sql(
                    "COMMENT ON TABLE que_jobs IS NULL; DROP TRIGGER que_job_notify ON que_jobs",
                );
                let why = about(fixture, database, "postgres").unwrap_err();
                assert!(why.ends_with(asks), "{why}");
            }
        }
    });
}

#[test]
fn a_moment_that_never_comes_makes_no_queue_unknown() {
    let test = "libraries::a_moment_that_never_comes_makes_no_queue_unknown";
    only(&["river", "oban", "que", "procrastinate"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let put = |moment: &str| {
            database.sql(&match fixture.name {
                "river" => format!("INSERT INTO river_job (kind, args, scheduled_at) VALUES ('k', '{{}}', {moment})"),
                "oban" => format!("INSERT INTO oban_jobs (worker, state, scheduled_at) VALUES ('k', 'scheduled', {moment})"),
                "que" => format!("INSERT INTO que_jobs (job_class, job_schema_version, run_at) VALUES ('k', 1, {moment})"),
                _ => format!("INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at) VALUES ('q', 't', {moment})"),
            });
        };
        for moment in ["'infinity'", "'-infinity'", "'0001-01-01'"] {
            put(moment);
        }
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [2, 0, 1, 0], "{facts:?}");
        // nor does it hide how old another is
        assert_eq!(facts.oldest_pending_ms, None, "{facts:?}");
        put(match fixture.name {
            "oban" => "timezone('UTC', now() - interval '5 h')",
            _ => "now() - interval '5 h'",
        });
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(facts.oldest_pending_ms.unwrap() / 3_600_000, 5, "{facts:?}");
    });
}

#[test]
fn what_is_taken_whatever_its_time_says_could_be_taken() {
    let test = "libraries::what_is_taken_whatever_its_time_says_could_be_taken";
    only(&["oban", "solid-queue"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        // one of Oban's is looked for by an index, share by share, or without it
        let is_oban = fixture.name == "oban";
        database.sql(if is_oban {
            "INSERT INTO oban_jobs (worker, scheduled_at) VALUES ('k', timezone('UTC', now() + interval '1 h')), ('k', 'infinity')"
        } else {
            "INSERT INTO solid_queue_jobs (id, queue_name, class_name, arguments) VALUES (1, 'q', 'k', '{}'), (2, 'q', 'k', '{\"executions\":1}');
             INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at)
                 VALUES (1, 'q', timezone('UTC', now() + interval '1 h')), (2, 'q', 'infinity')"
        });
        let expected = if is_oban { [2, 0, 0, 0] } else { [1, 1, 0, 0] };
        for index in [None, Some("oban_jobs_state_queue_priority_scheduled_at_id_index")] {
            if let Some(index) = index.filter(|_| is_oban) {
                database.sql(&format!("DROP INDEX {index}"));
            }
            let facts = about(fixture, database, "postgres").unwrap().facts;
            assert_eq!(State::ALL.map(|it| facts.count(it)), expected, "{facts:?}");
            assert_eq!((facts.next.len(), facts.cooling.len()), (2, 0), "{facts:?}");
            assert_eq!(facts.oldest_pending_ms, Some(0), "{facts:?}");
        }
    });
}

#[test]
fn what_good_job_takes_no_more_waits_and_what_it_may_take_does_not() {
    let test = "libraries::what_good_job_takes_no_more_waits_and_what_it_may_take_does_not";
    only(&["good-job"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "INSERT INTO good_jobs (created_at, updated_at) VALUES (timezone('UTC', now()), now())",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [0, 0, 1, 0], "{facts:?}");
        // tables that may be of one that takes it
        database.sql("ALTER TABLE good_jobs DROP COLUMN lock_type");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [1, 0, 0, 0], "{facts:?}");
    });
}

#[test]
fn what_pg_boss_lets_go_as_soon_as_a_worker_is_up_could_be_taken() {
    let test = "libraries::what_pg_boss_lets_go_as_soon_as_a_worker_is_up_could_be_taken";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "pg-boss").unwrap();
    // one waits for what is done, one for that and another, one for what failed
    let rows = "
        INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
            deletion_seconds, partition, table_name) VALUES ('t', 'standard', 2, 0, false, 900, 1209600, 604800, false, 'job_common');
        INSERT INTO pgboss.job (name, singleton_key, state, blocking, blocked, pending_dependencies, start_after, completed_on)
            SELECT 't', key, state::pgboss.job_state, needs = 0, needs > 0, needs, now() - interval '5 h', now() + done::interval
            FROM (VALUES ('done', 'completed', 0, '-10 min'), ('active', 'active', 0, NULL), ('failed', 'failed', 0, '-1 h'),
                ('of done', 'created', 1, NULL), ('of both', 'created', 2, NULL), ('of failed', 'created', 1, NULL)) AS r (key, state, needs, done);
        INSERT INTO pgboss.job_dependency (child_name, child_id, parent_name, parent_id)
            SELECT 't', c.id, 't', p.id FROM (VALUES ('of done', 'done'), ('of both', 'done'), ('of both', 'active'), ('of failed', 'failed'))
                AS r (child, parent) JOIN pgboss.job c ON c.singleton_key = child JOIN pgboss.job p ON p.singleton_key = parent";
    // until 33 whatever completed a job let the others go at once: what is blocked there, is
    for (version, expected) in [(32, [0, 0, 3, 1]), (33, [1, 0, 2, 1]), (46, [1, 0, 2, 1])] {
        let database = cluster.database();
        (fixture.install)(&packages, &database, version);
        database.sql(rows);
        let told = || {
            let facts = about(fixture, &database, "postgres").unwrap().facts;
            assert_eq!(State::ALL.map(|it| facts.count(it)), expected, "{version}: {facts:?}");
            (facts.next.iter().map(|it| it.id.clone()).collect::<Vec<_>>(), facts.oldest_pending_ms)
        };
        let (next, oldest) = told();
        assert_eq!(next.len(), usize::from(version > 32));
        // since it could be taken, not since it was put in
        assert_eq!(oldest.map(|ms| ms / 60_000), (version > 32).then_some(10));
        if version == 46 {
            // and that is the one that its own look-out lets go
            let own = packages.node(
                "import { resolveFlowJobs } from './node_modules/pg-boss/dist/plans.js';
                 console.log(resolveFlowJobs('pgboss', 'job_common', []).text)",
            );
            database.client().query(own.as_str(), &[&vec!["t"]]).unwrap();
            let free = "SELECT string_agg(id::text, '') FROM pgboss.job WHERE state = 'created' AND NOT blocked";
            assert_eq!(next, [database.value(free)]);
            assert_eq!(told().0, next);
        }
    }
}

#[test]
fn what_solid_queue_lets_go_as_soon_as_a_worker_is_up_could_be_taken() {
    let test = "libraries::what_solid_queue_lets_go_as_soon_as_a_worker_is_up_could_be_taken";
    only(&["solid-queue"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "INSERT INTO solid_queue_jobs (id, queue_name, class_name, arguments)
                 SELECT id, 'q', 'k', format('{\"executions\":%s}', id % 2) FROM generate_series(1, 6) id;
             INSERT INTO solid_queue_blocked_executions (job_id, queue_name, concurrency_key, expires_at, created_at)
                 SELECT id, 'q', key, timezone('UTC', now() + at::interval), now() FROM (VALUES (1, 'none', '1 h'), (2, 'none', '-2 min'),
                     (3, 'none', '-3 min'), (4, 'open', '-1 min'), (5, 'closed', '-9 min'), (6, 'over', '-4 min')) AS r (id, key, at);
             INSERT INTO solid_queue_semaphores (key, value, expires_at, created_at, updated_at)
                 SELECT key, value, timezone('UTC', now() + at::interval), now(), now()
                 FROM (VALUES ('open', 1, '1 h'), ('closed', 0, '1 h'), ('over', 0, '-1 s')) AS r (key, value, at)",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|it| facts.count(it)), [3, 1, 2, 0], "{facts:?}");
        let ids = |jobs: &[Job]| jobs.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (ids(&facts.next), ids(&facts.cooling)),
            (
                ["2", "3", "4", "6"].map(str::to_owned).to_vec(),
                ["1", "5"].map(str::to_owned).to_vec()
            )
        );
        assert_eq!(facts.oldest_pending_ms.unwrap() / 60_000, 4, "{facts:?}");
    });
}

#[test]
fn a_large_table_is_not_gone_through_for_one_number() {
    let test = "libraries::a_large_table_is_not_gone_through_for_one_number";
    let all = ["procrastinate", "que", "river", "good-job", "pg-boss"];
    only(&all, test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let facts = || about(fixture, database, "postgres").unwrap().facts;
        let first = facts();
        assert_eq!((first.dead, first.advice.len()), (Some(1), 0), "{first:?}");
        // where it is in parts, that of its rows is known of these alone
        let (schema, table) = (fixture.schema, fixture.tables[0]);
        database.sql(&format!(
            "UPDATE pg_class SET reltuples = 6000000 WHERE relname IN ('{table}', '{table}_common') AND relkind = 'r'",
        ));
        let index = match fixture.name {
            "good-job" => Some("index_good_jobs_on_discarded"),
            "pg-boss" => Some("job_common_i14"),
            _ => None,
        };
        if let Some(index) = index {
            assert_eq!(facts().dead, Some(1), "an index spares that");
            database.sql(&format!("DROP INDEX {schema}.{index}"));
        }
        let facts = facts();
        assert_eq!(facts.dead, None, "{facts:?}");
        let is_said = facts.advice.iter().any(|it| it.contains("these are not counted"));
        assert!(is_said, "{:?}", facts.advice);
        // nobody has analyzed it: then it is as large as its file
        database.sql(&format!(
            "UPDATE pg_class SET reltuples = -1 WHERE relname IN ('{table}', '{table}_common') AND relkind = 'r'",
        ));
        assert_eq!(about(fixture, database, "postgres").unwrap().facts.dead, Some(1));
    });
}

#[test]
fn what_takes_too_long_to_count_for_people_makes_no_queue_unknown() {
    let test = "libraries::what_takes_too_long_to_count_for_people_makes_no_queue_unknown";
    only(&["procrastinate"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        // each failed one takes the server longer than such a number may
        database.sql(
            "ALTER TABLE procrastinate_jobs RENAME TO a_real_one;
             CREATE VIEW procrastinate_jobs AS SELECT * FROM a_real_one WHERE CASE WHEN status = 'failed' THEN pg_sleep(1.5) IS NOT NULL ELSE true END",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        let is_said = facts.advice.iter().any(|it| it.contains("failed for good is not counted"));
        assert!(facts.dead.is_none() && is_said, "{facts:?}");
    });
}

#[test]
fn who_is_not_let_in_is_told_what_lets_one_in() {
    let test = "libraries::who_is_not_let_in_is_told_what_lets_one_in";
    only(&["river"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let role = database.role("reader");
        let why = |url: &str| match queue::look(&queue(fixture, url)) {
            QueueLook::Unknown { why, .. } => why,
            QueueLook::Known(facts) => panic!("{facts:?}"),
        };
        let url = database.url(&role);
        let told = why(&database.url("nobody_of_this_name"));
        assert!(told.contains("CREATE ROLE \"nobody_of_this_name\" LOGIN"), "{told}");
        let told = why(&database.cluster.url(&role, "none"));
        assert!(told.contains("name the database"), "{told}");
        let told = why(&database
            .tcp_url(&role, "127.0.0.1", "?sslmode=disable")
            .replace(PASSWORD, "wrong"));
        assert!(told.contains("ALTER ROLE"), "{told}");
        database.sql(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database.name));
        let told = why(&url);
        let (_, mend) = told.split_once("; ").unwrap_or_else(|| panic!("{told}"));
        database.sql(mend);
        assert!(why(&url).contains("GRANT SELECT"), "it is let in");
    });
}

#[test]
fn a_library_whose_migrations_another_tool_makes_is_read_by_what_its_tables_have() {
    let test =
        "libraries::a_library_whose_migrations_another_tool_makes_is_read_by_what_its_tables_have";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    let fixture = ALL.iter().find(|it| it.name == "river").unwrap();
    for version in 3..=7 {
        let database = cluster.database();
        (fixture.install)(&packages, &database, version);
        database.sql(if version == 5 {
            "TRUNCATE river_migration"
        } else {
            "DROP TABLE river_migration"
        });
        if version == 3 {
            let why = about(fixture, &database, "postgres").unwrap_err();
            assert!(why.contains("are of version 3, and 4 to 7 are read here"), "{why}");
            continue;
        }
        let _held = plant(fixture, &database);
        // what is granted can be granted
        let facts = read(fixture, &database, &database.role("reader"));
        assert_eq!(State::ALL.map(|state| facts.count(state)), [2, 1, 2, 2], "{version}");
        assert_eq!(about(fixture, &database, "postgres").unwrap().version, version);
        database.sql("ALTER TABLE river_job ADD COLUMN new_to_us int");
        let why = about(fixture, &database, "postgres").unwrap_err();
        assert!(why.contains("nobody has looked at a later one"), "{why}");
    }
}

#[test]
fn a_column_of_ones_own_makes_no_later_version_where_a_library_tells_its_own_by_columns() {
    let test = "libraries::a_column_of_ones_own_makes_no_later_version_where_a_library_tells_its_own_by_columns";
    only(&["river"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("ALTER TABLE river_job ADD COLUMN tenant text");
        // where its version is said, nobody asks
        about(fixture, database, "postgres").unwrap();
        database.sql("DROP TABLE river_migration");
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains("columns that version 7 has not: tenant;"), "{why}");
        assert!(why.contains("name those that are your own as [queue.library] columns"), "{why}");
        let mut asked = queue(fixture, &database.url("postgres"));
        let Adapter::Library(library) = &mut asked.adapter else { panic!() };
        library.columns = vec!["tenant".to_owned()];
        assert_eq!(queue::about_library(&asked).unwrap().version, 7);
    });
}

#[test]
fn what_its_library_brings_up_to_date_no_more_is_not_told_to_be_brought_up_to_date() {
    let test = "libraries::what_its_library_brings_up_to_date_no_more_is_not_told_to_be_brought_up_to_date";
    only(&["pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[2]);
        database.sql("UPDATE pgboss.version SET version = 24");
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(!why.contains("npx") && why.contains("[queue.library] schema = "), "{why}");
        // nor would it: its own program says so
        let ran = Command::new("/bin/sh")
            .args(["-ec", "PATH=$PWD:$PATH; node_modules/.bin/pg-boss migrate --schema pgboss --connection-string \"$DATABASE_URL\""])
            .env("DATABASE_URL", database.url("postgres"))
            .current_dir(&packages.0)
            .output()
            .unwrap();
        assert!(!ran.status.success(), "{ran:?}");
    });
}

#[test]
fn one_that_is_to_be_tried_again_runs_until_its_work_has_ended() {
    let test = "libraries::one_that_is_to_be_tried_again_runs_until_its_work_has_ended";
    only(&["good-job"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql(
            "INSERT INTO good_job_processes (id, created_at, updated_at) VALUES ('00000000-0000-0000-0000-000000000001', now(), timezone('UTC', now()));
             INSERT INTO good_jobs (created_at, updated_at, scheduled_at, executions_count, locked_by_id)
             VALUES (now(), now(), timezone('UTC', now() + interval '1 h'), 1, '00000000-0000-0000-0000-000000000001')",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|state| facts.count(state)), [0, 0, 0, 1], "{facts:?}");
        assert_eq!(facts.stale_running, Some(0));
        database.sql("UPDATE good_jobs SET locked_by_id = NULL");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(State::ALL.map(|state| facts.count(state)), [0, 0, 1, 0], "{facts:?}");
    });
}

#[test]
fn a_function_that_somebody_made_is_never_run_with_the_readers_rights() {
    let test = "libraries::a_function_that_somebody_made_is_never_run_with_the_readers_rights";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        // each fits better than the server's own, and the last is asked for of each library
        for (name, of) in [
            ("lower", "varchar"),
            ("pg_get_indexdef", "regclass"),
            ("array_remove", "text[], text"),
        ] {
            database.sql(&format!(
                "CREATE FUNCTION public.{name}({of}) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'run with your rights'; END $$"
            ));
        }
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(facts.count(State::Running), 2);
    });
}

#[test]
fn queues_whose_names_differ_in_case_alone_have_one_table_and_are_read_once() {
    let test =
        "libraries::queues_whose_names_differ_in_case_alone_have_one_table_and_are_read_once";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("SELECT pgmq.create('Orders'); SELECT pgmq.create('orders'); SELECT pgmq.send('orders', '{}')");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        let ids: Vec<&str> = facts.next.iter().map(|it| it.id.as_str()).collect();
        assert_eq!((ids, facts.count(State::Pending)), (vec!["Orders:1"], 1));
    });
}

#[test]
fn a_queue_may_be_called_what_it_likes() {
    let test = "libraries::a_queue_may_be_called_what_it_likes";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        for name in ["x{schema}", "x{now}", "{part}"] {
            database
                .sql(&format!("SELECT pgmq.create('{name}'); SELECT pgmq.send('{name}', '{{}}')"));
        }
        // by hand, as pgmq lets nobody
        database.sql(
            "CREATE TABLE pgmq.\"q_a'{table}\" (LIKE pgmq.q_q INCLUDING ALL); INSERT INTO pgmq.meta SELECT 'a''{table}', false, false, now();
             INSERT INTO pgmq.\"q_a'{table}\" (message, vt) VALUES ('{}', now())",
        );
        let facts = about(fixture, database, "postgres").unwrap().facts;
        let mut lanes: Vec<String> = facts.next.iter().filter_map(|it| it.lane.clone()).collect();
        lanes.sort();
        assert_eq!(lanes, ["a'{table}", "x{now}", "x{schema}", "{part}"]);
    });
}

#[test]
fn what_was_put_off_is_as_old_as_since_when_it_could_be_taken() {
    let test = "libraries::what_was_put_off_is_as_old_as_since_when_it_could_be_taken";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        database.sql("INSERT INTO pgmq.q_q (message, enqueued_at, vt) VALUES ('{}', now() - interval '1 day', now() - interval '5 min')");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        assert_eq!(facts.oldest_pending_ms.unwrap() / 60_000, 5, "{facts:?}");
    });
}

#[test]
fn a_part_that_is_missing_is_named_and_no_empty_queue_and_a_backup_brings_it_back() {
    let test =
        "libraries::a_part_that_is_missing_is_named_and_no_empty_queue_and_a_backup_brings_it_back";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL {
        let library = library::named(fixture.name).unwrap();
        let backup = cluster.database();
        (fixture.install)(&packages, &backup, fixture.versions[1]);
        backup.sql(fixture.rows);
        let all = |database: &Database| {
            let facts = about(fixture, database, "postgres").unwrap().facts;
            (State::ALL.map(|it| facts.count(it)), facts.dead)
        };
        // what is read of old versions alone is missed by none of the new
        for part in library.reads.iter().filter(|it| it.unless.is_none()) {
            let part = part.name;
            // whose version its other tables tell, too
            if part == "river_migration" {
                continue;
            }
            let database = cluster.database();
            (fixture.install)(&packages, &database, fixture.versions[1]);
            database.sql(fixture.rows);
            let whole = format!("{}.{part}", fixture.schema);
            let kind = if database
                .value(&format!("SELECT relkind FROM pg_class WHERE oid = '{whole}'::regclass"))
                == "v"
            {
                "VIEW"
            } else {
                "TABLE"
            };
            database.sql(&format!("DROP {kind} {whole} CASCADE"));
            let look = queue::look(&queue(fixture, &database.url("postgres")));
            let QueueLook::Unknown { why, .. } = &look else { panic!("{whole}: {look:?}") };
            // no way from a version to the next brings what is gone
            assert!(!why.contains("update ") && !why.contains("db:migrate"), "{whole}: {why}");
            if library.reads.len() == 1 && library.parts.is_none() {
                assert!(why.contains("was never started there"), "{why}");
                continue;
            }
            assert!(
                why.contains(&format!("{part} is not there: it was dropped")),
                "{whole}: {why}"
            );
            let (_, mend) = why
                .split_once("restored into another database: ")
                .unwrap_or_else(|| panic!("{whole}: {why}"));
            packages.paste(mend, &[("BACKUP_URL", &backup), ("DATABASE_URL", &database)]);
            // the functions that tell the version went with that one
            if part != "procrastinate_jobs" {
                assert_eq!(all(&database), all(&backup), "{whole}: {mend}");
            }
        }
    }
}

#[test]
fn a_column_that_is_missing_is_named_with_where_it_is_told_how_it_was_made() {
    let test = "libraries::a_column_that_is_missing_is_named_with_where_it_is_told_how_it_was_made";
    only(&["graphile-worker", "river", "pg-boss"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let (table, column) = match fixture.name {
            "river" => ("river_queue", "paused_at"),
            "pg-boss" => ("job_dependency", "parent_id"),
            _ => {
                // of a view nothing can be taken away
                database.sql("ALTER VIEW graphile_worker.jobs RENAME COLUMN max_attempts TO most");
                ("jobs", "max_attempts")
            }
        };
        if fixture.name != "graphile-worker" {
            let (schema, to) = (fixture.schema, format!("DROP COLUMN {column} CASCADE"));
            database.sql(&format!("ALTER TABLE {schema}.{table} {to}"));
        }
        let why = about(fixture, database, "postgres").unwrap_err();
        let named = format!("the column {column} of {table} is not there: it was dropped");
        assert!(why.contains(&named), "{why}");
        assert!(!why.contains("update "), "{why}");
        let (_, tells) = why.split_once("into another database: ").unwrap();
        packages.paste(&format!("{tells} >/dev/null"), &[("BACKUP_URL", database)]);
    });
}

#[test]
fn a_version_table_that_is_empty_is_filled_from_a_backup() {
    let test = "libraries::a_version_table_that_is_empty_is_filled_from_a_backup";
    let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
    for fixture in ALL.iter().filter(|it| ["graphile-worker", "pg-boss"].contains(&it.name)) {
        let (backup, database) = (cluster.database(), cluster.database());
        for it in [&backup, &database] {
            (fixture.install)(&packages, it, fixture.versions[1]);
        }
        database.sql(&format!("TRUNCATE {}.{}", fixture.schema, fixture.tables[1]));
        let why = about(fixture, &database, "postgres").unwrap_err();
        assert!(why.contains("is empty, and no migration fills it again"), "{why}");
        assert!(!why.contains("update "), "{why}");
        let (_, mend) = why.split_once("into another database: ").unwrap();
        packages.paste(mend, &[("BACKUP_URL", &backup), ("DATABASE_URL", &database)]);
        assert_eq!(about(fixture, &database, "postgres").unwrap().version, fixture.versions[1]);
    }
}

#[test]
fn a_status_that_nobody_knows_makes_procrastinate_a_later_one() {
    let test = "libraries::a_status_that_nobody_knows_makes_procrastinate_a_later_one";
    only(&["procrastinate"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        about(fixture, database, "postgres").unwrap();
        database.sql("ALTER TYPE procrastinate_job_status ADD VALUE 'paused'");
        let why = about(fixture, database, "postgres").unwrap_err();
        assert!(why.contains("nobody has looked at a later one"), "{why}");
    });
}

#[test]
fn pgmq_says_when_a_message_was_read_from_the_version_on_that_keeps_it() {
    let test = "libraries::pgmq_says_when_a_message_was_read_from_the_version_on_that_keeps_it";
    only(&["pgmq"], test, |fixture, packages, database| {
        (fixture.install)(packages, database, 110);
        database.sql("INSERT INTO pgmq.q_q (message, vt, read_ct, last_read_at) VALUES ('{}', now() + interval '5 min', 1, now() - interval '10 min')");
        let facts = about(fixture, database, "postgres").unwrap().facts;
        let ago = facts.at_utc_ms - facts.running[0].started_utc_ms.unwrap();
        assert_eq!(ago / 60_000, 10, "{facts:?}");
    });
}

#[test]
fn each_library_has_a_fixture_and_lines_to_paste() {
    let mut known: Vec<&str> = library::ALL.iter().map(|it| it.name).collect();
    let mut here: Vec<&str> = ALL.iter().map(|it| it.name).collect();
    known.sort_unstable();
    here.sort_unstable();
    assert_eq!(known, here);
    let readme = include_str!("../README.md");
    let (_, pages) = readme.split_once("### Queues of libraries").unwrap();
    for library in library::ALL {
        let adapter = format!("adapter  = \"{}\"", library.name);
        let block = pages.split("```").find(|it| it.starts_with("toml\n") && it.contains(&adapter));
        let block = block.unwrap_or_else(|| panic!("{} has no page", library.name));
        let text = block.trim_start_matches("toml\n");
        let queue = config::from_str(text).unwrap().queue.unwrap();
        let Adapter::Library(read) = queue.adapter else { panic!("{text}") };
        assert_eq!(read.name, library.name);
        assert!(text.trim().lines().count() <= 3, "{text}");
        // what one gets, and what cannot be known
        let (_, page) = pages.split_once(block).unwrap();
        let page = page.split("\n**").next().unwrap().replace('\n', " ");
        assert!(page.contains("You get ") && page.contains("Not known: "), "{}", library.name);
    }
}

/// How many answers of the server a reading is.
const ANSWERS: usize = 5;

/// A way to the server that stands still, each time the server has answered and before that is passed on, for `look`.
fn stand_still(to: u16, mut look: impl FnMut() + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut into));
        let mut some = vec![0; 1 << 16];
        while let Ok(count @ 1..) = server.read(&mut some) {
            // all of an answer ends with this: ready, and in no transaction
            if some[..count].ends_with(b"Z\0\0\0\x05I") {
                look();
            }
            if client.write_all(&some[..count]).is_err() {
                break;
            }
        }
    });
    port
}

#[test]
fn between_two_questions_no_snapshot_is_held_and_nothing_is_ever_written() {
    let test = "libraries::between_two_questions_no_snapshot_is_held_and_nothing_is_ever_written";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let held = plant(fixture, database);
        let role = database.role("reader");
        read(fixture, database, &role);
        let written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname <> 'scrap'";
        let alone = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let settled = || {
            while database.value(alone) != held.len().to_string() {
                std::thread::yield_now();
            }
            database.value(written)
        };
        // what is deleted while somebody reads can be taken away at once, and is
        database.sql("CREATE SCHEMA scrap; CREATE TABLE scrap.scrap (n int)");
        let before = settled();
        let (seen, looks) = mpsc::channel();
        let url = database.url("postgres");
        let (port, name) = (database.cluster.port, database.name.clone());
        let dir = database.cluster.dir.display().to_string();
        let proxy = stand_still(port, move || {
            let config = format!("host={dir} port={port} user=postgres dbname={name}");
            let mut client = postgres::Client::connect(&config, postgres::NoTls).unwrap();
            let held = "SELECT count(*), count(*) FILTER (WHERE state = 'idle' AND backend_xmin IS NULL AND xact_start IS NULL) \
                FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'unwedge-jobs'";
            let row = client.query_one(held, &[]).unwrap();
            for statement in [
                "INSERT INTO scrap.scrap SELECT generate_series(1, 1000)",
                "DELETE FROM scrap.scrap",
                "VACUUM scrap.scrap",
            ] {
                client.batch_execute(statement).unwrap();
            }
            let size = client.query_one("SELECT pg_relation_size('scrap.scrap')", &[]).unwrap();
            let _ = seen.send((row.get::<_, i64>(0), row.get::<_, i64>(1), size.get::<_, i64>(0)));
        });
        let through = database.tcp_url(&role, "127.0.0.1", "?sslmode=disable");
        let through = through.replace(&format!(":{port}/"), &format!(":{proxy}/"));
        assert_ne!(through, url);
        let look = queue::look(&queue(fixture, &through));
        assert_eq!(look.known().map(|facts| facts.count(State::Running)), Some(2), "{look:?}");
        let looks: Vec<_> = looks.into_iter().collect();
        // after the connection, whether it is a standby, the version, the rows, and how many failed for good; or, where each queue
        // has a table and nothing fails for good, which those are
        assert_eq!(looks, [(1, 1, 0); ANSWERS]);
        assert_eq!(settled(), before);
    });
}

#[test]
fn what_would_write_while_it_is_read_is_refused() {
    oldest_and_newest(
        "libraries::what_would_write_while_it_is_read_is_refused",
        |fixture, packages, database, at| {
            (fixture.install)(packages, database, at);
            let (schema, table) = (fixture.schema, fixture.tables[1]);
            let _held = plant(fixture, database);
            database.sql(&format!(
            "CREATE TABLE touched (at timestamptz);
             CREATE FUNCTION touch() RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.touched VALUES (now()); RETURN true; END';
             ALTER TABLE {schema}.{table} RENAME TO a_real_one;
             CREATE VIEW {schema}.{table} AS SELECT * FROM {schema}.a_real_one WHERE touch();
             COMMENT ON VIEW {schema}.{table} IS '{at}'"
        ));
            let why = about(fixture, database, "postgres").unwrap_err();
            assert!(why.contains("read-only transaction"), "{why}");
            assert_eq!(database.value("SELECT count(*) FROM touched"), "0");
        },
    );
}

#[test]
fn a_server_that_stays_mute_costs_the_timeout_and_is_no_empty_queue() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for fixture in ALL {
        let mut asked = queue(fixture, &format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable"));
        asked.timeout = std::time::Duration::from_millis(300);
        let look = queue::look(&asked);
        assert!(
            matches!(&look, QueueLook::Unknown { why, .. } if why.contains("no answer within 300 ms")
                && why.ends_with(&format!("whether it answers at all: pg_isready -h 127.0.0.1 -p {port} -d d"))),
            "{look:?}"
        );
    }
}

#[test]
fn the_check_of_the_queue_says_what_it_is_and_what_its_user_needs() {
    let test = "libraries::the_check_of_the_queue_says_what_it_is_and_what_its_user_needs";
    each(test, |fixture, packages, database| {
        (fixture.install)(packages, database, fixture.versions[1]);
        let _held = plant(fixture, database);
        let role = database.role("reader");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("unwedge.toml");
        let shown = dir.path().display();
        let text = format!(
            "[host]\nuser = \"nobody\"\nstate_dir = \"{shown}\"\nrun_dir = \"{shown}\"\n\
             [queue]\nurl = \"{}\"\nadapter = \"{}\"\n",
            database.url(&role),
            fixture.name
        );
        fs::write(&file, text).unwrap();
        let check = |more: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_unwedge"))
                .args(["--config".as_ref(), file.as_os_str()])
                .args(["queue", "check"])
                .args(more)
                .output()
                .unwrap()
        };
        // what it says is missing is what it says when all is there
        let refused = check(&[]);
        let said = String::from_utf8(refused.stderr).unwrap();
        let (_, grants) = said.split_once("tables: ").unwrap_or_else(|| panic!("{said}"));
        assert_eq!(refused.status.code(), Some(1), "{said}");
        database.sql(grants);
        let done = check(&[]);
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && said.starts_with("the queue can be read\n"), "{said}");
        for part in
            ["2 pending, 1 retryable, 2 cooling, 2 running", "1 run, and nobody gets them done"]
        {
            assert!(said.contains(part), "{said}");
        }
        for grant in grants.trim().split_inclusive(';') {
            assert!(said.contains(grant.trim()), "{grant}: {said}");
        }
        let told: serde_json::Value = serde_json::from_slice(&check(&["--json"]).stdout).unwrap();
        assert_eq!(told["version"], fixture.versions[1], "{told}");
        assert!(told["indexes"].as_array().is_some_and(|it| !it.is_empty()), "{told}");
        assert_eq!(told["facts"]["counts"]["running"], 2, "{told}");
    });
}
