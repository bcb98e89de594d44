//! Where a secret is, never the secret itself: in a file of its own, or what systemd gives a unit.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::{Checker, is_plain_name};
use super::tree::KeyPath;

/// Where credentials lie that `unwedge install` has units given.
pub const CREDENTIALS: &str = "/etc/credstore";

/// What a unit is given as a credential that is not there: systemd does not know an empty one.
pub const NONE: &str = "-";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secret {
    /// `…_file`: the one line of this file, which not everybody may read.
    File(PathBuf),
    /// `…_credential`: what systemd gives the unit under this name (`LoadCredential=`).
    Credential(String),
}

impl Secret {
    /// The name of the credential that it is.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Credential(name) => Some(name),
        }
    }
}

/// Makes one of `WHAT_file` and `WHAT_credential`, of which there must be one; `held` says what its line is.
pub(super) fn secret(
    check: &mut Checker<'_>,
    at: &KeyPath,
    (what, held): (&str, &str),
    file: Option<String>,
    credential: Option<String>,
) -> Secret {
    let (of_file, of_credential) = (format!("{what}_file"), format!("{what}_credential"));
    match (file, credential) {
        (Some(path), None) => {
            Secret::File(check.absolute(&at.key(&of_file), &path).unwrap_or_default())
        }
        (None, Some(name)) => {
            if !is_plain_name(&name) || name.starts_with('.') {
                let at = at.key(&of_credential);
                check.problem(&at, format!("{name:?} is no name of a credential"));
            }
            Secret::Credential(name)
        }
        (Some(_), Some(_)) => {
            let at = at.key(&of_credential);
            check.problem(&at, format!("{of_file} is set as well; give one of the two"));
            Secret::File(PathBuf::new())
        }
        (None, None) => {
            check.problem(
                &at.key(&of_file),
                format!("missing; give {of_file}, a file with {held} as its one line, or {of_credential}"),
            );
            Secret::File(PathBuf::new())
        }
    }
}
