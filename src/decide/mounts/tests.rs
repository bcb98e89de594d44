//! The decision as a table: one line a case, both sides of each limit; and random worlds in which
//! no step may ever be one that is forbidden.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::sentinel::{Halt, Permission};
use crate::probes::gates::{Access, LockLook, Namespace};
use crate::probes::holders::Process;
use crate::probes::identity::Identity;
use crate::probes::mountinfo::Dev;
use crate::probes::mounts::Role;
use crate::probes::records::{Attempts, Charge, Debt};
use crate::probes::units::Unit;

mod bind_tests;
mod quiesce_tests;

const PATH: &str = "/srv/box";

/// A world with one listed FUSE mount at [`PATH`], armed, with every gate open.
#[derive(Clone, Debug)]
struct Scene {
    settings: Settings,
    observations: Vec<Observation>,
    table: Result<(), TableError>,
    units: BTreeMap<String, UnitLook>,
    gates: Gates,
    state: MountsState,
    debts: Debts,
    now: Now,
    work: Work,
    worker: Option<WorkerLook>,
}

fn now() -> Now {
    Now { utc_ms: 1_800_000_000_000, boot_ms: 100_000_000, boot_id: "this".to_owned() }
}

fn ago(seconds: u64) -> crate::sys::clock::Stamp {
    let (now, ms) = (now(), seconds * 1000);
    let then = Now { utc_ms: now.utc_ms - ms, boot_ms: now.boot_ms - ms, ..now };
    then.stamp()
}

fn identity(id: u64) -> Identity {
    let minor = u32::try_from(id).unwrap();
    Identity { mount_id: id, unique_id: None, dev: Dev { major: 0, minor }, connection: Some(id) }
}

fn fuse(id: u64, holders: Holders) -> Layer {
    Layer {
        identity: identity(id),
        fstype: "fuse.sshfs".to_owned(),
        source: OsString::from("u@box:/data"),
        root: OsString::from("/"),
        options: OsString::from("rw"),
        holders,
        nested: Vec::new(),
    }
}

fn daemon() -> Holders {
    Holders::Living(vec![Process { pid: 7, comm: "sshfs".to_owned(), start_ticks: 9 }])
}

fn seen(path: &str, verdict: Verdict, layers: Vec<Layer>) -> Observation {
    Observation {
        path: PathBuf::from(path),
        roles: BTreeSet::from([Role::Base]),
        verdict,
        errno: None,
        why: "evidence".to_owned(),
        ground: if layers.is_empty() { Ground::Directory } else { Ground::NotSeen },
        layers,
        probe: None,
        waiting_since: (verdict == Verdict::Hung).then(|| Duration::from_secs(99_000)),
        shared: Vec::new(),
        beneath: Some(0),
        bind: None,
    }
}

fn armed() -> Access {
    Access { permission: Permission::Armed, hold: None }
}

fn unit(active: Active) -> UnitLook {
    UnitLook::Seen(Unit {
        load: Load::Loaded,
        active,
        file_state: "enabled".to_owned(),
        result: "success".to_owned(),
        dependents: Vec::new(),
        stopped: Stopped::No,
    })
}

fn settings() -> Settings {
    crate::config::from_str(
        "[mounts]\nrepair_under = [\"/srv\"]\n[mounts.budget]\nper_hour = 2\nper_day = 3\n\
         per_target_per_day = 2\ncooldown = \"15m\"\n[[mount]]\npath = \"/srv/box\"\n\
         unit = \"box.service\"\n",
    )
    .unwrap()
}

fn scene(verdict: Verdict) -> Scene {
    let layers = match verdict {
        Verdict::Absent => vec![],
        Verdict::Dead => vec![fuse(30, Holders::None)],
        _ => vec![fuse(30, daemon())],
    };
    let mut scene = Scene {
        settings: settings(),
        observations: vec![seen(PATH, verdict, layers)],
        table: Ok(()),
        units: BTreeMap::from([("box.service".to_owned(), unit(Active::Inactive))]),
        gates: Gates {
            access: Kind::ALL.map(|kind| (kind, armed())).into_iter().collect(),
            halt: Halt::Clear,
            deploy: LockLook::Free,
            busy: LockLook::Free,
            unreadable: None,
            clock_fault: false,
            namespace: Namespace::Host,
        },
        state: MountsState::default(),
        debts: Debts::default(),
        now: now(),
        work: Work::NoQueue,
        worker: None,
    };
    scene.sighted(9, 3_600);
    scene
}

impl Scene {
    /// Earlier rounds saw the same, so often, beginning so many seconds ago.
    fn sighted(&mut self, runs: u32, seconds_ago: u64) {
        self.state.sightings = confirm::advance(&[], &self.observations, &self.now)
            .into_iter()
            .map(|sighting| Sighting { runs, since: ago(seconds_ago), ..sighting })
            .collect();
    }

    fn decide(&self) -> Decision {
        self.decide_as(Kind::Mounts)
    }

