//! The house in order: rules of this repository that a compiler does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use unwedge::cli;
use unwedge::manifest::files::{
    ALERTS, DIRECTORIES, DROP_INS, File, PAGES, SCRIPTS, SENTINELS, TYPES, UNITS, USERS,
};
use unwedge::manifest::{OPERATOR, RunsAs, Start, TOOLS};

/// The way through the code: a module uses only what stands left of it. Those of one rank do not
/// know each other.
const ARROW: [(&str, u32); 14] = [
    ("sys", 0),
    ("libraries", 0),
    ("cli", 0),
    ("config", 1),
    ("manifest", 2),
    ("probes", 3),
    ("decide", 4),
    ("queue", 5),
    ("act", 6),
    ("checks", 7),
    ("report", 8),
    ("runner", 9),
    ("operator", 10),
    ("kit", 10),
];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` whose name ends so.
pub fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a source file without comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(code).collect::<Vec<_>>().join("\n")
}

pub fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

fn layer_of(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The layers of this package that a text of code names.
fn named_layers(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            let path: String = rest.chars().take_while(|c| *c != ';' && *c != '(').collect();
            match path.strip_prefix('{') {
                Some(group) => group.split(',').map(|it| it.trim().to_owned()).collect(),
                None => vec![path],
            }
        })
        .map(|path| path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn a_module_uses_only_what_stands_left_of_it() {
    let rank: BTreeMap<&str, u32> = ARROW.into_iter().collect();
    for path in files(&root().join("src"), ".rs") {
        let layer = layer_of(&path);
        if ["lib", "bin"].contains(&layer.as_str()) || is_test(&path) {
            continue;
        }
        let own = rank.get(layer.as_str()).unwrap_or_else(|| panic!("{layer} has no rank"));
        for used in named_layers(&code(&path)) {
            if used == layer || used == "worlds" {
                continue;
            }
            let theirs = rank.get(used.as_str()).unwrap_or_else(|| panic!("{path:?}: {used}"));
            assert!(theirs < own, "{}: {layer} uses {used}", path.display());
        }
    }
}

#[test]
fn deciding_has_no_clock_no_file_no_process_and_no_voice() {
    let forbidden = [
        "std::fs",
        "std::io",
        "std::process",
        "std::net",
        "std::env",
        "std::thread",
        "rustix::",
        "procfs::",
        "Now::take",
        "boottime",
        "Deadline",
        "command::",
        "println",
        "tracing",
        "prober",
        "survey(",
    ];
    for path in files(&root().join("src/decide"), ".rs") {
        if is_test(&path) {
            continue;
        }
        for word in forbidden {
            assert!(!code(&path).contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn a_decision_lists_its_arms_in_full() {
    // a new verdict, reason or unit state must not fall through unread
    for path in files(&root().join("src/decide"), ".rs") {
        if !is_test(&path) {
            let arms = code(&path);
            let bad = arms.lines().find(|line| line.trim_start().starts_with("_ =>"));
            assert!(bad.is_none(), "{}: {bad:?}", path.display());
        }
    }
}

#[test]
fn each_program_has_what_the_manifest_says() {
    let shipped: BTreeSet<String> = files(&root().join("src/bin"), ".rs")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let known = TOOLS.iter().map(|tool| tool.program).chain([OPERATOR]);
    assert_eq!(shipped, known.map(str::to_owned).collect());
    for tool in TOOLS {
        for kind in tool.acts {
            assert!(root().join("sentinels.example").join(kind.name()).is_file(), "{kind:?}");
        }
        let page = root().join("playbooks").join(format!("{}.md", tool.playbook));
        assert!(page.is_file(), "{}", tool.playbook);
    }
    for program in &shipped {
        let lines = fs::read_to_string(root().join(format!("src/bin/{program}.rs"))).unwrap();
        assert!(lines.lines().count() <= 150, "{program} does not read as five steps");
    }
}

/// `KEY=` in a unit file; the last one counts.
fn setting(unit: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(root().join("systemd").join(unit)).unwrap();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next_back().map(str::to_owned)
}

#[test]
fn the_runner_is_started_again_for_ever_and_watched() {
    for (key, value) in [
        ("Type", "notify"),
        ("Restart", "always"),
        ("RestartSec", "15"),
        ("StartLimitIntervalSec", "0"),
        ("RestartPreventExitStatus", "78"),
        ("WatchdogSec", "180"),
    ] {
        assert_eq!(setting("unwedge-runner.service", key).as_deref(), Some(value), "{key}");
    }
}

#[test]
fn units_say_what_the_manifest_says() {
    for tool in TOOLS {
        let service = tool.service();
        let command = [&[tool.program], tool.arguments].concat().join(" ");
        assert_eq!(
            setting(&service, "ExecStart"),
            Some(format!("/usr/bin/{command}")),
            "{service}"
        );
        let user = (tool.runs_as == RunsAs::ServiceUser).then(|| "unwedge".to_owned());
        assert_eq!(setting(&service, "User"), user, "{service}");
        for unit in tool.own_units() {
            let page = format!("man:{}(1)", tool.program);
            assert_eq!(setting(&unit, "Documentation"), Some(page), "{unit}");
        }
        let installed = match tool.start {
            Start::Every { boot, pause } => {
                let timer = tool.timer().unwrap();
                for (key, time) in [("OnBootSec", boot), ("OnUnitInactiveSec", pause)] {
                    let written = setting(&timer, key).unwrap();
                    assert_eq!(
                        humantime::parse_duration(&written).unwrap(),
                        time,
                        "{timer}: {key}"
                    );
                }
                (timer, "timers.target")
            }
            Start::Daily => {
                let timer = tool.timer().unwrap();
                assert_eq!(setting(&timer, "OnCalendar").as_deref(), Some("daily"));
                assert_eq!(setting(&timer, "Persistent").as_deref(), Some("true"), "{timer}");
                (timer, "timers.target")
            }
            Start::AtBoot | Start::Always => (service, "multi-user.target"),
        };
        assert_eq!(installed.0, tool.enabled_unit());
        assert_eq!(setting(&installed.0, "WantedBy").as_deref(), Some(installed.1));
    }
}

#[test]
fn whatever_lies_in_the_folders_is_shipped_and_nothing_else() {
    let listed = |lists: &[&[File]]| -> BTreeSet<String> {
        lists.iter().flat_map(|list| list.iter()).map(|file| file.name.to_owned()).collect()
    };
    for (folder, lists) in [
        ("systemd", &[&UNITS[..], &USERS, &DIRECTORIES, &DROP_INS][..]),
        ("sentinels.example", &[&SENTINELS]),
        ("playbooks", &[&PAGES]),
        ("alerts", &[&ALERTS]),
        ("jobs.example", &[&SCRIPTS, &TYPES]),
    ] {
        let there: BTreeSet<String> = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "README.md" || folder != "systemd")
            .filter(|name| name != "tests")
            .collect();
        assert_eq!(there, listed(lists), "{folder}");
    }
    // a unit of no tool would be installed on every host
    let units: BTreeSet<String> = TOOLS.iter().flat_map(|tool| tool.units()).collect();
    assert_eq!(units, listed(&[&UNITS]));
}

#[test]
fn the_table_of_units_is_that_of_the_manifest() {
    let table = fs::read_to_string(root().join("systemd/README.md")).unwrap();
    for tool in TOOLS {
        let units: Vec<String> = tool.own_units().map(|unit| format!("`{unit}`")).collect();
        let row = table.lines().find(|line| line.starts_with(&format!("| {} |", units.join(", "))));
        let row = row.unwrap_or_else(|| panic!("{}: no row", tool.name));
        let sentinel =
            tool.sentinel().map_or("none".to_owned(), |kind| format!("`{}`", kind.name()));
        assert!(row.contains(&format!(" | {sentinel}")), "{row}");
        assert!(row.contains(&format!("`playbooks/{}.md`", tool.playbook)), "{row}");
        if let Start::Every { boot, pause } = tool.start {
            let words = |time: Duration| match time.as_secs() / 60 {
                1 => "one minute".to_owned(),
                2 => "two minutes".to_owned(),
                3 => "three minutes".to_owned(),
                5 => "five minutes".to_owned(),
                60 => "an hour".to_owned(),
                more => panic!("{more} minutes: say it in words"),
            };
            let cadence = format!(
                "{} after boot, then {} after the end of each round",
                words(boot),
                words(pause)
            );
            assert!(row.contains(&cadence), "{row}: {cadence}");
        }
    }
}

#[test]
fn a_program_that_runs_as_root_links_no_database_no_tls_and_no_async_runtime() {
    for tool in TOOLS.iter().filter(|tool| tool.runs_as == RunsAs::Root) {
        // all of them are built into one directory
        let program = Path::new(env!("CARGO_BIN_EXE_unwedge-mounts")).with_file_name(tool.program);
        let symbols = Command::new("/usr/bin/nm").arg("-C").arg(program).output().unwrap();
        let symbols = String::from_utf8_lossy(&symbols.stdout);
        assert!(symbols.contains("unwedge::decide"), "a program without symbols proves nothing");
        for foreign in
            ["sqlite3_", "tokio::", "rustls::", "SSL_", "postgres::", "hyper::", "ureq::"]
        {
            assert!(!symbols.contains(foreign), "{}: {foreign}", tool.program);
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for path in files(&root().join("src"), ".rs").into_iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not say", path.display());
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    for dir in ["src", "tests", "systemd", "playbooks", "benches"] {
        for path in files(&root().join(dir), "") {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            for mark in &marks {
                assert!(!text.contains(mark.as_str()), "{}: {mark}", path.display());
            }
        }
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for path in fs::read_dir(root().join("tests")).unwrap().flatten().map(|entry| entry.path()) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.extension().is_some_and(|ending| ending == "rs");
        if is_module && !["main", "soak"].contains(&name.as_str()) {
            assert!(main.contains(&format!("mod {name};")), "tests/{name}.rs is not in main.rs");
        }
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let words = [["/wo", "rk/"].concat(), ["crates", ".io"].concat(), ["/tm", "p/w-"].concat()];
    let output = Command::new("git").arg("ls-files").current_dir(root()).output();
    let Some(listed) = output.ok().filter(|output| output.status.success()) else { return };
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        // a lock file names where its packages are from
        if name.ends_with("Cargo.lock") {
            continue;
        }
        let Ok(bytes) = fs::read(root().join(name)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for word in &words {
            assert!(!text.contains(word.as_str()), "{name}: {word}");
        }
    }
}

#[test]
fn man_pages_and_completions_are_made_of_what_the_programs_parse() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_unwedge")).arg("generate").arg(dir.path()).output();
    assert!(made.unwrap().status.success());
    let man = fs::read_to_string(dir.path().join("unwedge-mounts.1")).unwrap();
    for flag in ["config", "apply", "json", "verbose", "help", "version"] {
        assert!(man.contains(&format!("\\-\\-{flag}")), "{flag}");
    }
    let man = fs::read_to_string(dir.path().join("unwedge-watch.1")).unwrap();
    assert!(man.contains("\\-\\-config") && !man.contains("apply"), "{man}");
    let all = cli::programs();
    let names: BTreeSet<&str> = all.iter().map(clap::Command::get_name).collect();
    assert_eq!(names, TOOLS.iter().map(|tool| tool.program).chain([OPERATOR]).collect());
    let mut pages = 0;
    for program in all {
        let name = program.get_name().to_owned();
        for completion in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
            assert!(dir.path().join(&completion).is_file(), "{completion}");
        }
        let mut left = vec![(name, program)];
        while let Some((name, mut command)) = left.pop() {
            command.build();
            pages += 1;
            let page = dir.path().join(format!("{name}.1"));
            let page = fs::read_to_string(&page).unwrap_or_else(|why| panic!("{name}: {why}"));
            let verbs = command.get_subcommands().filter(|it| !it.is_hide_set());
            let verbs = verbs.filter(|it| it.get_name() != "help");
            left.extend(verbs.map(|it| (format!("{name}-{}", it.get_name()), it.clone())));
            // a group's page may be that of the program of its name
            if name.contains('-') && command.has_subcommands() {
                continue;
            }
            let flags = command.get_arguments().filter(|it| !it.is_hide_set());
            for flag in flags.filter_map(clap::Arg::get_long) {
                assert!(
                    page.contains(&format!("\\-\\-{}", flag.replace('-', "\\-"))),
                    "{name}: {flag}"
                );
            }
        }
    }
    assert!(pages > 60, "{pages}");
}

#[test]
fn the_crates_that_were_asked_for_carry_their_part_and_are_not_merely_listed() {
    let asked =
        ["clap", "humantime", "postgres", "procfs", "prometheus", "rustix", "serde", "tempfile"];
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let code: Vec<String> = files(&root().join("src"), ".rs")
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| code(path))
        .collect();
    for name in asked {
        assert!(manifest["dependencies"].as_table().unwrap().contains_key(name), "{name}");
        let path = format!("{name}::");
        let called = |text: &String| {
            let mut before = text.match_indices(&path).map(|(at, _)| &text[..at]);
            before.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        assert!(code.iter().any(called), "{name} is called nowhere outside tests");
    }
}

#[test]
fn no_script_of_a_test_denies_what_nobody_hears() {
    // `set -e` passes over a command that is denied with `!`, unless it is the last one or in parentheses
    let denied = regex::Regex::new(r#"(?:^\s*|["; ])(! [a-z({\[$].*)"#).unwrap();
    let aside = regex::Regex::new(r"'[^']*'|\$\([^)]*\)").unwrap();
    let mut odd = Vec::new();
    for path in files(Path::new("tests"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        for (nth, line) in text.lines().enumerate() {
            let Some(found) = denied.captures(line).and_then(|it| it.get(1)) else { continue };
            let is_condition =
                ["until ", "while ", "if "].iter().any(|it| line[..found.start()].ends_with(it));
            let (rest, ends) = match found.as_str().split_once('"') {
                Some((rest, _)) => (rest, true),
                None => (found.as_str(), false),
            };
            let rest = aside.replace_all(rest, "");
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && !is_condition && (rest.contains(';') || !ends) {
                odd.push(format!("{}:{}: {}", path.display(), nth + 1, line.trim()));
            }
        }
    }
    assert!(odd.is_empty(), "put it in parentheses:\n{}", odd.join("\n"));
}
