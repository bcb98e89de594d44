//! `unwedge incidents [ID]`: what happened, as a list, or one of them as a story.

use anyhow::{Context as _, Result};

use crate::config::Settings;
use crate::probes::incidents as probe;
use crate::report::incidents as report;
use crate::sys::clock::Now;
use crate::sys::text;

/// The list, newest first, or the story of the one with this id.
///
/// # Errors
/// There is no such incident, or it cannot be read.
pub fn tell(settings: &Settings, id: Option<&str>, json: bool, now: &Now) -> Result<String> {
    let dir = probe::directory(&settings.host.state_dir);
    let incidents = if let Some(id) = id {
        vec![probe::find(&dir, id)?]
    } else {
        let ids = probe::ids(&dir).with_context(|| text::path(&dir))?;
        // one may be closed between the list and its turn
        let read = |(id, _): &(String, bool)| probe::find(&dir, id);
        ids.iter().rev().map(read).collect::<std::io::Result<_>>()?
    };
    if json {
        return report::json(&incidents, now);
    }
    match (id, incidents.as_slice()) {
        (Some(_), [incident]) => Ok(report::story(incident, now)),
        (_, []) => Ok("no incident is known\n".to_owned()),
        (_, incidents) => Ok(incidents.iter().map(|it| report::line(it, now) + "\n").collect()),
    }
}
