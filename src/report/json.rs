//! A round as one JSON object, schema 1. Field names are a contract: others read them.

use serde::Serialize;

use super::round::Round;
use super::worker::WorkerJson;
use crate::act::outcome::{Ended, Outcome};
use crate::decide::plan::Hold;
use crate::manifest::OPERATOR;
use crate::probes::errno;
use crate::probes::witness::host;
use crate::sys::clock::{Now, millis, rfc3339};
use crate::sys::text;

/// The schema of the object.
pub const SCHEMA: u32 = 1;

/// What every object of ours begins with.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    schema: u32,
    tool: &'a str,
    host: String,
    at: String,
}

impl<'a> Head<'a> {
    pub(super) fn of(tool: &'a str, now: &Now) -> Self {
        Self { schema: SCHEMA, tool, host: host(), at: rfc3339(now.utc_ms) }
    }
}

/// What a verb of the operator tells in fields of its own, behind the head.
///
/// # Errors
/// It cannot be written as JSON.
pub fn told(fields: &impl Serialize, now: &Now) -> serde_json::Result<String> {
    told_by(OPERATOR, fields, now)
}

/// The same of a program of that name.
///
/// # Errors
/// It cannot be written as JSON.
pub(super) fn told_by(
    tool: &str,
    fields: &impl Serialize,
    now: &Now,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Told<'a, T> {
        #[serde(flatten)]
        head: Head<'a>,
        #[serde(flatten)]
        fields: &'a T,
    }
    Ok(serde_json::to_string(&Told { head: Head::of(tool, now), fields })? + "\n")
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    mode: &'static str,
    armed: bool,
    plan_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<WorkerJson<'a>>,
    observations: Vec<Seen<'a>>,
    steps: Vec<Step<'a>>,
    holds: Vec<Held<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcomes: Option<Vec<Came<'a>>>,
}

#[derive(Serialize)]
struct Seen<'a> {
    path: String,
    verdict: &'static str,
    errno: Option<i32>,
    errno_name: Option<String>,
    fstype: Option<&'a str>,
    source: Option<String>,
    mount_id: Option<u64>,
    layers: usize,
    roles: Vec<&'static str>,
    probe_ms: Option<u64>,
    why: &'a str,
}

#[derive(Serialize)]
struct Step<'a> {
    verb: &'static str,
    target: String,
    why: &'a str,
}

/// A hold, the same in every object.
#[derive(Serialize)]
pub(super) struct Held<'a> {
    subject: String,
    reason: &'static str,
    detail: &'a str,
    until: Option<String>,
}

impl<'a> Held<'a> {
    pub(super) fn of(hold: &'a Hold) -> Self {
        Self {
            subject: hold.subject.text(),
            reason: hold.reason.name(),
            detail: &hold.detail,
            until: hold.until_utc_ms.map(rfc3339),
        }
    }
}

#[derive(Serialize)]
struct Came<'a> {
    step: usize,
    ok: bool,
    detail: &'a str,
    ms: u64,
}

/// The object, as one line.
///
/// # Errors
/// It cannot be written as JSON.
pub fn render(round: &Round<'_>) -> serde_json::Result<String> {
    let outcomes = match round.mode {
        super::round::Mode::DryRun => None,
        super::round::Mode::Apply => Some(outcomes(round.outcomes)),
    };
    let object = Object {
        head: Head::of(round.tool.name, round.now),
        mode: round.mode.name(),
        armed: round.armed,
        plan_id: round.plan.id(),
        worker: round.worker.as_ref().map(WorkerJson::from),
        observations: round
            .observations
            .iter()
            .map(|seen| Seen {
                path: text::path(&seen.path),
                verdict: seen.verdict.name(),
                errno: seen.errno,
                errno_name: seen.errno.map(errno::name),
                fstype: seen.top().map(|top| top.fstype.as_str()),
                source: seen.top().map(|top| text::name(&top.source)),
                mount_id: seen.identity().map(|identity| identity.mount_id),
                layers: seen.layers.len(),
                roles: seen.roles.iter().map(|role| role.name()).collect(),
                probe_ms: seen.probe.map(millis),
                why: &seen.why,
            })
            .collect(),
        steps: round
            .plan
            .steps()
            .map(|planned| Step {
                verb: planned.step.verb().name(),
                target: planned.step.target(),
                why: &planned.why,
            })
            .collect(),
        holds: round.holds().map(Held::of).collect(),
        outcomes,
    };
    Ok(serde_json::to_string(&object)? + "\n")
}

/// Each with the place of its step in `steps`; a plan that a gate held has none.
fn outcomes(outcomes: &[Outcome]) -> Vec<Came<'_>> {
    outcomes
        .iter()
        .enumerate()
        .map(|(step, outcome)| Came {
            step,
            ok: outcome.ok(),
            detail: detail(&outcome.ended),
            ms: millis(outcome.took),
        })
        .collect()
}

/// How a step ended, in words.
#[must_use]
pub fn detail(ended: &Ended) -> &str {
    match ended {
        Ended::Done(detail)
        | Ended::Already(detail)
        | Ended::Refused(_, detail)
        | Ended::Failed(detail) => detail,
        Ended::Skipped => "an earlier step was not done",
    }
}
