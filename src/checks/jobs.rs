//! What a host that runs jobs of a queue of our own says of itself: its types, its lanes and workers, what its runner needs
//! of others, and the signs of life that it waits for. All but the types is told by metrics: whoever tends the queue has
//! asked it, as its own user.

use std::collections::BTreeSet;

use super::metrics::Told;
use super::{Finding, Host, or_ok};
use crate::config::queue::Adapter;
use crate::manifest::{JOBS, RUNNER};
use crate::probes::ability::{Ability, Looks};
use crate::probes::engine;
use crate::probes::types;

pub fn types(host: &Host<'_>) -> Vec<Finding> {
    let Some(jobs) = &host.settings.jobs else { return Vec::new() };
    let types = match types::of(&jobs.dir) {
        Ok(types) => types.on_host(&jobs.run),
        Err(why) => return vec![Finding::unknown("", why)],
    };
    let wrong = |(name, why): (String, String)| {
        Finding::fault(name, format!("nothing of it is taken, or it stays as it was: {why}"))
    };
    let mut found: Vec<Finding> = types.bad.into_iter().map(wrong).collect();
    let abilities = Looks::default().look(types.good.iter());
    let engine = |name: &str| {
        let kind = types.good.iter().find(|kind| kind.name == name)?;
        engine::install(kind.container.as_ref()?.engine.first()?)
    };
    found.extend(abilities.into_iter().map(|(name, ability)| match ability {
        Ability::First => Finding::ok(name, "its first tool is here"),
        Ability::Other(tier) => {
            Finding::warn(name, format!("its first tool is not here; {tier} does its jobs"))
        }
        Ability::Unknown(why) => {
            Finding::unknown(name, format!("its programs cannot be looked for: {why}"))
        }
        Ability::None(programs) => {
            let install = engine(&name);
            let lacks = format!("not on this host: {programs}; its jobs are left to others");
            let found = Finding::fault(name, lacks);
            match install {
                Some(command) => found.mended_by(command),
                None => found,
            }
        }
    }));
    found
}

/// What whoever tends a queue of our own told of it last; a finding where that is nothing, and none where there is no such queue.
fn of_queue<'a>(host: &Host<'a>) -> Option<Result<Told<'a>, Finding>> {
    host.settings.queue.as_ref().filter(|it| it.adapter == Adapter::Unwedge)?;
    Some(Told::by(host, &JOBS).ok_or_else(untold))
}

/// What is found of each lane.
fn each_lane(host: &Host<'_>, of: impl Fn(&Told<'_>, &str) -> Vec<Finding>) -> Vec<Finding> {
    let told = match of_queue(host) {
        None => return Vec::new(),
        Some(Err(untold)) => return vec![untold],
        Some(Ok(told)) => told,
    };
    let lanes: BTreeSet<String> = told.labels("unwedge_lane_jobs", "lane").collect();
    lanes.iter().flat_map(|lane| of(&told, lane)).collect()
}

pub fn lanes(host: &Host<'_>) -> Vec<Finding> {
    // a runner that is up would be started in vain: what it lacks it says itself
    let is_up = host.is_up(&RUNNER);
    each_lane(host, |told, lane| of_lane(told, lane, is_up))
}

/// Whether jobs of a lane move, as far as their workers see that.
pub fn stalled(host: &Host<'_>) -> Vec<Finding> {
    each_lane(host, |told, lane| {
        let some = |how| told.value("unwedge_lane_stalled", &[("how", how), ("lane", lane)]);
        let some = |how| some(how).filter(|it| *it > 0.0);
        let list = format!("unwedge jobs list --state running --type {lane}");
        let mut found = Vec::new();
        if let Some(count) = some("hung-on-io") {
            let why = format!(
                "{count} of its jobs hang on storage; kill nothing: mend the storage, and they go on (unwedge-mounts)"
            );
            found.push(Finding::fault(lane, why).mended_by(&list));
        }
        if let Some(count) = some("slow") {
            let why = format!("{count} of its jobs stand still, and nothing says why");
            found.push(Finding::warn(lane, why).mended_by(&list));
        }
        if let Some(count) = some("unknown") {
            let why =
                format!("{count} of its jobs are run by a daemon: nobody sees whether they move");
            found.push(Finding::unknown(lane, why).mended_by(&list));
        }
        if found.is_empty() {
            found.push(Finding::ok(lane, "none of its jobs stands still"));
        }
        found
    })
}

