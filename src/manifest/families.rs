//! Metric families: name, labels, HELP, and whose file each is in. What is not here is not written, and what is
//! here is documented; both are held by tests.

use super::{CANARY, JOBS, MOUNTS, NOTIFY, RUNNER, Tool, VERIFY, WATCH, WORKER};

/// One family, a gauge.
#[derive(Debug)]
pub struct Family {
    /// Its name, with the unit at the end.
    pub name: &'static str,
    /// Its labels, as they are listed in the README.
    pub labels: &'static [&'static str],
    /// Its HELP text, the same in every file.
    pub help: &'static str,
    /// Whose file it is in.
    pub of: Of,
}

/// Whose file a family is in.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    /// That of every tool, with a `tool` label.
    Each,
    /// That of a drill, which is there for a while.
    Drill,
    /// That of this one alone.
    One(&'static Tool),
}

const fn family(
    of: Of,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, labels, help, of }
}

/// Every family.
#[rustfmt::skip]
pub static FAMILIES: [Family; 59] = [
    family(Of::Each, "unwedge_tool_last_run_timestamp_seconds", &["tool"], "When the tool last ended a round, Unix time."),
    family(Of::Each, "unwedge_tool_armed", &["tool"], "Whether the tool's sentinel permits it to act."),
    family(Of::Each, "unwedge_tool_run_ok", &["tool"], "Whether the last round did its job; a held one did."),
    family(Of::Each, "unwedge_tool_holds", &["tool", "reason"], "What the last round did not do, by reason."),
    family(Of::Each, "unwedge_tool_duration_seconds", &["tool"], "How long the last round took."),
    family(Of::One(&VERIFY), "unwedge_tool_expected", &["tool"], "Whether the tool is enabled, and so should be heard of."),
    family(Of::Drill, "unwedge_drill_until_timestamp_seconds", &[], "Until when somebody drills the way of an alert, Unix time."),
    family(Of::One(&CANARY), "unwedge_canary_ok", &[], "Whether the probe called a dead mount dead and a live one live."),
    family(Of::One(&VERIFY), "unwedge_check_state", &["check", "state"], "1 for what a check last found, 0 for what it did not."),
    family(Of::One(&MOUNTS), "unwedge_mount_state", &["path", "state"], "1 for what the path was last seen as, 0 for what it was not."),
    family(Of::One(&MOUNTS), "unwedge_mount_errno", &["path"], "The errno that a probe of the path was answered with, if any."),
    family(Of::One(&MOUNTS), "unwedge_mount_probe_seconds", &["path"], "How long the probe of the path took."),
    family(Of::One(&MOUNTS), "unwedge_mount_hidden_entries", &["path"], "Entries of the bare directory at the path, up to 1000."),
    family(Of::One(&MOUNTS), "unwedge_mount_state_since_timestamp_seconds", &["path"], "Since when the path is seen so, Unix time."),
    family(Of::One(&MOUNTS), "unwedge_mount_repairs", &["path", "outcome"], "Repairs of the path by how they ended, since the state began."),
    family(Of::One(&MOUNTS), "unwedge_debts", &["kind"], "What was taken away and must still be put back, by kind."),
    family(Of::One(&MOUNTS), "unwedge_debt_oldest_timestamp_seconds", &["kind"], "Since when the oldest open debt is open, Unix time."),
    family(Of::One(&MOUNTS), "unwedge_mounts_orphan_connections", &[], "FUSE connections that no mount namespace shows."),
    family(Of::One(&MOUNTS), "unwedge_incidents_open", &[], "Incidents that are open: `unwedge incidents` tells them."),
    family(Of::One(&JOBS), "unwedge_jobs", &["queue", "state"], "Unfinished jobs of the queue, by state."),
    family(Of::One(&JOBS), "unwedge_jobs_oldest_pending_seconds", &[], "How long the oldest job that could run has waited."),
    family(Of::One(&JOBS), "unwedge_jobs_infra_errors_recent", &["window"], "Unfinished jobs with a recent infrastructure error."),
    family(Of::One(&JOBS), "unwedge_jobs_stale", &["queue"], "Jobs that run by their row, and that by their age or their library's rule nobody gets done."),
    family(Of::One(&JOBS), "unwedge_jobs_dead", &["queue"], "Jobs that failed for good and are kept, where the queue tells that."),
    family(Of::One(&JOBS), "unwedge_queue_readable", &[], "Whether the last round could read the queue."),
    family(Of::One(&JOBS), "unwedge_queue_last_good_timestamp_seconds", &[], "When the queue was last read, Unix time."),
    family(Of::One(&JOBS), "unwedge_lane_jobs", &["lane", "state"], "Jobs of our own queue that are not done or cancelled, by lane."),
    family(Of::One(&JOBS), "unwedge_lane_trouble", &["lane", "trouble"], "1 for what is wrong with the lane, 0 for what is not."),
    family(Of::One(&JOBS), "unwedge_lane_workers", &["lane"], "Living workers that can take jobs of the lane."),
    family(Of::One(&JOBS), "unwedge_lane_stalled", &["how", "lane"], "Jobs of the lane that run and do not move, or of which nobody sees it."),
    family(Of::One(&JOBS), "unwedge_lane_put_aside_last_hour", &["lane"], "Jobs of the lane that were put aside or gave up in the last hour."),
    family(Of::One(&JOBS), "unwedge_lane_empty_results", &["lane"], "How many of the last 1000 results of the lane are empty."),
    family(Of::One(&JOBS), "unwedge_lane_oldest_waiting_seconds", &["lane"], "How long the oldest job of the lane that waits has waited."),
    family(Of::One(&JOBS), "unwedge_lane_last_done_timestamp_seconds", &["lane"], "When the last job of the lane was done, Unix time."),
    family(Of::One(&JOBS), "unwedge_queue_workers", &["state"], "Workers of our own queue, by how they stand."),
    family(Of::One(&JOBS), "unwedge_heartbeat_state", &["name", "state"], "1 for what the sign of life was last seen as, 0 for what it was not."),
    family(Of::One(&JOBS), "unwedge_heartbeat_age_seconds", &["name"], "How old the sign of life was."),
    family(Of::One(&JOBS), "unwedge_intake_ok", &["name"], "Whether all that lies complete in the intake can be taken in, and go where it should."),
    family(Of::One(&JOBS), "unwedge_intake_incomplete", &["name"], "Files in the intake that are not complete yet."),
    family(Of::One(&JOBS), "unwedge_jobs_removed", &["state"], "Jobs taken out by age, by how they stood, since the state began."),
    family(Of::One(&JOBS), "unwedge_scratch_files_removed", &[], "Scratch files of jobs that unwedge-jobs put aside, and second results of jobs that went by age, taken away since the state began; a runner tells of its own in the journal."),
    family(Of::One(&RUNNER), "unwedge_runner_queue_reachable", &[], "Whether the queue answered the runner last."),
    family(Of::One(&RUNNER), "unwedge_runner_jobs_running", &[], "Jobs that the runner has at work."),
    family(Of::One(&RUNNER), "unwedge_runner_jobs_done", &[], "Jobs done since the runner itself was started."),
    family(Of::One(&RUNNER), "unwedge_runner_tries_failed", &[], "Tries that were no success since the runner itself was started."),
    family(Of::One(&RUNNER), "unwedge_runner_bucket_answers", &["name"], "Whether the bucket answered the runner last."),
    family(Of::One(&RUNNER), "unwedge_runner_engine_answers", &["name"], "Whether the engine of containers answered the runner last."),
    family(Of::One(&WATCH), "unwedge_watch_daemons", &[], "FUSE daemons whose end is waited for."),
    family(Of::One(&WATCH), "unwedge_watch_supported", &[], "Whether the end of every watched mount's daemon would be seen."),
    family(Of::One(&WATCH), "unwedge_watch_config", &["digest"], "1 for the configuration that it goes by."),
    family(Of::One(&WATCH), "unwedge_watch_starts", &[], "Rounds started since the watch itself was started."),
    family(Of::One(&NOTIFY), "unwedge_messages_waiting", &[], "Messages that could not be delivered yet."),
    family(Of::One(&NOTIFY), "unwedge_message_oldest_timestamp_seconds", &[], "When the oldest of them was written, Unix time."),
    family(Of::One(&NOTIFY), "unwedge_notify_ping_ok", &[], "Whether the last sign of life arrived."),
    family(Of::One(&WORKER), "unwedge_worker_active", &[], "Whether the worker runs."),
    family(Of::One(&WORKER), "unwedge_worker_should_be_running", &[], "Whether jobs wait and what they write to is live."),
    family(Of::One(&WORKER), "unwedge_worker_last_start_attempt_timestamp_seconds", &[], "When the worker was last started, or tried to, Unix time."),
    family(Of::One(&WORKER), "unwedge_worker_starts", &["outcome"], "Starts of the worker by how they ended, since the state began."),
    family(Of::One(&WORKER), "unwedge_worker_last_result", &["result", "reason"], "1 for how the last round ended, and the first reason."),
];

/// The family of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}
