//! `unwedge mounts forget PATH`: a path that was detached, or is owed, and will not be mounted
//! again.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{act_lock, round_lock};
use crate::act::store;
use crate::config::Settings;
use crate::probes::records::{self, Debts, MountsState};
use crate::sys::clock::Now;
use crate::sys::text;

/// Forgets the path: it is no longer shown as absent, and no longer owed.
///
/// # Errors
/// State or debts cannot be read or stored.
pub fn forget(settings: &Settings, path: &Path, dry_run: bool, now: &Now) -> Result<String> {
    let _locks = if dry_run { None } else { Some((round_lock(settings)?, act_lock(settings)?)) };
    let dir = &settings.host.state_dir;
    let mut state: MountsState = records::read(dir, now)?;
    let mut debts: Debts = records::read(dir, now)?;
    let known = (state.remembered.len(), debts.debts.len());
    state.remembered.retain(|remembered| remembered.path != path);
    debts.debts.retain(|debt| !debt.is_at(path));
    let shown = text::path(path);
    if known == (state.remembered.len(), debts.debts.len()) {
        return Ok(format!("{shown}: nothing is remembered or owed of it\n"));
    }
    if dry_run {
        return Ok(format!("would forget {shown}\n"));
    }
    store::record(dir, &state).context("store the state")?;
    store::record(dir, &debts).context("store the debts")?;
    Ok(format!("{shown} is forgotten; if it should be mounted, mount it\n"))
}
