//! `unwedge run`: works through files with one command, and ends. The files are jobs of the user's own queue, a runner
//! does them (`hands`), and what is told here is what the queue says of them.

mod hands;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};

use super::asking::known;
use super::jobs::whys;
use super::{asking, wrong};
use crate::act::offer::{absent, is_open, jobs_of};
use crate::act::upkeep;
use crate::cli;
use crate::config::Settings;
use crate::config::bucket::Address;
use crate::config::container::{Mode, Pull};
use crate::config::job_type::{JobType, OF_A_RUN};
use crate::config::jobs::{Jobs, Keep};
use crate::config::queue::Queue;
use crate::decide::attempts::{Class, State};
use crate::decide::why::Why;
use crate::probes::engine::{self, Image};
use crate::probes::gate::{self, Watch};
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::store::change::Change;
use crate::queue::store::listing::{Order, Which, Worker};
use crate::queue::store::{NewJob, Standing, Store, Submitted};
use crate::report::exit::Exit;
use crate::report::jobs::words;
use crate::report::worked::{Deed, Would};
use crate::report::{out, said, worked};
use crate::runner::setup::{self, Numbers, Setup};
use crate::runner::supervise::Told;
use crate::sys::clock::{Deadline, Now, boottime};
use crate::sys::limit::within;
use crate::sys::{manager, place, text};
use hands::Hands;

/// How long the looks at the outputs may take before it is begun.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// How often the progress is told where nobody looks at a terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often it is asked why nothing runs.
const ASK_WHY_EVERY: Duration = Duration::from_secs(3);
/// How long one look may take: a stop is heard only between two.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How long a command that is asked to end may take at most: 15 s after a stop of `run` nothing of it lives.
const GRACE_MAX: Duration = Duration::from_secs(5);
/// What commands find of the environment that the run was started in.
const ENVIRONMENT: [&str; 9] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];
/// So many jobs are taken at a time.
const BATCH: u32 = 64;
/// So many are asked for, or changed, by one question.
const AT_ONCE: usize = 500;
/// How long it may take to take out what was kept for long enough: the next run goes on with it.
const TIDY_LIMIT: Duration = Duration::from_secs(2);
/// What is said where it was asked to end.
const INTERRUPTED: &str =
    "interrupted; what is left is in the queue, and a next run goes on with it";
/// Most reasons that are listed.
const REASONS_MAX: usize = 20;

