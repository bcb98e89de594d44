//! How a verb speaks to a queue of our own: which one that is, as whom, and no longer than `[queue] timeout` for each
//! question.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};

use crate::config::Settings;
use crate::config::queue::{Adapter, Queue};
use crate::manifest::LOGS;
use crate::probes::secret;
use crate::queue::link::Link;
use crate::queue::store::{NewJob, SUBMIT_AT_ONCE, Store, Submitted};
use crate::queue::{self, Fault};
use crate::sys::clock::{Deadline, pause};
use crate::sys::limit::within;
use crate::sys::text;

/// How long an answer may take where no configuration says so.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The way to a queue.
pub struct Asking {
    link: Link,
}

impl Asking {
    /// To the one of this URL, else to that of the configuration, as the service user if this is root; where there is
    /// none to the user's own. It has to be there.
    ///
    /// # Errors
    /// There is none, or it is not one of ours.
    pub fn to(settings: &Settings, url: Option<&str>) -> Result<Self> {
        Ok(Self { link: Link::look(which(settings, url)?) })
    }

    /// To the same, which is made where it is not there.
    ///
    /// # Errors
    /// There is none, or it is not one of ours.
    pub fn making(settings: &Settings, url: Option<&str>) -> Result<Self> {
        Ok(Self { link: Link::to(which(settings, url)?) })
    }

    /// Whether anybody has made it.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn is_made(&self) -> Result<bool> {
        is_made(self.link.queue())
    }

    /// Which of these jobs there are already, by their place.
    ///
    /// # Errors
    /// There is no answer, or one would be refused.
    pub fn known(&mut self, jobs: &[NewJob]) -> Result<BTreeMap<usize, Submitted>> {
        known(&mut self.link, jobs)
    }

    /// Puts jobs in.
    ///
    /// # Errors
    /// Not all of them are put in; how many are.
    pub fn put(&mut self, jobs: &[NewJob]) -> Result<Vec<Submitted>> {
        put(&mut self.link, jobs)
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        self.link.queue()
    }

    /// Whether to ask again mends nothing: its file is damaged.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.link.broken().is_some()
    }

    /// From now on somebody waits: a queue that is away is tried again as soon as for jobs that are at work.
    pub fn somebody_waits(&mut self) {
        self.link.holds(true);
    }

    /// Asks.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal.
    pub fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        self.link.ask(question).map_err(said)
    }

    /// Looks again and again until what is seen is enough, or it is time. A queue that is away may be back before; one that is
    /// broken is not.
    ///
    /// # Errors
    /// Those of the last look.
    pub fn ask_until<T>(
        &mut self,
        deadline: Deadline,
        every: Duration,
        mut look: impl FnMut(&mut Self) -> Result<T>,
        mut is_enough: impl FnMut(&Result<T>) -> bool,
    ) -> Result<T> {
        self.somebody_waits();
        loop {
            let seen = look(self);
            if is_enough(&seen) || deadline.passed() || self.is_broken() {
                return seen;
            }
            pause(every.min(deadline.left()));
        }
    }
}

/// Whether anybody has made the queue.
///
/// # Errors
/// That cannot be told.
pub fn is_made(queue: &Queue) -> Result<bool> {
    let own = queue.clone();
    let made = within(queue.timeout, move || Store::look(&own).map(|it| it.is_some()));
    made.unwrap_or_else(|why| Err(Fault(why.to_string()))).map_err(said)
}

/// Puts jobs in, as many at a time as the queue takes whole or not at all, each within its own limit.
///
/// # Errors
/// Not all of them are put in; how many are.
pub fn put(link: &mut Link, jobs: &[NewJob]) -> Result<Vec<Submitted>> {
    let mut put = Vec::with_capacity(jobs.len());
    for some in jobs.chunks(SUBMIT_AT_ONCE) {
        let some = some.to_vec();
        let came = link.ask(move |store| store.submit(&some)).map_err(said);
        put.extend(came.with_context(|| put_so_far(put.len(), jobs.len()))?);
    }
    Ok(put)
}

