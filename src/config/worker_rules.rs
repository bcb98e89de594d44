//! The rules of `[worker]`: what must be there for which way of starting services, and that what it
//! stands on is something that is looked at.

use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::check::Checker;
use super::defaults::{table, time};
use super::duration::{DURATION_MAX, display};
use super::fragment::{WorkerBudgetFragment, WorkerFragment};
use super::settings::{BUDGET_MAX, LOCK_WAIT, REPORT_RESERVE, Services, Settings};
use super::tree::{KeyPath, Node, Origin, Tree};
use super::worker::{
    FREE_MAX, RESPECT_STOP_MAX, VERIFY_MAX, WORKER_DEADLINE_MAX, Worker, WorkerBudget,
};

/// Part of the deadline for asking the service manager and the journal, before and after a start.
const ASKING: Duration = Duration::from_secs(20);

/// Makes settings of `[worker]`. `settings` has the mounts, binds and queue already.
pub fn worker(check: &mut Checker<'_>, written: WorkerFragment, settings: &Settings) -> Worker {
    let at = KeyPath::of(&["worker"]);
    let default = Worker::default();
    let command = |check: &mut Checker<'_>, key: &str, argv: Option<Vec<String>>| {
        argv.map(|argv| check.argv(&at.key(key), &argv))
    };
    let worker = Worker {
        unit: written.unit.map(|name| service(check, &at.key("unit"), name)),
        start: command(check, "start", written.start),
        stop: command(check, "stop", written.stop),
        status: command(check, "status", written.status),
        needs: written
            .needs
            .as_ref()
            .map(|needs| paths(check, &at.key("needs"), needs, settings))
            .filter(|paths| !paths.is_empty() || written.needs.as_ref().is_some_and(Vec::is_empty)),
        signs: signs(check, &at.key("needs"), written.needs.as_deref().unwrap_or(&[]), settings),
        respect_stop: check.duration(
            &at.key("respect_stop"),
            written.respect_stop,
            default.respect_stop,
            Duration::ZERO..=RESPECT_STOP_MAX,
        ),
        own_cooldown: written.own_cooldown.unwrap_or(default.own_cooldown),
        verify: check.duration(
            &at.key("verify"),
            written.verify,
            default.verify,
            Duration::ZERO..=VERIFY_MAX,
        ),
        free_mib_min: check.count(
            &at.key("free_mib_min"),
            written.free_mib_min,
            default.free_mib_min,
            0..=FREE_MAX,
        ),
        free_inodes_min: check.count(
            &at.key("free_inodes_min"),
            written.free_inodes_min,
            default.free_inodes_min,
            0..=FREE_MAX,
        ),
        deadline: check.duration(
            &at.key("deadline"),
            written.deadline,
            default.deadline,
            Duration::ZERO..=WORKER_DEADLINE_MAX,
        ),
        budget: budget(check, &at.key("budget"), written.budget.unwrap_or_default()),
    };
    one_way_to_start(check, &at, &worker, settings);
    no_dependent(check, &worker, settings);
    deadline_holds_its_parts(check, &at, &worker, settings);
    worker
}

fn service(check: &mut Checker<'_>, at: &KeyPath, name: String) -> String {
    if name.ends_with(".service") {
        return check.unit(at, &name);
    }
    check.problem(at, format!("{name:?} is no worker, expected a name ending in .service"));
    name
}

fn budget(check: &mut Checker<'_>, at: &KeyPath, written: WorkerBudgetFragment) -> WorkerBudget {
    let default = Worker::default().budget;
    let any = Duration::ZERO..=DURATION_MAX;
    WorkerBudget {
        cooldown: check.duration(&at.key("cooldown"), written.cooldown, default.cooldown, any),
        per_day: check.count(&at.key("per_day"), written.per_day, default.per_day, 0..=BUDGET_MAX),
    }
}

/// How a need begins that is the sign of life of another program.
const SIGN: &str = "heartbeat:";

/// The signs of life among the needs.
fn signs(
    check: &mut Checker<'_>,
    at: &KeyPath,
    written: &[String],
    settings: &Settings,
) -> Vec<String> {
    let mut signs = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let Some(name) = text.strip_prefix(SIGN) else { continue };
        if !settings.heartbeat.iter().any(|it| it.name == name) {
            check.problem(&at.index(index), format!("there is no [[heartbeat]] called {name}"));
        }
        signs.push(name.to_owned());
    }
    signs
}

