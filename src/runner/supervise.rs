//! The supervisor: claims jobs, has a helper for each, beats for all of them in one statement, takes over what other
//! workers have left, and writes down how each try ended. It does one thing at a time and waits for the next in one
//! place; nothing it does touches the storage of a job.

mod belonging;
mod handling;
#[cfg(test)]
mod stuck_tests;
mod watching;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Read as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::buckets;
use super::cgroup::Cgroups;
use super::engines::{self, Look};
use super::hand::Hand;
use super::order::Tell;
use super::outbox::Outbox;
use super::room::{self, Places, Room};
use super::running::{News, Running};
use super::setup::Setup;
use super::tree;
use crate::config::job_type::JobType;
use crate::config::queue::{Queue, Terms};
use crate::decide::attempts::Token;
use crate::decide::leases::Leases;
use crate::decide::rest::Rest;
use crate::decide::size::of_memory;
use crate::probes::ability::{Ability, Looks};
use crate::probes::engine::Answer;
use crate::probes::gate::Watch;
use crate::probes::load;
use crate::probes::motion::Motion;
use crate::probes::witness;
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::store::Claimed;
use crate::queue::store::bell::{self, Rung};
use crate::report::exit::Exit;
use crate::report::runner::Standing;
use crate::sys::backoff::Backoff;
use crate::sys::clock::{asleep, boottime, millis};
use crate::sys::manager::{self, Manager};
use crate::sys::path_text;
use handling::Clearing;

/// The word that makes this program a runner.
pub const VERB: &str = "--run-jobs";

/// What a runner that is not a service is told by the first line of its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Where its queue is; it may hold a password.
    pub url: String,
    /// How long it may take for an answer.
    pub timeout: Duration,
    /// The certificates that its server's must come from.
    #[serde(with = "path_text::option")]
    pub ca_file: Option<PathBuf>,
    /// What it asks of its workers.
    pub terms: Terms,
    /// All else.
    pub setup: Setup,
}

/// A runner that is told what it is given, and ends with its standard input; its exit code.
#[must_use]
pub fn as_told() -> i32 {
    // by its own name it is no helper that has none yet
    let _ = rustix::thread::set_name(c"unwedge-runner");
    let mut line = String::new();
    let told: Option<Told> =
        std::io::stdin().read_line(&mut line).ok().and_then(|_| serde_json::from_str(&line).ok());
    let Some(Told { url, timeout, ca_file, terms, setup }) = told else { return 2 };
    let queue = Queue { ca_file, terms, ..Queue::at(&url, timeout) };
    match run(setup, queue, Around::default()).map(|it| it.end) {
        Ok(End::Asked | End::WorkedOff) => 0,
        Ok(End::Lost) => Exit::Lost.code().into(),
        Ok(End::TooOld(why)) | Err(Fault(why)) => {
            say(&why);
            1
        }
    }
}

/// How long what came of a job of a type that is taken many at a time waits for others.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long an answer is waited for once what runs is to end.
const HURRY: Duration = Duration::from_secs(2);

/// Why a runner ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// Nothing more could be claimed.
    WorkedOff,
    /// The queue knows it no more.
    Lost,
    /// The queue wants a later version, and says so in these words.
    TooOld(String),
}

/// That, and what it did.
#[derive(Debug)]
pub struct Ended {
    /// Why it ended.
    pub end: End,
    /// How many jobs it did.
    pub done: u64,
    /// How many tries of its failed.
    pub failed: u64,
}

/// Tells on how it stands.
pub type TellOn = Box<dyn FnMut(&Standing)>;
/// Reads the types anew, and how many of all at once; it is told those that there are.
pub type Reread = Box<dyn FnMut(&[JobType]) -> Result<(Vec<JobType>, u32), String>>;

/// What is around a runner that is a service.
#[derive(Default)]
pub struct Around {
    /// Who started it.
    pub manager: Option<Manager>,
    /// Cgroups that are its own.
    pub cgroups: Option<Cgroups>,
    /// Why it has none where it should have: what wants a limit is not taken then.
    pub no_limits: Option<String>,
    /// What a hang-up makes it do.
    pub reread: Option<Reread>,
    /// Where it tells how it stands, with each beat.
    pub tell: Option<TellOn>,
}

