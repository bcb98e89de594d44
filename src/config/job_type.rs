//! A job type: one file of `jobs.d`, named as the type is. It says by which commands a job is done, how long each
//! may take, what counts as done, and what an exit code means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bucket::{self, Address};
use super::container::{Container, Mode, Pull, Said};
use super::duration;
use super::retry::{self, Retry};
use super::storage::Mounts;
use crate::sys::clock::millis;

/// How long a command may take where its type says nothing. None at all is not to be had.
pub const LIMIT: Duration = Duration::from_secs(600);

/// What the name of a type begins with that is a command given on the spot; a digest of that follows.
pub const OF_A_RUN: &str = "run-";

/// A type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobType {
    /// Its name: that of the file, without `.toml`.
    pub name: String,
    /// Where a result goes, with marks in it; none where there is no file to make.
    pub output: Option<String>,
    /// How many of a host at once; 0 is none. Default that of `[jobs]`, which is 1.
    pub concurrency: Option<u32>,
    /// How much memory the commands of one job may use, MiB. Default as much as there is.
    pub memory_mib: Option<u64>,
    /// How many are taken out of the queue at a time, and done one after the other: for short ones. Default 1.
    pub batch: u32,
    /// Higher ones are taken first. Default 0.
    pub priority: i64,
    /// The commands, in the order they are tried.
    pub tiers: Vec<Tier>,
    /// How often it may fail, and how long is waited between.
    pub retry: Retry,
    /// What an exit code means, beside being accepted or not.
    pub exit: BTreeMap<i32, Meaning>,
    /// Variables of the runner's environment that its commands get.
    pub environment: Vec<String>,
    /// What must be open beside the storage of its paths: watched paths, and `heartbeat:NAME`. Default none.
    pub needs: Vec<String>,
    /// The command that fetches an input that is not on this host. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Errand>,
    /// The command that delivers a result whose directory is not on this host. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver: Option<Errand>,
    /// What its file says of how its commands are run.
    pub said: Said,
    /// The container for each of its commands, where it is run so.
    pub container: Option<Container>,
    /// Whether somebody waits for its jobs, as in a run: what cannot be run is told, and not waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_on_the_spot: bool,
}

/// What a directory of types holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// Those that are understood.
    pub good: Vec<JobType>,
    /// The names of the others, and what is wrong with them.
    pub bad: Vec<(String, String)>,
}

impl Types {
    /// The same as this host runs them; those that it cannot run so are wrong here.
    #[must_use]
    pub fn on_host(self, host: &Said) -> Self {
        let mut types = Self { good: Vec::new(), bad: self.bad };
        for kind in self.good {
            let name = kind.name.clone();
            match kind.on_host(host) {
                Ok(kind) => types.good.push(kind),
                Err(why) => types.bad.push((name.clone(), format!("{name}: {why}"))),
            }
        }
        types
    }
}

/// One way to do a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// What it is called in results.
    pub name: String,
    /// The command, with marks in it, each a plain argument.
    pub argv: Vec<String>,
    /// What its command needs on this host beside itself: absolute paths of files. Where one is not there the tier is passed
    /// over, as it is where its command is not. What is in an image is not looked for. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// How long it may take, milliseconds.
    pub limit_ms: u64,
    /// The exit codes that are a success.
    pub exit: Vec<i32>,
    /// The least size of what it writes, bytes.
    pub min_bytes: u64,
    /// What must be in what it writes: a regular expression over bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub must_match: Option<String>,
    /// The command that says whether what it wrote is a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Errand>,
}

/// A command before or after those of the tiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// The command, with marks in it, each a plain argument.
    pub argv: Vec<String>,
    /// How long it may take, milliseconds.
    pub limit_ms: u64,
    /// Of one that fetches or delivers: whether it is to say what the other side has.
    #[serde(default, skip_serializing_if = "SumRule::is_default")]
    pub sum: SumRule,
}

/// Whether a command that fetches or delivers is to say what the other side has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SumRule {
    /// It may; what it says must be so.
    #[default]
    IfSaid,
    /// It has to.
    Required,
}

impl SumRule {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Its surroundings are in trouble, and that passes.
    Transient,
    /// Another try would end the same.
    Permanent,
    /// Something else is already where its result belongs.
    Conflict,
    /// What it was to make is there already, as it should be.
    Unchanged,
    /// The type or its tools are not in order.
    Configuration,
}

