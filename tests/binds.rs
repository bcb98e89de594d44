//! Binds on real mounts: made, swapped under a live writer without the disk below ever showing, and
//! held where a bind would be wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};
use unwedge::config::Whereabouts;
use unwedge::probes::holders::{Daemons, Holders};
use unwedge::probes::mountinfo::{self, Mount};

use crate::hardening::straced;
use crate::support::lab::{all_ok, await_that, holds, steps, verdict};
use crate::support::{Fault, Lab};

/// The mount that a walk to `path` ends in, if it is mounted there.
pub fn top(path: &Path) -> Option<Mount> {
    let table = mountinfo::read(|_| true).unwrap();
    table.walk(path).layers.last().map(|mount| (*mount).clone())
}

pub fn layers(path: &Path) -> usize {
    mountinfo::read(|_| true).unwrap().walk(path).layers.len()
}

/// Writes new files below a path in a loop, and counts how often that went well.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn below(path: &Path) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (path, end, count) = (path.to_owned(), Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            for number in 0_u64.. {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let file = path.join(format!("w{}", number % 64));
                if fs::write(&file, b"x").is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Ends whoever serves the mount at `path`: it is dead when this returns.
#[track_caller]
pub fn kill_daemons(path: &Path) {
    let dev = top(path).unwrap().dev;
    let Holders::Living(daemons) = Daemons::scan(Whereabouts::Here).of(dev) else {
        panic!("{} has no daemon", path.display());
    };
    for daemon in daemons {
        let pid = rustix::process::Pid::from_raw(daemon.pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    await_that("its daemon ends", || Daemons::scan(Whereabouts::Here).of(dev) == Holders::None);
}

/// What lies in the directory that mounts cover.
#[track_caller]
fn below_all_mounts(path: &Path) -> Vec<PathBuf> {
    while layers(path) > 0 {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
    fs::read_dir(path).unwrap().flatten().map(|entry| entry.path()).collect()
}

/// A base with binds of three of its directories, armed; the second is deep, and the third lies in a
/// shared peer group.
fn three_binds(lab: &Lab) -> (PathBuf, [PathBuf; 3]) {
    let base = lab.root("box");
    let hot = ["a", "b", "s/c"].map(|name| lab.root("jobs").join(name));
    let cold = ["jobs/a", "jobs/b/2026/deep", "jobs/c"].map(|name| base.join(name));
    for path in &hot {
        fs::create_dir_all(path).unwrap();
    }
    let shared = lab.root("jobs/s");
    mount_bind(&shared, &shared).unwrap();
    mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
    let binds: String = cold.iter().zip(&hot).map(|(cold, hot)| lab.bound(cold, hot)).collect();
    lab.configure("", &(lab.listed(&base) + &binds));
    lab.arm();
    (base, hot)
}

lab_test! {
    fn a_base_and_its_binds_are_repaired_under_live_writers_and_the_disk_below_is_never_written(lab) {
        let (base, hot) = three_binds(&lab);
        let _fault = lab.fault(&base, &[]);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let writers: Vec<Writer> = hot.iter().map(|path| Writer::below(path)).collect();
        for _ in 0..5 {
            kill_daemons(&base);
            let before: Vec<u64> = writers.iter().map(Writer::written).collect();
            let round = lab.apply();
            assert!(all_ok(&round), "{round:#}");
            let new = top(&base).unwrap();
            for path in &hot {
                assert_eq!((layers(path), top(path).unwrap().dev), (1, new.dev), "{}", path.display());
            }
            await_that("every writer writes again", || {
                writers.iter().zip(&before).all(|(writer, before)| writer.written() > *before + 2)
            });
            let again = lab.apply();
            assert!(hot.iter().all(|path| verdict(&again, path) == "live"), "{again:#}");
            assert!(steps(&again).is_empty() && holds(&again).is_empty(), "{again:#}");
        }
        for writer in writers {
            writer.end();
        }
        for path in &hot {
            assert_eq!(below_all_mounts(path), Vec::<PathBuf>::new(), "{}", path.display());
        }
    }
}

/// A live base, and binds of its directories `jobs/a` … at `jobs/a` … below the root, made by hand as
/// `mount --bind` does.
fn bound(lab: &Lab, names: &[&str], mounts: &str) -> (Fault, Vec<PathBuf>) {
    let base = lab.root("box");
    let fault = lab.fault(&base, &[]);
    let hot: Vec<PathBuf> = names.iter().map(|name| lab.root("jobs").join(name)).collect();
    let mut binds = String::new();
    for (name, hot) in names.iter().zip(&hot) {
        let cold = base.join("jobs").join(name);
        fs::create_dir_all(hot).unwrap();
        mount_bind(&cold, hot).unwrap();
        binds += &lab.bound(&cold, hot);
    }
    lab.configure(mounts, &(lab.listed(&base) + &binds));
    lab.arm();
    (fault, hot)
}

/// The base is mounted anew by somebody else; what was bound holds the old one.
fn mounted_anew(lab: &Lab, old: &mut Fault) -> Fault {
    old.kill();
    unmount(lab.root("box"), UnmountFlags::DETACH).unwrap();
    lab.fault(&lab.root("box"), &[])
}

#[track_caller]
fn is_bound(hot: &Path, base: &Path) {
    let (bind, base) = (top(hot).unwrap(), top(base).unwrap());
    assert_eq!((layers(hot), bind.dev), (1, base.dev), "{}", hot.display());
}

lab_test! {
    fn binds_that_outlived_their_base_are_swapped_for_one_charge_and_the_base_is_left(lab) {
        let (mut old, hot) = bound(&lab, &["a", "b", "c"], "budget.per_hour = 1");
        let _new = mounted_anew(&lab, &mut old);
        let before = top(&lab.root("box")).unwrap();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let path = |index: usize| hot[index].display();
        let expected: Vec<String> = (0..3)
            .flat_map(|i| [format!("rebind {}", path(i)), format!("wait-live {}", path(i))])
            .collect();
        assert_eq!(steps(&round), expected);
        for hot in &hot {
            is_bound(hot, &lab.root("box"));
            assert!(fs::read_to_string(hot.join("in.txt")).unwrap().starts_with("job "));
        }
        assert_eq!(top(&lab.root("box")).unwrap(), before, "the base is not touched");
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n");
    }
}

lab_test! {
    fn a_bind_of_a_live_but_replaced_mount_is_pinned_and_swapped_once_confirmed(lab) {
        let (old, hot) = bound(&lab, &["a"], "confirm.pinned = { runs = 2, age = \"0s\" }");
        unmount(lab.root("box"), UnmountFlags::DETACH).unwrap();
        let _new = lab.fault(&lab.root("box"), &[]);
        assert!(fs::metadata(hot[0].join("in.txt")).is_ok(), "the old one still answers");
        let round = lab.apply();
        assert_eq!(verdict(&round, &hot[0]), "pinned");
        assert_eq!(holds(&round), [format!("{} not-confirmed", hot[0].display())]);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        is_bound(&hot[0], &lab.root("box"));
        drop(old);
    }
}

lab_test! {
    fn a_bind_that_is_pinned_again_after_it_was_made_anew_is_held_for_good(lab) {
        let (_old, hot) = bound(&lab, &["a"], "");
        let kept = lab.root("kept");
        fs::create_dir(&kept).unwrap();
        mount_bind(&hot[0], &kept).unwrap();
        unmount(lab.root("box"), UnmountFlags::DETACH).unwrap();
        let _new = lab.fault(&lab.root("box"), &[]);
        assert!(all_ok(&lab.apply()));
        for _ in 0..3 {
            // whoever does that will do it again
            if verdict(&lab.json(&[]), &hot[0]) == "live" {
                unmount(&hot[0], UnmountFlags::DETACH).unwrap();
                mount_bind(&kept, &hot[0]).unwrap();
            }
            let round = lab.apply();
            assert_eq!(holds(&round), [format!("{} still-pinned", hot[0].display())], "{round:#}");
        }
        // a base that is mounted anew is another matter
        unmount(lab.root("box"), UnmountFlags::DETACH).unwrap();
        let _newer = lab.fault(&lab.root("box"), &[]);
        assert!(all_ok(&lab.apply()));
        is_bound(&hot[0], &lab.root("box"));
    }
}

lab_test! {
    fn a_hung_base_is_repaired_with_its_binds_and_who_waits_in_one_is_freed(lab) {
        let (mut fault, hot) = bound(&lab, &["a", "b"], "");
        fault.order("swallow");
        let mut waiter = Command::new("/usr/bin/stat").arg(hot[0].join("x")).spawn().unwrap();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        await_that("the waiter ends", || waiter.try_wait().unwrap().is_some());
        for hot in &hot {
            is_bound(hot, &lab.root("box"));
        }
        assert_eq!(fs::read_to_string(hot[1].join("in.txt")).unwrap(), "job b\n");
    }
}

lab_test! {
    fn options_and_propagation_of_the_old_bind_are_those_of_the_new_one(lab) {
        let shared = lab.root("jobs");
        fs::create_dir(&shared).unwrap();
        mount_bind(&shared, &shared).unwrap();
        mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
        let (mut old, hot) = bound(&lab, &["a", "b", "c"], "");
        let ro = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOATIME;
        mount_remount(&hot[0], ro, "").unwrap();
        mount_change(&hot[1], MountPropagationFlags::PRIVATE).unwrap();
        mount_change(&hot[2], MountPropagationFlags::DOWNSTREAM).unwrap();
        let before: Vec<Mount> = hot.iter().map(|hot| top(hot).unwrap()).collect();
        assert!(before[0].propagation.shared.is_some() && before[1].propagation.shared.is_none());
        let _new = mounted_anew(&lab, &mut old);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        for (hot, before) in hot.iter().zip(&before) {
            let now = top(hot).unwrap();
            assert_eq!(now.options, before.options, "{}", hot.display());
            assert!(now.propagation.is_like(&before.propagation), "{now:?} {before:?}");
        }
        let refused = fs::write(hot[0].join("x"), "").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(30), "read-only");
    }
}

lab_test! {
    fn a_peer_gets_the_new_bind_with_its_options_and_loses_the_old_one(lab) {
        let (shared, peer) = (lab.root("jobs"), lab.dir.join("peer"));
        for dir in [&shared, &peer] {
            fs::create_dir(dir).unwrap();
        }
        mount_bind(&shared, &shared).unwrap();
        mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
        mount_bind(&shared, &peer).unwrap();
        let (mut old, hot) = bound(&lab, &["a"], "");
        let there = peer.join("a");
        assert_eq!(top(&there).unwrap().dev, top(&hot[0]).unwrap().dev);
        for path in [&hot[0], &there] {
            mount_remount(path, MountFlags::BIND | MountFlags::NOEXEC | MountFlags::NOSUID, "").unwrap();
        }
        let _new = mounted_anew(&lab, &mut old);
        assert!(all_ok(&lab.apply()));
        is_bound(&there, &lab.root("box"));
        assert_eq!(top(&there).unwrap().options, top(&hot[0]).unwrap().options);
        assert!(top(&there).unwrap().options.to_string_lossy().contains("noexec"));
    }
}

lab_test! {
    fn a_round_killed_between_sliding_and_taking_away_is_ended_by_the_next_with_one_detach(lab) {
        let (mut old, hot) = bound(&lab, &["a"], "");
        let _new = mounted_anew(&lab, &mut old);
        slide_beneath(&lab.root("box/jobs/a"), &hot[0]);
        assert_eq!((layers(&hot[0]), verdict(&lab.json(&[]), &hot[0])), (2, "dead"));
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let path = hot[0].display();
        assert_eq!(steps(&round), [format!("detach {path}"), format!("wait-live {path}")]);
        is_bound(&hot[0], &lab.root("box"));
    }
}

/// What a round that dies right there leaves.
pub fn slide_beneath(cold: &Path, hot: &Path) {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let new = open_tree(rustix::fs::CWD, cold, flags).unwrap();
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_BENEATH;
    move_mount(&new, c"", rustix::fs::CWD, hot, flags).unwrap();
}

lab_test! {
    fn of_a_stack_of_dead_binds_one_new_one_is_left(lab) {
        let (mut old, hot) = bound(&lab, &["a"], "");
        for _ in 0..2 {
            mount_bind(lab.root("box/jobs/a"), &hot[0]).unwrap();
        }
        let _new = mounted_anew(&lab, &mut old);
        assert_eq!(layers(&hot[0]), 3);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        is_bound(&hot[0], &lab.root("box"));
    }
}

lab_test! {
    fn without_its_base_nothing_is_bound_and_nothing_is_made_on_the_disk_below(lab) {
        let (base, hot) = (lab.root("box"), lab.root("jobs/a"));
        fs::create_dir_all(&base).unwrap();
        fs::create_dir_all(&hot).unwrap();
        let never = lab.dir.join("never");
        lab.script(&never, "#!/bin/sh\nexit 1\n");
        let listed = lab.mounted_by(&base, "1s", &never);
        lab.configure("", &(listed + &lab.bound(&base.join("jobs/a"), &hot)));
        lab.arm();
        // a readable directory with the right name in it is not the storage
        fs::create_dir_all(base.join("jobs")).unwrap();
        for _ in 0..2 {
            let round = lab.apply();
            assert!(holds(&round).contains(&format!("{} storage-not-live", hot.display())), "{round:#}");
            assert_eq!(layers(&hot), 0);
            assert!(!base.join("jobs/a").exists(), "made on the disk below");
        }
    }
}

lab_test! {
    fn what_is_missing_is_made_on_the_storage_as_its_owner_and_here_as_ours(lab) {
        let base = lab.root("box");
        let _fault = lab.fault(&base, &[]);
        std::os::unix::fs::chown(base.join("jobs"), Some(1234), Some(1235)).unwrap();
        let (cold, hot) = (base.join("jobs/new/2026"), lab.root("jobs/2026/new"));
        lab.configure("", &(lab.listed(&base) + &lab.bound(&cold, &hot)));
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        is_bound(&hot, &base);
        let made = fs::metadata(&cold).unwrap();
        assert_eq!((made.uid(), made.gid()), (1234, 1235));
        fs::write(hot.join("x"), "y").unwrap();
        assert_eq!(fs::read_to_string(cold.join("x")).unwrap(), "y");
        assert_eq!(fs::metadata(lab.root("jobs/2026")).unwrap().uid(), 0);
    }
}

lab_test! {
    fn a_directory_with_something_in_it_is_not_covered_and_one_that_is_covered_is_told(lab) {
        let base = lab.root("box");
        let _fault = lab.fault(&base, &[]);
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        fs::write(hot.join("lost"), "written while nothing was bound\n").unwrap();
        lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot)));
        lab.arm();
        let round = lab.apply();
        assert_eq!(holds(&round), [format!("{} hides-data", hot.display())], "{round:#}");
        assert_eq!(layers(&hot), 0);
        let hidden = |count: u32| {
            let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_mounts.prom")).unwrap();
            let line = format!("unwedge_mount_hidden_entries{{path=\"{}\"}} {count}\n", hot.display());
            assert!(metrics.contains(&line), "{line} not in {metrics}");
        };
        hidden(1);
        // somebody binds it all the same
        mount_bind(base.join("jobs/a"), &hot).unwrap();
        let round = lab.apply();
        assert_eq!(verdict(&round, &hot), "live");
        hidden(1);
        unmount(&hot, UnmountFlags::DETACH).unwrap();
        fs::rename(hot.join("lost"), lab.dir.join("found")).unwrap();
        assert!(all_ok(&lab.apply()));
        hidden(0);
        assert!(lab.dir.join("found").exists());
    }
}

