//! The workers of our own queue, told.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::decide::workers::Standing;
use crate::manifest::OPERATOR;
use crate::probes::witness::OfJob;
use crate::queue::store::listing::Worker;
use crate::sys::clock::{Now, rfc3339};
use crate::sys::text;

/// Where there is none, with what starts one: now, and with the host.
pub const NO_WORKER: &str = "no worker is there: unwedge workers start starts one, and systemctl enable --now unwedge-runner one with the host";

/// For a person. What a worker that is not heard said of its host is of the past, and left out.
#[must_use]
pub fn text(all: &[(Worker, Standing)]) -> String {
    if all.is_empty() {
        return format!("{NO_WORKER}\n");
    }
    let mut out = String::new();
    for (it, standing) in all {
        let unit = it.unit.as_deref().unwrap_or("no unit");
        let _ = writeln!(
            out,
            "{:8}  {}  {}, {unit}, version {}, {}",
            standing.name(),
            it.id,
            it.host,
            it.version,
            it.mode
        );
        let silent = text::duration(Duration::from_millis(it.silent_ms));
        let _ = writeln!(
            out,
            "          last heard {silent} ago, started {}, {} done, {} failed{}",
            rfc3339(it.started_ms),
            it.done,
            it.failed,
            if standing.is_heard() { load(it) } else { String::new() }
        );
        if let Some(step) = &it.step {
            let _ = writeln!(out, "          {step}");
        }
        let types: Vec<&str> = it.types.keys().map(String::as_str).collect();
        let _ = writeln!(
            out,
            "          types: {}",
            if types.is_empty() { "none".to_owned() } else { types.join(", ") }
        );
        if let Some(why) = &it.deaf {
            let _ = writeln!(out, "          poll-only: {why}");
        }
        for (kind, lack) in &it.lacks {
            let _ = writeln!(out, "          not {kind}: {}", lack.why);
        }
    }
    out
}

fn load(it: &Worker) -> String {
    let mut out = String::new();
    if let Some(milli) = it.load_milli {
        let _ = write!(out, "; load {}.{:02}", milli / 1000, milli % 1000 / 10);
        if let Some(cpus) = it.cpus {
            let _ = write!(out, " on {cpus} cores");
        }
    }
    if let Some(mib) = it.memory_mib {
        let _ = write!(out, ", {mib} MiB free");
    }
    out
}

/// What was done to some, and their names.
#[must_use]
pub fn named(what: &str, names: &[String]) -> String {
    if names.is_empty() {
        format!("none {what}\n")
    } else {
        format!("{what}: {}\n", names.join(", "))
    }
}

/// Processes of jobs, a line each; nothing where there are none.
#[must_use]
pub fn processes(what: &str, all: &[OfJob]) -> String {
    if all.is_empty() {
        return format!("none {what}\n");
    }
    let mut out = format!("{what}\n");
    for it in all {
        let worker = it.worker.as_deref().unwrap_or("?");
        let _ = writeln!(out, "  {:>8}  {}  uid {}, worker {worker}", it.pid, it.name, it.uid);
    }
    out
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    workers: Vec<WorkerJson>,
}

/// A worker for a program.
#[derive(Serialize)]
pub(super) struct WorkerJson {
    standing: &'static str,
    #[serde(flatten)]
    worker: Worker,
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(all: &[(Worker, Standing)], now: &Now) -> Result<String> {
    let workers = all.iter().map(|(it, standing)| WorkerJson::of(it, *standing)).collect();
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), workers })? + "\n")
}

impl WorkerJson {
    pub(super) fn of(worker: &Worker, standing: Standing) -> Self {
        let mut worker = worker.clone();
        if !standing.is_heard() {
            (worker.cpus, worker.load_milli, worker.memory_mib) = (None, None, None);
        }
        Self { standing: standing.name(), worker }
    }
}
