//! Tests of the whole load: layers and their order, what is read by whom, and what is told when it is wrong.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::fragment::{QueueFragment, TableFragment, WorkerFragment};
use super::*;

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/unwedge.toml.example"));

/// A host in a directory: etc, home and project below it, and nothing of the real one.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let stage = Self { dir: tempfile::tempdir().expect("a directory") };
        for (name, text) in files {
            stage.put(name, text);
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    }

    /// The request of an ordinary user to whom these files belong.
    fn user(&self) -> Request {
        let me = rustix::process::geteuid().as_raw();
        Request {
            system_dir: self.path("etc"),
            home: Some(self.path("home")),
            cwd: Some(self.path("project")),
            euid: if me == 0 { 1000 } else { me },
            ..Request::default()
        }
    }

    /// The request of root; none if the files here cannot be root's.
    fn root(&self) -> Option<Request> {
        let request = Request { euid: 0, ..self.user() };
        rustix::process::geteuid().is_root().then_some(request)
    }

    /// What a load told, with the directory taken out.
    fn told(&self, request: &Request) -> String {
        let told = load(request).expect_err("something is wrong").to_string();
        told.replace(&self.dir.path().display().to_string(), "")
    }

    fn files(&self, loaded: &Loaded) -> Vec<String> {
        let name = |path: &PathBuf| {
            path.strip_prefix(self.dir.path()).expect("below").display().to_string()
        };
        loaded.files.iter().map(name).collect()
    }
}

fn timeout(text: &str) -> String {
    format!("[probe]\ntimeout = \"{text}\"\n")
}

fn var(name: &str, value: &str) -> (std::ffi::OsString, std::ffi::OsString) {
    (name.into(), value.into())
}

const ALL_FILES: [&str; 5] = [
    "etc/unwedge.toml",
    "etc/conf.d/10-a.toml",
    "etc/conf.d/9-b.toml",
    "home/.config/unwedge/unwedge.toml",
    "project/.unwedge/unwedge.toml",
];

fn all_files() -> Stage {
    let stage = Stage::new(&[]);
    for (n, name) in ALL_FILES.iter().enumerate() {
        stage.put(name, &timeout(&format!("{}s", n + 1)));
    }
    stage
}

fn probe_timeout(loaded: &Loaded) -> Duration {
    loaded.settings.probe.timeout
}

#[test]
fn no_file_at_all_gives_the_defaults_and_says_so() {
    let stage = Stage::new(&[]);
    let loaded = load(&stage.user()).expect("defaults");
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.files.is_empty() && loaded.skipped.is_empty());
}

#[test]
fn files_are_read_in_order_and_the_last_one_wins() {
    let stage = all_files();
    for n in (0..ALL_FILES.len()).rev() {
        let loaded = load(&stage.user()).expect("all are right");
        assert_eq!(stage.files(&loaded), &ALL_FILES[..=n]);
        assert_eq!(probe_timeout(&loaded), Duration::from_secs(n as u64 + 1));
        std::fs::remove_file(stage.path(ALL_FILES[n])).expect("removed");
    }
}

#[test]
fn root_reads_neither_the_users_nor_the_projects_file() {
    let stage = all_files();
    let Some(request) = stage.root() else { return };
    let loaded = load(&request).expect("all are roots");
    assert_eq!(stage.files(&loaded), &ALL_FILES[..3]);
}

#[test]
fn a_named_file_takes_the_place_of_all_others() {
    let stage = all_files();
    stage.put("own.toml", "[mounts]\ndeadline = \"5m\"\n");
    let request = Request {
        file: Some(stage.path("own.toml")),
        environment: vec![var("UNWEDGE__PROBE__TIMEOUT", "9s")],
        ..stage.user()
    };
    let loaded = load(&request).expect("it is right");
    assert_eq!(stage.files(&loaded), ["own.toml"]);
    assert_eq!(loaded.settings.mounts.deadline, Duration::from_secs(300));
    assert_eq!(probe_timeout(&loaded), Duration::from_secs(9));
}

