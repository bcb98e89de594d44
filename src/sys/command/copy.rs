//! Copies of this very program: one that looks at something which may never answer, and is left alone if it does not, and
//! one that is told what to do. And what is to go on when this one ends.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{bare, clean, end_group, pull, readable, timespec, wait_any};
use crate::sys::clock::{Deadline, boottime};

/// This program's own file, for starting copies of it: `/proc/self/exe` stays right when the file
/// is replaced by an upgrade in the middle of a round.
fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Longest answer of a child, bytes: a directory of a million names.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A copy of this program at work on something that may never answer.
///
/// It is found again by its name in the process table, not by us; dropping this leaves it be.
#[derive(Debug)]
pub struct Spawned {
    /// Its process id.
    pub pid: Pid,
    /// When it was started, in boot time.
    pub started: Duration,
    pidfd: Option<OwnedFd>,
    child: Child,
}

impl Spawned {
    /// Starts this program with `args`, its answer to be read from a pipe.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(args: &[OsString]) -> std::io::Result<Self> {
        let mut child = clean(own_program().as_os_str())
            .arg0("unwedge-child")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = Pid::from_child(&child);
        if let Some(stdout) = &child.stdout {
            rustix::io::ioctl_fionbio(stdout, true)?;
        }
        // without a pidfd (the caller ignores SIGCHLD and the child is gone already) it has ended
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        let _ = child.stdin.take();
        Ok(Self { pid, started: boottime(), pidfd, child })
    }

    /// All that it says until it ends, taken in as it comes; none where it does not end within `limit`, and then it is left
    /// to itself.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Option<Vec<u8>> {
        let deadline = Deadline::after(limit);
        let out: OwnedFd = self.child.stdout.take()?.into();
        let mut said = Vec::new();
        // non-blocking since the start
        while pull(&out, &mut said) {
            if deadline.passed() || said.len() > ANSWER_BYTES_MAX {
                return None;
            }
            let _ = wait_any(&[&out], deadline.left());
        }
        self.ends_within(deadline.left()).then_some(said)
    }

    /// The descriptor that becomes readable when it ends; `None` when it has.
    #[must_use]
    pub fn pidfd(&self) -> Option<&OwnedFd> {
        self.pidfd.as_ref()
    }

    /// Whether it ends within `limit`.
    #[must_use]
    pub fn ends_within(&self, limit: Duration) -> bool {
        self.pidfd.as_ref().is_none_or(|pidfd| readable(pidfd, limit))
    }

    /// The first line it writes, if one comes within `limit`.
    #[must_use]
    pub fn first_line(&mut self, limit: Duration) -> Option<String> {
        let deadline = Deadline::after(limit);
        let mut line = Vec::new();
        let stdout = self.child.stdout.as_ref()?;
        loop {
            let open = pull(stdout, &mut line);
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !open || deadline.passed() {
                return None;
            }
            let mut fds = [PollFd::new(stdout, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(deadline.left())));
        }
    }

    /// What it wrote, once it has ended. Through the pipe and not the exit code, because a caller
    /// that ignores SIGCHLD leaves no exit code to be read.
    #[must_use]
    pub fn answer(mut self) -> Vec<u8> {
        let mut answer = Vec::new();
        if let Some(stdout) = &mut self.child.stdout {
            // non-blocking: whatever is there is all there will be
            let _ = stdout.read_to_end(&mut answer);
        }
        let _ = self.child.try_wait();
        answer
    }

    /// Kills it and gives it a moment; for children that sit on no FUSE mount (one that does
    /// becomes unkillable by it, and counts in the load).
    pub fn kill(mut self) {
        end_group(&mut self.child, self.pid);
    }
}

/// A copy of this program that is told what to do, and tells what came of it, line by line.
#[derive(Debug)]
pub struct Helper {
    /// Its process id.
    pub pid: Pid,
    /// What it is told; its end is the end of the helper.
    pub input: ChildStdin,
    /// What it tells.
    pub output: ChildStdout,
    child: Child,
}

impl Helper {
    /// Starts this program with `args`. What goes wrong with it is said where this one says it.
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(args: &[OsString]) -> std::io::Result<Self> {
        let mut child = bare(own_program().as_os_str())
            .arg0("unwedge-helper")
            .args(args)
            .envs(std::env::vars_os())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let pid = Pid::from_child(&child);
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { pid, input, output, child }),
            _ => Err(std::io::Error::other("no pipes")),
        }
    }

    /// Takes it apart: what it is told by, what it tells, and the process itself.
    #[must_use]
    pub fn split(self) -> (ChildStdin, ChildStdout, Ending) {
        (self.input, self.output, Ending { pid: self.pid, child: self.child })
    }
}

/// Starts a program that stays when this one ends: in a group of its own, and what it says goes into `log`.
///
/// # Errors
/// It could not be started.
pub fn start_detached(argv: &[OsString], log: std::fs::File) -> std::io::Result<Ending> {
    let Some((program, args)) = argv.split_first() else {
        return Err(std::io::Error::other("no program"));
    };
    let child = bare(program)
        .args(args)
        .envs(std::env::vars_os())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Ending { pid: Pid::from_child(&child), child })
}

/// A process that is to end.
#[derive(Debug)]
pub struct Ending {
    /// Its process id.
    pub pid: Pid,
    child: Child,
}

impl Ending {
    /// Whether it ends within `limit`; then it is gone from the process table too.
    pub fn within(&mut self, limit: Duration) -> bool {
        let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return !matches!(self.child.try_wait(), Ok(None));
        };
        readable(&pidfd, limit) && !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with its group.
    pub fn kill(&mut self) {
        end_group(&mut self.child, self.pid);
    }
}
