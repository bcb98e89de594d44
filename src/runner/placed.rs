//! How a result is known again: by what a rename leaves as it is. What a try was about to put in its place, and only that,
//! is its own when it is found there later; anything else of that name is somebody else's.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::queue::store::ANEW;

/// Network file systems keep times in whole seconds, and a client may have told its own until what it wrote was flushed.
const SECONDS_APART_MAX: u64 = 2;

/// What tells a result from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How long it is, bytes.
    size: u64,
    /// When it was written last, seconds since 1970.
    written: i64,
}

impl Mark {
    /// Of what lies there.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        fs::symlink_metadata(path).map(|it| Self::from(&it))
    }

    /// Whether that is what lies there.
    #[must_use]
    pub fn is_of(self, there: &Metadata) -> bool {
        let there = Self::from(there);
        self.size == there.size && self.written.abs_diff(there.written) <= SECONDS_APART_MAX
    }
}

impl From<&Metadata> for Mark {
    fn from(it: &Metadata) -> Self {
        Self { size: it.len(), written: it.mtime() }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.size, self.written)
    }
}

impl std::str::FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (size, written) = text.split_once('@').ok_or(())?;
        Ok(Self { size: size.parse().map_err(|_| ())?, written: written.parse().map_err(|_| ())? })
    }
}

/// What the queue keeps of the result of a job that is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The one that a try before was about to put in its place: where that is there, it is this job's.
    pub mark: Option<Mark>,
    /// Whether a person wants it made anew: what was made before that is none of it, wherever it lies.
    pub is_anew: bool,
}

/// What the mark of a result begins with that was made because a person wanted it anew.
const MADE_ANEW: &str = "anew:";

impl Placed {
    /// From the text that the queue has.
    #[must_use]
    pub fn read(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::default() };
        let anew = text.strip_prefix(MADE_ANEW);
        let mark = anew.unwrap_or(text).parse().ok();
        Self { mark, is_anew: text == ANEW || anew.is_some() }
    }

    /// The text of one that is about to be put there.
    #[must_use]
    pub fn text_of(self, mark: Mark) -> String {
        if self.is_anew { format!("{MADE_ANEW}{mark}") } else { mark.to_string() }
    }

    /// Whether that is the one that lies there.
    #[must_use]
    pub fn is_of(self, there: &Metadata) -> bool {
        self.mark.is_some_and(|mark| mark.is_of(there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_known_again_after_a_rename_and_another_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "result").unwrap();
        let mark = Mark::of(&at("a")).unwrap();
        fs::rename(at("a"), at("b")).unwrap();
        let is = |mark: Mark| mark.is_of(&fs::symlink_metadata(at("b")).unwrap());
        assert!(is(mark));
        assert_eq!(mark.to_string().parse(), Ok(mark));
        let later = |seconds| Mark { written: mark.written + seconds, ..mark };
        assert!(is(later(2)) && is(later(-2)));
        assert!(!is(later(3)) && !is(later(-3)));
        assert!(!is(Mark { size: mark.size + 1, ..mark }));
        for wrong in ["", "1", "1@", "x@1", "1@x"] {
            assert_eq!(wrong.parse::<Mark>(), Err(()), "{wrong}");
        }
        assert!(Mark::of(&at("none")).is_err());
    }

    #[test]
    fn what_is_wanted_anew_stays_so_until_it_is_done() {
        let mark: Mark = "1@2".parse().unwrap();
        let placed = |mark, is_anew| Placed { mark, is_anew };
        for (text, expected, then) in [
            (None, placed(None, false), "1@2"),
            (Some("3@4"), placed("3@4".parse().ok(), false), "1@2"),
            (Some(""), placed(None, true), "anew:1@2"),
            (Some("anew:3@4"), placed("3@4".parse().ok(), true), "anew:1@2"),
        ] {
            assert_eq!(Placed::read(text), expected, "{text:?}");
            assert_eq!(expected.text_of(mark), then, "{text:?}");
        }
    }
}
