//! The acceptance list on real mounts: each test is a promise, and was seen to fail when the promise
//! was broken.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::lab::{all_ok, holds, observation, processes, steps, verdict};

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
        assert_eq!(fs::read_to_string(path.join("data.txt")).unwrap(), "the data is here\n");
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
        let limit = std::time::Duration::from_millis(500 + 1000);
        for round in 0..100 {
            let flags: &[&str] = if round % 3 == 0 { &["--apply"] } else { &[] };
            let ran = lab.round(flags);
            assert!(ran.took < limit, "round {round}: {ran:?}");
            assert_eq!(processes("uw-").len(), 1, "round {round}");
        }
        let (_, state) = processes("uw-")[0];
        assert_eq!(state, 'S', "a prober sleeps quietly, it is never killed into D");
        fault.order("alive");
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
