//! What became of tries and is not written down yet. While the queue is away it is kept on disk too, so that the end of
//! the runner does not cost a result; whoever runs next on this host delivers it, with the token and in the name of
//! the worker that it is of.

use std::path::{Path, PathBuf};

use crate::act::store;
use crate::decide::attempts::Token;
use crate::probes::records;
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::spool::{Parcel, Spool};
use crate::queue::store::{Ending, Store};
use crate::sys::clock::{Now, boottime};

/// All that waits to be written down.
#[derive(Debug)]
pub struct Outbox {
    dir: Option<PathBuf>,
    /// Of workers before.
    left: Vec<Parcel>,
    /// Likewise, of other queues that this host worked for: they stay where they are.
    of_others: Vec<Parcel>,
    own: Parcel,
    /// Whether there is something on disk.
    is_kept: bool,
    /// Whether that is another than this.
    is_changed: bool,
    said: Vec<String>,
    /// What is wrong with the disk.
    trouble: Option<String>,
}

impl Outbox {
    /// That of a worker, with what those before it have left in `dir`.
    #[must_use]
    pub fn open(dir: Option<PathBuf>, worker: &str) -> Self {
        let own = Parcel {
            queue: None,
            worker: worker.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endings: Vec::new(),
        };
        let mut outbox = Self {
            dir,
            left: Vec::new(),
            of_others: Vec::new(),
            own,
            is_kept: false,
            is_changed: false,
            said: Vec::new(),
            trouble: None,
        };
        if let Some(dir) = outbox.dir.clone() {
            match left_in(&dir) {
                Ok(left) => outbox.left = left,
                Err(why) => outbox.said.push(why),
            }
            outbox.is_kept = !outbox.is_empty();
        }
        outbox
    }

    /// Adds one.
    pub fn push(&mut self, ending: Ending) {
        self.own.endings.push(ending);
        self.is_changed = true;
    }

    /// How many of this worker are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.endings.len()
    }

    /// Whether a try of this worker is in it.
    #[must_use]
    pub fn has(&self, token: Token) -> bool {
        self.own.endings.iter().any(|ending| ending.token == token)
    }

    /// Whether all is written down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.own.endings.is_empty()
    }

    /// Writes down what there is, unless the queue is known to be away. Those that were not accepted: somebody else
    /// has the job.
    ///
    /// # Errors
    /// The queue is away; it is on disk, or that is said, too.
    pub fn deliver(&mut self, link: &mut Link) -> Result<Vec<Token>, Fault> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let done = if link.due() > boottime() { Ok(Vec::new()) } else { self.hand_in(link) };
        if self.is_changed && (self.is_kept || !self.is_empty()) {
            self.keep();
        }
        done
    }

    /// What is new to be said of the disk: each trouble once while it lasts.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn hand_in(&mut self, link: &mut Link) -> Result<Vec<Token>, Fault> {
        self.learn(link)?;
        let mut refused = Vec::new();
        while !self.is_empty() {
            // those of before come first: their worker is about to be found gone
            let parcel = self.left.first().unwrap_or(&self.own).clone();
            let asked = parcel.clone();
            let accepted =
                link.ask(move |store| store.end(&asked.endings, &asked.version, &asked.worker))?;
            refused.extend(
                parcel.endings.iter().map(|it| it.token).filter(|token| !accepted.contains(token)),
            );
            self.is_changed = true;
            if self.left.is_empty() {
                self.own.endings.clear();
            } else {
                self.left.remove(0);
            }
        }
        Ok(refused)
    }

    /// Which queue it is, and what of all that is left is of it.
    fn learn(&mut self, link: &mut Link) -> Result<(), Fault> {
        if self.own.queue.is_some() {
            return Ok(());
        }
        let queue = link.ask(Store::name)?;
        let is_of_it = |it: &Parcel| it.queue.as_ref().is_none_or(|it| *it == queue);
        (self.left, self.of_others) =
            std::mem::take(&mut self.left).into_iter().partition(is_of_it);
        if !self.of_others.is_empty() {
            let count: usize = self.of_others.iter().map(|it| it.endings.len()).sum();
            self.said
                .push(format!("{count} results of another queue wait on disk, and stay there"));
        }
        self.own.queue = Some(queue);
        Ok(())
    }

    fn keep(&mut self) {
        let Some(dir) = &self.dir else { return };
        let all = self.left.iter().chain(&self.of_others).chain([&self.own]);
        let all = all.filter(|it| !it.endings.is_empty());
        match store::record(dir, &Spool { parcels: all.cloned().collect() }) {
            Ok(()) => {
                (self.is_kept, self.is_changed) = (!self.is_empty(), false);
                self.trouble = None;
            }
            Err(error) => {
                let why =
                    format!("{error:#}: results are not kept on disk while the queue is away");
                if self.trouble.as_ref() != Some(&why) {
                    self.said.push(why.clone());
                    self.trouble = Some(why);
                }
            }
        }
    }
}

