//! Queues of other people's libraries, each as its file here says it: which version it is for, which rows run and which
//! wait, and what of a row means what. They are data, of which `queue::library` makes one statement. A tenth is one file
//! more, with its two lines here, and its fixture in `tests/libraries.rs`.

mod good_job;
mod graphile_worker;
mod oban;
mod pg_boss;
mod pgmq;
mod procrastinate;
mod que;
mod river;
mod solid_queue;

use std::time::Duration;

/// Every one.
pub const ALL: &[&Library] = &[
    &good_job::LIBRARY,
    &graphile_worker::LIBRARY,
    &oban::LIBRARY,
    &pg_boss::LIBRARY,
    &pgmq::LIBRARY,
    &procrastinate::LIBRARY,
    &que::LIBRARY,
    &river::LIBRARY,
    &solid_queue::LIBRARY,
];

/// A library, and how its queue is read. `{schema}` in any of its texts is the schema that it lives in.
#[derive(Debug)]
pub struct Library {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its name for people.
    pub called: &'static str,
    /// The schema that it lives in unless it was told otherwise.
    pub schema: &'static str,
    /// What makes its tables where there are none.
    pub makes: &'static str,
    /// Every relation that is read; the first has the jobs, the last of several says the version, where one does.
    pub reads: &'static [Relation],
    /// What came with a version: its name in braces, in any of its texts, is what it is from then on, or what stood for it.
    pub newer: &'static [Newer],
    /// Which versions of its tables this is for.
    pub version: Version,
    /// Its tables, where each queue has one.
    pub parts: Option<Parts>,
    /// Where its rows are; `{parts}` are those of all parts.
    pub from: &'static str,
    /// What is asked once and ahead of all else, as a common table; `running`, `waiting` and the like may name it.
    pub ahead: Option<&'static str>,
    /// Which of them are at work.
    pub running: &'static str,
    /// Which of them will be.
    pub waiting: &'static str,
    /// What both are among, where no index tells those at work from those that wait: one walk finds both.
    pub among: Option<Among>,
    /// How many failed for good and are kept, as a question of one number; none where it has no such rows.
    pub dead: Option<&'static str>,
    /// What `dead` goes through as a whole, where it does: of a large one that is not asked.
    pub whole: Option<Whole>,
    /// Whether the moments of its rows are UTC without a zone; `{now}` in any of its texts is one of the same kind.
    pub utc: bool,
    /// What of a row means what.
    pub row: Row,
    /// What has those that wait in the order in which they are taken; none where nothing has.
    pub sorted: Option<Sorted>,
    /// How many of those that could be taken were tried before, as a question of one number; none: the rows say it.
    pub tried: Option<&'static str>,
    /// Since when the oldest that could be taken has waited, as a question of one moment; none: the rows say it.
    pub oldest: Option<&'static str>,
    /// The indexes by which rows are found without going through the finished ones, of each list one. None where no finished
    /// rows lie among them.
    pub indexes: &'static [&'static [&'static str]],
    /// What it does by itself with rows of a worker that is gone.
    pub rescue: Rescue,
    /// What cannot be known of it, for people.
    pub unknown: &'static str,
}

/// A relation that is read.
#[derive(Debug)]
pub struct Relation {
    /// Its name.
    pub name: &'static str,
    /// Which of its columns, where it has them; none: its rows are read as a whole.
    pub columns: &'static [&'static str],
    /// Which as well, where an output is looked for.
    pub shown: &'static [&'static str],
    /// A relation and its column, with which this one is not read.
    pub unless: Option<(&'static str, &'static str)>,
    /// Where it has no rows of its own, the tables that have them, as patterns of `pg_dump`.
    pub parts: &'static [&'static str],
}

impl Relation {
    /// One of which these columns are read.
    #[must_use]
    pub const fn of(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns, shown: &[], unless: None, parts: &[] }
    }
}

/// What came with a version.
#[derive(Debug)]
pub struct Newer {
    /// Its name.
    pub name: &'static str,
    /// The first version that has it.
    pub from: i64,
    /// What it is then.
    pub then: &'static str,
    /// What stands for it before.
    pub before: &'static str,
}

