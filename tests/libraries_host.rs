//! Hosts whose worker is another's: one line of configuration names its library, and every tool goes by its queue.

use std::process::Command;

use serde_json::Value;

use crate::libraries::{ALL, Packages, plant};
use crate::queue_host::{self, METRICS};
use crate::support::host::{BASE, listed};
use crate::support::postgres::{Database, cluster};

/// The owner of the tables.
const AS_OWNER: &str = "cd /; setpriv --reuid=postgres --regid=postgres --init-groups -- psql -q -h /run/pg -v ON_ERROR_STOP=1";

#[allow(clippy::disallowed_methods, reason = "tests start processes")]
fn dump(database: &Database, writes_at: &str) -> Vec<u8> {
    let ran = Command::new("/usr/lib/postgresql/15/bin/pg_dump")
        .args(["--no-owner", "--no-privileges", "--dbname", &database.url("postgres")])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout)
        .unwrap()
        .replace("/srv/out/", &format!("{writes_at}/"))
        .into_bytes()
}

host_test! {
    fn every_tool_serves_a_host_whose_worker_is_another_librarys(
        host, needs "/usr/lib/postgresql/15/bin/postgres", needs "/usr/bin/psql"
    ) {
        let test = "libraries_host::every_tool_serves_a_host_whose_worker_is_another_librarys";
        let (Some(cluster), Some(packages)) = (cluster(test), Packages::of(test)) else { return };
        queue_host::furnish(&host);
        host.put("/etc/systemd/system/app.service", b"[Service]\nExecStart=/bin/sleep infinity\n", "644");
        host.ok("systemctl daemon-reload");
        for fixture in ALL {
            let name = fixture.name;
            let database = cluster.database();
            (fixture.install)(&packages, &database, fixture.versions[1]);
            let _held = plant(fixture, &database);
            // what runs writes on the watched storage
            let load = |writes_at: &str| {
                host.put("/run/dump.sql", &dump(&database, writes_at), "644");
                host.ok(&format!("{AS_OWNER} postgres -c 'DROP DATABASE IF EXISTS app WITH (FORCE)' -c 'CREATE DATABASE app'; {AS_OWNER} app -f /run/dump.sql"));
            };
            load(BASE);
            let output = fixture.output.map_or_else(String::new, |it| format!("[queue.library]\noutput = \"{it}\"\n"));
            host.put("/etc/unwedge/unwedge.toml", format!(
                "[probe]\ntimeout = \"500ms\"\ndaemons = \"here\"\n[worker]\nunit = \"app.service\"\n[worker.budget]\ncooldown = \"0s\"\nper_day = 100\n\
                 [queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"{name}\"\nquiet = \"1s\"\n{output}[mounts]\nrepair_under = [\"/srv\"]\n[mounts.budget]\ncooldown = \"0s\"\nper_hour = 50\nper_target_per_day = 50\nper_day = 100\n{}", listed("")
            ).as_bytes(), "644");

            // what it may not read it does not guess at, and says what to paste
            let said = host.bash("cd /; unwedge queue check");
            assert_eq!(said.code, Some(1), "{name}: {said:?}");
            let grants = said.stderr.split_once("'s tables: ").expect(&said.stderr).1.lines().next().unwrap().to_owned();
            let held = host.bash("cd /; unwedge-worker");
            assert!(held.stdout.contains("nobody knows what is in its queue"), "{name}: {held:?}");
            host.put("/run/grants.sql", grants.as_bytes(), "644");
            host.ok(&format!("{AS_OWNER} app -f /run/grants.sql; cd /; unwedge queue check | grep -qx 'the queue can be read'"));

            // its locks stayed where they were
            let counts = if name == "que" { ["4", "0", "0"] } else { ["2", "2", "1"] };
            let [pending, running, stale] = counts;
            let screen = host.bash("systemctl start app; cd /; unwedge status").stdout;
            assert!(screen.contains(&format!("{pending} pending  1 retryable  2 cooling  {running} running")), "{name}: {screen}");
            assert!(screen.contains("app.service: active"), "{name}: {screen}");
            host.ok("systemctl start unwedge-jobs");
            for (metric, value) in [
                ("unwedge_queue_readable", "1"),
                (&format!("unwedge_jobs{{queue=\"{name}\",state=\"pending\"}}"), pending),
                (&format!("unwedge_jobs{{queue=\"{name}\",state=\"running\"}}"), running),
                (&format!("unwedge_jobs_stale{{queue=\"{name}\"}}"), stale),
            ] {
                host.ok(&format!("grep -Fx '{metric} {value}' {METRICS}"));
            }
            // pgmq keeps none of those that failed for good
            let dead = host.bash(&format!("grep '^unwedge_jobs_dead' {METRICS}")).stdout;
            let expected = if name == "pgmq" { String::new() } else { format!("unwedge_jobs_dead{{queue=\"{name}\"}} 1\n") };
            assert_eq!(dead, expected, "{name}");
            let rows = host.bash("cd /; unwedge doctor --json").stdout;
            let rows: Value = serde_json::from_str(&rows).unwrap();
            let queue = rows["rows"].as_array().unwrap().iter().find(|it| it["check"] == "queue").unwrap();
            assert_eq!(queue["grade"], "ok", "{name}: {queue}");

            // its worker crashes: it is to be started, and nothing is written to rows that are another's
            host.ok("systemctl kill -s KILL app; sleep 0.2; systemctl is-failed -q app");
            host.until("cd /; unwedge-worker --apply >/run/said || :; grep -q start-worker /run/said");
            if running != "0" {
                host.ok("grep -q queue-recovers-itself /run/said");
            }
            let rows = database.client().query(fixture.ids, &[]).unwrap().len();
            let ids = fixture.ids.replace('\'', "'\\''");
            assert_eq!(host.ok(&format!("{AS_OWNER} app -Atc 'SELECT count(*) FROM ({ids}) ids'")), rows.to_string(), "{name}");

            // nor is it in the way of a mount that died
            host.arm();
            host.ok("kill -KILL $(main_pid); sleep 0.2");
            // which it is told by what runs: jobs on it are stopped for it, those elsewhere go on; where nobody knows where they
            // write they are on everything
            host.put("/etc/unwedge/sentinels/worker", b"armed by a test\n", "644");
            host.ok("systemctl reset-failed app 2>/dev/null || :; systemctl start app; systemctl is-active -q app");
            for (writes_at, is_stopped) in [("/srv/elsewhere", fixture.output.is_none()), (BASE, true)] {
                load(writes_at);
                host.ok(&format!("{AS_OWNER} app -f /run/grants.sql"));
                let said = host.bash("unwedge-mounts").stdout;
                assert!(said.contains("  dead  ") && said.contains("  restart-unit ") && !said.contains("queue"), "{name}: {said}");
                if running != "0" {
                    assert_eq!(said.contains("  stop-worker "), is_stopped, "{name} at {writes_at}: {said}");
                }
            }
            host.until("unwedge-mounts --apply >/dev/null; timeout 5 cat /srv/storagebox/hello >/dev/null");
            host.ok("rm /etc/unwedge/sentinels/mounts /etc/unwedge/sentinels/worker; systemctl stop app; systemctl reset-failed app || :");
        }
    }
}
