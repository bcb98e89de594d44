//! Incidents: from the first confirmed bad verdict until everything it touched is good again. What is not known
//! changes nothing, what is not confirmed opens none, and what is bad for the same base, or keeps the worker down
//! meanwhile, is part of the same one.

use std::collections::BTreeMap;

use super::confirm;
use super::plan::{Hold, Reason, Subject};
use crate::config::Settings;
use crate::config::heartbeat::key;
use crate::probes::heartbeat::State;
use crate::probes::incidents::{Incident, SCHEMA, What};
use crate::probes::mounts::{Observation, Role};
use crate::probes::records::{Debts, Sighting};
use crate::probes::verdict::Verdict;
use crate::probes::worker::WorkerLook;
use crate::sys::clock::Now;
use crate::sys::text;

/// Rounds in a row after which a bind that is still missing, or another source in a mount's place, is an incident: a
/// bind of a job that has just come is missing for one, and is made.
const ROUNDS_MAX: u32 = 2;

/// Something that an incident may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// A path, or the worker.
    pub subject: String,
    /// The base it lies on; none for the worker, which is part of whatever incident is open.
    pub root: Option<String>,
    /// Its state, in its own word.
    pub state: String,
    /// The evidence.
    pub why: String,
    /// What that means.
    pub health: Health,
}

/// What a state means for an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is as it should be, or as somebody wants it.
    Good,
    /// It is bad, and not confirmed to be: part of an incident, but no reason for one.
    Suspect,
    /// It is bad.
    Bad,
    /// Nobody could look.
    Unknown,
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Another one begins, with these lines.
    Open(Vec<What>),
    /// A line of the one with this id.
    Note(String, What),
    /// The one with this id is over.
    Close(String),
}

/// What a round over the mounts makes of what it saw.
#[must_use]
pub fn of_mounts(
    settings: &Settings,
    observations: &[Observation],
    sightings: &[Sighting],
    holds: &[Hold],
    now: &Now,
) -> Vec<Touched> {
    let listed = [Role::Base, Role::Bind, Role::Remembered];
    let is_ours = |seen: &&Observation| {
        listed.iter().any(|role| seen.roles.contains(role))
            || settings.mounts.is_under_root(&seen.path)
    };
    let one = |seen: &Observation| {
        let wanted = holds.iter().any(|hold| {
            hold.reason == Reason::UnitStoppedByOperator
                && hold.subject == Subject::Path(seen.path.clone())
        });
        Touched {
            subject: text::path(&seen.path),
            root: Some(root(settings, seen)),
            state: seen.verdict.name().to_owned(),
            why: seen.why.clone(),
            health: if wanted { Health::Good } else { health(settings, seen, sightings, now) },
        }
    };
    observations.iter().filter(is_ours).map(one).collect()
}

/// What a round makes of the signs of life of others, and of those that an open incident is about and nobody waits for any
/// more.
#[must_use]
pub fn of_heartbeats(seen: &BTreeMap<String, Option<State>>, open: &[Incident]) -> Vec<Touched> {
    let one = |name: &str, state: &str, health| Touched {
        subject: key(name),
        root: Some(key(name)),
        state: state.to_owned(),
        why: String::new(),
        health,
    };
    let known = seen.iter().map(|(name, state)| match state {
        Some(State::Fresh) => one(name, "fresh", Health::Good),
        Some(state @ (State::Stale | State::Absent)) => one(name, state.name(), Health::Bad),
        Some(state @ (State::Unknown | State::Skewed)) => one(name, state.name(), Health::Unknown),
        None => one(name, "unknown", Health::Unknown),
    });
    let of_one = |incident: &Incident| incident.root().strip_prefix(&key("")).map(str::to_owned);
    let gone = open.iter().filter_map(of_one).filter(|name| !seen.contains_key(name));
    known.chain(gone.map(|name| one(&name, "unwatched", Health::Good))).collect()
}

