//! Starting and stopping the worker, and seeing that it came to that. Right before a start everything
//! that it stands on is looked at once more; a start is done only when the worker has stayed up, as one
//! and the same process, for as long as the config asks. Each wait has a limit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use super::outcome::Ended;
use super::units;
use crate::config::{Services, Settings, Worker};
use crate::decide::plan::{Need, Reason, Step};
use crate::decide::worker::is_disabled_since;
use crate::probes::jobs::{self, Row};
use crate::probes::mounts;
use crate::probes::records::Debt;
use crate::probes::verdict::Verdict;
use crate::probes::worker::{self as probe, State, Stopped, WorkerLook};
use crate::sys::clock::{Deadline, boottime, pause};
use crate::sys::{command, text};

/// Between two looks at a worker that comes or goes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a worker may stay down after its start was asked for, when nothing says that it died: the job waits
/// for what it is ordered after.
const COMING: Duration = Duration::from_secs(5);
/// A unit that says nothing of its stop limit gets this one.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// What a stop may take beyond the unit's own limit.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How a worker came to be down that was to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// It was asked to stop.
    Stopped,
    /// It was down, or on its way, before anybody here asked.
    Already,
}

/// What a step on the worker comes after.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The debt that a start of it pays.
    pub owed: Option<&'a Debt>,
    /// Whether a connection was ended that it may have died of.
    pub is_aborted: bool,
}

/// Performs one step on the worker.
#[must_use]
pub fn step(settings: &Settings, step: &Step, before: Before<'_>, deadline: Deadline) -> Ended {
    let Some(worker) = &settings.worker else {
        return Ended::Failed("the configuration has no [worker]".to_owned());
    };
    match step {
        Step::StartWorker { needs, .. } => start(settings, worker, needs, before.owed, deadline),
        Step::StopWorker { .. } => match stop(settings, worker, deadline) {
            Ok(Down::Stopped) => Ended::Done("it is down".to_owned()),
            Ok(Down::Already) if may_be_wished(settings, worker, before.is_aborted, deadline) => {
                Ended::Already("it was down already".to_owned())
            }
            Ok(Down::Already) => Ended::Done("it was down already: it ended by itself".to_owned()),
            Err(ended) => ended,
        },
        Step::RecoverJobs { rows, .. } => recover(settings, rows, deadline),
        Step::ResetFailed { unit } => {
            match units::ask(&settings.host.systemctl, "reset-failed", unit) {
                Ok(()) => Ended::Done("its failures are forgotten".to_owned()),
                Err(why) => Ended::Failed(why),
            }
        }
        Step::AbortConnection { .. }
        | Step::Detach { .. }
        | Step::RestartUnit { .. }
        | Step::RestartDependent { .. }
        | Step::StartUnit { .. }
        | Step::Remount { .. }
        | Step::WaitLive { .. }
        | Step::Bind { .. }
        | Step::Rebind { .. }
        | Step::HoldBack { .. } => Ended::Failed("that is no step on the worker".to_owned()),
    }
}

/// Gives rows back. One that was taken again since stays whose it is.
fn recover(settings: &Settings, rows: &[Row], deadline: Deadline) -> Ended {
    match jobs::recover(settings, rows, deadline) {
        Ok(done) if done.jobs.len() == rows.len() => {
            Ended::Done(format!("{} given back", done.jobs.len()))
        }
        Ok(done) => Ended::Failed(format!(
            "{} of {} given back; the others are not what they were",
            done.jobs.len(),
            rows.len()
        )),
        Err(why) => Ended::Failed(why),
    }
}

/// Starts it, if what it stands on is still there, nobody has started it meanwhile, and nobody wants it down by now.
fn start(
    settings: &Settings,
    worker: &Worker,
    needs: &[Need],
    owed: Option<&Debt>,
    deadline: Deadline,
) -> Ended {
    if let Err((reason, why)) = still_live(settings, needs, deadline) {
        return Ended::Refused(reason, why);
    }
    let before = probe::glance(settings, worker);
    match &before.state {
        State::Inactive | State::Failed(_) if is_disabled_since(&before, owed) => {
            let why = "it is disabled by now".to_owned();
            return Ended::Refused(Reason::WorkerStoppedByOperator, why);
        }
        State::Inactive | State::Failed(_) => {}
        State::Masked => {
            let why = "it is masked by now".to_owned();
            return Ended::Refused(Reason::WorkerStoppedByOperator, why);
        }
        State::Active | State::Reloading | State::Activating(_) => {
            return match stays_up(settings, worker, &before, deadline) {
                Ok(what) => Ended::Done(format!("somebody has started it: {what}")),
                Err(why) => Ended::Failed(why),
            };
        }
        State::Deactivating | State::NotFound => {
            let why = format!("it is {} now", before.state.name());
            return Ended::Refused(Reason::UnclearEvidence, why);
        }
        State::Unknown(why) => return Ended::Refused(Reason::UnclearEvidence, why.clone()),
    }
    match bring_up(settings, worker, &before, deadline) {
        Ok(what) => Ended::Done(what),
        Err(why) => Ended::Failed(why),
    }
}

/// Starts it without looking at anything else, and sees that it stays up. `before` is how it is now.
///
/// # Errors
/// It did not come up, or not for good.
pub fn bring_up(
    settings: &Settings,
    worker: &Worker,
    before: &WorkerLook,
    deadline: Deadline,
) -> Result<String, String> {
    ask(settings, worker, "start", worker.start.as_ref(), deadline.left())?;
    stays_up(settings, worker, before, deadline)
}

