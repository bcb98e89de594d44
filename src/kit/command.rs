//! `unwedge faultfs`: the fault daemon from the command line.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::faultfs::{self, Control, Options};
use crate::cli::Faultfs;
use crate::config::duration;
use crate::sys::command::Spawned;

/// How long a daemon in the background may take until it is mounted.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Serves, or starts a daemon that does.
///
/// # Errors
/// A bad word, or it could not be mounted.
pub fn faultfs(args: &Faultfs) -> Result<()> {
    if args.background {
        return in_background(args);
    }
    let owner = match &args.owner {
        None => None,
        Some(text) => {
            let (uid, gid) = text.split_once(':').context("--owner: UID:GID is expected")?;
            Some((uid.parse().context("--owner")?, gid.parse().context("--owner")?))
        }
    };
    let control = match &args.control {
        None => Control::Input,
        Some(path) if path.as_os_str() == "none" => Control::Deaf,
        Some(path) => Control::Fifo(path.clone()),
    };
    faultfs::run(&Options {
        mountpoint: args.mountpoint.clone(),
        mode: args.mode.parse().context("--mode")?,
        fstype: args.fstype.clone(),
        source: args.source.clone(),
        owner,
        cache: duration::parse(&args.cache).map_err(|why| anyhow!("--cache: {why}"))?,
        control,
    })?;
    Ok(())
}

/// A copy of this program that serves; this one returns when it is mounted.
fn in_background(args: &Faultfs) -> Result<()> {
    let mut words: Vec<OsString> = vec!["faultfs".into()];
    for (flag, value) in [
        ("--mode", Some(&args.mode)),
        ("--fstype", Some(&args.fstype)),
        ("--source", Some(&args.source)),
        ("--cache", Some(&args.cache)),
        ("--owner", args.owner.as_ref()),
    ] {
        if let Some(value) = value {
            words.push(flag.into());
            words.push(value.into());
        }
    }
    words.push("--control".into());
    words.push(args.control.clone().map_or_else(|| "none".into(), Into::into));
    words.push("--".into());
    words.push(args.mountpoint.clone().into());
    let mut daemon = Spawned::start(&words).context("start the daemon")?;
    match daemon.first_line(READY_LIMIT).as_deref() {
        Some("ready") => Ok(()),
        Some(_) | None => bail!("the daemon did not get ready; start it without --background"),
    }
}
