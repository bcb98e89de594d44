//! Lanes: a type of job is one lane, and what is wrong with all of a type closes its lane and leaves its jobs as they
//! are.
//!
//! - A person pauses a lane.
//! - Ends in a row whose cause is the type itself (its tools, its settings) open its breaker, by default five. Then one job
//!   at a time is let through, by default after 1, 5, 15 and 30 minutes, until one of them gets as far as being a job like any other.
//! - Workers that know a type by another digest than its lane are handed out nothing: two hosts never make results of
//!   two kinds. The lane goes over to a new digest when no living worker has the old one.

use std::collections::BTreeMap;

use super::claim::hand_out;
use super::session::Session;
use super::{Ask, Claimed, Ending, Fault, Param, Row, Store, millis};
use crate::config::queue as config;
use crate::decide::attempts::{Class, State, Token};

/// What keeps a lane from handing out jobs, as a part of a statement over `unwedge_lanes l`.
pub(super) const IS_CLOSED: &str = "l.paused_ms IS NOT NULL OR l.opened_ms IS NOT NULL";

/// What closes a breaker.
pub(super) const CLOSE: &str =
    "SET streak = 0, opened_ms = NULL, opened_why = NULL, probes = 0, retry_ms = 0";

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The type.
    pub kind: String,
    /// As which it is known.
    pub digest: Option<String>,
    /// The tier that should make its results.
    pub first_tier: Option<String>,
    /// Since when a person keeps it closed, milliseconds since 1970, and why.
    pub paused: Option<(u64, String)>,
    /// Since when its breaker is open, why, and when one job is let through.
    pub open: Option<Breaker>,
    /// Living workers that know its type otherwise, by host.
    pub others: Vec<String>,
    /// The tiers that made its last results, the newest first, at most 10.
    pub tiers: Vec<String>,
}

/// An open breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// What the last of them said.
    pub why: String,
    /// When one is let through.
    pub retry_ms: u64,
}

/// So many results tell whether the first tier is well.
pub const RESULTS: usize = 10;

impl Lane {
    /// Whether results come, and none of the last ones by the tier that should make them.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.tiers.len() == RESULTS
            && self.first_tier.as_ref().is_some_and(|first| !self.tiers.contains(first))
    }
}

/// Makes the lanes that are not there.
pub(super) fn enter(session: &mut Session, types: Param) -> Result<(), Fault> {
    session.rows(
        "INSERT INTO unwedge_lanes (type) SELECT {element} FROM {each:1} WHERE true ON CONFLICT (type) DO NOTHING",
        vec![types],
    )?;
    Ok(())
}

/// What a run of ends says of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Whether one of them shows that the type itself is in order.
    works: bool,
    /// How many after that have their cause in the type.
    streak: i64,
}

/// Keeps count of ends whose cause is the type itself.
pub(super) fn note(
    session: &mut Session,
    endings: &[Ending],
    types: &BTreeMap<Token, String>,
    breaker: &config::Breaker,
) -> Result<(), Fault> {
    let mut lanes: BTreeMap<&str, (Told, &str)> = BTreeMap::new();
    for ending in endings {
        let Some(kind) = types.get(&ending.token) else { continue };
        let (told, why) = lanes.entry(kind).or_default();
        match ending.class.as_deref() {
            Some(class) if class == Class::Configuration.name() => {
                told.streak += 1;
                *why = ending.message.as_deref().unwrap_or_default();
            }
            // its surroundings say nothing of it, nor does what was not begun
            Some(class) if class == Class::Infrastructure.name() => {}
            None if ending.state != State::Done => {}
            Some(_) | None => *told = Told { works: true, streak: 0 },
        }
    }
    for (kind, (told, why)) in lanes {
        let kind = Param::from(kind);
        if told.works {
            session.rows(
                &format!("UPDATE unwedge_lanes {CLOSE} WHERE type = $1 AND (streak > 0 OR opened_ms IS NOT NULL)"),
                vec![kind.clone()],
            )?;
        }
        if told.streak > 0 {
            session.rows(
                "UPDATE unwedge_lanes SET streak = streak + $2,
                     retry_ms = CASE WHEN opened_ms IS NULL AND streak + $2 >= $3 THEN {now} + $4 ELSE retry_ms END,
                     opened_ms = CASE WHEN streak + $2 >= $3 THEN coalesce(opened_ms, {now}) END,
                     opened_why = CASE WHEN streak + $2 >= $3 THEN $5 END
                 WHERE type = $1",
                vec![
                    kind,
                    Param::Number(told.streak),
                    Param::Number(i64::from(breaker.after)),
                    millis(breaker.wait(0)),
                    Param::from(why),
                ],
            )?;
        }
    }
    Ok(())
}

