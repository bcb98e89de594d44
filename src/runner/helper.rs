//! The helper: a process for each try of a job. It runs the tiers one after the other, ends everything that they have
//! started, looks at what they wrote, and puts it in its place under the name that it was promised: written under
//! another name first, flushed, and moved only after the runner has made sure that the job is still its own.
//!
//! It waits for three things at once: the end of the command, what the runner says, and the time limit. When the
//! runner is gone its input ends, and then it ends too, with all that is below it.

mod carry;
mod command;
mod publish;

use std::cmp::Ordering;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accept;
use super::away::Away;
use super::beneath::{self, Beneath};
use super::cgroup::Cgroup;
use super::container;
use super::log::Said;
use super::order::{Order, Report, Tell};
use super::room;
use super::tree;
use super::waiting;
use crate::act::scratch;
use crate::config::bucket::Address;
use crate::config::job_type::{Errand, Tier};
use crate::decide::attempts::{Class, Outcome, Token};
use crate::probes::ability::Tools;
use crate::probes::intake::as_version;
use crate::probes::witness;
use crate::sys::command::Seat;
use crate::sys::{place, text};
use publish::{flush_at, is_placed, second_of, size};

/// The word that makes this program such a helper.
pub const VERB: &str = "--run-job";

/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Why a try is not gone on with.
enum Halt {
    /// The runner said so, or is gone.
    Stopped,
    /// It is over, for this reason.
    Over(Report),
}

/// Does what each line of the standard input says, until there is none; the exit code.
#[must_use]
pub fn run(worker: &str) -> i32 {
    // before anything else is open
    let Ok(mut seat) = Seat::take() else { return 1 };
    // its name says whose it is, to whoever looks for those of a worker that is gone
    if let Ok(name) = CString::new(witness::helper_name(worker)) {
        let _ = rustix::thread::set_name(&name);
    }
    loop {
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(0) => return 0,
            Ok(_) => {}
            Err(_) => return 1,
        }
        let Ok(order) = serde_json::from_str::<Order>(&line) else { return 2 };
        if !serve(&order, worker, &mut seat) {
            return 0;
        }
    }
}

/// Makes a try; whether another may follow.
fn serve(order: &Order, worker: &str, seat: &mut Seat) -> bool {
    let mut job = Job {
        cgroup: order.cgroup.clone().map(Cgroup::at),
        said: Said::default(),
        out_of_memory: 0,
        away: None,
        is_kept: false,
        is_waiting: false,
        seat,
        worker,
        order,
    };
    let report = match job.begin() {
        Err(error) => Report::failed(Class::Configuration, format!("begin: {error}")),
        Ok(()) => match job.attempt() {
            Ok(report) | Err(Halt::Over(report)) => report,
            Err(Halt::Stopped) => Report::given_up(),
        },
    };
    let lost = if report.class == Some(Class::Infrastructure) { lost(order) } else { Vec::new() };
    let report = Report { lost, ..report };
    let left = job.kill_all();
    if let Some(Err(error)) = order.log.as_deref().map(|path| job.said.keep(path)) {
        crate::report::out::complain(&format!(
            "job {}: its output is not kept: {error:#}",
            order.token.id
        ));
    }
    // after a result was put in its place there is none any more
    if !job.is_waiting {
        remove(order.output.as_deref().map(|output| scratch_of(output, order)).as_deref());
    }
    // which of two results stays was said by whoever let it out
    if order.token.nth > 1 && report.class.is_none() && !report.is_given_up {
        remove(order.output.as_deref().map(|output| second_of(output, order)).as_deref());
    }
    let is_out = job.cgroup.as_ref().is_none_or(|cgroup| cgroup.leave().is_ok());
    let goes_on = left == 0 && is_out && !report.is_given_up;
    let report = match left {
        0 => report,
        _ => Report {
            message: Some(format!(
                "{}{left} processes of it cannot be killed: they wait for storage",
                report.message.as_ref().map(|it| format!("{it}; ")).unwrap_or_default()
            )),
            ..report
        },
    };
    // whoever is gone asks no more
    tell(&Tell::Ended { report, goes_on }).is_ok() && goes_on
}

