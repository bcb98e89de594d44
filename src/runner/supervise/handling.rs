//! What a runner does with jobs: from the claim, by a helper for each, to what is written down of its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;

use super::{Event, Runner, TOGETHER, millis, random, say};
use crate::config::bucket::{Address, Bucket};
use crate::config::job_type::JobType;
use crate::decide::at_work::Still;
use crate::decide::attempts::{self, Class, Outcome, State, Token, Used};
use crate::decide::rest::{self, News, Rest};
use crate::decide::size::fits;
use crate::manifest::SPARE;
use crate::probes::ability::Ability;
use crate::probes::engine::{Ground, Start};
use crate::probes::gate::{Keys, Watch};
use crate::probes::load;
use crate::queue::Fault;
use crate::queue::store::{Ask, Claimed, Ending, Store};
use crate::runner::container;
use crate::runner::hand::Hand;
use crate::runner::log;
use crate::runner::order::{Order, Report};
use crate::runner::placed::{Mark, Placed};
use crate::runner::running::{Begun, HELPER_END, Pulse, Running};
use crate::runner::tree;
use crate::sys::clock::{boottime, pause};
use crate::sys::text;

/// Of an input that came by an intake, the version that its job was made of: the key ends with it.
fn version_of(input: &Path, key: &str) -> Option<String> {
    let (path, version) = key.rsplit_once('@')?;
    (path == text::path(input) && !version.is_empty()).then(|| version.to_owned())
}

/// Those of the buckets that these paths are in.
fn buckets_of(all: &[Bucket], paths: [Option<&PathBuf>; 2]) -> Vec<Bucket> {
    let named: Vec<&str> =
        paths.into_iter().flatten().filter_map(|it| Some(Address::of(it)?.bucket)).collect();
    all.iter().filter(|it| named.contains(&it.name.as_str())).cloned().collect()
}

/// So long after an engine could not take a container away it is asked again.
const CLEARED_AGAIN: Duration = Duration::from_secs(5);

/// What is known of the end of a job whose container is still to be taken away.
pub(super) struct Clearing {
    claimed: Claimed,
    kind: Rc<JobType>,
    report: Report,
    begun: Begun,
}

/// How many jobs of a type are asked for.
#[derive(Clone, Copy)]
struct Count {
    /// So many are taken together.
    batch: u32,
    /// So many can be begun.
    free: u32,
    /// Whether those that no worker was lost with come first.
    is_calm_first: bool,
}

/// Asks for jobs of a type. What lost its worker may be what ended it: of such ones no more are taken than are begun, and
/// nothing together with them.
fn hand_out<'a>(
    store: &mut Store,
    ask: &dyn Fn(u32, bool) -> Ask<'a>,
    Count { batch, free, is_calm_first }: Count,
) -> Result<Vec<Claimed>, Fault> {
    let mut claimed = Vec::new();
    if batch > free && is_calm_first {
        claimed = store.claim(&ask(batch, true))?;
    }
    if claimed.is_empty() {
        claimed = store.claim(&ask(free, false))?;
        // where there are fewer there are no others either
        let are_more = batch > free && claimed.len() >= free as usize;
        if are_more && !is_calm_first && claimed.iter().all(|it| it.rescues == 0) {
            claimed.extend(store.claim(&ask(batch, true))?);
        }
    }
    Ok(claimed)
}

