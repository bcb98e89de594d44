//! What came of files that were worked through, for a program.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use crate::decide::attempts::State;
use crate::manifest::OPERATOR;
use crate::queue::store::Standing;
use crate::sys::clock::Now;

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    done: usize,
    not: Vec<NotDone<'a>>,
}

#[derive(Serialize)]
struct NotDone<'a> {
    input: &'a str,
    state: &'static str,
    class: Option<&'a str>,
    message: Option<&'a str>,
}

/// How many are done, and each that is not with its reason; `names` are the inputs.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(stand: &[Standing], names: &BTreeMap<i64, &str>, now: &Now) -> Result<String> {
    let not = stand.iter().filter(|it| it.state != State::Done).map(|it| NotDone {
        input: names.get(&it.id).copied().unwrap_or_default(),
        state: it.state.name(),
        class: it.class.as_deref(),
        message: it.message.as_deref(),
    });
    let not: Vec<NotDone<'_>> = not.collect();
    let object = Object { head: Head::of(OPERATOR, now), done: stand.len() - not.len(), not };
    Ok(serde_json::to_string(&object)? + "\n")
}
