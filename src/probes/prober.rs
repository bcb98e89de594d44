//! Probers, seen from the parent: one child for each mount, side by side, none waited for beyond
//! the deadline, none killed on FUSE, and at most one outstanding for each mount.
//!
//! A request that a FUSE daemon has read and never answers makes whoever waits for it unkillable
//! the moment a signal arrives. Left alone the waiter sleeps quietly, so a late prober is left
//! alone. It is not remembered but found: it names itself by a key of the mount's identity, and
//! every round looks through the process table. A prober that is there means that one request has
//! gone unanswered since its start; one that is gone means the mount answered.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::holders::for_each_process;
use super::liveness::{self, Look, Turn};
use crate::sys::clock::{Deadline, boottime, pause};
use crate::sys::command::{Spawned, wait_any};

/// The word that makes this program a prober.
pub const VERB: &str = "--prober";

/// How many probers work at the same time. Each takes about 2 MB and 1.5 ms of a healthy mount;
/// 256 empty ones took 156 ms (measured).
const AT_ONCE_MAX: usize = 256;

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, absolute.
    pub path: PathBuf,
    /// The prober's name in the process table: [`super::identity::Identity::key`].
    pub key: String,
    /// Uid and gid of a private FUSE mount's owner, to look with their eyes.
    pub owner: Option<(u32, u32)>,
    /// Whether a late prober is killed: on NFS and CIFS a killed waiter ends, on FUSE it becomes
    /// unkillable.
    pub kill_late: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The prober answered after so long.
    Answered(Look, Duration),
    /// One request has been waiting since this point of boot time.
    Waiting {
        /// When the prober that still waits was started.
        since: Duration,
    },
    /// The look failed for a reason of our own.
    Failed(String),
}

/// How often the process table is looked through again while a young prober of another round is
/// at work on a mount of ours.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks at everything in `requests` side by side, each for at most `timeout`, all of it for at most
/// `limit`; returns in the order of the requests. Up to [`AT_ONCE_MAX`] silent mounts cost one
/// `timeout` together.
#[must_use]
pub fn probe_all(requests: &[Request], timeout: Duration, limit: Duration) -> Vec<Response> {
    let end = Deadline::after(limit);
    let begun = Deadline::after(timeout);
    let mut round = Probing {
        requests,
        timeout,
        responses: vec![None; requests.len()],
        queue: (0..requests.len()).collect(),
        working: Vec::new(),
    };
    while !end.passed() {
        round.start_what_may();
        let Some(wait) = round.next_wait() else { break };
        round.take_ended(wait.min(end.left()));
        round.give_up_late();
        if begun.passed() {
            round.give_up_on_others();
        }
    }
    round.finish()
}

/// Probers at work.
struct Probing<'a> {
    requests: &'a [Request],
    timeout: Duration,
    responses: Vec<Option<Response>>,
    /// not started yet, or to be started again
    queue: Vec<usize>,
    working: Vec<(usize, Spawned)>,
}

