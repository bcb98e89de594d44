//! The refusals as a table, both sides of each limit; and random worlds in which no worker is ever
//! started on what is not live, or on a queue that nobody knows.

use std::collections::BTreeSet;
use std::ffi::OsString;

use proptest::prelude::*;

use super::*;
use crate::config::sentinel::{Halt, Permission};
use crate::decide::plan::{Subject, Verb};
use crate::probes::gates::{Access, LockLook, Namespace};
use crate::probes::holders::Holders;
use crate::probes::identity::Identity;
use crate::probes::jobs::InfraErrors;
use crate::probes::mountinfo::Dev;
use crate::probes::mounts::{Ground, Layer, Role};
use crate::probes::orphans::{Left, Orphan};
use crate::probes::records::WorkerStart;

const UNIT: &str = "w.service";
const BOX: &str = "/srv/box";
const HOT: &str = "/srv/a";
const CONFIG: &str = "[[mount]]\npath = \"/srv/box\"\n[[bind]]\ncold = \"/srv/box/a\"\nhot = \"/srv/a\"\n\
                      [worker]\nunit = \"w.service\"\n";

/// A worker that is down and can be started: three jobs wait, storage is live, every gate is open.
#[derive(Clone, Debug)]
struct Scene {
    settings: Settings,
    faults: Vec<Fault>,
    look: WorkerLook,
    observations: Vec<Observation>,
    work: Work,
    headroom: BTreeMap<PathBuf, Headroom>,
    heartbeats: BTreeMap<String, Option<Sign>>,
    orphans: Vec<Orphan>,
    gates: Gates,
    state: WorkerState,
    debts: Debts,
}

fn now() -> Now {
    Now { utc_ms: 1_800_000_000_000, boot_ms: 200_000_000, boot_id: "this".to_owned() }
}

fn ago(seconds: u64) -> Stamp {
    let (now, ms) = (now(), seconds * 1000);
    Now { utc_ms: now.utc_ms - ms, boot_ms: now.boot_ms - ms, ..now }.stamp()
}

fn seen(path: &str, verdict: Verdict, id: u64) -> Observation {
    let minor = u32::try_from(id).unwrap();
    let layer = Layer {
        identity: Identity {
            mount_id: id,
            unique_id: None,
            dev: Dev { major: 0, minor },
            connection: Some(id),
        },
        fstype: "fuse.sshfs".to_owned(),
        source: OsString::from("u@box:/data"),
        root: OsString::from("/"),
        options: OsString::from("rw"),
        holders: Holders::None,
        nested: vec![],
    };
    let mounted = !matches!(verdict, Verdict::Absent | Verdict::Unknown);
    Observation {
        path: path.into(),
        roles: BTreeSet::from([Role::Base]),
        verdict,
        errno: None,
        why: "so it is".to_owned(),
        layers: if mounted { vec![layer] } else { vec![] },
        probe: None,
        waiting_since: None,
        shared: vec![],
        ground: Ground::NotSeen,
        beneath: None,
        bind: None,
    }
}

fn job(id: &str, output: Option<&str>) -> Job {
    Job {
        id: id.to_owned(),
        state: JobState::Pending,
        lane: None,
        output: output.map(PathBuf::from),
        started_utc_ms: None,
        not_before_utc_ms: None,
        back_utc_ms: None,
        attempts: None,
    }
}

fn facts(waits: u64, runs: u64, next: Vec<Job>) -> QueueFacts {
    let counts = [
        (JobState::Pending, waits),
        (JobState::Retryable, 0),
        (JobState::Cooling, 0),
        (JobState::Running, runs),
    ];
    QueueFacts {
        queue: "jobs".to_owned(),
        at_utc_ms: 0,
        running: vec![],
        next,
        cooling: vec![],
        counts: counts.into(),
        oldest_pending_ms: None,
        infra_errors: InfraErrors { window_ms: 1, count: None },
        stale_running: None,
        dead: None,
        rescue: None,
        hold_back: false,
        advice: vec![],
    }
}

