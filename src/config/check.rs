//! Checks of single values: what a path, a unit, a duration, a count may be. Each notes its problem with the
//! place it was written and goes on with the default, so that one load finds them all; settings leave here only
//! when nothing was noted.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::{self, display};
use super::error::{ConfigError, ConfigErrors, nearest, one_line};
use super::fragment::DurationText;
use super::settings::{Services, Watch, Whereabouts};
use super::tree::{KeyPath, Origin, Tree};

/// Longest unit name systemd takes, in bytes.
const UNIT_NAME_MAX: usize = 255;

/// Kinds of units that can mount something or bring it about.
const UNIT_SUFFIXES: [&str; 4] = [".service", ".mount", ".automount", ".target"];

/// A value that is one of a few words.
pub trait Word: Copy {
    /// The word in the file.
    fn as_str(self) -> &'static str;
}

impl Services {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Systemd, Self::Process];
}

impl Word for Services {
    fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Process => "process",
        }
    }
}

impl Watch {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Listed, Self::Remote];
}

impl Word for Watch {
    fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Remote => "remote",
        }
    }
}

impl Whereabouts {
    /// Every choice.
    pub const ALL: [Self; 2] = [Self::Anywhere, Self::Here];
}

impl Word for Whereabouts {
    fn as_str(self) -> &'static str {
        match self {
            Self::Anywhere => "anywhere",
            Self::Here => "here",
        }
    }
}

/// Notes problems, with the places out of the tree.
pub struct Checker<'a> {
    tree: &'a Tree,
    problems: Vec<(KeyPath, ConfigError)>,
}

impl<'a> Checker<'a> {
    /// A checker that has seen nothing wrong yet.
    pub fn new(tree: &'a Tree) -> Self {
        Self { tree, problems: Vec::new() }
    }