    fn decide_as(&self, front: Kind) -> Decision {
        decide(&World {
            front,
            faults: &[],
            work: &self.work,
            settings: &self.settings,
            observations: &self.observations,
            table: &self.table,
            units: &self.units,
            worker: self.worker.as_ref(),
            heartbeats: &BTreeMap::new(),
            gates: &self.gates,
            state: &self.state,
            debts: &self.debts,
            now: &self.now,
        })
    }

    fn top(&mut self) -> &mut Layer {
        self.observations[0].layers.last_mut().unwrap()
    }

    fn seen(&mut self) -> &mut Observation {
        &mut self.observations[0]
    }

    /// The configuration names these too.
    fn lists(&mut self, paths: &[&str]) {
        for path in paths {
            let spec = MountSpec { path: PathBuf::from(path), ..self.settings.mount[0].clone() };
            self.settings.mount.push(spec);
        }
    }

    fn charged(&mut self, path: &str, seconds_ago: u64) {
        let path = PathBuf::from(path);
        let charge = Charge {
            led_by: None,
            path,
            identity: identity(1),
            along: vec![],
            at: ago(seconds_ago),
            open: false,
        };
        self.state.charges.push(charge);
    }
}

/// One scene, changed; its steps and its holds as words.
#[track_caller]
fn check(verdict: Verdict, change: impl FnOnce(&mut Scene), steps: &[&str], holds: &[&str]) {
    let mut scene = scene(verdict);
    change(&mut scene);
    let plan = scene.decide().plan;
    let planned: Vec<String> =
        plan.steps().map(|p| format!("{} {}", p.step.verb().name(), p.step.target())).collect();
    let held: Vec<String> = plan
        .holds
        .iter()
        .map(|hold| format!("{} {}", hold.subject.text(), hold.reason.name()))
        .collect();
    assert_eq!((planned, held), (own(steps), own(holds)));
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const HEAL_DEAD: [&str; 3] = ["detach /srv/box", "restart-unit box.service", "wait-live /srv/box"];
const HEAL_HUNG: [&str; 4] = [
    "abort-connection /srv/box",
    "detach /srv/box",
    "restart-unit box.service",
    "wait-live /srv/box",
];
const PUT_UP: [&str; 2] = ["start-unit box.service", "wait-live /srv/box"];

#[test]
fn each_verdict_has_its_answer() {
    check(Verdict::Live, |_| {}, &[], &[]);
    check(Verdict::Dead, |_| {}, &HEAL_DEAD, &[]);
    check(Verdict::Hung, |_| {}, &HEAL_HUNG, &[]);
    check(Verdict::Transient, |_| {}, &HEAL_HUNG, &[]);
    check(Verdict::Absent, |_| {}, &PUT_UP, &[]);
}

#[test]
fn unknown_is_never_acted_on() {
    for verdict in
        [Verdict::Unknown, Verdict::ChildOfDead, Verdict::WrongSource, Verdict::Inconclusive]
    {
        check(verdict, |_| {}, &[], &["/srv/box unclear-evidence"]);
    }
}

#[test]
fn a_verdict_is_confirmed_by_rounds_and_by_time() {
    let unconfirmed = &["/srv/box not-confirmed"];
    // one look of a dead FUSE mount is enough, where nobody holds its connection for certain
    check(Verdict::Dead, |s| s.state.sightings.clear(), &HEAL_DEAD, &[]);
    let cannot_tell = |s: &mut Scene| s.top().holders = Holders::Unknown("?");
    let once = |s: &mut Scene| {
        cannot_tell(s);
        s.state.sightings.clear();
    };
    check(Verdict::Dead, once, &[], unconfirmed);
    let twice = |s: &mut Scene| {
        cannot_tell(s);
        s.sighted(1, 60);
    };
    check(Verdict::Dead, twice, &HEAL_DEAD, &[]);
    check(Verdict::Transient, |s| s.sighted(3, 3_600), &[], unconfirmed);
    check(Verdict::Transient, |s| s.sighted(4, 119), &[], unconfirmed);
    check(Verdict::Transient, |s| s.sighted(4, 120), &HEAL_HUNG, &[]);
    check(Verdict::Absent, |s| s.state.sightings.clear(), &[], unconfirmed);
    check(Verdict::Absent, |s| s.sighted(1, 0), &PUT_UP, &[]);
}

#[test]
fn a_hang_is_as_old_as_its_one_request() {
    let unconfirmed = &["/srv/box not-confirmed"];
    let waiting = |seconds: u64, runs: u32| {
        move |s: &mut Scene| {
            let since = Duration::from_millis(now().boot_ms - seconds * 1000);
            s.seen().waiting_since = Some(since);
            s.sighted(runs, 86_400);
        }
    };
    check(Verdict::Hung, waiting(119, 9), &[], unconfirmed);
    check(Verdict::Hung, waiting(120, 1), &HEAL_HUNG, &[]);
    let answered_since = |s: &mut Scene| {
        s.sighted(9, 86_400);
        s.state.sightings[0].waiting_since_ms = Some(1);
    };
    check(Verdict::Hung, answered_since, &[], unconfirmed);
}

#[test]
fn another_mount_at_the_path_is_counted_anew() {
    let replaced = |s: &mut Scene| s.state.sightings[0].identity = Some(identity(31));
    check(Verdict::Transient, replaced, &[], &["/srv/box not-confirmed"]);
}

#[test]
fn nothing_outside_the_roots_is_touched() {
    let outside =
        |s: &mut Scene| s.settings.mounts.repair_under = vec![PathBuf::from("/srv/other")];
    let held = &["/srv/box outside-roots"];
    for verdict in [Verdict::Dead, Verdict::Hung, Verdict::Transient, Verdict::Absent] {
        check(verdict, outside, &[], held);
    }
    check(Verdict::Unknown, outside, &[], held);
    check(Verdict::Live, outside, &[], &[]);
}

#[test]
fn only_fuse_is_taken_away() {
    for fstype in ["nfs4", "cifs", "ceph", "fuseblk", "virtiofs", "overlay"] {
        for verdict in [Verdict::Dead, Verdict::Hung, Verdict::Transient] {
            let change = |s: &mut Scene| fstype.clone_into(&mut s.top().fstype);
            check(verdict, change, &[], &["/srv/box look-only-type"]);
        }
    }
}

fn nested(path: &str, layer: Layer) -> Nested {
    Nested { path: PathBuf::from(path), layer }
}

#[test]
fn what_hangs_on_it_decides_whether_it_goes() {
    let held = &["/srv/box has-children"];
    let with = |path: &'static str, layer: Layer| {
        move |s: &mut Scene| s.top().nested = vec![nested(path, layer)]
    };
    check(Verdict::Dead, with("/srv/box/a", fuse(31, daemon())), &[], held);
    check(Verdict::Dead, with("/srv/box/a", fuse(31, Holders::Unknown("?"))), &[], held);
    let local = Layer { fstype: "tmpfs".to_owned(), ..fuse(31, Holders::None) };
    check(Verdict::Dead, with("/srv/box/a", local), &[], held);
    // as dead as its parent, or the same superblock
    check(Verdict::Dead, with("/srv/box/a", fuse(31, Holders::None)), &HEAL_DEAD, &[]);
    check(Verdict::Dead, with("/srv/box/a", fuse(30, daemon())), &HEAL_DEAD, &[]);
    check(Verdict::Hung, with("/srv/box/a", fuse(31, daemon())), &[], held);
}

