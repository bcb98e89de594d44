//! The pages a person reads in the night, held against the program: each reason and each bad verdict
//! has its page, each command on it is one that exists, and those that only look are run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use unwedge::cli::{self, Binds, Canary, Jobs, Mounts, NotifyTool, Unwedge, VerifyOps, WorkerTool};
use unwedge::config::sentinel::{HALT, Kind};
use unwedge::decide::plan::Reason;
use unwedge::manifest::families::{self, FAMILIES};
use unwedge::probes::verdict::Verdict;

use crate::support::isolate;

/// The sections of a page, in order.
const SECTIONS: [&str; 6] = ["When", "Look", "Dry-run", "Do", "Verify", "Undo"];
/// Those that change nothing.
const LOOKING: [&str; 3] = ["Look", "Dry-run", "Verify"];
/// More lines than this, empty ones aside, nobody reads in the night.
const LINES_MAX: usize = 40;
/// What a page may have people run, besides our own programs.
const PROGRAMS: [&str; 12] = [
    "cat",
    "chmod",
    "chown",
    "grep",
    "journalctl",
    "mkdir",
    "mv",
    "ps",
    "readlink",
    "rm",
    "systemctl",
    "touch",
];
/// As [`PROGRAMS`], on the one page that needs it.
const PROGRAMS_OF_ONE_PAGE: [(&str, &str); 2] =
    [("clock-fault", "timedatectl"), ("how-deploy", "flock")];
/// The pages on which something is done at an example's path: nothing is mounted there.
const PAGES_AT_THE_PATH: [&str; 2] = ["not-a-mount-point", "hides-data"];
/// The example's path, which may hang.
const PATH: &str = "/srv/storagebox";
/// What the Makefile must have.
const TARGETS: [&str; 8] = ["bench", "build", "clean", "demo", "fmt", "man", "soak", "test"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the files of a directory.
#[track_caller]
fn files(dir: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// One line of a `sh` block.
#[derive(Debug)]
struct Line {
    words: Vec<String>,
    /// What stands behind `#`.
    comment: String,
}

impl Line {
    /// Splits as a shell does, as far as a page may go: blanks and quotes. Whatever a shell would do
    /// more with is refused.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut words, mut comment) = (Vec::new(), String::new());
        let (mut word, mut quote) = (None::<String>, None::<char>);
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (Some('"'), '$' | '`' | '\\') => return Err(format!("shell trickery: {text}")),
                (None, '"' | '\'') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                (None, '#') if word.is_none() => {
                    comment = rest.by_ref().collect();
                }
                (
                    None,
                    '|' | '&' | ';' | '<' | '>' | '$' | '`' | '\\' | '*' | '?' | '~' | '(' | '{',
                ) => {
                    return Err(format!("shell trickery: {text}"));
                }
                (Some(_) | None, _) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        match (quote, words.is_empty()) {
            (Some(_), _) => Err(format!("a quote is not closed: {text}")),
            (None, true) => Err(format!("no command: {text:?}")),
            (None, false) => Ok(Self { words, comment }),
        }
    }

    fn program(&self) -> &str {
        &self.words[0]
    }

    fn args(&self) -> Vec<&str> {
        self.words[1..].iter().map(String::as_str).collect()
    }

    fn is_ours(&self) -> bool {
        matches!(
            self.program(),
            "unwedge"
                | "unwedge-mounts"
                | "unwedge-binds"
                | "unwedge-worker"
                | "unwedge-jobs"
                | "unwedge-canary"
                | "unwedge-notify"
                | "verify-ops"
        )
    }
}

/// Whether the real definitions accept it; `None` when it is no command line of ours.
fn accepted(line: &Line) -> Option<Result<(), String>> {
    let said = match line.program() {
        "unwedge" => Unwedge::try_parse_from(&line.words).err(),
        "unwedge-mounts" => Mounts::try_parse_from(&line.words).err(),
        "unwedge-binds" => Binds::try_parse_from(&line.words).err(),
        "unwedge-jobs" => Jobs::try_parse_from(&line.words).err(),
        "unwedge-worker" => WorkerTool::try_parse_from(&line.words).err(),
        "unwedge-canary" => Canary::try_parse_from(&line.words).err(),
        "unwedge-notify" => NotifyTool::try_parse_from(&line.words).err(),
        "verify-ops" => VerifyOps::try_parse_from(&line.words).err(),
        _ => return None,
    };
    Some(match said {
        None => Ok(()),
        Some(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            Ok(())
        }
        Some(error) => Err(format!("{}: {error}", line.words.join(" "))),
    })
}

/// The lines of all `sh` blocks.
pub fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

/// A page.
struct Page {
    name: String,
    text: String,
}

impl Page {
    /// Every page about one thing that is wrong.
    fn all() -> Vec<Self> {
        Self::those(|file| file != "README.md" && !file.starts_with("how-"))
    }

    /// Every page about something that somebody wants to do.
    fn guides() -> Vec<Self> {
        Self::those(|file| file.starts_with("how-"))
    }

    fn those(wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        files("playbooks")
            .into_iter()
            .filter(|file| wanted(file))
            .map(|file| {
                let text = read(&format!("playbooks/{file}"));
                let name = file.strip_suffix(".md").expect("a page is a .md file").to_owned();
                Self { name, text }
            })
            .collect()
    }

    /// Title and text of each section.
    fn sections(&self) -> Vec<(&str, &str)> {
        let parts = self.text.split("\n## ").skip(1);
        parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
    }

    /// Section and command, in order.
    #[track_caller]
    fn lines(&self) -> Vec<(&str, Line)> {
        let mut lines = Vec::new();
        for (title, text) in self.sections() {
            for command in commands(text) {
                let line = Line::parse(command);
                lines.push((title, line.unwrap_or_else(|why| panic!("{}: {why}", self.name))));
            }
        }
        lines
    }
}

/// The verdicts somebody is woken for; `stacked` is a live one with a second layer.
fn bad_verdicts() -> impl Iterator<Item = &'static str> {
    let named = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Live);
    named.map(Verdict::name).chain(["stacked"])
}