/// Where the results of a type lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The directory that all of them lie in or below.
    pub dir: PathBuf,
    /// Whether none lies further below.
    pub is_flat: bool,
    /// Whether each lies beside its input, wherever that is.
    pub is_anywhere: bool,
}

/// What marks stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks<'a> {
    /// `{input}`, whose last part is `{name}`, and that without its ending `{stem}`.
    pub input: &'a Path,
    /// `{output}`.
    pub output: Option<&'a Path>,
    /// `{to}` of what is fetched and `{from}` of what is delivered: the file on this host.
    pub local: Option<&'a Path>,
    /// `{id}`.
    pub id: i64,
}

/// The name of the type that every runner knows; no file is called so.
const SMOKE: &str = "unwedge-smoke";
/// Most at a time: what one worker has taken no other does.
const BATCH_MAX: u32 = 1000;
/// The marks there are.
const MARKS: [&str; 5] = ["input", "output", "name", "stem", "id"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    output: Option<String>,
    concurrency: Option<u32>,
    memory_mib: Option<u64>,
    batch: Option<u32>,
    priority: Option<i64>,
    #[serde(default)]
    tier: Vec<WrittenTier>,
    #[serde(default)]
    retry: retry::Written,
    #[serde(default)]
    exit: BTreeMap<String, Meaning>,
    #[serde(default)]
    environment: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    mode: Option<Mode>,
    image: Option<String>,
    network: Option<String>,
    pull: Option<Pull>,
    fetch: Option<WrittenErrand>,
    deliver: Option<WrittenErrand>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenErrand {
    argv: Vec<String>,
    limit: Option<String>,
    sum: Option<SumRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    name: Option<String>,
    argv: Vec<String>,
    #[serde(default)]
    tools: Vec<String>,
    limit: Option<String>,
    #[serde(default)]
    accept: WrittenAccept,
    empty: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAccept {
    exit: Option<Vec<i32>>,
    min_bytes: Option<u64>,
    must_match: Option<String>,
    check: Option<WrittenErrand>,
}

impl JobType {
    /// Understands a file.
    ///
    /// # Errors
    /// The file, the line where the text itself is at fault, and the key.
    pub fn parse(file: &Path, text: &str) -> Result<Self, String> {
        let shown = crate::sys::text::path(file);
        let name = file.file_stem().and_then(|name| name.to_str()).filter(|name| is_name(name));
        let Some(name) = name else {
            return Err(format!(
                "{shown}: the file's name is the type's: letters, digits, '-' and '_', at most 60"
            ));
        };
        let written: Written = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            format!("{shown}:{line}: {}", error.message())
        })?;
        Self::of(name, written).map_err(|why| format!("{shown}: {why}"))
    }

    /// A type of a single command, as it stands on a command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_command(
        name: &str,
        argv: Vec<String>,
        output: Option<String>,
    ) -> Result<Self, String> {
        let tier = WrittenTier {
            name: None,
            argv,
            tools: Vec::new(),
            limit: None,
            accept: WrittenAccept::default(),
            empty: None,
        };
        Self::of(
            name,
            Written {
                output,
                concurrency: None,
                memory_mib: None,
                batch: None,
                priority: None,
                tier: vec![tier],
                retry: retry::Written::default(),
                exit: BTreeMap::new(),
                environment: Vec::new(),
                needs: Vec::new(),
                mode: None,
                image: None,
                network: None,
                pull: None,
                fetch: None,
                deliver: None,
            },
        )
    }

    fn of(name: &str, written: Written) -> Result<Self, String> {
        if name == SMOKE {
            return Err(format!("{SMOKE} is the name of a type that every runner knows"));
        }
        if let Some(output) = &written.output {
            if output.is_empty() {
                return Err("output: \"\" is no place for a result".to_owned());
            }
            check_marks("output", output, &["input", "name", "stem"])?;
        }
        if written.memory_mib == Some(0) {
            return Err("memory_mib: 0 is none at all".to_owned());
        }
        let batch = written.batch.unwrap_or(1);
        if batch == 0 || batch > BATCH_MAX {
            return Err(format!("batch: {batch} is not from 1 to {BATCH_MAX}"));
        }
        let said = Said {
            mode: written.mode,
            engine: None,
            image: written.image,
            network: written.network,
            pull: written.pull,
        };
        if let Some(problem) = said.problem() {
            return Err(problem);
        }
        let is_need = |need: &&String| !need.starts_with('/') && !need.starts_with("heartbeat:");
        if let Some(need) = written.needs.iter().find(is_need) {
            return Err(format!("needs: {need:?} is neither a watched path nor heartbeat:NAME"));
        }
        if let Some(name) = written.environment.iter().find(|name| is_of_the_runner(name)) {
            return Err(format!("environment: {name} is the runner's own, and no job gets it"));
        }
        if written.tier.is_empty() {
            return Err("there is no [[tier]]: nothing says how a job is done".to_owned());
        }
        let makes_file = written.output.is_some();
        let tiers: Result<Vec<Tier>, String> = written
            .tier
            .into_iter()
            .enumerate()
            .map(|(nth, tier)| {
                let name = tier.name.clone().unwrap_or_else(|| (nth + 1).to_string());
                Tier::of(tier, makes_file, nth).map_err(|why| format!("[[tier]] {name}: {why}"))
            })
            .collect();
        let exit = written.exit.into_iter().map(|(code, meaning)| {
            let code = code.parse().ok().filter(|code| (0..=255).contains(code));
            code.map(|code| (code, meaning)).ok_or("[exit]: a code from 0 to 255 is expected")
        });
        Ok(Self {
            name: name.to_owned(),
            output: written.output,
            concurrency: written.concurrency,
            memory_mib: written.memory_mib,
            batch,
            priority: written.priority.unwrap_or(0),
            tiers: tiers?,
            retry: written.retry.read()?,
            exit: exit.collect::<Result<_, _>>()?,
            environment: written.environment,
            needs: written.needs,
            fetch: errand("fetch", written.fetch, &["input", "name", "stem", "id", "to"])?,
            deliver: errand(
                "deliver",
                written.deliver,
                &["input", "name", "stem", "id", "output", "from"],
            )?,
            said,
            container: None,
            is_on_the_spot: false,
        })
    }

    /// Whether a type of this name is a command that was given on the spot.
    #[must_use]
    pub fn is_of_a_run(name: &str) -> bool {
        let digest = name.strip_prefix(OF_A_RUN).unwrap_or_default();
        digest.len() == 12 && digest.bytes().all(|it| it.is_ascii_hexdigit())
    }

    /// The type that every runner knows: its jobs do nothing, and tell whether a queue works.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            name: SMOKE.to_owned(),
            output: None,
            concurrency: Some(1),
            memory_mib: None,
            batch: 1,
            // nobody's work comes before it: somebody waits
            priority: i64::from(i32::MAX),
            tiers: vec![Tier {
                name: "true".to_owned(),
                argv: vec!["/bin/true".to_owned()],
                tools: Vec::new(),
                limit_ms: 10_000,
                exit: vec![0],
                min_bytes: 0,
                must_match: None,
                check: None,
            }],
            retry: Retry::never(),
            exit: BTreeMap::new(),
            environment: Vec::new(),
            needs: Vec::new(),
            fetch: None,
            deliver: None,
            said: Said::default(),
            container: None,
            is_on_the_spot: false,
        }
    }

    /// Whether it is that one.
    #[must_use]
    pub fn is_smoke(&self) -> bool {
        self.name == SMOKE
    }

    /// The type as this host runs it.
    ///
    /// # Errors
    /// It is to be run in a container, and there is no image.
    pub fn on_host(self, host: &Said) -> Result<Self, String> {
        let container = self.said.resolve(host)?;
        Ok(Self { container, ..self })
    }

    /// What the type says, as 12 hexadecimal digits: hosts that differ in it do not share a lane. How many at once is
    /// each host's own.
    #[must_use]
    pub fn digest(&self) -> String {
        // which engine is each host's own, too, and how it comes by the image
        let each_hosts_own = |it| Container { engine: Vec::new(), pull: Pull::default(), ..it };
        let container = self.container.clone().map(each_hosts_own);
        let alike = Self {
            concurrency: None,
            batch: 1,
            said: Said::default(),
            container,
            is_on_the_spot: false,
            ..self.clone()
        };
        let text = serde_json::to_vec(&alike).unwrap_or_default();
        crate::sys::text::hex(&Sha256::digest(&text)[..6])
    }

    /// The types of a directory, by name, on a host with these mounts. One that is not there has none.
    ///
    /// # Errors
    /// It cannot be listed, or lies on storage that may hang.
    pub fn read_all(dir: &Path, mounts: &Mounts) -> Result<Types, String> {
        let shown = |path: &Path, what: &dyn std::fmt::Display| {
            format!("{}: {what}", crate::sys::text::path(path))
        };
        let mut types = Types::default();
        let entries = super::read::listed(dir, mounts).map_err(|why| why.to_string())?;
        let Some(entries) = entries else { return Ok(types) };
        for entry in entries {
            let path = entry.map_err(|error| shown(dir, &error))?.path();
            let hidden = path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
            if hidden || path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let text = super::read::listed_file(&path, mounts).map_err(|why| why.to_string());
            let Some(text) = text.transpose() else { continue };
            match text.and_then(|text| Self::parse(&path, &text)) {
                Ok(kind) => types.good.push(kind),
                Err(why) => {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    types.bad.push((name, why));
                }
            }
        }
        types.good.sort_by(|a, b| a.name.cmp(&b.name));
        types.bad.sort();
        Ok(types)
    }

    /// The directory that all results of the type lie in or below; relative ones below `base`, and those beside their inputs
    /// anywhere. None of a bucket.
    #[must_use]
    pub fn output_root(&self, base: &Path) -> Option<Root> {
        let output = self.output.as_ref()?;
        if output.starts_with("{input}") {
            return Some(Root { dir: PathBuf::from("/"), is_flat: false, is_anywhere: true });
        }
        let fixed = output.split('{').next().unwrap_or_default();
        if fixed.starts_with(bucket::SCHEME) {
            return None;
        }
        let (dir, rest) = match fixed.rsplit_once('/') {
            Some(("", _)) => ("/", &output[1..]),
            Some((dir, _)) => (dir, &output[dir.len() + 1..]),
            None => ("", output.as_str()),
        };
        Some(Root {
            dir: base.join(dir),
            is_flat: !rest.contains('/') && !rest.contains("{input}"),
            is_anywhere: false,
        })
    }

    /// Where the result of an input goes: an object of a bucket, or a file, relative ones below `base`.
    #[must_use]
    pub fn output_of(&self, input: &Path, base: &Path) -> Option<PathBuf> {
        let marks = Marks { input, output: None, local: None, id: 0 };
        let output = filled(self.output.as_ref()?, &marks);
        let is_object = Address::of(&output).is_some();
        Some(if is_object { output } else { base.join(output).components().collect() })
    }
}

