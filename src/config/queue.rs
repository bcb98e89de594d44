//! `[queue]` as the rest of the program sees it: where the job table is, how it is to be read, and
//! which of its columns mean what. Nothing here knows SQL; a name is a name until the catalogue of the
//! database has been asked for it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Shortest and longest `[queue] timeout`: 100 ms and 1 min.
pub const QUEUE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// See [`QUEUE_TIMEOUT_MIN`].
pub const QUEUE_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Most `[queue] next_jobs`: 1000. At least 1.
pub const NEXT_JOBS_MAX: u32 = 1000;

/// `[queue]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Where the database is.
    pub database: Database,
    /// What the job table looks like.
    pub adapter: Adapter,
    /// How many of the next jobs, and of the cooling ones, are listed. Default 10, from 1 to 1000.
    pub next_jobs: u32,
    /// Time for connecting and asking together. Default 5 s, from 100 ms to 1 min.
    pub timeout: Duration,
    /// The certificates a server's must come from, PEM. Default none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How far back infrastructure errors are counted. Default 10 min.
    pub infra_window: Duration,
    /// From which age on a running job counts as stale. Default 1 h.
    pub stale_after: Duration,
    /// How long nothing may have changed in a job's output before its row is given back. Default 1 min.
    pub quiet: Duration,
    /// What is asked of workers, where the queue is our own.
    pub terms: Terms,
}

/// What our own queue asks of its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long a worker may be silent. Default 120 s, from 1 s to 1 day.
    pub lease: Duration,
    /// From which silence on it is shown as stale. Default 60 s, from 1 s to 1 day.
    pub worker_stale: Duration,
    /// How it waits for a queue that is away.
    pub reconnect: Reconnect,
    /// What closes a lane.
    pub breaker: Breaker,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(120),
            worker_stale: Duration::from_secs(60),
            reconnect: Reconnect::default(),
            breaker: Breaker::default(),
        }
    }
}

/// How a queue that is away is asked again: after the first wait, then after twice as long each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconnect {
    /// `reconnect`. Default 5 s, from 10 ms to 1 h.
    pub first: Duration,
    /// `reconnect_max`. Default 2 min, from 10 ms to 1 h.
    pub most: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), most: Duration::from_secs(120) }
    }
}

/// What closes a lane whose type does not work, and when one job is let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// `breaker`: so many in a row. Default 5, from 1 to 1000.
    pub after: u32,
    /// `breaker_waits`: before the first is let through, the second, and so on; the last counts for all that follow.
    /// Default 1, 5, 15 and 30 min, each from 10 ms to 1 day.
    pub waits: Vec<Duration>,
}

impl Default for Breaker {
    fn default() -> Self {
        let waits = [1, 5, 15, 30].map(|minutes| Duration::from_secs(minutes * 60));
        Self { after: 5, waits: waits.to_vec() }
    }
}

impl Breaker {
    /// The wait before the job that is let through after so many.
    #[must_use]
    pub fn wait(&self, probes: usize) -> Duration {
        let wait = self.waits.get(probes).or(self.waits.last());
        wait.copied().unwrap_or_default()
    }
}

impl Queue {
    /// Our own queue at this URL, all else as it is by default.
    #[must_use]
    pub fn at(url: &str, timeout: Duration) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            database: Database::Url(Secret(url.to_owned())),
            adapter: Adapter::Unwedge,
            next_jobs: 10,
            timeout,
            ca_file: None,
            infra_window: minutes(10),
            stale_after: minutes(60),
            quiet: minutes(1),
            terms: Terms::default(),
        }
    }

    /// One like this at another URL.
    #[must_use]
    pub fn elsewhere(&self, url: &str) -> Self {
        Self { database: Database::Url(Secret(url.to_owned())), ..self.clone() }
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `url`: in the configuration itself.
    Url(Secret),
    /// `url_file`: in a file of its own, which the service user alone can read.
    UrlFile(PathBuf),
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// What the job table looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Adapter {
    /// Any table, as `[queue.table]` maps it. Written `table`.
    Table(Box<TableMap>),
    /// The table of that project, by a map that comes with the program. Written `healtharchive`.
    Healtharchive,
    /// Our own table, as `unwedge run` makes it. Written `unwedge`.
    Unwedge,
    /// That of a library, which is only ever read. Written by its name.
    Library(Library),
}

impl Adapter {
    /// Names of those that are no library's.
    pub const NAMES: [&str; 3] = ["table", "healtharchive", "unwedge"];
}

/// A library's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Which one, of [`libraries::ALL`](crate::libraries::ALL).
    pub name: &'static str,
    /// The schema that it lives in; none: the one that it makes unless it was told otherwise.
    pub schema: Option<String>,
    /// The keys by which a job's output is found in what the job was put in with, outermost first; none: every running
    /// job counts as on every need.
    pub output: Vec<String>,
    /// Columns of the application's own in the library's tables, which make it no later version.
    pub columns: Vec<String>,
}

impl Queue {
    /// What gives back the rows of a worker that is gone, where that is not us.
    #[must_use]
    pub fn rescue(&self) -> Option<Rescue> {
        match &self.adapter {
            Adapter::Table(map) => map.rescue.clone(),
            // a library's reading says it itself
            Adapter::Healtharchive | Adapter::Library(_) => None,
            Adapter::Unwedge => Some(Rescue {
                by: "any other runner of the queue".to_owned(),
                after: self.terms.lease,
            }),
        }
    }
}

