//! The screen of `unwedge status`, and how bad it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::jobs::{WhyJson, words};
use super::json::Head;
use super::lanes::{self, LaneJson};
use super::workers::WorkerJson;
use crate::checks::Grade;
use crate::config::sentinel::Halt;
use crate::decide::why::Why;
use crate::decide::workers::Standing;
use crate::manifest::OPERATOR;
use crate::probes::gate::Watched;
use crate::probes::jobs::{QueueFacts, State as FactState};
use crate::probes::records::{Debt, Debts, Holds};
use crate::probes::worker::State as UnitState;
use crate::queue::store::figures::Figures;
use crate::queue::store::lanes::Lane;
use crate::queue::store::listing::Worker;
use crate::sys::clock::Now;
use crate::sys::text;

/// What is on it.
#[derive(Debug)]
pub struct Screen {
    /// Whether everything is stopped.
    pub halt: Halt,
    /// Pauses that a person has set and that are not over, or why nobody knows.
    pub holds: Result<Holds, String>,
    /// What was taken away and must be put back, or why nobody knows.
    pub debts: Result<Debts, String>,
    /// The watched paths, or why nobody knows.
    pub storage: Result<Vec<Watched>, String>,
    /// The worker's unit, where one is configured.
    pub worker: Option<WorkerNow>,
    /// The queue.
    pub queue: Queue,
    /// Incidents that are open, or why nobody knows.
    pub incidents: Result<Vec<String>, String>,
}

/// The worker's unit.
#[derive(Debug)]
pub struct WorkerNow {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: UnitState,
}

/// The queue.
#[derive(Debug)]
pub enum Queue {
    /// There is none.
    None,
    /// Nobody knows, and why.
    Unknown(String),
    /// Another program's.
    Foreign(Box<QueueFacts>),
    /// Our own.
    Own {
        /// Its lanes.
        lanes: BTreeMap<String, LaneNow>,
        /// Its workers.
        workers: Vec<(Worker, Standing)>,
        /// Its present, milliseconds since 1970.
        now_ms: u64,
    },
}

/// A lane.
#[derive(Debug)]
pub struct LaneNow {
    /// What is known of it; none where no worker ever knew its type.
    pub lane: Option<Lane>,
    /// Its figures.
    pub figures: Figures,
    /// Why the next of its jobs is not running.
    pub whys: Vec<Why>,
}

impl LaneNow {
    fn grade(&self) -> Grade {
        let nobody = |why: &Why| {
            matches!(why, Why::NoWorker | Why::TooOld { .. } | Why::NoCapableWorker { .. })
        };
        if self.whys.iter().any(nobody) {
            return Grade::Fault;
        }
        let closed = |why: &Why| matches!(why, Why::StorageClosed { .. } | Why::Resting { .. });
        let is_troubled = self.lane.as_ref().is_some_and(|lane| !lanes::troubles(lane).is_empty());
        if is_troubled || self.whys.iter().any(closed) { Grade::Warn } else { Grade::Ok }
    }
}

impl Queue {
    fn grade(&self) -> Grade {
        match self {
            Self::None | Self::Foreign(_) => Grade::Ok,
            Self::Unknown(_) => Grade::Unknown,
            Self::Own { lanes, workers, .. } => {
                let silent = |(_, standing): &(Worker, Standing)| !standing.is_heard();
                let of_workers = if workers.iter().any(silent) { Grade::Warn } else { Grade::Ok };
                lanes.values().map(LaneNow::grade).fold(of_workers, Grade::max)
            }
        }
    }

    /// How many jobs wait, as far as is known.
    fn waiting(&self) -> u64 {
        match self {
            Self::None | Self::Unknown(_) => 0,
            Self::Foreign(facts) => {
                facts.count(FactState::Pending) + facts.count(FactState::Retryable)
            }
            Self::Own { lanes, .. } => lanes.values().map(|lane| lane.figures.waiting()).sum(),
        }
    }
}

