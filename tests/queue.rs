//! The queue's facts, read by the real program from a real PostgreSQL and a real SQLite, and what comes
//! of servers that lie, hide, hang or drip.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use unwedge::config;
use unwedge::probes::jobs::{self, QueueLook};

use crate::support::lab::{Lab, Ran, await_that};
use crate::support::postgres::{Database, PASSWORD, cluster};

/// A directory with a configuration and the directories it names.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for made in ["state", "metrics", "run", "sentinels"] {
            fs::create_dir(dir.path().join(made)).unwrap();
        }
        let desk = Self { dir };
        // the program becomes the service user, who must be able to run it, and to write
        fs::set_permissions(desk.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (built, own) = (env!("CARGO_BIN_EXE_unwedge-jobs"), desk.path("unwedge-jobs"));
        if fs::hard_link(built, &own).is_err() {
            fs::copy(built, &own).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration: the keys of `[queue]` and what follows them.
    fn configure(&self, queue: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let text = format!(
            "[host]\nuser = \"nobody\"\nstate_dir = \"{dir}/state\"\nrun_dir = \"{dir}/run\"\n\
             sentinel_dir = \"{dir}/sentinels\"\ntextfile_dir = \"{dir}/metrics\"\n\
             [queue]\n{queue}\n"
        );
        let path = self.path("unwedge.toml");
        fs::write(&path, text).unwrap();
        // it may hold a password, and must be root's for root to believe it
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        give(&path, ":nogroup");
        path
    }

    fn run(&self, args: &[&str]) -> Ran {
        for own in ["state", "metrics", "queue.db", "queue.db-wal", "queue.db-shm", "."] {
            give(&self.path(own), "nobody");
        }
        run(&self.path("unwedge-jobs"), &self.path("unwedge.toml"), args)
    }

    /// What is known, as JSON.
    #[track_caller]
    fn facts(&self) -> Value {
        let ran = self.run(&["facts", "--json"]);
        let answer: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(ran.code, Some(0), "{answer:#}");
        answer["queue"]["known"].clone()
    }

    /// Why nothing is known; and that it says so with its exit code and names no secret.
    #[track_caller]
    fn why_unknown(&self) -> String {
        let ran = self.run(&["facts", "--json"]);
        let answer: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert_eq!(ran.code, Some(1), "{answer:#}");
        assert!(!format!("{ran:?}").contains(PASSWORD), "{ran:?}");
        answer["queue"]["unknown"]["why"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn check_unknown(&self, words: &str) {
        let why = self.why_unknown();
        assert!(why.contains(words), "{why:?} has no {words:?}");
    }

    fn metrics(&self) -> String {
        fs::read_to_string(self.path("metrics/unwedge_jobs.prom")).unwrap()
    }
}

/// Gives a file that is there to the service user; who is not root is that user already.
fn give(path: &Path, owner: &str) {
    if rustix::process::geteuid().is_root() && path.exists() {
        assert!(Command::new("chown").arg(owner).arg(path).status().unwrap().success());
    }
}

fn run(program: &Path, config: &Path, args: &[&str]) -> Ran {
    let start = Instant::now();
    let output = Command::new(program).arg("--config").arg(config).args(args).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: start.elapsed(),
    }
}

/// A test with a PostgreSQL database of its own.
macro_rules! database_test {
    (fn $name:ident($db:ident, $desk:ident) $body:block) => {
        #[test]
        fn $name() {
            let test = concat!("queue::", stringify!($name));
            let Some(cluster) = cluster(test) else { return };
            let ($db, $desk) = (cluster.database(), Desk::new());
            $body
        }
    };
}

/// The map most tests use: every place it can have.
const MAP: &str = r#"
[queue.table]
name = "jobs"
id = "id"
status = "status"
states = { pending = ["queued"], retryable = ["retry"], running = ["running"], finished = ["done", "failed"] }
order = ["priority desc", "created_at nulls first"]
output = "dir"
started_at = "started_at"
created_at = "created_at"
lane = "lane"
attempts = "tries"
next_attempt_at = "not_before"
infra = { column = "outcome", values = ["infra"], at = "updated_at" }
hold_back = "not_before"
"#;

/// The table for [`MAP`], in words both databases know; `status` and `time` are types.
fn table(status: &str, time: &str) -> String {
    format!(
        "CREATE TABLE jobs (id bigint PRIMARY KEY, status {status} NOT NULL, priority int NOT NULL \
         DEFAULT 0, created_at {time}, started_at {time}, not_before {time}, updated_at {time}, \
         lane text, tries int, dir text, outcome text); CREATE INDEX jobs_status ON jobs (status);"
    )
}

/// Rows for [`MAP`], with a moment so many seconds from now written as `{+60}`.
const ROWS: &str = "
    INSERT INTO jobs (id, status, priority, created_at, started_at, not_before, updated_at, lane, tries, dir, outcome) VALUES
    (1, 'queued', 0, {-300}, NULL, NULL, {-300}, 'a', 0, '/srv/jobs/1', NULL),
    (2, 'queued', 5, {-200}, NULL, {-10}, {-200}, 'a', 0, '/srv/jobs/2/', NULL),
    (3, 'retry', 0, {-400}, NULL, {+600}, {-20}, 'b', 2, '/srv/jobs/3', 'infra'),
    (4, 'retry', 0, NULL, NULL, NULL, {-3000}, 'b', 1, '/srv/jobs/4', 'infra'),
    (5, 'queued', 0, {-100}, NULL, {+60}, {-100}, NULL, 0, NULL, NULL),
    (6, 'running', 0, {-500}, {-90}, NULL, {-90}, 'a', 1, '/srv/jobs/6', NULL),
    (7, 'running', 0, {-9000}, {-8000}, NULL, {-8000}, 'a', 1, 'relative/7', NULL),
    (10, 'done', 9, {-9999}, {-9998}, NULL, {-30}, 'a', 1, '/srv/jobs/10', 'infra'),
    (11, 'failed', 9, {-9999}, {-9998}, NULL, {-30}, 'a', 3, '/srv/jobs/11', NULL);";

/// The rows with moments as `moment` writes them.
fn rows(moment: impl Fn(i64) -> String) -> String {
    let mut parts = ROWS.split('{');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (seconds, rest) = part.split_once('}').unwrap();
        text += &moment(seconds.trim_start_matches('+').parse().unwrap());
        text += rest;
    }
    text
}

fn excess(facts: &Value) -> String {
    let said = facts["advice"].as_array().unwrap().iter().filter_map(Value::as_str);
    said.filter(|it| it.contains("may do more")).collect()
}

/// What is advised, but for the rights: most tests ask as the owner.
fn advice(facts: &Value) -> Vec<&str> {
    let said = facts["advice"].as_array().unwrap().iter().filter_map(Value::as_str);
    said.filter(|it| !it.contains("may do more")).collect()
}

fn ids(jobs: &Value) -> Vec<&str> {
    jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

/// What [`ROWS`] must be read as, whatever the types and the database.
#[track_caller]
fn check_rows(facts: &Value) {
    assert_eq!(
        facts["counts"],
        json!({ "pending": 2, "retryable": 1, "cooling": 2, "running": 2 }),
        "{facts:#}"
    );
    assert_eq!(ids(&facts["running"]), ["6", "7"]);
    assert_eq!(ids(&facts["next"]), ["2", "4", "1"], "{facts:#}");
    assert_eq!(ids(&facts["cooling"]), ["5", "3"]);
    assert_eq!(facts["next"][1]["state"], "retryable");
    assert_eq!(facts["next"][0]["output"], "/srv/jobs/2");
    assert_eq!(facts["running"][0]["output"], "/srv/jobs/6");
    assert_eq!(facts["running"][1]["output"], Value::Null, "a relative path may be anywhere");
    assert_eq!(facts["cooling"][1]["lane"], "b");
    assert_eq!(facts["cooling"][1]["attempts"], 2);
    let now = utc_ms();
    let near = |value: &Value, seconds: i64| {
        let expected = now + seconds * 1000;
        let found = value.as_i64().unwrap_or_else(|| panic!("{facts:#}"));
        assert!((found - expected).abs() < 20_000, "{found} is not near {expected}");
    };
    near(&facts["cooling"][1]["not_before_utc_ms"], 600);
    near(&facts["running"][1]["started_utc_ms"], -8000);
    let oldest = facts["oldest_pending_ms"].as_i64().unwrap();
    assert!((299_000..320_000).contains(&oldest), "{oldest}");
    assert_eq!(facts["infra_errors"], json!({ "window_ms": 600_000, "count": 1 }));
    assert_eq!(facts["stale_running"], 1);
}

fn utc_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn of_postgres(db: &Database, status: &str, time: &str, moment: impl Fn(i64) -> String) {
    db.sql(&table(status, time));
    db.sql(&rows(moment));
}

fn from_now(seconds: i64) -> String {
    format!("now() + interval '{seconds} s'")
}

database_test! {
    fn every_kind_of_status_column_is_read_alike(db, desk) {
        db.sql("CREATE TYPE \"Job State\" AS ENUM ('done', 'failed', 'queued', 'retry', 'running')");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        for status in ["text", "varchar(50)", "char(9)", "\"Job State\""] {
            of_postgres(&db, status, "timestamptz", from_now);
            check_rows(&desk.facts());
            assert_eq!(desk.facts()["hold_back"], true);
            db.sql("DROP TABLE jobs");
        }
    }
}

database_test! {
    fn each_key_of_what_is_listed_and_called_stale_has_its_effect(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        let url = db.url("postgres");
        let facts = |more: &str| {
            desk.configure(&format!("url = \"{url}\"\nadapter = \"table\"\n{more}{MAP}"));
            desk.facts()
        };
        // two run, started 90 s and 8000 s ago; three could be taken, and two wait for their time
        for (more, next, cooling, stale) in [
            ("", 3, 2, 1),
            ("next_jobs = 1\n", 1, 1, 1),
            ("next_jobs = 2\nstale_after = \"1m\"\n", 2, 2, 2),
            ("stale_after = \"3h\"\n", 3, 2, 0),
        ] {
            let facts = facts(more);
            let seen = (ids(&facts["next"]).len(), ids(&facts["cooling"]).len());
            assert_eq!(seen, (next, cooling), "{more}: {facts:#}");
            assert_eq!(facts["stale_running"], stale, "{more}: {facts:#}");
        }
    }
}

database_test! {
    fn times_without_a_zone_are_utc_whatever_the_session_says(db, desk) {
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        of_postgres(&db, "text", "timestamp", |s| format!("timezone('UTC', {})", from_now(s)));
        for zone in ["Etc/GMT+11", "UTC", "Etc/GMT-14"] {
            db.sql(&format!("ALTER DATABASE {} SET timezone = '{zone}'", db.name));
            check_rows(&desk.facts());
        }
    }
}

database_test! {
    fn times_in_another_zone_are_read_in_the_one_the_map_names(db, desk) {
        let map = format!("{MAP}zone = \"Pacific/Kiritimati\"\n");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
        let local = |s| format!("timezone('Pacific/Kiritimati', {})", from_now(s));
        of_postgres(&db, "text", "timestamp", local);
        check_rows(&desk.facts());
    }
}

database_test! {
    fn times_are_read_from_text_and_numbers_too(db, desk) {
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        let iso = |s| format!("to_char(timezone('UTC', {}), 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')", from_now(s));
        let epoch = |s: i64| format!("extract(epoch FROM {})", from_now(s));
        of_postgres(&db, "text", "text", iso);
        check_rows(&desk.facts());
        for (kind, factor) in [("bigint", 1), ("bigint", 1000), ("float8", 1)] {
            db.sql("DROP TABLE jobs");
            of_postgres(&db, "text", kind, |s| format!("{} * {factor}", epoch(s)));
            check_rows(&desk.facts());
        }
    }
}

database_test! {
    fn places_in_json_are_read(db, desk) {
        let map = MAP
            .replace("\"not_before\"", "\"config.retry.at\"")
            .replace("hold_back = \"config.retry.at\"", "hold_back = \"config\"")
            .replace("output = \"dir\"", "output = \"config.dir\"");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
        of_postgres(&db, "text", "timestamptz", from_now);
        for kind in ["jsonb", "json", "text"] {
            db.sql(&format!(
                "ALTER TABLE jobs ADD config {kind}; UPDATE jobs SET config = json_build_object('dir', \
                 dir, 'retry', json_build_object('at', not_before))::{kind}"
            ));
            check_rows(&desk.facts());
            db.sql("ALTER TABLE jobs DROP config");
        }
    }
}

database_test! {
    fn a_time_that_never_comes_is_cooling_and_no_error(db, desk) {
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        of_postgres(&db, "text", "timestamptz", from_now);
        db.sql("UPDATE jobs SET not_before = 'infinity' WHERE id = 1");
        let facts = desk.facts();
        assert_eq!(ids(&facts["cooling"]), ["5", "3", "1"]);
        assert_eq!(facts["cooling"][2]["not_before_utc_ms"], 253_402_300_799_000_u64);
    }
}

database_test! {
    fn jobs_are_sorted_by_their_columns_and_not_by_the_text_of_them(db, desk) {
        db.sql("CREATE TABLE jobs (id int PRIMARY KEY, status text NOT NULL, lane int);
                INSERT INTO jobs VALUES (9, 'w', 10), (10, 'w', 9), (11, 'w', 9), (8, 'r', 1), (12, 'r', 1)");
        desk.configure(&format!(
            "url = \"{}\"\nadapter = \"table\"\n[queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\n\
             states = {{ pending = [\"w\"], running = [\"r\"] }}\norder = [\"lane\"]\nlane = \"lane\"", db.url("postgres")
        ));
        let facts = desk.facts();
        assert_eq!(ids(&facts["next"]), ["10", "11", "9"], "9 before 10, and the id decides");
        assert_eq!(ids(&facts["running"]), ["8", "12"]);
    }
}

database_test! {
    fn what_is_not_as_the_map_says_is_unknown_and_never_empty(db, desk) {
        let url = db.url("postgres");
        let with = |map: &str| desk.configure(&format!("url = \"{url}\"\nadapter = \"table\"{map}"));
        with(MAP);
        desk.check_unknown("there is no table \"jobs\"");
        of_postgres(&db, "text", "timestamptz", from_now);
        desk.facts();
        for (from, to, words) in [
            ("\"dir\"", "\"directory\"", "jobs has no column \"directory\"; it has created_at, dir,"),
            ("id = \"id\"", "id = \"key\"", "no column \"key\""),
            ("status = \"status\"", "status = \"state\"", "no column \"state\""),
            ("priority desc", "importance", "no column \"importance\""),
            ("hold_back = \"not_before\"", "hold_back = \"wait\"", "no column \"wait\""),
            ("column = \"outcome\"", "column = \"result\"", "no column \"result\""),
            ("\"created_at\"", "\"lane\"", "invalid input syntax"),
            ("\"tries\"", "\"lane\"", "invalid input syntax"),
            ("\"running\"]", "\"runing\"]", "unknown status \"running\""),
            ("\"jobs\"", "\"public.jobz\"", "there is no table"),
            ("\"jobs\"", "\"jobs\\\"; DROP TABLE jobs; --\"", "there is no table"),
        ] {
            assert!(MAP.contains(from), "{from}");
            with(&MAP.replace(from, to));
            desk.check_unknown(words);
        }
        with(MAP);
        desk.facts();
        db.sql("INSERT INTO jobs (id, status) VALUES (99, 'paused')");
        desk.check_unknown("unknown status \"paused\"");
        db.sql("ALTER TABLE jobs ALTER status DROP NOT NULL; UPDATE jobs SET status = NULL WHERE id = 99");
        desk.check_unknown("unknown status \"(none at all)\"");
    }
}

database_test! {
    fn a_state_of_an_enum_that_no_list_has_is_unknown_before_any_row_has_it(db, desk) {
        db.sql("CREATE TYPE state AS ENUM ('queued', 'retry', 'running', 'done', 'failed', 'held')");
        of_postgres(&db, "state", "timestamptz", from_now);
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        desk.check_unknown("unknown status \"held\"");
    }
}

database_test! {
    fn rows_that_a_policy_hides_are_not_taken_for_none(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        let role = db.role("reader");
        db.sql(&format!("GRANT SELECT ON jobs TO {role}"));
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url(&role)));
        check_rows(&desk.facts());
        db.sql("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY");
        desk.check_unknown("row-level security hides rows of \"jobs\"");
        db.sql(&format!("ALTER ROLE {role} BYPASSRLS"));
        check_rows(&desk.facts());
        // a view whose owner is held by the policies hides as much
        db.sql(&format!(
            "CREATE ROLE {0}_owner; GRANT SELECT ON jobs TO {0}_owner; ALTER ROLE {role} NOBYPASSRLS; \
             CREATE VIEW seen AS SELECT * FROM jobs; ALTER VIEW seen OWNER TO {0}_owner; \
             GRANT SELECT ON seen TO {role}",
            db.name
        ));
        let map = MAP.replace("\"jobs\"", "\"seen\"");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url(&role)));
        desk.check_unknown("row-level security policy");
    }
}

