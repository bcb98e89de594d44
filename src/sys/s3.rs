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
use rusty_s3::actions::{ListObjectsV2, ListObjectsV2Response};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body, SendBody};

use super::clock::{Deadline, Now};
use super::{http, text};

/// How long a signature holds: a question is asked at once.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Longest part of an answer that is read for its reason, bytes.
const REASON_BYTES_MAX: u64 = 64 * 1024;
/// Longest page of a listing, bytes; it has 1000 keys of at most 1 KiB each.
const PAGE_BYTES_MAX: u64 = 16 << 20;
/// Most keys of a listing: nobody keeps more in memory by mistake.
const KEYS_MAX: usize = 1_000_000;
/// Where an object says what it is made of, and which job made it.
const DIGEST: &str = "x-amz-meta-unwedge-sha256";
const MADE_BY: &str = "x-amz-meta-unwedge-job";
/// Refusals that pass by themselves, though their status says otherwise.
const PASSING: [&str; 4] =
    ["RequestTimeout", "BadDigest", "IncompleteBody", "ConditionalRequestConflict"];
/// Refusals of this object alone, and for ever.
const OF_THE_OBJECT: [&str; 3] = ["EntityTooLarge", "KeyTooLongError", "KeyTooLong"];

/// Refusals of whoever signs for another region, or asks another server than the bucket's.
const OF_A_REGION: [&str; 3] =
    ["AuthorizationQueryParametersError", "AuthorizationHeaderMalformed", "PermanentRedirect"];
/// The refusal of whoever has no right to it.
const DENIED: &str = "AccessDenied";

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
    /// This object is none that could ever be had or put there.
    #[error("{0}")]
    Unfit(String),
    /// What came is not what was put there.
    #[error("what came is not what was put there: {0}")]
    Damaged(String),
    /// The server is not to be had, or has trouble of its own.
    #[error("{0}")]
    Away(String),
    /// On this side there is too little room for it.
    #[error("{0}")]
    NoRoom(String),
    /// On this side: a file that cannot be read or written.
    #[error("{0}")]
    Local(String),
}

/// Which object of its key it is: the same bytes put there again are another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// As the server tells it, a digest of its bytes or of their parts; empty where a listing does not say.
    pub etag: String,
    /// When it was put there, seconds since 1970; 0 where a listing does not say.
    pub written_s: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.etag, self.written_s)
    }
}

impl std::str::FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (etag, written) = text.rsplit_once('.').ok_or(())?;
        Ok(Self { etag: etag.to_owned(), written_s: written.parse().map_err(|_| ())? })
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Which one.
    pub version: Version,
}

/// Whether a key can be asked for: parts that are `.` or `..` are taken for a way by whoever reads a URL, and lead to
/// another object.
#[must_use]
pub fn is_askable(key: &str) -> bool {
    !key.is_empty() && key.split('/').all(|part| part != "." && part != "..")
}

/// What a server tells of an object without giving it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its version.
    pub etag: String,
    /// Bytes, where the server says so.
    pub size: Option<u64>,
    /// What it is made of, where it was put there by this program.
    pub sha256: Option<String>,
    /// The job that made it, likewise.
    pub made_by: Option<String>,
    /// When it was written, milliseconds since 1970.
    pub written_ms: Option<u64>,
    /// What the server takes the time for.
    pub now_ms: Option<u64>,
}

impl Head {
    /// Which one it is.
    #[must_use]
    pub fn version(&self) -> Version {
        let written_s = self.written_ms.map_or(0, |ms| ms / 1000);
        Version { etag: self.etag.clone(), written_s }
    }

    /// Whether it is this version, by what is known of both; of which nothing is known is none.
    #[must_use]
    pub fn is(&self, version: &Version) -> bool {
        let written_s = self.written_ms.map(|ms| ms / 1000);
        if version.etag.is_empty() {
            return version.written_s != 0 && written_s == Some(version.written_s);
        }
        self.etag == version.etag
            && (version.written_s == 0 || written_s.is_none_or(|it| it == version.written_s))
    }
}

/// The way to a bucket.
pub struct Client {
    place: Place,
    bucket: Bucket,
    credentials: Credentials,
}

