//! Man pages and shell completions, from the definitions the programs parse with.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap_complete::{Shell, generate_to};

use crate::cli;
use crate::sys::text;

/// Writes them all into `dir`.
///
/// # Errors
/// A file cannot be written.
pub fn into(dir: &Path) -> Result<String> {
    let made = || format!("write into {}", text::path(dir));
    std::fs::create_dir_all(dir).with_context(made)?;
    for program in cli::programs() {
        let name = program.get_name().to_owned();
        clap_mangen::generate_to(program.clone(), dir).with_context(made)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut program.clone(), &name, dir).with_context(made)?;
        }
    }
    Ok(format!("man pages and completions are in {}\n", text::path(dir)))
}
