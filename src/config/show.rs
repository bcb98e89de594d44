//! The merged configuration for people and for comparison: `show` writes it as TOML that loads again, with the
//! origin of each value behind it and secrets masked; `digest` sums up what is set, not where.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::tree::{KeyPath, Node, Step, Tree, all_tables, bare, quote};
use crate::sys::text;

/// How a masked value is shown.
pub const MASK: &str = "***";

/// Length of a digest, in hexadecimal digits.
pub const DIGEST_LEN: usize = 16;

/// Column at which the origins begin, where values leave room for it.
const ORIGIN_COLUMN: usize = 40;

/// Ends of keys whose value is not shown.
const SECRET_ENDS: [&str; 5] = ["url", "password", "token", "secret", "key"];

/// Every key with its value and where it came from.
pub fn show(tree: &Tree) -> String {
    let mut out = String::new();
    table(&mut out, tree, &KeyPath::default());
    out
}

/// SHA-256 over `key=value` lines in the order of the keys, first 16 hexadecimal digits.
pub fn digest(tree: &Tree) -> String {
    let mut hash = Sha256::new();
    for (path, leaf) in tree.leaves() {
        let keys: Vec<String> = path.0.iter().map(canonical).collect();
        hash.update(format!("{}={}\n", keys.join("."), leaf.inline()));
    }
    let mut hex = text::hex(&hash.finalize());
    hex.truncate(DIGEST_LEN);
    hex
}

/// Whether the value at the end of a way is masked.
pub(super) fn is_secret(path: &KeyPath) -> bool {
    let last_key = path.0.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.to_ascii_lowercase()),
        Step::Index(_) => None,
    });
    last_key.is_some_and(|key| SECRET_ENDS.iter().any(|end| key.ends_with(end)))
}

fn canonical(step: &Step) -> String {
    match step {
        Step::Key(key) => bare(key),
        Step::Index(index) => format!("[{index}]"),
    }
}

/// First the values of a table, then its tables: the order TOML asks for.
fn table(out: &mut String, tree: &Tree, path: &KeyPath) {
    let Node::Table(keys) = &tree.node else {
        return;
    };
    let (nested, values): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, it)| is_nested(it));
    for (key, it) in values {
        line(out, key, it, &path.key(key));
    }
    for (key, it) in nested {
        let path = path.key(key);
        match &it.node {
            Node::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    header(out, &path, "[[", "]]");
                    table(out, item, &path.index(index));
                }
            }
            Node::Table(_) | Node::Leaf(_) => {
                header(out, &path, "[", "]");
                table(out, it, &path);
            }
        }
    }
}

fn is_nested(tree: &Tree) -> bool {
    match &tree.node {
        Node::Table(_) => true,
        Node::Array(items) => all_tables(items),
        Node::Leaf(_) => false,
    }
}

fn header(out: &mut String, path: &KeyPath, open: &str, close: &str) {
    let keys: Vec<String> = path
        .0
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(bare(key)),
            Step::Index(_) => None,
        })
        .collect();
    let gap = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}{open}{}{close}", keys.join("."));
}

fn line(out: &mut String, key: &str, tree: &Tree, path: &KeyPath) {
    let value = if is_secret(path) { quote(MASK) } else { tree.inline() };
    let setting = format!("{} = {value}", bare(key));
    let _ = writeln!(out, "{setting:<ORIGIN_COLUMN$} # {}", tree.origin);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Tree {
        Tree::parse(text, Path::new("/f")).expect("test text is TOML")
    }

    #[test]
    fn each_value_is_shown_with_its_origin() {
        let shown = show(&parse(
            "top = [1, 2]\n[b]\nx = \"q\\\"\\n\"\n[b.c]\ny = 1\n[[m]]\np = true\n[[m]]\np = false\n",
        ));
        let plain: Vec<String> = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            plain,
            [
                "top = [1, 2] # /f:1",
                "",
                "[b]",
                "x = \"q\\\"\\n\" # /f:3",
                "",
                "[b.c]",
                "y = 1 # /f:5",
                "",
                "[[m]]",
                "p = true # /f:7",
                "",
                "[[m]]",
                "p = false # /f:9",
            ]
        );
    }

    #[test]
    fn what_is_shown_loads_again() {
        let tree = parse(
            "top = [1, 2]\n[b]\nx = \"'\\\"\\n\\t # no comment\"\n\"odd name\" = 1.5\n[b.c]\ny = 1979-05-27\n[[m]]\np = true\n[[m]]\n",
        );
        assert_eq!(parse(&show(&tree)).to_value(), tree.to_value());
    }

    #[test]
    fn secrets_are_masked_by_the_end_of_their_key() {
        let text = "[q]\nurl = \"s3cr3t\"\nwebhook_url = \"s3cr3t\"\nDB_PASSWORD = \"s3cr3t\"\napi_key = [\"s3cr3t\"]\ntoken = 1\nurl_file = \"shown\"\n";
        let shown = show(&parse(text));
        assert!(!shown.contains("s3cr3t") && shown.contains("shown"), "{shown}");
        assert_eq!(shown.matches("\"***\"").count(), 5, "{shown}");
    }

    #[test]
    fn the_digest_knows_values_but_not_places() {
        let one = digest(&parse("[a]\nx = 1\ny = 2\n"));
        assert_eq!(one.len(), DIGEST_LEN);
        assert_eq!(one, digest(&parse("# moved\na.y = 2\na.x = 1\n")));
        assert_ne!(one, digest(&parse("[a]\nx = 1\ny = 3\n")));
        assert_ne!(one, digest(&parse("[a]\nx = 1\ny = \"2\"\n")));
        assert_ne!(digest(&parse("a = \"1\\nb=2\"")), digest(&parse("a = \"1\"\nb = 2")));
    }
}
