//! Our own queue beside others on the same PostgreSQL: claimed and acknowledged one by one and many at a time, and how
//! long an idle worker takes to a job that comes. `benches/rivals` has the others, each by its own fast settings.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use unwedge::config::queue::Queue;
use unwedge::decide::attempts::{Counted, State, Token};
use unwedge::queue::store::bell::{self, Rung};
use unwedge::queue::store::{Ask, Claimed, Ending, NewJob, NewWorker, Store, TypeMark};

use crate::support::postgres::{Database, cluster};
use crate::{note, row};

/// How many of the others' handlers work at once.
const HANDS: usize = 4;
/// How often each is measured; they alternate.
const RUNS: usize = 3;
const RIVALS: [&str; 4] = ["graphile-worker", "pg-boss", "procrastinate", "apalis"];

/// How jobs are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    One,
    Batch,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Batch => "batch",
        }
    }

    /// How many of our own work at once. Of batches as many as there are cores: more pass over each other's rows.
    fn hands(self) -> usize {
        match self {
            Self::One => HANDS,
            Self::Batch => std::thread::available_parallelism().map_or(1, usize::from).min(HANDS),
        }
    }

    fn at_once(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Batch => 500,
        }
    }

    fn jobs(self) -> usize {
        match self {
            Self::One => 5_000,
            Self::Batch => 40_000,
        }
    }
}

/// All of it.
pub fn rows() {
    let Some(cluster) = cluster("figures::rivals") else {
        note("other queues are left out: no PostgreSQL can be started here");
        return;
    };
    let dir = std::env::var_os("UNWEDGE_RIVALS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/rivals"), PathBuf::from);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals");
    let set_up = Command::new(scripts.join("setup")).arg(&dir).status();
    if !set_up.is_ok_and(|it| it.success()) {
        note("other queues are left out: they cannot be installed here");
    }
    let rivals = cluster.database();
    let url = format!(
        "postgresql://postgres@/{}?host={}&port={}",
        rivals.name,
        cluster.dir.display(),
        cluster.port
    );
    let rival = |name: &str, mode: &str, jobs: usize| -> Option<Value> {
        let ran = Command::new(scripts.join("run"))
            .arg(&dir)
            .args([name, &url, &jobs.to_string(), &HANDS.to_string(), mode])
            .output()
            .ok()?;
        ran.status.success().then(|| serde_json::from_slice(&ran.stdout).ok())?
    };
    for mode in [Mode::One, Mode::Batch] {
        let mut own = Vec::new();
        let mut others: Vec<(&str, Vec<f64>, String)> =
            RIVALS.iter().map(|name| (*name, Vec::new(), String::new())).collect();
        for _ in 0..RUNS {
            own.push(throughput(&cluster.database(), mode));
            for (name, measured, version) in &mut others {
                let Some(told) = rival(name, mode.name(), mode.jobs()) else { continue };
                measured.extend(told["per_second"].as_f64());
                told["version"].as_str().unwrap_or_default().clone_into(version);
            }
        }
        let own = middle(&mut own);
        for (name, mut measured, version) in others {
            if measured.is_empty() {
                note(&format!("{name} has no mode {:?}, or cannot be had here", mode.name()));
                continue;
            }
            let other = middle(&mut measured);
            row(
                &format!("no-op jobs claimed and acknowledged, {}", mode.name()),
                &format!("{own:.0}/s"),
                &format!("{name} {version} {other:.0}/s"),
                &format!("{:.2}", own / other),
                "> 1",
            );
        }
    }
    let mut own: Vec<f64> = (0..RUNS).map(|_| pickup(&cluster.database())).collect();
    let own = middle(&mut own);
    for name in RIVALS {
        let mut told: Vec<f64> =
            (0..RUNS).filter_map(|_| rival(name, "pickup", 50)?["p95_ms"].as_f64()).collect();
        if !told.is_empty() {
            let other = middle(&mut told);
            row(
                "from put in to taken by an idle worker, p95",
                &format!("{own:.1} ms"),
                &format!("{name} {other:.1} ms"),
                &format!("{:.2}", own / other),
                "own < 10 ms",
            );
        }
    }
}