/// Works through the files, where `[jobs]` of the host says unless it was told otherwise, and by one of its types where that
/// is named; the exit code: 0 all are done, 1 some are not, 130 it was interrupted.
///
/// # Errors
/// It could not begin; nothing was done.
pub fn run(asked: &cli::Run, settings: &Settings, json: bool) -> Result<u8> {
    let base = std::env::current_dir().context("the working directory")?;
    let host = settings.jobs.clone().unwrap_or_default();
    let kind = kind_of(asked, &base, &host).map_err(|why| wrong(format!("{why:#}")))?;
    let kind = JobType { is_on_the_spot: true, ..kind };
    refuse_what_is_for_a_service(&kind, &asked.files)?;
    let run_dir = &settings.host.run_dir;
    let jobs = jobs_of(&kind, &asked.files, &base, &Watch::of(settings)).map_err(wrong)?;
    let url = match &asked.queue {
        Some(given) => asking::url(given)?,
        None => asking::own_url(!asked.dry_run)?,
    };
    let queue = asking::at(&url, settings.queue.as_ref());
    if asked.dry_run {
        let would = would(&queue, &kind, &jobs, &gate::open(run_dir), asked)?;
        out::print(&worked::would(&would, json, &Now::take()?)?)?;
        return Ok(0);
    }
    let log_dir = asking::own_logs();
    if let Some(dir) = &log_dir {
        // of runs before, for as long as a service keeps its own
        let _ = upkeep::remove_logs(dir, Keep::default().logs, &Now::take()?);
    }
    if asked.queue.is_none() {
        tidy(&queue, &kind.name, &gate::open(run_dir));
    }
    let Put { ids, changed } =
        begin(&mut Link::to(queue.clone()), &kind, &jobs, &gate::open(run_dir), asked.again)?;
    let names: BTreeMap<i64, &str> =
        ids.iter().zip(&jobs).map(|(id, job)| (*id, job.input.as_str())).collect();
    let ids: Vec<i64> = names.keys().copied().collect();

    let numbers = Numbers {
        // well within a lease, whatever that is
        beat: host.beat.min(queue.terms.lease / 4),
        grace: host.grace.min(GRACE_MAX),
        drain: Duration::ZERO,
        // nobody else knows the type
        prefer_wait: Duration::ZERO,
        ..Numbers::of(&host)
    };
    let setup = Told {
        url,
        timeout: queue.timeout,
        ca_file: queue.ca_file.clone(),
        terms: queue.terms.clone(),
        setup: setup_of(kind, base, settings, log_dir, numbers),
    };
    // from here on a stop is heard, and whatever is asked ends by itself
    let mut stop = manager::stop_or_hang_up().context("listen to signals")?;
    stop.set_nonblocking(true).context("listen to signals")?;
    let mut link = Link::to(Queue { timeout: queue.timeout.min(ASK_LIMIT), ..queue });
    let ask = |link: &mut Link, ids: &[i64]| {
        let ids = ids.to_vec();
        link.ask(move |store| store.stand(&ids))
    };
    let mut progress = Progress::new(ids.len(), json);
    let mut hands = Hands::begin(setup, asked.fresh, &mut link)?;
    if let Some(who) = hands.other() {
        out::complain(&format!(
            "unwedge run: {who} works on them; --fresh starts a runner of its own"
        ));
    }
    loop {
        match ask(&mut link, &ids) {
            Ok(stand) if stand.len() < ids.len() => {
                hands.end();
                bail!(
                    "{} of the jobs are in the queue no more: somebody took them out",
                    ids.len() - stand.len()
                );
            }
            Ok(stand) => {
                progress.tell(&stand)?;
                if stand.iter().all(|it| it.state.is_over()) {
                    hands.end();
                    return finish(&stand, &names, &changed, json);
                }
                if progress.stands_still(&stand)
                    && let Ok(Some((whys, now_ms))) = why_waiting(&mut link, &ids)
                {
                    progress.waits_for(whys, now_ms);
                }
            }
            // it may come back; what runs goes on, and its results wait
            Err(why) if why.is_of_a_damaged_file() => {
                hands.end();
                return Err(asking::said(why));
            }
            Err(Fault(why)) => progress.trouble(&format!("the queue: {why}")),
        }
        if stop.read(&mut [0; 16]).is_ok_and(|length| length > 0) {
            hands.end();
            progress.clear()?;
            out::complain(&format!("unwedge run: {INTERRUPTED}"));
            if json {
                said::failed(INTERRUPTED, Exit::Interrupted.code());
            }
            return Ok(Exit::Interrupted.code());
        }
        hands.wait(&mut link)?;
    }
}

/// Takes out of the user's own queue what failed, was called off or put aside long ago, as a service does of its own: nobody
/// else does. What is done stays known, and so does what is of this run.
fn tidy(queue: &Queue, kind: &str, open: &[String]) {
    let kind = kind.to_owned();
    // without what is known of it, the same run would do its files once more
    let keep = Keep { done: Duration::ZERO, ..Keep::default() };
    let deadline = Deadline::after(TIDY_LIMIT);
    let old = move |store: &mut Store| {
        let removed = store.remove_old_but(Some(&kind), &keep, true, deadline)?;
        Ok((removed, store.old_with_second(Some(&kind), &keep, true)?, store.mark()?))
    };
    // where that cannot be done, the next run does it
    let mut link = Link::look(queue.clone());
    let (mut removed, with_second, mark) = link.ask(old).unwrap_or_default();
    let (_, out) =
        upkeep::remove_with_second(&mut link, &mark, &with_second, keep, true, open, deadline);
    removed.add(out.unwrap_or_default());
    if !removed.undone.is_empty() {
        out::complain(&format!(
            "unwedge run: {} jobs of runs before that were not done are not kept any longer",
            removed.undone.len()
        ));
    }
}

