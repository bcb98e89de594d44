//! Taking files in: what lies complete in a directory or a bucket becomes a job, once, and when its job is done its input may go,
//! last of all. Whatever is cut off in between, the next pass ends the same: a job is known by the path and the version of
//! its file, and a file is deleted only while it is still that version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::input;
use super::offer::job_of;
use super::permission::still_permitted;
use crate::config::Settings;
use crate::config::bucket::Address;
use crate::config::intake::{After, Intake, Rule, Source};
use crate::config::job_type::JobType;
use crate::config::sentinel::Kind;
use crate::probes::bucket;
use crate::probes::gate::{self, Watch};
use crate::probes::intake::{self as probe, Entry, Listing};
use crate::probes::types;
use crate::probes::witness;
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::store::preview::{Out, Put};
use crate::queue::store::upkeep::TakenIn;
use crate::queue::store::{NewJob, SUBMIT_AT_ONCE, Store};
use crate::sys::clock::{Deadline, boottime, pause};
use crate::sys::limit::within;
use crate::sys::s3::{Object, Trouble};
use crate::sys::text;

/// How long a directory may take for an answer.
const DIR_LIMIT: Duration = Duration::from_secs(60);
/// How long the deletion of one file may take.
const DELETE_LIMIT: Duration = Duration::from_secs(10);
/// A deletion that took so long is one of storage or of a server that does not answer.
const SLOW: Duration = Duration::from_secs(1);
/// What was refused is tried again after this.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at files that must stay the same,
pub const BETWEEN: Duration = Duration::from_secs(2);
/// and how many there must be.
const LOOKS: u32 = 3;

/// What was seen before, by a program that stays.
#[derive(Debug)]
pub struct Memory {
    /// What was put in.
    known: BTreeSet<String>,
    /// How often each file was found the same.
    same: BTreeMap<String, (String, u32)>,
    /// What was refused and why, and when that is tried again, in time since boot.
    refused: BTreeMap<String, (Duration, String)>,
    /// What a pass that only looks would have changed so far.
    would: Would,
    /// The time since boot.
    clock: fn() -> Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Self::by(boottime)
    }
}

/// What would be otherwise by now, had a pass done what it found to be done.
#[derive(Debug, Default)]
struct Would {
    /// Results of jobs that would be put in.
    outputs: BTreeSet<String>,
    /// Jobs whose input would be known to be there again.
    back: Vec<i64>,
}

impl Would {
    /// Notes what putting these in would do; no two of them have one result.
    fn put(&mut self, outputs: &[Option<String>], put: Put) -> Result<usize, Fault> {
        let mut own = BTreeSet::new();
        for output in put.new.iter().filter_map(|nth| outputs.get(*nth)?.as_ref()) {
            if self.outputs.contains(output) || !own.insert(output.clone()) {
                return Err(Fault(format!(
                    "{output} is the output of another that would be put in: two jobs never write one file"
                )));
            }
        }
        self.outputs.append(&mut own);
        self.back.extend(put.back);
        Ok(put.new.len())
    }
}

/// What a pass does with what it finds.
#[derive(Clone, Copy, Debug)]
enum How<'a> {
    /// All that is to be done.
    Does,
    /// Nothing: it only counts, once that is so.
    Looks(&'a Out),
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Files that are not complete yet.
    pub incomplete: usize,
    /// Jobs that are new.
    pub new: usize,
    /// Inputs that were deleted.
    pub deleted: usize,
    /// Whether deletions that were cut off before were ended.
    pub settled: bool,
    /// Files that could not be taken in or deleted, each with its reason: the first thousand.
    pub trouble: Vec<String>,
    /// Whether there was no time for all that lies there.
    pub is_cut_short: bool,
}

impl Passed {
    fn wrong(&mut self, why: String) {
        /// Whoever has half a million has one reason.
        const MOST: usize = 1000;
        if self.trouble.len() < MOST {
            self.trouble.push(why);
        }
    }

