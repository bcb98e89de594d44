//! The supervisor: claims jobs, has a helper for each, beats for all of them in one statement, takes over what other
//! workers have left, and writes down how each try ended. It does one thing at a time and waits for the next in one
//! place; nothing it does touches the storage of a job.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::helper;
use super::link::{Link, RETRY_HOLDING};
use super::order::{GO, Order, Report, Tell};
use super::tree;
use crate::config::job_type::JobType;
use crate::config::queue::Queue;
use crate::decide::attempts::{self, Class, Limits, Outcome, Token, Used};
use crate::decide::leases::{Leases, Patience, Seen};
use crate::probes::gate;
use crate::probes::records::{self, path_text};
use crate::probes::witness::{self, Fate};
use crate::queue::Fault;
use crate::queue::store::{Ask, Beat, Claimed, Ending, NewWorker, Store};
use crate::sys::clock::boottime;
use crate::sys::command::{self, Helper};
use crate::sys::text;

/// The times of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// How often work is looked for where none was. Default 2 s, and up to a tenth more or less.
    pub poll: Duration,
    /// How often it beats. Default 15 s.
    pub beat: Duration,
    /// How long a worker may be silent. Default 120 s.
    pub lease: Duration,
    /// How often others are looked at. Default 30 s.
    pub sweep: Duration,
    /// How long a command that is asked to end may take. Default 10 s.
    pub grace: Duration,
    /// How long running jobs may go on once the runner is to end. Default 90 s.
    pub drain: Duration,
    /// So often a job may lose its worker. Default 3.
    pub rescues: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            poll: secs(2),
            beat: secs(15),
            lease: secs(120),
            sweep: secs(30),
            grace: secs(10),
            drain: secs(90),
            rescues: 3,
        }
    }
}

/// What a runner is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Where its queue is; it may hold a password.
    pub url: String,
    /// How long the queue may take for an answer.
    pub timeout: Duration,
    /// What it can do.
    pub types: Vec<JobType>,
    /// At most so many at once, of all types together.
    pub slots: u32,
    /// The directory of the storage gate.
    #[serde(with = "path_text")]
    pub run_dir: PathBuf,
    /// Where commands run.
    #[serde(with = "path_text")]
    pub dir: PathBuf,
    /// Its times.
    pub numbers: Numbers,
}

/// How long a helper may take to end all that is below it and itself, beside the grace of its command.
const HELPER_END: Duration = Duration::from_secs(12);
/// How long a result may take to be put in its place, beside the time of the commands.
const PUT: Duration = Duration::from_secs(600);

/// The word that makes this program a runner.
pub const VERB: &str = "--run-jobs";

/// A runner that is told by the first line of its standard input what it is given, and ends with that; its exit code.
#[must_use]
pub fn as_told() -> i32 {
    let mut line = String::new();
    let setup: Option<Setup> =
        std::io::stdin().read_line(&mut line).ok().and_then(|_| serde_json::from_str(&line).ok());
    let Some(setup) = setup else { return 2 };
    match run(setup) {
        Ok(End::Asked) => 0,
        Ok(End::Lost) => LOST,
        Err(Fault(why)) => {
            crate::report::out::complain(&format!("unwedge-runner: {why}"));
            1
        }
    }
}

/// The exit code of one that the queue knows no more.
const LOST: i32 = 3;

/// Why a runner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// The queue knows it no more.
    Lost,
}

enum Event {
    Told(Token, Tell),
    Gone(Token),
    Stop,
}

/// A job at work.
struct Running {
    claimed: Claimed,
    kind: usize,
    /// Its end is what it is told to end by.
    input: Option<ChildStdin>,
    process: command::Ending,
    report: Option<Report>,
    started_ms: u64,
    /// When its helper is killed: all its time is over, or it was told to end and did not.
    kill_at: Duration,
    /// Whether it was told to end.
    is_stopped: bool,
    /// Whether its helper was killed.
    is_killed: bool,
    /// Whether its result waits for the queue's word.
    is_ready: bool,
}

