//! What is asked again right before each step: a person may have changed their mind in the middle of a round.

use super::outcome::Ended;
use crate::config::Settings;
use crate::config::sentinel::{self, Halt, Kind, Permission};
use crate::decide::plan::Reason;
use crate::probes::records::{self, Holds};
use crate::sys::clock::{Deadline, Now};

/// The sentinel, HALT and pauses, read again right before each step; and whether there is time left.
pub(super) fn still_permitted(
    settings: &Settings,
    kind: Kind,
    deadline: Deadline,
) -> Result<(), Ended> {
    let armed = match sentinel::permission(&settings.host.sentinel_dir, kind) {
        Permission::Armed => Ok(()),
        Permission::NotArmed => Err("its sentinel is not there".to_owned()),
        Permission::Invalid(why) | Permission::Unknown(why) => Err(why),
    };
    let armed = armed.map_err(|why| Ended::Refused(Reason::NotArmed, why));
    not_forbidden(settings, kind, deadline).and(armed)
}

/// HALT and pauses alone: what is owed needs no sentinel, and what a person does by hand needs none.
///
/// # Errors
/// What forbids it.
pub fn not_forbidden(settings: &Settings, kind: Kind, deadline: Deadline) -> Result<(), Ended> {
    match sentinel::halt(&settings.host.sentinel_dir) {
        Halt::Clear => {}
        Halt::Set(why) | Halt::Unknown(why) => return Err(Ended::Refused(Reason::Halted, why)),
    }
    if let Some(why) = paused(settings, kind) {
        return Err(Ended::Refused(Reason::OnHold, why));
    }
    if deadline.passed() {
        return Err(Ended::Failed("the round's deadline has come".to_owned()));
    }
    Ok(())
}

/// A pause that a person has set meanwhile; one that cannot be read counts as set.
fn paused(settings: &Settings, kind: Kind) -> Option<String> {
    let holds = Now::take().map_err(|error| error.to_string()).and_then(|now| {
        let holds: Result<Holds, _> = records::read(&settings.host.state_dir, &now);
        holds.map(|holds| (holds, now)).map_err(|error| error.to_string())
    });
    match holds {
        Ok((holds, now)) => {
            let hold = holds.holds.get(kind.name()).filter(|hold| hold.left(&now).is_some());
            hold.map(|hold| hold.because.clone())
        }
        Err(why) => Some(why),
    }
}
