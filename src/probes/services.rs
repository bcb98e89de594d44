//! What the service manager says of many units at once, for the installer and the checks: as it says it, because a
//! check shows the evidence. What a round decides by is read elsewhere, property by property.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemctl::{self, Properties};

/// The properties asked for.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,\
    NeedDaemonReload,MainPID,ControlGroup,ExecMainStatus,ActiveEnterTimestampMonotonic,\
    InactiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic,Restart,RestartUSec,StartLimitBurst,\
    StartLimitIntervalUSec,TimeoutStartUSec,TimeoutStopUSec,KillMode,After,Requires,BindsTo,PartOf,Wants,\
    StopPropagatedFrom,PrivateMounts,PrivateTmp,User";

/// One unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(Properties);

impl Shown {
    /// What is said of `property`; nothing where there is no such one.
    #[must_use]
    pub fn get(&self, property: &str) -> &str {
        self.0.get(property)
    }

    /// One of which this is said.
    #[cfg(test)]
    pub fn of(said: &[(&str, &str)]) -> Self {
        let lines: Vec<String> =
            said.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self(Properties::of(&lines.join("\n")))
    }

    /// Whether systemd has read a file for it.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading" | "refreshing")
    }

    /// Whether it is started at boot.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        matches!(self.get("UnitFileState"), "enabled" | "enabled-runtime")
    }

    /// Its file and its drop-ins.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.get("FragmentPath"))
            .chain(self.0.names("DropInPaths"))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    }

    /// Its main process.
    #[must_use]
    pub fn main_pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid != 0)
    }

    /// A moment since this boot; none where it never came.
    #[must_use]
    pub fn moment(&self, property: &str) -> Option<Duration> {
        let us = self.get(property).parse().ok().filter(|us| *us != 0)?;
        Some(Duration::from_micros(us))
    }

    /// A length of time, as systemctl prints it; none for one without an end.
    #[must_use]
    pub fn time(&self, property: &str) -> Option<Duration> {
        humantime::parse_duration(self.get(property)).ok()
    }

    /// Whether `unit` is among the names of `property`.
    #[must_use]
    pub fn names(&self, property: &str, unit: &str) -> bool {
        self.0.names(property).any(|name| name == unit)
    }
}

/// Asks for all `names` at once.
///
/// # Errors
/// What systemctl said, or that it did not end within `limit`.
pub fn show(
    systemctl: &Path,
    names: &[String],
    limit: Duration,
) -> Result<BTreeMap<String, Shown>, String> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let shown = systemctl::show(systemctl, PROPERTIES, names, limit)?;
    Ok(names.iter().cloned().zip(shown.into_iter().map(Shown)).collect())
}

/// Whether systemd is PID 1 here, as `sd_booted(3)` finds out.
#[must_use]
pub fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The version of systemd that runs here; `None` where another program is PID 1.
///
/// # Errors
/// It runs, and does not answer.
pub fn version(systemctl: &Path, limit: Duration) -> Result<Option<u32>, String> {
    if !is_running() {
        return Ok(None);
    }
    let said = systemctl::run(systemctl, &["show", "-P", "Version"], "show", limit)?;
    let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().map(Some).map_err(|_| format!("a version that is no number: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_understood() {
        let shown: Vec<Shown> = systemctl::blocks(
            "Id=a.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
             FragmentPath=/lib/a\nDropInPaths=/etc/a.d/x /etc/a.d/y\nMainPID=7\n\
             ActiveEnterTimestampMonotonic=5\nInactiveEnterTimestampMonotonic=0\n\
             TimeoutStopUSec=1min 30s\nRestartUSec=infinity\nAfter=b.service c.mount\n\n\
             Id=b.service\nLoadState=not-found\nActiveState=inactive\nMainPID=0\n",
        )
        .into_iter()
        .map(Shown)
        .collect();
        let [a, b] = shown.as_slice() else { panic!("{shown:?}") };
        assert!(a.is_loaded() && a.is_active() && a.is_enabled());
        assert_eq!(a.files().count(), 3);
        assert_eq!((a.main_pid(), b.main_pid()), (Some(7), None));
        assert_eq!(a.moment("ActiveEnterTimestampMonotonic"), Some(Duration::from_micros(5)));
        assert_eq!(a.moment("InactiveEnterTimestampMonotonic"), None);
        assert_eq!(a.time("TimeoutStopUSec"), Some(Duration::from_secs(90)));
        assert_eq!(a.time("RestartUSec"), None);
        assert!(a.names("After", "c.mount") && !a.names("After", "c"));
        assert!(!b.is_loaded() && !b.is_active() && b.files().next().is_none());
    }
}
