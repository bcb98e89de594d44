//! `unwedge worker restart`: a restart that interrupts no job. It waits until the queue says that none
//! runs, takes the whole deploy lock so that no tool acts meanwhile, asks the queue once more, writes down
//! that the worker is owed a start, and stops and starts it. A job that the worker takes between that last
//! question and the stop is ended as the worker's own stop ends it, and its row is told: nothing here pauses a queue.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::{act_lock, time_of};
use crate::act::lock::{self, Tried};
use crate::act::permission::not_forbidden;
use crate::act::{store, worker as act};
use crate::config::sentinel::Kind;
use crate::config::{Settings, Worker};
use crate::decide::plan::Need;
use crate::probes::binds;
use crate::probes::records::{self, Debt, Debts};
use crate::probes::work::Work;
use crate::probes::worker as probe;
use crate::sys::clock::{Deadline, Now, pause};
use crate::sys::text;

/// Between two questions to the queue.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Restarts it.
///
/// # Errors
/// Jobs run, or nobody can tell; or it did not come up again, and then it stays owed.
pub fn restart(settings: &Settings, when_idle: bool, time: &str, dry_run: bool) -> Result<String> {
    let time = time_of("--for", time)?;
    let (settings, _) = &binds::complete(settings, &Work::look(settings));
    let Some(worker) = &settings.worker else { bail!("there is no [worker] in the configuration") };
    let name = worker.name();
    if dry_run {
        return Ok(match busy(settings) {
            None => format!("no job runs: would restart {name} now\n"),
            Some(why) => format!(
                "{why}; would {} {name}\n",
                if when_idle { "wait, then restart" } else { "not restart" }
            ),
        });
    }
    let patience = Deadline::after(if when_idle { time } else { Duration::ZERO });
    loop {
        let why = match busy(settings) {
            Some(why) => why,
            None => match locked(settings, worker)? {
                Ok(said) => return Ok(format!("{name} was restarted: {said}\n")),
                Err(why) => why,
            },
        };
        if patience.left() <= ASK_EVERY {
            bail!("{why}; {name} is left as it is");
        }
        pause(ASK_EVERY);
    }
}

/// Why it must not be interrupted now. A queue that nobody knows is busy, and so is one that is not configured.
fn busy(settings: &Settings) -> Option<String> {
    match Work::look(settings) {
        Work::NoQueue => {
            Some("queue-unknown: there is no [queue] to ask whether a job runs".to_owned())
        }
        Work::Unknown(why) => Some(format!("queue-unknown: {why}")),
        // what runs on other hosts is not interrupted by this one
        Work::Known(facts) => match facts.running.len() {
            0 => None,
            running => Some(format!("running-jobs-present: {running} jobs run")),
        },
    }
}

/// Under the locks; `Err` inside says why not yet.
fn locked(settings: &Settings, worker: &Worker) -> Result<Result<String, String>> {
    let _act = act_lock(settings)?;
    let path = &settings.gates.deploy_lock;
    let Tried::Locked(_maintenance) = lock::maintenance(path)? else {
        return Ok(Err(format!("deploy-in-progress: somebody holds {}", text::path(path))));
    };
    if let Some(why) = busy(settings) {
        return Ok(Err(why));
    }
    // what is stopped on bad storage could not be started again
    let need = |path| Need { path, identity: None };
    let needs: Vec<Need> = worker.needs(settings).into_iter().map(need).collect();
    if let Err((reason, why)) = act::still_live(settings, &needs, Deadline::after(worker.deadline))
    {
        return Ok(Err(format!("{}: {why}", reason.name())));
    }
    let deadline = Deadline::after(worker.deadline);
    if let Err(forbidden) = not_forbidden(settings, Kind::Worker, deadline) {
        return Ok(Err(forbidden.words()));
    }
    let was_enabled = probe::glance(settings, worker).is_enabled();
    owe(settings, worker, was_enabled)?;
    act::stop(settings, worker, deadline)
        .map_err(|ended| anyhow!("stop {}: {}", worker.name(), ended.words()))?;
    let left = left_behind(settings);
    let down = probe::glance(settings, worker);
    let said = act::bring_up(settings, worker, &down, Deadline::after(worker.deadline))
        .map_err(|why| anyhow!("start {}: {why}; it stays owed", worker.name()))?;
    strike_out(settings, worker)?;
    Ok(Ok(said + &left))
}

/// Rows that it took after the question whether any runs, even while it was being stopped: nobody is at them.
fn left_behind(settings: &Settings) -> String {
    let work = Work::look(settings);
    let running = work.known().into_iter().flat_map(|facts| &facts.running);
    let rows: Vec<String> = running
        .map(|job| job.row().map_or_else(|| job.id.clone(), |row| row.word()))
        .map(|word| text::bytes(word.as_bytes()))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let rows = rows.join(" ");
    format!(
        "; taken while it was being stopped, and nobody's now: {rows}; see unwedge-jobs recover"
    )
}

/// Written down before it is stopped, so that whatever happens to this program somebody starts it.
fn owe(settings: &Settings, worker: &Worker, was_enabled: bool) -> Result<()> {
    let now = Now::take()?;
    let mut debts: Debts = records::read(&settings.host.state_dir, &now)?;
    debts.debts.retain(|debt| !debt.is_of_worker(worker.name()));
    debts.debts.push(Debt::Worker {
        unit: worker.name().to_owned(),
        was_enabled,
        since: now.stamp(),
        why: "a restart by hand".to_owned(),
    });
    store::record(&settings.host.state_dir, &debts).context("write down that it is owed")
}

fn strike_out(settings: &Settings, worker: &Worker) -> Result<()> {
    let mut debts: Debts = records::read(&settings.host.state_dir, &Now::take()?)?;
    debts.debts.retain(|debt| !debt.is_of_worker(worker.name()));
    store::record(&settings.host.state_dir, &debts).context("strike out what is paid")
}
