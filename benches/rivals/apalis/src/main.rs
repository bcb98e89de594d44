//! apalis: URL JOBS CONCURRENCY one|batch|pickup. One line of JSON on stdout.
//!
//! A worker of it takes and acknowledges over one connection at a time, so each handler has a worker.
//! It works in a schema that it names itself, `apalis`, which is dropped before and after.

use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_postgres::{Config, PgConnectOptions, PgPool, PostgresStorage, Pubsub};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

const QUEUE: &str = "nothing";
const BATCH: usize = 2_000;
const PICKUPS: usize = 50;
const PICKUP_EVERY: Duration = Duration::from_millis(100);
/// For a worker that was just started to be idle.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a worker that found nothing waits; in `pickup` the notifications come before.
const POLL: Duration = Duration::from_millis(100);
const POLL_LAZILY: Duration = Duration::from_secs(5);
/// Jobs in one call of its bulk API.
const BULK: usize = 5_000;
/// A measurement that hangs must not hang the bench.
const LIMIT: Duration = Duration::from_secs(600);
const DROP: &str = "DROP SCHEMA IF EXISTS apalis CASCADE";
const OPEN: &str = "SELECT EXISTS (SELECT FROM apalis.jobs WHERE status <> 'Done')";

type Result<T> = std::result::Result<T, BoxDynError>;
type Workers = JoinSet<std::result::Result<(), WorkerError>>;

struct What {
    url: String,
    mode: String,
    jobs: usize,
    concurrency: usize,
}

/// What the handlers tell: how many began, and how long each was on its way.
struct Told {
    zero: Instant,
    begun: AtomicUsize,
    times: Mutex<Vec<Duration>>,
}

fn fail(code: i32, text: &str) -> ! {
    eprintln!("{text}");
    exit(code)
}

fn arguments() -> Option<What> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let [url, jobs, concurrency, mode] = &all[..] else { return None };
    let (jobs, concurrency) = (jobs.parse().ok()?, concurrency.parse().ok()?);
    let sound = jobs > 0 && concurrency > 0 && ["one", "batch", "pickup"].contains(&mode.as_str());
    sound.then(|| What { url: url.clone(), mode: mode.clone(), jobs, concurrency })
}

/// Of the one that is installed.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let after = lock.split_once("name = \"apalis-postgres\"\nversion = \"").map_or("", |it| it.1);
    after.split('"').next().unwrap_or_default()
}

/// All connections are open when it returns.
async fn pool(url: &str, size: usize) -> Result<PgPool> {
    // its parser wants a host, even where `host=` has the directory of a socket
    let options: PgConnectOptions = url.replacen("@/", "@localhost/", 1).parse()?;
    // the extensions that it creates belong to its schema too
    let options =
        options.options([("search_path", "apalis,public"), ("client_min_messages", "warning")]);
    let size = u32::try_from(size)?;
    let pool = PgPoolOptions::new().min_connections(size).max_connections(size);
    // otherwise it asks the server for a sign of life before each transaction
    Ok(pool.test_before_acquire(false).connect_with(options).await?)
}

/// The job: with the moment when it was put in, in nanoseconds, or 0.
async fn nothing(before: u64, told: Data<Arc<Told>>) {
    if before > 0 {
        let time = told.zero.elapsed() - Duration::from_nanos(before);
        told.times.lock().unwrap().push(time);
    }
    told.begun.fetch_add(1, Ordering::Release);
}

/// A worker for each handler, at work.
fn started(what: &What, told: &Arc<Told>, pool: &PgPool, config: &Config) -> Workers {
    let mut workers = JoinSet::new();
    for nth in 0..what.concurrency {
        let strategy = match what.mode.as_str() {
            "pickup" => Strategy::new()
                .stream(Pubsub::new(pool.clone(), QUEUE.to_owned()))
                .interval(POLL_LAZILY),
            _ => Strategy::new().interval(POLL),
        };
        let backend =
            PostgresStorage::new(pool).with_config(config.clone()).poll_with_strategy(strategy);
        let worker = WorkerBuilder::new(format!("worker-{nth}"))
            .backend(backend)
            .concurrency(1)
            .data(Arc::clone(told))
            .build(nothing);
        workers.spawn(worker.run());
    }
    workers
}

