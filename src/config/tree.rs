//! The merged configuration before anybody says what it means: a tree of values, each with the place it came from.
//! Layers are laid over one another leaf by leaf and the later one wins; lists of tables (`[[mount]]`) grow
//! instead, and every other list is replaced whole. Nothing here knows a key by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, one_line, printable};

/// Where a value came from. Its `Display` is what messages begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it: the built-in default.
    Default,
    /// A line of a file, counted from 1.
    File {
        /// The file, as it was opened.
        path: PathBuf,
        /// The line of the key, or of the element of a list.
        line: usize,
    },
    /// An environment variable, by its full name.
    Variable(String),
    /// A command-line flag, as typed, such as `--timeout`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { path, line } => write!(out, "{}:{line}", printable(path)),
            Self::Variable(name) | Self::Flag(name) => out.write_str(&one_line(name)),
        }
    }
}

/// One step down the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a table, by key.
    Key(String),
    /// Into a list, by position from 0.
    Index(usize),
}

/// The way to a value. Its `Display` looks like the file: `[mounts] deadline`, `[[mount]] remount[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(pub Vec<Step>);

impl KeyPath {
    /// A way through tables only.
    pub fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// The same way, and one key further.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The same way, and one position of a list further.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (section, rest) = match self.0.as_slice() {
            [Step::Key(list), Step::Index(_), rest @ ..] if !rest.is_empty() => {
                (format!("[[{}]] ", bare(list)), rest)
            }
            [section @ .., last @ Step::Key(_)] if !section.is_empty() => {
                (format!("[{}] ", dotted(section)), std::slice::from_ref(last))
            }
            [section @ .., last @ Step::Key(_), index @ Step::Index(_)] if !section.is_empty() => {
                let rest = [last.clone(), index.clone()];
                return write!(out, "[{}] {}", dotted(section), dotted(&rest));
            }
            all => (String::new(), all),
        };
        write!(out, "{section}{}", dotted(rest))
    }
}

/// Steps in one line: `confirm.dead.runs`, `remount[0]`.
fn dotted(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&bare(key));
            }
            Step::Index(index) => out.extend(["[", &index.to_string(), "]"]),
        }
    }
    out
}

/// A key as TOML writes it: bare where it may be, quoted where it must be.
pub(super) fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) { key.to_owned() } else { quote(key) }
}

/// Text as a TOML string on one line.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(["\\u", &format!("{:04X}", u32::from(c))]),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Where this node was written last.
    pub origin: Origin,
    /// What is there.
    pub node: Node,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Keys and what they hold.
    Table(BTreeMap<String, Tree>),
    /// A list, in order.
    Array(Vec<Tree>),
    /// A single value; never a table or a list.
    Leaf(Value),
}

impl Tree {
    /// A table without keys, as it is before any layer.
    pub fn empty() -> Self {
        Self { origin: Origin::Default, node: Node::Table(BTreeMap::new()) }
    }

    /// A value of which every part has the same origin.
    pub fn from_value(value: Value, origin: &Origin) -> Self {
        let node = match value {
            Value::Table(table) => Node::Table(
                table.into_iter().map(|(key, it)| (key, Self::from_value(it, origin))).collect(),
            ),
            Value::Array(items) => {
                Node::Array(items.into_iter().map(|it| Self::from_value(it, origin)).collect())
            }
            leaf => Node::Leaf(leaf),
        };
        Self { origin: origin.clone(), node }
    }

