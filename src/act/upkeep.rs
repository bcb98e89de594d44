//! Upkeep of a queue of our own, once a round: jobs of workers that are gone go back, what was kept for long enough goes,
//! and logs of this host with it. Only rows and logs go. Everything is done some at a time, and what there was no time
//! for is done by the next round.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::FlockOperation;

use super::outcome::Ended;
use super::permission::still_permitted;
use super::{heartbeat, input, intake, scratch, store};
use crate::config::Settings;
use crate::config::jobs::{Jobs, Keep};
use crate::config::queue::{Adapter, Queue};
use crate::config::sentinel::Kind;
use crate::decide::attempts::State;
use crate::decide::leases::{self, Seen, over_rounds};
use crate::decide::plan::Hold;
use crate::decide::workers::Standing;
use crate::manifest::{LOGS, SPARE};
use crate::probes::gate;
use crate::probes::gates::holders;
use crate::probes::records::{FirstSeen, UpkeepState};
use crate::probes::{self, records};
use crate::queue::Fault;
use crate::queue::link::{Link, NONE};
use crate::queue::spool::Waiting;
use crate::queue::store::figures::Figures;
use crate::queue::store::lanes::Lane;
use crate::queue::store::listing::{Job, Worker, seen};
use crate::queue::store::preview::Out;
use crate::queue::store::upkeep::Removed;
use crate::queue::store::{MARK_CHARS, Rescued, Store};
use crate::sys::clock::{Deadline, Now};
use crate::sys::limit::within;
use crate::sys::text;

/// In the directory of a try: what is known of a result that waits to be delivered.
pub const KEPT: &str = "kept.json";
/// There as well: its place is another's, and a person picks.
pub const PICKED: &str = "conflict";
/// Most logs that are taken away in a round.
const LOGS_MAX: usize = 10_000;

/// What a round saw of a queue of our own.
#[derive(Debug)]
pub struct Look {
    /// Its lanes.
    pub lanes: Vec<Lane>,
    /// Their figures.
    pub figures: BTreeMap<String, Figures>,
    /// Its workers.
    pub workers: Vec<(Worker, Standing)>,
}

/// Looks.
///
/// # Errors
/// Nothing is known.
pub fn look(queue: &Queue, limit: Duration) -> Result<Look, Fault> {
    let asked = queue.clone();
    within(limit, move || {
        let mut store = Store::open(&asked)?;
        Ok(Look {
            lanes: store.lanes()?,
            figures: store.figures()?,
            workers: seen(store.all_workers(false)?),
        })
    })
    .map_err(|why| Fault(why.to_string()))?
}

/// When these arguments are for a child that looks at storage or deletes there: does its work, and says how the process
/// should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    probes::heartbeat::run_if_asked(args)
        .or_else(|| probes::intake::run_if_asked(args))
        .or_else(|| input::run_if_asked(args))
        .or_else(|| scratch::run_if_asked(args))
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Tended {
    /// What was seen; none where the queue is not our own, or nobody knows.
    pub look: Option<Look>,
    /// What was done; where it only looked, what would have been. None where nobody knows.
    pub done: Option<Done>,
    /// What came of each intake, by the same words.
    pub intakes: Vec<intake::Of>,
    /// Whether it only looked, and changed nothing.
    pub only_looked: bool,
    /// What forbids it.
    pub held: Option<Hold>,
    /// How many jobs were taken out so far, by how they stood.
    pub removed: BTreeMap<String, u64>,
    /// How many scratch files of jobs that were put aside were taken away so far.
    pub scratch_files: u64,
    /// Signs of life of others.
    pub heartbeats: Vec<heartbeat::Seen>,
    /// What could not be done.
    pub trouble: Vec<String>,
}

impl Tended {
    /// What could not be done, this first, in one line that is never long.
    #[must_use]
    pub fn told(&self, first: Option<anyhow::Error>) -> Option<String> {
        /// So many reasons, and how many more there are.
        const MOST: usize = 5;
        let first = first.map(|error| format!("{error:#}"));
        text::first_of(first.into_iter().chain(self.trouble.iter().cloned()), MOST)
    }

    /// Knows what forbids it.
    fn forbidden_by(&mut self, permitted: Result<(), Ended>) {
        match permitted {
            Ok(()) => {}
            Err(Ended::Refused(reason, why)) => self.held = Some(Hold::gate(reason, why)),
            Err(other) => self.trouble.push(other.words()),
        }
    }
}

