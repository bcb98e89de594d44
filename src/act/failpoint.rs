//! Places where a test may kill the process: before and after every step and every write of state.
//! Built only with the `failpoints` feature; otherwise [`reached`] is nothing.

/// The moments around a step or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything of it.
    Before,
    /// When a new file is whole on disk and not yet in its place.
    Between,
    /// When it is done.
    After,
}

impl Moment {
    /// Those around a step.
    pub const OF_STEP: [Self; 2] = [Self::Before, Self::After];
    /// Those around a write.
    pub const OF_WRITE: [Self; 3] = [Self::Before, Self::Between, Self::After];

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Between => "between",
            Self::After => "after",
        }
    }
}

/// The variable that names the place to die at, `before:detach` or `between:mounts.json`, with
/// `#2` behind it for the second time it is reached. With `UNWEDGE_FAILPOINT_LOG=FILE` every place
/// reached is written there.
pub const VARIABLE: &str = "UNWEDGE_FAILPOINT";

/// Dies here, by SIGKILL, when the environment says so.
#[cfg(feature = "failpoints")]
pub fn reached(moment: Moment, what: &str) {
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::sync::Mutex;
    static SEEN: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let here = format!("{}:{what}", moment.name());
    let mut seen = SEEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = seen.entry(here.clone()).or_default();
    *count += 1;
    let here = format!("{here}#{count}");
    if let Some(log) = std::env::var_os("UNWEDGE_FAILPOINT_LOG")
        && let Ok(mut log) = std::fs::OpenOptions::new().create(true).append(true).open(log)
    {
        let _ = writeln!(log, "{here}");
    }
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    if wanted == here || format!("{wanted}#1") == here {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
pub fn reached(_moment: Moment, _what: &str) {}