/// What an open incident touches and nobody watches any more, such as the bind of a job that has ended: it is part of
/// nothing then. To be asked only by a round that knows of every path there is to watch.
#[must_use]
pub fn forgotten(open: &[Incident], observations: &[Observation]) -> Vec<Touched> {
    let watched: Vec<String> = observations.iter().map(|seen| text::path(&seen.path)).collect();
    let one = |incident: &Incident| -> Vec<Touched> {
        let bad = incident.bad().into_keys();
        let gone = bad.filter(|subject| {
            subject.starts_with('/') && !watched.iter().any(|path| path == subject)
        });
        let told = |subject: &str| Touched {
            subject: subject.to_owned(),
            root: Some(incident.root().to_owned()),
            state: "unwatched".to_owned(),
            why: "nothing says any more that it is to be looked at".to_owned(),
            health: Health::Good,
        };
        gone.map(told).collect()
    };
    open.iter().flat_map(one).collect()
}

fn health(settings: &Settings, seen: &Observation, sightings: &[Sighting], now: &Now) -> Health {
    let Some(sighting) = confirm::of(sightings, &seen.path, seen.identity()) else {
        return if seen.verdict == Verdict::Live { Health::Good } else { Health::Suspect };
    };
    let lasting = if sighting.runs > ROUNDS_MAX { Health::Bad } else { Health::Suspect };
    match seen.verdict {
        Verdict::Live => Health::Good,
        Verdict::Unknown | Verdict::Inconclusive => Health::Unknown,
        Verdict::ChildOfDead => Health::Suspect,
        Verdict::WrongSource => lasting,
        Verdict::Absent if seen.bind.is_some() => lasting,
        Verdict::Dead | Verdict::Hung | Verdict::Absent | Verdict::Pinned | Verdict::Transient => {
            let limits = confirm::limits(seen.verdict, false, &settings.mounts.confirm);
            match limits.map(|limits| confirm::unconfirmed(seen, sighting, limits, now)) {
                Some(None) => Health::Bad,
                Some(Some(_)) | None => Health::Suspect,
            }
        }
    }
}

/// The base that a path lies on, or itself.
fn root(settings: &Settings, seen: &Observation) -> String {
    let above = || {
        let above = settings.mount.iter().map(|spec| &spec.path);
        let above = above.filter(|path| seen.path.starts_with(path) && **path != seen.path);
        above.max_by_key(|path| path.components().count())
    };
    let base = match (&seen.bind, seen.verdict) {
        (Some(bind), _) => Some(&bind.spec.base),
        (None, Verdict::ChildOfDead) => above(),
        (
            None,
            Verdict::Unknown
            | Verdict::Absent
            | Verdict::WrongSource
            | Verdict::Hung
            | Verdict::Dead
            | Verdict::Pinned
            | Verdict::Transient
            | Verdict::Inconclusive
            | Verdict::Live,
        ) => None,
    };
    text::path(base.unwrap_or(&seen.path))
}

/// What a round over the worker makes of what it saw: one that is down is bad, unless nobody wants it up or there is
/// nothing for it to do. What it stands on is an incident of its own, or will be.
#[must_use]
pub fn of_worker(look: &WorkerLook, holds: &[Hold]) -> Touched {
    let mut reasons = holds.iter().filter(|hold| hold.is_of_worker()).map(|hold| hold.reason);
    let is_wanted = |reason: &Reason| {
        matches!(reason, Reason::NothingPending | Reason::WorkerStoppedByOperator | Reason::OnHold)
    };
    let for_storage = reasons.clone().any(|reason| reason == Reason::StorageNotLive);
    let health = if look.state.is_up() {
        Health::Good
    } else if !look.state.is_down() {
        Health::Unknown
    } else if reasons.any(|reason| is_wanted(&reason)) {
        Health::Good
    } else if for_storage {
        Health::Suspect
    } else {
        Health::Bad
    };
    Touched {
        subject: look.name.clone(),
        root: None,
        state: look.state.name().to_owned(),
        why: String::new(),
        health,
    }
}

