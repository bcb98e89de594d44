//! `unwedge jobs smoke`: one job that does nothing, through the real queue and a real worker; what each stage took, and
//! nothing of it left.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};

use super::asking::Asking;
use super::{Said, time_of};
use crate::cli;
use crate::config::Settings;
use crate::config::job_type::JobType;
use crate::queue::store::change::Change;
use crate::queue::store::listing::{Job, Which};
use crate::queue::store::{NewJob, Store};
use crate::report::out;
use crate::report::smoke as report;
use crate::report::workers::NO_WORKER;
use crate::sys::clock::{Deadline, Now, boottime, pause};
use crate::sys::manager;

/// How often it is asked whether it is over.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long a worker may take until it hears that its job is called off: as long as it has no sign of life to give.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// Does it.
///
/// # Errors
/// There is no answer, or the job was not done in time; then it is called off and taken out.
pub fn smoke(
    settings: &Settings,
    timeout: &str,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let patience = time_of("--timeout", timeout)?;
    let mut asking = Asking::making(settings, at.queue.as_deref())?;
    asking.ask(Store::now_ms).context("connect")?;
    let workers = asking.ask(|store| store.all_workers(false))?;
    if !workers.iter().any(|it| it.standing().takes_work()) {
        // one may come
        out::complain(&format!("{NO_WORKER}; one is waited for"));
    }
    let mut until = Until::after(patience)?;
    let start = boottime();
    let job = NewJob {
        kind: JobType::smoke().name,
        key: format!("{}-{}", now.boot_id, boottime().as_nanos()),
        priority: JobType::smoke().priority,
        needs: Vec::new(),
        prefers: Vec::new(),
        input: "/dev/null".to_owned(),
        output: None,
        output_dir: None,
        stamp: None,
        intake: None,
        offered_by: None,
    };
    asking.somebody_waits();
    let id = put_in(&mut asking, &job, &mut until)?;
    let put = boottime().saturating_sub(start);
    let done = wait(&mut asking, id, &mut until);
    let told = boottime().saturating_sub(start);
    // whatever came of it, nothing of it stays
    let job = match (done, call_off(&mut asking, id)) {
        (Ok(job), Ok(())) => job,
        (Ok(_), Err(left)) => return Err(left),
        (Err(why), Ok(())) => return Err(why),
        (Err(why), Err(left)) => bail!("{why:#}; {left:#}"),
    };
    let stages = report::Stages::of(&job, put, told).ok_or_else(|| {
        anyhow!("job {id}: {}", job.message.as_deref().unwrap_or("it was not done"))
    })?;
    Ok(if json { report::json(&stages, now)? } else { report::text(&stages) }.into())
}

/// Puts it in. One whose answer was lost is there already, and is that one.
fn put_in(asking: &mut Asking, job: &NewJob, until: &mut Until) -> Result<i64> {
    loop {
        let job = job.clone();
        match asking.ask(move |store| store.submit(&[job])) {
            Ok(put) => return Ok(put.first().context("it was not put in")?.id),
            Err(why) => {
                let why = why.context(format!(
                    "it is not known whether it was put in: unwedge jobs list --type {}",
                    JobType::smoke().name
                ));
                until.ask_again(asking, why)?;
            }
        }
    }
}

/// Calls a job off and takes it out, once whoever has it has heard of that, and the queue that was away is back.
///
/// # Errors
/// It is still there.
pub fn call_off(asking: &mut Asking, id: i64) -> Result<()> {
    let mut is_called_off = false;
    let look = |asking: &mut Asking| {
        let (which, is_done) = (Which::ids(&[id]), is_called_off);
        let gone = asking.ask(move |store| {
            if !is_done {
                store.change(&which, &Change::Cancel, "by its smoke test", false)?;
            }
            store.remove(id)
        })?;
        is_called_off = true;
        Ok(gone)
    };
    let deadline = Deadline::after(HEARD_WITHIN);
    let gone = asking.ask_until(deadline, ASK_EVERY, look, |gone| matches!(gone, Ok(true)));
    if !gone.with_context(|| format!("job {id} is left: unwedge jobs cancel {id}"))? {
        bail!("job {id} is still there: its worker has it");
    }
    Ok(())
}

/// How long somebody waits: up to a time, and not past being asked to end.
pub struct Until {
    deadline: Deadline,
    stop: UnixStream,
}

impl Until {
    /// So long from now on.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub fn after(limit: Duration) -> Result<Self> {
        let stop = manager::stop_or_hang_up().context("listen to signals")?;
        stop.set_nonblocking(true).context("listen to signals")?;
        Ok(Self { deadline: Deadline::after(limit), stop })
    }

    /// Waits until the next look.
    ///
    /// # Errors
    /// It is over; `what` is what has not come by then.
    pub fn pause(&mut self, what: &str) -> Result<()> {
        if self.stop.read(&mut [0; 16]).is_ok_and(|length| length > 0) {
            bail!("interrupted: {what}");
        }
        if self.deadline.passed() {
            bail!("{what}");
        }
        pause(ASK_EVERY);
        Ok(())
    }

    /// The same where the queue has said this: it may be back before it is over.
    ///
    /// # Errors
    /// It is over, or will not be back.
    pub fn ask_again(&mut self, asking: &Asking, why: Error) -> Result<()> {
        if asking.is_broken() { Err(why) } else { self.pause(&format!("{why:#}")) }
    }
}

/// Waits for the end of a job.
///
/// # Errors
/// It has none in time.
pub fn wait(asking: &mut Asking, id: i64, until: &mut Until) -> Result<Job> {
    loop {
        let known = match asking.ask(move |store| store.job(id)) {
            Ok(known) => known,
            Err(why) => {
                until.ask_again(asking, why)?;
                continue;
            }
        };
        let (job, _) = known.with_context(|| format!("job {id}: somebody took it out"))?;
        if job.state.is_over() {
            return Ok(job);
        }
        until.pause(&format!(
            "nobody has done it in time, it is {}: unwedge workers list; unwedge status",
            job.state.name()
        ))?;
    }
}
