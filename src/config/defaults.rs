//! The defaults, once: as `Default` of the settings, and as the lowest layer of the tree made from just those
//! values. So what `config show` calls a default is what the program uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::check::Word as _;
use super::duration;
use super::queue::Terms;
use super::settings::{
    Budget, Confirm, Confirmation, Gates, Host, Mounts, Probe, Services, Settings, Watch,
    Whereabouts,
};
use super::tree::{Node, Origin, Tree, all_tables};

/// Default of `[[mount]] wait`: a minute, in which sshfs over a slow line comes up.
pub const WAIT: Duration = Duration::from_secs(60);
/// Default of `[queue] next_jobs`: enough to see a broken directory before a worker meets it.
pub const NEXT_JOBS: u32 = 10;
/// Default of `[queue] timeout`.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `[queue] infra_window`: what is older tells of another incident.
pub const INFRA_WINDOW: Duration = Duration::from_secs(10 * 60);
/// Default of `[queue] stale_after`.
pub const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
/// Default of `[queue] quiet`: a job that works writes more often than that.
pub const QUIET: Duration = Duration::from_secs(60);

impl Default for Host {
    fn default() -> Self {
        Self {
            user: "unwedge".to_owned(),
            state_dir: PathBuf::from("/var/lib/unwedge"),
            run_dir: PathBuf::from("/run/unwedge"),
            sentinel_dir: PathBuf::from("/etc/unwedge/sentinels"),
            textfile_dir: PathBuf::from("/var/lib/prometheus/node-exporter"),
            services: Services::Systemd,
            systemctl: PathBuf::from("/usr/bin/systemctl"),
            journalctl: PathBuf::from("/usr/bin/journalctl"),
        }
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self { deploy_lock: PathBuf::from("/run/unwedge/deploy.lock") }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), daemons: Whereabouts::Anywhere }
    }
}

impl Default for Mounts {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(4 * 60),
            repair_under: Vec::new(),
            watch: Watch::Listed,
            confirm: Confirm::default(),
            budget: Budget::default(),
        }
    }
}

impl Default for Confirm {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            dead: Confirmation { runs: 1, age: Duration::ZERO },
            hung: Confirmation { runs: 2, age: minutes(2) },
            absent: Confirmation { runs: 2, age: Duration::ZERO },
            pinned: Confirmation { runs: 2, age: Duration::ZERO },
            stacked: Confirmation { runs: 2, age: Duration::ZERO },
            transient: Confirmation { runs: 5, age: minutes(2) },
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(15 * 60),
            per_hour: 2,
            per_day: 6,
            per_target_per_day: 3,
        }
    }
}

/// The lowest layer: every key that has a default, with that default.
pub fn tree() -> Tree {
    let Settings {
        host,
        gates,
        probe,
        mounts,
        mount: _,
        binds: _,
        bind: _,
        queue: _,
        worker: _,
        metrics,
        notify: _,
        doctor: _,
        jobs: _,
        heartbeat: _,
        bucket: _,
        intake: _,
        file: _,
    } = Settings::default();
    let all = table([
        (
            "host",
            table([
                ("user", Value::from(host.user)),
                ("state_dir", path(&host.state_dir)),
                ("run_dir", path(&host.run_dir)),
                ("sentinel_dir", path(&host.sentinel_dir)),
                ("textfile_dir", path(&host.textfile_dir)),
                ("services", Value::from(host.services.as_str())),
                ("systemctl", path(&host.systemctl)),
                ("journalctl", path(&host.journalctl)),
            ]),
        ),
        ("gates", table([("deploy_lock", path(&gates.deploy_lock))])),
        (
            "probe",
            table([
                ("timeout", time(probe.timeout)),
                ("daemons", Value::from(probe.daemons.as_str())),
            ]),
        ),
        (
            "mounts",
            table([
                ("deadline", time(mounts.deadline)),
                (
                    "repair_under",
                    Value::Array(mounts.repair_under.iter().map(|it| path(it)).collect()),
                ),
                ("watch", Value::from(mounts.watch.as_str())),
                ("confirm", confirm(&mounts.confirm)),
                ("budget", budget(&mounts.budget)),
            ]),
        ),
        ("metrics", table([("prefix", Value::from(metrics.prefix))])),
        ("mount", Value::Array(Vec::new())),
        ("binds", table([])),
        ("bind", Value::Array(Vec::new())),
    ]);
    Tree::from_value(all, &Origin::Default)
}

