//! Files that become jobs: when, once, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use unwedge::config::jobs::Keep;
use unwedge::config::queue::Database as Place;
use unwedge::decide::attempts::State;
use unwedge::probes::records::{self, UpkeepState};
use unwedge::queue::store::Store;
use unwedge::queue::store::change::Change;
use unwedge::queue::store::listing::Which;
use unwedge::sys::clock::Deadline;

use crate::store::{Db, claim, ending, worker};
use crate::support::isolate;

/// Who the program becomes.
const NOBODY: u32 = 65534;

/// A directory, and a host that takes in what lies there.
struct Desk<'a> {
    dir: tempfile::TempDir,
    db: &'a Db,
}

impl<'a> Desk<'a> {
    fn new(db: &'a Db, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        for name in ["in", "run", "sentinels", "jobs.d", "state", "state/queue", "prom"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["", "in", "state/queue", "prom"] {
            own(&dir.path().join(name));
        }
        let at = dir.path().display();
        fs::write(
            dir.path().join("jobs.d/t.toml"),
            format!("output = \"{at}/out/{{name}}\"\n[[tier]]\nargv = [\"/bin/true\"]\n"),
        )
        .unwrap();
        fs::write(dir.path().join("sentinels/jobs"), "armed by a test\n").unwrap();
        let Place::Url(url) = &db.queue.database else { panic!() };
        // a queue in a file is theirs who work with it
        db.open();
        if let Some(file) = url.0.strip_prefix("sqlite://") {
            let queue = Path::new(file).parent().unwrap();
            own(queue);
            for it in fs::read_dir(queue).unwrap().flatten() {
                own(&it.path());
            }
        }
        fs::write(
            dir.path().join("unwedge.toml"),
            format!(
                "[host]\nuser = \"nobody\"\nstate_dir = \"{at}/state\"\nrun_dir = \"{at}/run\"\nsentinel_dir = \"{at}/sentinels\"\ntextfile_dir = \"{at}/prom\"\n\
                 [jobs]\ndir = \"{at}/jobs.d\"\n[queue]\nadapter = \"unwedge\"\nurl = \"{}\"\n[[intake]]\nname = \"in\"\ntype = \"t\"\npath = \"{at}/in\"\n{more}",
                url.0
            ),
        )
        .unwrap();
        Self { dir, db }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("in").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// A round of the program; what it said.
    fn pass(&self) -> String {
        String::from_utf8_lossy(&self.run(&["--apply"]).stderr).into_owned()
    }

    fn run(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_unwedge-jobs"))
            .arg("--config")
            .arg(self.dir.path().join("unwedge.toml"))
            .args(args)
            .current_dir("/")
            .output()
            .unwrap()
    }

    /// The one object of a run that ended so.
    #[track_caller]
    fn object(&self, args: &[&str], code: i32) -> Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// All that is in the queue, but when somebody looked last.
    fn queue(&self) -> Vec<Vec<Vec<String>>> {
        let tables = ["jobs", "attempts", "workers", "events", "lanes", "meta"];
        let all = tables
            .map(|table| self.db.rows(&format!("SELECT * FROM unwedge_{table} ORDER BY 1, 2")));
        all.into()
    }

    /// All files below it, with what is in them and when they were written.
    fn files(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let (mut all, mut dirs) = (BTreeMap::new(), vec![self.dir.path().to_owned()]);
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).unwrap().flatten().map(|it| it.path()) {
                let it = path.symlink_metadata().unwrap();
                if it.is_dir() {
                    dirs.push(path.clone());
                }
                let text = if it.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                all.insert(path, (text, it.modified().unwrap()));
            }
        }
        all
    }

    /// The directory of the results, made.
    fn out(&self) -> PathBuf {
        let out = self.dir.path().join("out");
        fs::create_dir(&out).unwrap();
        std::os::unix::fs::chown(&out, Some(NOBODY), None).unwrap();
        out
    }

    /// So many jobs are new and so many files gone after a round.
    #[track_caller]
    fn takes(&self, new: usize, gone: usize) {
        let count = || {
            let files = fs::read_dir(self.dir.path().join("in")).unwrap().count();
            (self.db.rows("SELECT id FROM unwedge_jobs").len(), files)
        };
        let before = count();
        let said = self.pass();
        assert_eq!(count(), (before.0 + new, before.1 - gone), "{said}");
    }
}

#[test]
fn a_result_that_would_be_taken_in_again_is_refused_before_it_is_made() {
    if !can("intake::a_result_that_would_be_taken_in_again_is_refused_before_it_is_made") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "after = \"delete\"\n");
    let kind = desk.dir.path().join("jobs.d/t.toml");
    let text = fs::read_to_string(&kind).unwrap();
    fs::write(&kind, text.replace("/out/{name}", "/in/{name}.txt")).unwrap();
    desk.put("a", "x");
    desk.takes(0, 0);
    let said = desk.pass();
    assert!(said.contains("/in/a.txt, which this intake takes in again"), "{said}");
    // told apart it is none of its own
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}suffixes = [\"a\"]\n")).unwrap();
    desk.takes(1, 0);
}

/// Every job that waits is done.
fn all_done(store: &mut Store) {
    let claimed = claim(store, "w", &[], 99);
    let ends: Vec<_> = claimed.iter().map(|it| ending(it.token, State::Done)).collect();
    if !ends.is_empty() {
        store.end(&ends, "0", "w").unwrap();
    }
}

fn can(test: &str) -> bool {
    let can = rustix::process::geteuid().is_root();
    if !can {
        isolate::skip(test, "needs root: a sentinel is root's");
    }
    can
}

