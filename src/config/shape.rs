//! From the merged tree to the fragment: are the keys known, and are the values of the right kind? Serde stops at
//! the first fault, so a fault is noted, cut out of a copy of the tree, and the rest read again until nothing is
//! left to complain about. Serde alone knows the keys; the nearest one is taken from its own message.

use serde_path_to_error::{Path as SerdePath, Segment};
use toml::Value;

use super::error::{ConfigError, ConfigErrors, PROBLEMS_MAX, nearest, one_line};
use super::fragment::Fragment;
use super::show::is_secret;
use super::tree::{KeyPath, Node, Step, Tree};

/// Reads the tree as a fragment, or says everything that does not fit.
pub fn fragment(tree: &Tree) -> Result<Fragment, ConfigErrors> {
    let mut left = tree.clone();
    let mut problems = Vec::new();
    // One problem more than is shown, so that the cut is told.
    while problems.len() <= PROBLEMS_MAX {
        let (path, message) = match read(&left) {
            Ok(fragment) if problems.is_empty() => return Ok(fragment),
            Ok(_) => break,
            Err(fault) => fault,
        };
        problems.push(explain(&left, &path, &message));
        if !left.remove(&path) {
            break;
        }
    }
    Err(ConfigErrors(problems))
}

fn read(tree: &Tree) -> Result<Fragment, (KeyPath, String)> {
    serde_path_to_error::deserialize(tree.to_value()).map_err(|error| {
        let path = key_path(error.path());
        (path, error.into_inner().message().to_owned())
    })
}

fn key_path(path: &SerdePath) -> KeyPath {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    KeyPath(path.iter().map_while(step).collect())
}

fn explain(tree: &Tree, path: &KeyPath, message: &str) -> ConfigError {
    let problem = match path.0.last() {
        Some(Step::Key(key)) if message.starts_with("unknown field") => {
            unknown_key(path, key, message)
        }
        Some(_) | None => wrong_kind(tree, path, message),
    };
    ConfigError::Key { origin: tree.origin_of(path), key: path.clone(), problem }
}

fn unknown_key(path: &KeyPath, key: &str, message: &str) -> String {
    let is_section = path.0.len() == 1;
    let what = if is_section { "unknown section" } else { "unknown key" };
    let known = known_keys(message);
    if let Some(near) = nearest(key, known.iter().copied()) {
        return format!("{what}; did you mean {near:?}?");
    }
    match (is_section, home_of(key)) {
        (false, Some(home)) => format!("{what} here; did you mean {home}?"),
        (true | false, _) => format!("{what}; known here: {}", known.join(", ")),
    }
}

/// The keys that serde names after "expected"; the unknown one before it may hold anything.
fn known_keys(message: &str) -> Vec<&str> {
    let listed = message.rsplit_once(", expected").map_or("", |(_, listed)| listed);
    listed.split('`').skip(1).step_by(2).collect()
}

/// The nearest key of any other section.
fn home_of(key: &str) -> Option<KeyPath> {
    let defaults = super::defaults::tree();
    let last = |path: &KeyPath| match path.0.last() {
        Some(Step::Key(last)) => last.clone(),
        Some(Step::Index(_)) | None => String::new(),
    };
    let homes: Vec<(String, KeyPath)> =
        defaults.leaves().into_iter().map(|(path, _)| (last(&path), path)).collect();
    let near = nearest(key, homes.iter().map(|(last, _)| last.as_str()))?;
    homes.iter().find(|(last, _)| last == near).map(|(_, path)| path.clone())
}

fn wrong_kind(tree: &Tree, path: &KeyPath, message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| match expected {
        "i64" => "a whole number",
        "a sequence" => "a list",
        other => other,
    });
    match (expected, tree.get(path)) {
        (Some(expected), Some(found)) => {
            format!("expected {}, found {}", one_line(expected), kind(found, path))
        }
        (Some(_) | None, _) => one_line(message),
    }
}

