//! `unwedge jobs`: what there is, why it stands as it does, and what a person may change of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::asking::{self, Asking};
use super::{Said, by, reason, time_of, types_of_host, wrong};
use crate::act::offer::absolute;
use crate::act::scratch;
use crate::cli;
use crate::config::job_type::JobType;
use crate::config::{Settings, duration};
use crate::decide::attempts::{Class, State, Token};
use crate::decide::why::{self, Why};
use crate::decide::workers::Standing;
use crate::manifest;
use crate::probes::gate;
use crate::queue::store::Store;
use crate::queue::store::change::{Change, Changed, Event, Progress};
use crate::queue::store::lanes::Lane;
use crate::queue::store::listing::{Job, Order, StampIs, Try, Which, Worker};
use crate::report::jobs as report;
use crate::report::out;
use crate::runner::log;
use crate::sys::clock::{Deadline, Now, millis};
use crate::sys::text;

/// So much of a log is read; more than a runner keeps.
const LOG_BYTES_MAX: u64 = 4 << 20;
/// So many jobs are asked for at once.
const AT_ONCE: u32 = 1000;

/// Lists jobs.
///
/// # Errors
/// The filter says nothing, or there is no answer.
pub fn list(
    settings: &Settings,
    filter: &cli::Filter,
    most: u32,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let mut which = which(filter)?;
    if which.states.is_empty() && !which.is_narrow() {
        which.states = State::ALL.into_iter().filter(|state| *state != State::Done).collect();
    }
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    refuse_unknown(settings, &mut asking, &which)?;
    // by one more it is known whether there are more
    let ask = most.saturating_add(1);
    let (mut jobs, now_ms) =
        asking.ask(move |store| Ok((store.list(&which, Order::Newest, ask)?, store.now_ms()?)))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let is_cut = jobs.len() > most;
    jobs.truncate(most);
    let text = if json {
        report::list_json(&jobs, is_cut, now)?
    } else {
        report::list(&jobs, is_cut, now_ms)
    };
    Ok(text.into())
}

/// Tells all that is known of one.
///
/// # Errors
/// There is none of this number, or no answer.
pub fn show(
    settings: &Settings,
    id: i64,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let known = look(settings, id, at)?;
    let whys = known.whys(prefer_wait_ms(settings));
    let (job, tries, events) = (&known.job, &known.tries, &known.events);
    Ok(if json {
        report::show_json(job, tries, events, &whys, now)?
    } else {
        report::show(job, tries, events, &whys, known.now_ms)
    }
    .into())
}

/// Tells why one is not running.
///
/// # Errors
/// There is none of this number, or no answer.
pub fn why(settings: &Settings, id: i64, at: &cli::QueueAt, json: bool, now: &Now) -> Result<Said> {
    let known = look(settings, id, at)?;
    let whys = known.whys(prefer_wait_ms(settings));
    Ok(if json {
        report::show_json(&known.job, &[], &[], &whys, now)?
    } else {
        report::whys(&whys, known.now_ms)
    }
    .into())
}