impl Tier {
    fn of(written: WrittenTier, makes_file: bool, nth: usize) -> Result<Self, String> {
        let known: &[&str] = if makes_file { &MARKS } else { &["input", "name", "stem", "id"] };
        let limit = checked(&written.argv, written.limit.as_deref(), known)?;
        // it is kept with each try, and PostgreSQL keeps no text with a NUL
        if written.name.as_ref().is_some_and(|it| it.is_empty() || it.contains(char::is_control)) {
            return Err("name: letters, digits and the like are expected".to_owned());
        }
        if let Some(tool) = written.tools.iter().find(|it| !Path::new(it).is_absolute()) {
            return Err(format!("tools: {tool}: an absolute path is expected"));
        }
        let may_be_empty = match written.empty.as_deref() {
            None => false,
            Some("allowed") => true,
            Some(other) => return Err(format!("empty: {other:?} found, \"allowed\" is expected")),
        };
        let least = u64::from(makes_file && !may_be_empty);
        let WrittenAccept { exit, min_bytes, must_match, check } = written.accept;
        if !makes_file && (must_match.is_some() || check.is_some()) {
            return Err(
                "accept: must_match and check are of an output, and there is none".to_owned()
            );
        }
        if let Some(pattern) = &must_match {
            // of its two lines the last says what is wrong
            regex::bytes::Regex::new(pattern).map_err(|error| {
                let why = error.to_string();
                format!("accept: must_match: {}", why.lines().last().unwrap_or_default())
            })?;
        }
        if check.as_ref().is_some_and(|it| it.sum.is_some()) {
            return Err("accept: check: sum: a check carries nothing".to_owned());
        }
        Ok(Self {
            name: written.name.unwrap_or_else(|| (nth + 1).to_string()),
            argv: written.argv,
            tools: written.tools,
            limit_ms: millis(limit),
            exit: exit.unwrap_or_else(|| vec![0]),
            min_bytes: min_bytes.unwrap_or(least),
            must_match,
            check: errand("accept: check", check, known)?,
        })
    }

