//! `[queue]`: what is right, what is wrong, and that no message and no listing tells a secret.

use std::path::PathBuf;
use std::time::Duration;

use super::super::queue::{Adapter, Database, Secret};
use super::super::{Request, from_str, load};

const TABLE: &str = "[queue.table]\nname = \"app.jobs\"\nid = \"id\"\nstatus = \"status\"\norder = [\"at desc\", \"id\"]\n\
    states = { pending = [\"a\"], running = [\"b\"] }\n";

#[track_caller]
fn check_refused(text: &str, expected: &[&str]) {
    let told = from_str(text).expect_err(text).to_string();
    let told: Vec<&str> = told.lines().collect();
    let expected: Vec<String> = expected.iter().map(|it| format!("<text>:{it}")).collect();
    assert_eq!(told, expected, "{text}");
    assert!(!told.iter().any(|line| line.contains("s3cr3t")));
}

#[test]
fn without_a_section_there_is_no_queue_and_with_one_the_defaults_hold() {
    assert_eq!(from_str("").unwrap().queue, None);
    let text = "[queue]\nurl = \"sqlite:///q.db\"\nadapter = \"healtharchive\"\n";
    let queue = from_str(text).unwrap().queue.unwrap();
    assert_eq!(queue.database, Database::Url(Secret("sqlite:///q.db".to_owned())));
    assert_eq!(queue.adapter, Adapter::Healtharchive);
    assert_eq!((queue.next_jobs, queue.timeout), (10, Duration::from_secs(5)));
    assert_eq!(
        (queue.infra_window, queue.stale_after),
        (Duration::from_secs(600), Duration::from_secs(3600))
    );
}

#[test]
fn a_table_is_mapped() {
    let text = format!(
        "[queue]\nurl_file = \"/etc/unwedge/queue.url\"\nadapter = \"table\"\n{TABLE}\
         output = \"config.dir\"\ncooldown = {{ when = {{ column = \"c\", values = [\"x\"] }}, at = \"u\", for = \"10m\" }}\n"
    );
    let queue = from_str(&text).unwrap().queue.unwrap();
    assert_eq!(queue.database, Database::UrlFile("/etc/unwedge/queue.url".into()));
    let Adapter::Table(map) = queue.adapter else { panic!("a table") };
    assert_eq!((map.name.as_str(), map.zone.as_str()), ("app.jobs", "UTC"));
    assert_eq!(map.output.unwrap().keys, ["dir"]);
    assert!(map.order[0].descending && !map.order[1].descending);
    assert_eq!(map.cooldown.unwrap().time, Duration::from_secs(600));
}

#[test]
fn where_the_database_is_must_be_said_once_and_in_a_known_way() {
    let with = |keys: &str| format!("[queue]\nadapter = \"healtharchive\"\n{keys}\n");
    for (keys, told) in [
        ("", "1: [queue] url: missing; give url, or url_file if it holds a password"),
        (
            "url = \"sqlite:///q\"\nurl_file = \"/q\"",
            "4: [queue] url_file: url is set as well; give one of the two",
        ),
        ("url_file = \"q\"", "3: [queue] url_file: \"q\" is relative, expected an absolute path"),
        (
            "url = \"mysql://u:s3cr3t@h/d\"",
            "3: [queue] url: is no URL of a database that is known here, expected it to begin with sqlite:/// or postgres:// or postgresql://",
        ),
        (
            "url = \"postgres://u:s3cr3t @h/d\"",
            "3: [queue] url: holds a blank or a control character; percent-encode it",
        ),
        (
            "url = \"sqlite:///a/../b\"",
            "3: [queue] url: expected the plain absolute path of a file after sqlite://",
        ),
        (
            "url = 7",
            "3: [queue] url: expected a string, found something else (not shown: it may be a secret)",
        ),
    ] {
        check_refused(&with(keys), &[told]);
    }
}

