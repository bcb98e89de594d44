//! The fault daemon: a FUSE file system that fails on demand.
//!
//! Tests need mounts that are dead, hung, slow or lying, made the way the world makes them: by
//! their daemon. This one mounts by itself, serves a small writable tree and changes its behaviour
//! when told so on its standard input, one word a line:
//!
//! | word | what callers see |
//! |---|---|
//! | `alive` | right answers, also to the requests swallowed before |
//! | `swallow` | requests are read and never answered: waiters turn unkillable once signalled |
//! | `stop` | requests are not even read: waiters hang, but can be killed |
//! | `slow:250ms` | each answer comes so much later, without holding up the others |
//! | `errno:107`, `errno:5/5` | this error, always or each fifth time, from a living daemon |
//! | `entry:5` | this error for whoever asks for what lies in the mount; the root itself is well |
//! | `flush:5`, `flush-dir:5` | this error for whoever flushes a file, or a directory, to the disk; all else is right |
//! | `exit`, or the input's end | the process ends, the mount stays: dead |
//! | `unmount` | its own mount is detached, then the process ends |
//!
//! `refuse-init` is possible only as the first mode: the mount is there, but was never agreed upon.
//! A mode is answered with `ok` and its name, or with `error` and the reason; what ends the process
//! is answered by its end. INIT itself is answered in any other mode, so that each starts from a
//! mount that works.
//!
//! By hand, as root: `unshare -m --propagation private`, make a directory, start the daemon on it in
//! a terminal and type. Its input is also its life line: with /dev/null as input it ends at once,
//! with a pipe it ends with the test that holds the pipe, and it leaves a dead mount, never a hung one.
//! So no process that may hang on the mount must inherit the writing end (a plain fork would).
//!
//! After a switch to `errno:5/5` the count begins anew. Uncached, stat of the
//! root costs one counted request, statfs one, listing the root five, `cat` of a file in it nine.
//!
//! Teardown, in this order: write 1 to `/sys/fs/fuse/connections/MINOR/abort` (MINOR is the part
//! after the colon in the third field of the mount's line in mountinfo; `mount -t fusectl none
//! /sys/fs/fuse/connections` if it is empty), which frees all waiters; then detach the mount; then
//! wait for processes, with a limit. Never stat, list or open the mount from the harness itself: that
//! request may wait for ever, and a killed waiter whose request was read waits on.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::io::{Write, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::fuse::{self, Answer, Request, op};
use super::tree::Tree;
use crate::sys::clock::boottime;

/// The kernel takes no errno from a daemon beyond this (`fuse_dev_do_write`).
const ERRNO_MAX: i32 = 511;

/// What is served, where and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// An existing directory.
    pub mountpoint: PathBuf,
    /// How it behaves at first.
    pub mode: Mode,
    /// `fuse.` and any name, as mountinfo will show it.
    pub fstype: String,
    /// The source, as mountinfo will show it.
    pub source: String,
    /// User and group of a private mount: only they may look, root may not. `None` is a mount of
    /// root's with `allow_other` and `default_permissions`.
    pub owner: Option<(u32, u32)>,
    /// How long the kernel may trust names and attributes without asking.
    pub cache: Duration,
    /// Where the words that switch it come from.
    pub control: Control,
}

/// Where a daemon takes its orders from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Standard input, answered on standard output; its end is the daemon's end, so that a test that
    /// dies leaves none behind.
    Input,
    /// A FIFO, made if it is not there; nothing is answered.
    Fifo(PathBuf),
    /// Nowhere.
    Deaf,
}

impl Options {
    /// A mount of root's that is alive and caches nothing.
    pub fn new(mountpoint: impl Into<PathBuf>) -> Self {
        Self {
            mountpoint: mountpoint.into(),
            mode: Mode::Alive,
            fstype: "fuse.faultfs".to_owned(),
            source: "faultfs".to_owned(),
            owner: None,
            cache: Duration::ZERO,
            control: Control::Input,
        }
    }
}

