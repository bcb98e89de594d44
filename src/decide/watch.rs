//! When `unwedge-watch` looks, and when it starts a round. Events come in bursts (a restart of sshfs
//! is four), a start of a round that runs already is lost, and a host with a broken mount that comes
//! and goes must not start one round after the other. So: a short wait, a gap, a cap, and an event
//! that comes while a round runs is kept until that round has ended.

use std::collections::VecDeque;
use std::time::Duration;

use crate::probes::holders::Holders;
use crate::probes::wakes::{Scan, Scene, Woken};
use crate::sys::text;

/// From the first event of a burst to its round: what a restart of sshfs does is over by then.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// Between two starts: a round that repairs takes less, and what it did itself wakes us once.
pub const GAP: Duration = Duration::from_secs(5);
/// Starts in a [`WINDOW`]; whoever needs more is helped by no round.
pub const STARTS_MAX: usize = 12;
/// See [`STARTS_MAX`].
pub const WINDOW: Duration = Duration::from_secs(10 * 60);
/// The first pause before a round that runs is asked after again; it doubles up to [`ASK_MAX`].
pub const ASK_FIRST: Duration = Duration::from_millis(250);
/// A round may last for minutes, and each question starts a systemctl.
pub const ASK_MAX: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Find out whether a round runs, and tell [`Starts::answer`].
    Ask,
    /// Start a round, for this reason.
    Start(String),
    /// Say that the timers do the work until the cap is free again; said once.
    LeaveToTimers,
}

/// What is known of the round's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// A start now would be merged into it, and lost.
    Running,
    /// None runs.
    Over,
    /// It cannot be told. A start too many does no harm, one too few does.
    Unknown,
}

/// When to start a round.
#[derive(Debug, Default)]
pub struct Starts {
    waiting: Option<Waiting>,
    past: VecDeque<Duration>,
    left_to_timers: bool,
}

/// Events that no round has answered yet.
#[derive(Debug)]
struct Waiting {
    why: String,
    more: usize,
    from: Duration,
    pause: Duration,
}

impl Starts {
    /// Something happened.
    pub fn event(&mut self, now: Duration, why: String) {
        if let Some(waiting) = &mut self.waiting {
            waiting.more += 1;
        } else {
            let from = now + DEBOUNCE;
            self.waiting = Some(Waiting { why, more: 0, from, pause: ASK_FIRST });
        }
    }

    /// When [`Starts::next`] has something to say; never while nothing happens.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let waiting = self.waiting.as_ref()?;
        let gap = self.past.back().map_or(Duration::ZERO, |last| *last + GAP);
        Some(waiting.from.max(gap))
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Duration) -> Step {
        if self.due().is_none_or(|due| now < due) {
            return Step::Rest;
        }
        self.past.retain(|start| now < *start + WINDOW);
        if self.past.len() < STARTS_MAX {
            return Step::Ask;
        }
        self.waiting = None;
        if std::mem::replace(&mut self.left_to_timers, true) {
            Step::Rest
        } else {
            Step::LeaveToTimers
        }
    }

    /// Whether a round runs, after [`Step::Ask`].
    pub fn answer(&mut self, now: Duration, round: Round) -> Step {
        match (round, self.waiting.take()) {
            (Round::Running, Some(mut waiting)) => {
                waiting.from = now + waiting.pause;
                waiting.pause = (waiting.pause * 2).min(ASK_MAX);
                self.waiting = Some(waiting);
                Step::Rest
            }
            (Round::Over | Round::Unknown, Some(waiting)) => {
                self.past.push_back(now);
                self.left_to_timers = false;
                Step::Start(match waiting.more {
                    0 => waiting.why,
                    more => format!("{}; and {more} more", waiting.why),
                })
            }
            (Round::Running | Round::Over | Round::Unknown, None) => Step::Rest,
        }
    }
}

/// A look at the whole is made at least so often: it finds what no event told, such as a daemon
/// that took over from another.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// From one look to the next, however often the mount table changes.
pub const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Looks cost at most one part of so many of the time: 2 % of a core. What counts is the processor's time: on a
/// host that is short of it a look takes long, and the next one would come when all is over.
pub const LOOK_SHARE: u32 = 50;