    /// The command for one job. Bytes of a path that are no text stay as they are.
    #[must_use]
    pub fn command(&self, marks: &Marks<'_>) -> Vec<PathBuf> {
        self.argv.iter().map(|word| filled(word, marks)).collect()
    }
}

impl Errand {
    /// Its command, with the marks filled in.
    #[must_use]
    pub fn command(&self, marks: &Marks<'_>) -> Vec<PathBuf> {
        self.argv.iter().map(|word| filled(word, marks)).collect()
    }
}

/// Checks a command; how long it may take.
fn checked(argv: &[String], limit: Option<&str>, known: &[&str]) -> Result<Duration, String> {
    for word in argv {
        check_marks("argv", word, known)?;
    }
    match argv.first() {
        None => return Err("argv is empty".to_owned()),
        Some(program) if !Path::new(program).is_absolute() => {
            return Err(format!("argv: {program}: an absolute path is expected"));
        }
        Some(_) => {}
    }
    let limit = match limit {
        None => LIMIT,
        Some(text) => duration::parse(text).map_err(|why| format!("limit: {why}"))?,
    };
    if limit.is_zero() {
        return Err("limit: 0 is none at all; every command has one".to_owned());
    }
    Ok(limit)
}

fn errand(
    key: &str,
    written: Option<WrittenErrand>,
    known: &[&str],
) -> Result<Option<Errand>, String> {
    written
        .map(|WrittenErrand { argv, limit, sum }| {
            let limit = checked(&argv, limit.as_deref(), known);
            let limit = limit.map_err(|why| format!("{key}: {why}"))?;
            Ok(Errand { argv, limit_ms: millis(limit), sum: sum.unwrap_or_default() })
        })
        .transpose()
}

