//! Drills: `unwedge drill mount PATH` pretends that a mount is broken and shows the plan that would be made; it is a dry
//! run, remembers nothing, and goes by no count and no cap of the real rounds. `unwedge drill alert` writes a metric
//! that fires the drill's route, and takes it away again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{time_of, wrong};
use crate::config::Settings;
use crate::config::sentinel::Kind;
use crate::decide::mounts::{World, decide};
use crate::manifest::MOUNTS;
use crate::probes::verdict::Verdict;
use crate::probes::work::Work;
use crate::probes::{binds, facts};
use crate::report::metrics;
use crate::report::out::{self, Colour};
use crate::report::round::{Mode, Round};
use crate::report::text::{self as report, Detail};
use crate::sys::clock::{Deadline, Now};
use crate::sys::{command, manager, text};

/// The file of the drill's metric.
pub const FILE: &str = "unwedge_drill.prom";
/// Longer than this nobody watches a drill.
const ALERT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Pretends.
///
/// # Errors
/// Nothing is known of that path, or of that verdict.
pub fn mount(settings: &Settings, path: &Path, verdict: &str) -> Result<String> {
    let broken = [Verdict::Dead, Verdict::Hung, Verdict::Absent];
    let Some(verdict) = broken.into_iter().find(|it| it.name() == verdict) else {
        return Err(wrong(format!(
            "--as {verdict}: there are {}",
            broken.map(Verdict::name).join(", ")
        )));
    };
    let work = Work::look(settings);
    let (settings, faults) = &binds::complete(settings, &work);
    let facts = facts::pretend(settings, work, path, verdict)?;
    if facts.survey.observations.iter().all(|seen| seen.path != path) {
        bail!("{}: no [[mount]] and no [[bind]] of the configuration is there", text::path(path));
    }
    let decision = decide(&World::of(Kind::Mounts, settings, &facts, faults));
    let round = Round::of(&MOUNTS, Mode::DryRun, settings, &facts, faults, &decision.plan);
    Ok(format!(
        "drill: as if {} were {verdict}; nothing is done, and nothing remembered\n\n{}",
        text::path(path),
        report::render(&round, Colour::of_stdout(), Detail::of(0))
    ))
}

/// Fires, waits, and takes the metric away, also when it is stopped meanwhile. Should it be killed, the alert goes by
/// the end that is written in the metric.
///
/// # Errors
/// The metric cannot be written or taken away.
pub fn alert(
    settings: &Settings,
    time: &str,
    dry_run: bool,
    json: bool,
    now: &Now,
) -> Result<String> {
    let time = time_of("--for", time)?;
    if time.is_zero() || time > ALERT_MAX {
        return Err(wrong(format!("--for: more than 0s, at most {}", text::duration(ALERT_MAX))));
    }
    let file = settings.host.textfile_dir.join(FILE);
    let shown = text::path(&file);
    if dry_run {
        return Ok(format!("would write {shown} for {}\n", text::duration(time)));
    }
    let stop = manager::stop().context("listen for the end")?;
    metrics::write_drill(settings, FILE, time, now)?;
    let begun = format!(
        "{shown} is there for {}: UnwedgeDrill fires, once Prometheus has read it",
        text::duration(time)
    );
    if json {
        // a program reads one object, in the end
        out::complain(&begun);
    } else {
        out::print(&format!("{begun}\n"))?;
    }
    let deadline = Deadline::after(time);
    let stop = stop.into();
    while !deadline.passed() && command::wait_any(&[&stop], deadline.left()).is_empty() {}
    std::fs::remove_file(&file).with_context(|| format!("remove {shown}"))?;
    Ok("it is gone: the alert ends\n".to_owned())
}
