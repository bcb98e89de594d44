//! What a round did to a queue of our own, or would do: in the same words, and in the same fields of one object.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::json::{Head, Held};
use super::queue::QueueRound;
use super::round::Mode;
use crate::act::intake::Of;
use crate::act::upkeep::{Done, Tended};
use crate::decide::attempts::State;
use crate::manifest::JOBS;
use crate::probes::heartbeat::State as Sign;
use crate::probes::jobs::QueueLook;
use crate::sys::clock::millis;
use crate::sys::text;

/// What was done or would be, a few words each.
pub(super) fn deeds(tended: &Tended) -> Vec<String> {
    let mut out: Vec<String> = tended.done.iter().flat_map(upkeep).collect();
    out.extend(tended.intakes.iter().filter_map(intake));
    let done = tended.done.as_ref();
    out.extend(done.and_then(|it| more(it, tended.only_looked)).map(str::to_owned));
    out
}

/// What is said of what one round does not come to.
fn more(done: &Done, only_looked: bool) -> Option<&'static str> {
    match done.removed.is_more {
        Some(true) => Some("there is more to go, by the next round"),
        None if only_looked => Some("what there is no time for goes by the next round"),
        Some(false) | None => None,
    }
}

/// The lines for a person behind those on the queue.
pub(super) fn text(tended: &Tended) -> String {
    let deeds = deeds(tended);
    let mut out = String::new();
    if let Some(held) = &tended.held {
        out += &format!("  {}: {}\n", held.reason.name(), held.detail);
    }
    let is_known = tended.done.is_some() || !tended.intakes.is_empty();
    out += match (tended.only_looked && is_known, deeds.is_empty(), &tended.held) {
        (false, ..) => "",
        (true, true, _) => "  nothing is to be tended now\n",
        (true, false, None) => "  a round with --apply would do this now:\n",
        (true, false, Some(_)) => "  a round that may would do this now:\n",
    };
    let indent = if tended.only_looked { "    " } else { "  " };
    out += &deeds.iter().map(|it| format!("{indent}{it}\n")).collect::<String>();
    out + &heartbeats(tended).iter().map(|it| format!("  {it}\n")).collect::<String>()
}

/// The same behind a `;` each, for the journal.
pub(super) fn line(tended: &Tended) -> String {
    let mut parts = Vec::new();
    if let Some(held) = &tended.held {
        parts.push(format!("{}: {}", held.reason.name(), held.detail));
    }
    let deeds = deeds(tended);
    if tended.only_looked && !deeds.is_empty() {
        parts.push(format!("would be done: {}", deeds.join(", ")));
    } else {
        parts.extend(deeds);
    }
    parts.extend(heartbeats(tended));
    parts.iter().map(|it| format!("; {it}")).collect()
}

/// The signs of life that are not fresh.
fn heartbeats(tended: &Tended) -> Vec<String> {
    let bad = tended.heartbeats.iter().filter(|it| it.state != Sign::Fresh);
    bad.map(|it| {
        let age = it.age.map_or(String::new(), |age| format!(", {} old", text::duration(age)));
        let why = it.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        format!("heartbeat {}: {}{age}{why}", it.name, it.state.name())
    })
    .collect()
}

fn upkeep(done: &Done) -> Vec<String> {
    let mut out = Vec::new();
    if !done.gone.is_empty() || !done.back.is_empty() {
        let aside = done.aside.len();
        let aside = if aside > 0 { format!(", {aside} of them put aside") } else { String::new() };
        let names = done.gone.join(", ");
        out.push(format!("gone: {names}; {} jobs given back{aside}", done.back.len()));
    }
    for (state, count) in &done.removed.jobs {
        out.push(format!("{count} {} taken out", state.name()));
    }
    for (id, kind, input) in &done.removed.undone {
        out.push(format!("job {id} of {kind} ({input}) was not done, and is kept no longer"));
    }
    let rest = [
        (done.removed.events, "events taken out"),
        (done.removed.workers, "workers that were gone taken off the list"),
        (done.logs as u64, "logs taken away"),
        (done.spare as u64, "directories of forgotten tries taken away"),
        (done.scratch_files, "scratch files of jobs put aside taken away"),
        (done.seconds, "files that were kept beside the places of jobs taken away with them"),
    ];
    let some = rest.into_iter().filter(|(count, _)| *count > 0);
    out.extend(some.map(|(count, what)| format!("{count} {what}")));
    out
}

