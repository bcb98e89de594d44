//! Incidents as they are written down: one file each, a line an event, only ever added to. Reading only;
//! `act::incidents` writes.
//!
//! A line that cannot be read, such as one that a power cut left torn, is counted and passed over: the rest of a story
//! is worth having, and nothing is decided by it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};

use crate::sys::clock::{Now, Stamp};
use crate::sys::text;

/// The schema written by this version.
pub const SCHEMA: u32 = 1;
/// How the file of an open one ends.
const OPEN: &str = ".open.jsonl";
/// How that of one that is over ends.
const CLOSED: &str = ".jsonl";
/// More of a file is not read, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The directory they are in.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("incidents")
}

/// The file of an open one.
#[must_use]
pub fn open_file(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}{OPEN}"))
}

/// The file of one that is over.
#[must_use]
pub fn closed_file(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}{CLOSED}"))
}

/// One event, a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Stamp,
    /// Which tool saw or did it.
    pub tool: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Words of verdicts, steps and reasons are kept as they were said: another version may have others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It began: the first line.
    Opened {
        /// Of this file.
        schema: u32,
        /// The base that is bad, with all that lies on it; or the worker.
        root: String,
        /// What it was first seen as: with `root`, the symptom.
        cause: String,
    },
    /// Something was seen in another state than before.
    Seen {
        /// A path, or the worker.
        subject: String,
        /// Its state.
        state: String,
        /// Whether it is as it should be.
        good: bool,
        /// The evidence.
        why: String,
    },
    /// Something is about to be done; where no end follows, the tool did not live to tell.
    Begun {
        /// A path, or the worker.
        subject: String,
        /// Each step with its target.
        steps: Vec<String>,
    },
    /// A step was done.
    Done {
        /// The step with its target.
        step: String,
        /// What came of it.
        detail: String,
        /// How long it took.
        ms: u64,
    },
    /// A step was tried without success.
    Failed {
        /// The step with its target.
        step: String,
        /// Why.
        detail: String,
        /// How long it took.
        ms: u64,
    },
    /// Something was not done.
    Refused {
        /// A path, the worker, or `*` for everything.
        subject: String,
        /// The reason's word.
        reason: String,
        /// More of it.
        detail: String,
    },
    /// No more is written of this one, until it is over.
    Full,
    /// All that it touched is good again: the last line.
    Closed,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// `2026-11-23-1`: the day it began, in UTC, and its number on that day.
    pub id: String,
    /// Whether it is over.
    pub is_closed: bool,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

impl Incident {
    /// The base that is bad, or the worker.
    #[must_use]
    pub fn root(&self) -> &str {
        self.opening().map_or("", |(root, _)| root)
    }

    /// What that was first seen as.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.opening().map_or("", |(_, cause)| cause)
    }

    fn opening(&self) -> Option<(&str, &str)> {
        self.events.iter().find_map(|event| match &event.what {
            What::Opened { root, cause, .. } => Some((root.as_str(), cause.as_str())),
            _ => None,
        })
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> Option<&Stamp> {
        self.events.first().map(|event| &event.at)
    }

    /// When it was over.
    #[must_use]
    pub fn ended(&self) -> Option<&Stamp> {
        self.is_closed.then(|| self.events.last().map(|event| &event.at)).flatten()
    }

    /// How long it took, or has taken up to now; none where the clocks do not allow a length.
    #[must_use]
    pub fn took(&self, now: &Now) -> Option<Duration> {
        let began = self.began()?;
        let age = self.ended().map_or_else(|| now.since(began), |ended| ended.since(began));
        age.known()
    }

    /// Everything it touched, each as it was last seen, and whether that is as it should be.
    #[must_use]
    pub fn touched(&self) -> BTreeMap<&str, (&str, bool)> {
        let seen = self.events.iter().filter_map(|event| match &event.what {
            What::Seen { subject, state, good, .. } => {
                Some((subject.as_str(), (state.as_str(), *good)))
            }
            _ => None,
        });
        seen.collect()
    }

    /// What of that is not as it should be: each with its state.
    #[must_use]
    pub fn bad(&self) -> BTreeMap<&str, &str> {
        let bad = self.touched().into_iter().filter(|(_, (_, good))| !good);
        bad.map(|(subject, (state, _))| (subject, state)).collect()
    }

    /// Whether this refusal of this subject was told already, and nothing has happened since.
    #[must_use]
    pub fn has_told(&self, subject: &str, reason: &str) -> bool {
        let news = |what: &What| match what {
            What::Seen { .. } | What::Begun { .. } | What::Done { .. } | What::Failed { .. } => {
                true
            }
            What::Opened { .. } | What::Refused { .. } | What::Full | What::Closed => false,
        };
        let recent = self.events.iter().rev().take_while(|event| !news(&event.what));
        recent.into_iter().any(|event| {
            matches!(&event.what, What::Refused { subject: of, reason: told, .. } if of == subject && told == reason)
        })
    }
}

