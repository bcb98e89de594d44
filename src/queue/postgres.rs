//! PostgreSQL, by the blocking client. Its own limits do not hold against a server that accepts and
//! stays mute, so the thread it runs in is left behind when the time is over (`queue::look`); those that
//! the server enforces are set as well, so that nothing of ours goes on there.
//!
//! One read-only transaction, in which everything is seen at one moment. `row_security` is off in it:
//! that bypasses nothing, it makes a policy that would hide rows an error instead of an empty answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::error::SqlState;
use ::postgres::types::{ToSql, Type};
use ::postgres::{Client, NoTls, Row, SimpleQueryMessage};

use super::address::{Server, Way};
use super::cells::Cell;
use super::read::Session;
use super::sql::{Column, Dialect, Kind, Param, Statement, Table, literal, quote};
use super::{Fault, millis, tls};
use crate::config::queue::{Queue, TableMap};

/// How our connection is called in the server's list.
const APPLICATION: &str = "unwedge-jobs";
/// After how long without a word the kernel asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Whether rows of the table would be hidden from us, and its columns with their types. A session is made for one
/// reading, and every relation of the catalogue that a question joins is one more that it has to learn first.
const COLUMNS: &str = "\
    SELECT row_security_active(a.attrelid)::int4, a.attnum::int4, a.attname::text, \
           format_type(a.atttypid, -1)::text, t.typcategory::text, t.typtype::text, \
           a.attnotnull::int4, a.atttypid::int8, \
           has_column_privilege(a.attrelid, a.attnum, 'UPDATE')::int4, \
           has_table_privilege(a.attrelid, 'INSERT, DELETE, TRUNCATE, TRIGGER')::int4 \
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
    WHERE a.attrelid = to_regclass($1)::oid AND a.attnum > 0 AND NOT a.attisdropped";

/// Usable B-tree indexes (403, as `pg_am.dat` has it in every version) with the number of the column they begin
/// with, and whether they are of a part only.
const INDEXES: &str = "\
    SELECT i.relname::text, (x.indpred IS NOT NULL)::int4, x.indkey[0]::int4 \
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid AND i.relam = 403 \
    WHERE x.indrelid = to_regclass($1)::oid AND x.indisvalid AND x.indisready";

/// The values of an enum.
const LABELS: &str = "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = $1::int8::oid";

/// Connects.
pub fn connect(server: &Server, queue: &Queue) -> Result<Client, Fault> {
    let mut config = server.config.clone();
    config
        .application_name(APPLICATION)
        .connect_timeout(queue.timeout)
        .tcp_user_timeout(queue.timeout)
        .keepalives_idle(KEEPALIVE_IDLE);
    let connected = match server.way {
        Way::Local => config.ssl_mode(SslMode::Disable).connect(NoTls),
        Way::VerifyFull => {
            let ca_file = queue.ca_file.as_deref().or(server.root_file.as_deref());
            config.ssl_mode(SslMode::Require).connect(tls::connector(ca_file)?)
        }
    };
    let mut client = connected.map_err(|error| {
        let mend = error.code().and_then(|code| mend_of_connecting(server, code));
        let place = server.place();
        Fault(format!("no connection to {place}: {}{}", said(&error), mend.unwrap_or_default()))
    })?;
    // the first question has its limits, too, and may write nothing; a function of that name elsewhere is not meant
    let question = format!(
        "START TRANSACTION READ ONLY{}; SELECT pg_catalog.pg_is_in_recovery(); COMMIT",
        settings(queue, "UTC")
    );
    let told = client.simple_query(&question).map_err(|error| Fault(said(&error)))?;
    if first_value(&told).as_deref() == Some("t") {
        return Err(Fault::new(
            "this server is a standby, of which nobody knows how late it is: name the primary in [queue] url",
        ));
    }
    Ok(client)
}

