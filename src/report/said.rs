//! What a verb says that has no better form for a program: whether it could, and the lines that a person reads.

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::manifest::OPERATOR;
use crate::sys::clock::Now;

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    code: u8,
    said: Vec<&'a str>,
}

/// That.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(text: &str, code: u8, now: &Now) -> Result<String> {
    let said = text.lines().collect();
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), code, said })? + "\n")
}