impl Store {
    /// Lets one job of an open lane through, if its time has come: one for all workers together.
    ///
    /// # Errors
    /// It is not known whether one was handed out; if so it goes back with the worker.
    pub fn probe(&mut self, ask: &Ask<'_>) -> Result<Vec<Claimed>, Fault> {
        let kind = Param::from(ask.kind);
        let (breaker, demands) = (&self.breaker, &mut self.demands);
        self.session.transaction(|session| {
            let due = session.rows(
                "SELECT probes FROM unwedge_lanes WHERE type = $1 AND opened_ms IS NOT NULL AND paused_ms IS NULL
                     AND retry_ms <= {now} {lock}",
                vec![kind.clone()],
            )?;
            let Some(due) = due.first() else { return Ok(Vec::new()) };
            let wait = breaker.wait(usize::try_from(due.number(0) + 1).unwrap_or(usize::MAX));
            let claimed = hand_out(session, demands, &Ask { most: 1, ..ask.clone() }, "l.paused_ms IS NOT NULL")?;
            if !claimed.is_empty() {
                session.rows(
                    "UPDATE unwedge_lanes SET probes = probes + 1, retry_ms = {now} + $2 WHERE type = $1",
                    vec![kind, millis(wait)],
                )?;
            }
            Ok(claimed)
        })
    }

    /// Has the lanes of a worker go by what it knows of their types, where no living worker goes by what they have, be it
    /// unable to take any just now.
    /// The types whose lanes others keep as they are.
    ///
    /// # Errors
    /// They are as they were.
    pub fn adopt(&mut self, worker: &str) -> Result<Vec<String>, Fault> {
        const ADOPT: &str = "
            UPDATE unwedge_lanes SET digest = w.types->unwedge_lanes.type->>'digest', first_tier = w.types->unwedge_lanes.type->>'first_tier',
                streak = 0, opened_ms = NULL, opened_why = NULL, probes = 0, retry_ms = 0
            FROM unwedge_workers w
            WHERE w.id = $1 AND w.state <> 'dead' AND w.types->unwedge_lanes.type IS NOT NULL
                AND (unwedge_lanes.digest IS NULL OR unwedge_lanes.digest <> w.types->unwedge_lanes.type->>'digest')
                AND NOT EXISTS (SELECT 1 FROM unwedge_workers o
                    WHERE o.state <> 'dead' AND coalesce(o.types->unwedge_lanes.type->>'digest', o.lacks->unwedge_lanes.type->>'digest') = unwedge_lanes.digest)";
        const DIFFER: &str = "
            SELECT l.type FROM unwedge_lanes l JOIN unwedge_workers w ON w.types->l.type->>'digest' <> l.digest
            WHERE w.id = $1 ORDER BY l.type";
        let worker = Param::from(worker);
        self.session.transaction(|session| {
            session.rows(ADOPT, vec![worker.clone()])?;
            let differ = session.rows(DIFFER, vec![worker])?;
            Ok(differ.iter().map(|row| row.text_of(0)).collect())
        })
    }

