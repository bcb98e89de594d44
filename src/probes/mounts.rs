//! The look at every watched mount: which paths to look at, what the mount table, fusectl, the
//! process table and a prober each know of them; [`judge`] makes the verdict of it.
//!
//! This process itself opens nothing but the roots of FUSE mounts, only from the name cache and only
//! where every mount above is local; all else is the probers' work.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connections::{self, Connections};
use super::family::Family;
use super::holders::{Daemons, Holders};
use super::identity::{self, Identity};
use super::judge::{Evidence, Expected, Judgement, changed_meanwhile, judge};
use super::liveness::Look;
use super::mountinfo::{self, Mount, MountTable, TableError, Walk};
use super::prober::{self, Request, Response};
use super::verdict::Verdict;
use crate::config::{BindSpec, Settings, Watch};
use crate::sys::text;

/// Why a path is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A `[[mount]]` of the config.
    Base,
    /// The hot path of a bind of the table.
    Bind,
    /// A mount found under `repair_under`.
    Found,
    /// A FUSE or network mount elsewhere: look only.
    Remote,
    /// A FUSE or network mount above another target: look only.
    Ancestor,
    /// Detached by an earlier round and not mounted again since.
    Remembered,
}

impl Role {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Bind => "bind",
            Self::Found => "found",
            Self::Remote => "remote",
            Self::Ancestor => "ancestor",
            Self::Remembered => "remembered",
        }
    }
}

/// One mount of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Which mount.
    pub identity: Identity,
    /// Its type.
    pub fstype: String,
    /// Its source.
    pub source: OsString,
    /// The directory of the file system that is mounted.
    pub root: OsString,
    /// Options of this mount, such as `ro,noexec`.
    pub options: OsString,
    /// Who holds its connection; for other file systems than FUSE this says nothing.
    pub holders: Holders,
    /// What a detach of it would take along, deepest first; the layers stacked on it are not among
    /// them.
    pub nested: Vec<Nested>,
}

impl Layer {
    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(&self.fstype)
    }

    /// FUSE whose daemon is gone for certain.
    #[must_use]
    pub fn is_daemonless(&self) -> bool {
        self.family() == Family::Fuse && self.holders == Holders::None
    }
}

/// A mount that a detach of the target would take along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nested {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The mount.
    pub layer: Layer,
}

/// A bind of the table, and what it should show as things are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindLook {
    /// The bind.
    pub spec: BindSpec,
    /// What its cold directory really lies on.
    pub right: Right,
}

/// What a bind should show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Right {
    /// The base is mounted, and the cold directory lies on it.
    Known {
        /// The mount at the base.
        mount: Identity,
        /// The cold directory as the root of a mount of that file system.
        root: OsString,
        /// The base's type.
        fstype: String,
        /// The base's source.
        source: OsString,
    },
    /// The cold directory does not lie on its base now, so there is nothing to compare with.
    Unknown(String),
}

impl BindLook {
    /// Compares the cold directory with the mount that really contains it.
    fn find(spec: &BindSpec, table: &MountTable, connections: &Connections) -> Self {
        let on = table.walk(&spec.cold).lies_on();
        let right = match on {
            Some(on) if on.path == spec.base => Right::Known {
                mount: Identity::from_table(on, connections),
                root: root_of(on, &spec.cold),
                fstype: on.fstype.clone(),
                source: on.source.clone(),
            },
            Some(on) => {
                let (cold, on) = (text::path(&spec.cold), text::path(&on.path));
                Right::Unknown(format!("{cold} lies on {on}"))
            }
            None => Right::Unknown("the mount table has no root".to_owned()),
        };
        Self { spec: spec.clone(), right }
    }

    /// Whether this layer shows what it should: the cold directory of the base as it is mounted now.
    #[must_use]
    pub fn is_right(&self, layer: &Layer) -> bool {
        match &self.right {
            Right::Known { mount, root, .. } => {
                layer.identity.dev == mount.dev && layer.root == *root
            }
            Right::Unknown(_) => false,
        }
    }
}

