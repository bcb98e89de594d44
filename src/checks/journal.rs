//! What the journal has of our units and the worker's in the last minutes. Nothing at all, nothing bad, and nothing to
//! be read are three different things.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use super::{Finding, Host};
use crate::config::doctor::{Pattern, Severity};
use crate::sys::{command, text};

/// How far back is read, minutes: a timer's ten rounds.
const MINUTES: u32 = 10;
/// How long journalctl may take for one unit.
const LIMIT: Duration = Duration::from_secs(10);
/// So many lines of one unit are read at most.
const LINES_MAX: u32 = 1000;

pub fn recent(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    let ours =
        host.tools.iter().filter(|tool| tool.is_needed(host.settings)).map(|tool| tool.service());
    let worker = host.settings.worker.iter().filter_map(|worker| worker.unit.clone());
    // the worker may be our own runner
    let units: BTreeSet<String> = ours.chain(worker).collect();
    units.iter().map(|unit| of(host, unit)).collect()
}

/// What this host's people have told of lines that mean trouble: one row each, with how many there were.
pub fn patterns(host: &Host<'_>) -> Vec<Finding> {
    if !host.has_systemd() {
        return Vec::new();
    }
    // the journal of a unit is read once, however many patterns it has
    let mut read: BTreeMap<&str, Result<Vec<String>, String>> = BTreeMap::new();
    let patterns = host.settings.doctor.patterns.iter();
    patterns
        .map(|pattern| {
            let lines =
                read.entry(&pattern.unit).or_insert_with(|| lines(host, &pattern.unit, None));
            matching(pattern, lines)
        })
        .collect()
}

fn matching(pattern: &Pattern, lines: &Result<Vec<String>, String>) -> Finding {
    let unit = &pattern.unit;
    let lines = match lines {
        Ok(lines) => lines,
        Err(why) => return Finding::unknown(unit, why),
    };
    let count = lines.iter().filter(|line| pattern.expression.is_match(line)).count();
    if count == 0 {
        return Finding::ok(unit, format!("no line says that {}", pattern.text));
    }
    let said = format!("{}: {count} lines in {MINUTES} min", pattern.text);
    let found = match pattern.severity {
        Severity::Warn => Finding::warn(unit, said),
        Severity::Fault => Finding::fault(unit, said),
    };
    match &pattern.command {
        Some(command) => found.mended_by(command),
        None => found,
    }
}

fn of(host: &Host<'_>, unit: &str) -> Finding {
    // warnings and worse (syslog.h), and whether there is anything at all
    match (lines(host, unit, Some("warning")), lines(host, unit, None)) {
        (Ok(bad), Ok(all)) => match (bad.last(), all.len()) {
            (Some(last), _) => Finding::warn(
                unit,
                format!("{} complaints in {MINUTES} min, the last: {last}", bad.len()),
            )
            .mended_by(format!("journalctl --no-pager -u {unit} -n 50")),
            (None, 0) => Finding::ok(unit, format!("silent for {MINUTES} min")),
            (None, count) => Finding::ok(unit, format!("clean: {count} lines in {MINUTES} min")),
        },
        (Err(why), _) | (_, Err(why)) => Finding::unknown(unit, why),
    }
}

fn lines(host: &Host<'_>, unit: &str, priority: Option<&str>) -> Result<Vec<String>, String> {
    let mut argv: Vec<OsString> = vec![host.settings.host.journalctl.as_os_str().to_owned()];
    let (since, count) = (format!("--since=-{MINUTES}min"), LINES_MAX.to_string());
    argv.extend(
        ["-q", "--no-pager", "-o", "cat", "-u", unit, &since, "-n", &count].map(OsString::from),
    );
    argv.extend(priority.map(|priority| format!("--priority={priority}").into()));
    match command::run(&argv, LIMIT) {
        Ok(done) if done.ok() => {
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            Ok(said.lines().map(|line| text::bytes(line.as_bytes())).collect())
        }
        Ok(done) => Err(format!("journalctl: {}", done.describe())),
        Err(failure) => Err(failure.to_string()),
    }
}