/// The alerts of the rules, each once, with the text from there to the next one.
fn alerts() -> BTreeMap<String, Vec<String>> {
    let text = read("alerts/unwedge.rules.yml");
    let mut alerts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in text.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default().to_owned();
        alerts.entry(name).or_default().push(rule.to_owned());
    }
    alerts
}

/// `UnwedgeWorkerDown` has the page `alert-worker-down`.
fn page_of(alert: &str) -> String {
    let name = alert.strip_prefix("Unwedge").unwrap_or_else(|| panic!("{alert}: whose is it?"));
    name.chars().fold("alert".to_owned(), |page, c| {
        if c.is_ascii_uppercase() {
            format!("{page}-{}", c.to_ascii_lowercase())
        } else {
            format!("{page}{c}")
        }
    })
}

#[test]
fn every_alert_leads_to_its_page_and_is_told_with_a_reason_and_a_time() {
    let alerts = alerts();
    assert!(alerts.len() > 15, "{:?}", alerts.keys());
    let table = first_cells(&read("alerts/README.md"));
    for (name, rules) in &alerts {
        assert!(table.contains(name), "{name} is not in the table");
        for rule in rules {
            let page = format!("/usr/share/doc/unwedge/playbooks/{}.md\"", page_of(name));
            for part in ["for: ", "severity: ", "summary: ", "description: ", page.as_str()] {
                assert!(rule.contains(part), "{name}: no {part}");
            }
        }
    }
}

/// Names of metrics in a text of `PromQL`, each with the labels that are asked of it.
fn metrics_in(text: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("unwedge_") {
        if text[..at].ends_with(is_name) {
            continue;
        }
        let rest = &text[at..];
        let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
        let labels =
            rest[name.len()..].strip_prefix('{').and_then(|labels| labels.split('}').next());
        let labels =
            labels.unwrap_or_default().split(',').filter_map(|pair| pair.split(['=', '!']).next());
        found.push((
            name,
            labels.map(|label| label.trim().to_owned()).filter(|it| !it.is_empty()).collect(),
        ));
    }
    found
}

