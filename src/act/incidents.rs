//! Writing incidents down. A file is only ever added to, each line whole and flushed before anything else is done; a
//! line that a power cut left torn is ended first. What cannot be written keeps nothing from being repaired: it is
//! said, and the round counts as failed.
//!
//! Two tools may write to one incident at the same time. Each line is one write to a file opened for appending, so
//! that none is mixed with another, and closing it is a rename, which only one of them makes.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::failpoint::{self, Moment};
use super::outcome::{Ended, Outcome};
use crate::config::Settings;
use crate::decide::incidents::{Entry, Touched, follow};
use crate::decide::plan::{Hold, Planned, Repair, Step, Verb};
use crate::manifest::Tool;
use crate::probes::incidents::{self, Event, Incident, What};
use crate::probes::records::Debts;
use crate::sys::clock::{Now, millis};
use crate::sys::text;

/// So many that are over are kept; the oldest makes room for a new one.
pub const KEPT_MAX: usize = 1_000;
/// So many lines has one at most, but for what is seen of it from then on: a fault of months that is tried again
/// every quarter of an hour fills no disk.
const LINES_MAX: usize = 2_000;
/// How often a number of a day is tried that another tool has taken in the same moment.
const TRIES: usize = 10;

/// What is written down in a round.
#[derive(Debug)]
pub struct Book {
    dir: PathBuf,
    tool: &'static Tool,
    open: Vec<Incident>,
    trouble: Option<String>,
}

impl Book {
    /// The incidents that are open now.
    #[must_use]
    pub fn of(settings: &Settings, tool: &'static Tool) -> Self {
        let dir = incidents::directory(&settings.host.state_dir);
        let (open, trouble) = match incidents::open_ones(&dir) {
            Ok(open) => (open, None),
            Err(error) => (Vec::new(), Some(format!("read incidents: {error}"))),
        };
        Self { dir, tool, open, trouble }
    }

    /// Why something is not written down, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Those that are open.
    #[must_use]
    pub fn open(&self) -> &[Incident] {
        &self.open
    }

