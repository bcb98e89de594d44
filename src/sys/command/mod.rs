//! The only place that starts a process. Every child has a process group of its own, and none is ever waited for without a
//! limit. There is no shell anywhere.
//!
//! - [`run`] and [`run_with`]: a command, by its absolute path and in a clean environment, whose answer is awaited.
//! - [`Spawned`]: a copy of this program, in a clean environment too, that looks at something which may never answer, and
//!   which is left alone if it does not.
//! - [`Helper`]: a copy of this program that is told what to do; [`start_detached`]: a program that goes on when this one
//!   ends. Both have the environment of this one.
//! - [`Work`]: the command of a job, with the variables that its job has.
//! - [`become_program`]: takes the place of this one.

mod copy;
mod job;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

pub use self::copy::{Ending, Helper, Spawned, start_detached};
pub use self::job::{PROGRESS, Seat, Work};
use super::clock::Deadline;
use super::text;

/// How much of what a command printed is kept for its caller, bytes; more is a failure, because a
/// cut answer must not be read as a whole one.
const STDOUT_BYTES_MAX: usize = 1 << 20;
/// How much of the end of its complaints is kept, bytes.
const STDERR_TAIL_BYTES: usize = 1024;
/// How long a killed child is waited for before it is left behind.
const KILL_GRACE: Duration = Duration::from_millis(300);

/// What a command came to within its limit.
#[derive(Debug)]
pub struct Finished {
    /// Exit code, or 128 + the signal that ended it.
    pub code: i32,
    /// All it printed.
    pub stdout: Vec<u8>,
    /// The end of what it said on stderr, as one line.
    pub stderr: String,
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The program's path is relative: it could be anybody's.
    #[error("{0}: not an absolute path; not run")]
    NotAbsolute(String),
    /// It could not be started.
    #[error("start {program}: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        error: std::io::Error,
    },
    /// It did not end in time and was killed with its process group.
    #[error("{program}: no end within {}, killed{}", text::duration(*limit), said(stderr))]
    TimedOut {
        /// The program.
        program: String,
        /// The limit it had.
        limit: Duration,
        /// The end of its stderr.
        stderr: String,
    },
    /// It printed more than is kept.
    #[error("{0}: printed more than {STDOUT_BYTES_MAX} bytes; its answer is not used")]
    TooMuch(String),
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

impl Finished {
    /// Whether it ended with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// `exit 1; it said: …`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("exit {}{}", self.code, said(&self.stderr))
    }
}

/// Runs `argv` and waits for its end, at most until `limit` has passed.
///
/// A daemon that the command leaves in the background lives on; it should have let go of its
/// standard streams, because the pipes close when this returns.
///
/// # Errors
/// See [`Failure`].
pub fn run(argv: &[OsString], limit: Duration) -> Result<Finished, Failure> {
    run_with(argv, &[], limit)
}

/// As [`run`], with these variables beside the clean environment's own.
///
/// # Errors
/// See [`Failure`].
pub fn run_with(
    argv: &[OsString],
    variables: &[(OsString, OsString)],
    limit: Duration,
) -> Result<Finished, Failure> {
    let deadline = Deadline::after(limit);
    let (program, args) = match argv {
        [program, args @ ..] if Path::new(program).is_absolute() => (program, args),
        [program, ..] => return Err(Failure::NotAbsolute(text::name(program))),
        [] => return Err(Failure::NotAbsolute("(empty)".to_owned())),
    };
    let shown = text::name(program);
    let start = |error| Failure::Start { program: shown.clone(), error };
    let mut command = clean(program);
    command
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (mut child, _waited_for) = WaitedFor::start(&mut command).map_err(start)?;
    let pid = Pid::from_child(&child);
    let mut streams = Streams::of(&mut child);
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .map_err(std::io::Error::from)
        .and_then(|pidfd| streams.drain_until_end(&pidfd, deadline));
    match ended {
        Ok(true) => {}
        Ok(false) => {
            end_group(&mut child, pid);
            return Err(Failure::TimedOut { program: shown, limit, stderr: streams.stderr_tail() });
        }
        Err(error) => {
            end_group(&mut child, pid);
            return Err(start(error));
        }
    }
    if streams.overflow {
        return Err(Failure::TooMuch(shown));
    }
    let stderr = streams.stderr_tail();
    let code = child.try_wait().ok().flatten().map_or(-1, |status| {
        use std::os::unix::process::ExitStatusExt as _;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    });
    Ok(Finished { code, stdout: streams.out, stderr })
}