impl Screen {
    /// How bad it is.
    #[must_use]
    pub fn grade(&self) -> Grade {
        let storage = match &self.storage {
            Err(_) => Grade::Unknown,
            Ok(all) if all.iter().any(|it| !it.is_open) => Grade::Fault,
            Ok(_) => Grade::Ok,
        };
        let worker = match &self.worker {
            None | Some(WorkerNow { state: UnitState::Active, .. }) => Grade::Ok,
            Some(WorkerNow { state: UnitState::Unknown(_), .. }) => Grade::Unknown,
            Some(_) if self.queue.waiting() > 0 => Grade::Fault,
            Some(_) => Grade::Warn,
        };
        let incidents = match &self.incidents {
            Err(_) => Grade::Unknown,
            Ok(open) if !open.is_empty() => Grade::Warn,
            Ok(_) => Grade::Ok,
        };
        let all = [storage, worker, self.queue.grade(), incidents, self.of_tools()];
        all.into_iter().fold(Grade::Ok, Grade::max)
    }

    /// How bad it is that the tools do not act, or have not ended what they began. A pause ends by itself.
    fn of_tools(&self) -> Grade {
        let halt = match &self.halt {
            Halt::Clear => Grade::Ok,
            Halt::Set(_) => Grade::Warn,
            Halt::Unknown(_) => Grade::Unknown,
        };
        let debts = match &self.debts {
            Err(_) => Grade::Unknown,
            Ok(all) if !all.debts.is_empty() => Grade::Warn,
            Ok(_) => Grade::Ok,
        };
        let holds = if self.holds.is_err() { Grade::Unknown } else { Grade::Ok };
        halt.max(debts).max(holds)
    }
}

/// For a person.
#[must_use]
pub fn text(screen: &Screen, now: &Now) -> String {
    let mut out = format!("{}  {}\n", now.stamp().utc(), screen.grade().name());
    out += &of_tools(screen, now);
    out += "\nstorage\n";
    match &screen.storage {
        Err(why) => _ = writeln!(out, "  unknown: {why}"),
        Ok(all) if all.is_empty() => out += "  none is watched\n",
        Ok(all) => {
            for it in all {
                let closed =
                    if it.is_open { "" } else { "  closed: no job that needs it is begun" };
                let _ = writeln!(out, "  {:13} {}{closed}", it.verdict, it.path);
            }
        }
    }
    if let Some(it) = &screen.worker {
        let _ = writeln!(out, "\nworker\n  {}: {}", it.name, unit(&it.state));
    }
    out += "\nqueue\n";
    match &screen.queue {
        Queue::None => out += "  there is none\n",
        Queue::Unknown(why) => _ = writeln!(out, "  unknown: {why}"),
        Queue::Foreign(facts) => {
            for state in FactState::ALL {
                let _ = write!(out, "  {} {}", facts.count(state), state.name());
            }
            if let Some(ms) = facts.oldest_pending_ms {
                let _ = write!(
                    out,
                    "; the oldest has waited {}",
                    text::duration(Duration::from_millis(ms))
                );
            }
            out.push('\n');
        }
        Queue::Own { lanes, workers, now_ms } => {
            let _ = writeln!(out, "  workers: {}", by_standing(workers));
            out += &of_lanes(lanes, workers, *now_ms);
        }
    }
    match &screen.incidents {
        Err(why) => _ = writeln!(out, "\nincidents\n  unknown: {why}"),
        Ok(open) if open.is_empty() => {}
        Ok(open) => {
            out += "\nincidents\n";
            for it in open {
                let _ = writeln!(out, "  {it}");
            }
        }
    }
    out
}

/// What keeps the tools from acting, and what they still have to put back: a line each, and none where all is as always.
fn of_tools(screen: &Screen, now: &Now) -> String {
    let mut out = match &screen.halt {
        Halt::Clear => String::new(),
        Halt::Set(why) => format!("HALT: {why}\n"),
        Halt::Unknown(why) => format!("HALT: cannot tell, so it counts: {why}\n"),
    };
    match &screen.holds {
        Err(why) => _ = writeln!(out, "on hold: unknown: {why}"),
        Ok(holds) => {
            for (kind, hold) in &holds.holds {
                if let Some(left) = hold.left(now) {
                    let left = text::duration(left);
                    let _ = writeln!(out, "on hold: {kind} for {left} more: {}", hold.because);
                }
            }
        }
    }
    match &screen.debts {
        Err(why) => _ = writeln!(out, "owed: unknown: {why}"),
        Ok(debts) => {
            for debt in &debts.debts {
                let age = now.since(debt.since()).known();
                let age = age.map_or_else(|| "?".to_owned(), text::duration);
                let (kind, target) = (debt.kind(), debt.target());
                let _ = writeln!(out, "owed: {kind} {target} for {age}: {}", debt.why());
            }
        }
    }
    out
}

