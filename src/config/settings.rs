//! The configuration as the rest of the program sees it: validated, complete, in proper types. Every value here
//! has passed the limits named below; nothing downstream checks them again. The defaults are those of an
//! installation that looks and touches nothing.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::bucket::Bucket;
use super::doctor::Doctor;
use super::heartbeat::Heartbeat;
use super::intake::Intake;
use super::jobs::Jobs;
use super::metrics::Metrics;
use super::notify::Notify;
use super::queue::Queue;
use super::worker::Worker;

/// Shortest allowed `[probe] timeout`: 100 ms. Shorter ones call a busy disk hung.
pub const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest allowed `[probe] timeout`: 5 min.
pub const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest allowed `[mounts] deadline`: 1 h.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60 * 60);
/// Longest allowed `[[mount]] wait`: 1 h.
pub const WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// Most rounds in a row that a confirmation may ask for: 100. At least 1.
pub const CONFIRM_RUNS_MAX: u32 = 100;
/// Highest number in a budget: 1000. 0 means never act.
pub const BUDGET_MAX: u32 = 1000;
/// Part of the deadline that may go by waiting for the act lock: 10 s.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Part of the deadline kept for writing reports: 5 s.
pub const REPORT_RESERVE: Duration = Duration::from_secs(5);

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The host and its directories, `[host]`.
    pub host: Host,
    /// What must be open before any act, `[gates]`.
    pub gates: Gates,
    /// How mounts are looked at, `[probe]`.
    pub probe: Probe,
    /// The rules for repairing mounts, `[mounts]`.
    pub mounts: Mounts,
    /// The watched mounts, `[[mount]]`, in the order of the files; no path twice. Default none.
    pub mount: Vec<MountSpec>,
    /// Where more binds are listed, `[binds]`.
    pub binds: Binds,
    /// The binds of `[[bind]]`, in the order of the files; no hot path twice. Default none.
    pub bind: Vec<BindSpec>,
    /// The job table, `[queue]`. Default none: nothing is known of jobs.
    pub queue: Option<Queue>,
    /// The worker, `[worker]`. Default none: no worker is looked after.
    pub worker: Option<Worker>,
    /// What metrics are called, `[metrics]`.
    pub metrics: Metrics,
    /// Who is told of incidents, `[notify]`. Default none: nobody.
    pub notify: Option<Notify>,
    /// What only this host's people know of troubles, `[doctor]`.
    pub doctor: Doctor,
    /// How this host runs jobs of our own queue, `[jobs]`. Default none: it runs none.
    pub jobs: Option<Jobs>,
    /// Directories whose files become jobs, `[[intake]]`. Default none.
    pub intake: Vec<Intake>,
    /// Signs of life of others, `[[heartbeat]]`. Default none.
    pub heartbeat: Vec<Heartbeat>,
    /// Buckets of servers of objects, `[[bucket]]`. Default none.
    pub bucket: Vec<Bucket>,
    /// The one file this was read from, if it was named by `--config`: a child is to read the same.
    pub file: Option<PathBuf>,
}

/// `[host]`. All paths are absolute, without `.`, `..` or a trailing slash.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// The service user, by name. Default `unwedge`.
    pub user: String,
    /// Where state is kept. Default `/var/lib/unwedge`.
    pub state_dir: PathBuf,
    /// Where locks are. Default `/run/unwedge`.
    pub run_dir: PathBuf,
    /// Where the permissions and HALT are. Default `/etc/unwedge/sentinels`.
    pub sentinel_dir: PathBuf,
    /// Where metrics are written for `node_exporter`. Default `/var/lib/prometheus/node-exporter`.
    pub textfile_dir: PathBuf,
    /// Who starts and stops services. Default systemd.
    pub services: Services,
    /// The systemctl that is called. Default `/usr/bin/systemctl`.
    pub systemctl: PathBuf,
    /// The journalctl that is called. Default `/usr/bin/journalctl`.
    pub journalctl: PathBuf,
}