/// What is to be written down of what was seen and refused, to the incidents that are open.
#[must_use]
pub fn follow(open: &[Incident], touched: &[Touched], holds: &[Hold], debts: &Debts) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut new: Vec<(String, Vec<What>)> = Vec::new();
    for it in touched {
        let known = open.iter().find(|incident| match &it.root {
            Some(root) => incident.root() == root,
            None => {
                incident.root() == it.subject
                    || incident.touched().contains_key(it.subject.as_str())
            }
        });
        // the worker is down for what is open already
        let known = known.or_else(|| open.first().filter(|_| it.root.is_none()));
        match known {
            Some(incident) => {
                entries
                    .extend(news(incident, it).map(|what| Entry::Note(incident.id.clone(), what)));
            }
            None => opening(&mut new, it),
        }
    }
    // what is only suspected joins what was opened for its base, and opens nothing by itself
    entries.extend(
        new.into_iter().filter(|(_, lines)| is_opened(lines)).map(|(_, lines)| Entry::Open(lines)),
    );
    for incident in open {
        let names = incident.touched();
        let after = |subject: &str| {
            let noted = entries.iter().rev().find_map(|entry| match entry {
                Entry::Note(id, What::Seen { subject: of, good, .. })
                    if *id == incident.id && of == subject =>
                {
                    Some(*good)
                }
                Entry::Note(..) | Entry::Open(_) | Entry::Close(_) => None,
            });
            noted.unwrap_or_else(|| names.get(subject).is_none_or(|it| it.1))
        };
        let changed =
            entries.iter().any(|entry| matches!(entry, Entry::Note(id, _) if *id == incident.id));
        let is_owed = debts
            .debts
            .iter()
            .any(|debt| debt.path().is_none() || names.contains_key(debt.target().as_str()));
        if names.keys().all(|subject| after(subject)) && !is_owed {
            entries.push(Entry::Close(incident.id.clone()));
        } else {
            let refusals = refusals(incident, holds, changed);
            entries.extend(refusals.into_iter().map(|what| Entry::Note(incident.id.clone(), what)));
        }
    }
    entries
}

/// What is new of something that an open incident touches, or comes to touch.
fn news(incident: &Incident, it: &Touched) -> Option<What> {
    let before = incident.touched().get(it.subject.as_str()).copied();
    let good = match it.health {
        Health::Unknown => return None,
        Health::Good if before.is_none() => return None,
        Health::Good => true,
        Health::Suspect | Health::Bad => false,
    };
    (before != Some((it.state.as_str(), good))).then(|| seen(it, good))
}

/// Adds to what may have to be opened.
fn opening(new: &mut Vec<(String, Vec<What>)>, it: &Touched) {
    let root = it.root.clone().unwrap_or_else(|| it.subject.clone());
    match it.health {
        Health::Good | Health::Unknown => return,
        Health::Suspect | Health::Bad => {}
    }
    let index = new.iter().position(|(of, _)| *of == root).unwrap_or_else(|| {
        new.push((root.clone(), Vec::new()));
        new.len() - 1
    });
    let lines = &mut new[index].1;
    if it.health == Health::Bad && !is_opened(lines) {
        lines.insert(0, What::Opened { schema: SCHEMA, root, cause: it.state.clone() });
    }
    lines.push(seen(it, false));
}

/// Whether these lines begin an incident.
fn is_opened(lines: &[What]) -> bool {
    matches!(lines.first(), Some(What::Opened { .. }))
}

fn seen(it: &Touched, good: bool) -> What {
    What::Seen { subject: it.subject.clone(), state: it.state.clone(), good, why: it.why.clone() }
}

/// What is refused of what an incident touches, once for each reason until something happens.
fn refusals(incident: &Incident, holds: &[Hold], changed: bool) -> Vec<What> {
    let touched = incident.touched();
    let told =
        |subject: &str, reason: Reason| !changed && incident.has_told(subject, reason.name());
    let mut refusals: Vec<What> = Vec::new();
    for hold in holds {
        let subject = hold.subject.text();
        let concerns = match &hold.subject {
            Subject::Everything => true,
            Subject::Path(_) | Subject::Worker(_) => {
                touched.get(subject.as_str()).is_some_and(|it| !it.1)
            }
            Subject::Queue(_) => false,
        };
        let reason = hold.reason.name().to_owned();
        let twice = refusals.iter().any(|it| matches!(it, What::Refused { subject: of, reason: told, .. } if *of == subject && *told == reason));
        if concerns && !is_idle(hold.reason) && !twice && !told(&subject, hold.reason) {
            refusals.push(What::Refused { subject, reason, detail: hold.detail.clone() });
        }
    }
    refusals
}

