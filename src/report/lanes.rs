//! The lanes of our own queue, told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::json::Head;
use super::metrics::{Families, count, flag, seconds_of, whole};
use crate::act::upkeep::Tended;
use crate::decide::at_work::Still;
use crate::decide::attempts::State;
use crate::decide::workers::Standing;
use crate::manifest::OPERATOR;
use crate::probes::heartbeat::State as Sign;
use crate::queue::store::figures::Figures;
use crate::queue::store::lanes::Lane;
use crate::queue::store::listing::Worker;
use crate::sys::clock::{Now, rfc3339};
use crate::sys::text;

/// What can be wrong with a lane, and whether it is.
fn all_troubles(lane: &Lane) -> [(&'static str, bool); 4] {
    [
        ("paused", lane.paused.is_some()),
        ("open", lane.open.is_some()),
        ("degraded", lane.is_degraded()),
        ("other-definition", !lane.others.is_empty()),
    ]
}

/// The words for what is wrong with a lane; none where nothing is.
#[must_use]
pub fn troubles(lane: &Lane) -> Vec<&'static str> {
    all_troubles(lane).into_iter().filter(|(_, is_so)| *is_so).map(|(word, _)| word).collect()
}

/// The metrics of a queue of our own.
pub(super) fn metrics(tended: &Tended, metrics: &mut Families) -> Result<()> {
    if let Some(look) = &tended.look {
        let states =
            [State::Pending, State::Retryable, State::Running, State::Failed, State::Quarantined];
        let none = Figures::default();
        for (kind, lane) in all(&look.lanes, &look.figures) {
            let of = look.figures.get(kind).unwrap_or(&none);
            for state in states {
                let labels = [("lane", kind), ("state", state.name())];
                metrics.set("unwedge_lane_jobs", &labels, whole(of.count(state)))?;
            }
            for how in Still::ALL {
                let labels = [("how", how.at_work().name()), ("lane", kind)];
                let some = of.stalled.get(&how).copied().unwrap_or_default();
                metrics.set("unwedge_lane_stalled", &labels, whole(some))?;
            }
            let new = whole(of.put_aside_last_hour);
            metrics.set("unwedge_lane_put_aside_last_hour", &[("lane", kind)], new)?;
            metrics.set("unwedge_lane_empty_results", &[("lane", kind)], whole(of.empty))?;
            for (word, is_so) in lane.map(all_troubles).into_iter().flatten() {
                let labels = [("lane", kind), ("trouble", word)];
                metrics.set("unwedge_lane_trouble", &labels, flag(is_so))?;
            }
            let of_lane = look.workers.iter().filter(|(it, _)| is_of_lane(it, kind, lane));
            let able = of_lane.filter(|(_, standing)| standing.takes_work()).count();
            metrics.set("unwedge_lane_workers", &[("lane", kind)], count(able))?;
            if let Some(ms) = of.oldest_waiting_ms {
                let name = "unwedge_lane_oldest_waiting_seconds";
                metrics.set(name, &[("lane", kind)], seconds_of(ms))?;
            }
            if let Some(ms) = of.last_done_ms {
                let name = "unwedge_lane_last_done_timestamp_seconds";
                metrics.set(name, &[("lane", kind)], seconds_of(ms))?;
            }
        }
        for standing in Standing::ALL {
            let some = look.workers.iter().filter(|(_, it)| *it == standing).count();
            metrics.set("unwedge_queue_workers", &[("state", standing.name())], count(some))?;
        }
    }
    for it in &tended.heartbeats {
        for state in Sign::ALL {
            let labels = [("name", it.name.as_str()), ("state", state.name())];
            metrics.set("unwedge_heartbeat_state", &labels, flag(it.state == state))?;
        }
        if let Some(age) = it.age {
            let name = "unwedge_heartbeat_age_seconds";
            metrics.set(name, &[("name", &it.name)], age.as_secs_f64())?;
        }
    }
    for it in &tended.intakes {
        let of = [("name", it.name.as_str())];
        metrics.set("unwedge_intake_ok", &of, flag(it.is_well()))?;
        if let Ok(passed) = &it.came {
            metrics.set("unwedge_intake_incomplete", &of, count(passed.incomplete))?;
        }
    }
    metrics.set("unwedge_scratch_files_removed", &[], whole(tended.scratch_files))?;
    for (state, total) in &tended.removed {
        metrics.set("unwedge_jobs_removed", &[("state", state)], whole(*total))?;
    }
    Ok(())
}

