//! The budget: how many repairs an hour, a day and a target may have, and how long a target is left
//! alone after one. One charge is one base with all that hangs on it. Mounting what is absent costs
//! nothing, but waits longer after each failed try.
//!
//! What the configuration names and what is only found below the roots have each a budget of their own,
//! of the same size: anybody may be able to mount and break something there, and that must not keep
//! down what a person listed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::plan::{Hold, Reason};
use crate::config::{Budget, Settings};
use crate::probes::records::{Attempts, Charge};
use crate::sys::clock::{Age, Now, Stamp};
use crate::sys::text;

/// An hour's window.
const HOUR: Duration = Duration::from_secs(3_600);
/// A day's window.
pub const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The wait after the first failed try to mount something absent; it doubles with each.
const BACKOFF_FIRST: Duration = Duration::from_secs(60);
/// And never grows beyond this.
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// What was spent already, by earlier rounds and earlier in this plan.
#[derive(Debug)]
pub struct Ledger<'a> {
    budget: &'a Budget,
    listed: BTreeSet<&'a Path>,
    charges: &'a [Charge],
    planned: BTreeMap<Account, u32>,
    now: &'a Now,
}

/// Whose budget a path is paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    /// That of the mounts and binds which the configuration names.
    Listed,
    /// That of all others.
    Found,
}

impl<'a> Ledger<'a> {
    /// Opens the books. A charge of an earlier round is on the account that its path belongs to now.
    #[must_use]
    pub fn new(settings: &'a Settings, charges: &'a [Charge], now: &'a Now) -> Self {
        let mounts = settings.mount.iter().map(|spec| spec.path.as_path());
        let binds = settings.bind.iter().map(|bind| bind.hot.as_path());
        let listed = mounts.chain(binds).collect();
        let budget = &settings.mounts.budget;
        Self { budget, listed, charges, planned: BTreeMap::new(), now }
    }

    /// Takes one charge for `path`.
    ///
    /// # Errors
    /// The hold that refuses it: cool-down, then the target's cap, the hour's, the day's.
    pub fn charge(&mut self, path: &Path) -> Result<(), Hold> {
        let own: Vec<&Charge> = self.charges.iter().filter(|charge| charge.path == path).collect();
        let last = own.iter().map(|charge| self.age(&charge.at)).min();
        if let Some(age) = last.filter(|age| *age < self.budget.cooldown) {
            let left = self.budget.cooldown.saturating_sub(age);
            let detail = format!(
                "repaired {} ago; next after {}",
                text::duration(age),
                text::duration(self.budget.cooldown)
            );
            return Err(Hold::on(path, Reason::CoolingDown, detail).until(self.after(left)));
        }
        let today = self.within(own.into_iter(), DAY);
        self.cap(path, Reason::OverTargetCap, &today, 0, self.budget.per_target_per_day, DAY)?;
        let account = self.account(path);
        let planned = self.planned.get(&account).copied().unwrap_or_default();
        let hour = self.within(self.of(account), HOUR);
        self.cap(path, Reason::OverHourlyCap, &hour, planned, self.budget.per_hour, HOUR)?;
        let day = self.within(self.of(account), DAY);
        self.cap(path, Reason::OverDailyCap, &day, planned, self.budget.per_day, DAY)?;
        self.planned.insert(account, planned + 1);
        Ok(())
    }

    fn account(&self, path: &Path) -> Account {
        if self.listed.contains(path) { Account::Listed } else { Account::Found }
    }

    fn of(&self, account: Account) -> impl Iterator<Item = &'a Charge> {
        self.charges.iter().filter(move |charge| self.account(&charge.path) == account)
    }

    fn cap(
        &self,
        path: &Path,
        reason: Reason,
        spent: &[Duration],
        planned: u32,
        cap: u32,
        window: Duration,
    ) -> Result<(), Hold> {
        let used = u32::try_from(spent.len()).unwrap_or(u32::MAX).saturating_add(planned);
        if used < cap {
            return Ok(());
        }
        // the oldest one leaves the window first
        let left = spent.iter().max().map(|oldest| window.saturating_sub(*oldest));
        let detail = format!("{used} of {cap} repairs in {}", text::duration(window));
        Err(Hold::on(path, reason, detail).until(left.and_then(|left| self.after(left))))
    }

    fn within<'b>(
        &self,
        charges: impl Iterator<Item = &'b Charge>,
        window: Duration,
    ) -> Vec<Duration> {
        charges.map(|charge| self.age(&charge.at)).filter(|age| *age < window).collect()
    }

    /// A charge whose age the clocks do not tell counts as taken just now; the gate `clock-fault`
    /// is closed then anyway.
    fn age(&self, at: &Stamp) -> Duration {
        match self.now.since(at) {
            Age::Known(age) => age,
            Age::ClockFault | Age::Impossible => Duration::ZERO,
        }
    }

    fn after(&self, left: Duration) -> Option<u64> {
        self.now.utc_ms.checked_add(u64::try_from(left.as_millis()).ok()?)
    }
}

/// A hold if the last failed try to mount `path` was too short a time ago.
#[must_use]
pub fn backoff(path: &Path, attempts: &[Attempts], now: &Now) -> Option<Hold> {
    let tried = attempts.iter().find(|attempts| attempts.path == path && attempts.failed > 0)?;
    let doublings = (tried.failed - 1).min(8);
    let wait = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let age = now.since(&tried.last).known().unwrap_or(Duration::ZERO);
    let left = wait.checked_sub(age).filter(|left| !left.is_zero())?;
    let detail =
        format!("{} failed tries to mount it; next in {}", tried.failed, text::duration(left));
    let until = u64::try_from(left.as_millis()).ok().and_then(|ms| now.utc_ms.checked_add(ms));
    Some(Hold::on(path, Reason::CoolingDown, detail).until(until))
}