/// Prints what the commands of one said.
///
/// # Errors
/// Nothing of it is kept here.
pub fn logs(settings: &Settings, id: i64, nth: Option<i64>, at: &cli::QueueAt) -> Result<Said> {
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let (known, mark) = asking.ask(move |store| Ok((store.job(id)?, store.mark()?)))?;
    let (job, tries) = known.with_context(|| format!("job {id}: there is none"))?;
    let nth = match nth {
        Some(nth) if !(1..=i64::from(job.tries)).contains(&nth) => {
            bail!("job {id}: there is no try {nth}; there were {}", job.tries)
        }
        Some(nth) => nth,
        None if job.tries == 0 => bail!("job {id}: it was not tried yet"),
        None => i64::from(job.tries),
    };
    // of the service of this host, or of a run of this user's
    let dirs = [Some(manifest::queue_dir(&settings.host).join(manifest::LOGS)), asking::own_logs()];
    let paths = dirs.into_iter().flatten().map(|dir| log::path_of(&dir, &mark, Token { id, nth }));
    let path = paths.reduce(|one, other| if one.exists() { one } else { other });
    let path = path.context("there is no place for logs")?;
    let read = std::fs::File::open(&path).and_then(|file| {
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, LOG_BYTES_MAX), &mut said)?;
        Ok(said)
    });
    match read {
        Ok(said) => Ok(String::from_utf8_lossy(&said).into_owned().into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let ended = tries.iter().find(|it| it.nth == nth).map(|it| it.worker.as_str());
            match (ended, job.worker.as_deref()) {
                (Some(who), _) => bail!(
                    "job {id}, try {nth}: it said nothing, or that is not kept on this host; it was made by {who}"
                ),
                (None, who) => bail!(
                    "job {id}, try {nth}: what it says is kept once it has ended, where it is made: by {}",
                    who.unwrap_or("nobody any more")
                ),
            }
        }
        Err(error) => Err(anyhow!("{}: {error}", text::path(&path))),
    }
}

/// Retries, cancels or releases.
///
/// # Errors
/// It is not said which; or what was not done is not known, and to do it again does no harm.
pub fn change(
    settings: &Settings,
    asked: &cli::Change,
    change: &Change,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let mut which = which(&asked.filter)?;
    // one that is named twice is one
    let named: BTreeSet<i64> = asked.ids.iter().copied().collect();
    which.ids = (!named.is_empty()).then(|| named.iter().copied().collect());
    if !which.is_narrow() && which.states.is_empty() && !asked.all {
        return Err(wrong("which jobs? give their numbers, a filter such as --class, or --all"));
    }
    // what is done is done again only where a person names it
    if which.ids.is_none() && which.states.is_empty() && *change == Change::Retry {
        which.states = vec![State::Failed, State::Cancelled, State::Retryable];
    }
    let mut asking = Asking::to(settings, asked.at.queue.as_deref())?;
    refuse_unknown(settings, &mut asking, &which)?;
    let changed = carry_out(&mut asking, &which, change, asked.dry_run)?;
    if !asked.dry_run && *change == Change::Cancel {
        clear_up(&mut asking, &changed.jobs, settings);
    }
    tell(change, &changed, named.len(), asked.dry_run, json, now)
}

/// Puts aside by a rule.
///
/// # Errors
/// The rule is none; or what was not done is not known, and to do it again does no harm.
pub fn quarantine(
    settings: &Settings,
    rule: &[String],
    because: &str,
    dry_run: bool,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let which = rule_of(rule)?;
    let change = Change::Quarantine(reason(because)?);
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    refuse_unknown(settings, &mut asking, &which)?;
    let changed = carry_out(&mut asking, &which, &change, dry_run)?;
    if !dry_run && !changed.jobs.is_empty() {
        clear_up(&mut asking, &changed.jobs, settings);
    }
    tell(&change, &changed, 0, dry_run, json, now)
}

/// Takes away what tries have left of those of these jobs that have no next one, and says so. Where that cannot be done they
/// are put aside all the same.
fn clear_up(asking: &mut Asking, ids: &[i64], settings: &Settings) {
    /// Storage may be slow, and a person waits.
    const LIMIT: Duration = Duration::from_secs(60);
    let mut jobs = Vec::new();
    for some in ids.chunks(AT_ONCE as usize) {
        let which = Which::ids(some);
        match asking.ask(move |store| store.list(&which, Order::Turn, AT_ONCE)) {
            Ok(more) => jobs.extend(more),
            Err(why) => out::complain(&format!("scratch files of their tries stay: {why:#}")),
        }
    }
    jobs.retain(|job| !job.state.waits() && job.state != State::Running);
    let open = gate::open(&settings.host.run_dir);
    let mark = match asking.ask(Store::mark) {
        Ok(mark) => mark,
        Err(why) => return out::complain(&format!("scratch files of their tries stay: {why:#}")),
    };
    let gone = scratch::remove_all(&mark, &jobs, &open, Deadline::after(LIMIT));
    if gone.count > 0 {
        out::complain(&format!("{} scratch files of their tries are gone", gone.count));
    }
    gone.trouble.iter().for_each(|why| out::complain(why));
}

