//! What `unwedge-mounts` does while jobs run, come next, or nobody knows: on real mounts, with a real
//! queue that the real `unwedge-jobs` reads as another user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::lab::{all_ok, holds, steps, verdict};
use crate::support::{Fault, Lab};

/// A queue in SQLite: id, status, output directory.
pub struct Queue(rusqlite::Connection);

impl Queue {
    /// Makes it, and puts the programs where the service user may run them.
    pub fn of(lab: &mut Lab) -> Self {
        lab.install_where_anybody_may_run_it();
        let jobs = lab.dir.join("bin/unwedge-jobs");
        fs::copy(env!("CARGO_BIN_EXE_unwedge-jobs"), jobs).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_unwedge-binds"), lab.dir.join("bin/unwedge-binds")).unwrap();
        fs::create_dir(lab.dir.join("queue")).unwrap();
        let connection = rusqlite::Connection::open(lab.dir.join("queue/queue.db")).unwrap();
        connection
            .execute_batch("CREATE TABLE jobs (id TEXT, status TEXT, dir TEXT); CREATE INDEX s ON jobs (status)")
            .unwrap();
        let queue = Self(connection);
        queue.give(lab);
        queue
    }

    fn give(&self, lab: &Lab) {
        let dir = lab.dir.join("queue");
        assert!(Command::new("chown").args(["-R", "nobody"]).arg(dir).status().unwrap().success());
    }

    pub fn job(&self, id: &str, status: &str, output: &Path) {
        let insert = "INSERT INTO jobs VALUES (?1, ?2, ?3)";
        self.0.execute(insert, (id, status, output.to_str())).unwrap();
    }

    pub fn set(&self, id: &str, status: &str) {
        self.0.execute("UPDATE jobs SET status = ?2 WHERE id = ?1", (id, status)).unwrap();
    }
}

const MAP: &str = "adapter = \"table\"\ntimeout = \"2s\"\n[queue.table]\nname = \"jobs\"\nid = \"id\"\n\
    status = \"status\"\norder = [\"id\"]\noutput = \"dir\"\n\
    states = { pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }\n";

impl Lab {
    /// The configuration with the queue.
    fn with_queue(&self, more: &str) {
        self.queued("", more);
    }

    /// The same with keys of `[mounts]`.
    pub fn queued(&self, mounts: &str, more: &str) {
        let url = format!("sqlite://{}", self.dir.join("queue/queue.db").display());
        self.configure(mounts, &format!("{more}[queue]\nurl = \"{url}\"\n{MAP}"));
        let text = fs::read_to_string(&self.config).unwrap();
        fs::write(&self.config, text.replace("[host]\n", "[host]\nuser = \"nobody\"\n")).unwrap();
        self.arm();
    }
}

/// A live base with binds of `jobs/a` and `jobs/b` that have outlived the one before.
fn outlived(lab: &Lab) -> (Fault, [PathBuf; 2]) {
    let base = lab.root("box");
    let mut old = lab.fault(&base, &[]);
    let hot = ["a", "b"].map(|name| lab.root("jobs").join(name));
    let mut binds = lab.listed(&base);
    for (name, hot) in ["a", "b"].iter().zip(&hot) {
        let cold = base.join("jobs").join(name);
        fs::create_dir_all(hot).unwrap();
        mount_bind(&cold, hot).unwrap();
        binds += &lab.bound(&cold, hot);
    }
    old.kill();
    unmount(&base, UnmountFlags::DETACH).unwrap();
    let new = lab.fault(&base, &[]);
    lab.with_queue(&binds);
    (new, hot)
}

fn swaps(path: &Path) -> [String; 2] {
    ["rebind", "wait-live"].map(|verb| format!("{verb} {}", path.display()))
}

lab_test! {
    fn a_bind_under_a_running_job_is_left_and_the_others_are_swapped(lab) {
        let queue = Queue::of(&mut lab);
        let (_fault, [a, b]) = outlived(&lab);
        queue.job("7", "running", &a.join("out"));
        queue.job("8", "queued", &b);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(steps(&round), swaps(&b));
        assert_eq!(holds(&round), [format!("{} running-jobs-present", a.display())]);
        // by the boot front too
        let ran = lab.run(&lab.dir.join("bin/unwedge-binds"), &["--apply", "--json"]);
        let front: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(holds(&front), [format!("{} running-jobs-present", a.display())]);
        queue.set("7", "done");
        let round = lab.apply();
        assert_eq!((all_ok(&round), steps(&round)), (true, swaps(&a).to_vec()), "{round:#}");
    }
}

lab_test! {
    fn a_running_job_that_does_not_say_where_it_writes_is_on_every_bind(lab) {
        let queue = Queue::of(&mut lab);
        let (_fault, [a, b]) = outlived(&lab);
        queue.0.execute("INSERT INTO jobs VALUES ('7', 'running', NULL)", ()).unwrap();
        let expected: Vec<String> =
            [&a, &b].map(|hot| format!("{} running-jobs-present", hot.display())).into();
        assert_eq!(holds(&lab.apply()), expected);
    }
}

