//! Who a worker is: boot, pid namespace, pid and start. A pid alone is used again; and one of another boot or of
//! another namespace says nothing about the processes that are seen here.

use procfs::process::Process;

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

/// Whether the process of this identity is known to be gone. One that cannot be seen from here is not.
#[must_use]
pub fn is_gone(id: &str) -> bool {
    let Ok(place) = place() else { return false };
    let Some(rest) = id.strip_prefix(&place).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let mut parts = rest.split(':').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(ticks)), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    i32::try_from(pid).is_ok_and(|pid| start_of(pid) != Some(ticks))
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
        assert!(!is_gone(&own));
        let (place, rest) =
            own.rsplit_once(':').map(|(rest, _)| rest.rsplit_once(':').unwrap()).unwrap();
        assert!(is_gone(&format!("{place}:{rest}:1")), "the same pid, another start");
        for unseen in [
            "",
            "x",
            "another-boot:1:2:3",
            &format!("{place}1:{rest}:1"),
            &format!("{place}:{rest}"),
            &format!("{own}:1"),
        ] {
            assert!(!is_gone(unseen), "{unseen}");
        }
    }
}
