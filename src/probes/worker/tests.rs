//! What systemd 252 shows and says, understood.

use super::*;

const SHOWN: &str = "Id=w.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\n\
    Result=exit-code\nUnitFileState=enabled\nMainPID=0\nNRestarts=5\n\
    ActiveEnterTimestampMonotonic=90\nInactiveEnterTimestampMonotonic=100\n\
    TimeoutStopUSec=1min 30s\nFragmentPath=/etc/w\nDropInPaths=/etc/w.d/a /etc/w.d/b\n\
    NeedDaemonReload=no\nControlGroup=\nSlice=system.slice\nRequires=box.service\nBindsTo=x.service\n";

#[test]
fn what_systemctl_shows_is_understood() {
    let shown = parse(SHOWN, "w.service").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(shown.look.state, State::Failed("exit-code".to_owned()));
    assert_eq!((shown.look.restarts, shown.look.main_pid), (5, None));
    assert_eq!(shown.look.stop_limit, Some(Duration::from_secs(90)));
    assert_eq!(shown.files.len(), 3);
    assert_eq!(shown.look.down_since, Some(Duration::from_micros(100)));
    let leaders: Vec<_> = shown.leaders.iter().map(|it| (it.name.as_str(), it.bound)).collect();
    assert_eq!(leaders, [("box.service", false), ("x.service", true)]);
    let other = |from: &str, to: &str| {
        let look = parse(&SHOWN.replace(from, to), "w.service").map(|shown| shown.look);
        look.map_or_else(State::Unknown, |look| look.state).name()
    };
    assert_eq!(other("=failed\nSubState=failed", "=reloading"), "reloading");
    assert_eq!(other("ActiveState=failed", "ActiveState=activating"), "activating");
    assert_eq!(other("LoadState=loaded", "LoadState=masked"), "masked");
    assert_eq!(other("LoadState=loaded", "LoadState=not-found"), "not-found");
    assert_eq!(other("LoadState=loaded", "LoadState=bad-setting"), "unknown");
    assert_eq!(other("UnitFileState=enabled\n", ""), "unknown");
    assert_eq!(stop_limit("infinity"), None);
}

fn clock() -> Clock {
    let now = Now { utc_ms: 9_000_000, boot_ms: 5_000_000, boot_id: "b".to_owned() };
    Clock { now, monotonic: Duration::from_secs(4_000) }
}

fn line(unit: &str, job: &str, id: u32, at_s: u64, message: &str) -> String {
    let up = if job == "start" { "39f53479d3a045ac8e11786248231fbf" } else { "" };
    let job = match job {
        "" => String::new(),
        job => format!("\"JOB_TYPE\":{job:?},\"JOB_RESULT\":\"done\",\"JOB_ID\":\"{id}\","),
    };
    format!(
        "{{\"UNIT\":{unit:?},\"MESSAGE_ID\":{up:?},{job}\"MESSAGE\":{message:?},\
         \"__MONOTONIC_TIMESTAMP\":\"{}\"}}\n",
        at_s * 1_000_000
    )
}

#[test]
fn a_stop_by_hand_has_its_time_and_one_that_was_passed_on_is_nobodys() {
    let told = |said: &str| {
        let leaders = [Leader { name: "box".to_owned(), bound: true }];
        stopped(&units::parse_lines(said.as_bytes()), "w", &leaders, &clock())
    };
    let up = line("w", "start", 1, 3_000, "Started");
    let stop = line("w", "stop", 3, 3_400, "Stopped");
    let by_hand = told(&format!("{up}{stop}"));
    let Stopped::ByJob { at, started: Some(started) } = by_hand else { panic!("{by_hand:?}") };
    assert_eq!((at.boot_ms, at.utc_ms), (5_000_000 - 600_000, 9_000_000 - 600_000));
    assert_eq!(started.boot_ms, 5_000_000 - 1_000_000);
    let back =
        line("box", "stop", 2, 3_399, "Stopped") + &line("box", "start", 4, 3_500, "Started");
    assert_eq!(told(&format!("{up}{stop}{back}")), Stopped::Along);
    assert_eq!(told(&format!("{up}{stop}{}", line("w", "restart", 5, 3_600, ""))), Stopped::Nobody);
    assert_eq!(told(&up), Stopped::Nobody, "it died");
    assert_eq!(told(""), Stopped::Nobody);
}

#[test]
fn a_crash_loop_is_what_the_manager_gave_up_since_it_was_last_up() {
    let told =
        |said: &str, result: &str| given_up(&units::parse_lines(said.as_bytes()), "w", result);
    let up = line("w", "start", 1, 1, "Started");
    let up_again = line("w", "start", 2, 3, "Started");
    let gives_up = line("w", "", 0, 2, "w: Start request repeated too quickly.");
    assert!(told(&format!("{up}{gives_up}"), "exit-code"));
    assert!(!told(&format!("{up}{gives_up}{up_again}"), "exit-code"));
    assert!(!told(&up, "exit-code"));
    assert!(told(&up, "start-limit-hit"));
    let others = line("x", "", 0, 2, "x: Start request repeated too quickly.");
    assert!(!told(&format!("{up}{others}"), "exit-code"));
}

#[test]
fn only_a_file_that_is_newer_than_the_failure_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.service");
    std::fs::write(&file, "").unwrap();
    let made = std::fs::metadata(&file).unwrap().mtime();
    let at = |offset: i64| {
        let utc_ms = u64::try_from((made + offset) * 1000).unwrap();
        let now = Now { utc_ms, boot_ms: 5_000_000, boot_id: "b".to_owned() };
        let clock = Clock { now, monotonic: Duration::from_secs(10) };
        changed_file(std::slice::from_ref(&file), Duration::from_secs(10), &clock)
    };
    assert_eq!((at(-2), at(2)), (Some(file.clone()), None));
}

#[test]
fn without_a_service_manager_the_command_tells_and_none_that_hangs_is_down() {
    let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(ask(&argv(&["/bin/true"])), State::Active);
    assert_eq!(ask(&argv(&["/bin/false"])), State::Inactive);
    assert!(matches!(ask(&argv(&["/nonexistent"])), State::Unknown(_)));
}
