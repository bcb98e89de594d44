//! Somebody on this host who is not root, or a hostile environment, tries to have root's programs do something else:
//! links in the way at the very moment, names, directories and processes of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use crate::hardening::straced;
use crate::install::programs;
use crate::support::lab::{all_ok, await_that, held_mounts, holds};
use crate::support::{Fault, Lab};
use crate::work::Queue;

/// A round that waits three seconds in front of this system call.
fn slowed(lab: &Lab, call: &str) -> Child {
    straced(
        lab,
        &["-e", &format!("trace={call}"), "-e", &format!("inject={call}:delay_enter=3000000")],
    )
}

/// Exchanges two directory entries, again and again, until it is dropped.
struct Flipper {
    stop: Arc<AtomicBool>,
    flips: std::thread::JoinHandle<u32>,
}

impl Flipper {
    fn of(one: &Path, two: &Path, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (one, two, until) = (one.to_owned(), two.to_owned(), stop.clone());
        let flips = std::thread::spawn(move || {
            let mut count = 0;
            // an even number: everything is back in its place at the end
            while count % 2 == 1 || !until.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
                count += 1;
                std::thread::sleep(pause);
            }
            count
        });
        Self { stop, flips }
    }

    fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.flips.join().unwrap()
    }
}

/// Something live that somebody would like to see unmounted, at `box` below it.
fn precious(lab: &Lab) -> PathBuf {
    let theirs = lab.dir.join("theirs");
    fs::create_dir_all(theirs.join("box")).unwrap();
    mount("precious", theirs.join("box"), "tmpfs", MountFlags::empty(), None).unwrap();
    fs::write(theirs.join("box/data"), "precious").unwrap();
    theirs
}

#[track_caller]
fn is_untouched(theirs: &Path) {
    assert_eq!(fs::read_to_string(theirs.join("box/data")).unwrap(), "precious");
    assert_eq!(held_mounts(&theirs.join("box")).len(), 1);
    assert_eq!(fs::read_dir(theirs).unwrap().count(), 1, "something was made there");
}

lab_test! {
    fn a_link_that_comes_and_goes_above_the_path_leads_no_unmount_elsewhere(lab) {
        let (parent, link, theirs) = (lab.root("p"), lab.root("link"), precious(&lab));
        let path = parent.join("box");
        symlink(&theirs, &link).unwrap();
        lab.arm();
        let (mut taken_away, mut flips) = (0, 0);
        for _ in 0..40 {
            lab.fault(&path, &[]).kill();
            let flipper = Flipper::of(&parent, &link, Duration::from_micros(200));
            lab.apply();
            flips += flipper.end();
            is_untouched(&theirs);
            taken_away += u32::from(held_mounts(&path).is_empty());
            // and once nobody is in the way it goes
            lab.apply();
            assert!(held_mounts(&path).is_empty());
        }
        // somebody was at it all the time, and some rounds got through all the same
        assert!(flips > 400, "{flips}");
        println!("{taken_away} of 40 rounds got through");
    }
}

lab_test! {
    fn a_link_that_is_swapped_in_once_the_mount_was_found_leads_no_unmount_elsewhere(lab) {
        let (parent, theirs) = (lab.root("p"), precious(&lab));
        let path = parent.join("box");
        lab.fault(&path, &[]).kill();
        lab.arm();
        let mut ran = slowed(&lab, "umount2");
        await_that("it is about to be taken away", || {
            fs::read_to_string(lab.dir.join("state/mounts.json")).is_ok_and(|text| text.contains("\"open\": true"))
        });
        std::thread::sleep(Duration::from_secs(1));
        fs::rename(&parent, lab.root("moved")).unwrap();
        symlink(&theirs, &parent).unwrap();
        ran.wait().unwrap();
        is_untouched(&theirs);
        for _ in 0..2 {
            lab.apply();
            is_untouched(&theirs);
        }
    }
}

/// Storage that is alive, a bind of it at `a` below the directory that is given, which is still to be made, and
/// somebody else's directory, with an `a` of its own.
fn unbound(lab: &Lab) -> (Fault, PathBuf, PathBuf) {
    let (base, parent, theirs) = (lab.root("box"), lab.root("jobs"), lab.dir.join("theirs"));
    let hot = parent.join("a");
    fs::create_dir_all(&hot).unwrap();
    fs::create_dir_all(theirs.join("a")).unwrap();
    let alive = lab.fault(&base, &[]);
    lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot)));
    lab.arm();
    (alive, parent, theirs)
}

lab_test! {
    fn a_link_that_comes_and_goes_at_a_hot_path_is_bound_over_by_nothing(lab) {
        let (_alive, parent, theirs) = unbound(&lab);
        let (hot, link) = (parent.join("a"), lab.root("link"));
        symlink(&theirs, &link).unwrap();
        let mut made = 0;
        for nth in 1..=40 {
            // what is made of a path goes by several looks at it: slowly enough that some are alike
            let flipper = Flipper::of(&parent, &link, Duration::from_millis(nth));
            lab.apply();
            flipper.end();
            assert!(held_mounts(&theirs.join("a")).is_empty(), "bound over somebody else's directory");
            assert_eq!(fs::read_dir(theirs.join("a")).unwrap().count(), 0);
            if !held_mounts(&hot).is_empty() {
                made += 1;
                unmount(&hot, UnmountFlags::DETACH).unwrap();
            }
        }
        println!("{made} of 40 rounds got through");
    }
}