/// Tables that are known only once somebody has asked.
#[derive(Debug)]
pub struct Parts {
    /// A column that not each of them has, and its type.
    pub later: (&'static str, &'static str),
    /// How their names begin.
    pub begin: &'static str,
    /// The columns that are read, where a table has them.
    pub columns: &'static [&'static str],
    /// Which as well, where an output is looked for.
    pub shown: &'static [&'static str],
    /// What is to be done where a part is named that has no table: `{part}` is its name as a value.
    pub lost: &'static str,
    /// A question of one list, as JSON, of the name of each part, its table, and whether that has the column `later`; null
    /// where there is no such table.
    pub ask: &'static str,
    /// Rows of one: `{part}` is its name as a value, `{table}` its table, `{later}` its later column or a null, `{shown}` the
    /// columns that are read where an output is looked for, or nulls of their names.
    pub each: &'static str,
    /// The same of none.
    pub none: &'static str,
}

/// Which versions of a library's tables its file here is for.
#[derive(Debug)]
pub struct Version {
    /// A question of one whole number.
    pub ask: &'static str,
    /// The first.
    pub from: i64,
    /// The last that was looked at.
    pub to: i64,
    /// Of one whose later versions are told by nothing else, the columns that tables have which are read: another one is a
    /// later version's. None of the others.
    pub columns: &'static [&'static str],
    /// What an older one wants, with the command that brings it there.
    pub older: &'static str,
    /// The first that the library itself brings up to date, and what one before it wants; none where it brings all.
    pub cut: Option<(i64, &'static str)>,
    /// Where its tables are there and say no version; none where they always do.
    pub unsaid: Option<Unsaid>,
}

/// What of a version that is not said.
#[derive(Debug)]
pub enum Unsaid {
    /// It was lost, and has to be put back.
    Lost {
        /// The version as the catalogue proves it, as a question of one value; null where it does not.
        told: &'static str,
        /// The words, with the statement and `{told}` in it.
        mend: &'static str,
    },
    /// Its library allows that: the version by what there is.
    ByParts {
        /// A question of one whole number.
        ask: &'static str,
        /// The columns that tables have which are read: another one is a later version's.
        columns: &'static [&'static str],
    },
}

/// A relation that is gone through as a whole.
#[derive(Debug)]
pub struct Whole {
    /// Its name.
    pub name: &'static str,
    /// The indexes of which any spares that.
    pub unless: &'static [&'static str],
}

/// Rows that are gone through once for what is at work and for what waits.
#[derive(Debug)]
pub struct Among {
    /// Which they are.
    pub all: &'static str,
    /// The column by which those at work are gone to afterwards; an index has it.
    pub number: &'static str,
}

/// An index that has what waits in the order in which it is taken, share by share.
#[derive(Debug)]
pub struct Sorted {
    /// Its name.
    pub index: &'static str,
    /// Its columns, as its definition says them: one of another version may have the same name.
    pub columns: &'static str,
    /// Those that make a share, which are never null.
    pub shares: &'static [&'static str],
    /// Which rows it has, and whether others could be taken, too, where it has not all that wait.
    pub part: Option<(&'static str, &'static str)>,
}

/// Expressions over a row.
#[derive(Debug)]
pub struct Row {
    /// What tells it from others, as text.
    pub id: &'static str,
    /// In which order they were put in.
    pub nth: &'static str,
    /// In which order they are taken.
    pub turn: &'static str,
    /// Its share of the queue, as text.
    pub lane: &'static str,
    /// What it was put in with, as JSON; none where that is not shown.
    pub arguments: Option<&'static str>,
    /// When it was started.
    pub started: &'static str,
    /// Before when it is not taken; null where it is.
    pub until: &'static str,
    /// Whether it waits for something else than a time.
    pub held: &'static str,
    /// Whether it was tried before.
    pub again: &'static str,
    /// How often it was tried.
    pub tries: &'static str,
    /// Since when it could be taken.
    pub since: &'static str,
    /// Whether it runs by the row, and by the library's own rule nobody gets it done.
    pub stale: &'static str,
}

/// What a library does by itself with rows of a worker that is gone.
#[derive(Debug)]
pub struct Rescue {
    /// What does it.
    pub by: &'static str,
    /// When it does.
    pub taken: Taken,
}

/// When a row is taken back.
#[derive(Debug)]
pub enum Taken {
    /// So long after it was started.
    AfterStart(Duration),
    /// So long after whoever was at it was last heard of.
    AfterSilence(Duration),
    /// When the row itself says, as an expression over it.
    At(&'static str),
}

/// The library of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Library> {
    ALL.iter().copied().find(|it| it.name == name)
}
