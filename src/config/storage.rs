//! Which storage our own files, directories and programs lie on, whatever links lead there. A user may stand in a directory
//! of the very mount that hangs, and opening the project's file there would hang too; so files on such storage are not opened
//! unless they are named by hand. Which mounts those are is the caller's to say: reading the mount table is done elsewhere.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::Settings;
use crate::sys::links::{self, End, Way};
use crate::sys::text;

/// A mount point and whether its storage may keep an opener waiting for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The type of file system, such as `fuse.sshfs`.
    pub fstype: String,
    /// Whether a file below it is better not opened.
    pub may_hang: bool,
}

/// The mounts of the host, asked for once where they are needed: the table may be long, and rarely is.
#[derive(Debug, Clone)]
pub struct Mounts {
    told: OnceCell<Vec<MountPoint>>,
    ask: fn() -> Vec<MountPoint>,
}

impl Default for Mounts {
    fn default() -> Self {
        Self::known(Vec::new())
    }
}

impl Mounts {
    /// What this tells. Where the table cannot be read it is none, and nothing is known to hang.
    #[must_use]
    pub fn asked(ask: fn() -> Vec<MountPoint>) -> Self {
        Self { told: OnceCell::new(), ask }
    }

    /// These.
    #[must_use]
    pub fn known(mounts: Vec<MountPoint>) -> Self {
        Self { told: mounts.into(), ask: Vec::new }
    }

    /// All of them, where a path may lie on any but the root of the host.
    fn for_path(&self, path: &Path) -> &[MountPoint] {
        match self.told.get() {
            None if is_plain(path) => &[],
            _ => self.told.get_or_init(self.ask),
        }
    }
}

/// The mount that a path lies on, if its storage may hang: the deepest one above it, and of those on
/// one path the last. The root of the host is never avoided, since nothing works without it.
fn hanging<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    let above = mounts.iter().filter(|it| path.starts_with(&it.path));
    let deepest = above.max_by_key(|it| it.path.components().count())?;
    (deepest.may_hang && deepest.path != Path::new("/")).then_some(deepest)
}

/// That an absolute path lies on storage that may hang, or leads there over whatever links, in words that go on from it.
pub fn onto(path: &Path, mounts: &Mounts) -> Option<String> {
    let mounts = mounts.for_path(path);
    if !mounts.iter().any(|it| it.may_hang) {
        return None;
    }
    let remote = |part: &Path| {
        let mount = hanging(mounts, part)?;
        Some(format!("{} ({})", text::path(&mount.path), mount.fstype))
    };
    let Way { to, end } = links::follow(path, &remote, &|_| false);
    let Some(End::Remote(mount)) = end else { return None };
    Some(if to == path {
        format!("lies on {mount}")
    } else {
        format!("leads to {} on {mount}", text::path(&to))
    })
}

/// Whether a path is known to be reached over no link and no mount: then it lies on the root of the host, or is not there.
/// It is looked for in the kernel's cache alone (`openat2(2)`, since Linux 5.12): whatever else had to be asked, above all what
/// mounts what is not mounted yet, might hang.
fn is_plain(path: &Path) -> bool {
    let plain = ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV
        | ResolveFlags::CACHED;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    matches!(openat2(CWD, path, flags, Mode::empty(), plain), Ok(_) | Err(Errno::NOENT))
}

/// Our own files and directories.
fn own_paths(settings: &Settings) -> Vec<&Path> {
    let host = &settings.host;
    let own = [
        &host.state_dir,
        &host.run_dir,
        &host.sentinel_dir,
        &host.textfile_dir,
        &settings.gates.deploy_lock,
    ];
    own.into_iter().chain(&settings.binds.manifest).map(PathBuf::as_path).collect()
}

/// Which commands of the configuration a program of ours starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// None.
    Nothing,
    /// Those by which mounts and the worker are brought back.
    Repairs,
    /// That by which messages are sent.
    Messages,
}

/// The programs of those commands. Whoever starts one waits until it has been read.
fn programs(settings: &Settings, starts: Starts) -> Vec<&Path> {
    let worker = settings.worker.iter().flat_map(|it| [&it.start, &it.stop, &it.status]);
    let remounts = settings.mount.iter().map(|spec| &spec.remount);
    let told = settings.notify.iter().map(|notify| &notify.command);
    let commands: Vec<_> = match starts {
        Starts::Nothing => Vec::new(),
        Starts::Repairs => worker.chain(remounts).flatten().collect(),
        Starts::Messages => told.flatten().collect(),
    };
    commands.into_iter().filter_map(|argv| argv.first()).map(Path::new).collect()
}

