//! A reading of the queue: as text, as the answer to a root program, as metrics, as a journal line. A
//! queue that could not be read has no figures at all: a zero would look like an idle one.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::exit::Exit;
use super::metrics::{self, Common, Families, flag, seconds_of, whole};
use super::round::Mode;
use super::{out, tended};
use crate::act::upkeep::Tended;
use crate::config::{Settings, duration};
use crate::decide::plan::{Hold, Reason};
use crate::manifest::JOBS;
use crate::probes::jobs::{Answer, Job, LastGood, QueueFacts, QueueLook, SCHEMA, State, Touched};
use crate::sys::clock::{Now, rfc3339};
use crate::sys::text;

/// A round of `unwedge-jobs`.
#[derive(Debug)]
pub struct QueueRound<'a> {
    /// When it was.
    pub now: &'a Now,
    /// Whether its sentinel is there.
    pub armed: bool,
    /// What was seen; none where there is no `[queue]`.
    pub look: Option<&'a QueueLook>,
    /// When the queue was last read, milliseconds since 1970 UTC.
    pub last_good_utc_ms: Option<u64>,
    /// What was seen of a queue of our own beside that, and done to it.
    pub tended: Option<&'a Tended>,
    /// What could not be done or stored.
    pub trouble: Option<&'a str>,
    /// How long it took.
    pub took: Duration,
}

impl QueueRound<'_> {
    /// How the run should end.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match (self.look, self.trouble) {
            (Some(QueueLook::Unknown { .. }), _) | (_, Some(_)) => Exit::Failed,
            (Some(QueueLook::Known(_)) | None, None) => Exit::Fine,
        }
    }

    /// What keeps it from its work.
    pub(super) fn holds(&self) -> Vec<Hold> {
        let unknown = self.look.and_then(|look| match look {
            QueueLook::Known(_) => None,
            QueueLook::Unknown { why, .. } => Some(Hold::gate(Reason::QueueUnknown, why.clone())),
        });
        unknown.into_iter().chain(self.tended.and_then(|it| it.held.clone())).collect()
    }
}

/// When the queue was last read, milliseconds since 1970 UTC.
#[must_use]
pub fn last_good(look: Option<&QueueLook>, now: &Now) -> Option<u64> {
    match look? {
        QueueLook::Known(_) => Some(now.utc_ms),
        QueueLook::Unknown { last_good, .. } => last_good.as_ref().map(|it| it.read_utc_ms),
    }
}

/// The answer to a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(look: &QueueLook, now: &Now) -> Result<String> {
    let answer = Answer {
        schema: SCHEMA,
        tool: JOBS.name.to_owned(),
        at: rfc3339(now.utc_ms),
        queue: look.clone(),
    };
    Ok(serde_json::to_string_pretty(&answer)? + "\n")
}

/// Tells the round on standard output: JSON where it was asked for, text for a person.
///
/// # Errors
/// It could not be written.
pub fn say(round: &QueueRound<'_>, mode: Mode, json: bool) -> Result<()> {
    if json {
        return Ok(out::print(&tended::json(round, mode)?)?);
    }
    if super::journal::is_ours() {
        return Ok(());
    }
    // without a queue there may still be signs of life
    let more = round.tended.map(tended::text).unwrap_or_default();
    if let (Mode::DryRun, Some(trouble)) = (mode, round.trouble) {
        out::complain(&format!("{}: {trouble}", JOBS.program));
    }
    Ok(out::print(&(text(round.look, round.now) + &more))?)
}

/// Tells what the queue holds, and nothing else: the answer to a program, or text for a person.
///
/// # Errors
/// It could not be written, or there is no queue to give a program an answer of.
pub fn say_facts(look: Option<&QueueLook>, now: &Now, json: bool) -> Result<()> {
    match (json, look) {
        (true, Some(look)) => Ok(out::print(&self::json(look, now)?)?),
        (true, None) => anyhow::bail!("there is no [queue] in the configuration"),
        (false, look) => Ok(out::print(&text(look, now))?),
    }
}

/// What was held back, for a person or a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn held_back(held: &Touched, time: Duration, dry_run: bool, json: bool) -> Result<String> {
    let none = "no job that comes next or soon writes there";
    touched(held, "held back", &format!(" for {}", text::duration(time)), none, dry_run, json)
}

/// What was given back, or would be.
///
/// # Errors
/// It cannot be written as JSON.
pub fn recovered(given: &Touched, dry_run: bool, json: bool) -> Result<String> {
    touched(given, "given back", "", "no such row runs as it was seen", dry_run, json)
}

fn touched(
    jobs: &Touched,
    what: &str,
    how: &str,
    none: &str,
    dry_run: bool,
    json: bool,
) -> Result<String> {
    if json {
        return Ok(serde_json::to_string(jobs)? + "\n");
    }
    let what = if dry_run { format!("would be {what}") } else { what.to_owned() };
    let ids: Vec<String> = jobs.jobs.iter().map(|id| text::bytes(id.as_bytes())).collect();
    Ok(match ids.len() {
        0 => format!("nothing {what}: {none}\n"),
        count => format!("{count} {what}{how}: {}\n", ids.join(" ")),
    })
}

/// The reading for a person.
#[must_use]
pub fn text(look: Option<&QueueLook>, now: &Now) -> String {
    match look {
        None => "no queue: there is no [queue] in the configuration\n".to_owned(),
        Some(QueueLook::Known(facts)) => known(facts, now),
        Some(QueueLook::Unknown { why, last_good }) => {
            let mut out = format!("queue-unknown: {}\n", text::bytes(why.as_bytes()));
            match last_good {
                None => out += "  no earlier reading is kept\n",
                Some(LastGood { read_utc_ms, age_ms, facts }) => {
                    let age = age_ms.map_or(String::new(), |ms| {
                        format!(", {} ago", text::duration(Duration::from_millis(ms)))
                    });
                    out +=
                        &format!("  last read {}{age}: {}\n", rfc3339(*read_utc_ms), counts(facts));
                }
            }
            out
        }
    }
}

