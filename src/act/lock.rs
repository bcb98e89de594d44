//! Locks: flock(2) on files in the run directory, released by the kernel when their holder dies,
//! never inherited by a child. Order: the tool's, then `act.lock`, then the deploy lock.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, open};
use rustix::io::Errno;

use crate::decide::plan::{Hold, Reason};
use crate::sys::clock::{Deadline, pause};
use crate::sys::text;

/// How long another tool's act is waited for.
pub const ACT_LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often a lock is tried while it is waited for.
const RETRY: Duration = Duration::from_millis(50);

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What came of trying for one.
#[derive(Debug)]
pub enum Tried {
    /// It is ours.
    Locked(Lock),
    /// Somebody else has it: an answer, not an error.
    Busy,
}

/// Tries for a tool's own lock.
///
/// # Errors
/// The file cannot be opened or locked at all.
pub fn tool(run_dir: &Path, tool: &str) -> Result<Tried> {
    within(run_dir, tool, Duration::ZERO)
}

/// The same, waiting for it at most so long.
///
/// # Errors
/// The file cannot be opened or locked at all.
pub fn within(run_dir: &Path, tool: &str, wait: Duration) -> Result<Tried> {
    ensure_dir(run_dir)?;
    refuse_where_others_write(run_dir)?;
    let path = run_dir.join(format!("{tool}.lock"));
    let deadline = Deadline::after(wait);
    loop {
        match try_lock(open_own(&path)?, &path, FlockOperation::NonBlockingLockExclusive)? {
            Tried::Busy if !deadline.passed() => pause(RETRY.min(deadline.left())),
            tried => return Ok(tried),
        }
    }
}

/// Waits for the lock under which anything is done to the host and debts are kept.
///
/// # Errors
/// The file cannot be opened or locked at all.
pub fn act(run_dir: &Path) -> Result<Tried> {
    within(run_dir, "act", ACT_LOCK_WAIT)
}

/// Tries for a share of the deploy lock, which keeps deploys out for the whole act. The file is
/// whoever deploys' own: it is made only where there is none, and its mode is left as it is.
///
/// # Errors
/// The file cannot be opened or locked at all.
fn deploy(path: &Path) -> Result<Tried> {
    try_lock(open_deploy(path)?, path, FlockOperation::NonBlockingLockShared)
}

/// The deploy lock, shared, for as long as a tool acts.
///
/// # Errors
/// The hold that says who has it, or why nobody can tell.
pub fn no_deploy(path: &Path) -> std::result::Result<Lock, Hold> {
    let detail = match deploy(path) {
        Ok(Tried::Locked(lock)) => return Ok(lock),
        Ok(Tried::Busy) => "somebody holds the deploy lock".to_owned(),
        Err(error) => format!("cannot tell, so it counts: {error:#}"),
    };
    Err(Hold::gate(Reason::DeployInProgress, detail))
}

fn open_deploy(path: &Path) -> Result<OwnedFd> {
    // whoever may write there may have put something else in its place: none of it is waited for
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        // opened first without making it: root is refused the making of what is somebody else's in
        // a sticky directory (fs.protected_regular)
        Err(Errno::NOENT) => {
            if let Some(dir) = path.parent() {
                ensure_dir(dir)?;
            }
            open(path, flags | OFlags::CREATE, PRIVATE)
        }
        opened => opened,
    };
    let whole = || format!("open lock {}", text::path(path));
    let file = file.with_context(whole)?;
    let mode = fstat(&file).with_context(whole)?.st_mode;
    // whoever deploys waits for a pipe to be opened, and locks nothing
    if FileType::from_raw_mode(mode) == FileType::Fifo {
        bail!("lock {0}: it is a pipe; rm {0}", text::path(path));
    }
    Ok(file)
}

/// Tries for the whole deploy lock, for maintenance by a person: no tool acts meanwhile.
///
/// # Errors
/// The file cannot be opened or locked at all.
pub fn maintenance(path: &Path) -> Result<Tried> {
    try_lock(open_deploy(path)?, path, FlockOperation::NonBlockingLockExclusive)
}

/// Whoever can open a file can lock it: only root can ours.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A lock file of ours, readable by nobody else, also if it was made otherwise before.
fn open_own(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let whole = || format!("open lock {}", text::path(path));
    let file = open(path, flags, PRIVATE).with_context(whole)?;
    fchmod(&file, PRIVATE).with_context(whole)?;
    Ok(file)
}

fn try_lock(file: OwnedFd, path: &Path, how: FlockOperation) -> Result<Tried> {
    match flock(&file, how) {
        Ok(()) => Ok(Tried::Locked(Lock { _file: File::from(file) })),
        Err(Errno::WOULDBLOCK) => Ok(Tried::Busy),
        Err(errno) => Err(errno).with_context(|| format!("lock {}", text::path(path))),
    }
}

/// Where others may write, a lock is anybody's: theirs to hold for ever, and to exchange for another one, so that two
/// rounds are at work.
fn refuse_where_others_write(dir: &Path) -> Result<()> {
    let there = std::fs::metadata(dir).with_context(|| text::path(dir))?;
    let own = rustix::process::geteuid().as_raw();
    if there.uid() != 0 && there.uid() != own {
        bail!("{}: it belongs to uid {}; no lock in it is ours", text::path(dir), there.uid());
    }
    if there.mode() & 0o022 != 0 {
        let mode = there.mode() & 0o7777;
        bail!(
            "{0}: others may write there (mode {mode:04o}); no lock in it is ours; chmod go-w {0}",
            text::path(dir)
        );
    }
    Ok(())
}

fn ensure_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("make directory {}", text::path(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_round_is_told_busy_and_a_dropped_lock_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let first = tool(dir.path(), "mounts").unwrap();
        assert!(matches!(first, Tried::Locked(_)));
        assert!(matches!(tool(dir.path(), "mounts").unwrap(), Tried::Busy));
        drop(first);
        assert!(matches!(tool(dir.path(), "mounts").unwrap(), Tried::Locked(_)));
    }

    #[test]
    fn tools_share_the_deploy_lock_and_a_deploy_shuts_them_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deploy.lock");
        let one = deploy(&path).unwrap();
        assert!(matches!(deploy(&path).unwrap(), Tried::Locked(_)));
        drop(one);
        let deployer = File::open(&path).unwrap();
        deployer.lock().unwrap();
        assert!(matches!(deploy(&path).unwrap(), Tried::Busy));
    }

    #[test]
    fn a_pipe_in_place_of_the_deploy_lock_shuts_tools_out_and_keeps_none_waiting() {
        use rustix::fs::{CWD, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deploy.lock");
        mknodat(CWD, &path, FileType::Fifo, PRIVATE, 0).unwrap();
        let hold = no_deploy(&path).unwrap_err();
        assert_eq!(hold.reason, Reason::DeployInProgress);
        assert!(hold.detail.contains("it is a pipe"), "{}", hold.detail);
        assert!(maintenance(&path).is_err());
        // a directory is locked as well as a file
        assert!(no_deploy(dir.path()).is_ok());
    }

    #[test]
    fn nobody_else_can_open_a_lock_and_so_hold_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mounts.lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let _lock = tool(dir.path(), "mounts").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_in_place_of_a_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join("mounts.lock")).unwrap();
        assert!(tool(dir.path(), "mounts").is_err());
    }
}