/// The directories of its files here whose storage is gone as a whole: others that lie there need not find it out by failing,
/// too.
fn lost(order: &Order) -> Vec<String> {
    let files = [Some(&order.input), order.output.as_ref()].into_iter().flatten();
    let dirs = files.filter(|it| Address::of(it).is_none()).filter_map(|it| it.parent());
    dirs.filter(|dir| beneath::is_lost(dir)).map(text::path).collect()
}

fn tell(what: &Tell) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// A try at work.
struct Job<'a> {
    order: &'a Order,
    worker: &'a str,
    seat: &'a mut Seat,
    cgroup: Option<Cgroup>,
    said: Said,
    /// How often commands were killed for their memory so far.
    out_of_memory: u64,
    /// The place of what does not belong on this host.
    away: Option<Away>,
    /// Whether its result waits there to be delivered.
    is_kept: bool,
    /// Whether its result waits beside its place for the next try.
    is_waiting: bool,
}

impl Job<'_> {
    fn begin(&self) -> std::io::Result<()> {
        tree::adopt()?;
        self.cgroup.as_ref().map_or(Ok(()), Cgroup::stand_by)
    }

    /// Ends all that the commands have started; how many processes cannot be ended.
    fn kill_all(&self) -> usize {
        // no fork gets away from this one, and what is gone is reaped after
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill_work();
        }
        tree::kill_all(KILL_LIMIT)
    }

    fn attempt(&mut self) -> Result<Report, Halt> {
        let order = self.order;
        if let Some(output) = order.output.as_deref().filter(|output| is_placed(order, output)) {
            // that try may have ended before it was on the disk, name and all
            return Ok(match flush_at(output) {
                Ok(()) => Report {
                    message: Some(
                        "its result was in its place already, put there by a try before".to_owned(),
                    ),
                    ..Report::default()
                },
                Err(error) => {
                    let why = format!("flush the result of {}: {error}", text::path(output));
                    Report::failed(Class::Infrastructure, why)
                }
            });
        }
        if let Some(inside) = order.kind.container.as_ref().filter(|_| order.token.nth > 1) {
            let before = Token { nth: order.token.nth - 1, ..order.token };
            container::remove_up_to(&inside.engine, &order.mark, before).map_err(|why| {
                let why = format!("whether a try before is still at work cannot be told: {why}");
                Halt::Over(Report::not_begun(why))
            })?;
        }
        let away = Away::of(order);
        self.away = away.map_err(|why| Halt::Over(Report::not_begun(why)))?;
        let mut done = self.work();
        if let Some(away) = &self.away {
            // also where it was stopped on the way
            let mut report = done.as_mut().ok().filter(|it| it.class.is_none());
            let is_done = report.is_some();
            if let Some(report) = report.as_mut().filter(|it| it.message.is_none()) {
                report.message = away.told(order);
            }
            if !self.is_kept || is_done {
                away.remove();
            }
            if is_done {
                Away::remove_older(order);
            }
        }
        if order.token.nth > 1 && done.as_ref().is_ok_and(|it| it.class.is_none()) {
            // whoever was at it beside this one has left no more
            waiting::forget(order);
            sweep(order);
        }
        done
    }

    /// Fetches what is to be fetched, and does the job.
    fn work(&mut self) -> Result<Report, Halt> {
        let order = self.order;
        if let Some(done) = self.deliver_kept()? {
            return Ok(done);
        }
        if let Some(done) = self.publish_waiting()? {
            return Ok(done);
        }
        sweep(order);
        // where a type writes is looked at before a job is taken, and not every directory in and below that
        let here = order.output.as_deref().filter(|it| Address::of(it).is_none());
        let lacks = here
            .filter(|_| self.away.as_ref().is_none_or(|away| away.output.is_none()))
            .and_then(Path::parent)
            .and_then(|dir| room::lacks_room(dir, order.floor));
        if let Some(why) = lacks {
            return Err(Halt::Over(Report::not_begun_there(why)));
        }
        if let Some(failed) = self.fetch()? {
            return Ok(failed);
        }
        let is_new = self.away.as_mut().map_or(Ok(false), |away| away.know(order));
        let read = |error| {
            Report::failed(Class::Infrastructure, format!("read what was fetched: {error}"))
        };
        if is_new.map_err(|error: std::io::Error| Halt::Over(read(error)))?
            && let Some(done) = self.deliver_kept()?
        {
            return Ok(done);
        }
        if let Some(replaced) = self.replaced() {
            return Ok(replaced);
        }
        let (mut last, mut broken, mut lacks) = (None, None, Vec::new());
        let scratch = self.scratch();
        let input = self.input();
        let beneath = Beneath::of(&input, scratch.as_deref());
        for (nth, tier) in order.kind.tiers.iter().enumerate() {
            if let Some(tool) = Tools::of(&order.kind, tier).missing() {
                lacks.push(format!("{} is not on this host: {tool}", tier.name));
                continue;
            }
            if let Some(scratch) = &scratch {
                clear(scratch)?;
            }
            let (outcome, report) = match self.one(nth, tier, scratch.as_deref())? {
                (Outcome::Done, report) => self.accepted(nth, tier, scratch.as_deref(), report)?,
                other => other,
            };
            if matches!(
                outcome,
                Outcome::Not(Class::Failed | Class::TimedOut | Class::Crashed | Class::Permanent)
            ) && let Some(why) = beneath.gone()
            {
                remove(scratch.as_deref());
                return Ok(report.of_storage(why));
            }
            match outcome {
                Outcome::Done => {
                    if let Some(replaced) = self.replaced() {
                        remove(scratch.as_deref());
                        return Ok(replaced);
                    }
                    let is_wanted = tier.min_bytes > 0;
                    let bytes = size(order, scratch.as_deref(), &report);
                    let skipped = (!lacks.is_empty()).then(|| lacks.join("; "));
                    let report = Report { bytes, message: report.message.or(skipped), ..report };
                    return match &self.away {
                        Some(away) if away.output.is_some() => {
                            self.keep_and_deliver(report, is_wanted)
                        }
                        Some(_) | None => {
                            if let Some(why) = beneath.moved() {
                                // below a mount that went nobody would find the result
                                remove(scratch.as_deref());
                                return Ok(report.of_storage(why));
                            }
                            self.publish(scratch.as_deref(), is_wanted, report)
                        }
                    };
                }
                // another way may be better than one that failed, and is not where all ways end at the same wall
                Outcome::Not(Class::Failed | Class::TimedOut | Class::Crashed) => {
                    let is_accepted = report.exit_code.is_some_and(|it| tier.exit.contains(&it));
                    let beside = scratch.as_deref().filter(|it| is_accepted && !it.exists());
                    last = Some(match beside.and_then(scratch::remove_beside) {
                        Some(it) => report.adding(&format!("there was {it} instead")),
                        None => report,
                    });
                }
                // nor is what this host cannot run any fault of the input, unless another way makes it
                Outcome::Not(Class::Infrastructure) if self.could_not_run(&report) => {
                    broken.get_or_insert(report);
                }
                Outcome::Not(_) | Outcome::GivenBack | Outcome::Early => {
                    remove(scratch.as_deref());
                    return Ok(report);
                }
            }
            remove(scratch.as_deref());
        }
        let last = broken.or(last);
        Ok(last.unwrap_or_else(|| Report::failed(Class::Configuration, lacks.join("; "))))
    }

    /// Whether what a tier wrote is a result by the rules of its type. What it did not have to write is.
    fn accepted(
        &mut self,
        nth: usize,
        tier: &Tier,
        scratch: Option<&Path>,
        report: Report,
    ) -> Result<(Outcome, Report), Halt> {
        let Some(scratch) = scratch.filter(|it| it.exists()) else {
            return Ok((Outcome::Done, report));
        };
        let class = Class::Failed;
        let refused = |why: String| {
            let report = Report { class: Some(class), message: Some(why), ..report.clone() };
            (Outcome::Not(class), report)
        };
        if tier.must_match.is_some() && scratch.is_dir() {
            return Ok(refused(
                "its result is a directory, and must_match is of a file".to_owned(),
            ));
        }
        if let Some(pattern) = &tier.must_match {
            let is_there = accept::matches(scratch, pattern).map_err(|error| {
                let why = format!("read its result: {error}");
                let failed = Report::failed(Class::Infrastructure, why);
                Halt::Over(Report { tier: report.tier.clone(), ..failed })
            })?;
            if !is_there {
                return Ok(refused(format!("nothing in its result matches {pattern:?}")));
            }
        }
        let Some(Errand { argv, limit_ms, .. }) = tier.check.clone() else {
            return Ok((Outcome::Done, report));
        };
        let check = Tier {
            name: format!("check of {}", tier.name),
            argv,
            tools: Vec::new(),
            limit_ms,
            exit: vec![0],
            min_bytes: tier.min_bytes,
            must_match: None,
            check: None,
        };
        let (outcome, checked) =
            self.one(self.order.kind.tiers.len() + nth, &check, Some(scratch))?;
        Ok(match outcome {
            Outcome::Done => (Outcome::Done, report),
            Outcome::Not(Class::Failed | Class::TimedOut | Class::Crashed) => {
                let why = checked.message.unwrap_or_default();
                refused(format!("its result is not accepted: {why}"))
            }
            Outcome::Not(_) | Outcome::GivenBack | Outcome::Early => {
                (outcome, Report { tier: report.tier, ..checked })
            }
        })
    }

    /// The input as its commands find it.
    fn input(&self) -> PathBuf {
        let copy = self.away.as_ref().and_then(|away| away.input.clone());
        copy.unwrap_or_else(|| self.order.input.clone())
    }

    /// How it ends where its input, which is on this host, is another one than the job was made of.
    fn replaced(&self) -> Option<Report> {
        let version = self.order.version.as_deref()?;
        if self.away.as_ref().is_some_and(|it| it.input.is_some()) {
            return None;
        }
        let input = &self.order.input;
        // what opens a file asks its server what it is by now (nfs(5), close-to-open)
        if !input.symlink_metadata().is_ok_and(|it| it.is_file()) {
            return None;
        }
        let there = File::open(input).ok()?.metadata().ok()?;
        match as_version(&there, version)? {
            Ordering::Equal => None,
            Ordering::Greater => Some(Report::failed(
                Class::Permanent,
                "its input is another one by now, of which another job is made",
            )),
            Ordering::Less => Some(Report::failed(
                Class::Infrastructure,
                "its input is seen here as it was before it was put in: this host's view of it is old",
            )),
        }
    }

    /// Where its commands write the result.
    fn scratch(&self) -> Option<PathBuf> {
        let output = self.order.output.as_deref()?;
        let away = self.away.as_ref().and_then(|away| away.output.clone());
        Some(away.unwrap_or_else(|| scratch_of(output, self.order)))
    }
}

