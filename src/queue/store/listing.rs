//! What the queue holds, for people: jobs, their tries, workers. Nothing here changes anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::workers::KeptStall;
use super::{Fault, Lack, Param, Row, Store, TypeMark, millis, state};
use crate::decide::at_work::Stall;
use crate::decide::attempts::State;
use crate::decide::workers::{Seen, Standing};
use crate::probes::witness::{self, Fate};

/// Which jobs are meant: those of which all of this holds. What is not said holds of every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// These, and where the list is empty none.
    pub ids: Option<Vec<i64>>,
    /// Of this type.
    pub kind: Option<String>,
    /// Whose last failure was of this class.
    pub class: Option<String>,
    /// That stand so.
    pub states: Vec<State>,
    /// That were put in at least so long ago.
    pub older: Option<Duration>,
    /// Whose input is this, or lies below it, as `text::path` writes it.
    pub input: Option<String>,
    /// Whose stamp is like this.
    pub stamp: Option<StampIs>,
}

/// How the stamp of a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampIs {
    /// It has none.
    Missing,
    /// It has one, and that is no moment as RFC 3339 writes it in UTC, such as `2026-01-24T03:12:07Z`.
    Malformed,
}

impl Which {
    /// These alone.
    #[must_use]
    pub fn ids(ids: &[i64]) -> Self {
        Self { ids: Some(ids.to_vec()), ..Self::default() }
    }

    /// Whether it says anything but how jobs stand: what would be done to all is to be asked for as that.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        let Self { ids, kind, class, states: _, older, input, stamp } = self;
        ids.is_some()
            || kind.is_some()
            || class.is_some()
            || older.is_some()
            || input.is_some()
            || stamp.is_some()
    }

    /// The same, of those states alone that are in `states`, too.
    #[must_use]
    pub fn standing(mut self, states: &[State]) -> Self {
        self.states = match self.states.as_slice() {
            [] => states.to_vec(),
            wanted => wanted.iter().filter(|it| states.contains(it)).copied().collect(),
        };
        self
    }

    /// As a condition over `unwedge_jobs`, whose values are added to `params`.
    pub(super) fn condition(&self, params: &mut Vec<Param>) -> String {
        let mut all = vec!["true".to_owned()];
        let mut mark = |value: Param| {
            params.push(value);
            format!("${}", params.len())
        };
        if let Some(ids) = &self.ids {
            let nth = mark(Param::list(ids));
            let nth = nth.trim_start_matches('$');
            all.push(format!("id IN ({{ids:{nth}}})"));
        }
        if let Some(kind) = &self.kind {
            all.push(format!("type = {}", mark(Param::Text(kind.clone()))));
        }
        if let Some(class) = &self.class {
            all.push(format!("class = {}", mark(Param::Text(class.clone()))));
        }
        if !self.states.is_empty() {
            let names: Vec<String> =
                self.states.iter().map(|state| format!("'{}'", state.name())).collect();
            all.push(format!("state IN ({})", names.join(", ")));
        }
        if let Some(older) = self.older {
            all.push(format!("created_ms <= {{now}} - {}", mark(millis(older))));
        }
        if let Some(input) = &self.input {
            let (same, below) =
                (mark(Param::Text(input.clone())), mark(Param::Text(format!("{input}/"))));
            all.push(format!("(input = {same} OR substr(input, 1, length({below})) = {below})"));
        }
        match self.stamp {
            None => {}
            Some(StampIs::Missing) => all.push("(stamp IS NULL OR stamp = '')".to_owned()),
            Some(StampIs::Malformed) => {
                all.push("stamp <> '' AND NOT ({moment:stamp})".to_owned());
            }
        }
        all.join(" AND ")
    }
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What tells it from others of its type.
    pub key: String,
    /// How it stands.
    pub state: State,
    /// Higher ones first.
    pub priority: i64,
    /// What must be open on a host that takes it.
    pub needs: Vec<String>,
    /// What is open on a host that has its paths.
    pub prefers: Vec<String>,
    /// What it works on.
    pub input: String,
    /// Where its result goes.
    pub output: Option<String>,
    /// When it was put in; this and the other times in milliseconds since 1970.
    pub created_ms: u64,
    /// Before when it is not taken.
    pub not_before_ms: u64,
    /// When its last try began.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub finished_ms: Option<u64>,
    /// How often it was handed out.
    pub tries: u32,
    /// Failures of its own.
    pub failures: u32,
    /// Failures of what is around it.
    pub infra_errors: u32,
    /// How often a worker was lost with it.
    pub rescues: u32,
    /// Who has it.
    pub worker: Option<String>,
    /// Whether somebody called it off.
    pub is_cancelled: bool,
    /// How far it is.
    pub progress: Option<String>,
    /// What kind of failure its last was.
    pub class: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// The tier that was the last to run.
    pub tier: Option<String>,
    /// What whoever put it in wrote on it.
    pub stamp: Option<String>,
    /// How large its result is, where it made one.
    pub bytes: Option<u64>,
    /// What its worker says of it while it does not move.
    pub stall: Option<Stall>,
}

