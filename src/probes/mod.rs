//! Looking. One file for each thing looked at; where there is text to understand, `read` opens and
//! `parse` understands. Nothing here changes anything, and the calling process never touches a
//! mount that could keep it: that is done by children that may be left behind.

pub mod ability;
pub mod asked;
pub mod binds;
pub mod bucket;
pub mod canary;
pub mod connections;
pub mod engine;
pub mod errno;
pub mod exporters;
pub mod exposition;
pub mod facts;
pub mod family;
pub mod gate;
pub mod gates;
pub mod growth;
pub mod headroom;
pub mod heartbeat;
pub mod holders;
pub mod identity;
pub mod incidents;
pub mod install;
pub mod intake;
pub mod jobs;
pub mod judge;
pub mod liveness;
pub mod load;
pub mod messages;
pub mod motion;
pub mod mountinfo;
pub mod mounts;
pub mod orphans;
pub mod prober;
pub mod records;
pub mod secret;
pub mod services;
pub mod systemctl;
pub mod units;
pub mod verdict;
pub mod vitals;
pub mod wakes;
pub mod witness;
pub mod work;
pub mod worker;
pub mod worker_facts;
