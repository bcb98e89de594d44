//! Looking at the signs of life of others, once a round, and keeping what was seen for whoever waits for them. A file is
//! looked at by a child, and not at all where its storage is known not to be open; a URL within its own limit, by its server's
//! clock alone.

use std::path::{Path, PathBuf};
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
use crate::sys::clock::Now;
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
    let seen = look(settings, now, limit.min(LIMIT));
    let fresh = seen.iter().filter(|it| it.state == State::Fresh).map(|it| it.name.clone());
    let states = seen.iter().map(|it| (it.name.clone(), it.state)).collect();
    store::record(own, &Heartbeats { at: Some(now.stamp()), fresh: fresh.collect(), states })?;
    Ok(seen)
}

fn look(settings: &Settings, now: &Now, limit: Duration) -> Vec<Seen> {
    let all = &settings.heartbeat;
    let (open, watch) = (gate::open(&settings.host.run_dir), Watch::of(settings));
    // what is known to be closed is not touched
    let closed = |it: &Heartbeat| {
        let Source::Path(path) = &it.source else { return None };
        let need = watch.needs_of(&[path]).into_iter().find(|need| !open.contains(need));
        need.map(|need| Found::Unknown(format!("{need} is not open")))
    };
    let mut found: Vec<Option<Found>> = all.iter().map(closed).collect();
    std::thread::scope(|scope| {
        let mut servers = Vec::new();
        for (nth, it) in all.iter().enumerate() {
            if matches!(it.source, Source::Path(_)) {
                continue;
            }
            let ask = move || of_server(&it.source, &settings.bucket, limit);
            let thread = std::thread::Builder::new().name("heartbeat".to_owned());
            match thread.spawn_scoped(scope, ask) {
                Ok(asked) => servers.push((nth, asked)),
                Err(error) => {
                    found[nth] = Some(Found::Unknown(format!("start a thread for it: {error}")));
                }
            }
        }
        let path = |it: &Heartbeat| match &it.source {
            Source::Path(path) => Some(path.clone()),
            Source::Url(_) | Source::Object { .. } => None,
        };
        let files: Vec<(usize, PathBuf)> = all
            .iter()
            .enumerate()
            .filter(|(nth, _)| found[*nth].is_none())
            .filter_map(|(nth, it)| Some((nth, path(it)?)))
            .collect();
        let written = probe::files(files.iter().map(|(_, path)| path.as_path()), limit);
        for ((nth, _), written) in files.iter().zip(written) {
            found[*nth] = Some(match written {
                Written::At(at_ms) => Found::At { at_ms, now_ms: now.utc_ms },
                Written::Absent => Found::Absent,
                Written::Unknown(why) => Found::Unknown(why),
            });
        }
        for (nth, asked) in servers {
            let ended = || Found::Unknown("whoever asked ended without a word".to_owned());
            found[nth] = Some(asked.join().unwrap_or_else(|_| ended()));
        }
    });
    let none = || Found::Unknown("it was not looked at".to_owned());
    let seen = all.iter().zip(found).map(|(it, found)| seen(it, found.unwrap_or_else(none)));
    seen.collect()
}

fn seen(it: &Heartbeat, found: Found) -> Seen {
    let (state, age) = judge(&found, it.max_age);
    let why = match found {
        Found::Unknown(why) => Some(why),
        Found::At { .. } | Found::Absent => None,
    };
    Seen { name: it.name.clone(), state, age, why }
}

/// What a server says of it.
fn of_server(source: &Source, buckets: &[Bucket], limit: Duration) -> Found {
    let said = match source {
        Source::Url(url) => ask(url, limit),
        Source::Object { bucket, key } => object(buckets, bucket, key, limit),
        Source::Path(_) => Err("it is a file".to_owned()),
    };
    said.unwrap_or_else(Found::Unknown)
}

/// When an object was written, by the clock of its server alone.
fn object(all: &[Bucket], name: &str, key: &str, limit: Duration) -> Result<Found, String> {
    let short = |it: &Bucket| {
        let most = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
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
