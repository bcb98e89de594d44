//! A claim: work is handed out, the oldest of the highest priority first, and what is not open on a host stops its own
//! jobs there and no others, however many they are.
//!
//! Most jobs of a type need and prefer the same. What they do is a **demand**, of which there are few, and the
//! index has the jobs of each together: those of a demand that is closed here are not walked past, but left out. Which
//! demands there are is asked for by hopping from one to the next, once a second and whenever fewer jobs came than were
//! asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::session::Session;
use super::{Fault, Param, Row, Token};
use crate::sys::clock::boottime;

/// So long a new demand may wait beside others that keep a worker busy.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// What was written so much later than now was written by a clock that was set back since, milliseconds: a statement may have
/// waited for its lock for a while after it looked at the clock.
const CLOCK_STEP_MS: u64 = 60_000;
/// So many demands go into one statement; SQLite takes 500 at most. Where there are more, each claim begins with
/// others.
const AT_ONCE: usize = 100;

/// What stands in place of the mark of a result, where what was made before is not wanted.
pub const ANEW: &str = "";

/// A wish for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Who asks.
    pub worker: &'a str,
    /// Of which type.
    pub kind: &'a str,
    /// As which the worker knows that type.
    pub digest: &'a str,
    /// Only jobs that have been there for so long, milliseconds, where others do them better.
    pub aged_ms: u64,
    /// How long a job is left to another worker that has its paths, milliseconds.
    pub leave_ms: u64,
    /// What is open on this host.
    pub open: &'a [String],
    /// Storage that is on this host and not open: a job that prefers it is begun elsewhere or waits, whatever else it could
    /// be begun by.
    pub closed: &'a [String],
    /// At most so many.
    pub most: u32,
    /// Only of those that no worker was lost with.
    pub is_calm: bool,
}

/// A job that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// With which all that is written of it is written.
    pub token: Token,
    /// What tells it from others of its type.
    pub key: String,
    /// What it works on.
    pub input: String,
    /// Where its result goes.
    pub output: Option<String>,
    /// What it needs.
    pub needs: Vec<String>,
    /// Failures of its own.
    pub failures: u32,
    /// Failures of what is around it.
    pub infra_errors: u32,
    /// How often a worker was lost with it.
    pub rescues: u32,
    /// What tells the result that a try before was about to put in its place; [`ANEW`] where a person wants it made anew, as
    /// `runner::placed` has it.
    pub placed: Option<String>,
}

impl Claimed {
    /// What it needs and is none of what is open.
    #[must_use]
    pub fn closed(&self, open: &[String]) -> Vec<String> {
        self.needs.iter().filter(|need| !open.contains(need)).cloned().collect()
    }
}

/// What the waiting jobs of each type need and prefer, as it was found last.
#[derive(Debug, Default)]
pub(super) struct Demands {
    known: BTreeMap<String, (Duration, Vec<Demand>)>,
    /// How many claims there were.
    turn: usize,
}

/// What jobs need and prefer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Demand {
    /// As which the index has it.
    mark: String,
    needs: Vec<String>,
    prefers: Vec<String>,
}

impl Demand {
    fn may_begin(&self, ask: &Ask<'_>) -> bool {
        self.needs.iter().all(|need| ask.open.contains(need))
            && !self.prefers.iter().any(|path| ask.closed.contains(path))
    }

    fn is_at_home(&self, open: &[String]) -> bool {
        self.prefers.iter().all(|path| open.contains(path))
    }
}

impl Demands {
    /// What jobs of a type were found to want not long ago, if that is known.
    fn known(&self, kind: &str) -> Option<&[Demand]> {
        let (at, all) = self.known.get(kind)?;
        (boottime().saturating_sub(*at) < KNOWN_FOR).then_some(all)
    }

