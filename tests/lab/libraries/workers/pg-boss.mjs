// pg-boss at work: put N | work | view, each with URL first. `work` says `begun ID` and never ends a job, and keeps the
// house every second; a job has 8 s.
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/package.json`);
const { PgBoss } = require("pg-boss");

const [connectionString, verb, count] = process.argv.slice(2);
const QUEUE = "wait";

async function started(keeps) {
  const options = keeps ? { superviseIntervalSeconds: 1, monitorIntervalSeconds: 1 } : { supervise: false, schedule: false };
  const boss = new PgBoss({ connectionString, ...options });
  boss.on("error", (error) => console.error(`pg-boss: ${error.message}`));
  await boss.start();
  return boss;
}

async function put() {
  const boss = await started(false);
  await boss.createQueue(QUEUE, { expireInSeconds: 8, retryLimit: 5 });
  for (let nth = 0; nth < Number(count); nth++) await boss.send(QUEUE, { nth });
  await boss.stop();
}

async function work() {
  const boss = await started(true);
  await boss.work(QUEUE, { batchSize: 1, pollingIntervalSeconds: 0.5 }, async ([job]) => {
    console.log(`begun ${job.id}`);
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  });
}

async function view() {
  const boss = await started(false);
  // what it counts is up to a minute old
  const all = await boss.findJobs(QUEUE);
  const of = (...states) => all.filter((it) => states.includes(it.state));
  console.log(JSON.stringify({ running: of("active").map((it) => it.id), waiting: of("created", "retry").length }));
  await boss.stop();
}

await { put, work, view }[verb]();
