//! A small host inside a test's namespaces: a tmpfs, fusectl, a configuration, and rounds of the
//! real program on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use unwedge::probes::connections::{CONNECTIONS, Connections};

use super::Fault;

/// The host.
pub struct Lab {
    pub dir: PathBuf,
    pub config: PathBuf,
    pub program: PathBuf,
}

/// What came of a run of a program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Lab {
    /// Builds it; only inside [`super::isolate::isolated`].
    pub fn build() -> Self {
        let dir = PathBuf::from("/mnt");
        mount("lab", &dir, "tmpfs", MountFlags::empty(), Some(c"mode=755")).unwrap();
        if Connections::read() == Connections::NotMounted {
            mount("fusectl", CONNECTIONS, "fusectl", MountFlags::empty(), None).unwrap();
        }
        for made in ["state", "run", "metrics", "sentinels", "roots"] {
            fs::create_dir(dir.join(made)).unwrap();
        }
        let lab = Self {
            config: dir.join("unwedge.toml"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_unwedge-mounts")),
            dir,
        };
        lab.configure("", "");
        lab
    }

    /// A path under the root that may be repaired.
    pub fn root(&self, name: &str) -> PathBuf {
        self.dir.join("roots").join(name)
    }

    /// Writes the configuration: keys of `[mounts]`, then whatever else. Confirmation takes one
    /// round and no time, and the budget is wide, unless `mounts` or `more` say otherwise.
    pub fn configure(&self, mounts: &str, more: &str) {
        let dir = self.dir.display();
        let defaults = [
            ("confirm.dead", "{ runs = 1, age = \"0s\" }"),
            ("confirm.hung", "{ runs = 1, age = \"0s\" }"),
            ("confirm.absent", "{ runs = 1, age = \"0s\" }"),
            ("confirm.pinned", "{ runs = 1, age = \"0s\" }"),
            ("confirm.stacked", "{ runs = 1, age = \"0s\" }"),
            ("confirm.transient", "{ runs = 1, age = \"0s\" }"),
            ("budget.cooldown", "\"0s\""),
            ("budget.per_hour", "100"),
            ("budget.per_day", "100"),
            ("budget.per_target_per_day", "100"),
            ("repair_under", &format!("[\"{dir}/roots\"]")),
        ];
        let wide: String = defaults
            .iter()
            .filter(|(key, _)| !mounts.lines().any(|line| line.trim_start().starts_with(key)))
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let text = format!(
            "[host]\nservices = \"process\"\nstate_dir = \"{dir}/state\"\nrun_dir = \"{dir}/run\"\n\
             sentinel_dir = \"{dir}/sentinels\"\ntextfile_dir = \"{dir}/metrics\"\n\
             [gates]\ndeploy_lock = \"{dir}/run/deploy.lock\"\n[probe]\ntimeout = \"500ms\"\ndaemons = \"here\"\n\
             [mounts]\n{wide}{mounts}\n{more}\n"
        );
        fs::write(&self.config, text).unwrap();
    }

    /// A `[[mount]]` that a fault daemon in the background serves again.
    pub fn listed(&self, path: &Path) -> String {
        let unwedge = env!("CARGO_BIN_EXE_unwedge");
        let path = path.display();
        format!(
            "[[mount]]\npath = \"{path}\"\nfstype = \"fuse.faultfs\"\nwait = \"10s\"\nremount = \
             [\"{unwedge}\", \"faultfs\", \"--background\", \"{path}\"]\n"
        )
    }

    /// A `[[mount]]` that this program is to mount again.
    pub fn mounted_by(&self, path: &Path, wait: &str, program: &Path) -> String {
        let (path, program) = (path.display(), program.display());
        format!("[[mount]]\npath = \"{path}\"\nwait = \"{wait}\"\nremount = [\"{program}\"]\n")
    }

    /// Mounts a fault daemon.
    pub fn fault(&self, path: &Path, flags: &[&str]) -> Fault {
        Fault::mount(path, flags)
    }

    /// A `[[bind]]`.
    pub fn bound(&self, cold: &Path, hot: &Path) -> String {
        format!("[[bind]]\ncold = \"{}\"\nhot = \"{}\"\n", cold.display(), hot.display())
    }

    /// Permits repairs, and binding.
    pub fn arm(&self) {
        for kind in ["mounts", "binds"] {
            fs::write(self.dir.join("sentinels").join(kind), "armed by a test\n").unwrap();
        }
    }

    /// One round of `unwedge-mounts`.
    pub fn round(&self, flags: &[&str]) -> Ran {
        self.run(&self.program, flags)
    }

    /// One round, its JSON.
    #[track_caller]
    pub fn json(&self, flags: &[&str]) -> Value {
        let ran = self.round(&[&["--json"], flags].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// One armed round that may act, its JSON.
    #[track_caller]
    pub fn apply(&self) -> Value {
        self.json(&["--apply"])
    }

    /// One of the operator's verbs.
    pub fn unwedge(&self, args: &[&str]) -> Ran {
        self.run(Path::new(env!("CARGO_BIN_EXE_unwedge")), args)
    }

    /// A run of `unwedge-jobs`.
    pub fn jobs(&self, args: &[&str]) -> Ran {
        self.run(Path::new(env!("CARGO_BIN_EXE_unwedge-jobs")), args)
    }

    /// A run of `unwedge-worker`.
    pub fn worker(&self, args: &[&str]) -> Ran {
        self.run(Path::new(env!("CARGO_BIN_EXE_unwedge-worker")), args)
    }

    pub fn run(&self, program: &Path, args: &[&str]) -> Ran {
        #[allow(clippy::disallowed_methods)]
        let (start, mut command) = (Instant::now(), Command::new(program));
        // a queue of whoever runs the tests is none of theirs
        command.env("HOME", &self.dir).env_remove("XDG_STATE_HOME");
        let output: Output = command.arg("--config").arg(&self.config).args(args).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            took: start.elapsed(),
        }
    }

    /// Every file of the lab with its content, for a before and after.
    pub fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for dir in ["state", "run", "metrics", "sentinels"] {
            for entry in fs::read_dir(self.dir.join(dir)).unwrap().flatten() {
                files.push((entry.path(), fs::read(entry.path()).unwrap_or_default()));
            }
        }
        files.sort();
        files
    }
}

