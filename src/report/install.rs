//! An installation for a person: what it stands on, what would be done or was, and what comes next.

use std::fmt::Write as _;
use std::path::Path;

use crate::act::install::Came;
use crate::checks::{Grade, Row};
use crate::decide::install::{Plan, Step};
use crate::sys::text;

/// What was looked at and decided, and what came of it.
#[derive(Debug)]
pub struct Told<'a> {
    /// What it stands on.
    pub rows: Vec<Row>,
    /// What was decided.
    pub plan: Plan,
    /// What came of the steps, as far as they were done.
    pub done: Vec<(Step, Came)>,
    /// What comes next.
    pub after: &'a str,
    /// Whether nothing is to be done.
    pub dry_run: bool,
}

impl Told<'_> {
    /// Whether nothing is missing that it stands on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        let lacks = |row: &Row| match row.grade {
            Grade::Fault => true,
            // whether there is a systemd decides what is done at all
            Grade::Unknown => row.check == "systemd",
            Grade::Ok | Grade::Warn => false,
        };
        !self.rows.iter().any(lacks) && self.plan.refusals.is_empty()
    }

    /// Whether nothing is to be done, or only to be said.
    #[must_use]
    pub fn has_nothing_to_do(&self) -> bool {
        self.dry_run || self.plan.steps.is_empty()
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for Row { check, subject, grade, evidence, mend } in &self.rows {
            let _ = writeln!(out, "{:8} {check:14} {subject} {evidence}", grade.name());
            if let Some(mend) = mend {
                let _ = writeln!(out, "         {mend}");
            }
        }
        for refusal in &self.plan.refusals {
            let _ = writeln!(out, "refused  {refusal}");
        }
        for index in 0..self.plan.steps.len() {
            out += &self.step(index);
        }
        for note in &self.plan.notes {
            let _ = writeln!(out, "{note}");
        }
        let (count, done) =
            (self.plan.steps.len(), self.done.iter().filter(|(_, came)| came.is_ok()).count());
        let how = match (count, self.dry_run) {
            (0, _) => "everything is in place; nothing was changed".to_owned(),
            (_, true) => format!("{count} steps would be done; nothing was changed"),
            (_, false) => format!("{done} of {count} steps were done"),
        };
        let _ = writeln!(out, "{how}\n{}", self.after);
        out
    }

    /// A step and what came of it; of sixty pages nobody reads sixty lines.
    fn step(&self, index: usize) -> String {
        let step = &self.plan.steps[index];
        let came = self.done.get(index).map(|(_, came)| came);
        let is_page = |step: &Step| step.path().is_some_and(is_page);
        let goes_on = index > 0 && is_page(step) && is_page(&self.plan.steps[index - 1]);
        if goes_on && came.is_none_or(Result::is_ok) {
            return String::new();
        }
        let path = step.path().map(text::path);
        let path =
            path.map(|path| if is_page(step) { format!("{path} and other pages") } else { path });
        let what = path.or_else(|| step.unit().map(str::to_owned)).unwrap_or_default();
        let line = format!("  {:18} {what}", step.verb());
        let mut out = line.trim_end().to_owned() + "\n";
        match came {
            Some(Err(why)) => out += &format!("      failed: {why}\n"),
            Some(Ok(came)) if !matches!(step, Step::Write(_) | Step::Remove(_)) => {
                out += &format!("      {came}\n");
            }
            Some(Ok(_)) | None => {}
        }
        out
    }
}

/// Documentation, man pages and completions.
fn is_page(path: &Path) -> bool {
    path.ancestors().any(|above| above.ends_with("share"))
}