fn of_lanes(
    lanes: &BTreeMap<String, LaneNow>,
    workers: &[(Worker, Standing)],
    now_ms: u64,
) -> String {
    let known: Vec<Lane> = lanes.values().filter_map(|it| it.lane.clone()).collect();
    let figures = lanes.iter().map(|(kind, it)| (kind.clone(), it.figures.clone())).collect();
    let text = lanes::text(&known, &figures, workers);
    let mut out: String = text.lines().map(|line| format!("  {line}\n")).collect();
    for (kind, it) in lanes {
        for why in it.whys.iter().filter(|why| **why != Why::ItsTurn) {
            let _ = writeln!(out, "  {kind} waits: {}", words(why, now_ms));
        }
    }
    out
}

fn by_standing(workers: &[(Worker, Standing)]) -> String {
    if workers.is_empty() {
        return "none".to_owned();
    }
    let count = |wanted: Standing| workers.iter().filter(|(_, it)| *it == wanted).count();
    let all = Standing::ALL.into_iter().map(|it| (it, count(it))).filter(|(_, count)| *count > 0);
    all.map(|(it, count)| format!("{count} {}", it.name())).collect::<Vec<_>>().join(", ")
}

fn unit(state: &UnitState) -> String {
    match state {
        UnitState::Unknown(why) => format!("unknown: {why}"),
        known => known.name().to_owned(),
    }
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    grade: &'static str,
    halt: Option<&'a str>,
    holds: Option<Vec<HoldJson<'a>>>,
    holds_unknown: Option<&'a str>,
    debts: Option<&'a [Debt]>,
    debts_unknown: Option<&'a str>,
    storage: Option<Vec<StorageJson<'a>>>,
    storage_unknown: Option<&'a str>,
    worker: Option<UnitJson<'a>>,
    queue: QueueJson<'a>,
    incidents: Option<&'a [String]>,
    incidents_unknown: Option<&'a str>,
}

#[derive(Serialize)]
struct HoldJson<'a> {
    kind: &'a str,
    left_s: u64,
    because: &'a str,
}

#[derive(Serialize)]
struct StorageJson<'a> {
    path: &'a str,
    verdict: &'a str,
    open: bool,
}

#[derive(Serialize)]
struct UnitJson<'a> {
    name: &'a str,
    state: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
