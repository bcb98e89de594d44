//! `unwedge debts`: what was taken away and must be put back.

use std::fmt::Write as _;

use anyhow::Result;

use crate::config::Settings;
use crate::probes::records::{self, Debts};
use crate::report::json::told;
use crate::sys::clock::Now;
use crate::sys::text;

/// All debts, one a line.
///
/// # Errors
/// They cannot be read.
pub fn list(settings: &Settings, json: bool, now: &Now) -> Result<String> {
    let debts: Debts = records::read(&settings.host.state_dir, now)?;
    if json {
        return Ok(told(&debts, now)?);
    }
    if debts.debts.is_empty() {
        return Ok("nothing is owed\n".to_owned());
    }
    let mut out = String::new();
    for debt in &debts.debts {
        let age = now.since(debt.since()).known().map_or_else(|| "?".to_owned(), text::duration);
        let (kind, target, since) = (debt.kind(), debt.target(), debt.since().utc());
        // writing to a String cannot fail
        let _ = writeln!(out, "{kind} {target}: owed for {age}, since {since} ({})", debt.why());
    }
    Ok(out)
}
