//! What this host wants of its runner, and how much of that it can: types, how many at once, times.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::setup::Numbers;
use super::supervise::{Reread, say};
use crate::act::store;
use crate::cli;
use crate::config::job_type::{JobType, Types};
use crate::config::jobs::Jobs;
use crate::config::{self, Flag, KeyPath, Loaded, Request, Settings};
use crate::decide::size::{Room, Size, Wanted, size};
use crate::decide::starts;
use crate::manifest::RUNNER;
use crate::probes::load;
use crate::probes::mountinfo::mount_points;
use crate::probes::records::{self, RunnerState};
use crate::probes::types;
use crate::report::exit::Exit;
use crate::sys::clock::Now;

/// The configuration with the types, which are of no use without each other.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The configuration.
    pub loaded: Loaded,
    jobs: Jobs,
    types: Types,
}

/// What was given to the runner and is a key of the configuration, too: it wins over all that is said elsewhere.
#[must_use]
pub fn flags(cli: &cli::RunnerTool) -> Vec<Flag> {
    let given = [("concurrency", &cli.concurrency), ("mode", &cli.mode), ("image", &cli.image)];
    let flag = |(key, value): (&str, &Option<String>)| {
        let value = value.clone()?;
        Some(Flag { name: format!("--{key}"), key: KeyPath::of(&["jobs", key]), value })
    };
    given.into_iter().filter_map(flag).collect()
}

/// Reads both; `flags` win over all that is written.
///
/// # Errors
/// The configuration is wrong, or this host runs no jobs; with the exit code that says so.
pub fn read(config: Option<&Path>, flags: &[Flag]) -> Result<Wish, (Exit, String)> {
    let request = Request::from_process(config.map(Path::to_owned), mount_points);
    let request = Request { flags: flags.to_vec(), ..request };
    let loaded = config::load(&request).map_err(|errors| (Exit::Usage, errors.to_string()))?;
    let Some(mut jobs) = loaded.settings.jobs.clone() else {
        let why = "there is no [jobs] in the configuration: this host runs none";
        return Err((Exit::Unfit, why.to_owned()));
    };
    let mut types = types::of(&jobs.dir).map_err(|why| (Exit::Failed, why))?;
    jobs.settle(&types).map_err(|why| (Exit::Usage, why))?;
    let is_given = |key| flags.iter().any(|flag| flag.key == KeyPath::of(&["jobs", key]));
    for kind in &mut types.good {
        // what was given here is said for all, whatever the types say themselves
        kind.concurrency = kind.concurrency.filter(|_| !is_given("concurrency"));
        kind.said.mode = kind.said.mode.filter(|_| !is_given("mode"));
        kind.said.image = kind.said.image.take().filter(|_| !is_given("image"));
    }
    if is_given("concurrency") {
        jobs.each.values_mut().for_each(|it| it.concurrency = None);
    }
    let types = types.on_host(&jobs.run);
    Ok(Wish { loaded, jobs, types })
}

/// What this host cannot give of what is wanted of it, as it was said.
pub type Clamped = BTreeSet<String>;

/// What reads both whenever it is asked to.
#[must_use]
pub fn anew(config: Option<PathBuf>, flags: Vec<Flag>, mut told: Clamped) -> Reread {
    Box::new(move |had| {
        let wish = read(config.as_deref(), &flags).map_err(|(_, why)| why)?;
        Ok(wish.sized(had, &mut told))
    })
}

impl Wish {
    /// How many at once, on this host.
    fn size(&self) -> Size {
        let wanted: Vec<Wanted> = self
            .types
            .good
            .iter()
            .map(|kind| Wanted {
                name: kind.name.clone(),
                count: self.jobs.concurrency_of(&kind.name, kind.concurrency),
                memory_mib: kind.memory_mib,
            })
            .collect();
        let cores = std::thread::available_parallelism().ok();
        let cores = cores.and_then(|it| u32::try_from(it.get()).ok()).unwrap_or(1);
        size(&wanted, Room { slots: self.jobs.slots, cores, memory_mib: load::memory_mib() })
    }

    /// The types with as many at once as that, and how many of all. Of a file that is wrong the type stays as `had` has
    /// it, if it is there; either way that is said. What this host cannot give is said once.
    #[must_use]
    pub fn sized(mut self, had: &[JobType], told: &mut Clamped) -> (Vec<JobType>, u32) {
        for (name, why) in &self.types.bad {
            let before = had.iter().find(|kind| kind.name == *name);
            let stays = match before {
                Some(_) => "it stays as it was",
                None => "nothing of this type is taken here",
            };
            say(&format!("{why}; {stays}"));
            self.types.good.extend(before.cloned());
        }
        for why in self.jobs.in_vain(&self.types) {
            say(&why);
        }
        let mut size = self.size();
        let clamped: Clamped = size.clamped.drain(..).collect();
        for why in clamped.difference(told) {
            say(why);
        }
        *told = clamped;
        let each = self.types.good.into_iter().zip(size.each);
        let types = each.map(|(kind, count)| JobType { concurrency: Some(count), ..kind });
        (types.collect(), size.slots)
    }

    /// Its times.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers::of(&self.jobs)
    }
}

/// How long it waits before it takes anything, by its recent starts; this one is added to them. Who is started to work off
/// what there is, `once`, is no service that comes up again and again.
#[must_use]
pub fn wait(settings: &Settings, once: bool, now: &Now) -> Duration {
    if once {
        return Duration::ZERO;
    }
    let dir = RUNNER.state_dir(&settings.host);
    // a memory that cannot be read is begun anew: it only ever makes a wait longer
    let mut state: RunnerState = records::read(&dir, now).unwrap_or_default();
    state.starts.retain(|at| now.since(at).known().is_some_and(|age| age < starts::WITHIN));
    state.starts.push(now.stamp());
    if let Err(error) = store::record(&dir, &state) {
        say(&format!("{error:#}: its starts are not counted"));
    }
    starts::wait(state.starts.len())
}
