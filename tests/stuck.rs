//! What waits for storage that hangs cannot be ended by anybody: its job stays where it is until it can.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::runner::{furnish, script};
use crate::support::Lab;
use crate::support::lab::{await_that, await_within, processes};

/// Forks twice, leaves the session, hears no request to end, and stays.
const CLINGS: &str = "trap \"\" TERM HUP INT; (setsid sleep 4321 & sleep 4321 &); setsid bash -c \"trap \\\"\\\" TERM; sleep 4321; :\" & echo x >/srv/out/.begun; while :; do sleep 4321; done";

host_test! {
    fn nothing_is_left_of_a_job_in_a_cgroup_that_is_called_off_while_it_clings(host) {
        furnish(&host, &[("clings", &script("", CLINGS)), ("t", &script("", "cp $1 $2"))], "");
        host.ok("systemctl start unwedge-runner; cd /srv/in; tee a b <<<x; unwedge jobs submit clings a");
        host.until("test -e /srv/out/.begun && test $(pgrep -cx sleep) -ge 4");
        let pid = host.ok("main_pid unwedge-runner");
        host.ok("cd /; ls -d /sys/fs/cgroup/system.slice/unwedge-runner.service/job-1-1; unwedge jobs cancel 1");
        host.until("test -z \"$(pgrep -x sleep)\"");
        host.until("cd /; unwedge jobs list --state cancelled | grep -q /srv/in/a; test -z \"$(ls -d /sys/fs/cgroup/system.slice/unwedge-runner.service/job-* 2>/dev/null)\"");
        host.ok("cd /srv/in; unwedge jobs submit --wait t b");
        assert_eq!(host.ok("main_pid unwedge-runner"), pid);
    }
}

fn runner(lab: &Lab, log: &str) -> Child {
    let _ = fs::remove_file(lab.dir.join("state/queue/runner.json"));
    Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .args([env!("CARGO_BIN_EXE_unwedge-runner"), "--config"])
        .arg(&lab.config)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(lab.dir.join(log)).unwrap())
        .spawn()
        .unwrap()
}

lab_test! {
    fn a_job_whose_helper_cannot_be_killed_is_nobodys_before_that_has_ended(lab) {
        let base = lab.root("box");
        let mut fault = lab.fault(&base, &[]);
        let at = |name: &str| lab.dir.join(name);
        for name in ["state/queue", "jobs.d"] {
            fs::create_dir(at(name)).unwrap();
        }
        chown(at("state/queue"), Some(65534), Some(65534)).unwrap();
        for name in ["", "metrics"] {
            chown(at(name), Some(65534), Some(65534)).unwrap();
        }
        fs::set_permissions(&base, fs::Permissions::from_mode(0o1777)).unwrap();
        let (dir, url) = (lab.dir.display().to_string(), format!("sqlite://{}", at("state/queue/q.db").display()));
        lab.configure("", &format!(
            "[queue]\nadapter = \"unwedge\"\nurl = \"{url}\"\nlease = \"4s\"\n\
             [jobs]\ndir = \"{dir}/jobs.d\"\nbeat = \"500ms\"\nsweep = \"500ms\"\npoll = \"200ms\"\ngrace = \"1s\"\ndrain = \"0s\"\nmin_free_mib = 0\n"
        ));
        let text = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, text.replace("[host]\n", "[host]\nuser = \"nobody\"\n")).unwrap();
        // its command is over, and whoever looks at what it made waits
        let script = format!("cp $1 $2; echo >>{dir}/ready; until test -e {dir}/go; do sleep 0.05; done");
        fs::write(at("jobs.d/t.toml"), format!(
            "output = \"{}/{{name}}\"\n[[tier]]\nargv = [\"/bin/sh\", \"-c\", \"{script}\", \"job\", \"{{input}}\", \"{{output}}\"]\n", base.display()
        )).unwrap();
        fs::write(at("a"), "x").unwrap();
        let say = |words: &[&str]| lab.unwedge(words);
        let ran = say(&["jobs", "submit", "t", at("a").to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let mut first = runner(&lab, "first");
        let log = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
        await_that("it is ready", || at("ready").exists());
        let queue = || rusqlite::Connection::open(at("state/queue/q.db")).unwrap();
        let stands = || -> (String, i64, i64, i64, i64) {
            let row = "SELECT state, tries, rescues, failures, infra_errors FROM unwedge_jobs";
            queue().query_row(row, [], |it| Ok((it.get(0)?, it.get(1)?, it.get(2)?, it.get(3)?, it.get(4)?))).unwrap()
        };
        let workers = || -> String {
            queue().query_row("SELECT group_concat(state) FROM unwedge_workers", [], |it| it.get(0)).unwrap()
        };
        fault.order("swallow");
        fs::write(at("go"), "").unwrap();
        let hangs = || processes("uj").iter().any(|it| it.1 == 'D');
        await_that("its command is over", || processes("sh").is_empty());
        kill_process(Pid::from_child(&first), Signal::TERM).unwrap();
        // its grace, and twice what a helper has to end
        await_within(Duration::from_secs(100), "it ends all the same", || first.try_wait().unwrap().is_some());
        let said = log("first");
        assert!(said.contains("its helper cannot be killed; nobody begins it before it has ended"), "{said}");
        assert!(said.contains("it does not leave the queue: what cannot be ended is still its own"), "{said}");
        assert!(hangs(), "{said}");
        assert_eq!(stands(), ("running".to_owned(), 1, 0, 0, 0), "{said}");
        assert!(!workers().contains("dead"), "{}", workers());
        // nor does who comes next take it, however long that lasts
        let mut second = runner(&lab, "second");
        let beats = || -> i64 {
            queue().query_row("SELECT coalesce(max(beats), 0) FROM unwedge_workers WHERE id = (SELECT id FROM unwedge_workers ORDER BY beat_ms DESC LIMIT 1)", [], |it| it.get(0)).unwrap()
        };
        await_that("it is there", || workers().contains(','));
        let before = beats();
        await_that("more than two leases are over", || beats() >= before + 20);
        assert_eq!(stands(), ("running".to_owned(), 1, 0, 0, 0), "{}", log("second"));
        assert!(!workers().contains("dead"), "{}", workers());
        fault.order("alive");
        await_that("it is done by that one", || stands().0 == "done");
        assert_eq!((stands().1, stands().3), (2, 0), "{:?} {}", stands(), log("second"));
        assert_eq!(fs::read_to_string(base.join("a")).unwrap(), "x");
        kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
        second.wait().unwrap();
    }
}
