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
