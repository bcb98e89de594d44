//! The rules of `[queue]`: what must be there, what excludes what, and that no password stands in a
//! file that everybody reads. No message here repeats a URL, which may hold one.

use std::path::PathBuf;
use std::time::Duration;

use super::check::Checker;
use super::defaults;
use super::duration::DURATION_MAX;
use super::error::nearest;
use super::fragment::{
    CooldownFragment, DurationText, InfraFragment, LibraryFragment, QueueFragment, RescueFragment,
    StatesFragment, TableFragment,
};
use super::queue::{
    Adapter, Breaker, Cooldown, Database, Infra, Library, NEXT_JOBS_MAX, OrderBy, Place,
    QUEUE_TIMEOUT_MAX, QUEUE_TIMEOUT_MIN, Queue, Reconnect, Rescue, Secret, States, TableMap,
    Terms,
};
use super::tree::{KeyPath, Origin};
use crate::libraries;

/// Schemes of a URL that are understood.
const SCHEMES: [&str; 3] = ["sqlite:///", "postgres://", "postgresql://"];

/// Shortest and longest `[queue] lease`: 1 s and 1 day.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Shortest and longest `[queue] reconnect`: 10 ms and 1 h.
const RECONNECT_MIN: Duration = Duration::from_millis(10);
const RECONNECT_MAX: Duration = Duration::from_secs(3600);
/// Largest `[queue] breaker`.
const BREAKER_MAX: u32 = 1000;

/// Makes settings of `[queue]`. `open` are the files of the configuration that everybody may read.
pub fn queue(check: &mut Checker<'_>, written: QueueFragment, open: &[PathBuf]) -> Queue {
    let at = KeyPath::of(&["queue"]);
    let positive = Duration::from_nanos(1)..=DURATION_MAX;
    let is_library = written.adapter.as_deref().and_then(libraries::named).is_some();
    if is_library && written.url.as_ref().is_some_and(|url| url.starts_with("sqlite:")) {
        check.problem(
            &at.key("url"),
            "is a file, and queues of libraries are read from PostgreSQL alone",
        );
    }
    let terms = Terms::default();
    Queue {
        database: database(check, &at, written.url, written.url_file, open),
        adapter: adapter(check, &at, written.adapter.as_deref(), written.table, written.library),
        next_jobs: check.count(
            &at.key("next_jobs"),
            written.next_jobs,
            defaults::NEXT_JOBS,
            1..=NEXT_JOBS_MAX,
        ),
        timeout: check.duration(
            &at.key("timeout"),
            written.timeout,
            defaults::QUEUE_TIMEOUT,
            QUEUE_TIMEOUT_MIN..=QUEUE_TIMEOUT_MAX,
        ),
        ca_file: written.ca_file.and_then(|text| check.absolute(&at.key("ca_file"), &text)),
        infra_window: check.duration(
            &at.key("infra_window"),
            written.infra_window,
            defaults::INFRA_WINDOW,
            positive.clone(),
        ),
        stale_after: check.duration(
            &at.key("stale_after"),
            written.stale_after,
            defaults::STALE_AFTER,
            positive.clone(),
        ),
        quiet: check.duration(&at.key("quiet"), written.quiet, defaults::QUIET, positive),
        terms: Terms {
            lease: check.duration(
                &at.key("lease"),
                written.lease,
                terms.lease,
                LEASE_MIN..=LEASE_MAX,
            ),
            worker_stale: check.duration(
                &at.key("worker_stale"),
                written.worker_stale,
                terms.worker_stale,
                LEASE_MIN..=LEASE_MAX,
            ),
            reconnect: reconnect(
                check,
                &at,
                written.reconnect,
                written.reconnect_max,
                terms.reconnect,
            ),
            breaker: breaker(check, &at, written.breaker, written.breaker_waits, terms.breaker),
        },
    }
}

