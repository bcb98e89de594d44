//! Names as text. A path is bytes; where it must be shown (plan, JSON, metrics, journal) every
//! byte that is no printable text is written `\xNN`, the same everywhere, and the backslash
//! itself doubled, so that two different paths never look alike.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// A path as text.
#[must_use]
pub fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// A name as text.
#[must_use]
pub fn name(name: &OsStr) -> String {
    bytes(name.as_bytes())
}

/// A word as a shell takes it for one.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_@%+=:,./-".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Bytes as text: valid UTF-8 stays, control characters and other bytes become `\xNN`.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        escape(&mut out, byte);
                    }
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            escape(&mut out, *byte);
        }
    }
    out
}

/// The first of many texts in one line, and how many more there are; none of none.
#[must_use]
pub fn first_of(mut all: impl Iterator<Item = String>, most: usize) -> Option<String> {
    let first: Vec<String> = all.by_ref().take(most).collect();
    let more = all.count();
    let more = (more > 0).then(|| format!("and {more} more"));
    let joined = first.into_iter().chain(more).collect::<Vec<_>>().join("; ");
    (!joined.is_empty()).then_some(joined)
}

/// Names in one line, or that there are none.
#[must_use]
pub fn list_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The path that [`path`] has written so; none where it has not.
#[must_use]
pub fn path_of(written: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(PathBuf::from(OsString::from_vec(unwritten(written)?)))
}

/// The bytes that [`bytes`] wrote so. None where it could not have.
#[must_use]
pub fn unwritten(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = if let Some(after) = after.strip_prefix('\\') {
            out.push(b'\\');
            after
        } else {
            let digits = after.strip_prefix('x')?.get(..2)?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            &after[3..]
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// Bytes in hexadecimal, two digits each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn escape(out: &mut String, byte: u8) {
    // writing to a String cannot fail
    let _ = write!(out, "\\x{byte:02x}");
}

/// The last `limit` bytes of what a program said, as one printable line.
#[must_use]
pub fn tail(said: &[u8], limit: usize) -> String {
    let start = said.len().saturating_sub(limit);
    let text = String::from_utf8_lossy(&said[start..]);
    let line: Vec<&str> = text.split(char::is_control).filter(|part| !part.is_empty()).collect();
    line.join(" ").trim().to_owned()
}

/// A duration for people: at most two units, days at the largest.
#[must_use]
pub fn duration(time: std::time::Duration) -> String {
    let ms = time.as_millis();
    let s = time.as_secs();
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", s, (ms % 1000) / 100),
        10..60 => format!("{s} s"),
        60..3_600 => pair(s / 60, "min", s % 60, "s"),
        3_600..86_400 => pair(s / 3_600, "h", s % 3_600 / 60, "min"),
        _ => pair(s / 86_400, "d", s % 86_400 / 3_600, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_texts_the_first_are_told_and_how_many_more_there_are() {
        let of = |count: usize, most| first_of((0..count).map(|it| it.to_string()), most);
        assert_eq!(of(0, 2), None);
        assert_eq!(of(2, 2).unwrap(), "0; 1");
        assert_eq!(of(500_000, 2).unwrap(), "0; 1; and 499998 more");
    }

    #[test]
    fn every_byte_string_has_its_own_text() {
        assert_eq!(bytes(b"/srv/a b"), "/srv/a b");
        assert_eq!(bytes(b"/srv/\xff\n"), "/srv/\\xff\\x0a");
        assert_eq!(bytes(br"/srv/\xff"), r"/srv/\\xff");
        assert_eq!(bytes("/srv/\u{e9}\u{85}".as_bytes()), "/srv/\u{e9}\\xc2\\x85");
    }

    #[test]
    fn what_was_written_as_text_is_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        for original in [&all[..], b"", b"\\", b"\\x41", b"/srv/\xff\xfe", "\u{e9}".as_bytes()] {
            assert_eq!(unwritten(&bytes(original)).as_deref(), Some(original));
        }
        for nobody_wrote in ["\\", "\\x4", "\\xzz", "\\n", "\\x\u{e9}"] {
            assert_eq!(unwritten(nobody_wrote), None, "{nobody_wrote}");
        }
    }

    #[test]
    fn a_tail_is_one_line_of_the_last_bytes() {
        assert_eq!(tail(b"first\nsecond\n", 100), "first second");
        assert_eq!(tail(b"first\nsecond\n", 7), "second");
        assert_eq!(tail(b"", 7), "");
    }

    #[test]
    fn durations_show_two_units_at_most() {
        for (ms, text) in [
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(std::time::Duration::from_millis(ms)), text);
        }
    }
}
