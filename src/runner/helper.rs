//! The helper: a process for each try of a job. It runs the tiers one after the other, ends everything that they have
//! started, looks at what they wrote, and puts it in its place under the name that it was promised: written under
//! another name first, flushed, and moved only after the runner has made sure that the job is still its own.
//!
//! It waits for three things at once: the end of the command, what the runner says, and the time limit. When the
//! runner is gone its input ends, and then it ends too, with all that is below it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitStatus, pidfd_open};

use super::accept;
use super::away::{Away, Kept};
use super::beneath::{self, Beneath};
use super::cgroup::Cgroup;
use super::container;
use super::errand;
use super::log::Said;
use super::order::{GO, Order, Report, Step, Tell};
use super::placed::{Mark, Placed};
use super::room;
use super::sum;
use super::tree;
use super::waiting;
use crate::act::scratch;
use crate::config::bucket::Address;
use crate::config::job_type::{Errand, Marks, Meaning, Tier};
use crate::decide::attempts::{
    Class, Evidence, Outcome, Output, Token, classify, tells_of_the_way,
};
use crate::probes::ability::Tools;
use crate::probes::intake::as_version;
use crate::probes::{engine, load, witness};
use crate::sys::clock::{AwakeDeadline, millis, pause};
use crate::sys::command::{Seat, Work, pull, wait_any};
use crate::sys::{place, text};

/// The word that makes this program such a helper.
pub const VERB: &str = "--run-job";

/// How much of what a command said is kept for the reason, bytes.
const SAID_BYTES: usize = 2048;
/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How often an engine is asked to take a container away, and how far apart.
const CLEAR_UP_TIMES: u32 = 3;
const CLEAR_UP_APART: Duration = Duration::from_secs(2);
/// Exit codes of shells and loaders for what they could not run: not there, not to be run, or without a library of its own.
const NOT_RUN: std::ops::RangeInclusive<i32> = 126..=127;
/// Exit codes of what was ended from outside: by KILL, by TERM.
const ENDED: [i32; 2] = [137, 143];

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

/// A directory of its own for what an engine tells of its container: for as long as this boot at most, where there is such.
fn place_of_begun() -> std::io::Result<tempfile::TempDir> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|it| it.is_dir());
    let place = own.unwrap_or_else(std::env::temp_dir);
    tempfile::Builder::new().prefix("unwedge-").tempdir_in(place)
}

/// Takes a container away, however the engine is for a while; whether it was mute at first.
fn taken_away(engine: &[String], name: &str, was_mute: &Cell<bool>) -> Result<(), String> {
    let mut last = Ok(());
    for nth in 0..CLEAR_UP_TIMES {
        if nth > 0 {
            pause(CLEAR_UP_APART);
        }
        last = container::remove(engine, name);
        if last.is_ok() {
            return last;
        }
        was_mute.set(true);
    }
    last.map_err(|why| format!("its container cannot be taken away: {why}"))
}

