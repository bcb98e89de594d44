//! `unwedge install` and `unwedge uninstall`: look at what they stand on and at what is there, make a plan, and carry
//! it out under the deploy lock, so that no tool acts meanwhile. A dry run ends with the plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Undone, generate, wrong};
use crate::act::install::{self, Site};
use crate::act::lock::{self, Tried};
use crate::checks::{self, Grade, Row};
use crate::cli::{Install, Uninstall};
use crate::config::{ConfigErrors, Loaded, Services, Settings};
use crate::decide::install::{Asked, Restart, decide};
use crate::manifest::content::{self, Content, DropIn};
use crate::manifest::{self, Needs, RESTART_WHEN_IDLE, Start, TOOLS, Tool, files};
use crate::probes::install::{self as probe, OldWorker, Seen, UnitLook};
use crate::probes::records::{self, Debts, Installed};
use crate::probes::services::{self, Shown};
use crate::probes::worker;
use crate::report::install::Told;
use crate::sys::clock::{Deadline, Now, pause};
use crate::sys::{text, user};

/// Where it goes unless somebody says otherwise.
const USUAL_PREFIX: &str = "/usr/local";
/// Where a package puts it.
const PACKAGE_PREFIX: &str = "/usr";
/// How long an act that is under way is waited for, by somebody who can come again.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// How long systemctl may take.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(10);

/// Installs.
///
/// # Errors
/// Something is missing that it stands on, or a step failed.
pub fn install(
    asked: &Install,
    loaded: std::result::Result<&Loaded, &ConfigErrors>,
    now: &Now,
) -> Result<String> {
    let usual = Settings::default();
    let settings = loaded.map_or(&usual, |loaded| &loaded.settings);
    let own = own_program()?;
    let from = own.parent().context("this program lies in no directory")?;
    if let Some(root) = &asked.root {
        let tools = named(asked.only.as_deref())?.unwrap_or_else(|| TOOLS.to_vec());
        let prefix = asked.prefix.clone().unwrap_or_else(|| PACKAGE_PREFIX.into());
        let contents = everything(&tools, Services::Systemd, from, &prefix)?;
        install::stage(&contents, root)?;
        return Ok(format!("{} files are below {}\n", contents.len(), text::path(root)));
    }
    let installed: Installed = records::read(&settings.host.state_dir, now)?;
    let prefix = prefix(asked.prefix.as_deref(), &own, &installed);
    let packaged = content::is_packaged(&prefix);
    let tools = match named(asked.only.as_deref())? {
        Some(tools) => tools,
        None => chosen(&installed),
    };
    let config = loaded.map_err(ToString::to_string);
    let host = checks::Host::new(settings, config, &prefix, &tools, now);
    let mut rows = checks::run(&host, |check| check.is_ground);
    rows.extend(elsewhere(&prefix, &installed));
    let enable = enabled(asked.enable.as_deref(), &tools, settings, &mut rows)?;

    let services = settings.host.services;
    let mut contents =
        if packaged { Vec::new() } else { everything(&tools, services, from, &prefix)? };
    contents.extend(content::local(&tools, settings));
    for drop_in in drop_ins(asked.drop_ins.as_deref(), &installed)? {
        contents.extend(drop_in.contents(settings));
    }
    let asked_for = Asked {
        start: enable
            .iter()
            .filter(|tool| asked.start && tool.start != Start::AtBoot)
            .map(|tool| tool.enabled_unit())
            .collect(),
        enable: enable.iter().map(|tool| tool.enabled_unit()).collect(),
        reload: asked.packaged,
        restart: match (asked.now, asked.skip_restart) {
            (true, _) => Restart::Now,
            (false, true) => Restart::Skip,
            (false, false) => Restart::WhenIdle,
        },
        keep: tools.iter().flat_map(|tool| tool.units()).collect(),
    };
    // pages are the same whatever the tools are
    let mut others = content::programs(&TOOLS, from, &prefix);
    others.extend(content::texts(&TOOLS, services, &prefix));
    let seen = look(settings, &prefix, &contents, &others, &installed, &tools);
    let plan = decide(&seen, &asked_for);
    let next = Installed {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        prefix: prefix.clone(),
        textfile_dir: settings.host.textfile_dir.clone(),
        // none stands for all: a later version may have more of them
        tools: match &asked.only {
            Some(_) => tools.iter().map(|tool| tool.name.to_owned()).collect(),
            None => installed.tools.clone(),
        },
        ..installed
    };
    let after = if loaded.is_ok_and(|loaded| loaded.files.is_empty()) {
        "next: write /etc/unwedge/unwedge.toml (every key: share/doc/unwedge/unwedge.toml.example), then `unwedge config check`"
    } else {
        "next: `verify-ops` shows what is armed, what runs, and what each tool would do"
    };
    let site = Site { host: &settings.host, contents: &contents, installed: next, now };
    let told = Told { rows, plan, done: Vec::new(), after, dry_run: asked.dry_run };
    if asked.packaged {
        // it exchanges no program; and one that cannot be configured is worse than one that lacks something
        return carried_out(told, site);
    }
    if !told.is_allowed() || told.has_nothing_to_do() {
        return ended(&told);
    }
    let _locks = locks(settings, TURN_WAIT)?;
    carried_out(told, site)
}

