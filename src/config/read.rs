//! Opens the files of a configuration, in their order, and decides whether each may be believed. A command in a
//! file that root reads runs as root, so such a file must be root's alone; owner and mode are taken from
//! the file that was opened, not from its name, because administrators link files.

use std::fs::{File, ReadDir};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, access, openat2};
use rustix::io::Errno;

use super::error::{ConfigError, ConfigErrors, printable};
use super::request::Request;
use super::storage::{self, Mounts};
use super::tree::Tree;

/// Longest file that is read: 1 MiB, hundreds of times what a host needs.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The bit of a mode that lets everybody read.
const OTHERS_READ: u32 = 0o004;

/// What was read.
#[derive(Debug, Default)]
pub struct Layers {
    /// One tree a file, lowest first.
    pub trees: Vec<Tree>,
    /// The files, in the same order.
    pub files: Vec<PathBuf>,
    /// Those of the files that everybody may read.
    pub open: Vec<PathBuf>,
    /// Files that were not opened, and why.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Whose file may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Root's, which nobody else can write.
    Root,
    /// The user's own or root's, which not everybody can write: it was found, not named.
    Own { euid: u32 },
    /// Anybody's: the user named it, or it is the system's and nothing runs as root.
    Any,
}

impl Trust {
    /// Of what is as good as the system's configuration.
    fn ours() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::Any }
    }
}

/// Reads every file the request asks for, or says what is wrong with each that cannot be used.
pub fn layers(request: &Request) -> Result<Layers, ConfigErrors> {
    let mut layers = Layers::default();
    let mut problems = Vec::new();
    let system = if request.euid == 0 { Trust::Root } else { Trust::Any };
    if let Some(file) = &request.file {
        layers.take(file, system, &mut problems);
        if layers.files.is_empty() && problems.is_empty() {
            problems.push(problem(file, "no such file"));
        }
    } else {
        match systems(request) {
            Ok(files) => files.iter().for_each(|file| match local(file, &request.mounts) {
                Ok(()) => layers.take(file, system, &mut problems),
                Err(remote) => problems.push(remote),
            }),
            Err(unreadable) => problems.push(unreadable),
        }
        if request.euid != 0 {
            for file in [request.user_file(), request.project_file()].into_iter().flatten() {
                layers.take_found(request, &file, &mut problems);
            }
        }
    }
    if problems.is_empty() { Ok(layers) } else { Err(ConfigErrors(problems)) }
}

impl Layers {
    /// Reads one file; one that is not there is no layer.
    fn take(&mut self, path: &Path, trust: Trust, problems: &mut Vec<ConfigError>) {
        match read(path, trust)
            .and_then(|file| file.map(|file| Ok((Tree::parse(&file.0, path)?, file.1))).transpose())
        {
            Ok(Some((tree, mode))) => {
                if mode & OTHERS_READ != 0 {
                    self.open.push(path.to_owned());
                }
                self.trees.push(tree);
                self.files.push(path.to_owned());
            }
            Ok(None) => {}
            Err(fault) => problems.push(fault),
        }
    }

    /// Reads one file that nobody named, unless the storage it is on may hang.
    fn take_found(&mut self, request: &Request, path: &Path, problems: &mut Vec<ConfigError>) {
        match storage::onto(path, &request.mounts) {
            Some(words) => {
                self.skipped.push((path.to_owned(), format!("{words}, which may hang")));
            }
            // somebody else's, as with HOME left over from root: nobody asked for it
            None if access(path, Access::READ_OK) == Err(Errno::ACCESS) => {
                self.skipped.push((path.to_owned(), "this user may not read it".to_owned()));
            }
            None => self.take(path, Trust::Own { euid: request.euid }, problems),
        }
    }
}

/// The system's files, lowest first.
fn systems(request: &Request) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = vec![request.system_dir.join("unwedge.toml")];
    files.extend(drop_ins(&request.system_dir.join("conf.d"), &request.mounts)?);
    Ok(files)
}

/// Refuses what leads onto storage that may hang: whoever opened it there would hang, with all that it is to mend.
fn local(path: &Path, mounts: &Mounts) -> Result<(), ConfigError> {
    storage::onto(path, mounts).map_or(Ok(()), |words| {
        Err(problem(path, format!("{words}, which may hang; keep it on a local disk")))
    })
}

