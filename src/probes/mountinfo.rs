//! The mount table: `/proc/self/mountinfo` as `proc_pid_mountinfo(5)` tells it, read as bytes,
//! because a mount point may hold any byte but NUL, and one odd name must not blind us.
//!
//! A table that is torn, too long or has a line we do not understand is no table: it is an error
//! with a name, and nothing is done on the strength of half of it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::family::Family;
use crate::config::MountPoint;
use crate::sys::text;

/// Where the kernel shows the mounts of this process's namespace.
pub const MOUNTINFO: &str = "/proc/self/mountinfo";

/// How the kernel marks the root of a mount whose directory has been removed.
pub const DELETED: &[u8] = b"//deleted";

/// A table longer than this is not read, bytes: some 600,000 mounts, six times the kernel's own
/// default limit (`fs.mount-max`, 100,000).
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// How many times the table is read to find it standing still for the targets looked at.
const READS_MAX: usize = 3;

/// A device number, as the table and statx(2) give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dev {
    /// 0 for file systems without a block device.
    pub major: u32,
    /// For FUSE the number of its connection.
    pub minor: u32,
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// One mount, escapes undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount id; reused at once after an unmount.
    pub id: u64,
    /// Id of the mount this one is mounted on.
    pub parent: u64,
    /// The superblock's device.
    pub dev: Dev,
    /// The directory of the file system that is mounted here; ends in `//deleted` when it is gone.
    pub root: OsString,
    /// Where it is mounted.
    pub path: PathBuf,
    /// Options of this mount (`rw,nosuid,…`).
    pub options: OsString,
    /// How mounts made below it travel.
    pub propagation: Propagation,
    /// Type with subtype: `fuse.sshfs`.
    pub fstype: String,
    /// What was mounted: `user@host:/dir`.
    pub source: OsString,
    /// Options of the file system (`user_id=0,…`).
    pub super_options: OsString,
}

/// How mounts made below a mount travel to others and come from others, `mount_namespaces(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Propagation {
    /// The peer group it shares with.
    pub shared: Option<u64>,
    /// The peer group it is a slave of.
    pub master: Option<u64>,
    /// It cannot be bound.
    pub unbindable: bool,
}

impl Propagation {
    /// Whether both travel in the same way, in whatever group.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.shared.is_some() == other.shared.is_some()
            && self.master.is_some() == other.master.is_some()
            && self.unbindable == other.unbindable
    }
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It could not be read.
    #[error("read {MOUNTINFO}: {0}")]
    Unreadable(String),
    /// It is longer than we are willing to hold.
    #[error("{MOUNTINFO} is longer than {TABLE_BYTES_MAX} bytes")]
    TooLong,
    /// It does not end with the end of a line.
    #[error("{MOUNTINFO} ends in the middle of line {0}")]
    Torn(usize),
    /// A line is not as `proc_pid_mountinfo(5)` has it.
    #[error("{MOUNTINFO} line {line}: {what}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// The field that is wrong.
        what: &'static str,
    },
    /// The lines looked at were never the same twice.
    #[error("{MOUNTINFO} changed under each of {READS_MAX} looks")]
    Changing,
}

impl Mount {
    /// Whether whoever touches it may wait for ever: what is reached over a network or served by a program, and what is
    /// mounted on demand.
    #[must_use]
    pub fn may_hang(&self) -> bool {
        Family::of(&self.fstype).is_remote() || self.fstype == "autofs"
    }

    /// The value of `key=value` among the file system's options.
    #[must_use]
    pub fn super_option(&self, key: &str) -> Option<&str> {
        self.super_options.as_bytes().split(|b| *b == b',').find_map(|option| {
            let option = std::str::from_utf8(option).ok()?;
            option.split_once('=').filter(|(name, _)| *name == key).map(|(_, value)| value)
        })
    }

    /// Whether `flag` stands alone among the file system's options.
    #[must_use]
    pub fn super_flag(&self, flag: &str) -> bool {
        self.super_options.as_bytes().split(|b| *b == b',').any(|o| o == flag.as_bytes())
    }
}

/// All mounts of a namespace, with the ways through them.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
    by_id: HashMap<u64, usize>,
    /// parent id -> path -> index of the mount that a walk enters there
    crossings: HashMap<u64, HashMap<PathBuf, usize>>,
}

/// The mounts that a walk along a path goes through.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Mounts above the path, outermost first: what must answer for the path to be reached.
    pub ancestors: Vec<&'a Mount>,
    /// Mounts at the path itself, lowest first, as they are stacked; an automount trigger is none.
    pub layers: Vec<&'a Mount>,
}

