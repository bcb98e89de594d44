//! Our own queue on both of its databases: the same tests, the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use unwedge::config::jobs::Keep;
use unwedge::config::queue::{Adapter, Breaker, Database as Place, Queue, Secret, Terms};
use unwedge::config::retry::Retry;
use unwedge::decide::at_work::{Stall, Still};
use unwedge::decide::attempts::{Class, Counted, Outcome, State, Token, Used, next};
use unwedge::decide::leases::{Leases, Patience};
use unwedge::probes::jobs::{self, QueueLook};
use unwedge::probes::witness;
use unwedge::queue::store::bell::{self, Rung};
use unwedge::queue::store::change::{Change, Changed, Progress};
use unwedge::queue::store::listing::{Order, StampIs, Which};
use unwedge::queue::store::{
    Ask, Beat, Claimed, Ending, Lack, Load, NewJob, NewWorker, Registered, Rescued, Store, TypeMark,
};

use unwedge::sys::clock::Deadline;

use crate::support::postgres::{Database, cluster};

/// One of the two databases, empty.
pub struct Db {
    pub queue: Queue,
    kept: Kept,
}

enum Kept {
    File(tempfile::TempDir),
    Server(Database),
}

pub fn queue(url: String) -> Queue {
    Queue {
        database: Place::Url(Secret(url)),
        adapter: Adapter::Healtharchive,
        next_jobs: 10,
        timeout: std::time::Duration::from_secs(20),
        ca_file: None,
        infra_window: std::time::Duration::from_secs(600),
        stale_after: std::time::Duration::from_secs(3600),
        quiet: std::time::Duration::from_secs(60),
        terms: Terms::default(),
    }
}

impl Db {
    pub fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().canonicalize().unwrap().join("q.db").display());
        Self { queue: queue(url), kept: Kept::File(dir) }
    }

    pub fn server(test: &str) -> Option<Self> {
        Some(Self::of(cluster(test)?.database()))
    }

    pub fn of(database: Database) -> Self {
        Self { queue: queue(database.url("postgres")), kept: Kept::Server(database) }
    }

    /// Whether a server lets nobody in any more, and those out that are.
    pub fn close_to_others(&self, is_closed: bool) {
        let Kept::Server(database) = &self.kept else { panic!("a file has no door") };
        let mut admin = database.cluster.admin("postgres");
        let name = &database.name;
        admin
            .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !is_closed))
            .unwrap();
        if is_closed {
            let out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            admin.execute(out, &[name]).unwrap();
        }
    }

    pub fn both(test: &str) -> Vec<Self> {
        [Some(Self::file()), Self::server(test)].into_iter().flatten().collect()
    }

    /// Whether there is a queue: a file, or tables.
    pub fn is_made(&self) -> bool {
        match &self.kept {
            Kept::File(dir) => dir.path().join("q.db").exists(),
            Kept::Server(_) => {
                self.rows("SELECT 1 WHERE to_regclass('unwedge_meta') IS NOT NULL").len() == 1
            }
        }
    }

    pub fn open(&self) -> Store {
        Store::open(&self.queue).unwrap()
    }

    /// Rows as texts, by a connection of its own.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        match &self.kept {
            Kept::File(dir) => {
                let connection = rusqlite::Connection::open(dir.path().join("q.db")).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let width = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                let mut all = Vec::new();
                while let Some(row) = rows.next().unwrap() {
                    let cell = |nth| match row.get_ref(nth).unwrap() {
                        rusqlite::types::ValueRef::Null => String::new(),
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str().unwrap().to_owned(),
                    };
                    all.push((0..width).map(cell).collect());
                }
                all
            }
            Kept::Server(database) => {
                let answer = database.client().simple_query(sql).unwrap();
                let rows = answer.iter().filter_map(|message| match message {
                    postgres::SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|nth| row.get(nth).unwrap_or_default().to_owned())
                            .collect(),
                    ),
                    _ => None,
                });
                rows.collect()
            }
        }
    }
}

pub fn job(key: &str) -> NewJob {
    NewJob {
        kind: "t".to_owned(),
        key: key.to_owned(),
        priority: 0,
        needs: Vec::new(),
        prefers: Vec::new(),
        input: format!("/in/{key}"),
        output: None,
        output_dir: None,
        stamp: None,
        intake: None,
        offered_by: None,
    }
}

pub fn worker(store: &mut Store, id: &str) {
    let came = store.register(&new_worker(id, "d")).unwrap();
    assert_eq!(came, Registered::Entered);
}

/// One that knows the type `t` by this digest.
pub fn new_worker(id: &str, digest: &str) -> NewWorker {
    let text = |text: &str| text.to_owned();
    let is_here = witness::is_of_here(id);
    NewWorker {
        id: text(id),
        host: if is_here { witness::host() } else { format!("host of {id}") },
        unit: None,
        version: text("0.5.0"),
        mode: text("direct"),
        types: [(
            text("t"),
            TypeMark {
                digest: text(digest),
                first_tier: text("first"),
                uses: text("first"),
                rests: None,
            },
        )]
        .into(),
        lacks: BTreeMap::new(),
        open: Vec::new(),
        closed: Vec::new(),
        cpus: Some(2),
    }
}

pub fn claim(store: &mut Store, worker: &str, open: &[String], most: u32) -> Vec<Claimed> {
    store.claim(&ask(worker, open, most)).unwrap()
}

pub fn ask<'a>(worker: &'a str, open: &'a [String], most: u32) -> Ask<'a> {
    Ask {
        worker,
        kind: "t",
        digest: "d",
        aged_ms: 0,
        leave_ms: 0,
        open,
        closed: &[],
        most,
        is_calm: false,
    }
}

pub fn ending(token: Token, state: State) -> Ending {
    Ending { state, exit_code: Some(0), ..Ending::given_back(token) }
}

fn beat(worker: &str) -> Beat<'_> {
    let load = Load { load_milli: Some(1500), memory_mib: None };
    Beat {
        worker,
        state: "busy",
        step: None,
        done: 0,
        failed: 0,
        load,
        progress: &[],
        stalls: &[],
        open: &[],
        closed: &[],
        deaf: None,
    }
}

#[test]
fn a_file_that_is_locked_says_what_was_tried_and_for_how_long() {
    let db = Db::file();
    let mut store = db.open();
    let Kept::File(dir) = &db.kept else { panic!() };
    let other = rusqlite::Connection::open(dir.path().join("q.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(store.counts().unwrap(), [], "readers wait for nobody");
    let why = store.submit(&[job("a")]).unwrap_err().0;
    let tried = why.split_once("it was tried to write for ").expect(&why).1;
    let tried =
        unwedge::config::duration::parse(&tried.split_once("; ").unwrap().0.replace(' ', ""));
    assert!(
        why.starts_with("database is locked; ") && tried.is_ok_and(|it| it.as_secs() >= 3),
        "{why}"
    );
}

#[test]
fn eight_claimers_are_handed_each_of_20_000_jobs_once() {
    for db in Db::both("eight_claimers_are_handed_each_of_20_000_jobs_once") {
        let jobs: Vec<NewJob> = (0..20_000).map(|nth| job(&nth.to_string())).collect();
        assert_eq!(db.open().submit(&jobs).unwrap().len(), 20_000);
        let handed = Mutex::new(BTreeMap::<i64, u32>::new());
        std::thread::scope(|scope| {
            for nth in 0..8 {
                let (db, handed) = (&db, &handed);
                scope.spawn(move || {
                    let (mut store, id) = (db.open(), format!("w{nth}"));
                    worker(&mut store, &id);
                    loop {
                        // some one by one, some in batches
                        let some = claim(&mut store, &id, &[], if nth % 2 == 0 { 100 } else { 7 });
                        if some.is_empty() {
                            break;
                        }
                        let ends: Vec<Ending> =
                            some.iter().map(|job| ending(job.token, State::Done)).collect();
                        assert_eq!(store.end(&ends, "0", &id).unwrap().len(), ends.len());
                        let mut handed = handed.lock().unwrap();
                        for job in &some {
                            *handed.entry(job.token.id).or_default() += 1;
                        }
                    }
                });
            }
        });
        let handed = handed.into_inner().unwrap();
        assert_eq!(handed.len(), 20_000);
        assert!(handed.values().all(|times| *times == 1));
        assert_eq!(db.open().counts().unwrap(), [("t".to_owned(), State::Done, 20_000)]);
        assert_eq!(db.rows("SELECT count(*) FROM unwedge_attempts"), [["20000"]]);
    }
}

#[test]
fn whoever_has_lost_a_job_changes_nothing_of_it() {
    for db in Db::both("whoever_has_lost_a_job_changes_nothing_of_it") {
        let mut store = db.open();
        store.submit(&[job("a"), job("b")]).unwrap();
        worker(&mut store, "old");
        worker(&mut store, "new");
        let old = claim(&mut store, "old", &[], 2);
        assert_eq!(old.len(), 2);
        assert_eq!(store.beat(&beat("old")).unwrap().unwrap().held.len(), 2);
        let seen: Vec<_> =
            store.workers().unwrap().into_iter().filter(|it| it.id == "old").collect();
        // one that has beaten since it was seen is not dead
        store.beat(&beat("old")).unwrap().unwrap();
        assert_eq!(store.bury(&seen, 3).unwrap(), []);
        let seen: Vec<_> =
            store.workers().unwrap().into_iter().filter(|it| it.id == "old").collect();
        assert_eq!(store.bury(&seen, 3).unwrap().len(), 2);
        // between the two, and after somebody else has it
        for _ in 0..2 {
            let before = db.rows("SELECT * FROM unwedge_jobs ORDER BY id");
            let notes = db.rows("SELECT * FROM unwedge_attempts ORDER BY job, try");
            for state in [State::Done, State::Quarantined, State::Pending] {
                let ends: Vec<Ending> = old.iter().map(|job| ending(job.token, state)).collect();
                assert_eq!(store.end(&ends, "0", "old").unwrap(), []);
            }
            assert_eq!(store.beat(&beat("old")).unwrap(), None, "it is known no more");
            assert_eq!(claim(&mut store, "old", &[], 9), []);
            assert_eq!(store.leave("old").unwrap(), 0);
            assert_eq!(db.rows("SELECT * FROM unwedge_jobs ORDER BY id"), before);
            assert_eq!(db.rows("SELECT * FROM unwedge_attempts ORDER BY job, try"), notes);
            claim(&mut store, "new", &[], 9);
        }
        assert_eq!(claim(&mut store, "nobody", &[], 9), []);
        let held = store.beat(&beat("new")).unwrap().unwrap().held;
        assert_eq!(held.iter().map(|it| it.token.nth).collect::<Vec<_>>(), [2, 2]);
        // nor is anything told of a try that has lost its job, whoever tells it
        let late = [(old[0].token, "9/9".to_owned())];
        store.beat(&Beat { progress: &late, ..beat("new") }).unwrap().unwrap();
        assert_eq!(store.job(old[0].token.id).unwrap().unwrap().0.progress, None);
    }
}

#[test]
fn a_job_that_its_worker_was_lost_with_three_times_is_put_aside() {
    for db in Db::both("a_job_that_its_worker_was_lost_with_three_times_is_put_aside") {
        let mut store = db.open();
        store.submit(&[job("a")]).unwrap();
        for (nth, expected) in
            [State::Retryable, State::Retryable, State::Quarantined].into_iter().enumerate()
        {
            let id = format!("w{nth}");
            worker(&mut store, &id);
            // a batch is only of those that no worker was lost with
            let calm = store.claim(&Ask { is_calm: true, ..ask(&id, &[], 9) }).unwrap();
            assert_eq!(calm.len(), usize::from(nth == 0));
            if nth == 2 {
                assert_eq!(
                    claim(&mut store, &id, &[], 1),
                    [],
                    "workers that fall one after another"
                );
                db.rows(
                    "UPDATE unwedge_jobs SET not_before_ms = not_before_ms - 30000 RETURNING id",
                );
            }
            if nth > 0 {
                assert_eq!(claim(&mut store, &id, &[], 1).len(), 1);
            }
            let seen = store.workers().unwrap();
            let rescued = store.bury(&seen, 3).unwrap();
            assert_eq!(rescued.iter().map(|it| it.state).collect::<Vec<_>>(), [expected]);
        }
        worker(&mut store, "last");
        assert_eq!(claim(&mut store, "last", &[], 1), []);
        let row = db.rows(
            "SELECT state, class, rescues, failures, finished_ms IS NOT NULL FROM unwedge_jobs",
        );
        assert_eq!(row[0][..4], ["quarantined", "crashed", "3", "0"]);
        assert!(["1", "t"].contains(&row[0][4].as_str()), "{row:?}");
    }
}

#[test]
fn of_jobs_that_lost_their_worker_together_again_each_comes_half_a_minute_after_the_other() {
    for db in Db::both(
        "of_jobs_that_lost_their_worker_together_again_each_comes_half_a_minute_after_the_other",
    ) {
        let mut store = db.open();
        store.submit(&["a", "b", "c"].map(job)).unwrap();
        worker(&mut store, "x");
        assert_eq!(claim(&mut store, "x", &[], 2).len(), 2);
        let seen = store.workers().unwrap();
        store.bury(&seen, 3).unwrap();
        worker(&mut store, "y");
        assert_eq!(claim(&mut store, "y", &[], 3).len(), 3, "the first time they come at once");
        let seen = store.workers().unwrap();
        store.bury(&seen, 3).unwrap();
        let now = store.now_ms().unwrap();
        let rows = db.rows("SELECT rescues, not_before_ms FROM unwedge_jobs ORDER BY id");
        let waits = rows.iter().map(|row| (row[0].as_str(), row[1].parse().unwrap()));
        let waits: Vec<(&str, u64)> = waits.collect();
        assert_eq!(waits[1].1 - waits[0].1, 30_000);
        assert!(waits[0].1 > now + 20_000 && waits[0].1 <= now + 30_000, "{now} {waits:?}");
        assert_eq!([waits[0].0, waits[1].0], ["2", "2"]);
        assert_eq!(waits[2], ("1", 0), "what was with them once is nobody's suspect");
    }
}

#[test]
fn what_is_not_open_here_stops_its_own_jobs_and_never_the_head_of_the_line() {
    for db in Db::both("what_is_not_open_here_stops_its_own_jobs_and_never_the_head_of_the_line") {
        let mut store = db.open();
        let needs = |key: &str, needs: &[&str]| NewJob {
            needs: needs.iter().map(|it| (*it).to_owned()).collect(),
            ..job(key)
        };
        store
            .submit(&[
                needs("1", &["/a"]),
                needs("2", &["/a", "/b"]),
                needs("3", &["/b"]),
                needs("4", &[]),
            ])
            .unwrap();
        worker(&mut store, "w");
        let mut keys = |open: &[&str], most| -> Vec<String> {
            let open: Vec<String> = open.iter().map(|it| (*it).to_owned()).collect();
            let some = claim(&mut store, "w", &open, most);
            some.into_iter().map(|job| job.key).collect()
        };
        assert_eq!(keys(&["/b", "/c"], 9), ["3", "4"]);
        assert_eq!(keys(&[], 9), [] as [String; 0]);
        assert_eq!(keys(&["/a"], 9), ["1"]);
        assert_eq!(keys(&["/b", "/a"], 9), ["2"]);
    }
}

/// What the server reads of the index of waiting jobs, in all.
fn entries_read(db: &Db) -> u64 {
    db.rows("SELECT pg_stat_force_next_flush()");
    let read =
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'unwedge_jobs_ready'";
    db.rows(read)[0][0].parse().unwrap()
}

#[test]
fn jobs_whose_storage_is_closed_are_not_even_looked_at() {
    let Some(db) = Db::server("jobs_whose_storage_is_closed_are_not_even_looked_at") else {
        return;
    };
    let mut store = db.open();
    worker(&mut store, "w");
    let of =
        |at: usize, needs: &str| NewJob { needs: vec![needs.to_owned()], ..job(&at.to_string()) };
    let closed: Vec<NewJob> = (0..5_000).map(|at| of(at, "/dead")).collect();
    store.submit(&closed).unwrap();
    let behind: Vec<NewJob> = (5_000..5_010).map(|at| of(at, "/well")).collect();
    store.submit(&behind).unwrap();
    // statistics of a session are told when it ends
    drop(store);
    let before = entries_read(&db);
    let mut store = db.open();
    for at in 5_000..5_010 {
        assert_eq!(claim(&mut store, "w", &["/well".to_owned()], 1)[0].key, at.to_string());
    }
    for _ in 0..10 {
        assert_eq!(claim(&mut store, "w", &["/well".to_owned()], 1), []);
    }
    drop(store);
    let read = (0..50).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let read = entries_read(&db) - before;
        (read > 0).then_some(read)
    });
    assert!(read.is_some_and(|read| read < 500), "{read:?} entries");
}

