//! What a host that runs jobs of a queue of our own says of itself: its types, its lanes, its buckets, and the signs of
//! life that it waits for. All but the types is told by metrics: whoever tends the queue has asked it, as its own user.

use std::collections::BTreeSet;

use super::metrics::Told;
use super::{Finding, Host};
use crate::config::job_type::JobType;
use crate::config::queue::Adapter;
use crate::manifest::{JOBS, RUNNER};
use crate::probes::ability::{Ability, Looks};

pub fn types(host: &Host<'_>) -> Vec<Finding> {
    let Some(jobs) = &host.settings.jobs else { return Vec::new() };
    let types = match JobType::read_all(&jobs.dir) {
        Ok(types) => types.on_host(&jobs.run),
        Err(why) => return vec![Finding::unknown("", why)],
    };
    let wrong = |(name, why): (String, String)| {
        Finding::fault(name, format!("nothing of it is taken, or it stays as it was: {why}"))
    };
    let mut found: Vec<Finding> = types.bad.into_iter().map(wrong).collect();
    let abilities = Looks::default().look(types.good.iter());
    found.extend(abilities.into_iter().map(|(name, ability)| match ability {
        Ability::First => Finding::ok(name, "its first tool is here"),
        Ability::Other(tier) => {
            Finding::warn(name, format!("its first tool is not here; {tier} does its jobs"))
        }
        Ability::Unknown(why) => {
            Finding::unknown(name, format!("its programs cannot be looked for: {why}"))
        }
        Ability::None(programs) => Finding::fault(
            name,
            format!("not on this host: {programs}; its jobs are left to others"),
        ),
    }));
    found
}

pub fn lanes(host: &Host<'_>) -> Vec<Finding> {
    if host.settings.queue.as_ref().is_none_or(|it| it.adapter != Adapter::Unwedge) {
        return Vec::new();
    }
    let Some(told) = Told::by(host, &JOBS) else { return vec![untold()] };
    let lanes: BTreeSet<String> = told.labels("unwedge_lane_jobs", "lane").collect();
    lanes.iter().flat_map(|lane| of_lane(&told, lane)).collect()
}

fn of_lane(told: &Told<'_>, lane: &str) -> Vec<Finding> {
    let jobs = |state| told.value("unwedge_lane_jobs", &[("lane", lane), ("state", state)]);
    let waiting = jobs("pending").unwrap_or(0.0) + jobs("retryable").unwrap_or(0.0);
    let mut found = Vec::new();
    if waiting > 0.0 && told.value("unwedge_lane_workers", &[("lane", lane)]) == Some(0.0) {
        found.push(
            Finding::fault(lane, format!("{waiting} jobs wait, and no worker takes them"))
                .mended_by(format!("systemctl start --no-block {}", RUNNER.service())),
        );
    }
    let resume = format!("unwedge lanes resume {lane}");
    let open = "it is closed: five ends in a row had their cause in its type (unwedge lanes list)";
    for (trouble, finding) in [
        ("open", Finding::fault(lane, open).mended_by(&resume)),
        ("paused", Finding::warn(lane, "it is closed: a person paused it").mended_by(&resume)),
        (
            "degraded",
            Finding::warn(lane, "none of its last ten results was made by its first tool"),
        ),
        (
            "other-definition",
            Finding::warn(
                lane,
                "there are hosts that know its type otherwise, and take nothing of it",
            ),
        ),
    ] {
        if told.is("unwedge_lane_trouble", &[("lane", lane), ("trouble", trouble)]) {
            found.push(finding);
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(lane, format!("{waiting} jobs wait")));
    }
    found
}

pub fn buckets(host: &Host<'_>) -> Vec<Finding> {
    if host.settings.bucket.is_empty() || !host.runs(&RUNNER) {
        return Vec::new();
    }
    let told = Told::by(host, &RUNNER);
    let of = |name: &String| {
        let answers =
            told.as_ref()?.value("unwedge_runner_bucket_answers", &[("name", name.as_str())]);
        answers.map(|it| it > 0.0)
    };
    let names = host.settings.bucket.iter().map(|it| &it.name);
    names
        .map(|name| match of(name) {
            Some(true) => Finding::ok(name, "it answered the runner"),
            Some(false) => Finding::fault(
                name,
                "it does not answer the runner, or not to its key: what lies there waits (journalctl -u unwedge-runner)",
            ),
            None => Finding::unknown(name, "the runner has not said whether it answers"),
        })
        .collect()
}

pub fn heartbeats(host: &Host<'_>) -> Vec<Finding> {
    if host.settings.heartbeat.is_empty() {
        return Vec::new();
    }
    let Some(told) = Told::by(host, &JOBS) else { return vec![untold()] };
    let is =
        |name: &str, state| told.is("unwedge_heartbeat_state", &[("name", name), ("state", state)]);
    let one = |name: &String| match ["fresh", "stale", "absent", "skewed"]
        .iter()
        .find(|it| is(name, it))
    {
        Some(&"fresh") => Finding::ok(name, "fresh"),
        Some(&"skewed") => Finding::warn(
            name,
            "skewed: its clock and this one differ, so nobody can tell how old it is; timedatectl on both",
        ),
        Some(state) => {
            Finding::warn(name, format!("{state}: whatever needs it waits (unwedge incidents)"))
        }
        None => Finding::unknown(name, "nobody knows how it is"),
    };
    host.settings.heartbeat.iter().map(|it| one(&it.name)).collect()
}

pub fn intakes(host: &Host<'_>) -> Vec<Finding> {
    let is_own = host.settings.queue.as_ref().is_some_and(|it| it.adapter == Adapter::Unwedge);
    if host.settings.intake.is_empty() || !is_own {
        return Vec::new();
    }
    let Some(told) = Told::by(host, &JOBS) else { return vec![untold()] };
    let one = |name: &String| {
        let of = [("name", name.as_str())];
        let waits = told.value("unwedge_intake_incomplete", &of).unwrap_or_default();
        match told.value("unwedge_intake_ok", &of) {
            Some(1.0) if waits > 0.0 => {
                Finding::ok(name, format!("{waits} files are not complete yet"))
            }
            Some(1.0) => Finding::ok(name, "all that is complete there can be taken in"),
            Some(_) => Finding::fault(
                name,
                "it cannot be looked at, or a file there can neither be taken in nor deleted",
            )
            .mended_by(JOBS.program),
            None => Finding::unknown(name, "no round has told of it yet")
                .mended_by(format!("systemctl start --no-block {}", JOBS.service())),
        }
    };
    host.settings.intake.iter().map(|it| one(&it.name)).collect()
}

fn untold() -> Finding {
    Finding::unknown("", "no round has told of it yet")
        .mended_by(format!("systemctl start --no-block {}", JOBS.service()))
}
