//! Our own queue behind a real `PgBouncer`, which hands each transaction to another connection of the server: no word comes
//! through it, and a name that a statement has there may be another program's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use unwedge::config::queue::Queue;
use unwedge::probes::jobs::{QueueLook, State};
use unwedge::queue;
use unwedge::queue::store::Store;
use unwedge::queue::store::bell::{self, Rung};

use crate::libraries::{self, ALL, Packages, plant};
use crate::support::isolate;
use crate::support::postgres::{Database, cluster};

/// How long it may take until it is known that no word comes.
const PATIENCE: Duration = Duration::from_secs(30);
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// It does not outlive its test.
pub struct Pooler {
    process: Child,
    _dir: tempfile::TempDir,
    pub url: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    /// In this mode, before this database, with at most three connections to it.
    pub fn new(database: &Database, mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (at, server) = (dir.path().display(), database.cluster.dir.display());
        let name = &database.name;
        let text = format!(
            "[databases]\n{name} = host={server} port={} dbname={name} user=postgres\n\
             [pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {at}\nauth_type = any\npool_mode = {mode}\n\
             default_pool_size = 3\nserver_round_robin = 1\nignore_startup_parameters = extra_float_digits\n",
            database.cluster.port
        );
        fs::write(dir.path().join("ini"), text).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owned =
            Command::new("chown").args(["-R", "postgres"]).arg(dir.path()).status().unwrap();
        assert!(owned.success());
        let mut process = Command::new("/usr/bin/setpriv")
            .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", PROGRAM, "-q"])
            .arg(dir.path().join("ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // its socket has a name before it is listened on: what connects in between is refused
        while UnixStream::connect(dir.path().join(".s.PGSQL.6432")).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "the pooler does not start");
            std::thread::yield_now();
        }
        let url = format!("postgres://any@{}:6432/{name}", at.to_string().replace('/', "%2F"));
        Self { process, _dir: dir, url }
    }

    /// Stopped, it says nothing, and nobody is told so.
    pub fn tell(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// What whoever listens through it is told first.
    fn first_word(&self) -> Rung {
        let queue = Queue::at(&self.url, Duration::from_secs(10));
        let (send, heard) = mpsc::channel();
        std::thread::spawn(move || bell::listen(&queue, &mut |rung| send.send(rung).is_ok()));
        heard.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn say(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.args(words).args(["--queue", &self.url]).current_dir("/").output().unwrap()
    }
}

/// One that may stand behind it.
pub fn database(test: &str) -> Option<Database> {
    if !PathBuf::from(PROGRAM).exists() {
        isolate::skip(test, &format!("needs {PROGRAM}"));
        return None;
    }
    cluster(test).map(super::support::postgres::Cluster::database)
}

#[test]
fn a_word_is_heard_through_a_pooler_that_keeps_sessions_and_through_no_other() {
    let test = "pooler::a_word_is_heard_through_a_pooler_that_keeps_sessions_and_through_no_other";
    let Some(database) = database(test) else { return };
    assert_eq!(Pooler::new(&database, "session").first_word(), Rung::Hears);
    let pooler = Pooler::new(&database, "transaction");
    let Rung::Deaf(why) = pooler.first_word() else { panic!("no word can have come") };
    assert!(why.starts_with("notifications do not arrive: a pooler"), "{why}");
}

#[test]
fn behind_a_pooler_of_transactions_work_goes_on_and_no_statement_is_taken_for_anothers() {
    let test = "pooler::behind_a_pooler_of_transactions_work_goes_on_and_no_statement_is_taken_for_anothers";
    let Some(database) = database(test) else { return };
    let pooler = Pooler::new(&database, "transaction");
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..40).map(|nth| dir.path().join(format!("in{nth}"))).collect();
    for file in &files {
        fs::write(file, file.display().to_string()).unwrap();
    }
    let go = dir.path().join("go");
    let script = format!("until test -e {}; do sleep 0.05; done; cp \"$1\" \"$2\"", go.display());
    let mut run = Command::new(env!("CARGO_BIN_EXE_unwedge"));
    run.args(["run", "--queue", &pooler.url, "--count", "4", "--output", "{stem}.out"])
        .args(&files);
    run.args(["--", "/bin/bash", "-c", &script, "x", "{input}", "{output}"]);
    run.env("XDG_STATE_HOME", dir.path().join("state"));
    run.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert!(pooler.say(&["queue", "want-version", "0.0.1"]).status.success());
    let run = run.spawn().unwrap();
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        // others at the same time, each with statements of its own
        let others: Vec<_> = [["jobs", "list"], ["lanes", "list"], ["workers", "list"]]
            .iter()
            .map(|words| {
                let (pooler, stop) = (&pooler, &stop);
                scope.spawn(move || {
                    let mut said = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        said.push(pooler.say(words));
                    }
                    said
                })
            })
            .collect();
        let is_deaf = |said: &Output| {
            String::from_utf8_lossy(&said.stdout).contains("poll-only: notifications do not arrive")
        };
        let since = Instant::now();
        let mut said = pooler.say(&["workers", "list"]);
        while !is_deaf(&said) && since.elapsed() < PATIENCE {
            said = pooler.say(&["workers", "list"]);
        }
        fs::write(&go, "").unwrap();
        let done = run.wait_with_output().unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(is_deaf(&said), "{said:?} {done:?}");
        for said in others.into_iter().flat_map(|it| it.join().unwrap()) {
            assert!(said.status.success(), "{said:?}");
        }
        done
    });
    assert!(done.status.success(), "{done:?}");
    for (nth, file) in files.iter().enumerate() {
        let out = fs::read_to_string(dir.path().join(format!("in{nth}.out"))).unwrap();
        assert_eq!(out, file.display().to_string());
    }
    // each was begun once, and no server ever said that a name was not known or another's
    assert_eq!(database.value("SELECT count(*) FROM unwedge_attempts"), "40");
    assert_eq!(database.value("SELECT sum(tries) FROM unwedge_jobs"), "40");
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!words.contains("prepared statement"), "{words}");
}

