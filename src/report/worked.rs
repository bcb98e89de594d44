//! What came of files that were worked through, for a program, and what would be done with them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::json;
use super::round::Mode;
use crate::decide::attempts::State;
use crate::queue::store::{NewJob, Standing};
use crate::sys::clock::Now;

#[derive(Serialize)]
struct Object<'a> {
    done: usize,
    not: Vec<NotDone<'a>>,
    /// Those that are done whose input was written since.
    changed: &'a [i64],
}

#[derive(Serialize)]
struct NotDone<'a> {
    job: i64,
    input: &'a str,
    state: &'static str,
    class: Option<&'a str>,
    message: Option<&'a str>,
}

/// How many are done, and each that is not with its reason; `names` are the inputs, and `changed` those that are done whose
/// input was written since.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(
    stand: &[Standing],
    names: &BTreeMap<i64, &str>,
    changed: &[i64],
    now: &Now,
) -> Result<String> {
    let not = stand.iter().filter(|it| it.state != State::Done).map(|it| NotDone {
        job: it.id,
        input: names.get(&it.id).copied().unwrap_or_default(),
        state: it.state.name(),
        class: it.class.as_deref(),
        message: it.message.as_deref(),
    });
    let not: Vec<NotDone<'_>> = not.collect();
    let done = stand.len() - not.len();
    let object = Object { done, not, changed };
    Ok(json::told(&object, now)?)
}

/// What would be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It would be a new job.
    PutIn,
    /// It is this job, and stands so: that would be gone on with.
    GoOnWith(i64, State),
    /// It is this job, and over: it would be tried anew.
    TryAgain(i64, State),
    /// It is this job, and over: so it stays.
    Leave(i64, State),
}

impl Deed {
    fn words(self) -> &'static str {
        match self {
            Self::PutIn => "put in",
            Self::GoOnWith(..) => "go on with",
            Self::TryAgain(..) => "try again",
            Self::Leave(..) => "leave",
        }
    }

    fn job(self) -> Option<(i64, State)> {
        match self {
            Self::PutIn => None,
            Self::GoOnWith(id, state) | Self::TryAgain(id, state) | Self::Leave(id, state) => {
                Some((id, state))
            }
        }
    }
}

/// A file, and what would be done with it.
#[derive(Clone, Copy, Debug)]
pub struct Would<'a> {
    /// The file as a job.
    pub job: &'a NewJob,
    /// What would be done.
    pub deed: Deed,
}

#[derive(Serialize)]
struct WouldObject<'a> {
    mode: &'static str,
    files: Vec<WouldOne<'a>>,
}

#[derive(Serialize)]
struct WouldOne<'a> {
    input: &'a str,
    output: Option<&'a str>,
    deed: String,
    job: Option<i64>,
    state: Option<State>,
}

/// What would be done with each, as text or for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn would(all: &[Would<'_>], json: bool, now: &Now) -> Result<String> {
    if json {
        fn one<'a>(it: &'a Would<'_>) -> WouldOne<'a> {
            WouldOne {
                input: &it.job.input,
                output: it.job.output.as_deref(),
                deed: it.deed.words().replace(' ', "-"),
                job: it.deed.job().map(|(id, _)| id),
                state: it.deed.job().map(|(_, state)| state),
            }
        }
        let files = all.iter().map(one).collect();
        let object = WouldObject { mode: Mode::DryRun.name(), files };
        return Ok(json::told(&object, now)?);
    }
    let mut said = String::new();
    for it in all {
        let to = it.job.output.as_ref().map_or_else(String::new, |output| format!(" -> {output}"));
        let stands = it
            .deed
            .job()
            .map_or_else(String::new, |(id, state)| format!(": job {id}, {}", state.name()));
        let _ = writeln!(said, "would {} {}{to}{stands}", it.deed.words(), it.job.input);
    }
    Ok(said)
}
