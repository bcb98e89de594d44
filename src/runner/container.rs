//! A command in a container: the words for the engine, and taking away what is left. Inside is what its type needs and
//! nothing of ours: no store, no credential, no socket, no network that was not named.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Gid;

use crate::config::container::Container;
use crate::decide::attempts::{Class, Token};
use crate::probes::engine::{self, Ground, Start};
use crate::probes::witness;
use crate::sys::command::PROGRESS;
use crate::sys::text;

/// How long the engine may take to list, and to take one away.
const LIMIT: Duration = Duration::from_secs(15);
/// What the name of each of ours begins with.
const PREFIX: &str = "unwedge-";
/// Engines say so of themselves: they could not run it, or what is to be run is not in the image.
pub const ENGINE_FAILED: std::ops::RangeInclusive<i32> = 125..=127;

/// The name of the container of a command: whose it is stands in it, and which of a try's commands, as one whose client was
/// ended while the engine made it may be there when the next begins.
#[must_use]
pub fn name_of(worker: &str, token: Token, tier: usize) -> String {
    format!("{PREFIX}{}-{}-{}-{tier}", witness::helper_name(worker), token.id, token.nth)
}

/// Whose helper and which try a name tells.
fn of_name(name: &str) -> Option<(&str, Token)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let (key, id, nth) = (parts.next()?, parts.next()?, parts.next()?);
    Some((key, Token { id: id.parse().ok()?, nth: nth.parse().ok()? }))
}

/// A command as it is to be run.
#[derive(Debug)]
pub struct Command<'a> {
    /// The container.
    pub container: &'a Container,
    /// Whose the engine's containers are.
    pub ground: Ground,
    /// Whether the runner has made a cgroup for the try.
    pub has_cgroup: bool,
    /// Whether the descriptor for progress is where the engine hands it on.
    pub has_seat: bool,
    /// Its name.
    pub name: &'a str,
    /// The file that the engine writes once there is a container.
    pub begun: &'a Path,
    /// The try.
    pub token: Token,
    /// What tells its queue from others.
    pub mark: &'a str,
    /// What it works on.
    pub input: &'a Path,
    /// Where it writes.
    pub output: Option<&'a Path>,
    /// What it may not see, as `text::path` writes it.
    pub private: &'a [String],
    /// How much memory it may use, MiB.
    pub memory_mib: Option<u64>,
    /// Its variables, which the engine is to find in its own environment.
    pub variables: &'a [(OsString, OsString)],
    /// The command itself.
    pub argv: &'a [OsString],
}

