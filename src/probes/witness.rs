//! Who a worker is: boot, pid namespace, pid and start. A pid alone is used again; and one of another boot or of
//! another namespace says nothing about the processes that are seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procfs::process::{Process, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::sys::clock::{boottime, millis};
use crate::sys::limit::within;
use crate::sys::text;

/// The variable that says whose command a process is of.
pub const WORKER: &str = "UNWEDGE_WORKER";
/// How long it may take to hear whose processes are.
const WHOSE_LIMIT: Duration = Duration::from_secs(1);

/// What a copy of this program is called until it has named itself: it is started by that path.
const UNNAMED: &str = "exe";

/// The identity of this process.
///
/// # Errors
/// It cannot be told (no /proc).
pub fn own() -> std::io::Result<String> {
    of(rustix::process::getpid().as_raw_nonzero().get())
}

/// The identity of a process that runs now.
///
/// # Errors
/// It cannot be told: it has ended, or there is no /proc.
pub fn of(pid: i32) -> std::io::Result<String> {
    let ticks =
        start_of(pid).ok_or_else(|| std::io::Error::other("its start is not to be read"))?;
    Ok(format!("{}:{pid}:{ticks}", place()?))
}

/// What is known here of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is at work, or cannot be seen from here, or what it has started cannot.
    Unknown,
    /// It is gone, and what it has started for a job is not: it is about to be, or a daemon runs it.
    Ending,
    /// It is gone, with all that it has started.
    Gone,
}

/// What is known of the worker of this identity. Of one that cannot be seen from here that is nothing.
#[must_use]
pub fn fate(id: &str) -> Fate {
    match is_over(id).then(|| has_helpers(id)).flatten() {
        Some(true) => Fate::Ending,
        Some(false) => Fate::Gone,
        // what may be there and is not seen is left to its lease
        None => Fate::Unknown,
    }
}

/// The same of a worker that has said which host it is on. Copies of one running machine are of one boot: what is not seen
/// on one of them may be there on another. Where a host has another name by now, the lease decides.
#[must_use]
pub fn fate_on(said: &str, id: &str) -> Fate {
    match fate(id) {
        Fate::Gone if said != host() => Fate::Unknown,
        fate => fate,
    }
}

/// Whether it is of this boot and this pid namespace: then its process can be seen from here.
#[must_use]
pub fn is_of_here(id: &str) -> bool {
    place().is_ok_and(|place| id.strip_prefix(&place).is_some_and(|rest| rest.starts_with(':')))
}

/// The process of a worker of here, and its start in ticks since boot.
fn process_of(id: &str) -> Option<(Pid, u64)> {
    let rest = id.strip_prefix(&place().ok()?)?.strip_prefix(':')?;
    let (pid, ticks) = rest.split_once(':')?;
    Some((Pid::from_raw(pid.parse().ok()?)?, ticks.parse().ok()?))
}

/// Whether it is seen from here that it is gone.
#[must_use]
pub fn is_over(id: &str) -> bool {
    let Some((pid, ticks)) = process_of(id) else { return false };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return true;
    }
    // a pid that is used again, or one that nobody has reaped; what cannot be read (hidepid) says nothing
    let stat = stat_of(pid.as_raw_nonzero().get());
    stat.is_some_and(|it| it.starttime != ticks || has_ended(&it))
}

/// Whether it has ended, with all its threads, and only waits for its parent.
pub(super) fn has_ended(stat: &Stat) -> bool {
    stat.state == 'Z' && stat.num_threads <= 1
}

/// Whether processes of others are hidden (hidepid, a sandbox): what is not seen may be there.
fn are_hidden() -> bool {
    !std::path::Path::new("/proc/1").exists()
}

/// Whether a process that a worker has started for a job is still at it, if that can be seen: a helper, by its name, or a
/// command whose helper is gone, by its environment. One that was started just now has no name yet.
fn has_helpers(id: &str) -> Option<bool> {
    let all = procfs::process::all_processes().ok()?;
    let (_, since) = process_of(id)?;
    let name = helper_name(id);
    let per_second = rustix::param::clock_ticks_per_second();
    let now = millis(boottime()).saturating_mul(per_second) / 1000;
    let newborn = now.saturating_sub(per_second / 5);
    let own = Process::myself().map_or_else(|_| BTreeSet::new(), |it| containers_of(&it));
    let uid = rustix::process::geteuid().as_raw();
    let mut asked = Vec::new();
    for process in all.flatten() {
        let Ok(stat) = process.stat() else { continue };
        let is_new = stat.comm == UNNAMED && stat.starttime >= newborn;
        if stat.state != 'Z' && (stat.comm == name || is_new) {
            return Some(true);
        }
        // what is older than the worker is no deed of its
        if has_ended(&stat) || stat.starttime < since || !is_ours(&process) {
            continue;
        }
        let is_own = process.uid().is_ok_and(|it| it == uid);
        if is_own || !containers_of(&process).is_subset(&own) {
            asked.push(process);
        }
    }
    // whoever waits for storage may keep its environment to itself for as long, and may be anybody's
    let is_one = asked.is_empty().then_some(false).or_else(|| is_one_of(asked, id))?;
    (is_one || !are_hidden()).then_some(is_one)
}