#[test]
fn a_demand_that_comes_while_others_keep_a_worker_busy_has_its_turn() {
    for db in Db::both("a_demand_that_comes_while_others_keep_a_worker_busy_has_its_turn") {
        let mut store = db.open();
        worker(&mut store, "w");
        let of = |key: &str, priority, needs: &str| NewJob {
            needs: vec![needs.to_owned()],
            priority,
            ..job(key)
        };
        let usual: Vec<NewJob> = (0..400).map(|at| of(&at.to_string(), 0, "/a")).collect();
        store.submit(&usual).unwrap();
        let open = ["/a".to_owned(), "/b".to_owned()];
        assert_eq!(claim(&mut store, "w", &open, 1).len(), 1);
        // of another hand, that this one knows nothing of
        db.open().submit(&[of("urgent", 9, "/b")]).unwrap();
        let turn = (0..300).position(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            claim(&mut store, "w", &open, 1)[0].key == "urgent"
        });
        assert!(turn.is_some());
        // and what is known is asked in the order of all
        let put = [of("low", -1, "/a"), of("first", 5, "/a"), of("next", 4, "/b")];
        db.open().submit(&put).unwrap();
        let keys: Vec<String> =
            claim(&mut store, "w", &open, 2).into_iter().map(|job| job.key).collect();
        assert_eq!(keys, ["first", "next"]);
    }
}

#[test]
fn however_many_demands_there_are_each_job_is_handed_out_once_by_whoever_may() {
    for db in Db::both("however_many_demands_there_are_each_job_is_handed_out_once_by_whoever_may")
    {
        // more than one statement is over, of which half may be begun by one, and the other by the other
        let of = |nth: usize| {
            let needs = vec![format!(
                "/{}/{}",
                if nth.is_multiple_of(2) { "even" } else { "odd" },
                nth / 2
            )];
            NewJob { needs, ..job(&nth.to_string()) }
        };
        let jobs: Vec<NewJob> = (0..600).map(of).collect();
        db.open().submit(&jobs).unwrap();
        let handed = Mutex::new(Vec::<(bool, String)>::new());
        std::thread::scope(|scope| {
            for nth in 0..4 {
                let (db, handed) = (&db, &handed);
                scope.spawn(move || {
                    let is_even = nth & 1 == 0;
                    let mut store = db.open();
                    let name = format!("w{nth}");
                    worker(&mut store, &name);
                    let word = if is_even { "even" } else { "odd" };
                    let open: Vec<String> = (0..300).map(|it| format!("/{word}/{it}")).collect();
                    loop {
                        let some = claim(&mut store, &name, &open, 7);
                        if some.is_empty() {
                            return;
                        }
                        handed.lock().unwrap().extend(some.into_iter().map(|it| (is_even, it.key)));
                    }
                });
            }
        });
        let mut handed = handed.into_inner().unwrap();
        for (is_even, key) in &handed {
            assert_eq!(*is_even, key.parse::<u32>().unwrap().is_multiple_of(2), "{key}");
        }
        let count = handed.len();
        handed.sort();
        handed.dedup();
        assert_eq!((count, handed.len()), (600, 600));
        // and where so many are wanted, by one claim
        let of = |nth: usize| NewJob {
            needs: vec![format!("/even/{nth}")],
            ..job(&format!("again {nth}"))
        };
        let mut store = db.open();
        store.submit(&(0..300).map(of).collect::<Vec<_>>()).unwrap();
        let open: Vec<String> = (0..300).map(|it| format!("/even/{it}")).collect();
        assert_eq!(claim(&mut store, "w0", &open, 300).len(), 300);
    }
}

#[test]
fn whatever_makes_a_job_one_that_can_be_taken_rings() {
    for db in Db::both("whatever_makes_a_job_one_that_can_be_taken_rings") {
        let mut store = db.open();
        worker(&mut store, "w");
        let (rings, rung) = std::sync::mpsc::channel();
        let queue = db.queue.clone();
        std::thread::spawn(move || bell::listen(&queue, &mut |news| rings.send(news).is_ok()));
        let within = |secs| rung.recv_timeout(std::time::Duration::from_secs(secs));
        assert_eq!(within(9), Ok(Rung::Hears));
        let quiet = || while rung.recv_timeout(std::time::Duration::from_millis(300)).is_ok() {};
        quiet();
        let id = store.submit(&[job("a")]).unwrap()[0].id;
        assert_eq!(within(1), Ok(Rung::Jobs), "put in");
        let token = claim(&mut store, "w", &[], 1)[0].token;
        store.end(&[ending(token, State::Quarantined)], "0", "w").unwrap();
        for change in [Change::Release, Change::Cancel, Change::Retry] {
            quiet();
            store.change(&Which::ids(&[id]), &change, "somebody", false).unwrap();
            if change != Change::Cancel {
                assert_eq!(within(1), Ok(Rung::Jobs), "{change:?}");
            }
        }
    }
}

#[test]
fn what_is_put_aside_beside_claimers_is_either_theirs_or_aside() {
    for db in Db::both("what_is_put_aside_beside_claimers_is_either_theirs_or_aside") {
        let jobs: Vec<NewJob> = (0..2_000).map(|nth| job(&nth.to_string())).collect();
        db.open().submit(&jobs).unwrap();
        let done = Mutex::new(BTreeSet::<i64>::new());
        std::thread::scope(|scope| {
            for nth in 0..4 {
                let (db, done) = (&db, &done);
                scope.spawn(move || {
                    let (mut store, id) = (db.open(), format!("w{nth}"));
                    worker(&mut store, &id);
                    loop {
                        let some = claim(&mut store, &id, &[], 5);
                        if some.is_empty() {
                            break;
                        }
                        let ends: Vec<Ending> =
                            some.iter().map(|job| ending(job.token, State::Done)).collect();
                        let kept = store.end(&ends, "0", &id).unwrap();
                        assert_eq!(kept.len(), ends.len(), "what runs is put aside by nobody");
                        let mut done = done.lock().unwrap();
                        assert!(kept.iter().all(|it| done.insert(it.id)), "done twice");
                    }
                });
            }
            // every third one
            let db = &db;
            scope.spawn(move || {
                let mut store = db.open();
                for from in (0..2_000_i64).step_by(100) {
                    let ids: Vec<i64> = (from..from + 100).filter(|id| id % 3 == 0).collect();
                    let why = Change::Quarantine("a test".to_owned());
                    store.change(&Which::ids(&ids), &why, "somebody", false).unwrap();
                }
            });
        });
        let aside = db.rows("SELECT id FROM unwedge_jobs WHERE state = 'quarantined'");
        let done = done.into_inner().unwrap();
        assert_eq!(done.len() + aside.len(), 2_000);
        assert!(aside.iter().all(|row| !done.contains(&row[0].parse().unwrap())));
        let other = "SELECT count(*) FROM unwedge_jobs WHERE state NOT IN ('done', 'quarantined')";
        assert_eq!(db.rows(other), [["0"]]);
    }
}

#[test]
fn the_same_job_twice_is_one_and_the_same_output_twice_is_refused() {
    for db in Db::both("the_same_job_twice_is_one_and_the_same_output_twice_is_refused") {
        let mut store = db.open();
        let to = |key: &str, output: &str| NewJob { output: Some(output.to_owned()), ..job(key) };
        let first =
            store.submit(&[to("a", "/out/a"), to("b", "/out/b"), to("a", "/out/a")]).unwrap();
        assert_eq!((first[0].id, first[1].is_new), (first[2].id, true));
        let again = store.submit(&[to("b", "/out/b"), to("c", "/out/c")]).unwrap();
        assert_eq!((again[0].id, again[0].is_new, again[1].is_new), (first[1].id, false, true));
        for clash in
            [vec![to("d", "/out/d"), to("e", "/out/a")], vec![to("d", "/out/d"), to("e", "/out/d")]]
        {
            assert!(store.submit(&clash).is_err());
        }
        assert_eq!(
            store.counts().unwrap(),
            [("t".to_owned(), State::Pending, 3)],
            "nothing of what was refused is there"
        );
        // what is not letters, and what sounds like SQL
        let odd = r#"/out/ü '"; DROP TABLE unwedge_jobs; -- $1 {now} \x00 ?1"#;
        store.submit(&[to(odd, odd)]).unwrap();
        worker(&mut store, "w");
        let all = claim(&mut store, "w", &[], 9);
        assert_eq!(all.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a", "b", "c", odd]);
        assert_eq!(all[3].output.as_deref(), Some(odd));
    }
}

#[test]
fn a_job_that_waits_is_not_handed_out_and_higher_ones_come_first() {
    for db in Db::both("a_job_that_waits_is_not_handed_out_and_higher_ones_come_first") {
        let mut store = db.open();
        let high = |key: &str, priority| NewJob { priority, ..job(key) };
        store.submit(&[high("low", -1), high("usual", 0), high("high", 5)]).unwrap();
        worker(&mut store, "w");
        let first = claim(&mut store, "w", &[], 1);
        assert_eq!(first[0].key, "high");
        let wait = Ending { wait_ms: 3_600_000, ..ending(first[0].token, State::Retryable) };
        assert_eq!(store.end(&[wait], "0", "w").unwrap(), [first[0].token]);
        assert_eq!(claim(&mut store, "w", &[], 1)[0].key, "usual");
        assert_eq!(claim(&mut store, "w", &[], 9)[0].key, "low");
        assert_eq!(claim(&mut store, "w", &[], 9), []);
        let left =
            db.rows("SELECT not_before_ms - changed_ms FROM unwedge_jobs WHERE key = 'high'");
        assert_eq!(left, [["3600000"]]);
    }
}

#[test]
fn many_that_come_at_once_find_the_tables_made_once() {
    for db in Db::both("many_that_come_at_once_find_the_tables_made_once") {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| db.open().counts().unwrap());
            }
        });
        assert_eq!(db.rows("SELECT value FROM unwedge_meta WHERE name = 'schema'"), [["4"]]);
        // a later one that only added to it is worked with, and one that wants more is not
        db.rows("UPDATE unwedge_meta SET value = '99' WHERE name = 'schema'");
        db.open().counts().unwrap();
        assert_eq!(db.rows("SELECT value FROM unwedge_meta WHERE name = 'schema'"), [["99"]]);
        db.rows("UPDATE unwedge_meta SET value = '99' WHERE name = 'schema_least'");
        let why = Store::open(&db.queue).err().unwrap().0;
        assert!(why.contains("later version (schema 99"), "{why}");
    }
}

