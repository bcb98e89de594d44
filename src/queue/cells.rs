//! What comes back from a database, in the three kinds of value that are asked for.

use super::Fault;

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number.
    Number(i64),
    /// Text, which need not be UTF-8.
    Bytes(Vec<u8>),
}

impl Cell {
    /// A count: a number that is there.
    pub fn count(&self) -> Result<u64, Fault> {
        match self {
            Self::Number(number) => Ok(u64::try_from(*number).unwrap_or_default()),
            Self::Null | Self::Bytes(_) => Err(Fault::new("the database gave no count")),
        }
    }

    /// A number that may be missing; below zero is before 1970 and counts as that.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(u64::try_from(*number).unwrap_or_default()),
            Self::Null | Self::Bytes(_) => None,
        }
    }

    /// Text that may be missing.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Number(number) => Some(number.to_string()),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The bytes of a text that may be missing.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Number(_) => None,
        }
    }
}

/// One row of an answer of our own queue, by the places of its values. Whoever asked knows what stands where: what is
/// missing, or of another kind, is none, and by the second name of each question zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Cell>);

impl Row {
    /// A text.
    pub fn text(&self, nth: usize) -> Option<String> {
        self.0.get(nth).and_then(Cell::text)
    }

    /// A text that is always there.
    pub fn text_of(&self, nth: usize) -> String {
        self.text(nth).unwrap_or_default()
    }

    /// A number that is never below zero: a time, a length, a count.
    pub fn natural(&self, nth: usize) -> Option<u64> {
        self.0.get(nth).and_then(Cell::number)
    }

    /// The same of one that is always there.
    pub fn natural_of(&self, nth: usize) -> u64 {
        self.natural(nth).unwrap_or_default()
    }

    /// Any number.
    pub fn whole(&self, nth: usize) -> Option<i64> {
        match self.0.get(nth) {
            Some(Cell::Number(number)) => Some(*number),
            Some(Cell::Bytes(_) | Cell::Null) | None => None,
        }
    }

    /// The same of one that is always there.
    pub fn number(&self, nth: usize) -> i64 {
        self.whole(nth).unwrap_or_default()
    }

    /// A small count that is always there.
    pub fn count(&self, nth: usize) -> u32 {
        u32::try_from(self.number(nth)).unwrap_or_default()
    }
}