#[test]
fn a_file_is_taken_in_once_it_is_complete_and_only_once() {
    if !can("intake::a_file_is_taken_in_once_it_is_complete_and_only_once") {
        return;
    }
    for db in Db::both("a_file_is_taken_in_once_it_is_complete_and_only_once") {
        let desk = Desk::new(&db, "suffixes = [\".pdf\"]\n");
        desk.takes(0, 0);
        for name in ["a.pdf", "b.pdf.part", ".c.pdf", "d.txt", "e.pdf.tmp"] {
            desk.put(name, name);
        }
        desk.takes(1, 0);
        desk.takes(0, 0);
        // who has forgotten everything, because it was killed, puts nothing in twice
        desk.takes(0, 0);
        fs::rename(desk.file("b.pdf.part"), desk.file("b.pdf")).unwrap();
        desk.takes(1, 0);
        let rows = db.rows("SELECT input, output, intake FROM unwedge_jobs ORDER BY input");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0][0], desk.file("a.pdf").display().to_string());
        assert!(rows[0][1].ends_with("/out/a.pdf") && rows[0][2] == "in");
        // a listing that fails is no empty one, and what was there is offered again
        desk.put("f.pdf", "f");
        fs::rename(desk.dir.path().join("in"), desk.dir.path().join("away")).unwrap();
        assert!(desk.pass().contains("intake in: No such file"));
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NOT NULL").len(), 0);
        fs::rename(desk.dir.path().join("away"), desk.dir.path().join("in")).unwrap();
        desk.takes(1, 0);
        // and nothing at all without its permission
        fs::remove_file(desk.dir.path().join("sentinels/jobs")).unwrap();
        desk.put("g.pdf", "g");
        assert!(
            desk.pass()
                .contains("; not-armed: its sentinel is not there; would be done: intake in: ")
        );
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs").len(), 3);
    }
}

#[test]
fn a_listing_longer_than_a_pipe_is_taken_in_whole() {
    if !can("intake::a_listing_longer_than_a_pipe_is_taken_in_whole") {
        return;
    }
    for db in Db::both("a_listing_longer_than_a_pipe_is_taken_in_whole") {
        let desk = Desk::new(&db, "");
        // some 150 KiB of names
        let long = "n".repeat(200);
        for nth in 0..700 {
            desk.put(&format!("{long}{nth}"), "");
        }
        desk.takes(700, 0);
    }
}

#[test]
fn a_marker_or_three_looks_say_that_a_file_is_complete() {
    if !can("intake::a_marker_or_three_looks_say_that_a_file_is_complete") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "rule = \"marker\"\n");
    desk.put("a", "x");
    desk.takes(0, 0);
    desk.put("a.done", "");
    desk.takes(1, 0);
    // one of another name, which goes with its file
    let db = Db::file();
    let desk = Desk::new(&db, "rule = \"marker\"\nmarker = \".ok\"\nafter = \"delete\"\n");
    desk.put("a", "x");
    desk.put("a.done", "x");
    desk.takes(0, 0);
    desk.put("a.ok", "");
    desk.takes(1, 0);
    let mut store = db.open();
    worker(&mut store, "w");
    all_done(&mut store);
    desk.takes(0, 2);
    desk.put("a.done.ok", "");
    desk.takes(1, 0);
    assert!(desk.file("a.done").exists() && !desk.file("a").exists());

    // who does not stay takes three looks, and so four seconds
    let db = Db::file();
    let desk = Desk::new(&db, "rule = \"stable\"\n");
    desk.put("a", "x");
    desk.takes(1, 0);
    let grows = desk.file("b");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for nth in 0..60 {
                fs::write(&grows, "x".repeat(nth)).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        desk.takes(0, 0);
        writer.join().unwrap();
    });
    desk.takes(1, 0);
}

#[test]
fn an_input_goes_last_and_only_the_one_that_the_job_was_made_of() {
    if !can("intake::an_input_goes_last_and_only_the_one_that_the_job_was_made_of") {
        return;
    }
    for db in Db::both("an_input_goes_last_and_only_the_one_that_the_job_was_made_of") {
        let desk = Desk::new(&db, "after = \"delete\"\n");
        let mut store = db.open();
        worker(&mut store, "w");
        desk.put("a", "x");
        desk.put("b", "x");
        desk.takes(2, 0);
        desk.takes(0, 0);
        assert!(desk.file("a").exists(), "its job is not done");
        all_done(&mut store);
        // another one of the name came meanwhile: it is a job of its own, and not the old one's to delete
        desk.put("b", "another");
        desk.takes(1, 1);
        assert!(!desk.file("a").exists());
        assert_eq!(fs::read_to_string(desk.file("b")).unwrap(), "another");
        all_done(&mut store);
        desk.takes(0, 1);
        assert!(!desk.file("b").exists());
        desk.takes(0, 0);
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NULL").len(), 0);
    }
}

#[test]
fn an_input_that_comes_back_goes_only_while_what_was_made_of_it_is_there() {
    if !can("intake::an_input_that_comes_back_goes_only_while_what_was_made_of_it_is_there") {
        return;
    }
    for db in Db::both("an_input_that_comes_back_goes_only_while_what_was_made_of_it_is_there") {
        let desk = Desk::new(&db, "after = \"delete\"\n");
        let mut store = db.open();
        worker(&mut store, "w");
        let (out, kept) = (desk.out().join("a"), desk.dir.path().join("kept"));
        desk.put("a", "x");
        // as a backup has it: the same time, the same size
        fs::hard_link(desk.file("a"), &kept).unwrap();
        desk.takes(1, 0);
        all_done(&mut store);
        fs::write(&out, "made").unwrap();
        desk.takes(0, 1);
        // sent once more by whoever sends all that is not there
        fs::hard_link(&kept, desk.file("a")).unwrap();
        desk.takes(0, 1);
        // put back by whoever was not content with what was made
        fs::remove_file(&out).unwrap();
        fs::hard_link(&kept, desk.file("a")).unwrap();
        let said = desk.pass();
        assert!(
            said.contains("/in/a: it is there again")
                && said.contains("unwedge jobs retry 1 makes it anew"),
            "{said}"
        );
        desk.takes(0, 0);
        store.change(&Which::ids(&[1]), &Change::Retry, "a test", false).unwrap();
        all_done(&mut store);
        fs::write(&out, "made anew").unwrap();
        desk.takes(0, 1);
    }
}