/// Puts them in, once nothing is known that would refuse one of them.
fn begin(
    link: &mut Link,
    kind: &JobType,
    jobs: &[NewJob],
    open: &[String],
    aside_too: bool,
) -> Result<Put> {
    refuse_another(link, kind)?;
    refuse_absent(Some(link), jobs, open)?;
    let known = known(link, jobs)?;
    if known.len() < jobs.len() || known.values().any(|it| it.state != State::Done) {
        refuse_without_image(kind)?;
    }
    prepare(jobs, open)?;
    put_in(link, jobs, open, aside_too)
}

/// Refuses what a run cannot do.
fn refuse_what_is_for_a_service(kind: &JobType, files: &[PathBuf]) -> Result<()> {
    if let Some(file) = files.iter().find(|it| Address::of(it).is_some()) {
        bail!(
            "{}: a run knows no [[bucket]]; put it in for unwedge-runner: unwedge jobs submit",
            text::path(file)
        );
    }
    if kind.fetch.is_some() || kind.deliver.is_some() {
        bail!("a type that fetches or delivers is for unwedge-runner: it needs a place for that");
    }
    if kind.concurrency == Some(0) {
        return Err(wrong(format!(
            "{}: none at once on this host; --count says how many",
            kind.name
        )));
    }
    Ok(())
}

/// What a runner of the run's own is given.
fn setup_of(
    kind: JobType,
    base: PathBuf,
    settings: &Settings,
    log_dir: Option<PathBuf>,
    numbers: Numbers,
) -> Setup {
    Setup {
        slots: kind.concurrency.unwrap_or(1),
        types: vec![kind],
        run_dir: settings.host.run_dir.clone(),
        named: setup::named(settings),
        dir: base,
        keep_dir: None,
        service_dir: crate::manifest::queue_dir(&settings.host),
        log_dir,
        buckets: Vec::new(),
        unit: None,
        once: false,
        wait: Duration::ZERO,
        numbers,
    }
}

/// The type: of a file, or of the command that was given.
fn kind_of(asked: &cli::Run, base: &Path, host: &Jobs) -> Result<JobType> {
    let cores = std::thread::available_parallelism()
        .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let run_as = |mut kind: JobType| {
        let mode = asked.mode.as_deref().map(|mode| match mode {
            "container" => Mode::Container,
            _ => Mode::Direct,
        });
        kind.said.mode = mode.or(kind.said.mode);
        kind.said.image = asked.image.clone().or(kind.said.image);
        let kind = kind.on_host(&host.run).map_err(Error::msg)?;
        if asked.image.is_some() && kind.container.is_none() {
            bail!("--image: no command would be run in it; --mode container has them run so");
        }
        Ok(kind)
    };
    if let Some(file) = &asked.r#type {
        // a name alone is that of a type of this host, unless a file is called so
        let is_name = file.file_name() == Some(file.as_os_str()) && file.extension().is_none();
        let is_of_host = is_name && !file.exists();
        let of_host = || host.dir.join(file).with_extension("toml");
        let file = &if is_of_host { of_host() } else { file.clone() };
        let said = std::fs::read_to_string(file).with_context(|| text::path(file))?;
        let kind = JobType::parse(file, &said).map_err(Error::msg)?;
        let count = count_of(asked, Some(&kind.name))?;
        let mut kind = run_as(kind)?;
        let is_as_written = asked.mode.is_none() && asked.image.is_none();
        if !(is_of_host && is_as_written) {
            // two files of one name are not one type, nor is one that was changed, or run elsewhere
            let elsewhere = elsewhere(&kind);
            let words: Vec<&[u8]> = [said.as_bytes()].into_iter().chain(elsewhere).collect();
            kind.name = format!("{}-{}", kind.name, digest_of(&words, base));
        }
        kind.concurrency = count.or(kind.concurrency).or(Some(1));
        return Ok(kind);
    }
    let mut argv = asked.command.clone();
    let Some(program) = argv.first_mut() else {
        return Err(wrong(
            "what is to be done with the files? give a command after --, or a --type",
        ));
    };
    let mode = asked.mode.as_deref().or(host.run.mode.map(Mode::name));
    *program = text::path(&found(program, base, mode != Some("container"))?);
    // the same command with the same output is the same type, and its jobs are the same jobs
    let output = asked.output.as_deref().map_or("", |output| output);
    let kind = JobType::of_command(OF_A_RUN, argv.clone(), asked.output.clone());
    let mut kind = run_as(kind.map_err(|why| anyhow!(why))?)?;
    let words = [output].into_iter().chain(argv.iter().map(String::as_str)).map(str::as_bytes);
    let words: Vec<&[u8]> = words.chain(elsewhere(&kind)).collect();
    kind.name = format!("{OF_A_RUN}{}", digest_of(&words, base));
    kind.concurrency = Some(count_of(asked, None)?.unwrap_or(cores));
    // whoever gives a command on the spot sees it fail, and says by the next run that it is to be tried again
    kind.retry.attempts = 1;
    // the jobs of this run are nobody else's
    kind.batch = BATCH;
    kind.environment = ENVIRONMENT.map(str::to_owned).to_vec();
    Ok(kind)
}