/// What [`Job`] is made of.
pub(super) const JOB: &str = "id, type, key, state, priority, {text:needs}, input, output, created_ms, not_before_ms, started_ms,
    finished_ms, tries, failures, infra_errors, rescues, worker, CASE WHEN cancel_ms IS NULL THEN 0 ELSE 1 END,
    progress, class, message, tier, stamp, {text:prefers}, bytes";

pub(super) fn job(row: &Row) -> Result<Job, Fault> {
    let is_running = state(row, 3)? == State::Running;
    Ok(Job {
        id: row.number(0),
        kind: row.text_of(1),
        key: row.text_of(2),
        state: state(row, 3)?,
        priority: row.number(4),
        needs: serde_json::from_str(&row.text_of(5)).unwrap_or_default(),
        input: row.text_of(6),
        output: row.text(7),
        created_ms: row.natural_of(8),
        not_before_ms: row.natural_of(9),
        started_ms: row.natural(10),
        finished_ms: row.natural(11),
        tries: row.count(12),
        failures: row.count(13),
        infra_errors: row.count(14),
        rescues: row.count(15),
        worker: row.text(16),
        is_cancelled: row.number(17) == 1,
        progress: row.text(18),
        class: row.text(19),
        message: row.text(20),
        tier: row.text(21),
        stamp: row.text(22),
        prefers: serde_json::from_str(&row.text_of(23)).unwrap_or_default(),
        bytes: row.natural(24),
        stall: row.text(25).and_then(|kept| stall(&kept, row.number(12))).filter(|_| is_running),
    })
}

/// What was kept of a stall, if it is of this try.
pub(super) fn stall(kept: &str, nth: i64) -> Option<Stall> {
    let kept: KeptStall = serde_json::from_str(kept).ok()?;
    (kept.nth == nth).then_some(kept.stall)
}

/// A try that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Try {
    /// Which one.
    #[serde(rename = "try")]
    pub nth: i64,
    /// Who made it.
    pub worker: String,
    /// How the job stood after it.
    pub end_state: String,
    /// The tier that was the last to run.
    pub tier: Option<String>,
    /// What that exited with.
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i64>,
    /// What kind of failure it was.
    pub class: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// The version of its worker, where that was still in the list when it was lost.
    pub version: Option<String>,
    /// A digest of the type it was run by.
    pub digest: Option<String>,
    /// When it began, milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub ended_ms: u64,
}

/// A worker as it shows itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// Boot, pid and start.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// Its version.
    pub version: String,
    /// How it runs jobs.
    pub mode: String,
    /// The types it can take.
    pub types: BTreeMap<String, TypeMark>,
    /// Those it cannot take, with what is missing.
    pub lacks: BTreeMap<String, Lack>,
    /// The storage that is open to it.
    pub open: Vec<String>,
    /// The storage of its host that is not.
    pub closed: Vec<String>,
    /// How it says that it stands: `idle`, `busy`, `draining` or `dead`.
    pub state: String,
    /// What it does just now.
    pub step: Option<String>,
    /// Jobs done since its start.
    pub done: u64,
    /// Tries that were no success.
    pub failed: u64,
    /// How long ago its last beat was, by the queue's clock, milliseconds.
    pub silent_ms: u64,
    /// When it came, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// The cores of its host.
    pub cpus: Option<u32>,
    /// The load average of its host over one minute, in thousandths.
    pub load_milli: Option<u64>,
    /// Memory that could be had there, MiB.
    pub memory_mib: Option<u64>,
    /// Why it does not hear when jobs come; none where it does.
    pub deaf: Option<String>,
    /// From which silence on it is stale.
    #[serde(skip)]
    pub stale: Duration,
}

impl Worker {
    /// How it stands, by its word and by what is seen of its process here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let is_here = || self.host == witness::host() && witness::is_of_here(&self.id);
        let seen = match self.state.as_str() {
            // of whom nothing is asked any more: they may be many, and each look is at all processes
            "dead" => Seen::NotSeen,
            _ => match witness::fate_on(&self.host, &self.id) {
                Fate::Gone => Seen::Gone,
                Fate::Ending | Fate::Unknown if is_here() => Seen::There,
                Fate::Ending | Fate::Unknown => Seen::NotSeen,
            },
        };
        Standing::of(&self.state, Duration::from_millis(self.silent_ms), self.stale, seen)
    }
}