#[test]
fn a_named_file_must_be_there() {
    let stage = all_files();
    let request = Request { file: Some(stage.path("none.toml")), ..stage.user() };
    assert_eq!(stage.told(&request), "/none.toml: no such file");
}

#[test]
fn xdg_takes_the_place_of_home() {
    let stage = all_files();
    stage.put("xdg/unwedge/unwedge.toml", &timeout("7s"));
    std::fs::remove_file(stage.path(ALL_FILES[4])).expect("removed");
    let request = Request { xdg: Some(stage.path("xdg")), ..stage.user() };
    assert_eq!(probe_timeout(&load(&request).expect("it is right")), Duration::from_secs(7));
}

#[test]
fn the_environment_wins_over_files_and_flags_over_both() {
    let stage = all_files();
    let mut request =
        Request { environment: vec![var("UNWEDGE__PROBE__TIMEOUT", "8s")], ..stage.user() };
    let loaded = load(&request).expect("it is right");
    assert_eq!(probe_timeout(&loaded), Duration::from_secs(8));
    let key = KeyPath::of(&["probe", "timeout"]);
    assert_eq!(loaded.tree.origin_of(&key), Origin::Variable("UNWEDGE__PROBE__TIMEOUT".into()));
    request.flags = vec![Flag { name: "--timeout".into(), key, value: "9s".into() }];
    assert_eq!(probe_timeout(&load(&request).expect("it is right")), Duration::from_secs(9));
}

#[test]
fn a_variable_sets_each_key_of_jobs_as_a_file_does() {
    // every key there is, as it is told to who writes another
    let told =
        crate::config::from_str("[jobs]\ncolour = 1\n").expect_err("no such key").to_string();
    let (_, keys) = told.split_once("a table for one type: ").expect("keys");
    let (keys, _) = keys.split_once(", found").expect("keys alone");
    let keys: Vec<&str> =
        keys.split(',').map(|key| key.split_whitespace().next().unwrap()).collect();
    assert!(keys.len() > 25 && keys.contains(&"slots") && keys.contains(&"keep_logs"), "{told}");
    let stage = Stage::new(&[("etc/unwedge.toml", "")]);
    let bucket = "[[bucket]]\nname = \"b\"\nendpoint = \"https://s3\"\nkey_file = \"/k\"\n";
    for key in keys {
        let name = format!("UNWEDGE__JOBS__{}", key.to_uppercase());
        let (value, with) = match key {
            "dir" | "sign_path" => ("/x", ""),
            "concurrency" | "slots" | "rescues" | "min_free_mib" | "min_free_inodes" => ("7", ""),
            "mode" => ("container", "image = \"y\"\n"),
            "image" | "network" => ("x", ""),
            "pull" => ("missing", ""),
            "autostart" => ("true", ""),
            "sign_bucket" => ("b", "sign_key = \"y\"\n"),
            "sign_key" => ("x", "sign_bucket = \"b\"\n"),
            "engine" => {
                let request = Request { environment: vec![var(&name, "/x")], ..stage.user() };
                assert!(stage.told(&request).contains("no such key"), "a list is for a file");
                continue;
            }
            _ => ("7s", ""),
        };
        let line = match value {
            "7" | "true" => format!("{key} = {value}\n"),
            _ => format!("{key} = \"{value}\"\n"),
        };
        let of = |text: &str, environment: &[(&str, &str)]| {
            stage.put("etc/unwedge.toml", &format!("[jobs]\n{text}{bucket}"));
            let environment = environment.iter().map(|(name, value)| var(name, value)).collect();
            load(&Request { environment, ..stage.user() }).map(|loaded| loaded.settings)
        };
        let by_variable = of(with, &[(&name, value)]).expect(key);
        assert_eq!(by_variable, of(&format!("{with}{line}"), &[]).expect(key), "{key}");
        assert!(of(with, &[]).ok().is_none_or(|usual| usual != by_variable), "{key}: no effect");
    }
    let name = "UNWEDGE__JOBS__OCR__CONCURRENCY";
    stage.put("etc/unwedge.toml", "[jobs.ocr]\nconcurrency = 1\n");
    let request = Request { environment: vec![var(name, "7")], ..stage.user() };
    let jobs = load(&request).expect("it is right").settings.jobs.expect("there are jobs");
    assert_eq!(jobs.concurrency_of("ocr", Some(2)), 7);
}

