//! The acceptance list on real mounts: each test is a promise, and was seen to fail when the promise
//! was broken.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::lab::{
    all_ok, await_that, held_mounts, holds, observation, processes, steps, verdict,
};

const DATA: &str = "the data is here\n";

lab_test! {
    fn a_dead_daemon_behind_an_hour_of_cache_is_dead_in_one_round(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &["--cache", "3600s"]);
        assert!(fs::metadata(&path).unwrap().is_dir());
        fault.kill();
        assert!(fs::metadata(&path).is_ok(), "the cache should still lie");
        let round = lab.json(&[]);
        assert_eq!(verdict(&round, &path), "dead");
        assert_eq!(observation(&round, &path)["errno_name"], "ENOTCONN");
        assert_eq!(steps(&round), [format!("detach {}", path.display())]);
    }
}

lab_test! {
    fn a_dead_mount_is_healed_and_a_second_round_changes_nothing(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n");
        let again = lab.apply();
        assert_eq!(verdict(&again, &path), "live");
        assert!(steps(&again).is_empty() && holds(&again).is_empty(), "{again:#}");
    }
}

lab_test! {
    fn a_hundred_rounds_on_a_swallowing_daemon_leave_one_prober_and_end_on_time(lab) {
        let path = lab.root("box");
        lab.configure("confirm.hung = { runs = 100, age = \"1h\" }", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        lab.arm();
        let limit = Duration::from_millis(500 + 1000);
        for round in 0..100 {
            let flags: &[&str] = if round % 3 == 0 { &["--apply"] } else { &[] };
            let ran = lab.round(flags);
            assert!(ran.took < limit, "round {round}: {ran:?}");
            assert_eq!(processes("uw-").len(), 1, "round {round}");
        }
        let (_, state) = processes("uw-")[0];
        assert_eq!(state, 'S', "a prober sleeps quietly, it is never killed into D");
        fault.order("alive");
        await_that("the prober ends with the late answer", || processes("uw-").is_empty());
        assert_eq!(verdict(&lab.json(&[]), &path), "live");
    }
}

lab_test! {
    fn rounds_at_the_same_time_leave_one_prober_too(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        let rounds: Vec<_> = (0..6)
            .map(|_| {
                Command::new(&lab.program)
                    .arg("--config").arg(&lab.config)
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut round in rounds {
            assert!(round.wait().unwrap().success());
        }
        assert_eq!(processes("uw-").len(), 1);
    }
}

lab_test! {
    fn of_probers_sent_to_one_mount_at_the_same_time_one_asks(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        let mut probers: Vec<_> = (0..8)
            .map(|_| {
                Command::new(&lab.program)
                    .args(["--prober", "uw-abcdefghijkl", "", ""])
                    .arg(&path)
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        await_that("all but one make way", || {
            probers.iter_mut().filter_map(|prober| prober.try_wait().unwrap()).count() == 7
        });
        // it asks once it has seen that all the others did
        await_that("the last one asks", || processes("uw-").len() == 1);
        fault.order("alive");
        for mut prober in probers {
            assert!(prober.wait().unwrap().success());
        }
    }
}

lab_test! {
    fn a_terminated_round_ends_within_two_seconds_and_the_next_completes_it(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let long = fs::read_to_string(&lab.config).unwrap().replace("\"500ms\"", "\"30s\"");
        fs::write(&lab.config, long).unwrap();
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        lab.arm();
        let mut round = Command::new(&lab.program)
            .arg("--config").arg(&lab.config).arg("--apply")
            .stdout(Stdio::null()).stderr(Stdio::null())
            .spawn().unwrap();
        await_that("it waits", || !processes("uw-").is_empty());
        let start = Instant::now();
        let pid = rustix::process::Pid::from_child(&round);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        round.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(2));
        lab.configure("", &lab.listed(&path));
        let next = lab.apply();
        assert!(all_ok(&next), "{next:#}");
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn another_users_process_of_the_same_name_fakes_nothing(lab) {
        let path = lab.root("box");
        lab.install_where_anybody_may_run_it();
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        lab.round(&[]);
        let (prober, _) = processes("uw-")[0];
        let name = fs::read_to_string(format!("/proc/{prober}/comm")).unwrap();
        fault.order("alive");
        await_that("the prober ends", || processes("uw-").is_empty());
        // a program of their own under that very name, and our own program asked by them to wait on
        // something else under that name
        let fake = lab.dir.join(name.trim());
        fs::copy("/bin/sleep", &fake).unwrap();
        let mut elsewhere = lab.fault(&lab.dir.join("elsewhere"), &[]);
        elsewhere.order("swallow");
        let ours = ["--prober", name.trim(), "", "", "/mnt/elsewhere"].map(str::to_owned);
        // as another user; as one who runs a program with root's rights, as su is; and root itself,
        // with a program from elsewhere
        let other = &["--reuid=1234", "--regid=1234", "--clear-groups"][..];
        let through_su = &["--ruid=1234", "--clear-groups"][..];
        let sleeps = vec!["60".to_owned()];
        for (user, program, args) in [
            (other, &fake, sleeps.clone()),
            (other, &lab.program, ours.to_vec()),
            (through_su, &lab.program, ours.to_vec()),
            (&["--clear-groups"][..], &fake, sleeps),
        ] {
            let mut faker = Command::new("/usr/bin/setpriv")
                .args(user)
                .arg(program)
                .args(args)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            await_that("it runs", || !processes("uw-").is_empty());
            assert_eq!(verdict(&lab.json(&[]), &path), "live", "{user:?}");
            elsewhere.order("alive");
            faker.kill().unwrap();
            faker.wait().unwrap();
            elsewhere.order("swallow");
        }
        elsewhere.order("alive");
    }
}

lab_test! {
    fn a_healthy_private_mount_of_another_user_is_never_unmounted(lab) {
        let path = lab.root("private");
        let mut fault = lab.fault(&path, &["--owner", "1234:1234"]);
        lab.arm();
        let table = fs::read("/proc/self/mountinfo").unwrap();
        for _ in 0..3 {
            let round = lab.apply();
            assert_eq!(verdict(&round, &path), "live", "seen with its owner's eyes");
            assert_eq!(steps(&round), Vec::<String>::new());
        }
        assert_eq!(table, fs::read("/proc/self/mountinfo").unwrap());
        fault.kill();
        assert_eq!(verdict(&lab.json(&[]), &path), "dead", "statfs would still say fine to root");
    }
}

lab_test! {
    fn a_hung_private_mount_is_seen_to_hang(lab) {
        let path = lab.root("private");
        lab.configure("", &lab.listed(&path));
        let mut fault = lab.fault(&path, &["--owner", "1234:1234"]);
        fault.order("swallow");
        for _ in 0..3 {
            assert_eq!(verdict(&lab.json(&[]), &path), "hung");
            assert_eq!(processes("uw-").len(), 1);
        }
        lab.arm();
        assert!(all_ok(&lab.apply()));
        await_that("the prober is freed", || processes("uw-").is_empty());
    }
}

lab_test! {
    fn eio_once_in_five_does_nothing_and_five_of_five_is_one_repair(lab) {
        let path = lab.root("box");
        lab.configure("confirm.transient = { runs = 5, age = \"0s\" }", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        lab.arm();
        for round in 0..10 {
            fault.order(if round % 5 == 4 { "errno:5" } else { "alive" });
            let round = lab.apply();
            assert_eq!(steps(&round), Vec::<String>::new(), "{round:#}");
        }
        fault.order("errno:5");
        fault.order("alive");
        assert_eq!(verdict(&lab.apply(), &path), "live");
        fault.order("errno:5");
        for _ in 0..4 {
            let round = lab.apply();
            assert_eq!(verdict(&round, &path), "transient");
            assert_eq!(holds(&round), [format!("{} not-confirmed", path.display())]);
        }
        let repair = lab.apply();
        assert!(all_ok(&repair), "{repair:#}");
        assert_eq!(verdict(&lab.apply(), &path), "live");
    }
}

lab_test! {
    fn a_daemon_that_lives_and_answers_107_is_not_dead(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        fault.order("errno:107");
        lab.configure("confirm.transient = { runs = 2, age = \"0s\" }", &lab.listed(&path));
        lab.arm();
        let round = lab.apply();
        assert_eq!(verdict(&round, &path), "transient");
        assert_eq!(steps(&round), Vec::<String>::new());
        fault.order("alive");
        assert_eq!(verdict(&lab.apply(), &path), "live");
    }
}

lab_test! {
    fn one_bad_entry_takes_no_healthy_mount_down(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        fault.order("entry:5");
        let round = lab.json(&[]);
        assert_eq!(verdict(&round, &path), "inconclusive", "{round:#}");
        let why = observation(&round, &path)["why"].as_str().unwrap().to_owned();
        assert!(why.starts_with("looking at an entry: EIO"), "{why}");
        lab.arm();
        for _ in 0..6 {
            let round = lab.apply();
            assert_eq!(steps(&round), Vec::<String>::new(), "{round:#}");
            assert_eq!(holds(&round), [format!("{} unclear-evidence", path.display())]);
        }
        fault.order("alive");
        assert_eq!(verdict(&lab.apply(), &path), "live");
        fault.kill();
        assert_eq!(verdict(&lab.json(&[]), &path), "dead", "its root says so");
    }
}

lab_test! {
    fn a_round_itself_opens_nothing_that_is_mounted_but_roots_of_fuse(lab) {
        use rustix::mount::{MountFlags, mount};
        if !Path::new("/usr/bin/strace").exists() {
            crate::support::isolate::skip(module_path!(), "needs /usr/bin/strace");
            return;
        }
        let (storage, local, traced) = (lab.root("box"), lab.root("local"), lab.dir.join("traced"));
        let _fault = lab.fault(&storage, &[]);
        fs::create_dir(&local).unwrap();
        // of this lab's file systems the one that stands for those whose root may ask a server
        mount("local", &local, "tmpfs", MountFlags::empty(), None).unwrap();
        // its children are not followed
        let ran = Command::new("/usr/bin/strace")
            .args(["-qq", "-e", "trace=openat2", "-o"]).arg(&traced)
            .arg(&lab.program).arg("--config").arg(&lab.config).arg("--json")
            .output().unwrap();
        let round = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((verdict(&round, &storage), verdict(&round, &local)), ("live", "live"));
        let opened = fs::read_to_string(&traced).unwrap();
        assert!(opened.contains("/roots/box\"") && !opened.contains("/roots/local\""), "{opened}");
    }
}

lab_test! {
    fn a_refused_start_a_stopped_and_a_slow_daemon_are_told_apart(lab) {
        let [refused, stopped, slow] = ["refused", "stopped", "slow"].map(|name| lab.root(name));
        let _refused = lab.fault(&refused, &["--mode", "refuse-init"]);
        let (mut stops, mut slows) = (lab.fault(&stopped, &[]), lab.fault(&slow, &[]));
        stops.order("stop");
        slows.order("slow:10ms");
        let round = lab.json(&[]);
        assert_eq!(verdict(&round, &refused), "transient", "ECONNREFUSED, and its daemon lives");
        assert_eq!(observation(&round, &refused)["errno_name"], "ECONNREFUSED");
        assert_eq!(verdict(&round, &stopped), "hung");
        assert_eq!(verdict(&round, &slow), "live");
        stops.order("alive");
    }
}

lab_test! {
    fn the_demo_ends_with_nothing_left_also_when_it_is_interrupted(lab) {
        let own = || ["unwedge", "uw-", "exe", "unshare"].map(|name| processes(name).len());
        let before = (fs::read("/proc/self/mountinfo").unwrap(), own());
        for interrupt in [true, false] {
            let mut demo = Command::new(env!("CARGO_BIN_EXE_unwedge"))
                .arg("demo")
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap();
            if interrupt {
                // the fault daemon goes by the name of the link that it was started by
                await_that("it is on stage", || !processes("exe").is_empty());
                let group = rustix::process::Pid::from_child(&demo);
                rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
            }
            assert_eq!(demo.wait().unwrap().success(), !interrupt);
            await_that("nothing is left", || own() == before.1);
            assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), before.0);
        }
        drop(lab);
    }
}

lab_test! {
    fn the_demo_plays_to_its_end_for_a_user_without_any_privilege(lab) {
        lab.install_where_anybody_may_run_it();
        let own = lab.dir.join("bin/unwedge");
        fs::copy(env!("CARGO_BIN_EXE_unwedge"), &own).unwrap();
        // a /dev/fuse that anybody may open, as on most hosts
        let fuse = lab.dir.join("fuse");
        let node = Command::new("mknod").args(["-m", "666"]).arg(&fuse).args(["c", "10", "229"]).status().unwrap();
        assert!(node.success());
        mount_bind(&fuse, "/dev/fuse").unwrap();
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let demo = Command::new("setpriv").args(nobody).arg(&own).arg("demo").output().unwrap();
        let said = String::from_utf8_lossy(&demo.stdout);
        assert!(demo.status.success() && said.contains("The end."), "{said}\n{demo:?}");
        assert_eq!(said.matches("the data is here").count(), 4, "{said}");
        assert_eq!(said.matches("job a").count(), 2, "{said}");
    }
}

lab_test! {
    fn what_has_a_daemon_whose_device_is_elsewhere_in_its_own_file_system_is_not_taken_along(lab) {
        let base = lab.root("box");
        lab.configure("", &lab.listed(&base));
        let mut fault = lab.fault(&base, &[]);
        let fuse = lab.dir.join("fuse");
        let node = Command::new("mknod").args(["-m", "666"]).arg(&fuse).args(["c", "10", "229"]).status().unwrap();
        assert!(node.success());
        mount_bind(&fuse, "/dev/fuse").unwrap();
        let nested = base.join("jobs/a");
        let living = lab.fault(&nested, &[]);
        unmount("/dev/fuse", UnmountFlags::DETACH).unwrap();
        let shown = fs::read_dir(format!("/proc/{}/fd", living.pid())).unwrap().flatten();
        let shown: Vec<PathBuf> = shown.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        assert!(!shown.contains(&PathBuf::from("/dev/fuse")), "{shown:?}");
        fault.kill();
        lab.arm();
        for _ in 0..3 {
            let round = lab.apply();
            let is_held = holds(&round).contains(&format!("{} has-children", base.display()));
            assert!(is_held && steps(&round).is_empty(), "{round}");
        }
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(table.contains(&format!(" {} ", nested.display())), "{table}");
    }
}

lab_test! {
    fn a_daemon_that_may_live_elsewhere_is_not_taken_for_gone(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let inside = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, inside.replace("\"here\"", "\"anywhere\"")).unwrap();
        let round = lab.apply();
        assert_eq!(holds(&round), [format!("{} not-confirmed", path.display())]);
        let why = observation(&round, &path)["why"].as_str().unwrap();
        assert!(why.contains("outside this pid namespace"), "{why}");
        assert!(all_ok(&lab.apply()), "where it cannot be told, it takes two rounds");
    }
}

lab_test! {
    fn a_hang_with_a_worker_in_it_is_aborted_before_anything_else_and_leaves_nobody_stuck(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        let mut worker = Command::new("/usr/bin/stat").arg(&path)
            .stdout(Stdio::null()).stderr(Stdio::null())
            .spawn().unwrap();
        let pid = i32::try_from(worker.id()).unwrap();
        await_that("it waits", || processes("stat").iter().any(|(p, state)| *p == pid && *state == 'S'));
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert!(steps(&round)[0].starts_with("abort-connection"));
        let ended = worker.wait().unwrap();
        assert_eq!(ended.code(), Some(1), "it was told an error, not killed");
        await_that("nobody is stuck", || {
            processes("").iter().all(|(_, state)| *state != 'D') && processes("uw-").is_empty()
        });
    }
}

lab_test! {
    fn a_live_mount_nested_in_a_dead_one_keeps_it_in_place(lab) {
        let (base, child) = (lab.root("box"), lab.root("box/jobs/a"));
        lab.configure("", &lab.listed(&base));
        let mut fault = lab.fault(&base, &["--cache", "3600s"]);
        let _child = lab.fault(&child, &[]);
        fault.kill();
        lab.arm();
        let table = fs::read("/proc/self/mountinfo").unwrap();
        let round = lab.apply();
        assert_eq!(verdict(&round, &base), "dead");
        assert_eq!(verdict(&round, &child), "child-of-dead");
        assert_eq!(steps(&round), Vec::<String>::new());
        assert!(holds(&round).contains(&format!("{} has-children", base.display())));
        assert_eq!(table, fs::read("/proc/self/mountinfo").unwrap());
    }
}

lab_test! {
    fn a_dead_mount_nested_in_a_dead_one_goes_and_comes_back_with_it(lab) {
        let (base, child) = (lab.root("box"), lab.root("box/jobs/a"));
        lab.configure("", &(lab.listed(&base) + &lab.listed(&child)));
        let (mut outer, mut inner) = (lab.fault(&base, &["--cache", "3600s"]), lab.fault(&child, &[]));
        inner.kill();
        outer.kill();
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(fs::read_to_string(child.join("data.txt")).unwrap(), DATA);
        let again = lab.apply();
        assert_eq!((verdict(&again, &base), verdict(&again, &child)), ("live", "live"));
    }
}

lab_test! {
    fn a_superblock_mounted_outside_the_roots_too_is_not_aborted(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        let outside = lab.dir.join("outside");
        fs::create_dir(&outside).unwrap();
        mount_bind(&path, &outside).unwrap();
        fault.order("swallow");
        lab.arm();
        let round = lab.apply();
        assert_eq!(holds(&round), [format!("{} shared-superblock", path.display())]);
        assert_eq!(steps(&round), Vec::<String>::new());
        fault.order("alive");
        assert_eq!(fs::read_to_string(outside.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn a_mount_replaced_between_plan_and_act_is_refused(lab) {
        use unwedge::act::child::{Done, Order, Refusal};
        let path = lab.root("box");
        let mut first = lab.fault(&path, &[]);
        let planned = held_mounts(&path).pop().unwrap();
        first.kill();
        unmount(&path, UnmountFlags::DETACH).unwrap();
        let _second = lab.fault(&path, &[]);
        let replaced = held_mounts(&path).pop().unwrap();
        let carry_out = |order: &Order| -> Done {
            let output = Command::new(&lab.program)
                // and in time: as late as can be
                .arg("--act").arg(serde_json::to_string(order).unwrap()).arg(u64::MAX.to_string()).arg(&path)
                .output().unwrap();
            serde_json::from_slice(&output.stdout).unwrap()
        };
        // mount ids and minors are reused at once; what tells them apart is the connection's inode
        let same_numbers = unwedge::probes::identity::Identity {
            unique_id: planned.unique_id,
            connection: planned.connection,
            ..replaced.clone()
        };
        // before Linux 6.8 no mount has an id of its own for ever, and that inode is all there is
        let without_ids = unwedge::probes::identity::Identity { unique_id: None, ..same_numbers.clone() };
        let done = carry_out(&Order::Detach { identity: without_ids.clone(), along: vec![] });
        assert!(matches!(done, Done::Refused { reason: Refusal::IdentityChanged, .. }), "{done:?}");
        let (cold, base) = (path.join("jobs/new"), path.clone());
        let place = unwedge::act::bind::Place { cold: cold.clone(), base, mount: without_ids.clone() };
        let done = carry_out(&Order::MakeCold { place });
        assert!(matches!(done, Done::Refused { reason: Refusal::IdentityChanged, .. }), "{done:?}");
        assert!(!cold.exists(), "made on another storage");
        for identity in [planned, same_numbers, without_ids] {
            let detach = Order::Detach { identity: identity.clone(), along: vec![] };
            let done = carry_out(&detach);
            assert!(
                matches!(done, Done::Refused { reason: Refusal::IdentityChanged, .. } | Done::Already { .. }),
                "{done:?}"
            );
            let done = carry_out(&Order::Abort { identity });
            assert!(matches!(done, Done::Refused { .. } | Done::Already { .. }), "{done:?}");
        }
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA, "the newcomer lives");
        // and something put on top, or into it, meanwhile is refused as well
        let victim = lab.fault(&path.join("jobs/a"), &[]);
        let into = Order::Detach { identity: replaced.clone(), along: vec![] };
        assert!(matches!(carry_out(&into), Done::Refused { reason: Refusal::HasChildren, .. }));
        drop(victim);
        let _top = lab.fault(&path, &[]);
        let along: Vec<u64> = (0..1_000).collect();
        let on_top = Order::Detach { identity: replaced, along };
        assert!(matches!(carry_out(&on_top), Done::Refused { reason: Refusal::IdentityChanged, .. }));
        assert_eq!(held_mounts(&path).len(), 2);
    }
}

lab_test! {
    fn a_bare_directory_where_the_base_should_be_is_absent(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("data.txt"), "a file on the root disk, very readable").unwrap();
        let round = lab.json(&[]);
        assert_eq!(verdict(&round, &path), "absent");
        lab.arm();
        assert!(all_ok(&lab.apply()));
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn names_of_any_bytes_are_found_healed_and_shown(lab) {
        let names: [&[u8]; 6] =
            [b"a b", b"tab\tand\nnewline", b"#hash", br"back\slash", br"\040", b"not\xffutf8"];
        let paths: Vec<PathBuf> =
            names.iter().map(|name| lab.root("x").with_file_name(OsStr::from_bytes(name))).collect();
        let mut faults: Vec<_> = paths.iter().map(|path| lab.fault(path, &[])).collect();
        let round = lab.json(&[]);
        for path in &paths {
            assert_eq!(verdict(&round, path), "live");
        }
        for fault in &mut faults {
            fault.kill();
        }
        lab.arm();
        let round = lab.apply();
        assert_eq!(steps(&round).len(), names.len());
        assert!(all_ok(&round), "{round:#}");
        for path in &paths {
            assert!(held_mounts(path).is_empty());
        }
        let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_mounts.prom")).unwrap();
        assert!(metrics.contains(r#"path="/mnt/roots/not\\xffutf8""#), "{metrics}");
        let table = lab.round(&[]).stdout;
        assert!(table.contains(r"not\xffutf8") && table.contains(r"newline"), "{table}");
    }
}

lab_test! {
    fn a_stack_of_three_is_taken_down_to_what_lives(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let _alive = lab.fault(&path, &[]);
        lab.fault(&path, &["--cache", "3600s"]).kill();
        lab.fault(&path, &["--cache", "3600s"]).kill();
        lab.arm();
        let round = lab.apply();
        assert_eq!(observation(&round, &path)["layers"], 3);
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(held_mounts(&path).len(), 1);
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn a_surplus_copy_on_top_is_taken_and_another_live_mount_is_left(lab) {
        let (copied, covered) = (lab.root("copied"), lab.root("covered"));
        lab.configure("", &(lab.listed(&copied) + &lab.listed(&covered)));
        let (_one, _two) = (lab.fault(&copied, &[]), lab.fault(&covered, &[]));
        mount_bind(&copied, &copied).unwrap();
        let _three = lab.fault(&covered, &[]);
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!((held_mounts(&copied).len(), held_mounts(&covered).len()), (1, 2));
        assert_eq!(fs::read_to_string(copied.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn a_bind_that_protects_what_lies_beneath_it_is_left(lab) {
        use rustix::mount::{MountFlags, mount_remount};
        let path = lab.root("data");
        fs::create_dir(&path).unwrap();
        for _ in 0..2 {
            mount_bind(&path, &path).unwrap();
        }
        mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
        lab.arm();
        for _ in 0..3 {
            assert_eq!(steps(&lab.apply()), Vec::<String>::new());
        }
        assert_eq!(held_mounts(&path).len(), 2);
    }
}

lab_test! {
    fn what_is_mounted_in_it_says_nothing_of_a_healthy_mount(lab) {
        let base = lab.root("box");
        lab.configure("", &lab.listed(&base));
        let _alive = lab.fault(&base, &[]);
        // on the very first entry that a look at the base would meet
        for first in ["data.txt", "jobs"] {
            let inside = base.join(first);
            if inside.is_dir() {
                // of a source of its own: one of the base's would be a bind of what it was
                lab.fault(&inside, &["--source", "elsewhere"]).kill();
            } else {
                mount_bind("/dev/null", &inside).unwrap();
            }
        }
        let inside = base.join("jobs");
        lab.arm();
        let round = lab.apply();
        assert_eq!((verdict(&round, &base), verdict(&round, &inside)), ("live", "dead"));
        assert_eq!(steps(&round), [format!("detach {}", inside.display())]);
        assert!(all_ok(&round), "a dead mount in a live one is taken away: {round:#}");
        assert_eq!(held_mounts(&base).len(), 1);
    }
}

lab_test! {
    fn storage_over_a_guard_comes_back_over_the_guard(lab) {
        use rustix::mount::{MountFlags, mount};
        let path = lab.root("box");
        fs::create_dir(&path).unwrap();
        mount("guard", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        let listed = lab.listed(&path).replace("fstype = \"fuse.faultfs\"\n", "");
        lab.configure("", &listed);
        lab.fault(&path, &[]).kill();
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
        assert_eq!(held_mounts(&path).len(), 2);
    }
}

lab_test! {
    fn our_own_files_on_storage_that_may_hang_are_refused_before_they_are_opened(lab) {
        let mut fault = lab.fault(&lab.dir.join("state"), &[]);
        fault.order("swallow");
        for flags in [&["--apply"][..], &[]] {
            let ran = lab.round(flags);
            assert_eq!(ran.code, Some(1));
            assert!(ran.stderr.contains("may hang this very program"), "{ran:?}");
        }
    }
}

lab_test! {
    fn a_link_to_storage_that_may_hang_hangs_no_program_of_ours_and_neither_does_a_command_on_it(lab) {
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        let state = lab.dir.join("state");
        fs::rename(&state, lab.dir.join("old")).unwrap();
        std::os::unix::fs::symlink(&path, &state).unwrap();
        let refused = |what: &str| {
            for ran in [lab.round(&["--apply"]), lab.worker(&["--apply"]), lab.unwedge(&["debts"])] {
                assert_eq!(ran.code, Some(1), "{ran:?}");
                assert!(ran.stderr.contains("may hang this very program"), "{ran:?}");
                assert!(ran.stderr.contains(what), "{ran:?}");
                assert!(ran.took < Duration::from_secs(5), "{ran:?}");
            }
        };
        refused("/state leads to ");
        fs::remove_file(&state).unwrap();
        fs::rename(lab.dir.join("old"), &state).unwrap();
        // nobody comes back from starting what lies there, nor by way of a link
        for command in [path.join("again"), lab.dir.join("link")] {
            lab.configure("", &lab.mounted_by(&path, "2s", &command));
            std::os::unix::fs::symlink(path.join("again"), lab.dir.join("link")).ok();
            refused(&command.display().to_string());
        }
    }
}

lab_test! {
    fn a_round_that_is_told_and_cannot_write_its_metrics_is_told_once(lab) {
        let metrics = lab.dir.join("metrics");
        fs::remove_dir_all(&metrics).unwrap();
        fs::write(&metrics, "").unwrap();
        let ran = lab.round(&["--apply", "--json"]);
        assert!(ran.code == Some(1) && !ran.stderr.is_empty(), "{ran:?}");
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(told["steps"].is_array(), "{told}");
    }
}

lab_test! {
    fn state_that_cannot_be_stored_is_loud_in_metrics_too(lab) {
        use rustix::mount::{MountFlags, mount_remount};
        let (path, state) = (lab.root("box"), lab.dir.join("state"));
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        mount_bind(&state, &state).unwrap();
        mount_remount(&state, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
        let ran = lab.round(&["--apply"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("store what was seen"), "{ran:?}");
        assert_eq!(held_mounts(&path).len(), 1, "what cannot be written down is not done");
        let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_mounts.prom")).unwrap();
        assert!(metrics.contains("unwedge_tool_run_ok{tool=\"mounts\"} 0"), "{metrics}");
    }
}

lab_test! {
    fn a_bind_of_a_deleted_directory_is_looked_at_and_left(lab) {
        let (source, bind) = (lab.dir.join("source"), lab.root("bind"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&bind).unwrap();
        mount_bind(&source, &bind).unwrap();
        fs::remove_dir(&source).unwrap();
        lab.arm();
        let round = lab.apply();
        assert_eq!(verdict(&round, &bind), "inconclusive", "ENOENT says nothing of its health");
        assert_eq!(steps(&round), Vec::<String>::new());
        assert_eq!(held_mounts(&bind).len(), 1);
    }
}

lab_test! {
    fn an_overlay_over_a_dead_lower_is_seen_and_not_touched(lab) {
        let (lower, merged) = (lab.dir.join("lower"), lab.root("merged"));
        let mut fault = lab.fault(&lower, &[]);
        for made in ["upper", "work"] {
            fs::create_dir(lab.dir.join(made)).unwrap();
        }
        fs::create_dir(&merged).unwrap();
        let mut overlay = Command::new("/usr/bin/mount");
        let done = overlay.args(["-t", "overlay", "overlay", "-o",
            "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work"]).arg(&merged).status();
        assert!(done.unwrap().success());
        assert_eq!(verdict(&lab.json(&[]), &merged), "live");
        fault.kill();
        lab.arm();
        let round = lab.apply();
        assert_eq!(verdict(&round, &merged), "transient");
        assert_eq!(holds(&round), [format!("{} look-only-type", merged.display())]);
        assert_eq!(held_mounts(&merged).len(), 1);
    }
}

lab_test! {
    fn a_link_or_a_file_holds_its_own_subject_and_no_other(lab) {
        let (link, file, good) = (lab.root("link"), lab.root("file"), lab.root("good"));
        let listed: String = [&link, &file, &good].map(|path| lab.listed(path)).concat();
        lab.configure("", &listed);
        fs::create_dir(lab.dir.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(lab.dir.join("elsewhere"), &link).unwrap();
        fs::write(&file, "").unwrap();
        lab.fault(&good, &[]).kill();
        lab.arm();
        let round = lab.apply();
        for path in [&link, &file] {
            assert_eq!(verdict(&round, path), "absent");
            assert!(holds(&round).contains(&format!("{} not-a-mount-point", path.display())));
        }
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(fs::read_to_string(good.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn a_mount_in_no_table_is_detached_and_stays_absent_until_it_is_mounted_or_forgotten(lab) {
        let path = lab.root("found");
        lab.fault(&path, &[]).kill();
        lab.arm();
        assert!(all_ok(&lab.apply()));
        for _ in 0..2 {
            let round = lab.apply();
            assert_eq!(verdict(&round, &path), "absent", "a loud error must not turn into silence");
            assert_eq!(holds(&round), [format!("{} unit-not-found", path.display())]);
        }
        let gate = fs::read_to_string(lab.dir.join("run/storage.json")).unwrap();
        assert!(gate.contains("\"open\": false"), "{gate}");
        let again = lab.fault(&path, &[]);
        assert_eq!(verdict(&lab.apply(), &path), "live");
        drop(again);
        assert!(all_ok(&lab.apply()));
        let path_text = path.to_str().unwrap();
        assert!(lab.unwedge(&["mounts", "forget", path_text]).stdout.contains("forgotten"));
        assert_eq!(lab.apply()["observations"].as_array().unwrap().len(), 0);
    }
}

lab_test! {
    fn halt_set_in_the_middle_ends_the_round_after_the_step_in_hand(lab) {
        let path = lab.root("box");
        let script = lab.dir.join("remount");
        let halt = lab.dir.join("sentinels/HALT");
        let text = format!("#!/bin/sh\necho stop > {}\n", halt.display());
        lab.script(&script, &text);
        let listed = lab.mounted_by(&path, "2s", &script);
        lab.configure("", &listed);
        lab.fault(&path, &[]).kill();
        lab.arm();
        let round = lab.apply();
        assert!(holds(&round).contains(&format!("{} halted", path.display())), "{round:#}");
        assert!(lab.unwedge(&["debts"]).stdout.contains(path.to_str().unwrap()), "it is owed");
        fs::remove_file(&halt).unwrap();
        lab.configure("", &lab.listed(&path));
        assert!(all_ok(&lab.apply()), "a debt is paid as soon as it may be");
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n");
    }
}

lab_test! {
    fn every_gate_holds_the_plan_and_leaves_the_mounts(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        let table = || fs::read("/proc/self/mountinfo").unwrap();
        let before = table();
        let check = |gate: &str| {
            let round = lab.apply();
            assert_eq!(holds(&round), [format!("* {gate}")]);
            assert_eq!(holds(&lab.json(&[])), [format!("* {gate}")], "a dry run shows it too");
            assert_eq!(steps(&round).len(), 3, "the plan is still shown");
            assert_eq!(round["outcomes"].as_array().unwrap().len(), 0);
            assert_eq!(before, table());
            let metrics = fs::read_to_string(lab.dir.join("metrics/unwedge_mounts.prom")).unwrap();
            let line = format!("unwedge_tool_holds{{reason=\"{gate}\",tool=\"mounts\"}} 1");
            assert!(metrics.contains(&line), "{metrics}");
        };
        check("not-armed");
        lab.arm();
        fs::write(lab.dir.join("sentinels/HALT"), "because").unwrap();
        check("halted");
        fs::remove_file(lab.dir.join("sentinels/HALT")).unwrap();
        lab.unwedge(&["hold", "set", "mounts", "--for", "1h", "--because", "test"]);
        check("on-hold");
        lab.unwedge(&["hold", "clear", "mounts"]);
        let deploy = fs::File::create(lab.dir.join("run/deploy.lock")).unwrap();
        deploy.lock().unwrap();
        check("deploy-in-progress");
        drop(deploy);
        assert!(all_ok(&lab.apply()));
    }
}

lab_test! {
    fn a_second_round_is_busy_writes_no_metrics_and_ends_well(lab) {
        let lock = fs::File::create(lab.dir.join("run/mounts.lock")).unwrap();
        lock.lock().unwrap();
        let ran = lab.round(&["--apply"]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stderr.contains("busy"), "{ran:?}");
        assert!(!lab.dir.join("metrics/unwedge_mounts.prom").exists());
    }
}

lab_test! {
    fn the_daemon_left_behind_holds_no_lock_of_ours(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.arm();
        fs::create_dir(&path).unwrap();
        assert!(all_ok(&lab.apply()));
        let daemon = processes("unwedge").into_iter().chain(processes("exe")).next().unwrap().0;
        for fd in fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().flatten() {
            let target = fs::read_link(fd.path()).unwrap();
            assert!(!target.starts_with(&lab.dir), "{}", target.display());
        }
        assert_eq!(lab.round(&["--apply"]).code, Some(0));
    }
}

lab_test! {
    fn a_dry_run_leaves_everything_as_it_was_and_plans_what_apply_does(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let table = fs::read("/proc/self/mountinfo").unwrap();
        let before = (lab.snapshot(), fs::metadata(lab.dir.join("state")).unwrap().mtime_nsec());
        let dry = lab.json(&[]);
        assert_eq!(lab.round(&[]).code, Some(0));
        let after = (lab.snapshot(), fs::metadata(lab.dir.join("state")).unwrap().mtime_nsec());
        assert_eq!(before, after);
        assert_eq!(table, fs::read("/proc/self/mountinfo").unwrap());
        let applied = lab.apply();
        assert_eq!(dry["plan_id"], applied["plan_id"]);
        assert_eq!(dry["steps"], applied["steps"]);
        assert!(all_ok(&applied));
    }
}

lab_test! {
    fn without_a_config_everything_is_shown_in_80_columns_and_nothing_is_touched(lab) {
        let bare = || {
            let output = Command::new(&lab.program).env_clear().output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(bare(), "no FUSE or network mount here, and none configured: nothing to watch\n");
        let (long, hung) = (lab.dir.join("a".repeat(60)), lab.root("hung"));
        lab.fault(&long, &[]).kill();
        let mut fault = lab.fault(&hung, &[]);
        fault.order("swallow");
        let shown = bare();
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains('\x1b'), "no colours in a pipe");
        }
        for word in ["dead", "hung", "ENOTCONN (107)", "outside-roots"] {
            assert!(shown.contains(word), "{shown}");
        }
    }
}

lab_test! {
    fn where_there_is_nobody_to_tell_json_is_an_object_still(lab) {
        let told = lab.run(&lab.program.with_file_name("unwedge-notify"), &["--json"]).stdout;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["schema"], &told["tool"]), (&1.into(), &"notify".into()), "{told}");
        assert_eq!((&told["armed"], &told["messages"]), (&false.into(), &serde_json::json!([])), "{told}");
    }
}

lab_test! {
    fn arming_wants_a_rehearsal_of_this_very_configuration(lab) {
        let arm = |more: &[&str]| lab.unwedge(&[&["sentinel", "arm", "mounts"], more].concat());
        let sentinel = lab.dir.join("sentinels/mounts");
        assert_eq!(arm(&[]).code, Some(1));
        assert!(!sentinel.exists());
        lab.round(&["--apply"]);
        lab.configure("budget.per_day = 50", "");
        assert!(arm(&[]).stderr.contains("configuration has changed"));
        lab.round(&["--apply"]);
        assert!(arm(&["--dry-run"]).stdout.contains("would be armed") && !sentinel.exists());
        let armed = arm(&[]);
        assert_eq!(armed.code, Some(0), "{armed:?}");
        assert!(armed.stdout.contains("50 a day"), "{armed:?}");
        assert!(lab.unwedge(&["sentinel", "list"]).stdout.contains("mounts   armed"));
        for (words, field) in [(&["sentinel", "list"][..], "mounts"), (&["hold", "list"], "holds"), (&["debts"], "debts")] {
            let told = lab.unwedge(&[words, &["--json"]].concat()).stdout;
            let told: serde_json::Value = serde_json::from_str(&told).unwrap();
            assert!(told["schema"] == 1 && told["tool"] == "unwedge" && !told[field].is_null(), "{words:?}: {told}");
        }
        lab.unwedge(&["sentinel", "disarm", "mounts"]);
        assert!(!sentinel.exists());
        lab.configure("", "");
        assert_eq!(arm(&["--because", "an emergency"]).code, Some(0));
        assert!(fs::read_to_string(&sentinel).unwrap().contains("an emergency"));
    }
}

lab_test! {
    fn bad_input_is_told_with_its_line_and_changes_nothing(lab) {
        let before = lab.snapshot();
        for (mounts, word) in [
            ("deadline = \"10s\"", "deadline"),
            ("dedline = \"5m\"", "did you mean"),
            ("repair_under = [\"/\"]", "repair_under"),
            ("repair_under = [\"srv\"]", "relative"),
            ("deadline = 5", "deadline"),
            ("deadline = \"5 lightyears\"", "deadline"),
        ] {
            let base = lab.listed(&lab.root("box"));
            lab.configure(mounts, &base);
            for ran in [lab.round(&["--apply"]), lab.unwedge(&["config", "check"])] {
                assert_eq!(ran.code, Some(2), "{mounts}: {ran:?}");
                assert!(ran.stderr.contains("unwedge.toml:"), "{mounts}: {ran:?}");
                assert!(ran.stderr.contains(word), "{mounts}: {ran:?}");
            }
        }
        assert_eq!(lab.round(&["--aply"]).code, Some(2));
        lab.configure("", "");
        assert_eq!(before, lab.snapshot());
    }
}

lab_test! {
    fn an_orphan_connection_is_counted_and_left_alone(lab) {
        use unwedge::probes::connections::{Connections, orphans};
        let path = lab.root("box");
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        let mut holder = Command::new("/usr/bin/stat").arg(&path).stdout(Stdio::null()).spawn().unwrap();
        await_that("it waits", || processes("stat").iter().any(|(_, state)| *state == 'S'));
        let dev = held_mounts(&path).pop().unwrap().dev;
        let seen = |devices: &[unwedge::probes::mountinfo::Dev]| {
            orphans(&Connections::read(), Some(devices)).unwrap().contains(&dev.minor)
        };
        assert!(!seen(&[dev]));
        unmount(&path, UnmountFlags::DETACH).unwrap();
        assert!(seen(&[]), "detached without abort: nobody shows it any more");
        lab.round(&[]);
        assert!(seen(&[]), "counted, never aborted");
        fault.order("alive");
        assert!(holder.wait().unwrap().success());
    }
}

lab_test! {
    fn who_still_holds_a_detached_mount_is_named(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        let _open = fs::File::open(path.join("data.txt")).unwrap();
        fault.kill();
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let said = round["outcomes"][0]["detail"].as_str().unwrap();
        let own = format!("still held by {}", std::process::id());
        assert!(said.contains(&own), "{said}");
    }
}

lab_test! {
    fn a_failed_remount_is_owed_and_tried_again_later(lab) {
        let path = lab.root("box");
        let script = lab.dir.join("remount");
        lab.script(&script, "#!/bin/sh\necho no such host >&2\nexit 3\n");
        let listed = lab.mounted_by(&path, "2s", &script);
        lab.configure("", &listed);
        lab.fault(&path, &[]).kill();
        lab.arm();
        let ran = lab.round(&["--apply"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains("exit 3; it said: no such host"), "{ran:?}");
        assert!(lab.unwedge(&["debts"]).stdout.contains("box"));
        // the storage comes back
        lab.configure("", &lab.listed(&path));
        await_that("the debt is paid once its wait is over", || {
            lab.apply();
            held_mounts(&path).len() == 1 || holds(&lab.json(&[])).iter().any(|h| h.contains("cooling-down"))
        });
    }
}

#[test]
fn a_path_that_is_no_text_has_a_text() {
    assert_eq!(unwedge::sys::text::path(Path::new(OsStr::from_bytes(b"/a\xff"))), r"/a\xff");
}

lab_test! {
    fn a_remount_that_mounts_nothing_is_no_success(lab) {
        let path = lab.root("box");
        let listed = lab.mounted_by(&path, "1s", Path::new("/bin/true"));
        lab.configure("", &listed);
        lab.fault(&path, &[]).kill();
        lab.arm();
        let round = lab.apply();
        let outcomes = round["outcomes"].as_array().unwrap();
        assert_eq!(outcomes.last().unwrap()["ok"], false, "a bare directory is not the storage");
        assert!(lab.unwedge(&["debts"]).stdout.contains("box"));
        // and where nothing was mounted before, so that nothing is known of what should be
        let never = lab.root("never");
        fs::create_dir(&never).unwrap();
        let listed = lab.mounted_by(&never, "1s", Path::new("/bin/true"));
        lab.configure("", &listed);
        let round = lab.apply();
        let last = round["outcomes"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["ok"], false, "{round:#}");
    }
}

lab_test! {
    fn what_lies_outside_is_watched_only_when_asked_for_and_never_touched(lab) {
        let outside = lab.dir.join("outside");
        lab.fault(&outside, &[]).kill();
        lab.arm();
        assert_eq!(lab.apply()["observations"].as_array().unwrap().len(), 0);
        lab.configure("watch = \"remote\"", "");
        let round = lab.apply();
        assert_eq!(verdict(&round, &outside), "dead");
        assert_eq!(observation(&round, &outside)["roles"][0], "remote");
        assert_eq!(holds(&round), [format!("{} outside-roots", outside.display())]);
        assert_eq!(held_mounts(&outside).len(), 1);
    }
}

lab_test! {
    fn ten_thousand_mounts_do_not_hide_the_one_that_is_dead(lab) {
        let (source, many) = (lab.dir.join("source"), lab.dir.join("many"));
        fs::create_dir_all(&source).unwrap();
        for n in 0..10_000 {
            let at = many.join(n.to_string());
            fs::create_dir_all(&at).unwrap();
            mount_bind(&source, &at).unwrap();
        }
        // more of them under the root than probers work at the same time
        for n in 0..600 {
            let at = lab.root(&format!("bind-{n}"));
            fs::create_dir_all(&at).unwrap();
            mount_bind(&source, &at).unwrap();
        }
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let seen = round["observations"].as_array().unwrap();
        assert_eq!(seen.len(), 601);
        assert!(seen.iter().filter(|seen| seen["verdict"] == "live").count() == 600);
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), DATA);
    }
}

lab_test! {
    fn colours_are_for_terminals(lab) {
        let _fault = lab.fault(&lab.root("box"), &[]);
        let command = format!("{} --config {}", lab.program.display(), lab.config.display());
        let shown = |command: &str| {
            let output =
                Command::new("/usr/bin/script").args(["-qec", command, "/dev/null"]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert!(shown(&command).contains("\x1b[32m"));
        assert!(!shown(&format!("env NO_COLOR=1 {command}")).contains('\x1b'));
        assert!(!lab.round(&[]).stdout.contains('\x1b'));
        assert!(lab.round(&["-v"]).stdout.contains("daemon"));
    }
}
