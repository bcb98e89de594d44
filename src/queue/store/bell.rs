//! What tells a worker that jobs have come, so that it need not look every moment: in PostgreSQL a notification, of a
//! file that it was written to. Whoever hears nothing looks every two seconds all the same, and says why it hears
//! nothing: a pooler that hands each statement to another connection of the server (`PgBouncer`) delivers none.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator as _;
use rustix::fs::inotify;

use super::Fault;
use crate::config::queue::Queue;
use crate::queue::address::Address;
use crate::queue::{local, postgres as server, sqlite};
use crate::sys::clock::{boottime, pause};

/// The channel, and in every name of a statement.
pub const CHANNEL: &str = "unwedge_jobs";
/// How long the one that is sent to see whether they arrive may take.
const PROOF_LIMIT: Duration = Duration::from_secs(3);
/// Between two tries to listen.
const AGAIN: Duration = Duration::from_secs(10);
/// How often a file may ring.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);
/// How long a transaction is written at the most.
const SETTLES: Duration = Duration::from_millis(2);
/// How often a connection that hears nothing is looked at.
const STILL: Duration = Duration::from_secs(30);

/// What a bell tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rung {
    /// It hears from now on.
    Hears,
    /// It hears nothing, and why.
    Deaf(String),
    /// Something has come, or may have.
    Jobs,
}

/// Listens for as long as `tell` wants to hear: it is to be called in a thread of its own.
pub fn listen(queue: &Queue, tell: &mut dyn FnMut(Rung) -> bool) {
    loop {
        let why = match Address::of(&queue.database) {
            Err(Fault(why)) => why,
            Ok(Address::Sqlite(path)) => match file(&path, tell) {
                Ok(()) => return,
                Err(why) => why,
            },
            Ok(Address::Postgres(address)) => match notifications(&address, queue, tell) {
                Ok(()) => return,
                Err(Fault(why)) => Address::Postgres(address).scrub(&why),
            },
        };
        server::let_have_names(false);
        if !tell(Rung::Deaf(why)) {
            return;
        }
        pause(AGAIN);
    }
}

/// Ends when nobody wants to hear any more.
fn notifications(
    address: &crate::queue::address::Server,
    queue: &Queue,
    tell: &mut dyn FnMut(Rung) -> bool,
) -> Result<(), Fault> {
    let wrong = |error: postgres::Error| Fault(server::said(&error));
    let mut client = server::connect(address, queue)?;
    client.batch_execute(&format!("LISTEN {CHANNEL}")).map_err(wrong)?;
    // by another connection, as those of others come: one's own comes back with its answer even where a pooler keeps all
    // others back
    // and by a word that nobody else says: others may come through by chance
    let mut other = server::connect(address, queue)?;
    let word = format!("{:016x}", RandomState::new().build_hasher().finish());
    other.batch_execute(&format!("NOTIFY {CHANNEL}, '{word}'")).map_err(wrong)?;
    drop(other);
    if !is_heard(&mut client, &word)? {
        return Err(Fault::new(
            "notifications do not arrive: a pooler between here and the server keeps them back",
        ));
    }
    // what waits for a word is on a connection of its own, and so is what asks
    server::let_have_names(true);
    if !tell(Rung::Hears) || !tell(Rung::Jobs) {
        return Ok(());
    }
    loop {
        let heard = client.notifications().timeout_iter(STILL).next().map_err(wrong)?;
        if heard.is_none() {
            // a connection that is gone without a word is found out
            client.batch_execute("SELECT 1").map_err(wrong)?;
            continue;
        }
        // many that came together are one
        while client.notifications().iter().next().map_err(wrong)?.is_some() {}
        if !tell(Rung::Jobs) {
            return Ok(());
        }
    }
}

/// Whether this word comes.
fn is_heard(client: &mut Client, word: &str) -> Result<bool, Fault> {
    let wrong = |error: postgres::Error| Fault(server::said(&error));
    let until = boottime() + PROOF_LIMIT;
    loop {
        let left = until.saturating_sub(boottime());
        match client.notifications().timeout_iter(left).next().map_err(wrong)? {
            Some(heard) if heard.payload() == word => return Ok(true),
            Some(_) if !left.is_zero() => {}
            Some(_) | None => return Ok(false),
        }
    }
}

/// Every transaction that is kept is written into the log beside the file first.
fn file(path: &Path, tell: &mut dyn FnMut(Rung) -> bool) -> Result<(), String> {
    let wrong = |error: rustix::io::Errno| format!("inotify: {error}");
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("that is no file".to_owned());
    };
    // the log lies beside the file itself, not beside a link to it
    let real = local::resolve(path, sqlite::OVER_A_NETWORK)
        .or_else(|_| local::resolve(dir, sqlite::OVER_A_NETWORK).map(|dir| dir.join(name)));
    let real: PathBuf = real.map_err(|Fault(why)| why)?;
    let (Some(dir), Some(name)) = (real.parent(), real.file_name()) else {
        return Err("that is no file".to_owned());
    };
    let mut log = name.to_owned();
    log.push("-wal");
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(wrong)?;
    inotify::add_watch(&watch, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)
        .map_err(wrong)?;
    if !tell(Rung::Hears) || !tell(Rung::Jobs) {
        return Ok(());
    }
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut last = Duration::ZERO;
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    loop {
        let event = events.next().map_err(wrong)?;
        let is_of_log = event.file_name().is_some_and(|it| it.to_bytes() == log.as_encoded_bytes());
        // what came together is one, and whoever writes all the time wakes nobody all the time
        if is_of_log && events.is_buffer_empty() {
            pause(SETTLES.max(AT_MOST_EVERY.saturating_sub(boottime().saturating_sub(last))));
            last = boottime();
            if !tell(Rung::Jobs) {
                return Ok(());
            }
        }
    }
}
