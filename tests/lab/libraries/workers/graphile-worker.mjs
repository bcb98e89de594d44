// Graphile Worker at work: put N | work | view, each with URL first. `work` says `begun ID` and never ends a job.
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/package.json`);
const { Logger, makeWorkerUtils, run } = require("graphile-worker");
const { Client } = require("pg");

const [connectionString, verb, count] = process.argv.slice(2);
const logger = new Logger(() => () => {});

async function put() {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  for (let nth = 0; nth < Number(count); nth++) await utils.addJob("wait", { nth });
  await utils.release();
}

async function work() {
  const wait = async (_, { job }) => {
    console.log(`begun ${job.id}`);
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  };
  // it looks for locks that are too old within a minute of its start, and then every ten
  const often = { minResetLockedInterval: 500, maxResetLockedInterval: 1_000 };
  const preset = { worker: { connectionString, logger, concurrentJobs: 1, ...often } };
  await run({ preset, noHandleSignals: true, taskList: { wait } });
}

// its view is what it shows of its jobs
async function view() {
  const client = new Client({ connectionString });
  await client.connect();
  const { rows } = await client.query("SELECT id::text, locked_at IS NOT NULL AS runs FROM graphile_worker.jobs ORDER BY id");
  const running = rows.filter((it) => it.runs).map((it) => it.id);
  console.log(JSON.stringify({ running, waiting: rows.length - running.length }));
  await client.end();
}

await { put, work, view }[verb]();