struct Runner {
    setup: Setup,
    link: Link,
    id: String,
    /// What tells scratch files of this queue from those of another.
    mark: String,
    running: BTreeMap<Token, Running>,
    outbox: Vec<Ending>,
    /// Jobs whose helper could not be killed: they stay ours, so that nobody begins them beside it.
    stuck: Vec<Token>,
    leases: Leases,
    events: Receiver<Event>,
    send: Sender<Event>,
    done: u64,
    failed: u64,
    beat_due: Duration,
    sweep_due: Duration,
    poll_due: Duration,
    /// From when on it takes no more, and when it ends what still runs.
    stopping: Option<Duration>,
    said: Option<String>,
}

/// Works until it is asked to end, by a signal or the end of its input.
///
/// # Errors
/// It could not begin.
pub fn run(setup: Setup) -> Result<End, Fault> {
    let io = |what: &str, error: std::io::Error| Fault(format!("{what}: {error}"));
    tree::adopt().map_err(|error| io("become a subreaper", error))?;
    let id = witness::own().map_err(|error| io("tell this process from others", error))?;
    let (send, events) = mpsc::channel();
    listen(&send)?;
    let mut runner = Runner {
        link: Link::to(Queue::at(&setup.url, setup.timeout)),
        mark: records::digest(setup.url.as_bytes()).chars().take(6).collect(),
        setup,
        id,
        running: BTreeMap::new(),
        outbox: Vec::new(),
        stuck: Vec::new(),
        leases: Leases::default(),
        events,
        send,
        done: 0,
        failed: 0,
        beat_due: Duration::ZERO,
        sweep_due: Duration::ZERO,
        poll_due: Duration::ZERO,
        stopping: None,
        said: None,
    };
    runner.enter()?;
    runner.work()
}

/// A stop comes as a signal, or as the end of the standard input.
fn listen(send: &Sender<Event>) -> Result<(), Fault> {
    let mut signal =
        crate::sys::manager::stop().map_err(|error| Fault(format!("signals: {error}")))?;
    let by_signal = send.clone();
    let by_input = send.clone();
    let spawn = |name: &str, deed: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(deed);
        thread.map(drop).map_err(|error| Fault(format!("a thread: {error}")))
    };
    spawn(
        "signals",
        Box::new(move || {
            let mut byte = [0];
            let _ = signal.read(&mut byte);
            let _ = by_signal.send(Event::Stop);
        }),
    )?;
    spawn(
        "input",
        Box::new(move || {
            let mut rest = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut rest);
            let _ = by_input.send(Event::Stop);
        }),
    )
}

impl Running {
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

impl Runner {
    fn enter(&mut self) -> Result<(), Fault> {
        let worker = NewWorker {
            id: self.id.clone(),
            host: witness::host(),
            unit: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: "direct".to_owned(),
            types: self.setup.types.iter().map(|kind| kind.name.clone()).collect(),
        };
        self.beat_due = boottime() + self.setup.numbers.beat;
        self.link.ask(move |store| store.register(&worker))
    }

    fn work(&mut self) -> Result<End, Fault> {
        loop {
            let now = boottime();
            if self.beat_due <= now && !self.beat(now) {
                self.end_all();
                return Ok(End::Lost);
            }
            self.link.holds(!self.running.is_empty() || !self.outbox.is_empty());
            self.deliver();
            self.place_ready();
            if self.sweep_due <= now {
                self.sweep(now);
            }
            if self.stopping.is_none() && self.poll_due <= now {
                self.claim(now);
            }
            if let Some(since) = self.stopping {
                if self.running.is_empty()
                    && (self.outbox.is_empty() || now >= since + self.setup.numbers.grace)
                {
                    if !self.stuck.is_empty() {
                        self.say(
                            "it does not leave the queue: what cannot be ended is still its own",
                        );
                        return Ok(End::Asked);
                    }
                    let id = self.id.clone();
                    if let Err(Fault(why)) = self.link.ask(move |store| store.leave(&id)) {
                        self.say(&format!("leave the queue: {why}; it is found out by others"));
                    }
                    return Ok(End::Asked);
                }
                if now >= since {
                    self.stop_running(now);
                }
            }
            self.kill_overdue(now);
            self.wait(now);
        }
    }

