// graphile-worker: URL JOBS CONCURRENCY one|batch|pickup. One line of JSON on stdout.
//
// One by one is its default. Batching is what its page on performance shows: a local queue of 500, and
// completions that are gathered for one turn of the event loop. It has LISTEN/NOTIFY always on.

import { EventEmitter } from "node:events";
import { performance } from "node:perf_hooks";
import { begin, counter, fill, opened, pickups, within, worked } from "./common.mjs";

const what = begin("graphile-worker", "rival_graphile_worker");
const { Logger, makeWorkerUtils, run } = what.library;

const batching = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
// stdout is for the JSON
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(`graphile-worker: ${message}`);
});

// A worker, and the moment when it began to work: migrations are behind it then.
async function worker(handler) {
  const events = new EventEmitter();
  let start;
  events.on("pool:create", () => (start = performance.now()));
  // one connection is for LISTEN, as in its own example
  const pgPool = new what.pg.Pool({ connectionString: what.url, max: what.concurrency + 1 });
  const told = (error) => console.error(`graphile-worker: ${error}`);
  pgPool.on("error", told);
  pgPool.on("connect", (connection) => connection.on("error", told));
  await opened(what.concurrency + 1, (sql) => pgPool.query(sql));
  const preset = {
    worker: {
      schema: what.schema,
      logger,
      events,
      concurrentJobs: what.concurrency,
      ...(what.mode === "batch" ? batching : {}),
    },
  };
  const runner = await run({ preset, pgPool, taskList: { nothing: handler }, noHandleSignals: true });
  return { runner, start };
}

async function work(client) {
  const { url: connectionString, schema } = what;
  const utils = await makeWorkerUtils({ preset: { worker: { connectionString, schema, logger } } });
  await utils.migrate();
  const job = () => ({ identifier: "nothing", payload: {} });
  await fill(what, client, job, (jobs) => utils.addJobs(jobs));
  await utils.release();
  const count = counter(what.jobs);
  const { runner, start } = await worker(async () => count.begin(1));
  const line = await worked(what, client, start, count.all, `FROM ${what.schema}._private_jobs`);
  await runner.stop();
  return what.mode === "batch" ? { ...line, batch: batching.localQueue.size } : line;
}

async function pickup() {
  const pick = pickups();
  const { runner } = await worker(async ({ before }) => pick.begun(before));
  const line = await pick.measure((before) => runner.addJob("nothing", { before }));
  await runner.stop();
  return { ...line, note: "LISTEN/NOTIFY" };
}

await within(what, (client) => (what.mode === "pickup" ? pickup() : work(client)));