/// What a supervisor hears.
#[derive(Debug)]
pub enum Event {
    /// A helper tells something.
    Told(u64, Tell),
    /// A helper is gone.
    Gone(u64),
    /// The container of a job whose helper was lost is gone.
    Cleared(Token),
    /// It is asked to end.
    Stop,
    /// It is asked to read its types anew.
    Reread,
    /// What the queue tells by itself.
    Rung(Rung),
    /// Where there is room.
    Room(Room),
    /// A bucket answers, or why it does not.
    Bucket(String, Result<(), String>),
    /// An engine of containers answers, or why it does not.
    Engine(Vec<String>, Result<Answer, String>),
    /// How the processes of jobs stand; nothing where that cannot be told.
    Motions(Option<Vec<(Token, Motion)>>),
}

struct Runner {
    setup: Setup,
    types: Vec<Rc<JobType>>,
    abilities: BTreeMap<String, Ability>,
    looks_at_tools: Looks,
    around: Around,
    link: Link,
    lease: Duration,
    /// What no command in a container may see.
    private: Vec<String>,
    /// How much memory jobs may take, MiB, as far as they say how much they may.
    memory_mib: Option<u64>,
    id: String,
    running: BTreeMap<Token, Running>,
    /// What was handed out and is not begun yet.
    claimed: VecDeque<(Rc<JobType>, Claimed)>,
    /// Types of which jobs that no worker was lost with come first the next time.
    calm_first: BTreeSet<String>,
    /// When it was last asked how many processes the kernel has killed for memory, and how many that were.
    killed: (Duration, Option<u64>),
    /// Helpers that wait for a job.
    hands: Vec<Hand>,
    /// How many helpers there were.
    hands_made: u64,
    /// When what came of jobs is handed in at the latest.
    hand_in_due: Duration,
    /// What is watched on this host, as it was looked for in this turn.
    watch: Option<Watch>,
    outbox: Outbox,
    /// Whether something is about to be handed in that may close the lane of what waits to be begun.
    asks_for_lane: bool,
    /// Jobs whose helper could not be killed: they stay ours, so that nobody begins them beside it, until it has ended.
    stuck: BTreeMap<Token, Running>,
    /// Jobs whose helper was lost and whose container is being taken away: nobody begins them beside that either.
    clearing: BTreeMap<Token, Clearing>,
    leases: Leases,
    events: Receiver<Event>,
    send: Sender<Event>,
    done: u64,
    failed: u64,
    /// Why it ends, where the queue has come to want a later version.
    too_old: Option<String>,
    /// The mark of the queue (`Store::mark`) that knows it; none as long as none does.
    entered: Option<String>,
    /// Whether the last claim left nothing that could be claimed.
    is_worked_off: bool,
    /// The type that is claimed first the next time.
    turn: usize,
    beat_due: Duration,
    sweep_due: Duration,
    /// Since when something of a worker that is gone has been seen to end still.
    ending_since: Option<Duration>,
    poll_due: Duration,
    /// When it may begin to take work at all.
    not_before: Duration,
    tools_due: Duration,
    /// How long the host has slept, as far as that is known.
    asleep: Duration,
    probe_due: Duration,
    ping_due: Duration,
    /// From when on it takes no more, and when it ends what still runs.
    stopping: Option<Duration>,
    /// Why it does not hear when jobs come.
    deaf: Option<String>,
    /// Where there is room; none before that was looked at.
    room: Option<Room>,
    /// Storage of this host, as the gate calls it, that a job has found gone, and when: closed until a round has begun after that.
    doubts: BTreeMap<String, Duration>,
    /// The jobs that found it so and went back for that.
    doubters: BTreeSet<i64>,
    /// What buckets were last found to be; those that are not in it were not asked yet.
    buckets: BTreeMap<String, Result<(), String>>,
    /// What engines of containers were last found to be; those that are not in it were not asked yet.
    engines: BTreeMap<Vec<String>, Result<Answer, String>>,
    /// For whoever asks them.
    looks: Sender<Look>,
    /// For whoever looks whether jobs move, and whether that one is at it.
    roots: Sender<watching::Roots>,
    is_looking: bool,
    /// Where the types write, and whoever looks at the room there.
    places: Places,
    rooms: Sender<Places>,
    /// What is watched there and has opened since that was looked at.
    unseen: BTreeSet<String>,
    /// When the queue is told again what it can take, where it was not heard.
    retype_due: Duration,
    /// How types fare here whose last tries failed for what is around them, or could not be begun.
    rests: BTreeMap<String, Rest>,
    said: BTreeMap<&'static str, String>,
}