fn reconnect(
    check: &mut Checker<'_>,
    at: &KeyPath,
    first: Option<DurationText>,
    most: Option<DurationText>,
    default: Reconnect,
) -> Reconnect {
    let mut time = |key, written, default| {
        check.duration(&at.key(key), written, default, RECONNECT_MIN..=RECONNECT_MAX)
    };
    let first = time("reconnect", first, default.first);
    let most = time("reconnect_max", most, default.most);
    if most < first {
        check.problem(&at.key("reconnect_max"), "is less than reconnect");
    }
    Reconnect { first, most }
}

fn breaker(
    check: &mut Checker<'_>,
    at: &KeyPath,
    after: Option<i64>,
    waits: Option<Vec<DurationText>>,
    default: Breaker,
) -> Breaker {
    let after = check.count(&at.key("breaker"), after, default.after, 1..=BREAKER_MAX);
    let at = at.key("breaker_waits");
    let waits: Vec<Duration> = match waits {
        None => default.waits,
        Some(waits) => waits
            .into_iter()
            .map(|it| check.duration(&at, Some(it), Duration::ZERO, RECONNECT_MIN..=LEASE_MAX))
            .collect(),
    };
    if waits.is_empty() {
        check.problem(&at, "at least one is expected");
    }
    Breaker { after, waits }
}

fn database(
    check: &mut Checker<'_>,
    at: &KeyPath,
    url: Option<String>,
    url_file: Option<String>,
    open: &[PathBuf],
) -> Database {
    match (url, url_file) {
        (Some(url), None) => {
            let at = at.key("url");
            if let Some(problem) = url_problem(&url) {
                check.problem(&at, problem);
            }
            let readable =
                |origin| matches!(origin, Origin::File { path, .. } if open.contains(&path));
            if has_password(&url) && readable(check.origin(&at)) {
                check.problem(&at, "holds a password in a file that everybody may read; put the URL into a file of its own (root:unwedge, mode 0640) and name that as url_file");
            }
            Database::Url(Secret(url))
        }
        (None, Some(text)) => {
            Database::UrlFile(check.absolute(&at.key("url_file"), &text).unwrap_or_default())
        }
        (Some(_), Some(_)) => {
            check.problem(&at.key("url_file"), "url is set as well; give one of the two");
            Database::UrlFile(PathBuf::new())
        }
        (None, None) => {
            check.problem(&at.key("url"), "missing; give url, or url_file if it holds a password");
            Database::UrlFile(PathBuf::new())
        }
    }
}

/// What is wrong with a URL, without a word of it.
pub fn url_problem(url: &str) -> Option<String> {
    if url.contains(|c: char| c.is_control() || c == ' ') {
        return Some("holds a blank or a control character; percent-encode it".to_owned());
    }
    if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        return Some(format!(
            "is no URL of a database that is known here, expected it to begin with {}",
            SCHEMES.join(" or ")
        ));
    }
    match url.strip_prefix("sqlite://") {
        Some(path) if path.contains('?') || path.split('/').any(|it| it == "." || it == "..") => {
            Some("expected the plain absolute path of a file after sqlite://".to_owned())
        }
        Some(_) | None => None,
    }
}

fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = before.split('/').next().and_then(|authority| authority.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':'))
        || query.split('&').any(|pair| pair.starts_with("password="))
}

