//! The decision of `unwedge-worker`: whether the worker is to be started, and every reason why not.
//!
//! Read aloud it goes: one that runs, or is on its way, is left. One that is down is started when
//! nobody wanted it down, everything it stands on is live and has room, the queue is known, has a job
//! that waits and none that runs, the manager has not given it up, and it was not started too often.
//! A worker that we owe a start is started without asking for work, a queue that answers, room, waits and caps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::budget::DAY;
use super::gates;
use super::plan::{Hold, Need, Plan, Planned, Reason, Repair, Step};
use super::recover::{self, Judged};

use crate::config::sentinel::Kind;
use crate::config::{COOLDOWN_MAX, Settings, Worker, WorkerBudget};
use crate::probes::binds::{Fault, Place};
use crate::probes::gates::Gates;
use crate::probes::headroom::Headroom;
use crate::probes::heartbeat::State as Sign;
use crate::probes::jobs::{Job, QueueFacts, Rescue, Row, Since, State as JobState};
use crate::probes::mounts::{Observation, governing};
use crate::probes::orphans::Orphan;
use crate::probes::records::{Debt, Debts, Watched, WorkerState};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::probes::worker::{CrashLoop, State, Stopped, WorkerLook};
use crate::probes::worker_facts::WorkerFacts;
use crate::sys::clock::{Now, Stamp};
use crate::sys::text;

/// Jobs named in a hold; the rest are counted.
const NAMED_MAX: usize = 3;

/// Everything a decision is made of.
#[derive(Debug)]
pub struct World<'a> {
    /// The limits.
    pub settings: &'a Settings,
    /// The worker.
    pub worker: &'a Worker,
    /// What should be a bind and is none.
    pub faults: &'a [Fault],
    /// What the same plan does before.
    pub before: &'a [Repair],
    /// How the worker is.
    pub look: &'a WorkerLook,
    /// What it stands on.
    pub observations: &'a [Observation],
    /// The queue.
    pub work: &'a Work,
    /// Rows that nobody of the worker can be at.
    pub orphans: &'a [Orphan],
    /// The room on each need that is live.
    pub headroom: &'a BTreeMap<PathBuf, Headroom>,
    /// What was last seen of the signs of life of others.
    pub heartbeats: &'a BTreeMap<String, Option<Sign>>,
    /// The gates.
    pub gates: &'a Gates,
    /// What earlier rounds wrote down.
    pub state: &'a WorkerState,
    /// What is owed.
    pub debts: &'a Debts,
    /// The present.
    pub now: &'a Now,
}

