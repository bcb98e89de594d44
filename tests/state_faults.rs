//! Records that cannot be trusted. Whatever is wrong with one: nothing is done, the hold says so,
//! the exit code is 1, metrics are written, the file stays as it is, and one command mends it and
//! keeps the old file.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use unwedge::manifest::MOUNTS;
use unwedge::probes::identity::Identity;
use unwedge::probes::mountinfo::Dev;
use unwedge::probes::records::{
    self, Charge, Debt, Debts, Holds, MountsState, OperatorHold, Record, SCHEMA,
};
use unwedge::sys::clock::{Now, Stamp};

use crate::support::lab::{all_ok, holds, verdict};
use crate::support::{Fault, Lab};

/// A lab with one dead mount that a sound round would heal at once.
fn with_something_to_do(lab: &Lab) -> (PathBuf, Fault) {
    let path = lab.root("box");
    lab.configure("", &lab.listed(&path));
    let mut fault = lab.fault(&path, &[]);
    fault.kill();
    lab.arm();
    (path, fault)
}

/// A record with something in it that speaks of a moment.
trait Sample: Record {
    fn at(stamp: Stamp) -> Self;
}

impl Sample for MountsState {
    fn at(stamp: Stamp) -> Self {
        let dev = Dev { major: 0, minor: 1 };
        let identity = Identity { mount_id: 1, unique_id: None, dev, connection: None };
        let path = PathBuf::from("/mnt/roots/elsewhere");
        let charge = Charge { path, led_by: None, identity, along: vec![], at: stamp, open: false };
        Self { charges: vec![charge], ..Self::default() }
    }
}

impl Sample for Debts {
    fn at(stamp: Stamp) -> Self {
        let path = PathBuf::from("/mnt/roots/box");
        Self { debts: vec![Debt::Mount { path, since: stamp, why: "a test".to_owned() }] }
    }
}

impl Sample for Holds {
    fn at(stamp: Stamp) -> Self {
        // of a kind that nothing here asks for, so that a readable one holds nothing
        let hold = OperatorHold { set: stamp, for_s: 60, because: "a test".to_owned() };
        Self { holds: [("worker".to_owned(), hold)].into() }
    }
}

/// What must not change of a file that cannot be read.
fn fingerprint(path: &Path) -> (u64, u32, u32, u64, Option<Vec<u8>>) {
    let file = fs::symlink_metadata(path).unwrap();
    let bytes = file.is_file().then(|| fs::read(path).unwrap());
    (file.ino(), file.mode(), file.uid(), file.size(), bytes)
}

