//! What every step stands on and none of them owns: the clock, child processes, the service
//! manager, text for names that are no text. Nothing here knows what a mount is.

pub mod backoff;
pub mod clock;
pub mod command;
pub mod http;
pub mod limit;
pub mod links;
pub mod manager;
pub mod mount_attr;
pub mod path_text;
pub mod place;
pub mod roots;
pub mod s3;
pub mod text;
pub mod user;
