//! The command lines, in one place: the programs parse with them, and man pages and completions are
//! made from them, so that none of the three can differ from the others.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// Every program of this package with its definition.
#[must_use]
pub fn programs() -> Vec<Command> {
    // the page of `unwedge-mounts` takes the place of that of the verb group `unwedge mounts`, whose
    // verbs have pages of their own
    vec![
        Unwedge::command(),
        Mounts::command(),
        Binds::command(),
        WorkerTool::command(),
        Jobs::command(),
        RunnerTool::command(),
        Watch::command(),
        VerifyOps::command(),
        Canary::command(),
        NotifyTool::command(),
    ]
}

/// Flags that every tool has.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Use this file instead of /etc/unwedge/unwedge.toml and conf.d
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Print one JSON object (schema 1)
    #[arg(long, global = true)]
    pub json: bool,

    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// How the tools of timers end.
const OF_A_ROUND: &str = "It ends with 0 when the round did its job, with 1 when something failed or could not be seen or written, and with 2 when \
    it was called or configured wrongly: then nothing was done.";
/// How a verb ends.
const OF_A_VERB: &str = "It ends with 0 when it did what it says, with 1 when that failed or something it was asked for did not go well, and with 2 when \
    it was called or configured wrongly: then nothing was done. status and doctor end with 0, 1 or 2 for well, warning and fault, and with 64 when \
    they are called wrongly.";

/// Look at every watched mount, say what is broken, and with --apply repair exactly that
///
/// Without a config it shows every FUSE and network mount of the host and touches nothing. Without
/// --apply it shows the plan and writes nothing anywhere. With --apply it acts only while the
/// sentinel `mounts` is there and HALT is not.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-mounts", version, after_help = OF_A_ROUND)]
pub struct Mounts {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Carry the plan out, as far as every gate allows
    #[arg(long)]
    pub apply: bool,
}

/// Put the binds of the table in place: at boot, after the storage and before the worker
///
/// Does of a round of unwedge-mounts only the binds, onto storage that is live, with --apply and the
/// sentinel `binds`. With --apply it waits for the storage first, for each base as long as its `wait`.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-binds", version, after_help = OF_A_ROUND)]
pub struct Binds {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Carry the plan out, as far as every gate allows
    #[arg(long)]
    pub apply: bool,

    /// Fail unless every bind is in place in the end: for a unit that others wait for
    #[arg(long)]
    pub require: bool,
}

/// Start the worker when it is down, should run, and can
///
/// Looks at the worker, the storage it needs, its queue and the room that is left, and says whether it would
/// start the worker, or every reason why not. With --apply and the sentinel `worker` it does, and sees that
/// the worker stays up. Without --apply it writes nothing anywhere.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-worker", version, after_help = OF_A_ROUND)]
pub struct WorkerTool {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Carry the plan out, as far as every gate allows
    #[arg(long)]
    pub apply: bool,
}

/// Look into the job queue, as the service user
///
/// Without a verb it does one round: it reads the queue of `[queue]` and shows it. With --apply it also
/// keeps the reading as the last good one and writes metrics. Another's queue is only read; of unwedge's own it takes out what
/// is kept no longer, and gives back what nobody is at any more, while the sentinel `jobs` is there. Without --apply it tells
/// what of that it would do now, and changes nothing.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-jobs", version, after_help = OF_A_ROUND)]
pub struct Jobs {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Keep the reading and write metrics
    #[arg(long)]
    pub apply: bool,

    /// What to do instead of a round.
    #[command(subcommand)]
    pub verb: Option<JobsVerb>,
}

