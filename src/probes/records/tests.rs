use proptest::prelude::*;

use super::*;

fn now(boot: &str, utc_ms: u64, boot_ms: u64) -> Now {
    Now { utc_ms, boot_ms, boot_id: boot.to_owned() }
}

fn state(path: &[u8], at: &Now) -> MountsState {
    use std::os::unix::ffi::OsStringExt as _;
    let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
    MountsState {
        attempts: vec![Attempts { path, failed: 1, last: at.stamp() }],
        ..MountsState::default()
    }
}

#[track_caller]
fn check(bytes: &[u8], expected: &str) {
    let error = parse::<MountsState>(bytes).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn whatever_is_wrong_with_a_record_is_said_and_nothing_of_it_is_used() {
    let whole = render(&state(b"/srv/box", &now("a", 1, 1))).unwrap();
    check(b"", "it is empty");
    check(&whole[..20], "cut off in its first line");
    check(b"[]\n", "its first line");
    check(&whole[..whole.len() - 1], "checksum is wrong");
    let mut flipped = whole.clone();
    let last = flipped.len() - 3;
    flipped[last] ^= 1;
    check(&flipped, "checksum is wrong");
    let text = String::from_utf8(whole).unwrap();
    check(
        text.replace("\"schema\":1", "\"schema\":2").as_bytes(),
        "schema 2 is of a later version",
    );
    check(&render(&Debts::default()).unwrap(), "a record of \"debts\", not of \"mounts\"");
}

#[test]
fn a_record_that_is_not_there_is_empty_and_one_of_somebody_elses_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let now = now("a", 10, 10);
    assert_eq!(read::<MountsState>(dir.path(), &now), Ok(MountsState::default()));
    let path = path_of::<MountsState>(dir.path());
    std::fs::write(&path, render(&MountsState::default()).unwrap()).unwrap();
    for (mode, readable) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read::<MountsState>(dir.path(), &now).is_ok(), readable, "{mode:o}");
    }
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(read::<MountsState>(dir.path(), &now).is_err());
}

#[test]
fn a_time_this_boot_has_not_reached_is_unreadable_and_one_of_another_boot_is_a_clock_fault() {
    let dir = tempfile::tempdir().unwrap();
    let written = state(b"/srv/box", &now("a", 1_000, 20_000));
    let path = path_of::<MountsState>(dir.path());
    std::fs::write(path, render(&written).unwrap()).unwrap();
    let at = |now: &Now| read::<MountsState>(dir.path(), now);
    assert!(at(&now("a", 5_000, 20_000 - SINCE_MS - 1)).is_err());
    assert!(at(&now("a", 0, 20_000 - SINCE_MS)).is_ok());
    assert!(clock_fault(&at(&now("b", 999, 1)).unwrap(), &now("b", 999, 1)));
    assert!(!clock_fault(&at(&now("b", 1_000, 1)).unwrap(), &now("b", 1_000, 1)));
}

#[test]
fn a_hold_ends_by_itself_and_a_wrong_clock_does_not_end_it() {
    let set = now("a", 1_000_000, 1_000_000);
    let hold = OperatorHold { set: set.stamp(), for_s: 60, because: "deploy".to_owned() };
    let left = |now: &Now| hold.left(now).map(|left| left.as_secs());
    assert_eq!(left(&now("a", 0, 1_000_000)), Some(60));
    assert_eq!(left(&now("a", 0, 1_059_000)), Some(1));
    assert_eq!(left(&now("a", 0, 1_060_000)), None);
    assert_eq!(left(&now("b", 999_999, 1)), Some(60));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::worlds(20_000) / 4))]

    #[test]
    fn any_path_survives(path in proptest::collection::vec(1_u8.., 1..40)) {
        let written = state(&path, &now("a", 1, 1));
        let read: MountsState = parse(&render(&written).unwrap()).unwrap();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn no_bytes_are_taken_for_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse::<MountsState>(&bytes).is_err());
    }

    #[test]
    fn a_torn_record_is_never_read(cut in 0_usize..300) {
        let whole = render(&state(b"/srv/box", &now("a", 1, 1))).unwrap();
        let cut = cut.min(whole.len() - 1);
        prop_assert!(parse::<MountsState>(&whole[..cut]).is_err());
    }
}