fn scene() -> Scene {
    let room = || Headroom::Known { free_bytes: 1024 << 20, free_inodes: Some(10_000) };
    let armed = Access { permission: Permission::Armed, hold: None };
    Scene {
        settings: crate::config::from_str(CONFIG).unwrap(),
        faults: vec![],
        look: WorkerLook { enabled: "enabled".to_owned(), ..WorkerLook::of(UNIT, State::Inactive) },
        observations: vec![seen(BOX, Verdict::Live, 7), seen(HOT, Verdict::Live, 8)],
        work: Work::Known(Box::new(facts(3, 0, vec![job("1", Some("/srv/a/1"))]))),
        heartbeats: BTreeMap::new(),
        headroom: [(BOX.into(), room()), (HOT.into(), room())].into(),
        orphans: vec![],
        gates: Gates {
            access: [(Kind::Worker, armed)].into(),
            halt: Halt::Clear,
            deploy: LockLook::Free,
            busy: LockLook::Free,
            unreadable: None,
            clock_fault: false,
            namespace: Namespace::Host,
        },
        state: WorkerState::default(),
        debts: Debts::default(),
    }
}

fn decided(scene: &Scene) -> Decision {
    decide(&World {
        settings: &scene.settings,
        worker: scene.settings.worker.as_ref().unwrap(),
        faults: &scene.faults,
        before: &[],
        look: &scene.look,
        observations: &scene.observations,
        work: &scene.work,
        orphans: &scene.orphans,
        headroom: &scene.headroom,
        heartbeats: &scene.heartbeats,
        gates: &scene.gates,
        state: &scene.state,
        debts: &scene.debts,
        now: &now(),
    })
}

fn steps(decision: &Decision) -> Vec<Verb> {
    decision.plan.steps().map(|planned| planned.step.verb()).collect()
}

fn reasons(decision: &Decision) -> Vec<Reason> {
    decision.plan.holds.iter().map(|hold| hold.reason).collect()
}

#[track_caller]
fn check(change: impl FnOnce(&mut Scene), expected: &[Reason]) -> Decision {
    let mut scene = scene();
    change(&mut scene);
    let decision = decided(&scene);
    assert_eq!(reasons(&decision), expected, "{decision:#?}");
    let gated = expected.iter().all(|reason| {
        decision
            .plan
            .holds
            .iter()
            .any(|hold| hold.reason == *reason && hold.subject == Subject::Everything)
    });
    let starts = steps(&decision).contains(&Verb::StartWorker);
    assert_eq!(starts, gated, "a worker is started only when nothing but a gate is closed");
    decision
}

fn worker(scene: &mut Scene) -> &mut Worker {
    scene.settings.worker.as_mut().unwrap()
}

fn known(scene: &mut Scene) -> &mut QueueFacts {
    match &mut scene.work {
        Work::Known(facts) => facts,
        _ => panic!("known"),
    }
}

fn stopped(seconds: u64) -> Stopped {
    Stopped::ByJob { at: ago(seconds), started: Some(ago(seconds + 60)) }
}

fn owe(scene: &mut Scene, seconds: u64) {
    let debt = Debt::Worker {
        unit: UNIT.to_owned(),
        was_enabled: scene.look.is_enabled(),
        since: ago(seconds),
        why: "a repair".to_owned(),
    };
    scene.debts.debts.push(debt);
}

fn started(seconds: u64) -> WorkerStart {
    WorkerStart { at: ago(seconds), owed: false }
}

#[test]
fn a_worker_that_is_down_with_work_and_storage_is_started_and_only_that() {
    let decision = check(|_| {}, &[]);
    assert_eq!(steps(&decision), [Verb::StartWorker]);
    assert!(decision.should_be_running);
    let Step::StartWorker { needs, .. } = &decision.plan.repairs[0].steps[0].step else { panic!() };
    assert_eq!(needs.len(), 2, "{needs:?}");
    check(|s| s.look.state = State::Failed("signal".to_owned()), &[]);
    for enabled in ["static", "", "linked", "generated", "indirect", "enabled-runtime"] {
        check(|s| s.look.enabled = enabled.to_owned(), &[]);
    }
}

#[test]
fn one_that_runs_or_is_on_its_way_is_left_whatever_else_is_wrong() {
    for state in [
        State::Active,
        State::Reloading,
        State::Deactivating,
        State::Activating("start-pre".to_owned()),
        State::Activating("auto-restart".to_owned()),
    ] {
        let decision = check(|s| s.look.state = state.clone(), &[Reason::WorkerActive]);
        assert!(decision.should_be_running);
        check(
            |s| {
                s.look.state = state.clone();
                s.work = Work::Unknown("down".to_owned());
            },
            &[Reason::WorkerActive],
        );
    }
    check(|s| s.look.state = State::Unknown("no bus".to_owned()), &[Reason::UnclearEvidence]);
    check(|s| s.look.state = State::NotFound, &[Reason::UnitNotFound]);
}