fn adapter(
    check: &mut Checker<'_>,
    at: &KeyPath,
    name: Option<&str>,
    table: Option<TableFragment>,
    library: Option<LibraryFragment>,
) -> Adapter {
    let (key, below) = (at.key("adapter"), at.key("table"));
    let of_libraries = libraries::ALL.iter().map(|it| it.name);
    let names = || Adapter::NAMES.into_iter().chain(of_libraries.clone());
    let known: Vec<String> = names().map(|it| format!("{it:?}")).collect();
    let known = known.join(" or ");
    if let Some(found) = name.and_then(libraries::named) {
        if table.is_some() {
            check.problem(&below, "only with adapter = \"table\"; a library's tables are known");
        }
        return Adapter::Library(self::library(check, at, found, library.unwrap_or_default()));
    }
    if library.is_some() {
        check.problem(&at.key("library"), "only with an adapter that is a library's");
    }
    match (name, table) {
        (Some("table"), Some(table)) => {
            return Adapter::Table(Box::new(table_map(check, &below, table)));
        }
        (Some("table"), None) => {
            check.problem(&below, "missing; it says which column means what");
        }
        (Some("healtharchive" | "unwedge"), Some(_)) => {
            check.problem(&below, "only with adapter = \"table\"; this adapter has its own map");
        }
        (Some("unwedge"), None) => return Adapter::Unwedge,
        (Some("healtharchive"), None) => {}
        (Some(name), _) => {
            let hint = nearest(name, names())
                .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            check.problem(&key, format!("{name:?} found, expected {known}{hint}"));
        }
        (None, _) => check.problem(&key, format!("missing, expected {known}")),
    }
    Adapter::Healtharchive
}

fn library(
    check: &mut Checker<'_>,
    at: &KeyPath,
    read: &'static libraries::Library,
    written: LibraryFragment,
) -> Library {
    let below = at.key("library");
    let plain = |text: &str| {
        !text.is_empty()
            && text.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '$'))
    };
    if let Some(schema) = written.schema.as_deref().filter(|it| !plain(it)) {
        check.problem(
            &below.key("schema"),
            format!("{schema:?} found, expected the name of a schema"),
        );
    }
    let keys: Vec<String> =
        written.output.iter().flat_map(|text| text.split('.').map(str::to_owned)).collect();
    let output = below.key("output");
    if keys.iter().any(|key| key.is_empty() || key.contains(char::is_control)) {
        check.problem(
            &output,
            "expected key or key.key, the way to it in what a job was put in with",
        );
    }
    let name = read.name;
    if !keys.is_empty() && read.row.arguments.is_none() {
        check.problem(&output, format!("{name} shows nobody what a job was put in with"));
    }
    let columns = written.columns.unwrap_or_default();
    if columns.iter().any(|column| column.is_empty() || column.contains(char::is_control)) {
        check.problem(&below.key("columns"), "expected names of columns");
    }
    Library { name, schema: written.schema, output: keys, columns }
}

fn table_map(check: &mut Checker<'_>, at: &KeyPath, written: TableFragment) -> TableMap {
    let name = required(check, &at.key("name"), written.name);
    if name.split('.').count() > 2 || name.split('.').any(str::is_empty) {
        check.problem(&at.key("name"), format!("{name:?} found, expected table or schema.table"));
    }
    TableMap {
        name,
        id: required(check, &at.key("id"), written.id),
        status: required(check, &at.key("status"), written.status),
        states: states(check, &at.key("states"), written.states.unwrap_or_default()),
        order: order(check, &at.key("order"), &written.order.unwrap_or_default()),
        output: place(check, &at.key("output"), written.output),
        started_at: place(check, &at.key("started_at"), written.started_at),
        created_at: place(check, &at.key("created_at"), written.created_at).into_iter().collect(),
        lane: place(check, &at.key("lane"), written.lane),
        attempts: place(check, &at.key("attempts"), written.attempts),
        next_attempt_at: place(check, &at.key("next_attempt_at"), written.next_attempt_at),
        infra: written.infra.and_then(|it| infra(check, &at.key("infra"), it)),
        cooldown: written.cooldown.and_then(|it| cooldown(check, &at.key("cooldown"), it)),
        hold_back: written.hold_back.map(|it| check.word(&at.key("hold_back"), &it)),
        rescue: written.rescue.map(|it| rescue(check, &at.key("rescue"), it)),
        zone: written.zone.map_or_else(utc, |it| check.word(&at.key("zone"), &it)),
        of_here: None,
    }
}

