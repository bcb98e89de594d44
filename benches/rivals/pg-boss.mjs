// pg-boss: URL JOBS CONCURRENCY one|batch|pickup. One line of JSON on stdout.
//
// By default it takes one job every two seconds, whatever is waiting. So it gets the settings that it
// offers against that: burstWhenReadyExceeds where jobs are taken one by one, burstWhenBatchFull where
// they are taken in batches, LISTEN/NOTIFY for new ones.

import { performance } from "node:perf_hooks";
import { begin, counter, fill, opened, pickups, within, worked } from "./common.mjs";

const what = begin("pg-boss", "rival_pg_boss");
const { PgBoss } = what.library;

const QUEUE = "nothing";
const BATCH = 500;

async function started(options = {}) {
  // its default, or a connection for each handler and two for its housekeeping
  const max = Math.max(10, what.concurrency + 2);
  const boss = new PgBoss({ connectionString: what.url, schema: what.schema, max, ...options });
  boss.on("error", (error) => console.error(`pg-boss: ${error.message}`));
  await boss.start();
  return boss;
}

async function work(client) {
  const filler = await started();
  await filler.createQueue(QUEUE);
  await fill(what, client, () => ({}), (jobs) => filler.insert(QUEUE, jobs));
  // burstWhenReadyExceeds goes by a count that is otherwise up to minutes old
  await filler.getQueueStats(QUEUE, { force: true });
  await filler.stop();

  const boss = await started();
  await opened(what.concurrency, (sql) => boss.getDb().executeSql(sql));
  const taken =
    what.mode === "batch"
      ? { batchSize: BATCH, burstWhenBatchFull: true }
      : { batchSize: 1, burstWhenReadyExceeds: 1 };
  const how = { ...taken, localConcurrency: what.concurrency, pollingIntervalSeconds: 0.5 };
  const count = counter(what.jobs);
  const start = performance.now();
  await boss.work(QUEUE, how, async (jobs) => count.begin(jobs.length));
  const open = `FROM ${what.schema}.job WHERE name = '${QUEUE}' AND state < 'completed'`;
  const line = await worked(what, client, start, count.all, open);
  await boss.stop();
  return what.mode === "batch" ? { ...line, batch: BATCH } : line;
}

async function pickup() {
  const boss = await started({ useListenNotify: true });
  await boss.createQueue(QUEUE, { notify: true });
  const pick = pickups();
  const how = { localConcurrency: what.concurrency };
  await boss.work(QUEUE, how, async ([job]) => pick.begun(job.data.before));
  const line = await pick.measure((before) => boss.send(QUEUE, { before }));
  await boss.stop();
  return { ...line, note: "LISTEN/NOTIFY, which is off by default" };
}

await within(what, (client) => (what.mode === "pickup" ? pickup() : work(client)));