lab_test! {
    fn what_shows_something_else_is_left_alone(lab) {
        let (_fault, hot) = bound(&lab, &["a", "b"], "");
        unmount(&hot[0], UnmountFlags::DETACH).unwrap();
        mount_bind(lab.root("box/jobs/c"), &hot[0]).unwrap();
        unmount(&hot[1], UnmountFlags::DETACH).unwrap();
        mount("other", &hot[1], "tmpfs", MountFlags::empty(), None).unwrap();
        let before: Vec<Mount> = hot.iter().map(|hot| top(hot).unwrap()).collect();
        let round = lab.apply();
        for (hot, before) in hot.iter().zip(&before) {
            assert_eq!(verdict(&round, hot), "wrong-source", "{round:#}");
            assert_eq!(top(hot).unwrap(), *before);
        }
        assert!(steps(&round).is_empty());
    }
}

lab_test! {
    fn a_bind_of_a_directory_that_was_removed_and_made_anew_is_swapped(lab) {
        let (_fault, hot) = bound(&lab, &["a"], "");
        let cold = lab.root("box/jobs/a");
        fs::remove_file(cold.join("in.txt")).unwrap();
        fs::remove_dir(&cold).unwrap();
        fs::create_dir(&cold).unwrap();
        assert_eq!(verdict(&lab.json(&[]), &hot[0]), "pinned");
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        fs::write(hot[0].join("x"), "").unwrap();
        assert!(cold.join("x").exists());
    }
}

