//! Our own queue: jobs, and the workers that take them, in SQLite or PostgreSQL. One contract, the same text of SQL
//! for both (`session`), and constraints that hold whoever writes (`schema`).
//!
//! - A claim hands a row to one worker and counts its try up. That number is the token: whatever is written of a try
//!   names it, and a holder that has lost the row changes nothing.
//! - A lease is the worker's, not the row's: one beat renews all that it has. What it had goes back when it is buried
//!   (`bury`), which is decided by who has watched it (`decide::leases`).
//! - What becomes of a job is decided elsewhere (`decide::attempts`) and only written here.

pub mod bell;
pub mod change;
mod claim;
mod clock;
pub mod figures;
pub mod lanes;
pub mod listing;
mod place;
mod schema;
mod session;
pub mod upkeep;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Fault;
use super::cells::Cell;
use super::sql::Param;
use crate::config::queue::{Breaker, Queue};
use crate::decide::at_work::Stall;
use crate::decide::attempts::{Class, Counted, State, Token};
use crate::decide::leases::Seen;
use crate::sys::text;
use claim::Demands;
pub use claim::{ANEW, Ask, Claimed};
use session::Session;

/// So many rows are put in at a time: the lock of a file is nobody else's for long.
const SUBMIT_AT_ONCE: usize = 500;

/// How long the mark of a queue is.
pub const MARK_CHARS: usize = 12;

/// Jobs that lost their worker again come so far apart, in milliseconds.
const LOST_AGAIN_APART_MS: u64 = 30_000;

/// A job to be put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewJob {
    /// Its type: the lane.
    #[serde(rename = "type")]
    pub kind: String,
    /// What tells it from others of its type; the same one twice is one job.
    pub key: String,
    /// Higher ones first.
    pub priority: i64,
    /// What must be open on a host that takes it.
    pub needs: Vec<String>,
    /// What is open on a host that has its paths; others take it after a while, and fetch and deliver.
    pub prefers: Vec<String>,
    /// What it works on, as `text::path` writes it.
    pub input: String,
    /// Where its result goes.
    pub output: Option<String>,
    /// The directory of that, for whoever looks at storage.
    pub output_dir: Option<String>,
    /// What whoever puts it in writes on it, such as when its input was made.
    pub stamp: Option<String>,
    /// The intake that it came by: it is known until its input is gone.
    pub intake: Option<String>,
    /// The host whose own directory it came from: it alone says that the input is gone.
    pub offered_by: Option<String>,
}

/// What became of one that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The job.
    pub id: i64,
    /// How it stands.
    pub state: State,
    /// Whether it is new; else there was one of this key.
    pub is_new: bool,
}

/// A worker that comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewWorker {
    /// Boot, pid and start: never used again.
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
    /// Those it knows and cannot take.
    pub lacks: BTreeMap<String, Lack>,
    /// The storage that is open to it.
    pub open: Vec<String>,
    /// The storage of its host that is not.
    pub closed: Vec<String>,
    /// How many cores its host has.
    pub cpus: Option<u32>,
}

/// What came of a worker's coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The queue knows it.
    Entered,
    /// The queue wants a later version.
    TooOld {
        /// At least this one.
        least: String,
    },
}

/// What a worker knows of a type, for others to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeMark {
    /// A digest of what the type says; workers that differ in it do not share a lane.
    pub digest: String,
    /// The tier that should make its results.
    pub first_tier: String,
    /// The tier that this worker would use first: one whose program it has.
    #[serde(default)]
    pub uses: String,
    /// Why it takes one of them now and then alone, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests: Option<String>,
}

/// A type that a worker knows and cannot take just now. Its lane stays what it is to this worker all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What is missing.
    pub why: String,
    /// The digest of what it says, as in [`TypeMark`].
    pub digest: String,
}

/// How a try ended, and what becomes of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Which one.
    #[serde(flatten)]
    pub token: Token,
    /// How the job stands from now on; never running.
    pub state: State,
    /// What it counts for.
    pub counted: Counted,
    /// It waits at least so long, milliseconds.
    pub wait_ms: u64,
    /// The tier that was the last to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// What it exited with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i64>,
    /// What kind of failure; none of a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was begun, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// How long it took, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// A digest of the type it was run by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How large its result is, where it made one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Ending {
    /// One that was not begun.
    #[must_use]
    pub fn given_back(token: Token) -> Self {
        Self {
            token,
            state: State::Retryable,
            counted: Counted::Nothing,
            wait_ms: 0,
            tier: None,
            exit_code: None,
            signal: None,
            class: None,
            message: None,
            started_ms: None,
            took_ms: None,
            digest: None,
            bytes: None,
        }
    }
}

/// How a worker is, with its beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat<'a> {
    /// Who.
    pub worker: &'a str,
    /// `idle`, `busy` or `draining`.
    pub state: &'a str,
    /// What it does just now.
    pub step: Option<&'a str>,
    /// Jobs done since its start.
    pub done: u64,
    /// Tries that were no success.
    pub failed: u64,
    /// How its host is.
    pub load: Load,
    /// How far jobs are, where they say.
    pub progress: &'a [(Token, String)],
    /// Jobs that do not move, and those that do again.
    pub stalls: &'a [(Token, Option<Stall>)],
    /// The storage that is open to it.
    pub open: &'a [String],
    /// The storage of its host that is not.
    pub closed: &'a [String],
    /// Why it does not hear when jobs come, and only looks for them now and then; none where it does.
    pub deaf: Option<&'a str>,
}