/// Works until it is asked to end, by a signal or, where it is no service, by the end of its input.
///
/// # Errors
/// It could not begin.
pub fn run(setup: Setup, queue: Queue, around: Around) -> Result<Ended, Fault> {
    let io = |what: &str, error: std::io::Error| Fault(format!("{what}: {error}"));
    tree::adopt().map_err(|error| io("become a subreaper", error))?;
    let id = witness::own().map_err(|error| io("tell this process from others", error))?;
    let (send, events) = mpsc::channel();
    listen(&send, around.manager.is_none(), around.reread.is_some())
        .map_err(|error| io("listen to signals", error))?;
    let (rung, rings) = (queue.clone(), send.clone());
    std::thread::Builder::new()
        .name("bell".to_owned())
        .spawn(move || {
            bell::listen(&rung, &mut |news| rings.send(Event::Rung(news)).is_ok());
        })
        .map_err(|error| io("listen to the queue", error))?;
    let (rooms, wanted) = mpsc::channel();
    let (told, full) = (setup.clone(), send.clone());
    std::thread::Builder::new()
        .name("room".to_owned())
        .spawn(move || room::watch(&told, &wanted, &full))
        .map_err(|error| io("look at the room", error))?;
    let (looks, wanted) = mpsc::channel();
    let (worker, said) = (id.clone(), send.clone());
    std::thread::Builder::new()
        .name("engines".to_owned())
        .spawn(move || engines::watch(&worker, &wanted, &said))
        .map_err(|error| io("look at engines of containers", error))?;
    let (roots, wanted) = mpsc::channel();
    let seen = send.clone();
    std::thread::Builder::new()
        .name("motion".to_owned())
        .spawn(move || watching::look(&wanted, &seen))
        .map_err(|error| io("look whether jobs move", error))?;
    watch_buckets(&setup, &queue, &send).map_err(|error| io("look at a bucket", error))?;
    let wires = Wires { events, send, looks, roots, rooms };
    let mut runner = Runner::new(setup, queue, around, id, wires);
    runner.tell_places();
    let end = runner.work()?;
    Ok(Ended { end, done: runner.done, failed: runner.failed })
}

/// What it hears by, and whoever looks at something for it.
struct Wires {
    events: Receiver<Event>,
    send: Sender<Event>,
    looks: Sender<Look>,
    roots: Sender<watching::Roots>,
    rooms: Sender<Places>,
}