impl Command<'_> {
    /// The words for the engine.
    ///
    /// # Errors
    /// A path that no engine understands, or a directory in which there is more than files of jobs; and what that is for the job.
    pub fn words(&self) -> Result<Vec<OsString>, (Class, String)> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mut words: Vec<OsString> = self.container.engine.iter().map(OsString::from).collect();
        let mut add = |all: &[&str]| words.extend(all.iter().map(OsString::from));
        add(&["run", "--rm", "--name", self.name, "--stop-timeout", "1", "--workdir", "/"]);
        words.extend([OsString::from("--cidfile"), self.begun.into()]);
        let mut add = |all: &[&str]| words.extend(all.iter().map(OsString::from));
        add(&["--pull", self.container.pull.name()]);
        add(&["--network", self.container.network.as_deref().unwrap_or("none")]);
        // it is the service user on the host in any case, and has no more rights inside than that has out there
        let Ground { is_users, start, is_labelled } = self.ground;
        // nobody's configuration makes it another
        add(&["--userns", "host"]);
        let groups = more_groups(gid);
        // nor does a program in the image that is another's
        add(&["--cap-drop", "all", "--security-opt", "no-new-privileges"]);
        if is_users {
            add(&["--user", "0:0"]);
            // it has no numbers of its own for them
            if !groups.is_empty() && start == Start::Crun {
                add(&["--group-add", "keep-groups"]);
            }
        } else {
            add(&["--user", &format!("{uid}:{gid}")]);
            for group in groups {
                add(&["--group-add", &group.to_string()]);
            }
        }
        if is_labelled {
            // a host's files are its own, and are not labelled anew
            add(&["--security-opt", "label=disable"]);
        }
        // the descriptor for progress is the first one after the standard streams; what stands before the engine may close it
        let is_itself = self.container.engine.first().is_some_and(|it| it.ends_with("/podman"));
        if start >= Start::Client && is_itself && self.has_seat {
            add(&["--preserve-fds", "1", "--env", PROGRESS]);
        }
        // where it stays in the cgroup of its try, that limits it, and ends all of it at once
        let stays = is_users && start == Start::Crun && self.has_cgroup;
        if stays {
            add(&["--cgroups", "disabled"]);
        }
        let (boot, place) = here().map_err(|why| (Class::Infrastructure, why))?;
        for (key, value) in [
            ("host", witness::host()),
            ("uid", uid.to_string()),
            ("queue", self.mark.to_owned()),
            ("job", self.token.id.to_string()),
            ("try", self.token.nth.to_string()),
            ("boot", boot),
            ("place", place),
        ] {
            add(&["--label", &format!("unwedge.{key}={value}")]);
        }
        if let Some(mib) = self.memory_mib.filter(|_| !stays) {
            add(&["--memory", &format!("{mib}m"), "--memory-swap", &format!("{mib}m")]);
        }
        // by name alone: anybody may read a command line, and a value may be a secret
        for (name, value) in self.variables {
            let mut word = name.clone();
            if engine::is_variable(name) {
                word.push("=");
                word.push(value);
            }
            words.extend([OsString::from("--env"), word]);
        }
        let from = self.input.parent().unwrap_or(Path::new("/"));
        let to = self.output.and_then(Path::parent);
        // where both lie in one directory only what is read can be kept from being written
        let read = if to == Some(from) { self.input } else { from };
        let mut mounts = vec![(read, ":ro")];
        mounts.extend(to.map(|to| (to, "")));
        // what lies in another comes after it
        mounts.sort_by_key(|(path, _)| path.components().count());
        for (path, more) in mounts {
            if path.as_os_str().as_encoded_bytes().contains(&b':') {
                let why = format!("{}: no engine takes a path with a colon", text::path(path));
                return Err((Class::Permanent, why));
            }
            // a file by itself is what it is
            if path != self.input
                && let Some(private) = seen_in(path, self.private)
            {
                let why = format!(
                    "its container would see {private}, which lies in or below {}: put what jobs read and write into directories of their own",
                    text::path(path)
                );
                return Err((Class::Permanent, why));
            }
            let mut word = path.as_os_str().to_owned();
            word.push(":");
            word.push(path);
            word.push(more);
            words.extend([OsString::from("--volume"), word]);
        }
        words.push(OsString::from(&self.container.image));
        words.extend(self.argv.iter().cloned());
        Ok(words)
    }
}

/// What of these lies in a directory or below it, wherever links lead.
fn seen_in<'a>(dir: &Path, private: &'a [String]) -> Option<&'a String> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let real_dir = real(dir);
    private.iter().find(|it| {
        text::path_of(it)
            .is_some_and(|path| path.starts_with(dir) || real(&path).starts_with(&real_dir))
    })
}

/// The groups of this process beside its own: what it may write to by one of them its commands may, too. That by which it speaks
/// to a daemon is none of theirs.
fn more_groups(own: u32) -> Vec<u32> {
    const SOCKET: &str = "/run/docker.sock";
    let of_daemon = std::fs::metadata(SOCKET).ok().map(|it| it.gid());
    let all = rustix::process::getgroups().unwrap_or_default().into_iter().map(Gid::as_raw);
    all.filter(|group| *group != own && Some(*group) != of_daemon).collect()
}

/// Takes a container away, whatever it does; one that is gone is none.
///
/// # Errors
/// It may still be there.
pub fn remove(engine: &[String], name: &str) -> Result<(), String> {
    let done =
        engine::run(engine, &["rm", "--force", name], LIMIT).map_err(|error| error.to_string())?;
    // an engine that has none of this name may call that an error
    if done.ok() || listed(engine, &[format!("name=^{name}$")])?.is_empty() {
        return Ok(());
    }
    Err(done.describe())
}

/// Takes away what is left of a job's tries up to this one; a next one never runs beside it, and may have begun already.
///
/// # Errors
/// Something may still be there.
pub fn remove_up_to(engine: &[String], mark: &str, last: Token) -> Result<(), String> {
    let of = [format!("label=unwedge.queue={mark}"), format!("label=unwedge.job={}", last.id)];
    let mut all = listed(engine, &of)?;
    all.retain(|name| of_name(name).is_some_and(|(_, token)| token.nth <= last.nth));
    remove_all(engine, all.iter())
}

/// Takes each away; that one cannot be keeps no other.
///
/// # Errors
/// The first that may still be there.
pub fn remove_all<'a>(
    engine: &[String],
    names: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let mut first = Ok(());
    for name in names {
        first = first.and(remove(engine, name));
    }
    first
}

/// Who looks for containers that nobody watches any more.
#[derive(Debug)]
pub struct Watch<'a> {
    /// The worker.
    pub worker: &'a str,
    /// Its tries that run.
    pub running: &'a BTreeSet<Token>,
    /// What was there when it looked before.
    pub before: &'a BTreeSet<String>,
}

