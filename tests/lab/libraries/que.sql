-- Que's tables at version 7, put together again from its migrations 1 to 7: the columns and the index of what is read, and
-- when its trigger tells of a new job, which tells 7 from 6; whom it tells is left out.
CREATE TABLE que_jobs (
    priority smallint NOT NULL DEFAULT 100,
    run_at timestamptz NOT NULL DEFAULT now(),
    id bigserial PRIMARY KEY,
    job_class text NOT NULL,
    error_count integer NOT NULL DEFAULT 0,
    last_error_message text,
    queue text NOT NULL DEFAULT 'default',
    last_error_backtrace text,
    finished_at timestamptz,
    expired_at timestamptz,
    args jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(args) = 'array'),
    data jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(data) = 'object'),
    job_schema_version integer NOT NULL,
    kwargs jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 90);
CREATE INDEX que_poll_idx ON que_jobs (job_schema_version, queue, priority, run_at, id) WHERE finished_at IS NULL AND expired_at IS NULL;
CREATE UNLOGGED TABLE que_lockers (
    pid integer PRIMARY KEY,
    worker_count integer NOT NULL,
    worker_priorities integer[] NOT NULL,
    ruby_pid integer NOT NULL,
    ruby_hostname text NOT NULL,
    queues text[] NOT NULL,
    listening boolean NOT NULL,
    job_schema_version integer DEFAULT 1
);
CREATE FUNCTION que_job_notify() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER que_job_notify AFTER INSERT ON que_jobs FOR EACH ROW
    WHEN (NOT coalesce(current_setting('que.skip_notify', true), '') = 'true') EXECUTE FUNCTION que_job_notify();