/// What is done to a queue at random.
#[derive(Clone, Debug)]
enum Deed {
    Submit(u8),
    Enter,
    Claim {
        worker: usize,
        most: u32,
        open: bool,
    },
    End {
        nth: usize,
        outcome: Outcome,
    },
    Change {
        nth: usize,
        change: Change,
    },
    Stale {
        nth: usize,
    },
    Beat {
        worker: usize,
    },
    Bury {
        worker: usize,
        after_beat: bool,
    },
    Leave {
        worker: usize,
    },
    /// As much time passes as anybody waits.
    Later,
    Pause,
    Resume,
    /// One job of a lane whose breaker is open is let through, if its time has come.
    Probe {
        worker: usize,
    },
    /// All that is over has been that for longer than anything is kept, and is taken out.
    Retention,
}

/// Each history has a failure of its own that comes again and again: so budgets are used up.
fn history() -> impl Strategy<Value = Vec<Deed>> {
    prop::sample::select(&Class::ALL[..])
        .prop_flat_map(|often| prop::collection::vec(deed(often), 1..80))
}

fn deed(often: Class) -> impl Strategy<Value = Deed> {
    let class = prop::sample::select(&Class::ALL[..]);
    let outcome = prop_oneof![
        2 => Just(Outcome::Done), 2 => class.prop_map(Outcome::Not), 6 => Just(Outcome::Not(often)), 1 => Just(Outcome::GivenBack), 1 => Just(Outcome::Early)
    ];
    let change = prop_oneof![
        3 => Just(Change::Retry), 2 => Just(Change::Cancel), 2 => Just(Change::Release), 1 => Just(Change::Quarantine("x".to_owned()))
    ];
    prop_oneof![
        2 => (0..5_u8).prop_map(Deed::Submit),
        3 => Just(Deed::Enter),
        9 => (0..8_usize, 1..4_u32, prop::bool::weighted(0.8)).prop_map(|(worker, most, open)| Deed::Claim { worker, most, open }),
        7 => (0..8_usize, outcome).prop_map(|(nth, outcome)| Deed::End { nth, outcome }),
        2 => (0..5_usize, change).prop_map(|(nth, change)| Deed::Change { nth, change }),
        2 => (0..40_usize).prop_map(|nth| Deed::Stale { nth }),
        1 => (0..4_usize).prop_map(|worker| Deed::Beat { worker }),
        2 => (0..4_usize, any::<bool>()).prop_map(|(worker, after_beat)| Deed::Bury { worker, after_beat }),
        2 => (0..4_usize).prop_map(|worker| Deed::Leave { worker }),
        4 => Just(Deed::Later),
        1 => Just(Deed::Pause),
        2 => Just(Deed::Resume),
        2 => (0..4_usize).prop_map(|worker| Deed::Probe { worker }),
        1 => Just(Deed::Retention),
    ]
}

/// A job as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    state: State,
    tries: i64,
    used: [i64; 3],
    worker: Option<usize>,
    waits: bool,
    needs: bool,
    /// Whether it is to be called off once its worker knows.
    cancel: bool,
    /// What kind of failure its last was.
    class: Option<&'static str>,
}

/// A lane as it has to be.
#[derive(Clone, Copy, Debug, Default)]
struct LaneModel {
    is_paused: bool,
    /// How many ends in a row had their cause in the type.
    streak: u32,
    is_open: bool,
    /// Whether one may be let through.
    is_due: bool,
}

impl LaneModel {
    fn hear(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Not(Class::Configuration) => {
                self.streak += 1;
                if self.streak >= 5 && !self.is_open {
                    (self.is_open, self.is_due) = (true, false);
                }
            }
            Outcome::Not(Class::Infrastructure) | Outcome::Early | Outcome::GivenBack => {}
            Outcome::Done | Outcome::Not(_) => (self.streak, self.is_open) = (0, false),
        }
    }
}

impl Model {
    /// It stands so from now on, and nobody has it.
    fn stands(&mut self, state: State, waits: bool) {
        (self.state, self.worker, self.waits, self.cancel) = (state, None, waits, false);
    }
}

/// A queue as it has to be, beside the real one.
struct World<'a> {
    db: &'a Db,
    store: Store,
    jobs: BTreeMap<i64, Model>,
    keys: BTreeMap<u8, i64>,
    lane: LaneModel,
    /// Whether each worker lives.
    workers: Vec<bool>,
    /// Every token there ever was.
    tokens: Vec<Token>,
}

impl World<'_> {
    fn id(nth: usize) -> String {
        format!("w{nth}")
    }

    #[allow(clippy::too_many_lines, reason = "one arm a deed")]
    fn step(&mut self, deed: &Deed) {
        match deed.clone() {
            Deed::Submit(key) => {
                let needs = key % 3 == 0;
                let put = NewJob {
                    needs: needs.then(|| "/a".to_owned()).into_iter().collect(),
                    ..job(&key.to_string())
                };
                let put = self.store.submit(&[put]).unwrap()[0];
                let known = self.keys.insert(key, put.id);
                assert_eq!((put.is_new, known.unwrap_or(put.id)), (known.is_none(), put.id));
                self.jobs.entry(put.id).or_insert(Model {
                    state: State::Pending,
                    tries: 0,
                    used: [0; 3],
                    worker: None,
                    waits: false,
                    needs,
                    cancel: false,
                    class: None,
                });
            }
            Deed::Enter => {
                let id = Self::id(self.workers.len());
                worker(&mut self.store, &id);
                self.workers.push(true);
            }
            Deed::Claim { worker, most, open } => {
                let is_closed = self.lane.is_paused || self.lane.is_open;
                let may = if is_closed { BTreeSet::new() } else { self.may(worker, open) };
                let keys = if open {
                    vec!["/a".to_owned(), "/b".to_owned()]
                } else {
                    vec!["/b".to_owned()]
                };
                let got = claim(&mut self.store, &Self::id(worker), &keys, most);
                assert_eq!(got.len(), may.len().min(most as usize));
                self.take(worker, &may, got);
            }
            Deed::Pause => {
                let paused = self.store.pause(&["t".to_owned()], "x").unwrap();
                assert_eq!(paused.is_empty(), self.lane.is_paused);
                self.lane.is_paused = true;
            }
            Deed::Resume => {
                let resumed = self.store.resume(&["t".to_owned()], "x").unwrap();
                assert_eq!(!resumed.is_empty(), self.lane.is_paused || self.lane.is_open);
                if !resumed.is_empty() {
                    self.lane = LaneModel::default();
                }
            }
            Deed::Probe { worker } => {
                let keys = ["/a".to_owned()];
                let LaneModel { is_paused, is_open, is_due, .. } = self.lane;
                let may = if is_open && is_due && !is_paused {
                    self.may(worker, true)
                } else {
                    BTreeSet::new()
                };
                let got = self.store.probe(&ask(&Self::id(worker), &keys, 9)).unwrap();
                assert_eq!(got.len(), may.len().min(1));
                self.lane.is_due &= got.is_empty();
                self.take(worker, &may, got);
            }
            Deed::Retention => {
                self.db.rows("UPDATE unwedge_jobs SET finished_ms = 1 WHERE finished_ms IS NOT NULL RETURNING id");
                let removed = self.store.remove_old(&Keep::default(), true, soon()).unwrap();
                let of_the_item = ["failed", "timed-out", "permanent", "crashed"];
                let goes = |job: &Model| match job.state {
                    State::Done | State::Failed | State::Cancelled => true,
                    State::Quarantined => job.class.is_some_and(|it| of_the_item.contains(&it)),
                    State::Pending | State::Retryable | State::Running => false,
                };
                let before = self.jobs.len();
                self.jobs.retain(|_, job| !goes(job));
                self.keys.retain(|_, id| self.jobs.contains_key(id));
                self.tokens.retain(|token| self.jobs.contains_key(&token.id));
                let count: u64 = removed.jobs.values().sum();
                assert_eq!(count, (before - self.jobs.len()) as u64);
            }
            Deed::End { nth, outcome } => {
                let running: Vec<i64> = self
                    .jobs
                    .iter()
                    .filter(|(_, job)| job.state == State::Running)
                    .map(|(id, _)| *id)
                    .collect();
                let Some(id) = running.get(nth % running.len().max(1)) else { return };
                let job = self.jobs.get_mut(id).unwrap();
                let token = Token { id: *id, nth: job.tries };
                let [failures, infra_errors, rescues] =
                    job.used.map(|it| u32::try_from(it).unwrap());
                let used = Used { failures, infra_errors, rescues };
                // as a runner decides it, with three of each at most
                let budgets = Retry { infra_attempts: 3, ..Retry::default() };
                let next = next(used, outcome, &budgets, 0.5);
                let wait_ms = u64::try_from(next.wait.as_millis()).unwrap();
                let class = match outcome {
                    Outcome::Not(class) => Some(class.name()),
                    Outcome::Early => Some(Class::Infrastructure.name()),
                    Outcome::Done | Outcome::GivenBack => None,
                };
                self.lane.hear(outcome);
                job.class = class;
                let class = class.map(str::to_owned);
                let end =
                    Ending { counted: next.counted, wait_ms, class, ..ending(token, next.state) };
                // a try is its worker's
                let end = [end];
                assert_eq!(self.store.end(&end, "0", "another").unwrap(), []);
                let own = Self::id(job.worker.unwrap());
                assert_eq!(self.store.end(&end, "0", &own).unwrap(), [token]);
                let is_off = job.cancel && next.state.waits();
                job.stands(
                    if is_off { State::Cancelled } else { next.state },
                    !is_off && !next.wait.is_zero(),
                );
                match next.counted {
                    Counted::Nothing => {}
                    Counted::Failure => job.used[0] += 1,
                    Counted::Infra => job.used[1] += 1,
                }
            }
            Deed::Change { nth, change } => {
                let Some(id) = self.jobs.keys().nth(nth).copied() else { return };
                let job = self.jobs.get_mut(&id).unwrap();
                let changed =
                    self.store.change(&Which::ids(&[id]), &change, "somebody", false).unwrap();
                let may = match (&change, job.state) {
                    (Change::Retry, state) => {
                        [State::Failed, State::Cancelled, State::Retryable, State::Done]
                            .contains(&state)
                    }
                    (Change::Cancel, state) => state.waits() || state == State::Running,
                    (Change::Release, state) => state == State::Quarantined,
                    (Change::Quarantine(_), state) => state.waits(),
                };
                assert_eq!(changed.jobs.len() + changed.running.len(), usize::from(may));
                match change {
                    _ if !may => {}
                    Change::Retry | Change::Release => {
                        job.stands(State::Pending, false);
                        (job.used, job.class) = ([0; 3], None);
                    }
                    Change::Cancel if job.state == State::Running => job.cancel = true,
                    Change::Cancel => job.stands(State::Cancelled, false),
                    Change::Quarantine(_) => {
                        job.stands(State::Quarantined, false);
                        job.class = Some("set-aside");
                    }
                }
            }
            Deed::Stale { nth } => {
                let is_old = |token: &&Token| {
                    let job = &self.jobs[&token.id];
                    job.state != State::Running || job.tries != token.nth
                };
                let old: Vec<Token> = self.tokens.iter().filter(is_old).copied().collect();
                if let Some(token) = old.get(nth % old.len().max(1)) {
                    assert_eq!(
                        self.store.end(&[ending(*token, State::Done)], "0", "w").unwrap(),
                        []
                    );
                }
            }
            Deed::Beat { worker } => {
                let lives = self.workers.get(worker).copied().unwrap_or(false);
                let heard = self.store.beat(&beat(&Self::id(worker))).unwrap();
                let own = self.jobs.iter().filter(|(_, job)| job.worker == Some(worker));
                let own: BTreeSet<Token> =
                    own.map(|(id, job)| Token { id: *id, nth: job.tries }).collect();
                assert_eq!(
                    heard.map(|heard| heard.held.iter().map(|it| it.token).collect()),
                    lives.then_some(own)
                );
            }
            Deed::Bury { worker, after_beat } => {
                let id = Self::id(worker);
                let seen: Vec<_> =
                    self.store.workers().unwrap().into_iter().filter(|it| it.id == id).collect();
                if after_beat {
                    self.store.beat(&beat(&id)).unwrap();
                }
                self.store.bury(&seen, 3).unwrap();
                if !after_beat && let Some(lives) = self.workers.get_mut(worker) {
                    *lives = false;
                    for job in self.jobs.values_mut().filter(|job| job.worker == Some(worker)) {
                        job.used[2] += 1;
                        let over = job.cancel || job.used[2] >= 3;
                        let state = match (job.cancel, over) {
                            (true, _) => State::Cancelled,
                            (false, true) => State::Quarantined,
                            (false, false) => State::Retryable,
                        };
                        job.stands(state, !over && job.used[2] > 1);
                        job.class = Some(Class::Crashed.name());
                    }
                }
            }
            Deed::Later => {
                self.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 WHERE state IN ('pending', 'retryable')");
                self.jobs.values_mut().for_each(|job| job.waits = false);
                self.db.rows("UPDATE unwedge_lanes SET retry_ms = 1 WHERE opened_ms IS NOT NULL RETURNING type");
                self.lane.is_due = true;
            }
            Deed::Leave { worker } => {
                self.store.leave(&Self::id(worker)).unwrap();
                if let Some(lives) = self.workers.get_mut(worker) {
                    *lives = false;
                }
                for job in self.jobs.values_mut().filter(|job| job.worker == Some(worker)) {
                    let state = match job.used {
                        _ if job.cancel => State::Cancelled,
                        [0, 0, 0] => State::Pending,
                        _ => State::Retryable,
                    };
                    job.stands(state, false);
                }
            }
        }
    }

    /// What may be handed out to a worker, where the lane lets it.
    fn may(&self, worker: usize, open: bool) -> BTreeSet<i64> {
        let lives = self.workers.get(worker).copied().unwrap_or(false);
        let may = |job: &Model| job.state.waits() && !job.waits && (open || !job.needs);
        let some = self.jobs.iter().filter(|(_, job)| lives && may(job));
        some.map(|(id, _)| *id).collect()
    }

    /// What was handed out is a worker's from now on, and was to be had.
    fn take(&mut self, worker: usize, may: &BTreeSet<i64>, got: Vec<Claimed>) {
        for one in got {
            assert!(may.contains(&one.token.id), "{one:?}");
            let job = self.jobs.get_mut(&one.token.id).unwrap();
            (job.state, job.tries, job.worker) = (State::Running, job.tries + 1, Some(worker));
            assert_eq!(one.token.nth, job.tries);
            self.tokens.push(one.token);
        }
    }

    /// Every row is as it has to be: claimable, or a living worker's, or over and says since when.
    fn check(&self) {
        let rows = self.db.rows(
            "SELECT j.id, j.state, tries, failures, infra_errors, rescues, coalesce(j.worker, ''),
                 CASE WHEN finished_ms IS NULL THEN 0 ELSE 1 END, coalesce(w.state, '')
             FROM unwedge_jobs j LEFT JOIN unwedge_workers w ON w.id = j.worker ORDER BY j.id",
        );
        assert_eq!(rows.len(), self.jobs.len(), "no job is ever lost");
        for (row, (id, job)) in rows.iter().zip(&self.jobs) {
            let worker = job.worker.map(Self::id).unwrap_or_default();
            let expected = [
                id.to_string(),
                job.state.name().to_owned(),
                job.tries.to_string(),
                job.used[0].to_string(),
                job.used[1].to_string(),
                job.used[2].to_string(),
                worker,
                u8::from(job.state.is_over()).to_string(),
            ];
            assert_eq!(row[..8], expected);
            assert_ne!(row[8], "dead");
            // whoever has used up a budget is handed out no more
            let goes_on = !job.state.is_over();
            assert!(!goes_on || job.used.iter().all(|used| *used < 3), "{job:?}");
        }
    }
}

