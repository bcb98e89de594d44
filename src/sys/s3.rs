//! A bucket of a server that speaks S3: what is asked is signed by `rusty-s3`, and asked here, each time within a limit.
//! What a server answers is sorted by what follows from it: an object that is not there is another thing than a server
//! that is not.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use md5::Md5;
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, SendBody};

use super::{http, text};

/// How long a signature holds: a question is asked at once.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Longest part of an answer that is read for its reason, bytes.
const REASON_BYTES_MAX: u64 = 64 * 1024;
/// Longest page of a listing, bytes; it has 1000 keys of at most 1 KiB each.
const PAGE_BYTES_MAX: u64 = 16 << 20;
/// Most keys of a listing: nobody keeps more in memory by mistake.
const KEYS_MAX: usize = 1_000_000;
/// Where an object says what it is made of, whoever serves it.
const DIGEST: &str = "x-amz-meta-sha256";

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The server: `https://s3.example.org`.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// What the bucket is called there.
    pub bucket: String,
    /// Whether it stands in the path and not in the name of the host.
    pub path_style: bool,
    /// The certificates that the server must come from, PEM; else those of the system.
    pub ca_file: Option<PathBuf>,
    /// For one question, milliseconds; what is fetched or put may take as long again for each 8 MiB.
    pub timeout_ms: u64,
}

/// Why there is no answer, or not the one that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such object.
    #[error("there is no such object")]
    Absent,
    /// It is another one than the one that was meant.
    #[error("it is another one by now")]
    Changed,
    /// The server does not let us: a key, a right, a clock. It would say so again.
    #[error("{0}")]
    Refused(String),
    /// The server is not to be had, or has trouble of its own.
    #[error("{0}")]
    Away(String),
    /// On this side: a file that cannot be read or written.
    #[error("{0}")]
    Local(String),
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its version, as the server tells it.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// What a server tells of an object without giving it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its version.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// What it is made of, where whoever put it there said so.
    pub sha256: Option<String>,
    /// When it was written, milliseconds since 1970.
    pub written_ms: Option<u64>,
    /// What the server takes the time for.
    pub now_ms: Option<u64>,
}

/// The way to a bucket.
pub struct Client {
    place: Place,
    bucket: Bucket,
    credentials: Credentials,
}

