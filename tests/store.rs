//! Our own queue on both of its databases: the same tests, the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use unwedge::config::queue::{Adapter, Database as Place, Queue, Secret};
use unwedge::decide::attempts::{Counted, State, Token};
use unwedge::probes::jobs::{self, QueueLook};
use unwedge::queue::store::{Ask, Beat, Claimed, Ending, NewJob, NewWorker, Store};

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
    }
}

impl Db {
    pub fn file() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().canonicalize().unwrap().join("q.db").display());
        Self { queue: queue(url), kept: Kept::File(dir) }
    }

    pub fn server(test: &str) -> Option<Self> {
        let database = cluster(test)?.database();
        Some(Self { queue: queue(database.url("postgres")), kept: Kept::Server(database) })
    }

    pub fn both(test: &str) -> Vec<Self> {
        [Some(Self::file()), Self::server(test)].into_iter().flatten().collect()
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
        input: format!("/in/{key}"),
        output: None,
        output_dir: None,
    }
}

pub fn worker(store: &mut Store, id: &str) {
    let text = |text: &str| text.to_owned();
    store
        .register(&NewWorker {
            id: text(id),
            host: text("h"),
            unit: None,
            version: text("0"),
            mode: text("direct"),
            types: vec![text("t")],
        })
        .unwrap();
}

pub fn claim(store: &mut Store, worker: &str, open: &[String], most: u32) -> Vec<Claimed> {
    store.claim(&Ask { worker, kind: "t", open, most }).unwrap()
}

pub fn ending(token: Token, state: State) -> Ending {
    Ending {
        token,
        state,
        counted: Counted::Nothing,
        wait_ms: 0,
        tier: None,
        exit_code: Some(0),
        signal: None,
        class: None,
        message: None,
        started_ms: None,
        digest: None,
    }
}

fn beat(worker: &str) -> Beat<'_> {
    Beat { worker, state: "busy", step: None, done: 0, failed: 0 }
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
        assert_eq!(store.beat(&beat("old")).unwrap().unwrap().len(), 2);
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
        let held = store.beat(&beat("new")).unwrap().unwrap();
        assert_eq!(held.iter().map(|it| it.token.nth).collect::<Vec<_>>(), [2, 2]);
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
            assert_eq!(claim(&mut store, &id, &[], 1).len(), 1);
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
        assert_eq!(db.rows("SELECT value FROM unwedge_meta WHERE name = 'schema'"), [["1"]]);
        db.rows("UPDATE unwedge_meta SET value = '99' WHERE name = 'schema'");
        let why = Store::open(&db.queue).err().unwrap().0;
        assert!(why.contains("later version (schema 99"), "{why}");
    }
}

/// What is done to a queue at random.
#[derive(Clone, Debug)]
enum Deed {
    Submit(u8),
    Enter,
    Claim { worker: usize, most: u32, open: bool },
    End { nth: usize, state: State, counted: Counted, waits: bool },
    Stale { nth: usize },
    Beat { worker: usize },
    Bury { worker: usize, after_beat: bool },
    Leave { worker: usize },
}