/// A result that is not safe on this host is not delivered.
fn not_kept(error: &std::io::Error) -> Halt {
    Halt::Over(Report::failed(Class::Infrastructure, format!("keep the result: {error}")))
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

    /// Whether a command ended as shells and loaders do of what they cannot run, and its type says nothing else of that.
    fn could_not_run(&self, report: &Report) -> bool {
        let kind = &self.order.kind;
        let is_it = |code: i32| NOT_RUN.contains(&code) && !kind.exit.contains_key(&code);
        kind.container.is_none() && report.exit_code.is_some_and(is_it)
    }

    /// Delivers what a try before has made of the same input and could not deliver.
    fn deliver_kept(&mut self) -> Result<Option<Report>, Halt> {
        let order = self.order;
        let kept = self.away.as_ref().and_then(|away| Some((away, away.kept(order)?)));
        let Some((away, kept)) = kept else { return Ok(None) };
        let is_kept = away.keep(order, kept.tier.as_deref());
        self.is_kept = is_kept.map_err(|error| not_kept(&error))?;
        let made = away.output.as_deref().and_then(|it| fs::metadata(it).ok());
        let bytes = made.map(|it| it.len());
        self.deliver(Report { tier: kept.tier, bytes, ..Report::default() }).map(Some)
    }

    /// Puts in its place what a try before has made, and could not while the queue was away.
    fn publish_waiting(&mut self) -> Result<Option<Report>, Halt> {
        let order = self.order;
        let goes_elsewhere = self.away.as_ref().is_some_and(|it| it.output.is_some());
        if order.token.nth == 1 || goes_elsewhere {
            return Ok(None);
        }
        let Some(scratch) = self.scratch().filter(|_| !order.placed.is_anew) else {
            return Ok(None);
        };
        let taken = waiting::take(order, &scratch, self.made_of().as_ref());
        waiting::forget(order);
        taken.map(|report| self.publish(Some(&scratch), true, report)).transpose()
    }

    /// Puts the result in its place, once the runner says that the job is still its own.
    fn publish(
        &mut self,
        scratch: Option<&Path>,
        is_wanted: bool,
        report: Report,
    ) -> Result<Report, Halt> {
        let order = self.order;
        let (Some(scratch), Some(output)) = (scratch, order.output.as_deref()) else {
            return Ok(report);
        };
        let infra = |what: &str, error: std::io::Error| {
            remove(Some(scratch));
            let message = Some(format!("{what} {}: {error}", text::path(output)));
            Report { class: Some(Class::Infrastructure), message, ..report.clone() }
        };
        let mark = match scratch.symlink_metadata() {
            Ok(made) => match File::open(scratch).and_then(|it| flush(&it, made.is_dir())) {
                Ok(()) => Mark::of(scratch),
                Err(_) if made.mode() & 0o400 == 0 => {
                    remove(Some(scratch));
                    let message = "its result may not be read by its owner".to_owned();
                    return Ok(Report {
                        class: Some(Class::Failed),
                        message: Some(message),
                        ..report
                    });
                }
                Err(error) => return Ok(infra("flush the result of", error)),
            },
            // its type allows that, or says that what is there already is right
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let is_right = is_wanted || says_unchanged(order, &report);
                return Ok(match output.symlink_metadata() {
                    Ok(there) if is_right || there.len() == 0 => report,
                    Ok(_) => {
                        let message = Some(format!(
                            "{} is there already, and the result is empty; nothing is written over",
                            text::path(output)
                        ));
                        Report { class: Some(Class::Conflict), message, ..report }
                    }
                    Err(_) if !is_wanted => report,
                    Err(error) => {
                        let message = Some(format!(
                            "nothing was to be changed at {}: {error}",
                            text::path(output)
                        ));
                        Report { class: Some(Class::Failed), message, ..report }
                    }
                });
            }
            Err(error) => Err(error),
        };
        let mark = match mark {
            Ok(mark) => mark,
            Err(error) => return Ok(infra("look at the result of", error)),
        };
        // before it is asked: that this was about to be put there must not make a foreign file ours after a crash
        match output.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Ok(infra("look at", error)),
            Ok(_) => return Ok(settle(order, scratch, output, report)),
        }
        match self.word_on_waiting(mark, &report) {
            Word::Go => {}
            Word::No => return Err(Halt::Stopped),
            Word::End => {
                self.is_waiting = true;
                return Err(Halt::Stopped);
            }
        }
        match place::beside_none(scratch, output) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(settle(order, scratch, output, report)),
            Err(error) => return Ok(infra("put in place", error.into())),
        }
        Ok(match flush_name(output) {
            Ok(()) => report,
            Err(error) => infra("flush the directory of", error),
        })
    }

    /// Tells that a result is ready, and waits for the word on it. Where that does not come soon, a note is written: the queue
    /// may be away for longer than this process lives.
    fn word_on_waiting(&self, mark: Mark, report: &Report) -> Word {
        /// So soon.
        const SOON: Duration = Duration::from_secs(1);
        let order = self.order;
        let note = || {
            let noted = waiting::note(order, mark, self.made_of(), report);
            if let Err(why) = &noted {
                let what = format!("job {}: a note of its result: {why}", order.token.id);
                crate::report::out::complain(&what);
            }
            noted.is_ok()
        };
        if tell(&Tell::Ready(mark)).is_err() {
            return if note() { Word::End } else { Word::No };
        }
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let is_noted = match &input {
            Ok(input) => wait_any(&[input], SOON).is_empty() && note(),
            Err(_) => false,
        };
        match word() {
            Word::End if is_noted || note() => Word::End,
            // what nobody could take up is made again
            Word::End => Word::No,
            word => {
                if is_noted {
                    waiting::forget(order);
                }
                word
            }
        }
    }

    /// What its result is made of.
    fn made_of(&self) -> Option<Kept> {
        let is_copied = self.away.as_ref().is_some_and(|it| it.input.is_some());
        let fetched = self.away.as_ref().and_then(|it| it.fetched.clone());
        Kept::of(self.order, is_copied, fetched)
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

    /// Runs one tier to its end.
    fn one(
        &mut self,
        nth: usize,
        tier: &Tier,
        scratch: Option<&Path>,
    ) -> Result<(Outcome, Report), Halt> {
        let order = self.order;
        let input = self.input();
        let marks = Marks { input: &input, output: scratch, local: None, id: order.token.id };
        let argv = tier.command(&marks);
        let own = variables(order, self.worker);
        let inside = match (&order.kind.container, order.ground) {
            (None, _) => None,
            (Some(it), Some(ground)) => Some((it, ground)),
            // never on the host instead
            (Some(_), None) => {
                let why = "whose its engine's containers are is not known";
                return Err(Halt::Over(Report::not_begun(why)));
            }
        };
        let name = container::name_of(self.worker, order.token, nth);
        let argv: Vec<OsString> = argv.into_iter().map(OsString::from).collect();
        let place = inside.map(|_| place_of_begun()).transpose().map_err(|error| {
            let why = format!("make a place for what the engine tells: {error}");
            Halt::Over(Report::failed(Class::Infrastructure, why))
        })?;
        let begun = place.as_ref().map(|it| it.path().join("begun")).unwrap_or_default();
        let (argv, variables) = match inside {
            None => (argv, own),
            Some((it, ground)) => {
                let command = container::Command {
                    container: it,
                    ground,
                    has_cgroup: self.cgroup.is_some(),
                    has_seat: self.seat.is_first(),
                    name: &name,
                    begun: &begun,
                    token: order.token,
                    mark: &order.mark,
                    input: &input,
                    output: scratch,
                    private: &order.private,
                    memory_mib: order.kind.memory_mib,
                    variables: &own,
                    argv: &argv,
                };
                match command.words() {
                    Ok(words) => {
                        // what is the engine's own comes last, and counts
                        let all = own.iter().cloned().chain(engine::variables());
                        (words, all.collect())
                    }
                    Err((class, why)) => return Err(Halt::Over(Report::failed(class, why))),
                }
            }
        };
        let argv: Vec<PathBuf> = argv.into_iter().map(PathBuf::from).collect();
        let meaning = |code: i32| {
            if inside.is_none() && !order.kind.is_on_the_spot && !tier.exit.contains(&code) {
                return meaning_of(order, code);
            }
            let is_of_engine = inside.is_some() && container::ENGINE_FAILED.contains(&code);
            // of a run's own command there is no lane that somebody would mend: it is tried again, and told
            let of_engine =
                if order.kind.is_on_the_spot { Meaning::Transient } else { Meaning::Configuration };
            let of_engine = is_of_engine.then_some(of_engine);
            order.kind.exit.get(&code).copied().or(of_engine)
        };
        let Some((inside, _)) = inside else {
            return self.command(tier, &argv, &variables, scratch, &meaning, &|| Ok(()));
        };
        let was_mute = Cell::new(false);
        let clear_up = || taken_away(&inside.engine, &name, &was_mute);
        let done = self.command(tier, &argv, &variables, scratch, &meaning, &clear_up);
        match done {
            // an engine that made no container has not begun the job, whatever it exits with
            Ok((Outcome::Not(Class::Failed), report))
                if report.exit_code.is_some() && !begun.exists() =>
            {
                let message = report.message.unwrap_or_default();
                let class = Class::Infrastructure;
                let message = Some(format!("the engine began nothing: {message}"));
                Ok((Outcome::Not(class), Report { class: Some(class), message, ..report }))
            }
            // an engine that is stopped ends what it runs, and may be back before anybody asks again
            Ok((Outcome::Not(Class::Failed), report))
                if report.exit_code.is_some_and(|code| ENDED.contains(&code)) && was_mute.get() =>
            {
                let message = report.message.unwrap_or_default();
                let class = Class::Infrastructure;
                let message = Some(format!("{message}; the engine did not answer then"));
                Ok((Outcome::Not(class), Report { class: Some(class), message, ..report }))
            }
            done => done,
        }
    }

    /// Runs a command to its end, and says how that was.
    fn command(
        &mut self,
        tier: &Tier,
        argv: &[PathBuf],
        variables: &[(OsString, OsString)],
        scratch: Option<&Path>,
        meaning: &dyn Fn(i32) -> Option<Meaning>,
        clear_up: &dyn Fn() -> Result<(), String>,
    ) -> Result<(Outcome, Report), Halt> {
        let order = self.order;
        let report = Report { tier: Some(tier.name.clone()), ..Report::default() };
        self.said.begin(&tier.name);
        let killed_before = load::out_of_memory();
        let seat = &mut *self.seat;
        let mut start = || Work::start(argv, &order.dir, variables, seat);
        let started = match &self.cgroup {
            None => start(),
            Some(cgroup) => cgroup.at_work(start),
        };
        let work = match started {
            Ok(work) => work,
            Err(error) => {
                let class = match error.raw_os_error().map(Errno::from_raw_os_error) {
                    // too much of everything passes
                    Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
                        Class::Infrastructure
                    }
                    _ => Class::Configuration,
                };
                let program = argv.first().map(|program| text::path(program)).unwrap_or_default();
                let message = Some(format!("{program}: {error}"));
                return Ok((Outcome::Not(class), Report { class: Some(class), message, ..report }));
            }
        };
        let waited = self.wait(tier, &work);
        // what it left in the background is no part of its result
        self.kill_all();
        let cleared = clear_up();
        let (status, timed_out) = waited?;
        let exit = status.and_then(WaitStatus::exit_status);
        let is_over =
            !timed_out && exit.is_some_and(|code| !container::ENGINE_FAILED.contains(&code));
        if let (Err(why), false) = (cleared, is_over) {
            // it may still be at work, and that is no job's fault
            let failed = Report::failed(Class::Infrastructure, why);
            return Err(Halt::Over(Report { tier: report.tier, ..failed }));
        }
        let signal = status.and_then(WaitStatus::terminating_signal);
        let killed = self.cgroup.as_ref().map_or(0, Cgroup::out_of_memory);
        let is_over_its_limit = std::mem::replace(&mut self.out_of_memory, killed) < killed;
        // a shell tells of its command's end by a code
        let was_killed = signal == Some(Signal::KILL.as_raw()) || exit == Some(ENDED[0]);
        let kills = killed_before.zip(load::out_of_memory());
        let evidence = Evidence {
            // of a container the engine has the limit, and tells nothing of it
            host_out_of_memory: was_killed
                && !is_over_its_limit
                && order.kind.container.is_none()
                && kills.is_some_and(|(before, now)| before < now),
            exit,
            mapped: exit.and_then(meaning),
            is_accepted: exit.is_some_and(|code| tier.exit.contains(&code)),
            timed_out,
            output: scratch.map_or(Output::Good, |scratch| look(scratch, tier.min_bytes)),
            said: text::tail(&self.said.end(), SAID_BYTES),
        };
        let outcome = classify(&evidence);
        let class = match outcome {
            Outcome::Not(class) => Some(class),
            Outcome::Done | Outcome::GivenBack | Outcome::Early => None,
        };
        let mut message = class.map(|_| words(&evidence, signal, tier));
        if let (true, Some(message), Some(mib)) =
            (is_over_its_limit, &mut message, order.kind.memory_mib)
        {
            *message = format!("it wanted more memory than the {mib} MiB of its type; {message}");
        }
        if let (true, Some(message)) = (evidence.host_out_of_memory, &mut message) {
            *message = format!("this host ran out of memory; {message}");
        }
        Ok((outcome, Report { class, exit_code: exit, signal, message, ..report }))
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

    /// Fetches its input, where that is not here; how it ends where it is not to be had.
    fn fetch(&mut self) -> Result<Option<Report>, Halt> {
        let order = self.order;
        let Some(to) = self.away.as_ref().and_then(|away| away.input.clone()) else {
            return Ok(None);
        };
        let wrong = |why| Halt::Over(Report::failed(Class::Configuration, why));
        let (outcome, report) = if let Some(from) = Address::of(&order.input) {
            let keep_free = order.floor.mib.saturating_mul(1 << 20);
            let version = order.version.as_deref();
            let argv = errand::fetch(&order.buckets, from, version, &to, keep_free);
            self.errand("fetch", &argv.map_err(wrong)?)?
        } else {
            let Some(fetch) = &order.kind.fetch else { return Ok(None) };
            let (input, id) = (&*order.input, order.token.id);
            let argv = fetch.command(&Marks { input, output: None, local: Some(&to), id });
            let meaning = |code: i32| meaning_of(order, code);
            let is_away = |exit, said: &str| says_away(exit, said, &meaning);
            let done = self.step("fetch", &argv, &[], fetch.limit_ms, &meaning, &is_away)?;
            self.carried(done, fetch, &to)
        };
        Ok(match outcome {
            Outcome::Done if to.is_file() => None,
            Outcome::Done => Some(Report::failed(
                Class::Failed,
                format!("nothing was fetched to {}", text::path(&to)),
            )),
            // of a replaced input another job was made
            Outcome::Not(Class::Conflict) => {
                Some(Report { class: Some(Class::Permanent), ..report })
            }
            // nothing of the job ran
            Outcome::Early => Some(Report { is_early: true, ..report }),
            Outcome::Not(_) | Outcome::GivenBack => Some(report),
        })
    }

    /// What came of a command that fetched or delivered this file, which must be what the other side has.
    fn carried(&self, done: (Outcome, Report), errand: &Errand, file: &Path) -> (Outcome, Report) {
        match done {
            (Outcome::Done, report) => match sum::check(&self.said.all(), file, errand.sum) {
                Ok(()) => (Outcome::Done, report),
                Err((class, why)) => {
                    let report = Report { class: Some(class), message: Some(why), ..report };
                    (Outcome::Not(class), report)
                }
            },
            done => done,
        }
    }

    /// Keeps a result that belongs elsewhere, and delivers it.
    fn keep_and_deliver(&mut self, report: Report, is_wanted: bool) -> Result<Report, Halt> {
        let order = self.order;
        let is_made =
            self.away.as_ref().and_then(|it| it.output.as_ref()).is_some_and(|it| it.exists());
        if !is_made {
            // its type allows that, or says that what is there already is right
            return if is_wanted { self.look(report) } else { Ok(report) };
        }
        if let Some(away) = &self.away {
            let is_kept = away.keep(order, report.tier.as_deref());
            self.is_kept = is_kept.map_err(|error| not_kept(&error))?;
        }
        self.deliver(report)
    }

    /// Delivers a result that belongs elsewhere, once the runner says that the job is still its own.
    fn deliver(&mut self, report: Report) -> Result<Report, Halt> {
        let order = self.order;
        let from = self.away.as_ref().and_then(|away| away.output.clone());
        let (Some(from), Some(output)) = (from, order.output.as_deref()) else { return Ok(report) };
        let mark = Mark::of(&from).map_err(|error| not_kept(&error))?;
        let word = if tell(&Tell::Ready(mark)).is_ok() { word() } else { Word::End };
        match word {
            Word::Go => {}
            Word::No => {
                self.is_kept = false;
                return Err(Halt::Stopped);
            }
            Word::End => return Err(Halt::Stopped),
        }
        let wrong = |why| Halt::Over(Report::failed(Class::Configuration, why));
        let (outcome, ended) = if let Some(to) = Address::of(output) {
            let job = format!("{}-{}-", order.mark, order.token.id);
            // what somebody else put there meanwhile may be of this job, too, but not what was there before it was wanted anew
            let ours = match order.placed {
                Placed { mark: None, .. } => None,
                Placed { mark: Some(mark), is_anew: true } => Some(format!("{job}{mark}")),
                Placed { mark: Some(_), is_anew: false } => Some(job.clone()),
            };
            let argv = errand::deliver(&order.buckets, &from, to, format!("{job}{mark}"), ours);
            self.errand("deliver", &argv.map_err(wrong)?)?
        } else {
            let Some(deliver) = &order.kind.deliver else { return Ok(report) };
            let (input, id) = (&*order.input, order.token.id);
            let marks = Marks { input, output: Some(output), local: Some(&from), id };
            let meaning = |code: i32| meaning_of(order, code);
            let is_away = |exit, said: &str| says_away(exit, said, &meaning);
            let argv = deliver.command(&marks);
            let done = self.step("deliver", &argv, &[], deliver.limit_ms, &meaning, &is_away)?;
            self.carried(done, deliver, &from)
        };
        let kept = match (&self.away, ended.class) {
            _ if !self.is_kept => String::new(),
            // between two a person picks
            (Some(away), Some(Class::Conflict)) => {
                away.keep_for_a_person();
                format!("; its result is kept as {}", text::path(&from))
            }
            _ => "; its result is kept".to_owned(),
        };
        Ok(match outcome {
            Outcome::Done => report,
            Outcome::Not(_) | Outcome::GivenBack | Outcome::Early => Report {
                class: ended.class,
                // what is kept waits no longer than needed
                is_early: self.is_kept && outcome == Outcome::Early,
                exit_code: ended.exit_code,
                signal: ended.signal,
                message: ended.message.map(|why| format!("deliver: {why}{kept}")),
                ..report
            },
        })
    }

    /// Nothing was to be changed where its result belongs: then there must be one.
    fn look(&mut self, report: Report) -> Result<Report, Halt> {
        let order = self.order;
        let Some(at) = order.output.as_deref().and_then(Address::of) else { return Ok(report) };
        let argv = errand::look(&order.buckets, at);
        let argv = argv.map_err(|why| Halt::Over(Report::failed(Class::Configuration, why)))?;
        let (outcome, ended) = self.errand("look", &argv)?;
        let class = match outcome {
            Outcome::Done => return Ok(report),
            Outcome::Not(Class::Permanent) => Class::Failed,
            Outcome::Not(class) => class,
            Outcome::GivenBack | Outcome::Early => Class::Infrastructure,
        };
        let message = ended.message.map(|why| format!("nothing was to be changed there: {why}"));
        Ok(Report { class: Some(class), message, ..report })
    }

    /// Does an errand to a bucket.
    fn errand(&mut self, name: &str, argv: &[PathBuf]) -> Result<(Outcome, Report), Halt> {
        let limit_ms = millis(errand::LIMIT);
        let own = errand::variables();
        // what comes damaged again and again is to be looked at
        let is_away = |exit, _: &str| exit == Some(errand::AWAY);
        self.step(name, argv, &own, limit_ms, &errand::meaning, &is_away)
    }

    /// Runs a command that fetches or delivers. Where it tells that the other side is away, that is nobody's error, and waited for
    /// without an end.
    fn step(
        &mut self,
        name: &str,
        argv: &[PathBuf],
        own: &[(OsString, OsString)],
        limit_ms: u64,
        meaning: &dyn Fn(i32) -> Option<Meaning>,
        is_away: &dyn Fn(Option<i32>, &str) -> bool,
    ) -> Result<(Outcome, Report), Halt> {
        let argv_of = |word: &PathBuf| word.to_string_lossy().into_owned();
        let step = Tier {
            name: name.to_owned(),
            argv: argv.iter().take(1).map(argv_of).collect(),
            tools: Vec::new(),
            limit_ms,
            exit: vec![0],
            min_bytes: 0,
            must_match: None,
            check: None,
        };
        let mut variables = variables(self.order, self.worker);
        variables.extend_from_slice(own);
        let (outcome, report) = self.command(&step, argv, &variables, None, meaning, &|| Ok(()))?;
        Ok(match outcome {
            // the other side is mute. That counts all the same: what is too large for its limit always will be
            Outcome::Not(Class::TimedOut) => {
                let class = Class::Infrastructure;
                (Outcome::Not(class), Report { class: Some(class), ..report })
            }
            Outcome::Not(Class::Infrastructure)
                if is_away(report.exit_code, &text::tail(&self.said.end(), SAID_BYTES)) =>
            {
                (Outcome::Early, report)
            }
            outcome => (outcome, report),
        })
    }

    /// Waits for the end of a command; how it ended, and whether its time was over.
    fn wait(&mut self, tier: &Tier, work: &Work) -> Result<(Option<WaitStatus>, bool), Halt> {
        let pidfd = pidfd_open(work.pid, PidfdFlags::empty());
        let limit = AwakeDeadline::after(Duration::from_millis(tier.limit_ms));
        let grace = Duration::from_millis(self.order.grace_ms);
        let input = std::io::stdin().as_fd().try_clone_to_owned().ok();
        let (mut killed_at, mut timed_out) = (None, false);
        let (mut is_heard, mut steps) = (true, Some(Vec::new()));
        loop {
            if let Some(status) = tree::reap(work.pid) {
                self.hear(work);
                return Ok((Some(status), timed_out));
            }
            let left = killed_at.as_ref().unwrap_or(&limit).left();
            let mut fds: Vec<&OwnedFd> = Vec::new();
            let listen = [
                input.as_ref(),
                pidfd.as_ref().ok(),
                is_heard.then_some(&work.said),
                steps.is_some().then_some(&work.progress),
            ];
            fds.extend(listen.iter().flatten());
            // without a descriptor of its own its end is looked for now and then
            let most = if pidfd.is_ok() { left } else { left.min(Duration::from_millis(20)) };
            let woken = wait_any(&fds, most);
            if is_heard && !self.hear(work) {
                is_heard = false;
            }
            if let Some(part) = &mut steps
                && !tell_progress(work, part)
            {
                steps = None;
            }
            if input.is_some() && woken.contains(&0) {
                // whatever is said while a command runs is an end
                self.end(grace, work);
                return Err(Halt::Stopped);
            }
            match &killed_at {
                None if limit.passed() => {
                    timed_out = true;
                    tree::ask_to_end();
                    killed_at = Some(AwakeDeadline::after(grace));
                }
                Some(killed) if killed.passed() => {
                    self.kill_all();
                    return Ok((None, timed_out));
                }
                None | Some(_) => {}
            }
        }
    }

    /// Takes in what a command has said; false once it cannot say any more.
    fn hear(&mut self, work: &Work) -> bool {
        let mut bytes = Vec::new();
        let is_open = pull(&work.said, &mut bytes);
        self.said.add(&bytes);
        is_open
    }

    /// Asks it to end, gives it its time, and kills what is left.
    fn end(&self, grace: Duration, work: &Work) {
        tree::ask_to_end();
        if let Ok(pidfd) = pidfd_open(work.pid, PidfdFlags::empty()) {
            let _ = wait_any(&[&pidfd], grace);
        }
        self.kill_all();
    }
}

