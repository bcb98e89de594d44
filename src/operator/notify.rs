//! `unwedge-notify --test`: sends a message that says it is a test by every way, and a sign of life, at once.

use anyhow::{Result, bail};

use crate::act::deliver::{self, Ping};
use crate::act::messages::Letter;
use crate::config::notify::Notify;
use crate::probes::messages::Phase;
use crate::probes::witness::host;
use crate::sys::clock::Now;

/// One line for each way, with what came of it.
///
/// # Errors
/// Not every way went well.
pub fn test(notify: &Notify, now: &Now) -> Result<String> {
    let letter = Letter {
        incident: "test".to_owned(),
        phase: Phase::Opened,
        title: format!("{}: this is a test of unwedge-notify", host()),
        text: "nothing is wrong; somebody tries whether messages arrive".to_owned(),
    };
    let ways = deliver::ways(notify);
    let sent = ways
        .iter()
        .map(|way| (way.name.clone(), deliver::deliver(notify, way, &letter.clone().by(way, now))));
    let ping = notify.ping.iter();
    let ping = ping.map(|url| ("ping".to_owned(), deliver::ping(notify, url, &Ping::Success)));
    let came: Vec<(String, Result<(), String>)> = sent.chain(ping).collect();
    let line = |(way, came): &(String, Result<(), String>)| match came {
        Ok(()) => format!("{way}: sent\n"),
        Err(why) => format!("{way}: {why}\n"),
    };
    let text: String = came.iter().map(line).collect();
    if came.iter().all(|(_, came)| came.is_ok()) { Ok(text) } else { bail!("not sent:\n{text}") }
}
