//! What a runner holds while it waits: its memory after ten seconds without a job, on both databases.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::postgres::cluster;
use crate::{note, row};

/// How long it has waited when it is looked at.
const WAIT: Duration = Duration::from_secs(10);
/// Nobody, as whom it is run: it refuses to be root.
const NOBODY: u32 = 65_534;

/// All of it.
pub fn rows() {
    measure("SQLite", |dir| format!("sqlite://{}/queue.db", dir.display()));
    match cluster("figures") {
        Some(cluster) => {
            let database = cluster.database();
            measure("PostgreSQL", |_| database.url("postgres"));
        }
        None => note("PostgreSQL is left out: there is none"),
    }
}

struct Runner(Child);

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(name: &str, url: impl Fn(&Path) -> String) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["state", "state/queue", "run", "metrics", "jobs.d"] {
        fs::create_dir(at(name)).unwrap();
        chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::write(at("jobs.d/t.toml"), "[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
    let shown = dir.path().display();
    let text = format!(
        "[host]\nstate_dir = \"{shown}/state\"\nrun_dir = \"{shown}/run\"\ntextfile_dir = \"{shown}/metrics\"\nuser = \"nobody\"\n\
         [queue]\nurl = \"{}\"\nadapter = \"unwedge\"\n[jobs]\ndir = \"{shown}/jobs.d\"\n",
        url(&dir.path().join("state/queue"))
    );
    fs::write(at("unwedge.toml"), text).unwrap();
    let child = Command::new("/usr/bin/setpriv")
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .args(["--clear-groups", "--", env!("CARGO_BIN_EXE_unwedge-runner"), "--config"])
        .arg(at("unwedge.toml"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut runner = Runner(child);
    std::thread::sleep(WAIT);
    assert!(runner.0.try_wait().unwrap().is_none(), "it ended");
    let status = fs::read_to_string(format!("/proc/{}/status", runner.0.id())).unwrap();
    let mib = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        format!("{:.1} MiB", kib / 1024.0)
    };
    row(
        &format!("memory of a runner that has waited for 10 s, {name} (VmRSS)"),
        &mib("VmRSS:"),
        &format!("at most so far {}", mib("VmHWM:")),
        "",
        "16 MiB",
    );
}