impl Runner {
    /// One that has begun nothing yet.
    fn new(setup: Setup, queue: Queue, around: Around, id: String, wires: Wires) -> Self {
        let Wires { events, send, looks, roots, rooms } = wires;
        let now = boottime();
        Self {
            lease: queue.terms.lease,
            private: setup.private(&queue),
            memory_mib: load::memory_mib().map(of_memory),
            link: Link::to(queue),
            outbox: Outbox::open(setup.keep_dir.clone(), &id),
            types: with_smoke(setup.types.iter().cloned()),
            abilities: BTreeMap::new(),
            looks_at_tools: Looks::default(),
            around,
            id,
            running: BTreeMap::new(),
            claimed: VecDeque::new(),
            calm_first: BTreeSet::new(),
            killed: (Duration::ZERO, None),
            hands: Vec::new(),
            hands_made: 0,
            hand_in_due: Duration::MAX,
            watch: None,
            asks_for_lane: false,
            stuck: BTreeMap::new(),
            clearing: BTreeMap::new(),
            leases: Leases::default(),
            events,
            send,
            done: 0,
            failed: 0,
            too_old: None,
            entered: None,
            is_worked_off: false,
            turn: 0,
            // until then most have found their queue
            beat_due: boottime() + setup.numbers.beat,
            sweep_due: Duration::ZERO,
            ending_since: None,
            not_before: now + setup.wait,
            poll_due: now + setup.wait,
            tools_due: Duration::ZERO,
            asleep: asleep(),
            probe_due: now + setup.numbers.sweep,
            ping_due: Duration::ZERO,
            stopping: None,
            deaf: None,
            room: None,
            doubts: BTreeMap::new(),
            doubters: BTreeSet::new(),
            buckets: BTreeMap::new(),
            engines: BTreeMap::new(),
            looks,
            roots,
            is_looking: false,
            places: Places::new(),
            rooms,
            unseen: BTreeSet::new(),
            retype_due: Duration::MAX,
            rests: BTreeMap::new(),
            said: BTreeMap::new(),
            setup,
        }
    }
}

/// Tells on what each bucket is found to be.
fn watch_buckets(setup: &Setup, queue: &Queue, send: &Sender<Event>) -> std::io::Result<()> {
    for bucket in setup.buckets.clone() {
        let (answers, every) = (send.clone(), setup.numbers.sweep);
        let again = Backoff::new(queue.terms.reconnect.first, queue.terms.reconnect.most);
        std::thread::Builder::new()
            .name("bucket".to_owned())
            .spawn(move || buckets::watch(&bucket, every, again, &answers))?;
    }
    Ok(())
}

/// A stop comes as a signal, or as the end of the standard input; a hang-up asks for the types.
fn listen(send: &Sender<Event>, by_input: bool, by_hang_up: bool) -> std::io::Result<()> {
    let spawn = |name: &str, deed: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(deed).map(drop)
    };
    let mut stop = manager::stop()?;
    let by_signal = send.clone();
    spawn(
        "signals",
        Box::new(move || {
            let mut byte = [0];
            let _ = stop.read(&mut byte);
            let _ = by_signal.send(Event::Stop);
        }),
    )?;
    if by_hang_up {
        let mut hang_up = manager::hang_up()?;
        let send = send.clone();
        spawn(
            "hang-ups",
            Box::new(move || {
                let mut byte = [0];
                while hang_up.read_exact(&mut byte).is_ok() && send.send(Event::Reread).is_ok() {}
            }),
        )?;
    }
    if by_input {
        let send = send.clone();
        spawn(
            "input",
            Box::new(move || {
                let mut rest = Vec::new();
                let _ = std::io::stdin().read_to_end(&mut rest);
                let _ = send.send(Event::Stop);
            }),
        )?;
    }
    Ok(())
}

impl Runner {
    fn work(&mut self) -> Result<End, Fault> {
        loop {
            let now = boottime();
            self.watch = None;
            self.ping(now);
            if let Some(why) = self.link.broken().cloned() {
                // nothing that ends can be written down any more
                self.end_all();
                return Err(why);
            }
            if self.stopping.is_some_and(|since| since <= now) {
                // before anything is asked: what runs has no more time, whether the queue answers or not
                self.stop_running(true, now);
                self.link.hurry(HURRY);
            }
            if self.tools_due <= now && self.stopping.is_none() {
                self.look_for_tools(now);
            }
            if self.entered.is_none() {
                // what waits to be handed in is lost to whoever finds its worker gone first
                self.link.holds(!self.outbox.is_empty());
                if self.stopping.is_some() {
                    return Ok(End::Asked);
                }
                if self.beat_due <= now {
                    self.tell("waiting", false);
                    self.beat_due = now + self.setup.numbers.beat;
                }
                if self.knows_engines()
                    && let Some(why) = self.enter(now)
                {
                    return Ok(End::TooOld(why));
                }
            }
            if self.entered.is_some()
                && let Some(end) = self.turn(now)
            {
                return Ok(end);
            }
            self.wake();
            self.kill_overdue(now);
            self.wait(now);
        }
    }

