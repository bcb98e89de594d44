//! Tests of the sentinels over real directories.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn put(dir: &TempDir, name: &str, text: &[u8], mode: u32) {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    chmod(&path, mode);
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

#[track_caller]
fn check_invalid(dir: &TempDir, word: &str) {
    match permission(dir.path(), Kind::Mounts) {
        Permission::Invalid(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}, expected invalid: {word}"),
    }
}

#[track_caller]
fn check_halt(dir: &TempDir, expected: &str) {
    assert_eq!(halt(dir.path()), Halt::Set(expected.to_owned()));
}

#[test]
fn a_proper_file_arms_its_kind_and_no_other() {
    let dir = dir();
    put(&dir, "mounts", b"", 0o644);
    assert_eq!(permission(dir.path(), Kind::Mounts), Permission::Armed);
    assert_eq!(permission(dir.path(), Kind::Binds), Permission::NotArmed);
}

#[test]
fn only_what_is_not_there_is_not_armed() {
    let dir = dir();
    assert_eq!(permission(dir.path(), Kind::Mounts), Permission::NotArmed);
    assert_eq!(permission(&dir.path().join("none"), Kind::Mounts), Permission::NotArmed);
    put(&dir, "file", b"", 0o644);
    assert!(matches!(permission(&dir.path().join("file"), Kind::Mounts), Permission::Unknown(_)));
}

#[test]
fn a_file_that_others_can_write_arms_nothing() {
    let dir = dir();
    for mode in [0o664, 0o646, 0o622] {
        put(&dir, "mounts", b"", mode);
        check_invalid(&dir, "writable by others");
    }
    put(&dir, "mounts", b"", 0o600);
    assert_eq!(permission(dir.path(), Kind::Mounts), Permission::Armed);
}

#[test]
fn a_directory_that_others_can_write_arms_nothing() {
    let dir = dir();
    put(&dir, "mounts", b"", 0o644);
    chmod(dir.path(), 0o775);
    check_invalid(&dir, "writable by others");
}

#[test]
fn links_and_odd_entries_arm_nothing() {
    let dir = dir();
    let path = dir.path().join("mounts");
    put(&dir, "real", b"", 0o644);
    symlink("real", &path).expect("a link");
    check_invalid(&dir, "symbolic link");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    check_invalid(&dir, "not a regular file");
    std::fs::remove_dir(&path).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    check_invalid(&dir, "not a regular file");
    std::fs::remove_file(&path).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    check_invalid(&dir, "not a regular file");
}

#[test]
fn a_file_of_somebody_else_arms_nothing() {
    let dir = dir();
    put(&dir, "mounts", b"", 0o644);
    let stranger = rustix::process::geteuid().as_raw() + 1;
    match std::os::unix::fs::chown(dir.path().join("mounts"), Some(stranger), None) {
        Ok(()) => check_invalid(&dir, "owned by uid"),
        Err(_) => eprintln!("not root: the owner of a file cannot be changed here"),
    }
}

#[test]
fn without_halt_all_is_clear() {
    let dir = dir();
    assert_eq!(halt(dir.path()), Halt::Clear);
    assert_eq!(halt(&dir.path().join("none")), Halt::Clear);
}

#[test]
fn anything_called_halt_halts() {
    let dir = dir();
    let path = dir.path().join(HALT);
    put(&dir, HALT, b"", 0o666);
    check_halt(&dir, "no text");
    std::fs::remove_file(&path).expect("removed");
    symlink("nowhere", &path).expect("a link");
    assert!(matches!(halt(dir.path()), Halt::Set(_)));
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    assert!(matches!(halt(dir.path()), Halt::Set(_)));
}

#[test]
fn what_cannot_be_looked_at_is_not_clear() {
    let dir = dir();
    put(&dir, "file", b"", 0o644);
    assert!(matches!(halt(&dir.path().join("file")), Halt::Unknown(_)));
    assert!(matches!(halt(Path::new("/a\0b")), Halt::Unknown(_)));
}

#[test]
fn the_first_line_of_halt_is_passed_on_printable_and_cut() {
    let dir = dir();
    put(&dir, HALT, b"  storage moves, ask Kim \nmore\n", 0o644);
    check_halt(&dir, "storage moves, ask Kim");
    put(&dir, HALT, b"a\x1b[2Jb\xffc\n", 0o644);
    check_halt(&dir, "a?[2Jb\u{fffd}c");
    put(&dir, HALT, "x\u{202e}y".as_bytes(), 0o644);
    check_halt(&dir, "x?y");
    for (len, expected) in [(HALT_TEXT_MAX, HALT_TEXT_MAX), (HALT_TEXT_MAX + 1, HALT_TEXT_MAX)] {
        put(&dir, HALT, "ü".repeat(len).as_bytes(), 0o644);
        check_halt(&dir, &"ü".repeat(expected));
    }
}
