//! Paths in what is stored: text where they are text, otherwise a list of bytes; no path is ever bent.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes(Vec<u8>),
}

/// Writes one.
///
/// # Errors
/// What the format says.
pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => text.serialize(to),
        None => path.as_os_str().as_bytes().serialize(to),
    }
}

/// Reads one.
///
/// # Errors
/// It is neither text nor a list of bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Ok(path(Stored::deserialize(from)?))
}

fn path(stored: Stored) -> PathBuf {
    match stored {
        Stored::Text(text) => PathBuf::from(text),
        Stored::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
    }
}

/// The same for a path that may not be there.
pub mod option {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Stored;

    /// Writes one, or `null`.
    ///
    /// # Errors
    /// What the format says.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => super::serialize(path, to),
            None => to.serialize_none(),
        }
    }

    /// Reads one, or `null`.
    ///
    /// # Errors
    /// It is neither text nor a list of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Stored>::deserialize(from)?.map(super::path))
    }
}
