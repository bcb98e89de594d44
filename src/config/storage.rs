//! Which storage a file lies on, told from paths alone. A user may stand in a directory of the very mount that hangs,
//! and opening the project's file there would hang too; so files below FUSE and network mounts are not opened
//! unless they are named by hand. Symbolic links on the way are not followed here, and so not noticed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mount point and whether its storage may keep an opener waiting for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The type of file system, such as `fuse.sshfs`.
    pub fstype: String,
}

impl MountPoint {
    /// FUSE, network and automounted file systems may; the root of the host is never called so, since nothing works without it.
    pub fn may_hang(&self) -> bool {
        let remote = [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "ceph",
            "afs",
            "autofs",
            "glusterfs",
            "lustre",
        ];
        self.path != Path::new("/")
            && (self.fstype.starts_with("fuse") || remote.contains(&self.fstype.as_str()))
    }
}

/// The mount that a path lies on: the deepest one above it, and of those on one path the last.
pub fn mount_of<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    let above = mounts.iter().filter(|it| path.starts_with(&it.path));
    above.max_by_key(|it| it.path.components().count())
}

/// Understands mountinfo; a line that does not look like one is left out.
pub fn parse(mountinfo: &[u8]) -> Vec<MountPoint> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let path = fields.nth(4)?;
    let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(MountPoint {
        path: PathBuf::from(OsString::from_vec(unescape(path))),
        fstype: String::from_utf8_lossy(fstype).into_owned(),
    })
}

/// Undoes `\040` and its like, once, from left to right.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 22 0:45 / /srv/box rw,nosuid shared:20 - fuse.sshfs u1@box:/data rw\n\
        41 40 0:46 / /srv/box/local rw - tmpfs tmpfs rw\n\
        42 22 0:47 / /srv/a\\040b rw - nfs4 box:/ rw\n\
        43 22 0:48 / /over rw - fuse.sshfs x rw\n\
        44 43 0:49 / /over rw - ext4 /dev/sdb rw\n\
        nonsense\n\n";

    #[track_caller]
    fn check(path: &str, may_hang: bool) {
        let mounts = parse(MOUNTINFO);
        assert_eq!(
            mount_of(&mounts, Path::new(path)).is_some_and(MountPoint::may_hang),
            may_hang,
            "{path}"
        );
    }

    #[test]
    fn the_deepest_mount_above_a_path_decides() {
        check("/home/u", false);
        check("/srv/box", true);
        check("/srv/box/x/y", true);
        check("/srv/boxes", false);
        check("/srv/box/local/x", false);
        check("/srv/a b/x", true);
        check("/over/x", false);
    }

    #[test]
    fn the_root_of_the_host_is_never_avoided() {
        let root = MountPoint { path: "/".into(), fstype: "9p".into() };
        assert!(!root.may_hang());
    }
}
