//! Scratch files: where a result is written before it goes to its place, beside it. Each try takes its own away, and those
//! that tries before it have left; of a job that is put aside because its worker was lost with it again and again there is
//! no next try, nor is there of one that a person puts aside, so whoever does that takes them away. Only names that nobody
//! else gives, and storage that is open; a child does it. A second result, which is there for a person to pick from, stays
//! until its job is done or called off; of one that was let out and ended otherwise it goes with its row.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::attempts::State;
use crate::probes::asked;
use crate::queue::store::listing::Job;
use crate::sys::clock::Deadline;
use crate::sys::path_text;
use crate::sys::text;

/// The word that makes this program such a child.
const VERB: &str = "--remove-scratch";
/// How long the removal for one job may take.
const LIMIT: Duration = Duration::from_secs(10);
/// So many tries back.
const BACK: u32 = 40;

/// Where a try of a job of the queue with this mark (`Store::mark`) writes its result first: hidden, with the same ending.
#[must_use]
pub fn of_try(output: &Path, mark: &str, id: i64, nth: i64) -> PathBuf {
    beside(output, mark, id, &nth.to_string())
}

/// Where a note of such a result is, while it waits for the queue's word.
#[must_use]
pub fn note_of(output: &Path, mark: &str, id: i64) -> PathBuf {
    beside(output, mark, id, "note")
}

/// Where the result of a job is kept whose place is taken by another one, until a person says which of them stays: of each
/// job the last, hidden as well, and of no name that anything else may have.
#[must_use]
pub fn second_of(output: &Path, mark: &str, id: i64) -> PathBuf {
    beside(output, mark, id, "second")
}

fn beside(output: &Path, mark: &str, id: i64, what: &str) -> PathBuf {
    /// A name has 255 bytes at most, and more than the stem is in it.
    const STEM_BYTES_MAX: usize = 120;
    let stem = output.file_stem().unwrap_or(OsStr::new("out")).as_bytes();
    let mut name = OsString::from(".");
    name.push(OsStr::from_bytes(&stem[..stem.len().min(STEM_BYTES_MAX)]));
    name.push(format!(".unwedge-{mark}-{id}-{what}"));
    if let Some(ending) = output.extension() {
        name.push(".");
        name.push(ending);
    }
    output.with_file_name(name)
}

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    #[serde(with = "path_text")]
    output: PathBuf,
    mark: String,
    id: i64,
    tries: u32,
    /// Whether nobody is to pick between two results of it any more.
    is_let_go: bool,
    /// Whether they are counted and stay.
    #[serde(default)]
    stay: bool,
}

/// What became of scratch files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// How many are gone.
    pub count: u64,
    /// Why others are not.
    pub trouble: Vec<String>,
}

/// Takes away what the tries of these jobs have left, one job after the other, until `deadline`.
#[must_use]
pub fn remove_all(mark: &str, jobs: &[Job], open: &[String], deadline: Deadline) -> Gone {
    all(mark, jobs, open, deadline, false)
}

/// Takes away what lies beside the places of jobs that are forgotten, second results too, until `deadline`; and whose that
/// was, or would be: of theirs nothing is left, so that their rows may go.
#[must_use]
pub fn let_go(mark: &str, jobs: &[Job], open: &[String], deadline: Deadline) -> (Gone, Vec<i64>) {
    forgotten(mark, jobs, open, deadline, false)
}

/// What that would take away, and whose rows might go: nothing is.
#[must_use]
pub fn count_let_go(
    mark: &str,
    jobs: &[Job],
    open: &[String],
    deadline: Deadline,
) -> (Gone, Vec<i64>) {
    forgotten(mark, jobs, open, deadline, true)
}

fn forgotten(
    mark: &str,
    jobs: &[Job],
    open: &[String],
    deadline: Deadline,
    stay: bool,
) -> (Gone, Vec<i64>) {
    let (mut gone, mut rid) = (Gone::default(), Vec::new());
    for job in jobs.iter().take_while(|_| !deadline.passed()) {
        match beside_of(job, open) {
            Beside::Closed => continue,
            Beside::Nothing => {}
            Beside::Of(output) => match of_output(mark, job, output, true, stay) {
                Ok(count) => gone.count += count as u64,
                Err(why) => {
                    gone.trouble.push(format!("second result of job {}: {why}", job.id));
                    continue;
                }
            },
        }
        rid.push(job.id);
    }
    (gone, rid)
}

/// What that would take away: nothing is.
#[must_use]
pub fn count_all(mark: &str, jobs: &[Job], open: &[String], deadline: Deadline) -> Gone {
    all(mark, jobs, open, deadline, true)
}