    /// Renews the lease of all it has; false where the queue knows it no more.
    fn beat(&mut self, now: Duration) -> bool {
        let numbers = self.setup.numbers;
        let (id, done, failed) = (self.id.clone(), self.done, self.failed);
        let state = match (self.stopping, self.running.is_empty()) {
            (Some(_), _) => "draining",
            (None, true) => "idle",
            (None, false) => "busy",
        };
        let held = self
            .link
            .ask(move |store| store.beat(&Beat { worker: &id, state, step: None, done, failed }));
        self.beat_due = now + numbers.beat;
        match held {
            Ok(Some(held)) => {
                let ours =
                    |token: &Token| held.iter().any(|it| it.token == *token && !it.is_cancelled);
                let lost: Vec<Token> =
                    self.running.keys().filter(|token| !ours(token)).copied().collect();
                // handed out in an answer that never came: nothing was begun
                let known = |token: &Token| {
                    self.running.contains_key(token)
                        || self.stuck.contains(token)
                        || self.outbox.iter().any(|it| it.token == *token)
                };
                let unknown: Vec<Token> =
                    held.iter().map(|it| it.token).filter(|token| !known(token)).collect();
                for token in unknown {
                    self.outbox.push(Ending::given_back(token));
                }
                for token in lost {
                    self.say(&format!(
                        "job {}: it is somebody else's, or was called off: ended here",
                        token.id
                    ));
                    self.stop_one(token, now);
                }
                true
            }
            Ok(None) => {
                self.say("the queue knows this worker no more: what it had is somebody else's");
                false
            }
            Err(Fault(why)) => {
                // whoever cannot hear has heard no silence
                self.leases.was_deaf();
                self.trouble(why);
                true
            }
        }
    }

    /// Looks at the other workers: whose lease is over loses what it has.
    fn sweep(&mut self, now: Duration) {
        let numbers = self.setup.numbers;
        self.sweep_due = now + numbers.sweep;
        // what could not be killed when its job ended may have ended since
        tree::reap_strays(&self.helpers());
        let seen = match self.link.ask(Store::workers) {
            Ok(seen) => seen,
            Err(Fault(why)) => {
                self.leases.was_deaf();
                return self.trouble(why);
            }
        };
        let others: Vec<Seen> = seen.into_iter().filter(|it| it.id != self.id).collect();
        let patience = Patience { lease: numbers.lease, proof: RETRY_HOLDING + numbers.beat * 3 };
        let mut gone = self.leases.look(&others, now, patience);
        // of a process of this very host it is known, and need not be waited for
        for other in others {
            match witness::fate(&other.id) {
                Fate::Unknown => {}
                // whoever takes its jobs now would begin them beside what is still at them
                Fate::Ending => self.sweep_due = now + Duration::from_secs(1),
                Fate::Gone => gone.push(other),
            }
        }
        gone.sort_by(|a, b| a.id.cmp(&b.id));
        gone.dedup_by(|a, b| a.id == b.id);
        let names: Vec<String> = gone.iter().map(|it| it.id.clone()).collect();
        match self.link.ask(move |store| store.bury(&gone, numbers.rescues)) {
            Ok(back) if names.is_empty() && back.is_empty() => {}
            Ok(back) => {
                self.say(&format!("gone: {}; {} jobs given back", names.join(", "), back.len()));
                self.poll_due = now;
            }
            Err(Fault(why)) => self.trouble(why),
        }
    }

