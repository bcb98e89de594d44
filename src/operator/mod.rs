//! The operator's verbs, one file each. They do at once what they say, need no sentinel, and offer
//! `--dry-run` where they change something; each change is one file replaced whole, under the lock
//! of whoever else writes it.

mod asking;
pub mod binds;
pub mod config;
pub mod debts;
pub mod dispatch;
pub mod doctor;
pub mod drill;
pub mod generate;
pub mod hold;
pub mod incidents;
pub mod install;
pub mod jobs;
pub mod lanes;
pub mod mounts;
pub mod notify;
pub mod queue;
pub mod rows;
pub mod run;
pub mod sentinel;
pub mod smoke;
mod smoke_via;
pub mod start;
pub mod state;
pub mod status;
pub mod submit;
pub mod worker;
pub mod workers;

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};

use crate::act::lock::{self, Lock, Tried};
use crate::config::sentinel::Kind;
use crate::config::{Settings, duration};
use crate::manifest::{MOUNTS, WORKER};
use crate::probes::records::{Holds, Record as _};
use crate::probes::types;
use crate::report::exit::Exit;
use crate::report::{out, said};
use crate::sys::text;

/// What a verb has to say, and how the program ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What is printed.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, code: 0 }
    }
}

/// A verb was called in a way that says nothing, or nothing that it understands: nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// How a program ends that could not do what it was asked for.
#[must_use]
pub fn exit_of(error: &Error) -> Exit {
    let is_usage = error.chain().any(<dyn std::error::Error>::is::<Usage>);
    if is_usage { Exit::Usage } else { Exit::Failed }
}

/// It ended before all was done, and there is more to read than why.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Undone {
    told: String,
    why: &'static str,
}

/// Says that a verb could not do what it was asked for: to a person on standard error, to a program as its one object. It has
/// printed nothing by then. How the program ends.
#[must_use]
pub fn failed(error: &Error, json: bool) -> Exit {
    let exit = exit_of(error);
    let told = error.downcast_ref::<Undone>().map_or("", |it| &it.told);
    if json {
        said::failed(&format!("{told}{error:#}"), exit.code());
    } else {
        // a reason that can be read still is not kept back
        let _ = out::print(told);
    }
    out::complain(&format!("unwedge: {error:#}"));
    exit
}

/// That, with these words.
pub fn wrong(why: impl Into<String>) -> Error {
    Usage(why.into()).into()
}

/// Who does it, for whoever reads of it later: the person behind a `sudo`, too. It is the same after this program has become
/// the service user, as it is asked before that.
fn by() -> &'static str {
    static BY: OnceLock<String> = OnceLock::new();
    BY.get_or_init(|| {
        let uid = rustix::process::getuid().as_raw();
        match std::env::var("SUDO_USER").or_else(|_| std::env::var("LOGNAME")) {
            Ok(name) => format!("by {} (uid {uid})", text::tail(name.as_bytes(), 64)),
            Err(_) => format!("by uid {uid}"),
        }
    })
}

/// A reason as it is kept and shown: one line.
///
/// # Errors
/// It is none.
fn reason(because: &str) -> Result<String> {
    const BYTES_MAX: usize = 500;
    match text::tail(because.as_bytes(), BYTES_MAX) {
        none if none.is_empty() => Err(wrong("--because: whoever finds it will ask why")),
        because => Ok(because),
    }
}

/// Refuses a word that is no kind of act.
///
/// # Errors
/// With the list of those there are.
pub fn known_kind(kind: &str) -> Result<Kind> {
    match Kind::ALL.into_iter().find(|known| known.name() == kind) {
        Some(known) => Ok(known),
        None => Err(wrong(format!(
            "{kind}: no such kind of act; there are {}",
            Kind::ALL.map(Kind::name).join(", ")
        ))),
    }
}

/// A time that was given with this flag.
fn time_of(flag: &str, given: &str) -> Result<Duration> {
    duration::parse(given).map_err(|why| wrong(format!("{flag} {given}: {why}")))
}

/// The lock of a round of `unwedge-mounts`, for changing what it remembers.
fn round_lock(settings: &Settings) -> Result<Lock> {
    let tried = lock::tool(&settings.host.run_dir, MOUNTS.name)?;
    taken(tried, "a round of unwedge-mounts is at work")
}

/// The lock of a round of `unwedge-worker`, for changing what it remembers.
fn worker_lock(settings: &Settings) -> Result<Lock> {
    let tried = lock::tool(&settings.host.run_dir, WORKER.name)?;
    taken(tried, "a round of unwedge-worker is at work")
}

/// The lock under which holds are written: a pause must be possible in the middle of a long act.
fn holds_lock(settings: &Settings) -> Result<Lock> {
    let tried = lock::tool(&settings.host.run_dir, Holds::NAME)?;
    taken(tried, "somebody else is changing the holds")
}

/// The lock under which debts are written.
fn act_lock(settings: &Settings) -> Result<Lock> {
    let tried = lock::act(&settings.host.run_dir).context("take act.lock")?;
    taken(tried, "another tool is acting")
}

/// A lock that nobody else has; who has it is `busy`.
fn taken(tried: Tried, busy: &str) -> Result<Lock> {
    match tried {
        Tried::Locked(lock) => Ok(lock),
        Tried::Busy => bail!("{busy}; try again in a moment"),
    }
}

/// The names of the types of this host, also of those that are wrong; none where that cannot be told.
fn types_of_host(settings: &Settings) -> Option<BTreeSet<String>> {
    let types = types::of(&settings.jobs.as_ref()?.dir).ok()?;
    let good = types.good.into_iter().map(|it| it.name);
    Some(good.chain(types.bad.into_iter().map(|(name, _)| name)).collect())
}