fn deed() -> impl Strategy<Value = Deed> {
    let state = prop_oneof![
        3 => Just(State::Done), 2 => Just(State::Retryable), 1 => Just(State::Pending), 1 => Just(State::Failed), 1 => Just(State::Quarantined)
    ];
    let counted = prop_oneof![Just(Counted::Nothing), Just(Counted::Failure), Just(Counted::Infra)];
    prop_oneof![
        3 => (0..24_u8).prop_map(Deed::Submit),
        1 => Just(Deed::Enter),
        6 => (0..4_usize, 1..4_u32, any::<bool>()).prop_map(|(worker, most, open)| Deed::Claim { worker, most, open }),
        5 => (0..8_usize, state, counted, any::<bool>()).prop_map(|(nth, state, counted, waits)| Deed::End { nth, state, counted, waits }),
        2 => (0..40_usize).prop_map(|nth| Deed::Stale { nth }),
        1 => (0..4_usize).prop_map(|worker| Deed::Beat { worker }),
        2 => (0..4_usize, any::<bool>()).prop_map(|(worker, after_beat)| Deed::Bury { worker, after_beat }),
        1 => (0..4_usize).prop_map(|worker| Deed::Leave { worker }),
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
}

/// A queue as it has to be, beside the real one.
struct World<'a> {
    db: &'a Db,
    store: Store,
    jobs: BTreeMap<i64, Model>,
    keys: BTreeMap<u8, i64>,
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
        match *deed {
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
                });
            }
            Deed::Enter => {
                let id = Self::id(self.workers.len());
                worker(&mut self.store, &id);
                self.workers.push(true);
            }
            Deed::Claim { worker, most, open } => {
                let lives = self.workers.get(worker).copied().unwrap_or(false);
                let may: BTreeSet<i64> = self
                    .jobs
                    .iter()
                    .filter(|(_, job)| {
                        lives && job.state.waits() && !job.waits && (open || !job.needs)
                    })
                    .map(|(id, _)| *id)
                    .collect();
                let keys = if open {
                    vec!["/a".to_owned(), "/b".to_owned()]
                } else {
                    vec!["/b".to_owned()]
                };
                let got = claim(&mut self.store, &Self::id(worker), &keys, most);
                assert_eq!(got.len(), may.len().min(most as usize));
                for one in got {
                    assert!(may.contains(&one.token.id), "{one:?}");
                    let job = self.jobs.get_mut(&one.token.id).unwrap();
                    (job.state, job.tries, job.worker) =
                        (State::Running, job.tries + 1, Some(worker));
                    assert_eq!(one.token.nth, job.tries);
                    self.tokens.push(one.token);
                }
            }
            Deed::End { nth, state, counted, waits } => {
                let running: Vec<i64> = self
                    .jobs
                    .iter()
                    .filter(|(_, job)| job.state == State::Running)
                    .map(|(id, _)| *id)
                    .collect();
                let Some(id) = running.get(nth % running.len().max(1)) else { return };
                let job = self.jobs.get_mut(id).unwrap();
                let token = Token { id: *id, nth: job.tries };
                let end = Ending {
                    counted,
                    wait_ms: if waits { 3_600_000 } else { 0 },
                    ..ending(token, state)
                };
                assert_eq!(self.store.end(&[end], "0", "w").unwrap(), [token]);
                (job.state, job.worker, job.waits) = (state, None, waits);
                match counted {
                    Counted::Nothing => {}
                    Counted::Failure => job.used[0] += 1,
                    Counted::Infra => job.used[1] += 1,
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
                let held = self.store.beat(&beat(&Self::id(worker))).unwrap();
                let own = self.jobs.iter().filter(|(_, job)| job.worker == Some(worker));
                let own: BTreeSet<Token> =
                    own.map(|(id, job)| Token { id: *id, nth: job.tries }).collect();
                assert_eq!(
                    held.map(|held| held.iter().map(|it| it.token).collect()),
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
                        let over = job.used[2] >= 3;
                        job.state = if over { State::Quarantined } else { State::Retryable };
                        (job.worker, job.waits) = (None, false);
                    }
                }
            }
            Deed::Leave { worker } => {
                self.store.leave(&Self::id(worker)).unwrap();
                if let Some(lives) = self.workers.get_mut(worker) {
                    *lives = false;
                }
                for job in self.jobs.values_mut().filter(|job| job.worker == Some(worker)) {
                    job.state = if job.used == [0; 3] { State::Pending } else { State::Retryable };
                    (job.worker, job.waits) = (None, false);
                }
            }
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
        }
    }
}

#[test]
fn a_queue_is_after_any_history_as_its_model_says() {
    for db in Db::both("a_queue_is_after_any_history_as_its_model_says") {
        let cases = if unwedge::worlds(0) > 1000 { 150 } else { 60 };
        let mut runner =
            TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let histories = prop::collection::vec(deed(), 1..60);
        runner
            .run(&histories, |history| {
                let mut store = db.open();
                db.rows("DELETE FROM unwedge_attempts");
                db.rows("DELETE FROM unwedge_jobs");
                db.rows("DELETE FROM unwedge_workers");
                worker(&mut store, "w0");
                let mut world = World {
                    db: &db,
                    store,
                    jobs: BTreeMap::new(),
                    keys: BTreeMap::new(),
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
        worker(&mut store, "w");
        let some = claim(&mut store, "w", &[], 3);
        let cooling = Ending {
            counted: Counted::Infra,
            wait_ms: 600_000,
            class: Some("infrastructure".to_owned()),
            ..ending(some[1].token, State::Retryable)
        };
        store.end(&[ending(some[0].token, State::Done), cooling], "0", "w").unwrap();
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
    }
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
            "state = 'running', worker = 'nobody'",
        ] {
            let sql = format!("UPDATE unwedge_jobs SET {set}");
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &db.kept {
                Kept::File(dir) => {
                    let file = rusqlite::Connection::open(dir.path().join("q.db")).unwrap();
                    file.execute_batch("PRAGMA foreign_keys = ON").unwrap();
                    file.execute_batch(&sql).is_err()
                }
                Kept::Server(server) => server.client().batch_execute(&sql).is_err(),
            }));
            assert!(done.unwrap(), "{set}");
        }
    }
}
