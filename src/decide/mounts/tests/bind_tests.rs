//! The rules for binds as a table, both sides of each line.

use super::*;
use crate::config::BindSpec;
use crate::decide::plan::{Owed, Subject};
use crate::probes::mounts::{BindLook, Right};
use crate::probes::records::Rebound;

const HOT: &str = "/srv/jobs/a";

pub(super) fn bind_look(hot: &str, right: Right) -> BindLook {
    let spec = BindSpec {
        hot: PathBuf::from(hot),
        cold: PathBuf::from("/srv/box/jobs/a"),
        base: PathBuf::from(PATH),
    };
    BindLook { spec, right }
}

/// The base as it is mounted now.
pub(super) fn right(id: u64) -> Right {
    Right::Known {
        mount: identity(id),
        root: OsString::from("/jobs/a"),
        fstype: "fuse.sshfs".to_owned(),
        source: OsString::from("u@box:/data"),
    }
}

fn layer(id: u64, dev: u64, holders: Holders) -> Layer {
    let minor = u32::try_from(dev).unwrap();
    let identity = Identity { dev: Dev { major: 0, minor }, ..identity(id) };
    Layer { identity, root: OsString::from("/jobs/a"), ..fuse(id, holders) }
}

/// A bind of a mount that the base, live as 30, has been replaced for.
fn outlived(hot: &str, verdict: Verdict) -> Observation {
    let layers =
        if verdict == Verdict::Absent { vec![] } else { vec![layer(40, 20, Holders::None)] };
    let roles = BTreeSet::from([Role::Bind]);
    Observation { bind: Some(bind_look(hot, right(30))), roles, ..seen(hot, verdict, layers) }
}

/// A live base, and one bind.
pub(super) fn with_bind(base: Verdict, bind: Verdict) -> Scene {
    let mut scene = scene(base);
    scene.observations.push(outlived(HOT, bind));
    scene.sighted(10, 1_000);
    scene
}

fn verbs(scene: &Scene) -> Vec<String> {
    let plan = scene.decide().plan;
    plan.steps().map(|it| format!("{} {}", it.step.verb().name(), it.step.target())).collect()
}

pub(super) fn reasons(scene: &Scene, path: &str) -> Vec<Reason> {
    let on = |hold: &&Hold| hold.subject == Subject::Path(path.into());
    scene.decide().plan.holds.iter().filter(on).map(|hold| hold.reason).collect()
}

#[track_caller]
fn check(base: Verdict, bind: Verdict, steps: &[&str], held: &[Reason]) {
    let scene = with_bind(base, bind);
    let about_bind: Vec<String> =
        verbs(&scene).into_iter().filter(|step| step.ends_with(HOT)).collect();
    let expected: Vec<String> = steps.iter().map(|verb| format!("{verb} {HOT}")).collect();
    assert_eq!(about_bind, expected, "{base} base, {bind} bind: {:#?}", scene.decide().plan);
    assert_eq!(reasons(&scene, HOT), held, "{base} base, {bind} bind");
}

#[test]
fn on_a_live_base_each_verdict_of_a_bind_has_its_answer() {
    let live = Verdict::Live;
    check(live, Verdict::Live, &[], &[]);
    check(live, Verdict::Dead, &["rebind", "wait-live"], &[]);
    check(live, Verdict::Pinned, &["rebind", "wait-live"], &[]);
    check(live, Verdict::Hung, &["abort-connection", "rebind", "wait-live"], &[]);
    check(live, Verdict::Transient, &["abort-connection", "rebind", "wait-live"], &[]);
    check(live, Verdict::Absent, &["bind", "wait-live"], &[]);
    for verdict in
        [Verdict::Unknown, Verdict::ChildOfDead, Verdict::WrongSource, Verdict::Inconclusive]
    {
        check(live, verdict, &[], &[Reason::UnclearEvidence]);
    }
}