    /// The types that there is a lane or a job of.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn types(&mut self) -> Result<Vec<String>, Fault> {
        let rows = self.session.rows(
            "SELECT type FROM unwedge_lanes UNION SELECT DISTINCT type FROM unwedge_jobs",
            Vec::new(),
        )?;
        Ok(sorted(&rows))
    }

    /// Keeps lanes closed until somebody opens them again. The types that there are of these, and were not paused.
    ///
    /// # Errors
    /// They are as they were.
    pub fn pause(&mut self, types: &[String], why: &str) -> Result<Vec<String>, Fault> {
        enter(&mut self.session, Param::list(types))?;
        self.set(
            "UPDATE unwedge_lanes SET paused_ms = {now}, paused_why = $2
             WHERE paused_ms IS NULL AND type IN (SELECT {element} FROM {each:1}) RETURNING type",
            vec![Param::list(types), Param::from(why)],
            "paused",
            why,
        )
    }

    /// Opens lanes that a person paused or whose breaker is open. The types of those.
    ///
    /// # Errors
    /// They are as they were.
    pub fn resume(&mut self, types: &[String], by: &str) -> Result<Vec<String>, Fault> {
        self.set(
            "UPDATE unwedge_lanes SET paused_ms = NULL, paused_why = NULL, streak = 0, opened_ms = NULL, opened_why = NULL,
                 probes = 0, retry_ms = 0
             WHERE (paused_ms IS NOT NULL OR opened_ms IS NOT NULL) AND type IN (SELECT {element} FROM {each:1}) RETURNING type",
            vec![Param::list(types)],
            "resumed",
            by,
        )
    }

    /// A change of lanes and its events.
    fn set(
        &mut self,
        text: &str,
        params: Vec<Param>,
        event: &str,
        why: &str,
    ) -> Result<Vec<String>, Fault> {
        self.session.transaction(|session| {
            let set = sorted(&session.rows(text, params)?);
            for kind in &set {
                session.rows(
                    "INSERT INTO unwedge_events (at_ms, kind, detail) VALUES ({now}, $1, $2)",
                    vec![
                        Param::Text(format!("lane-{event}")),
                        Param::Text(format!("{kind}: {why}")),
                    ],
                )?;
            }
            Ok(set)
        })
    }

    /// Every lane.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn lanes(&mut self) -> Result<Vec<Lane>, Fault> {
        const LANES: &str = "
            SELECT type, digest, first_tier, paused_ms, paused_why, opened_ms, opened_why, retry_ms FROM unwedge_lanes ORDER BY type";
        const OTHERS: &str = "
            SELECT l.type, w.host FROM unwedge_lanes l JOIN unwedge_workers w ON w.types->l.type->>'digest' <> l.digest
            WHERE w.state <> 'dead' ORDER BY l.type, w.host";
        const TIERS: &str = "
            SELECT coalesce(tier, '') FROM unwedge_jobs WHERE type = $1 AND state = 'done' ORDER BY finished_ms DESC LIMIT $2";
        let rows = self.session.rows(LANES, Vec::new())?;
        let others = self.session.rows(OTHERS, Vec::new())?;
        let most = Param::Number(i64::try_from(RESULTS).unwrap_or(i64::MAX));
        let mut lanes = Vec::with_capacity(rows.len());
        for row in &rows {
            let kind = row.text_of(0);
            let tiers = self.session.rows(TIERS, vec![Param::Text(kind.clone()), most.clone()])?;
            lanes.push(Lane {
                digest: row.text(1),
                first_tier: row.text(2),
                paused: row.natural(3).map(|since| (since, row.text_of(4))),
                open: row.natural(5).map(|since_ms| Breaker {
                    since_ms,
                    why: row.text_of(6),
                    retry_ms: row.natural_of(7),
                }),
                others: others
                    .iter()
                    .filter(|other| other.text_of(0) == kind)
                    .map(|other| other.text_of(1))
                    .collect(),
                tiers: tiers.iter().map(|row| row.text_of(0)).collect(),
                kind,
            });
        }
        Ok(lanes)
    }
}

fn sorted(rows: &[Row]) -> Vec<String> {
    let mut all: Vec<String> = rows.iter().map(|row| row.text_of(0)).collect();
    all.sort();
    all
}
