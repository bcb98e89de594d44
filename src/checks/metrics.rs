//! Metrics: whether they can be written, whether they are, and whether a parser takes them.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Finding, Host};
use crate::config::metrics::Metrics;
use crate::manifest::{Start, Tool, WATCH};
use crate::manifest::{content, files};
use crate::probes::exposition::{self, Sample};
use crate::probes::install;
use crate::sys::{clock, command, text};

/// A watch writes every minute, whatever happens.
const WATCH_LIMIT: Duration = Duration::from_secs(180);

/// A watch takes up a change within a minute, and tells so in its next metrics.
const TAKES_UP: Duration = Duration::from_secs(120);

/// No tool writes as much, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Who asks a Prometheus.
const CURL: &str = "/usr/bin/curl";
/// How long that may take, by its own limit and by ours.
const CURL_SECONDS: &str = "5";
const CURL_LIMIT: Duration = Duration::from_secs(7);

pub fn directory(host: &Host<'_>) -> Vec<Finding> {
    let dir = &host.settings.host.textfile_dir;
    let shown = text::path(dir);
    if !host.has_systemd() {
        return Vec::new();
    }
    let lines = content::directories(&host.settings.host);
    let own: Vec<&str> = lines.lines().filter(|line| line.contains(shown.as_str())).collect();
    let file = content::directories_file(&host.settings.host, host.prefix);
    vec![if own.iter().all(|line| install::has_directories(line)) {
        Finding::ok(
            shown,
            "root and the service user may write there, and nobody replaces another's file",
        )
    } else {
        Finding::fault(shown, format!("it is missing, or not as it should be: {}", own.join("; ")))
            .mended_by(format!("systemd-tmpfiles --create {}", text::path(&file)))
    }]
}

pub fn files_fresh(host: &Host<'_>) -> Vec<Finding> {
    host.tools.iter().filter_map(|tool| of(host, tool)).collect()
}

pub fn alert_rules(host: &Host<'_>) -> Vec<Finding> {
    let Some(prometheus) = &host.settings.doctor.prometheus else { return Vec::new() };
    let rules = format!("{prometheus}/api/v1/rules?type=alert");
    // a program that runs as root speaks no HTTP of its own
    let words = [
        CURL,
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        CURL_SECONDS,
        "--proto",
        "=http,https",
        "--",
        &rules,
    ];
    let loaded = match command::run(&words.map(OsString::from), CURL_LIMIT) {
        Ok(done) if done.ok() => done.stdout,
        Ok(done) => {
            return vec![Finding::unknown(prometheus, format!("curl: {}", done.describe()))];
        }
        Err(failure) => {
            return vec![
                Finding::unknown(prometheus, failure.to_string()).mended_by("apt-get install curl"),
            ];
        }
    };
    let Some(loaded) = names_of(&loaded) else {
        return vec![Finding::unknown(prometheus, "its answer is none of a Prometheus")];
    };
    let shipped = files::alerts();
    let missing: Vec<&str> =
        shipped.iter().copied().filter(|name| !loaded.iter().any(|it| it == name)).collect();
    vec![if missing.is_empty() {
        Finding::ok(prometheus, format!("all {} alerts are loaded", shipped.len()))
    } else {
        let file = files::RULES.path(host.prefix);
        Finding::fault(prometheus, format!("these alerts are not loaded: {}", missing.join(", ")))
            .mended_by(format!(
                "cp {} /etc/prometheus/ && systemctl reload prometheus",
                text::path(&file)
            ))
    }]
}

/// The names of the alerts in an answer of `/api/v1/rules`.
fn names_of(answer: &[u8]) -> Option<Vec<String>> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let groups = answer.get("data")?.get("groups")?.as_array()?;
    let rules = groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten();
    Some(rules.filter_map(|rule| Some(rule.get("name")?.as_str()?.to_owned())).collect())
}

pub fn old_config(host: &Host<'_>) -> Vec<Finding> {
    let Ok(loaded) = &host.config else { return Vec::new() };
    if !host.has_systemd() || !host.runs(&WATCH) {
        return Vec::new();
    }
    let told = Told::by(host, &WATCH);
    let Some(digest) = told.and_then(|it| it.labels("unwedge_watch_config", "digest").next())
    else {
        return vec![Finding::unknown(WATCH.name, "it has not said yet which one it goes by")];
    };
    let places = loaded.files.iter().flat_map(|file| file.ancestors().take(2));
    let changed = places.filter_map(|place| Some((place, changed_ago(place)?)));
    let newest = changed.min_by_key(|(_, ago)| *ago);
    vec![match newest {
        _ if digest == loaded.digest() => Finding::ok(WATCH.name, format!("digest {digest}")),
        Some((place, ago)) if ago < TAKES_UP => Finding::ok(
            WATCH.name,
            format!(
                "{} was changed {} ago; it takes that up within a minute",
                text::path(place),
                text::duration(ago)
            ),
        ),
        Some(_) | None => Finding::warn(
            WATCH.name,
            format!(
                "it goes by a configuration of digest {digest}; as it is now it has {}",
                loaded.digest()
            ),
        )
        .mended_by(format!("systemctl restart --no-block {}", WATCH.service())),
    }]
}

