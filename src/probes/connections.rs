//! The FUSE connections of the machine, as fusectl shows them: `/sys/fs/fuse/connections/<minor>`.
//! The inode of such a directory tells a connection from a later one with the same number.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::holders;
use super::mountinfo::Dev;

/// Where systemd mounts fusectl.
pub const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// What fusectl shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Connection number (the minor of the superblock's device) -> inode of its directory.
    Known(BTreeMap<u32, u64>),
    /// fusectl is not mounted there: nothing can be aborted, and nobody can say what is orphaned.
    NotMounted,
}

/// `FUSE_CTL_SUPER_MAGIC`, include/uapi/linux/magic.h.
const FUSE_CTL_MAGIC: u64 = 0x6573_5543;

impl Connections {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        Self::read_at(Path::new(CONNECTIONS))
    }

    fn read_at(root: &Path) -> Self {
        let is_fusectl =
            rustix::fs::statfs(root).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(FUSE_CTL_MAGIC));
        let Ok(entries) = std::fs::read_dir(root) else { return Self::NotMounted };
        if !is_fusectl {
            return Self::NotMounted;
        }
        let numbered = entries.flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // a connection that went away meanwhile is none
            Some((number, entry.metadata().ok()?.ino()))
        });
        Self::Known(numbered.collect())
    }

    /// The inode of the connection behind a FUSE superblock. Only anonymous devices (major 0) are
    /// connection numbers.
    #[must_use]
    pub fn inode(&self, dev: Dev) -> Option<u64> {
        match self {
            Self::Known(known) if dev.major == 0 => known.get(&dev.minor).copied(),
            Self::Known(_) | Self::NotMounted => None,
        }
    }

    /// Whether the connection `inode` is still there under this number.
    #[must_use]
    pub fn still_has(&self, dev: Dev, inode: u64) -> bool {
        self.inode(dev) == Some(inode)
    }
}

/// The directory of one connection.
#[must_use]
pub fn directory(dev: Dev) -> PathBuf {
    Path::new(CONNECTIONS).join(dev.minor.to_string())
}

/// Connections that no mount namespace shows any more: a detached mount that somebody still holds.
/// They are counted and never aborted, for what holds them may be at work.
///
/// `None` when it cannot be known: fusectl is not mounted, or some namespace could not be read, or
/// this process does not see all processes of the machine.
#[must_use]
pub fn orphans(connections: &Connections, mounted: Option<&[Dev]>) -> Option<Vec<u32>> {
    match (connections, mounted) {
        (Connections::Known(known), Some(mounted)) => Some(
            known
                .keys()
                .copied()
                .filter(|number| !mounted.contains(&Dev { major: 0, minor: *number }))
                .collect(),
        ),
        (Connections::NotMounted, _) | (_, None) => None,
    }
}

/// More namespaces than this are not read in one round.
const NAMESPACES_MAX: usize = 512;

/// The devices mounted in any mount namespace of the machine; `None` when one could not be read or
/// not all processes are seen.
#[must_use]
pub fn mounted_anywhere() -> Option<Vec<Dev>> {
    if !holders::sees_every_process() {
        return None;
    }
    let mut namespaces = BTreeMap::new();
    for process in procfs::process::all_processes().ok()?.flatten() {
        let link = format!("/proc/{}/ns/mnt", process.pid);
        match std::fs::read_link(&link) {
            Ok(namespace) => {
                namespaces.entry(namespace).or_insert_with(Vec::new).push(process.pid);
            }
            Err(error) if gone(&error) => {}
            Err(_) => return None,
        }
    }
    if namespaces.len() > NAMESPACES_MAX {
        return None;
    }
    let mut devices = Vec::new();
    for pids in namespaces.values() {
        let table = pids.iter().find_map(|pid| {
            let path = format!("/proc/{pid}/mountinfo");
            super::mountinfo::read_bytes(Path::new(&path)).ok().filter(|bytes| !bytes.is_empty())
        });
        // a namespace whose processes all ended meanwhile shows nothing any more
        let Some(table) = table else { continue };
        devices.extend(super::mountinfo::parse(&table).ok()?.iter().map(|mount| mount.dev));
    }
    devices.sort_unstable();
    devices.dedup();
    Some(devices)
}

/// Whether the process went away while it was looked at (a kernel thread has no namespace link
/// either).
fn gone(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error();
    [Errno::NOENT, Errno::SRCH].iter().any(|known| errno == Some(known.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dev(minor: u32) -> Dev {
        Dev { major: 0, minor }
    }

    #[test]
    fn a_connection_without_a_mount_anywhere_is_an_orphan() {
        let known = Connections::Known(BTreeMap::from([(40, 1), (41, 2)]));
        assert_eq!(orphans(&known, Some(&[dev(40)])), Some(vec![41]));
        assert_eq!(orphans(&known, Some(&[dev(40), dev(41)])), Some(vec![]));
    }

    #[test]
    fn what_cannot_be_seen_is_not_none() {
        let known = Connections::Known(BTreeMap::new());
        assert_eq!(orphans(&known, None), None);
        assert_eq!(orphans(&Connections::NotMounted, Some(&[])), None);
    }

    #[test]
    fn a_directory_that_is_no_fusectl_shows_no_connections() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("40")).unwrap();
        assert_eq!(Connections::read_at(dir.path()), Connections::NotMounted);
        assert_eq!(Connections::read_at(&dir.path().join("none")), Connections::NotMounted);
    }

    #[test]
    fn a_block_device_is_no_connection() {
        let known = Connections::Known(BTreeMap::from([(1, 10)]));
        assert_eq!(known.inode(Dev { major: 8, minor: 1 }), None);
        assert_eq!(known.inode(dev(1)), Some(10));
    }
}
