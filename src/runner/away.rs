//! The place on this host for what does not belong here: the copy of an input, and a result on its way. One directory a
//! try, `MARK-JOB-TRY`; what was made and could not be delivered stays there, and the next try delivers it without making
//! it again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::sum;
use crate::act::upkeep::{KEPT, PICKED};
use crate::config::bucket::Address;
use crate::probes::intake::version_of;
use crate::sys::text;

/// What does not belong here, of a try.
#[derive(Debug)]
pub struct Away {
    dir: PathBuf,
    /// Held as long as the try goes on: whoever tidies up leaves it alone.
    _lock: File,
    /// The copy of its input; none where the input is on this host.
    pub input: Option<PathBuf>,
    /// Its result on its way; none where the result belongs on this host, or there is none to make.
    pub output: Option<PathBuf>,
    /// Which input that copy is, where only the copy tells.
    pub fetched: Option<String>,
}

/// A result that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The type that it was made by.
    digest: String,
    /// Its input, and which one of that name: a job may have been begun anew on another.
    input: String,
    version: String,
    /// Where it belongs.
    output: Option<String>,
    /// The tier that made it.
    pub tier: Option<String>,
}

impl Kept {
    /// What a result must have been made of to be this job's, whose input is a copy or not, and as what it was fetched; none
    /// where nobody can tell which input it is.
    #[must_use]
    pub fn of(order: &Order, is_copied: bool, fetched: Option<String>) -> Option<Self> {
        // what was fetched is known by its bytes alone: what is here under its name, such as a link, is another
        let of_file = || {
            let it = (!is_copied).then(|| order.input.symlink_metadata().ok()).flatten()?;
            Some(version_of(&it))
        };
        Some(Self {
            digest: order.kind.digest(),
            input: text::path(&order.input),
            version: order.version.clone().or_else(of_file).or(fetched)?,
            output: order.output.as_deref().map(text::path),
            tier: None,
        })
    }

    /// The same, made by this tier.
    #[must_use]
    pub fn by(self, tier: Option<String>) -> Self {
        Self { tier, ..self }
    }
}

impl Away {
    /// Of this try; none where all of it belongs on this host.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn of(order: &Order) -> Result<Option<Self>, String> {
        let is_fetched = Address::of(&order.input).is_some()
            || (order.kind.fetch.is_some() && !order.input.exists());
        let is_delivered = order.output.as_ref().is_some_and(|output| {
            let has_place = || output.parent().is_some_and(Path::is_dir);
            Address::of(output).is_some() || (order.kind.deliver.is_some() && !has_place())
        });
        if !is_fetched && !is_delivered {
            return Ok(None);
        }
        let spare = order.spare.as_ref().ok_or("this runner has no place for what is fetched")?;
        let dir = spare.join(name_of(order, order.token.nth));
        let file = |below: &str, path: &Path| Some(dir.join(below).join(name_for(path)));
        let input = is_fetched.then(|| file("in", &order.input)).flatten();
        let output = order.output.as_ref().filter(|_| is_delivered).and_then(|it| file("out", it));
        for made in input.iter().chain(&output).filter_map(|it| it.parent()) {
            fs::create_dir_all(made).map_err(|error| format!("{}: {error}", made.display()))?;
        }
        let lock = File::open(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        // nobody else has any business there but who tidies up, and that one waits for nothing
        let _ = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok(Some(Self { dir, _lock: lock, input, output, fetched: None }))
    }

