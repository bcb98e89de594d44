//! What the checks found: for a person, for a program, and as metrics.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::exit::Exit;
use super::json::Head;
use super::metrics::{self, Common, Families, flag};
use crate::checks::rehearsal::Rehearsed;
use crate::checks::{self, CHECKS, Grade, Host, Row};
use crate::manifest::VERIFY;
use crate::probes::services;
use crate::sys::clock::Now;

/// Which rows a person is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All, in the order of the checks.
    All,
    /// Those that are not ok.
    NotOk,
    /// Those that are not ok, worst first, and of a cause and its consequences the cause.
    WorstFirst,
}

/// As a table.
#[must_use]
pub fn text(rows: &[Row], shown: Shown) -> String {
    let hidden = checks::consequences(rows);
    let mut chosen: Vec<&Row> = rows
        .iter()
        .zip(&hidden)
        .filter(|(row, hidden)| match shown {
            Shown::All => true,
            Shown::NotOk => row.grade != Grade::Ok,
            Shown::WorstFirst => row.grade != Grade::Ok && !**hidden,
        })
        .map(|(row, _)| row)
        .collect();
    if shown == Shown::WorstFirst {
        // stable: among equals the order of the checks, causes first
        chosen.sort_by_key(|row| std::cmp::Reverse(row.grade));
    }
    let mut out = String::new();
    for Row { check, subject, grade, evidence, mend } in chosen {
        let subject = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
        let _ = writeln!(out, "{:8} {check:18} {subject}{evidence}", grade.name());
        if let Some(mend) = mend.as_ref().filter(|_| *grade != Grade::Ok) {
            let _ = writeln!(out, "           $ {mend}");
        }
    }
    out + &summary(rows, &hidden, shown)
}

fn summary(rows: &[Row], hidden: &[bool], shown: Shown) -> String {
    let count = |grade: Grade| rows.iter().filter(|row| row.grade == grade).count();
    let counts = Grade::ALL.map(|grade| format!("{} {}", count(grade), grade.name()));
    let mut line = counts.join(", ");
    let consequences = hidden.iter().filter(|hidden| **hidden).count();
    if shown == Shown::WorstFirst && consequences > 0 {
        line += &format!("; {consequences} that follow from these are not shown");
    }
    line + "\n"
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    grade: &'a str,
    rows: Vec<RowJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dry_runs: Vec<DryRun<'a>>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    check: &'a str,
    subject: &'a str,
    grade: &'a str,
    evidence: &'a str,
    command: Option<&'a str>,
    consequence: bool,
}

#[derive(Serialize)]
struct DryRun<'a> {
    tool: &'a str,
    /// The tool's own object; nothing where it gave none.
    plan: Option<serde_json::Value>,
}

/// As one object.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(tool: &str, rows: &[Row], rehearsed: &[Rehearsed], now: &Now) -> Result<String> {
    let hidden = checks::consequences(rows);
    let object = Object {
        head: Head::of(tool, now),
        grade: checks::worst(rows).name(),
        rows: rows
            .iter()
            .zip(hidden)
            .map(|(row, consequence)| RowJson {
                check: row.check,
                subject: &row.subject,
                grade: row.grade.name(),
                evidence: &row.evidence,
                command: row.mend.as_deref(),
                consequence,
            })
            .collect(),
        dry_runs: rehearsed
            .iter()
            .map(|it| DryRun { tool: it.tool.name, plan: serde_json::from_str(&it.said).ok() })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&object)? + "\n")
}

/// Writes the metrics of a verification.
///
/// # Errors
/// They could not be written.
pub fn write_metrics(host: &Host<'_>, rows: &[Row], took: Duration) -> Result<()> {
    let rendered = metrics(host, rows, took).context("render metrics")?;
    metrics::put(host.settings, &VERIFY.metrics_file(), &rendered, host.now)
}

fn metrics(host: &Host<'_>, rows: &[Row], took: Duration) -> Result<String> {
    let mut families = Families::default();
    // it has no sentinel: what it does is permitted to whoever may look
    families.set_common(&Common {
        tool: VERIFY.name,
        now: host.now,
        armed: true,
        exit: Exit::Fine,
        took,
        holds: Vec::new(),
    })?;
    let names = CHECKS.iter().map(|check| check.name).chain(["dry-run"]);
    for name in names {
        let worst = rows.iter().filter(|row| row.check == name).map(|row| row.grade).max();
        let Some(worst) = worst else { continue };
        for grade in Grade::ALL {
            let labels = [("check", name), ("state", grade.name())];
            families.set("unwedge_check_state", &labels, flag(worst == grade))?;
        }
    }
    if let Ok(units) = host.units() {
        for tool in host.tools {
            let on = units.get(&tool.enabled_unit()).is_some_and(services::Shown::is_enabled);
            families.set("unwedge_tool_expected", &[("tool", tool.name)], flag(on))?;
        }
    }
    families.encode()
}
