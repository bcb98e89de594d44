//! Whether what a command wrote is a result.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use regex::bytes::Regex;

/// So much of a result is looked at, bytes: what it must contain stands in it early, or is asked of a command.
const LOOKED_AT: u64 = 64 << 20;

/// Whether a file has something that matches.
///
/// # Errors
/// It cannot be read, or the pattern is none.
pub fn matches(file: &Path, pattern: &str) -> std::io::Result<bool> {
    let pattern = Regex::new(pattern).map_err(std::io::Error::other)?;
    let mut bytes = Vec::new();
    File::open(file)?.take(LOOKED_AT).read_to_end(&mut bytes)?;
    Ok(pattern.is_match(&bytes))
}
