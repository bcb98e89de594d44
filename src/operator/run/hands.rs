//! Who works on the files of a run: a worker that lives and knows the type as the run does, else a runner of the run's own,
//! started anew when it ends.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::decide::workers::Standing;
use crate::probes::witness;
use crate::queue::Fault;
use crate::queue::link::Link;
use crate::queue::store::listing::Worker;
use crate::runner::supervise::{self, Told};
use crate::sys::clock::{boottime, pause};
use crate::sys::command::{Ending, Helper};
use crate::sys::text;

/// Between two looks.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often it is asked whether another's runner is still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the runner may take to end: a command's grace, and what follows.
const END_LIMIT: Duration = Duration::from_secs(14);
/// A runner that ends too often is not started again.
const STARTS_MAX: usize = 10;
/// So often within this time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Who works on them.
pub struct Hands {
    setup: Told,
    /// The type, and as which it is known.
    mark: (String, String),
    who: Who,
    starts: Vec<Duration>,
}

enum Who {
    /// A runner of the run's own.
    Own(Own),
    /// Another worker, and which one.
    Other(String),
    /// The queue has not said yet whether there is another: two would work at once where it is taken for gone.
    Unknown,
}

struct Own {
    input: Option<std::process::ChildStdin>,
    process: Ending,
}

impl Hands {
    /// Those that are there, but where it is to be a `fresh` one.
    ///
    /// # Errors
    /// No runner could be started.
    pub fn begin(setup: Told, fresh: bool, link: &mut Link) -> Result<Self> {
        let kind = setup.setup.types.first().context("a run without a type")?;
        let mark = (kind.name.clone(), kind.digest());
        let who = match if fresh { Ok(None) } else { other(link, &mark) } {
            Ok(None) => Who::Own(Own::start(&setup)?),
            Ok(Some(it)) => Who::Other(it),
            Err(_) => Who::Unknown,
        };
        Ok(Self { setup, mark, who, starts: vec![boottime()] })
    }

    /// The other worker, where it is one.
    pub fn other(&self) -> Option<&str> {
        match &self.who {
            Who::Own(_) | Who::Unknown => None,
            Who::Other(who) => Some(who),
        }
    }

    /// Waits until the next look, and goes on with a runner where nobody is there any more.
    ///
    /// # Errors
    /// No runner could be started, or it ends again and again.
    pub fn wait(&mut self, link: &mut Link) -> Result<()> {
        match &mut self.who {
            Who::Own(own) => {
                if !own.process.within(ASK_EVERY) {
                    return Ok(());
                }
            }
            Who::Other(_) | Who::Unknown => {
                pause(LOOK_EVERY);
                match other(link, &self.mark) {
                    Ok(None) => {}
                    Ok(Some(it)) => {
                        self.who = Who::Other(it);
                        return Ok(());
                    }
                    // that the queue is away is said by whoever asks how the jobs stand
                    Err(_) => return Ok(()),
                }
            }
        }
        let now = boottime();
        self.starts.retain(|at| now.saturating_sub(*at) < STARTS_WITHIN);
        if self.starts.len() >= STARTS_MAX {
            bail!(
                "the runner ended {STARTS_MAX} times within {}; what is left is in the queue",
                text::duration(STARTS_WITHIN)
            );
        }
        self.starts.push(now);
        self.who = Who::Own(Own::start(&self.setup)?);
        Ok(())
    }

    /// Ends what is the run's own, and what that has at work.
    pub fn end(&mut self) {
        if let Who::Own(own) = &mut self.who {
            own.end();
        }
    }
}

impl Own {
    fn start(setup: &Told) -> Result<Self> {
        let mut line = serde_json::to_vec(setup).context("tell the runner")?;
        line.push(b'\n');
        let (mut input, _, process) =
            Helper::start(&[supervise::VERB.into()]).context("start a runner")?.split();
        input.write_all(&line).context("tell the runner")?;
        Ok(Self { input: Some(input), process })
    }

    fn end(&mut self) {
        drop(self.input.take());
        if !self.process.within(END_LIMIT) {
            self.process.kill();
        }
    }
}

/// A worker that lives and knows the type as this run does.
fn other(link: &mut Link, (name, digest): &(String, String)) -> Result<Option<String>, Fault> {
    let all = link.ask(|store| store.all_workers(false))?;
    let works = |it: &&Worker| {
        matches!(it.standing(), Standing::Idle | Standing::Busy)
            // one whose process is gone is ending, whatever of its jobs is still there, and takes no other
            && !witness::is_over(&it.id)
            // the files of this host are nobody else's
            && it.host == witness::host()
            && it.types.get(name).is_some_and(|mark| mark.digest == *digest)
    };
    Ok(all.iter().find(works).map(|it| format!("{} of {}", it.id, it.host)))
}
