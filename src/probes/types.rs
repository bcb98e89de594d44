//! The job types of this host: files, which may lie on the very storage that hangs.

use std::path::Path;

use super::mountinfo::mount_points;
use crate::config::Mounts;
use crate::config::job_type::{JobType, Types};

/// Those of a directory, by name. One that is not there has none.
///
/// # Errors
/// It cannot be listed, or lies on storage that may hang.
pub fn of(dir: &Path) -> Result<Types, String> {
    JobType::read_all(dir, &Mounts::asked(mount_points))
}
