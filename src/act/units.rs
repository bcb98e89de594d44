//! Starting and restarting units: `systemctl --no-block`, never waited for in systemctl itself,
//! because a start of a unit that is still going down waits for as long as that takes.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::sys::command;

/// How long systemctl may take to hand over a job: 6 ms on a healthy host (measured); PID 1 may be
/// busy.
const HAND_OVER: Duration = Duration::from_secs(10);

/// Asks for a job.
///
/// # Errors
/// What systemctl said, or that it did not end.
pub fn ask(systemctl: &Path, verb: &str, unit: &str) -> Result<(), String> {
    let words = ["--no-pager", "--no-ask-password", "--no-block", verb, "--", unit];
    let mut argv: Vec<OsString> = vec![systemctl.into()];
    argv.extend(words.iter().map(OsString::from));
    match command::run(&argv, HAND_OVER) {
        Ok(done) if done.ok() => Ok(()),
        Ok(done) => Err(format!("systemctl {verb} {unit}: {}", done.describe())),
        Err(failure) => Err(failure.to_string()),
    }
}
