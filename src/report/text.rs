//! A round as a person reads it, in 80 columns: what was seen, what would be (or was) done, what is
//! held and why.

use super::json::detail;
use super::out::Colour;
use super::round::{Mode, Round};
use crate::act::outcome::{Ended, Outcome};
use crate::decide::plan::{Hold, Reason, Subject};
use crate::probes::holders::Holders;
use crate::probes::mounts::Observation;
use crate::probes::verdict::Verdict;
use crate::sys::clock::rfc3339;
use crate::sys::text;

/// The width that nothing but a single long word may exceed.
pub const COLUMNS: usize = 80;
/// The width of the path's column, when some path needs it.
const PATH_MAX: usize = 40;
/// How far what belongs to a line above it is set in.
const INDENT: usize = 6;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What matters.
    Plain,
    /// Also what every path was recognised by.
    Full,
}

impl Detail {
    /// By how often `-v` was given.
    #[must_use]
    pub fn of(verbose: u8) -> Self {
        if verbose > 0 { Self::Full } else { Self::Plain }
    }
}

/// The whole text.
#[must_use]
pub fn render(round: &Round<'_>, colour: Colour, detail: Detail) -> String {
    let mut out = mounts(round.observations, colour, detail);
    if let Some(news) = &round.worker {
        out.push_str(&format!("\n{}\n", super::worker::line(news)));
    }
    if detail == Detail::Full {
        let orphans = round.orphans.map_or("unknown".to_owned(), |count| count.to_string());
        out.push_str(&format!("connections in no mount namespace: {orphans}\n"));
    }
    out.push_str(&plan(round));
    if let Some(trouble) = round.trouble {
        out.push_str("\nnot stored\n");
        wrap(&mut out, trouble);
    }
    let repaired: Vec<Observation> = round
        .present
        .iter()
        .filter(|now| {
            round
                .observations
                .iter()
                .any(|then| then.path == now.path && then.verdict != now.verdict)
        })
        .cloned()
        .collect();
    if !repaired.is_empty() {
        out.push_str(&format!("\nnow\n{}", mounts(&repaired, colour, detail)));
    }
    out
}

