//! What work forbids: nothing is taken away from under a running job that is well, and where nobody
//! knows what runs, only what cannot hurt is done.
//!
//! | what runs | a missing bind | a broken bind | a dead base that comes back | any other repair |
//! |---|---|---|---|---|
//! | no queue, or nothing on it | made | swapped | repaired | repaired |
//! | a job on it | made | `running-jobs-present` | repaired | repaired, if it comes back |
//! | nobody knows | made | `queue-unknown` | repaired | `queue-unknown` |
//!
//! A job on a broken base is not spared by leaving the base broken: what it has open there stays dead
//! whatever is done. A bind under a running job is another matter: swapped, its files would be split
//! over two mounts.

use super::plan::{Hold, Reason, Repair};
use crate::probes::mounts::Observation;
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::sys::text;

/// Whether the work on this host allows to repair what was seen.
///
/// # Errors
/// The hold that forbids it.
pub fn allows(work: &Work, seen: &Observation, repair: &Repair) -> Result<(), Hold> {
    if !repair.takes_away() {
        return Ok(());
    }
    let hold = |reason: Reason, detail: String| Err(Hold::on(&seen.path, reason, detail));
    match work {
        Work::NoQueue => Ok(()),
        Work::Unknown(why) => {
            let comes_back = seen.verdict == Verdict::Dead && !repair.owes.is_empty();
            if comes_back && seen.bind.is_none() {
                return Ok(());
            }
            hold(
                Reason::QueueUnknown,
                format!("{}, and what runs is not known: {why}", seen.verdict),
            )
        }
        // a base of the config comes back, and what a job has open there is dead whatever is done; what is
        // in no table would leave it writing to the bare directory
        Work::Known(_) if seen.bind.is_none() && !repair.owes.is_empty() => Ok(()),
        Work::Known(_) => {
            let mut jobs = work.running_on(&seen.path).map(|job| text::bytes(job.id.as_bytes()));
            match jobs.next() {
                None => Ok(()),
                Some(first) => {
                    let more = jobs.count();
                    let others =
                        if more == 0 { String::new() } else { format!(" and {more} more") };
                    let detail = format!("job {first}{others} runs on it");
                    hold(Reason::RunningJobsPresent, detail)
                }
            }
        }
    }
}