impl Probing<'_> {
    /// Starts probers while there is room; a mount that a prober of another round is at waits.
    fn start_what_may(&mut self) {
        if self.queue.is_empty() || self.working.len() >= AT_ONCE_MAX {
            return;
        }
        let outstanding = find_outstanding();
        for index in std::mem::take(&mut self.queue) {
            let request = &self.requests[index];
            match outstanding.of_request(request) {
                // one that waits for longer than we would: that is the answer
                Some(since) if boottime().saturating_sub(since) >= self.timeout => {
                    self.responses[index] = Some(Response::Waiting { since });
                }
                // a young one may be about to answer another round; then it is our turn
                Some(_) => self.queue.push(index),
                None if self.working.len() >= AT_ONCE_MAX => self.queue.push(index),
                None => match start(request) {
                    Ok(prober) => self.working.push((index, prober)),
                    Err(error) => {
                        let why = format!("start a prober: {error}");
                        self.responses[index] = Some(Response::Failed(why));
                    }
                },
            }
        }
    }

    /// How long nothing can happen but an answer; `None` when there is nothing to wait for.
    fn next_wait(&self) -> Option<Duration> {
        let age = |prober: &Spawned| boottime().saturating_sub(prober.started);
        let late = self.working.iter().map(|(_, prober)| self.timeout.saturating_sub(age(prober)));
        match (late.min(), self.queue.is_empty()) {
            (None, true) => None,
            (Some(late), true) => Some(late),
            (Some(late), false) => Some(late.min(LOOK_AGAIN)),
            (None, false) => Some(LOOK_AGAIN),
        }
    }

    /// Waits at most `limit` for one to end, and takes the answers of all that have.
    fn take_ended(&mut self, limit: Duration) {
        let watched: Vec<&OwnedFd> =
            self.working.iter().filter_map(|(_, prober)| prober.pidfd()).collect();
        if watched.is_empty() && self.working.is_empty() {
            pause(limit);
        } else if watched.len() == self.working.len() {
            let _ = wait_any(&watched, limit);
        }
        // one without a pidfd has ended already
        let (ended, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.working)
            .into_iter()
            .partition(|(_, prober)| prober.ends_within(Duration::ZERO));
        self.working = still;
        let waiting = self.queue.len();
        for (index, prober) in ended {
            match understand(prober) {
                Some(response) => self.responses[index] = Some(response),
                None => self.queue.push(index),
            }
        }
        if self.queue.len() > waiting {
            // one that made way would do so again at once
            pause(LOOK_AGAIN.min(limit));
        }
    }

    /// Leaves alone those that have had their time.
    fn give_up_late(&mut self) {
        let timeout = self.timeout;
        let late = |prober: &Spawned| boottime().saturating_sub(prober.started) >= timeout;
        if !self.working.iter().any(|(_, prober)| late(prober)) {
            return;
        }
        // the kernel's own word on when they started is the same in every round
        let outstanding = find_outstanding();
        let (given_up, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.working).into_iter().partition(|(_, prober)| late(prober));
        self.working = still;
        for (index, prober) in given_up {
            let request = &self.requests[index];
            let since = outstanding.of_request(request).unwrap_or(prober.started);
            self.responses[index] = Some(Response::Waiting { since });
            if request.kill_late {
                prober.kill();
            }
        }
    }

    /// Another round's prober that was there all the time is an answer too.
    fn give_up_on_others(&mut self) {
        let outstanding = find_outstanding();
        self.queue.retain(|&index| {
            let request = &self.requests[index];
            let waiting = outstanding.of_request(request);
            self.responses[index] = waiting.map(|since| Response::Waiting { since });
            waiting.is_none()
        });
    }

    fn finish(self) -> Vec<Response> {
        let unseen = || Response::Failed("not looked at: too many mounts were silent".to_owned());
        self.responses.into_iter().map(|response| response.unwrap_or_else(unseen)).collect()
    }
}

/// The uid that the prober for `request` runs with.
fn uid_of(request: &Request) -> u32 {
    request.owner.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid)
}

fn start(request: &Request) -> std::io::Result<Spawned> {
    let (uid, gid) = request.owner.unzip();
    let number = |id: Option<u32>| id.map_or_else(String::new, |id| id.to_string());
    Spawned::start(&[
        OsString::from(VERB),
        OsString::from(&request.key),
        OsString::from(number(uid)),
        OsString::from(number(gid)),
        request.path.clone().into_os_string(),
    ])
}

/// What an ended prober found; `None` when it made way for an older one.
fn understand(prober: Spawned) -> Option<Response> {
    let took = boottime().saturating_sub(prober.started);
    match serde_json::from_slice(&prober.answer()) {
        Ok(Look::Doubled) => None,
        Ok(look) => Some(Response::Answered(look, took)),
        Err(_) => Some(Response::Failed("its prober ended without an answer".to_owned())),
    }
}

