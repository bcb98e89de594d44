//! Whether there is room for what a type writes: a key that must be open before anything of it is taken. What is watched
//! below where it writes has room of its own, and keeps back those jobs alone that need it. A child asks, and no more
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

/// Where there is no room; for what is not in it there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Full {
    /// The types of which nothing is taken, and why.
    pub types: BTreeMap<String, String>,
    /// The watched paths, as `text::path` writes them, of which nothing of a type is taken, by its name, and why.
    pub below: BTreeMap<String, BTreeMap<String, String>>,
}

/// Tells where there is no room. Types may come anew.
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
        let watched: Vec<PathBuf> = open.iter().filter_map(|it| text::path_of(it)).collect();
        let watch = gate::Watch::unnamed(run_dir.to_owned());
        let mut seen: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
        let mut look = |path: &Path| {
            let look = || {
                let is_open = watch.needs_of(&[path]).iter().all(|need| open.contains(need));
                if is_open { ask(path, floor, &mut waits) } else { None }
            };
            seen.entry(path.to_owned()).or_insert_with(look).clone()
        };
        let mut full = Full::default();
        for (kind, root) in &wanted {
            if let Some(why) = look(root) {
                full.types.insert(kind.clone(), why);
            }
            for path in watched.iter().filter(|it| *it != root && it.starts_with(root)) {
                if let Some(why) = look(path) {
                    let of_kind = full.below.entry(kind.clone()).or_default();
                    of_kind.insert(text::path(path), why);
                }
            }
        }
        if send.send(Event::Room(full)).is_err() {
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
