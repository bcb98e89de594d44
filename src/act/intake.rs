//! Taking files in: what lies complete in a directory becomes a job, once, and when its job is done its input may go,
//! last of all. Whatever is cut off in between, the next pass ends the same: a job is known by the path and the version of
//! its file, and a file is deleted only while it is still that version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::offer::jobs_of;
use super::permission::still_permitted;
use crate::config::Settings;
use crate::config::intake::{After, Intake, Rule};
use crate::config::job_type::JobType;
use crate::config::jobs::Jobs;
use crate::config::sentinel::Kind;
use crate::probes::gate;
use crate::probes::intake::{self as probe, Entry};
use crate::queue::Fault;
use crate::queue::store::{NewJob, Store};
use crate::sys::clock::{Deadline, pause};
use crate::sys::text;

/// How long the deletion of one file may take.
const DELETE_LIMIT: Duration = Duration::from_secs(10);
/// So many are put in at a time: nobody waits long for their lock.
const AT_ONCE: usize = 500;
/// Between two looks at files that must stay the same, and how many there must be.
const BETWEEN: Duration = Duration::from_secs(2);
const LOOKS: u32 = 3;

/// What was seen before, by a program that stays.
#[derive(Debug, Default)]
pub struct Memory {
    /// What was put in.
    known: BTreeSet<String>,
    /// How often each file was found the same.
    same: BTreeMap<String, (String, u32)>,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Files that are not complete yet.
    pub incomplete: usize,
    /// Jobs that are new.
    pub new: usize,
    /// Inputs that were deleted.
    pub deleted: usize,
}

/// What makes a job of a file: the rest of it is known by its type.
pub type JobOf<'a> = dyn Fn(&Path) -> Result<NewJob, String> + 'a;

/// One pass over one intake.
///
/// # Errors
/// It cannot be looked at, or the queue gave no answer; the next pass goes on.
pub fn pass(
    store: &mut Store,
    settings: &Settings,
    intake: &Intake,
    job_of: &JobOf<'_>,
    memory: &mut Memory,
    limit: Duration,
) -> Result<Passed, String> {
    let allowed = still_permitted(settings, Kind::Jobs, Deadline::after(limit));
    if let Err(why) = allowed {
        return Err(format!("not permitted: {}", why.words()));
    }
    let run_dir = &settings.host.run_dir;
    let open = gate::open(run_dir);
    if let Some(need) =
        gate::needs_of(run_dir, &[&intake.path]).iter().find(|it| !open.contains(it))
    {
        return Err(format!("{need} is not open"));
    }
    let list = || probe::list(&intake.path, limit);
    let fault = |Fault(why): Fault| format!("the queue: {why}");
    let mut entries = list()?;
    // a program that does not stay looks as often as it takes
    let mut looks = if memory.same.is_empty() && intake.rule == Rule::Stable { LOOKS } else { 1 };
    let mut complete = memory.complete(intake, &entries);
    while looks > 1 {
        pause(BETWEEN);
        entries = list()?;
        complete = memory.complete(intake, &entries);
        looks -= 1;
    }
    let mut passed = Passed {
        incomplete: entries.iter().filter(|it| is_wanted(intake, &it.name)).count()
            - complete.len(),
        ..Passed::default()
    };
    let new: Vec<(String, NewJob)> = complete
        .iter()
        .filter_map(|entry| {
            let path = intake.path.join(&entry.name);
            let key = format!("{}@{}", text::path(&path), entry.version);
            (!memory.known.contains(&key)).then(|| {
                let job = job_of(&path)?;
                Ok((key.clone(), NewJob { key, intake: Some(intake.name.clone()), ..job }))
            })
        })
        .collect::<Result<_, String>>()?;
    for some in new.chunks(AT_ONCE) {
        let jobs: Vec<NewJob> = some.iter().map(|(_, job)| job.clone()).collect();
        let put = store.submit(&jobs).map_err(fault)?;
        passed.new += put.iter().filter(|it| it.is_new).count();
        memory.known.extend(some.iter().map(|(key, _)| key.clone()));
    }
    passed.deleted =
        sweep(store, intake, &entries, memory).map_err(|why| format!("inputs: {why}"))?;
    Ok(passed)
}

