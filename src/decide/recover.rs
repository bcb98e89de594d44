//! Giving rows back to the queue: which of those whose worker was down since they were begun may be taken
//! again. Five witnesses are heard, and each is told whatever comes of it. A row goes back only if its age, the
//! processes and its output say that whoever was at it is gone, and none says that somebody is there.
//!
//! | witness | says gone | says there | says nothing |
//! |---|---|---|---|
//! | age | the queue tells one try from the next | never | never; without a start time nobody can tell |
//! | beat | never | never | always: no table of this version has one |
//! | process | the worker has been down, with nobody left, since the row was begun | somebody is left in its control group | never; unseen, nobody can tell |
//! | growth | its output has not changed for `[queue] quiet` | it has changed | never; unread, nobody can tell |
//! | mount | never | it is not live: somebody may wait on it | it is live, or its output is on none that is watched |

use std::time::Duration;

use crate::probes::growth::Output;
use crate::probes::jobs::Row;
use crate::probes::orphans::{Left, Orphan};
use crate::probes::records::Watched;
use crate::probes::verdict::Verdict;
use crate::sys::clock::Now;
use crate::sys::text;

/// What one witness says of whoever was at a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Gone.
    Gone,
    /// Still there.
    There,
    /// It cannot tell, and it has to be heard.
    Unknown,
    /// Nothing either way.
    Nothing,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Who.
    pub name: &'static str,
    /// What.
    pub says: Says,
    /// In words.
    pub words: String,
}

/// A row, and what the witnesses say of it.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// The row.
    pub orphan: &'a Orphan,
    /// All five.
    pub witnesses: [Witness; 5],
}

impl Judged<'_> {
    /// The row, if whoever was at it is gone.
    #[must_use]
    pub fn gone(&self) -> Option<Row> {
        let [age, beat, process, growth, mount] = &self.witnesses;
        let heard = [age, process, growth].iter().all(|witness| witness.says == Says::Gone);
        let silent =
            [beat, mount].iter().all(|witness| matches!(witness.says, Says::Gone | Says::Nothing));
        self.orphan.job.row().filter(|_| heard && silent)
    }

    /// For people: the job, and each witness.
    #[must_use]
    pub fn words(&self) -> String {
        let all: Vec<String> =
            self.witnesses.iter().map(|it| format!("{}: {}", it.name, it.words)).collect();
        format!("job {} ({})", text::bytes(self.orphan.job.id.as_bytes()), all.join("; "))
    }
}

/// Since when each output is as it is: to be stored by a round that may. A row whose output could not be
/// looked at begins anew. One that somebody may be at is not watched: that it is tells later rounds that it was
/// begun before the worker was seen down.
#[must_use]
pub fn watch(orphans: &[Orphan], before: &[Watched], now: &Now) -> Vec<Watched> {
    let one = |orphan: &Orphan| {
        let row = orphan.job.row()?;
        let digest = match &orphan.output {
            Output::Known(digest) => Some(digest.clone()),
            Output::Unknown(_) => None,
        };
        let same = before.iter().find(|it| it.row == row && it.digest == digest);
        let since =
            same.filter(|_| digest.is_some()).map_or_else(|| now.stamp(), |it| it.since.clone());
        Some(Watched { row, digest, since })
    };
    orphans.iter().filter(|orphan| orphan.left.is_nobody()).filter_map(one).collect()
}

/// Hears the witnesses. `watched` is what [`watch`] made of this look.
#[must_use]
pub fn judge<'a>(
    orphans: &'a [Orphan],
    watched: &[Watched],
    quiet: Duration,
    now: &Now,
) -> Vec<Judged<'a>> {
    let one = |orphan: &'a Orphan| {
        let witness = |name, (says, words): (Says, String)| Witness { name, says, words };
        let since = watched.iter().find(|it| Some(&it.row) == orphan.job.row().as_ref());
        Judged {
            orphan,
            witnesses: [
                witness("age", age(orphan, now)),
                witness("beat", (Says::Nothing, "none in this table".to_owned())),
                witness("process", process(&orphan.left)),
                witness("growth", growth(orphan, since, quiet, now)),
                witness("mount", mount(orphan)),
            ],
        }
    };
    orphans.iter().map(one).collect()
}

fn age(orphan: &Orphan, now: &Now) -> (Says, String) {
    match orphan.job.row() {
        None => (Says::Unknown, "no start time, so one try is like the next".to_owned()),
        Some(row) => {
            let ms = now.utc_ms.saturating_sub(row.started_utc_ms);
            (Says::Gone, format!("begun {} ago", text::duration(Duration::from_millis(ms))))
        }
    }
}

fn process(left: &Left) -> (Says, String) {
    match left {
        Left::Nobody(why) => (Says::Gone, why.clone()),
        Left::Somebody(why) => (Says::There, why.clone()),
        Left::Unknown(why) => (Says::Unknown, why.clone()),
    }
}