    fn claim(&mut self, now: Duration) {
        let open = gate::open(&self.setup.run_dir);
        let mut none = true;
        for nth in 0..self.setup.types.len() {
            let own = self.running.values().filter(|it| it.kind == nth).count();
            let kind = &self.setup.types[nth];
            let free = (kind.concurrency as usize).saturating_sub(own);
            let free = free.min((self.setup.slots as usize).saturating_sub(self.running.len()));
            if free == 0 {
                continue;
            }
            let (id, name, open) = (self.id.clone(), kind.name.clone(), open.clone());
            let most = u32::try_from(free).unwrap_or(u32::MAX);
            match self
                .link
                .ask(move |store| store.claim(&Ask { worker: &id, kind: &name, open: &open, most }))
            {
                Ok(claimed) => {
                    self.said = None;
                    none &= claimed.is_empty();
                    for job in claimed {
                        self.begin(nth, job);
                    }
                }
                Err(Fault(why)) => {
                    self.trouble(why);
                    break;
                }
            }
        }
        let again = if none {
            self.setup.numbers.poll.mul_f64(0.9 + random() * 0.2)
        } else {
            Duration::ZERO
        };
        // where it is full, the next end says when
        let is_full = self.running.len() >= self.setup.slots as usize;
        self.poll_due = if is_full { Duration::MAX } else { (now + again).max(self.link.due()) };
    }

    fn begin(&mut self, kind: usize, claimed: Claimed) {
        let token = claimed.token;
        let path = |written: &str| -> Option<PathBuf> {
            use std::os::unix::ffi::OsStringExt as _;
            Some(PathBuf::from(std::ffi::OsString::from_vec(text::unwritten(written)?)))
        };
        let input = path(&claimed.input);
        let output = claimed.output.as_deref().map(path);
        let (Some(input), Some(output)) = (input, output.map_or(Some(None), |it| it.map(Some)))
        else {
            let message = Some("its paths are not as this program writes them".to_owned());
            let report = Report { class: Some(Class::Permanent), message, ..Report::default() };
            return self.end(&claimed, kind, report, None);
        };
        // the gate may have closed since: then it goes back as it was
        let open = gate::open(&self.setup.run_dir);
        let is_open = claimed.needs.iter().all(|need| open.contains(need));
        let order = is_open.then(|| Order {
            token,
            kind: self.setup.types[kind].clone(),
            input,
            output,
            may_be_there: claimed.may_be_there,
            dir: self.setup.dir.clone(),
            mark: self.mark.clone(),
            grace_ms: millis(self.setup.numbers.grace),
        });
        let started = order.as_ref().map(|order| self.start(order));
        match started {
            Some(Ok((input, process))) => {
                let started_ms = crate::sys::clock::since_epoch().as_millis();
                let running = Running {
                    claimed,
                    kind,
                    input: Some(input),
                    process,
                    report: None,
                    started_ms: u64::try_from(started_ms).unwrap_or_default(),
                    kill_at: boottime() + self.longest(kind),
                    is_stopped: false,
                    is_killed: false,
                    is_ready: false,
                };
                self.running.insert(token, running);
            }
            Some(Err(error)) => {
                let message = Some(format!("start a helper: {error}"));
                self.end(
                    &claimed,
                    kind,
                    Report { class: Some(Class::Infrastructure), message, ..Report::default() },
                    None,
                );
            }
            None => {
                self.end(&claimed, kind, Report { is_given_up: true, ..Report::default() }, None);
            }
        }
    }

    /// Starts a helper, and a thread that hears what it tells.
    fn start(&self, order: &Order) -> std::io::Result<(ChildStdin, command::Ending)> {
        let token = order.token;
        let (mut input, output, process) =
            Helper::start(&[helper::VERB.into(), self.id.clone().into()])?.split();
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        input.write_all(&line)?;
        let send = self.send.clone();
        std::thread::Builder::new().name(format!("job {}", token.id)).stack_size(128 << 10).spawn(
            move || {
                for line in BufReader::new(output).lines() {
                    let told = line.ok().and_then(|line| serde_json::from_str(&line).ok());
                    let Some(told) = told else { break };
                    if send.send(Event::Told(token, told)).is_err() {
                        break;
                    }
                }
                let _ = send.send(Event::Gone(token));
            },
        )?;
        Ok((input, process))
    }

