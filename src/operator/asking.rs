//! How a verb speaks to a queue of our own: which one that is, as whom, and no longer than `[queue] timeout` for each
//! question.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::config::Settings;
use crate::config::queue::{Adapter, Queue};
use crate::queue::link::Link;
use crate::queue::store::Store;
use crate::queue::{self, Fault};
use crate::sys::text;

/// How long an answer may take where no configuration says so.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The way to a queue.
pub struct Asking {
    link: Link,
}

impl Asking {
    /// To the one of this URL, else to that of the configuration, as the service user if this is root; where there is
    /// none to the user's own.
    ///
    /// # Errors
    /// There is none, or it is not one of ours.
    pub fn to(settings: &Settings, url: Option<&str>) -> Result<Self> {
        let queue = match (url, &settings.queue) {
            (Some(url), _) => Queue::at(url, LIMIT),
            (None, Some(queue)) if queue.adapter == Adapter::Unwedge => {
                queue::leave_root(settings)?;
                queue.clone()
            }
            (None, Some(_)) => bail!(
                "[queue] is that of another worker, and this verb is for unwedge's own: see unwedge-jobs, or give one with --queue"
            ),
            (None, None) => {
                let path = own_file()?;
                if !has_own_file() {
                    bail!(
                        "there is no queue: no [queue] or [jobs] in the configuration, and {} is not there",
                        text::path(&path)
                    );
                }
                Queue::at(&url_of(&path)?, LIMIT)
            }
        };
        Ok(Self { link: Link::to(queue) })
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        self.link.queue()
    }

    /// Asks.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal.
    pub fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        self.link.ask(question).map_err(|Fault(why)| anyhow!("the queue: {why}"))
    }
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

/// Whether that is there.
#[must_use]
pub fn has_own_file() -> bool {
    own_file().is_ok_and(|path| path.is_file())
}

/// Its URL; its directory is made.
///
/// # Errors
/// It has no place.
pub fn own_url() -> Result<String> {
    let path = own_file()?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| text::path(dir))?;
    }
    url_of(&path)
}

fn url_of(path: &std::path::Path) -> Result<String> {
    let path = path.to_str().context("the queue's path is no text; give one with --queue")?;
    Ok(format!("sqlite://{path}"))
}
