//! A reading of a library's queue: its version first, then all that is decided by in one statement, and so of one moment; how
//! many failed for good, which is a number for people, last and by itself, as it may take the longest. Each is sent with the beginning and the end of its transaction in one message: the server is never between them with nothing to do,
//! no snapshot is held, and what is set for it does not outlast it behind a pooler.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::postgres::Client;
use ::postgres::error::SqlState;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Library, Newer, Relation, Sorted, Taken, Unsaid, Version, Whole};
use crate::config::queue::{Library as Written, Queue};
use crate::probes::jobs::{
    InfraErrors, Job, QueueFacts, RUNNING_MAX, Rescue, Since, State, plain_path,
};
use crate::queue::address::Server;
use crate::queue::postgres::{connect, first_value, said, settings};
use crate::queue::read::{odd_outputs, refuse_too_many};
use crate::queue::sql::{literal, quote};
use crate::queue::{Fault, millis};

/// Of how many shares what comes next is put together; where there are more, putting all that waits in order takes less.
const SHARES_MAX: usize = 100;

/// A relation of more rows than that is not gone through as a whole for one number: a million take some 60 ms.
const WHOLE_MAX: u32 = 5_000_000;

/// Less than a row of any of these takes, with what belongs to it, bytes.
const ROW_LEAST: u32 = 100;

/// So much of the time for an answer a number may take that is for people alone: a tenth.
const DEAD_SHARE: u64 = 10;

/// Each relation is named with its schema. What a function or an operator is called is looked for among the server's own alone:
/// where everybody may make things in `public`, one that fits better would be run with our rights (CVE-2018-1058).
const SET_PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// What is to be known of the queue itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Whose it is.
    pub called: &'static str,
    /// The version of its tables.
    pub version: i64,
    /// The versions that are read.
    pub versions: (i64, i64),
    /// The least that has to be granted, as SQL.
    pub grants: Vec<String>,
    /// What cannot be known of it.
    pub unknown: &'static str,
    /// The indexes that a reading goes by.
    pub indexes: BTreeSet<String>,
    /// The tables that it goes through as a whole.
    pub whole: BTreeSet<String>,
    /// What was read.
    pub facts: QueueFacts,
}

/// What a queue holds.
pub fn facts(server: &Server, queue: &Queue, written: &Written) -> Result<QueueFacts, Fault> {
    let (mut reading, mut client, _) = begun(server, queue, written)?;
    match reading.facts(&mut client) {
        // a queue may have been made or dropped since its parts were looked for
        Err(_) if reading.has_other_parts(&mut client)? => reading.facts(&mut client),
        told => told,
    }
}

/// That, and what the queue is.
pub fn about(server: &Server, queue: &Queue, written: &Written) -> Result<About, Fault> {
    let (reading, mut client, version) = begun(server, queue, written)?;
    let library = reading.library;
    let (mut indexes, mut whole) = (BTreeSet::new(), BTreeSet::new());
    tell(&reading.plan(&mut client)?, &mut indexes, &mut whole);
    Ok(About {
        called: library.called,
        version,
        versions: (library.version.from, library.version.to),
        grants: reading.grants(reading.catalogue(&mut client).as_ref()),
        unknown: library.unknown,
        indexes,
        whole,
        facts: reading.facts(&mut client)?,
    })
}

/// Connected, and of a version that is read: which one, too.
fn begun<'a>(
    server: &Server,
    queue: &'a Queue,
    written: &'a Written,
) -> Result<(Reading<'a>, Client, i64), Fault> {
    let library = super::named(written.name)
        .ok_or_else(|| Fault(format!("{} is read by no program of this version", written.name)))?;
    let user = server.user().to_owned();
    let mut reading =
        Reading { library, written, queue, user, parts: String::new(), version: None };
    let mut client = connect(server, queue)?;
    let version = reading.told_version(&mut client)?;
    reading.version = Some(version);
    reading.look_for_parts(&mut client)?;
    Ok((reading, client, version))
}