/// How long ago what is there was last changed; a file that was only moved there changed its directory.
fn changed_ago(place: &Path) -> Option<Duration> {
    let changed = std::fs::metadata(place).and_then(|it| it.modified()).ok()?;
    let changed = changed.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(clock::since_epoch().saturating_sub(changed))
}

/// What a tool's metrics tell.
pub(super) struct Told<'a> {
    samples: Vec<Sample>,
    settings: &'a Metrics,
}

impl<'a> Told<'a> {
    pub(super) fn by(host: &Host<'a>, tool: &Tool) -> Option<Self> {
        let file = host.settings.host.textfile_dir.join(tool.metrics_file());
        let samples = exposition::parse(&read(&file).ok()?.0).ok()?;
        Some(Self { samples, settings: &host.settings.metrics })
    }

    /// The samples of a family by its usual name.
    fn of(&self, family: &str) -> impl Iterator<Item = &Sample> {
        let name = self.settings.name(family);
        self.samples.iter().filter(move |it| it.name == name)
    }

    pub(super) fn labels(&self, family: &str, label: &str) -> impl Iterator<Item = String> {
        let labels = self.of(family).flat_map(|it| &it.labels);
        labels.filter(move |(name, _)| name == label).map(|(_, value)| value.clone())
    }

    pub(super) fn value(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |it: &Sample, (name, value): &(&str, &str)| {
            it.labels.iter().any(|(other, said)| other == name && said == value)
        };
        let is = |it: &&Sample| labels.iter().all(|label| has(it, label));
        self.of(family).find(is).map(|it| it.value)
    }

    /// Whether it is told, and so.
    pub(super) fn is(&self, family: &str, labels: &[(&str, &str)]) -> bool {
        self.value(family, labels) == Some(1.0)
    }
}

/// A file of metrics, and when it was written. Not only root may write in their directory: what lies there is read by
/// root only if it is a file, and no longer than one may be.
fn read(path: &Path) -> io::Result<(Vec<u8>, SystemTime)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    Ok((bytes, about.modified()?))
}

fn of(host: &Host<'_>, tool: &Tool) -> Option<Finding> {
    let active = host.units().ok()?.get(&tool.enabled_unit())?.is_active();
    let limit = match tool.start {
        Start::Every { .. } | Start::Daily => {
            tool.stale_after(content::longest_round(tool, host.settings))?
        }
        Start::Always => WATCH_LIMIT,
        Start::AtBoot => return None,
    };
    if !active || !tool.is_needed(host.settings) {
        return None;
    }
    let path = host.settings.host.textfile_dir.join(tool.metrics_file());
    let start = format!("systemctl start --no-block {}", tool.service());
    let (bytes, written) = match read(&path) {
        Ok(file) => file,
        Err(error) => {
            return Some(
                Finding::warn(tool.name, format!("{}: {error}", text::path(&path)))
                    .mended_by(start),
            );
        }
    };
    let age = clock::since_epoch()
        .saturating_sub(written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    Some(match exposition::parse(&bytes) {
        Err(why) => Finding::fault(
            tool.name,
            format!("{}: {why}: node_exporter leaves the whole file out", text::path(&path)),
        )
        .mended_by(start),
        Ok(_) if age > limit => Finding::fault(
            tool.name,
            format!(
                "written {} ago, at most {} is right",
                text::duration(age),
                text::duration(limit)
            ),
        )
        .mended_by(start),
        Ok(_) => Finding::ok(tool.name, format!("written {} ago", text::duration(age))),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_somebody_put_in_place_of_metrics_is_told_and_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "a 1\n").unwrap();
        assert_eq!(read(&path("file")).unwrap().0, b"a 1\n");
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("/dev/zero", path("link")).unwrap();
        symlink("file", path("link-to-file")).unwrap();
        File::create(path("endless")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        File::create(path("longest")).unwrap().set_len(FILE_BYTES_MAX).unwrap();
        assert!(read(&path("longest")).is_ok());
        let said = |name: &str| read(&path(name)).unwrap_err().to_string();
        assert_eq!(said("fifo"), "it is no regular file");
        assert_eq!(said("."), "it is no regular file");
        assert_eq!(said("endless"), "it is too long");
        for name in ["link", "link-to-file"] {
            assert!(said(name).contains("symbolic link"), "{}", said(name));
        }
    }
}