lab_test! {
    fn a_bind_that_cannot_be_made_stops_no_other_and_is_tried_less_and_less(lab) {
        let (mut old, hot) = bound(&lab, &["a", "b", "c"], "");
        let _new = mounted_anew(&lab, &mut old);
        let cold = lab.root("box/jobs/b");
        fs::remove_file(cold.join("in.txt")).unwrap();
        fs::remove_dir(&cold).unwrap();
        fs::write(&cold, "a file").unwrap();
        let round = lab.apply();
        is_bound(&hot[0], &lab.root("box"));
        is_bound(&hot[2], &lab.root("box"));
        assert_eq!(verdict(&lab.json(&[]), &hot[1]), "dead", "it stays, loud: {round:#}");
        assert_eq!(lab.unwedge(&["debts"]).stdout.lines().count(), 1);
        let round = lab.apply();
        assert_eq!(holds(&round), [format!("{} cooling-down", hot[1].display())], "{round:#}");
    }
}

lab_test! {
    fn somebody_elses_mount_on_a_broken_bind_is_never_taken_along(lab) {
        let (mut old, hot) = bound(&lab, &["a"], "");
        fs::create_dir(hot[0].join("theirs")).unwrap();
        mount("theirs", hot[0].join("theirs"), "tmpfs", MountFlags::empty(), None).unwrap();
        let _new = mounted_anew(&lab, &mut old);
        let round = lab.apply();
        assert!(holds(&round).contains(&format!("{} has-children", hot[0].display())), "{round:#}");
        assert_eq!(layers(&hot[0]), 1);
    }
}

