//! Which kind of file system a type name stands for: what may be aborted and repaired (FUSE), what
//! is only looked at (the network clients of the kernel), and what is none of our business.

use serde::Serialize;

/// A kind of file system, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// `fuse` and `fuse.*`: a daemon in user space, a connection that can be aborted.
    Fuse,
    /// A network client inside the kernel: look-only until it has been proven on a real one.
    Network,
    /// Local file systems, overlays, `fuseblk`, `virtiofs`: never found by itself, only when listed.
    Other,
}

/// Types of the kernel's own network clients and cluster file systems.
const NETWORK: [&str; 18] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "ceph",
    "9p",
    "afs",
    "coda",
    "lustre",
    "gpfs",
    "beegfs",
    "orangefs",
    "pvfs2",
    "glusterfs",
    "davfs",
    "acfs",
];

impl Family {
    /// The family of a type as the mount table writes it.
    #[must_use]
    pub fn of(fstype: &str) -> Self {
        match fstype {
            "fuse" => Self::Fuse,
            _ if fstype.starts_with("fuse.") => Self::Fuse,
            _ if NETWORK.contains(&fstype) => Self::Network,
            _ => Self::Other,
        }
    }

    /// Whether a host's own look-round should find mounts of this kind.
    #[must_use]
    pub fn is_remote(self) -> bool {
        match self {
            Self::Fuse | Self::Network => true,
            Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_devices_and_virtual_machines_are_no_fuse_to_us() {
        for (fstype, family) in [
            ("fuse", Family::Fuse),
            ("fuse.sshfs", Family::Fuse),
            ("fuseblk", Family::Other),
            ("fuseblk.ntfs", Family::Other),
            ("fusectl", Family::Other),
            ("virtiofs", Family::Other),
            ("nfs4", Family::Network),
            ("ext4", Family::Other),
        ] {
            assert_eq!(Family::of(fstype), family, "{fstype}");
        }
    }

    #[test]
    fn what_is_reached_over_a_network_is_told_by_its_kind() {
        // the share of a virtual machine among them: its locks are no better
        for fstype in ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "lustre", "davfs"] {
            assert!(Family::of(fstype) == Family::Network, "{fstype}");
        }
    }
}
