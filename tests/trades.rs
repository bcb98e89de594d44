//! The types that are shipped, at real work: real tools, files that are whole, broken and empty, a tool that dies half way,
//! a receiver that answers everything there is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use serde_json::Value;
use unwedge::act::install;
use unwedge::cli::Unwedge;
use unwedge::config::Services;
use unwedge::config::container::Said;
use unwedge::config::from_str;
use unwedge::config::job_type::JobType;
use unwedge::manifest::{TOOLS, content};

use crate::house::root;
use crate::store::Db;
use crate::support::isolate;

/// A queue, and a shipped type with its scripts, as they are installed.
struct Bench {
    dir: tempfile::TempDir,
    queue: String,
}

impl Bench {
    fn new(db: &Db) -> Self {
        let unwedge::config::queue::Database::Url(url) = &db.queue.database else { panic!() };
        let bench = Self { dir: tempfile::tempdir().unwrap(), queue: url.0.clone() };
        for name in ["in", "out"] {
            fs::create_dir(bench.path(name)).unwrap();
        }
        let prefix = bench.path("prefix");
        let texts = content::texts(&TOOLS, Services::Process, &prefix);
        install::stage(&texts, Path::new("/")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The installed file, with these words for others.
    fn kind(&self, name: &str, words: &[(&str, &str)]) -> PathBuf {
        let installed = self.path("prefix/share/doc/unwedge/jobs.example").join(name);
        let mut text = fs::read_to_string(installed).unwrap();
        let out = self.path("out").display().to_string();
        let usual = [("/srv/jobs/text", out.as_str()), ("backoff  = \"30s\"", "backoff = \"1s\"")];
        for (old, new) in usual.into_iter().chain(words.iter().copied()) {
            text = text.replace(old, new);
        }
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(
        &self,
        kind: &Path,
        names: &[&str],
        variables: &[(&str, &str)],
    ) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unwedge"));
        command
            .current_dir(self.dir.path())
            .args(["run", "--queue", &self.queue, "--count", "2", "--type"])
            .env("XDG_STATE_HOME", self.path("state"))
            .arg(kind);
        command
            .args(names.iter().map(|name| self.path("in").join(name)))
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    }

    fn out(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap_or_default()
    }
}

/// A page with this text on it, as a PDF.
fn pdf(text: &str) -> Vec<u8> {
    pdf_of(text, 1)
}

/// So many pages with this text on each.
fn pdf_of(text: &str, pages: usize) -> Vec<u8> {
    // some words a line, so that all of it is on the page
    let words: Vec<&str> = text.split(' ').collect();
    let lines: String =
        words.chunks(5).map(|some| format!("({}) Tj 0 -30 Td ", some.join(" "))).collect();
    let content = format!("BT /F1 24 Tf 40 700 Td {lines}ET");
    let kids: String = (0..pages).map(|nth| format!("{} 0 R ", 5 + nth)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {pages} >>"),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 3 0 R /Resources << /Font << /F1 4 0 R >> >> >>";
    objects.extend((0..pages).map(|_| page.to_owned()));
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (nth, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", nth + 1).as_bytes());
    }
    let table = out.len();
    out.extend_from_slice(
        format!("xref\n0 {}\n0000000000 65535 f \n", places.len() + 1).as_bytes(),
    );
    for place in &places {
        out.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    out.extend_from_slice(
        format!(
            "trailer << /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n",
            places.len() + 1
        )
        .as_bytes(),
    );
    out
}

fn has(test: &str, programs: &[&str]) -> bool {
    match programs.iter().find(|program| !Path::new(program).exists()) {
        None => true,
        Some(missing) => {
            isolate::skip(test, &format!("needs {missing}"));
            false
        }
    }
}

#[test]
fn every_type_and_every_configuration_that_is_shipped_can_be_used() {
    let dir = root().join("jobs.example");
    let calls = regex::Regex::new("/usr/bin/[a-z]+").unwrap();
    for name in ["pdftext", "office", "ship", "boxed"] {
        let path = dir.join(format!("{name}.toml"));
        let kind = JobType::parse(&path, &fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|why| panic!("{why}"));
        let kind = kind.on_host(&Said::default()).unwrap();
        assert_eq!(kind.container.is_some(), name == "boxed", "{name}");
        for tier in &kind.tiers {
            if let Some(script) = tier.argv[0].strip_prefix("/usr/lib/unwedge/") {
                // a host that lacks what a script calls must not find it out by what it does to a file
                let text = fs::read_to_string(dir.join(script)).unwrap();
                for call in calls.find_iter(&text) {
                    let is_told = tier.tools.iter().any(|it| it == call.as_str());
                    assert!(is_told, "{name}: {} calls {}", tier.name, call.as_str());
                }
                let mode = fs::metadata(dir.join(script)).unwrap();
                assert!(
                    std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o111 != 0,
                    "{script}"
                );
            }
        }
    }
    // whoever has no configuration needs none, and what is said of that can be said
    let text = fs::read_to_string(dir.join("none.toml")).unwrap();
    assert!(from_str(&text).unwrap() == from_str("").unwrap());
    let words: Vec<&str> = text.lines().filter_map(|it| it.strip_prefix("#   unwedge ")).collect();
    assert!(words.len() > 3, "{text}");
    for line in words {
        let line = line.replace('\'', "");
        Unwedge::try_parse_from(["unwedge"].into_iter().chain(line.split(' '))).unwrap();
    }
    for name in ["desk", "server", "mixed", "scans"] {
        let text = fs::read_to_string(dir.join(format!("{name}.toml"))).unwrap();
        let settings = from_str(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(settings.jobs.is_some() && (settings.queue.is_some() || name == "scans"), "{name}");
    }
}

#[test]
fn text_is_what_is_in_a_file_or_what_can_be_read_off_it_and_a_first_tool_that_dies_is_seen() {
    let test = "trades::text_is_what_is_in_a_file_or_what_can_be_read_off_it_and_a_first_tool_that_dies_is_seen";
    if !has(test, &["/usr/bin/pdftotext", "/usr/bin/pdftoppm", "/usr/bin/tesseract"]) {
        return;
    }
    let db = Db::file();
    let bench = Bench::new(&db);
    let long = "A sentence that is long enough to be worth a hundred bytes of a text, or so one would say of it all in all";
    for nth in 0..14 {
        fs::write(bench.path(&format!("in/whole{nth}.pdf")), pdf(&format!("{long} {nth}")))
            .unwrap();
    }
    fs::write(bench.path("in/short.pdf"), pdf("LETTERS")).unwrap();
    fs::write(bench.path("in/broken.pdf"), &pdf(long)[..60]).unwrap();
    fs::write(bench.path("in/empty.pdf"), "").unwrap();
    // the tool as it is, until somebody breaks it
    let tool = bench.path("pdftotext");
    fs::write(
        &tool,
        format!(
            "#!/bin/sh\ntest -e {} && exit 127\nexec /usr/bin/pdftotext \"$@\"\n",
            bench.path("dead").display()
        ),
    )
    .unwrap();
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let kind = bench.kind("pdftext.toml", &[("/usr/bin/pdftotext", &tool.display().to_string())]);
    let (code, said) = bench.run(
        &kind,
        &["whole0.pdf", "whole1.pdf", "short.pdf", "broken.pdf", "empty.pdf"],
        &[],
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("3 done, 2 not"), "{said}");
    assert!(bench.out("whole0.txt").contains("enough to be worth a"), "{said}");
    // too little for the first, and read off the page by the second
    assert!(
        bench.out("short.txt").to_uppercase().contains("LETTERS"),
        "{:?}",
        bench.out("short.txt")
    );
    let rows = db.rows("SELECT key, state, class, tier FROM unwedge_jobs");
    for (name, expected) in [
        ("whole0.pdf", ["done", "", "pdftotext"]),
        ("short.pdf", ["done", "", "ocr"]),
        ("broken.pdf", ["quarantined", "permanent", "ocr"]),
        ("empty.pdf", ["quarantined", "permanent", "ocr"]),
    ] {
        let row = rows.iter().find(|row| row[0].ends_with(name)).unwrap();
        let found: Vec<&str> =
            row[1..].iter().map(|it| if it == "NULL" { "" } else { it.as_str() }).collect();
        assert_eq!(found, expected, "{name}: {said}");
    }
    // every job goes on being done, and that is how it would stay unseen
    fs::write(bench.path("dead"), "").unwrap();
    let names: Vec<String> = (2..14).map(|nth| format!("whole{nth}.pdf")).collect();
    let (code, said) = bench.run(&kind, &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(code, Some(0), "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_unwedge"))
        .args(["--json", "lanes", "list", "--queue", &bench.queue])
        .output()
        .unwrap();
    let lanes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lanes["lanes"][0]["troubles"], serde_json::json!(["degraded"]), "{lanes:#}");
    assert_eq!(lanes["lanes"][0]["tiers"]["ocr"], 13, "{lanes:#}");
}

/// The nth file of a kind.
type Make<'a> = &'a dyn Fn(usize) -> Vec<u8>;

#[test]
fn two_thousand_files_end_as_what_they_are_each_by_the_tool_that_can_read_it() {
    let test = "trades::two_thousand_files_end_as_what_they_are_each_by_the_tool_that_can_read_it";
    if !has(test, &["/usr/bin/pdftotext", "/usr/bin/pdftoppm", "/usr/bin/tesseract"]) {
        return;
    }
    let db = Db::file();
    let bench = Bench::new(&db);
    let long = "A sentence that is long enough to be worth a hundred bytes of a text, or so one would say of it all in all";
    fs::write(bench.path("page.pdf"), pdf("LETTERS")).unwrap();
    let page = Command::new("/usr/bin/pdftoppm")
        .args(["-r", "100", "-gray", "-png", "-singlefile"])
        .args([bench.path("page.pdf"), bench.path("page")])
        .status();
    assert!(page.unwrap().success());
    let picture = fs::read(bench.path("page.png")).unwrap();
    let mut damaged = picture.clone();
    damaged.truncate(200);
    let enormous = pdf_of(long, 3000);
    let (done, aside) = (["done", ""], ["quarantined", "permanent"]);
    let kinds: [(&str, usize, [&str; 2], &str, Make<'_>); 7] = [
        ("whole.pdf", 1680, done, "pdftotext", &|nth| pdf(&format!("{long} {nth}"))),
        ("enormous.pdf", 20, done, "pdftotext", &|_| enormous.clone()),
        ("scan.pdf", 90, done, "ocr", &|_| pdf("LETTERS")),
        ("picture.png", 90, done, "ocr", &|_| picture.clone()),
        ("broken.pdf", 50, aside, "ocr", &|nth| pdf(long)[..60 + nth].to_vec()),
        ("damaged.png", 20, aside, "ocr", &|_| damaged.clone()),
        ("empty.pdf", 50, aside, "ocr", &|_| Vec::new()),
    ];
    let mut names = Vec::new();
    for (name, count, .., make) in &kinds {
        for nth in 0..*count {
            let name = format!("{nth}-{name}");
            fs::write(bench.path("in").join(&name), make(nth)).unwrap();
            names.push(name);
        }
    }
    assert_eq!(names.len(), 2000);
    let kind = bench.kind("pdftext.toml", &[]);
    let (code, said) = bench.run(&kind, &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1880 done, 120 not"), "{said}");
    for (name, count, [state, class], tier, _) in &kinds {
        let rows = db.rows(&format!(
            "SELECT state, coalesce(class, ''), tier, tries, count(*) FROM unwedge_jobs WHERE input LIKE '%-{name}' GROUP BY 1, 2, 3, 4"
        ));
        assert_eq!(rows, [[*state, *class, *tier, "1", &count.to_string()]], "{name}");
    }
    assert!(bench.out("1679-whole.txt").contains("1679"));
    assert_eq!(bench.out("19-enormous.txt").matches("A sentence").count(), 3000);
    for name in ["89-scan.txt", "89-picture.txt"] {
        assert!(bench.out(name).to_uppercase().contains("LETTERS"), "{}", bench.out(name));
    }
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1880, "and nothing else");
}

#[test]
fn what_a_receiver_answers_is_what_becomes_of_what_is_shipped() {
    if !has(
        "trades::what_a_receiver_answers_is_what_becomes_of_what_is_shipped",
        &["/usr/bin/curl", "/usr/bin/sha256sum"],
    ) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/in/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part) {
                asked.extend_from_slice(&part[..length]);
                if asked.ends_with(b"CONTENT") {
                    break;
                }
            }
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let code =
                asked.split("/in/").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("400");
            assert!(asked.to_lowercase().contains("x-content-sha256: "), "{asked}");
            let _ = write!(
                stream,
                "HTTP/1.1 {code} Word\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    let db = Db::file();
    let bench = Bench::new(&db);
    let codes = ["201", "200", "409", "412", "500"];
    for code in codes {
        fs::write(bench.path("in").join(code), "CONTENT").unwrap();
    }
    // those that wait are not waited for here: one pass, and how they stand after it
    let kind = bench.kind("ship.toml", &[]);
    let mut command = Command::new("/usr/bin/timeout");
    command
        .args(["10", env!("CARGO_BIN_EXE_unwedge"), "run", "--queue", &bench.queue, "--type"])
        .arg(&kind);
    command
        .args(codes.map(|code| bench.path("in").join(code)))
        .env("SHIP_URL", &url)
        .env("XDG_STATE_HOME", bench.path("state"))
        .current_dir(bench.dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let rows = db.rows("SELECT j.key, j.state, j.failures, j.infra_errors, coalesce(a.class, ''), a.exit_code FROM unwedge_jobs j JOIN unwedge_attempts a ON a.job = j.id AND a.try = 1");
    for (code, expected) in [
        ("201", ["done", "0", "0", "", "0"]),
        ("200", ["done", "0", "0", "", "10"]),
        ("409", ["quarantined", "1", "0", "conflict", "11"]),
        ("412", ["pending", "0", "0", "configuration", "12"]),
        ("500", ["retryable", "0", "1", "infrastructure", "75"]),
    ] {
        let row = rows
            .iter()
            .find(|row| row[0].ends_with(&format!("/{code}")))
            .unwrap_or_else(|| panic!("{code}: {said}"));
        assert_eq!(row[1..], expected, "{code}: {said}");
    }
}