/// A thousand at a time, each within its own limit.
fn carry_out(
    asking: &mut Asking,
    which: &Which,
    change: &Change,
    dry_run: bool,
) -> Result<Changed> {
    let mut progress = Progress::default();
    while !progress.is_over {
        let so_far = progress.changed.jobs.len();
        let (which, change, by, before) = (which.clone(), change.clone(), by(), progress);
        progress = asking
            .ask(move |store| store.change_some(&which, &change, by, dry_run, before))
            .with_context(|| {
                format!("after {so_far} jobs; to say it again goes on with the rest")
            })?;
    }
    Ok(progress.changed)
}

fn tell(
    change: &Change,
    changed: &Changed,
    named: usize,
    dry_run: bool,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let text = if json {
        report::changed_json(changed, dry_run, now)?
    } else {
        report::changed(change, changed, named, dry_run)
    };
    // whoever names a job wants to hear that nothing came of it
    let found = changed.jobs.len() + changed.running.len();
    Ok(Said { text, code: u8::from(found < named) })
}

/// What a filter says.
fn which(filter: &cli::Filter) -> Result<Which> {
    let states: Result<Vec<State>> = filter
        .states
        .iter()
        .map(|name| {
            State::named(name).ok_or_else(|| {
                let known = State::ALL.map(State::name).join(", ");
                wrong(format!("--state {name}: no such state; there are {known}"))
            })
        })
        .collect();
    let older = filter.older.as_ref().map(|time| time_of("--older", time)).transpose()?;
    let class = filter.class.as_ref().map(|name| class_of(name));
    let class = class.transpose().map_err(|why| wrong(format!("--class {why}")))?;
    let input = filter.input.as_ref().map(|path| input_of(path)).transpose()?;
    Ok(Which {
        ids: None,
        kind: filter.kind.clone(),
        class,
        states: states?,
        older,
        input,
        stamp: None,
    })
}

/// A class by its name.
fn class_of(name: &str) -> Result<String, String> {
    // what a person has put aside that had not failed
    let known: Vec<&str> = Class::ALL.map(Class::name).into_iter().chain(["set-aside"]).collect();
    let is_known = known.contains(&name);
    let why = || format!("{name}: no such class; there are {}", known.join(", "));
    is_known.then(|| name.to_owned()).ok_or_else(why)
}

/// An input, or what inputs lie below, as jobs have it.
fn input_of(path: &Path) -> Result<String> {
    let base = std::env::current_dir().context("the working directory")?;
    let written = text::path(&absolute(path, &base));
    Ok(written.trim_end_matches('/').to_owned())
}

/// Refuses a type that no job has ever been of: whoever mistypes one would be told that all is well.
fn refuse_unknown(settings: &Settings, asking: &mut Asking, which: &Which) -> Result<()> {
    let Some(kind) = &which.kind else { return Ok(()) };
    let lanes = asking.ask(Store::lanes)?;
    let mut known: BTreeSet<String> = lanes.into_iter().map(|it| it.kind).collect();
    // one of this host that nobody has put anything in of
    known.extend(types_of_host(settings).unwrap_or_default());
    if known.contains(kind) {
        return Ok(());
    }
    // one that no worker knows and some jobs are of: for that all rows are gone through
    known.extend(asking.ask(Store::counts)?.into_iter().map(|(kind, _, _)| kind));
    if known.contains(kind) {
        return Ok(());
    }
    let known: Vec<String> = known.into_iter().collect();
    bail!("{kind}: no such type is known here; there are {}", text::list_or_none(&known))
}

