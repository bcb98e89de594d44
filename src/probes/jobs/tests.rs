//! The answer: what is taken, and what is not.

use super::*;
use crate::sys::text;

fn facts() -> QueueFacts {
    QueueFacts {
        queue: "jobs".to_owned(),
        at_utc_ms: 0,
        running: Vec::new(),
        next: Vec::new(),
        cooling: Vec::new(),
        counts: State::ALL.map(|state| (state, 0)).into(),
        oldest_pending_ms: None,
        infra_errors: InfraErrors { window_ms: 1, count: None },
        stale_running: None,
        dead: None,
        rescue: None,
        hold_back: false,
        advice: Vec::new(),
    }
}

fn answer(schema: u32, queue: QueueLook) -> Vec<u8> {
    let answer = Answer { schema, tool: "jobs".to_owned(), at: String::new(), queue };
    serde_json::to_vec(&answer).unwrap()
}

#[test]
fn an_answer_is_taken_only_if_it_and_the_exit_code_say_the_same() {
    let known = QueueLook::Known(facts());
    let reading = LastGood { read_utc_ms: 1, age_ms: None, facts: facts() };
    let unknown = QueueLook::Unknown { why: "gone".to_owned(), last_good: Some(reading) };
    for (bytes, code, taken) in [
        (answer(1, known.clone()), 0, Some(known.clone())),
        (answer(1, unknown.clone()), 1, Some(unknown.clone())),
        (answer(1, known.clone()), 1, None),
        (answer(1, unknown), 0, None),
        (answer(2, known.clone()), 0, None),
        (answer(1, known.clone()), 137, None),
        (answer(1, known.clone())[..100].to_vec(), 0, None),
        ([answer(1, known.clone()), answer(1, known)].concat(), 0, None),
        (Vec::new(), 0, None),
        (
            b"{\"schema\":1,\"tool\":\"jobs\",\"at\":\"\",\"queue\":{\"known\":{}}}".to_vec(),
            0,
            None,
        ),
    ] {
        assert_eq!(understand(&bytes, code).ok(), taken, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_key_that_this_version_does_not_know_is_no_answer() {
    let text = String::from_utf8(answer(1, QueueLook::Known(facts()))).unwrap();
    for (from, to) in [("\"hold_back\"", "\"held\":1,\"hold_back\""), ("\"at\"", "\"by\":1,\"at\"")]
    {
        assert!(understand(text.replacen(from, to, 1).as_bytes(), 0).is_err(), "{to}");
    }
    let state = text.replacen("\"cooling\":0", "\"chilling\":0", 1);
    assert!(understand(state.as_bytes(), 0).is_err());
}

#[test]
fn only_a_plain_absolute_path_is_one() {
    for (bytes, path) in [
        (&b"/srv/a"[..], Some("/srv/a")),
        (b"/srv//a/", Some("/srv/a")),
        (b"/srv/./a", None),
        (b"/srv/../a", None),
        (b"/srv/a/..", None),
        (b"srv/a", None),
        (b"", None),
        (b"/srv/\0", None),
        (b"/srv/..a", Some("/srv/..a")),
    ] {
        assert_eq!(plain_path(bytes), path.map(PathBuf::from), "{:?}", text::bytes(bytes));
    }
}

#[test]
fn a_path_that_is_no_text_comes_back_as_it_was() {
    let job = Job {
        id: "1".to_owned(),
        state: State::Running,
        lane: None,
        output: plain_path(b"/srv/\xff"),
        started_utc_ms: None,
        not_before_utc_ms: None,
        back_utc_ms: None,
        attempts: None,
    };
    let text = serde_json::to_string(&job).unwrap();
    assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    let none = Job { output: None, ..job };
    let text = serde_json::to_string(&none).unwrap();
    assert!(text.contains("\"output\":null"), "{text}");
    assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), none);
}