/// What `path`, which lies on `mount`, is called in the mount's own file system.
fn root_of(mount: &Mount, path: &Path) -> OsString {
    let below = path.strip_prefix(&mount.path).unwrap_or(Path::new(""));
    Path::new(&mount.root).join(below).into_os_string()
}

/// What lies at a path where nothing is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A directory, as it should be.
    Directory,
    /// Nothing at all; a mount unit may make it.
    Missing,
    /// A file, or something else that is no directory.
    NoDirectory,
    /// A symbolic link, at the path or on the way to it.
    Link,
    /// An automount trigger, which is not touched.
    Automount,
    /// It was not found out, or there is a mount.
    NotSeen,
}

/// All that is known of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The path, absolute.
    pub path: PathBuf,
    /// Why it is looked at.
    pub roles: BTreeSet<Role>,
    /// What is said of it.
    pub verdict: Verdict,
    /// What it answered, if it answered an error.
    pub errno: Option<i32>,
    /// The evidence, in words.
    pub why: String,
    /// The mounts at the path, lowest first; the last one is judged.
    pub layers: Vec<Layer>,
    /// How long its prober took.
    pub probe: Option<Duration>,
    /// Since when (boot time) one request has been waiting.
    pub waiting_since: Option<Duration>,
    /// Every other path where the same superblock is mounted.
    pub shared: Vec<PathBuf>,
    /// What lies there if nothing is mounted.
    pub ground: Ground,
    /// How many entries the bare directory has, mounted on or not; `None` where that is not known.
    pub beneath: Option<u32>,
    /// The bind that should be here.
    pub bind: Option<BindLook>,
}

impl Observation {
    /// The mount that is judged.
    #[must_use]
    pub fn top(&self) -> Option<&Layer> {
        self.layers.last()
    }

    /// The identity of the mount that is judged.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.top().map(|layer| &layer.identity)
    }

    /// Whether what lies below it can be reached through it.
    fn lets_through(&self) -> bool {
        match self.verdict {
            Verdict::Live | Verdict::Pinned | Verdict::Inconclusive | Verdict::Absent => true,
            // judged before it was known whether it answers
            Verdict::WrongSource => self.errno.is_none() && self.waiting_since.is_none(),
            Verdict::Unknown
            | Verdict::ChildOfDead
            | Verdict::Hung
            | Verdict::Dead
            | Verdict::Transient => false,
        }
    }
}

/// What one look-round saw.
#[derive(Debug)]
pub struct Survey {
    /// Every target, ordered by path.
    pub observations: Vec<Observation>,
    /// Why there is no mount table, if there is none: then every observation is `unknown`.
    pub table: Result<(), TableError>,
    /// FUSE connections in no mount namespace; `None` when that cannot be known.
    pub orphans: Option<usize>,
}