    /// Understands the text of one file; every node remembers its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let lines = Lines::of(text, path);
        let parsed = DeTable::parse(text).map_err(|error| ConfigError::Place {
            origin: lines.origin(error.span().map_or(0, |span| span.start)),
            problem: format!("not TOML: {}", one_line(error.message())),
        })?;
        let start = parsed.span().start;
        lines.table(parsed.get_ref(), start)
    }

    /// Lays a later layer over this one; what both set, the later one wins.
    pub fn overlay(&mut self, later: Tree) {
        match (&mut self.node, later.node) {
            (Node::Table(mine), Node::Table(theirs)) => {
                for (key, value) in theirs {
                    match mine.get_mut(&key) {
                        Some(node) => node.overlay(value),
                        None => drop(mine.insert(key, value)),
                    }
                }
            }
            (Node::Array(mine), Node::Array(theirs)) if all_tables(mine) && all_tables(&theirs) => {
                mine.extend(theirs);
            }
            (_, node) => self.node = node,
        }
        self.origin = later.origin;
    }

    /// The node at the end of a way.
    pub fn get(&self, path: &KeyPath) -> Option<&Tree> {
        path.0.iter().try_fold(self, |tree, step| match (&tree.node, step) {
            (Node::Table(table), Step::Key(key)) => table.get(key),
            (Node::Array(items), Step::Index(index)) => items.get(*index),
            (Node::Table(_) | Node::Array(_) | Node::Leaf(_), _) => None,
        })
    }

    /// The origin of the node at the end of a way, or of the last node that is there on it.
    pub fn origin_of(&self, path: &KeyPath) -> Origin {
        let mut way = path.clone();
        loop {
            match self.get(&way) {
                Some(tree) => return tree.origin.clone(),
                None => drop(way.0.pop()),
            }
        }
    }

    /// Takes the node at the end of a way out; false if there was none.
    pub(super) fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((last, way)) = path.0.split_last() else {
            return false;
        };
        let mut tree = self;
        for step in way {
            let next = match (&mut tree.node, step) {
                (Node::Table(table), Step::Key(key)) => table.get_mut(key),
                (Node::Array(items), Step::Index(index)) => items.get_mut(*index),
                (Node::Table(_) | Node::Array(_) | Node::Leaf(_), _) => None,
            };
            match next {
                Some(next) => tree = next,
                None => return false,
            }
        }
        match (&mut tree.node, last) {
            (Node::Table(table), Step::Key(key)) => table.remove(key).is_some(),
            (Node::Array(items), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            (Node::Table(_) | Node::Array(_) | Node::Leaf(_), _) => false,
        }
    }

    /// The tree as a plain value, origins left behind.
    pub fn to_value(&self) -> Value {
        match &self.node {
            Node::Table(table) => {
                Value::Table(table.iter().map(|(key, it)| (key.clone(), it.to_value())).collect())
            }
            Node::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Node::Leaf(value) => value.clone(),
        }
    }

    /// The value as TOML on one line.
    pub fn inline(&self) -> String {
        match &self.node {
            Node::Table(table) => {
                let keys: Vec<String> = table
                    .iter()
                    .map(|(key, it)| format!("{} = {}", bare(key), it.inline()))
                    .collect();
                format!("{{ {} }}", keys.join(", "))
            }
            Node::Array(items) => {
                format!("[{}]", items.iter().map(Self::inline).collect::<Vec<_>>().join(", "))
            }
            Node::Leaf(Value::String(text)) => quote(text),
            Node::Leaf(value) => value.to_string(),
        }
    }

    /// Every leaf and every list of plain values, with the way to it; the order is that of the keys.
    pub fn leaves(&self) -> Vec<(KeyPath, &Tree)> {
        let mut found = Vec::new();
        self.collect_leaves(&KeyPath::default(), &mut found);
        found
    }

    fn collect_leaves<'a>(&'a self, way: &KeyPath, found: &mut Vec<(KeyPath, &'a Tree)>) {
        match &self.node {
            Node::Table(table) => {
                for (key, it) in table {
                    it.collect_leaves(&way.key(key), found);
                }
            }
            Node::Array(items) if all_tables(items) => {
                for (index, it) in items.iter().enumerate() {
                    it.collect_leaves(&way.index(index), found);
                }
            }
            Node::Array(_) | Node::Leaf(_) => found.push((way.clone(), self)),
        }
    }
}

/// True for a list of tables such as `[[mount]]`; an empty list is a plain one.
pub(super) fn all_tables(items: &[Tree]) -> bool {
    !items.is_empty() && items.iter().all(|it| matches!(it.node, Node::Table(_)))
}

/// From byte offsets of one text to lines.
struct Lines<'a> {
    path: &'a Path,
    /// The offset at which each line begins; the first is 0.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &str, path: &'a Path) -> Self {
        let breaks =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { path, starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            path: self.path.to_owned(),
            line: self.starts.partition_point(|start| *start <= offset),
        }
    }

    fn table(&self, table: &DeTable<'_>, offset: usize) -> Result<Tree, ConfigError> {
        let mut keys = BTreeMap::new();
        for (key, value) in table {
            keys.insert(key.get_ref().to_string(), self.value(value.get_ref(), key.span().start)?);
        }
        Ok(Tree { origin: self.origin(offset), node: Node::Table(keys) })
    }

    fn value(&self, value: &DeValue<'_>, offset: usize) -> Result<Tree, ConfigError> {
        let leaf = match value {
            DeValue::Table(table) => return self.table(table, offset),
            DeValue::Array(items) => {
                let items = items.iter().map(|it| self.value(it.get_ref(), it.span().start));
                return Ok(Tree {
                    origin: self.origin(offset),
                    node: Node::Array(items.collect::<Result<_, _>>()?),
                });
            }
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(time) => Value::Datetime(*time),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| {
                    self.unreadable(offset, &format!("the number {number} does not fit in 64 bits"))
                })?,
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map(Value::Float)
                .map_err(|_| self.unreadable(offset, &format!("{number} is no number")))?,
        };
        Ok(Tree { origin: self.origin(offset), node: Node::Leaf(leaf) })
    }

    fn unreadable(&self, offset: usize, problem: &str) -> ConfigError {
        ConfigError::Place { origin: self.origin(offset), problem: one_line(problem) }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