/// `[queue.table]`: which column means what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableMap {
    /// The table, with its schema before a dot or without.
    pub name: String,
    /// What tells its jobs apart.
    pub id: String,
    /// The column that says how a job stands.
    pub status: String,
    /// What stands there.
    pub states: States,
    /// The order in which the worker takes jobs.
    pub order: Vec<OrderBy>,
    /// The directory a job writes to. None: every running job counts as on every need.
    pub output: Option<Place>,
    /// When it was started.
    pub started_at: Option<Place>,
    /// When it was put in; of several the first that is not null.
    pub created_at: Vec<Place>,
    /// Its share of the queue.
    pub lane: Option<Place>,
    /// How often it was tried.
    pub attempts: Option<Place>,
    /// Before which time it is not tried again.
    pub next_attempt_at: Option<Place>,
    /// How an infrastructure error is told.
    pub infra: Option<Infra>,
    /// A pause that the worker computes and stores nowhere.
    pub cooldown: Option<Cooldown>,
    /// A not-before column that may be moved by us, for jobs whose storage is broken. Default none.
    pub hold_back: Option<String>,
    /// What gives back the rows of a worker that is gone, where that is not us: then no row is ever given back by
    /// us. Default none.
    pub rescue: Option<Rescue>,
    /// The time zone of times that are stored without one. Default UTC.
    pub zone: String,
    /// Which of the running rows are this host's, as a condition of SQL: these alone are listed, and all are counted. None: all
    /// are. Of our own queue alone.
    pub of_here: Option<String>,
}

/// The values of the status column. A value that is in none of them makes the queue unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct States {
    /// Waiting for its first try.
    pub pending: Vec<String>,
    /// Waiting for another.
    pub retryable: Vec<String>,
    /// At work.
    pub running: Vec<String>,
    /// Never taken again; not looked at.
    pub finished: Vec<String>,
}

impl States {
    /// Every value, by list.
    pub fn lists(&self) -> [(&'static str, &[String]); 4] {
        [
            ("pending", &self.pending),
            ("retryable", &self.retryable),
            ("running", &self.running),
            ("finished", &self.finished),
        ]
    }

    /// Whether a value is in one of the lists.
    pub fn knows(&self, value: &str) -> bool {
        self.lists().iter().any(|(_, list)| list.iter().any(|known| known == value))
    }
}

/// A column, or a value within the JSON that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The column.
    pub column: String,
    /// The keys into its JSON, outermost first; none for the column itself.
    pub keys: Vec<String>,
}

impl Place {
    /// `column`, or `column.key.key`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let column = parts.next()?;
        let place = Self { column, keys: parts.collect() };
        let sound = |part: &String| !part.is_empty() && !part.contains(char::is_control);
        (sound(&place.column) && place.keys.iter().all(sound)).then_some(place)
    }
}

/// One column of the worker's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Where rows without a value come; none: where the database puts them.
    pub nulls: Option<Nulls>,
}

/// Where rows without a value come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Before all others.
    First,
    /// After them.
    Last,
}

impl OrderBy {
    /// `column [asc|desc] [nulls first|last]`.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (column, rest) = words.split_first()?;
        let (descending, rest) = match rest.split_first() {
            Some((&"asc", rest)) => (false, rest),
            Some((&"desc", rest)) => (true, rest),
            Some(_) | None => (false, rest),
        };
        let nulls = match rest {
            [] => None,
            ["nulls", "first"] => Some(Nulls::First),
            ["nulls", "last"] => Some(Nulls::Last),
            [..] => return None,
        };
        Some(Self { column: (*column).to_owned(), descending, nulls })
    }
}

/// `infra = { column, values, at }`: how an infrastructure error is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infra {
    /// Where the last outcome stands.
    pub column: Place,
    /// Outcomes that are one.
    pub values: Vec<String>,
    /// When that was.
    pub at: Place,
}

/// `rescue = { by, after }`: a queue library's own way with rows that nobody is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// What does it, for people.
    pub by: String,
    /// How long after its start a row is taken back.
    pub after: Duration,
}

/// `cooldown = { when = { column, values }, at, for }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooldown {
    /// Where the last outcome stands.
    pub column: Place,
    /// Outcomes after which the worker pauses.
    pub values: Vec<String>,
    /// From when on.
    pub at: Place,
    /// For how long.
    pub time: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_column_or_a_way_into_its_json() {
        let place = |column: &str, keys: &[&str]| {
            Some(Place {
                column: column.to_owned(),
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            })
        };
        for (text, expected) in [
            ("output_dir", place("output_dir", &[])),
            ("config.dir", place("config", &["dir"])),
            ("config.out.dir", place("config", &["out", "dir"])),
            ("", None),
            ("config.", None),
            (".dir", None),
            ("a\nb", None),
        ] {
            assert_eq!(Place::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_order_is_a_column_with_the_words_sql_has_for_it() {
        let order = |column: &str, descending, nulls| {
            Some(OrderBy { column: column.to_owned(), descending, nulls })
        };
        for (text, expected) in [
            ("a", order("a", false, None)),
            ("a asc", order("a", false, None)),
            ("a desc nulls last", order("a", true, Some(Nulls::Last))),
            ("a nulls first", order("a", false, Some(Nulls::First))),
            ("a; drop table x", None),
            ("a desc b", None),
            ("", None),
        ] {
            assert_eq!(OrderBy::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_debug_either() {
        assert_eq!(format!("{:?}", Secret("postgres://u:s3cr3t@h/d".to_owned())), "***");
    }
}