/// A need that nobody looks at would never be live. What the manifest lists is not known yet: where
/// there is one, a need that it does not list is held when it comes to it.
fn paths(
    check: &mut Checker<'_>,
    at: &KeyPath,
    written: &[String],
    settings: &Settings,
) -> Vec<PathBuf> {
    let mut needs = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let at = at.index(index);
        if text.starts_with(SIGN) {
            continue;
        }
        let Some(path) = check.absolute(&at, text) else { continue };
        let is_mount = settings.mount.iter().any(|spec| spec.path == path);
        let is_bind = settings.bind.iter().any(|bind| bind.hot == path);
        let may_be = settings.binds.manifest.is_some();
        // a mount or bind that was refused is told already
        let told = ["mount", "bind"].map(|it| check.has_problem_below(&KeyPath::of(&[it])));
        if !is_mount && !is_bind && !may_be && told == [false, false] {
            check.problem(
                &at,
                format!(
                    "{text:?} is neither the path of a [[mount]] nor the hot path of a [[bind]]"
                ),
            );
        }
        needs.push(path);
    }
    needs
}

/// What depends on a mount is restarted after its repair whatever it does; a worker is not, while a job of it is well.
fn no_dependent(check: &mut Checker<'_>, worker: &Worker, settings: &Settings) {
    let Some(unit) = &worker.unit else { return };
    for (index, spec) in settings.mount.iter().enumerate() {
        if let Some(nth) = spec.dependents.iter().position(|name| name == unit) {
            let at = KeyPath::of(&["mount"]).index(index).key("dependents").index(nth);
            let why = "is the [worker], which is stopped and started by its own rules; take it out";
            check.problem(&at, format!("{unit:?} {why}"));
        }
    }
}

/// A unit with a service manager, three commands without one; both may be given.
fn one_way_to_start(check: &mut Checker<'_>, at: &KeyPath, worker: &Worker, settings: &Settings) {
    if !check.is_fine(&KeyPath::of(&["host", "services"])) {
        return;
    }
    match settings.host.services {
        Services::Systemd if worker.unit.is_none() => {
            check.problem(&at.key("unit"), "missing; name the unit of the worker");
        }
        Services::Process => {
            for (key, argv) in
                [("start", &worker.start), ("stop", &worker.stop), ("status", &worker.status)]
            {
                if argv.is_none() {
                    let missing = "missing; with [host] services = \"process\" a command starts, stops \
                                   and asks the worker";
                    check.problem(&at.key(key), missing);
                }
            }
        }
        Services::Systemd => {}
    }
}

/// A round looks, asks the queue, waits for its lock, looks again, starts, and sees that it stayed up.
fn deadline_holds_its_parts(
    check: &mut Checker<'_>,
    at: &KeyPath,
    worker: &Worker,
    settings: &Settings,
) {
    let sound = ["probe", "queue", "worker"];
    if sound.iter().any(|section| check.has_problem_below(&KeyPath::of(&[section]))) {
        return;
    }
    let looks = settings.probe.timeout * 3;
    let queue = settings.queue.as_ref().map_or(Duration::ZERO, |queue| queue.timeout);
    let needed = looks + queue + ASKING + LOCK_WAIT + worker.verify + REPORT_RESERVE;
    if worker.deadline >= needed {
        return;
    }
    let message = format!(
        "{} is too short, expected at least {}: 3 x [probe] timeout ({}) + [queue] timeout ({}) + asking {} + lock {} + verify ({}) + reports {}",
        display(worker.deadline),
        display(needed),
        display(looks),
        display(queue),
        display(ASKING),
        display(LOCK_WAIT),
        display(worker.verify),
        display(REPORT_RESERVE),
    );
    check.problem(&at.key("deadline"), message);
}