#[test]
fn a_closed_gate_holds_everything_and_the_steps_stay_to_be_seen() {
    check(|s| s.gates.access.clear(), &[Reason::NotArmed]);
    check(|s| s.gates.halt = Halt::Set("x".to_owned()), &[Reason::Halted]);
    check(|s| s.gates.deploy = LockLook::Held, &[Reason::DeployInProgress]);
    check(|s| s.gates.deploy = LockLook::Unknown("x".to_owned()), &[Reason::DeployInProgress]);
    check(|s| s.gates.unreadable = Some("torn".to_owned()), &[Reason::StateUnreadable]);
    let hold = Some((Duration::from_secs(60), "lunch".to_owned()));
    check(|s| s.gates.access.get_mut(&Kind::Worker).unwrap().hold = hold, &[Reason::OnHold]);
}

#[test]
fn every_need_must_be_live_and_not_merely_there() {
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Live) {
        for place in [0, 1] {
            let change = |s: &mut Scene| {
                let path = s.observations[place].path.display().to_string();
                s.observations[place] = seen(&path, verdict, 7);
            };
            assert!(!check(change, &[Reason::StorageNotLive]).should_be_running, "{verdict}");
        }
    }
    check(|s| s.observations.clear(), &[Reason::StorageNotLive, Reason::StorageNotLive]);
    check(|s| s.observations[0].layers.clear(), &[Reason::StorageNotLive]);
    // a sign of life is one of them where it is named, and only a fresh one is
    let with = |state: Option<Sign>| {
        move |s: &mut Scene| {
            s.settings.worker.as_mut().unwrap().signs = vec!["scan".to_owned()];
            s.heartbeats.insert("scan".to_owned(), state);
        }
    };
    check(with(Some(Sign::Fresh)), &[]);
    for state in
        [None, Some(Sign::Stale), Some(Sign::Absent), Some(Sign::Unknown), Some(Sign::Skewed)]
    {
        check(with(state), &[Reason::StorageNotLive]);
    }
    check(
        |s| s.settings.worker.as_mut().unwrap().signs = vec!["scan".to_owned()],
        &[Reason::StorageNotLive],
    );
    check(|s| _ = s.heartbeats.insert("scan".to_owned(), Some(Sign::Stale)), &[]);
    let fault =
        || Fault { subject: "/etc/binds".into(), place: Place::Manifest, what: "x".to_owned() };
    check(|s| s.faults.push(fault()), &[Reason::BadBind]);
    // what was named does not depend on the manifest
    check(
        |s| {
            s.faults.push(fault());
            worker(s).needs = Some(vec![BOX.into()]);
        },
        &[],
    );
}

#[test]
fn a_job_on_bad_storage_holds_only_itself_where_the_worker_leaves_it_alone() {
    let mixed = |s: &mut Scene| {
        worker(s).needs = Some(vec![BOX.into()]);
        s.observations[1] = seen(HOT, Verdict::Dead, 8);
        known(s).next = vec![job("1", Some("/srv/a/1")), job("2", Some("/srv/box/b"))];
    };
    let decision = check(mixed, &[Reason::StorageNotLive]);
    assert!(decision.plan.holds[0].detail.contains("own_cooldown"), "{decision:?}");
    check(
        |s| {
            mixed(s);
            worker(s).own_cooldown = true;
        },
        &[],
    );
    let all_bad = |s: &mut Scene| {
        mixed(s);
        worker(s).own_cooldown = true;
        known(s).next.truncate(1);
    };
    assert!(!check(all_bad, &[Reason::StorageNotLive]).should_be_running);
    // of two, one in the other, it lies on the deeper; what is in no table counts too
    for (path, verdict) in [("/srv/box/deep", Verdict::Dead), ("/srv/found", Verdict::Absent)] {
        let output = format!("{path}/1");
        check(
            |s| {
                mixed(s);
                s.observations[1] = seen(HOT, Verdict::Live, 8);
                s.observations.push(seen(path, verdict, 9));
                known(s).next = vec![job("1", Some(&output)), job("2", Some("/srv/box/b"))];
            },
            &[Reason::StorageNotLive],
        );
    }
    // the deepest one counts; a job without an output is on every need, and one elsewhere on none
    for output in [Some("/srv/box/a/1"), Some("/srv/ab"), Some("/home/x"), None] {
        check(
            |s| {
                mixed(s);
                known(s).next = vec![job("1", output)];
            },
            &[],
        );
    }
}

