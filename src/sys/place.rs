//! Moving a file to its place, and never over another; and whether a directory takes files at all.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, CWD, RenameFlags, access, renameat_with};
use rustix::io::Errno;

/// Whether this user may make files in a directory, as far as its owner, its mode and its mount say (access(2)).
///
/// # Errors
/// Why not; `NOENT` where there is no such directory.
pub fn takes_files(dir: &Path) -> Result<(), Errno> {
    access(dir, Access::WRITE_OK | Access::EXEC_OK)
}

/// Moves it there, within one file system.
///
/// # Errors
/// It is where it was; `EXIST` where something is there already.
pub fn beside_none(from: &Path, to: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // a file system that knows no such rename, as sshfs: a link does the same
        Err(Errno::INVAL | Errno::NOSYS) => match fs::hard_link(from, to).map_err(errno) {
            Ok(()) => {
                // it has its new name; that it keeps the old one too harms nobody
                let _ = fs::remove_file(from);
                Ok(())
            }
            Err(Errno::EXIST) => Err(Errno::EXIST),
            // nor a link: what is left is to look first
            Err(_) if to.symlink_metadata().is_ok() => Err(Errno::EXIST),
            Err(_) => fs::rename(from, to).map_err(errno),
        },
        done => done,
    }
}

/// What the system said.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
pub fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_so_does_what_was_to_go_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "a").unwrap();
        fs::write(at("b"), "b").unwrap();
        assert_eq!(beside_none(&at("a"), &at("b")), Err(Errno::EXIST));
        assert_eq!(
            fs::read_to_string(at("a")).unwrap() + &fs::read_to_string(at("b")).unwrap(),
            "ab"
        );
        assert_eq!(beside_none(&at("a"), &at("c")), Ok(()));
        assert!(!at("a").exists() && fs::read_to_string(at("c")).unwrap() == "a");
        assert_eq!(beside_none(&at("a"), &at("d")), Err(Errno::NOENT));
    }
}