/// The parts of a rule, of which several may be in one word, with commas between. A path may have commas of its own: it ends
/// where another part begins.
fn parts_of(rule: &[String]) -> Vec<String> {
    const KEYS: [&str; 5] = ["type=", "class=", "age=", "input=", "stamp="];
    let mut parts: Vec<String> = Vec::new();
    for word in rule {
        for (nth, more) in word.split(',').enumerate() {
            let is_part = KEYS.iter().any(|key| more.starts_with(key));
            match parts.last_mut().filter(|it| it.starts_with("input=")) {
                Some(input) if nth > 0 && !is_part => *input += &format!(",{more}"),
                Some(_) | None => parts.push(more.to_owned()),
            }
        }
    }
    parts
}

/// What a rule says, such as `type=pdftext`.
fn rule_of(rule: &[String]) -> Result<Which> {
    let mut which = Which::default();
    let rule = parts_of(rule);
    for part in &rule {
        let said = |why: &str| wrong(format!("--where {part}: {why}"));
        let (key, value) = part.split_once('=').ok_or_else(|| said("expected KEY=VALUE"))?;
        if value.is_empty() {
            return Err(said("the value is missing"));
        }
        let same = |it: &&String| it.split_once('=').is_some_and(|(other, _)| other == key);
        if rule.iter().filter(same).count() > 1 {
            return Err(said("it is said twice, and all of a rule must hold"));
        }
        match key {
            "type" => which.kind = Some(value.to_owned()),
            "class" => which.class = Some(class_of(value).map_err(|why| said(&why))?),
            "age" => which.older = Some(duration::parse(value).map_err(|why| said(&why))?),
            "input" => which.input = Some(input_of(Path::new(value))?),
            "stamp" => {
                which.stamp = Some(match value {
                    "missing" => StampIs::Missing,
                    "malformed" => StampIs::Malformed,
                    _ => return Err(said("expected missing or malformed")),
                });
            }
            _ => return Err(said("expected type, class, age, input or stamp")),
        }
    }
    Ok(which)
}

/// One job and all around it.
struct Known {
    job: Job,
    tries: Vec<Try>,
    events: Vec<Event>,
    lanes: Vec<Lane>,
    workers: Vec<Worker>,
    refuses: Option<String>,
    now_ms: u64,
}

fn look(settings: &Settings, id: i64, at: &cli::QueueAt) -> Result<Known> {
    let mut asking = Asking::to(settings, at.queue.as_deref())?;
    let known = asking.ask(move |store| {
        let Some((job, tries)) = store.job(id)? else { return Ok(None) };
        Ok(Some(Known {
            job,
            tries,
            events: store.events_of(id)?,
            lanes: store.lanes()?,
            workers: store.all_workers(false)?,
            refuses: store.refuses(env!("CARGO_PKG_VERSION"))?,
            now_ms: store.now_ms()?,
        }))
    })?;
    known.with_context(|| format!("job {id}: there is none"))
}

impl Known {
    fn whys(&self, prefer_wait_ms: u64) -> Vec<Why> {
        let refuses = self.refuses.as_deref();
        whys(&self.job, &self.lanes, &self.workers, refuses, self.now_ms, prefer_wait_ms)
    }
}

