//! What keeps a queue from being read, as people are told it: with what mends it, ready to be pasted, by what the catalogue
//! knows. That may be asked by anybody.

use std::collections::{BTreeMap, BTreeSet};

use ::postgres::Client;
use ::postgres::error::SqlState;
use serde::Deserialize;

use super::reading::Reading;
use crate::libraries::Relation;
use crate::queue::Fault;
use crate::queue::postgres::said;
use crate::queue::sql::{literal, quote};

/// Of a part that should be there.
pub(super) const GONE: &str = "is not there: it was dropped, or never made";

/// What the catalogue knows of it, for the grants: anybody may ask that.
#[derive(Deserialize)]
pub(super) struct Catalogue {
    /// By whose rights is read.
    user: String,
    /// The columns of its relations, those of each queue too.
    columns: BTreeMap<String, Vec<String>>,
    /// Who made those of queues, and may make more.
    makers: BTreeSet<String>,
}

impl Reading<'_> {
    /// What the server did not answer, with what mends it.
    pub(super) fn refused(&self, client: &mut Client, error: &::postgres::Error) -> Fault {
        let owner = is_hidden(error).then(|| self.owner_of_view(client)).flatten();
        let is_refused = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let is_gone = self.version.is_some() && is_missing(error);
        let catalogue = (is_refused || is_gone).then(|| self.catalogue(client)).flatten();
        let is_lost = self.version.is_none() && is_missing(error);
        let whereabouts = if is_lost { self.whereabouts(client) } else { String::new() };
        let seer = owner.as_deref().unwrap_or(&self.user);
        self.explained(error, seer, catalogue.as_ref(), &whereabouts)
    }

    /// What the server said, and what mends it; `seer` is by whose eyes rows are seen.
    pub(super) fn explained(
        &self,
        error: &::postgres::Error,
        seer: &str,
        catalogue: Option<&Catalogue>,
        whereabouts: &str,
    ) -> Fault {
        let is_hidden = is_hidden(error);
        let (said, called) = (said(error), self.library.called);
        let code = error.code();
        Fault(if code == Some(&SqlState::QUERY_CANCELED) {
            format!(
                "{said}: it took longer than [queue] timeout leaves for it, which may be up to a minute: timeout = \"1m\""
            )
        } else if code == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            // only that mode keeps a reader out, and one that waits for it keeps out whoever comes later; a relation may be one
            // that a view reads, a queue's own table, or an index
            format!(
                "{said}: somebody has a table of {called}'s for themselves, or waits until nobody has it, as a migration does; who: \
                 SELECT a.pid, l.relation::regclass::text, l.granted, a.state, a.query FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.mode = 'AccessExclusiveLock' AND l.relation IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace({})) \
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid <> pg_backend_pid(); \
                 and to end one, with what it has not yet written: SELECT pg_terminate_backend(PID);",
                literal(&quote(self.schema()))
            )
        } else if is_hidden {
            format!(
                "{said}: a count of the rows that are left would mean nothing; as an administrator: ALTER ROLE {} BYPASSRLS;",
                quote(seer)
            )
        } else if code == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            format!(
                "{said}; as the owner of {called}'s tables: {}",
                self.grants(catalogue).join(" ")
            )
        } else if let (Some(version), true) = (self.version, is_missing(error)) {
            format!("{said}: {}", self.gone(version, &said, catalogue))
        } else if is_missing(error) {
            format!(
                "{said}: nothing of {called} is in the schema {:?}: {whereabouts}",
                self.schema()
            )
        } else {
            said
        })
    }

    /// What the catalogue knows of it; none where it gives no answer.
    pub(super) fn catalogue(&self, client: &mut Client) -> Option<Catalogue> {
        let schema = literal(&quote(self.schema()));
        let names: Vec<String> = self.library.reads.iter().map(|it| literal(it.name)).collect();
        let part = self
            .library
            .parts
            .as_ref()
            .map(|it| format!("starts_with(relname, {})", literal(it.begin)));
        let part = part.unwrap_or_else(|| "false".to_owned());
        let question = format!(
            "SELECT json_build_object('user', current_user, \
             'columns', coalesce(json_object_agg(relname, (SELECT coalesce(json_agg(attname), '[]') FROM pg_attribute \
                 WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)), '{{}}'), \
             'makers', coalesce(json_agg(DISTINCT pg_get_userbyid(relowner)) FILTER (WHERE {part} OR relname = 'meta'), '[]')) \
             FROM pg_class c WHERE relnamespace = to_regnamespace({schema}) AND relkind IN ('r', 'p', 'v') AND NOT relispartition \
             AND (relname IN ({}) OR {part})",
            names.join(", ")
        );
        serde_json::from_str(&self.ask_after(client, &question)?).ok()
    }

    /// The least that has to be granted, by what the catalogue knows; where it does not answer, whole tables.
    pub(super) fn grants(&self, catalogue: Option<&Catalogue>) -> Vec<String> {
        let schema = quote(self.schema());
        let user = quote(catalogue.map_or(self.user.as_str(), |it| &it.user));
        let has = |(table, column): (&str, &str)| {
            let known = catalogue.and_then(|it| it.columns.get(table));
            known.is_some_and(|known| known.iter().any(|it| it == column))
        };
        let select = |table: &str, columns: &[&str], shown: &[&str]| {
            let shown = shown.iter().filter(|_| self.is_shown());
            let those = columns.iter().chain(shown).filter(|it| has((table, it)));
            let columns: Vec<String> = those.map(|it| quote(it)).collect();
            let columns = match columns.as_slice() {
                [] => String::new(),
                columns => format!(" ({})", columns.join(", ")),
            };
            format!("GRANT SELECT{columns} ON {schema}.{} TO {user};", quote(table))
        };
        let mut grants = vec![format!("GRANT USAGE ON SCHEMA {schema} TO {user};")];
        // one that the library does without, or that came later, is granted to nobody
        let is_there =
            |it: &&Relation| catalogue.is_none_or(|known| known.columns.contains_key(it.name));
        let reads = self.library.reads.iter().filter(is_there);
        let reads = reads.filter(|it| !it.unless.is_some_and(has));
        grants.extend(reads.map(|it| select(it.name, it.columns, it.shown)));
        let (Some(parts), Some(catalogue)) = (&self.library.parts, catalogue) else {
            return grants;
        };
        let tables = catalogue.columns.keys().filter(|it| it.starts_with(parts.begin));
        grants.extend(tables.map(|it| select(it, parts.columns, parts.shown)));
        // a queue that is made later is a table more, and what one may read of those is known by whoever makes it
        grants.extend(catalogue.makers.iter().map(|maker| {
            let maker = quote(maker);
            format!("ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {user};")
        }));
        grants
    }

    /// Who owns the view that is read, where there is one: it shows the rows that its owner may see, whoever asks.
    pub(super) fn owner_of_view(&self, client: &mut Client) -> Option<String> {
        let question = format!(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'v' AND oid IN ({}) \
             AND coalesce(array_to_string(reloptions, ','), '') !~ 'security_invoker=(true|on|1)' LIMIT 1",
            self.read_relations()
        );
        self.ask_after(client, &question)
    }

    /// Where it is looked for, and where it is, or what makes it.
    pub(super) fn whereabouts(&self, client: &mut Client) -> String {
        let first = self.library.reads.first().map_or("", |it| it.name);
        let catalogue = self.catalogue(client);
        if catalogue.is_some_and(|it| !it.columns.is_empty()) {
            let others = "though others of its tables are there";
            // what is another program's may be called as one of them is
            if let Some(schema) = self.whole_elsewhere(client) {
                return format!(
                    "{first} {GONE}, {others}; all of them are in another: [queue.library] schema = {schema:?}"
                );
            }
            return format!("{first} {GONE}, {others}; {}", self.brought_back(&[first], ""));
        }
        let question = format!(
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE relname = {} AND relkind IN ('r', 'p', 'v') AND nspname <> {} ORDER BY nspname LIMIT 1",
            literal(first),
            literal(self.schema())
        );
        self.ask_after(client, &question).map_or_else(
            || {
                format!(
                    "it was never started there, which makes its tables: {}; or it lives in another, which [queue.library] schema names",
                    self.of(self.library.makes)
                )
            },
            |schema| format!("it is in another: [queue.library] schema = {schema:?}"),
        )
    }

    /// Another schema that has every relation of the library's; none where there is none, or nobody knows.
    fn whole_elsewhere(&self, client: &mut Client) -> Option<String> {
        let needed = self.library.reads.iter().filter(|it| it.unless.is_none());
        let names: Vec<String> = needed.map(|it| literal(it.name)).collect();
        let question = format!(
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE relname IN ({}) AND relkind IN ('r', 'p', 'v') AND nspname <> {} \
             GROUP BY nspname HAVING count(*) = {} ORDER BY nspname LIMIT 1",
            names.join(", "),
            literal(self.schema()),
            names.len()
        );
        self.ask_after(client, &question)
    }

    /// What is gone from tables whose version is known: its own migrations bring it no more, as none of them is due.
    pub(super) fn gone(&self, version: i64, said: &str, catalogue: Option<&Catalogue>) -> String {
        let called = self.library.called;
        let begin =
            format!("the tables of {called} are of version {version}, which is read here, and");
        let is_there = |name: &str| catalogue.is_some_and(|it| it.columns.contains_key(name));
        // the server names what it misses, whatever its language
        let names = self.library.reads.iter().map(|it| it.name);
        let lost: Vec<&str> =
            names.filter(|it| !is_there(it) && said.contains(&format!(".{it}"))).collect();
        if !lost.is_empty() {
            return format!("{begin} {} {GONE}; {}", lost.join(", "), self.brought_back(&lost, ""));
        }
        let lacks = |table: &str, column: &str| {
            let known = catalogue.and_then(|it| it.columns.get(table));
            known.is_some_and(|known| known.iter().all(|it| it != column))
        };
        let columns = self.library.reads.iter().flat_map(|it| {
            let columns = it.columns.iter().chain(it.shown);
            columns.filter(|column| lacks(it.name, column)).map(|column| (it.name, *column))
        });
        let lost = columns.filter(|(_, column)| said.contains(column)).collect::<Vec<_>>();
        match lost.first() {
            Some((table, column)) => format!(
                "{begin} the column {column} of {table} {GONE}; how it was made says a backup that was restored into another database: \
                 pg_dump --schema-only {} \"$BACKUP_URL\"",
                self.pattern(table)
            ),
            None => format!(
                "{begin} a part of them {GONE}; how all was made says a backup that was restored into another database: \
                 pg_dump --schema-only --schema='{}' \"$BACKUP_URL\"",
                quote(self.schema())
            ),
        }
    }

    /// What brings relations back, or their rows alone, with all that belongs to them.
    pub(super) fn brought_back(&self, names: &[&str], only: &str) -> String {
        let patterns = names.iter().map(|name| self.pattern(name));
        format!(
            "what was done since then waits again, from a backup that was restored into another database: \
             pg_dump {only}{} \"$BACKUP_URL\" | psql -1 -v ON_ERROR_STOP=1 \"$DATABASE_URL\"",
            patterns.collect::<Vec<_>>().join(" ")
        )
    }

    /// A relation as `pg_dump` is told it, with those that have its rows.
    pub(super) fn pattern(&self, name: &str) -> String {
        let schema = quote(self.schema());
        let parts = self.library.reads.iter().filter(|it| it.name == name).flat_map(|it| it.parts);
        let all = [quote(name)].into_iter().chain(parts.map(|it| (*it).to_owned()));
        let all = all.map(|it| format!("--table='{schema}.{it}'"));
        all.collect::<Vec<_>>().join(" ")
    }
}

/// Whether something is not there that was asked for.
fn is_missing(error: &::postgres::Error) -> bool {
    let missing = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_OBJECT,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    error.code().is_some_and(|code| missing.contains(code))
}

/// Whether a policy keeps rows back.
fn is_hidden(error: &::postgres::Error) -> bool {
    // the words are in the language of the server
    error.as_db_error().is_some_and(|it| it.routine() == Some("check_enable_rls"))
}