#[test]
fn an_abort_must_not_kill_what_lies_outside() {
    let held = &["/srv/box shared-superblock"];
    let shared = |path: &'static str| move |s: &mut Scene| s.seen().shared = vec![path.into()];
    check(Verdict::Hung, shared("/home/x"), &[], held);
    check(Verdict::Hung, shared("/srv/x"), &HEAL_HUNG, &[]);
    // a dead one is not aborted, and the other place is as dead already
    check(Verdict::Dead, shared("/home/x"), &HEAL_DEAD, &[]);
    let no_fusectl = |s: &mut Scene| s.top().identity.connection = None;
    check(Verdict::Hung, no_fusectl, &[], &["/srv/box abort-unavailable"]);
}

#[test]
fn a_unit_is_started_only_where_nobody_minds() {
    let by_operator = &["/srv/box unit-stopped-by-operator"];
    let change = |change: fn(&mut Unit)| {
        move |s: &mut Scene| match s.units.get_mut("box.service") {
            Some(UnitLook::Seen(unit)) => change(unit),
            Some(UnitLook::Unknown(_)) | None => unreachable!(),
        }
    };
    for verdict in [Verdict::Dead, Verdict::Absent] {
        check(verdict, change(|u| u.load = Load::Masked), &[], by_operator);
        check(verdict, change(|u| u.load = Load::NotFound), &[], &["/srv/box unit-not-found"]);
        let unclear = &["/srv/box unclear-evidence"];
        check(verdict, |s| s.units.clear(), &[], unclear);
        let mute = |s: &mut Scene| {
            s.units.insert("box.service".to_owned(), UnitLook::Unknown("mute".to_owned()));
        };
        check(verdict, mute, &[], unclear);
    }
    let disabled = change(|u| "disabled".clone_into(&mut u.file_state));
    check(Verdict::Absent, disabled, &[], by_operator);
    check(Verdict::Dead, disabled, &HEAL_DEAD, &[]);
    check(Verdict::Absent, change(|u| u.stopped = Stopped::ByJob), &[], by_operator);
    check(Verdict::Dead, change(|u| u.stopped = Stopped::ByJob), &[], by_operator);
    let cannot_tell = change(|u| u.stopped = Stopped::Unknown);
    check(Verdict::Absent, cannot_tell, &[], &["/srv/box unclear-evidence"]);
    check(Verdict::Absent, change(|u| u.active = Active::Failed), &PUT_UP, &[]);
    let waits = &["wait-live /srv/box"];
    check(Verdict::Absent, change(|u| u.active = Active::Activating), waits, &[]);
    let owed = |s: &mut Scene| {
        s.units.insert("box.service".to_owned(), unit(Active::Active));
        let why = "detached".to_owned();
        s.debts.debts.push(Debt::Mount { path: PathBuf::from(PATH), since: ago(1), why });
    };
    check(Verdict::Absent, owed, &HEAL_DEAD[1..], &[]);
    // active, and yet nothing mounted: waited for twice in vain before it is restarted
    for (failed, steps) in [(0, &waits[..]), (1, waits), (2, &HEAL_DEAD[1..])] {
        let up = |s: &mut Scene| {
            s.units.insert("box.service".to_owned(), unit(Active::Active));
            let path = PathBuf::from(PATH);
            s.state.attempts.push(Attempts { path, failed, last: ago(3_600) });
        };
        check(Verdict::Absent, up, steps, &[]);
    }
    check(
        Verdict::Absent,
        change(|u| u.active = Active::Other),
        &[],
        &["/srv/box unclear-evidence"],
    );
}

