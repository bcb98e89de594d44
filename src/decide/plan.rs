//! What a plan is made of: steps (what would be done, to which exact target, and why) and holds
//! (what will not be done, and the reason). Dry run prints it, apply performs it; it is the same
//! plan, and its digest proves it.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::sentinel::Kind;
use crate::probes::holders::Process;
use crate::probes::identity::Identity;
use crate::probes::jobs::Row;
use crate::sys::text;

/// The kinds of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// End a FUSE connection whose daemon takes requests and never answers.
    AbortConnection,
    /// Take one mount away from its path.
    Detach,
    /// Restart the unit that mounts it.
    RestartUnit,
    /// Start the unit that mounts it.
    StartUnit,
    /// Run the configured command that mounts it (no service manager).
    Remount,
    /// Wait until it is there and answers.
    WaitLive,
    /// Bind a path where nothing is mounted to its directory on storage.
    Bind,
    /// Swap a broken or outlived bind for one of the storage as it is now.
    Rebind,
    /// Keep jobs from being taken for a time, whose output lies where nothing can be written now.
    HoldBack,
    /// Give rows of a worker that is gone back to the queue.
    RecoverJobs,
    /// Stop the worker.
    StopWorker,
    /// Forget that a unit was started too often.
    ResetFailed,
    /// Start the worker, and see that it stays up.
    StartWorker,
}

impl Verb {
    /// Every verb: tests that must not forget one walk this list.
    pub const ALL: [Self; 13] = [
        Self::AbortConnection,
        Self::Detach,
        Self::RestartUnit,
        Self::StartUnit,
        Self::Remount,
        Self::WaitLive,
        Self::Bind,
        Self::Rebind,
        Self::HoldBack,
        Self::RecoverJobs,
        Self::StopWorker,
        Self::ResetFailed,
        Self::StartWorker,
    ];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AbortConnection => "abort-connection",
            Self::Detach => "detach",
            Self::RestartUnit => "restart-unit",
            Self::StartUnit => "start-unit",
            Self::Remount => "remount",
            Self::WaitLive => "wait-live",
            Self::Bind => "bind",
            Self::Rebind => "rebind",
            Self::HoldBack => "hold-back",
            Self::RecoverJobs => "recover-jobs",
            Self::StopWorker => "stop-worker",
            Self::ResetFailed => "reset-failed",
            Self::StartWorker => "start-worker",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See [`Verb::AbortConnection`].
    AbortConnection {
        /// A path where its superblock is mounted.
        path: PathBuf,
        /// The mount there.
        identity: Identity,
        /// Its daemon, to be ended with it: only without a service manager, whose business it is
        /// otherwise.
        daemons: Vec<Process>,
    },
    /// See [`Verb::Detach`].
    Detach {
        /// Where it is mounted.
        path: PathBuf,
        /// This mount and no other; it must be the topmost there.
        identity: Identity,
        /// Ids of the mounts nested in it that may go along; any other one forbids the step.
        along: Vec<u64>,
    },
    /// See [`Verb::RestartUnit`].
    RestartUnit {
        /// What it mounts.
        path: PathBuf,
        /// The unit.
        unit: String,
    },
    /// See [`Verb::RestartUnit`]: a unit that only stands on what was repaired; it is restarted if it runs.
    RestartDependent {
        /// What was repaired.
        path: PathBuf,
        /// The unit.
        unit: String,
    },
    /// See [`Verb::StartUnit`].
    StartUnit {
        /// What it mounts.
        path: PathBuf,
        /// The unit.
        unit: String,
    },
    /// See [`Verb::Remount`].
    Remount {
        /// The path; its argv is in the config.
        path: PathBuf,
    },
    /// See [`Verb::WaitLive`].
    WaitLive {
        /// The path.
        path: PathBuf,
        /// The type of what was taken away, where the config names none: another one is no success.
        fstype: Option<String>,
    },
    /// See [`Verb::Bind`].
    Bind {
        /// The hot path.
        path: PathBuf,
        /// What it is to show.
        shows: Shows,
    },
    /// See [`Verb::Rebind`].
    Rebind {
        /// The hot path.
        path: PathBuf,
        /// The old mount and no other; it must be the topmost there.
        identity: Identity,
        /// Ids of the mounts nested in it that may go along; any other one forbids the step.
        along: Vec<u64>,
        /// What the new one is to show.
        shows: Shows,
    },
    /// See [`Verb::HoldBack`].
    HoldBack {
        /// The path that is broken and stays so.
        path: PathBuf,
        /// The jobs that would be taken next, by id.
        jobs: Vec<String>,
    },
    /// See [`Verb::RecoverJobs`].
    RecoverJobs {
        /// The queue.
        queue: String,
        /// The rows, each still at this very try when it is given back.
        rows: Vec<Row>,
    },
    /// See [`Verb::StopWorker`].
    StopWorker {
        /// Its unit, or `worker` where there is no service manager.
        unit: String,
    },
    /// See [`Verb::ResetFailed`].
    ResetFailed {
        /// The unit.
        unit: String,
    },
    /// See [`Verb::StartWorker`].
    StartWorker {
        /// Its unit, or `worker` where there is no service manager.
        unit: String,
        /// What it stands on: these very mounts must still be there, and live, when it is started.
        needs: Vec<Need>,
    },
}