/// Looks at every target: those of the config, those an earlier round `remembered`, and with
/// `everything` every FUSE and network mount of the host.
#[must_use]
pub fn survey(
    settings: &Settings,
    remembered: &BTreeSet<PathBuf>,
    everything: bool,
    limit: Duration,
) -> Survey {
    let wanted = Wanted { settings, remembered, everything };
    let table = match mountinfo::read(|mount| wanted.watches(mount)) {
        Ok(table) => table,
        Err(error) => {
            let observations = wanted.blind(&error);
            return Survey { observations, table: Err(error), orphans: None };
        }
    };
    let connections = Connections::read();
    // where there is no FUSE mount nobody's daemon is asked for, and the look through every
    // process's descriptors is most of what a round costs
    let fuse = table.iter().any(|mount| Family::of(&mount.fstype) == Family::Fuse);
    let daemons = if fuse { Daemons::scan(settings.probe.daemons) } else { Daemons::default() };
    let looks: Vec<Target<'_>> = wanted
        .targets(&table)
        .into_iter()
        .map(|(path, roles)| Target::find(path, roles, &table, &connections, &daemons))
        .collect();
    let requests: Vec<Request> = looks.iter().filter_map(Target::request).collect();
    let mut responses = prober::probe_all(&requests, settings.probe.timeout, limit).into_iter();
    let mut answered: Vec<(Target<'_>, Option<Response>)> = looks
        .into_iter()
        .map(|target| {
            let response = target.request().and_then(|_| responses.next());
            (target, response)
        })
        .collect();
    // a mount above decides what can be said of the one below
    answered.sort_by_key(|(target, _)| target.path.components().count());
    let mut seen: BTreeMap<PathBuf, Observation> = BTreeMap::new();
    for (target, response) in answered {
        let blocked_by = target
            .walk
            .ancestors
            .iter()
            .find(|above| seen.get(&above.path).is_some_and(|above| !above.lets_through()))
            .map(|above| above.path.clone());
        let again = blocked_by.is_none() && changed_meanwhile(target.top(), response.as_ref());
        let bind = settings.bind.iter().find(|bind| bind.hot == target.path);
        let bind = bind.map(|bind| BindLook::find(bind, &table, &connections));
        let mut observation =
            target.observe(settings, bind, response.as_ref(), blocked_by.as_deref());
        // what came or went under the look is looked at once more
        if again && let Ok(second) = look_at(settings, &observation.path) {
            observation = Observation { roles: observation.roles, ..second };
        }
        seen.insert(observation.path.clone(), observation);
    }
    let anywhere = match &connections {
        Connections::Known(known) if !known.is_empty() => connections::mounted_anywhere(),
        Connections::Known(_) => Some(Vec::new()),
        Connections::NotMounted => None,
    };
    let orphans = connections::orphans(&connections, anywhere.as_deref()).map(|list| list.len());
    Survey { observations: seen.into_values().collect(), table: Ok(()), orphans }
}

/// Which paths [`survey`] would look at, and why: the table read and understood, nobody asked.
///
/// # Errors
/// There is no mount table.
pub fn watched(
    settings: &Settings,
    remembered: &BTreeSet<PathBuf>,
    everything: bool,
) -> Result<BTreeMap<PathBuf, BTreeSet<Role>>, TableError> {
    let wanted = Wanted { settings, remembered, everything };
    Ok(wanted.targets(&mountinfo::read(|mount| wanted.watches(mount))?))
}

/// The mounts of `table` that a round may repair or is told to look at, ordered by path and lowest
/// first. What is only found elsewhere comes and goes as its owner likes.
#[must_use]
pub fn watched_mounts<'a>(settings: &Settings, table: &'a MountTable) -> Vec<&'a Mount> {
    let wanted = Wanted { settings, remembered: &BTreeSet::new(), everything: false };
    let ours = |roles: &BTreeSet<Role>| roles.contains(&Role::Base) || roles.contains(&Role::Found);
    let targets = wanted.targets(table).into_iter().filter(|(_, roles)| ours(roles));
    targets.flat_map(|(path, _)| table.walk(&path).layers).collect()
}

/// Looks at one path only, as it is now: for waiting until it is live.
///
/// # Errors
/// There is no mount table to find it in.
pub fn look_at(settings: &Settings, path: &Path) -> Result<Observation, TableError> {
    let bind = settings.bind.iter().find(|bind| bind.hot == path);
    let base = bind.map(|bind| bind.base.as_path());
    let table = mountinfo::read(|mount| mount.path == path || Some(mount.path.as_path()) == base)?;
    let listed = settings.mount.iter().any(|spec| spec.path == path);
    let role = match bind {
        Some(_) => Role::Bind,
        None if listed => Role::Base,
        None => Role::Found,
    };
    let roles = BTreeSet::from([role]);
    let (connections, daemons) = (Connections::read(), Daemons::scan(settings.probe.daemons));
    let target = Target::find(path.to_path_buf(), roles, &table, &connections, &daemons);
    let requests: Vec<Request> = target.request().into_iter().collect();
    let timeout = settings.probe.timeout;
    let response = prober::probe_all(&requests, timeout, 2 * timeout).into_iter().next();
    let bind = bind.map(|bind| BindLook::find(bind, &table, &connections));
    Ok(target.observe(settings, bind, response.as_ref(), None))
}

