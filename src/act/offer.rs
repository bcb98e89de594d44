//! Files as jobs of a type: what tells each from others, where its result goes, what must be open for it. Nothing of
//! the files themselves is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::bucket::{self, Address};
use crate::config::job_type::JobType;
use crate::probes::gate::Watch;
use crate::queue::store::NewJob;
use crate::sys::text;

/// The jobs, in the order of the files.
///
/// # Errors
/// Two of them would write one file.
pub fn jobs_of(
    kind: &JobType,
    files: &[PathBuf],
    base: &Path,
    watch: &Watch,
) -> Result<Vec<NewJob>, String> {
    let mut outputs: BTreeMap<PathBuf, &PathBuf> = BTreeMap::new();
    let mut jobs = Vec::with_capacity(files.len());
    for file in files {
        let input = if Address::of(file).is_some() { file.clone() } else { base.join(file) };
        let output = kind.output_of(&input, base);
        if let Some(output) = &output
            && let Some(other) = outputs.insert(output.clone(), file)
            && other != file
        {
            return Err(format!(
                "{} and {} would both write {}",
                text::path(other),
                text::path(file),
                text::path(output)
            ));
        }
        let paths: Vec<&Path> =
            [Some(input.as_path()), output.as_deref()].into_iter().flatten().collect();
        let mut needs = watch.needs_of(&paths);
        needs
            .extend(paths.iter().filter_map(|it| Address::of(it)).map(|it| bucket::key(it.bucket)));
        needs.extend(kind.needs.iter().cloned());
        needs.sort();
        needs.dedup();
        jobs.push(NewJob {
            kind: kind.name.clone(),
            key: text::path(&input),
            priority: kind.priority,
            needs,
            input: text::path(&input),
            output_dir: output
                .as_deref()
                .filter(|it| Address::of(it).is_none())
                .and_then(Path::parent)
                .map(text::path),
            output: output.as_deref().map(text::path),
            stamp: None,
            intake: None,
        });
    }
    Ok(jobs)
}
