//! Many files that become jobs at once: how long that takes, and how long it keeps others from writing to the queue.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use unwedge::config::queue::Queue;
use unwedge::queue::store::Store;

use crate::{ms, note, row};

/// So many lie there.
const FILES: usize = 500_000;
/// Nobody, whose the queue is.
const NOBODY: u32 = 65_534;
/// A pass that takes nothing new in after so many has met its end.
const PASSES: usize = 100;

/// All of it.
pub fn rows() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["state", "state/queue", "run", "metrics", "jobs.d", "in", "sentinels"] {
        fs::create_dir(at(name)).unwrap();
    }
    for name in ["state", "state/queue", "run", "metrics"] {
        chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::write(at("sentinels/jobs"), "a measurement\n").unwrap();
    fs::write(at("jobs.d/t.toml"), "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    let shown = dir.path().display();
    let text = format!(
        "[host]\nstate_dir = \"{shown}/state\"\nrun_dir = \"{shown}/run\"\ntextfile_dir = \"{shown}/metrics\"\nsentinel_dir = \"{shown}/sentinels\"\nuser = \"nobody\"\n\
         [queue]\nurl = \"sqlite://{shown}/state/queue/queue.db\"\nadapter = \"unwedge\"\n[jobs]\ndir = \"{shown}/jobs.d\"\n\
         [[intake]]\nname = \"in\"\ntype = \"t\"\npath = \"{shown}/in\"\n"
    );
    fs::write(at("unwedge.toml"), text).unwrap();
    let pass = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge-jobs"));
        command.arg("--config").arg(at("unwedge.toml")).arg("--apply").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    };
    // the queue is made
    pass();
    note(&format!("{FILES} files are put down ..."));
    for nth in 0..FILES {
        fs::write(at("in").join(format!("{nth}.txt")), "x").unwrap();
    }
    let file = at("state/queue/queue.db");
    let url = format!("sqlite://{}", file.display());
    let count = || -> usize {
        let reader = rusqlite::Connection::open(&file).unwrap();
        reader.busy_timeout(Duration::from_secs(60)).unwrap();
        let count = "SELECT count(*) FROM unwedge_jobs";
        let count: u32 = reader.query_row(count, [], |row| row.get(0)).unwrap();
        count as usize
    };
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let (mut passes, mut waits) = (0, Vec::new());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut writer = Store::open(&Queue::at(&url, Duration::from_secs(60))).unwrap();
            let mut waits = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                // as small as a write can be, as a beat is
                writer.want_version("0.0.0").unwrap();
                waits.push(asked.elapsed());
                std::thread::sleep(Duration::from_millis(2));
            }
            waits
        });
        while count() < FILES && passes < PASSES {
            pass();
            passes += 1;
            note(&format!("{} are jobs after {passes} passes", count()));
        }
        stop.store(true, Ordering::Relaxed);
        waits = other.join().unwrap();
    });
    let took = start.elapsed();
    assert_eq!(count(), FILES);
    waits.sort();
    let at = |of: usize| waits[(waits.len() - 1) * of / 1000];
    row(
        &format!("{FILES} files become jobs, SQLite"),
        &format!("{:.0} s", took.as_secs_f64()),
        &format!("{:.0} a second, {passes} passes", FILES as f64 / took.as_secs_f64()),
        "-",
        "-",
    );
    row(
        &format!("the longest that another write takes meanwhile, of {}", waits.len()),
        &ms(at(1000)),
        &format!("99.9 %: {}, half: {}", ms(at(999)), ms(at(500))),
        "-",
        "100 ms",
    );
    let again = Instant::now();
    pass();
    row(
        &format!("a pass over {FILES} files that are known"),
        &format!("{:.1} s", again.elapsed().as_secs_f64()),
        "-",
        "-",
        "-",
    );
}