/// Which paths are looked at.
struct Wanted<'a> {
    settings: &'a Settings,
    remembered: &'a BTreeSet<PathBuf>,
    everything: bool,
}

impl Wanted<'_> {
    fn watches(&self, mount: &Mount) -> bool {
        Family::of(&mount.fstype).is_remote()
            || self.settings.mounts.is_under_root(&mount.path)
            || self.settings.mount.iter().any(|spec| spec.path == mount.path)
            || self.settings.bind.iter().any(|bind| bind.hot == mount.path)
    }

    fn targets(&self, table: &MountTable) -> BTreeMap<PathBuf, BTreeSet<Role>> {
        let mut targets: BTreeMap<PathBuf, BTreeSet<Role>> = BTreeMap::new();
        let mut add = |path: &Path, role: Role| {
            targets.entry(path.to_path_buf()).or_default().insert(role);
        };
        for spec in &self.settings.mount {
            add(&spec.path, Role::Base);
        }
        for bind in &self.settings.bind {
            add(&bind.hot, Role::Bind);
        }
        for path in self.remembered {
            add(path, Role::Remembered);
        }
        let remote = self.everything || self.settings.mounts.watch == Watch::Remote;
        for mount in table.iter().filter(|mount| mount.fstype != "autofs") {
            let found = self.settings.mounts.is_under_root(&mount.path);
            let remote = remote && Family::of(&mount.fstype).is_remote();
            // a mount below a covered directory cannot be reached, and is not in anybody's way
            if (found || remote) && !table.walk(&mount.path).layers.is_empty() {
                add(&mount.path, if found { Role::Found } else { Role::Remote });
            }
        }
        let above: BTreeSet<PathBuf> = targets
            .keys()
            .flat_map(|path| table.walk(path).ancestors)
            .filter(|mount| Family::of(&mount.fstype).is_remote())
            .map(|mount| mount.path.clone())
            .collect();
        for path in above {
            targets.entry(path).or_insert_with(|| BTreeSet::from([Role::Ancestor]));
        }
        targets
    }

    /// Without a table nothing is known of anything.
    fn blind(&self, error: &TableError) -> Vec<Observation> {
        let listed = self.settings.mount.iter().map(|spec| (&spec.path, Role::Base));
        let binds = self.settings.bind.iter().map(|bind| (&bind.hot, Role::Bind));
        let remembered = self.remembered.iter().map(|path| (path, Role::Remembered));
        let mut paths: BTreeMap<&PathBuf, BTreeSet<Role>> = BTreeMap::new();
        for (path, role) in listed.chain(binds).chain(remembered) {
            paths.entry(path).or_default().insert(role);
        }
        let unknown = |(path, roles): (&PathBuf, BTreeSet<Role>)| Observation {
            path: path.clone(),
            roles,
            verdict: Verdict::Unknown,
            errno: None,
            why: error.to_string(),
            layers: Vec::new(),
            probe: None,
            waiting_since: None,
            shared: Vec::new(),
            ground: Ground::NotSeen,
            beneath: None,
            bind: None,
        };
        paths.into_iter().map(unknown).collect()
    }
}

/// One path, with what is known of it before it is asked.
struct Target<'a> {
    path: PathBuf,
    roles: BTreeSet<Role>,
    walk: Walk<'a>,
    layers: Vec<Layer>,
    shared: Vec<PathBuf>,
}

