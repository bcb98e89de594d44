//! What a reading of a library's queue costs, with 1,000,000 jobs that are done and 50,000 that wait: connecting, its
//! version, and all of it; and which index of the library's it goes by. Beside each, in turn, a connection that does no more
//! than count the rows by how they stand, in one plain statement.

use std::time::Instant;

use unwedge::queue::about_library;

use crate::libraries::{ALL, Packages, queue};
use crate::support::postgres::cluster;
use crate::{alternating, ms, note, ratio, row};

/// How often each is read.
const RUNS: usize = 21;

/// All of it.
pub fn rows() {
    let (Some(cluster), Some(packages)) = (cluster("figures"), Packages::of("figures")) else {
        note("libraries' queues are left out: no PostgreSQL, or none of their packages");
        return;
    };
    for fixture in ALL {
        note(&format!("1000000 jobs of {} ...", fixture.name));
        let database = cluster.database();
        (fixture.install)(&packages, &database, fixture.versions[1]);
        database.sql(fixture.many);
        database.sql("VACUUM ANALYZE");
        let asked = queue(fixture, &database.url("postgres"));
        let about = about_library(&asked).unwrap();
        let reading = || {
            let start = Instant::now();
            assert!(unwedge::queue::look(&asked).known().is_some());
            start.elapsed()
        };
        // as slow a server as it is just now, asked by the same client from the same socket
        let plainly = || {
            let start = Instant::now();
            let mut client = database.client();
            client.batch_execute("SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0; SET jit = off").unwrap();
            let counts = client.simple_query(fixture.plain).unwrap();
            let took = start.elapsed();
            assert!(counts.len() > 1);
            took
        };
        let (read, counted) = alternating(RUNS, reading, plainly);
        let named = |all: &std::collections::BTreeSet<String>| {
            all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let whole = match named(&about.whole) {
            none if none.is_empty() => none,
            whole => format!("; as a whole {whole}"),
        };
        let by = format!("{}{whole}", named(&about.indexes));
        let (target, why) = match fixture.without {
            Some(without) => ("100 ms", format!("; by no index: {without}")),
            None => ("20 ms", String::new()),
        };
        row(
            // this one keeps none that are done
            &format!(
                "a reading of {}, 50000 jobs wait and {} are done",
                fixture.name,
                if fixture.name == "graphile-worker" { 0 } else { 1_000_000 }
            ),
            &ms(read),
            &format!("a count by how they stand {}; {by}{why}", ms(counted)),
            &format!("{:.2}", ratio(read, counted)),
            target,
        );
    }
}
