//! Putting a result in its place: written under another name, flushed, looked at, and moved only on the runner's word. What is
//! there already is never written over.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::{Halt, Job, remove, tell};
use crate::act::scratch;
use crate::config::job_type::Meaning;
use crate::decide::attempts::Class;
use crate::runner::away::Kept;
use crate::runner::order::{GO, Order, Report, Tell};
use crate::runner::placed::Mark;
use crate::runner::waiting;
use crate::sys::command::wait_any;
use crate::sys::{place, text};

impl Job<'_> {
    /// Puts in its place what a try before has made, and could not while the queue was away.
    pub(super) fn publish_waiting(&mut self) -> Result<Option<Report>, Halt> {
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
    pub(super) fn publish(
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
}

/// Whether a command said that what is there already is right.
fn says_unchanged(order: &Order, report: &Report) -> bool {
    let meaning = report.exit_code.and_then(|code| order.kind.exit.get(&code));
    meaning == Some(&Meaning::Unchanged)
}

/// How large the result of a try that went well is. One that its type lets it leave out is empty, unless it says that
/// what is there already is right.
pub(super) fn size(order: &Order, scratch: Option<&Path>, report: &Report) -> Option<u64> {
    match fs::metadata(scratch?) {
        // what a directory holds is not looked through
        Ok(made) => made.is_file().then_some(made.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (!says_unchanged(order, report)).then_some(0)
        }
        Err(_) => None,
    }
}

/// Whether the result is there that a try before was about to put there.
pub(super) fn is_placed(order: &Order, output: &Path) -> bool {
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
pub(super) fn second_of(output: &Path, order: &Order) -> PathBuf {
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
pub(super) enum Word {
    /// It may be put in its place.
    Go,
    /// The job is somebody else's, or nobody wants it.
    No,
    /// Nothing: it ends, or is gone.
    End,
}

/// What is said of it.
pub(super) fn word() -> Word {
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
pub(super) fn flush_at(output: &Path) -> std::io::Result<()> {
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
