//! What is remembered: whether every record can be read, whether its times can be true, and what is owed.

use std::time::Duration;

use super::{Finding, Host, or_ok};
use crate::manifest;
use crate::probes::jobs::StoredFacts;
use crate::probes::records::{
    self, Debts, Guards, Holds, Installed, MountsState, Record, WorkerState,
};
use crate::sys::clock::Age;
use crate::sys::{text, user};

/// A debt older than this should have been paid by several rounds.
const DEBT_AGE_MAX: Duration = Duration::from_secs(15 * 60);

pub fn records(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.state_dir;
    let queue = manifest::queue_dir(&host.settings.host);
    let mut found = vec![
        of::<MountsState>(host, dir),
        of::<WorkerState>(host, dir),
        of::<Debts>(host, dir),
        of::<Holds>(host, dir),
        of::<Guards>(host, dir),
        of::<Installed>(host, dir),
    ];
    let owner = user::named(&host.settings.host.user, user::LIMIT).map(|ids| ids.uid);
    // without the user nothing of it is known, and that is a row of its own
    if let (Some(_), Ok(owner)) = (&host.settings.queue, owner) {
        found.push(match records::read_of::<StoredFacts>(&queue, owner, host.now) {
            Ok(_) => Finding::ok(StoredFacts::NAME, "readable"),
            // the service user's own: the next good reading replaces it
            Err(why) => Finding::warn(StoredFacts::NAME, why.to_string())
                .mended_by("systemctl start --no-block unwedge-jobs.service"),
        });
    }
    found
}

fn of<R: Record>(host: &Host<'_>, dir: &std::path::Path) -> Finding {
    match records::read::<R>(dir, host.now) {
        Ok(record) if records::clock_fault(&record, host.now) => Finding::warn(
            R::NAME,
            "it holds a time that lies in the future: nothing acts until that is past, or the clock is right",
        ),
        Ok(_) => Finding::ok(R::NAME, "readable"),
        Err(why) => Finding::fault(R::NAME, why.to_string())
            .mended_by(format!("unwedge state reset {}", R::NAME)),
    }
}

pub fn debts(host: &Host<'_>) -> Vec<Finding> {
    let owed: Debts = match records::read(&host.settings.host.state_dir, host.now) {
        Ok(owed) => owed,
        Err(why) => return vec![Finding::unknown("", why.to_string())],
    };
    let found: Vec<Finding> = owed
        .debts
        .iter()
        .map(|debt| {
            let why = format!("owed since {}: {}", debt.since().utc(), debt.why());
            let old = match host.now.since(debt.since()) {
                Age::Known(age) => age > DEBT_AGE_MAX,
                Age::ClockFault | Age::Impossible => true,
            };
            let finding = if old {
                Finding::fault(debt.target(), why)
            } else {
                Finding::warn(debt.target(), why)
            };
            finding.mended_by(match debt.kind() {
                "worker" => "systemctl start --no-block unwedge-worker.service",
                _ => "systemctl start --no-block unwedge-mounts.service",
            })
        })
        .collect();
    or_ok(found, "nothing is owed")
}

pub fn room(host: &Host<'_>) -> Vec<Finding> {
    let settings = &host.settings.host;
    let dirs = [&settings.state_dir, &settings.run_dir, &settings.textfile_dir];
    let look = |dir: &&std::path::PathBuf| {
        let shown = text::path(dir);
        // own paths never lie on what may hang: that is refused before any check
        let stat = rustix::fs::statfs(dir.as_path());
        match stat {
            Err(rustix::io::Errno::NOENT) => Finding::ok(shown, "it is not there yet"),
            Err(errno) => Finding::unknown(shown, errno.to_string()),
            Ok(stat) => {
                let share = |free: u64, all: u64| {
                    if all == 0 { 100 } else { u128::from(free) * 100 / u128::from(all) }
                };
                let (bytes, inodes) =
                    (share(stat.f_bavail, stat.f_blocks), share(stat.f_ffree, stat.f_files));
                let said = format!("{bytes} % of its bytes and {inodes} % of its inodes are free");
                match bytes.min(inodes) {
                    0 => Finding::fault(
                        shown,
                        said + ": state could not be written, and then nothing is done",
                    ),
                    1..5 => Finding::warn(shown, said),
                    _ => Finding::ok(shown, said),
                }
            }
        }
    };
    dirs.iter().map(look).collect()
}
