//! The house in order: rules of this repository that a compiler does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The way through the code: a module uses only what stands left of it. Those of one rank do not
/// know each other.
const ARROW: [(&str, u32); 10] = [
    ("sys", 0),
    ("cli", 0),
    ("config", 1),
    ("probes", 2),
    ("decide", 3),
    ("queue", 3),
    ("act", 4),
    ("report", 5),
    ("operator", 6),
    ("kit", 6),
];

/// What DESIGN gives each program: whether it runs as root, its units, the sentinel if it acts, its
/// playbook.
struct Tool {
    name: &'static str,
    root: bool,
    units: &'static [&'static str],
    sentinel: Option<&'static str>,
    playbook: Option<&'static str>,
}

const TOOLS: [Tool; 6] = [
    Tool {
        name: "unwedge-mounts",
        root: true,
        units: &["unwedge-mounts.service", "unwedge-mounts.timer"],
        sentinel: Some("mounts"),
        playbook: Some("verdict-dead.md"),
    },
    Tool {
        name: "unwedge-binds",
        root: true,
        units: &["unwedge-binds.service"],
        sentinel: Some("binds"),
        playbook: Some("storage-not-live.md"),
    },
    Tool {
        name: "unwedge-worker",
        root: true,
        units: &["unwedge-worker.service", "unwedge-worker.timer"],
        sentinel: Some("worker"),
        playbook: Some("worker-stopped-by-operator.md"),
    },
    Tool {
        name: "unwedge-jobs",
        root: false,
        units: &["unwedge-jobs.service", "unwedge-jobs.timer"],
        sentinel: Some("jobs"),
        playbook: Some("queue-unknown.md"),
    },
    Tool {
        name: "unwedge-watch",
        root: true,
        units: &["unwedge-watch.service", "mount-unit-on-failure.conf"],
        sentinel: None,
        playbook: None,
    },
    Tool { name: "unwedge", root: false, units: &[], sentinel: None, playbook: None },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` whose name ends so.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
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

fn is_test(path: &Path) -> bool {
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
fn each_program_has_what_the_design_gives_it() {
    let shipped: BTreeSet<String> = files(&root().join("src/bin"), ".rs")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(shipped, TOOLS.iter().map(|tool| tool.name.to_owned()).collect());
    for tool in TOOLS {
        for unit in tool.units {
            assert!(root().join("systemd").join(unit).is_file(), "{unit} is missing");
        }
        if let Some(sentinel) = tool.sentinel {
            assert!(root().join("sentinels.example").join(sentinel).is_file(), "{sentinel}");
        }
        if let Some(playbook) = tool.playbook {
            assert!(root().join("playbooks").join(playbook).is_file(), "{playbook}");
        }
        let lines = fs::read_to_string(root().join(format!("src/bin/{}.rs", tool.name))).unwrap();
        assert!(lines.lines().count() <= 150, "{} does not read as five steps", tool.name);
    }
}

#[test]
fn a_program_that_runs_as_root_links_no_database_no_tls_and_no_async_runtime() {
    for tool in TOOLS.iter().filter(|tool| tool.root) {
        // all of them are built into one directory
        let program = Path::new(env!("CARGO_BIN_EXE_unwedge-mounts")).with_file_name(tool.name);
        let symbols = Command::new("/usr/bin/nm").arg("-C").arg(program).output().unwrap();
        let symbols = String::from_utf8_lossy(&symbols.stdout);
        assert!(symbols.contains("unwedge::decide"), "a program without symbols proves nothing");
        for foreign in
            ["sqlite3_", "tokio::", "rustls::", "SSL_", "postgres::", "hyper::", "ureq::"]
        {
            assert!(!symbols.contains(foreign), "{}: {foreign}", tool.name);
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
        if name == "Cargo.lock" {
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
    for verb in
        ["config-check", "sentinel-arm", "hold-set", "state-reset", "mounts-forget", "debts"]
    {
        assert!(dir.path().join(format!("unwedge-{verb}.1")).is_file(), "{verb}");
    }
    for completion in
        ["unwedge.bash", "_unwedge", "unwedge.fish", "unwedge-mounts.bash", "unwedge-jobs.bash"]
    {
        assert!(dir.path().join(completion).is_file(), "{completion}");
    }
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
