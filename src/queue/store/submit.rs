//! Jobs are put in. The same key twice is one job, and no two that wait write one file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::session::Session;
use super::{Fault, NewJob, Param, Store, Submitted, json_of, state};

/// So many rows are put in at a time, whole or not at all: the lock of a file is nobody else's for long.
pub const SUBMIT_AT_ONCE: usize = 500;

/// Refuses names that no queue holds.
pub(super) fn refuse_long(jobs: &[NewJob]) -> Result<(), Fault> {
    /// What an index of PostgreSQL holds of one row is some 2,700 bytes (nbtree), and a path may be longer.
    const NAME_BYTES_MAX: usize = 2500;
    let is_long = |text: &&String| text.len() > NAME_BYTES_MAX;
    let mut names = jobs.iter().flat_map(|it| [Some(&it.key), it.output.as_ref()]).flatten();
    let Some(long) = names.find(is_long) else { return Ok(()) };
    let shown: String = long.chars().take(80).collect();
    Err(Fault(format!(
        "{shown}...: a path of {} bytes, and a queue holds {NAME_BYTES_MAX} at most",
        long.len()
    )))
}

impl Store {
    /// Puts jobs in; of a key that is there already the job that it is.
    ///
    /// # Errors
    /// Nothing more was put in; what was is there. That an output is another job's, too.
    pub fn submit(&mut self, jobs: &[NewJob]) -> Result<Vec<Submitted>, Fault> {
        refuse_long(jobs)?;
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
                session.rows(PUT, vec![list.clone()])?.iter().map(|row| row.number(0)).collect();
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
}

/// Jobs as one value, each with its place among them.
pub(super) fn listed(jobs: &[NewJob]) -> Result<Param, Fault> {
    let list: Result<Vec<Value>, Fault> = jobs
        .iter()
        .enumerate()
        .map(|(nth, job)| {
            let mut value = json_of(job)?;
            value["nth"] = json!(nth);
            Ok(value)
        })
        .collect();
    Ok(Param::list(&list?))
}

/// Where one of these would write over the output of another.
fn refuse_taken(session: &mut Session, list: &Param) -> Result<(), Fault> {
    refuse_taken_but(&[], session, list)
}

/// The same, once these jobs have none any more.
pub(super) fn refuse_taken_but(
    free: &[i64],
    session: &mut Session,
    list: &Param,
) -> Result<(), Fault> {
    const TAKEN: &str = "
        SELECT e.value->>'output', j.id FROM {each:1}
        JOIN unwedge_jobs j {by:unwedge_jobs_output} ON j.output = e.value->>'output' AND j.state IN ('pending', 'retryable', 'running')
        WHERE NOT (j.type = e.value->>'type' AND j.key = e.value->>'key') AND j.id NOT IN ({ids:2}) LIMIT 1";
    match session.rows(TAKEN, vec![list.clone(), Param::list(free)])?.first() {
        None => Ok(()),
        Some(row) => Err(Fault(format!(
            "{} is the output of job {1} already: two jobs never write one file; where that one is not wanted any more: unwedge jobs cancel {1}",
            row.text_of(0),
            row.number(1)
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
        let (nth, id) = (usize::try_from(row.number(0)).unwrap_or_default(), row.number(1));
        Ok((nth, Submitted { id, state: state(row, 2)?, is_new: new.contains(&id) }))
    });
    found.collect()
}