/// Of an intake, where there is anything.
fn intake(of: &Of) -> Option<String> {
    let passed = of.came.as_ref().ok()?;
    let all = [
        (passed.new > 0, format!("{} taken in", passed.new)),
        (passed.incomplete > 0, format!("{} not complete yet", passed.incomplete)),
        (passed.deleted > 0, format!("{} inputs deleted", passed.deleted)),
        (passed.settled, "deletions that were cut off ended".to_owned()),
    ];
    let some: Vec<String> = all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
    (!some.is_empty()).then(|| format!("intake {}: {}", of.name, some.join(", ")))
}

/// A round as one object.
#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    mode: &'static str,
    armed: bool,
    queue: Option<&'a QueueLook>,
    holds: Vec<Held<'a>>,
    upkeep: Option<UpkeepJson<'a>>,
    intakes: Vec<IntakeJson<'a>>,
    heartbeats: Vec<BeatJson<'a>>,
    trouble: Option<&'a str>,
}

/// Counted where it was done, and where it would be, in the same fields.
#[derive(Serialize)]
struct UpkeepJson<'a> {
    done: bool,
    workers_gone: &'a [String],
    jobs_back: BTreeMap<State, usize>,
    jobs_removed: &'a BTreeMap<State, u64>,
    not_done_removed: Vec<i64>,
    events_removed: u64,
    workers_removed: u64,
    logs_removed: usize,
    forgotten_removed: usize,
    scratch_files_removed: u64,
    second_results_removed: u64,
    is_more: Option<bool>,
}

#[derive(Serialize)]
struct IntakeJson<'a> {
    name: &'a str,
    ok: bool,
    taken_in: Option<usize>,
    incomplete: Option<usize>,
    deleted: Option<usize>,
    settled: Option<bool>,
    trouble: Vec<String>,
}

#[derive(Serialize)]
struct BeatJson<'a> {
    name: &'a str,
    state: &'static str,
    age_ms: Option<u64>,
    why: Option<&'a str>,
}

/// The object of a round, or of its dry run.
///
/// # Errors
/// It cannot be written as JSON.
pub(super) fn json(round: &QueueRound<'_>, mode: Mode) -> Result<String> {
    let none = Tended::default();
    let tended = round.tended.unwrap_or(&none);
    let holds = round.holds();
    let object = Object {
        head: Head::of(JOBS.name, round.now),
        mode: mode.name(),
        armed: round.armed,
        queue: round.look,
        holds: holds.iter().map(Held::of).collect(),
        upkeep: tended.done.as_ref().map(|done| of_upkeep(done, !tended.only_looked)),
        intakes: tended.intakes.iter().map(of_intake).collect(),
        heartbeats: tended.heartbeats.iter().map(of_beat).collect(),
        trouble: round.trouble,
    };
    Ok(serde_json::to_string_pretty(&object)? + "\n")
}

fn of_upkeep(done: &Done, is_done: bool) -> UpkeepJson<'_> {
    let mut jobs_back = BTreeMap::new();
    for it in &done.back {
        *jobs_back.entry(it.state).or_default() += 1;
    }
    UpkeepJson {
        done: is_done,
        workers_gone: &done.gone,
        jobs_back,
        jobs_removed: &done.removed.jobs,
        not_done_removed: done.removed.undone.iter().map(|(id, ..)| *id).collect(),
        events_removed: done.removed.events,
        workers_removed: done.removed.workers,
        logs_removed: done.logs,
        forgotten_removed: done.spare,
        scratch_files_removed: done.scratch_files,
        second_results_removed: done.seconds,
        is_more: done.removed.is_more,
    }
}

fn of_intake(of: &Of) -> IntakeJson<'_> {
    let passed = of.came.as_ref().ok();
    IntakeJson {
        name: &of.name,
        ok: of.is_well(),
        taken_in: passed.map(|it| it.new),
        incomplete: passed.map(|it| it.incomplete),
        deleted: passed.map(|it| it.deleted),
        settled: passed.map(|it| it.settled),
        trouble: of.trouble().collect(),
    }
}

fn of_beat(it: &crate::act::heartbeat::Seen) -> BeatJson<'_> {
    BeatJson {
        name: &it.name,
        state: it.state.name(),
        age_ms: it.age.map(millis),
        why: it.why.as_deref(),
    }
}
