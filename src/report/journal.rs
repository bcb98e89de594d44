//! One line a run. Under systemd it goes to the journal with its fields; elsewhere to standard
//! error with the time in front.

use std::time::Duration;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;

use super::exit::Exit;
use super::out;
use super::round::Round;
use crate::act::outcome::Outcome;
use crate::probes::verdict::Verdict;
use crate::sys::clock::millis;
use crate::sys::text;

/// Whether our standard error is the journal's: then it adds time, unit and priority itself.
#[must_use]
pub fn is_ours() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Says how the round went.
pub fn say(round: &Round<'_>) {
    tell(round.tool.name, &round.plan.id(), round.took, round.exit(), &line(round));
}

/// Says a line on a round of a tool; `plan` is empty for one that plans nothing.
pub fn tell(tool: &str, plan: &str, took: Duration, exit: Exit, line: &str) {
    if is_ours()
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal.with_field_prefix(None).with_priority_mappings(PriorityMappings {
            // an ordinary round every minute is nothing to take notice of
            info: Priority::Informational,
            ..PriorityMappings::new()
        });
        let subscriber = tracing_subscriber::registry().with(journal);
        let took_ms = millis(took);
        tracing::subscriber::with_default(subscriber, || match exit {
            Exit::Fine => tracing::info!(
                unwedge_tool = tool,
                unwedge_plan = plan,
                unwedge_ms = took_ms,
                "{line}"
            ),
            Exit::Failed | Exit::Usage | Exit::Unfit | Exit::Lost | Exit::Interrupted => {
                tracing::error!(
                    unwedge_tool = tool,
                    unwedge_plan = plan,
                    unwedge_ms = took_ms,
                    "{line}"
                );
            }
        });
    } else {
        out::complain(&format!("unwedge-{tool}: {line}"));
    }
}

/// `apply: 3 watched, 1 dead; 3 steps, 3 done; in 120 ms`.
#[must_use]
pub fn line(round: &Round<'_>) -> String {
    let mut parts = vec![format!("{} watched", round.observations.len())];
    for verdict in Verdict::ALL {
        let seen = round.count(verdict);
        if seen > 0 {
            parts.push(format!("{seen} {verdict}"));
        }
    }
    let worker =
        round.worker.as_ref().map_or_else(String::new, |news| super::worker::line(news) + "; ");
    let mut line = format!("{}: {worker}{}", round.mode.name(), parts.join(", "));
    for (index, planned) in round.plan.steps().enumerate() {
        let how = match round.outcomes.get(index) {
            Some(outcome) if outcome.ok() => "done",
            Some(_) => "not done",
            None => "planned",
        };
        let step = &planned.step;
        line += &format!("; {how}: {} {}", step.verb().name(), step.target());
    }
    if let Some(failed) = round.outcomes.iter().find(|outcome| !outcome.ok()) {
        line += &describe(failed);
    }
    if let Some(trouble) = round.trouble {
        line += &format!("; {trouble}");
    }
    let mut held: Vec<String> = round
        .holds()
        .map(|hold| format!("{} {}", hold.subject.text(), hold.reason.name()))
        .collect();
    held.sort();
    if !held.is_empty() {
        line += &format!("; held: {}", held.join(", "));
    }
    line + &format!("; in {}", text::duration(round.took))
}

fn describe(failed: &Outcome) -> String {
    let step = &failed.planned.step;
    let detail = super::json::detail(&failed.ended);
    format!("; {} {}: {detail}", step.verb().name(), step.target())
}
