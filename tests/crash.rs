//! The crash matrix. A round is killed with SIGKILL before and after every step and around every
//! write, and the rounds after it must end where an undisturbed one does: same verdicts, same
//! layers, nothing owed, nothing charged twice, nothing forgotten.
//!
//! The places are not listed here: each scenario runs once undisturbed and the program itself says
//! what it passed. [`every_step_and_every_write_is_killed_somewhere`] holds that against the list
//! of verbs and files, so a new one without a scenario fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::WaitOptions;
use serde_json::Value;
use unwedge::act::failpoint::{Moment, VARIABLE};
use unwedge::decide::plan::Verb;
use unwedge::manifest::MOUNTS;
use unwedge::probes::gate;
use unwedge::probes::mountinfo::{self, Mount};
use unwedge::probes::records::{self, Debts, MountsState, Record};
use unwedge::sys::clock::Now;

use crate::support::lab::{all_ok, holds, steps};
use crate::support::{Fault, Lab, failpoints};

/// Where the places passed are written, see `act::failpoint`.
const LOG: &str = "UNWEDGE_FAILPOINT_LOG";
/// Rounds that a killed one may take to be made good.
const ROUNDS_AFTER: usize = 2;

/// Something broken, always made anew.
struct Scenario {
    name: &'static str,
    services: Services,
    /// Paths below the root that the config lists.
    listed: &'static [&'static str],
    /// Binds of the config: cold and hot, below the root.
    binds: &'static [(&'static str, &'static str)],
    /// Whether an absence is only made good when it is owed: the confirmation of any other takes
    /// longer than the test, so that a debt that was not written down shows.
    only_owed: bool,
    /// Whether a worker runs on it, which has to be stopped for the repair, and is up in the end.
    worker: bool,
    broken: fn(&Lab) -> Vec<Fault>,
    /// Data that must be readable in the end.
    served: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Services {
    Process,
    Systemd,
}

const DEAD_LISTED: Scenario = Scenario {
    name: "dead, listed",
    services: Services::Process,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| vec![dead(lab, "box")],
    served: &["box"],
};

const HUNG_LISTED: Scenario = Scenario {
    name: "hung, listed",
    services: Services::Process,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| vec![hung(lab, "box")],
    served: &["box"],
};

const HUNG_UNLISTED: Scenario = Scenario {
    name: "hung, unlisted",
    services: Services::Process,
    listed: &[],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| vec![hung(lab, "box")],
    served: &[],
};

const DEAD_UNLISTED: Scenario = Scenario {
    name: "dead, unlisted",
    services: Services::Process,
    listed: &[],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| vec![dead(lab, "box")],
    served: &[],
};

const ABSENT_LISTED: Scenario = Scenario {
    name: "absent, listed",
    services: Services::Process,
    listed: &["box"],
    binds: &[],
    only_owed: false,
    worker: false,
    broken: |lab| {
        fs::create_dir_all(lab.root("box")).unwrap();
        vec![]
    },
    served: &["box"],
};

