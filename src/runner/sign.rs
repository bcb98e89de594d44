//! The runner's own sign of life, for whoever watches from elsewhere: a file or an object, once a minute. It comes from
//! what the supervise loop last told, so a loop that hangs gives none. A file may lie on storage that hangs, so a child
//! writes it; an object has the limits of its bucket.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use serde::Serialize;

use super::supervise::say;
use crate::act::store::{self, Durability};
use crate::config::Settings;
use crate::config::jobs::Sign;
use crate::probes::asked;
use crate::probes::{bucket, witness};
use crate::report::runner::Standing;
use crate::sys::backoff::Backoff;
use crate::sys::clock::{boottime, utc_now};

/// The word that makes this program such a child.
const WRITE: &str = "--write-sign";
/// How often it is given.
const EVERY: Duration = Duration::from_secs(60);
/// How long writing a file may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What is written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    schema: u32,
    state: &'a str,
    version: &'a str,
    host: &'a str,
    utc: &'a str,
    running: usize,
    done: u64,
    failed: u64,
    queue: bool,
}

/// Gives it, in a thread of its own, for as long as it is told how the runner stands.
#[must_use]
pub fn give(settings: &Settings) -> Option<Sender<Standing>> {
    let sign = settings.jobs.as_ref()?.sign.clone()?;
    let (send, told) = mpsc::channel();
    let own = settings.clone();
    let started = std::thread::Builder::new()
        .name("sign".to_owned())
        .spawn(move || follow(&own, &sign, &told));
    if let Err(error) = started {
        say(&format!("no sign of life is given: start a thread: {error}"));
    }
    Some(send)
}

fn follow(settings: &Settings, sign: &Sign, told: &Receiver<Standing>) {
    let mut next = Next::default();
    let mut said = None;
    while let Ok(standing) = told.recv() {
        if !next.is_due(boottime()) {
            continue;
        }
        let done = put(settings, sign, &standing);
        next.was_tried(done.is_ok(), boottime());
        let wrong = done.err();
        if said != wrong {
            match &wrong {
                Some(why) => say(&format!("its sign of life is not given: {why}")),
                None => say("its sign of life is given again"),
            }
            said = wrong;
        }
    }
}

/// When it is given next.
struct Next {
    due: Duration,
    again: Backoff,
}

impl Default for Next {
    fn default() -> Self {
        Self { due: Duration::ZERO, again: Backoff::new(EVERY / 4, EVERY * 2) }
    }
}

impl Next {
    fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// One that failed is given anew soon, and less often the longer that lasts.
    fn was_tried(&mut self, is_given: bool, now: Duration) {
        self.due = now + if is_given { EVERY } else { self.again.next_delay() };
        if is_given {
            self.again.reset();
        }
    }
}

fn put(settings: &Settings, sign: &Sign, standing: &Standing) -> Result<(), String> {
    let host = witness::host();
    let written = Written {
        schema: 1,
        state: standing.state,
        version: env!("CARGO_PKG_VERSION"),
        host: &host,
        utc: &utc_now(),
        running: standing.running,
        done: standing.done,
        failed: standing.failed,
        queue: standing.has_queue,
    };
    let text = serde_json::to_string(&written).map_err(|error| error.to_string())? + "\n";
    match sign {
        Sign::File(path) => {
            let path = PathBuf::from(path.display().to_string().replace("{host}", &host));
            asked::tell_alone(WRITE, &path, &text, LIMIT)
        }
        Sign::Object { bucket: name, key } => {
            let client = bucket::client(&settings.bucket, name)?;
            let key = key.replace("{host}", &host);
            client.write(&key, text.as_bytes()).map_err(|why| format!("s3://{name}/{key}: {why}"))
        }
    }
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_told(WRITE, args, |path, text| {
        store::replace(path, text.as_bytes(), Durability::Fleeting)
            .map_err(|error| format!("{error:#}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_at_once_and_then_once_a_minute_and_sooner_where_that_failed() {
        let at = Duration::from_millis;
        let mut next = Next::default();
        assert!(next.is_due(Duration::ZERO));
        next.was_tried(true, at(5_000));
        assert!(!next.is_due(at(64_999)) && next.is_due(at(65_000)));
        let waits: Vec<Duration> = (0..5)
            .map(|_| {
                next.was_tried(false, Duration::ZERO);
                next.due
            })
            .collect();
        assert_eq!(waits, [15, 30, 60, 120, 120].map(Duration::from_secs));
        next.was_tried(true, Duration::ZERO);
        assert_eq!(next.due, Duration::from_secs(60));
        next.was_tried(false, Duration::ZERO);
        assert_eq!(next.due, Duration::from_secs(15));
    }
}
