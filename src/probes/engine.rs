//! Whether an engine of containers answers, and whose its containers are as the host sees them: the same number is another
//! user inside of an engine of root and inside of one that a user has for itself.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sys::{command, text, user};

/// How long it may take to tell of itself, and which images it has.
pub const ASK_LIMIT: Duration = Duration::from_secs(10);

/// What the engine needs of this program's environment; nothing of it is handed on into the container.
pub const VARIABLES: [&str; 10] = [
    "HOME",
    "PATH",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
];

/// Whose an engine's containers are, and how near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// Whether they are the user's who runs the engine, which is root inside and nobody else. Of an engine of root a number
    /// inside is the same user outside.
    pub is_users: bool,
    /// Who starts them.
    pub start: Start,
    /// Whether the host labels its files, and keeps containers from those that are not labelled as theirs (`SELinux`).
    pub is_labelled: bool,
}

/// Who starts an engine's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// A daemon.
    Daemon,
    /// The client itself: they can have its descriptors.
    Client,
    /// The client by crun, which alone lets them stay in its cgroup, too.
    Crun,
}

/// Asks an engine for it.
///
/// # Errors
/// It does not answer, or not so that it is understood.
pub fn ask(engine: &[String]) -> Result<Ground, String> {
    let done = run(engine, &["info", "--format", "{{json .}}"], ASK_LIMIT);
    let done = done.map_err(|error| error.to_string())?;
    let with_mend = |why: &str| match mended_by(why) {
        Some(mend) => format!("{why}; {mend}"),
        None => why.to_owned(),
    };
    if !done.ok() {
        return Err(with_mend(&done.describe()));
    }
    let odd = || format!("`info` is not understood: {}", text::tail(&done.stdout, 200));
    let told: Value = serde_json::from_slice(&done.stdout).map_err(|_| odd())?;
    // docker exits with 0 also where nobody answered it
    if let Some([Value::String(why), ..]) = told.pointer("/ServerErrors").and_then(as_list) {
        return Err(with_mend(why));
    }
    ground(&told).ok_or_else(odd)
}

/// Whether an engine has an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// It has.
    Here,
    /// It says that it has not.
    Missing,
    /// Nobody knows, and why.
    Unknown(String),
}

/// What an engine is found to be that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose its containers are.
    pub ground: Ground,
    /// Of each image that it must have by itself: whether it has it.
    pub images: BTreeMap<String, Image>,
}

/// Asks an engine whether it has an image; no registry is asked.
#[must_use]
pub fn image(engine: &[String], image: &str, limit: Duration) -> Image {
    match run(engine, &["image", "inspect", "--format", "{{.Id}}", image], limit) {
        Ok(done) if done.ok() => Image::Here,
        Ok(done) if says_missing(&done.describe()) => Image::Missing,
        Ok(done) => Image::Unknown(done.describe()),
        Err(failure) => Image::Unknown(failure.to_string()),
    }
}

/// By their exit codes alone one that is not there is not told from an engine that fails.
fn says_missing(why: &str) -> bool {
    let why = why.to_lowercase();
    ["no such image", "image not known"].iter().any(|words| why.contains(words))
}

/// What fetches an image for whoever runs commands in it as the caller does: an engine without a daemon of root keeps what it
/// has where its user and that user's own directories say.
#[must_use]
pub fn pull(engine: &[String], image: &str, ground: Ground) -> String {
    if !ground.is_users && ground.start == Start::Daemon {
        return pull_here(engine, image);
    }
    let of = |name: &&str| Some((OsStr::new(name).to_owned(), std::env::var_os(name)?));
    let all: Vec<_> = VARIABLES.iter().filter(|it| **it != "PATH").filter_map(of).collect();
    pull_as(&user::own(), &all, engine, image)
}

/// What fetches it for whoever asks.
#[must_use]
pub fn pull_here(engine: &[String], image: &str) -> String {
    let words: Vec<String> =
        engine.iter().map(String::as_str).chain(["pull", image]).map(text::shell_word).collect();
    words.join(" ")
}

fn pull_as(
    user: &str,
    variables: &[(OsString, OsString)],
    engine: &[String],
    image: &str,
) -> String {
    let variables = variables.iter().map(|(name, value)| {
        format!("{}={} ", text::name(name), text::shell_word(&text::name(value)))
    });
    format!(
        "cd / && sudo -u {} env {}{}",
        text::shell_word(user),
        variables.collect::<String>(),
        pull_here(engine, image)
    )
}