#[test]
fn what_another_type_has_done_with_an_input_deletes_it_for_no_other() {
    if !can("intake::what_another_type_has_done_with_an_input_deletes_it_for_no_other") {
        return;
    }
    for db in Db::both("what_another_type_has_done_with_an_input_deletes_it_for_no_other") {
        let desk = Desk::new(&db, "");
        let mut store = db.open();
        worker(&mut store, "w");
        desk.put("a", "x");
        desk.takes(1, 0);
        all_done(&mut store);
        desk.takes(0, 0);
        let types = desk.dir.path().join("jobs.d");
        fs::copy(types.join("t.toml"), types.join("u.toml")).unwrap();
        let config = desk.dir.path().join("unwedge.toml");
        let text = fs::read_to_string(&config).unwrap().replace("type = \"t\"", "type = \"u\"");
        fs::write(&config, text + "after = \"delete\"\n").unwrap();
        desk.takes(1, 0);
        desk.takes(0, 0);
        db.rows("UPDATE unwedge_jobs SET state = 'done', finished_ms = changed_ms WHERE type = 'u' RETURNING id");
        desk.takes(0, 1);
    }
}

#[test]
fn an_input_that_is_another_one_by_now_is_not_worked_on_as_what_it_was() {
    if !can("intake::an_input_that_is_another_one_by_now_is_not_worked_on_as_what_it_was") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "");
    let out = desk.out();
    let work = |script: &str| {
        let kind = format!(
            "output = \"{}/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"{script}\", \"job\", \"{{input}}\", \"{{output}}\"]\n[retry]\nattempts = 1\n",
            out.display()
        );
        fs::write(desk.dir.path().join("jobs.d/t.toml"), kind).unwrap();
        let _ = fs::remove_file(desk.dir.path().join("state/queue/runner.json"));
        let done = Command::new("/usr/bin/setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .args([env!("CARGO_BIN_EXE_unwedge-runner"), "--once", "--config"])
            .arg(desk.dir.path().join("unwedge.toml"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let last = "SELECT state, coalesce(class, ''), coalesce(message, '') FROM unwedge_jobs ORDER BY id DESC LIMIT 1";
        db.rows(last).remove(0)
    };
    let another = |row: &[String]| {
        row[..2] == ["quarantined", "permanent"] && row[2].contains("another one by now")
    };
    desk.put("a", "x");
    desk.takes(1, 0);
    desk.put("a", "another");
    let row = work("cp $1 $2");
    assert!(another(&row) && !out.join("a").exists(), "{row:?}");
    // it has a job of its own; written to while that is at it, it is neither
    desk.takes(1, 0);
    let own = fs::Permissions::from_mode(0o666);
    fs::set_permissions(desk.file("a"), own).unwrap();
    let row = work("cp $1 $2; echo more >>$1");
    assert!(another(&row) && !out.join("a").exists(), "{row:?}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    desk.takes(1, 0);
    // seen as it was before it was put in, as by a host that keeps what it was told, it is no fault of its own
    let now = fs::metadata(desk.file("a")).unwrap().modified().unwrap();
    let set = |at| fs::File::options().write(true).open(desk.file("a")).unwrap().set_modified(at);
    set(now - Duration::from_secs(60)).unwrap();
    let row = work("cp $1 $2");
    assert_eq!(row[..2], ["retryable", "infrastructure"], "{row:?}");
    set(now).unwrap();
    db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
    let row = work("cp $1 $2");
    assert_eq!(row[0], "done", "{row:?}");
    assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "anothermore\n");
}

#[test]
fn one_unlucky_file_keeps_no_other_back() {
    if !can("intake::one_unlucky_file_keeps_no_other_back") {
        return;
    }
    for db in Db::both("one_unlucky_file_keeps_no_other_back") {
        let desk = Desk::new(&db, "after = \"delete\"\n");
        let at = desk.dir.path().display().to_string();
        let kind =
            format!("output = \"{at}/out/{{stem}}.txt\"\n[[tier]]\nargv = [\"/bin/true\"]\n");
        fs::write(desk.dir.path().join("jobs.d/t.toml"), kind).unwrap();
        let mut store = db.open();
        worker(&mut store, "w");
        desk.put("a.doc", "x");
        desk.takes(1, 0);
        // it would write what another job writes
        desk.put("a.pdf", "x");
        desk.put("b.pdf", "x");
        desk.put("c.pdf", "x");
        desk.takes(2, 0);
        let said = desk.pass();
        assert!(
            said.contains("a.pdf is not taken in: ")
                && said.contains("two jobs never write one file"),
            "{said}"
        );

        // nor one that may not be deleted, in a directory where everybody may delete only what is their own
        all_done(&mut store);
        let owner =
            |name: &str, uid| std::os::unix::fs::chown(desk.file(name), Some(uid), None).unwrap();
        for name in ["", "a.doc"] {
            owner(name, 0);
        }
        fs::set_permissions(desk.file(""), std::os::unix::fs::PermissionsExt::from_mode(0o1777))
            .unwrap();
        for name in ["b.pdf", "c.pdf"] {
            owner(name, NOBODY);
        }
        let said = desk.pass();
        assert!(said.contains("a.doc: Operation not permitted"), "{said}");
        let left: BTreeSet<_> =
            fs::read_dir(desk.file("")).unwrap().flatten().map(|it| it.file_name()).collect();
        assert_eq!(left, BTreeSet::from(["a.doc".into(), "a.pdf".into()]));
    }
}

#[test]
fn before_any_round_was_there_storage_that_is_named_is_not_open() {
    if !can("intake::before_any_round_was_there_storage_that_is_named_is_not_open") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "");
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    let at = desk.dir.path().display();
    fs::write(&config, format!("{text}[[mount]]\npath = \"{at}/in\"\n")).unwrap();
    desk.put("a", "x");
    // what lies in a directory on which nothing is mounted is nobody's input
    desk.takes(0, 0);
    assert!(desk.pass().contains("/in is not open"));
    // and a job of any other place needs it when its result goes there
    fs::write(&config, format!("{text}[[mount]]\npath = \"{at}/out\"\n")).unwrap();
    desk.takes(1, 0);
    let needs = db.rows("SELECT needs FROM unwedge_jobs").remove(0).remove(0);
    assert!(needs.contains("/out"), "{needs}");
}

#[test]
fn what_another_host_has_offered_from_a_directory_of_its_own_is_not_called_gone_here() {
    let test =
        "intake::what_another_host_has_offered_from_a_directory_of_its_own_is_not_called_gone_here";
    if !can(test) {
        return;
    }
    for db in Db::both(test) {
        let desk = Desk::new(&db, "after = \"delete\"\n");
        let gone = || db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NOT NULL").len();
        let mut store = db.open();
        worker(&mut store, "w");
        let another = store.all_workers(false).unwrap()[0].host.clone();
        desk.put("a", "x");
        desk.put("b", "x");
        desk.takes(2, 0);
        db.rows(&format!("UPDATE unwedge_jobs SET offered_by = '{another}' RETURNING id"));
        let away = |name: &str| desk.dir.path().join(format!("away {name}"));
        for name in ["a", "b"] {
            fs::rename(desk.file(name), away(name)).unwrap();
        }
        desk.takes(0, 0);
        assert_eq!(gone(), 0, "they may lie there");
        // what lies here as well is this host's to delete once it is done
        fs::rename(away("a"), desk.file("a")).unwrap();
        all_done(&mut store);
        desk.takes(0, 1);
        assert_eq!(gone(), 1);
        // and of a host that is there no more nobody else would say it
        store.leave("w").unwrap();
        desk.takes(0, 0);
        assert_eq!(gone(), 2);
    }
}

#[test]
fn an_intake_that_is_called_otherwise_now_goes_on_with_what_it_had() {
    let test = "intake::an_intake_that_is_called_otherwise_now_goes_on_with_what_it_had";
    if !can(test) {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "after = \"delete\"\n");
    desk.put("a", "x");
    desk.takes(1, 0);
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("name = \"in\"", "name = \"new\"")).unwrap();
    desk.takes(0, 0);
    let mut store = db.open();
    worker(&mut store, "w");
    let token = claim(&mut store, "w", &[], 1)[0].token;
    store.end(&[ending(token, State::Done)], "0", "w").unwrap();
    desk.takes(0, 1);
    assert_eq!(db.rows("SELECT intake FROM unwedge_jobs WHERE gone_ms IS NOT NULL"), [["new"]]);
}

