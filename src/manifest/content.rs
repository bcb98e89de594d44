//! What an installation puts onto a host with these settings: programs, units, pages, and where the settings differ
//! from what the units are written for, a drop-in that says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use super::{OPERATOR, RunsAs, Tool, queue_dir};
use crate::config::{Host, Services, Settings, secret};

/// What a file of a person's own may never be called: drop-ins that the installer writes begin so.
pub const DROP_IN_PREFIX: &str = "50-unwedge-";
/// Where drop-ins and units of this very host are.
const LOCAL_UNITS: &str = "/etc/systemd/system";
/// Where the directories of this very host are named, if they are not those that are shipped.
const LOCAL_DIRECTORIES: &str = "/etc/tmpfiles.d/unwedge.conf";
/// How much longer than its round a unit waits until it ends it.
const UNIT_GRACE: Duration = Duration::from_secs(10);
/// How much longer than its jobs' time to end the runner's unit waits until it ends it: what helpers take.
const RUNNER_GRACE: Duration = Duration::from_secs(15);

/// Whether programs and pages below `prefix` are a package's, which alone puts them there and takes them away.
#[must_use]
pub fn is_packaged(prefix: &Path) -> bool {
    prefix.join("lib/unwedge/packaged").is_file()
}

/// One file that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where.
    pub path: PathBuf,
    /// Its mode, when it is made.
    pub mode: u32,
    /// What is in it.
    pub body: Body,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// This.
    Text(Vec<u8>),
    /// The same as in that one, a program.
    CopyOf(PathBuf),
}

impl Content {
    /// One with this text in it.
    #[must_use]
    pub fn text(path: PathBuf, text: impl Into<Vec<u8>>) -> Self {
        Self { path, mode: 0o644, body: Body::Text(text.into()) }
    }
}