/// A mount that the worker stands on, as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where.
    pub path: PathBuf,
    /// Which mount; `None` when this very plan puts it there.
    pub identity: Option<Identity>,
}

/// What a bind is to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shows {
    /// The directory on storage.
    pub cold: PathBuf,
    /// The base it lies on.
    pub base: PathBuf,
    /// The mount at the base; `None` when this very plan puts it there.
    pub onto: Option<Identity>,
}

impl Step {
    /// What kind of step it is.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::AbortConnection { .. } => Verb::AbortConnection,
            Self::Detach { .. } => Verb::Detach,
            Self::RestartUnit { .. } | Self::RestartDependent { .. } => Verb::RestartUnit,
            Self::StartUnit { .. } => Verb::StartUnit,
            Self::Remount { .. } => Verb::Remount,
            Self::WaitLive { .. } => Verb::WaitLive,
            Self::Bind { .. } => Verb::Bind,
            Self::Rebind { .. } => Verb::Rebind,
            Self::HoldBack { .. } => Verb::HoldBack,
            Self::RecoverJobs { .. } => Verb::RecoverJobs,
            Self::StopWorker { .. } => Verb::StopWorker,
            Self::ResetFailed { .. } => Verb::ResetFailed,
            Self::StartWorker { .. } => Verb::StartWorker,
        }
    }

    /// The path it is about; of a step on the worker or a queue its name, which is no path of a mount.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::AbortConnection { path, .. }
            | Self::Detach { path, .. }
            | Self::RestartUnit { path, .. }
            | Self::RestartDependent { path, .. }
            | Self::StartUnit { path, .. }
            | Self::Remount { path }
            | Self::WaitLive { path, .. }
            | Self::Bind { path, .. }
            | Self::Rebind { path, .. }
            | Self::HoldBack { path, .. } => path,
            Self::RecoverJobs { queue, .. } => Path::new(queue),
            Self::StopWorker { unit }
            | Self::ResetFailed { unit }
            | Self::StartWorker { unit, .. } => Path::new(unit),
        }
    }

    /// What it is done to: a path, or a unit.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::RestartUnit { unit, .. }
            | Self::RestartDependent { unit, .. }
            | Self::StartUnit { unit, .. }
            | Self::StopWorker { unit }
            | Self::ResetFailed { unit }
            | Self::StartWorker { unit, .. } => unit.clone(),
            Self::RecoverJobs { queue, rows } => {
                let words: Vec<String> =
                    rows.iter().map(|row| text::bytes(row.word().as_bytes())).collect();
                format!("{queue} {}", words.join(" "))
            }
            Self::AbortConnection { path, .. }
            | Self::Detach { path, .. }
            | Self::Remount { path }
            | Self::WaitLive { path, .. }
            | Self::Bind { path, .. }
            | Self::Rebind { path, .. }
            | Self::HoldBack { path, .. } => text::path(path),
        }
    }

    /// A hold of what it is done to.
    #[must_use]
    pub fn hold(&self, reason: Reason, detail: String) -> Hold {
        if let Self::RecoverJobs { queue, .. } = self {
            Hold::of_queue(queue, reason, detail)
        } else if self.is_of_worker() {
            Hold::of_worker(&self.target(), reason, detail)
        } else {
            Hold::on(self.path(), reason, detail)
        }
    }

    /// Whether it is done to the worker or to rows of its queue, and so to no mount.
    #[must_use]
    pub fn is_of_worker(&self) -> bool {
        matches!(
            self.verb(),
            Verb::RecoverJobs | Verb::StopWorker | Verb::ResetFailed | Verb::StartWorker
        )
    }

    /// The mount it is done to.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::AbortConnection { identity, .. }
            | Self::Detach { identity, .. }
            | Self::Rebind { identity, .. } => Some(identity),
            Self::RestartUnit { .. }
            | Self::RestartDependent { .. }
            | Self::StartUnit { .. }
            | Self::Remount { .. }
            | Self::WaitLive { .. }
            | Self::Bind { .. }
            | Self::HoldBack { .. }
            | Self::RecoverJobs { .. }
            | Self::StopWorker { .. }
            | Self::ResetFailed { .. }
            | Self::StartWorker { .. } => None,
        }
    }
}

