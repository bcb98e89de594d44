//! How the service manager is asked, and what it says alike of the unit of a mount, of the worker and of whatever is
//! installed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::units::Load;
use crate::sys::command;

/// The priority (syslog) at which the manager logs its jobs.
const JOBS_ARE_LOGGED_AT: u32 = 6;

/// Asks; `about` are the words for what was asked, in an error.
///
/// # Errors
/// What systemctl said, or that it did not end within `limit`.
pub fn ask(
    systemctl: &Path,
    words: &[&str],
    about: &str,
    limit: Duration,
) -> Result<String, String> {
    let words = [["--no-pager", "--no-ask-password"].as_slice(), words].concat();
    run(systemctl, &words, about, limit)
}

/// The same by these words and no others.
///
/// # Errors
/// What systemctl said, or that it did not end within `limit`.
pub fn run(
    systemctl: &Path,
    words: &[&str],
    about: &str,
    limit: Duration,
) -> Result<String, String> {
    let mut argv: Vec<OsString> = vec![systemctl.into()];
    argv.extend(words.iter().map(OsString::from));
    match command::run(&argv, limit) {
        Ok(done) if done.ok() => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        Ok(done) => Err(format!("systemctl {about}: {}", done.describe())),
        Err(failure) => Err(failure.to_string()),
    }
}

/// These properties of all `names` at once, in their order.
///
/// # Errors
/// What systemctl said, that it did not end within `limit`, or that it did not speak of each.
pub fn show(
    systemctl: &Path,
    properties: &str,
    names: &[String],
    limit: Duration,
) -> Result<Vec<Properties>, String> {
    let mut words = vec!["show", "-p", properties, "--"];
    words.extend(names.iter().map(String::as_str));
    let blocks = blocks(&ask(systemctl, &words, "show", limit)?);
    if blocks.len() != names.len() {
        return Err("systemctl show: not one answer for each unit".to_owned());
    }
    Ok(blocks)
}

/// The blocks of `systemctl show`, one a unit.
#[must_use]
pub fn blocks(shown: &str) -> Vec<Properties> {
    shown.trim_end().split("\n\n").map(Properties::of).collect()
}

/// A unit whose stop is passed on to another.
#[derive(Debug)]
pub struct Leader {
    /// Its name.
    pub name: String,
    /// Whether its death is passed on too (`BindsTo=`), and not only a stop.
    pub bound: bool,
}

/// What is shown of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Understands one block.
    #[must_use]
    pub fn of(block: &str) -> Self {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// What is said of `property`; nothing where there is no such one.
    #[must_use]
    pub fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    /// The same of one that every unit has.
    ///
    /// # Errors
    /// There is none.
    pub fn required(&self, property: &str) -> Result<&str, String> {
        let value = self.0.get(property).map(String::as_str);
        value.ok_or_else(|| format!("systemctl show: no {property} in its answer"))
    }

    /// The names of one that is a list.
    pub fn names(&self, property: &str) -> impl Iterator<Item = &str> {
        self.get(property).split_whitespace()
    }

    /// Whether systemd knows the unit.
    ///
    /// # Errors
    /// It is not said.
    pub fn load(&self) -> Result<Load, String> {
        Ok(match self.required("LoadState")? {
            "loaded" => Load::Loaded,
            "not-found" => Load::NotFound,
            "masked" => Load::Masked,
            other => Load::Other(other.to_owned()),
        })
    }

    /// Units whose stop is passed on to it, by name.
    #[must_use]
    pub fn leaders(&self) -> Vec<Leader> {
        let bound: BTreeSet<&str> = self.names("BindsTo").collect();
        let mut leaders: BTreeSet<&str> = ["Requires", "PartOf", "StopPropagatedFrom"]
            .into_iter()
            .flat_map(|property| self.names(property))
            .collect();
        leaders.extend(&bound);
        let leader = |name: &str| Leader { name: name.to_owned(), bound: bound.contains(name) };
        leaders.into_iter().map(leader).collect()
    }

    /// Whether `LogLevelMax=` keeps its jobs out of the journal.
    #[must_use]
    pub fn hides_jobs(&self) -> bool {
        // unset is -1; a target has none
        let level = self.get("LogLevelMax").parse::<u32>();
        level.is_ok_and(|level| level < JOBS_ARE_LOGGED_AT)
    }
}
