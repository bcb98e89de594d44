//! How what runs here is getting on, told with each beat: how far jobs say that they are, and whether they move. A person
//! sees by that what hangs, and on what.

use std::sync::mpsc::{Receiver, Sender};

use super::{Event, Runner, say};
use crate::decide::at_work::Stall;
use crate::decide::attempts::Token;
use crate::probes::motion::{self, Motion};
use crate::runner::running::Running;
use crate::sys::clock::boottime;

/// The helpers of jobs, by their pids.
pub(super) type Roots = Vec<(Token, i32)>;

/// Looks whenever it is asked to, for as long as somebody asks: it is to be called in a thread of its own.
pub(super) fn look(wanted: &Receiver<Roots>, send: &Sender<Event>) {
    for roots in wanted {
        let pids: Vec<i32> = roots.iter().map(|(_, pid)| *pid).collect();
        let tokens = roots.into_iter().map(|(token, _)| token);
        let seen = motion::of_trees(&pids).map(|it| tokens.zip(it).collect());
        if send.send(Event::Motions(seen)).is_err() {
            return;
        }
    }
}

impl Runner {
    /// Asks for a look at all that runs, and at what could not be ended; one at a time, as one may wait for storage.
    pub(super) fn ask_for_motions(&mut self) {
        self.look_at_unseen();
        let all = self.running.iter().chain(&self.stuck).filter(|(_, it)| it.pulse.is_seen);
        let roots: Roots =
            all.map(|(token, it)| (*token, it.hand.pid().as_raw_nonzero().get())).collect();
        if roots.is_empty() {
            return;
        }
        if self.is_looking {
            return self.trouble(
                "motion",
                "the process table gives no answer: whether jobs move is not known",
            );
        }
        self.is_looking = self.roots.send(roots).is_ok();
    }

    /// How jobs stand; nothing where that could not be told. The queue hears it with the next beat.
    pub(super) fn hear_motions(&mut self, seen: Option<Vec<(Token, Motion)>>) {
        self.is_looking = false;
        let Some(seen) = seen else {
            return self.trouble(
                "motion",
                "the process table cannot be read: whether jobs move is not known",
            );
        };
        self.said.remove("motion");
        self.take_in(seen);
    }

    /// What a daemon runs is looked at, too: how long it is at work is known, and whether its storage is open.
    fn look_at_unseen(&mut self) {
        let all = self.running.iter().chain(&self.stuck).filter(|(_, it)| !it.pulse.is_seen);
        let unseen: Vec<Token> = all.map(|(token, _)| *token).collect();
        if !unseen.is_empty() {
            self.take_in(unseen.into_iter().map(|token| (token, Motion::default())).collect());
        }
    }

    fn take_in(&mut self, seen: Vec<(Token, Motion)>) {
        let (open, patience, now) = (self.open(), self.setup.numbers.slow, boottime());
        for (token, motion) in seen {
            let Some(running) = self.at_work(token) else { continue };
            let closed = running.claimed.closed(&open);
            let pulse = &mut running.pulse;
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
        let new = all.filter(|(_, it)| !it.pulse.is_known);
        new.map(|(token, it)| (*token, it.pulse.stall.clone())).collect()
    }

    /// The queue knows it now.
    pub(super) fn know_stalls(&mut self, told: &[Token]) {
        for token in told {
            if let Some(running) = self.at_work(*token) {
                running.pulse.is_known = true;
            }
        }
    }

    fn at_work(&mut self, token: Token) -> Option<&mut Running> {
        self.running.get_mut(&token).or_else(|| self.stuck.get_mut(&token))
    }
}