/// Why a job stands as it does.
#[must_use]
pub fn whys(
    job: &Job,
    lanes: &[Lane],
    workers: &[Worker],
    refuses: Option<&str>,
    now_ms: u64,
    prefer_wait_ms: u64,
) -> Vec<Why> {
    let lane = lanes.iter().find(|lane| lane.kind == job.kind);
    let whose = job.worker.as_deref().map(|id| (id, workers.iter().find(|it| it.id == id)));
    why::why(&why::Case {
        state: job.state,
        worker: whose.map(|(id, it)| (id, it.map(Worker::standing))),
        stall: job.stall.as_ref(),
        at_another: whose.and_then(|(_, it)| at_another(job, it?, now_ms)),
        class: job.class.as_deref(),
        message: job.message.as_deref(),
        now_ms,
        not_before_ms: job.not_before_ms,
        created_ms: job.created_ms,
        needs: &job.needs,
        prefers: &job.prefers,
        is_of_a_run: JobType::is_of_a_run(&job.kind),
        lane: lane.map(|lane| why::LaneCase {
            digest: lane.digest.as_deref(),
            first_tier: lane.first_tier.as_deref(),
            paused: lane.paused.as_ref().map(|(_, why)| why.as_str()),
            open: lane.open.as_ref().map(|open| (open.why.as_str(), open.retry_ms)),
        }),
        workers: workers
            .iter()
            .map(|worker| {
                let (mark, standing) = (worker.types.get(&job.kind), worker.standing());
                why::WorkerCase {
                    host: &worker.host,
                    standing,
                    digest: mark.map(|mark| mark.digest.as_str()),
                    first_tier: mark.map(|mark| mark.uses.as_str()),
                    lacks: worker.lacks.get(&job.kind).map(|it| it.why.as_str()),
                    open: &worker.open,
                    rests: mark.and_then(|mark| mark.rests.as_deref()),
                    // who has no job at work says what it waits for before it takes one, and nothing else
                    waits: worker.step.as_deref().filter(|_| standing == Standing::Idle),
                    closed: &worker.closed,
                }
            })
            .collect(),
        refuses,
        prefer_wait_ms,
    })
}

/// The job that a worker said to be at, and at no other, where it had this one by then, too: of what is taken many at a time one
/// is done after the other.
fn at_another(job: &Job, worker: &Worker, now_ms: u64) -> Option<i64> {
    let heard_ms = now_ms.saturating_sub(worker.silent_ms);
    let step = worker.step.as_deref().filter(|it| !it.contains("; and "))?;
    let (_, rest) = step.split_once(" job ")?;
    let id = rest.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()?;
    (id != job.id && job.started_ms.is_some_and(|at_ms| at_ms < heard_ms)).then_some(id)
}

/// How long jobs are left to hosts with their first tool.
#[must_use]
pub fn prefer_wait_ms(settings: &Settings) -> u64 {
    millis(settings.jobs_or_default().prefer_wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rule_says_what_it_means_or_nothing_is_done() {
        let rule = |text: &str| {
            rule_of(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        let which = rule("type=a,age=7d,stamp=missing,class=failed,input=/srv/x").unwrap();
        assert_eq!(which.kind.as_deref(), Some("a"));
        let input = |text: &str| rule(&format!("input={text}")).unwrap().input.unwrap();
        assert_eq!(
            ["/srv/in/", "/srv/./in", "s3://b/in/"].map(input),
            ["/srv/in", "/srv/in", "s3://b/in"]
        );
        // a path has commas of its own, and a rule as many words as it likes
        for text in ["input=/a,b,c type=t", "input=/a,b,c,type=t", "type=t,input=/a,b,c"] {
            let which = rule(text).unwrap();
            assert_eq!(
                (which.input.as_deref(), which.kind.as_deref()),
                (Some("/a,b,c"), Some("t")),
                "{text}"
            );
        }
        assert!(input("a").ends_with("/a") && input("a").starts_with('/'));
        assert_eq!(which.older, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(which.stamp, Some(StampIs::Missing));
        for (text, expected) in [
            ("type", "--where type: expected KEY=VALUE"),
            ("type=", "--where type=: the value is missing"),
            ("stamp=odd", "--where stamp=odd: expected missing or malformed"),
            ("kind=a", "--where kind=a: expected type, class, age, input or stamp"),
            ("age=7", "--where age=7: "),
            ("class=faild", "--where class=faild: faild: no such class; there are failed, "),
            ("class=failed,type=a,class=crashed", "--where class=failed: it is said twice"),
        ] {
            assert!(rule(text).unwrap_err().starts_with(expected), "{text}");
        }
    }
}
