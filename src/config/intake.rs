//! `[[intake]]`: directories whose files become jobs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bucket::{Address, Bucket, is_known};
use super::check::{Checker, Word};
use super::fragment::IntakeFragment;
use super::tree::KeyPath;

/// Shortest and longest `every`: 1 s and 1 h.
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(3600);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// What it is called.
    pub name: String,
    /// The type of its jobs.
    pub kind: String,
    /// Where its files lie.
    pub source: Source,
    /// When a file is complete. Default `rename`.
    pub rule: Rule,
    /// What the name of a marker has behind that of its file. Default `.done`.
    pub marker: String,
    /// Only files that end so. Default all.
    pub suffixes: Vec<String>,
    /// What becomes of an input whose job is done. Default `keep`.
    pub after: After,
    /// How often it is looked at. Default 2 s.
    pub every: Duration,
}

/// Where files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory; what lies in folders of it is left alone.
    Dir(PathBuf),
    /// A bucket, and what the keys begin with.
    Bucket {
        /// What it is called here.
        name: String,
        /// The beginning of the keys. Default all of them.
        prefix: String,
        /// The beginning of the keys of results; none: they go where their type says.
        output_prefix: Option<String>,
    },
}

impl Source {
    /// Whether a file could be one of both.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dir(one), Self::Dir(other)) => one == other,
            (
                Self::Bucket { name, prefix, .. },
                Self::Bucket { name: other, prefix: of_other, .. },
            ) => {
                let below = prefix.starts_with(of_other) || of_other.starts_with(prefix);
                name == other && below
            }
            (Self::Dir(_), Self::Bucket { .. }) | (Self::Bucket { .. }, Self::Dir(_)) => false,
        }
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &Path) -> PathBuf {
        match self {
            Self::Dir(dir) => dir.join(name),
            Self::Bucket { name: bucket, prefix, .. } => {
                let key = format!("{prefix}{}", name.display());
                Address { bucket, key: &key }.path()
            }
        }
    }
}

/// When a file is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// When it is there: it is written under a hidden name, or one that ends with `.part` or `.tmp`, and renamed.
    Rename,
    /// When a marker lies beside it.
    Marker,
    /// When three looks, two seconds apart, find it the same.
    Stable,
}

/// What becomes of an input whose job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It stays.
    Keep,
    /// It is deleted, last of all, if it is still the file that the job was made of.
    Delete,
}

impl Word for Rule {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Marker => "marker",
            Self::Stable => "stable",
        }
    }
}

impl Word for After {
    fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }
}

/// Makes settings of them.
pub(super) fn intakes(
    check: &mut Checker<'_>,
    written: Vec<IntakeFragment>,
    buckets: &[Bucket],
) -> Vec<Intake> {
    let mut all: Vec<Intake> = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let at = KeyPath::of(&["intake"]).index(index);
        let taken = all.iter().map(|it| it.name.as_str());
        let name = check.own_name(&at.key("name"), written.name, taken);
        if written.kind.is_none() {
            check.problem(&at.key("type"), "missing, expected the type of its jobs");
        }
        let marker = written.marker.unwrap_or_else(|| ".done".to_owned());
        if marker.is_empty() || marker.contains('/') {
            check.problem(&at.key("marker"), "expected the ending of a name");
        }
        let is_of_bucket = written.prefix.is_some() || written.output_prefix.is_some();
        let source = match (written.path, written.bucket) {
            (Some(path), None) => {
                if is_of_bucket {
                    check
                        .problem(&at.key("path"), "prefix and output_prefix are those of a bucket");
                }
                Source::Dir(check.absolute(&at.key("path"), &path).unwrap_or_default())
            }
            (None, Some(name)) => {
                is_known(check, &at.key("bucket"), &name, buckets);
                let (prefix, output_prefix) =
                    (written.prefix.unwrap_or_default(), written.output_prefix);
                if output_prefix.as_ref().is_some_and(|it| it.starts_with(&prefix)) {
                    let at = at.key("output_prefix");
                    check.problem(&at, "begins with prefix: results would be taken in again");
                }
                Source::Bucket { name, prefix, output_prefix }
            }
            (Some(_), Some(_)) | (None, None) => {
                check.problem(&at.key("path"), "expected a directory, or a bucket in its stead");
                Source::Dir(PathBuf::new())
            }
        };
        let other = all.iter().find(|it| it.source.overlaps(&source));
        if let Some(other) = other {
            check.problem(&at.key("path"), format!("its files are those of {}", other.name));
        }
        all.push(Intake {
            name,
            kind: written.kind.unwrap_or_default(),
            source,
            rule: check.choice(
                &at.key("rule"),
                written.rule,
                &[Rule::Rename, Rule::Marker, Rule::Stable],
                Rule::Rename,
            ),
            marker,
            suffixes: written.suffixes.unwrap_or_default(),
            after: check.choice(
                &at.key("after"),
                written.after,
                &[After::Keep, After::Delete],
                After::Keep,
            ),
            every: check.duration(
                &at.key("every"),
                written.every,
                Duration::from_secs(2),
                EVERY_MIN..=EVERY_MAX,
            ),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[test]
    fn an_intake_says_what_becomes_of_which_files() {
        let text = "[[intake]]\nname = \"in\"\ntype = \"t\"\npath = \"/srv/in\"\n";
        let it = from_str(text).unwrap().intake.remove(0);
        assert_eq!(
            (it.rule, it.after, it.every),
            (Rule::Rename, After::Keep, Duration::from_secs(2))
        );
        let more = format!(
            "{text}rule = \"stable\"\nafter = \"delete\"\nsuffixes = [\".pdf\"]\nevery = \"7s\"\n"
        );
        let it = from_str(&more).unwrap().intake.remove(0);
        assert_eq!(
            (it.rule, it.after, it.suffixes, it.every),
            (Rule::Stable, After::Delete, vec![".pdf".to_owned()], Duration::from_secs(7))
        );
        assert_eq!(it.marker, ".done");
        let more = format!("{text}marker = \".ok\"\n");
        assert_eq!(from_str(&more).unwrap().intake.remove(0).marker, ".ok");
        for (change, expected) in [
            (("type = \"t\"\n", ""), "type: missing"),
            (("path = \"/srv/in\"\n", ""), "path: expected a directory, or a bucket"),
            (("path = \"/srv/in\"\n", "path = \"in\"\n"), "path: "),
            (("type", "rule = \"odd\"\ntype"), "rule: "),
            (("type", "every = \"999ms\"\ntype"), "every: "),
            (("type", "every = \"61m\"\ntype"), "every: "),
            (("type", "marker = \"a/b\"\ntype"), "marker: expected the ending"),
        ] {
            let told = from_str(&text.replace(change.0, change.1)).unwrap_err().to_string();
            assert!(told.contains(expected), "{change:?}: {told}");
        }
        let told = from_str(&format!("{text}{}", text.replace("\"in\"", "\"other\""))).unwrap_err();
        assert!(told.to_string().contains("its files are those of in"), "{told}");
    }
}