#[test]
fn a_bind_is_made_only_onto_a_base_that_is_live_or_is_put_back_first() {
    for base in [Verdict::Dead, Verdict::Hung, Verdict::Absent, Verdict::Transient] {
        let scene = with_bind(base, Verdict::Dead);
        let steps = verbs(&scene);
        let place = |step: &str| steps.iter().position(|it| *it == step).unwrap();
        assert!(place("wait-live /srv/box") < place("rebind /srv/jobs/a"), "{base}: {steps:?}");
        check(base, Verdict::Absent, &["bind", "wait-live"], &[]);
    }
    for base in
        [Verdict::Unknown, Verdict::ChildOfDead, Verdict::WrongSource, Verdict::Inconclusive]
    {
        check(base, Verdict::Dead, &[], &[Reason::StorageNotLive]);
        check(base, Verdict::Absent, &[], &[Reason::StorageNotLive]);
    }
    // a base that is held is not put back
    let mut held = with_bind(Verdict::Dead, Verdict::Dead);
    held.settings.mounts.budget.per_day = 0;
    assert_eq!(reasons(&held, HOT), [Reason::StorageNotLive]);
}

#[test]
fn the_bare_directory_decides_whether_one_is_made() {
    let held = |ground: Ground, beneath: Option<u32>| {
        let mut scene = with_bind(Verdict::Live, Verdict::Absent);
        let seen = &mut scene.observations[1];
        (seen.ground, seen.beneath) = (ground, beneath);
        reasons(&scene, HOT)
    };
    assert_eq!(held(Ground::Directory, Some(0)), []);
    assert_eq!(held(Ground::Missing, None), []);
    assert_eq!(held(Ground::Directory, Some(1)), [Reason::HidesData]);
    assert_eq!(held(Ground::Directory, None), [Reason::UnclearEvidence]);
    assert_eq!(held(Ground::NotSeen, None), [Reason::UnclearEvidence]);
    for ground in [Ground::NoDirectory, Ground::Link, Ground::Automount] {
        assert_eq!(held(ground, None), [Reason::NotAMountPoint]);
    }
}

#[test]
fn binds_of_one_base_are_one_charge_with_it_or_without() {
    let with_three = |base: Verdict| {
        let mut scene = with_bind(base, Verdict::Dead);
        for hot in ["/srv/jobs/b", "/srv/jobs/c"] {
            scene.observations.push(outlived(hot, Verdict::Dead));
        }
        scene.settings.mounts.budget.per_hour = 1;
        scene.sighted(10, 1_000);
        scene.decide().plan
    };
    let charged = |plan: &Plan| {
        plan.repairs.iter().filter(|it| matches!(it.cost, Cost::Charge { .. })).count()
    };
    for base in [Verdict::Live, Verdict::Dead, Verdict::Absent] {
        let plan = with_three(base);
        assert_eq!(charged(&plan), 1, "{base}: {plan:#?}");
        let leader = plan.repairs.iter().find(|it| matches!(it.cost, Cost::Charge { .. })).unwrap();
        let Cost::Charge { to, along, .. } = &leader.cost else { unreachable!() };
        assert_eq!(to, &PathBuf::from(PATH));
        // whoever is charged answers for all of them, whatever becomes of this round
        assert!(along.len() >= 2, "{base}: {along:?}");
        let owed = leader.owes.iter().filter(|owed| matches!(owed, Owed::Bind(_))).count();
        assert_eq!(owed, 3, "{base}: {:?}", leader.owes);
    }
    // what the base has spent, its binds have spent
    let mut spent = with_bind(Verdict::Live, Verdict::Dead);
    spent.charged(PATH, 60);
    assert_eq!(reasons(&spent, HOT), [Reason::CoolingDown]);
    // making what is missing takes nothing away
    let mut missing = with_bind(Verdict::Live, Verdict::Absent);
    missing.charged(PATH, 60);
    assert_eq!(reasons(&missing, HOT), []);
}

#[test]
fn an_owed_bind_is_swapped_for_nothing_and_at_once() {
    let mut scene = with_bind(Verdict::Live, Verdict::Pinned);
    scene.state.sightings.clear();
    assert_eq!(reasons(&scene, HOT), [Reason::NotConfirmed]);
    let since = ago(60);
    scene.debts.debts.push(Debt::Bind { path: HOT.into(), since, why: "dead".to_owned() });
    scene.charged(PATH, 60);
    let plan = scene.decide().plan;
    assert_eq!(plan.repairs[0].cost, Cost::Resumed, "{plan:#?}");
}

