//! Becoming another user. Only a child that was started for one question does that. It has one thread by then, so
//! that the ids of the thread are those of the process.

use std::ffi::CString;
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{User, getgrouplist};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use super::clock::{Deadline, pause};
use super::limit::within;

/// How long somebody who only wants to know who a user is may be kept waiting.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Whose a process may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Every other group.
    pub groups: Vec<u32>,
}

/// The ids of the user called `name`. Users may be kept anywhere, across the network too, so that the answer is
/// waited for no longer than `limit`.
///
/// # Errors
/// There is no such user, or nobody knows.
pub fn named(name: &str, limit: Duration) -> Result<Ids, String> {
    let asked = name.to_owned();
    match within(limit, move || look_up(&asked)) {
        Ok(Ok(Some(ids))) => Ok(ids),
        Ok(Ok(None)) => Err(format!("user {name:?} is not known here")),
        Ok(Err(error)) => Err(format!("user {name:?}: {error}")),
        Err(why) => Err(format!("who user {name:?} is: {why}")),
    }
}

/// Who this process is, as `sudo -u` takes it: by name, or where that is not known by number.
#[must_use]
pub fn own() -> String {
    static OWN: OnceLock<String> = OnceLock::new();
    // whoever began as root may be another by now, whatever its environment says
    let uid = geteuid().as_raw();
    OWN.get_or_init(|| {
        let asks = move || User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
        let user = within(LIMIT, asks).ok().flatten();
        user.map_or_else(|| format!("#{uid}"), |it| it.name)
    })
    .clone()
}

fn look_up(name: &str) -> nix::Result<Option<Ids>> {
    let user = match (User::from_name(name)?, name.parse()) {
        (Some(user), _) => Some(user),
        (None, Ok(uid)) => User::from_uid(nix::unistd::Uid::from_raw(uid))?,
        (None, Err(_)) => None,
    };
    let Some(user) = user else { return Ok(None) };
    let Ok(name) = CString::new(user.name) else { return Ok(None) };
    let groups = getgrouplist(&name, user.gid)?.iter().map(|group| group.as_raw()).collect();
    Ok(Some(Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups }))
}

/// Takes on `ids`: all three of each, for a private mount looks at the other two as well.
///
/// # Errors
/// EPERM without `CAP_SETUID` and `CAP_SETGID`. After an error the process may be anybody, and has to end.
pub fn take_on(ids: &Ids) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
    let groups: Vec<Gid> = ids.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Takes on `ids` and lays every capability down; no program that is started from now on gets one back.
///
/// # Errors
/// As [`take_on`]; EPERM for root, as whom nothing can be laid down; EBUSY where there is another thread, which
/// would stay what it is: what looked the user up may have left one behind.
pub fn become_for_good(ids: &Ids) -> Result<(), Errno> {
    alone()?;
    set_no_new_privs(true)?;
    take_on(ids)?;
    // the kernel has taken them already, unless the process was told to keep them (`capabilities(7)`)
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    if geteuid().is_root() { Err(Errno::PERM) } else { Ok(()) }
}

/// Root becomes the user called `name`, for good; whoever is not root stays as it is. By then nothing was opened but
/// the configuration, and what knows users by name.
///
/// # Errors
/// Why that cannot be. The program has to end then.
pub fn leave_root(name: &str, limit: Duration) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let ids = named(name, limit).map_err(|why| format!("[host] {why}"))?;
    if ids.uid == 0 {
        return Err(format!("[host] user {name:?} is root, which is not to speak to strangers"));
    }
    become_for_good(&ids).map_err(|errno| format!("become {name:?}: {errno}"))
}

/// Waits until this thread is the only one; one that has ended may be listed for a moment yet.
fn alone() -> Result<(), Errno> {
    let deadline = Deadline::after(Duration::from_millis(200));
    loop {
        let tasks = std::fs::read_dir("/proc/self/task").map_err(|_| Errno::SRCH)?;
        match tasks.count() {
            1 => return Ok(()),
            _ if deadline.passed() => return Err(Errno::BUSY),
            _ => pause(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_user_is_known_by_name_with_its_groups_and_nobody_else_is() {
        let root = named("root", LONG).unwrap();
        assert_eq!((root.uid, root.gid, root.groups.contains(&0)), (0, 0, true));
        let said = named("nobody-at-all", LONG).unwrap_err();
        assert_eq!(said, "user \"nobody-at-all\" is not known here");
        assert!(named("ro\0ot", LONG).is_err());
        assert_eq!(named("0", LONG).unwrap(), root, "by its number");
        assert!(named("4000000000", LONG).is_err());
    }

    #[test]
    fn nobody_lays_down_what_another_thread_would_keep() {
        let (ends, waits) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || waits.recv());
        let nobody = Ids { uid: 65534, gid: 65534, groups: Vec::new() };
        assert_eq!(become_for_good(&nobody), Err(Errno::BUSY));
        drop(ends);
        other.join().unwrap().unwrap_err();
    }
}
