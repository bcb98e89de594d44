//! Whether a type can write its results, and there is room for them: a key that must be open before anything of it is taken.
//! Room on what is watched below where types write is a key of its own, of those jobs alone that write there. A child asks, and no more
//! often than storage answers; what is unknown is closed. Storage that is watched and not open is left alone: its own gate
//! keeps its jobs back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::setup::Setup;
use super::supervise::Event;
use crate::probes::gate;
use crate::probes::headroom::{self, Headroom, Refusal};
use crate::sys::backoff::Backoff;
use crate::sys::clock::boottime;
use crate::sys::text;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest wait after no answer.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// Room that must be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// MiB.
    pub mib: u64,
    /// Inodes.
    pub inodes: u64,
}

/// Where types write; one may write to several.
pub type Places = Vec<Place>;

/// A place that a type writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The type.
    pub kind: String,
    /// The directory.
    pub dir: PathBuf,
    /// What is asked of it, beside room.
    pub want: Want,
}

/// What must be so of a place beside that there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// No room at all: results lie anywhere below, each beside its input, and there it is looked at when a job begins.
    Below,
    /// Nothing: what is not there is made, or the result is delivered elsewhere.
    Nothing,
    /// It is there: results lie below it.
    There,
    /// Files can be made in it: results lie there.
    Writable,
}

/// Where there is room, and where not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What was looked at.
    pub seen: Places,
    /// The types of which nothing is taken, and why: no room, or nowhere to write.
    pub full: BTreeMap<String, String>,
    /// The watched paths below where types write that were looked at, as `text::path` writes them; why there is none on one.
    pub below: BTreeMap<String, Option<String>>,
}

impl Room {
    /// Whether it is known of a type that writes to these places.
    #[must_use]
    pub fn is_known_of(&self, kind: &str, places: &Places) -> bool {
        places.iter().filter(|it| it.kind == kind).all(|it| self.seen.contains(it))
    }

    /// Whether something of such a type may be taken, as far as room goes; what is not known is closed.
    #[must_use]
    pub fn is_for(&self, kind: &str, places: &Places) -> bool {
        !self.full.contains_key(kind) && self.is_known_of(kind, places)
    }

    /// Whether what writes to a watched path may be taken, as far as room goes; `places` is where types write.
    #[must_use]
    pub fn is_on(&self, path: &str, places: &Places) -> bool {
        match self.below.get(path) {
            Some(why) => why.is_none(),
            None => !is_below(path, places),
        }
    }

    /// The watched paths below those that nobody has looked at.
    pub fn unseen<'a>(
        &'a self,
        open: &'a [String],
        places: &'a Places,
    ) -> impl Iterator<Item = &'a String> {
        let is_unseen = |path: &&String| !self.below.contains_key(*path) && is_below(path, places);
        open.iter().filter(is_unseen)
    }
}

/// Whether types write to what is above a path.
fn is_below(path: &str, places: &Places) -> bool {
    let path = text::path_of(path).filter(|it| it.is_absolute());
    path.is_some_and(|path| places.iter().any(|it| path != it.dir && path.starts_with(&it.dir)))
}