#[test]
fn a_bad_value_from_outside_names_the_variable() {
    let stage = Stage::new(&[]);
    let request = Request {
        environment: vec![
            var("UNWEDGE__PROBE__TIMEOUT", "1ms"),
            var("UNWEDGE__MOUNTS__BUDGET__PER_DAY", "many"),
        ],
        ..stage.user()
    };
    assert_eq!(
        stage.told(&request),
        "UNWEDGE__MOUNTS__BUDGET__PER_DAY: [mounts.budget] per_day: expected a whole number, found the text \"many\""
    );
    let request =
        Request { environment: vec![var("UNWEDGE__PROBE__TIMEOUT", "1ms")], ..stage.user() };
    assert_eq!(
        stage.told(&request),
        "UNWEDGE__PROBE__TIMEOUT: [probe] timeout: 1ms is too short, expected at least 100ms"
    );
}

#[test]
fn only_visible_toml_files_are_drop_ins() {
    let stage = Stage::new(&[
        ("etc/conf.d/a.toml", "[probe]\n"),
        ("etc/conf.d/.hidden.toml", "nonsense"),
        ("etc/conf.d/a.toml~", "nonsense"),
        ("etc/conf.d/README", "nonsense"),
    ]);
    assert_eq!(stage.files(&load(&stage.user()).expect("it is right")), ["etc/conf.d/a.toml"]);
    stage.put("etc/conf.d/dir.toml/x", "");
    assert_eq!(stage.told(&stage.user()), "/etc/conf.d/dir.toml: is not a regular file");
}

#[test]
fn mounts_of_all_files_add_up_and_twins_name_both_lines() {
    let stage = Stage::new(&[
        ("etc/unwedge.toml", "[[mount]]\npath = \"/srv/a\"\n"),
        ("etc/conf.d/b.toml", "# b\n[[mount]]\npath = \"/srv/b\"\nwait = \"5s\"\n"),
    ]);
    let loaded = load(&stage.user()).expect("both are right");
    let told: Vec<_> = loaded
        .settings
        .mount
        .iter()
        .map(|it| (it.path.to_str().expect("text"), it.wait.as_secs()))
        .collect();
    assert_eq!(told, [("/srv/a", 60), ("/srv/b", 5)]);
    stage.put("etc/conf.d/c.toml", "[[mount]]\npath = \"/srv/b\"\n");
    assert_eq!(
        stage.told(&stage.user()),
        "/etc/conf.d/c.toml:2: [[mount]] path: \"/srv/b\" is already listed at /etc/conf.d/b.toml:3; one [[mount]] a path"
    );
}

#[test]
fn the_message_of_a_slip_reads_as_promised() {
    let lines = "\n".repeat(10);
    let stage = Stage::new(&[("etc/unwedge.toml", &format!("{lines}[probe]\ntiemout = \"5s\"\n"))]);
    assert_eq!(
        stage.told(&stage.user()),
        "/etc/unwedge.toml:12: [probe] tiemout: unknown key; did you mean \"timeout\"?"
    );
}

#[test]
fn every_file_that_cannot_be_used_is_told() {
    let stage = Stage::new(&[
        ("etc/unwedge.toml", "a = \n"),
        ("etc/conf.d/b.toml", "[x\n"),
        ("project/.unwedge/unwedge.toml", "="),
    ]);
    let told = stage.told(&stage.user());
    let places: Vec<&str> = told.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        places,
        ["/etc/unwedge.toml:1", "/etc/conf.d/b.toml:1", "/project/.unwedge/unwedge.toml:1"],
        "{told}"
    );
}

