//! From the fragment to the settings: every value into its type, every limit checked, everything that does not
//! fit told with its place. Checks of one value live in `check`; here stand the sections and the rules that join
//! several keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::Checker;
use super::doctor::doctor;
use super::duration::display;
use super::error::ConfigErrors;
use super::fragment::{
    BindFragment, BindsFragment, BudgetFragment, ConfirmFragment, ConfirmationFragment, Fragment,
    GatesFragment, HostFragment, MountFragment, MountsFragment, ProbeFragment,
};
use super::metrics::metrics;
use super::settings::{
    Binds, Budget, Confirm, Confirmation, DEADLINE_MAX, Gates, Host, JobBinds, LOCK_WAIT,
    MountSpec, Mounts, PROBE_TIMEOUT_MAX, PROBE_TIMEOUT_MIN, Probe, REPORT_RESERVE, Services,
    Settings, WAIT_MAX, Watch, Whereabouts,
};
use super::tree::{KeyPath, Tree};
use super::{
    bucket, defaults, duration, heartbeat, intake, jobs, notify, queue_rules, worker_rules,
};

/// Makes settings of what was written, or says everything that is wrong with it. The tree tells the places.
/// `open` are the files that everybody may read.
pub fn settings(
    fragment: Fragment,
    tree: &Tree,
    open: &[PathBuf],
) -> Result<Settings, ConfigErrors> {
    let mut check = Checker::new(tree);
    let mut settings = Settings {
        host: host(&mut check, fragment.host.unwrap_or_default()),
        gates: gates(&mut check, fragment.gates.unwrap_or_default()),
        probe: probe(&mut check, fragment.probe.unwrap_or_default()),
        mounts: mounts(&mut check, fragment.mounts.unwrap_or_default()),
        mount: mount_list(&mut check, &fragment.mount.unwrap_or_default()),
        binds: binds(&mut check, fragment.binds.unwrap_or_default()),
        bind: Vec::new(),
        queue: fragment.queue.map(|written| queue_rules::queue(&mut check, written, open)),
        worker: None,
        metrics: metrics(&mut check, fragment.metrics.unwrap_or_default()),
        notify: fragment.notify.map(|written| notify::notify(&mut check, written)),
        doctor: doctor(&mut check, fragment.doctor.unwrap_or_default()),
        jobs: None,
        bucket: bucket::buckets(&mut check, fragment.bucket.unwrap_or_default()),
        intake: Vec::new(),
        heartbeat: Vec::new(),
        file: None,
    };
    let buckets = &settings.bucket;
    settings.intake = intake::intakes(&mut check, fragment.intake.unwrap_or_default(), buckets);
    settings.heartbeat =
        heartbeat::heartbeats(&mut check, fragment.heartbeat.unwrap_or_default(), buckets);
    bind_list(&mut check, &mut settings, &fragment.bind.unwrap_or_default());
    job_roots_are_apart(&mut check, &settings);
    settings.worker =
        fragment.worker.map(|written| worker_rules::worker(&mut check, written, &settings));
    settings.jobs = fragment
        .jobs
        .map(|written| jobs::jobs(&mut check, written, settings.queue.as_ref(), &settings.bucket));
    one_way_to_mount(&mut check, &settings);
    deadline_holds_its_parts(&mut check, &settings);
    check.finish(settings)
}

fn host(check: &mut Checker<'_>, written: HostFragment) -> Host {
    let at = KeyPath::of(&["host"]);
    let default = Host::default();
    Host {
        user: check.user(&at.key("user"), written.user, default.user),
        state_dir: check.path(&at.key("state_dir"), written.state_dir, default.state_dir),
        run_dir: check.path(&at.key("run_dir"), written.run_dir, default.run_dir),
        sentinel_dir: check.path(
            &at.key("sentinel_dir"),
            written.sentinel_dir,
            default.sentinel_dir,
        ),
        textfile_dir: check.path(
            &at.key("textfile_dir"),
            written.textfile_dir,
            default.textfile_dir,
        ),
        services: check.choice(
            &at.key("services"),
            written.services,
            &Services::ALL,
            default.services,
        ),
        systemctl: check.path(&at.key("systemctl"), written.systemctl, default.systemctl),
        journalctl: check.path(&at.key("journalctl"), written.journalctl, default.journalctl),
    }
}

