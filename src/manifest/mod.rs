//! What this project ships, said once: each tool with its program, unit, cadence, sentinel, records, lock and
//! metrics; the files that go onto a host; the metric families. The installer, the checks and the pages go by this
//! list, and tests hold the units and the tables of the documentation against it.

pub mod content;
pub mod families;
pub mod files;

use std::path::PathBuf;
use std::time::Duration;

use crate::config::queue::Adapter;
use crate::config::sentinel::Kind;
use crate::config::{Host, Settings};

/// What the name of each unit, lock and metrics file of ours begins with.
const PREFIX: &str = "unwedge";

/// One tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name in metrics, locks, journal fields and lists: `mounts`.
    pub name: &'static str,
    /// Its program: `unwedge-mounts`.
    pub program: &'static str,
    /// What its service runs the program with.
    pub arguments: &'static [&'static str],
    /// What it does, one line.
    pub about: &'static str,
    /// Whom its service runs as.
    pub runs_as: RunsAs,
    /// What starts it.
    pub start: Start,
    /// Units beside its service and its timer, started by hand or by the installer.
    pub other_units: &'static [&'static str],
    /// Whether it is of use only together with a part of the configuration.
    pub needs: Needs,
    /// The kinds of act that it does, the first of which is its own sentinel; none for one that acts on nothing.
    pub acts: &'static [Kind],
    /// Records that it writes, without `.json`.
    pub records: &'static [&'static str],
    /// Where its records lie.
    pub state: State,
    /// Where its `<name>.lock` lies, if an `--apply` round takes one.
    pub lock: Option<LockDir>,
    /// The page to begin with.
    pub playbook: &'static str,
}

/// Whom a tool runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsAs {
    /// Root.
    Root,
    /// `[host] user`.
    ServiceUser,
}

/// What starts a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A timer: so long after boot, and then so long after the end of each round.
    Every {
        /// After boot.
        boot: Duration,
        /// After the end of a round.
        pause: Duration,
    },
    /// A timer, once a day.
    Daily,
    /// Its own service, at boot, and whatever requires that.
    AtBoot,
    /// It is a service and stays.
    Always,
}

/// What a tool looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Every host has it.
    Nothing,
    /// `[[bind]]` tables, a manifest, or a template for jobs.
    Binds,
    /// `[worker]`.
    Worker,
    /// `[queue]`.
    Queue,
    /// `[notify]`.
    Notify,
    /// `[jobs]`.
    Jobs,
}

/// Where a tool's records lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `[host] state_dir`, which is root's.
    Host,
    /// `queue` in it, which is the service user's.
    Queue,
}

/// Where a tool's lock lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockDir {
    /// `[host] run_dir`.
    Run,
    /// Beside its records: the service user may not write in the other.
    State,
}

impl Tool {
    /// Its service.
    #[must_use]
    pub fn service(&self) -> String {
        format!("{PREFIX}-{}.service", self.name)
    }

    /// Its timer, if one starts it.
    #[must_use]
    pub fn timer(&self) -> Option<String> {
        matches!(self.start, Start::Every { .. } | Start::Daily)
            .then(|| format!("{PREFIX}-{}.timer", self.name))
    }

    /// The unit that is enabled.
    #[must_use]
    pub fn enabled_unit(&self) -> String {
        self.timer().unwrap_or_else(|| self.service())
    }

