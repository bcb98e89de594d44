//! Expressions in the SQL of either database. Names are those that the catalogue knows, and are quoted, as is the
//! time zone of a setting; every other word of the config is a parameter and never part of a statement.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Fault;
use crate::config::queue::Place;

/// Numbers above this are milliseconds since 1970, others seconds: in seconds it is the year 5138.
const SECONDS_MAX: u64 = 100_000_000_000;
/// What "never" is written as: the last second of the year 9999, milliseconds.
const NEVER_MS: u64 = 253_402_300_799_000;

/// Which SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// That of PostgreSQL.
    Postgres,
    /// That of SQLite.
    Sqlite,
}

/// A value that goes with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    /// Text.
    Text(String),
    /// A list of texts; only in PostgreSQL.
    Texts(Vec<String>),
    /// A whole number.
    Number(i64),
}

impl Param {
    /// A JSON list, as one text.
    #[must_use]
    pub fn list<T: Serialize + ?Sized>(list: &T) -> Self {
        Self::Text(serde_json::json!(list).to_string())
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A statement and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text.
    pub text: String,
    /// Its values, in the order of their numbers.
    pub params: Vec<Param>,
}

/// The table as the catalogue has it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name for people.
    pub shown: String,
    /// Its name for a statement: quoted, and with its schema.
    pub quoted: String,
    /// Its columns by name.
    pub columns: BTreeMap<String, Column>,
    /// Whether a whole index begins with the status: then its values can be listed without reading rows.
    pub status_indexed: bool,
    /// Indexes of a part of the table.
    pub partial_indexes: Vec<String>,
    /// Every value that the status can have, where its type says so.
    pub status_values: Option<Vec<String>>,
    /// Whether this user may add rows or take them away, which nobody here ever does.
    pub can_add_or_remove: bool,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its type for a statement.
    pub type_name: String,
    /// What kind of type that is.
    pub kind: Kind,
    /// Whether it always has a value.
    pub not_null: bool,
    /// Whether this user may write it.
    pub writable: bool,
}

/// Kinds of types that are read in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A moment, with or without a zone.
    Time,
    /// A number.
    Number,
    /// JSON.
    Json,
    /// Bytes.
    Bytes,
    /// Text, and whatever can be read as such.
    Text,
}

impl Table {
    /// A column that must be there.
    pub fn column(&self, name: &str) -> Result<&Column, Fault> {
        self.columns.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.columns.keys().map(String::as_str).collect();
            Fault(format!("{} has no column {name:?}; it has {}", self.shown, known.join(", ")))
        })
    }
}

/// A name as both databases quote it.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as PostgreSQL quotes it, for the one kind of statement that takes no parameter: a setting. Right with
/// backslashes whatever `standard_conforming_strings` is.
pub fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Writes a statement and gathers its values.
pub struct Writer<'a> {
    /// The table it is about.
    pub table: &'a Table,
    dialect: Dialect,
    now_ms: i64,
    params: Vec<Param>,
}

impl<'a> Writer<'a> {
    /// For one statement. `now_ms` is the present where the database is a file; a server has its own.
    pub fn new(dialect: Dialect, table: &'a Table, now_ms: i64) -> Self {
        Self { table, dialect, now_ms, params: Vec::new() }
    }

    /// The statement with this text.
    pub fn finish(self, text: String) -> Statement {
        Statement { text, params: self.params }
    }

    /// A value, and the mark that stands for it.
    pub fn param(&mut self, param: Param) -> String {
        self.params.push(param);
        let mark = match self.dialect {
            Dialect::Postgres => '$',
            Dialect::Sqlite => '?',
        };
        format!("{mark}{}", self.params.len())
    }

    /// The present, milliseconds since 1970.
    pub fn now(&mut self) -> String {
        match self.dialect {
            Dialect::Postgres => "(extract(epoch FROM now()) * 1000)::bigint".to_owned(),
            Dialect::Sqlite => self.param(Param::Number(self.now_ms)),
        }
    }

