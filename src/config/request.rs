//! What to load, as data: every path and variable that plays a part, so that tests give their own and the loader
//! itself looks at nothing else. Only `from_process` asks the process and the host.

use std::ffi::OsString;
use std::path::PathBuf;

use super::overrides::Flag;
use super::storage::{MountPoint, Mounts};

/// Where the system's configuration is.
const SYSTEM_DIR: &str = "/etc/unwedge";

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `--config FILE`: takes the place of every other file; it must be there. Default none.
    pub file: Option<PathBuf>,
    /// The directory of `unwedge.toml` and `conf.d`. `/etc/unwedge` in a real process.
    pub system_dir: PathBuf,
    /// `$HOME`, unless it is empty or relative.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, unless it is empty or relative.
    pub xdg: Option<PathBuf>,
    /// The working directory; none if it cannot be told.
    pub cwd: Option<PathBuf>,
    /// The environment; only variables that begin with `UNWEDGE__` are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// Values given on the command line; they win over everything.
    pub flags: Vec<Flag>,
    /// The effective user: 0 reads no user's and no project's file, and trusts only root's.
    pub euid: u32,
    /// The mounts of the host: files on storage that may hang are not opened, unless they are named by hand.
    pub mounts: Mounts,
}

impl Request {
    /// The request of this process, on a host with these `mounts`. The only place that reads the
    /// environment.
    pub fn from_process(file: Option<PathBuf>, mounts: fn() -> Vec<MountPoint>) -> Self {
        let directory =
            |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            file,
            system_dir: PathBuf::from(SYSTEM_DIR),
            home: directory("HOME"),
            xdg: directory("XDG_CONFIG_HOME"),
            cwd: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            flags: Vec::new(),
            euid: rustix::process::geteuid().as_raw(),
            mounts: Mounts::asked(mounts),
        }
    }

    /// The user's file, if there is a place for one.
    pub(super) fn user_file(&self) -> Option<PathBuf> {
        let base = self.xdg.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")));
        base.map(|base| base.join("unwedge/unwedge.toml"))
    }

    /// The project's file, if there is a place for one.
    pub(super) fn project_file(&self) -> Option<PathBuf> {
        self.cwd.as_ref().map(|cwd| cwd.join(".unwedge/unwedge.toml"))
    }
}
