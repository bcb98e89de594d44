//! How tries end: what is written of each, and of whose a result may be put in its place. Whoever has lost the job changes
//! nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Ending, Fault, Param, Row, Store, json_of, lanes};
use crate::decide::attempts::{Class, Token};

/// How a row ends, of the elements of a list as `e`. A try has a job by its number and by who is at it: where the database was put
/// back to what it was earlier, a number is given out anew.
const END: &str = "
    UPDATE unwedge_jobs SET worker = NULL, cancel_ms = NULL,
        state = CASE WHEN cancel_ms IS NOT NULL AND e.value->>'state' IN ('pending', 'retryable')
            THEN 'cancelled' ELSE e.value->>'state' END,
        finished_ms = CASE WHEN cancel_ms IS NULL AND e.value->>'state' IN ('pending', 'retryable') THEN NULL ELSE {now} END,
        not_before_ms = CASE WHEN CAST(e.value->>'wait_ms' AS BIGINT) = 0 THEN 0 ELSE {now} + CAST(e.value->>'wait_ms' AS BIGINT) END,
        changed_ms = {now}, started_ms = coalesce({now} - CAST(e.value->>'took_ms' AS BIGINT), started_ms),
        failures = failures + CASE WHEN e.value->>'counted' = 'failure' THEN 1 ELSE 0 END,
        infra_errors = infra_errors + CASE WHEN e.value->>'counted' = 'infra' THEN 1 ELSE 0 END,
        class = e.value->>'class', message = e.value->>'message', tier = e.value->>'tier',
        bytes = CAST(e.value->>'bytes' AS BIGINT),
        placed = CASE WHEN coalesce(e.value->>'class', 'infrastructure') IN ('infrastructure', 'crashed') THEN placed
            WHEN e.value->>'state' <> 'done' AND (placed = '' OR placed LIKE 'anew:%') THEN '' END
    FROM {each:1}
    WHERE id = CAST(e.value->>'id' AS BIGINT) AND tries = CAST(e.value->>'try' AS BIGINT) AND worker = $2
    RETURNING id, tries, type, state AS stands";
/// What is kept of a try, of the same elements; where they are from stands behind it.
const NOTE: &str = "
    INSERT INTO unwedge_attempts (job, try, worker, end_state, tier, exit_code, signal, class, message, version, digest, started_ms, ended_ms)
    SELECT CAST(e.value->>'id' AS BIGINT), CAST(e.value->>'try' AS BIGINT), $2, STANDS, e.value->>'tier',
        CAST(e.value->>'exit_code' AS BIGINT), CAST(e.value->>'signal' AS BIGINT), e.value->>'class', e.value->>'message',
        $3, e.value->>'digest', CAST(e.value->>'started_ms' AS BIGINT), {now}";

/// What is said of a try that did not end by itself.
pub(super) const WAS_LOST: &str = "its worker was lost";

