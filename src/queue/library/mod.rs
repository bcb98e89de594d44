//! Queues of other people's libraries, each read by one statement that is made of what its file in `libraries` says.
//!
//! Nothing is ever written to one of them. Nor is anything guessed: a version that nobody has looked at, a table that is
//! not there, a policy that hides rows make the queue unknown, with what mends it.

mod reading;
mod refusal;
mod statement;
mod version;

pub use reading::{About, about, facts};