/// What tells a type whose commands are run in a container from the same on the host itself, and from that in another image:
/// what one has done the other has not. No argument and no path has a byte of nothing in it.
fn elsewhere(kind: &JobType) -> impl Iterator<Item = &[u8]> {
    kind.container.iter().flat_map(|it| [b"\0image", it.image.as_bytes()])
}

/// Refuses a type that a worker of the queue knows otherwise: its lane would hand nothing out here.
fn refuse_another(link: &mut Link, kind: &JobType) -> Result<()> {
    let workers = link.ask(|store| store.all_workers(false)).map_err(asking::said)?;
    let differs = |it: &&Worker| {
        it.standing().takes_work()
            && it.types.get(&kind.name).is_some_and(|mark| mark.digest != kind.digest())
    };
    if let Some(it) = workers.iter().find(differs) {
        bail!(
            "{} of {} works by another definition of {}: give both the same file (systemctl reload unwedge-runner), or name \
             a file of your own by its path; nothing was put in",
            it.id,
            it.host,
            kind.name
        );
    }
    Ok(())
}

/// Refuses an image that is not here and that nobody fetches: whoever waits for the run would wait for ever. An engine that
/// does not answer may yet, and is told of while nothing runs.
fn refuse_without_image(kind: &JobType) -> Result<()> {
    let Some(it) = kind.container.as_ref().filter(|it| it.pull == Pull::Never) else {
        return Ok(());
    };
    if engine::image(&it.engine, &it.image, engine::ASK_LIMIT) == Image::Missing {
        bail!(
            "{}: no such image here, and none is fetched: {}; nothing was put in",
            it.image,
            engine::pull_here(&it.engine, &it.image)
        );
    }
    Ok(())
}

/// Refuses files that are not there. One that is a job already may be: what has become of its input is its own affair.
fn refuse_absent(link: Option<&mut Link>, jobs: &[NewJob], open: &[String]) -> Result<()> {
    const LISTED: usize = 3;
    // many files on slow storage are not looked at to the end, and the work finds out
    let absent = absent(jobs, open, LOOK_LIMIT).unwrap_or_default();
    let mut new: Vec<&NewJob> = absent.iter().filter_map(|at| jobs.get(*at)).collect();
    if let (Some(link), false) = (link, new.is_empty()) {
        let known = known(link, &new.iter().copied().cloned().collect::<Vec<_>>())?;
        new = new
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !known.contains_key(at))
            .map(|(_, it)| it)
            .collect();
    }
    if new.is_empty() {
        return Ok(());
    }
    let listed: Vec<&str> = new.iter().take(LISTED).map(|it| it.input.as_str()).collect();
    let more = match new.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(wrong(format!("{}{more}: no such file; nothing was put in", listed.join(", "))))
}