/// Does what is permitted of it, and looks, within `limit`. Of a queue that is not our own that is nothing but the signs of
/// life of others.
#[must_use]
pub fn tend(settings: &Settings, own: &Path, now: &Now, limit: Duration) -> Tended {
    let deadline = Deadline::after(limit);
    let mut tended = Tended::default();
    match heartbeat::round(settings, own, now, limit / 3) {
        Ok(seen) => tended.heartbeats = seen,
        Err(error) => tended.trouble.push(format!("{error:#}")),
    }
    let Some(queue) = own_queue(settings) else { return tended };
    let mut memory: UpkeepState = match records::read(own, now) {
        Ok(memory) => memory,
        Err(error) => {
            tended.trouble.push(error.to_string());
            return tended;
        }
    };
    let most = |left: Duration| most(queue, left);
    let permitted = still_permitted(settings, Kind::Jobs, deadline);
    if permitted.is_ok() {
        let jobs = settings.jobs.clone().unwrap_or_default();
        let with_quarantine = is_due(&memory, &jobs, now);
        match round(queue, own, &jobs, &mut memory, now, most(deadline.left() / 2)) {
            Ok(mut done) => {
                let logs = remove_logs(&own.join(LOGS), jobs.keep.logs, now);
                let left = old_logs(&own.join(LOGS), jobs.keep.logs, now).next();
                done.keeps_logs(logs >= LOGS_MAX && left.is_some());
                let spare = remove_spare(&own.join(SPARE), &jobs.keep, now);
                let open = gate::open(&settings.host.run_dir);
                let gone = scratch::remove_all(&done.mark, &done.aside, &open, deadline);
                tended.trouble.extend(gone.trouble);
                let (second, removed) = remove_with_second(
                    &mut Link::look(queue.clone()),
                    &done.mark,
                    &done.with_second,
                    jobs.keep,
                    with_quarantine,
                    &open,
                    deadline,
                );
                tended.trouble.extend(second.trouble);
                match removed {
                    Ok(removed) => {
                        count(&mut memory, &removed);
                        done.removed.add(removed);
                    }
                    Err(Fault(why)) => tended.trouble.push(format!("upkeep: {why}")),
                }
                let (scratch_files, seconds) = (gone.count, second.count);
                memory.scratch_files += scratch_files + seconds;
                tended.done = Some(Done { logs, spare, scratch_files, seconds, ..done });
            }
            Err(Fault(why)) => tended.trouble.push(format!("upkeep: {why}")),
        }
        if let Err(error) = store::record(own, &memory) {
            tended.trouble.push(format!("{error:#}"));
        }
        tended.intakes = intake::once(settings, deadline.less(deadline.left() / 2));
    } else {
        foresee(settings, queue, own, &memory, now, deadline, &mut tended);
    }
    tended.forbidden_by(permitted);
    tended.trouble.extend(tended.intakes.iter().flat_map(intake::Of::trouble));
    (tended.removed, tended.scratch_files) = (memory.removed, memory.scratch_files);
    match look(queue, most(deadline.left())) {
        Ok(look) => tended.look = Some(look),
        Err(Fault(why)) => tended.trouble.push(format!("look at the lanes: {why}")),
    }
    tended
}

/// Several questions each; a queue that is away is known to be long before the round is over.
fn most(queue: &Queue, left: Duration) -> Duration {
    left.min(queue.timeout * 3)
}

fn own_queue(settings: &Settings) -> Option<&Queue> {
    settings.queue.as_ref().filter(|it| it.adapter == Adapter::Unwedge)
}

/// What [`tend`] would do now, within `limit`: by the same decisions, on the same facts. Nothing is written and no lock taken,
/// not even to remember that somebody looked.
#[must_use]
pub fn preview(settings: &Settings, own: &Path, now: &Now, limit: Duration) -> Tended {
    let deadline = Deadline::after(limit);
    let mut tended = Tended { only_looked: true, ..Tended::default() };
    if !settings.heartbeat.is_empty() {
        tended.heartbeats = heartbeat::look(settings, now, limit / 3);
    }
    let Some(queue) = own_queue(settings) else { return tended };
    match records::read_whosever(own, now) {
        Ok(memory) => foresee(settings, queue, own, &memory, now, deadline, &mut tended),
        Err(error) => tended.trouble.push(error.to_string()),
    }
    tended.forbidden_by(still_permitted(settings, Kind::Jobs, deadline));
    tended.trouble.extend(tended.intakes.iter().flat_map(intake::Of::trouble));
    tended
}