impl<'a> World<'a> {
    /// The world that was looked at.
    #[must_use]
    pub fn of(
        settings: &'a Settings,
        worker: &'a Worker,
        facts: &'a WorkerFacts,
        faults: &'a [Fault],
    ) -> Self {
        Self {
            settings,
            worker,
            faults,
            before: &[],
            look: &facts.look,
            observations: &facts.survey.observations,
            work: &facts.work,
            orphans: &facts.orphans,
            headroom: &facts.headroom,
            heartbeats: &facts.heartbeats,
            gates: &facts.gates,
            state: &facts.state,
            debts: &facts.debts,
            now: &facts.now,
        }
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decision {
    /// What to do and what not.
    pub plan: Plan,
    /// Whether jobs wait and what they write to is live, so that the worker should be up.
    pub should_be_running: bool,
    /// Since when the outputs of rows that may have to go back are as they are: to be stored by a round that
    /// may.
    pub watched: Vec<Watched>,
}

/// Decides. Pure: the same world gives the same decision.
#[must_use]
pub fn decide(world: &World<'_>) -> Decision {
    let mut holds = gates::closed(world.gates, Kind::Worker, world.now);
    let watched = recover::watch(world.orphans, &world.state.watched, world.now);
    let quiet = world.settings.queue.as_ref().map_or(Duration::MAX, |queue| queue.quiet);
    let judged = recover::judge(world.orphans, &watched, quiet, world.now);
    let back = world.give_back(&judged);
    let work = world.work();
    let should_be_running = work.is_empty();
    let mut refusals = match &world.look.state {
        State::Active | State::Reloading | State::Deactivating => {
            vec![world.hold(Reason::WorkerActive, format!("it is {}", world.look.state.name()))]
        }
        State::Activating(sub) => {
            vec![world.hold(Reason::WorkerActive, format!("it is activating ({sub})"))]
        }
        State::Unknown(why) => vec![world.hold(Reason::UnclearEvidence, why.clone())],
        State::NotFound => {
            vec![world.hold(Reason::UnitNotFound, "there is no such unit".to_owned())]
        }
        State::Masked | State::Inactive | State::Failed(_) => world.refusals(work),
    };
    let rows = world.rows(&judged, back.as_ref());
    let is_down = world.look.state.is_down();
    let kept = rows.as_ref().is_some_and(Hold::is_of_worker);
    let start = (is_down && refusals.is_empty() && !kept).then(|| world.start());
    refusals.extend(rows);
    holds.extend(refusals);
    let repairs = back.into_iter().chain(start).collect();
    Decision { plan: Plan { repairs, holds }, should_be_running, watched }
}

/// The start that is owed, at the end of a plan that repairs its storage: of a worker that an earlier round
/// stopped, or that this plan stops.
///
/// # Errors
/// Everything that keeps it down for now; it stays owed.
pub fn resume(world: &World<'_>) -> Result<Option<Repair>, Vec<Hold>> {
    let stopped_here = world.is_stopped_before();
    let is_down = matches!(&world.look.state, State::Inactive | State::Failed(_) | State::Masked);
    let is_due = stopped_here || (world.owed().is_some() && is_down);
    if !is_due {
        return Ok(None);
    }
    let mut holds = world.work();
    if !stopped_here {
        holds.extend(world.operator());
        holds.extend(world.rows(&[], None).filter(Hold::is_of_worker));
        holds.extend(world.crash_loop());
    }
    // a pause is a person's wish; that its sentinel is missing keeps nobody from paying what is owed
    let paused = gates::shut(world.gates, Kind::Worker, world.now).into_iter();
    holds.extend(
        paused
            .filter(|shut| shut.reason == Reason::OnHold)
            .map(|shut| world.hold(shut.reason, shut.detail).until(shut.until_utc_ms)),
    );
    if holds.is_empty() { Ok(Some(world.start())) } else { Err(holds) }
}

/// How long after the last start the next one has to wait: doubling with each that did not last.
#[must_use]
pub fn wait(budget: &WorkerBudget, failed: u32) -> Duration {
    match failed.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            let wait = budget.cooldown.saturating_mul(1 << doublings.min(16));
            wait.min(COOLDOWN_MAX.max(budget.cooldown))
        }
    }
}

/// Whether a worker that is up has outlived its last start, so that the next one need not wait.
#[must_use]
pub fn has_lasted(state: &WorkerState, budget: &WorkerBudget, now: &Now) -> bool {
    state.starts.last().is_none_or(|start| age(now, &start.at) >= budget.cooldown)
}

