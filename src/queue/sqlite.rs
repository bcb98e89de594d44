//! SQLite: a file that is opened read-only, and only where it lies on a disk of this host. On a network
//! or FUSE file system its locks do not hold, and opening it may hang.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};

use super::cells::Cell;
use super::read::Session;
use super::sql::{Column, Dialect, Kind, Param, Statement, Table, quote};
use super::{Fault, local};
use crate::config::queue::TableMap;
use crate::sys::clock::Now;
use crate::sys::text;

/// Why a file elsewhere is refused.
pub const OVER_A_NETWORK: &str = "SQLite is not read over a network or FUSE file system, where its locks do \
                              not hold; move the file to a local disk, or the queue to PostgreSQL";

/// An open file.
pub struct Sqlite {
    connection: Connection,
    now_ms: i64,
}

/// What the file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading: nothing could be written.
    Read,
    /// Writing, in one transaction that is given up unless it is committed.
    Write,
}

/// Opens the file. A lock of somebody else's is waited for half of `timeout`.
pub fn open(path: &Path, timeout: Duration, access: Access) -> Result<Sqlite, Fault> {
    let shown = text::path(path);
    let real = local::resolve(path, OVER_A_NETWORK)?;
    let (mode, begin) = match access {
        Access::Read => (OpenFlags::SQLITE_OPEN_READ_ONLY, "PRAGMA query_only = 1; BEGIN"),
        Access::Write => (OpenFlags::SQLITE_OPEN_READ_WRITE, "BEGIN IMMEDIATE"),
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let wrong = |error: rusqlite::Error| Fault(format!("{shown}: {}", said(&error)));
    let connection = Connection::open_with_flags(&real, flags).map_err(wrong)?;
    connection.busy_timeout(timeout / 2).map_err(wrong)?;
    // one transaction, so that counts and lists are of one moment; it ends with the program
    connection.execute_batch(begin).map_err(wrong)?;
    let now = Now::take().map_err(|error| Fault(format!("the clock: {error}")))?;
    Ok(Sqlite { connection, now_ms: i64::try_from(now.utc_ms).unwrap_or(i64::MAX) })
}

impl Sqlite {
    /// Keeps what was written.
    pub fn commit(self) -> Result<(), Fault> {
        let done = self.connection.execute_batch("COMMIT");
        done.map_err(|error| Fault(format!("SQLite: {}", said(&error))))
    }
}

impl Session for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn table(&mut self, map: &TableMap) -> Result<Table, Fault> {
        if map.zone != "UTC" {
            return Err(Fault::new("times in SQLite are UTC; zone is for PostgreSQL"));
        }
        let (schema, name) = map.name.split_once('.').unwrap_or(("main", &map.name));
        let ask = |text: &str, values: &[&str]| Statement {
            text: text.to_owned(),
            params: values.iter().map(|value| Param::Text((*value).to_owned())).collect(),
        };
        let columns = self.rows(&ask(
            "SELECT name, upper(type), \"notnull\" FROM pragma_table_xinfo(?1, ?2)",
            &[name, schema],
        ))?;
        if columns.is_empty() {
            return Err(Fault(format!("there is no table {:?}", map.name)));
        }
        let indexes = self.rows(&ask(
            "SELECT l.name, l.partial, i.name FROM pragma_index_list(?1, ?2) AS l, \
             pragma_index_info(l.name, ?2) AS i WHERE i.seqno = 0",
            &[name, schema],
        ))?;
        let text = |cell: Option<&Cell>| cell.and_then(Cell::text).unwrap_or_default();
        let whole = |row: &&Vec<Cell>| row.get(1) == Some(&Cell::Number(0));
        Ok(Table {
            shown: map.name.clone(),
            quoted: format!("{}.{}", quote(schema), quote(name)),
            columns: columns
                .iter()
                .map(|row| {
                    let column = Column {
                        type_name: text(row.get(1)),
                        kind: Kind::Text,
                        not_null: row.get(2) == Some(&Cell::Number(1)),
                        // whoever may write the file
                        writable: true,
                    };
                    (text(row.first()), column)
                })
                .collect(),
            can_add_or_remove: false,
            status_indexed: indexes.iter().filter(whole).any(|row| text(row.get(2)) == map.status),
            partial_indexes: indexes
                .iter()
                .filter(|row| !whole(row))
                .map(|row| text(row.first()))
                .collect(),
            status_values: None,
        })
    }

    fn rows(&mut self, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault> {
        query(&self.connection, statement)
    }

    fn is_served(&mut self, table: &Table, counts: &Statement) -> Result<bool, Fault> {
        if table.status_indexed {
            return Ok(true);
        }
        let explain = Statement {
            text: format!("EXPLAIN QUERY PLAN {}", counts.text),
            params: counts.params.clone(),
        };
        let plan: Vec<String> =
            self.rows(&explain)?.iter().filter_map(|row| row.last()?.text()).collect();
        let by = |name: &String| plan.iter().any(|step| step.contains(&format!("INDEX {name}")));
        Ok(table.partial_indexes.iter().any(by))
    }
}

/// Asks, and reads the whole answer.
pub fn query(connection: &Connection, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault> {
    let wrong = |error: rusqlite::Error| Fault(format!("SQLite: {}", said(&error)));
    let mut prepared = connection.prepare_cached(&statement.text).map_err(wrong)?;
    let columns = prepared.column_count();
    let params: Vec<Box<dyn ToSql>> = statement
        .params
        .iter()
        .map(|param| -> Box<dyn ToSql> {
            match param {
                Param::Text(text) => Box::new(text.clone()),
                Param::Texts(texts) => Box::new(texts.join(",")),
                Param::Number(number) => Box::new(*number),
            }
        })
        .collect();
    let mut rows = prepared.query(rusqlite::params_from_iter(params.iter())).map_err(wrong)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(wrong)? {
        let cells: Result<Vec<Cell>, rusqlite::Error> = (0..columns)
            .map(|index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(number) => Cell::Number(number),
                    ValueRef::Real(number) => Cell::Bytes(number.to_string().into_bytes()),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
                })
            })
            .collect();
        all.push(cells.map_err(wrong)?);
    }
    Ok(all)
}

/// An error, and what is behind the one that explains nothing.
pub fn said(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => format!(
            "{error}; a reader of a database in WAL mode writes its -shm file: this user must be able to \
             write in the directory"
        ),
        Some(_) | None => error.to_string(),
    }
}
