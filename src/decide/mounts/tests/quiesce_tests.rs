//! When the worker is stopped for a repair, and when not; and that it is started again at the end of the
//! same plan, or stays owed by name. One line a case, both sides of each line of the table in `busy`.

use super::bind_tests::{bind_look, nothing_runs, reasons, right, running, with_bind, with_job};
use super::*;
use crate::probes::worker::State;
use crate::sys::clock::Stamp;

const HOT: &str = "/srv/jobs/a";
const WORKER: &str = "w.service";

/// A base and a bind as they are, a worker that is up, and what the queue says.
fn at_work(base: Verdict, bind: Verdict, work: Work) -> Scene {
    let mut scene = with_bind(base, bind);
    scene.settings.worker =
        Some(crate::config::Worker { unit: Some(WORKER.to_owned()), ..Default::default() });
    scene.settings.bind = vec![bind_look(HOT, right(30)).spec];
    scene.worker = Some(WorkerLook::of(WORKER, State::Active));
    scene.work = work;
    scene
}

/// Two that run, with these outputs.
fn both(one: &str, other: &str) -> Work {
    let (Work::Known(mut facts), Work::Known(more)) = (running(one), running(other)) else {
        unreachable!("both are known");
    };
    facts.running.extend(more.running);
    Work::Known(facts)
}

fn anywhere() -> Work {
    let mut work = running("/x");
    if let Work::Known(facts) = &mut work {
        facts.running[0].output = None;
    }
    work
}

fn planned_steps(scene: &Scene) -> Vec<String> {
    let plan = scene.decide().plan;
    let name = |p: &Planned| format!("{} {}", p.step.verb().name(), p.step.target());
    plan.steps().map(name).collect()
}

const REPAIR: [&str; 3] = ["detach /srv/box", "restart-unit box.service", "wait-live /srv/box"];
const SWAP: [&str; 2] = ["rebind /srv/jobs/a", "wait-live /srv/jobs/a"];
const STOP: &str = "stop-worker w.service";
const START: &str = "start-worker w.service";