#[test]
fn a_bind_made_anew_once_is_left_if_it_is_pinned_on_the_same_base_again() {
    let mut scene = with_bind(Verdict::Live, Verdict::Pinned);
    let rebound = |onto: u64| Rebound { path: HOT.into(), onto: identity(onto), at: ago(60) };
    scene.state.rebinds = vec![rebound(30)];
    assert_eq!(reasons(&scene, HOT), [Reason::StillPinned]);
    scene.state.rebinds = vec![rebound(29)];
    assert_eq!(reasons(&scene, HOT), [], "another base then");
    // dead is another matter than pinned
    let mut dead = with_bind(Verdict::Live, Verdict::Dead);
    dead.state.rebinds = vec![rebound(30)];
    assert_eq!(reasons(&dead, HOT), []);
}

#[test]
fn of_a_stack_only_what_is_broken_goes_and_the_right_one_beneath_is_kept() {
    let with = |layers: Vec<Layer>| {
        let mut scene = with_bind(Verdict::Live, Verdict::Dead);
        scene.observations[1].layers = layers;
        scene.sighted(10, 1_000);
        verbs(&scene)
    };
    let dead = |id| layer(id, 20, Holders::None);
    let good = || layer(50, 30, daemon());
    let (detach, rebind, wait) =
        (format!("detach {HOT}"), format!("rebind {HOT}"), format!("wait-live {HOT}"));
    assert_eq!(with(vec![dead(40), dead(41)]), [detach.clone(), rebind.clone(), wait.clone()]);
    assert_eq!(with(vec![good(), dead(41)]), [detach.clone(), wait.clone()]);
    assert_eq!(with(vec![good(), dead(40), dead(41)]), [detach.clone(), detach, wait]);
}

#[test]
fn a_swap_that_would_change_nothing_is_not_made() {
    // base and bind are one file system, and the base answers
    let mut scene = with_bind(Verdict::Live, Verdict::Transient);
    scene.observations[1].layers = vec![layer(40, 30, daemon())];
    scene.sighted(10, 1_000);
    assert_eq!(reasons(&scene, HOT), [Reason::UnclearEvidence]);
    // but a directory that was removed and made anew is another one
    scene.observations[1].verdict = Verdict::Pinned;
    scene.sighted(10, 1_000);
    assert_eq!(reasons(&scene, HOT), []);
}

#[test]
fn the_boot_front_does_the_binds_of_live_bases_and_nothing_else() {
    for (base, expected) in [(Verdict::Live, 2), (Verdict::Dead, 0), (Verdict::Absent, 0)] {
        let scene = with_bind(base, Verdict::Absent);
        let plan = scene.decide_as(Kind::Binds).plan;
        assert_eq!(plan.steps().count(), expected, "{base}: {plan:#?}");
    }
    let mut unarmed = with_bind(Verdict::Live, Verdict::Absent);
    unarmed.gates.access.remove(&Kind::Mounts);
    assert!(!unarmed.decide_as(Kind::Binds).plan.is_gated());
    unarmed.gates.access.remove(&Kind::Binds);
    assert!(unarmed.decide_as(Kind::Binds).plan.is_gated());
}

#[test]
fn outside_the_roots_a_bind_is_only_looked_at() {
    for verdict in [Verdict::Dead, Verdict::Pinned, Verdict::Absent, Verdict::Hung] {
        let mut scene = scene(Verdict::Live);
        scene.observations.push(outlived("/home/a", verdict));
        scene.sighted(10, 1_000);
        assert_eq!(reasons(&scene, "/home/a"), [Reason::OutsideRoots], "{verdict}");
    }
}

/// What the queue says: a job that runs with this output.
pub(super) fn running(output: &str) -> Work {
    runs_on(&[output])
}