/// The programs of these tools and the operator's, from the directory `from`.
#[must_use]
pub fn programs(tools: &[&'static Tool], from: &Path, prefix: &Path) -> Vec<Content> {
    let names = tools.iter().map(|tool| tool.program).chain([OPERATOR]);
    names
        .map(|name| Content {
            path: prefix.join("bin").join(name),
            mode: 0o755,
            body: Body::CopyOf(from.join(name)),
        })
        .collect()
}

/// Units, pages and the like, as they are below `prefix`; units only where there is systemd.
#[must_use]
pub fn texts(tools: &[&'static Tool], services: Services, prefix: &Path) -> Vec<Content> {
    files::of(tools)
        .filter(|file| services == Services::Systemd || !file.place.is_of_systemd())
        .map(|file| Content {
            mode: file.mode(),
            ..Content::text(file.path(prefix), file.text(prefix))
        })
        .collect()
}

/// What is this host's own: drop-ins and directories for settings that differ from what the units are written for,
/// and the drop-ins that were asked for.
#[must_use]
pub fn local(tools: &[&'static Tool], settings: &Settings) -> Vec<Content> {
    if settings.host.services == Services::Process {
        return Vec::new();
    }
    let mut local: Vec<Content> = tools
        .iter()
        .filter_map(|tool| {
            let text = overrides(tool, settings)?;
            let dir = Path::new(LOCAL_UNITS).join(format!("{}.d", tool.service()));
            Some(Content::text(dir.join(format!("{DROP_IN_PREFIX}settings.conf")), text))
        })
        .collect();
    let directories = directories(&settings.host);
    if directories != files::DIRECTORIES[0].as_shipped() {
        local.push(Content::text(PathBuf::from(LOCAL_DIRECTORIES), directories));
    }
    local
}

/// The drop-in of the settings that a tool's service is not written for.
fn overrides(tool: &Tool, settings: &Settings) -> Option<String> {
    let (host, usual) = (&settings.host, Host::default());
    let mut lines = Vec::new();
    if let Some(deadline) = deadline(tool, settings) {
        let usual = time_of_unit(tool, "TimeoutStartSec=");
        if usual != Some(deadline + UNIT_GRACE) {
            lines.push(format!("TimeoutStartSec={}", (deadline + UNIT_GRACE).as_secs()));
        }
    }
    if let ("runner", Some(jobs)) = (tool.name, &settings.jobs) {
        let stop = jobs.drain + jobs.grace + RUNNER_GRACE;
        if time_of_unit(tool, "TimeoutStopSec=") != Some(stop) {
            lines.push(format!("TimeoutStopSec={}", stop.as_secs()));
        }
    }
    if tool.runs_as == RunsAs::ServiceUser {
        if host.user != usual.user {
            lines.push(format!("User={0}\nGroup={0}", host.user));
        }
        if host.state_dir != usual.state_dir {
            lines.push(format!("ReadWritePaths={}", word("-", &queue_dir(host))));
        }
    }
    // with its path: older ones than systemd 252 look for none by the name alone; and with a value for the case that there
    // is no such file, which else keeps the whole unit from being started (systemd.exec(5))
    let given = |name: &str| {
        let (dir, none) = (secret::CREDENTIALS, secret::NONE);
        format!("LoadCredential={name}:{dir}/{name}\nSetCredential={name}:{none}")
    };
    if let ("notify", Some(notify)) = (tool.name, &settings.notify) {
        lines.extend(notify.credentials().map(given));
    }
    if let "jobs" | "runner" = tool.name {
        let named = settings.bucket.iter().filter_map(|it| it.secret.credential());
        lines.extend(named.map(given));
    }
    let closed = unit_of(tool).is_some_and(|text| text.contains("ReadWritePaths="));
    if closed && host.textfile_dir != usual.textfile_dir {
        lines.push(format!("ReadWritePaths={}", word("-", &host.textfile_dir)));
    }
    if lines.is_empty() {
        return None;
    }
    let head =
        "# Written by `unwedge install` from the configuration, and again when that has changed.";
    Some(format!("{head}\n[Service]\n{}\n", lines.join("\n")))
}

/// How long the configuration lets a round of a tool take.
fn deadline(tool: &Tool, settings: &Settings) -> Option<Duration> {
    match tool.name {
        "mounts" | "binds" => Some(settings.mounts.deadline),
        "worker" => settings.worker.as_ref().map(|worker| worker.deadline),
        _ => None,
    }
}

/// How long a round of a tool takes at most; a minute where the configuration says nothing of it.
#[must_use]
pub fn longest_round(tool: &Tool, settings: &Settings) -> Duration {
    deadline(tool, settings).unwrap_or(Duration::from_secs(60))
}

/// A time of its service, in seconds as it is shipped: `TimeoutStartSec=`.
fn time_of_unit(tool: &Tool, key: &str) -> Option<Duration> {
    let text = unit_of(tool)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.parse().ok().map(Duration::from_secs)
}

/// Its service, as it is shipped.
#[must_use]
pub fn unit_of(tool: &Tool) -> Option<&'static str> {
    let service = tool.service();
    files::UNITS.iter().find(|file| file.name == service).map(files::File::as_shipped)
}

/// The directories, with this host's paths and user.
#[must_use]
pub fn directories(host: &Host) -> String {
    let usual = Host::default();
    let words = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for word in &mut words {
            let path = Path::new(word.as_str());
            if *word == usual.user {
                word.clone_from(&host.user);
            } else if path == usual.textfile_dir {
                *word = self::word("", &host.textfile_dir);
            } else if path == usual.sentinel_dir {
                *word = self::word("", &host.sentinel_dir);
            } else if let Ok(below) = path.strip_prefix(&usual.state_dir) {
                *word = self::word("", &host.state_dir.join(below));
            }
        }
        words.join(" ")
    };
    files::DIRECTORIES[0]
        .as_shipped()
        .lines()
        .map(|line| if line.starts_with('#') { line.to_owned() } else { words(line) })
        .map(|line| line + "\n")
        .collect()
}

/// The file that names them, for systemd-tmpfiles.
#[must_use]
pub fn directories_file(host: &Host, prefix: &Path) -> PathBuf {
    if directories(host) == files::DIRECTORIES[0].as_shipped() {
        files::DIRECTORIES[0].path(prefix)
    } else {
        PathBuf::from(LOCAL_DIRECTORIES)
    }
}

/// A path as systemd's files have it: `%` begins a specifier there, and a blank ends a word.
fn word(before: &str, path: &Path) -> String {
    // without the slash that joining an empty path leaves
    let path: PathBuf = path.components().collect();
    let word = format!("{before}{}", path.to_string_lossy()).replace('%', "%%");
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word }
}

/// How long the worker may take to stop, so that a whole repair has twice as long; systemd's own 90 s where that is
/// enough.
#[must_use]
pub fn stop_limit(settings: &Settings) -> Duration {
    Duration::from_secs(90).min(settings.mounts.deadline / 2)
}

