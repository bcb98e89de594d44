//! What an operator does to jobs: some at a time, each time in one transaction, so that a running worker is never
//! kept waiting and a change that is cut off is gone on with by the same command. Each change of a row is an event.

use std::collections::BTreeSet;

use serde::Serialize;

use super::listing::Which;
use super::session::Session;
use super::{Fault, Param, Store, state};
use crate::decide::attempts::State;

/// So many at a time.
const AT_ONCE: usize = 1000;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begin anew, with nothing used up.
    Retry,
    /// Call off: at once what waits, at its worker's next beat what runs.
    Cancel,
    /// Back from quarantine, with nothing used up.
    Release,
    /// Into quarantine, for this reason.
    Quarantine(String),
}

impl Change {
    /// In which states there is something to change.
    #[must_use]
    pub fn states(&self) -> &'static [State] {
        match self {
            Self::Retry => &[State::Failed, State::Cancelled, State::Retryable, State::Done],
            Self::Cancel => &[State::Pending, State::Retryable, State::Running],
            Self::Release => &[State::Quarantined],
            Self::Quarantine(_) => &[State::Pending, State::Retryable],
        }
    }

    fn event(&self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Cancel => "cancelled",
            Self::Release => "released",
            Self::Quarantine(_) => "quarantined",
        }
    }

    /// Whether it makes jobs wait again, and so may meet another that waits for the same output.
    fn opens(&self) -> bool {
        match self {
            Self::Retry | Self::Release => true,
            Self::Cancel | Self::Quarantine(_) => false,
        }
    }
}

/// What was changed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// These.
    pub jobs: Vec<i64>,
    /// These run, and end with their worker's next beat.
    pub running: Vec<i64>,
    /// These stay as they are: another job that waits writes the same output, so both are kept.
    pub taken: Vec<i64>,
}

/// How far a change has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What was changed so far.
    pub changed: Changed,
    /// Whether that is all.
    pub is_over: bool,
    /// The last job that was looked at.
    after: i64,
    /// The outputs of those that wait again.
    outputs: BTreeSet<String>,
}

impl Store {
    /// Does it to all that are meant and can be changed so; with `dry_run` nothing.
    ///
    /// # Errors
    /// What was done stays done; to do it again goes on with it.
    pub fn change(
        &mut self,
        which: &Which,
        change: &Change,
        by: &str,
        dry_run: bool,
    ) -> Result<Changed, Fault> {
        let mut progress = Progress::default();
        while !progress.is_over {
            progress = self.change_some(which, change, by, dry_run, progress)?;
        }
        Ok(progress.changed)
    }

    /// The next thousand of a change.
    ///
    /// # Errors
    /// None of these was changed, or that is not known; to do it again does no harm.
    pub fn change_some(
        &mut self,
        which: &Which,
        change: &Change,
        by: &str,
        dry_run: bool,
        mut progress: Progress,
    ) -> Result<Progress, Fault> {
        let which = which.clone().standing(change.states());
        progress.is_over = which.states.is_empty();
        if progress.is_over {
            return Ok(progress);
        }
        self.session.transaction(|session| {
            let found = find(session, &which, progress.after)?;
            progress.is_over = found.len() < AT_ONCE;
            progress.after = found.last().map_or(progress.after, |it| it.id);
            let taken = if change.opens() { taken(session, &found)? } else { BTreeSet::new() };
            let mut now = Vec::new();
            for Found { id, state, output } in found {
                // two of these may be after one output, too
                let is_second = || output.is_some_and(|it| !progress.outputs.insert(it));
                if change.opens() && (taken.contains(&id) || is_second()) {
                    progress.changed.taken.push(id);
                    continue;
                }
                now.push(id);
                if state == State::Running {
                    progress.changed.running.push(id);
                } else {
                    progress.changed.jobs.push(id);
                }
            }
            if !dry_run && !now.is_empty() {
                write(session, &now, change, by)?;
                if change.opens() {
                    session.ring()?;
                }
            }
            Ok(())
        })?;
        Ok(progress)
    }
}