/// Which of these jobs there are already, by their place; some at a time, each question within its own limit.
///
/// # Errors
/// There is no answer, or one would be refused.
pub fn known(link: &mut Link, jobs: &[NewJob]) -> Result<BTreeMap<usize, Submitted>> {
    const AT_ONCE: usize = 1000;
    let mut known = BTreeMap::new();
    for (nth, some) in jobs.chunks(AT_ONCE).enumerate() {
        let some = some.to_vec();
        let found = link.ask(move |store| store.known(&some)).map_err(said)?;
        known.extend(found.into_iter().map(|(at, it)| (nth * AT_ONCE + at, it)));
    }
    Ok(known)
}

/// What is to be said where not all of them could be put in.
fn put_so_far(put: usize, all: usize) -> String {
    match put {
        0 => "nothing is put in".to_owned(),
        put => format!("{put} of {all} are put in; to say it again goes on with the rest"),
    }
}

/// What a queue has to say where it gives no answer.
#[must_use]
pub fn said(Fault(why): Fault) -> Error {
    anyhow!("the queue: {why}")
}

fn which(settings: &Settings, given: Option<&str>) -> Result<Queue> {
    match (given, &settings.queue) {
        (Some(given), _) => Ok(at(&url(given)?, settings.queue.as_ref())),
        (None, Some(queue)) if queue.adapter == Adapter::Unwedge => {
            // who asks is known before that
            let _ = super::by();
            queue::leave_root(settings)?;
            Ok(queue.clone())
        }
        (None, Some(_)) => bail!(
            "[queue] is that of another worker, and this verb is for unwedge's own: see unwedge-jobs, or give one with --queue"
        ),
        (None, None) => {
            let path = own_file()?;
            if !has_own_file()? {
                bail!(
                    "there is no queue: no [queue] or [jobs] in the configuration, and {} is not there",
                    text::path(&path)
                );
            }
            Ok(Queue::at(&url_of(&path)?, LIMIT))
        }
    }
}

/// What `--queue` gives: a URL, or the path of a file that holds one, so that no password is on a command line.
///
/// # Errors
/// The file does not hold one.
pub fn url(given: &str) -> Result<String> {
    if !given.starts_with(['/', '.']) {
        return Ok(given.to_owned());
    }
    secret::line(Path::new(given), false)
        .map_err(|why| super::wrong(format!("--queue {given}: {why}")))
}

/// The one of this URL: on the terms of `[queue]`, where that is one of ours.
#[must_use]
pub fn at(url: &str, configured: Option<&Queue>) -> Queue {
    let ours = configured.filter(|queue| queue.adapter == Adapter::Unwedge);
    ours.map_or_else(|| Queue::at(url, LIMIT), |queue| queue.elsewhere(url))
}

/// The queue of this user's own.
///
/// # Errors
/// Nothing says where it may be.
pub fn own_file() -> Result<PathBuf> {
    let directory =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state =
        directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    let state = state.context(
        "neither XDG_STATE_HOME nor HOME says where a queue may be; give one with --queue",
    )?;
    Ok(state.join("unwedge/queue.db"))
}

/// Where what commands of this user's runs said is kept.
#[must_use]
pub fn own_logs() -> Option<PathBuf> {
    Some(own_file().ok()?.parent()?.join(LOGS))
}

/// Whether that is there. Where nothing says where it may be, there is none.
///
/// # Errors
/// It cannot be looked for.
pub fn has_own_file() -> Result<bool> {
    let Ok(path) = own_file() else { return Ok(false) };
    path.try_exists().with_context(|| text::path(&path))
}

/// Its URL; its directory is made, unless that may not be.
///
/// # Errors
/// It has no place.
pub fn own_url(may_make: bool) -> Result<String> {
    let path = own_file()?;
    if let Some(dir) = path.parent().filter(|_| may_make) {
        std::fs::create_dir_all(dir).with_context(|| text::path(dir))?;
    }
    url_of(&path)
}

fn url_of(path: &std::path::Path) -> Result<String> {
    let path = path.to_str().context("the queue's path is no text; give one with --queue")?;
    Ok(format!("sqlite://{path}"))
}