/// Looks what there would be to do, and does nothing of it.
fn foresee(
    settings: &Settings,
    queue: &Queue,
    own: &Path,
    memory: &UpkeepState,
    now: &Now,
    deadline: Deadline,
    tended: &mut Tended,
) {
    tended.only_looked = true;
    let jobs = settings.jobs.clone().unwrap_or_default();
    let with_quarantine = is_due(memory, &jobs, now);
    let mut out = Out { keep: jobs.keep, with_quarantine, aside: Vec::new() };
    let waiting = Waiting::in_dir(own);
    match would(queue, waiting, &jobs, memory, out.clone(), now, most(queue, deadline.left() / 2)) {
        Ok(mut done) => {
            out.aside = done.aside.iter().map(|job| job.id).collect();
            let logs = old_logs(&own.join(LOGS), jobs.keep.logs, now).take(LOGS_MAX + 1).count();
            done.keeps_logs(logs > LOGS_MAX);
            let logs = logs.min(LOGS_MAX);
            let spare = old_spare(&own.join(SPARE), &jobs.keep, now);
            // whoever is at work there holds its lock; to try it would be to hold it
            let spare = spare.filter(|it| holders(it).is_ok_and(|all| all.is_empty())).count();
            let open = gate::open(&settings.host.run_dir);
            let gone = scratch::count_all(&done.mark, &done.aside, &open, deadline);
            let (seconds, rid) =
                scratch::count_let_go(&done.mark, &done.with_second, &open, deadline);
            // where what lies there cannot be seen, its row stays as well
            let stays = done.with_second.iter().filter(|job| !rid.contains(&job.id));
            stays.for_each(|job| done.removed.stays(job));
            tended.trouble.extend(gone.trouble.into_iter().chain(seconds.trouble));
            let (scratch_files, seconds) = (gone.count, seconds.count);
            tended.done = Some(Done { logs, spare, scratch_files, seconds, ..done });
        }
        Err(Fault(why)) => tended.trouble.push(format!("upkeep: {why}")),
    }
    tended.intakes = intake::preview(settings, &out, deadline.less(deadline.left() / 2));
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Workers that were found gone.
    pub gone: Vec<String>,
    /// Jobs that they had.
    pub back: Vec<Rescued>,
    /// What was taken out.
    pub removed: Removed,
    /// Logs that were taken away.
    pub logs: usize,
    /// Directories of tries that were forgotten, and were taken away.
    pub spare: usize,
    /// Scratch files of jobs that were put aside for it, and were taken away.
    pub scratch_files: u64,
    /// Jobs that were put aside for it.
    pub aside: Vec<Job>,
    /// The mark of their queue.
    pub mark: String,
    /// Jobs that go by age, and beside whose place a second result may lie.
    pub with_second: Vec<Job>,
    /// What lay beside the places of those, and was taken away.
    pub seconds: u64,
}

impl Done {
    /// Knows whether more logs are to go than a round takes away.
    fn keeps_logs(&mut self, is_so: bool) {
        if is_so {
            self.removed.is_more = Some(true);
        }
    }
}

/// Those of the jobs that were put aside and not given back.
///
/// # Errors
/// They cannot be told.
pub fn aside(store: &mut Store, back: &[Rescued]) -> Result<Vec<Job>, Fault> {
    let aside = back.iter().filter(|it| matches!(it.state, State::Quarantined | State::Cancelled));
    let jobs: Result<Vec<Option<Job>>, Fault> =
        aside.map(|it| Ok(store.job(it.id)?.map(|(job, _)| job))).collect();
    Ok(jobs?.into_iter().flatten().collect())
}

