//! Engines of containers: each is asked whether it answers before anything that it is to run is taken, and again while it
//! does not; once it does, what nobody watches any more is taken away from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::container::{self, Watch};
use super::supervise::{Event, say};
use crate::decide::attempts::Token;
use crate::probes::engine;

/// One that does not answer is asked again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be looked at.
#[derive(Debug)]
pub struct Look {
    /// The engines, each with flags of its own.
    pub engines: BTreeSet<Vec<String>>,
    /// The worker's tries that run.
    pub running: BTreeSet<Token>,
}

/// Looks when it is told to, and tells how each engine is; ends when nobody is left to tell.
pub fn watch(worker: &str, looks: &Receiver<Look>, send: &Sender<Event>) {
    let mut seen: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    let mut look = Look { engines: BTreeSet::new(), running: BTreeSet::new() };
    loop {
        let next = if look.engines.is_empty() {
            looks.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            looks.recv_timeout(AGAIN)
        };
        match next {
            // what was asked for meanwhile is one look
            Ok(next) => look = looks.try_iter().last().unwrap_or(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let mut mute = BTreeSet::new();
        for engine in std::mem::take(&mut look.engines) {
            let said = engine::ask(&engine);
            let cleared = said.as_ref().map(|_| {
                let before = seen.entry(engine.clone()).or_default();
                let watch = Watch { worker, running: &look.running, before };
                container::remove_orphans(&engine, &watch).map(|found| *before = found)
            });
            if let Ok(Err(why)) = &cleared {
                say(&format!("containers of workers that are gone may be left: {why}"));
            }
            if !matches!(cleared, Ok(Ok(()))) {
                mute.insert(engine.clone());
            }
            if send.send(Event::Engine(engine, said)).is_err() {
                return;
            }
        }
        look.engines = mute;
    }
}