impl Store {
    /// Whether a try is still the one that has the job: then its result may be put in its place, and by which `mark` that
    /// is known is kept. Whoever takes the job after a crash knows by that whose file it finds there.
    ///
    /// # Errors
    /// It is not known; nothing may be put anywhere.
    pub fn place(&mut self, token: Token, worker: &str, mark: &str) -> Result<bool, Fault> {
        let rows = self.session.rows(
            "UPDATE unwedge_jobs SET placed = $3 WHERE id = $1 AND tries = $2 AND worker = $4 AND cancel_ms IS NULL
             RETURNING id",
            vec![
                Param::Number(token.id),
                Param::Number(token.nth),
                Param::from(mark),
                Param::from(worker),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    /// Writes down how tries ended. That a result may be in its place is forgotten only after a try that ended otherwise:
    /// what was given back may never have been begun, and storage that failed, or whoever was killed at it, may have put the
    /// result there all the same.
    ///
    /// Those that were accepted, now or when the same was said before; of the others somebody else has the job, and nothing of
    /// it was changed.
    ///
    /// # Errors
    /// Whether it was written is not known; to write it again does no harm.
    pub fn end(
        &mut self,
        endings: &[Ending],
        version: &str,
        worker: &str,
    ) -> Result<Vec<Token>, Fault> {
        let mut accepted = self.end_those(endings, version, worker)?;
        if accepted.len() < endings.len() {
            let left = endings.iter().map(|it| it.token).filter(|it| !accepted.contains(it));
            let left: Vec<Token> = left.collect();
            accepted.extend(self.ended_before(&left, worker)?);
        }
        Ok(accepted)
    }

    /// Which of these tries of a worker were written down by its own words: their answer may have been lost.
    fn ended_before(&mut self, tries: &[Token], worker: &str) -> Result<Vec<Token>, Fault> {
        let list: Vec<Value> =
            tries.iter().map(|it| json!({ "id": it.id, "try": it.nth })).collect();
        let rows = self.session.rows(
            "SELECT a.job, a.try FROM {each:1} JOIN unwedge_attempts a
             ON a.job = CAST(e.value->>'id' AS BIGINT) AND a.try = CAST(e.value->>'try' AS BIGINT)
             WHERE a.worker = $2 AND coalesce(a.message, '') <> $3",
            vec![Param::list(&list), Param::from(worker), Param::from(WAS_LOST)],
        )?;
        Ok(rows.iter().map(|row| Token { id: row.number(0), nth: row.number(1) }).collect())
    }

    fn end_those(
        &mut self,
        endings: &[Ending],
        version: &str,
        worker: &str,
    ) -> Result<Vec<Token>, Fault> {
        let list: Vec<Value> = endings.iter().map(json_of).collect::<Result<_, Fault>>()?;
        let (worker, version) = (Param::from(worker), Param::from(version));
        let all = Param::list(&list);
        let of_type = |it: &Ending| it.class.as_deref() == Some(Class::Configuration.name());
        if self.session.is_one_for_all() && !endings.iter().any(of_type) {
            return self.end_at_once(vec![all, worker, version]);
        }
        let breaker = &self.breaker;
        self.session.transaction(|session| {
            let rows = session.rows(END, vec![all, worker.clone()])?;
            let of = |row: &Row| Token { id: row.number(0), nth: row.number(1) };
            let types: BTreeMap<Token, String> =
                rows.iter().map(|row| (of(row), row.text_of(2))).collect();
            // one that was called off meanwhile stands otherwise than its try says
            let stands: BTreeMap<Token, String> =
                rows.iter().map(|row| (of(row), row.text_of(3))).collect();
            let accepted: Vec<Token> = types.keys().copied().collect();
            lanes::note(session, endings, &types, breaker)?;
            let noted: Vec<Value> = endings
                .iter()
                .filter_map(|ending| Some((ending, stands.get(&ending.token)?)))
                .map(|(ending, stands)| {
                    let mut value = json_of(ending)?;
                    value["state"] = json!(stands);
                    Ok(value)
                })
                .collect::<Result<_, Fault>>()?;
            if !noted.is_empty() {
                let noted = Param::list(&noted);
                let note = NOTE.replace("STANDS", "e.value->>'state'");
                session.rows(&format!("{note} FROM {{each:1}}"), vec![noted, worker, version])?;
            }
            Ok(accepted)
        })
    }

    /// The same in one statement, where the database takes that, and where no lane may have to be closed.
    fn end_at_once(&mut self, params: Vec<Param>) -> Result<Vec<Token>, Fault> {
        let text = format!(
            "WITH ended AS ({END}, e.value), noted AS ({} FROM ended e),
                 works AS (UPDATE unwedge_lanes {} WHERE (streak > 0 OR opened_ms IS NOT NULL) AND type IN (SELECT e.type FROM ended e
                     WHERE coalesce(e.value->>'class', '') <> 'infrastructure' AND (e.value->>'class' IS NOT NULL OR e.value->>'state' = 'done')))
             SELECT id, tries FROM ended ORDER BY id, tries",
            NOTE.replace("STANDS", "e.stands"),
            lanes::CLOSE
        );
        let rows = self.session.rows(&text, params)?;
        Ok(rows.iter().map(|row| Token { id: row.number(0), nth: row.number(1) }).collect())
    }
}
