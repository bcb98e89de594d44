//! A helper that cannot be killed: when it is given up, and when what it had may be begun anew. The time is an argument, so that
//! ten minutes are none.

use std::path::Path;

use super::*;
use crate::runner::running::HELPER_END;

const TOKEN: Token = Token { id: 7, nth: 1 };

/// A runner with nobody to talk to, that has given a job to a helper.
fn with_a_job(dir: &Path) -> Runner {
    let text =
        format!("[queue]\nadapter = \"unwedge\"\nurl = \"sqlite://{}/q.db\"\n", dir.display());
    let queue = crate::config::from_str(&text).unwrap().queue.unwrap();
    let kind = "[[tier]]\nargv = [\"/bin/true\"]\nlimit = \"1m\"\n";
    let kind = Rc::new(JobType::parse(Path::new("t.toml"), kind).unwrap());
    let setup = Setup::bare(dir);
    let grace = setup.numbers.grace;
    let (send, events) = mpsc::channel();
    let wires = Wires {
        events,
        send,
        looks: mpsc::channel().0,
        roots: mpsc::channel().0,
        rooms: mpsc::channel().0,
    };
    let around = Around { manager: None, cgroups: None, no_limits: None, reread: None, tell: None };
    let mut runner = Runner::new(setup, queue, around, "w".to_owned(), wires);
    let claimed = Claimed {
        token: TOKEN,
        key: "k".to_owned(),
        input: "/in/a".to_owned(),
        output: None,
        needs: Vec::new(),
        failures: 0,
        infra_errors: 0,
        rescues: 0,
        placed: None,
    };
    let hand = Hand::start(3, "w", runner.send.clone()).unwrap();
    let running = Running::new(claimed, kind, hand, None, grace, None);
    runner.running.insert(TOKEN, running);
    runner
}

/// Whether its helper was killed; nothing where it is none of those at work.
fn is_killed(runner: &Runner) -> Option<bool> {
    runner.running.get(&TOKEN).map(|it| it.is_killed)
}

#[test]
fn a_helper_is_killed_when_its_time_is_over_and_given_up_when_that_was_of_no_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = with_a_job(dir.path());
    let moment = Duration::from_millis(1);
    let over = runner.running[&TOKEN].over_at();
    runner.kill_overdue(over.saturating_sub(moment));
    assert_eq!(is_killed(&runner), Some(false));
    runner.kill_overdue(over);
    assert_eq!(is_killed(&runner), Some(true));
    // it may be on its way out
    runner.kill_overdue((over + HELPER_END).saturating_sub(moment));
    assert!(is_killed(&runner) == Some(true) && runner.stuck.is_empty());
    runner.kill_overdue(over + HELPER_END);
    assert!(is_killed(&runner).is_none() && runner.stuck.contains_key(&TOKEN));
    assert!(runner.outbox.is_empty(), "nobody else is to begin it yet");
}

#[test]
fn what_a_helper_had_that_could_not_be_killed_goes_back_once_that_has_ended_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut runner = with_a_job(dir.path());
    let over = runner.running[&TOKEN].over_at();
    runner.kill_overdue(over);
    runner.kill_overdue(over + HELPER_END);
    // another one's end is none of its own
    runner.hear(Event::Gone(4));
    assert!(runner.stuck.contains_key(&TOKEN) && runner.outbox.is_empty());
    runner.hear(Event::Gone(3));
    assert!(runner.stuck.is_empty() && runner.outbox.has(TOKEN));
    assert_eq!((runner.done, runner.failed), (0, 1), "its storage was away");
    // and that is told once
    runner.hear(Event::Gone(3));
    assert_eq!(runner.outbox.len(), 1);
}
