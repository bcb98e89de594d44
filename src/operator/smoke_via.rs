//! `unwedge jobs smoke --via INTAKE`: an input of one's own through an intake, its queue and its worker, until its result is
//! there; then both go. It is done as the service user, and what is removed is what was made for this alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::asking::Asking;
use super::smoke::{ASK_EVERY, HEARD_WITHIN, Until, call_off, wait};
use super::{Said, time_of};
use crate::cli;
use crate::config::Settings;
use crate::config::intake::{Intake, Rule};
use crate::decide::attempts::State;
use crate::probes::bucket;
use crate::queue::store::listing::{Order, Which};
use crate::report::smoke as report;
use crate::sys::clock::{Deadline, Now, boottime};
use crate::sys::limit::within;
use crate::sys::s3::Trouble;
use crate::sys::text;

/// How long a deed on storage may take.
const DEED_LIMIT: Duration = Duration::from_secs(30);

/// What is put in, and where.
pub struct Via<'a> {
    /// The name of the intake.
    pub intake: &'a str,
    /// An input that its type can do something with.
    pub file: &'a Path,
}

/// Does it.
///
/// # Errors
/// There is no such intake, no answer, or the job was not done in time; what was put in is removed all the same.
pub fn smoke(
    settings: &Settings,
    via: &Via<'_>,
    timeout: &str,
    at: &cli::QueueAt,
    json: bool,
    now: &Now,
) -> Result<Said> {
    let patience = time_of("--timeout", timeout)?;
    let intake = settings.intake.iter().find(|it| it.name == via.intake);
    let intake = intake.with_context(|| format!("there is no [[intake]] called {}", via.intake))?;
    let bytes = std::fs::read(via.file).with_context(|| text::path(via.file))?;
    let mut asking = Asking::making(settings, at.queue.as_deref())?;
    let ending = via.file.extension().map(|it| format!(".{}", it.to_string_lossy()));
    let name = format!("unwedge-smoke-{}{}", boottime().as_nanos(), ending.unwrap_or_default());
    let input = intake.source.file(Path::new(&name));
    asking.somebody_waits();
    let mut until = Until::after(patience)?;
    let start = boottime();
    if let Err(why) = on_storage(settings, intake, &input, Deed::Put(bytes)) {
        // as far as it came
        return match on_storage(settings, intake, &input, Deed::Remove) {
            Ok(()) => Err(why),
            Err(left) => Err(why.context(format!("and something of it is left: {left:#}"))),
        };
    }
    let put = boottime().saturating_sub(start);
    let found = taken_in(&mut asking, &input, &mut until);
    let taken_in = boottime().saturating_sub(start);
    let done = found.and_then(|id| Ok((id, wait(&mut asking, id, &mut until)?)));
    let told = boottime().saturating_sub(start);
    // whatever came of it, nothing of it stays: first what could be taken in again
    let mut gone = on_storage(settings, intake, &input, Deed::Remove);
    let (id, job) = match done {
        Ok(done) => done,
        Err(why) => {
            // one that was taken in meanwhile is called off, and goes by its age where its worker does not hear of that
            let left = [gone, forget(&mut asking, &input)].into_iter().filter_map(Result::err);
            return Err(left.fold(why, |why, left| anyhow!("{why:#}; {left:#}")));
        }
    };
    // what it has made, and only what is called after it: another one's may be there by that name
    let is_own = |path: &PathBuf| {
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        job.state == State::Done && last.contains(name.split('.').next().unwrap_or(&name))
    };
    if let Some(output) = job.output.as_deref().and_then(text::path_of).filter(is_own) {
        gone = gone.and(on_storage(settings, intake, &output, Deed::Remove));
    }
    call_off(&mut asking, id)?;
    gone?;
    let stages = report::Stages::of(&job, put, told).ok_or_else(|| {
        anyhow!("job {id}: {}", job.message.as_deref().unwrap_or("it was not done"))
    })?;
    let stages = stages.with_intake(taken_in);
    Ok(if json { report::json(&stages, now)? } else { report::text(&stages) }.into())
}

/// Calls off the job that an intake has made of it, where there is one.
///
/// # Errors
/// It is still there, or may be.
fn forget(asking: &mut Asking, input: &Path) -> Result<()> {
    let look = |asking: &mut Asking| job_of(asking, input);
    let found = asking.ask_until(Deadline::after(HEARD_WITHIN), ASK_EVERY, look, Result::is_ok);
    let found = found.with_context(|| {
        format!("a job of it may be left: unwedge jobs list --input {}", text::path(input))
    })?;
    found.map_or(Ok(()), |id| call_off(asking, id))
}

/// The job that the intake makes of it.
fn taken_in(asking: &mut Asking, input: &Path, until: &mut Until) -> Result<i64> {
    loop {
        match job_of(asking, input) {
            Ok(Some(id)) => return Ok(id),
            Ok(None) => {}
            Err(why) => {
                until.ask_again(asking, why)?;
                continue;
            }
        }
        until.pause("nobody has taken it in in time: does unwedge-runner run, and is the sentinel jobs there?")?;
    }
}

fn job_of(asking: &mut Asking, input: &Path) -> Result<Option<i64>> {
    let which = Which { input: Some(text::path(input)), ..Which::default() };
    let found = asking.ask(move |store| store.list(&which, Order::Newest, 1))?;
    Ok(found.first().map(|job| job.id))
}

#[derive(Clone)]
enum Deed {
    Put(Vec<u8>),
    Remove,
}

/// Puts it there complete, or takes it away with its marker, within a limit: storage may hang.
fn on_storage(settings: &Settings, intake: &Intake, path: &Path, deed: Deed) -> Result<()> {
    let marker = (intake.rule == Rule::Marker).then(|| {
        let mut marker = path.as_os_str().to_owned();
        marker.push(&intake.marker);
        PathBuf::from(marker)
    });
    let (all, path) = (settings.bucket.clone(), path.to_owned());
    let shown = text::path(&path);
    let done = within(DEED_LIMIT, move || match deed {
        Deed::Put(bytes) => {
            put(&all, &path, &bytes)?;
            marker.map_or(Ok(()), |marker| put(&all, &marker, b""))
        }
        Deed::Remove => {
            marker.map_or(Ok(()), |marker| remove(&all, &marker))?;
            remove(&all, &path)
        }
    });
    match done {
        Ok(done) => done.map_err(|why| anyhow!("{shown}: {why}")),
        Err(why) => bail!("{shown}: {why}"),
    }
}

fn put(all: &[crate::config::bucket::Bucket], path: &Path, bytes: &[u8]) -> Result<(), String> {
    if let Some(way) = bucket::of(all, path) {
        let (client, key) = way?;
        return client.write(key, bytes).map_err(|why| why.to_string());
    }
    // complete at once, by its name
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}"));
    // a link that somebody has put there is not written through
    let written = std::fs::File::create_new(&hidden).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| std::fs::rename(&hidden, path)).map_err(|error| {
        let _ = std::fs::remove_file(&hidden);
        error.to_string()
    })
}

fn remove(all: &[crate::config::bucket::Bucket], path: &Path) -> Result<(), String> {
    if let Some(way) = bucket::of(all, path) {
        let (client, key) = way?;
        return match client.head(key).and_then(|head| client.delete(key, &head.version())) {
            Ok(()) | Err(Trouble::Absent) => Ok(()),
            Err(why) => Err(why.to_string()),
        };
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}