/// What would be done with each file.
fn would<'a>(
    queue: &Queue,
    kind: &JobType,
    jobs: &'a [NewJob],
    open: &[String],
    asked: &cli::Run,
) -> Result<Vec<Would<'a>>> {
    let (mut found, mut again) = (BTreeMap::new(), Vec::new());
    if asking::is_made(queue)? {
        let mut link = Link::look(queue.clone());
        refuse_another(&mut link, kind)?;
        refuse_absent(Some(&mut link), jobs, open)?;
        found = known(&mut link, jobs)?;
        let ids: Vec<i64> = found.values().map(|it| it.id).collect();
        let stand = stand_of(&mut link, &ids)?;
        let outputs = found.iter().filter_map(|(nth, it)| Some((*it, jobs.get(*nth)?)));
        again = to_do_again(outputs, &stand, asked.again)?;
    } else {
        refuse_absent(None, jobs, open)?;
    }
    let deed = |nth: usize| match found.get(&nth) {
        None => Deed::PutIn,
        Some(it) if again.contains(&it.id) => Deed::TryAgain(it.id, it.state),
        Some(it) if it.state.is_over() => Deed::Leave(it.id, it.state),
        Some(it) => Deed::GoOnWith(it.id, it.state),
    };
    Ok(jobs.iter().enumerate().map(|(nth, job)| Would { job, deed: deed(nth) }).collect())
}

/// How many at once: `N`, or `TYPE=N` of the type of this name.
fn count_of(asked: &cli::Run, kind: Option<&str>) -> Result<Option<u32>> {
    let Some(written) = &asked.count else { return Ok(None) };
    let number = match (written.split_once('='), kind) {
        (None, _) => written.as_str(),
        (Some((name, number)), Some(kind)) if name == kind => number,
        (Some((name, _)), _) => {
            return Err(wrong(format!("--count {written}: {name} is not the type of this run")));
        }
    };
    let count = number.parse().ok().filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| wrong(format!("--count {written}: expected a number from 1 on")))
}

/// What tells a type from others: what it says, and where it is run.
fn digest_of(words: &[&[u8]], base: &Path) -> String {
    let mut digest = Sha256::new();
    for word in words.iter().copied().chain([base.as_os_str().as_bytes()]) {
        digest.update((word.len() as u64).to_le_bytes());
        digest.update(word);
    }
    text::hex(&digest.finalize()[..6])
}

/// A program by its name, as a shell finds it; `is_here` is whether it is run on this host as it is.
fn found(program: &str, base: &Path, is_here: bool) -> Result<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = base.join(program);
        let is_it = !is_here || is_program(&path);
        return is_it
            .then_some(path)
            .with_context(|| format!("{program}: no program that can be run"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program));
    places
        .into_iter()
        .find(is_program)
        .with_context(|| format!("{program}: no such program in PATH"))
}

/// Makes the directories of the outputs, but on storage that is not open now: its jobs wait. Storage that hangs all the
/// same keeps nobody for ever.
fn prepare(jobs: &[NewJob], open: &[String]) -> Result<()> {
    let mut dirs: Vec<PathBuf> = jobs
        .iter()
        .filter(|job| is_open(job, open))
        .filter_map(|job| text::path_of(job.output_dir.as_deref()?))
        .collect();
    dirs.sort();
    dirs.dedup();
    let refused = |dir: &PathBuf| {
        let made = std::fs::create_dir_all(dir).map_err(|error| format!("make it: {error}"));
        let may =
            |()| place::takes_files(dir).map_err(|error| format!("make a file in it: {error}"));
        Some((dir.clone(), made.and_then(may).err()?))
    };
    let made = within(LOOK_LIMIT, move || dirs.iter().find_map(refused));
    match made {
        Ok(None) => Ok(()),
        Ok(Some((dir, why))) => bail!("{}: {why}", text::path(&dir)),
        Err(_) => bail!("the directories of the outputs do not answer; nothing was begun"),
    }
}