lab_test! {
    fn a_link_that_is_swapped_in_once_the_hot_path_was_found_is_bound_over_by_nothing(lab) {
        let (_alive, parent, theirs) = unbound(&lab);
        let mut ran = slowed(&lab, "move_mount");
        std::thread::sleep(Duration::from_millis(1500));
        fs::rename(&parent, lab.root("moved")).unwrap();
        symlink(&theirs, &parent).unwrap();
        ran.wait().unwrap();
        for _ in 0..2 {
            lab.apply();
            assert!(held_mounts(&theirs.join("a")).is_empty(), "bound over somebody else's directory");
        }
        assert_eq!(fs::read_dir(theirs.join("a")).unwrap().count(), 0);
    }
}

lab_test! {
    fn a_link_in_place_of_a_directory_that_was_just_made_has_nothing_elsewhere_opened_to_all(lab) {
        let (base, parent, secret) = (lab.root("box"), lab.root("jobs"), lab.dir.join("secret"));
        fs::create_dir_all(&parent).unwrap();
        fs::write(&secret, "secret").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let _alive = lab.fault(&base, &[]);
        let made = parent.join("new");
        lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &made.join("a"))));
        lab.arm();
        let mut ran = slowed(&lab, "fchmodat");
        await_that("it is made", || made.exists());
        // whoever owns the directory above may do that at any moment
        fs::rename(&made, lab.root("moved")).unwrap();
        symlink(&secret, &made).unwrap();
        ran.wait().unwrap();
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

lab_test! {
    fn a_mount_with_a_hostile_name_is_shown_and_says_nothing_of_its_own(lab) {
        // a line of its own, colours, a metric, an option, and the end of a JSON string
        let name = "x\n# EOF\nunwedge_mount_state{path=\"/\",state=\"live\"} 1\n\u{1b}[31m--force\"}],\"steps\":[{\"verb\":\"detach";
        let path = lab.root(name);
        lab.fault(&path, &[]).kill();
        lab.arm();
        let before = lab.round(&[]).stdout;
        assert!(!before.contains('\u{1b}') && !before.lines().any(|line| line.starts_with("unwedge_mount_state")), "{before}");
        let round = lab.apply();
        assert_eq!(round["steps"].as_array().unwrap().len(), 1, "{round:#}");
        assert!(all_ok(&round), "{round:#}");
        let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_mounts.prom")).unwrap();
        assert!(!metrics.lines().any(|line| line == "# EOF" || line.contains("path=\"/\",")), "{metrics}");
        unwedge::probes::exposition::parse(metrics.as_bytes()).unwrap();
        // the story of it is one, too
        let told = lab.unwedge(&["incidents"]).stdout;
        assert!(!told.contains('\u{1b}') && told.lines().count() == 1, "{told}");
        let told: Value = serde_json::from_str(&lab.unwedge(&["incidents", "--json"]).stdout).unwrap();
        assert_eq!(told["incidents"].as_array().unwrap().len(), 1);
    }
}

lab_test! {
    fn where_others_may_write_no_lock_is_taken_and_nothing_is_done(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let run = lab.dir.join("run");
        for (mode, owner) in [(0o777, 0), (0o1777, 0), (0o775, 0), (0o755, 1234)] {
            fs::set_permissions(&run, fs::Permissions::from_mode(mode)).unwrap();
            chown(&run, Some(owner), None).unwrap();
            let ran = lab.round(&["--apply"]);
            assert!(ran.code == Some(1) && ran.stderr.contains("no lock in it is ours"), "{mode:o} {owner}: {ran:?}");
            assert_eq!(held_mounts(&path).len(), 1, "{mode:o} {owner}");
        }
        chown(&run, Some(0), None).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(all_ok(&lab.apply()));
    }
}