#[test]
fn a_stop_by_hand_is_respected_for_a_time_and_then_lapses() {
    let respected = &[Reason::WorkerStoppedByOperator];
    let decision = check(|s| s.look.stopped = stopped(3_599), respected);
    assert!(decision.should_be_running, "it counts as down in the alert");
    let hold = &decision.plan.holds[0];
    assert!(hold.detail.contains("unwedge hold set worker"), "{hold:?}");
    assert_eq!(hold.until_utc_ms, Some(now().utc_ms + 1000));
    check(|s| s.look.stopped = stopped(3_600), &[]);
    check(
        |s| {
            s.look.stopped = stopped(1);
            worker(s).respect_stop = Duration::ZERO;
        },
        &[],
    );
    check(|s| s.look.stopped = Stopped::Along, &[]);
    check(|s| s.look.stopped = Stopped::Unknown, &[Reason::UnclearEvidence]);
    check(|s| s.look.state = State::Masked, respected);
    check(|s| s.look.enabled = "disabled".to_owned(), respected);
}

#[test]
fn an_unknown_queue_and_one_without_work_and_one_with_running_rows_hold() {
    let decision = check(|s| s.work = Work::Unknown("x".to_owned()), &[Reason::QueueUnknown]);
    assert!(!decision.should_be_running);
    let decision = check(|s| *known(s) = facts(0, 0, vec![]), &[Reason::NothingPending]);
    assert!(!decision.should_be_running);
    check(
        |s| {
            known(s).counts.insert(JobState::Pending, 0);
            known(s).counts.insert(JobState::Retryable, 1);
        },
        &[],
    );
    check(|s| *known(s) = facts(1, 1, vec![]), &[Reason::RunningJobsPresent]);
    check(
        |s| *known(s) = facts(0, 1, vec![]),
        &[Reason::NothingPending, Reason::RunningJobsPresent],
    );
    check(|s| s.work = Work::NoQueue, &[]);
}

#[test]
fn a_bind_of_one_job_is_no_need_of_the_worker_and_its_job_is_kept_off_it() {
    let jobs = "[binds]\ncold_root = \"/srv/box/jobs\"\nhot_root = \"/srv/jobs\"\n";
    let bound = |s: &mut Scene, verdict| {
        s.settings = crate::config::from_str(&format!("{jobs}{CONFIG}")).unwrap();
        let bind = s.settings.bind_of_output(Path::new("/srv/jobs/1")).unwrap().unwrap();
        s.settings.bind.push(bind);
        s.observations.push(seen("/srv/jobs/1", verdict, 9));
        known(s).next = vec![job("1", Some("/srv/jobs/1")), job("2", Some("/srv/a/2"))];
    };
    check(|s| bound(s, Verdict::Live), &[]);
    let decision = check(|s| bound(s, Verdict::Absent), &[Reason::StorageNotLive]);
    assert!(decision.plan.holds[0].detail.starts_with("job 1 /srv/jobs/1 lies on /srv/jobs/1"));
    let kept = |s: &mut Scene| {
        bound(s, Verdict::Absent);
        worker(s).own_cooldown = true;
    };
    check(kept, &[]);
    // and one whose bind cannot be made would write to the bare directory
    let place = Place::Job("2".to_owned());
    let fault = Fault { subject: "/srv/a/2".into(), place, what: "x".to_owned() };
    check(|s| s.faults.push(fault.clone()), &[]);
    let faulty = |s: &mut Scene| {
        s.faults.push(fault);
        known(s).next.push(job("2", Some("/srv/a/2")));
    };
    check(faulty, &[Reason::StorageNotLive]);
}

#[test]
fn a_crash_loop_is_ended_only_when_its_cause_is_gone() {
    let failed = |s: &mut Scene, crash_loop| {
        s.look.state = State::Failed("exit-code".to_owned());
        s.look.crash_loop = crash_loop;
    };
    check(|s| failed(s, CrashLoop::Stands), &[Reason::CrashLooping]);
    check(|s| failed(s, CrashLoop::NotReloaded), &[Reason::CrashLooping]);
    let decision = check(|s| failed(s, CrashLoop::Changed("x".to_owned())), &[]);
    assert_eq!(steps(&decision), [Verb::ResetFailed, Verb::StartWorker]);
    check(|s| failed(s, CrashLoop::No), &[]);
}