database_test! {
    fn what_may_not_be_read_is_unknown(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        let role = db.role("stranger");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url(&role)));
        desk.check_unknown("permission denied for table jobs");
        db.sql(&format!("GRANT SELECT (id, status) ON jobs TO {role}"));
        desk.check_unknown("permission denied for table jobs");
        // what the map names is enough
        db.sql(&format!(
            "ALTER TABLE jobs ADD secret text; GRANT SELECT (priority, created_at, started_at, not_before, \
             updated_at, lane, tries, dir, outcome) ON jobs TO {role}"
        ));
        check_rows(&desk.facts());
    }
}

database_test! {
    fn nothing_is_written_and_nothing_can_be(db, desk) {
        // the role may do everything; the transaction may not
        of_postgres(&db, "text", "timestamptz", from_now);
        db.sql("CREATE FUNCTION tell() RETURNS text LANGUAGE plpgsql AS \
                $$ BEGIN DELETE FROM jobs; RETURN 'a'; END $$; \
                CREATE VIEW trap AS SELECT id, status, priority, created_at, started_at, not_before, \
                updated_at, tell() AS lane, tries, dir, outcome FROM jobs");
        let map = MAP.replace("\"jobs\"", "\"trap\"");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
        desk.check_unknown("cannot execute DELETE in a read-only transaction");
    }
}