    /// When the next pass is to come: soon where files are to be seen to stay the same.
    #[must_use]
    pub fn again_after(&self, intake: &Intake) -> Duration {
        let is_ripening = intake.rule == Rule::Stable && self.incomplete > 0;
        if is_ripening { BETWEEN } else { intake.every }
    }
}

/// How often a program comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comes {
    /// Again and again, with what it remembers.
    Often,
    /// Once: it looks as often in one pass as it takes.
    Once,
}

/// One pass over one intake, by the type that this host has for it; a listing takes no longer than `limit`.
///
/// # Errors
/// It cannot be looked at, or the queue gave no answer; the next pass goes on.
pub fn pass(
    link: &mut Link,
    settings: &Settings,
    intake: &Intake,
    comes: Comes,
    memory: &mut Memory,
    limit: Duration,
) -> Result<Passed, String> {
    let allowed = still_permitted(settings, Kind::Jobs, Deadline::after(limit));
    if let Err(why) = allowed {
        return Err(format!("not permitted: {}", why.words()));
    }
    walk(link, settings, intake, comes, memory, limit, How::Does)
}

/// What a pass finds, and what it does with it.
fn walk(
    link: &mut Link,
    settings: &Settings,
    intake: &Intake,
    comes: Comes,
    memory: &mut Memory,
    limit: Duration,
    how: How<'_>,
) -> Result<Passed, String> {
    let deadline = Deadline::after(limit);
    memory.forget_refusals();
    let kind = kind_of(settings, &intake.kind)?;
    let watch = Watch::of(settings);
    let open = gate::open(&settings.host.run_dir);
    let needs = match &intake.source {
        Source::Dir(dir) => watch.needs_of_dirs(&[dir]),
        // whether it answers is seen at once
        Source::Bucket { .. } => Vec::new(),
    };
    if let Some(need) = needs.iter().find(|it| !open.contains(it)) {
        return Err(format!("{need} is not open"));
    }
    let mut there = list(settings, intake, limit)?;
    let mut looks = if comes == Comes::Once && intake.rule == Rule::Stable { LOOKS } else { 1 };
    let mut complete = memory.complete(intake, &there.files);
    while looks > 1 {
        pause(BETWEEN);
        there = list(settings, intake, limit)?;
        complete = memory.complete(intake, &there.files);
        looks -= 1;
    }
    let wanted = there.files.iter().filter(|it| is_wanted(intake, &it.name)).count();
    let mut passed = Passed { incomplete: wanted - complete.len(), ..Passed::default() };
    let own = host_of(&intake.source);
    let mut new = Vec::new();
    for entry in complete {
        let path = intake.source.file(&entry.name);
        let key = format!("{}@{}", text::path(&path), entry.version);
        if memory.known.contains(&key) {
            continue;
        }
        if let Some(why) = memory.refusal(&key) {
            passed.wrong(why);
            continue;
        }
        let output = output_of(&kind, intake, &entry.name, &path);
        if let Some(output) = output.as_deref().filter(|it| is_taken_in(intake, it)) {
            passed.wrong(format!(
                "{}: its result would be {}, which this intake takes in again: have output lead elsewhere, or suffixes tell them apart",
                text::path(&path),
                text::path(output)
            ));
            continue;
        }
        match job_of(&kind, &path, output.as_deref(), &watch) {
            Ok(job) => {
                let offered_by = own.clone();
                new.push(NewJob { key, intake: Some(intake.name.clone()), offered_by, ..job });
            }
            Err(why) => passed.wrong(why),
        }
        // as they come: nobody keeps half a million of them in memory, and what is put in stays
        if new.len() == SUBMIT_AT_ONCE {
            put_in(link, &new, memory, &mut passed, how)?;
            new.clear();
            if deadline.passed() {
                passed.is_cut_short = true;
                return Ok(passed);
            }
        }
    }
    put_in(link, &new, memory, &mut passed, how)?;
    if let (true, Source::Dir(dir)) = (there.has_aside, &intake.source) {
        let settled = match how {
            How::Does => input::settle(dir, DELETE_LIMIT),
            How::Looks(_) => Ok(()),
        };
        passed.settled = settled.is_ok();
        passed.trouble.extend(settled.err().map(|why| format!("a deletion cut off: {why}")));
    }
    sweep(link, (settings, intake), &there.files, memory, &mut passed, &deadline, how)?;
    Ok(passed)
}

