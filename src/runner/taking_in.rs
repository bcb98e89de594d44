//! Taking files in, for a runner that stays: a thread for each intake, so that one that hangs or is away keeps no other
//! back. What goes wrong is said once while it lasts.

use std::time::Duration;

use super::supervise::say;
use crate::act::intake::{Comes, Memory, Passed, pass};
use crate::config::Settings;
use crate::config::intake::Intake;
use crate::queue::link::Link;
use crate::sys::backoff::Backoff;
use crate::sys::clock::pause;

/// How long a pass may take. A bucket tells a thousand keys at a time, each page within a limit of its own; who waits is this
/// thread alone.
const LIMIT: Duration = Duration::from_secs(600);

/// Follows each of them for as long as the program goes on.
pub fn follow(settings: &Settings) {
    for intake in settings.intake.clone() {
        let own = settings.clone();
        let started = std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || follow_one(&own, &intake));
        if let Err(error) = started {
            say(&format!("an intake is not looked at: start a thread: {error}"));
        }
    }
}

fn follow_one(settings: &Settings, intake: &Intake) {
    let Some(queue) = &settings.queue else { return };
    let (mut link, mut memory) = (Link::to(queue.clone()), Memory::default());
    // the queue or a bucket may be away
    let (mut said, mut again) =
        (None, Backoff::new(queue.terms.reconnect.first, queue.terms.reconnect.most));
    loop {
        let done = pass(&mut link, settings, intake, Comes::Often, &mut memory, LIMIT);
        let wait = match &done {
            Ok(passed) => {
                again.reset();
                passed.again_after(intake)
            }
            Err(_) => again.next_delay().max(intake.every),
        };
        tell(&mut said, &intake.name, done);
        pause(wait);
    }
}

/// Says what is new.
fn tell(said: &mut Option<String>, name: &str, done: Result<Passed, String>) {
    let wrong = match done {
        Ok(passed) => {
            if passed.new + passed.deleted > 0 {
                let Passed { new, deleted, .. } = passed;
                say(&format!("intake {name}: {new} taken in, {deleted} inputs deleted"));
            }
            let more = passed.trouble.len().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            passed.trouble.first().map(|first| format!("{first}{more}"))
        }
        Err(why) => Some(why),
    };
    if *said == wrong {
        return;
    }
    match &wrong {
        Some(why) => say(&format!("intake {name}: {why}")),
        None => say(&format!("intake {name}: all is well again")),
    }
    *said = wrong;
}