lab_test! {
    fn without_their_own_sentinel_binds_stay_while_the_base_is_repaired(lab) {
        let (mut fault, hot) = bound(&lab, &["a"], "");
        fs::remove_file(lab.dir.join("sentinels/binds")).unwrap();
        fault.kill();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(holds(&round), [format!("{} not-armed", hot[0].display())]);
        let after = lab.apply();
        assert_eq!((verdict(&after, &hot[0]), verdict(&after, &lab.root("box"))), ("dead", "live"));
        fs::write(lab.dir.join("sentinels/binds"), "").unwrap();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        is_bound(&hot[0], &lab.root("box"));
    }
}

lab_test! {
    fn a_bad_line_of_the_manifest_is_told_and_a_missing_manifest_fails_the_round(lab) {
        let base = lab.root("box");
        let _fault = lab.fault(&base, &[]);
        let (manifest, hot) = (lab.dir.join("binds"), lab.root("jobs/a b"));
        let section = format!("[binds]\nmanifest = \"{}\"\n", manifest.display());
        lab.configure("", &(lab.listed(&base) + &section));
        lab.arm();
        let text = format!(
            "# tiering\nnonsense\n{}/jobs/a {}\n/etc /srv/x\n",
            base.display(),
            hot.display().to_string().replace(' ', "\\040")
        );
        fs::write(&manifest, text).unwrap();
        let ran = lab.round(&["--apply", "--json"]);
        let round: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(ran.code, Some(0));
        let bad = format!("{} bad-bind", manifest.display());
        assert_eq!(holds(&round), [bad.clone(), bad.clone()], "{round:#}");
        let details: Vec<&str> = round["holds"].as_array().unwrap().iter()
            .map(|hold| hold["detail"].as_str().unwrap()).collect();
        assert!(details[0].starts_with("line 2: ") && details[1].starts_with("line 4: "), "{details:?}");
        is_bound(&hot, &base);
        fs::set_permissions(&manifest, fs::Permissions::from_mode(0o666)).unwrap();
        let ran = lab.round(&[]);
        assert!(ran.code == Some(1) && ran.stdout.contains("chmod go-w"), "{ran:?}");
        fs::remove_file(&manifest).unwrap();
        let ran = lab.round(&[]);
        assert!(ran.code == Some(1) && ran.stdout.contains("there is no such file"), "{ran:?}");
    }
}

