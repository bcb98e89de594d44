-- pgmq's tables as of 1.5.1, put together again from its SQL: `meta`, what `create` makes for the queues `q` and `Other`, and the
-- type by which it gives messages.
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.meta (
    queue_name varchar UNIQUE NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TYPE pgmq.message_record AS (msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb);
CREATE TABLE pgmq.q_q (
    msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    read_ct integer NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    vt timestamptz NOT NULL,
    message jsonb,
    headers jsonb
);
CREATE INDEX q_q_vt_idx ON pgmq.q_q (vt);
CREATE TABLE pgmq.q_other (LIKE pgmq.q_q INCLUDING ALL);
CREATE TABLE pgmq.a_q (
    msg_id bigint PRIMARY KEY,
    read_ct integer NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz NOT NULL DEFAULT now(),
    vt timestamptz NOT NULL,
    message jsonb,
    headers jsonb
);
INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ('q', false, false), ('Other', false, false);
