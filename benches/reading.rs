//! What a reading of a library's queue costs, with 1,000,000 jobs that are done and 50,000 that wait: connecting, its
//! version, and all of it; and which index of the library's it goes by.

use std::time::Instant;

use unwedge::queue::about_library;

use crate::libraries::{ALL, Packages, many, queue};
use crate::support::postgres::cluster;
use crate::{median, ms, note, row};

/// How often each is read.
const RUNS: usize = 21;

/// Those that have no index of all that is counted.
const WITHOUT: [&str; 4] = ["graphile-worker", "procrastinate", "que", "solid-queue"];

/// All of it.
pub fn rows() {
    let (Some(cluster), Some(packages)) = (cluster("figures"), Packages::of("figures")) else {
        note("libraries' queues are left out: no PostgreSQL, or none of their packages");
        return;
    };
    for fixture in &ALL {
        note(&format!("1000000 jobs of {} ...", fixture.name));
        let database = cluster.database();
        (fixture.install)(&packages, &database, fixture.versions[1]);
        database.sql(many(fixture.name));
        database.sql("VACUUM ANALYZE");
        let asked = queue(fixture, &database.url("postgres"));
        let about = about_library(&asked).unwrap();
        let times = (0..RUNS).map(|_| {
            let start = Instant::now();
            assert!(unwedge::queue::look(&asked).known().is_some());
            start.elapsed()
        });
        let named = |all: &std::collections::BTreeSet<String>| {
            all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let whole = match named(&about.whole) {
            none if none.is_empty() => none,
            whole => format!("; as a whole {whole}"),
        };
        let by = format!("{}{whole}", named(&about.indexes));
        row(
            // this one keeps none that are done
            &format!(
                "a reading of {}, 50000 jobs wait and {} are done",
                fixture.name,
                if fixture.name == "graphile-worker" { 0 } else { 1_000_000 }
            ),
            &ms(median(times.collect())),
            &by,
            "",
            if WITHOUT.contains(&fixture.name) { "100 ms" } else { "20 ms" },
        );
    }
}