/// Of the jobs that are over already: those whose failure another try may end otherwise, and those whose result is gone.
/// What was put aside for a person only where that person says so, and then what waits for its time, too.
fn to_do_again<'a>(
    put: impl Iterator<Item = (Submitted, &'a NewJob)>,
    stand: &[Standing],
    aside_too: bool,
) -> Result<Vec<i64>> {
    let passes = [Class::Failed, Class::TimedOut, Class::Infrastructure, Class::Configuration];
    let mut again: Vec<i64> = stand
        .iter()
        .filter(|it| match it.state {
            State::Failed | State::Quarantined => {
                aside_too || passes.iter().any(|class| it.class.as_deref() == Some(class.name()))
            }
            State::Retryable | State::Cancelled => aside_too,
            State::Pending | State::Running | State::Done => false,
        })
        .map(|it| it.id)
        .collect();
    // one whose type lets it leave out its result has none to be gone
    let empty: BTreeSet<i64> =
        stand.iter().filter(|it| it.bytes == Some(0)).map(|it| it.id).collect();
    let done: Vec<(i64, PathBuf)> = put
        .filter(|(put, _)| put.state == State::Done && !empty.contains(&put.id))
        .filter_map(|(put, job)| Some((put.id, text::path_of(job.output.as_deref()?)?)))
        .collect();
    let is_gone = |path: &PathBuf| {
        path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let gone = within(LOOK_LIMIT, move || {
        done.into_iter().filter(|(_, output)| is_gone(output)).map(|(id, _)| id).collect::<Vec<_>>()
    });
    again.extend(
        gone.map_err(|_| anyhow!("the outputs of a run before do not answer; nothing was begun"))?,
    );
    again.sort_unstable();
    again.dedup();
    Ok(again)
}

/// What was put in.
struct Put {
    /// The numbers of the jobs, in the order of the files.
    ids: Vec<i64>,
    /// Those that are done and stay so, whose input was written since.
    changed: Vec<i64>,
}

/// Puts them in, and has those that are over begin anew for which that may end otherwise.
fn put_in(link: &mut Link, jobs: &[NewJob], open: &[String], aside_too: bool) -> Result<Put> {
    let put = asking::put(link, jobs)?;
    let ids: Vec<i64> = put.iter().map(|it| it.id).collect();
    let stand = stand_of(link, &ids)?;
    let again = to_do_again(put.iter().copied().zip(jobs), &stand, aside_too)?;
    for change in [Change::Retry, Change::Release] {
        for some in again.chunks(AT_ONCE) {
            let (which, change) = (Which::ids(some), change.clone());
            let change = move |store: &mut Store| store.change(&which, &change, super::by(), false);
            link.ask(change).map_err(asking::said)?;
        }
    }
    // files go by the clock of this host
    let (theirs, own) = (link.ask(Store::now_ms).map_err(asking::said)?, Now::take()?.utc_ms);
    let here = |at_ms: u64| (at_ms + own).saturating_sub(theirs);
    let left = stand.iter().filter(|it| it.state == State::Done);
    let left = left.filter(|it| again.binary_search(&it.id).is_err());
    let left = left.filter_map(|it| Some((it.id, here(it.finished_ms?)))).collect();
    Ok(Put { changed: changed(&ids, jobs, &left, open), ids })
}

/// Which of these jobs that are `over`, each since when, have an input that was written since then; as far as its storage is
/// open, and says so in time.
fn changed(ids: &[i64], jobs: &[NewJob], over: &BTreeMap<i64, u64>, open: &[String]) -> Vec<i64> {
    let inputs = ids.iter().zip(jobs).filter(|(_, job)| is_open(job, open));
    let inputs: Vec<(i64, u64, PathBuf)> = inputs
        .filter_map(|(id, job)| Some((*id, *over.get(id)?, text::path_of(&job.input)?)))
        .collect();
    let is_later = |path: &PathBuf, since_ms: u64| {
        let file = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
        let written = file.and_then(|it| it.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        written.is_some_and(|at| at > Duration::from_millis(since_ms))
    };
    let later = move || {
        let later = inputs.into_iter().filter(|(_, since_ms, path)| is_later(path, *since_ms));
        later.map(|(id, _, _)| id).collect()
    };
    within(LOOK_LIMIT, later).unwrap_or_default()
}

/// How they stand, some at a time: each question has its own limit.
fn stand_of(link: &mut Link, ids: &[i64]) -> Result<Vec<Standing>> {
    let mut stand = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let some = some.to_vec();
        stand.extend(link.ask(move |store| store.stand(&some)).map_err(asking::said)?);
    }
    Ok(stand)
}

/// Why the next of the jobs is not running, and the present of the queue; nothing where none waits.
fn why_waiting(link: &mut Link, ids: &[i64]) -> Result<Option<(Vec<Why>, u64)>, Fault> {
    let which = Which::ids(ids).standing(&[State::Pending, State::Retryable]);
    link.ask(move |store| {
        let Some(next) = store.list(&which, Order::Turn, 1)?.pop() else { return Ok(None) };
        let (lanes, workers, now_ms) = (store.lanes()?, store.all_workers(false)?, store.now_ms()?);
        Ok(Some((whys(&next, &lanes, &workers, None, now_ms, 0), now_ms)))
    })
}

/// How much of all is over, as a bar.
fn bar(over: usize, all: usize) -> String {
    const CELLS: usize = 20;
    let full = (over * CELLS).checked_div(all).unwrap_or(CELLS).min(CELLS);
    format!("[{}{}]", "#".repeat(full), " ".repeat(CELLS - full))
}

/// How far it is, for whoever looks.
struct Progress {
    all: usize,
    is_terminal: bool,
    is_for_program: bool,
    last: String,
    due: Duration,
    said: Option<String>,
    /// When it is asked why nothing runs; none while something does.
    ask_due: Option<Duration>,
    waits: Vec<Why>,
}

impl Progress {
    fn new(all: usize, is_for_program: bool) -> Self {
        Self {
            all,
            is_terminal: !is_for_program && std::io::stdout().is_terminal(),
            is_for_program,
            last: String::new(),
            due: boottime() + TELL_EVERY,
            said: None,
            ask_due: None,
            waits: Vec::new(),
        }
    }

    fn tell(&mut self, stand: &[Standing]) -> Result<()> {
        let count = |state| stand.iter().filter(|it| it.state == state).count();
        let over = stand.iter().filter(|it| it.state.is_over()).count();
        let (done, running) = (count(State::Done), count(State::Running));
        let left = self.all.saturating_sub(over + running);
        let failed = over - done;
        let all = self.all;
        let line =
            format!("{done} of {all} done, {running} running, {left} waiting, {failed} failed");
        let now = boottime();
        // whoever reads JSON waits for its one object
        if self.is_for_program || line == self.last || (!self.is_terminal && now < self.due) {
            return Ok(());
        }
        (self.last, self.due) = (line.clone(), now + TELL_EVERY);
        Ok(out::print(&if self.is_terminal {
            format!("\r{} {line}\x1b[K", bar(over, all))
        } else {
            format!("{line}\n")
        })?)
    }

    /// Whether nothing has run for so long that somebody will ask why.
    fn stands_still(&mut self, stand: &[Standing]) -> bool {
        let now = boottime();
        let due = self.ask_due.unwrap_or(now + ASK_WHY_EVERY);
        let is_still = stand.iter().all(|it| it.state != State::Running);
        self.ask_due = is_still.then_some(if due <= now { now + ASK_WHY_EVERY } else { due });
        is_still && due <= now
    }

    /// Says why nothing runs, once while it lasts.
    fn waits_for(&mut self, whys: Vec<Why>, now_ms: u64) {
        // a runner may yet come; that none can is said by whoever starts it
        let tells = |why: &&Why| !matches!(why, Why::ItsTurn | Why::NoWorker | Why::RunOver);
        let is_same = |why: &Why| match (why, self.waits.first()) {
            // of the next job it is another time, and the same reason
            (Why::CoolingDown { reason, .. }, Some(Why::CoolingDown { reason: before, .. })) => {
                reason == before
            }
            (why, before) => Some(why) == before,
        };
        if let Some(why) = whys.first().filter(tells).filter(|why| !is_same(why)) {
            out::complain(&format!("unwedge run: nothing runs: {}", words(why, now_ms)));
        }
        self.waits = whys;
    }

    /// Says what is wrong, once while it lasts.
    fn trouble(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            out::complain(&format!("unwedge run: {why}"));
            self.said = Some(why.to_owned());
        }
    }

    fn clear(&self) -> Result<()> {
        if self.is_terminal { Ok(out::print("\r\x1b[K")?) } else { Ok(()) }
    }
}