#[test]
fn a_queue_is_after_any_history_as_its_model_says() {
    for db in Db::both("a_queue_is_after_any_history_as_its_model_says") {
        let cases = if unwedge::worlds(0) > 1000 { 300 } else { 100 };
        let mut runner =
            TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        runner
            .run(&history(), |history| {
                let mut store = db.open();
                db.rows("DELETE FROM unwedge_attempts");
                db.rows("DELETE FROM unwedge_jobs");
                db.rows("DELETE FROM unwedge_workers");
                db.rows("DELETE FROM unwedge_lanes");
                worker(&mut store, "w0");
                let mut world = World {
                    db: &db,
                    store,
                    jobs: BTreeMap::new(),
                    keys: BTreeMap::new(),
                    lane: LaneModel::default(),
                    workers: vec![true],
                    tokens: vec![],
                };
                for deed in &history {
                    world.step(deed);
                    world.check();
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_facts_of_our_own_queue_are_read_as_those_of_any_other() {
    for db in Db::both("the_facts_of_our_own_queue_are_read_as_those_of_any_other") {
        let mut store = db.open();
        let at = |key: &str| NewJob { output_dir: Some(format!("/srv/{key}")), ..job(key) };
        store.submit(&["a", "b", "c", "d", "e"].map(at)).unwrap();
        let here = witness::own().unwrap();
        worker(&mut store, &here);
        let some = claim(&mut store, &here, &[], 3);
        let cooling = Ending {
            counted: Counted::Infra,
            wait_ms: 600_000,
            class: Some("infrastructure".to_owned()),
            ..ending(some[1].token, State::Retryable)
        };
        store.end(&[ending(some[0].token, State::Done), cooling], "0", &here).unwrap();
        let own = Queue { adapter: Adapter::Unwedge, ..db.queue.clone() };
        let QueueLook::Known(facts) = unwedge::queue::look(&own) else {
            panic!("{:?}", unwedge::queue::look(&own))
        };
        let ids = |jobs: &[unwedge::probes::jobs::Job]| -> Vec<String> {
            jobs.iter().map(|job| job.id.clone()).collect()
        };
        let id = |nth: usize| (some[0].token.id + i64::try_from(nth).unwrap()).to_string();
        assert_eq!(
            (
                facts.queue.as_str(),
                facts.count(jobs::State::Pending),
                facts.count(jobs::State::Running)
            ),
            ("unwedge", 2, 1)
        );
        assert_eq!((ids(&facts.next), ids(&facts.cooling)), (vec![id(3), id(4)], vec![id(1)]));
        assert_eq!(
            (ids(&facts.running), facts.running[0].output.clone()),
            (vec![id(2)], Some("/srv/c".into()))
        );
        assert_eq!(facts.infra_errors.count, Some(1), "{facts:?}");
        // what another host is at runs there, and a type that is taken many at a time is no queue that nobody knows
        worker(&mut store, "elsewhere");
        assert_eq!(claim(&mut store, "elsewhere", &[], 1).len(), 1);
        let more: Vec<NewJob> = (0..1_200).map(|nth| at(&format!("more{nth}"))).collect();
        store.submit(&more).unwrap();
        let had =
            claim(&mut store, &here, &[], 600).len() + claim(&mut store, &here, &[], 550).len();
        let facts = unwedge::queue::look(&own).known().cloned().unwrap();
        // all are counted, and those of here are listed
        assert_eq!(
            (facts.running.len(), facts.count(jobs::State::Running)),
            (had + 1, had as u64 + 2)
        );
        assert!(had > 1_000 && facts.running.iter().all(|job| job.id != id(3)), "{had}");
    }
}

#[test]
fn a_database_that_does_not_hold_every_letter_is_refused() {
    let Some(cluster) = cluster("store::a_database_that_does_not_hold_every_letter_is_refused")
    else {
        return;
    };
    let name = format!("{}_latin1", cluster.database().name);
    let make = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    cluster.admin("postgres").batch_execute(&make).unwrap();
    let queue = Queue::at(&cluster.url("postgres", &name), std::time::Duration::from_secs(10));
    let why = Store::open(&queue).err().unwrap().to_string();
    assert!(
        why.starts_with("the database is of encoding LATIN1") && why.contains("ENCODING 'UTF8'"),
        "{why}"
    );
}

#[test]
fn no_hand_at_the_console_makes_a_row_that_is_nowhere() {
    for db in Db::both("no_hand_at_the_console_makes_a_row_that_is_nowhere") {
        let mut store = db.open();
        store.submit(&[job("a")]).unwrap();
        for set in [
            "state = 'running'",
            "state = 'done'",
            "state = 'lost'",
            "worker = 'x'",
            "finished_ms = 1",
        ] {
            let sql = format!("UPDATE unwedge_jobs SET {set}");
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &db.kept {
                Kept::File(dir) => {
                    let file = rusqlite::Connection::open(dir.path().join("q.db")).unwrap();
                    file.execute_batch(&sql).is_err()
                }
                Kept::Server(server) => server.client().batch_execute(&sql).is_err(),
            }));
            assert!(done.unwrap(), "{set}");
        }
    }
}

#[test]
fn what_a_dead_worker_claims_during_a_burial_is_given_back_by_the_next() {
    for db in Db::both("what_a_dead_worker_claims_during_a_burial_is_given_back_by_the_next") {
        // a file has one who writes at a time
        let Kept::Server(server) = &db.kept else { continue };
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a"), job("b")]).unwrap();
        let first = claim(&mut store, "w", &[], 1)[0].token.id;
        server.sql("UPDATE unwedge_workers SET state = 'dead', ended_ms = 1");
        let mut other = server.client();
        let mut holds = other.transaction().unwrap();
        holds.query("SELECT 1 FROM unwedge_jobs WHERE id = $1 FOR UPDATE", &[&first]).unwrap();
        let ids = |back: Vec<Rescued>| back.iter().map(|it| it.id).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            let buries = scope.spawn(|| ids(store.bury(&[], 3).unwrap()));
            wait_for_a_lock(server);
            server.sql("UPDATE unwedge_jobs SET state = 'running', worker = 'w', tries = 1 WHERE key = 'b'");
            holds.rollback().unwrap();
            assert_eq!(buries.join().unwrap(), [first]);
        });
        assert_eq!(ids(store.bury(&[], 3).unwrap()), [first + 1]);
        assert_eq!(db.rows("SELECT count(*) FROM unwedge_attempts"), [["2"]]);
    }
}

#[test]
fn a_job_whose_worker_is_not_in_the_list_is_given_back() {
    for db in Db::both("a_job_whose_worker_is_not_in_the_list_is_given_back") {
        let mut store = db.open();
        worker(&mut store, "w");
        worker(&mut store, "x");
        store.submit(&[job("a"), job("b")]).unwrap();
        let lost = claim(&mut store, "w", &[], 1)[0].token;
        claim(&mut store, "x", &[], 1);
        db.rows("DELETE FROM unwedge_workers WHERE id = 'w' RETURNING id");
        let back = store.bury(&[], 3).unwrap();
        assert_eq!((back.len(), back[0].id, back[0].state), (1, lost.id, State::Retryable));
        let (_, tries) = store.job(lost.id).unwrap().unwrap();
        assert_eq!((tries[0].worker.as_str(), tries[0].version.as_deref()), ("w", None));
        assert_eq!(store.end(&[ending(lost, State::Done)], "0", "w").unwrap(), []);
        assert_eq!(db.rows("SELECT worker FROM unwedge_jobs WHERE state = 'running'"), [["x"]]);
    }
}

/// One try of the next job, which ends so.
fn try_one(store: &mut Store, class: Option<&str>, state: State) {
    let token = claim(store, "w", &[], 1).first().expect("one waits").token;
    let ending = Ending { class: class.map(str::to_owned), ..ending(token, state) };
    assert_eq!(store.end(&[ending], "0.5.0", "w").unwrap(), [token]);
}

#[test]
fn five_ends_in_a_row_whose_cause_is_the_type_open_its_lane_and_one_that_works_closes_it() {
    for db in Db::both(
        "five_ends_in_a_row_whose_cause_is_the_type_open_its_lane_and_one_that_works_closes_it",
    ) {
        let mut store = db.open();
        worker(&mut store, "w");
        worker(&mut store, "x");
        let jobs: Vec<NewJob> = (0..20).map(|nth| job(&nth.to_string())).collect();
        store.submit(&jobs).unwrap();
        let config = Some("configuration");
        for _ in 0..4 {
            try_one(&mut store, config, State::Pending);
        }
        // neither its storage nor what was given back says that the type is in order
        try_one(&mut store, Some("infrastructure"), State::Retryable);
        try_one(&mut store, None, State::Pending);
        assert_eq!(store.lanes().unwrap()[0].open, None);
        // a job that fails by itself does
        try_one(&mut store, Some("failed"), State::Failed);
        for _ in 0..4 {
            try_one(&mut store, config, State::Pending);
        }
        assert_eq!(claim(&mut store, "w", &[], 1).len(), 1, "four are none too many");
        db.rows("UPDATE unwedge_jobs SET state = 'pending', worker = NULL WHERE state = 'running' RETURNING id");
        try_one(&mut store, config, State::Pending);
        assert!(store.lanes().unwrap()[0].open.is_some());
        assert_eq!(claim(&mut store, "w", &[], 9), []);
        assert_eq!(store.probe(&ask("w", &[], 9)).unwrap(), [], "its time has not come");
        // its time comes: one is let through, for all workers together
        let due = |db: &Db| db.rows("UPDATE unwedge_lanes SET retry_ms = 1 RETURNING type");
        due(&db);
        let one = store.probe(&ask("w", &[], 9)).unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(store.probe(&ask("x", &[], 9)).unwrap(), []);
        let waits = |db: &Db| -> u64 {
            let row = &db.rows("SELECT retry_ms FROM unwedge_lanes")[0][0];
            row.parse::<u64>().unwrap()
        };
        let after = waits(&db) - store.now_ms().unwrap();
        assert!((295_000..=300_000).contains(&after), "{after}");
        let ends = |store: &mut Store, worker: &str, token, class: Option<&str>| {
            let state = if class.is_some() { State::Pending } else { State::Done };
            let ending = Ending { class: class.map(str::to_owned), ..ending(token, state) };
            store.end(&[ending], "0.5.0", worker).unwrap();
        };
        ends(&mut store, "w", one[0].token, config);
        assert!(store.lanes().unwrap()[0].open.is_some(), "it is as it was");
        due(&db);
        let one = store.probe(&ask("x", &[], 1)).unwrap();
        ends(&mut store, "x", one[0].token, None);
        assert_eq!(store.lanes().unwrap()[0].open, None);
        assert!(claim(&mut store, "w", &[], 9).len() > 5);
    }
}

#[test]
fn a_lane_is_closed_after_as_many_as_it_is_told_and_lets_one_through_when_it_is_told() {
    for mut db in Db::both("a_lane_is_closed_after_as_many_as_it_is_told") {
        let waits = [7, 9].map(std::time::Duration::from_secs).to_vec();
        db.queue.terms.breaker = Breaker { after: 2, waits };
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&["1", "2"].map(job)).unwrap();
        let waits = |store: &mut Store| {
            let open = store.lanes().unwrap()[0].open.clone()?;
            Some((open.retry_ms - store.now_ms().unwrap()).div_ceil(1000))
        };
        try_one(&mut store, Some("configuration"), State::Pending);
        assert_eq!(waits(&mut store), None);
        try_one(&mut store, Some("configuration"), State::Pending);
        assert_eq!(waits(&mut store), Some(7));
        for _ in 0..2 {
            db.rows("UPDATE unwedge_lanes SET retry_ms = 1 RETURNING type");
            assert_eq!(store.probe(&ask("w", &[], 1)).unwrap().len(), 1);
            assert_eq!(waits(&mut store), Some(9), "the last counts for all that follow");
        }
    }
}

