//! A reading of a library's queue: its version first, then all that is decided by in one statement, and so of one moment; how
//! many failed for good, which is a number for people, last and by itself, as it may take the longest. Each is sent with the beginning and the end of its transaction in one message: the server is never between them with nothing to do,
//! no snapshot is held, and what is set for it does not outlast it behind a pooler.

use std::collections::BTreeSet;
use std::time::Duration;

use ::postgres::Client;
use ::postgres::error::SqlState;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::statement::WHOLE_MAX;
use crate::config::queue::{Library as Written, Queue};
use crate::libraries::{self, Library, Taken};
use crate::probes::jobs::{
    InfraErrors, Job, QueueFacts, RUNNING_MAX, Rescue, Since, State, plain_path,
};
use crate::queue::address::Server;
use crate::queue::postgres::{connect, first_value};
use crate::queue::read::{odd_outputs, refuse_too_many};
use crate::queue::sql::{literal, quote};
use crate::queue::{Fault, millis};

/// So much of the time for an answer a number may take that is for people alone: a tenth.
const DEAD_SHARE: u64 = 10;

/// What is to be known of the queue itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Whose it is.
    pub called: &'static str,
    /// The version of its tables.
    pub version: i64,
    /// The versions that are read.
    pub versions: (i64, i64),
    /// The least that has to be granted, as SQL.
    pub grants: Vec<String>,
    /// What cannot be known of it.
    pub unknown: &'static str,
    /// The indexes that a reading goes by.
    pub indexes: BTreeSet<String>,
    /// The tables that it goes through as a whole.
    pub whole: BTreeSet<String>,
    /// What was read.
    pub facts: QueueFacts,
}

/// What a queue holds.
pub fn facts(server: &Server, queue: &Queue, written: &Written) -> Result<QueueFacts, Fault> {
    let (mut reading, mut client, _) = begun(server, queue, written)?;
    match reading.facts(&mut client) {
        // a queue may have been made or dropped since its parts were looked for
        Err(_) if reading.has_other_parts(&mut client)? => reading.facts(&mut client),
        told => told,
    }
}

/// That, and what the queue is.
pub fn about(server: &Server, queue: &Queue, written: &Written) -> Result<About, Fault> {
    let (reading, mut client, version) = begun(server, queue, written)?;
    let library = reading.library;
    let (mut indexes, mut whole) = (BTreeSet::new(), BTreeSet::new());
    tell(&reading.plan(&mut client)?, &mut indexes, &mut whole);
    Ok(About {
        called: library.called,
        version,
        versions: (library.version.from, library.version.to),
        grants: reading.grants(reading.catalogue(&mut client).as_ref()),
        unknown: library.unknown,
        indexes,
        whole,
        facts: reading.facts(&mut client)?,
    })
}

/// Connected, and of a version that is read: which one, too.
fn begun<'a>(
    server: &Server,
    queue: &'a Queue,
    written: &'a Written,
) -> Result<(Reading<'a>, Client, i64), Fault> {
    let library = libraries::named(written.name)
        .ok_or_else(|| Fault(format!("{} is read by no program of this version", written.name)))?;
    let user = server.user().to_owned();
    let mut reading =
        Reading { library, written, queue, user, parts: String::new(), version: None };
    let mut client = connect(server, queue)?;
    let version = reading.told_version(&mut client)?;
    reading.version = Some(version);
    reading.look_for_parts(&mut client)?;
    Ok((reading, client, version))
}

