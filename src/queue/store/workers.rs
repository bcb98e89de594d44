//! Workers come, beat and go, by themselves or because nobody hears them any more; what a dead one had goes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ending::WAS_LOST;
use super::{
    Beat, Fault, Heard, Held, Lack, NewWorker, Param, Registered, Rescued, Store, TypeMark,
    is_before, json_of, lanes, state,
};
use crate::decide::at_work::Stall;
use crate::decide::attempts::Token;
use crate::decide::leases::Seen;

/// Jobs that lost their worker again come so far apart, in milliseconds.
const LOST_AGAIN_APART_MS: u64 = 30_000;

/// Of nobody who is alive, at the moment of the statement.
pub(super) const LOST: &str =
    "NOT EXISTS (SELECT 1 FROM unwedge_workers w WHERE w.id = worker AND w.state <> 'dead')";
/// What becomes of a job that is lost with its worker, at most `$1` times.
pub(super) const BECOMES: &str = "CASE WHEN cancel_ms IS NOT NULL THEN 'cancelled' WHEN rescues + 1 >= $1 THEN 'quarantined' ELSE 'retryable' END";

impl Store {
    /// Enters a worker, unless the queue wants a later version. To enter it again does no harm.
    ///
    /// # Errors
    /// It is not there.
    pub fn register(&mut self, worker: &NewWorker) -> Result<Registered, Fault> {
        const ENTER: &str = "
            INSERT INTO unwedge_workers (id, host, unit, version, mode, types, lacks, open, closed, cpus, state, beat_ms, started_ms)
            SELECT e.value->>'id', e.value->>'host', e.value->>'unit', e.value->>'version', e.value->>'mode',
                {list:types}, {list:lacks}, {list:open}, {list:closed}, CAST(e.value->>'cpus' AS BIGINT), 'idle', {now}, {now} FROM {each:1} WHERE true ON CONFLICT (id) DO NOTHING";
        let list = Param::list(&[worker]);
        let lanes = lanes_of(&worker.types, &worker.lacks);
        self.session.transaction(|session| {
            let least = session.meta("least_version")?;
            if let Some(least) = least.filter(|least| is_before(&worker.version, least)) {
                return Ok(Registered::TooOld { least });
            }
            session.rows(ENTER, vec![list])?;
            lanes::enter(session, lanes)?;
            Ok(Registered::Entered)
        })
    }