#[test]
fn what_is_said_of_a_job_that_stands_still_is_of_its_try_alone() {
    for db in Db::both("what_is_said_of_a_job_that_stands_still_is_of_its_try_alone") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&["1", "2"].map(job)).unwrap();
        let tokens: Vec<Token> = claim(&mut store, "w", &[], 2).iter().map(|it| it.token).collect();
        let hung = Stall { how: Still::HungOnIo, why: "it waits".to_owned() };
        let say = |store: &mut Store, stalls: &[(Token, Option<Stall>)]| {
            store.beat(&Beat { stalls, ..beat("w") }).unwrap().unwrap();
        };
        let seen = |store: &mut Store| -> (Option<Stall>, BTreeMap<Still, u64>) {
            let job = store.job(tokens[0].id).unwrap().unwrap().0;
            (job.stall, store.figures().unwrap()["t"].stalled.clone())
        };
        let nothing = (None, BTreeMap::new());
        assert_eq!(seen(&mut store), nothing);
        say(&mut store, &[(tokens[0], Some(hung.clone()))]);
        let one = (Some(hung.clone()), [(Still::HungOnIo, 1)].into());
        assert_eq!(seen(&mut store), one);
        // of a worker that was not heard for as long as makes it stale, nothing counts
        let silent = |ms: i64| {
            db.rows(&format!("UPDATE unwedge_workers SET beat_ms = beat_ms - ({ms}) RETURNING id"));
        };
        for (ms, expected) in [(50_000, &one), (60_000, &nothing)] {
            silent(ms);
            assert_eq!(&seen(&mut store), expected, "{ms}");
            silent(-ms);
        }
        // another beat that says nothing leaves it
        say(&mut store, &[]);
        assert_eq!(seen(&mut store), one);
        say(&mut store, &[(tokens[0], None)]);
        assert_eq!(seen(&mut store), nothing);
        // of a try that is another's, or over, nothing is said
        let other = Token { nth: tokens[0].nth + 1, ..tokens[0] };
        say(&mut store, &[(other, Some(hung.clone()))]);
        assert_eq!(seen(&mut store), nothing);
        say(&mut store, &[(tokens[0], Some(hung))]);
        store.end(&[ending(tokens[0], State::Pending)], "0", "w").unwrap();
        assert_eq!(seen(&mut store), nothing);
        assert_eq!(claim(&mut store, "w", &[], 1)[0].token, other);
        assert_eq!(seen(&mut store), nothing, "the next try begins without it");
    }
}

#[test]
fn the_story_of_a_job_that_was_called_off_says_so_however_its_try_ended() {
    for db in Db::both("the_story_of_a_job_that_was_called_off_says_so_however_its_try_ended") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&["1", "2"].map(job)).unwrap();
        let tokens: Vec<Token> = claim(&mut store, "w", &[], 2).iter().map(|it| it.token).collect();
        let ids: Vec<i64> = tokens.iter().map(|it| it.id).collect();
        store.change(&Which::ids(&ids), &Change::Cancel, "somebody", false).unwrap();
        // one ends by itself, with the other its worker is lost
        store.end(&[ending(tokens[0], State::Pending)], "0", "w").unwrap();
        let seen = store.workers().unwrap();
        store.bury(&seen, 3).unwrap();
        for id in ids {
            let (job, tries) = store.job(id).unwrap().unwrap();
            assert_eq!((job.state, tries[0].end_state.as_str()), (State::Cancelled, "cancelled"));
        }
    }
}

#[test]
fn an_empty_result_is_counted_apart_and_one_of_unknown_size_is_not_empty() {
    for db in Db::both("an_empty_result_is_counted_apart_and_one_of_unknown_size_is_not_empty") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&["1", "2", "3", "4"].map(job)).unwrap();
        for (bytes, state) in [
            (Some(0), State::Done),
            (Some(1), State::Done),
            (None, State::Done),
            (None, State::Failed),
        ] {
            let token = claim(&mut store, "w", &[], 1)[0].token;
            store.end(&[Ending { bytes, ..ending(token, state) }], "0", "w").unwrap();
            assert_eq!(store.job(token.id).unwrap().unwrap().0.bytes, bytes);
        }
        assert_eq!(store.figures().unwrap()["t"].empty, 1);
    }
}

#[test]
fn a_queue_of_the_version_before_is_taken_over_with_all_that_it_holds() {
    for db in Db::both("a_queue_of_the_version_before_is_taken_over_with_all_that_it_holds") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("1")]).unwrap();
        drop(store);
        db.rows("UPDATE unwedge_workers SET lacks = '{\"x\": \"its program\"}'");
        // as the first version left it
        for undone in [
            "ALTER TABLE unwedge_jobs DROP COLUMN offered_by",
            "ALTER TABLE unwedge_jobs DROP COLUMN bytes",
            "ALTER TABLE unwedge_jobs DROP COLUMN stall",
            "ALTER TABLE unwedge_jobs DROP COLUMN placed",
            "ALTER TABLE unwedge_jobs ADD COLUMN placed_ms BIGINT",
            "ALTER TABLE unwedge_workers DROP COLUMN closed",
            "DROP INDEX unwedge_jobs_ready",
            "CREATE INDEX unwedge_jobs_ready ON unwedge_jobs (type, priority DESC, not_before_ms, id) WHERE state IN ('pending', 'retryable')",
            "UPDATE unwedge_meta SET value = '1' WHERE name = 'schema'",
        ] {
            db.rows(undone);
        }
        let mut store = db.open();
        assert_eq!(store.all_workers(true).unwrap().len(), 1);
        let token = claim(&mut store, "w", &[], 1)[0].token;
        store.end(&[Ending { bytes: Some(3), ..ending(token, State::Done) }], "0", "w").unwrap();
        let (job, _) = store.job(token.id).unwrap().unwrap();
        assert_eq!((job.key.as_str(), job.bytes), ("1", Some(3)));
        assert_eq!(db.rows("SELECT value FROM unwedge_meta WHERE name = 'schema'")[0], ["4"]);
    }
}

#[test]
fn what_another_try_would_not_change_is_not_tried_by_a_hundred_passes() {
    for db in Db::both("what_another_try_would_not_change_is_not_tried_by_a_hundred_passes") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("1")]).unwrap();
        let token = claim(&mut store, "w", &[], 1)[0].token;
        let next = next(Used::default(), Outcome::Not(Class::Permanent), &Retry::default(), 0.5);
        let end = Ending {
            counted: next.counted,
            class: Some(Class::Permanent.name().to_owned()),
            ..ending(token, next.state)
        };
        store.end(&[end], "0", "w").unwrap();
        for pass in 0..100 {
            // put in again, as by an intake that looks once more
            assert!(!store.submit(&[job("1")]).unwrap()[0].is_new);
            assert_eq!(claim(&mut store, "w", &[], 9), [], "{pass}");
            assert_eq!(store.probe(&ask("w", &[], 9)).unwrap(), [], "{pass}");
            let seen = store.workers().unwrap();
            store.beat(&beat("w")).unwrap().unwrap();
            assert_eq!(store.bury(&seen, 3).unwrap(), [], "{pass}");
            store.adopt("w").unwrap();
            store
                .remove_old(
                    &Keep::default(),
                    true,
                    Deadline::after(std::time::Duration::from_secs(9)),
                )
                .unwrap();
        }
        let (it, tries) = store.job(token.id).unwrap().unwrap();
        assert_eq!((it.state, it.tries, it.failures, tries.len()), (State::Quarantined, 1, 1, 1));
    }
}

#[test]
fn zones_and_a_clock_that_is_set_by_an_hour_touch_nothing_of_another_owner() {
    for db in Db::both("zones_and_a_clock_that_is_set_by_an_hour_touch_nothing_of_another_owner") {
        let hour = 3_600_000_i64;
        let mut last = None;
        for zone in ["Pacific/Niue", "UTC", "Pacific/Kiritimati"] {
            if let Kept::Server(server) = &db.kept {
                server.sql(&format!("ALTER DATABASE {} SET timezone = '{zone}'", server.name));
            }
            let mut store = db.open();
            // for the second owner, as far as this queue's clock goes, the first one beat long ago, or will beat
            let mut seen = Vec::new();
            for step in [0, -hour, hour] {
                let (one, two) = (format!("one {zone} {step}"), format!("two {zone} {step}"));
                worker(&mut store, &one);
                worker(&mut store, &two);
                store.submit(&[job(&one), job(&two)]).unwrap();
                let held = claim(&mut store, &one, &[], 2);
                assert_eq!(held.len(), 2, "{zone} {step}");
                let mut leases = Leases::default();
                let lease = std::time::Duration::from_secs(120);
                let patience = Patience { lease, proof: std::time::Duration::from_secs(60) };
                // the lease of the first is looked after for four of them by the clock of whoever looks, while the queue's is set
                let mut buried = 0;
                for nth in 0..40_u32 {
                    if nth == 10 {
                        let set = format!(
                            "UPDATE unwedge_workers SET beat_ms = beat_ms - ({step}) WHERE state <> 'dead' RETURNING id"
                        );
                        db.rows(&set);
                    } else {
                        store.beat(&beat(&one)).unwrap().unwrap();
                    }
                    store.beat(&beat(&two)).unwrap().unwrap();
                    let all = store.workers().unwrap();
                    let gone =
                        leases.look(&all, std::time::Duration::from_secs(12) * nth, patience);
                    buried += store.bury(&gone, 3).unwrap().len();
                }
                // what the second sweeps, stops and takes leave of is its own
                store.ask_to_stop(std::slice::from_ref(&two)).unwrap();
                assert_eq!(store.leave(&two).unwrap(), 0);
                store.forget_dead(None).unwrap();
                let heard = store.beat(&beat(&one)).unwrap().unwrap();
                let ends: Vec<Ending> =
                    held.iter().map(|it| ending(it.token, State::Done)).collect();
                let accepted = store.end(&ends, "0", &one).unwrap().len();
                seen.push((buried, heard.held.len(), heard.is_asked_to_stop, accepted));
                store.leave(&one).unwrap();
                store.forget_dead(None).unwrap();
            }
            assert_eq!(seen, [(0, 2, false, 2); 3], "{zone}");
            assert!(last.is_none_or(|last| last == seen), "{zone}");
            last = Some(seen);
        }
    }
}

#[test]
fn a_job_is_left_for_a_while_to_workers_that_have_its_paths_if_there_are_any() {
    for db in Db::both("a_job_is_left_for_a_while_to_workers_that_have_its_paths_if_there_are_any")
    {
        let mut store = db.open();
        let at =
            |key: &str| NewJob { prefers: vec!["host:a".to_owned(), "/a".to_owned()], ..job(key) };
        store.submit(&["1", "2", "3", "4"].map(at)).unwrap();
        let near = ["/a".to_owned(), "/b".to_owned(), "host:a".to_owned()];
        let comes = |store: &mut Store, id: &str, open: &[String]| {
            let it = NewWorker { open: open.to_vec(), ..new_worker(id, "d") };
            assert_eq!(store.register(&it).unwrap(), Registered::Entered);
            store.adopt(id).unwrap();
        };
        comes(&mut store, "far", &near[..2]);
        let far = Ask { leave_ms: 60_000, ..ask("far", &near[..2], 1) };
        let taken = |store: &mut Store, ask: &Ask<'_>| -> Vec<String> {
            store.claim(ask).unwrap().into_iter().map(|it| it.key).collect()
        };
        assert_eq!(taken(&mut store, &far), ["1"], "nobody has them");
        // whoever has them and could not do it keeps nobody waiting
        let other =
            NewWorker { open: near.to_vec(), types: BTreeMap::new(), ..new_worker("u", "d") };
        store.register(&other).unwrap();
        assert_eq!(taken(&mut store, &far), ["2"]);
        comes(&mut store, "near", &near);
        assert_eq!(taken(&mut store, &far), [""; 0]);
        let at_home = Ask { worker: "near", open: &near, ..far.clone() };
        assert_eq!(taken(&mut store, &at_home), ["3"]);
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms - 59000 WHERE state = 'pending' RETURNING id");
        assert_eq!(taken(&mut store, &far), [""; 0]);
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms - 1000 WHERE state = 'pending' RETURNING id");
        assert_eq!(taken(&mut store, &far), ["4"]);
    }
}