/// A drop-in for a unit of this host, of those that are shipped as examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropIn {
    /// The worker starts only once every bind is in place.
    WorkerAfterBinds,
    /// At boot the worker starts after the units of its storage.
    WorkerAfterStorage,
    /// The worker is down before a repair that stops it has to end.
    WorkerStopLimit,
    /// The binds come after the storage that they show.
    BindsAfterStorage,
    /// A round is started when a unit that mounts fails.
    MountUnitOnFailure,
    /// The runner may use docker's engine, which makes it as mighty as root.
    RunnerDocker,
}

impl DropIn {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WorkerAfterBinds,
        Self::WorkerAfterStorage,
        Self::WorkerStopLimit,
        Self::BindsAfterStorage,
        Self::MountUnitOnFailure,
        Self::RunnerDocker,
    ];

    /// Its name, and that of the example.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerAfterBinds => "worker-after-binds",
            Self::WorkerAfterStorage => "worker-after-storage",
            Self::WorkerStopLimit => "worker-stop-limit",
            Self::BindsAfterStorage => "binds-after-storage",
            Self::MountUnitOnFailure => "mount-unit-on-failure",
            Self::RunnerDocker => "runner-docker",
        }
    }

    /// Where it goes on this host, and what is in it, by the units that the configuration names.
    #[must_use]
    pub fn contents(self, settings: &Settings) -> Vec<Content> {
        let storage: Vec<&str> =
            settings.mount.iter().filter_map(|mount| mount.unit.as_deref()).collect();
        let worker = settings.worker.iter().filter_map(|worker| worker.unit.as_deref());
        let (units, text): (Vec<&str>, String) = match self {
            Self::WorkerAfterBinds => (
                worker.collect(),
                "[Unit]\nRequires=unwedge-binds.service\nAfter=unwedge-binds.service\n".to_owned(),
            ),
            Self::WorkerStopLimit => (
                worker.collect(),
                format!("[Service]\nTimeoutStopSec={}\n", stop_limit(settings).as_secs()),
            ),
            Self::WorkerAfterStorage | Self::BindsAfterStorage if storage.is_empty() => {
                (Vec::new(), String::new())
            }
            Self::WorkerAfterStorage => {
                (worker.collect(), format!("[Unit]\nAfter={}\n", storage.join(" ")))
            }
            Self::BindsAfterStorage => {
                let names = storage.join(" ");
                (vec!["unwedge-binds.service"], format!("[Unit]\nWants={names}\nAfter={names}\n"))
            }
            Self::MountUnitOnFailure => {
                (storage, "[Unit]\nOnFailure=unwedge-mounts.service\n".to_owned())
            }
            Self::RunnerDocker => (
                settings.jobs.iter().map(|_| "unwedge-runner.service").collect(),
                "[Service]\nSupplementaryGroups=docker\n".to_owned(),
            ),
        };
        let name = self.name();
        let head = format!(
            "# Written by `unwedge install --drop-ins {name}`; `unwedge uninstall` takes it away."
        );
        let path = |unit: &str| {
            Path::new(LOCAL_UNITS).join(format!("{unit}.d/{DROP_IN_PREFIX}{name}.conf"))
        };
        units.into_iter().map(|unit| Content::text(path(unit), format!("{head}\n{text}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::manifest::{BINDS, CANARY, JOBS, MOUNTS, RUNNER, TOOLS, WORKER};

    fn settings(text: &str) -> Settings {
        config::from_str(text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[track_caller]
    fn drop_in(tool: &Tool, text: &str, expected: Option<&str>) {
        let text = overrides(tool, &settings(text));
        assert_eq!(
            text.as_ref().and_then(|text| text.split_once("[Service]\n")).map(|it| it.1),
            expected
        );
    }

    #[test]
    fn at_the_defaults_nothing_is_this_hosts_own() {
        assert_eq!(local(&TOOLS, &settings("")), []);
        let worker = "[worker]\nunit = \"w.service\"\n";
        assert_eq!(local(&TOOLS, &settings(worker)), []);
        assert_eq!(local(&TOOLS, &settings("[jobs]\n")), []);
    }

    #[test]
    fn what_differs_is_told_to_the_units_that_it_concerns() {
        let long = "[mounts]\ndeadline = \"10m\"\n";
        drop_in(&MOUNTS, long, Some("TimeoutStartSec=610\n"));
        drop_in(&BINDS, long, Some("TimeoutStartSec=610\n"));
        drop_in(&WORKER, long, None);
        let drain = "[jobs]\ndrain = \"10m\"\ngrace = \"1m\"\n";
        drop_in(&RUNNER, drain, Some("TimeoutStopSec=675\n"));
        drop_in(&JOBS, drain, None);
        let dirs = "[host]\nuser = \"jobs\"\ntextfile_dir = \"/srv/a b%\"\n";
        let expected = "User=jobs\nGroup=jobs\nReadWritePaths=\"-/srv/a b%%\"\n";
        drop_in(&JOBS, dirs, Some(expected));
        drop_in(&CANARY, dirs, Some("ReadWritePaths=\"-/srv/a b%%\"\n"));
        drop_in(&MOUNTS, dirs, None);
    }

    #[test]
    fn directories_are_those_of_the_configuration() {
        let host = settings(
            "[host]\nuser = \"jobs\"\nstate_dir = \"/srv/state\"\ntextfile_dir = \"/srv/prom\"\n",
        )
        .host;
        let text = directories(&host);
        for line in [
            "d /srv/state 0755 root root -",
            "d /srv/state/queue 0755 jobs jobs -",
            "d /srv/prom 3775 root jobs -",
            "d /etc/unwedge/sentinels 0755 root root -",
        ] {
            assert!(
                text.lines().any(|it| it.split_whitespace().eq(line.split_whitespace())),
                "{line}: {text}"
            );
        }
    }

    #[test]
    fn a_worker_has_half_of_the_deadline_to_stop_and_never_more_than_is_usual() {
        for (deadline, limit) in [("179s", 89), ("180s", 90), ("4m", 90)] {
            let text =
                format!("[mounts]\ndeadline = \"{deadline}\"\n[worker]\nunit = \"w.service\"\n");
            let [content] = &DropIn::WorkerStopLimit.contents(&settings(&text))[..] else {
                panic!()
            };
            let Body::Text(text) = &content.body else { panic!("a drop-in is text") };
            let expected = format!("\n[Service]\nTimeoutStopSec={limit}\n");
            assert!(String::from_utf8_lossy(text).ends_with(&expected), "{deadline}");
        }
    }

    #[test]
    fn a_drop_in_goes_to_the_units_that_the_configuration_names() {
        let text = "[worker]\nunit = \"w.service\"\n[[mount]]\npath = \"/srv/a\"\nunit = \"a.service\"\n\
                    [[mount]]\npath = \"/srv/b\"\nunit = \"b.service\"\n[[mount]]\npath = \"/srv/c\"\n";
        let places = |drop_in: DropIn, text: &str| -> Vec<String> {
            let contents = drop_in.contents(&settings(text));
            contents.iter().map(|it| it.path.display().to_string()).collect()
        };
        let dir = "/etc/systemd/system";
        assert_eq!(
            places(DropIn::WorkerAfterBinds, text),
            [format!("{dir}/w.service.d/50-unwedge-worker-after-binds.conf")]
        );
        assert_eq!(
            places(DropIn::BindsAfterStorage, text),
            [format!("{dir}/unwedge-binds.service.d/50-unwedge-binds-after-storage.conf")]
        );
        assert_eq!(places(DropIn::MountUnitOnFailure, text).len(), 2);
        assert_eq!(
            places(DropIn::RunnerDocker, "[jobs]\n"),
            [format!("{dir}/unwedge-runner.service.d/50-unwedge-runner-docker.conf")]
        );
        assert_eq!(places(DropIn::WorkerAfterStorage, "[worker]\nunit = \"w.service\"\n").len(), 0);
        for drop_in in DropIn::ALL {
            assert_eq!(places(drop_in, ""), [] as [String; 0]);
            let example = format!("{}.conf", drop_in.name());
            let example = files::DROP_INS.iter().find(|file| file.name == example).unwrap();
            let example = example.as_shipped();
            for content in drop_in.contents(&settings(text)) {
                let Body::Text(text) = content.body else { panic!("a drop-in is text") };
                let text = String::from_utf8(text).unwrap();
                // which units those are is each host's own
                let said = |line: &str| line.split("storagebox.service").next().unwrap().to_owned();
                let said: Vec<String> = example.lines().map(said).collect();
                for line in text.lines().filter(|line| !line.starts_with('#')) {
                    let is_said = |said: &String| !said.is_empty() && line.starts_with(said);
                    assert!(said.iter().any(is_said), "{line} is not what the example says");
                }
            }
        }
    }
}