/// What the queue says: a job for each of these outputs, all running.
fn runs_on(outputs: &[&str]) -> Work {
    let mut facts = nothing_runs();
    let Work::Known(known) = &mut facts else { return facts };
    for output in outputs {
        known.running.push(crate::probes::jobs::Job {
            id: "7".to_owned(),
            state: crate::probes::jobs::State::Running,
            lane: None,
            output: Some(PathBuf::from(output)),
            started_utc_ms: None,
            not_before_utc_ms: None,
            back_utc_ms: None,
            attempts: None,
        });
    }
    known.counts.insert(crate::probes::jobs::State::Running, outputs.len() as u64);
    facts
}

pub(super) fn nothing_runs() -> Work {
    Work::Known(Box::new(crate::probes::jobs::QueueFacts {
        queue: "jobs".to_owned(),
        at_utc_ms: 0,
        running: vec![],
        next: vec![],
        cooling: vec![],
        counts: BTreeMap::new(),
        oldest_pending_ms: None,
        infra_errors: crate::probes::jobs::InfraErrors { window_ms: 0, count: None },
        stale_running: None,
        dead: None,
        rescue: None,
        hold_back: false,
        advice: vec![],
    }))
}

#[test]
fn what_runs_decides_what_is_taken_away() {
    use Reason::{QueueUnknown, RunningJobsPresent, StorageNotLive};
    type Row = (fn() -> Work, Verdict, Verdict, &'static [Reason], &'static [Reason]);
    let (live, dead, absent, hung, pinned) =
        (Verdict::Live, Verdict::Dead, Verdict::Absent, Verdict::Hung, Verdict::Pinned);
    let rows: &[Row] = &[
        // work, base, bind, what holds the base, what holds the bind
        (|| Work::NoQueue, live, pinned, &[], &[]),
        (nothing_runs, live, pinned, &[], &[]),
        (nothing_runs, live, dead, &[], &[]),
        (|| running("/srv/jobs/b"), live, pinned, &[], &[]),
        (|| running("/srv/jobs/b"), dead, dead, &[], &[]),
        (|| running("/srv/jobs/a/out"), live, pinned, &[], &[RunningJobsPresent]),
        (|| running("/srv/jobs/a/out"), live, dead, &[], &[RunningJobsPresent]),
        (|| running("/srv/jobs/a/out"), live, absent, &[], &[]),
        (|| running("/srv/jobs/a/out"), dead, dead, &[], &[RunningJobsPresent]),
        (|| Work::Unknown("mute".to_owned()), live, absent, &[], &[]),
        (|| Work::Unknown("mute".to_owned()), live, pinned, &[], &[QueueUnknown]),
        (|| Work::Unknown("mute".to_owned()), live, dead, &[], &[QueueUnknown]),
        (|| Work::Unknown("mute".to_owned()), dead, absent, &[], &[]),
        (|| Work::Unknown("mute".to_owned()), absent, absent, &[], &[]),
        (|| Work::Unknown("mute".to_owned()), hung, absent, &[QueueUnknown], &[StorageNotLive]),
    ];
    for (work, base, bind, on_base, on_bind) in rows {
        let mut scene = with_bind(*base, *bind);
        scene.work = work();
        let held = (reasons(&scene, PATH), reasons(&scene, HOT));
        assert_eq!(
            held,
            (on_base.to_vec(), on_bind.to_vec()),
            "{base} base, {bind} bind, {:?}",
            work()
        );
    }
    // what is in no table does not come back
    let mut unlisted = scene(Verdict::Dead);
    unlisted.settings.mount.clear();
    unlisted.work = Work::Unknown("mute".to_owned());
    assert_eq!(reasons(&unlisted, PATH), [QueueUnknown]);
    unlisted.work = nothing_runs();
    assert_eq!(reasons(&unlisted, PATH), []);
    unlisted.work = running("/elsewhere");
    assert_eq!(reasons(&unlisted, PATH), [], "only elsewhere");
    for jobs in [&["/srv/box/x"][..], &["/srv/box/x", "/elsewhere"]] {
        unlisted.work = runs_on(jobs);
        assert_eq!(reasons(&unlisted, PATH), [RunningJobsPresent], "{jobs:?}");
    }
}

