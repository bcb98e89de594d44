//! A cgroup for each job, where systemd has left us ours (`Delegate=yes`; cgroups(7), version 2). Killing one is one
//! write that no fork gets away from (`cgroup.kill`, since 5.14), and what a job uses is the job's alone.
//!
//! ```text
//! <unit>/runner          this process: a cgroup that has others below it holds none itself
//! <unit>/job-7-1/helper  the helper of try 1 of job 7
//! <unit>/job-7-1/work    its commands
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::supervise::{names, say};
use crate::config::job_type::JobType;
use crate::decide::attempts::Token;

/// Where they are.
const ROOT: &str = "/sys/fs/cgroup";
/// What the name of one of a job begins with.
const JOB: &str = "job-";
/// The one of the runner.
const ASIDE: &str = "runner";

/// The part of the tree that is ours.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
    /// Whether memory can be limited.
    has_memory: bool,
}

/// Those that a service has of its own, or why it has none; what that means for these types is said.
#[must_use]
pub fn own(types: &[JobType], is_service: bool) -> (Option<Cgroups>, Option<String>) {
    let limited = || types.iter().filter(|it| it.memory_mib.is_some() && it.container.is_none());
    if !is_service {
        if limited().next().is_some() {
            let names = names(limited());
            say(&format!("memory_mib has no effect, as this runner is no service: {names}"));
        }
        return (None, None);
    }
    match Cgroups::take() {
        Ok(cgroups) => {
            let no_limits = (!cgroups.has_memory)
                .then(|| "the kernel's controller of memory was not given to its unit".to_owned());
            (Some(cgroups), no_limits)
        }
        Err(error) => {
            let why = format!("no cgroups of its own ({error})");
            say(&format!(
                "{why}: each job is kept together by its helper alone, and none with memory_mib is taken"
            ));
            (None, Some(why))
        }
    }
}

impl Cgroups {
    /// Takes what this process was given, and moves it aside.
    ///
    /// # Errors
    /// It was given nothing; jobs are kept together by their helpers alone.
    pub fn take() -> std::io::Result<Self> {
        let said = fs::read_to_string("/proc/self/cgroup")?;
        let own = said.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = own.ok_or_else(|| std::io::Error::other("no cgroup of version 2"))?;
        let base = Path::new(ROOT).join(own);
        fs::metadata(base.join("cgroup.kill"))?;
        let aside = base.join(ASIDE);
        make(&aside)?;
        enter(&aside)?;
        let has_memory = fs::write(base.join("cgroup.subtree_control"), "+memory").is_ok();
        Ok(Self { base, has_memory })
    }

    /// Makes one for a try.
    ///
    /// # Errors
    /// It cannot be made, or not limited as its type says.
    pub fn make(&self, token: Token, memory_mib: Option<u64>) -> std::io::Result<Cgroup> {
        let cgroup = Cgroup { path: self.base.join(format!("{JOB}{}-{}", token.id, token.nth)) };
        make(&cgroup.path)?;
        make(&cgroup.path.join("helper"))?;
        if let Some(mib) = memory_mib {
            if !self.has_memory {
                return Err(std::io::Error::other("memory cannot be limited here"));
            }
            fs::write(cgroup.path.join("cgroup.subtree_control"), "+memory")?;
            make(&cgroup.work())?;
            fs::write(cgroup.work().join("memory.max"), (mib << 20).to_string())?;
            fs::write(cgroup.work().join("memory.oom.group"), "1")?;
            // what is swapped out is used all the same; a kernel without swap has no such file
            let _ = fs::write(cgroup.work().join("memory.swap.max"), "0");
        } else {
            make(&cgroup.work())?;
        }
        Ok(cgroup)
    }

    /// Ends and removes those of no job that is known.
    pub fn sweep(&self, known: &[Token]) {
        let names: Vec<String> =
            known.iter().map(|token| format!("{JOB}{}-{}", token.id, token.nth)).collect();
        for entry in fs::read_dir(&self.base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(JOB) && !names.contains(&name) {
                Cgroup { path: entry.path() }.end();
            }
        }
    }
}

/// That of one try.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The one that a helper was told of.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves this process to the side of the helper.
    ///
    /// # Errors
    /// It is where it was.
    pub fn stand_by(&self) -> std::io::Result<()> {
        enter(&self.path.join("helper"))
    }

    /// Moves this process out of it, to the side of the runner.
    ///
    /// # Errors
    /// It is where it was.
    pub fn leave(&self) -> std::io::Result<()> {
        enter(&self.path.with_file_name(ASIDE))
    }

    /// Does `deed` on the side of the commands: what it starts stays there.
    ///
    /// # Errors
    /// It was not done.
    pub fn at_work<T>(&self, deed: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
        enter(&self.work())?;
        let done = deed();
        self.stand_by()?;
        done
    }

    /// Kills the commands, whatever they have started.
    pub fn kill_work(&self) {
        let _ = fs::write(self.work().join("cgroup.kill"), "1");
    }

    /// How often commands wanted more memory than they may have (`oom` of memory.events; `oom_kill` counts also what was
    /// killed for lack of memory on the host).
    #[must_use]
    pub fn out_of_memory(&self) -> u64 {
        let said = fs::read_to_string(self.work().join("memory.events")).unwrap_or_default();
        let count = said.lines().find_map(|line| line.strip_prefix("oom "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Kills all that is in it and takes it away, if nothing is left; else it is taken away later.
    pub fn end(&self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for part in [self.work(), self.path.join("helper"), self.path.clone()] {
            let _ = fs::remove_dir(part);
        }
    }

    fn work(&self) -> PathBuf {
        self.path.join("work")
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Moves this process.
fn enter(path: &Path) -> std::io::Result<()> {
    fs::write(path.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { id: 7, nth: 2 };

    #[test]
    fn a_type_with_a_limit_gets_it_for_its_commands_and_all_of_them_end_where_it_is_passed() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_owned();
        let cgroups = Cgroups { base: base.clone(), has_memory: true };
        let said = |path: &Path, name: &str| fs::read_to_string(path.join(name)).ok();
        let cgroup = cgroups.make(TOKEN, Some(96)).unwrap();
        assert_eq!(cgroup.path(), base.join("job-7-2"));
        let work = cgroup.path().join("work");
        assert_eq!(said(&work, "memory.max").as_deref(), Some("100663296"));
        assert_eq!(said(&work, "memory.oom.group").as_deref(), Some("1"));
        assert_eq!(said(&work, "memory.swap.max").as_deref(), Some("0"));
        let controllers = said(cgroup.path(), "cgroup.subtree_control");
        assert_eq!(controllers.as_deref(), Some("+memory"));
        // the helper tells of the end: it has no limit
        assert_eq!(said(&cgroup.path().join("helper"), "memory.max"), None);
        // one without is not limited
        let cgroup = cgroups.make(Token { nth: 3, ..TOKEN }, None).unwrap();
        assert_eq!(said(&cgroup.path().join("work"), "memory.max"), None);
    }

    #[test]
    fn where_memory_cannot_be_limited_a_type_with_a_limit_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let cgroups = Cgroups { base: dir.path().to_owned(), has_memory: false };
        let refused = cgroups.make(TOKEN, Some(96)).map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "memory cannot be limited here");
        assert!(cgroups.make(TOKEN, None).is_ok());
    }
}
