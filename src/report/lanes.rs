//! The lanes of our own queue, told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::decide::attempts::State;
use crate::manifest::OPERATOR;
use crate::queue::store::figures::Figures;
use crate::queue::store::lanes::Lane;
use crate::sys::clock::{Now, rfc3339};
use crate::sys::text;

/// The words for what is wrong with a lane; none where nothing is.
#[must_use]
pub fn troubles(lane: &Lane) -> Vec<&'static str> {
    let all = [
        (lane.paused.is_some(), "paused"),
        (lane.open.is_some(), "open"),
        (lane.is_degraded(), "degraded"),
        (!lane.others.is_empty(), "other-definition"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect()
}

/// For a person.
#[must_use]
pub fn text(lanes: &[Lane], figures: &BTreeMap<String, Figures>) -> String {
    if lanes.is_empty() && figures.is_empty() {
        return "no lane yet: one comes with the first worker or job of its type\n".to_owned();
    }
    let mut out = format!(
        "{:16}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}  {:>8}  {:>8}  {:>6}\n",
        "LANE", "WAITING", "RUNNING", "DONE", "FAILED", "ASIDE", "MEAN", "P95", "/MIN"
    );
    let none = Figures::default();
    for (kind, lane) in all(lanes, figures) {
        let of = figures.get(kind).unwrap_or(&none);
        let time = |ms: Option<u64>| {
            ms.map_or("-".to_owned(), |ms| text::duration(Duration::from_millis(ms)))
        };
        let _ = writeln!(
            out,
            "{kind:16}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}  {:>8}  {:>8}  {:>6}",
            of.waiting(),
            of.count(State::Running),
            of.count(State::Done),
            of.count(State::Failed),
            of.count(State::Quarantined),
            time(of.mean_ms),
            time(of.p95_ms),
            of.done_last_minute
        );
        out += &more(of);
        if let Some(lane) = lane {
            out += &trouble(lane);
        }
    }
    out
}

fn more(of: &Figures) -> String {
    let mut out = String::new();
    let list = |all: &BTreeMap<String, u64>| {
        let named = |name: &str| if name.is_empty() { "-" } else { name }.to_owned();
        all.iter()
            .map(|(name, count)| format!("{} {count}", named(name)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if of.tiers.len() > 1 {
        let _ = writeln!(out, "    results by tier: {}", list(&of.tiers));
    }
    if !of.classes.is_empty() {
        let _ = writeln!(out, "    failures by class: {}", list(&of.classes));
    }
    if let Some(ms) = of.oldest_waiting_ms.filter(|_| of.waiting() > 0) {
        let _ =
            write!(out, "    the oldest has waited {}", text::duration(Duration::from_millis(ms)));
        if let Some(ms) = of.to_finish_ms() {
            let _ = write!(
                out,
                "; all done in {} at this rate",
                text::duration(Duration::from_millis(ms))
            );
        }
        out.push('\n');
    }
    out
}

/// What is wrong with it, a line each.
fn trouble(lane: &Lane) -> String {
    let mut out = String::new();
    if let Some((since_ms, why)) = &lane.paused {
        let _ = writeln!(out, "    paused since {}: {why}", rfc3339(*since_ms));
    }
    if let Some(open) = &lane.open {
        let _ = writeln!(
            out,
            "    closed since {}, one is let through at {}: {}",
            rfc3339(open.since_ms),
            rfc3339(open.retry_ms),
            open.why
        );
    }
    if lane.is_degraded() {
        let first = lane.first_tier.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "    degraded: none of the last {} results is by {first}",
            lane.tiers.len()
        );
    }
    if !lane.others.is_empty() {
        let _ = writeln!(
            out,
            "    {} has another definition, and takes nothing of it",
            lane.others.join(", ")
        );
    }
    out
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    lanes: Vec<LaneJson<'a>>,
}

/// A lane for a program.
#[derive(Serialize)]
pub(super) struct LaneJson<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    troubles: Vec<&'static str>,
    digest: Option<&'a str>,
    first_tier: Option<&'a str>,
    paused: Option<&'a str>,
    open: Option<&'a str>,
    other_definition: &'a [String],
    waiting: u64,
    to_finish_ms: Option<u64>,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl<'a> LaneJson<'a> {
    pub(super) fn of(kind: &'a str, lane: Option<&'a Lane>, figures: &'a Figures) -> Self {
        Self {
            kind,
            troubles: lane.map(troubles).unwrap_or_default(),
            digest: lane.and_then(|it| it.digest.as_deref()),
            first_tier: lane.and_then(|it| it.first_tier.as_deref()),
            paused: lane.and_then(|it| Some(it.paused.as_ref()?.1.as_str())),
            open: lane.and_then(|it| Some(it.open.as_ref()?.why.as_str())),
            other_definition: lane.map_or(&[], |it| &it.others),
            waiting: figures.waiting(),
            to_finish_ms: figures.to_finish_ms(),
            figures,
        }
    }
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(lanes: &[Lane], figures: &BTreeMap<String, Figures>, now: &Now) -> Result<String> {
    let none = Figures::default();
    let lanes = all(lanes, figures)
        .map(|(kind, lane)| LaneJson::of(kind, lane, figures.get(kind).unwrap_or(&none)))
        .collect();
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), lanes })? + "\n")
}

/// Every lane, and every type that has jobs and no lane.
pub(super) fn all<'a>(
    lanes: &'a [Lane],
    figures: &'a BTreeMap<String, Figures>,
) -> impl Iterator<Item = (&'a str, Option<&'a Lane>)> {
    let unknown = figures.keys().filter(|kind| !lanes.iter().any(|lane| lane.kind == **kind));
    let known = lanes.iter().map(|lane| (lane.kind.as_str(), Some(lane)));
    known.chain(unknown.map(|kind| (kind.as_str(), None)))
}
