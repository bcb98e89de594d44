//! What a round would do to the queue, counted: by the conditions that the deeds go by, which stand here or beside the
//! deed, once. Nothing is written, and the database itself refuses what would write.

use std::collections::BTreeSet;
use std::time::Duration;

use super::submit::{listed, refuse_long, refuse_taken_but};
use super::upkeep::{
    AT_ONCE, OF_INTAKE, OLD_EVENTS, OLD_WORKERS, Removed, TakenIn, WORKER, is_undone, kinds,
    taken_in,
};
use super::workers::{BECOMES, LOST};
use super::{Fault, NewJob, Param, Rescued, Session, Store, mark_of, millis, state};
use crate::config::jobs::Keep;
use crate::config::queue::Queue;
use crate::decide::leases::Seen;
use crate::queue::cells::Row;

/// What would have gone by age, or been put aside, before anything is taken in.
#[derive(Clone, Debug)]
pub struct Out {
    /// How long what is kept.
    pub keep: Keep,
    /// Whether what was put aside is gone through as well.
    pub with_quarantine: bool,
    /// Jobs that would be nobody's to run any more, by number: where their results go is free then.
    pub aside: Vec<i64>,
}

impl Out {
    /// Those jobs, as a condition.
    fn jobs(&self) -> String {
        let kinds = kinds(&self.keep, self.with_quarantine);
        let each: Vec<String> = kinds.into_iter().map(|(_, which)| format!("({which})")).collect();
        // what is not known of a job, such as that its input is gone, takes none out
        if each.is_empty() {
            "1 = 0".to_owned()
        } else {
            format!("coalesce({}, FALSE)", each.join(" OR "))
        }
    }
}

/// What would come of jobs that are put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Those that are new, by their place in the list.
    pub new: BTreeSet<usize>,
    /// The numbers of those whose input is there again, or that belong to another intake now.
    pub back: Vec<i64>,
}

impl Store {
    /// Connects for looking alone, where somebody has made it: what would write is refused by the database.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn only_look(queue: &Queue) -> Result<Option<Self>, Fault> {
        Ok(Session::only_look(queue)?.map(|session| Self::of(queue, session)))
    }

    /// The mark of the queue, where it has one: a queue gets it with its first worker.
    ///
    /// # Errors
    /// There is no answer.
    pub fn mark_there(&mut self) -> Result<Option<String>, Fault> {
        Ok(self.session.meta("name")?.as_deref().map(mark_of))
    }

    /// Jobs that `bury` would give back, and how they would stand.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn would_bury(&mut self, gone: &[Seen], limit: u32) -> Result<Vec<Rescued>, Fault> {
        let ids: Vec<&str> = gone.iter().map(|seen| seen.id.as_str()).collect();
        let stays = "w.state <> 'dead' AND w.id NOT IN (SELECT {element} FROM {each:2})";
        let lost = LOST.replace("w.state <> 'dead'", stays);
        let rows = self.session.rows(
            &format!("SELECT id, {BECOMES} FROM unwedge_jobs WHERE state = 'running' AND {lost} ORDER BY id"),
            vec![Param::Number(i64::from(limit)), Param::list(&ids)],
        )?;
        rows.iter().map(|row| Ok(Rescued { id: row.number(0), state: state(row, 1)? })).collect()
    }

    /// What `remove_old` would take out.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn would_remove(&mut self, out: &Out) -> Result<Removed, Fault> {
        let mut removed = Removed::default();
        let one = |rows: &[Row]| rows.first().map_or(0, |row| row.natural_of(0));
        for (state, which) in kinds(&out.keep, out.with_quarantine) {
            if is_undone(state) {
                let rows = self.session.rows(
                    &format!(
                        "SELECT id, type, input FROM unwedge_jobs WHERE {which} ORDER BY type, finished_ms"
                    ),
                    Vec::new(),
                )?;
                let undone = rows.iter().map(|it| (it.number(0), it.text_of(1), it.text_of(2)));
                removed.undone.extend(undone);
                removed.jobs.insert(state, rows.len() as u64);
            } else {
                let text = format!("SELECT count(*) FROM unwedge_jobs WHERE {which}");
                let rows = self.session.rows(&text, Vec::new())?;
                removed.jobs.insert(state, one(&rows));
            }
        }
        removed.jobs.retain(|_, count| *count > 0);
        let mut count = |table: &str, which: &str, kept: Duration| {
            let text = format!("SELECT count(*) FROM {table} WHERE {which}");
            Ok(one(&self.session.rows(&text, vec![millis(kept)])?))
        };
        if !out.keep.events.is_zero() {
            removed.events = count("unwedge_events", OLD_EVENTS, out.keep.events)?;
        }
        // whoever still has a job by then has it given back before
        removed.workers = count("unwedge_workers w", OLD_WORKERS, WORKER)?;
        // how often a round takes so many out is a matter of its time
        let is_one = |count: &u64| *count < AT_ONCE as u64;
        let is_all = removed.jobs.values().chain([&removed.events, &removed.workers]).all(is_one);
        removed.is_more = is_all.then_some(false);
        Ok(removed)
    }

    /// What would come of putting these in, once what is old is out.
    ///
    /// # Errors
    /// There is no answer, or they would be refused.
    pub fn would_submit(&mut self, jobs: &[NewJob], out: &Out) -> Result<Put, Fault> {
        refuse_long(jobs)?;
        let list = listed(jobs)?;
        refuse_taken_but(&out.aside, &mut self.session, &list)?;
        let rows = self.session.rows(
            &format!(
                "SELECT CAST(e.value->>'nth' AS BIGINT), id, CASE WHEN intake IS NOT NULL AND (gone_ms IS NOT NULL OR intake <> e.value->>'intake') THEN 1 ELSE 0 END
                 FROM {{each:1}} JOIN unwedge_jobs ON type = e.value->>'type' AND key = e.value->>'key' WHERE NOT ({})",
                out.jobs()
            ),
            vec![list],
        )?;
        let known: BTreeSet<usize> =
            rows.iter().filter_map(|row| usize::try_from(row.number(0)).ok()).collect();
        let back = rows.iter().filter(|row| row.number(2) == 1).map(|row| row.number(1));
        Ok(Put {
            new: (0..jobs.len()).filter(|nth| !known.contains(nth)).collect(),
            back: back.collect(),
        })
    }

    /// What [`Store::taken_in`] would tell once what is old is out; nobody knows that somebody looked.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn would_be_taken_in(
        &mut self,
        intake: &str,
        kind: &str,
        after: i64,
        most: u32,
        out: &Out,
    ) -> Result<Vec<TakenIn>, Fault> {
        let which = format!("{OF_INTAKE} AND NOT ({})", out.jobs());
        let of = vec![Param::from(intake), Param::Number(after)];
        taken_in(&mut self.session, kind, most, &which, of)
    }

    /// Those of it that would be back.
    ///
    /// # Errors
    /// They cannot be told.
    pub fn back(&mut self, kind: &str, ids: &[i64]) -> Result<Vec<TakenIn>, Fault> {
        let most = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        taken_in(&mut self.session, kind, most, "id IN ({ids:3})", vec![Param::list(ids)])
    }
}
