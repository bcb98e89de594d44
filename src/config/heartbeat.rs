//! `[[heartbeat]]`: signs of life of programs that are not ours, which jobs may need.

use std::path::PathBuf;
use std::time::Duration;

use super::bucket::{Bucket, is_known};
use super::check::Checker;
use super::fragment::HeartbeatFragment;
use super::tree::KeyPath;

/// Shortest and longest `max_age`: 1 s and 1 week.
const AGE_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// What it is called; a job that needs it needs `heartbeat:NAME`.
    pub name: String,
    /// Where it is.
    pub source: Source,
    /// How old it may be.
    pub max_age: Duration,
}

/// Where a sign of life is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file: the time it was last written.
    Path(PathBuf),
    /// `http://` or `https://`: `Last-Modified`, against the server's own `Date`.
    Url(String),
    /// An object: when it was last written, against the server's own clock.
    Object {
        /// Its bucket, as it is called here.
        bucket: String,
        /// Its key.
        key: String,
    },
}

/// What a job needs that needs one.
#[must_use]
pub fn key(name: &str) -> String {
    format!("heartbeat:{name}")
}

/// Makes settings of them.
pub(super) fn heartbeats(
    check: &mut Checker<'_>,
    written: Vec<HeartbeatFragment>,
    buckets: &[Bucket],
) -> Vec<Heartbeat> {
    let mut all: Vec<Heartbeat> = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let at = KeyPath::of(&["heartbeat"]).index(index);
        let taken = all.iter().map(|it| it.name.as_str());
        let name = check.own_name(&at.key("name"), written.name, taken);
        let source = match (written.path, written.url, written.bucket, written.key) {
            (Some(path), None, None, None) => {
                Source::Path(check.absolute(&at.key("path"), &path).unwrap_or_default())
            }
            (None, Some(url), None, None) => {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    check.problem(&at.key("url"), "begins with neither https:// nor http://");
                }
                Source::Url(url)
            }
            (None, None, Some(bucket), Some(key)) => {
                is_known(check, &at.key("bucket"), &bucket, buckets);
                Source::Object { bucket, key }
            }
            (..) => {
                check.problem(&at, "expected path, or url, or bucket and key");
                Source::Path(PathBuf::new())
            }
        };
        if written.max_age.is_none() {
            check.problem(&at.key("max_age"), "missing");
        }
        let max_age =
            check.duration(&at.key("max_age"), written.max_age, AGE_MAX, AGE_MIN..=AGE_MAX);
        all.push(Heartbeat { name, source, max_age });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[test]
    fn a_heartbeat_has_a_name_a_place_and_an_age() {
        let text = "[[heartbeat]]\nname = \"scan\"\npath = \"/srv/h\"\nmax_age = \"5m\"\n";
        let all = from_str(text).unwrap().heartbeat;
        assert_eq!((all[0].name.as_str(), all[0].max_age), ("scan", Duration::from_secs(300)));
        assert_eq!(all[0].source, Source::Path(PathBuf::from("/srv/h")));
        for (change, expected) in [
            (("name = \"scan\"\n", "name = \"a b\"\n"), "name: expected a name of letters"),
            (("path = \"/srv/h\"\n", ""), "expected path, or url, or bucket and key"),
            (("path = \"/srv/h\"", "url = \"ftp://x\""), "url: begins with neither"),
            (("max_age = \"5m\"\n", ""), "max_age: missing"),
            (("5m", "0s"), "max_age: "),
        ] {
            let told = from_str(&text.replace(change.0, change.1)).unwrap_err().to_string();
            assert!(told.contains(expected), "{change:?}: {told}");
        }
        let twice = from_str(&format!("{text}{text}")).unwrap_err().to_string();
        assert!(twice.contains("is the name of another"), "{twice}");
    }
}
