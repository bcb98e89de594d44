//! The decision of `unwedge-notify`: of which incidents somebody is to be told now. One message when one begins and
//! one when it is over; of the same symptom no more than one such pair in the time of `[notify] repeat`. What came
//! and went in between is counted, and told with the next.

use std::time::Duration;

use crate::probes::incidents::Incident;
use crate::probes::messages::{Known, Message, Messages, Phase, Told};
use crate::sys::clock::{Age, Now, Stamp};

/// How long after a delivery that failed it is tried again: doubled with each, up to an hour.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// What is to be told of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News<'a> {
    /// Which.
    pub incident: &'a Incident,
    /// What of it. One that is over and was never told of is told as a whole.
    pub phase: Phase,
    /// How many of the same symptom came and went since the last message.
    pub untold: u32,
}

/// What was decided.
#[derive(Debug)]
pub struct Decision<'a> {
    /// What is to be told.
    pub news: Vec<News<'a>>,
    /// What is remembered once that is written down.
    pub next: Messages,
}

/// Whether an incident must be read: it is known to be told to the end otherwise.
#[must_use]
pub fn is_news(state: &Messages, id: &str) -> bool {
    !state.known.iter().any(|known| known.id == id && known.phase == Phase::Over)
}

/// Decides. `incidents` are those of [`is_news`], oldest first; `ids` all there are. Where nothing `may` be sent, what
/// is over by then is told to nobody, and what is open waits.
#[must_use]
pub fn decide<'a>(
    state: &Messages,
    incidents: &'a [Incident],
    ids: &[&str],
    repeat: Duration,
    may: bool,
    now: &Now,
) -> Decision<'a> {
    let mut next = state.clone();
    let is_first = next.first.is_none();
    next.first.get_or_insert_with(|| now.stamp());
    next.known.retain(|known| ids.contains(&known.id.as_str()));
    let is_recent = |at: &Stamp| match now.since(at) {
        Age::Known(age) => age < repeat,
        // told twice is better than not at all
        Age::ClockFault | Age::Impossible => false,
    };
    next.told.retain(|told| is_recent(&told.at) || told.untold > 0);
    let mut news = Vec::new();
    for incident in incidents {
        let was_told = next.known.iter().any(|known| known.id == incident.id);
        let symptom = symptom(incident);
        let told = next.told.iter().position(|told| told.symptom == symptom);
        let too_soon = told.is_some_and(|index| is_recent(&next.told[index].at));
        let phase = match (was_told, incident.is_closed) {
            (true, false) => continue,
            (false, false) if !may || too_soon => continue,
            (false, false) => Some(Phase::Opened),
            (false, true) if is_first || !may => None,
            (false, true) if too_soon => {
                if let Some(index) = told {
                    next.told[index].untold += 1;
                }
                None
            }
            (true | false, true) => Some(Phase::Over),
        };
        let settled = if incident.is_closed { Phase::Over } else { Phase::Opened };
        next.known.retain(|known| known.id != incident.id);
        next.known.push(Known { id: incident.id.clone(), phase: settled });
        let Some(phase) = phase else { continue };
        let mut untold = 0;
        if !was_told {
            let fresh = Told { symptom, at: now.stamp(), untold: 0 };
            match told {
                Some(index) => untold = std::mem::replace(&mut next.told[index], fresh).untold,
                None => next.told.push(fresh),
            }
        }
        news.push(News { incident, phase, untold });
    }
    Decision { news, next }
}

/// What is bad, and how.
fn symptom(incident: &Incident) -> String {
    format!("{} {}", incident.root(), incident.cause())
}

