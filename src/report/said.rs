//! What a verb says that has no better form for a program: whether it could, and the lines that a person reads. Where it could
//! not, that is all that any verb says.

use anyhow::Result;
use serde::Serialize;

use super::out;
use super::round::Mode;
use crate::sys::clock::Now;

#[derive(Serialize)]
struct Object<'a> {
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
    Ok(super::json::told(&Object { mode, code, said }, now)?)
}

/// Tells a program, which reads standard output alone, that a verb could not, and why.
pub fn failed(why: &str, code: u8) {
    let object = Now::take().map_err(Into::into).and_then(|now| json(why, code, None, &now));
    // a person reads it on standard error, and there is nowhere else to say that this failed
    let _ = object.map(|object| out::print(&object));
}
