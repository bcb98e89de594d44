//! Starting and restarting units: `systemctl --no-block`, never waited for in systemctl itself,
//! because a start of a unit that is still going down waits for as long as that takes.

use std::path::Path;
use std::time::Duration;

use crate::probes::{services, systemctl};
use crate::sys::clock::{Deadline, pause};

/// How long systemctl may take to hand over a job: 6 ms on a healthy host (measured); PID 1 may be
/// busy.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Between two looks at a unit that comes up.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So often a unit must look failed: what is about to be started may still look as it did.
const FAILED_LOOKS: u32 = 10;

/// How a unit is that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// It is active.
    Active,
    /// It failed.
    Failed,
    /// It is so, and was not active in time.
    Not(String),
}

/// Waits until a unit is up, or has failed.
///
/// # Errors
/// The service manager does not say how it is.
pub fn come_up(systemctl: &Path, unit: &str, limit: Duration) -> Result<Up, String> {
    let (deadline, names) = (Deadline::after(limit), [unit.to_owned()]);
    let mut failed = 0;
    loop {
        let shown = services::show(systemctl, &names, HAND_OVER)?;
        match shown.get(unit).map_or("", |unit| unit.get("ActiveState")) {
            "active" => return Ok(Up::Active),
            "failed" if failed == FAILED_LOOKS => return Ok(Up::Failed),
            "failed" => failed += 1,
            state if deadline.passed() => return Ok(Up::Not(state.to_owned())),
            _ => failed = 0,
        }
        pause(LOOK_EVERY);
    }
}

/// Asks for a job.
///
/// # Errors
/// What systemctl said, or that it did not end.
pub fn ask(systemctl: &Path, verb: &str, unit: &str) -> Result<(), String> {
    let words = ["--no-block", verb, "--", unit];
    systemctl::ask(systemctl, &words, &format!("{verb} {unit}"), HAND_OVER).map(drop)
}
