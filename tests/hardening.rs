//! What a second pair of eyes broke once: each of these was seen to go wrong, and is a promise since.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use serde_json::Value;
use unwedge::act::store;
use unwedge::probes::records::{Debt, Debts};
use unwedge::sys::clock::Now;

use crate::binds::{kill_daemons, layers, slide_beneath, top};
use crate::support::lab::{all_ok, await_that, verdict};
use crate::support::{Fault, Lab};
use crate::work::Queue;

/// A program that mounts nothing.
fn never(lab: &Lab) -> PathBuf {
    let never = lab.dir.join("never");
    lab.script(&never, "#!/bin/sh\nexit 1\n");
    never
}

/// A record, as it lies on disk.
fn state(lab: &Lab, name: &str) -> Value {
    let text = fs::read_to_string(lab.dir.join("state").join(name)).unwrap_or_default();
    let body = text.split_once('\n').map_or("null", |parts| parts.1);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// A bind that holds a mount since replaced, still served.
fn pinned(lab: &Lab) -> (Fault, PathBuf) {
    let base = lab.root("box");
    let old = lab.fault(&base, &[]);
    let hot = lab.root("jobs/a");
    fs::create_dir_all(&hot).unwrap();
    mount_bind(base.join("jobs/a"), &hot).unwrap();
    unmount(&base, UnmountFlags::DETACH).unwrap();
    std::mem::forget(lab.fault(&base, &[]));
    lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot)));
    lab.arm();
    (old, hot)
}

