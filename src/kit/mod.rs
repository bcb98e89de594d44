//! The test kit, for this project's tests and for anybody's: a FUSE file system that fails on
//! command, and the demo that shows the tools at work on it.

pub mod canary;
pub mod command;
pub mod demo;
pub mod faultfs;
pub mod fuse;
pub mod tree;