/// What mends what an engine complains of, where that is known by its words.
fn mended_by(why: &str) -> Option<&'static str> {
    let all = [
        (
            "permission denied while trying to connect to the ",
            "`unwedge install --drop-ins runner-docker` lets the runner's service use it",
        ),
        ("Cannot connect to the Docker daemon", "`systemctl start docker` starts it"),
        // as docker 29 says it
        ("failed to connect to the docker API", "`systemctl start docker` starts it"),
        (
            "newuidmap",
            "under the runner's unit nothing gains rights: take its user out of /etc/subuid and /etc/subgid",
        ),
        (
            "XDG_RUNTIME_DIR",
            "an engine of one user keeps there what runs: the runner's unit sets it",
        ),
    ];
    all.into_iter().find(|(words, _)| why.contains(words)).map(|(_, mend)| mend)
}

/// What installs an engine that is not here.
#[must_use]
pub fn install(program: &str) -> Option<&'static str> {
    match program.rsplit('/').next() {
        Some("podman") => Some("apt-get install podman"),
        Some("docker") => Some("apt-get install docker.io"),
        _ => None,
    }
}

fn as_list(value: &Value) -> Option<&[Value]> {
    value.as_array().map(Vec::as_slice)
}

/// Podman says it in a word of its own, docker among what is for its safety.
fn ground(told: &Value) -> Option<Ground> {
    if let Some(is_users) = told.pointer("/host/security/rootless").and_then(Value::as_bool) {
        let is = |path: &str| told.pointer(path).and_then(Value::as_bool);
        let runtime = told.pointer("/host/ociRuntime/name").and_then(Value::as_str);
        let start = match (is("/host/serviceIsRemote"), runtime) {
            (Some(false), Some("crun" | "krun")) => Start::Crun,
            (Some(false), _) => Start::Client,
            (_, _) => Start::Daemon,
        };
        let is_labelled = is("/host/security/selinuxEnabled") == Some(true);
        return Some(Ground { is_users, start, is_labelled });
    }
    // of no server at all it has no version
    told.pointer("/ServerVersion").and_then(Value::as_str).filter(|it| !it.is_empty())?;
    let all = told.pointer("/SecurityOptions").and_then(as_list).unwrap_or_default();
    let has = |name: &str| all.iter().any(|it| it.as_str().is_some_and(|it| it.contains(name)));
    let (is_users, is_labelled) = (has("name=rootless"), has("name=selinux"));
    Some(Ground { is_users, start: Start::Daemon, is_labelled })
}

/// Has the engine do something.
///
/// # Errors
/// See [`command::Failure`].
pub fn run(
    engine: &[String],
    words: &[&str],
    limit: Duration,
) -> Result<command::Finished, command::Failure> {
    let mut argv: Vec<OsString> = engine.iter().map(OsString::from).collect();
    argv.extend(words.iter().map(OsString::from));
    command::run_with(&argv, &variables(), limit)
}

/// What the engine finds in its environment.
#[must_use]
pub fn variables() -> Vec<(OsString, OsString)> {
    let of = |name: &&str| Some((OsStr::new(name).to_owned(), std::env::var_os(name)?));
    VARIABLES.iter().filter_map(of).collect()
}

