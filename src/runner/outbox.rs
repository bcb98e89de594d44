//! What became of tries and is not written down yet. While the queue is away it is kept on disk too, so that the end of
//! the runner does not cost a result; whoever runs next on this host delivers it, with the token and in the name of
//! the worker that it is of.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::act::store;
use crate::decide::attempts::Token;
use crate::probes::records::{self, Record};
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::store::Ending;
use crate::sys::clock::{Now, Stamp, boottime};

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// By worker.
    pub parcels: Vec<Parcel>,
}

/// What became of the tries of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// Who.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// Its tries.
    pub endings: Vec<Ending>,
}

impl Record for Spool {
    const NAME: &'static str = "spool";

    fn stamps(&self) -> Vec<&Stamp> {
        Vec::new()
    }
}

/// All that waits to be written down.
#[derive(Debug)]
pub struct Outbox {
    dir: Option<PathBuf>,
    /// Of workers before.
    left: Vec<Parcel>,
    own: Parcel,
    /// Whether there is something on disk.
    is_kept: bool,
    /// Whether that is another than this.
    is_changed: bool,
    said: Vec<String>,
}

impl Outbox {
    /// That of a worker, with what those before it have left in `dir`.
    #[must_use]
    pub fn open(dir: Option<PathBuf>, worker: &str) -> Self {
        let own = Parcel {
            worker: worker.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endings: Vec::new(),
        };
        let mut outbox = Self {
            dir,
            left: Vec::new(),
            own,
            is_kept: false,
            is_changed: false,
            said: Vec::new(),
        };
        if let Some(dir) = outbox.dir.clone() {
            match left_in(&dir) {
                Ok(left) => outbox.left = left,
                Err(why) => outbox.said.push(why),
            }
            outbox.is_kept = !outbox.is_empty();
        }
        outbox
    }

    /// Adds one.
    pub fn push(&mut self, ending: Ending) {
        self.own.endings.push(ending);
        self.is_changed = true;
    }

    /// How many of this worker are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.endings.len()
    }

    /// Whether a try of this worker is in it.
    #[must_use]
    pub fn has(&self, token: Token) -> bool {
        self.own.endings.iter().any(|ending| ending.token == token)
    }

    /// Whether all is written down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.own.endings.is_empty()
    }

    /// Writes down what there is, unless the queue is known to be away. Those that were not accepted: somebody else
    /// has the job.
    ///
    /// # Errors
    /// The queue is away; it is on disk, or that is said, too.
    pub fn deliver(&mut self, link: &mut Link) -> Result<Vec<Token>, Fault> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let done = if link.due() > boottime() { Ok(Vec::new()) } else { self.hand_in(link) };
        if self.is_changed && (self.is_kept || !self.is_empty()) {
            self.keep();
        }
        done
    }

    /// What is wrong with the disk, each thing once.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn hand_in(&mut self, link: &mut Link) -> Result<Vec<Token>, Fault> {
        let mut refused = Vec::new();
        while !self.is_empty() {
            // those of before come first: their worker is about to be found gone
            let parcel = self.left.first().unwrap_or(&self.own).clone();
            let asked = parcel.clone();
            let accepted =
                link.ask(move |store| store.end(&asked.endings, &asked.version, &asked.worker))?;
            refused.extend(
                parcel.endings.iter().map(|it| it.token).filter(|token| !accepted.contains(token)),
            );
            self.is_changed = true;
            if self.left.is_empty() {
                self.own.endings.clear();
            } else {
                self.left.remove(0);
            }
        }
        Ok(refused)
    }

    fn keep(&mut self) {
        let Some(dir) = &self.dir else { return };
        let all = self.left.iter().chain([&self.own]).filter(|it| !it.endings.is_empty());
        match store::record(dir, &Spool { parcels: all.cloned().collect() }) {
            Ok(()) => (self.is_kept, self.is_changed) = (!self.is_empty(), false),
            Err(error) => {
                let why =
                    format!("{error:#}: results are not kept on disk while the queue is away");
                if !self.said.contains(&why) {
                    self.said.push(why);
                }
            }
        }
    }
}

/// What workers before have left; a file that cannot be understood is put aside and kept.
fn left_in(dir: &Path) -> Result<Vec<Parcel>, String> {
    let now = Now::take().map_err(|error| format!("the clock: {error}"))?;
    match records::read::<Spool>(dir, &now) {
        Ok(spool) => Ok(spool.parcels),
        Err(why) => {
            let path = records::path_of::<Spool>(dir);
            let aside = path.with_extension(format!("json.unreadable-{}", now.utc_ms));
            let moved = std::fs::rename(&path, &aside);
            Err(format!(
                "results that wait on disk cannot be read ({why}); {}; their jobs are done again",
                match moved {
                    Ok(()) => format!("they are kept as {}", crate::sys::text::path(&aside)),
                    Err(error) => format!("nor put aside: {error}"),
                }
            ))
        }
    }
}
