//! The supervisor: claims jobs, has a helper for each, beats for all of them in one statement, takes over what other
//! workers have left, and writes down how each try ended. It does one thing at a time and waits for the next in one
//! place; nothing it does touches the storage of a job.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Read as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::ability::{self, Ability};
use super::cgroup::Cgroups;
use super::container;
use super::hand::Hand;
use super::link::{Link, RETRY_HOLDING};
use super::order::{Order, Report, Tell};
use super::outbox::Outbox;
use super::room::{self, Places};
use super::running::{HELPER_END, News, Running};
use super::setup::Setup;
use super::tree;
use crate::config::container::Container;
use crate::config::job_type::JobType;
use crate::config::queue::Queue;
use crate::decide::attempts::{self, Class, Limits, Outcome, Token, Used};
use crate::decide::leases::{Leases, Patience, Seen};
use crate::probes::witness::{self, Fate};
use crate::probes::{gate, load, records};
use crate::queue::Fault;
use crate::queue::store::bell::{self, Rung};
use crate::queue::store::{
    Ask, Beat, Claimed, Ending, Heard, Load, NewWorker, Registered, Store, TypeMark,
};
use crate::sys::clock::boottime;
use crate::sys::manager::{self, Manager};
use crate::sys::text;

/// The word that makes this program a runner.
pub const VERB: &str = "--run-jobs";

/// What a runner that is not a service is told by the first line of its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Where its queue is; it may hold a password.
    pub url: String,
    /// How long the queue may take for an answer.
    pub timeout: Duration,
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
    let Some(Told { url, timeout, setup }) = told else { return 2 };
    match run(setup, Queue::at(&url, timeout), Around::default()) {
        Ok(End::Asked | End::WorkedOff) => 0,
        Ok(End::Lost) => LOST,
        Ok(End::TooOld(why)) | Err(Fault(why)) => {
            say(&why);
            1
        }
    }
}

/// How long what came of a job of a type that is taken many at a time waits for others.
const TOGETHER: Duration = Duration::from_millis(50);

/// The exit code of one that the queue knows no more.
pub const LOST: i32 = 3;

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

/// How it stands, for whoever tells it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Jobs at work.
    pub running: usize,
    /// Done since its start.
    pub done: u64,
    /// Tries that were no success.
    pub failed: u64,
    /// Whether the queue answered last.
    pub has_queue: bool,
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
    /// It is asked to end.
    Stop,
    /// It is asked to read its types anew.
    Reread,
    /// What the queue tells by itself.
    Rung(Rung),
    /// The types that there is no room for, and why.
    Room(BTreeMap<String, String>),
}

struct Runner {
    setup: Setup,
    types: Vec<Rc<JobType>>,
    abilities: BTreeMap<String, Ability>,
    around: Around,
    link: Link,
    lease: Duration,
    id: String,
    /// What tells scratch files of this queue from those of another.
    mark: String,
    running: BTreeMap<Token, Running>,
    /// What was handed out and is not begun yet.
    claimed: VecDeque<(Rc<JobType>, Claimed)>,
    /// Helpers that wait for a job.
    hands: Vec<Hand>,
    /// How many helpers there were.
    hands_made: u64,
    /// When what came of jobs is handed in at the latest.
    hand_in_due: Duration,
    outbox: Outbox,
    /// Jobs whose helper could not be killed: they stay ours, so that nobody begins them beside it.
    stuck: Vec<Token>,
    leases: Leases,
    events: Receiver<Event>,
    send: Sender<Event>,
    done: u64,
    failed: u64,
    /// Whether the queue knows it.
    is_entered: bool,
    /// Whether the last claim left nothing that could be claimed.
    is_worked_off: bool,
    /// The type that is claimed first the next time.
    turn: usize,
    beat_due: Duration,
    sweep_due: Duration,
    poll_due: Duration,
    /// When it may begin to take work at all.
    not_before: Duration,
    tools_due: Duration,
    probe_due: Duration,
    ping_due: Duration,
    /// From when on it takes no more, and when it ends what still runs.
    stopping: Option<Duration>,
    /// Why it does not hear when jobs come.
    deaf: Option<String>,
    /// The types that there is no room for; none before that was looked at.
    full: Option<BTreeMap<String, String>>,
    /// Where the types write, for whoever looks at the room there.
    places: Sender<Places>,
    said: BTreeMap<&'static str, String>,
}