    /// The value at a place as it is there, and its kind.
    fn raw(&mut self, place: &Place) -> Result<(String, Kind), Fault> {
        let column = self.table.column(&place.column)?;
        let (name, kind) = (quote(&place.column), column.kind);
        if place.keys.is_empty() {
            return Ok((name, kind));
        }
        match self.dialect {
            Dialect::Postgres => {
                let keys = self.param(Param::Texts(place.keys.clone()));
                let json = if kind == Kind::Json { name } else { format!("{name}::text::jsonb") };
                Ok((format!("({json} #>> {keys})"), Kind::Text))
            }
            Dialect::Sqlite => {
                if place.keys.iter().any(|key| key.contains('"')) {
                    return Err(Fault::new("a key into JSON cannot hold a quote"));
                }
                let keys: String = place.keys.iter().map(|key| format!(".\"{key}\"")).collect();
                let keys = self.param(Param::Text(format!("${keys}")));
                Ok((format!("json_extract({name}, {keys})"), Kind::Text))
            }
        }
    }

    /// The moment at a place, milliseconds since 1970.
    pub fn time(&mut self, place: &Place) -> Result<String, Fault> {
        let (raw, kind) = self.raw(place)?;
        Ok(match self.dialect {
            Dialect::Postgres => postgres_time(&raw, kind),
            Dialect::Sqlite => sqlite_time(&raw),
        })
    }

    /// True where there is something at a place, and it is no moment. A server refuses the whole
    /// statement by itself.
    pub fn is_no_time(&mut self, place: &Place) -> Result<String, Fault> {
        match self.dialect {
            Dialect::Postgres => Ok("FALSE".to_owned()),
            Dialect::Sqlite => {
                let (raw, _) = self.raw(place)?;
                let time = self.time(place)?;
                Ok(format!("({raw} IS NOT NULL AND {raw} <> '' AND ({time}) IS NULL)"))
            }
        }
    }

    /// The first of several moments that is there; `NULL` of none.
    pub fn first_time(&mut self, places: &[Place]) -> Result<String, Fault> {
        let times: Vec<String> =
            places.iter().map(|place| self.time(place)).collect::<Result<_, _>>()?;
        Ok(match times.as_slice() {
            [] => self.null_number(),
            [one] => one.clone(),
            [..] => format!("coalesce({})", times.join(", ")),
        })
    }

    /// The later of two moments that may both be missing.
    pub fn later(&self, one: &str, other: &str) -> String {
        match self.dialect {
            Dialect::Postgres => format!("greatest({one}, {other})"),
            Dialect::Sqlite => {
                format!("nullif(max(coalesce({one}, -1), coalesce({other}, -1)), -1)")
            }
        }
    }

    /// A number that is missing.
    pub fn null_number(&self) -> String {
        match self.dialect {
            Dialect::Postgres => "NULL::bigint".to_owned(),
            Dialect::Sqlite => "NULL".to_owned(),
        }
    }

    /// What is at a place, as text; `NULL` where the map has no such place.
    pub fn text(&mut self, place: Option<&Place>) -> Result<String, Fault> {
        let raw = place.map(|place| self.raw(place)).transpose()?;
        let raw = raw.map_or("NULL".to_owned(), |(raw, _)| raw);
        Ok(match self.dialect {
            Dialect::Postgres => format!("({raw})::text"),
            Dialect::Sqlite => format!("CAST({raw} AS TEXT)"),
        })
    }

    /// The bytes of a text at a place, whatever they are.
    pub fn bytes(&mut self, place: Option<&Place>) -> Result<String, Fault> {
        let raw = place.map(|place| self.raw(place)).transpose()?;
        Ok(match (self.dialect, raw) {
            (Dialect::Postgres, Some((raw, Kind::Bytes))) | (Dialect::Sqlite, Some((raw, _))) => {
                raw
            }
            // a String of the client must be UTF-8; what this gives need not be
            (Dialect::Postgres, Some((raw, _))) => format!("textsend(({raw})::text)"),
            (Dialect::Postgres, None) => "NULL::bytea".to_owned(),
            (Dialect::Sqlite, None) => "NULL".to_owned(),
        })
    }

    /// A whole number at a place; `NULL` where the map has no such place.
    pub fn number(&mut self, place: Option<&Place>) -> Result<String, Fault> {
        let Some(place) = place else { return Ok(self.null_number()) };
        let (raw, _) = self.raw(place)?;
        Ok(match self.dialect {
            Dialect::Postgres => format!("({raw})::bigint"),
            Dialect::Sqlite => format!("CAST({raw} AS INTEGER)"),
        })
    }