/// How a host is; what could not be told is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The load average of one minute, in thousandths.
    pub load_milli: Option<u64>,
    /// Memory that could be had, MiB.
    pub memory_mib: Option<u64>,
}

/// What a worker hears when it beats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it has.
    pub held: Vec<Held>,
    /// Whether somebody asked it to end.
    pub is_asked_to_stop: bool,
}

/// A job that a worker has, as the queue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one.
    pub token: Token,
    /// Whether somebody called it off.
    pub is_cancelled: bool,
    /// Whether its lane is closed, by a person or by its breaker: nothing of it is begun.
    pub is_closed: bool,
}

/// A row that was taken from a worker that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The job.
    pub id: i64,
    /// How it stands now.
    pub state: State,
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The job.
    pub id: i64,
    /// How it stands.
    pub state: State,
    /// What kind of failure its last try was.
    pub class: Option<String>,
    /// In words.
    pub message: Option<String>,
    /// The tier that made the result.
    pub tier: Option<String>,
    /// Where the result goes.
    pub output: Option<String>,
    /// How large it is, where one was made.
    pub bytes: Option<u64>,
    /// When it was over, milliseconds since 1970.
    pub finished_ms: Option<u64>,
}

impl From<Submitted> for Standing {
    /// What is known of one that was put in just now.
    fn from(Submitted { id, state, is_new: _ }: Submitted) -> Self {
        Self {
            id,
            state,
            class: None,
            message: None,
            tier: None,
            output: None,
            bytes: None,
            finished_ms: None,
        }
    }
}

/// How a row ends, of the elements of a list as `e`. A try has a job by its number and by who is at it: where the database was put
/// back to what it was earlier, a number is given out anew.
const END: &str = "
    UPDATE unwedge_jobs SET worker = NULL, cancel_ms = NULL,
        state = CASE WHEN cancel_ms IS NOT NULL AND e.value->>'state' IN ('pending', 'retryable')
            THEN 'cancelled' ELSE e.value->>'state' END,
        finished_ms = CASE WHEN cancel_ms IS NULL AND e.value->>'state' IN ('pending', 'retryable') THEN NULL ELSE {now} END,
        not_before_ms = CASE WHEN CAST(e.value->>'wait_ms' AS BIGINT) = 0 THEN 0 ELSE {now} + CAST(e.value->>'wait_ms' AS BIGINT) END,
        changed_ms = {now}, started_ms = coalesce({now} - CAST(e.value->>'took_ms' AS BIGINT), started_ms),
        failures = failures + CASE WHEN e.value->>'counted' = 'failure' THEN 1 ELSE 0 END,
        infra_errors = infra_errors + CASE WHEN e.value->>'counted' = 'infra' THEN 1 ELSE 0 END,
        class = e.value->>'class', message = e.value->>'message', tier = e.value->>'tier',
        bytes = CAST(e.value->>'bytes' AS BIGINT),
        placed = CASE WHEN coalesce(e.value->>'class', 'infrastructure') IN ('infrastructure', 'crashed') THEN placed
            WHEN e.value->>'state' <> 'done' AND (placed = '' OR placed LIKE 'anew:%') THEN '' END
    FROM {each:1}
    WHERE id = CAST(e.value->>'id' AS BIGINT) AND tries = CAST(e.value->>'try' AS BIGINT) AND worker = $2
    RETURNING id, tries, type, state AS stands";
/// What is kept of a try, of the same elements; where they are from stands behind it.
const NOTE: &str = "
    INSERT INTO unwedge_attempts (job, try, worker, end_state, tier, exit_code, signal, class, message, version, digest, started_ms, ended_ms)
    SELECT CAST(e.value->>'id' AS BIGINT), CAST(e.value->>'try' AS BIGINT), $2, STANDS, e.value->>'tier',
        CAST(e.value->>'exit_code' AS BIGINT), CAST(e.value->>'signal' AS BIGINT), e.value->>'class', e.value->>'message',
        $3, e.value->>'digest', CAST(e.value->>'started_ms' AS BIGINT), {now}";

/// What is said of a try that did not end by itself.
const WAS_LOST: &str = "its worker was lost";

/// Our queue.
pub struct Store {
    session: Session,
    demands: Demands,
    breaker: Breaker,
    worker_stale: Duration,
}

impl Store {
    /// Connects; makes the tables where there are none.
    ///
    /// # Errors
    /// Why there is no queue.
    pub fn open(queue: &Queue) -> Result<Self, Fault> {
        Ok(Self::of(queue, Session::open(queue)?))
    }