/// Takes away what was installed; configuration, permissions and state stay.
///
/// # Errors
/// Something is owed that nobody would pay any more, or a step failed.
pub fn uninstall(
    asked: &Uninstall,
    loaded: std::result::Result<&Loaded, &ConfigErrors>,
    now: &Now,
) -> Result<String> {
    let usual = Settings::default();
    let settings = loaded.map_or(&usual, |loaded| &loaded.settings);
    let installed: Installed = records::read(&settings.host.state_dir, now)?;
    let own = own_program()?;
    let prefix = prefix(asked.prefix.as_deref(), &own, &installed);
    // an act that is under way is waited for: ended half way, nobody would take it up
    let wait = settings.mounts.deadline + TURN_WAIT;
    let _locks = if asked.dry_run { None } else { Some(locks(settings, wait)?) };
    let mut rows = Vec::new();
    let debts: Debts = records::read(&settings.host.state_dir, now)?;
    for debt in &debts.debts {
        rows.push(Row {
            check: "debts",
            subject: debt.target(),
            grade: Grade::Fault,
            evidence: format!(
                "owed since {} ({}); nobody would put it back any more",
                debt.since().utc(),
                debt.why()
            ),
            mend: Some("unwedge-mounts --apply; unwedge-worker --apply".to_owned()),
        });
    }
    let from = own.parent().context("this program lies in no directory")?;
    let mut all = everything(&TOOLS, settings.host.services, from, &prefix)?;
    all.extend(content::local(&TOOLS, settings));
    let mut seen = look(settings, &prefix, &[], &all, &installed, &[]);
    (seen.users, seen.directories, seen.worker) = (None, None, None);
    let plan = decide(&seen, &Asked::default());
    let next = Installed { version: String::new(), tools: Vec::new(), ..installed };
    let after = if content::is_packaged(&prefix) && !asked.packaged {
        "everything is switched off; programs and pages are a package's: apt-get remove unwedge"
    } else {
        "configuration, permissions and state are left: /etc/unwedge, /var/lib/unwedge"
    };
    let site = Site { host: &settings.host, contents: &[], installed: next, now };
    let told = Told { rows, plan, done: Vec::new(), after, dry_run: asked.dry_run };
    if told.is_allowed() && !told.has_nothing_to_do() {
        carried_out(told, site)
    } else {
        ended(&told)
    }
}

/// Where it ends without anything done.
fn ended(told: &Told<'_>) -> Result<String> {
    if told.is_allowed() {
        return Ok(told.text());
    }
    let why = "something is missing that it stands on; nothing was touched";
    Err(Undone { told: told.text(), why }.into())
}

fn carried_out(mut told: Told<'_>, site: Site<'_>) -> Result<String> {
    told.done = install::carry_out(&told.plan, site)?;
    if told.done.iter().all(|(_, came)| came.is_ok()) {
        return Ok(told.text());
    }
    let why = "it is done in part; run it again once the cause is gone";
    Err(Undone { told: told.text(), why }.into())
}

/// No tool acts while programs and units are exchanged, and no other installation is under way.
fn locks(settings: &Settings, wait: Duration) -> Result<[lock::Lock; 2]> {
    let Tried::Locked(own) = lock::tool(&settings.host.run_dir, "install")? else {
        bail!("another installation is under way");
    };
    let path = &settings.gates.deploy_lock;
    let deadline = Deadline::after(wait);
    loop {
        match lock::maintenance(path)? {
            Tried::Locked(lock) => return Ok([own, lock]),
            Tried::Busy if deadline.passed() => bail!(
                "deploy-in-progress: somebody holds {}, or a tool acts; nothing was touched",
                text::path(path)
            ),
            Tried::Busy => pause(Duration::from_millis(200)),
        }
    }
}