/// The first of our own files, directories and programs that lies on storage that may hang, or leads there, in words: opening
/// it would hang the very program that is to mend that storage.
pub fn own_path_that_may_hang(
    settings: &Settings,
    starts: Starts,
    mounts: &Mounts,
) -> Option<String> {
    let mut all = own_paths(settings).into_iter().chain(programs(settings, starts));
    all.find_map(|path| Some(format!("{} {}", text::path(path), onto(path, mounts)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(path: &str, may_hang: bool) -> MountPoint {
        MountPoint { path: path.into(), fstype: "any".to_owned(), may_hang }
    }

    #[test]
    fn the_deepest_mount_above_a_path_decides_and_of_a_stack_the_last() {
        let mounts = [
            point("/", false),
            point("/srv/box", true),
            point("/srv/box/local", false),
            point("/over", true),
            point("/over", false),
        ];
        for (path, avoided) in [
            ("/home/u", false),
            ("/srv/box", true),
            ("/srv/box/x/y", true),
            ("/srv/boxes", false),
            ("/srv/box/local/x", false),
            ("/over/x", false),
        ] {
            assert_eq!(hanging(&mounts, Path::new(path)).is_some(), avoided, "{path}");
        }
    }

    #[test]
    fn a_link_of_ours_onto_storage_is_seen_and_so_is_a_program_on_what_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("box/state")).unwrap();
        std::os::unix::fs::symlink("box/state", base.join("state")).unwrap();
        let told = |may_hang, change: &dyn Fn(&mut Settings)| {
            let boxed =
                MountPoint { path: base.join("box"), fstype: "fuse.sshfs".to_owned(), may_hang };
            let mut settings = Settings::default();
            change(&mut settings);
            let mounts = Mounts::known(vec![point("/", false), boxed]);
            own_path_that_may_hang(&settings, Starts::Repairs, &mounts)
        };
        let on = format!(" on {} (fuse.sshfs)", base.join("box").display());
        let state = |settings: &mut Settings| settings.host.state_dir = base.join("state/deep");
        let leads = format!("state/deep leads to {}{on}", base.join("box/state/deep").display());
        assert!(told(true, &state).unwrap().ends_with(&leads));
        assert_eq!(told(false, &state), None);
        assert_eq!(told(true, &|_| {}), None);
        let there = |settings: &mut Settings| settings.host.state_dir = base.join("box/state");
        assert!(told(true, &there).unwrap().ends_with(&format!("box/state lies{on}")));
        let program = |settings: &mut Settings| {
            let remount = base.join("state/mount");
            let listed = format!(
                "[[mount]]\npath = \"{}/box\"\nremount = [\"{}\"]\n[host]\nservices = \"process\"\n",
                base.display(),
                remount.display()
            );
            settings.mount = crate::config::from_str(&listed).unwrap().mount;
        };
        assert!(told(true, &program).unwrap().ends_with(&on));
        // on a disk, watched or not, it is no worse off than any program
        assert_eq!(told(false, &program), None);
    }

    #[test]
    fn our_own_files_are_looked_for_on_it_too() {
        let settings = Settings::default();
        let lies = |on: &str| {
            let mounts = Mounts::known(vec![point(on, true)]);
            own_path_that_may_hang(&settings, Starts::Nothing, &mounts).is_some()
        };
        assert!(lies("/var/lib/unwedge") && lies("/run") && lies("/etc/unwedge"));
        assert!(!lies("/srv"));
    }

    #[test]
    fn the_programs_that_are_started_are_looked_for_on_it_too() {
        let settings = crate::config::from_str(
            "[host]\nservices = \"process\"\n[[mount]]\npath = \"/srv/a\"\nremount = [\"/opt/m/mount\", \"/srv/a\"]\n\
             [worker]\nstart = [\"/opt/w/start\"]\nstop = [\"/opt/x/stop\"]\nstatus = [\"/opt/y/status\"]\n\
             [notify]\ncommand = [\"/opt/n/tell\"]\n",
        )
        .unwrap();
        let lies = |starts, on: &str| {
            let mounts = Mounts::known(vec![point(on, true)]);
            own_path_that_may_hang(&settings, starts, &mounts).is_some()
        };
        for on in ["/opt/m", "/opt/w", "/opt/x", "/opt/y"] {
            assert!(lies(Starts::Repairs, on), "{on}");
        }
        // what another program starts is none of this one's, and what a command works on is another matter
        assert!(lies(Starts::Messages, "/opt/n") && !lies(Starts::Repairs, "/opt/n"));
        assert!(!lies(Starts::Messages, "/opt/w") && !lies(Starts::Nothing, "/opt/w"));
        assert!(!lies(Starts::Repairs, "/srv/a") && !lies(Starts::Repairs, "/opt/z"));
    }

    #[test]
    fn the_root_of_the_host_is_never_avoided() {
        assert_eq!(hanging(&[point("/", true)], Path::new("/home/u")), None);
    }
}