lab_test! {
    fn where_the_kernel_cannot_slide_the_new_one_is_at_hand_before_the_old_one_goes(lab) {
        if !Path::new("/usr/bin/strace").exists() {
            crate::support::isolate::skip(module_path!(), "needs /usr/bin/strace");
            return;
        }
        let (mut old, hot) = bound(&lab, &["a"], "");
        let _new = mounted_anew(&lab, &mut old);
        // as a kernel before 6.5 answers to the flag
        let ran = Command::new("/usr/bin/strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=move_mount"])
            .args(["-e", "inject=move_mount:error=EINVAL:when=1"])
            .arg(&lab.program).arg("--config").arg(&lab.config).args(["--apply", "--json"])
            .output().unwrap();
        let round: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert!(all_ok(&round), "{round:#}");
        let detail = round["outcomes"][0]["detail"].as_str().unwrap();
        assert!(detail.ends_with("put in place of the old one"), "{detail}");
        is_bound(&hot[0], &lab.root("box"));
    }
}

/// What a round that was tampered with said of its first step.
fn first_outcome(lab: &Lab) -> serde_json::Value {
    let said = fs::read(lab.dir.join("out.json")).unwrap();
    let round: serde_json::Value = serde_json::from_slice(&said).unwrap();
    round["outcomes"][0].clone()
}

