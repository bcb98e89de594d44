//! Whether the processes of a job move: what they have written and how much of the processor they have used, as the kernel
//! counts it. No look at storage, which may hang: `/proc/PID/stat` needs no memory of the process and no file of it
//! (`proc(5)`). `/proc/PID/io` may wait for one that is starting a program, and that one for storage: it is to be read by
//! a thread that nobody waits for.

use std::collections::BTreeMap;

use procfs::ProcError;
use procfs::process::{Process, all_processes};

/// How the processes of one job stand. Two that are the same show one that has not moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Motion {
    /// Of each its pid, its start, the ticks it has used, and how many bytes it has written; where it may not be asked
    /// (a container of other users), none.
    counts: Vec<(i32, u64, u64, Option<u64>)>,
    /// The first of them that waits in the kernel and cannot be ended: its pid and name.
    pub waits: Option<(i32, String)>,
}

impl Motion {
    /// Whether something of it has moved since.
    #[must_use]
    pub fn has_moved_since(&self, before: &Self) -> bool {
        self.counts != before.counts
    }
}

/// How the processes at and below each of these stand; of one that is gone, none. Nothing where the table cannot be read as
/// a whole: what was left out of it would look as if it stood still.
#[must_use]
pub fn of_trees(roots: &[i32]) -> Option<Vec<Motion>> {
    let mut below: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut all = BTreeMap::new();
    // each holds a descriptor, and is let go of before the next
    for process in all_processes().ok()? {
        let stat = match process.and_then(|it| it.stat()) {
            Ok(stat) => stat,
            // it has ended meanwhile, or is hidden
            Err(ProcError::NotFound(_) | ProcError::PermissionDenied(_)) => continue,
            Err(_) => return None,
        };
        below.entry(stat.ppid).or_default().push(stat.pid);
        all.insert(stat.pid, stat);
    }
    let of = |root: &i32| {
        let mut motion = Motion::default();
        let mut look = vec![*root];
        while let Some(pid) = look.pop() {
            look.extend(below.get(&pid).into_iter().flatten());
            let Some(stat) = all.get(&pid) else { continue };
            let io = Process::new(pid).and_then(|it| it.io());
            let counts = (pid, stat.starttime, stat.utime + stat.stime, io.ok().map(|it| it.wchar));
            motion.counts.push(counts);
            if stat.state == 'D' && motion.waits.is_none() {
                motion.waits = Some((pid, stat.comm.clone()));
            }
        }
        motion.counts.sort_unstable();
        motion
    };
    Some(roots.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_works_moves_and_one_that_sleeps_does_not() {
        #[allow(clippy::disallowed_methods, reason = "tests start processes")]
        let mut sleeper = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let other = i32::try_from(sleeper.id()).unwrap();
        while std::fs::read_to_string(format!("/proc/{other}/comm")).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        let before = of_trees(&[own, other]).unwrap();
        // looking is work, too: it reads, and it takes time
        let mut after = of_trees(&[own, other]).unwrap();
        while !after[0].has_moved_since(&before[0]) {
            after = of_trees(&[own, other]).unwrap();
        }
        assert!(before[0].counts.len() > 1, "what is below it belongs to it");
        assert_eq!(after[1].counts.len(), 1);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let gone = of_trees(&[other]).unwrap();
        assert_eq!(gone, [Motion::default()]);
        assert!(gone[0].has_moved_since(&after[1]));
    }
}