enum QueueJson<'a> {
    None,
    Unknown { why: &'a str },
    Foreign { counts: BTreeMap<&'static str, u64>, oldest_pending_ms: Option<u64> },
    Own { workers: Vec<WorkerJson>, lanes: Vec<LaneNowJson<'a>> },
}

#[derive(Serialize)]
struct LaneNowJson<'a> {
    #[serde(flatten)]
    lane: LaneJson<'a>,
    why: Vec<WhyJson>,
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(screen: &Screen, now: &Now) -> Result<String> {
    let queue = match &screen.queue {
        Queue::None => QueueJson::None,
        Queue::Unknown(why) => QueueJson::Unknown { why },
        Queue::Foreign(facts) => QueueJson::Foreign {
            counts: FactState::ALL.iter().map(|it| (it.name(), facts.count(*it))).collect(),
            oldest_pending_ms: facts.oldest_pending_ms,
        },
        Queue::Own { lanes, workers, now_ms } => QueueJson::Own {
            workers: workers.iter().map(|(it, standing)| WorkerJson::of(it, *standing)).collect(),
            lanes: lanes
                .iter()
                .map(|(kind, it)| LaneNowJson {
                    lane: LaneJson::of(kind, it.lane.as_ref(), &it.figures, workers),
                    why: it.whys.iter().map(|why| WhyJson::of(why, *now_ms)).collect(),
                })
                .collect(),
        },
    };
    let told = Object {
        head: Head::of(OPERATOR, now),
        grade: screen.grade().name(),
        halt: match &screen.halt {
            Halt::Clear => None,
            Halt::Set(why) | Halt::Unknown(why) => Some(why),
        },
        holds: screen.holds.as_ref().ok().map(|all| {
            let kept =
                all.holds.iter().filter_map(|(kind, hold)| Some((kind, hold, hold.left(now)?)));
            kept.map(|(kind, hold, left)| HoldJson {
                kind,
                left_s: left.as_secs(),
                because: &hold.because,
            })
            .collect()
        }),
        holds_unknown: screen.holds.as_ref().err().map(String::as_str),
        debts: screen.debts.as_ref().ok().map(|all| all.debts.as_slice()),
        debts_unknown: screen.debts.as_ref().err().map(String::as_str),
        storage: screen.storage.as_ref().ok().map(|all| {
            all.iter()
                .map(|it| StorageJson { path: &it.path, verdict: &it.verdict, open: it.is_open })
                .collect()
        }),
        storage_unknown: screen.storage.as_ref().err().map(String::as_str),
        worker: screen
            .worker
            .as_ref()
            .map(|it| UnitJson { name: &it.name, state: unit(&it.state) }),
        queue,
        incidents: screen.incidents.as_ref().ok().map(Vec::as_slice),
        incidents_unknown: screen.incidents.as_ref().err().map(String::as_str),
    };
    Ok(serde_json::to_string(&told)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::store::lanes::Breaker;
    use crate::report::lanes::tests::lane;

    /// A screen on which all is well, but for this lane.
    fn screen(lane: Option<Lane>, whys: Vec<Why>) -> Screen {
        let lane = LaneNow { lane, figures: Figures::default(), whys };
        Screen {
            halt: Halt::Clear,
            holds: Ok(Holds::default()),
            debts: Ok(Debts::default()),
            storage: Ok(Vec::new()),
            worker: None,
            queue: Queue::Own {
                lanes: BTreeMap::from([("t".to_owned(), lane)]),
                workers: Vec::new(),
                now_ms: 0,
            },
            incidents: Ok(Vec::new()),
        }
    }

    #[test]
    fn a_lane_that_goes_on_badly_is_a_warning_and_one_that_nobody_can_take_a_fault() {
        let text = || "x".to_owned();
        let breaker = Breaker { since_ms: 0, why: text(), retry_ms: 0 };
        let second = || vec!["second".to_owned(); 10];
        for (what, lane, whys, code) in [
            ("well", Some(lane()), vec![], 0),
            ("nobody knows its type, and none waits", None, vec![], 0),
            ("its turn", Some(lane()), vec![Why::ItsTurn], 0),
            (
                "after a failure",
                Some(lane()),
                vec![Why::CoolingDown { until_ms: 1, reason: text() }],
                0,
            ),
            (
                "one by the second tier",
                Some(Lane { tiers: vec!["second".to_owned()], ..lane() }),
                vec![],
                0,
            ),
            ("paused", Some(Lane { paused: Some((0, text())), ..lane() }), vec![], 1),
            ("open", Some(Lane { open: Some(breaker), ..lane() }), vec![], 1),
            ("degraded", Some(Lane { tiers: second(), ..lane() }), vec![], 1),
            ("known otherwise", Some(Lane { others: vec![text()], ..lane() }), vec![], 1),
            ("storage", Some(lane()), vec![Why::StorageClosed { closed: vec![text()] }], 1),
            ("resting", Some(lane()), vec![Why::Resting { why: vec![text()] }], 1),
            ("no worker", Some(lane()), vec![Why::NoWorker], 2),
            ("too old", None, vec![Why::TooOld { least: text() }], 2),
            ("no tool", Some(lane()), vec![Why::NoCapableWorker { lacks: vec![text()] }], 2),
            (
                "paused, and no worker",
                Some(Lane { paused: Some((0, text())), ..lane() }),
                vec![Why::Paused { why: text() }, Why::NoWorker],
                2,
            ),
        ] {
            assert_eq!(screen(lane, whys).grade().code(), code, "{what}");
        }
    }
}