/// What workers before have left; a file that cannot be understood is put aside and kept.
fn left_in(dir: &Path) -> Result<Vec<Parcel>, String> {
    let now = Now::take().map_err(|error| format!("the clock: {error}"))?;
    match records::read::<Spool>(dir, &now) {
        Ok(spool) => Ok(spool.parcels),
        Err(why) => {
            let path = records::path_of::<Spool>(dir);
            let aside = path.with_extension(format!("json.unreadable-{}", now.utc_ms));
            let moved = std::fs::rename(&path, &aside);
            Err(format!(
                "results that wait on disk cannot be read ({why}); {}; their jobs are done again",
                match moved {
                    Ok(()) => format!("they are kept as {}", crate::sys::text::path(&aside)),
                    Err(error) => format!("nor put aside: {error}"),
                }
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::queue::Queue;
    use crate::decide::attempts::State;

    fn ending() -> Ending {
        let token = Token { id: 1, nth: 1 };
        Ending { state: State::Done, exit_code: Some(0), ..Ending::given_back(token) }
    }

    #[test]
    fn a_disk_that_keeps_nothing_is_said_once_and_what_was_to_be_kept_is_still_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        // a queue that is away
        let url = format!("sqlite://{}/none/q.db", dir.path().canonicalize().unwrap().display());
        let mut link = Link::to(Queue::at(&url, std::time::Duration::from_secs(20)));
        let mut outbox = Outbox::open(Some(state.clone()), "w");
        std::fs::write(&state, "no directory").unwrap();
        let mut said = Vec::new();
        for _ in 0..3 {
            outbox.push(ending());
            let _ = outbox.deliver(&mut link);
            said.extend(outbox.said());
        }
        let told = said.iter().filter(|it| it.contains("are not kept on disk")).count();
        assert_eq!((told, outbox.len()), (1, 3), "{said:?}");
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        let _ = outbox.deliver(&mut link);
        assert!(outbox.said().is_empty() && outbox.is_kept);
        // the next one finds them there
        let own = Outbox::open(Some(state.clone()), "x");
        assert_eq!(own.left[0].endings.len(), 3);
        // and where they cannot be read they are not thrown away
        let path = records::path_of::<Spool>(&state);
        std::fs::write(&path, "torn").unwrap();
        let mut next = Outbox::open(Some(state.clone()), "y");
        let said = next.said();
        assert!(next.is_empty() && said[0].contains("they are kept as "), "{said:?}");
        let kept = std::fs::read_dir(&state)
            .unwrap()
            .flatten()
            .any(|it| std::fs::read_to_string(it.path()).is_ok_and(|text| text == "torn"));
        assert!(kept && !path.exists());
    }

    #[test]
    fn a_result_that_waits_on_disk_is_told_to_its_own_queue_alone() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str| {
            let url =
                format!("sqlite://{}", dir.path().canonicalize().unwrap().join(name).display());
            Link::to(Queue::at(&url, std::time::Duration::from_secs(20)))
        };
        let waits = |worker: &str| Outbox::open(Some(dir.path().to_owned()), worker);
        let name = link("one.db").ask(Store::name).unwrap();
        assert_eq!(link("one.db").ask(Store::name).unwrap(), name);
        let parcel = Parcel {
            queue: Some(name),
            worker: "w".to_owned(),
            version: "0".to_owned(),
            endings: vec![ending()],
        };
        store::record(dir.path(), &Spool { parcels: vec![parcel] }).unwrap();
        // in another queue job 1 is another job
        let mut outbox = waits("x");
        outbox.push(ending());
        assert_eq!(outbox.deliver(&mut link("other.db")).unwrap().len(), 1, "of its own alone");
        assert!(
            outbox.is_empty()
                && outbox.said().iter().any(|it| it.contains("1 results of another queue"))
        );
        let mut outbox = waits("y");
        assert_eq!(outbox.deliver(&mut link("one.db")).unwrap().len(), 1);
        assert!(outbox.is_empty() && waits("z").is_empty());
    }
}