const TWO_DEAD: Scenario = Scenario {
    name: "two dead bases",
    services: Services::Process,
    listed: &["box", "other"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| vec![dead(lab, "box"), dead(lab, "other")],
    served: &["box", "other"],
};

const STACK_LISTED: Scenario = Scenario {
    name: "two dead layers, listed",
    services: Services::Process,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| dead_stack(lab, "box"),
    served: &["box"],
};

const STACK_UNLISTED: Scenario = Scenario {
    name: "two dead layers, unlisted",
    services: Services::Process,
    listed: &[],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| dead_stack(lab, "box"),
    served: &[],
};

const NESTED: Scenario = Scenario {
    name: "a listed mount in a dead base",
    services: Services::Process,
    listed: &["box", "box/jobs/a"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| {
        let mut base = lab.fault(&lab.root("box"), &[]);
        let mut nested = lab.fault(&lab.root("box/jobs/a"), &[]);
        nested.kill();
        base.kill();
        vec![base, nested]
    },
    served: &["box", "box/jobs/a"],
};

const UNIT_DEAD: Scenario = Scenario {
    name: "dead, with a unit",
    services: Services::Systemd,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| {
        unit_is(lab, "box", "failed");
        vec![dead(lab, "box")]
    },
    served: &["box"],
};

const UNIT_HUNG: Scenario = Scenario {
    name: "hung, with a unit",
    services: Services::Systemd,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: false,
    broken: |lab| {
        unit_is(lab, "box", "active");
        vec![hung(lab, "box")]
    },
    served: &["box"],
};

const UNIT_ABSENT: Scenario = Scenario {
    name: "absent, with a unit",
    services: Services::Systemd,
    listed: &["box"],
    binds: &[],
    only_owed: false,
    worker: false,
    broken: |lab| {
        fs::create_dir_all(lab.root("box")).unwrap();
        unit_is(lab, "box", "inactive");
        vec![]
    },
    served: &["box"],
};

const BINDS: [(&str, &str); 2] = [("box/jobs/a", "jobs/a"), ("box/jobs/b", "jobs/b")];

const UNBOUND: Scenario = Scenario {
    name: "a live base without its binds",
    services: Services::Process,
    listed: &["box"],
    binds: &BINDS,
    only_owed: true,
    worker: false,
    broken: |lab| vec![lab.fault(&lab.root("box"), &[])],
    served: &["box"],
};

const DEAD_WITH_BINDS: Scenario = Scenario {
    name: "a dead base with its binds",
    services: Services::Process,
    listed: &["box"],
    binds: &BINDS,
    only_owed: true,
    worker: false,
    broken: |lab| {
        let mut fault = bound(lab);
        fault.kill();
        vec![fault]
    },
    served: &["box"],
};

const HUNG_WITH_BINDS: Scenario = Scenario {
    name: "a hung base with its binds",
    services: Services::Process,
    listed: &["box"],
    binds: &BINDS,
    only_owed: true,
    worker: false,
    broken: |lab| {
        let mut fault = bound(lab);
        fault.order("swallow");
        vec![fault]
    },
    served: &["box"],
};

const OUTLIVED_BINDS: Scenario = Scenario {
    name: "binds of a base that was mounted anew",
    services: Services::Process,
    listed: &["box"],
    binds: &BINDS,
    only_owed: true,
    worker: false,
    broken: |lab| {
        let mut old = bound(lab);
        old.kill();
        unmount(lab.root("box"), UnmountFlags::DETACH).unwrap();
        vec![old, lab.fault(&lab.root("box"), &[])]
    },
    served: &["box"],
};

const UNDER_A_WORKER: Scenario = Scenario {
    name: "a dead base with its binds, under a worker",
    services: Services::Process,
    listed: &["box"],
    binds: &BINDS,
    only_owed: true,
    worker: true,
    broken: |lab| {
        let mut fault = bound(lab);
        fault.kill();
        vec![fault]
    },
    served: &["box"],
};

const HUNG_UNDER_A_WORKER: Scenario = Scenario {
    name: "a hung base under a worker",
    services: Services::Process,
    listed: &["box"],
    binds: &[],
    only_owed: true,
    worker: true,
    broken: |lab| vec![hung(lab, "box")],
    served: &["box"],
};

/// A live base with its binds, as the tool itself would have made them.
fn bound(lab: &Lab) -> Fault {
    let fault = lab.fault(&lab.root("box"), &[]);
    for (cold, hot) in BINDS {
        fs::create_dir_all(lab.root(hot)).unwrap();
        mount_bind(lab.root(cold), lab.root(hot)).unwrap();
    }
    fault
}

const ALL: [Scenario; 18] = [
    DEAD_LISTED,
    HUNG_LISTED,
    HUNG_UNLISTED,
    DEAD_UNLISTED,
    ABSENT_LISTED,
    TWO_DEAD,
    STACK_LISTED,
    STACK_UNLISTED,
    NESTED,
    UNIT_DEAD,
    UNIT_HUNG,
    UNIT_ABSENT,
    UNBOUND,
    DEAD_WITH_BINDS,
    HUNG_WITH_BINDS,
    OUTLIVED_BINDS,
    UNDER_A_WORKER,
    HUNG_UNDER_A_WORKER,
];

fn dead(lab: &Lab, name: &str) -> Fault {
    let mut fault = lab.fault(&lab.root(name), &[]);
    fault.kill();
    fault
}

fn hung(lab: &Lab, name: &str) -> Fault {
    let mut fault = lab.fault(&lab.root(name), &[]);
    fault.order("swallow");
    fault
}

fn dead_stack(lab: &Lab, name: &str) -> Vec<Fault> {
    let mut faults = vec![lab.fault(&lab.root(name), &[]), lab.fault(&lab.root(name), &[])];
    for fault in faults.iter_mut().rev() {
        fault.kill();
    }
    faults
}

fn unit_is(lab: &Lab, name: &str, active: &str) {
    fs::write(lab.dir.join(format!("units/{name}.service")), active).unwrap();
}

/// A small service manager: it knows units by a file with their state, and mounts
/// without making its caller wait, as `systemctl --no-block` does.
fn install_systemctl(lab: &Lab) {
    let dir = lab.dir.display();
    let unwedge = env!("CARGO_BIN_EXE_unwedge");
    let systemctl = format!(
        r#"#!/bin/sh
while [ "$1" != -- ]; do
    case $1 in show|start|restart) verb=$1 ;; esac
    shift
done
shift
for unit; do
    state={dir}/units/$unit
    case $verb in
    show)
        printf 'Id=%s\nLoadState=loaded\nActiveState=%s\nSubState=x\n' "$unit" "$(cat "$state")"
        printf 'UnitFileState=enabled\nRequiredBy=\nBoundBy=\nConsistsOf=\n\n'
        ;;
    *)
        echo activating > "$state"
        {{ "{unwedge}" faultfs --background "{dir}/roots/${{unit%.service}}" &&
            echo active > "$state" || echo failed > "$state"; }} </dev/null >/dev/null 2>&1 &
        ;;
    esac
done
"#
    );
    fs::create_dir_all(lab.dir.join("bin")).unwrap();
    for (name, script) in [("systemctl", systemctl.as_str()), ("journalctl", "#!/bin/sh\n")] {
        let path = lab.dir.join("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Empty directories, the scenario's config, and what it breaks.
fn set_up(lab: &Lab, scenario: &Scenario) -> Vec<Fault> {
    for made in ["state", "run", "metrics", "roots", "units"] {
        let dir = lab.dir.join(made);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
    }
    // a charge that was taken wrongly, or not resumed, is seen by what the cool-down then holds
    let mut mounts = "budget.cooldown = \"15m\"\nbudget.per_target_per_day = 3\n".to_owned();
    if scenario.only_owed {
        mounts.push_str("confirm.absent = { runs = 100, age = \"1h\" }\n");
    }
    let more: String = scenario
        .listed
        .iter()
        .map(|name| match scenario.services {
            Services::Process => lab.listed(&lab.root(name)),
            Services::Systemd => format!(
                "[[mount]]\npath = \"{}\"\nfstype = \"fuse.faultfs\"\nwait = \"10s\"\nunit = \
                 \"{name}.service\"\n",
                lab.root(name).display()
            ),
        })
        .collect();
    let binds = scenario.binds.iter().map(|(cold, hot)| (lab.root(cold), lab.root(hot)));
    let binds: String = binds.map(|(cold, hot)| lab.bound(&cold, &hot)).collect();
    let worker = if scenario.worker { worker_of_files(lab) } else { String::new() };
    lab.configure(&mounts, &(more + &binds + &worker));
    if scenario.services == Services::Systemd {
        let dir = lab.dir.display();
        let systemd = format!(
            "services = \"systemd\"\nsystemctl = \"{dir}/bin/systemctl\"\njournalctl = \
             \"{dir}/bin/journalctl\""
        );
        let config = fs::read_to_string(&lab.config).unwrap();
        fs::write(&lab.config, config.replace("services = \"process\"", &systemd)).unwrap();
    }
    lab.arm();
    (scenario.broken)(lab)
}

/// A worker that is a file. It notes when it is started on storage that cannot be read, and how often it was
/// stopped and started. It is up.
fn worker_of_files(lab: &Lab) -> String {
    let data = lab.root("box/data.txt");
    let script = |name: &str, text: &str| {
        let file = lab.dir.join("units").join(name);
        let text = format!("#!/bin/sh\ncd {}\n{text}\n", lab.dir.join("units").display());
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{name} = [\"{}\"]\n", file.display())
    };
    fs::write(lab.dir.join("units/up"), "").unwrap();
    fs::write(lab.dir.join("sentinels/worker"), "armed by a test\n").unwrap();
    let start = format!("cat {} >/dev/null || :>too-early; :>up", data.display());
    script("start", &start).replacen("start", "[worker]\nverify = \"20ms\"\nstart", 1)
        + &script("stop", ":>stopped; rm up")
        + &script("status", "test -e up")
}

/// Whether the worker is up, was ever stopped, and was ever started too early.
fn worker_end(lab: &Lab) -> [bool; 3] {
    ["up", "stopped", "too-early"].map(|name| lab.dir.join("units").join(name).exists())
}

fn mounts_below(root: &Path) -> Vec<Mount> {
    let table = mountinfo::read_bytes(Path::new(mountinfo::MOUNTINFO)).unwrap();
    let mounts = mountinfo::parse(&table).unwrap();
    mounts.into_iter().filter(|mount| mount.path.starts_with(root)).collect()
}

/// Ends every connection, then takes the mounts away, outermost first: a path below a dead one
/// cannot be walked.
fn tear_down(lab: &Lab, faults: Vec<Fault>) {
    let roots = lab.dir.join("roots");
    let mut mounts = mounts_below(&roots);
    for mount in &mounts {
        let abort = format!("/sys/fs/fuse/connections/{}/abort", mount.dev.minor);
        let _ = fs::write(abort, "1");
    }
    mounts.sort_by_key(|mount| mount.path.components().count());
    for mount in &mounts {
        let _ = unmount(&mount.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    assert!(mounts_below(&roots).is_empty());
    drop(faults);
    // we are PID 1 here: daemons that were left in the background are ours to reap
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
}

/// How one round ended, and the places it passed.
struct Passed {
    killed: bool,
    code: Option<i32>,
    round: Option<Value>,
    places: Vec<String>,
    stderr: String,
}

#[allow(clippy::disallowed_methods)]
fn round(lab: &Lab, die_at: Option<&str>) -> Passed {
    let log = lab.dir.join("places");
    let _ = fs::remove_file(&log);
    let mut command = Command::new(&lab.program);
    command.arg("--config").arg(&lab.config).args(["--json", "--apply"]).env(LOG, &log);
    if let Some(place) = die_at {
        command.env(VARIABLE, place);
    }
    let output = command.output().unwrap();
    Passed {
        killed: output.status.signal() == Some(9),
        code: output.status.code(),
        round: serde_json::from_slice(&output.stdout).ok(),
        places: fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A round that must do its job.
#[track_caller]
fn undisturbed(lab: &Lab, what: &str) -> (Value, Vec<String>) {
    let passed = round(lab, None);
    let json = passed.round.unwrap_or_else(|| panic!("{what}: no JSON: {}", passed.stderr));
    assert_eq!(passed.code, Some(0), "{what}: {json:#}\n{}", passed.stderr);
    (json, passed.places)
}

/// What is compared: everything that a person or another program could see of the outcome.
#[derive(Debug, PartialEq)]
struct End {
    verdicts: BTreeMap<String, (String, u64)>,
    data: BTreeMap<String, bool>,
    left_to_do: Vec<String>,
    holds: Vec<String>,
    debts: usize,
    open_charges: usize,
    charges: BTreeMap<PathBuf, usize>,
    /// Of those that were charged.
    repaired: BTreeMap<PathBuf, u64>,
    failed: u64,
    remembered: BTreeSet<PathBuf>,
    gate: BTreeMap<String, bool>,
    leftover_mounts: usize,
    worker: [bool; 3],
}

#[track_caller]
fn end(lab: &Lab, scenario: &Scenario, round: &Value, what: &str) -> End {
    let now = Now::take().unwrap();
    let state: MountsState = records::read(&lab.dir.join("state"), &now).unwrap();
    let debts: Debts = records::read(&lab.dir.join("state"), &now).unwrap();
    check_metrics(&lab.dir.join("metrics"), what);
    let mut charges = BTreeMap::new();
    for charge in &state.charges {
        *charges.entry(charge.path.clone()).or_default() += 1;
    }
    let gate: Value =
        serde_json::from_slice(&fs::read(lab.dir.join("run").join(gate::FILE)).unwrap()).unwrap();
    let observations = round["observations"].as_array().unwrap();
    End {
        verdicts: observations
            .iter()
            .map(|seen| {
                let verdict = seen["verdict"].as_str().unwrap().to_owned();
                let path = seen["path"].as_str().unwrap().to_owned();
                (path, (verdict, seen["layers"].as_u64().unwrap()))
            })
            .collect(),
        data: scenario
            .served
            .iter()
            .map(|name| {
                let read = fs::read_to_string(lab.root(name).join("data.txt"));
                ((*name).to_owned(), read.is_ok_and(|text| text == "the data is here\n"))
            })
            .collect(),
        left_to_do: steps(round),
        holds: holds(round),
        debts: debts.debts.len(),
        open_charges: state.charges.iter().filter(|charge| charge.open).count(),
        repaired: state
            .repairs
            .iter()
            .filter(|repairs| charges.contains_key(&repairs.path))
            .map(|repairs| (repairs.path.clone(), repairs.ok))
            .collect(),
        failed: state.repairs.iter().map(|repairs| repairs.failed).sum(),
        charges,
        remembered: state.remembered.into_iter().map(|remembered| remembered.path).collect(),
        gate: gate["paths"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, entry)| (path.clone(), entry["open"].as_bool().unwrap()))
            .collect(),
        leftover_mounts: mounts_below(&lab.dir.join("roots")).len(),
        worker: worker_end(lab),
    }
}

/// What `node_exporter` would refuse: a torn last line, a series or a HELP given twice, no number.
#[track_caller]
fn check_metrics(dir: &Path, what: &str) {
    let Ok(text) = fs::read_to_string(dir.join(MOUNTS.metrics_file())) else {
        panic!("{what}: no metrics");
    };
    assert!(text.ends_with('\n'), "{what}: the last line is torn");
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let key = if line.starts_with("# ") {
            line.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ")
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{what}: {line}");
            series.to_owned()
        };
        assert!(seen.insert(key), "{what}: twice: {line}");
    }
}

/// The state before a scenario's first round, and what its undisturbed run came to.
#[track_caller]
fn undisturbed_run(lab: &Lab, scenario: &Scenario) -> (End, Vec<String>) {
    let what = format!("{}, undisturbed", scenario.name);
    let faults = set_up(lab, scenario);
    let (_, places) = undisturbed(lab, &what);
    for _ in 0..ROUNDS_AFTER {
        undisturbed(lab, &what);
    }
    let (json, _) = undisturbed(lab, &what);
    let end = end(lab, scenario, &json, &what);
    assert!(end.data.values().all(|readable| *readable), "{what}: {end:#?}");
    assert_eq!((end.debts, end.open_charges), (0, 0), "{what}: {end:#?}");
    assert!(end.left_to_do.is_empty(), "{what}: {end:#?}");
    let stopped_and_back = [scenario.worker, scenario.worker, false];
    assert_eq!(end.worker, stopped_and_back, "{what}: {end:#?}");
    tear_down(lab, faults);
    (end, places)
}

/// Kills at `die_at`, one place a round, and lets [`ROUNDS_AFTER`] rounds make it good. Returns
/// the places that the first of those passed.
#[track_caller]
fn killed_run(lab: &Lab, scenario: &Scenario, die_at: &[&str], expected: &End) -> Vec<String> {
    let what = format!("{}, killed at {}", scenario.name, die_at.join(", then at "));
    let faults = set_up(lab, scenario);
    for place in die_at {
        let passed = round(lab, Some(place));
        assert!(passed.killed, "{what}: it lived: {:?} {}", passed.places, passed.stderr);
        check_no_torn_file(lab, &what);
    }
    let mut places = Vec::new();
    for after in 0..ROUNDS_AFTER {
        let (_, passed) = undisturbed(lab, &what);
        if after == 0 {
            places = passed;
        }
    }
    // one more look: it must find nothing to do, and change nothing
    let (last, _) = undisturbed(lab, &what);
    let ended = end(lab, scenario, &last, &what);
    assert_eq!(&ended, expected, "{what}");
    tear_down(lab, faults);
    places
}

/// Whatever moment it was killed at, each file is whole: the old or the new.
#[track_caller]
fn check_no_torn_file(lab: &Lab, what: &str) {
    let now = Now::take().unwrap();
    let state = lab.dir.join("state");
    records::read::<MountsState>(&state, &now).unwrap_or_else(|error| panic!("{what}: {error}"));
    records::read::<Debts>(&state, &now).unwrap_or_else(|error| panic!("{what}: {error}"));
    if lab.dir.join("metrics").join(MOUNTS.metrics_file()).exists() {
        check_metrics(&lab.dir.join("metrics"), what);
    }
    if let Ok(gate) = fs::read(lab.dir.join("run").join(gate::FILE)) {
        serde_json::from_slice::<Value>(&gate).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// The matrix of one scenario. With `twice`, a second kill follows each first one, at a place that
/// the round after it was seen to pass, a different one each time.
#[track_caller]
fn matrix(lab: &mut Lab, scenario: &Scenario, twice: bool) {
    lab.program = failpoints::program();
    install_systemctl(lab);
    let start = Instant::now();
    let (expected, places) = undisturbed_run(lab, scenario);
    assert!(!places.is_empty(), "{} has no failpoints", lab.program.display());
    let mut runs = 0;
    for (nth, place) in places.iter().enumerate() {
        let next = killed_run(lab, scenario, &[place], &expected);
        runs += 1;
        if twice && !next.is_empty() {
            // a stride that is prime to most lengths walks all over them
            let second = &next[(nth * 5) % next.len()];
            killed_run(lab, scenario, &[place, second], &expected);
            runs += 1;
        }
    }
    println!("{}: {} places, {runs} runs, {:?}", scenario.name, places.len(), start.elapsed());
}

lab_test! {
    fn killed_anywhere_a_dead_listed_mount_is_healed_as_if_undisturbed(lab) {
        matrix(&mut lab, &DEAD_LISTED, true);
    }
}

lab_test! {
    fn killed_anywhere_a_hung_listed_mount_is_healed_as_if_undisturbed(lab) {
        matrix(&mut lab, &HUNG_LISTED, false);
    }
}

lab_test! {
    fn killed_anywhere_a_hung_unlisted_mount_is_taken_away_and_remembered(lab) {
        matrix(&mut lab, &HUNG_UNLISTED, false);
    }
}

lab_test! {
    fn killed_anywhere_a_dead_unlisted_mount_is_taken_away_and_remembered(lab) {
        matrix(&mut lab, &DEAD_UNLISTED, true);
    }
}

lab_test! {
    fn killed_anywhere_an_absent_listed_mount_is_mounted_once(lab) {
        matrix(&mut lab, &ABSENT_LISTED, false);
    }
}

lab_test! {
    fn killed_anywhere_both_of_two_dead_bases_are_healed(lab) {
        matrix(&mut lab, &TWO_DEAD, false);
    }
}

lab_test! {
    fn killed_anywhere_a_base_gets_its_binds_back_as_if_undisturbed(lab) {
        matrix(&mut lab, &UNBOUND, false);
        matrix(&mut lab, &DEAD_WITH_BINDS, false);
    }
}

lab_test! {
    fn killed_anywhere_binds_are_swapped_once_for_one_charge(lab) {
        matrix(&mut lab, &HUNG_WITH_BINDS, false);
        matrix(&mut lab, &OUTLIVED_BINDS, false);
    }
}

lab_test! {
    fn killed_anywhere_a_worker_that_was_stopped_is_back_within_two_rounds_and_never_too_early(lab) {
        matrix(&mut lab, &UNDER_A_WORKER, true);
        matrix(&mut lab, &HUNG_UNDER_A_WORKER, false);
    }
}

lab_test! {
    fn killed_anywhere_a_stack_of_dead_layers_is_taken_down_for_one_charge(lab) {
        matrix(&mut lab, &STACK_LISTED, false);
        matrix(&mut lab, &STACK_UNLISTED, false);
    }
}

lab_test! {
    fn killed_anywhere_a_mount_nested_in_a_dead_base_comes_back_after_it(lab) {
        matrix(&mut lab, &NESTED, true);
    }
}

lab_test! {
    fn killed_anywhere_a_mount_with_a_unit_is_started_once(lab) {
        matrix(&mut lab, &UNIT_DEAD, false);
        matrix(&mut lab, &UNIT_ABSENT, false);
    }
}

lab_test! {
    fn killed_anywhere_a_hung_mount_with_a_unit_is_restarted_once(lab) {
        matrix(&mut lab, &UNIT_HUNG, false);
    }
}

/// A base that does not come back, with a listed mount below it, whose directory is there on the
/// bare disk too.
fn base_that_fails(lab: &Lab) -> (PathBuf, PathBuf) {
    let (base, nested) = (lab.root("box"), lab.root("box/jobs/a"));
    fs::create_dir_all(&nested).unwrap();
    let failing = format!(
        "[[mount]]\npath = \"{}\"\nfstype = \"fuse.faultfs\"\nwait = \"1s\"\nremount = \
         [\"/usr/bin/false\"]\n",
        base.display()
    );
    lab.configure("", &[failing, lab.listed(&nested)].concat());
    lab.arm();
    (base, nested)
}

lab_test! {
    fn nothing_is_mounted_on_the_bare_directory_of_its_base(lab) {
        let (base, nested) = base_that_fails(&lab);
        // the base's repair is planned and fails; then, in the back-off, it is not even planned
        for _ in 0..3 {
            let round = lab.apply();
            assert!(mounts_below(&lab.dir.join("roots")).is_empty(), "{round:#}");
            let held = format!("{} storage-not-live", nested.display());
            assert!(holds(&round).contains(&held), "{round:#}");
        }
        lab.configure("", &[lab.listed(&base), lab.listed(&nested)].concat());
        fs::remove_file(lab.dir.join("state/mounts.json")).unwrap();
        let round = lab.apply();
        assert!(all_ok(&round), "{round:#}");
        let mounts: Vec<PathBuf> =
            mounts_below(&lab.dir.join("roots")).into_iter().map(|mount| mount.path).collect();
        assert_eq!(mounts, [base, nested], "one on the other, in one round");
    }
}

/// A verb that is not here does not compile; one that no scenario reaches fails the test below. None: no round
/// over the mounts takes such a step, or it changes nothing that a next round would go on with.
fn reached_by(verb: Verb) -> Option<&'static Scenario> {
    Some(match verb {
        Verb::AbortConnection => &HUNG_LISTED,
        Verb::Detach => &DEAD_UNLISTED,
        Verb::Remount | Verb::WaitLive => &ABSENT_LISTED,
        Verb::RestartUnit => &UNIT_DEAD,
        Verb::StartUnit => &UNIT_ABSENT,
        Verb::Bind => &UNBOUND,
        Verb::Rebind => &DEAD_WITH_BINDS,
        Verb::StopWorker | Verb::StartWorker => &UNDER_A_WORKER,
        Verb::HoldBack | Verb::RecoverJobs | Verb::ResetFailed => return None,
    })
}

lab_test! {
    fn every_step_and_every_write_is_killed_somewhere(lab) {
        lab.program = failpoints::program();
        install_systemctl(&lab);
        let mut all = BTreeSet::new();
        let mut of = BTreeMap::new();
        for scenario in &ALL {
            let (_, places) = undisturbed_run(&lab, scenario);
            let places: BTreeSet<String> = places
                .iter()
                .map(|place| place.split_once('#').unwrap().0.to_owned())
                .collect();
            all.extend(places.clone());
            of.insert(scenario.name, places);
        }
        let place = |moment: Moment, what: &str| format!("{}:{what}", moment.name());
        let mut expected = BTreeSet::new();
        for verb in Verb::ALL {
            let Some(scenario) = reached_by(verb) else { continue };
            for moment in Moment::OF_STEP {
                let place = place(moment, verb.name());
                assert!(of[scenario.name].contains(&place), "{place}");
                expected.insert(place);
            }
        }
        let records = [MountsState::NAME, Debts::NAME].map(|name| format!("{name}.json"));
        let others = [gate::FILE.to_owned(), MOUNTS.metrics_file()];
        for file in records.iter().chain(&others) {
            expected.extend(Moment::OF_WRITE.map(|moment| place(moment, file)));
        }
        // the story is only added to: a line is there, or it is not
        expected.extend(Moment::OF_STEP.map(|moment| place(moment, "incident")));
        // both ways: nothing unreached, and no step or file that this test does not know
        assert_eq!(all, expected);
    }
}

/// Whoever can set a variable must not be able to stop repairs half way.
#[cfg(not(feature = "failpoints"))]
mod without_the_feature {
    use super::*;

    lab_test! {
        fn the_program_that_is_shipped_has_no_failpoints(lab) {
            install_systemctl(&lab);
            let faults = set_up(&lab, &DEAD_LISTED);
            let passed = round(&lab, Some("before:mounts.json"));
            assert!(!passed.killed && passed.code == Some(0), "{}", passed.stderr);
            assert!(passed.places.is_empty());
            tear_down(&lab, faults);
            let mut programs = vec![lab.program.clone()];
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            programs.push(root.join("target/release/unwedge-mounts"));
            programs.push(root.join("target/dist/unwedge-mounts"));
            for program in programs.iter().filter(|program| program.exists()) {
                let bytes = fs::read(program).unwrap();
                let has = bytes.windows(VARIABLE.len()).any(|word| word == VARIABLE.as_bytes());
                assert!(!has, "{} knows {VARIABLE}", program.display());
            }
        }
    }
}
