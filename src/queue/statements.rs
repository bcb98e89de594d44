//! The statements of a reading. Each touches unfinished rows only, so that its cost does not grow with
//! those that are done; the one that looks for unknown states hops from value to value in the index.

use std::collections::BTreeSet;

use super::sql::{Dialect, Statement, Table, Writer, quote};
use super::{Fault, millis};
use crate::config::queue::{Nulls, Place, Queue, TableMap};
use crate::probes::jobs::RUNNING_MAX;

/// How many rows are looked through for unknown states where an index serves the counts, and lists no states.
pub const ROWS_WITHOUT_INDEX: u32 = 20_000;
/// Most running rows that are read of a queue of our own, of which a runner takes up to a thousand of a type at once; with
/// paths of 250 bytes that is still within the mebibyte that an answer may have.
const OWN_RUNNING_MAX: usize = 2_500;
/// What the walk from state to state is called: no name of a table, which it would stand for.
const HOP: &str = "\"hop of unwedge\"";

/// Where states are looked for that no index lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// In every row: the counts go through all of them anyway.
    Whole,
    /// In the first [`ROWS_WITHOUT_INDEX`].
    First,
}

impl Scan {
    fn limit(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::First => format!(" LIMIT {ROWS_WITHOUT_INDEX}"),
        }
    }
}

/// Makes the statements for one table.
#[derive(Clone, Copy)]
pub struct Statements<'a> {
    pub dialect: Dialect,
    pub table: &'a Table,
    pub map: &'a TableMap,
    pub queue: &'a Queue,
    /// The present, for a database that is a file.
    pub now_ms: i64,
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Those at work.
    Running,
    /// Those to be taken next.
    Next,
    /// Those that wait for a time.
    Cooling,
}

impl Which {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Running, Self::Next, Self::Cooling];

    /// How it is called in an answer.
    pub fn number(self) -> u64 {
        match self {
            Self::Running => 0,
            Self::Next => 1,
            Self::Cooling => 2,
        }
    }
}