#[test]
fn root_refuses_a_file_that_others_can_write() {
    let stage = Stage::new(&[("etc/unwedge.toml", "")]);
    let Some(request) = stage.root() else { return };
    std::fs::set_permissions(
        stage.path("etc/unwedge.toml"),
        std::fs::Permissions::from_mode(0o664),
    )
    .expect("a mode");
    assert_eq!(
        stage.told(&request),
        "/etc/unwedge.toml: owned by uid 0 with mode 0664, expected to be owned by root, and writable by nobody else, \
         because commands in it run as root; mend it with: chmod go-w /etc/unwedge.toml"
    );
    assert!(load(&stage.user()).is_ok());
    std::fs::set_permissions(
        stage.path("etc/unwedge.toml"),
        std::fs::Permissions::from_mode(0o644),
    )
    .expect("a mode");
    std::os::unix::fs::chown(stage.path("etc/unwedge.toml"), Some(1), None).expect("an owner");
    assert!(stage.told(&request).ends_with("chown root:root /etc/unwedge.toml"));
}

#[test]
fn root_may_link_a_file_but_the_target_is_judged() {
    let stage = Stage::new(&[("real.toml", "")]);
    let Some(request) = stage.root() else { return };
    std::fs::create_dir_all(stage.path("etc")).expect("a directory");
    symlink(stage.path("real.toml"), stage.path("etc/unwedge.toml")).expect("a link");
    assert_eq!(stage.files(&load(&request).expect("it is roots")), ["etc/unwedge.toml"]);
    std::os::unix::fs::chown(stage.path("real.toml"), Some(1), None).expect("an owner");
    assert!(stage.told(&request).contains("owned by uid 1 "));
}

#[test]
fn files_that_nobody_named_are_not_opened_on_storage_that_may_hang() {
    let stage = all_files();
    let mounts = |fstype: &str| {
        Mounts::known(vec![MountPoint {
            path: stage.path("project"),
            fstype: fstype.into(),
            may_hang: fstype != "ext4",
        }])
    };
    let loaded =
        load(&Request { mounts: mounts("fuse.sshfs"), ..stage.user() }).expect("it is right");
    assert_eq!(stage.files(&loaded), &ALL_FILES[..4]);
    assert_eq!(loaded.skipped.len(), 1);
    let loaded = load(&Request { mounts: mounts("ext4"), ..stage.user() }).expect("it is right");
    assert_eq!(stage.files(&loaded), &ALL_FILES);
}

#[test]
fn a_file_of_the_systems_that_leads_onto_storage_that_may_hang_is_refused_and_not_opened() {
    for linked in ["etc/unwedge.toml", "etc/conf.d/50-more.toml", "etc/conf.d", "etc"] {
        let stage = Stage::new(&[("box/unwedge.toml", ""), ("box/50-more.toml", "")]);
        let link = stage.path(linked);
        std::fs::create_dir_all(link.parent().expect("a parent")).expect("a directory");
        let name = link
            .file_name()
            .filter(|_| link.extension() == Some("toml".as_ref()))
            .unwrap_or_default();
        symlink(stage.path("box").join(name), &link).expect("a link");
        let request = |may_hang| Request {
            mounts: Mounts::known(vec![MountPoint {
                path: stage.path("box"),
                fstype: "fuse.sshfs".into(),
                may_hang,
            }]),
            ..stage.user()
        };
        let told = stage.told(&request(true));
        assert!(
            told.contains("/box") && told.contains("may hang; keep it on a local disk"),
            "{told}"
        );
        assert!(load(&request(false)).is_ok(), "{linked}");
        // whoever names it wants it
        let named = Request { file: Some(stage.path("box/unwedge.toml")), ..request(true) };
        assert!(load(&named).is_ok(), "{linked}");
    }
}

#[test]
fn the_digest_stays_when_only_places_change() {
    let digest =
        |files: &[(&str, &str)]| load(&Stage::new(files).user()).expect("it is right").digest();
    let defaults = digest(&[]);
    assert_eq!(defaults.len(), 16);
    assert_eq!(defaults, digest(&[("etc/unwedge.toml", "[probe]\ntimeout = \"5s\"\n")]));
    assert_ne!(defaults, digest(&[("etc/unwedge.toml", "[probe]\ntimeout = \"6s\"\n")]));
    assert_eq!(
        digest(&[("etc/unwedge.toml", "[[mount]]\npath = \"/a\"\n")]),
        digest(&[("etc/conf.d/m.toml", "\n\n[[mount]]\nwait = \"1m\"\npath = \"/a\"\n")])
    );
}

