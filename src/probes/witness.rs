//! Who a worker is: boot, pid namespace, pid and start. A pid alone is used again; and one of another boot or of
//! another namespace says nothing about the processes that are seen here.

use procfs::process::Process;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// The identity of this process.
///
/// # Errors
/// It cannot be told (no /proc).
pub fn own() -> std::io::Result<String> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let ticks =
        start_of(pid).ok_or_else(|| std::io::Error::other("its start is not to be read"))?;
    Ok(format!("{}:{pid}:{ticks}", place()?))
}

/// What is known here of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is at work, or cannot be seen from here.
    Unknown,
    /// It is gone, and what it has started for a job is about to be.
    Ending,
    /// It is gone, with all that it has started.
    Gone,
}

/// What is known of the worker of this identity. Of one that cannot be seen from here that is nothing.
#[must_use]
pub fn fate(id: &str) -> Fate {
    if !is_over(id) {
        Fate::Unknown
    } else if has_helpers(id) {
        Fate::Ending
    } else {
        Fate::Gone
    }
}

/// Whether it is of this boot and this pid namespace: then its process can be seen from here.
#[must_use]
pub fn is_of_here(id: &str) -> bool {
    place().is_ok_and(|place| id.strip_prefix(&place).is_some_and(|rest| rest.starts_with(':')))
}

fn is_over(id: &str) -> bool {
    let Ok(place) = place() else { return false };
    let Some(rest) = id.strip_prefix(&place).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let mut parts = rest.split(':').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(ticks)), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match test_kill_process(process) {
        Err(Errno::SRCH) => true,
        // a pid that is used again; what cannot be read (hidepid) says nothing
        Ok(()) | Err(_) => start_of(process.as_raw_nonzero().get()).is_some_and(|it| it != ticks),
    }
}

/// Whether a process that a worker has started for a job is still at it: its command line names the worker.
fn has_helpers(id: &str) -> bool {
    let Ok(all) = procfs::process::all_processes() else { return true };
    all.flatten().any(|process| {
        process.cmdline().is_ok_and(|words| words.iter().skip(1).any(|word| word == id))
    })
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The boot and the pid namespace.
fn place() -> std::io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/self/ns/pid")?;
    let namespace: String =
        namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Ok(format!("{}:{namespace}", boot.trim()))
}

/// The start of a process that has not ended, in ticks since boot.
fn start_of(pid: i32) -> Option<u64> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    (stat.state != 'Z').then_some(stat.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_from_here_can_be_gone() {
        let own = own().unwrap();
        assert_eq!(fate(&own), Fate::Unknown);
        let (place, rest) =
            own.rsplit_once(':').map(|(rest, _)| rest.rsplit_once(':').unwrap()).unwrap();
        assert_eq!(fate(&format!("{place}:{rest}:1")), Fate::Gone, "the same pid, another start");
        for unseen in [
            "",
            "x",
            "another-boot:1:2:3",
            &format!("{place}1:{rest}:1"),
            &format!("{place}:{rest}"),
            &format!("{own}:1"),
        ] {
            assert_eq!(fate(unseen), Fate::Unknown, "{unseen}");
        }
    }
}
