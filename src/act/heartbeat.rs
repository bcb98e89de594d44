//! Looking at the signs of life of others, once a round, and keeping what was seen for whoever waits for them. A file is
//! looked at by a child; a URL within its own limit, by its server's clock alone.

use std::path::Path;
use std::time::Duration;

use super::store;
use crate::config::bucket::Bucket;
use crate::config::heartbeat::{Heartbeat, Source};
use crate::decide::heartbeat::{Found, judge};
use crate::probes::bucket;
use crate::probes::heartbeat::{self as probe, State, Written};
use crate::probes::records::Heartbeats;
use crate::sys::clock::{Deadline, Now};
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

/// Looks at all of them, within `limit`, and keeps what was seen in `own`.
///
/// # Errors
/// It is not kept: what needs one waits.
pub fn round(
    all: &[Heartbeat],
    buckets: &[Bucket],
    own: &Path,
    now: &Now,
    limit: Duration,
) -> anyhow::Result<Vec<Seen>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let deadline = Deadline::after(limit);
    let seen: Vec<Seen> =
        all.iter().map(|it| look(it, buckets, now, deadline.left().min(LIMIT))).collect();
    let fresh = seen.iter().filter(|it| it.state == State::Fresh).map(|it| it.name.clone());
    let states = seen.iter().map(|it| (it.name.clone(), it.state)).collect();
    store::record(own, &Heartbeats { at: Some(now.stamp()), fresh: fresh.collect(), states })?;
    Ok(seen)
}

fn look(it: &Heartbeat, buckets: &[Bucket], now: &Now, limit: Duration) -> Seen {
    let found = match &it.source {
        _ if limit.is_zero() => Found::Unknown("there was no time left for it".to_owned()),
        Source::Path(path) => match probe::file(path, limit) {
            Written::At(at_ms) => Found::At { at_ms, now_ms: now.utc_ms },
            Written::Absent => Found::Absent,
            Written::Unknown(why) => Found::Unknown(why),
        },
        Source::Url(url) => ask(url, limit).unwrap_or_else(Found::Unknown),
        Source::Object { bucket, key } => {
            object(buckets, bucket, key, limit).unwrap_or_else(Found::Unknown)
        }
    };
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