    /// How many are open, where that could be read.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.trouble.is_none().then_some(self.open.len())
    }

    /// Takes note of what was seen and refused.
    pub fn follow(&mut self, touched: &[Touched], holds: &[Hold], debts: &Debts, now: &Now) {
        if self.trouble.is_some() {
            // what is open is not known: nothing is opened twice
            return;
        }
        let entries = follow(&self.open, touched, holds, debts);
        let opens = entries.iter().any(|entry| matches!(entry, Entry::Open(_)));
        self.write(entries, now);
        if opens && self.trouble.is_none() {
            let refused = follow(&self.open, touched, holds, debts);
            self.write(refused, now);
        }
    }

    /// Takes note of a repair that is about to be made.
    pub fn begun(&mut self, repair: &Repair, now: &Now) {
        let steps = repair.steps.iter().map(word).collect();
        let what = What::Begun { subject: text::path(&repair.subject), steps };
        self.note_of(repair, vec![what], now);
    }

    /// Takes note of what came of it. A worker that was stopped is bad until it was started.
    pub fn ended(&mut self, repair: &Repair, outcomes: &[Outcome], now: &Now) {
        let mut lines = Vec::new();
        for outcome in outcomes {
            let step = word(&outcome.planned);
            let ms = millis(outcome.took);
            match &outcome.ended {
                Ended::Done(detail) => {
                    lines.push(What::Done { step, detail: detail.clone(), ms });
                    lines.extend(worker(&outcome.planned.step));
                }
                // who stopped it has it down: that is no part of what went wrong
                Ended::Already(detail) => {
                    lines.push(What::Done { step, detail: detail.clone(), ms });
                }
                Ended::Failed(detail) => {
                    lines.push(What::Failed { step, detail: detail.clone(), ms });
                }
                Ended::Refused(..) | Ended::Skipped => {}
            }
        }
        self.note_of(repair, lines, now);
    }

    /// The incident of a repair: that of its base, and for one of the worker the one that stopped it, which is the last that
    /// touched it, or any.
    fn of_repair(&self, repair: &Repair) -> Option<usize> {
        let subject = text::path(&repair.subject);
        let is_of_worker = repair.steps.iter().any(|it| it.step.is_of_worker());
        let touches =
            |it: &Incident| it.root() == subject || it.touched().contains_key(subject.as_str());
        let exact = self.open.iter().rposition(touches);
        exact.or_else(|| (is_of_worker && !self.open.is_empty()).then_some(0))
    }

    fn note_of(&mut self, repair: &Repair, lines: Vec<What>, now: &Now) {
        if let Some(index) = self.of_repair(repair) {
            let id = self.open[index].id.clone();
            let entries = lines.into_iter().map(|what| Entry::Note(id.clone(), what)).collect();
            self.write(entries, now);
        }
    }

    fn write(&mut self, entries: Vec<Entry>, now: &Now) {
        for entry in entries {
            if let Err(error) = self.enter(entry, now) {
                self.trouble.get_or_insert(format!("write an incident down: {error:#}"));
                return;
            }
        }
    }

    fn enter(&mut self, entry: Entry, now: &Now) -> Result<()> {
        match entry {
            Entry::Open(lines) => {
                let event = |what| self.event(what, now);
                let events: Vec<Event> = lines.into_iter().map(event).collect();
                let known = self.make_room()?;
                let id = self.create(&known, &events, now)?;
                self.open.push(Incident { id, is_closed: false, events, unreadable: 0 });
                Ok(())
            }
            Entry::Note(id, what) => self.add(&id, what, now),
            Entry::Close(id) => {
                self.add(&id, What::Closed, now)?;
                self.open.retain(|incident| incident.id != id);
                let (from, to) =
                    (incidents::open_file(&self.dir, &id), incidents::closed_file(&self.dir, &id));
                match std::fs::rename(&from, &to) {
                    // another tool has seen the same
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                    done => done.with_context(|| format!("close {}", text::path(&from))),
                }
            }
        }
    }

    fn event(&self, what: What, now: &Now) -> Event {
        Event { at: now.stamp(), tool: self.tool.name.to_owned(), what }
    }

    fn add(&mut self, id: &str, what: What, now: &Now) -> Result<()> {
        let event = self.event(what, now);
        let Some(incident) = self.open.iter_mut().find(|incident| incident.id == id) else {
            return Ok(());
        };
        let event = match (&event.what, incident.events.len().cmp(&LINES_MAX)) {
            (What::Seen { .. } | What::Closed, _) | (_, std::cmp::Ordering::Less) => event,
            (_, std::cmp::Ordering::Equal) => Event { what: What::Full, ..event },
            (_, std::cmp::Ordering::Greater) => return Ok(()),
        };
        append(&incidents::open_file(&self.dir, id), std::slice::from_ref(&event))?;
        incident.events.push(event);
        Ok(())
    }

    /// Makes the file of a new one beside those that are known, with these lines in it.
    fn create(&self, known: &[(String, bool)], events: &[Event], now: &Now) -> Result<String> {
        let day = now.stamp().utc().chars().take(10).collect::<String>();
        let number =
            |(id, _): &(String, bool)| id.strip_prefix(&day)?.strip_prefix('-')?.parse().ok();
        let last: usize = known.iter().filter_map(number).max().unwrap_or(0);
        for number in last + 1..=last + TRIES {
            let id = format!("{day}-{number}");
            let path = incidents::open_file(&self.dir, &id);
            let made = OpenOptions::new()
                .append(true)
                .create_new(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(&path);
            match made {
                Ok(file) => {
                    file.set_permissions(Permissions::from_mode(0o644))
                        .with_context(|| text::path(&path))?;
                    put(file, &lines(events)?).with_context(|| text::path(&path))?;
                    let dir = File::open(&self.dir).and_then(|dir| dir.sync_all());
                    dir.with_context(|| text::path(&self.dir))?;
                    return Ok(id);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| text::path(&path)),
            }
        }
        anyhow::bail!("{TRIES} numbers of {day} are taken")
    }

    /// Makes the directory, and takes away the oldest that is over, where there are too many; those that were there.
    fn make_room(&self) -> Result<Vec<(String, bool)>> {
        // for everybody's eyes, whatever the umask of whoever started us: who tells people of it is not root
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| std::fs::set_permissions(&self.dir, Permissions::from_mode(0o755)))
            .with_context(|| format!("make directory {}", text::path(&self.dir)))?;
        let known = incidents::ids(&self.dir).context("list incidents")?;
        let over = known.iter().rev().filter(|(_, is_closed)| *is_closed);
        for (id, _) in over.skip(KEPT_MAX.saturating_sub(1)) {
            let path = incidents::closed_file(&self.dir, id);
            std::fs::remove_file(&path).with_context(|| text::path(&path))?;
        }
        Ok(known)
    }
}

/// A step with its target, in words.
fn word(planned: &Planned) -> String {
    format!("{} {}", planned.step.verb().name(), planned.step.target())
}

/// What a step on the worker makes of it.
fn worker(step: &Step) -> Option<What> {
    let (state, good, why) = match step.verb() {
        Verb::StopWorker => ("stopped", false, "for the repair"),
        Verb::StartWorker => ("active", true, "it was started"),
        _ => return None,
    };
    let (state, why) = (state.to_owned(), why.to_owned());
    Some(What::Seen { subject: step.target(), state, good, why })
}

fn lines(events: &[Event]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for event in events {
        serde_json::to_writer(&mut bytes, event).context("render an event")?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Adds lines to a file that is there; one that was closed meanwhile is left as it is.
fn append(path: &Path, events: &[Event]) -> Result<()> {
    let opened = OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| text::path(path)),
    };
    let mut bytes = Vec::new();
    if is_torn(&mut file).with_context(|| text::path(path))? {
        bytes.push(b'\n');
    }
    bytes.extend(lines(events)?);
    put(file, &bytes).with_context(|| text::path(path))
}