/// One pass over each, for a program that does not stay; what went wrong.
#[must_use]
pub fn once(settings: &Settings, deadline: Deadline) -> Vec<String> {
    let mut store = None;
    let mut wrong = Vec::new();
    for intake in &settings.intake {
        if let Err(why) = one(&mut store, settings, intake, &mut Memory::default(), deadline.left())
        {
            wrong.push(format!("intake {}: {why}", intake.name));
        }
    }
    wrong
}

/// One pass over one, by the type that this host has for it; a listing takes no longer than `limit`.
///
/// # Errors
/// What is wrong; the next pass goes on.
pub fn one(
    store: &mut Option<Store>,
    settings: &Settings,
    intake: &Intake,
    memory: &mut Memory,
    limit: Duration,
) -> Result<Passed, String> {
    let Some(queue) = &settings.queue else { return Err("there is no [queue]".to_owned()) };
    let dir = settings.jobs.as_ref().map_or_else(|| Jobs::default().dir, |jobs| jobs.dir.clone());
    let types = JobType::read_all(&dir)?;
    let kind = types.good.iter().find(|kind| kind.name == intake.kind);
    let kind = kind.ok_or_else(|| format!("{} is no type in {}", intake.kind, dir.display()))?;
    let job_of = |path: &Path| -> Result<NewJob, String> {
        let files = [path.to_owned()];
        let mut jobs = jobs_of(kind, &files, Path::new("/"), &settings.host.run_dir)?;
        jobs.pop().ok_or_else(|| "no job".to_owned())
    };
    let mut own = match store.take() {
        Some(own) => own,
        None => Store::open(queue).map_err(|fault| format!("the queue: {fault}"))?,
    };
    let passed = pass(&mut own, settings, intake, &job_of, memory, limit)?;
    *store = Some(own);
    Ok(passed)
}

impl Memory {
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
    let name = name.to_string_lossy();
    let is_partial = name.starts_with('.') || name.ends_with(".part") || name.ends_with(".tmp");
    let is_marker = intake.rule == Rule::Marker && name.ends_with(&intake.marker);
    let ends = intake.suffixes.is_empty() || intake.suffixes.iter().any(|it| name.ends_with(it));
    !is_partial && !is_marker && ends
}

/// Deletes inputs whose jobs are done, where that is wanted, and learns which inputs are gone; how many were deleted.
fn sweep(
    store: &mut Store,
    intake: &Intake,
    entries: &[Entry],
    memory: &mut Memory,
) -> Result<usize, String> {
    let there: BTreeMap<String, &str> = entries
        .iter()
        .map(|it| (text::path(&intake.path.join(&it.name)), it.version.as_str()))
        .collect();
    let (mut after, mut deleted) = (0, 0);
    loop {
        let jobs = store
            .taken_in(&intake.name, after, u32::try_from(AT_ONCE).unwrap_or(u32::MAX))
            .map_err(|Fault(why)| why)?;
        let Some(last) = jobs.last().map(|it| it.0) else { return Ok(deleted) };
        after = last;
        let mut gone = Vec::new();
        for (id, input, key, is_done) in jobs {
            let version = key.rsplit_once('@').map_or("", |(_, version)| version);
            let is_there = there.get(&input) == Some(&version);
            if is_there && is_done && intake.after == After::Delete {
                let Some(path) = path_of(&input) else { continue };
                probe::delete(&path, version, DELETE_LIMIT)
                    .map_err(|why| format!("delete {input}: {why}"))?;
                if intake.rule == Rule::Marker {
                    let mut marker = path.into_os_string();
                    marker.push(&intake.marker);
                    let marker = Path::new(&marker);
                    let version = there.get(&text::path(marker)).copied().unwrap_or_default();
                    probe::delete(marker, version, DELETE_LIMIT)
                        .map_err(|why| format!("delete {}: {why}", text::path(marker)))?;
                }
                deleted += 1;
            } else if is_there {
                continue;
            }
            memory.known.remove(&key);
            gone.push(id);
        }
        if !gone.is_empty() {
            store.inputs_gone(&gone).map_err(|Fault(why)| why)?;
        }
    }
}

fn path_of(written: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(std::ffi::OsString::from_vec(text::unwritten(written)?).into())
}
