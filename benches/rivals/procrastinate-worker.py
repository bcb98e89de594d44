"""procrastinate: URL JOBS CONCURRENCY one|pickup. One line of JSON on stdout.

It takes jobs one by one and acknowledges each by itself, with LISTEN/NOTIFY on by default; there is no
batching to measure. It works in a schema of its own, which is dropped before and after.
"""

import asyncio
import importlib.metadata
import json
import logging
import math
import sys
import time

import procrastinate
import psycopg

SCHEMA = "rival_procrastinate"
PICKUPS = 50
PICKUP_EVERY_S = 0.1
# for a worker that was just started to be idle
SETTLE_S = 1.0
# jobs in one call of its bulk API
BULK = 5_000
# a measurement that hangs must not hang the bench
LIMIT_S = 600
OPEN = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"


# it warns of an app that lives in the main module, which is what a script is
logging.getLogger("procrastinate").setLevel(logging.ERROR)


def fail(code, text):
    print(text, file=sys.stderr)
    sys.exit(code)


def arguments():
    try:
        url, jobs, concurrency, mode = sys.argv[1:]
        jobs, concurrency = int(jobs), int(concurrency)
        if jobs < 1 or concurrency < 1 or mode not in ("one", "batch", "pickup"):
            raise ValueError
    except ValueError:
        fail(2, "usage: procrastinate URL JOBS CONCURRENCY one|pickup")
    if mode == "batch":
        fail(3, "procrastinate: it has no batching of fetches or acknowledgements")
    return url, jobs, concurrency, mode


def started(app, concurrency):
    return asyncio.create_task(app.run_worker_async(concurrency=concurrency, install_signal_handlers=False))


async def stop(worker):
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def both(worker, what):
    """Waits for `what`; a worker that ends before is an error."""
    what = asyncio.ensure_future(what)
    await asyncio.wait([worker, what], return_when=asyncio.FIRST_COMPLETED)
    if not what.done():
        what.cancel()
        await worker
        raise RuntimeError("the worker stopped by itself")
    return what.result()


async def work(app, client, jobs, concurrency):
    begun, last = 0, asyncio.Event()

    @app.task(name="nothing")
    async def nothing():
        nonlocal begun
        begun += 1
        if begun >= jobs:
            last.set()

    for done in range(0, jobs, BULK):
        await nothing.batch_defer_async(*({} for _ in range(min(BULK, jobs - done))))
    # as autovacuum would have done on a table that has been in use for a while
    await client.execute("ANALYZE")

    async def acknowledged():
        await last.wait()
        # not before: asking takes time that the worker could use
        while (await (await client.execute(OPEN)).fetchone())[0]:
            await asyncio.sleep(0.001)

    start = time.perf_counter()
    worker = started(app, concurrency)
    await both(worker, acknowledged())
    seconds = time.perf_counter() - start
    await stop(worker)
    return {"jobs": jobs, "seconds": round(seconds, 3), "per_second": round(jobs / seconds)}


async def pickup(app, concurrency):
    times = []

    @app.task(name="nothing")
    async def nothing(before):
        times.append(time.perf_counter() - before)

    async def measure():
        await asyncio.sleep(SETTLE_S)
        start = time.perf_counter()
        for nth in range(PICKUPS):
            await asyncio.sleep(max(0, start + nth * PICKUP_EVERY_S - time.perf_counter()))
            await nothing.defer_async(before=time.perf_counter())
        while len(times) < PICKUPS:
            await asyncio.sleep(0.001)
        return time.perf_counter() - start

    worker = started(app, concurrency)
    seconds = await both(worker, measure())
    await stop(worker)
    p95_ms = round(sorted(times)[math.ceil(0.95 * PICKUPS) - 1] * 1000, 3)
    line = {"jobs": PICKUPS, "seconds": round(seconds, 3), "per_second": None, "p95_ms": p95_ms}
    return {**line, "note": "LISTEN/NOTIFY"}


async def main(url, jobs, concurrency, mode):
    options = f"-csearch_path={SCHEMA}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, options=options) as client:
        await client.execute("SET client_min_messages = warning")
        await client.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await client.execute(f"CREATE SCHEMA {SCHEMA}")
        # a connection for each handler and one to take the next job, all open beforehand
        size = concurrency + 1
        connector = procrastinate.PsycopgConnector(
            conninfo=url, kwargs={"options": options}, min_size=size, max_size=size
        )
        app = procrastinate.App(connector=connector)
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            if mode == "pickup":
                line = await pickup(app, concurrency)
            else:
                line = await work(app, client, jobs, concurrency)
        await client.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    version = importlib.metadata.version("procrastinate")
    print(json.dumps({"name": "procrastinate", "version": version, "mode": mode, **line}))


try:
    asyncio.run(asyncio.wait_for(main(*arguments()), LIMIT_S))
except asyncio.TimeoutError:
    fail(1, f"procrastinate: not done after {LIMIT_S} s")
except Exception as error:
    fail(1, f"procrastinate: {type(error).__name__}: {error}")
