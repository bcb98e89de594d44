//! What work forbids, and what it asks for: nothing is taken away from under a running job that is well,
//! the worker is stopped only where that harms nobody, and where nobody knows what runs, only what cannot
//! hurt is done.
//!
//! | what runs here | a missing bind | a broken bind | a base that comes back | any other repair |
//! |---|---|---|---|---|
//! | nothing | made | swapped | repaired, worker stopped for it | repaired |
//! | on it, and nowhere a job that is well | made | swapped, worker stopped | repaired, worker stopped | `running-jobs-present` |
//! | on it, and elsewhere a job that is well | made | `running-jobs-present` | repaired | `running-jobs-present` |
//! | only elsewhere | made | swapped | repaired | repaired |
//! | nobody knows | made | `queue-unknown` | repaired if it is dead | `queue-unknown` |
//!
//! Where the worker may not be stopped (its sentinel is missing, a person has set a pause, the config does not
//! say how), a base is repaired under it all the same: what it has open there stays dead whatever is done. A
//! bind under a running job is another matter: swapped in the open, its files would be split over two mounts.
//! A unit whose restart takes the worker along is restarted only where the worker may be stopped.
//!
//! A job is well unless it lies on a path that is broken for certain; one that does not say where it writes
//! counts as on everything that the worker stands on. Without a queue, a worker that is up counts as one such job.

use std::path::{Path, PathBuf};

use super::gates::Shut;
use super::plan::{Hold, Reason, Repair, Step};
use crate::config::{Settings, Worker};
use crate::probes::jobs::Job;
use crate::probes::mounts::Observation;
use crate::probes::verdict::Verdict;
use crate::probes::work::{Work, writes_to};
use crate::probes::worker::{State, WorkerLook};
use crate::sys::text;

/// How a repair may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// While the worker does what it does.
    InTheOpen,
    /// Once the worker is stopped, and why.
    WorkerStopped(String),
}

/// The work on this host, and the hands that do it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What the worker needs.
    pub settings: &'a Settings,
    /// What is known of the work.
    pub work: &'a Work,
    /// The worker, where there is one and it was looked at.
    pub worker: Option<&'a WorkerLook>,
    /// What forbids to stop the worker; none where it may be stopped.
    pub no_stop: Option<&'a Shut>,
    /// Paths that are broken for certain.
    pub broken: &'a [PathBuf],
}

/// What is at work on one path.
enum Runs<'a> {
    /// Nothing, anywhere.
    Nothing,
    /// Jobs, and none of them on it.
    Elsewhere,
    /// Something on it: in words.
    OnIt(String),
    /// Nobody knows.
    Unknown(&'a str),
}

