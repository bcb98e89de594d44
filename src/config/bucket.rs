//! `[[bucket]]`: buckets of servers that speak S3. A file in one is `s3://NAME/KEY`, by the name that it has here: hosts
//! may reach it by different ways.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Checker;
use super::fragment::BucketFragment;
use super::secret::{self, Secret};
use super::tree::KeyPath;
use crate::sys::clock::millis;
use crate::sys::s3::Place;

/// Shortest and longest `timeout`: 1 s and 5 min.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// What every address of an object begins with.
pub const SCHEME: &str = "s3://";

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// What it is called here.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// `KEY:SECRET`.
    pub secret: Secret,
}

/// An object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// What its bucket is called here.
    pub bucket: &'a str,
    /// Its key.
    pub key: &'a str,
}

impl<'a> Address<'a> {
    /// The object that a path stands for; none where it is a path.
    #[must_use]
    pub fn of(path: &'a Path) -> Option<Self> {
        let (bucket, key) = path.to_str()?.strip_prefix(SCHEME)?.split_once('/')?;
        (!bucket.is_empty() && !key.is_empty()).then_some(Self { bucket, key })
    }

    /// It as a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("{SCHEME}{}/{}", self.bucket, self.key))
    }
}

/// What a job needs that works on an object of a bucket.
#[must_use]
pub fn key(name: &str) -> String {
    format!("bucket:{name}")
}

/// Makes settings of them.
pub(super) fn buckets(check: &mut Checker<'_>, written: Vec<BucketFragment>) -> Vec<Bucket> {
    let mut all: Vec<Bucket> = Vec::new();
    for (index, written) in written.into_iter().enumerate() {
        let at = KeyPath::of(&["bucket"]).index(index);
        let taken = all.iter().map(|it| it.name.as_str());
        let name = check.own_name(&at.key("name"), written.name, taken);
        let endpoint = written.endpoint.unwrap_or_default();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            let at = at.key("endpoint");
            check.problem(&at, "expected where the server is, https://HOST or http://HOST");
        }
        let ten = Duration::from_secs(10);
        let timeout =
            check.duration(&at.key("timeout"), written.timeout, ten, TIMEOUT_MIN..=TIMEOUT_MAX);
        all.push(Bucket {
            secret: secret::secret(
                check,
                &at,
                ("key", "KEY:SECRET"),
                written.key_file,
                written.key_credential,
            ),
            place: Place {
                endpoint,
                region: written.region.unwrap_or_else(|| "us-east-1".to_owned()),
                bucket: written.bucket.unwrap_or_else(|| name.clone()),
                path_style: written.path_style.unwrap_or(true),
                ca_file: written.ca_file.and_then(|it| check.absolute(&at.key("ca_file"), &it)),
                timeout_ms: millis(timeout),
            },
            name,
        });
    }
    all
}

/// Makes sure that there is one of this name.
pub(super) fn is_known(check: &mut Checker<'_>, at: &KeyPath, name: &str, all: &[Bucket]) {
    if !all.iter().any(|it| it.name == name) {
        check.problem(at, format!("there is no [[bucket]] called {name}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[test]
    fn a_bucket_has_a_place_and_a_key_that_is_elsewhere() {
        type Take = fn(&mut Place, &Place);
        let text = "[[bucket]]\nname = \"scans\"\nendpoint = \"https://s3.example.org\"\nkey_file = \"/etc/unwedge/scans.key\"\n";
        let it = from_str(text).unwrap().bucket.remove(0);
        assert_eq!((it.place.bucket.as_str(), it.place.path_style), ("scans", true));
        assert_eq!(it.secret, Secret::File("/etc/unwedge/scans.key".into()));
        let more = "region = \"eu-1\"\nbucket = \"other\"\npath_style = false\nca_file = \"/etc/own.pem\"\ntimeout = \"7s\"\n";
        let place = |more: &str| from_str(&format!("{text}{more}")).unwrap().bucket.remove(0).place;
        let usual = Place {
            endpoint: "https://s3.example.org".to_owned(),
            region: "us-east-1".to_owned(),
            bucket: "scans".to_owned(),
            path_style: true,
            ca_file: None,
            timeout_ms: 10_000,
        };
        assert_eq!(place(""), usual);
        let all = Place {
            endpoint: usual.endpoint.clone(),
            region: "eu-1".to_owned(),
            bucket: "other".to_owned(),
            path_style: false,
            ca_file: Some("/etc/own.pem".into()),
            timeout_ms: 7_000,
        };
        assert_eq!(place(more), all);
        // each sets what it names, and nothing else
        let each: [Take; 5] = [
            |it, all| it.region.clone_from(&all.region),
            |it, all| it.bucket.clone_from(&all.bucket),
            |it, all| it.path_style = all.path_style,
            |it, all| it.ca_file.clone_from(&all.ca_file),
            |it, all| it.timeout_ms = all.timeout_ms,
        ];
        for (line, take) in more.lines().zip(each) {
            let mut expected = usual.clone();
            take(&mut expected, &all);
            assert_eq!(place(line), expected, "{line}");
        }
        for (line, is_right) in [
            ("timeout = \"999ms\"", false),
            ("timeout = \"1s\"", true),
            ("timeout = \"5m\"", true),
            ("timeout = \"301s\"", false),
            ("ca_file = \"own.pem\"", false),
        ] {
            assert_eq!(from_str(&format!("{text}{line}\n")).is_ok(), is_right, "{line}");
        }
        for (change, expected) in [
            (("https://s3.example.org", "s3.example.org"), "endpoint: expected where"),
            (
                ("key_file = \"/etc/unwedge/scans.key\"\n", ""),
                "key_file: missing; give key_file, a file with KEY:SECRET",
            ),
            (("key_file = \"/etc/unwedge/scans.key\"\n", "key = \"a:b\"\n"), "unknown key"),
        ] {
            let told = from_str(&text.replace(change.0, change.1)).unwrap_err().to_string();
            assert!(told.contains(expected), "{change:?}: {told}");
        }
    }

    #[test]
    fn an_address_is_told_from_a_path() {
        let of = |text: &'static str| Address::of(Path::new(text)).map(|it| (it.bucket, it.key));
        assert_eq!(of("s3://a/in/b.pdf"), Some(("a", "in/b.pdf")));
        for path in ["/s3://a/b", "s3://a", "s3://a/", "s3:///b", "/srv/in"] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(Address { bucket: "a", key: "b/c" }.path(), Path::new("s3://a/b/c"));
    }
}