/// When to look, and how far.
#[derive(Debug, Default)]
pub struct Looks {
    /// when the last one began, and what it cost
    last: Option<(Duration, Duration)>,
    /// when the last one that looked through the process table began
    whole: Duration,
    wanted: Option<Scan>,
}

impl Looks {
    /// Something has changed since the last look.
    pub fn outdated(&mut self, scan: Scan) {
        self.wanted = self.wanted.max(Some(scan));
    }

    /// Whether it is known already that a look is needed: then nothing more need wake us for it.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.wanted.is_some()
    }

    /// When the next look is due.
    #[must_use]
    pub fn due(&self) -> Duration {
        let Some((began, cost)) = self.last else { return Duration::ZERO };
        let whole = self.whole + LOOK_EVERY;
        match self.wanted {
            Some(_) => whole.min(began + cost + LOOK_PAUSE.max(cost * LOOK_SHARE)),
            None => whole,
        }
    }

    /// How far to look now.
    #[must_use]
    pub fn scan(&self, now: Duration) -> Scan {
        let first_or_old = self.last.is_none() || self.whole + LOOK_EVERY <= now;
        let wanted = self.wanted.unwrap_or(Scan::IfMountsChanged);
        if first_or_old { Scan::Always } else { wanted }
    }

    /// A look has been made, at the cost of so much of the processor's time.
    pub fn looked(&mut self, began: Duration, cost: Duration, scan: Scan) {
        let whole = if scan == Scan::Always { began } else { self.whole };
        *self = Self { last: Some((began, cost)), whole, wanted: None };
    }
}

/// All that is remembered between two turns.
#[derive(Debug, Default)]
pub struct Watch {
    /// When to start a round.
    pub starts: Starts,
    /// When to look.
    pub looks: Looks,
    /// What was seen last.
    pub scene: Option<Scene>,
}

impl Watch {
    /// When something is to be done without being woken.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.starts.due().unwrap_or(Duration::MAX).min(self.looks.due())
    }

    /// Something woke us. The end of a daemon is an event; that the mount table has changed is none
    /// until a look tells that a watched mount has.
    pub fn woken(&mut self, woken: &Woken, now: Duration) {
        if woken.table {
            self.looks.outdated(Scan::IfMountsChanged);
        }
        let Some(scene) = &mut self.scene else { return };
        for ended in &woken.ended {
            scene.without(ended);
            let (comm, pid) = (&ended.process.comm, ended.process.pid);
            let place = scene.place(ended.dev);
            self.starts.event(now, format!("{comm} ({pid}) of {place} ended"));
            self.looks.outdated(Scan::Always);
        }
    }

    /// A look that began at `began` and cost so much saw this; nothing, if there was no mount table to be read.
    pub fn saw(&mut self, scene: Option<Scene>, scan: Scan, began: Duration, cost: Duration) {
        self.looks.looked(began, cost, scan);
        let Some(scene) = scene else {
            self.looks.outdated(scan);
            return;
        };
        for why in changes(self.scene.as_ref(), &scene) {
            self.starts.event(began, why);
        }
        self.scene = Some(scene);
    }
}

/// What has happened between two looks at the watched mounts: what stands there is not what stood
/// there, or nobody serves it any more. The end of a daemon tells itself.
fn changes(before: Option<&Scene>, after: &Scene) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(before) = before {
        let (old, new) = (&before.mounts, &after.mounts);
        let gone = old.iter().filter(|mount| !new.contains(mount)).map(|mount| (mount, "went"));
        let came = new.iter().filter(|mount| !old.contains(mount)).map(|mount| (mount, "came"));
        let shown =
            gone.chain(came).map(|(mount, how)| format!("{} {how}", text::path(&mount.path)));
        changes.extend(shown);
    }
    for (dev, holders) in &after.holders {
        let known = before.is_some_and(|before| before.holders.get(dev) == Some(holders));
        if *holders == Holders::None && !known {
            changes.push(format!("nobody serves {}", after.place(*dev)));
        }
    }
    changes
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
