//! A job at work: its helper, what that has told so far, and until when it may take.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::ChildStdin;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::helper;
use super::order::{GO, Order, Report, Tell};
use super::supervise::Event;
use crate::config::job_type::JobType;
use crate::decide::attempts::Class;
use crate::queue::store::Claimed;
use crate::sys::clock::boottime;
use crate::sys::command::{self, Helper};

/// How long a helper may take to end all that is below it and itself, beside the grace of its command.
pub const HELPER_END: Duration = Duration::from_secs(12);
/// How long a result may take to be put in its place, beside the time of the commands.
const PUT: Duration = Duration::from_secs(600);

/// A job at work.
pub struct Running {
    /// Which one.
    pub claimed: Claimed,
    /// By which it is done.
    pub kind: Rc<JobType>,
    /// When it was begun, milliseconds since 1970.
    pub started_ms: u64,
    /// What its helper told last.
    pub report: Option<Report>,
    /// How far it is, and whether the queue knows that.
    pub progress: Option<(String, bool)>,
    /// Its helper.
    pub process: command::Ending,
    /// Its cgroup, where there are such.
    pub cgroup: Option<Cgroup>,
    /// When its helper is killed: all its time is over, or it was told to end and did not.
    pub kill_at: Duration,
    /// Whether it was told to end.
    pub is_stopped: bool,
    /// Whether its helper was killed.
    pub is_killed: bool,
    /// Whether its result waits for the queue's word.
    pub is_ready: bool,
    /// Its end is what the helper is told to end by.
    input: Option<ChildStdin>,
}

impl Running {
    /// Starts a helper, and a thread that hears what it tells.
    ///
    /// # Errors
    /// It could not be started; nothing of it is left.
    pub fn start(
        claimed: Claimed,
        kind: Rc<JobType>,
        order: &Order,
        worker: &str,
        cgroup: Option<Cgroup>,
        send: Sender<Event>,
    ) -> std::io::Result<Self> {
        let token = order.token;
        let (mut input, output, process) =
            Helper::start(&[helper::VERB.into(), worker.into()])?.split();
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        input.write_all(&line)?;
        let name = format!("job {}", token.id);
        std::thread::Builder::new().name(name).stack_size(128 << 10).spawn(move || {
            for line in BufReader::new(output).lines() {
                let told = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                let Some(told) = told else { break };
                if send.send(Event::Told(token, told)).is_err() {
                    break;
                }
            }
            let _ = send.send(Event::Gone(token));
        })?;
        let kill_at = boottime() + longest(&kind, Duration::from_millis(order.grace_ms));
        let started_ms = crate::sys::clock::since_epoch().as_millis();
        Ok(Self {
            claimed,
            kind,
            started_ms: u64::try_from(started_ms).unwrap_or_default(),
            report: None,
            progress: None,
            process,
            cgroup,
            kill_at,
            is_stopped: false,
            is_killed: false,
            is_ready: false,
            input: Some(input),
        })
    }

    /// Takes in what its helper tells; whether that is a result that waits.
    pub fn hear(&mut self, told: Tell) -> bool {
        match told {
            Tell::Ready => return true,
            Tell::Progress(step) => self.progress = Some((step.text, false)),
            Tell::Ended(report) => self.report = Some(report),
        }
        false
    }

    /// Lets its result go to its place.
    pub fn go(&mut self) {
        if let Some(input) = &mut self.input {
            // one that is gone is heard of
            let _ = input.write_all(GO.as_bytes());
        }
    }

    /// Tells it to end, and to put nothing anywhere.
    pub fn drop_result(&mut self) {
        drop(self.input.take());
    }

    /// Tells it to end; it is killed when it has not within `patience`.
    pub fn stop(&mut self, now: Duration, patience: Duration) {
        if !std::mem::replace(&mut self.is_stopped, true) {
            drop(self.input.take());
            self.kill_at = self.kill_at.min(now + patience);
        }
    }

    /// Kills its helper, and what is in its cgroup. False where that was done before and was of no use.
    pub fn kill(&mut self, now: Duration) -> bool {
        if std::mem::replace(&mut self.is_killed, true) {
            return false;
        }
        drop(self.input.take());
        self.process.kill();
        if let Some(cgroup) = &self.cgroup {
            cgroup.end();
        }
        self.kill_at = now + HELPER_END;
        true
    }

    /// What came of it, once its helper is gone.
    pub fn over(&mut self) -> Report {
        drop(self.input.take());
        if !self.process.within(Duration::from_secs(1)) {
            self.process.kill();
        }
        self.report.take().unwrap_or_else(|| self.without_report())
    }

    /// What is known of one whose helper ended without a word.
    fn without_report(&self) -> Report {
        let failed = |class, message: &str| Report {
            class: Some(class),
            message: Some(message.to_owned()),
            ..Report::default()
        };
        match (self.is_stopped, self.is_killed) {
            (true, _) => Report { is_given_up: true, ..Report::default() },
            (false, true) => failed(
                Class::Infrastructure,
                "it did not end with its time: its storage gave no answer",
            ),
            (false, false) => failed(Class::Crashed, "its helper was killed"),
        }
    }
}

/// All the time that a job of a type may take, whatever it meets.
fn longest(kind: &JobType, grace: Duration) -> Duration {
    let limits = kind.tiers.iter().map(|tier| Duration::from_millis(tier.limit_ms));
    limits.map(|limit| limit + grace + HELPER_END).sum::<Duration>() + PUT
}