/// Works until it is asked to end, by a signal or, where it is no service, by the end of its input.
///
/// # Errors
/// It could not begin.
pub fn run(setup: Setup, queue: Queue, around: Around) -> Result<End, Fault> {
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
    let (places, wanted) = mpsc::channel();
    let (floor, run_dir, full) = (setup.numbers.floor, setup.run_dir.clone(), send.clone());
    std::thread::Builder::new()
        .name("room".to_owned())
        .spawn(move || room::watch(floor, &run_dir, &wanted, &full))
        .map_err(|error| io("look at the room", error))?;
    let place = match &queue.database {
        crate::config::queue::Database::Url(url) => url.0.clone(),
        crate::config::queue::Database::UrlFile(path) => text::path(path),
    };
    let now = boottime();
    let mut runner = Runner {
        mark: records::digest(place.as_bytes()).chars().take(6).collect(),
        lease: queue.lease,
        link: Link::to(queue),
        outbox: Outbox::open(setup.keep_dir.clone(), &id),
        types: with_smoke(setup.types.iter().cloned()),
        abilities: BTreeMap::new(),
        around,
        id,
        running: BTreeMap::new(),
        claimed: VecDeque::new(),
        hands: Vec::new(),
        hands_made: 0,
        hand_in_due: Duration::MAX,
        stuck: Vec::new(),
        leases: Leases::default(),
        events,
        send,
        done: 0,
        failed: 0,
        is_entered: false,
        is_worked_off: false,
        turn: 0,
        beat_due: Duration::ZERO,
        sweep_due: Duration::ZERO,
        not_before: now + setup.wait,
        poll_due: now + setup.wait,
        tools_due: Duration::ZERO,
        probe_due: now + setup.numbers.sweep,
        ping_due: Duration::ZERO,
        stopping: None,
        deaf: None,
        full: None,
        places,
        said: BTreeMap::new(),
        setup,
    };
    runner.tell_places();
    runner.work()
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
            self.ping(now);
            if self.tools_due <= now {
                self.look_for_tools(now);
            }
            if !self.is_entered {
                if self.stopping.is_some() {
                    return Ok(End::Asked);
                }
                if let Some(why) = self.enter(now) {
                    return Ok(End::TooOld(why));
                }
            }
            if self.is_entered
                && let Some(end) = self.turn(now)
            {
                return Ok(end);
            }
            self.kill_overdue(now);
            self.wait(now);
        }
    }

    /// One turn of a runner that the queue knows; why it ends, if it does.
    fn turn(&mut self, now: Duration) -> Option<End> {
        if self.beat_due <= now && !self.beat(now) {
            self.end_all();
            return Some(End::Lost);
        }
        let has_some = !self.running.is_empty() || !self.claimed.is_empty();
        self.link.holds(has_some || !self.outbox.is_empty());
        self.deliver(now);
        self.place_ready();
        if self.sweep_due <= now {
            self.sweep(now);
        }
        if self.stopping.is_none() && self.poll_due <= now {
            self.claim(now);
        }
        let nothing_left = self.running.is_empty() && self.outbox.is_empty();
        if self.setup.once && self.is_worked_off && nothing_left && self.stopping.is_none() {
            self.leave();
            return Some(End::WorkedOff);
        }
        let since = self.stopping?;
        // what cannot be handed in is on disk, if it may be kept there at all
        let patience = since + self.setup.numbers.grace;
        if self.running.is_empty() && (self.outbox.is_empty() || now >= patience) {
            self.leave();
            return Some(End::Asked);
        }
        if now >= since {
            self.stop_running(now);
        }
        None
    }

    /// A sign of life for whoever started it: only a turn that came to its end gives one.
    fn ping(&mut self, now: Duration) {
        let Some(manager) = &self.around.manager else { return };
        if self.ping_due <= now {
            manager.tell("WATCHDOG=1");
            if !self.is_entered {
                // the queue may be away for long, and that is no reason to begin anew
                manager.tell("EXTEND_TIMEOUT_USEC=180000000");
            }
            let every = manager.ping_every().unwrap_or(Duration::from_secs(60));
            self.ping_due = now + every.min(Duration::from_secs(60));
        }
    }

    /// Makes itself known. What workers before have left on this host is handed in first: they are about to be found
    /// gone, and their results would be refused. Why not, where the queue wants no worker of this version.
    fn enter(&mut self, now: Duration) -> Option<String> {
        if self.link.due() > now {
            return None;
        }
        self.deliver(now);
        if self.link.due() > now {
            return None;
        }
        let (types, lacks) = self.marks();
        let worker = NewWorker {
            id: self.id.clone(),
            host: witness::host(),
            unit: self.setup.unit.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.mode().to_owned(),
            types,
            lacks,
            open: self.open(),
            cpus: std::thread::available_parallelism()
                .ok()
                .and_then(|it| u32::try_from(it.get()).ok()),
        };
        match self.link.ask(move |store| store.register(&worker)) {
            Ok(Registered::TooOld { least }) => {
                return Some(format!(
                    "this queue wants workers of version {least} or later, and this one is {}: install that and start it again",
                    env!("CARGO_PKG_VERSION")
                ));
            }
            Ok(Registered::Entered) => {
                self.is_entered = true;
                self.said.remove("queue");
                self.beat_due = now;
                if let Some(manager) = &self.around.manager {
                    manager.tell("READY=1");
                }
            }
            Err(Fault(why)) => self.trouble("queue", &why),
        }
        None
    }

    /// How it runs jobs.
    fn mode(&self) -> &'static str {
        let own = self.types.iter().filter(|kind| !kind.is_smoke());
        let inside = own.clone().filter(|kind| kind.container.is_some()).count();
        match inside {
            0 => "direct",
            all if all == own.count() => "container",
            _ => "direct and container",
        }
    }

    /// What is open on this host now.
    fn open(&self) -> Vec<String> {
        gate::open_keys(&self.setup.run_dir, self.setup.keep_dir.as_deref())
    }

    /// What it can take, and what not.
    fn marks(&self) -> (BTreeMap<String, TypeMark>, BTreeMap<String, String>) {
        let (mut types, mut lacks) = (BTreeMap::new(), BTreeMap::new());
        let told = |kind: &&Rc<JobType>| kind.concurrency != Some(0) && !kind.is_smoke();
        for kind in self.types.iter().filter(told) {
            if let Some(Ability::None(programs)) = self.abilities.get(&kind.name) {
                lacks.insert(kind.name.clone(), format!("none of {programs} is there"));
                continue;
            }
            if let Some(why) = self.full.as_ref().and_then(|full| full.get(&kind.name)) {
                lacks.insert(kind.name.clone(), format!("no room: {why}"));
                continue;
            }
            let first_tier = kind.tiers.first().map(|tier| tier.name.clone()).unwrap_or_default();
            let uses = match self.abilities.get(&kind.name) {
                Some(Ability::Other(tier)) => tier.clone(),
                Some(Ability::First | Ability::None(_)) | None => first_tier.clone(),
            };
            types.insert(kind.name.clone(), TypeMark { digest: kind.digest(), first_tier, uses });
        }
        (types, lacks)
    }

    /// Which tools are here now; and containers that nobody watches any more are taken away.
    fn look_for_tools(&mut self, now: Duration) {
        self.tools_due = now + self.setup.numbers.tools;
        let mut engines: Vec<Container> =
            self.types.iter().filter_map(|kind| kind.container.clone()).collect();
        engines.sort_by(|a, b| a.engine.cmp(&b.engine));
        engines.dedup_by(|a, b| a.engine == b.engine);
        if !engines.is_empty() {
            // an engine may take its time, and nobody waits for it
            std::thread::spawn(move || engines.iter().for_each(container::remove_orphans));
        }
        let Some(found) = ability::look(self.types.iter().map(Rc::as_ref)) else {
            return self
                .trouble("tools", "the programs of the types cannot be looked for: no answer");
        };
        if found == self.abilities {
            return;
        }
        for (name, ability) in &found {
            if let (Ability::None(programs), true) =
                (ability, self.abilities.get(name) != Some(ability))
            {
                say(&format!(
                    "{name}: none of its programs is here ({programs}); its jobs are left to others"
                ));
            }
        }
        self.abilities = found;
        self.retype();
    }

    /// Tells whoever looks at the room where the types write.
    fn tell_places(&mut self) {
        let dir = &self.setup.dir;
        let place = |kind: &Rc<JobType>| Some((kind.name.clone(), kind.output_root(dir)?));
        let places = self.types.iter().filter_map(place).collect();
        self.full = None;
        // one that is gone tells no more, and what is not known is closed
        let _ = self.places.send(places);
    }

    /// Hears for which types there is no room.
    fn hear_room(&mut self, full: &BTreeMap<String, String>) {
        if self.full.as_ref() == Some(full) {
            return;
        }
        let before = self.full.replace(full.clone()).unwrap_or_default();
        for (kind, why) in full.iter().filter(|(kind, _)| !before.contains_key(*kind)) {
            say(&format!("{kind}: no room for what it writes, and nothing of it is taken: {why}"));
        }
        for kind in before.keys().filter(|kind| !full.contains_key(*kind)) {
            say(&format!("{kind}: there is room again"));
        }
        if *full != before {
            self.retype();
        }
        self.poll_due = self.poll_due.min(self.not_before);
    }

    /// Tells the queue what it can take from now on.
    fn retype(&mut self) {
        if !self.is_entered {
            return;
        }
        let (types, lacks) = self.marks();
        let id = self.id.clone();
        // where the queue knows it no more, the next beat finds out
        if let Err(Fault(why)) = self.link.ask(move |store| store.retype(&id, &types, &lacks)) {
            self.trouble("queue", &why);
            self.tools_due = self.link.due();
            self.abilities.clear();
        }
        self.sweep_due = Duration::ZERO;
        self.poll_due = self.poll_due.min(boottime());
    }

    /// Takes types that were read anew; of a file that is wrong, those it had.
    fn reread(&mut self) {
        let Some(reread) = &mut self.around.reread else { return };
        let own = self.types.iter().filter(|kind| !kind.is_smoke());
        let had: Vec<JobType> = own.map(|kind| JobType::clone(kind)).collect();
        match reread(&had) {
            Ok((types, slots)) => {
                let all = with_smoke(types.into_iter());
                say(&format!("types read anew: {}", names(all.iter().map(Rc::as_ref))));
                (self.types, self.setup.slots) = (all, slots);
                self.abilities.clear();
                self.tools_due = Duration::ZERO;
                self.tell_places();
                // also where all tools are as they were, the types may not be
                if let Some(found) = ability::look(self.types.iter().map(Rc::as_ref)) {
                    self.abilities = found;
                }
                self.retype();
            }
            Err(why) => say(&format!("{why}; all types stay as they were")),
        }
    }

    /// Renews the lease of all it has; false where the queue knows it no more.
    fn beat(&mut self, now: Duration) -> bool {
        let (id, done, failed) = (self.id.clone(), self.done, self.failed);
        let state = match (self.stopping, self.running.is_empty()) {
            (Some(_), _) => "draining",
            (None, true) => "idle",
            (None, false) => "busy",
        };
        let (load_milli, memory_mib) = load::now();
        let step = self.step();
        let progress: Vec<(Token, String)> = self
            .running
            .iter()
            .filter_map(|(token, it)| {
                it.progress.as_ref().map(|(text, known)| (token, text, known))
            })
            .filter(|(_, _, known)| !**known)
            .map(|(token, text, _)| (*token, text.clone()))
            .collect();
        let told: Vec<Token> = progress.iter().map(|(token, _)| *token).collect();
        let (open, deaf) = (self.open(), self.deaf.clone());
        let heard = self.link.ask(move |store| {
            let (load, step) = (Load { load_milli, memory_mib }, step.as_deref());
            let (progress, open, deaf) = (progress.as_slice(), open.as_slice(), deaf.as_deref());
            store.beat(&Beat { worker: &id, state, step, done, failed, load, progress, open, deaf })
        });
        self.beat_due = now + self.setup.numbers.beat;
        let standing =
            Standing { running: self.running.len(), done, failed, has_queue: heard.is_ok() };
        if let Some(tell) = &mut self.around.tell {
            tell(&standing);
        }
        if let Some(manager) = &self.around.manager {
            let queue = if heard.is_ok() { "" } else { "; the queue is away" };
            manager.tell(&format!(
                "STATUS={} at work, {done} done, {failed} failed{queue}",
                standing.running
            ));
        }
        match heard {
            Ok(Some(Heard { held, is_asked_to_stop })) => {
                if is_asked_to_stop {
                    self.drain();
                }
                for token in told {
                    if let Some(Running { progress: Some((_, known)), .. }) =
                        self.running.get_mut(&token)
                    {
                        *known = true;
                    }
                }
                let ours =
                    |token: &Token| held.iter().any(|it| it.token == *token && !it.is_cancelled);
                // what was called off before it was begun goes back, and is cancelled by that
                let (keep, off) = std::mem::take(&mut self.claimed)
                    .into_iter()
                    .partition::<VecDeque<_>, _>(|(_, it)| ours(&it.token));
                self.claimed = keep;
                for (_, it) in off {
                    self.note(Ending::given_back(it.token), Duration::ZERO);
                }
                let lost: Vec<Token> =
                    self.running.keys().filter(|token| !ours(token)).copied().collect();
                // handed out in an answer that never came: nothing was begun
                let known = |token: &Token| {
                    self.running.contains_key(token)
                        || self.claimed.iter().any(|(_, it)| it.token == *token)
                        || self.stuck.contains(token)
                        || self.outbox.has(*token)
                };
                let unknown: Vec<Token> =
                    held.iter().map(|it| it.token).filter(|token| !known(token)).collect();
                for token in unknown {
                    self.note(Ending::given_back(token), Duration::ZERO);
                }
                for token in lost {
                    say(&format!(
                        "job {}: it is somebody else's, or was called off: ended here",
                        token.id
                    ));
                    self.stop_one(token, now);
                }
                true
            }
            Ok(None) => {
                say("the queue knows this worker no more: what it had is somebody else's");
                false
            }
            Err(Fault(why)) => {
                // whoever cannot hear has heard no silence
                self.leases.was_deaf();
                self.trouble("queue", &why);
                true
            }
        }
    }

    /// What it does just now, in a few words.
    fn step(&self) -> Option<String> {
        let (token, first) = self.running.iter().next()?;
        let progress =
            first.progress.as_ref().map(|(text, _)| format!(", {text}")).unwrap_or_default();
        let more = match self.running.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!("{} job {}{progress}{more}", first.kind.name, token.id))
    }

    /// Looks at the other workers: whose lease is over loses what it has.
    fn sweep(&mut self, now: Duration) {
        let numbers = self.setup.numbers;
        self.sweep_due = now + numbers.sweep;
        // what could not be killed when its job ended may have ended since
        tree::reap_strays(&self.helpers());
        if let Some(cgroups) = &self.around.cgroups {
            let known: Vec<Token> = self.running.keys().chain(&self.stuck).copied().collect();
            cgroups.sweep(&known);
        }
        let seen = match self.link.ask(Store::workers) {
            Ok(seen) => seen,
            Err(Fault(why)) => {
                self.leases.was_deaf();
                return self.trouble("queue", &why);
            }
        };
        let others: Vec<Seen> = seen.into_iter().filter(|it| it.id != self.id).collect();
        let patience = Patience { lease: self.lease, proof: RETRY_HOLDING + numbers.beat * 3 };
        let mut gone = self.leases.look(&others, now, patience);
        // of a process of this very host it is known, and need not be waited for
        for other in others {
            match witness::fate(&other.id) {
                Fate::Unknown => {}
                // whoever takes its jobs now would begin them beside what is still at them
                Fate::Ending => self.sweep_due = now + Duration::from_millis(250),
                Fate::Gone => gone.push(other),
            }
        }
        gone.sort_by(|a, b| a.id.cmp(&b.id));
        gone.dedup_by(|a, b| a.id == b.id);
        let ids: Vec<String> = gone.iter().map(|it| it.id.clone()).collect();
        let id = self.id.clone();
        let swept = self.link.ask(move |store| {
            let back = store.bury(&gone, numbers.rescues)?;
            Ok((back, store.adopt(&id)?))
        });
        match swept {
            Ok((back, differ)) => {
                if !ids.is_empty() || !back.is_empty() {
                    say(&format!("gone: {}; {} jobs given back", ids.join(", "), back.len()));
                    self.poll_due = self.poll_due.min(now);
                }
                match differ.as_slice() {
                    [] => drop(self.said.remove("types")),
                    differ => self.trouble(
                        "types",
                        &format!(
                            "{}: other workers have another definition; nothing of it is taken here until all have the same",
                            differ.join(", ")
                        ),
                    ),
                }
            }
            Err(Fault(why)) => self.trouble("queue", &why),
        }
    }

    fn claim(&mut self, now: Duration) {
        // what is not known is closed, and whoever finds it out asks for the next look
        let Some(full) = self.full.clone() else {
            self.poll_due = Duration::MAX;
            return;
        };
        if !self.claimed.is_empty() {
            self.poll_due = Duration::MAX;
            return;
        }
        let open = self.open();
        let mut none = true;
        let is_probing = self.probe_due <= now;
        let count = self.types.len();
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        for nth in 0..count {
            let kind = Rc::clone(&self.types[(self.turn + nth) % count]);
            let own = self.running.values().filter(|it| it.kind.name == kind.name).count();
            let free = (kind.concurrency.unwrap_or(1) as usize).saturating_sub(own);
            let free = free.min((self.setup.slots as usize).saturating_sub(self.running.len()));
            let aged = match self.abilities.get(&kind.name) {
                Some(Ability::First) => Duration::ZERO,
                Some(Ability::Other(_)) => self.setup.numbers.prefer_wait,
                Some(Ability::None(_)) | None => continue,
            };
            if free == 0 || full.contains_key(&kind.name) {
                continue;
            }
            let (id, name, open) = (self.id.clone(), kind.name.clone(), open.clone());
            let most = u32::try_from(free.max(kind.batch as usize)).unwrap_or(u32::MAX);
            let digest = kind.digest();
            let claimed = self.link.ask(move |store| {
                let aged_ms = millis(aged);
                let ask =
                    Ask { worker: &id, kind: &name, digest: &digest, aged_ms, open: &open, most };
                let claimed = store.claim(&ask)?;
                if claimed.is_empty() && is_probing { store.probe(&ask) } else { Ok(claimed) }
            });
            match claimed {
                Ok(claimed) => {
                    self.said.remove("queue");
                    none &= claimed.is_empty();
                    self.claimed.extend(claimed.into_iter().map(|job| (Rc::clone(&kind), job)));
                    self.begin_next();
                }
                Err(Fault(why)) => {
                    self.trouble("queue", &why);
                    self.poll_due = self.link.due();
                    return;
                }
            }
        }
        if is_probing {
            self.probe_due = now + self.setup.numbers.sweep;
        }
        self.is_worked_off = none && self.running.is_empty() && self.claimed.is_empty();
        let again = if none {
            self.setup.numbers.poll.mul_f64(0.9 + random() * 0.2)
        } else {
            Duration::ZERO
        };
        // where it is full, the next end says when
        let is_full = self.running.len() >= self.setup.slots as usize;
        self.poll_due = if is_full && self.setup.slots > 0 { Duration::MAX } else { now + again };
    }

    fn begin(&mut self, kind: &Rc<JobType>, claimed: &Claimed) {
        let token = claimed.token;
        let path = |written: &str| -> Option<PathBuf> {
            use std::os::unix::ffi::OsStringExt as _;
            Some(PathBuf::from(std::ffi::OsString::from_vec(text::unwritten(written)?)))
        };
        let input = path(&claimed.input);
        let output = claimed.output.as_deref().map(path);
        let (Some(input), Some(output)) = (input, output.map_or(Some(None), |it| it.map(Some)))
        else {
            let why = "its paths are not as this program writes them";
            return self.end(claimed, kind, failed(Class::Permanent, why), None);
        };
        // the gate may have closed since: then it goes back as it was
        let open = self.open();
        if !claimed.needs.iter().all(|need| open.contains(need)) {
            let report = Report { is_given_up: true, ..Report::default() };
            return self.end(claimed, kind, report, None);
        }
        let cgroup = match &self.around.cgroups {
            None => None,
            Some(cgroups) => match cgroups.make(token, kind.memory_mib) {
                Ok(cgroup) => Some(cgroup),
                Err(error) => {
                    let why = format!("make a cgroup: {error}");
                    return self.end(claimed, kind, failed(Class::Infrastructure, &why), None);
                }
            },
        };
        let keep_dir = self.setup.keep_dir.as_ref();
        let order = Order {
            token,
            kind: JobType::clone(kind),
            input,
            output,
            may_be_there: claimed.may_be_there,
            dir: self.setup.dir.clone(),
            mark: self.mark.clone(),
            cgroup: cgroup.as_ref().map(|it| it.path().to_owned()),
            log: keep_dir.map(|dir| super::log::path_of(dir, token)),
            grace_ms: millis(self.setup.numbers.grace),
        };
        match self.give(&order) {
            Ok(hand) => {
                let grace = self.setup.numbers.grace;
                let running = Running::new(claimed.clone(), Rc::clone(kind), hand, cgroup, grace);
                self.running.insert(token, running);
            }
            Err(error) => {
                let why = format!("start a helper: {error}");
                self.end(claimed, kind, failed(Class::Infrastructure, &why), None);
            }
        }
    }

    /// Gives a job to a helper that waits, or to a new one.
    fn give(&mut self, order: &Order) -> std::io::Result<Hand> {
        while let Some(mut hand) = self.hands.pop() {
            if hand.give(order).is_ok() {
                return Ok(hand);
            }
            hand.bury();
        }
        self.hands_made += 1;
        let mut hand = Hand::start(self.hands_made, &self.id, self.send.clone())?;
        hand.give(order)?;
        Ok(hand)
    }

    fn wait(&mut self, now: Duration) {
        let mut due = if self.is_entered {
            self.beat_due.min(self.sweep_due)
        } else {
            self.link.due().max(now + Duration::from_millis(10))
        };
        if self.around.manager.is_some() {
            due = due.min(self.ping_due);
        }
        if self.stopping.is_some() {
            due = due.min(now + Duration::from_millis(100));
        } else if self.is_entered {
            due = due.min(self.poll_due);
        }
        due = due.min(self.tools_due);
        if !self.outbox.is_empty() {
            due = due.min(self.link.due().max(self.hand_in_due));
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
            Event::Stop => self.drain(),
            Event::Reread => self.reread(),
            Event::Rung(Rung::Jobs) => {
                // where it is full, the next end says when
                if self.poll_due < Duration::MAX {
                    self.poll_due = self.poll_due.min(self.not_before);
                }
            }
            Event::Room(full) => self.hear_room(&full),
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
                    News::Ready => self.place(token),
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
            }
        }
    }

    /// The job that a helper is at.
    fn at(&self, hand: u64) -> Option<Token> {
        self.running.iter().find(|(_, it)| it.hand.nth == hand).map(|(token, _)| *token)
    }

    /// A job is over; its helper is gone, or waits for the next.
    fn over(&mut self, token: Token, goes_on: bool) {
        let Some(mut running) = self.running.remove(&token) else { return };
        let report = running.over();
        // what a helper that was killed has left is ours now
        let is_lost = running.is_killed || report.class == Some(Class::Crashed);
        if let Some(cgroup) = &running.cgroup {
            cgroup.end();
        }
        let Running { claimed, kind, started_ms, hand, .. } = running;
        if goes_on {
            self.hands.push(hand);
        } else {
            hand.bury();
        }
        if is_lost {
            tree::kill_strays(&self.helpers(), Duration::from_millis(500));
        }
        self.end(&claimed, &kind, report, Some(started_ms));
        self.begin_next();
        self.poll_due = self.poll_due.min(Duration::ZERO);
    }

    /// Begins what was claimed already, while there is room for it.
    fn begin_next(&mut self) {
        while self.stopping.is_none() && self.running.len() < self.setup.slots as usize {
            let fits = |(kind, _): &(Rc<JobType>, Claimed)| {
                let own = self.running.values().filter(|it| it.kind.name == kind.name).count();
                own < kind.concurrency.unwrap_or(1) as usize
            };
            let Some(nth) = self.claimed.iter().position(fits) else { return };
            let Some((kind, claimed)) = self.claimed.remove(nth) else { return };
            self.begin(&kind, &claimed);
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
        for (_, it) in std::mem::take(&mut self.claimed) {
            self.note(Ending::given_back(it.token), Duration::ZERO);
        }
        self.stopping = Some(boottime() + self.setup.numbers.drain);
        self.beat_due = self.beat_due.min(boottime());
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
            Ok(true) => running.go(),
            // it goes back, or is somebody else's already; either way nothing is put anywhere
            Ok(false) => running.drop_result(),
            Err(Fault(why)) => self.trouble("queue", &why),
        }
    }

    /// Decides what becomes of a job, to be written down with the next delivery.
    fn end(&mut self, claimed: &Claimed, kind: &JobType, report: Report, started_ms: Option<u64>) {
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
        let patience = if kind.batch > 1 { TOGETHER } else { Duration::ZERO };
        let ending = Ending {
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
            digest: Some(kind.digest()),
        };
        self.note(ending, patience);
    }

    /// Writes down what came of jobs: at once, but of types that are taken many at a time some together.
    fn deliver(&mut self, now: Duration) {
        /// So many are not waited any longer for.
        const MANY: usize = 200;
        let is_last = self.running.is_empty() && self.claimed.is_empty();
        let is_due = self.hand_in_due <= now || is_last || self.stopping.is_some();
        if !is_due && self.outbox.len() < MANY {
            return;
        }
        let refused = self.outbox.deliver(&mut self.link);
        for why in self.outbox.said() {
            say(&why);
        }
        match refused {
            Ok(refused) => {
                for Token { id, nth } in refused {
                    say(&format!(
                        "job {id}, try {nth}: it is somebody else's; what came of it is not written"
                    ));
                }
            }
            Err(Fault(why)) => self.trouble("queue", &why),
        }
        if self.outbox.is_empty() {
            self.hand_in_due = Duration::MAX;
        }
    }

    /// Keeps what came of a job, to be written down within `patience`.
    fn note(&mut self, ending: Ending, patience: Duration) {
        self.outbox.push(ending);
        self.hand_in_due = self.hand_in_due.min(boottime() + patience);
    }

    fn leave(&mut self) {
        if !self.stuck.is_empty() {
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

    fn helpers(&self) -> Vec<Pid> {
        let at_work = self.running.values().map(|it| &it.hand);
        at_work.chain(&self.hands).map(Hand::pid).collect()
    }

    fn stop_one(&mut self, token: Token, now: Duration) {
        let patience = self.setup.numbers.grace + HELPER_END;
        if let Some(running) = self.running.get_mut(&token) {
            running.stop(now, patience);
        }
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
            if running.kill(now) {
                continue;
            }
            // it waits for storage that hangs, and nothing can end it
            say(&format!(
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

    /// Says what is wrong with something, once while it lasts.
    fn trouble(&mut self, what: &'static str, why: &str) {
        if self.said.get(what).is_none_or(|said| said != why) {
            say(why);
            self.said.insert(what, why.to_owned());
        }
    }
}

/// These types, and the one that every runner knows.
fn with_smoke(types: impl Iterator<Item = JobType>) -> Vec<Rc<JobType>> {
    types.chain([JobType::smoke()]).map(Rc::new).collect()
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

fn failed(class: Class, why: &str) -> Report {
    Report { class: Some(class), message: Some(why.to_owned()), ..Report::default() }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1, and nothing to be relied on.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}
