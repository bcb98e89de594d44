//! What people are told of an incident, and what `unwedge-notify` tells of its own rounds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::exit::Exit;
use super::incidents::{bad, latest, summary};
use super::json::{Head, Held};
use super::metrics::{self, Common, Families};
use super::round::Mode;
use super::{journal, out};
use crate::act::messages::{Letter, Tried};
use crate::config::Settings;
use crate::decide::messages::News;
use crate::decide::plan::{Hold, Reason};
use crate::manifest::NOTIFY;
use crate::probes::incidents::Incident;
use crate::probes::messages::{Message, Messages, Phase};
use crate::probes::witness::host;
use crate::sys::clock::{Now, Stamp};

/// A letter for each piece of news.
#[must_use]
pub fn letters(news: &[News<'_>], now: &Now) -> Vec<Letter> {
    news.iter().map(|it| letter(it, now)).collect()
}

fn letter(news: &News<'_>, now: &Now) -> Letter {
    let incident = news.incident;
    let began = incident.began().map_or_else(|| "an unknown time".to_owned(), Stamp::utc);
    let mut lines = vec![format!("since {began}; the story: unwedge incidents {}", incident.id)];
    if news.phase == Phase::Opened {
        lines.extend(others(incident));
        let last = latest(incident);
        lines.push(last.unwrap_or_else(|| "nothing was tried yet".to_owned()));
        lines.push("what to do: unwedge doctor".to_owned());
    }
    if news.untold > 0 {
        lines.push(format!("the same came and went {} times since the last message", news.untold));
    }
    Letter {
        incident: incident.id.clone(),
        phase: news.phase,
        title: format!("{}: {}", host(), summary(incident, now)),
        text: lines.join("\n"),
    }
}

/// What else it has touched by now.
fn others(incident: &Incident) -> Option<String> {
    let others = bad(incident, |subject| subject != incident.root());
    (!others.is_empty()).then(|| format!("with it: {}", others.join(", ")))
}

/// A round.
#[derive(Debug)]
pub struct NotifyRound<'a> {
    /// When it began.
    pub now: &'a Now,
    /// What is remembered now.
    pub state: &'a Messages,
    /// What would be told, in a dry run, or was written down.
    pub letters: &'a [Letter],
    /// Why nothing is sent.
    pub holds: &'a [Hold],
    /// What was tried.
    pub tried: &'a [Tried],
    /// Messages whose way is configured no more.
    pub lost: &'a [Message],
    /// Why no sign of life was given, where one is asked for.
    pub ping: Option<Result<(), String>>,
    /// What could not be read or stored.
    pub trouble: Option<&'a str>,
    /// How long it took.
    pub took: Duration,
}

impl NotifyRound<'_> {
    fn is_armed(&self) -> bool {
        self.holds.iter().all(|hold| hold.reason != Reason::NotArmed)
    }

    /// How the run should end: a message that was not delivered is one that has to be.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let undelivered = self.tried.iter().any(|it| it.came.is_err());
        let silent = matches!(self.ping, Some(Err(_)));
        if undelivered || silent || self.trouble.is_some() { Exit::Failed } else { Exit::Fine }
    }

    /// In words.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        for it in self.tried {
            match &it.came {
                Ok(()) => parts.push(format!("told of {} by {}", it.incident, it.way)),
                Err(why) => parts.push(format!("not told of {} by {}: {why}", it.incident, it.way)),
            }
        }
        for it in self.lost {
            parts.push(format!("nobody is told of {} by {}, which is gone", it.incident, it.way));
        }
        if let Some(Err(why)) = &self.ping {
            parts.push(format!("no sign of life: {why}"));
        }
        parts.extend(self.holds.iter().map(|hold| format!("held: {}", hold.reason.name())));
        parts.push(format!("{} messages wait", self.state.waiting.len()));
        parts.extend(self.trouble.map(str::to_owned));
        parts.join("; ")
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    mode: &'a str,
    armed: bool,
    messages: Vec<LetterJson<'a>>,
    holds: Vec<Held<'a>>,
    waiting: usize,
}

#[derive(Serialize)]
struct LetterJson<'a> {
    incident: &'a str,
    phase: &'a str,
    title: &'a str,
    text: &'a str,
}

impl<'a> LetterJson<'a> {
    fn of(letter: &'a Letter) -> Self {
        let Letter { incident, phase, title, text } = letter;
        Self { incident, phase: phase.name(), title, text }
    }
}

/// As one object.
fn object(round: &NotifyRound<'_>, mode: Mode) -> Result<String> {
    let object = Object {
        head: Head::of(NOTIFY.name, round.now),
        mode: mode.name(),
        armed: round.is_armed(),
        messages: round.letters.iter().map(LetterJson::of).collect(),
        holds: round.holds.iter().map(Held::of).collect(),
        waiting: round.state.waiting.len(),
    };
    Ok(serde_json::to_string(&object)? + "\n")
}

/// Shows that there is nobody to tell, where the configuration names no way.
///
/// # Errors
/// It cannot be written.
pub fn say_nobody(now: &Now, mode: Mode, as_json: bool) -> Result<()> {
    if as_json {
        let object = Object {
            head: Head::of(NOTIFY.name, now),
            mode: mode.name(),
            armed: false,
            messages: vec![],
            holds: vec![],
            waiting: 0,
        };
        out::print(&(serde_json::to_string(&object)? + "\n"))?;
    } else {
        out::print("nobody is to be told: there is no [notify] in the configuration\n")?;
    }
    Ok(())
}

/// Shows what would be sent, or was.
///
/// # Errors
/// It cannot be written.
pub fn say(round: &NotifyRound<'_>, mode: Mode, as_json: bool) -> Result<()> {
    if as_json {
        out::print(&object(round, mode)?)?;
        return Ok(());
    }
    let mut text = String::new();
    for letter in round.letters {
        let body = letter.text.replace('\n', "\n    ");
        text +=
            &format!("{} {}: {}\n    {body}\n", letter.incident, letter.phase.name(), letter.title);
    }
    out::print(&(text + &round.line() + "\n"))?;
    Ok(())
}

/// Writes the journal's line and the metrics.
///
/// # Errors
/// The metrics could not be written.
pub fn write(settings: &Settings, round: &NotifyRound<'_>) -> Result<()> {
    journal::tell(NOTIFY.name, "", round.took, round.exit(), &round.line());
    let mut families = Families::default();
    let common = Common {
        tool: NOTIFY.name,
        now: round.now,
        armed: round.is_armed(),
        exit: round.exit(),
        took: round.took,
        holds: round.holds.iter().collect(),
    };
    families.set_common(&common).context("render metrics")?;
    set(&mut families, round).context("render metrics")?;
    let text = families.encode().context("render metrics")?;
    metrics::put(settings, &NOTIFY.metrics_file(), &text, round.now)
}

fn set(families: &mut Families, round: &NotifyRound<'_>) -> Result<()> {
    families.set("unwedge_messages_waiting", &[], metrics::count(round.state.waiting.len()))?;
    if let Some(oldest) = round.state.waiting.iter().map(|it| it.written.utc_ms).min() {
        let name = "unwedge_message_oldest_timestamp_seconds";
        families.set(name, &[], metrics::seconds_of(oldest))?;
    }
    if let Some(ping) = &round.ping {
        families.set("unwedge_notify_ping_ok", &[], metrics::flag(ping.is_ok()))?;
    }
    Ok(())
}