/// The columns of `archive_jobs` that its worker has.
const ARCHIVE_JOBS: &str = "
    CREATE TABLE archive_jobs (id serial PRIMARY KEY, source_id int, name varchar(255) NOT NULL,
    output_dir varchar(1000) NOT NULL, status varchar(50) NOT NULL DEFAULT 'queued', queued_at timestamp,
    started_at timestamp, finished_at timestamp, retry_count int NOT NULL DEFAULT 0, config json,
    crawler_exit_code int, crawler_status varchar(50), crawler_stage varchar(255), last_stats_json json,
    pages_crawled int, pages_total int, pages_failed int, warc_file_count int, warc_bytes_total bigint,
    indexed_page_count int, output_bytes_total bigint, tmp_bytes_total bigint,
    tmp_non_warc_bytes_total bigint, storage_scanned_at timestamp,
    cleanup_status varchar(50) NOT NULL DEFAULT 'none', cleaned_at timestamp, final_zim_path varchar(1000),
    combined_log_path varchar(1000), state_file_path varchar(1000), created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL);
    CREATE INDEX ix_archive_jobs_status ON archive_jobs (status);";

database_test! {
    fn healtharchive_is_read_by_the_map_that_comes_with_the_program(db, desk) {
        db.sql(ARCHIVE_JOBS);
        db.sql("INSERT INTO archive_jobs (id, source_id, name, output_dir, status, queued_at, started_at, \
                retry_count, crawler_status, created_at, updated_at) \
                SELECT id, 10 - id, 'n', '/srv/jobs/' || id, status, utc - make_interval(secs => queued), \
                utc - interval '2 h', 1, crawler, utc - make_interval(secs => created), \
                utc - make_interval(secs => updated) FROM (VALUES \
                (1, 'queued', 100, NULL, 500, 500), (2, 'retryable', NULL, 'infra_error', 90, 601), \
                (3, 'retryable', 900, 'infra_error', 900, 590), (4, 'retryable', 300, 'failed', 300, 10), \
                (5, 'queued', NULL, NULL, 95, 10), (6, 'running', 50, NULL, 50, 10), \
                (7, 'indexed', 50, 'infra_error', 50, 10), (8, 'index_failed', 50, NULL, 50, 10)) \
                AS rows (id, status, queued, crawler, created, updated), timezone('UTC', now()) AS utc");
        db.sql(&format!("ALTER DATABASE {} SET timezone = 'Etc/GMT-14'", db.name));
        desk.configure(&format!("url = \"{}\"\nadapter = \"healtharchive\"", db.url("postgres")));
        let facts = desk.facts();
        assert_eq!(facts["queue"], "healtharchive");
        assert_eq!(facts["counts"], json!({ "pending": 2, "retryable": 2, "cooling": 1, "running": 1 }));
        assert_eq!(ids(&facts["next"]), ["5", "2", "4", "1"], "queued_at, nulls first, then created_at");
        assert_eq!(ids(&facts["cooling"]), ["3"], "ten minutes from updated_at, and not one more");
        assert_eq!(facts["running"][0]["output"], "/srv/jobs/6");
        assert_eq!(facts["infra_errors"]["count"], 1);
        assert_eq!(facts["stale_running"], 1);
        assert_eq!(advice(&facts), [""; 0]);
        let oldest = facts["oldest_pending_ms"].as_i64().unwrap();
        assert!((299_000..320_000).contains(&oldest), "{oldest}");
    }
}

