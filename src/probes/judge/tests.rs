//! The verdict as a table, in the order of its rules.

use std::ffi::OsString;
use std::time::Duration;

use super::*;
use crate::probes::holders::Process;
use crate::probes::identity::{Identity, Opened};
use crate::probes::liveness::Stage;
use crate::probes::mountinfo::Dev;

const DEV: Dev = Dev { major: 0, minor: 52 };

fn layer(fstype: &str, holders: Holders) -> Layer {
    Layer {
        identity: Identity { mount_id: 30, unique_id: None, dev: DEV, connection: Some(9) },
        fstype: fstype.to_owned(),
        source: OsString::from("u@box:/data"),
        root: OsString::from("/"),
        options: OsString::from("rw"),
        holders,
        nested: Vec::new(),
    }
}

fn spec(source: Option<&str>, fstype: Option<&str>) -> MountSpec {
    let mut settings =
        crate::config::from_str("[[mount]]\npath = \"/srv/box\"\nunit = \"box.service\"").unwrap();
    let mut spec = settings.mount.remove(0);
    spec.source = source.map(str::to_owned);
    spec.fstype = fstype.map(str::to_owned);
    spec
}

fn answered(answer: Answer) -> Response {
    let opened =
        Opened { mount_id: 30, unique_id: Some(7), dev: DEV, mount_root: true, directory: None };
    Response::Answered(Look::Mount { opened, answer, beneath: None }, Duration::from_millis(1))
}

fn no(errno: i32) -> Response {
    answered(Answer::No { stage: Stage::Statx, errno })
}

fn daemon() -> Holders {
    Holders::Living(vec![Process { pid: 7, comm: "sshfs".to_owned(), start_ticks: 1 }])
}

#[track_caller]
fn check(top: Option<&Layer>, response: &Response, expected: Verdict) {
    let evidence =
        Evidence { top, expected: Expected::Anything, response: Some(response), blocked_by: None };
    assert_eq!(judge(&evidence).verdict, expected);
}

#[test]
fn what_a_mount_answers_is_what_it_is() {
    let gone = layer("fuse.sshfs", Holders::None);
    check(Some(&gone), &answered(Answer::Yes), Verdict::Live);
    check(Some(&gone), &Response::Waiting { since: Duration::ZERO }, Verdict::Hung);
    check(Some(&gone), &Response::Failed("?".to_owned()), Verdict::Unknown);
    check(Some(&gone), &no(107), Verdict::Dead);
    check(Some(&gone), &no(5), Verdict::Transient);
    check(Some(&gone), &no(13), Verdict::Inconclusive);
    check(
        Some(&gone),
        &answered(Answer::No { stage: Stage::BecomeOwner, errno: 1 }),
        Verdict::Inconclusive,
    );
}

#[test]
fn a_living_daemon_that_answers_107_is_not_dead() {
    check(Some(&layer("fuse.sshfs", daemon())), &no(107), Verdict::Transient);
    check(Some(&layer("fuse.sshfs", Holders::Unknown("?"))), &no(107), Verdict::Dead);
    check(Some(&layer("nfs4", Holders::Unknown("?"))), &no(107), Verdict::Transient);
}

#[test]
fn an_error_of_one_entry_says_nothing_of_a_mount_whose_root_answers_but_for_an_overlay() {
    let entry = |errno| answered(Answer::No { stage: Stage::Entry, errno });
    // ENOTCONN, ENODEV, EIO, ETIMEDOUT, ESTALE, EACCES
    for errno in [107, 19, 5, 110, 116, 13] {
        for holders in [Holders::None, daemon(), Holders::Unknown("?")] {
            check(Some(&layer("fuse.mergerfs", holders)), &entry(errno), Verdict::Inconclusive);
        }
    }
    for fstype in ["overlay", "nfs4"] {
        check(Some(&layer(fstype, Holders::Unknown("?"))), &entry(107), Verdict::Transient);
    }
    // of a dead one the root says it first
    for stage in [Stage::Statx, Stage::Statfs, Stage::Open, Stage::Read] {
        let gone = layer("fuse.mergerfs", Holders::None);
        check(Some(&gone), &answered(Answer::No { stage, errno: 107 }), Verdict::Dead);
        check(Some(&gone), &answered(Answer::No { stage, errno: 5 }), Verdict::Transient);
    }
    let (top, said) = (layer("fuse.mergerfs", daemon()), entry(5));
    let (top, response) = (Some(&top), Some(&said));
    let evidence = Evidence { top, expected: Expected::Anything, response, blocked_by: None };
    let judged = judge(&evidence);
    assert_eq!((judged.errno, judged.why.as_str()), (Some(5), "looking at an entry: EIO (5)"));
}