/// The first value of the first row.
#[must_use]
pub fn first_value(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// What lets somebody in, as an administrator says it.
fn mend_of_connecting(server: &Server, code: &SqlState) -> Option<String> {
    let user = quote(server.user());
    let database = quote(server.config.get_dbname().unwrap_or(server.user()));
    let words = [
        (
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            format!("CREATE ROLE {user} LOGIN; or a line of pg_hba.conf that lets it in"),
        ),
        (
            SqlState::INVALID_PASSWORD,
            format!(
                "the password of [queue] is not that of the role, or there is none of that name: ALTER ROLE {user} PASSWORD '...'; \
                 or CREATE ROLE {user} LOGIN PASSWORD '...';"
            ),
        ),
        (
            SqlState::INVALID_CATALOG_NAME,
            "name the database in which the queue is in [queue] url".to_owned(),
        ),
        (
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
        ),
    ];
    words.into_iter().find(|(known, _)| known == code).map(|(_, words)| format!("; {words}"))
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading: it is given up afterwards, and could not write.
    Read,
    /// Writing: it is kept when all went well.
    Write,
    /// Trying what would be written: it is given up afterwards.
    Try,
}

/// Reads, or writes, in one transaction.
pub fn in_transaction<T>(
    client: &mut Client,
    queue: &Queue,
    map: &TableMap,
    access: Access,
    read: impl FnOnce(&mut Postgres<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let wrong = |error: ::postgres::Error| Fault(said(&error));
    client.batch_execute(&begin(queue, map, access)).map_err(wrong)?;
    let done = read(&mut Postgres { client });
    match (&done, access) {
        (Ok(_), Access::Write) => client.batch_execute("COMMIT").map_err(wrong)?,
        // nothing hangs on it but a pooler's connection, which would be closed with ours
        (Ok(_), Access::Read | Access::Try) | (Err(_), _) => {
            let _ = client.batch_execute("ROLLBACK");
        }
    }
    done
}

/// The transaction, and what holds in it alone; in one message, because each more is a wait for the server.
fn begin(queue: &Queue, map: &TableMap, access: Access) -> String {
    let mode = match access {
        // a reading sees one moment; a writing must see what others have taken since
        Access::Read => "ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        Access::Write | Access::Try => "ISOLATION LEVEL READ COMMITTED, READ WRITE",
    };
    format!("START TRANSACTION {mode}{}", settings(queue, &map.zone))
}

/// What holds in a transaction of ours alone, to be said behind its beginning.
pub fn settings(queue: &Queue, zone: &str) -> String {
    // earlier than our own limit, so that a server that is well says by itself what took so long
    let limit = millis(queue.timeout) * 4 / 5;
    let settings = [
        ("statement_timeout", limit.to_string()),
        ("lock_timeout", (limit / 2).max(1).to_string()),
        ("idle_in_transaction_session_timeout", limit.to_string()),
        ("row_security", "off".to_owned()),
        // no scan of the whole table while an index can be used, however few rows the planner thinks there are
        ("enable_seqscan", "off".to_owned()),
        // and no compiler for statements that touch twenty rows
        ("jit", "off".to_owned()),
        // nor the server's other cores
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("client_min_messages", "error".to_owned()),
        ("TimeZone", literal(zone)),
    ];
    settings.map(|(name, value)| format!("; SET LOCAL {name} = {value}")).concat()
}

/// A transaction.
pub struct Postgres<'a> {
    client: &'a mut Client,
}

impl Session for Postgres<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn now_ms(&self) -> i64 {
        0
    }

    fn table(&mut self, map: &TableMap) -> Result<Table, Fault> {
        let name = map.name.split('.').map(quote).collect::<Vec<_>>().join(".");
        let by_name = |text: &str| Statement {
            text: text.to_owned(),
            params: vec![Param::Text(name.clone())],
        };
        let rows = self.rows(&by_name(COLUMNS))?;
        let Some(first) = rows.first() else {
            return Err(Fault(format!("there is no table {:?} that this user sees", map.name)));
        };
        let text =
            |row: &[Cell], index: usize| row.get(index).and_then(Cell::text).unwrap_or_default();
        if first.first() == Some(&Cell::Number(1)) {
            return Err(Fault(format!(
                "row-level security hides rows of {:?} from this user: a count of what is left would \
                 mean nothing; let it bypass the policies (BYPASSRLS), or give it a view",
                map.name
            )));
        }
        let status = rows.iter().find(|row| text(row, 2) == map.status);
        let status_values = match status {
            Some(row) if text(row, 5) == "e" => Some(self.labels(row.get(7))?),
            Some(_) | None => None,
        };
        let indexes = self.rows(&by_name(INDEXES))?;
        let whole = |row: &&Vec<Cell>| row.get(1) == Some(&Cell::Number(0));
        let status_number = status.and_then(|row| row.get(1));
        Ok(Table {
            shown: map.name.clone(),
            columns: rows
                .iter()
                .map(|row| {
                    let type_name = text(row, 3);
                    let kind = kind(&type_name, &text(row, 4));
                    let is = |index: usize| row.get(index) == Some(&Cell::Number(1));
                    let (not_null, writable) = (is(6), is(8));
                    (text(row, 2), Column { type_name, kind, not_null, writable })
                })
                .collect(),
            status_indexed: status_number.is_some()
                && indexes.iter().filter(whole).any(|row| row.get(2) == status_number),
            partial_indexes: indexes
                .iter()
                .filter(|row| !whole(row))
                .map(|row| text(row, 0))
                .collect(),
            status_values,
            can_add_or_remove: first.get(9) == Some(&Cell::Number(1)),
            quoted: name,
        })
    }

    fn rows(&mut self, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault> {
        query(self.client, statement)
    }

    fn is_served(&mut self, table: &Table, counts: &Statement) -> Result<bool, Fault> {
        if table.status_indexed {
            return Ok(true);
        }
        let explain = Statement {
            text: format!("EXPLAIN (COSTS off) {}", counts.text),
            params: counts.params.clone(),
        };
        let plan: Vec<String> =
            self.rows(&explain)?.iter().filter_map(|row| row.first()?.text()).collect();
        let used =
            |name: &String| plan.iter().any(|step| step.split_whitespace().any(|it| it == name));
        Ok(table.partial_indexes.iter().any(used))
    }
}

impl Postgres<'_> {
    fn labels(&mut self, type_id: Option<&Cell>) -> Result<Vec<String>, Fault> {
        let type_id = type_id.and_then(Cell::number).unwrap_or_default();
        let ask = Statement {
            text: LABELS.to_owned(),
            params: vec![Param::Number(i64::try_from(type_id).unwrap_or_default())],
        };
        Ok(self.rows(&ask)?.iter().filter_map(|row| row.first()?.text()).collect())
    }
}