fn gates(check: &mut Checker<'_>, written: GatesFragment) -> Gates {
    let at = KeyPath::of(&["gates", "deploy_lock"]);
    Gates { deploy_lock: check.path(&at, written.deploy_lock, Gates::default().deploy_lock) }
}

fn probe(check: &mut Checker<'_>, written: ProbeFragment) -> Probe {
    let at = KeyPath::of(&["probe"]);
    let default = Probe::default();
    let limits = PROBE_TIMEOUT_MIN..=PROBE_TIMEOUT_MAX;
    Probe {
        timeout: check.duration(&at.key("timeout"), written.timeout, default.timeout, limits),
        daemons: check.choice(
            &at.key("daemons"),
            written.daemons,
            &Whereabouts::ALL,
            default.daemons,
        ),
    }
}

fn mounts(check: &mut Checker<'_>, written: MountsFragment) -> Mounts {
    let at = KeyPath::of(&["mounts"]);
    let default = Mounts::default();
    Mounts {
        deadline: check.duration(
            &at.key("deadline"),
            written.deadline,
            default.deadline,
            Duration::ZERO..=DEADLINE_MAX,
        ),
        repair_under: roots(
            check,
            &at.key("repair_under"),
            written.repair_under.unwrap_or_default(),
        ),
        watch: check.choice(&at.key("watch"), written.watch, &Watch::ALL, default.watch),
        confirm: confirm(check, &at.key("confirm"), written.confirm.unwrap_or_default()),
        budget: budget(check, &at.key("budget"), written.budget.unwrap_or_default()),
    }
}

fn roots(check: &mut Checker<'_>, at: &KeyPath, written: Vec<String>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    for (index, text) in written.into_iter().enumerate() {
        let at = at.index(index);
        let Some(root) = check.absolute(&at, &text) else {
            continue;
        };
        if root == Path::new("/") {
            check.problem(&at, "\"/\" would allow every mount of the host to be repaired; name the directories that hold job storage");
        } else if roots.contains(&root) {
            check.problem(&at, format!("{:?} is listed twice", root.display().to_string()));
        } else {
            roots.push(root);
        }
    }
    roots
}

fn confirm(check: &mut Checker<'_>, at: &KeyPath, written: ConfirmFragment) -> Confirm {
    let default = Confirm::default();
    Confirm {
        dead: confirmation(check, &at.key("dead"), written.dead, default.dead),
        hung: confirmation(check, &at.key("hung"), written.hung, default.hung),
        absent: confirmation(check, &at.key("absent"), written.absent, default.absent),
        pinned: confirmation(check, &at.key("pinned"), written.pinned, default.pinned),
        stacked: confirmation(check, &at.key("stacked"), written.stacked, default.stacked),
        transient: confirmation(check, &at.key("transient"), written.transient, default.transient),
    }
}

fn confirmation(
    check: &mut Checker<'_>,
    at: &KeyPath,
    written: Option<ConfirmationFragment>,
    default: Confirmation,
) -> Confirmation {
    let written = written.unwrap_or_default();
    Confirmation {
        runs: check.count(
            &at.key("runs"),
            written.runs,
            default.runs,
            1..=super::settings::CONFIRM_RUNS_MAX,
        ),
        age: check.duration(
            &at.key("age"),
            written.age,
            default.age,
            Duration::ZERO..=duration::DURATION_MAX,
        ),
    }
}

fn budget(check: &mut Checker<'_>, at: &KeyPath, written: BudgetFragment) -> Budget {
    let default = Budget::default();
    let limits = 0..=super::settings::BUDGET_MAX;
    let any = Duration::ZERO..=duration::DURATION_MAX;
    Budget {
        cooldown: check.duration(&at.key("cooldown"), written.cooldown, default.cooldown, any),
        per_hour: check.count(
            &at.key("per_hour"),
            written.per_hour,
            default.per_hour,
            limits.clone(),
        ),
        per_day: check.count(&at.key("per_day"), written.per_day, default.per_day, limits.clone()),
        per_target_per_day: check.count(
            &at.key("per_target_per_day"),
            written.per_target_per_day,
            default.per_target_per_day,
            limits,
        ),
    }
}