/// Whether the mounts that were judged are still there and answer; one without an identity may be any that is
/// live by now.
///
/// # Errors
/// What is no longer so, and its reason.
pub fn still_live(
    settings: &Settings,
    needs: &[Need],
    deadline: Deadline,
) -> Result<(), (Reason, String)> {
    let seen = mounts::survey(settings, &BTreeSet::new(), false, deadline.left() / 4).observations;
    for need in needs {
        let path = text::path(&need.path);
        let Some(seen) = seen.iter().find(|seen| seen.path == need.path) else {
            return Err((Reason::StorageNotLive, format!("{path} is not looked at")));
        };
        if seen.verdict != Verdict::Live {
            let why = format!("{path} is {}: {}", seen.verdict, seen.why);
            return Err((Reason::StorageNotLive, why));
        }
        let same = |was| seen.identity().is_some_and(|now| now.same(was));
        if !need.identity.as_ref().is_none_or(same) {
            return Err((Reason::IdentityChanged, format!("{path} is another mount now")));
        }
    }
    Ok(())
}

/// Asks for it: the manager by a job that is not waited for, else the command of the config.
fn ask(
    settings: &Settings,
    worker: &Worker,
    verb: &str,
    argv: Option<&Vec<String>>,
    limit: Duration,
) -> Result<(), String> {
    match (settings.host.services, &worker.unit, argv) {
        (Services::Systemd, Some(unit), _) => units::ask(&settings.host.systemctl, verb, unit),
        (Services::Process, _, Some(argv)) => {
            let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
            match command::run(&argv, limit) {
                Ok(done) if done.ok() => Ok(()),
                Ok(done) => Err(format!("{}: {}", text::name(&argv[0]), done.describe())),
                Err(failure) => Err(failure.to_string()),
            }
        }
        (Services::Systemd | Services::Process, _, _) => {
            Err(format!("the configuration does not say how to {verb} it"))
        }
    }
}

/// Waits until it is up, and then that it stays so, as the same process, for `[worker] verify`. `before` is how
/// it was when it was asked for.
///
/// # Errors
/// It did not come up, or not for good.
pub fn stays_up(
    settings: &Settings,
    worker: &Worker,
    before: &WorkerLook,
    deadline: Deadline,
) -> Result<String, String> {
    let coming = Deadline::after(COMING);
    let mut up: Option<(WorkerLook, Duration)> = None;
    loop {
        let look = probe::glance(settings, worker);
        match (&look.state, &up) {
            (State::Active | State::Reloading, None) => up = Some((look, boottime())),
            (State::Active | State::Reloading, Some((first, since))) => {
                let same = |look: &WorkerLook| (look.main_pid, look.active_since, look.restarts);
                if same(first) != same(&look) {
                    return Err("it ended and was started again".to_owned());
                }
                if boottime().saturating_sub(*since) >= worker.verify {
                    let pid = look
                        .main_pid
                        .map_or_else(String::new, |pid| format!(", main process {pid}"));
                    return Ok(format!("up for {}{pid}", text::duration(worker.verify)));
                }
            }
            (State::Activating(sub), None) if sub != "auto-restart" => {}
            (State::Inactive | State::Failed(_), None)
                if look.down_since <= before.down_since && !coming.passed() => {}
            (State::Unknown(_), _) => {}
            (state, _) => {
                let how = match state {
                    State::Failed(result) => format!("failed ({result})"),
                    State::Activating(sub) => format!("activating ({sub})"),
                    other => other.name().to_owned(),
                };
                return Err(match up {
                    Some(_) => format!("it did not stay up: it is {how}"),
                    None => format!("it did not come up: it is {how}"),
                });
            }
        }
        if deadline.left() <= LOOK_EVERY {
            return Err(format!(
                "not up for good in time: it is {}",
                glance_name(settings, worker)
            ));
        }
        pause(LOOK_EVERY.min(worker.verify.max(Duration::from_millis(20))));
    }
}

fn glance_name(settings: &Settings, worker: &Worker) -> &'static str {
    probe::glance(settings, worker).state.name()
}

/// Stops it, and waits for as long as its own unit allows. It is stopped when nobody is left of it. One that is on its way
/// down is only waited for, so that whose stop it was can still be told.
///
/// # Errors
/// It is not down in time; nothing more is done to it.
pub fn stop(settings: &Settings, worker: &Worker, deadline: Deadline) -> Result<Down, Ended> {
    let mut look = probe::glance(settings, worker);
    let limit = look.stop_limit.unwrap_or(STOP_LIMIT) + STOP_GRACE;
    let deadline = deadline.within(limit);
    let mut how = Down::Already;
    loop {
        if look.is_gone() {
            return Ok(how);
        }
        if how == Down::Already && look.state != State::Deactivating {
            ask(settings, worker, "stop", worker.stop.as_ref(), deadline.left())
                .map_err(Ended::Failed)?;
            how = Down::Stopped;
        } else if deadline.left() <= LOOK_EVERY {
            let why = format!("not down in time: it is {}; {}", look.state.name(), look.left());
            return Err(match how {
                Down::Stopped => Ended::Failed(why),
                Down::Already => Ended::Refused(Reason::UnclearEvidence, why),
            });
        } else {
            pause(LOOK_EVERY);
        }
        look = probe::glance(settings, worker);
    }
}

/// Whether one that was down before it was stopped here may be so by somebody's wish. Where nobody can tell, as without a
/// service manager, it is, unless a connection was ended before: then it has died of that.
fn may_be_wished(
    settings: &Settings,
    worker: &Worker,
    is_aborted: bool,
    deadline: Deadline,
) -> bool {
    if settings.host.services == Services::Process || deadline.left() < probe::LOOK_LIMIT {
        return !is_aborted;
    }
    let look = probe::look(settings, worker);
    match look.stopped {
        Stopped::ByJob { .. } => true,
        Stopped::Unknown => !is_aborted,
        Stopped::Nobody | Stopped::Along => look.state == State::Masked,
    }
}