#[test]
fn what_is_shown_names_origins_and_loads_again() {
    let stage = Stage::new(&[(
        "etc/unwedge.toml",
        "[mounts]\ndeadline = \"5m\"\n[[mount]]\npath = \"/srv/a b\"\nunit = \"a.service\"\n",
    )]);
    let loaded = load(&stage.user()).expect("it is right");
    let shown = loaded.show();
    let has = |key: &str, origin: &str| {
        shown.lines().any(|line| line.starts_with(key) && line.ends_with(origin))
    };
    assert!(has("timeout = \"5s\"", " # default"), "{shown}");
    assert!(has("deadline = \"5m\"", "/etc/unwedge.toml:2"), "{shown}");
    assert!(has("path = \"/srv/a b\"", "/etc/unwedge.toml:4"), "{shown}");
    assert!(has("wait = \"1m\"", " # default"), "{shown}");
    assert_eq!(from_str(&shown), Ok(loaded.settings));
}

#[test]
fn every_default_is_shown() {
    let shown = load(&Stage::new(&[]).user()).expect("defaults").show();
    assert!(
        shown.lines().filter(|line| line.contains(" = ")).all(|line| line.ends_with(" # default")),
        "{shown}"
    );
    assert_eq!(from_str(&shown), Ok(Settings::default()));
}