fn mount_list(check: &mut Checker<'_>, written: &[MountFragment]) -> Vec<MountSpec> {
    let mut seen: HashMap<PathBuf, KeyPath> = HashMap::new();
    let mut mounts = Vec::new();
    for (index, fragment) in written.iter().enumerate() {
        let at = KeyPath::of(&["mount"]).index(index);
        let spec = mount(check, &at, fragment);
        let at = at.key("path");
        if spec.path.as_os_str().is_empty() {
            // Its path was refused and told; an empty one meets no other.
        } else if let Some(first) = seen.get(&spec.path) {
            let first = check.origin(first);
            check.problem(
                &at,
                format!(
                    "{:?} is already listed at {first}; one [[mount]] a path",
                    shown(&spec.path)
                ),
            );
        } else {
            seen.insert(spec.path.clone(), at);
        }
        mounts.push(spec);
    }
    mounts
}

/// One `[[mount]]`; its path is empty when it was refused, which the caller only meets together with a problem.
fn mount(check: &mut Checker<'_>, at: &KeyPath, written: &MountFragment) -> MountSpec {
    let path = match &written.path {
        None => {
            check.problem(&at.key("path"), "missing; each [[mount]] names its mount point");
            None
        }
        Some(text) => check.absolute(&at.key("path"), text),
    };
    if path.as_deref() == Some(Path::new("/")) {
        check.problem(
            &at.key("path"),
            "\"/\" is the root of the host, which is never repaired; name a mount point below it",
        );
    }
    MountSpec {
        path: path.unwrap_or_default(),
        unit: written.unit.as_deref().map(|it| check.unit(&at.key("unit"), it)),
        source: written.source.as_deref().map(|it| check.word(&at.key("source"), it)),
        fstype: written.fstype.as_deref().map(|it| check.word(&at.key("fstype"), it)),
        wait: check.duration(
            &at.key("wait"),
            written.wait.clone(),
            defaults::WAIT,
            Duration::from_nanos(1)..=WAIT_MAX,
        ),
        remount: written.remount.as_deref().map(|it| check.argv(&at.key("remount"), it)),
        dependents: dependents(check, &at.key("dependents"), written.dependents.as_deref()),
    }
}

fn binds(check: &mut Checker<'_>, written: BindsFragment) -> Binds {
    let at = KeyPath::of(&["binds"]);
    let mut path = |name: &str, text: Option<String>| {
        text.and_then(|text| check.absolute(&at.key(name), &text))
    };
    let manifest = path("manifest", written.manifest);
    let given = (written.cold_root.is_some(), written.hot_root.is_some());
    let (cold, hot) = (path("cold_root", written.cold_root), path("hot_root", written.hot_root));
    match given {
        (true, false) => check.problem(&at.key("cold_root"), "needs hot_root beside it"),
        (false, true) => check.problem(&at.key("hot_root"), "needs cold_root beside it"),
        (true, true) | (false, false) => {}
    }
    let jobs = cold.zip(hot).map(|(cold_root, hot_root)| JobBinds { cold_root, hot_root });
    Binds { manifest, jobs }
}

/// What holds for any one job's bind must hold for the roots.
fn job_roots_are_apart(check: &mut Checker<'_>, settings: &Settings) {
    let Some(JobBinds { cold_root, hot_root }) = &settings.binds.jobs else { return };
    if check.has_problem_below(&KeyPath::of(&["mount"])) {
        return;
    }
    let alone = Settings { bind: Vec::new(), ..settings.clone() };
    if let Err(problem) = alone.bind_of(&cold_root.join("job"), &hot_root.join("job")) {
        check.problem(&KeyPath::of(&["binds", "cold_root"]), problem);
    }
}