    /// Its service, and its timer if it has one.
    pub fn own_units(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.service()).chain(self.timer())
    }

    /// Every unit.
    pub fn units(&self) -> impl Iterator<Item = String> {
        self.own_units().chain(self.other_units.iter().map(|&unit| unit.to_owned()))
    }

    /// The name of its file in the textfile directory.
    #[must_use]
    pub fn metrics_file(&self) -> String {
        format!("{PREFIX}_{}.prom", self.name)
    }

    /// The directory of its records.
    #[must_use]
    pub fn state_dir(&self, host: &Host) -> PathBuf {
        match self.state {
            State::Host => host.state_dir.clone(),
            State::Queue => queue_dir(host),
        }
    }

    /// The files of its records.
    pub fn record_files(&self) -> impl Iterator<Item = String> {
        self.records.iter().map(|name| format!("{name}.json"))
    }

    /// Its lock.
    #[must_use]
    pub fn lock_file(&self, host: &Host) -> Option<PathBuf> {
        let dir = match self.lock? {
            LockDir::Run => host.run_dir.clone(),
            LockDir::State => self.state_dir(host),
        };
        Some(dir.join(format!("{}.lock", self.name)))
    }

    /// Whether the configuration has something for it to do.
    #[must_use]
    pub fn is_needed(&self, settings: &Settings) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::Binds => {
                let binds = &settings.binds;
                !settings.bind.is_empty() || binds.manifest.is_some() || binds.jobs.is_some()
            }
            Needs::Worker => settings.worker.is_some(),
            Needs::Queue => settings.queue.is_some(),
            Needs::Notify => settings.notify.is_some(),
            Needs::Jobs => settings.jobs.is_some(),
        }
    }

    /// Whether it would act on something here, were it permitted to.
    #[must_use]
    pub fn has_to_act(&self, settings: &Settings) -> bool {
        match self.sentinel() {
            None => false,
            // in the queue of another worker it keeps its hands to itself
            Some(Kind::Jobs) => {
                settings.queue.as_ref().is_some_and(|queue| queue.adapter == Adapter::Unwedge)
            }
            Some(_) => self.is_needed(settings),
        }
    }

    /// Its own sentinel.
    #[must_use]
    pub fn sentinel(&self) -> Option<Kind> {
        self.acts.first().copied()
    }

    /// The longest that may lie between the ends of two rounds, while each takes no longer than `deadline`: the
    /// pause twice, for one that was lost, and the deadline. None for one that no timer starts.
    #[must_use]
    pub fn stale_after(&self, deadline: Duration) -> Option<Duration> {
        match self.start {
            Start::Every { pause, .. } => Some(2 * pause + deadline),
            // the timer may be an hour late
            Start::Daily => Some(Duration::from_secs(26 * 3600)),
            Start::AtBoot | Start::Always => None,
        }
    }
}

/// The service user's directory.
#[must_use]
pub fn queue_dir(host: &Host) -> PathBuf {
    host.state_dir.join("queue")
}

/// In that directory: what commands said, a file for each try.
pub const LOGS: &str = "logs";
/// In that directory: what does not belong on this host, a directory for each try.
pub const SPARE: &str = "spare";

/// Where an engine of containers of the service user's keeps what runs: while the runner's unit is up (`RuntimeDirectory=`).
pub const RUNNER_RUNTIME_DIR: &str = "/run/unwedge-runner";