    /// Connects, where somebody has made it: nothing is made.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn look(queue: &Queue) -> Result<Option<Self>, Fault> {
        Ok(Session::look(queue)?.map(|session| Self::of(queue, session)))
    }

    fn of(queue: &Queue, session: Session) -> Self {
        Self {
            session,
            demands: Demands::default(),
            breaker: queue.terms.breaker.clone(),
            worker_stale: queue.terms.worker_stale,
        }
    }

    /// Puts jobs in; of a key that is there already the job that it is.
    ///
    /// # Errors
    /// Nothing more was put in; what was is there. That an output is another job's, too.
    pub fn submit(&mut self, jobs: &[NewJob]) -> Result<Vec<Submitted>, Fault> {
        /// What an index of PostgreSQL holds of one row is some 2,700 bytes (nbtree), and a path may be longer.
        const NAME_BYTES_MAX: usize = 2500;
        let is_long = |text: &&String| text.len() > NAME_BYTES_MAX;
        let mut names = jobs.iter().flat_map(|it| [Some(&it.key), it.output.as_ref()]).flatten();
        if let Some(long) = names.find(is_long) {
            let shown: String = long.chars().take(80).collect();
            return Err(Fault(format!(
                "{shown}...: a path of {} bytes, and a queue holds {NAME_BYTES_MAX} at most",
                long.len()
            )));
        }
        let mut all = Vec::with_capacity(jobs.len());
        for some in jobs.chunks(SUBMIT_AT_ONCE) {
            all.extend(self.submit_some(some)?);
        }
        Ok(all)
    }

    /// Which of these there are already, by their place in the list; nothing is put in.
    ///
    /// # Errors
    /// There is no answer, or one would be refused.
    pub fn known(&mut self, jobs: &[NewJob]) -> Result<BTreeMap<usize, Submitted>, Fault> {
        let mut all = BTreeMap::new();
        for (nth, some) in jobs.chunks(SUBMIT_AT_ONCE).enumerate() {
            let list = listed(some)?;
            refuse_taken(&mut self.session, &list)?;
            let found = find(&mut self.session, &list, &[])?;
            all.extend(found.into_iter().map(|(at, it)| (nth * SUBMIT_AT_ONCE + at, it)));
        }
        Ok(all)
    }

    fn submit_some(&mut self, jobs: &[NewJob]) -> Result<Vec<Submitted>, Fault> {
        const PUT: &str = "
            INSERT INTO unwedge_jobs (type, key, state, priority, needs, prefers, input, output, output_dir, stamp, intake, offered_by, created_ms, not_before_ms, changed_ms)
            SELECT e.value->>'type', e.value->>'key', 'pending', CAST(e.value->>'priority' AS BIGINT), {list:needs}, {list:prefers}, e.value->>'input',
                e.value->>'output', e.value->>'output_dir', e.value->>'stamp', e.value->>'intake', e.value->>'offered_by', {now}, 0, {now}
            FROM {each:1} WHERE true ORDER BY CAST(e.value->>'nth' AS BIGINT)
            ON CONFLICT (type, key) DO NOTHING RETURNING id";
        /// The input of an intake was away, as with storage that was not mounted, and is there again; or its intake has another
        /// name now.
        const BACK: &str = "
            UPDATE unwedge_jobs SET gone_ms = NULL, intake = e.value->>'intake', offered_by = e.value->>'offered_by',
                changed_ms = CASE WHEN gone_ms IS NULL OR state <> 'done' THEN changed_ms ELSE {now} END FROM {each:1}
            WHERE type = e.value->>'type' AND key = e.value->>'key' AND intake IS NOT NULL
                AND (gone_ms IS NOT NULL OR intake <> e.value->>'intake') RETURNING id";
        let list = listed(jobs)?;
        let comes_by_intake = jobs.iter().any(|job| job.intake.is_some());
        self.session.transaction(|session| {
            refuse_taken(session, &list)?;
            let new: Vec<i64> =
                session.rows(PUT, vec![list.clone()])?.iter().map(|row| number(row, 0)).collect();
            let found = find(session, &list, &new)?;
            if !new.is_empty() {
                session.ring()?;
            }
            if comes_by_intake && new.len() < jobs.len() {
                session.rows(BACK, vec![list.clone()])?;
            }
            Ok(found.into_values().collect())
        })
    }

    /// Enters a worker, unless the queue wants a later version. To enter it again does no harm.
    ///
    /// # Errors
    /// It is not there.
    pub fn register(&mut self, worker: &NewWorker) -> Result<Registered, Fault> {
        const ENTER: &str = "
            INSERT INTO unwedge_workers (id, host, unit, version, mode, types, lacks, open, closed, cpus, state, beat_ms, started_ms)
            SELECT e.value->>'id', e.value->>'host', e.value->>'unit', e.value->>'version', e.value->>'mode',
                {list:types}, {list:lacks}, {list:open}, {list:closed}, CAST(e.value->>'cpus' AS BIGINT), 'idle', {now}, {now} FROM {each:1} WHERE true ON CONFLICT (id) DO NOTHING";
        let list = Value::Array(vec![json_of(worker)?]);
        let lanes = lanes_of(&worker.types, &worker.lacks);
        self.session.transaction(|session| {
            let least = session.meta("least_version")?;
            if let Some(least) = least.filter(|least| is_before(&worker.version, least)) {
                return Ok(Registered::TooOld { least });
            }
            session.rows(ENTER, vec![Param::Text(list.to_string())])?;
            lanes::enter(session, lanes)?;
            Ok(Registered::Entered)
        })
    }

    /// What tells this queue from any other, wherever it is moved to: made once, at random.
    ///
    /// # Errors
    /// There is no answer.
    pub fn name(&mut self) -> Result<String, Fault> {
        if let Some(name) = self.session.meta("name")? {
            return Ok(name);
        }
        let (one, other) = (RandomState::new(), RandomState::new());
        let name =
            format!("{:016x}{:016x}", one.build_hasher().finish(), other.build_hasher().finish());
        self.session.rows(
            "INSERT INTO unwedge_meta (name, value) VALUES ('name', $1) ON CONFLICT (name) DO NOTHING",
            vec![Param::Text(name.clone())],
        )?;
        // of two that come at once the first has the say
        Ok(self.session.meta("name")?.unwrap_or(name))
    }

    /// The beginning of that, for names of what belongs to its jobs: files, containers, objects. Another queue has jobs of
    /// the same numbers.
    ///
    /// # Errors
    /// There is no answer.
    pub fn mark(&mut self) -> Result<String, Fault> {
        Ok(self.name()?.chars().take(MARK_CHARS).collect())
    }

    /// The version that the queue wants workers to be of at least, where it refuses this one for that.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn refuses(&mut self, version: &str) -> Result<Option<String>, Fault> {
        Ok(self.session.meta("least_version")?.filter(|least| is_before(version, least)))
    }

    /// Wants workers to be of this version or later from now on; those that are there end, and give back what they cannot end in
    /// their time.
    ///
    /// # Errors
    /// It is as it was.
    pub fn want_version(&mut self, least: &str) -> Result<(), Fault> {
        self.session.set_meta("least_version", least)
    }

    /// Tells what a worker can take from now on. False where the queue knows it no more.
    ///
    /// # Errors
    /// It is as it was.
    pub fn retype(
        &mut self,
        worker: &str,
        types: &BTreeMap<String, TypeMark>,
        lacks: &BTreeMap<String, Lack>,
    ) -> Result<bool, Fault> {
        let lanes = lanes_of(types, lacks);
        let list = Param::Text(json!([{ "types": types, "lacks": lacks }]).to_string());
        self.session.transaction(|session| {
            let known = session.rows(
                "UPDATE unwedge_workers SET types = {list:types}, lacks = {list:lacks} FROM {each:2} WHERE id = $1 AND state <> 'dead' RETURNING id",
                vec![Param::Text(worker.to_owned()), list],
            )?;
            lanes::enter(session, lanes)?;
            Ok(!known.is_empty())
        })
    }

    /// Hands out work, the oldest of the highest priority first. Of a worker that is not entered, or dead, nothing; of
    /// a lane that is paused, open, or known by another digest, neither.
    ///
    /// # Errors
    /// It is not known whether something was handed out; what was goes back with the worker.
    pub fn claim(&mut self, ask: &Ask<'_>) -> Result<Vec<Claimed>, Fault> {
        claim::hand_out(&mut self.session, &mut self.demands, ask, lanes::IS_CLOSED)
    }

    /// A sign of life, which renews the lease of all that the worker has; and what it hears. None: the queue knows it
    /// no more, and all that it had is somebody else's.
    ///
    /// # Errors
    /// Whether it counted is not known.
    pub fn beat(&mut self, beat: &Beat<'_>) -> Result<Option<Heard>, Fault> {
        /// Of tries that still have their job.
        const HELD: &str = "FROM {each:1} WHERE id = CAST(e.value->>'id' AS BIGINT)
            AND tries = CAST(e.value->>'try' AS BIGINT) AND worker = $2";
        self.session.is_itself()?;
        let signed = |number: u64| Param::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let worker = || Param::Text(beat.worker.to_owned());
        let known = self.session.rows(
            "UPDATE unwedge_workers SET beats = beats + 1, beat_ms = {now}, state = $2, step = nullif($3, ''), done = $4, failed = $5,
                 load_milli = nullif($6, -1), memory_mib = nullif($7, -1), open = {as_json:8}, closed = {as_json:10}, deaf = nullif($9, '')
             WHERE id = $1 AND state <> 'dead' RETURNING CASE WHEN stop_ms IS NULL THEN 0 ELSE 1 END",
            vec![
                worker(),
                Param::Text(beat.state.to_owned()),
                Param::Text(beat.step.unwrap_or_default().to_owned()),
                signed(beat.done),
                signed(beat.failed),
                beat.load.load_milli.map_or(Param::Number(-1), signed),
                beat.load.memory_mib.map_or(Param::Number(-1), signed),
                Param::Text(json!(beat.open).to_string()),
                Param::Text(beat.deaf.unwrap_or_default().to_owned()),
                Param::Text(json!(beat.closed).to_string()),
            ],
        )?;
        let Some(known) = known.first() else { return Ok(None) };
        let is_asked_to_stop = number(known, 0) == 1;
        if !beat.progress.is_empty() {
            let list: Vec<Value> = beat
                .progress
                .iter()
                .map(|(token, text)| json!({ "id": token.id, "try": token.nth, "text": text }))
                .collect();
            self.session.rows(
                &format!("UPDATE unwedge_jobs SET progress = e.value->>'text' {HELD}"),
                vec![Param::Text(Value::Array(list).to_string()), worker()],
            )?;
        }
        if !beat.stalls.is_empty() {
            let list: Result<Vec<Value>, Fault> = beat.stalls.iter().map(stall_of).collect();
            self.session.rows(
                &format!("UPDATE unwedge_jobs SET stall = e.value->>'stall' {HELD}"),
                vec![Param::Text(Value::Array(list?).to_string()), worker()],
            )?;
        }
        let held = self.session.rows(
            &format!(
                "SELECT id, tries, CASE WHEN cancel_ms IS NULL THEN 0 ELSE 1 END,
                     CASE WHEN EXISTS (SELECT 1 FROM unwedge_lanes l WHERE l.type = unwedge_jobs.type AND ({})) THEN 1 ELSE 0 END
                 FROM unwedge_jobs WHERE worker = $1 AND state = 'running'",
                lanes::IS_CLOSED
            ),
            vec![worker()],
        )?;
        let held = held.iter().map(|row| Held {
            token: Token { id: number(row, 0), nth: number(row, 1) },
            is_cancelled: number(row, 2) == 1,
            is_closed: number(row, 3) == 1,
        });
        Ok(Some(Heard { held: held.collect(), is_asked_to_stop }))
    }

    /// Whether a try is still the one that has the job: then its result may be put in its place, and by which `mark` that
    /// is known is kept. Whoever takes the job after a crash knows by that whose file it finds there.
    ///
    /// # Errors
    /// It is not known; nothing may be put anywhere.
    pub fn place(&mut self, token: Token, worker: &str, mark: &str) -> Result<bool, Fault> {
        let rows = self.session.rows(
            "UPDATE unwedge_jobs SET placed = $3 WHERE id = $1 AND tries = $2 AND worker = $4 AND cancel_ms IS NULL
             RETURNING id",
            vec![
                Param::Number(token.id),
                Param::Number(token.nth),
                Param::Text(mark.to_owned()),
                Param::Text(worker.to_owned()),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    /// How these jobs stand, with the reason where there is one.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn stand(&mut self, ids: &[i64]) -> Result<Vec<Standing>, Fault> {
        let rows = self.session.rows(
            "SELECT id, state, class, message, tier, output, bytes, finished_ms FROM unwedge_jobs
             WHERE id IN (SELECT CAST(CAST(e.value AS TEXT) AS BIGINT) FROM {each:1}) ORDER BY id",
            vec![Param::Text(json!(ids).to_string())],
        )?;
        rows.iter()
            .map(|row| {
                let text = |nth: usize| row.get(nth).and_then(Cell::text);
                Ok(Standing {
                    id: number(row, 0),
                    state: state(row, 1)?,
                    class: text(2),
                    message: text(3),
                    tier: text(4),
                    output: text(5),
                    bytes: row.get(6).and_then(Cell::number),
                    finished_ms: row.get(7).and_then(Cell::number),
                })
            })
            .collect()
    }

    /// Writes down how tries ended. That a result may be in its place is forgotten only after a try that ended otherwise:
    /// what was given back may never have been begun, and storage that failed, or whoever was killed at it, may have put the
    /// result there all the same.
    ///
    /// Those that were accepted, now or when the same was said before; of the others somebody else has the job, and nothing of
    /// it was changed.
    ///
    /// # Errors
    /// Whether it was written is not known; to write it again does no harm.
    pub fn end(
        &mut self,
        endings: &[Ending],
        version: &str,
        worker: &str,
    ) -> Result<Vec<Token>, Fault> {
        let mut accepted = self.end_those(endings, version, worker)?;
        if accepted.len() < endings.len() {
            let left = endings.iter().map(|it| it.token).filter(|it| !accepted.contains(it));
            let left: Vec<Token> = left.collect();
            accepted.extend(self.ended_before(&left, worker)?);
        }
        Ok(accepted)
    }

    /// Which of these tries of a worker were written down by its own words: their answer may have been lost.
    fn ended_before(&mut self, tries: &[Token], worker: &str) -> Result<Vec<Token>, Fault> {
        let list: Vec<Value> =
            tries.iter().map(|it| json!({ "id": it.id, "try": it.nth })).collect();
        let rows = self.session.rows(
            "SELECT a.job, a.try FROM {each:1} JOIN unwedge_attempts a
             ON a.job = CAST(e.value->>'id' AS BIGINT) AND a.try = CAST(e.value->>'try' AS BIGINT)
             WHERE a.worker = $2 AND coalesce(a.message, '') <> $3",
            vec![
                Param::Text(Value::Array(list).to_string()),
                Param::Text(worker.to_owned()),
                Param::Text(WAS_LOST.to_owned()),
            ],
        )?;
        Ok(rows.iter().map(|row| Token { id: number(row, 0), nth: number(row, 1) }).collect())
    }

    fn end_those(
        &mut self,
        endings: &[Ending],
        version: &str,
        worker: &str,
    ) -> Result<Vec<Token>, Fault> {
        let list: Vec<Value> = endings.iter().map(json_of).collect::<Result<_, Fault>>()?;
        let (worker, version) = (Param::Text(worker.to_owned()), Param::Text(version.to_owned()));
        let all = Param::Text(Value::Array(list).to_string());
        let of_type = |it: &Ending| it.class.as_deref() == Some(Class::Configuration.name());
        if self.session.is_one_for_all() && !endings.iter().any(of_type) {
            return self.end_at_once(vec![all, worker, version]);
        }
        let breaker = &self.breaker;
        self.session.transaction(|session| {
            let rows = session.rows(END, vec![all, worker.clone()])?;
            let of = |row: &Vec<Cell>| Token { id: number(row, 0), nth: number(row, 1) };
            let types: BTreeMap<Token, String> =
                rows.iter().map(|row| (of(row), text_of(row, 2))).collect();
            // one that was called off meanwhile stands otherwise than its try says
            let stands: BTreeMap<Token, String> =
                rows.iter().map(|row| (of(row), text_of(row, 3))).collect();
            let accepted: Vec<Token> = types.keys().copied().collect();
            lanes::note(session, endings, &types, breaker)?;
            let noted: Vec<Value> = endings
                .iter()
                .filter_map(|ending| Some((ending, stands.get(&ending.token)?)))
                .map(|(ending, stands)| {
                    let mut value = json_of(ending)?;
                    value["state"] = json!(stands);
                    Ok(value)
                })
                .collect::<Result<_, Fault>>()?;
            if !noted.is_empty() {
                let noted = Param::Text(Value::Array(noted).to_string());
                let note = NOTE.replace("STANDS", "e.value->>'state'");
                session.rows(&format!("{note} FROM {{each:1}}"), vec![noted, worker, version])?;
            }
            Ok(accepted)
        })
    }

    /// The same in one statement, where the database takes that, and where no lane may have to be closed.
    fn end_at_once(&mut self, params: Vec<Param>) -> Result<Vec<Token>, Fault> {
        let text = format!(
            "WITH ended AS ({END}, e.value), noted AS ({} FROM ended e),
                 works AS (UPDATE unwedge_lanes {} WHERE (streak > 0 OR opened_ms IS NOT NULL) AND type IN (SELECT e.type FROM ended e
                     WHERE coalesce(e.value->>'class', '') <> 'infrastructure' AND (e.value->>'class' IS NOT NULL OR e.value->>'state' = 'done')))
             SELECT id, tries FROM ended ORDER BY id, tries",
            NOTE.replace("STANDS", "e.stands"),
            lanes::CLOSE
        );
        let rows = self.session.rows(&text, params)?;
        Ok(rows.iter().map(|row| Token { id: number(row, 0), nth: number(row, 1) }).collect())
    }

    /// The workers that are not dead.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn workers(&mut self) -> Result<Vec<Seen>, Fault> {
        let rows = self.session.rows(
            "SELECT id, host, beats, {now} - beat_ms FROM unwedge_workers WHERE state <> 'dead' ORDER BY id",
            Vec::new(),
        )?;
        let natural = |row: &[Cell], nth| u64::try_from(number(row, nth)).unwrap_or_default();
        Ok(rows
            .iter()
            .map(|row| Seen {
                id: text_of(row, 0),
                host: text_of(row, 1),
                beats: natural(row, 2),
                silent_ms: natural(row, 3),
            })
            .collect())
    }

    /// Declares workers dead that have not beaten since they were seen so, and gives back what they and any other that is
    /// dead or not in the list had: a claim that overlaps a burial leaves its rows to the next. A job that
    /// was lost with its worker for the `limit`th time is put aside: it may be what ends them. Those that were lost
    /// before come again one by one, half a minute apart: what ends a worker takes none of the others along once more, and
    /// workers that fall one after another by no fault of any job use up nobody's tries within seconds.
    ///
    /// # Errors
    /// Nothing is changed.
    pub fn bury(&mut self, gone: &[Seen], limit: u32) -> Result<Vec<Rescued>, Fault> {
        const BURY: &str = "
            UPDATE unwedge_workers SET state = 'dead', ended_ms = {now} FROM {each:1}
            WHERE id = e.value->>'id' AND beats = CAST(e.value->>'beats' AS BIGINT) AND state <> 'dead'";
        const NOTE: &str = "
            INSERT INTO unwedge_attempts (job, try, worker, end_state, class, message, version, digest, started_ms, ended_ms)
            SELECT j.id, j.tries, j.worker, CASE WHEN j.cancel_ms IS NOT NULL THEN 'cancelled' WHEN j.rescues + 1 >= $1 THEN 'quarantined' ELSE 'retryable' END,
                'crashed', $3, w.version, w.types->j.type->>'digest', j.started_ms, {now}
            FROM {each:2} JOIN unwedge_jobs j ON j.id = CAST(e.value->>'id' AS BIGINT) LEFT JOIN unwedge_workers w ON w.id = j.worker
            WHERE j.state = 'running' AND coalesce(w.state, 'dead') = 'dead'";
        const RESCUE: &str = "
            UPDATE unwedge_jobs SET rescues = rescues + 1, worker = NULL, cancel_ms = NULL,
                state = CASE WHEN cancel_ms IS NOT NULL THEN 'cancelled' WHEN rescues + 1 >= $1 THEN 'quarantined' ELSE 'retryable' END,
                finished_ms = CASE WHEN cancel_ms IS NOT NULL OR rescues + 1 >= $1 THEN {now} END,
                not_before_ms = CASE WHEN rescues = 0 THEN 0 ELSE {now} + CAST(e.value->>'wait_ms' AS BIGINT) END,
                changed_ms = {now}, class = 'crashed', message = $3
            FROM {each:2} WHERE id = CAST(e.value->>'id' AS BIGINT) AND state = 'running' AND LOST
            RETURNING id, state";
        /// Of nobody who is alive, at the moment of the statement.
        const LOST: &str = "NOT EXISTS (SELECT 1 FROM unwedge_workers w WHERE w.id = worker AND w.state <> 'dead')";
        let gone: Vec<Value> =
            gone.iter().map(|seen| json!({ "id": seen.id, "beats": seen.beats })).collect();
        let limit = Param::Number(i64::from(limit));
        let why = Param::Text(WAS_LOST.to_owned());
        self.session.transaction(|session| {
            session.rows(BURY, vec![Param::Text(Value::Array(gone).to_string())])?;
            // locked first, so that none is written down that ended by itself meanwhile
            let lost = session.rows(
                &format!("SELECT id, rescues FROM unwedge_jobs WHERE state = 'running' AND {LOST} ORDER BY id {{lock}}"),
                Vec::new(),
            )?;
            // heeded only by those that were lost before
            let mut wait_ms = 0;
            let waits = lost.iter().map(|row| {
                wait_ms += u64::from(number(row, 1) > 0) * LOST_AGAIN_APART_MS;
                json!({ "id": number(row, 0), "wait_ms": wait_ms })
            });
            let waits = Param::Text(Value::Array(waits.collect()).to_string());
            // of these alone: what was claimed by a dead one meanwhile is the next burial's
            session.rows(NOTE, vec![limit.clone(), waits.clone(), why.clone()])?;
            let rows = session.rows(&RESCUE.replace("LOST", LOST), vec![limit, waits, why])?;
            session.keep_clock()?;
            rows.iter()
                .map(|row| Ok(Rescued { id: number(row, 0), state: state(row, 1)? }))
                .collect()
        })
    }

    /// Takes a worker that ends by itself out of the list. What it still had goes back uncounted.
    ///
    /// # Errors
    /// It is still there; somebody buries it later.
    pub fn leave(&mut self, worker: &str) -> Result<u64, Fault> {
        self.session.transaction(|session| {
            let back = session.rows(
                "UPDATE unwedge_jobs SET state = CASE WHEN cancel_ms IS NOT NULL THEN 'cancelled'
                         WHEN failures + infra_errors + rescues > 0 THEN 'retryable' ELSE 'pending' END,
                     finished_ms = CASE WHEN cancel_ms IS NOT NULL THEN {now} END, cancel_ms = NULL,
                     worker = NULL, changed_ms = {now} WHERE worker = $1 AND state = 'running' RETURNING id",
                vec![Param::Text(worker.to_owned())],
            )?;
            session.rows(
                "UPDATE unwedge_workers SET state = 'dead', ended_ms = {now}, step = NULL WHERE id = $1 AND state <> 'dead'",
                vec![Param::Text(worker.to_owned())],
            )?;
            Ok(back.len() as u64)
        })
    }

    /// Asks workers to end; each hears it with its next beat. Those that are there.
    ///
    /// # Errors
    /// None of them is asked.
    pub fn ask_to_stop(&mut self, workers: &[String]) -> Result<Vec<String>, Fault> {
        let rows = self.session.rows(
            "UPDATE unwedge_workers SET stop_ms = {now}
             WHERE state <> 'dead' AND id IN (SELECT {element} FROM {each:1}) RETURNING id",
            vec![Param::Text(json!(workers).to_string())],
        )?;
        Ok(rows.iter().map(|row| text_of(row, 0)).collect())
    }

    /// Takes the dead out of the list, but those that still have a job; `only` of these, where that is said. How many.
    ///
    /// # Errors
    /// It is as it was.
    pub fn forget_dead(&mut self, only: Option<&[String]>) -> Result<u64, Fault> {
        let of_these = only.map_or("", |_| "AND id IN (SELECT {element} FROM {each:1})");
        let rows = self.session.rows(
            &format!(
                "DELETE FROM unwedge_workers WHERE state = 'dead' {of_these} AND NOT EXISTS
                     (SELECT 1 FROM unwedge_jobs j WHERE j.worker = unwedge_workers.id AND j.state = 'running') RETURNING id"
            ),
            only.map(|ids| Param::Text(json!(ids).to_string())).into_iter().collect(),
        )?;
        Ok(rows.len() as u64)
    }

    /// How many jobs there are, by type and state.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn counts(&mut self) -> Result<Vec<(String, State, u64)>, Fault> {
        let rows = self.session.rows(
            "SELECT type, state, count(*) FROM unwedge_jobs GROUP BY type, state ORDER BY type, state",
            Vec::new(),
        )?;
        rows.iter()
            .map(|row| {
                Ok((
                    text_of(row, 0),
                    state(row, 1)?,
                    u64::try_from(number(row, 2)).unwrap_or_default(),
                ))
            })
            .collect()
    }

    /// What is to be known of the queue itself: names and values.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn about(&mut self) -> Result<Vec<(&'static str, String)>, Fault> {
        let mut all = self.session.about()?;
        let least = self.session.meta("least_version")?;
        all.push((
            "workers",
            least.map_or("any version".to_owned(), |it| format!("of version {it} or later")),
        ));
        Ok(all)
    }

    /// What is wrong with a file, once each page was looked at.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn damage(&mut self) -> Result<Option<String>, Fault> {
        self.session.damage()
    }

    /// The present as the queue has it, milliseconds since 1970.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn now_ms(&mut self) -> Result<u64, Fault> {
        self.session.now_ms()
    }
}

