//! Waiting until a path is live: the right mount, answering, or the limit. An empty directory where
//! a mount should be is not success, and neither is another source.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::config::{MountSpec, Services, Settings};
use crate::probes::mounts;
use crate::probes::units::{self, Active, UnitLook};
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::sys::backoff::Backoff;
use crate::sys::clock::{Deadline, pause};
use crate::sys::text;

/// The first pause between two looks; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// No longer than this between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The unit is asked after every so many looks: a failed one need not be waited for.
const LOOKS_PER_UNIT: u32 = 4;
/// How long a queue is waited for that does not answer: at boot its database may come up beside us.
const QUEUE_WAIT: Duration = Duration::from_secs(30);
/// How long systemctl may take to say how the unit is.
const UNIT_LIMIT: Duration = Duration::from_secs(5);

/// Waits for `path` until `deadline`; a mount of another type than `fstype` is not it.
///
/// # Errors
/// What it was last seen as.
pub fn live(
    settings: &Settings,
    path: &Path,
    fstype: Option<&str>,
    deadline: Deadline,
) -> Result<String, String> {
    let spec = settings.mount.iter().find(|spec| spec.path == path);
    let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    let mut looks = 0;
    loop {
        let last = match mounts::look_at(settings, path) {
            Ok(seen) if seen.verdict == Verdict::Live => {
                let found = seen.top().map_or("", |top| top.fstype.as_str());
                let source = seen.top().map_or(String::new(), |top| text::name(&top.source));
                match fstype {
                    Some(fstype) if found != fstype => format!("it is {found}, and was {fstype}"),
                    Some(_) | None => return Ok(format!("{found} from {source}")),
                }
            }
            Ok(seen) => format!("{}: {}", seen.verdict, seen.why),
            Err(error) => error.to_string(),
        };
        looks += 1;
        if looks % LOOKS_PER_UNIT == 0
            && let Some(why) = spec.and_then(|spec| failed_unit(settings, spec))
        {
            return Err(format!("{last}; {why}"));
        }
        let wait = pauses.next_delay();
        if deadline.left() <= wait {
            return Err(format!("not live in time: {last}"));
        }
        pause(wait);
    }
}

/// Waits until the base of each bind is live, each as long as its `wait`, all of them until half of what
/// is left of the deadline. What is not live by then will be seen.
pub fn bases_live(settings: &Settings, deadline: Deadline) {
    let half = deadline.within(deadline.left() / 2);
    let bases: BTreeSet<&Path> = settings.bind.iter().map(|bind| bind.base.as_path()).collect();
    for base in bases {
        let spec = settings.mount.iter().find(|spec| spec.path == base);
        let limit = spec.map_or(Duration::ZERO, |spec| spec.wait);
        let _ = live(settings, base, None, half.within(limit));
    }
}

/// What the queue holds. Where binds come from it, it is asked again until it answers: the last question begins
/// within [`QUEUE_WAIT`] and a quarter of what is left of the deadline.
#[must_use]
pub fn queue_known(settings: &Settings, deadline: Deadline) -> Work {
    let until = deadline.within(QUEUE_WAIT.min(deadline.left() / 4));
    loop {
        let work = Work::look(settings);
        let is_awaited = settings.binds.jobs.is_some() && matches!(work, Work::Unknown(_));
        if !is_awaited || until.left() <= PAUSE_MAX {
            return work;
        }
        pause(PAUSE_MAX);
    }
}

/// Says so when the unit has failed and will not come up by itself.
fn failed_unit(settings: &Settings, spec: &MountSpec) -> Option<String> {
    let unit = match settings.host.services {
        Services::Systemd => spec.unit.clone()?,
        Services::Process => return None,
    };
    let host = &settings.host;
    let names = [unit.clone()];
    match units::read(&host.systemctl, &host.journalctl, &names, UNIT_LIMIT).remove(&unit)? {
        UnitLook::Seen(seen) if seen.active == Active::Failed => {
            Some(format!("{unit} failed ({})", seen.result))
        }
        UnitLook::Seen(_) | UnitLook::Unknown(_) => None,
    }
}