/// What systemd gives a service and is meant for that service alone.
fn is_of_the_runner(name: &str) -> bool {
    let own = ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "INVOCATION_ID", "JOURNAL_STREAM"];
    let begins = ["WATCHDOG_", "LISTEN_", "UNWEDGE_"];
    own.contains(&name) || begins.iter().any(|it| name.starts_with(it))
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && name.len() <= 60 && name.chars().all(letter)
}

fn check_marks(key: &str, word: &str, known: &[&str]) -> Result<(), String> {
    for mark in marks_in(word) {
        // braces around what is no word are the command's own
        let is_word = !mark.is_empty() && mark.chars().all(|c| c.is_ascii_lowercase());
        if is_word && !known.contains(&mark) {
            let known: Vec<String> = known.iter().map(|mark| format!("{{{mark}}}")).collect();
            let hint = if mark == "output" { "; where results go is said by output" } else { "" };
            return Err(format!(
                "{key}: {{{mark}}} stands for nothing here; there are {}{hint}",
                known.join(", ")
            ));
        }
    }
    Ok(())
}

fn marks_in(word: &str) -> impl Iterator<Item = &str> {
    word.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(mark, _)| mark))
}

/// A word with its marks filled in, in one pass: what is filled in is never read for marks.
fn filled(word: &str, marks: &Marks<'_>) -> PathBuf {
    use std::ffi::{OsStr, OsString};
    let mut out = OsString::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('{') {
        out.push(before);
        let id;
        let value: Option<&OsStr> = match after.split_once('}').map(|(mark, _)| mark) {
            Some("input") => Some(marks.input.as_os_str()),
            Some("output") => marks.output.map(Path::as_os_str),
            Some("to" | "from") => marks.local.map(Path::as_os_str),
            Some("name") => marks.input.file_name(),
            Some("stem") => marks.input.file_stem(),
            Some("id") => {
                id = marks.id.to_string();
                Some(OsStr::new(&id))
            }
            Some(_) | None => None,
        };
        if let (Some(value), Some((_, after))) = (value, after.split_once('}')) {
            out.push(value);
            rest = after;
        } else {
            out.push("{");
            rest = after;
        }
    }
    out.push(rest);
    PathBuf::from(out)
}

#[cfg(test)]
mod tests {
    use super::super::storage::MountPoint;
    use super::*;

