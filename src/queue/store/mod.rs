//! Our own queue: jobs, and the workers that take them, in SQLite or PostgreSQL. One contract, the same text of SQL
//! for both (`session`), and constraints that hold whoever writes (`schema`).
//!
//! - A claim hands a row to one worker and counts its try up. That number is the token: whatever is written of a try
//!   names it, and a holder that has lost the row changes nothing.
//! - A lease is the worker's, not the row's: one beat renews all that it has. What it had goes back when it is buried
//!   (`bury`), which is decided by who has watched it (`decide::leases`).
//! - What becomes of a job is decided elsewhere (`decide::attempts`) and only written here.

pub mod bell;
pub mod change;
mod claim;
mod clock;
mod ending;
pub mod figures;
pub mod lanes;
pub mod listing;
mod place;
pub mod preview;
mod rows;
mod schema;
mod session;
mod submit;
pub mod upkeep;
mod workers;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Fault;
use super::cells::Row;
use super::sql::Param;
use crate::config::queue::{Breaker, Queue};
use crate::decide::attempts::{State, Token};
use crate::sys::text;
use claim::Demands;
pub use claim::{ANEW, Ask, Claimed};
pub use rows::{
    Beat, Ending, Heard, Held, Lack, Load, NewJob, NewWorker, Registered, Rescued, Standing,
    Submitted, TypeMark,
};
use session::Session;

pub use submit::SUBMIT_AT_ONCE;
/// How long the mark of a queue is.
pub const MARK_CHARS: usize = 12;

/// Our queue.
pub struct Store {
    session: Session,
    demands: Demands,
    breaker: Breaker,
    worker_stale: Duration,
}

/// The mark of a queue with this name.
fn mark_of(name: &str) -> String {
    name.chars().take(MARK_CHARS).collect()
}

impl Store {
    /// Connects; makes the tables where there are none.
    ///
    /// # Errors
    /// Why there is no queue.
    pub fn open(queue: &Queue) -> Result<Self, Fault> {
        Ok(Self::of(queue, Session::open(queue)?))
    }

    /// Connects, where somebody has made it: nothing is made.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn look(queue: &Queue) -> Result<Option<Self>, Fault> {
        Ok(Session::look(queue)?.map(|session| Self::of(queue, session)))
    }

    fn of(queue: &Queue, session: Session) -> Self {
        Self {
            session,
            demands: Demands::default(),
            breaker: queue.terms.breaker.clone(),
            worker_stale: queue.terms.worker_stale,
        }
    }

    /// What tells this queue from any other, wherever it is moved to: made once, at random.
    ///
    /// # Errors
    /// There is no answer.
    pub fn name(&mut self) -> Result<String, Fault> {
        if let Some(name) = self.session.meta("name")? {
            return Ok(name);
        }
        let (one, other) = (RandomState::new(), RandomState::new());
        let name =
            format!("{:016x}{:016x}", one.build_hasher().finish(), other.build_hasher().finish());
        self.session.rows(
            "INSERT INTO unwedge_meta (name, value) VALUES ('name', $1) ON CONFLICT (name) DO NOTHING",
            vec![Param::Text(name.clone())],
        )?;
        // of two that come at once the first has the say
        Ok(self.session.meta("name")?.unwrap_or(name))
    }

    /// The beginning of that, for names of what belongs to its jobs: files, containers, objects. Another queue has jobs of
    /// the same numbers.
    ///
    /// # Errors
    /// There is no answer.
    pub fn mark(&mut self) -> Result<String, Fault> {
        Ok(mark_of(&self.name()?))
    }

    /// The version that the queue wants workers to be of at least, where it refuses this one for that.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn refuses(&mut self, version: &str) -> Result<Option<String>, Fault> {
        Ok(self.session.meta("least_version")?.filter(|least| is_before(version, least)))
    }

    /// Wants workers to be of this version or later from now on; those that are there end, and give back what they cannot end in
    /// their time.
    ///
    /// # Errors
    /// It is as it was.
    pub fn want_version(&mut self, least: &str) -> Result<(), Fault> {
        self.session.set_meta("least_version", least)
    }

    /// Hands out work, the oldest of the highest priority first. Of a worker that is not entered, or dead, nothing; of
    /// a lane that is paused, open, or known by another digest, neither.
    ///
    /// # Errors
    /// It is not known whether something was handed out; what was goes back with the worker.
    pub fn claim(&mut self, ask: &Ask<'_>) -> Result<Vec<Claimed>, Fault> {
        claim::hand_out(&mut self.session, &mut self.demands, ask, lanes::IS_CLOSED)
    }

    /// How these jobs stand, with the reason where there is one.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn stand(&mut self, ids: &[i64]) -> Result<Vec<Standing>, Fault> {
        let rows = self.session.rows(
            "SELECT id, state, class, message, tier, output, bytes, finished_ms FROM unwedge_jobs
             WHERE id IN ({ids:1}) ORDER BY id",
            vec![Param::list(ids)],
        )?;
        rows.iter()
            .map(|row| {
                Ok(Standing {
                    id: row.number(0),
                    state: state(row, 1)?,
                    class: row.text(2),
                    message: row.text(3),
                    tier: row.text(4),
                    output: row.text(5),
                    bytes: row.natural(6),
                    finished_ms: row.natural(7),
                })
            })
            .collect()
    }

    /// How many jobs there are, by type and state.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn counts(&mut self) -> Result<Vec<(String, State, u64)>, Fault> {
        let rows = self.session.rows(
            "SELECT type, state, count(*) FROM unwedge_jobs GROUP BY type, state ORDER BY type, state",
            Vec::new(),
        )?;
        rows.iter().map(|row| Ok((row.text_of(0), state(row, 1)?, row.natural_of(2)))).collect()
    }

    /// What is to be known of the queue itself: names and values.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn about(&mut self) -> Result<Vec<(&'static str, String)>, Fault> {
        let mut all = self.session.about()?;
        let least = self.session.meta("least_version")?;
        all.push((
            "workers",
            least.map_or("any version".to_owned(), |it| format!("of version {it} or later")),
        ));
        Ok(all)
    }

    /// What is wrong with a file, once each page was looked at.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn damage(&mut self) -> Result<Option<String>, Fault> {
        self.session.damage()
    }

    /// The present as the queue has it, milliseconds since 1970.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn now_ms(&mut self) -> Result<u64, Fault> {
        self.session.now_ms()
    }
}

/// Whether a version comes before another, number by number; one that is no version comes first.
#[must_use]
pub fn is_before(version: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let release = version.split(['-', '+']).next().unwrap_or_default();
        release.split('.').map_while(|part| part.parse().ok()).collect()
    };
    numbers(version) < numbers(other)
}

fn json_of(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| Fault(error.to_string()))
}

fn millis(time: Duration) -> Param {
    Param::Number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn state(row: &Row, nth: usize) -> Result<State, Fault> {
    let name = row.text_of(nth);
    State::named(&name).ok_or_else(|| {
        Fault(format!(
            "a state that this version does not know: {}",
            text::tail(name.as_bytes(), 40)
        ))
    })
}