#[test]
fn too_little_room_or_room_that_nobody_knows_holds() {
    let room = |mib: u64, inodes| Headroom::Known { free_bytes: mib << 20, free_inodes: inodes };
    let with = |room: Headroom| move |s: &mut Scene| _ = s.headroom.insert(BOX.into(), room);
    check(with(room(1024, Some(10_000))), &[]);
    check(with(room(1023, Some(10_000))), &[Reason::DiskFull]);
    check(with(room(1024, Some(9_999))), &[Reason::DiskFull]);
    check(with(room(1024, None)), &[]);
    check(with(Headroom::Unknown("zeros".to_owned())), &[Reason::DiskFull]);
    check(|s| s.headroom.clear(), &[Reason::DiskFull, Reason::DiskFull]);
    check(
        |s| {
            s.headroom.clear();
            worker(s).free_mib_min = 0;
            worker(s).free_inodes_min = 0;
        },
        &[],
    );
}

#[test]
fn the_wait_doubles_with_each_start_that_did_not_last_up_to_an_hour() {
    let budget = WorkerBudget { cooldown: Duration::from_secs(300), per_day: 12 };
    let minutes = [0, 5, 10, 20, 40, 60, 60];
    for (failed, minutes) in (0..).zip(minutes) {
        assert_eq!(wait(&budget, failed), Duration::from_secs(minutes * 60), "{failed}");
        if failed > 0 {
            let tried = |ago: u64| {
                move |s: &mut Scene| {
                    s.state.failed = failed;
                    s.state.starts = vec![started(ago)];
                }
            };
            let decision = check(tried(minutes * 60 - 1), &[Reason::CoolingDown]);
            assert_eq!(decision.plan.holds[0].until_utc_ms, Some(now().utc_ms + 1000));
            check(tried(minutes * 60), &[]);
        }
    }
    assert_eq!(wait(&budget, u32::MAX), COOLDOWN_MAX);
    let long = WorkerBudget { cooldown: COOLDOWN_MAX * 2, per_day: 1 };
    assert_eq!(wait(&long, 3), COOLDOWN_MAX * 2, "never shorter than was asked for");
    let state = |ago| WorkerState { starts: vec![started(ago)], ..WorkerState::default() };
    assert!(!has_lasted(&state(299), &budget, &now()) && has_lasted(&state(300), &budget, &now()));
}

#[test]
fn a_day_has_so_many_starts() {
    let tried = |count: u64, oldest: u64| {
        move |s: &mut Scene| s.state.starts = (0..count).map(|n| started(oldest - n)).collect()
    };
    let day = 24 * 3_600;
    check(tried(11, day - 1), &[]);
    check(tried(12, day - 1), &[Reason::OverDailyCap]);
    check(tried(12, day), &[]);
    check(|s| worker(s).budget.per_day = 0, &[Reason::OverDailyCap]);
    check(
        |s| {
            tried(12, day - 1)(s);
            s.state.starts[3].owed = true;
        },
        &[],
    );
}