impl Client {
    /// To this one, by `KEY:SECRET`, or `KEY:SECRET TOKEN` for what is lent for a while.
    ///
    /// # Errors
    /// It is none.
    pub fn to(place: &Place, secret: &str) -> Result<Self, String> {
        let (secret, token) = secret.split_once(' ').unwrap_or((secret, ""));
        let (key, secret) =
            secret.split_once(':').ok_or("the credential is not KEY:SECRET, in one line")?;
        let credentials = Credentials::new_with_token(key, secret, token.trim());
        let endpoint = place.endpoint.parse();
        let endpoint = endpoint.map_err(|error| format!("{}: {error}", place.endpoint))?;
        let style = if place.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, place.bucket.clone(), place.region.clone());
        let bucket = bucket.map_err(|error| format!("{}: {error}", place.endpoint))?;
        Ok(Self { place: place.clone(), bucket, credentials })
    }

    /// The objects whose keys begin so, listed within `limit` and the time for one question.
    ///
    /// # Errors
    /// They are not known: that is another answer than none.
    pub fn list(&self, prefix: &str, limit: Duration) -> Result<Vec<Object>, Trouble> {
        let deadline = Deadline::after(limit);
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        // one connection for all pages
        let agent = self.agent(0)?;
        loop {
            if deadline.passed() {
                return Err(Trouble::Away(format!(
                    "no whole listing within {}",
                    text::duration(limit)
                )));
            }
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix);
            if let Some(token) = &next {
                action.with_continuation_token(token.as_str());
            }
            let url = action.sign(SIGNED_FOR).to_string();
            let mut answer = self.ask(agent.get(&url).call())?;
            let page = page_of(&mut answer)?;
            let before = next.replace(page.next_continuation_token.clone().unwrap_or_default());
            if before == next {
                return Err(Trouble::Away("its listing goes round in a circle".to_owned()));
            }
            found.extend(page.contents.into_iter().map(|it| Object {
                key: it.key,
                version: Version {
                    etag: plain(&it.etag.unwrap_or_default()),
                    written_s: it.last_modified.as_deref().and_then(seconds).unwrap_or(0),
                },
            }));
            if page.next_continuation_token.is_none() {
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
            // a page of somebody else's is no answer
            Ok(mut answer) => page_of(&mut answer).map(|_| ()),
            // whoever may not list may well fetch; more behind the word is of another kind
            Err(Trouble::Refused(why)) if why.ends_with(DENIED) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// What an object is.
    ///
    /// # Errors
    /// It is not known.
    pub fn head(&self, key: &str) -> Result<Head, Trouble> {
        askable(key)?;
        let url = self.bucket.head_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        match self.agent(0)?.head(url.as_str()).call() {
            // without a body nobody says what is missing, the object, the bucket, or all of the server; nor why it is
            // refused
            Ok(answer) if has_a_reason(answer.status()) => {
                let url = self.bucket.get_object(Some(&self.credentials), key).sign(SIGNED_FOR);
                let asked = self.agent(0)?.get(url.as_str()).header("range", "bytes=0-0").call();
                head_of(self.ask(asked)?.headers())
            }
            answer => head_of(self.ask(answer)?.headers()),
        }
    }

    /// Fetches an object, into a file that is new: this version of it, where one is meant. What came is checked by its
    /// size, and by its digest where the server or whoever put it there says one. Where so many bytes would not be free
    /// afterwards it is not begun.
    ///
    /// # Errors
    /// What is in the file is nothing.
    pub fn get(
        &self,
        key: &str,
        version: Option<&Version>,
        to: &Path,
        keep_free: u64,
    ) -> Result<Head, Trouble> {
        let there = self.head(key)?;
        if version.is_some_and(|version| !there.is(version)) {
            return Err(Trouble::Changed);
        }
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let mut request = self.agent(there.size.unwrap_or(0))?.get(url.as_str());
        if version.is_some() {
            request = request.header("if-match", format!("\"{}\"", there.etag));
        }
        let mut answer = self.ask(request.call())?;
        let head = head_of(answer.headers())?;
        // not every server heeds the wish, and the same bytes may have been put there again
        if version.is_some_and(|version| !head.is(version)) {
            return Err(Trouble::Changed);
        }
        has_room(to, head.size.unwrap_or(0), keep_free)?;
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
        if let Some(size) = head.size.filter(|size| came != *size) {
            return Err(Trouble::Away(format!("{came} bytes came, {size} were told")));
        }
        let (said, found) = match (&head.sha256, md5_of(answer.headers(), &head.etag)) {
            (Some(said), _) => (said.clone(), text::hex(&sha.finalize())),
            (None, Some(said)) => (said, text::hex(&md5.finalize())),
            (None, None) => (String::new(), String::new()),
        };
        if said != found {
            return Err(Trouble::Damaged(format!("its digest is {found}, {said} was told")));
        }
        file.sync_all().map_err(local)?;
        Ok(head)
    }

    /// Puts a file there where nothing is, and makes sure that it is there. What is there already stays: the same bytes are
    /// what was wanted, and so is what was put there by one whose name begins like `ours`: the same job's, in a try before.
    ///
    /// # Errors
    /// It is not known to be there; `Changed` where another one is.
    pub fn put(
        &self,
        key: &str,
        from: &Path,
        made_by: &str,
        ours: Option<&str>,
    ) -> Result<(), Trouble> {
        let is_ours = |head: &Head| {
            ours.zip(head.made_by.as_deref()).is_some_and(|(ours, by)| by.starts_with(ours))
        };
        askable(key)?;
        let local =
            |error: std::io::Error| Trouble::Local(format!("{}: {error}", text::path(from)));
        let mut file = File::open(from).map_err(local)?;
        let size = file.metadata().map_err(local)?.len();
        let (sha, md5) = digests(&mut file).map_err(local)?;
        match self.head(key) {
            Ok(head) if is_ours(&head) => return Ok(()),
            Ok(head) => return self.same(key, &head, size, &sha, from),
            Err(Trouble::Absent) => {}
            // to whoever may not list, what is not there is denied like what is
            Err(Trouble::Refused(why)) if why.ends_with(DENIED) => {
                return Err(Trouble::Refused(format!(
                    "{why}: whether it is there cannot be seen without the right to list (s3:ListBucket)"
                )));
            }
            Err(why) => return Err(why),
        }
        file.rewind().map_err(local)?;
        let mut action = self.bucket.put_object(Some(&self.credentials), key);
        action.headers_mut().insert(DIGEST, sha.as_str());
        action.headers_mut().insert(MADE_BY, made_by);
        let url = action.sign(SIGNED_FOR);
        let request = self
            .agent(size)?
            .put(url.as_str())
            .header(DIGEST, &sha)
            .header(MADE_BY, made_by)
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
            _ if head.size.is_some_and(|there| there != size) => false,
            Some(said) => said == sha,
            // whoever put it there says nothing of it: it is looked at
            None => {
                let mut name = from.as_os_str().to_owned();
                name.push(".there");
                let there = PathBuf::from(name);
                let got = self.get(key, None, &there, 0);
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
        askable(key)?;
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        self.ask(self.agent(0)?.put(url.as_str()).send(bytes)).map(|_| ())
    }

    /// Deletes an object, if it is still this version of it. One that is not there is deleted. Where a server does not know
    /// a deletion on a condition, one that is put there in the moment after the look goes with it.
    ///
    /// # Errors
    /// It is not known to be gone; `Changed` where it is another one.
    pub fn delete(&self, key: &str, version: &Version) -> Result<(), Trouble> {
        let there = match self.head(key) {
            Ok(head) if head.is(version) => head,
            Ok(_) => return Err(Trouble::Changed),
            Err(Trouble::Absent) => return Ok(()),
            Err(why) => return Err(why),
        };
        let url = self.bucket.delete_object(Some(&self.credentials), key).sign(SIGNED_FOR);
        let request = self.agent(0)?.delete(url.as_str());
        let request = request.header("if-match", format!("\"{}\"", there.etag));
        match self.ask(request.call()) {
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
        let there = answer.headers().get("date").and_then(|it| http::date(it.to_str().ok()?));
        let here = Now::take().ok().map(|now| now.utc_ms);
        let apart = there.zip(here).map(|(one, other)| Duration::from_millis(one.abs_diff(other)));
        Err(match status.as_u16() {
            _ if OF_THE_OBJECT.contains(&code.as_str()) => Trouble::Unfit(told),
            _ if PASSING.contains(&code.as_str()) => Trouble::Away(told),
            404 | 410 if code == "NoSuchKey" => Trouble::Absent,
            404 if code == "NoSuchBucket" => {
                Trouble::Refused(format!("{told}: there is no bucket {}", self.place.bucket))
            }
            // of whatever stands before the server
            404 | 408 | 409 | 410 | 425 | 429 => Trouble::Away(told),
            412 => Trouble::Changed,
            // a signature that is over, or not yet valid, is only denied
            400..=499 if apart.is_some_and(|apart| apart >= SIGNED_FOR) => {
                Trouble::Refused(format!(
                    "{told}: the clocks of this host and of the server differ by {}",
                    text::duration(apart.unwrap_or_default())
                ))
            }
            400..=499 if code == "RequestTimeTooSkewed" => Trouble::Refused(format!(
                "{told}: the clocks of this host and of the server differ"
            )),
            301 | 400 if OF_A_REGION.contains(&code.as_str()) => Trouble::Refused(format!(
                "{told}: is it the region {}, and this endpoint?",
                self.place.region
            )),
            400..=499 => Trouble::Refused(told),
            _ => Trouble::Away(told),
        })
    }
}

/// Whether there is more to be had of it than a status.
fn has_a_reason(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 400 | 403 | 404)
}

fn askable(key: &str) -> Result<(), Trouble> {
    if is_askable(key) {
        return Ok(());
    }
    Err(Trouble::Unfit("a key with a part that is . or .. leads to another object".to_owned()))
}

/// Whether a file of this size may be made there. A file system that does not say how large it is decides for itself.
fn has_room(to: &Path, size: u64, keep_free: u64) -> Result<(), Trouble> {
    let dir = to.parent().unwrap_or(to);
    let local = |error| Trouble::Local(format!("{}: {error}", text::path(dir)));
    let room = rustix::fs::statvfs(dir).map_err(local)?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if room.f_blocks == 0 || size.saturating_add(keep_free) <= free {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let kept =
        if keep_free == 0 { String::new() } else { format!(", {} must stay so", mib(keep_free)) };
    Err(Trouble::NoRoom(format!(
        "it has {} MiB, and of {} {} MiB are free{kept}",
        mib(size),
        text::path(dir),
        free >> 20
    )))
}

/// A page of a listing.
fn page_of(answer: &mut Response<Body>) -> Result<ListObjectsV2Response, Trouble> {
    let page = answer.body_mut().with_config().limit(PAGE_BYTES_MAX).read_to_string();
    let page = page.map_err(|error| Trouble::Away(error.to_string()))?;
    ListObjectsV2::parse_response(&page)
        .map_err(|error| Trouble::Away(format!("its listing is not understood: {error}")))
}

/// `2026-11-29T05:40:31.000Z`, seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339(text).ok()?;
    Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

fn head_of(headers: &HeaderMap) -> Result<Head, Trouble> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let etag = plain(text("etag").unwrap_or_default());
    if etag.is_empty() {
        return Err(Trouble::Away("its answer is that of no server of objects".to_owned()));
    }
    // of a part that was asked for, the size of the whole stands behind it
    let whole = text("content-range").and_then(|it| it.rsplit_once('/')).map(|(_, size)| size);
    let is_digest = |it: &&str| it.len() == 64 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(Head {
        etag,
        size: whole.or_else(|| text("content-length")).and_then(|it| it.parse().ok()),
        sha256: text(DIGEST).filter(is_digest).map(str::to_ascii_lowercase),
        made_by: text(MADE_BY).map(str::to_owned),
        written_ms: text("last-modified").and_then(http::date),
        now_ms: text("date").and_then(http::date),
    })
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
    Ok((text::hex(&sha.finalize()), BASE64.encode(md5.finalize())))
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
        assert_eq!(text::hex(&[0, 15, 255]), "000fff");
        assert_eq!(plain("\"abc\""), "abc");
    }

    #[test]
    fn a_key_that_leads_elsewhere_is_not_asked_for_and_a_version_is_read_as_it_was_written() {
        for key in ["a/../b", "..", "a/.", "./a", ""] {
            assert!(!is_askable(key), "{key}");
        }
        for key in ["a/b", "a..b/...", ".hidden", "a//b"] {
            assert!(is_askable(key), "{key}");
        }
        let version = Version { etag: "d41d-2".to_owned(), written_s: 1_700_000_000 };
        assert_eq!(version.to_string().parse(), Ok(version));
        assert_eq!("d41d".parse::<Version>(), Err(()));
        assert_eq!(seconds("2026-11-29T05:40:31.000Z"), Some(1_795_930_831));
    }

    #[test]
    fn an_object_is_known_by_its_digest_and_its_time_or_by_the_one_that_is_told() {
        let head = Head { etag: "a".to_owned(), written_ms: Some(7_300), ..Head::default() };
        let version = |etag: &str, written_s| Version { etag: etag.to_owned(), written_s };
        for (etag, written_s, is_it) in [
            ("a", 7, true),
            ("a", 0, true),
            ("", 7, true),
            ("b", 7, false),
            ("a", 8, false),
            ("", 8, false),
            ("", 0, false),
        ] {
            assert_eq!(head.is(&version(etag, written_s)), is_it, "{etag} {written_s}");
        }
        let timeless = Head { written_ms: None, ..head };
        assert!(timeless.is(&version("a", 7)) && !timeless.is(&version("", 7)));
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
