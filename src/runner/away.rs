//! The place on this host for what does not belong here: the copy of an input, and a result on its way. One directory a
//! try, `MARK-JOB-TRY`; what was made and could not be delivered stays there, and the next try delivers it without making
//! it again.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::act::upkeep::KEPT;
use crate::config::bucket::Address;

/// What does not belong here, of a try.
#[derive(Debug)]
pub struct Away {
    dir: PathBuf,
    /// The copy of its input; none where the input is on this host.
    pub input: Option<PathBuf>,
    /// Its result on its way; none where the result belongs on this host, or there is none to make.
    pub output: Option<PathBuf>,
}

/// A result that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The type that it was made by.
    digest: String,
    /// The version of its input.
    version: Option<String>,
    /// The tier that made it.
    pub tier: Option<String>,
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
        let file = |below: &str, path: &Path| {
            Some(dir.join(below).join(path.file_name().unwrap_or_default()))
        };
        let input = is_fetched.then(|| file("in", &order.input)).flatten();
        let output = order.output.as_ref().filter(|_| is_delivered).and_then(|it| file("out", it));
        for made in input.iter().chain(&output).filter_map(|it| it.parent()) {
            fs::create_dir_all(made).map_err(|error| format!("{}: {error}", made.display()))?;
        }
        Ok(Some(Self { dir, input, output }))
    }

    /// Keeps the result until it is delivered.
    ///
    /// # Errors
    /// It may be lost with this host.
    pub fn keep(&self, order: &Order, tier: Option<&str>) -> std::io::Result<()> {
        if let Some(output) = &self.output {
            fs::File::open(output)?.sync_all()?;
        }
        let kept = Kept { tier: tier.map(str::to_owned), ..wanted(order) };
        let file = self.dir.join(KEPT);
        fs::write(&file, serde_json::to_vec(&kept)?)?;
        fs::File::open(file)?.sync_all()
    }

    /// The result that a try before has made of the same input by the same type: it is this one's from now on.
    #[must_use]
    pub fn kept(&self, order: &Order) -> Option<Kept> {
        let output = self.output.as_ref()?;
        let before = tries_before(order).into_iter().find_map(|dir| {
            let kept: Kept = serde_json::from_slice(&fs::read(dir.join(KEPT)).ok()?).ok()?;
            let is_same = Kept { tier: kept.tier.clone(), ..wanted(order) } == kept;
            let its = dir.join("out").join(output.file_name()?);
            (is_same && its.is_file()).then_some((its, kept))
        });
        let (its, kept) = before?;
        fs::rename(its, output).ok()?;
        Some(kept)
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

fn wanted(order: &Order) -> Kept {
    Kept { digest: order.kind.digest(), version: order.version.clone(), tier: None }
}

fn name_of(order: &Order, nth: i64) -> String {
    format!("{}-{}-{nth}", order.mark, order.token.id)
}

/// The directories of tries before this one, the last first.
fn tries_before(order: &Order) -> Vec<PathBuf> {
    /// So many tries back.
    const BACK: usize = 40;
    let Some(spare) = &order.spare else { return Vec::new() };
    let before = (1..order.token.nth).rev().take(BACK);
    before.map(|nth| spare.join(name_of(order, nth))).filter(|dir| dir.is_dir()).collect()
}