/// The containers that a process is in, by the 64 digits that its cgroups are called by: a daemon runs them, and goes on when
/// whoever has asked for that is gone. To read that waits for nothing.
fn containers_of(process: &Process) -> BTreeSet<String> {
    let digits = |it: &&str| it.len() == 64 && it.bytes().all(|it| it.is_ascii_hexdigit());
    let name = |part: &str| {
        let last = part.trim_end_matches(".scope").rsplit('-').next().filter(digits);
        last.map(str::to_owned)
    };
    let cgroups = process.cgroups().into_iter().flatten();
    cgroups.flat_map(|it| it.pathname.split('/').filter_map(name).collect::<Vec<_>>()).collect()
}

/// Whether its environment may be read.
fn is_ours(process: &Process) -> bool {
    let own = rustix::process::geteuid().as_raw();
    own == 0 || process.uid().is_ok_and(|uid| uid == own)
}

/// Whether one of these is of a command of a worker; none where one gives no answer, nor is another asked before that has come.
fn is_one_of(processes: Vec<Process>, id: &str) -> Option<bool> {
    static IS_ASKED: AtomicBool = AtomicBool::new(false);
    if IS_ASKED.swap(true, Ordering::AcqRel) {
        return None;
    }
    let id = id.to_owned();
    let is_of = move |process: &Process| {
        let said = process.environ().ok().and_then(|all| all.get(OsStr::new(WORKER)).cloned());
        said.is_some_and(|it| it == OsStr::new(&id))
    };
    let look = move || {
        let found = processes.iter().any(is_of);
        IS_ASKED.store(false, Ordering::Release);
        found
    };
    within(WHOSE_LIMIT, look).ok()
}

/// Whether a process is called so, or may be.
#[must_use]
pub fn is_called(name: &str) -> bool {
    if are_hidden() {
        return true;
    }
    called(name).is_none_or(|mut all| all.next().is_some())
}

/// When the oldest of this user's processes that are called so was started, on the clock since boot: one's own are never hidden.
#[must_use]
pub fn oldest_called(name: &str) -> Option<Duration> {
    let own = rustix::process::geteuid().as_raw();
    let per_second = rustix::param::clock_ticks_per_second();
    let own = called(name)?.filter(|(process, _)| process.uid().is_ok_and(|uid| uid == own));
    own.map(|(_, ticks)| Duration::from_millis(ticks.saturating_mul(1000) / per_second)).min()
}

/// The processes that are called so and have not ended, as far as they are seen, each with its start in ticks since boot; none
/// where there is no process table.
fn called(name: &str) -> Option<impl Iterator<Item = (Process, u64)>> {
    let all = procfs::process::all_processes().ok()?.flatten();
    Some(all.filter_map(move |process| {
        let stat = process.stat().ok()?;
        (stat.state != 'Z' && stat.comm == name).then_some((process, stat.starttime))
    }))
}

/// What a helper calls itself: whoever looks for those of a worker reads names alone, for a process that waits for storage
/// may keep whoever reads its command line waiting, too (`proc(5)`: the name needs no memory of the process).
#[must_use]
pub fn helper_name(worker: &str) -> String {
    let digest = text::digest(worker.as_bytes());
    format!("uj{}", &digest[..12])
}

/// A process that was started for a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfJob {
    /// Its pid.
    pub pid: i32,
    /// Its start, ticks since boot: a pid is used again.
    pub ticks: u64,
    /// What it is called.
    pub name: String,
    /// As whom it runs.
    pub uid: u32,
    /// The worker that it was started by, if that can be told.
    pub worker: Option<String>,
}

impl OfJob {
    fn of(stat: Stat, uid: u32, worker: Option<String>) -> Self {
        Self { pid: stat.pid, ticks: stat.starttime, name: stat.comm, uid, worker }
    }
}