/// Whether a type's command tells that the other side is away: by a code that the type calls so, or by words.
fn says_away(exit: Option<i32>, said: &str, meaning: &dyn Fn(i32) -> Option<Meaning>) -> bool {
    exit.and_then(meaning) == Some(Meaning::Transient) || tells_of_the_way(said)
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

/// What an exit code of a command means that is run as it is: one that could not be run is missed on this host.
fn meaning_of(order: &Order, code: i32) -> Option<Meaning> {
    let is_missed = NOT_RUN.contains(&code).then_some(Meaning::Transient);
    order.kind.exit.get(&code).copied().or(is_missed)
}

/// Takes a scratch file away, if there is one.
fn remove(scratch: Option<&Path>) {
    let _ = scratch.map(scratch::remove_one);
}

/// What its commands find in their environment beside what every command does.
fn variables(order: &Order, worker: &str) -> Vec<(OsString, OsString)> {
    let named = order
        .kind
        .environment
        .iter()
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let own = [
        ("UNWEDGE_JOB", order.token.id.to_string()),
        ("UNWEDGE_TRY", order.token.nth.to_string()),
        ("UNWEDGE_TYPE", order.kind.name.clone()),
        ("UNWEDGE_DIGEST", order.kind.digest()),
        ("UNWEDGE_VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        (witness::WORKER, worker.to_owned()),
    ];
    named.chain(own.map(|(name, value)| (name.into(), value.into()))).collect()
}

/// Tells on what a command says of how far it is, the last whole line; false once it cannot say any more.
fn tell_progress(work: &Work, part: &mut Vec<u8>) -> bool {
    /// A line is never this long.
    const LINE_BYTES_MAX: usize = 200;
    let is_open = pull(&work.progress, part);
    if let Some(end) = part.iter().rposition(|byte| *byte == b'\n') {
        let lines: Vec<u8> = part.drain(..=end).collect();
        if let Some(line) = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) {
            let line = &line[..line.len().min(LINE_BYTES_MAX)];
            // whoever is gone asks no more
            let _ = tell(&Tell::Progress(Step { text: text::tail(line, LINE_BYTES_MAX) }));
        }
    }
    if part.len() > LINE_BYTES_MAX {
        part.clear();
    }
    is_open
}

fn look(scratch: &Path, least: u64) -> Output {
    match fs::symlink_metadata(scratch) {
        // a link says nothing of what it leads to, and a pipe may keep for ever whoever opens it
        Ok(there) if !there.is_file() && !there.is_dir() => {
            Output::Short("its result is neither a file nor a directory".to_owned())
        }
        // what it holds is not measured, but that it is none at all
        Ok(there) if there.is_dir() => {
            match fs::read_dir(scratch).map(|mut all| all.next().is_some()) {
                Ok(holds) if holds || least == 0 => Output::Good,
                Ok(_) => Output::Short("its result is a directory with nothing in it".to_owned()),
                Err(error) => Output::Unseen(format!("its result: {error}")),
            }
        }
        Ok(there) if there.len() >= least => Output::Good,
        Ok(there) => Output::Short(format!(
            "its result has {} bytes, at least {least} are expected",
            there.len()
        )),
        Err(error) if error.kind() == ErrorKind::NotFound && least == 0 => Output::Good,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Output::Short("it wrote no result".to_owned())
        }
        Err(error) => Output::Unseen(format!("its result: {error}")),
    }
}