/// Those that are open, oldest first.
///
/// # Errors
/// The directory, or one of them, cannot be read.
pub fn open_ones(dir: &Path) -> std::io::Result<Vec<Incident>> {
    let open = ids(dir)?.into_iter().filter(|(_, is_closed)| !is_closed);
    open.map(|(id, is_closed)| read(dir, &id, is_closed)).collect()
}

/// The ids there are, oldest first, and whether each is over.
///
/// # Errors
/// The directory cannot be read; one that is not there holds none.
pub fn ids(dir: &Path) -> std::io::Result<Vec<(String, bool)>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ids = BTreeMap::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let id = name.strip_suffix(OPEN).map(|id| (id, false));
        let Some((id, is_closed)) = id.or_else(|| Some((name.strip_suffix(CLOSED)?, true))) else {
            continue;
        };
        if let Some(key) = order(id) {
            ids.insert(key, (id.to_owned(), is_closed));
        }
    }
    Ok(ids.into_values().collect())
}

/// The day, and the number on it: what an id is put in order by. None for what is no id.
fn order(id: &str) -> Option<(String, u32)> {
    let (day, number) = id.split_at_checked(10)?;
    let shape: String = day.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let number = number.strip_prefix('-')?.parse().ok()?;
    (shape == "0000-00-00").then(|| (day.to_owned(), number))
}

/// One of them.
///
/// # Errors
/// It is not there, or cannot be read.
pub fn find(dir: &Path, id: &str) -> std::io::Result<Incident> {
    if order(id).is_none() {
        let said = format!("{id} is no incident: they are called like 2026-11-23-1");
        return Err(std::io::Error::new(ErrorKind::InvalidInput, said));
    }
    // it may be closed while this looks
    read(dir, id, false).or_else(|_| read(dir, id, true))
}

fn read(dir: &Path, id: &str, is_closed: bool) -> std::io::Result<Incident> {
    let path = if is_closed { closed_file(dir, id) } else { open_file(dir, id) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let named = |error: std::io::Error| {
        std::io::Error::new(error.kind(), format!("{}: {error}", text::path(&path)))
    };
    let file = open(&path, flags, Mode::empty()).map_err(|errno| named(errno.into()))?;
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(named)?;
    Ok(parse(id, is_closed, &bytes))
}

/// Understands the bytes of a file.
#[must_use]
pub fn parse(id: &str, is_closed: bool, bytes: &[u8]) -> Incident {
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let events: Vec<Event> =
        lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let unreadable = lines.len() - events.len();
    Incident { id: id.to_owned(), is_closed, events, unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        format!(
            "{{\"at\":{{\"utc_ms\":1,\"boot_ms\":1,\"boot_id\":\"a\"}},\"tool\":\"mounts\",{text}}}\n"
        )
    }

    #[test]
    fn a_torn_line_is_counted_and_the_rest_is_told() {
        let whole = line(
            "\"event\":\"opened\",\"schema\":1,\"root\":\"/srv/a\",\"cause\":\"dead\"",
        ) + &line(
            "\"event\":\"seen\",\"subject\":\"/srv/a\",\"state\":\"dead\",\"good\":false,\"why\":\"107\"",
        );
        let torn = format!("{whole}{{\"at\":{{\"utc\n{}", line("\"event\":\"closed\""));
        let incident = parse("2026-01-24-1", true, torn.as_bytes());
        assert_eq!((incident.events.len(), incident.unreadable), (3, 1));
        assert_eq!((incident.root(), incident.cause()), ("/srv/a", "dead"));
        assert_eq!(incident.touched(), BTreeMap::from([("/srv/a", ("dead", false))]));
        for cut in 0..whole.len() {
            let part = parse("2026-01-24-1", false, &whole.as_bytes()[..cut]);
            assert!(part.events.len() <= 2 && part.unreadable <= 1, "cut at {cut}");
        }
    }

    #[test]
    fn ids_are_in_order_of_day_and_number_and_nothing_else_is_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ids(&dir.path().join("none")).unwrap(), []);
        for name in [
            "2026-01-24-10.jsonl",
            "2026-01-24-9.open.jsonl",
            "2025-12-31-1.jsonl",
            "x.jsonl",
            "2026-01-24.jsonl",
            "2026-01-24-1.tmp",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names = ids(dir.path()).unwrap();
        let names: Vec<(&str, bool)> =
            names.iter().map(|(id, closed)| (id.as_str(), *closed)).collect();
        assert_eq!(
            names,
            [("2025-12-31-1", true), ("2026-01-24-9", false), ("2026-01-24-10", true)]
        );
        assert!(
            find(dir.path(), "../../etc/shadow")
                .unwrap_err()
                .to_string()
                .contains("is no incident")
        );
    }
}