/// What `unwedge-jobs` can do besides a round.
#[derive(Subcommand, Clone, Debug)]
pub enum JobsVerb {
    /// Show what the queue holds and write nothing; the tools that run as root ask this way
    Facts,
    /// Keep the jobs that come next from being taken for a time, where their output lies on storage that is
    /// broken: moves the not-before column that `[queue.table] hold_back` names, of rows that still wait
    HoldBack {
        /// For how long, such as 10m
        #[arg(long = "for", value_name = "TIME", default_value = "10m")]
        time: String,
        /// Only say what would be held back
        #[arg(long)]
        dry_run: bool,
        /// Leave those that write at or below this path, which is storage of its own
        #[arg(long, value_name = "PATH")]
        except: Vec<PathBuf>,
        /// Jobs that write at or below these paths
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Give running rows that nobody is at back to the queue: they are set to the first `retryable` state of the
    /// map, or the first `pending` one. Whether nobody is at them is for the caller to know; unwedge-worker asks
    /// five witnesses first
    Recover {
        /// Only say what would be given back
        #[arg(long)]
        dry_run: bool,
        /// Rows as ID@START, with the start as `facts --json` shows it (`started_utc_ms`); one that was taken
        /// again since is left
        #[arg(required = true, value_name = "ROW")]
        rows: Vec<String>,
    },
}

/// Claim jobs of unwedge's own queue and run them
///
/// A service for systemd, run as the service user. Each type of job is a file in [jobs] dir. It waits for a queue that is
/// away, takes no job whose storage is not open, and leaves no process of a job behind. A second one says that one is
/// running already, and ends with 0. It ends with 3 when the queue knows it no more, and with 78 when a person has to
/// change something first.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-runner", version)]
pub struct RunnerTool {
    /// Use this file instead of /etc/unwedge/unwedge.toml and conf.d
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Work off what can be claimed now, and end
    #[arg(long)]
    pub once: bool,

    /// How many of a type at once, as [jobs] concurrency
    #[arg(long, value_name = "N")]
    pub concurrency: Option<String>,

    /// How commands are run, as [jobs] mode
    #[arg(long, value_parser = ["direct", "container"])]
    pub mode: Option<String>,

    /// The image of containers, as [jobs] image
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
}

/// Start a round of unwedge-mounts the moment a watched mount's daemon ends or the mount is taken away
///
/// A service for systemd, run as root. It asks no mount anything, repairs nothing itself and needs no
/// permission: all it does is start unwedge-mounts.service. The timer goes on doing its work beside it.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-watch", version)]
pub struct Watch {
    /// Use this file instead of /etc/unwedge/unwedge.toml and conf.d
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Find out whether the probe can be trusted
///
/// Makes a mount that is dead, in a mount namespace that nobody else sees, and has the probe of the rounds look at it.
/// Anything but `dead` is a failure. Needs root, and changes nothing on the host.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-canary", version)]
pub struct Canary {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Write what came of it as metrics and into the journal, instead of saying it
    #[arg(long)]
    pub metrics: bool,
}

/// Tell somebody of incidents: one message when one begins, one when it is over
///
/// Shows what would be sent. With --apply and the sentinel `notify` it is sent, by every way of [notify]; what cannot be
/// delivered is kept and tried again. It runs as the service user, and so it does when root starts it.
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge-notify", version)]
pub struct NotifyTool {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// Send
    #[arg(long)]
    pub apply: bool,

    /// Send a message that says it is a test, by every way, at once and without a sentinel
    #[arg(long, conflicts_with = "apply")]
    pub test: bool,
}

/// Look at everything that was installed, and then at what each tool would do now
///
/// It only looks, at units, timers, permissions, locks, records, metrics, the worker's own unit, mounts and the queue, and
/// runs the dry run of every tool. It ends with 0 if all is well, 1 with a warning or something that could not be
/// looked at, 2 with a fault, and 64 when it was called wrongly.
#[derive(Parser, Clone, Debug)]
#[command(name = "verify-ops", version)]
pub struct VerifyOps {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// This check, or this tool, must be ok: anything else is a fault. May be given more than once
    #[arg(long, value_name = "NAME")]
    pub require: Vec<String>,

    /// Show only what is not ok, and no plans
    #[arg(long)]
    pub quiet: bool,

