//! Which mount this is, found out without a word to its daemon.
//!
//! Mount id and device are reused as soon as they are free; what is not reused is the unique mount
//! id (`STATX_MNT_ID_UNIQUE`, Linux 6.8) and the inode of a FUSE connection's directory in fusectl.
//! Where the kernel or a private mount withholds one of them, the others must do.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::connections::Connections;
use super::family::Family;
use super::mountinfo::{Dev, Mount};

/// `STATX_MNT_ID_UNIQUE` (include/uapi/linux/stat.h); rustix keeps unknown bits.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// How often a look-up that the name cache refused is tried: a rename anywhere can spoil one.
const CACHED_TRIES: usize = 3;

/// A mount, told from every other one there is or was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// As in the first column of the mount table.
    pub mount_id: u64,
    /// Never used twice; `None` before Linux 6.8, for a private mount asked by root, and for one
    /// that could not be opened from the name cache.
    pub unique_id: Option<u64>,
    /// The superblock's device.
    pub dev: Dev,
    /// Inode of `/sys/fs/fuse/connections/<minor>`; `None` when it is not FUSE or fusectl is not
    /// mounted.
    pub connection: Option<u64>,
}

impl Identity {
    /// What the table and fusectl tell, without opening the mount.
    #[must_use]
    pub fn from_table(mount: &Mount, connections: &Connections) -> Self {
        let connection = match Family::of(&mount.fstype) {
            Family::Fuse => connections.inode(mount.dev),
            Family::Network | Family::Other => None,
        };
        Self { mount_id: mount.id, unique_id: None, dev: mount.dev, connection }
    }

    /// Whether both name one mount. A part that one of them lacks says nothing; the parts that
    /// both have must agree.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        fn agree(a: Option<u64>, b: Option<u64>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => a == b,
                (None, _) | (_, None) => true,
            }
        }
        self.mount_id == other.mount_id
            && self.dev == other.dev
            && agree(self.unique_id, other.unique_id)
            && agree(self.connection, other.connection)
    }

    /// A short name for the superblock as mounted here, at most 15 bytes: what a prober calls
    /// itself in the process table. The unique id is left out, because not every look gets it.
    #[must_use]
    pub fn key(&self) -> String {
        use sha2::{Digest as _, Sha256};
        /// Without look-alikes; 12 of them are 60 bits.
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let text = format!("{} {} {:?}", self.mount_id, self.dev, self.connection);
        let digest = Sha256::digest(text.as_bytes());
        let letters = digest.iter().take(12).map(|b| char::from(ALPHABET[usize::from(b % 32)]));
        format!("uw-{}", letters.collect::<String>())
    }
}

/// What an opened path turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// As in the mount table.
    pub mount_id: u64,
    /// See [`Identity::unique_id`].
    pub unique_id: Option<u64>,
    /// The superblock's device.
    pub dev: Dev,
    /// Whether it is the root of a mount.
    pub mount_root: bool,
    /// Whether it is a directory; `None` where the kernel would not say without asking the daemon.
    pub directory: Option<bool>,
}

impl Opened {
    /// Whether this is the mount known as `identity`, as far as an opened path tells: of its connection it says nothing.
    /// Where both numbers may have been used again, whoever acts asks for that too.
    #[must_use]
    pub fn is(&self, identity: &Identity) -> bool {
        let seen = Identity {
            mount_id: self.mount_id,
            unique_id: self.unique_id,
            dev: self.dev,
            connection: None,
        };
        self.mount_root && seen.same(identity)
    }
}

/// Opens a path for identity only, from the name cache: no link is followed and no file system is
/// asked, so it cannot hang. EAGAIN means that the cache could not tell: an ancestor is suspect.
///
/// # Errors
/// ELOOP for a link on the way, EAGAIN as above, and what openat2(2) says.
pub fn open_cached(path: &Path) -> Result<OwnedFd, Errno> {
    let mut last = Errno::AGAIN;
    for _ in 0..CACHED_TRIES {
        match open(path, ResolveFlags::CACHED) {
            Err(Errno::AGAIN) => last = Errno::AGAIN,
            done => return done,
        }
    }
    Err(last)
}

