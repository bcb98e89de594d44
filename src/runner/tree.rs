//! Ending all that a job has started. Whoever is a subreaper (prctl(2)) becomes the parent of every orphan below it, so
//! a process cannot get away by forking twice or by a session of its own: it is found below us until it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use procfs::process::all_processes;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, set_child_subreaper, wait, waitpid,
};

use super::errand;
use crate::probes::asked;
use crate::sys::clock::{Deadline, pause};
use crate::sys::command;

/// Between two looks at what is left.
const BETWEEN: Duration = Duration::from_millis(5);

/// Orphans below this process become its children from now on.
pub fn adopt() -> std::io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Takes the ends of children that are over; how `main` ended, if it did now.
pub fn reap(main: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == main {
            ended = Some(status);
        }
    }
    ended
}

/// Asks all that is below this process to end.
pub fn ask_to_end() {
    for pid in below() {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Kills all that is below this process until nothing is left, or until `limit` has passed: what waits for a disk that
/// hangs cannot be killed. How many are left. A child that looks at storage for this program is none of a job's: it is left to
/// its question, however long that takes, and is not counted.
pub fn kill_all(limit: Duration) -> usize {
    let deadline = Deadline::after(limit);
    // most often all of it has ended already
    if has_no_child() {
        return 0;
    }
    let mut was_empty = false;
    loop {
        let mut left = below();
        left.retain(|pid| !is_asking(pid.as_raw_nonzero().get()));
        for pid in &left {
            let _ = kill_process(*pid, Signal::KILL);
        }
        // whoever forks while that is looked through may be missed once
        if has_no_child() || (left.is_empty() && was_empty) {
            return 0;
        }
        was_empty = left.is_empty();
        if deadline.passed() {
            return left.len().max(1);
        }
        pause(BETWEEN);
    }
}

/// Takes the ends of all children that have ended; whether none is left. That there is no child is certain, for a
/// subreaper; that none was seen is not.
fn has_no_child() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(_) => return true,
            Ok(None) => return false,
        }
    }
}

/// Kills what is directly below this process and is none of `known`, with all that is below it.
pub fn kill_strays(known: &[Pid], limit: Duration) {
    let deadline = Deadline::after(limit);
    loop {
        let tree = children();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let Some(waited_for) = command::waited_for() else {
            if deadline.passed() {
                return;
            }
            pause(BETWEEN);
            continue;
        };
        let is_known = |pid: &i32| {
            waited_for.contains(pid) || known.iter().any(|it| it.as_raw_nonzero().get() == *pid)
        };
        // children that look at storage for this program are no strays, and are never killed while they wait; errands are a
        // job's
        let strays: Vec<i32> = tree
            .get(&own)
            .into_iter()
            .flatten()
            .filter(|pid| !is_known(pid) && !is_own_program(**pid))
            .copied()
            .collect();
        let all = descend(&tree, strays);
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        reap_strays(known);
        if all.is_empty() || deadline.passed() {
            return;
        }
        pause(BETWEEN);
    }
}

/// Whether a process is a copy of this program, at its own work and not at a job's.
fn is_own_program(pid: i32) -> bool {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    if comm.trim_ascii_end() == errand::NAME.to_bytes() {
        return false;
    }
    let own = std::fs::read_link("/proc/self/exe");
    own.is_ok_and(|own| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == own))
}

/// Whether a process is a child of this very program that asks something of storage.
fn is_asking(pid: i32) -> bool {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    asked::is_name(comm.trim_ascii_end()) && is_own_program(pid)
}

/// Takes the ends of children that are none of `known`: the ends of those are taken by whoever has started them.
pub fn reap_strays(known: &[Pid]) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    for process in all_processes().into_iter().flatten().flatten() {
        let Ok(stat) = process.stat() else { continue };
        let Some(pid) = Pid::from_raw(stat.pid) else { continue };
        let waited_for = || command::waited_for().is_none_or(|all| all.contains(&stat.pid));
        let is_stray = || !known.contains(&pid) && !waited_for();
        if stat.ppid == own && stat.state == 'Z' && is_stray() {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Every process below this one.
fn below() -> Vec<Pid> {
    let tree = children();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    descend(&tree, tree.get(&own).cloned().unwrap_or_default())
}

fn descend(tree: &BTreeMap<i32, Vec<i32>>, mut look: Vec<i32>) -> Vec<Pid> {
    let mut found = Vec::new();
    while let Some(pid) = look.pop() {
        found.extend(Pid::from_raw(pid));
        look.extend(tree.get(&pid).into_iter().flatten());
    }
    found
}

/// The children of each process, those that have ended and were not reaped among them.
fn children() -> BTreeMap<i32, Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        // one that has ended meanwhile is nobody's any more
        let Ok(stat) = process.stat() else { continue };
        // one whose first thread has ended looks ended and may not be
        children.entry(stat.ppid).or_default().push(stat.pid);
    }
    children
}