    fn wait(&mut self, now: Duration) {
        let mut due = self.beat_due.min(self.sweep_due);
        if self.stopping.is_none() {
            due = due.min(self.poll_due);
        } else {
            due = due.min(now + Duration::from_millis(100));
        }
        if !self.outbox.is_empty() {
            due = due.min(self.link.due());
        }
        for running in self.running.values() {
            due = due.min(running.kill_at);
            if running.is_ready {
                due = due.min(self.link.due());
            }
        }
        let mut limit = due.saturating_sub(now);
        loop {
            match self.events.recv_timeout(limit) {
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
            // however much there is to hear, a beat is not late for it
            if self.beat_due <= boottime() {
                return;
            }
            // what else is there is heard in the same turn, so that many ends are one statement
            limit = Duration::ZERO;
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Stop => {
                if self.stopping.is_none() {
                    if !self.running.is_empty() {
                        self.say(&format!(
                            "asked to end: no more is taken, {} still run",
                            self.running.len()
                        ));
                    }
                    self.stopping = Some(boottime() + self.setup.numbers.drain);
                }
            }
            Event::Told(token, Tell::Ready) => self.place(token),
            Event::Told(token, Tell::Ended(report)) => {
                if let Some(running) = self.running.get_mut(&token) {
                    running.report = Some(report);
                }
            }
            Event::Gone(token) => {
                let Some(mut running) = self.running.remove(&token) else { return };
                drop(running.input.take());
                if !running.process.within(Duration::from_secs(1)) {
                    running.process.kill();
                }
                let report = running.report.take().unwrap_or_else(|| running.without_report());
                // what a helper that was killed has left is ours now
                if running.is_killed || report.class == Some(Class::Crashed) {
                    tree::kill_strays(&self.helpers(), Duration::from_millis(500));
                }
                let started_ms = running.started_ms;
                self.end(&running.claimed, running.kind, report, Some(started_ms));
                self.poll_due = Duration::ZERO;
            }
        }
    }

    /// Asks for every result that waits for it.
    fn place_ready(&mut self) {
        let ready = self.running.iter().filter(|(_, running)| running.is_ready);
        let ready: Vec<Token> = ready.map(|(token, _)| *token).collect();
        for token in ready {
            if self.link.due() <= boottime() {
                self.place(token);
            }
        }
    }

    /// A result may go to its place only while the job is ours. While the queue is away it waits.
    fn place(&mut self, token: Token) {
        let is_ours = self.link.ask(move |store| store.place(token));
        let Some(running) = self.running.get_mut(&token) else { return };
        running.is_ready = is_ours.is_err();
        match is_ours {
            Ok(true) => {
                if let Some(input) = &mut running.input {
                    // one that is gone is heard of
                    let _ = input.write_all(GO.as_bytes());
                }
            }
            // it goes back, or is somebody else's already; either way nothing is put anywhere
            Ok(false) => drop(running.input.take()),
            Err(Fault(why)) => self.trouble(why),
        }
    }

    /// Decides what becomes of a job, to be written down with the next delivery.
    fn end(&mut self, claimed: &Claimed, kind: usize, report: Report, started_ms: Option<u64>) {
        let outcome = match report.class {
            _ if report.is_given_up => Outcome::GivenBack,
            Some(class) => Outcome::Not(class),
            None => Outcome::Done,
        };
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Not(_) => self.failed += 1,
            Outcome::GivenBack => {}
        }
        let kind = &self.setup.types[kind];
        let limits = Limits {
            attempts: kind.attempts,
            backoff: Duration::from_millis(kind.backoff_ms),
            ..Limits::default()
        };
        let used = Used {
            failures: claimed.failures,
            infra_errors: claimed.infra_errors,
            rescues: claimed.rescues,
        };
        let next = attempts::next(used, outcome, &limits, random());
        self.outbox.push(Ending {
            token: claimed.token,
            state: next.state,
            counted: next.counted,
            wait_ms: millis(next.wait),
            tier: report.tier,
            exit_code: report.exit_code.map(i64::from),
            signal: report.signal.map(i64::from),
            class: report.class.map(|class| class.name().to_owned()),
            message: report.message,
            started_ms,
            digest: None,
        });
    }