impl Statements<'_> {
    fn writer(&self) -> Writer<'_> {
        Writer::new(self.dialect, self.table, self.now_ms)
    }

    fn status(&self) -> String {
        quote(&self.map.status)
    }

    /// One row: pending, retryable, cooling, running, the creation of the oldest that could be taken,
    /// infrastructure errors, stale ones, values that are no time, the present.
    pub fn counts(&self) -> Result<Statement, Fault> {
        let (mut to, map) = (self.writer(), self.map);
        let status = self.status();
        let active = self.active(&mut to)?;
        let pending = to.status_is(&status, &map.status, &map.states.pending)?;
        let retryable = to.status_is(&status, &map.status, &map.states.retryable)?;
        let cooling = self.is_cooling(&mut to)?;
        let created = to.first_time(&map.created_at)?;
        let infra = self.is_infra_error(&mut to)?;
        let stale = self.is_stale(&mut to)?;
        let no_time = self.has_no_time(&mut to)?;
        let now = to.now();
        let from = &self.table.quoted;
        let text = format!(
            "SELECT count(*) FILTER (WHERE k = 0 AND NOT cooling), \
             count(*) FILTER (WHERE k = 1 AND NOT cooling), \
             count(*) FILTER (WHERE k < 2 AND cooling), \
             count(*) FILTER (WHERE k = 2), \
             min(created) FILTER (WHERE k < 2 AND NOT cooling), \
             count(*) FILTER (WHERE infra), \
             count(*) FILTER (WHERE k = 2 AND stale), \
             count(*) FILTER (WHERE no_time), {now} \
             FROM (SELECT CASE WHEN {pending} THEN 0 WHEN {retryable} THEN 1 ELSE 2 END AS k, \
             {cooling} AS cooling, {created} AS created, {infra} AS infra, {stale} AS stale, \
             {no_time} AS no_time FROM {from} WHERE {active}) AS q"
        );
        Ok(to.finish(text))
    }

    /// The jobs of each list in turn, all of one moment: rows of the list's number, id, lane, output, start,
    /// not-before, attempts, and 1 for one that was tried before.
    pub fn lists(&self) -> Result<Statement, Fault> {
        let mut to = self.writer();
        let lists = Which::ALL.iter().map(|which| self.list(&mut to, *which));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        Ok(to.finish(lists.join(" UNION ALL ")))
    }

    fn list(&self, to: &mut Writer<'_>, which: Which) -> Result<String, Fault> {
        let map = self.map;
        let status = self.status();
        let id = Place { column: map.id.clone(), keys: Vec::new() };
        let id = to.text(Some(&id))?;
        let lane = to.text(map.lane.as_ref())?;
        let output = to.bytes(map.output.as_ref())?;
        let started = to.first_time(map.started_at.as_slice())?;
        let not_before = self.not_before(to)?;
        let attempts = to.number(map.attempts.as_ref())?;
        let retryable = to.status_is(&status, &map.status, &map.states.retryable)?;
        let waiting: Vec<String> = [&map.states.pending[..], &map.states.retryable[..]].concat();
        let (states, order, limit) = match which {
            Which::Running => (map.states.running.clone(), own(&map.id), running_max(map) + 1),
            Which::Next => (waiting, self.order()?, self.next_jobs()),
            Which::Cooling => (waiting, format!("6, {}", own(&map.id)), self.next_jobs()),
        };
        let these = to.status_is(&status, &map.status, &states)?;
        let these = match &map.of_here {
            Some(of_here) if which == Which::Running => format!("{these} AND {of_here}"),
            Some(_) | None => these,
        };
        let condition = match which {
            Which::Running => "TRUE".to_owned(),
            Which::Next => format!("NOT {}", self.is_cooling(to)?),
            Which::Cooling => self.is_cooling(to)?,
        };
        let (from, columns) = (&self.table.quoted, self.columns()?.join(", "));
        let (fence, number) = (fence(self.dialect), which.number());
        Ok(format!(
            "SELECT * FROM (SELECT {number}, {id}, {lane}, {output}, {started}, {not_before}, {attempts}, \
             CASE WHEN {retryable} THEN 1 ELSE 0 END \
             FROM (SELECT {columns} FROM {from} WHERE {these} {fence}) AS t \
             WHERE {condition} ORDER BY {order} LIMIT {limit}) AS list{number}"
        ))
    }

    /// Every column the map speaks of: a user may be allowed to read no others.
    fn columns(&self) -> Result<Vec<String>, Fault> {
        let map = self.map;
        let names = [&map.id, &map.status].into_iter().chain(map.order.iter().map(|by| &by.column));
        let places = [&map.output, &map.started_at, &map.lane, &map.attempts, &map.next_attempt_at];
        let cooldown = map.cooldown.iter().flat_map(|it| [&it.column, &it.at]);
        let places = places.into_iter().flatten().chain(cooldown);
        let all = names.chain(places.map(|place| &place.column));
        let quoted = all.map(|name| self.table.column(name).map(|_| quote(name)));
        Ok(quoted.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
    }

    /// Rows of states that are in no list, found by hopping through the index.
    pub fn unknown_by_index(&self) -> Result<Statement, Fault> {
        let (mut to, from, status) = (self.writer(), &self.table.quoted, self.status());
        let known = to.status_is(&status, &self.map.status, &self.every_state())?;
        let text = as_text(self.dialect, "v");
        Ok(to.finish(format!(
            "WITH RECURSIVE {HOP}(v) AS (SELECT v FROM (SELECT {status} AS v FROM {from} \
             WHERE {status} IS NOT NULL ORDER BY {status} LIMIT 1) AS first UNION ALL \
             SELECT (SELECT {status} FROM {from} WHERE {status} > {HOP}.v ORDER BY {status} LIMIT 1) \
             FROM {HOP} WHERE {HOP}.v IS NOT NULL) \
             SELECT {text} FROM {HOP} WHERE v IS NOT NULL AND NOT coalesce(\
             (SELECT {known} FROM {from} WHERE {status} = {HOP}.v LIMIT 1), FALSE) LIMIT 1"
        )))
    }

    /// Rows of states that are in no list, among those of `scan`.
    pub fn unknown_by_rows(&self, scan: Scan) -> Result<Statement, Fault> {
        let (mut to, from, status) = (self.writer(), &self.table.quoted, self.status());
        let known = to.status_is("v", &self.map.status, &self.every_state())?;
        let (text, limit) = (as_text(self.dialect, "v"), scan.limit());
        Ok(to.finish(format!(
            "SELECT {text} FROM (SELECT {status} AS v FROM {from}{limit}) AS q \
             WHERE v IS NOT NULL AND NOT ({known}) LIMIT 1"
        )))
    }

    /// Whether a status is missing; looked for in the index or among the rows of `scan`.
    pub fn missing_status(&self, scan: Scan) -> Statement {
        let (from, status) = (&self.table.quoted, self.status());
        let text = if self.table.status_indexed {
            format!(
                "SELECT count(*) FROM (SELECT 1 FROM {from} WHERE {status} IS NULL LIMIT 1) AS q"
            )
        } else {
            let limit = scan.limit();
            format!(
                "SELECT count(*) FROM (SELECT {status} AS v FROM {from}{limit}) AS q WHERE v IS NULL"
            )
        };
        self.writer().finish(text)
    }

    fn every_state(&self) -> Vec<String> {
        self.map.states.lists().iter().flat_map(|(_, list)| list.iter().cloned()).collect()
    }

    fn active(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let states = &self.map.states;
        let active = [&states.pending[..], &states.retryable[..], &states.running[..]].concat();
        to.status_is(&self.status(), &self.map.status, &active)
    }

    fn next_jobs(&self) -> usize {
        usize::try_from(self.queue.next_jobs).unwrap_or(usize::MAX)
    }

    /// Before when a job is not taken: what is stored, what the worker computes, or the later of both.
    fn not_before(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let stored = self.map.next_attempt_at.as_ref().map(|place| to.time(place)).transpose()?;
        let computed = match &self.map.cooldown {
            None => None,
            Some(cooldown) => {
                let when = to.is_among(&cooldown.column, &cooldown.values)?;
                let at = to.time(&cooldown.at)?;
                let pause = millis(cooldown.time);
                Some(format!("CASE WHEN {when} THEN ({at}) + {pause} END"))
            }
        };
        Ok(match (stored, computed) {
            (None, None) => to.null_number(),
            (Some(one), None) | (None, Some(one)) => one,
            (Some(stored), Some(computed)) => to.later(&stored, &computed),
        })
    }

    fn is_cooling(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let (not_before, now) = (self.not_before(to)?, to.now());
        Ok(format!("coalesce(({not_before}) > {now}, FALSE)"))
    }

    fn is_infra_error(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let Some(infra) = &self.map.infra else { return Ok("FALSE".to_owned()) };
        let is = to.is_among(&infra.column, &infra.values)?;
        let (at, now) = (to.time(&infra.at)?, to.now());
        let window = millis(self.queue.infra_window);
        Ok(format!("({is} AND coalesce(({at}) >= {now} - {window}, FALSE))"))
    }

    fn is_stale(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let Some(started) = &self.map.started_at else { return Ok("FALSE".to_owned()) };
        let (started, now) = (to.time(started)?, to.now());
        let age = millis(self.queue.stale_after);
        Ok(format!("coalesce(({started}) < {now} - {age}, FALSE)"))
    }

    /// Whether any time of a row is there and cannot be read.
    fn has_no_time(&self, to: &mut Writer<'_>) -> Result<String, Fault> {
        let map = self.map;
        let times = [map.started_at.as_ref(), map.next_attempt_at.as_ref()];
        let at = [map.infra.as_ref().map(|it| &it.at), map.cooldown.as_ref().map(|it| &it.at)];
        let all = times.into_iter().chain(at).flatten().chain(&map.created_at);
        let wrong: Vec<String> = all.map(|place| to.is_no_time(place)).collect::<Result<_, _>>()?;
        Ok(if wrong.is_empty() { "FALSE".to_owned() } else { wrong.join(" OR ") })
    }

    /// The worker's own order, and the id where that leaves it open.
    fn order(&self) -> Result<String, Fault> {
        let mut by = Vec::new();
        for order in &self.map.order {
            self.table.column(&order.column)?;
            let direction = if order.descending { " DESC" } else { "" };
            let nulls = match order.nulls {
                None => "",
                Some(Nulls::First) => " NULLS FIRST",
                Some(Nulls::Last) => " NULLS LAST",
            };
            by.push(format!("{}{direction}{nulls}", own(&order.column)));
        }
        by.push(own(&self.map.id));
        Ok(by.join(", "))
    }
}

/// Most running rows that are read; where there are more the queue is unknown.
pub fn running_max(map: &TableMap) -> usize {
    if map.of_here.is_some() { OWN_RUNNING_MAX } else { RUNNING_MAX }
}

/// A column of the table to sort by. Without the table's name it would be the column of the answer that
/// is called so, which is text, and 10 comes before 9.
fn own(column: &str) -> String {
    format!("t.{}", quote(column))
}

/// Keeps a planner from walking an index of the order until it has met enough open jobs, which may be never:
/// the open ones are gathered first, by their own index.
fn fence(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "OFFSET 0",
        Dialect::Sqlite => "LIMIT -1 OFFSET 0",
    }
}

fn as_text(dialect: Dialect, expression: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("({expression})::text"),
        Dialect::Sqlite => format!("CAST({expression} AS TEXT)"),
    }
}
