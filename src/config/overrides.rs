//! Single values from outside the files: `UNWEDGE__SECTION__KEY` in the environment, and command-line flags. They
//! set scalars that exist, never lists; a name that leads nowhere is an error that offers the nearest one, so that
//! a slip in a unit file does not pass in silence.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use toml::Value;

use super::defaults;
use super::error::{ConfigError, ConfigErrors, nearest, one_line};
use super::jobs::in_variables;
use super::tree::{KeyPath, Node, Origin, Step, Tree};

/// What every variable of ours begins with.
pub const PREFIX: &str = "UNWEDGE__";

/// What stands between the parts of a variable's name.
const SEPARATOR: &str = "__";

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as typed, such as `--timeout`; messages name it.
    pub name: String,
    /// The key it sets.
    pub key: KeyPath,
    /// The value, read like that of a variable.
    pub value: String,
}

/// The variables of ours that this process was given: a program of ours that it starts is to read the same
/// configuration.
#[must_use]
pub fn of_process() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| is_ours(name)).collect()
}

fn is_ours(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX.as_bytes())
}

/// Lays variables (in the order of their names) and then flags over the tree.
pub fn apply(
    tree: &mut Tree,
    environment: &[(OsString, OsString)],
    flags: &[Flag],
) -> Result<(), ConfigErrors> {
    let known = defaults::with_jobs();
    let mut problems = Vec::new();
    let mut ours: Vec<_> = environment.iter().filter(|(name, _)| is_ours(name)).collect();
    ours.sort();
    for (name, value) in ours {
        match variable(&known, tree, name, value) {
            Ok((path, value)) => set(tree, &path, value, &Origin::Variable(shown(name))),
            Err(problem) => problems.push(problem),
        }
    }
    for flag in flags {
        let origin = Origin::Flag(flag.name.clone());
        match scalar(&known, &flag.key, &flag.value, &origin) {
            Ok(value) => set(tree, &flag.key, value, &origin),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigErrors(problems)) }
}

fn variable(
    known: &Tree,
    tree: &Tree,
    name: &OsStr,
    value: &OsStr,
) -> Result<(KeyPath, Value), ConfigError> {
    let origin = Origin::Variable(shown(name));
    let not_text = |what: &str| ConfigError::Place {
        origin: origin.clone(),
        problem: format!("its {what} is not UTF-8"),
    };
    let text = name.to_str().ok_or_else(|| not_text("name"))?;
    let value = value.to_str().ok_or_else(|| not_text("value"))?;
    let keys = text.strip_prefix(PREFIX).unwrap_or(text).to_ascii_lowercase();
    let path = KeyPath(keys.split(SEPARATOR).map(|key| Step::Key(key.to_owned())).collect());
    let value = scalar(known, &path, value, &origin)?;
    let path = as_in_files(tree, path)
        .map_err(|problem| ConfigError::Place { origin: origin.clone(), problem })?;
    Ok((path, value))
}

/// A key of one type's table where the files have that, with its capitals and `-`. Which type it is that no file speaks of
/// is known with the types.
fn as_in_files(tree: &Tree, path: KeyPath) -> Result<KeyPath, String> {
    let [Step::Key(section), Step::Key(name), Step::Key(key)] = path.0.as_slice() else {
        return Ok(path);
    };
    let jobs = KeyPath::of(&["jobs"]);
    let Some(Node::Table(tables)) = tree.get(&jobs).map(|it| &it.node) else { return Ok(path) };
    if section != "jobs" {
        return Ok(path);
    }
    let is_meant = |it: &&String| in_variables(it) == in_variables(name);
    let meant: Vec<&str> = tables.keys().filter(is_meant).map(String::as_str).collect();
    match meant[..] {
        [] => Ok(path),
        [one] => Ok(jobs.key(one).key(key)),
        [one, other, ..] => {
            Err(format!("[jobs.{one}] and [jobs.{other}] may be meant; say it in a file"))
        }
    }
}

/// The value for a key, or why it cannot be set from here.
fn scalar(known: &Tree, path: &KeyPath, text: &str, origin: &Origin) -> Result<Value, ConfigError> {
    let problem = |problem: String| ConfigError::Place { origin: origin.clone(), problem };
    match known.get(&general(path)).map(|it| &it.node) {
        Some(Node::Leaf(Value::String(_))) => Ok(Value::String(unquoted(text))),
        Some(Node::Leaf(_)) => Ok(understood(text)),
        Some(Node::Array(_)) => {
            Err(problem(format!("{path} is a list, which only a file can set")))
        }
        Some(Node::Table(_)) => {
            Err(problem(format!("{path} is a section, expected a key of it too")))
        }
        None => Err(problem(unknown(known, path, origin))),
    }
}

