//! Looking at the signs of life of others, once a round, and keeping what was seen for whoever waits for them. A file is
//! looked at by a child; a URL within its own limit, by its server's clock alone.

use std::path::Path;
use std::time::Duration;

use super::{deliver, store};
use crate::config::heartbeat::{Heartbeat, Source};
use crate::decide::heartbeat::{Found, State, judge};
use crate::probes::heartbeat::{self as probe, Written};
use crate::probes::records::Heartbeats;
use crate::sys::clock::{Deadline, Now};

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
    own: &Path,
    now: &Now,
    limit: Duration,
) -> anyhow::Result<Vec<Seen>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let deadline = Deadline::after(limit);
    let seen: Vec<Seen> = all.iter().map(|it| look(it, now, deadline.left().min(LIMIT))).collect();
    let fresh = seen.iter().filter(|it| it.state == State::Fresh).map(|it| it.name.clone());
    store::record(own, &Heartbeats { at: Some(now.stamp()), fresh: fresh.collect() })?;
    Ok(seen)
}

fn look(it: &Heartbeat, now: &Now, limit: Duration) -> Seen {
    let found = match &it.source {
        _ if limit.is_zero() => Found::Unknown("there was no time left for it".to_owned()),
        Source::Path(path) => match probe::file(path, limit) {
            Written::At(at_ms) => Found::At { at_ms, now_ms: now.utc_ms },
            Written::Absent => Found::Absent,
            Written::Unknown(why) => Found::Unknown(why),
        },
        Source::Url(url) => ask(url, limit).unwrap_or_else(Found::Unknown),
    };
    let (state, age) = judge(&found, it.max_age);
    let why = match found {
        Found::Unknown(why) => Some(why),
        Found::At { .. } | Found::Absent => None,
    };
    Seen { name: it.name.clone(), state, age, why }
}

fn ask(url: &str, limit: Duration) -> Result<Found, String> {
    let agent = deliver::agent(url, None, limit)?;
    let answer = agent.head(url).call().map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200 => {}
        404 | 410 => return Ok(Found::Absent),
        other => return Err(format!("status {other}")),
    }
    let time = |name: &str| {
        let said = answer.headers().get(name).and_then(|it| it.to_str().ok());
        let said = said.ok_or_else(|| format!("no {name} in the answer"))?;
        http_date(said).ok_or_else(|| format!("{name} is no time: {said:?}"))
    };
    Ok(Found::At { at_ms: time("last-modified")?, now_ms: time("date")? })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that servers write (RFC 9110, 5.6.7), milliseconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|it| it == month)? + 1;
    let moment = format!("{year}-{month:02}-{day}T{time}Z");
    let at = humantime::parse_rfc3339(&moment).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_servers_write_it_and_nothing_else_is() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        for odd in
            ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(http_date(odd), None, "{odd}");
        }
    }
}