/// Whether a command said that what is there already is right.
fn says_unchanged(order: &Order, report: &Report) -> bool {
    let meaning = report.exit_code.and_then(|code| order.kind.exit.get(&code));
    meaning == Some(&Meaning::Unchanged)
}

/// How large the result of a try that went well is. One that its type lets it leave out is empty, unless it says that
/// what is there already is right.
fn size(order: &Order, scratch: Option<&Path>, report: &Report) -> Option<u64> {
    match fs::metadata(scratch?) {
        // what a directory holds is not looked through
        Ok(made) => made.is_file().then_some(made.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (!says_unchanged(order, report)).then_some(0)
        }
        Err(_) => None,
    }
}

fn words(seen: &Evidence, signal: Option<i32>, tier: &Tier) -> String {
    let mut parts = Vec::new();
    match (seen.exit, signal) {
        _ if seen.timed_out => {
            parts.push(format!(
                "no end within {}",
                text::duration(Duration::from_millis(tier.limit_ms))
            ));
        }
        (Some(0), _) => {}
        (Some(code), _) => parts.push(format!("exit {code}")),
        (None, Some(signal)) => parts.push(format!("signal {signal}")),
        (None, None) => parts.push("it could not be killed".to_owned()),
    }
    match &seen.output {
        Output::Good => {}
        Output::Short(why) | Output::Unseen(why) => parts.push(why.clone()),
    }
    if !seen.said.is_empty() {
        parts.push(format!("it said: {}", seen.said));
    }
    parts.join("; ")
}