    /// Write what was found as metrics, too: the one file that this program ever writes
    #[arg(long)]
    pub metrics: bool,
}

/// Operator's verbs
#[derive(Parser, Clone, Debug)]
#[command(name = "unwedge", version, after_help = OF_A_VERB)]
pub struct Unwedge {
    /// Flags that every tool has.
    #[command(flatten)]
    pub common: Common,

    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the operator can do.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Permit and forbid kinds of act
    #[command(subcommand)]
    Sentinel(SentinelVerb),
    /// Pause a kind of act for a time
    #[command(subcommand)]
    Hold(HoldVerb),
    /// Mend what a tool remembers
    #[command(subcommand)]
    State(StateVerb),
    /// What unwedge-mounts remembers of single paths
    #[command(subcommand)]
    Mounts(MountsVerb),
    /// Binds and the bare directories below them
    #[command(subcommand)]
    Binds(BindsVerb),
    /// The worker
    #[command(subcommand)]
    Worker(WorkerVerb),
    /// Show what is owed: what was taken away and must be put back
    Debts,
    /// Show incidents, newest first; with an ID the whole story of one: what was seen, done and refused, and when
    Incidents {
        /// One of them, such as 2026-11-23-1
        id: Option<String>,
    },
    /// Pretend, to see what would happen and who is told
    #[command(subcommand)]
    Drill(DrillVerb),
    /// Work through files with a command, and end when all are done
    ///
    /// Each file is a job in a queue: what a run before has done is not done again, and what it left is gone on with. It
    /// needs no configuration. An interrupted run leaves no process behind. It ends with 0 where all are done, with 1 where
    /// some are not, with 2 where nothing was begun as it was called wrongly, and with 130 where it was interrupted.
    Run(Run),
    /// Put jobs into unwedge's own queue, look at them, change them
    #[command(subcommand)]
    Jobs(JobsOf),
    /// The lanes of the queue, one for each type of job
    #[command(subcommand)]
    Lanes(LanesVerb),
    /// The workers of the queue
    #[command(subcommand)]
    Workers(WorkersVerb),
    /// The queue itself
    #[command(subcommand)]
    Queue(QueueVerb),
    /// One screen: storage, worker, lanes, what waits for how long and why, incidents; ends with 0 ok, 1 warning or
    /// unknown, 2 fault
    Status(Status),
    /// Say what is wrong here, worst first, and the command that mends it; it only looks
    Doctor,
    /// Put programs, units and pages in place; nothing is enabled, started or armed that was not asked for
    ///
    /// First it looks at what it stands on, and lists every lack before it touches anything. A second run changes
    /// nothing. Services that run what was replaced are restarted, the worker only once no job runs.
    Install(Install),
    /// Switch everything off and take away what was installed; configuration, permissions and state stay
    Uninstall(Uninstall),
    /// Write a file into a directory as a user, and take it back
    #[command(hide = true)]
    CanWrite {
        /// As whom
        #[arg(long)]
        user: String,
        /// Where
        dir: PathBuf,
    },
    /// Watch a real mount die, hang and be healed, in a namespace of its own
    Demo {
        /// Already in that namespace: go on with the show
        #[arg(long, hide = true)]
        on_stage: bool,
    },
    /// Serve a FUSE mount that dies, hangs or lies on command: for tests and drills
    Faultfs(Faultfs),
    /// Write man pages and shell completions
    #[command(hide = true)]
    Generate {
        /// Into this directory
        dir: PathBuf,
    },
}

impl Verb {
    /// Of a verb that changes something: whether it is only to say what it would do.
    #[must_use]
    pub fn is_dry_run(&self) -> Option<bool> {
        match self {
            Self::Sentinel(
                SentinelVerb::Arm { dry_run, .. } | SentinelVerb::Disarm { dry_run, .. },
            )
            | Self::Hold(HoldVerb::Set { dry_run, .. } | HoldVerb::Clear { dry_run, .. })
            | Self::State(StateVerb::Reset { dry_run, .. })
            | Self::Mounts(MountsVerb::Forget { dry_run, .. })
            | Self::Binds(BindsVerb::Guard { dry_run, .. })
            | Self::Worker(WorkerVerb::Restart { dry_run, .. })
            | Self::Drill(DrillVerb::Alert { dry_run, .. })
            | Self::Run(Run { dry_run, .. })
            | Self::Jobs(
                JobsOf::Submit(Submit { dry_run, .. })
                | JobsOf::Retry(Change { dry_run, .. })
                | JobsOf::Cancel(Change { dry_run, .. })
                | JobsOf::Release(Change { dry_run, .. })
                | JobsOf::Quarantine { dry_run, .. },
            )
            | Self::Lanes(LanesVerb::Pause { dry_run, .. } | LanesVerb::Resume { dry_run, .. })
            | Self::Workers(
                WorkersVerb::Start { dry_run }
                | WorkersVerb::Stop { dry_run, .. }
                | WorkersVerb::Reap { dry_run, .. }
                | WorkersVerb::Cleanup { dry_run, .. },
            )
            | Self::Queue(QueueVerb::WantVersion { dry_run, .. })
            | Self::Install(Install { dry_run, .. })
            | Self::Uninstall(Uninstall { dry_run, .. }) => Some(*dry_run),
            _ => None,
        }
    }
}

/// Files to work through.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Where each result goes, such as out/{stem}.txt
    #[arg(long, value_name = "TEMPLATE")]
    pub output: Option<String>,