impl Runner {
    pub(super) fn claim(&mut self, now: Duration) {
        let Keys { open, closed, .. } = self.keys();
        self.look_for_room(&open);
        // what is not known is closed, and whoever finds it out asks for the next look
        if !self.knows_enough() {
            self.poll_due = Duration::MAX;
            return;
        }
        let mut none = true;
        let is_probing = self.probe_due <= now;
        let count = self.types.len();
        self.turn = if count == 0 { 0 } else { (self.turn + 1) % count };
        for nth in 0..count {
            // a queue that is slow is asked for the others in the next turn: what is at work has its beat in time
            if self.beat_due <= boottime() {
                self.poll_due = now;
                return;
            }
            let kind = Rc::clone(&self.types[(self.turn + nth) % count]);
            let own = self.running.values().filter(|it| it.kind.name == kind.name).count();
            let free = (kind.concurrency.unwrap_or(1) as usize).saturating_sub(own);
            let free = free.min((self.setup.slots as usize).saturating_sub(self.running.len()));
            let aged = match self.abilities.get(&kind.name) {
                Some(Ability::First) => Duration::ZERO,
                Some(Ability::Other(_)) => self.setup.numbers.prefer_wait,
                Some(Ability::None(_) | Ability::Unknown(_)) | None => continue,
            };
            let rest = self.rests.get(&kind.name).cloned().unwrap_or_default();
            let free = rest.most(now, free).min(self.fits(&kind));
            let may = self.has_room(&kind) && self.no_limit_for(&kind).is_none();
            if free == 0 || !may || self.ground_of(&kind).is_err() {
                continue;
            }
            // what was taken many at a time is done first, and keeps no other type back
            if self.claimed.iter().any(|(it, _)| it.name == kind.name) {
                continue;
            }
            let (id, name) = (self.id.clone(), kind.name.clone());
            let (open, closed) = (open.clone(), closed.clone());
            let leave = self.setup.numbers.prefer_wait;
            let batch = if rest.is_on_trial() { 1 } else { kind.batch };
            let free = u32::try_from(free).unwrap_or(u32::MAX);
            let digest = kind.digest();
            // every second time they are not asked for alone, lest what lost its worker once waits for ever
            let is_calm_first = batch <= free || self.calm_first.remove(&kind.name);
            if !is_calm_first {
                self.calm_first.insert(kind.name.clone());
            }
            let claimed = self.link.ask(move |store| {
                let aged_ms = millis(aged);
                let ask = |most, is_calm| Ask {
                    worker: &id,
                    kind: &name,
                    digest: &digest,
                    aged_ms,
                    leave_ms: millis(leave),
                    open: &open,
                    closed: &closed,
                    most,
                    is_calm,
                };
                let count = Count { batch, free, is_calm_first };
                let claimed = hand_out(store, &ask, count)?;
                let is_tried = claimed.is_empty() && is_probing;
                if is_tried { store.probe(&ask(free, false)) } else { Ok(claimed) }
            });
            match claimed {
                Ok(claimed) => {
                    self.queue_answers();
                    none &= claimed.is_empty();
                    if let Some(rest) =
                        self.rests.get_mut(&kind.name).filter(|_| !claimed.is_empty())
                    {
                        rest.begin(now);
                    }
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

    /// Whether enough is known of this host to take something: who works off what can be taken must know what that is.
    fn knows_enough(&self) -> bool {
        let Some(room) = &self.room else { return false };
        let is_known = |kind: &Rc<JobType>| room.is_known_of(&kind.name, &self.places);
        let knows_all = || {
            self.types.iter().all(is_known)
                && self.unseen.is_empty()
                && self.buckets.len() >= self.setup.buckets.len()
                && self.knows_engines()
        };
        !self.setup.once || knows_all()
    }

    /// Whether there is room for what a type writes; what is not known is closed.
    fn has_room(&self, kind: &JobType) -> bool {
        self.room.as_ref().is_some_and(|room| room.is_for(&kind.name, &self.places))
    }

    /// Whose the containers of a type are; none where it needs none, an error where its engine does not answer, or has no image
    /// for it.
    fn ground_of(&self, kind: &JobType) -> Result<Option<Ground>, String> {
        let Some(container) = &kind.container else { return Ok(None) };
        if !self.knows_engine_of(kind) {
            return Err("it was not asked yet".to_owned());
        }
        if let Some(why) = self.no_image_for(container) {
            return Err(why);
        }
        let said = self.engines.get(&container.engine).cloned();
        said.map(|it| it.map(|it| it.ground)).transpose()
    }

    pub(super) fn begin(&mut self, kind: &Rc<JobType>, claimed: &Claimed) {
        let token = claimed.token;
        let input = text::path_of(&claimed.input);
        let output = claimed.output.as_deref().map(text::path_of);
        let (Some(input), Some(output)) = (input, output.map_or(Some(None), |it| it.map(Some)))
        else {
            let why = "its paths are not as this program writes them";
            return self.end(claimed, kind, Report::failed(Class::Permanent, why), None);
        };
        // it was claimed of a queue that knows us
        let Some(mark) = self.entered.clone() else {
            return self.end(claimed, kind, Report::given_up(), None);
        };
        // the gate may have closed since: then it goes back as it was
        let open = self.open();
        if !claimed.closed(&open).is_empty() {
            let report = Report::given_up();
            return self.end(claimed, kind, report, None);
        }
        // so may the room have gone
        if !self.has_room(kind) {
            let report = Report::given_up();
            return self.end(claimed, kind, report, None);
        }
        if let Some(closed) = self.closed_here(&input, output.as_deref(), &open) {
            let why = format!("{closed} is not open on this host");
            return self.end(claimed, kind, Report::not_begun_there(why), None);
        }
        let Ok(ground) = self.ground_of(kind) else {
            // it was claimed before that was known
            let report = Report::given_up();
            return self.end(claimed, kind, report, None);
        };
        let cgroup = match &self.around.cgroups {
            None => None,
            Some(cgroups) => match cgroups.make(token, kind.memory_mib) {
                Ok(cgroup) => Some(cgroup),
                Err(error) => {
                    let report = Report::not_begun(format!("make a cgroup: {error}"));
                    return self.end(claimed, kind, report, None);
                }
            },
        };
        let (keep_dir, log_dir) = (self.setup.keep_dir.as_ref(), self.setup.log_dir.as_ref());
        let order = Order {
            token,
            kind: JobType::clone(kind),
            version: version_of(&input, &claimed.key),
            buckets: buckets_of(&self.setup.buckets, [Some(&input), output.as_ref()]),
            spare: keep_dir.map(|dir| dir.join(SPARE)),
            floor: self.setup.numbers.floor,
            input,
            output,
            placed: Placed::read(claimed.placed.as_deref()),
            dir: self.setup.dir.clone(),
            ground,
            private: kind.container.as_ref().map_or_else(Vec::new, |_| self.private.clone()),
            cgroup: cgroup.as_ref().map(|it| it.path().to_owned()),
            log: log_dir.map(|dir| log::path_of(dir, &mark, token)),
            mark,
            grace_ms: millis(self.setup.numbers.grace),
        };
        match self.give(&order) {
            Ok(hand) => {
                let grace = self.setup.numbers.grace;
                let killed = self.killed_for_memory();
                let mut running =
                    Running::new(claimed.clone(), Rc::clone(kind), hand, cgroup, grace, killed);
                // what a daemon runs is none of our processes, and cannot be seen to move
                running.pulse = Pulse::new(ground.is_none_or(|it| it.start != Start::Daemon));
                self.running.insert(token, running);
            }
            Err(error) => {
                let report = Report::not_begun(format!("start a helper: {error}"));
                self.end(claimed, kind, report, None);
            }
        }
    }

    /// How many processes this host had killed for memory not long ago: to be read for each job it is too much.
    fn killed_for_memory(&mut self) -> Option<u64> {
        /// So long ago at most.
        const KNOWN_FOR: Duration = Duration::from_secs(1);
        let now = boottime();
        if self.killed.0 + KNOWN_FOR <= now {
            self.killed = (now, load::out_of_memory());
        }
        self.killed.1
    }

    /// None of a type is taken for a while, where a job of it could not be begun here at all, lest all that wait are taken and
    /// put back.
    fn rest_for_a_while(&mut self, name: &str, why: &str) {
        /// So long.
        const REST: Duration = Duration::from_secs(30);
        let rest = self.rests.entry(name.to_owned()).or_default();
        if rest.rest(boottime() + REST) {
            say(&format!("{name}: {why}; tried again every {}", text::duration(REST)));
        }
    }

    /// The storage of this host that a job would touch, and that is not open. What it needs was found out where it was put in: on
    /// a host that does not watch that, or before this one did, or for one without it, which does the job by what its type fetches
    /// and delivers.
    fn closed_here(
        &mut self,
        input: &Path,
        output: Option<&Path>,
        open: &[String],
    ) -> Option<String> {
        let is_here = |it: &&Path| Address::of(it).is_none();
        let output = output.filter(is_here);
        let paths: Vec<&Path> = Some(input).filter(is_here).into_iter().chain(output).collect();
        let watch = self.watch();
        let mut needs = watch.needs_of(&paths);
        if !needs.is_empty() {
            needs.extend(output.and_then(|it| watch.room_of(it)));
        }
        needs.into_iter().find(|need| !open.contains(need))
    }

    /// What is watched here. Where directories lead is looked for once in a turn, however many jobs begin in it.
    fn watch(&mut self) -> &Watch {
        self.watch.get_or_insert_with(|| self.setup.watch())
    }

    /// Gives a job to a helper that waits, or to a new one.
    pub(super) fn give(&mut self, order: &Order) -> std::io::Result<Hand> {
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

    /// The job that a helper is at.
    pub(super) fn at(&self, hand: u64) -> Option<Token> {
        self.running.iter().find(|(_, it)| it.hand.nth == hand).map(|(token, _)| *token)
    }

    /// A job is over; its helper is gone, or waits for the next.
    pub(super) fn over(&mut self, token: Token, goes_on: bool) {
        let Some(mut running) = self.running.remove(&token) else { return };
        let is_without_word = running.report.is_none() && !running.is_stopped;
        let report = running.over();
        let report = self.blamed(&running, report);
        let report = self.doubted(&running.claimed, report);
        // what a helper that was killed has left is ours now
        let is_lost = is_without_word || running.is_killed || report.class == Some(Class::Crashed);
        if let Some(cgroup) = &running.cgroup {
            cgroup.end();
        }
        let Running { claimed, kind, begun, hand, .. } = running;
        if goes_on {
            self.hands.push(hand);
        } else {
            hand.bury();
        }
        if is_lost {
            tree::kill_strays(&self.helpers(), Duration::from_millis(500));
            // what the engine keeps elsewhere is none of our processes
            if let (Some(container), Some(mark)) = (kind.container.clone(), self.entered.clone()) {
                let send = self.send.clone();
                std::thread::spawn(move || {
                    let mut is_said = false;
                    // an engine that is away comes back
                    while let Err(why) = container::remove_up_to(&container.engine, &mark, token) {
                        if !std::mem::replace(&mut is_said, true) {
                            say(&format!("job {}: its container is not gone yet: {why}", token.id));
                        }
                        pause(CLEARED_AGAIN);
                    }
                    let _ = send.send(Event::Cleared(token));
                });
                self.clearing.insert(token, Clearing { claimed, kind, report, begun });
                return self.go_on();
            }
        }
        self.end(&claimed, &kind, report, Some(begun));
        self.go_on();
    }

    /// The container of a job whose helper was lost is gone.
    pub(super) fn cleared(&mut self, token: Token) {
        let Some(it) = self.clearing.remove(&token) else { return };
        self.end(&it.claimed, &it.kind, it.report, Some(it.begun));
        self.go_on();
    }

    /// There is a place for another one.
    fn go_on(&mut self) {
        self.begin_next();
        self.poll_due = self.poll_due.min(Duration::ZERO);
    }

    /// What came of a try, and whose fault that was: one whose storage is closed by now, or that hung on it to the end, was not
    /// let down by itself, whatever its command made of that.
    fn blamed(&self, running: &Running, report: Report) -> Report {
        let is_own = matches!(report.class, Some(Class::Failed | Class::TimedOut));
        if !is_own || report.is_given_up {
            return report;
        }
        let closed = running.claimed.closed(&self.open());
        let stall = running.pulse.stall.as_ref();
        // it was seen to hang with the last beat: one that failed by itself may have gone on since
        let timed_out = report.class == Some(Class::TimedOut);
        let hung = stall.filter(|it| timed_out && it.how == Still::HungOnIo);
        let hung = hung.map(|it| it.why.clone());
        let why = match closed.as_slice() {
            [] => hung,
            closed => Some(format!("{} is not open", closed.join(", "))),
        };
        match why {
            Some(why) => report.of_storage(why),
            None => report,
        }
    }

    /// Closes storage that a try has found gone before any round has: whoever is next would only find the same. A try of which
    /// nothing ran goes back as it was, once: another host may have it. One whose needs do not name that storage, or that finds
    /// the like again, would be taken again at once, and counts.
    fn doubted(&mut self, claimed: &Claimed, report: Report) -> Report {
        let lost: Vec<PathBuf> = report.lost.iter().filter_map(|dir| text::path_of(dir)).collect();
        if lost.is_empty() {
            return report;
        }
        let dirs: Vec<&Path> = lost.iter().map(PathBuf::as_path).collect();
        let watched = self.setup.watch().needs_of_dirs(&dirs);
        let open = self.open();
        for path in watched.iter().filter(|it| open.contains(it)) {
            say(&format!(
                "{path}: {}; nothing that needs it is taken here until unwedge-mounts has looked at it",
                report.message.as_deref().unwrap_or("it is gone")
            ));
            self.doubts.insert(path.clone(), boottime());
        }
        let is_kept_back = !claimed.closed(&self.open()).is_empty();
        match (&report.tier, is_kept_back) {
            (None, true) if self.doubters.insert(claimed.token.id) => Report::given_up(),
            (_, true) => report,
            (_, false) => Report { lost: Vec::new(), ..report },
        }
    }

    /// Begins what was claimed already, while there is room for it.
    pub(super) fn begin_next(&mut self) {
        while self.stopping.is_none() && self.running.len() < self.setup.slots as usize {
            let fits = |(kind, _): &(Rc<JobType>, Claimed)| {
                let own = self.running.values().filter(|it| it.kind.name == kind.name).count();
                own < kind.concurrency.unwrap_or(1) as usize && self.fits(kind) > 0
            };
            let Some(nth) = self.claimed.iter().position(fits) else { return };
            let Some((kind, claimed)) = self.claimed.remove(nth) else { return };
            self.begin(&kind, &claimed);
        }
    }

    /// How many of a type fit into memory beside what runs.
    fn fits(&self, kind: &JobType) -> usize {
        let taken = self.running.values().filter_map(|it| it.kind.memory_mib).sum();
        fits(kind.memory_mib, taken, self.memory_mib)
    }

    /// Asks for every result that waits for it.
    pub(super) fn place_ready(&mut self) {
        let ready = self.running.iter().filter_map(|(token, it)| Some((*token, it.ready?)));
        for (nth, (token, mark)) in ready.collect::<Vec<_>>().into_iter().enumerate() {
            let now = boottime();
            // of a queue that is slow the others are asked in the next turn: what is at work has its beat in time
            if self.link.due() > now || (nth > 0 && self.beat_due <= now) {
                return;
            }
            self.place(token, mark);
        }
    }

    /// A result may go to its place only while the job is ours. While the queue is away it waits.
    pub(super) fn place(&mut self, token: Token, mark: Mark) {
        let id = self.id.clone();
        let Some(running) = self.running.get_mut(&token) else { return };
        let text = Placed::read(running.claimed.placed.as_deref()).text_of(mark);
        let is_ours = self.link.ask(move |store| store.place(token, &id, &text));
        running.ready = is_ours.is_err().then_some(mark);
        match is_ours {
            Ok(true) => running.go(),
            // it goes back, or is somebody else's already; either way nothing is put anywhere
            Ok(false) => running.drop_result(),
            Err(Fault(why)) => self.trouble("queue", &why),
        }
    }

    /// Decides what becomes of a job, to be written down with the next delivery.
    pub(super) fn end(
        &mut self,
        claimed: &Claimed,
        kind: &JobType,
        report: Report,
        begun: Option<Begun>,
    ) {
        let outcome = match report.class {
            _ if report.is_given_up => Outcome::GivenBack,
            Some(Class::Infrastructure) if report.is_early => Outcome::Early,
            Some(class) => Outcome::Not(class),
            None => Outcome::Done,
        };
        // what an engine could not do it may not be able to do for others either
        let is_around = matches!(report.class, Some(Class::Configuration | Class::Infrastructure));
        if kind.container.is_some() && is_around {
            self.look_at_engines();
        }
        // a tool that is gone is missed by the next job, too
        if report.class == Some(Class::Configuration) && report.exit_code.is_none() {
            self.tools_due = Duration::ZERO;
        }
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Not(_) => self.failed += 1,
            Outcome::GivenBack | Outcome::Early => {}
        }
        if outcome != Outcome::GivenBack {
            self.doubters.remove(&claimed.token.id);
        }
        // a command that tells of a server that is away has run
        if outcome == Outcome::Early && report.exit_code.is_none() && !report.is_of_place {
            self.rest_for_a_while(&kind.name, report.message.as_deref().unwrap_or_default());
        }
        // where its type fares well, only a failure of its surroundings is news: for no other is the gate read once more
        let is_well = self.rests.get(&kind.name).is_none_or(|it| *it == Rest::default());
        // of what could not be begun it was said just now how long it rests
        let is_early = outcome == Outcome::Early;
        let is_around = outcome == Outcome::Not(Class::Infrastructure)
            || (is_early && report.exit_code.is_some());
        let says_nothing = (is_well || is_early) && !is_around;
        // of storage that is not open its own gate takes care
        if !says_nothing && report.lost.is_empty() && claimed.closed(&self.open()).is_empty() {
            self.hear_rest(&kind.name, claimed.token.id, outcome, report.message.as_deref());
        }
        let used = Used {
            failures: claimed.failures,
            infra_errors: claimed.infra_errors,
            rescues: claimed.rescues,
        };
        let next = attempts::next(used, outcome, &kind.retry, random());
        // it may close the lane, and then nothing more of it is begun
        let is_of_type = outcome == Outcome::Not(Class::Configuration);
        self.asks_for_lane |= is_of_type && self.claimed.iter().any(|(it, _)| it.name == kind.name);
        let is_urgent = kind.batch <= 1 || is_of_type;
        let patience = if is_urgent { Duration::ZERO } else { TOGETHER };
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
            started_ms: begun.map(|it| it.ms),
            took_ms: begun.map(|it| millis(it.ago())),
            digest: Some(kind.digest()),
            bytes: report.bytes.filter(|_| next.state == State::Done),
        };
        self.note(ending, patience);
    }

    /// Hears how a try of a type has ended, and has it rest, or work again.
    fn hear_rest(&mut self, name: &str, job: i64, outcome: Outcome, why: Option<&str>) {
        let rest = self.rests.entry(name.to_owned()).or_default();
        let why = why.unwrap_or_default();
        match rest.hear(job, outcome, why, boottime()) {
            None => return,
            Some(News::Works) => say(&format!("{name}: it works again")),
            Some(News::Rests) => {
                say(&format!(
                    "{name}: the last {} failed for what is around them; one is tried now and then until that works: {why}",
                    rest::IN_A_ROW
                ));
                self.give_back(|kind, _| kind.name == name);
            }
        }
        self.retype();
    }

    /// Gives back, uncounted, those that were claimed and are not begun of which this is true.
    pub(super) fn give_back(&mut self, is_meant: impl Fn(&Rc<JobType>, &Claimed) -> bool) {
        let (back, keep) = std::mem::take(&mut self.claimed)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(kind, it)| is_meant(kind, it));
        self.claimed = keep;
        for (_, it) in back {
            self.note(Ending::given_back(it.token), Duration::ZERO);
        }
    }

    /// Writes down what came of jobs: at once, but of types that are taken many at a time some together.
    pub(super) fn deliver(&mut self, now: Duration) {
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
            if std::mem::take(&mut self.asks_for_lane) {
                // the answer to a beat says which lanes are closed
                self.beat_due = now;
            }
        }
    }

    /// Keeps what came of a job, to be written down within `patience`.
    pub(super) fn note(&mut self, ending: Ending, patience: Duration) {
        self.outbox.push(ending);
        self.hand_in_due = self.hand_in_due.min(boottime() + patience);
    }

    pub(super) fn helpers(&self) -> Vec<Pid> {
        let at_work = self.running.values().map(|it| &it.hand);
        let stuck = self.stuck.values().map(|it| &it.hand);
        at_work.chain(&self.hands).chain(stuck).map(Hand::pid).collect()
    }

    /// Ends a job that is this worker's no more.
    pub(super) fn stop_one(&mut self, token: Token, now: Duration) {
        let patience = self.setup.numbers.grace + HELPER_END;
        if let Some(running) = self.running.get_mut(&token) {
            running.stop(false, now, patience);
        }
    }

    /// Ends all that is at work, as this runner ends.
    pub(super) fn stop_running(&mut self, is_ours: bool, now: Duration) {
        let patience = self.setup.numbers.grace + HELPER_END;
        for running in self.running.values_mut() {
            running.stop(is_ours, now, patience);
        }
    }

    pub(super) fn kill_overdue(&mut self, now: Duration) {
        let over: Vec<Token> = self
            .running
            .iter()
            .filter(|(_, it)| it.over_at() <= now)
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
            if let Some(running) = self.running.remove(&token) {
                self.stuck.insert(token, running);
            }
            // its place is another's meanwhile
            self.begin_next();
            self.poll_due = self.poll_due.min(boottime());
        }
    }

    /// A helper that could not be killed has ended all the same: its job may be begun anew.
    pub(super) fn unstick(&mut self, hand: u64) {
        let Some(token) =
            self.stuck.iter().find(|(_, it)| it.hand.nth == hand).map(|(token, _)| *token)
        else {
            return;
        };
        let Some(running) = self.stuck.remove(&token) else { return };
        if let Some(cgroup) = &running.cgroup {
            cgroup.end();
        }
        let Running { claimed, kind, begun, hand, .. } = running;
        hand.bury();
        say(&format!("job {}: its helper has ended at last", token.id));
        let why = "its storage gave no answer until long after its time";
        self.end(&claimed, &kind, Report::failed(Class::Infrastructure, why), Some(begun));
        self.poll_due = self.poll_due.min(boottime());
    }
}
