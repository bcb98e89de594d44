//! What the other side has of what was fetched or delivered, as the command says it that did so: a line
//! `unwedge-sum: BYTES SHA256`, the last one counts. It is compared with what is on this host: a transfer that was cut
//! short ends with 0 all too often.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::config::job_type::SumRule;
use crate::decide::attempts::Class;
use crate::sys::text;

/// How such a line begins.
const WORD: &str = "unwedge-sum:";

/// How much there is, and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    sha256: String,
}

impl Sum {
    /// That of a line, without its word.
    fn read(line: &str) -> Option<Self> {
        let (bytes, sha256) = line.trim().split_once(char::is_whitespace)?;
        let sha256 = sha256.trim().to_ascii_lowercase();
        let is_sum = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sum.then_some(Self { bytes: bytes.parse().ok()?, sha256 })
    }

    /// That of a file.
    fn of(path: &Path) -> std::io::Result<Self> {
        let (mut file, mut hash) =
            (BufReader::with_capacity(64 << 10, File::open(path)?), Sha256::new());
        let mut bytes = 0;
        loop {
            let part = file.fill_buf()?;
            if part.is_empty() {
                break;
            }
            hash.update(part);
            let length = part.len();
            bytes += length as u64;
            file.consume(length);
        }
        Ok(Self { bytes, sha256: text::hex(&hash.finalize()) })
    }
}

/// What tells the contents of a file from others.
///
/// # Errors
/// It cannot be read.
pub fn text_of(path: &Path) -> std::io::Result<String> {
    Sum::of(path).map(|it| format!("{} {}", it.bytes, it.sha256))
}

/// Compares a file with what a command said last; why it is not so, and whose fault that is.
///
/// # Errors
/// It differs, or is to be said and is not.
pub fn check(said: &[u8], file: &Path, rule: SumRule) -> Result<(), (Class, String)> {
    let said = String::from_utf8_lossy(said);
    // what shows its progress ends its lines otherwise
    let mut lines = said.split(['\n', '\r']).filter_map(|line| line.strip_prefix(WORD));
    let Some(line) = lines.next_back() else {
        return match rule {
            SumRule::IfSaid => Ok(()),
            SumRule::Required => {
                let why = format!("it did not say `{WORD} BYTES SHA256`, which its type wants");
                Err((Class::Configuration, why))
            }
        };
    };
    let theirs = Sum::read(line).ok_or_else(|| {
        let why = format!("`{WORD}{}` is not BYTES and SHA256", text::tail(line.as_bytes(), 100));
        (Class::Configuration, why)
    })?;
    if file.is_dir() {
        let why = format!("{} is a directory, and has no sum", text::path(file));
        return Err((Class::Configuration, why));
    }
    let ours = Sum::of(file)
        .map_err(|error| (Class::Infrastructure, format!("read {}: {error}", text::path(file))))?;
    if ours == theirs {
        return Ok(());
    }
    let shown = |it: &Sum| format!("{} bytes, sha256 {}", it.bytes, it.sha256);
    let why = format!("there are {} there and {} here", shown(&theirs), shown(&ours));
    Err((Class::Infrastructure, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_last_must_be_so_and_must_be_said_where_that_is_wanted() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "abc").unwrap();
        let class =
            |said: &str, rule| check(said.as_bytes(), &file, rule).map_err(|(class, _)| class);
        let (infra, config) = (Err(Class::Infrastructure), Err(Class::Configuration));
        let said = |bytes: u64, sum: &str| format!("hello\nunwedge-sum: {bytes} {sum}\nbye\n");
        assert_eq!(class("", SumRule::IfSaid), Ok(()));
        assert_eq!(class("", SumRule::Required), config);
        for rule in [SumRule::IfSaid, SumRule::Required] {
            assert_eq!(class(&said(3, ABC), rule), Ok(()));
            assert_eq!(class(&said(3, &ABC.to_uppercase()), rule), Ok(()));
            assert_eq!(class(&(said(4, ABC) + &said(3, ABC)), rule), Ok(()), "the last counts");
            assert_eq!(class(&said(4, ABC), rule), infra);
            assert_eq!(class(&said(3, &ABC.replace("ba78", "ba79")), rule), infra);
            assert_eq!(class(&format!("9 %\r{}", &said(4, ABC)["hello\n".len()..]), rule), infra);
            for odd in ["unwedge-sum: 3\n", "unwedge-sum: x y\n", "unwedge-sum: 3 abc\n"] {
                assert_eq!(class(odd, rule), config, "{odd}");
            }
        }
        let of_dir = check(said(3, ABC).as_bytes(), dir.path(), SumRule::IfSaid);
        assert_eq!(of_dir.map_err(|(class, _)| class), config);
        let gone = check(said(3, ABC).as_bytes(), &dir.path().join("b"), SumRule::IfSaid);
        assert_eq!(gone.map_err(|(class, _)| class), infra);
    }
}
