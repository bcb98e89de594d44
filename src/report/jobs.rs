//! Jobs of our own queue, told: as a list, as the story of one, and what was changed of them.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json;
use super::round::Mode;
use super::workers::NO_WORKER;
use crate::decide::attempts::State;
use crate::decide::why::Why;
use crate::queue::store::change::{Change, Changed, Event};
use crate::queue::store::listing::{Job, Try};
use crate::sys::clock::{Now, rfc3339};
use crate::sys::text;

/// So much of a message fits on a line.
const MESSAGE_CHARS: usize = 100;
/// Most numbers that are listed.
const NUMBERS: usize = 20;

/// A list for a person.
#[must_use]
pub fn list(jobs: &[Job], is_cut: bool, now_ms: u64) -> String {
    if jobs.is_empty() {
        return "no such job\n".to_owned();
    }
    let mut out = format!(
        "{:>8}  {:11}  {:16}  {:>11}  {:>5}  INPUT\n",
        "ID", "STATE", "TYPE", "AGE", "TRIES"
    );
    for job in jobs {
        let age = ago(job.created_ms, now_ms);
        let _ = writeln!(
            out,
            "{:>8}  {:11}  {:16}  {age:>11}  {:>5}  {}",
            job.id,
            job.state.name(),
            job.kind,
            job.tries,
            job.input
        );
        let stall = job.stall.as_ref().map(|it| format!("{}: {}", it.how.at_work().name(), it.why));
        let more = stall
            .or_else(|| job.progress.clone())
            .filter(|_| job.worker.is_some())
            .or_else(|| reason(job));
        if let Some(more) = more {
            let _ = writeln!(out, "{:10}{}", "", cut(&more));
        }
    }
    if is_cut {
        out.push_str("there are more; --most N lists so many\n");
    }
    out
}

fn reason(job: &Job) -> Option<String> {
    let class = job.class.as_deref()?;
    Some(match &job.message {
        Some(message) => format!("{class}: {message}"),
        None => class.to_owned(),
    })
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message.to_owned(),
    }
}

fn ago(at_ms: u64, now_ms: u64) -> String {
    text::duration(Duration::from_millis(now_ms.saturating_sub(at_ms)))
}

/// The story of one.
#[must_use]
pub fn show(job: &Job, tries: &[Try], events: &[Event], whys: &[Why], now_ms: u64) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:10} {value}");
    };
    line("job", &format!("{} of {}", job.id, job.kind));
    line("state", job.state.name());
    for (nth, it) in whys.iter().enumerate() {
        line(if nth == 0 { "why" } else { "" }, &words(it, now_ms));
    }
    line("input", &job.input);
    if let Some(output) = &job.output {
        line("output", output);
    }
    if job.key != job.input {
        line("key", &job.key);
    }
    if let Some(stamp) = &job.stamp {
        line("stamp", stamp);
    }
    if !job.needs.is_empty() {
        line("needs", &job.needs.join(", "));
    }
    if !job.prefers.is_empty() {
        line("prefers", &job.prefers.join(", "));
    }
    line("priority", &job.priority.to_string());
    line("put in", &format!("{}, {} ago", rfc3339(job.created_ms), ago(job.created_ms, now_ms)));
    line(
        "used up",
        &format!(
            "{} failures of its own, {} of its surroundings, {} workers lost",
            job.failures, job.infra_errors, job.rescues
        ),
    );
    if let Some(progress) = &job.progress {
        line("progress", progress);
    }
    if let Some(bytes) = job.bytes {
        line("result", &if bytes == 0 { "empty".to_owned() } else { format!("{bytes} bytes") });
    }
    for it in tries {
        let took = it.started_ms.map_or_else(String::new, |from| {
            format!(
                " in {}",
                text::duration(Duration::from_millis(it.ended_ms.saturating_sub(from)))
            )
        });
        let tier = it.tier.as_ref().map_or_else(String::new, |tier| format!(" by {tier}"));
        let end = match (it.exit_code, it.signal) {
            (Some(code), _) => format!(", exit {code}"),
            (None, Some(signal)) => format!(", signal {signal}"),
            (None, None) => String::new(),
        };
        let class = it.class.as_ref().map_or_else(String::new, |class| format!(", {class}"));
        line(
            &format!("try {}", it.nth),
            &format!("{} {}{took}{tier}{end}{class}", rfc3339(it.ended_ms), it.end_state),
        );
        let version = it.version.as_deref().unwrap_or("unknown");
        line("", &format!("worker {}, version {version}", it.worker));
        if let Some(message) = &it.message {
            line("", message);
        }
    }
    for it in events {
        let by = it.detail.as_deref().unwrap_or_default();
        line("event", &format!("{} {} {by}", rfc3339(it.at_ms), it.kind));
    }
    out
}