    const PDFTEXT: &str = r#"
output      = "/srv/jobs/text/{stem}.txt"
concurrency = 2
[[tier]]
name   = "pdftotext"
argv   = ["/usr/bin/pdftotext", "-layout", "{input}", "{output}"]
limit  = "60s"
accept = { exit = [0], min_bytes = 100 }
[[tier]]
name   = "ocr"
argv   = ["/usr/local/bin/ocr", "{input}", "{output}"]
limit  = "10m"
accept = { exit = [0] }
empty  = "allowed"
[retry]
attempts = 3
backoff  = "30s"
[exit]
75 = "transient"
"#;

    fn parse(text: &str) -> Result<JobType, String> {
        JobType::parse(Path::new("/etc/unwedge/jobs.d/pdftext.toml"), text)
    }

    #[test]
    fn a_file_is_a_type_with_every_number_it_says() {
        let kind = parse(PDFTEXT).unwrap();
        assert_eq!(
            (kind.name.as_str(), kind.concurrency, kind.retry.attempts),
            ("pdftext", Some(2), 3)
        );
        let least: Vec<u64> = kind.tiers.iter().map(|tier| tier.min_bytes).collect();
        assert_eq!((least, kind.tiers[1].limit_ms), (vec![100, 0], 600_000));
        assert_eq!(kind.exit[&75], Meaning::Transient);
    }