/// Tells where there is room. Types may come anew.
pub fn watch(setup: &Setup, places: &Receiver<Places>, send: &Sender<Event>) {
    let (floor, run_dir) = (setup.numbers.floor, &setup.run_dir);
    let mut wanted = Places::new();
    let mut waits: BTreeMap<PathBuf, (Duration, Backoff, String)> = BTreeMap::new();
    let mut limit = EVERY;
    loop {
        match places.recv_timeout(limit) {
            Ok(places) => wanted = places,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        limit = EVERY;
        let open = gate::open(run_dir);
        let watch = setup.watch();
        let mut seen: BTreeMap<PathBuf, Option<Looked>> = BTreeMap::new();
        let mut look = |dir: &Path, want| {
            let look = || {
                let is_open = watch.needs_of_dirs(&[dir]).iter().all(|need| open.contains(need));
                is_open.then(|| ask(dir, &mut waits))
            };
            let looked = seen.entry(dir.to_owned()).or_insert_with(look).as_ref()?;
            looked.problem(want, floor).map(|why| format!("{}: {why}", text::path(dir)))
        };
        let mut room = Room::default();
        for Place { kind, dir, want } in &wanted {
            if *want != Want::Below
                && let Some(why) = look(dir, *want)
            {
                room.full.insert(kind.clone(), why);
            }
        }
        for name in open.iter().filter(|it| is_below(it, &wanted)) {
            if let Some(dir) = text::path_of(name) {
                room.below.insert(name.clone(), look(&dir, Want::Nothing));
            }
        }
        room.seen.clone_from(&wanted);
        if send.send(Event::Room(room)).is_err() {
            return;
        }
    }
}

/// What a look at a place came to.
struct Looked(Result<headroom::Place, String>);

impl Looked {
    /// Why nothing is to be written there.
    fn problem(&self, want: Want, floor: Floor) -> Option<String> {
        let place = match &self.0 {
            Ok(place) => place,
            Err(why) => return Some(unknown(why)),
        };
        let refused = match (want, &place.refusal) {
            (Want::There | Want::Writable, Some(Refusal::Missing)) => {
                Some("there is no such directory".to_owned())
            }
            (Want::Writable, Some(Refusal::Denied(why))) => {
                Some(format!("no file can be made there: {why}"))
            }
            (Want::Below | Want::Nothing, _)
            | (Want::There, Some(Refusal::Denied(_)))
            | (_, None) => None,
        };
        refused.or_else(|| too_little(&place.room, floor))
    }
}

fn unknown(why: &str) -> String {
    format!("nobody knows how much room there is: {why}")
}

/// Looks at a place; where it gave no answer, that stays the last word for a while.
fn ask(dir: &Path, waits: &mut BTreeMap<PathBuf, (Duration, Backoff, String)>) -> Looked {
    let now = boottime();
    if let Some((_, _, why)) = waits.get(dir).filter(|(due, _, _)| *due > now) {
        return Looked(Err(why.clone()));
    }
    let place = headroom::place(dir, LIMIT);
    let why = match &place {
        Err(why) | Ok(headroom::Place { room: Headroom::Unknown(why), .. }) => why.clone(),
        Ok(_) => {
            waits.remove(dir);
            return Looked(place);
        }
    };
    let mut again =
        waits.get(dir).map_or_else(|| Backoff::new(EVERY, AGAIN_MAX), |(_, again, _)| *again);
    let due = now + again.next_delay();
    waits.insert(dir.to_owned(), (due, again, why.clone()));
    Looked(Err(why))
}

/// Why a job is not begun that writes to this directory, where that is known. It may hang.
#[must_use]
pub fn lacks_room(dir: &Path, floor: Floor) -> Option<String> {
    let room = headroom::room(dir);
    let is_known = matches!(room, Headroom::Known { .. });
    too_little(&room, floor).filter(|_| is_known).map(|why| format!("{}: {why}", text::path(dir)))
}

fn too_little(room: &Headroom, floor: Floor) -> Option<String> {
    match room {
        Headroom::Known { free_bytes, .. } if *free_bytes < floor.mib << 20 => {
            Some(format!("no room: {} MiB are free, and {} must be", free_bytes >> 20, floor.mib))
        }
        Headroom::Known { free_inodes: Some(inodes), .. } if *inodes < floor.inodes => {
            Some(format!("no room: {inodes} inodes are free, and {} must be", floor.inodes))
        }
        Headroom::Known { .. } => None,
        Headroom::Unknown(why) => Some(unknown(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: &str, dir: &str, want: Want) -> Place {
        Place { kind: kind.to_owned(), dir: PathBuf::from(dir), want }
    }

    #[test]
    fn a_place_is_no_good_where_it_is_not_there_or_not_to_be_written_to_as_far_as_that_is_wanted() {
        let floor = Floor { mib: 2, inodes: 10 };
        let looked = |refusal: Option<Refusal>, mib: u64| {
            let room = Headroom::Known { free_bytes: mib << 20, free_inodes: None };
            Looked(Ok(headroom::Place { refusal, room }))
        };
        let denied = || Some(Refusal::Denied("no".to_owned()));
        let wants = [Want::Nothing, Want::There, Want::Writable];
        for (it, problems) in [
            (looked(None, 2), [false, false, false]),
            (looked(None, 1), [true, true, true]),
            (looked(denied(), 2), [false, false, true]),
            (looked(denied(), 1), [true, true, true]),
            (looked(Some(Refusal::Missing), 2), [false, true, true]),
            (Looked(Err("no answer".to_owned())), [true, true, true]),
        ] {
            let found = wants.map(|want| it.problem(want, floor).is_some());
            assert_eq!(found, problems, "{:?}", it.0);
        }
    }

    #[test]
    fn room_is_known_of_what_was_looked_at_and_matters_where_types_write() {
        let below = [("/srv/a", None), ("/srv/b", Some("6 MiB"))];
        let below = below.map(|(path, why)| (path.to_owned(), why.map(str::to_owned)));
        let room = Room { below: below.into(), ..Room::default() };
        let places = vec![place("a", "/srv", Want::There)];
        let is_on = |path| room.is_on(path, &places);
        assert_eq!(
            ["/srv/a", "/srv/b", "/srv/c", "/srv", "/opt"].map(is_on),
            [true, false, false, true, true]
        );
        let open =
            ["/srv/a", "/srv/c", "/srv", "/opt", "room:/srv/c", "heartbeat:x"].map(str::to_owned);
        assert_eq!(room.unseen(&open, &places).collect::<Vec<_>>(), ["/srv/c"]);
    }

    #[test]
    fn a_type_has_room_where_each_of_its_places_was_looked_at_and_has_some() {
        let place = |kind: &str, dir: &str| place(kind, dir, Want::Writable);
        let seen = vec![place("a", "/srv"), place("b", "/mnt"), place("full", "/srv")];
        let full = BTreeMap::from([("full".to_owned(), "2 MiB".to_owned())]);
        let room = Room { seen, full, ..Room::default() };
        for (places, is_for) in [
            (vec![place("a", "/srv")], true),
            (vec![place("a", "/srv"), place("b", "/elsewhere")], true),
            (vec![], true),
            // it writes elsewhere since its file was read anew, or there, too
            (vec![place("a", "/mnt")], false),
            (vec![place("a", "/srv"), place("a", "/mnt")], false),
        ] {
            assert_eq!(room.is_for("a", &places), is_for, "{places:?}");
        }
        assert!(!room.is_for("full", &vec![place("full", "/srv")]));
    }

    #[test]
    fn room_is_bytes_and_inodes_and_what_is_unknown_is_none() {
        let floor = Floor { mib: 2, inodes: 10 };
        let known = |free_bytes, free_inodes| Headroom::Known { free_bytes, free_inodes };
        for (room, is_enough) in [
            (known(2 << 20, Some(10)), true),
            (known(2 << 20, None), true),
            (known((2 << 20) - 1, Some(10)), false),
            (known(9 << 20, Some(9)), false),
            (Headroom::Unknown("x".to_owned()), false),
        ] {
            assert_eq!(too_little(&room, floor).is_none(), is_enough, "{room:?}");
        }
    }
}