/// The steps of a plan, from its parts.
fn all(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

/// The base, the bind, what the queue says, and what is planned.
type Row = (Verdict, Verdict, Work, Vec<&'static str>);

#[test]
fn the_worker_is_stopped_where_its_job_is_lost_or_none_runs_and_never_while_a_job_is_well() {
    let (live, dead, pinned) = (Verdict::Live, Verdict::Dead, Verdict::Pinned);
    let stopped = all(&[&[STOP], &REPAIR, &SWAP, &[START]]);
    let open = all(&[&REPAIR, &SWAP]);
    let rows: Vec<Row> = vec![
        // nothing runs: nothing is to begin on the bare directory; a swap leaves none bare
        (dead, dead, nothing_runs(), stopped.clone()),
        (live, dead, nothing_runs(), SWAP.to_vec()),
        (live, pinned, nothing_runs(), SWAP.to_vec()),
        // only on what is broken
        (dead, dead, running("/srv/jobs/a/out"), stopped.clone()),
        (dead, dead, running("/srv/box/out"), all(&[&[STOP], &REPAIR, &SWAP, &[START]])),
        (live, dead, running("/srv/jobs/a"), all(&[&[STOP], &SWAP, &[START]])),
        (dead, dead, anywhere(), stopped.clone()),
        // a job elsewhere is well, and so is one on a bind that answers
        (dead, dead, running("/elsewhere"), open.clone()),
        (live, pinned, running("/srv/jobs/a"), vec![]),
        (dead, dead, both("/srv/jobs/a", "/elsewhere"), REPAIR.to_vec()),
        (live, dead, both("/srv/jobs/a", "/elsewhere"), vec![]),
        // without a queue, a worker that is up works on all that it needs
        (dead, dead, Work::NoQueue, stopped),
        (live, dead, Work::NoQueue, all(&[&[STOP], &SWAP, &[START]])),
        // nobody knows
        (dead, dead, Work::Unknown("mute".to_owned()), REPAIR.to_vec()),
        (live, dead, Work::Unknown("mute".to_owned()), vec![]),
    ];
    for (base, bind, work, expected) in rows {
        let scene = at_work(base, bind, work.clone());
        assert_eq!(planned_steps(&scene), expected, "{base} base, {bind} bind, {work:?}");
    }
}

#[test]
fn a_worker_that_is_down_is_neither_stopped_nor_started_unless_that_is_owed() {
    let mut scene = at_work(Verdict::Dead, Verdict::Dead, running("/srv/jobs/a"));
    scene.worker = Some(WorkerLook::of(WORKER, State::Inactive));
    assert_eq!(planned_steps(&scene), all(&[&REPAIR, &SWAP]));
    owe(&mut scene);
    assert_eq!(planned_steps(&scene), all(&[&REPAIR, &SWAP, &[START]]));
    // at boot the worker's own order starts it, after the binds
    let mut boot = at_work(Verdict::Live, Verdict::Absent, nothing_runs());
    boot.worker = scene.worker.clone();
    owe(&mut boot);
    let verbs = |front| {
        let plan = boot.decide_as(front).plan;
        plan.steps().map(|it| it.step.verb().name()).collect::<Vec<_>>()
    };
    assert_eq!(verbs(Kind::Binds), ["bind", "wait-live"]);
    assert_eq!(verbs(Kind::Mounts), ["bind", "wait-live", "start-worker"]);
    // a unit that does not exist tells nothing of who works
    let mut nowhere = at_work(Verdict::Dead, Verdict::Dead, running("/srv/jobs/a"));
    nowhere.worker = Some(WorkerLook::of(WORKER, State::NotFound));
    assert_eq!(planned_steps(&nowhere), REPAIR);
    assert_eq!(reasons(&nowhere, HOT), [Reason::RunningJobsPresent]);
    // somebody is left of it: what it has open is not taken away
    if let Some(look) = &mut scene.worker {
        look.processes = Ok(vec![7]);
    }
    assert_eq!(planned_steps(&scene), REPAIR);
    assert_eq!(reasons(&scene, HOT), [Reason::RunningJobsPresent]);
}

fn owe(scene: &mut Scene) {
    let since: Stamp = ago(60);
    let debt = Debt::Worker {
        unit: WORKER.to_owned(),
        was_enabled: true,
        since,
        why: "a repair".to_owned(),
    };
    scene.debts.debts.push(debt);
}

#[test]
fn without_the_permission_to_stop_it_a_base_is_repaired_and_a_bind_in_use_is_held() {
    let shut: [fn(&mut Scene); 2] = [
        |s| drop(s.gates.access.remove(&Kind::Worker)),
        |s| {
            let hold = Some((Duration::from_secs(60), "a person".to_owned()));
            let paused = Access { permission: Permission::Armed, hold };
            s.gates.access.insert(Kind::Worker, paused);
        },
    ];
    for shut in shut {
        let mut scene = at_work(Verdict::Dead, Verdict::Dead, running("/srv/jobs/a"));
        shut(&mut scene);
        assert_eq!(planned_steps(&scene), REPAIR);
        // and that its job will be tried again and again cannot be helped either
        assert_eq!(reasons(&scene, HOT)[1..], [Reason::RunningJobsPresent]);
    }
    // what is owed needs no sentinel, but a person's pause keeps it
    let mut scene = at_work(Verdict::Live, Verdict::Live, nothing_runs());
    scene.worker = Some(WorkerLook::of(WORKER, State::Inactive));
    owe(&mut scene);
    shut[0](&mut scene);
    assert_eq!(planned_steps(&scene), [START]);
    shut[1](&mut scene);
    assert_eq!(planned_steps(&scene), [""; 0]);
}

#[test]
fn a_unit_whose_restart_takes_the_worker_along_is_restarted_only_where_it_may_be_stopped() {
    let as_it_is = |active: Active, work: Work| {
        let mut scene = at_work(Verdict::Dead, Verdict::Live, work);
        scene.observations.truncate(1);
        scene.settings.bind.clear();
        if let Some(UnitLook::Seen(unit)) = scene.units.get_mut("box.service") {
            unit.dependents = vec![WORKER.to_owned()];
            unit.active = active;
        }
        scene
    };
    let along = |work: Work| as_it_is(Active::Active, work);
    let stopped = all(&[&[STOP], &REPAIR, &[START]]);
    assert_eq!(planned_steps(&along(nothing_runs())), stopped);
    assert_eq!(planned_steps(&along(running("/srv/box/x"))), stopped);
    let held = |scene: &Scene| (planned_steps(scene).len(), reasons(scene, PATH));
    assert_eq!(held(&along(running("/elsewhere"))), (0, vec![Reason::RunningJobsPresent]));
    let unknown = along(Work::Unknown("mute".to_owned()));
    assert_eq!(held(&unknown), (0, vec![Reason::QueueUnknown]));
    let mut unarmed = along(nothing_runs());
    unarmed.gates.access.remove(&Kind::Worker);
    assert_eq!(held(&unarmed), (0, vec![Reason::NotArmed]));
    let mut down = unarmed;
    down.worker = Some(WorkerLook::of(WORKER, State::Inactive));
    assert_eq!(planned_steps(&down), REPAIR);
    // one that has failed is started, and a start takes nothing along
    for down in [Active::Failed, Active::Inactive] {
        let healthy = as_it_is(down, running("/elsewhere"));
        let started = ["detach /srv/box", "start-unit box.service", "wait-live /srv/box"];
        assert_eq!(planned_steps(&healthy), started);
        // and so what else would have gone along is restarted by name
        let mut tied = as_it_is(down, running("/elsewhere"));
        if let Some(UnitLook::Seen(unit)) = tied.units.get_mut("box.service") {
            unit.dependents.push("reader.service".to_owned());
        }
        let reader = "restart-unit reader.service";
        assert_eq!(planned_steps(&tied), all(&[&started, &[reader]]));
        tied.settings.mount[0].dependents = vec!["reader.service".to_owned()];
        assert_eq!(planned_steps(&tied), all(&[&started, &[reader]]));
        // where the worker is none of them a restart takes them along as ever
        if let Some(UnitLook::Seen(unit)) = tied.units.get_mut("box.service") {
            unit.dependents.retain(|name| name != WORKER);
        }
        assert_eq!(planned_steps(&tied), REPAIR);
    }
    assert_eq!(held(&as_it_is(Active::Activating, running("/elsewhere"))).0, 0);
}

#[test]
fn the_abort_comes_before_the_stop_because_a_worker_that_waits_cannot_be_stopped() {
    let mut scene = at_work(Verdict::Hung, Verdict::Live, running("/srv/box/x"));
    scene.observations.truncate(1);
    scene.settings.bind.clear();
    let expected = all(&[&["abort-connection /srv/box", STOP], &REPAIR, &[START]]);
    assert_eq!(planned_steps(&scene), expected);
}

#[test]
fn a_worker_is_not_started_on_storage_that_this_plan_does_not_put_back() {
    let mut scene = at_work(Verdict::Dead, Verdict::Dead, nothing_runs());
    scene
        .settings
        .mount
        .push(MountSpec { path: "/srv/other".into(), ..scene.settings.mount[0].clone() });
    scene.observations.push(seen("/srv/other", Verdict::Inconclusive, vec![fuse(40, daemon())]));
    assert_eq!(planned_steps(&scene), all(&[&[STOP], &REPAIR, &SWAP]));
    let held = scene.decide().plan.holds;
    let of_worker = |hold: &&Hold| hold.subject.text() == WORKER;
    assert_eq!(held.iter().find(of_worker).unwrap().reason, Reason::StorageNotLive);
}

#[test]
fn where_rows_cannot_be_held_back_the_worker_is_stopped_once_no_job_is_well() {
    use crate::probes::jobs::State::{Cooling, Pending};
    fn well(s: &mut Scene) {
        let Work::Known(facts) = &mut s.work else { return };
        let Work::Known(more) = running("/elsewhere") else { return };
        facts.running = more.running;
    }
    fn no_need(s: &mut Scene) {
        s.settings.worker.as_mut().unwrap().needs = Some(vec![]);
    }
    let storm = |change: fn(&mut Scene)| {
        let mut scene = at_work(Verdict::Dead, Verdict::Live, nothing_runs());
        scene.observations.truncate(1);
        scene.settings.bind.clear();
        scene.work = with_job(Pending, Some("/srv/box/x"), false);
        // it was repaired a moment ago: nothing more is done to it now
        scene.charged(PATH, 60);
        change(&mut scene);
        let reasons: Vec<Reason> = scene.decide().plan.holds.iter().map(|h| h.reason).collect();
        (planned_steps(&scene), reasons.contains(&Reason::StorageNotLive))
    };
    let kept_down = (vec![STOP.to_owned()], true);
    assert_eq!(storm(|_| {}), kept_down);
    let left = (vec![], false);
    assert_eq!(storm(|s| s.work = with_job(Pending, Some("/y"), false)), left);
    let cooldown = |s: &mut Scene| s.settings.worker.as_mut().unwrap().own_cooldown = true;
    assert_eq!(storm(cooldown), left);
    assert_eq!(storm(well), left);
    let lost = |s: &mut Scene| {
        well(s);
        let Work::Known(facts) = &mut s.work else { return };
        facts.running[0].output = Some("/srv/box/y".into());
    };
    assert_eq!(storm(lost), kept_down);
    // what is no need keeps it down only where the next job is on it: else it would be started again at once
    assert_eq!(storm(no_need), kept_down);
    let runs_beside = |s: &mut Scene| {
        no_need(s);
        s.work = with_job(crate::probes::jobs::State::Running, Some("/srv/box/y"), false);
        let Work::Known(facts) = &mut s.work else { return };
        facts.running.retain(|job| job.output.as_deref() != Some(Path::new("/elsewhere")));
    };
    assert_eq!(storm(runs_beside), left);
    // nor is it stopped for one that only comes soon
    let soon = |s: &mut Scene| {
        s.work = with_job(Cooling, Some("/srv/box/y"), false);
        let Work::Known(facts) = &mut s.work else { return };
        facts.cooling[0].not_before_utc_ms = Some(facts.at_utc_ms + 1);
    };
    assert_eq!(storm(soon), left);
    let down = |s: &mut Scene| s.worker = Some(WorkerLook::of(WORKER, State::Inactive));
    assert_eq!(storm(down), left);
    // down as our debt it stays down by that name
    let owed = |s: &mut Scene| {
        s.worker = Some(WorkerLook::of(WORKER, State::Inactive));
        owe(s);
    };
    assert_eq!(storm(owed), (vec![], true));
}