/// Who starts and stops services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// systemd, by unit names. Written `systemd`.
    Systemd,
    /// Nobody: commands are run as given (containers, demo). Written `process`.
    Process,
}

/// `[gates]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// The lock a deployment holds exclusively; absolute. Default `/run/unwedge/deploy.lock`.
    pub deploy_lock: PathBuf,
}

/// `[probe]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Time for one mount to answer; all are asked side by side. Default 5 s, from 100 ms to 5 min.
    pub timeout: Duration,
    /// Where the daemons of the mounts may live. Default anywhere.
    pub daemons: Whereabouts,
}

/// Where the daemons of the mounts may live: whether a process that is not seen here can hold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Anywhere on the host: in a container nobody can then be ruled out. Written `anywhere`.
    Anywhere,
    /// Only among the processes seen here: a container that mounts its own storage. Written `here`.
    Here,
}

/// `[mounts]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mounts {
    /// Time for one round, whatever happens. Default 4 min, at most 1 h, and never less than its parts.
    pub deadline: Duration,
    /// The roots below which mounts may be repaired; absolute, never `/`, none twice. Default none: look only.
    pub repair_under: Vec<PathBuf>,
    /// Which mounts are looked at. Default listed.
    pub watch: Watch,
    /// How often and how long a verdict must stand before it is acted on.
    pub confirm: Confirm,
    /// How much may be done.
    pub budget: Budget,
}

impl Mounts {
    /// Whether a path lies at or below one of the roots, compared by whole components: `/srv/jobsX` is not under
    /// `/srv/jobs`. A relative path and one with `..` in it are under none.
    pub fn is_under_root(&self, path: &Path) -> bool {
        let climbs = path.components().any(|it| it == Component::ParentDir);
        !climbs && self.repair_under.iter().any(|root| path.starts_with(root))
    }
}

/// Which mounts are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Those of `[[mount]]`. Written `listed`.
    Listed,
    /// Those, and every FUSE and network mount of the host, look only. Written `remote`.
    Remote,
}

/// `[mounts.confirm]`: one confirmation for each verdict that is acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    /// A FUSE superblock without a daemon. Default 1 run: it never comes back by itself.
    pub dead: Confirmation,
    /// No answer in time. Default 2 runs and 2 min for one request, beyond the usual 3 x 15 s of a reconnect.
    pub hung: Confirmation,
    /// Nothing is mounted there. Default 2 runs.
    pub absent: Confirmation,
    /// A bind that holds a superblock since replaced. Default 2 runs.
    pub pinned: Confirmation,
    /// A second layer over a live one. Default 2 runs.
    pub stacked: Confirmation,
    /// An error that may pass. Default 5 runs and 2 min.
    pub transient: Confirmation,
}

/// What a verdict must have stood before it is acted on; both must be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// Rounds in a row, from 1 to 100.
    pub runs: u32,
    /// Age; 0 asks for none.
    pub age: Duration,
}

/// `[mounts.budget]`. One charge is one base with all that hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Pause after a charge. Default 15 min; 0 is no pause.
    pub cooldown: Duration,
    /// Charges in an hour. Default 2, from 0 (never act) to 1000.
    pub per_hour: u32,
    /// Charges in a day. Default 6, from 0 (never act) to 1000.
    pub per_day: u32,
    /// Charges in a day for one target. Default 3, from 0 (never act) to 1000.
    pub per_target_per_day: u32,
}

/// One `[[mount]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MountSpec {
    /// The mount point; absolute, never `/`. Outside `repair_under` it is only looked at.
    pub path: PathBuf,
    /// The unit that mounts it; only with [`Services::Systemd`]. Default none.
    pub unit: Option<String>,
    /// The source it must have. Default none: any source will do.
    pub source: Option<String>,
    /// The file system type it must have, such as `fuse.sshfs`. Default none: any type will do.
    pub fstype: Option<String>,
    /// Time from the start of a repair until it must answer. Default 60 s, above 0, at most 1 h.
    pub wait: Duration,
    /// The command that mounts it, program (absolute) and arguments; only with [`Services::Process`]. Default none.
    pub remount: Option<Vec<String>>,
    /// Units that are restarted, if they run, once it or a bind of it has been repaired: what they have open
    /// there stays dead otherwise. Only with [`Services::Systemd`]. Default none.
    pub dependents: Vec<String>,
}

