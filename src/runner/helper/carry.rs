//! Carrying what is not of this host: an input is fetched and a result delivered, by commands of the type or by our own for a
//! bucket, and what was carried is compared.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::command::{SAID_BYTES, meaning_of, variables};
use super::publish::{Word, word};
use super::{Halt, Job, tell};
use crate::config::bucket::Address;
use crate::config::job_type::{Errand, Marks, Meaning, Tier};
use crate::decide::attempts::{Class, Outcome, tells_of_the_way};
use crate::runner::order::{Report, Tell};
use crate::runner::placed::{Mark, Placed};
use crate::runner::{errand, sum};
use crate::sys::clock::millis;
use crate::sys::text;

impl Job<'_> {
    /// Delivers what a try before has made of the same input and could not deliver.
    pub(super) fn deliver_kept(&mut self) -> Result<Option<Report>, Halt> {
        let order = self.order;
        let kept = self.away.as_ref().and_then(|away| Some((away, away.kept(order)?)));
        let Some((away, kept)) = kept else { return Ok(None) };
        let is_kept = away.keep(order, kept.tier.as_deref());
        self.is_kept = is_kept.map_err(|error| not_kept(&error))?;
        let made = away.output.as_deref().and_then(|it| fs::metadata(it).ok());
        let bytes = made.map(|it| it.len());
        self.deliver(Report { tier: kept.tier, bytes, ..Report::default() }).map(Some)
    }

    /// Fetches its input, where that is not here; how it ends where it is not to be had.
    pub(super) fn fetch(&mut self) -> Result<Option<Report>, Halt> {
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
    pub(super) fn keep_and_deliver(
        &mut self,
        report: Report,
        is_wanted: bool,
    ) -> Result<Report, Halt> {
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
}

/// A result that is not safe on this host is not delivered.
fn not_kept(error: &std::io::Error) -> Halt {
    Halt::Over(Report::failed(Class::Infrastructure, format!("keep the result: {error}")))
}

/// Whether a type's command tells that the other side is away: by a code that the type calls so, or by words.
fn says_away(exit: Option<i32>, said: &str, meaning: &dyn Fn(i32) -> Option<Meaning>) -> bool {
    exit.and_then(meaning) == Some(Meaning::Transient) || tells_of_the_way(said)
}