/// That workers of this version are refused, with what mends it.
#[must_use]
pub fn too_old(least: &str) -> String {
    format!(
        "no worker is there, and one of {} would be refused: the queue wants {least} or later: \
         dpkg -i unwedge_{least}_*.deb && systemctl restart unwedge-runner",
        env!("CARGO_PKG_VERSION")
    )
}

/// Why it is not running, a line each.
#[must_use]
pub fn whys(whys: &[Why], now_ms: u64) -> String {
    whys.iter().map(|it| words(it, now_ms) + "\n").collect()
}

/// One reason: its word, and what is to be known of it.
#[must_use]
pub fn words(why: &Why, now_ms: u64) -> String {
    let until = |at_ms: &u64| {
        let left = Duration::from_millis(at_ms.saturating_sub(now_ms));
        format!("until {}, {} from now", rfc3339(*at_ms), text::duration(left))
    };
    let more = match why {
        Why::Runs { worker, how, seen } => {
            let seen = seen.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
            format!("worker {worker} has it; {}{seen}", how.name())
        }
        Why::Over { state: State::Done, .. } => "its result is there".to_owned(),
        Why::Over { reason, .. } => reason.clone(),
        Why::CoolingDown { until_ms, reason } => format!("{}; {reason}", until(until_ms)),
        Why::Paused { why } => format!("{why}; unwedge lanes resume"),
        Why::LaneOpen { why, until_ms } => {
            format!(
                "several in a row failed for what their type says; one is let through {}: {why}",
                until(until_ms)
            )
        }
        Why::NoWorker => NO_WORKER.to_owned(),
        Why::RunOver => {
            "it is of a run that has ended: say the same run again, or unwedge jobs cancel"
                .to_owned()
        }
        Why::TooOld { least } => too_old(least),
        Why::NoCapableWorker { lacks } => {
            format!("no worker can take its type: {}", lacks.join("; "))
        }
        Why::OtherDefinition { hosts } => {
            format!(
                "its type says something else on {}; give all hosts the same file",
                hosts.join(", ")
            )
        }
        Why::StorageClosed { closed } => {
            format!("what it needs is not open: {}; {}", closed.join("; "), who_says(closed))
        }
        Why::Resting { why } => format!(
            "the last of its type failed for what is around them, and one is tried now and then until that works: {}",
            why.join("; ")
        ),
        Why::WorkersWait { why } => {
            format!("who could take it takes nothing yet: {}", why.join("; "))
        }
        Why::LeftToItsHost { hosts, until_ms } => {
            format!("left to {}, where its paths are, {}", hosts.join(", "), until(until_ms))
        }
        Why::LeftToOthers { until_ms } => {
            format!("left to a host that has the first tool of its type {}", until(until_ms))
        }
        Why::ItsTurn => "nothing keeps it back; those before it come first".to_owned(),
    };
    format!("{}: {more}", why.name())
}