#[test]
fn an_input_that_was_away_with_its_storage_is_known_again() {
    if !can("intake::an_input_that_was_away_with_its_storage_is_known_again") {
        return;
    }
    for db in Db::both("an_input_that_was_away_with_its_storage_is_known_again") {
        let desk = Desk::new(&db, "after = \"delete\"\n");
        let mut store = db.open();
        worker(&mut store, "w");
        desk.put("a", "x");
        desk.takes(1, 0);
        let away = desk.dir.path().join("away");
        fs::rename(desk.file("a"), &away).unwrap();
        desk.takes(0, 0);
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NULL").len(), 0);
        fs::rename(&away, desk.file("a")).unwrap();
        desk.takes(0, 0);
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NULL").len(), 1);
        all_done(&mut store);
        desk.takes(0, 1);
    }
}

#[test]
fn a_listing_in_which_a_file_cannot_be_looked_at_is_none() {
    if !can("intake::a_listing_in_which_a_file_cannot_be_looked_at_is_none") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "");
    desk.put("a", "x");
    desk.takes(1, 0);
    // names are told, and of the files nothing
    let of_dir = |mode| {
        fs::set_permissions(desk.dir.path().join("in"), PermissionsExt::from_mode(mode)).unwrap();
    };
    of_dir(0o644);
    let said = desk.pass();
    assert!(said.contains("intake in: ") && said.contains("Permission denied"), "{said}");
    assert_eq!(db.rows("SELECT id FROM unwedge_jobs WHERE gone_ms IS NOT NULL").len(), 0);
    of_dir(0o755);
    desk.takes(0, 0);
}

#[test]
fn a_queue_that_stays_mute_holds_no_intake() {
    if !can("intake::a_queue_that_stays_mute_holds_no_intake") {
        return;
    }
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let db = Db::file();
    let desk = Desk::new(&db, "");
    desk.put("a", "x");
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    let url = format!("postgresql://u@127.0.0.1:{}/q", mute.local_addr().unwrap().port());
    let Place::Url(old) = &db.queue.database else { panic!() };
    let text = text.replace(&old.0, &url).replace("[[intake]]", "timeout = \"2s\"\n[[intake]]");
    fs::write(&config, text).unwrap();
    let said = desk.pass();
    assert!(said.contains("intake in: the queue: no answer within 2.0 s"), "{said}");
}

#[test]
fn a_deletion_that_was_cut_off_is_ended_by_the_next_pass() {
    if !can("intake::a_deletion_that_was_cut_off_is_ended_by_the_next_pass") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "after = \"delete\"\n");
    let aside = desk.file(".unwedge-deleting/1-1");
    fs::create_dir_all(&aside).unwrap();
    for path in [desk.file(".unwedge-deleting"), aside.clone()] {
        std::os::unix::fs::chown(path, Some(NOBODY), None).unwrap();
    }
    // another version than the one that was to go
    fs::write(aside.join("a"), "not done").unwrap();
    desk.pass();
    assert_eq!(fs::read_to_string(desk.file("a")).unwrap(), "not done");
    assert!(!desk.file(".unwedge-deleting").exists());
    desk.takes(1, 0);
}

