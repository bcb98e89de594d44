//! What is taken out of the queue when it has been kept for long enough, and what keeps its files small. Only rows go:
//! inputs and results are nobody's here to remove. What is put aside for a person goes only where its cause lies in the
//! item itself, never where it lies in the host or its configuration; and what was not done is told of as it goes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::listing::{JOB, Job, job};
use super::session::Session;
use super::{Fault, Param, Row, Store, millis};
use crate::config::jobs::Keep;
use crate::decide::attempts::{Class, State};
use crate::sys::clock::Deadline;

/// So many rows at a time: nobody waits long for their lock.
pub(super) const AT_ONCE: usize = 500;
/// How long a worker that is gone is still listed.
pub(super) const WORKER: Duration = Duration::from_secs(24 * 3600);

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Jobs, by how they stood.
    pub jobs: BTreeMap<State, u64>,
    /// Each job that was not done, but had failed for good or been put aside: its number, its type and its input.
    pub undone: Vec<(i64, String, String)>,
    /// Events.
    pub events: u64,
    /// Workers.
    pub workers: u64,
    /// Whether there is more, for the next round; none where only a round can tell, as it is a matter of its time.
    pub is_more: Option<bool>,
}

impl Removed {
    /// Knows that these went, which stood so.
    fn count(&mut self, state: State, rows: Vec<(i64, String, String)>) {
        if rows.is_empty() {
            return;
        }
        *self.jobs.entry(state).or_default() += rows.len() as u64;
        if is_undone(state) {
            self.undone.extend(rows);
        }
    }

    /// Knows that this one would not go after all.
    pub fn stays(&mut self, job: &Job) {
        if let Some(count) = self.jobs.get_mut(&job.state) {
            *count = count.saturating_sub(1);
        }
        self.jobs.retain(|_, count| *count > 0);
        self.undone.retain(|(id, ..)| *id != job.id);
    }

    /// Knows what went beside it, too.
    pub fn add(&mut self, other: Self) {
        for (state, count) in other.jobs {
            *self.jobs.entry(state).or_default() += count;
        }
        self.undone.extend(other.undone);
    }
}

/// A job that came by an intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenIn {
    /// Its number.
    pub id: i64,
    /// Its input.
    pub input: String,
    /// What tells it from others of its type.
    pub key: String,
    /// Whether it is done, as a job of the type that is asked for.
    pub is_done: bool,
    /// The host whose own directory it came from.
    pub offered_by: Option<String>,
    /// Its result, where its input was gone once it was done, and is there again.
    pub made_before: Option<String>,
}

/// Classes whose cause is the item itself.
const OF_THE_ITEM: [Class; 4] = [Class::Failed, Class::TimedOut, Class::Permanent, Class::Crashed];

/// What an intake knows of while its input is there, and a day longer: without its row the input would be taken in anew,
/// and one that is away may only be on storage that was not mounted when somebody looked. An intake for which nobody has
/// looked in a year takes no input in any more.
fn unknown() -> String {
    // what else is kept there is no number, and is not taken for one
    format!(
        "(intake IS NULL OR gone_ms <= {{now}} - 86400000
          OR intake IN (SELECT substr(m.name, {from}) FROM unwedge_meta m WHERE {{now}} - {GIVEN_UP_MS} >=
                 CASE WHEN substr(m.name, 1, {length}) = '{LOOKED}' THEN CAST(m.value AS BIGINT) END))",
        from = LOOKED.len() + 1,
        length = LOOKED.len()
    )
}

/// An intake for which nobody has looked for so long is none any more, milliseconds: a host may be off for months, and what
/// its intake has done must not be done once more when it is back.
const GIVEN_UP_MS: u64 = 365 * 86_400_000;

/// What is kept of when somebody looked for an intake last is called so, and by the name of that.
const LOOKED: &str = "intake:";
/// No look is written down so soon after the last one, milliseconds: most looks write nothing.
const LOOKED_APART_MS: u64 = 3_600_000;

