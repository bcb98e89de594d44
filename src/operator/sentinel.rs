//! `unwedge sentinel list|arm|disarm`. Arming is the moment at which a tool is trusted with the
//! host, so it shows the caps and the last plan, and wants a rehearsal by this very version and
//! configuration that is not older than a day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::known_kind;
use crate::act::store::{self, Durability};
use crate::config::Loaded;
use crate::config::sentinel::{self, Halt, Kind, Permission};
use crate::probes::records::{self, MountsState, Record, Rehearsal, WorkerState};
use crate::report::json::told;
use crate::sys::clock::Now;
use crate::sys::text;

/// How old a rehearsal may be.
const REHEARSAL_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Every kind with its permission, and HALT.
///
/// # Errors
/// It cannot be written as JSON.
pub fn list(loaded: &Loaded, json: bool, now: &Now) -> Result<String> {
    let dir = &loaded.settings.host.sentinel_dir;
    let mut rows: Vec<(&str, bool, String)> = Vec::new();
    for kind in Kind::ALL {
        let permission = sentinel::permission(dir, kind);
        let kind = kind.name();
        rows.push(match permission {
            Permission::Armed => (kind, true, "armed".to_owned()),
            Permission::NotArmed => (kind, false, "not armed".to_owned()),
            Permission::Invalid(why) | Permission::Unknown(why) => {
                (kind, false, format!("not armed: {why}"))
            }
        });
    }
    rows.push(match sentinel::halt(dir) {
        Halt::Clear => (sentinel::HALT, false, "not set".to_owned()),
        Halt::Set(why) => (sentinel::HALT, true, format!("set: nothing acts: {why}")),
        Halt::Unknown(why) => {
            (sentinel::HALT, true, format!("cannot tell, so nothing acts: {why}"))
        }
    });
    if json {
        let object: BTreeMap<&str, bool> = rows.iter().map(|(kind, on, _)| (*kind, *on)).collect();
        return Ok(told(&object, now)?);
    }
    Ok(rows.iter().map(|(kind, _, said)| format!("{kind:8} {said}\n")).collect())
}

/// Permits a kind of act.
///
/// # Errors
/// No fresh rehearsal and no reason to do without one; or the sentinel cannot be written.
pub fn arm(
    loaded: &Loaded,
    kind: &str,
    because: Option<&str>,
    dry_run: bool,
    now: &Now,
) -> Result<String> {
    let kind = known_kind(kind)?;
    let mut out = caps(loaded, kind);
    let rehearsed = match kind {
        Kind::Mounts | Kind::Binds => rehearsal::<MountsState>(loaded, now, |it| it.rehearsal)?,
        Kind::Worker => rehearsal::<WorkerState>(loaded, now, |it| it.rehearsal)?,
        Kind::Recover | Kind::Jobs | Kind::Notify => Err(NONE.to_owned()),
    };
    let name = kind.name();
    let note = match (&rehearsed, because) {
        (Ok(rehearsal), _) => {
            let _ = writeln!(out, "last plan ({}):", rehearsal.at.utc());
            for line in &rehearsal.plan {
                let _ = writeln!(out, "{}", format!("  {line}").trim_end());
            }
            if rehearsal.plan.is_empty() {
                out.push_str("  nothing to do, nothing held\n");
            }
            format!("rehearsed {} as plan {}", rehearsal.at.utc(), rehearsal.plan_id)
        }
        (Err(why), Some(because)) => {
            format!("not rehearsed ({why}); {}", text::tail(because.as_bytes(), 500))
        }
        (Err(why), None) => match rehearsed_by(kind) {
            Some(tool) => bail!(
                "{name} is not armed: {why}; run `{tool} --apply` unarmed (it acts on nothing), \
                 read its plan, and arm again; or give --because"
            ),
            None => bail!("{name} is not armed: {why}; give --because"),
        },
    };
    if dry_run {
        out.push_str("would be armed\n");
        return Ok(out);
    }
    let dir = &loaded.settings.host.sentinel_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("make directory {}", text::path(dir)))?;
    let stamp = now.stamp().utc();
    let content = format!("armed {stamp} with unwedge {}\n{note}\n", env!("CARGO_PKG_VERSION"));
    store::replace(&dir.join(name), content.as_bytes(), Durability::Flushed)?;
    match sentinel::permission(dir, kind) {
        Permission::Armed => out.push_str("armed\n"),
        Permission::NotArmed => bail!("{name}: written, and yet not there"),
        Permission::Invalid(why) | Permission::Unknown(why) => bail!("{name}: not armed: {why}"),
    }
    Ok(out)
}

