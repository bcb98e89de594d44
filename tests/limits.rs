//! Keys that bound how long something may take or go unseen, through the programs: each is seen to have its effect.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use unwedge::probes::witness;

use crate::keys::{Desk, Runner, until};
use crate::store::Db;
use crate::support::isolate;
use crate::support::lab::await_within;

const DONE: &str = "[[tier]]\nargv = [\"/bin/true\"]\n";

#[test]
fn a_worker_that_is_gone_is_missed_as_often_as_said() {
    let test = "limits::a_worker_that_is_gone_is_missed_as_often_as_said";
    let [seldom, often] = ["1h", "200ms"].map(|sweep| {
        let sweep = format!("sweep = \"{sweep}\"\n");
        let desk = Desk::file(test, DONE, "lease = \"2h\"\n", &sweep)?;
        let runner = Runner::of(&desk);
        Some((desk, runner))
    });
    let (Some(seldom), Some(often)) = (seldom, often) else { return };
    // a process that has ended: it is seen to be gone by whoever looks
    let mut ended = Command::new("/bin/true").spawn().unwrap();
    ended.wait().unwrap();
    let own = witness::own().unwrap();
    let (place, _) = own.rsplit_once(':').and_then(|(it, _)| it.rsplit_once(':')).unwrap();
    let gone = format!("{place}:{}:1", ended.id());
    for (desk, _) in [&seldom, &often] {
        let db = &desk.db;
        // by then it has looked for the first time
        desk.submit("a");
        until("one is done", || db.rows("SELECT state FROM unwedge_jobs") == [["done"]]);
        let columns = db.rows("SELECT group_concat(name) FROM pragma_table_info('unwedge_workers') WHERE name <> 'id'");
        let columns = &columns[0][0];
        db.rows(&format!("INSERT INTO unwedge_workers (id, {columns}) SELECT '{gone}', {columns} FROM unwedge_workers RETURNING id"));
    }
    let is_known = |desk: &Desk| {
        let row = format!("SELECT id FROM unwedge_workers WHERE id = '{gone}' AND state <> 'dead'");
        desk.db.rows(&row).len() == 1
    };
    assert!(is_known(&seldom.0));
    until("whoever looks often misses it", || !is_known(&often.0));
    assert!(is_known(&seldom.0));
}

#[test]
fn a_queue_that_stays_away_is_asked_ever_more_seldom_and_no_more_so_than_said() {
    let test = "limits::a_queue_that_stays_away_is_asked_ever_more_seldom_and_no_more_so_than_said";
    if !rustix::process::geteuid().is_root() {
        return isolate::skip(test, "needs root: a sentinel is root's");
    }
    let [bounded, free] = ["400ms", "1h"].map(|most| {
        // a server that takes nobody's word
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"no");
            }
        });
        let url = format!("postgres://nobody@127.0.0.1:{port}/q?sslmode=disable");
        let queue = format!("reconnect = \"200ms\"\nreconnect_max = \"{most}\"\n");
        let desk = Desk::of(Db::file(), &url, DONE, &queue, "");
        let runner = Runner::of(&desk);
        (asked, runner, desk)
    });
    let count = |of: &(Arc<AtomicUsize>, Runner, Desk)| of.0.load(Ordering::Relaxed);
    until("it is asked again and again", || count(&bounded) >= 40);
    // twice as long each time: by now some six or seven, where nothing bounds it
    let times = count(&free);
    assert!((2..=20).contains(&times), "{times}");
}

#[test]
fn failures_of_the_surroundings_are_recent_for_as_long_as_said() {
    let test = "limits::failures_of_the_surroundings_are_recent_for_as_long_as_said";
    for (window, count) in [("61min", "1"), ("59min", "0")] {
        let queue = format!("infra_window = \"{window}\"\n");
        let Some(desk) = Desk::file(test, DONE, &queue, "") else { return };
        desk.submit("a");
        desk.db.rows("UPDATE unwedge_jobs SET state = 'retryable', class = 'infrastructure', infra_errors = 1, changed_ms = changed_ms - 3600000 RETURNING id");
        desk.say(env!("CARGO_BIN_EXE_unwedge-jobs"), &["--apply"]);
        let metrics = fs::read_to_string(desk.at("prom/unwedge_jobs.prom")).unwrap();
        let line = metrics.lines().find(|it| it.starts_with("unwedge_jobs_infra_errors_recent{"));
        let (_, found) = line.and_then(|line| line.rsplit_once(' ')).unwrap_or_default();
        assert_eq!(found, count, "{window}: {metrics}");
    }
}