/// How the daemon behaves. The text form is that of the command language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answers everything, and what was swallowed before.
    Alive,
    /// Reads requests, never answers them.
    Swallow,
    /// Does not read requests, keeps the device open.
    Stop,
    /// Answers this much later; told in whole milliseconds.
    Slow(Duration),
    /// Fails each `every`-th request whose failure somebody sees (all but the releases).
    Errno {
        /// A positive error number.
        errno: i32,
        /// 1 is always.
        every: u32,
    },
    /// Fails whoever asks for what lies in it, by this positive error number; the root is well.
    Entry(i32),
    /// Fails whoever flushes something to the disk.
    Flush {
        /// A positive error number.
        errno: i32,
        /// A directory; else a file.
        is_dir: bool,
    },
    /// Refuses the kernel's INIT.
    RefuseInit,
}

/// An error number that the kernel takes from a daemon.
fn errno_of(text: &str) -> Result<i32> {
    let errno = text.parse().with_context(|| format!("error number {text:?}"))?;
    ensure!((1..=ERRNO_MAX).contains(&errno), "error number {errno} is not in 1..={ERRNO_MAX}");
    Ok(errno)
}

impl FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None => match text {
                "alive" => Ok(Self::Alive),
                "swallow" => Ok(Self::Swallow),
                "stop" => Ok(Self::Stop),
                "refuse-init" => Ok(Self::RefuseInit),
                _ => bail!("unknown mode {text:?}"),
            },
            Some(("slow", delay)) => {
                let (number, unit_ms) = match delay.strip_suffix("ms") {
                    Some(number) => (number, 1),
                    None => (delay.strip_suffix('s').context("a delay ends in ms or s")?, 1000),
                };
                let number: u32 = number.parse().with_context(|| format!("delay {delay:?}"))?;
                Ok(Self::Slow(Duration::from_millis(u64::from(number) * unit_ms)))
            }
            Some(("errno", rule)) => {
                let (errno, every) = rule.split_once('/').unwrap_or((rule, "1"));
                let errno = errno_of(errno)?;
                let every = every.parse().with_context(|| format!("rhythm {every:?}"))?;
                ensure!(every > 0, "every 0th request is none");
                Ok(Self::Errno { errno, every })
            }
            Some(("entry", errno)) => Ok(Self::Entry(errno_of(errno)?)),
            Some((what @ ("flush" | "flush-dir"), errno)) => {
                Ok(Self::Flush { errno: errno_of(errno)?, is_dir: what == "flush-dir" })
            }
            Some(_) => bail!("unknown mode {text:?}"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Swallow => f.write_str("swallow"),
            Self::Stop => f.write_str("stop"),
            Self::Slow(delay) => write!(f, "slow:{}ms", delay.as_millis()),
            Self::Errno { errno, every: 1 } => write!(f, "errno:{errno}"),
            Self::Errno { errno, every } => write!(f, "errno:{errno}/{every}"),
            Self::Entry(errno) => write!(f, "entry:{errno}"),
            Self::Flush { errno, is_dir: false } => write!(f, "flush:{errno}"),
            Self::Flush { errno, is_dir: true } => write!(f, "flush-dir:{errno}"),
            Self::RefuseInit => f.write_str("refuse-init"),
        }
    }
}

/// Why the daemon ended. Its device is closed by then, so the mount, if it is still there, is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The word `exit`.
    Asked,
    /// The input ended; the test is gone.
    InputClosed,
    /// The word `unmount`.
    Detached,
    /// The connection was aborted through fusectl.
    Aborted,
    /// The last mount went away, or was unmounted by force. After a refused INIT an abort looks the same.
    Unmounted,
}