#[test]
fn what_stays_is_known_for_as_long_as_it_is_there() {
    if !can("intake::what_stays_is_known_for_as_long_as_it_is_there") {
        return;
    }
    for db in Db::both("what_stays_is_known_for_as_long_as_it_is_there") {
        let desk = Desk::new(&db, "");
        let mut store = db.open();
        worker(&mut store, "w");
        desk.put("a", "x");
        desk.takes(1, 0);
        all_done(&mut store);
        db.rows("UPDATE unwedge_jobs SET finished_ms = 1 RETURNING id");
        let remove = |store: &mut Store| {
            let soon = Deadline::after(Duration::from_secs(20));
            store.remove_old(&Keep::default(), true, soon).unwrap().jobs.len()
        };
        assert_eq!(remove(&mut store), 0, "without its row the file would be done again");
        desk.takes(0, 0);
        // its storage may only have been away for a moment
        let away = desk.dir.path().join("away");
        fs::rename(desk.file("a"), &away).unwrap();
        desk.takes(0, 0);
        assert_eq!(remove(&mut store), 0, "nor while it may come back");
        fs::rename(&away, desk.file("a")).unwrap();
        desk.takes(0, 0);
        fs::remove_file(desk.file("a")).unwrap();
        desk.takes(0, 0);
        for (more_ms, expected) in [(-60_000, 0), (0, 1)] {
            db.rows(&format!(
                "UPDATE unwedge_jobs SET gone_ms = gone_ms - {} RETURNING id",
                86_400_000 + more_ms
            ));
            assert_eq!(remove(&mut store), expected);
            db.rows(&format!(
                "UPDATE unwedge_jobs SET gone_ms = gone_ms + {} RETURNING id",
                86_400_000 + more_ms
            ));
        }
        assert!(!Path::new(&desk.file("a")).exists());
    }
}

#[test]
fn who_has_not_looked_for_as_long_as_a_lease_has_heard_no_silence() {
    if !can("intake::who_has_not_looked_for_as_long_as_a_lease_has_heard_no_silence") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "");
    let mut store = db.open();
    worker(&mut store, "elsewhere:1:2:3");
    desk.put("a", "x");
    desk.takes(1, 0);
    assert_eq!(claim(&mut store, "elsewhere:1:2:3", &[], 1).len(), 1);
    let own = desk.dir.path().join("state/queue");
    let file = records::path_of::<UpkeepState>(&own);
    // it was at its last beat for more than a lease, by the clock of who remembers it
    let looked_ago = |seconds: u64| {
        desk.pass();
        let mut memory: UpkeepState = records::parse(&fs::read(&file).unwrap()).unwrap();
        for first in memory.heard.values_mut() {
            first.at.boot_ms -= 130_000;
        }
        memory.looked.as_mut().unwrap().boot_ms -= seconds * 1000;
        fs::write(&file, records::render(&memory).unwrap()).unwrap();
        desk.pass();
        db.rows("SELECT state FROM unwedge_jobs").remove(0).remove(0)
    };
    assert_eq!(looked_ago(121), "running", "it may have beaten a hundred times meanwhile");
    assert_eq!(looked_ago(110), "retryable");
}

#[test]
fn what_a_person_puts_aside_leaves_no_scratch_files_and_a_dry_run_touches_none() {
    if !can("intake::what_a_person_puts_aside_leaves_no_scratch_files_and_a_dry_run_touches_none") {
        return;
    }
    for db in
        Db::both("what_a_person_puts_aside_leaves_no_scratch_files_and_a_dry_run_touches_none")
    {
        let desk = Desk::new(&db, "");
        let out = desk.out();
        let mut store = db.open();
        desk.put("a.txt", "x");
        desk.takes(1, 0);
        worker(&mut store, "w");
        let token = claim(&mut store, "w", &[], 1)[0].token;
        store.leave("w").unwrap();
        let mark = store.mark().unwrap();
        let file =
            |id: i64, nth: i64| unwedge::act::scratch::of_try(&out.join("a.txt"), &mark, id, nth);
        for path in [file(token.id, 1), file(token.id + 1, 1), out.join("a.txt")] {
            fs::write(path, "").unwrap();
        }
        let say = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
            command.arg("--config").arg(desk.dir.path().join("unwedge.toml"));
            command.args(["jobs", "quarantine", "--where", "type=t", "--because", "test"]);
            command.args(more).current_dir("/").output().unwrap()
        };
        let left = || fs::read_dir(&out).unwrap().count();
        let said = say(&["--dry-run"]);
        assert!(said.status.success() && left() == 3, "{said:?}");
        let said = say(&[]);
        assert!(said.status.success(), "{said:?}");
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(told.contains("1 scratch files of their tries are gone"), "{told}");
        assert_eq!(db.rows("SELECT state FROM unwedge_jobs"), [["quarantined"]]);
        assert!(left() == 2 && !file(token.id, 1).exists());
    }
}