/// How many rows of the jobs were read otherwise than by an index, by `deed` and whoever went before; `store` ends with it.
fn read_one_by_one(
    db: &Db,
    server: &Database,
    mut store: Store,
    deed: impl FnOnce(&mut Store),
) -> u64 {
    let many: Vec<NewJob> = (0..20_000).map(|nth| job(&nth.to_string())).collect();
    db.open().submit(&many).unwrap();
    let read = || -> u64 {
        let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'unwedge_jobs'";
        server.value(read).parse().unwrap()
    };
    let before = read();
    deed(&mut store);
    // what it read is told when it goes; whoever listens stays
    drop(store);
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND query NOT IN ('LISTEN unwedge_jobs', 'SELECT 1')";
    while server.value(gone) != "0" {
        std::thread::yield_now();
    }
    read() - before
}

#[test]
fn a_claim_is_found_by_its_index_though_its_plan_was_made_when_nothing_was_there() {
    let name = "a_claim_is_found_by_its_index_though_its_plan_was_made_when_nothing_was_there";
    for db in Db::both(name) {
        let Kept::Server(server) = &db.kept else { continue };
        // plans are kept where it was heard that no pooler is between
        let (send, heard) = std::sync::mpsc::channel();
        let queue = db.queue.clone();
        std::thread::spawn(move || bell::listen(&queue, &mut |rung| send.send(rung).is_ok()));
        assert_eq!(heard.recv().unwrap(), Rung::Hears);
        let mut store = db.open();
        worker(&mut store, "w");
        // known to be empty, which costs nothing to read as a whole
        server.sql("VACUUM unwedge_jobs");
        for _ in 0..10 {
            assert_eq!(claim(&mut store, "w", &[], 1), []);
        }
        let read = read_one_by_one(&db, server, store, |store| {
            for _ in 0..50 {
                let token = claim(store, "w", &[], 1)[0].token;
                assert_eq!(store.end(&[ending(token, State::Done)], "0", "w").unwrap(), [token]);
            }
        });
        assert!(read < 20_000, "{read}");
    }
}

/// Returns once somebody waits for a row of another's.
fn wait_for_a_lock(server: &Database) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let start = Instant::now();
    while server.value(waits) == "0" {
        assert!(start.elapsed().as_secs() < 60, "nobody waits for a lock");
        std::thread::yield_now();
    }
}

#[test]
fn a_paused_lane_hands_out_nothing_until_it_is_resumed() {
    for db in Db::both("a_paused_lane_hands_out_nothing_until_it_is_resumed") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a"), NewJob { kind: "u".to_owned(), ..job("b") }]).unwrap();
        let (t, none) = (vec!["t".to_owned()], Vec::<String>::new());
        assert_eq!(store.pause(&t, "the tool is being changed").unwrap(), t);
        assert_eq!(store.pause(&t, "again").unwrap(), none);

        assert_eq!(claim(&mut store, "w", &[], 9), []);
        assert_eq!(store.probe(&ask("w", &[], 9)).unwrap(), []);
        let other = Ask { kind: "u", ..ask("w", &[], 9) };
        assert_eq!(store.claim(&other).unwrap().len(), 1, "the lane beside it goes on");
        let lanes = store.lanes().unwrap();
        assert_eq!(lanes[0].paused.as_ref().unwrap().1, "the tool is being changed");
        assert_eq!(store.resume(&t, "me").unwrap(), t);
        assert_eq!(store.resume(&t, "me").unwrap(), none);
        assert_eq!(claim(&mut store, "w", &[], 9).len(), 1);
    }
}

#[test]
fn a_worker_hears_which_of_what_it_has_is_of_a_closed_lane() {
    for db in Db::both("a_worker_hears_which_of_what_it_has_is_of_a_closed_lane") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a"), NewJob { kind: "u".to_owned(), ..job("b") }]).unwrap();
        claim(&mut store, "w", &[], 1);
        assert_eq!(store.claim(&Ask { kind: "u", ..ask("w", &[], 1) }).unwrap().len(), 1);
        let closed = |store: &mut Store| -> Vec<bool> {
            let mut held = store.beat(&beat("w")).unwrap().unwrap().held;
            held.sort_by_key(|it| it.token);
            held.iter().map(|it| it.is_closed).collect()
        };
        assert_eq!(closed(&mut store), [false, false]);
        store.pause(&["u".to_owned()], "the tool is being changed").unwrap();
        assert_eq!(closed(&mut store), [false, true]);
        store.resume(&["u".to_owned()], "me").unwrap();
        db.rows("UPDATE unwedge_lanes SET opened_ms = 1 WHERE type = 't' RETURNING type");
        assert_eq!(closed(&mut store), [true, false], "its breaker");
    }
}

#[test]
fn workers_that_know_a_type_otherwise_share_no_lane_and_the_last_of_the_old_takes_it_along() {
    for db in Db::both(
        "workers_that_know_a_type_otherwise_share_no_lane_and_the_last_of_the_old_takes_it_along",
    ) {
        let mut store = db.open();
        store.submit(&(0..9).map(|nth| job(&nth.to_string())).collect::<Vec<_>>()).unwrap();
        for (id, digest) in [("old", "1"), ("new", "2")] {
            store.register(&new_worker(id, digest)).unwrap();
        }
        let take = |store: &mut Store, worker, digest| {
            store.claim(&Ask { digest, ..ask(worker, &[], 1) }).unwrap().len()
        };
        let none = Vec::<String>::new();
        assert_eq!(store.adopt("old").unwrap(), none);
        assert_eq!(store.adopt("new").unwrap(), ["t"], "its lane stays that of the other");
        assert_eq!(take(&mut store, "old", "1"), 1);
        assert_eq!(take(&mut store, "new", "2"), 0);
        let lane = store.lanes().unwrap().remove(0);
        assert_eq!((lane.digest.as_deref(), lane.others), (Some("1"), vec!["host of new".into()]));
        assert_eq!(lane.first_tier.as_deref(), Some("first"));
        // the other one reads the new type, and both go on
        let types = new_worker("old", "2").types;
        assert!(store.retype("old", "container", &types, &BTreeMap::new()).unwrap());
        let all = store.all_workers(false).unwrap();
        let mode = |id: &str| all.iter().find(|it| it.id == id).map(|it| it.mode.as_str());
        assert_eq!((mode("old"), mode("new")), (Some("container"), Some("direct")));
        assert_eq!(take(&mut store, "old", "2"), 0, "not before the lane has gone over");
        assert_eq!(store.adopt("new").unwrap(), none);
        for worker in ["old", "new"] {
            assert_eq!(take(&mut store, worker, "2"), 1);
        }
        // one that is gone is nobody that could differ
        store.leave("old").unwrap();
        store.leave("new").unwrap();
        store.register(&new_worker("later", "3")).unwrap();
        assert_eq!(store.adopt("later").unwrap(), none);
        assert_eq!(take(&mut store, "later", "3"), 1);
        assert!(
            !store.retype("old", "direct", &types, &BTreeMap::new()).unwrap(),
            "it is known no more"
        );
    }
}

#[test]
fn a_lane_without_a_result_of_its_first_tier_is_degraded_though_every_job_is_done() {
    for db in
        Db::both("a_lane_without_a_result_of_its_first_tier_is_degraded_though_every_job_is_done")
    {
        let mut store = db.open();
        worker(&mut store, "w");
        store.adopt("w").unwrap();
        store.submit(&(0..20).map(|nth| job(&nth.to_string())).collect::<Vec<_>>()).unwrap();
        let done = |store: &mut Store, tier: &str| {
            let token = claim(store, "w", &[], 1)[0].token;
            let ending = Ending { tier: Some(tier.to_owned()), ..ending(token, State::Done) };
            store.end(&[ending], "0", "w").unwrap();
            store.lanes().unwrap()[0].is_degraded()
        };
        assert!(!done(&mut store, "first"));
        for nth in 1..=10 {
            // results of one millisecond are of no order
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert_eq!(done(&mut store, "second"), nth == 10, "{nth}");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(!done(&mut store, "first"));
    }
}

#[test]
fn a_queue_that_wants_later_workers_says_so_and_a_worker_comes_twice_without_harm() {
    for db in
        Db::both("a_queue_that_wants_later_workers_says_so_and_a_worker_comes_twice_without_harm")
    {
        let mut store = db.open();
        for (least, version, expected) in [
            ("0.5.0", "0.5.0", true),
            ("0.5.0", "0.10.0", true),
            ("0.5.1", "0.5.0", false),
            ("0.10.0", "0.9.9", false),
            ("1.0.0", "0.99.0-rc.1", false),
        ] {
            store.want_version(least).unwrap();
            let id = format!("{least} {version}");
            let worker = NewWorker { version: version.to_owned(), ..new_worker(&id, "d") };
            let came = store.register(&worker).unwrap();
            let too_old = Registered::TooOld { least: least.to_owned() };
            assert_eq!(came, if expected { Registered::Entered } else { too_old });
            let known = db.rows(&format!("SELECT id FROM unwedge_workers WHERE id = '{id}'"));
            assert_eq!(known.len(), usize::from(expected));
        }
        store.want_version("0.0.0").unwrap();
        for _ in 0..2 {
            assert_eq!(store.register(&new_worker("w", "d")).unwrap(), Registered::Entered);
        }
        store.beat(&beat("w")).unwrap().unwrap();
        let row = db.rows("SELECT beats, load_milli, coalesce(memory_mib, -1), cpus FROM unwedge_workers WHERE id = 'w'");
        assert_eq!(row, [["1", "1500", "-1", "2"]]);
    }
}

#[test]
fn jobs_are_left_to_better_workers_for_a_while() {
    for db in Db::both("jobs_are_left_to_better_workers_for_a_while") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a")]).unwrap();
        let aged = |aged_ms| Ask { aged_ms, ..ask("w", &[], 1) };
        assert_eq!(store.claim(&aged(120_000)).unwrap(), []);
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms - 119000 RETURNING id");
        assert_eq!(store.claim(&aged(120_000)).unwrap(), []);
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms - 1000 RETURNING id");
        assert_eq!(store.claim(&aged(120_000)).unwrap().len(), 1);
    }
}

#[test]
fn a_job_is_left_to_nobody_where_nobody_has_the_first_tool() {
    for db in Db::both("a_job_is_left_to_nobody_where_nobody_has_the_first_tool") {
        let mut store = db.open();
        store.submit(&["1", "2", "3", "4"].map(job)).unwrap();
        let comes = |store: &mut Store, id: &str, digest: &str, uses: &str| {
            let mut it = new_worker(id, digest);
            it.types.values_mut().for_each(|mark| uses.clone_into(&mut mark.uses));
            assert_eq!(store.register(&it).unwrap(), Registered::Entered);
            store.adopt(id).unwrap();
        };
        let taken = |store: &mut Store| -> Vec<String> {
            let ask = Ask { aged_ms: 120_000, ..ask("w", &[], 1) };
            store.claim(&ask).unwrap().into_iter().map(|it| it.key).collect()
        };
        comes(&mut store, "w", "d", "second");
        assert_eq!(taken(&mut store), ["1"]);
        // whoever knows the type otherwise takes none of it
        comes(&mut store, "x", "e", "first");
        assert_eq!(taken(&mut store), ["2"]);
        comes(&mut store, "v", "d", "first");
        assert_eq!(taken(&mut store), [""; 0]);
        store.leave("v").unwrap();
        assert_eq!(taken(&mut store), ["3"]);
        // a time that it waits for it waits for all the same
        db.rows("UPDATE unwedge_jobs SET not_before_ms = changed_ms + 60000 WHERE key = '4' RETURNING id");
        assert_eq!(taken(&mut store), [""; 0]);
    }
}

/// When what is quick is over.
fn soon() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(20))
}

fn ids(jobs: &[unwedge::queue::store::listing::Job]) -> Vec<i64> {
    jobs.iter().map(|job| job.id).collect()
}

#[test]
fn jobs_are_found_by_what_is_said_of_them_and_by_nothing_else() {
    for db in Db::both("jobs_are_found_by_what_is_said_of_them_and_by_nothing_else") {
        let mut store = db.open();
        worker(&mut store, "w");
        let put = |key: &str, input: &str, stamp: Option<&str>| NewJob {
            input: input.to_owned(),
            stamp: stamp.map(str::to_owned),
            ..job(key)
        };
        store
            .submit(&[
                put("a", "/srv/in/a", None),
                put("b", "/srv/in_b", Some("2026-01-24T03:12:07Z")),
                put("c", "/srv/in/sub/c", Some("2026-01-24T03:12:07.250Z")),
                put("d", "/srv/in", Some("yesterday")),
                NewJob { kind: "u".to_owned(), ..put("e", "/srv/e", Some("")) },
            ])
            .unwrap();
        let failed = claim(&mut store, "w", &[], 1)[0].token;
        let ending =
            Ending { class: Some("permanent".to_owned()), ..ending(failed, State::Quarantined) };
        store.end(&[ending], "0", "w").unwrap();
        let all = Which::default;
        let text = |text: &str| Some(text.to_owned());
        for (which, expected) in [
            (all(), vec![5, 4, 3, 2, 1]),
            (Which::ids(&[]), vec![]),
            (Which::ids(&[2, 7]), vec![2]),
            (Which { kind: text("u"), ..all() }, vec![5]),
            (Which { class: text("permanent"), ..all() }, vec![1]),
            (Which { states: vec![State::Quarantined, State::Done], ..all() }, vec![1]),
            (Which { input: text("/srv/in"), ..all() }, vec![4, 3, 1]),
            (Which { stamp: Some(StampIs::Missing), ..all() }, vec![5, 1]),
            (Which { stamp: Some(StampIs::Malformed), ..all() }, vec![4]),
            (Which { older: Some(std::time::Duration::from_secs(60)), ..all() }, vec![]),
            (
                Which { older: Some(std::time::Duration::ZERO), kind: text("t"), ..all() },
                vec![4, 3, 2, 1],
            ),
        ] {
            assert_eq!(ids(&store.list(&which, Order::Newest, 9).unwrap()), expected, "{which:?}");
        }
        assert_eq!(ids(&store.list(&all(), Order::Newest, 2).unwrap()), [5, 4]);
        let (one, tries) = store.job(1).unwrap().unwrap();
        assert_eq!(
            (one.state, one.tries, tries.len(), tries[0].end_state.as_str()),
            (State::Quarantined, 1, 1, "quarantined")
        );
        assert!(store.job(99).unwrap().is_none());
    }
}

