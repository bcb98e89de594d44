//! Whether the processes of a job move: what they have written and how much of the processor they have used, as the kernel
//! counts it. No look at storage, which may hang: `/proc/PID/stat` needs no memory of the process and no file of it
//! (`proc(5)`). `/proc/PID/io` may wait for one that is starting a program, and that one for storage: it is to be read by
//! a thread that nobody waits for.

use std::collections::BTreeMap;
use std::path::Path;

use procfs::ProcError;
use procfs::process::{Process, all_processes_with_root};

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
    of_trees_in(Path::new("/proc"), roots)
}

fn of_trees_in(table: &Path, roots: &[i32]) -> Option<Vec<Motion>> {
    let mut below: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut all = BTreeMap::new();
    // each holds a descriptor, and is let go of before the next
    for process in all_processes_with_root(table).ok()? {
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
            let io = Process::new_with_root(table.join(pid.to_string())).and_then(|it| it.io());
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
    fn what_waits_in_the_kernel_is_named_wherever_it_stands_below_the_root() {
        let table = tempfile::tempdir().unwrap();
        let put = |pid: i32, name: &str, state: char, parent: i32| {
            let dir = table.path().join(pid.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            let zeros = " 0".repeat(48);
            std::fs::write(dir.join("stat"), format!("{pid} ({name}) {state} {parent}{zeros}\n"))
                .unwrap();
        };
        put(10, "helper", 'S', 1);
        put(11, "bash", 'S', 10);
        put(12, "cp", 'D', 11);
        put(20, "helper", 'S', 1);
        put(21, "cat", 'R', 20);
        put(30, "other", 'D', 1);
        let seen = of_trees_in(table.path(), &[10, 20, 99]).unwrap();
        let waits: Vec<_> = seen.iter().map(|it| it.waits.clone()).collect();
        assert_eq!(waits, [Some((12, "cp".to_owned())), None, None]);
        assert_eq!(seen.iter().map(|it| it.counts.len()).collect::<Vec<_>>(), [3, 2, 0]);
        // once it goes on it waits no more
        put(12, "cp", 'R', 11);
        assert_eq!(of_trees_in(table.path(), &[10]).unwrap()[0].waits, None);
    }

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
