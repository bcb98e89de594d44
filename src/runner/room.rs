//! Whether there is room for what a type writes: a key that must be open before anything of it is taken. Room on what is
//! watched below where types write is a key of its own, of those jobs alone that write there. A child asks, and no more
//! often than storage answers; what is unknown is closed. Storage that is watched and not open is left alone: its own gate
//! keeps its jobs back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::supervise::Event;
use crate::probes::gate;
use crate::probes::headroom::{self, Headroom};
use crate::sys::clock::boottime;
use crate::sys::text;

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(10);
/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest wait after no answer: each may have left a child behind.
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

/// Where types write, by name; one may write to several.
pub type Places = Vec<(String, PathBuf)>;

/// Where there is room, and where not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The types of which nothing is taken, and why.
    pub full: BTreeMap<String, String>,
    /// The watched paths below where types write that were looked at, as `text::path` writes them; why there is none on one.
    pub below: BTreeMap<String, Option<String>>,
}

impl Room {
    /// Whether what writes to a watched path may be taken, as far as room goes; `written` is where types write.
    #[must_use]
    pub fn is_on(&self, path: &str, written: &[PathBuf]) -> bool {
        match self.below.get(path) {
            Some(why) => why.is_none(),
            None => !is_below(path, written),
        }
    }

    /// The watched paths below those that nobody has looked at.
    pub fn unseen<'a>(
        &'a self,
        open: &'a [String],
        written: &'a [PathBuf],
    ) -> impl Iterator<Item = &'a String> {
        let is_unseen = |path: &&String| !self.below.contains_key(*path) && is_below(path, written);
        open.iter().filter(is_unseen)
    }
}

/// Whether types write to what is above a path.
fn is_below(path: &str, written: &[PathBuf]) -> bool {
    let path = text::path_of(path).filter(|it| it.is_absolute());
    path.is_some_and(|path| written.iter().any(|it| path != *it && path.starts_with(it)))
}

/// Tells where there is room. Types may come anew.
pub fn watch(floor: Floor, run_dir: &Path, places: &Receiver<Places>, send: &Sender<Event>) {
    let mut wanted = Places::new();
    let mut waits: BTreeMap<PathBuf, (Duration, Duration, String)> = BTreeMap::new();
    let mut limit = EVERY;
    loop {
        match places.recv_timeout(limit) {
            Ok(places) => wanted = places,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        limit = EVERY;
        let open = gate::open(run_dir);
        let watch = gate::Watch::unnamed(run_dir.to_owned());
        let mut seen: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
        let mut look = |path: &Path| {
            let look = || {
                let is_open = watch.needs_of(&[path]).iter().all(|need| open.contains(need));
                if is_open { ask(path, floor, &mut waits) } else { None }
            };
            seen.entry(path.to_owned()).or_insert_with(look).clone()
        };
        let mut room = Room::default();
        let mut roots = Vec::with_capacity(wanted.len());
        for (kind, root) in &wanted {
            if let Some(why) = look(root) {
                room.full.insert(kind.clone(), why);
            }
            roots.push(root.clone());
        }
        for name in open.iter().filter(|it| is_below(it, &roots)) {
            if let Some(path) = text::path_of(name) {
                room.below.insert(name.clone(), look(&path));
            }
        }
        if send.send(Event::Room(room)).is_err() {
            return;
        }
    }
}

/// Why there is no room; the last word on it while it is not asked again.
fn ask(
    path: &Path,
    floor: Floor,
    waits: &mut BTreeMap<PathBuf, (Duration, Duration, String)>,
) -> Option<String> {
    let now = boottime();
    if let Some((due, _, why)) = waits.get(path).filter(|(due, _, _)| *due > now) {
        let _ = due;
        return Some(why.clone());
    }
    let room = headroom::nearest(path, LIMIT);
    if let Headroom::Unknown(why) = &room {
        let wait = waits.get(path).map_or(EVERY, |(_, wait, _)| (*wait * 2).min(AGAIN_MAX));
        let why = format!("{}: nobody knows how much room there is: {why}", text::path(path));
        waits.insert(path.to_owned(), (now + wait, wait, why.clone()));
        return Some(why);
    }
    waits.remove(path);
    too_little(&room, floor).map(|why| format!("{}: {why}", text::path(path)))
}

fn too_little(room: &Headroom, floor: Floor) -> Option<String> {
    match room {
        Headroom::Known { free_bytes, .. } if *free_bytes < floor.mib << 20 => {
            Some(format!("{} MiB are free, and {} must be", free_bytes >> 20, floor.mib))
        }
        Headroom::Known { free_inodes: Some(inodes), .. } if *inodes < floor.inodes => {
            Some(format!("{inodes} inodes are free, and {} must be", floor.inodes))
        }
        Headroom::Known { .. } => None,
        Headroom::Unknown(why) => Some(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_known_of_what_was_looked_at_and_matters_where_types_write() {
        let below = [("/srv/a", None), ("/srv/b", Some("6 MiB"))];
        let below = below.map(|(path, why)| (path.to_owned(), why.map(str::to_owned)));
        let room = Room { below: below.into(), ..Room::default() };
        let written = [PathBuf::from("/srv")];
        let is_on = |path| room.is_on(path, &written);
        assert_eq!(
            ["/srv/a", "/srv/b", "/srv/c", "/srv", "/opt"].map(is_on),
            [true, false, false, true, true]
        );
        let open =
            ["/srv/a", "/srv/c", "/srv", "/opt", "room:/srv/c", "heartbeat:x"].map(str::to_owned);
        assert_eq!(room.unseen(&open, &written).collect::<Vec<_>>(), ["/srv/c"]);
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
