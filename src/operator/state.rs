//! `unwedge state reset RECORD`: put an unreadable record aside and begin anew. The old file is
//! kept beside it, because it may be the only trace of what went wrong.

use anyhow::{Context as _, Result};

use super::{act_lock, holds_lock, round_lock, worker_lock, wrong};
use crate::config::Settings;
use crate::probes::records::{self, Debts, Guards, Holds, MountsState, Record, WorkerState};
use crate::sys::clock::Now;
use crate::sys::text;

/// Puts a record aside.
///
/// # Errors
/// No such record, or it cannot be moved.
pub fn reset(settings: &Settings, record: &str, dry_run: bool, now: &Now) -> Result<String> {
    match record {
        MountsState::NAME => put_aside::<MountsState>(settings, dry_run, now),
        Debts::NAME => put_aside::<Debts>(settings, dry_run, now),
        Holds::NAME => put_aside::<Holds>(settings, dry_run, now),
        WorkerState::NAME => put_aside::<WorkerState>(settings, dry_run, now),
        Guards::NAME => put_aside::<Guards>(settings, dry_run, now),
        other => Err(wrong(format!(
            "{other}: no such record; there are mounts, debts, holds, worker, guards"
        ))),
    }
}

/// What a person should know before a record is put aside: what it still asks for.
fn loses<R: Record>(record: &R) -> Vec<String> {
    let text = serde_json::to_value(record).unwrap_or_default();
    let count = |key: &str| {
        text.get(key).map_or(0, |list| match list {
            serde_json::Value::Array(list) => list.len(),
            serde_json::Value::Object(map) => map.len(),
            _ => 0,
        })
    };
    [
        ("debts", "debts that would no longer be paid"),
        ("remembered", "detached paths that would no longer be shown as absent"),
        ("charges", "charges, so the budget begins anew"),
        ("starts", "starts, so the worker's budget begins anew"),
        ("holds", "pauses, which would end"),
        ("guards", "guarded directories, which `unwedge binds guard --undo` would not find"),
    ]
    .into_iter()
    .filter(|(key, _)| count(key) > 0)
    .map(|(key, what)| format!("{} {what}", count(key)))
    .collect()
}

fn put_aside<R: Record>(settings: &Settings, dry_run: bool, now: &Now) -> Result<String> {
    let _locks = if dry_run {
        None
    } else {
        Some((
            round_lock(settings)?,
            worker_lock(settings)?,
            act_lock(settings)?,
            holds_lock(settings)?,
        ))
    };
    let path = records::path_of::<R>(&settings.host.state_dir);
    let was = match records::read::<R>(&settings.host.state_dir, now) {
        Ok(record) => {
            let loses = loses(&record).join(", ");
            format!("it was readable{}{loses}", if loses.is_empty() { "" } else { "; in it: " })
        }
        Err(unreadable) => unreadable.what,
    };
    let mut aside = path.clone();
    aside.set_extension(format!("json.kept-{}", now.utc_ms));
    let (shown, kept) = (text::path(&path), text::path(&aside));
    if dry_run {
        return Ok(format!("would move {shown} to {kept} ({was})\n"));
    }
    match std::fs::rename(&path, &aside) {
        Ok(()) => Ok(format!("{shown} begins anew; the old one ({was}) is kept as {kept}\n")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{shown}: there is none\n"))
        }
        Err(error) => Err(error).with_context(|| format!("move {shown} to {kept}")),
    }
}