lab_test! {
    fn where_the_kernel_cannot_slide_what_was_mounted_in_the_gap_is_not_covered(lab) {
        let (mut old, hot) = bound(&lab, &["a"], "");
        let _new = mounted_anew(&lab, &mut old);
        // as a kernel before 6.5, and slowly between the old one and the new one
        let mut ran = straced(&lab, &[
            "-e", "trace=move_mount,umount2",
            "-e", "inject=move_mount:error=EINVAL:when=1",
            "-e", "inject=umount2:delay_exit=3000000",
        ]);
        await_that("the old one is gone", || layers(&hot[0]) == 0);
        mount("theirs", &hot[0], "tmpfs", MountFlags::empty(), None).unwrap();
        ran.wait().unwrap();
        assert_eq!((layers(&hot[0]), top(&hot[0]).unwrap().fstype.as_str()), (1, "tmpfs"));
        let outcome = first_outcome(&lab);
        assert_eq!(outcome["ok"], false);
        let detail = outcome["detail"].as_str().unwrap();
        assert!(detail.contains("the old one is gone") && detail.contains("something else is mounted there"), "{detail}");
    }
}

lab_test! {
    fn what_is_mounted_on_a_new_bind_at_the_very_moment_stays(lab) {
        let (base, hot) = (lab.root("box"), lab.root("jobs/a"));
        let _fault = lab.fault(&base, &[]);
        fs::create_dir_all(&hot).unwrap();
        lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot)));
        lab.arm();
        let mut ran = straced(&lab, &["-e", "trace=move_mount", "-e", "inject=move_mount:delay_exit=3000000"]);
        await_that("it is bound", || layers(&hot) == 1);
        mount("theirs", &hot, "tmpfs", MountFlags::empty(), None).unwrap();
        ran.wait().unwrap();
        assert_eq!((layers(&hot), top(&hot).unwrap().fstype.as_str()), (2, "tmpfs"), "somebody's live mount was taken away");
        assert_eq!(first_outcome(&lab)["ok"], false);
    }
}

