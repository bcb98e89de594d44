//! `unwedge debts`: what was taken away and must be put back.

use std::fmt::Write as _;

use anyhow::Result;

use crate::config::Settings;
use crate::probes::records::{self, Debt, Debts};
use crate::sys::clock::Now;
use crate::sys::text;

/// All debts, one a line.
///
/// # Errors
/// They cannot be read.
pub fn list(settings: &Settings, json: bool, now: &Now) -> Result<String> {
    let debts: Debts = records::read(&settings.host.state_dir, now)?;
    if json {
        return Ok(serde_json::to_string(&debts)? + "\n");
    }
    if debts.debts.is_empty() {
        return Ok("nothing is owed\n".to_owned());
    }
    let mut out = String::new();
    for Debt::Mount { path, since, why } in &debts.debts {
        let age = now.since(since).known().map_or_else(|| "?".to_owned(), text::duration);
        let path = text::path(path);
        // writing to a String cannot fail
        let _ = writeln!(out, "mount {path}: owed for {age}, since {} ({why})", since.utc());
    }
    Ok(out)
}