/// What a plan goes by, and what it goes through.
fn tell(plan: &Value, indexes: &mut BTreeSet<String>, whole: &mut BTreeSet<String>) {
    match plan {
        Value::Array(all) => all.iter().for_each(|it| tell(it, indexes, whole)),
        Value::Object(node) => {
            // the catalogue's own say nothing of the library
            let named = |key: &str| {
                let name = node.get(key).and_then(Value::as_str);
                name.filter(|it| !it.starts_with("pg_")).map(str::to_owned)
            };
            indexes.extend(named("Index Name"));
            if named("Node Type").as_deref() == Some("Seq Scan") {
                whole.extend(named("Relation Name"));
            }
            node.values().for_each(|it| tell(it, indexes, whole));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One reading.
pub(super) struct Reading<'a> {
    pub(super) library: &'static Library,
    pub(super) written: &'a Written,
    pub(super) queue: &'a Queue,
    pub(super) user: String,
    /// Rows of all its parts, where it has some.
    pub(super) parts: String,
    /// Its version, once it is one that is read.
    pub(super) version: Option<i64>,
}

/// The answer, as the statement makes it.
#[derive(Deserialize)]
struct Answer {
    now_ms: u64,
    waiting: Waiting,
    at_work: AtWork,
    missing: Vec<String>,
    next: Vec<Found>,
    cooling: Vec<Found>,
}

#[derive(Deserialize)]
struct Waiting {
    pending: u64,
    retryable: u64,
    cooling: u64,
    oldest_ms: Option<u64>,
}

#[derive(Deserialize)]
struct AtWork {
    running: u64,
    stale: u64,
    /// One more than may run at most: the numbers are of these, and are not told where there are so many.
    jobs: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    lane: Option<String>,
    output: Option<String>,
    started_ms: Option<u64>,
    until_ms: Option<u64>,
    back_ms: Option<u64>,
    tries: Option<u64>,
    again: bool,
}

impl Reading<'_> {
    pub(super) fn schema(&self) -> &str {
        self.written.schema.as_deref().unwrap_or(self.library.schema)
    }

    /// Asks which tables there are, where each queue has one.
    fn look_for_parts(&mut self, client: &mut Client) -> Result<(), Fault> {
        let Some(parts) = &self.library.parts else { return Ok(()) };
        let all: Vec<(String, String, Option<bool>)> = self.answer(client, &self.of(parts.ask))?;
        if let Some((part, table, _)) = all.iter().find(|(_, _, is_later)| is_later.is_none()) {
            let mend = self.filled(parts.lost, &[("part", &literal(part))]);
            return Err(Fault(format!("{part}, table {table}: {mend}")));
        }
        let shown = |name: &&str| {
            if self.is_shown() { (*name).to_owned() } else { format!("NULL::jsonb AS {name}") }
        };
        let shown: Vec<String> = parts.shown.iter().map(shown).collect();
        let each = parts.each.replace("{shown}", &shown.join(", "));
        let each = |(part, table, is_later): &(String, String, Option<bool>)| {
            let (name, kind) = parts.later;
            let later =
                if *is_later == Some(true) { name.to_owned() } else { format!("NULL::{kind}") };
            let more = [("part", literal(part)), ("table", quote(table)), ("later", later)];
            self.filled(&each, &more.each_ref().map(|(name, value)| (*name, value.as_str())))
        };
        let rows: Vec<String> = all.iter().map(each).collect();
        self.parts = if rows.is_empty() { parts.none.to_owned() } else { rows.join(" UNION ALL ") };
        Ok(())
    }

    /// Whether its parts are others than those that were looked for; then they are looked for anew.
    fn has_other_parts(&mut self, client: &mut Client) -> Result<bool, Fault> {
        if self.library.parts.is_none() || client.simple_query("ROLLBACK").is_err() {
            return Ok(false);
        }
        let before = self.parts.clone();
        self.look_for_parts(client)?;
        Ok(self.parts != before)
    }

    fn facts(&self, client: &mut Client) -> Result<QueueFacts, Fault> {
        let answer: Answer = self.answer(client, &self.statement())?;
        refuse_too_many(answer.at_work.jobs.len(), RUNNING_MAX)?;
        let mut advice = Vec::new();
        advice.extend(answer.missing.iter().map(|index| {
            format!(
                "{} has no index {index} here: each reading goes through finished jobs too",
                self.library.called
            )
        }));
        let dead = self.dead(client)?;
        advice.extend(dead.as_ref().err().cloned());
        let mut odd = 0;
        let mut jobs = |found: Vec<Found>, state: Option<State>| -> Vec<Job> {
            found.into_iter().map(|it| it.job(state, &mut odd)).collect()
        };
        let running = jobs(answer.at_work.jobs, Some(State::Running));
        let next = jobs(answer.next, None);
        let cooling = jobs(answer.cooling, Some(State::Cooling));
        advice.extend(odd_outputs(odd));
        let waits = answer.waiting;
        Ok(QueueFacts {
            queue: self.library.name.to_owned(),
            at_utc_ms: answer.now_ms,
            running,
            next,
            cooling,
            counts: [
                (State::Pending, waits.pending),
                (State::Retryable, waits.retryable),
                (State::Cooling, waits.cooling),
                (State::Running, answer.at_work.running),
            ]
            .into(),
            oldest_pending_ms: waits.oldest_ms.filter(|_| waits.pending + waits.retryable > 0),
            infra_errors: InfraErrors { window_ms: millis(self.queue.infra_window), count: None },
            stale_running: Some(answer.at_work.stale),
            dead: dead.unwrap_or_default(),
            hold_back: false,
            rescue: Some(self.rescue()),
            advice,
        })
    }

    fn rescue(&self) -> Rescue {
        let (since, after) = match self.library.rescue.taken {
            Taken::AfterStart(after) => (Since::Start, after),
            Taken::AfterSilence(after) => (Since::Silence, after),
            Taken::At(_) => (Since::Row, Duration::ZERO),
        };
        Rescue { by: self.library.rescue.by.to_owned(), after_ms: millis(after), since }
    }

    /// How the server would go about it.
    fn plan(&self, client: &mut Client) -> Result<Value, Fault> {
        let all = [Some(self.statement()), self.asks_for_dead()];
        let plan =
            |text: String| self.answer(client, &format!("EXPLAIN (COSTS off, FORMAT json) {text}"));
        all.into_iter().flatten().map(plan).collect::<Result<_, _>>().map(Value::Array)
    }

    /// How many failed for good, where it has such rows; or why that is not told. No decision goes by it, and none waits for it.
    fn dead(&self, client: &mut Client) -> Result<Result<Option<u64>, String>, Fault> {
        let Some(question) = self.asks_for_dead() else { return Ok(Ok(None)) };
        let limit = (millis(self.queue.timeout) / DEAD_SHARE).max(1);
        let question = format!("SET LOCAL statement_timeout = {limit}; {question}");
        let told = match client.simple_query(&self.alone(&question)) {
            Ok(answer) => first_value(&answer),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(Err(format!(
                    "how many failed for good is not counted: the server took longer than {limit} ms for it"
                )));
            }
            Err(error) => return Err(self.refused(client, &error)),
        };
        match (told.map(|it| it.parse()), &self.library.whole) {
            (Some(Ok(dead)), _) => Ok(Ok(Some(dead))),
            (None, Some(whole)) => Ok(Err(format!(
                "{} has more than {WHOLE_MAX} rows, and no index that alone tells those that failed for good: these are not counted",
                whole.name
            ))),
            (Some(Err(_)) | None, _) => Err(Fault::new("the database's answer is not understood")),
        }
    }

    /// One value that is JSON.
    fn answer<T: DeserializeOwned>(&self, client: &mut Client, question: &str) -> Result<T, Fault> {
        let told = self.ask(client, question)?;
        let told = told.ok_or_else(|| Fault::new("the database gave no row"))?;
        serde_json::from_str(&told)
            .map_err(|error| Fault(format!("the database's answer is not understood: {error}")))
    }

    /// One value, as text.
    pub(super) fn ask(&self, client: &mut Client, question: &str) -> Result<Option<String>, Fault> {
        let answer = client.simple_query(&self.alone(question));
        Ok(first_value(&answer.map_err(|error| self.refused(client, &error))?))
    }

    /// The same after one that the server has given up; none where there is no answer.
    pub(super) fn ask_after(&self, client: &mut Client, question: &str) -> Option<String> {
        let text = format!("ROLLBACK; {}", self.alone(question));
        client.simple_query(&text).ok().as_deref().and_then(first_value)
    }
}

impl Found {
    fn job(self, state: Option<State>, odd: &mut usize) -> Job {
        let written = self.output.filter(|it| !it.is_empty());
        let output = written.as_ref().and_then(|it| plain_path(it.as_bytes()));
        *odd += usize::from(written.is_some() && output.is_none());
        let waits = if self.again { State::Retryable } else { State::Pending };
        Job {
            id: self.id,
            state: state.unwrap_or(waits),
            lane: self.lane,
            output,
            started_utc_ms: self.started_ms,
            not_before_utc_ms: self.until_ms,
            back_utc_ms: self.back_ms,
            attempts: self.tries,
        }
    }
}