lab_test! {
    fn what_is_made_on_a_server_with_a_umask_of_its_own_can_be_entered_all_the_same(lab) {
        let server = "/usr/lib/openssh/sftp-server";
        for needed in ["/usr/bin/sshfs", server] {
            if !Path::new(needed).exists() {
                crate::support::isolate::skip(module_path!(), &format!("needs {needed}"));
                return;
            }
        }
        let (base, remote, ssh) = (lab.root("box"), lab.dir.join("remote"), lab.dir.join("ssh"));
        for dir in [base.clone(), remote.join("jobs")] {
            fs::create_dir_all(dir).unwrap();
        }
        lab.script(&ssh, &format!("#!/bin/sh\nexec {server} -u 077\n"));
        let mounted = Command::new("/usr/bin/sshfs")
            .args(["-o", &format!("ssh_command={}", ssh.display())])
            .arg(format!("lab:{}", remote.display())).arg(&base)
            .status().unwrap();
        assert!(mounted.success());
        let bind = lab.bound(&base.join("jobs/new"), &lab.root("hot/new"));
        lab.configure("", &(format!("[[mount]]\npath = \"{}\"\n", base.display()) + &bind));
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        for made in [remote.join("jobs/new"), lab.root("hot")] {
            let mode = fs::metadata(&made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{}", made.display());
        }
    }
}

impl Lab {
    /// A run of `unwedge-binds`.
    pub fn boot_front(&self, flags: &[&str]) -> crate::support::lab::Ran {
        self.run(Path::new(env!("CARGO_BIN_EXE_unwedge-binds")), flags)
    }
}

lab_test! {
    fn the_boot_front_makes_the_binds_of_live_storage_and_touches_nothing_else(lab) {
        let (base, hot) = three_binds(&lab);
        let (_fault, mut other) = (lab.fault(&base, &[]), lab.fault(&lab.root("other"), &[]));
        other.kill();
        let before = lab.snapshot();
        let dry = lab.boot_front(&["--json"]);
        assert_eq!(lab.snapshot(), before, "a dry run writes nothing");
        let ran = lab.boot_front(&["--apply", "--json", "--require"]);
        let (dry, done): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&dry.stdout).unwrap(), serde_json::from_str(&ran.stdout).unwrap());
        assert_eq!((ran.code, &dry["plan_id"]), (Some(0), &done["plan_id"]), "{done:#}");
        assert_eq!((done["tool"].as_str(), all_ok(&done)), (Some("binds"), true));
        for hot in &hot {
            is_bound(hot, &base);
        }
        assert_eq!(layers(&lab.root("other")), 1, "a dead mount is not its business");
        let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_binds.prom")).unwrap();
        assert!(metrics.contains("unwedge_tool_run_ok{tool=\"binds\"} 1\n"), "{metrics}");
        assert!(!metrics.contains("unwedge_mount_state"), "a family is in one file");
        let again = lab.boot_front(&["--apply", "--require"]);
        assert_eq!((again.code, again.stdout.contains("plan ")), (Some(0), false), "{again:?}");
    }
}