/// Mounts, serves and fails as told, until one of the [`ExitReason`]s.
///
/// It takes the standard input and output of the process for itself, and prints `ready` once the
/// kernel's INIT was answered (or refused).
pub fn run(options: &Options) -> Result<ExitReason> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let device = rustix::fs::open("/dev/fuse", flags, rustix::fs::Mode::empty())
        .context("open /dev/fuse")?;
    attach(options, &device)?;
    let daemon = Daemon {
        options,
        input: input(&options.control)?,
        device,
        tree: Tree::new(options.owner.unwrap_or((0, 0)), options.cache),
        mode: options.mode,
        agreed: false,
        counted: 0,
        swallowed: Vec::new(),
        delayed: BTreeMap::new(),
        typed: Vec::new(),
    };
    daemon.serve()
}

/// Mounts without serving: while what is returned lives nobody answers, and without it the mount is dead.
///
/// # Errors
/// It could not be mounted.
pub fn mounted(mountpoint: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let device = rustix::fs::open("/dev/fuse", flags, rustix::fs::Mode::empty())
        .context("open /dev/fuse")?;
    attach(&Options::new(mountpoint), &device)?;
    Ok(device)
}

fn attach(options: &Options, device: &OwnedFd) -> Result<()> {
    let (uid, gid) = options.owner.unwrap_or((0, 0));
    let open_to_all = if options.owner.is_none() { ",allow_other,default_permissions" } else { "" };
    let fd = device.as_raw_fd();
    let data =
        CString::new(format!("fd={fd},rootmode=40000,user_id={uid},group_id={gid}{open_to_all}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(
        options.source.as_str(),
        &options.mountpoint,
        options.fstype.as_str(),
        flags,
        data.as_c_str(),
    )
    .with_context(|| format!("mount {} on {}", options.fstype, options.mountpoint.display()))
}

/// The descriptor that the daemon listens to. One that is opened for writing too never ends.
fn input(control: &Control) -> Result<OwnedFd> {
    use rustix::fs::{CWD, FileType, Mode, mknodat, open};
    let endless = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match control {
        Control::Input => stdin().as_fd().try_clone_to_owned().context("keep standard input"),
        Control::Fifo(path) => {
            match mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(errno).with_context(|| format!("make {}", path.display()));
                }
            }
            open(path, endless, Mode::empty()).with_context(|| format!("open {}", path.display()))
        }
        // nothing ever becomes readable on an event descriptor that nobody writes to
        Control::Deaf => {
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).context("eventfd")
        }
    }
}

struct Daemon<'a> {
    options: &'a Options,
    input: OwnedFd,
    device: OwnedFd,
    tree: Tree,
    mode: Mode,
    /// Whether INIT was answered, well or badly.
    agreed: bool,
    /// Requests that counted for [`Mode::Errno`] since that mode began.
    counted: u32,
    /// Requests read and not answered, in their order.
    swallowed: Vec<Vec<u8>>,
    /// Requests to be answered later, by time and number.
    delayed: BTreeMap<(Duration, u64), Vec<u8>>,
    /// Input that is not yet a line.
    typed: Vec<u8>,
}

