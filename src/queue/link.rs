//! The way to our own queue: each question within a limit, on a connection that is made anew when it is gone. A server
//! that accepts and stays mute keeps a thread, which is left to itself; whoever asked goes on.

use std::time::Duration;

use super::Fault;
use super::store::Store;
use crate::config::queue::Queue;
use crate::sys::backoff::Backoff;
use crate::sys::clock::boottime;
use crate::sys::limit::within;

/// The longest while jobs are at work: their lease is to be renewed before anybody can have heard a silence.
pub const RETRY_HOLDING: Duration = Duration::from_secs(15);

/// What is said where nobody has made one.
pub(crate) const NONE: &str =
    "there is no queue there yet: the first runner makes it, or the first job that is put in";

/// What gives a connection.
type Open = fn(&Queue) -> Result<Store, Fault>;

/// The way.
pub struct Link {
    queue: Queue,
    open: Open,
    store: Option<Store>,
    again: Backoff,
    away: Option<Away>,
    holds: bool,
    broken: Option<Fault>,
}

/// A queue that did not answer, or said no.
struct Away {
    /// When it is tried again, in time since boot.
    until: Duration,
    /// What it said, or who could not reach it.
    why: Fault,
}

impl Link {
    /// To this queue, which is made where there is none.
    #[must_use]
    pub fn to(queue: Queue) -> Self {
        Self::by(Store::open, queue)
    }

    /// To this queue, which somebody else has to have made.
    #[must_use]
    pub fn look(queue: Queue) -> Self {
        Self::by(|queue| Store::look(queue)?.ok_or_else(|| Fault::new(NONE)), queue)
    }

    /// The same, and what would write there is refused.
    #[must_use]
    pub fn only_look(queue: Queue) -> Self {
        Self::by(|queue| Store::only_look(queue)?.ok_or_else(|| Fault::new(NONE)), queue)
    }

    fn by(open: Open, queue: Queue) -> Self {
        let again = Backoff::new(queue.terms.reconnect.first, queue.terms.reconnect.most);
        Self { queue, open, store: None, again, away: None, holds: false, broken: None }
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Asks. While the queue is away it is tried again after `[queue] reconnect`, then after twice as long, up to
    /// `reconnect_max`; until then the answer is what it was, at once.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal.
    pub fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        if let Some(Away { why, .. }) = self.away.as_ref().filter(|it| boottime() < it.until) {
            return Err(why.clone());
        }
        let (queue, store, open) = (self.queue.clone(), self.store.take(), self.open);
        let answer = within(self.queue.timeout, move || {
            let mut store = match store {
                Some(store) => store,
                None => open(&queue)?,
            };
            let answer = question(&mut store);
            Ok((store, answer))
        });
        match answer {
            Ok(Ok((store, Ok(answer)))) => {
                self.store = Some(store);
                self.again.reset();
                self.away = None;
                Ok(answer)
            }
            // a server that refuses (a full disk, a replica that was demoted) is asked anew on another connection
            Ok(Ok((_, Err(fault))) | Err(fault)) => Err(self.is_away(fault)),
            Err(why) => Err(self.is_away(Fault(why.to_string()))),
        }
    }

    /// When it is tried again, in time since boot.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.away.as_ref().map_or(Duration::ZERO, |it| it.until)
    }

    /// An answer is waited for no longer than this from now on.
    pub fn hurry(&mut self, limit: Duration) {
        self.queue.timeout = self.queue.timeout.min(limit);
    }

    /// Whether jobs are at work.
    pub fn holds(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// What was said of a file that is damaged, once that was said: to ask again mends nothing.
    #[must_use]
    pub fn broken(&self) -> Option<&Fault> {
        self.broken.as_ref()
    }

    fn is_away(&mut self, why: Fault) -> Fault {
        if self.broken.is_none() && why.is_of_a_damaged_file() {
            self.broken = Some(why.clone());
        }
        let holding = RETRY_HOLDING.min(self.queue.terms.lease / 4);
        let most = if self.holds { holding } else { Duration::MAX };
        let until = boottime() + self.again.next_delay_up_to(most);
        self.away = Some(Away { until, why: why.clone() });
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::pause;

    #[test]
    fn whoever_is_in_a_hurry_waits_less_for_a_queue_that_is_mute() {
        let mute = |_: &Queue| {
            pause(Duration::from_secs(60));
            Err(Fault::new("it was not mute"))
        };
        let mut link = Link::by(mute, Queue::at("sqlite:///q.db", Duration::from_secs(50)));
        link.hurry(Duration::from_millis(20));
        link.hurry(Duration::from_secs(40));
        let before = boottime();
        let Fault(why) = link.ask(Store::name).unwrap_err();
        assert!(why.contains("no answer within"), "{why}");
        assert!(boottime().saturating_sub(before) < Duration::from_secs(20));
    }
}