#[test]
fn a_start_that_is_owed_outranks_work_room_waits_caps_and_our_own_stop_and_not_storage_or_a_wish() {
    let owed = |change: fn(&mut Scene)| {
        move |s: &mut Scene| {
            owe(s, 100);
            change(s);
        }
    };
    check(owed(|s| *known(s) = facts(0, 0, vec![])), &[]);
    check(owed(|s| worker(s).budget.per_day = 0), &[]);
    check(
        owed(|s| {
            s.state.failed = 3;
            s.state.starts = vec![started(1)];
        }),
        &[],
    );
    check(owed(|s| s.look.stopped = stopped(100)), &[]);
    let operator = &[Reason::WorkerStoppedByOperator];
    check(owed(|s| s.look.stopped = stopped(101)), operator);
    let again = |s: &mut Scene| {
        s.look.stopped = Stopped::ByJob { at: ago(10), started: Some(ago(20)) };
    };
    check(owed(again), operator);
    check(owed(|s| s.look.state = State::Masked), operator);
    let disabled = |s: &mut Scene| s.look.enabled = "disabled".to_owned();
    check(owed(disabled), operator);
    let before = |s: &mut Scene| {
        disabled(s);
        owe(s, 100);
    };
    check(before, &[]);
    check(owed(|s| s.work = Work::Unknown("x".to_owned())), &[]);
    check(owed(|s| s.headroom.clear()), &[]);
    let line = |s: &mut Scene| {
        let place = Place::Line(7);
        s.faults.push(Fault { subject: "/etc/binds".into(), place, what: "x".to_owned() });
    };
    check(line, &[Reason::BadBind]);
    check(owed(line), &[]);
    // rows keep it down only while somebody is left of it
    let left = |s: &mut Scene| {
        *known(s) = facts(2, 1, vec![]);
        s.look.processes = Ok(vec![7]);
    };
    check(owed(left), &[Reason::RunningJobsPresent]);
    check(owed(|s| s.gates.halt = Halt::Set("x".to_owned())), &[Reason::Halted]);
    check(owed(|s| s.observations[0] = seen(BOX, Verdict::Hung, 7)), &[Reason::StorageNotLive]);
    let another = |s: &mut Scene| {
        owe(s, 100);
        if let Some(Debt::Worker { unit, .. }) = s.debts.debts.first_mut() {
            *unit = "other.service".to_owned();
        }
        *known(s) = facts(0, 0, vec![]);
    };
    check(another, &[Reason::NothingPending]);
}

/// A row that nobody can be at, and whose output has been the same for so many seconds.
fn orphan(s: &mut Scene, id: &str, still: u64) {
    let mut job = job(id, Some("/srv/a/7"));
    job.state = JobState::Running;
    job.started_utc_ms = Some(now().utc_ms - 300_000);
    s.state.watched.extend(job.row().map(|row| Watched {
        row,
        digest: Some("d".to_owned()),
        since: ago(still),
    }));
    s.orphans.push(Orphan {
        job: job.clone(),
        left: Left::Nobody("the worker is down".to_owned()),
        mount: Some((BOX.into(), Verdict::Live)),
        output: crate::probes::growth::Output::Known("d".to_owned()),
    });
    let facts = known(s);
    facts.running.push(job);
    *facts.counts.entry(JobState::Running).or_default() += 1;
    let quiet = Duration::from_secs(60);
    let queue = "[queue]\nurl = \"sqlite:///q\"\nadapter = \"healtharchive\"\nquiet = \"1m\"\n";
    s.settings.queue = crate::config::from_str(queue).unwrap().queue;
    assert_eq!(s.settings.queue.as_ref().unwrap().quiet, quiet);
}

/// The queue is one whose library gives its rows back.
fn rescued(s: &mut Scene) {
    known(s).rescue =
        Some(Rescue { by: "its janitor".to_owned(), after_ms: 3_600_000, since: Since::Start });
}

#[test]
fn a_worker_is_started_for_rows_that_only_it_takes_back() {
    let decision = |change: fn(&mut Scene)| {
        let mut s = scene();
        orphan(&mut s, "7", 60);
        known(&mut s).counts.extend([(JobState::Pending, 0), (JobState::Retryable, 0)]);
        known(&mut s).next.clear();
        change(&mut s);
        let decision = decided(&s);
        (steps(&decision), reasons(&decision))
    };
    let start = vec![Verb::StartWorker];
    assert_eq!(decision(rescued), (start, vec![Reason::QueueRecoversItself]));
    // nobody but us gives these back, and they alone are nothing to do
    assert!(decision(|_| {}).1.contains(&Reason::NothingPending));
}

#[test]
fn a_library_that_goes_by_silence_says_so_and_tells_no_time() {
    let held = |since: Since, after_ms: u64| {
        let mut s = scene();
        orphan(&mut s, "7", 60);
        s.orphans[0].job.back_utc_ms = Some(now().utc_ms + 90_000);
        known(&mut s).rescue = Some(Rescue { by: "its janitor".to_owned(), after_ms, since });
        let hold = decided(&s).plan.holds.remove(0);
        (hold.detail.split(", and").next().unwrap().to_owned(), hold.until_utc_ms)
    };
    let began = now().utc_ms - 300_000;
    let start = "its janitor takes a row back 30 s after its start".to_owned();
    assert_eq!(held(Since::Start, 30_000), (start, Some(began + 30_000)));
    let silence =
        "its janitor takes a row back 30 s after the last sign of life of whoever was at it"
            .to_owned();
    assert_eq!(held(Since::Silence, 30_000), (silence, None));
    let at_once = "its janitor takes a row back as soon as nobody is at it".to_owned();
    assert_eq!(held(Since::Silence, 0), (at_once, None));
    // where the row itself says when, that is it
    assert_eq!(held(Since::Row, 0).1, Some(now().utc_ms + 90_000));
}