/// The home of the service user under the runner's unit.
#[must_use]
pub fn runner_home(host: &Host) -> PathBuf {
    host.state_dir.join("home")
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// A tool of root's that only looks, remembers nothing and keeps nobody out.
const ONLY_LOOKS: Tool = Tool {
    name: "",
    program: "",
    arguments: &[],
    about: "",
    runs_as: RunsAs::Root,
    start: Start::Always,
    other_units: &[],
    needs: Needs::Nothing,
    acts: &[],
    records: &[],
    state: State::Host,
    lock: None,
    playbook: "README",
};

/// Repairs.
pub static MOUNTS: Tool = Tool {
    name: "mounts",
    program: "unwedge-mounts",
    arguments: &["--apply"],
    about: "looks after the mounts and repairs exactly what is broken",
    runs_as: RunsAs::Root,
    start: Start::Every { boot: minutes(1), pause: minutes(1) },
    other_units: &[],
    needs: Needs::Nothing,
    acts: &[Kind::Mounts, Kind::Binds, Kind::Worker],
    records: &["mounts", "debts", "guards"],
    state: State::Host,
    lock: Some(LockDir::Run),
    playbook: "README",
};

/// Binds, at boot.
pub static BINDS: Tool = Tool {
    name: "binds",
    program: "unwedge-binds",
    arguments: &["--apply", "--require"],
    about: "puts the binds of the table in place, before the worker",
    runs_as: RunsAs::Root,
    start: Start::AtBoot,
    other_units: &[],
    needs: Needs::Binds,
    acts: &[Kind::Binds],
    records: &["mounts", "debts"],
    state: State::Host,
    // it takes the lock of the rounds whose part it does
    lock: None,
    playbook: "storage-not-live",
};

/// Starts of the worker.
pub static WORKER: Tool = Tool {
    name: "worker",
    program: "unwedge-worker",
    arguments: &["--apply"],
    about: "starts the job worker when it is down and should not be",
    runs_as: RunsAs::Root,
    start: Start::Every { boot: minutes(3), pause: minutes(2) },
    other_units: &[RESTART_WHEN_IDLE],
    needs: Needs::Worker,
    acts: &[Kind::Worker, Kind::Recover],
    records: &["worker", "debts"],
    state: State::Host,
    lock: Some(LockDir::Run),
    playbook: "worker-stopped-by-operator",
};

/// The queue.
pub static JOBS: Tool = Tool {
    name: "jobs",
    program: "unwedge-jobs",
    arguments: &["--apply"],
    about: "looks into the job queue",
    runs_as: RunsAs::ServiceUser,
    start: Start::Every { boot: minutes(1), pause: minutes(1) },
    other_units: &[],
    needs: Needs::Queue,
    acts: &[Kind::Jobs],
    records: &["facts", "upkeep", "heartbeats"],
    state: State::Queue,
    lock: Some(LockDir::State),
    playbook: "queue-unknown",
};

/// Jobs of our own queue.
pub static RUNNER: Tool = Tool {
    name: "runner",
    program: "unwedge-runner",
    arguments: &[],
    about: "claims jobs of our own queue and runs them",
    runs_as: RunsAs::ServiceUser,
    start: Start::Always,
    other_units: &[],
    needs: Needs::Jobs,
    acts: &[],
    records: &["runner", "spool"],
    state: State::Queue,
    lock: Some(LockDir::State),
    playbook: "alert-queue-unreadable",
};

/// Wakes.
pub static WATCH: Tool = Tool {
    name: "watch",
    program: "unwedge-watch",
    about: "starts a round of unwedge-mounts the moment a mount's daemon ends",
    ..ONLY_LOOKS
};

/// The ritual.
pub static VERIFY: Tool = Tool {
    name: "verify",
    program: "verify-ops",
    arguments: &["--quiet", "--metrics"],
    about: "looks at everything that was installed, once a day",
    start: Start::Daily,
    ..ONLY_LOOKS
};

/// The probe, tried.
pub static CANARY: Tool = Tool {
    name: "canary",
    program: "unwedge-canary",
    arguments: &["--metrics"],
    about: "tries the probe on a mount that is dead on purpose",
    start: Start::Every { boot: minutes(5), pause: minutes(60) },
    playbook: "alert-canary-failed",
    ..ONLY_LOOKS
};

/// Messages.
pub static NOTIFY: Tool = Tool {
    name: "notify",
    program: "unwedge-notify",
    arguments: &["--apply"],
    about: "tells somebody of incidents",
    runs_as: RunsAs::ServiceUser,
    start: Start::Every { boot: minutes(1), pause: minutes(1) },
    other_units: &[],
    needs: Needs::Notify,
    acts: &[Kind::Notify],
    records: &["notify"],
    state: State::Queue,
    lock: Some(LockDir::State),
    playbook: "alert-message-undelivered",
};

/// Every tool that systemd starts, in the order in which a person hears of them.
pub static TOOLS: [&Tool; 9] =
    [&MOUNTS, &BINDS, &WORKER, &JOBS, &RUNNER, &WATCH, &NOTIFY, &VERIFY, &CANARY];

/// Restarts the worker once no job runs.
pub const RESTART_WHEN_IDLE: &str = "unwedge-worker-restart.service";

/// The operator's program.
pub const OPERATOR: &str = "unwedge";

/// The tool of this name, or of the name of its program.
#[must_use]
pub fn tool(name: &str) -> Option<&'static Tool> {
    TOOLS.into_iter().find(|tool| tool.name == name || tool.program == name)
}
