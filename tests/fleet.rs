//! Several hosts on one PostgreSQL, and what becomes of a queue when everything around it is broken while it works.
//!
//! The hosts are runners with a name, a process table and a network of their own: none sees the processes of another, so
//! only beats and leases tell who lives; and the line of one to the database can be cut.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::thread::LinkNameSpaceType;
use serde_json::Value;

use crate::support::host::program;
use crate::support::isolate;
use crate::support::lab::await_that;
use crate::support::postgres::{Cluster, Database, PASSWORD, cluster};

/// A network of its own, as long as this is there.
struct Net(Child);

impl Net {
    fn new() -> Self {
        let mut child = Command::new("/usr/bin/unshare")
            .args(["--net", "--kill-child", "--fork", "--", "/bin/sh", "-c"])
            // it ends with its input, which is ours
            .arg("ip link set lo up && echo up && read -r _")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 3];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Self(child)
    }

    /// The process whose network it is: the child of `unshare`.
    fn pid(&self) -> String {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().to_owned()
    }

    fn file(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    /// Runs `ip` in it.
    #[track_caller]
    fn ip(&self, words: &str) {
        let mut command = Command::new("/usr/bin/nsenter");
        command.arg(format!("--net={}", self.file())).arg("ip").args(words.split(' '));
        assert!(command.status().unwrap().success(), "ip {words}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What stands between the hosts and the database: a network with a line to each, and the database at its end of them.
struct Middle {
    net: Net,
    port: u16,
}

impl Middle {
    fn of(cluster: &'static Cluster) -> Self {
        let net = Net::new();
        let file = net.file();
        let (tell, told) = mpsc::channel();
        let (come, came) = mpsc::channel::<TcpStream>();
        std::thread::spawn(move || {
            let net = fs::File::open(file).unwrap();
            let kind = LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(net.as_fd(), Some(kind)).unwrap();
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            listener.incoming().flatten().for_each(|client| come.send(client).unwrap());
        });
        // out of that network, where the database is
        std::thread::spawn(move || {
            for client in came {
                let Ok(server) = TcpStream::connect(("127.0.0.1", cluster.port)) else { continue };
                for (from, to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || carry(from, to));
                }
            }
        });
        Self { net, port: told.recv().unwrap() }
    }

    /// A network with a line to it, whose other end has this number.
    fn line(&self, nth: usize) -> Net {
        let net = Net::new();
        self.net.ip(&format!("link add to{nth} type veth peer name line netns {}", net.pid()));
        self.net.ip(&format!("addr add 10.9.{nth}.1/24 dev to{nth}"));
        self.net.ip(&format!("link set to{nth} up"));
        net.ip(&format!("addr add 10.9.{nth}.2/24 dev line"));
        net.ip("link set line up");
        net
    }

    /// Cuts a line, or mends it: nothing arrives, and nobody says so.
    fn cut(&self, nth: usize, is_cut: bool) {
        self.net.ip(&format!("link set to{nth} {}", if is_cut { "down" } else { "up" }));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// A host.
struct Box_ {
    name: &'static str,
    dir: PathBuf,
    net: Net,
    /// What is mounted over what there, and nowhere else.
    over: Vec<(PathBuf, PathBuf)>,
    /// What else is done there first.
    before: String,
    runner: Option<Child>,
}

impl Box_ {
    fn start(&mut self) {
        let bind = |(from, to): &(PathBuf, PathBuf)| {
            format!("mount --bind {} {}; ", from.display(), to.display())
        };
        let binds: String = self.over.iter().map(bind).collect();
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let script = format!(
            "mount --make-rprivate /; {binds}hostname {}; {}exec {} --config {}",
            self.name,
            self.before,
            env!("CARGO_BIN_EXE_unwedge-runner"),
            self.dir.join("unwedge.toml").display()
        );
        let child = Command::new("/usr/bin/nsenter")
            .arg(format!("--net={}", self.net.file()))
            .args(["/usr/bin/unshare", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--"])
            .args(["/bin/sh", "-c", &script])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.runner = Some(child);
    }

    /// What it has said.
    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// As `unwedge-mounts` writes it each minute.
    fn gate(&self, open: bool) {
        let verdict = if open { "live" } else { "dead" };
        self.watches(&serde_json::json!({ "/store": { "verdict": verdict, "open": open } }));
    }

    fn watches(&self, paths: &Value) {
        let now = unwedge::sys::clock::Now::take().unwrap();
        let text = serde_json::json!({ "schema": 1, "at": now.stamp(), "paths": paths });
        fs::write(self.dir.join("run/storage.json"), text.to_string()).unwrap();
    }
}

impl Box_ {
    /// A script on it, as who is no child of what is started there.
    fn script(&self, script: &str) -> Command {
        let outer = self.runner.as_ref().unwrap().id();
        let inner = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--target", inner.trim(), "--mount", "--pid", "--uts", "--"]);
        command.args(["/bin/sh", "-ec", script]);
        command
    }

    /// Runs it, and it must succeed.
    #[track_caller]
    fn inside(&self, script: &str) {
        let output = self.script(script).output().unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    }
}

impl Box_ {
    /// Kills it with all that runs on it: it is the first process of its table.
    fn kill(&mut self) {
        let Some(mut outer) = self.runner.take() else { return };
        let pid = outer.id();
        let children =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
        outer.wait().unwrap();
    }
}

impl Drop for Box_ {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three of them, with the types that all share.
struct Fleet {
    dir: tempfile::TempDir,
    database: Database,
    role: String,
    boxes: Vec<Box_>,
    middle: Middle,
}

impl Fleet {
    fn new(test: &str) -> Option<Self> {
        let cluster = cluster(test)?;
        if let Some(reason) = isolate::missing() {
            isolate::skip(test, reason);
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            isolate::skip(test, "needs ip");
            return None;
        }
        let database = cluster.database();
        let role = database.role("runner");
        database.sql(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        for name in ["tools", "none", "jobs.d", "out", "in", "home", "at-home", "shipped"] {
            fs::create_dir(at(name)).unwrap();
        }
        open_to_all(&at("out"));
        let tool = |name: &str, text: &str| {
            fs::write(at(name), format!("#!/bin/bash\n{text}\n")).unwrap();
            fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
        };
        tool("tools/first", "echo first $(hostname) >$2");
        tool("second", "echo second $(hostname) >$2");
        tool(
            "slow",
            &format!(
                "echo $(hostname) >>{0}/begun; until test -e {0}/go; do sleep 0.02; done; echo $(hostname) >$2",
                at("out").display()
            ),
        );
        let kind = |name: &str, tools: &[&str]| {
            let tiers: String = tools
                .iter()
                .map(|tool| format!("[[tier]]\nname = \"{tool}\"\nargv = [\"{}\", \"{{input}}\", \"{{output}}\"]\n", at(tool).display()))
                .collect();
            let text = format!(
                "output = \"{}/{name}-{{name}}\"\nconcurrency = 2\n{tiers}",
                at("out").display()
            );
            fs::write(at(&format!("jobs.d/{name}.toml")), text).unwrap();
        };
        kind("tooled", &["tools/first", "second"]);
        kind("slow", &["slow"]);
        kind("local", &["second"]);
        tool("where", "echo $(hostname) $(cat $1) >$2");
        kind("homely", &["where"]);
        let text = fs::read_to_string(at("jobs.d/homely.toml")).unwrap();
        let fetch = format!(
            "fetch = {{ argv = [\"/bin/cp\", \"{}/{{name}}\", \"{{to}}\"] }}\n",
            at("shipped").display()
        );
        fs::write(at("jobs.d/homely.toml"), fetch + &text).unwrap();
        let middle = Middle::of(cluster);
        let boxes = [(0, "alpha"), (1, "beta"), (2, "gamma")].map(|(nth, name)| {
            let own = at(name);
            for part in ["", "state", "state/queue", "run", "prom"] {
                fs::create_dir(own.join(part)).unwrap();
            }
            for part in ["state/queue", "prom"] {
                std::os::unix::fs::chown(own.join(part), Some(65534), Some(65534)).unwrap();
            }
            let net = middle.line(nth);
            // the certificate is that of this name
            fs::write(own.join("hosts"), format!("10.9.{nth}.1 localhost\n")).unwrap();
            let url = format!(
                "postgres://{role}:{PASSWORD}@localhost:{}/{}?sslrootcert={}",
                middle.port,
                database.name,
                cluster.dir.join("right.pem").display()
            );
            fs::write(own.join("queue.url"), format!("{url}\n")).unwrap();
            std::os::unix::fs::chown(own.join("queue.url"), Some(65534), None).unwrap();
            fs::set_permissions(own.join("queue.url"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let text = format!(
                "[host]\nuser = \"nobody\"\nstate_dir = \"{0}/state\"\nrun_dir = \"{0}/run\"\ntextfile_dir = \"{0}/prom\"\n\
                 [queue]\nurl_file = \"{0}/queue.url\"\nadapter = \"unwedge\"\ntimeout = \"1s\"\nlease = \"4s\"\n\
                 [jobs]\ndir = \"{1}\"\nbeat = \"500ms\"\nsweep = \"500ms\"\npoll = \"200ms\"\ngrace = \"1s\"\ndrain = \"1s\"\nprefer_wait = \"2s\"\nslots = 4\nmin_free_mib = 0\n",
                own.display(),
                at("jobs.d").display()
            );
            fs::write(own.join("unwedge.toml"), text).unwrap();
            let hosts = (own.join("hosts"), PathBuf::from("/etc/hosts"));
            Box_ { name, dir: own, net, over: vec![hosts], before: String::new(), runner: None }
        });
        let (tools, home) = ((at("none"), at("tools")), (at("at-home"), at("home")));
        let mut fleet = Self { dir, database, role, boxes: boxes.into(), middle };
        fleet.boxes[0].over.push(home);
        fleet.boxes[2].over.push(tools);
        fleet.say(&["queue", "want-version", "0.0.1"]);
        Some(fleet)
    }

    fn say(&self, words: &[&str]) -> String {
        let url = self.database.url(&self.role);
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command.arg("--config").arg(self.boxes[0].dir.join("unwedge.toml"));
        let output = command
            .args(words)
            .args(["--queue", &url])
            .current_dir(self.dir.path().join("in"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    fn job(&self, id: u64) -> Value {
        serde_json::from_str(&self.say(&["--json", "jobs", "show", &id.to_string()])).unwrap()
    }

    fn value(&self, sql: &str) -> String {
        self.database.value(sql)
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("out").join(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
}

#[test]
fn three_hosts_share_a_queue_and_each_takes_what_it_can_do() {
    let Some(mut fleet) =
        Fleet::new("fleet::three_hosts_share_a_queue_and_each_takes_what_it_can_do")
    else {
        return;
    };
    for it in &mut fleet.boxes {
        it.gate(it.name != "beta");
        it.start();
    }
    await_that("three workers are there", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "3"
    });

    // gamma has only the second tool: it leaves what is new to those that have the first
    let names: Vec<String> = (0..20).map(|nth| format!("f{nth}")).collect();
    let mut words = vec!["jobs", "submit", "--wait", "tooled"];
    words.extend(names.iter().map(String::as_str));
    fleet.say(&words);
    for name in &names {
        assert!(
            fleet.out(&format!("tooled-{name}")).starts_with("first "),
            "{name}: {}",
            fleet.out(&format!("tooled-{name}"))
        );
    }
    // and takes it at once where nobody has that any more
    for it in &mut fleet.boxes[..2] {
        it.kill();
    }
    fleet
        .database
        .sql("UPDATE unwedge_workers SET state = 'dead', ended_ms = 1 WHERE host <> 'gamma'");
    fleet.say(&["jobs", "submit", "tooled", "late"]);
    let id: u64 =
        fleet.value("SELECT id FROM unwedge_jobs WHERE input LIKE '%/late'").parse().unwrap();
    await_that("gamma does it,", || fleet.out("tooled-late") == "second gamma");
    await_that("and says so", || fleet.job(id)["job"]["state"] == "done");
    let told = fleet.job(id);
    assert_eq!(told["job"]["tier"], "second");
    let why = told["tries"][0]["message"].as_str().unwrap();
    assert!(why.starts_with("tools/first is not on this host: /"), "{told}");

    // what needs storage is done where that is open, and nowhere else
    for it in &mut fleet.boxes[..2] {
        it.start();
    }
    await_that("three workers are there again", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "3"
    });
    fleet.say(&["jobs", "submit", "local", "x"]);
    fleet.database.sql(
        "INSERT INTO unwedge_jobs (type, key, state, needs, input, output, created_ms, not_before_ms, changed_ms)
         SELECT 'local', 'n' || n, 'pending', '[\"/store\"]', '/in/' || n, NULL, 0, 0, 0 FROM generate_series(1, 12) n",
    );
    // beside it, what needs none of it, on every host
    fleet.database.sql(
        "INSERT INTO unwedge_jobs (type, key, state, needs, input, output, created_ms, not_before_ms, changed_ms)
         SELECT 'local', 'o' || n, 'pending', '[]', '/in/' || n, NULL, 0, 0, 0 FROM generate_series(1, 60) n",
    );
    await_that("they are done", || {
        fleet.value("SELECT count(*) FROM unwedge_jobs WHERE type = 'local' AND key ~ '^[no]' AND tries > 0 AND state <> 'running'") == "72"
    });
    let elsewhere = fleet.value(
        "SELECT count(*) FROM unwedge_attempts a JOIN unwedge_jobs j ON j.id = a.job JOIN unwedge_workers w ON w.id = a.worker
         WHERE j.key LIKE 'n%' AND w.host = 'beta'",
    );
    assert_eq!(elsewhere, "0");
    let beside = fleet.value(
        "SELECT count(*) > 0 FROM unwedge_attempts a JOIN unwedge_jobs j ON j.id = a.job JOIN unwedge_workers w ON w.id = a.worker
         WHERE j.key LIKE 'o%' AND w.host = 'beta'",
    );
    assert_eq!(beside, "t", "a host whose storage is dead does what needs none of it");
}

#[test]
fn a_mount_that_dies_on_one_host_stops_what_that_host_does_on_it_and_nothing_else() {
    let test =
        "fleet::a_mount_that_dies_on_one_host_stops_what_that_host_does_on_it_and_nothing_else";
    let Some(mut fleet) = Fleet::new(test) else { return };
    let store = fleet.dir.path().join("store");
    fs::create_dir(&store).unwrap();
    // each host has storage of its own in this place, and looks after it twice a second
    let text = format!(
        "output = \"{}/{{name}}\"\nconcurrency = 2\n[[tier]]\nargv = [\"{}\", \"{{input}}\", \"{{output}}\"]\n",
        store.display(),
        fleet.dir.path().join("second").display()
    );
    fs::write(fleet.dir.path().join("jobs.d/stored.toml"), text).unwrap();
    let store = store.to_str().unwrap();
    let mounted = format!(
        "{} faultfs --background {store}; chmod 1777 {store}",
        env!("CARGO_BIN_EXE_unwedge")
    );
    for it in &mut fleet.boxes {
        let config = it.dir.join("unwedge.toml");
        let more = format!(
            "[probe]\ntimeout = \"500ms\"\ndaemons = \"here\"\n[[mount]]\npath = \"{store}\"\nfstype = \"fuse.faultfs\"\n"
        );
        fs::write(&config, fs::read_to_string(&config).unwrap() + &more).unwrap();
        it.before = format!("mount -t fusectl none /sys/fs/fuse/connections; {mounted}; ");
        it.start();
    }
    await_that("three workers are there", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "3"
    });
    let rounds: Vec<Child> = fleet
        .boxes
        .iter()
        .map(|it| {
            let (mounts, dir) = (env!("CARGO_BIN_EXE_unwedge-mounts"), it.dir.display());
            let round =
                format!("{mounts} --config {dir}/unwedge.toml --apply >/dev/null 2>&1 || :");
            // it ends with the host
            it.script(&format!("while :; do {round}; sleep 0.5; done")).spawn().unwrap()
        })
        .collect();
    let mut made = 0;
    let mut submit = |fleet: &Fleet, kind: &str, count: usize, wait: bool| {
        let names: Vec<String> = (made..made + count).map(|nth| format!("m{nth}")).collect();
        made += count;
        let mut words = vec!["jobs", "submit", kind];
        words.extend(wait.then_some("--wait"));
        words.extend(names.iter().map(String::as_str));
        fleet.say(&words);
    };
    let by = |fleet: &Fleet, name: &str, since: &str| -> u32 {
        let sql = format!(
            "SELECT count(*) FROM unwedge_attempts a JOIN unwedge_workers w ON w.id = a.worker JOIN unwedge_jobs j ON j.id = a.job
             WHERE w.host = '{name}' AND j.type = 'stored' AND a.started_ms > {since}"
        );
        fleet.value(&sql).parse().unwrap()
    };
    submit(&fleet, "stored", 60, true);
    for name in ["alpha", "beta", "gamma"] {
        assert!(by(&fleet, name, "0") > 0, "{name} took none");
    }

    fleet.boxes[1].inside("pkill -KILL -f '[f]aultfs --mode'");
    submit(&fleet, "stored", 60, true);
    await_that("beta says that it is closed", || {
        fleet.value(&format!(
            "SELECT closed ? '{store}' FROM unwedge_workers WHERE host = 'beta' AND state <> 'dead'"
        )) == "t"
    });
    let since = fleet.value("SELECT (extract(epoch FROM now()) * 1000)::bigint");
    submit(&fleet, "stored", 60, true);
    assert_eq!(by(&fleet, "beta", &since), 0);
    assert!(by(&fleet, "alpha", &since) > 0 && by(&fleet, "gamma", &since) > 0);
    // what was at work is all that was charged to its surroundings, and all of it was done elsewhere
    let charged = fleet.value("SELECT sum(infra_errors) FROM unwedge_jobs");
    assert!(charged.parse::<u32>().unwrap() <= 2, "{charged}");
    let odd = "SELECT count(*) FROM unwedge_jobs WHERE type = 'stored' AND (state <> 'done' OR failures > 0)";
    assert_eq!(fleet.value(odd), "0");
    // what needs none of it is done there as before: as many as all three have room for
    submit(&fleet, "slow", 6, false);
    await_that("each has two of them", || {
        let begun = fleet.out("begun");
        ["alpha", "beta", "gamma"]
            .iter()
            .all(|name| begun.lines().filter(|it| it == name).count() == 2)
    });
    fs::write(fleet.dir.path().join("out/go"), "").unwrap();

    // mounted again, it is taken by itself
    fleet.boxes[1].inside(&format!("umount -l {store}; {mounted}"));
    await_that("beta says that it is open", || {
        fleet.value(&format!(
            "SELECT open ? '{store}' FROM unwedge_workers WHERE host = 'beta' AND state <> 'dead'"
        )) == "t"
    });
    let since = fleet.value("SELECT (extract(epoch FROM now()) * 1000)::bigint");
    submit(&fleet, "stored", 60, true);
    assert!(by(&fleet, "beta", &since) > 0);
    // that it takes fewer at once than its types would is said once
    assert_eq!(fleet.boxes[0].log().matches("by [jobs] slots").count(), 1);
    drop(fleet);
    for mut round in rounds {
        round.wait().unwrap();
    }
}

#[test]
fn one_that_finds_its_storage_gone_again_is_charged_and_keeps_no_other_back() {
    let test = "fleet::one_that_finds_its_storage_gone_again_is_charged_and_keeps_no_other_back";
    let Some(mut fleet) = Fleet::new(test) else { return };
    let store = fleet.dir.path().join("store");
    fs::create_dir(&store).unwrap();
    let second = fleet.dir.path().join("second").display().to_string();
    let text = format!(
        "output = \"{}/{{name}}\"\n[[tier]]\nargv = [\"{second}\", \"{{input}}\", \"{{output}}\"]\n",
        store.display()
    );
    fs::write(fleet.dir.path().join("jobs.d/stored.toml"), text).unwrap();
    let store = store.to_str().unwrap().to_owned();
    let it = &mut fleet.boxes[0];
    let config = it.dir.join("unwedge.toml");
    let watched = format!("[[mount]]\npath = \"{store}\"\nfstype = \"fuse.faultfs\"\n");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &watched).unwrap();
    let mounts = format!("{} faultfs --background {store}", env!("CARGO_BIN_EXE_unwedge"));
    it.before = format!("{mounts}; chmod 1777 {store}; ");
    let gate = |it: &Box_| {
        it.watches(&serde_json::json!({ store.as_str(): { "verdict": "live", "open": true } }));
    };
    gate(it);
    it.start();
    await_that("it is there", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "1"
    });
    // it is dead, and each round says that it is not
    fleet.boxes[0].inside("pkill -KILL -f '[f]aultfs --mode'");
    fleet.say(&["jobs", "submit", "stored", "a"]);
    let stands =
        "SELECT tries || ' ' || infra_errors || ' ' || failures FROM unwedge_jobs WHERE id = 1";
    await_that("it is charged once it has found that twice", || {
        gate(&fleet.boxes[0]);
        let stands = fleet.value(stands);
        assert!(["0 0 0", "1 0 0", "2 0 0", "2 1 0"].contains(&stands.as_str()), "{stands}");
        stands == "2 1 0"
    });
}

#[test]
fn what_lies_on_one_host_is_done_there_and_fetched_by_others_only_when_it_did_not_come_to_it() {
    let test = "fleet::what_lies_on_one_host_is_done_there_and_fetched_by_others_only_when_it_did_not_come_to_it";
    let Some(mut fleet) = Fleet::new(test) else { return };
    let home = fleet.dir.path().join("home");
    let names: Vec<String> =
        (0..12).map(|nth| format!("h{nth}")).chain(["late".to_owned()]).collect();
    for name in &names {
        fs::write(fleet.dir.path().join("at-home").join(name), "own").unwrap();
        fs::write(fleet.dir.path().join("shipped").join(name), "copy").unwrap();
    }
    for it in &mut fleet.boxes {
        let paths = if it.name == "alpha" {
            serde_json::json!({ home.to_str().unwrap(): { "verdict": "live", "open": true } })
        } else {
            serde_json::json!({})
        };
        it.watches(&paths);
        it.start();
    }
    await_that("three workers are there", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "3"
    });
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let mut words = ["jobs", "submit", "--wait", "homely"].map(str::to_owned).to_vec();
    words.extend(names[..12].iter().map(|name| path(name)));
    fleet.say(&words.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names[..12] {
        assert_eq!(fleet.out(&format!("homely-{name}")), "alpha own", "{name}");
    }
    // it takes nothing, and whether it ever will is not known yet
    fleet.middle.cut(0, true);
    fleet.say(&["jobs", "submit", "homely", &path("late")]);
    let id: u64 = fleet.value("SELECT max(id) FROM unwedge_jobs").parse().unwrap();
    let why = fleet.say(&["jobs", "why", &id.to_string()]);
    assert!(why.starts_with("left-to-its-host: left to alpha, where its paths are, "), "{why}");
    await_that("another does it", || fleet.out("homely-late").ends_with(" copy"));
    await_that("and says so", || fleet.job(id)["job"]["state"] == "done");
    let told = fleet.job(id);
    assert_eq!(told["tries"][0]["message"], "its input is not on this host", "{told}");
}

#[test]
fn a_job_that_runs_longer_than_its_lease_under_a_living_worker_is_never_taken_from_it() {
    let test =
        "fleet::a_job_that_runs_longer_than_its_lease_under_a_living_worker_is_never_taken_from_it";
    let Some(mut fleet) = Fleet::new(test) else { return };
    fleet.boxes[0].start();
    fleet.say(&["jobs", "submit", "slow", "a"]);
    await_that("alpha has it", || fleet.out("begun") == "alpha");
    fleet.boxes[1].start();
    // leases, counted by signs of life of both
    for leases in 1..=3 {
        let beats = format!(
            "SELECT min(beats) >= 8 * {leases} AND count(*) = 2 FROM unwedge_workers WHERE state <> 'dead'"
        );
        await_that(&format!("{leases} leases are over"), || fleet.value(&beats) == "t");
    }
    let stands = "SELECT state || ' ' || tries || ' ' || rescues FROM unwedge_jobs";
    assert_eq!(fleet.value(stands), "running 1 0");
    fs::write(fleet.dir.path().join("out/go"), "").unwrap();
    await_that("it is done", || fleet.value(stands) == "done 1 0");
    assert_eq!((fleet.out("begun").as_str(), fleet.out("slow-a").as_str()), ("alpha", "alpha"));
}

#[test]
fn of_several_hosts_none_loses_a_job_to_another_while_the_queue_is_away_for_three_leases() {
    let test = "fleet::of_several_hosts_none_loses_a_job_to_another_while_the_queue_is_away_for_three_leases";
    let Some(mut fleet) = Fleet::new(test) else { return };
    for it in &mut fleet.boxes {
        let config = it.dir.join("unwedge.toml");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("slots = 4", "slots = 2").replace(
            "lease = \"4s\"\n",
            "lease = \"4s\"\nreconnect = \"500ms\"\nreconnect_max = \"6s\"\n",
        );
        fs::write(&config, text).unwrap();
        it.start();
    }
    fleet.say(&["jobs", "submit", "slow", "a", "b", "c", "d", "e", "f"]);
    await_that("all are at work", || fleet.out("begun").lines().count() == 6);
    let held = "SELECT count(DISTINCT worker) FROM unwedge_jobs WHERE state = 'running'";
    assert_eq!(fleet.value(held), "3");
    let mut admin = fleet.database.cluster.admin("postgres");
    let name = fleet.database.name.clone();
    let mut open = |is_open: bool| {
        admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {is_open}")).unwrap();
        let out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        admin.execute(out, &[&name]).unwrap();
    };
    open(false);
    await_that("each knows that it is away", || {
        fleet.boxes.iter().all(|it| it.log().contains("no connection"))
    });
    std::thread::sleep(Duration::from_secs(13));
    open(true);
    // each is back, and looks for two leases more
    let beats = || fleet.value("SELECT min(beats) FROM unwedge_workers").parse::<u64>().unwrap();
    let before = beats();
    await_that("all are back", || beats() >= before + 16);
    let logs = || fleet.boxes.iter().map(Box_::log).collect::<Vec<_>>().join("==\n");
    let stands = "SELECT count(*) || ' ' || max(tries) || ' ' || sum(rescues) || ' ' || sum(failures + infra_errors) FROM unwedge_jobs WHERE state = '";
    assert_eq!(fleet.value(&format!("{stands}running'")), "6 1 0 0", "{}", logs());
    fs::write(fleet.dir.path().join("out/go"), "").unwrap();
    let is_done = format!("{stands}done'");
    await_that("all are done", || fleet.value(&is_done).starts_with("6 "));
    assert_eq!(fleet.value(&is_done), "6 1 0 0", "{}", logs());
    assert_eq!(fleet.out("begun").lines().count(), 6);
    let alive = "SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'";
    assert_eq!(fleet.value(alive), "3", "{}", logs());
    let mut all = fleet.boxes.iter_mut().map(|it| it.runner.as_mut().unwrap().try_wait().unwrap());
    assert!(all.all(|it| it.is_none()), "nobody has ended");
}

#[test]
fn whoever_claims_from_a_slow_queue_gives_signs_of_life_meanwhile() {
    let test = "fleet::whoever_claims_from_a_slow_queue_gives_signs_of_life_meanwhile";
    let Some(mut fleet) = Fleet::new(test) else { return };
    let slow = fs::read_to_string(fleet.dir.path().join("jobs.d/slow.toml")).unwrap();
    for nth in 0..12 {
        let text = slow.replace("slow-{name}", &format!("lag{nth}-{{name}}"));
        fs::write(fleet.dir.path().join(format!("jobs.d/lag{nth}.toml")), text).unwrap();
    }
    // alpha takes all of them, and beta only looks
    for (nth, slots) in [(0, "slots = 40"), (1, "slots = 0")] {
        let config = fleet.boxes[nth].dir.join("unwedge.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace("slots = 4", slots)).unwrap();
    }
    for it in &mut fleet.boxes[..2] {
        it.start();
    }
    fleet.say(&["jobs", "submit", "slow", "a"]);
    await_that("alpha has it", || fleet.out("begun") == "alpha");
    // all claims of a turn take longer than a lease
    fleet.database.sql(
        "CREATE FUNCTION lag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.6); RETURN NEW; END $$;
         CREATE TRIGGER lag BEFORE UPDATE ON unwedge_jobs FOR EACH ROW
             WHEN (NEW.type LIKE 'lag%' AND NEW.state = 'running' AND OLD.state <> 'running') EXECUTE FUNCTION lag()",
    );
    fleet.database.sql(
        "INSERT INTO unwedge_jobs (type, key, state, priority, needs, prefers, input, output, created_ms, not_before_ms, changed_ms)
         SELECT 'lag' || g, 'k', 'pending', 0, '[]', '[]', '/in/a', replace(j.output, 'slow-', 'lag' || g || '-'), 0, 0, 0
         FROM unwedge_jobs j, generate_series(0, 11) g; NOTIFY unwedge_jobs",
    );
    await_that("all are claimed", || {
        fleet.value("SELECT count(*) FROM unwedge_jobs WHERE state = 'running'") == "13"
    });
    assert_eq!(fleet.value("SELECT max(tries) || ' ' || max(rescues) FROM unwedge_jobs"), "1 0");
    fs::write(fleet.dir.path().join("out/go"), "").unwrap();
    await_that("all are done", || {
        fleet.value("SELECT count(*) FROM unwedge_jobs WHERE state = 'done'") == "13"
    });
}

#[test]
fn a_host_that_is_cut_off_loses_its_jobs_once_its_late_result_is_refused_and_it_comes_back() {
    let test = "fleet::a_host_that_is_cut_off_loses_its_jobs_once_its_late_result_is_refused_and_it_comes_back";
    let Some(mut fleet) = Fleet::new(test) else { return };
    fleet.boxes[0].start();
    fleet.say(&["jobs", "submit", "slow", "a", "b"]);
    await_that("alpha has both", || fleet.out("begun").lines().count() == 2);
    for it in &mut fleet.boxes[1..] {
        it.start();
    }
    await_that("three workers are there", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead'") == "3"
    });
    // longer than its lease
    fleet.middle.cut(0, true);
    await_that("both are begun elsewhere", || {
        fleet.out("begun").lines().filter(|it| *it != "alpha").count() == 2
    });
    let states = "SELECT string_agg(tries || ' ' || rescues || ' ' || state, ',' ORDER BY id) FROM unwedge_jobs";
    assert_eq!(fleet.value(states), "2 1 running,2 1 running");
    assert_eq!(
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state = 'dead' AND host = 'alpha'"),
        "1"
    );
    // no earlier than its lease was over, and not long after
    let took = fleet.value(
        "SELECT ended_ms - beat_ms FROM unwedge_workers WHERE state = 'dead' AND host = 'alpha'",
    );
    assert!((4_000..10_000).contains(&took.parse::<u32>().unwrap()), "{took} ms");
    // all are let go: those that have the jobs write their results, and nobody else's word counts
    fs::write(fleet.dir.path().join("out/go"), "").unwrap();
    await_that("both are done", || {
        fleet.value("SELECT count(*) FROM unwedge_jobs WHERE state = 'done'") == "2"
    });
    for name in ["slow-a", "slow-b"] {
        assert!(
            !fleet.out(name).is_empty() && fleet.out(name) != "alpha",
            "{name}: {}",
            fleet.out(name)
        );
    }
    fleet.middle.cut(0, false);
    let start = Instant::now();
    let code = loop {
        if let Some(status) = fleet.boxes[0].runner.as_mut().unwrap().try_wait().unwrap() {
            break status.code();
        }
        assert!(start.elapsed().as_secs() < 60, "it does not end: {}", fleet.boxes[0].log());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(3), "{}", fleet.boxes[0].log());
    assert!(
        fleet.boxes[0].log().contains("the queue knows this worker no more"),
        "{}",
        fleet.boxes[0].log()
    );
    await_that("nothing of its results is left", || {
        let all = fs::read_dir(fleet.dir.path().join("out")).unwrap().flatten();
        !all.map(|it| it.file_name()).any(|it| it.to_string_lossy().contains("unwedge"))
    });
    let done = "SELECT count(*) || ' ' || count(*) FILTER (WHERE end_state = 'done') FROM unwedge_attempts";
    assert_eq!(fleet.value(done), "4 2", "each was lost once and done once");
    assert_eq!(
        fleet.value("SELECT count(DISTINCT job) FROM unwedge_attempts WHERE end_state = 'done'"),
        "2"
    );
    // as systemd starts it again
    fleet.boxes[0].kill();
    fleet.boxes[0].start();
    await_that("it is one of them again", || {
        fleet.value("SELECT count(*) FROM unwedge_workers WHERE state <> 'dead' AND host = 'alpha'")
            == "1"
    });
    for it in &mut fleet.boxes[1..] {
        it.kill();
    }
    fleet.say(&["jobs", "submit", "--wait", "slow", "c"]);
    assert_eq!(fleet.out("slow-c"), "alpha");
}

host_test! {
    fn whatever_is_broken_while_it_works_nothing_is_lost_and_nothing_is_done_twice(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        let script = "sleep 0.03; cp $1 $2";
        crate::runner::furnish_with_postgres(&host, &[("t", &crate::runner::script("concurrency = 4", script))], "slots = 4\npoll = \"200ms\"");
        host.put("/usr/local/bin/sql", crate::queue_host::SQL.as_bytes(), "755");
        host.put("/usr/bin/unwedge-runner", &program("unwedge-runner"), "755");
        host.ok("cd /srv/in; for n in $(seq 400); do echo $n >$n; done; systemctl start unwedge-runner; unwedge jobs submit t $(seq 400) >/dev/null");
        let done = || host.ok("sql \"SELECT count(*) FROM unwedge_jobs WHERE state = 'done'\"").parse::<u32>().unwrap();
        let goes_on = |what: &str| {
            let before = done();
            let start = Instant::now();
            while done() < (before + 20).min(400) {
                assert!(start.elapsed().as_secs() < 60, "{what}: {} done, {}", done(), host.story());
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        goes_on("at first");
        host.ok("systemctl restart lab-pg; timeout 20 bash -c 'until /usr/lib/postgresql/15/bin/pg_isready -q -h /run/pg; do sleep 0.1; done'");
        goes_on("its server was restarted");
        host.ok("sql \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'unwedge'\" >/dev/null");
        goes_on("its connections were ended");
        // no room for anybody who comes, for two seconds
        host.ok("as() { setpriv --reuid=postgres --regid=postgres --init-groups -- \"$@\"; }
             for n in $(seq 120); do (sleep 2 | as psql -qAtX -h /run/pg app >/dev/null 2>&1 &) ; done; sleep 0.3
             systemctl kill -s KILL unwedge-runner; sleep 2.5");
        goes_on("there was no room for it");
        for _ in 0..3 {
            host.ok("systemctl kill -s KILL unwedge-runner; sleep 0.2");
            // it waits longer each time by itself, and so does what was lost again: a test has no time for that
            host.ok("rm -f /var/lib/unwedge/queue/runner.json; systemctl restart unwedge-runner");
        }
        host.ok("sql \"UPDATE unwedge_jobs SET not_before_ms = 0 WHERE state = 'retryable'\"");
        goes_on("it was killed again and again");
        let start = Instant::now();
        while done() < 400 {
            let states = host.ok("sql \"SELECT state, rescues, class, message, count(*) FROM unwedge_jobs GROUP BY 1, 2, 3, 4\"");
            assert!(start.elapsed().as_secs() < 90, "{states}\n{}", host.story());
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(host.ok("sql \"SELECT count(*) FROM unwedge_attempts WHERE end_state = 'done'\""), "400");
        assert_eq!(host.ok("sql \"SELECT count(DISTINCT job) FROM unwedge_attempts WHERE end_state = 'done'\""), "400");
        assert_eq!(host.ok("sql \"SELECT sum(failures) + sum(infra_errors) FROM unwedge_jobs\""), "0", "nobody's fault but that of what was broken");
        host.ok("for n in $(seq 400); do test \"$(cat /srv/out/$n)\" = $n; done; test $(ls -A /srv/out | wc -l) = 400");
    }
}