/// Who says why these are closed, each of a host.
fn who_says(closed: &[String]) -> String {
    let kinds = [
        ("heartbeat:", "unwedge incidents there says which sign of life is missing"),
        ("bucket:", "unwedge doctor there says what its bucket answers"),
        ("/", "unwedge-mounts there says why"),
    ];
    let is_named = |start: &str| {
        let keys = |it: &String| {
            let keys = it.split_once(": ").map_or("", |(_, keys)| keys);
            keys.split(", ").any(|key| key.starts_with(start))
        };
        closed.iter().any(keys)
    };
    let said: Vec<&str> =
        kinds.iter().filter(|(start, _)| is_named(start)).map(|(_, who)| *who).collect();
    if said.is_empty() { "unwedge status there says why".to_owned() } else { said.join("; ") }
}

/// What was changed, or would be.
#[must_use]
pub fn changed(change: &Change, changed: &Changed, named: usize, dry_run: bool) -> String {
    let (done, none) = match change {
        Change::Retry => (
            "begin anew",
            "no such job failed, was called off or waits; what is put aside goes by unwedge jobs release",
        ),
        Change::Cancel => ("called off", "no such job waits or runs"),
        Change::Release => ("let out of quarantine", "no such job is in quarantine"),
        Change::Quarantine(_) => ("put aside", "no job that waits is so"),
    };
    let would = match (dry_run, change) {
        (false, _) => "",
        (true, Change::Retry) => "would ",
        (true, Change::Cancel | Change::Release | Change::Quarantine(_)) => "would be ",
    };
    let mut out = String::new();
    let Changed { jobs, running, taken } = changed;
    if !jobs.is_empty() {
        let _ = writeln!(out, "{} {would}{done}:{}", jobs.len(), numbers(jobs));
    }
    if !running.is_empty() {
        let end = if dry_run { "would end" } else { "end" };
        let _ = writeln!(
            out,
            "{} run and {end} with their worker's next sign of life:{}",
            running.len(),
            numbers(running)
        );
    }
    if !taken.is_empty() {
        let _ = writeln!(
            out,
            "{} stay as they are, another job that waits writes the same output:{}",
            taken.len(),
            numbers(taken)
        );
    }
    if jobs.is_empty() && running.is_empty() {
        let _ = writeln!(out, "nothing {would}{done}: {none}");
    } else if named > jobs.len() + running.len() + taken.len() {
        let _ = writeln!(out, "of the rest: {none}");
    }
    out
}

/// Numbers, cut short.
fn numbers(ids: &[i64]) -> String {
    let mut out: String = ids.iter().take(NUMBERS).map(|id| format!(" {id}")).collect();
    if ids.len() > NUMBERS {
        let _ = write!(out, " and {} more", ids.len() - NUMBERS);
    }
    out
}

#[derive(Serialize)]
struct ListJson<'a> {
    jobs: &'a [Job],
    /// Whether there are more.
    is_cut: bool,
}

/// A list for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn list_json(jobs: &[Job], is_cut: bool, now: &Now) -> Result<String> {
    Ok(json::told(&ListJson { jobs, is_cut }, now)?)
}

#[derive(Serialize)]
struct OneJson<'a> {
    job: &'a Job,
    tries: &'a [Try],
    events: &'a [Event],
    why: Vec<WhyJson>,
}

/// A reason for a program.
#[derive(Serialize)]
pub(super) struct WhyJson {
    reason: &'static str,
    detail: String,
}

impl WhyJson {
    pub(super) fn of(why: &Why, now_ms: u64) -> Self {
        Self { reason: why.name(), detail: words(why, now_ms) }
    }
}

/// One for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn show_json(
    job: &Job,
    tries: &[Try],
    events: &[Event],
    whys: &[Why],
    now: &Now,
) -> Result<String> {
    let why = whys.iter().map(|it| WhyJson::of(it, now.utc_ms)).collect();
    let one = OneJson { job, tries, events, why };
    Ok(json::told(&one, now)?)
}

#[derive(Serialize)]
struct ChangedJson<'a> {
    mode: &'static str,
    #[serde(flatten)]
    changed: &'a Changed,
}

/// What was changed, for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn changed_json(changed: &Changed, dry_run: bool, now: &Now) -> Result<String> {
    let mode = Mode::of(!dry_run).name();
    let told = ChangedJson { mode, changed };
    Ok(json::told(&told, now)?)
}