impl<'a> Walk<'a> {
    /// The mount that the path itself lies on.
    #[must_use]
    pub fn lies_on(&self) -> Option<&'a Mount> {
        self.layers.last().or(self.ancestors.last()).copied()
    }
}

impl MountTable {
    /// Puts mounts in order.
    #[must_use]
    pub fn new(mounts: Vec<Mount>) -> Self {
        let by_id = mounts.iter().enumerate().map(|(index, m)| (m.id, index)).collect();
        let mut crossings: HashMap<u64, HashMap<PathBuf, usize>> = HashMap::new();
        for (index, mount) in mounts.iter().enumerate() {
            crossings.entry(mount.parent).or_default().insert(mount.path.clone(), index);
        }
        Self { mounts, by_id, crossings }
    }

    /// The storage that may hang on which a path lies, in words. The root of the host never is, since nothing works without it.
    #[must_use]
    pub fn remote(&self, path: &Path) -> Option<String> {
        let mount = self.walk(path).lies_on()?;
        (mount.may_hang() && mount.path != Path::new("/")).then(|| {
            format!("{} lies on {} ({})", text::path(path), text::path(&mount.path), mount.fstype)
        })
    }

    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The mount with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Mount> {
        self.by_id.get(&id).map(|index| &self.mounts[*index])
    }

    /// Walks to `path` as the kernel would: from the root, entering every mount on the way. The
    /// table's order is not the stack's order, and a mount under a covered directory is listed
    /// but not reached; parent ids tell.
    #[must_use]
    pub fn walk(&self, path: &Path) -> Walk<'_> {
        let mut walk = Walk { ancestors: Vec::new(), layers: Vec::new() };
        let Some(mut here) = self.root() else { return walk };
        let mut prefix = PathBuf::new();
        for component in path.components() {
            prefix.push(component);
            let mut entered =
                if prefix.as_os_str() == "/" { Some(here) } else { self.entered(here, &prefix) };
            // each turn goes one mount up a stack that is finite, as ids are never their own parent
            for _ in 0..=self.mounts.len() {
                let Some(mount) = entered else { break };
                here = mount;
                if prefix == path && mount.fstype != "autofs" {
                    walk.layers.push(mount);
                } else {
                    walk.ancestors.push(mount);
                }
                entered = self.entered(mount, &prefix);
            }
        }
        walk
    }

    fn entered(&self, from: &Mount, at: &Path) -> Option<&Mount> {
        self.crossings
            .get(&from.id)
            .and_then(|here| here.get(at))
            .map(|index| &self.mounts[*index])
            .filter(|mount| mount.id != from.id)
    }

    /// The lowest mount at `/`: the one whose parent is not in the table.
    fn root(&self) -> Option<&Mount> {
        self.mounts
            .iter()
            .find(|m| m.path.as_os_str() == "/" && !self.by_id.contains_key(&m.parent))
            .or_else(|| self.mounts.iter().find(|m| m.path.as_os_str() == "/"))
    }

    /// Every mount that hangs below `id`, the deepest first: what a detach of it takes along. A
    /// mount stacked on it at the same path is one of them.
    #[must_use]
    pub fn nested_in(&self, id: u64) -> Vec<&Mount> {
        let mut children: HashMap<u64, Vec<&Mount>> = HashMap::new();
        for mount in &self.mounts {
            if mount.parent != mount.id {
                children.entry(mount.parent).or_default().push(mount);
            }
        }
        let mut found: Vec<&Mount> = Vec::new();
        let mut queue = vec![id];
        while let Some(parent) = queue.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                queue.push(child.id);
                found.push(child);
            }
        }
        found.sort_by(|a, b| {
            let depth = |m: &Mount| m.path.components().count();
            depth(b).cmp(&depth(a)).then(b.id.cmp(&a.id))
        });
        found
    }
}

/// Reads and understands the table, and reads it again to see that what is looked at stood still.
/// Kernels before 5.8 could lose lines of a table that changed under the reader; whole tables
/// seldom agree on a busy host, so only the lines of the mounts picked by `watched` are compared.
///
/// # Errors
/// See [`TableError`].
pub fn read(watched: impl Fn(&Mount) -> bool) -> Result<MountTable, TableError> {
    settled(|| read_bytes(Path::new(MOUNTINFO)), watched)
}

/// Reads the table once: for whoever looks again and again, and may be told less of a table that changes just then.
///
/// # Errors
/// See [`TableError`].
pub fn once() -> Result<MountTable, TableError> {
    Ok(MountTable::new(parse(&read_bytes(Path::new(MOUNTINFO))?)?))
}