    fn find(&mut self, session: &mut Session, kind: &str) -> Result<&[Demand], Fault> {
        const HOP: &str = "
            WITH RECURSIVE hop (mark) AS (
                SELECT (SELECT {mark} FROM unwedge_jobs {by:unwedge_jobs_ready} WHERE type = $1 AND state IN ('pending', 'retryable')
                    ORDER BY {mark} LIMIT 1)
                UNION ALL
                SELECT (SELECT {mark} FROM unwedge_jobs {by:unwedge_jobs_ready} WHERE type = $1 AND state IN ('pending', 'retryable')
                    AND {mark} > hop.mark ORDER BY {mark} LIMIT 1) FROM hop WHERE hop.mark IS NOT NULL)
            SELECT hop.mark,
                (SELECT {text:needs} FROM unwedge_jobs {by:unwedge_jobs_ready} WHERE type = $1 AND state IN ('pending', 'retryable') AND {mark} = hop.mark LIMIT 1),
                (SELECT {text:prefers} FROM unwedge_jobs {by:unwedge_jobs_ready} WHERE type = $1 AND state IN ('pending', 'retryable') AND {mark} = hop.mark LIMIT 1)
            FROM hop WHERE hop.mark IS NOT NULL";
        let rows = session.rows(HOP, vec![Param::from(kind)])?;
        let list = |row: &Row, nth: usize| {
            let text = row.text_of(nth);
            serde_json::from_str(&text)
                .map_err(|error| Fault(format!("what jobs of {kind} need: {error}")))
        };
        let all: Result<Vec<Demand>, Fault> = rows
            .iter()
            .map(|row| {
                Ok(Demand { mark: row.text_of(0), needs: list(row, 1)?, prefers: list(row, 2)? })
            })
            .collect();
        let at = boottime();
        self.known.insert(kind.to_owned(), (at, all?));
        Ok(self.known.get(kind).map_or(&[], |(_, all)| all))
    }
}

/// Hands out what may be claimed, unless `closed` is true of its lane.
pub(super) fn hand_out(
    session: &mut Session,
    demands: &mut Demands,
    ask: &Ask<'_>,
    closed: &str,
) -> Result<Vec<Claimed>, Fault> {
    demands.turn = demands.turn.wrapping_add(1);
    let turn = demands.turn;
    let before = demands.known(ask.kind).map(<[Demand]>::to_vec);
    let mut claimed = Vec::new();
    if let Some(before) = &before {
        hand_out_of(session, before, turn, ask, closed, &mut claimed)?;
        if claimed.len() >= ask.most as usize {
            return Ok(claimed);
        }
    }
    let now = demands.find(session, ask.kind)?.to_vec();
    if before.as_ref() != Some(&now) {
        hand_out_of(session, &now, turn, ask, closed, &mut claimed)?;
    }
    Ok(claimed)
}

/// Adds to `claimed` what there is of these demands, until it is as much as was asked for.
fn hand_out_of(
    session: &mut Session,
    demands: &[Demand],
    turn: usize,
    ask: &Ask<'_>,
    closed: &str,
    claimed: &mut Vec<Claimed>,
) -> Result<(), Fault> {
    let mut open: Vec<&Demand> = demands.iter().filter(|it| it.may_begin(ask)).collect();
    if open.len() > AT_ONCE {
        let begin = turn % open.len();
        open.rotate_left(begin);
    }
    let mut add = |some: &[&Demand]| -> Result<bool, Fault> {
        let most = (ask.most as usize).saturating_sub(claimed.len());
        if most > 0 {
            let mut more = claim(session, some, ask, most, closed)?;
            more.sort_by_key(|job| job.token);
            claimed.extend(more);
        }
        Ok(claimed.len() < ask.most as usize)
    };
    for some in open.chunks(AT_ONCE) {
        // a statement over several has a hand on more than it takes, and whoever comes meanwhile passes over that
        if add(some)? && some.len() > 1 {
            for one in some {
                add(&[one])?;
            }
        }
    }
    Ok(())
}