/// Takes away the containers of this user's workers that are gone: whoever started one watches it, and is seen by its name.
/// Of its own those whose try is over, if they were there the time before: one that was begun since is none of them. What
/// is there now.
///
/// # Errors
/// What the engine could not do.
pub fn remove_orphans(engine: &[String], watch: &Watch<'_>) -> Result<BTreeSet<String>, String> {
    let all = of_this_host(engine, false)?;
    let own = witness::helper_name(watch.worker);
    let is_nobodys = |name: &&String| {
        of_name(name).is_some_and(|(key, token)| {
            let is_over = watch.before.contains(*name) && !watch.running.contains(&token);
            if key == own { is_over } else { !witness::is_called(key) }
        })
    };
    remove_all(engine, all.iter().filter(is_nobodys))?;
    Ok(all)
}

/// The containers of workers of this host that are gone: this user's, and for root everybody's.
///
/// # Errors
/// What the engine could not do.
pub fn orphans(engine: &[String]) -> Result<Vec<String>, String> {
    let all = of_this_host(engine, rustix::process::geteuid().is_root())?;
    let is_nobodys = |name: &String| of_name(name).is_some_and(|(key, _)| !witness::is_called(key));
    Ok(all.into_iter().filter(is_nobodys).collect())
}

/// Whether a container is of this worker, by its name.
#[must_use]
pub fn is_of(name: &str, worker: &str) -> bool {
    of_name(name).is_some_and(|(key, _)| key == witness::helper_name(worker))
}

/// Those of workers of this host. Of this boot only those of this pid namespace: the workers of another one are not seen from
/// here, and may well be at work.
fn of_this_host(engine: &[String], of_everybody: bool) -> Result<BTreeSet<String>, String> {
    let mut those =
        vec!["name=unwedge-uj".to_owned(), format!("label=unwedge.host={}", witness::host())];
    if !of_everybody {
        those.push(format!("label=unwedge.uid={}", rustix::process::geteuid().as_raw()));
    }
    let all = listed(engine, &those)?;
    if all.is_empty() {
        return Ok(all);
    }
    let (boot, place) = here()?;
    let labelled = |label: String| {
        let those: Vec<String> = those.iter().cloned().chain([label]).collect();
        listed(engine, &those)
    };
    let of_boot = labelled(format!("label=unwedge.boot={boot}"))?;
    let own = labelled(format!("label=unwedge.place={place}"))?;
    Ok(all.into_iter().filter(|name| own.contains(name) || !of_boot.contains(name)).collect())
}

/// This boot, and which pid namespace of it.
fn here() -> Result<(String, String), String> {
    let place = witness::place().map_err(|error| format!("/proc: {error}"))?;
    let boot = place.split(':').next().unwrap_or_default().to_owned();
    Ok((boot, place))
}