    /// Whether what is at a place is one of some words; false where there is nothing.
    pub fn is_among(&mut self, place: &Place, words: &[String]) -> Result<String, Fault> {
        let text = self.text(Some(place))?;
        Ok(match self.dialect {
            Dialect::Postgres => {
                let words = self.param(Param::Texts(words.to_vec()));
                format!("coalesce({text} = ANY({words}), FALSE)")
            }
            Dialect::Sqlite => format!("coalesce({text} IN ({}), FALSE)", self.list(words)),
        })
    }

    /// Whether the status, or what `expression` says of it, is one of some values; in a form that an
    /// index on the status serves: the values become its type, never the other way round.
    pub fn status_is(
        &mut self,
        expression: &str,
        status: &str,
        values: &[String],
    ) -> Result<String, Fault> {
        let type_name = self.table.column(status)?.type_name.clone();
        Ok(match self.dialect {
            Dialect::Postgres => {
                let values = self.param(Param::Texts(values.to_vec()));
                format!("{expression} = ANY({values}::text[]::{type_name}[])")
            }
            Dialect::Sqlite => format!("{expression} IN ({})", self.list(values)),
        })
    }

    fn list(&mut self, words: &[String]) -> String {
        let marks: Vec<String> =
            words.iter().map(|word| self.param(Param::Text(word.clone()))).collect();
        marks.join(", ")
    }
}

/// Moments without a zone are read in that of the session, which is set to the map's.
fn postgres_time(raw: &str, kind: Kind) -> String {
    let of_number = |number: &str| {
        format!(
            "to_timestamp(CASE WHEN {number} > {SECONDS_MAX} THEN {number} / 1000.0 ELSE {number} END)"
        )
    };
    let time = match kind {
        Kind::Time => format!("({raw})::timestamptz"),
        Kind::Number => of_number(&format!("({raw})::float8")),
        Kind::Text | Kind::Json | Kind::Bytes => format!(
            "CASE WHEN ({raw})::text ~ '^[0-9]{{1,15}}([.][0-9]*)?$' THEN {} \
             ELSE nullif(({raw})::text, '')::timestamptz END",
            of_number(&format!("({raw})::text::float8"))
        ),
    };
    format!(
        "CASE WHEN ({time}) IS NULL THEN NULL WHEN isfinite({time}) \
         THEN (extract(epoch FROM {time}) * 1000)::bigint \
         WHEN ({time}) > now() THEN {NEVER_MS} ELSE 0 END"
    )
}

/// Text is ISO 8601, in UTC where it does not say otherwise, or a number like those that are numbers: a
/// column that is declared as text makes text of them.
fn sqlite_time(raw: &str) -> String {
    let number = format!("CAST({raw} AS REAL)");
    format!(
        "CASE WHEN {raw} IS NULL OR {raw} = '' THEN NULL \
         WHEN typeof({raw}) = 'text' AND {raw} GLOB '*[^0-9.]*' \
         THEN CAST(round((julianday({raw}) - 2440587.5) * 86400000) AS INTEGER) \
         ELSE CAST(CASE WHEN {number} > {SECONDS_MAX} THEN {number} ELSE {number} * 1000 END AS INTEGER) END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quote("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        assert_eq!(literal("UTC"), "E'UTC'");
        assert_eq!(literal("a'; DROP TABLE x; --\\"), "E'a''; DROP TABLE x; --\\\\'");
    }

    #[test]
    fn no_word_of_the_config_is_part_of_a_statement() {
        let column = Column {
            type_name: "text".to_owned(),
            kind: Kind::Text,
            not_null: true,
            writable: false,
        };
        let table = Table {
            shown: "t".to_owned(),
            quoted: "\"t\"".to_owned(),
            columns: [("c".to_owned(), column)].into(),
            status_indexed: false,
            partial_indexes: Vec::new(),
            status_values: None,
            can_add_or_remove: false,
        };
        let evil = "'; DROP TABLE x; --".to_owned();
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            let mut to = Writer::new(dialect, &table, 0);
            let place = Place { column: "c".to_owned(), keys: vec![evil.clone()] };
            let mut text = to.time(&place).unwrap();
            text += &to.is_among(&place, std::slice::from_ref(&evil)).unwrap();
            text += &to.status_is("\"c\"", "c", std::slice::from_ref(&evil)).unwrap();
            let statement = to.finish(text);
            assert!(!statement.text.contains("DROP"), "{statement:?}");
            let unknown = Place { column: evil.clone(), keys: Vec::new() };
            assert!(Writer::new(dialect, &table, 0).time(&unknown).is_err());
        }
    }
}
