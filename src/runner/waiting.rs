//! A result that is ready while the queue is away. It lies under the name of its try until the queue says whose the job is;
//! where it has to wait for that, a note beside it says what it was made of and by which type. So the next try, whatever
//! became of this one and its runner, puts it in its place without making it again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::away::Kept;
use super::order::{Order, Report};
use super::placed::Mark;
use crate::act::scratch;

/// What is to be known of it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    kept: Kept,
    /// The try that made it.
    nth: i64,
    /// Which result: no other one of that name.
    mark: Mark,
    bytes: Option<u64>,
}

/// Writes the note of a result, which is flushed and was accepted.
///
/// # Errors
/// There is none: it is made again.
pub fn note(order: &Order, mark: Mark, kept: Option<Kept>, report: &Report) -> Result<(), String> {
    let output = order.output.as_deref().ok_or("it has no place")?;
    let kept = kept.ok_or("what it was made of cannot be told")?.by(report.tier.clone());
    let text = Note { kept, nth: order.token.nth, mark, bytes: report.bytes };
    let text = serde_json::to_vec(&text).map_err(|error| error.to_string())?;
    let file = scratch::note_of(output, &order.mark, order.token.id);
    // a link that somebody has put there is not written through
    let _ = fs::remove_file(&file);
    let written = File::create_new(&file).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(|error| error.to_string())
}

/// Takes the note away.
pub fn forget(order: &Order) {
    if let Some(output) = &order.output {
        let _ = fs::remove_file(scratch::note_of(output, &order.mark, order.token.id));
    }
}

/// Takes up, under the name of this try, what a try before left waiting; what came of that one. What was made of something
/// else, or otherwise, is none.
#[must_use]
pub fn take(order: &Order, scratch: &Path, wanted: Option<&Kept>) -> Option<Report> {
    let output = order.output.as_deref()?;
    let text = fs::read(scratch::note_of(output, &order.mark, order.token.id)).ok()?;
    let told: Note = serde_json::from_slice(&text).ok()?;
    let made = scratch::of_try(output, &order.mark, order.token.id, told.nth);
    let is_that = fs::symlink_metadata(&made).is_ok_and(|there| told.mark.is_of(&there));
    if !is_that || wanted != Some(&told.kept.clone().by(None)) {
        return None;
    }
    fs::rename(&made, scratch).ok()?;
    Some(Report { tier: told.kept.tier, bytes: told.bytes, ..Report::default() })
}
