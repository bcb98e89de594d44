//! A test in namespaces of its own: this very binary, started again under unshare(1) for just that
//! test. When its first process ends, for whatever reason, the kernel ends all others in it, their
//! FUSE connections with them, and the mounts.

use std::fs;
use std::io::Read as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set inside.
const INSIDE: &str = "UNWEDGE_INSIDE";
/// No test takes longer, in seconds, unless `UNWEDGE_TEST_LIMIT_S` says so; one that does has hung.
const LIMIT_S: u64 = 240;

/// Runs `body` isolated, or records why that cannot be had here.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "tests start processes and time them")]
pub fn isolated(module_path: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return;
    }
    let name = module_path.split_once("::").expect("a test lies in a module").1;
    if let Some(reason) = missing() {
        skip(name, reason);
        return;
    }
    let mut child = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stdout.read_to_end(&mut text);
        text
    });
    let err = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        text
    });
    let limit = std::env::var("UNWEDGE_TEST_LIMIT_S").ok().and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(limit.unwrap_or(LIMIT_S));
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => {
                child.kill().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let passed = status.is_some_and(|status| status.success());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    print!("{}", text(out.join().unwrap()));
    if !passed {
        eprint!("{}", text(err.join().unwrap()));
        panic!("{name}, isolated: {}", status.map_or("hung".to_owned(), |s| s.to_string()));
    }
}

/// What a lab test needs and this machine lacks.
pub fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root: it mounts FUSE file systems in a namespace of its own");
    }
    if fs::metadata("/dev/fuse").is_err() {
        return Some("needs /dev/fuse");
    }
    None
}

/// Counts a skip and its reason where `make test` shows them; under CI's root there must be none.
pub fn skip(name: &str, reason: &str) {
    eprintln!("skipped: {name}: {reason}");
    let Some(file) = std::env::var_os("UNWEDGE_SKIPS") else { return };
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    writeln!(file, "{name}: {reason}").unwrap();
}