/// Waits for `body`; a worker that ends before is an error.
async fn both<T>(mut workers: Workers, body: impl Future<Output = Result<T>>) -> Result<T> {
    let told = tokio::select! {
        told = body => told?,
        ended = workers.join_next() => {
            return Err(format!("a worker stopped by itself: {ended:?}").into());
        }
    };
    workers.shutdown().await;
    Ok(told)
}

async fn begun(told: &Told, jobs: usize) {
    while told.begun.load(Ordering::Acquire) < jobs {
        sleep(Duration::from_millis(1)).await;
    }
}

async fn work(what: &What, client: &PgPool, told: &Arc<Told>) -> Result<String> {
    let batch = if what.mode == "batch" { BATCH } else { 1 };
    let config = Config::default().queue(QUEUE).batch_size(batch);
    let mut filler = PostgresStorage::<u64>::new(client).with_config(config.clone());
    for done in (0..what.jobs).step_by(BULK) {
        filler.push_bulk(vec![0; BULK.min(what.jobs - done)]).await?;
    }
    // as autovacuum would have done on a table that has been in use for a while
    sqlx::query("ANALYZE").execute(client).await?;

    let pool = pool(&what.url, what.concurrency).await?;
    let start = Instant::now();
    let workers = started(what, told, &pool, &config);
    let acknowledged = async {
        begun(told, what.jobs).await;
        // not before: asking takes time that the workers could use
        while sqlx::query_scalar(OPEN).fetch_one(client).await? {
            sleep(Duration::from_millis(1)).await;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = both(workers, acknowledged).await?;
    pool.close().await;
    let per_second = what.jobs as f64 / seconds;
    let more = if batch == 1 { String::new() } else { format!(r#","batch":{batch}"#) };
    Ok(format!(r#""jobs":{},"seconds":{seconds:.3},"per_second":{per_second:.0}{more}"#, what.jobs))
}

async fn pickup(what: &What, client: &PgPool, told: &Arc<Told>) -> Result<String> {
    let config = Config::default().queue(QUEUE);
    let mut putter = PostgresStorage::<u64>::new(client).with_config(config.clone());
    // each worker listens over a connection of its own
    let pool = pool(&what.url, 2 * what.concurrency).await?;
    let workers = started(what, told, &pool, &config);
    let measured = async {
        sleep(SETTLE).await;
        let start = Instant::now();
        for nth in 0..PICKUPS {
            sleep_until((start + PICKUP_EVERY * u32::try_from(nth)?).into()).await;
            putter.push(u64::try_from(told.zero.elapsed().as_nanos())?).await?;
        }
        begun(told, PICKUPS).await;
        Ok(start.elapsed().as_secs_f64())
    };
    let seconds = both(workers, measured).await?;
    pool.close().await;
    let mut times = told.times.lock().unwrap().clone();
    times.sort();
    let p95_ms = times[(PICKUPS * 95).div_ceil(100) - 1].as_secs_f64() * 1000.0;
    let took = format!(r#""seconds":{seconds:.3},"per_second":null,"p95_ms":{p95_ms:.3}"#);
    let note = "LISTEN/NOTIFY, which is off by default";
    Ok(format!(r#""jobs":{PICKUPS},{took},"note":"{note}""#))
}

async fn measured(what: &What) -> Result<String> {
    let client = pool(&what.url, 1).await?;
    sqlx::query(DROP).execute(&client).await?;
    PostgresStorage::setup(&client).await?;
    let zero = Instant::now();
    let told = Arc::new(Told { zero, begun: AtomicUsize::new(0), times: Mutex::default() });
    let line = match what.mode.as_str() {
        "pickup" => pickup(what, &client, &told).await?,
        _ => work(what, &client, &told).await?,
    };
    sqlx::query(DROP).execute(&client).await?;
    client.close().await;
    Ok(line)
}

#[tokio::main]
async fn main() {
    let Some(what) = arguments() else {
        fail(2, "usage: apalis URL JOBS CONCURRENCY one|batch|pickup")
    };
    match timeout(LIMIT, measured(&what)).await {
        Ok(Ok(line)) => {
            let (version, mode) = (version(), &what.mode);
            println!(r#"{{"name":"apalis","version":"{version}","mode":"{mode}",{line}}}"#);
        }
        Ok(Err(error)) => fail(1, &format!("apalis: {error}")),
        Err(_) => fail(1, &format!("apalis: not done after {} s", LIMIT.as_secs())),
    }
}
