//! What became of jobs that were put in, told.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::decide::attempts::State;
use crate::manifest::OPERATOR;
use crate::queue::store::{NewJob, Standing};
use crate::sys::clock::Now;

/// Most that are listed for a person.
const LISTED: usize = 20;

/// Jobs that were put in.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a> {
    /// How they stand.
    pub stand: &'a [Standing],
    /// How many of them were not there before.
    pub new: usize,
    /// Why nobody would take them now.
    pub nobody: Option<&'a str>,
    /// Whether their end was waited for.
    pub waited: bool,
}

impl Submitted<'_> {
    /// 0 where all went well; 1 where one that was waited for did not, or not in time.
    #[must_use]
    pub fn code(&self) -> u8 {
        u8::from(self.waited && self.stand.iter().any(|it| it.state != State::Done))
    }
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    new: usize,
    jobs: Vec<One>,
    nobody: Option<&'a str>,
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
pub fn text(told: &Submitted<'_>, json: bool, now: &Now) -> Result<String> {
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
        let told = Told { head: Head::of(OPERATOR, now), new: told.new, jobs, nobody: told.nobody };
        return Ok(serde_json::to_string(&told)? + "\n");
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
    if told.waited && told.stand.iter().any(|it| !it.state.is_over()) {
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
    #[serde(flatten)]
    head: Head<'a>,
    mode: &'static str,
    jobs: &'a [NewJob],
    nobody: Option<&'a str>,
}

/// What would be put in.
///
/// # Errors
/// It cannot be written as JSON.
pub fn would(jobs: &[NewJob], nobody: Option<&str>, json: bool, now: &Now) -> Result<String> {
    if json {
        let would = Would { head: Head::of(OPERATOR, now), mode: "dry-run", jobs, nobody };
        return Ok(serde_json::to_string(&would)? + "\n");
    }
    let mut out = String::new();
    for job in jobs.iter().take(LISTED) {
        let to = job.output.as_ref().map_or_else(String::new, |output| format!(" -> {output}"));
        let _ = writeln!(out, "would put in {} {}{to}", job.kind, job.input);
    }
    if jobs.len() > LISTED {
        let _ = writeln!(out, "and {} more", jobs.len() - LISTED);
    }
    if let Some(why) = nobody {
        let _ = writeln!(out, "they would wait: {why}");
    }
    Ok(out)
}