/// Whether a worker can take jobs of a type as its lane has it.
fn is_of_lane(worker: &Worker, kind: &str, lane: Option<&Lane>) -> bool {
    let digest = lane.and_then(|lane| lane.digest.as_deref());
    worker.types.get(kind).is_some_and(|mark| digest.is_none_or(|it| it == mark.digest))
}

/// How the workers of a lane stand; those that know its type and cannot take it now are unable.
fn hands(
    workers: &[(Worker, Standing)],
    kind: &str,
    lane: Option<&Lane>,
) -> Vec<(&'static str, usize)> {
    let of_lane = |standing: Standing| {
        let such = |(it, how): &&(Worker, Standing)| *how == standing && is_of_lane(it, kind, lane);
        (standing.name(), workers.iter().filter(such).count())
    };
    let unable = |(it, how): &&(Worker, Standing)| how.takes_work() && it.lacks.contains_key(kind);
    let unable = ("unable", workers.iter().filter(unable).count());
    let all = Standing::ALL.into_iter().map(of_lane).chain([unable]);
    all.filter(|(_, count)| *count > 0).collect()
}

/// For a person.
#[must_use]
pub fn text(
    lanes: &[Lane],
    figures: &BTreeMap<String, Figures>,
    workers: &[(Worker, Standing)],
) -> String {
    if lanes.is_empty() && figures.is_empty() {
        return "no lane yet: one comes with the first worker or job of its type\n".to_owned();
    }
    let mut out = format!(
        "{:16}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}  {:>8}  {:>8}  {:>6}\n",
        "LANE", "WAITING", "RUNNING", "DONE", "FAILED", "ASIDE", "MEAN", "P95", "/MIN"
    );
    let none = Figures::default();
    for (kind, lane) in all(lanes, figures) {
        let of = figures.get(kind).unwrap_or(&none);
        let time = |ms: Option<u64>| {
            ms.map_or("-".to_owned(), |ms| text::duration(Duration::from_millis(ms)))
        };
        let _ = writeln!(
            out,
            "{kind:16}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}  {:>8}  {:>8}  {:>6}",
            of.waiting(),
            of.count(State::Running),
            of.count(State::Done),
            of.count(State::Failed),
            of.count(State::Quarantined),
            time(of.mean_ms),
            time(of.p95_ms),
            of.done_last_minute
        );
        let hands = hands(workers, kind, lane);
        if !hands.is_empty() {
            let hands: Vec<String> =
                hands.iter().map(|(how, count)| format!("{count} {how}")).collect();
            let _ = writeln!(out, "    workers: {}", hands.join(", "));
        }
        out += &more(of);
        if let Some(lane) = lane {
            out += &trouble(lane);
        }
    }
    out
}

