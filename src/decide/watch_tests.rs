#![allow(clippy::unchecked_time_subtraction, reason = "a test may panic")]

use super::*;
use std::path::PathBuf;

use crate::probes::holders::Process;
use crate::probes::mountinfo::{Dev, Mount};
use crate::probes::wakes::Ended;

const START: Duration = Duration::from_secs(1_000);
const MOMENT: Duration = Duration::from_millis(1);

fn event(starts: &mut Starts, now: Duration) {
    starts.event(now, "sshfs (7) of /srv/box ended".to_owned());
}

/// Asks and answers that no round runs; whether one is started now.
fn starts_at(starts: &mut Starts, now: Duration) -> bool {
    match starts.next(now) {
        Step::Ask => matches!(starts.answer(now, Round::Over), Step::Start(_)),
        Step::Rest | Step::LeaveToTimers => false,
        Step::Start(_) => panic!("started without asking"),
    }
}

#[test]
fn nothing_happens_while_nothing_happens() {
    let mut starts = Starts::default();
    assert_eq!((starts.due(), starts.next(START)), (None, Step::Rest));
    assert_eq!(starts.answer(START, Round::Over), Step::Rest, "an answer alone starts nothing");
}

#[test]
fn a_burst_is_one_start_when_the_debounce_is_over_and_not_before() {
    let mut starts = Starts::default();
    for nth in 0..4 {
        event(&mut starts, START + nth * MOMENT);
    }
    assert_eq!(starts.due(), Some(START + DEBOUNCE), "counted from the first");
    assert_eq!(starts.next(START + DEBOUNCE - MOMENT), Step::Rest);
    assert_eq!(starts.next(START + DEBOUNCE), Step::Ask);
    let why = "sshfs (7) of /srv/box ended; and 3 more".to_owned();
    assert_eq!(starts.answer(START + DEBOUNCE, Round::Over), Step::Start(why));
    assert_eq!(starts.due(), None);
}

#[test]
fn two_starts_are_a_gap_apart() {
    let mut starts = Starts::default();
    event(&mut starts, START);
    let first = START + DEBOUNCE;
    assert!(starts_at(&mut starts, first));
    event(&mut starts, first + MOMENT);
    assert!(!starts_at(&mut starts, first + GAP - MOMENT));
    assert!(starts_at(&mut starts, first + GAP));
}

#[test]
fn an_event_during_a_round_is_kept_until_the_round_has_ended_and_then_starts_one() {
    let mut starts = Starts::default();
    event(&mut starts, START);
    let mut now = START + DEBOUNCE;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert_eq!(starts.next(now), Step::Ask);
        assert_eq!(starts.answer(now, Round::Running), Step::Rest);
        event(&mut starts, now);
        let due = starts.due().unwrap();
        assert_eq!(starts.next(due - MOMENT), Step::Rest);
        pauses.push(due - now);
        now = due;
    }
    assert_eq!(pauses[..3], [ASK_FIRST, ASK_FIRST * 2, ASK_FIRST * 4]);
    assert_eq!(pauses[7], ASK_MAX);
    assert!(starts_at(&mut starts, now));
    assert_eq!(starts.due(), None, "all of them are answered by that one");
}

#[test]
fn a_round_that_cannot_be_asked_after_is_started() {
    let mut starts = Starts::default();
    event(&mut starts, START);
    assert!(matches!(starts.answer(START + DEBOUNCE, Round::Unknown), Step::Start(_)));
}

#[test]
fn the_cap_leaves_it_to_the_timers_says_so_once_and_ends_by_itself() {
    let mut starts = Starts::default();
    let mut now = START;
    for nth in 0..STARTS_MAX {
        event(&mut starts, now);
        now = starts.due().unwrap();
        assert!(starts_at(&mut starts, now), "start {nth}");
    }
    let first = START + DEBOUNCE;
    for expected in [Step::LeaveToTimers, Step::Rest, Step::Rest] {
        event(&mut starts, now);
        now = starts.due().unwrap();
        assert_eq!(starts.next(now), expected);
        assert_eq!(starts.due(), None, "it is not kept for later");
    }
    event(&mut starts, first + WINDOW - MOMENT - DEBOUNCE);
    assert!(!starts_at(&mut starts, first + WINDOW - MOMENT));
    event(&mut starts, first + WINDOW - DEBOUNCE);
    assert!(starts_at(&mut starts, first + WINDOW));
    // and once more, it is said once more
    for expected in [Step::LeaveToTimers, Step::Rest] {
        event(&mut starts, first + WINDOW);
        assert_eq!(starts.next(first + WINDOW + GAP - MOMENT), Step::Rest);
        let now = first + WINDOW + GAP;
        starts.past = std::iter::repeat_n(first + WINDOW, STARTS_MAX).collect();
        assert_eq!(starts.next(now), expected);
    }
}