/// The commands of [`run`] that are at work, and how many are being started: a program may lie on storage that hangs.
static WAITED_FOR: Mutex<(BTreeSet<i32>, usize)> = Mutex::new((BTreeSet::new(), 0));

fn all_waited_for() -> MutexGuard<'static, (BTreeSet<i32>, usize)> {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The children of this process that a caller of [`run`] waits for: whoever looks after all others leaves them alone. Of those
/// that were there when it looked for children, none is missing. None where one is being started, whose number nobody
/// knows yet.
#[must_use]
pub fn waited_for() -> Option<BTreeSet<i32>> {
    let all = all_waited_for();
    (all.1 == 0).then(|| all.0.clone())
}

struct WaitedFor(i32);

impl WaitedFor {
    fn start(command: &mut Command) -> std::io::Result<(Child, Self)> {
        all_waited_for().1 += 1;
        let child = command.spawn();
        let mut all = all_waited_for();
        all.1 -= 1;
        let child = child?;
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        all.0.insert(pid);
        Ok((child, Self(pid)))
    }
}

impl Drop for WaitedFor {
    fn drop(&mut self) {
        all_waited_for().0.remove(&self.0);
    }
}

/// `/usr/bin/systemctl` and friends are asked in English and without colour.
fn clean(program: &OsStr) -> Command {
    let mut command = bare(program);
    command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
    command
}

/// Nothing of our own environment goes along.
#[expect(clippy::disallowed_methods, reason = "this is the one module that starts processes")]
fn bare(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .process_group(0);
    command
}

/// Kills a child that is ours with its group and gives it a moment; never waits for ever.
fn end_group(child: &mut Child, pid: Pid) {
    let _ = kill_process_group(pid, Signal::KILL);
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        let _ = readable(&pidfd, KILL_GRACE);
    }
    let _ = child.try_wait();
}

/// The two pipes of a running command.
struct Streams {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    out: Vec<u8>,
    err: Vec<u8>,
    overflow: bool,
}