/// Asks, and reads the whole answer.
pub fn query(client: &mut Client, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault> {
    // typed, and so without a name: a pooler may give the next statement to another connection
    let rows = client.query_typed(&statement.text, &typed(statement));
    rows.map_err(|error| Fault(said(&error)))?.iter().map(cells).collect()
}

/// The same, in a transaction of its own that may not write. It is said of that alone: what is set for a connection stays with
/// it, and behind a pooler others have it next.
pub fn query_only(client: &mut Client, statement: &Statement) -> Result<Vec<Vec<Cell>>, Fault> {
    let run = |client: &mut Client, words: &str| {
        client.batch_execute(words).map_err(|error| Fault(said(&error)))
    };
    run(client, "START TRANSACTION READ ONLY")?;
    let rows = query(client, statement);
    // why it failed is of more use than why that cannot be ended
    let ended = run(client, if rows.is_ok() { "COMMIT" } else { "ROLLBACK" });
    let rows = rows?;
    ended.map(|()| rows)
}

/// Statements that a connection of ours has planned already, by their text.
#[derive(Default)]
pub struct Planned(HashMap<String, ::postgres::Statement>);

/// Whether statements may have names. Behind a pooler that gives each to another connection of the server a name may
/// stand for what another program has called so, and that would be done without a word: so none has one before it is known
/// that there is no such pooler.
static HAVE_NAMES: AtomicBool = AtomicBool::new(false);

/// Statements may have names from now on, or not any more: whoever listens to the server knows (`store::bell`).
pub fn let_have_names(they_may: bool) {
    HAVE_NAMES.store(they_may, Ordering::Relaxed);
}

/// The same, of a statement that is asked often.
pub fn query_again(
    client: &mut Client,
    planned: &mut Planned,
    statement: &Statement,
) -> Result<Vec<Vec<Cell>>, Fault> {
    if !HAVE_NAMES.load(Ordering::Relaxed) {
        return query(client, statement);
    }
    let wrong = |error: ::postgres::Error| {
        let is_of_names = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
        if error.code().is_some_and(|code| is_of_names.contains(code)) {
            let_have_names(false);
        }
        Fault(said(&error))
    };
    let params = typed(statement);
    if !planned.0.contains_key(&statement.text) {
        let types: Vec<Type> = params.iter().map(|(_, kind)| kind.clone()).collect();
        let made = client.prepare_typed(&statement.text, &types).map_err(wrong)?;
        planned.0.insert(statement.text.clone(), made);
    }
    let Some(made) = planned.0.get(&statement.text) else { return query(client, statement) };
    let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
    client.query(made, &values).map_err(wrong)?.iter().map(cells).collect()
}

/// Its values with their types.
fn typed(statement: &Statement) -> Vec<(&(dyn ToSql + Sync), Type)> {
    statement
        .params
        .iter()
        .map(|param| -> (&(dyn ToSql + Sync), Type) {
            match param {
                Param::Text(text) => (text, Type::TEXT),
                Param::Texts(texts) => (texts, Type::TEXT_ARRAY),
                Param::Number(number) => (number, Type::INT8),
            }
        })
        .collect()
}

/// Which way a type is read, by its name and the category the catalogue puts it in.
fn kind(type_name: &str, category: &str) -> Kind {
    match (type_name, category) {
        ("json" | "jsonb", _) => Kind::Json,
        ("bytea", _) => Kind::Bytes,
        (_, "D") => Kind::Time,
        (_, "N") => Kind::Number,
        (_, _) => Kind::Text,
    }
}

fn cells(row: &Row) -> Result<Vec<Cell>, Fault> {
    let wrong = |error: ::postgres::Error| Fault(said(&error));
    let number = |it: Option<i64>| it.map_or(Cell::Null, Cell::Number);
    let bytes = |it: Option<Vec<u8>>| it.map_or(Cell::Null, Cell::Bytes);
    let mut cells = Vec::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        cells.push(match *column.type_() {
            Type::INT8 => number(row.try_get(index).map_err(wrong)?),
            Type::INT4 => {
                number(row.try_get::<_, Option<i32>>(index).map_err(wrong)?.map(i64::from))
            }
            Type::BYTEA => bytes(row.try_get(index).map_err(wrong)?),
            _ => bytes(
                row.try_get::<_, Option<String>>(index).map_err(wrong)?.map(String::into_bytes),
            ),
        });
    }
    Ok(cells)
}

/// An error with what caused it; a server's own words where it had some.
pub fn said(error: &::postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("the server says: {} ({})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