/// The drop-ins of a directory, sorted by name; hidden files are none. A directory that is not there has none.
fn drop_ins(directory: &Path, mounts: &Mounts) -> Result<Vec<PathBuf>, ConfigError> {
    let fault =
        |error: std::io::Error| problem(directory, format!("cannot be listed: {}", plain(&error)));
    let Some(entries) = listed(directory, mounts)? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The bytes of a file beside the configuration that root may act on; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, or may not be believed: run by root, it must be root's alone.
pub fn beside(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // a link could lead onto the very storage that hangs, unseen by whoever asked where the path lies
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, Mode::empty(), how) {
        Ok(fd) => Ok(Some(believed(path, File::from(fd), Trust::ours())?.0)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(problem(path, "there is a link in its path; name the file itself")),
        Err(errno) => Err(problem(path, format!("cannot be opened: {}", plain(&errno.into())))),
    }
}

/// The entries of a directory of such files; `None` if there is no such directory.
///
/// # Errors
/// It cannot be listed, or lies on storage that may hang.
pub(super) fn listed(path: &Path, mounts: &Mounts) -> Result<Option<ReadDir>, ConfigError> {
    local(path, mounts)?;
    match std::fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(problem(path, format!("cannot be listed: {}", plain(&error)))),
    }
}

/// The text of one of them; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, is not UTF-8, may not be believed, or lies on storage that may hang.
pub(super) fn listed_file(path: &Path, mounts: &Mounts) -> Result<Option<String>, ConfigError> {
    local(path, mounts)?;
    Ok(read(path, Trust::ours())?.map(|(text, _)| text))
}

/// The text of a file that may be believed, and its mode; `None` if there is no such file.
fn read(path: &Path, trust: Trust) -> Result<Option<(String, u32)>, ConfigError> {
    let Some((bytes, mode)) = read_bytes(path, trust)? else { return Ok(None) };
    String::from_utf8(bytes).map(|text| Some((text, mode))).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        problem(path, format!("line {line} is not UTF-8"))
    })
}

fn read_bytes(path: &Path, trust: Trust) -> Result<Option<(Vec<u8>, u32)>, ConfigError> {
    // NONBLOCK: a pipe of that name must not keep us waiting for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) if path.is_symlink() => {
            return Err(problem(path, "is a link to a file that is not there"));
        }
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => {
            return Err(problem(path, format!("cannot be opened: {}", plain(&errno.into()))));
        }
    };
    believed(path, file, trust).map(Some)
}

/// The bytes of an opened file and its mode, if it may be believed.
fn believed(path: &Path, file: File, trust: Trust) -> Result<(Vec<u8>, u32), ConfigError> {
    let stat = rustix::fs::fstat(&file)
        .map_err(|errno| problem(path, format!("cannot be examined: {}", plain(&errno.into()))))?;
    let owned = Owned::of(&stat);
    believe(path, &owned, trust)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| problem(path, format!("cannot be read: {}", plain(&error))))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(path, format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok((bytes, owned.mode))
}

/// What decides whether a file may be believed.
#[derive(Debug, Clone, Copy)]
struct Owned {
    kind: FileType,
    uid: u32,
    mode: u32,
}

impl Owned {
    fn of(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            uid: stat.st_uid,
            mode: stat.st_mode & 0o7777,
        }
    }
}

fn believe(path: &Path, file: &Owned, trust: Trust) -> Result<(), ConfigError> {
    if file.kind != FileType::RegularFile {
        return Err(problem(path, "is not a regular file"));
    }
    let (owner_fits, forbidden, whose) = match trust {
        Trust::Root => (
            file.uid == 0,
            0o022,
            "root, and writable by nobody else, because commands in it run as root",
        ),
        Trust::Own { euid } => {
            (file.uid == euid || file.uid == 0, 0o002, "you or root, and not writable by everybody")
        }
        Trust::Any => (true, 0, ""),
    };
    let mut mend = Vec::new();
    if !owner_fits {
        let owner = if trust == Trust::Root { "root:root" } else { "$USER" };
        mend.push(format!("chown {owner} {}", printable(path)));
    }
    if file.mode & forbidden != 0 {
        mend.push(format!(
            "chmod {} {}",
            if forbidden == 0o022 { "go-w" } else { "o-w" },
            printable(path)
        ));
    }
    if mend.is_empty() {
        return Ok(());
    }
    let found = format!("owned by uid {} with mode {:04o}", file.uid, file.mode);
    Err(problem(
        path,
        format!("{found}, expected to be owned by {whose}; mend it with: {}", mend.join(" && ")),
    ))
}