fn middle(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn queue(database: &Database) -> Queue {
    Queue::at(&database.url("postgres"), Duration::from_secs(30))
}

pub fn put(store: &mut Store, from: usize, count: usize) {
    let jobs: Vec<NewJob> = (from..from + count)
        .map(|nth| NewJob {
            kind: "t".to_owned(),
            key: nth.to_string(),
            priority: 0,
            needs: Vec::new(),
            prefers: Vec::new(),
            input: format!("/in/{nth}"),
            output: None,
            output_dir: None,
            stamp: None,
            intake: None,
            offered_by: None,
        })
        .collect();
    store.submit(&jobs).unwrap();
}

pub fn enter(store: &mut Store, id: &str) {
    let mark = TypeMark {
        digest: "d".to_owned(),
        first_tier: "1".to_owned(),
        uses: "1".to_owned(),
        rests: None,
    };
    store
        .register(&NewWorker {
            id: id.to_owned(),
            host: "h".to_owned(),
            unit: None,
            version: "0.1.0".to_owned(),
            mode: "direct".to_owned(),
            types: [("t".to_owned(), mark)].into(),
            lacks: std::collections::BTreeMap::new(),
            open: Vec::new(),
            closed: Vec::new(),
            cpus: None,
        })
        .unwrap();
}

pub fn ask(worker: &str, most: u32) -> Ask<'_> {
    Ask {
        worker,
        kind: "t",
        digest: "d",
        aged_ms: 0,
        leave_ms: 0,
        open: &[],
        closed: &[],
        most,
        is_calm: false,
    }
}

pub fn done(token: Token) -> Ending {
    Ending {
        state: State::Done,
        counted: Counted::Nothing,
        tier: Some("1".to_owned()),
        exit_code: Some(0),
        ..Ending::given_back(token)
    }
}

/// Listens to a queue, as a runner does: by that it knows that no pooler is between.
pub fn hear(queue: Queue) -> mpsc::Receiver<Rung> {
    let (rings, rung) = mpsc::channel();
    std::thread::spawn(move || bell::listen(&queue, &mut |news| rings.send(news).is_ok()));
    assert_eq!(rung.recv().unwrap(), Rung::Hears);
    rung
}

/// Jobs a second, each waited for: claimed, and its end written down, before the next is claimed.
fn throughput(database: &Database, mode: Mode) -> f64 {
    let _rung = hear(queue(database));
    let mut store = Store::open(&queue(database)).unwrap();
    put(&mut store, 0, mode.jobs());
    let mut hands: Vec<Store> = (0..mode.hands())
        .map(|nth| {
            let mut hand = Store::open(&queue(database)).unwrap();
            enter(&mut hand, &nth.to_string());
            hand
        })
        .collect();
    store.adopt("0").unwrap();
    database.sql("ANALYZE unwedge_jobs");
    let all = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (nth, hand) in hands.iter_mut().enumerate() {
            let all = Arc::clone(&all);
            scope.spawn(move || {
                let id = nth.to_string();
                loop {
                    let claimed: Vec<Claimed> = hand.claim(&ask(&id, mode.at_once())).unwrap();
                    if claimed.is_empty() {
                        return;
                    }
                    let ends: Vec<Ending> = claimed.iter().map(|it| done(it.token)).collect();
                    all.fetch_add(
                        hand.end(&ends, "0.1.0", &id).unwrap().len() as u64,
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    let took = start.elapsed();
    assert_eq!(all.load(Ordering::Relaxed), mode.jobs() as u64);
    mode.jobs() as f64 / took.as_secs_f64()
}

/// 50 jobs, one every 100 ms: from before each is put in until it is claimed; milliseconds.
fn pickup(database: &Database) -> f64 {
    let mut store = Store::open(&queue(database)).unwrap();
    enter(&mut store, "w");
    store.adopt("w").unwrap();
    let rung = hear(queue(database));
    let mut worker = Store::open(&queue(database)).unwrap();
    let (puts, put_at) = mpsc::channel::<Instant>();
    let feeder = std::thread::spawn(move || {
        for nth in 0..50 {
            std::thread::sleep(Duration::from_millis(100));
            puts.send(Instant::now()).unwrap();
            put(&mut store, nth, 1);
        }
    });
    let mut all = Vec::new();
    while all.len() < 50 {
        rung.recv_timeout(Duration::from_secs(10)).unwrap();
        for it in worker.claim(&ask("w", 1)).unwrap() {
            all.push(put_at.recv().unwrap().elapsed().as_secs_f64() * 1000.0);
            worker.end(&[done(it.token)], "0.1.0", "w").unwrap();
        }
    }
    feeder.join().unwrap();
    all.sort_by(f64::total_cmp);
    all[47]
}
