//! The verdict on one path: a pure function of what the mount table, the process table and a prober
//! told of it.

use std::path::Path;

use super::errno::{self, Says};
use super::holders::Holders;
use super::liveness::{Answer, Look};
use super::mounts::Layer;
use super::prober::Response;
use super::verdict::Verdict;
use crate::config::MountSpec;

/// What a verdict is made of.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The mount at the path, if there is one.
    pub top: Option<&'a Layer>,
    /// What the config says should be there.
    pub spec: Option<&'a MountSpec>,
    /// What its prober said, if one was sent.
    pub response: Option<&'a Response>,
    /// A mount above it that does not answer.
    pub blocked_by: Option<&'a Path>,
}

/// A verdict with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The errno it rests on.
    pub errno: Option<i32>,
    /// The evidence in words.
    pub why: String,
}

/// The verdict on one path, by the first rule that applies: could not look, parent does not answer,
/// nothing there, something else there, no answer in time, an error by what it says, alive.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let said = |verdict: Verdict, why: String| Judgement { verdict, errno: None, why };
    if let Some(above) = evidence.blocked_by {
        let above = crate::sys::text::path(above);
        return said(Verdict::ChildOfDead, format!("{above} above it does not answer"));
    }
    if let Some(Response::Failed(why)) = evidence.response {
        return said(Verdict::Unknown, why.clone());
    }
    let Some(top) = evidence.top else {
        return match evidence.response {
            Some(Response::Answered(Look::Mount { .. }, _)) => {
                said(Verdict::Unknown, "it was mounted while it was looked at".to_owned())
            }
            Some(
                Response::Answered(
                    Look::NoMount { .. } | Look::Unreachable { .. } | Look::Doubled,
                    _,
                )
                | Response::Failed(_)
                | Response::Waiting { .. },
            )
            | None => said(Verdict::Absent, "nothing is mounted here".to_owned()),
        };
    };
    let health = health(top, evidence.response);
    match wrong_source(top, evidence.spec) {
        Some(why) if health.verdict != Verdict::Unknown => {
            Judgement { verdict: Verdict::WrongSource, errno: health.errno, why }
        }
        Some(_) | None => health,
    }
}

/// Whether the prober found another mount than the table had, or one where it had none.
#[must_use]
pub fn changed_meanwhile(top: Option<&Layer>, response: Option<&Response>) -> bool {
    match (top, response) {
        (Some(top), Some(Response::Answered(look, _))) => match look {
            Look::Mount { opened, .. } => !opened.is(&top.identity),
            Look::NoMount { .. } => true,
            Look::Unreachable { .. } | Look::Doubled => false,
        },
        (None, Some(Response::Answered(look, _))) => matches!(look, Look::Mount { .. }),
        (_, Some(Response::Waiting { .. } | Response::Failed(_)) | None) => false,
    }
}

fn wrong_source(top: &Layer, spec: Option<&MountSpec>) -> Option<String> {
    let spec = spec?;
    match (&spec.source, &spec.fstype) {
        (Some(source), _) if top.source != **source => {
            let found = crate::sys::text::name(&top.source);
            Some(format!("mounted from {found}, not from {source}"))
        }
        (_, Some(fstype)) if top.fstype != *fstype => {
            Some(format!("type {}, not {fstype}", top.fstype))
        }
        (Some(_) | None, Some(_) | None) => None,
    }
}

/// What the mount at the top answered.
fn health(top: &Layer, response: Option<&Response>) -> Judgement {
    let said = |verdict, errno, why| Judgement { verdict, errno, why };
    let (look, _) = match response {
        Some(Response::Answered(look, took)) => (look, took),
        Some(Response::Waiting { .. }) => {
            return said(Verdict::Hung, None, "one request is still unanswered".to_owned());
        }
        Some(Response::Failed(why)) => return said(Verdict::Unknown, None, why.clone()),
        None => return said(Verdict::Unknown, None, "it was not asked".to_owned()),
    };
    match look {
        Look::Mount { opened, .. } if !opened.is(&top.identity) => {
            said(Verdict::Unknown, None, "the mount changed while it was looked at".to_owned())
        }
        Look::NoMount { .. } | Look::Doubled => {
            said(Verdict::Unknown, None, "the mount went while it was looked at".to_owned())
        }
        Look::Unreachable { errno } => {
            let why = format!("the path cannot be opened: {}", named(*errno));
            said(Verdict::Inconclusive, Some(*errno), why)
        }
        Look::Mount { answer: Answer::Yes, .. } => said(Verdict::Live, None, "answers".to_owned()),
        Look::Mount { answer: Answer::No { stage, errno }, .. } => {
            let answer = format!("{}: {}", stage.describe(), named(*errno));
            let (verdict, why) = match errno::says(*errno, top.family()) {
                Says::Dead => match &top.holders {
                    Holders::None => (Verdict::Dead, format!("{answer}; no daemon")),
                    Holders::Living(holders) => {
                        let who = holders.first().map_or("?", |holder| holder.comm.as_str());
                        (Verdict::Transient, format!("{answer}; its daemon {who} lives"))
                    }
                    Holders::Unknown(why) => (Verdict::Dead, format!("{answer}; {why}")),
                },
                Says::Transient => (Verdict::Transient, answer),
                Says::Inconclusive => (Verdict::Inconclusive, answer),
            };
            said(verdict, Some(*errno), why)
        }
    }
}

fn named(errno: i32) -> String {
    format!("{} ({errno})", errno::name(errno))
}

#[cfg(test)]
mod tests;
