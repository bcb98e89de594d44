//! The one deed of `unwedge-watch`: it starts a round, when [`Starts`] says so, and nothing else.

use std::path::Path;
use std::time::Duration;

use super::units as jobs;
use crate::decide::watch::{Round, STARTS_MAX, Starts, Step};
use crate::probes::units::{self, Active};
use crate::sys::clock::boottime;

/// What it starts.
const UNIT: &str = "unwedge-mounts.service";
/// How long systemctl may take to say whether a round runs.
/// With the time for a start and half of the unit's `WatchdogSec=` it must stay below that.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// What was done, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing: there was nothing to do, or not yet.
    Nothing,
    /// A round was started.
    Started(String),
    /// It could not be started; it is tried again.
    Failed(String),
    /// It was left to the timer.
    Left(String),
}

/// Does what is to be done now.
pub fn step(starts: &mut Starts, systemctl: &Path) -> Done {
    let step = match starts.next(boottime()) {
        Step::Ask => {
            let round = match units::active(systemctl, UNIT, ASK_LIMIT) {
                Ok(Active::Activating) => Round::Running,
                // a start while it goes down waits for that
                Ok(Active::Deactivating | Active::Inactive | Active::Failed) => Round::Over,
                // a oneshot is never up, unless a drop-in says so, and then a start does nothing
                Ok(Active::Active | Active::Other) | Err(_) => Round::Unknown,
            };
            starts.answer(boottime(), round)
        }
        step @ (Step::Rest | Step::LeaveToTimers | Step::Start(_)) => step,
    };
    match step {
        Step::Rest | Step::Ask => Done::Nothing,
        Step::LeaveToTimers => {
            Done::Left(format!("{STARTS_MAX} starts are enough for now; the rest is the timer's"))
        }
        Step::Start(why) => match jobs::ask(systemctl, "start", UNIT) {
            Ok(()) => Done::Started(format!("{why}: starts {UNIT}")),
            Err(error) => {
                starts.event(boottime(), why);
                Done::Failed(format!("{error}; tried again"))
            }
        },
    }
}
