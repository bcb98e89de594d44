//! The FUSE wire format: requests taken apart, answers put together, all by hand.
//!
//! Layouts and numbers are those of the kernel's `include/uapi/linux/fuse.h`, protocol 7.31
//! (Linux 5.4). Its chapter on version negotiation says that both sides then use the smaller of
//! the two minor versions, so a newer kernel keeps to this one. Every field is in the machine's own
//! byte order, every structure padded to 64 bits. Nothing in here knows what a request means.

use std::time::Duration;

use rustix::io::Errno;

/// The major version; there is only this one.
pub const MAJOR: u32 = 7;
/// The minor version asked for: the last one before extended INIT and extended SETXATTR.
pub const MINOR: u32 = 31;
/// Largest WRITE payload accepted: the kernel's minimum, so `FUSE_BIG_WRITES` is not needed.
pub const WRITE_BYTES_MAX: u32 = 4096;
/// Room for one request. The kernel wants at least 8 KiB (`FUSE_MIN_READ_BUFFER`); 64 KiB also
/// holds a long batch of forgets.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// After an abort, reading the device fails with ECONNABORTED instead of ENODEV (`FUSE_ABORT_ERROR`).
pub const ABORT_ERROR: u32 = 1 << 21;
/// The node every walk starts at (`FUSE_ROOT_ID`).
pub const ROOT: u64 = 1;

/// The requests that are told apart (`enum fuse_opcode`).
#[allow(missing_docs, reason = "the header's own names")]
pub mod op {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const ACCESS: u32 = 34;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
}

/// One request: the 40 bytes of `fuse_in_header`, then fields that depend on the opcode.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is asked, see [`op`].
    pub opcode: u32,
    /// The number that the answer must carry.
    pub unique: u64,
    /// The node it is about.
    pub node: u64,
    /// Who asks.
    pub uid: u32,
    /// The asker's group.
    pub gid: u32,
    /// What follows the header.
    pub fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// Takes the header apart; EINVAL when the bytes are not as many as it says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Errno> {
        let mut fields = Fields(bytes);
        let [len, opcode] = fields.u32s()?;
        let [unique, node] = fields.u64s()?;
        let [uid, gid, _pid, _extensions] = fields.u32s()?;
        if len as usize != bytes.len() {
            return Err(Errno::INVAL);
        }
        Ok(Self { opcode, unique, node, uid, gid, fields })
    }
}

/// Reads fields one after the other; EINVAL when they run out.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*head)
    }

    /// The next 32-bit numbers.
    pub fn u32s<const N: usize>(&mut self) -> Result<[u32; N], Errno> {
        let mut values = [0; N];
        for value in &mut values {
            *value = u32::from_ne_bytes(self.array()?);
        }
        Ok(values)
    }

    /// The next 64-bit numbers.
    pub fn u64s<const N: usize>(&mut self) -> Result<[u64; N], Errno> {
        let mut values = [0; N];
        for value in &mut values {
            *value = u64::from_ne_bytes(self.array()?);
        }
        Ok(values)
    }

    /// The next name, which ends with a zero byte.
    pub fn name(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let (name, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Ok(name)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(head)
    }
}

/// Puts an answer together field by field.
#[must_use]
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer(pub(super) Vec<u8>);

impl Answer {
    /// Adds 32-bit numbers.
    pub fn u32s(mut self, values: &[u32]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        self
    }

    /// Adds 64-bit numbers.
    pub fn u64s(mut self, values: &[u64]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        self
    }

    /// Adds bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Adds what another answer holds.
    pub fn and(self, other: &Self) -> Self {
        self.bytes(&other.0)
    }

    /// Adds a `fuse_dirent`, unless the whole would be longer than `limit`.
    pub fn dirent(&mut self, limit: usize, ino: u64, place: u64, mode: u32, name: &[u8]) -> bool {
        let entry = Self::default().u64s(&[ino, place]).u32s(&[length(name), mode >> 12]);
        let mut entry = entry.bytes(name).0;
        entry.resize(entry.len().next_multiple_of(8), 0);
        let fits = self.0.len() + entry.len() <= limit;
        if fits {
            self.0.extend(entry);
        }
        fits
    }
}

/// The length of what goes into one message, which is never longer than a request's buffer.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A whole message for the kernel: `fuse_out_header`, then the body if there is no error.
pub fn reply(unique: u64, outcome: &Result<Answer, Errno>) -> Vec<u8> {
    let (error, body) = match outcome {
        Ok(answer) => (0, answer.0.as_slice()),
        Err(errno) => (-errno.raw_os_error(), [].as_slice()),
    };
    let len = 16 + length(body);
    Answer::default().u32s(&[len, error.cast_unsigned()]).u64s(&[unique]).bytes(body).0
}

/// What the kernel wants to know about a node (`fuse_attr`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Times of access, content and status change, since the epoch.
    pub times: [Duration; 3],
    /// Type and permissions.
    pub mode: u32,
    /// Names.
    pub nlink: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

impl Attr {
    fn encode(&self) -> Answer {
        let [atime, mtime, ctime] = self.times;
        let blocks = self.size.div_ceil(512);
        Answer::default()
            .u64s(&[self.ino, self.size, blocks, atime.as_secs(), mtime.as_secs(), ctime.as_secs()])
            .u32s(&[atime.subsec_nanos(), mtime.subsec_nanos(), ctime.subsec_nanos()])
            .u32s(&[self.mode, self.nlink, self.owner.0, self.owner.1, 0, 4096, 0])
    }