fn settled(
    mut look: impl FnMut() -> Result<Vec<u8>, TableError>,
    watched: impl Fn(&Mount) -> bool,
) -> Result<MountTable, TableError> {
    let mut before = look()?;
    let mut mounts = parse(&before)?;
    for _ in 1..READS_MAX {
        let after = look()?;
        if after == before {
            return Ok(MountTable::new(mounts));
        }
        let again = parse(&after)?;
        if mounts.iter().filter(|m| watched(m)).eq(again.iter().filter(|m| watched(m))) {
            return Ok(MountTable::new(again));
        }
        (before, mounts) = (after, again);
    }
    Err(TableError::Changing)
}

/// Every mount point, for those who must not open a file below one that may hang. None where the
/// table cannot be read: then nothing is known to hang.
#[must_use]
pub fn mount_points() -> Vec<MountPoint> {
    let table = read_bytes(Path::new(MOUNTINFO)).and_then(|bytes| parse(&bytes));
    let point = |mount: Mount| MountPoint {
        may_hang: mount.may_hang(),
        path: mount.path,
        fstype: mount.fstype,
    };
    table.unwrap_or_default().into_iter().map(point).collect()
}

/// The bytes of a mount table.
///
/// # Errors
/// It cannot be opened or read, or is too long.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, TableError> {
    let unreadable = |error: std::io::Error| TableError::Unreadable(error.to_string());
    let mut bytes = Vec::with_capacity(16 << 10);
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(TABLE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > TABLE_BYTES_MAX { Err(TableError::TooLong) } else { Ok(bytes) }
}

/// Understands a mount table.
///
/// # Errors
/// It is torn or malformed; no part of it is returned then.
pub fn parse(table: &[u8]) -> Result<Vec<Mount>, TableError> {
    let mut mounts = Vec::with_capacity(table.len() / 80);
    let mut rest = table;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let end = rest.iter().position(|b| *b == b'\n').ok_or(TableError::Torn(line))?;
        let mount =
            parse_line(&rest[..end]).map_err(|what| TableError::Malformed { line, what })?;
        mounts.push(mount);
        rest = &rest[end + 1..];
    }
    if mounts.is_empty() {
        // even an empty namespace has its root
        return Err(TableError::Malformed { line: 1, what: "no mount at all" });
    }
    Ok(mounts)
}

fn parse_line(line: &[u8]) -> Result<Mount, &'static str> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = |what: &'static str| fields.next().ok_or(what);
    let id = number(next("mount id")?).ok_or("mount id")?;
    let parent = number(next("parent id")?).ok_or("parent id")?;
    let dev = device(next("device")?).ok_or("device")?;
    let root = unescape(next("root")?);
    let path = unescape(next("mount point")?);
    if !path.starts_with(b"/") {
        return Err("mount point");
    }
    let options = next("options")?;
    let mut propagation = Propagation::default();
    // optional fields up to a lone hyphen; unknown ones are to be ignored (proc_pid_mountinfo(5))
    loop {
        let field = next("separator")?;
        match field {
            b"-" => break,
            b"unbindable" => propagation.unbindable = true,
            _ => {
                propagation.shared = propagation.shared.or(group(field, b"shared:"));
                propagation.master = propagation.master.or(group(field, b"master:"));
            }
        }
    }
    let fstype = String::from_utf8_lossy(&unescape(next("type")?)).into_owned();
    let source = unescape(next("source")?);
    let super_options = fields.next().ok_or("file system options")?;
    if fstype.is_empty() || fields.next().is_some() {
        return Err("number of fields");
    }
    Ok(Mount {
        id,
        parent,
        dev,
        root: OsString::from_vec(root),
        path: PathBuf::from(OsString::from_vec(path)),
        options: OsStr::from_bytes(options).to_owned(),
        propagation,
        fstype,
        source: OsString::from_vec(source),
        super_options: OsString::from_vec(unescape(super_options)),
    })
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    if !field.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn group(field: &[u8], kind: &[u8]) -> Option<u64> {
    number(field.strip_prefix(kind)?)
}

fn device(field: &[u8]) -> Option<Dev> {
    let colon = field.iter().position(|b| *b == b':')?;
    Some(Dev { major: number(&field[..colon])?, minor: number(&field[colon + 1..])? })
}

/// Undoes the kernel's `\ooo` once, left to right (so that `\134043` is a backslash and `043`,
/// not a hash). A backslash that begins no such group stays: options of odd file systems have them.
#[must_use]
pub fn unescape(field: &[u8]) -> Vec<u8> {
    if !field.contains(&b'\\') {
        return field.to_vec();
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests;