#[test]
fn a_change_touches_what_is_meant_and_can_be_changed_so_and_a_dry_run_says_the_same_and_touches_nothing()
 {
    for db in Db::both("a_change_touches_what_is_meant") {
        let mut store = db.open();
        worker(&mut store, "w");
        let all: Vec<NewJob> =
            ["run", "wait", "fail", "aside", "done"].iter().map(|it| job(it)).collect();
        store.submit(&all).unwrap();
        let claimed = claim(&mut store, "w", &[], 5);
        let end = |nth: usize, state| ending(claimed[nth].token, state);
        store
            .end(
                &[
                    end(1, State::Pending),
                    end(2, State::Failed),
                    end(3, State::Quarantined),
                    end(4, State::Done),
                ],
                "0",
                "w",
            )
            .unwrap();
        let rows = |db: &Db| {
            db.rows(
                "SELECT id, state, failures, finished_ms, cancel_ms FROM unwedge_jobs ORDER BY id",
            )
        };
        let before = rows(&db);
        let aside = || Change::Quarantine("why".to_owned());
        for (change, expected, running) in [
            (Change::Retry, vec![3, 5], vec![]),
            (Change::Cancel, vec![2], vec![1]),
            (Change::Release, vec![4], vec![]),
            (aside(), vec![2], vec![]),
        ] {
            let would = store.change(&Which::default(), &change, "me", true).unwrap();
            assert_eq!((would.jobs, would.running), (expected, running), "{change:?}");
        }
        assert_eq!(rows(&db), before);
        assert_eq!(db.rows("SELECT id FROM unwedge_events"), [] as [Vec<String>; 0]);

        assert_eq!(
            store.change(&Which::ids(&[4]), &Change::Release, "me", false).unwrap().jobs,
            [4]
        );
        let changed = store.change(&Which::ids(&[1, 2, 3]), &Change::Cancel, "me", false).unwrap();
        assert_eq!((changed.jobs, changed.running), (vec![2], vec![1]));
        assert!(store.beat(&beat("w")).unwrap().unwrap().held[0].is_cancelled, "it hears of it");
        assert_eq!(
            store.end(&[ending(claimed[0].token, State::Pending)], "0", "w").unwrap().len(),
            1
        );
        let states: Vec<String> = rows(&db).iter().map(|row| row[1].clone()).collect();
        assert_eq!(states, ["cancelled", "cancelled", "failed", "pending", "done"]);
        let events = store.events_of(4).unwrap();
        assert_eq!(
            (events.len(), events[0].kind.as_str(), events[0].detail.as_deref()),
            (1, "released", Some("me"))
        );
        // to say it again changes nothing
        assert_eq!(
            store.change(&Which::ids(&[2]), &Change::Cancel, "me", false).unwrap(),
            Changed::default()
        );
    }
}

#[test]
fn two_jobs_of_one_output_are_both_kept_and_never_wait_at_once() {
    for db in Db::both("two_jobs_of_one_output_are_both_kept_and_never_wait_at_once") {
        let mut store = db.open();
        worker(&mut store, "w");
        let to = |key: &str| NewJob { output: Some("/o".to_owned()), ..job(key) };
        for key in ["a", "b", "c"] {
            store.submit(&[to(key)]).unwrap();
            let token = claim(&mut store, "w", &[], 1)[0].token;
            store.end(&[ending(token, State::Quarantined)], "0", "w").unwrap();
        }
        let all = Which::default();
        for dry_run in [true, false] {
            let changed = store.change(&all, &Change::Release, "me", dry_run).unwrap();
            assert_eq!((changed.jobs, changed.taken), (vec![1], vec![2, 3]), "{dry_run}");
        }
        let changed = store.change(&all, &Change::Release, "me", false).unwrap();
        assert_eq!((changed.jobs, changed.taken), (vec![], vec![2, 3]));
        let token = claim(&mut store, "w", &[], 9)[0].token;
        store.end(&[ending(token, State::Done)], "0", "w").unwrap();
        assert_eq!(
            store.change(&Which::ids(&[3]), &Change::Release, "me", false).unwrap().jobs,
            [3]
        );
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs ORDER BY id").len(), 3);
    }
}

#[test]
fn a_change_of_many_goes_on_where_it_was_cut_off() {
    for db in Db::both("a_change_of_many_goes_on_where_it_was_cut_off") {
        let mut store = db.open();
        let all: Vec<NewJob> = (0..2_500).map(|nth| job(&nth.to_string())).collect();
        store.submit(&all).unwrap();
        let aside = Change::Quarantine("old".to_owned());
        let which = Which { kind: Some("t".to_owned()), ..Which::default() };
        let part = store.change_some(&which, &aside, "me", false, Progress::default()).unwrap();
        assert!(!part.is_over);
        assert_eq!(part.changed.jobs.len(), 1_000);
        assert_eq!(store.change(&which, &aside, "me", false).unwrap().jobs.len(), 1_500);
        assert_eq!(db.rows("SELECT count(*) FROM unwedge_events"), [["2500"]]);
        assert_eq!(
            store.change(&Which::default(), &Change::Release, "me", false).unwrap().jobs.len(),
            2_500
        );
    }
}

#[test]
fn what_was_kept_for_long_enough_goes_and_what_lies_in_the_host_stays() {
    for db in Db::both("what_was_kept_for_long_enough_goes_and_what_lies_in_the_host_stays") {
        let mut store = db.open();
        worker(&mut store, "w");
        let classes = [
            "failed",
            "timed-out",
            "permanent",
            "crashed",
            "conflict",
            "infrastructure",
            "configuration",
        ];
        let states = [State::Done, State::Failed, State::Cancelled];
        let all: Vec<NewJob> =
            (0..=classes.len() + states.len() + 1).map(|nth| job(&nth.to_string())).collect();
        store.submit(&all).unwrap();
        let claimed = claim(&mut store, "w", &[], 99);
        let mut ends: Vec<Ending> =
            states.iter().zip(&claimed).map(|(state, it)| ending(it.token, *state)).collect();
        ends[1].class = Some("failed".to_owned());
        // as what gives up for its surroundings ends
        let extra = &claimed[states.len() + classes.len()];
        ends.push(Ending {
            class: Some("infrastructure".to_owned()),
            ..ending(extra.token, State::Failed)
        });
        ends.extend(classes.iter().zip(&claimed[states.len()..]).map(|(class, it)| Ending {
            class: Some((*class).to_owned()),
            ..ending(it.token, State::Quarantined)
        }));
        store.end(&ends, "0", "w").unwrap();
        let hour = std::time::Duration::from_secs(3600);
        let keep = Keep {
            done: 4 * hour,
            failed: 3 * hour,
            cancelled: 2 * hour,
            quarantined: 5 * hour,
            events: hour,
            ..Keep::default()
        };
        let age = |db: &Db, ms: u64| {
            db.rows(&format!("UPDATE unwedge_jobs SET finished_ms = finished_ms - {ms} WHERE finished_ms IS NOT NULL RETURNING id"));
        };
        let gone = |store: &mut Store, with| -> Vec<(State, u64)> {
            store.remove_old(&keep, with, soon()).unwrap().jobs.into_iter().collect()
        };
        assert_eq!(gone(&mut store, true), []);
        age(&db, 2 * 3_600_000 - 60_000);
        assert_eq!(gone(&mut store, true), [], "a minute too young");
        age(&db, 60_000);
        assert_eq!(gone(&mut store, true), [(State::Cancelled, 1)]);
        age(&db, 3_600_000);
        let removed = store.remove_old(&keep, true, soon()).unwrap();
        assert_eq!((removed.jobs[&State::Failed], removed.undone.len()), (2, 2), "each is told of");
        age(&db, 2 * 3_600_000);
        assert_eq!(gone(&mut store, false), [(State::Done, 1)]);
        let removed = store.remove_old(&keep, true, soon()).unwrap();
        assert_eq!(removed.jobs[&State::Quarantined], 4);
        assert_eq!(removed.undone.len(), 4, "each is told of");
        let left =
            db.rows("SELECT class FROM unwedge_jobs WHERE state = 'quarantined' ORDER BY class");
        assert_eq!(left, [["configuration"], ["conflict"], ["infrastructure"]]);
        assert_eq!(db.rows("SELECT state FROM unwedge_jobs WHERE state = 'running'").len(), 1);
        assert_eq!(
            db.rows("SELECT job FROM unwedge_attempts").len(),
            3,
            "their tries go with them"
        );
        let for_ever = Keep { quarantined: std::time::Duration::ZERO, ..keep };
        db.rows(
            "UPDATE unwedge_jobs SET class = 'failed' WHERE state = 'quarantined' RETURNING id",
        );
        assert_eq!(
            store.remove_old(&for_ever, true, soon()).unwrap().jobs.len(),
            0,
            "0 is for ever"
        );
    }
}

#[test]
fn a_file_shrinks_when_its_rows_have_gone() {
    let db = Db::file();
    let Place::Url(url) = &db.queue.database else { panic!() };
    let path = url.0.strip_prefix("sqlite://").unwrap().to_owned();
    let mut store = db.open();
    worker(&mut store, "w");
    let long = "x".repeat(2_000);
    for part in 0..5 {
        let all: Vec<NewJob> = (0..1_000).map(|nth| job(&format!("{part} {nth} {long}"))).collect();
        store.submit(&all).unwrap();
    }
    store.change(&Which::default(), &Change::Cancel, "me", false).unwrap();
    db.rows("UPDATE unwedge_jobs SET finished_ms = 1 RETURNING id");
    let keep = Keep { events: std::time::Duration::from_millis(1), ..Keep::default() };
    let size = || std::fs::metadata(&path).unwrap().len();
    let before = size();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let removed = store.remove_old(&keep, true, soon()).unwrap();
    assert_eq!((removed.jobs[&State::Cancelled], removed.events), (5_000, 5_000));
    assert!(size() * 10 < before, "{} of {before}", size());
}

#[test]
fn figures_are_of_each_lane_and_of_its_last_results() {
    for db in Db::both("figures_are_of_each_lane_and_of_its_last_results") {
        let mut store = db.open();
        worker(&mut store, "w");
        let all: Vec<NewJob> = (0..25).map(|nth| job(&nth.to_string())).collect();
        store.submit(&all).unwrap();
        let claimed = claim(&mut store, "w", &[], 22);
        let ends: Vec<Ending> = claimed[..20]
            .iter()
            .enumerate()
            .map(|(nth, it)| Ending {
                tier: Some(if nth < 15 { "first" } else { "second" }.to_owned()),
                // whatever it waited for its turn after it was claimed
                took_ms: Some(it.token.id.unsigned_abs() * 10),
                ..ending(it.token, State::Done)
            })
            .chain([Ending {
                class: Some("permanent".to_owned()),
                ..ending(claimed[20].token, State::Quarantined)
            }])
            .collect();
        let before = store.now_ms().unwrap();
        store.end(&ends, "0", "w").unwrap();
        let done = before..=store.now_ms().unwrap();
        db.rows("UPDATE unwedge_jobs SET finished_ms = finished_ms - 61000, started_ms = started_ms - 61000 WHERE state = 'done' AND id <= 12 RETURNING id");
        db.rows(
            "UPDATE unwedge_jobs SET created_ms = created_ms - 5000 WHERE id = 24 RETURNING id",
        );
        let figures = store.figures().unwrap().remove("t").unwrap();
        assert_eq!(
            (figures.waiting(), figures.count(State::Running), figures.count(State::Done)),
            (3, 1, 20)
        );
        assert_eq!(
            (figures.mean_ms, figures.p95_ms, figures.done_last_minute),
            (Some(105), Some(190), 8)
        );
        assert_eq!(figures.tiers, [("first".to_owned(), 15), ("second".to_owned(), 5)].into());
        assert_eq!(figures.classes, [("permanent".to_owned(), 1)].into());
        assert_eq!(figures.to_finish_ms(), Some(30_000), "four at eight a minute");
        // the last of those of now, and not of those that were done a minute before
        let last = figures.last_done_ms.unwrap();
        assert!(done.contains(&last), "{last}: {done:?}");
        for (ago, new) in [(3_590_000, 1), (3_610_000, 0)] {
            db.rows(&format!("UPDATE unwedge_jobs SET finished_ms = {last} - {ago} WHERE state = 'quarantined' RETURNING id"));
            let figures = store.figures().unwrap().remove("t").unwrap();
            assert_eq!(figures.put_aside_last_hour, new, "{ago}");
        }
        let oldest = figures.oldest_waiting_ms.unwrap();
        assert!((5_000..35_000).contains(&oldest), "{oldest}");
    }
}