    fn deliver(&mut self) {
        if self.outbox.is_empty() || self.link.due() > boottime() {
            return;
        }
        let (endings, id) = (self.outbox.clone(), self.id.clone());
        match self.link.ask(move |store| store.end(&endings, env!("CARGO_PKG_VERSION"), &id)) {
            Ok(accepted) => {
                for ending in std::mem::take(&mut self.outbox) {
                    if !accepted.contains(&ending.token) {
                        let Token { id, nth } = ending.token;
                        self.say(&format!("job {id}, try {nth}: it is somebody else's; what came of it is not written"));
                    }
                }
            }
            Err(Fault(why)) => self.trouble(why),
        }
    }

    fn helpers(&self) -> Vec<Pid> {
        self.running.values().map(|it| it.process.pid).collect()
    }

    fn stop_one(&mut self, token: Token, now: Duration) {
        let patience = self.setup.numbers.grace + HELPER_END;
        if let Some(running) = self.running.get_mut(&token)
            && !running.is_stopped
        {
            drop(running.input.take());
            running.is_stopped = true;
            running.kill_at = running.kill_at.min(now + patience);
        }
    }

    /// All the time that a job of a type may take, whatever it meets.
    fn longest(&self, kind: usize) -> Duration {
        let limits =
            self.setup.types[kind].tiers.iter().map(|tier| Duration::from_millis(tier.limit_ms));
        limits.map(|limit| limit + self.setup.numbers.grace + HELPER_END).sum::<Duration>() + PUT
    }

    fn stop_running(&mut self, now: Duration) {
        let all: Vec<Token> = self.running.keys().copied().collect();
        for token in all {
            self.stop_one(token, now);
        }
    }

    fn kill_overdue(&mut self, now: Duration) {
        let over: Vec<Token> = self
            .running
            .iter()
            .filter(|(_, it)| it.kill_at <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in over {
            let Some(running) = self.running.get_mut(&token) else { continue };
            if !std::mem::replace(&mut running.is_killed, true) {
                drop(running.input.take());
                running.process.kill();
                running.kill_at = now + HELPER_END;
                continue;
            }
            // it waits for storage that hangs, and nothing can end it
            self.say(&format!(
                "job {}: its helper cannot be killed; nobody begins it before it has ended",
                token.id
            ));
            self.running.remove(&token);
            self.stuck.push(token);
        }
    }

    /// Ends all that runs, and writes nothing of it.
    fn end_all(&mut self) {
        let now = boottime();
        self.stop_running(now);
        let last = now + self.setup.numbers.grace + Duration::from_secs(8);
        while !self.running.is_empty() && boottime() < last {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => self.hear(event),
                Err(_) => self.kill_overdue(boottime()),
            }
        }
        tree::kill_all(Duration::from_secs(5));
    }

    /// Says what is wrong, once while it lasts.
    fn trouble(&mut self, why: String) {
        if self.said.as_ref() != Some(&why) {
            self.say(&why);
            self.said = Some(why);
        }
    }

    #[allow(clippy::unused_self, reason = "where it says so is the runner's")]
    fn say(&self, what: &str) {
        crate::report::out::complain(&format!("unwedge-runner: {what}"));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1, and nothing to be relied on.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}
