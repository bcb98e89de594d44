//! Sending: every message is on disk before it is tried, and struck out once it is delivered. Killed in between, it is
//! sent a second time rather than never.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::deliver::{Way, deliver};
use super::store;
use crate::config::notify::Notify;
use crate::decide::messages::is_due;
use crate::probes::messages::{Message, Messages, Phase};
use crate::sys::clock::{Deadline, Now};

/// What is to be told, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Of which incident.
    pub incident: String,
    /// What of it.
    pub phase: Phase,
    /// In a few words.
    pub title: String,
    /// The rest.
    pub text: String,
}

impl Letter {
    /// The message of it that goes this way.
    #[must_use]
    pub fn by(self, way: &Way<'_>, now: &Now) -> Message {
        let Self { incident, phase, title, text } = self;
        let (way, written) = (way.name.clone(), now.stamp());
        let (tries, last, why) = (0, None, String::new());
        Message { incident, phase, way, title, text, written, tries, last, why }
    }
}

/// What came of a message that was tried.
#[derive(Debug)]
pub struct Tried {
    /// Of which incident.
    pub incident: String,
    /// By which way.
    pub way: String,
    /// Why it was not delivered, if so.
    pub came: Result<(), String>,
}

/// Adds a message for each letter and way. One that is to go a way that is no longer configured goes nowhere: it is in
/// the answer.
#[must_use]
pub fn write(
    state: &mut Messages,
    letters: Vec<Letter>,
    ways: &[Way<'_>],
    now: &Now,
) -> Vec<Message> {
    for letter in letters {
        for way in ways {
            state.waiting.push(letter.clone().by(way, now));
        }
    }
    let goes = |message: &Message| ways.iter().any(|way| way.name == message.way);
    let waiting = std::mem::take(&mut state.waiting);
    let (kept, lost) = waiting.into_iter().partition(goes);
    state.waiting = kept;
    lost
}

/// Tries what is due, oldest first, and each way no more once it has failed. Every answer is stored before the next try.
///
/// # Errors
/// It could not be stored; then nothing more is sent, or it would be sent for ever.
pub fn send(
    dir: &Path,
    state: &mut Messages,
    notify: &Notify,
    ways: &[Way<'_>],
    deadline: Deadline,
    now: &Now,
) -> Result<Vec<Tried>> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut index = 0;
    while let Some(message) = state.waiting.get(index) {
        let has_failed = tried.iter().any(|it| it.way == message.way && it.came.is_err());
        let way = ways.iter().find(|way| way.name == message.way);
        let (Some(way), true) = (way, is_due(message, now) && !has_failed) else {
            index += 1;
            continue;
        };
        if deadline.left() < notify.timeout {
            break;
        }
        let came = deliver(notify, way, message);
        let (incident, way) = (message.incident.clone(), way.name.clone());
        if let Err(why) = &came {
            let message = &mut state.waiting[index];
            message.tries = message.tries.saturating_add(1);
            message.last = Some(now.stamp());
            message.why.clone_from(why);
            index += 1;
        } else {
            state.waiting.remove(index);
        }
        tried.push(Tried { incident, way, came });
        store::record(dir, state).context("store what was sent")?;
    }
    Ok(tried)
}