    /// Tells what a worker can take from now on. False where the queue knows it no more.
    ///
    /// # Errors
    /// It is as it was.
    pub fn retype(
        &mut self,
        worker: &str,
        mode: &str,
        types: &BTreeMap<String, TypeMark>,
        lacks: &BTreeMap<String, Lack>,
    ) -> Result<bool, Fault> {
        let lanes = lanes_of(types, lacks);
        let list = Param::list(&[json!({ "types": types, "lacks": lacks })]);
        self.session.transaction(|session| {
            let known = session.rows(
                "UPDATE unwedge_workers SET mode = $3, types = {list:types}, lacks = {list:lacks} FROM {each:2} WHERE id = $1 AND state <> 'dead' RETURNING id",
                vec![Param::from(worker), list, Param::from(mode)],
            )?;
            lanes::enter(session, lanes)?;
            Ok(!known.is_empty())
        })
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
        let worker = || Param::from(beat.worker);
        let known = self.session.rows(
            "UPDATE unwedge_workers SET beats = beats + 1, beat_ms = {now}, state = $2, step = nullif($3, ''), done = $4, failed = $5,
                 load_milli = nullif($6, -1), memory_mib = nullif($7, -1), open = {as_json:8}, closed = {as_json:10}, deaf = nullif($9, '')
             WHERE id = $1 AND state <> 'dead' RETURNING CASE WHEN stop_ms IS NULL THEN 0 ELSE 1 END",
            vec![
                worker(),
                Param::from(beat.state),
                Param::from(beat.step.unwrap_or_default()),
                signed(beat.done),
                signed(beat.failed),
                beat.load.load_milli.map_or(Param::Number(-1), signed),
                beat.load.memory_mib.map_or(Param::Number(-1), signed),
                Param::list(beat.open),
                Param::from(beat.deaf.unwrap_or_default()),
                Param::list(beat.closed),
            ],
        )?;
        let Some(known) = known.first() else { return Ok(None) };
        let is_asked_to_stop = known.number(0) == 1;
        if !beat.progress.is_empty() {
            let list: Vec<Value> = beat
                .progress
                .iter()
                .map(|(token, text)| json!({ "id": token.id, "try": token.nth, "text": text }))
                .collect();
            self.session.rows(
                &format!("UPDATE unwedge_jobs SET progress = e.value->>'text' {HELD}"),
                vec![Param::list(&list), worker()],
            )?;
        }
        if !beat.stalls.is_empty() {
            let list: Result<Vec<Value>, Fault> = beat.stalls.iter().map(stall_of).collect();
            self.session.rows(
                &format!("UPDATE unwedge_jobs SET stall = e.value->>'stall' {HELD}"),
                vec![Param::list(&list?), worker()],
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
            token: Token { id: row.number(0), nth: row.number(1) },
            is_cancelled: row.number(2) == 1,
            is_closed: row.number(3) == 1,
        });
        Ok(Some(Heard { held: held.collect(), is_asked_to_stop }))
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
        Ok(rows
            .iter()
            .map(|row| Seen {
                id: row.text_of(0),
                host: row.text_of(1),
                beats: row.natural_of(2),
                silent_ms: row.natural_of(3),
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
                state = BECOMES,
                finished_ms = CASE WHEN cancel_ms IS NOT NULL OR rescues + 1 >= $1 THEN {now} END,
                not_before_ms = CASE WHEN rescues = 0 THEN 0 ELSE {now} + CAST(e.value->>'wait_ms' AS BIGINT) END,
                changed_ms = {now}, class = 'crashed', message = $3
            FROM {each:2} WHERE id = CAST(e.value->>'id' AS BIGINT) AND state = 'running' AND LOST
            RETURNING id, state";
        let gone: Vec<Value> =
            gone.iter().map(|seen| json!({ "id": seen.id, "beats": seen.beats })).collect();
        let limit = Param::Number(i64::from(limit));
        let why = Param::from(WAS_LOST);
        self.session.transaction(|session| {
            session.rows(BURY, vec![Param::list(&gone)])?;
            // locked first, so that none is written down that ended by itself meanwhile
            let lost = session.rows(
                &format!("SELECT id, rescues FROM unwedge_jobs WHERE state = 'running' AND {LOST} ORDER BY id {{lock}}"),
                Vec::new(),
            )?;
            // heeded only by those that were lost before
            let mut wait_ms = 0;
            let waits: Vec<Value> = lost.iter().map(|row| {
                wait_ms += u64::from(row.number(1) > 0) * LOST_AGAIN_APART_MS;
                json!({ "id": row.number(0), "wait_ms": wait_ms })
            }).collect();
            let waits = Param::list(&waits);
            // of these alone: what was claimed by a dead one meanwhile is the next burial's
            session.rows(NOTE, vec![limit.clone(), waits.clone(), why.clone()])?;
            let rows = session.rows(&RESCUE.replace("LOST", LOST).replace("BECOMES", BECOMES), vec![limit, waits, why])?;
            session.keep_clock()?;
            rows.iter()
                .map(|row| Ok(Rescued { id: row.number(0), state: state(row, 1)? }))
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
                vec![Param::from(worker)],
            )?;
            session.rows(
                "UPDATE unwedge_workers SET state = 'dead', ended_ms = {now}, step = NULL WHERE id = $1 AND state <> 'dead'",
                vec![Param::from(worker)],
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
            vec![Param::list(workers)],
        )?;
        Ok(rows.iter().map(|row| row.text_of(0)).collect())
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
            only.map(Param::list).into_iter().collect(),
        )?;
        Ok(rows.len() as u64)
    }
}

/// What is kept of a stall: with the try that it is of, so that a later one need not take it back.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptStall {
    #[serde(rename = "try")]
    pub(super) nth: i64,
    #[serde(flatten)]
    pub(super) stall: Stall,
}

fn stall_of((token, stall): &(Token, Option<Stall>)) -> Result<Value, Fault> {
    let kept = stall.clone().map(|stall| KeptStall { nth: token.nth, stall });
    let kept = kept.map(|it| json_of(&it)).transpose()?.map(|it| it.to_string());
    Ok(json!({ "id": token.id, "try": token.nth, "stall": kept }))
}

/// The lanes of the types that a worker knows.
fn lanes_of(types: &BTreeMap<String, TypeMark>, lacks: &BTreeMap<String, Lack>) -> Param {
    let all: Vec<&String> = types.keys().chain(lacks.keys()).collect();
    Param::list(&all)
}