    /// Looks which input was fetched, where nothing has said that before; whether that is known only now.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn know(&mut self, order: &Order) -> std::io::Result<bool> {
        let Some(copy) = self.input.as_ref().filter(|_| self.output.is_some()) else {
            return Ok(false);
        };
        if self.wanted(order).is_some() {
            return Ok(false);
        }
        self.fetched = Some(sum::text_of(copy)?);
        Ok(true)
    }

    fn wanted(&self, order: &Order) -> Option<Kept> {
        Kept::of(order, self.input.is_some(), self.fetched.clone())
    }

    /// Keeps the result until it is delivered, and nothing of the tries before; whether it is kept.
    ///
    /// # Errors
    /// It may be lost with this host.
    pub fn keep(&self, order: &Order, tier: Option<&str>) -> std::io::Result<bool> {
        if let Some(output) = &self.output {
            fs::File::open(output)?.sync_all()?;
        }
        // of which input it was made nobody could tell later
        let Some(wanted) = self.wanted(order) else { return Ok(false) };
        let kept = wanted.by(tier.map(str::to_owned));
        let file = self.dir.join(KEPT);
        fs::write(&file, serde_json::to_vec(&kept)?)?;
        fs::File::open(file)?.sync_all()?;
        // what it was made of, and what came of other inputs, nobody needs any more
        Self::remove_older(order);
        Ok(true)
    }

    /// Has what is kept wait for a person, who picks between it and what is in its place, for however long that takes.
    pub fn keep_for_a_person(&self) {
        // where that cannot be written it waits for as long as others do
        let _ = fs::write(self.dir.join(PICKED), "");
    }

    /// The result that a try before has made of the same input by the same type: it is this one's from now on.
    #[must_use]
    pub fn kept(&self, order: &Order) -> Option<Kept> {
        let (output, wanted) = (self.output.as_ref()?, self.wanted(order)?);
        let before = tries_before(order).into_iter().find_map(|dir| {
            let kept: Kept = serde_json::from_slice(&fs::read(dir.join(KEPT)).ok()?).ok()?;
            let is_same = wanted == kept.clone().by(None);
            let its = dir.join("out").join(output.file_name()?);
            let there = fs::symlink_metadata(&its).ok().filter(fs::Metadata::is_file)?;
            let is_wanted = !order.placed.is_anew || order.placed.is_of(&there);
            (is_same && is_wanted).then_some((its, kept))
        });
        let (its, kept) = before?;
        fs::rename(its, output).ok()?;
        Some(kept)
    }

    /// What a try that is done says of it, where another host may have had its paths.
    #[must_use]
    pub fn told(&self, order: &Order) -> Option<String> {
        let is_other = |path: &Path| Address::of(path).is_none();
        let fetched = self.input.is_some() && is_other(&order.input);
        let delivered = self.output.is_some() && order.output.as_deref().is_some_and(is_other);
        let what = match (fetched, delivered) {
            (true, true) => "neither its input nor the place of its result is on this host",
            (true, false) => "its input is not on this host",
            (false, true) => "the place of its result is not on this host",
            (false, false) => return None,
        };
        Some(what.to_owned())
    }

    /// Takes away what is here of this try.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// Takes away what is here of the tries before.
    pub fn remove_older(order: &Order) {
        for dir in tries_before(order) {
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// What a copy is called: as what it is a copy of, unless a file cannot be called so.
fn name_for(path: &Path) -> OsString {
    /// A key may be longer than a name, and whoever works on a file puts something behind its name.
    const NAME_BYTES_MAX: usize = 180;
    match path.file_name() {
        Some(name) if name.len() <= NAME_BYTES_MAX => name.to_owned(),
        Some(_) | None => {
            let mut name = OsString::from("file");
            if let Some(ending) = path.extension().filter(|it| it.len() <= 20) {
                name.push(".");
                name.push(ending);
            }
            name
        }
    }
}

fn name_of(order: &Order, nth: i64) -> String {
    format!("{}-{}-{nth}", order.mark, order.token.id)
}

/// The directories of tries before this one, the last first: a delivery may have been tried for days.
fn tries_before(order: &Order) -> Vec<PathBuf> {
    let Some(spare) = &order.spare else { return Vec::new() };
    let is_before = |name: &OsString| {
        let nth = name.to_str().and_then(|it| it.rsplit_once('-')?.1.parse::<i64>().ok())?;
        (nth < order.token.nth && *name == *name_of(order, nth)).then_some(nth)
    };
    let all = fs::read_dir(spare).into_iter().flatten().flatten().map(|it| it.file_name());
    let mut before: Vec<i64> = all.filter_map(|name| is_before(&name)).collect();
    before.sort_unstable_by(|one, other| other.cmp(one));
    before.into_iter().map(|nth| spare.join(name_of(order, nth))).collect()
}