/// Each bind is held against the mounts and against those before it.
fn bind_list(check: &mut Checker<'_>, settings: &mut Settings, written: &[BindFragment]) {
    for (index, fragment) in written.iter().enumerate() {
        let at = KeyPath::of(&["bind"]).index(index);
        let mut path = |name: &str, written: Option<&String>| match written {
            None => {
                check.problem(&at.key(name), "missing; each [[bind]] names cold and hot");
                None
            }
            Some(text) => check.absolute(&at.key(name), text),
        };
        let cold = path("cold", fragment.cold.as_ref());
        let hot = path("hot", fragment.hot.as_ref());
        // a base that was refused would make each of its binds wrong
        let (Some(cold), Some(hot), false) =
            (cold, hot, check.has_problem_below(&KeyPath::of(&["mount"])))
        else {
            continue;
        };
        match settings.bind_of(&cold, &hot) {
            Ok(bind) => settings.bind.push(bind),
            Err(problem) => check.problem(&at.key("hot"), problem),
        }
    }
}

fn dependents(check: &mut Checker<'_>, at: &KeyPath, written: Option<&[String]>) -> Vec<String> {
    let written = written.unwrap_or_default().iter().enumerate();
    written.map(|(index, name)| check.unit(&at.index(index), name)).collect()
}

/// Units need a service manager, commands take its place. Giving both is right: one file then serves
/// a host and a container.
fn one_way_to_mount(check: &mut Checker<'_>, settings: &Settings) {
    if !check.is_fine(&KeyPath::of(&["host", "services"])) {
        return;
    }
    for (index, spec) in settings.mount.iter().enumerate() {
        let at = KeyPath::of(&["mount"]).index(index);
        if settings.host.services == Services::Process && !spec.dependents.is_empty() {
            check.problem(&at.key("dependents"), "only with [host] services = \"systemd\"");
        }
        match settings.host.services {
            Services::Systemd if spec.remount.is_some() && spec.unit.is_none() => {
                check.problem(&at.key("remount"), "only with [host] services = \"process\"; with \"systemd\" name the unit that mounts it");
            }
            Services::Process if spec.unit.is_some() && spec.remount.is_none() => {
                check.problem(&at.key("unit"), "only with [host] services = \"systemd\"; with \"process\" give the command as remount");
            }
            Services::Systemd | Services::Process => {}
        }
    }
}

/// A round may look twice, ask the queue twice, wait for its lock, wait for each mount it repairs one after another,
/// and report. Around a worker it asks twice more, and sees its start last. How long its stop takes its unit says alone;
/// a round that comes to its end with that leaves the start to the next, as a debt.
fn deadline_holds_its_parts(check: &mut Checker<'_>, settings: &Settings) {
    let deadline_at = KeyPath::of(&["mounts", "deadline"]);
    let repaired =
        |spec: &&MountSpec| spec.can_be_mounted() && settings.mounts.is_under_root(&spec.path);
    let sound = |check: &Checker<'_>| {
        let below = ["probe", "mounts", "mount"];
        !below.iter().any(|section| check.has_problem_below(&KeyPath::of(&[section])))
    };
    if !sound(check) {
        return; // A part that was refused would give a sum that is not true.
    }
    let (count, waits) = settings
        .mount
        .iter()
        .filter(repaired)
        .fold((0_u32, Duration::ZERO), |(n, sum), it| (n + 1, sum + it.wait));
    // where a worker is stopped and started the queue is asked before each, and the start has to last
    let asked = if settings.worker.is_some() { 4 } else { 2 };
    let queue = settings.queue.as_ref().map(|queue| asked * queue.timeout);
    let verify = settings.worker.as_ref().map(|worker| worker.verify);
    let parts = [
        (Some(settings.probe.timeout * 2), "2 x [probe] timeout".to_owned()),
        (queue, format!("{asked} x [queue] timeout")),
        (Some(LOCK_WAIT), "lock".to_owned()),
        (Some(waits), format!("waits of {count} [[mount]] under repair_under")),
        (verify, "[worker] verify".to_owned()),
        (Some(REPORT_RESERVE), "reports".to_owned()),
    ];
    let needed: Duration = parts.iter().filter_map(|(time, _)| *time).sum();
    if settings.mounts.deadline >= needed {
        return;
    }
    let told = |(time, what): &(Option<Duration>, String)| {
        time.map(|time| format!("{what} ({})", display(time)))
    };
    let told: Vec<String> = parts.iter().filter_map(told).collect();
    let message = format!(
        "{} is too short, expected at least {}: {}",
        display(settings.mounts.deadline),
        display(needed),
        told.join(" + "),
    );
    check.problem(&deadline_at, message);
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
