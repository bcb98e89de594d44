// What the two scripts for Node share: arguments, bulk, the end of the work, and the line of JSON.
// They work in a schema of their own, which is dropped before and after.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

const PICKUPS = 50;
const PICKUP_EVERY_MS = 100;
// for a worker that was just started to be idle
const SETTLE_MS = 1_000;
// jobs in one call of a library's bulk API
const BULK = 5_000;
// a measurement that hangs must not hang the bench
const LIMIT_MS = 600_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rounded = (number) => Number(number.toFixed(3));
const fail = (code, text) => {
  console.error(text);
  process.exit(code);
};

const dir = process.env.RIVALS_DIR;
if (!dir) fail(2, "RIVALS_DIR is not set; call `run`");
// the libraries do not lie beside this file, so they are looked up from where setup put them
const require = createRequire(join(dir, "package.json"));

/** What to measure, and with what. */
export function begin(name, schema) {
  const [url, jobs, concurrency, mode, ...more] = process.argv.slice(2);
  const sound = [jobs, concurrency].every((it) => /^[1-9]\d*$/.test(it ?? ""));
  if (!url || !sound || !["one", "batch", "pickup"].includes(mode) || more.length > 0) {
    fail(2, `usage: ${name} URL JOBS CONCURRENCY one|batch|pickup`);
  }
  setTimeout(() => fail(1, `${name}: not done after ${LIMIT_MS / 1000} s`), LIMIT_MS).unref();
  const file = join(dir, "node_modules", name, "package.json");
  return {
    name,
    schema,
    url,
    mode,
    jobs: mode === "pickup" ? PICKUPS : Number(jobs),
    concurrency: Number(concurrency),
    version: JSON.parse(readFileSync(file, "utf8")).version,
    library: require(name),
    pg: require("pg"),
  };
}

/** Runs `body` with a connection of ours and a clean schema. */
export async function within(what, body) {
  const client = new what.pg.Client({ connectionString: what.url });
  try {
    await client.connect();
    await client.query("SET client_min_messages = warning");
    const drop = `DROP SCHEMA IF EXISTS ${what.schema} CASCADE`;
    await client.query(drop);
    const line = await body(client);
    await client.query(drop);
    await client.end();
    const { name, version, mode, jobs } = what;
    console.log(JSON.stringify({ name, version, mode, jobs, ...line }));
  } catch (error) {
    fail(1, `${what.name}: ${error.message || error.code || error}`);
  }
  // whatever timers a library still has
  process.exit(0);
}

/** Puts the jobs in, untimed; `insert` takes a list of whatever `job` makes. */
export async function fill(what, client, job, insert) {
  for (let done = 0; done < what.jobs; done += BULK) {
    await insert(Array.from({ length: Math.min(BULK, what.jobs - done) }, job));
  }
  // as autovacuum would have done on a table that has been in use for a while
  await client.query("ANALYZE");
}

/** Opens connections of a pool beforehand: a worker that runs for days does not pay for them. */
export async function opened(connections, query) {
  await Promise.all(Array.from({ length: connections }, () => query("SELECT pg_sleep(0.1)")));
}

/** Counts jobs whose handler begins; `all` is fulfilled with the last. */
export function counter(jobs) {
  let begun = 0;
  let fulfil;
  const all = new Promise((resolve) => (fulfil = resolve));
  const begin = (more) => {
    begun += more;
    if (begun >= jobs) fulfil();
  };
  return { all, begin };
}

/** Seconds from `start` until every job has begun and the table has none that is not acknowledged. */
export async function worked(what, client, start, all, open) {
  await all;
  // not before: asking takes time that the worker could use
  while ((await client.query(`SELECT EXISTS (SELECT ${open}) AS open`)).rows[0].open) await sleep(1);
  const seconds = (performance.now() - start) / 1000;
  return { seconds: rounded(seconds), per_second: Math.round(what.jobs / seconds) };
}

/** Puts in one job after the other, each with the moment before; `begun` is what its handler calls. */
export function pickups() {
  const times = [];
  return {
    begun(before) {
      times.push(performance.now() - before);
    },
    async measure(insert) {
      await sleep(SETTLE_MS);
      const start = performance.now();
      for (let nth = 0; nth < PICKUPS; nth++) {
        await sleep(Math.max(0, start + nth * PICKUP_EVERY_MS - performance.now()));
        await insert(performance.now());
      }
      while (times.length < PICKUPS) await sleep(1);
      const seconds = (performance.now() - start) / 1000;
      times.sort((a, b) => a - b);
      const p95_ms = rounded(times[Math.ceil(0.95 * PICKUPS) - 1]);
      return { seconds: rounded(seconds), per_second: null, p95_ms };
    },
  };
}
