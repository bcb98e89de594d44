//! What is left of the jobs of a worker that is gone and that nobody ends any more: where it was killed with its helpers, their
//! commands go on as children of somebody else, and their jobs would wait for them to end by themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use super::supervise::say;
use crate::probes::holders::open_process;
use crate::probes::witness::{self, OfJob};
use crate::sys::command::wait_any;

/// Ends it, of these workers, in a thread of its own: whoever looks at processes may wait for storage. While one such look
/// has not come to its end there is no other.
pub fn end(workers: Vec<String>) {
    static IS_AT_IT: AtomicBool = AtomicBool::new(false);
    if IS_AT_IT.swap(true, Ordering::AcqRel) {
        return;
    }
    let started = std::thread::Builder::new().name("left".to_owned()).spawn(move || {
        let all = witness::of_jobs();
        for worker in &workers {
            end_of(worker, &all);
        }
        IS_AT_IT.store(false, Ordering::Release);
    });
    if let Err(error) = started {
        IS_AT_IT.store(false, Ordering::Release);
        say(&format!("what is left of jobs stays: start a thread: {error}"));
    }
}

/// Ends what one of them has left, as far as no helper is there to do that.
fn end_of(worker: &str, all: &[OfJob]) {
    let name = witness::helper_name(worker);
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let of_it: Vec<&OfJob> = all.iter().filter(|it| it.worker.as_deref() == Some(worker)).collect();
    // nor does a worker that was itself started by such a job end that
    if of_it.iter().any(|it| it.name == name || it.pid == own) {
        return;
    }
    let ended = of_it.iter().filter(|it| kill(it)).count();
    if ended > 0 {
        say(&format!("gone: {worker}; {ended} processes of its jobs were not, and are now"));
    }
}

/// Kills a process, if it is still the same; whether it is gone.
#[must_use]
pub fn kill(it: &OfJob) -> bool {
    let is_it = || witness::start_of(it.pid) == Some(it.ticks);
    let Ok(Some(pidfd)) = open_process(it.pid, is_it) else { return true };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    !wait_any(&[&pidfd], Duration::from_secs(1)).is_empty()
}
