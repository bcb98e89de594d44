//! The small file system that the fault daemon serves: a few files and directories in memory.
//!
//! It answers each request at once and truthfully; all faults are made elsewhere. It can do what
//! `ls`, `cat`, `cp`, `rm`, a shell's redirection and overlayfs (as a lower layer) need; what is
//! left out (links, extended attributes, locks) is ENOSYS, which the kernel remembers and
//! replaces by its own default. It reads no disk and never blocks. That names exist or do not, and
//! that files are not used as directories, is seen to by the kernel, the only caller.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::io::Errno;

use super::fuse::{Answer, Attr, Fields, ROOT, Request, op};

/// What `data.txt` holds at the start.
pub const DATA: &[u8] = b"the data is here\n";
/// Largest file, so that a stray `truncate` cannot take the memory of the machine.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Longest name, as on most file systems.
const NAME_BYTES_MAX: u32 = 255;

const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// The whole tree, and how long the kernel may trust what it was told about it.
pub struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    valid: Duration,
}

#[derive(Default)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    /// Of access, content and status change.
    times: [Duration; 3],
    /// What a file holds.
    content: Vec<u8>,
    /// What a directory holds.
    names: BTreeMap<Vec<u8>, u64>,
    /// Whether a directory has it. A node without name lives on until the kernel forgets it.
    named: bool,
    /// How often the kernel was told of it, less what it has forgotten.
    lookups: u64,
}

