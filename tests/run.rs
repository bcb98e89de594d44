//! `unwedge run`: files worked through by a command, and what becomes of it when anything is killed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use unwedge::act::scratch::second_of;
use unwedge::queue::store::change::Change;
use unwedge::queue::store::listing::Which;
use unwedge::queue::store::{NewWorker, TypeMark};

use crate::store::Db;
use crate::support::lab::{await_that, await_within};

/// A desk with inputs, and a queue.
struct Desk {
    dir: tempfile::TempDir,
    queue: String,
}

impl Desk {
    fn new(db: &Db) -> Self {
        let unwedge::config::queue::Database::Url(url) = &db.queue.database else { panic!() };
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        Self { dir, queue: url.0.clone() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn input(&self, name: impl AsRef<OsStr>, text: &str) -> PathBuf {
        let path = self.path("in").join(name.as_ref());
        fs::write(&path, text).unwrap();
        path
    }

    /// The command line with these words before the files and these after.
    fn spawn(&self, before: &[&str], files: &[PathBuf], after: &[&str]) -> Own {
        Own(self.command(before, files, after).spawn().unwrap())
    }

    fn command(&self, before: &[&str], files: &[PathBuf], after: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command
            .current_dir(self.dir.path())
            .args(["run", "--queue", &self.queue])
            .env("XDG_STATE_HOME", self.path("state"))
            .args(before)
            .args(files);
        if !after.is_empty() {
            command.arg("--").args(after);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn run(&self, before: &[&str], files: &[PathBuf], after: &[&str]) -> (Option<i32>, String) {
        let mut child = self.command(before, files, after).spawn().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed().as_secs() > 100 {
                child.kill().unwrap();
                panic!("no end: {:?}", child.wait_with_output().unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = child.wait_with_output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), said)
    }

    #[track_caller]
    fn run_with(
        &self,
        before: &[String],
        files: &[PathBuf],
        after: &[&str],
    ) -> (Option<i32>, String) {
        self.run(&before.iter().map(String::as_str).collect::<Vec<_>>(), files, after)
    }

    fn script(&self, text: &str) -> String {
        let path = self.path("script");
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn kind(&self, text: &str) -> String {
        let path = self.path("kind.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// A run that does not outlive a test that fails: with it goes all that it has started.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The living processes whose command line or environment has this in it.
fn alive(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let has = |bytes: Vec<u8>| bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
        let ended = String::from_utf8_lossy(&read("stat"))
            .rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'));
        if !ended
            && pid != i32::try_from(std::process::id()).unwrap()
            && (has(read("cmdline")) || has(read("environ")))
        {
            found.push(pid);
        }
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

fn kill(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

#[test]
fn files_become_results_whatever_they_are_called_and_once() {
    for db in Db::both("files_become_results_whatever_they_are_called_and_once") {
        let desk = Desk::new(&db);
        let names: Vec<OsString> = [
            &b"a b.txt"[..],
            b"$(touch x); 'q'.txt",
            b"{id}.txt",
            b"\xff\xfe.txt",
            b"-n.txt",
            b"new\nline.txt",
        ]
        .iter()
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect();
        let files: Vec<PathBuf> =
            names.iter().map(|name| desk.input(name, &format!("{name:?}"))).collect();
        let script = desk.script("echo once >>\"$UNWEDGE_TYPE.log\"; cp -- \"$1\" \"$2\"");
        let words = [script.as_str(), "{input}", "{output}"];
        for _ in 0..2 {
            let (code, said) = desk.run(&["--output", "out/{name}"], &files, &words);
            assert_eq!(code, Some(0), "{said}");
            for name in &names {
                let text = fs::read_to_string(desk.path("out").join(name)).unwrap();
                assert_eq!(text, format!("{name:?}"));
            }
        }
        let log = fs::read_dir(desk.dir.path())
            .unwrap()
            .flatten()
            .find(|it| it.path().extension() == Some(OsStr::new("log")));
        assert_eq!(
            fs::read_to_string(log.unwrap().path()).unwrap().lines().count(),
            6,
            "what was done is not done again"
        );
        assert_eq!(
            fs::read_dir(desk.path("out")).unwrap().count(),
            6,
            "nothing is left beside the results"
        );
        // a result that is gone is made anew, and only that
        fs::remove_file(desk.path("out/a b.txt")).unwrap();
        assert_eq!(desk.run(&["--output", "out/{name}"], &files, &words).0, Some(0));
        assert!(desk.path("out/a b.txt").exists());
    }
}

#[test]
fn what_fails_is_listed_with_its_reason_and_tried_again_by_the_next_run() {
    for db in Db::both("what_fails_is_listed_with_its_reason_and_tried_again_by_the_next_run") {
        let desk = Desk::new(&db);
        let files = [desk.input("good", "1"), desk.input("bad", "")];
        let script = desk
            .script("test -s \"$1\" || { echo 'nothing in it' >&2; exit 7; }; cp \"$1\" \"$2\"");
        let words = [script.as_str(), "{input}", "{output}"];
        let (code, said) = desk.run(&["--output", "{stem}.out"], &files, &words);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("1 done, 1 not")
                && said.contains("exit 7; it wrote no result; it said: nothing in it"),
            "{said}"
        );
        assert!(!desk.path("bad.out").exists());
        let row = db.rows("SELECT exit_code, a.class FROM unwedge_attempts a JOIN unwedge_jobs j ON j.id = a.job WHERE j.state <> 'done'");
        assert_eq!(row, [["7", "failed"]]);
        fs::write(&files[1], "2").unwrap();
        assert_eq!(desk.run(&["--output", "{stem}.out"], &files, &words).0, Some(0));
        assert_eq!(fs::read_to_string(desk.path("bad.out")).unwrap(), "2");
    }
}

#[test]
fn an_end_is_what_its_type_says_and_the_next_tier_does_what_the_first_could_not() {
    for db in
        Db::both("an_end_is_what_its_type_says_and_the_next_tier_does_what_the_first_could_not")
    {
        let desk = Desk::new(&db);
        let names = ["first", "second", "permanent", "unchanged", "empty", "killed", "gone"];
        let files: Vec<PathBuf> = names.iter().map(|name| desk.input(name, name)).collect();
        let first = desk.script("case $1 in *first|*empty) cp $1 $2;; *permanent) exit 65;; *unchanged|*gone) exit 3;; *killed) kill -9 $$;; *) exit 1;; esac; case $1 in *empty) : >$2;; esac; exit 0");
        let out = desk.path("out").display().to_string();
        fs::create_dir(&out).unwrap();
        fs::write(desk.path("out/unchanged"), "as it was").unwrap();
        let kind = desk.kind(&format!(
            "output = \"{out}/{{name}}\"\nconcurrency = 3\n[[tier]]\nname = \"absent\"\nargv = [\"/nowhere/tool\"]\n[[tier]]\nname = \"one\"\nargv = [\"{first}\", \"{{input}}\", \"{{output}}\"]\n\
             [[tier]]\nname = \"two\"\nargv = [\"/bin/bash\", \"-c\", \"case $0 in *second) cp $0 $1;; *) exit 1;; esac\", \"{{input}}\", \"{{output}}\"]\n\
             [retry]\nattempts = 1\n[exit]\n65 = \"permanent\"\n3 = \"unchanged\"\n"));
        let (code, said) = desk.run(&["--type", &kind], &files, &[]);
        assert_eq!(code, Some(1), "{said}");
        let rows =
            db.rows("SELECT key, state, coalesce(class, ''), coalesce(tier, '') FROM unwedge_jobs");
        for (name, expected) in [
            ("first", ["done", "", "one"]),
            ("second", ["done", "", "two"]),
            ("permanent", ["quarantined", "permanent", "one"]),
            ("unchanged", ["done", "", "one"]),
            ("gone", ["quarantined", "failed", "one"]),
            ("empty", ["quarantined", "failed", "two"]),
            ("killed", ["quarantined", "failed", "two"]),
        ] {
            let row = rows.iter().find(|row| row[0].ends_with(&format!("/{name}"))).unwrap();
            assert_eq!(row[1..], expected, "{name}: {said}");
        }
        // what a signal ended is known by it
        let kind = desk.kind(&format!("output = \"{out}/s-{{name}}\"\n[[tier]]\nargv = [\"/bin/bash\", \"-c\", \"kill -9 $$\"]\n[retry]\nattempts = 1\n"));
        desk.run(&["--type", &kind], &files[..1], &[]);
        let signals = db.rows("SELECT coalesce(signal, 0), coalesce(exit_code, -1) FROM unwedge_attempts WHERE signal IS NOT NULL");
        assert_eq!(signals, [["9", "-1"]]);
        let there: BTreeSet<OsString> =
            fs::read_dir(desk.path("out")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(there, ["first", "second", "unchanged"].map(OsString::from).into());
    }
}

#[test]
fn a_result_is_never_written_over_and_the_same_one_is_a_success() {
    for db in Db::both("a_result_is_never_written_over_and_the_same_one_is_a_success") {
        let desk = Desk::new(&db);
        let again = |flag: &str| {
            let again = (flag == "--again").then_some("--again");
            ["--output", "out/{name}"]
                .into_iter()
                .chain(again)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let files = [desk.input("same", "x"), desk.input("other", "x")];
        fs::create_dir(desk.path("out")).unwrap();
        fs::write(desk.path("out/same"), "x").unwrap();
        fs::write(desk.path("out/other"), "y").unwrap();
        // a person picks: the next run leaves it, and one that tries it anew finds the same
        for flag in ["--output", "--output", "--again"] {
            let (code, said) = desk.run_with(&again(flag), &files, &["cp", "{input}", "{output}"]);
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains("1 done, 1 not") && said.contains("quarantined (conflict)"),
                "{said}"
            );
            assert_eq!(fs::read_to_string(desk.path("out/other")).unwrap(), "y");
            // between two of them, which are both there
            let mark = db.open().mark().unwrap();
            let second = second_of(&desk.path("out/other"), &mark, 2);
            assert_eq!(fs::read_to_string(&second).unwrap(), "x", "{said}");
            assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 3);
            let told = &db.rows("SELECT message FROM unwedge_jobs WHERE id = 2")[0][0];
            let kept = format!("; what was made is kept as {}", second.display());
            assert!(told.ends_with(&kept), "{told}");
        }
        fs::remove_file(desk.path("out/other")).unwrap();
        let (code, said) = desk.run_with(&again("--again"), &files, &["cp", "{input}", "{output}"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(fs::read_to_string(desk.path("out/other")).unwrap(), "x");
        assert_eq!(
            fs::read_dir(desk.path("out")).unwrap().count(),
            2,
            "the other one is not needed"
        );
    }
}

#[test]
fn a_second_result_stays_until_its_job_is_called_off() {
    for db in Db::both("a_second_result_stays_until_its_job_is_called_off") {
        let desk = Desk::new(&db);
        let file = [desk.input("a", "x")];
        fs::create_dir(desk.path("out")).unwrap();
        fs::write(desk.path("out/a"), "y").unwrap();
        let (code, said) =
            desk.run(&["--output", "out/{name}"], &file, &["cp", "{input}", "{output}"]);
        assert_eq!(code, Some(1), "{said}");
        let second = second_of(&desk.path("out/a"), &db.open().mark().unwrap(), 1);
        let say = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
            command.args(words).args(["--queue", &desk.queue]).current_dir("/").output().unwrap()
        };
        // what waits is put aside by a rule, and its scratch files go
        let rule = format!("type={}", db.rows("SELECT type FROM unwedge_jobs")[0][0]);
        for words in [
            ["jobs", "release", "1"].as_slice(),
            &["jobs", "quarantine", "--where", &rule, "--because", "test"],
        ] {
            let said = say(words);
            assert!(said.status.success() && second.exists(), "{words:?}: {said:?}");
        }
        for words in [["jobs", "release", "1"], ["jobs", "cancel", "1"]] {
            assert!(second.exists());
            let said = say(&words);
            assert!(said.status.success(), "{words:?}: {said:?}");
        }
        assert!(!second.exists());
        assert_eq!(fs::read_to_string(desk.path("out/a")).unwrap(), "y");
    }
}

/// Forks twice, leaves the session, and hears no request to end.
const CLINGS: &str = "trap '' TERM HUP INT; (trap '' TERM HUP INT; setsid bash -c \"trap '' TERM HUP INT; exec -a CLINGER sleep 4000\" & setsid sleep 4000 & sleep 4000 & ) ; ";

#[test]
fn nothing_of_a_job_is_left_when_its_time_is_over_or_it_is_done() {
    for db in Db::both("nothing_of_a_job_is_left_when_its_time_is_over_or_it_is_done") {
        let desk = Desk::new(&db);
        let mark = format!("UNWEDGE_TYPE=kind{}", std::process::id());
        let name = desk.path(&format!("{}.toml", mark.trim_start_matches("UNWEDGE_TYPE=")));
        let script = desk.script(&format!(
            "{CLINGS} case $1 in *long) while :; do sleep 1000; done;; esac; echo 1 >$2"
        ));
        let out = desk.path("out").display().to_string();
        fs::write(&name, format!("output = \"{out}/{{name}}\"\nconcurrency = 2\n[[tier]]\nargv = [\"{script}\", \"{{input}}\", \"{{output}}\"]\nlimit = \"1s\"\n[retry]\nattempts = 1\n")).unwrap();
        let files = [desk.input("long", "1"), desk.input("short", "1")];
        let (code, said) = desk.run(&["--type", &name.display().to_string()], &files, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("timed-out") && said.contains("no end within 1.0 s"), "{said}");
        // its time, what it has to end, and as long again until nothing of it is there
        let took = &db
            .rows("SELECT ended_ms - started_ms FROM unwedge_attempts WHERE class = 'timed-out'")
            [0][0];
        assert!((6_000..11_000).contains(&took.parse::<u32>().unwrap()), "{took} ms");
        assert_eq!(alive(&mark), [] as [i32; 0]);
        assert_eq!(fs::read_to_string(desk.path("out/short")).unwrap(), "1\n");
    }
}

#[test]
fn a_result_on_its_way_keeps_the_ending_of_its_name() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a.pdf", "x");
    let script = desk.script("case \"$2\" in *.txt) cp \"$1\" \"$2\";; *) exit 9;; esac");
    let words = [script.as_str(), "{input}", "{output}"];
    let (code, said) = desk.run(&["--output", "out/{stem}.txt"], &[file], &words);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(desk.path("out/a.txt")).unwrap(), "x");
}

#[test]
fn without_a_queue_that_is_named_it_is_a_file_of_ones_own_that_the_other_verbs_find() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a", "x");
    let say = |words: &[&OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.args(words).current_dir(desk.dir.path()).env("HOME", desk.path("home"));
        let output = command.env_remove("XDG_STATE_HOME").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let run = ["run", "--output", "out/{name}"].map(OsStr::new);
    let command = ["--", "/bin/cp", "{input}", "{output}"].map(OsStr::new);
    // whoever has nothing yet, not even a home, is told what would be, and has nothing still
    let would =
        say(&[&run[..], &[OsStr::new("--dry-run"), file.as_os_str()], &command[..]].concat());
    assert!(would.starts_with("would put in ") && !desk.path("home").exists(), "{would}");
    say(&[&run[..], &[file.as_os_str()], &command[..]].concat());
    assert_eq!(fs::read_to_string(desk.path("out/a")).unwrap(), "x");
    assert!(desk.path("home/.local/state/unwedge").is_dir());
    let list = say(&["jobs", "list", "--state", "done"].map(OsStr::new));
    assert!(list.contains(file.to_str().unwrap()), "{list}");
}

#[test]
fn whatever_is_killed_no_process_is_left_and_the_next_run_goes_on() {
    use rustix::process::Signal;
    for db in Db::both("whatever_is_killed_no_process_is_left_and_the_next_run_goes_on") {
        for (who, signal) in [
            ("run", Signal::INT),
            ("run", Signal::TERM),
            ("run", Signal::HUP),
            ("run", Signal::KILL),
            ("runner", Signal::KILL),
            ("helper", Signal::KILL),
        ] {
            let desk = Desk::new(&db);
            let files: Vec<PathBuf> = (0..6).map(|nth| desk.input(nth.to_string(), "x")).collect();
            let gate = desk.path("go");
            let script = desk.script(&format!("test -e {} || {{ {CLINGS} echo $$ >>{}; while :; do sleep 1000; done; }}; cp $1 $2", gate.display(), desk.path("pids").display()));
            let words = [script.as_str(), "{input}", "{output}"];
            let flags = ["--output", "out/{name}", "--count", "3", "--again"];
            let mut own = desk.spawn(&flags, &files, &words);
            let child = &mut own.0;
            await_that("three jobs run", || {
                fs::read_to_string(desk.path("pids")).is_ok_and(|pids| pids.lines().count() == 3)
            });
            let run = i32::try_from(child.id()).unwrap();
            let runner = children(run)[0];
            let helper = children(runner)[0];
            let mark = desk.dir.path().display().to_string();
            assert!(alive(&mark).len() > 3);
            if who == "run" && signal != Signal::KILL {
                kill(run, signal);
                let start = Instant::now();
                let end = child.wait().unwrap();
                assert!(
                    start.elapsed() < Duration::from_secs(15) && end.code() == Some(130),
                    "{end:?}"
                );
            } else {
                fs::write(&gate, "").unwrap();
                kill(
                    match who {
                        "run" => run,
                        "runner" => runner,
                        _ => helper,
                    },
                    signal,
                );
            }
            // of what was at work then; a runner that is made anew works on
            let started: Vec<i32> = fs::read_to_string(desk.path("pids"))
                .unwrap()
                .lines()
                .map(|it| it.parse().unwrap())
                .collect();
            if who == "helper" {
                // the other two still wait: they are not its
                await_that("what it had is gone", || {
                    started.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count()
                        == 2
                });
                kill(run, Signal::INT);
                child.wait().unwrap();
            } else if who == "runner" {
                assert_eq!(child.wait().unwrap().code(), Some(0), "it has another runner");
            } else {
                let _ = child.wait();
            }
            await_that("no process is left", || alive(&mark).is_empty());
            if who == "run" {
                // what was unfinished is back, and charged with nothing
                let odd = "SELECT count(*) FROM unwedge_jobs WHERE failures + infra_errors > 0 OR state NOT IN ('pending', 'retryable', 'done')";
                await_that("all of it is back", || db.rows(odd) == [["0"]]);
            }
            // and all goes on
            fs::write(&gate, "").unwrap();
            let (code, said) = desk.run(&flags, &files, &words);
            assert_eq!(code, Some(0), "{who} {signal:?}: {said}");
            let done = fs::read_dir(desk.path("out")).unwrap().count();
            assert_eq!(done, 6, "{who} {signal:?}");
        }
    }
}

#[test]
fn what_a_killed_runner_and_its_killed_helper_have_left_is_ended_before_its_job_is_begun_again() {
    use rustix::process::Signal;
    let db = Db::file();
    let desk = Desk::new(&db);
    let files = [desk.input("a", "x")];
    let config = desk.path("unwedge.toml").display().to_string();
    fs::write(&config, "[jobs]\nsweep = \"1s\"\n").unwrap();
    // one that begins beside another says so
    let script = desk.script(&format!(
        "for pid in $(cat {0}); do grep -qs '^State:.[^XZ]' /proc/$pid/status && echo $pid >>{1}; done; echo $$ >>{0}; test -e {2} || while :; do sleep 1; done; cp $1 $2",
        desk.path("pids").display(),
        desk.path("beside").display(),
        desk.path("go").display()
    ));
    fs::write(desk.path("pids"), "").unwrap();
    let words = [script.as_str(), "{input}", "{output}"];
    let mut own = desk.spawn(&["--config", &config, "--output", "out/{name}"], &files, &words);
    let pids = || fs::read_to_string(desk.path("pids")).unwrap();
    await_that("it runs", || pids().lines().count() == 1);
    fs::write(desk.path("go"), "").unwrap();
    let runner = children(i32::try_from(own.0.id()).unwrap())[0];
    let helper = children(runner)[0];
    // neither has time to end what it has started
    kill(helper, Signal::STOP);
    kill(runner, Signal::KILL);
    kill(helper, Signal::KILL);
    await_within(Duration::from_secs(90), "it is done", || own.0.try_wait().unwrap().is_some());
    assert_eq!(own.0.wait().unwrap().code(), Some(0));
    assert_eq!(pids().lines().count(), 2, "it was begun again");
    assert!(!desk.path("beside").exists(), "beside what was left of it");
    assert_eq!(db.rows("SELECT state, rescues FROM unwedge_jobs"), [["done", "1"]]);
}

#[test]
fn killed_again_and_again_each_job_is_done_once_and_none_is_lost() {
    for db in Db::both("killed_again_and_again_each_job_is_done_once_and_none_is_lost") {
        let desk = Desk::new(&db);
        let files: Vec<PathBuf> =
            (0..300).map(|nth| desk.input(nth.to_string(), &format!("text {nth}"))).collect();
        let script = desk.script("sleep 0.01; cat $1 /proc/sys/kernel/random/uuid >$2");
        let (words, flags) = (
            [script.as_str(), "{input}", "{output}"],
            ["--output", "out/{name}", "--count", "4", "--again"],
        );
        let (mut kills, mut is_done) = (0, false);
        for nth in 0_u64..200 {
            let mut child = desk.command(&flags, &files, &words).spawn().unwrap();
            // what is hit is chance: claims, commands, moves of results, writing down
            // and each has a little longer than the one before, so that there is an end on a slow machine, too
            let lives = Duration::from_millis(100 + nth * 37 % 251 + nth * 3);
            let until = Instant::now() + lives;
            let mut ended = None;
            while Instant::now() < until {
                ended = child.try_wait().unwrap();
                if ended.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(status) = ended {
                let output = child.wait_with_output().unwrap();
                is_done = status.code() == Some(0);
                if is_done {
                    break;
                }
                // one that was hit three times is put aside, which is said; the next run begins it anew
                let said = String::from_utf8_lossy(&output.stdout);
                let reasons: Vec<&str> =
                    said.lines().skip_while(|line| !line.ends_with("not")).skip(1).collect();
                let is_aside = |line: &&str| line.contains("(crashed)");
                assert!(!reasons.is_empty() && reasons.iter().all(is_aside), "{output:?}");
                continue;
            }
            let run = i32::try_from(child.id()).unwrap();
            let all = children(run);
            if nth % 2 == 0 {
                for pid in &all {
                    kill(*pid, rustix::process::Signal::KILL);
                }
            }
            kill(run, rustix::process::Signal::KILL);
            child.wait().unwrap();
            kills += 1;
        }
        assert!(is_done && kills > 2, "it was killed {kills} times, and done: {is_done}");
        assert_eq!(db.rows("SELECT count(*) FROM unwedge_jobs WHERE state = 'done'"), [["300"]]);
        let twice = db.rows("SELECT job FROM unwedge_attempts WHERE end_state = 'done' GROUP BY job HAVING count(*) <> 1");
        assert!(twice.is_empty(), "{twice:?}");
        for nth in 0..300 {
            let text = fs::read_to_string(desk.path(&format!("out/{nth}"))).unwrap();
            assert!(text.starts_with(&format!("text {nth}")) && text.ends_with('\n'), "{text:?}");
        }
        assert_eq!(
            db.rows("SELECT count(*) FROM unwedge_attempts WHERE class = 'conflict'"),
            [["0"]]
        );
        let there = fs::read_dir(desk.path("out")).unwrap().map(|it| it.unwrap().file_name());
        let beside: Vec<OsString> =
            there.filter(|name| name.as_bytes().starts_with(b".")).collect();
        assert!(beside.is_empty(), "{beside:?}");
    }
}

#[test]
fn two_that_run_the_same_files_do_each_once() {
    for db in Db::both("two_that_run_the_same_files_do_each_once") {
        let desk = Desk::new(&db);
        let files: Vec<PathBuf> = (0..60).map(|nth| desk.input(nth.to_string(), "x")).collect();
        let script = desk.script(&format!(
            "echo $UNWEDGE_JOB >>{}; sleep 0.02; cp $1 $2",
            desk.path("log").display()
        ));
        let (words, flags) = (
            [script.as_str(), "{input}", "{output}"],
            ["--output", "out/{name}", "--count", "2", "--fresh"],
        );
        let all: Vec<Child> =
            (0..3).map(|_| desk.command(&flags, &files, &words).spawn().unwrap()).collect();
        for child in all {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        let log = fs::read_to_string(desk.path("log")).unwrap();
        let distinct: BTreeSet<&str> = log.lines().collect();
        assert_eq!((log.lines().count(), distinct.len()), (60, 60));
    }
}

#[test]
fn a_second_run_leaves_its_files_to_the_runner_that_is_there_and_goes_on_when_that_ends() {
    for db in Db::both(
        "a_second_run_leaves_its_files_to_the_runner_that_is_there_and_goes_on_when_that_ends",
    ) {
        let desk = Desk::new(&db);
        let log = desk.path("log");
        let script =
            desk.script(&format!("echo $UNWEDGE_WORKER >>{}; sleep 0.1; cp $1 $2", log.display()));
        let files = |from: usize, to: usize| -> Vec<PathBuf> {
            (from..to).map(|nth| desk.input(nth.to_string(), "x")).collect()
        };
        let (words, flags) =
            ([script.as_str(), "{input}", "{output}"], ["--output", "out/{name}", "--count", "1"]);
        let first = desk.command(&flags, &files(0, 20), &words).spawn().unwrap();
        await_that("the first one works", || log.exists());
        let second = desk.command(&flags, &files(100, 105), &words).spawn().unwrap();
        let all = [first, second].map(|run| run.wait_with_output().unwrap());
        assert!(all.iter().all(|it| it.status.success()), "{all:?}");
        let said = String::from_utf8_lossy(&all[1].stderr);
        assert!(said.contains(" works on them; --fresh starts"), "{said}");
        // never two at a time: one after the other, and that only where the first ended too early
        let log = fs::read_to_string(&log).unwrap();
        let mut workers: Vec<&str> = log.lines().collect();
        let distinct: BTreeSet<&str> = workers.iter().copied().collect();
        workers.dedup();
        assert_eq!(workers.len(), distinct.len(), "{log}");
        assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 25);
        let (code, said) = desk.run(&[&flags[..], &["--fresh"]].concat(), &files(300, 301), &words);
        assert!(code == Some(0) && !said.contains("works on them"), "{said}");
    }
}

host_test! {
    fn a_job_is_taken_only_while_its_storage_is_open_and_by_itself_once_it_is(host) {
        crate::quiesce::furnish(&host, crate::quiesce::UNIT, "");
        host.put("/usr/bin/unwedge", &crate::support::host::program("unwedge"), "755");
        let _ = host.round("--apply");
        let run = "unwedge run --queue sqlite:///var/lib/run.db --output '/srv/storagebox/out/{name}' /srv/in/* -- cp {input} {output}";
        host.ok(&format!("mkdir -p /srv/in; echo 1 >/srv/in/1; {run}; test $(cat /srv/storagebox/out/1) = 1; echo 2 >/srv/in/2"));
        // it dies, and nobody may repair it
        host.ok("kill -KILL $(main_pid); mv /etc/unwedge/sentinels/mounts /run/");
        let _ = host.round("--apply");
        host.ok(&format!("systemd-run --quiet --unit=files /bin/bash -c '{}'", run.replace('\'', "")));
        host.until("journalctl -u files | grep -q 'nothing runs: storage-closed: .*: /srv/storagebox;'");
        let tries = "python3 -c \"import sqlite3; print(*sqlite3.connect('/var/lib/run.db').execute('SELECT state, tries, failures FROM unwedge_jobs ORDER BY id'))\"";
        assert_eq!(host.ok(tries), "('done', 1, 0) ('pending', 0, 0)");
        host.ok("mv /run/mounts /etc/unwedge/sentinels/");
        let _ = host.round("--apply");
        host.until("! systemctl is-active -q files");
        assert_eq!(host.ok(&format!("cat /srv/storagebox/out/2; {tries}")), "2\n('done', 1, 0) ('done', 1, 0)");
    }
}

#[test]
fn a_queue_is_given_by_a_file_too_so_that_no_password_is_on_a_command_line() {
    for db in Db::both("a_queue_is_given_by_a_file_too_so_that_no_password_is_on_a_command_line") {
        let mut desk = Desk::new(&db);
        let url = desk.path("queue.url");
        fs::write(&url, format!("{}\n", desk.queue)).unwrap();
        desk.queue = url.display().to_string();
        let file = desk.input("a", "1");
        let (code, said) = desk.run(
            &["--output", "{stem}.out"],
            std::slice::from_ref(&file),
            &["cp", "{input}", "{output}"],
        );
        assert!(code == Some(0) && desk.path("a.out").exists(), "{said}");
        let verb = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
            command.args(words).args(["--queue", &desk.queue]).output().unwrap()
        };
        let told = verb(&["jobs", "list", "--state", "done"]);
        assert!(String::from_utf8_lossy(&told.stdout).contains("/in/a"), "{told:?}");
        fs::write(&url, "").unwrap();
        let told = verb(&["jobs", "list"]);
        let why = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.code() == Some(2) && why.contains("queue.url: is empty"), "{told:?}");
    }
}

#[test]
fn wrong_usage_begins_nothing() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a", "1");
    let twice = [file.clone(), {
        fs::create_dir(desk.path("in/d")).unwrap();
        desk.input("d/a", "2")
    }];
    for (before, files, after, words) in [
        (vec![], vec![file.clone()], vec![], "give a command after --"),
        (vec![], vec![file.clone()], vec!["no-such-program-anywhere"], "no such program in PATH"),
        (vec!["--output", "{x}"], vec![file.clone()], vec!["true"], "{x} stands for nothing here"),
        (vec![], vec![file.clone()], vec!["cp", "{output}"], "{output} stands for nothing here"),
        (vec!["--output", "o/{stem}"], twice.to_vec(), vec!["true"], "would both write"),
        (vec!["--count", "0"], vec![file.clone()], vec!["true"], "expected a number from 1 on"),
        (vec!["--count", "t=2"], vec![file.clone()], vec!["true"], "t is not the type of this run"),
        (vec!["--mode", "container"], vec![file.clone()], vec!["true"], "needs an image"),
    ] {
        let (code, said) = desk.run(&before, &files, &after);
        assert!(code == Some(2) && said.contains(words), "{code:?} {said}");
    }
    assert!(!desk.path("o").exists());
    assert_eq!(db.open().counts().unwrap(), []);
}

#[test]
fn a_type_of_the_host_is_named_as_it_is_for_jobs_that_are_put_in() {
    for db in Db::both("a_type_of_the_host_is_named_as_it_is_for_jobs_that_are_put_in") {
        let desk = Desk::new(&db);
        let file = desk.input("a", "x");
        let dir = desk.dir.path().display().to_string();
        fs::create_dir(desk.path("types")).unwrap();
        let kind = format!(
            "output = \"{dir}/out/{{name}}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{{input}}\", \"{{output}}\"]\n[retry]\nattempts = 1\n"
        );
        fs::create_dir(desk.path("out")).unwrap();
        fs::write(desk.path("types/copy.toml"), kind).unwrap();
        let config = format!("{dir}/unwedge.toml");
        fs::write(&config, format!("[jobs]\ndir = \"{dir}/types\"\n")).unwrap();
        let of = |kind| {
            desk.run(&["--config", &config, "--type", kind], std::slice::from_ref(&file), &[])
        };
        let (code, said) = of("copy");
        assert_eq!(
            (code, fs::read(desk.path("out/a")).ok()),
            (Some(0), Some(b"x".to_vec())),
            "{said}"
        );
        // and for a program in one object
        fs::create_dir_all(desk.path("in/dir")).unwrap();
        let (code, said) = desk.run(
            &["--json", "--config", &config, "--type", "copy"],
            &[file.clone(), desk.path("in/dir")],
            &[],
        );
        let told: serde_json::Value =
            serde_json::from_str(said.lines().find(|it| it.starts_with('{')).unwrap()).unwrap();
        assert_eq!(
            (code, &told["done"], &told["schema"]),
            (Some(1), &1.into(), &1.into()),
            "{said}"
        );
        assert!(told["not"][0]["input"].as_str().unwrap().ends_with("/in/dir"), "{said}");
        assert!(told["not"][0]["job"].is_number(), "{said}");
        let (code, said) = of("none");
        assert!(code != Some(0) && said.contains("types/none.toml"), "{said}");
    }
}

#[test]
fn a_run_takes_up_what_was_put_in_and_never_by_another_definition() {
    for db in Db::both("a_run_takes_up_what_was_put_in_and_never_by_another_definition") {
        let desk = Desk::new(&db);
        let files = [desk.input("a", "x"), desk.input("b", "y")];
        let dir = desk.dir.path().display().to_string();
        fs::create_dir(desk.path("types")).unwrap();
        fs::create_dir(desk.path("out")).unwrap();
        let kind = format!(
            "output = \"{dir}/out/{{name}}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{{input}}\", \"{{output}}\"]\n"
        );
        fs::write(desk.path("types/copy.toml"), kind).unwrap();
        let config = format!("{dir}/unwedge.toml");
        fs::write(&config, format!("[jobs]\ndir = \"{dir}/types\"\n")).unwrap();
        let put = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .args(["--config", &config, "jobs", "submit", "copy", "--queue", &desk.queue])
            .arg(&files[0])
            .output()
            .unwrap();
        assert!(put.status.success(), "{put:?}");
        let words = ["--config", &config, "--type", "copy"];
        let (code, said) = desk.run(&[&words[..], &["--dry-run"]].concat(), &files, &[]);
        assert!(
            code == Some(0)
                && said.contains("would go on with ")
                && said.contains("job 1, pending")
                && said.contains("would put in "),
            "{said}"
        );
        // one with the type by another definition has its lane
        let mut store = db.open();
        let mark = ["other", "one", "one"].map(str::to_owned);
        let [digest, first_tier, uses] = mark;
        let types = [("copy".to_owned(), TypeMark { digest, first_tier, uses, rests: None })];
        let other = NewWorker { types: types.into(), ..crate::store::new_worker("there:1:1", "d") };
        store.register(&other).unwrap();
        for words in [&words[..], &[&words[..], &["--dry-run"]].concat()] {
            let (code, said) = desk.run(words, &files, &[]);
            assert!(
                code == Some(1)
                    && said.contains("works by another definition of copy")
                    && said.contains("nothing was put in"),
                "{said}"
            );
        }
        assert_eq!(db.rows("SELECT id, type, state FROM unwedge_jobs"), [["1", "copy", "pending"]]);
        store.leave("there:1:1").unwrap();
        let (code, said) = desk.run(&words, &files, &[]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            db.rows("SELECT type, state FROM unwedge_jobs ORDER BY id"),
            [["copy", "done"], ["copy", "done"]]
        );
    }
}

#[test]
fn what_a_run_would_do_is_told_and_nothing_is_written() {
    for db in Db::both("what_a_run_would_do_is_told_and_nothing_is_written") {
        let desk = Desk::new(&db);
        let names = ["new", "done", "gone", "bad", "aside"];
        let files: Vec<PathBuf> = names.iter().map(|name| desk.input(name, name)).collect();
        let script = desk
            .script("case $1 in *bad) exit 1;; *aside) echo x >$2.other; exit 65;; esac; cp $1 $2");
        let words = [script.as_str(), "{input}", "{output}"];
        let dry = ["--output", "out/{name}", "--dry-run"];
        let (code, said) = desk.run(&dry, &files, &words);
        assert_eq!((code, said.matches("would put in ").count()), (Some(0), 5), "{said}");
        assert!(!db.is_made() && !desk.path("out").exists(), "{said}");
        let (code, said) = desk.run(&dry[..2], &files[1..], &words);
        assert_eq!(code, Some(1), "{said}");
        fs::remove_file(desk.path("out/gone")).unwrap();
        db.rows(
            "UPDATE unwedge_jobs SET class = 'permanent' WHERE key LIKE '%/aside' RETURNING id",
        );
        let before = db.rows("SELECT id, state, class, changed_ms FROM unwedge_jobs ORDER BY id");
        let told = |more: &[&str]| -> Vec<(String, String)> {
            let (code, said) = desk.run(&[&dry[..], more].concat(), &files, &words);
            assert_eq!(code, Some(0), "{said}");
            let told: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(told["mode"], "dry-run");
            let files = told["files"].as_array().unwrap().iter();
            files
                .map(|it| {
                    let name = Path::new(it["input"].as_str().unwrap()).file_name().unwrap();
                    let deed = it["deed"].as_str().unwrap().to_owned();
                    (name.to_str().unwrap().to_owned(), deed)
                })
                .collect()
        };
        let expected = |aside: &str| {
            ["put-in", "leave", "try-again", "try-again", aside]
                .iter()
                .zip(names)
                .map(|(deed, name)| (name.to_owned(), (*deed).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&["--json"]), expected("leave"));
        assert_eq!(told(&["--json", "--again"]), expected("try-again"));
        let after = db.rows("SELECT id, state, class, changed_ms FROM unwedge_jobs ORDER BY id");
        assert_eq!((after, desk.path("out/gone").exists()), (before, false));
    }
}

#[test]
fn how_far_it_is_is_a_bar_on_a_terminal_and_lines_elsewhere() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let files = [desk.input("a", "x"), desk.input("b", "y")];
    let gate = desk.path("go").display().to_string();
    let script = desk.script(&format!("until test -e {gate}; do sleep 0.05; done; cp $1 $2"));
    let words = [script.as_str(), "{input}", "{output}"];
    let run = desk.command(&["--output", "out/{name}", "--count", "2"], &files, &words);
    let line: Vec<String> = std::iter::once(run.get_program())
        .chain(run.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut told = Vec::new();
    for is_terminal in [true, false] {
        let said = desk.path("said");
        let mut command = if is_terminal {
            let mut command = Command::new("/usr/bin/script");
            command.args(["--quiet", "--return", "--command", &line.join(" ")]);
            command.arg("--flush").arg(&said).stdout(Stdio::null());
            command
        } else {
            let mut command =
                desk.command(&["--output", "again/{name}", "--count", "2"], &files, &words);
            command.stdout(fs::File::create(&said).unwrap());
            command
        };
        command.current_dir(desk.dir.path()).env("XDG_STATE_HOME", desk.path("state"));
        let mut own = Own(command.stdin(Stdio::null()).spawn().unwrap());
        // one line is told every ten seconds
        let start = Instant::now();
        while !fs::read_to_string(&said).is_ok_and(|it| it.contains("0 of 2 done, 2 running")) {
            assert!(start.elapsed().as_secs() < 60, "{:?}", fs::read_to_string(&said));
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::write(&gate, "").unwrap();
        assert_eq!(own.0.wait().unwrap().code(), Some(0));
        told.push(fs::read_to_string(&said).unwrap());
        fs::remove_file(&gate).unwrap();
    }
    let [terminal, plain] = told.as_slice() else { panic!() };
    let empty = format!("\r[{}] 0 of 2 done, 2 running, 0 waiting, 0 failed\x1b[K", " ".repeat(20));
    assert!(terminal.contains(&empty), "{terminal:?}");
    assert!(terminal.contains("\r\x1b[K2 done, 0 not"), "{terminal:?}");
    assert_eq!(plain, "0 of 2 done, 2 running, 0 waiting, 0 failed\n2 done, 0 not\n");
}

#[test]
fn the_times_of_the_host_are_those_of_a_run() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let files = [desk.input("a", "x")];
    let config = desk.path("unwedge.toml").display().to_string();
    let script = desk.script(&format!("echo >{}; sleep 4321", desk.path("begun").display()));
    let words = [script.as_str(), "{input}", "{output}"];
    let flags = ["--config", &config, "--output", "out/{name}"];
    // whoever loses its worker once is put aside where that is said, and with it the run is over
    fs::write(&config, "[jobs]\nrescues = 1\n").unwrap();
    let mut own = desk.spawn(&flags, &files, &words);
    await_that("it runs", || desk.path("begun").exists());
    let runner = children(i32::try_from(own.0.id()).unwrap())[0];
    kill(runner, rustix::process::Signal::KILL);
    await_that("the run is over", || own.0.try_wait().unwrap().is_some());
    assert_eq!(own.0.wait().unwrap().code(), Some(1));
    assert_eq!(
        db.rows("SELECT state, class, rescues FROM unwedge_jobs"),
        [["quarantined", "crashed", "1"]]
    );
    // nothing is begun where there is not as much room as that
    fs::remove_file(desk.path("begun")).unwrap();
    fs::write(&config, "[jobs]\nmin_free_mib = 1000000000\n").unwrap();
    let more = [desk.input("b", "x")];
    let mut command = desk.command(&[&flags[..], &["--json"]].concat(), &more, &words);
    let [said, told] = ["said", "told"].map(|name| desk.path(name));
    command.stdout(fs::File::create(&told).unwrap());
    let mut own = Own(command.stderr(fs::File::create(&said).unwrap()).spawn().unwrap());
    await_that("it says why", || {
        fs::read_to_string(&said).is_ok_and(|it| {
            it.contains("nothing runs: no-capable-worker: ") && it.contains("no room: ")
        })
    });
    kill(i32::try_from(own.0.id()).unwrap(), rustix::process::Signal::INT);
    assert_eq!(own.0.wait().unwrap().code(), Some(130));
    assert!(!desk.path("begun").exists());
    // a program is told of it, too
    let told = fs::read(&told).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let why = told["said"][0].as_str().unwrap();
    assert!(told["code"] == 130 && why.starts_with("interrupted; "), "{told}");
}

#[test]
fn a_queue_that_is_named_is_used_on_the_terms_of_the_configuration() {
    for db in Db::both("a_queue_that_is_named_is_used_on_the_terms_of_the_configuration") {
        let desk = Desk::new(&db);
        let files = [desk.input("a", "x"), desk.input("b", "y")];
        let config = desk.path("unwedge.toml").display().to_string();
        let text = "[queue]\nurl = \"sqlite:///nowhere/q.db\"\nadapter = \"unwedge\"\nbreaker = 1\nbreaker_waits = [\"1h\"]\n";
        fs::write(&config, text).unwrap();
        let kind = desk.kind("[[tier]]\nargv = [\"/bin/false\"]\n[exit]\n1 = \"configuration\"\n");
        drop(db.open());
        let mut own = desk.spawn(&["--config", &config, "--type", &kind], &files, &[]);
        await_that("one such failure closes the lane", || {
            db.rows("SELECT type FROM unwedge_lanes WHERE opened_ms IS NOT NULL").len() == 1
        });
        assert_eq!(
            db.rows("SELECT count(*) FROM unwedge_attempts WHERE class = 'configuration'"),
            [["1"]]
        );
        kill(i32::try_from(own.0.id()).unwrap(), rustix::process::Signal::INT);
        own.0.wait().unwrap();
    }
}

#[test]
fn an_input_whose_directory_was_never_there_is_no_fault_of_its_storage() {
    let db = Db::file();
    let desk = Desk::new(&db);
    drop(db.open());
    let files = [desk.path("nowhere/a")];
    let words = ["cp", "{input}", "{output}"];
    // it was put in, and could not be made, while it was there
    fs::create_dir_all(&files[0]).unwrap();
    assert_eq!(desk.run(&["--output", "out/{name}"], &files, &words).0, Some(1));
    fs::remove_dir_all(desk.path("nowhere")).unwrap();
    let mut own = desk.spawn(&["--output", "out/{name}"], &files, &words);
    assert_eq!(own.0.wait().unwrap().code(), Some(1));
    let classes = db.rows("SELECT class FROM unwedge_attempts");
    assert_eq!(classes.concat(), ["failed", "failed"]);
}

#[test]
fn what_cannot_go_well_is_refused_before_anything_is_put_in() {
    for db in Db::both("what_cannot_go_well_is_refused_before_anything_is_put_in") {
        let desk = Desk::new(&db);
        let (file, gone) = (desk.input("a", "x"), desk.path("in/gone"));
        let out = ["--output", "out/{name}"];
        let copy = ["cp", "{input}", "{output}"];
        let refused = |before: &[&str], files: &[PathBuf], words: &[&str], expected: &str| {
            let (code, said) = desk.run(before, files, words);
            assert!(code == Some(2) && said.contains(expected), "{code:?} {said}");
        };
        let both = [file.clone(), gone.clone()];
        refused(&out, &both, &copy, "in/gone: no such file; nothing was put in");
        refused(&["--dry-run", out[0], out[1]], &both, &copy, "in/gone: no such file");
        let files = std::slice::from_ref(&file);
        refused(&["--output", ""], files, &copy, "is no place for a result");
        refused(&[], files, &copy, "where results go is said by output");
        refused(
            &out,
            files,
            &["./none", "{input}", "{output}"],
            "./none: no program that can be run",
        );
        fs::write(desk.path("plain"), "#!/bin/sh\n").unwrap();
        refused(
            &out,
            files,
            &["./plain", "{input}", "{output}"],
            "./plain: no program that can be run",
        );
        assert_eq!(db.open().counts().unwrap(), []);
        // one that is a job already is gone on with: what it has done with its input is its own affair
        let moves = ["mv", "{input}", "{output}"];
        assert_eq!(desk.run(&out, files, &moves).0, Some(0));
        assert_eq!(desk.run(&out, files, &moves).0, Some(0));
    }
}

#[test]
fn what_was_called_off_is_made_after_all_where_somebody_says_so() {
    for db in Db::both("what_was_called_off_is_made_after_all_where_somebody_says_so") {
        let desk = Desk::new(&db);
        let file = desk.input("a", "x");
        let files = std::slice::from_ref(&file);
        drop(db.open());
        let mut own = desk.spawn(&["--output", "out/{name}"], files, &["sleep", "4321"]);
        await_that("it is at work", || {
            db.rows("SELECT 1 FROM unwedge_jobs WHERE state = 'running'").len() == 1
        });
        db.open().change(&Which::ids(&[1]), &Change::Cancel, "a test", false).unwrap();
        assert_eq!(own.0.wait().unwrap().code(), Some(1));
        let (code, said) = desk.run(&["--output", "out/{name}"], files, &["sleep", "4321"]);
        assert!(
            code == Some(1) && said.contains("called off; --again has it made after all"),
            "{said}"
        );
        let mut own = desk.spawn(&["--again", "--output", "out/{name}"], files, &["sleep", "4321"]);
        await_that("it is at work again", || {
            db.rows("SELECT 1 FROM unwedge_jobs WHERE state = 'running'").len() == 1
        });
        kill(i32::try_from(own.0.id()).unwrap(), rustix::process::Signal::TERM);
        own.0.wait().unwrap();
    }
}

#[test]
fn what_is_no_file_is_no_result_and_nothing_of_it_is_left() {
    for db in Db::both("what_is_no_file_is_no_result_and_nothing_of_it_is_left") {
        let desk = Desk::new(&db);
        let names = ["link", "pipe", "folder", "file"];
        let files: Vec<PathBuf> = names.iter().map(|name| desk.input(name, "x")).collect();
        let script = desk.script(
            "case $1 in *link) ln -s /etc/hostname $2;; *pipe) mkfifo $2;; *folder) mkdir -p $2/in; exit 1;; *) cp $1 $2;; esac",
        );
        let (code, said) =
            desk.run(&["--output", "out/{name}"], &files, &[&script, "{input}", "{output}"]);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(
            said.matches("its result is neither a file nor a directory").count(),
            2,
            "{said}"
        );
        let there: Vec<_> =
            fs::read_dir(desk.path("out")).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(there, ["file"]);
    }
}

#[test]
fn a_directory_is_a_result_as_a_whole_and_never_the_same_as_another() {
    for db in Db::both("a_directory_is_a_result_as_a_whole_and_never_the_same_as_another") {
        let desk = Desk::new(&db);
        let files: Vec<PathBuf> =
            ["full", "empty", "there"].iter().map(|name| desk.input(name, "x")).collect();
        let script = desk.script("mkdir $2; test ${1##*/} = empty || cp $1 $2/of");
        fs::create_dir_all(desk.path("out/there")).unwrap();
        fs::write(desk.path("out/there/of"), "x").unwrap();
        let (code, said) =
            desk.run(&["--output", "out/{name}"], &files, &[&script, "{input}", "{output}"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("its result is a directory with nothing in it"), "{said}");
        assert!(said.contains("quarantined (conflict)"), "{said}");
        assert_eq!(fs::read_to_string(desk.path("out/full/of")).unwrap(), "x");
        let mut there: Vec<_> =
            fs::read_dir(desk.path("out")).unwrap().map(|it| it.unwrap().file_name()).collect();
        there.sort();
        // what is a second one to what is there is kept beside it, whole
        let second = second_of(&desk.path("out/there"), &db.open().mark().unwrap(), 3);
        assert_eq!(fs::read_to_string(second.join("of")).unwrap(), "x");
        let second = second.file_name().unwrap().to_owned();
        assert_eq!(there, [second, "full".into(), "there".into()]);
        let kind = desk.kind(&format!(
            "output = \"{}/{{name}}\"\n[[tier]]\nargv = [\"{script}\", \"{{input}}\", \"{{output}}\"]\naccept = {{ must_match = \"x\" }}\n[retry]\nattempts = 1\n",
            desk.path("other").display()
        ));
        let (code, said) = desk.run(&["--type", &kind], &files[..1], &[]);
        assert!(code == Some(1) && said.contains("must_match is of a file"), "{said}");
    }
}

#[test]
fn however_a_file_is_spelled_it_is_one_job() {
    for db in Db::both("however_a_file_is_spelled_it_is_one_job") {
        let desk = Desk::new(&db);
        desk.input("a", "x");
        let script = desk.script(&format!("echo run >>{}; cp $1 $2", desk.path("runs").display()));
        for (file, output) in
            [("in/a", "out/{name}"), ("./in/a", "out/{name}"), ("in//a", "./out/{name}")]
        {
            let (code, said) = desk.run(
                &["--output", output],
                &[PathBuf::from(file)],
                &[&script, "{input}", "{output}"],
            );
            assert_eq!(code, Some(0), "{file}: {said}");
        }
        // the last is another type, as it says something else, and its output the same
        let keys = db.rows("SELECT DISTINCT key, output FROM unwedge_jobs");
        let at = |name: &str| desk.path(name).display().to_string();
        assert_eq!(keys, [[at("in/a"), at("out/a")]]);
        assert_eq!(fs::read_to_string(desk.path("runs")).unwrap(), "run\nrun\n");
    }
}

#[test]
fn so_many_run_at_once_as_was_said_of_the_type() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let files: Vec<PathBuf> = (0..6).map(|nth| desk.input(nth.to_string(), "x")).collect();
    let at = desk.path("at").display().to_string();
    fs::create_dir(&at).unwrap();
    // each waits until another is there beside it, and says how many it has seen
    let script = desk.script(&format!(
        "touch {at}/$$; until test $(ls {at} | wc -l) -ge 2; do sleep 0.02; done; sleep 0.2; ls {at} | wc -l >>{at}.most; rm {at}/$$; cp $1 $2"
    ));
    let out = desk.path("out").display().to_string();
    let kind = desk.kind(&format!(
        "output = \"{out}/{{name}}\"\nconcurrency = 1\n[[tier]]\nargv = [\"{script}\", \"{{input}}\", \"{{output}}\"]\nlimit = \"20s\"\n"
    ));
    let mut own = desk.spawn(&["--type", &kind, "--count", "kind=2"], &files, &[]);
    await_that("most are done", || fs::read_dir(&out).is_ok_and(|it| it.count() >= 5));
    // the last one has nobody beside it
    fs::write(format!("{at}/other"), "").unwrap();
    assert_eq!(own.0.wait().unwrap().code(), Some(0));
    let seen = fs::read_to_string(format!("{at}.most")).unwrap();
    assert!(seen.lines().filter(|it| *it == "2").count() >= 4 && !seen.contains('4'), "{seen}");
}

#[test]
fn what_came_of_many_is_written_down_together_where_the_type_allows_it() {
    let Some(db) =
        Db::server("what_came_of_many_is_written_down_together_where_the_type_allows_it")
    else {
        return;
    };
    let desk = Desk::new(&db);
    let files: Vec<PathBuf> = (0..60).map(|nth| desk.input(nth.to_string(), "x")).collect();
    // each statement is a transaction of its own
    let statements = || db.rows("SELECT DISTINCT xmin::text FROM unwedge_attempts").len();
    let kind = |batch: u32| {
        format!("batch = {batch}\nconcurrency = 2\n[[tier]]\nargv = [\"/bin/true\"]\n")
    };
    fs::write(desk.path("alone.toml"), kind(1)).unwrap();
    let alone = desk.path("alone.toml").display().to_string();
    let (code, said) = desk.run(&["--type", &alone], &files, &[]);
    assert_eq!(code, Some(0), "{said}");
    let each = statements();
    db.rows("DELETE FROM unwedge_attempts");
    fs::write(desk.path("many.toml"), kind(64)).unwrap();
    let many = desk.path("many.toml").display().to_string();
    let (code, said) = desk.run(&["--type", &many], &files, &[]);
    assert_eq!(code, Some(0), "{said}");
    let together = statements();
    assert!(each > 30 && together < 15, "{each} {together}");
}

#[test]
fn what_a_command_of_a_run_said_is_kept_and_is_never_that_of_another_queue() {
    let (one, other) = (Db::file(), Db::file());
    let desk = Desk::new(&one);
    let file = desk.input("a", "x");
    let logs_of = |queue: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.args(["jobs", "logs", "1", "--queue", queue]).env("HOME", desk.path("home"));
        command.args(more);
        let output = command.env_remove("XDG_STATE_HOME").output().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let logs = |queue: &str| logs_of(queue, &[]);
    let run = |queue: &str, words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command
            .current_dir(desk.dir.path())
            .env("HOME", desk.path("home"))
            .env_remove("XDG_STATE_HOME");
        command.args(["run", "--queue", queue]).arg(&file).args(["--", "/bin/sh", "-c", words]);
        command.output().unwrap()
    };
    run(&desk.queue, "echo what it said; exit 1");
    assert_eq!(logs(&desk.queue), "== 1\nwhat it said\n");
    let told = logs_of(&desk.queue, &["--try", "9"]);
    assert!(told.contains("there is no try 9; there were 1"), "{told}");
    let another = Desk::new(&other).queue;
    run(&another, "exit 0");
    let told = logs(&another);
    assert!(told.contains("that is not kept on this host"), "{told}");
    // of one that says much, half a MiB of its beginning and as much of its end
    let third = Db::file();
    let much = Desk::new(&third).queue;
    run(&much, "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last; exit 1");
    let told = logs(&much);
    assert!(told.starts_with("== 1\nfirst\nxx") && told.ends_with("xx\nlast\n"), "{}", told.len());
    assert!((1_048_576..1_049_000).contains(&told.len()), "{}", told.len());
    for log in fs::read_dir(desk.path("home/.local/state/unwedge/logs")).unwrap().flatten() {
        if log.metadata().unwrap().len() > 1_000 {
            fs::remove_file(log.path()).unwrap();
        }
    }
    // they go after a week, with the next run
    let kept = || {
        fs::read_dir(desk.path("home/.local/state/unwedge/logs"))
            .unwrap()
            .map(|it| it.unwrap().path())
    };
    assert_eq!(kept().count(), 1, "one that said nothing has none");
    let old = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for log in kept() {
        fs::File::options().append(true).open(&log).unwrap().set_modified(old).unwrap();
    }
    run(&another, "exit 1");
    assert_eq!(kept().count(), 0);
}

#[test]
fn a_result_is_one_by_what_must_be_in_it_and_by_a_command_that_looks_at_it() {
    for db in Db::both("a_result_is_one_by_what_must_be_in_it_and_by_a_command_that_looks_at_it") {
        let desk = Desk::new(&db);
        let files: Vec<PathBuf> =
            ["good", "odd", "bad", "late"].iter().map(|name| desk.input(name, name)).collect();
        let out = desk.path("out").display().to_string();
        fs::create_dir(&out).unwrap();
        let check = "case $(cat $0) in \"it is bad\") echo no good >&2; exit 1;; \"it is late\") exit 75;; esac";
        let kind = desk.kind(&format!(
            "output = \"{out}/{{name}}\"\n[[tier]]\nname = \"one\"\nargv = [\"/bin/bash\", \"-c\", 'case $0 in *odd) echo odd;; *) echo it is $(cat $0);; esac >$1', \"{{input}}\", \"{{output}}\"]\n\
             accept = {{ must_match = '(?m)^it is \\w+$', check = {{ argv = [\"/bin/bash\", \"-c\", '{check}', \"{{output}}\"], limit = \"5s\" }} }}\n\
             [[tier]]\nname = \"two\"\nargv = [\"/bin/bash\", \"-c\", 'case $0 in *odd) cp $0 $1;; *) exit 1;; esac', \"{{input}}\", \"{{output}}\"]\n\
             [retry]\nattempts = 1\n[exit]\n75 = \"permanent\"\n"));
        let (code, said) = desk.run(&["--type", &kind], &files, &[]);
        assert_eq!(code, Some(1), "{said}");
        let rows =
            db.rows("SELECT key, state, coalesce(class, ''), coalesce(tier, '') FROM unwedge_jobs");
        for (name, expected) in [
            ("good", ["done", "", "one"]),
            // what lacks it is done by the next
            ("odd", ["done", "", "two"]),
            ("bad", ["quarantined", "failed", "two"]),
            // an exit code of the command that looks means what it means of any
            ("late", ["quarantined", "permanent", "one"]),
        ] {
            let row = rows.iter().find(|row| row[0].ends_with(&format!("/{name}"))).unwrap();
            assert_eq!(row[1..], expected, "{name}: {said}");
        }
        let wrong = "output = \"/o/{name}\"\n[[tier]]\nargv = [\"/bin/true\"]\naccept = { must_match = \"(\" }\n";
        let (code, said) = desk.run(&["--type", &desk.kind(wrong)], &files, &[]);
        assert!(code != Some(0) && said.contains("must_match: error: unclosed group"), "{said}");
    }
}

lab_test! {
    fn what_cannot_be_flushed_to_its_disk_is_no_result(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let (queue, kind) = (format!("sqlite://{}", lab.dir.join("q.db").display()), lab.dir.join("t.toml"));
        let text = format!(
            "output = \"{}/{{name}}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{{input}}\", \"{{output}}\"]\n[retry]\ninfra_attempts = 1\n",
            base.display()
        );
        fs::write(&kind, text).unwrap();
        let run = |name: &str| {
            let input = lab.dir.join(name);
            fs::write(&input, name).unwrap();
            let words = ["run", "--queue", &queue, "--type", kind.to_str().unwrap(), input.to_str().unwrap()];
            let ran = lab.run(Path::new(env!("CARGO_BIN_EXE_unwedge")), &words);
            (ran.code, format!("{}{}", ran.stdout, ran.stderr))
        };
        let names = || -> BTreeSet<OsString> { fs::read_dir(&base).unwrap().map(|it| it.unwrap().file_name()).collect() };
        fault.order("flush:5");
        let before = names();
        let (code, said) = run("a");
        assert!(code == Some(1) && said.contains("flush the result of") && said.contains("Input/output error"), "{said}");
        assert_eq!(names(), before, "nothing of it is there, under whatever name");
        // its name may be lost with the power, and so it is not said to be done; it is known again
        fault.order("flush-dir:5");
        let (code, said) = run("b");
        assert!(code == Some(1) && said.contains("flush the directory of"), "{said}");
        // nor by the next try, which finds it there
        let (code, said) = run("b");
        assert!(code == Some(1) && said.contains("flush the result of"), "{said}");
        fault.order("alive");
        for name in ["a", "b"] {
            let (code, said) = run(name);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(fs::read_to_string(base.join(name)).unwrap(), name);
        }
    }
}

lab_test! {
    fn who_looks_whether_storage_answers_is_no_process_of_the_job_and_is_not_killed(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let (begun, go, script, kind) = (lab.dir.join("begun"), lab.dir.join("go"), lab.dir.join("fails"), lab.dir.join("t.toml"));
        lab.script(&script, &format!("#!/bin/sh\n: >{}\nuntil test -e {}; do sleep 0.05; done\nexit 75\n", begun.display(), go.display()));
        fs::write(&kind, format!("[[tier]]\nargv = [\"{}\"]\n[exit]\n75 = \"transient\"\n[retry]\ninfra_attempts = 1\n", script.display())).unwrap();
        let (out, queue) = (lab.dir.join("said"), format!("sqlite://{}", lab.dir.join("q.db").display()));
        let mut ran = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .args(["run", "--queue", &queue, "--type"]).arg(&kind).arg(base.join("data.txt"))
            .stdout(fs::File::create(&out).unwrap()).stderr(Stdio::null())
            .spawn().unwrap();
        await_that("it runs", || begun.exists());
        fault.order("swallow");
        fs::write(&go, "").unwrap();
        await_that("it is over", || ran.try_wait().unwrap().is_some());
        let said = fs::read_to_string(&out).unwrap();
        assert!(said.contains("exit 75") && !said.contains("cannot be killed"), "{said}");
        // whom somebody has killed dies as soon as it is let go
        let waits = fs::read_dir("/proc").unwrap().flatten().filter_map(|it| fs::read_to_string(it.path().join("status")).ok());
        let waits: Vec<String> = waits.filter(|it| it.starts_with("Name:\tua")).collect();
        let is_killed = |status: &String| status.lines().any(|it| it.contains("Pnd:") && it.ends_with("100"));
        assert!(!waits.is_empty() && !waits.iter().any(is_killed), "{waits:?}");
        fault.order("alive");
    }
}

lab_test! {
    fn a_run_that_may_not_write_begins_nothing(lab) {
        let out = lab.root("out");
        fs::create_dir_all(&out).unwrap();
        rustix::mount::mount("tmpfs", &out, "tmpfs", rustix::mount::MountFlags::RDONLY, None).unwrap();
        let input = lab.dir.join("in");
        fs::write(&input, "x").unwrap();
        let (queue, output) = (format!("sqlite://{}", lab.dir.join("q.db").display()), format!("{}/{{name}}", out.display()));
        let words = ["run", "--queue", &queue, "--output", &output, input.to_str().unwrap(), "--", "/bin/cp", "{input}", "{output}"];
        let ran = lab.run(Path::new(env!("CARGO_BIN_EXE_unwedge")), &words);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(ran.code == Some(1) && said.contains("/out: make a file in it: Read-only file system"), "{said}");
        rustix::mount::unmount(&out, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

lab_test! {
    fn a_queue_in_a_file_on_storage_that_may_hang_is_refused_by_whoever_would_make_it(lab) {
        let (base, alive) = (lab.root("box"), lab.root("alive"));
        let _hung = lab.fault(&base, &["--mode", "swallow"]);
        let _other = lab.fault(&alive, &[]);
        let input = lab.dir.join("in");
        fs::write(&input, "x").unwrap();
        let input = input.to_str().unwrap();
        for dir in [&base, &alive] {
            let url = format!("sqlite://{}/q.db", dir.display());
            lab.configure("", &format!("[queue]\nurl = \"{url}\"\nadapter = \"unwedge\"\ntimeout = \"500ms\"\n"));
            let unwedge = Path::new(env!("CARGO_BIN_EXE_unwedge"));
            for words in [
                &["run", "--queue", &url, input, "--", "/bin/true"][..],
                &["jobs", "list", "--queue", &url],
                &["workers", "list", "--queue", &url],
            ] {
                let ran = lab.run(unwedge, words);
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(ran.code.is_some_and(|it| it != 0), "{words:?}: {said}");
                assert!(said.contains("SQLite is not read over a network or FUSE file system") && said.contains("or the queue to PostgreSQL"), "{words:?}: {said}");
                assert!(ran.took < Duration::from_secs(10), "{words:?}: {ran:?}");
            }
        }
        assert!(!alive.join("q.db").exists());
    }
}

#[test]
fn whatever_lies_where_a_result_goes_is_told_from_it_at_once() {
    let db = Db::file();
    let desk = Desk::new(&db);
    fs::create_dir(desk.path("out")).unwrap();
    let out = |name: &str| desk.path("out").join(name);
    let made = Command::new("/usr/bin/mkfifo").arg(out("pipe")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("nowhere", out("link")).unwrap();
    fs::create_dir(out("dir")).unwrap();
    let files = ["pipe", "link", "dir"].map(|name| desk.input(name, "x"));
    let words = ["/bin/cp", "{input}", "{output}"];
    let (code, said) = desk.run(&["--output", "out/{name}"], &files, &words);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("quarantined (conflict)").count(), 3, "{said}");
    // nor is what nobody may read the fault of what is around it; root may
    let free = [desk.input("free", "x")];
    let script = desk.script("cp \"$1\" \"$2\"; chmod 0 \"$2\"");
    let words = [script.as_str(), "{input}", "{output}"];
    let (code, said) = desk.run(&["--output", "out/{name}"], &free, &words);
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(code, Some(i32::from(!is_root)), "{said}");
    assert_eq!(said.contains("may not be read by its owner"), !is_root, "{said}");
}

#[test]
fn a_command_has_the_locale_of_whoever_runs_it_and_letters_are_letters() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let script = desk.script(
        "echo \"$LANG $LC_ALL ${#1}\" >\"$2\"; ls nowhere 2>&1 | grep -c 'No such file' >>\"$2\"",
    );
    for (name, more, expected) in
        [("a", vec![], "C.UTF-8  1\n1\n"), ("b", vec![("LANG", "C")], "C  2\n1\n")]
    {
        let file = desk.input(name, "x");
        let words = [script.as_str(), "é", "{output}"];
        let mut command = desk.command(&["--output", "{name}.out"], &[file], &words);
        command.env_remove("LC_ALL").env_remove("LANG").env_remove("LC_MESSAGES").envs(more);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(fs::read_to_string(desk.path(&format!("{name}.out"))).unwrap(), expected);
    }
}

#[test]
fn a_result_that_may_be_empty_is_not_what_lies_there_already() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let kind = desk.kind(
        "output = \"out/{name}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"exit $(cat $0)\", \"{input}\"]\nempty = \"allowed\"\n\
         [exit]\n7 = \"unchanged\"\n",
    );
    fs::create_dir(desk.path("out")).unwrap();
    for (name, there, says, code) in
        [("full", "old", "0", 1), ("empty", "", "0", 0), ("right", "old", "7", 0)]
    {
        fs::write(desk.path("out").join(name), there).unwrap();
        let file = desk.input(name, says);
        let (ended, said) = desk.run(&["--type", &kind], &[file], &[]);
        assert_eq!(ended, Some(code), "{name}: {said}");
        assert_eq!(said.contains("quarantined (conflict)"), code == 1, "{said}");
        assert_eq!(fs::read_to_string(desk.path("out").join(name)).unwrap(), there);
    }
}

#[test]
fn what_this_host_cannot_run_is_no_fault_of_an_input_and_another_tool_may_make_it() {
    for db in
        Db::both("what_this_host_cannot_run_is_no_fault_of_an_input_and_another_tool_may_make_it")
    {
        let desk = Desk::new(&db);
        let file = desk.input("a", "x");
        let files = std::slice::from_ref(&file);
        let dir = desk.dir.path().display().to_string();
        let first = format!(
            "output = \"{dir}/{{name}}.out\"\n[retry]\nattempts = 1\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"no-such-library\"]\n"
        );
        let kind = |name: &str, more: &str| {
            fs::write(desk.path(name), format!("{first}{more}")).unwrap();
            ["--type".to_owned(), desk.path(name).display().to_string()]
        };
        let other = kind("two.toml", "[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n");
        assert_eq!(desk.run(&[&other[0], &other[1]], files, &[]).0, Some(0));
        assert_eq!(db.rows("SELECT tier FROM unwedge_jobs WHERE state = 'done'"), [["2"]]);
        // whoever gives a command on the spot is told at once
        let (code, said) = desk.run(&[], files, &["sh", "-c", "no-such-library"]);
        assert!(code == Some(1) && said.contains("exit 127"), "{said}");
    }
}

#[test]
fn what_a_command_writes_beside_its_place_is_named_and_taken_away() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a", "x");
    let words = ["sh", "-c", "cp \"$1\" \"$2.txt\"", "x", "{input}", "{output}"];
    let (code, said) =
        desk.run(&["--output", "out/{name}.txt"], std::slice::from_ref(&file), &words);
    assert!(
        code == Some(1)
            && said.contains("it wrote no result")
            && said.contains("-1.txt.txt instead"),
        "{said}"
    );
    assert_eq!(fs::read_dir(desk.path("out")).unwrap().count(), 0);
}

#[test]
fn what_was_done_by_a_process_is_not_done_in_an_image_by_that() {
    for db in Db::both("what_was_done_by_a_process_is_not_done_in_an_image_by_that") {
        let desk = Desk::new(&db);
        let file = desk.input("a", "x");
        let words = ["/bin/cp", "{input}", "{output}"];
        let kind = desk.kind(
            "output = \"kind/{name}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{input}\", \"{output}\"]\n",
        );
        let ways: [(&[&str], &[&str]); 2] =
            [(&["--output", "out/{name}"], &words), (&["--type", &kind], &[])];
        for (before, after) in ways {
            let run = |more: &[&str]| {
                desk.run(&[before, more].concat(), std::slice::from_ref(&file), after)
            };
            let (code, said) = run(&[]);
            assert_eq!(code, Some(0), "{said}");
            let would = |more: &[&str]| {
                let (code, said) = run(&[&["--dry-run"][..], more].concat());
                assert_eq!(code, Some(0), "{said}");
                said
            };
            assert!(would(&[]).starts_with("would leave "), "{}", would(&[]));
            let inside = would(&["--mode", "container", "--image", "tools:1"]);
            assert!(inside.starts_with("would put in "), "{inside}");
            // one that nothing would be run in is no wish that can be met
            let (code, said) = run(&["--image", "tools:1"]);
            assert!(code == Some(2) && said.contains("--mode container"), "{said}");
        }
    }
}

#[test]
fn an_image_that_is_not_here_is_told_and_not_waited_for() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a", "x");
    let engine = desk.script(
        "case $1 in\nimage) echo no such image >&2; exit 1 ;;\ninfo) echo '{\"host\":{\"security\":{\"rootless\":true},\"serviceIsRemote\":false}}' ;;\nesac",
    );
    let config = desk.path("unwedge.toml").display().to_string();
    fs::write(&config, format!("[jobs]\nengine = [\"{engine}\"]\n")).unwrap();
    let before =
        ["--config", &config, "--mode", "container", "--image", "no:1", "--output", "out/{name}"];
    let (code, said) = desk.run(&before, &[file], &["/bin/cp", "{input}", "{output}"]);
    assert!(code == Some(1) && said.contains("no:1: no such image here"), "{said}");
    assert_eq!(db.open().counts().unwrap(), []);
    assert!(!desk.path("out").exists());
}

#[test]
fn of_many_files_none_is_put_in_where_one_is_refused() {
    for db in Db::both("of_many_files_none_is_put_in_where_one_is_refused") {
        let desk = Desk::new(&db);
        let files: Vec<PathBuf> = (0..600).map(|nth| desk.input(nth.to_string(), "x")).collect();
        // somebody else's job waits to write what the last would
        let output = Some(desk.path("out/599").display().to_string());
        let other = unwedge::queue::store::NewJob { output, ..crate::store::job("k") };
        db.open().submit(&[other]).unwrap();
        let words = ["/bin/cp", "{input}", "{output}"];
        let (code, said) = desk.run(&["--output", "out/{name}"], &files, &words);
        assert_eq!(code, Some(1), "{said}");
        assert!(!said.contains("are put in"), "{said}");
        assert_eq!(db.rows("SELECT type, state FROM unwedge_jobs"), [["t", "pending"]], "{said}");
    }
}

#[test]
fn a_result_that_its_type_lets_it_leave_out_is_not_wanted_again() {
    for db in Db::both("a_result_that_its_type_lets_it_leave_out_is_not_wanted_again") {
        let desk = Desk::new(&db);
        let log = desk.path("log").display().to_string();
        let kind = desk.kind(&format!(
            "output = \"out/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"echo >>{log}\"]\nempty = \"allowed\"\n"
        ));
        let file = desk.input("a", "x");
        for _ in 0..2 {
            let (code, said) = desk.run(&["--type", &kind], std::slice::from_ref(&file), &[]);
            assert_eq!(code, Some(0), "{said}");
            assert!(!desk.path("out/a").exists());
            assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn an_input_that_was_written_since_it_was_done_is_told_of() {
    for db in Db::both("an_input_that_was_written_since_it_was_done_is_told_of") {
        let desk = Desk::new(&db);
        let files = [desk.input("a", "x"), desk.input("b", "x")];
        let words = ["/bin/cp", "{input}", "{output}"];
        let run = |more: &[&str]| {
            let (code, said) =
                desk.run(&[more, &["--output", "out/{name}"]].concat(), &files, &words);
            assert_eq!(code, Some(0), "{said}");
            said
        };
        let was_written = |said: String| said.contains("were written since they were done");
        assert!(!was_written(run(&[])) && !was_written(run(&[])));
        std::thread::sleep(Duration::from_millis(100));
        fs::write(&files[1], "y").unwrap();
        let said = run(&[]);
        assert!(said.contains("1 of the inputs were written since they were done, such as "));
        assert_eq!(fs::read_to_string(desk.path("out/b")).unwrap(), "x", "it is a result");
        let told: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
        let id = &db.rows("SELECT id FROM unwedge_jobs WHERE key LIKE '%/b'")[0][0];
        assert_eq!(told["changed"].to_string(), format!("[{id}]"), "{told}");
        // as it says
        fs::remove_file(desk.path("out/b")).unwrap();
        assert!(!was_written(run(&[])));
        assert_eq!(fs::read_to_string(desk.path("out/b")).unwrap(), "y");
    }
}

#[test]
fn a_queue_of_ones_own_forgets_what_failed_long_ago_and_never_what_is_done() {
    let db = Db::file();
    let desk = Desk::new(&db);
    let file = desk.input("a", "x");
    let run = |script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.current_dir(desk.dir.path()).env("XDG_STATE_HOME", desk.path("state"));
        command.arg("run").arg(&file).args(["--", "/bin/sh", "-c", script, "{input}"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("true");
    run("echo >>log");
    let own = rusqlite::Connection::open(desk.path("state/unwedge/queue.db")).unwrap();
    run("echo >>other");
    for age in [
        "UPDATE unwedge_jobs SET state = 'failed', class = 'failed', finished_ms = finished_ms - 31 * 86400000 WHERE id = 1",
        "UPDATE unwedge_jobs SET finished_ms = finished_ms - 400 * 86400000 WHERE id > 1",
    ] {
        assert!(own.execute(age, []).unwrap() > 0);
    }
    run("echo >>log");
    let left: u32 = own.query_row("SELECT count(*) FROM unwedge_jobs", [], |it| it.get(0)).unwrap();
    assert_eq!(left, 2);
    run("echo >>other");
    for log in ["log", "other"] {
        assert_eq!(fs::read_to_string(desk.path(log)).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_worker_whose_process_is_gone_is_not_left_the_work() {
    for db in Db::both("a_worker_whose_process_is_gone_is_not_left_the_work") {
        use unwedge::config::{container::Said, job_type::JobType};
        use unwedge::probes::witness;
        let desk = Desk::new(&db);
        let file = desk.input("a", "x");
        let dir = desk.dir.path().display().to_string();
        fs::create_dir(desk.path("types")).unwrap();
        let path = desk.path("types/copy.toml");
        let text = format!(
            "output = \"{dir}/out/{{name}}\"\n[[tier]]\nargv = [\"/bin/cp\", \"{{input}}\", \"{{output}}\"]\n"
        );
        fs::write(&path, &text).unwrap();
        let config = format!("{dir}/unwedge.toml");
        fs::write(&config, format!("[jobs]\ndir = \"{dir}/types\"\n")).unwrap();
        // it is gone, and something that it has started is not
        let own = witness::own().unwrap();
        let gone = format!("{}:1", own.rsplit_once(':').unwrap().0);
        let helper = desk.path(&witness::helper_name(&gone));
        fs::copy("/bin/sleep", &helper).unwrap();
        let _helper = Own(Command::new(&helper).arg("4000").spawn().unwrap());
        await_that("it is seen", || witness::fate(&gone) == witness::Fate::Ending);
        let kind = JobType::parse(&path, &text).unwrap().on_host(&Said::default()).unwrap();
        let [first_tier, uses] = ["one", "one"].map(str::to_owned);
        let mark = TypeMark { digest: kind.digest(), first_tier, uses, rests: None };
        let types = [("copy".to_owned(), mark)].into();
        let host = witness::host();
        let worker = NewWorker { types, host, ..crate::store::new_worker(&gone, "d") };
        db.open().register(&worker).unwrap();
        let (code, said) = desk.run(&["--config", &config, "--type", "copy"], &[file], &[]);
        assert!(code == Some(0) && !said.contains("works on them"), "{said}");
    }
}

#[test]
fn a_queue_that_is_away_for_a_moment_starts_no_second_runner_beside_the_first() {
    let test = "a_queue_that_is_away_for_a_moment_starts_no_second_runner_beside_the_first";
    let Some(db) = Db::server(test) else { return };
    let desk = Desk::new(&db);
    let (log, go) = (desk.path("log"), desk.path("go"));
    let script = desk.script(&format!(
        "echo >>{}; until test -e {}; do sleep 0.1; done; cp $1 $2",
        log.display(),
        go.display()
    ));
    let files = |from: usize, to: usize| -> Vec<PathBuf> {
        (from..to).map(|nth| desk.input(nth.to_string(), "x")).collect()
    };
    let (words, flags) =
        ([script.as_str(), "{input}", "{output}"], ["--output", "out/{name}", "--count", "1"]);
    let first = desk.command(&flags, &files(0, 2), &words).spawn().unwrap();
    await_that("the first one works", || log.exists());
    let second = desk.command(&flags, &files(100, 101), &words).spawn().unwrap();
    await_that("the second is there", || db.rows("SELECT id FROM unwedge_jobs").len() == 3);
    std::thread::sleep(Duration::from_secs(2));
    db.close_to_others(true);
    std::thread::sleep(Duration::from_secs(2));
    db.close_to_others(false);
    // until both have asked again
    std::thread::sleep(Duration::from_secs(7));
    let workers = db.rows("SELECT id FROM unwedge_workers");
    fs::write(&go, "").unwrap();
    let all = [first, second].map(|run| run.wait_with_output().unwrap());
    assert!(all.iter().all(|it| it.status.success()), "{all:?}");
    let said = String::from_utf8_lossy(&all[1].stderr);
    assert!(said.contains(" works on them; --fresh starts"), "{said}");
    assert_eq!(workers.len(), 1, "{workers:?}");
}
