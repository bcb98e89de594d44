//! Every test that crosses a process border, in one binary. Most run on real mounts, each in
//! namespaces of its own, so none sees the host or another test.

#![allow(missing_docs, dead_code, reason = "tests are read, not called")]

#[macro_use]
mod support;

/// The acceptance list: verdicts and repairs on real FUSE mounts.
mod acceptance;
/// The pages people read, held against the program.
mod playbooks;
