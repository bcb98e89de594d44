//! Running the command of a tier to its end, or ending it: in its cgroup or its container, with its time, its memory and its
//! say, and what all of that means.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitStatus, pidfd_open};

use super::{Halt, Job, tell};
use crate::config::job_type::{Marks, Meaning, Tier};
use crate::decide::attempts::{Class, Evidence, Outcome, Output, classify};
use crate::probes::{engine, load, witness};
use crate::runner::cgroup::Cgroup;
use crate::runner::order::{Order, Report, Step, Tell};
use crate::runner::{container, tree};
use crate::sys::clock::{AwakeDeadline, pause};
use crate::sys::command::{Work, pull, wait_any};
use crate::sys::text;

/// How much of what a command said is kept for the reason, bytes.
pub(super) const SAID_BYTES: usize = 2048;
/// How often an engine is asked to take a container away, and how far apart.
const CLEAR_UP_TIMES: u32 = 3;
const CLEAR_UP_APART: Duration = Duration::from_secs(2);
/// Exit codes of shells and loaders for what they could not run: not there, not to be run, or without a library of its own.
const NOT_RUN: std::ops::RangeInclusive<i32> = 126..=127;
/// Exit codes of what was ended from outside: by KILL, by TERM.
const ENDED: [i32; 2] = [137, 143];

impl Job<'_> {
    /// Whether a command ended as shells and loaders do of what they cannot run, and its type says nothing else of that.
    pub(super) fn could_not_run(&self, report: &Report) -> bool {
        let kind = &self.order.kind;
        let is_it = |code: i32| NOT_RUN.contains(&code) && !kind.exit.contains_key(&code);
        kind.container.is_none() && report.exit_code.is_some_and(is_it)
    }

    /// Runs one tier to its end.
    pub(super) fn one(
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
    pub(super) fn command(
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

/// What an exit code of a command means that is run as it is: one that could not be run is missed on this host.
pub(super) fn meaning_of(order: &Order, code: i32) -> Option<Meaning> {
    let is_missed = NOT_RUN.contains(&code).then_some(Meaning::Transient);
    order.kind.exit.get(&code).copied().or(is_missed)
}

/// What its commands find in their environment beside what every command does.
pub(super) fn variables(order: &Order, worker: &str) -> Vec<(OsString, OsString)> {
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
