//! Objects of buckets: taken in, fetched, delivered, deleted last, by a real server of them; refused, broken off, mute and
//! away; and killed after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use unwedge::config::queue::Database as Place;
use unwedge::sys::s3::{Client, Head, Trouble, Version};

use crate::house::root;
use crate::store::Db;
use crate::support::isolate;
use crate::support::s3::{Act, Bucket};

/// Who the programs become.
const NOBODY: u32 = 65534;
const INTAKE: &str = "[[intake]]\nname = \"in\"\ntype = \"t\"\nbucket = \"scans\"\nprefix = \"in/\"\noutput_prefix = \"out/\"\nafter = \"delete\"\n";
/// In a directory that everybody may write, `$3`, it notes that it ran; what is in `more` there comes behind, and it fails where
/// there is `fail`.
const COPY: &str = r#"echo run >>$3/runs; [ ! -e $3/fail ] || exit 1; { tr a-z A-Z <\"$1\"; cat $3/more || :; } >\"$2\""#;

const SOON: Duration = Duration::from_secs(20);

/// A host with an intake on a bucket.
struct Desk<'a> {
    dir: tempfile::TempDir,
    db: &'a Db,
    bucket: Bucket,
}

impl<'a> Desk<'a> {
    /// With a type whose command is [`COPY`].
    fn new(test: &str, db: &'a Db, kind: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            isolate::skip(test, "needs root: a sentinel is root's");
            return None;
        }
        let bucket = Bucket::new(test)?;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["run", "sentinels", "jobs.d", "state", "state/queue", "prom", "free"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("sentinels/jobs"), "armed by a test\n").unwrap();
        fs::write(at("key"), "some:secret\n").unwrap();
        fs::set_permissions(at("key"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in ["", "state/queue", "prom", "free", "key"] {
            chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let free = at("free").display().to_string();
        let kind = kind.replace("FREE", &free);
        let tier = format!(
            "[[tier]]\nargv = [\"/bin/bash\", \"-c\", \"{COPY}\", \"job\", \"{{input}}\", \"{{output}}\", \"{free}\"]\n"
        );
        fs::write(at("jobs.d/t.toml"), format!("{kind}\n{tier}")).unwrap();
        let Place::Url(url) = &db.queue.database else { panic!() };
        db.open();
        if let Some(file) = url.0.strip_prefix("sqlite://") {
            let queue = Path::new(file).parent().unwrap();
            let files = fs::read_dir(queue).unwrap().flatten().map(|it| it.path());
            for path in files.chain([queue.to_owned()]) {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let desk = Self { dir, db, bucket };
        desk.configure(INTAKE);
        Some(desk)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, more: &str) {
        let (at, place) = (self.dir.path().display(), &self.bucket.place);
        let Place::Url(url) = &self.db.queue.database else { panic!() };
        let text = format!(
            "[host]\nuser = \"nobody\"\nstate_dir = \"{at}/state\"\nrun_dir = \"{at}/run\"\nsentinel_dir = \"{at}/sentinels\"\ntextfile_dir = \"{at}/prom\"\n\
             [jobs]\ndir = \"{at}/jobs.d\"\npoll = \"200ms\"\nbeat = \"1s\"\nsweep = \"1s\"\ngrace = \"1s\"\ndrain = \"0s\"\n\
             [queue]\nadapter = \"unwedge\"\nlease = \"6s\"\nurl = \"{}\"\n\
             [[bucket]]\nname = \"scans\"\nendpoint = \"{}\"\nbucket = \"{}\"\nkey_file = \"{at}/key\"\ntimeout = \"2s\"\n{more}",
            url.0, place.endpoint, place.bucket
        );
        fs::write(self.at("unwedge.toml"), text).unwrap();
    }

    /// A round of upkeep; what it said.
    fn pass(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_unwedge-jobs"))
            .arg("--config")
            .arg(self.at("unwedge.toml"))
            .arg("--apply")
            .current_dir("/")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn runner(&self, flags: &[&str]) -> Runner {
        // one that is started often waits before it takes anything, and a test has no time for that
        let _ = fs::remove_file(self.at("state/queue/runner.json"));
        let said = fs::File::options().append(true).create(true).open(self.at("said")).unwrap();
        Command::new("/usr/bin/setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(env!("CARGO_BIN_EXE_unwedge-runner"))
            .arg("--config")
            .arg(self.at("unwedge.toml"))
            .args(flags)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map(Runner)
            .unwrap()
    }

    /// Works off what there is.
    #[track_caller]
    fn work(&self) {
        let status = self.runner(&["--once"]).wait().unwrap();
        assert!(status.success(), "{status}: {}", self.said());
    }

    fn said(&self) -> String {
        fs::read_to_string(self.at("said")).unwrap_or_default()
    }

    fn submit(&self, path: &str) {
        let done = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .arg("--config")
            .arg(self.at("unwedge.toml"))
            .args(["jobs", "submit", "t", path])
            .current_dir("/")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    fn jobs(&self) -> Vec<Vec<String>> {
        self.db.rows(
            "SELECT state, class, failures, infra_errors, tries, message FROM unwedge_jobs ORDER BY id",
        )
    }

    /// Whoever waits for its time waits no longer.
    fn hasten(&self) {
        self.db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
    }

    /// How many tries have something that does not belong on this host.
    fn spare(&self) -> usize {
        fs::read_dir(self.at("state/queue/spare")).map_or(0, Iterator::count)
    }

    #[track_caller]
    fn until(&self, what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            let told = || format!("{:#?} {:?}: {}", self.jobs(), self.bucket.asked(), self.said());
            assert!(start.elapsed().as_secs() < 90, "{}", told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A runner that does not outlive its test.
struct Runner(Child);

impl std::ops::Deref for Runner {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Runner {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn an_object_is_fetched_worked_on_delivered_and_deleted_last() {
    let test = "objects::an_object_is_fetched_worked_on_delivered_and_deleted_last";
    for db in Db::both(test) {
        let Some(desk) = Desk::new(test, &db, "output = \"/srv/{stem}.txt\"") else { return };
        let after = [
            ("out/a b.txt", "A"),
            ("out/sub/ü+%?.txt", "B"),
            ("out/sub//ü+%?.txt", "D"),
            ("other/c.pdf", "c"),
            ("in/", ""),
        ];
        // as an object it is none of the one before
        let before = [("in/a b.pdf", "a"), ("in/sub/ü+%?.pdf", "b"), ("in/sub//ü+%?.pdf", "d")];
        for (key, text) in before.iter().chain(&after[3..]) {
            desk.bucket.put(key, text);
        }
        desk.pass();
        desk.pass();
        let rows =
            db.rows("SELECT input, output, needs, output_dir FROM unwedge_jobs ORDER BY input");
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert_eq!(rows[0][..2], ["s3://scans/in/a b.pdf", "s3://scans/out/a b.txt"]);
        assert!(rows[0][2].contains("bucket:scans") && rows[0][3].is_empty(), "{rows:?}");
        desk.work();
        let both = texts(&[&after[..], &before[..]].concat());
        assert_eq!(desk.bucket.all(), both, "{:?}", desk.jobs());
        assert_eq!(desk.spare(), 0);
        desk.pass();
        assert_eq!(desk.bucket.all(), texts(&after));
        desk.pass();
        let jobs = desk.jobs();
        assert!(jobs.iter().all(|row| row[0] == "done" && row[4] == "1"), "{jobs:?}");
        // the secret stands where it was put, and nowhere else
        let found =
            Command::new("grep").args(["-rl", "secret"]).arg(desk.dir.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 1, "{found:?}");
    }
}

#[test]
fn killed_after_each_step_the_next_one_ends_the_same() {
    let test = "objects::killed_after_each_step_the_next_one_ends_the_same";
    for db in Db::both(test) {
        let Some(desk) = Desk::new(test, &db, "output = \"/srv/{stem}.txt\"") else { return };
        let mut count = 0;
        for step in ["GET /in/", "PUT /out/", "HEAD /out/", "DELETE /in/"] {
            for is_done in [false, true] {
                count += 1;
                let key = count.to_string();
                let reached = Arc::new(AtomicBool::new(false));
                let (seen, wanted) = (Arc::clone(&reached), format!("{step}{key}"));
                desk.bucket.rule(move |question| {
                    if !question.starts_with(&wanted) || seen.swap(true, Ordering::SeqCst) {
                        return Act::Pass;
                    }
                    if is_done { Act::LoseAnswer } else { Act::Mute }
                });
                desk.bucket.put(&format!("in/{key}"), "text");
                let mut runner = desk.runner(&[]);
                desk.until(|| reached.load(Ordering::SeqCst));
                runner.kill().unwrap();
                runner.wait().unwrap();
                desk.bucket.rule(|_| Act::Pass);
                let mut runner = desk.runner(&[]);
                desk.until(|| {
                    let all = desk.bucket.list();
                    let all: BTreeSet<String> = all.into_iter().map(|it| it.key).collect();
                    all.contains(&format!("out/{key}.txt")) && !all.contains(&format!("in/{key}"))
                });
                kill_process(Pid::from_child(&runner), Signal::TERM).unwrap();
                runner.wait().unwrap();
            }
        }
        let all = desk.bucket.all();
        assert!(all.len() == count && all.values().all(|text| text == "TEXT"), "{all:?}");
        let jobs = desk.jobs();
        let is_well = |row: &Vec<String>| row[0] == "done" && row[2] == "0";
        assert!(jobs.len() == count && jobs.iter().all(is_well), "{jobs:?}");
        let done = db.rows("SELECT count(*) FROM unwedge_attempts WHERE end_state = 'done'");
        assert_eq!(done[0][0], count.to_string());
        assert_eq!(desk.spare(), 0);
    }
}

#[test]
fn a_server_that_is_away_costs_no_try_and_work_goes_on_when_it_is_back() {
    let test = "objects::a_server_that_is_away_costs_no_try_and_work_goes_on_when_it_is_back";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"s3://scans/out/{name}\"") else { return };
    let mut runner = desk.runner(&[]);
    let mut nth = 0;
    for way in [Act::Answer(502, ""), Act::Reset, Act::Mute] {
        for step in ["GET /", "GET /in/", "PUT /out/"] {
            nth += 1;
            let mut left = 2;
            desk.bucket.rule(move |question| {
                if left > 0 && question.starts_with(step) {
                    left -= 1;
                    return way;
                }
                Act::Pass
            });
            desk.bucket.put(&format!("in/{nth}"), "text");
            desk.until(|| desk.jobs().get(nth - 1).is_some_and(|row| row[0] == "done"));
        }
    }
    let jobs = desk.jobs();
    assert!(jobs.iter().all(|row| row[2] == "0" && row[3] == "0"), "{jobs:?}");
    // away while it is fetched, for longer than is waited there: nothing of the job ran, and it counts for nothing
    desk.bucket.rule(|question| {
        if question.starts_with("GET /in/") { Act::Answer(503, "SlowDown") } else { Act::Pass }
    });
    desk.bucket.put("in/late", "text");
    desk.until(|| desk.jobs().get(nth).is_some_and(|row| row[1] == "infrastructure"));
    let row = desk.jobs().remove(nth);
    assert_eq!(row[..5], ["pending", "infrastructure", "0", "0", "1"], "{row:?}");
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    desk.until(|| desk.jobs()[nth][0] == "done");
    // away for all: nothing that lies there is taken, and that is said
    let told = || desk.said().matches("bucket scans: nothing that lies there is taken: ").count();
    let before = told();
    desk.bucket.rule(|_| Act::Answer(503, "SlowDown"));
    desk.until(|| told() > before);
    desk.submit("s3://scans/other/x");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(desk.jobs().last().unwrap()[4], "0");
    desk.bucket.put("other/x", "text");
    desk.bucket.rule(|_| Act::Pass);
    desk.until(|| desk.jobs().iter().all(|row| row[0] == "done"));
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn a_server_that_refuses_us_is_told_from_one_that_is_away() {
    let test = "objects::a_server_that_refuses_us_is_told_from_one_that_is_away";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.bucket.put("in/a", "text");
    desk.pass();
    desk.bucket.rule(|question| {
        let skewed = Act::Answer(403, "RequestTimeTooSkewed");
        if question.starts_with("GET /in/") { skewed } else { Act::Pass }
    });
    desk.work();
    let row = desk.jobs().remove(0);
    assert_eq!(row[..4], ["pending", "configuration", "0", "0"], "{row:?}");
    assert!(row[5].contains("the clocks of this host and of the server differ"), "{row:?}");
    desk.bucket.rule(|_| Act::Answer(403, "InvalidAccessKeyId"));
    assert!(desk.pass().contains("intake in: bucket scans: "));
    fs::set_permissions(desk.at("key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(desk.pass().contains("everybody may read it (mode 0644)"));

    // a service waits for its key without a try, and goes on by itself once it has one
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    let tries = || desk.jobs()[0][4].clone();
    let before = tries();
    let _runner = desk.runner(&[]);
    desk.until(|| desk.said().contains("bucket scans: nothing that lies there is taken"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(tries(), before, "{}", desk.said());
    fs::set_permissions(desk.at("key"), fs::Permissions::from_mode(0o600)).unwrap();
    desk.until(|| desk.jobs()[0][0] == "done");
}

#[test]
fn a_result_that_cannot_be_delivered_is_kept_and_not_made_again() {
    let test = "objects::a_result_that_cannot_be_delivered_is_kept_and_not_made_again";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.bucket.put("in/a", "text");
    desk.pass();
    desk.bucket.rule(|question| {
        if question.starts_with("PUT") { Act::Answer(500, "InternalError") } else { Act::Pass }
    });
    desk.work();
    let row = desk.jobs().remove(0);
    assert_eq!(row[..5], ["pending", "infrastructure", "0", "0", "1"], "{row:?}");
    assert!(row[5].contains("HTTP 500 InternalError") && row[5].contains("is kept"), "{row:?}");
    assert_eq!((desk.spare(), desk.bucket.all().len()), (1, 1));
    // each try more takes it over, and leaves nothing of the one before
    for _ in 0..3 {
        desk.hasten();
        desk.work();
        assert_eq!(desk.spare(), 1);
    }
    // however often it is tried
    desk.db.rows("UPDATE unwedge_jobs SET tries = tries + 50 RETURNING id");
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    desk.work();
    assert_eq!(desk.jobs()[0][0], "done", "{:?}", desk.jobs());
    assert_eq!(desk.bucket.all()["out/a"], "TEXT");
    assert_eq!(fs::read_to_string(desk.at("free/runs")).unwrap(), "run\n", "made once");
    assert_eq!(desk.spare(), 0);

    // nor by a stop on the way
    desk.bucket.put("in/b", "text");
    desk.pass();
    let reached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reached);
    desk.bucket.rule(move |question| {
        let is_it = question.starts_with("PUT") && !seen.swap(true, Ordering::SeqCst);
        if is_it { Act::Mute } else { Act::Pass }
    });
    let mut runner = desk.runner(&[]);
    desk.until(|| reached.load(Ordering::SeqCst));
    kill_process(Pid::from_child(&runner), Signal::TERM).unwrap();
    kill_process(Pid::from_child(&runner), Signal::TERM).unwrap();
    runner.wait().unwrap();
    desk.hasten();
    desk.work();
    assert_eq!(desk.bucket.all()["out/b"], "TEXT", "{:?}", desk.jobs());
    assert_eq!(fs::read_to_string(desk.at("free/runs")).unwrap(), "run\nrun\n", "once each");

    // but not where it was made of another input of the name
    desk.bucket.put("c", "old");
    desk.bucket.rule(|question| {
        if question.starts_with("PUT") { Act::Answer(500, "InternalError") } else { Act::Pass }
    });
    let file = desk.at("jobs.d/t.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("output = \"/srv/{name}\"", "output = \"s3://scans/out/{name}\""),
    )
    .unwrap();
    desk.submit("s3://scans/c");
    desk.work();
    desk.bucket.put("c", "new");
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    desk.work();
    assert_eq!(desk.bucket.all()["out/c"], "NEW", "{:?}", desk.jobs());
}

#[test]
fn what_is_wanted_anew_is_not_taken_for_what_was_there_before() {
    let test = "objects::what_is_wanted_anew_is_not_taken_for_what_was_there_before";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"s3://scans/out/{name}\"") else { return };
    desk.bucket.put("c", "text");
    desk.submit("s3://scans/c");
    desk.work();
    assert_eq!(desk.bucket.all()["out/c"], "TEXT", "{:?}", desk.jobs());
    fs::write(desk.at("free/more"), "2").unwrap();
    let url = match &db.queue.database {
        Place::Url(url) => url.0.clone(),
        Place::UrlFile(_) => panic!(),
    };
    let mut retry = Command::new(env!("CARGO_BIN_EXE_unwedge"));
    retry.args(["jobs", "retry", "1", "--queue", &url]).env("HOME", desk.dir.path());
    assert!(retry.output().unwrap().status.success());
    // whatever becomes of it on the way
    fs::write(desk.at("free/fail"), "").unwrap();
    desk.work();
    assert_eq!(desk.jobs()[0][..2], ["retryable", "failed"], "{:?}", desk.jobs());
    fs::remove_file(desk.at("free/fail")).unwrap();
    // the server goes away before the new one is there
    desk.bucket.rule(|question| {
        if question.starts_with("HEAD /out/") {
            Act::Answer(500, "InternalError")
        } else {
            Act::Pass
        }
    });
    for _ in 0..2 {
        desk.hasten();
        desk.work();
        assert_eq!(desk.jobs()[0][..2], ["retryable", "infrastructure"], "{:?}", desk.jobs());
    }
    assert_eq!(fs::read_to_string(desk.at("free/runs")).unwrap(), "run\n".repeat(3), "kept");
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    desk.work();
    // a person picks: the old one is neither called the new one, nor written over
    assert_eq!(desk.jobs()[0][..2], ["quarantined", "conflict"], "{:?}", desk.jobs());
    assert_eq!(desk.bucket.all()["out/c"], "TEXT");
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let test = "objects::nothing_that_is_there_is_written_over";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    for key in ["in/other", "in/same"] {
        desk.bucket.put(key, "text");
    }
    desk.bucket.put("out/same", "TEXT");
    desk.bucket.put("out/other", "mine");
    desk.pass();
    desk.work();
    let rows = db.rows("SELECT state, class FROM unwedge_jobs ORDER BY input");
    assert_eq!(rows[0], ["quarantined", "conflict"], "{:?}", desk.jobs());
    // between two that are there a person picks
    let said = &db.rows("SELECT message FROM unwedge_jobs WHERE class = 'conflict'")[0][0];
    let kept = said.rsplit_once("; its result is kept as ").map(|it| PathBuf::from(it.1));
    assert_eq!(kept.and_then(|it| fs::read_to_string(it).ok()).as_deref(), Some("TEXT"), "{said}");
    assert_eq!(rows[1][0], "done", "{:?}", desk.jobs());
    assert_eq!(desk.bucket.all()["out/other"], "mine");
    // nor what comes to its place between the look and the deed
    let direct = Client::to(&desk.bucket.direct_place(), "key:secret").unwrap();
    desk.bucket.rule(move |question| {
        if question == "PUT /out/late" {
            direct.write("out/late", b"mine").unwrap();
        }
        Act::Pass
    });
    desk.bucket.put("in/late", "text");
    desk.pass();
    desk.work();
    assert_eq!(desk.bucket.all()["out/late"], "mine", "{:?}", desk.jobs());
    // nor is it taken for what a try before has put there, because that one was about to
    desk.bucket.put("in/away", "text");
    desk.bucket.put("out/away", "mine");
    desk.bucket.rule(|question| {
        if question == "HEAD /out/away" { Act::Answer(503, "SlowDown") } else { Act::Pass }
    });
    desk.pass();
    desk.work();
    desk.bucket.rule(|_| Act::Pass);
    desk.hasten();
    desk.work();
    let row = desk.jobs().pop().unwrap();
    assert_eq!(row[..2], ["quarantined", "conflict"], "{row:?}");
    desk.pass();
    let all = desk.bucket.all();
    assert!(all["out/away"] == "mine" && all.contains_key("in/away"), "{all:?}");
}

#[test]
fn the_same_bytes_put_there_again_are_another_job() {
    let test = "objects::the_same_bytes_put_there_again_are_another_job";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    for count in 1..=2 {
        desk.bucket.put("in/a", "text");
        desk.pass();
        desk.work();
        desk.pass();
        assert_eq!(desk.bucket.all(), texts(&[("out/a", "TEXT")]), "{:?}", desk.jobs());
        assert_eq!(desk.jobs().len(), count);
        // whoever takes the result away makes room for another, in another second
        let version = desk.bucket.direct.head("out/a").unwrap().version();
        desk.bucket.direct.delete("out/a", &version).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn where_a_listing_tells_no_version_an_object_is_known_by_its_time() {
    let test = "objects::where_a_listing_tells_no_version_an_object_is_known_by_its_time";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.bucket.rule(|question| if question == "GET /" { Act::NoVersions } else { Act::Pass });
    desk.bucket.put("in/a", "text");
    desk.bucket.put("in/b", "old");
    desk.pass();
    std::thread::sleep(Duration::from_millis(1100));
    desk.bucket.put("in/b", "new");
    desk.work();
    let rows = desk.jobs();
    assert_eq!((rows[0][0].as_str(), rows[1][0].as_str()), ("done", "quarantined"), "{rows:?}");
    desk.pass();
    desk.work();
    desk.pass();
    assert_eq!(
        desk.bucket.all(),
        texts(&[("out/a", "TEXT"), ("out/b", "NEW")]),
        "{:?}",
        desk.jobs()
    );
}

#[test]
fn nothing_to_be_changed_is_done_only_where_something_is() {
    let test = "objects::nothing_to_be_changed_is_done_only_where_something_is";
    let db = Db::file();
    let kind = "output = \"/srv/{name}\"\n[exit]\n1 = \"unchanged\"\n[retry]\nattempts = 1\n";
    let Some(desk) = Desk::new(test, &db, kind) else { return };
    let file = desk.at("jobs.d/t.toml");
    let text = fs::read_to_string(&file).unwrap().replace(COPY, "exit 1");
    fs::write(&file, text).unwrap();
    desk.bucket.put("in/a", "text");
    desk.bucket.put("in/b", "text");
    desk.bucket.put("out/b", "there");
    desk.pass();
    desk.work();
    let rows = db.rows("SELECT state, message FROM unwedge_jobs ORDER BY input");
    assert!(
        rows[0][0] == "quarantined" && rows[0][1].contains("nothing was to be changed there"),
        "{rows:?}"
    );
    assert_eq!(rows[1][0], "done", "{rows:?}");
    desk.pass();
    assert_eq!(desk.bucket.all(), texts(&[("in/a", "text"), ("out/b", "there")]));
}

#[test]
fn a_job_works_on_the_version_that_it_was_made_of_or_on_none() {
    let test = "objects::a_job_works_on_the_version_that_it_was_made_of_or_on_none";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.bucket.put("in/a", "old");
    desk.bucket.put("in/gone", "x");
    desk.pass();
    desk.bucket.put("in/a", "new");
    let version = desk.bucket.direct.head("in/gone").unwrap().version();
    desk.bucket.direct.delete("in/gone", &version).unwrap();
    desk.work();
    let rows = desk.jobs();
    assert!(rows.iter().all(|row| row[..2] == ["quarantined", "permanent"]), "{rows:?}");
    assert!(rows[0][5].contains("it is another one by now"), "{rows:?}");
    assert!(rows[1][5].contains("there is no such object"), "{rows:?}");
    desk.pass();
    desk.work();
    desk.pass();
    assert_eq!(desk.bucket.all(), texts(&[("out/a", "NEW")]));
}

#[test]
fn what_is_too_large_for_this_host_is_not_begun_and_waits_until_there_is_room() {
    let test =
        "objects::what_is_too_large_for_this_host_is_not_begun_and_waits_until_there_is_room";
    if let Some(reason) = isolate::missing() {
        return isolate::skip(test, reason);
    }
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.bucket.put("in/large", &"x".repeat(3 << 20));
    desk.bucket.put("in/small", "text");
    desk.pass();
    // it has a disk of so many MiB for what is fetched, one of which must stay free
    let work = |mib: u32| {
        let script = format!(
            "mkdir -p {0} && mount -t tmpfs -o size={mib}m,mode=1777 none {0} && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- {1} --config {2} --once",
            desk.at("state/queue/spare").display(),
            env!("CARGO_BIN_EXE_unwedge-runner"),
            desk.at("unwedge.toml").display()
        );
        let _ = fs::remove_file(desk.at("state/queue/runner.json"));
        let done = Command::new("/usr/bin/unshare")
            .args(["--mount", "--", "/bin/sh", "-c", &script])
            .env("UNWEDGE__JOBS__MIN_FREE_MIB", "1")
            .env("UNWEDGE__JOBS__MIN_FREE_INODES", "1")
            .current_dir("/")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    work(3);
    let rows = desk.jobs();
    assert_eq!(rows[0][..5], ["pending", "infrastructure", "0", "0", "1"], "{rows:?}");
    assert!(
        rows[0][5].contains("it has 3 MiB, and of ")
            && rows[0][5].contains(" 3 MiB are free, 1 must stay so"),
        "{rows:?}"
    );
    assert_eq!(rows[1][0], "done", "what fits is done meanwhile: {rows:?}");
    desk.hasten();
    work(8);
    assert_eq!(desk.jobs()[0][0], "done", "{:?}", desk.jobs());
}

#[test]
fn documents_of_a_bucket_become_pages_and_a_first_tool_that_dies_half_way_is_seen() {
    let test =
        "objects::documents_of_a_bucket_become_pages_and_a_first_tool_that_dies_half_way_is_seen";
    for needed in ["/usr/bin/soffice", "/usr/bin/pdftotext"] {
        if !Path::new(needed).exists() {
            return isolate::skip(test, &format!("needs {needed}"));
        }
    }
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    let free = |name: &str| desk.at("free").join(name).display().to_string();
    let tool = |name: &str, text: &str| {
        fs::write(free(name), text).unwrap();
        fs::set_permissions(free(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let shipped = root().join("jobs.example");
    tool("office", &fs::read_to_string(shipped.join("office-to-pdf")).unwrap());
    // the tool as it is, until somebody breaks it
    tool(
        "first",
        &format!(
            "#!/bin/sh\ntest -e {} && exit 127\nexec {} \"$@\"\n",
            free("dead"),
            free("office")
        ),
    );
    tool("second", "#!/bin/sh\n{ echo of the second; head -c 500 /dev/zero; } >\"$2\"\n");
    let kind = fs::read_to_string(shipped.join("office.toml"))
        .unwrap()
        .replace("/srv/jobs/pdf/{stem}.pdf", "/srv/{stem}.pdf")
        .replace("/usr/lib/unwedge/office-to-pdf", &free("first"));
    let second = format!(
        "[[tier]]\nname = \"second\"\nargv = [\"{}\", \"{{input}}\", \"{{output}}\"]\n\n[retry]",
        free("second")
    );
    fs::write(desk.at("jobs.d/t.toml"), kind.replace("[retry]", &second)).unwrap();
    for (key, text) in [
        ("in/a.html", "<html><body><h1>Heading</h1><p>Some words</p></body></html>"),
        ("in/b.txt", "plain words"),
        ("in/c.rtf", "{\\rtf1\\ansi rich words}"),
        ("in/broken.docx", "PK\u{3}\u{4}no such thing"),
        ("in/empty.odt", ""),
    ] {
        desk.bucket.put(key, text);
    }
    desk.pass();
    desk.work();
    desk.pass();
    let all = desk.bucket.all_bytes();
    let keys: Vec<&str> = all.keys().map(String::as_str).collect();
    let there = ["in/broken.docx", "in/empty.odt", "out/a.pdf", "out/b.pdf", "out/c.pdf"];
    assert_eq!(keys, there, "{:?}", desk.jobs());
    for (key, words) in
        [("out/a.pdf", "Some words"), ("out/b.pdf", "plain words"), ("out/c.pdf", "rich words")]
    {
        fs::write(free("page.pdf"), &all[key]).unwrap();
        let read =
            Command::new("/usr/bin/pdftotext").args([&free("page.pdf"), "-"]).output().unwrap();
        let read = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(read.contains(words), "{key}: {read}");
    }
    let aside = db.rows("SELECT state, class, tier FROM unwedge_jobs WHERE state <> 'done'");
    assert_eq!(aside, vec![["quarantined", "permanent", "libreoffice"]; 2]);
    // every document goes on becoming something, and that is how it would stay unseen
    fs::write(free("dead"), "").unwrap();
    for nth in 0..10 {
        desk.bucket.put(&format!("in/later{nth}.txt"), "words");
    }
    desk.pass();
    desk.work();
    desk.pass();
    let all = desk.bucket.all_bytes();
    assert!(all["out/later9.pdf"].starts_with(b"of the second"), "{:?}", desk.jobs());
    let lanes = Command::new(env!("CARGO_BIN_EXE_unwedge"))
        .arg("--config")
        .arg(desk.at("unwedge.toml"))
        .args(["lanes", "list"])
        .output()
        .unwrap();
    let lanes = String::from_utf8_lossy(&lanes.stdout).into_owned();
    assert!(lanes.contains("degraded"), "{lanes}");
}

#[test]
fn what_is_not_here_is_fetched_and_delivered_by_the_types_own_commands() {
    let test = "objects::what_is_not_here_is_fetched_and_delivered_by_the_types_own_commands";
    let db = Db::file();
    let kind = "output = \"/nowhere/out/{name}\"\n\
        fetch = { argv = [\"/bin/cp\", \"FREE/{name}\", \"{to}\"] }\n\
        deliver = { argv = [\"/bin/cp\", \"{from}\", \"FREE/{name}.done\"] }\n[retry]\nattempts = 1\n";
    let Some(desk) = Desk::new(test, &db, kind) else { return };
    fs::write(desk.at("free/a"), "far").unwrap();
    fs::write(desk.at("free/here"), "near").unwrap();
    desk.submit("/nowhere/in/a");
    desk.submit("/nowhere/in/none");
    desk.work();
    assert_eq!(fs::read_to_string(desk.at("free/a.done")).unwrap(), "FAR", "{:?}", desk.jobs());
    let rows = desk.jobs();
    assert!(rows[1][1] == "failed" && rows[1][5].contains("cannot stat"), "{rows:?}");
    // what is here is not fetched
    let file = desk.at("jobs.d/t.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("fetch = { argv = [\"/bin/cp\"", "fetch = { argv = [\"/bin/false\""),
    )
    .unwrap();
    desk.submit(&desk.at("free/here").display().to_string());
    desk.work();
    assert_eq!(fs::read_to_string(desk.at("free/here.done")).unwrap(), "NEAR", "{:?}", desk.jobs());
    assert_eq!(desk.spare(), 0);
    // storage that this host watches, and that is not open, is left alone: another host may do it
    let mut at = serde_json::to_value(unwedge::sys::clock::Now::take().unwrap().stamp()).unwrap();
    let gate = serde_json::json!({ "schema": 1, "at": at.take(), "paths": { "/nowhere": { "verdict": "dead", "open": false } } });
    fs::write(desk.at("run/storage.json"), gate.to_string()).unwrap();
    desk.submit("/nowhere/in/b");
    desk.work();
    let row = desk.jobs().pop().unwrap();
    assert_eq!(row[..5], ["pending", "", "0", "0", "0"], "{row:?}");
    // and where whoever put it in knew nothing of that storage, it goes back as soon as it is begun here
    fs::remove_file(desk.at("run/storage.json")).unwrap();
    desk.submit("/nowhere/in/c");
    fs::write(desk.at("run/storage.json"), gate.to_string()).unwrap();
    desk.work();
    let row = desk.jobs().pop().unwrap();
    assert_eq!(row[..5], ["pending", "infrastructure", "0", "0", "1"], "{row:?}");
    assert_eq!(row[5], "/nowhere is not open on this host");
}

#[test]
fn what_was_carried_must_be_what_the_other_side_says_that_it_has() {
    const SUM: &str =
        "set -- \"$1\" \"$2\" $(sha256sum \"$1\"); echo unwedge-sum: $(stat -c %s \"$1\") $3";
    let test = "objects::what_was_carried_must_be_what_the_other_side_says_that_it_has";
    let db = Db::file();
    let kind = "output = \"/nowhere/out/{name}\"\n\
        fetch = { argv = [\"/bin/bash\", \"FREE/fetch\", \"FREE/{name}\", \"{to}\"] }\n\
        deliver = { argv = [\"/bin/bash\", \"FREE/deliver\", \"{from}\", \"FREE/{name}.done\"], sum = \"required\" }\n";
    let Some(desk) = Desk::new(test, &db, kind) else { return };
    let script = |name: &str, text: &str| fs::write(desk.at(name), text).unwrap();
    let good = format!("cp \"$1\" \"$2\"; {SUM}");
    for name in ["a", "b", "c", "d", "e"] {
        fs::write(desk.at(&format!("free/{name}")), "far").unwrap();
    }
    let last = |desk: &Desk<'_>| desk.jobs().pop().unwrap();
    script("free/fetch", &good);
    script("free/deliver", &good);
    desk.submit("/nowhere/in/a");
    desk.work();
    assert_eq!(fs::read_to_string(desk.at("free/a.done")).unwrap(), "FAR", "{:?}", desk.jobs());

    // one that was cut short, by a command that ends with 0, comes to no command of the job
    script("free/fetch", &good.replace("cp \"$1\"", "head -c 2 \"$1\" >"));
    desk.submit("/nowhere/in/b");
    desk.work();
    let row = last(&desk);
    assert_eq!(row[..5], ["retryable", "infrastructure", "0", "1", "1"], "{row:?}");
    assert!(row[5].starts_with("there are 3 bytes, sha256 "), "{row:?}");
    assert!(row[5].contains(" there and 2 bytes, "), "{row:?}");
    assert!(!desk.at("free/b.done").exists());

    // a result that arrives otherwise is kept, and the next try delivers the same
    script("free/deliver", &good.replace("$3", "${3//[0-4]/5}"));
    let here = desk.at("free/c").display().to_string();
    desk.submit(&here);
    desk.work();
    let row = last(&desk);
    assert_eq!(row[..5], ["retryable", "infrastructure", "0", "1", "1"], "{row:?}");
    assert!(row[5].starts_with("deliver: there are 3 bytes"), "{row:?}");
    assert!(row[5].ends_with("; its result is kept"), "{row:?}");
    fs::remove_file(desk.at("free/c.done")).unwrap();
    script("free/deliver", &good);
    db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 WHERE id = 3 RETURNING id");
    desk.work();
    assert_eq!(fs::read_to_string(desk.at("free/c.done")).unwrap(), "FAR", "{:?}", desk.jobs());

    // also where the input was fetched: by its bytes it is known again
    script("free/fetch", &good);
    script("free/deliver", &good.replace("$3", "${3//[0-4]/5}"));
    desk.submit("/nowhere/in/e");
    desk.work();
    let row = last(&desk);
    assert!(row[5].ends_with("; its result is kept"), "{row:?}");
    let runs = || fs::read_to_string(desk.at("free/runs")).unwrap().lines().count();
    let before = runs();
    fs::remove_file(desk.at("free/e.done")).unwrap();
    script("free/deliver", &good);
    db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 WHERE id = 4 RETURNING id");
    desk.work();
    assert_eq!(fs::read_to_string(desk.at("free/e.done")).unwrap(), "FAR", "{:?}", desk.jobs());
    assert_eq!(runs(), before, "it is not made again");

    // what has to be said and is not is the type's fault
    script("free/deliver", "cp \"$1\" \"$2\"");
    desk.submit(&desk.at("free/d").display().to_string());
    desk.work();
    let row = last(&desk);
    assert_eq!(row[..5], ["pending", "configuration", "0", "0", "1"], "{row:?}");
    assert!(row[5].contains("it did not say `unwedge-sum: BYTES SHA256`"), "{row:?}");
}

#[test]
fn a_server_is_understood_in_all_that_it_says() {
    let test = "objects::a_server_is_understood_in_all_that_it_says";
    let Some(bucket) = Bucket::new(test) else { return };
    let client = Client::to(&bucket.place, "key:secret").unwrap();
    // more than a page of them
    for nth in 0..1005 {
        bucket.put(&format!("many/{nth:04}"), "x");
    }
    let found = client.list("many/", SOON).unwrap();
    let last = found.last().unwrap();
    assert_eq!((found.len(), last.key.as_str()), (1005, "many/1004"));
    assert_eq!(client.list("none/", SOON).unwrap(), []);
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let big: Vec<u8> = (0..3_000_000_u32).map(|nth| nth.to_le_bytes()[0] % 251).collect();
    fs::write(&from, &big).unwrap();
    client.put("big", &from, "m-1", None).unwrap();
    let head = client.head("big").unwrap();
    assert!(head.is(&head.version()) && head.made_by.as_deref() == Some("m-1"), "{head:?}");
    let Head { etag, size, sha256, written_ms, now_ms, .. } = head.clone();
    assert_eq!((size, sha256.map(|it| it.len()), etag.len()), (Some(3_000_000), Some(64), 32));
    assert!(now_ms.unwrap() - written_ms.unwrap() < 60_000);
    client.get("big", Some(&head.version()), &to, 0).unwrap();
    assert_eq!(fs::read(&to).unwrap(), big);
    // what came otherwise than it was put there is nothing
    bucket.rule(|question| if question == "GET /big" { Act::Damage } else { Act::Pass });
    let told = client.get("big", None, &dir.path().join("damaged"), 0).unwrap_err();
    assert!(matches!(told, Trouble::Damaged(_)), "{told:?}");
    bucket.rule(|_| Act::Pass);
    assert_eq!(client.head("none"), Err(Trouble::Absent));
    let another = Version { etag: "another".to_owned(), ..head.version() };
    let later = Version { written_s: head.version().written_s + 1, ..head.version() };
    assert_eq!(client.delete("big", &another), Err(Trouble::Changed));
    assert_eq!(
        client.delete("big", &later),
        Err(Trouble::Changed),
        "the same bytes, put there again"
    );
    assert_eq!(client.delete("none", &another), Ok(()));
    // a key that a URL takes for a way leads to another object
    let elsewhere = "in/../big";
    assert!(matches!(client.head(elsewhere), Err(Trouble::Unfit(_))));
    assert!(matches!(client.get(elsewhere, None, &to, 0), Err(Trouble::Unfit(_))));
    assert!(matches!(client.put(elsewhere, &from, "m-1", None), Err(Trouble::Unfit(_))));
    assert!(matches!(client.delete(elsewhere, &another), Err(Trouble::Unfit(_))));
    for (act, is_away) in [
        (Act::Answer(502, ""), true),
        (Act::Answer(503, "SlowDown"), true),
        (Act::Answer(429, ""), true),
        // of whatever stands before it, or of nobody that knows of objects
        (Act::Answer(404, ""), true),
        (Act::Answer(200, "Login"), true),
        (Act::Answer(400, "RequestTimeout"), true),
        (Act::Reset, true),
        (Act::Mute, true),
        (Act::Answer(403, "InvalidAccessKeyId"), false),
        (Act::Answer(403, "RequestTimeTooSkewed"), false),
    ] {
        bucket.rule(move |_| act);
        let told = client.list("x", SOON).unwrap_err();
        assert_eq!(matches!(told, Trouble::Away(_)), is_away, "{told:?}");
        assert!(!told.to_string().contains("Signature="), "{told}");
        assert!(client.answers().is_err());
    }
    bucket.rule(|_| Act::Answer(403, "AccessDenied"));
    assert_eq!(client.answers(), Ok(()), "who may not list may well fetch");
    bucket.rule(|_| Act::Answer(404, "NoSuchBucket"));
    assert!(matches!(client.answers(), Err(Trouble::Refused(_))));
    assert!(matches!(client.head("big"), Err(Trouble::Refused(_))), "and no object that is gone");
    bucket.rule(|_| Act::Answer(200, "Login"));
    assert!(matches!(client.head("big"), Err(Trouble::Away(_))));
}

#[test]
fn what_is_signed_holds_before_whoever_checks_it() {
    isolate::isolated(
        concat!(module_path!(), "::what_is_signed_holds_before_whoever_checks_it"),
        || {
            let test = "objects::what_is_signed_holds_before_whoever_checks_it";
            let Some(bucket) = Bucket::new(test) else { return };
            let gate = bucket.gate(&["eu-central-1", "key", "secret"], 0);
            let dir = tempfile::tempdir().unwrap();
            bucket.with_names(dir.path());
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            let keys = [
                "a b",
                "a+b",
                "100%",
                "%41",
                "%2e%2e",
                "ü-日本",
                "a?b",
                "a#b",
                "a=b&c=d",
                "a;:@,!$'()*",
            ];
            let more = ["[x]{y}|z^`\\\"<>", "a//b", "/a", "a/"];
            for path_style in [true, false] {
                let client = Client::to(&bucket.through(&gate, path_style), "key:secret").unwrap();
                assert_eq!(client.answers(), Ok(()), "{}", gate.refused());
                for key in keys.iter().chain(&more) {
                    fs::write(&from, key).unwrap();
                    client.put(key, &from, "q-1", None).unwrap();
                    let version = client.head(key).unwrap().version();
                    client.get(key, Some(&version), &to, 0).unwrap();
                    assert_eq!(fs::read_to_string(&to).unwrap(), **key);
                    fs::remove_file(&to).unwrap();
                    let found = client.list(key, SOON).unwrap();
                    assert_eq!(found.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), [*key]);
                    client.delete(key, &version).unwrap();
                    assert_eq!(client.head(key), Err(Trouble::Absent));
                    // past the gate, too: it was this key, and not one that is encoded twice
                    assert_eq!(bucket.list(), []);
                }
                // more than a page of them: the word that a page ends with has odd signs in it
                for nth in 0..1001 {
                    bucket.put(&format!("many/{nth:04} +"), "x");
                }
                assert_eq!(client.list("many/", SOON).unwrap().len(), 1001);
                for object in bucket.list() {
                    bucket.direct.delete(&object.key, &object.version).unwrap();
                }
                assert_eq!(gate.refused(), "");
            }
            let lent = bucket.gate(&["eu-central-1", "key", "secret", "to+ken/="], 0);
            let client = Client::to(&bucket.through(&lent, true), "key:secret to+ken/=").unwrap();
            client.write("a", b"x").unwrap();
            assert_eq!((client.list("", SOON).unwrap().len(), lent.refused()), (1, String::new()));
        },
    );
}

#[test]
fn who_signs_otherwise_is_refused_with_the_reason_in_each_way_of_asking() {
    let test = "objects::who_signs_otherwise_is_refused_with_the_reason_in_each_way_of_asking";
    let Some(bucket) = Bucket::new(test) else { return };
    bucket.put("a", "x");
    let gate = bucket.gate(&["eu-central-1", "key", "secret"], 0);
    let [fast, slow] = [400, -1000].map(|s| bucket.gate(&["eu-central-1", "key", "secret"], s));
    let there = bucket.through(&gate, true);
    let elsewhere = unwedge::sys::s3::Place { region: "us-east-1".to_owned(), ..there.clone() };
    let (fast, slow) = (bucket.through(&fast, true), bucket.through(&slow, true));
    for (place, secret, words) in [
        (&there, "key:other", "HTTP 403 SignatureDoesNotMatch"),
        (&there, "other:secret", "HTTP 403 InvalidAccessKeyId"),
        (&there, "key:secret to+ken", "HTTP 400 InvalidToken"),
        (&elsewhere, "key:secret", "is it the region us-east-1, and this endpoint?"),
        (
            &fast,
            "key:secret",
            "AccessDenied: the clocks of this host and of the server differ by 6 min",
        ),
        (
            &slow,
            "key:secret",
            "AccessDenied: the clocks of this host and of the server differ by 16 min",
        ),
    ] {
        let client = Client::to(place, secret).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "x").unwrap();
        let version = Version::default();
        for told in [
            client.answers().err(),
            client.list("", SOON).err(),
            client.head("a").err(),
            client.get("a", None, &dir.path().join("y"), 0).err(),
            client.put("b", &file, "q-1", None).err(),
            client.write("b", b"x").err(),
            client.delete("a", &version).err(),
        ] {
            let told = told.expect(words);
            assert!(matches!(&told, Trouble::Refused(why) if why.contains(words)), "{told:?}");
        }
    }
    assert_eq!(bucket.all(), texts(&[("a", "x")]));
    // a bucket that lies elsewhere will not be here by waiting, and what may not be seen is not written over
    let client = Client::to(&bucket.place, "key:secret").unwrap();
    bucket.rule(|_| Act::Answer(301, "PermanentRedirect"));
    assert!(matches!(client.head("a"), Err(Trouble::Refused(_))));
    bucket.rule(|_| Act::Answer(403, "AccessDenied"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let told = client.put("b", file.path(), "q-1", None).unwrap_err().to_string();
    assert!(told.contains("without the right to list (s3:ListBucket)"), "{told}");
}

#[test]
fn a_sign_of_life_in_a_bucket_is_told_by_its_servers_clock() {
    let test = "objects::a_sign_of_life_in_a_bucket_is_told_by_its_servers_clock";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    desk.configure(
        "[[heartbeat]]\nname = \"scan\"\nbucket = \"scans\"\nkey = \"beat\"\nmax_age = \"1h\"\n",
    );
    let told = || {
        let said = desk.pass();
        let metrics = fs::read_to_string(desk.at("prom/unwedge_jobs.prom")).unwrap();
        let of_it =
            |line: &&str| line.starts_with("unwedge_heartbeat_state") && line.ends_with(" 1");
        let line = metrics.lines().find(of_it).unwrap_or_else(|| panic!("{said}"));
        line.split('"').nth(3).unwrap().to_owned()
    };
    assert_eq!(told(), "absent");
    desk.bucket.put("beat", "x");
    assert_eq!(told(), "fresh");
    desk.bucket.rule(|_| Act::Answer(502, ""));
    assert_eq!(told(), "unknown");
}

#[test]
fn a_runner_gives_a_sign_of_life_in_a_bucket_and_in_a_file() {
    let test = "objects::a_runner_gives_a_sign_of_life_in_a_bucket_and_in_a_file";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    let place = |text: &str| {
        let old = fs::read_to_string(desk.at("unwedge.toml")).unwrap();
        fs::write(desk.at("unwedge.toml"), old.replace("[jobs]\n", &format!("[jobs]\n{text}\n")))
            .unwrap();
    };
    let lives = |text: &str| {
        let sign: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            (sign["state"].as_str(), sign["schema"].as_u64()),
            (Some("idle"), Some(1)),
            "{sign}"
        );
        assert!(
            sign["version"].is_string()
                && sign["utc"].as_str().unwrap().ends_with('Z')
                && sign["host"] == unwedge::probes::witness::host()
                && sign["queue"] == true,
            "{sign}"
        );
    };
    place("sign_bucket = \"scans\"\nsign_key = \"beats/{host}\"");
    let mut runner = desk.runner(&[]);
    desk.until(|| desk.bucket.all().keys().any(|key| key.starts_with("beats/")));
    runner.kill().unwrap();
    runner.wait().unwrap();
    let all = desk.bucket.all();
    assert!(!all.contains_key("beats/{host}"));
    lives(all.values().next().unwrap());
    desk.configure("");
    place(&format!("sign_path = \"{}\"", desk.at("free/beat").display()));
    let mut runner = desk.runner(&[]);
    desk.until(|| desk.at("free/beat").exists());
    runner.kill().unwrap();
    runner.wait().unwrap();
    lives(&fs::read_to_string(desk.at("free/beat")).unwrap());
}

#[test]
fn nothing_of_an_errand_is_left_when_its_helper_is_killed() {
    let test = "objects::nothing_of_an_errand_is_left_when_its_helper_is_killed";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"/srv/{name}\"") else { return };
    let reached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reached);
    desk.bucket.rule(move |question| {
        if question.starts_with("GET /in/") && !seen.swap(true, Ordering::SeqCst) {
            return Act::Mute;
        }
        Act::Pass
    });
    // long enough that it is still at it when that is looked for
    let config = fs::read_to_string(desk.at("unwedge.toml")).unwrap();
    fs::write(desk.at("unwedge.toml"), config.replace("timeout = \"2s\"", "timeout = \"1m\""))
        .unwrap();
    desk.bucket.put("in/a", "text");
    let mut runner = desk.runner(&[]);
    desk.until(|| reached.load(Ordering::SeqCst));
    let of = |parent: u32| -> Vec<procfs::process::Stat> {
        let all = procfs::process::all_processes().unwrap().flatten();
        let all = all.filter_map(|it| it.stat().ok());
        all.filter(|it| it.state != 'Z' && it.ppid.cast_unsigned() == parent).collect()
    };
    let helper = of(runner.id()).into_iter().find(|it| it.comm.starts_with("uj")).unwrap();
    let errand = of(helper.pid.cast_unsigned()).remove(0);
    kill_process(Pid::from_raw(helper.pid).unwrap(), Signal::KILL).unwrap();
    let is_there = || {
        let now = procfs::process::Process::new(errand.pid).and_then(|it| it.stat());
        now.is_ok_and(|it| it.starttime == errand.starttime && it.state != 'Z')
    };
    let start = Instant::now();
    while is_there() {
        assert!(start.elapsed().as_secs() < 10, "{}: {}", errand.comm, desk.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn a_smoke_test_goes_through_an_intake_and_leaves_nothing() {
    let test = "objects::a_smoke_test_goes_through_an_intake_and_leaves_nothing";
    let db = Db::file();
    let Some(desk) = Desk::new(test, &db, "output = \"FREE/{name}.out\"") else { return };
    fs::create_dir(desk.at("free/in")).unwrap();
    chown(desk.at("free/in"), Some(NOBODY), Some(NOBODY)).unwrap();
    let dir = format!(
        "{INTAKE}[[intake]]\nname = \"dir\"\ntype = \"t\"\npath = \"{}\"\nrule = \"marker\"\n",
        desk.at("free/in").display()
    );
    desk.configure(&dir);
    fs::write(desk.at("free/one.txt"), "text").unwrap();
    let smoke = |via: &str, timeout: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .arg("--config")
            .arg(desk.at("unwedge.toml"))
            .args(["jobs", "smoke", "--via", via, "--timeout", timeout, "--file"])
            .arg(desk.at("free/one.txt"))
            .current_dir("/")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let left = || {
        let files = |name: &str| fs::read_dir(desk.at(name)).unwrap().count();
        (desk.jobs().len(), desk.bucket.all().len(), files("free/in"), files("free"))
    };
    // nobody is there to take it in
    let (code, said) = smoke("in", "1s");
    assert!(code == Some(1) && said.contains("nobody has taken it in in time"), "{said}");
    let (code, said) = smoke("none", "1s");
    assert!(code == Some(1) && said.contains("there is no [[intake]] called none"), "{said}");
    assert_eq!(left(), (0, 0, 0, 2));
    let mut runner = desk.runner(&[]);
    for via in ["in", "dir"] {
        let (code, said) = smoke(via, "60s");
        assert!(
            code == Some(0) && said.starts_with("the intake and its queue work"),
            "{said} {}",
            desk.said()
        );
    }
    // what says that it ran is its type's
    assert_eq!(left(), (0, 0, 0, 3));
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn a_server_is_known_by_the_roots_that_are_named_and_by_no_other() {
    let test = "objects::a_server_is_known_by_the_roots_that_are_named_and_by_no_other";
    let Some(server) = crate::support::s3::with_tls(test) else { return };
    let dir = crate::support::postgres::cluster(test).unwrap().dir.clone();
    let client = |host: &str, roots: &str| {
        let place = unwedge::sys::s3::Place {
            endpoint: format!("https://{host}:{}", server.port),
            region: "us-east-1".to_owned(),
            bucket: "a-bucket".to_owned(),
            path_style: true,
            ca_file: Some(dir.join(roots)),
            timeout_ms: 20_000,
        };
        Client::to(&place, "key:secret").unwrap()
    };
    // it is reached, and says that there is no such bucket
    let told = client("localhost", "right.pem").answers().unwrap_err();
    assert!(matches!(&told, Trouble::Refused(why) if why.contains("NoSuchBucket")), "{told:?}");
    for (host, roots) in [("localhost", "wrong.pem"), ("127.0.0.1", "right.pem")] {
        let told = client(host, roots).answers().unwrap_err();
        assert!(matches!(&told, Trouble::Away(why) if why.contains("certificate")), "{told:?}");
    }
}
