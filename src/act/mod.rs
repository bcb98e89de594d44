//! Doing. A plan's steps are performed one by one, each checked again right before and right after;
//! what is owed is written down before the step that creates the need. Nothing here decides what
//! should be done, and every refusal at the last moment has a name.

pub mod bind;
pub mod child;
pub mod deliver;
pub mod failpoint;
pub mod guard;
pub mod heartbeat;
pub mod incidents;
pub mod input;
pub mod install;
pub mod intake;
pub mod lock;
pub mod messages;
pub mod offer;
pub mod outcome;
pub mod perform;
pub mod permission;
pub mod round;
pub mod scratch;
mod step;
pub mod storage_gate;
pub mod store;
pub mod units;
pub mod upkeep;
pub mod wait;
pub mod wake;
pub mod worker;
pub mod worker_round;
