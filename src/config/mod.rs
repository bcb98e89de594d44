//! The configuration: files, environment and flags are laid over the defaults into one tree that remembers where each
//! value came from; the tree is read as a fragment (names and kinds) and the fragment becomes validated settings.
//! Each stage tells all it finds wrong before the next begins, with file, line and key; no stage guesses.
//!
//! ```text
//! read -> tree (defaults < files < environment < flags) -> shape: Fragment -> validate: Settings
//! ```

pub mod bucket;
mod check;
pub mod container;
mod defaults;
pub mod doctor;
pub mod duration;
mod error;
mod fragment;
pub mod heartbeat;
pub mod intake;
pub mod job_type;
pub mod jobs;
pub mod metrics;
pub mod notify;
pub mod overrides;
pub mod queue;
mod queue_rules;
mod read;
mod request;
pub mod retry;
pub mod secret;
pub mod sentinel;
mod settings;
mod shape;
mod show;
mod storage;
mod tree;
mod validate;
mod worker;
mod worker_rules;

use std::path::{Path, PathBuf};

pub use check::Word;
pub use error::{ConfigError, ConfigErrors, PROBLEMS_MAX};
pub use overrides::Flag;
pub use queue_rules::{url_problem, utc};
pub use read::beside;
pub use request::Request;
pub use settings::*;
pub use storage::{MountPoint, Mounts, Starts, own_path_that_may_hang};
pub use tree::{KeyPath, Node, Origin, Step, Tree};
pub use worker::*;

/// Name of a text that is no file, in messages.
const TEXT: &str = "<text>";

/// A configuration that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// The files that were read, in order; empty means that there is no configuration at all.
    pub files: Vec<PathBuf>,
    /// Files that were left alone because opening them could hang, and why.
    pub skipped: Vec<(PathBuf, String)>,
    /// Every value with its origin, defaults included.
    pub tree: Tree,
}

impl Loaded {
    /// 16 hexadecimal digits that change when any value does, and not when only its place does.
    pub fn digest(&self) -> String {
        show::digest(&self.tree)
    }

    /// Every key with its value in TOML, its origin as a comment behind it, and secrets masked.
    pub fn show(&self) -> String {
        show::show(&self.tree)
    }
}

/// Reads and merges every layer that the request names, and validates the result.
pub fn load(request: &Request) -> Result<Loaded, ConfigErrors> {
    let layers = read::layers(request)?;
    let mut tree = defaults::tree();
    for layer in layers.trees {
        tree.overlay(layer);
    }
    overrides::apply(&mut tree, &request.environment, &request.flags)?;
    complete(&mut tree);
    let mut settings = settings_of(&tree, &layers.open)?;
    settings.file = request.file.as_deref().and_then(|file| std::path::absolute(file).ok());
    Ok(Loaded { settings, files: layers.files, skipped: layers.skipped, tree })
}

/// Settings of a text alone, over the defaults: for tests and the demo. Messages call it `<text>`.
pub fn from_str(text: &str) -> Result<Settings, ConfigErrors> {
    let mut tree = defaults::tree();
    tree.overlay(Tree::parse(text, Path::new(TEXT))?);
    complete(&mut tree);
    settings_of(&tree, &[])
}

fn complete(tree: &mut Tree) {
    jobs::complete(tree);
    defaults::complete_mounts(tree);
    defaults::complete_queue(tree);
    notify::complete(tree);
    worker_rules::complete(tree);
}

/// `open` are the files that everybody may read.
fn settings_of(tree: &Tree, open: &[PathBuf]) -> Result<Settings, ConfigErrors> {
    validate::settings(shape::fragment(tree)?, tree, open)
}

#[cfg(test)]
mod tests;
