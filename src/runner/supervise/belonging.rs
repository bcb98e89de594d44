//! What a runner is to its queue and to its host: how it makes itself known and what it can take, its beats, and whom it
//! finds gone.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{Runner, mode_of, names, say, with_smoke};
use crate::act::scratch;
use crate::act::upkeep::aside;
use crate::config::bucket;
use crate::config::container::{Container, Pull};
use crate::config::job_type::JobType;
use crate::decide::attempts::Token;
use crate::decide::leases::{self, Patience, Seen};
use crate::probes::ability::Ability;
use crate::probes::engine::{self, Answer, Image};
use crate::probes::gate::{self, Keys};
use crate::probes::load;
use crate::probes::witness::{self, Fate};
use crate::queue::Fault;
use crate::queue::link::RETRY_HOLDING;
use crate::queue::spool::Waiting;
use crate::queue::store::listing::Job;
use crate::queue::store::{Beat, Ending, Heard, Lack, Load, NewWorker, Registered, TypeMark};
use crate::report::runner::Standing;
use crate::runner::engines::Look;
use crate::runner::left;
use crate::runner::room::{Place, Places, Room, Want};
use crate::runner::tree;
use crate::sys::clock::boottime;
use crate::sys::text;

const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// So long after the first look another one comes soon where what a worker has left still ends.
const SOON_FOR: Duration = Duration::from_secs(30);

/// Why a worker takes nothing of a type.
enum Lacking {
    /// It is not to.
    Never(String),
    /// It cannot just now.
    Now(String),
}

impl Runner {
    /// Makes itself known. What workers before have left on this host is handed in first: they are about to be found
    /// gone, and their results would be refused. Why not, where the queue wants no worker of this version.
    pub(super) fn enter(&mut self, now: Duration) -> Option<String> {
        if self.link.due() > now {
            return None;
        }
        self.deliver(now);
        if self.link.due() > now {
            return None;
        }
        let (types, lacks) = self.marks();
        let Keys { open, closed, .. } = self.keys();
        let worker = NewWorker {
            id: self.id.clone(),
            host: witness::host(),
            unit: self.setup.unit.clone(),
            version: OWN_VERSION.to_owned(),
            mode: mode_of(self.types.iter().map(Rc::as_ref)).to_owned(),
            types,
            lacks,
            closed,
            open,
            cpus: std::thread::available_parallelism()
                .ok()
                .and_then(|it| u32::try_from(it.get()).ok()),
        };
        match self.link.ask(move |store| Ok((store.register(&worker)?, store.mark()?))) {
            Ok((Registered::TooOld { least }, _)) => return Some(self.too_old_for(&least)),
            Ok((Registered::Entered, mark)) => {
                self.entered = Some(mark);
                self.queue_answers();
                self.beat_due = now;
                if let Some(manager) = &self.around.manager {
                    manager.tell("READY=1");
                }
            }
            Err(Fault(why)) => self.trouble("queue", &why),
        }
        None
    }

    fn too_old_for(&self, least: &str) -> String {
        format!(
            "{} of {} is of version {}, and this queue wants workers of {least} or later: \
             dpkg -i unwedge_{least}_*.deb && systemctl restart unwedge-runner",
            self.id,
            witness::host(),
            OWN_VERSION
        )
    }

    /// What is open on this host now.
    pub(super) fn open(&self) -> Vec<String> {
        self.keys().open
    }