#[test]
fn rows_of_a_dead_worker_go_back_before_it_is_started_and_only_by_their_own_permission() {
    let rows = |change: fn(&mut Scene)| {
        let mut s = scene();
        let armed = Access { permission: Permission::Armed, hold: None };
        s.gates.access.insert(Kind::Recover, armed);
        orphan(&mut s, "7", 60);
        change(&mut s);
        let decision = decided(&s);
        let subjects: Vec<String> =
            decision.plan.holds.iter().map(|hold| hold.subject.text()).collect();
        (steps(&decision), reasons(&decision), subjects)
    };
    let none = || (vec![], vec![]);
    let of = |subject: &str, reason| (vec![reason], vec![subject.to_owned()]);
    let present = |subject| of(subject, Reason::RunningJobsPresent);
    let check = |change: fn(&mut Scene), verbs: &[Verb], held: (Vec<Reason>, Vec<String>)| {
        let (steps, reasons, subjects) = rows(change);
        assert_eq!((steps, (reasons, subjects)), (verbs.to_vec(), held));
    };
    let (back, start) = (Verb::RecoverJobs, Verb::StartWorker);
    check(|_| {}, &[back, start], none());
    // without the permission, or with one witness who cannot tell, a person looks
    check(|s| drop(s.gates.access.remove(&Kind::Recover)), &[], present(UNIT));
    check(|s| s.state.watched.clear(), &[], present(UNIT));
    // nor where somebody of it is left, and that is told beside what the others say
    let left = |s: &mut Scene| s.orphans[0].left = Left::Somebody("2 are left".to_owned());
    check(left, &[], present(UNIT));
    let mut told = scene();
    orphan(&mut told, "7", 60);
    left(&mut told);
    let words = decided(&told).plan.holds[0].detail.clone();
    for witness in ["age: ", "beat: ", "process: 2 are left", "growth: ", "mount: "] {
        assert!(words.contains(witness), "{witness}: {words}");
    }
    // those that may go back go, and the other keeps the worker down
    check(|s| orphan(s, "8", 59), &[back], present(UNIT));
    // somebody else's row is none of them
    check(|s| known(s).counts.extend([(JobState::Running, 2)]), &[back], present(UNIT));
    // a worker that is up is left, and its older rows go back all the same
    let up = |s: &mut Scene| s.look.state = State::Active;
    check(up, &[back], of(UNIT, Reason::WorkerActive));
    // a library that gives them back itself is let be, and the worker does not wait for it
    check(rescued, &[start], of("jobs", Reason::QueueRecoversItself));
    let left_at_one_without_output = |s: &mut Scene| {
        rescued(s);
        s.orphans[0].job.output = None;
        s.orphans[0].left = Left::Somebody("2 are left".to_owned());
    };
    check(left_at_one_without_output, &[], present(UNIT));
    // nor for what nobody can tell of its output, which may be another host's at work
    let unsure = |s: &mut Scene| {
        rescued(s);
        s.state.watched.clear();
        s.orphans[0].output = crate::probes::growth::Output::Unknown("too much".to_owned());
    };
    check(unsure, &[start], of("jobs", Reason::QueueRecoversItself));
    let another = |s: &mut Scene| {
        rescued(s);
        known(s).counts.extend([(JobState::Running, 2)]);
    };
    check(another, &[], present(UNIT));
    // one that is owed a start does not wait for its rows
    let owed = |s: &mut Scene| {
        owe(s, 100);
        s.state.watched.clear();
    };
    check(owed, &[start], present("jobs"));
}

/// The worker is unwedge's own runner.
fn runner(s: &mut Scene) {
    let text = CONFIG.replace(UNIT, "unwedge-runner.service");
    s.settings = crate::config::from_str(&format!(
        "{text}[queue]\nurl = \"sqlite:///q\"\nadapter = \"unwedge\"\n"
    ))
    .unwrap();
    s.look.name = "unwedge-runner.service".to_owned();
    rescued(s);
}