#[test]
fn looks_take_a_pause_and_a_share_of_the_time_and_come_every_minute() {
    let mut looks = Looks::default();
    assert_eq!((looks.due(), looks.scan(START)), (Duration::ZERO, Scan::Always));
    looks.looked(START, MOMENT, Scan::Always);
    assert_eq!((looks.due(), looks.is_outdated()), (START + LOOK_EVERY, false));

    looks.outdated(Scan::IfMountsChanged);
    assert_eq!(looks.due(), START + MOMENT + LOOK_PAUSE);
    let second = looks.due();
    assert_eq!(looks.scan(second), Scan::IfMountsChanged, "unrelated mounts scan no processes");
    let dear = LOOK_PAUSE / LOOK_SHARE * 2;
    looks.looked(second, dear, Scan::IfMountsChanged);
    looks.outdated(Scan::IfMountsChanged);
    assert_eq!(looks.due(), second + dear + LOOK_PAUSE * 2, "a long table is read less often");
    looks.outdated(Scan::Always);
    looks.outdated(Scan::IfMountsChanged);
    assert_eq!(looks.scan(looks.due()), Scan::Always);

    // mounts that come and go without end do not put off the minute's look
    looks.looked(START + LOOK_EVERY - MOMENT, MOMENT, Scan::IfMountsChanged);
    looks.outdated(Scan::IfMountsChanged);
    assert_eq!(looks.due(), START + LOOK_EVERY);
    assert_eq!(looks.scan(START + LOOK_EVERY - MOMENT), Scan::IfMountsChanged);
    assert_eq!(looks.scan(START + LOOK_EVERY), Scan::Always);
}

fn mount(id: u64, minor: u32) -> Mount {
    Mount {
        id,
        parent: 1,
        dev: Dev { major: 0, minor },
        root: "/".into(),
        path: PathBuf::from("/srv/box"),
        propagation: crate::probes::mountinfo::Propagation::default(),
        options: "rw".into(),
        fstype: "fuse.sshfs".to_owned(),
        source: "u1@box:/data".into(),
        super_options: "rw".into(),
    }
}

fn scene(mounts: Vec<Mount>, holders: &Holders) -> Scene {
    let holders = mounts.iter().map(|mount| (mount.dev, holders.clone())).collect();
    Scene { mounts, holders }
}

fn served(pid: i32) -> Holders {
    Holders::Living(vec![Process { pid, comm: "sshfs".to_owned(), start_ticks: 1 }])
}

#[track_caller]
fn check(before: Option<&Scene>, after: &Scene, expected: &[&str]) {
    assert_eq!(changes(before, after), expected);
}

#[test]
fn only_what_stands_at_watched_paths_and_nobody_serving_it_is_an_event() {
    let live = scene(vec![mount(40, 52)], &served(7));
    let dead = scene(vec![mount(40, 52)], &Holders::None);
    let unseen = scene(vec![mount(40, 52)], &Holders::Unknown("elsewhere"));
    let none = scene(vec![], &Holders::None);
    check(None, &live, &[]);
    check(None, &dead, &["nobody serves /srv/box"]);
    check(None, &unseen, &[]);
    check(Some(&live), &live, &[]);
    check(Some(&live), &scene(vec![mount(40, 52)], &served(8)), &[]);
    check(Some(&live), &dead, &["nobody serves /srv/box"]);
    check(Some(&dead), &dead, &[]);
    check(Some(&live), &unseen, &[]);
    check(Some(&dead), &none, &["/srv/box went"]);
    check(Some(&none), &live, &["/srv/box came"]);
    check(
        Some(&live),
        &scene(vec![mount(41, 53)], &served(8)),
        &["/srv/box went", "/srv/box came"],
    );
}

#[test]
fn the_end_of_a_daemon_is_one_event_and_the_look_after_it_is_none() {
    let mut watch = Watch::default();
    watch.saw(Some(scene(vec![mount(40, 52)], &served(7))), Scan::Always, START, MOMENT);
    assert_eq!(watch.starts.due(), None);
    let process = Process { pid: 7, comm: "sshfs".to_owned(), start_ticks: 1 };
    let ended = vec![Ended { process, dev: Dev { major: 0, minor: 52 } }];
    watch.woken(&Woken { ended, ..Woken::default() }, START + MOMENT);
    let due = START + MOMENT + DEBOUNCE;
    assert_eq!((watch.due(), watch.looks.scan(START + MOMENT)), (due, Scan::Always));
    watch.saw(
        Some(scene(vec![mount(40, 52)], &Holders::None)),
        Scan::Always,
        START + MOMENT,
        MOMENT,
    );
    assert_eq!(watch.starts.next(due), Step::Ask);
    let why = "sshfs (7) of /srv/box ended".to_owned();
    assert_eq!(watch.starts.answer(due, Round::Over), Step::Start(why));
}

#[test]
fn a_changed_table_is_an_event_only_when_a_look_finds_a_watched_mount_changed() {
    let mut watch = Watch::default();
    let live = scene(vec![mount(40, 52)], &served(7));
    watch.saw(Some(live.clone()), Scan::Always, START, MOMENT);
    let table = Woken { table: true, ..Woken::default() };
    watch.woken(&table, START + MOMENT);
    assert_eq!((watch.starts.due(), watch.looks.is_outdated()), (None, true));
    watch.saw(Some(live), Scan::IfMountsChanged, START + LOOK_PAUSE, MOMENT);
    assert_eq!((watch.starts.due(), watch.looks.is_outdated()), (None, false));
    watch.woken(&table, START + GAP);
    watch.saw(Some(Scene::default()), Scan::IfMountsChanged, START + GAP, MOMENT);
    assert_eq!(watch.starts.due(), Some(START + GAP + DEBOUNCE));
}

#[test]
fn a_table_that_cannot_be_read_is_read_again_and_is_no_event() {
    let mut watch = Watch::default();
    watch.saw(None, Scan::Always, START, MOMENT);
    assert_eq!((watch.starts.due(), watch.due()), (None, START + MOMENT + LOOK_PAUSE));
    assert_eq!(watch.looks.scan(watch.due()), Scan::Always);
}