/// A step with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What.
    pub step: Step,
    /// Why.
    pub why: String,
}

/// The steps for one base, or for one bind: they stand or fall together, and a failure among them does
/// not stop the repairs of others, but for those of binds whose base it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The base, or the hot path.
    pub subject: PathBuf,
    /// Which kind of act it is: whose sentinel and whose pause permit it.
    pub kind: Kind,
    /// For a bind: the base that this plan must have put back before.
    pub needs: Option<PathBuf>,
    /// What it costs.
    pub cost: Cost,
    /// What must be put back once this is begun.
    pub owes: Vec<Owed>,
    /// Paths that this leaves unmounted for good.
    pub leaves: Vec<Left>,
    /// In order.
    pub steps: Vec<Planned>,
}

impl Repair {
    /// One that needs nothing, costs nothing, owes nothing and leaves nothing unmounted.
    #[must_use]
    pub fn new(subject: PathBuf, kind: Kind, steps: Vec<Planned>) -> Self {
        Self {
            subject,
            kind,
            needs: None,
            cost: Cost::Nothing,
            owes: Vec::new(),
            leaves: Vec::new(),
            steps,
        }
    }

    /// Whether it repairs nothing itself: it restarts what stands on something that was repaired, or keeps
    /// work from what is not.
    #[must_use]
    pub fn is_aftermath(&self) -> bool {
        let after = |planned: &Planned| {
            let step = &planned.step;
            matches!(step, Step::RestartDependent { .. } | Step::HoldBack { .. })
                || step.is_of_worker()
        };
        self.steps.iter().all(after)
    }

    /// Whether it only keeps jobs off a path.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.steps.iter().all(|planned| matches!(planned.step, Step::HoldBack { .. }))
    }

    /// Whether it takes anything away that is mounted.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        self.steps.iter().any(|planned| planned.step.identity().is_some())
    }

    /// Whether it stops the worker.
    #[must_use]
    pub fn stops_the_worker(&self) -> bool {
        self.steps.iter().any(|planned| matches!(planned.step, Step::StopWorker { .. }))
    }

    /// Whether it starts the worker.
    #[must_use]
    pub fn starts_the_worker(&self) -> bool {
        self.steps.iter().any(|planned| matches!(planned.step, Step::StartWorker { .. }))
    }

    /// Whether it puts back a mount at `path`.
    #[must_use]
    pub fn puts_back(&self, path: &Path) -> bool {
        self.steps.iter().any(
            |planned| matches!(&planned.step, Step::WaitLive { path: waited, .. } if waited == path),
        )
    }
}