/// A round whose system calls are tampered with.
pub fn straced(lab: &Lab, what: &[&str]) -> Child {
    Command::new("/usr/bin/strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(what)
        .arg(&lab.program)
        .arg("--config")
        .arg(&lab.config)
        .args(["--apply", "--json"])
        .stdout(fs::File::create(lab.dir.join("out.json")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Its end.
fn finish(ran: &mut Child) {
    ran.wait().unwrap();
}

impl Lab {
    fn job_roots(&self) -> String {
        let (base, root) = (self.root("box"), self.root("jobs"));
        fs::create_dir_all(&root).unwrap();
        format!(
            "{}[binds]\ncold_root = \"{}\"\nhot_root = \"{}\"\n",
            self.listed(&base),
            base.join("tier").display(),
            root.display()
        )
    }
}

lab_test! {
    fn the_screen_says_what_keeps_the_tools_from_acting_and_what_they_owe(lab) {
        let base = lab.root("box");
        lab.script(&lab.dir.join("no"), "#!/bin/sh\nexit 1\n");
        lab.configure("", &lab.mounted_by(&base, "1s", &lab.dir.join("no")));
        lab.fault(&base, &[]).kill();
        let quiet = lab.unwedge(&["status"]).stdout;
        assert!(["HALT", "on hold", "owed"].iter().all(|word| !quiet.contains(word)), "{quiet}");
        lab.arm();
        lab.apply();
        lab.unwedge(&["hold", "set", "worker", "--for", "2h", "--because", "lunch"]);
        std::fs::write(lab.dir.join("sentinels/HALT"), "moving house\n").unwrap();
        let ran = lab.unwedge(&["status"]);
        let owed = format!("owed: mount {} for ", base.display());
        for line in ["HALT: moving house", "on hold: worker for ", &owed] {
            assert!(ran.stdout.lines().any(|it| it.starts_with(line)), "{line}: {ran:?}");
        }
        let said = lab.unwedge(&["--json", "status"]).stdout;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(said["halt"], "moving house", "{said:#}");
        assert_eq!((&said["holds"][0]["kind"], &said["holds"][0]["because"]), (&"worker".into(), &"lunch".into()));
        assert_eq!((&said["debts"][0]["kind"], &said["debts_unknown"]), (&"mount".into(), &serde_json::Value::Null), "{said:#}");
        // what cannot be read is not told as nothing
        std::fs::write(lab.dir.join("state/debts.json"), "torn").unwrap();
        let ran = lab.unwedge(&["status"]);
        assert!(ran.stdout.lines().any(|it| it.starts_with("owed: unknown: ")), "{ran:?}");
    }
}

lab_test! {
    fn a_bind_in_a_bind_waits_for_the_outer_one(lab) {
        let (b1, b2) = (lab.root("box"), lab.root("other"));
        fs::create_dir_all(&b1).unwrap();
        let _two = lab.fault(&b2, &[]);
        let (a, sub) = (lab.root("jobs/a"), lab.root("jobs/a/sub"));
        fs::create_dir_all(&a).unwrap();
        let text = format!("[[mount]]\npath = \"{}\"\n", b1.display()) + &lab.listed(&b2)
            + &lab.bound(&b1.join("jobs/a"), &a) + &lab.bound(&b2.join("jobs/b"), &sub);
        lab.configure("", &text);
        lab.arm();
        lab.apply();
        lab.apply();
        let _one = lab.fault(&b1, &[]);
        for _ in 0..3 { lab.apply(); }
        assert_eq!(verdict(&lab.json(&[]), &a), "live", "never bound any more");
    }
}

lab_test! {
    fn a_bind_on_another_base_waits_for_that_base(lab) {
        let (b1, b2) = (lab.root("box"), lab.root("other"));
        let _one = lab.fault(&b1, &[]);
        fs::create_dir_all(&b2).unwrap();
        let hot = b2.join("x");
        let text = lab.listed(&b1) + &format!("[[mount]]\npath = \"{}\"\n", b2.display()) + &lab.bound(&b1.join("jobs/a"), &hot);
        lab.configure("", &text);
        lab.arm();
        lab.apply();
        lab.apply();
        assert!(!hot.exists(), "made on the disk below the absent base");
    }
}

lab_test! {
    fn a_base_that_dies_with_a_bind_on_it_is_repaired_and_so_is_the_bind(lab) {
        let (b1, b2) = (lab.root("box"), lab.root("other"));
        let _one = lab.fault(&b1, &[]);
        let mut two = lab.fault(&b2, &[]);
        let hot = b2.join("x");
        let text = lab.listed(&b1) + &lab.listed(&b2) + &lab.bound(&b1.join("jobs/a"), &hot);
        lab.configure("", &text);
        lab.arm();
        lab.apply();
        two.kill();
        for _ in 0..3 { lab.apply(); }
        assert_eq!(verdict(&lab.json(&[]), &b2), "live");
    }
}

lab_test! {
    fn what_is_put_over_the_old_bind_at_the_last_moment_is_no_success(lab) {
        let (old, hot) = pinned(&lab);
        let mut ran = straced(&lab, &["-e", "trace=mount_setattr", "-e", "inject=mount_setattr:delay_enter=3000000"]);
        std::thread::sleep(Duration::from_secs(2));
        mount("theirs", &hot, "tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(hot.join("data"), "x").unwrap();
        finish(&mut ran);
        assert_eq!(top(&hot).unwrap().fstype, "tmpfs", "somebody's live mount was taken away");
        drop(old);
    }
}

lab_test! {
    fn half_a_swap_is_ended_by_the_boot_front_with_its_own_sentinel(lab) {
        let (old, hot) = pinned(&lab);
        slide_beneath(&lab.root("box/jobs/a"), &hot);
        fs::remove_file(lab.dir.join("sentinels/mounts")).unwrap();
        for _ in 0..2 {
            lab.run(Path::new(env!("CARGO_BIN_EXE_unwedge-binds")), &["--apply", "--json"]);
        }
        assert_eq!(layers(&hot), 1);
        drop(old);
    }
}

lab_test! {
    fn binds_of_finished_jobs_go_with_their_base_for_one_charge(lab) {
        let queue = Queue::of(&mut lab);
        let mut fault = lab.fault(&lab.root("box"), &[]);
        let text = lab.job_roots();
        lab.queued("budget.per_hour = 2", &text);
        for i in 0..3 { queue.job(&i.to_string(), "queued", &lab.root("jobs").join(i.to_string())); }
        lab.apply();
        for i in 0..3 { queue.set(&i.to_string(), "done"); }
        lab.apply();
        fault.kill();
        for _ in 0..4 { lab.apply(); }
        // and a second death of the base within the hour
        kill_daemons(&lab.root("box"));
        lab.apply();
        assert_eq!(verdict(&lab.json(&[]), &lab.root("box")), "live");
    }
}

lab_test! {
    fn a_bind_that_is_owed_is_paid_though_its_job_is_done(lab) {
        let queue = Queue::of(&mut lab);
        let mut fault = lab.fault(&lab.root("box"), &[]);
        let text = lab.job_roots();
        lab.queued("", &text);
        let hot = lab.root("jobs/7");
        queue.job("7", "queued", &hot);
        lab.apply();
        fault.kill();
        // the binds' own sentinel is taken away in the middle: between the base and the bind: here by a remount that does it
        let unwedge = env!("CARGO_BIN_EXE_unwedge");
        let script = lab.dir.join("remount");
        lab.script(&script, &format!("#!/bin/sh\nrm -f {}/sentinels/binds\nexec {unwedge} faultfs --background {}\n", lab.dir.display(), lab.root("box").display()));
        let text = text.replace(&lab.listed(&lab.root("box")), &lab.mounted_by(&lab.root("box"), "10s", &script));
        lab.queued("", &text);
        lab.apply();
        lab.arm();
        queue.set("7", "done");
        for _ in 0..4 { lab.apply(); }
        assert!(lab.unwedge(&["debts"]).stdout.starts_with("nothing"));
    }
}

lab_test! {
    fn when_the_one_that_was_charged_is_refused_the_next_one_is_charged(lab) {
        let queue = Queue::of(&mut lab);
        let base = lab.root("box");
        let mut old = lab.fault(&base, &[]);
        let mut text = lab.listed(&base);
        for name in ["a", "b"] {
            let hot = lab.root("jobs").join(name);
            fs::create_dir_all(&hot).unwrap();
            mount_bind(base.join("jobs").join(name), &hot).unwrap();
            text += &lab.bound(&base.join("jobs").join(name), &hot);
        }
        old.kill();
        unmount(&base, UnmountFlags::DETACH).unwrap();
        let _new = lab.fault(&base, &[]);
        lab.queued("budget.per_hour = 1", &text);
        queue.job("7", "queued", &lab.root("jobs/a"));
        let real = lab.dir.join("bin/unwedge-jobs");
        fs::rename(&real, lab.dir.join("bin/real")).unwrap();
        let claim = lab.dir.join("claim");
        lab.script(&real, &format!("#!/bin/sh\n{0}/bin/real \"$@\"; code=$?\n[ -e {1} ] || {{ : > {1}; }}\nexit $code\n", lab.dir.display(), claim.display()));
        fs::set_permissions(&lab.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let path = lab.dir.join("queue/queue.db");
        let claimer = std::thread::spawn(move || {
            while !claim.exists() { std::thread::yield_now(); }
            rusqlite::Connection::open(path).unwrap().execute("UPDATE jobs SET status = 'running' WHERE id = '7'", ()).unwrap();
        });
        lab.apply();
        claimer.join().unwrap();
        let charges = state(&lab, "mounts.json")["charges"].clone();
        assert_eq!(verdict(&lab.json(&[]), &lab.root("jobs/b")), "live");
        assert_eq!(charges.as_array().unwrap().len(), 1, "a swap that nobody paid for");
    }
}

lab_test! {
    fn without_the_queue_nobody_knows_that_every_bind_is_there(lab) {
        let queue = Queue::of(&mut lab);
        let _fault = lab.fault(&lab.root("box"), &[]);
        let text = lab.job_roots();
        lab.queued("deadline = \"30s\"", &text);
        let hot = lab.root("jobs/7");
        fs::create_dir_all(&hot).unwrap();
        queue.job("7", "queued", &hot);
        queue.job("8", "an odd status", &hot);
        let boot = || lab.run(&lab.dir.join("bin/unwedge-binds"), &["--apply", "--require"]);
        let ran = boot();
        assert_eq!(ran.code, Some(1), "the worker starts on a bare directory");
        let why = "unwedge-binds: not every bind is in place: the queue, which names some, is unknown: ";
        assert!(ran.stderr.contains(why), "{ran:?}");
        // one that comes up beside it, as at boot, is waited for
        std::thread::scope(|scope| {
            let late = scope.spawn(boot);
            std::thread::sleep(std::time::Duration::from_millis(700));
            queue.set("8", "done");
            let ran = late.join().unwrap();
            assert_eq!((ran.code, layers(&hot)), (Some(0), 1), "{ran:?}");
        });
    }
}

lab_test! {
    fn what_is_made_can_be_entered_whatever_the_umask(lab) {
        use std::os::unix::fs::PermissionsExt as _;
        let base = lab.root("box");
        let _f = lab.fault(&base, &[]);
        let hot = lab.root("jobs/2026/a");
        lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/n/a"), &hot)));
        lab.arm();
        let st = Command::new("/bin/sh").arg("-c").arg(format!("umask 077; exec {} --config {} --apply", lab.program.display(), lab.config.display())).status().unwrap();
        assert!(st.success());
        for made in [lab.root("jobs/2026"), base.join("jobs/n")] {
            assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o755, "{}", made.display());
        }
        // and the story of an incident is read by whoever tells people of it
        lab.configure("", &lab.listed(&lab.root("gone")));
        lab.fault(&lab.root("gone"), &[]).kill();
        Command::new("/bin/sh").arg("-c").arg(format!("umask 077; exec {} --config {} --apply", lab.program.display(), lab.config.display())).status().unwrap();
        let dir = lab.dir.join("state/incidents");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let story = fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
        assert_eq!((mode(&dir), mode(&story)), (0o755, 0o644));
    }
}

lab_test! {
    fn a_manifest_behind_a_link_is_refused_and_hangs_nobody(lab) {
        let base = lab.root("box");
        let mut f = lab.fault(&base, &[]);
        let manifest = lab.dir.join("binds");
        std::os::unix::fs::symlink(base.join("jobs/a/in.txt"), &manifest).unwrap();
        lab.configure("", &(lab.listed(&base) + &format!("[binds]\nmanifest = \"{}\"\n", manifest.display())));
        lab.arm();
        f.order("swallow");
        let mut ran = Command::new(&lab.program).arg("--config").arg(&lab.config).args(["--apply", "--json"])
            .stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        await_that("it ends, whatever the storage does", || ran.try_wait().unwrap().is_some());
    }
}

lab_test! {
    fn a_mount_that_comes_while_storage_is_waited_for_is_not_taken_along(lab) {
        // no strace: the storage takes 300 ms for an answer, and the cold directory lies a little deep
        let base = lab.root("box");
        let old = lab.fault(&base, &[]);
        let deep: PathBuf = (0..3).map(|i| format!("d{i}")).collect();
        let cold = base.join("jobs").join(&deep);
        fs::create_dir_all(&cold).unwrap();
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        mount_bind(&cold, &hot).unwrap();
        fs::create_dir(hot.join("theirs")).unwrap();
        unmount(&base, UnmountFlags::DETACH).unwrap();
        let mut new = lab.fault(&base, &[]);
        fs::create_dir_all(&cold).unwrap();
        lab.configure("", &(lab.listed(&base) + &lab.bound(&cold, &hot)));
        let text = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, text.replace("timeout = \"500ms\"", "timeout = \"5s\"")).unwrap();
        lab.arm();
        new.order("slow:300ms");
        let start = std::time::Instant::now();
        let mut ran = Command::new(&lab.program).arg("--config").arg(&lab.config).args(["--apply", "--json"])
            .stdout(fs::File::create(lab.dir.join("out.json")).unwrap()).spawn().unwrap();
        // once the child of the rebind is on its way
        let child = |word: &str| procfs::process::all_processes().unwrap().flatten().any(|p| p.cmdline().is_ok_and(|c| c.iter().any(|a| a.contains(word))));
        while !child("\"act\":\"rebind\"") && start.elapsed() < Duration::from_secs(40) { std::thread::sleep(Duration::from_millis(20)); }
        std::thread::sleep(Duration::from_millis(500));
        mount("theirs", hot.join("theirs"), "tmpfs", MountFlags::empty(), None).unwrap();
        finish(&mut ran);
        assert!(top(&hot.join("theirs")).is_some(), "somebody's live mount was taken along");
        drop(old);
    }
}

lab_test! {
    fn with_a_bad_line_not_every_bind_is_there(lab) {
        let base = lab.root("box");
        let _f = lab.fault(&base, &[]);
        let manifest = lab.dir.join("binds");
        fs::write(&manifest, format!("{0}/jobs/a {1}/a\n{0}/jobs/b {1}/b 0 0\n", base.display(), lab.root("jobs").display())).unwrap();
        lab.configure("", &(lab.listed(&base) + &format!("[binds]\nmanifest = \"{}\"\n", manifest.display())));
        lab.arm();
        let ran = lab.boot_front(&["--apply", "--require", "--json"]);
        assert_eq!(ran.code, Some(1), "the worker starts, /b is bare");
    }
}

lab_test! {
    fn a_manifest_with_carriage_returns_is_told_and_not_bound_by_them(lab) {
        let base = lab.root("box");
        let _f = lab.fault(&base, &[]);
        let manifest = lab.dir.join("binds");
        fs::write(&manifest, format!("{0}/jobs/a {1}/a\r\n", base.display(), lab.root("jobs").display())).unwrap();
        lab.configure("", &(lab.listed(&base) + &format!("[binds]\nmanifest = \"{}\"\n", manifest.display())));
        lab.arm();
        let ran = lab.boot_front(&["--apply", "--require", "--json"]);
        assert_eq!(ran.code, Some(1), "a\\r was made and bound");
    }
}

lab_test! {
    fn a_remount_that_fails_is_tried_less_and_less(lab) {
        let base = lab.root("box");
        fs::create_dir_all(&base).unwrap();
        lab.configure("", &lab.mounted_by(&base, "1s", &never(&lab)));
        lab.arm();
        for _ in 0..3 { lab.apply(); }
        assert_ne!(state(&lab, "mounts.json")["attempts"].as_array().unwrap().len(), 0);
    }
}

lab_test! {
    fn a_child_that_comes_too_late_does_nothing(lab) {
        let base = lab.root("box");
        let old = lab.fault(&base, &[]);
        let deep: PathBuf = (0..14).map(|i| format!("d{i}")).collect();
        let cold = base.join("jobs").join(&deep);
        fs::create_dir_all(&cold).unwrap();
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        mount_bind(&cold, &hot).unwrap();
        unmount(&base, UnmountFlags::DETACH).unwrap();
        let mut new = lab.fault(&base, &[]);
        fs::create_dir_all(&cold).unwrap();
        lab.configure("", &(lab.listed(&base) + &lab.bound(&cold, &hot)));
        let text = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, text.replace("timeout = \"500ms\"", "timeout = \"3s\"")).unwrap();
        lab.arm();
        new.order("slow:250ms");
        let before = top(&hot).unwrap().id;
        let start = std::time::Instant::now();
        let mut ran = Command::new(&lab.program).arg("--config").arg(&lab.config).args(["--apply", "--json"])
            .stdout(fs::File::create(lab.dir.join("out.json")).unwrap()).spawn().unwrap();
        let child = |word: &str| procfs::process::all_processes().unwrap().flatten().any(|p| p.cmdline().is_ok_and(|c| c.iter().any(|a| a.contains(word))));
        while !child("\"act\":\"rebind\"") && start.elapsed() < Duration::from_secs(40) { std::thread::sleep(Duration::from_millis(20)); }
        let pid = rustix::process::Pid::from_raw(new.pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        finish(&mut ran);
        fs::write(lab.dir.join("sentinels/HALT"), "x\n").unwrap();
        fs::remove_file(lab.dir.join("sentinels/binds")).unwrap();
        assert_eq!(top(&hot).unwrap().id, before);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        std::thread::sleep(Duration::from_secs(12));
        assert_eq!(top(&hot).unwrap().id, before, "swapped after HALT, by a child of a round that has ended");
        drop(old);
    }
}

lab_test! {
    fn the_bind_of_a_job_further_back_is_kept(lab) {
        // bound once as one of the next; then others come before it
        let queue = Queue::of(&mut lab);
        let mut fault = lab.fault(&lab.root("box"), &[]);
        let text = lab.job_roots();
        lab.queued("", &text);
        let t = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, t.replace("timeout = \"2s\"", "timeout = \"2s\"\nnext_jobs = 1")).unwrap();
        queue.job("5", "queued", &lab.root("jobs/5"));
        lab.apply();
        queue.job("1", "queued", &lab.root("jobs/1"));
        lab.apply();
        fault.kill();
        for _ in 0..3 { lab.apply(); }
        assert_eq!(layers(&lab.root("jobs/5")), 1, "a queued job's directory is bare now");
    }
}

lab_test! {
    fn a_directory_in_use_is_not_guarded(lab) {
        let base = lab.root("box");
        let _f = lab.fault(&base, &[]);
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        fs::write(hot.join("live-data"), "x").unwrap();
        lab.configure("", &(lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot)));
        lab.arm();
        lab.apply();
        let said = lab.unwedge(&["binds", "guard"]).stdout;
        assert!(said.contains("something is in it"), "{said}");
        let w = fs::write(hot.join("more"), "x");
        assert!(w.is_ok());
    }
}

lab_test! {
    fn a_bind_that_had_to_wait_for_a_job_costs_nothing_afterwards(lab) {
        let queue = Queue::of(&mut lab);
        let base = lab.root("box");
        let mut f = lab.fault(&base, &[]);
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        let text = lab.listed(&base) + &lab.bound(&base.join("jobs/a"), &hot);
        lab.queued("budget.cooldown = \"15m\"", &text);
        assert!(all_ok(&lab.apply()));
        queue.job("7", "running", &hot);
        queue.job("8", "queued", &hot);
        f.kill();
        lab.apply();
        queue.set("7", "done");
        lab.apply();
        assert_eq!(verdict(&lab.json(&[]), &hot), "live");
    }
}

lab_test! {
    fn a_base_that_an_ordinary_user_mounts_is_not_guarded(lab) {
        let base = lab.root("box");
        fs::create_dir_all(&base).unwrap();
        // in this namespace alone: the device as it is on every distribution
        let st = Command::new("/bin/sh").arg("-c").arg("mount -t tmpfs -o dev fusedev /media && mknod -m 666 /media/fuse c 10 229 && mount --bind /media/fuse /dev/fuse").status().unwrap();
        assert!(st.success());
        std::os::unix::fs::chown(&base, Some(65534), Some(65534)).unwrap();
        let remote = lab.dir.join("remote"); fs::create_dir_all(&remote).unwrap();
        let ssh = lab.dir.join("ssh");
        lab.script(&ssh, "#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n");
        let mount_it = lab.dir.join("mount-it");
        lab.script(&mount_it, &format!("#!/bin/sh\nexec /usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/sshfs -o ssh_command={} lab:{} {}\n", ssh.display(), remote.display(), base.display()));
        lab.configure("", &lab.mounted_by(&base, "5s", &mount_it));
        lab.arm();
        lab.apply();
        let said = lab.unwedge(&["binds", "guard"]).stdout;
        assert!(said.contains("left: it belongs to uid 65534"), "{said}");
        kill_daemons(&base);
        for _ in 0..2 { lab.apply(); }
        assert_eq!(verdict(&lab.json(&[]), &base), "live");
    }
}

lab_test! {
    fn a_dead_bind_of_a_base_that_was_replaced_stays_in_place(lab) {
        let queue = Queue::of(&mut lab);
        let base = lab.root("box");
        let mut f = lab.fault(&base, &[]);
        let hot = lab.root("jobs/a");
        fs::create_dir_all(&hot).unwrap();
        mount_bind(base.join("jobs/a"), &hot).unwrap();
        let text = lab.listed(&base);
        lab.queued("", &text);
        queue.job("7", "queued", &hot);
        f.kill();
        for _ in 0..3 { lab.apply(); }
        let w = fs::write(hot.join("result"), "x");
        assert!(w.is_err(), "onto the disk below");
    }
}

/// A round of this program that has looked, which `record` tells, and waits for another tool to end its act: for as long as
/// the file that is returned is open.
fn kept_waiting(lab: &Lab, program: &Path, record: &str) -> (Child, fs::File) {
    let act = fs::File::create(lab.dir.join("run/act.lock")).unwrap();
    act.lock().unwrap();
    let ran = Command::new(program)
        .arg("--config")
        .arg(&lab.config)
        .arg("--apply")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    await_that("it has looked", || lab.dir.join("state").join(record).exists());
    (ran, act)
}

/// What is owed, as another tool writes it.
fn owe(lab: &Lab, debts: &[&Debt]) {
    let debts = Debts { debts: debts.iter().map(|debt| (*debt).clone()).collect() };
    store::record(&lab.dir.join("state"), &debts).unwrap();
}

lab_test! {
    fn what_another_tool_came_to_owe_since_the_look_stays_owed(lab) {
        let [dead, paid, other] = ["dead", "paid", "other"].map(|name| lab.root(name));
        lab.configure("", &[&dead, &paid, &other].map(|path| lab.listed(path)).concat());
        lab.fault(&dead, &[]).kill();
        let _alive = (lab.fault(&paid, &[]), lab.fault(&other, &[]));
        lab.arm();
        let (since, why) = (Now::take().unwrap().stamp(), "a test".to_owned());
        let mount = |path: &Path| Debt::Mount { path: path.to_owned(), since: since.clone(), why: why.clone() };
        let bind = Debt::Bind { path: lab.root("elsewhere"), since: since.clone(), why: why.clone() };
        // known at the look, and paid by then
        owe(&lab, &[&mount(&paid)]);
        let (mut ran, act) = kept_waiting(&lab, &lab.program, "mounts.json");
        // the other one was taken away since, and what the look saw there says nothing of that
        owe(&lab, &[&mount(&paid), &mount(&other), &bind]);
        drop(act);
        assert!(ran.wait().unwrap().success());
        assert_eq!(verdict(&lab.json(&[]), &dead), "live", "and what was planned is done");
        let owed = lab.unwedge(&["debts"]).stdout;
        let left: Vec<bool> = ["/roots/paid", "/roots/other", "/roots/elsewhere", "/roots/dead"].map(|it| owed.contains(it)).into();
        assert_eq!(left, [false, true, true, false], "{owed}");
    }
}

lab_test! {
    fn a_round_of_the_worker_strikes_out_what_it_saw_paid_and_nothing_else(lab) {
        let yes = "[\"/bin/true\"]";
        lab.configure("", &format!("[worker]\nverify = \"20ms\"\nstart = {yes}\nstop = {yes}\nstatus = {yes}\n"));
        let since = Now::take().unwrap().stamp();
        let worker = |why: &str| Debt::Worker { unit: "worker".to_owned(), was_enabled: false, since: since.clone(), why: why.to_owned() };
        let bind = Debt::Bind { path: lab.root("elsewhere"), since: since.clone(), why: "a bind".to_owned() };
        let (known, newer) = (worker("known"), worker("newer"));
        for (by_then, left) in [(vec![&known, &bind], "a bind"), (vec![&newer], "newer")] {
            owe(&lab, &[&known]);
            let _ = fs::remove_file(lab.dir.join("state/worker.json"));
            let (mut ran, act) = kept_waiting(&lab, Path::new(env!("CARGO_BIN_EXE_unwedge-worker")), "worker.json");
            owe(&lab, &by_then);
            drop(act);
            ran.wait().unwrap();
            let owed = lab.unwedge(&["debts"]).stdout;
            assert!(owed.lines().count() == 1 && owed.contains(left), "{left}: {owed}");
        }
    }
}

/// Has a file open, and when it is told to has the kernel ask its storage what may be read of it, with the lock of an
/// epoll in hand.
const POLLS: &str = "import os, select, sys
file, poll = os.open(sys.argv[1], os.O_RDONLY), select.epoll()
print('open', flush=True)
sys.stdin.readline()
poll.register(file)
";

lab_test! {
    fn who_waits_in_an_epoll_for_silent_storage_keeps_no_round_waiting(lab) {
        if !Path::new("/usr/bin/python3").exists() {
            crate::support::isolate::skip(module_path!(), "needs /usr/bin/python3");
            return;
        }
        let (path, other) = (lab.root("box"), lab.dir.join("other"));
        lab.configure("", &lab.listed(&path));
        let (mut dead, mut silent) = (lab.fault(&path, &[]), lab.fault(&other, &[]));
        let mut waits = Command::new("/usr/bin/python3")
            .args(["-c", POLLS]).arg(other.join("data.txt"))
            .stdin(Stdio::piped()).stdout(Stdio::piped())
            .spawn().unwrap();
        let mut said = String::new();
        BufReader::new(waits.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        silent.order("swallow");
        writeln!(waits.stdin.as_mut().unwrap()).unwrap();
        let call = format!("{} ", libc::SYS_epoll_ctl);
        await_that("it waits in the kernel", || {
            fs::read_to_string(format!("/proc/{}/syscall", waits.id())).is_ok_and(|now| now.starts_with(&call))
        });
        // somebody holds what is taken away, so that whoever has anything open is looked through
        let _open = fs::File::open(path.join("data.txt")).unwrap();
        dead.kill();
        lab.arm();
        let mut ran = Command::new(&lab.program).arg("--config").arg(&lab.config).args(["--apply", "--json"])
            .stdout(fs::File::create(lab.dir.join("out.json")).unwrap()).stderr(Stdio::null())
            .spawn().unwrap();
        await_that("the round ends", || ran.try_wait().unwrap().is_some());
        let round = fs::read_to_string(lab.dir.join("out.json")).unwrap();
        assert!(round.contains(&format!("still held by {}", std::process::id())), "{round}");
        silent.order("alive");
        waits.wait().unwrap();
    }
}
