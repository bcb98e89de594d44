//! Text and metrics of a reading.

use std::path::PathBuf;

use super::*;
use crate::probes::jobs::InfraErrors;

fn now() -> Now {
    Now { utc_ms: 1_700_000_000_000, boot_ms: 1, boot_id: "b".to_owned() }
}

fn job(id: &str, state: State) -> Job {
    Job {
        id: id.to_owned(),
        state,
        lane: Some("pdf\n".to_owned()),
        output: Some(PathBuf::from("/srv/x")),
        started_utc_ms: Some(1_699_999_940_000),
        not_before_utc_ms: Some(1_700_000_600_000),
        back_utc_ms: None,
        attempts: Some(2),
    }
}

fn facts() -> QueueFacts {
    QueueFacts {
        queue: "jobs".to_owned(),
        at_utc_ms: 1_700_000_000_000,
        running: vec![Job { output: None, ..job("1", State::Running) }],
        next: vec![job("2", State::Pending)],
        cooling: vec![job("3", State::Cooling)],
        counts: [
            (State::Pending, 4),
            (State::Retryable, 0),
            (State::Cooling, 1),
            (State::Running, 1),
        ]
        .into(),
        oldest_pending_ms: Some(90_500),
        infra_errors: InfraErrors { window_ms: 600_000, count: Some(3) },
        stale_running: Some(1),
        dead: None,
        rescue: None,
        hold_back: false,
        advice: vec!["an index".to_owned()],
    }
}

#[test]
fn a_person_reads_each_list_and_until_when_a_job_cools() {
    let look = QueueLook::Known(facts());
    assert_eq!(
        text(Some(&look), &now()),
        "queue jobs: 4 pending, 0 retryable, 1 cooling, 1 running\n  the oldest has waited 1 min 30 s\n  \
         3 with an infrastructure error in the last 10m\n  1 running for longer than they should\n  running\n    \
         1  (output not known)  lane pdf\\x0a  for 1 min  tried 2 times\n  next\n    2  /srv/x  lane pdf\\x0a  \
         tried 2 times\n  cooling\n    3  /srv/x  lane pdf\\x0a  not before 2023-11-14T22:23:20Z  tried 2 times\n  \
         advice: an index\n"
    );
}

#[test]
fn an_unknown_queue_has_a_reason_and_what_was_known_last_and_no_figures() {
    let last_good =
        Some(LastGood { read_utc_ms: 1_699_999_000_000, age_ms: Some(1_000_000), facts: facts() });
    let look = QueueLook::Unknown { why: "gone".to_owned(), last_good };
    assert_eq!(
        text(Some(&look), &now()),
        "queue-unknown: gone\n  last read 2023-11-14T21:56:40Z, 16 min 40 s ago: 4 pending, 0 retryable, 1 \
         cooling, 1 running\n"
    );
    let now = now();
    let round = |look| QueueRound {
        now: &now,
        armed: false,
        look,
        last_good_utc_ms: Some(1_699_999_000_000),
        tended: None,
        trouble: None,
        took: Duration::from_millis(20),
    };
    let metrics = render_metrics(&round(Some(&look))).unwrap();
    assert!(!metrics.contains("unwedge_jobs") && metrics.contains("unwedge_queue_readable 0\n"));
    assert!(
        metrics.contains("unwedge_queue_last_good_timestamp_seconds 1699999000\n"),
        "{metrics}"
    );
    let known = QueueLook::Known(facts());
    let metrics = render_metrics(&round(Some(&known))).unwrap();
    for line in [
        "unwedge_jobs{queue=\"jobs\",state=\"retryable\"} 0",
        "unwedge_jobs_oldest_pending_seconds 90.5",
        "unwedge_jobs_infra_errors_recent{window=\"10m\"} 3",
        "unwedge_queue_readable 1",
        "unwedge_tool_last_run_timestamp_seconds{tool=\"jobs\"} 1700000000",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let none = render_metrics(&round(None)).unwrap();
    assert!(
        none.contains("unwedge_tool_run_ok{tool=\"jobs\"} 1") && !none.contains("unwedge_queue")
    );
}
