//! `true` as a job, ten thousand times, two at a time: beside xargs(1), which keeps nothing, and a task spooler.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{note, row};

/// How often.
const JOBS: usize = 10_000;

/// All of it.
pub fn rows() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..JOBS).map(|nth| nth.to_string()).collect();
    for name in &names {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let queue = format!("sqlite://{}", dir.path().join("queue.db").display());
    let unwedge = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command
            .env("XDG_STATE_HOME", dir.path())
            .args(["run", "--queue", &queue, "--count", "2"])
            .args(&names)
            .args(["--", "true"]);
        per_second(&mut command, dir.path(), None)
    };
    let own = unwedge();
    let list = names.join("\n");
    let mut xargs = Command::new("/usr/bin/xargs");
    xargs.args(["-P", "2", "-n", "1", "/bin/true"]);
    let other = per_second(&mut xargs, dir.path(), Some(&list));
    let what = "`true` as a job by `unwedge run`, two at a time";
    let told = |other: f64, name: &str, target: &str| {
        let ratio = format!("{:.2}", own / other);
        row(what, &format!("{own:.0}/s"), &format!("{name} {other:.0}/s"), &ratio, target);
    };
    told(other, "xargs -P 2", "0.6");
    if !Path::new("/usr/bin/tsp").exists() {
        note("task-spooler is left out: there is no tsp here");
        return;
    }
    // it is told of each by a process of its own; what counts is until the last is over
    let script = format!(
        "export TS_SOCKET={}/tsp TS_MAXFINISHED=1; tsp -S 2; for nth in $(seq {JOBS}); do tsp -n true >/dev/null; done; tsp -w; tsp -K",
        dir.path().display()
    );
    let mut spooler = Command::new("/bin/bash");
    spooler.args(["-c", &script]);
    told(per_second(&mut spooler, dir.path(), None), "task-spooler", "");
}

fn per_second(command: &mut Command, dir: &Path, input: Option<&str>) -> f64 {
    use std::io::Write as _;
    let start = Instant::now();
    let mut child = command
        .current_dir(dir)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).unwrap();
    }
    assert!(child.wait().unwrap().success(), "{command:?}");
    let took: Duration = start.elapsed();
    JOBS as f64 / took.as_secs_f64()
}