/// What lies there.
fn list(settings: &Settings, intake: &Intake, limit: Duration) -> Result<Listing, String> {
    match &intake.source {
        Source::Dir(dir) => probe::list(dir, limit.min(DIR_LIMIT)),
        Source::Bucket { name, prefix, .. } => {
            let client = bucket::client(&settings.bucket, name);
            let found = client.and_then(|it| it.list(prefix, limit).map_err(|why| why.to_string()));
            let found = found.map_err(|why| format!("bucket {name}: {why}"))?;
            let entry = |it: Object| {
                let name = PathBuf::from(it.key.strip_prefix(prefix.as_str())?);
                // what looks like a folder is none of them
                (!it.key.ends_with('/')).then(|| Entry { name, version: it.version.to_string() })
            };
            let files = found.into_iter().filter_map(entry).collect();
            Ok(Listing { files, has_aside: false })
        }
    }
}

/// Where the result goes: where its type says, or under the same name where the intake has a place for it.
fn output_of(kind: &JobType, intake: &Intake, name: &Path, input: &Path) -> Option<PathBuf> {
    let output = kind.output_of(input, Path::new("/"))?;
    let Source::Bucket { name: bucket, output_prefix: Some(prefix), .. } = &intake.source else {
        return Some(output);
    };
    let last = output.file_name().unwrap_or_default().to_string_lossy();
    // what is a folder before is one after; as a path two strokes would be one, and two objects the same result
    let name = name.to_string_lossy();
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = if name.contains('/') { format!("{folder}/") } else { String::new() };
    Some(Address { bucket, key: &format!("{prefix}{folder}{last}") }.path())
}

/// Whether a file that is put there is taken in. One without its marker is not.
fn is_taken_in(intake: &Intake, output: &Path) -> bool {
    let name = match &intake.source {
        Source::Dir(dir) => {
            output.parent().filter(|it| it == dir).and(output.file_name()).map(PathBuf::from)
        }
        Source::Bucket { name, prefix, .. } => Address::of(output)
            .filter(|it| it.bucket == name)
            .and_then(|it| it.key.strip_prefix(prefix.as_str()).map(PathBuf::from)),
    };
    intake.rule != Rule::Marker && name.is_some_and(|name| is_wanted(intake, &name))
}

/// What a pass over one of them came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Of {
    /// What it is called.
    pub name: String,
    /// What was done, or why nobody knows what lies there.
    pub came: Result<Passed, String>,
}

impl Of {
    /// What could not be done, each with the name before it.
    pub fn trouble(&self) -> impl Iterator<Item = String> {
        let (all, is_cut_short) = match &self.came {
            Ok(passed) => (passed.trouble.as_slice(), passed.is_cut_short),
            Err(why) => (std::slice::from_ref(why), false),
        };
        let no_time = is_cut_short.then_some("there was no time for all that lies there");
        let all = all.iter().map(String::as_str).chain(no_time);
        all.map(|why| format!("intake {}: {why}", self.name))
    }

    /// Whether all that was come to there, and is complete, could be taken in, and go.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.came.as_ref().is_ok_and(|passed| passed.trouble.is_empty())
    }
}

/// One pass over each, for a program that does not stay.
#[must_use]
pub fn once(settings: &Settings, deadline: Deadline) -> Vec<Of> {
    let Some(queue) = &settings.queue else { return Vec::new() };
    let mut link = Link::to(queue.clone());
    each(settings, deadline, |intake, own| {
        pass(&mut link, settings, intake, Comes::Once, &mut Memory::default(), own)
    })
}