#[test]
fn an_adapter_is_one_of_this_version() {
    let with = |adapter: &str| format!("[queue]\nurl = \"postgres://u@h/d\"\n{adapter}\n");
    let libraries = crate::libraries::ALL.iter().map(|it| format!(" or {:?}", it.name));
    let libraries: String = libraries.collect();
    let known = format!("expected \"table\" or \"healtharchive\" or \"unwedge\"{libraries}");
    for (adapter, told) in [
        ("", format!("1: [queue] adapter: missing, {known}")),
        (
            "adapter = \"tabel\"",
            format!("3: [queue] adapter: \"tabel\" found, {known}; did you mean \"table\"?"),
        ),
        (
            "adapter = \"table\"",
            "1: [queue] table: missing; it says which column means what".to_owned(),
        ),
        (
            "adapter = \"healtharchive\"\n[queue.table]",
            "4: [queue] table: only with adapter = \"table\"; this adapter has its own map"
                .to_owned(),
        ),
        (
            "adapter = \"unwedge\"\n[queue.table]",
            "4: [queue] table: only with adapter = \"table\"; this adapter has its own map"
                .to_owned(),
        ),
        (
            "adapter = \"pg-boss\"\n[queue.table]",
            "4: [queue] table: only with adapter = \"table\"; a library's tables are known".to_owned(),
        ),
        (
            "adapter = \"unwedge\"\n[queue.library]",
            "4: [queue] library: only with an adapter that is a library's".to_owned(),
        ),
        (
            "adapter = \"pg-boss\"\n[queue.library]\nschema = \"a'b\"",
            "5: [queue.library] schema: \"a'b\" found, expected the name of a schema".to_owned(),
        ),
        (
            "adapter = \"pg-boss\"\n[queue.library]\noutput = \"out.\"",
            "5: [queue.library] output: expected key or key.key, the way to it in what a job was put in with".to_owned(),
        ),
        (
            "adapter = \"graphile-worker\"\n[queue.library]\noutput = \"out\"",
            "5: [queue.library] output: graphile-worker shows nobody what a job was put in with".to_owned(),
        ),
    ] {
        check_refused(&with(adapter), &[&told]);
    }
}

#[test]
fn what_a_table_lacks_is_told_at_once() {
    check_refused(
        "[queue]\nurl = \"sqlite:///q\"\nadapter = \"table\"\n[queue.table]\nid = \"id\"\noutput = \".x\"\n\
         states = { pending = [\"a\"], running = [\"b\"], finished = [\"a\"] }\norder = [\"x up\"]\n\
         infra = { column = \"c\" }\ncooldown = { at = \"u\" }\nrescue = {}\n",
        &[
            "4: [queue.table] name: missing",
            "4: [queue.table] status: missing",
            "7: [queue.table] states: \"a\" is listed twice; a value means one thing",
            "8: [queue.table] order[0]: \"x up\" found, expected \"column [asc|desc] [nulls first|last]\"",
            "6: [queue.table] output: \".x\" found, expected column, or column.key for JSON",
            "9: [queue.table.infra] at: missing",
            "9: [queue.table.infra] values: missing",
            "10: [queue.table.cooldown.when] column: missing",
            "10: [queue.table.cooldown] for: missing",
            "10: [queue.table.cooldown.when] values: missing",
            "11: [queue.table.rescue] after: missing",
            "11: [queue.table.rescue] by: missing",
        ],
    );
    check_refused(
        "[queue]\nurl = \"sqlite:///q\"\nadapter = \"table\"\nnext_jobs = 0\ntimeout = \"99ms\"\nstale_after = \"0\"\n[queue.table]\nname = \"a.b.c\"\nid = \"id\"\nstatus = \"s\"\n",
        &[
            "8: [queue.table] name: \"a.b.c\" found, expected table or schema.table",
            "7: [queue.table.states] pending: missing; name the values of the status column",
            "7: [queue.table.states] running: missing; name the values of the status column",
            "7: [queue.table] order: missing; list the columns by which the worker takes its jobs",
            "4: [queue] next_jobs: 0 found, expected 1 to 1000",
            "5: [queue] timeout: 99ms is too short, expected at least 100ms",
            "6: [queue] stale_after: 0s found, expected more than 0",
        ],
    );
    check_refused(
        "[queue]\nurl = \"sqlite:///q\"\nadapter = \"river\"\n",
        &["2: [queue] url: is a file, and queues of libraries are read from PostgreSQL alone"],
    );
}

#[test]
fn a_password_stands_in_no_file_that_everybody_reads_and_is_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unwedge.toml");
    let try_with = |url: &str, mode: u32| {
        let text = format!("[queue]\nadapter = \"healtharchive\"\nurl = \"{url}\"\n");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        load(&Request { file: Some(file.clone()), euid: 1, ..Request::default() })
    };
    for url in ["postgres://u:s3cr3t@h/d", "postgres://h/d?user=u&password=s3cr3t"] {
        let told = try_with(url, 0o644).expect_err(url).to_string();
        assert!(told.contains("name that as url_file") && !told.contains("s3cr3t"), "{told}");
        let loaded = try_with(url, 0o640).expect(url);
        assert!(
            !loaded.show().contains("s3cr3t")
                && !format!("{:?}", loaded.settings).contains("s3cr3t")
        );
        assert_eq!(loaded.settings.file, Some(PathBuf::from(&file)));
    }
    for url in ["postgres://u@h/d", "postgres://h:5432/d", "sqlite:///a:b@c"] {
        assert!(try_with(url, 0o644).is_ok(), "{url}");
    }
}
