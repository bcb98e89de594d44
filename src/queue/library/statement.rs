//! The texts that are sent: what a library's file says, filled in for its schema and version, and made into one statement. No
//! client is needed for that.

use super::reading::Reading;
use crate::libraries::{Newer, Sorted, Taken, Whole};
use crate::probes::jobs::RUNNING_MAX;
use crate::queue::postgres::settings;
use crate::queue::sql::{literal, quote};

/// Of how many shares what comes next is put together; where there are more, putting all that waits in order takes less.
const SHARES_MAX: usize = 100;

/// A relation of more rows than that is not gone through as a whole for one number: a million take some 60 ms.
pub(super) const WHOLE_MAX: u32 = 5_000_000;

/// Less than a row of any of these takes, with what belongs to it, bytes.
const ROW_LEAST: u32 = 100;

/// Each relation is named with its schema. What a function or an operator is called is looked for among the server's own alone:
/// where everybody may make things in `public`, one that fits better would be run with our rights (CVE-2018-1058).
const SET_PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

impl Reading<'_> {
    /// A text of the library's with its schema.
    pub(super) fn of(&self, text: &str) -> String {
        self.filled(text, &[])
    }

    /// The same, with more that is to be filled in. What is filled in comes from tables and configurations, and is never read
    /// for marks.
    pub(super) fn filled(&self, text: &str, more: &[(&str, &str)]) -> String {
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
    pub(super) fn now(&self) -> &'static str {
        if self.library.utc { "(SELECT timezone('UTC', now()))" } else { "now()" }
    }

    /// A moment of a row's as one that has a zone.
    pub(super) fn zoned(&self, moment: &str) -> String {
        if self.library.utc {
            format!("(({moment}) AT TIME ZONE 'UTC')")
        } else {
            format!("({moment})")
        }
    }

    /// Every relation that is read, as a list of values.
    pub(super) fn read_relations(&self) -> String {
        let all: Vec<String> = self.library.reads.iter().map(|it| self.regclass(it.name)).collect();
        all.join(", ")
    }

    /// What the catalogue calls a relation or an index of the schema; null where there is none.
    pub(super) fn regclass(&self, name: &str) -> String {
        format!("to_regclass({})", literal(&format!("{}.{}", quote(self.schema()), quote(name))))
    }

    /// Whether an index serves: one whose making was broken off is there, and does not.
    pub(super) fn is_valid(&self, index: &str) -> String {
        let index = self.regclass(index);
        format!("EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = {index} AND indisvalid)")
    }

    /// The names of indexes that are not there, as a question of one list.
    pub(super) fn missing(&self) -> String {
        let each = self.library.indexes.iter().map(|any| {
            let is_missing = any.iter().map(|index| format!("NOT {}", self.is_valid(index)));
            let is_missing = is_missing.collect::<Vec<_>>().join(" AND ");
            format!("CASE WHEN {is_missing} THEN {} END", literal(&any.join(" or ")))
        });
        let each: Vec<String> = each.collect();
        format!("array_remove(ARRAY[{}]::text[], NULL)", each.join(", "))
    }

    /// All that is decided by.
    pub(super) fn statement(&self) -> String {
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
        let (from, waiting) = (library.from, library.waiting);
        let begun = library
            .among
            .as_ref()
            .map(|among| format!("{} IN (SELECT unnest(begun) FROM counted)", among.number));
        let running = begun.as_deref().unwrap_or(library.running);
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

    /// How many wait, how many of these could be taken, how many of those were tried before, and since when the oldest could be;
    /// and which are at work, where the same walk finds them.
    pub(super) fn counted(&self, free: &str) -> String {
        let (library, row, waits) = (self.library, &self.library.row, self.library.waiting);
        // of each row, where that is no question of its own, and once
        let (walked, waiting, begun, mut each) = match &library.among {
            None => (waits, "count(*)", "", vec![format!("{free} AS is_free")]),
            Some(among) => (
                among.all,
                "count(*) FILTER (WHERE waits)",
                ", array_agg(begun) FILTER (WHERE begun IS NOT NULL) AS begun",
                vec![
                    format!("({waits}) AS waits"),
                    format!("({waits}) AND {free} AS is_free"),
                    format!("CASE WHEN {} THEN {} END AS begun", library.running, among.number),
                ],
            ),
        };
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
            "SELECT {waiting} AS waiting, count(*) FILTER (WHERE is_free) AS free, {tried} AS again, {} AS oldest{begun} \
             FROM (SELECT {} FROM {} WHERE {walked} OFFSET 0) AS w",
            ms(&oldest),
            each.join(", "),
            library.from,
        )
    }

    /// The shares of what waits, and of each those that come first: from one value of the index's to the next, and past all
    /// rows of one.
    pub(super) fn sorted(&self, sorted: &Sorted) -> (String, String) {
        let (from, row) = (self.library.from, &self.library.row);
        let has =
            sorted.part.map_or_else(|| format!("NOT ({})", row.held), |(has, _)| has.to_owned());
        let mut open = format!("({}) AND {has}", self.library.waiting);
        let (mut names, mut each) = (Vec::new(), Vec::new());
        for (at, column) in sorted.shares.iter().enumerate() {
            let least = |more: &str| {
                format!(
                    "(SELECT {column} FROM {from} WHERE {open} AND {column} IS NOT NULL{more} ORDER BY {column} LIMIT 1)"
                )
            };
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

    /// That question; none where nothing fails for good.
    pub(super) fn asks_for_dead(&self) -> Option<String> {
        let question = match (self.library.dead?, &self.library.whole) {
            (dead, Some(Whole { name, unless })) => {
                let spares = unless.iter().map(|it| format!("{} OR ", self.is_valid(it)));
                let spares = spares.collect::<Vec<_>>().concat();
                let relation = self.regclass(name);
                // of one in parts the rows are known of these alone; of one that was never analyzed, as after an update of the
                // server or a restore, none are known, and its size is taken
                format!(
                    "SELECT CASE WHEN {spares}(SELECT coalesce(sum(CASE WHEN reltuples > 0 THEN reltuples ELSE pg_relation_size(oid) / {ROW_LEAST} END), 0) \
                     FROM pg_class WHERE relkind <> 'p' AND (oid = {relation} OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = {relation}))) < {WHOLE_MAX} THEN ({dead}) END"
                )
            }
            (dead, None) => dead.to_owned(),
        };
        Some(self.of(&question))
    }

    /// A question in a transaction of its own, which may write nothing and has its limits.
    pub(super) fn alone(&self, question: &str) -> String {
        format!(
            "START TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY{}; {SET_PATH}; {question}; COMMIT",
            settings(self.queue, "UTC")
        )
    }

    /// Whether its version has what came with one.
    pub(super) fn has(&self, it: &Newer) -> bool {
        self.version.is_some_and(|version| version >= it.from)
    }

    /// Whether what jobs were put in with is looked at.
    pub(super) fn is_shown(&self) -> bool {
        !self.written.output.is_empty()
    }

    /// The columns of jobs that are read and that this version has.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        let Some(jobs) = self.library.reads.first() else { return Vec::new() };
        let has = |name: &&&'static str| {
            let newer = self.library.newer.iter().find(|it| it.name == **name);
            newer.is_none_or(|it| self.has(it))
        };
        let shown = jobs.shown.iter().filter(|_| self.is_shown());
        jobs.columns.iter().chain(shown).filter(has).copied().collect()
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