impl Scene<'_> {
    /// Whether, and how, what was seen may be repaired. `along` is whether a restart in the repair takes the
    /// worker along.
    ///
    /// # Errors
    /// The hold that forbids it.
    pub fn allows(&self, seen: &Observation, repair: &Repair, along: bool) -> Result<Way, Hold> {
        if along && self.is_up() {
            return self.with_the_worker(seen);
        }
        let is_bind = seen.bind.is_some();
        // a base put over its bare directory splits the files of a job that runs there; a bind that is missing
        // is made whatever runs, because until then everything goes to the wrong place
        let splits = repair.takes_away() || (!is_bind && repair.puts_back(&seen.path));
        if !splits {
            return Ok(Way::InTheOpen);
        }
        let hold = |reason, detail| Err(Hold::on(&seen.path, reason, detail));
        let comes_back = !is_bind && (!repair.owes.is_empty() || !repair.takes_away());
        match self.runs_on(&seen.path) {
            Runs::Unknown(_) if !repair.takes_away() => Ok(Way::InTheOpen),
            Runs::Unknown(_) if comes_back && seen.verdict == Verdict::Dead => Ok(Way::InTheOpen),
            Runs::Unknown(why) => hold(
                Reason::QueueUnknown,
                format!("{}, and what runs is not known: {why}", seen.verdict),
            ),
            Runs::Nothing if self.would_race(seen, repair) => {
                let why = "no job runs, and none is to begin on the bare directory";
                Ok(Way::WorkerStopped(why.to_owned()))
            }
            Runs::Nothing | Runs::Elsewhere => Ok(Way::InTheOpen),
            Runs::OnIt(who) if !comes_back && !is_bind => hold(Reason::RunningJobsPresent, who),
            Runs::OnIt(who) => match (self.well(), self.no_stop) {
                (None, None) => Ok(Way::WorkerStopped(who)),
                (Some(_), _) | (None, Some(_)) if comes_back => Ok(Way::InTheOpen),
                (Some(well), _) => {
                    hold(Reason::RunningJobsPresent, format!("{who}, and {well} is well"))
                }
                (None, Some(shut)) => hold(
                    Reason::RunningJobsPresent,
                    format!("{who}, and the worker may not be stopped: {}", shut.detail),
                ),
            },
        }
    }

    /// A repair whose restart takes the worker along is a stop of the worker.
    fn with_the_worker(&self, seen: &Observation) -> Result<Way, Hold> {
        let hold = |reason, why: &str| {
            let detail = format!("{}, and its unit takes the worker along: {why}", seen.verdict);
            Err(Hold::on(&seen.path, reason, detail))
        };
        match (self.work, self.well(), self.no_stop) {
            (Work::Unknown(why), _, _) => hold(Reason::QueueUnknown, why),
            (_, Some(well), _) => hold(Reason::RunningJobsPresent, &format!("{well} is well")),
            (_, None, Some(shut)) => hold(shut.reason, &shut.detail),
            (_, None, None) => {
                Ok(Way::WorkerStopped("the restart of its storage takes it along".to_owned()))
            }
        }
    }

    /// Whether a job could begin on the bare directory while the repair is at work. A bind that is swapped
    /// leaves no such moment.
    fn would_race(&self, seen: &Observation, repair: &Repair) -> bool {
        let detaches = |step: &Step| matches!(step, Step::Detach { .. });
        let bare = repair.steps.iter().any(|planned| detaches(&planned.step));
        bare && self.is_up() && self.no_stop.is_none() && self.worker_stands_on(&seen.path)
    }

    /// A job that runs and is well, in words: while there is one the worker is not stopped.
    #[must_use]
    pub fn well(&self) -> Option<String> {
        match self.work {
            Work::Unknown(why) => Some(format!("nobody knows whether a job ({why})")),
            Work::NoQueue if self.is_up() && !self.is_lost(None) => {
                Some("what the worker does".to_owned())
            }
            Work::NoQueue => None,
            Work::Known(facts) => {
                let well = |job: &&Job| !self.is_lost(job.output.as_deref());
                facts.running.iter().filter(|_| self.runs_at_all()).find(well).map(named)
            }
        }
    }

    /// Whether a job lies on what is broken for certain; one without a path lies on all that the worker needs.
    fn is_lost(&self, output: Option<&Path>) -> bool {
        match output {
            Some(output) => self.broken.iter().any(|path| writes_to(Some(output), path)),
            None => self.broken.iter().any(|path| self.is_needed(path)),
        }
    }

    /// Whether a job with this output is on what lies at `path`, or on a bind of it.
    fn is_on(&self, output: Option<&Path>, path: &Path) -> bool {
        let mut binds = self.settings.bind.iter().filter(|bind| bind.base == path);
        writes_to(output, path) || binds.any(|bind| writes_to(output, &bind.hot))
    }

    fn runs_on(&self, path: &Path) -> Runs<'_> {
        match self.work {
            Work::Unknown(why) => Runs::Unknown(why),
            Work::NoQueue if self.is_up() && self.is_needed(path) => {
                Runs::OnIt("the worker runs, and without a [queue] nobody knows on what".to_owned())
            }
            Work::NoQueue if self.is_up() => Runs::Elsewhere,
            Work::NoQueue => Runs::Nothing,
            Work::Known(facts) if facts.running.is_empty() || !self.runs_at_all() => Runs::Nothing,
            Work::Known(facts) => {
                let on = |job: &&Job| self.is_on(job.output.as_deref(), path);
                let mut jobs = facts.running.iter().filter(on).map(named);
                match (jobs.next(), jobs.count()) {
                    (None, _) => Runs::Elsewhere,
                    (Some(first), 0) => Runs::OnIt(format!("{first} runs on it")),
                    (Some(first), more) => {
                        Runs::OnIt(format!("{first} and {more} more runs on it"))
                    }
                }
            }
        }
    }

    /// Whether anything can run here. What the queue calls running while the worker is down, with nobody left
    /// in its control group, runs elsewhere or nowhere.
    fn runs_at_all(&self) -> bool {
        self.worker.is_none_or(|look| !look.is_gone())
    }

    fn is_up(&self) -> bool {
        self.worker.is_some_and(|look| !look.state.is_down())
    }

    fn config(&self) -> Option<&Worker> {
        self.settings.worker.as_ref()
    }

    /// Whether the worker needs what lies at `path`, or around it, or is bound from it.
    fn is_needed(&self, path: &Path) -> bool {
        let Some(worker) = self.config() else { return true };
        worker.stands_on(self.settings).iter().any(|need| {
            let bind = self.settings.bind.iter().find(|bind| bind.hot == *need);
            need.starts_with(path)
                || path.starts_with(need)
                || bind.is_some_and(|bind| bind.base == path)
        })
    }

    fn worker_stands_on(&self, path: &Path) -> bool {
        let mut next = self.work.known().into_iter().flat_map(|facts| &facts.next);
        self.is_needed(path) || next.any(|job| self.is_on(job.output.as_deref(), path))
    }
}

/// Why a worker cannot be stopped at all: there is none, nobody knows how it is, or how to.
#[must_use]
pub fn cannot_stop(settings: &Settings, worker: Option<&WorkerLook>) -> Option<Shut> {
    let shut =
        |reason, detail: &str| Some(Shut { reason, detail: detail.to_owned(), until_utc_ms: None });
    let (Some(config), Some(look)) = (&settings.worker, worker) else {
        return shut(Reason::UnitNotFound, "there is no [worker] in the configuration");
    };
    match &look.state {
        State::Unknown(why) => shut(Reason::UnclearEvidence, why),
        State::NotFound => shut(Reason::UnitNotFound, "there is no such unit"),
        _ if config.unit.is_none() && config.stop.is_none() => {
            shut(Reason::UnitNotFound, "the configuration does not say how to stop it")
        }
        state if state.is_down() && !look.is_gone() => match &look.processes {
            Ok(left) => shut(
                Reason::WorkerActive,
                &format!("it is down, and {} of its processes are not", left.len()),
            ),
            Err(why) => shut(Reason::UnclearEvidence, why),
        },
        State::Active
        | State::Reloading
        | State::Activating(_)
        | State::Deactivating
        | State::Inactive
        | State::Failed(_)
        | State::Masked => None,
    }
}

fn named(job: &Job) -> String {
    format!("job {}", text::bytes(job.id.as_bytes()))
}