/// What may go now: how it stands, and which of those, as a condition on a job.
pub(super) fn kinds(keep: &Keep, with_quarantine: bool) -> Vec<(State, String)> {
    let classes: Vec<String> =
        OF_THE_ITEM.iter().map(|class| format!("'{}'", class.name())).collect();
    let of_the_item = format!("AND class IN ({})", classes.join(", "));
    let mut kinds: Vec<(State, Duration, String)> = vec![
        (State::Done, keep.done, String::new()),
        (State::Failed, keep.failed, String::new()),
        (State::Cancelled, keep.cancelled, String::new()),
    ];
    if with_quarantine {
        kinds.push((State::Quarantined, keep.quarantined, of_the_item));
    }
    let unknown = unknown();
    let kept = kinds.into_iter().filter(|(_, kept, _)| !kept.is_zero());
    kept.map(|(state, kept, more)| {
        let (name, kept_ms) = (state.name(), whole_ms(kept));
        let which =
            format!("state = '{name}' AND finished_ms <= {{now}} - {kept_ms} AND {unknown} {more}");
        (state, which)
    })
    .collect()
}

/// A job of which a second result may lie beside its place, where a person was to pick: its row goes only after that.
const MAY_HAVE_SECOND: &str = "(state <> 'done' AND output IS NOT NULL
    AND EXISTS (SELECT 1 FROM unwedge_attempts a WHERE a.job = unwedge_jobs.id AND a.class = 'conflict'))";

/// Events that were kept for so long, `$1`.
pub(super) const OLD_EVENTS: &str = "at_ms <= {now} - $1";
/// Workers that were gone for so long, `$1`.
pub(super) const OLD_WORKERS: &str = "w.state = 'dead' AND w.ended_ms <= {now} - $1";

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 1)
}

