//! One connection to our own queue, and what differs between the two databases: how a statement is written and when
//! it is now. All else is the same text for both.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::postgres::Client;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::clock::Anchor;
use super::{place, schema};
use crate::config::queue::Queue;
use crate::queue::address::{Address, Server};
use crate::queue::cells::Row;
use crate::queue::sql::{Dialect, Param, Statement};
use crate::queue::{Fault, local, millis, postgres, sqlite};
use crate::sys::clock::{Deadline, Now, boottime, pause};
use crate::sys::text;

/// Two that come at once make the tables one after the other; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 7_306_086_939_142_581_093;

/// A moment of UTC, as each database looks for it.
const MOMENT: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$";
const MOMENT_GLOB: &str =
    "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]";
/// Pages that are given back to the disk at a time: some 4 MiB.
const PAGES_AT_ONCE: u32 = 1000;
/// No list is as long.
const LIST_MAX: u32 = 1_000_000_000;

/// A connection.
pub struct Session {
    way: Way,
    address: Address,
    /// Whether nothing may be written by it.
    only_looks: bool,
}

enum Way {
    Postgres(Box<(Client, postgres::Planned)>),
    Sqlite { connection: Connection, anchor: Anchor, file: Opened },
}

/// The file that was opened: another one may have its name by now.
struct Opened {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Opened {
    fn now(path: PathBuf) -> Self {
        Self { inode: inode_of(&path), path }
    }
}

fn inode_of(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|it| (it.dev(), it.ino()))
}

/// What follows from a damaged file. SQLite has a command that saves what can be read (sqlite.org/recovery.html).
const DAMAGED: &str = "the file is damaged: stop what works for it, move it and its -wal and -shm aside, and begin with a new one, or with \
    what `sqlite3 FILE .recover` saves; results that were made are where they belong";

impl Session {
    /// Connects, and makes the tables where there are none.
    ///
    /// # Errors
    /// Why there is no queue.
    pub fn open(queue: &Queue) -> Result<Self, Fault> {
        let mut session = Self::connect(queue)?;
        session.prepare()?;
        Ok(session)
    }

