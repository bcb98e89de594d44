//! What a verb says that has no better form for a program: whether it could, and the lines that a person reads. Where it could
//! not, that is all that any verb says.

use anyhow::Result;
use serde::Serialize;

use super::out;
use super::round::Mode;
use crate::manifest::OPERATOR;
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
    Ok(super::json::told(&object(text, code, mode), now)?)
}

fn object(text: &str, code: u8, mode: Option<Mode>) -> Object<'_> {
    Object { mode: mode.map(Mode::name), code, said: text.lines().collect() }
}

/// Tells a program, which reads standard output alone, that a verb could not, and why.
pub fn failed(why: &str, code: u8) {
    failed_as(OPERATOR, why, code);
}

/// The same of a program of that name, unless it has printed something by then: what it found stands for it.
pub fn failed_as(tool: &str, why: &str, code: u8) {
    if out::has_printed() {
        return;
    }
    let told = |now| Ok(super::json::told_by(tool, &object(why, code, None), &now)?);
    let object: Result<String> = Now::take().map_err(Into::into).and_then(told);
    // a person reads it on standard error, and there is nowhere else to say that this failed
    let _ = object.map(|object| out::print(&object));
}