fn problem(path: &Path, problem: impl Into<String>) -> ConfigError {
    ConfigError::File { path: path.to_owned(), problem: problem.into() }
}

/// The reason without its number, in lower case as our own messages are.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Trust = Trust::Own { euid: 1000 };

    #[track_caller]
    fn check(uid: u32, mode: u32, trust: Trust, expected: Result<(), &str>) {
        let file = Owned { kind: FileType::RegularFile, uid, mode };
        let told = believe(Path::new("/f"), &file, trust).map_err(|error| error.to_string());
        match (&told, expected) {
            (Ok(()), Ok(())) => {}
            (Err(message), Err(end)) if message.ends_with(end) => {}
            _ => panic!("uid {uid} mode {mode:o} {trust:?}: {told:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn root_believes_only_what_nobody_else_can_write() {
        check(0, 0o644, Trust::Root, Ok(()));
        check(0, 0o755, Trust::Root, Ok(()));
        check(0, 0o664, Trust::Root, Err("mend it with: chmod go-w /f"));
        check(0, 0o646, Trust::Root, Err("mend it with: chmod go-w /f"));
        check(1000, 0o644, Trust::Root, Err("mend it with: chown root:root /f"));
        check(1000, 0o666, Trust::Root, Err("mend it with: chown root:root /f && chmod go-w /f"));
    }

    #[test]
    fn a_user_believes_what_is_found_only_if_it_is_his_or_roots() {
        check(1000, 0o664, OWN, Ok(()));
        check(0, 0o644, OWN, Ok(()));
        check(1001, 0o644, OWN, Err("chown $USER /f"));
        check(1000, 0o666, OWN, Err("chmod o-w /f"));
        check(1001, 0o666, Trust::Any, Ok(()));
    }

    #[test]
    fn the_message_names_owner_and_mode() {
        let file = Owned { kind: FileType::RegularFile, uid: 1000, mode: 0o664 };
        let told =
            believe(Path::new("/f"), &file, Trust::Root).expect_err("not root's").to_string();
        assert!(
            told.starts_with("/f: owned by uid 1000 with mode 0664, expected to be owned by root"),
            "{told}"
        );
    }

    #[test]
    fn only_regular_files_are_read() {
        for kind in
            [FileType::Fifo, FileType::Directory, FileType::CharacterDevice, FileType::Socket]
        {
            let file = Owned { kind, uid: 0, mode: 0o644 };
            let told =
                believe(Path::new("/f"), &file, Trust::Any).expect_err("no file").to_string();
            assert_eq!(told, "/f: is not a regular file");
        }
    }

    #[test]
    fn a_pipe_does_not_keep_the_loader_waiting() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f.toml");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .expect("a pipe");
        let told = read(&path, Trust::Any).expect_err("a pipe").to_string();
        assert!(told.ends_with("is not a regular file"), "{told}");
    }

    #[test]
    fn odd_files_are_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = |name: &str, bytes: &[u8], end: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            let told = read(&path, Trust::Any).expect_err(name).to_string();
            assert!(told.ends_with(end), "{told}");
        };
        check("latin1", b"a = 1\nb = \"\xe4\"\n", "line 2 is not UTF-8");
        check("big", &vec![b'#'; 1 + (1 << 20)], "is longer than 1048576 bytes");
        std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("a link");
        let told = read(&dir.path().join("link"), Trust::Any).expect_err("dangling").to_string();
        assert!(told.ends_with("is a link to a file that is not there"), "{told}");
        assert_eq!(read(&dir.path().join("none"), Trust::Any), Ok(None));
    }
}
