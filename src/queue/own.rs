//! The map of our own table (`store`), for everything that was built for the tables of others. What
//! runs here is told by the names of workers.

use crate::config::queue::{Infra, OrderBy, Place, States, TableMap};
use crate::config::utc;
use crate::sys::clock::Now;

/// Its map.
pub fn map() -> TableMap {
    let place = |column: &str| Place { column: column.to_owned(), keys: Vec::new() };
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    // a worker's name begins with the boot that it is of, whatever its host is called by now
    let boot = Now::take().ok().map(|now| format!("{}:", now.boot_id));
    let by =
        |column: &str, descending| OrderBy { column: column.to_owned(), descending, nulls: None };
    TableMap {
        name: "unwedge_jobs".to_owned(),
        id: "id".to_owned(),
        status: "state".to_owned(),
        states: States {
            pending: words(&["pending"]),
            retryable: words(&["retryable"]),
            running: words(&["running"]),
            finished: words(&["done", "failed", "cancelled", "quarantined"]),
        },
        order: vec![by("priority", true), by("not_before_ms", false), by("id", false)],
        output: Some(place("output_dir")),
        started_at: Some(place("started_ms")),
        created_at: vec![place("created_ms")],
        lane: Some(place("type")),
        attempts: Some(place("tries")),
        next_attempt_at: Some(place("not_before_ms")),
        infra: Some(Infra {
            column: place("class"),
            values: words(&["infrastructure"]),
            at: place("changed_ms"),
        }),
        cooldown: None,
        // a gate that is closed keeps its jobs from being taken: nothing has to be moved
        hold_back: None,
        rescue: None,
        zone: utc(),
        of_here: boot.map(|it| format!("substr(worker, 1, {}) = '{it}'", it.len())),
    }
}