impl Store {
    /// Jobs of an intake, for this type, whose inputs are not known to be gone, from one number on. One of a type that it was
    /// for before says nothing of what this one has done with the input.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn taken_in(
        &mut self,
        intake: &str,
        kind: &str,
        after: i64,
        most: u32,
    ) -> Result<Vec<TakenIn>, Fault> {
        if after == 0 {
            self.looked(intake)?;
        }
        let of = vec![Param::from(intake), Param::Number(after)];
        taken_in(&mut self.session, kind, most, OF_INTAKE, of)
    }

    /// Knows that somebody looks for an intake.
    fn looked(&mut self, intake: &str) -> Result<(), Fault> {
        let (name, now_ms) = (format!("{LOOKED}{intake}"), self.session.now_ms()?);
        let before = self.session.meta(&name)?.and_then(|it| it.parse::<u64>().ok());
        // a clock that was set back is no look to come
        if before.is_none_or(|at_ms| at_ms.abs_diff(now_ms) >= LOOKED_APART_MS) {
            self.session.set_meta(&name, &now_ms.to_string())?;
        }
        Ok(())
    }

    /// Of an intake of which it is not known when somebody looked, as one that an earlier version knew, that is now.
    fn begin_to_count(&mut self) -> Result<(), Fault> {
        let rows = self.session.rows(
            &format!(
                "SELECT j.intake FROM (SELECT DISTINCT intake FROM unwedge_jobs WHERE intake IS NOT NULL AND gone_ms IS NULL) j
                 WHERE NOT EXISTS (SELECT 1 FROM unwedge_meta m WHERE m.name = '{LOOKED}' || j.intake)"
            ),
            Vec::new(),
        )?;
        rows.iter().try_for_each(|row| self.looked(&row.text_of(0)))
    }

    /// Knows that the inputs of these jobs are gone.
    ///
    /// # Errors
    /// It is as it was.
    pub fn inputs_gone(&mut self, ids: &[i64]) -> Result<(), Fault> {
        self.session.rows(
            "UPDATE unwedge_jobs SET gone_ms = {now}
             WHERE id IN ({ids:1}) RETURNING id",
            vec![Param::list(ids)],
        )?;
        Ok(())
    }

    /// Takes out what was kept for long enough, as far as it comes; but no job that [`Store::old_with_second`] has.
    ///
    /// # Errors
    /// What is out is out; the next round goes on.
    pub fn remove_old(
        &mut self,
        keep: &Keep,
        with_quarantine: bool,
        deadline: Deadline,
    ) -> Result<Removed, Fault> {
        self.remove_old_but(None, keep, with_quarantine, deadline)
    }

    /// The same, but of no job of the type that is `spared`.
    ///
    /// # Errors
    /// What is out is out; the next round goes on.
    pub fn remove_old_but(
        &mut self,
        spared: Option<&str>,
        keep: &Keep,
        with_quarantine: bool,
        deadline: Deadline,
    ) -> Result<Removed, Fault> {
        let mut removed = Removed::default();
        // all its rows are gone through: as often as what is put aside is
        if with_quarantine {
            self.begin_to_count()?;
        }
        let all = self.counts()?;
        for (state, which) in kinds(keep, with_quarantine) {
            let of_it = all.iter().filter(|(_, found, _)| *found == state);
            for (kind, _, _) in of_it.filter(|(kind, _, _)| Some(kind.as_str()) != spared) {
                while !deadline.passed() {
                    let rows = self.remove_some(kind, state, &which)?;
                    let is_last = rows.len() < AT_ONCE;
                    removed.count(state, rows);
                    if is_last {
                        break;
                    }
                }
            }
        }
        if !keep.events.is_zero() && !deadline.passed() {
            removed.events = some(
                &mut self.session,
                &format!(
                    "DELETE FROM unwedge_events WHERE id IN
                         (SELECT id FROM unwedge_events WHERE {OLD_EVENTS} ORDER BY id LIMIT $2) RETURNING id"
                ),
                keep.events,
                deadline,
            )?;
        }
        removed.workers = some(
            &mut self.session,
            &format!(
                "DELETE FROM unwedge_workers WHERE id IN (SELECT id FROM unwedge_workers w WHERE {OLD_WORKERS}
                     AND NOT EXISTS (SELECT 1 FROM unwedge_jobs j WHERE j.worker = w.id AND j.state = 'running') LIMIT $2) RETURNING id"
            ),
            WORKER,
            deadline,
        )?;
        removed.is_more = Some(deadline.passed());
        self.session.give_back_space(deadline)?;
        Ok(removed)
    }

    /// Jobs that were kept for long enough, and beside whose place a second result may lie; some of them, of no type that is
    /// `spared`. What a person is to pick from is not among them: a conflict is kept until it was let out or called off.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn old_with_second(
        &mut self,
        spared: Option<&str>,
        keep: &Keep,
        with_quarantine: bool,
    ) -> Result<Vec<Job>, Fault> {
        let mut found = Vec::new();
        for (_, which) in kinds(keep, with_quarantine) {
            let rows = self.session.rows(
                &format!(
                    "SELECT {JOB} FROM unwedge_jobs WHERE {which} AND {MAY_HAVE_SECOND} AND type <> $1 ORDER BY finished_ms LIMIT $2"
                ),
                vec![Param::from(spared.unwrap_or_default()), at_once()],
            )?;
            for row in &rows {
                found.push(job(row)?);
            }
        }
        Ok(found)
    }

    /// Takes those of these out that were kept for long enough still, once nothing of theirs lies beside their place.
    ///
    /// # Errors
    /// What is out is out; the next round goes on.
    pub fn remove_with_second(
        &mut self,
        ids: &[i64],
        keep: &Keep,
        with_quarantine: bool,
    ) -> Result<Removed, Fault> {
        let mut removed = Removed::default();
        for (state, which) in kinds(keep, with_quarantine) {
            let rows = self.session.transaction(|session| {
                let rows = session.rows(
                    &format!(
                        "DELETE FROM unwedge_jobs WHERE id IN ({{ids:1}}) AND {which} RETURNING id, type, input"
                    ),
                    vec![Param::list(ids)],
                )?;
                forget_tries(session, &rows)?;
                Ok(rows)
            })?;
            removed.count(
                state,
                rows.iter().map(|row| (row.number(0), row.text_of(1), row.text_of(2))).collect(),
            );
        }
        Ok(removed)
    }

    /// Takes one job out, with all that is known of it, unless a worker has it. Whether it is out.
    ///
    /// # Errors
    /// It is not known.
    pub fn remove(&mut self, id: i64) -> Result<bool, Fault> {
        self.session.transaction(|session| {
            let id = vec![Param::Number(id)];
            let rows = session.rows(
                "DELETE FROM unwedge_jobs WHERE id = $1 AND state <> 'running' RETURNING id",
                id.clone(),
            )?;
            forget_tries(session, &rows)?;
            session.rows("DELETE FROM unwedge_events WHERE job = $1 RETURNING id", id)?;
            Ok(!rows.is_empty())
        })
    }

    /// Some of one type that stand so: number, type and input of each.
    fn remove_some(
        &mut self,
        kind: &str,
        state: State,
        which: &str,
    ) -> Result<Vec<(i64, String, String)>, Fault> {
        let name = state.name();
        let text = format!(
            "DELETE FROM unwedge_jobs WHERE id IN (SELECT id FROM unwedge_jobs
                 WHERE type = $1 AND {which} AND NOT {MAY_HAVE_SECOND} ORDER BY finished_ms LIMIT $2) AND state = '{name}'
             RETURNING id, type, input"
        );
        let params = vec![Param::from(kind), at_once()];
        let rows = self.session.transaction(|session| {
            let rows = session.rows(&text, params)?;
            forget_tries(session, &rows)?;
            Ok(rows)
        })?;
        Ok(rows.iter().map(|row| (row.number(0), row.text_of(1), row.text_of(2))).collect())
    }
}

