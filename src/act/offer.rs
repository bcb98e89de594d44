//! Files as jobs of a type: what tells each from others, where its result goes, what must be open for it. Nothing of
//! the files themselves is touched, but where a person is told which of them are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::bucket::{self, Address};
use crate::config::job_type::JobType;
use crate::probes::gate::{self, Watch};
use crate::queue::store::NewJob;
use crate::sys::limit::{NoAnswer, within};
use crate::sys::s3::is_askable;
use crate::sys::text;

/// The jobs, in the order of the files.
///
/// # Errors
/// Two of them would write one file, or one is an object that cannot be asked for.
pub fn jobs_of(
    kind: &JobType,
    files: &[PathBuf],
    base: &Path,
    watch: &Watch,
) -> Result<Vec<NewJob>, String> {
    let mut outputs: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut jobs = Vec::with_capacity(files.len());
    for file in files {
        let input = absolute(file, base);
        let output = kind.output_of(&input, base);
        if let Some(output) = &output
            && let Some(other) = outputs.insert(output.clone(), input.clone())
            && other != input
        {
            return Err(format!(
                "{} and {} would both write {}",
                text::path(&other),
                text::path(&input),
                text::path(output)
            ));
        }
        jobs.push(job_of(kind, &input, output.as_deref(), watch)?);
    }
    Ok(jobs)
}

/// A file as a job has it, below `base` where it is relative: `./a`, `a` and `a/` are one. An object stays as it is.
#[must_use]
pub fn absolute(file: &Path, base: &Path) -> PathBuf {
    if Address::of(file).is_some() {
        return file.to_owned();
    }
    base.join(file).components().collect()
}

/// Whether the storage of a job is open now; `open` is what is.
#[must_use]
pub fn is_open(job: &NewJob, open: &[String]) -> bool {
    job.needs.iter().filter(|it| it.starts_with('/')).all(|need| open.contains(need))
}

/// The places of those whose input is not there. Of what lies on storage that is not open nothing is touched, and objects are
/// not asked for.
///
/// # Errors
/// Storage does not answer so long.
pub fn absent(jobs: &[NewJob], open: &[String], limit: Duration) -> Result<Vec<usize>, NoAnswer> {
    let inputs = jobs.iter().enumerate().filter(|(_, job)| is_open(job, open));
    let inputs = inputs.filter_map(|(at, job)| Some((at, text::path_of(&job.input)?)));
    let files: Vec<(usize, PathBuf)> =
        inputs.filter(|(_, path)| Address::of(path).is_none()).collect();
    let is_gone = |path: &PathBuf| {
        let gone = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        path.symlink_metadata().is_err_and(|error| gone.contains(&error.kind()))
    };
    within(limit, move || {
        files.into_iter().filter(|(_, path)| is_gone(path)).map(|(at, _)| at).collect()
    })
}

/// A file as a job of a type whose result goes there.
///
/// # Errors
/// It is an object that cannot be asked for.
pub fn job_of(
    kind: &JobType,
    input: &Path,
    output: Option<&Path>,
    watch: &Watch,
) -> Result<NewJob, String> {
    let paths: Vec<&Path> = [Some(input), output].into_iter().flatten().collect();
    let objects: Vec<Address<'_>> = paths.iter().filter_map(|it| Address::of(it)).collect();
    if let Some(it) = objects.iter().find(|it| !is_askable(it.key)) {
        return Err(format!(
            "{}: a key with a part that is . or .. leads to another object",
            text::path(&it.path())
        ));
    }
    // what can be fetched or delivered needs no storage of every host: whoever takes it looks at its own, and who has
    // its paths comes first
    let both = [(Some(input), kind.fetch.is_some()), (output, kind.deliver.is_some())];
    let of = |moves: bool| {
        both.into_iter().filter(move |(_, it)| *it == moves).filter_map(|(path, _)| path)
    };
    let fixed: Vec<&Path> = of(false).collect();
    let mut needs = watch.needs_of(&fixed);
    let local = output.filter(|it| Address::of(it).is_none());
    let room = local.and_then(|it| watch.room_of(it));
    needs.extend(room.iter().filter(|_| kind.deliver.is_none()).cloned());
    needs.extend(objects.iter().map(|it| bucket::key(it.bucket)));
    needs.extend(kind.needs.iter().cloned());
    needs.sort();
    needs.dedup();
    let others = of(true).filter(|it| Address::of(it).is_none());
    let prefers = others.flat_map(|path| {
        let at = watch.needs_of(&[path]);
        if at.is_empty() { vec![gate::host_key()] } else { at }
    });
    let room = room.into_iter().filter(|_| kind.deliver.is_some());
    let prefers: BTreeSet<String> = prefers.chain(room).collect();
    let dir = local.and_then(Path::parent);
    Ok(NewJob {
        kind: kind.name.clone(),
        key: text::path(input),
        priority: kind.priority,
        needs,
        prefers: prefers.into_iter().collect(),
        input: text::path(input),
        output_dir: dir.map(text::path),
        output: output.map(text::path),
        stamp: None,
        intake: None,
        offered_by: None,
    })
}