#[test]
fn a_librarys_queue_is_read_through_a_pooler_and_nothing_that_was_set_for_that_stays_there() {
    let test = "pooler::a_librarys_queue_is_read_through_a_pooler_and_nothing_that_was_set_for_that_stays_there";
    let Some(packages) = Packages::of(test) else { return };
    for fixture in ALL {
        let Some(database) = database(test) else { return };
        (fixture.install)(&packages, &database, fixture.versions[1]);
        let _held = plant(fixture, &database);
        let pooler = Pooler::new(&database, "transaction");
        for _ in 0..4 {
            // each of its transactions has a connection of its own, on which others were before
            let look = queue::look(&libraries::queue(fixture, &pooler.url));
            let QueueLook::Known(facts) = look else { panic!("{}: {look:?}", fixture.name) };
            assert_eq!(
                State::ALL.map(|state| facts.count(state)),
                [2, 1, 2, 2],
                "{}",
                fixture.name
            );
        }
        let mut other = postgres::Client::connect(&pooler.url, postgres::NoTls).unwrap();
        let direct = |name: &str| database.value(&format!("SHOW {name}"));
        for name in [
            "search_path",
            "statement_timeout",
            "row_security",
            "enable_seqscan",
            "default_transaction_read_only",
        ] {
            for _ in 0..6 {
                let told = other.simple_query(&format!("SHOW {name}")).unwrap();
                let first = told.iter().find_map(|it| match it {
                    postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                assert_eq!(first, Some(direct(name)), "{}: {name}", fixture.name);
            }
        }
    }
}

#[test]
fn who_only_looks_through_a_pooler_writes_nothing_and_keeps_nobody_else_from_it() {
    let test =
        "pooler::who_only_looks_through_a_pooler_writes_nothing_and_keeps_nobody_else_from_it";
    let Some(database) = database(test) else { return };
    let pooler = Pooler::new(&database, "transaction");
    let queue = Queue::at(&pooler.url, Duration::from_secs(20));
    let mut works = Store::open(&queue).unwrap();
    for _ in 0..4 {
        let mut looks = Store::only_look(&queue).unwrap().unwrap();
        assert_eq!(looks.workers().unwrap(), []);
        let refused = looks.want_version("9.9.9").unwrap_err();
        assert!(refused.to_string().contains("read-only"), "{refused}");
        // on whichever connection of the server that is
        works.want_version("0.0.1").unwrap();
    }
}