impl<'a> Target<'a> {
    fn find(
        path: PathBuf,
        roles: BTreeSet<Role>,
        table: &'a MountTable,
        connections: &Connections,
        daemons: &Daemons,
    ) -> Self {
        let walk = table.walk(&path);
        let layer = |mount: &Mount| Layer {
            identity: Identity::from_table(mount, connections),
            fstype: mount.fstype.clone(),
            source: mount.source.clone(),
            root: mount.root.clone(),
            options: mount.options.clone(),
            holders: match Family::of(&mount.fstype) {
                Family::Fuse => daemons.of(mount.dev),
                Family::Network | Family::Other => Holders::Unknown("not FUSE"),
            },
            nested: Vec::new(),
        };
        let mut layers: Vec<Layer> = Vec::with_capacity(walk.layers.len());
        let mut above = Vec::new();
        for mount in walk.layers.iter().rev() {
            let inside = table.nested_in(mount.id).into_iter().filter(|m| !above.contains(&m.id));
            let nested: Vec<Nested> =
                inside.map(|m| Nested { path: m.path.clone(), layer: layer(m) }).collect();
            above.extend(nested.iter().map(|nested| nested.layer.identity.mount_id));
            above.push(mount.id);
            layers.push(Layer { nested, ..layer(mount) });
        }
        layers.reverse();
        if let Some(top) = layers.last_mut()
            && asks_nobody(&walk)
            && let Ok(opened) = identity::open_cached(&path).and_then(identity::describe)
            && opened.is(&top.identity)
        {
            top.identity.unique_id = opened.unique_id;
        }
        let mut shared = Vec::new();
        if let Some(top) = walk.layers.last() {
            let twins = table.iter().filter(|m| m.dev == top.dev && m.path != path);
            shared = twins.map(|m| m.path.clone()).collect();
            shared.sort();
            shared.dedup();
        }
        Self { path, roles, walk, layers, shared }
    }

    fn top(&self) -> Option<&Layer> {
        self.layers.last()
    }

    /// What its prober is asked; an automount trigger is left alone.
    fn request(&self) -> Option<Request> {
        let Some(top) = self.walk.layers.last() else {
            let triggers = self.walk.ancestors.iter().any(|mount| mount.path == self.path);
            return (!triggers).then(|| Request {
                path: self.path.clone(),
                key: ground_key(&self.path),
                owner: None,
                kill_late: false,
            });
        };
        let family = Family::of(&top.fstype);
        Some(Request {
            path: self.path.clone(),
            key: self.layers.last()?.identity.key(),
            owner: owner(top),
            kill_late: match family {
                Family::Fuse | Family::Other => false,
                Family::Network => true,
            },
        })
    }

    fn observe(
        self,
        settings: &Settings,
        bind: Option<BindLook>,
        response: Option<&Response>,
        blocked_by: Option<&Path>,
    ) -> Observation {
        let spec = |path: &Path| settings.mount.iter().find(|spec| spec.path == path);
        let expected = match &bind {
            Some(bind) => Expected::Bind(bind, spec(&bind.spec.base)),
            None => spec(&self.path).map_or(Expected::Anything, Expected::Mount),
        };
        let evidence = Evidence { top: self.layers.last(), expected, response, blocked_by };
        let Judgement { verdict, errno, why } = judge(&evidence);
        let (probe, waiting_since) = match response {
            Some(Response::Answered(_, took)) => (Some(*took), None),
            Some(Response::Waiting { since }) => (None, Some(*since)),
            Some(Response::Failed(_)) | None => (None, None),
        };
        let mut layers = self.layers;
        if let Some(Response::Answered(Look::Mount { opened, .. }, _)) = response
            && let Some(top) = layers.last_mut()
            && opened.is(&top.identity)
        {
            top.identity.unique_id = top.identity.unique_id.or(opened.unique_id);
        }
        let ground = if layers.is_empty() { ground(response) } else { Ground::NotSeen };
        Observation {
            path: self.path,
            roles: self.roles,
            verdict,
            errno,
            why,
            layers,
            probe,
            waiting_since: if verdict == Verdict::Hung || verdict == Verdict::WrongSource {
                waiting_since
            } else {
                None
            },
            shared: self.shared,
            ground,
            beneath: match response {
                Some(Response::Answered(Look::Mount { beneath, .. }, _)) => *beneath,
                Some(Response::Answered(Look::NoMount { entries, .. }, _)) => *entries,
                Some(_) | None => None,
            },
            bind,
        }
    }
}