/// Whether the result is there that a try before was about to put there.
fn is_placed(order: &Order, output: &Path) -> bool {
    let there = output.symlink_metadata();
    there.is_ok_and(|there| order.placed.is_of(&there))
}

/// Something is there. What a try before has put there is the result, and its helper may be quicker than this one where only
/// its runner is gone; of anything else the same bytes are what was wanted, and others are for a person.
fn settle(order: &Order, scratch: &Path, output: &Path, report: Report) -> Report {
    let same = if is_placed(order, output) { Ok(true) } else { is_same(scratch, output) };
    // whoever has put it there may not have come to that
    let same = same.and_then(|same| if same { flush_at(output).map(|()| true) } else { Ok(false) });
    let shown = text::path(output);
    let (class, message) = match same {
        Ok(true) => {
            remove(Some(scratch));
            return report;
        }
        Ok(false) => {
            let kept = keep_second(order, scratch, output);
            let why =
                format!("{shown} is there already, and is another one; nothing is written over");
            (Class::Conflict, format!("{why}; {kept}"))
        }
        Err(error) => {
            remove(Some(scratch));
            (Class::Infrastructure, format!("compare with {shown}, or flush it: {error}"))
        }
    };
    Report { class: Some(class), message: Some(message), ..report }
}

/// Where a second result of a job is kept.
fn second_of(output: &Path, order: &Order) -> PathBuf {
    scratch::second_of(output, &order.mark, order.token.id)
}

