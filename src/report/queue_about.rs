//! The queue itself, told: our own, where it is, which version, how fast it answers; a library's, which version, what cannot
//! be known of it, and what its user needs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json;
use crate::decide::attempts::State;
use crate::probes::jobs::QueueFacts;
use crate::queue::library;
use crate::sys::clock::{Now, millis};
use crate::sys::text;

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Names and values.
    pub about: &'a [(&'static str, String)],
    /// How many jobs, by type and state.
    pub counts: &'a [(String, State, u64)],
    /// How long it took to connect and to get a first answer.
    pub opened: Duration,
    /// How long the others took.
    pub answered: Duration,
}

/// For a person.
#[must_use]
pub fn text(about: &About<'_>) -> String {
    let mut out = String::from("the queue can be used\n");
    for (name, value) in about.about {
        let _ = writeln!(out, "  {name:11} {value}");
    }
    let all: u64 = about.counts.iter().map(|(_, _, count)| count).sum();
    let _ = writeln!(out, "  {:11} {all}", "jobs");
    let (opened, answered) = (text::duration(about.opened), text::duration(about.answered));
    let _ = writeln!(out, "  {:11} connected in {opened}, answered in {answered}", "time");
    out
}

#[derive(Serialize)]
struct Object<'a> {
    about: std::collections::BTreeMap<&'static str, &'a str>,
    jobs: u64,
    connected_ms: u64,
    answered_ms: u64,
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(about: &About<'_>, now: &Now) -> Result<String> {
    let told = Object {
        about: about.about.iter().map(|(name, value)| (*name, value.as_str())).collect(),
        jobs: about.counts.iter().map(|(_, _, count)| count).sum(),
        connected_ms: millis(about.opened),
        answered_ms: millis(about.answered),
    };
    Ok(json::told(&told, now)?)
}

/// A library's queue, for a person.
#[must_use]
pub fn of_library(about: &library::About) -> String {
    let (facts, (from, to)) = (&about.facts, about.versions);
    let mut out = String::from("the queue can be read\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:11} {value}");
    };
    let version = about.version;
    line(
        "library",
        &format!("{}, tables of version {version}; {from} to {to} are read", about.called),
    );
    line("jobs", &super::queue::counts(facts));
    for (count, what) in
        [(facts.stale_running, "run, and nobody gets them done"), (facts.dead, "failed for good")]
    {
        if let Some(count) = count {
            line("", &format!("{count} {what}"));
        }
    }
    if let Some(rescue) = &facts.rescue {
        line(
            "given back",
            &format!("by {}, {}; never by unwedge", rescue.by.trim_end_matches(','), rescue.when()),
        );
    }
    let named = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
    line("read by", &named(&about.indexes));
    if !about.whole.is_empty() {
        line("as a whole", &named(&about.whole));
    }
    line("not known", about.unknown);
    for advice in &facts.advice {
        line("advice", advice);
    }
    line(
        "grants",
        "the least that its user needs, as the owner of the tables, or where these are several as an administrator:",
    );
    for grant in &about.grants {
        let _ = writeln!(out, "{grant}");
    }
    out
}

#[derive(Serialize)]
struct LibraryObject<'a> {
    library: &'a str,
    version: i64,
    versions: (i64, i64),
    indexes: &'a BTreeSet<String>,
    read_as_a_whole: &'a BTreeSet<String>,
    not_known: &'a str,
    grants: &'a [String],
    facts: &'a QueueFacts,
}

/// The same for a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json_of_library(about: &library::About, now: &Now) -> Result<String> {
    let told = LibraryObject {
        library: about.called,
        version: about.version,
        versions: about.versions,
        indexes: &about.indexes,
        read_as_a_whole: &about.whole,
        not_known: about.unknown,
        grants: &about.grants,
        facts: &about.facts,
    };
    Ok(json::told(&told, now)?)
}
