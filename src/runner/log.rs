//! What the commands of a try say: its beginning and its end are kept, however much it is.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::act::store::{self, Durability};
use crate::decide::attempts::Token;

/// So much of the beginning and so much of the end, bytes.
const KEPT: usize = 512 << 10;
/// How much of the end is for the reason.
const TAIL: usize = 2048;

/// Where that of a try is, of the queue with this mark (`Store::mark`).
#[must_use]
pub fn path_of(log_dir: &Path, mark: &str, token: Token) -> PathBuf {
    log_dir.join(format!("{mark}-{}-{}.log", token.id, token.nth))
}

/// What was said so far.
#[derive(Debug, Default)]
pub struct Said {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    /// How much of it is of commands before.
    before: u64,
    /// Whether there is more than headings.
    has_words: bool,
}

impl Said {
    /// Adds what comes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.has_words |= !bytes.is_empty();
        self.push(bytes);
    }

    fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// A heading, from which on the next command is heard.
    pub fn begin(&mut self, tier: &str) {
        let line = format!("== {tier}\n");
        self.push(line.as_bytes());
        self.before = self.length();
    }

    fn length(&self) -> u64 {
        self.left_out + (self.head.len() + self.tail.len()) as u64
    }

    /// The end of what the last command said.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        self.last(2 * TAIL)
    }

    /// All that is kept of what the last command said.
    #[must_use]
    pub fn all(&self) -> Vec<u8> {
        self.last(usize::MAX)
    }

    fn last(&self, most: usize) -> Vec<u8> {
        let own = usize::try_from(self.length() - self.before).unwrap_or(usize::MAX);
        let kept = self.head.len() + self.tail.len();
        let from = kept.saturating_sub(own.min(most));
        self.head.iter().chain(&self.tail).skip(from).copied().collect()
    }

    /// Keeps it; nothing where nothing was said.
    ///
    /// # Errors
    /// It is not kept.
    pub fn keep(&self, path: &Path) -> anyhow::Result<()> {
        if !self.has_words {
            return Ok(());
        }
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut all = self.head.clone();
        if self.left_out > 0 {
            let mut line = String::new();
            let _ = writeln!(line, "\n== {} bytes are left out here", self.left_out);
            all.extend_from_slice(line.as_bytes());
        }
        all.extend(&self.tail);
        store::replace(path, &all, Durability::Fleeting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_however_much_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), "a1b2c3", Token { id: 7, nth: 2 });
        for (length, expected) in [(0, None), (2 * KEPT, Some(0)), (2 * KEPT + 5, Some(5))] {
            let mut said = Said::default();
            for nth in 0..length {
                said.add(&[b'a' + u8::try_from(nth % 26).unwrap()]);
            }
            said.keep(&path).unwrap();
            assert_eq!(path.exists(), expected.is_some());
            let Some(left_out) = expected else { continue };
            let kept = std::fs::read(&path).unwrap();
            let has = String::from_utf8_lossy(&kept).contains("bytes are left out here");
            assert_eq!(has, left_out > 0);
            assert_eq!(said.left_out, left_out);
            assert!(kept.starts_with(b"abc"));
            let last = b'a' + u8::try_from((length - 1) % 26).unwrap();
            assert_eq!(kept.last(), Some(&last));
        }
    }

    #[test]
    fn a_reason_is_of_the_last_command_alone() {
        let mut said = Said::default();
        said.begin("one");
        said.add(b"first");
        said.begin("two");
        assert_eq!(said.end(), b"");
        said.add(b"second");
        assert_eq!(said.end(), b"second");
        said.add(&vec![b'x'; 3 * KEPT]);
        said.add(b"last");
        assert!(said.end().len() == 2 * TAIL && said.end().ends_with(b"xlast"));
    }
}