/// Keeps a result whose place is another's, for a person who picks; what is said of that.
fn keep_second(order: &Order, scratch: &Path, output: &Path) -> String {
    let second = second_of(output, order);
    // what a try before has made was let out with its job, and this is what comes of that
    remove(Some(&second));
    match fs::rename(scratch, &second) {
        Ok(()) => {
            // it was flushed, and its name may be lost with the power: then it is under that of its try
            let _ = flush_name(&second);
            format!("what was made is kept as {}", text::path(&second))
        }
        Err(error) => {
            remove(Some(scratch));
            format!("what was made could not be kept as {}: {error}", text::path(&second))
        }
    }
}

/// What the runner says of a result.
enum Word {
    /// It may be put in its place.
    Go,
    /// The job is somebody else's, or nobody wants it.
    No,
    /// Nothing: it ends, or is gone.
    End,
}

/// What is said of it.
fn word() -> Word {
    let mut word = [0; 3];
    if std::io::stdin().read_exact(&mut word).is_err() {
        return Word::End;
    }
    match std::str::from_utf8(&word) {
        Ok(GO) => Word::Go,
        // whatever else it may be is no leave
        Ok(_) | Err(_) => Word::No,
    }
}

/// Brings it to the disk; of a directory all that the file system has to write, as what it holds may be of any depth.
fn flush(made: &File, is_dir: bool) -> std::io::Result<()> {
    if is_dir {
        rustix::fs::syncfs(made)?;
    }
    made.sync_all()
}

/// Brings what is in its place to the disk, and its name.
fn flush_at(output: &Path) -> std::io::Result<()> {
    match File::open(output) {
        Ok(there) => flush(&there, there.metadata()?.is_dir())?,
        // who may not read it has all written that its file system still has to write
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            rustix::fs::syncfs(File::open(output.parent().unwrap_or(Path::new("/")))?)?;
        }
        Err(error) => return Err(error),
    }
    flush_name(output)
}

/// Brings a name to the disk.
fn flush_name(output: &Path) -> std::io::Result<()> {
    let dir = output.parent().unwrap_or(Path::new("/"));
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // some network file systems flush no directory, and say so
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        done => done,
    }
}

/// Whether two files have the same bytes. A directory is the same as nothing.
fn is_same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let there = match fs::metadata(other) {
        Ok(there) => there,
        // a link that leads nowhere
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // a pipe may keep for ever whoever opens it
    if !there.is_file() || !fs::metadata(one)?.is_file() {
        return Ok(false);
    }
    let other = match File::open(other) {
        Ok(other) => other,
        // whoever made it lets nobody read it
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(other));
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let length = a.len().min(b.len());
        if length == 0 {
            return Ok(a.len() == b.len());
        }
        if a[..length] != b[..length] {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}
