//! Taking files in, for a runner that stays: each intake in turn, as often as it wants, in a thread of its own. What goes
//! wrong is said once while it lasts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::supervise::say;
use crate::act::intake::{Comes, Memory, Passed, pass};
use crate::config::Settings;
use crate::config::intake::Intake;
use crate::queue::link::Link;
use crate::sys::clock::{boottime, pause};

/// How long a listing may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two passes while the queue is away.
const AGAIN: Duration = Duration::from_secs(5);

/// Goes on for as long as the program does.
pub fn follow(settings: &Settings) {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    let mut memories: BTreeMap<String, (Duration, Memory)> = BTreeMap::new();
    let Some(queue) = &settings.queue else { return };
    let mut link = Link::to(queue.clone());
    loop {
        let mut next = boottime() + Duration::from_secs(60);
        for intake in &settings.intake {
            let (due, memory) = memories.entry(intake.name.clone()).or_default();
            if *due <= boottime() {
                let done = pass(&mut link, settings, intake, Comes::Often, memory, LIMIT);
                *due =
                    boottime() + if done.is_err() { AGAIN.max(intake.every) } else { intake.every };
                tell(&mut said, intake, done);
            }
            next = next.min(*due);
        }
        pause(next.saturating_sub(boottime()).max(Duration::from_millis(10)));
    }
}

fn tell(said: &mut BTreeMap<String, String>, intake: &Intake, done: Result<Passed, String>) {
    match done {
        Ok(passed) => {
            match passed.trouble.len() {
                0 if said.remove(&intake.name).is_some() => {
                    say(&format!("intake {}: all is well again", intake.name));
                }
                0 => {}
                count => {
                    let first = passed.trouble.first().map_or("", String::as_str);
                    let more = if count > 1 {
                        format!(" (and {} more)", count - 1)
                    } else {
                        String::new()
                    };
                    complain(said, intake, format!("{first}{more}"));
                }
            }
            if passed.new + passed.deleted > 0 {
                say(&format!(
                    "intake {}: {} taken in, {} inputs deleted",
                    intake.name, passed.new, passed.deleted
                ));
            }
        }
        Err(why) => complain(said, intake, why),
    }
}

fn complain(said: &mut BTreeMap<String, String>, intake: &Intake, why: String) {
    if said.get(&intake.name) != Some(&why) {
        say(&format!("intake {}: {why}", intake.name));
        said.insert(intake.name.clone(), why);
    }
}