#[test]
fn a_place_that_is_no_mount_point_is_left() {
    for (ground, reason) in [
        (Ground::Link, "not-a-mount-point"),
        (Ground::NoDirectory, "not-a-mount-point"),
        (Ground::NotSeen, "unclear-evidence"),
    ] {
        let held = format!("/srv/box {reason}");
        check(Verdict::Absent, |s| s.seen().ground = ground, &[], &[&held]);
    }
    check(Verdict::Absent, |s| s.seen().ground = Ground::Missing, &PUT_UP, &[]);
}

#[test]
fn the_budget_is_kept_on_both_sides_of_each_limit() {
    let cooling = &["/srv/box cooling-down"];
    check(Verdict::Dead, |s| s.charged(PATH, 899), &[], cooling);
    check(Verdict::Dead, |s| s.charged(PATH, 900), &HEAL_DEAD, &[]);
    let charges = |list: &'static [(&'static str, u64)]| {
        move |s: &mut Scene| {
            s.lists(&["/srv/x", "/srv/y", "/srv/z"]);
            for (path, at) in list {
                s.charged(path, *at);
            }
        }
    };
    let hour = charges(&[("/srv/x", 3_599), ("/srv/y", 10)]);
    check(Verdict::Dead, hour, &[], &["/srv/box over-hourly-cap"]);
    check(Verdict::Dead, charges(&[("/srv/x", 3_600), ("/srv/y", 10)]), &HEAL_DEAD, &[]);
    let day = charges(&[("/srv/x", 86_399), ("/srv/y", 50_000), ("/srv/z", 40_000)]);
    check(Verdict::Dead, day, &[], &["/srv/box over-daily-cap"]);
    let day = charges(&[("/srv/x", 86_400), ("/srv/y", 50_000), ("/srv/z", 40_000)]);
    check(Verdict::Dead, day, &HEAL_DEAD, &[]);
    let target = charges(&[(PATH, 86_399), (PATH, 50_000)]);
    check(Verdict::Dead, target, &[], &["/srv/box over-target-cap"]);
    check(Verdict::Dead, charges(&[(PATH, 86_400), (PATH, 50_000)]), &HEAL_DEAD, &[]);
    // putting up what is absent costs nothing
    check(Verdict::Absent, |s| s.charged(PATH, 1), &PUT_UP, &[]);
}

#[test]
fn five_broken_and_one_over_its_cap_leaves_four_repairs() {
    let mut scene = scene(Verdict::Dead);
    scene.settings.mounts.budget.per_hour = 10;
    scene.settings.mounts.budget.per_day = 10;
    scene.observations = (0..5)
        .map(|n| seen(&format!("/srv/{n}"), Verdict::Dead, vec![fuse(40 + n, Holders::None)]))
        .collect();
    scene.charged("/srv/2", 50_000);
    scene.charged("/srv/2", 40_000);
    let plan = scene.decide().plan;
    let subjects: Vec<_> = plan.repairs.iter().map(|repair| repair.subject.clone()).collect();
    assert_eq!(subjects, ["/srv/0", "/srv/1", "/srv/3", "/srv/4"].map(PathBuf::from));
    assert_eq!(plan.holds.len(), 1);
    assert_eq!(plan.holds[0].reason, Reason::OverTargetCap);
}