impl Client {
    /// To this one, by `KEY:SECRET`.
    ///
    /// # Errors
    /// It is none.
    pub fn to(place: &Place, secret: &str) -> Result<Self, String> {
        let (key, secret) =
            secret.split_once(':').ok_or("the credential is not KEY:SECRET, in one line")?;
        let endpoint = place.endpoint.parse();
        let endpoint = endpoint.map_err(|error| format!("{}: {error}", place.endpoint))?;
        let style = if place.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, place.bucket.clone(), place.region.clone());
        let bucket = bucket.map_err(|error| format!("{}: {error}", place.endpoint))?;
        Ok(Self { place: place.clone(), bucket, credentials: Credentials::new(key, secret) })
    }

    /// The objects whose keys begin so.
    ///
    /// # Errors
    /// They are not known: that is another answer than none.
    pub fn list(&self, prefix: &str) -> Result<Vec<Object>, Trouble> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix);
            if let Some(token) = &next {
                action.with_continuation_token(token.as_str());
            }
            let url = action.sign(SIGNED_FOR).to_string();
            let mut answer = self.ask(self.agent(0)?.get(&url).call())?;
            let page = answer.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string();
            let page = page.map_err(|error| Trouble::Away(error.to_string()))?;
            let page = ListObjectsV2::parse_response(&page).map_err(|error| {
                Trouble::Away(format!("its listing is not understood: {error}"))
            })?;
            found.extend(page.contents.into_iter().map(|it| Object {
                key: it.key,
                etag: plain(&it.etag.unwrap_or_default()),
                size: it.size.unwrap_or_default(),
            }));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(found);
            }
            if found.len() > KEYS_MAX {
                return Err(Trouble::Refused(format!("more than {KEYS_MAX} keys begin so")));
            }
        }
    }

    /// Whether the bucket answers: a listing of one key.
    ///
    /// # Errors
    /// It does not, or not to us.
    pub fn answers(&self) -> Result<(), Trouble> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_max_keys(1);
        let url = action.sign(SIGNED_FOR).to_string();
        match self.ask(self.agent(0)?.get(&url).call()) {
            Ok(_) => Ok(()),
            // whoever may not list may well fetch and put
            Err(Trouble::Refused(why)) if why.contains("AccessDenied") => Ok(()),
            Err(Trouble::Absent) => {
                Err(Trouble::Refused(format!("there is no bucket {}", self.place.bucket)))
            }
            Err(why) => Err(why),
        }
    }

    /// What an object is.
    ///
    /// # Errors
    /// It is not known.
    pub fn head(&self, key: &str) -> Result<Head, Trouble> {
        let url = self.bucket.head_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let answer = self.ask(self.agent(0)?.head(url.as_str()).call())?;
        Ok(head_of(answer.headers()))
    }

    /// Fetches an object, into a file that is new: this version of it, where one is meant. What came is checked by its
    /// size, and by its digest where the server or whoever put it there says one.
    ///
    /// # Errors
    /// What is in the file is nothing.
    pub fn get(&self, key: &str, etag: Option<&str>, to: &Path) -> Result<Head, Trouble> {
        let size = self.head(key)?.size;
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let mut request = self.agent(size)?.get(url.as_str());
        if let Some(etag) = etag {
            request = request.header("if-match", format!("\"{etag}\""));
        }
        let mut answer = self.ask(request.call())?;
        let head = head_of(answer.headers());
        // not every server heeds the wish
        if etag.is_some_and(|etag| etag != head.etag) {
            return Err(Trouble::Changed);
        }
        let local = |error: std::io::Error| Trouble::Local(format!("{}: {error}", text::path(to)));
        let mut file = File::create_new(to).map_err(local)?;
        let mut reader = answer.body_mut().as_reader();
        let (mut sha, mut md5, mut came) = (Sha256::new(), Md5::new(), 0_u64);
        let mut part = vec![0; 128 * 1024];
        loop {
            let length =
                reader.read(&mut part).map_err(|error| Trouble::Away(error.to_string()))?;
            if length == 0 {
                break;
            }
            let Some(bytes) = part.get(..length) else { break };
            sha.update(bytes);
            md5.update(bytes);
            file.write_all(bytes).map_err(local)?;
            came += length as u64;
        }
        if came != head.size {
            return Err(Trouble::Away(format!("{came} bytes came, {} were told", head.size)));
        }
        let whole = match (&head.sha256, md5_of(answer.headers(), &head.etag)) {
            (Some(said), _) => *said == hex(&sha.finalize()),
            (None, Some(said)) => said == hex(&md5.finalize()),
            (None, None) => true,
        };
        if !whole {
            return Err(Trouble::Away("what came is not what was put there".to_owned()));
        }
        file.sync_all().map_err(local)?;
        Ok(head)
    }

    /// Puts a file there where nothing is, and makes sure that it is there. What is there already stays: the same bytes are
    /// what was wanted, and with `may_be_there` others too, for a try before has put them there.
    ///
    /// # Errors
    /// It is not known to be there; `Changed` where another one is.
    pub fn put(&self, key: &str, from: &Path, may_be_there: bool) -> Result<(), Trouble> {
        let local =
            |error: std::io::Error| Trouble::Local(format!("{}: {error}", text::path(from)));
        let mut file = File::open(from).map_err(local)?;
        let size = file.metadata().map_err(local)?.len();
        let (sha, md5) = digests(&mut file).map_err(local)?;
        match self.head(key) {
            Ok(_) if may_be_there => return Ok(()),
            Ok(head) => return self.same(key, &head, size, &sha, from),
            Err(Trouble::Absent) => {}
            Err(why) => return Err(why),
        }
        file.rewind().map_err(local)?;
        let mut action = self.bucket.put_object(Some(&self.credentials), key);
        action.headers_mut().insert(DIGEST, sha.as_str());
        let url = action.sign(SIGNED_FOR);
        let request = self
            .agent(size)?
            .put(url.as_str())
            .header(DIGEST, &sha)
            .header("content-md5", &md5)
            .header("content-length", size.to_string())
            // a server that does not know it writes over, and what was there a moment ago was nothing
            .header("if-none-match", "*");
        match self.ask(request.send(SendBody::from_reader(&mut file))) {
            Ok(_) | Err(Trouble::Changed) => {}
            Err(why) => return Err(why),
        }
        let head = self.head(key)?;
        self.same(key, &head, size, &sha, from)
    }

    /// Whether what is there is what was to go there.
    fn same(
        &self,
        key: &str,
        head: &Head,
        size: u64,
        sha: &str,
        from: &Path,
    ) -> Result<(), Trouble> {
        let is_same = match &head.sha256 {
            _ if head.size != size => false,
            Some(said) => said == sha,
            // whoever put it there says nothing of it: it is looked at
            None => {
                let mut name = from.as_os_str().to_owned();
                name.push(".there");
                let there = PathBuf::from(name);
                let got = self.get(key, Some(&head.etag), &there);
                let digest = File::open(&there).and_then(|mut file| digests(&mut file));
                let _ = std::fs::remove_file(&there);
                got?;
                digest.is_ok_and(|(there, _)| there == sha)
            }
        };
        if is_same { Ok(()) } else { Err(Trouble::Changed) }
    }

    /// Writes a small object, over whatever is there: for what is nobody's work, such as a sign of life.
    ///
    /// # Errors
    /// It is not known to be written.
    pub fn write(&self, key: &str, bytes: &[u8]) -> Result<(), Trouble> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        self.ask(self.agent(0)?.put(url.as_str()).send(bytes)).map(|_| ())
    }

    /// Deletes an object, if it is still this version of it. One that is not there is deleted.
    ///
    /// # Errors
    /// It is not known to be gone; `Changed` where it is another one.
    pub fn delete(&self, key: &str, etag: &str) -> Result<(), Trouble> {
        match self.head(key) {
            Ok(head) if head.etag == etag => {}
            Ok(_) => return Err(Trouble::Changed),
            Err(Trouble::Absent) => return Ok(()),
            Err(why) => return Err(why),
        }
        let url = self.bucket.delete_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        match self.ask(self.agent(0)?.delete(url.as_str()).call()) {
            Ok(_) | Err(Trouble::Absent) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Asks with time for so many bytes.
    fn agent(&self, bytes: u64) -> Result<Agent, Trouble> {
        const BYTES: u64 = 8 << 20;
        let limit =
            Duration::from_millis(self.place.timeout_ms.saturating_mul(1 + bytes.div_ceil(BYTES)));
        http::agent(&self.place.endpoint, self.place.ca_file.as_deref(), limit)
            .map_err(Trouble::Refused)
    }

    /// Sorts an answer by what follows from it. No URL is told on: it is signed.
    fn ask(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Trouble> {
        let mut answer = answer.map_err(|error| {
            let said = error.to_string();
            // a message that names the question has a signature in it
            let said = if said.contains("X-Amz") { "no answer".to_owned() } else { said };
            Trouble::Away(format!("{}: {said}", self.place.endpoint))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.body_mut().with_config().limit(REASON_BYTES_MAX).read_to_string();
        let code = said.ok().and_then(|said| {
            let (_, rest) = said.split_once("<Code>")?;
            Some(rest.split_once("</Code>")?.0.to_owned())
        });
        let code = code.unwrap_or_default();
        let told = format!("{}: HTTP {} {code}", self.place.endpoint, status.as_u16());
        let told = told.trim_end().to_owned();
        Err(match status.as_u16() {
            404 | 410 => Trouble::Absent,
            409 | 412 => Trouble::Changed,
            408 | 429 => Trouble::Away(told),
            400..=499 if code == "RequestTimeTooSkewed" => Trouble::Refused(format!(
                "{told}: the clocks of this host and of the server differ"
            )),
            400..=499 => Trouble::Refused(told),
            _ => Trouble::Away(told),
        })
    }
}

fn head_of(headers: &HeaderMap) -> Head {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    Head {
        etag: plain(text("etag").unwrap_or_default()),
        size: text("content-length").and_then(|it| it.parse().ok()).unwrap_or_default(),
        sha256: text(DIGEST).map(str::to_owned),
        written_ms: text("last-modified").and_then(http::date),
        now_ms: text("date").and_then(http::date),
    }
}

/// The MD5 that a server vouches for: the version of an object that was put there in one part and not encrypted by a key.
fn md5_of(headers: &HeaderMap, etag: &str) -> Option<String> {
    let is_digest = etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let said = headers.get("x-amz-server-side-encryption").map(|it| it.as_bytes() == b"AES256");
    let has_key = headers.contains_key("x-amz-server-side-encryption-customer-algorithm");
    (is_digest && said.unwrap_or(true) && !has_key).then(|| etag.to_ascii_lowercase())
}

fn plain(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// SHA-256 in hexadecimal digits, MD5 in base64 as a header has it.
fn digests(file: &mut File) -> std::io::Result<(String, String)> {
    let (mut sha, mut md5) = (Sha256::new(), Md5::new());
    let mut part = vec![0; 128 * 1024];
    loop {
        let length = file.read(&mut part)?;
        let Some(bytes) = part.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        sha.update(bytes);
        md5.update(bytes);
    }
    Ok((hex(&sha.finalize()), BASE64.encode(md5.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_headers_have_them() {
        let mut file = tempfile::tempfile().unwrap();
        let (sha, md5) = digests(&mut file).unwrap();
        assert_eq!(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(md5, "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(hex(&[0, 15, 255]), "000fff");
        assert_eq!(plain("\"abc\""), "abc");
    }

    #[test]
    fn a_version_is_a_digest_only_where_a_server_vouches_for_it() {
        let etag = "d41d8cd98f00b204e9800998ecf8427e";
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert_eq!(md5_of(&HeaderMap::new(), etag).as_deref(), Some(etag));
        assert_eq!(
            md5_of(&with("x-amz-server-side-encryption", "AES256"), etag).as_deref(),
            Some(etag)
        );
        assert_eq!(md5_of(&with("x-amz-server-side-encryption", "aws:kms"), etag), None);
        assert_eq!(md5_of(&HeaderMap::new(), "d41d8cd98f00b204e9800998ecf8427e-2"), None);
    }
}
