//! The rules for binds. A bind that shows its directory of the base as it is mounted now is left. One
//! that is broken, or that holds what has been replaced, is swapped; one that is missing is made. Either
//! only onto a base that is live, or that this very plan puts back, and never over anything that a
//! bind would hide.

use std::path::Path;

use super::confirm;
use super::mounts::{Case, Finding, detach, left, planned};
use super::plan::{Cost, Hold, Owed, Planned, Reason, Repair, Shows, Step};
use super::{budget, compose::Repairable};
use crate::config::sentinel::Kind;
use crate::probes::mounts::{BindLook, Ground, Layer, Right};
use crate::probes::verdict::Verdict;
use crate::sys::text;

/// A bind that can be made or swapped.
pub struct Unbound {
    /// Its base.
    pub base: std::path::PathBuf,
    /// What would be done.
    pub repair: Repair,
}

/// One hot path under examination.
pub(super) struct BindCase<'a> {
    pub(super) case: Case<'a>,
    pub(super) bind: &'a BindLook,
}

impl BindCase<'_> {
    pub(super) fn examine(&self) -> Finding {
        let seen = self.case.observation;
        let found = match seen.verdict {
            Verdict::Live if confirm::is_stacked(seen) => return self.unstack(),
            Verdict::Live => return Finding::Fine,
            Verdict::Unknown
            | Verdict::ChildOfDead
            | Verdict::WrongSource
            | Verdict::Inconclusive => {
                return self.case.hold(Reason::UnclearEvidence, seen.why.clone());
            }
            Verdict::Dead | Verdict::Hung | Verdict::Pinned | Verdict::Transient => {
                self.case.allowed().and_then(|()| self.swap())
            }
            Verdict::Absent => self.make(),
        };
        match found {
            Ok(repair) => Finding::Unbound(Unbound { base: self.base().to_owned(), repair }),
            Err(hold) => Finding::Held(hold),
        }
    }

    fn unstack(&self) -> Finding {
        match self.case.allowed().and_then(|()| self.case.unstack()) {
            Ok(repair) => {
                Finding::Broken(Repairable { superblock: None, rank: self.case.rank(), repair })
            }
            Err(hold) => Finding::Held(hold),
        }
    }

    /// Broken, or outlived by its storage: a new one in place of it.
    fn swap(&self) -> Result<Repair, Hold> {
        let seen = self.case.observation;
        let top = self.case.top()?;
        self.case.no_children(&top.nested, top)?;
        self.is_reached()?;
        self.not_again()?;
        if let Some(hold) = self.backoff() {
            return Err(hold);
        }
        if self.is_as_live_as_its_base(top) {
            let detail = "its base, which answers, is the same file system";
            return Err(self.case.on(Reason::UnclearEvidence, detail.to_owned()));
        }
        let why = format!("{}: {}", seen.verdict, seen.why);
        let mut steps = Vec::new();
        if matches!(seen.verdict, Verdict::Hung | Verdict::Transient) && !self.shares_with_base(top)
        {
            steps.push(self.case.abort(top, &why)?);
        }
        let broken = self.case.broken_layers();
        let below = seen.layers.iter().rev().nth(broken.len());
        match (below, broken.split_last()) {
            // a round that was killed had put the right one there already
            (Some(below), _) if self.bind.is_right(below) => {
                steps.extend(broken.iter().map(|layer| detach(&seen.path, layer, &why)));
            }
            // of a broken stack only the lowest has a place that anybody sees after
            (_, Some((lowest, surplus))) => {
                steps.extend(surplus.iter().map(|layer| detach(&seen.path, layer, &why)));
                steps.push(self.rebind(lowest, &why));
            }
            (_, None) => {}
        }
        steps.push(self.wait());
        let along = top.nested.iter().map(|nested| (nested, self.listed(&nested.path)));
        let (back, gone): (Vec<_>, Vec<_>) = along.partition(|(_, listed)| *listed);
        let mut owes = vec![Owed::Bind(seen.path.clone())];
        owes.extend(back.iter().map(|(nested, _)| Owed::Bind(nested.path.clone())));
        let leaves = gone.iter().map(|(nested, _)| left(&nested.path, &nested.layer)).collect();
        let cost = if self.case.is_resumed() {
            Cost::Resumed
        } else {
            let (to, identity) = (self.base().to_owned(), top.identity.clone());
            let lower = broken.iter().skip(1).map(|layer| layer.identity.clone());
            Cost::Charge { to, identity, along: lower.collect() }
        };
        let repair = Repair::new(seen.path.clone(), Kind::Binds, steps);
        Ok(Repair { cost, owes, leaves, ..repair })
    }

    /// Nothing mounted: the bind. This takes nothing away, so nothing is confirmed and nothing charged.
    fn make(&self) -> Result<Repair, Hold> {
        let seen = self.case.observation;
        if !self.case.world.settings.mounts.is_under_root(&seen.path) {
            return Err(self.case.on(Reason::OutsideRoots, "nothing is bound here".to_owned()));
        }
        match (seen.ground, seen.beneath) {
            (Ground::Directory, Some(0)) | (Ground::Missing, _) => {}
            (Ground::Directory, Some(entries)) => {
                let detail = format!(
                    "{entries} entries lie in the bare directory, and a bind would hide them: move them \
                     away"
                );
                return Err(self.case.on(Reason::HidesData, detail));
            }
            (Ground::Directory, None) => {
                let detail = "whether the bare directory is empty cannot be told".to_owned();
                return Err(self.case.on(Reason::UnclearEvidence, detail));
            }
            (Ground::NoDirectory, _) => {
                let detail = "it is no directory".to_owned();
                return Err(self.case.on(Reason::NotAMountPoint, detail));
            }
            (Ground::Link, _) => {
                let detail = "there is a symbolic link in the path".to_owned();
                return Err(self.case.on(Reason::NotAMountPoint, detail));
            }
            (Ground::Automount, _) => {
                let detail = "an automount waits here".to_owned();
                return Err(self.case.on(Reason::NotAMountPoint, detail));
            }
            (Ground::NotSeen, _) => {
                let detail = "nothing is bound, and the path itself cannot be seen".to_owned();
                return Err(self.case.on(Reason::UnclearEvidence, detail));
            }
        }
        self.is_reached()?;
        if let Some(hold) = self.backoff() {
            return Err(hold);
        }
        let step = Step::Bind { path: seen.path.clone(), shows: self.shows() };
        let steps = vec![planned(step, "nothing is bound here"), self.wait()];
        Ok(Repair::new(seen.path.clone(), Kind::Binds, steps))
    }

    fn rebind(&self, layer: &Layer, why: &str) -> Planned {
        let step = Step::Rebind {
            path: self.case.observation.path.clone(),
            identity: layer.identity.clone(),
            along: layer.nested.iter().map(|nested| nested.layer.identity.mount_id).collect(),
            shows: self.shows(),
        };
        planned(step, why)
    }

    fn shows(&self) -> Shows {
        let spec = &self.bind.spec;
        Shows { cold: spec.cold.clone(), base: spec.base.clone(), onto: None }
    }

    fn wait(&self) -> Planned {
        let wait = Step::WaitLive { path: self.case.observation.path.clone(), fstype: None };
        planned(wait, "it must answer, as what its base is")
    }

    /// The base is mounted, and yet the cold directory lies on something else: what that is nobody has listed.
    fn is_reached(&self) -> Result<(), Hold> {
        match &self.bind.right {
            Right::Unknown(why) if self.base_verdict() == Some(Verdict::Live) => {
                Err(self.case.on(Reason::UnclearEvidence, why.clone()))
            }
            Right::Unknown(_) | Right::Known { .. } => Ok(()),
        }
    }

    /// Once made anew onto the mount that its base is now, and still not of it: another time would end
    /// the same way.
    fn not_again(&self) -> Result<(), Hold> {
        let seen = self.case.observation;
        let Right::Known { mount, .. } = &self.bind.right else { return Ok(()) };
        let rebinds = &self.case.world.state.rebinds;
        let before = rebinds.iter().find(|rebound| rebound.path == seen.path);
        match before.filter(|rebound| rebound.onto.same(mount)) {
            Some(rebound) if seen.verdict == Verdict::Pinned => {
                let detail = format!("made anew {}, and still {}", rebound.at.utc(), seen.why);
                Err(self.case.on(Reason::StillPinned, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn backoff(&self) -> Option<Hold> {
        let world = self.case.world;
        budget::backoff(&self.case.observation.path, &world.state.attempts, world.now)
    }

    /// Whether base and bind are one file system, so that what keeps the one from answering keeps the
    /// other; then a swap would change nothing. A directory that has been removed is another matter.
    fn is_as_live_as_its_base(&self, top: &Layer) -> bool {
        self.case.observation.verdict != Verdict::Pinned
            && self.shares_with_base(top)
            && self.base_verdict() == Some(Verdict::Live)
    }

    fn shares_with_base(&self, top: &Layer) -> bool {
        match &self.bind.right {
            Right::Known { mount, .. } => mount.dev == top.identity.dev,
            Right::Unknown(_) => false,
        }
    }

    fn base_verdict(&self) -> Option<Verdict> {
        let seen = self.case.world.observations.iter().find(|seen| seen.path == self.base());
        seen.map(|seen| seen.verdict)
    }

    fn base(&self) -> &Path {
        &self.bind.spec.base
    }

    fn listed(&self, path: &Path) -> bool {
        self.case.world.settings.bind.iter().any(|bind| bind.hot == path)
    }
}

/// What is said of a bind whose base is not as it should be.
pub(super) fn without_its_base(base: &Path, verdict: Option<Verdict>) -> String {
    let is = verdict.map_or("not looked at", Verdict::name);
    format!("its base {} is {is}", text::path(base))
}