/// What a repair owes from its first step on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A mount at this path.
    Mount(PathBuf),
    /// The bind of the table at this path.
    Bind(PathBuf),
    /// The worker, running.
    Worker {
        /// Its name.
        unit: String,
        /// Whether it is enabled before it is stopped.
        was_enabled: bool,
    },
}

impl Owed {
    /// Where; the worker is at no path.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Mount(path) | Self::Bind(path) => Some(path),
            Self::Worker { .. } => None,
        }
    }
}

/// A path that a repair leaves unmounted, because nothing says how to put it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where.
    pub path: PathBuf,
    /// What was mounted.
    pub source: String,
    /// Its type.
    pub fstype: String,
}

/// What a repair costs the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// One charge, for taking these mounts away.
    Charge {
        /// The base that it is charged to.
        to: PathBuf,
        /// The mount that leads.
        identity: Identity,
        /// The others that go for the same charge: layers beneath it, other places of its superblock,
        /// binds of it.
        along: Vec<Identity>,
    },
    /// Nothing: it goes with the charge of an earlier repair of this plan, or makes it where that one came to
    /// nothing.
    Along {
        /// The base that is charged.
        to: PathBuf,
        /// The mount that goes.
        identity: Identity,
    },
    /// Nothing: it was charged already, by a round that did not live to finish it.
    Resumed,
    /// Nothing: only what is absent is mounted.
    Nothing,
}

/// Why something is not done. Each has a page in the playbooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The sentinel that permits this is not there.
    NotArmed,
    /// HALT is set.
    Halted,
    /// A person has set a pause.
    OnHold,
    /// A deploy is under way.
    DeployInProgress,
    /// State, debts or holds cannot be trusted.
    StateUnreadable,
    /// A stored time lies in the future.
    ClockFault,
    /// Another round is at work.
    Busy,
    /// This process does not live among the host's mounts.
    ForeignNamespace,
    /// Not seen often or long enough yet.
    NotConfirmed,
    /// Repaired, or tried, too short a time ago.
    CoolingDown,
    /// The hour's budget is spent.
    OverHourlyCap,
    /// The day's budget is spent.
    OverDailyCap,
    /// This target's budget is spent.
    OverTargetCap,
    /// Not under `repair_under`.
    OutsideRoots,
    /// A file or a link where a mount point should be.
    NotAMountPoint,
    /// Not the mount any more that was decided about.
    IdentityChanged,
    /// Somebody else's mount hangs on it.
    HasChildren,
    /// Its superblock is also mounted where nothing may be touched.
    SharedSuperblock,
    /// The evidence allows no conclusion.
    UnclearEvidence,
    /// A kind of file system that is only looked at.
    LookOnlyType,
    /// The FUSE control file system is not mounted, so nothing can be aborted.
    AbortUnavailable,
    /// Nothing, or no existing unit, says how to mount it.
    UnitNotFound,
    /// Somebody does not want it mounted.
    UnitStoppedByOperator,
    /// What it lies on is not live.
    StorageNotLive,
    /// A bind would hide what is in the directory.
    HidesData,
    /// Bound anew once, and it still holds what has been replaced.
    StillPinned,
    /// The manifest, a line of it, or a job's output is no bind.
    BadBind,
    /// Nobody knows what the queue holds.
    QueueUnknown,
    /// A job runs on it, or the queue says that jobs run though the worker does not.
    RunningJobsPresent,
    /// Its own library gives back the rows that nobody is at; nothing is written for it.
    QueueRecoversItself,
    /// The worker runs, or is on its way: there is nothing to do.
    WorkerActive,
    /// Somebody does not want the worker to run.
    WorkerStoppedByOperator,
    /// No job waits for the worker.
    NothingPending,
    /// The worker failed so often in a row that the service manager gave up.
    CrashLooping,
    /// Too little room on what the worker writes to, or nobody can tell.
    DiskFull,
}