/// A key of one type's table, as that of any type: what there is for one there is for all.
fn general(path: &KeyPath) -> KeyPath {
    match path.0.as_slice() {
        [Step::Key(section), Step::Key(_), Step::Key(key)] if section == "jobs" => {
            KeyPath::of(&["jobs", defaults::ANY_TYPE, key])
        }
        _ => path.clone(),
    }
}

fn unknown(known: &Tree, path: &KeyPath, origin: &Origin) -> String {
    match path.0.first() {
        Some(Step::Key(section)) if section == "queue" => {
            return "[queue] is set by a file alone: who asks the queue is a child, and sees no variables".to_owned();
        }
        Some(Step::Key(section)) if section == "mount" => {
            return "mount is a list, which only a file can set".to_owned();
        }
        Some(_) | None => {}
    }
    let names: Vec<String> = known.leaves().iter().map(|(path, _)| variable_name(path)).collect();
    let typed = variable_name(path);
    match (nearest_key(&typed, &names), origin) {
        (Some(near), Origin::Variable(_)) => format!("no such key; did you mean {PREFIX}{near}?"),
        (Some(_) | None, _) => format!("{}: no such key", one_line(&path.to_string())),
    }
}

/// The nearest name; a long one may not differ by more than a short one may.
fn nearest_key<'a>(typed: &str, names: &'a [String]) -> Option<&'a str> {
    let near = nearest(typed, names.iter().map(String::as_str))?;
    (strsim::osa_distance(typed, near) <= 4).then_some(near)
}

fn variable_name(path: &KeyPath) -> String {
    let part = |step: &Step| match step {
        Step::Key(key) => key.to_ascii_uppercase(),
        Step::Index(index) => index.to_string(),
    };
    path.0.iter().map(part).collect::<Vec<_>>().join(SEPARATOR)
}

/// Text, out of its quotes if it is a quoted TOML string.
fn unquoted(text: &str) -> String {
    match toml_value(text) {
        Some(Value::String(inner)) => inner,
        Some(_) | None => text.to_owned(),
    }
}

/// A TOML integer, boolean or quoted string if it is one, and otherwise the text itself.
fn understood(text: &str) -> Value {
    match toml_value(text) {
        Some(value @ (Value::Integer(_) | Value::Boolean(_) | Value::String(_))) => value,
        Some(_) | None => Value::from(text),
    }
}

fn toml_value(text: &str) -> Option<Value> {
    text.parse().ok()
}

/// Puts a value at the end of a way whose tables may be missing.
fn set(tree: &mut Tree, path: &KeyPath, value: Value, origin: &Origin) {
    let leaf = Tree::from_value(value, origin);
    let layer = path.0.iter().rev().fold(leaf, |inner, step| match step {
        Step::Key(key) => {
            Tree { origin: origin.clone(), node: Node::Table([(key.clone(), inner)].into()) }
        }
        Step::Index(_) => inner,
    });
    tree.overlay(layer);
}