    /// Connects, where there are tables: none are made.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn look(queue: &Queue) -> Result<Option<Self>, Fault> {
        if let Address::Sqlite(path) = Address::of(&queue.database)?
            && local::is_absent(&path)
        {
            return Ok(None);
        }
        let mut session = Self::connect(queue)?;
        if !session.is_made()? {
            return Ok(None);
        }
        session.prepare()?;
        Ok(Some(session))
    }

    /// Connects for looking alone, where there are tables: what would write is refused by the database itself.
    ///
    /// # Errors
    /// That cannot be told, or the tables are those of another version, which only whoever may write brings up to date.
    pub fn only_look(queue: &Queue) -> Result<Option<Self>, Fault> {
        let address = Address::of(&queue.database)?;
        let way = match &address {
            Address::Postgres(server) => Way::Postgres(Box::new(server_way(server, queue)?)),
            Address::Sqlite(path) if local::is_absent(path) => return Ok(None),
            Address::Sqlite(path) => {
                let (connection, file) = file_to_read(path)?;
                Way::Sqlite { connection, anchor: Anchor::of(None, &now()?), file }
            }
        };
        let mut session = Self { way, address, only_looks: true };
        if !session.is_made()? {
            return Ok(None);
        }
        let number = |text: Option<String>| text.and_then(|it| it.parse::<usize>().ok());
        let taken = number(session.meta("schema")?).unwrap_or_default();
        let least = number(session.meta("schema_least")?).unwrap_or(taken);
        let known = schema::STEPS.len();
        if taken < known || least > known {
            return Err(Fault(format!(
                "the queue is of another version (schema {taken}, this program knows {known}): nothing is told of it before both are the same"
            )));
        }
        let kept = session.anchor()?;
        if let Way::Sqlite { anchor, .. } = &mut session.way {
            *anchor = Anchor::of(kept, &now()?);
        }
        Ok(Some(session))
    }

    fn connect(queue: &Queue) -> Result<Self, Fault> {
        let address = Address::of(&queue.database)?;
        let way = match &address {
            Address::Postgres(server) => Way::Postgres(Box::new(server_way(server, queue)?)),
            Address::Sqlite(path) => {
                let (connection, file) = file(path)?;
                Way::Sqlite { connection, anchor: Anchor::of(None, &now()?), file }
            }
        };
        Ok(Self { way, address, only_looks: false })
    }

    /// Whether what was opened is what others open now.
    ///
    /// # Errors
    /// A file has been put in its place, or it is gone: what is written here nobody reads.
    pub fn is_itself(&self) -> Result<(), Fault> {
        match &self.way {
            Way::Sqlite { file, .. } if inode_of(&file.path) != file.inode => Err(Fault(format!(
                "{} is another file than the one that was opened: it is opened anew",
                text::path(&file.path)
            ))),
            Way::Sqlite { .. } | Way::Postgres(_) => Ok(()),
        }
    }

    /// Which SQL it speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.way {
            Way::Postgres(_) => Dialect::Postgres,
            Way::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// Whether one statement may change several tables.
    #[must_use]
    pub fn is_one_for_all(&self) -> bool {
        self.dialect() == Dialect::Postgres
    }

    /// Asks. In `template` `$1` stands for the first value, and words in braces for what differs:
    ///
    /// - `{now}`: the present, milliseconds
    /// - `{each:1}`: the elements of the JSON list that is the first value, as `e.value`; `{element}`: one that is a text
    /// - `{ids:1}`: the elements of that list, which are numbers
    /// - `{all:list:other}`: whether all of a list is in another; either is a column or a value
    /// - `{as_json:1}`: the first value, a text, as JSON; `{moment:column}`: whether a text is a moment of UTC
    /// - `{row}`: where a row is, which is good as long as it is locked; `{row:these}`: whether it is at one of the places
    ///   that the query of that name has as `place`
    /// - `{list:name}`, `{text:column}`: a list of the element, and a column that holds one as text
    /// - `{by:index}`: by this index, where that has to be said; `{mark}`: what a job needs and prefers, as one has it
    /// - `{skip}`, `{lock}`: rows are locked, those of others left out or waited for
    pub fn rows(&mut self, template: &str, params: Vec<Param>) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(template, params);
        let began = boottime();
        let rows = match &mut self.way {
            Way::Postgres(way) if self.only_looks => postgres::query_only(&mut way.0, &statement),
            Way::Postgres(way) => postgres::query_again(&mut way.0, &mut way.1, &statement),
            Way::Sqlite { connection, .. } => sqlite::query(connection, &statement),
        };
        let rows = rows.map_err(|Fault(why)| self.wrong(&why, deed_of(template), began))?;
        Ok(rows.into_iter().map(Row).collect())
    }

    /// What went wrong, where, and what was tried since then: without the password that a server may repeat.
    fn wrong(&self, why: &str, deed: &str, began: Duration) -> Fault {
        /// What is of the file and not of what was asked.
        const OF_THE_FILE: [&str; 8] = [
            "locked",
            "readonly",
            "read-only",
            "full",
            "I/O",
            "unable to open",
            "malformed",
            "not a database",
        ];
        match &self.address {
            Address::Sqlite(path) if OF_THE_FILE.iter().any(|word| why.contains(word)) => {
                let tried = text::duration(boottime().saturating_sub(began));
                let mut said =
                    format!("{why}; it was tried to {deed} for {tried}; {}", place::words(path));
                if Fault::new(why).is_of_a_damaged_file() {
                    said += &format!("; {DAMAGED}");
                }
                Fault(said)
            }
            Address::Sqlite(_) => Fault(why.to_owned()),
            Address::Postgres(server) => Fault(format!(
                "{}; it was tried to {deed} at {}",
                self.address.scrub(why),
                server.place()
            )),
        }
    }

    /// Looks at every page of a file, and says what is wrong with the first that is not as it should be.
    pub fn damage(&mut self) -> Result<Option<String>, Fault> {
        if self.dialect() == Dialect::Postgres {
            return Ok(None);
        }
        let rows = self.rows("PRAGMA quick_check(1)", Vec::new())?;
        let said = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
        Ok((said != "ok").then(|| format!("{}; {DAMAGED}", text::tail(said.as_bytes(), 200))))
    }

    /// What it is, where it is, which version.
    pub fn about(&mut self) -> Result<Vec<(&'static str, String)>, Fault> {
        let version = self.rows(
            match self.dialect() {
                Dialect::Postgres => "SELECT current_setting('server_version') || ', database ' || current_database() || ', as ' || current_user",
                Dialect::Sqlite => "SELECT sqlite_version()",
            },
            Vec::new(),
        )?;
        let version = version.first().and_then(|row| row.text(0)).unwrap_or_default();
        let mut all = match &self.address {
            Address::Sqlite(path) => vec![("file", place::words(path)), ("SQLite", version)],
            Address::Postgres(_) => vec![("PostgreSQL", version)],
        };
        all.push(("schema", self.meta("schema")?.unwrap_or_default()));
        Ok(all)
    }

    /// Does it in one transaction, which is given up unless all of it went well.
    pub fn transaction<T>(
        &mut self,
        deed: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // a file is locked for writing from the beginning: a reader that becomes a writer later may never get there
        self.batch(match self.dialect() {
            Dialect::Postgres if self.only_looks => "BEGIN READ ONLY",
            Dialect::Postgres => "BEGIN",
            Dialect::Sqlite => "BEGIN IMMEDIATE",
        })?;
        let done = deed(self);
        let ended = self.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" });
        let done = done?;
        ended.map(|()| done)
    }

    /// The present, as the queue has it.
    pub fn now_ms(&mut self) -> Result<u64, Fault> {
        let rows = self.rows("SELECT {now}", Vec::new())?;
        let now = rows.first().and_then(|row| row.natural(0));
        now.ok_or_else(|| Fault::new("the database does not say what time it is"))
    }

    /// Tells workers that listen that there is something for them, once this transaction is kept.
    pub fn ring(&mut self) -> Result<(), Fault> {
        match self.dialect() {
            Dialect::Postgres => self.batch(&format!("NOTIFY {}", super::bell::CHANNEL)),
            // a file is listened to itself
            Dialect::Sqlite => Ok(()),
        }
    }

    /// Lets a file shrink by what is not used in it any more; a server does that by itself.
    pub fn give_back_space(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if self.dialect() == Dialect::Postgres {
            return Ok(());
        }
        while !deadline.passed() {
            let free =
                self.rows("SELECT freelist_count FROM pragma_freelist_count()", Vec::new())?;
            if free.first().and_then(|row| row.natural(0)).unwrap_or_default() == 0 {
                break;
            }
            // one step gives back one page: as a question all of its steps are taken
            self.rows(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"), Vec::new())?;
        }
        // what readers are still at stays in the log until the next time
        self.batch("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn batch(&mut self, text: &str) -> Result<(), Fault> {
        let began = boottime();
        let done = match &mut self.way {
            Way::Postgres(way) => way.0.batch_execute(text).map_err(|error| postgres::said(&error)),
            Way::Sqlite { connection, .. } => {
                connection.execute_batch(text).map_err(|error| sqlite::said(&error))
            }
        };
        done.map_err(|why| self.wrong(&why, deed_of(text), began))
    }

    fn statement(&self, template: &str, mut params: Vec<Param>) -> Statement {
        let mut text = String::with_capacity(template.len() + 200);
        let mut rest = template;
        let mut present = None;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (word, after) = after.split_once('}').unwrap_or((after, ""));
            let (word, nth) = word.split_once(':').unwrap_or((word, ""));
            match (word, &self.way) {
                ("now", Way::Postgres(_)) => {
                    // as a question of its own it is answered once and not for each row
                    text.push_str(
                        "(SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint)",
                    );
                }
                ("now", Way::Sqlite { anchor, .. }) => {
                    let nth = *present.get_or_insert_with(|| {
                        params.push(Param::Number(time(anchor)));
                        params.len()
                    });
                    text.push_str(&format!("${nth}"));
                }
                ("each", way) => text.push_str(&each(way, nth)),
                ("ids", way) => text.push_str(&format!(
                    "SELECT CAST(CAST(e.value AS TEXT) AS BIGINT) FROM {}",
                    each(way, nth)
                )),
                ("element", Way::Postgres(_)) => text.push_str("e.value #>> '{}'"),
                ("element", Way::Sqlite { .. }) => text.push_str("e.value"),
                ("all", way) => {
                    let (list, other) = nth.split_once(':').unwrap_or((nth, "NULL"));
                    text.push_str(&match way {
                        Way::Postgres(_) => format!("{list}::jsonb <@ {other}::jsonb"),
                        Way::Sqlite { .. } => format!(
                            "NOT EXISTS (SELECT 1 FROM json_each({list}) WHERE value NOT IN (SELECT value FROM json_each({other})))"
                        ),
                    });
                }
                ("row", way) => text.push_str(&match (way, nth) {
                    (Way::Postgres(_), "") => "ctid".to_owned(),
                    (Way::Sqlite { .. }, "") => "rowid".to_owned(),
                    // as a list each is gone to at once; joined, it takes a fifth longer
                    (Way::Postgres(_), these) => {
                        format!("ctid = ANY (ARRAY (SELECT place FROM {these}))")
                    }
                    (Way::Sqlite { .. }, these) => format!("rowid IN (SELECT place FROM {these})"),
                }),
                ("as_json", Way::Postgres(_)) => text.push_str(&format!("${nth}::jsonb")),
                ("as_json", Way::Sqlite { .. }) => text.push_str(&format!("${nth}")),
                ("moment", Way::Postgres(_)) => text.push_str(&format!("{nth} ~ '{MOMENT}'")),
                ("moment", Way::Sqlite { .. }) => {
                    // what is behind the point are digits alone
                    text.push_str(&format!(
                        "({nth} GLOB '{MOMENT_GLOB}Z' OR {nth} GLOB '{MOMENT_GLOB}.[0-9]*Z' \
                         AND substr({nth}, 21, length({nth}) - 21) NOT GLOB '*[^0-9]*')"
                    ));
                }
                // by which the jobs of one demand stand together; a server's index takes no long texts, and where it may use
                // approved digests alone it has no md5
                ("mark", Way::Postgres(_)) => {
                    text.push_str("(hashtextextended(needs::text || prefers::text, 0)::text)");
                }
                ("mark", Way::Sqlite { .. }) => text.push_str("(needs || prefers)"),
                // without statistics SQLite would rather sort all that waits
                ("by", Way::Sqlite { .. }) => text.push_str(&format!("INDEXED BY {nth}")),
                ("list", Way::Postgres(_)) => text.push_str(&format!("e.value->'{nth}'")),
                ("list", Way::Sqlite { .. }) => {
                    text.push_str(&format!("json_extract(e.value, '{}{nth}')", "$."));
                }
                ("text", Way::Postgres(_)) => text.push_str(&format!("{nth}::text")),
                ("text", Way::Sqlite { .. }) => text.push_str(nth),
                ("skip", Way::Postgres(_)) => text.push_str("FOR UPDATE SKIP LOCKED"),
                ("lock", Way::Postgres(_)) => text.push_str("FOR UPDATE"),
                ("none", _) => text.push_str("'{}'"),
                ("json", Way::Postgres(_)) => text.push_str("jsonb"),
                ("json", Way::Sqlite { .. }) => text.push_str("TEXT"),
                ("id", Way::Postgres(_)) => {
                    text.push_str("bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY");
                }
                ("id", Way::Sqlite { .. }) => text.push_str("INTEGER PRIMARY KEY AUTOINCREMENT"),
                _ => {}
            }
            rest = after;
        }
        text.push_str(rest);
        // its own marks; a path into JSON begins with the same sign
        if self.dialect() == Dialect::Sqlite {
            text = text.replace('$', "?").replace("'?.", "'$.");
        }
        Statement { text, params }
    }

    /// The tables and, for a file, its clock.
    fn prepare(&mut self) -> Result<(), Fault> {
        // most often all is there, and a statement that only looks needs no lock
        if self.is_current().unwrap_or(false) {
            return self.take_up_clock();
        }
        self.transaction(|session| {
            if session.dialect() == Dialect::Postgres {
                session.rows("SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked", vec![Param::Number(MIGRATION_LOCK)])?;
            }
            session.batch(schema::META)?;
            let taken = session.meta("schema")?.and_then(|text| text.parse().ok()).unwrap_or(0_usize);
            let least = session.meta("schema_least")?.and_then(|text| text.parse().ok()).unwrap_or(taken);
            if taken == 0 && session.dialect() == Dialect::Postgres {
                session.refuse_other_letters()?;
            }
            if taken > schema::STEPS.len() && least <= schema::STEPS.len() {
                return Ok(());
            }
            if taken > schema::STEPS.len() {
                return Err(Fault(format!(
                    "the queue is of a later version (schema {taken}, this program knows {}): update this program",
                    schema::STEPS.len()
                )));
            }
            if session.dialect() == Dialect::Postgres {
                // an index of many rows takes as long as it takes, and is begun anew by whoever gives up
                session.batch("SET LOCAL statement_timeout = 0")?;
            }
            for step in schema::STEPS.iter().skip(taken) {
                let step = session.statement(step, Vec::new()).text;
                session.batch(&step)?;
            }
            session.set_meta("schema_least", &schema::LEAST.to_string())?;
            session.set_meta("schema", &schema::STEPS.len().to_string())
        })?;
        self.take_up_clock()
    }

    /// Refuses a database that cannot hold every letter: one message that it does not take would be tried for ever, and keep
    /// all that is to be handed in after it waiting.
    fn refuse_other_letters(&mut self) -> Result<(), Fault> {
        let rows = self.rows("SELECT current_setting('server_encoding')", Vec::new())?;
        let encoding = rows.first().and_then(|row| row.text(0)).unwrap_or_default();
        // the second keeps bytes as they come
        if ["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
            return Ok(());
        }
        Err(Fault(format!(
            "the database is of encoding {encoding}, which does not hold every path and every message: make one for the queue by \
             CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0"
        )))
    }

    /// Whether its tables are there, in whichever version.
    fn is_made(&mut self) -> Result<bool, Fault> {
        let tables = match self.dialect() {
            Dialect::Postgres => "SELECT 1 WHERE to_regclass('unwedge_meta') IS NOT NULL",
            Dialect::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'unwedge_meta'",
        };
        Ok(!self.rows(tables, Vec::new())?.is_empty())
    }

    fn is_current(&mut self) -> Result<bool, Fault> {
        Ok(self.meta("schema")?.as_deref() == Some(schema::STEPS.len().to_string().as_str()))
    }

    /// A value of the table of such values.
    pub fn meta(&mut self, name: &str) -> Result<Option<String>, Fault> {
        let rows =
            self.rows("SELECT value FROM unwedge_meta WHERE name = $1", vec![Param::from(name)])?;
        Ok(rows.first().and_then(|row| row.text(0)))
    }

    /// Keeps one.
    pub fn set_meta(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        self.rows(
            "INSERT INTO unwedge_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
            vec![Param::from(name), Param::from(value)],
        )?;
        Ok(())
    }

    /// Where the clock of a file stands, as that keeps it.
    fn anchor(&mut self) -> Result<Option<Anchor>, Fault> {
        Ok(self.meta("clock")?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn take_up_clock(&mut self) -> Result<(), Fault> {
        if self.dialect() == Dialect::Postgres {
            return Ok(());
        }
        let now = now()?;
        let kept = self.anchor()?;
        let anchor = if kept.as_ref().is_some_and(|anchor| anchor.boot_id == now.boot_id) {
            Anchor::of(kept, &now)
        } else {
            self.transaction(|session| {
                // the first of this boot has the say
                let anchor = Anchor::of(session.anchor()?, &now);
                let text =
                    serde_json::to_string(&anchor).map_err(|error| Fault(error.to_string()))?;
                session.set_meta("clock", &text)?;
                Ok(anchor)
            })?
        };
        if let Way::Sqlite { anchor: own, .. } = &mut self.way {
            *own = anchor;
        }
        Ok(())
    }

    /// Keeps how far the clock of a file has come, for the next boot.
    pub fn keep_clock(&mut self) -> Result<(), Fault> {
        let Way::Sqlite { anchor, .. } = &self.way else { return Ok(()) };
        let seen_ms = u64::try_from(time(anchor)).unwrap_or_default();
        let anchor = Anchor { seen_ms, ..anchor.clone() };
        let text = serde_json::to_string(&anchor).map_err(|error| Fault(error.to_string()))?;
        self.set_meta("clock", &text)
    }
}

/// The elements of the list that is the value of this number.
fn each(way: &Way, nth: &str) -> String {
    match way {
        // how many there are is not known when the plan is made, and 100 is what would be taken for it: more than
        // enough to have other tables read as a whole
        Way::Postgres(_) => format!(
            "(SELECT value FROM jsonb_array_elements(${nth}::jsonb) LIMIT (SELECT {LIST_MAX})) AS e"
        ),
        Way::Sqlite { .. } => format!("(SELECT value FROM json_each(${nth})) AS e"),
    }
}

/// What a statement does to a file, for whoever may have to give it the right to.
fn deed_of(statement: &str) -> &'static str {
    const WRITES: [&str; 6] = ["BEGIN", "COMMIT", "CREATE", "DELETE", "INSERT", "UPDATE"];
    if WRITES.iter().any(|word| statement.contains(word)) { "write" } else { "read" }
}

fn now() -> Result<Now, Fault> {
    Now::take().map_err(|error| Fault(format!("the clock: {error}")))
}

fn time(anchor: &Anchor) -> i64 {
    i64::try_from(anchor.time(millis(boottime()))).unwrap_or(i64::MAX)
}

/// Whether a file that somebody else writes to is waited for any longer, when it was found so `times` before. SQLite's
/// own handler waits longer the longer it has waited, so that whoever comes last is served first and some not at all;
/// here all have the same chance.
fn is_waited_for(times: i32) -> bool {
    const WAIT: Duration = Duration::from_millis(2);
    /// Some five seconds: less than anybody waits for an answer.
    const TIMES_MAX: i32 = 2_000;
    pause(WAIT);
    times < TIMES_MAX
}

/// Connects to a server.
fn server_way(server: &Server, queue: &Queue) -> Result<(Client, postgres::Planned), Fault> {
    let mut client = postgres::connect(server, queue)?;
    let limit = millis(queue.timeout) * 4 / 5;
    // a plan that is made for each claim is half of what it costs, and always the same: by index. To read a table
    // as a whole is cheapest while it is empty, which is when such a plan may be made
    let settings = format!(
        "SET statement_timeout = {limit}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {limit}; \
         SET client_min_messages = error; SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off",
        (limit / 2).max(1)
    );
    client.batch_execute(&settings).map_err(|error| Fault(postgres::said(&error)))?;
    Ok((client, postgres::Planned::default()))
}

/// Opens a file that is there, for reading; only on a disk of this host.
fn file_to_read(path: &Path) -> Result<(Connection, Opened), Fault> {
    let real = local::resolve(path, sqlite::OVER_A_NETWORK)?;
    let wrong = |error: rusqlite::Error| {
        Fault(format!("{}; it was tried to open it; {}", sqlite::said(&error), place::words(&real)))
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&real, flags).map_err(wrong)?;
    connection.busy_handler(Some(is_waited_for)).map_err(wrong)?;
    connection.execute_batch("PRAGMA query_only = 1").map_err(wrong)?;
    Ok((connection, Opened::now(real)))
}

/// Opens the file, or makes it; only on a disk of this host.
fn file(path: &Path) -> Result<(Connection, Opened), Fault> {
    let shown = text::path(path);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Fault(format!("{shown}: that is no file")));
    };
    let real = local::resolve(dir, sqlite::OVER_A_NETWORK)?.join(name);
    // the file itself may be a link, or a mount of its own
    let real = if real.symlink_metadata().is_ok() {
        local::resolve(&real, sqlite::OVER_A_NETWORK)?
    } else {
        real
    };
    let wrong = |error: rusqlite::Error| {
        Fault(format!("{}; it was tried to open it; {}", sqlite::said(&error), place::words(&real)))
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&real, flags).map_err(wrong)?;
    connection.busy_handler(Some(is_waited_for)).map_err(wrong)?;
    // FULL: what was taken in is on the disk when that is said, also where the power fails
    connection
        .execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL")
        .map_err(wrong)?;
    // of several that open a new file at once only one can do this, and SQLite has the others wait for nothing
    let mut times = 0;
    while let Err(error) = connection.execute_batch("PRAGMA journal_mode = WAL") {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || !is_waited_for(times) {
            return Err(wrong(error));
        }
        times += 1;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok((connection, Opened::now(real)))
}