fn all(mark: &str, jobs: &[Job], open: &[String], deadline: Deadline, stay: bool) -> Gone {
    let mut gone = Gone::default();
    for (nth, job) in jobs.iter().enumerate().filter(|(_, job)| job.tries > 0) {
        if deadline.passed() {
            gone.trouble.push(format!(
                "scratch files of {} jobs stay where they are: there was no time for them",
                jobs.len() - nth
            ));
            break;
        }
        match of_job(mark, job, open, stay) {
            Ok(count) => gone.count += count as u64,
            Err(why) => gone.trouble.push(format!("scratch files of job {}: {why}", job.id)),
        }
    }
    gone
}

/// Takes away what the tries of a job have left; how many files. None where it has no output on a file system, or that
/// is on storage that is not open.
///
/// # Errors
/// Some are still there, or nobody knows.
pub fn remove(mark: &str, job: &Job, open: &[String]) -> Result<usize, String> {
    of_job(mark, job, open, false)
}

fn of_job(mark: &str, job: &Job, open: &[String], stay: bool) -> Result<usize, String> {
    let Beside::Of(output) = beside_of(job, open) else { return Ok(0) };
    // what was put aside may be there for a person to pick from, what was called off is wanted by nobody
    of_output(mark, job, output, job.state == State::Cancelled, stay)
}

/// Where what tries of a job have left may lie.
enum Beside {
    /// Nowhere on a file system.
    Nothing,
    /// On storage that is not open.
    Closed,
    /// Beside this.
    Of(PathBuf),
}

fn beside_of(job: &Job, open: &[String]) -> Beside {
    let output = job.output.as_deref().and_then(text::path_of).filter(|it| it.is_absolute());
    // no other need is in the way: what is full is what this makes room on
    let mut needs = job.needs.iter().filter(|it| it.starts_with('/'));
    match output {
        None => Beside::Nothing,
        Some(output) if needs.all(|need| open.contains(need)) => Beside::Of(output),
        Some(_) => Beside::Closed,
    }
}

fn of_output(
    mark: &str,
    job: &Job,
    output: PathBuf,
    is_let_go: bool,
    stay: bool,
) -> Result<usize, String> {
    let told =
        Told { output, mark: mark.to_owned(), id: job.id, tries: job.tries, is_let_go, stay };
    let word = serde_json::to_string(&told).map_err(|error| error.to_string())?;
    asked::within(VERB, Path::new(&word), LIMIT)
}

/// Takes away what a name stands for that nobody else gives; a result may be a directory.
///
/// # Errors
/// It is not there, or stays.
pub fn remove_one(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
            std::fs::remove_dir_all(path)
        }
        gone => gone,
    }
}

/// Takes away what a command has written beside the name it was given, as one does that adds an ending of its own; what the
/// first of that was called.
#[must_use]
pub fn remove_beside(scratch: &Path) -> Option<String> {
    let (dir, name) = (scratch.parent()?, scratch.file_name()?.as_bytes());
    let is_beside = |it: &std::fs::DirEntry| {
        let other = it.file_name();
        other.as_bytes().strip_prefix(name).is_some_and(|more| more.starts_with(b"."))
    };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).ok()?.flatten().filter(is_beside).map(|it| it.path()).collect();
    found.sort();
    found.retain(|it| remove_one(it).is_ok());
    found.first().and_then(|it| it.file_name()).map(|it| text::bytes(it.as_bytes()))
}

/// When these arguments are for such a child: does its work, and says how the process should end.
#[must_use]
pub fn run_if_asked(args: &[OsString]) -> Option<i32> {
    asked::run_if_asked(VERB, args, |word| -> Result<usize, String> {
        let told: Told = serde_json::from_str(&word.to_string_lossy())
            .map_err(|error| format!("what it is told: {error}"))?;
        let Told { output, mark, id, tries, is_let_go, stay } = told;
        let mut count = 0;
        let tries = (1..=tries).rev().take(BACK as usize);
        let of_tries = tries.map(|nth| of_try(&output, &mark, id, i64::from(nth)));
        let second = is_let_go.then(|| second_of(&output, &mark, id));
        for path in of_tries.chain([note_of(&output, &mark, id)]).chain(second) {
            let done = if stay { path.symlink_metadata().map(|_| ()) } else { remove_one(&path) };
            match done {
                Ok(()) => count += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{}: {error}", text::path(&path))),
            }
        }
        Ok(count)
    })
}