/// Puts a fault in place of a record, and checks the whole promise.
#[track_caller]
fn check<R: Sample>(lab: &Lab, fault: &str, put: impl FnOnce(&Path)) {
    let state = lab.dir.join("state");
    let path = records::path_of::<R>(&state);
    let what = format!("{}: {fault}", path.display());
    put(&path);
    let before = fingerprint(&path);
    let mounts = fs::read("/proc/self/mountinfo").unwrap();
    let prom = lab.dir.join("metrics").join(MOUNTS.metrics_file());
    let _ = fs::remove_file(&prom);

    for flags in [&["--json"][..], &["--json", "--apply"]] {
        let ran = lab.round(flags);
        let round: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        assert_eq!(holds(&round), ["* state-unreadable"], "{what}");
        let outcomes = round["outcomes"].as_array();
        assert!(outcomes.is_none_or(Vec::is_empty), "{what}: {round:#}");
    }
    assert_eq!(fingerprint(&path), before, "{what}: it was changed");
    assert_eq!(fs::read("/proc/self/mountinfo").unwrap(), mounts, "{what}: something was done");
    let text = fs::read_to_string(&prom).unwrap_or_else(|error| panic!("{what}: {error}"));
    let held = "unwedge_tool_holds{reason=\"state-unreadable\",tool=\"mounts\"} 1\n";
    assert!(text.contains(held) && text.ends_with('\n'), "{what}: {text}");
    assert!(text.contains("unwedge_tool_run_ok{tool=\"mounts\"} 0\n"), "{what}: {text}");
    let others: Vec<PathBuf> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|other| *other != path)
        .collect();
    assert!(others.is_empty(), "{what}: written beside it: {others:?}");

    let reset = lab.unwedge(&["state", "reset", R::NAME]);
    assert_eq!(reset.code, Some(0), "{what}: {reset:?}");
    assert!(fs::symlink_metadata(&path).is_err(), "{what}: still there");
    let kept: Vec<PathBuf> =
        fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [kept] = kept.as_slice() else { panic!("{what}: kept: {kept:?}") };
    assert!(kept.to_str().unwrap().contains(".json.kept-"), "{what}: {}", kept.display());
    assert_eq!(fingerprint(kept), before, "{what}: not kept as it was");
    let mended = lab.json(&[]);
    assert!(holds(&mended).is_empty(), "{what}: {mended:#}");
    if kept.is_dir() && !kept.is_symlink() {
        fs::remove_dir(kept).unwrap();
    } else {
        fs::remove_file(kept).unwrap();
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Every fault there is, in place of one kind of record.
fn check_all<R: Sample>(lab: &Lab) {
    let now = Now::take().unwrap();
    let whole = records::render(&R::at(now.stamp())).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();

    check::<R>(lab, "empty", |path| write(path, b""));
    check::<R>(lab, "no record at all", |path| write(path, b"\x7fELF\x02\x01\x01\0"));
    check::<R>(lab, "one letter changed", |path| {
        write(path, text.replace("a test", "a rest").replace("elsewhere", "elsewhare").as_bytes());
    });
    check::<R>(lab, "something behind it", |path| write(path, &[&whole[..], b"\n"].concat()));
    // every length is tried below, in this process; here some go all the way
    let header = text.find('\n').unwrap() + 1;
    for length in [1, header / 2, header - 1, header, header + 1, whole.len() - 1] {
        check::<R>(lab, &format!("cut to {length} bytes"), |path| write(path, &whole[..length]));
    }
    check::<R>(lab, "another record's name", |path| {
        let name = format!("\"record\":\"{}\"", R::NAME);
        write(path, text.replacen(&name, "\"record\":\"other\"", 1).as_bytes());
    });
    check::<R>(lab, "a later schema", |path| {
        let (now, later) = (format!("\"schema\":{SCHEMA}"), format!("\"schema\":{}", SCHEMA + 1));
        write(path, text.replacen(&now, &later, 1).as_bytes());
    });
    check::<R>(lab, "a moment this boot has not reached", |path| {
        let future = Stamp { boot_ms: now.boot_ms + 3_600_000, ..now.stamp() };
        write(path, &records::render(&R::at(future)).unwrap());
    });
    check::<R>(lab, "somebody else's", |path| {
        write(path, &whole);
        std::os::unix::fs::chown(path, Some(12_345), None).unwrap();
    });
    check::<R>(lab, "its group may write it", |path| {
        write(path, &whole);
        fs::set_permissions(path, fs::Permissions::from_mode(0o664)).unwrap();
    });
    check::<R>(lab, "a link to a good one", |path| {
        let good = lab.dir.join("good.json");
        write(&good, &whole);
        symlink(&good, path).unwrap();
    });
    check::<R>(lab, "a FIFO that nobody writes to", |path| {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        mknodat(CWD, path.as_c_str(), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    });
    check::<R>(lab, "a directory", |path| fs::create_dir(path).unwrap());
}

lab_test! {
    fn whatever_is_wrong_with_the_state_nothing_is_done(lab) {
        let (path, _fault) = with_something_to_do(&lab);
        check_all::<MountsState>(&lab);
        assert!(all_ok(&lab.apply()));
        assert_eq!(verdict(&lab.json(&[]), &path), "live");
    }
}

lab_test! {
    fn whatever_is_wrong_with_the_debts_nothing_is_done(lab) {
        let (path, _fault) = with_something_to_do(&lab);
        check_all::<Debts>(&lab);
        assert!(all_ok(&lab.apply()));
        assert_eq!(verdict(&lab.json(&[]), &path), "live");
    }
}

lab_test! {
    fn whatever_is_wrong_with_the_holds_nothing_is_done(lab) {
        let (path, _fault) = with_something_to_do(&lab);
        check_all::<Holds>(&lab);
        assert!(all_ok(&lab.apply()));
        assert_eq!(verdict(&lab.json(&[]), &path), "live");
    }
}

#[track_caller]
fn check_cut<R: Sample>() {
    let whole = records::render(&R::at(Now::take().unwrap().stamp())).unwrap();
    assert!(records::parse::<R>(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(records::parse::<R>(&whole[..length]).is_err(), "{}: {length} bytes", R::NAME);
    }
}

#[test]
fn a_record_cut_at_any_length_is_unreadable() {
    check_cut::<MountsState>();
    check_cut::<Debts>();
    check_cut::<Holds>();
}

/// A time of another boot, so far ahead of the wall clock.
fn ahead(by: Duration) -> Stamp {
    let now = Now::take().unwrap();
    let utc_ms = now.utc_ms + u64::try_from(by.as_millis()).unwrap();
    Stamp { utc_ms, boot_ms: 1, boot_id: "another-boot".to_owned() }
}

#[track_caller]
#[allow(clippy::disallowed_methods)]
fn check_clock_fault<R: Sample>(lab: &Lab) {
    let (path, _fault) = with_something_to_do(lab);
    let record = records::path_of::<R>(&lab.dir.join("state"));
    let (ahead_by, start) = (Duration::from_secs(3), Instant::now());
    write(&record, &records::render(&R::at(ahead(ahead_by))).unwrap());
    let ran = lab.round(&["--json", "--apply"]);
    let round: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, holds(&round)), (Some(0), vec!["* clock-fault".to_owned()]), "{ran:?}");
    assert_eq!(round["outcomes"].as_array().map(Vec::len), Some(0));
    assert!(!round["steps"].as_array().unwrap().is_empty(), "the plan is shown all the same");
    std::thread::sleep(ahead_by.saturating_sub(start.elapsed()) + Duration::from_millis(50));
    let round = lab.apply();
    assert!(holds(&round).is_empty() && all_ok(&round), "{round:#}");
    assert_eq!(verdict(&lab.json(&[]), &path), "live");
}

lab_test! {
    fn a_charge_of_another_boot_in_the_future_is_a_clock_fault_that_ends_by_itself(lab) {
        check_clock_fault::<MountsState>(&lab);
    }
}

lab_test! {
    fn a_debt_of_another_boot_in_the_future_is_a_clock_fault_that_ends_by_itself(lab) {
        check_clock_fault::<Debts>(&lab);
    }
}

lab_test! {
    fn a_persons_hold_under_a_wrong_clock_still_holds(lab) {
        let (path, _fault) = with_something_to_do(&lab);
        let set = ahead(Duration::from_secs(3600));
        let hold = OperatorHold { set, for_s: 60, because: "a test".to_owned() };
        let record = Holds { holds: [("mounts".to_owned(), hold)].into() };
        let file = records::path_of::<Holds>(&lab.dir.join("state"));
        write(&file, &records::render(&record).unwrap());
        let round = lab.apply();
        assert_eq!(holds(&round), ["* on-hold"]);
        assert_eq!(verdict(&round, &path), "dead");
    }
}
