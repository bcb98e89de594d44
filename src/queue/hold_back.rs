//! Holding rows back: jobs that would be taken next or soon, and whose output lies where nothing can be written
//! now, are given a later time before which nobody takes them. Only the column that the map names for
//! that is written, only of rows that still wait, and never to an earlier time; all in one transaction.
//!
//! This and giving running rows back are the only things that are ever written to a foreign table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cells::Cell;
use super::read::{self, Session};
use super::sql::{Dialect, Kind, Param, Statement, Table, Writer, quote};
use super::{Fault, millis};
use crate::config::queue::{Place, Queue, TableMap};
use crate::probes::jobs::Job;

/// What of its output decides whether a job is held back.
#[derive(Clone, Debug)]
pub struct Where {
    /// It lies at or below one of these.
    pub below: Vec<PathBuf>,
    /// And not at or below one of these, which are storage of their own.
    pub except: Vec<PathBuf>,
}

impl Where {
    /// A job that does not say where it writes may write elsewhere, and is left.
    fn has(&self, job: &Job) -> bool {
        let among =
            |paths: &[PathBuf], output: &Path| paths.iter().any(|it| output.starts_with(it));
        let output = job.output.as_deref();
        output.is_some_and(|it| among(&self.below, it) && !among(&self.except, it))
    }
}

/// Why nothing can be held back, though the map names a column for it.
pub fn hindrance(dialect: Dialect, table: &Table, map: &TableMap) -> Result<Option<String>, Fault> {
    let Some(name) = &map.hold_back else { return Ok(None) };
    let (column, shown) = (table.column(name)?, &table.shown);
    Ok(match dialect {
        Dialect::Sqlite => Some(
            "SQLite has no time of its own, so what the worker compares a not-before column with is not known"
                .to_owned(),
        ),
        Dialect::Postgres if column.kind != Kind::Time => Some(format!(
            "{name:?} of {shown} is no timestamp: what the worker compares it with is not known, so it is not \
             written"
        )),
        Dialect::Postgres if !column.writable => {
            Some(format!("this user may not UPDATE {name:?} of {shown}"))
        }
        Dialect::Postgres => None,
    })
}

/// Holds back for `time` what comes next or soon and writes where it is said. Whether that stays is the
/// transaction's.
pub fn in_session(
    session: &mut impl Session,
    queue: &Queue,
    map: &TableMap,
    place: &Where,
    time: Duration,
) -> Result<Pass, Fault> {
    let column = map.hold_back.as_ref().ok_or_else(|| {
        Fault::new("[queue.table] names no hold_back column, so nothing can be held back")
    })?;
    let table = session.table(map)?;
    if let Some(why) = hindrance(session.dialect(), &table, map)? {
        return Err(Fault(why));
    }
    let facts = read::facts_of(session, &table, queue, map)?;
    let on = |job: &&Job| place.has(job);
    let running: Vec<String> = facts.running.iter().filter(on).map(|job| job.id.clone()).collect();
    let near: Vec<String> = facts.near().filter(on).map(|job| job.id.clone()).collect();
    // one that is in somebody's hands may be back in the queue before the statement is carried out
    let ids = [running.as_slice(), &near].concat();
    let mut held = Vec::new();
    if !ids.is_empty() {
        let rows = session.rows(&statement(session, &table, map, column, &ids, time)?)?;
        held.extend(rows.iter().filter_map(|row| row.first().and_then(Cell::text)));
    }
    held.sort();
    let in_hands = running.iter().any(|id| !held.contains(id));
    Ok(Pass { held, in_hands })
}

/// What one transaction came to.
#[derive(Debug)]
pub struct Pass {
    /// Ids of the rows that were held back.
    pub held: Vec<String>,
    /// Whether some of the jobs there were in a worker's hands: one that fails at once comes back at once.
    pub in_hands: bool,
}

/// What was seen is asked for again in the very statement: a row that somebody has taken since stays his.
fn statement(
    session: &impl Session,
    table: &Table,
    map: &TableMap,
    column: &str,
    ids: &[String],
    time: Duration,
) -> Result<Statement, Fault> {
    let mut to = Writer::new(session.dialect(), table, session.now_ms());
    let waiting = [&map.states.pending[..], &map.states.retryable[..]].concat();
    let waits = to.status_is(&quote(&map.status), &map.status, &waiting)?;
    let id = Place { column: map.id.clone(), keys: Vec::new() };
    let these = to.is_among(&id, ids)?;
    let shown = to.text(Some(&id))?;
    let (name, type_name) = (quote(column), &table.column(column)?.type_name);
    let pause = to.param(Param::Number(i64::try_from(millis(time)).unwrap_or(i64::MAX)));
    let until = format!("(now() + {pause} * interval '1 millisecond')::{type_name}");
    let text = format!(
        "UPDATE {} SET {name} = {until} WHERE {these} AND {waits} \
         AND ({name} IS NULL OR {name} < {until}) RETURNING {shown}",
        table.quoted
    );
    Ok(to.finish(text))
}