#[test]
fn what_is_taken_up_again_while_what_is_old_goes_stays() {
    for db in Db::both("what_is_taken_up_again_while_what_is_old_goes_stays") {
        // a file has one who writes at a time
        let Kept::Server(server) = &db.kept else { continue };
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a"), job("b")]).unwrap();
        for it in claim(&mut store, "w", &[], 2) {
            store.end(&[ending(it.token, State::Done)], "0", "w").unwrap();
        }
        server.sql("UPDATE unwedge_jobs SET finished_ms = 1");
        let mut other = server.client();
        let mut again = other.transaction().unwrap();
        again
            .execute(
                "UPDATE unwedge_jobs SET state = 'retryable', finished_ms = NULL WHERE key = 'a'",
                &[],
            )
            .unwrap();
        std::thread::scope(|scope| {
            let removes =
                scope.spawn(|| store.remove_old(&Keep::default(), true, soon()).unwrap().jobs);
            wait_for_a_lock(server);
            again.commit().unwrap();
            assert_eq!(removes.join().unwrap().into_iter().collect::<Vec<_>>(), [(State::Done, 1)]);
        });
        assert_eq!(db.rows("SELECT key, state FROM unwedge_jobs"), [["a", "retryable"]]);
        assert_eq!(db.rows("SELECT count(*) FROM unwedge_attempts"), [["1"]]);
    }
}

#[test]
fn a_worker_that_is_asked_to_stop_hears_it_and_the_dead_are_forgotten_unless_they_have_a_job() {
    for db in Db::both("a_worker_that_is_asked_to_stop_hears_it") {
        let mut store = db.open();
        for id in ["w", "x"] {
            worker(&mut store, id);
        }
        assert!(!store.beat(&beat("w")).unwrap().unwrap().is_asked_to_stop);
        assert_eq!(store.ask_to_stop(&["w".to_owned(), "nobody".to_owned()]).unwrap(), ["w"]);
        assert!(store.beat(&beat("w")).unwrap().unwrap().is_asked_to_stop);
        assert!(!store.beat(&beat("x")).unwrap().unwrap().is_asked_to_stop);
        assert_eq!(store.forget_dead(None).unwrap(), 0);
        store.leave("w").unwrap();
        assert_eq!(store.all_workers(true).unwrap().len(), 2);
        assert_eq!(store.all_workers(false).unwrap().len(), 1);
        assert_eq!(store.forget_dead(None).unwrap(), 1);
        let left = store.all_workers(true).unwrap();
        assert_eq!((left.len(), left[0].id.as_str(), left[0].load_milli), (1, "x", Some(1500)));
    }
}

#[test]
fn a_name_that_no_queue_holds_is_refused_in_words_and_the_longest_other_is_taken() {
    for db in
        Db::both("a_name_that_no_queue_holds_is_refused_in_words_and_the_longest_other_is_taken")
    {
        let mut store = db.open();
        // of digits that nothing makes shorter
        let name = |length: usize| -> String {
            let mut bits = 7_u64;
            let next = |_| {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'!' + u8::try_from((bits >> 33) % 90).unwrap())
            };
            (0..length).map(next).collect()
        };
        let of = |key: usize, output: usize| NewJob {
            key: name(key),
            output: Some(name(output)),
            ..job("a")
        };
        for it in [of(2501, 9), of(9, 2501)] {
            let why = store.submit(&[job("b"), it]).unwrap_err().0;
            assert!(why.contains("a path of 2501 bytes, and a queue holds 2500 at most"), "{why}");
        }
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs").len(), 0);
        assert!(store.submit(&[of(2500, 2500)]).unwrap()[0].is_new);
    }
}

#[test]
fn a_try_has_a_job_by_its_number_and_by_who_is_at_it() {
    for db in Db::both("a_try_has_a_job_by_its_number_and_by_who_is_at_it") {
        let mut store = db.open();
        for id in ["w", "x"] {
            worker(&mut store, id);
        }
        store.submit(&[job("a")]).unwrap();
        let token = claim(&mut store, "w", &[], 1)[0].token;
        // as after a restore: the same number was handed out to another
        db.rows("UPDATE unwedge_jobs SET worker = 'x' RETURNING id");
        assert!(!store.place(token, "w", "1@1").unwrap());
        assert!(store.end(&[ending(token, State::Done)], "0", "w").unwrap().is_empty());
        let step = [(token, "1/2".to_owned())];
        store.beat(&Beat { progress: &step, ..beat("w") }).unwrap();
        assert_eq!(store.job(token.id).unwrap().unwrap().0.progress, None);
        assert!(store.place(token, "x", "1@1").unwrap());
        assert_eq!(store.end(&[ending(token, State::Done)], "0", "x").unwrap(), [token]);
        // whose answer was lost says it again, and hears that it was heard
        assert_eq!(store.end(&[ending(token, State::Done)], "0", "x").unwrap(), [token]);
        assert!(store.end(&[ending(token, State::Done)], "0", "w").unwrap().is_empty());
        assert_eq!(store.job(token.id).unwrap().unwrap().1.len(), 1, "it is one try");
        // nor is one that was lost one that was heard
        store.submit(&[job("b")]).unwrap();
        let lost = claim(&mut store, "w", &[], 1)[0].token;
        let seen =
            store.workers().unwrap().into_iter().filter(|it| it.id == "w").collect::<Vec<_>>();
        store.bury(&seen, 3).unwrap();
        assert!(store.end(&[ending(lost, State::Done)], "0", "w").unwrap().is_empty());
        let digest = &store.job(lost.id).unwrap().unwrap().1[0].digest;
        assert!(digest.is_some(), "what it was tried by is known of its worker");
    }
}

#[test]
fn that_a_result_may_be_in_its_place_is_known_until_a_try_has_ended_otherwise() {
    for db in Db::both("that_a_result_may_be_in_its_place_is_known_until_a_try_has_ended_otherwise")
    {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("a")]).unwrap();
        let mut next = |after: &str, placed: Option<&str>, mark: &str| {
            let it = claim(&mut store, "w", &[], 1).remove(0);
            assert_eq!(it.placed.as_deref(), placed, "{after}");
            assert!(store.place(it.token, "w", mark).unwrap());
            it.token
        };
        let first = next("nothing", None, "1@1");
        let mut other = db.open();
        other.end(&[Ending::given_back(first)], "0", "w").unwrap();
        let token = next("nothing that counts", Some("1@1"), "2@2");
        let with = |token, class: &str| Ending {
            class: Some(class.to_owned()),
            ..ending(token, State::Pending)
        };
        other.end(&[with(token, "infrastructure")], "0", "w").unwrap();
        // killed while it put it there
        let token = next("infrastructure", Some("2@2"), "3@3");
        other.end(&[with(token, "crashed")], "0", "w").unwrap();
        let token = next("crashed", Some("3@3"), "4@4");
        other.end(&[with(token, "failed")], "0", "w").unwrap();
        let token = next("failed", None, "5@5");
        other.end(&[ending(token, State::Done)], "0", "w").unwrap();
        // a person wants it made again: what lies there is what is wrong
        let ids = Which::ids(&[token.id]);
        other.change(&ids, &Change::Retry, "somebody", false).unwrap();
        next("a retry of what was done", Some(""), "6@6");
    }
}

#[test]
fn a_clock_that_was_set_back_keeps_no_job_waiting_for_it() {
    for db in Db::both("a_clock_that_was_set_back_keeps_no_job_waiting_for_it") {
        let mut store = db.open();
        worker(&mut store, "w");
        store.submit(&[job("new"), job("again"), job("later")]).unwrap();
        for key in ["again", "later"] {
            let id: i64 = db.rows(&format!("SELECT id FROM unwedge_jobs WHERE key = '{key}'"))[0]
                [0]
            .parse()
            .unwrap();
            db.rows(&format!(
                "UPDATE unwedge_jobs SET not_before_ms = changed_ms + 60000 WHERE id = {id}"
            ));
        }
        // an hour ago it was an hour later than it is now
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms + 3600000, changed_ms = changed_ms + 3600000,
                     not_before_ms = CASE WHEN not_before_ms > 0 THEN not_before_ms + 3600000 ELSE 0 END WHERE key <> 'later'");
        let aged = Ask { aged_ms: 120_000, leave_ms: 120_000, ..ask("w", &[], 9) };
        let taken: Vec<String> = store.claim(&aged).unwrap().into_iter().map(|it| it.key).collect();
        assert_eq!(taken, ["new", "again"]);
        assert_eq!(claim(&mut store, "w", &[], 9), [], "what waits by this clock waits");
    }
}

#[test]
fn a_host_whose_own_storage_is_closed_leaves_a_job_to_others_however_old_it_is() {
    for db in
        Db::both("a_host_whose_own_storage_is_closed_leaves_a_job_to_others_however_old_it_is")
    {
        let mut store = db.open();
        for id in ["dead", "far"] {
            worker(&mut store, id);
        }
        let at = |key: &str| NewJob { prefers: vec!["/a".to_owned()], ..job(key) };
        store.submit(&[at("1"), job("2")]).unwrap();
        db.rows("UPDATE unwedge_jobs SET created_ms = created_ms - 3600000");
        let closed = ["/a".to_owned()];
        let keys = |store: &mut Store, ask: &Ask<'_>| -> Vec<String> {
            store.claim(ask).unwrap().into_iter().map(|it| it.key).collect()
        };
        assert_eq!(keys(&mut store, &Ask { closed: &closed, ..ask("dead", &[], 9) }), ["2"]);
        assert_eq!(keys(&mut store, &ask("far", &[], 9)), ["1"], "who has no such storage fetches");
    }
}

#[test]
fn a_lane_stays_that_of_a_worker_that_can_take_nothing_just_now() {
    for db in Db::both("a_lane_stays_that_of_a_worker_that_can_take_nothing_just_now") {
        let mut store = db.open();
        for (id, digest) in [("old", "1"), ("new", "2")] {
            store.register(&new_worker(id, digest)).unwrap();
        }
        assert_eq!(store.adopt("old").unwrap(), Vec::<String>::new());
        let lack = |digest: &str| {
            let it = Lack { why: "no room".to_owned(), digest: digest.to_owned() };
            BTreeMap::from([("t".to_owned(), it)])
        };
        assert!(store.retype("old", "direct", &BTreeMap::new(), &lack("1")).unwrap());
        assert_eq!(store.adopt("new").unwrap(), ["t"], "its disk is full, and that passes");
        // who takes none at all has no say
        assert!(store.retype("old", "direct", &BTreeMap::new(), &lack("")).unwrap());
        assert_eq!(store.adopt("new").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_file_that_was_put_in_the_place_of_the_queue_is_noticed_with_the_next_beat() {
    let db = Db::file();
    let mut store = db.open();
    worker(&mut store, "w");
    store.beat(&beat("w")).unwrap().unwrap();
    let Place::Url(Secret(url)) = &db.queue.database else { panic!() };
    let file = std::path::Path::new(url.strip_prefix("sqlite://").unwrap());
    for name in ["q.db", "q.db-wal", "q.db-shm"] {
        let _ = std::fs::remove_file(file.with_file_name(name));
    }
    assert!(store.beat(&beat("w")).unwrap_err().0.contains("is another file than"));
    let mut again = db.open();
    assert!(store.beat(&beat("w")).is_err());
    assert_eq!(again.beat(&beat("w")).unwrap(), None, "and there it is not known");
}

#[test]
fn a_queue_has_one_mark_however_it_is_called_and_no_other_has_the_same() {
    let test = "store::a_queue_has_one_mark_however_it_is_called_and_no_other_has_the_same";
    let dir = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for db in Db::both(test).into_iter().chain(Db::both(test)) {
        let mark = db.open().mark().unwrap();
        let url = match &db.kept {
            Kept::Server(database) => format!("{}?connect_timeout=9", database.url("postgres")),
            Kept::File(own) => {
                let link = dir.path().join(mark.clone() + ".db");
                std::os::unix::fs::symlink(own.path().join("q.db"), &link).unwrap();
                format!("sqlite://{}", link.display())
            }
        };
        assert_eq!(Store::open(&queue(url)).unwrap().mark().unwrap(), mark);
        assert!(seen.insert(mark), "{seen:?}");
    }
}

#[test]
fn a_stamp_is_a_moment_for_each_queue_or_for_none() {
    for db in Db::both("store::a_stamp_is_a_moment_for_each_queue_or_for_none") {
        let mut store = db.open();
        let at = |end: &str| format!("2026-01-24T03:12:0{end}");
        let stamps =
            ["7Z", "7.1Z", "7.123456789Z", "7", "7junkZ", "7.Z", "7.1xZ", "7.1.2Z", "7+00:00"];
        let jobs = stamps.map(|it| NewJob { stamp: Some(at(it)), ..job(it) });
        store.submit(&jobs).unwrap();
        let which = Which { stamp: Some(StampIs::Malformed), ..Which::default() };
        let mut wrong: Vec<String> =
            store.list(&which, Order::Turn, 99).unwrap().into_iter().map(|it| it.key).collect();
        wrong.sort();
        assert_eq!(wrong, ["7", "7+00:00", "7.1.2Z", "7.1xZ", "7.Z", "7junkZ"]);
    }
}