lab_test! {
    fn a_permission_that_somebody_else_gave_is_none(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        let (dir, sentinel) = (lab.dir.join("sentinels"), lab.dir.join("sentinels/mounts"));
        let stays = |what: &str| {
            let round = lab.apply();
            assert!(holds(&round).contains(&"* not-armed".to_owned()), "{what}: {round:#}");
            assert_eq!(held_mounts(&path).len(), 1, "{what}");
        };
        lab.arm();
        chown(&sentinel, Some(1234), None).unwrap();
        stays("owned by another user");
        chown(&sentinel, Some(0), None).unwrap();
        fs::set_permissions(&sentinel, fs::Permissions::from_mode(0o666)).unwrap();
        stays("writable by others");
        fs::set_permissions(&sentinel, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        stays("in a directory that others may write");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(&sentinel).unwrap();
        symlink("binds", &sentinel).unwrap();
        stays("a link to another permission");
        fs::remove_file(&sentinel).unwrap();
        lab.arm();
        assert!(all_ok(&lab.apply()));
    }
}

lab_test! {
    fn a_job_cannot_have_anything_bound_outside_of_the_hot_root(lab) {
        let queue = Queue::of(&mut lab);
        let (base, root) = (lab.root("box"), lab.root("jobs"));
        let _alive = lab.fault(&base, &[]);
        fs::create_dir(&root).unwrap();
        let outside = lab.dir.join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        lab.queued("", &(lab.listed(&base) + &format!(
            "[binds]\ncold_root = \"{}\"\nhot_root = \"{}\"\n", base.join("tier").display(), root.display()
        )));
        let before = fs::read("/proc/self/mountinfo").unwrap();
        for (id, output) in [
            ("1", "/".into()),
            ("2", root.join("../../etc")),
            ("3", root.join("link/x")),
            ("4", root.clone()),
            ("5", root.join("a/../../x")),
            ("6", Path::new("../..").into()),
            ("7", root.join("./y")),
        ] {
            queue.job(id, "queued", &output);
        }
        for _ in 0..2 {
            lab.apply();
        }
        assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), before, "something was bound");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(!base.join("tier").exists() || fs::read_dir(base.join("tier")).unwrap().flatten().all(|it| it.file_name() == "link"), "made on the storage");
    }
}

host_test! {
    fn a_hostile_environment_leads_no_program_elsewhere_and_none_of_ours_listens(host) {
        let host: crate::support::host::Host = host;
        host.configure("", &(crate::support::host::listed("") + "[worker]\nunit = \"worker.service\"\n"));
        host.arm();
        let evil = b"#!/bin/sh\ntouch /run/evil-was-run\nexit 0\n";
        for name in ["systemctl", "journalctl", "fusermount3", "umount", "sshfs", "unwedge-jobs", "sh"] {
            host.put(&format!("/run/evil/{name}"), evil, "755");
        }
        for name in programs() {
            host.put(&format!("/usr/bin/{name}"), &crate::support::host::program(name), "755");
        }
        host.put("/run/listen", br"#!/usr/bin/python3
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/run/notify.sock'); s.settimeout(120)
try:
    said = s.recv(4096)
    open('/run/heard', 'wb').write(said)
except TimeoutError: pass
", "755");
        host.ok("systemd-run --quiet --unit=listen /run/listen; until test -S /run/notify.sock; do sleep 0.02; done
            kill -KILL $(main_pid)");
        let hostile = "env PATH=/run/evil LD_PRELOAD=/run/evil/none.so NOTIFY_SOCKET=/run/notify.sock WATCHDOG_USEC=1 LISTEN_FDS=3 \
            LISTEN_PID=1 TMPDIR=/run/evil SYSTEMD_PAGER=/run/evil/sh";
        for run in ["/usr/bin/unwedge-mounts --apply", "/usr/bin/unwedge-worker --apply", "/usr/bin/unwedge-binds --apply",
            "/usr/bin/verify-ops", "/usr/bin/unwedge doctor", "/usr/bin/unwedge-canary", "/usr/bin/unwedge-notify", "/usr/bin/unwedge-jobs"] {
            host.bash(&format!("{hostile} {run} >/dev/null 2>&1"));
            assert_eq!(host.ok("ls /run/evil-was-run /run/heard 2>/dev/null || :"), "", "{run}");
        }
        host.ok("timeout 5 cat /srv/storagebox/hello; systemctl start unwedge-watch; sleep 1");
        // sockets in the state LISTEN, of any family, by the process that has them
        let inodes = "awk '$4 == \"0A\" {print $10}' /proc/net/tcp /proc/net/tcp6; awk '$6 == \"01\" && $4 == \"00010000\" {print $7}' /proc/net/unix";
        let ours = format!("listening=$({inodes}); for link in /proc/[0-9]*/fd/*; do
            case $(readlink $(dirname $(dirname $link))/exe) in */unwedge*|*/verify-ops*) ;; *) continue ;; esac
            inode=$(readlink $link | sed -n 's/^socket:\\[\\(.*\\)\\]$/\\1/p'); [ -z \"$inode\" ] || grep -qx \"$inode\" <<<\"$listening\" && [ -n \"$inode\" ] && echo $link; done; :");
        assert_eq!(host.ok(&ours), "", "a program of ours listens");
        host.ok("systemctl is-active -q unwedge-watch");
    }
}

#[test]
fn no_program_of_ours_could_listen() {
    for path in crate::house::files(&crate::house::root().join("src"), ".rs") {
        if crate::house::is_test(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            "TcpListener",
            "UnixListener",
            "UdpSocket",
            "net::listen",
            "bind_unix",
            "net::bind",
            "UnixDatagram::bind",
        ] {
            assert!(!code.contains(word), "{}: {word}", path.display());
        }
    }
}