/// What is kept of a stall: with the try that it is of, so that a later one need not take it back.
#[derive(Serialize, Deserialize)]
struct KeptStall {
    #[serde(rename = "try")]
    nth: i64,
    #[serde(flatten)]
    stall: Stall,
}

fn stall_of((token, stall): &(Token, Option<Stall>)) -> Result<Value, Fault> {
    let kept = stall.clone().map(|stall| KeptStall { nth: token.nth, stall });
    let kept = kept.map(|it| json_of(&it)).transpose()?.map(|it| it.to_string());
    Ok(json!({ "id": token.id, "try": token.nth, "stall": kept }))
}

/// Whether a version comes before another, number by number; one that is no version comes first.
#[must_use]
pub fn is_before(version: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let release = version.split(['-', '+']).next().unwrap_or_default();
        release.split('.').map_while(|part| part.parse().ok()).collect()
    };
    numbers(version) < numbers(other)
}

/// The lanes of the types that a worker knows.
fn lanes_of(types: &BTreeMap<String, TypeMark>, lacks: &BTreeMap<String, Lack>) -> Param {
    let all: Vec<&String> = types.keys().chain(lacks.keys()).collect();
    Param::Text(json!(all).to_string())
}

/// Jobs as one value, each with its place among them.
fn listed(jobs: &[NewJob]) -> Result<Param, Fault> {
    let list: Result<Vec<Value>, Fault> = jobs
        .iter()
        .enumerate()
        .map(|(nth, job)| {
            let mut value = json_of(job)?;
            value["nth"] = json!(nth);
            Ok(value)
        })
        .collect();
    Ok(Param::Text(Value::Array(list?).to_string()))
}

