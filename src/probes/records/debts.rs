//! What is owed: whoever takes something away writes down first that it is to be put back.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Record;
use crate::sys::clock::Stamp;
use crate::sys::{path_text, text};

/// What every acting tool owes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debts {
    /// In the order they were made.
    pub debts: Vec<Debt>,
}

impl Debts {
    /// The debt of the worker of this name.
    #[must_use]
    pub fn of_worker(&self, name: &str) -> Option<&Debt> {
        self.debts.iter().find(|debt| debt.is_of_worker(name))
    }
}

impl Record for Debts {
    const NAME: &'static str = "debts";

    fn stamps(&self) -> Vec<&Stamp> {
        self.debts.iter().map(Debt::since).collect()
    }
}

/// A promise to put something back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Debt {
    /// Mount this again.
    Mount {
        /// Where.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Since when it is owed.
        since: Stamp,
        /// Why.
        why: String,
    },
    /// Bind this again, as the table has it.
    Bind {
        /// The hot path.
        #[serde(with = "path_text")]
        path: PathBuf,
        /// Since when it is owed.
        since: Stamp,
        /// Why.
        why: String,
    },
    /// Start the worker again.
    Worker {
        /// Its name.
        unit: String,
        /// Whether it was enabled then: if it is disabled by now, a person did that since, and wants it down.
        #[serde(default)]
        was_enabled: bool,
        /// Since when it is owed: from before it was stopped.
        since: Stamp,
        /// Why.
        why: String,
    },
}

impl Debt {
    /// The kinds, as metrics and lists name them.
    pub const KINDS: [&str; 3] = ["mount", "bind", "worker"];

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mount { .. } => "mount",
            Self::Bind { .. } => "bind",
            Self::Worker { .. } => "worker",
        }
    }

    /// The path that is owed; a worker has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Mount { path, .. } | Self::Bind { path, .. } => Some(path),
            Self::Worker { .. } => None,
        }
    }

    /// Whether the worker of this name is owed.
    #[must_use]
    pub fn is_of_worker(&self, name: &str) -> bool {
        match self {
            Self::Worker { unit, .. } => unit == name,
            Self::Mount { .. } | Self::Bind { .. } => false,
        }
    }

    /// Whether it is of the same thing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match self {
            Self::Mount { .. } | Self::Bind { .. } => self.path() == other.path(),
            Self::Worker { unit, .. } => other.is_of_worker(unit),
        }
    }

    /// Whether what is owed is at this very path.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path() == Some(path)
    }

    /// What is owed: the path, or the worker's name.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Mount { path, .. } | Self::Bind { path, .. } => text::path(path),
            Self::Worker { unit, .. } => unit.clone(),
        }
    }

    /// Why it is owed.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Mount { why, .. } | Self::Bind { why, .. } | Self::Worker { why, .. } => why,
        }
    }

    /// Since when it is owed.
    #[must_use]
    pub fn since(&self) -> &Stamp {
        match self {
            Self::Mount { since, .. } | Self::Bind { since, .. } | Self::Worker { since, .. } => {
                since
            }
        }
    }
}
