"""Procrastinate at work: put N | work | view | retry, each with URL first. `work` says `begun ID` and never ends a job; `retry`
is what its manual has an application do with the jobs of workers that are gone."""

import asyncio
import json
import logging
import sys

import procrastinate

url, verb, *rest = sys.argv[1:]
logging.getLogger("procrastinate").setLevel(logging.ERROR)
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))


@app.task(name="wait", pass_context=True)
async def wait(context):
    print(f"begun {context.job.id}", flush=True)
    await asyncio.sleep(600)


async def put():
    await app.schema_manager.apply_schema_async()
    for _ in range(int(rest[0])):
        await wait.defer_async()


async def work():
    await app.run_worker_async(concurrency=1, install_signal_handlers=False)


async def view():
    manager = app.job_manager
    ids = {status: [str(it.id) for it in await manager.list_jobs_async(status=status)] for status in ("doing", "todo")}
    stalled = [str(it.id) for it in await manager.get_stalled_jobs(seconds_since_heartbeat=30)]
    print(json.dumps({"running": ids["doing"], "waiting": len(ids["todo"]), "stale": stalled}))


async def retry():
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=30):
        await app.job_manager.retry_job(job)


async def main():
    async with app.open_async():
        await {"put": put, "work": work, "view": view, "retry": retry}[verb]()


asyncio.run(main())
