//! Exit codes, in one place. What was found is in the plan and the metrics, not here.

use std::process::ExitCode;

/// Wrong usage of what answers 2 where something is wrong with the host: `EX_USAGE` of sysexits.h.
pub const WRONG_USAGE: u8 = 64;

/// How a run of a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The round did its job: healthy, repaired, held, or another run is at work.
    Fine,
    /// An action failed, or something that had to be seen could not be.
    Failed,
    /// Wrong usage, or a static fault in the config: nothing was done.
    Usage,
    /// A service that cannot do anything here until a person changes that, and must not be restarted.
    Unfit,
    /// A runner that the queue knows no more: another one has its jobs.
    Lost,
    /// A person ended it before it was over.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            // EX_CONFIG of sysexits.h; the unit's RestartPreventExitStatus=
            Self::Unfit => 78,
            Self::Lost => 3,
            // as a shell says of what ends by SIGINT
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The end of a copy of a program that does something for it, as a process can have it.
#[must_use]
pub fn of_copy(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(Exit::Failed.code()))
}