/// Reasons that tell of a round and not of the incident.
fn is_idle(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Busy | Reason::NotConfirmed | Reason::WorkerActive | Reason::NothingPending
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::incidents::Event;
    use crate::probes::records::Debt;
    use crate::sys::clock::Stamp;

    #[test]
    fn a_sign_of_life_that_ended_is_an_incident_until_it_is_given_again_or_waited_for_no_more() {
        let seen = |state| BTreeMap::from([("scan".to_owned(), state)]);
        let health = |state| of_heartbeats(&seen(state), &[])[0].health;
        assert_eq!(health(Some(State::Stale)), Health::Bad);
        assert_eq!(health(Some(State::Absent)), Health::Bad);
        assert_eq!(health(Some(State::Fresh)), Health::Good);
        for unknown in [None, Some(State::Unknown), Some(State::Skewed)] {
            assert_eq!(health(unknown), Health::Unknown);
        }
        let entries =
            follow(&[], &of_heartbeats(&seen(Some(State::Stale)), &[]), &[], &Debts::default());
        assert!(matches!(&entries[..], [Entry::Open(_)]), "{entries:?}");
        let open = after(vec![], &entries);
        let gone = of_heartbeats(&BTreeMap::new(), &open);
        assert_eq!((gone[0].state.as_str(), gone[0].health), ("unwatched", Health::Good));
    }

    const BOX: &str = "/srv/box";
    const BIND: &str = "/srv/jobs/a";
    const WORKER: &str = "worker.service";

    fn touched(subject: &str, root: Option<&str>, state: &str, health: Health) -> Touched {
        Touched {
            subject: subject.to_owned(),
            root: root.map(str::to_owned),
            state: state.to_owned(),
            why: String::new(),
            health,
        }
    }

    fn storage(state: &str, health: Health) -> Touched {
        touched(BOX, Some(BOX), state, health)
    }

    fn worker(state: &str, health: Health) -> Touched {
        touched(WORKER, None, state, health)
    }

    fn stamp() -> Stamp {
        Stamp { utc_ms: 1, boot_ms: 1, boot_id: "a".to_owned() }
    }

    /// The incidents after these entries.
    fn after(mut open: Vec<Incident>, entries: &[Entry]) -> Vec<Incident> {
        let event =
            |what: &What| Event { at: stamp(), tool: "mounts".to_owned(), what: what.clone() };
        for entry in entries {
            match entry {
                Entry::Open(lines) => {
                    let id = format!("2026-01-24-{}", open.len() + 1);
                    let events = lines.iter().map(event).collect();
                    open.push(Incident { id, is_closed: false, events, unreadable: 0 });
                }
                Entry::Note(id, what) => {
                    open.iter_mut().find(|it| it.id == *id).unwrap().events.push(event(what));
                }
                Entry::Close(id) => open.retain(|it| it.id != *id),
            }
        }
        open
    }

    /// Rounds one after the other, each settled before the next.
    fn rounds(rounds: &[&[Touched]]) -> Vec<Incident> {
        let mut open = Vec::new();
        for round in rounds {
            let entries = follow(&open, round, &[], &Debts::default());
            open = after(open, &entries);
            assert_eq!(
                follow(&open, round, &[], &Debts::default()),
                [],
                "a second look adds nothing"
            );
        }
        open
    }

    #[test]
    fn what_is_not_confirmed_opens_none_and_what_is_unknown_changes_none() {
        assert_eq!(
            rounds(&[&[storage("dead", Health::Suspect)], &[storage("unknown", Health::Unknown)]]),
            []
        );
        let open =
            rounds(&[&[storage("dead", Health::Bad)], &[storage("unknown", Health::Unknown)]]);
        assert_eq!(open[0].touched()[BOX], ("dead", false));
        assert_eq!(
            rounds(&[&[storage("dead", Health::Bad)], &[storage("live", Health::Good)]]),
            []
        );
    }

    #[test]
    fn all_that_lies_on_a_base_is_one_incident_and_another_base_is_another() {
        let round = [
            touched(BIND, Some(BOX), "child-of-dead", Health::Suspect),
            storage("dead", Health::Bad),
            touched("/srv/nas", Some("/srv/nas"), "hung", Health::Bad),
            touched("/srv/well", Some("/srv/well"), "live", Health::Good),
        ];
        let open = rounds(&[&round]);
        let told: Vec<(&str, &str, usize)> =
            open.iter().map(|it| (it.root(), it.cause(), it.touched().len())).collect();
        assert_eq!(told, [(BOX, "dead", 2), ("/srv/nas", "hung", 1)]);
        // the base is back, a bind of it is not: it is not over
        let half =
            [storage("live", Health::Good), touched(BIND, Some(BOX), "pinned", Health::Suspect)];
        assert_eq!(after(open.clone(), &follow(&open, &half, &[], &Debts::default())).len(), 2);
    }

    #[test]
    fn a_worker_that_is_down_meanwhile_is_part_of_it_and_alone_it_is_an_incident_of_its_own() {
        let open = rounds(&[&[storage("dead", Health::Bad)], &[worker("failed", Health::Suspect)]]);
        assert_eq!((open.len(), open[0].touched()[WORKER]), (1, ("failed", false)));
        let back = [storage("live", Health::Good)];
        let open = after(open.clone(), &follow(&open, &back, &[], &Debts::default()));
        assert_eq!(open.len(), 1, "the worker is not back");
        assert_eq!(
            after(
                open.clone(),
                &follow(&open, &[worker("active", Health::Good)], &[], &Debts::default())
            ),
            []
        );
        let alone = rounds(&[&[worker("failed", Health::Bad)]]);
        assert_eq!((alone[0].root(), alone[0].cause()), (WORKER, "failed"));
        assert_eq!(rounds(&[&[worker("failed", Health::Suspect)]]), [], "its storage will be one");
    }

    #[test]
    fn nothing_is_over_while_something_is_owed() {
        let open = rounds(&[&[storage("dead", Health::Bad)]]);
        let debt = |path: &str| Debts {
            debts: vec![Debt::Mount { path: path.into(), since: stamp(), why: String::new() }],
        };
        let back = [storage("live", Health::Good)];
        assert_eq!(after(open.clone(), &follow(&open, &back, &[], &debt(BOX))).len(), 1);
        assert_eq!(after(open.clone(), &follow(&open, &back, &[], &debt("/srv/other"))).len(), 0);
        let worker = Debts {
            debts: vec![Debt::Worker {
                unit: WORKER.to_owned(),
                was_enabled: true,
                since: stamp(),
                why: String::new(),
            }],
        };
        assert_eq!(after(open.clone(), &follow(&open, &back, &[], &worker)).len(), 1);
    }

    #[test]
    fn what_nobody_watches_any_more_keeps_none_open() {
        let open = rounds(&[&[
            storage("dead", Health::Bad),
            touched(BIND, Some(BOX), "dead", Health::Bad),
        ]]);
        let gone = forgotten(&open, &[]);
        assert_eq!(gone.len(), 2);
        assert_eq!(after(open.clone(), &follow(&open, &gone, &[], &Debts::default())), []);
    }

    #[test]
    fn a_refusal_is_told_once_until_something_happens() {
        let open = rounds(&[&[storage("dead", Health::Bad)]]);
        let holds = [
            Hold::on(std::path::Path::new(BOX), Reason::CoolingDown, String::new()),
            Hold::on(std::path::Path::new(BOX), Reason::NotConfirmed, String::new()),
            Hold::on(std::path::Path::new("/srv/other"), Reason::CoolingDown, String::new()),
            Hold::gate(Reason::Halted, String::new()),
        ];
        let bad = [storage("dead", Health::Bad)];
        let entries = follow(&open, &bad, &holds, &Debts::default());
        assert_eq!(entries.len(), 2, "{entries:?}");
        let mut open = after(open, &entries);
        assert_eq!(follow(&open, &bad, &holds, &Debts::default()), []);
        let tried = What::Failed { step: "x".to_owned(), detail: String::new(), ms: 1 };
        open = after(open.clone(), &[Entry::Note(open[0].id.clone(), tried)]);
        assert_eq!(follow(&open, &bad, &holds, &Debts::default()).len(), 2);
    }
}