/// The probers that are at work, of this round or left by another one.
#[derive(Debug, Default)]
pub struct Outstanding(BTreeMap<(String, u32), Vec<Prober>>);

/// One prober, as the process table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prober {
    /// When it was started, in boot time.
    started: Duration,
    pid: i32,
    /// Whether it has begun to ask; before that it only announces itself.
    asks: bool,
}

impl Outstanding {
    /// Since when, in boot time, a prober of this name and uid has been at work.
    #[must_use]
    pub fn since(&self, key: &str, uid: u32) -> Option<Duration> {
        self.of(key, uid).iter().map(|prober| prober.started).min()
    }

    /// Since when a prober for this request has been at work: with its owner's uid, or still with
    /// ours, when it has not come so far as to become the owner.
    fn of_request(&self, request: &Request) -> Option<Duration> {
        let own = rustix::process::geteuid().as_raw();
        let as_owner = self.since(&request.key, uid_of(request));
        as_owner.into_iter().chain(self.since(&request.key, own)).min()
    }

    fn of(&self, key: &str, uid: u32) -> &[Prober] {
        self.0.get(&(key.to_owned(), uid)).map_or(&[], Vec::as_slice)
    }
}

/// Looks through the process table for probers. Only name, state, uid and program link are read,
/// all of them readable of a task that is stuck; other files of /proc could block behind it.
#[must_use]
pub fn find_outstanding() -> Outstanding {
    let own = own_program();
    let mut found: BTreeMap<(String, u32), Vec<Prober>> = BTreeMap::new();
    // a /proc that cannot be listed shows no probers: the next ones are started, which is bounded
    // by the rounds, and the table itself could not be read either
    let _ = for_each_process(|pid| {
        if let Some((name, prober)) = prober_of(pid, own.as_deref()) {
            found.entry(name).or_default().push(prober);
        }
    });
    Outstanding(found)
}

/// The prober with this pid, if it is one: named like one, our program, and not a zombie.
fn prober_of(pid: i32, own: Option<&Path>) -> Option<((String, u32), Prober)> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let (key, asks) = key_of(comm.trim_end())?;
    let process = procfs::process::Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    if matches!(stat.state, 'Z' | 'X') || !is_own_program(pid, own) {
        return None;
    }
    // every id: a program that anybody may start with root's rights runs with theirs too
    let ids = process.status().ok()?;
    let uid = ids.euid;
    if [ids.ruid, ids.suid, ids.fuid] != [uid; 3] {
        return None;
    }
    let ticks = rustix::param::clock_ticks_per_second();
    let started = Duration::from_millis(stat.starttime.saturating_mul(1000) / ticks.max(1));
    Some(((key, uid), Prober { started, pid, asks }))
}

/// `uw-` and the rest of the key while it asks, `uw?` and the same while it only announces itself.
fn key_of(comm: &str) -> Option<(String, bool)> {
    let rest = comm.strip_prefix("uw")?;
    match rest.split_at_checked(1)? {
        ("-", rest) => Some((format!("uw-{rest}"), true)),
        ("?", rest) => Some((format!("uw-{rest}"), false)),
        (_, _) => None,
    }
}

/// Our own program's file.
fn own_program() -> Option<PathBuf> {
    fs::read_link("/proc/self/exe").ok()
}

/// Whether the process runs this very program, or another of this package beside it; also when an
/// upgrade has replaced its file since. Lying in the same directory is not enough: that is where
/// everybody's programs are. A link that may not be read belongs to a process that became a
/// mount's owner; its uid has the last word then.
fn is_own_program(pid: i32, own: Option<&Path>) -> bool {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(link) => own.is_some_and(|own| is_sibling(&link, own)),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// Whether `link`, as /proc shows it, is `own` or a program of this package in its directory.
fn is_sibling(link: &Path, own: &Path) -> bool {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.strip_suffix(b" (deleted)").unwrap_or(name).to_vec()
    };
    let (theirs, ours) = (name(link), name(own));
    link.parent() == own.parent()
        && (theirs == ours || theirs == b"unwedge" || theirs.starts_with(b"unwedge-"))
}

