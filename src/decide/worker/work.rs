//! What the worker works on: whether what it stands on is live and has room, and whether its queue has a
//! job for it and none that runs without it.

use std::time::Duration;

use super::{World, waiting};
use crate::decide::plan::{Hold, Reason};
use crate::probes::binds::Place;
use crate::probes::headroom::Headroom;
use crate::probes::jobs::{Job, QueueFacts, QueueLook, State as JobState};
use crate::probes::mounts::Observation;
use crate::probes::verdict::Verdict;
use crate::sys::text;

/// Jobs named in a hold; the rest are counted.
const NAMED_MAX: usize = 3;

impl World<'_> {
    /// What keeps the worker from having anything to do, or anything to do it on: of these alone it is told
    /// whether it should be running.
    pub(super) fn work(&self) -> Vec<Hold> {
        let mut holds = self.storage();
        match self.queue {
            // without a queue that is known of, it is a service that should be up
            None => {}
            Some(QueueLook::Unknown { why, .. }) => {
                holds.push(self.hold(Reason::QueueUnknown, why.clone()));
            }
            Some(QueueLook::Known(facts)) => {
                if waiting(facts) == 0 && self.owed().is_none() {
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
        if self.worker.needs.is_none()
            && let Some(fault) = self.faults.iter().find(|fault| match fault.place {
                Place::Manifest | Place::Line(_) => true,
                // that is this job's own business
                Place::Job(_) => false,
            })
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
                Some(seen) => format!("{shown} is {}: {}", seen.verdict, seen.why),
                None => format!("{shown} is not looked at: it is no [[mount]] and no bind"),
            };
            holds.push(self.hold(Reason::StorageNotLive, detail));
        }
        holds
    }

    /// A job on bad storage holds only itself, if it is kept from being taken again and again.
    fn outputs(&self, facts: &QueueFacts) -> Option<Hold> {
        let bad: Vec<(&Job, &Observation)> =
            facts.next.iter().filter_map(|job| Some((job, self.bad_storage_of(job)?))).collect();
        let (first, on) = bad.first()?;
        let what = format!(
            "job {} lies on {}, which is {}",
            named(first),
            text::path(&on.path),
            on.verdict
        );
        if bad.len() == facts.next.len() {
            let detail = format!("{what}; so do all {} that come next", bad.len());
            return Some(self.hold(Reason::StorageNotLive, detail));
        }
        if self.worker.own_cooldown {
            return None;
        }
        let detail = format!(
            "{what}, {} of the next {}; nothing keeps the worker from taking it at once: see [worker] \
             own_cooldown, [queue.table] hold_back",
            bad.len(),
            facts.next.len()
        );
        Some(self.hold(Reason::StorageNotLive, detail))
    }

    /// What a job writes to, if that is a listed mount or bind, not live, and no need: a need is asked for
    /// anyway, and a job without an output counts as on every one of them.
    fn bad_storage_of(&self, job: &Job) -> Option<&Observation> {
        let output = job.output.as_deref()?;
        let mounts = self.settings.mount.iter().map(|spec| spec.path.as_path());
        let binds = self.settings.bind.iter().map(|bind| bind.hot.as_path());
        let above = mounts.chain(binds).filter(|path| output.starts_with(path));
        let on = above.max_by_key(|path| path.components().count())?;
        let is_need = self.worker.needs(self.settings).iter().any(|need| need == on);
        self.seen(on).filter(|seen| !is_need && seen.verdict != Verdict::Live)
    }

    /// Rows that the queue calls running though the worker is down. They have to go back first.
    pub(super) fn running(&self) -> Option<Hold> {
        let facts = self.queue.and_then(QueueLook::known)?;
        let count = facts.count(JobState::Running);
        if count == 0 {
            return None;
        }
        let named: Vec<String> =
            facts.running.iter().take(NAMED_MAX).map(|it| self.witness(it)).collect();
        let stale = facts.stale_running.map_or_else(
            || "their age is not known".to_owned(),
            |stale| format!("{stale} of them stale"),
        );
        let processes = match self.look.processes.len() {
            0 => "no process in its control group".to_owned(),
            count => format!("{count} processes in its control group"),
        };
        let detail = format!(
            "{count} jobs run though it does not: {}; {stale}; {processes}",
            named.join(", ")
        );
        Some(self.hold(Reason::RunningJobsPresent, detail))
    }

    fn witness(&self, job: &Job) -> String {
        let since = job.started_utc_ms.and_then(|started| self.now.utc_ms.checked_sub(started));
        match since {
            Some(ms) => format!("{} for {}", named(job), text::duration(Duration::from_millis(ms))),
            None => named(job),
        }
    }

    /// Room on each need; what is not known is too little.
    pub(super) fn room(&self) -> Vec<Hold> {
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
}

/// A job in a few words: its id and where it writes to.
fn named(job: &Job) -> String {
    let id = text::bytes(job.id.as_bytes());
    job.output.as_deref().map_or(id.clone(), |output| format!("{id} ({})", text::path(output)))
}
