//! The table of healtharchive, `archive_jobs`, as its worker uses it. It has no not-before column: a job
//! that met an infrastructure error is left alone for ten minutes after `updated_at`.

use std::time::Duration;

use crate::config::queue::{Cooldown, Infra, Nulls, OrderBy, Place, States, TableMap};
use crate::config::utc;

/// How long its worker leaves such a job alone.
const COOLDOWN: Duration = Duration::from_secs(10 * 60);

/// Its map.
pub fn map() -> TableMap {
    let place = |column: &str| Place { column: column.to_owned(), keys: Vec::new() };
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let by = |column: &str, nulls| OrderBy { column: column.to_owned(), descending: false, nulls };
    let infra = words(&["infra_error"]);
    TableMap {
        name: "archive_jobs".to_owned(),
        id: "id".to_owned(),
        status: "status".to_owned(),
        states: States {
            pending: words(&["queued"]),
            retryable: words(&["retryable"]),
            running: words(&["running"]),
            finished: words(&["completed", "indexing", "indexed", "index_failed", "failed"]),
        },
        order: vec![by("queued_at", Some(Nulls::First)), by("created_at", None)],
        output: Some(place("output_dir")),
        started_at: Some(place("started_at")),
        created_at: vec![place("queued_at"), place("created_at")],
        lane: Some(place("source_id")),
        attempts: Some(place("retry_count")),
        next_attempt_at: None,
        infra: Some(Infra {
            column: place("crawler_status"),
            values: infra.clone(),
            at: place("updated_at"),
        }),
        cooldown: Some(Cooldown {
            column: place("crawler_status"),
            values: infra,
            at: place("updated_at"),
            time: COOLDOWN,
        }),
        hold_back: None,
        rescue: None,
        zone: utc(),
        of_here: None,
    }
}