#[test]
fn alerts_ask_only_for_metrics_and_labels_that_are_written() {
    let text = read("alerts/unwedge.rules.yml");
    let expressions: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n");
    let asked = metrics_in(&expressions);
    assert!(asked.len() > 40, "only {} were found", asked.len());
    for (name, labels) in asked {
        let family =
            families::named(&name).unwrap_or_else(|| panic!("{name} is written by nobody"));
        for label in labels {
            // those of the target, which every series has
            let given = family.labels.contains(&label.as_str())
                || ["instance", "job"].contains(&label.as_str());
            assert!(given, "{name} has no {label}");
        }
    }
    for asked in expressions.split("reason=").skip(1) {
        let words = asked
            .trim_start_matches('~')
            .trim_start_matches('"')
            .split('"')
            .next()
            .unwrap_or_default();
        for word in words.split('|') {
            assert!(
                Reason::ALL.into_iter().any(|known| known.name() == word),
                "{word} is no reason"
            );
        }
    }
}

#[test]
fn alerts_fire_and_clear_as_their_tests_say() {
    let test = "playbooks::alerts_fire_and_clear_as_their_tests_say";
    for (program, words) in [
        ("/usr/bin/promtool", &["check", "rules", "unwedge.rules.yml"][..]),
        ("/usr/bin/promtool", &["test", "rules"]),
        ("/usr/bin/amtool", &["check-config", "alertmanager.example.yml"]),
    ] {
        if !Path::new(program).exists() {
            isolate::skip(test, &format!("needs {program}"));
            return;
        }
        let dir = root().join("alerts");
        let mut tests: Vec<PathBuf> = Vec::new();
        if words == ["test", "rules"] {
            tests.extend(
                fs::read_dir(dir.join("tests")).unwrap().map(|entry| entry.unwrap().path()),
            );
            assert!(tests.len() > 3, "{tests:?}");
        }
        let ran = std::process::Command::new(program)
            .args(words)
            .args(tests)
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{words:?}: {ran:?}");
    }
    // each alert is seen to fire
    let tests: String = fs::read_dir(root().join("alerts/tests"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    for name in alerts().keys() {
        let fires = tests.contains(&format!("alertname: {name}"))
            || tests.contains(&format!("alertname=\"{name}\""));
        assert!(fires, "{name} has no test");
    }
}

#[test]
fn every_reason_every_bad_verdict_and_every_alert_has_its_page_and_nothing_else_has() {
    let wanted: BTreeSet<String> = Reason::ALL
        .map(|reason| reason.name().to_owned())
        .into_iter()
        .chain(bad_verdicts().map(|verdict| format!("verdict-{verdict}")))
        .chain(alerts().keys().map(|alert| page_of(alert)))
        .collect();
    let there: BTreeSet<String> = Page::all().into_iter().map(|page| page.name).collect();
    assert_eq!(wanted, there);
}

#[test]
fn the_table_of_contents_leads_to_every_page_and_to_nothing_else() {
    let text = read("playbooks/README.md");
    let linked: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.split_once("](")?.1.split_once(')'))
        .map(|(file, _)| file)
        .collect();
    let there: BTreeSet<String> = Page::all()
        .into_iter()
        .chain(Page::guides())
        .map(|page| format!("{}.md", page.name))
        .collect();
    assert_eq!(linked, there.iter().map(String::as_str).collect());
}

#[test]
fn a_page_has_its_word_its_six_sections_in_order_and_is_short() {
    for page in Page::all() {
        let title = page.text.lines().next().unwrap_or_default();
        let word = page.name.replace("verdict-", "verdict: ");
        assert_eq!(title, format!("# {word}"), "{}", page.name);
        let titles: Vec<&str> = page.sections().iter().map(|(title, _)| *title).collect();
        assert_eq!(titles, SECTIONS, "{}", page.name);
        for (title, text) in page.sections() {
            assert!(!text.trim().is_empty(), "{}: {title} is empty", page.name);
        }
        let lines = page.text.lines().filter(|line| !line.is_empty()).count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines", page.name);
        let fences = page.text.lines().filter(|line| line.starts_with("```"));
        for fence in fences {
            assert!(matches!(fence, "```" | "```sh"), "{}: {fence}", page.name);
        }
    }
}

#[test]
fn every_page_looks_and_verifies_by_our_own_means() {
    for page in Page::all() {
        for wanted in LOOKING {
            let by_us = page.lines().iter().any(|(title, line)| *title == wanted && line.is_ours());
            assert!(by_us, "{}: {wanted} has no command of ours", page.name);
        }
    }
}

/// A command is one of ours that is called rightly, or on the list.
#[track_caller]
fn exists(page: &Page, line: &Line) {
    let program = line.program();
    let known = PROGRAMS.contains(&program)
        || PROGRAMS_OF_ONE_PAGE.contains(&(page.name.as_str(), program));
    match accepted(line) {
        Some(accepted) => accepted.unwrap_or_else(|why| panic!("{}: {why}", page.name)),
        None => assert!(known, "{}: {program} is not on the list", page.name),
    }
}

#[test]
fn every_command_is_one_that_exists() {
    for page in Page::all() {
        for (_, line) in page.lines() {
            exists(&page, &line);
        }
    }
}

#[test]
fn every_command_of_a_guide_is_one_that_exists_and_touches_no_path_that_may_hang() {
    assert!(Page::guides().len() >= 6);
    for page in Page::guides() {
        for command in commands(&page.text) {
            let line = Line::parse(command).unwrap_or_else(|why| panic!("{}: {why}", page.name));
            exists(&page, &line);
            let touches = line.args().iter().any(|arg| arg.starts_with("/srv"));
            assert!(line.is_ours() || !touches, "{}: {command}", page.name);
        }
    }
}

/// What a guide says of metrics and alerts of ours is so.
#[test]
fn a_guide_names_metrics_alerts_and_kinds_that_there_are() {
    let alerts = alerts();
    for page in Page::guides() {
        for (at, _) in page.text.match_indices("`Unwedge") {
            let name = page.text[at + 1..].split('`').next().unwrap();
            assert!(alerts.contains_key(name), "{}: {name}", page.name);
        }
        for (name, _) in metrics_in(&page.text) {
            let known = FAMILIES.iter().any(|family| family.name == name);
            assert!(known, "{}: {name}", page.name);
        }
    }
}

#[test]
fn no_command_touches_a_path_that_may_hang() {
    for page in Page::all() {
        for (_, line) in page.lines().iter().filter(|(_, line)| !line.is_ours()) {
            let touches = line.args().iter().any(|arg| arg.starts_with("/srv"));
            let free = PAGES_AT_THE_PATH.contains(&page.name.as_str())
                && matches!(line.program(), "mv" | "mkdir");
            assert!(!touches || free, "{}: {}", page.name, line.words.join(" "));
        }
    }
}

#[test]
fn systemctl_is_never_waited_for_and_only_asked_where_a_page_only_looks() {
    for page in Page::all() {
        for (title, line) in page.lines().iter().filter(|(_, line)| line.program() == "systemctl") {
            let args = line.args();
            let right = match args[0] {
                "show" => true,
                "start" | "stop" | "restart" => args[1] == "--no-block" && !LOOKING.contains(title),
                "daemon-reload" | "enable" | "unmask" | "reset-failed" => !LOOKING.contains(title),
                _ => false,
            };
            assert!(right, "{}: {title}: {}", page.name, line.words.join(" "));
        }
    }
}

lab_test! {
    fn every_command_that_only_looks_is_run_and_changes_nothing(lab) {
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        let _fault = lab.fault(&path, &[]);
        let before = lab.snapshot();
        let mut seen = BTreeSet::new();
        for page in Page::all() {
            for (title, line) in page.lines() {
                let new = LOOKING.contains(&title)
                    && line.is_ours()
                    && seen.insert(line.words.clone());
                if !new {
                    continue;
                }
                let ran = match line.program() {
                    "unwedge" => lab.unwedge(&line.args()),
                    "unwedge-jobs" => lab.jobs(&line.args()),
                    "unwedge-worker" => lab.worker(&line.args()),
                    name @ ("verify-ops" | "unwedge-canary" | "unwedge-notify") => {
                        lab.run(&Path::new(env!("CARGO_BIN_EXE_verify-ops")).with_file_name(name), &line.args())
                    }
                    _ => lab.round(&line.args()),
                };
                let wanted = i32::from(line.comment.trim_start().starts_with("exit 1"));
                // these end as badly as what they find, and here nothing is installed
                let finds = line.program() == "verify-ops" || line.words.get(1).is_some_and(|verb| verb == "doctor");
                let right = ran.code == Some(wanted) || (finds && ran.code.is_some_and(|code| code <= 2));
                assert!(right, "{}: {line:?}: {ran:?}", page.name);
                assert_eq!(before, lab.snapshot(), "{}: {line:?}", page.name);
            }
        }
        assert!(seen.len() >= 10, "{seen:?}");
    }
}

#[test]
fn there_is_one_example_sentinel_a_permission_and_halt_and_each_names_a_page() {
    let wanted: BTreeSet<String> =
        Kind::ALL.map(Kind::name).into_iter().chain([HALT]).map(str::to_owned).collect();
    assert_eq!(files("sentinels.example"), wanted);
    for name in wanted {
        let text = read(&format!("sentinels.example/{name}"));
        assert!(text.starts_with(&format!("{name}: ")), "{name}");
        let page = text.lines().find_map(|line| line.strip_prefix("Playbook "));
        let page = page.unwrap_or_else(|| panic!("{name} names no playbook")).trim();
        assert!(page.starts_with("playbooks/") && root().join(page).is_file(), "{name}: {page}");
        for word in ["Allows", "Risk", "Without"] {
            assert!(text.lines().any(|line| line.starts_with(word)), "{name}: no {word}");
        }
        for verb in ["Arm", "Disarm"] {
            if let Some(command) = text.lines().find_map(|line| line.strip_prefix(verb)) {
                accepted(&Line::parse(command).unwrap()).expect("ours").unwrap();
            }
        }
    }
}

/// Everything of a document that reads as a command line: lines of `sh` blocks, and code in a line.
fn named_commands(text: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            outside.push_str(line);
            outside.push(' ');
        }
    }
    let spans = outside.split('`').skip(1).step_by(2).map(str::to_owned);
    commands(text).into_iter().map(str::to_owned).chain(spans).collect()
}

