//! Saying what was seen, decided and done: as text for a person, as JSON for a program, as metrics
//! for `node_exporter`, as one line for the journal. All four tell the same with the same words.

pub mod canary;
pub mod checks;
pub mod exit;
pub mod incidents;
pub mod install;
pub mod jobs;
pub mod journal;
pub mod json;
pub mod lanes;
pub mod messages;
pub mod metrics;
pub mod out;
pub mod program;
pub mod queue;
pub mod queue_about;
pub mod round;
pub mod runner;
pub mod said;
pub mod smoke;
pub mod status;
pub mod submit;
mod tended;
pub mod text;
pub mod watch;
pub mod worked;
pub mod worker;
pub mod workers;

use anyhow::Result;

use out::Colour;
use round::Round;
use text::Detail;

/// Tells a round on standard output: JSON where it was asked for, text for a person. The journal has
/// its one line and gets no table as well.
///
/// # Errors
/// It could not be written.
pub fn say(round: &Round<'_>, json: bool, detail: Detail) -> Result<()> {
    if json {
        out::print(&json::render(round)?)?;
    } else if !journal::is_ours() {
        out::print(&text::render(round, Colour::of_stdout(), detail))?;
    }
    Ok(())
}
