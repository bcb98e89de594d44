//! Confirmation: a bad verdict is acted on only after so many rounds in a row and for so long,
//! counted for one mount and not for a path, so that a new mount never inherits an old one's count.

use std::path::Path;
use std::time::Duration;

use super::plan::{Hold, Reason};
use crate::config::{Confirm, Confirmation};
use crate::probes::holders::Holders;
use crate::probes::identity::Identity;
use crate::probes::mounts::{Layer, Observation, Role};
use crate::probes::records::Sighting;
use crate::probes::verdict::Verdict;
use crate::sys::clock::{Age, Now, millis};
use crate::sys::text;

/// Rounds in a row that it takes where the process table cannot tell whether a daemon lives.
const RUNS_WITHOUT_HOLDERS: u32 = 2;

/// What this round makes of what earlier rounds saw. A path that could not be looked at keeps its
/// last sighting: nothing is counted and nothing forgotten.
#[must_use]
pub fn advance(earlier: &[Sighting], observations: &[Observation], now: &Now) -> Vec<Sighting> {
    let mut next = Vec::with_capacity(observations.len());
    for observation in observations {
        let before = earlier.iter().find(|sighting| sighting.path == observation.path);
        if observation.verdict == Verdict::Unknown {
            next.extend(before.cloned());
            continue;
        }
        let seen = Sighting {
            path: observation.path.clone(),
            identity: observation.identity().cloned(),
            verdict: observation.verdict,
            stacked: is_stacked(observation),
            runs: 1,
            since: now.stamp(),
            waiting_since_ms: observation.waiting_since.map(millis),
        };
        next.push(match before {
            Some(before) if is_same(before, &seen) => Sighting {
                runs: before.runs.saturating_add(1),
                since: before.since.clone(),
                ..seen
            },
            Some(_) | None => seen,
        });
    }
    next
}

/// Whether two sightings tell the same of the same mount. A hang goes on only as long as the very
/// same request waits: another prober means that the mount answered in between.
fn is_same(before: &Sighting, now: &Sighting) -> bool {
    let same_mount = match (&before.identity, &now.identity) {
        (Some(before), Some(now)) => before.same(now),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    same_mount
        && before.verdict == now.verdict
        && before.stacked == now.stacked
        && before.waiting_since_ms == now.waiting_since_ms
}

/// Whether the topmost mount is a surplus copy: live, and the very same file system and directory
/// lies right beneath it with the same options, so that taking it away changes nothing that anybody
/// sees. Only of what the config lists: anywhere else a second layer is somebody's wish.
#[must_use]
pub fn is_stacked(observation: &Observation) -> bool {
    match observation.layers.as_slice() {
        [.., below, top] => {
            observation.verdict == Verdict::Live
                && [Role::Base, Role::Bind].iter().any(|role| observation.roles.contains(role))
                && is_copy(top, below)
        }
        [_] | [] => false,
    }
}

/// Whether two layers show the very same directory of the very same file system in the same way.
#[must_use]
pub fn is_copy(top: &Layer, below: &Layer) -> bool {
    below.identity.dev == top.identity.dev && below.root == top.root && below.options == top.options
}

/// A hold if the verdict is not confirmed yet. `limits` is of the verdict's class.
#[must_use]
pub fn unconfirmed(
    observation: &Observation,
    sighting: &Sighting,
    limits: Confirmation,
    now: &Now,
) -> Option<Hold> {
    let runs = match (observation.verdict, observation.top().map(|top| &top.holders)) {
        (Verdict::Dead, Some(Holders::Unknown(_))) => limits.runs.max(RUNS_WITHOUT_HOLDERS),
        (_, Some(Holders::Unknown(_) | Holders::None | Holders::Living(_)) | None) => limits.runs,
    };
    let age = age(observation, sighting, now);
    if sighting.runs >= runs && age.is_some_and(|age| age >= limits.age) {
        return None;
    }
    let what = if sighting.stacked { "stacked" } else { observation.verdict.name() };
    let mut detail = format!("{what} in {} of {runs} rounds", sighting.runs);
    if !limits.age.is_zero() {
        let lasted = age.map_or_else(|| "an unknown time".to_owned(), text::duration);
        detail += &format!(", for {lasted} of {}", text::duration(limits.age));
    }
    Some(Hold::on(&observation.path, Reason::NotConfirmed, detail))
}

/// How long the verdict has held; for a hang, how long its one request has been waiting.
fn age(observation: &Observation, sighting: &Sighting, now: &Now) -> Option<Duration> {
    match observation.waiting_since {
        Some(since) => Some(Duration::from_millis(now.boot_ms.saturating_sub(millis(since)))),
        None => match now.since(&sighting.since) {
            Age::Known(age) => Some(age),
            Age::ClockFault | Age::Impossible => None,
        },
    }
}

/// The limits for a verdict that can be acted on; `None` for those that never are.
#[must_use]
pub fn limits(verdict: Verdict, stacked: bool, confirm: &Confirm) -> Option<Confirmation> {
    match verdict {
        Verdict::Dead => Some(confirm.dead),
        Verdict::Hung => Some(confirm.hung),
        Verdict::Absent => Some(confirm.absent),
        Verdict::Pinned => Some(confirm.pinned),
        Verdict::Transient => Some(confirm.transient),
        Verdict::Live if stacked => Some(confirm.stacked),
        Verdict::Live
        | Verdict::Unknown
        | Verdict::ChildOfDead
        | Verdict::WrongSource
        | Verdict::Inconclusive => None,
    }
}

/// The sighting of one mount.
#[must_use]
pub fn of<'a>(
    sightings: &'a [Sighting],
    path: &Path,
    identity: Option<&Identity>,
) -> Option<&'a Sighting> {
    sightings.iter().find(|sighting| {
        sighting.path == path
            && match (&sighting.identity, identity) {
                (Some(seen), Some(now)) => seen.same(now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
    })
}
