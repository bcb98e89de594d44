//! Errands: fetching an input that is not on this host, and delivering a result that belongs elsewhere. Each is a command
//! like those of a tier, with a limit, and ended as they are. Those to a bucket are this program itself, under a word of
//! its own; it is told where the key is and never the key.

use std::ffi::{CStr, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::bucket::{Address, Bucket};
use crate::config::job_type::Meaning;
use crate::probes::bucket;
use crate::report::out;
use crate::sys::backoff::Backoff;
use crate::sys::clock::pause;
use crate::sys::path_text;
use crate::sys::s3::Trouble;

/// The word that makes this program do one.
const VERB: &str = "--errand";
/// What it calls itself.
pub const NAME: &CStr = c"unwedge-errand";
/// How long one may take: each question has its own, shorter limit, but by a size that nobody knows before.
pub const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// How often one is tried, and how long is waited before the second; the wait doubles.
const TRIES: u32 = 4;
const AGAIN: Duration = Duration::from_secs(1);

/// Its exit codes, as sysexits.h has them. The first is that of what is not to be had just now.
pub const AWAY: i32 = 75;
const NOT_THERE: i32 = 66;
const UNFIT: i32 = 65;
const DAMAGED: i32 = 74;
const IS_ANOTHER: i32 = 73;
const REFUSED: i32 = 78;

/// What such a code means.
#[must_use]
pub fn meaning(code: i32) -> Option<Meaning> {
    match code {
        NOT_THERE | UNFIT => Some(Meaning::Permanent),
        AWAY | DAMAGED => Some(Meaning::Transient),
        IS_ANOTHER => Some(Meaning::Conflict),
        REFUSED => Some(Meaning::Configuration),
        _ => None,
    }
}

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Errand {
    bucket: Bucket,
    key: String,
    #[serde(with = "path_text")]
    file: PathBuf,
    /// What is to be done.
    deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Fetch it, in the version that is meant; so many bytes must stay free.
    Fetch { version: Option<String>, keep_free: u64 },
    /// Put it there under this name; what is there by a name that begins like `ours` is the same job's.
    Deliver { made_by: String, ours: Option<String> },
    /// Look whether it is there.
    Look,
}

/// The command that fetches an object into a file where so many bytes stay free.
///
/// # Errors
/// There is no such bucket.
pub fn fetch(
    all: &[Bucket],
    from: Address<'_>,
    version: Option<&str>,
    file: &Path,
    keep_free: u64,
) -> Result<Vec<PathBuf>, String> {
    argv(all, from, file, Deed::Fetch { version: version.map(str::to_owned), keep_free })
}

/// The command that puts a file there as an object.
///
/// # Errors
/// There is no such bucket.
pub fn deliver(
    all: &[Bucket],
    file: &Path,
    to: Address<'_>,
    made_by: String,
    ours: Option<String>,
) -> Result<Vec<PathBuf>, String> {
    argv(all, to, file, Deed::Deliver { made_by, ours })
}

/// The command that looks whether an object is there.
///
/// # Errors
/// There is no such bucket.
pub fn look(all: &[Bucket], at: Address<'_>) -> Result<Vec<PathBuf>, String> {
    argv(all, at, Path::new("/dev/null"), Deed::Look)
}

fn argv(
    all: &[Bucket],
    address: Address<'_>,
    file: &Path,
    deed: Deed,
) -> Result<Vec<PathBuf>, String> {
    let bucket = all.iter().find(|it| it.name == address.bucket).cloned();
    let bucket =
        bucket.ok_or_else(|| format!("there is no [[bucket]] called {}", address.bucket))?;
    let errand = Errand { bucket, key: address.key.to_owned(), file: file.to_owned(), deed };
    let told = serde_json::to_string(&errand).map_err(|error| error.to_string())?;
    // this very program, whatever has been put in its place since it was started
    Ok(vec!["/proc/self/exe".into(), VERB.into(), told.into()])
}

/// What it needs of the runner's environment: where systemd keeps the unit's credentials.
#[must_use]
pub fn variables() -> Vec<(OsString, OsString)> {
    let name = "CREDENTIALS_DIRECTORY";
    std::env::var_os(name).map(|dir| (name.into(), dir)).into_iter().collect()
}

/// When these arguments are for such an errand: does it, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    let [verb, told] = args else { return None };
    if verb != OsStr::new(VERB) {
        return None;
    }
    // by its own name it is a job's, and no child that looks at storage for the runner
    let _ = rustix::thread::set_name(NAME);
    let Some(errand) = told.to_str().and_then(|told| serde_json::from_str::<Errand>(told).ok())
    else {
        return Some(REFUSED);
    };
    Some(match run(&errand) {
        Ok(()) => 0,
        Err(why) => {
            out::complain(&format!("s3://{}/{}: {why}", errand.bucket.name, errand.key));
            match why {
                Trouble::Absent => NOT_THERE,
                Trouble::Changed => IS_ANOTHER,
                Trouble::Refused(_) => REFUSED,
                Trouble::Unfit(_) => UNFIT,
                Trouble::Away(_) | Trouble::NoRoom(_) => AWAY,
                Trouble::Damaged(_) | Trouble::Local(_) => DAMAGED,
            }
        }
    })
}

fn run(errand: &Errand) -> Result<(), Trouble> {
    let all = std::slice::from_ref(&errand.bucket);
    let client = bucket::client(all, &errand.bucket.name).map_err(Trouble::Refused)?;
    let mut waits = Backoff::new(AGAIN, Duration::MAX);
    for nth in 1.. {
        let done = match &errand.deed {
            Deed::Fetch { version, keep_free } => {
                // what an earlier try has left is nothing
                let _ = std::fs::remove_file(&errand.file);
                let version = version.as_deref().and_then(|it| it.parse().ok());
                client.get(&errand.key, version.as_ref(), &errand.file, *keep_free).map(|_| ())
            }
            Deed::Deliver { made_by, ours } => {
                client.put(&errand.key, &errand.file, made_by, ours.as_deref())
            }
            Deed::Look => client.head(&errand.key).map(|_| ()),
        };
        match done {
            Err(Trouble::Away(_)) if nth < TRIES => pause(waits.next_delay()),
            done => return done,
        }
    }
    Ok(())
}
