//! `[worker]` as the rest of the program sees it: what the worker is, what it stands on, and how often
//! it may be started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::jobs::UNIT;
use super::queue::Adapter;
use super::settings::Settings;

/// Longest `[worker] respect_stop`: 1 week. What is meant to last longer is a hold, or `disable`.
pub const RESPECT_STOP_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest `[worker] verify`: 10 min.
pub const VERIFY_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest `[worker] deadline`: 1 h.
pub const WORKER_DEADLINE_MAX: Duration = Duration::from_secs(60 * 60);
/// The wait after a start never doubles beyond this.
pub const COOLDOWN_MAX: Duration = Duration::from_secs(60 * 60);
/// Most that can be asked for as free space or inodes.
pub const FREE_MAX: u32 = 1_000_000_000;

/// `[worker]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Its unit; only with `services = "systemd"`.
    pub unit: Option<String>,
    /// Starts it; only with `services = "process"`, as the next two.
    pub start: Option<Vec<String>>,
    /// Stops it.
    pub stop: Option<Vec<String>>,
    /// Says whether it runs: exit 0 for yes.
    pub status: Option<Vec<String>>,
    /// The mounts and binds it stands on, if they were named. Default: all of them; of the runner none.
    pub needs: Option<Vec<PathBuf>>,
    /// The signs of life that it needs, by name: `heartbeat:NAME` in `needs`. Default none.
    pub signs: Vec<String>,
    /// How long a stop by hand counts. Default 1 h.
    pub respect_stop: Duration,
    /// Whether the worker itself leaves a job alone for a while whose output directory fails. Default no.
    pub own_cooldown: bool,
    /// How long it must stay up to have been started. Default 15 s.
    pub verify: Duration,
    /// Free space that each need must have, MiB; 0 asks for none. Default 1024.
    pub free_mib_min: u32,
    /// Free inodes that each need must have, where it counts them; 0 asks for none. Default 10000.
    pub free_inodes_min: u32,
    /// Time for one round. Default 2 min.
    pub deadline: Duration,
    /// How often it may be started.
    pub budget: WorkerBudget,
}

/// `[worker.budget]`.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerBudget {
    /// Wait after a start; doubles with each that failed or did not last, to 1 h. Default 5 min.
    pub cooldown: Duration,
    /// Starts in a day. Default 12, from 0 (never start) to 1000.
    pub per_day: u32,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            unit: None,
            start: None,
            stop: None,
            status: None,
            needs: None,
            signs: Vec::new(),
            respect_stop: Duration::from_secs(60 * 60),
            own_cooldown: false,
            verify: Duration::from_secs(15),
            free_mib_min: 1024,
            free_inodes_min: 10_000,
            deadline: Duration::from_secs(2 * 60),
            budget: WorkerBudget { cooldown: Duration::from_secs(5 * 60), per_day: 12 },
        }
    }
}

impl Worker {
    /// What it is called in plans and reports: its unit, or just `worker`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.unit.as_deref().unwrap_or("worker")
    }

    /// Whether it is the runner of a queue of our own: it takes no job whose storage is closed, and what it had is known by
    /// its tokens, so that it may always be up.
    #[must_use]
    pub fn is_runner(&self, settings: &Settings) -> bool {
        let is_ours = |it: &super::queue::Queue| it.adapter == Adapter::Unwedge;
        self.unit.as_deref() == Some(UNIT) && settings.queue.as_ref().is_some_and(is_ours)
    }

    /// The paths of the mounts and binds that must be live before it is started: those it stands on, and of the runner those
    /// alone that are named.
    #[must_use]
    pub fn needs(&self, settings: &Settings) -> Vec<PathBuf> {
        if self.needs.is_none() && self.is_runner(settings) {
            return Vec::new();
        }
        self.stands_on(settings)
    }

    /// The paths of the mounts and binds that a job of it may be on which does not say where it writes. Where none are named
    /// these are all that are listed: what lies below the hot root of the jobs' binds is needed by single jobs only.
    #[must_use]
    pub fn stands_on(&self, settings: &Settings) -> Vec<PathBuf> {
        self.needs.clone().unwrap_or_else(|| {
            let mounts = settings.mount.iter().map(|spec| spec.path.clone());
            let of_a_job = |hot: &Path| {
                settings.binds.jobs.as_ref().is_some_and(|roots| hot.starts_with(&roots.hot_root))
            };
            let binds = settings.bind.iter().map(|bind| bind.hot.clone());
            mounts.chain(binds.filter(|hot| !of_a_job(hot))).collect()
        })
    }
}