    /// That, and the storage of this host that is not.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = gate::keys(&self.setup.run_dir, self.setup.keep_dir.as_deref());
        let is_doubted = |path: &str| {
            self.doubts.get(path).is_some_and(|at| keys.seen_at.is_none_or(|seen| seen <= *at))
        };
        let is_open = |key: &String| match gate::room_on(key) {
            None => !is_doubted(key),
            Some(path) => {
                let has_room = |room: &Room| room.is_on(path, &self.places);
                !is_doubted(path) && self.room.as_ref().is_some_and(has_room)
            }
        };
        let (open, closed) =
            std::mem::take(&mut keys.open).into_iter().partition::<Vec<_>, _>(is_open);
        keys.open = open;
        keys.closed.extend(closed);
        keys.open.push(gate::host_key());
        let answers = self.buckets.iter().filter(|(_, said)| said.is_ok());
        keys.open.extend(answers.map(|(name, _)| bucket::key(name)));
        keys
    }

    /// What it can take, and what not.
    pub(super) fn marks(&self) -> (BTreeMap<String, TypeMark>, BTreeMap<String, Lack>) {
        let (mut types, mut lacks) = (BTreeMap::new(), BTreeMap::new());
        for kind in self.types.iter().filter(|kind| !kind.is_smoke()) {
            let digest = kind.digest();
            match self.lack_of(kind) {
                Some(Lacking::Never(why)) => {
                    // who takes none of it has no say in what it is
                    lacks.insert(kind.name.clone(), Lack { why, digest: String::new() });
                    continue;
                }
                Some(Lacking::Now(why)) => {
                    lacks.insert(kind.name.clone(), Lack { why, digest });
                    continue;
                }
                None if !self.knows_engine_of(kind) => continue,
                None => {}
            }
            let first_tier = kind.tiers.first().map(|tier| tier.name.clone()).unwrap_or_default();
            let uses = match self.abilities.get(&kind.name) {
                Some(Ability::Other(tier)) => tier.clone(),
                Some(Ability::First | Ability::None(_) | Ability::Unknown(_)) | None => {
                    first_tier.clone()
                }
            };
            let rests = self.rests.get(&kind.name).filter(|it| it.is_on_trial());
            let rests = rests.map(|it| it.why.clone());
            types.insert(kind.name.clone(), TypeMark { digest, first_tier, uses, rests });
        }
        (types, lacks)
    }

    /// Why it can take nothing of a type.
    fn lack_of(&self, kind: &JobType) -> Option<Lacking> {
        if kind.concurrency == Some(0) || self.setup.slots == 0 {
            let why = "none at once on this host: [jobs] slots, or concurrency, is 0";
            return Some(Lacking::Never(why.to_owned()));
        }
        match self.abilities.get(&kind.name) {
            Some(Ability::None(programs)) => {
                return Some(Lacking::Now(format!("not on this host: {programs}")));
            }
            Some(Ability::Unknown(why)) => {
                return Some(Lacking::Now(format!("its programs cannot be looked for: {why}")));
            }
            Some(Ability::First | Ability::Other(_)) | None => {}
        }
        if let Some(why) = self.no_limit_for(kind) {
            return Some(Lacking::Now(format!("memory_mib cannot be kept here: {why}")));
        }
        if let Some(Err(why)) = kind.container.as_ref().and_then(|it| self.engines.get(&it.engine))
        {
            return Some(Lacking::Now(format!("its engine does not answer: {why}")));
        }
        if let Some(why) = kind.container.as_ref().and_then(|it| self.no_image_for(it)) {
            return Some(Lacking::Now(why));
        }
        let full = self.room.as_ref().and_then(|room| room.full.get(&kind.name));
        full.map(|why| Lacking::Now(why.clone()))
    }

    /// Why the memory of a type's commands cannot be limited here, where that is asked for.
    pub(super) fn no_limit_for(&self, kind: &JobType) -> Option<&str> {
        // an engine has limits of its own
        let is_asked = kind.memory_mib.is_some() && kind.container.is_none();
        self.around.no_limits.as_deref().filter(|_| is_asked)
    }

    /// Which tools are here now, and whether engines of containers answer.
    pub(super) fn look_for_tools(&mut self, now: Duration) {
        self.tools_due = now + self.setup.numbers.tools;
        self.look_at_engines();
        let found = self.looks_at_tools.look(self.types.iter().map(Rc::as_ref));
        if found == self.abilities {
            return;
        }
        for (name, ability) in &found {
            let is_new = self.abilities.get(name) != Some(ability);
            match ability {
                Ability::None(programs) if is_new => say(&format!(
                    "{name}: not on this host: {programs}; its jobs are left to others"
                )),
                Ability::Unknown(why) if is_new => say(&format!(
                    "{name}: its programs cannot be looked for, and nothing of it is taken: {why}"
                )),
                _ => {}
            }
        }
        self.abilities = found;
        self.retype();
    }

    /// Tells whoever looks at the room where the types write.
    pub(super) fn tell_places(&mut self) {
        self.places = self.places_of_types();
        if let Some(room) = &mut self.room {
            room.full.retain(|kind, _| self.places.iter().any(|it| it.kind == *kind));
        }
        // one that is gone tells no more, and what is not known is closed
        let _ = self.rooms.send(self.places.clone());
    }

    fn places_of_types(&self) -> Places {
        // what comes from elsewhere, or goes there, lies here meanwhile
        let spare = self.setup.keep_dir.as_ref();
        let has_buckets = !self.setup.buckets.is_empty();
        let own = self.types.iter().filter(|kind| !kind.is_smoke());
        let places = own.flat_map(|kind| {
            let here = kind.output_root(&self.setup.dir).map(|root| {
                // an intake may have another place for results, in a bucket; and a relative one is that of whoever puts a job in
                let is_fixed = spare.is_none()
                    || kind.output.as_deref().is_some_and(|it| Path::new(it).is_absolute());
                let goes_elsewhere = has_buckets || kind.deliver.is_some() || !is_fixed;
                let want = match (goes_elsewhere, root.is_flat) {
                    _ if root.is_anywhere => Want::Below,
                    (true, _) => Want::Nothing,
                    (false, true) => Want::Writable,
                    (false, false) => Want::There,
                };
                (root.dir, want)
            });
            let is_away = has_buckets || kind.fetch.is_some() || kind.deliver.is_some();
            let spare = spare.filter(|_| is_away).map(|dir| (dir.clone(), Want::Nothing));
            let of_kind = |(dir, want)| Place { kind: kind.name.clone(), dir, want };
            here.into_iter().chain(spare).map(of_kind)
        });
        places.collect()
    }

    /// Hears where there is room.
    pub(super) fn hear_room(&mut self, room: &Room) {
        let had = self.room.replace(room.clone());
        let is_awaited = !std::mem::take(&mut self.unseen).is_empty();
        let is_new = is_awaited || had.as_ref() != Some(room);
        if had.as_ref().is_none_or(|had| had.below != room.below) {
            // what is open is the queue's to know, for whoever asks why a job waits
            self.beat_due = self.beat_due.min(boottime());
        }
        let before = had.unwrap_or_default();
        for (kind, why) in room.full.iter().filter(|(kind, _)| !before.full.contains_key(*kind)) {
            say(&format!("{kind}: nothing of it is taken: {why}"));
        }
        for kind in before.full.keys().filter(|kind| !room.full.contains_key(*kind)) {
            say(&format!("{kind}: where it writes all is well again"));
        }
        for (path, why) in &room.below {
            let was = before.below.get(path).cloned().flatten();
            match (was, why) {
                (None, Some(why)) => {
                    say(&format!("{path}: nothing is taken that writes there: {why}"));
                }
                (Some(_), None) => say(&format!("{path}: there is room again")),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        // also where it is another reason: whoever asks is told the one that is so now
        if room.full != before.full {
            self.retype();
        }
        if is_new {
            self.poll_due = self.poll_due.min(self.not_before);
        }
    }

    /// Has what has opened since the last look at the room there looked at, too.
    pub(super) fn look_for_room(&mut self, open: &[String]) {
        let Some(room) = &self.room else { return };
        let unseen: BTreeSet<String> = room.unseen(open, &self.places).cloned().collect();
        if !unseen.is_subset(&self.unseen) {
            self.unseen = unseen;
            let _ = self.rooms.send(self.places.clone());
        }
    }

    /// Takes away the scratch files of jobs that were put aside, in a thread of its own: their storage may hang.
    fn clear_up(&self, aside: Vec<Job>) {
        let Some(mark) = self.entered.clone().filter(|_| !aside.is_empty()) else { return };
        let open = self.open();
        let started = std::thread::Builder::new().name("scratch".to_owned()).spawn(move || {
            for job in aside {
                match scratch::remove(&mark, &job, &open) {
                    Ok(0) => {}
                    Ok(count) => say(&format!(
                        "job {}: it is put aside, and {count} scratch files of it are gone",
                        job.id
                    )),
                    Err(why) => say(&format!("scratch files of job {}: {why}", job.id)),
                }
            }
        });
        if let Err(error) = started {
            say(&format!("scratch files stay: start a thread: {error}"));
        }
    }

    /// Hears whether a bucket answers.
    pub(super) fn hear_bucket(&mut self, name: &str, said: &Result<(), String>) {
        let before = self.buckets.insert(name.to_owned(), said.clone());
        match (&before, said) {
            (Some(before), said) if before == said => return,
            (None, Ok(())) => {}
            (Some(_), Ok(())) => say(&format!("bucket {name}: it answers again")),
            (_, Err(why)) => {
                say(&format!("bucket {name}: nothing that lies there is taken: {why}"));
            }
        }
        self.poll_due = self.poll_due.min(self.not_before);
    }

    /// Hears whether an engine of containers answers, and which images it has.
    pub(super) fn hear_engine(&mut self, engine: Vec<String>, said: &Result<Answer, String>) {
        let (name, none) = (engine.join(" "), BTreeMap::new());
        let before = self.engines.insert(engine, said.clone());
        let images = said.as_ref().map_or(&none, |it| &it.images);
        let had = before.as_ref().and_then(|it| it.as_ref().ok()).map_or(&none, |it| &it.images);
        // that nobody knows, in other words, is the same
        let is_same = |one: &Image, other: &Image| discriminant(one) == discriminant(other);
        let is_new =
            |image: &String, found: &Image| had.get(image).is_none_or(|it| !is_same(it, found));
        let is_other =
            had.len() != images.len() || images.iter().any(|(image, found)| is_new(image, found));
        for (image, found) in images.iter().filter(|(image, found)| is_new(image, found)) {
            match found {
                Image::Here if had.contains_key(image) => say(&format!("{name}: {image} is here")),
                Image::Here => {}
                Image::Missing => say(&format!(
                    "{name}: {image} is not here, and nothing that is to run in it is taken"
                )),
                Image::Unknown(why) => say(&format!(
                    "{name}: whether {image} is here is not known, and nothing that is to run in it is taken: {why}"
                )),
            }
        }
        match (&before, said) {
            (Some(Ok(one)), Ok(other)) if one.ground == other.ground && !is_other => return,
            // in other words, and the same
            (Some(Err(_)), Err(_)) => return,
            (Some(Err(_)), Ok(_)) => say(&format!("{name}: it answers again")),
            (_, Ok(_)) => {}
            (_, Err(why)) => {
                say(&format!("{name}: nothing that it is to run is taken: {why}"));
            }
        }
        self.retype();
    }

    /// Has all of them asked.
    pub(super) fn look_at_engines(&mut self) {
        let engines = self.engines_of_types();
        self.engines.retain(|engine, _| engines.contains_key(engine));
        // where nobody is left to ask, nothing is known, and nothing is taken
        let running = self.running.keys().copied().collect();
        let _ = self.looks.send(Look { engines, running, at: boottime() });
    }

    /// The engines that types are run by here, and the images that each must have: those that nobody fetches.
    fn engines_of_types(&self) -> BTreeMap<Vec<String>, BTreeSet<String>> {
        let mut engines: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for it in self.types.iter().filter_map(|kind| kind.container.as_ref()) {
            let images = engines.entry(it.engine.clone()).or_default();
            images.extend((it.pull == Pull::Never).then(|| it.image.clone()));
        }
        engines
    }

    /// Why an engine that answers has nothing to run a type in; none where it has, or was not asked.
    pub(super) fn no_image_for(&self, container: &Container) -> Option<String> {
        let Container { engine, image, .. } = container;
        let answer = self.engines.get(engine)?.as_ref().ok()?;
        match answer.images.get(image).filter(|_| container.pull == Pull::Never)? {
            Image::Here => None,
            Image::Missing => {
                let pull = engine::pull(engine, image, answer.ground);
                Some(format!("its image {image} is not here, and nobody fetches it: `{pull}`"))
            }
            Image::Unknown(why) => {
                Some(format!("whether its image {image} is here is not known: {why}"))
            }
        }
    }

    /// Whether all of them were asked: before that nobody knows what this host can do.
    pub(super) fn knows_engines(&self) -> bool {
        self.types.iter().all(|kind| self.knows_engine_of(kind))
    }

    pub(super) fn knows_engine_of(&self, kind: &JobType) -> bool {
        let Some(it) = &kind.container else { return true };
        match self.engines.get(&it.engine) {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(answer)) => it.pull != Pull::Never || answer.images.contains_key(&it.image),
        }
    }

    /// Tells the queue what it can take from now on.
    pub(super) fn retype(&mut self) {
        if self.entered.is_none() {
            return;
        }
        let (types, lacks) = self.marks();
        let (id, mode) = (self.id.clone(), mode_of(self.types.iter().map(Rc::as_ref)));
        // where the queue knows it no more, the next beat finds out
        let told = self.link.ask(move |store| store.retype(&id, mode, &types, &lacks));
        self.retype_due = Duration::MAX;
        if let Err(Fault(why)) = told {
            self.trouble("queue", &why);
            self.retype_due = self.link.due();
        }
        self.sweep_due = Duration::ZERO;
        self.poll_due = self.poll_due.min(boottime());
    }

    /// Takes types that were read anew; of a file that is wrong, those it had.
    pub(super) fn reread(&mut self) {
        let Some(reread) = &mut self.around.reread else { return };
        let own = self.types.iter().filter(|kind| !kind.is_smoke());
        let had: Vec<JobType> = own.map(|kind| JobType::clone(kind)).collect();
        match reread(&had) {
            Ok((types, slots)) => {
                let all = with_smoke(types.into_iter());
                say(&format!("types read anew: {}", names(all.iter().map(Rc::as_ref))));
                (self.types, self.setup.slots) = (all, slots);
                // what waits was taken as its type was
                let (types, slots) = (self.types.clone(), self.setup.slots);
                self.give_back(|kind, _| {
                    let is_so = types.contains(kind) && kind.concurrency != Some(0);
                    slots == 0 || !is_so
                });
                self.tell_places();
                // also where all tools are as they were, the types may not be
                self.abilities.clear();
                self.look_for_tools(boottime());
            }
            Err(why) => say(&format!("{why}; all types stay as they were")),
        }
    }

    /// Tells how it stands, to whoever reads metrics, waits for signs of life, or asks the service manager.
    pub(super) fn tell(&mut self, state: &'static str, has_queue: bool) {
        let buckets = self.buckets.iter().map(|(name, said)| (name.clone(), said.is_ok()));
        let engines = self.engines.iter().map(|(engine, said)| (engine.join(" "), said.is_ok()));
        let standing = Standing {
            state,
            running: self.running.len(),
            done: self.done,
            failed: self.failed,
            has_queue,
            buckets: buckets.collect(),
            engines: engines.collect(),
        };
        if let Some(manager) = &self.around.manager {
            let queue = if has_queue { "" } else { "; the queue is away" };
            manager.tell(&format!(
                "STATUS={} at work, {} done, {} failed{queue}",
                standing.running, standing.done, standing.failed
            ));
        }
        if let Some(tell) = &mut self.around.tell {
            tell(&standing);
        }
    }

    /// Renews the lease of all it has; false where the queue knows it no more.
    pub(super) fn beat(&mut self, now: Duration) -> bool {
        let (id, done, failed) = (self.id.clone(), self.done, self.failed);
        let state = match (self.stopping, self.running.is_empty()) {
            (Some(_), _) => "draining",
            (None, true) => "idle",
            (None, false) => "busy",
        };
        let (load_milli, memory_mib) = load::now();
        let step = self.step();
        let progress = self.progress();
        let told: Vec<Token> = progress.iter().map(|(token, _)| *token).collect();
        let stalls = self.stalls();
        let told_stalls: Vec<Token> = stalls.iter().map(|(token, _)| *token).collect();
        let (Keys { open, closed, .. }, deaf) = (self.keys(), self.deaf.clone());
        let heard = self.link.ask(move |store| {
            let (load, step) = (Load { load_milli, memory_mib }, step.as_deref());
            let (progress, stalls) = (progress.as_slice(), stalls.as_slice());
            let (worker, deaf) = (id.as_str(), deaf.as_deref());
            let (open, closed) = (open.as_slice(), closed.as_slice());
            let beat = Beat {
                worker,
                state,
                step,
                done,
                failed,
                load,
                progress,
                stalls,
                open,
                closed,
                deaf,
            };
            store.beat(&beat)
        });
        self.beat_due = now + self.setup.numbers.beat;
        self.ask_for_motions();
        self.tell(state, heard.is_ok());
        match heard {
            Ok(Some(Heard { held, is_asked_to_stop })) => {
                if is_asked_to_stop {
                    self.drain();
                }
                self.know_progress(&told);
                self.know_stalls(&told_stalls);
                let ours =
                    |token: &Token| held.iter().any(|it| it.token == *token && !it.is_cancelled);
                // what was called off before it was begun goes back, and is cancelled by that; so does what is of a closed lane
                let may_begin = |token: &Token| {
                    ours(token) && !held.iter().any(|it| it.token == *token && it.is_closed)
                };
                self.give_back(|_, it| !may_begin(&it.token));
                let lost: Vec<Token> =
                    self.running.keys().filter(|token| !ours(token)).copied().collect();
                // handed out in an answer that never came: nothing was begun
                let known = |token: &Token| {
                    self.running.contains_key(token)
                        || self.claimed.iter().any(|(_, it)| it.token == *token)
                        || self.stuck.contains_key(token)
                        || self.clearing.contains_key(token)
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
    pub(super) fn step(&self) -> Option<String> {
        let Some((token, first)) = self.running.iter().next() else {
            let wait = self.not_before.saturating_sub(boottime());
            let wait = (!wait.is_zero()).then(|| text::duration(wait));
            return wait.map(|wait| {
                format!("waits {wait} before it takes anything: it was started often")
            });
        };
        let progress =
            first.progress.as_ref().map(|(text, _)| format!(", {text}")).unwrap_or_default();
        let more = match self.running.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!("{} job {}{progress}{more}", first.kind.name, token.id))
    }

    /// Looks at the other workers: whose lease is over loses what it has.
    pub(super) fn sweep(&mut self, now: Duration) {
        let numbers = self.setup.numbers;
        self.sweep_due = now + numbers.sweep;
        // what could not be killed when its job ended may have ended since
        tree::reap_strays(&self.helpers());
        if let Some(cgroups) = &self.around.cgroups {
            let known: Vec<Token> = self.running.keys().chain(self.stuck.keys()).copied().collect();
            cgroups.sweep(&known);
        }
        let seen = self.link.ask(|store| Ok((store.workers()?, store.refuses(OWN_VERSION)?)));
        let seen = match seen {
            Ok((seen, None)) => seen,
            Ok((seen, Some(least))) => {
                let why = self.too_old_for(&least);
                self.too_old.get_or_insert(why);
                self.drain();
                seen
            }
            Err(Fault(why)) => {
                self.leases.was_deaf();
                return self.trouble("queue", &why);
            }
        };
        let others: Vec<Seen> = seen.into_iter().filter(|it| it.id != self.id).collect();
        let patience = Patience { lease: self.lease, proof: RETRY_HOLDING + numbers.beat * 3 };
        let over = self.leases.look(&others, now, patience);
        // of a process of this very host it is known, and need not be waited for
        let fates = Waiting::in_dir(&self.setup.service_dir).fates(others);
        // whoever takes its jobs now would begin them beside what is still at them
        let ending = fates.iter().filter(|(_, fate)| *fate == Fate::Ending);
        let ending: Vec<String> = ending.map(|(it, _)| it.id.clone()).collect();
        if ending.is_empty() {
            self.ending_since = None;
        } else {
            let since = *self.ending_since.get_or_insert(now);
            if now < since + SOON_FOR {
                self.sweep_due = now + Duration::from_millis(250);
            } else {
                left::end(ending);
            }
        }
        let gone = leases::gone(&over, &fates);
        let ids: Vec<String> = gone.iter().map(|it| it.id.clone()).collect();
        let id = self.id.clone();
        let swept = self.link.ask(move |store| {
            let back = store.bury(&gone, numbers.rescues)?;
            let aside = aside(store, &back)?;
            Ok((back, aside, store.adopt(&id)?))
        });
        match swept {
            Ok((back, aside, differ)) => {
                self.clear_up(aside);
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
}
