//! What a released version wrote is read by this one: its configuration, what its tools remember, the stories it told,
//! and what others read of its JSON. A version that changes one of them names the change in CHANGELOG.md, with the
//! command that makes the new of the old.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use unwedge::probes::incidents;
use unwedge::probes::jobs::StoredFacts;
use unwedge::probes::messages::Messages;
use unwedge::probes::records::{
    self, Debts, Guards, Heartbeats, Holds, Installed, MountsState, Record, RunnerState,
    UpkeepState, WorkerState,
};
use unwedge::queue::spool::Spool;
use unwedge::{config, manifest};

use crate::support::Lab;

/// One folder a version.
fn versions() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/released");
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn the_configuration_of_each_released_version_means_what_it_meant() {
    for version in versions() {
        let text = fs::read_to_string(version.join("unwedge.toml")).unwrap();
        let settings = config::from_str(&text)
            .unwrap_or_else(|errors| panic!("{}: {errors}", version.display()));
        // every section of it is there
        assert!(settings.worker.is_some() && settings.queue.is_some() && settings.notify.is_some());
        assert!(
            !settings.mount.is_empty()
                && !settings.bind.is_empty()
                && !settings.doctor.patterns.is_empty()
        );
    }
}

fn is_read<R: Record + PartialEq>(dir: &Path) {
    let path = dir.join(format!("{}.json", R::NAME));
    let read: R = records::parse(&fs::read(&path).unwrap())
        .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    assert!(read != R::default(), "{}: there is nothing in it", path.display());
}

#[test]
fn what_each_released_version_remembered_is_read() {
    for version in versions() {
        let dir = version.join("state");
        is_read::<MountsState>(&dir);
        is_read::<WorkerState>(&dir);
        is_read::<Debts>(&dir);
        is_read::<Guards>(&dir);
        is_read::<Holds>(&dir);
        is_read::<Installed>(&dir);
        is_read::<StoredFacts>(&dir);
        is_read::<Messages>(&dir);
        is_read::<RunnerState>(&dir);
        is_read::<UpkeepState>(&dir);
        is_read::<Heartbeats>(&dir);
        is_read::<Spool>(&dir);
        let known: BTreeSet<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        let written = manifest::TOOLS.iter().flat_map(|tool| tool.record_files());
        for file in written {
            assert!(known.contains(&file), "{}: there is no {file}", version.display());
        }
        let story = incidents::parse(
            "2026-11-24-1",
            true,
            &fs::read(version.join("incident.jsonl")).unwrap(),
        );
        assert_eq!((story.unreadable, story.root(), story.cause()), (0, "/srv/storagebox", "dead"));
        assert!(story.events.len() > 5);
    }
}

/// Every way to a value, with `[]` for the entries of a list.
fn ways(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                ways(value, &format!("{at}.{key}"), found);
            }
        }
        Value::Array(items) => {
            for item in items {
                ways(item, &format!("{at}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(at.to_owned());
        }
    }
}

lab_test! {
    fn what_others_read_of_a_released_versions_json_is_still_there(lab) {
        let lab: Lab = lab;
        let path = lab.root("box");
        lab.configure("", &lab.listed(&path));
        lab.fault(&path, &[]).kill();
        lab.arm();
        let said = [
            ("mounts.json", lab.round(&["--json"]).stdout),
            ("apply.json", lab.round(&["--json", "--apply"]).stdout),
            ("incidents.json", lab.unwedge(&["incidents", "--json"]).stdout),
            ("debts.json", lab.unwedge(&["debts", "--json"]).stdout),
            ("verify-ops.json", lab.run(&lab.program.with_file_name("verify-ops"), &["--json"]).stdout),
        ];
        for version in versions() {
            for (name, said) in &said {
                let (mut then, mut now) = (BTreeSet::new(), BTreeSet::new());
                let file = version.join("json").join(name);
                let released: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
                let today: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{name}: {error}: {said}"));
                ways(&released, "", &mut then);
                ways(&today, "", &mut now);
                let gone: Vec<&String> = then.difference(&now).collect();
                assert!(gone.is_empty(), "{name} of {}: {gone:?}", version.display());
                let schema = released.get("schema");
                assert!(schema.is_none() || schema == today.get("schema"), "{name}");
            }
        }
    }
}