    /// Adds the time that the host has slept to what jobs may take.
    fn wake(&mut self) {
        /// Less is what lies between two looks at clocks.
        const SLEEP: Duration = Duration::from_secs(1);
        let slept = asleep().saturating_sub(self.asleep);
        if slept >= SLEEP {
            self.asleep += slept;
            self.running.values_mut().for_each(|it| it.slept(slept));
        }
    }

    /// One turn of a runner that the queue knows; why it ends, if it does.
    fn turn(&mut self, now: Duration) -> Option<End> {
        if self.beat_due <= now && !self.beat(now) {
            self.end_all();
            return Some(End::Lost);
        }
        let has_some =
            !(self.running.is_empty() && self.claimed.is_empty() && self.clearing.is_empty());
        self.link.holds(has_some || !self.outbox.is_empty());
        self.deliver(now);
        self.place_ready();
        if self.retype_due <= now {
            self.retype();
        }
        if self.sweep_due <= now {
            self.sweep(now);
        }
        if self.stopping.is_none() && self.poll_due.max(self.not_before) <= now {
            self.claim(now);
        }
        let nothing_left = self.outbox.is_empty() && self.clearing.is_empty();
        let is_idle = self.running.is_empty();
        if self.setup.once
            && self.is_worked_off
            && is_idle
            && nothing_left
            && self.stopping.is_none()
        {
            self.leave();
            return Some(End::WorkedOff);
        }
        let since = self.stopping?;
        // what cannot be handed in is on disk, if it may be kept there at all
        let patience = since + self.setup.numbers.grace;
        if is_idle && (nothing_left || now >= patience) {
            self.leave();
            return Some(self.too_old.take().map_or(End::Asked, End::TooOld));
        }
        None
    }

    /// A sign of life for whoever started it: only a turn that came to its end gives one.
    fn ping(&mut self, now: Duration) {
        let Some(manager) = &self.around.manager else { return };
        if self.ping_due <= now {
            manager.tell("WATCHDOG=1");
            if self.entered.is_none() {
                // the queue may be away for long, and that is no reason to begin anew
                manager.tell("EXTEND_TIMEOUT_USEC=180000000");
            }
            let every = manager.ping_every().unwrap_or(Duration::from_secs(60));
            self.ping_due = now + every.min(Duration::from_secs(60));
        }
    }