impl Reason {
    /// Every reason: playbooks, metrics and tests walk this list.
    pub const ALL: [Self; 35] = [
        Self::NotArmed,
        Self::Halted,
        Self::OnHold,
        Self::DeployInProgress,
        Self::StateUnreadable,
        Self::ClockFault,
        Self::Busy,
        Self::ForeignNamespace,
        Self::NotConfirmed,
        Self::CoolingDown,
        Self::OverHourlyCap,
        Self::OverDailyCap,
        Self::OverTargetCap,
        Self::OutsideRoots,
        Self::NotAMountPoint,
        Self::IdentityChanged,
        Self::HasChildren,
        Self::SharedSuperblock,
        Self::UnclearEvidence,
        Self::LookOnlyType,
        Self::AbortUnavailable,
        Self::UnitNotFound,
        Self::UnitStoppedByOperator,
        Self::StorageNotLive,
        Self::HidesData,
        Self::StillPinned,
        Self::BadBind,
        Self::QueueUnknown,
        Self::RunningJobsPresent,
        Self::QueueRecoversItself,
        Self::WorkerActive,
        Self::WorkerStoppedByOperator,
        Self::NothingPending,
        Self::CrashLooping,
        Self::DiskFull,
    ];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotArmed => "not-armed",
            Self::Halted => "halted",
            Self::OnHold => "on-hold",
            Self::DeployInProgress => "deploy-in-progress",
            Self::StateUnreadable => "state-unreadable",
            Self::ClockFault => "clock-fault",
            Self::Busy => "busy",
            Self::ForeignNamespace => "foreign-namespace",
            Self::NotConfirmed => "not-confirmed",
            Self::CoolingDown => "cooling-down",
            Self::OverHourlyCap => "over-hourly-cap",
            Self::OverDailyCap => "over-daily-cap",
            Self::OverTargetCap => "over-target-cap",
            Self::OutsideRoots => "outside-roots",
            Self::NotAMountPoint => "not-a-mount-point",
            Self::IdentityChanged => "identity-changed",
            Self::HasChildren => "has-children",
            Self::SharedSuperblock => "shared-superblock",
            Self::UnclearEvidence => "unclear-evidence",
            Self::LookOnlyType => "look-only-type",
            Self::AbortUnavailable => "abort-unavailable",
            Self::UnitNotFound => "unit-not-found",
            Self::UnitStoppedByOperator => "unit-stopped-by-operator",
            Self::StorageNotLive => "storage-not-live",
            Self::HidesData => "hides-data",
            Self::StillPinned => "still-pinned",
            Self::BadBind => "bad-bind",
            Self::QueueUnknown => "queue-unknown",
            Self::RunningJobsPresent => "running-jobs-present",
            Self::QueueRecoversItself => "queue-recovers-itself",
            Self::WorkerActive => "worker-active",
            Self::WorkerStoppedByOperator => "worker-stopped-by-operator",
            Self::NothingPending => "nothing-pending",
            Self::CrashLooping => "crash-looping",
            Self::DiskFull => "disk-full",
        }
    }
}

/// What a hold is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The whole plan: a gate is closed.
    Everything,
    /// One path.
    Path(PathBuf),
    /// The worker, by its name.
    Worker(String),
    /// Rows of a queue, by its name.
    Queue(String),
}

impl Subject {
    /// As it is shown: `*`, the path, or the worker's name.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Everything => "*".to_owned(),
            Self::Path(path) => text::path(path),
            Self::Worker(name) | Self::Queue(name) => name.clone(),
        }
    }
}

/// What will not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// To what.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
    /// When it ends by itself, milliseconds since 1970 UTC, where that is known.
    pub until_utc_ms: Option<u64>,
}

