//! Where a queue that is a file lies, in the words that a person needs when it cannot be used: whose it is, its mode,
//! its file system, and who has it locked.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::probes::mountinfo;
use crate::sys::text;

/// All that can be told of it now. It lies on a local disk, or it would not have been opened.
#[must_use]
pub fn words(path: &Path) -> String {
    let mut said = Vec::new();
    match path.symlink_metadata() {
        Ok(it) => {
            said.push(format!("owner {}:{}, mode {:o}", it.uid(), it.gid(), it.mode() & 0o7777));
        }
        Err(error) => {
            said.push(error.to_string());
            let dir = path.parent().unwrap_or(Path::new("/"));
            match dir.symlink_metadata() {
                Ok(it) => said.push(format!(
                    "its directory: owner {}:{}, mode {:o}",
                    it.uid(),
                    it.gid(),
                    it.mode() & 0o7777
                )),
                Err(error) => said.push(format!("its directory: {error}")),
            }
        }
    }
    if let Ok(table) = mountinfo::read(|_| false)
        && let Some(mount) = table.walk(path).lies_on()
    {
        said.push(format!("on {} ({})", text::path(&mount.path), mount.fstype));
    }
    let holders = holders(path);
    if !holders.is_empty() {
        said.push(format!("locked by {}", holders.join(", ")));
    }
    said.push(format!("as user {}", rustix::process::geteuid().as_raw()));
    format!("{}: {}", text::path(path), said.join("; "))
}

/// The processes that have a lock on the file or one of those beside it (`proc_locks(5)`).
fn holders(path: &Path) -> Vec<String> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let inodes: Vec<u64> = [path.to_owned(), beside("-wal"), beside("-shm")]
        .iter()
        .filter_map(|path| Some(path.metadata().ok()?.ino()))
        .collect();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: Vec<i32> = locks
        .lines()
        .filter_map(lock)
        .filter(|(pid, inode)| inodes.contains(inode) && *pid != own && *pid > 0)
        .map(|(pid, _)| pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let name = |pid: i32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (pid {pid})", text::tail(comm.as_bytes(), 16))
    };
    pids.into_iter().map(name).collect()
}

/// Who has a lock, on which inode: `1: POSIX  ADVISORY  WRITE 706 fd:01:1180 0 EOF`. One that is waited for says `->`.
fn lock(line: &str) -> Option<(i32, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.get(1) == Some(&"->") {
        return None;
    }
    let inode = words.get(5)?.rsplit(':').next()?;
    Some((words.get(4)?.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_by_its_inode_and_one_that_is_waited_for_is_none() {
        assert_eq!(lock("1: POSIX  ADVISORY  WRITE 706 fd:01:1180 0 EOF"), Some((706, 1180)));
        assert_eq!(lock("1: -> POSIX  ADVISORY  WRITE 707 fd:01:1180 0 EOF"), None);
        assert_eq!(lock(""), None);
    }

    #[test]
    fn a_file_is_told_with_its_owner_its_mode_and_its_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let said = words(&path);
        assert!(said.contains("No such file") && said.contains("its directory: owner "), "{said}");
        std::fs::write(&path, "").unwrap();
        let said = words(&path);
        assert!(said.contains("mode 644") && said.contains("; on /"), "{said}");
    }
}