/// What such a pass would do now, once what would be `out` is; nothing is changed.
#[must_use]
pub fn preview(settings: &Settings, out: &Out, deadline: Deadline) -> Vec<Of> {
    let Some(queue) = &settings.queue else { return Vec::new() };
    let (mut link, mut outputs) = (Link::only_look(queue.clone()), BTreeSet::new());
    each(settings, deadline, |intake, own| {
        let mut memory = Memory::default();
        // what one would put in is there for the next
        memory.would.outputs = std::mem::take(&mut outputs);
        let how = How::Looks(out);
        let came = walk(&mut link, settings, intake, Comes::Once, &mut memory, own, how);
        outputs = memory.would.outputs;
        came
    })
}

/// Each of them, in its part of the time: one that is slow takes no other's.
fn each(
    settings: &Settings,
    deadline: Deadline,
    mut pass: impl FnMut(&Intake, Duration) -> Result<Passed, String>,
) -> Vec<Of> {
    let mut left = u32::try_from(settings.intake.len()).unwrap_or(u32::MAX);
    let mut of = |intake: &Intake| {
        let own = deadline.left() / left.max(1);
        left = left.saturating_sub(1);
        Of { name: intake.name.clone(), came: pass(intake, own) }
    };
    settings.intake.iter().map(&mut of).collect()
}

/// Whose it is: a directory may be this host's own, and a bucket is everybody's.
fn host_of(source: &Source) -> Option<String> {
    match source {
        Source::Dir(_) => Some(witness::host()),
        Source::Bucket { .. } => None,
    }
}

fn kind_of(settings: &Settings, name: &str) -> Result<JobType, String> {
    let jobs = settings.jobs_or_default();
    let types = types::of(&jobs.dir)?;
    if let Some((_, why)) = types.bad.into_iter().find(|(bad, _)| bad == name) {
        return Err(why);
    }
    let kind = types.good.into_iter().find(|kind| kind.name == name);
    kind.ok_or_else(|| format!("{name} is no type in {}", jobs.dir.display()))
}

/// Puts some jobs in; where the queue refuses them, each by itself: one that is refused, because
/// its output is another's, keeps no other back, and is tried again by the next pass.
fn put_in(
    link: &mut Link,
    some: &[NewJob],
    memory: &mut Memory,
    passed: &mut Passed,
    how: How<'_>,
) -> Result<(), String> {
    let Memory { known, would, refused, clock, .. } = memory;
    let mut put = |link: &mut Link, jobs: Vec<NewJob>, new: &mut usize| -> Result<(), Fault> {
        let keys: Vec<String> = jobs.iter().map(|it| it.key.clone()).collect();
        *new += match how {
            How::Does => {
                let put = link.ask(move |store| Ok(store.submit(&jobs)))??;
                put.iter().filter(|it| it.is_new).count()
            }
            How::Looks(out) => {
                let outputs: Vec<_> = jobs.iter().map(|it| it.output.clone()).collect();
                let out = out.clone();
                let put = link.ask(move |store| Ok(store.would_submit(&jobs, &out)))??;
                would.put(&outputs, put)?
            }
        };
        known.extend(keys);
        Ok(())
    };
    if some.is_empty() {
        return Ok(());
    }
    let Err(Fault(why)) = put(link, some.to_vec(), &mut passed.new) else { return Ok(()) };
    // who gives no answer to this either refuses nothing: it is away
    link.ask(Store::lanes).map_err(|_| format!("the queue: {why}"))?;
    for job in some {
        if let Err(Fault(why)) = put(link, vec![job.clone()], &mut passed.new) {
            let why = format!("{} is not taken in: {why}", job.input);
            refused.insert(job.key.clone(), (clock() + REFUSED_AGAIN, why.clone()));
            passed.wrong(why);
        }
    }
    Ok(())
}

impl Memory {
    /// None yet, by this clock.
    fn by(clock: fn() -> Duration) -> Self {
        let (known, same, refused) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { known, same, refused, would: Would::default(), clock }
    }

    /// Those that are due are tried again, where they are there still.
    fn forget_refusals(&mut self) {
        let now = (self.clock)();
        self.refused.retain(|_, (due, _)| *due > now);
    }

    /// Why it was refused, where that is not tried again yet.
    fn refusal(&self, key: &str) -> Option<String> {
        let now = (self.clock)();
        self.refused.get(key).filter(|(due, _)| *due > now).map(|(_, why)| why.clone())
    }

