//! unwedge keeps job workers running on hosts whose data sits on storage that goes bad: it sees
//! broken mounts, repairs exactly those, and says what it did.
//!
//! Every tool does one round: look, decide, act, report. The modules stand in that order, and each
//! uses only what stands left of it:
//!
//! ```text
//! sys, libraries <- config <- manifest <- probes <- decide <- queue <- act <- checks <- report <- runner <- operator, kit <- src/bin
//! ```

pub mod act;
pub mod checks;
pub mod cli;
pub mod config;
pub mod decide;
pub mod kit;
pub mod libraries;
pub mod manifest;
pub mod operator;
pub mod probes;
pub mod queue;
pub mod report;
pub mod runner;
pub mod sys;

/// How many random worlds a property test walks through: `UNWEDGE_WORLDS` if that is set, else
/// `default`. For tests of this crate.
#[doc(hidden)]
#[must_use]
pub fn worlds(default: u32) -> u32 {
    std::env::var("UNWEDGE_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
