//! What is wrong with a configuration, and where it was written. A load gathers every problem it can
//! find before it gives up, so that one edit mends them all; each problem prints as one line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::{KeyPath, Origin};

/// Most problems told at once; the rest would only scroll the first ones away.
pub const PROBLEMS_MAX: usize = 50;

/// One problem. Its `Display` is one line: lower case, no full stop, place first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be used at all: unreadable, not trusted, not text.
    #[error("{}: {problem}", printable(path))]
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// What is wrong, and what mends it.
        problem: String,
    },
    /// A place in a file that is not TOML, or a variable that cannot be read.
    #[error("{origin}: {problem}")]
    Place {
        /// File and line, or the variable.
        origin: Origin,
        /// What is wrong.
        problem: String,
    },
    /// A key, with what was found there and what is expected.
    #[error("{origin}: {key}: {problem}")]
    Key {
        /// Where the value was written.
        origin: Origin,
        /// The key, such as `[mounts] deadline`.
        key: KeyPath,
        /// What is wrong.
        problem: String,
    },
}

/// Every problem that was found, in the order they were found; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().take(PROBLEMS_MAX).enumerate() {
            if n > 0 {
                writeln!(out)?;
            }
            write!(out, "{problem}")?;
        }
        match self.0.len().checked_sub(PROBLEMS_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(out, "\nand {more} more; mend these first"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(problem: ConfigError) -> Self {
        Self(vec![problem])
    }
}

/// A path on one line: control characters escaped, everything else as it is.
pub(super) fn printable(path: &Path) -> String {
    one_line(&path.to_string_lossy())
}

/// Text on one line: control characters escaped, everything else as it is.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
    out
}

/// The candidate nearest to what was typed, if it is near enough to be a slip of the fingers.
pub(super) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near_enough = (typed.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|it| (strsim::osa_distance(typed, it), it))
        .filter(|(distance, it)| *distance <= near_enough && *distance < it.len())
        .min()
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(n: usize) -> ConfigError {
        ConfigError::File { path: PathBuf::from(format!("/f{n}")), problem: "bad".into() }
    }

    #[test]
    fn one_problem_is_one_line() {
        let all = ConfigErrors(vec![problem(1), problem(2)]);
        assert_eq!(all.to_string(), "/f1: bad\n/f2: bad");
    }

    #[test]
    fn a_flood_of_problems_is_cut_and_counted() {
        let some = |n| ConfigErrors((0..n).map(problem).collect()).to_string();
        assert!(!some(PROBLEMS_MAX).contains("more"));
        assert!(some(PROBLEMS_MAX + 1).ends_with("\nand 1 more; mend these first"));
    }

    #[test]
    fn a_path_with_a_line_break_stays_on_its_line() {
        assert_eq!(printable(Path::new("/a\nb")), "/a\\nb");
    }

    #[test]
    fn only_near_keys_are_offered() {
        let keys = ["timeout", "deadline"];
        assert_eq!(nearest("tiemout", keys), Some("timeout"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", ["a", "ab"]), None);
    }
}