/// Everything that is the same on every host.
fn everything(
    tools: &[&'static Tool],
    services: Services,
    from: &Path,
    prefix: &Path,
) -> Result<Vec<Content>> {
    let mut contents = content::programs(tools, from, prefix);
    contents.extend(content::texts(tools, services, prefix));
    contents.extend(generate::contents(prefix)?);
    Ok(contents)
}

/// Where it is installed, and which tools; where it is not, as it would be.
///
/// # Errors
/// What is installed cannot be read.
pub fn place(settings: &Settings, now: &Now) -> Result<(PathBuf, Vec<&'static Tool>)> {
    // a record that cannot be read is a row of its own
    let installed: Installed = records::read(&settings.host.state_dir, now).unwrap_or_default();
    let own = own_program()?;
    let prefix = if installed.version.is_empty() {
        // where this very program is, with the others beside it
        own.parent()
            .and_then(Path::parent)
            .map_or_else(|| PathBuf::from(USUAL_PREFIX), Path::to_owned)
    } else {
        installed.prefix.clone()
    };
    Ok((prefix, chosen(&installed)))
}

/// The tools of this installation; a record that names none stands for all.
fn chosen(installed: &Installed) -> Vec<&'static Tool> {
    let is_chosen = |tool: &&Tool| {
        installed.tools.is_empty() || installed.tools.iter().any(|it| it == tool.name)
    };
    TOOLS.into_iter().filter(is_chosen).collect()
}

/// What the hidden verb does: becomes that user and writes.
///
/// # Errors
/// There is no such user, or it cannot write there.
pub fn prove(user: &str, dir: &Path) -> Result<String> {
    let ids = user::named(user, user::LIMIT).map_err(anyhow::Error::msg)?;
    if rustix::process::geteuid().as_raw() != ids.uid {
        user::become_for_good(&ids).with_context(|| format!("become {user}"))?;
    }
    install::write_and_take_back(dir)?;
    Ok(format!("{user} can write into {}\n", text::path(dir)))
}

fn own_program() -> Result<PathBuf> {
    let shown = std::fs::read_link("/proc/self/exe").context("/proc/self/exe")?;
    let shown = shown.to_string_lossy();
    Ok(PathBuf::from(shown.strip_suffix(" (deleted)").unwrap_or(&shown)))
}

/// Where this goes: as was said, as it is installed, or where this very program is installed by a package.
fn prefix(asked: Option<&Path>, own: &Path, installed: &Installed) -> PathBuf {
    if let Some(asked) = asked {
        return asked.to_owned();
    }
    if installed.version.is_empty() {
        let by_package = own.starts_with(Path::new(PACKAGE_PREFIX).join("bin"));
        return PathBuf::from(if by_package { PACKAGE_PREFIX } else { USUAL_PREFIX });
    }
    installed.prefix.clone()
}

/// Another installation: both would be started, or one shadow the other.
fn elsewhere(prefix: &Path, installed: &Installed) -> Vec<Row> {
    let row = |subject: &Path, grade, evidence: &str, mend: String| Row {
        check: "elsewhere",
        subject: text::path(subject),
        grade,
        evidence: evidence.to_owned(),
        mend: Some(mend),
    };
    let mut rows = Vec::new();
    let known = (!installed.version.is_empty()).then_some(installed.prefix.as_path());
    let others = [Path::new(PACKAGE_PREFIX), Path::new(USUAL_PREFIX)].into_iter().chain(known);
    let mut others: Vec<&Path> = others.filter(|it| *it != prefix).collect();
    others.dedup();
    for other in others {
        let unit = files::UNITS[0].path(other);
        if unit.is_file() {
            let program = other.join("bin/unwedge");
            let mend = format!("{} uninstall", text::path(&program));
            rows.push(row(&unit, Grade::Fault, "it is installed there already", mend));
        }
    }
    for unit in &files::UNITS {
        let copy = Path::new("/etc/systemd/system").join(unit.name);
        if copy.symlink_metadata().is_ok_and(|it| it.is_file()) {
            let mend = format!("rm {}", text::path(&copy));
            rows.push(row(
                &copy,
                Grade::Warn,
                "it is used instead of the unit that is installed",
                mend,
            ));
        }
    }
    rows
}

/// The tools of a list of names.
fn named(names: Option<&[String]>) -> Result<Option<Vec<&'static Tool>>> {
    let Some(names) = names else { return Ok(None) };
    let one = |name: &String| {
        manifest::tool(name).with_context(|| {
            let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
            format!("{name}: no such tool; there are {}", known.join(", "))
        })
    };
    Ok(Some(names.iter().map(one).collect::<Result<_>>()?))
}