#[test]
fn what_was_begun_is_resumed_without_charge_or_delay() {
    let open = |s: &mut Scene| {
        s.state.sightings.clear();
        let path = PathBuf::from(PATH);
        for open in [false, true] {
            let charge = Charge {
                led_by: None,
                path: path.clone(),
                identity: identity(30),
                along: vec![],
                at: ago(1),
                open,
            };
            s.state.charges.push(charge);
        }
    };
    for (verdict, steps) in [(Verdict::Dead, &HEAL_DEAD[..]), (Verdict::Hung, &HEAL_HUNG[..])] {
        check(verdict, open, steps, &[]);
        let mut scene = scene(verdict);
        open(&mut scene);
        assert_eq!(scene.decide().plan.repairs[0].cost, Cost::Resumed);
    }
    let another = |s: &mut Scene| {
        open(s);
        s.top().identity = identity(33);
        s.sighted(9, 3_600);
    };
    check(Verdict::Dead, another, &[], &["/srv/box cooling-down"]);
    let owed = |s: &mut Scene| {
        s.state.sightings.clear();
        let why = "detached".to_owned();
        s.debts.debts.push(Debt::Mount { path: PathBuf::from(PATH), since: ago(1), why });
    };
    check(Verdict::Absent, owed, &PUT_UP, &[]);
}

#[test]
fn failed_tries_to_mount_wait_longer_each_time_and_never_stop() {
    let tried = |failed: u32, seconds: u64| {
        move |s: &mut Scene| {
            let path = PathBuf::from(PATH);
            s.state.attempts.push(Attempts { path, failed, last: ago(seconds) });
        }
    };
    let cooling = &["/srv/box cooling-down"];
    for (failed, wait) in [(1, 60), (2, 120), (3, 240), (4, 480), (5, 900), (4_000, 900)] {
        check(Verdict::Absent, tried(failed, wait - 1), &[], cooling);
        check(Verdict::Absent, tried(failed, wait), &PUT_UP, &[]);
    }
}

#[test]
fn a_closed_gate_holds_everything_and_the_steps_are_still_shown() {
    let halted = |s: &mut Scene| s.gates.halt = Halt::Set("stop".to_owned());
    check(Verdict::Dead, halted, &HEAL_DEAD, &["* halted"]);
    let blind = |s: &mut Scene| s.table = Err(TableError::Changing);
    check(Verdict::Unknown, blind, &[], &["* unclear-evidence", "/srv/box unclear-evidence"]);
}

#[test]
fn a_mount_in_no_table_is_detached_and_left_as_absent() {
    let unlisted = |s: &mut Scene| s.settings.mount.clear();
    check(Verdict::Dead, unlisted, &["detach /srv/box"], &[]);
    check(Verdict::Absent, unlisted, &[], &["/srv/box unit-not-found"]);
    let mut scene = scene(Verdict::Dead);
    unlisted(&mut scene);
    let repair = &scene.decide().plan.repairs[0];
    assert_eq!(repair.leaves.len(), 1);
    assert!(repair.owes.is_empty());
}

#[test]
fn stacks_lose_what_is_dead_down_to_the_first_that_may_live() {
    let stack = |layers: Vec<Layer>| move |s: &mut Scene| s.seen().layers = layers;
    let two_dead = stack(vec![fuse(30, Holders::None), fuse(31, Holders::None)]);
    check(
        Verdict::Dead,
        two_dead,
        &["detach /srv/box", "detach /srv/box", "restart-unit box.service", "wait-live /srv/box"],
        &[],
    );
    // beneath the dead one lies one that lives: it comes to light, and nothing is restarted
    let lives_below = stack(vec![fuse(30, daemon()), fuse(31, Holders::None)]);
    check(Verdict::Dead, lives_below, &["detach /srv/box", "wait-live /srv/box"], &[]);
    // a copy on top of the very same mount is surplus; another live one on top is somebody's wish
    let surplus = |s: &mut Scene| {
        s.seen().layers = vec![fuse(30, daemon()), fuse(30, daemon())];
        s.sighted(1, 0);
    };
    check(Verdict::Live, surplus, &["detach /srv/box", "wait-live /srv/box"], &[]);
    let three = |s: &mut Scene| {
        s.seen().layers = vec![fuse(30, daemon()); 3];
        s.sighted(1, 0);
    };
    let steps = &["detach /srv/box", "detach /srv/box", "wait-live /srv/box"];
    check(Verdict::Live, three, steps, &[]);
    let another = stack(vec![fuse(30, daemon()), fuse(31, daemon())]);
    check(Verdict::Live, another, &[], &[]);
    // beneath it lies something else, put there to keep writes off the root disk: the storage comes
    // back on top of that
    let guard = Layer { fstype: "tmpfs".to_owned(), ..fuse(30, daemon()) };
    check(Verdict::Dead, stack(vec![guard, fuse(31, Holders::None)]), &HEAL_DEAD, &[]);
    // the same directory shown in another way, or in no table, is a wish and not a surplus
    for change in
        [(|s: &mut Scene| s.top().options = OsString::from("ro")) as fn(&mut Scene), |s| {
            s.seen().roles = BTreeSet::from([Role::Found]);
        }]
    {
        let wish = |s: &mut Scene| {
            s.seen().layers = vec![fuse(30, daemon()), fuse(30, daemon())];
            change(s);
            s.sighted(9, 3_600);
        };
        check(Verdict::Live, wish, &[], &[]);
    }
    // more layers than are taken in one round stay for the next
    let many = stack((0..10).map(|n| fuse(30 + n, Holders::None)).collect());
    let mut steps = vec!["detach /srv/box"; LAYERS_MAX];
    steps.push("wait-live /srv/box");
    check(Verdict::Dead, many, &steps, &[]);
}