/// Whether the last line has no end.
fn is_torn(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn put(mut file: File, bytes: &[u8]) -> std::io::Result<()> {
    failpoint::reached(Moment::Before, "incident");
    file.write_all(bytes)?;
    file.sync_data()?;
    failpoint::reached(Moment::After, "incident");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::incidents::Health;
    use crate::manifest::MOUNTS;

    fn now(boot_ms: u64) -> Now {
        Now { utc_ms: 1_769_212_800_000 + boot_ms, boot_ms, boot_id: "a".to_owned() }
    }

    fn book(dir: &Path) -> Book {
        let mut settings = Settings::default();
        settings.host.state_dir = dir.to_owned();
        Book::of(&settings, &MOUNTS)
    }

    fn touched(subject: &str, health: Health) -> Touched {
        let state = if health == Health::Good { "live" } else { "dead" };
        Touched {
            subject: subject.to_owned(),
            root: Some(subject.to_owned()),
            state: state.to_owned(),
            why: "107".to_owned(),
            health,
        }
    }

    #[test]
    fn one_is_opened_once_told_on_and_closed_and_the_next_has_the_next_number() {
        let dir = tempfile::tempdir().unwrap();
        let none = Debts::default();
        for day in 1..=2 {
            for health in [
                Health::Suspect,
                Health::Bad,
                Health::Bad,
                Health::Unknown,
                Health::Good,
                Health::Good,
            ] {
                let mut book = book(dir.path());
                book.follow(&[touched("/srv/a", health)], &[], &none, &now(day));
                assert_eq!(book.trouble(), None);
            }
        }
        let place = incidents::directory(dir.path());
        let known = incidents::ids(&place).unwrap();
        assert_eq!(known, [("2026-01-24-1".to_owned(), true), ("2026-01-24-2".to_owned(), true)]);
        let first = incidents::find(&place, "2026-01-24-1").unwrap();
        let said: Vec<String> = first
            .events
            .iter()
            .map(|event| match &event.what {
                What::Opened { root, cause, .. } => format!("{root} {cause}"),
                What::Seen { state, good, .. } => format!("{state} {good}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(said, ["/srv/a dead", "dead false", "live true", "Closed"]);
    }

    #[test]
    fn a_torn_line_stands_alone_and_a_fault_of_months_fills_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = book(dir.path());
        at.follow(&[touched("/srv/a", Health::Bad)], &[], &Debts::default(), &now(1));
        let path = incidents::open_file(&incidents::directory(dir.path()), "2026-01-24-1");
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend(b"{\"at\":");
        std::fs::write(&path, torn).unwrap();
        let mut at = book(dir.path());
        assert_eq!(at.open[0].unreadable, 1);
        for nth in 0..LINES_MAX as u64 + 50 {
            let what = What::Done { step: "x".to_owned(), detail: String::new(), ms: nth };
            at.add("2026-01-24-1", what, &now(nth)).unwrap();
        }
        at.follow(&[touched("/srv/a", Health::Good)], &[], &Debts::default(), &now(9));
        let read = incidents::find(&incidents::directory(dir.path()), "2026-01-24-1").unwrap();
        assert_eq!((read.events.len(), read.unreadable), (LINES_MAX + 3, 1));
        let last: Vec<&What> = read.events.iter().rev().take(3).map(|event| &event.what).collect();
        assert!(
            matches!(last.as_slice(), [What::Closed, What::Seen { good: true, .. }, What::Full]),
            "{last:?}"
        );
    }

    #[test]
    fn the_oldest_makes_room_and_one_that_is_open_never_does() {
        let dir = tempfile::tempdir().unwrap();
        let place = incidents::directory(dir.path());
        std::fs::create_dir(&place).unwrap();
        std::fs::write(incidents::open_file(&place, "2020-01-01-1"), "").unwrap();
        for nth in 2..KEPT_MAX + 2 {
            std::fs::write(incidents::closed_file(&place, &format!("2020-01-01-{nth}")), "")
                .unwrap();
        }
        let mut at = book(dir.path());
        at.follow(&[touched("/srv/a", Health::Bad)], &[], &Debts::default(), &now(1));
        let known = incidents::ids(&place).unwrap();
        assert_eq!(known.len(), KEPT_MAX + 1);
        let names: Vec<&str> = known.iter().take(2).map(|(id, _)| id.as_str()).collect();
        assert_eq!(names, ["2020-01-01-1", "2020-01-01-3"]);
    }

    #[test]
    fn what_cannot_be_written_is_said_and_a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("incidents"), "").unwrap();
        let mut at = book(dir.path());
        at.follow(&[touched("/srv/a", Health::Bad)], &[], &Debts::default(), &now(1));
        assert!(at.trouble().unwrap().contains("incidents"), "{:?}", at.trouble());
        std::fs::remove_file(dir.path().join("incidents")).unwrap();
        let place = incidents::directory(dir.path());
        std::fs::create_dir(&place).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, incidents::open_file(&place, "2026-01-24-1")).unwrap();
        let at = book(dir.path());
        assert!(at.trouble().is_some());
        assert_eq!(std::fs::read(&victim).unwrap(), b"");
    }
}