    /// Those that are wanted and complete.
    fn complete<'a>(&mut self, intake: &Intake, entries: &'a [Entry]) -> Vec<&'a Entry> {
        let names: BTreeSet<&Path> = entries.iter().map(|it| it.name.as_path()).collect();
        let wanted = entries.iter().filter(|it| is_wanted(intake, &it.name));
        match intake.rule {
            Rule::Rename => wanted.collect(),
            Rule::Marker => wanted
                .filter(|it| {
                    let mut marker = it.name.as_os_str().to_owned();
                    marker.push(&intake.marker);
                    names.contains(Path::new(&marker))
                })
                .collect(),
            Rule::Stable => {
                let before = std::mem::take(&mut self.same);
                let mut complete = Vec::new();
                for it in wanted {
                    let name = text::path(&it.name);
                    let looks = match before.get(&name) {
                        Some((version, looks)) if *version == it.version => looks + 1,
                        Some(_) | None => 1,
                    };
                    if looks >= LOOKS {
                        complete.push(it);
                    }
                    self.same.insert(name, (it.version.clone(), looks));
                }
                complete
            }
        }
    }
}

fn is_wanted(intake: &Intake, name: &Path) -> bool {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    let is_partial = name.starts_with('.') || name.ends_with(".part") || name.ends_with(".tmp");
    let is_marker = intake.rule == Rule::Marker && name.ends_with(&intake.marker);
    let ends = intake.suffixes.is_empty() || intake.suffixes.iter().any(|it| name.ends_with(it));
    !is_partial && !is_marker && ends
}

/// Deletes inputs whose jobs are done, where that is wanted, and learns which inputs are gone. One that cannot be deleted
/// keeps no other.
fn sweep(
    link: &mut Link,
    (settings, intake): (&Settings, &Intake),
    entries: &[Entry],
    memory: &mut Memory,
    passed: &mut Passed,
    deadline: &Deadline,
    how: How<'_>,
) -> Result<(), String> {
    let there: BTreeMap<String, &str> = entries
        .iter()
        .map(|it| (text::path(&intake.source.file(&it.name)), it.version.as_str()))
        .collect();
    // whoever else finds that one is gone says so to the queue, and not here
    memory.known.retain(|key| {
        key.rsplit_once('@').is_some_and(|(input, version)| there.get(input) == Some(&version))
    });
    let fault = |Fault(why): Fault| format!("the queue: {why}");
    let own = host_of(&intake.source);
    // those that have a worker: asked for once, and only where that matters
    let mut hosts: Option<BTreeSet<String>> = None;
    let mut after = 0;
    loop {
        let Some(jobs) = next(link, intake, &mut after, memory, how).map_err(fault)? else {
            return Ok(());
        };
        let mut gone = Vec::new();
        for TakenIn { id, input, key, is_done, offered_by, made_before } in jobs {
            if deadline.passed() {
                break;
            }
            let version = key.rsplit_once('@').map_or("", |(_, version)| version);
            let is_there = there.get(&input) == Some(&version);
            // what another host has offered may lie in a directory of its own, as long as that one is there
            let another = offered_by.filter(|it| own.as_ref().is_some_and(|own| own != it));
            if let (false, Some(another)) = (is_there, another) {
                if hosts.is_none() {
                    let seen = link.ask(Store::workers).map_err(fault)?;
                    hosts = Some(seen.into_iter().map(|it| it.host).collect());
                }
                if hosts.as_ref().is_some_and(|it| it.contains(&another)) {
                    continue;
                }
            }
            if is_there && !(is_done && intake.after == After::Delete) {
                continue;
            }
            if is_there {
                if let Some(why) = memory.refusal(&key) {
                    passed.wrong(why);
                    continue;
                }
                let start = boottime();
                let stays = why_it_stays(settings, id, &input, made_before);
                let deleted = stays.map_or_else(
                    || {
                        let deleted = match how {
                            How::Does => delete(settings, intake, &input, version, &there),
                            How::Looks(_) => Ok(()),
                        };
                        deleted.map_err(|why| format!("delete {input}: {why}"))
                    },
                    Err,
                );
                if let Err(why) = deleted {
                    memory.refused.insert(key, ((memory.clock)() + REFUSED_AGAIN, why.clone()));
                    passed.wrong(why);
                    // who was waited for in vain is not asked again for the next one
                    if boottime().saturating_sub(start) > SLOW {
                        return Ok(());
                    }
                    continue;
                }
                passed.deleted += 1;
                // the same may come again before the next look
                memory.known.remove(&key);
            }
            gone.push(id);
        }
        if !gone.is_empty() && matches!(how, How::Does) {
            link.ask(move |store| store.inputs_gone(&gone)).map_err(fault)?;
        }
        if deadline.passed() {
            // the next pass goes on
            return Ok(());
        }
    }
}