#[test]
fn a_listed_mount_that_nothing_can_put_back_stays_in_place() {
    let no_way = |s: &mut Scene| s.settings.mount[0].unit = None;
    for verdict in [Verdict::Dead, Verdict::Hung, Verdict::Absent] {
        check(verdict, no_way, &[], &["/srv/box unit-not-found"]);
    }
}

#[test]
fn what_nobody_listed_costs_what_is_listed_nothing_and_has_as_much_of_its_own() {
    // the hour of what is only found is spent, by earlier rounds and in this plan
    let found = |n: u64| {
        let layer = Layer { source: OsString::from("theirs"), ..fuse(40 + n, Holders::None) };
        seen(&format!("/srv/f{n}"), Verdict::Dead, vec![layer])
    };
    for (charged, left) in [(0, 2), (1, 1), (2, 0)] {
        let mut scene = scene(Verdict::Dead);
        scene.observations.extend((0..4).map(found));
        for n in 0..charged {
            scene.charged(&format!("/srv/gone{n}"), 60);
        }
        let plan = scene.decide().plan;
        let subjects: Vec<&Path> = plan.repairs.iter().map(|it| it.subject.as_path()).collect();
        let mut expected = vec![Path::new(PATH)];
        expected.extend(["/srv/f0", "/srv/f1"].map(Path::new).into_iter().take(left));
        assert_eq!(subjects, expected, "{charged}");
        assert!(plan.holds.iter().all(|hold| hold.reason == Reason::OverHourlyCap));
        assert_eq!(plan.holds.len(), 4 - left, "{charged}");
    }
    // what was charged while it was not listed yet is its own now
    check(
        Verdict::Dead,
        |s| {
            s.charged("/srv/x", 10);
            s.charged("/srv/y", 10);
            s.lists(&["/srv/x", "/srv/y"]);
        },
        &[],
        &["/srv/box over-hourly-cap"],
    );
    // and what is listed spends nothing of theirs
    let mut spent = scene(Verdict::Dead);
    spent.observations.push(found(0));
    spent.lists(&["/srv/x"]);
    spent.charged("/srv/x", 10);
    spent.charged("/srv/x", 20);
    let plan = spent.decide().plan;
    assert_eq!(plan.repairs.len(), 1, "{plan:#?}");
    assert_eq!(plan.repairs[0].subject, PathBuf::from("/srv/f0"));
}

#[test]
fn nothing_is_mounted_below_a_base_that_is_not_as_it_should_be() {
    for above in [Verdict::Absent, Verdict::WrongSource] {
        let below = |s: &mut Scene| {
            let layers = if above == Verdict::Absent { vec![] } else { vec![fuse(44, daemon())] };
            let mut base = seen("/srv", above, layers);
            base.ground = Ground::NoDirectory;
            s.observations.insert(0, base);
            s.sighted(9, 3_600);
        };
        let mut changed = scene(Verdict::Absent);
        below(&mut changed);
        assert_eq!(changed.decide().plan.repairs, vec![], "{above}");
        assert!(changed.decide().plan.holds.iter().any(|hold| {
            hold.reason == Reason::StorageNotLive && hold.detail.contains("above it")
        }));
    }
}

#[test]
fn a_bind_that_nobody_makes_again_stays_dead_in_place() {
    for verdict in [Verdict::Dead, Verdict::Hung] {
        let bind = |s: &mut Scene| {
            s.observations = vec![seen("/srv/bind", verdict, vec![fuse(30, Holders::None)])];
            s.observations[0].shared = vec![PathBuf::from(PATH)];
            s.sighted(9, 3_600);
        };
        check(verdict, bind, &[], &["/srv/bind unit-not-found"]);
    }
}

#[test]
fn paths_of_one_superblock_are_one_repair_and_one_charge() {
    let mut scene = scene(Verdict::Hung);
    // a bind of a directory in it, listed under a name that sorts before the base's
    let mut bind = seen("/srv/a-bind", Verdict::Hung, vec![fuse(30, daemon())]);
    bind.layers[0].identity.mount_id = 29;
    bind.layers[0].root = OsString::from("/jobs");
    scene.observations.insert(0, bind);
    let mut spec = scene.settings.mount[0].clone();
    spec.path = PathBuf::from("/srv/a-bind");
    spec.unit = Some("srv-a.mount".to_owned());
    scene.settings.mount.push(spec);
    scene.units.insert("srv-a.mount".to_owned(), unit(Active::Active));
    scene.sighted(9, 3_600);
    let plan = scene.decide().plan;
    assert_eq!(plan.repairs.len(), 1);
    assert_eq!(plan.repairs[0].subject, PathBuf::from(PATH));
    let verbs: Vec<String> =
        plan.steps().map(|p| format!("{} {}", p.step.verb().name(), p.step.target())).collect();
    assert_eq!(
        verbs,
        [
            "abort-connection /srv/box",
            "detach /srv/a-bind",
            "detach /srv/box",
            "restart-unit box.service",
            "wait-live /srv/box",
            "restart-unit srv-a.mount",
            "wait-live /srv/a-bind",
        ]
    );
}

