//! What a host can do: a type whose tools are not here is left to others, and is looked at again later. Tools may lie on
//! storage, too: a child looks, one for each type, and one that gets no answer says nothing of the others.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{asked, engine};
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
    /// Not at all: each tier lacks one of these.
    None(String),
    /// Nobody knows, and why: nothing is taken of it.
    Unknown(String),
}

/// What a tier needs on its host: absolute paths, its program first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools(Vec<String>);

impl Tools {
    /// Those of a tier as this host runs it.
    #[must_use]
    pub fn of(kind: &JobType, tier: &Tier) -> Self {
        // what is in an image nobody knows before it is run
        let (argv, more) = match &kind.container {
            Some(it) => (&it.engine, [].as_slice()),
            None => (&tier.argv, tier.tools.as_slice()),
        };
        Self(argv.iter().take(1).chain(more).cloned().collect())
    }

    /// The first that is not there. Whoever asks waits for as long as storage does.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        let is_here = |path: &String| std::fs::metadata(path).is_ok_and(|it| it.is_file());
        self.0.iter().find(|path| !is_here(path)).map(String::as_str)
    }
}

/// Looks at programs, time and again. A child that got no answer stays the one that asks, and is not waited for a second time.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<String, (Vec<Tools>, Spawned)>);

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
            let (name, tools) = (kind.name.clone(), tools_of(kind));
            let waits = before.remove(&name).filter(|(asked, _)| *asked == tools);
            match waits.map_or_else(|| start(&tools), |(_, child)| Ok(child)) {
                Ok(child) => asked.push((kind, tools, child)),
                Err(why) => drop(found.insert(name, Ability::Unknown(why))),
            }
        }
        for (kind, tools, child) in asked {
            let is_new = boottime().saturating_sub(child.started) < LOOK_LIMIT;
            let limit = if is_new { deadline.left() } else { Duration::ZERO };
            let ability = if child.ends_within(limit) {
                serde_json::from_slice(&child.answer()).map_or_else(
                    |_| Ability::Unknown("its child ended without an answer".to_owned()),
                    |missing: Vec<Option<String>>| ability(kind, &missing),
                )
            } else {
                let why = format!("no answer within {}", text::duration(LOOK_LIMIT));
                self.0.insert(kind.name.clone(), (tools, child));
                Ability::Unknown(why)
            };
            found.insert(kind.name.clone(), ability);
        }
        found
    }
}

fn tools_of(kind: &JobType) -> Vec<Tools> {
    kind.tiers.iter().map(|tier| Tools::of(kind, tier)).collect()
}

fn start(tools: &[Tools]) -> Result<Spawned, String> {
    let word = serde_json::to_string(tools).map_err(|error| error.to_string())?;
    Spawned::start(&[OsString::from(VERB), word.into()])
        .map_err(|error| format!("start a child for it: {error}"))
}

/// What it means that this is missing of each tier.
fn ability(kind: &JobType, missing: &[Option<String>]) -> Ability {
    match missing.iter().position(Option::is_none).map(|nth| (nth, kind.tiers.get(nth))) {
        Some((0, _)) => Ability::First,
        Some((_, Some(other))) => Ability::Other(other.name.clone()),
        Some((_, None)) | None => {
            let mut names: Vec<&str> = missing.iter().flatten().map(String::as_str).collect();
            names.dedup();
            let names = names.join(", ");
            // what a type's own tools are installed by nobody knows
            Ability::None(match &kind.container {
                None => names,
                Some(it) => match it.engine.first().and_then(|it| engine::install(it)) {
                    Some(command) => {
                        format!(
                            "{names} (`{command}` installs it; [jobs] engine names another one)"
                        )
                    }
                    None => format!("{names} ([jobs] engine names another one)"),
                },
            })
        }
    }
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, |word| -> Vec<Option<String>> {
        let tools: Vec<Tools> = serde_json::from_str(&word.to_string_lossy()).unwrap_or_default();
        missing(&tools)
    })
}

fn missing(tools: &[Tools]) -> Vec<Option<String>> {
    tools.iter().map(|it| it.missing().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::container::Said;

    #[test]
    fn a_type_is_done_by_the_first_tier_all_of_whose_tools_are_here() {
        let kind = |tiers: &[&str]| {
            let tiers: String =
                tiers.iter().map(|it| format!("[[tier]]\nargv = [\"{it}\n")).collect();
            JobType::parse(Path::new("/t.toml"), &tiers).unwrap()
        };
        let here = "/bin/true\"]";
        for (tiers, expected) in [
            ([here, "/nowhere/a\"]"], Ability::First),
            (["/nowhere/a\"]", here], Ability::Other("2".to_owned())),
            (["/nowhere/a\"]", "/tmp\"]"], Ability::None("/nowhere/a, /tmp".to_owned())),
            (
                ["/bin/true\"]\ntools = [\"/bin/sh\"]", "/bin/true\"]\ntools = [\"/nowhere/b\"]"],
                Ability::First,
            ),
            (
                ["/bin/true\"]\ntools = [\"/bin/sh\", \"/nowhere/b\"]", here],
                Ability::Other("2".to_owned()),
            ),
            (
                ["/bin/true\"]\ntools = [\"/nowhere/b\"]", "/nowhere/a\"]"],
                Ability::None("/nowhere/b, /nowhere/a".to_owned()),
            ),
        ] {
            let kind = kind(&tiers);
            assert_eq!(ability(&kind, &missing(&tools_of(&kind))), expected, "{tiers:?}");
        }
    }

    #[test]
    fn an_engine_that_is_not_here_is_told_with_what_installs_it() {
        let said = |engine: &str| {
            let text =
                "mode = \"container\"\nimage = \"i:1\"\n[[tier]]\nargv = [\"/nowhere/inside\"]\n";
            let kind = JobType::parse(Path::new("/t.toml"), text).unwrap();
            let host = Said { engine: Some(vec![engine.to_owned()]), ..Said::default() };
            let kind = kind.on_host(&host).unwrap();
            ability(&kind, &missing(&tools_of(&kind)))
        };
        let lacks = |text: &str| Ability::None(text.to_owned());
        let other = "[jobs] engine names another one)";
        assert_eq!(
            said("/nowhere/podman"),
            lacks(&format!("/nowhere/podman (`apt-get install podman` installs it; {other}"))
        );
        assert_eq!(
            said("/nowhere/docker"),
            lacks(&format!("/nowhere/docker (`apt-get install docker.io` installs it; {other}"))
        );
        assert_eq!(said("/nowhere/own"), lacks(&format!("/nowhere/own ({other}")));
        // what is in an image nobody looks for here
        assert_eq!(said("/bin/true"), Ability::First);
    }
}