/// Puts the defaults in where there is a `[worker]`: without one no worker is looked after.
pub fn complete(tree: &mut Tree) {
    let Node::Table(sections) = &mut tree.node else { return };
    let Some(section) = sections.get_mut("worker") else { return };
    if !matches!(section.node, Node::Table(_)) {
        return;
    }
    let default = Worker::default();
    let mut all = Tree::from_value(
        table([
            ("respect_stop", time(default.respect_stop)),
            ("own_cooldown", Value::from(default.own_cooldown)),
            ("verify", time(default.verify)),
            ("free_mib_min", Value::from(default.free_mib_min)),
            ("free_inodes_min", Value::from(default.free_inodes_min)),
            ("deadline", time(default.deadline)),
            (
                "budget",
                table([
                    ("cooldown", time(default.budget.cooldown)),
                    ("per_day", Value::from(default.budget.per_day)),
                ]),
            ),
        ]),
        &Origin::Default,
    );
    all.overlay(section.clone());
    *section = all;
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, from_str};

    const BASE: &str =
        "[[mount]]\npath = \"/srv/box\"\n[[bind]]\ncold = \"/srv/box/a\"\nhot = \"/srv/a\"\n";
    const PROCESS: &str = "start = [\"/bin/x\"]\nstop = [\"/bin/x\"]\nstatus = [\"/bin/x\"]\n";

    fn told(text: &str) -> Result<Settings, String> {
        from_str(&format!("{BASE}{text}")).map_err(|all| all.to_string())
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let problem = told(text).expect_err(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }

    #[test]
    fn without_the_section_there_is_no_worker_and_with_it_the_defaults_hold() {
        assert_eq!(told("").unwrap().worker, None);
        let settings = told("[worker]\nunit = \"w.service\"\n").unwrap();
        let worker = settings.worker.clone().unwrap();
        assert_eq!(
            worker,
            super::Worker { unit: Some("w.service".to_owned()), ..Default::default() }
        );
        assert_eq!(worker.needs(&settings), ["/srv/box", "/srv/a"].map(std::path::PathBuf::from));
    }

    #[test]
    fn a_need_is_something_that_is_looked_at() {
        let with = |needs: &str| format!("[worker]\nunit = \"w.service\"\nneeds = [{needs:?}]\n");
        assert!(told(&with("/srv/a")).is_ok() && told(&with("/srv/box")).is_ok());
        refused(&with("/srv/box/a"), "neither the path of a [[mount]]");
        refused(&with("heartbeat:x"), "there is no [[heartbeat]] called x");
        let beat = "[[heartbeat]]\nname = \"x\"\npath = \"/srv/h\"\nmax_age = \"5m\"\n";
        let settings = told(&format!("{}{beat}", with("heartbeat:x"))).unwrap();
        let worker = settings.worker.clone().unwrap();
        assert_eq!((worker.signs.as_slice(), worker.needs.as_ref()), (&["x".to_owned()][..], None));
        assert_eq!(worker.needs(&settings).len(), 2, "and all that is listed");
        let manifest = format!("{}[binds]\nmanifest = \"/etc/unwedge/binds\"\n", with("/srv/c"));
        assert!(told(&manifest).is_ok());
    }

    #[test]
    fn a_service_manager_has_a_unit_and_without_one_there_are_commands() {
        refused("[worker]\n", "name the unit of the worker");
        refused("[worker]\nunit = \"w.timer\"\n", "ending in .service");
        let process = "[host]\nservices = \"process\"\n[worker]\n";
        refused(process, "[worker] status: missing");
        assert!(told(&format!("{process}{PROCESS}")).is_ok());
    }

    #[test]
    fn a_worker_is_no_dependent_of_a_mount() {
        let with = |name: &str| {
            format!(
                "dependents = [\"x.service\", \"{name}.service\"]\n[worker]\nunit = \"w.service\"\n"
            )
        };
        let of = |name| from_str(&format!("[[mount]]\npath = \"/srv/box\"\n{}", with(name)));
        assert!(of("v").is_ok());
        let told = of("w").unwrap_err().to_string();
        assert!(told.contains("dependents[1]: \"w.service\" is the [worker]"), "{told}");
        assert!(told.starts_with("<text>:3: "), "{told}");
    }

    #[test]
    fn a_round_that_stops_the_worker_has_the_time_to_start_it() {
        let with = |seconds: u32| {
            told(&format!(
                "[mounts]\ndeadline = \"{seconds}s\"\n[worker]\nunit = \"w.service\"\nverify = \"7s\"\n\
                 [queue]\nurl = \"sqlite:///q\"\nadapter = \"healtharchive\"\ntimeout = \"3s\"\n"
            ))
        };
        assert!(with(44).is_ok(), "{:?}", with(44));
        let why = with(43).unwrap_err();
        assert!(
            why.contains("4 x [queue] timeout (12s) + ") && why.contains("[worker] verify (7s)"),
            "{why}"
        );
    }

    #[test]
    fn the_deadline_holds_its_parts() {
        let with = |text: &str| format!("[worker]\nunit = \"w.service\"\n{text}\n");
        assert!(told(&with("deadline = \"65s\"")).is_ok());
        refused(&with("deadline = \"64s\""), "expected at least 1m 5s");
        refused(&with("verify = \"2m\""), "[worker] deadline: 2m is too short");
        refused(&with("respect_stop = \"8days\""), "too long");
        refused(&with("[worker.budget]\nper_day = 1001"), "expected 0 to 1000");
    }
}