#[test]
fn the_same_world_gives_the_same_plan() {
    let scene = scene(Verdict::Hung);
    assert_eq!(scene.decide().plan, scene.decide().plan);
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let holders = prop_oneof![Just(Holders::None), Just(daemon()), Just(Holders::Unknown("?")),];
    let fstype = prop_oneof![4 => Just("fuse.sshfs"), 1 => Just("nfs4"), 1 => Just("tmpfs")];
    (30_u64..36, holders, fstype, any::<bool>()).prop_map(|(id, holders, fstype, connection)| {
        let mut layer = fuse(id, holders);
        fstype.clone_into(&mut layer.fstype);
        layer.identity.connection = connection.then_some(id);
        layer
    })
}

fn any_path() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("/srv/box"),
        Just("/srv/box/in"),
        Just("/srv/b"),
        Just("/srv/c"),
        Just("/home/d"),
        Just("/srvX/e"),
    ]
}

prop_compose! {
    fn any_observation()(
        path in any_path(),
        verdict in proptest::sample::select(Verdict::ALL.to_vec()),
        layers in proptest::collection::vec(any_layer(), 0..4),
        nested_layers in proptest::collection::vec((any_path(), any_layer()), 0..3),
        shared in proptest::collection::vec(any_path(), 0..3),
        waiting in 0_u64..100_000,
        beneath in proptest::option::of(0_u32..2),
        bound in proptest::option::of(30_u64..34),
    ) -> Observation {
        let layers = if verdict == Verdict::Absent { vec![] } else { layers };
        let mut seen = seen(path, verdict, layers);
        if verdict == Verdict::Hung {
            seen.waiting_since = Some(Duration::from_secs(waiting));
        }
        seen.shared = shared.into_iter().map(PathBuf::from).collect();
        seen.beneath = beneath;
        seen.bind = bound
            .filter(|_| path != PATH)
            .map(|base| bind_tests::bind_look(path, bind_tests::right(base)));
        if let Some(top) = seen.layers.last_mut() {
            top.nested = nested_layers.into_iter().map(|(path, layer)| nested(path, layer)).collect();
        }
        seen
    }
}

prop_compose! {
    fn any_scene()(
        observations in proptest::collection::vec(any_observation(), 0..6),
        charges in proptest::collection::vec((any_path(), 0_u64..90_000, any::<bool>(), 30_u64..36), 0..6),
        sightings in proptest::collection::vec((1_u32..6, 0_u64..600), 6),
        attempts in proptest::collection::vec((any_path(), 0_u32..9, 0_u64..2_000), 0..3),
        owed in proptest::option::of(any_path()),
        caps in (0_u32..4, 0_u32..5, 0_u32..3),
        active in proptest::sample::select(vec![
            Active::Active, Active::Activating, Active::Inactive, Active::Failed, Active::Other,
        ]),
        halted in proptest::bool::weighted(0.1),
    ) -> Scene {
        let mut scene = scene(Verdict::Live);
        let mut paths = BTreeSet::new();
        scene.observations =
            observations.into_iter().filter(|seen| paths.insert(seen.path.clone())).collect();
        let budget = &mut scene.settings.mounts.budget;
        (budget.per_hour, budget.per_day, budget.per_target_per_day) = caps;
        scene.units.insert("box.service".to_owned(), unit(active));
        if halted {
            scene.gates.halt = Halt::Set("stop".to_owned());
        }
        scene.sighted(1, 1);
        for (sighting, (runs, seconds)) in scene.state.sightings.iter_mut().zip(sightings) {
            (sighting.runs, sighting.since) = (runs, ago(seconds));
        }
        for (path, seconds, open, id) in charges {
            let path = PathBuf::from(path);
            scene.state.charges.push(Charge { path, led_by: None, identity: identity(id), along: vec![], at: ago(seconds), open });
        }
        for (path, failed, seconds) in attempts {
            let path = PathBuf::from(path);
            scene.state.attempts.push(Attempts { path, failed, last: ago(seconds) });
        }
        if let Some(path) = owed {
            let debt = Debt::Mount { path: path.into(), since: ago(60), why: String::new() };
            scene.debts.debts.push(debt);
        }
        scene
    }
}

