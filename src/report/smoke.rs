//! How long each stage of a smoke job took, told.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::decide::attempts::State;
use crate::manifest::OPERATOR;
use crate::queue::store::listing::Job;
use crate::sys::clock::Now;

/// The stages, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names, reason = "the unit stands at the end")]
pub struct Stages {
    /// Until it was put in.
    put_in_ms: u64,
    /// From then until a worker took it, by the clock of the queue.
    taken_ms: u64,
    /// Until its end was written down.
    done_ms: u64,
    /// All of it, until it was heard here.
    all_ms: u64,
}

impl Stages {
    /// Those of a job that is done; none of another.
    #[must_use]
    pub fn of(job: &Job, put: Duration, all: Duration) -> Option<Self> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (started, finished) = (job.started_ms?, job.finished_ms?);
        (job.state == State::Done).then(|| Self {
            put_in_ms: ms(put),
            taken_ms: started.saturating_sub(job.created_ms),
            done_ms: finished.saturating_sub(started),
            all_ms: ms(all),
        })
    }
}

/// For a person.
#[must_use]
pub fn text(stages: &Stages) -> String {
    let Stages { put_in_ms, taken_ms, done_ms, all_ms } = stages;
    format!(
        "the queue works\n  put in  {put_in_ms:>6} ms\n  taken   {taken_ms:>6} ms\n  done    {done_ms:>6} ms\n  in all  {all_ms:>6} ms\n"
    )
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    stages: &'a Stages,
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(stages: &Stages, now: &Now) -> Result<String> {
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), stages })? + "\n")
}