impl Daemon<'_> {
    fn serve(mut self) -> Result<ExitReason> {
        loop {
            let (device_stirred, input_stirred) = self.wait()?;
            if input_stirred {
                if let Some(reason) = self.listen()? {
                    return Ok(reason);
                }
                // The mode may be another now: whether to read a request is asked anew.
                continue;
            }
            self.answer_delayed()?;
            if device_stirred && let Some(reason) = self.take_request()? {
                return Ok(reason);
            }
        }
    }

    /// Waits for a request, a line, or the time of the next late answer. A stopped daemon asks for no
    /// requests, but poll always tells of an error, which is the connection's end.
    fn wait(&self) -> Result<(bool, bool)> {
        let wanted =
            if self.agreed && self.mode == Mode::Stop { PollFlags::empty() } else { PollFlags::IN };
        let timeout = match self.delayed.first_key_value() {
            Some(((due, _), _)) if !self.silent() => {
                Some(Timespec::try_from(due.saturating_sub(boottime()))?)
            }
            _ => None,
        };
        let mut fds = [PollFd::new(&self.device, wanted), PollFd::new(&self.input, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
            Err(Errno::INTR) => Ok((false, false)),
            Err(errno) => Err(errno).context("poll"),
        }
    }

    fn listen(&mut self) -> Result<Option<ExitReason>> {
        let mut chunk = [0; 4096];
        let len = match rustix::io::read(&self.input, &mut chunk) {
            Ok(0) => return Ok(Some(ExitReason::InputClosed)),
            Ok(len) => len,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno).context("read standard input"),
        };
        self.typed.extend(&chunk[..len]);
        while let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.typed.drain(..=end).collect();
            if let Some(reason) = self.obey(String::from_utf8_lossy(&line).trim())? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    fn obey(&mut self, word: &str) -> Result<Option<ExitReason>> {
        match word {
            "exit" => return Ok(Some(ExitReason::Asked)),
            "unmount" => {
                // Detaching asks the daemon nothing, so the daemon may do it itself.
                match unmount(
                    &self.options.mountpoint,
                    UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
                ) {
                    Ok(()) => return Ok(Some(ExitReason::Detached)),
                    Err(errno) => self.acknowledge(&format!("error unmount: {errno}"))?,
                }
            }
            _ => match word.parse() {
                Ok(Mode::RefuseInit) => {
                    self.acknowledge("error refuse-init is possible only at the start")?;
                }
                Ok(mode) => {
                    self.switch(mode)?;
                    self.acknowledge(&format!("ok {mode}"))?;
                }
                Err(error) => self.acknowledge(&format!("error {error:#}"))?,
            },
        }
        Ok(None)
    }

    fn switch(&mut self, mode: Mode) -> Result<()> {
        self.mode = mode;
        self.counted = 0;
        if mode == Mode::Alive {
            for request in std::mem::take(&mut self.swallowed) {
                self.answer(&request)?;
            }
        }
        Ok(())
    }

    /// Reads one request, or learns that the connection is over.
    fn take_request(&mut self) -> Result<Option<ExitReason>> {
        let mut bytes = vec![0; fuse::REQUEST_BYTES_MAX];
        match rustix::io::read(&self.device, &mut bytes) {
            Ok(len) => bytes.truncate(len),
            // ENOENT: the caller gave up before the request was read.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => return Ok(None),
            Err(Errno::NODEV) => return Ok(Some(ExitReason::Unmounted)),
            Err(Errno::CONNABORTED) => return Ok(Some(ExitReason::Aborted)),
            Err(errno) => return Err(errno).context("read /dev/fuse"),
        }
        self.dispatch(bytes)?;
        Ok(None)
    }

    fn dispatch(&mut self, bytes: Vec<u8>) -> Result<()> {
        let request = Request::parse(&bytes).context("request from the kernel")?;
        match request.opcode {
            op::INIT => return self.agree(&request),
            op::FORGET | op::BATCH_FORGET => {
                return self.tree.forget(&request).context("forget from the kernel");
            }
            // Has no answer of its own; the request it is about is answered, or not, by the mode.
            op::INTERRUPT => return Ok(()),
            _ => {}
        }
        match self.mode {
            Mode::Alive | Mode::RefuseInit => self.answer(&bytes)?,
            Mode::Swallow | Mode::Stop => self.swallowed.push(bytes),
            Mode::Slow(delay) => {
                let key = (boottime() + delay, request.unique);
                self.delayed.insert(key, bytes);
            }
            Mode::Entry(errno) => {
                if request.opcode == op::LOOKUP || request.node != fuse::ROOT {
                    self.reply(request.unique, &Err(Errno::from_raw_os_error(errno)))?;
                } else {
                    self.answer(&bytes)?;
                }
            }
            Mode::Flush { errno, is_dir } => {
                let flush = if is_dir { op::FSYNCDIR } else { op::FSYNC };
                if request.opcode == flush {
                    self.reply(request.unique, &Err(Errno::from_raw_os_error(errno)))?;
                } else {
                    self.answer(&bytes)?;
                }
            }
            Mode::Errno { errno, every } => {
                let seen = !matches!(request.opcode, op::RELEASE | op::RELEASEDIR);
                self.counted = self.counted.wrapping_add(u32::from(seen));
                if seen && self.counted.is_multiple_of(every) {
                    self.reply(request.unique, &Err(Errno::from_raw_os_error(errno)))?;
                } else {
                    self.answer(&bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The kernel's INIT, the first request of all. An abort is to be told from an unmount; no other
    /// feature is wanted.
    fn agree(&mut self, request: &Request) -> Result<()> {
        let outcome = match self.mode {
            Mode::RefuseInit => Err(Errno::PROTO),
            _ => fuse::init(request.fields, fuse::ABORT_ERROR),
        };
        self.reply(request.unique, &outcome)?;
        self.agreed = true;
        say("ready")
    }

    /// Answers a word, to whoever is there to read it.
    fn acknowledge(&self, line: &str) -> Result<()> {
        match self.options.control {
            Control::Input => say(line),
            Control::Fifo(_) | Control::Deaf => Ok(()),
        }
    }

    fn silent(&self) -> bool {
        matches!(self.mode, Mode::Swallow | Mode::Stop)
    }

    fn answer_delayed(&mut self) -> Result<()> {
        let now = boottime();
        while !self.silent()
            && let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let request = entry.remove();
            self.answer(&request)?;
        }
        Ok(())
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<()> {
        let request = Request::parse(bytes).context("request from the kernel")?;
        let outcome = self.tree.answer(&request);
        self.reply(request.unique, &outcome)
    }

    /// Nobody waiting any more (ENOENT), or no connection any more, is no error: the next read tells.
    fn reply(&self, unique: u64, outcome: &Result<Answer, Errno>) -> Result<()> {
        let message = fuse::reply(unique, outcome);
        match rustix::io::write(&self.device, &message) {
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("answer request {unique}")),
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut output = stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("write standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, mode: Mode) {
        assert_eq!(text.parse::<Mode>().ok(), Some(mode));
        assert_eq!(mode.to_string().parse::<Mode>().ok(), Some(mode));
    }

    #[test]
    fn modes_are_read_as_they_are_written() {
        check("alive", Mode::Alive);
        check("swallow", Mode::Swallow);
        check("stop", Mode::Stop);
        check("refuse-init", Mode::RefuseInit);
        check("slow:250ms", Mode::Slow(Duration::from_millis(250)));
        check("slow:2s", Mode::Slow(Duration::from_secs(2)));
        check("errno:107", Mode::Errno { errno: 107, every: 1 });
        check("errno:5/5", Mode::Errno { errno: 5, every: 5 });
        check("errno:511/1", Mode::Errno { errno: 511, every: 1 });
        check("entry:5", Mode::Entry(5));
        check("flush:5", Mode::Flush { errno: 5, is_dir: false });
        check("flush-dir:28", Mode::Flush { errno: 28, is_dir: true });
        assert_eq!(Mode::Errno { errno: 107, every: 1 }.to_string(), "errno:107");
        assert_eq!(Mode::Slow(Duration::from_millis(250)).to_string(), "slow:250ms");
    }

    #[test]
    fn nonsense_is_no_mode() {
        for text in [
            "",
            "Alive",
            "alive ",
            "alive:",
            "slow",
            "slow:",
            "slow:5",
            "slow:-1ms",
            "slow:1.5s",
            "errno",
            "errno:0",
            "errno:-5",
            "errno:512",
            "errno:EIO",
            "errno:5/0",
            "errno:5/",
            "errno:5/5/5",
            "stop:1",
        ] {
            assert!(text.parse::<Mode>().is_err(), "{text:?}");
        }
    }
}