/// Does it, within `limit`; what is to be remembered is in `memory` then.
///
/// # Errors
/// What is done is done; the next round goes on.
fn round(
    queue: &Queue,
    own: &Path,
    jobs: &Jobs,
    memory: &mut UpkeepState,
    now: &Now,
    limit: Duration,
) -> Result<Done, Fault> {
    let is_due = is_due(memory, jobs, now);
    memory.heard = heard(memory, queue, now);
    memory.looked = None;
    let (heard, now_, asked, keep, rescues, lease) = (
        memory.heard.clone(),
        now.clone(),
        queue.clone(),
        jobs.keep,
        jobs.rescues,
        queue.terms.lease,
    );
    let (waiting, spare) = (Waiting::in_dir(own), own.join(SPARE));
    // a part of it is for what follows
    let deadline = Deadline::after(limit * 4 / 5);
    let (heard, done) = within(limit, move || {
        let mut heard = heard;
        let mut store = Store::open(&asked)?;
        let gone = gone(&mut heard, store.workers()?, &waiting, &now_, lease);
        let names: Vec<String> = gone.iter().map(|it: &Seen| it.id.clone()).collect();
        let back = store.bury(&gone, rescues)?;
        let (mark, aside) = (store.mark()?, aside(&mut store, &back)?);
        let removed = store.remove_old(&keep, is_due, deadline)?;
        let with_second = store.old_with_second(None, &keep, is_due)?;
        let is_over = |id: i64| {
            let job = store.job(id)?;
            Ok(job.is_none_or(|(it, _)| matches!(it.state, State::Done | State::Cancelled)))
        };
        let_go(&spare, &mark, deadline, is_over)?;
        let gone = names;
        Ok((heard, Done { gone, back, removed, aside, mark, with_second, ..Done::default() }))
    })
    .map_err(|why| Fault(why.to_string()))??;
    memory.heard = heard;
    memory.looked = Some(now.stamp());
    if is_due {
        memory.swept = Some(now.stamp());
    }
    count(memory, &done.removed);
    Ok(done)
}

/// Takes jobs out that go by age, each once nothing lies beside its place any more: what was taken away there, and who is out.
pub fn remove_with_second(
    link: &mut Link,
    mark: &str,
    jobs: &[Job],
    keep: Keep,
    with_quarantine: bool,
    open: &[String],
    deadline: Deadline,
) -> (scratch::Gone, Result<Removed, Fault>) {
    let (gone, rid) = scratch::let_go(mark, jobs, open, deadline);
    if rid.is_empty() {
        return (gone, Ok(Removed::default()));
    }
    let removed = link.ask(move |store| store.remove_with_second(&rid, &keep, with_quarantine));
    (gone, removed)
}

/// Remembers how many went.
fn count(memory: &mut UpkeepState, removed: &Removed) {
    for (state, count) in &removed.jobs {
        *memory.removed.entry(state.name().to_owned()).or_default() += count;
    }
}

/// What it would come to, within `limit`, by a connection that can write nothing.
fn would(
    queue: &Queue,
    waiting: Waiting,
    jobs: &Jobs,
    memory: &UpkeepState,
    out: Out,
    now: &Now,
    limit: Duration,
) -> Result<Done, Fault> {
    let (mut heard, lease) = (heard(memory, queue, now), queue.terms.lease);
    let (now, asked, rescues) = (now.clone(), queue.clone(), jobs.rescues);
    within(limit, move || {
        let mut store = Store::only_look(&asked)?.ok_or_else(|| Fault(NONE.to_owned()))?;
        let gone = gone(&mut heard, store.workers()?, &waiting, &now, lease);
        let back = store.would_bury(&gone, rescues)?;
        let aside = aside(&mut store, &back)?;
        let (removed, mark) = (store.would_remove(&out)?, store.mark_there()?.unwrap_or_default());
        let with_second = store.old_with_second(None, &out.keep, out.with_quarantine)?;
        let gone = gone.into_iter().map(|it| it.id).collect();
        Ok(Done { gone, back, removed, aside, mark, with_second, ..Done::default() })
    })
    .map_err(|why| Fault(why.to_string()))?
}

/// Whether what was put aside is gone through this time.
fn is_due(memory: &UpkeepState, jobs: &Jobs, now: &Now) -> bool {
    let last = memory.swept.as_ref();
    last.is_none_or(|at| now.since(at).known().is_none_or(|since| since >= jobs.tidy))
}

/// What was heard of the workers: who did not look for a whole lease, or could not, has heard no silence.
fn heard(memory: &UpkeepState, queue: &Queue, now: &Now) -> BTreeMap<String, FirstSeen> {
    let lease = queue.terms.lease;
    let last = memory.looked.as_ref();
    let is_deaf = last.is_none_or(|at| now.since(at).known().is_none_or(|since| since >= lease));
    if is_deaf { BTreeMap::new() } else { memory.heard.clone() }
}