    #[test]
    fn what_a_file_does_not_say_has_a_default_and_never_none() {
        let kind = parse("[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
        assert_eq!((kind.concurrency, kind.retry), (None, Retry::default()));
        assert_eq!((kind.tiers[0].limit_ms, &kind.tiers[0].exit), (600_000, &vec![0]));
        assert_eq!(kind.tiers[0].min_bytes, 0, "there is no file to make");
        let kind = parse("output = \"/o/{stem}\"\n[[tier]]\nargv = [\"/bin/true\"]\n").unwrap();
        assert_eq!(
            kind.tiers[0].min_bytes, 1,
            "an empty result is a success only where the type says so"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, words) in [
            ("colour = 1\n", "pdftext.toml:1: unknown field `colour`"),
            ("\n\nconcurrency = \"two\"\n", "pdftext.toml:3: "),
            ("", "there is no [[tier]]"),
            (
                "environment = [\"WATCHDOG_USEC\"]\n[[tier]]\nargv = [\"/bin/true\"]\n",
                "environment: WATCHDOG_USEC is the runner's own",
            ),
            (
                "batch = 1001\n[[tier]]\nargv = [\"/bin/true\"]\n",
                "batch: 1001 is not from 1 to 1000",
            ),
            ("memory_mib = 0\n[[tier]]\nargv = [\"/bin/true\"]\n", "memory_mib: 0 is none"),
            (
                "output = \"/o/{id}\"\n[[tier]]\nargv = [\"/bin/true\"]\n",
                "{id} stands for nothing here",
            ),
            ("[[tier]]\nargv = []\n", "[[tier]] 1: argv is empty"),
            (
                "[[tier]]\nname = \"x\"\nargv = [\"true\"]\n",
                "[[tier]] x: argv: true: an absolute path",
            ),
            ("[[tier]]\nargv = [\"/bin/true\", \"{stemm}\"]\n", "{stemm} stands for nothing here"),
            (
                "[[tier]]\nargv = [\"/bin/true\", \"{output}\"]\n",
                "{output} stands for nothing here",
            ),
            (
                "[[tier]]\nname = \"a\\u0000b\"\nargv = [\"/bin/true\"]\n",
                "name: letters, digits and the like are expected",
            ),
            ("[[tier]]\nargv = [\"/bin/true\"]\nlimit = \"0\"\n", "limit: 0 is none at all"),
            ("[[tier]]\nargv = [\"/bin/true\"]\nempty = \"yes\"\n", "empty: \"yes\" found"),
            (
                "[[tier]]\nargv = [\"/bin/true\"]\n[exit]\n300 = \"transient\"\n",
                "[exit]: a code from 0 to 255",
            ),
            (
                "[[tier]]\nargv = [\"/bin/true\"]\n[retry]\nattempts = 0\n",
                "[retry] attempts: at least 1",
            ),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words), "{text:?}: {why}");
        }
        let why = JobType::parse(Path::new("/etc/jobs.d/a b.toml"), PDFTEXT).unwrap_err();
        assert!(why.contains("the file's name is the type's"), "{why}");
    }

    #[test]
    fn the_root_of_all_results_is_what_no_mark_is_in() {
        for (output, dir, is_flat) in [
            ("/o/{stem}", "/o", true),
            ("/o/a{stem}/x", "/o", false),
            ("/{stem}", "/", true),
            ("/{stem}/x", "/", false),
            ("out/{name}", "/base/out", true),
            ("{name}.txt", "/base", true),
            ("{name}/x.txt", "/base", false),
            ("{input}.txt", "/", false),
            ("/o{input}.txt", "/", false),
            ("/o/x.txt", "/o", true),
        ] {
            let kind = parse(&format!("output = \"{output}\"\n[[tier]]\nargv = [\"/bin/true\"]\n"));
            let root = kind.unwrap().output_root(Path::new("/base")).unwrap();
            let is_anywhere = output.starts_with("{input}");
            assert_eq!(root, Root { dir: PathBuf::from(dir), is_flat, is_anywhere }, "{output}");
        }
    }

    #[test]
    fn a_digest_changes_with_what_a_type_does_and_not_with_how_many() {
        let digest = |text: &str| parse(text).unwrap().digest();
        let one = digest(PDFTEXT);
        assert_eq!(one, digest(&PDFTEXT.replace("concurrency = 2", "concurrency = 7")));
        assert_eq!(one, digest(&format!("# a comment\n{PDFTEXT}")));
        assert_ne!(one, digest(&PDFTEXT.replace("-layout", "-raw")));
        assert_ne!(one, digest(&PDFTEXT.replace("75 =", "76 =")));
        let on_host = |image: &str, pull, engine: &str| {
            let kind = parse(&format!("mode = \"container\"\nimage = \"{image}\"\n{PDFTEXT}"));
            let engine = Some(vec![engine.to_owned()]);
            kind.unwrap().on_host(&Said { pull: Some(pull), engine, ..Said::default() }).unwrap()
        };
        let one = on_host("a:1", Pull::Never, "/usr/bin/podman").digest();
        assert_eq!(one, on_host("a:1", Pull::Missing, "/usr/bin/docker").digest());
        assert_ne!(one, on_host("a:2", Pull::Never, "/usr/bin/podman").digest());
    }

    #[test]
    fn a_file_that_is_wrong_takes_no_other_type_along() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(
            JobType::read_all(&dir.path().join("none"), &Mounts::default()),
            Ok(Types::default())
        );
        for name in ["b.toml", "a.toml", ".c.toml", "d.toml~", "README"] {
            write(name, PDFTEXT);
        }
        write("e.toml", "colour = 1\n");
        write("f.toml", "");
        let types = JobType::read_all(dir.path(), &Mounts::default()).unwrap();
        let names: Vec<&str> = types.good.iter().map(|it| it.name.as_str()).collect();
        let bad: Vec<&str> = types.bad.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, bad), (vec!["a", "b"], vec!["e", "f"]));
        // a link may lead anywhere but onto what may hang
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().canonicalize().unwrap(), &link).unwrap();
        let mounts = |may_hang| {
            let path = dir.path().canonicalize().unwrap();
            Mounts::known(vec![MountPoint { path, fstype: "nfs4".to_owned(), may_hang }])
        };
        assert_eq!(JobType::read_all(&link, &mounts(false)).unwrap().good, types.good);
        assert!(JobType::read_all(&link, &mounts(true)).unwrap_err().contains("nfs4"));
    }

    #[test]
    fn what_is_filled_in_is_one_argument_and_never_read_again() {
        let input = Path::new("/in/{id} $(rm) é.tar.gz");
        let marks = Marks { input, output: Some(Path::new("/out/x")), local: None, id: 7 };
        for (word, expected) in [
            ("{input}", "/in/{id} $(rm) é.tar.gz"),
            ("{name}", "{id} $(rm) é.tar.gz"),
            ("a{stem}b", "a{id} $(rm) é.tarb"),
            ("--to={output}", "--to=/out/x"),
            ("{id}-{id}", "7-7"),
            ("{ print $1 }", "{ print $1 }"),
            ("{", "{"),
        ] {
            assert_eq!(filled(word, &marks), Path::new(expected), "{word}");
        }
    }
}
