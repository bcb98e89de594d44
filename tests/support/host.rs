//! A throw-away host with a real systemd, booted by `tests/lab/host`: its own processes, mounts,
//! units, journal and network, over a copy of this machine's root that is thrown away. In it the
//! real program, the real units, and sshfs as storage.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::isolate;

/// It ends by itself after this long, whatever becomes of the test.
const TTL: Duration = Duration::from_secs(240);
/// No command in it takes longer, unless it says so.
const LIMIT: Duration = Duration::from_secs(30);
/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A script that made the host says so with this code: the machine cannot do it.
const CANNOT: i32 = 77;

/// The unit of the storage in every host, and where it is mounted.
pub const UNIT: &str = "storagebox.service";
pub const BASE: &str = "/srv/storagebox";

/// sshfs without sshd and without a network: `ssh_command` is started with ssh's arguments and
/// speaks sftp on its standard streams.
const FAKE_SSH: &str = "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n";

/// Sourced by every script.
const PRELUDE: &str = r#"
main_pid() { systemctl show -P MainPID "${1:-storagebox.service}"; }
# sshfs forks twice: its sftp-server is a child of PID 1, but in the unit's cgroup.
server_pid() {
  local pid
  while read -r pid; do
    if [[ $pid != "$(main_pid)" ]]; then echo "$pid"; fi
  done <"/sys/fs/cgroup$(systemctl show -P ControlGroup storagebox.service)/cgroup.procs"
}
# Never called on a hung mount.
reported_live() { grep -Fqx "unwedge_mount_state{path=\"${1:-/srv/storagebox}\",state=\"live\"} 1" /var/lib/metrics/unwedge_mounts.prom; }
# What node_exporter says.
scrape() { exec 3<>/dev/tcp/127.0.0.1/9100; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; timeout 5 cat <&3; exec 3>&-; }
await_data() { timeout 10 bash -c 'until grep -q . "$1/hello" 2>/dev/null; do sleep 0.02; done' _ "${1:-/srv/storagebox}"; }
"#;

/// Stops the storage, so that nothing of it is left: sshfs whose ssh is ended with it sends itself a second SIGTERM, and
/// one that comes while it unmounts leaves a dead mount.
pub const STOP: &str = "systemctl stop storagebox; umount --quiet --lazy /srv/storagebox || :";

/// The host.
pub struct Host {
    dir: tempfile::TempDir,
}