database_test! {
    fn the_cost_does_not_grow_with_finished_rows_where_an_index_serves(db, desk) {
        db.sql(&table("text", "timestamptz"));
        db.sql("INSERT INTO jobs (id, status, created_at) SELECT n, 'done', now() FROM generate_series(1, 100000) n;
                INSERT INTO jobs (id, status, created_at) SELECT n, 'queued', now() FROM generate_series(100001, 100020) n;
                ANALYZE jobs");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        // rows read, by the server's own books
        let read = |db: &Database| -> i64 {
            let seen = "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'jobs'";
            db.client().query_one(seen, &[]).unwrap().get(0)
        };
        let settled = |db: &Database| {
            // the books are kept by each connection, and handed in when it ends
            std::thread::sleep(Duration::from_millis(300));
            read(db)
        };
        let before = settled(&db);
        let facts = desk.facts();
        let cost = settled(&db) - before;
        assert_eq!(facts["counts"]["pending"], 20);
        assert_eq!(advice(&facts), [""; 0]);
        assert!(cost < 500, "{cost} rows were read");

        // books of another time, when all of them were open, and an index of the order to walk along
        db.sql("CREATE INDEX jobs_order ON jobs (priority DESC, created_at NULLS FIRST); UPDATE jobs SET \
                status = 'queued', created_at = now() - make_interval(secs => 100020 - id); \
                ANALYZE jobs; UPDATE jobs SET status = 'done' WHERE id <= 100000");
        db.sql("VACUUM jobs");
        let before = settled(&db);
        assert_eq!(desk.facts()["next"].as_array().unwrap().len(), 10);
        let cost = settled(&db) - before;
        assert!(cost < 500, "{cost} rows were read by the wrong way");
        db.sql("DROP INDEX jobs_order");

        // an index of the unfinished ones serves too, and what it cannot show is said
        db.sql("DROP INDEX jobs_status; CREATE INDEX open ON jobs (created_at) WHERE status = ANY \
                (ARRAY['queued', 'retry', 'running'])");
        let advice = desk.facts()["advice"].to_string();
        assert!(advice.contains("20000 rows only") && !advice.contains("goes through all"), "{advice}");

        db.sql("DROP INDEX open");
        let facts = desk.facts();
        assert_eq!(facts["counts"]["pending"], 20);
        let advice = facts["advice"].to_string();
        assert!(advice.contains("no index of jobs begins with") && !advice.contains("20000"), "{advice}");
        // then all of them are gone through anyway, and no state is overlooked, wherever it stands
        db.sql("INSERT INTO jobs (id, status, created_at) VALUES (200000, 'lost', now())");
        desk.check_unknown("unknown status \"lost\"");
    }
}

database_test! {
    fn more_running_jobs_than_can_be_listed_are_not_cut_short(db, desk) {
        db.sql(&table("text", "timestamptz"));
        db.sql("INSERT INTO jobs (id, status) SELECT n, 'running' FROM generate_series(1, 1000) n");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        assert_eq!(desk.facts()["running"].as_array().unwrap().len(), 1000);
        db.sql("INSERT INTO jobs (id, status) VALUES (1001, 'running')");
        desk.check_unknown("more than 1000 jobs are running");
    }
}

database_test! {
    fn tls_is_verified_in_full_and_a_password_is_never_told(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        let role = db.role("tcp");
        db.sql(&format!("GRANT SELECT ON jobs TO {role}"));
        let ca = |name: &str| format!("ca_file = \"{}\"", db.cluster.dir.join(name).display());
        let with = |host: &str, rest: &str, more: &str| {
            let url = db.tcp_url(&role, host, rest);
            desk.configure(&format!("url = \"{url}\"\nadapter = \"table\"\n{more}{MAP}"));
        };
        with("localhost", "", &ca("right.pem"));
        check_rows(&desk.facts());
        with("localhost", &format!("?sslrootcert={}", db.cluster.dir.join("right.pem").display()), "");
        check_rows(&desk.facts());
        with("127.0.0.1", "?sslmode=disable", "");
        check_rows(&desk.facts());
        with("localhost", "", &ca("wrong.pem"));
        desk.check_unknown("invalid peer certificate: UnknownIssuer");
        with("127.0.0.1", "", &ca("right.pem"));
        desk.check_unknown("certificate not valid for name");
        with("localhost", "", &ca("log"));
        desk.check_unknown("holds no certificate");
        with("localhost", "?sslmode=require", &ca("right.pem"));
        desk.check_unknown("every other mode");
        let wrong = db.tcp_url(&role, "localhost", "").replace(PASSWORD, "an0ther-word");
        desk.configure(&format!("url = \"{wrong}\"\nadapter = \"table\"\n{}{MAP}", ca("right.pem")));
        let ran = desk.run(&["--apply"]);
        assert_eq!(ran.code, Some(1));
        let said = format!("{ran:?}{}", desk.metrics());
        assert!(said.contains("password authentication failed") && !said.contains("an0ther-word"), "{said}");
    }
}

/// A server that treats each connection so.
fn server(treat: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || treat(connection));
        }
    });
    port
}

/// Reads the start-up packet and says that whoever it is may go on.
fn greet(connection: &mut TcpStream) {
    let mut length = [0; 4];
    connection.read_exact(&mut length).unwrap();
    let mut rest = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    connection.read_exact(&mut rest).unwrap();
    // AuthenticationOk, ReadyForQuery
    connection.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").unwrap();
}

fn stay(connection: &TcpStream) {
    std::thread::sleep(Duration::from_secs(60));
    let _ = connection;
}

#[test]
fn a_server_that_stays_mute_drips_or_falls_silent_keeps_nobody_waiting() {
    let mute = server(|connection| stay(&connection));
    let silent = server(|mut connection| {
        greet(&mut connection);
        stay(&connection);
    });
    let dripping = server(|mut connection| {
        greet(&mut connection);
        // a notice that never ends: there is always a byte to wait for
        let _ = connection.write_all(b"N\0\x10\0\0");
        while connection.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let desk = Desk::new();
    for (how, port) in [("mute", mute), ("silent", silent), ("dripping", dripping)] {
        for rest in ["?sslmode=disable", ""] {
            desk.configure(&format!(
                "url = \"postgres://u:{PASSWORD}@localhost:{port}/d{rest}\"\nadapter = \"healtharchive\"\n\
                 timeout = \"700ms\""
            ));
            let ran = desk.run(&["facts"]);
            assert_eq!(ran.code, Some(1), "{how}: {ran:?}");
            assert!(ran.took < Duration::from_millis(1500), "{how} {rest}: {ran:?}");
            let expected = if rest.is_empty() && how != "mute" {
                "queue-unknown: "
            } else {
                "queue-unknown: the database gave no answer within 700 ms"
            };
            assert!(ran.stdout.contains(expected), "{how}: {ran:?}");
        }
    }
}

database_test! {
    fn a_server_that_stops_in_the_middle_keeps_nobody_waiting(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        // the view says who reads it, and then gives time to stop that server process
        db.sql("CREATE SEQUENCE reader; GRANT ALL ON reader TO public; \
                CREATE FUNCTION tell() RETURNS text LANGUAGE sql AS $$ SELECT pg_sleep(30)::text $$; \
                CREATE VIEW slow AS SELECT id, status, priority, created_at, started_at, not_before, \
                updated_at, tell() AS lane, tries, dir, outcome FROM jobs");
        let map = MAP.replace("\"jobs\"", "\"slow\"");
        desk.configure(&format!(
            "url = \"{}\"\nadapter = \"table\"\ntimeout = \"2s\"{map}", db.url("postgres")
        ));
        let (program, config) = (desk.path("unwedge-jobs"), desk.path("unwedge.toml"));
        let asking = std::thread::spawn(move || run(&program, &config, &["facts"]));
        let mut client = db.client();
        let mut pid = 0;
        await_that("the query is seen", || {
            let seen = client.query(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'unwedge-jobs' \
                 AND datname = current_database() AND wait_event = 'PgSleep'", &[]
            );
            pid = seen.unwrap().first().map_or(0, |row| row.get::<_, i32>(0));
            pid != 0
        });
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let ran = asking.join().unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        assert_eq!(ran.code, Some(1));
        assert!(ran.took < Duration::from_secs(3), "{ran:?}");
        assert!(ran.stdout.contains("no answer within 2"), "{ran:?}");
        // and the server ends it by itself soon after
        await_that("nothing of ours goes on there", || {
            let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unwedge-jobs' \
                        AND datname = current_database()";
            client.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0
        });
    }
}

database_test! {
    fn a_statement_that_takes_too_long_says_which_index_it_wants(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        db.sql("DROP INDEX jobs_status; CREATE VIEW slow AS SELECT id, status, priority, created_at, \
                started_at, not_before, updated_at, pg_sleep(30)::text AS lane, tries, dir, outcome FROM jobs");
        let map = MAP.replace("\"jobs\"", "\"slow\"");
        desk.configure(&format!(
            "url = \"{}\"\nadapter = \"table\"\ntimeout = \"800ms\"{map}", db.url("postgres")
        ));
        let why = desk.why_unknown();
        assert!(why.contains("statement timeout") && why.contains("no index of slow begins with \"status\""), "{why}");
    }
}

database_test! {
    fn a_table_under_an_exclusive_lock_is_unknown_in_half_the_time(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        desk.configure(&format!(
            "url = \"{}\"\nadapter = \"table\"\ntimeout = \"1s\"{MAP}", db.url("postgres")
        ));
        let mut client = db.client();
        let mut holder = client.transaction().unwrap();
        holder.batch_execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE").unwrap();
        desk.check_unknown("lock timeout");
    }
}

fn sqlite(path: &Path, time: impl Fn(i64) -> String) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&table("text", "text")).unwrap();
    connection.execute_batch(&rows(time)).unwrap();
    connection
}