#[test]
fn the_example_loads() {
    let settings = from_str(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(settings, Settings::default());
}

/// The commented keys of the example, switched on. A commented key begins its line with `#` and no space.
fn example_switched_on() -> String {
    let switch = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            setting.to_owned()
        }
        Some(_) | None => line.to_owned(),
    };
    EXAMPLE.lines().map(switch).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_with_everything_switched_on_loads_too() {
    let text = example_switched_on().replace("repair_under = []", "repair_under = [\"/srv\"]");
    // a host has either a queue of somebody else's or jobs of our own
    let (text, jobs) = text.split_once("\n[jobs]\n").unwrap();
    let own = from_str(&format!("[jobs]\n{jobs}")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(own.jobs.unwrap().each.len(), 1);
    let settings = from_str(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((settings.mount.len(), settings.bind.len()), (2, 1));
    assert!(settings.mounts.is_under_root(&settings.mount[0].path));
}

#[test]
fn the_example_has_every_key_with_its_default() {
    let example = Tree::parse(EXAMPLE, Path::new("example")).expect("the example is TOML");
    for (path, leaf) in defaults::tree().leaves() {
        let is_list = ["mount", "bind"].iter().any(|list| path == KeyPath::of(&[list]));
        let written = example.get(&path).map(Tree::inline);
        assert!(is_list || written.is_some(), "the example lacks {path} = {}", leaf.inline());
    }
    let switched_on =
        Tree::parse(&example_switched_on(), Path::new("example")).expect("the example is TOML");
    let mount: Vec<&str> = switched_on
        .leaves()
        .iter()
        .filter_map(|(path, _)| match path.0.as_slice() {
            [Step::Key(mount), Step::Index(_), Step::Key(key), ..] if mount == "mount" => {
                Some(["path", "unit", "source", "fstype", "wait"].into_iter().find(|it| it == key))
            }
            _ => None,
        })
        .flatten()
        .collect();
    for key in ["path", "unit", "source", "fstype", "wait"] {
        assert!(mount.contains(&key), "the example lacks [[mount]] {key}");
    }
    assert!(EXAMPLE.contains("remount ="), "the example lacks [[mount]] remount");
    for key in ["manifest", "cold", "hot", "dependents"] {
        assert!(EXAMPLE.contains(&format!("#{key}")), "the example lacks {key}");
    }
    for key in ["[queue.library]", "schema ", "output ", "columns "] {
        assert!(EXAMPLE.contains(&format!("# {key}")), "the example lacks {key}");
    }
    let keys =
        [keys::<WorkerFragment>(), keys::<QueueFragment>(), keys::<TableFragment>()].concat();
    assert!(keys.contains(&"quiet".to_owned()), "{keys:?}");
    // commands that take a unit's place, the address and the budget stand in words or in a table of their own
    let elsewhere = ["start", "stop", "status", "budget", "url", "table", "library"];
    for key in keys.iter().filter(|key| !elsewhere.contains(&key.as_str())) {
        let written = EXAMPLE.lines().any(|line| {
            line.trim_start_matches('#').split(' ').next() == Some(key) && line.contains('=')
        });
        assert!(written, "the example lacks {key}");
    }
}

/// What keys a table may have, by what is said of one that it may not.
fn keys<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
    let said = toml::from_str::<T>("no_such_key = 1").unwrap_err().message().to_owned();
    let (_, expected) = said.split_once("expected one of").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Text that looks enough like a configuration to get far into the loader.
fn any_config() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("timeout"),
        Just("deadline"),
        Just("repair_under"),
        Just("watch"),
        Just("path"),
        Just("unit"),
        Just("wait"),
        Just("remount"),
        Just("runs"),
        Just("age"),
        Just("per_day"),
        Just("services"),
        Just("user"),
        Just("confirm"),
        Just("state_dir"),
        Just("nonsense"),
        Just("\"\""),
    ];
    let value = prop_oneof![
        Just("0".to_owned()),
        Just("\"5s\"".to_owned()),
        Just("[\"/srv\", \"/\"]".to_owned()),
        Just("[]".to_owned()),
        Just("\"/srv/a\"".to_owned()),
        Just("{ runs = 1 }".to_owned()),
        Just("[{}, {}]".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("nan".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "\"[0-9]{1,22}[a-zµ]{0,3}\"",
        "\"[^\"\\\\\n]{0,10}\"",
    ];
    let section = prop_oneof![
        Just("[host]"),
        Just("[probe]"),
        Just("[mounts]"),
        Just("[mounts.confirm]"),
        Just("[mounts.confirm.dead]"),
        Just("[mounts.budget]"),
        Just("[[mount]]"),
        Just("[queue]"),
        Just("[\"\"]"),
    ];
    let line = prop_oneof![
        3 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => section.prop_map(str::to_owned),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

#[test]
fn depth_does_not_overflow_the_stack() {
    for deep in [
        format!("{}b = 1", "a.".repeat(200_000)),
        format!("[{}b]", "a.".repeat(200_000)),
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}1{}", "[".repeat(200_000), "]".repeat(200_000)),
        format!("a = {}", "{ b = ".repeat(100_000)),
    ] {
        assert!(from_str(&deep).is_err());
    }
}

fn all_is_told_in_lines(text: &str) {
    if let Err(problems) = from_str(text) {
        assert!(!problems.0.is_empty());
        assert_eq!(
            problems.to_string().lines().count(),
            problems.0.len().min(PROBLEMS_MAX + 1),
            "{problems}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        all_is_told_in_lines(&text);
    }

    #[test]
    fn near_configurations_never_panic(text in any_config()) {
        all_is_told_in_lines(&text);
    }

    #[test]
    fn arbitrary_variables_never_panic(name in "[A-Z_]{0,20}", value in any::<String>()) {
        let mut tree = defaults::tree();
        let name = format!("UNWEDGE__{name}");
        if overrides::apply(&mut tree, &[var(&name, &value)], &[]).is_ok() {
            let _ = settings_of(&tree, &[]);
        }
    }

    #[test]
    fn any_value_for_a_known_variable_never_panics(value in any::<String>()) {
        for (path, _) in defaults::tree().leaves() {
            let keys: Vec<String> = path.0.iter().map(|step| match step {
                Step::Key(key) => key.to_uppercase(),
                Step::Index(index) => index.to_string(),
            }).collect();
            let mut tree = defaults::tree();
            if overrides::apply(&mut tree, &[var(&format!("UNWEDGE__{}", keys.join("__")), &value)], &[]).is_ok() {
                let _ = settings_of(&tree, &[]);
            }
        }
    }
}
