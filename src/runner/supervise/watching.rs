//! How what runs here is getting on, told with each beat: how far jobs say that they are, and whether they move. A person
//! sees by that what hangs, and on what.

use std::time::Duration;

use super::{Runner, say};
use crate::decide::at_work::Stall;
use crate::decide::attempts::Token;
use crate::probes::motion;
use crate::runner::running::{Pulse, Running};
use crate::sys::limit::within;

/// How long the process table may take.
const LIMIT: Duration = Duration::from_secs(2);

impl Runner {
    /// Looks at all that runs, and at what could not be ended.
    pub(super) fn watch(&mut self, now: Duration) {
        let all = self.running.iter().chain(&self.stuck).filter(|(_, it)| it.pulse.is_some());
        let (tokens, roots): (Vec<Token>, Vec<i32>) =
            all.map(|(token, it)| (*token, it.hand.pid().as_raw_nonzero().get())).unzip();
        if tokens.is_empty() {
            return;
        }
        let motions = match within(LIMIT, move || motion::of_trees(&roots)) {
            Ok(motions) => motions,
            Err(why) => return self.trouble("motion", &format!("the process table: {why}")),
        };
        self.said.remove("motion");
        let (open, patience) = (self.open(), self.setup.numbers.slow);
        for (token, motion) in tokens.into_iter().zip(motions) {
            let Some(running) = self.at_work(token) else { continue };
            let needs = running.claimed.needs.iter();
            let closed = needs.filter(|need| !open.contains(need)).cloned().collect();
            let Some(pulse) = &mut running.pulse else { continue };
            if pulse.look(motion, closed, now, patience) {
                match &pulse.stall {
                    Some(Stall { how, why }) => {
                        say(&format!("job {}: {}: {why}", token.id, how.at_work().name()));
                    }
                    None => say(&format!("job {}: it moves again", token.id)),
                }
            }
        }
    }

    /// How far jobs say that they are, where the queue does not know it yet.
    pub(super) fn progress(&self) -> Vec<(Token, String)> {
        let said =
            self.running.iter().filter_map(|(token, it)| Some((token, it.progress.as_ref()?)));
        let new = said.filter(|(_, (_, is_known))| !is_known);
        new.map(|(token, (text, _))| (*token, text.clone())).collect()
    }

    /// The queue knows it now.
    pub(super) fn know_progress(&mut self, told: &[Token]) {
        for token in told {
            if let Some(Running { progress: Some((_, is_known)), .. }) = self.running.get_mut(token)
            {
                *is_known = true;
            }
        }
    }

    /// Which jobs stand still or move again, where the queue does not know it yet.
    pub(super) fn stalls(&self) -> Vec<(Token, Option<Stall>)> {
        let all = self.running.iter().chain(&self.stuck);
        let pulses = all.filter_map(|(token, it)| Some((token, it.pulse.as_ref()?)));
        let new = pulses.filter(|(_, pulse)| !pulse.is_known);
        new.map(|(token, pulse)| (*token, pulse.stall.clone())).collect()
    }

    /// The queue knows it now.
    pub(super) fn know_stalls(&mut self, told: &[Token]) {
        for token in told {
            if let Some(Running { pulse: Some(Pulse { is_known, .. }), .. }) = self.at_work(*token)
            {
                *is_known = true;
            }
        }
    }

    fn at_work(&mut self, token: Token) -> Option<&mut Running> {
        self.running.get_mut(&token).or_else(|| self.stuck.get_mut(&token))
    }
}