fn iso(seconds: i64) -> String {
    format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{seconds} seconds')")
}

#[test]
fn sqlite_is_read_by_the_same_map() {
    let desk = Desk::new();
    let path = desk.path("queue.db");
    desk.configure(&format!("url = \"sqlite://{}\"\nadapter = \"table\"{MAP}", path.display()));
    desk.check_unknown("No such file");
    for time in [
        iso as fn(i64) -> String,
        |s| format!("datetime('now', '{s} seconds')"),
        |s| format!("strftime('%s', 'now', '{s} seconds') * 1.0"),
        |s| format!("strftime('%s', 'now', '{s} seconds') * 1000"),
    ] {
        let connection = sqlite(&path, time);
        // text is its type by name only; numbers stay numbers
        check_rows(&desk.facts());
        drop(connection);
        fs::remove_file(&path).unwrap();
    }
    let connection = sqlite(&path, iso);
    connection.execute_batch("PRAGMA journal_mode = wal").unwrap();
    connection.execute_batch("UPDATE jobs SET tries = 2 WHERE id = 3").unwrap();
    let facts = desk.facts();
    check_rows(&facts);
    let advice = facts["advice"].as_array().unwrap();
    assert!(advice.len() == 2 && advice[1].as_str().unwrap().starts_with("1 of the jobs listed"));
    assert!(
        advice[0]
            .as_str()
            .unwrap()
            .starts_with("no job can be held back: SQLite has no time of its own")
    );
    assert_eq!(facts["hold_back"], false);
    connection.execute_batch("UPDATE jobs SET not_before = 'soon' WHERE id = 3").unwrap();
    desk.check_unknown("1 unfinished jobs have a time that cannot be read");
    connection
        .execute_batch("UPDATE jobs SET not_before = NULL, status = 'paused' WHERE id = 3")
        .unwrap();
    desk.check_unknown("unknown status \"paused\"");
    connection
        .execute_batch("UPDATE jobs SET status = 'retry' WHERE id = 3; DROP INDEX jobs_status")
        .unwrap();
    let facts = desk.facts();
    assert!(facts["advice"].to_string().contains("no index of jobs"), "{facts:#}");
    connection.execute_batch("ALTER TABLE jobs RENAME COLUMN dir TO directory").unwrap();
    desk.check_unknown("no column \"dir\"");
    connection.execute_batch("DROP TABLE jobs").unwrap();
    desk.check_unknown("there is no table \"jobs\"");
}

#[test]
fn a_database_in_wal_mode_that_cannot_be_shared_says_what_it_wants() {
    let desk = Desk::new();
    fs::create_dir(desk.path("app")).unwrap();
    let path = desk.path("app/queue.db");
    desk.configure(&format!("url = \"sqlite://{}\"\nadapter = \"table\"{MAP}", path.display()));
    let connection = sqlite(&path, iso);
    connection.execute_batch("PRAGMA journal_mode = wal").unwrap();
    drop(connection);
    if rustix::process::geteuid().is_root() {
        desk.check_unknown("a reader of a database in WAL mode writes its -shm file");
        give(&desk.path("app"), "nobody");
    }
    check_rows(&desk.facts());
}

#[test]
fn places_in_json_and_bytes_that_are_no_text_are_read_from_sqlite() {
    let desk = Desk::new();
    let path = desk.path("queue.db");
    let map = MAP.replace("\"not_before\"\ninfra", "\"config.retry.at\"\ninfra");
    desk.configure(&format!("url = \"sqlite://{}\"\nadapter = \"table\"{map}", path.display()));
    let connection = sqlite(&path, iso);
    connection
        .execute_batch(
            "ALTER TABLE jobs ADD config; UPDATE jobs SET config = \
             json_object('retry', json_object('at', not_before)); \
             UPDATE jobs SET dir = CAST(x'2f7372762fff' AS TEXT) WHERE id = 6",
        )
        .unwrap();
    let facts = desk.facts();
    assert_eq!(ids(&facts["cooling"]), ["5", "3"]);
    let bytes: Vec<u8> = b"/srv/\xff".to_vec();
    assert_eq!(facts["running"][0]["output"], json!(bytes));
}

#[test]
fn a_database_that_somebody_holds_is_unknown_in_time() {
    let desk = Desk::new();
    let path = desk.path("queue.db");
    desk.configure(&format!(
        "url = \"sqlite://{}\"\nadapter = \"table\"\ntimeout = \"600ms\"{MAP}",
        path.display()
    ));
    let connection = sqlite(&path, iso);
    check_rows(&desk.facts());
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let ran = desk.run(&["facts"]);
    assert!(ran.stdout.contains("database is locked"), "{ran:?}");
    assert!(ran.took < Duration::from_millis(1200), "{ran:?}");
}