/// The verdict on `path` in a round's JSON.
#[track_caller]
pub fn verdict<'a>(round: &'a Value, path: &Path) -> &'a str {
    observation(round, path)["verdict"].as_str().unwrap()
}

/// The observation of `path` in a round's JSON.
#[track_caller]
pub fn observation<'a>(round: &'a Value, path: &Path) -> &'a Value {
    let shown = unwedge::sys::text::path(path);
    round["observations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|seen| seen["path"] == shown.as_str())
        .unwrap_or_else(|| panic!("{shown} is not watched in {round:#}"))
}

/// `verb target` of every step.
pub fn steps(round: &Value) -> Vec<String> {
    let step = |step: &Value| {
        format!("{} {}", step["verb"].as_str().unwrap(), step["target"].as_str().unwrap())
    };
    round["steps"].as_array().unwrap().iter().map(step).collect()
}

/// `subject reason` of every hold.
pub fn holds(round: &Value) -> Vec<String> {
    let hold = |hold: &Value| {
        format!("{} {}", hold["subject"].as_str().unwrap(), hold["reason"].as_str().unwrap())
    };
    round["holds"].as_array().unwrap().iter().map(hold).collect()
}

/// Whether every step that was tried was done.
pub fn all_ok(round: &Value) -> bool {
    let outcomes = round["outcomes"].as_array().unwrap();
    !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome["ok"] == true)
}

/// Processes of this namespace whose name begins so: pid, state, uid.
pub fn processes(prefix: &str) -> Vec<(i32, char)> {
    procfs::process::all_processes()
        .unwrap()
        .flatten()
        .filter_map(|process| process.stat().ok())
        .filter(|stat| stat.comm.starts_with(prefix) && stat.state != 'Z')
        .map(|stat| (stat.pid, stat.state))
        .collect()
}

/// Polls until `condition` holds; fails with `what` after half a minute, which is for machines that do much else.
#[track_caller]
pub fn await_that(what: &str, condition: impl FnMut() -> bool) {
    await_within(Duration::from_secs(30), what, condition);
}

/// The same; fails after this time.
#[track_caller]
pub fn await_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The mounts at `path` as the kernel has them, lowest first.
pub fn held_mounts(path: &Path) -> Vec<unwedge::probes::identity::Identity> {
    use unwedge::probes::identity::{Identity, describe, open_cached};
    use unwedge::probes::mountinfo;
    let connections = Connections::read();
    let table = mountinfo::read(|_| true).unwrap();
    let mut found: Vec<Identity> = table
        .walk(path)
        .layers
        .iter()
        .map(|mount| Identity::from_table(mount, &connections))
        .collect();
    if let (Some(top), Ok(fd)) = (found.last_mut(), open_cached(path)) {
        top.unique_id = describe(fd).unwrap().unique_id;
    }
    found
}

impl Lab {
    /// Puts a copy of the program where every user may run it, and runs that from now on.
    pub fn install_where_anybody_may_run_it(&mut self) {
        let bin = self.dir.join("bin");
        fs::create_dir(&bin).unwrap();
        let copy = bin.join("unwedge-mounts");
        fs::copy(&self.program, &copy).unwrap();
        self.program = copy;
    }

    /// Writes an executable script.
    pub fn script(&self, path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
