//! A reading, the same for every database: the catalogue first, then states nobody knows, then the
//! counts and the lists. The first thing that is not as the map says ends it.

use std::collections::BTreeMap;

use super::cells::Cell;
use super::sql::{Dialect, Statement, Table};
use super::statements::{ROWS_WITHOUT_INDEX, Scan, Statements, Which, running_max};
use super::{Fault, hold_back, millis};
use crate::config::queue::{Queue, TableMap};
use crate::probes::jobs::{InfraErrors, Job, QueueFacts, Rescue, Since, State, plain_path};

/// An open database.
pub trait Session {
    /// Its SQL.
    fn dialect(&self) -> Dialect;

    /// The present, milliseconds since 1970, where statements cannot ask for it.
    fn now_ms(&self) -> i64;

    /// What the catalogue says of the map's table.
    fn table(&mut self, map: &TableMap) -> Result<Table, Fault>;

    /// Rows of an answer.
    fn rows(&mut self, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault>;

    /// Whether the unfinished rows can be had without reading the finished ones.
    fn is_served(&mut self, table: &Table, counts: &Statement) -> Result<bool, Fault>;
}

/// Reads everything.
pub fn facts(
    session: &mut impl Session,
    queue: &Queue,
    map: &TableMap,
) -> Result<QueueFacts, Fault> {
    let table = session.table(map)?;
    facts_of(session, &table, queue, map)
}

/// As [`facts`], of a table whose catalogue has been read.
pub fn facts_of(
    session: &mut impl Session,
    table: &Table,
    queue: &Queue,
    map: &TableMap,
) -> Result<QueueFacts, Fault> {
    table.column(&map.status)?;
    let mut advice = Vec::new();
    let hindrance = hold_back::hindrance(session.dialect(), table, map)?;
    let hold_back = map.hold_back.is_some() && hindrance.is_none();
    advice.extend(hindrance.map(|why| format!("no job can be held back: {why}")));
    // of a file nobody but its owner can say who may do what
    advice.extend(excess(table, map).filter(|_| session.dialect() == Dialect::Postgres));
    let statements =
        Statements { dialect: session.dialect(), table, map, queue, now_ms: session.now_ms() };
    let statement = statements.counts()?;
    let served = session.is_served(table, &statement)?;
    if !served {
        advice.push(wanted_index(table, map));
    }
    // without an index this may take the whole time, and then the reader should know why
    let explained = |Fault(why): Fault| {
        if served { Fault(why) } else { Fault(format!("{why}; {}", wanted_index(table, map))) }
    };
    let scan = if served { Scan::First } else { Scan::Whole };
    refuse_unknown_states(session, &statements, scan, &mut advice).map_err(explained)?;
    let counts = Counts::of(&session.rows(&statement).map_err(explained)?)?;
    let mut lists = Lists::of(map, &session.rows(&statements.lists()?).map_err(explained)?)?;
    let mut list = |which| lists.jobs.remove(&which).unwrap_or_default();
    let (running, next, cooling) = (list(Which::Running), list(Which::Next), list(Which::Cooling));
    refuse_too_many(running.len(), running_max(map))?;
    advice.extend(odd_outputs(lists.odd_outputs));
    Ok(QueueFacts {
        queue: String::new(),
        at_utc_ms: counts.now_ms,
        running,
        next,
        cooling,
        counts: counts.states,
        oldest_pending_ms: counts.oldest_pending_ms.filter(|_| !map.created_at.is_empty()),
        infra_errors: InfraErrors {
            window_ms: millis(queue.infra_window),
            count: map.infra.as_ref().map(|_| counts.infra),
        },
        stale_running: map.started_at.as_ref().map(|_| counts.stale),
        dead: None,
        rescue: queue.rescue().map(|it| Rescue {
            by: it.by,
            after_ms: millis(it.after),
            since: Since::Start,
        }),
        hold_back,
        advice,
    })
}

/// A list that is cut short would be taken for all that runs.
pub fn refuse_too_many(running: usize, most: usize) -> Result<(), Fault> {
    if running > most {
        return Err(Fault(format!(
            "more than {most} jobs are running, and each is looked at: have rows that nobody is at taken back, or let fewer run at a time"
        )));
    }
    Ok(())
}

/// What is said of outputs that lead nowhere certain.
pub fn odd_outputs(count: usize) -> Option<String> {
    (count > 0).then(|| {
        format!("{count} of the jobs listed have an output that is no plain absolute path: it may be anywhere")
    })
}

/// What this user may do and never does: whoever gets hold of its password may do it.
fn excess(table: &Table, map: &TableMap) -> Option<String> {
    let needed = [Some(&map.status), map.hold_back.as_ref()];
    let surplus = table
        .columns
        .iter()
        .filter(|(name, column)| column.writable && !needed.contains(&Some(name)));
    let mut rights: Vec<String> = surplus.map(|(name, _)| format!("UPDATE ({name})")).collect();
    if rights.len() > 1 && rights.len() + 1 >= table.columns.len() {
        rights = vec!["UPDATE".to_owned()];
    }
    if table.can_add_or_remove {
        rights.insert(0, "INSERT, DELETE, TRUNCATE or TRIGGER".to_owned());
    }
    let needs = map.hold_back.as_ref().map_or_else(String::new, |column| format!(", {column}"));
    (!rights.is_empty()).then(|| {
        format!(
            "the queue's user may do more than is needed: {}; SELECT is enough, and UPDATE ({}{needs}) \
             to hold jobs and give rows back",
            rights.join(", "),
            map.status
        )
    })
}

fn wanted_index(table: &Table, map: &TableMap) -> String {
    format!(
        "no index of {} begins with {:?}: each reading goes through all its rows, finished ones too",
        table.shown, map.status
    )
}

/// A state that is in no list may be a running job by another name: then nothing is known.
fn refuse_unknown_states(
    session: &mut impl Session,
    statements: &Statements<'_>,
    scan: Scan,
    advice: &mut Vec<String>,
) -> Result<(), Fault> {
    let (table, map) = (statements.table, statements.map);
    let unknown = |state: &str| {
        Err(Fault(format!(
            "{} has the unknown status {state:?}; say in [queue.table] states what it means",
            table.shown
        )))
    };
    if !table.column(&map.status)?.not_null {
        let missing = session.rows(&statements.missing_status(scan))?;
        if first(&missing)?.count()? > 0 {
            return unknown("(none at all)");
        }
    }
    if let Some(values) = &table.status_values {
        return match values.iter().find(|value| !map.states.knows(value)) {
            Some(value) => unknown(value),
            None => Ok(()),
        };
    }
    let rows = if table.status_indexed {
        session.rows(&statements.unknown_by_index()?)?
    } else {
        if scan == Scan::First {
            advice.push(format!(
                "unknown states are looked for in {ROWS_WITHOUT_INDEX} rows only, because no whole index of \
                 {} begins with {:?}",
                table.shown, map.status
            ));
        }
        session.rows(&statements.unknown_by_rows(scan)?)?
    };
    match rows.first().and_then(|row| row.first()).and_then(Cell::text) {
        Some(state) => unknown(&state),
        None => Ok(()),
    }
}

fn first(rows: &[Vec<Cell>]) -> Result<&Cell, Fault> {
    rows.first().and_then(|row| row.first()).ok_or_else(|| Fault::new("the database gave no row"))
}

/// The one row of counts.
struct Counts {
    states: BTreeMap<State, u64>,
    oldest_pending_ms: Option<u64>,
    infra: u64,
    stale: u64,
    now_ms: u64,
}

impl Counts {
    fn of(rows: &[Vec<Cell>]) -> Result<Self, Fault> {
        let [[pending, retryable, cooling, running, oldest, infra, stale, no_time, now]] =
            rows.iter().map(Vec::as_slice).collect::<Vec<_>>()[..]
        else {
            return Err(Fault::new("the database gave no row of counts"));
        };
        if no_time.count()? > 0 {
            return Err(Fault(format!(
                "{} unfinished jobs have a time that cannot be read as one",
                no_time.count()?
            )));
        }
        let now = now.count()?;
        Ok(Self {
            states: [
                (State::Pending, pending.count()?),
                (State::Retryable, retryable.count()?),
                (State::Cooling, cooling.count()?),
                (State::Running, running.count()?),
            ]
            .into(),
            // one put in a moment ahead of the database's clock waits since now
            oldest_pending_ms: oldest.number().map(|since| now.saturating_sub(since)),
            infra: infra.count()?,
            stale: stale.count()?,
            now_ms: now,
        })
    }
}

/// The jobs that are listed.
#[derive(Default)]
struct Lists {
    jobs: BTreeMap<Which, Vec<Job>>,
    odd_outputs: usize,
}

impl Lists {
    fn of(map: &TableMap, rows: &[Vec<Cell>]) -> Result<Self, Fault> {
        let mut lists = Self::default();
        for row in rows {
            let [which, id, lane, output, started, not_before, attempts, retried] = row.as_slice()
            else {
                return Err(Fault::new("the database gave a row of another shape"));
            };
            let which = Which::ALL.into_iter().find(|it| which.number() == Some(it.number()));
            let which = which.ok_or_else(|| Fault::new("the database gave a row of no list"))?;
            let id = id
                .text()
                .ok_or_else(|| Fault(format!("a job has no {:?} to tell it by", map.id)))?;
            let state = match (which, retried.number()) {
                (Which::Running, _) => State::Running,
                (Which::Cooling, _) => State::Cooling,
                (Which::Next, Some(1)) => State::Retryable,
                (Which::Next, _) => State::Pending,
            };
            let written = output.bytes().filter(|bytes| !bytes.is_empty());
            let output = written.and_then(plain_path);
            lists.odd_outputs += usize::from(written.is_some() && output.is_none());
            lists.jobs.entry(which).or_default().push(Job {
                id,
                state,
                lane: lane.text(),
                output,
                started_utc_ms: started.number(),
                not_before_utc_ms: not_before.number(),
                back_utc_ms: None,
                attempts: attempts.number(),
            });
        }
        Ok(lists)
    }
}