/// The next of what came by an intake; none where that was all.
fn next(
    link: &mut Link,
    intake: &Intake,
    after: &mut i64,
    memory: &mut Memory,
    how: How<'_>,
) -> Result<Option<Vec<TakenIn>>, Fault> {
    let most = u32::try_from(SUBMIT_AT_ONCE).unwrap_or(u32::MAX);
    let (name, kind, from) = (intake.name.clone(), intake.kind.clone(), *after);
    let jobs = match how {
        How::Does => link.ask(move |store| store.taken_in(&name, &kind, from, most))?,
        How::Looks(out) => {
            let out = out.clone();
            link.ask(move |store| store.would_be_taken_in(&name, &kind, from, most, &out))?
        }
    };
    if let Some(last) = jobs.last() {
        *after = last.id;
        return Ok(Some(jobs));
    }
    // behind all others come those that only would be among them
    let back = &mut memory.would.back;
    if back.is_empty() {
        return Ok(None);
    }
    let (some, kind) =
        (back.split_off(back.len().saturating_sub(SUBMIT_AT_ONCE)), intake.kind.clone());
    link.ask(move |store| store.back(&kind, &some)).map(Some)
}

/// Why the input of a job that is done stays, where it was gone before: whoever puts it in again and has taken its result
/// away wants another one.
fn why_it_stays(
    settings: &Settings,
    id: i64,
    input: &str,
    made_before: Option<String>,
) -> Option<String> {
    let result = made_before?;
    match is_result_there(settings, &result) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "{input}: it is there again, and {result}, which job {id} made of it, is not there now: unwedge jobs retry {id} makes it anew"
        )),
        Err(why) => Some(format!(
            "{input}: it is there again, and whether {result} is, too, cannot be told: {why}"
        )),
    }
}

