//! Giving rows back: jobs that the queue calls running, and that nobody is at, may be taken again. Only the
//! status is written, only of rows that are still running and still at the very try that was seen, and all in
//! one transaction. A row that was taken again has another start, and stays whose it is.

use super::Fault;
use super::cells::Cell;
use super::read::Session;
use super::sql::{Dialect, Param, Statement, Table, Writer, quote};
use crate::config::queue::{Place, TableMap};
use crate::probes::jobs::Row;

/// Gives back what of `rows` is still as it was seen; the ids. Whether that stays is the transaction's.
pub fn in_session(
    session: &mut impl Session,
    map: &TableMap,
    rows: &[Row],
) -> Result<Vec<String>, Fault> {
    let table = session.table(map)?;
    let statement = statement(session, &table, map, rows)?;
    let answer = session.rows(&statement)?;
    let mut given: Vec<String> =
        answer.iter().filter_map(|row| row.first().and_then(Cell::text)).collect();
    given.sort();
    Ok(given)
}

fn statement(
    session: &impl Session,
    table: &Table,
    map: &TableMap,
    rows: &[Row],
) -> Result<Statement, Fault> {
    let Some(started) = &map.started_at else {
        return Err(Fault::new(
            "[queue.table] names no started_at, so one try of a job cannot be told from the next: nothing \
             is given back",
        ));
    };
    // one that was tried is tried again, where the table has a word for that
    let to_state = map.states.retryable.first().or(map.states.pending.first());
    let Some(to_state) = to_state else {
        return Err(Fault::new("[queue.table] states names none that a job could go back to"));
    };
    let mut to = Writer::new(session.dialect(), table, session.now_ms());
    let status = quote(&map.status);
    let type_name = &table.column(&map.status)?.type_name;
    let word = to.param(Param::Text(to_state.clone()));
    let value = match session.dialect() {
        Dialect::Postgres => format!("{word}::text::{type_name}"),
        Dialect::Sqlite => word,
    };
    let running = to.status_is(&status, &map.status, &map.states.running)?;
    let id = Place { column: map.id.clone(), keys: Vec::new() };
    let mut these = Vec::with_capacity(rows.len());
    for row in rows {
        let is_it = to.is_among(&id, std::slice::from_ref(&row.id))?;
        let began = to.time(started)?;
        let ms = i64::try_from(row.started_utc_ms).unwrap_or(i64::MAX);
        let seen = to.param(Param::Number(ms));
        these.push(format!("({is_it} AND ({began}) = {seen})"));
    }
    let (shown, these) = (to.text(Some(&id))?, these.join(" OR "));
    let text = format!(
        "UPDATE {} SET {status} = {value} WHERE {running} AND ({these}) RETURNING {shown}",
        table.quoted
    );
    Ok(to.finish(text))
}