#[test]
fn the_runner_is_started_on_whatever_storage_and_whoever_else_is_at_work() {
    // it takes nothing whose storage is closed
    let closed = |s: &mut Scene| {
        let fault =
            Fault { subject: "/etc/binds".into(), place: Place::Manifest, what: "x".to_owned() };
        s.observations[0] = seen(BOX, Verdict::Dead, 7);
        s.faults.push(fault);
        s.headroom.clear();
        known(s).next = vec![job("1", Some("/srv/box/b"))];
    };
    let mut other = scene();
    closed(&mut other);
    let held = reasons(&decided(&other));
    assert!(held.contains(&Reason::BadBind) && held.contains(&Reason::StorageNotLive), "{held:?}");
    check(
        |s| {
            closed(s);
            runner(s);
        },
        &[],
    );
    // what it is told to need it needs
    check(
        |s| {
            closed(s);
            runner(s);
            s.settings.worker.as_mut().unwrap().needs = Some(vec![BOX.into()]);
        },
        &[Reason::StorageNotLive],
    );
    // a row of another host, or one that hangs here and cannot be ended
    let hangs = |s: &mut Scene| {
        orphan(s, "7", 60);
        runner(s);
        s.orphans[0].left = Left::Somebody("1 is left".to_owned());
    };
    let mut s = scene();
    hangs(&mut s);
    let decision = decided(&s);
    assert_eq!(steps(&decision), [Verb::StartWorker]);
    assert_eq!(reasons(&decision), [Reason::RunningJobsPresent]);
}

#[test]
fn every_reason_that_applies_is_told() {
    check(
        |s| {
            s.gates.access.clear();
            s.look.stopped = stopped(1);
            s.observations[0] = seen(BOX, Verdict::Absent, 7);
            *known(s) = facts(0, 1, vec![]);
            s.look.crash_loop = CrashLoop::Stands;
            s.headroom.clear();
            worker(s).budget.per_day = 0;
        },
        &[
            Reason::NotArmed,
            Reason::WorkerStoppedByOperator,
            Reason::StorageNotLive,
            Reason::NothingPending,
            Reason::CrashLooping,
            Reason::DiskFull,
            Reason::OverDailyCap,
            Reason::RunningJobsPresent,
        ],
    );
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Active),
        Just(State::Inactive),
        Just(State::Failed("x".to_owned())),
        Just(State::Deactivating),
        Just(State::Masked),
        Just(State::Unknown("x".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::worlds(2_000)))]

    #[test]
    fn no_world_starts_a_worker_on_what_is_not_live_or_on_an_unknown_queue(
        state in states(),
        verdicts in prop::array::uniform2(prop::sample::select(Verdict::ALL.to_vec())),
        lost in any::<bool>(),
        queue in prop::sample::select(vec![0u8, 1, 2, 3]),
        owes in any::<bool>(),
        own_cooldown in any::<bool>(),
        failed in 0u32..4,
        stop in 0u64..8_000,
    ) {
        let mut s = scene();
        s.look.state = state;
        s.look.stopped = if stop > 4_000 { Stopped::Nobody } else { stopped(stop) };
        s.observations = vec![seen(BOX, verdicts[0], 7), seen(HOT, verdicts[1], 8)];
        if lost {
            s.observations.pop();
        }
        worker(&mut s).own_cooldown = own_cooldown;
        s.state = WorkerState { failed, starts: vec![started(400)], ..WorkerState::default() };
        if owes {
            owe(&mut s, 5_000);
        }
        s.work = match queue {
            0 => Work::NoQueue,
            1 => Work::Unknown("x".to_owned()),
            2 => Work::Known(Box::new(facts(0, 1, vec![]))),
            _ => Work::Known(Box::new(facts(2, 0, vec![job("1", Some("/srv/a/x")), job("2", None)]))),
        };
        let decision = decided(&s);
        if steps(&decision).contains(&Verb::StartWorker) {
            prop_assert!(s.look.state.is_down());
            prop_assert!(!lost && verdicts == [Verdict::Live; 2]);
            prop_assert!(owes || (queue != 1 && queue != 2));
            // rows that are left of it are told, and hold nobody
            let of_rows = |hold: &Hold| matches!(hold.subject, Subject::Queue(_));
            prop_assert!(decision.plan.holds.iter().all(of_rows));
            prop_assert!(decision.should_be_running);
        }
    }
}
