//! What a runner is given: its types, its times, and how much at once.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::room::Floor;
use crate::config::Settings;
use crate::config::bucket::Bucket;
use crate::config::job_type::JobType;
use crate::config::jobs::Jobs;
use crate::config::queue::Queue;
use crate::probes::gate::{self, Watch};
use crate::queue::address::Address;
use crate::sys::path_text;
use crate::sys::text;

/// The times of a runner, as [`Jobs`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// How often work is looked for where none was, and up to a tenth more or less.
    pub poll: Duration,
    /// How often it beats.
    pub beat: Duration,
    /// How long nothing of a job may move until that is told.
    pub slow: Duration,
    /// How often others are looked at, workers and buckets.
    pub sweep: Duration,
    /// How long a command that is asked to end may take.
    pub grace: Duration,
    /// How long running jobs may go on once the runner is to end.
    pub drain: Duration,
    /// How long jobs are left to workers that have their paths, and the first tool of their type.
    pub prefer_wait: Duration,
    /// How often tools are looked for.
    pub tools: Duration,
    /// So often a job may lose its worker.
    pub rescues: u32,
    /// Room that must be left where its jobs write.
    pub floor: Floor,
}

impl Numbers {
    /// Those of this host.
    #[must_use]
    pub fn of(jobs: &Jobs) -> Self {
        Self {
            poll: jobs.poll,
            beat: jobs.beat,
            slow: jobs.slow,
            sweep: jobs.sweep,
            grace: jobs.grace,
            drain: jobs.drain,
            prefer_wait: jobs.prefer_wait,
            tools: jobs.tools,
            rescues: jobs.rescues,
            floor: Floor { mib: jobs.min_free_mib, inodes: jobs.min_free_inodes },
        }
    }
}

/// What a runner is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What it can do.
    pub types: Vec<JobType>,
    /// At most so many at once, of all types together.
    pub slots: u32,
    /// The directory of the storage gate.
    #[serde(with = "path_text")]
    pub run_dir: PathBuf,
    /// The storage that the configuration names, as `text::path` writes it: it is watched before anybody has looked.
    #[serde(default)]
    pub named: Vec<String>,
    /// Where commands run.
    #[serde(with = "path_text")]
    pub dir: PathBuf,
    /// Where results wait on disk for a queue that is away: a directory of this runner alone. Without one they are lost
    /// with it.
    #[serde(with = "path_text::option")]
    pub keep_dir: Option<PathBuf>,
    /// The directory of this host's service, where results of it may wait, whoever this runner is.
    #[serde(with = "path_text")]
    pub service_dir: PathBuf,
    /// Where what commands said is kept, if it is.
    #[serde(with = "path_text::option")]
    pub log_dir: Option<PathBuf>,
    /// The buckets that its jobs may name.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// Its unit, where it is a service.
    pub unit: Option<String>,
    /// Whether it ends when nothing more can be claimed.
    pub once: bool,
    /// How long it waits before it takes anything: it was started often.
    pub wait: Duration,
    /// Its times.
    pub numbers: Numbers,
}

impl Setup {
    /// Which storage is watched on this host.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let named = self.named.iter().filter_map(|it| text::path_of(it));
        Watch::at(self.run_dir.clone(), named.collect())
    }

    /// Paths that no command in a container may see: where the queue and what belongs to it is, keys, sockets, and whatever else
    /// is this user's own.
    #[must_use]
    pub fn private(&self, queue: &Queue) -> Vec<String> {
        let fixed = ["/dev", "/etc/unwedge", "/proc", "/root", "/run", "/sys"].map(PathBuf::from);
        let file = match Address::of(&queue.database) {
            Ok(Address::Sqlite(path)) => Some(path),
            Ok(Address::Postgres(_)) | Err(_) => None,
        };
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|it| it.is_absolute());
        let own =
            [file, home, self.keep_dir.clone(), self.log_dir.clone(), Some(self.run_dir.clone())];
        own.into_iter().flatten().chain(fixed).map(|path| text::path(&path)).collect()
    }
}

/// The storage that the configuration names, as a setup has it.
#[must_use]
pub fn named(settings: &Settings) -> Vec<String> {
    gate::named(settings).iter().map(|path| text::path(path)).collect()
}

#[cfg(test)]
impl Setup {
    /// One that has nothing, with all that it keeps in one place.
    pub(super) fn bare(dir: &std::path::Path) -> Self {
        Self {
            types: Vec::new(),
            slots: 1,
            run_dir: dir.to_owned(),
            named: Vec::new(),
            dir: dir.to_owned(),
            keep_dir: None,
            service_dir: dir.to_owned(),
            log_dir: None,
            buckets: Vec::new(),
            unit: None,
            once: false,
            wait: Duration::ZERO,
            numbers: Numbers::of(&Jobs::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_names_is_watched_before_anybody_has_looked() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("binds");
        std::fs::write(&manifest, "/srv/a/y /hot/y\nnonsense\n").unwrap();
        let text = format!(
            "[[mount]]\npath = \"/srv/a\"\n[[bind]]\ncold = \"/srv/a/x\"\nhot = \"/hot/x\"\n[binds]\nmanifest = \"{}\"\n",
            manifest.display()
        );
        let settings = crate::config::from_str(&text).unwrap();
        let bare = Setup::bare("/nowhere".as_ref());
        let setup = Setup { named: named(&settings), dir: "/".into(), ..bare };
        let needs = |path: &str| setup.watch().needs_of(&[std::path::Path::new(path)]);
        assert_eq!([needs("/srv/a/in"), needs("/hot/x/in")], [["/srv/a"], ["/hot/x"]]);
        assert_eq!(needs("/hot/y/in"), ["/hot/y"]);
        assert_eq!(needs("/srv/ab"), [] as [String; 0]);
    }
}
