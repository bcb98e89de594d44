//! How long each stage of a smoke job took, told.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json;
use crate::decide::attempts::State;
use crate::queue::store::listing::Job;
use crate::sys::clock::{Now, millis};

/// The stages, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names, reason = "the unit stands at the end")]
pub struct Stages {
    /// Until it was put in.
    put_in_ms: u64,
    /// From then until an intake made a job of it, where it came by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_in_ms: Option<u64>,
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
        let (started, finished) = (job.started_ms?, job.finished_ms?);
        (job.state == State::Done).then(|| Self {
            put_in_ms: millis(put),
            taken_in_ms: None,
            taken_ms: started.saturating_sub(job.created_ms),
            done_ms: finished.saturating_sub(started),
            all_ms: millis(all),
        })
    }

    /// The same of one that came by an intake, which had made a job of it so long after the beginning.
    #[must_use]
    pub fn with_intake(self, taken_in: Duration) -> Self {
        let ms = millis(taken_in);
        Self { taken_in_ms: Some(ms.saturating_sub(self.put_in_ms)), ..self }
    }
}

/// For a person.
#[must_use]
pub fn text(stages: &Stages) -> String {
    let Stages { put_in_ms, taken_in_ms, taken_ms, done_ms, all_ms } = stages;
    let (what, by_intake) = match taken_in_ms {
        None => ("queue works", String::new()),
        Some(ms) => ("intake and its queue work", format!("  taken in {ms:>5} ms\n")),
    };
    format!(
        "the {what}\n  put in  {put_in_ms:>6} ms\n{by_intake}  taken   {taken_ms:>6} ms\n  done    {done_ms:>6} ms\n  in all  {all_ms:>6} ms\n"
    )
}

#[derive(Serialize)]
struct Object<'a> {
    stages: &'a Stages,
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(stages: &Stages, now: &Now) -> Result<String> {
    Ok(json::told(&Object { stages }, now)?)
}
