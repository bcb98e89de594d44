//! Saying what was seen, decided and done: as text for a person, as JSON for a program, as metrics
//! for `node_exporter`, as one line for the journal. All four tell the same with the same words.

pub mod exit;
pub mod journal;
pub mod json;
pub mod metrics;
pub mod out;
pub mod round;
pub mod text;