/// Whether it is told of each job that goes in such a state: nobody has what it was to make.
pub(super) fn is_undone(state: State) -> bool {
    matches!(state, State::Failed | State::Quarantined)
}

/// What came by an intake and is not known to be gone, `$3`, from one number on, `$4`.
pub(super) const OF_INTAKE: &str = "intake = $3 AND gone_ms IS NULL AND id > $4";

/// Those jobs of an intake for this type, as it would be with those that are gone back; `more` stands for `$3` and so on.
pub(super) fn taken_in(
    session: &mut Session,
    kind: &str,
    most: u32,
    which: &str,
    more: Vec<Param>,
) -> Result<Vec<TakenIn>, Fault> {
    let mut params = vec![Param::from(kind), Param::Number(i64::from(most))];
    params.extend(more);
    let rows = session.rows(
        &format!(
            "SELECT id, input, key, CASE WHEN state = 'done' AND type = $1 THEN 1 ELSE 0 END, offered_by,
                 CASE WHEN state = 'done' AND (changed_ms > finished_ms OR gone_ms IS NOT NULL) THEN output END FROM unwedge_jobs
             WHERE {which} ORDER BY id LIMIT $2"
        ),
        params,
    )?;
    let row = |row: &Row| TakenIn {
        id: row.number(0),
        input: row.text_of(1),
        key: row.text_of(2),
        is_done: row.number(3) == 1,
        offered_by: row.text(4),
        made_before: row.text(5),
    };
    Ok(rows.iter().map(row).collect())
}

/// The tries of jobs that are out, whose numbers come first in these rows.
fn forget_tries(session: &mut Session, jobs: &[Row]) -> Result<(), Fault> {
    let ids: Vec<i64> = jobs.iter().map(|row| row.number(0)).collect();
    session.rows(
        "DELETE FROM unwedge_attempts WHERE job IN ({ids:1}) RETURNING job",
        vec![Param::list(&ids)],
    )?;
    Ok(())
}

fn some(
    session: &mut Session,
    text: &str,
    kept: Duration,
    deadline: Deadline,
) -> Result<u64, Fault> {
    let mut count = 0;
    loop {
        let rows = session.rows(text, vec![millis(kept), at_once()])?;
        count += rows.len() as u64;
        if rows.len() < AT_ONCE || deadline.passed() {
            return Ok(count);
        }
    }
}

fn at_once() -> Param {
    Param::Number(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
}
