//! Reading other programs' job tables: with a deadline, and by the service user alone. One
//! column map serves both databases; what differs between them is how an expression is written
//! (`sql`), how the catalogue is asked (`postgres`, `sqlite`) and how one gets in (`address`).
//!
//! Two things are ever written, and only on order: rows that wait are held back (`hold_back`), and rows that
//! nobody is at are given back (`recover`). All else is read-only. What it never does: guess a state it was not
//! told, or pass an empty answer off as a queue without jobs. Whatever is not as the map says (a column, a status,
//! a policy that hides rows) is a [`Fault`], and a fault is `queue-unknown`.

pub mod address;
mod cells;
mod healtharchive;
mod hold_back;
pub mod library;
pub mod link;
mod local;
mod own;
mod postgres;
mod read;
mod recover;
pub mod spool;
mod sql;
mod sqlite;
mod statements;
pub mod store;
mod tls;

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use crate::config::Settings;
use crate::config::queue::{Adapter, Queue, TableMap};
use crate::probes::jobs::{QueueFacts, QueueLook, Row, Touched, USER_LIMIT};
use crate::sys::clock::{Deadline, millis, pause};
use crate::sys::limit::{NoAnswer, within};
use crate::sys::{text, user};
use address::Address;
use hold_back::Pass;
pub use hold_back::Where;
use postgres::Access;

/// Why the queue could not be read, in words that hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// Whether it is that the file of a queue is damaged: another look finds the same.
    #[must_use]
    pub fn is_of_a_damaged_file(&self) -> bool {
        // SQLITE_CORRUPT and SQLITE_NOTADB, as SQLite words them
        ["disk image is malformed", "file is not a database"].iter().any(|it| self.0.contains(it))
    }
}

/// Looks into the queue; returns when there is an answer or `[queue] timeout` has passed.
///
/// The asking is done by a thread that is left to itself when it has no answer in time: a server that
/// accepts and stays mute would keep a client for ever, whatever limits it is given, and so would a
/// database file on a disk that hangs. The program is made for one question, and its end takes the thread
/// along.
#[must_use]
pub fn look(queue: &Queue) -> QueueLook {
    match bounded(queue, read) {
        Ok(facts) => QueueLook::Known(facts),
        Err(Fault(why)) => QueueLook::unknown(why),
    }
}

/// Holds back for `time` the jobs that come next or soon and write at `place`; with `dry_run` it is tried, and then
/// given up.
///
/// # Errors
/// Nothing is known to have been held back; where the answer did not come in time it may have been.
pub fn hold_back(
    queue: &Queue,
    place: Where,
    time: Duration,
    dry_run: bool,
) -> Result<Touched, Fault> {
    bounded(queue, move |queue, address| {
        let (map, _) = map_of(&queue.adapter)?;
        let held = match address {
            Address::Sqlite(path) => sqlite::open(path, queue.timeout, sqlite::Access::Read)
                .and_then(|mut session| {
                    hold_back::in_session(&mut session, queue, &map, &place, time)
                })
                .map(|pass| pass.held.into_iter().collect()),
            Address::Postgres(server) => {
                let access = if dry_run { Access::Try } else { Access::Write };
                postgres::connect(server, queue).and_then(|mut client| {
                    let mut all = BTreeSet::new();
                    let patience = Deadline::after(IN_HANDS_MAX.min(queue.timeout / 2));
                    loop {
                        let Pass { held, in_hands } = postgres::in_transaction(
                            &mut client,
                            queue,
                            &map,
                            access,
                            |session| hold_back::in_session(session, queue, &map, &place, time),
                        )?;
                        // more than one look shows may wait there, and come next once these do not
                        let more = held.iter().any(|id| !all.contains(id));
                        all.extend(held);
                        let again = (in_hands || more) && !dry_run;
                        if !again || patience.left() <= BETWEEN_PASSES {
                            return Ok(all);
                        }
                        pause(BETWEEN_PASSES);
                    }
                })
            }
        };
        Ok(Touched { jobs: held?.into_iter().collect() })
    })
}