/// Names of the containers that are so, ended ones too.
fn listed(engine: &[String], filters: &[String]) -> Result<BTreeSet<String>, String> {
    let mut words = vec!["ps", "--all", "--format", "{{.Names}}"];
    words.extend(filters.iter().flat_map(|it| ["--filter", it]));
    let done = engine::run(engine, &words, LIMIT).map_err(|error| error.to_string())?;
    if !done.ok() {
        return Err(done.describe());
    }
    Ok(String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::container::Pull;

    /// Of root, behind a daemon.
    const ROOT: Ground = Ground { is_users: false, start: Start::Daemon, is_labelled: false };

    fn words(input: &str, output: Option<&str>) -> Result<String, String> {
        words_on(ROOT, input, output)
    }

    fn words_on(ground: Ground, input: &str, output: Option<&str>) -> Result<String, String> {
        words_of(&a_container(), ground, input, output)
    }

    fn a_container() -> Container {
        Container {
            engine: vec!["/usr/bin/podman".to_owned(), "--root".to_owned(), "/r".to_owned()],
            image: "tools:1".to_owned(),
            network: None,
            pull: Pull::Never,
        }
    }

    fn words_of(
        container: &Container,
        ground: Ground,
        input: &str,
        output: Option<&str>,
    ) -> Result<String, String> {
        let command = Command {
            container,
            ground,
            has_cgroup: true,
            has_seat: true,
            name: "unwedge-x-7-1",
            begun: Path::new("/run/begun"),
            token: Token { id: 7, nth: 1 },
            mark: "m",
            input: Path::new(input),
            output: output.map(Path::new),
            private: &["/keys/q/queue.db".to_owned()],
            memory_mib: Some(32),
            variables: &[("A".into(), "b c".into()), ("HOME".into(), "/h".into())],
            argv: &["/bin/cp".into(), input.into()],
        };
        let words = command.words().map_err(|(class, why)| format!("{class:?}: {why}"))?;
        Ok(words.iter().map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_container_has_what_it_reads_and_writes_and_nothing_else() {
        let said = words("/srv/in/a", Some("/srv/out/a")).unwrap();
        assert!(
            said.starts_with("/usr/bin/podman|--root|/r|run|--rm|--name|unwedge-x-7-1|"),
            "{said}"
        );
        assert!(said.contains("|--network|none|") && said.contains("|--pull|never|"), "{said}");
        assert!(said.ends_with("|--memory|32m|--memory-swap|32m|--env|A|--env|HOME=/h|--volume|/srv/in:/srv/in:ro|--volume|/srv/out:/srv/out|tools:1|/bin/cp|/srv/in/a"), "{said}");
        assert_eq!(said.matches("--volume").count(), 2);
        let said = words("/srv/a", Some("/srv/b")).unwrap();
        assert!(said.contains("|--volume|/srv:/srv|--volume|/srv/a:/srv/a:ro|"), "{said}");
        let said = words("/srv/a", Some("/srv/out/b")).unwrap();
        assert!(said.contains("|--volume|/srv:/srv:ro|--volume|/srv/out:/srv/out|"), "{said}");
        let network = Some("lan".to_owned());
        let other = Container { network, pull: Pull::Missing, ..a_container() };
        let said = words_of(&other, ROOT, "/srv/in/a", None).unwrap();
        assert!(said.contains("|--network|lan|") && said.contains("|--pull|missing|"), "{said}");
        assert!(words("/srv/a:b/c", None).unwrap_err().contains("colon"));
    }

    #[test]
    fn a_directory_in_which_there_is_more_than_files_of_jobs_is_not_shown() {
        for (input, output, sees) in [
            ("/keys/a", None, true),
            ("/keys/q/a", None, true),
            ("/srv/a", Some("/keys/a.txt"), true),
            ("/keys/q/a", Some("/keys/q/a.txt"), true),
            ("/keys/other/a", None, false),
            ("/a/b", Some("/keys/q2/a"), false),
        ] {
            let said = words(input, output);
            assert_eq!(said.is_err(), sees, "{input} {output:?}: {said:?}");
            if let Err(why) = said {
                assert!(
                    why.contains("Permanent: its container would see /keys/q/queue.db"),
                    "{why}"
                );
            }
        }
        // by another name
        let dir = tempfile::tempdir().unwrap();
        let (own, link) = (dir.path().join("own"), dir.path().join("link"));
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let private = [text::path(&own.join("queue.db"))];
        std::fs::write(own.join("queue.db"), "").unwrap();
        assert!(
            seen_in(&link, &private).is_some()
                && seen_in(&dir.path().join("x"), &private).is_none()
        );
    }

    #[test]
    fn it_is_the_service_user_on_the_host_whosever_the_engine_is() {
        let own = rustix::process::geteuid().as_raw();
        let said = words_on(ROOT, "/srv/a", None).unwrap();
        assert!(
            said.contains(&format!("|--user|{own}:")) && said.contains("|--cap-drop|all|"),
            "{said}"
        );
        assert!(said.contains("|--security-opt|no-new-privileges|"), "{said}");
        for stays in [false, true] {
            let start = if stays { Start::Crun } else { Start::Daemon };
            let ground = Ground { is_users: true, start, is_labelled: stays };
            let said = words_on(ground, "/srv/a", None).unwrap();
            assert!(
                said.contains("|--cap-drop|all|--security-opt|no-new-privileges|--user|0:0|"),
                "{said}"
            );
            assert_eq!(said.contains("|--cgroups|disabled|"), stays, "{said}");
            assert_eq!(said.contains("|--memory|"), !stays, "{said}");
            assert_eq!(said.contains("|--preserve-fds|1|"), stays, "{said}");
            assert_eq!(said.contains("|--security-opt|label=disable|"), stays, "{said}");
            assert!(said.contains("|--userns|host|"), "{said}");
        }
    }

    #[test]
    fn a_name_tells_whose_it_is_and_of_which_try() {
        let token = Token { id: 7, nth: 2 };
        let name = name_of("boot:1:2", token, 0);
        assert_eq!(of_name(&name), Some((witness::helper_name("boot:1:2").as_str(), token)));
        assert_ne!(name, name_of("boot:1:2", token, 1));
        assert!(is_of(&name, "boot:1:2") && !is_of(&name, "boot:1:3") && !is_of(&name, "boot:1"));
        assert_eq!(of_name("x-unwedge-uj-7-2-0"), None);
        assert_eq!(of_name("unwedge-uj-x"), None);
    }
}
