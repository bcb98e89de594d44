//! What is taken out of the queue when it has been kept for long enough, and what keeps its files small. Only rows go:
//! inputs and results are nobody's here to remove. What is put aside for a person goes only where its cause lies in the
//! item itself, never where it lies in the host or its configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::session::Session;
use super::{Fault, Param, Store, number, text_of};
use crate::decide::attempts::{Class, State};

/// So many rows at a time: nobody waits long for their lock.
const AT_ONCE: usize = 500;
/// So many times in one round: what is left is for the next.
const TIMES: usize = 200;
/// How long a worker that is gone is still listed.
const WORKER: Duration = Duration::from_secs(24 * 3600);

/// How long what is kept; 0 is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Jobs that are done. Default 7 days.
    pub done: Duration,
    /// Those that failed. Default 30 days.
    pub failed: Duration,
    /// Those that were called off. Default 1 day.
    pub cancelled: Duration,
    /// Those that are put aside, where the cause is the item itself. Default 30 days.
    pub quarantined: Duration,
    /// Events. Default 30 days.
    pub events: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        let days = |count: u64| Duration::from_secs(count * 24 * 3600);
        Self {
            done: days(7),
            failed: days(30),
            cancelled: days(1),
            quarantined: days(30),
            events: days(30),
        }
    }
}

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Jobs, by how they stood.
    pub jobs: BTreeMap<State, u64>,
    /// Each job that had been put aside: its number, its type and its input.
    pub aside: Vec<(i64, String, String)>,
    /// Events.
    pub events: u64,
    /// Workers.
    pub workers: u64,
    /// Whether there is more, for the next round.
    pub is_more: bool,
}

/// Classes whose cause is the item itself.
const OF_THE_ITEM: [Class; 4] = [Class::Failed, Class::TimedOut, Class::Permanent, Class::Crashed];

impl Store {
    /// Takes out what was kept for long enough.
    ///
    /// # Errors
    /// What is out is out; the next round goes on.
    pub fn remove_old(&mut self, keep: &Keep, with_quarantine: bool) -> Result<Removed, Fault> {
        let classes: Vec<String> =
            OF_THE_ITEM.iter().map(|class| format!("'{}'", class.name())).collect();
        let aside = format!("AND class IN ({})", classes.join(", "));
        let mut kinds: Vec<(State, Duration, &str)> = vec![
            (State::Done, keep.done, ""),
            (State::Failed, keep.failed, ""),
            (State::Cancelled, keep.cancelled, ""),
        ];
        if with_quarantine {
            kinds.push((State::Quarantined, keep.quarantined, &aside));
        }
        let mut removed = Removed::default();
        let mut times = 0;
        let all: Vec<(String, State, u64)> = self.counts()?;
        for (state, kept, more) in kinds.into_iter().filter(|(_, kept, _)| !kept.is_zero()) {
            for (kind, _, _) in all.iter().filter(|(_, found, _)| *found == state) {
                loop {
                    if times == TIMES {
                        removed.is_more = true;
                        return Ok(removed);
                    }
                    times += 1;
                    let rows = self.session.rows(
                        &format!(
                            "DELETE FROM unwedge_jobs WHERE id IN (SELECT id FROM unwedge_jobs
                                 WHERE type = $1 AND state = $2 AND finished_ms <= {{now}} - $3 {more} ORDER BY finished_ms LIMIT $4)
                             RETURNING id, type, input"
                        ),
                        vec![
                            Param::Text(kind.clone()),
                            Param::Text(state.name().to_owned()),
                            millis(kept),
                            at_once(),
                        ],
                    )?;
                    if state == State::Quarantined {
                        let row = |row: &Vec<_>| (number(row, 0), text_of(row, 1), text_of(row, 2));
                        removed.aside.extend(rows.iter().map(row));
                    }
                    if !rows.is_empty() {
                        *removed.jobs.entry(state).or_default() += rows.len() as u64;
                    }
                    if rows.len() < AT_ONCE {
                        break;
                    }
                }
            }
        }
        if !keep.events.is_zero() {
            removed.events = some(
                &mut self.session,
                "DELETE FROM unwedge_events WHERE id IN
                     (SELECT id FROM unwedge_events WHERE at_ms <= {now} - $1 ORDER BY id LIMIT $2) RETURNING id",
                keep.events,
            )?;
        }
        removed.workers = some(
            &mut self.session,
            "DELETE FROM unwedge_workers WHERE id IN (SELECT id FROM unwedge_workers w WHERE w.state = 'dead' AND w.ended_ms <= {now} - $1
                 AND NOT EXISTS (SELECT 1 FROM unwedge_jobs j WHERE j.worker = w.id AND j.state = 'running') LIMIT $2) RETURNING id",
            WORKER,
        )?;
        self.session.give_back_space()?;
        Ok(removed)
    }
}

fn some(session: &mut Session, text: &str, kept: Duration) -> Result<u64, Fault> {
    let mut count = 0;
    loop {
        let rows = session.rows(text, vec![millis(kept), at_once()])?;
        count += rows.len() as u64;
        if rows.len() < AT_ONCE {
            return Ok(count);
        }
    }
}

fn at_once() -> Param {
    Param::Number(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
}

fn millis(time: Duration) -> Param {
    Param::Number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}