#[test]
fn a_round_keeps_the_reading_and_a_dry_one_writes_nothing() {
    let desk = Desk::new();
    let path = desk.path("queue.db");
    desk.configure(&format!("url = \"sqlite://{}\"\nadapter = \"table\"{MAP}", path.display()));
    let connection = sqlite(&path, iso);
    for args in [&[][..], &["facts"], &["facts", "--json"], &["--json"]] {
        assert_eq!(desk.run(args).code, Some(0));
        for dir in ["state", "metrics", "run"] {
            assert_eq!(fs::read_dir(desk.path(dir)).unwrap().count(), 0, "{args:?} wrote in {dir}");
        }
    }
    assert_eq!(desk.run(&["facts", "--apply"]).code, Some(2));
    let ran = desk.run(&["--apply"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let said = "queue jobs: 2 pending, 1 retryable, 2 cooling, 2 running";
    assert!(ran.stdout.starts_with(said) && ran.stderr.contains(said), "{ran:?}");
    let stored = desk.path("state/queue/facts.json");
    assert_eq!(fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o644);
    let metrics = desk.metrics();
    for line in [
        "unwedge_jobs{queue=\"jobs\",state=\"cooling\"} 2",
        "unwedge_jobs{queue=\"jobs\",state=\"pending\"} 2",
        "unwedge_jobs_infra_errors_recent{window=\"10m\"} 1",
        "unwedge_queue_readable 1",
        "unwedge_tool_run_ok{tool=\"jobs\"} 1",
        "unwedge_tool_armed{tool=\"jobs\"} 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    assert!(metrics.contains("unwedge_jobs_oldest_pending_seconds 30"), "{metrics}");

    // unreadable: no figure at all, but when there was one
    connection.execute_batch("DROP TABLE jobs").unwrap();
    let kept = fs::read(&stored).unwrap();
    let ran = desk.run(&["--apply"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains("last read 2") && ran.stdout.contains(" ago: 2 pending"),
        "{ran:?}"
    );
    assert_eq!(fs::read(&stored).unwrap(), kept);
    let metrics = desk.metrics();
    assert!(!metrics.contains("unwedge_jobs"), "{metrics}");
    assert!(metrics.contains("unwedge_queue_readable 0\n"), "{metrics}");
    assert!(metrics.contains("unwedge_queue_last_good_timestamp_seconds 1"), "{metrics}");
    assert!(metrics.contains("unwedge_tool_run_ok{tool=\"jobs\"} 0"), "{metrics}");

    // a round beside another one leaves everything to that
    let lock = fs::File::open(desk.path("state/queue/jobs.lock")).unwrap();
    lock.lock().unwrap();
    let ran = desk.run(&["--apply"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("another round is at work"), "{ran:?}");
    assert_eq!(desk.metrics(), metrics);
}

#[test]
fn the_answer_has_this_shape() {
    let desk = Desk::new();
    let path = desk.path("queue.db");
    desk.configure(&format!("url = \"sqlite://{}\"\nadapter = \"table\"{MAP}", path.display()));
    let connection = sqlite(&path, |s| (1_700_000_000 + s).to_string());
    connection.execute_batch("DELETE FROM jobs WHERE id NOT IN (2, 6, 10)").unwrap();
    let answer: Value = serde_json::from_str(&desk.run(&["facts", "--json"]).stdout).unwrap();
    let mut known = answer["queue"]["known"].clone();
    assert!(known["oldest_pending_ms"].take().is_u64());
    let at = known["at_utc_ms"].take().as_i64().unwrap();
    assert!((at - utc_ms()).abs() < 60_000, "{at}");
    let golden = json!({
        "queue": "jobs",
        "at_utc_ms": null,
        "running": [{ "id": "6", "state": "running", "lane": "a", "output": "/srv/jobs/6",
            "started_utc_ms": 1_699_999_910_000_u64, "not_before_utc_ms": null, "attempts": 1 }],
        "next": [{ "id": "2", "state": "pending", "lane": "a", "output": "/srv/jobs/2",
            "started_utc_ms": null, "not_before_utc_ms": 1_699_999_990_000_u64, "attempts": 0 }],
        "cooling": [],
        "counts": { "pending": 1, "retryable": 0, "cooling": 0, "running": 1 },
        "oldest_pending_ms": null,
        "infra_errors": { "window_ms": 600_000, "count": 0 },
        "stale_running": 1,
        "dead": null,
        "rescue": null,
        "hold_back": false,
        "advice": ["no job can be held back: SQLite has no time of its own, so what the worker compares a not-before \
            column with is not known"],
    });
    assert_eq!(known, golden);
    assert_eq!((&answer["schema"], &answer["tool"]), (&json!(1), &json!("jobs")));
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["at", "queue", "schema", "tool"]);
}

lab_test! {
    fn sqlite_on_storage_that_may_hang_is_refused_before_it_is_opened(lab) {
        let (base, alive) = (lab.root("box"), lab.root("alive"));
        let _fault = lab.fault(&base, &["--mode", "swallow"]);
        let _other = lab.fault(&alive, &[]);
        let link = lab.dir.join("link.db");
        std::os::unix::fs::symlink(base.join("queue.db"), &link).unwrap();
        let expected = "SQLite is not read over a network or FUSE file system";
        // only the kernel could follow the link, and it would never come back
        for (key, path) in [
            ("url = \"sqlite://", alive.join("queue.db")),
            ("url = \"sqlite://", base.join("queue.db")),
            ("url = \"sqlite://", link.clone()),
            ("url_file = \"", link),
        ] {
            let expected = if key.starts_with("url_file") { "keep it on a local disk" } else { expected };
            let queue = format!(
                "[queue]\n{key}{}\"\nadapter = \"healtharchive\"\ntimeout = \"500ms\"",
                path.display()
            );
            let (program, _) = for_nobody(&lab, &queue);
            let ran = run(&program, &lab.config, &["facts"]);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(ran.stdout.contains(expected), "{ran:?}");
            assert!(ran.took < Duration::from_secs(2), "{ran:?}");
        }
    }
}

/// The program where every user may run it, and the settings of the lab's configuration.
fn for_nobody(lab: &Lab, queue: &str) -> (PathBuf, config::Settings) {
    let program = lab.dir.join("unwedge-jobs");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_unwedge-jobs"), &program).unwrap();
    }
    lab.configure("", queue);
    let text = fs::read_to_string(&lab.config).unwrap();
    fs::write(&lab.config, text.replace("[host]\n", "[host]\nuser = \"nobody\"\n")).unwrap();
    fs::set_permissions(&lab.config, fs::Permissions::from_mode(0o644)).unwrap();
    let request =
        config::Request { file: Some(lab.config.clone()), euid: 0, ..config::Request::default() };
    let settings = config::load(&request).unwrap().settings;
    (program, settings)
}

lab_test! {
    fn root_asks_as_the_service_user_and_gives_up_in_time(lab) {
        let (db, url_file) = (lab.dir.join("queue.db"), lab.dir.join("queue.url"));
        drop(sqlite(&db, iso));
        fs::set_permissions(&db, fs::Permissions::from_mode(0o444)).unwrap();
        fs::write(&url_file, format!("sqlite://{}\n", db.display())).unwrap();
        // nobody alone may read it: root without capabilities could not
        assert!(Command::new("chown").arg("nobody").arg(&url_file).status().unwrap().success());
        fs::set_permissions(&url_file, fs::Permissions::from_mode(0o400)).unwrap();
        let queue = format!(
            "[queue]\nurl_file = \"{}\"\nadapter = \"table\"{MAP}", url_file.display()
        );
        let (program, settings) = for_nobody(&lab, &queue);
        let limit = Duration::from_secs(5);
        let look = jobs::ask_of(&program, &settings, limit);
        let facts = look.known().unwrap_or_else(|| panic!("{look:?}"));
        assert_eq!(facts.running.len(), 2);

        // answers that are none
        let witness = lab.dir.join("witness");
        let asked = format!("exit 3; it said: facts --json --config {}", lab.config.display());
        for (script, words) in [
            ("echo \"$@\" >&2; exit 3", asked.as_str()),
            ("sleep 60", "no end within"),
            ("trap '' TERM; while :; do sleep 1; done", "no end within"),
            ("echo '{}'", "its answer is not understood"),
            ("echo '{\"schema\":2,\"tool\":\"jobs\",\"at\":\"\",\"queue\":{\"unknown\":{\"why\":\"x\",\"last_good\":null}}}'; exit 1", "schema 2, not 1"),
            ("echo '{\"schema\":1,\"tool\":\"jobs\",\"at\":\"\",\"queue\":{\"unknown\":{\"why\":\"x\",\"last_good\":null}}}'", "differ"),
            ("echo '{\"schema\":1,\"tool\":\"jobs\"'; exit 0", "not understood"),
            ("kill -9 $$", "no answer; exit 137"),
            ("yes", "printed more than"),
        ] {
            lab.script(&witness, &format!("#!/bin/sh\n{script}\n"));
            let start = Instant::now();
            let limit = Duration::from_secs(1);
            let QueueLook::Unknown { why, .. } = jobs::ask_of(&witness, &settings, limit) else { panic!("{script}") };
            assert!(why.contains(words) || (script == "yes" && why.contains("no end")), "{script}: {why}");
            assert!(start.elapsed() < limit + Duration::from_secs(1), "{script}");
        }

        for (user, words) in [
            ("nobody-at-all", "[host] user \"nobody-at-all\" is not known here"),
            ("root", "[host] user \"root\" is root, which is not to speak to strangers"),
        ] {
            as_user(&lab, user);
            let QueueLook::Unknown { why, .. } = jobs::ask_of(&program, &settings, limit) else { panic!() };
            assert_eq!(why, words);
        }
    }
}

fn as_user(lab: &Lab, user: &str) {
    let text = fs::read_to_string(&lab.config).unwrap();
    let (before, rest) = text.split_once("user = \"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    fs::write(&lab.config, format!("{before}user = \"{user}\"{after}")).unwrap();
}

lab_test! {
    fn whoever_talks_to_a_database_for_root_has_nothing_of_root_left(lab) {
        let socket = lab.dir.join(".s.PGSQL.5432");
        let server = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let at = lab.dir.to_str().unwrap().replace('/', "%2F");
        let (program, settings) =
            for_nobody(&lab, &format!("[queue]\nurl = \"postgres://q@{at}/q\"\nadapter = \"table\"{MAP}"));
        // one that is in more than one group, as Debian makes it
        as_user(&lab, "postgres");
        let (asked, limit) = (program.clone(), Duration::from_secs(20));
        let asking = std::thread::spawn(move || jobs::ask_of(&asked, &settings, limit));
        let (connection, _) = server.accept().unwrap();
        let all = procfs::process::all_processes().unwrap();
        let it = all.flatten().find(|it| it.exe().is_ok_and(|exe| exe == program)).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", it.pid)).unwrap();
        let fields = |name: &str| -> Vec<String> {
            let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
            line.unwrap().split_whitespace().map(str::to_owned).collect()
        };
        let id = |what: &str| -> Vec<String> {
            let said = Command::new("id").args([what, "postgres"]).output().unwrap().stdout;
            String::from_utf8(said).unwrap().split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(fields("Uid"), vec![id("-u").remove(0); 4]);
        assert_eq!(fields("Gid"), vec![id("-g").remove(0); 4]);
        let sorted = |mut list: Vec<String>| { list.sort(); list };
        assert_eq!(sorted(fields("Groups")), sorted(id("-G")));
        assert!(id("-G").len() > 1, "{:?} shows no group", id("-G"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(fields(set), ["0000000000000000"], "{set}");
        }
        assert_eq!(fields("NoNewPrivs"), ["1"]);
        drop(connection);
        let QueueLook::Unknown { why, .. } = asking.join().unwrap() else { panic!() };
        assert!(why.starts_with("no connection to "), "{why}");
    }
}

database_test! {
    fn only_rows_that_wait_on_a_broken_path_are_held_back_and_never_to_an_earlier_time(db, desk) {
        for time in ["timestamptz", "timestamp"] {
            db.sql("DROP TABLE IF EXISTS jobs");
            of_postgres(&db, "text", time, |seconds| match time {
                "timestamp" => format!("(now() AT TIME ZONE 'UTC') + interval '{seconds} s'"),
                _ => from_now(seconds),
            });
            db.sql("UPDATE jobs SET dir = '/srv/jobs/on/' || id WHERE id IN (1, 2, 3, 4, 6)");
            db.sql("UPDATE jobs SET dir = '/srv/jobs/onward' WHERE id = 5");
            desk.configure(&format!("url = \"{}\"
adapter = \"table\"{MAP}", db.url("postgres")));
            let before = db.value("SELECT string_agg(id || status || coalesce(not_before::text, '-'), ',' ORDER BY id) FROM jobs");
            let dry = desk.run(&["hold-back", "--for", "10m", "--dry-run", "/srv/jobs/on"]);
            assert_eq!(dry.stdout, "3 would be held back for 10 min: 1 2 4\n", "{dry:?}");
            let after = db.value("SELECT string_agg(id || status || coalesce(not_before::text, '-'), ',' ORDER BY id) FROM jobs");
            assert_eq!(before, after, "a dry run writes nothing");
            let held = desk.run(&["hold-back", "--for", "10m", "--json", "/srv/jobs/on"]);
            assert_eq!(held.stdout, "{\"jobs\":[\"1\",\"2\",\"4\"]}\n", "{held:?}");
            let present = if time == "timestamp" { "(now() AT TIME ZONE 'UTC')" } else { "now()" };
            let near = format!("abs(extract(epoch FROM not_before - {present}) - 600) < 20");
            assert_eq!(db.value(&format!("SELECT string_agg(id::text, ',' ORDER BY id) FROM jobs WHERE {near}")), "1,2,3,4");
            assert_eq!(db.value("SELECT string_agg(status, ',' ORDER BY id) FROM jobs WHERE id < 7"),
                "queued,queued,retry,retry,queued,running", "no status is touched");
            assert_eq!(db.value("SELECT count(*) FROM jobs WHERE not_before IS NOT NULL AND id > 5"), "0");
            let facts = desk.facts();
            assert!(ids(&facts["next"]).is_empty(), "{facts:#}");
            // held back once, they are not among the next, and stay as they are
            let again = desk.run(&["hold-back", "--for", "1h", "/srv/jobs/on"]);
            assert!(again.stdout.starts_with("nothing held back"), "{again:?}");
            // until that time is nearly over: whoever waits for a gap finds none
            for (left, anew) in [(185, "nothing held back"), (175, "1 held back for 10 min: 4")] {
                db.sql(&format!("UPDATE jobs SET not_before = {present} + interval '{left} s' WHERE id = 4"));
                let again = desk.run(&["hold-back", "--for", "10m", "/srv/jobs/on"]);
                assert!(again.stdout.starts_with(anew), "{left} s: {again:?}");
            }
        }
    }
}

database_test! {
    fn a_row_taken_in_the_meantime_is_not_held_back_and_without_the_right_nothing_is(db, desk) {
        of_postgres(&db, "text", "timestamptz", from_now);
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        // a worker has claimed it and not committed yet: the row is his, and what is asked for afterwards counts
        let claim = std::thread::spawn({
            let url = db.url("postgres");
            move || {
                let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
                client.batch_execute("BEGIN; UPDATE jobs SET status = 'running' WHERE id = 2").unwrap();
                std::thread::sleep(Duration::from_millis(700));
                client.batch_execute("COMMIT").unwrap();
            }
        });
        await_that("it is claimed", || {
            db.value("SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                      WHERE c.relname = 'jobs' AND l.mode = 'RowExclusiveLock'") != "0"
        });
        let held = desk.run(&["hold-back", "--json", "/srv/jobs"]);
        claim.join().unwrap();
        assert_eq!(held.stdout, "{\"jobs\":[\"1\",\"4\"]}\n", "{held:?}");
        assert_eq!(db.value("SELECT not_before > now() FROM jobs WHERE id = 2"), "f");
        let map = MAP.replace("hold_back = \"not_before\"\n", "");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
        let refused = desk.run(&["hold-back", "/srv/jobs"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("names no hold_back column"), "{refused:?}");
        let map = MAP.replace("hold_back = \"not_before\"", "hold_back = \"outcome\"");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
        let refused = desk.run(&["hold-back", "/srv/jobs"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("is no timestamp"), "{refused:?}");
        let facts = desk.facts();
        assert_eq!(facts["hold_back"], false, "what cannot be is not counted on: the worker is stopped instead");
        assert!(facts["advice"].to_string().contains("no job can be held back"), "{facts:#}");
        // nor where this user has no right to
        let role = db.role("reader");
        db.sql(&format!("GRANT SELECT ON jobs TO {role}"));
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url(&role)));
        assert_eq!(desk.facts()["hold_back"], false);
        assert!(desk.facts()["advice"].to_string().contains("may not UPDATE"));
        assert!(!excess(&desk.facts()).contains("more than is needed"));
        db.sql(&format!("GRANT UPDATE (not_before, status) ON jobs TO {role}"));
        assert_eq!(desk.facts()["hold_back"], true);
        assert_eq!(excess(&desk.facts()), "", "just what is used");
        for (right, told) in [
            ("UPDATE (dir)", "more than is needed: UPDATE (dir); SELECT is enough, and UPDATE (status, not_before)"),
            ("DELETE", "more than is needed: INSERT, DELETE, TRUNCATE or TRIGGER, UPDATE (dir);"),
            ("UPDATE", "more than is needed: INSERT, DELETE, TRUNCATE or TRIGGER, UPDATE (created_at), "),
        ] {
            db.sql(&format!("GRANT {right} ON jobs TO {role}"));
            let said = excess(&desk.facts());
            assert!(said.contains(told), "{right}: {said}");
        }
    }
}

database_test! {
    fn what_lies_on_storage_of_its_own_within_a_broken_path_is_not_held_back(db, desk) {
        of_postgres(&db, "text", "timestamptz", |seconds| format!("now() + interval '{seconds} s'"));
        db.sql("DELETE FROM jobs; INSERT INTO jobs (id, status, dir) VALUES \
            (1, 'queued', '/srv/jobs/on'), (2, 'queued', '/srv/jobs/on/a/x'), (3, 'queued', '/srv/jobs/on/ab'), \
            (4, 'queued', '/srv/jobs/on/b')");
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{MAP}", db.url("postgres")));
        let held = desk.run(&["hold-back", "--json", "--except", "/srv/jobs/on/a", "--except", "/srv/jobs/on/b", "/srv/jobs/on"]);
        assert_eq!(held.stdout, "{\"jobs\":[\"1\",\"3\"]}\n", "{held:?}");
    }
}

database_test! {
    fn a_table_may_be_called_whatever_it_is_called(db, desk) {
        for name in ["hop", "q", "t", "v", "list1", "Jobs of today"] {
            db.sql(&format!("CREATE TABLE \"{name}\" (id int, status text); CREATE INDEX ON \"{name}\" (status); \
                INSERT INTO \"{name}\" VALUES (1, 'queued'), (2, 'done')"));
            let map = format!("\n[queue.table]\nname = \"{name}\"\nid = \"id\"\nstatus = \"status\"\norder = [\"id\"]\n\
                states = {{ pending = [\"queued\"], running = [\"running\"], finished = [\"done\"] }}\n");
            desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
            assert_eq!(ids(&desk.facts()["next"]), ["1"], "{name}");
            db.sql(&format!("INSERT INTO \"{name}\" VALUES (3, 'lost')"));
            desk.check_unknown("unknown status \"lost\"");
        }
    }
}

database_test! {
    fn only_rows_still_at_the_try_that_was_seen_are_given_back_whatever_type_the_status_has(db, desk) {
        db.sql("CREATE TYPE status AS ENUM ('queued', 'retry', 'running', 'done')");
        for status in ["text", "status"] {
            db.sql(&format!("DROP TABLE IF EXISTS jobs; CREATE TABLE jobs (id int PRIMARY KEY, status {status} NOT NULL, began timestamptz); \
                INSERT INTO jobs VALUES (1, 'running', '2026-11-01 10:00:00Z'), (2, 'running', '2026-11-01 10:00:00Z'), \
                (3, 'queued', '2026-11-01 10:00:00Z'), (4, 'running', NULL); CREATE INDEX ON jobs (status)"));
            let map = "\n[queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\nstarted_at = \"began\"\norder = [\"id\"]\n\
                states = { pending = [\"queued\"], retryable = [\"retry\"], running = [\"running\"], finished = [\"done\"] }\n";
            let configure = |map: &str| desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("postgres")));
            configure(map);
            let all = || db.value("SELECT string_agg(id || ':' || status, ' ' ORDER BY id) FROM jobs");
            let before = all();
            let at = |id: u32, ms: u64| format!("{id}@{}", 1_793_527_200_000 + ms);
            let dry = desk.run(&["recover", "--dry-run", &at(1, 0), &at(2, 1), &at(3, 0)]);
            assert_eq!(dry.stdout, "1 would be given back: 1\n", "{dry:?}");
            assert_eq!(all(), before, "a dry run writes nothing");
            // 2 was taken again since, 3 waits already, of 4 nobody knows which try it is
            let given = desk.run(&["recover", "--json", &at(1, 0), &at(2, 1), &at(3, 0), &at(4, 0)]);
            assert_eq!(given.stdout, "{\"jobs\":[\"1\"]}\n", "{given:?}");
            assert_eq!(all(), "1:retry 2:running 3:queued 4:running");
            let again = desk.run(&["recover", &at(1, 0)]);
            assert!(again.stdout.starts_with("nothing given back"), "{again:?}");
            let wrong = desk.run(&["recover", "1"]);
            assert!(wrong.code == Some(1) && wrong.stderr.contains("\"1\" is no row"), "{wrong:?}");
            configure(&map.replace("started_at = \"began\"\n", ""));
            let blind = desk.run(&["recover", &at(2, 0)]);
            assert!(blind.code == Some(1) && blind.stderr.contains("names no started_at"), "{blind:?}");
        }
        // a user who may only read gives nothing back
        db.sql("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT SELECT ON jobs TO reader");
        let map = "\n[queue.table]\nname = \"jobs\"\nid = \"id\"\nstatus = \"status\"\nstarted_at = \"began\"\norder = [\"id\"]\n\
            states = { pending = [\"queued\"], retryable = [\"retry\"], running = [\"running\"], finished = [\"done\"] }\n";
        desk.configure(&format!("url = \"{}\"\nadapter = \"table\"{map}", db.url("reader")));
        let refused = desk.run(&["recover", "2@1793527200000"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("permission denied"), "{refused:?}");
    }
}