/// Those of the workers that are gone.
fn gone(
    heard: &mut BTreeMap<String, FirstSeen>,
    seen: Vec<Seen>,
    waiting: &Waiting,
    now: &Now,
    lease: Duration,
) -> Vec<Seen> {
    let over = over_rounds(heard, &seen, now, lease);
    leases::gone(&over, &waiting.fates(seen))
}

/// Takes away logs that are older than they are kept; 0 is for ever. How many.
#[must_use]
pub fn remove_logs(dir: &Path, kept: Duration, now: &Now) -> usize {
    let logs = old_logs(dir, kept, now).take(LOGS_MAX);
    logs.filter(|path| std::fs::remove_file(path).is_ok()).count()
}

fn old_logs<'a>(dir: &Path, kept: Duration, now: &'a Now) -> impl Iterator<Item = PathBuf> + 'a {
    let is_old = move |path: &Path| !kept.is_zero() && is_older(path, kept, now);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
    entries.filter(move |path| is_log(path) && is_old(path))
}

/// Has what waited here for a person to pick go as all else does, its time beginning now, where its job is over: done, called
/// off, or forgotten.
fn let_go(
    spare: &Path,
    mark: &str,
    deadline: Deadline,
    mut is_over: impl FnMut(i64) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let entries = std::fs::read_dir(spare).into_iter().flatten().flatten().map(|it| it.path());
    for path in entries.map(|it| it.join(PICKED)).filter(|it| it.exists()) {
        if deadline.passed() {
            break;
        }
        let name = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let id = name.strip_prefix(mark).and_then(|it| it.strip_prefix('-')?.split_once('-'));
        let Some(id) = id.and_then(|(id, _)| id.parse().ok()) else { continue };
        if is_over(id)? {
            // what cannot be taken away is tried again by the next round
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Takes away what lies here of jobs that belong elsewhere and was forgotten, because their runner was killed and
/// another host took over: copies after the time of logs, and results that wait to be delivered after that of jobs that
/// are put aside; 0 is for ever. One whose place is another's stays, as its job does, until a person lets that out. How many.
fn remove_spare(dir: &Path, keep: &Keep, now: &Now) -> usize {
    let free = old_spare(dir, keep, now).filter(|path| !is_in_use(path));
    free.filter(|path| std::fs::remove_dir_all(path).is_ok()).count()
}

fn old_spare<'a>(dir: &Path, keep: &'a Keep, now: &'a Now) -> impl Iterator<Item = PathBuf> + 'a {
    let is_old = |path: &PathBuf| {
        let kept = if path.join(KEPT).exists() { keep.quarantined } else { keep.logs };
        !path.join(PICKED).exists() && !kept.is_zero() && is_older(path, kept, now)
    };
    let is_spare =
        |path: &PathBuf| is_of_try(&path.file_name().unwrap_or_default().to_string_lossy());
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
    entries.filter(move |path| is_spare(path) && is_old(path))
}

/// Whether a try is at work in it, which holds its lock.
fn is_in_use(dir: &Path) -> bool {
    let Ok(it) = std::fs::File::open(dir) else { return true };
    rustix::fs::flock(&it, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Whether it was last written so long ago.
fn is_older(path: &Path, age: Duration, now: &Now) -> bool {
    let written = path.symlink_metadata().and_then(|it| it.modified());
    let at = written.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    at.is_some_and(|at| Duration::from_millis(now.utc_ms).saturating_sub(at) > age)
}

/// Whether it is called as the log of a try is: `0123456789ab-17-2.log`.
fn is_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".log").is_some_and(is_of_try)
}

/// Whether what is called so is of a try: the mark of its queue, its job, how often that was tried.
fn is_of_try(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &&str| part.parse::<i64>().is_ok();
    matches!(parts.as_slice(), [mark, id, nth] if mark.len() == MARK_CHARS && [id, nth].into_iter().all(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_goes_after_its_time_and_a_result_later_than_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kept) in
            [("0123456789ab-1-1", false), ("0123456789ab-2-1", true), ("mine-1-1", false)]
        {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            if kept {
                std::fs::write(dir.path().join(name).join(KEPT), "").unwrap();
            }
        }
        let mut now = Now::take().unwrap();
        let left = |now: &Now| {
            let _ = remove_spare(dir.path(), &Keep::default(), now);
            std::fs::read_dir(dir.path()).unwrap().count()
        };
        let day = 24 * 3_600_000;
        now.utc_ms += 6 * day;
        assert_eq!(left(&now), 3);
        now.utc_ms += 2 * day;
        assert_eq!(left(&now), 2);
        now.utc_ms += 23 * day;
        let at_work = std::fs::File::open(dir.path().join("0123456789ab-2-1")).unwrap();
        rustix::fs::flock(&at_work, FlockOperation::LockExclusive).unwrap();
        assert_eq!(left(&now), 2, "a try is at work there");
        drop(at_work);
        assert_eq!(left(&now), 1, "what is called otherwise is somebody's own");
    }

    #[test]
    fn a_result_that_a_person_picks_from_is_not_forgotten_before_its_job_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("0123456789ab-1-1");
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join(KEPT), "").unwrap();
        let mut now = Now::take().unwrap();
        now.utc_ms += 9999 * 24 * 3_600_000;
        std::fs::write(own.join(PICKED), "").unwrap();
        remove_spare(dir.path(), &Keep::default(), &now);
        assert!(own.exists());
        let let_go = |mark: &str, is_over: bool| {
            let is_over = |id| {
                assert_eq!(id, 1);
                Ok(is_over)
            };
            super::let_go(dir.path(), mark, Deadline::after(Duration::from_secs(60)), is_over)
                .unwrap();
            remove_spare(dir.path(), &Keep::default(), &now);
            own.exists()
        };
        assert!(let_go("0123456789ab", false), "its job waits for a person");
        assert!(let_go("another-one1", true), "it is of another queue");
        assert!(!let_go("0123456789ab", true), "its job is over");
    }

    #[test]
    fn only_old_logs_go_and_nothing_else_that_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        let now = Now { utc_ms: 100_000_000, boot_ms: 1, boot_id: "a".to_owned() };
        let old = UNIX_EPOCH + Duration::from_millis(now.utc_ms - 7_200_000);
        for (name, is_old) in [
            ("0123456789ab-1-1.log", true),
            ("0123456789ab-2-1.log", false),
            ("notes.log", true),
            ("0123456789ab-1-1.txt", true),
            ("1-1.log", true),
        ] {
            let file = std::fs::File::create(dir.path().join(name)).unwrap();
            let at = if is_old { old } else { UNIX_EPOCH + Duration::from_millis(now.utc_ms) };
            file.set_modified(at).unwrap();
        }
        assert_eq!(remove_logs(dir.path(), Duration::ZERO, &now), 0);
        assert_eq!(remove_logs(dir.path(), Duration::from_secs(7300), &now), 0);
        assert_eq!(remove_logs(dir.path(), Duration::from_secs(7100), &now), 1);
        assert!(!dir.path().join("0123456789ab-1-1.log").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
        assert_eq!(remove_logs(&dir.path().join("none"), Duration::from_secs(1), &now), 0);
    }

    #[test]
    fn more_logs_than_a_round_takes_away_are_told_as_more() {
        let dir = tempfile::tempdir().unwrap();
        let (own, host) = (dir.path().join("own"), dir.path().display());
        std::fs::create_dir_all(own.join(LOGS)).unwrap();
        let settings = crate::config::from_str(&format!(
            "[host]\nrun_dir = \"{host}\"\n[queue]\nadapter = \"unwedge\"\nurl = \"sqlite://{host}/q.db\"\n"
        ))
        .unwrap();
        let queue = settings.queue.clone().unwrap();
        drop(Store::open(&queue).unwrap());
        let mut now = Now::take().unwrap();
        now.utc_ms += 9999 * 24 * 3_600_000;
        let look = || {
            let (deadline, mut tended) =
                (Deadline::after(Duration::from_secs(60)), Tended::default());
            let memory = UpkeepState::default();
            foresee(&settings, &queue, &own, &memory, &now, deadline, &mut tended);
            let done = tended.done.unwrap_or_else(|| panic!("{:?}", tended.trouble));
            (done.logs, done.removed.is_more)
        };
        let log = |nth: usize| {
            std::fs::write(own.join(LOGS).join(format!("0123456789ab-1-{nth}.log")), "").unwrap();
        };
        (0..LOGS_MAX).for_each(log);
        assert_eq!(look(), (LOGS_MAX, Some(false)));
        log(LOGS_MAX);
        assert_eq!(look(), (LOGS_MAX, Some(true)));
        assert_eq!(remove_logs(&own.join(LOGS), Duration::from_secs(1), &now), LOGS_MAX);
        assert_eq!(look(), (1, Some(false)));
    }
}