/// Variables, flags, and the image that counts.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

#[test]
fn what_is_given_to_a_runner_wins_over_variables_and_files() {
    let test = "limits::what_is_given_to_a_runner_wins_over_variables_and_files";
    let jobs = "mode = \"direct\"\nimage = \"file:1\"\n";
    let Some(desk) = Desk::new(test, DONE, jobs) else { return };
    desk.submit("a");
    // an engine that says what it was asked
    let engine = desk.at("engine");
    let log = desk.at("state/queue/asked").display().to_string();
    let info = r#"{"host":{"security":{"rootless":true},"serviceIsRemote":false}}"#;
    let text = format!("#!/bin/sh\necho \"$@\" >>{log}\ntest \"$1\" != info || echo '{info}'\n");
    fs::write(&engine, text).unwrap();
    fs::set_permissions(&engine, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = desk.at("unwedge.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}engine = [\"{}\"]\n", engine.display())).unwrap();
    // what the first line of a runner says it goes by, and the image that its engine was asked for
    let go = |variables: &[(&str, &str)], words: &[&str]| {
        let _ = fs::remove_file(&log);
        desk.db.rows("UPDATE unwedge_jobs SET state = 'pending', not_before_ms = 0, class = NULL, finished_ms = NULL RETURNING id");
        let mut command = desk.command(env!("CARGO_BIN_EXE_unwedge-runner"));
        command.arg("--once").args(words).envs(variables.iter().copied());
        let said = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
        let begins =
            said.lines().find(|line| line.contains("begins as")).unwrap_or(&said).to_owned();
        (begins, fs::read_to_string(&log).unwrap_or_default())
    };
    let (mode, image) = ("UNWEDGE__JOBS__MODE", "UNWEDGE__JOBS__IMAGE");
    let cases: [Case<'_>; 6] = [
        (&[], &[], ""),
        (&[(mode, "container")], &[], "file:1"),
        (&[(mode, "container"), (image, "variable:1")], &[], "variable:1"),
        (&[(mode, "container"), (image, "variable:1")], &["--image", "flag:1"], "flag:1"),
        (&[(mode, "container")], &["--mode", "direct"], ""),
        (&[(mode, "direct")], &["--mode", "container", "--image", "flag:1"], "flag:1"),
    ];
    for (variables, words, expected) in cases {
        let (begins, asked) = go(variables, words);
        let name = if expected.is_empty() { "direct" } else { "container" };
        assert!(begins.contains(name), "{variables:?} {words:?}: {begins}");
        for it in ["file:1", "variable:1", "flag:1"] {
            let is_asked = asked.contains(it);
            assert_eq!(
                is_asked,
                it == expected,
                "{variables:?} {words:?}: {it}: {asked}; {begins}"
            );
        }
    }
    // and over what a type says itself
    fs::write(desk.at("jobs.d/t.toml"), format!("mode = \"direct\"\nimage = \"type:1\"\n{DONE}"))
        .unwrap();
    let (begins, asked) = go(&[], &["--mode", "container", "--image", "flag:1"]);
    assert!(begins.contains("container") && asked.contains("flag:1"), "{begins}: {asked}");
    assert!(!asked.contains("type:1"), "{asked}");
}

