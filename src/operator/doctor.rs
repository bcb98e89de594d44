//! `unwedge doctor`: the same checks for a person in trouble, worst first, and of a cause and its consequences the
//! cause. It only looks.

use anyhow::Result;

use super::install;
use crate::checks::{self, Grade};
use crate::config::{ConfigErrors, Loaded, Settings};
use crate::report::checks::{self as report, Shown};
use crate::report::out;
use crate::sys::clock::Now;

/// Looks, and says how bad it is.
///
/// # Errors
/// It cannot be told.
pub fn doctor(
    loaded: std::result::Result<&Loaded, &ConfigErrors>,
    json: bool,
    now: &Now,
) -> Result<Grade> {
    let usual = Settings::default();
    let settings = loaded.map_or(&usual, |loaded| &loaded.settings);
    let (prefix, tools) = install::place(settings, now)?;
    let config = loaded.map_err(ToString::to_string);
    let host = checks::Host::new(settings, config, &prefix, &tools, now);
    let rows = checks::run(&host, |_| true);
    out::print(&if json {
        report::json("doctor", &rows, &[], now)?
    } else {
        report::text(&rows, Shown::WorstFirst)
    })?;
    Ok(checks::worst(&rows))
}
