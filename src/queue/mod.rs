//! Reading other programs' job tables: read-only, with a deadline, and by the service user alone. One
//! column map serves both databases; what differs between them is how an expression is written
//! (`sql`), how the catalogue is asked (`postgres`, `sqlite`) and how one gets in (`address`).
//!
//! What it never does: write, guess a state it was not told, or pass an empty answer off as a queue
//! without jobs. Whatever is not as the map says (a column, a status, a policy that hides rows) is a
//! [`Fault`], and a fault is `queue-unknown`.

pub mod address;
mod cells;
mod healtharchive;
mod local;
mod postgres;
mod read;
mod sql;
mod sqlite;
mod statements;
mod tls;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::config::Settings;
use crate::config::queue::{Adapter, Queue, TableMap};
use crate::probes::jobs::{self, QueueFacts, QueueLook};
use crate::sys::{command, text};
use address::Address;

/// Why the queue could not be read, in words that hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
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
    let (send, receive) = mpsc::channel();
    let asked = queue.clone();
    let started = std::thread::Builder::new().name("queue".to_owned()).spawn(move || {
        // whoever asked may have gone
        let _ = send.send(read(&asked));
    });
    if let Err(error) = started {
        return QueueLook::unknown(format!("no thread to ask in: {error}"));
    }
    match receive.recv_timeout(queue.timeout) {
        Ok(Ok(facts)) => QueueLook::Known(facts),
        Ok(Err(fault)) => QueueLook::unknown(text::tail(fault.0.as_bytes(), fault.0.len())),
        Err(RecvTimeoutError::Timeout) => QueueLook::unknown(format!(
            "the database gave no answer within {}",
            text::duration(queue.timeout)
        )),
        Err(RecvTimeoutError::Disconnected) => {
            QueueLook::unknown("whoever asked the database ended without a word")
        }
    }
}

/// How long it may take to learn the service user's number.
const USER_LIMIT: Duration = Duration::from_secs(5);

/// Root becomes the service user by starting this program anew; whoever is not root stays as it is. The
/// credential is that user's, and so is everything that is written.
///
/// # Errors
/// Why that cannot be; nothing was read then.
pub fn leave_root(settings: &Settings) -> Result<(), Fault> {
    let mut argv = jobs::as_service_user(settings, USER_LIMIT).map_err(Fault)?;
    if argv.is_empty() {
        return Ok(());
    }
    let own =
        std::fs::read_link("/proc/self/exe").map_err(|e| Fault(format!("/proc/self/exe: {e}")))?;
    argv.push(own.into());
    argv.extend(std::env::args_os().skip(1));
    Err(Fault(format!("become {:?}: {}", settings.host.user, command::become_program(&argv))))
}

fn read(queue: &Queue) -> Result<QueueFacts, Fault> {
    let address = Address::of(&queue.database)?;
    // a server may repeat what it was told
    ask(&address, queue).map_err(|Fault(why)| Fault(address.scrub(&why)))
}

fn ask(address: &Address, queue: &Queue) -> Result<QueueFacts, Fault> {
    let (map, name) = map_of(&queue.adapter);
    let facts = match address {
        Address::Sqlite(path) => {
            let mut session = sqlite::open(path, queue.timeout)?;
            read::facts(&mut session, queue, &map)?
        }
        Address::Postgres(server) => {
            let mut client = postgres::connect(server, queue)?;
            postgres::in_transaction(&mut client, queue, &map, |session| {
                read::facts(session, queue, &map)
            })?
        }
    };
    Ok(QueueFacts { queue: name, ..facts })
}

fn map_of(adapter: &Adapter) -> (TableMap, String) {
    match adapter {
        Adapter::Table(map) => ((**map).clone(), map.name.clone()),
        Adapter::Healtharchive => (healtharchive::map(), "healtharchive".to_owned()),
    }
}

/// Milliseconds of a duration of the config, which are far from overflow.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