/// What a node is, in a word or two, with its value where that is short and no secret.
fn kind(tree: &Tree, path: &KeyPath) -> String {
    let value = match &tree.node {
        Node::Table(_) => return "a table".to_owned(),
        Node::Array(_) => return "a list".to_owned(),
        Node::Leaf(_) if is_secret(path) => {
            return "something else (not shown: it may be a secret)".to_owned();
        }
        Node::Leaf(value) => value,
    };
    match value {
        Value::String(_) => format!("the text {}", tree.inline()),
        Value::Integer(_) => format!("the number {value}"),
        Value::Float(_) => format!("the fraction {value}"),
        Value::Boolean(_) => format!("the boolean {value}"),
        Value::Datetime(_) => format!("the time {value}"),
        Value::Array(_) | Value::Table(_) => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let tree = Tree::parse(text, Path::new("/f")).expect("test text is TOML");
        let told = fragment(&tree).err().map(|all| all.to_string()).unwrap_or_default();
        assert_eq!(told.lines().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn an_unknown_key_names_the_nearest_right_one() {
        check(
            "[probe]\ntiemout = 5\n",
            &["/f:2: [probe] tiemout: unknown key; did you mean \"timeout\"?"],
        );
        check(
            "[mounts.confirm]\nhunk = {}\n",
            &["/f:2: [mounts.confirm] hunk: unknown key; did you mean \"hung\"?"],
        );
        check(
            "[[mount]]\npath = \"/a\"\nwiat = 1\n",
            &["/f:3: [[mount]] wiat: unknown key; did you mean \"wait\"?"],
        );
        check("[muonts]\n", &["/f:1: muonts: unknown section; did you mean \"mounts\"?"]);
    }

    #[test]
    fn a_key_in_the_wrong_section_names_the_right_one() {
        check(
            "[mounts]\ntiemout = 5\n",
            &["/f:2: [mounts] tiemout: unknown key here; did you mean [probe] timeout?"],
        );
        check(
            "[mounts]\ndeploy_lock = \"/x\"\n",
            &["/f:2: [mounts] deploy_lock: unknown key here; did you mean [gates] deploy_lock?"],
        );
    }

    #[test]
    fn a_key_like_no_other_lists_the_known_ones() {
        check(
            "[gates]\ncolour = 1\n",
            &["/f:2: [gates] colour: unknown key; known here: deploy_lock"],
        );
        check(
            "[probe]\n\"x, expected `y`\" = 1\n",
            &["/f:2: [probe] \"x, expected `y`\": unknown key; known here: timeout, daemons"],
        );
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line() {
        check(
            "[probe]\ntimeout = true\nx1 = 1\n[mounts]\nrepair_under = \"/srv\"\n[mounts.budget]\nper_day = \"6\"\n[[mount]]\npath = 1\n[[mount]]\npath = 2\n",
            &[
                "/f:9: [[mount]] path: expected a string, found the number 1",
                "/f:11: [[mount]] path: expected a string, found the number 2",
                "/f:7: [mounts.budget] per_day: expected a whole number, found the text \"6\"",
                "/f:5: [mounts] repair_under: expected a list, found the text \"/srv\"",
                "/f:2: [probe] timeout: expected a duration such as \"30s\", found the boolean true",
                "/f:3: [probe] x1: unknown key; known here: timeout, daemons",
            ],
        );
    }

    #[test]
    fn the_wrong_kind_of_section_is_told() {
        check("mounts = 1\n", &["/f:1: mounts: expected a table, found the number 1"]);
        check("mount = { path = 1 }\n", &["/f:1: mount: expected a list, found a table"]);
        check(
            "[mounts.confirm]\ndead = 2\n",
            &[
                "/f:2: [mounts.confirm] dead: expected a table such as { runs = 2, age = \"2m\" }, found the number 2",
            ],
        );
        check(
            "[mounts]\nrepair_under = [1]\n",
            &["/f:2: [mounts] repair_under[0]: expected a string, found the number 1"],
        );
        check(
            "[probe]\ntimeout = 1.5\n",
            &["/f:2: [probe] timeout: expected a duration such as \"30s\", found the fraction 1.5"],
        );
    }

    #[test]
    fn a_flood_of_faults_ends() {
        let text = (0..5_000).fold(String::new(), |text, n| text + &format!("key{n} = 1\n"));
        let tree = Tree::parse(&text, Path::new("/f")).expect("test text is TOML");
        let told = fragment(&tree).expect_err("unknown keys");
        assert_eq!(told.0.len(), PROBLEMS_MAX + 1);
    }
}
