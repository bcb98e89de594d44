//! Deciding. Facts, limits, history and the present moment go in, a plan comes out. There is no
//! clock here, no file, no process, no socket and no log, and what is unknown is never acted on.

pub mod at_work;
pub mod attempts;
pub mod binds;
pub mod budget;
pub mod busy;
pub mod compose;
pub mod confirm;
pub mod gates;
pub mod heartbeat;
pub mod incidents;
pub mod install;
pub mod leases;
pub mod messages;
pub mod mounts;
pub mod plan;
pub mod quiesce;
pub mod recover;
pub mod rest;
pub mod size;
pub mod starts;
pub mod storm;
pub mod watch;
pub mod why;
pub mod worker;
pub mod workers;