struct Found {
    id: i64,
    state: State,
    output: Option<String>,
}

fn find(session: &mut Session, which: &Which, after: i64) -> Result<Vec<Found>, Fault> {
    let mut params = Vec::new();
    let condition = which.condition(&mut params);
    params.push(Param::Number(after));
    let text = format!(
        "SELECT id, state, output FROM unwedge_jobs WHERE {condition} AND id > ${} ORDER BY id LIMIT {AT_ONCE} {{lock}}",
        params.len()
    );
    let rows = session.rows(&text, params)?;
    rows.iter()
        .map(|row| Ok(Found { id: row.number(0), state: state(row, 1)?, output: row.text(2) }))
        .collect()
}

/// Those of which another job that waits or runs writes the output.
fn taken(session: &mut Session, found: &[Found]) -> Result<BTreeSet<i64>, Fault> {
    let ids: Vec<i64> = found.iter().map(|it| it.id).collect();
    let rows = session.rows(
        "SELECT j.id FROM unwedge_jobs j JOIN unwedge_jobs o ON o.output = j.output AND o.id <> j.id
             AND o.state IN ('pending', 'retryable', 'running')
         WHERE j.id IN ({ids:1})",
        vec![Param::list(&ids)],
    )?;
    Ok(rows.iter().map(|row| row.number(0)).collect())
}

fn write(session: &mut Session, ids: &[i64], change: &Change, by: &str) -> Result<(), Fault> {
    /// One that is done is made again; what it has made is not taken for what it is to make.
    const ANEW: &str = "state = 'pending', finished_ms = NULL, failures = 0, infra_errors = 0, rescues = 0, class = NULL,
        message = NULL, tier = NULL, progress = NULL, not_before_ms = 0, changed_ms = {now},
        placed = CASE WHEN state = 'done' THEN '' ELSE placed END";
    let list = Param::list(ids);
    let (set, params) = match change {
        Change::Retry | Change::Release => (ANEW, vec![list.clone()]),
        Change::Cancel => (
            "state = CASE WHEN state = 'running' THEN 'running' ELSE 'cancelled' END,
             finished_ms = CASE WHEN state = 'running' THEN NULL ELSE {now} END,
             cancel_ms = CASE WHEN state = 'running' THEN {now} END, changed_ms = {now}",
            vec![list.clone()],
        ),
        Change::Quarantine(why) => (
            "state = 'quarantined', finished_ms = {now}, changed_ms = {now}, class = 'set-aside', message = $2",
            vec![list.clone(), Param::Text(why.clone())],
        ),
    };
    session.rows(
        &format!(
            "UPDATE unwedge_jobs SET {set}
             WHERE id IN ({{ids:1}}) RETURNING id"
        ),
        params,
    )?;
    // the next change takes the reason off the job
    let by = match change {
        Change::Quarantine(why) => format!("{by}: {why}"),
        Change::Retry | Change::Release | Change::Cancel => by.to_owned(),
    };
    session.rows(
        "INSERT INTO unwedge_events (at_ms, kind, job, detail)
         SELECT {now}, $2, CAST(CAST(e.value AS TEXT) AS BIGINT), $3 FROM {each:1}",
        vec![list, Param::from(change.event()), Param::Text(by)],
    )?;
    Ok(())
}

/// What was done to jobs and lanes, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub kind: String,
    /// To which job.
    pub job: Option<i64>,
    /// In words: who did it, and why.
    pub detail: Option<String>,
}

impl Store {
    /// What was done to a job, the oldest first.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn events_of(&mut self, job: i64) -> Result<Vec<Event>, Fault> {
        let rows = self.session.rows(
            "SELECT at_ms, kind, job, detail FROM unwedge_events WHERE job = $1 ORDER BY id",
            vec![Param::Number(job)],
        )?;
        Ok(rows
            .iter()
            .map(|row| Event {
                at_ms: row.natural_of(0),
                kind: row.text_of(1),
                job: row.natural(2).and_then(|it| i64::try_from(it).ok()),
                detail: row.text(3),
            })
            .collect())
    }
}
