//! What was installed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::sys::clock::Stamp;
use crate::sys::path_text;

/// What was installed, so that a later version knows what it may replace and take away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// By which version.
    pub version: String,
    /// Below what.
    #[serde(with = "path_text")]
    pub prefix: PathBuf,
    /// Where the tools write metrics.
    #[serde(with = "path_text")]
    pub textfile_dir: PathBuf,
    /// The tools.
    pub tools: Vec<String>,
    /// The files.
    pub files: Vec<InstalledFile>,
}

impl Record for Installed {
    const NAME: &'static str = "installed";

    fn stamps(&self) -> Vec<&Stamp> {
        Vec::new()
    }
}

/// One file that was put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Where.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// SHA-256 of what was put there, hexadecimal.
    pub sha256: String,
}
