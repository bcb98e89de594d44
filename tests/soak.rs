//! The real times, which `make test` scales down: the shipped defaults on a clock nobody hurries.
//! Run by `make soak`; it takes some 75 minutes.

#![allow(missing_docs, dead_code, reason = "tests are read, not called")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unused_self,
    reason = "a test may panic, talk, start processes and look at the clock"
)]

#[macro_use]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::Lab;
use support::lab::{all_ok, await_that, held_mounts, holds, processes, steps, verdict};

/// How often the timer starts a round.
const TICK: Duration = Duration::from_secs(60);

/// The shipped confirmation and budget.
const DEFAULTS: &str = "confirm.dead = { runs = 1, age = \"0s\" }\n\
    confirm.hung = { runs = 2, age = \"2m\" }\nconfirm.absent = { runs = 2, age = \"0s\" }\n\
    confirm.stacked = { runs = 2, age = \"0s\" }\nconfirm.transient = { runs = 5, age = \"2m\" }\n\
    budget.cooldown = \"15m\"\nbudget.per_hour = 2\nbudget.per_day = 6\n\
    budget.per_target_per_day = 3\n";

/// A round a minute until one has steps that were done; how long that took from now.
fn rounds_until_healed(lab: &Lab, path: &Path, limit: Duration) -> (Duration, Vec<String>) {
    let (start, mut said) = (Instant::now(), Vec::new());
    loop {
        let round = lab.apply();
        said.extend(holds(&round));
        if !steps(&round).is_empty() {
            assert!(all_ok(&round), "{round:#}");
            let next = lab.apply();
            assert_eq!(verdict(&next, path), "live");
            said.dedup();
            println!("healed after {:?}; held before: {said:?}", start.elapsed());
            return (start.elapsed(), said);
        }
        assert!(start.elapsed() < limit, "not healed within {limit:?}: {round:#}");
        std::thread::sleep(TICK.saturating_sub(Duration::from_millis(200)));
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

fn kill_daemons() {
    for (pid, _) in processes("exe").into_iter().chain(processes("unwedge")) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    await_that("the daemons end", || {
        processes("exe").is_empty() && processes("unwedge").is_empty()
    });
}

lab_test! {
    fn a_hang_is_acted_on_after_two_minutes_and_not_before(lab) {
        let path = lab.root("box");
        lab.configure(DEFAULTS, &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        fault.order("swallow");
        lab.arm();
        let (took, said) = rounds_until_healed(&lab, &path, minutes(5));
        assert!(took >= minutes(2) && took < minutes(4), "{took:?}");
        assert_eq!(said, [format!("{} not-confirmed", path.display())]);
    }
}

lab_test! {
    fn an_error_that_stays_is_acted_on_after_five_rounds_and_two_minutes(lab) {
        let path = lab.root("box");
        lab.configure(DEFAULTS, &lab.listed(&path));
        let mut fault = lab.fault(&path, &[]);
        fault.order("errno:5");
        lab.arm();
        let (took, _) = rounds_until_healed(&lab, &path, minutes(7));
        let (four_ticks, slack) = (4 * TICK, Duration::from_secs(2));
        assert!(took >= four_ticks - slack, "{took:?}");
    }
}

lab_test! {
    fn the_budget_spreads_repairs_over_cool_down_and_hour(lab) {
        let path = lab.root("box");
        lab.configure(DEFAULTS, &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let start = Instant::now();
        let (took, _) = rounds_until_healed(&lab, &path, minutes(1));
        assert!(took < Duration::from_secs(10), "the first at once: {took:?}");
        kill_daemons();
        let (_, said) = rounds_until_healed(&lab, &path, minutes(17));
        assert!(said.contains(&format!("{} cooling-down", path.display())));
        assert!(start.elapsed() >= minutes(15), "the second after the cool-down");
        kill_daemons();
        let (_, said) = rounds_until_healed(&lab, &path, minutes(62));
        assert!(said.contains(&format!("{} over-hourly-cap", path.display())));
        assert!(start.elapsed() >= minutes(60), "the third when the hour is over");
        kill_daemons();
        let round = lab.apply();
        assert!(steps(&round).is_empty());
        assert!(!held_mounts(&path).is_empty());
    }
}
