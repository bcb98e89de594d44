//! Programs as they die at a named place: built beforehand, because a test cannot build.

use std::path::{Path, PathBuf};

/// Where `unwedge-worker` is.
#[track_caller]
pub fn worker() -> PathBuf {
    program().with_file_name("unwedge-worker")
}

/// Where `unwedge-mounts` is.
#[track_caller]
pub fn program() -> PathBuf {
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/failpoints/release/unwedge-mounts");
    let program = std::env::var_os("UNWEDGE_FAILPOINT_BIN").map_or(built, PathBuf::from);
    assert!(
        program.is_file(),
        "no {}: `cargo build --release --features failpoints --target-dir target/failpoints` \
         makes it, `make test` does so first; UNWEDGE_FAILPOINT_BIN names another",
        program.display()
    );
    program
}
