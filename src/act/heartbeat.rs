//! Looking at the signs of life of others, once a round, and keeping what was seen for whoever waits for them. A file is
//! looked at by a child, and not at all where its storage is known not to be open; a URL within its own limit, by its server's
//! clock alone.

use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use super::store;
use crate::config::Settings;
use crate::config::bucket::Bucket;
use crate::config::heartbeat::{Heartbeat, Source};
use crate::decide::heartbeat::{Found, judge};
use crate::probes::bucket;
use crate::probes::gate::{self, Watch};
use crate::probes::heartbeat::{self as probe, State, Written};
use crate::probes::records::Heartbeats;
use crate::sys::clock::{Now, millis};
use crate::sys::http;
use crate::sys::s3::{Place, Trouble};

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);

/// One as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is called.
    pub name: String,
    /// What it was seen as.
    pub state: State,
    /// How old it was.
    pub age: Option<Duration>,
    /// Why nobody can tell.
    pub why: Option<String>,
}

/// Looks at all of them, side by side, and keeps what was seen in `own`.
///
/// # Errors
/// It is not kept: what needs one waits.
pub fn round(
    settings: &Settings,
    own: &Path,
    now: &Now,
    limit: Duration,
) -> anyhow::Result<Vec<Seen>> {
    let all = &settings.heartbeat;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let seen = look(settings, now, limit);
    let fresh = seen.iter().filter(|it| it.state == State::Fresh).map(|it| it.name.clone());
    let states = seen.iter().map(|it| (it.name.clone(), it.state)).collect();
    store::record(own, &Heartbeats { at: Some(now.stamp()), fresh: fresh.collect(), states })?;
    Ok(seen)
}

/// Looks at each in a thread of its own, so that none waits for another; nothing is kept.
#[must_use]
pub fn look(settings: &Settings, now: &Now, limit: Duration) -> Vec<Seen> {
    let limit = limit.min(LIMIT);
    let (open, watch) = (gate::open(&settings.host.run_dir), Watch::of(settings));
    std::thread::scope(|scope| {
        let begin = |it| {
            let thread = std::thread::Builder::new().name("heartbeat".to_owned());
            let (open, watch) = (&open, &watch);
            (it, thread.spawn_scoped(scope, move || find(it, settings, open, watch, now, limit)))
        };
        let begun: Vec<(&Heartbeat, _)> = settings.heartbeat.iter().map(begin).collect();
        let end = |(it, begun): (&Heartbeat, std::io::Result<ScopedJoinHandle<'_, _>>)| {
            let found = begun.map_err(|error| format!("start a thread for it: {error}"));
            let found = found.and_then(|thread| {
                let ended = |_| Err("whoever asked ended without a word".to_owned());
                thread.join().unwrap_or_else(ended)
            });
            seen(it, found.unwrap_or_else(Found::Unknown))
        };
        begun.into_iter().map(end).collect()
    })
}

/// What is found of one; what is known to be closed is not touched.
fn find(
    it: &Heartbeat,
    settings: &Settings,
    open: &[String],
    watch: &Watch,
    now: &Now,
    limit: Duration,
) -> Result<Found, String> {
    match &it.source {
        Source::Url(url) => ask(url, limit),
        Source::Object { bucket, key } => object(&settings.bucket, bucket, key, limit),
        Source::Path(path) => {
            if let Some(need) = watch.needs_of(&[path]).iter().find(|need| !open.contains(need)) {
                return Err(format!("{need} is not open"));
            }
            match probe::file(path, limit) {
                Written::At(at_ms) => Ok(Found::At { at_ms, now_ms: now.utc_ms }),
                Written::Absent => Ok(Found::Absent),
                Written::Unknown(why) => Err(why),
            }
        }
    }
}

fn seen(it: &Heartbeat, found: Found) -> Seen {
    let (state, age) = judge(&found, it.max_age);
    let why = match found {
        Found::Unknown(why) => Some(why),
        Found::At { .. } | Found::Absent => None,
    };
    Seen { name: it.name.clone(), state, age, why }
}

/// When an object was written, by the clock of its server alone.
fn object(all: &[Bucket], name: &str, key: &str, limit: Duration) -> Result<Found, String> {
    let short = |it: &Bucket| {
        let most = millis(limit);
        let place = Place { timeout_ms: it.place.timeout_ms.min(most), ..it.place.clone() };
        Bucket { place, ..it.clone() }
    };
    let all: Vec<Bucket> = all.iter().filter(|it| it.name == name).map(short).collect();
    match bucket::client(&all, name)?.head(key) {
        Ok(head) => {
            let of = |time: Option<u64>, what| time.ok_or(format!("no {what} in the answer"));
            Ok(Found::At {
                at_ms: of(head.written_ms, "last-modified")?,
                now_ms: of(head.now_ms, "date")?,
            })
        }
        Err(Trouble::Absent) => Ok(Found::Absent),
        Err(why) => Err(why.to_string()),
    }
}

fn ask(url: &str, limit: Duration) -> Result<Found, String> {
    let agent = http::agent(url, None, limit)?;
    let answer = agent.head(url).call().map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200 => {}
        404 | 410 => return Ok(Found::Absent),
        other => return Err(format!("status {other}")),
    }
    let time = |name: &str| {
        let said = answer.headers().get(name).and_then(|it| it.to_str().ok());
        let said = said.ok_or_else(|| format!("no {name} in the answer"))?;
        http::date(said).ok_or_else(|| format!("{name} is no time: {said:?}"))
    };
    Ok(Found::At { at_ms: time("last-modified")?, now_ms: time("date")? })
}