lab_test! {
    fn where_nobody_knows_what_runs_missing_binds_are_made_and_a_dead_base_is_put_back(lab) {
        let queue = Queue::of(&mut lab);
        let (mut fault, [a, b]) = outlived(&lab);
        unmount(&b, UnmountFlags::DETACH).unwrap();
        queue.job("7", "an odd status", &a);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(steps(&round)[0], format!("bind {}", b.display()));
        assert_eq!(holds(&round), [format!("{} queue-unknown", a.display())]);
        // and what hangs is not ended
        fault.order("swallow");
        let round = lab.apply();
        assert!(holds(&round).contains(&format!("{} queue-unknown", lab.root("box").display())), "{round:#}");
        assert!(steps(&round).is_empty());
        fault.order("alive");
        fault.kill();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(verdict(&lab.json(&[]), &lab.root("box")), "live");
        queue.set("7", "done");
        assert!(all_ok(&lab.apply()));
        for hot in [&a, &b] {
            assert_eq!(verdict(&lab.json(&[]), hot), "live");
        }
    }
}

lab_test! {
    fn jobs_that_run_or_come_next_have_their_outputs_bound_and_repaired_before_they_are_taken(lab) {
        let queue = Queue::of(&mut lab);
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let root = lab.root("jobs");
        fs::create_dir(&root).unwrap();
        let roots = format!(
            "[binds]\ncold_root = \"{}\"\nhot_root = \"{}\"\n",
            base.join("tier").display(), root.display()
        );
        lab.with_queue(&(lab.listed(&base) + &roots));
        queue.job("1", "queued", &root.join("1999/old one"));
        queue.job("2", "queued", &root.join("2031/x"));
        queue.job("3", "queued", Path::new("/elsewhere/x"));
        queue.job("4", "done", &root.join("4"));
        queue.job("5", "queued", &root.join("../etc/x"));
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        for name in ["1999/old one", "2031/x"] {
            fs::write(root.join(name).join("f"), "").unwrap();
            assert!(base.join("tier").join(name).join("f").exists(), "{name}");
        }
        assert!(!root.join("4").exists() && !base.join("tier/4").exists(), "what is done needs nothing");
        assert_eq!(fs::read_dir(base.join("tier")).unwrap().count(), 2);
        // it dies before anybody has taken one
        fault.kill();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        fs::write(root.join("2031/x/g"), "").unwrap();
        assert!(base.join("tier/2031/x/g").exists());
        // what reads its output later needs it too, when the job is long done
        queue.set("2", "done");
        crate::binds::kill_daemons(&base);
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        assert_eq!(verdict(&lab.json(&[]), &root.join("2031/x")), "live");
        assert_eq!(lab.unwedge(&["debts"]).stdout, "nothing is owed\n");
        // but what else is mounted there is nobody's bind
        fs::create_dir(root.join("theirs")).unwrap();
        rustix::mount::mount("t", root.join("theirs"), "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        let round = lab.apply();
        assert!(steps(&round).is_empty() && verdict(&round, &root.join("theirs")) == "live", "{round:#}");
    }
}

lab_test! {
    fn a_job_claimed_after_the_look_keeps_its_bind(lab) {
        let queue = Queue::of(&mut lab);
        let (_fault, [a, b]) = outlived(&lab);
        queue.job("7", "queued", &a);
        // claimed between the first question and the second: the first one is answered by the real program,
        // and then the job is claimed
        let real = lab.dir.join("bin/unwedge-jobs");
        fs::rename(&real, lab.dir.join("bin/real")).unwrap();
        let claim = lab.dir.join("claim");
        let script = format!(
            "#!/bin/sh\n{0}/bin/real \"$@\"; code=$?\n[ -e {1} ] || {{ : > {1}; }}\nexit $code\n",
            lab.dir.display(), claim.display()
        );
        lab.script(&real, &script);
        fs::set_permissions(&lab.dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let path = lab.dir.join("queue/queue.db");
        let claimer = std::thread::spawn(move || {
            while !claim.exists() {
                std::thread::yield_now();
            }
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.execute("UPDATE jobs SET status = 'running' WHERE id = '7'", ()).unwrap();
        });
        let round = lab.apply();
        claimer.join().unwrap();
        assert_eq!(steps(&round).len(), 4, "{round:#}");
        assert_eq!(holds(&round), [format!("{} running-jobs-present", a.display())], "{round:#}");
        assert_eq!(verdict(&lab.json(&[]), &b), "live");
        assert_eq!(verdict(&lab.json(&[]), &a), "dead", "left as it was");
    }
}