/// Gives rows back to the queue that are still running and still at the try that was seen; with `dry_run` it
/// is tried, and then given up.
///
/// # Errors
/// Nothing is known to have been given back; where the answer did not come in time it may have been.
pub fn recover(queue: &Queue, rows: Vec<Row>, dry_run: bool) -> Result<Touched, Fault> {
    bounded(queue, move |queue, address| {
        let (map, _) = map_of(&queue.adapter)?;
        let given = match address {
            Address::Sqlite(path) => sqlite::open(path, queue.timeout, sqlite::Access::Write)
                .and_then(|mut session| {
                    let given = recover::in_session(&mut session, &map, &rows)?;
                    if dry_run { Ok(given) } else { session.commit().map(|()| given) }
                }),
            Address::Postgres(server) => {
                let access = if dry_run { Access::Try } else { Access::Write };
                postgres::connect(server, queue).and_then(|mut client| {
                    postgres::in_transaction(&mut client, queue, &map, access, |session| {
                        recover::in_session(session, &map, &rows)
                    })
                })
            }
        };
        given.map(|jobs| Touched { jobs })
    })
}

/// A worker that fails a job at once has it in its hands more often than not; so long it is tried to find
/// the row waiting. One that is really at work is not waited for any longer.
const IN_HANDS_MAX: Duration = Duration::from_secs(1);
/// Between two passes; no multiple of what a worker takes for a job that fails.
const BETWEEN_PASSES: Duration = Duration::from_millis(17);

/// Does it within `[queue] timeout`.
fn bounded<T: Send + 'static>(
    queue: &Queue,
    ask: impl FnOnce(&Queue, &Address) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let asked = queue.clone();
    // where the address stands may be as mute as the database
    let (tells, mute) = mpsc::channel();
    let does = move || {
        let address = Address::of(&asked.database)?;
        if let Address::Postgres(server) = &address {
            let _ = tells.send(server.asks_whether_it_answers());
        }
        // a server may repeat what it was told
        ask(&asked, &address).map_err(|Fault(why)| Fault(address.scrub(&why)))
    };
    match within(queue.timeout, does) {
        Ok(done) => done.map_err(|Fault(why)| Fault(text::tail(why.as_bytes(), why.len()))),
        Err(NoAnswer::Late(_)) => Err(Fault(format!(
            "the database gave no answer within {}; it may take up to a minute: [queue] timeout = \"1m\"{}",
            text::duration(queue.timeout),
            mute.try_recv().map_or_else(
                |_| String::new(),
                |asks| format!("; whether it answers at all: {asks}")
            )
        ))),
        Err(why) => Err(Fault(why.to_string())),
    }
}

/// Root becomes the service user, whose is the credential and everything that is written.
///
/// # Errors
/// Why that cannot be. The program has to end then.
pub fn leave_root(settings: &Settings) -> Result<(), Fault> {
    user::leave_root(&settings.host.user, USER_LIMIT).map_err(Fault)
}

fn read(queue: &Queue, address: &Address) -> Result<QueueFacts, Fault> {
    if let Adapter::Library(written) = &queue.adapter {
        return library::facts(server_of(address)?, queue, written);
    }
    let (map, name) = map_of(&queue.adapter)?;
    let facts = match address {
        Address::Sqlite(path) => {
            let mut session = sqlite::open(path, queue.timeout, sqlite::Access::Read)?;
            read::facts(&mut session, queue, &map)?
        }
        Address::Postgres(server) => {
            let mut client = postgres::connect(server, queue)?;
            postgres::in_transaction(&mut client, queue, &map, Access::Read, |session| {
                read::facts(session, queue, &map)
            })?
        }
    };
    Ok(QueueFacts { queue: name, ..facts })
}

/// What a library's queue is and holds, for people; within `[queue] timeout`.
///
/// # Errors
/// It cannot be told, and what would mend that.
pub fn about_library(queue: &Queue) -> Result<library::About, Fault> {
    bounded(queue, |queue, address| {
        let Adapter::Library(written) = &queue.adapter else {
            return Err(Fault::new("[queue] adapter names no library"));
        };
        library::about(server_of(address)?, queue, written)
    })
}

fn server_of(address: &Address) -> Result<&address::Server, Fault> {
    match address {
        Address::Postgres(server) => Ok(server),
        Address::Sqlite(_) => Err(Fault::new("libraries' queues are read on PostgreSQL alone")),
    }
}

/// The map by which a table is read; a library's is not, and nothing is ever written to it.
fn map_of(adapter: &Adapter) -> Result<(TableMap, String), Fault> {
    Ok(match adapter {
        Adapter::Table(map) => ((**map).clone(), map.name.clone()),
        Adapter::Healtharchive => (healtharchive::map(), "healtharchive".to_owned()),
        Adapter::Unwedge => (own::map(), "unwedge".to_owned()),
        Adapter::Library(written) => {
            return Err(Fault(format!("nothing is ever written to a queue of {}", written.name)));
        }
    })
}
