//! One system call that rustix has no name for: `mount_setattr(2)`, Linux 5.12. It gives a mount
//! its options while it is still attached nowhere, so that nobody ever sees it without them, here
//! or in the namespaces it travels to. A remount can do the same only once it is in its place.

#![expect(unsafe_code, reason = "a system call without a safe wrapper; its one structure is ours")]

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// `struct mount_attr` of include/uapi/linux/mount.h, first version, 32 bytes.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Gives the mount behind `mount` exactly these options, and takes away every other one that a
/// mount can have.
///
/// # Errors
/// ENOSYS before Linux 5.12, EPERM for an option that is locked, and what `mount_setattr(2)` says.
pub fn set_options(mount: impl AsFd, options: MountAttrFlags) -> Result<(), Errno> {
    let all = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR__ATIME
        | MountAttrFlags::MOUNT_ATTR_NODIRATIME
        | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
    let attr = MountAttr {
        attr_set: u64::from(options.bits()),
        attr_clr: u64::from(all.bits()),
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a structure that lives through the call, and an empty
    // string that ends in NUL; it writes nothing and keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(errno))
}

/// The options of a mount as the mount table shows them, `rw,nosuid,relatime`. No word about access
/// times means that each access is noted.
#[must_use]
pub fn parse(options: &[u8]) -> MountAttrFlags {
    let mut flags = MountAttrFlags::empty();
    let mut atime = MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    for option in options.split(|byte| *byte == b',') {
        match option {
            b"ro" => flags |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            b"nosuid" => flags |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            b"nodev" => flags |= MountAttrFlags::MOUNT_ATTR_NODEV,
            b"noexec" => flags |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            b"nodiratime" => flags |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            b"nosymfollow" => flags |= MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
            b"noatime" => atime = MountAttrFlags::MOUNT_ATTR_NOATIME,
            b"relatime" => atime = MountAttrFlags::MOUNT_ATTR_RELATIME,
            _ => {}
        }
    }
    flags | atime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_mount_table_are_the_options() {
        let of = |text: &str| parse(text.as_bytes());
        assert_eq!(of("rw,relatime"), MountAttrFlags::MOUNT_ATTR_RELATIME);
        assert_eq!(of("rw"), MountAttrFlags::MOUNT_ATTR_STRICTATIME);
        let all = of("ro,nosuid,nodev,noexec,nosymfollow,noatime,nodiratime");
        let without = [of("ro,noatime"), of("nosuid,noatime"), of("nosymfollow,noatime")];
        assert!(without.iter().all(|some| all.contains(*some) && *some != all));
        assert!(!all.contains(MountAttrFlags::MOUNT_ATTR_STRICTATIME));
    }
}