#[test]
fn a_variable_reaches_a_type_whose_name_has_capitals() {
    let test = "limits::a_variable_reaches_a_type_whose_name_has_capitals";
    let Some(desk) = Desk::new(test, DONE, "") else { return };
    let kind = |name: &str| desk.at("jobs.d").join(format!("{name}.toml"));
    fs::rename(kind("t"), kind("OCR-a4")).unwrap();
    let go = |program: &str, words: &[&str]| {
        let mut command = desk.command(program);
        command.args(words).env("UNWEDGE__JOBS__OCR_A4__CONCURRENCY", "0");
        let output = command.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    };
    let runner = env!("CARGO_BIN_EXE_unwedge-runner");
    let file = desk.at("in/a");
    fs::write(&file, "x").unwrap();
    let words = ["jobs", "submit", "OCR-a4", file.to_str().unwrap()];
    desk.say(env!("CARGO_BIN_EXE_unwedge"), &words);
    let state = || desk.db.rows("SELECT state FROM unwedge_jobs");
    let (code, said) = go(runner, &["--once"]);
    assert_eq!(
        (code, state()),
        (Some(0), vec![vec!["pending".to_owned()]]),
        "none at once: {said}"
    );
    // of two nobody knows which is meant
    fs::copy(kind("OCR-a4"), kind("ocr_A4")).unwrap();
    for (program, words) in
        [(runner, &["--once"][..]), (env!("CARGO_BIN_EXE_unwedge"), &["config", "check"])]
    {
        let (code, said) = go(program, words);
        assert_eq!(code, Some(2), "{said}");
        let why =
            "UNWEDGE__JOBS__OCR_A4__CONCURRENCY: any of the types OCR-a4, ocr_A4 may be meant";
        assert!(said.contains(why), "{said}");
    }
    fs::remove_file(kind("ocr_A4")).unwrap();
    desk.say(runner, &["--once"]);
    assert_eq!(state(), [["done"]], "as many as usual");
}

/// The processes that were started with this word.
fn with_word(word: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let said = all.filter_map(|it| fs::read(Path::new(&it.path()).join("cmdline")).ok());
    said.filter(|it| it.split(|byte| *byte == 0).any(|part| part == word.as_bytes())).count()
}

#[test]
fn a_round_of_the_worker_ends_by_its_deadline_though_a_start_hangs() {
    let test = "limits::a_round_of_the_worker_ends_by_its_deadline_though_a_start_hangs";
    if !rustix::process::geteuid().is_root() {
        return isolate::skip(test, "needs root: a sentinel is root's");
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["run", "sentinels", "state", "prom"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(at("sentinels/worker"), "armed by a test\n").unwrap();
    let root = dir.path().display();
    // as no other process is called
    let word = format!("hangs-{}", std::process::id());
    let text = format!(
        "[host]\nservices = \"process\"\nstate_dir = \"{root}/state\"\nrun_dir = \"{root}/run\"\nsentinel_dir = \"{root}/sentinels\"\ntextfile_dir = \"{root}/prom\"\n\
         [gates]\ndeploy_lock = \"{root}/run/deploy.lock\"\n[probe]\ntimeout = \"100ms\"\n\
         [worker]\nstart = [\"/bin/sh\", \"-c\", \"trap '' TERM; while :; do sleep 1; done\", \"{word}\"]\nstop = [\"/bin/true\"]\nstatus = [\"/bin/false\"]\nverify = \"1s\"\ndeadline = \"DEADLINE\"\n"
    );
    fs::write(at("unwedge.toml"), text.replace("DEADLINE", "45s")).unwrap();
    let mut round = Command::new(env!("CARGO_BIN_EXE_unwedge-worker"))
        .args(["--apply", "--config"])
        .arg(at("unwedge.toml"))
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the start hangs", || with_word(&word) > 0);
    // less than any round may take that nobody bounds
    await_within(Duration::from_secs(90), "its round is over", || {
        round.try_wait().unwrap().is_some()
    });
    assert_eq!(with_word(&word), 0, "what hung is ended with it");
    let output = round.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no end within"), "{said}");
    // one that cannot hold what a round takes is refused
    fs::write(at("unwedge.toml"), text.replace("DEADLINE", "20s")).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_unwedge-worker"))
        .arg("--config")
        .arg(at("unwedge.toml"))
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("[worker] deadline"), "{said}");
}
