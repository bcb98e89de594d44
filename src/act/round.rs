//! An apply round from the decision on: store what was seen, settle what is paid, and, when every
//! gate is open and there is something to do, take the locks and do it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::lock::{self, Tried};
use super::perform::{Actor, Ended, Outcome};
use super::{storage_gate, store};
use crate::config::Settings;
use crate::decide::mounts::Decision;
use crate::decide::plan::{Hold, Plan, Reason};
use crate::probes::facts::{self, Facts};
use crate::probes::mounts::{self, Observation};
use crate::probes::records::{MountsState, Rehearsal};
use crate::probes::verdict::Verdict;
use crate::sys::clock::{Deadline, Now};

/// What came of a round.
#[derive(Debug)]
pub struct Acted {
    /// One for each step that was to be done.
    pub outcomes: Vec<Outcome>,
    /// Holds that turned up only when it came to acting.
    pub holds: Vec<Hold>,
    /// The state as stored.
    pub state: MountsState,
    /// What is still owed.
    pub debts: usize,
    /// A second look, when something was done.
    pub present: Option<Vec<Observation>>,
}

/// Carries out a decision.
///
/// # Errors
/// State could not be stored, so nothing, or nothing more, was done.
pub fn carry_out(
    settings: &Settings,
    facts: &Facts,
    decision: &Decision,
    rehearsal: Rehearsal,
    deadline: Deadline,
) -> Result<Acted> {
    let now = &facts.now;
    if facts.gates.unreadable.is_some() {
        // what cannot be read is not overwritten either
        return Ok(Acted {
            outcomes: vec![],
            holds: vec![],
            state: facts.state.clone(),
            debts: facts.debts.debts.len(),
            present: None,
        });
    }
    sweep(settings, now);
    let mut actor = Actor {
        settings,
        observations: &facts.survey.observations,
        deadline,
        state: facts.state.clone(),
        debts: facts.debts.clone(),
    };
    actor.state.rehearsal = Some(rehearsal);
    actor.take_note(decision.sightings.clone(), now).context("store what was seen")?;
    let (outcomes, holds) = act(&mut actor, &decision.plan)?;
    let present = (!outcomes.is_empty()).then(|| {
        let remembered = facts::remembered(&actor.state, &actor.debts);
        mounts::survey(settings, &remembered, false).observations
    });
    let seen = present.as_deref().unwrap_or(&facts.survey.observations);
    storage_gate::write(&settings.host.run_dir, seen, &BTreeSet::new(), now)
        .context("write the storage gate")?;
    let debts = actor.debts.debts.len();
    Ok(Acted { outcomes, holds, state: actor.state, debts, present })
}

fn act(actor: &mut Actor<'_>, plan: &Plan) -> Result<(Vec<Outcome>, Vec<Hold>)> {
    let none = |hold: Hold| Ok((Vec::new(), vec![hold]));
    let paid = actor.observations.iter().any(|seen| {
        seen.verdict == Verdict::Live
            && actor.debts.debts.iter().any(|debt| debt.path() == seen.path)
    });
    let performs = !plan.repairs.is_empty() && !plan.is_gated();
    if !performs && !paid {
        return Ok((Vec::new(), Vec::new()));
    }
    let Tried::Locked(_act) = lock::act(&actor.settings.host.run_dir)? else {
        return none(Hold::gate(Reason::Busy, "another tool is acting".to_owned()));
    };
    actor.settle_debts().context("strike out paid debts")?;
    if !performs {
        return Ok((Vec::new(), Vec::new()));
    }
    let Tried::Locked(_deploy) = lock::deploy(&actor.settings.gates.deploy_lock)? else {
        let detail = "somebody holds the deploy lock".to_owned();
        return none(Hold::gate(Reason::DeployInProgress, detail));
    };
    let outcomes = actor.perform(plan)?;
    let refused = outcomes.iter().filter_map(|outcome| match &outcome.ended {
        Ended::Refused(reason, detail) => {
            Some(Hold::on(outcome.planned.step.path(), *reason, detail.clone()))
        }
        Ended::Done(_) | Ended::Failed(_) | Ended::Skipped => None,
    });
    let holds = refused.collect();
    Ok((outcomes, holds))
}

fn sweep(settings: &Settings, now: &Now) {
    let host = &settings.host;
    store::sweep(&host.state_dir, &["mounts.json", "debts.json"], now);
    store::sweep(&host.run_dir, &[storage_gate::FILE], now);
    store::sweep(&host.textfile_dir, &["unwedge_mounts.prom"], now);
}