/// Whether it is one that the engine itself goes by.
#[must_use]
pub fn is_variable(name: &OsStr) -> bool {
    VARIABLES.iter().any(|it| name == *it)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_engine_says_in_its_own_words_whose_its_containers_are() {
        let podman = |rootless: bool, remote: bool, runtime: &str, selinux: bool| {
            json!({"host": {"serviceIsRemote": remote, "ociRuntime": {"name": runtime},
                "security": {"rootless": rootless, "selinuxEnabled": selinux}}})
        };
        let docker = |all: Value| json!({"ServerVersion": "20.10.24", "SecurityOptions": all});
        let as_is = |is_users, start, is_labelled| Some(Ground { is_users, start, is_labelled });
        for (told, expected) in [
            (podman(false, false, "crun", false), as_is(false, Start::Crun, false)),
            (podman(false, true, "crun", true), as_is(false, Start::Daemon, true)),
            (podman(true, false, "crun", false), as_is(true, Start::Crun, false)),
            (podman(true, false, "runc", true), as_is(true, Start::Client, true)),
            (podman(true, true, "crun", false), as_is(true, Start::Daemon, false)),
            (docker(json!(["name=seccomp,profile=default"])), as_is(false, Start::Daemon, false)),
            (docker(json!(["name=rootless", "name=selinux"])), as_is(true, Start::Daemon, true)),
            (docker(Value::Null), as_is(false, Start::Daemon, false)),
            // a client that reached no server, and what is no engine
            (json!({"ServerVersion": "", "SecurityOptions": null}), None),
            (json!({"host": {"security": {}}}), None),
        ] {
            assert_eq!(ground(&told), expected, "{told}");
        }
    }

    #[test]
    fn an_engine_that_cannot_be_asked_is_not_guessed_at() {
        let engine = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert!(ask(&engine(&["/nowhere/podman"])).unwrap_err().contains("/nowhere/podman"));
        assert!(ask(&engine(&["/bin/false"])).unwrap_err().contains("exit 1"));
        assert!(ask(&engine(&["/bin/echo"])).unwrap_err().contains("not understood"));
    }

    #[test]
    fn an_image_is_missing_where_the_engine_says_so_and_else_nobody_knows() {
        // podman 3, 4 and 5, docker 20.10 and 28, as they say it
        for words in [
            "Error: error inspecting object: no such image nothing:1",
            "Error: inspecting object: nothing:1: image not known",
            "Error: nothing:1: image not known",
            "Error: No such image: nothing:1",
            "Error response from daemon: No such image: nothing:1",
        ] {
            assert!(says_missing(words), "{words}");
        }
        let away = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock";
        assert!(!says_missing(away));
        let engine = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let ask = |words: &[&str]| image(&engine(words), "nothing:1", ASK_LIMIT);
        assert_eq!(ask(&["/bin/true"]), Image::Here);
        assert_eq!(ask(&["/bin/sh", "-c", "echo no such image >&2; exit 1"]), Image::Missing);
        for unknown in [&["/bin/false"][..], &["/nowhere/podman"]] {
            assert!(matches!(ask(unknown), Image::Unknown(_)), "{unknown:?}");
        }
    }

    #[test]
    fn what_fetches_an_image_names_whose_it_is_and_can_be_pasted() {
        let engine = ["/opt/my tools/podman".to_owned(), "--root=/srv/x".to_owned()];
        let variables = [("HOME", "/home/it's me"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let words = "'/opt/my tools/podman' --root=/srv/x pull tools:1";
        assert_eq!(pull_here(&engine, "tools:1"), words);
        assert_eq!(
            pull_as("ada", &variables, &engine, "tools:1"),
            format!(
                "cd / && sudo -u ada env HOME='/home/it'\\''s me' XDG_RUNTIME_DIR=/run/user/1000 {words}"
            )
        );
        // a number is no name to sudo, and a comment to a shell
        assert!(
            pull_as("#1000", &[], &engine, "a").starts_with("cd / && sudo -u '#1000' env '/opt")
        );
        // of a daemon of root it is whoever may speak to it
        let ground = |is_users, start| Ground { is_users, start, is_labelled: false };
        assert_eq!(pull(&engine, "tools:1", ground(false, Start::Daemon)), words);
        let own = format!("sudo -u {} env ", user::own());
        for (is_users, start) in
            [(true, Start::Daemon), (true, Start::Crun), (false, Start::Client)]
        {
            let told = pull(&engine, "tools:1", ground(is_users, start));
            assert!(told.contains(&own) && told.ends_with(words), "{told}");
        }
    }

    #[test]
    fn what_mends_it_is_told_where_its_words_are_known() {
        // docker 20.10 and 28.2, as they say it
        let denied = "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        assert!(mended_by(denied).unwrap().contains("runner-docker"));
        let newer = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        assert!(mended_by(newer).unwrap().contains("runner-docker"));
        let away = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
        assert!(mended_by(away).unwrap().contains("systemctl start docker"));
        let last = "failed to connect to the docker API at unix:///var/run/docker.sock";
        assert!(mended_by(last).unwrap().contains("systemctl start docker"));
        let ranges = "cannot set up namespace using \"/usr/bin/newuidmap\": exit status 1";
        assert!(mended_by(ranges).unwrap().contains("/etc/subuid"));
        assert_eq!(mended_by("exit 1"), None);
    }
}