/// The tools to enable; what the configuration lacks for one is a row.
fn enabled(
    names: Option<&[String]>,
    tools: &[&'static Tool],
    settings: &Settings,
    rows: &mut Vec<Row>,
) -> Result<Vec<&'static Tool>> {
    let wanted = named(names)?.unwrap_or_default();
    for tool in &wanted {
        let section = match tool.needs {
            Needs::Nothing => "",
            Needs::Binds => "binds",
            Needs::Worker => "worker",
            Needs::Queue => "queue",
            Needs::Notify => "notify",
            Needs::Jobs => "jobs",
        };
        let lack = (!tool.is_needed(settings)).then_some(section);
        let missing =
            lack.map(|section| format!("there is no [{section}] in the configuration for it"));
        let not_chosen = || format!("--only does not name {}", tool.name);
        let evidence =
            missing.or_else(|| (!tools.iter().any(|it| it.name == tool.name)).then(not_chosen));
        rows.extend(evidence.map(|evidence| Row {
            check: "enable",
            subject: tool.name.to_owned(),
            grade: Grade::Fault,
            evidence,
            mend: None,
        }));
    }
    Ok(wanted)
}

/// The drop-ins that are asked for, and those of an earlier installation: they stay until everything goes.
fn drop_ins(names: Option<&[String]>, installed: &Installed) -> Result<Vec<DropIn>> {
    let names = names.unwrap_or_default();
    if let Some(unknown) =
        names.iter().find(|name| DropIn::ALL.iter().all(|it| it.name() != name.as_str()))
    {
        return Err(wrong(format!(
            "{unknown}: no such drop-in; there are {}",
            DropIn::ALL.map(DropIn::name).join(", ")
        )));
    }
    let is_installed = |it: &DropIn| {
        let file = format!("{}{}.conf", content::DROP_IN_PREFIX, it.name());
        installed.files.iter().any(|known| known.path.ends_with(&file))
    };
    let wanted = |it: &DropIn| names.iter().any(|name| name == it.name()) || is_installed(it);
    Ok(DropIn::ALL.into_iter().filter(wanted).collect())
}

/// What is there, of what is to be there and of everything else that may once have been put there.
fn look(
    settings: &Settings,
    prefix: &Path,
    contents: &[Content],
    everything: &[Content],
    installed: &Installed,
    tools: &[&'static Tool],
) -> Seen {
    let host = &settings.host;
    let of_systemd = host.services == Services::Systemd;
    let has_manager = of_systemd && services::is_running();
    let wanted = probe::files(contents, installed);
    let mut surplus = probe::surplus(contents, everything, installed);
    surplus.extend(probe::stale_metrics(host, installed, tools));
    if content::is_packaged(prefix) {
        surplus.retain(|file| !file.path.starts_with(prefix));
    }
    let to_be: Vec<PathBuf> = wanted
        .iter()
        .filter(|file| !matches!(file.there, probe::There::Same))
        .map(|file| file.path.clone())
        .collect();
    // timers first: nothing is started again while the rest is switched off
    let mut names: Vec<String> = TOOLS.iter().flat_map(|tool| tool.units()).collect();
    let is_timer = |name: &String| Path::new(name).extension().is_some_and(|it| it == "timer");
    names.sort_by_key(|name| !is_timer(name));
    let shown = services::show(&host.systemctl, &names, SYSTEMCTL_LIMIT).unwrap_or_default();
    let none = Shown::default();
    let unit = |name: &String| {
        let shown = shown.get(name).unwrap_or(&none);
        let stays = tools.iter().any(|tool| tool.start == Start::Always && tool.service() == *name);
        UnitLook {
            name: name.clone(),
            enabled: shown.is_enabled(),
            active: shown.is_active() || shown.get("ActiveState") == "activating",
            runs_old: stays
                && shown
                    .main_pid()
                    .is_some_and(|pid| probe::runs_old(pid, prefix, &to_be).is_some()),
        }
    };
    let users = files::USERS[0].path(prefix);
    Seen {
        users: (of_systemd
            && host.user == Settings::default().host.user
            && !probe::has_user(&host.user))
        .then_some(users),
        directories: (of_systemd && !probe::has_directories(&content::directories(host)))
            .then(|| content::directories_file(host, prefix)),
        metrics: host.textfile_dir.clone(),
        units: if has_manager { names.iter().map(unit).collect() } else { Vec::new() },
        worker: has_manager.then(|| old_worker(settings, prefix, &to_be, &shown)).flatten(),
        has_manager,
        surplus,
        wanted,
    }
}

fn old_worker(
    settings: &Settings,
    prefix: &Path,
    to_be: &[PathBuf],
    shown: &std::collections::BTreeMap<String, Shown>,
) -> Option<OldWorker> {
    let configured = settings.worker.as_ref()?;
    let look = worker::glance(settings, configured);
    let (pid, program) = probe::worker_runs_old(&look, prefix, to_be)?;
    let awaited =
        shown.get(RESTART_WHEN_IDLE).is_some_and(|unit| unit.get("ActiveState") == "activating");
    Some(OldWorker {
        unit: configured.unit.clone()?,
        evidence: format!("process {pid} runs what {} was before", text::path(&program)),
        awaited,
    })
}
