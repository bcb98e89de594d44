//! What was told of incidents, and what still has to be: the record of `unwedge-notify`, and the gates of sending.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gates::{Access, Gates, LockLook, Namespace};
use super::records::{self, Holds, Record};
use crate::config::Settings;
use crate::config::sentinel::{self, Kind};
use crate::manifest::queue_dir;
use crate::sys::clock::{Now, Stamp};

/// What `unwedge-notify` remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// When it looked for the first time; what was over by then is told to nobody.
    pub first: Option<Stamp>,
    /// Incidents that were told, or are to be told to nobody.
    pub known: Vec<Known>,
    /// When each symptom was last told.
    pub told: Vec<Told>,
    /// What is not delivered yet, oldest first.
    pub waiting: Vec<Message>,
}

/// An incident that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Up to where it was told.
    pub phase: Phase,
}

/// What a message tells of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It has begun.
    Opened,
    /// It is over.
    Over,
}

impl Phase {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Over => "over",
        }
    }
}

/// When a symptom, which is what is bad and how, was last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// `/srv/box dead`.
    pub symptom: String,
    /// When.
    pub at: Stamp,
    /// Incidents that came and went since, and were told to nobody.
    pub untold: u32,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Of which incident.
    pub incident: String,
    /// What it tells.
    pub phase: Phase,
    /// How it is to go.
    pub way: String,
    /// In a few words.
    pub title: String,
    /// The rest.
    pub text: String,
    /// When it was written.
    pub written: Stamp,
    /// How often it was tried.
    pub tries: u32,
    /// When last.
    pub last: Option<Stamp>,
    /// Why that failed.
    pub why: String,
}

impl Record for Messages {
    const NAME: &'static str = "notify";

    fn stamps(&self) -> Vec<&Stamp> {
        let told = self.told.iter().map(|told| &told.at);
        let waiting = self.waiting.iter().flat_map(|it| [Some(&it.written), it.last.as_ref()]);
        self.first.iter().chain(told).chain(waiting.flatten()).collect()
    }
}

/// What was told, and whether anything may be sent now. A record or holds that cannot be read close a gate.
#[must_use]
pub fn look(settings: &Settings, now: &Now) -> (Messages, Gates) {
    let host = &settings.host;
    let known = records::read::<Messages>(&queue_dir(host), now);
    let holds = records::read::<Holds>(&host.state_dir, now);
    let left = holds.as_ref().ok().and_then(|holds| {
        let hold = holds.holds.get(Kind::Notify.name())?;
        Some((hold.left(now)?, hold.because.clone()))
    });
    let permission = sentinel::permission(&host.sentinel_dir, Kind::Notify);
    let unreadable = [known.as_ref().err(), holds.as_ref().err()];
    let gates = Gates {
        access: BTreeMap::from([(Kind::Notify, Access { permission, hold: left })]),
        halt: sentinel::halt(&host.sentinel_dir),
        // nothing that is sent is in the way of a deploy, and its own lock is held by now
        deploy: LockLook::Free,
        busy: LockLook::Free,
        unreadable: unreadable.into_iter().flatten().next().map(ToString::to_string),
        // a time of an earlier boot only ever delays or repeats a message
        clock_fault: false,
        namespace: Namespace::Host,
    };
    (known.unwrap_or_default(), gates)
}