/// The processes that were started for jobs, by the worker that stands in their environment or command line, with what
/// those have started: that may have an environment of its own. It may wait for a process that waits for storage: it is to be
/// called within a limit.
#[must_use]
pub fn of_jobs() -> Vec<OfJob> {
    let mut found = BTreeMap::new();
    let mut others = Vec::new();
    for process in procfs::process::all_processes().into_iter().flatten().flatten() {
        let (Ok(stat), Ok(uid)) = (process.stat(), process.uid()) else { continue };
        if has_ended(&stat) {
            continue;
        }
        let is_helper = stat.comm.starts_with("uj") && stat.comm.len() == 14;
        let said = if is_helper {
            process.cmdline().ok().and_then(|words| words.into_iter().nth(2))
        } else {
            let of = |all: std::collections::HashMap<OsString, OsString>| {
                all.get(OsStr::new(WORKER)).map(|id| id.to_string_lossy().into_owned())
            };
            process.environ().ok().and_then(of)
        };
        if is_helper || said.is_some() {
            found.insert(stat.pid, OfJob::of(stat, uid, said));
        } else {
            others.push((stat, uid));
        }
    }
    loop {
        let mut is_over = true;
        for (stat, uid) in std::mem::take(&mut others) {
            // of one whose parent has ended the session tells, where that began with one of these
            let from = found.get(&stat.ppid).or_else(|| found.get(&stat.session));
            if let Some(from) = from {
                let worker = from.worker.clone();
                found.insert(stat.pid, OfJob::of(stat, uid, worker));
                is_over = false;
            } else {
                others.push((stat, uid));
            }
        }
        if is_over {
            return found.into_values().collect();
        }
    }
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The boot and the pid namespace.
pub fn place() -> std::io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/self/ns/pid")?;
    let namespace: String =
        namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Ok(format!("{}:{namespace}", boot.trim()))
}

/// The start of a process that has not ended, in ticks since boot.
#[must_use]
pub fn start_of(pid: i32) -> Option<u64> {
    stat_of(pid).filter(|it| it.state != 'Z').map(|it| it.starttime)
}

/// What the kernel says of a process.
pub(super) fn stat_of(pid: i32) -> Option<Stat> {
    Process::new(pid).ok()?.stat().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// One look at whose processes are goes on at a time, and whoever comes meanwhile hears that nothing is known.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process that goes on until it is killed.
    fn start(script: &str, worker: Option<&str>) -> (Child, i32) {
        #[allow(clippy::disallowed_methods, reason = "tests start processes")]
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).envs(worker.map(|id| (WORKER, id)));
        let child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    fn await_that(is_so: impl Fn() -> bool) {
        let deadline = boottime() + Duration::from_secs(60);
        while !is_so() {
            assert!(boottime() < deadline, "it does not come to that");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_was_killed_is_gone_though_nobody_reaps_it_and_not_before_its_commands_are() {
        let _alone = alone();
        let (mut runner, pid) = start("while :; do sleep 1; done", None);
        let id = of(pid).unwrap();
        assert_eq!(fate(&id), Fate::Unknown);
        let (mut command, of_job) = start("while :; do sleep 1; done", Some(&id));
        runner.kill().unwrap();
        await_that(|| stat_of(pid).unwrap().state == 'Z');
        // its helper is gone, too, and nobody knows what that was called
        await_that(|| fate(&id) == Fate::Ending);
        let listed = of_jobs();
        let pids: Vec<i32> = listed.iter().map(|it| it.pid).collect();
        assert!(pids.contains(&of_job) && !pids.contains(&pid), "{listed:?}");
        command.kill().unwrap();
        await_that(|| fate(&id) == Fate::Gone);
        assert!(!of_jobs().iter().any(|it| it.pid == of_job), "what has ended is not listed");
        runner.wait().unwrap();
        command.wait().unwrap();
        assert_eq!(fate(&id), Fate::Gone);
    }

    #[test]
    fn what_a_job_has_started_is_of_it_whatever_its_environment_is() {
        let id = "a-worker:that:is:gone";
        let (mut command, pid) = start("/usr/bin/env -i /bin/sleep 4000; :", Some(id));
        let below = || {
            let mut all = of_jobs().into_iter().filter(|it| it.worker.as_deref() == Some(id));
            all.find(|it| it.pid != pid && it.name == "sleep").map(|it| it.pid)
        };
        await_that(|| below().is_some());
        let below = below().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(below, rustix::process::Signal::KILL).unwrap();
        command.wait().unwrap();
        assert!(!of_jobs().iter().any(|it| it.worker.as_deref() == Some(id)));
    }

    #[test]
    fn only_what_was_seen_from_here_can_be_gone() {
        let _alone = alone();
        let own = own().unwrap();
        assert_eq!(fate(&own), Fate::Unknown);
        let (place, rest) =
            own.rsplit_once(':').map(|(rest, _)| rest.rsplit_once(':').unwrap()).unwrap();
        assert_eq!(fate(&format!("{place}:{rest}:1")), Fate::Gone, "the same pid, another start");
        for unseen in [
            "",
            "x",
            "another-boot:1:2:3",
            &format!("{place}1:{rest}:1"),
            &format!("{place}:{rest}"),
            &format!("{own}:1"),
        ] {
            assert_eq!(fate(unseen), Fate::Unknown, "{unseen}");
        }
        // a copy of this machine has another one by this name
        let gone = format!("{place}:{rest}:1");
        assert_eq!(fate_on(&host(), &gone), Fate::Gone);
        assert_eq!(fate_on("a-copy", &gone), Fate::Unknown);
    }
}