fn finish(
    stand: &[Standing],
    names: &BTreeMap<i64, &str>,
    changed: &[i64],
    json: bool,
) -> Result<u8> {
    let (done, not): (Vec<&Standing>, Vec<&Standing>) =
        stand.iter().partition(|it| it.state == State::Done);
    let code = u8::from(!not.is_empty());
    if json {
        out::print(&worked::json(stand, names, changed, &Now::take()?)?)?;
        return Ok(code);
    }
    let mut said = format!(
        "{}{} done, {} not\n",
        if std::io::stdout().is_terminal() { "\r\x1b[K" } else { "" },
        done.len(),
        not.len()
    );
    for it in not.iter().take(REASONS_MAX) {
        let name = names.get(&it.id).copied().unwrap_or_default();
        if it.state == State::Cancelled {
            said += &format!("  {name}: called off; --again has it made after all\n");
            continue;
        }
        let class = it.class.as_deref().unwrap_or("");
        said += &format!(
            "  {name}: {} ({class}): {}\n",
            it.state.name(),
            it.message.as_deref().unwrap_or("no reason was kept")
        );
    }
    if not.len() > REASONS_MAX {
        said += &format!("  and {} more, which unwedge jobs list shows\n", not.len() - REASONS_MAX);
    }
    let first = changed.first().and_then(|id| names.get(id));
    if let Some(first) = first {
        said += &format!(
            "{} of the inputs were written since they were done, such as {first}: remove its result, and the same run makes it anew; \
             where there is none, unwedge jobs retry {}\n",
            changed.len(),
            changed.first().copied().unwrap_or_default()
        );
    }
    out::print(&said)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_bar_is_full_when_all_is_over_and_never_before() {
        let cells = |over, all| bar(over, all).matches('#').count();
        assert_eq!([cells(0, 40), cells(1, 40), cells(2, 40), cells(39, 40)], [0, 0, 1, 19]);
        assert_eq!([cells(40, 40), cells(41, 40), cells(0, 0)], [20; 3]);
        assert_eq!(bar(10, 40), "[#####               ]");
    }

    #[test]
    fn the_same_in_another_image_is_another_type_and_on_the_host_what_it_was() {
        let name = |words: &[&str]| {
            let words = ["unwedge", "run", "file"].iter().chain(words);
            let cli::Verb::Run(asked) =
                cli::Unwedge::parse_from(words.chain(&["--", "/bin/true", "x"])).verb
            else {
                panic!("another verb")
            };
            kind_of(&asked, Path::new("/desk"), &Jobs::default()).unwrap().name
        };
        // as queues that are there already know it
        let plain = digest_of(&[b"", b"/bin/true", b"x"], Path::new("/desk"));
        assert_eq!(name(&[]), format!("{OF_A_RUN}{plain}"));
        assert_eq!(name(&["--mode", "direct"]), name(&[]));
        let inside = ["a:1", "b:1"].map(|it| name(&["--mode", "container", "--image", it]));
        assert!(inside[0] != inside[1] && !inside.contains(&name(&[])), "{inside:?}");
    }
}