/// Whether a result is there; an object is not asked for.
fn is_result_there(settings: &Settings, result: &str) -> Result<bool, String> {
    let path = text::path_of(result).ok_or("its name is no path")?;
    if Address::of(&path).is_some() {
        return Ok(true);
    }
    let open = gate::open(&settings.host.run_dir);
    let needs = Watch::of(settings).needs_of(&[&path]);
    if let Some(need) = needs.iter().find(|need| !open.contains(need)) {
        return Err(format!("{need} is not open"));
    }
    let looked = within(DELETE_LIMIT, move || path.symlink_metadata());
    match looked.map_err(|why| why.to_string())? {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Deletes an input, and its marker before it.
fn delete(
    settings: &Settings,
    intake: &Intake,
    input: &str,
    version: &str,
    there: &BTreeMap<String, &str>,
) -> Result<(), String> {
    let path = text::path_of(input).ok_or("its name is no path")?;
    if intake.rule == Rule::Marker {
        // before its file: the next one of the name is not to be complete by it
        let mut marker = path.clone().into_os_string();
        marker.push(&intake.marker);
        let marker = Path::new(&marker);
        if let Some(version) = there.get(&text::path(marker)) {
            delete_one(settings, marker, version).map_err(|why| format!("its marker: {why}"))?;
        }
    }
    delete_one(settings, &path, version)
}

fn delete_one(settings: &Settings, path: &Path, version: &str) -> Result<(), String> {
    match bucket::of(&settings.bucket, path) {
        None => input::delete(path, version, DELETE_LIMIT),
        Some(way) => {
            let (client, key) = way?;
            let version = version.parse().map_err(|()| "its version is not as it was written")?;
            match client.delete(key, &version) {
                // another one of the same name is another job's
                Ok(()) | Err(Trouble::Changed) => Ok(()),
                Err(why) => Err(why.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::from_str;

    fn intake(more: &str) -> Intake {
        let text = "[[intake]]\nname = \"in\"\ntype = \"t\"\npath = \"/srv/in\"\n";
        from_str(&format!("{text}{more}")).unwrap().intake.remove(0)
    }

    #[test]
    fn the_next_pass_comes_after_every_and_sooner_while_a_file_is_to_stay_the_same() {
        let (none, some) = (Passed::default(), Passed { incomplete: 1, ..Passed::default() });
        let (by_name, stable) =
            (intake("every = \"1m\"\n"), intake("every = \"1m\"\nrule = \"stable\"\n"));
        let minute = Duration::from_secs(60);
        assert_eq!([none.again_after(&by_name), some.again_after(&by_name)], [minute; 2]);
        assert_eq!([none.again_after(&stable), some.again_after(&stable)], [minute, BETWEEN]);
        assert_eq!(none.again_after(&intake("")), Duration::from_secs(2));
    }

    /// The time since boot, for the one test that has it go on.
    static NOW_MS: AtomicU64 = AtomicU64::new(1_000_000);

    #[test]
    fn what_was_refused_is_not_offered_by_the_next_pass_and_is_after_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().canonicalize().unwrap().join("q.db").display());
        let settings =
            from_str(&format!("[queue]\nadapter = \"unwedge\"\nurl = \"{url}\"\n")).unwrap();
        let mut link = Link::to(settings.queue.unwrap());
        let mut memory = Memory::by(|| Duration::from_millis(NOW_MS.load(Ordering::SeqCst)));
        let job = |key: &str, kind: &str| NewJob {
            kind: kind.to_owned(),
            key: key.to_owned(),
            priority: 0,
            needs: Vec::new(),
            prefers: Vec::new(),
            input: key.to_owned(),
            output: Some("/srv/out/a".to_owned()),
            output_dir: None,
            stamp: None,
            intake: None,
            offered_by: None,
        };
        let first = job("first", "other");
        let first = link.ask(move |store| store.submit(&[first])).unwrap().remove(0).id;
        let pass = |link: &mut Link, memory: &mut Memory| {
            let (mut passed, job) = (Passed::default(), job("a@1", "t"));
            match memory.refusal(&job.key) {
                Some(why) => passed.wrong(why),
                None => put_in(link, &[job], memory, &mut passed, How::Does).unwrap(),
            }
            (passed.new, passed.trouble.len())
        };
        assert_eq!(pass(&mut link, &mut memory), (0, 1), "its result is another's");
        link.ask(move |store| store.remove(first)).unwrap();
        NOW_MS.fetch_add(59_999, Ordering::SeqCst);
        assert_eq!(pass(&mut link, &mut memory), (0, 1), "nobody asks that often");
        NOW_MS.fetch_add(1, Ordering::SeqCst);
        assert_eq!(pass(&mut link, &mut memory), (1, 0));
    }

    #[test]
    fn two_that_would_have_one_result_are_not_both_counted() {
        let mut would = Would::default();
        let put = |new: &[usize]| Put { new: new.iter().copied().collect(), back: vec![7] };
        let names =
            |all: &[&str]| -> Vec<_> { all.iter().map(|it| Some((*it).to_owned())).collect() };
        assert_eq!(would.put(&names(&["a", "b"]), put(&[0, 1])), Ok(2));
        assert!(would.put(&names(&["c", "a"]), put(&[0, 1])).is_err());
        assert_eq!(
            would.put(&names(&["c", "a"]), put(&[0])),
            Ok(1),
            "one that is known is no new one"
        );
        assert!(would.put(&names(&["d", "d"]), put(&[0, 1])).is_err());
        assert_eq!(would.back, [7, 7]);
    }
}