/// The table of mounts.
#[must_use]
pub fn mounts(observations: &[Observation], colour: Colour, detail: Detail) -> String {
    if observations.is_empty() {
        return "no FUSE or network mount here, and none configured: nothing to watch\n".to_owned();
    }
    let names: Vec<String> = observations.iter().map(|seen| text::path(&seen.path)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let width = longest.clamp(5, PATH_MAX);
    let mut out = format!("{:width$}  {:13}  {:>7}  TYPE\n", "MOUNT", "VERDICT", "PROBE");
    for (seen, name) in observations.iter().zip(&names) {
        let probe = seen.probe.map_or_else(|| "-".to_owned(), text::duration);
        let fstype = seen.top().map_or("-", |top| top.fstype.as_str());
        let layers = match seen.layers.len() {
            0 | 1 => String::new(),
            layers => format!(" ({layers} layers)"),
        };
        let verdict = paint(seen.verdict, &format!("{:13}", seen.verdict.name()), colour);
        if name.chars().count() > width {
            out.push_str(&format!("{name}\n{:width$}", ""));
        } else {
            out.push_str(&format!("{name:width$}"));
        }
        out.push_str(&format!("  {verdict}  {probe:>7}  {fstype}{layers}\n"));
        if seen.verdict != Verdict::Live || detail == Detail::Full {
            wrap(&mut out, &seen.why);
        }
        if let Some(entries) =
            seen.beneath.filter(|entries| *entries > 0 && !seen.layers.is_empty())
        {
            wrap(&mut out, &format!("hides {entries} entries of the bare directory below it"));
        }
        if detail == Detail::Full {
            wrap(&mut out, &recognised_by(seen));
        }
    }
    out
}

/// Which mount it is, who holds it, and why it is looked at.
fn recognised_by(seen: &Observation) -> String {
    let roles: Vec<&str> = seen.roles.iter().map(|role| role.name()).collect();
    let mut said = roles.join(", ");
    if let Some(top) = seen.top() {
        let identity = &top.identity;
        said += &format!("; mount {} on {}", identity.mount_id, identity.dev);
        if let Some(unique) = identity.unique_id {
            said += &format!(", unique {unique}");
        }
        said += &format!(", from {}", text::name(&top.source));
        match &top.holders {
            Holders::None => said += "; no daemon",
            Holders::Living(daemons) => {
                for daemon in daemons {
                    said += &format!("; daemon {} ({})", daemon.pid, daemon.comm);
                }
            }
            Holders::Unknown(why) => said += &format!("; daemon unknown: {why}"),
        }
    }
    said
}

/// The plan: before it is carried out, what would be done; after, what was.
#[must_use]
pub fn plan(round: &Round<'_>) -> String {
    let steps: Vec<_> = round.plan.steps().collect();
    let mut out = String::new();
    if !steps.is_empty() {
        let what = match (round.mode, round.outcomes.is_empty()) {
            (Mode::DryRun, _) => "dry run: nothing was changed",
            (Mode::Apply, true) => "not carried out: see below",
            (Mode::Apply, false) => "carried out",
        };
        out.push_str(&format!("\nplan {} ({what})\n", round.plan.id()));
    }
    for (index, planned) in steps.iter().enumerate() {
        let verb = planned.step.verb().name();
        pair(&mut out, &format!("{:>3}  {verb:16}", index + 1), &planned.step.target());
        match round.outcomes.get(index) {
            Some(outcome) => wrap(&mut out, &came(outcome)),
            None => wrap(&mut out, &planned.why),
        }
    }
    // a closed gate says nothing to somebody who only looks while there is nothing to do
    let idle = steps.is_empty() && round.mode == Mode::DryRun;
    let matters = |hold: &&Hold| {
        !idle
            || hold.subject != Subject::Everything
            || matches!(
                hold.reason,
                Reason::StateUnreadable | Reason::ClockFault | Reason::UnclearEvidence
            )
    };
    let mut holds = round.holds().filter(matters).peekable();
    if holds.peek().is_some() {
        out.push_str("\nheld\n");
    }
    for hold in holds {
        pair(&mut out, &format!("  {}", hold.reason.name()), &hold.subject.text());
        let until = hold
            .until_utc_ms
            .map_or_else(String::new, |until| format!(" (until {})", rfc3339(until)));
        wrap(&mut out, &format!("{}{until}", hold.detail));
    }
    out
}

fn came(outcome: &Outcome) -> String {
    let how = match &outcome.ended {
        Ended::Done(_) => "done",
        Ended::Already(_) => "already so",
        Ended::Refused(reason, _) => reason.name(),
        Ended::Failed(_) => "failed",
        Ended::Skipped => "skipped",
    };
    format!("{how} in {}: {}", text::duration(outcome.took), detail(&outcome.ended))
}

/// Adds two words in a line, or in two where one would be too long.
fn pair(out: &mut String, first: &str, second: &str) {
    if first.chars().count() + 2 + second.chars().count() <= COLUMNS {
        out.push_str(&format!("{first}  {second}\n"));
    } else {
        out.push_str(&format!("{first}\n  {second}\n"));
    }
}

/// Adds `text`, set in and broken at blanks.
fn wrap(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length <= COLUMNS {
            out.push(' ');
            column += 1 + length;
        } else {
            if column > 0 {
                out.push('\n');
            }
            out.push_str(&" ".repeat(INDENT));
            column = INDENT + length;
        }
        out.push_str(word);
    }
    if column > 0 {
        out.push('\n');
    }
}

fn paint(verdict: Verdict, text: &str, colour: Colour) -> String {
    let code = match verdict {
        Verdict::Live => 32,
        Verdict::Dead
        | Verdict::Hung
        | Verdict::Absent
        | Verdict::WrongSource
        | Verdict::Pinned => 31,
        Verdict::Unknown | Verdict::ChildOfDead | Verdict::Transient | Verdict::Inconclusive => 33,
    };
    match colour {
        Colour::Yes => format!("\x1b[{code}m{text}\x1b[0m"),
        Colour::No => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks_and_never_beyond_80_columns() {
        let mut out = String::new();
        wrap(&mut out, &"word ".repeat(60));
        assert!(out.lines().all(|line| line.len() <= COLUMNS && line.starts_with("      w")));
        assert_eq!(out.split_whitespace().count(), 60);
        let mut out = String::new();
        wrap(&mut out, "");
        assert_eq!(out, "");
    }
}