impl Tree {
    /// The tree every daemon starts with: `data.txt`, and `jobs` with `a`, `b` and `c`, each with
    /// a file `in.txt`.
    pub fn new(owner: (u32, u32), valid: Duration) -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), next: ROOT, valid };
        tree.add(DIRECTORY | 0o755, owner, b"");
        tree.next += 1; // places 1 and 2 of a listing are "." and ".."
        tree.add_to(ROOT, b"data.txt", REGULAR | 0o644, owner, DATA);
        let jobs = tree.add_to(ROOT, b"jobs", DIRECTORY | 0o755, owner, b"");
        for name in [b"a", b"b", b"c"] {
            let job = tree.add_to(jobs, name, DIRECTORY | 0o755, owner, b"");
            tree.add_to(
                job,
                b"in.txt",
                REGULAR | 0o644,
                owner,
                &[b"job ", &name[..], b"\n"].concat(),
            );
        }
        tree
    }

    fn add(&mut self, mode: u32, owner: (u32, u32), content: &[u8]) -> u64 {
        let content = content.to_vec();
        let node = Node { mode, owner, times: [now(); 3], content, named: true, ..Node::default() };
        self.nodes.insert(self.next, node);
        self.next += 1;
        self.next - 1
    }

    fn add_to(
        &mut self,
        parent: u64,
        name: &[u8],
        mode: u32,
        owner: (u32, u32),
        content: &[u8],
    ) -> u64 {
        let id = self.add(mode, owner, content);
        if let Ok(parent) = self.node_mut(parent) {
            parent.names.insert(name.to_vec(), id);
            parent.touch();
        }
        id
    }

    /// The truthful answer to one request.
    pub fn answer(&mut self, request: &Request) -> Result<Answer, Errno> {
        let Request { node: id, mut fields, .. } = *request;
        match request.opcode {
            op::LOOKUP => self.child(id, fields.name()?).and_then(|child| self.entry(child)),
            op::GETATTR => Ok(self.attr(id)?.answer(self.valid)),
            op::SETATTR => self.set(id, fields),
            op::OPEN | op::OPENDIR => self.node_mut(id).map(|_| opened()),
            op::READ => self.read(id, fields),
            op::READDIR => self.list(id, fields),
            op::WRITE => self.write(id, fields),
            op::MKDIR => {
                let [mode, _umask] = fields.u32s()?;
                self.make(request, fields.name()?, DIRECTORY | mode)
            }
            op::MKNOD => {
                let [mode, _device, _umask, _] = fields.u32s()?;
                self.make(request, fields.name()?, mode)
            }
            op::CREATE => {
                let [_flags, mode, _umask, _] = fields.u32s()?;
                Ok(self.make(request, fields.name()?, mode)?.and(&opened()))
            }
            op::UNLINK | op::RMDIR => self.remove(id, fields.name()?),
            op::RENAME => {
                let [target] = fields.u64s()?;
                self.rename(id, fields.name()?, target, fields.name()?)
            }
            op::STATFS => Ok(self.statfs()),
            op::RELEASE | op::RELEASEDIR | op::FLUSH | op::FSYNC | op::FSYNCDIR => {
                Ok(Answer::default())
            }
            op::ACCESS | op::DESTROY => Ok(Answer::default()),
            _ => Err(Errno::NOSYS),
        }
    }

    /// FORGET and its batch, which have no answer.
    pub fn forget(&mut self, request: &Request) -> Result<(), Errno> {
        let mut fields = request.fields;
        if request.opcode == op::FORGET {
            let [lookups] = fields.u64s()?;
            self.release(request.node, lookups);
            return Ok(());
        }
        let [count, _] = fields.u32s()?;
        for _ in 0..count {
            let [id, lookups] = fields.u64s()?;
            self.release(id, lookups);
        }
        Ok(())
    }

    /// Drops a node that has no name any more and that the kernel has forgotten.
    fn release(&mut self, id: u64, lookups: u64) {
        if let Ok(node) = self.node_mut(id) {
            node.lookups = node.lookups.saturating_sub(lookups);
            if !node.named && node.lookups == 0 {
                self.nodes.remove(&id);
            }
        }
    }

    fn node(&self, id: u64) -> Result<&Node, Errno> {
        self.nodes.get(&id).ok_or(Errno::NOENT)
    }

    fn node_mut(&mut self, id: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).ok_or(Errno::NOENT)
    }

    fn child(&self, parent: u64, name: &[u8]) -> Result<u64, Errno> {
        self.node(parent)?.names.get(name).copied().ok_or(Errno::NOENT)
    }

    /// A directory too counts one name, which tells `find` that subdirectories are not counted.
    fn attr(&self, id: u64) -> Result<Attr, Errno> {
        let Node { mode, owner, times, content, named, .. } = self.node(id)?;
        let size = if mode & TYPE_MASK == DIRECTORY { 4096 } else { content.len() as u64 };
        Ok(Attr {
            ino: id,
            size,
            times: *times,
            mode: *mode,
            nlink: u32::from(*named),
            owner: *owner,
        })
    }

    /// Tells the kernel of a node; it then knows the node until it forgets it.
    fn entry(&mut self, id: u64) -> Result<Answer, Errno> {
        self.node_mut(id)?.lookups += 1;
        Ok(self.attr(id)?.entry(self.valid))
    }

    /// `fuse_setattr_in`: the bits of `valid` (`FATTR_*`, here by number) say which fields count.
    fn set(&mut self, id: u64, mut fields: Fields) -> Result<Answer, Errno> {
        let [valid, _] = fields.u32s()?;
        let [_handle, size, _lock, atime, mtime, _ctime] = fields.u64s()?;
        let [atime_ns, mtime_ns, _ctime_ns, mode, _, uid, gid, _] = fields.u32s()?;
        let has = |bit: u32| valid & (1 << bit) != 0;
        let node = self.node_mut(id)?;
        if has(0) {
            node.mode = node.mode & TYPE_MASK | mode & !TYPE_MASK;
        }
        if has(1) {
            node.owner.0 = uid;
        }
        if has(2) {
            node.owner.1 = gid;
        }
        if has(3) {
            node.content.resize(checked_size(size)?, 0);
            node.touch();
        }
        if has(4) {
            node.times[0] = if has(7) { now() } else { time(atime, atime_ns) };
        }
        if has(5) {
            node.times[1] = if has(8) { now() } else { time(mtime, mtime_ns) };
        }
        node.times[2] = now();
        Ok(self.attr(id)?.answer(self.valid))
    }

    fn read(&self, id: u64, mut fields: Fields) -> Result<Answer, Errno> {
        let ([_handle, offset], [size]) = (fields.u64s()?, fields.u32s()?);
        let content = &self.node(id)?.content;
        let start = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let end = content.len().min(start.saturating_add(size as usize));
        Ok(Answer::default().bytes(&content[start..end]))
    }

    fn write(&mut self, id: u64, mut fields: Fields) -> Result<Answer, Errno> {
        let ([_handle, offset], [size, _flags]) = (fields.u64s()?, fields.u32s()?);
        let [_lock, _flags] = fields.u64s()?;
        let data = fields.bytes(size as usize)?;
        let end = checked_size(offset.saturating_add(size.into()))?;
        let node = self.node_mut(id)?;
        node.content.resize(node.content.len().max(end), 0);
        node.content[end - data.len()..end].copy_from_slice(data);
        node.touch();
        Ok(Answer::default().u32s(&[size, 0]))
    }

    /// A listing goes by node number, so a place in it stays good when names come and go.
    fn list(&self, id: u64, mut fields: Fields) -> Result<Answer, Errno> {
        let ([_handle, after], [limit]) = (fields.u64s()?, fields.u32s()?);
        let mut entries: Vec<(u64, u64, &[u8])> = vec![(1, id, b"."), (2, id, b"..")];
        entries.extend(self.node(id)?.names.iter().map(|(name, id)| (*id, *id, name.as_slice())));
        entries.sort_unstable();
        let mut answer = Answer::default();
        for (place, id, name) in entries.into_iter().filter(|(place, ..)| *place > after) {
            if !answer.dirent(limit as usize, id, place, self.node(id)?.mode, name) {
                break;
            }
        }
        Ok(answer)
    }

    /// Makes a file or directory that belongs to who asks.
    fn make(&mut self, request: &Request, name: &[u8], mode: u32) -> Result<Answer, Errno> {
        checked_name(name)?;
        if ![DIRECTORY, REGULAR].contains(&(mode & TYPE_MASK)) {
            return Err(Errno::PERM);
        }
        if self.child(request.node, name).is_ok() {
            return Err(Errno::EXIST);
        }
        let id = self.add_to(request.node, name, mode, (request.uid, request.gid), b"");
        self.entry(id)
    }

    fn remove(&mut self, parent: u64, name: &[u8]) -> Result<Answer, Errno> {
        let id = self.child(parent, name)?;
        if !self.node(id)?.names.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.node_mut(parent)?.names.remove(name);
        self.node_mut(parent)?.touch();
        self.node_mut(id)?.named = false;
        self.release(id, 0);
        Ok(Answer::default())
    }

    fn rename(&mut self, from: u64, old: &[u8], to: u64, new: &[u8]) -> Result<Answer, Errno> {
        checked_name(new)?;
        let id = self.child(from, old)?;
        if self.child(to, new).is_ok_and(|replaced| replaced != id) {
            self.remove(to, new).map(drop)?;
        }
        self.node_mut(from)?.names.remove(old);
        self.node_mut(from)?.touch();
        self.node_mut(to)?.names.insert(new.to_vec(), id);
        self.node_mut(to)?.touch();
        Ok(Answer::default())
    }

    /// `fuse_kstatfs`: 4 GiB in blocks of 4 KiB, half of them free.
    fn statfs(&self) -> Answer {
        let (blocks, free, files) = (1 << 20, 1 << 19, 1 << 16);
        let files_free = files - files.min(self.nodes.len() as u64);
        Answer::default().u64s(&[blocks, free, free, files, files_free]).u32s(&[
            4096,
            NAME_BYTES_MAX,
            4096,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ])
    }
}

