//! Writing records, metrics and the storage gate: whole or not at all. A new file is written beside
//! the old one, flushed, renamed over it, and the directory flushed, so that a crash at any moment
//! leaves the old or the new.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use super::failpoint::{self, Moment};
use crate::config::Host;
use crate::manifest::Tool;
use crate::probes::records::{self, Record};
use crate::sys::clock::Now;
use crate::sys::text;

/// A temporary file older than this was left by a run that was killed.
const LEFTOVER_AGE: Duration = Duration::from_secs(3_600);

/// Whether a file must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It must: state, debts.
    Flushed,
    /// It is written anew each round: metrics.
    Fleeting,
}

/// Writes a record.
///
/// # Errors
/// It is not on disk; the old one still is.
pub fn record<R: Record>(state_dir: &Path, record: &R) -> Result<()> {
    std::fs::create_dir_all(state_dir)
        .with_context(|| format!("make directory {}", text::path(state_dir)))?;
    let bytes = records::render(record).context("render state")?;
    replace(&records::path_of::<R>(state_dir), &bytes, Durability::Flushed)
}

/// Puts `bytes` at `path` in one step, mode 0644.
///
/// # Errors
/// The file is not replaced; what was there still is.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let name = path.file_name().context("a path without a file name")?;
    let shown = text::name(name);
    failpoint::reached(Moment::Before, &shown);
    let dir = path.parent().context("a path without a directory")?;
    let whole = || format!("write {}", text::path(path));
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{shown}."))
        .suffix(".tmp")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(dir)
        .with_context(whole)?;
    file.write_all(bytes).with_context(whole)?;
    // the umask of whoever started us must not hide metrics from their reader
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).with_context(whole)?;
    match durability {
        Durability::Flushed => file.as_file().sync_all().with_context(whole)?,
        Durability::Fleeting => {}
    }
    failpoint::reached(Moment::Between, &shown);
    file.persist(path).with_context(whole)?;
    match durability {
        Durability::Flushed => {
            std::fs::File::open(dir).and_then(|dir| dir.sync_all()).with_context(whole)?;
        }
        Durability::Fleeting => {}
    }
    failpoint::reached(Moment::After, &shown);
    Ok(())
}

/// Removes temporary files that a killed round of `tool` left beside its records and its metrics; called under its
/// lock.
pub fn sweep_of(tool: &Tool, host: &Host, now: &Now) {
    let records: Vec<String> = tool.record_files().collect();
    sweep(&tool.state_dir(host), &records.iter().map(String::as_str).collect::<Vec<_>>(), now);
    sweep(&host.textfile_dir, &[&tool.metrics_file()], now);
}

/// Removes temporary files of ours that a killed run left in `dir`; called under the tool's lock.
pub fn sweep(dir: &Path, names: &[&str], now: &Now) {
    let now = UNIX_EPOCH + Duration::from_millis(now.utc_ms);
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = names.iter().any(|ours| name.starts_with(&format!(".{ours}.")));
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|made| now.duration_since(made).is_ok_and(|age| age > LEFTOVER_AGE));
        if ours && name.ends_with(".tmp") && old {
            // what cannot be removed now is tried again next round
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_readable_by_all_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.prom");
        for text in ["first\n", "second\n"] {
            replace(&path, text.as_bytes(), Durability::Fleeting).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_our_own_old_leftovers_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let names = [".x.prom.abc.tmp", ".y.prom.abc.tmp", "x.prom", ".x.prom.keep"];
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let made = std::fs::metadata(dir.path().join("x.prom")).unwrap().modified().unwrap();
        let later = |s: u64| {
            let utc = made.duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(s);
            let utc_ms = u64::try_from(utc.as_millis()).unwrap();
            Now { utc_ms, boot_ms: 0, boot_id: String::new() }
        };
        let count = || std::fs::read_dir(dir.path()).unwrap().count();
        sweep(dir.path(), &["x.prom"], &later(LEFTOVER_AGE.as_secs() - 1));
        assert_eq!(count(), 4);
        sweep(dir.path(), &["x.prom"], &later(LEFTOVER_AGE.as_secs() + 1));
        assert_eq!(count(), 3);
        assert!(!dir.path().join(names[0]).exists());
    }
}