#[test]
fn scratch_files_of_a_job_that_is_put_aside_go_and_nothing_else() {
    if !can("intake::scratch_files_of_a_job_that_is_put_aside_go_and_nothing_else") {
        return;
    }
    for db in Db::both("scratch_files_of_a_job_that_is_put_aside_go_and_nothing_else") {
        let desk = Desk::new(&db, "");
        let out = desk.out();
        let mut store = db.open();
        desk.put("a.txt", "x");
        desk.takes(1, 0);
        let own = unwedge::probes::witness::own().unwrap();
        // of this process by another start: gone, each time
        let gone = |nth: u32| format!("{}:{nth}", own.rsplit_once(':').unwrap().0);
        let mark = store.mark().unwrap();
        let file =
            |id: i64, nth: i64| unwedge::act::scratch::of_try(&out.join("a.txt"), &mark, id, nth);
        for path in [file(1, 1), file(1, 3), file(2, 1), out.join("a.txt"), out.join(".a.txt")] {
            fs::write(path, "").unwrap();
        }
        for nth in 1..=3 {
            worker(&mut store, &gone(nth));
            assert_eq!(claim(&mut store, &gone(nth), &[], 1).len(), 1);
            assert!(file(1, 1).exists(), "a next try takes them away");
            // a process that has no name yet, such as other tests start, could be one of its helpers
            for _ in 0..100 {
                desk.pass();
                if db.rows("SELECT state FROM unwedge_jobs") != [["running"]] {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            db.rows("UPDATE unwedge_jobs SET not_before_ms = 0 RETURNING id");
        }
        assert_eq!(db.rows("SELECT state FROM unwedge_jobs"), [["quarantined"]]);
        let left: BTreeSet<PathBuf> =
            fs::read_dir(&out).unwrap().flatten().map(|it| it.path()).collect();
        assert_eq!(left, BTreeSet::from([file(2, 1), out.join("a.txt"), out.join(".a.txt")]));
        let told = fs::read_to_string(desk.dir.path().join("prom/unwedge_jobs.prom")).unwrap();
        assert!(told.contains("unwedge_scratch_files_removed 2\n"), "{told}");
        // one that was called off while its worker had it has no next try either
        desk.put("b.txt", "x");
        desk.takes(1, 0);
        worker(&mut store, &gone(9));
        let id = claim(&mut store, &gone(9), &[], 1)[0].token.id;
        db.rows("UPDATE unwedge_jobs SET cancel_ms = 1 WHERE state = 'running' RETURNING id");
        let b = out.join("b.txt");
        let left = [
            unwedge::act::scratch::of_try(&b, &mark, id, 1),
            unwedge::act::scratch::note_of(&b, &mark, id),
        ];
        for it in &left {
            fs::write(it, "").unwrap();
        }
        for _ in 0..100 {
            desk.pass();
            if !left.iter().any(|it| it.exists()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(!left.iter().any(|it| it.exists()));
        let stands = format!("SELECT state FROM unwedge_jobs WHERE id = {id}");
        assert_eq!(db.rows(&stands), [["cancelled"]]);
    }
}

/// A desk where a round has something of each kind to do, and a worker of another host that is not heard any more.
fn full_desk(db: &Db) -> Desk<'_> {
    let desk = Desk::new(db, "rule = \"marker\"\nafter = \"delete\"\n");
    let (out, mut store, own) = (desk.out(), db.open(), desk.dir.path().join("state/queue"));
    let put = |name: &str| {
        desk.put(name, name);
        desk.put(&format!("{name}.done"), "");
    };
    for name in ["old", "made", "lost", "back"] {
        put(name);
    }
    desk.takes(4, 0);
    worker(&mut store, "elsewhere:1:2:3");
    let tokens = claim(&mut store, "elsewhere:1:2:3", &[], 4);
    desk.pass();
    let of = |name: &str| {
        let id = format!("SELECT id FROM unwedge_jobs WHERE input LIKE '%/{name}'");
        let id: i64 = db.rows(&id)[0][0].parse().unwrap();
        tokens.iter().find(|it| it.token.id == id).unwrap().token
    };
    let done = ["old", "made", "back"].map(|name| ending(of(name), State::Done));
    store.end(&done, "0", "elsewhere:1:2:3").unwrap();
    // `old` went long ago; `back` went, and is there again, with what was made of it
    for name in ["old", "old.done"] {
        fs::remove_file(desk.file(name)).unwrap();
    }
    fs::write(out.join("back"), "").unwrap();
    db.rows("UPDATE unwedge_jobs SET finished_ms = 1, gone_ms = 1 WHERE input LIKE '%/old' RETURNING id");
    db.rows("UPDATE unwedge_jobs SET gone_ms = finished_ms WHERE input LIKE '%/back' RETURNING id");
    db.rows("UPDATE unwedge_jobs SET rescues = 2 WHERE input LIKE '%/lost' RETURNING id");
    worker(&mut store, "long-gone");
    db.rows("UPDATE unwedge_workers SET state = 'dead', ended_ms = 1 WHERE id = 'long-gone' RETURNING id");
    // one is new, of one the marker has not come, and the result of one is another's
    put("new");
    desk.put("late", "");
    // what lies on this host, written before 1971
    let scratch =
        unwedge::act::scratch::of_try(&out.join("lost"), &store.mark().unwrap(), of("lost").id, 1);
    fs::write(scratch, "").unwrap();
    fs::create_dir_all(own.join("spare/0123456789ab-1-1")).unwrap();
    fs::create_dir_all(own.join("logs")).unwrap();
    fs::write(own.join("logs/0123456789ab-1-1.log"), "").unwrap();
    for name in ["spare", "logs", "spare/0123456789ab-1-1", "logs/0123456789ab-1-1.log"] {
        let path = own.join(name);
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        let then = std::time::UNIX_EPOCH + Duration::from_secs(1);
        fs::File::open(&path).unwrap().set_modified(then).unwrap();
    }
    let file = records::path_of::<UpkeepState>(&own);
    let mut memory: UpkeepState = records::parse(&fs::read(&file).unwrap()).unwrap();
    for first in memory.heard.values_mut() {
        first.at.boot_ms -= 130_000;
    }
    memory.looked.as_mut().unwrap().boot_ms -= 60_000;
    memory.swept = None;
    fs::write(&file, records::render(&memory).unwrap()).unwrap();
    desk
}

#[test]
fn what_a_round_would_do_is_what_it_does_and_to_look_changes_nothing() {
    let test = "intake::what_a_round_would_do_is_what_it_does_and_to_look_changes_nothing";
    if !can(test) {
        return;
    }
    for db in Db::both("what_a_round_would_do_is_what_it_does_and_to_look_changes_nothing") {
        let desk = full_desk(&db);
        let _open = db.open();
        let (queue, files) = (desk.queue(), desk.files());
        let would = desk.object(&[], 0);
        assert_eq!((&would["mode"], &would["armed"]), (&"dry-run".into(), &true.into()));
        let said = String::from_utf8(desk.run(&[]).stdout).unwrap();
        for line in [
            "  a round with --apply would do this now:\n",
            "    gone: elsewhere:1:2:3; 1 jobs given back, 1 of them put aside\n",
            "    1 done taken out\n",
            "    1 logs taken away\n",
            "    1 scratch files of jobs put aside taken away\n",
            "    intake in: 1 taken in, 1 not complete yet, 2 inputs deleted\n",
        ] {
            assert!(said.contains(line), "{line}{said}");
        }
        assert_eq!(desk.queue(), queue);
        assert_eq!(desk.files(), files);

        // where it is not permitted it tells the same, and does none of it
        let armed = desk.dir.path().join("sentinels/jobs");
        fs::remove_file(&armed).unwrap();
        let held = desk.object(&["--apply"], 0);
        assert_eq!(held["holds"][0]["reason"], "not-armed", "{held:#}");
        assert_eq!((&held["upkeep"], &held["intakes"]), (&would["upkeep"], &would["intakes"]));
        assert_eq!(desk.queue(), queue);
        let told = fs::read_to_string(desk.dir.path().join("prom/unwedge_jobs.prom")).unwrap();
        for line in [
            "unwedge_tool_holds{reason=\"not-armed\",tool=\"jobs\"} 1\n",
            "unwedge_intake_ok{name=\"in\"} 1\n",
            "unwedge_intake_incomplete{name=\"in\"} 1\n",
        ] {
            assert!(told.contains(line), "{line}{told}");
        }

        fs::write(&armed, "armed by a test\n").unwrap();
        let did = desk.object(&["--apply"], 0);
        let mut expected = would["upkeep"].clone();
        expected["done"] = true.into();
        assert_eq!(did["upkeep"], expected, "{did:#}");
        assert_eq!(did["intakes"], would["intakes"]);
        assert_eq!(
            did["upkeep"],
            serde_json::json!({
                "done": true, "workers_gone": ["elsewhere:1:2:3"], "jobs_back": {"quarantined": 1},
                "jobs_removed": {"done": 1}, "not_done_removed": [], "events_removed": 0, "workers_removed": 1,
                "logs_removed": 1, "forgotten_removed": 1, "scratch_files_removed": 1,
                "second_results_removed": 0, "is_more": false,
            })
        );
        let stand = "SELECT state FROM unwedge_jobs WHERE input LIKE '%/lost'";
        assert_eq!(db.rows(stand), [["quarantined"]]);
        assert!(
            desk.file("late").exists()
                && !desk.file("made").exists()
                && !desk.file("back").exists()
        );
        // and then there is nothing left of it
        let said = String::from_utf8(desk.run(&[]).stdout).unwrap();
        assert!(
            said.contains("    intake in: 1 not complete yet\n") && !said.contains("taken"),
            "{said}"
        );
    }
}

#[test]
fn a_second_result_that_was_settled_goes_with_the_row_of_its_job_and_never_before() {
    let test = "a_second_result_that_was_settled_goes_with_the_row_of_its_job_and_never_before";
    if !can(&format!("intake::{test}")) {
        return;
    }
    for db in Db::both(test) {
        let desk = Desk::new(&db, "");
        let (out, mark) = (desk.out(), db.open().mark().unwrap());
        let result = out.join("a");
        fs::write(&result, "y").unwrap();
        let second = unwedge::act::scratch::second_of(&result, &mark, 1);
        fs::write(&second, "x").unwrap();
        db.rows(&format!(
            "INSERT INTO unwedge_jobs (type, key, state, needs, input, output, tries, created_ms, not_before_ms, finished_ms, changed_ms)
             VALUES ('t', 'k', 'quarantined', '[]', '/srv/a', '{}', 2, 1, 1, 1, 1) RETURNING id",
            result.display()
        ));
        db.rows(
            "INSERT INTO unwedge_attempts (job, try, worker, end_state, class, ended_ms)
             VALUES (1, 1, 'w', 'quarantined', 'conflict', 1) RETURNING job",
        );
        let stands = |state: &str, class: &str, needs: &str| {
            let over = if state == "retryable" { "NULL" } else { "1" };
            db.rows(&format!(
                "UPDATE unwedge_jobs SET state = '{state}', class = '{class}', needs = '{needs}', finished_ms = {over} RETURNING id"
            ));
            // what is put aside is gone through each time
            let _ = fs::remove_file(desk.dir.path().join("state/queue/upkeep.json"));
        };
        let all = |it: &Value| it["upkeep"]["jobs_removed"].clone();
        let seconds = |it: &Value| it["upkeep"]["second_results_removed"].clone();
        let none = || serde_json::json!({});
        // a person has not said anything yet, or wants it to be done; or where it lies cannot be seen now
        for (state, class, needs) in [
            ("quarantined", "conflict", "[]"),
            ("retryable", "conflict", "[]"),
            ("cancelled", "conflict", "[\"/srv/box\"]"),
            ("quarantined", "crashed", "[\"/srv/box\"]"),
        ] {
            stands(state, class, needs);
            let would = desk.object(&[], 0);
            assert_eq!((all(&would), seconds(&would)), (none(), 0.into()), "{state} {class}");
            let did = desk.object(&["--apply"], 0);
            assert_eq!((all(&did), seconds(&did)), (none(), 0.into()), "{state} {class}");
            assert!(second.exists() && db.rows("SELECT id FROM unwedge_jobs").len() == 1);
        }
        stands("quarantined", "crashed", "[]");
        let would = desk.object(&[], 0);
        assert!(second.exists());
        let did = desk.object(&["--apply"], 0);
        assert_eq!((all(&did), seconds(&did)), (all(&would), seconds(&would)), "{did:#}");
        assert_eq!(did["upkeep"]["not_done_removed"], serde_json::json!([1]), "{did:#}");
        assert_eq!(seconds(&did), 1, "{did:#}");
        assert!(!second.exists() && fs::read_to_string(&result).unwrap() == "y");
        assert!(db.rows("SELECT job FROM unwedge_attempts").is_empty());
        assert!(db.rows("SELECT id FROM unwedge_jobs").is_empty());
        let told = fs::read_to_string(desk.dir.path().join("prom/unwedge_jobs.prom")).unwrap();
        assert!(told.contains("unwedge_scratch_files_removed 1\n"), "{told}");
    }
}

#[test]
fn a_backlog_that_may_take_more_than_one_round_is_not_told_as_gone_in_one() {
    if !can("intake::a_backlog_that_may_take_more_than_one_round_is_not_told_as_gone_in_one") {
        return;
    }
    for db in Db::both("a_backlog_that_may_take_more_than_one_round_is_not_told_as_gone_in_one") {
        let desk = Desk::new(&db, "");
        let rows = |from: u32, to: u32| {
            db.rows(&format!(
                "WITH RECURSIVE n(nth) AS (SELECT {from} UNION ALL SELECT nth + 1 FROM n WHERE nth < {to})
                 INSERT INTO unwedge_jobs (type, key, state, needs, input, created_ms, not_before_ms, finished_ms, changed_ms)
                 SELECT 't', 'key-' || nth, 'done', '[]', '/srv/' || nth, 1, 0, 1, 1 FROM n RETURNING id"
            ))
        };
        let line = "what there is no time for goes by the next round";
        let of = |it: &Value| {
            (it["upkeep"]["jobs_removed"]["done"].clone(), it["upkeep"]["is_more"].clone())
        };
        rows(1, 499);
        assert_eq!(of(&desk.object(&[], 0)), (499.into(), false.into()));
        assert!(!String::from_utf8(desk.run(&[]).stdout).unwrap().contains(line));
        // so many are taken out at a time, and how often is a matter of time
        rows(500, 500);
        assert_eq!(of(&desk.object(&[], 0)), (500.into(), Value::Null));
        let said = String::from_utf8(desk.run(&[]).stdout).unwrap();
        assert!(said.contains(&format!("    500 done taken out\n    {line}\n")), "{said}");
        assert_eq!(of(&desk.object(&["--apply"], 0)), (500.into(), false.into()));
    }
}

#[test]
fn where_a_job_that_is_put_aside_had_its_place_another_is_taken_in_and_a_look_says_so() {
    let test = "where_a_job_that_is_put_aside_had_its_place_another_is_taken_in_and_a_look_says_so";
    if !can(&format!("intake::{test}")) {
        return;
    }
    for db in Db::both(test) {
        // the worker of one is gone for good, and all of them would make the one file
        let desk = full_desk(&db);
        let kind = desk.dir.path().join("jobs.d/t.toml");
        let text = fs::read_to_string(&kind).unwrap();
        fs::write(&kind, text.replace("/out/{name}", "/out/lost")).unwrap();
        let would = desk.object(&[], 0);
        let did = desk.object(&["--apply"], 0);
        assert_eq!(did["intakes"][0]["taken_in"], 1, "{did:#}");
        assert_eq!(would["intakes"], did["intakes"]);
        // and while it waits itself it has its place
        fs::write(desk.file("more"), "").unwrap();
        fs::write(desk.file("more.done"), "").unwrap();
        let would = desk.object(&[], 1);
        assert_eq!(would["intakes"][0]["taken_in"], 0, "{would:#}");
    }
}

#[test]
fn what_is_refused_is_told_by_a_look_as_by_a_round() {
    if !can("intake::what_is_refused_is_told_by_a_look_as_by_a_round") {
        return;
    }
    for db in Db::both("what_is_refused_is_told_by_a_look_as_by_a_round") {
        let desk = Desk::new(&db, "");
        let kind = desk.dir.path().join("jobs.d/t.toml");
        let text = fs::read_to_string(&kind).unwrap();
        // all of them would make one file
        fs::write(&kind, text.replace("/out/{name}", "/out/one")).unwrap();
        desk.put("a", "x");
        desk.put("b", "x");
        let would = desk.object(&[], 1);
        let of = |it: &Value| {
            let it = &it["intakes"][0];
            (it["taken_in"].clone(), it["ok"].clone(), it["trouble"].as_array().unwrap().len())
        };
        assert_eq!(of(&would), (1.into(), false.into(), 1), "{would:#}");
        assert_eq!(db.rows("SELECT id FROM unwedge_jobs").len(), 0);
        let did = desk.object(&["--apply"], 1);
        assert_eq!(of(&did), of(&would));
        let told = fs::read_to_string(desk.dir.path().join("prom/unwedge_jobs.prom")).unwrap();
        assert!(told.contains("unwedge_intake_ok{name=\"in\"} 0\n"), "{told}");
        // by now it is a job of the queue that has it
        assert_eq!(of(&desk.object(&[], 1)), (0.into(), false.into(), 1));
    }
}

#[test]
fn each_round_says_one_object_for_a_program() {
    if !can("intake::each_round_says_one_object_for_a_program") {
        return;
    }
    let db = Db::file();
    let desk = Desk::new(&db, "");
    let lock = desk.dir.path().join("state/queue/jobs.lock");
    let it = fs::File::create(&lock).unwrap();
    std::os::unix::fs::chown(&lock, Some(NOBODY), Some(NOBODY)).unwrap();
    rustix::fs::flock(&it, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let busy = desk.object(&["--apply"], 0);
    assert_eq!((&busy["tool"], &busy["holds"][0]["reason"]), (&"jobs".into(), &"busy".into()));
    // to look no lock is needed
    assert_eq!(desk.object(&[], 0)["upkeep"]["done"], false);
    drop(it);

    // signs of life alone
    let config = desk.dir.path().join("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    let host = text.split("[jobs]").next().unwrap();
    let sign = desk.dir.path().join("sign");
    let beat = format!(
        "{host}[[heartbeat]]\nname = \"scan\"\npath = \"{}\"\nmax_age = \"1m\"\n",
        sign.display()
    );
    fs::write(&config, beat).unwrap();
    for args in [&[][..], &["--apply"]] {
        let seen = desk.object(args, 0);
        assert_eq!(seen["queue"], Value::Null);
        let scan = (&seen["heartbeats"][0]["name"], &seen["heartbeats"][0]["state"]);
        assert_eq!(scan, (&"scan".into(), &"absent".into()), "{seen:#}");
    }
    // the answer to a program that asks for the queue is none, as before
    assert_eq!(desk.run(&["facts", "--json"]).status.code(), Some(1));
}