/// When these are a prober's arguments: does its work and says how the process should end.
/// Called first thing by every program that probes.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    let [verb, key, uid, gid, path] = args else { return None };
    if verb != VERB {
        return None;
    }
    let number = |text: &OsStr| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let owner = number(uid).zip(number(gid));
    let own_uid = owner.map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
    let answered = take_turn(&key, own_uid)
        .and_then(|turn| liveness::look_and_answer(&turn, owner, Path::new(path)));
    Some(i32::from(answered.is_err()))
}

/// How long a prober waits for another one to make up its mind.
const TURN_WAIT: Duration = Duration::from_millis(200);

/// Of the probers that several rounds send to one mount at the same time, lets exactly one ask. Each
/// first announces itself by its name and then looks for others: whoever finds one that asks, or
/// an elder that has announced itself, makes way; whoever finds a younger one waits until that one
/// has done either. So of two that overlap, the later to announce always sees the other.
fn take_turn(key: &str, uid: u32) -> std::io::Result<Turn> {
    let name = |prefix: &str| {
        let rest = key.get(3..).unwrap_or_default();
        std::ffi::CString::new(format!("{prefix}{rest}")).map_err(std::io::Error::from)
    };
    rustix::thread::set_name(&name("uw?")?)?;
    let own = rustix::process::getpid().as_raw_pid();
    let deadline = Deadline::after(TURN_WAIT);
    loop {
        let outstanding = find_outstanding();
        // one that has not become its mount's owner yet still runs with our uid
        let euid = rustix::process::geteuid().as_raw();
        let mut all = outstanding.of(key, uid).to_vec();
        if euid != uid {
            all.extend(outstanding.of(key, euid));
        }
        let others = || all.iter().filter(|prober| prober.pid != own);
        // unseen by ourselves (another uid's eyes, an odd /proc): then by nobody else either
        let elder = |other: &Prober| {
            all.iter().find(|prober| prober.pid == own).is_some_and(|own| other < own)
        };
        if others().any(|other| other.asks || elder(other)) {
            return Ok(Turn::MakeWay);
        }
        if others().next().is_none() {
            rustix::thread::set_name(&name("uw-")?)?;
            return Ok(Turn::Ask);
        }
        if deadline.passed() {
            return Ok(Turn::MakeWay);
        }
        pause(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_arguments_are_not_a_probers() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(run_if_asked(&args(&[])), None);
        assert_eq!(run_if_asked(&args(&["--json"])), None);
        assert_eq!(run_if_asked(&args(&["--probe", "k", "", "", "/"])), None);
        assert_eq!(run_if_asked(&args(&["--prober", "k", "", "/"])), None);
    }

    #[test]
    fn only_this_package_s_programs_are_ours() {
        let own = Path::new("/usr/bin/unwedge-mounts");
        for (link, ours) in [
            ("/usr/bin/unwedge-mounts", true),
            ("/usr/bin/unwedge-mounts (deleted)", true),
            ("/usr/bin/unwedge", true),
            ("/usr/bin/su", false),
            ("/usr/bin/sudo", false),
            ("/tmp/unwedge-mounts", false),
            ("/usr/bin/unwedger", false),
        ] {
            assert_eq!(is_sibling(Path::new(link), own), ours, "{link}");
        }
    }

    #[test]
    fn no_request_asks_nothing() {
        assert_eq!(probe_all(&[], Duration::from_secs(1), Duration::from_secs(1)), vec![]);
    }

    #[test]
    fn a_name_tells_the_mount_and_whether_it_asks() {
        assert_eq!(key_of("uw-abc"), Some(("uw-abc".to_owned(), true)));
        assert_eq!(key_of("uw?abc"), Some(("uw-abc".to_owned(), false)));
        for other in ["uw", "uwx", "unwedge-child", "", "uw\u{e9}"] {
            assert_eq!(key_of(other), None, "{other}");
        }
    }
}
