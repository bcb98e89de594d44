//! Talking to the service manager that started us: `sd_notify(3)` is a datagram to the socket named
//! in the environment, and a stop is a signal. Nothing here is needed where there is no manager.
//!
//! Children never see these variables: they get a clean environment.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long the manager may take to take a message; the next one tells the same.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// The manager, if there is one that wants to be told.
#[derive(Debug)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    ping_every: Option<Duration>,
}

impl Manager {
    /// As the environment names it.
    ///
    /// # Errors
    /// There is a socket in the environment and it cannot be used: nobody would hear that we are up.
    pub fn from_environment() -> std::io::Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let socket = match variable("NOTIFY_SOCKET") {
            None => None,
            Some(name) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(SEND_LIMIT))?;
                Some((socket, address(&name)?))
            }
        };
        let number = |name| variable(name).and_then(|value| value.to_str()?.parse::<u64>().ok());
        // set for a parent of ours, it is not meant for us
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let ping_every = number("WATCHDOG_USEC").filter(|us| ours && *us > 0);
        let ping_every = ping_every.map(|us| Duration::from_micros(us / 2));
        Ok(Self { socket, ping_every })
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// How often the manager wants a sign of life: half of what it allows.
    #[must_use]
    pub fn ping_every(&self) -> Option<Duration> {
        self.ping_every
    }

    /// Tells it `state`: `READY=1`, `WATCHDOG=1`, `STATUS=…`. What does not arrive is told again with
    /// the next sign of life, or missed by the manager, which is what that is for.
    pub fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// A path, or with `@` in front a name without a file.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

/// A socket that becomes readable when somebody wants this program to end.
///
/// # Errors
/// Signals cannot be listened to.
pub fn stop() -> std::io::Result<UnixStream> {
    on(&[SIGTERM, SIGINT])
}

/// The same for a program at a terminal: it ends when that is hung up, too.
///
/// # Errors
/// Signals cannot be listened to.
pub fn stop_or_hang_up() -> std::io::Result<UnixStream> {
    on(&[SIGTERM, SIGINT, SIGHUP])
}

/// A socket that tells of every hang-up: a byte each.
///
/// # Errors
/// Signals cannot be listened to.
pub fn hang_up() -> std::io::Result<UnixStream> {
    on(&[SIGHUP])
}

fn on(signals: &[i32]) -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in signals.iter().copied() {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &SocketAddr) -> String {
        let listener = UnixDatagram::bind_addr(address).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        let manager = Manager { socket: Some((socket, address.clone())), ping_every: None };
        manager.tell("READY=1");
        let mut said = [0; 64];
        let length = listener.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    }

    #[test]
    fn a_socket_with_a_file_and_one_without_are_both_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        assert_eq!(told(&address(path.as_os_str()).unwrap()), "READY=1");
        let name = format!("@unwedge-{}", std::process::id());
        assert_eq!(told(&address(OsStr::new(&name)).unwrap()), "READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let gone = address(dir.path().join("none").as_os_str()).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        Manager { socket: Some((socket, gone)), ping_every: None }.tell("WATCHDOG=1");
    }
}
