//! What a host can do: a type whose tools are not here is left to others, and is looked at again later. Tools may lie on
//! storage, too: a child looks, one for each type, and one that gets no answer says nothing of the others.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::asked;
use super::records::path_text;
use crate::config::job_type::{JobType, Tier};
use crate::sys::clock::{Deadline, boottime};
use crate::sys::command::Spawned;
use crate::sys::text;

/// The word that makes this program such a child.
const VERB: &str = "--programs-here";
/// How long the looks may take, all together.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// How well a type can be done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ability {
    /// By its first tier.
    First,
    /// Only by another: this one.
    Other(String),
    /// Not at all: none of these programs is here.
    None(String),
    /// Nobody knows, and why: nothing is taken of it.
    Unknown(String),
}

/// The program of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    tier: String,
    #[serde(with = "path_text")]
    path: PathBuf,
}

/// Looks at programs, time and again. A child that got no answer stays the one that asks, and is not waited for a second time.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<String, (Vec<Program>, Spawned)>);

impl Looks {
    /// Looks for the programs of these types.
    pub fn look<'a>(
        &mut self,
        types: impl Iterator<Item = &'a JobType>,
    ) -> BTreeMap<String, Ability> {
        let mut before = std::mem::take(&mut self.0);
        let (mut asked, mut found) = (Vec::new(), BTreeMap::new());
        let deadline = Deadline::after(LOOK_LIMIT);
        for kind in types {
            let (name, programs) = (kind.name.clone(), programs_of(kind));
            let waits = before.remove(&name).filter(|(asked, _)| *asked == programs);
            match waits.map_or_else(|| start(&programs), |(_, child)| Ok(child)) {
                Ok(child) => asked.push((name, programs, child)),
                Err(why) => drop(found.insert(name, Ability::Unknown(why))),
            }
        }
        for (name, programs, child) in asked {
            let is_new = boottime().saturating_sub(child.started) < LOOK_LIMIT;
            let limit = if is_new { deadline.left() } else { Duration::ZERO };
            let ability = if child.ends_within(limit) {
                serde_json::from_slice(&child.answer()).map_or_else(
                    |_| Ability::Unknown("its child ended without an answer".to_owned()),
                    |nth| ability(&programs, nth),
                )
            } else {
                let why = format!("no answer within {}", text::duration(LOOK_LIMIT));
                self.0.insert(name.clone(), (programs, child));
                Ability::Unknown(why)
            };
            found.insert(name, ability);
        }
        found
    }
}

fn programs_of(kind: &JobType) -> Vec<Program> {
    // what is in an image nobody knows before it is run
    let first = |tier: &Tier| {
        let argv = kind.container.as_ref().map_or(&tier.argv, |it| &it.engine);
        Some(Program { tier: tier.name.clone(), path: PathBuf::from(argv.first()?) })
    };
    kind.tiers.iter().filter_map(first).collect()
}

fn start(programs: &[Program]) -> Result<Spawned, String> {
    let word = serde_json::to_string(programs).map_err(|error| error.to_string())?;
    Spawned::start(&[OsString::from(VERB), word.into()])
        .map_err(|error| format!("start a child for it: {error}"))
}

/// What it means that the first program that is here is this one.
fn ability(programs: &[Program], first: Option<usize>) -> Ability {
    match (first, first.and_then(|nth| programs.get(nth))) {
        (Some(0), Some(_)) => Ability::First,
        (_, Some(other)) => Ability::Other(other.tier.clone()),
        (_, None) => {
            let names: Vec<String> = programs.iter().map(|it| text::path(&it.path)).collect();
            Ability::None(names.join(", "))
        }
    }
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, |word| -> Option<usize> {
        let programs: Vec<Program> = serde_json::from_str(&word.to_string_lossy()).ok()?;
        first_of(&programs)
    })
}

fn first_of(programs: &[Program]) -> Option<usize> {
    let is_here = |it: &Program| std::fs::metadata(&it.path).is_ok_and(|it| it.is_file());
    programs.iter().position(is_here)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_type_is_done_by_the_first_of_its_tools_that_is_here() {
        let kind = |programs: &[&str]| {
            let tiers: String =
                programs.iter().map(|it| format!("[[tier]]\nargv = [\"{it}\"]\n")).collect();
            JobType::parse(Path::new("/t.toml"), &tiers).unwrap()
        };
        for (programs, expected) in [
            (["/bin/true", "/nowhere/a"], Ability::First),
            (["/nowhere/a", "/bin/true"], Ability::Other("2".to_owned())),
            (["/nowhere/a", "/tmp"], Ability::None("/nowhere/a, /tmp".to_owned())),
        ] {
            let programs = programs_of(&kind(&programs));
            assert_eq!(ability(&programs, first_of(&programs)), expected);
        }
    }
}