fn known(facts: &QueueFacts, now: &Now) -> String {
    let mut out = format!("queue {}: {}\n", text::bytes(facts.queue.as_bytes()), counts(facts));
    if let Some(ms) = facts.oldest_pending_ms {
        out += &format!("  the oldest has waited {}\n", text::duration(Duration::from_millis(ms)));
    }
    if let Some(count) = facts.infra_errors.count.filter(|count| *count > 0) {
        let window = duration::display(Duration::from_millis(facts.infra_errors.window_ms));
        out += &format!("  {count} with an infrastructure error in the last {window}\n");
    }
    if let Some(stale) = facts.stale_running.filter(|stale| *stale > 0) {
        out += &format!("  {stale} running for longer than they should\n");
    }
    if let Some(dead) = facts.dead.filter(|dead| *dead > 0) {
        out += &format!("  {dead} failed for good, and are kept\n");
    }
    for (title, jobs) in
        [("running", &facts.running), ("next", &facts.next), ("cooling", &facts.cooling)]
    {
        if !jobs.is_empty() {
            out += &format!("  {title}\n");
        }
        for job in jobs {
            out += &format!("    {}\n", line(job, now));
        }
    }
    for advice in &facts.advice {
        out += &format!("  advice: {}\n", text::bytes(advice.as_bytes()));
    }
    out
}

/// How many are in which state.
pub(super) fn counts(facts: &QueueFacts) -> String {
    let count = |state: State| format!("{} {}", facts.count(state), state.name());
    State::ALL.map(count).join(", ")
}

fn line(job: &Job, now: &Now) -> String {
    let output = job.output.as_deref().map_or("(output not known)".to_owned(), text::path);
    let mut line = format!("{}  {output}", text::bytes(job.id.as_bytes()));
    if let Some(lane) = &job.lane {
        line += &format!("  lane {}", text::bytes(lane.as_bytes()));
    }
    if let (State::Running, Some(started)) = (job.state, job.started_utc_ms) {
        let age = Duration::from_millis(now.utc_ms.saturating_sub(started));
        line += &format!("  for {}", text::duration(age));
    }
    if let (State::Cooling, Some(until)) = (job.state, job.not_before_utc_ms) {
        line += &format!("  not before {}", rfc3339(until));
    }
    if let Some(attempts) = job.attempts.filter(|attempts| *attempts > 0) {
        line += &format!("  tried {attempts} times");
    }
    line
}

/// The round's line in the journal.
pub fn journal(round: &QueueRound<'_>) {
    let mut line = match round.look {
        None => "no queue".to_owned(),
        Some(QueueLook::Known(facts)) => format!("queue {}: {}", facts.queue, counts(facts)),
        Some(QueueLook::Unknown { why, .. }) => format!("queue-unknown: {why}"),
    };
    line += &round.tended.map(tended::line).unwrap_or_default();
    if let Some(trouble) = round.trouble {
        line += &format!("; {trouble}");
    }
    line += &format!("; in {}", text::duration(round.took));
    super::journal::tell(JOBS.name, "", round.took, round.exit(), &line);
}

/// Writes the metrics.
///
/// # Errors
/// They could not be written.
pub fn write_metrics(settings: &Settings, round: &QueueRound<'_>) -> Result<()> {
    let text = render_metrics(round).context("render metrics")?;
    metrics::put(settings, &JOBS.metrics_file(), &text, round.now)
}

/// The text of the metrics.
///
/// # Errors
/// A family is not as the library wants it.
pub fn render_metrics(round: &QueueRound<'_>) -> Result<String> {
    let mut metrics = Families::default();
    let holds = round.holds();
    metrics.set_common(&Common {
        tool: JOBS.name,
        now: round.now,
        armed: round.armed,
        exit: round.exit(),
        took: round.took,
        holds: holds.iter().collect(),
    })?;
    // signs of life are looked at where there is no queue, too
    if let Some(tended) = round.tended {
        super::lanes::metrics(tended, &mut metrics)?;
    }
    let Some(look) = round.look else { return metrics.encode() };
    metrics.set("unwedge_queue_readable", &[], flag(look.known().is_some()))?;
    if let Some(read) = round.last_good_utc_ms {
        metrics.set("unwedge_queue_last_good_timestamp_seconds", &[], seconds_of(read))?;
    }
    let Some(facts) = look.known() else { return metrics.encode() };
    for state in State::ALL {
        let labels = [("queue", facts.queue.as_str()), ("state", state.name())];
        metrics.set("unwedge_jobs", &labels, whole(facts.count(state)))?;
    }
    let queue = [("queue", facts.queue.as_str())];
    for (name, count) in
        [("unwedge_jobs_stale", facts.stale_running), ("unwedge_jobs_dead", facts.dead)]
    {
        if let Some(count) = count {
            metrics.set(name, &queue, whole(count))?;
        }
    }
    if let Some(ms) = facts.oldest_pending_ms {
        metrics.set("unwedge_jobs_oldest_pending_seconds", &[], seconds_of(ms))?;
    }
    if let Some(count) = facts.infra_errors.count {
        let window = duration::display(Duration::from_millis(facts.infra_errors.window_ms));
        metrics.set("unwedge_jobs_infra_errors_recent", &[("window", &window)], whole(count))?;
    }
    metrics.encode()
}

#[cfg(test)]
mod tests;