/// What shows the plan of a kind before it is armed.
fn rehearsed_by(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Mounts | Kind::Binds => Some("unwedge-mounts"),
        Kind::Worker => Some("unwedge-worker"),
        Kind::Recover | Kind::Jobs | Kind::Notify => None,
    }
}

/// Said of kinds that carry out no plan.
const NONE: &str = "there is no rehearsal of this kind";

fn caps(loaded: &Loaded, kind: Kind) -> String {
    let what = match kind {
        Kind::Mounts => "mounts may be aborted, detached and mounted again",
        Kind::Binds => "binds of the table may be made and swapped",
        Kind::Worker => return worker_caps(loaded),
        Kind::Recover | Kind::Jobs | Kind::Notify => return String::new(),
    };
    let mounts = &loaded.settings.mounts;
    let roots: Vec<String> = mounts.repair_under.iter().map(|root| text::path(root)).collect();
    let budget = &mounts.budget;
    format!(
        "{what} under: {}\nat most {} an hour, {} a day, \
         {} a day for one target, {} apart\n",
        if roots.is_empty() { "(nothing)".to_owned() } else { roots.join(" ") },
        budget.per_hour,
        budget.per_day,
        budget.per_target_per_day,
        text::duration(budget.cooldown),
    )
}

fn worker_caps(loaded: &Loaded) -> String {
    match &loaded.settings.worker {
        None => {
            "there is no [worker] in the configuration: nothing is started or stopped\n".to_owned()
        }
        Some(worker) => format!(
            "{} may be started: at most {} a day, {} apart and longer after each that fails\n",
            worker.name(),
            worker.budget.per_day,
            text::duration(worker.budget.cooldown),
        ),
    }
}

/// The last rehearsal, or why it does not count.
fn rehearsal<R: Record>(
    loaded: &Loaded,
    now: &Now,
    of: impl Fn(R) -> Option<Rehearsal>,
) -> Result<Result<Rehearsal, String>> {
    let state: R = records::read(&loaded.settings.host.state_dir, now)?;
    let Some(rehearsal) = of(state) else {
        return Ok(Err("it was never rehearsed".to_owned()));
    };
    if rehearsal.version != env!("CARGO_PKG_VERSION") {
        return Ok(Err(format!("the last rehearsal was by version {}", rehearsal.version)));
    }
    if rehearsal.config != loaded.digest() {
        return Ok(Err("the configuration has changed since the last rehearsal".to_owned()));
    }
    Ok(match now.since(&rehearsal.at).known() {
        Some(age) if age < REHEARSAL_AGE_MAX => Ok(rehearsal),
        Some(age) => Err(format!("the last rehearsal is {} old", text::duration(age))),
        None => Err("the age of the last rehearsal cannot be told".to_owned()),
    })
}

/// Forbids a kind of act.
///
/// # Errors
/// The sentinel cannot be removed.
pub fn disarm(loaded: &Loaded, kind: &str, dry_run: bool) -> Result<String> {
    let kind = known_kind(kind)?.name();
    let path = loaded.settings.host.sentinel_dir.join(kind);
    if dry_run {
        return Ok(format!("would remove {}\n", text::path(&path)));
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(format!("{kind} is not armed any more\n")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{kind} was not armed\n"))
        }
        Err(error) => Err(error).with_context(|| format!("remove {}", text::path(&path))),
    }
}
