//! What a host can do: a type whose tools are not here is left to others, and is looked at again later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::job_type::{JobType, Tier};
use crate::sys::limit::within;

/// How long the looks may take: tools may lie on storage, too.
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
}

/// Looks for the programs of types; none where that gave no answer.
#[must_use]
pub fn look<'a>(types: impl Iterator<Item = &'a JobType>) -> Option<BTreeMap<String, Ability>> {
    let programs: Vec<(String, Vec<(String, PathBuf)>)> = types
        .map(|kind| {
            // what is in an image nobody knows before it is run
            let first = |tier: &Tier| {
                let argv = kind.container.as_ref().map_or(&tier.argv, |it| &it.engine);
                Some((tier.name.clone(), PathBuf::from(argv.first()?)))
            };
            (kind.name.clone(), kind.tiers.iter().filter_map(first).collect())
        })
        .collect();
    let look = move || programs.into_iter().map(|(name, all)| (name, of(&all))).collect();
    within(LOOK_LIMIT, look).ok()
}

fn of(programs: &[(String, PathBuf)]) -> Ability {
    let is_here =
        |(_, program): &(String, PathBuf)| std::fs::metadata(program).is_ok_and(|it| it.is_file());
    match programs.iter().position(is_here) {
        Some(0) => Ability::First,
        Some(nth) => Ability::Other(programs[nth].0.clone()),
        None => {
            let names: Vec<String> =
                programs.iter().map(|(_, it)| crate::sys::text::path(it)).collect();
            Ability::None(names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_done_by_the_first_of_its_tools_that_is_here() {
        let kind = |programs: &[&str]| {
            let tiers: String =
                programs.iter().map(|it| format!("[[tier]]\nargv = [\"{it}\"]\n")).collect();
            JobType::parse(std::path::Path::new("/t.toml"), &tiers).unwrap()
        };
        for (programs, expected) in [
            (["/bin/true", "/nowhere/a"], Ability::First),
            (["/nowhere/a", "/bin/true"], Ability::Other("2".to_owned())),
            (["/nowhere/a", "/tmp"], Ability::None("/nowhere/a, /tmp".to_owned())),
        ] {
            let all = look([kind(&programs)].iter()).unwrap();
            assert_eq!(all["t"], expected);
        }
    }
}