/// Whether jobs were put aside of late: what was before is known, or there would be a warning for as long as they are kept.
pub fn quarantine(host: &Host<'_>) -> Vec<Finding> {
    each_lane(host, |told, lane| {
        let new = told.value("unwedge_lane_put_aside_last_hour", &[("lane", lane)]);
        vec![match new {
            None => Finding::unknown(lane, "nobody has told how many were put aside"),
            Some(0.0) => Finding::ok(lane, "nothing was put aside in the last hour"),
            Some(new) => Finding::warn(
                lane,
                format!("{new} of its jobs were put aside or gave up in the last hour, and are not tried again"),
            )
            .mended_by(format!("unwedge jobs list --state quarantined,failed --type {lane}")),
        }]
    })
}

/// Whether every worker of the queue is heard.
pub fn workers(host: &Host<'_>) -> Vec<Finding> {
    let told = match of_queue(host) {
        None => return Vec::new(),
        Some(Err(untold)) => return vec![untold],
        Some(Ok(told)) => told,
    };
    let some = |state| told.value("unwedge_queue_workers", &[("state", state)]);
    let Some(hung) = some("hung") else {
        return vec![Finding::unknown("", "the last round could not tell how the workers stand")];
    };
    let mut found = Vec::new();
    if hung > 0.0 {
        let why =
            format!("{hung} of the workers hang: their process is here, and gives no sign of life");
        found.push(Finding::fault("", why).mended_by("unwedge workers list"));
    }
    if let Some(stale) = some("stale").filter(|it| *it > 0.0) {
        let why = format!("{stale} of the workers are silent, and cannot be seen from here");
        found.push(Finding::warn("", why).mended_by("unwedge workers list"));
    }
    or_ok(found, "every worker is heard")
}