fn more(of: &Figures) -> String {
    let mut out = String::new();
    let list = |all: &BTreeMap<String, u64>| {
        let named = |name: &str| if name.is_empty() { "-" } else { name }.to_owned();
        all.iter()
            .map(|(name, count)| format!("{} {count}", named(name)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if !of.tiers.is_empty() {
        let _ = writeln!(out, "    results by tier: {}", list(&of.tiers));
    }
    if of.empty > 0 {
        let made: u64 = of.tiers.values().sum();
        let _ = writeln!(out, "    empty results: {} of the last {made}", of.empty);
    }
    for (how, some) in &of.stalled {
        let (word, run) = (how.at_work().name(), of.count(State::Running));
        let _ = writeln!(
            out,
            "    {word}: {some} of {run} that run; unwedge jobs list --state running"
        );
    }
    if !of.classes.is_empty() {
        let _ = writeln!(out, "    failures by class: {}", list(&of.classes));
    }
    if let Some(ms) = of.oldest_waiting_ms.filter(|_| of.waiting() > 0) {
        let _ =
            write!(out, "    the oldest has waited {}", text::duration(Duration::from_millis(ms)));
        if let Some(ms) = of.to_finish_ms() {
            let _ = write!(
                out,
                "; all done in {} at this rate",
                text::duration(Duration::from_millis(ms))
            );
        }
        out.push('\n');
    }
    out
}

/// What is wrong with it, a line each.
fn trouble(lane: &Lane) -> String {
    let mut out = String::new();
    if let Some((since_ms, why)) = &lane.paused {
        let _ = writeln!(out, "    paused since {}: {why}", rfc3339(*since_ms));
    }
    if let Some(open) = &lane.open {
        let _ = writeln!(
            out,
            "    closed since {}, one is let through at {}: {}",
            rfc3339(open.since_ms),
            rfc3339(open.retry_ms),
            open.why
        );
    }
    if lane.is_degraded() {
        let first = lane.first_tier.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "    degraded: none of the last {} results is by {first}",
            lane.tiers.len()
        );
    }
    if !lane.others.is_empty() {
        let _ = writeln!(
            out,
            "    {} has another definition, and takes nothing of it",
            lane.others.join(", ")
        );
    }
    out
}

#[derive(Serialize)]
struct Object<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    lanes: Vec<LaneJson<'a>>,
}

/// A lane for a program.
#[derive(Serialize)]
pub(super) struct LaneJson<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    troubles: Vec<&'static str>,
    digest: Option<&'a str>,
    first_tier: Option<&'a str>,
    paused: Option<&'a str>,
    open: Option<&'a str>,
    other_definition: &'a [String],
    workers: BTreeMap<&'static str, usize>,
    waiting: u64,
    to_finish_ms: Option<u64>,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl<'a> LaneJson<'a> {
    pub(super) fn of(
        kind: &'a str,
        lane: Option<&'a Lane>,
        figures: &'a Figures,
        workers: &[(Worker, Standing)],
    ) -> Self {
        Self {
            kind,
            troubles: lane.map(troubles).unwrap_or_default(),
            digest: lane.and_then(|it| it.digest.as_deref()),
            first_tier: lane.and_then(|it| it.first_tier.as_deref()),
            paused: lane.and_then(|it| Some(it.paused.as_ref()?.1.as_str())),
            open: lane.and_then(|it| Some(it.open.as_ref()?.why.as_str())),
            other_definition: lane.map_or(&[], |it| &it.others),
            workers: hands(workers, kind, lane).into_iter().collect(),
            waiting: figures.waiting(),
            to_finish_ms: figures.to_finish_ms(),
            figures,
        }
    }
}

/// For a program.
///
/// # Errors
/// It cannot be written as JSON.
pub fn json(
    lanes: &[Lane],
    figures: &BTreeMap<String, Figures>,
    workers: &[(Worker, Standing)],
    now: &Now,
) -> Result<String> {
    let none = Figures::default();
    let lanes = all(lanes, figures)
        .map(|(kind, lane)| LaneJson::of(kind, lane, figures.get(kind).unwrap_or(&none), workers))
        .collect();
    Ok(serde_json::to_string(&Object { head: Head::of(OPERATOR, now), lanes })? + "\n")
}

/// Every lane, and every type that has jobs and no lane.
pub(super) fn all<'a>(
    lanes: &'a [Lane],
    figures: &'a BTreeMap<String, Figures>,
) -> impl Iterator<Item = (&'a str, Option<&'a Lane>)> {
    let unknown = figures.keys().filter(|kind| !lanes.iter().any(|lane| lane.kind == **kind));
    let known = lanes.iter().map(|lane| (lane.kind.as_str(), Some(lane)));
    known.chain(unknown.map(|kind| (kind.as_str(), None)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::act::upkeep::Look;
    use crate::decide::at_work::Still;
    use crate::queue::store::{Lack, TypeMark};

    fn worker(digest: &str) -> Worker {
        let mark = TypeMark {
            digest: digest.to_owned(),
            first_tier: "first".to_owned(),
            uses: "first".to_owned(),
            rests: None,
        };
        Worker {
            id: "b:1:2:3".to_owned(),
            host: "a".to_owned(),
            unit: None,
            version: "0".to_owned(),
            mode: "direct".to_owned(),
            types: BTreeMap::from([("t".to_owned(), mark)]),
            lacks: BTreeMap::new(),
            open: Vec::new(),
            closed: Vec::new(),
            state: "idle".to_owned(),
            step: None,
            done: 0,
            failed: 0,
            silent_ms: 0,
            started_ms: 0,
            ended_ms: None,
            cpus: None,
            load_milli: None,
            memory_mib: None,
            deaf: None,
            stale: Duration::from_secs(60),
        }
    }

    /// One of which nothing is told.
    pub fn lane() -> Lane {
        Lane {
            kind: "t".to_owned(),
            digest: Some("d".to_owned()),
            first_tier: Some("first".to_owned()),
            paused: None,
            open: None,
            others: Vec::new(),
            tiers: Vec::new(),
        }
    }

    fn figures() -> Figures {
        let some = |all: &[(&str, u64)]| {
            all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        Figures {
            counts: BTreeMap::from([
                (State::Pending, 5),
                (State::Retryable, 1),
                (State::Running, 2),
                (State::Done, 40),
                (State::Failed, 3),
                (State::Quarantined, 4),
            ]),
            oldest_waiting_ms: Some(90_000),
            tiers: some(&[("first", 30), ("second", 10)]),
            empty: 7,
            stalled: BTreeMap::from([(Still::HungOnIo, 1)]),
            mean_ms: Some(1_500),
            p95_ms: Some(4_000),
            last_done_ms: Some(1),
            done_last_minute: 16,
            put_aside_last_hour: 2,
            classes: some(&[("failed", 3), ("conflict", 4)]),
        }
    }

    #[test]
    fn a_lane_is_told_with_its_workers_its_figures_and_how_long_it_takes() {
        let other = worker("e");
        let unable = Worker {
            types: BTreeMap::new(),
            lacks: BTreeMap::from([(
                "t".to_owned(),
                Lack { why: "x".to_owned(), digest: "d".to_owned() },
            )]),
            ..worker("d")
        };
        let workers = [
            (worker("d"), Standing::Busy),
            (worker("d"), Standing::Busy),
            (worker("d"), Standing::Idle),
            (worker("d"), Standing::Stale),
            (other, Standing::Idle),
            (unable.clone(), Standing::Idle),
            (unable, Standing::Hung),
        ];
        let all = BTreeMap::from([("t".to_owned(), figures())]);
        let told = text(&[lane()], &all, &workers);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(
            lines,
            [
                "LANE              WAITING  RUNNING     DONE  FAILED   ASIDE      MEAN       P95    /MIN",
                "t                       6        2       40       3       4     1.5 s     4.0 s      16",
                "    workers: 1 idle, 2 busy, 1 stale, 1 unable",
                "    results by tier: first 30, second 10",
                "    empty results: 7 of the last 40",
                "    hung-on-io: 1 of 2 that run; unwedge jobs list --state running",
                "    failures by class: conflict 4, failed 3",
                "    the oldest has waited 1 min 30 s; all done in 30 s at this rate",
            ]
        );
    }

    #[test]
    fn what_says_nothing_is_not_told() {
        let quiet = Figures {
            counts: BTreeMap::from([(State::Done, 1)]),
            tiers: BTreeMap::from([("first".to_owned(), 1)]),
            ..Figures::default()
        };
        let told =
            |figures: Figures| text(&[lane()], &BTreeMap::from([("t".to_owned(), figures)]), &[]);
        let lines = told(quiet.clone());
        assert_eq!(lines.lines().count(), 3, "{lines}");
        // who made them is told where all is as it should be, too
        assert!(lines.ends_with("    results by tier: first 1\n"), "{lines}");
        let none = Figures { tiers: BTreeMap::new(), ..quiet.clone() };
        assert_eq!(told(none).lines().count(), 2);
        // none was done in the last minute: there is no rate to tell by
        let waits = Figures {
            counts: BTreeMap::from([(State::Pending, 1)]),
            oldest_waiting_ms: Some(1_000),
            ..quiet
        };
        assert!(told(waits).ends_with("the oldest has waited 1.0 s\n"));
    }

    #[test]
    fn a_lane_is_told_to_a_collector_in_its_units() {
        let look = Look {
            lanes: vec![Lane { paused: Some((1, "x".to_owned())), ..lane() }],
            figures: BTreeMap::from([(
                "t".to_owned(),
                Figures { last_done_ms: Some(1_700_000_000_500), ..figures() },
            )]),
            workers: vec![(worker("d"), Standing::Idle), (worker("d"), Standing::Hung)],
        };
        let mut families = Families::default();
        metrics(&Tended { look: Some(look), ..Tended::default() }, &mut families).unwrap();
        let told = families.encode().unwrap();
        for line in [
            // in seconds, as every time of a collector is
            "unwedge_lane_last_done_timestamp_seconds{lane=\"t\"} 1700000000.5",
            "unwedge_lane_oldest_waiting_seconds{lane=\"t\"} 90",
            "unwedge_lane_jobs{lane=\"t\",state=\"quarantined\"} 4",
            "unwedge_lane_put_aside_last_hour{lane=\"t\"} 2",
            "unwedge_lane_empty_results{lane=\"t\"} 7",
            "unwedge_lane_stalled{how=\"hung-on-io\",lane=\"t\"} 1",
            "unwedge_lane_stalled{how=\"unknown\",lane=\"t\"} 0",
            "unwedge_lane_trouble{lane=\"t\",trouble=\"paused\"} 1",
            "unwedge_lane_trouble{lane=\"t\",trouble=\"open\"} 0",
            "unwedge_lane_workers{lane=\"t\"} 1",
            "unwedge_queue_workers{state=\"hung\"} 1",
            "unwedge_queue_workers{state=\"stale\"} 0",
        ] {
            assert!(told.lines().any(|it| it == line), "{line}: {told}");
        }
    }
}