/// The zone of times that are stored without one, unless the map says otherwise.
pub fn utc() -> String {
    "UTC".to_owned()
}

fn required(check: &mut Checker<'_>, at: &KeyPath, written: Option<String>) -> String {
    let Some(text) = written else {
        check.problem(at, "missing");
        // not empty, so that no second problem is told of it
        return "missing".to_owned();
    };
    check.word(at, &text)
}

fn states(check: &mut Checker<'_>, at: &KeyPath, written: StatesFragment) -> States {
    let states = States {
        pending: written.pending.unwrap_or_default(),
        retryable: written.retryable.unwrap_or_default(),
        running: written.running.unwrap_or_default(),
        finished: written.finished.unwrap_or_default(),
    };
    for (name, list) in [("pending", &states.pending), ("running", &states.running)] {
        if list.is_empty() {
            check.problem(&at.key(name), "missing; name the values of the status column");
        }
    }
    let all: Vec<&String> = states.lists().iter().flat_map(|(_, list)| list.iter()).collect();
    for (index, value) in all.iter().enumerate() {
        if all[..index].contains(value) {
            check.problem(at, format!("{value:?} is listed twice; a value means one thing"));
        }
    }
    states
}

fn order(check: &mut Checker<'_>, at: &KeyPath, written: &[String]) -> Vec<OrderBy> {
    if written.is_empty() {
        check.problem(at, "missing; list the columns by which the worker takes its jobs");
    }
    let mut order = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match OrderBy::parse(text) {
            Some(by) => order.push(by),
            None => check.problem(
                &at.index(index),
                format!("{text:?} found, expected \"column [asc|desc] [nulls first|last]\""),
            ),
        }
    }
    order
}

fn place(check: &mut Checker<'_>, at: &KeyPath, written: Option<String>) -> Option<Place> {
    let text = written?;
    let place = Place::parse(&text);
    if place.is_none() {
        check.problem(at, format!("{text:?} found, expected column, or column.key for JSON"));
    }
    place
}

fn infra(check: &mut Checker<'_>, at: &KeyPath, written: InfraFragment) -> Option<Infra> {
    let column = required(check, &at.key("column"), written.column);
    let moment = required(check, &at.key("at"), written.at);
    Some(Infra {
        column: place(check, &at.key("column"), Some(column))?,
        values: values(check, &at.key("values"), written.values),
        at: place(check, &at.key("at"), Some(moment))?,
    })
}

fn cooldown(check: &mut Checker<'_>, at: &KeyPath, written: CooldownFragment) -> Option<Cooldown> {
    let when = written.when.unwrap_or_default();
    let column = required(check, &at.key("when").key("column"), when.column);
    let moment = required(check, &at.key("at"), written.at);
    if written.time.is_none() {
        check.problem(&at.key("for"), "missing");
    }
    Some(Cooldown {
        column: place(check, &at.key("when").key("column"), Some(column))?,
        values: values(check, &at.key("when").key("values"), when.values),
        at: place(check, &at.key("at"), Some(moment))?,
        time: check.duration(
            &at.key("for"),
            written.time,
            Duration::ZERO,
            Duration::from_nanos(1)..=DURATION_MAX,
        ),
    })
}

fn rescue(check: &mut Checker<'_>, at: &KeyPath, written: RescueFragment) -> Rescue {
    if written.after.is_none() {
        check.problem(&at.key("after"), "missing");
    }
    Rescue {
        by: required(check, &at.key("by"), written.by),
        after: check.duration(
            &at.key("after"),
            written.after,
            Duration::ZERO,
            Duration::from_nanos(1)..=DURATION_MAX,
        ),
    }
}

fn values(check: &mut Checker<'_>, at: &KeyPath, written: Option<Vec<String>>) -> Vec<String> {
    let values = written.unwrap_or_default();
    if values.is_empty() {
        check.problem(at, "missing");
    }
    values
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