    fn wait(&mut self, now: Duration) {
        let mut due = if self.entered.is_some() {
            self.beat_due.min(self.sweep_due)
        } else {
            self.link.due().max(now + Duration::from_millis(10)).min(self.beat_due)
        };
        if self.around.manager.is_some() {
            due = due.min(self.ping_due);
        }
        if self.stopping.is_some() {
            due = due.min(now + Duration::from_millis(100));
        } else if self.entered.is_some() {
            due = due.min(self.poll_due.max(self.not_before));
        }
        due = due.min(self.retype_due);
        if self.stopping.is_none() {
            due = due.min(self.tools_due);
        }
        if !self.outbox.is_empty() {
            due = due.min(self.link.due().max(self.hand_in_due));
        }
        for running in self.running.values() {
            due = due.min(running.over_at());
            if running.ready.is_some() {
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
            Event::Stop => self.drain(),
            Event::Reread => self.reread(),
            Event::Rung(Rung::Jobs) => {
                // where it is full, the next end says when
                if self.poll_due < Duration::MAX {
                    self.poll_due = self.poll_due.min(self.not_before);
                }
            }
            Event::Room(room) => self.hear_room(&room),
            Event::Bucket(name, said) => self.hear_bucket(&name, &said),
            Event::Engine(engine, said) => self.hear_engine(engine, &said),
            Event::Motions(seen) => self.hear_motions(seen),
            Event::Rung(Rung::Hears) => self.deaf = None,
            Event::Rung(Rung::Deaf(why)) => {
                self.trouble("bell", &format!("jobs are looked for now and then alone: {why}"));
                self.deaf = Some(why);
            }
            Event::Told(hand, told) => {
                let Some(token) = self.at(hand) else { return };
                let Some(running) = self.running.get_mut(&token) else { return };
                match running.hear(told) {
                    News::Nothing => {}
                    News::Ready(mark) => self.place(token, mark),
                    News::Over => self.over(token, true),
                }
            }
            Event::Gone(hand) => {
                if let Some(nth) = self.hands.iter().position(|it| it.nth == hand) {
                    self.hands.remove(nth).bury();
                }
                if let Some(token) = self.at(hand) {
                    self.over(token, false);
                }
                self.unstick(hand);
            }
            Event::Cleared(token) => self.cleared(token),
        }
    }

    /// Takes no more; what runs has its time to end.
    fn drain(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let running = self.running.len();
        if running > 0 {
            say(&format!("asked to end: no more is taken, {running} still run"));
        }
        if let Some(manager) = &self.around.manager {
            manager.tell("STOPPING=1");
        }
        self.give_back(|_, _| true);
        let drain = self.setup.numbers.drain;
        self.stopping = Some(boottime() + drain);
        // a queue that is mute does not keep it from ending what runs
        self.link.hurry(HURRY.max(drain / 10));
        self.beat_due = self.beat_due.min(boottime());
    }

    fn leave(&mut self) {
        if !(self.stuck.is_empty() && self.clearing.is_empty()) {
            return say("it does not leave the queue: what cannot be ended is still its own");
        }
        // what is on disk is handed in by who comes next, in this one's name
        if !self.outbox.is_empty() {
            return;
        }
        let id = self.id.clone();
        if let Err(Fault(why)) = self.link.ask(move |store| store.leave(&id)) {
            say(&format!("leave the queue: {why}; it is found out by others"));
        }
    }

    /// Ends all that runs, and writes nothing of it: it is somebody else's.
    fn end_all(&mut self) {
        let now = boottime();
        // nor is any of it begun
        self.claimed.clear();
        self.stop_running(false, now);
        let last = now + self.setup.numbers.grace + Duration::from_secs(8);
        while !self.running.is_empty() && boottime() < last {
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => self.hear(event),
                Err(_) => self.kill_overdue(boottime()),
            }
        }
        tree::kill_all(Duration::from_secs(5));
    }

    /// Says what is wrong with something, once while it lasts.
    fn trouble(&mut self, what: &'static str, why: &str) {
        if self.said.get(what).is_none_or(|said| said != why) {
            say(why);
            self.said.insert(what, why.to_owned());
        }
    }

    /// Says so where it was said that it does not.
    fn queue_answers(&mut self) {
        if self.said.remove("queue").is_some() {
            say("the queue answers again");
        }
    }
}

/// These types, and the one that every runner knows.
fn with_smoke(types: impl Iterator<Item = JobType>) -> Vec<Rc<JobType>> {
    types.chain([JobType::smoke()]).map(Rc::new).collect()
}

/// How these types are run.
#[must_use]
pub fn mode_of<'a>(types: impl Iterator<Item = &'a JobType> + Clone) -> &'static str {
    let own = types.filter(|kind| !kind.is_smoke());
    let inside = own.clone().filter(|kind| kind.container.is_some()).count();
    match inside {
        0 => "direct",
        all if all == own.count() => "container",
        _ => "direct and container",
    }
}

/// The names of types.
#[must_use]
pub fn names<'a>(types: impl Iterator<Item = &'a JobType>) -> String {
    let told = types.filter(|kind| !kind.is_smoke());
    let names: Vec<&str> = told.map(|kind| kind.name.as_str()).collect();
    if names.is_empty() { "no types".to_owned() } else { names.join(", ") }
}

/// One line for whoever reads along.
pub fn say(what: &str) {
    crate::report::out::complain(&format!("unwedge-runner: {what}"));
}

/// From 0 to 1, and nothing to be relied on.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}