/// Stands for the name of any type in `with_jobs`.
pub const ANY_TYPE: &str = "TYPE";

/// The lowest layer with a `[jobs]`: every key that a variable may set.
pub fn with_jobs() -> Tree {
    let mut tree = tree();
    if let (Node::Table(sections), Value::Table(mut keys)) =
        (&mut tree.node, super::jobs::defaults())
    {
        keys.insert("slots".to_owned(), Value::from(1));
        let texts = ["mode", "image", "network", "pull", "sign_path", "sign_bucket", "sign_key"];
        for key in texts {
            keys.insert(key.to_owned(), Value::from(""));
        }
        keys.insert(ANY_TYPE.to_owned(), table([("concurrency", Value::from(1))]));
        sections.insert("jobs".to_owned(), Tree::from_value(Value::Table(keys), &Origin::Default));
    }
    tree
}

/// Puts the defaults of one `[[mount]]` into each that does not say otherwise.
pub fn complete_mounts(tree: &mut Tree) {
    let Node::Table(sections) = &mut tree.node else {
        return;
    };
    let Some(Tree { node: Node::Array(mounts), .. }) = sections.get_mut("mount") else {
        return;
    };
    if !all_tables(mounts) {
        return;
    }
    for mount in mounts {
        if let Node::Table(keys) = &mut mount.node {
            keys.entry("wait".to_owned())
                .or_insert_with(|| Tree::from_value(time(WAIT), &Origin::Default));
        }
    }
}

/// Puts the defaults of `[queue]` in where there is such a section: without one there is no queue.
pub fn complete_queue(tree: &mut Tree) {
    let Node::Table(sections) = &mut tree.node else {
        return;
    };
    let Some(Tree { node: Node::Table(keys), .. }) = sections.get_mut("queue") else {
        return;
    };
    let Terms { lease, worker_stale, reconnect, breaker } = Terms::default();
    let waits = breaker.waits.into_iter().map(time);
    for (key, value) in [
        ("next_jobs", Value::from(NEXT_JOBS)),
        ("timeout", time(QUEUE_TIMEOUT)),
        ("infra_window", time(INFRA_WINDOW)),
        ("stale_after", time(STALE_AFTER)),
        ("quiet", time(QUIET)),
        ("lease", time(lease)),
        ("worker_stale", time(worker_stale)),
        ("reconnect", time(reconnect.first)),
        ("reconnect_max", time(reconnect.most)),
        ("breaker", Value::from(breaker.after)),
        ("breaker_waits", Value::from(waits.collect::<Vec<_>>())),
    ] {
        let default = || Tree::from_value(value, &Origin::Default);
        keys.entry(key.to_owned()).or_insert_with(default);
    }
}

fn confirm(confirm: &Confirm) -> Value {
    let one = |it: &Confirmation| table([("runs", Value::from(it.runs)), ("age", time(it.age))]);
    table([
        ("dead", one(&confirm.dead)),
        ("hung", one(&confirm.hung)),
        ("absent", one(&confirm.absent)),
        ("pinned", one(&confirm.pinned)),
        ("stacked", one(&confirm.stacked)),
        ("transient", one(&confirm.transient)),
    ])
}

fn budget(budget: &Budget) -> Value {
    table([
        ("cooldown", time(budget.cooldown)),
        ("per_hour", Value::from(budget.per_hour)),
        ("per_day", Value::from(budget.per_day)),
        ("per_target_per_day", Value::from(budget.per_target_per_day)),
    ])
}

pub(super) fn table<const N: usize>(keys: [(&str, Value); N]) -> Value {
    Value::Table(Table::from_iter(keys.map(|(key, value)| (key.to_owned(), value))))
}

fn path(path: &Path) -> Value {
    Value::from(path.to_string_lossy().into_owned())
}

pub(super) fn time(duration: Duration) -> Value {
    Value::from(duration::display(duration))
}