/// `[binds]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Binds {
    /// A file of `<cold> <hot>` lines beside the `[[bind]]` tables; absolute. Default none.
    pub manifest: Option<PathBuf>,
    /// Where the outputs of jobs are bound from and to. Default none: jobs have no binds of their own.
    pub jobs: Option<JobBinds>,
}

/// `[binds] cold_root` and `hot_root`: a job whose output directory lies below the hot root gets a bind of
/// its own, to the same place below the cold root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBinds {
    /// At or below a `[[mount]]`.
    pub cold_root: PathBuf,
    /// Where jobs see it.
    pub hot_root: PathBuf,
}

/// One bind: a directory on storage, shown at another path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindSpec {
    /// Where it is mounted; absolute. Outside `repair_under` it is only looked at.
    pub hot: PathBuf,
    /// The directory it shows, at or below its base.
    pub cold: PathBuf,
    /// The deepest `[[mount]]` at or above the cold directory.
    pub base: PathBuf,
}

impl Settings {
    /// The bind that a job with this output directory needs: none when no template says so, when it does
    /// not lie below the hot root, or when a bind of the table carries it already.
    pub fn bind_of_output(&self, output: &Path) -> Option<Result<BindSpec, String>> {
        let roots = self.binds.jobs.as_ref()?;
        let below = output.strip_prefix(&roots.hot_root).ok()?;
        let carried = self.bind.iter().any(|bind| output.starts_with(&bind.hot));
        if carried || below.as_os_str().is_empty() {
            return None;
        }
        if let Some(inner) = self.bind.iter().find(|bind| bind.hot.starts_with(output)) {
            return Some(Err(format!(
                "it lies around the bind {:?}",
                inner.hot.display().to_string()
            )));
        }
        Some(self.bind_of(&roots.cold_root.join(below), output))
    }

    /// The bind from `cold` to `hot`, both absolute and plain.
    ///
    /// # Errors
    /// Why it cannot be one, beside those that there are: nothing tells its cold directory from a
    /// bare one, or one of the paths lies in the way of another.
    pub fn bind_of(&self, cold: &Path, hot: &Path) -> Result<BindSpec, String> {
        let shown = |path: &Path| format!("{:?}", path.display().to_string());
        let bases = self.mount.iter().map(|spec| &spec.path).filter(|path| cold.starts_with(path));
        let Some(base) = bases.max_by_key(|path| path.components().count()) else {
            return Err(format!(
                "{} lies at or below no [[mount]], so nothing would tell it from a bare directory; list what \
                 it lies on",
                shown(cold)
            ));
        };
        if hot == Path::new("/") || hot.starts_with(base) || cold.starts_with(hot) {
            return Err(format!(
                "{} lies in the way of its own storage {}",
                shown(hot),
                shown(base)
            ));
        }
        if let Some(covered) = self.mount.iter().find(|spec| spec.path.starts_with(hot)) {
            return Err(format!(
                "{} would cover the [[mount]] {}",
                shown(hot),
                shown(&covered.path)
            ));
        }
        if self.bind.iter().any(|other| other.hot == hot) {
            return Err(format!("{} is already listed; one bind a hot path", shown(hot)));
        }
        Ok(BindSpec { hot: hot.to_owned(), cold: cold.to_owned(), base: base.clone() })
    }
}

impl Settings {
    /// How jobs are run here: as `[jobs]` says, or as it is where nothing does.
    #[must_use]
    pub fn jobs_or_default(&self) -> Cow<'_, Jobs> {
        self.jobs.as_ref().map_or_else(|| Cow::Owned(Jobs::default()), Cow::Borrowed)
    }
}

impl MountSpec {
    /// Whether there is a way to mount it again.
    pub fn can_be_mounted(&self) -> bool {
        self.unit.is_some() || self.remount.is_some()
    }
}