fn claim(
    session: &mut Session,
    demands: &[&Demand],
    ask: &Ask<'_>,
    most: usize,
    closed: &str,
) -> Result<Vec<Claimed>, Fault> {
    /// The first jobs of one demand. What was written by a clock that was set back since waits no longer for it.
    const OF_ONE: &str = "
        SELECT * FROM (SELECT {row} AS place, priority, not_before_ms, id FROM unwedge_jobs {by:unwedge_jobs_ready}
            WHERE type = $1 AND state IN ('pending', 'retryable') AND {mark} = MARK
                AND (not_before_ms <= {now} - AGED OR changed_ms > {now} + STEP) AND (created_ms <= {now} - AGED OR created_ms > {now} + STEP)
                AND CALM AND HOME
                AND EXISTS (SELECT 1 FROM unwedge_workers w WHERE w.id = $2 AND w.state <> 'dead')
                AND NOT EXISTS (SELECT 1 FROM unwedge_lanes l WHERE l.type = $1 AND (l.digest <> $4 OR CLOSED))
            ORDER BY priority DESC, not_before_ms, id LIMIT $3 {skip}) AS DEMAND";
    /// They are left to whoever has what they prefer, for a while.
    const ELSEWHERE: &str = "
        ((not_before_ms <= {now} - $6 AND (created_ms <= {now} - $6 OR created_ms > {now} + STEP)) OR NOT EXISTS (SELECT 1 FROM unwedge_workers n
            WHERE n.state <> 'dead' AND n.types->$1 IS NOT NULL AND {all:PREFERS:n.open}))";
    /// They are left to whoever would begin with the first tier of their type, if there is one.
    const AGED: &str = "
        (CASE WHEN EXISTS (SELECT 1 FROM unwedge_workers t WHERE t.state <> 'dead' AND t.types->$1->>'digest' = $4
            AND t.types->$1->>'uses' = t.types->$1->>'first_tier') THEN CAST($5 AS BIGINT) ELSE 0 END)";
    const CLAIM: &str = "
        WITH free AS MATERIALIZED (FREE)
        UPDATE unwedge_jobs SET state = 'running', worker = $2, tries = tries + 1, started_ms = {now}, changed_ms = {now}, progress = NULL
        WHERE {row:free}
        RETURNING id, tries, key, input, output, {text:needs}, failures, infra_errors, rescues,
            placed";
    let natural = |number: u64| Param::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let mut params = vec![
        Param::from(ask.kind),
        Param::from(ask.worker),
        natural(most as u64),
        Param::from(ask.digest),
        natural(ask.aged_ms),
        natural(ask.leave_ms),
    ];
    let mut param = |text: String| {
        params.push(Param::Text(text));
        format!("${}", params.len())
    };
    let aged = if ask.aged_ms == 0 { "$5" } else { AGED };
    let calm = if ask.is_calm { "rescues = 0" } else { "true" };
    let of_each = demands.iter().enumerate().map(|(nth, demand)| {
        let home = if demand.is_at_home(ask.open) {
            // every statement has the same values, whatever its text makes of them
            "CAST($6 AS BIGINT) >= 0".to_owned()
        } else {
            ELSEWHERE.replace("PREFERS", &param(json!(demand.prefers).to_string()))
        };
        OF_ONE
            .replace("MARK", &param(demand.mark.clone()))
            .replace("HOME", &home)
            .replace("CALM", calm)
            .replace("AGED", aged)
            .replace("STEP", &CLOCK_STEP_MS.to_string())
            .replace("CLOSED", closed)
            .replace("DEMAND", &format!("demand{nth}"))
    });
    let free = of_each.collect::<Vec<_>>().join(" UNION ALL ");
    let free = match demands {
        [_] => free,
        _ => format!(
            "SELECT place FROM ({free}) AS f ORDER BY priority DESC, not_before_ms, id LIMIT $3"
        ),
    };
    let rows = session.rows(&CLAIM.replace("FREE", &free), params)?;
    rows.iter()
        .map(|row| {
            Ok(Claimed {
                token: Token { id: row.number(0), nth: row.number(1) },
                key: row.text_of(2),
                input: row.text_of(3),
                output: row.text(4),
                needs: serde_json::from_str(&row.text_of(5))
                    .map_err(|error| Fault(format!("what job {} needs: {error}", row.number(0))))?,
                failures: row.count(6),
                infra_errors: row.count(7),
                rescues: row.count(8),
                placed: row.text(9),
            })
        })
        .collect()
}
