//! The verdict on one path: a pure function of what the mount table, the process table and a prober
//! told of it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::errno::{self, Says};
use super::family::Family;
use super::holders::Holders;
use super::liveness::{Answer, Look, Stage};
use super::mountinfo::DELETED;
use super::mounts::{BindLook, Layer, Right};
use super::prober::Response;
use super::verdict::Verdict;
use crate::config::MountSpec;
use crate::sys::text;

/// What a verdict is made of.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The mount at the path, if there is one.
    pub top: Option<&'a Layer>,
    /// What the config says should be there.
    pub expected: Expected<'a>,
    /// What its prober said, if one was sent.
    pub response: Option<&'a Response>,
    /// A mount above it that does not answer.
    pub blocked_by: Option<&'a Path>,
}

/// What should be mounted at a path.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Whatever it is.
    Anything,
    /// This `[[mount]]`.
    Mount(&'a MountSpec),
    /// This bind, of this base.
    Bind(&'a BindLook, Option<&'a MountSpec>),
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
/// nothing there, something else there, no answer in time, no daemon, a bind of what has been replaced,
/// an error by what it says, alive.
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
    if health.verdict == Verdict::Unknown {
        return health;
    }
    if let Some(why) = wrong_source(top, evidence.expected) {
        return Judgement { verdict: Verdict::WrongSource, errno: health.errno, why };
    }
    let may_be_pinned =
        matches!(health.verdict, Verdict::Transient | Verdict::Inconclusive | Verdict::Live);
    match pinned(top, evidence.expected).filter(|_| may_be_pinned) {
        Some(why) => Judgement { verdict: Verdict::Pinned, errno: health.errno, why },
        None => health,
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

fn wrong_source(top: &Layer, expected: Expected<'_>) -> Option<String> {
    match expected {
        Expected::Anything => None,
        Expected::Mount(spec) => not_as_listed(top, spec),
        Expected::Bind(bind, base) => match &bind.right {
            Right::Unknown(_) => base.and_then(|base| not_as_listed(top, base)),
            Right::Known { root, fstype, source, .. } => {
                let shown = text::name(&top.root);
                if top.source != *source || top.fstype != *fstype {
                    let (found, base) = (text::name(&top.source), text::name(source));
                    return Some(format!(
                        "shows {shown} of {} from {found}, its base is {fstype} from {base}",
                        top.fstype
                    ));
                }
                let root_now = top.root.as_bytes().strip_suffix(DELETED);
                (root_now.unwrap_or(top.root.as_bytes()) != root.as_bytes())
                    .then(|| format!("shows {shown}, not {}", text::name(root)))
            }
        },
    }
}

/// Whether a bind that shows the right directory shows it of a mount that is no longer the base's, or
/// a directory that has been removed.
fn pinned(top: &Layer, expected: Expected<'_>) -> Option<String> {
    let Expected::Bind(bind, _) = expected else { return None };
    let Right::Known { mount, .. } = &bind.right else { return None };
    if top.identity.dev != mount.dev {
        return Some(format!(
            "holds {}, which its base has been replaced for by {}",
            top.identity.dev, mount.dev
        ));
    }
    let removed = top.root.as_bytes().ends_with(DELETED);
    removed.then(|| "shows a directory that has been removed".to_owned())
}

fn not_as_listed(top: &Layer, spec: &MountSpec) -> Option<String> {
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
            let (verdict, why) = match says(*stage, *errno, top.family()) {
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

/// What an error says, by the question that was answered with it. When one entry is asked for, the root has answered
/// every question: on FUSE the error is that entry's own, as of a file on one bad disk of several. On an overlay it is
/// all that tells, and such a one is only looked at.
fn says(stage: Stage, errno: i32, family: Family) -> Says {
    match (stage, family) {
        (Stage::Entry, Family::Fuse) => Says::Inconclusive,
        (
            Stage::BecomeOwner
            | Stage::Statx
            | Stage::Statfs
            | Stage::Open
            | Stage::Read
            | Stage::Entry,
            Family::Fuse | Family::Network | Family::Other,
        ) => errno::says(errno, family),
    }
}

fn named(errno: i32) -> String {
    format!("{} ({errno})", errno::name(errno))
}

#[cfg(test)]
mod tests;