fn makefile_targets() -> BTreeSet<String> {
    let named = |line: &str| {
        let (names, _) = line.split_once(':').filter(|(_, rest)| !rest.starts_with('='))?;
        let plain = names.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == ' ');
        (plain && !line.starts_with('\t')).then(|| names.to_owned())
    };
    let text = read("Makefile");
    text.lines()
        .filter_map(named)
        .flat_map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_command_the_documents_name_exists() {
    let targets = makefile_targets();
    let programs: BTreeSet<String> =
        cli::programs().iter().map(|program| program.get_name().to_owned()).collect();
    let mut ours = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "playbooks/README.md"] {
        for command in named_commands(&read(document)) {
            let mut words = command.split_whitespace();
            match (words.next(), words.next()) {
                (Some("make"), target) => {
                    let target = target.unwrap_or_default();
                    assert!(targets.contains(target), "{document}: no target for {command}");
                }
                // the name alone is no command line
                (
                    Some("unwedge" | "unwedge-mounts" | "unwedge-worker" | "unwedge-jobs"),
                    Some(_),
                ) => {
                    let line =
                        Line::parse(&command).unwrap_or_else(|why| panic!("{document}: {why}"));
                    accepted(&line)
                        .expect("ours")
                        .unwrap_or_else(|why| panic!("{document}: {why}"));
                    ours += 1;
                }
                (Some(name), _) if name.starts_with("unwedge-") && !name.contains('.') => {
                    assert!(programs.contains(name), "{document}: there is no {name}");
                }
                (Some(_) | None, _) => {}
            }
        }
    }
    assert!(ours >= 5, "only {ours} command lines of ours were found");
}

#[test]
fn the_makefile_has_the_targets_people_are_told_of() {
    let targets = makefile_targets();
    for target in TARGETS {
        assert!(targets.contains(target), "no target {target}");
    }
}

/// First cells of the rows of a document's tables, without code marks.
fn first_cells(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| Some(row.split('`').nth(1)?.split('{').next()?.to_owned())).collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let rows = first_cells(&read("README.md"));
    let documented: BTreeSet<&str> =
        rows.iter().filter(|row| row.starts_with("unwedge_")).map(String::as_str).collect();
    assert_eq!(documented, FAMILIES.iter().map(|family| family.name).collect());
}

#[test]
fn every_verdict_is_in_the_readme_table() {
    let rows = first_cells(&read("README.md"));
    for verdict in Verdict::ALL {
        assert!(rows.contains(verdict.name()), "{verdict} is not explained");
    }
}

#[test]
fn every_link_to_a_file_of_ours_leads_somewhere() {
    let documents = ["README.md", "ARCHITECTURE.md", "STYLE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    for document in documents {
        for link in read(document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            let ours = !target.is_empty() && !target.contains("://");
            assert!(!ours || Path::new(&root()).join(target).exists(), "{document}: {target}");
        }
    }
}