/// Workers, each with how it stands.
#[must_use]
pub fn seen(workers: Vec<Worker>) -> Vec<(Worker, Standing)> {
    let seen = |it: Worker| {
        let standing = it.standing();
        (it, standing)
    };
    workers.into_iter().map(seen).collect()
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Newest,
    /// As they are taken.
    Turn,
}

impl Store {
    /// Whether a worker that is heard vouches for what it said of a job, as a condition over `unwedge_jobs`.
    pub(super) fn is_vouched_for(&self) -> String {
        let ms = self.worker_stale.as_millis();
        format!(
            "EXISTS (SELECT 1 FROM unwedge_workers w WHERE w.id = worker AND w.state <> 'dead' AND w.beat_ms > {{now}} - {ms})"
        )
    }

    /// Jobs, at most `most`.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn list(&mut self, which: &Which, order: Order, most: u32) -> Result<Vec<Job>, Fault> {
        let mut params = Vec::new();
        let condition = which.condition(&mut params);
        params.push(Param::Number(i64::from(most)));
        let order = match order {
            Order::Newest => "id DESC",
            Order::Turn => "priority DESC, not_before_ms, id",
        };
        let vouched = self.is_vouched_for();
        let text = format!(
            "SELECT {JOB}, CASE WHEN {vouched} THEN stall END FROM unwedge_jobs WHERE {condition} ORDER BY {order} LIMIT ${}",
            params.len()
        );
        self.session.rows(&text, params)?.iter().map(job).collect()
    }

    /// One job, with its tries, the oldest first.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn job(&mut self, id: i64) -> Result<Option<(Job, Vec<Try>)>, Fault> {
        const TRIES: &str = "
            SELECT try, worker, end_state, tier, exit_code, signal, class, message, version, digest, started_ms, ended_ms
            FROM unwedge_attempts WHERE job = $1 ORDER BY try";
        let Some(job) = self.list(&Which::ids(&[id]), Order::Newest, 1)?.pop() else {
            return Ok(None);
        };
        let rows = self.session.rows(TRIES, vec![Param::Number(id)])?;
        let tries = rows.iter().map(|row| Try {
            nth: row.number(0),
            worker: row.text_of(1),
            end_state: row.text_of(2),
            tier: row.text(3),
            exit_code: row.whole(4),
            signal: row.whole(5),
            class: row.text(6),
            message: row.text(7),
            version: row.text(8),
            digest: row.text(9),
            started_ms: row.natural(10),
            ended_ms: row.natural_of(11),
        });
        let tries = tries.collect();
        Ok(Some((job, tries)))
    }

    /// The workers that are not dead, and with `dead_too` those that are and were not taken out yet.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn all_workers(&mut self, dead_too: bool) -> Result<Vec<Worker>, Fault> {
        const WORKERS: &str = "
            SELECT id, host, unit, version, mode, {text:types}, {text:lacks}, {text:open}, state, step, done, failed,
                {now} - beat_ms, started_ms, ended_ms, cpus, load_milli, memory_mib, deaf, {text:closed}
            FROM unwedge_workers WHERE ALIVE ORDER BY host, started_ms, id";
        let alive = if dead_too { "true" } else { "state <> 'dead'" };
        let rows = self.session.rows(&WORKERS.replace("ALIVE", alive), Vec::new())?;
        rows.iter().map(|row| worker(row, self.worker_stale)).collect()
    }
}

fn worker(row: &Row, stale: Duration) -> Result<Worker, Fault> {
    let id = row.text_of(0);
    let wrong = |error: serde_json::Error| Fault(format!("what worker {id} can: {error}"));
    Ok(Worker {
        host: row.text_of(1),
        unit: row.text(2),
        version: row.text_of(3),
        mode: row.text_of(4),
        types: serde_json::from_str(&row.text_of(5)).map_err(wrong)?,
        lacks: serde_json::from_str(&row.text_of(6)).map_err(wrong)?,
        open: serde_json::from_str(&row.text_of(7)).map_err(wrong)?,
        state: row.text_of(8),
        step: row.text(9),
        done: row.natural_of(10),
        failed: row.natural_of(11),
        silent_ms: row.natural_of(12),
        started_ms: row.natural_of(13),
        ended_ms: row.natural(14),
        cpus: row.natural(15).and_then(|it| u32::try_from(it).ok()),
        load_milli: row.natural(16),
        memory_mib: row.natural(17),
        deaf: row.text(18),
        closed: serde_json::from_str(&row.text_of(19)).map_err(wrong)?,
        stale,
        id,
    })
}