/// Where one of these would write over the output of another.
fn refuse_taken(session: &mut Session, list: &Param) -> Result<(), Fault> {
    const TAKEN: &str = "
        SELECT e.value->>'output', j.id FROM {each:1}
        JOIN unwedge_jobs j {by:unwedge_jobs_output} ON j.output = e.value->>'output' AND j.state IN ('pending', 'retryable', 'running')
        WHERE NOT (j.type = e.value->>'type' AND j.key = e.value->>'key') LIMIT 1";
    match session.rows(TAKEN, vec![list.clone()])?.first() {
        None => Ok(()),
        Some(row) => Err(Fault(format!(
            "{} is the output of job {1} already: two jobs never write one file; where that one is not wanted any more: unwedge jobs cancel {1}",
            text_of(row, 0),
            number(row, 1)
        ))),
    }
}

/// Those of the list that the queue has, by their place in it.
fn find(
    session: &mut Session,
    list: &Param,
    new: &[i64],
) -> Result<BTreeMap<usize, Submitted>, Fault> {
    const FIND: &str = "
        SELECT CAST(e.value->>'nth' AS BIGINT), j.id, j.state FROM {each:1}
        JOIN unwedge_jobs j ON j.type = e.value->>'type' AND j.key = e.value->>'key'";
    let rows = session.rows(FIND, vec![list.clone()])?;
    let found = rows.iter().map(|row| {
        let (nth, id) = (usize::try_from(number(row, 0)).unwrap_or_default(), number(row, 1));
        Ok((nth, Submitted { id, state: state(row, 2)?, is_new: new.contains(&id) }))
    });
    found.collect()
}

fn json_of(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault(error.to_string()))
}

fn millis(time: Duration) -> Param {
    Param::Number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn number(row: &[Cell], nth: usize) -> i64 {
    match row.get(nth) {
        Some(Cell::Number(number)) => *number,
        Some(Cell::Bytes(_) | Cell::Null) | None => 0,
    }
}

fn count(row: &[Cell], nth: usize) -> u32 {
    u32::try_from(number(row, nth)).unwrap_or_default()
}

fn text_of(row: &[Cell], nth: usize) -> String {
    row.get(nth).and_then(Cell::text).unwrap_or_default()
}

fn state(row: &[Cell], nth: usize) -> Result<State, Fault> {
    let name = text_of(row, nth);
    State::named(&name).ok_or_else(|| {
        Fault(format!(
            "a state that this version does not know: {}",
            text::tail(name.as_bytes(), 40)
        ))
    })
}