/// The same, asking the file systems on the way where the cache does not know: **may hang**, for
/// children with a deadline.
///
/// # Errors
/// ELOOP for a link on the way, and what openat2(2) says.
pub fn open_uncached(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, ResolveFlags::empty())
}

/// From the name cache, and where that cannot tell (below a live FUSE mount it never knows) by asking the file systems:
/// **may hang**, for children with a deadline and for paths where nothing does.
///
/// # Errors
/// See [`open_uncached`].
pub fn open_may_hang(path: &Path) -> Result<OwnedFd, Errno> {
    match open_cached(path) {
        Err(Errno::AGAIN) => open_uncached(path),
        opened => opened,
    }
}

fn open(path: &Path, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        how | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// What the kernel knows of an opened path without asking its file system.
///
/// Root gets EACCES from a private FUSE mount for every mask but the empty one, which fills mount
/// id, device and the mount-root attribute all the same (measured on 6.18); only the unique id and
/// the file type are then missing.
///
/// # Errors
/// What statx(2) says to an empty mask.
pub fn describe(fd: impl AsFd) -> Result<Opened, Errno> {
    const EMPTY: &CStr = c"";
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let plain = statx(fd.as_fd(), EMPTY, flags, StatxFlags::empty())?;
    let unique = statx(fd.as_fd(), EMPTY, flags, MNT_ID_UNIQUE).ok();
    let unique_id = unique
        .filter(|answer| answer.stx_mask & MNT_ID_UNIQUE.bits() != 0)
        .map(|answer| answer.stx_mnt_id);
    let directory = statx(fd.as_fd(), EMPTY, flags, StatxFlags::TYPE).ok().and_then(|answer| {
        let known = answer.stx_mask & StatxFlags::TYPE.bits() != 0;
        known.then(|| u32::from(answer.stx_mode) & 0o170_000 == 0o040_000)
    });
    let mount_root = plain.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT);
    Ok(Opened {
        mount_id: plain.stx_mnt_id,
        unique_id,
        dev: Dev { major: plain.stx_dev_major, minor: plain.stx_dev_minor },
        mount_root,
        directory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(unique_id: Option<u64>, connection: Option<u64>) -> Identity {
        Identity { mount_id: 30, unique_id, dev: Dev { major: 0, minor: 52 }, connection }
    }

    #[test]
    fn parts_that_both_have_must_agree() {
        let full = identity(Some(7), Some(9));
        assert!(full.same(&identity(Some(7), Some(9))));
        assert!(full.same(&identity(None, Some(9))) && full.same(&identity(Some(7), None)));
        assert!(!full.same(&identity(Some(8), Some(9))), "reused mount id");
        assert!(!full.same(&identity(None, Some(10))), "reused minor");
        assert!(!full.same(&Identity { mount_id: 31, ..full.clone() }));
        assert!(!full.same(&Identity { dev: Dev { major: 0, minor: 53 }, ..full.clone() }));
    }

    #[test]
    fn a_key_fits_a_process_name_and_does_not_hang_on_what_only_some_looks_get() {
        let full = identity(Some(7), Some(9));
        assert_eq!(full.key().len(), 15);
        assert_eq!(full.key(), identity(None, Some(9)).key());
        assert_ne!(full.key(), identity(Some(7), Some(10)).key());
    }

    #[test]
    fn a_link_is_not_followed_anywhere_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("there")).unwrap();
        std::os::unix::fs::symlink(real.join("there"), real.join("link")).unwrap();
        std::fs::create_dir(real.join("there/below")).unwrap();
        assert!(open_uncached(&real.join("there/below")).is_ok());
        assert_eq!(open_uncached(&real.join("link/below")).err(), Some(Errno::LOOP));
        assert_eq!(open_uncached(&real.join("link")).err(), Some(Errno::LOOP));
    }

    #[test]
    fn the_root_is_a_mount_and_a_new_directory_is_not() {
        let root = describe(open_cached(Path::new("/proc")).unwrap()).unwrap();
        assert!(root.mount_root && root.directory == Some(true));
        let dir = tempfile::tempdir().unwrap();
        let plain = describe(open_uncached(&dir.path().canonicalize().unwrap()).unwrap()).unwrap();
        assert!(!plain.mount_root);
    }
}
