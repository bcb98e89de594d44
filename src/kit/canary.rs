//! A mount that is dead on purpose, in a mount namespace that nobody else sees, looked at by the very probe that the
//! rounds use. A probe that calls it anything but dead would call a real one so too.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, mount};

use super::faultfs;
use crate::config::{MountSpec, Settings};
use crate::probes::canary::Sung;
use crate::probes::mounts;
use crate::sys::{command, text};

/// How long all of it may take: a probe that hangs here would be a finding, too.
const LIMIT: Duration = Duration::from_secs(60);

/// Has a copy of this program, in a namespace of its own, make the mounts and look at them.
///
/// # Errors
/// They could not be made or looked at: then nothing is known of the probe.
pub fn ask() -> Result<Sung> {
    let own = std::fs::read_link("/proc/self/exe").context("/proc/self/exe")?;
    let words = ["/usr/bin/unshare", "--mount", "--propagation=private"];
    let mut argv: Vec<OsString> = words.map(OsString::from).to_vec();
    argv.extend([own.into(), "--on-stage".into()]);
    let done = command::run(&argv, LIMIT)?;
    if !done.ok() {
        bail!("in its namespace: {}", done.describe());
    }
    serde_json::from_slice(&done.stdout).context("understand what was seen in the namespace")
}

/// In that namespace: makes them and looks.
///
/// # Errors
/// They could not be made or seen.
pub fn sing() -> Result<Sung> {
    let stage = Path::new("/run");
    mount("canary", stage, "tmpfs", MountFlags::empty(), None).context("mount a tmpfs on /run")?;
    let dead = stage.join("canary");
    std::fs::create_dir(&dead).with_context(|| format!("make {}", text::path(&dead)))?;
    // whoever listens to it is gone at once
    drop(faultfs::mounted(&dead)?);
    let spec = |path: &Path| MountSpec {
        path: path.to_owned(),
        unit: None,
        source: None,
        fstype: None,
        wait: Duration::from_secs(1),
        remount: None,
        dependents: Vec::new(),
    };
    let settings = Settings { mount: vec![spec(stage), spec(&dead)], ..Settings::default() };
    let seen = mounts::survey(&settings, &BTreeSet::new(), false, LIMIT / 2);
    let verdict = |path: &Path| {
        let seen = seen.observations.iter().find(|seen| seen.path == path);
        seen.map(|seen| seen.verdict.name().to_owned()).context("the probe said nothing")
    };
    Ok(Sung { dead: verdict(&dead)?, live: verdict(stage)? })
}
