//! What is at work on this host, as far as mounts are concerned: which jobs run, which come next, and
//! which paths they write to.

use std::path::Path;

use super::jobs::{self, Job, QueueFacts, QueueLook};
use crate::config::Settings;

/// What is known of the work on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// No queue is configured: nothing is known to run.
    NoQueue,
    /// There is a queue, and this is why nobody knows what it holds.
    Unknown(String),
    /// What the queue holds.
    Known(Box<QueueFacts>),
}

impl Work {
    /// Asks the queue, where there is one.
    #[must_use]
    pub fn look(settings: &Settings) -> Self {
        let Some(queue) = &settings.queue else { return Self::NoQueue };
        match jobs::ask(settings, jobs::limit(queue)) {
            QueueLook::Known(facts) => Self::Known(Box::new(facts)),
            QueueLook::Unknown { why, .. } => Self::Unknown(why),
        }
    }

    /// What the queue holds, if anybody knows.
    #[must_use]
    pub fn known(&self) -> Option<&QueueFacts> {
        match self {
            Self::Known(facts) => Some(facts),
            Self::NoQueue | Self::Unknown(_) => None,
        }
    }

    /// Every job whose output matters now: those that run, those that come next, those that wait.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.known().into_iter().flat_map(|it| it.running.iter().chain(&it.next).chain(&it.cooling))
    }
}

/// Whether a job with this output writes at, below or around `path`; without one it may.
#[must_use]
pub fn writes_to(output: Option<&Path>, path: &Path) -> bool {
    match output {
        None => true,
        Some(output) => output.starts_with(path) || path.starts_with(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_on_what_it_lies_on_and_on_what_lies_in_it_and_without_a_path_on_everything() {
        let on = |output: Option<&str>, path| writes_to(output.map(Path::new), Path::new(path));
        assert!(on(Some("/srv/jobs/a/out"), "/srv/jobs/a"));
        assert!(on(Some("/srv/jobs/a"), "/srv/jobs/a"));
        assert!(on(Some("/srv/jobs"), "/srv/jobs/a"));
        assert!(!on(Some("/srv/jobs/ab"), "/srv/jobs/a"));
        assert!(!on(Some("/srv/jobs/b"), "/srv/jobs/a"));
        assert!(on(None, "/srv/jobs/a"));
    }
}
