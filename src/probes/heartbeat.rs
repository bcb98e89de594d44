//! Signs of life of others: in files, which may lie on storage that hangs, so that a child looks; and what was last seen of
//! all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked::{self, ask_alone};
use super::records::{self, Heartbeats};
use crate::config::Settings;
use crate::manifest::queue_dir;
use crate::sys::clock::{Deadline, Now};
use crate::sys::user;

/// A round that keeps them comes every minute; two of them may be lost.
pub const AGE_MAX: Duration = Duration::from_secs(3 * 60);
/// The word that makes this program such a child.
const VERB: &str = "--heartbeat";

/// What a look at a file gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// When it was last written, milliseconds since 1970.
    At(u64),
    /// It is not there.
    Absent,
    /// It cannot be looked at, and why.
    Unknown(String),
}

/// What it was seen as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As young as it should be.
    Fresh,
    /// Older.
    Stale,
    /// Not there.
    Absent,
    /// Nobody can tell.
    Unknown,
    /// Its time lies in the future.
    Skewed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Fresh, Self::Stale, Self::Absent, Self::Unknown, Self::Skewed];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
            Self::Skewed => "skewed",
        }
    }
}

/// What was last seen of each that is configured; none of those of which nothing is known any more, or never was. It is
/// the service user's word, as what is in the queue is.
#[must_use]
pub fn last(settings: &Settings, now: &Now) -> BTreeMap<String, Option<State>> {
    let names = settings.heartbeat.iter().map(|it| it.name.clone());
    let mut all: BTreeMap<String, Option<State>> = names.map(|name| (name, None)).collect();
    if all.is_empty() {
        return all;
    }
    let Ok(ids) = user::named(&settings.host.user, user::LIMIT) else { return all };
    let own = queue_dir(&settings.host);
    let kept = records::read_of::<Heartbeats>(&own, ids.uid, now).unwrap_or_default();
    let age = kept.at.as_ref().and_then(|at| now.since(at).known());
    if age.is_some_and(|age| age <= AGE_MAX) {
        for (name, state) in kept.states {
            all.entry(name).and_modify(|it| *it = Some(state));
        }
    }
    all
}

/// Looks, within `limit`.
#[must_use]
pub fn file(path: &Path, limit: Duration) -> Written {
    let answer = ask_alone(VERB, path).answer(Deadline::after(limit), limit, "no answer");
    answer.unwrap_or_else(Written::Unknown)
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, look)
}

fn look(path: &Path) -> Written {
    match path.metadata() {
        Ok(it) => {
            let ms = it.mtime().saturating_mul(1000).saturating_add(it.mtime_nsec() / 1_000_000);
            u64::try_from(ms).map_or_else(
                |_| Written::Unknown("its time lies before 1970".to_owned()),
                Written::At,
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Written::Absent,
        Err(error) => Written::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_time_that_no_clock_has_shown_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sign");
        let file = std::fs::File::create(&path).unwrap();
        for (at, expected) in [
            (UNIX_EPOCH, Written::At(0)),
            (
                UNIX_EPOCH - Duration::from_secs(1),
                Written::Unknown("its time lies before 1970".to_owned()),
            ),
        ] {
            file.set_modified(at).unwrap();
            assert_eq!(look(&path), expected);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_absent_and_one_below_a_file_cannot_be_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h");
        assert_eq!(look(&path), Written::Absent);
        std::fs::write(&path, "").unwrap();
        assert!(matches!(look(&path), Written::At(ms) if ms > 1_600_000_000_000));
        assert!(matches!(look(&path.join("x")), Written::Unknown(_)));
    }
}
