//! Running jobs. The runner claims, supervises and writes down; a helper process for each job (`helper`) starts the
//! commands, looks at what they wrote and puts it in its place, so that the runner itself never touches the storage
//! of a job. Nothing of a job outlives its helper (`tree`), and no helper outlives the runner.

use std::ffi::OsString;

mod accept;
mod away;
mod beneath;
mod buckets;
pub mod cgroup;
pub mod container;
mod engines;
mod errand;
mod hand;
pub mod helper;
pub mod left;
pub mod log;
pub mod order;
pub mod outbox;
pub mod placed;
pub mod room;
mod running;
pub mod setup;
pub mod sign;
mod sum;
pub mod supervise;
pub mod taking_in;
mod tree;
mod waiting;
pub mod wish;

/// Becomes a runner or a helper, if the arguments say so; the exit code.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    match args {
        // the second word says whose it is, to whoever looks at the process table
        [verb, worker] if verb == helper::VERB => Some(helper::run(&worker.to_string_lossy())),
        [verb] if verb == supervise::VERB => Some(supervise::as_told()),
        [..] => crate::probes::headroom::run_if_asked(args)
            .or_else(|| crate::probes::ability::run_if_asked(args))
            .or_else(|| crate::act::upkeep::run_if_asked(args))
            .or_else(|| errand::run_if_asked(args))
            .or_else(|| beneath::run_if_asked(args))
            .or_else(|| sign::run_if_asked(args)),
    }
}
