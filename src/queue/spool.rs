//! Results that wait on this host's disk for a queue that is away. Whoever runs next as a service here hands them in, in the
//! name of the worker that they are of; until then nobody gives its jobs to others for no better reason than that it is
//! gone.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store::Ending;
use crate::decide::leases::Seen;
use crate::probes::records::{self, Record};
use crate::probes::witness::{self, Fate};
use crate::sys::clock::{Now, Stamp};

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// By worker.
    pub parcels: Vec<Parcel>,
}

/// What became of the tries of one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// Of which queue: in another one the same numbers are other jobs. None: it was not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Who.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// Its tries.
    pub endings: Vec<Ending>,
}

impl Record for Spool {
    const NAME: &'static str = "spool";

    fn stamps(&self) -> Vec<&Stamp> {
        Vec::new()
    }
}

/// Of which workers results wait on this host's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Of these.
    Of(BTreeSet<String>),
    /// It cannot be read: they may be of anybody.
    Unknown,
}

impl Waiting {
    /// What waits in `dir`, that of this host's service. What this user may not look at is another user's, who has another
    /// queue or comes to his own rescue.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        if let Err(error) = records::path_of::<Spool>(dir).symlink_metadata() {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => Self::Of(BTreeSet::new()),
                _ => Self::Unknown,
            };
        }
        let Ok(now) = Now::take() else { return Self::Unknown };
        match records::read_whosever::<Spool>(dir, &now) {
            Ok(spool) => Self::Of(spool.parcels.into_iter().map(|it| it.worker).collect()),
            Err(_) => Self::Unknown,
        }
    }

    /// How a worker is seen from here. One that is gone and of which results wait is left to its lease.
    #[must_use]
    pub fn fate_of(&self, it: &Seen) -> Fate {
        match witness::fate_on(&it.host, &it.id) {
            Fate::Gone if self.may_be_of(&it.id) => Fate::Unknown,
            fate => fate,
        }
    }

    /// That of each.
    #[must_use]
    pub fn fates(&self, all: Vec<Seen>) -> Vec<(Seen, Fate)> {
        let fate = |it: Seen| {
            let fate = self.fate_of(&it);
            (it, fate)
        };
        all.into_iter().map(fate).collect()
    }

    fn may_be_of(&self, worker: &str) -> bool {
        match self {
            Self::Of(workers) => workers.contains(worker),
            Self::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_gone_is_left_to_its_lease_where_its_results_wait_or_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = records::path_of::<Spool>(dir.path());
        // this process's number, and another start
        let own = witness::own().unwrap();
        let id = format!("{}:1", own.rsplit_once(':').unwrap().0);
        let gone = Seen { id: id.clone(), host: witness::host(), beats: 1, silent_ms: 0 };
        let fate = || Waiting::in_dir(dir.path()).fate_of(&gone);
        assert_eq!(fate(), Fate::Gone);
        let write = |worker: &str| {
            let parcel = serde_json::json!({ "worker": worker, "version": "0", "endings": [] });
            let spool: Spool =
                serde_json::from_value(serde_json::json!({ "parcels": [parcel] })).unwrap();
            std::fs::write(&path, records::render(&spool).unwrap()).unwrap();
        };
        write("another");
        assert_eq!(fate(), Fate::Gone);
        write(&id);
        assert_eq!(fate(), Fate::Unknown);
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(fate(), Fate::Unknown);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fate(), Fate::Gone);
    }
}
