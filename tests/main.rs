//! Every test that crosses a process border, in one binary. Most run on real mounts, each in
//! namespaces of its own, so none sees the host or another test.

#![allow(missing_docs, dead_code, reason = "tests are read, not called")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unused_self,
    reason = "a test may panic, talk, start processes and look at the clock"
)]

#[macro_use]
mod support;

/// The acceptance list: verdicts and repairs on real FUSE mounts.
mod acceptance;
/// Binds of storage: made, swapped under a live writer, held.
mod attacks;
mod binds;
/// A lane whose type is wrong: closed, tried now and then, and open again by itself.
mod breaker;
/// Jobs in containers, by a real engine.
mod container;
/// Rounds killed before and after every step and every write.
mod crash;
/// Drills, and the canary.
mod drill;
/// Several hosts on one queue, and everything broken around it.
mod fleet;
/// What was broken once by somebody who tried.
mod hardening;
/// On a throw-away host with a real systemd: timer, units, journal, sshfs, node_exporter.
mod host;
/// The house in order.
mod house;
/// The incident that all of it is for, end to end.
mod incident;
/// Installing, upgrading, taking away.
mod install;
/// Files that become jobs.
mod intake;
/// The verbs on a queue of our own.
mod jobs;
/// How often, how long apart and until when: by each key that says it.
mod keys;
/// Queues of other people's libraries.
mod libraries;
/// The same as a whole host's, whose worker is one of them.
mod libraries_host;
/// The same with their workers killed in mid-job.
mod libraries_live;
/// How long something may take or go unseen: by each key that says it.
mod limits;
/// Messages to people, and signs of life.
mod notify;
/// Objects of buckets as inputs and results.
mod objects;
/// The queue away for longer than anything lasts, and back.
mod outage;
/// What the pages say to do, done on a host with the fault.
mod pages;
/// The pages people read, held against the program.
mod playbooks;
/// Our own queue behind a pooler.
mod pooler;
/// TUTORIAL.md, command by command, with one incident.
mod proof;
/// The queue: real PostgreSQL, real SQLite, and servers that do not answer.
mod queue;
/// The queue's unit on a host with a real systemd.
mod queue_host;
/// The worker around a repair: stopped only if it must be, always back, and the rows it left.
mod quiesce;
/// What released versions wrote is still read.
mod released;
/// Files worked through by a command.
mod run;
/// The runner's unit on a host with a real systemd.
mod runner;
/// Records that cannot be trusted: torn, foreign, from the future.
mod state_faults;
/// Our own queue, on both databases.
mod store;
/// What cannot be ended, and what can.
mod stuck;
/// The shipped types at real work.
mod trades;
/// What else may happen while a repair is under way: killed, deployed, rebooted, no database.
mod trouble;
/// What `verify-ops` and `unwedge doctor` see, and that they only look.
mod verify;
/// The watch, on a throw-away host: what starts a round, and what does not.
mod watch;
/// What is done while jobs run, come next, or nobody knows.
mod work;
/// The worker, on a throw-away host: who wanted it down, and when it is started.
mod worker;
