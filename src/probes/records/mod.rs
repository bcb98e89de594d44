//! What earlier rounds wrote down: the state of a tool, debts and holds. Reading only; `act::store`
//! writes.
//!
//! A file is one header line (name, schema, checksum) and the body it vouches for. One that is
//! torn, empty, of a later schema, not ours, or that speaks of a moment this boot has not reached is
//! unreadable: it is kept as it is and nothing is done, because acting on a reset memory is how a
//! tool unmounts the same thing all night.

mod debts;
mod holds;
mod install;
mod mounts;
mod queue;
#[cfg(test)]
mod tests;
mod worker;

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::debts::{Debt, Debts};
pub use self::holds::{Holds, OperatorHold};
pub use self::install::{Installed, InstalledFile};
pub use self::mounts::{
    Attempts, Charge, Guard, Guards, Interrupted, MountsState, Rebound, Rehearsal, Remembered,
    Repairs, Sighting,
};
pub use self::queue::{FirstSeen, Heartbeats, RunnerState, UpkeepState};
pub use self::worker::{Watched, WorkerStart, WorkerState, WorkerTotals};
use crate::sys::clock::{Age, Now, Stamp};
use crate::sys::text::{self, digest};

/// The schema written by this version; a higher one is refused.
pub const SCHEMA: u32 = 1;

/// How much later than the round's own time a record may have been written, milliseconds.
const SINCE_MS: u64 = 10_000;

/// A record is never this long, bytes.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// A kind of record: what its file is called and which times it speaks of.
pub trait Record: Serialize + DeserializeOwned + Default {
    /// The file's name without `.json`, and the name in its header.
    const NAME: &'static str;

    /// Every moment it speaks of.
    fn stamps(&self) -> Vec<&Stamp>;
}

/// Why a record cannot be used. The file is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}; it is kept and nothing is done")]
pub struct Unreadable {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

/// The header line of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    record: String,
    schema: u32,
    sha256: String,
}

/// Where a record lies.
#[must_use]
pub fn path_of<R: Record>(state_dir: &Path) -> PathBuf {
    state_dir.join(format!("{}.json", R::NAME))
}

/// Reads a record; one that is not there yet is empty.
///
/// # Errors
/// Anything else that keeps it from being trusted.
pub fn read<R: Record>(state_dir: &Path, now: &Now) -> Result<R, Unreadable> {
    read_of(state_dir, rustix::process::geteuid().as_raw(), now)
}

/// As [`read`], of a record that is that of the directory's owner, whoever that is. What another user wrote may be told of, or
/// be a reason to wait, and nothing else.
///
/// # Errors
/// Anything that keeps it from being trusted.
pub fn read_whosever<R: Record>(state_dir: &Path, now: &Now) -> Result<R, Unreadable> {
    let owner = std::fs::metadata(state_dir).map_or(0, |it| it.uid());
    read_of(state_dir, owner, now)
}

/// The same of a record of this user's, or of root's.
///
/// # Errors
/// Anything that keeps it from being trusted.
pub fn read_of<R: Record>(state_dir: &Path, owner: u32, now: &Now) -> Result<R, Unreadable> {
    let path = path_of::<R>(state_dir);
    let unreadable = |what: String| Unreadable { path: text::path(&path), what };
    let Some(bytes) = read_bytes(&path, owner).map_err(unreadable)? else {
        return Ok(R::default());
    };
    let record: R = parse(&bytes).map_err(unreadable)?;
    // a person may have written it since the round took its time
    let a_little_later = Now { boot_ms: now.boot_ms.saturating_add(SINCE_MS), ..now.clone() };
    let impossible = |stamp: &Stamp| a_little_later.since(stamp) == Age::Impossible;
    if record.stamps().into_iter().any(impossible) {
        return Err(unreadable("it speaks of a time this boot has not reached".to_owned()));
    }
    Ok(record)
}

/// Whether a record holds a time that lies in the future of the wall clock.
#[must_use]
pub fn clock_fault<R: Record>(record: &R, now: &Now) -> bool {
    record.stamps().into_iter().any(|stamp| now.since(stamp) == Age::ClockFault)
}

fn read_bytes(path: &Path, owner: u32) -> Result<Option<Vec<u8>>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(format!("open: {errno}")),
    };
    let stat = fstat(&fd).map_err(|errno| format!("fstat: {errno}"))?;
    if stat.st_mode & 0o170_000 != 0o100_000 {
        return Err("it is no regular file".to_owned());
    }
    if stat.st_uid != 0 && stat.st_uid != owner {
        return Err(format!("it belongs to uid {}", stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(format!("others may write it (mode {:04o})", stat.st_mode & 0o7777));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(RECORD_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read: {error}"))?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err("it is too long".to_owned());
    }
    Ok(Some(bytes))
}

/// The bytes of a record's file.
///
/// # Errors
/// It cannot be written as JSON.
pub fn render<R: Record>(record: &R) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = serde_json::to_vec_pretty(record)?;
    body.push(b'\n');
    let header = Header { record: R::NAME.to_owned(), schema: SCHEMA, sha256: digest(&body) };
    let mut bytes = serde_json::to_vec(&header)?;
    bytes.push(b'\n');
    bytes.append(&mut body);
    Ok(bytes)
}

/// Understands the bytes of a record's file.
///
/// # Errors
/// What is wrong with it.
pub fn parse<R: Record>(bytes: &[u8]) -> Result<R, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it is cut off in its first line")?;
    let (header, body) = (&bytes[..end], &bytes[end + 1..]);
    let header: Header =
        serde_json::from_slice(header).map_err(|error| format!("its first line: {error}"))?;
    if header.record != R::NAME {
        return Err(format!("it is a record of {:?}, not of {:?}", header.record, R::NAME));
    }
    if header.schema > SCHEMA {
        return Err(format!("schema {} is of a later version (this one: {SCHEMA})", header.schema));
    }
    if header.sha256 != digest(body) {
        return Err("its checksum is wrong: torn, or changed by hand".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
