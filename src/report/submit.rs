//! What became of jobs that were put in, told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::json;
use super::round::Mode;
use crate::decide::attempts::State;
use crate::queue::store::{NewJob, Standing, Submitted};
use crate::sys::clock::Now;

/// Most that are listed for a person.
const LISTED: usize = 20;

/// Jobs that were put in.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// How they stand.
    pub stand: &'a [Standing],
    /// Why that is not known as it is now, but only as it was before.
    pub unknown: Option<&'a str>,
    /// How many of them were not there before.
    pub new: usize,
    /// Of how many the input was not there on this host; none where that could not be told in time.
    pub absent: Option<usize>,
    /// Why nobody would take them now.
    pub nobody: Option<&'a str>,
    /// Whether their end was waited for.
    pub waited: bool,
}

impl Came<'_> {
    /// 0 where all went well; 1 where one that was waited for did not, or not in time.
    #[must_use]
    pub fn code(&self) -> u8 {
        let is_not = |it: &Standing| it.state != State::Done;
        u8::from(self.waited && (self.unknown.is_some() || self.stand.iter().any(is_not)))
    }
}

#[derive(Serialize)]
struct Told<'a> {
    new: usize,
    absent: Option<usize>,
    jobs: Vec<One>,
    nobody: Option<&'a str>,
    /// Why it is not known how they stand now.
    unknown: Option<&'a str>,
}

#[derive(Serialize)]
struct One {
    id: i64,
    state: State,
    class: Option<String>,
    message: Option<String>,
    tier: Option<String>,
    output: Option<String>,
}

/// As text, or for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn text(told: &Came<'_>, json: bool, now: &Now) -> Result<String> {
    if json {
        let one = |it: &Standing| One {
            id: it.id,
            state: it.state,
            class: it.class.clone(),
            message: it.message.clone(),
            tier: it.tier.clone(),
            output: it.output.clone(),
        };
        let jobs = told.stand.iter().map(one).collect();
        let Came { new, absent, nobody, unknown, .. } = *told;
        let told = Told { new, absent, jobs, nobody, unknown };
        return Ok(json::told(&told, now)?);
    }
    let mut out = String::new();
    for it in told.stand.iter().take(LISTED) {
        let _ = writeln!(out, "{}", line(it));
    }
    if told.stand.len() > LISTED {
        let _ = writeln!(out, "and {} more", told.stand.len() - LISTED);
    }
    let known = told.stand.len().saturating_sub(told.new);
    let _ = writeln!(out, "{} put in, {known} known before", told.new);
    if let Some(why) = told.nobody {
        let _ = writeln!(out, "they wait: {why}");
    }
    if let Some(why) = told.unknown {
        let _ = writeln!(out, "how they stand now is not known: {why}");
    } else if told.waited && told.stand.iter().any(|it| !it.state.is_over()) {
        let _ = writeln!(out, "they are not over yet; unwedge jobs why ID says what they wait for");
    }
    Ok(out)
}

fn line(it: &Standing) -> String {
    let mut line = format!("job {}: {}", it.id, it.state.name());
    if let Some(tier) = it.tier.as_ref().filter(|_| it.state == State::Done) {
        let _ = write!(line, " by {tier}");
    }
    // what whoever waited for it looks for
    if let Some(output) = it.output.as_ref().filter(|_| it.state == State::Done) {
        let _ = write!(line, " -> {output}");
    }
    if let Some(class) = &it.class {
        let _ = write!(line, ", {class}");
    }
    if let Some(message) = &it.message {
        let _ = write!(line, ": {message}");
    }
    line
}

#[derive(Serialize)]
struct Would<'a> {
    mode: &'static str,
    jobs: Vec<WouldOne<'a>>,
    nobody: Option<&'a str>,
}

#[derive(Serialize)]
struct WouldOne<'a> {
    #[serde(flatten)]
    job: &'a NewJob,
    /// Which it is already, and how that stands.
    known: Option<i64>,
    state: Option<State>,
}

/// What would be put in; `known` are those that are there already, by their place.
///
/// # Errors
/// It cannot be written as JSON.
pub fn would(
    jobs: &[NewJob],
    known: &BTreeMap<usize, Submitted>,
    nobody: Option<&str>,
    json: bool,
    now: &Now,
) -> Result<String> {
    if json {
        let one = |(nth, job)| {
            let known = known.get(&nth);
            WouldOne { job, known: known.map(|it| it.id), state: known.map(|it| it.state) }
        };
        let jobs = jobs.iter().enumerate().map(one).collect();
        let would = Would { mode: Mode::DryRun.name(), jobs, nobody };
        return Ok(json::told(&would, now)?);
    }
    let mut out = String::new();
    for (nth, job) in jobs.iter().enumerate().take(LISTED) {
        let to = job.output.as_ref().map_or_else(String::new, |output| format!(" -> {output}"));
        let _ = match known.get(&nth) {
            None => writeln!(out, "would put in {} {}{to}", job.kind, job.input),
            Some(it) => {
                let state = it.state.name();
                writeln!(out, "is known: {} {}: job {}, {state}", job.kind, job.input, it.id)
            }
        };
    }
    if jobs.len() > LISTED {
        let _ = writeln!(out, "and {} more", jobs.len() - LISTED);
    }
    if let Some(why) = nobody {
        let _ = writeln!(out, "they would wait: {why}");
    }
    Ok(out)
}
