//! `unwedge hold set|list|clear`: a pause that a person sets, that says why, and that ends by
//! itself.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{holds_lock, known_kind, reason, time_of, wrong};
use crate::act::store;
use crate::config::Settings;
use crate::probes::records::{self, Holds, OperatorHold};
use crate::report::json::told;
use crate::sys::clock::Now;
use crate::sys::text;

/// Sets or replaces a pause.
///
/// # Errors
/// An unknown kind, a bad time, or it could not be stored.
pub fn set(
    settings: &Settings,
    kind: &str,
    time: &str,
    because: &str,
    dry_run: bool,
    now: &Now,
) -> Result<String> {
    let kind = known_kind(kind)?.name();
    let time = time_of("--for", time)?;
    if time.is_zero() {
        return Err(wrong("--for: a pause of no length pauses nothing"));
    }
    let because = reason(because)?;
    let said = format!("{kind} is on hold for {}: {because}\n", text::duration(time));
    if dry_run {
        return Ok(format!("would set: {said}"));
    }
    let _lock = holds_lock(settings)?;
    let mut holds: Holds = records::read(&settings.host.state_dir, now)?;
    let hold = OperatorHold { set: now.stamp(), for_s: time.as_secs().max(1), because };
    holds.holds.insert(kind.to_owned(), hold);
    store::record(&settings.host.state_dir, &holds).context("store the hold")?;
    Ok(said)
}

/// The pauses there are.
///
/// # Errors
/// They cannot be read.
pub fn list(settings: &Settings, json: bool, now: &Now) -> Result<String> {
    let mut holds: Holds = records::read(&settings.host.state_dir, now)?;
    holds.holds.retain(|_, hold| hold.left(now).is_some());
    if json {
        return Ok(told(&holds, now)?);
    }
    let mut out = String::new();
    for (kind, hold) in &holds.holds {
        if let Some(left) = hold.left(now) {
            let (left, set) = (text::duration(left), hold.set.utc());
            // writing to a String cannot fail
            let _ = writeln!(out, "{kind}: {left} more, set {set}: {}", hold.because);
        }
    }
    if out.is_empty() {
        out.push_str("nothing is on hold\n");
    }
    Ok(out)
}

/// Ends a pause.
///
/// # Errors
/// An unknown kind, or it could not be stored.
pub fn clear(settings: &Settings, kind: &str, dry_run: bool, now: &Now) -> Result<String> {
    let kind = known_kind(kind)?.name();
    let _lock = if dry_run { None } else { Some(holds_lock(settings)?) };
    let mut holds: Holds = records::read(&settings.host.state_dir, now)?;
    match holds.holds.remove(kind) {
        None => Ok(format!("{kind} is not on hold\n")),
        Some(_) if dry_run => Ok(format!("would end the hold on {kind}\n")),
        Some(_) => {
            store::record(&settings.host.state_dir, &holds).context("store the holds")?;
            Ok(format!("{kind} is not on hold any more\n"))
        }
    }
}
