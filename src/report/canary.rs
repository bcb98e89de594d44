//! What `unwedge-canary` tells: a line for a person, the journal's line, and one metric.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::exit::Exit;
use super::journal;
use super::metrics::{self, Common, Families, flag};
use crate::config::Settings;
use crate::manifest::CANARY;
use crate::probes::canary::Sung;
use crate::sys::clock::Now;

/// How the run should end: a probe that nothing is known of is no better than one that is wrong.
#[must_use]
pub fn exit(sung: &Result<Sung>) -> Exit {
    if sung.as_ref().is_ok_and(Sung::is_true) { Exit::Fine } else { Exit::Failed }
}

/// One line.
#[must_use]
pub fn line(sung: &Result<Sung>) -> String {
    match sung {
        Ok(sung) if sung.is_true() => {
            "the probe calls a dead mount dead and a live one live".to_owned()
        }
        Ok(Sung { dead, live }) => format!(
            "the probe calls a dead mount {dead} and a live one {live}: no verdict of it can be trusted"
        ),
        Err(error) => format!("the probe could not be tried: {error:#}"),
    }
}

/// Writes the metrics and the journal's line.
///
/// # Errors
/// They could not be written.
pub fn write(settings: &Settings, sung: &Result<Sung>, now: &Now, took: Duration) -> Result<()> {
    journal::tell(CANARY.name, "", took, exit(sung), &line(sung));
    let mut families = Families::default();
    let common =
        Common { tool: CANARY.name, now, armed: true, exit: exit(sung), took, holds: Vec::new() };
    families.set_common(&common).context("render metrics")?;
    families
        .set("unwedge_canary_ok", &[], flag(exit(sung) == Exit::Fine))
        .context("render metrics")?;
    let text = families.encode().context("render metrics")?;
    metrics::put(settings, &CANARY.metrics_file(), &text, now)
}