/// Where a result is written first: beside its place, hidden, with the same ending.
fn scratch_of(output: &Path, order: &Order) -> PathBuf {
    scratch::of_try(output, &order.mark, order.token.id, order.token.nth)
}

/// Takes away what tries before have left beside the result when they were killed.
fn sweep(order: &Order) {
    /// So many tries back.
    const BACK: usize = 20;
    let Some(output) = &order.output else { return };
    let last = order.token.nth - 1;
    for nth in (1..=last).rev().take(BACK) {
        remove(Some(&scratch::of_try(output, &order.mark, order.token.id, nth)));
    }
}

/// Nothing is there that a tier before has left; and the directory can be looked at.
fn clear(scratch: &Path) -> Result<(), Halt> {
    let dir = scratch.parent().unwrap_or(Path::new("/"));
    match fs::metadata(dir) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => {
            let why = format!("{} is no directory", text::path(dir));
            return Err(Halt::Over(Report::failed(Class::Configuration, why)));
        }
        Err(error) => {
            let why = format!("the directory of its output: {}: {error}", text::path(dir));
            return Err(Halt::Over(Report::failed(Class::Infrastructure, why)));
        }
    }
    // a command would say of its file that permission is denied
    if let Err(error) = place::takes_files(dir) {
        let why = format!("no file can be made in {}: {error}", text::path(dir));
        return Err(Halt::Over(Report::failed(Class::Infrastructure, why)));
    }
    remove(Some(scratch));
    Ok(())
}

/// Takes a scratch file away, if there is one.
fn remove(scratch: Option<&Path>) {
    let _ = scratch.map(scratch::remove_one);
}