impl World<'_> {
    fn hold(&self, reason: Reason, detail: String) -> Hold {
        Hold::of_worker(&self.look.name, reason, detail)
    }

    fn start(&self) -> Repair {
        let unit = self.look.name.clone();
        let mut steps = Vec::new();
        if let CrashLoop::Changed(what) = &self.look.crash_loop {
            let step = Step::ResetFailed { unit: unit.clone() };
            steps.push(Planned { step, why: format!("it failed too often, and {what}") });
        }
        let needs = self.worker.needs(self.settings);
        let need = |path: &PathBuf| Need {
            path: path.clone(),
            identity: self
                .seen(path)
                .filter(|_| !self.is_put_back(path))
                .and_then(Observation::identity)
                .cloned(),
        };
        let step = Step::StartWorker { unit, needs: needs.iter().map(need).collect() };
        steps.push(Planned { step, why: self.why() });
        Repair::new(PathBuf::from(&self.look.name), Kind::Worker, steps)
    }

    fn why(&self) -> String {
        let state = match &self.look.state {
            State::Failed(result) => format!("it is down ({result})"),
            State::Active
            | State::Reloading
            | State::Activating(_)
            | State::Deactivating
            | State::Inactive
            | State::NotFound
            | State::Masked
            | State::Unknown(_) => "it is down".to_owned(),
        };
        match (self.owed(), self.work.known()) {
            _ if self.is_stopped_before() => "it was stopped for the repair".to_owned(),
            (Some(debt), _) => format!("{state}, and its start is owed: {}", debt.why()),
            (None, Some(facts)) => format!("{state}, and {} jobs wait", waiting(facts)),
            (None, None) => format!("{state}, and its storage is live"),
        }
    }

    /// Everything that keeps a worker that is down from being started.
    fn refusals(&self, work: Vec<Hold>) -> Vec<Hold> {
        let mut holds: Vec<Hold> = self.operator().into_iter().collect();
        holds.extend(work);
        holds.extend(self.crash_loop());
        if !self.is_owed() {
            holds.extend(self.room());
            holds.extend(self.budget());
        }
        holds
    }

    /// What keeps the worker from having anything to do, or anything to do it on: of these alone it is told
    /// whether it should be running.
    fn work(&self) -> Vec<Hold> {
        let mut holds = self.storage();
        match self.work {
            // without a queue that is known of, it is a service that should be up
            Work::NoQueue => {}
            // what was stopped is started again: it ran before, whatever its queue says
            Work::Unknown(_) if self.is_owed() => {}
            Work::Unknown(why) => {
                holds.push(self.hold(Reason::QueueUnknown, why.clone()));
            }
            Work::Known(facts) => {
                // what takes rows back may be part of the very worker
                let lost = facts.rescue.as_ref().map_or(0, |_| facts.count(JobState::Running));
                if waiting(facts) == 0 && lost == 0 && !self.is_owed() {
                    let cooling = facts.count(JobState::Cooling);
                    let detail = format!("no job can be taken now; {cooling} wait for a time");
                    holds.push(self.hold(Reason::NothingPending, detail));
                }
                holds.extend(self.outputs(facts));
            }
        }
        holds
    }

    /// Each need live, and the right mount: one that only can be read is not.
    fn storage(&self) -> Vec<Hold> {
        let mut holds = Vec::new();
        let of_manifest = |fault: &&Fault| !matches!(fault.place, Place::Job(_));
        // what was stopped stood on it before, and one line is not to keep it down
        if self.worker.needs.is_none()
            && !self.worker.is_runner(self.settings)
            && !self.is_owed()
            && let Some(fault) = self.faults.iter().find(of_manifest)
        {
            let detail = format!("what it stands on is not known: {fault}");
            holds.push(self.hold(Reason::BadBind, detail));
        }
        for path in self.worker.needs(self.settings) {
            let shown = text::path(&path);
            let detail = match self.seen(&path) {
                Some(seen) if seen.verdict == Verdict::Live && seen.identity().is_some() => {
                    continue;
                }
                Some(_) if self.is_put_back(&path) => continue,
                Some(seen) => format!("{shown} is {}: {}", seen.verdict, seen.why),
                None => format!("{shown} is not looked at: it is no [[mount]] and no bind"),
            };
            holds.push(self.hold(Reason::StorageNotLive, detail));
        }
        for name in &self.worker.signs {
            let detail = match self.heartbeats.get(name).copied().flatten() {
                Some(Sign::Fresh) => continue,
                Some(state) => format!("heartbeat {name} is {}", state.name()),
                None => format!("heartbeat {name}: nobody has looked within 3 min"),
            };
            holds.push(self.hold(Reason::StorageNotLive, detail));
        }
        holds
    }

    /// A job on bad storage holds only itself, if it is kept from being taken again and again.
    fn outputs(&self, facts: &QueueFacts) -> Option<Hold> {
        if self.worker.is_runner(self.settings) {
            return None;
        }
        let bad: Vec<String> = facts
            .next
            .iter()
            .filter_map(|job| Some(format!("job {} {}", named(job), self.bad_storage_of(job)?)))
            .collect();
        let what = bad.first()?;
        if bad.len() == facts.next.len() {
            let detail = format!("{what}; so do all {} that come next", bad.len());
            return Some(self.hold(Reason::StorageNotLive, detail));
        }
        if self.worker.own_cooldown {
            return None;
        }
        let detail = format!(
            "{what}, {} of the next {}; nothing keeps the worker from taking it at once: see [worker] \
             own_cooldown",
            bad.len(),
            facts.next.len()
        );
        Some(self.hold(Reason::StorageNotLive, detail))
    }

    /// What is wrong with what a job writes to, if that is a watched path, not live, and no need: a need is asked
    /// for anyway, and a job without an output counts as on every one of them.
    fn bad_storage_of(&self, job: &Job) -> Option<String> {
        let output = job.output.as_deref()?;
        let of_job = |fault: &&Fault| fault.place == Place::Job(text::bytes(job.id.as_bytes()));
        if let Some(fault) = self.faults.iter().find(of_job) {
            return Some(format!("has no bind: {}", fault.what));
        }
        let on = governing(self.observations, output)?;
        let is_need = self.worker.needs(self.settings).contains(&on.path);
        let is_fine = on.verdict == Verdict::Live || self.is_put_back(&on.path);
        (!is_need && !is_fine)
            .then(|| format!("lies on {}, which is {}", text::path(&on.path), on.verdict))
    }

    /// A person's wish that it be down, which needs a positive sign.
    fn operator(&self) -> Option<Hold> {
        let operator = |detail: String| Some(self.hold(Reason::WorkerStoppedByOperator, detail));
        if self.look.state == State::Masked {
            return operator("it is masked".to_owned());
        }
        if is_disabled_since(self.look, self.owed()) {
            return operator("it is disabled; `systemctl enable` permits it again".to_owned());
        }
        match &self.look.stopped {
            Stopped::Nobody | Stopped::Along => None,
            Stopped::Unknown => {
                let detail = "the journal does not tell whether somebody stopped it".to_owned();
                Some(self.hold(Reason::UnclearEvidence, detail))
            }
            Stopped::ByJob { at, started } => {
                if self.owed().is_some_and(|debt| is_ours(debt, at, started.as_ref())) {
                    return None;
                }
                let respect = self.worker.respect_stop;
                let left = respect.checked_sub(age(self.now, at)).filter(|left| !left.is_zero())?;
                let detail = format!(
                    "stopped by hand at {}; respected for {}, and longer with `unwedge hold set worker`",
                    at.utc(),
                    text::duration(respect)
                );
                let hold = self.hold(Reason::WorkerStoppedByOperator, detail);
                Some(hold.until(self.after(left)))
            }
        }
    }

    /// The rows that may be taken again, given back, if that is permitted.
    fn give_back(&self, judged: &[Judged<'_>]) -> Option<Repair> {
        let rows: Vec<Row> = judged.iter().filter_map(Judged::gone).collect();
        let facts = self.work.known()?;
        if rows.is_empty()
            || facts.rescue.is_some()
            || !gates::shut(self.gates, Kind::Recover, self.now).is_empty()
        {
            return None;
        }
        let named: Vec<String> = judged
            .iter()
            .filter(|it| it.gone().is_some())
            .take(NAMED_MAX)
            .map(Judged::words)
            .collect();
        let why = format!("whoever was at them is gone: {}", named.join(", "));
        let step = Step::RecoverJobs { queue: facts.queue.clone(), rows };
        let steps = vec![Planned { step, why }];
        Some(Repair::new(PathBuf::from(&facts.queue), Kind::Recover, steps))
    }

    /// Rows that the queue calls running though nobody of the worker can be at them, and that do not go back
    /// with this plan. They keep a worker down, because it might take them again; one that we stopped has let
    /// go of its rows, and the other jobs are not to wait for those.
    fn rows(&self, judged: &[Judged<'_>], back: Option<&Repair>) -> Option<Hold> {
        let facts = self.work.known()?;
        let left: Vec<&Judged<'_>> =
            judged.iter().filter(|it| back.is_none() || it.gone().is_none()).collect();
        let count = facts.count(JobState::Running);
        let going = u64::try_from(judged.len() - left.len()).unwrap_or(u64::MAX);
        let is_down = self.look.state.is_down();
        let are_elsewhere = left.is_empty() && self.worker.is_runner(self.settings);
        if count == 0
            || (is_down && going == count)
            || (!is_down && left.is_empty())
            || are_elsewhere
        {
            return None;
        }
        // a library has its own rule of who takes what, and one worker more is nothing new to it: it may be another host's row,
        // which is written to all the while
        let is_library_s = left.iter().all(|it| it.orphan.left.is_nobody());
        let known_all = !is_down || u64::try_from(left.len()).is_ok_and(|left| left == count);
        if let (Some(rescue), true) = (&facts.rescue, is_library_s && known_all) {
            return Some(rescued(facts, rescue, &left));
        }
        let detail = self.of_rows(facts, count - going.min(count), &left);
        let is_kept = !self.worker.is_runner(self.settings);
        let kept_down = is_down && is_kept && !(self.is_owed() && self.look.is_gone());
        Some(if kept_down {
            self.hold(Reason::RunningJobsPresent, detail)
        } else {
            Hold::of_queue(&facts.queue, Reason::RunningJobsPresent, detail)
        })
    }

    fn of_rows(&self, facts: &QueueFacts, count: u64, left: &[&Judged<'_>]) -> String {
        let stale = facts.stale_running.map_or_else(
            || "their age is not known".to_owned(),
            |stale| format!("{stale} of them stale"),
        );
        let jobs: Vec<String> = if left.is_empty() {
            facts.running.iter().take(NAMED_MAX).map(|job| self.witness(job)).collect()
        } else {
            left.iter().take(NAMED_MAX).map(|it| it.words()).collect()
        };
        let could = left.iter().filter(|it| it.gone().is_some()).count();
        let shut = gates::shut(self.gates, Kind::Recover, self.now).into_iter().next();
        let how = shut.filter(|_| could > 0).map_or_else(String::new, |shut| {
            format!("; {could} could go back, but {}", shut.detail)
        });
        if self.look.state.is_down() {
            let jobs = jobs.join(", ");
            return format!(
                "{count} jobs run though it does not: {jobs}; {stale}; {}{how}",
                self.look.left()
            );
        }
        format!("rows of a worker that is gone: {}{how}", jobs.join(", "))
    }

    fn witness(&self, job: &Job) -> String {
        let since = job.started_utc_ms.and_then(|started| self.now.utc_ms.checked_sub(started));
        match since {
            Some(ms) => format!("{} for {}", named(job), text::duration(Duration::from_millis(ms))),
            None => named(job),
        }
    }

    fn crash_loop(&self) -> Option<Hold> {
        let detail = match self.look.crash_loop {
            CrashLoop::No | CrashLoop::Changed(_) => return None,
            CrashLoop::Stands => {
                "systemd has given it up, and nothing has changed since: neither its unit nor its \
                 storage"
            }
            CrashLoop::NotReloaded => {
                "systemd has given it up; its unit has changed since, and `systemctl daemon-reload` is \
                 still to be done"
            }
        };
        Some(self.hold(Reason::CrashLooping, detail.to_owned()))
    }

    /// Room on each need; what is not known is too little.
    fn room(&self) -> Vec<Hold> {
        let bytes = u64::from(self.worker.free_mib_min) << 20;
        let inodes = u64::from(self.worker.free_inodes_min);
        if bytes == 0 && inodes == 0 {
            return Vec::new();
        }
        let mut holds = Vec::new();
        for path in self.worker.needs(self.settings) {
            // of what is not live nobody asks; it is held for that
            if self.seen(&path).is_none_or(|seen| seen.verdict != Verdict::Live) {
                continue;
            }
            let shown = text::path(&path);
            let detail = match self.headroom.get(&path) {
                Some(Headroom::Known { free_bytes, .. }) if *free_bytes < bytes => {
                    let (free, min) = (free_bytes >> 20, self.worker.free_mib_min);
                    format!("{shown} has {free} MiB free, expected {min}")
                }
                Some(Headroom::Known { free_inodes: Some(free), .. }) if *free < inodes => {
                    format!("{shown} has {free} inodes free, expected {inodes}")
                }
                Some(Headroom::Known { .. }) => continue,
                Some(Headroom::Unknown(why)) => {
                    format!("how much is free on {shown} is not known: {why}")
                }
                None => format!("how much is free on {shown} was not asked"),
            };
            holds.push(self.hold(Reason::DiskFull, detail));
        }
        holds
    }

    fn budget(&self) -> Vec<Hold> {
        let budget = &self.worker.budget;
        let mut holds = Vec::new();
        if let Some(last) = self.state.starts.last() {
            let wait = wait(budget, self.state.failed);
            let left = wait.checked_sub(age(self.now, &last.at)).filter(|left| !left.is_zero());
            if let Some(left) = left {
                let detail = format!(
                    "{} starts in a row did not last; the next comes {} after the last",
                    self.state.failed,
                    text::duration(wait)
                );
                holds.push(self.hold(Reason::CoolingDown, detail).until(self.after(left)));
            }
        }
        let counted = self.state.starts.iter().filter(|start| !start.owed);
        let ages: Vec<Duration> =
            counted.map(|start| age(self.now, &start.at)).filter(|age| *age < DAY).collect();
        if u32::try_from(ages.len()).unwrap_or(u32::MAX) >= budget.per_day {
            let left = ages.iter().max().map(|oldest| DAY.saturating_sub(*oldest));
            let detail = format!("{} of {} starts in a day", ages.len(), budget.per_day);
            let until = left.and_then(|left| self.after(left));
            holds.push(self.hold(Reason::OverDailyCap, detail).until(until));
        }
        holds
    }

    /// The debt of this very worker.
    fn owed(&self) -> Option<&Debt> {
        self.debts.of_worker(&self.look.name)
    }

    /// Whether it is owed a start, by an earlier round or from this plan on.
    fn is_owed(&self) -> bool {
        self.owed().is_some() || self.is_stopped_before()
    }

    fn is_stopped_before(&self) -> bool {
        self.before.iter().any(Repair::stops_the_worker)
    }

    fn is_put_back(&self, path: &Path) -> bool {
        self.before.iter().any(|repair| repair.puts_back(path))
    }

    fn seen(&self, path: &Path) -> Option<&Observation> {
        self.observations.iter().find(|seen| seen.path == path)
    }

    fn after(&self, left: Duration) -> Option<u64> {
        self.now.utc_ms.checked_add(u64::try_from(left.as_millis()).ok()?)
    }
}

/// Whether it is disabled by a person's wish. What was stopped is as it was before: if it was disabled then, it ran all the
/// same, and is owed all the same.
#[must_use]
pub fn is_disabled_since(look: &WorkerLook, owed: Option<&Debt>) -> bool {
    let was_so = matches!(owed, Some(Debt::Worker { was_enabled: false, .. }));
    look.is_disabled() && !was_so
}

/// Whether a stop is the one that a debt was written down for: the first after it. One that came after the
/// worker was up again is somebody else's.
fn is_ours(debt: &Debt, stop: &Stamp, started: Option<&Stamp>) -> bool {
    let owed = debt.since();
    let after = |stamp: &Stamp| {
        if stamp.boot_id == owed.boot_id {
            stamp.boot_ms >= owed.boot_ms
        } else {
            stamp.utc_ms >= owed.utc_ms
        }
    };
    after(stop) && !started.is_some_and(after)
}

/// Nobody is at these rows, and its own library gives them back: nothing is written, and nobody waits for it.
fn rescued(facts: &QueueFacts, rescue: &Rescue, left: &[&Judged<'_>]) -> Hold {
    let of = |it: &&Judged<'_>| match rescue.since {
        Since::Start => Some(it.orphan.job.row()?.started_utc_ms.saturating_add(rescue.after_ms)),
        // when it was last heard of, nobody knows but the library
        Since::Silence => None,
        Since::Row => it.orphan.job.back_utc_ms,
    };
    let until = left.iter().filter_map(of).max();
    let named: Vec<String> = left.iter().take(NAMED_MAX).map(|it| it.words()).collect();
    let detail = format!(
        "{} takes a row back {}, and nothing is written for it: {}",
        rescue.by,
        rescue.when(),
        named.join(", ")
    );
    Hold::of_queue(&facts.queue, Reason::QueueRecoversItself, detail).until(until)
}

/// Jobs that could be taken now.
fn waiting(facts: &QueueFacts) -> u64 {
    facts.count(JobState::Pending).saturating_add(facts.count(JobState::Retryable))
}

/// A job as people know it: its id, and where it writes.
fn named(job: &Job) -> String {
    let output =
        job.output.as_deref().map_or_else(String::new, |it| format!(" {}", text::path(it)));
    format!("{}{output}", text::bytes(job.id.as_bytes()))
}

/// One whose age the clocks do not tell counts as of just now.
fn age(now: &Now, stamp: &Stamp) -> Duration {
    now.since(stamp).known().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