impl Hold {
    /// A hold on one path.
    #[must_use]
    pub fn on(path: &Path, reason: Reason, detail: String) -> Self {
        let subject = Subject::Path(path.to_path_buf());
        Self { subject, reason, detail, until_utc_ms: None }
    }

    /// A hold on the worker.
    #[must_use]
    pub fn of_worker(name: &str, reason: Reason, detail: String) -> Self {
        let subject = Subject::Worker(name.to_owned());
        Self { subject, reason, detail, until_utc_ms: None }
    }

    /// A hold on rows of a queue.
    #[must_use]
    pub fn of_queue(name: &str, reason: Reason, detail: String) -> Self {
        let subject = Subject::Queue(name.to_owned());
        Self { subject, reason, detail, until_utc_ms: None }
    }

    /// Whether it is on the worker.
    #[must_use]
    pub fn is_of_worker(&self) -> bool {
        matches!(self.subject, Subject::Worker(_))
    }

    /// A closed gate.
    #[must_use]
    pub fn gate(reason: Reason, detail: String) -> Self {
        Self { subject: Subject::Everything, reason, detail, until_utc_ms: None }
    }

    /// The same, with its end.
    #[must_use]
    pub fn until(self, utc_ms: Option<u64>) -> Self {
        Self { until_utc_ms: utc_ms, ..self }
    }
}

/// What would be done, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each base, in order.
    pub repairs: Vec<Repair>,
    /// Everything that is not done.
    pub holds: Vec<Hold>,
}

impl Plan {
    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Planned> {
        self.repairs.iter().flat_map(|repair| &repair.steps)
    }

    /// Whether a gate is closed, so that nothing of this is performed.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.holds.iter().any(|hold| hold.subject == Subject::Everything)
    }

    /// What of it is performed. A closed gate holds all of it; but where nothing is missing but the tool's own
    /// sentinel, a worker that is owed its start gets that: nobody asks a sentinel to pay a debt.
    #[must_use]
    pub fn performed(&self, is_owed: bool) -> Self {
        let mut gates = self.holds.iter().filter(|hold| hold.subject == Subject::Everything);
        let pays = gates.all(|hold| hold.reason == Reason::NotArmed) && is_owed;
        let open = !self.is_gated();
        let performed = |repair: &&Repair| open || (pays && repair.starts_the_worker());
        let repairs = self.repairs.iter().filter(performed).cloned().collect();
        Self { repairs, holds: self.holds.clone() }
    }

    /// A digest of verb, target and target's identity of every step: the same for a dry run and an
    /// apply on the same facts. Times are not in it.
    #[must_use]
    pub fn id(&self) -> String {
        let mut digest = Sha256::new();
        for planned in self.steps() {
            let step = &planned.step;
            let identity = step.identity().map_or_else(String::new, |identity| {
                // not the unique id, which only some looks are told
                format!("{} {} {:?}", identity.mount_id, identity.dev, identity.connection)
            });
            let line = format!("{}\0{}\0{identity}\n", step.verb().name(), step.target());
            digest.update(line.as_bytes());
        }
        let digest = digest.finalize();
        text::hex(&digest[..8])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_word_is_used_once_and_is_kebab_case() {
        let words: Vec<&str> =
            Verb::ALL.map(Verb::name).into_iter().chain(Reason::ALL.map(Reason::name)).collect();
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        for word in words {
            assert!(word.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{word}");
        }
    }

    #[test]
    fn the_digest_knows_targets_and_not_reasons() {
        let plan = |path: &str, why: &str| {
            let step = Step::WaitLive { path: PathBuf::from(path), fstype: None };
            let steps = vec![Planned { step, why: why.to_owned() }];
            let repair = Repair::new(PathBuf::from(path), Kind::Mounts, steps);
            Plan { repairs: vec![repair], holds: vec![] }
        };
        assert_eq!(plan("/a", "x").id(), plan("/a", "y").id());
        assert_ne!(plan("/a", "x").id(), plan("/b", "x").id());
        assert_ne!(plan("/a", "x").id(), Plan::default().id());
    }
}
