//! Incidents told: a line each, one as a story with times, and all as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::probes::incidents::{Event, Incident, What};
use crate::sys::clock::{Now, Stamp, millis};
use crate::sys::text;

/// `/srv/box was dead for 1 min 2 s`.
#[must_use]
pub fn summary(incident: &Incident, now: &Now) -> String {
    let took = incident.took(now).map_or_else(|| "an unknown time".to_owned(), text::duration);
    let (root, cause) = (incident.root(), incident.cause());
    if incident.is_closed {
        format!("{root} was {cause} and is good again after {took}")
    } else {
        format!("{root} is {cause}, for {took} now")
    }
}

/// One line: `2026-01-24-1  over  2026-01-24T03:12:07Z  /srv/box was dead and is good again after 1 min 2 s`.
#[must_use]
pub fn line(incident: &Incident, now: &Now) -> String {
    let state = if incident.is_closed { "over" } else { "OPEN" };
    let began = incident.began().map_or_else(|| "?".to_owned(), Stamp::utc);
    format!("{:14} {state}  {began}  {}", incident.id, summary(incident, now))
}

/// What was done, failed and refused last, in a few words: for a message.
#[must_use]
pub fn latest(incident: &Incident) -> Option<String> {
    let is_told = |event: &&Event| {
        matches!(event.what, What::Begun { .. } | What::Failed { .. } | What::Refused { .. })
    };
    incident.events.iter().rev().find(is_told).map(|event| words(&event.what))
}

/// The whole story.
#[must_use]
pub fn story(incident: &Incident, now: &Now) -> String {
    let mut out = format!("incident {}: {}\n\n", incident.id, summary(incident, now));
    for event in &incident.events {
        let since = incident.began().map_or_else(String::new, |began| since(began, &event.at));
        let at = event.at.utc();
        let _ = writeln!(out, "{at}  {since:>12}  {:8} {}", event.tool, words(&event.what));
    }
    if incident.unreadable > 0 {
        let _ = writeln!(out, "{} lines of it cannot be read", incident.unreadable);
    }
    if !incident.is_closed {
        let _ = writeln!(out, "\nnot good yet: {}", bad(incident, |_| true).join(", "));
    }
    out
}

/// What is bad of what it touched, with the state: `/srv/box (dead)`.
pub(super) fn bad(incident: &Incident, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let bad = incident.bad().into_iter().filter(|(subject, _)| wanted(subject));
    bad.map(|(subject, state)| format!("{subject} ({state})")).collect()
}

/// How long after the beginning.
fn since(began: &Stamp, at: &Stamp) -> String {
    let age = at.since(began).known();
    age.map_or_else(|| "?".to_owned(), |age| format!("+{}", text::duration(age)))
}

fn words(what: &What) -> String {
    let more = |detail: &str| {
        if detail.is_empty() { String::new() } else { format!(": {detail}") }
    };
    let took = |ms: u64| text::duration(Duration::from_millis(ms));
    match what {
        What::Opened { root, cause, .. } => format!("opened: {root} is {cause}"),
        What::Seen { subject, state, why, .. } => format!("saw {subject} {state}{}", more(why)),
        What::Begun { steps, .. } => format!("began: {}", steps.join(", ")),
        What::Done { step, detail, ms } => format!("did {step} in {}{}", took(*ms), more(detail)),
        What::Failed { step, detail, ms } => {
            format!("failed to {step} after {}{}", took(*ms), more(detail))
        }
        What::Refused { subject, reason, detail } => {
            let of = if subject == "*" { "to do anything" } else { subject.as_str() };
            format!("refused {of}: {reason}{}", more(detail))
        }
        What::Full => "no more is written of this until it is over".to_owned(),
        What::Closed => "closed: everything it touched is good again".to_owned(),
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    incidents: Vec<IncidentJson<'a>>,
}

#[derive(Serialize)]
struct IncidentJson<'a> {
    id: &'a str,
    open: bool,
    root: &'a str,
    cause: &'a str,
    began: Option<String>,
    ended: Option<String>,
    took_ms: Option<u64>,
    touched: Vec<TouchedJson<'a>>,
    events: Vec<EventJson<'a>>,
    unreadable_lines: usize,
}

#[derive(Serialize)]
struct TouchedJson<'a> {
    subject: &'a str,
    state: &'a str,
    good: bool,
}

#[derive(Serialize)]
struct EventJson<'a> {
    at: String,
    tool: &'a str,
    #[serde(flatten)]
    what: &'a What,
}

/// As one object.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(incidents: &[Incident], now: &Now) -> Result<String> {
    let one = |incident| IncidentJson::of(incident, now);
    let object =
        Object { head: Head::of("incidents", now), incidents: incidents.iter().map(one).collect() };
    Ok(serde_json::to_string(&object)? + "\n")
}

impl<'a> IncidentJson<'a> {
    fn of(incident: &'a Incident, now: &Now) -> Self {
        let touched = incident.touched().into_iter();
        Self {
            id: &incident.id,
            open: !incident.is_closed,
            root: incident.root(),
            cause: incident.cause(),
            began: incident.began().map(Stamp::utc),
            ended: incident.ended().map(Stamp::utc),
            took_ms: incident.took(now).map(millis),
            touched: touched
                .map(|(subject, (state, good))| TouchedJson { subject, state, good })
                .collect(),
            events: incident
                .events
                .iter()
                .map(|event| EventJson { at: event.at.utc(), tool: &event.tool, what: &event.what })
                .collect(),
            unreadable_lines: incident.unreadable,
        }
    }
}