#[test]
fn a_mount_that_changed_under_the_look_is_unknown() {
    let top = layer("fuse.sshfs", Holders::None);
    let another =
        Opened { mount_id: 31, unique_id: None, dev: DEV, mount_root: true, directory: None };
    let look = |look: Look| Response::Answered(look, Duration::ZERO);
    let newcomer = Look::Mount { opened: another, answer: Answer::Yes, beneath: None };
    check(Some(&top), &look(newcomer.clone()), Verdict::Unknown);
    check(Some(&top), &look(Look::NoMount { directory: true, entries: None }), Verdict::Unknown);
    check(None, &look(newcomer), Verdict::Unknown);
}

#[test]
fn a_bare_directory_is_absent_however_readable() {
    let look = |look: Look| Response::Answered(look, Duration::ZERO);
    check(None, &look(Look::NoMount { directory: true, entries: None }), Verdict::Absent);
    check(None, &look(Look::Unreachable { errno: 2 }), Verdict::Absent);
    check(None, &Response::Failed("?".to_owned()), Verdict::Unknown);
}

#[test]
fn the_first_rule_that_applies_decides() {
    let top = layer("fuse.sshfs", Holders::None);
    let (other, right) = (spec(Some("u@other:/"), None), spec(Some("u@box:/data"), None));
    let judge = |spec: &MountSpec, response: &Response, blocked_by: Option<&Path>| {
        let evidence = Evidence {
            top: Some(&top),
            expected: Expected::Mount(spec),
            response: Some(response),
            blocked_by,
        };
        judge(&evidence).verdict
    };
    assert_eq!(judge(&other, &no(107), None), Verdict::WrongSource);
    assert_eq!(judge(&right, &no(107), None), Verdict::Dead);
    assert_eq!(judge(&spec(None, Some("fuse.rclone")), &no(107), None), Verdict::WrongSource);
    assert_eq!(judge(&spec(None, Some("fuse.sshfs")), &no(107), None), Verdict::Dead);
    assert_eq!(judge(&other, &no(107), Some(Path::new("/srv"))), Verdict::ChildOfDead);
    assert_eq!(judge(&other, &Response::Failed("?".to_owned()), None), Verdict::Unknown);
}

#[test]
fn only_what_came_or_went_under_the_look_is_looked_at_again() {
    let top = layer("fuse.sshfs", Holders::None);
    let look = |look: Look| Response::Answered(look, Duration::ZERO);
    let opened = |mount_id| Opened {
        mount_id,
        unique_id: None,
        dev: DEV,
        mount_root: true,
        directory: None,
    };
    let mount = |id| look(Look::Mount { opened: opened(id), answer: Answer::Yes, beneath: None });
    let bare = look(Look::NoMount { directory: true, entries: None });
    let waiting = Response::Waiting { since: Duration::ZERO };
    for (top, response, again) in [
        (Some(&top), &mount(30), false),
        (Some(&top), &mount(31), true),
        (Some(&top), &bare, true),
        (Some(&top), &waiting, false),
        (None, &bare, false),
        (None, &mount(31), true),
        (None, &waiting, false),
    ] {
        assert_eq!(changed_meanwhile(top, Some(response)), again, "{top:?} {response:?}");
    }
}