/// Whether a message is to be tried now.
#[must_use]
pub fn is_due(message: &Message, now: &Now) -> bool {
    let Some(last) = &message.last else { return true };
    let doublings = message.tries.saturating_sub(1).min(16);
    let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
    match now.since(last) {
        Age::Known(age) => age >= wait,
        Age::ClockFault | Age::Impossible => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::incidents::{Event, What};

    const HOUR: Duration = Duration::from_secs(3600);

    fn now(minute: u64) -> Now {
        Now { utc_ms: minute * 60_000, boot_ms: minute * 60_000, boot_id: "a".to_owned() }
    }

    fn incident(number: u32, cause: &str, is_closed: bool) -> Incident {
        let what = What::Opened { schema: 1, root: "/srv/box".to_owned(), cause: cause.to_owned() };
        let opened = Event { at: now(0).stamp(), tool: "mounts".to_owned(), what };
        Incident {
            id: format!("2026-01-24-{number}"),
            is_closed,
            events: vec![opened],
            unreadable: 0,
        }
    }

    /// Rounds at these minutes; what each told.
    fn told(rounds: &[(u64, &[Incident])]) -> Vec<String> {
        let mut state = Messages { first: Some(now(0).stamp()), ..Messages::default() };
        let mut said = Vec::new();
        for (minute, incidents) in rounds {
            let ids: Vec<&str> = incidents.iter().map(|it| it.id.as_str()).collect();
            let unread: Vec<Incident> =
                incidents.iter().filter(|it| is_news(&state, &it.id)).cloned().collect();
            let decision = decide(&state, &unread, &ids, HOUR, true, &now(*minute));
            said.extend(decision.news.iter().map(|it| {
                let number = it.incident.id.rsplit('-').next().unwrap_or_default();
                format!("{minute}: {number} {} {}", it.phase.name(), it.untold)
            }));
            state = decision.next;
        }
        said
    }

    #[test]
    fn one_message_at_the_beginning_and_one_at_the_end() {
        let (open, over) = ([incident(1, "dead", false)], [incident(1, "dead", true)]);
        let rounds: [(u64, &[Incident]); 5] =
            [(1, &open), (2, &open), (90, &open), (91, &over), (92, &over)];
        assert_eq!(told(&rounds), ["1: 1 opened 0", "91: 1 over 0"]);
        assert_eq!(
            told(&[(1, &over), (2, &over)]),
            ["1: 1 over 0"],
            "one that was over before anybody looked"
        );
    }

    #[test]
    fn the_same_symptom_is_told_once_an_hour_and_what_came_between_is_counted() {
        let round = |last: u32, is_closed: bool| -> Vec<Incident> {
            (1..=last).map(|nth| incident(nth, "dead", nth < last || is_closed)).collect()
        };
        let [first, over, second, third, fourth] =
            [round(1, false), round(1, true), round(2, true), round(3, true), round(4, false)];
        let rounds: [(u64, &[Incident]); 6] =
            [(1, &first), (2, &over), (10, &second), (20, &third), (60, &fourth), (61, &fourth)];
        assert_eq!(told(&rounds), ["1: 1 opened 0", "2: 1 over 0", "61: 4 opened 2"]);
        let other = [incident(1, "dead", false), incident(2, "hung", false)];
        assert_eq!(
            told(&[(1, &other)]),
            ["1: 1 opened 0", "1: 2 opened 0"],
            "another symptom is another message"
        );
    }

    #[test]
    fn what_was_over_before_somebody_asked_to_be_told_is_told_to_nobody() {
        let past = [incident(1, "dead", true), incident(2, "hung", false)];
        let ids = ["2026-01-24-1", "2026-01-24-2"];
        let first = decide(&Messages::default(), &past, &ids, HOUR, true, &now(1));
        assert_eq!(
            first.news.iter().map(|it| it.incident.id.as_str()).collect::<Vec<_>>(),
            ["2026-01-24-2"]
        );
        let unarmed = decide(
            &Messages { first: Some(now(0).stamp()), ..Messages::default() },
            &past,
            &ids,
            HOUR,
            false,
            &now(1),
        );
        assert!(unarmed.news.is_empty() && unarmed.next.known.len() == 1);
        let armed = decide(&unarmed.next, &past[1..], &ids, HOUR, true, &now(2));
        assert_eq!(armed.news.len(), 1, "what is still open is told as soon as it may be");
        assert_eq!(
            decide(&armed.next, &[], &[], HOUR, true, &now(3)).next.known,
            [],
            "what is gone is forgotten"
        );
    }

    #[test]
    fn a_failed_delivery_is_tried_again_ever_later_but_at_least_once_an_hour() {
        let message = |tries: u32| Message {
            incident: String::new(),
            phase: Phase::Opened,
            way: String::new(),
            title: String::new(),
            text: String::new(),
            written: now(0).stamp(),
            tries,
            last: (tries > 0).then(|| now(100).stamp()),
            why: String::new(),
        };
        for (tries, wait) in [(0, 0), (1, 1), (2, 2), (3, 4), (7, 60), (30, 60)] {
            assert!(is_due(&message(tries), &now(100 + wait)), "{tries}");
            assert!(wait == 0 || !is_due(&message(tries), &now(100 + wait - 1)), "{tries}");
        }
    }
}
