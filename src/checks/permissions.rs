//! What may be done and what keeps it from being done: sentinels, HALT, holds, the deploy lock, locks of rounds.

use std::path::Path;
use std::time::Duration;

use super::{Finding, Host, or_ok};
use crate::config::sentinel::{self, Halt, Kind, Permission};
use crate::manifest::content;
use crate::probes::gates::{self, Holder};
use crate::probes::records::{self, Debts, Holds};
use crate::sys::{clock, text};

/// How much longer than its deadline a round may hold its lock until that is a fault.
const GRACE: Duration = Duration::from_secs(60);

pub fn sentinels(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.sentinel_dir;
    let look = |kind: Kind| {
        let tool = host
            .tools
            .iter()
            .find(|tool| tool.sentinel() == Some(kind) && tool.has_to_act(host.settings))?;
        let runs = host.units().is_ok_and(|units| {
            units
                .get(&tool.enabled_unit())
                .is_some_and(|unit| unit.is_enabled() || unit.is_active())
        });
        let (name, path) = (kind.name(), dir.join(kind.name()));
        Some(match (sentinel::permission(dir, kind), runs || !host.has_systemd()) {
            (Permission::Armed, true) => Finding::ok(name, format!("armed: {} acts", tool.program)),
            (Permission::Armed, false) => {
                Finding::warn(name, format!("armed, and nobody starts {}", tool.program))
                    .mended_by(format!("unwedge install --enable {} --start", tool.name))
            }
            (Permission::NotArmed, true) => Finding::warn(
                name,
                format!("not armed: {} looks and reports, and acts on nothing", tool.program),
            )
            .mended_by(format!("unwedge sentinel arm {name}")),
            (Permission::NotArmed, false) => Finding::ok(name, "not armed"),
            (Permission::Invalid(why), _) => {
                Finding::fault(name, format!("it permits nothing: {why}"))
                    .mended_by(format!("chown root:root {0} && chmod 644 {0}", text::path(&path)))
            }
            (Permission::Unknown(why), _) => Finding::unknown(name, why),
        })
    };
    Kind::ALL.into_iter().filter_map(look).collect()
}

pub fn halt(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.sentinel_dir;
    let owed = records::read::<Debts>(&host.settings.host.state_dir, host.now)
        .is_ok_and(|owed| !owed.debts.is_empty());
    let clear = format!("rm {}", text::path(&dir.join(sentinel::HALT)));
    vec![match sentinel::halt(dir) {
        Halt::Clear => Finding::ok("", "not set"),
        Halt::Set(why) if owed => Finding::fault(
            "",
            format!("set ({why}), and something that was taken away is not put back"),
        )
        .mended_by(clear),
        Halt::Set(why) => Finding::warn("", format!("set: nothing acts: {why}")).mended_by(clear),
        Halt::Unknown(why) => {
            Finding::unknown("", format!("nobody can tell, so nothing acts: {why}"))
        }
    }]
}

pub fn holds(host: &Host<'_>) -> Vec<Finding> {
    let holds: Holds = match records::read(&host.settings.host.state_dir, host.now) {
        Ok(holds) => holds,
        Err(why) => return vec![Finding::unknown("", why.to_string())],
    };
    let open =
        holds.holds.iter().filter_map(|(kind, hold)| Some((kind, hold.left(host.now)?, hold)));
    let found: Vec<Finding> = open
        .map(|(kind, left, hold)| {
            let because = text::bytes(hold.because.as_bytes());
            let why = format!(
                "on hold for {} more, set {}: {because}",
                text::duration(left),
                hold.set.utc()
            );
            Finding::warn(kind.as_str(), why).mended_by(format!("unwedge hold clear {kind}"))
        })
        .collect();
    or_ok(found, "none")
}

pub fn locks(host: &Host<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for tool in host.tools {
        let Some(path) = tool.lock_file(&host.settings.host) else { continue };
        let limit = content::longest_round(tool, host.settings) + GRACE;
        found.push(match holder(&path) {
            Ok(None) => continue,
            Ok(Some(held)) if held.since <= limit => Finding::ok(tool.name, held.said),
            Ok(Some(held)) => Finding::fault(
                tool.name,
                format!("{}; a round ends within {}", held.said, text::duration(limit)),
            )
            .mended_by(format!("systemctl stop --no-block {}", tool.service())),
            Err(why) => Finding::unknown(tool.name, why),
        });
    }
    or_ok(found, "no round is at work")
}

pub fn deploy_lock(host: &Host<'_>) -> Vec<Finding> {
    let path = &host.settings.gates.deploy_lock;
    vec![match holder(path) {
        Ok(None) => Finding::ok("", "free"),
        Ok(Some(held)) if held.shared => Finding::ok("", format!("a tool acts: {}", held.said)),
        Ok(Some(held)) => {
            Finding::warn("", format!("nothing acts while somebody deploys: {}", held.said))
        }
        Err(why) => Finding::unknown("", why),
    }]
}

/// Who holds a lock.
struct Held {
    shared: bool,
    since: Duration,
    said: String,
}

/// Who holds an flock on a file, and how long, by when that process began.
fn holder(path: &Path) -> Result<Option<Held>, String> {
    let Some(Holder { exclusive, pid }) = gates::holders(path)?.first().copied() else {
        return Ok(None);
    };
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    let (since, name) = match stat {
        Ok(stat) => {
            let ticks = procfs::ticks_per_second().max(1);
            let started = Duration::from_millis(stat.starttime.saturating_mul(1000) / ticks);
            (clock::boottime().saturating_sub(started), stat.comm)
        }
        // another pid namespace, or gone since
        Err(_) => (Duration::ZERO, "a process that cannot be seen".to_owned()),
    };
    let said = format!(
        "held by {} ({pid}), which runs for {}",
        text::bytes(name.as_bytes()),
        text::duration(since)
    );
    Ok(Some(Held { shared: !exclusive, since, said }))
}