    /// `fuse_attr_out`: the attributes, and how long the kernel may keep them.
    pub fn answer(&self, valid: Duration) -> Answer {
        Answer::default()
            .u64s(&[valid.as_secs()])
            .u32s(&[valid.subsec_nanos(), 0])
            .and(&self.encode())
    }

    /// `fuse_entry_out`: the same for a name; node numbers are never used twice, so generation is 0.
    pub fn entry(&self, valid: Duration) -> Answer {
        let (seconds, nanos) = (valid.as_secs(), valid.subsec_nanos());
        Answer::default()
            .u64s(&[self.ino, 0, seconds, seconds])
            .u32s(&[nanos, nanos])
            .and(&self.encode())
    }
}

/// `fuse_init_out`, 64 bytes: version 7.31, the kernel's own read-ahead, the given flags, its
/// defaults for background requests and pages, times kept to the nanosecond.
///
/// EPROTO when the kernel speaks anything older.
pub fn init(mut asked: Fields, flags: u32) -> Result<Answer, Errno> {
    let [major, minor, readahead, offered] = asked.u32s()?;
    if major != MAJOR || minor < MINOR {
        return Err(Errno::PROTO);
    }
    let background_limits = 0;
    let time_granularity_ns = 1;
    Ok(Answer::default()
        .u32s(&[MAJOR, MINOR, readahead, flags & offered, background_limits])
        .u32s(&[WRITE_BYTES_MAX, time_granularity_ns, 0])
        .bytes(&[0; 32]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(len: u32, body: &[u8]) -> Vec<u8> {
        let header =
            Answer::default().u32s(&[len, op::LOOKUP]).u64s(&[7, ROOT]).u32s(&[1000, 100, 42, 0]);
        header.bytes(body).0
    }

    #[test]
    fn a_request_comes_apart_as_it_was_put_together() {
        let bytes = request(48, b"a name\0\0");
        let parsed = Request::parse(&bytes).expect("well formed");
        assert_eq!((parsed.opcode, parsed.unique, parsed.node), (op::LOOKUP, 7, ROOT));
        assert_eq!((parsed.uid, parsed.gid), (1000, 100));
        let mut fields = parsed.fields;
        assert_eq!(fields.name(), Ok(b"a name".as_slice()));
        assert_eq!(fields.name(), Ok(b"".as_slice()));
        assert_eq!(fields.u32s::<1>(), Err(Errno::INVAL));
    }

    #[test]
    fn a_torn_request_is_refused() {
        assert_eq!(Request::parse(&request(41, b"")).err(), Some(Errno::INVAL));
        assert_eq!(Request::parse(&[40, 0, 0, 0]).err(), Some(Errno::INVAL));
        let bytes = request(42, b"ab");
        let mut fields = Request::parse(&bytes).expect("well formed").fields;
        assert_eq!(fields.name(), Err(Errno::INVAL));
        assert_eq!(fields.bytes(3), Err(Errno::INVAL));
        assert_eq!(fields.bytes(2), Ok(b"ab".as_slice()));
    }

    #[test]
    fn answers_have_the_sizes_of_the_header_file() {
        let attr = Attr {
            ino: 3,
            size: 17,
            times: [Duration::new(5, 6); 3],
            mode: 0o100_644,
            nlink: 1,
            owner: (1, 2),
        };
        assert_eq!(attr.encode().0.len(), 88);
        assert_eq!(attr.answer(Duration::ZERO).0.len(), 104);
        assert_eq!(attr.entry(Duration::ZERO).0.len(), 128);
        let asked = Answer::default().u32s(&[7, 45, 131_072, ABORT_ERROR | 1]).0;
        let init = init(Fields(&asked), ABORT_ERROR).expect("new enough");
        assert_eq!(init.0.len(), 64);
        let mut fields = Fields(&init.0);
        assert_eq!(fields.u32s(), Ok([7, 31, 131_072, ABORT_ERROR]));
    }

    #[test]
    fn an_old_kernel_is_refused() {
        let asked = Answer::default().u32s(&[7, 30, 0, 0]).0;
        assert_eq!(init(Fields(&asked), 0), Err(Errno::PROTO));
    }

    #[test]
    fn an_error_is_a_negative_number_and_has_no_body() {
        let bytes = reply(9, &Err(Errno::NOTCONN));
        let mut fields = Fields(&bytes);
        assert_eq!(fields.u32s(), Ok([16, (-107_i32).cast_unsigned()]));
        assert_eq!(fields.u64s(), Ok([9]));
        assert_eq!(reply(9, &Ok(Answer::default().bytes(b"four"))).len(), 20);
    }

    #[test]
    fn directory_entries_are_padded_and_stop_at_the_limit() {
        let mut listing = Answer::default();
        assert!(listing.dirent(64, 3, 3, 0o040_755, b"a"));
        assert_eq!(listing.0.len(), 32);
        assert_eq!(listing.0[20..25], [4, 0, 0, 0, b'a']);
        assert!(listing.dirent(64, 4, 4, 0o100_644, b"12345678"));
        assert_eq!(listing.0.len(), 64);
        assert!(!listing.dirent(64, 5, 5, 0o100_644, b"b"));
        assert_eq!(listing.0.len(), 64);
    }
}
