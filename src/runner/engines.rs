//! Engines of containers: each is asked whether it answers, and has the images that nobody fetches, before anything that it
//! is to run is taken, and again while it does not answer; once it does, what nobody watches any more is taken away from it.
//! An image that is not there is looked for again with the next look, as a tool is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::container::{self, Watch};
use super::supervise::{Event, say};
use crate::decide::attempts::Token;
use crate::probes::engine::{self, Answer, Image};
use crate::sys::backoff::Backoff;
use crate::sys::clock::{Deadline, boottime};

/// One that does not answer is asked again after so long, then after twice as long, up to the second.
const AGAIN_FIRST: Duration = Duration::from_secs(5);
const AGAIN_LAST: Duration = Duration::from_secs(60);

/// What is to be looked at.
#[derive(Debug)]
pub struct Look {
    /// The engines, each with flags of its own, and the images that each must have by itself.
    pub engines: BTreeMap<Vec<String>, BTreeSet<String>>,
    /// The worker's tries that run.
    pub running: BTreeSet<Token>,
    /// When that was so, on the clock of this boot.
    pub at: Duration,
}

/// What was there, and when it was asked for.
#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    at: Duration,
}

/// Looks when it is told to, and tells how each engine is; ends when nobody is left to tell.
pub fn watch(worker: &str, looks: &Receiver<Look>, send: &Sender<Event>) {
    let mut seen: BTreeMap<Vec<String>, Seen> = BTreeMap::new();
    let mut look = Look { engines: BTreeMap::new(), running: BTreeSet::new(), at: Duration::ZERO };
    let mut again = Backoff::new(AGAIN_FIRST, AGAIN_LAST);
    let mut said = BTreeMap::new();
    loop {
        let next = if look.engines.is_empty() {
            looks.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            looks.recv_timeout(again.next_delay())
        };
        match next {
            // what was asked for meanwhile is one look
            Ok(next) => {
                look = looks.try_iter().last().unwrap_or(next);
                again.reset();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for (engine, images) in look.engines.clone() {
            let answer = engine::ask(&engine).map(|ground| {
                let deadline = Deadline::after(engine::ASK_LIMIT);
                let has = |image: String| {
                    let found = engine::image(&engine, &image, deadline.left());
                    (image, found)
                };
                Answer { ground, images: images.into_iter().map(has).collect() }
            });
            let is_unknown = |it: &Image| matches!(it, Image::Unknown(_));
            let is_known = answer.as_ref().is_ok_and(|it| !it.images.values().any(is_unknown));
            // before anybody takes what those jobs are that were at work in them
            let cleared = answer
                .is_ok()
                .then(|| clear(worker, &engine, &look, seen.entry(engine.clone()).or_default()));
            if send.send(Event::Engine(engine.clone(), answer)).is_err() {
                return;
            }
            let Some(cleared) = cleared else { continue };
            match cleared {
                Ok(()) => {
                    said.remove(&engine);
                    if is_known {
                        look.engines.remove(&engine);
                    }
                }
                // once while it lasts
                Err(why) if said.insert(engine, why.clone()).is_none() => {
                    say(&format!("containers of workers that are gone may be left: {why}"));
                }
                Err(_) => {}
            }
        }
    }
}

/// Takes away what nobody watches any more.
fn clear(worker: &str, engine: &[String], look: &Look, seen: &mut Seen) -> Result<(), String> {
    // what was there before the look and did not run then is over; of what came since nothing is known
    let none = BTreeSet::new();
    let before = if seen.at <= look.at { &seen.names } else { &none };
    let watch = Watch { worker, running: &look.running, before };
    let names = container::remove_orphans(engine, &watch)?;
    *seen = Seen { names, at: boottime() };
    Ok(())
}
