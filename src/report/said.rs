//! What a verb says that has no better form for a program: whether it could, and the lines that a person reads.

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use super::round::Mode;
use crate::manifest::OPERATOR;
use crate::sys::clock::Now;

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    /// Whether something was done, of what may change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    code: u8,
    said: Vec<&'a str>,
}

/// That.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(text: &str, code: u8, mode: Option<Mode>, now: &Now) -> Result<String> {
    let said = text.lines().collect();
    let mode = mode.map(Mode::name);
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), mode, code, said })? + "\n")
}