/// Whether a look from the name cache at what is mounted there asks nobody. That is known of FUSE (measured on 6.18).
/// Though it is told not to, cifs asks its server where its cache is out of date, and 9p always; what others do nobody
/// has looked at. Which mounts those are the probers tell.
fn asks_nobody(walk: &Walk<'_>) -> bool {
    let is_fuse = walk.layers.last().is_some_and(|top| Family::of(&top.fstype) == Family::Fuse);
    is_fuse && walk.ancestors.iter().all(|above| !Family::of(&above.fstype).is_remote())
}

/// A prober's name for a path where nothing is mounted.
fn ground_key(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in path.as_os_str().as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("uw-{:012x}", hash & 0xffff_ffff_ffff)
}

/// Whose eyes a private FUSE mount (no `allow_other`) must be looked at with, when this process can
/// borrow them.
fn owner(top: &Mount) -> Option<(u32, u32)> {
    let number = |key: &str| top.super_option(key).and_then(|value| value.parse::<u32>().ok());
    let owner = number("user_id").zip(number("group_id"))?;
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let private = Family::of(&top.fstype) == Family::Fuse && !top.super_flag("allow_other");
    (private && own.0 == 0 && owner != own).then_some(owner)
}

fn ground(response: Option<&Response>) -> Ground {
    use rustix::io::Errno;
    match response {
        None => Ground::Automount,
        Some(Response::Answered(Look::NoMount { directory: true, .. }, _)) => Ground::Directory,
        Some(Response::Answered(Look::NoMount { directory: false, .. }, _)) => Ground::NoDirectory,
        Some(Response::Answered(Look::Unreachable { errno }, _)) => {
            match Errno::from_raw_os_error(*errno) {
                Errno::LOOP => Ground::Link,
                Errno::NOENT => Ground::Missing,
                Errno::NOTDIR => Ground::NoDirectory,
                _ => Ground::NotSeen,
            }
        }
        Some(
            Response::Answered(Look::Mount { .. } | Look::Doubled, _)
            | Response::Waiting { .. }
            | Response::Failed(_),
        ) => Ground::NotSeen,
    }
}
/// What stands at the deepest watched path that an output lies at or below; none where it lies below none.
#[must_use]
pub fn governing<'a>(observations: &'a [Observation], output: &Path) -> Option<&'a Observation> {
    let above = observations.iter().filter(|seen| output.starts_with(&seen.path));
    above.max_by_key(|seen| seen.path.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_of_a_fuse_mount_below_what_is_local_is_opened_by_this_process() {
        let line = |id: u32, parent: u32, path: &str, fstype: &str| {
            format!("{id} {parent} 0:{id} / {path} rw - {fstype} source rw\n")
        };
        for (above, fstype, opened) in [
            ("ext4", "fuse.sshfs", true),
            ("ext4", "fuse", true),
            ("ext4", "cifs", false),
            ("ext4", "9p", false),
            ("ext4", "nfs4", false),
            ("ext4", "overlay", false),
            ("ext4", "ocfs2", false),
            ("ext4", "tmpfs", false),
            ("cifs", "fuse.sshfs", false),
            ("fuse.sshfs", "fuse.sshfs", false),
        ] {
            let [root, above_it] = [line(1, 0, "/", "ext4"), line(2, 1, "/srv", above)];
            let text = root + &above_it + &line(3, 2, "/srv/box", fstype);
            let table = MountTable::new(mountinfo::parse(text.as_bytes()).unwrap());
            let walk = table.walk(Path::new("/srv/box"));
            assert_eq!(asks_nobody(&walk), opened, "{fstype} below {above}");
            assert!(!asks_nobody(&table.walk(Path::new("/srv/bare"))), "nothing is mounted there");
        }
    }
}