fn of_lane(told: &Told<'_>, lane: &str, is_up: Result<bool, &str>) -> Vec<Finding> {
    let jobs = |state| told.value("unwedge_lane_jobs", &[("lane", lane), ("state", state)]);
    let waiting = jobs("pending").unwrap_or(0.0) + jobs("retryable").unwrap_or(0.0);
    let mut found = Vec::new();
    if waiting > 0.0 && told.value("unwedge_lane_workers", &[("lane", lane)]) == Some(0.0) {
        let why = format!("{waiting} jobs wait, and no worker takes them");
        found.push(match is_up {
            Ok(false) => Finding::fault(lane, why)
                .mended_by(format!("systemctl start --no-block {}", RUNNER.service())),
            Ok(true) => {
                // no tool of its type, no room, no engine, no directory: each is mended otherwise
                let more = "though a runner is up here: its list says what is missing";
                Finding::fault(lane, format!("{why}, {more}")).mended_by("unwedge workers list")
            }
            Err(unknown) => {
                let more =
                    "whether a runner is up here is not known, and the list of workers says it";
                Finding::fault(lane, format!("{why}; {more}: {unknown}"))
                    .mended_by("unwedge workers list")
            }
        });
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

pub fn engines(host: &Host<'_>) -> Vec<Finding> {
    let Some(jobs) = host.settings.jobs.as_ref().filter(|_| host.runs(&RUNNER)) else {
        return Vec::new();
    };
    // what is wrong with types is another row
    let types = types::of(&jobs.dir).unwrap_or_default().on_host(&jobs.run);
    let containers = types.good.iter().filter_map(|kind| kind.container.as_ref());
    let engines: BTreeSet<String> = containers.map(|it| it.engine.join(" ")).collect();
    let told = Told::by(host, &RUNNER);
    let of = |name: &str| told.as_ref()?.value("unwedge_runner_engine_answers", &[("name", name)]);
    let one = |name: &String| {
        match of(name) {
        Some(answers) if answers > 0.0 => Finding::ok(name, "it answered the runner"),
        Some(_) => Finding::fault(
            name,
            "it does not answer the runner: nothing that it is to run is taken; the list says what mends it",
        )
        .mended_by("unwedge workers list"),
        None => Finding::unknown(name, "the runner has not said whether it answers"),
    }
    };
    engines.iter().map(one).collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Settings, from_str};
    use crate::manifest::Tool;
    use crate::probes::services::Shown;
    use crate::sys::clock::Now;

    struct Desk(tempfile::TempDir);

    impl Desk {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn settings(&self, more: &str) -> Settings {
            let dir = self.0.path().display();
            from_str(&format!(
                "[host]\ntextfile_dir = \"{dir}\"\n[queue]\nurl = \"sqlite:///var/lib/q.db\"\nadapter = \"unwedge\"\n\
                 [jobs]\ndir = \"{dir}/jobs.d\"\n{more}"
            ))
            .unwrap()
        }

        /// What a tool has told.
        fn told(&self, tool: &Tool, lines: &str) {
            std::fs::write(self.path(&tool.metrics_file()), lines).unwrap();
        }
    }

    /// The rows of a check: grade, subject, evidence and command.
    fn rows(
        settings: &Settings,
        is_up: bool,
        look: fn(&Host<'_>) -> Vec<Finding>,
    ) -> Vec<(&'static str, String, String, String)> {
        let pid = if is_up { "7" } else { "0" };
        let units = [(RUNNER.service(), Shown::of(&[("MainPID", pid)]))];
        rows_where(settings, Ok(units.into()), look)
    }

    /// The same, by what the service manager said.
    fn rows_where(
        settings: &Settings,
        units: Result<BTreeMap<String, Shown>, String>,
        look: fn(&Host<'_>) -> Vec<Finding>,
    ) -> Vec<(&'static str, String, String, String)> {
        let now = Now { utc_ms: 0, boot_ms: 0, boot_id: String::new() };
        let host = Host::new(settings, Err(String::new()), Path::new("/usr"), &[], &now);
        host.units.set(units).unwrap();
        let row =
            |it: Finding| (it.grade.name(), it.subject, it.evidence, it.mend.unwrap_or_default());
        look(&host).into_iter().map(row).collect()
    }

    fn is(found: &[(&'static str, String, String, String)], expected: &[(&str, &str, &str, &str)]) {
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((grade, subject, evidence, mend), it) in found.iter().zip(expected) {
            assert_eq!((*grade, subject.as_str(), mend.as_str()), (it.0, it.1, it.3), "{found:#?}");
            assert!(evidence.contains(it.2), "{}: {found:#?}", it.2);
        }
    }

    const START: &str = "systemctl start --no-block unwedge-runner.service";
    const TEND: &str = "systemctl start --no-block unwedge-jobs.service";

    #[test]
    fn a_runner_is_started_only_where_none_is_up_and_else_it_is_asked_what_it_lacks() {
        let desk = Desk::new();
        let settings = desk.settings("");
        is(&rows(&settings, true, lanes), &[("unknown", "", "no round", TEND)]);
        for (waiting, able, is_up, expected) in [
            (0, 0, false, ("ok", "t", "0 jobs wait", "")),
            (2, 1, false, ("ok", "t", "2 jobs wait", "")),
            (2, 0, false, ("fault", "t", "2 jobs wait, and no worker takes them", START)),
            (2, 0, true, ("fault", "t", "though a runner is up here", "unwedge workers list")),
        ] {
            desk.told(&JOBS, &format!(
                "unwedge_lane_jobs{{lane=\"t\",state=\"retryable\"}} {waiting}\nunwedge_lane_workers{{lane=\"t\"}} {able}\n"
            ));
            is(&rows(&settings, is_up, lanes), &[expected]);
        }
        // who was not told that none is up starts none
        for (units, why) in [
            (
                Err("systemctl gave no answer".to_owned()),
                "not known, and the list of workers says it: systemctl gave no answer",
            ),
            (
                Ok(BTreeMap::new()),
                "is not known, and the list of workers says it: systemd was not asked",
            ),
        ] {
            let expected = ("fault", "t", why, "unwedge workers list");
            is(&rows_where(&settings, units, lanes), &[expected]);
        }
        assert!(rows(&from_str("").unwrap(), true, lanes).is_empty(), "no queue of our own");
    }

    #[test]
    fn each_trouble_of_a_lane_is_a_row_of_its_own() {
        let desk = Desk::new();
        let settings = desk.settings("");
        let resume = "unwedge lanes resume t";
        for (trouble, expected) in [
            ("open", ("fault", "t", "five ends in a row", resume)),
            ("paused", ("warn", "t", "a person paused it", resume)),
            ("degraded", ("warn", "t", "none of its last ten results", "")),
            ("other-definition", ("warn", "t", "know its type otherwise", "")),
        ] {
            for (is_so, expected) in [(1, expected), (0, ("ok", "t", "0 jobs wait", ""))] {
                desk.told(&JOBS, &format!(
                    "unwedge_lane_jobs{{lane=\"t\",state=\"pending\"}} 0\nunwedge_lane_trouble{{lane=\"t\",trouble=\"{trouble}\"}} {is_so}\n"
                ));
                is(&rows(&settings, true, lanes), &[expected]);
            }
        }
    }

    #[test]
    fn jobs_that_do_not_move_are_told_by_how_and_what_nobody_sees_is_not_ok() {
        let desk = Desk::new();
        let settings = desk.settings("");
        is(&rows(&settings, true, stalled), &[("unknown", "", "no round", TEND)]);
        let list = "unwedge jobs list --state running --type t";
        for (how, expected) in [
            ("hung-on-io", ("fault", "t", "3 of its jobs hang on storage", list)),
            ("slow", ("warn", "t", "3 of its jobs stand still", list)),
            ("unknown", ("unknown", "t", "nobody sees", list)),
        ] {
            for (count, expected) in [(3, expected), (0, ("ok", "t", "none of its jobs", ""))] {
                desk.told(&JOBS, &format!(
                    "unwedge_lane_jobs{{lane=\"t\",state=\"running\"}} 4\nunwedge_lane_stalled{{how=\"{how}\",lane=\"t\"}} {count}\n"
                ));
                is(&rows(&settings, true, stalled), &[expected]);
            }
        }
    }

    #[test]
    fn what_was_put_aside_is_a_warning_while_it_grows() {
        let desk = Desk::new();
        let settings = desk.settings("");
        let list = "unwedge jobs list --state quarantined,failed --type t";
        for (new, expected) in [
            (Some(0), ("ok", "t", "nothing was put aside", "")),
            (Some(1), ("warn", "t", "1 of its jobs were put aside", list)),
            (None, ("unknown", "t", "nobody has told", "")),
        ] {
            let new =
                new.map(|it| format!("unwedge_lane_put_aside_last_hour{{lane=\"t\"}} {it}\n"));
            // how many there are says nothing of whether they become more
            let all = "unwedge_lane_jobs{lane=\"t\",state=\"quarantined\"} 70\n";
            desk.told(&JOBS, &format!("{all}{}", new.unwrap_or_default()));
            is(&rows(&settings, true, quarantine), &[expected]);
        }
    }

    #[test]
    fn a_worker_that_hangs_is_a_fault_and_one_that_is_silent_elsewhere_a_warning() {
        let desk = Desk::new();
        let settings = desk.settings("");
        is(&rows(&settings, true, workers), &[("unknown", "", "no round", TEND)]);
        let list = "unwedge workers list";
        let (hangs, silent) =
            (("fault", "", "1 of the workers hang", list), ("warn", "", "2 of the workers", list));
        for (hung, stale, expected) in [
            (0, 0, vec![("ok", "", "every worker is heard", "")]),
            (1, 0, vec![hangs]),
            (0, 2, vec![silent]),
            (1, 2, vec![hangs, silent]),
        ] {
            desk.told(&JOBS, &format!(
                "unwedge_queue_workers{{state=\"hung\"}} {hung}\nunwedge_queue_workers{{state=\"stale\"}} {stale}\nunwedge_queue_workers{{state=\"dead\"}} 1\n"
            ));
            is(&rows(&settings, true, workers), &expected);
        }
        // a round that could not ask the queue says nothing of them
        desk.told(&JOBS, "unwedge_queue_readable 0\n");
        is(&rows(&settings, true, workers), &[("unknown", "", "could not tell", "")]);
    }

    #[test]
    fn an_engine_is_as_the_runner_has_found_it_and_where_it_is_missing_its_package_is_named() {
        let desk = Desk::new();
        let settings = desk.settings("engine = [\"/nowhere/podman\", \"--log-level=error\"]\n");
        let kind = "output = \"/srv/out/{name}\"\nmode = \"container\"\nimage = \"tools:1\"\n[[tier]]\nargv = [\"/bin/true\"]\n";
        std::fs::create_dir(desk.path("jobs.d")).unwrap();
        std::fs::write(desk.path("jobs.d/t.toml"), kind).unwrap();
        let engine = "/nowhere/podman --log-level=error";
        is(&rows(&settings, true, engines), &[("unknown", engine, "has not said", "")]);
        for (answers, expected) in [
            (1, ("ok", engine, "it answered", "")),
            (0, ("fault", engine, "does not answer", "unwedge workers list")),
        ] {
            desk.told(
                &RUNNER,
                &format!("unwedge_runner_engine_answers{{name=\"{engine}\"}} {answers}\n"),
            );
            is(&rows(&settings, true, engines), &[expected]);
        }
        assert!(rows(&settings, false, engines).is_empty(), "without a runner nobody asks it");
        assert_eq!(engine::install("/nowhere/podman"), Some("apt-get install podman"));
    }

    #[test]
    fn a_sign_of_life_is_told_as_it_was_seen() {
        let desk = Desk::new();
        let settings =
            desk.settings("[[heartbeat]]\nname = \"h\"\npath = \"/srv/h\"\nmax_age = \"1h\"\n");
        is(&rows(&settings, true, heartbeats), &[("unknown", "", "no round", TEND)]);
        for (state, expected) in [
            ("fresh", ("ok", "h", "fresh", "")),
            ("stale", ("warn", "h", "stale: whatever needs it waits", "")),
            ("absent", ("warn", "h", "absent: whatever needs it waits", "")),
            ("skewed", ("warn", "h", "skewed: its clock and this one differ", "")),
            ("unknown", ("unknown", "h", "nobody knows", "")),
        ] {
            desk.told(
                &JOBS,
                &format!("unwedge_heartbeat_state{{name=\"h\",state=\"{state}\"}} 1\n"),
            );
            is(&rows(&settings, true, heartbeats), &[expected]);
        }
    }
}
