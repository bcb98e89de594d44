//! `unwedge binds guard`: bare directories, below bases and hot paths, refuse to be written to.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::act_lock;
use crate::act::guard::{Bare, Guarded};
use crate::act::store;
use crate::config::Settings;
use crate::probes::binds;
use crate::probes::mountinfo;
use crate::probes::records::{self, Guard, Guards};
use crate::probes::work::Work;
use crate::sys::clock::Now;
use crate::sys::text;

/// Guards every bare directory of the config, or takes that back; says how each is.
///
/// # Errors
/// The record of guards cannot be read or stored; then nothing was changed.
pub fn guard(settings: &Settings, undo: bool, dry_run: bool, now: &Now) -> Result<String> {
    let (settings, _) = &binds::complete(settings, &Work::NoQueue);
    let _lock = if dry_run { None } else { Some(act_lock(settings)?) };
    let dir = &settings.host.state_dir;
    let mut guards: Guards = records::read(dir, now)?;
    let paths: Vec<PathBuf> = if undo {
        guards.guards.iter().map(|guard| guard.path.clone()).collect()
    } else {
        let listed = settings.mount.iter().map(|spec| &spec.path);
        listed.chain(settings.bind.iter().map(|bind| &bind.hot)).cloned().collect()
    };
    let mut out = String::new();
    for path in paths {
        let said = match (undo, Bare::open(&path)) {
            (_, Err(error)) => format!("left: {error:#}"),
            (_, Ok(None)) => "left: there is no such directory".to_owned(),
            (false, Ok(Some(bare))) => set(dir, &mut guards, &path, &bare, dry_run, now)?,
            (true, Ok(Some(bare))) => unset(dir, &mut guards, &path, &bare, dry_run)?,
        };
        // writing to a String cannot fail
        let _ = writeln!(out, "{}: {said}", text::path(&path));
    }
    if out.is_empty() {
        out.push_str(if undo { "nothing is guarded\n" } else { "nothing is listed to guard\n" });
    }
    Ok(out)
}

/// Written down first, so that a guard that nobody has noted cannot be.
fn set(
    dir: &Path,
    guards: &mut Guards,
    path: &Path,
    bare: &Bare,
    dry_run: bool,
    now: &Now,
) -> Result<String> {
    let covered = mountinfo::read(|mount| mount.path == path)
        .is_ok_and(|table| !table.walk(path).layers.is_empty());
    if let Some(why) = bare.reason_against(covered)? {
        return Ok(format!("left: {why}"));
    }
    let (is, was_mode) = bare.look()?;
    match is {
        Guarded::Immutable => return Ok("is immutable already".to_owned()),
        Guarded::Closed => return Ok("is closed already (mode 000)".to_owned()),
        Guarded::No if dry_run => return Ok("would be guarded".to_owned()),
        Guarded::No => {}
    }
    guards.guards.retain(|guard| guard.path != path);
    guards.guards.push(Guard { path: path.to_owned(), was_mode, at: now.stamp() });
    store::record(dir, guards).context("store the guards")?;
    Ok(match bare.guard() {
        Ok(Guarded::Immutable) => "guarded: immutable".to_owned(),
        Ok(Guarded::Closed | Guarded::No) => {
            "guarded: mode 000, which does not keep root out; its file system knows no better"
                .to_owned()
        }
        Err(error) => format!("left: {error:#}"),
    })
}

fn unset(
    dir: &Path,
    guards: &mut Guards,
    path: &Path,
    bare: &Bare,
    dry_run: bool,
) -> Result<String> {
    let was_mode = guards.guards.iter().find(|guard| guard.path == path).map(|it| it.was_mode);
    if dry_run {
        return Ok("would be released".to_owned());
    }
    if let Err(error) = bare.release(was_mode.unwrap_or(0o755)) {
        return Ok(format!("left: {error:#}"));
    }
    guards.guards.retain(|guard| guard.path != path);
    store::record(dir, guards).context("store the guards")?;
    Ok("released".to_owned())
}
