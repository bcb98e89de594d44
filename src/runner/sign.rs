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
    let mut due = Duration::ZERO;
    let mut again = Backoff::new(EVERY / 4, EVERY * 2);
    let mut said = None;
    while let Ok(standing) = told.recv() {
        if boottime() < due {
            continue;
        }
        let done = put(settings, sign, &standing);
        // one that failed is given anew soon, and less often the longer that lasts
        due = boottime() + if done.is_ok() { EVERY } else { again.next_delay() };
        if done.is_ok() {
            again.reset();
        }
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