/// What no plan may ever hold, told apart from how `decide` works.
fn assert_safe(scene: &Scene, plan: &Plan) -> Result<(), TestCaseError> {
    let roots = |path: &Path| path.starts_with("/srv");
    let find = |path: &Path| scene.observations.iter().find(|seen| seen.path == path);
    // what is listed has a budget of its own, and so has what is not
    let listed = |path: &Path| scene.settings.mount.iter().any(|spec| spec.path == path);
    let mut charged: BTreeMap<bool, usize> = BTreeMap::new();
    for repair in &plan.repairs {
        for planned in &repair.steps {
            let path = planned.step.path();
            prop_assert!(roots(path), "outside the roots: {}", path.display());
            if let Step::Bind { shows, .. } | Step::Rebind { shows, .. } = &planned.step {
                let live = find(&shows.base).is_some_and(|base| base.verdict == Verdict::Live);
                let before = plan.repairs.iter().take_while(|other| *other != repair);
                let put_back = before.into_iter().any(|other| other.puts_back(&shows.base));
                prop_assert!(live || put_back, "bound to what is not live");
                prop_assert_eq!(live, shows.onto.is_some());
            }
            let (identity, along) = match &planned.step {
                Step::Detach { identity, along, .. } | Step::Rebind { identity, along, .. } => {
                    (identity, along)
                }
                Step::AbortConnection { identity, .. } => {
                    let seen = find(path).unwrap();
                    prop_assert!(matches!(seen.verdict, Verdict::Hung | Verdict::Transient));
                    prop_assert!(seen.shared.iter().all(|path| roots(path)));
                    prop_assert!(identity.connection.is_some());
                    prop_assert_eq!(seen.top().unwrap().family(), Family::Fuse);
                    continue;
                }
                Step::Bind { .. } => {
                    let seen = find(path).unwrap();
                    prop_assert!(seen.layers.is_empty() && seen.beneath.is_none_or(|it| it == 0));
                    continue;
                }
                _ => continue,
            };
            let seen = find(path).unwrap();
            let layer = seen.layers.iter().find(|layer| layer.identity == *identity);
            prop_assert!(layer.is_some(), "not a mount point seen there");
            let top = seen.top().unwrap();
            let surplus = seen.verdict == Verdict::Live;
            let pinned = seen.bind.is_some() && seen.verdict == Verdict::Pinned;
            let broken = matches!(seen.verdict, Verdict::Dead | Verdict::Hung | Verdict::Transient);
            prop_assert!(surplus || broken || pinned);
            prop_assert!(surplus || pinned || top.family() == Family::Fuse);
            for nested in &layer.unwrap().nested {
                let same = nested.layer.identity.dev == layer.unwrap().identity.dev;
                prop_assert!(same || nested.layer.is_daemonless(), "a foreign child goes along");
                prop_assert!(along.contains(&nested.layer.identity.mount_id));
            }
            let covers = |charge: &Charge| charge.open && charge.covers(&top.identity);
            let owed = scene.debts.debts.iter().any(|debt| debt.is_at(path));
            let resumed = scene.state.charges.iter().any(covers) || (seen.bind.is_some() && owed);
            if !resumed && !surplus {
                let sightings =
                    confirm::advance(&scene.state.sightings, &scene.observations, &scene.now);
                let runs = confirm::of(&sightings, path, seen.identity()).unwrap().runs;
                let wanted = match seen.verdict {
                    Verdict::Hung | Verdict::Pinned => 2,
                    Verdict::Transient => 5,
                    _ => 1,
                };
                prop_assert!(runs >= wanted, "unconfirmed");
            }
        }
        if let Cost::Charge { to, .. } = &repair.cost {
            *charged.entry(listed(to)).or_default() += 1;
            let own = scene.state.charges.iter().filter(|charge| {
                charge.path == *to
                    && scene.now.since(&charge.at).known().unwrap() < Duration::from_secs(86_400)
            });
            let cap = scene.settings.mounts.budget.per_target_per_day;
            prop_assert!(own.count() < cap as usize, "over the target's cap");
        }
    }
    let within = |seconds: u64, is_listed: bool| {
        let recent = |charge: &&Charge| {
            let age = scene.now.since(&charge.at).known().unwrap();
            listed(&charge.path) == is_listed && age < Duration::from_secs(seconds)
        };
        scene.state.charges.iter().filter(recent).count()
    };
    let budget = &scene.settings.mounts.budget;
    for (is_listed, charged) in charged {
        prop_assert!(within(3_600, is_listed) + charged <= budget.per_hour as usize);
        prop_assert!(within(86_400, is_listed) + charged <= budget.per_day as usize);
    }
    if scene.gates.halt != Halt::Clear {
        prop_assert!(plan.is_gated());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::with_cases(crate::worlds(20_000))
    })]

    #[test]
    fn no_plan_in_any_world_holds_a_forbidden_step(scene in any_scene()) {
        let decision = scene.decide();
        assert_safe(&scene, &decision.plan)?;
        prop_assert_eq!(&scene.decide().plan, &decision.plan);
    }

    #[test]
    fn a_round_after_success_plans_nothing(scene in any_scene()) {
        // everything is as it should be now; whatever was remembered of it
        let mut healed = scene.clone();
        for seen in &mut healed.observations {
            seen.verdict = Verdict::Live;
            seen.layers = vec![fuse(90, daemon())];
            seen.waiting_since = None;
        }
        prop_assert_eq!(healed.decide().plan.repairs, vec![]);
    }
}