    /// The value, if nothing was noted.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigErrors> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        Err(ConfigErrors(self.problems.into_iter().map(|(_, problem)| problem).collect()))
    }

    /// Notes a problem.
    pub fn problem(&mut self, at: &KeyPath, problem: impl Display) {
        let problem = ConfigError::Key {
            origin: self.origin(at),
            key: at.clone(),
            problem: one_line(&problem.to_string()),
        };
        self.problems.push((at.clone(), problem));
    }

    /// Where a key was written.
    pub fn origin(&self, at: &KeyPath) -> Origin {
        self.tree.origin_of(at)
    }

    /// Whether nothing was noted at just this key.
    pub fn is_fine(&self, at: &KeyPath) -> bool {
        self.problems.iter().all(|(noted, _)| noted != at)
    }

    /// Whether anything was noted at this key or below it.
    pub fn has_problem_below(&self, at: &KeyPath) -> bool {
        self.problems.iter().any(|(noted, _)| noted.0.starts_with(&at.0))
    }

    /// An absolute path, or the default.
    pub fn path(&mut self, at: &KeyPath, written: Option<String>, default: PathBuf) -> PathBuf {
        written.and_then(|text| self.absolute(at, &text)).unwrap_or(default)
    }

    /// An absolute path without `.` and `..`; doubled and trailing slashes are taken away.
    pub fn absolute(&mut self, at: &KeyPath, text: &str) -> Option<PathBuf> {
        match absolute(text) {
            Ok(path) => Some(path),
            Err(problem) => {
                self.problem(at, format!("{text:?} {problem}"));
                None
            }
        }
    }

    /// A duration within limits, or the default.
    pub fn duration(
        &mut self,
        at: &KeyPath,
        written: Option<DurationText>,
        default: Duration,
        limits: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(DurationText(text)) = written else {
            return default;
        };
        let problem = match duration::parse(&text) {
            Ok(it) if limits.contains(&it) => return it,
            Ok(it) if it < *limits.start() && *limits.start() == Duration::from_nanos(1) => {
                format!("{} found, expected more than 0", display(it))
            }
            Ok(it) if it < *limits.start() => {
                format!(
                    "{} is too short, expected at least {}",
                    display(it),
                    display(*limits.start())
                )
            }
            Ok(it) => {
                format!("{} is too long, expected at most {}", display(it), display(*limits.end()))
            }
            Err(problem) => problem,
        };
        self.problem(at, problem);
        default
    }

    /// A whole number within limits, or the default.
    pub fn count(
        &mut self,
        at: &KeyPath,
        written: Option<i64>,
        default: u32,
        limits: RangeInclusive<u32>,
    ) -> u32 {
        let Some(number) = written else {
            return default;
        };
        match u32::try_from(number) {
            Ok(count) if limits.contains(&count) => count,
            Ok(_) | Err(_) => {
                self.problem(
                    at,
                    format!("{number} found, expected {} to {}", limits.start(), limits.end()),
                );
                default
            }
        }
    }

    /// One of a few words, or the default.
    pub fn choice<T: Word>(
        &mut self,
        at: &KeyPath,
        written: Option<String>,
        all: &[T],
        default: T,
    ) -> T {
        let Some(text) = written else {
            return default;
        };
        if let Some(choice) = all.iter().find(|it| it.as_str() == text) {
            return *choice;
        }
        let words: Vec<String> = all.iter().map(|it| format!("{:?}", it.as_str())).collect();
        let hint = nearest(&text, all.iter().map(|it| it.as_str()))
            .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        self.problem(at, format!("{text:?} found, expected {}{hint}", words.join(" or ")));
        default
    }

    /// A name by which others mean it: it is there, plain, and none of those that are `taken`.
    pub fn own_name<'n>(
        &mut self,
        at: &KeyPath,
        written: Option<String>,
        mut taken: impl Iterator<Item = &'n str>,
    ) -> String {
        let name = written.unwrap_or_default();
        if !is_plain_name(&name) {
            self.problem(at, "expected a name of letters, digits, -, _ and .");
        }
        if taken.any(|it| it == name) {
            self.problem(at, format!("{name:?} is the name of another"));
        }
        name
    }

    /// A user name that can stand in a unit and in a password file, or the default.
    pub fn user(&mut self, at: &KeyPath, written: Option<String>, default: String) -> String {
        let Some(name) = written else {
            return default;
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ',');
        if name.is_empty() || name.starts_with('-') || name.contains(odd) {
            self.problem(at, format!("{name:?} is no user name"));
        }
        name
    }

    /// The name of a unit that can be started.
    pub fn unit(&mut self, at: &KeyPath, name: &str) -> String {
        if let Err(problem) = unit(name) {
            self.problem(at, format!("{name:?} {problem}"));
        }
        name.to_owned()
    }

    /// Text that is neither empty nor broken over lines, as a source or a type of file system.
    pub fn word(&mut self, at: &KeyPath, text: &str) -> String {
        if text.is_empty() || text.contains(char::is_control) {
            self.problem(at, format!("{text:?} found, expected text without control characters"));
        }
        text.to_owned()
    }

    /// A command: an absolute program and its arguments.
    pub fn argv(&mut self, at: &KeyPath, argv: &[String]) -> Vec<String> {
        match argv.first() {
            None => self.problem(at, "is empty, expected a program and its arguments"),
            Some(program) => {
                self.absolute(&at.index(0), program);
            }
        }
        for (index, argument) in argv.iter().enumerate().skip(1) {
            if argument.contains('\0') {
                self.problem(&at.index(index), "holds a NUL, which no argument can");
            }
        }
        argv.to_vec()
    }
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() {
        return Err("found, expected an absolute path");
    }
    if text.contains('\0') {
        return Err("holds a NUL, which no path can");
    }
    if !text.starts_with('/') {
        return Err("is relative, expected an absolute path");
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err("has a \".\" or \"..\" in it, expected the plain path");
    }
    Ok(PathBuf::from(format!("/{}", parts.join("/"))))
}

fn unit(name: &str) -> Result<(), String> {
    let Some(stem) = UNIT_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
        return Err(format!(
            "is no unit that mounts, expected a name ending in {}",
            UNIT_SUFFIXES.join(", ")
        ));
    };
    if stem.is_empty() || name.starts_with('-') || name.len() > UNIT_NAME_MAX {
        return Err("is no unit name".to_owned());
    }
    if stem.ends_with('@') || stem.starts_with('@') {
        return Err(
            "is a template without an instance, expected such as \"mount@data.service\"".to_owned()
        );
    }
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    match name.chars().find(|c| !fits(*c)) {
        Some(c) => Err(format!("is no unit name: {c:?} cannot be in one")),
        None => Ok(()),
    }
}

/// Whether it is one or more letters, digits, `-`, `_` and `.`.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.chars().all(plain)
}