/// The queue names a not-before column, and this job comes next, or runs.
pub(super) fn with_job(
    state: crate::probes::jobs::State,
    output: Option<&str>,
    hold_back: bool,
) -> Work {
    let mut work = running("/elsewhere");
    if let Work::Known(facts) = &mut work {
        facts.hold_back = hold_back;
        let mut job = facts.running.remove(0);
        job.state = state;
        job.output = output.map(PathBuf::from);
        match state {
            crate::probes::jobs::State::Running => facts.running.push(job),
            crate::probes::jobs::State::Cooling => facts.cooling.push(job),
            _ => facts.next.push(job),
        }
    }
    work
}

#[test]
fn jobs_are_held_back_after_a_repair_of_their_path_unless_it_came_back() {
    let mut scene = scene(Verdict::Dead);
    scene.work = with_job(crate::probes::jobs::State::Pending, Some("/srv/box/x"), true);
    let plan = scene.decide().plan;
    let last = plan.repairs.last().unwrap();
    assert!(last.holds_back() && plan.repairs.len() == 2, "{plan:?}");
    assert!(last.steps[0].why.starts_with("unless it has come back"), "{plan:?}");
    // a worker is not stopped for what comes back in a moment
    scene.work = with_job(crate::probes::jobs::State::Pending, Some("/srv/box/x"), false);
    assert_eq!(scene.decide().plan.repairs.len(), 1);
}

#[test]
fn jobs_are_held_back_only_from_what_is_broken_for_certain_and_stays_so() {
    use crate::probes::jobs::State::{Cooling, Pending, Running};
    let on = Some("/srv/box/x");
    let held = |verdict: Verdict, work: Work, change: fn(&mut Scene)| {
        let mut scene = scene(verdict);
        scene.work = work;
        // it was repaired, or tried, a moment ago: nothing more is done to it now
        scene.charged(PATH, 60);
        scene.state.attempts.push(Attempts { path: PATH.into(), failed: 9, last: ago(1) });
        change(&mut scene);
        let plan = scene.decide().plan;
        plan.steps().any(|planned| planned.step.verb().name() == "hold-back")
    };
    let next = || with_job(Pending, on, true);
    for verdict in [Verdict::Dead, Verdict::Absent, Verdict::Hung, Verdict::WrongSource] {
        assert!(held(verdict, next(), |_| {}), "{verdict}");
    }
    for verdict in [Verdict::Live, Verdict::Unknown, Verdict::Inconclusive] {
        assert!(!held(verdict, next(), |_| {}), "{verdict}");
    }
    assert!(held(Verdict::Dead, with_job(Running, on, true), |_| {}), "back in a moment");
    // one that waits is held back anew right before its time is over, by the clock of its own queue
    let waits = |left: u64| {
        let mut work = with_job(Cooling, on, true);
        if let Work::Known(facts) = &mut work {
            facts.at_utc_ms = 5_000_000;
            facts.cooling[0].not_before_utc_ms = Some(5_000_000 + left);
        }
        work
    };
    assert!(held(Verdict::Dead, waits(179_999), |_| {}));
    assert!(!held(Verdict::Dead, waits(180_000), |_| {}));
    assert!(!held(Verdict::Hung, next(), |scene| scene.state.sightings.clear()), "not confirmed");
    let taken_away = |scene: &mut Scene| {
        scene.state.sightings.clear();
        scene.debts.debts.push(Debt::Mount {
            path: PATH.into(),
            since: ago(60),
            why: "dead".to_owned(),
        });
    };
    assert!(held(Verdict::Hung, next(), taken_away), "taken away, and owed");
    assert!(!held(Verdict::Dead, with_job(Pending, on, false), |_| {}), "no column for it");
    assert!(!held(Verdict::Dead, with_job(Pending, Some("/srv/boxes"), true), |_| {}));
    assert!(!held(Verdict::Dead, with_job(Pending, None, true), |_| {}), "it may write elsewhere");
    assert!(!held(Verdict::Dead, next(), |scene| drop(scene.gates.access.remove(&Kind::Worker))));
}
