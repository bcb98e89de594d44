//! Figures of the queue: how much of what there is, how long it takes, how fast it goes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::listing::stall;
use super::{Fault, Param, Store, state};
use crate::decide::at_work::Still;
use crate::decide::attempts::State;

/// So many of the last results tell how long they take and who makes them.
const LAST: i64 = 1000;

/// Figures of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// How many jobs stand how.
    pub counts: BTreeMap<State, u64>,
    /// How long the oldest of those that wait has waited, milliseconds.
    pub oldest_waiting_ms: Option<u64>,
    /// How many of its last 1000 results each tier has made.
    pub tiers: BTreeMap<String, u64>,
    /// How many of those are empty, which their type allows.
    pub empty: u64,
    /// How many of those that run do not move, by how.
    pub stalled: BTreeMap<Still, u64>,
    /// How long those took on average, milliseconds; none where there are none.
    pub mean_ms: Option<u64>,
    /// What 95 of 100 of those took no longer than.
    pub p95_ms: Option<u64>,
    /// When the last was done, milliseconds since 1970.
    pub last_done_ms: Option<u64>,
    /// How many were done in the last 60 s.
    pub done_last_minute: u64,
    /// How many failed or were put aside in the last hour.
    pub put_aside_last_hour: u64,
    /// Failed and quarantined ones by class.
    pub classes: BTreeMap<String, u64>,
}

impl Figures {
    /// How many stand so.
    #[must_use]
    pub fn count(&self, state: State) -> u64 {
        self.counts.get(&state).copied().unwrap_or_default()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.count(State::Pending) + self.count(State::Retryable)
    }

    /// How long those that wait and run take at the rate of the last minute, milliseconds.
    #[must_use]
    pub fn to_finish_ms(&self) -> Option<u64> {
        let left = self.waiting() + self.count(State::Running);
        (left * 60_000).checked_div(self.done_last_minute)
    }
}

impl Store {
    /// Figures of every lane that has jobs.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn figures(&mut self) -> Result<BTreeMap<String, Figures>, Fault> {
        const COUNTS: &str = "SELECT type, state, count(*) FROM unwedge_jobs GROUP BY type, state";
        const OLDEST: &str = "
            SELECT type, {now} - min(created_ms) FROM unwedge_jobs WHERE state IN ('pending', 'retryable') GROUP BY type";
        const CLASSES: &str = "
            SELECT type, coalesce(class, ''), count(*), sum(CASE WHEN finished_ms > {now} - 3600000 THEN 1 ELSE 0 END)
            FROM unwedge_jobs WHERE type = $1 AND state IN ('failed', 'quarantined') GROUP BY type, class";
        const TOOK: &str = "
            SELECT coalesce(tier, ''), finished_ms - coalesce(started_ms, finished_ms), finished_ms, bytes FROM unwedge_jobs
            WHERE type = $1 AND state = 'done' ORDER BY finished_ms DESC LIMIT $2";
        const RATE: &str = "
            SELECT count(*) FROM unwedge_jobs WHERE type = $1 AND state = 'done' AND finished_ms > {now} - 60000";
        let mut all: BTreeMap<String, Figures> = BTreeMap::new();
        for row in self.session.rows(COUNTS, Vec::new())? {
            let of = all.entry(row.text_of(0)).or_default();
            of.counts.insert(state(&row, 1)?, row.natural_of(2));
        }
        for row in self.session.rows(OLDEST, Vec::new())? {
            all.entry(row.text_of(0)).or_default().oldest_waiting_ms = Some(row.natural_of(1));
        }
        let stalled = format!(
            "SELECT type, stall, tries FROM unwedge_jobs WHERE state = 'running' AND stall IS NOT NULL AND {}",
            self.is_vouched_for()
        );
        for row in self.session.rows(&stalled, Vec::new())? {
            if let Some(stall) = stall(&row.text_of(1), row.number(2)) {
                let of = all.entry(row.text_of(0)).or_default();
                *of.stalled.entry(stall.how).or_default() += 1;
            }
        }
        for (kind, of) in &mut all {
            let kind = Param::Text(kind.clone());
            let took = self.session.rows(TOOK, vec![kind.clone(), Param::Number(LAST)])?;
            of.last_done_ms = took.first().and_then(|row| row.natural(2));
            let mut times: Vec<u64> = took.iter().map(|row| row.natural_of(1)).collect();
            times.sort_unstable();
            for row in &took {
                *of.tiers.entry(row.text_of(0)).or_default() += 1;
                of.empty += u64::from(row.natural(3) == Some(0));
            }
            of.mean_ms = times.iter().sum::<u64>().checked_div(times.len() as u64);
            of.p95_ms = times.get((times.len() * 95).div_ceil(100).saturating_sub(1)).copied();
            let rate = self.session.rows(RATE, vec![kind.clone()])?;
            of.done_last_minute = rate.first().map_or(0, |row| row.natural_of(0));
            for row in self.session.rows(CLASSES, vec![kind])? {
                of.classes.insert(row.text_of(1), row.natural_of(2));
                of.put_aside_last_hour += row.natural_of(3);
            }
        }
        Ok(all)
    }
}
