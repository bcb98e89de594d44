//! The command of a job, which is heard while it runs.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Pid;

use super::bare;

/// The command of a job. It is not waited for here: whoever starts it reaps every process that is left of it.
#[derive(Debug)]
pub struct Work {
    /// Its process id, and that of its group.
    pub pid: Pid,
    /// What it writes to its standard output and error, as it comes.
    pub said: OwnedFd,
    /// What it writes to the descriptor that `UNWEDGE_PROGRESS_FD` names.
    pub progress: OwnedFd,
}

/// The variable that names the descriptor for progress.
pub const PROGRESS: &str = "UNWEDGE_PROGRESS_FD";

impl Work {
    /// Starts `argv` in `dir`, in a group of its own, with these variables beside a `PATH`, and UTF-8 unless they say another
    /// locale.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(
        argv: &[PathBuf],
        dir: &Path,
        variables: &[(OsString, OsString)],
        seat: &mut Seat,
    ) -> std::io::Result<Self> {
        let (program, args) = match argv {
            [program, args @ ..] if program.is_absolute() => (program, args),
            [..] => return Err(std::io::Error::other("not an absolute path; not run")),
        };
        let (said, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&said, true)?;
        let (progress, steps) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&progress, true)?;
        let mut command = bare(program.as_os_str());
        command.args(args).current_dir(dir).stdin(Stdio::null());
        // what it says of its storage is to be in the words that are known here
        command.env("LANG", "C.UTF-8").env("LC_MESSAGES", "C");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdout(end.try_clone()?).stderr(end);
        let child =
            seat.with(&steps, |number| command.env(PROGRESS, number.to_string()).spawn())?;
        Ok(Self { pid: Pid::from_child(&child), said, progress })
    }
}

/// The place of that descriptor in whoever starts commands: the same number for each, and taken early the first after the
/// standard streams, as an engine of containers hands on only those that follow them without a gap.
#[derive(Debug)]
pub struct Seat {
    fd: OwnedFd,
    nothing: OwnedFd,
}

impl Seat {
    /// Takes it.
    ///
    /// # Errors
    /// There is no `/dev/null`, or no descriptor left.
    pub fn take() -> std::io::Result<Self> {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null")?);
        let nothing = fd.try_clone()?;
        Ok(Self { fd, nothing })
    }

    /// Whether nothing lies between it and the standard streams.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.fd.as_raw_fd() == 3
    }

    /// Does something while this is in it, and is handed on to whoever is started.
    fn with<T>(
        &mut self,
        it: &OwnedFd,
        deed: impl FnOnce(i32) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        rustix::io::dup2(it, &mut self.fd)?;
        let done = deed(self.fd.as_raw_fd());
        rustix::io::dup3(&self.nothing, &mut self.fd, rustix::io::DupFlags::CLOEXEC)?;
        done
    }
}