    /// By this file of a job type in place of a command, or the type of this name in [jobs] dir, whose jobs are the same as
    /// those of `jobs submit`
    #[arg(long, value_name = "TYPE", conflicts_with_all = ["command", "output"])]
    pub r#type: Option<PathBuf>,

    /// The queue, a URL of SQLite or PostgreSQL or the path of a file that holds one; a file of the user's own where it is not
    /// given
    #[arg(long, value_name = "URL")]
    pub queue: Option<String>,

    /// Try anew what was put aside, too: conflicts, what can never go well, and what ended its worker three times; make what was
    /// called off after all; and at once what waits after a failure
    #[arg(long)]
    pub again: bool,

    /// How many at once, also as TYPE=N; where it is not given, of a command as many as there are cores, and of a type as its
    /// file says
    #[arg(long, value_name = "[TYPE=]N")]
    pub count: Option<String>,

    /// Work with processes of its own, also where another run of the same is at work on this queue
    #[arg(long)]
    pub fresh: bool,

    /// Run the command so, whatever the type says
    #[arg(long, value_parser = ["direct", "container"])]
    pub mode: Option<String>,

    /// The image, of --mode container
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,

    /// Only say what would be done with each file
    #[arg(long)]
    pub dry_run: bool,

    /// What to work on
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The command, with {input}, {output}, {name}, {stem} and {id} in it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Which queue a verb speaks to.
#[derive(Args, Clone, Debug, Default)]
pub struct QueueAt {
    /// The queue, a URL of SQLite or PostgreSQL or the path of a file that holds one; where it is not given that of [queue], else
    /// the user's own of `unwedge run`
    #[arg(long, value_name = "URL")]
    pub queue: Option<String>,
}

/// What can be done with jobs.
#[derive(Subcommand, Clone, Debug)]
pub enum JobsOf {
    /// Put in a job for each file; one that is there already is that one, and nothing is put in twice
    Submit(Submit),
    /// List jobs, the newest first; without a filter those that are not done
    List {
        /// Which ones
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        most: u32,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Everything that is known of one job: its tries, what was done to it, why it is not running
    Show {
        /// Its number
        id: i64,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Why a job is not running
    Why {
        /// Its number
        id: i64,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// What the commands of a job said, if it ran on this host: the beginning and the end of it
    Logs {
        /// Its number
        id: i64,
        /// Of this try; the last one where it is not given
        #[arg(long = "try", value_name = "N")]
        nth: Option<i64>,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Let jobs that failed, were called off or wait begin anew, with nothing used up; one that is done where its number is given
    Retry(Change),
    /// Call jobs off: at once what waits, at its worker's next sign of life what runs
    Cancel(Change),
    /// Let jobs out of quarantine, with nothing used up
    Release(Change),
    /// Put in a job that does nothing, and say how long each stage of it took; nothing of it is left
    Smoke {
        /// Wait no longer than this
        #[arg(long, value_name = "TIME", default_value = "60s")]
        timeout: String,
        /// Put --file into this intake instead, await the result of its job, and remove both
        #[arg(long, value_name = "INTAKE", requires = "file")]
        via: Option<String>,
        /// An input that its type can do something with
        #[arg(long, value_name = "FILE", requires = "via")]
        file: Option<PathBuf>,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Put waiting jobs aside by a rule; what they work on stays where it is
    Quarantine {
        /// The rule: type=NAME, class=NAME, age=TIME (put in at least so long ago), input=PATH (it, or what lies below),
        /// stamp=missing or stamp=malformed; all of it must hold, and it may be said in several, or with commas between
        #[arg(long = "where", value_name = "RULE", required = true)]
        rule: Vec<String>,
        /// Why, for whoever finds them
        #[arg(long, value_name = "REASON")]
        because: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
}

/// Jobs to be put in.
#[derive(Args, Clone, Debug)]
pub struct Submit {
    /// The type: one of [jobs] dir, or a file
    #[arg(value_name = "TYPE")]
    pub kind: String,

    /// What to work on
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Higher ones are taken first; where it is not given that of the type
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i64>,

    /// What is written on the jobs, such as when the files were made (2026-01-24T03:12:07Z)
    #[arg(long, value_name = "TEXT")]
    pub stamp: Option<String>,

    /// Wait until they are over, and say what came of them
    #[arg(long)]
    pub wait: bool,

    /// Wait no longer than this
    #[arg(long, value_name = "TIME", default_value = "120s", requires = "wait")]
    pub timeout: String,

    /// Put nothing in unless a worker is there that can take it
    #[arg(long)]
    pub require_capable: bool,

    /// Only say what would be put in
    #[arg(long)]
    pub dry_run: bool,

    /// Where
    #[command(flatten)]
    pub at: QueueAt,
}

/// Which jobs.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Of this type
    #[arg(long = "type", value_name = "NAME")]
    pub kind: Option<String>,
    /// Whose last failure was of this class: failed, timed-out, permanent, conflict, infrastructure, configuration, crashed;
    /// or that a person has put aside: set-aside
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// That stand so: pending, retryable, running, done, failed, cancelled, quarantined
    #[arg(long = "state", value_name = "NAME", value_delimiter = ',')]
    pub states: Vec<String>,
    /// That were put in at least so long ago
    #[arg(long, value_name = "TIME")]
    pub older: Option<String>,
    /// That work on this, or on what lies below it
    #[arg(long, value_name = "PATH")]
    pub input: Option<PathBuf>,
}

/// A change of jobs.
#[derive(Args, Clone, Debug)]
pub struct Change {
    /// These
    #[arg(value_name = "ID")]
    pub ids: Vec<i64>,
    /// Those
    #[command(flatten)]
    pub filter: Filter,
    /// Every one that can be changed so
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Where
    #[command(flatten)]
    pub at: QueueAt,
}

/// Lanes.
#[derive(Subcommand, Clone, Debug)]
pub enum LanesVerb {
    /// Every lane: whether it is open, and what its jobs do
    List {
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Hand out nothing of these types until they are resumed; what runs goes on
    Pause {
        /// The types
        #[arg(required = true, value_name = "TYPE")]
        types: Vec<String>,
        /// Why, for whoever finds it
        #[arg(long, value_name = "REASON")]
        because: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Open lanes that were paused, or that were closed because their type did not work
    Resume {
        /// The types
        #[arg(required = true, value_name = "TYPE")]
        types: Vec<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
}

/// Workers.
#[derive(Subcommand, Clone, Debug)]
pub enum WorkersVerb {
    /// Every worker: how it is, what it does, what it can and lacks
    List {
        /// Those that ended within the last day, too
        #[arg(long)]
        dead: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Start the runner of this host, and return once the queue knows it: its unit, where systemd has it, else a process that
    /// stays. After three tries of ten seconds it gives up, with the end of what the runner said; nothing is left of a process,
    /// and a unit stays what systemd makes of it
    Start {
        /// Only say what would be started
        #[arg(long)]
        dry_run: bool,
    },
    /// Ask workers to end: they take no more, and what runs has its time. The unit of this host is stopped by systemd, as root
    Stop {
        /// These, by the beginning of their names
        #[arg(value_name = "WORKER")]
        ids: Vec<String>,
        /// All of this host
        #[arg(long, conflicts_with = "ids")]
        here: bool,
        /// Wait no longer than this until they are gone
        #[arg(long, value_name = "TIME", default_value = "2m")]
        timeout: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Show processes of jobs whose worker is gone, and end those; what is of another user or cannot be told is only shown
    Reap {
        /// Those of these workers alone: of processes by the beginning of their names, of containers by the whole
        #[arg(value_name = "WORKER")]
        ids: Vec<String>,
        /// Those alone
        #[arg(long, value_name = "WHAT")]
        only: Option<Reaped>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take those out of the list that are gone; what they had goes back. One that gives a sign of life is never touched
    Cleanup {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
}

/// What a worker that is gone may have left.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// Processes of jobs
    Processes,
    /// Containers of jobs
    Containers,
}

/// The queue.
#[derive(Subcommand, Clone, Debug)]
pub enum QueueVerb {
    /// Whether it can be used: where it is, whose, which version, how long an answer takes
    Check {
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
    /// Want workers to be of this version or later; older ones begin nothing more, end as if they were asked to, and stay down
    WantVersion {
        /// Such as 0.2.0
        version: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where
        #[command(flatten)]
        at: QueueAt,
    },
}

/// The screen.
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// Again and again, every two seconds
    #[arg(long)]
    pub watch: bool,
    /// Where
    #[command(flatten)]
    pub at: QueueAt,
}

/// Drills.
#[derive(Subcommand, Clone, Debug)]
pub enum DrillVerb {
    /// Show the plan that would be made if a mount were broken; always a dry run, and nothing is remembered
    Mount {
        /// A path of the configuration
        path: PathBuf,
        /// As what: dead, hung, absent
        #[arg(long = "as", value_name = "VERDICT", default_value = "dead")]
        verdict: String,
    },
    /// Write a metric that fires the drill's alert, and take it away again
    Alert {
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "10m")]
        time: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// An installation.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct Install {
    /// Below this; default: where it is installed, /usr for a package, else /usr/local
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// Only put the files below this directory: for making packages
    #[arg(long, value_name = "DIR", conflicts_with_all = ["enable", "start", "drop_ins", "now", "skip_restart", "dry_run"])]
    pub root: Option<PathBuf>,
    /// Only these tools: mounts, binds, worker, jobs, runner, watch, notify, verify, canary; default: those that are installed, or all
    #[arg(long, value_name = "TOOLS", value_delimiter = ',')]
    pub only: Option<Vec<String>>,
    /// Start these tools at boot, of those that --only names
    #[arg(long, value_name = "TOOLS", value_delimiter = ',')]
    pub enable: Option<Vec<String>>,
    /// Start those that --enable names now, too; binds come with boot and with what requires them
    #[arg(long, requires = "enable")]
    pub start: bool,
    /// Drop-ins for units of this host: worker-after-binds, worker-after-storage, worker-stop-limit,
    /// binds-after-storage, mount-unit-on-failure, runner-docker
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub drop_ins: Option<Vec<String>>,
    /// Restart who runs old code at once, the worker too, whether jobs run or not
    #[arg(long, conflicts_with = "skip_restart")]
    pub now: bool,
    /// Restart nobody
    #[arg(long)]
    pub skip_restart: bool,
    /// Called by a package's own script: whatever is lacking, the rest is seen to
    #[arg(long, hide = true)]
    pub packaged: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// An uninstallation.
#[derive(Args, Clone, Debug, Default)]
pub struct Uninstall {
    /// Below this; default: where it is installed
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// Called by a package's own script: whatever is lacking, the rest is seen to
    #[arg(long, hide = true)]
    pub packaged: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Configuration.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum ConfigVerb {
    /// Say whether the configuration is right; if not, file, line, key and the nearest right key
    Check,
    /// Print every setting and where it comes from
    Show,
}

/// Binds.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum BindsVerb {
    /// Make the bare directories below bases and hot paths refuse writes, so that nothing is lost
    /// below a mount: immutable where the file system knows that, else mode 000
    Guard {
        /// Take back what this has guarded
        #[arg(long)]
        undo: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Sentinels.
#[derive(Subcommand, Clone, Debug)]
pub enum SentinelVerb {
    /// Show which kinds of act are permitted
    List,
    /// Permit a kind of act, after a rehearsal
    Arm {
        /// Which kind: mounts, binds, worker, recover, jobs, notify
        kind: String,
        /// Arm without a rehearsal of the last 24 h; recorded in the sentinel
        #[arg(long, value_name = "REASON")]
        because: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Forbid a kind of act
    Disarm {
        /// Which kind: mounts, binds, worker, recover, jobs, notify
        kind: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Holds.
#[derive(Subcommand, Clone, Debug)]
pub enum HoldVerb {
    /// Pause a kind of act; the pause ends by itself
    Set {
        /// Which kind: mounts, binds, worker, recover, jobs, notify
        kind: String,
        /// For how long: 30m, 2h, 1day
        #[arg(long = "for", value_name = "TIME")]
        time: String,
        /// Why, for whoever finds it
        #[arg(long, value_name = "REASON")]
        because: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Show pauses
    List,
    /// End a pause
    Clear {
        /// Which kind
        kind: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// State.
#[derive(Subcommand, Clone, Debug)]
pub enum StateVerb {
    /// Put an unreadable state aside (the old file is kept) and begin anew
    Reset {
        /// Which record: mounts, worker, debts, holds
        record: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// The worker.
#[derive(Subcommand, Clone, Debug)]
pub enum WorkerVerb {
    /// Restart the worker while no job runs, and see that it stays up
    Restart {
        /// Wait until no job runs, instead of refusing at once
        #[arg(long)]
        when_idle: bool,
        /// Wait no longer than this: 30m, 2h
        #[arg(long = "for", value_name = "TIME", default_value = "2h")]
        time: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Single mounts.
#[derive(Subcommand, Clone, Debug)]
pub enum MountsVerb {
    /// Forget a path that was detached and will not be mounted again
    Forget {
        /// The path
        path: PathBuf,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// The fault daemon.
#[derive(Args, Clone, Debug)]
pub struct Faultfs {
    /// Where to mount it
    pub mountpoint: PathBuf,
    /// alive, swallow, stop, slow:250ms, errno:107, errno:5/5 (every fifth), entry:5, flush:5, flush-dir:5, refuse-init; on
    /// standard input the same words switch it, and `exit` kills it without unmounting
    #[arg(long, default_value = "alive")]
    pub mode: String,
    /// The type it shows in the mount table
    #[arg(long, default_value = "fuse.faultfs")]
    pub fstype: String,
    /// The source it shows
    #[arg(long, default_value = "faultfs")]
    pub source: String,
    /// Make it private to UID:GID
    #[arg(long, value_name = "UID:GID")]
    pub owner: Option<String>,
    /// How long the kernel may keep attributes and names, such as 3600s
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub cache: String,
    /// Take the words from this FIFO (made if need be) instead of standard input
    #[arg(long, value_name = "FIFO")]
    pub control: Option<PathBuf>,
    /// Return once it is mounted and let it go on in the background
    #[arg(long)]
    pub background: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_hold_together() {
        for program in programs() {
            program.debug_assert();
        }
    }
}