lab_test! {
    fn the_boot_front_waits_for_the_storage_and_fails_where_a_bind_is_required_and_missing(lab) {
        let (base, hot) = (lab.root("box"), lab.root("jobs/a"));
        for dir in [&base, &hot] {
            fs::create_dir_all(dir).unwrap();
        }
        let never = lab.dir.join("never");
        lab.script(&never, "#!/bin/sh\nexit 1\n");
        let bind = lab.bound(&base.join("jobs/a"), &hot);
        lab.configure("", &(lab.mounted_by(&base, "1s", &never) + &bind));
        lab.arm();
        let ran = lab.boot_front(&["--apply", "--require"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("storage-not-live") && ran.took >= std::time::Duration::from_millis(500));
        assert_eq!(lab.boot_front(&["--apply"]).code, Some(0), "held is no failure of its own");
        lab.configure("", &(lab.mounted_by(&base, "10s", &never) + &bind));
        #[allow(clippy::disallowed_methods)]
        let mut boot = Command::new(env!("CARGO_BIN_EXE_unwedge-binds"))
            .arg("--config").arg(&lab.config).args(["--apply", "--require"])
            .stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null())
            .spawn().unwrap();
        let _fault = lab.fault(&base, &[]);
        assert!(boot.wait().unwrap().success());
        is_bound(&hot, &base);
    }
}

lab_test! {
    fn without_its_sentinel_the_boot_front_changes_nothing(lab) {
        let (base, hot) = three_binds(&lab);
        let _fault = lab.fault(&base, &[]);
        fs::remove_file(lab.dir.join("sentinels/binds")).unwrap();
        let ran = lab.boot_front(&["--apply", "--json"]);
        let round: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(holds(&round), ["* not-armed"]);
        assert_eq!(steps(&round).len(), 6, "what would be done is shown");
        assert!(hot.iter().all(|hot| layers(hot) == 0));
    }
}

lab_test! {
    fn a_guarded_directory_refuses_even_root_and_mounts_are_made_on_it_all_the_same(lab) {
        let (mut fault, hot) = bound(&lab, &["a"], "");
        let base = lab.root("box");
        let guarded = lab.unwedge(&["binds", "guard"]);
        assert_eq!(guarded.code, Some(0), "{guarded:?}");
        assert_eq!(guarded.stdout.matches("guarded: immutable").count(), 2, "{guarded:?}");
        // through the base, and through the bind: nothing is ever written below
        let writers = [Writer::below(&base), Writer::below(&hot[0])];
        for _ in 0..3 {
            fault.kill();
            kill_if_served(&base);
            assert!(all_ok(&lab.apply()));
        }
        writers.into_iter().for_each(Writer::end);
        for path in [&hot[0], &base] {
            assert_eq!(below_all_mounts(path), Vec::<PathBuf>::new(), "{}", path.display());
            let refused = fs::write(path.join("x"), "").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(1), "{path:?}: EPERM, also for root");
        }
        assert!(lab.unwedge(&["binds", "guard"]).stdout.contains("immutable already"));
        assert_eq!(lab.unwedge(&["binds", "guard", "--undo"]).stdout.matches("released").count(), 2);
        for path in [&hot[0], &base] {
            fs::write(path.join("x"), "").unwrap();
        }
        assert_eq!(lab.unwedge(&["binds", "guard", "--undo"]).stdout, "nothing is guarded\n");
    }
}

/// Ends who serves it now, if anybody does.
fn kill_if_served(path: &Path) {
    if top(path).is_some_and(|top| {
        matches!(Daemons::scan(Whereabouts::Here).of(top.dev), Holders::Living(_))
    }) {
        kill_daemons(path);
    }
}