fn growth(orphan: &Orphan, since: Option<&Watched>, quiet: Duration, now: &Now) -> (Says, String) {
    let age = match (&orphan.output, since) {
        (Output::Unknown(why), _) => return (Says::Unknown, why.clone()),
        (Output::Known(_), Some(watched)) => now.since(&watched.since).known(),
        (Output::Known(_), None) => None,
    };
    let asked = text::duration(quiet);
    match age {
        Some(age) if age >= quiet => {
            (Says::Gone, format!("nothing has changed for {}", text::duration(age)))
        }
        Some(age) => {
            let seen = text::duration(age);
            (Says::Unknown, format!("nothing has changed for {seen}, expected {asked}"))
        }
        None => (Says::Unknown, format!("looked at once, expected to stay the same for {asked}")),
    }
}

fn mount(orphan: &Orphan) -> (Says, String) {
    match &orphan.mount {
        None => (Says::Nothing, "its output is on no watched mount".to_owned()),
        Some((path, Verdict::Live)) => (Says::Nothing, format!("{} is live", text::path(path))),
        Some((path, verdict)) => {
            (Says::There, format!("{} is {verdict}, and somebody may wait on it", text::path(path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::jobs::{Job, State};
    use crate::sys::clock::Stamp;

    const QUIET: Duration = Duration::from_secs(60);

    fn now() -> Now {
        Now { utc_ms: 1_000_000, boot_ms: 500_000, boot_id: "this".to_owned() }
    }

    fn ago(ms: u64) -> Stamp {
        let now = now();
        Now { utc_ms: now.utc_ms - ms, boot_ms: now.boot_ms - ms, ..now }.stamp()
    }

    fn orphan(digest: &str) -> Orphan {
        let job = Job {
            id: "7".to_owned(),
            state: State::Running,
            lane: None,
            output: Some("/srv/box/x".into()),
            started_utc_ms: Some(900_000),
            not_before_utc_ms: None,
            back_utc_ms: None,
            attempts: None,
        };
        Orphan {
            job,
            left: Left::Nobody("the worker is down".to_owned()),
            mount: Some(("/srv/box".into(), Verdict::Live)),
            output: Output::Known(digest.to_owned()),
        }
    }

    fn watched(digest: &str, ms: u64) -> Vec<Watched> {
        let row = orphan(digest).job.row().unwrap();
        vec![Watched { row, digest: Some(digest.to_owned()), since: ago(ms) }]
    }

    fn goes_back(orphan: &Orphan, before: &[Watched]) -> bool {
        let orphans = [orphan.clone()];
        let watched = watch(&orphans, before, &now());
        judge(&orphans, &watched, QUIET, &now())[0].gone().is_some()
    }

    #[test]
    fn a_row_goes_back_only_when_its_output_has_been_still_for_as_long_as_asked() {
        assert!(goes_back(&orphan("a"), &watched("a", 60_000)));
        assert!(!goes_back(&orphan("a"), &watched("a", 59_999)));
        assert!(!goes_back(&orphan("a"), &watched("b", 60_000)), "it has changed");
        assert!(!goes_back(&orphan("a"), &[]), "looked at once");
        let mut another = watched("a", 60_000);
        another[0].row.started_utc_ms += 1;
        assert!(!goes_back(&orphan("a"), &another), "another try");
    }

    #[test]
    fn a_witness_that_cannot_tell_or_says_there_keeps_it() {
        let with = |change: fn(&mut Orphan)| {
            let mut one = orphan("a");
            change(&mut one);
            goes_back(&one, &watched("a", 60_000))
        };
        assert!(with(|_| {}));
        assert!(with(|it| it.mount = None));
        assert!(!with(|it| it.job.started_utc_ms = None));
        for left in [Left::Somebody("2".to_owned()), Left::Unknown("?".to_owned())] {
            let one = [Orphan { left, ..orphan("a") }];
            let judged = judge(&one, &watched("a", 60_000), QUIET, &now());
            assert!(judged[0].gone().is_none(), "{judged:?}");
        }
        assert!(!with(|it| it.output = Output::Unknown("?".to_owned())));
        for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Live) {
            let mut one = orphan("a");
            one.mount = Some(("/srv/box".into(), verdict));
            assert!(!goes_back(&one, &watched("a", 60_000)), "{verdict}");
        }
    }

    #[test]
    fn a_row_that_somebody_may_be_at_is_not_taken_for_one_from_before_the_worker_was_down() {
        for left in [Left::Somebody("2".to_owned()), Left::Unknown("?".to_owned())] {
            assert_eq!(watch(&[Orphan { left, ..orphan("a") }], &[], &now()), []);
        }
        assert_eq!(watch(&[orphan("a")], &[], &now()).len(), 1);
    }

    #[test]
    fn what_could_not_be_looked_at_begins_anew() {
        let mut lost = orphan("a");
        lost.output = Output::Unknown("?".to_owned());
        let between = watch(&[lost], &watched("a", 60_000), &now());
        assert_eq!(between[0].digest, None);
        assert!(!goes_back(&orphan("a"), &between));
    }
}
