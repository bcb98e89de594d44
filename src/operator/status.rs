//! `unwedge status`: the host and its queue on one screen. What cannot be looked at is said to be unknown, and the rest
//! is there all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::asking::Asking;
use super::{Said, jobs};
use crate::cli;
use crate::config::queue::Adapter;
use crate::config::{Settings, sentinel};
use crate::decide::attempts::State;
use crate::probes::work::Work;
use crate::probes::{gate, incidents, records, worker};
use crate::queue::Fault;
use crate::queue::store::Store;
use crate::queue::store::listing::{Order, Which, seen};
use crate::report::out;
use crate::report::status::{self as report, LaneNow, Queue, Screen, WorkerNow};
use crate::sys::clock::{Now, pause};

/// Between two screens.
const AGAIN: Duration = Duration::from_secs(2);

/// Shows it; again and again where that was asked for.
///
/// # Errors
/// It cannot be written.
pub fn status(settings: &Settings, asked: &cli::Status, json: bool) -> Result<Said> {
    loop {
        let now = Now::take()?;
        let screen = look(settings, asked.at.queue.as_deref(), &now);
        let text = if json { report::json(&screen, &now)? } else { report::text(&screen, &now) };
        if !asked.watch {
            return Ok(Said { text, code: screen.grade().code() });
        }
        let is_read = out::tell(&if json { text } else { format!("\x1b[H\x1b[2J{text}") })?;
        if !is_read {
            return Ok(Said { text: String::new(), code: screen.grade().code() });
        }
        pause(AGAIN);
    }
}

fn look(settings: &Settings, url: Option<&str>, now: &Now) -> Screen {
    // what only root may ask comes first: whoever asks the queue is root no more
    let worker = settings.worker.as_ref().map(|worker| {
        let look = worker::glance(settings, worker);
        WorkerNow { name: worker.name().to_owned(), state: look.state }
    });
    let host = &settings.host;
    let halt = sentinel::halt(&host.sentinel_dir);
    // whosever they are: nothing is decided by them here
    let holds = records::read_whosever(&host.state_dir, now).map_err(|error| error.to_string());
    let debts = records::read_whosever(&host.state_dir, now).map_err(|error| error.to_string());
    let open = incidents::open_ones(&incidents::directory(&settings.host.state_dir));
    let is_foreign =
        url.is_none() && settings.queue.as_ref().is_some_and(|it| it.adapter != Adapter::Unwedge);
    let queue = if is_foreign {
        match Work::look(settings) {
            Work::Known(facts) => Queue::Foreign(facts),
            Work::Unknown(why) => Queue::Unknown(why),
            Work::NoQueue => Queue::None,
        }
    } else {
        let is_named = url.is_some() || settings.queue.is_some();
        let is_there = if is_named { Ok(true) } else { super::asking::has_own_file() };
        let seen = is_there.and_then(|it| if it { own(settings, url) } else { Ok(Queue::None) });
        seen.unwrap_or_else(|why| Queue::Unknown(format!("{why:#}")))
    };
    Screen {
        halt,
        holds,
        debts,
        storage: if settings.mount.is_empty() && settings.bind.is_empty() {
            gate::all(&settings.host.run_dir).ok().map_or(Ok(Vec::new()), Ok)
        } else {
            gate::all(&settings.host.run_dir)
        },
        worker,
        queue,
        incidents: open
            .map(|all| all.iter().map(|it| crate::report::incidents::summary(it, now)).collect())
            .map_err(|error| error.to_string()),
    }
}

fn own(settings: &Settings, url: Option<&str>) -> Result<Queue> {
    let mut asking = Asking::to(settings, url)?;
    let wait = jobs::prefer_wait_ms(settings);
    asking.ask(move |store| screen(store, wait))
}

fn screen(store: &mut Store, prefer_wait_ms: u64) -> Result<Queue, Fault> {
    let (lanes, workers, now_ms) = (store.lanes()?, store.all_workers(false)?, store.now_ms()?);
    let refuses = store.refuses(env!("CARGO_PKG_VERSION"))?;
    let mut figures = store.figures()?;
    for lane in &lanes {
        figures.entry(lane.kind.clone()).or_default();
    }
    let mut all = BTreeMap::new();
    for (kind, figures) in figures {
        let which = Which {
            kind: Some(kind.clone()),
            states: vec![State::Pending, State::Retryable],
            ..Which::default()
        };
        let whys = if figures.waiting() > 0 {
            let next = store.list(&which, Order::Turn, 1)?;
            let next = next.first();
            next.map(|job| {
                jobs::whys(job, &lanes, &workers, refuses.as_deref(), now_ms, prefer_wait_ms)
            })
            .unwrap_or_default()
        } else {
            Vec::new()
        };
        let lane = lanes.iter().find(|lane| lane.kind == kind).cloned();
        all.insert(kind, LaneNow { lane, figures, whys });
    }
    Ok(Queue::Own { lanes: all, workers: seen(workers), now_ms })
}