impl Streams {
    fn of(child: &mut Child) -> Self {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let fds = [stdout.as_ref().map(|s| s.as_fd()), stderr.as_ref().map(|s| s.as_fd())];
        for fd in fds.into_iter().flatten() {
            // a pipe whose mode cannot be set would only make a read wait for its writer
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        Self { stdout, stderr, out: Vec::new(), err: Vec::new(), overflow: false }
    }

    /// Keeps the pipes empty until the child has ended; `false` when the deadline came first.
    fn drain_until_end(&mut self, pidfd: &OwnedFd, deadline: Deadline) -> std::io::Result<bool> {
        loop {
            let left = deadline.left();
            let ended = {
                let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
                if let Some(stdout) = &self.stdout {
                    fds.push(PollFd::new(stdout, PollFlags::IN));
                }
                if let Some(stderr) = &self.stderr {
                    fds.push(PollFd::new(stderr, PollFlags::IN));
                }
                match poll(&mut fds, Some(&timespec(left))) {
                    Ok(0) => return Ok(false),
                    Ok(_) => !fds[0].revents().is_empty(),
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            self.read();
            if ended {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Takes what is in the pipes now; a pipe that ended is put away.
    fn read(&mut self) {
        if let Some(stdout) = &self.stdout
            && !pull(stdout, &mut self.out)
        {
            self.stdout = None;
        }
        if let Some(stderr) = &self.stderr
            && !pull(stderr, &mut self.err)
        {
            self.stderr = None;
        }
        if self.out.len() > STDOUT_BYTES_MAX {
            self.overflow = true;
            self.out.clear();
        }
        if self.err.len() > 2 * STDERR_TAIL_BYTES {
            self.err.drain(..self.err.len() - STDERR_TAIL_BYTES);
        }
    }

    fn stderr_tail(&self) -> String {
        text::tail(&self.err, STDERR_TAIL_BYTES)
    }
}

/// Reads what has been written so far into `into`; `false` once nobody can write any more, or on an error. It waits unless `from` is
/// non-blocking.
pub fn pull(from: impl AsFd, into: &mut Vec<u8>) -> bool {
    /// A whole pipe (64 KiB) and then some; a faster writer is read on at the next poll.
    const READS_MAX: usize = 32;
    let mut buffer = [0; 4096];
    for _ in 0..READS_MAX {
        match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => into.extend_from_slice(&buffer[..length]),
            Err(error) => return error == Errno::AGAIN || error == Errno::INTR,
        }
    }
    true
}

/// Becomes the program of `argv`, in the terminal and with the environment this one was started in.
/// Returns only if that fails.
#[expect(clippy::disallowed_methods, reason = "this is the one module that starts processes")]
#[must_use]
pub fn become_program(argv: &[OsString]) -> std::io::Error {
    match argv {
        [program, args @ ..] if Path::new(program).is_absolute() => {
            Command::new(program).args(args).exec()
        }
        [..] => std::io::Error::other("not an absolute path; not run"),
    }
}

/// Waits until one of `fds` is readable or the time is over; the indices of those that are.
#[must_use]
pub fn wait_any(fds: &[&OwnedFd], limit: Duration) -> Vec<usize> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timespec(limit))) {
        Ok(_) => polled
            .iter()
            .enumerate()
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(index, _)| index)
            .collect(),
        // a signal or lack of memory: the caller's deadline bounds its next try
        Err(_) => Vec::new(),
    }
}

fn readable(fd: &OwnedFd, limit: Duration) -> bool {
    let deadline = Deadline::after(limit);
    loop {
        if !wait_any(&[fd], deadline.left()).is_empty() {
            return true;
        }
        if deadline.passed() {
            return false;
        }
    }
}

/// A length of time as poll(2) takes it.
#[must_use]
pub fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::boottime;

    fn argv(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_relative_program_is_never_run() {
        let failed = run(&argv(&["true"]), Duration::from_secs(1)).unwrap_err();
        assert_eq!(failed.to_string(), "true: not an absolute path; not run");
    }

    #[test]
    fn the_exit_code_and_both_streams_come_back() {
        let script = "echo out; echo err >&2; exit 3";
        let done = run(&argv(&["/bin/sh", "-c", script]), Duration::from_secs(10)).unwrap();
        assert_eq!((done.code, done.stdout.as_slice()), (3, b"out\n".as_slice()));
        assert_eq!(done.describe(), "exit 3; it said: err");
    }

    #[test]
    fn nothing_of_our_environment_goes_along() {
        let done = run(&argv(&["/usr/bin/env"]), Duration::from_secs(10)).unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(
            text.lines().all(|l| ["PATH=", "LC_ALL=C", "SYSTEMD_COLORS=0", "PWD=/"]
                .iter()
                .any(|known| l.starts_with(known))),
            "{text}"
        );
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_at_its_limit_with_its_children() {
        let before = boottime();
        let script = "echo waiting >&2; sleep 1000 & wait";
        let failed =
            run(&argv(&["/bin/sh", "-c", script]), Duration::from_millis(300)).unwrap_err();
        assert!(matches!(&failed, Failure::TimedOut { stderr, .. } if stderr == "waiting"));
        assert!(boottime().checked_sub(before).unwrap() < Duration::from_secs(5));
    }

    #[test]
    fn a_child_in_the_background_does_not_keep_us_waiting() {
        let done = run(&argv(&["/bin/sh", "-c", "sleep 4 & exit 0"]), Duration::from_secs(3));
        assert!(done.unwrap().ok());
    }

    #[test]
    fn an_answer_that_is_too_long_is_no_answer() {
        let script = "head -c 2000000 /dev/zero";
        let failed = run(&argv(&["/bin/sh", "-c", script]), Duration::from_secs(10)).unwrap_err();
        assert!(matches!(failed, Failure::TooMuch(_)));
    }
}