impl Node {
    fn touch(&mut self) {
        self.times[1..].fill(now());
    }
}

/// `fuse_open_out`: no handle is needed, and the page cache may be used.
fn opened() -> Answer {
    Answer::default().u64s(&[0]).u32s(&[0, 0])
}

fn checked_name(name: &[u8]) -> Result<(), Errno> {
    if name.len() > NAME_BYTES_MAX as usize { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

fn checked_size(size: u64) -> Result<usize, Errno> {
    if size > FILE_BYTES_MAX {
        Err(Errno::FBIG)
    } else {
        usize::try_from(size).or(Err(Errno::FBIG))
    }
}

fn time(seconds: u64, nanos: u32) -> Duration {
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))
}

fn now() -> Duration {
    crate::sys::clock::since_epoch()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tree: &mut Tree, opcode: u32, node: u64, body: &Answer) -> Result<Answer, Errno> {
        let fields = Fields(&body.0);
        tree.answer(&Request { opcode, unique: 1, node, uid: 1, gid: 2, fields })
    }

    fn named(name: &str) -> Answer {
        Answer::default().bytes(name.as_bytes()).bytes(b"\0")
    }

    fn id(entry: Result<Answer, Errno>) -> Result<u64, Errno> {
        Fields(&entry?.0).u64s().map(|[id]| id)
    }

    #[test]
    fn an_unlinked_file_lives_until_it_is_forgotten() {
        let mut tree = Tree::new((0, 0), Duration::ZERO);
        let file = id(ask(&mut tree, op::LOOKUP, ROOT, &named("data.txt"))).expect("is there");
        assert!(ask(&mut tree, op::UNLINK, ROOT, &named("data.txt")).is_ok());
        assert_eq!(ask(&mut tree, op::LOOKUP, ROOT, &named("data.txt")), Err(Errno::NOENT));
        let all = Answer::default().u64s(&[0, 0]).u32s(&[4096]);
        assert_eq!(ask(&mut tree, op::READ, file, &all), Ok(Answer::default().bytes(DATA)));
        let once = Answer::default().u64s(&[1]);
        let forget = Request {
            opcode: op::FORGET,
            unique: 1,
            node: file,
            uid: 1,
            gid: 2,
            fields: Fields(&once.0),
        };
        assert_eq!(tree.forget(&forget), Ok(()));
        assert_eq!(ask(&mut tree, op::READ, file, &all), Err(Errno::NOENT));
    }

    #[test]
    fn a_listing_in_pieces_misses_nothing_when_names_go() {
        let mut tree = Tree::new((0, 0), Duration::ZERO);
        let jobs = id(ask(&mut tree, op::LOOKUP, ROOT, &named("jobs"))).expect("is there");
        let a = id(ask(&mut tree, op::LOOKUP, jobs, &named("a"))).expect("is there");
        assert!(ask(&mut tree, op::UNLINK, a, &named("in.txt")).is_ok());
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let room_for_one = Answer::default().u64s(&[0, after]).u32s(&[32]);
            let answer = ask(&mut tree, op::READDIR, jobs, &room_for_one).expect("a directory");
            let Some(first_letter) = answer.0.get(24) else {
                break;
            };
            seen.push(*first_letter);
            after = Fields(&answer.0[8..]).u64s().map(|[place]| place).expect("a place");
            if *first_letter == b'a' {
                assert!(ask(&mut tree, op::RMDIR, jobs, &named("a")).is_ok());
            }
        }
        assert_eq!(seen, b"..abc");
    }

    #[test]
    fn a_full_directory_stays() {
        let mut tree = Tree::new((0, 0), Duration::ZERO);
        assert_eq!(ask(&mut tree, op::RMDIR, ROOT, &named("jobs")), Err(Errno::NOTEMPTY));
        let again = Answer::default().u32s(&[0o755, 0]).and(&named("jobs"));
        assert_eq!(ask(&mut tree, op::MKDIR, ROOT, &again), Err(Errno::EXIST));
    }

    #[test]
    fn a_file_has_a_largest_size() {
        let mut tree = Tree::new((0, 0), Duration::ZERO);
        let file = id(ask(&mut tree, op::LOOKUP, ROOT, &named("data.txt"))).expect("is there");
        let far = Answer::default().u64s(&[0, u64::MAX]).u32s(&[1, 0]).u64s(&[0, 0]).bytes(b"x");
        assert_eq!(ask(&mut tree, op::WRITE, file, &far), Err(Errno::FBIG));
    }
}