/// What came of a command in it.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Host {
    /// Boots one and furnishes it: programs, units, configuration, storage that is mounted. `None`
    /// when this machine cannot, which counts as skipped.
    pub fn boot(test: &str, needs: &[&str]) -> Option<Self> {
        Self::boot_for(test, needs, TTL)
    }

    /// The same, for so long.
    pub fn boot_for(test: &str, needs: &[&str], ttl: Duration) -> Option<Self> {
        let commands = ["/usr/bin/sshfs", "/usr/lib/openssh/sftp-server", "/usr/bin/ps"];
        for command in commands.iter().chain(needs) {
            if !Path::new(command).exists() {
                isolate::skip(test, &format!("needs {command}"));
                return None;
            }
        }
        let host = Self { dir: tempfile::tempdir().unwrap() };
        let ttl = ttl.as_secs().to_string();
        let booted = host.script_of(&["boot", "--ttl", &ttl], &[], b"", 2 * LIMIT);
        if booted.code == Some(CANNOT) {
            isolate::skip(test, booted.stderr.trim().trim_start_matches("host: "));
            return None;
        }
        assert_eq!(booted.code, Some(0), "{booted:?}");
        host.furnish();
        Some(host)
    }

    /// What a host is after it went down and came up again: another one with its files, whose programs see
    /// another boot. What is enabled is started in one go and in its order, as at boot.
    #[track_caller]
    pub fn rebooted(&self) -> Self {
        let files = "etc/unwedge etc/systemd/system etc/passwd etc/group srv var/lib/unwedge \
                     $(find usr/local -cnewer /etc/machine-id -type f)";
        // a dead mount hides even the directory below it
        let points = self.ok("awk '$5 ~ \"^/srv/\" {print $5}' /proc/self/mountinfo");
        let packed = self
            .ok(&format!("cd /; (tar --one-file-system -cz {files} 2>/dev/null || :) | base64"));
        let next = Self { dir: tempfile::tempdir().unwrap() };
        let booted =
            next.script_of(&["boot", "--ttl", &TTL.as_secs().to_string()], &[], b"", 2 * LIMIT);
        assert_eq!(booted.code, Some(0), "{booted:?}");
        next.furnish();
        next.put("/run/files", packed.as_bytes(), "600");
        next.put("/run/points", points.as_bytes(), "600");
        next.ok(&format!("systemctl disable --quiet storagebox; {STOP}; rm -r /srv/* /etc/systemd/system/*
             mkdir -p $(cat /run/points); base64 -d /run/files | tar -C / -xz; cat /proc/sys/kernel/random/uuid >/run/boot_id
             mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
             systemctl daemon-reload; systemctl start multi-user.target"));
        next
    }

    fn furnish(&self) {
        let files: [(&str, &str, Vec<u8>); 13] = [
            ("/usr/bin/unwedge-mounts", "755", program("unwedge-mounts")),
            ("/usr/bin/unwedge-binds", "755", program("unwedge-binds")),
            ("/etc/systemd/system/unwedge-binds.service", "644", shipped("unwedge-binds.service")),
            ("/usr/bin/unwedge-watch", "755", program("unwedge-watch")),
            ("/etc/systemd/system/unwedge-watch.service", "644", shipped("unwedge-watch.service")),
            ("/usr/bin/unwedge", "755", program("unwedge")),
            ("/usr/bin/unwedge-worker", "755", program("unwedge-worker")),
            (
                "/etc/systemd/system/unwedge-worker.service",
                "644",
                shipped("unwedge-worker.service"),
            ),
            (
                "/etc/systemd/system/unwedge-mounts.service",
                "644",
                shipped("unwedge-mounts.service"),
            ),
            ("/etc/systemd/system/unwedge-mounts.timer", "644", shipped("unwedge-mounts.timer")),
            ("/usr/local/bin/fake-ssh", "755", FAKE_SSH.into()),
            ("/usr/local/lib/prelude.sh", "644", PRELUDE.into()),
            ("/etc/systemd/system/storagebox.service", "644", storage_unit(BASE).into()),
        ];
        for (path, mode, content) in files {
            self.put(path, &content, mode);
        }
        self.configure("", &listed(""));
        self.ok("mkdir -p /srv/remote /srv/storagebox /etc/unwedge/sentinels /var/lib/metrics
             echo hello >/srv/remote/hello
             systemctl daemon-reload
             systemctl enable --quiet --now storagebox.service
             await_data");
    }

    /// Writes the configuration: keys of `[mounts]`, then whatever else. A verdict is confirmed by
    /// one round, a hang after a second, and the budget is wide, unless `mounts` says otherwise.
    pub fn configure(&self, mounts: &str, more: &str) {
        self.configure_probe("500ms", mounts, more);
    }

    /// The same with another `[probe] timeout`.
    pub fn configure_probe(&self, timeout: &str, mounts: &str, more: &str) {
        let defaults = [
            ("confirm.dead", "{ runs = 1, age = \"0s\" }"),
            ("confirm.hung", "{ runs = 1, age = \"1s\" }"),
            ("confirm.absent", "{ runs = 1, age = \"0s\" }"),
            ("confirm.pinned", "{ runs = 1, age = \"0s\" }"),
            ("confirm.transient", "{ runs = 1, age = \"0s\" }"),
            ("budget.cooldown", "\"0s\""),
            ("budget.per_hour", "100"),
            ("budget.per_day", "100"),
            ("budget.per_target_per_day", "100"),
            ("repair_under", "[\"/srv\"]"),
        ];
        let wide: String = defaults
            .iter()
            .filter(|(key, _)| !mounts.contains(key))
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let text = format!(
            "[host]\ntextfile_dir = \"/var/lib/metrics\"\n[probe]\ntimeout = \"{timeout}\"\ndaemons = \"here\"\n\
             [mounts]\n{wide}{mounts}\n{more}\n"
        );
        self.put("/etc/unwedge/unwedge.toml", text.as_bytes(), "644");
    }

    /// Permits repairs.
    pub fn arm(&self) {
        for kind in ["mounts", "binds"] {
            let sentinel = format!("/etc/unwedge/sentinels/{kind}");
            self.put(&sentinel, b"armed by a test\n", "644");
        }
    }

    /// Writes a file.
    #[track_caller]
    pub fn put(&self, path: &str, content: &[u8], mode: &str) {
        let ran = self.script_of(&["put"], &["/dev/stdin", path, mode], content, LIMIT);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Runs a bash script in it, with the prelude; what it says on the first failed command is kept.
    pub fn bash(&self, script: &str) -> Ran {
        let limit = LIMIT.as_secs().to_string();
        let text = "source /usr/local/lib/prelude.sh; eval \"$1\"";
        let words = ["timeout", "-k", "1", &limit];
        let bash = ["bash", "-eu", "-o", "pipefail", "-c", text, "bash", script];
        self.script_of(&["run"], &[&words[..], &bash[..]].concat(), b"", LIMIT + PATIENCE)
    }

    /// A script that must succeed; what it printed, trimmed.
    #[track_caller]
    pub fn ok(&self, script: &str) -> String {
        let ran = self.bash(script);
        assert!(ran.code == Some(0), "{script}\n{ran:?}\n{}", self.story());
        ran.stdout.trim().to_owned()
    }

    /// Runs a script until it succeeds; what it printed then.
    #[track_caller]
    pub fn until(&self, script: &str) -> String {
        self.until_within(PATIENCE, script)
    }

    /// The same for what may take longer.
    #[track_caller]
    pub fn until_within(&self, most: Duration, script: &str) -> String {
        let start = now();
        loop {
            let ran = self.bash(script);
            if ran.code == Some(0) {
                return ran.stdout.trim().to_owned();
            }
            assert!(start.elapsed() < most, "never true: {script}\n{ran:?}\n{}", self.story());
            breathe();
        }
    }

    /// Starts a program in its mount namespace that its own processes cannot see.
    pub fn start_outside(&self, argv: &[&str]) -> std::process::Child {
        let pid = std::fs::read_to_string(self.dir.path().join("host/pid")).unwrap();
        #[allow(clippy::disallowed_methods, reason = "tests start processes")]
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--mount", "--target", pid.trim()]).args(argv);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// One round by hand, its JSON.
    #[track_caller]
    pub fn round(&self, flags: &str) -> Value {
        let ran = self.bash(&format!("unwedge-mounts --json {flags}"));
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// One armed round as systemd runs it, to its end.
    pub fn serve(&self) -> Ran {
        self.bash("systemctl start unwedge-mounts.service")
    }

    /// Lets the real timer tick every second instead of every minute, and starts it.
    pub fn start_timer(&self) {
        // the empty one takes away both; the new one is past already, and elapses at once
        let often = "[Timer]\nOnBootSec=\nOnBootSec=1s\nOnUnitInactiveSec=1s\n\
                     RandomizedDelaySec=0\n";
        let path = "/etc/systemd/system/unwedge-mounts.timer.d/often.conf";
        self.put(path, often.as_bytes(), "644");
        self.ok("systemctl daemon-reload; systemctl enable --quiet --now unwedge-mounts.timer");
    }

    /// Waits until so many more rounds have ended than now.
    #[track_caller]
    pub fn ticks(&self, more: usize) {
        let before = self.rounds().len();
        let start = now();
        while self.rounds().len() < before + more {
            assert!(start.elapsed() < PATIENCE, "no {more} rounds: {}", self.story());
            breathe();
        }
    }

    /// Every line that a round wrote into the journal.
    pub fn rounds(&self) -> Vec<Value> {
        let said = self
            .ok("journalctl --sync; journalctl -b -q -o json UNWEDGE_TOOL=mounts --no-pager || :");
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What happened, for a test that fails.
    pub fn story(&self) -> String {
        let ran = self.bash(
            "journalctl --sync; journalctl -o short-monotonic --no-pager -n 60; \
             cat /proc/self/mountinfo | grep fuse; systemctl status --no-pager unwedge-mounts.timer",
        );
        ran.stdout + &ran.stderr
    }

    fn script_of(&self, verb: &[&str], args: &[&str], input: &[u8], limit: Duration) -> Ran {
        #[allow(clippy::disallowed_methods, reason = "tests start processes")]
        let mut command = Command::new("bash");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/host"));
        command.args(verb).arg(self.dir.path().join("host")).args(args);
        limited(command, input, limit)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let down = self.script_of(&["down"], &[], b"", LIMIT);
        let ended = down.code == Some(0) || std::thread::panicking();
        assert!(ended, "the host does not end: {down:?}");
    }
}

/// A unit that mounts the storage at `path` for everybody. Its stop now and then leaves the mount behind, dead (see
/// [`STOP`]).
pub fn storage_unit(path: &str) -> String {
    format!(
        "[Unit]\nDescription=Storage at {path}\n\n[Service]\nType=simple\n\
         ExecStart=/usr/bin/sshfs -f -o allow_other,ssh_command=/usr/local/bin/fake-ssh \
         lab:/srv/remote {path}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// A unit that mounts it for one unprivileged user alone.
pub fn private_storage_unit(path: &str) -> String {
    storage_unit(path)
        .replace("allow_other,", "")
        .replace("Type=simple", "Type=simple\nUser=nobody\nGroup=nogroup")
}

/// The `[[mount]]` of the storage, with more keys.
pub fn listed(more: &str) -> String {
    format!(
        "[[mount]]\npath = \"{BASE}\"\nunit = \"{UNIT}\"\nfstype = \"fuse.sshfs\"\nwait = \"10s\"\n\
         {more}\n"
    )
}

/// A program as it was built, without what only a debugger reads: it goes into every host.
pub fn program(name: &str) -> Vec<u8> {
    static STRIPPED: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut known = STRIPPED.lock().unwrap();
    let bytes = known.entry(name.to_owned()).or_insert_with(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_unwedge")).with_file_name(name);
        let to = tempfile::NamedTempFile::new().unwrap();
        #[allow(clippy::disallowed_methods, reason = "tests start processes")]
        let strip = Command::new("strip").arg("-o").arg(to.path()).arg(&built).status();
        let small = strip.is_ok_and(|status| status.success());
        read(if small { to.path() } else { &built })
    });
    bytes.clone()
}

/// A file of the systemd folder.
pub fn shipped(name: &str) -> Vec<u8> {
    read(shipped_path(name))
}

/// Where a file of the systemd folder lies.
pub fn shipped_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Runs a command to its end, or kills it at its limit (code `None`).
pub fn limited(mut command: Command, input: &[u8], limit: Duration) -> Ran {
    let start = now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || {
        // whoever does not read its input has ended
        let _ = stdin.write_all(&input);
    });
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if start.elapsed() > limit => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => breathe(),
        }
    };
    // whoever was left behind, stuck, may keep the pipes open: it is not waited for
    let text = |bytes: Receiver<Vec<u8>>| {
        let bytes = bytes.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ran { code, stdout: text(stdout), stderr: text(stderr), took: start.elapsed() }
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

#[allow(clippy::disallowed_methods, reason = "tests time what they run")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "the pause of a poll with a deadline")]
fn breathe() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A test in a host of its own, with the commands it needs besides sshfs.
macro_rules! host_test {
    ($(#[$meta:meta])* fn $name:ident($host:ident $(, needs $need:literal)*) $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            let test = concat!(module_path!(), "::", stringify!($name));
            let test = test.split_once("::").map_or(test, |(_, name)| name);
            let Some($host) = $crate::support::host::Host::boot(test, &[$($need),*]) else { return };
            $body
        }
    };
}