fn shown(name: &OsStr) -> String {
    one_line(&name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(name: &str, value: &str) -> Result<Tree, ConfigErrors> {
        let mut tree = defaults::tree();
        apply(&mut tree, &[(name.into(), value.into())], &[])?;
        Ok(tree)
    }

    #[track_caller]
    fn check(name: &str, value: &str, keys: &[&str], expected: impl Into<Value>) {
        let tree = applied(name, value).expect(name);
        let leaf = tree.get(&KeyPath::of(keys)).expect("the key is there");
        assert_eq!(leaf.to_value(), expected.into());
        assert_eq!(leaf.origin, Origin::Variable(name.to_owned()));
    }

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        assert_eq!(applied(name, value).expect_err(name).to_string(), expected);
    }

    #[test]
    fn a_variable_sets_a_scalar() {
        check("UNWEDGE__PROBE__TIMEOUT", "2s", &["probe", "timeout"], "2s");
        check("UNWEDGE__PROBE__TIMEOUT", "\"2s\"", &["probe", "timeout"], "2s");
        check("UNWEDGE__PROBE__TIMEOUT", "5", &["probe", "timeout"], "5");
        check(
            "UNWEDGE__MOUNTS__CONFIRM__DEAD__RUNS",
            "3",
            &["mounts", "confirm", "dead", "runs"],
            3,
        );
        check(
            "UNWEDGE__MOUNTS__CONFIRM__DEAD__RUNS",
            "x",
            &["mounts", "confirm", "dead", "runs"],
            "x",
        );
        check("UNWEDGE__HOST__USER", "1000", &["host", "user"], "1000");
        check("UNWEDGE__HOST__USER", "a = \"b\" # c", &["host", "user"], "a = \"b\" # c");
    }

    #[test]
    fn a_slip_in_the_name_offers_the_right_one() {
        check_refused(
            "UNWEDGE__PROBE__TIEMOUT",
            "2s",
            "UNWEDGE__PROBE__TIEMOUT: no such key; did you mean UNWEDGE__PROBE__TIMEOUT?",
        );
        check_refused(
            "UNWEDGE__PROBE_TIMEOUT",
            "2s",
            "UNWEDGE__PROBE_TIMEOUT: no such key; did you mean UNWEDGE__PROBE__TIMEOUT?",
        );
        check_refused(
            "UNWEDGE__COLOUR__OF__THE__SKY",
            "2",
            "UNWEDGE__COLOUR__OF__THE__SKY: [colour.of.the] sky: no such key",
        );
        assert!(applied("UNWEDGE__", "2").is_err());
    }

    #[test]
    fn a_variable_has_the_name_of_a_type_without_its_capitals() {
        let with = |text: &str| {
            let mut tree = defaults::tree();
            tree.overlay(Tree::parse(text, std::path::Path::new("a.toml")).expect("it is right"));
            let name = "UNWEDGE__JOBS__OCR_A4__CONCURRENCY";
            apply(&mut tree, &[(name.into(), "3".into())], &[])?;
            Ok::<_, ConfigErrors>(tree)
        };
        for (text, name) in [
            ("[jobs.OCR-a4]\nconcurrency = 1\n[jobs.ocr]\nconcurrency = 1\n", "OCR-a4"),
            ("[jobs.ocr_a4]\nconcurrency = 1\n", "ocr_a4"),
            ("[jobs.ocr-a40]\nconcurrency = 1\n", "ocr_a4"),
            ("[jobs]\n", "ocr_a4"),
            ("", "ocr_a4"),
        ] {
            let tree = with(text).expect(text);
            let at = |name| KeyPath::of(&["jobs", name, "concurrency"]);
            assert_eq!(tree.get(&at(name)).expect(text).to_value(), Value::from(3), "{text}");
            assert!(name == "ocr_a4" || tree.get(&at("ocr_a4")).is_none(), "{text}");
        }
        let both = "[jobs.ocr-a4]\nconcurrency = 1\n[jobs.OCR_a4]\nconcurrency = 1\n";
        assert_eq!(
            with(both).expect_err("two").to_string(),
            "UNWEDGE__JOBS__OCR_A4__CONCURRENCY: [jobs.OCR_a4] and [jobs.ocr-a4] may be meant; say it in a file"
        );
    }

    #[test]
    fn lists_and_sections_are_for_files() {
        check_refused(
            "UNWEDGE__MOUNTS__REPAIR_UNDER",
            "/srv",
            "UNWEDGE__MOUNTS__REPAIR_UNDER: [mounts] repair_under is a list, which only a file can set",
        );
        check_refused(
            "UNWEDGE__MOUNT",
            "[]",
            "UNWEDGE__MOUNT: mount is a list, which only a file can set",
        );
        check_refused(
            "UNWEDGE__MOUNT__WAIT",
            "5s",
            "UNWEDGE__MOUNT__WAIT: mount is a list, which only a file can set",
        );
        check_refused(
            "UNWEDGE__MOUNTS",
            "1",
            "UNWEDGE__MOUNTS: mounts is a section, expected a key of it too",
        );
        check_refused(
            "UNWEDGE__QUEUE__URL",
            "x",
            "UNWEDGE__QUEUE__URL: [queue] is set by a file alone: who asks the queue is a child, and sees no variables",
        );
    }

    #[test]
    fn other_variables_are_left_alone() {
        for name in ["UNWEDGE_DEMO", "unwedge__probe__timeout", "XUNWEDGE__PROBE__TIMEOUT", "PATH"]
        {
            assert_eq!(applied(name, "nonsense"), Ok(defaults::tree()), "{name}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_told() {
        let name = OsStr::from_bytes(b"UNWEDGE__HOST__USER").to_owned();
        let value = OsStr::from_bytes(b"\xff").to_owned();
        let told =
            apply(&mut defaults::tree(), &[(name, value)], &[]).expect_err("not UTF-8").to_string();
        assert_eq!(told, "UNWEDGE__HOST__USER: its value is not UTF-8");
    }

    #[test]
    fn a_flag_wins_over_a_variable() {
        let key = KeyPath::of(&["probe", "timeout"]);
        let flag = Flag { name: "--timeout".into(), key: key.clone(), value: "3s".into() };
        let mut tree = defaults::tree();
        apply(&mut tree, &[("UNWEDGE__PROBE__TIMEOUT".into(), "2s".into())], &[flag])
            .expect("both are right");
        assert_eq!(
            tree.get(&key),
            Some(&Tree::from_value("3s".into(), &Origin::Flag("--timeout".into())))
        );
    }
}
