//! Man pages and shell completions, from the definitions the programs parse with.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap_complete::{Shell, generate_to};

use crate::cli;
use crate::manifest::content::Content;
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

/// The same as an installation has them, below `prefix`.
///
/// # Errors
/// They cannot be made: there is no room for temporary files.
pub fn contents(prefix: &Path) -> Result<Vec<Content>> {
    let dir = tempfile::tempdir().context("make a temporary directory for pages")?;
    into(dir.path())?;
    let mut contents = Vec::new();
    let listed = std::fs::read_dir(dir.path()).context("list pages")?;
    for entry in listed {
        let path = entry.context("list pages")?.path();
        let name =
            path.file_name().context("a page without a name")?.to_string_lossy().into_owned();
        let text = std::fs::read(&path).with_context(|| format!("read {}", text::path(&path)))?;
        contents.push(Content::text(prefix.join(place(&name, prefix)), text));
    }
    contents.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(contents)
}

/// Where the shells look; zsh of a distribution looks elsewhere for packages than for what an administrator adds.
fn place(name: &str, prefix: &Path) -> PathBuf {
    let zsh = if prefix == Path::new("/usr") { "vendor-completions" } else { "site-functions" };
    match name.rsplit_once('.') {
        Some((program, "bash")) => Path::new("share/bash-completion/completions").join(program),
        Some((_, "fish")) => Path::new("share/fish/vendor_completions.d").join(name),
        Some((_, section)) if section.parse::<u8>().is_ok() => {
            Path::new("share/man/man1").join(name)
        }
        Some(_) | None => Path::new("share/zsh").join(zsh).join(name),
    }
}