/// What a plan goes by, and what it goes through.
fn tell(plan: &Value, indexes: &mut BTreeSet<String>, whole: &mut BTreeSet<String>) {
    match plan {
        Value::Array(all) => all.iter().for_each(|it| tell(it, indexes, whole)),
        Value::Object(node) => {
            // the catalogue's own say nothing of the library
            let named = |key: &str| {
                let name = node.get(key).and_then(Value::as_str);
                name.filter(|it| !it.starts_with("pg_")).map(str::to_owned)
            };
            indexes.extend(named("Index Name"));
            if named("Node Type").as_deref() == Some("Seq Scan") {
                whole.extend(named("Relation Name"));
            }
            node.values().for_each(|it| tell(it, indexes, whole));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct Reading<'a> {
    library: &'static Library,
    written: &'a Written,
    queue: &'a Queue,
    user: String,
    /// Rows of all its parts, where it has some.
    parts: String,
    /// Its version, once it is one that is read.
    version: Option<i64>,
}

/// What the catalogue knows of it, for the grants: anybody may ask that.
#[derive(Deserialize)]
struct Catalogue {
    /// By whose rights is read.
    user: String,
    /// The columns of its relations, those of each queue too.
    columns: BTreeMap<String, Vec<String>>,
    /// Who made those of queues, and may make more.
    makers: BTreeSet<String>,
}

/// The answer, as the statement makes it.
#[derive(Deserialize)]
struct Answer {
    now_ms: u64,
    waiting: Waiting,
    at_work: AtWork,
    missing: Vec<String>,
    next: Vec<Found>,
    cooling: Vec<Found>,
}

#[derive(Deserialize)]
struct Waiting {
    pending: u64,
    retryable: u64,
    cooling: u64,
    oldest_ms: Option<u64>,
}

#[derive(Deserialize)]
struct AtWork {
    running: u64,
    stale: u64,
    /// One more than may run at most: the numbers are of these, and are not told where there are so many.
    jobs: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    lane: Option<String>,
    output: Option<String>,
    started_ms: Option<u64>,
    until_ms: Option<u64>,
    back_ms: Option<u64>,
    tries: Option<u64>,
    again: bool,
}

impl Reading<'_> {
    fn schema(&self) -> &str {
        self.written.schema.as_deref().unwrap_or(self.library.schema)
    }

    /// A text of the library's with its schema.
    fn of(&self, text: &str) -> String {
        self.filled(text, &[])
    }

    /// The same, with more that is to be filled in. What is filled in comes from tables and configurations, and is never read
    /// for marks.
    fn filled(&self, text: &str, more: &[(&str, &str)]) -> String {
        let text = self.library.newer.iter().fold(text.to_owned(), |text, it| {
            let stands = if self.has(it) { it.then } else { it.before };
            text.replace(&format!("{{{}}}", it.name), stands)
        });
        let (stale_after, schema) =
            (self.queue.stale_after.as_secs().to_string(), quote(self.schema()));
        let own = [
            ("parts", self.parts.as_str()),
            ("now", self.now()),
            ("stale_after", &stale_after),
            ("schema", &schema),
        ];
        let mut filled = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let mark = own.iter().chain(more).find_map(|(name, value)| {
                Some((value, after.strip_prefix(name)?.strip_prefix('}')?))
            });
            if let Some((value, after)) = mark {
                filled.push_str(value);
                rest = after;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled.push_str(rest);
        filled
    }

    /// The moment of the statement as its rows say moments: asked once, as making it anew for each row takes longer than
    /// all else that is done with one.
    fn now(&self) -> &'static str {
        if self.library.utc { "(SELECT timezone('UTC', now()))" } else { "now()" }
    }

    /// A moment of a row's as one that has a zone.
    fn zoned(&self, moment: &str) -> String {
        if self.library.utc {
            format!("(({moment}) AT TIME ZONE 'UTC')")
        } else {
            format!("({moment})")
        }
    }

    /// The version of its tables, which is one that is read.
    fn told_version(&self, client: &mut Client) -> Result<i64, Fault> {
        let (version, called) = (&self.library.version, self.library.called);
        let (last, mut columns) = (version.to, version.columns);
        let told = match self.ask(client, &self.or_later(version.ask, columns)) {
            Err(_) if self.lacks_version(client) => None,
            told => told?,
        };
        let told = match (told, &version.unsaid) {
            (None, Some(Unsaid::ByParts { ask, columns: known })) if self.has_tables(client)? => {
                columns = *known;
                self.ask(client, &self.or_later(ask, columns))?
            }
            (told, _) => told,
        };
        let range = format!("{} to {} are read here", version.from, version.to);
        match told.as_deref().map(str::parse::<i64>) {
            Some(Ok(found)) if found < version.from => {
                let cut = version.cut.filter(|(first, _)| found < *first);
                let older = self.of(cut.map_or(version.older, |(_, older)| older));
                Err(Fault(format!(
                    "the tables of {called} are of version {found}, and {range}: {older}"
                )))
            }
            Some(Ok(found)) if found > last => {
                let names = format!(
                    "SELECT string_agg(DISTINCT attname, ', ' ORDER BY attname) {}",
                    self.other_columns(columns)
                );
                let names = match columns {
                    [] => None,
                    [..] => self.ask(client, &names)?,
                };
                Err(Fault(match names {
                    Some(names) => format!(
                        "the tables of {called} have columns that version {last} has not: {names}; nobody has looked at a later one yet: \
                         update unwedge, or name those that are your own as [queue.library] columns"
                    ),
                    None => format!(
                        "the tables of {called} are of version {found}, and {range}: nobody has looked at a later one yet; update unwedge"
                    ),
                }))
            }
            Some(Ok(found)) => Ok(found),
            Some(Err(_)) => Err(Fault(format!(
                "the tables of {called} say that they are of version {:?}: something else brought them there, which nobody has looked at",
                told.unwrap_or_default()
            ))),
            None => Err(Fault(match (&version.unsaid, self.has_tables(client)?) {
                (Some(Unsaid::Lost { told, mend }), true) => {
                    let told = self.ask(client, &self.of(told))?;
                    let mend = self.filled(mend, &[("told", told.as_deref().unwrap_or("N"))]);
                    match told {
                        Some(_) => format!("the tables of {called} say no version: {mend};"),
                        None => format!(
                            "the tables of {called} say no version: {mend}, with the number that its migrations brought for N"
                        ),
                    }
                }
                (Some(Unsaid::ByParts { .. }) | None, true) => format!(
                    "the tables of {called} are there, and nothing says of which version: {} is missing, or says none; {}",
                    self.library.reads.last().map_or("", |it| it.name),
                    self.of(version.older)
                ),
                (_, false) => format!(
                    "nothing in the schema {:?} says which version of {called} it is: {}",
                    self.schema(),
                    self.whereabouts(client)
                ),
            })),
        }
    }

    /// Whether the first of its relations is there.
    fn has_tables(&self, client: &mut Client) -> Result<bool, Fault> {
        let first = self.regclass(self.library.reads.first().map_or("", |it| it.name));
        let told = self.ask(client, &format!("SELECT {first} IS NOT NULL"))?;
        Ok(told.as_deref() == Some("t"))
    }

    /// Where it is looked for, and where it is.
    fn whereabouts(&self, client: &mut Client) -> String {
        let first = literal(self.library.reads.first().map_or("", |it| it.name));
        let question = format!(
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE relname = {first} AND relkind IN ('r', 'p', 'v') AND nspname <> {} ORDER BY nspname LIMIT 1",
            literal(self.schema())
        );
        self.ask_after(client, &question).map_or_else(
            || "it was never started there, or lives in another, which [queue.library] schema names".to_owned(),
            |schema| format!("it is in another: [queue.library] schema = {schema:?}"),
        )
    }

    /// Whether its tables are there but for the one that says their version: another tool may have made them.
    fn lacks_version(&self, client: &mut Client) -> bool {
        let [first, .., last] = self.library.reads else { return false };
        let (first, last) = (self.regclass(first.name), self.regclass(last.name));
        let question = format!("SELECT {last} IS NULL AND {first} IS NOT NULL");
        self.ask_after(client, &question).as_deref() == Some("t")
    }

    /// The version that a question tells, or the next after the last that was looked at, where the tables have a column that is
    /// none of these; where none are named, any will do.
    fn or_later(&self, ask: &str, columns: &[&str]) -> String {
        let ask = self.of(ask);
        if columns.is_empty() {
            return ask;
        }
        let Version { from, to, .. } = self.library.version;
        let other = self.other_columns(columns);
        format!(
            "SELECT CASE WHEN v >= {from} AND EXISTS (SELECT 1 {other}) THEN {to} + 1 ELSE v END FROM ({ask}) AS told (v)"
        )
    }

    /// Where the columns are that are none of these, nor named by the configuration.
    fn other_columns(&self, columns: &[&str]) -> String {
        let own = self.written.columns.iter().map(String::as_str);
        let known: Vec<String> = columns.iter().copied().chain(own).map(literal).collect();
        format!(
            "FROM pg_attribute WHERE attrelid IN ({}) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ({})",
            self.read_relations(),
            known.join(", ")
        )
    }

    /// Every relation that is read, as a list of values.
    fn read_relations(&self) -> String {
        let all: Vec<String> = self.library.reads.iter().map(|it| self.regclass(it.name)).collect();
        all.join(", ")
    }

    /// What the catalogue calls a relation or an index of the schema; null where there is none.
    fn regclass(&self, name: &str) -> String {
        format!("to_regclass({})", literal(&format!("{}.{}", quote(self.schema()), quote(name))))
    }

    /// Asks which tables there are, where each queue has one.
    fn look_for_parts(&mut self, client: &mut Client) -> Result<(), Fault> {
        let Some(parts) = &self.library.parts else { return Ok(()) };
        let all: Vec<(String, String, Option<bool>)> = self.answer(client, &self.of(parts.ask))?;
        if let Some((part, table, _)) = all.iter().find(|(_, _, is_later)| is_later.is_none()) {
            let mend = self.filled(parts.lost, &[("part", &literal(part))]);
            return Err(Fault(format!("{part}, table {table}: {mend}")));
        }
        let shown = |name: &&str| {
            if self.is_shown() { (*name).to_owned() } else { format!("NULL::jsonb AS {name}") }
        };
        let shown: Vec<String> = parts.shown.iter().map(shown).collect();
        let each = parts.each.replace("{shown}", &shown.join(", "));
        let each = |(part, table, is_later): &(String, String, Option<bool>)| {
            let (name, kind) = parts.later;
            let later =
                if *is_later == Some(true) { name.to_owned() } else { format!("NULL::{kind}") };
            let more = [("part", literal(part)), ("table", quote(table)), ("later", later)];
            self.filled(&each, &more.each_ref().map(|(name, value)| (*name, value.as_str())))
        };
        let rows: Vec<String> = all.iter().map(each).collect();
        self.parts = if rows.is_empty() { parts.none.to_owned() } else { rows.join(" UNION ALL ") };
        Ok(())
    }

    /// Whether its parts are others than those that were looked for; then they are looked for anew.
    fn has_other_parts(&mut self, client: &mut Client) -> Result<bool, Fault> {
        if self.library.parts.is_none() || client.simple_query("ROLLBACK").is_err() {
            return Ok(false);
        }
        let before = self.parts.clone();
        self.look_for_parts(client)?;
        Ok(self.parts != before)
    }

    fn facts(&self, client: &mut Client) -> Result<QueueFacts, Fault> {
        let answer: Answer = self.answer(client, &self.statement())?;
        refuse_too_many(answer.at_work.jobs.len(), RUNNING_MAX)?;
        let mut advice = Vec::new();
        advice.extend(answer.missing.iter().map(|index| {
            format!(
                "{} has no index {index} here: each reading goes through finished jobs too",
                self.library.called
            )
        }));
        let dead = self.dead(client)?;
        advice.extend(dead.as_ref().err().cloned());
        let mut odd = 0;
        let mut jobs = |found: Vec<Found>, state: Option<State>| -> Vec<Job> {
            found.into_iter().map(|it| it.job(state, &mut odd)).collect()
        };
        let running = jobs(answer.at_work.jobs, Some(State::Running));
        let next = jobs(answer.next, None);
        let cooling = jobs(answer.cooling, Some(State::Cooling));
        advice.extend(odd_outputs(odd));
        let waits = answer.waiting;
        Ok(QueueFacts {
            queue: self.library.name.to_owned(),
            at_utc_ms: answer.now_ms,
            running,
            next,
            cooling,
            counts: [
                (State::Pending, waits.pending),
                (State::Retryable, waits.retryable),
                (State::Cooling, waits.cooling),
                (State::Running, answer.at_work.running),
            ]
            .into(),
            oldest_pending_ms: waits.oldest_ms.filter(|_| waits.pending + waits.retryable > 0),
            infra_errors: InfraErrors { window_ms: millis(self.queue.infra_window), count: None },
            stale_running: Some(answer.at_work.stale),
            dead: dead.unwrap_or_default(),
            hold_back: false,
            rescue: Some(self.rescue()),
            advice,
        })
    }

    fn rescue(&self) -> Rescue {
        let (since, after) = match self.library.rescue.taken {
            Taken::AfterStart(after) => (Since::Start, after),
            Taken::AfterSilence(after) => (Since::Silence, after),
            Taken::At(_) => (Since::Row, Duration::ZERO),
        };
        Rescue { by: self.library.rescue.by.to_owned(), after_ms: millis(after), since }
    }

    /// Whether an index serves: one whose making was broken off is there, and does not.
    fn is_valid(&self, index: &str) -> String {
        let index = self.regclass(index);
        format!("EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = {index} AND indisvalid)")
    }

    /// The names of indexes that are not there, as a question of one list.
    fn missing(&self) -> String {
        let each = self.library.indexes.iter().map(|any| {
            let is_missing = any.iter().map(|index| format!("NOT {}", self.is_valid(index)));
            let is_missing = is_missing.collect::<Vec<_>>().join(" AND ");
            format!("CASE WHEN {is_missing} THEN {} END", literal(&any.join(" or ")))
        });
        let each: Vec<String> = each.collect();
        format!("array_remove(ARRAY[{}]::text[], NULL)", each.join(", "))
    }

    /// How the server would go about it.
    fn plan(&self, client: &mut Client) -> Result<Value, Fault> {
        let all = [Some(self.statement()), self.asks_for_dead()];
        let plan =
            |text: String| self.answer(client, &format!("EXPLAIN (COSTS off, FORMAT json) {text}"));
        all.into_iter().flatten().map(plan).collect::<Result<_, _>>().map(Value::Array)
    }

    /// All that is decided by.
    fn statement(&self) -> String {
        let (library, row) = (self.library, &self.library.row);
        let keys: Vec<String> = self.written.output.iter().map(|it| literal(it)).collect();
        let output = match row.arguments.filter(|_| self.is_shown()) {
            Some(arguments) => format!("({arguments} #>> ARRAY[{{keys}}])"),
            None => "NULL::text".to_owned(),
        };
        let free = format!("({} AND NOT ({}))", is_due(row.until), row.held);
        let back = match library.rescue.taken {
            Taken::At(moment) => moment,
            Taken::AfterStart(_) | Taken::AfterSilence(_) => "NULL::timestamptz",
        };
        // of the rows that are left in the end, not of all that are put in order: the server waits until then with what may
        // differ from row to row by itself, as the clock does (PostgreSQL 9.6, release notes)
        let job = |until: &str| {
            let job = format!(
                "json_build_object('id', {}, 'lane', ({})::text, 'output', {output}, 'started_ms', {}, 'until_ms', {until}, 'back_ms', {}, 'tries', ({})::bigint, 'again', ({}))",
                row.id,
                row.lane,
                ms(&self.zoned(row.started)),
                ms(&format!("({back})")),
                row.tries,
                row.again
            );
            format!("CASE WHEN clock_timestamp() IS NOT NULL THEN {job} END AS job")
        };
        let until = ms(&self.zoned(row.until));
        // what is held for something else than a time, and whose time is over, has none
        let ends =
            format!("CASE WHEN NOT ({}) OR ({}) > {{now}} THEN {until} END", row.held, row.until);
        let list = |until: &str, from: &str, condition: &str, order: &str| {
            let (job, next) = (job(until), self.queue.next_jobs);
            format!(
                "(SELECT coalesce(json_agg(job), '[]') FROM (SELECT {job} FROM {from} WHERE {condition} ORDER BY {order} LIMIT {next}) AS l)"
            )
        };
        let (from, running, waiting) = (library.from, library.running, library.waiting);
        let mut comes_next = list(&until, from, &format!("({waiting}) AND {free}"), row.turn);
        let mut shares = String::new();
        if let Some(sorted) = &library.sorted {
            let (all, first) = self.sorted(sorted);
            let others = sorted.part.map_or("false", |(_, others)| others);
            comes_next = format!(
                "CASE WHEN CASE WHEN {} AND pg_get_indexdef({}) LIKE '%{}%' AND NOT {others} THEN (SELECT count(*) <= {SHARES_MAX} FROM shares) END \
                 THEN {} ELSE {comes_next} END",
                self.is_valid(sorted.index),
                self.regclass(sorted.index),
                sorted.columns,
                list(&until, &first, "true", row.turn)
            );
            shares = format!(", shares AS ({all})");
        }
        // what cools is looked for where the counts say that something does; not as what is not free, which no index tells
        let text = format!(
            "WITH {ahead}counted AS ({counted}){shares} \
             SELECT json_build_object('now_ms', {now}, \
             'waiting', (SELECT json_build_object('pending', free - again, 'retryable', again, 'cooling', waiting - free, 'oldest_ms', CASE WHEN oldest > {now} THEN 0 ELSE {now} - oldest END) \
                 FROM counted), \
             'at_work', (SELECT json_build_object('running', count(*), 'stale', count(*) FILTER (WHERE stale), 'jobs', coalesce(json_agg(job), '[]')) \
                 FROM (SELECT {at_work}, {stale} AS stale FROM {from} WHERE {running} ORDER BY {nth} LIMIT {too_many}) AS l), \
             'missing', {missing}, 'next', {comes_next}, 'cooling', {cools})",
            ahead = library.ahead.map_or_else(String::new, |it| format!("{it}, ")),
            now = ms("now()"),
            counted = self.counted(&free),
            at_work = job(&until),
            stale = row.stale,
            nth = row.nth,
            too_many = RUNNING_MAX + 1,
            missing = self.missing(),
            // those that wait for a time come first: what is held has a time that is over, and would leave no room for them
            cools = list(
                &ends,
                from,
                &format!(
                    "(SELECT waiting > free FROM counted) AND ({waiting}) AND (({}) > {{now}} OR ({}))",
                    row.until, row.held
                ),
                &format!("({}) IS TRUE, {}, {}", row.held, row.until, row.nth),
            ),
        );
        self.filled(&text, &[("keys", &keys.join(", "))])
    }

    /// How many wait, how many of these could be taken, how many of those were tried before, and since when the oldest could be.
    fn counted(&self, free: &str) -> String {
        let (library, row) = (self.library, &self.library.row);
        // of each row, where that is no question of its own, and once
        let mut each = vec![format!("{free} AS is_free")];
        let tried = library.tried.map_or_else(
            || {
                each.push(format!("({}) AS is_again", row.again));
                "count(*) FILTER (WHERE is_free AND is_again)".to_owned()
            },
            |ask| format!("({ask})"),
        );
        // one that has no moment, or one before there were any, is not as old as that
        let oldest = library.oldest.map_or_else(
            || {
                each.push(format!("{} AS since", row.since));
                self.zoned("min(since) FILTER (WHERE is_free AND since > 'epoch')")
            },
            |ask| format!("({ask})"),
        );
        // with an OFFSET the planner does not put what is asked of a row into each of the numbers
        format!(
            "SELECT count(*) AS waiting, count(*) FILTER (WHERE is_free) AS free, {tried} AS again, {} AS oldest \
             FROM (SELECT {} FROM {} WHERE {} OFFSET 0) AS w",
            ms(&oldest),
            each.join(", "),
            library.from,
            library.waiting
        )
    }

    /// How many failed for good, where it has such rows; or why that is not told. No decision goes by it, and none waits for it.
    fn dead(&self, client: &mut Client) -> Result<Result<Option<u64>, String>, Fault> {
        let Some(question) = self.asks_for_dead() else { return Ok(Ok(None)) };
        let limit = (millis(self.queue.timeout) / DEAD_SHARE).max(1);
        let question = format!("SET LOCAL statement_timeout = {limit}; {question}");
        let told = match client.simple_query(&self.alone(&question)) {
            Ok(answer) => first_value(&answer),
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(Err(format!(
                    "how many failed for good is not counted: the server took longer than {limit} ms for it"
                )));
            }
            Err(error) => return Err(self.refused(client, &error)),
        };
        match (told.map(|it| it.parse()), &self.library.whole) {
            (Some(Ok(dead)), _) => Ok(Ok(Some(dead))),
            (None, Some(whole)) => Ok(Err(format!(
                "{} has more than {WHOLE_MAX} rows, and no index that alone tells those that failed for good: these are not counted",
                whole.name
            ))),
            (Some(Err(_)) | None, _) => Err(Fault::new("the database's answer is not understood")),
        }
    }

    /// That question; none where nothing fails for good.
    fn asks_for_dead(&self) -> Option<String> {
        let question = match (self.library.dead?, &self.library.whole) {
            (dead, Some(Whole { name, unless })) => {
                let spares = unless.iter().map(|it| format!(" OR {}", self.is_valid(it)));
                let spares = spares.collect::<Vec<_>>().concat();
                let relation = self.regclass(name);
                // of one in parts the rows are known of these alone; of one that was never analyzed, as after an update of the
                // server or a restore, none are known, and its size is taken
                format!(
                    "SELECT CASE WHEN (SELECT coalesce(sum(CASE WHEN reltuples > 0 THEN reltuples ELSE pg_relation_size(oid) / {ROW_LEAST} END), 0) \
                     FROM pg_class WHERE relkind <> 'p' AND (oid = {relation} OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = {relation}))) < {WHOLE_MAX}{spares} THEN ({dead}) END"
                )
            }
            (dead, None) => dead.to_owned(),
        };
        Some(self.of(&question))
    }

    /// The shares of what waits, and of each those that come first: from one value of the index's to the next, and past all
    /// rows of one.
    fn sorted(&self, sorted: &Sorted) -> (String, String) {
        let (from, row) = (self.library.from, &self.library.row);
        let has =
            sorted.part.map_or_else(|| format!("NOT ({})", row.held), |(has, _)| has.to_owned());
        let mut open = format!("({}) AND {has}", self.library.waiting);
        let (mut names, mut each) = (Vec::new(), Vec::new());
        for (at, column) in sorted.shares.iter().enumerate() {
            let least =
                |more: &str| format!("(SELECT min({column}) FROM {from} WHERE {open}{more})");
            each.push(format!(
                "LATERAL (WITH RECURSIVE one AS (SELECT {} AS told UNION ALL SELECT {} FROM one WHERE told IS NOT NULL) \
                 SELECT told FROM one WHERE told IS NOT NULL) AS by_{at} (by_{at})",
                least(""),
                least(&format!(" AND {column} > told"))
            ));
            names.push(format!("by_{at}"));
            open += &format!(" AND {column} = by_{at}");
        }
        // a column alone is found by the index, and there is never null
        let is_column = row.until.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let due = if is_column { format!("{} <= {{now}}", row.until) } else { is_due(row.until) };
        let all =
            format!("SELECT {} FROM {} LIMIT {SHARES_MAX} + 1", names.join(", "), each.join(", "));
        let first = format!(
            "shares, LATERAL (SELECT {} FROM {from} WHERE {open} AND {} ORDER BY {} LIMIT {}) AS j",
            self.columns().join(", "),
            due,
            row.turn,
            self.queue.next_jobs
        );
        (all, first)
    }

    /// One value that is JSON.
    fn answer<T: DeserializeOwned>(&self, client: &mut Client, question: &str) -> Result<T, Fault> {
        let told = self.ask(client, question)?;
        let told = told.ok_or_else(|| Fault::new("the database gave no row"))?;
        serde_json::from_str(&told)
            .map_err(|error| Fault(format!("the database's answer is not understood: {error}")))
    }

    /// One value, as text.
    fn ask(&self, client: &mut Client, question: &str) -> Result<Option<String>, Fault> {
        let answer = client.simple_query(&self.alone(question));
        Ok(first_value(&answer.map_err(|error| self.refused(client, &error))?))
    }

    /// What the server did not answer, with what mends it.
    fn refused(&self, client: &mut Client, error: &::postgres::Error) -> Fault {
        let owner = is_hidden(error).then(|| self.owner_of_view(client)).flatten();
        let is_refused = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        let catalogue = is_refused.then(|| self.catalogue(client)).flatten();
        let is_lost = self.version.is_none() && is_missing(error);
        let whereabouts = if is_lost { self.whereabouts(client) } else { String::new() };
        let seer = owner.as_deref().unwrap_or(&self.user);
        self.explained(error, seer, catalogue.as_ref(), &whereabouts)
    }

    /// A question in a transaction of its own, which may write nothing and has its limits.
    fn alone(&self, question: &str) -> String {
        format!(
            "START TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY{}; {SET_PATH}; {question}; COMMIT",
            settings(self.queue, "UTC")
        )
    }

    /// The same after one that the server has given up; none where there is no answer.
    fn ask_after(&self, client: &mut Client, question: &str) -> Option<String> {
        let text = format!("ROLLBACK; {}", self.alone(question));
        client.simple_query(&text).ok().as_deref().and_then(first_value)
    }

    /// Whether its version has what came with one.
    fn has(&self, it: &Newer) -> bool {
        self.version.is_some_and(|version| version >= it.from)
    }

    /// Whether what jobs were put in with is looked at.
    fn is_shown(&self) -> bool {
        !self.written.output.is_empty()
    }

    /// The columns of jobs that are read and that this version has.
    fn columns(&self) -> Vec<&'static str> {
        let Some(jobs) = self.library.reads.first() else { return Vec::new() };
        let has = |name: &&&'static str| {
            let newer = self.library.newer.iter().find(|it| it.name == **name);
            newer.is_none_or(|it| self.has(it))
        };
        let shown = jobs.shown.iter().filter(|_| self.is_shown());
        jobs.columns.iter().chain(shown).filter(has).copied().collect()
    }

    /// What the catalogue knows of it; none where it gives no answer.
    fn catalogue(&self, client: &mut Client) -> Option<Catalogue> {
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
    fn grants(&self, catalogue: Option<&Catalogue>) -> Vec<String> {
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
    fn owner_of_view(&self, client: &mut Client) -> Option<String> {
        let question = format!(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'v' AND oid IN ({}) \
             AND coalesce(array_to_string(reloptions, ','), '') !~ 'security_invoker=(true|on|1)' LIMIT 1",
            self.read_relations()
        );
        self.ask_after(client, &question)
    }

    /// What the server said, and what mends it; `seer` is by whose eyes rows are seen.
    fn explained(
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
            format!(
                "{said}: somebody has a table of {called}'s for themselves, as a migration does; who, and to end what is done there: SELECT pid, query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks \
                 WHERE mode = 'AccessExclusiveLock' AND granted AND relation IN ({})); SELECT pg_cancel_backend(PID);",
                self.read_relations()
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
        } else if self.version.is_some() && is_missing(error) {
            let older = self.of(self.library.version.older);
            format!(
                "{said}: a part of {called}'s tables is not there; finish its migrations: {older}"
            )
        } else if is_missing(error) {
            format!(
                "{said}: nothing of {called} is in the schema {:?}: {whereabouts}",
                self.schema()
            )
        } else {
            said
        })
    }
}

/// A moment in milliseconds since 1970. One that never comes, or lies before there were any, is a way to park a row or to leave it
/// open.
fn ms(moment: &str) -> String {
    format!(
        "CASE WHEN isfinite({moment}) THEN greatest((extract(epoch FROM {moment}) * 1000)::bigint, 0) END"
    )
}

/// Whether there is no time before when a row is not taken, or that is over.
fn is_due(until: &str) -> String {
    format!("coalesce(({until}) <= {{now}}, true)")
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

impl Found {
    fn job(self, state: Option<State>, odd: &mut usize) -> Job {
        let written = self.output.filter(|it| !it.is_empty());
        let output = written.as_ref().and_then(|it| plain_path(it.as_bytes()));
        *odd += usize::from(written.is_some() && output.is_none());
        let waits = if self.again { State::Retryable } else { State::Pending };
        Job {
            id: self.id,
            state: state.unwrap_or(waits),
            lane: self.lane,
            output,
            started_utc_ms: self.started_ms,
            not_before_utc_ms: self.until_ms,
            back_utc_ms: self.back_ms,
            attempts: self.tries,
        }
    }
}
