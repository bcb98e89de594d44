//! A fault daemon at the end of two pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A FUSE file system that does as it is told. Dropping it ends its daemon, which leaves a dead mount,
/// never a hung one.
pub struct Fault {
    pub path: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Fault {
    /// Mounts one at `path` with these flags of `unwedge faultfs`.
    #[allow(clippy::disallowed_methods)]
    pub fn mount(path: &Path, flags: &[&str]) -> Self {
        // where a mount is dead already, even this look fails; the directory is there then
        let _ = std::fs::create_dir_all(path);
        let mut child = Command::new(env!("CARGO_BIN_EXE_unwedge"))
            .arg("faultfs")
            .args(flags)
            .arg("--")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut fault = Self { path: path.to_path_buf(), child, stdin, stdout };
        assert_eq!(fault.line(), "ready");
        fault
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Changes what it does: `alive`, `swallow`, `stop`, `slow:250ms`, `errno:107` …
    #[track_caller]
    pub fn order(&mut self, mode: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{mode}").unwrap();
        let answer = self.line();
        assert!(answer.starts_with("ok "), "{mode}: {answer}");
    }

    /// The daemon's process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// SIGKILL: the mount is dead when this returns.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the daemon's own end.
    pub fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
