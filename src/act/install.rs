//! Carries an installation out, step by step, and stops at the first that fails: whatever is done by then is a part of
//! what the next run finds in place. A file is written beside its place and renamed, so that a program that runs goes
//! on as it is; one that is there already keeps its owner and mode.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{store, units};
use crate::config::Host;
use crate::decide::install::{Plan, Step};
use crate::manifest::RESTART_WHEN_IDLE;
use crate::manifest::content::{Body, Content};
use crate::probes::records::{Installed, InstalledFile};
use crate::sys::clock::Now;
use crate::sys::text::digest;
use crate::sys::{command, text};

/// How long systemctl, systemd-sysusers and the like may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a unit may take to come up.
const UP_LIMIT: Duration = Duration::from_secs(35);

/// What came of a step: what was done, or why not.
pub type Came = std::result::Result<String, String>;

/// What an installation is carried out with.
#[derive(Debug)]
pub struct Site<'a> {
    /// Users, paths, and the programs to call.
    pub host: &'a Host,
    /// What goes into files that are written.
    pub contents: &'a [Content],
    /// What was installed before.
    pub installed: Installed,
    /// When.
    pub now: &'a Now,
}

/// Performs the steps in their order, up to the first that fails; and keeps what is installed by then.
///
/// # Errors
/// What is installed cannot be written down.
pub fn carry_out(plan: &Plan, mut site: Site<'_>) -> Result<Vec<(Step, Came)>> {
    let mut done: Vec<(Step, Came)> = Vec::new();
    for step in &plan.steps {
        let came = perform(step, &mut site).map_err(|error| format!("{error:#}"));
        let failed = came.is_err();
        done.push((step.clone(), came));
        if failed {
            break;
        }
    }
    let there =
        |content: &&Content| std::fs::symlink_metadata(&content.path).is_ok_and(|it| it.is_file());
    for content in site.contents.iter().filter(there) {
        if let Ok(bytes) = std::fs::read(&content.path) {
            let file = InstalledFile { path: content.path.clone(), sha256: digest(&bytes) };
            site.installed.files.retain(|known| known.path != content.path);
            site.installed.files.push(file);
        }
    }
    site.installed.files.sort_by(|one, other| one.path.cmp(&other.path));
    store::record(&site.host.state_dir, &site.installed).context("write down what is installed")?;
    Ok(done)
}

/// Puts every file below `root` and does nothing else: for packages.
///
/// # Errors
/// A file cannot be written.
pub fn stage(contents: &[Content], root: &Path) -> Result<()> {
    for content in contents {
        let below = content.path.strip_prefix("/").unwrap_or(&content.path);
        write(content, &root.join(below))?;
    }
    Ok(())
}

fn perform(step: &Step, site: &mut Site<'_>) -> Result<String> {
    let systemctl = &site.host.systemctl;
    match step {
        Step::SwitchOff(unit) => call(systemctl, &["disable", "--now", "--", unit]),
        Step::Disable(unit) => call(systemctl, &["disable", "--", unit]),
        Step::Write(path) => {
            write(content(site, path)?, path)?;
            Ok("written".to_owned())
        }
        Step::WriteKeeping(path) => {
            let mut kept = path.as_os_str().to_owned();
            kept.push(format!(".kept-{}", site.now.utc_ms));
            std::fs::rename(path, &kept)
                .with_context(|| format!("put {} aside", text::path(path)))?;
            write(content(site, path)?, path)?;
            Ok(format!("written; what was there is {}", text::path(Path::new(&kept))))
        }
        Step::Remove(path) => {
            remove(path)?;
            site.installed.files.retain(|file| file.path != *path);
            Ok("removed".to_owned())
        }
        Step::MakeUsers(file) => call(Path::new("/usr/bin/systemd-sysusers"), &[&text::path(file)]),
        Step::MakeDirectories(file) => {
            call(Path::new("/usr/bin/systemd-tmpfiles"), &["--create", &text::path(file)])
        }
        Step::ProveMetrics(dir) => {
            let user = &site.host.user;
            call(Path::new("/proc/self/exe"), &["can-write", "--user", user, &text::path(dir)])?;
            Ok(format!("{user} wrote there"))
        }
        Step::Reload => call(systemctl, &["daemon-reload"]),
        Step::Enable(unit) => call(systemctl, &["enable", "--quiet", "--", unit]),
        Step::Start(unit) => come_up(systemctl, "start", unit),
        Step::Restart(unit) => come_up(systemctl, "restart", unit),
        Step::RestartWhenIdle(_) => {
            units::ask(systemctl, "start", RESTART_WHEN_IDLE).map_err(anyhow::Error::msg)?;
            Ok(format!("{RESTART_WHEN_IDLE} waits until no job runs"))
        }
    }
}

fn content<'a>(site: &Site<'a>, path: &Path) -> Result<&'a Content> {
    let content = site.contents.iter().find(|content| content.path == path);
    content.with_context(|| format!("{}: nothing is known to go there", text::path(path)))
}

/// A command that says nothing when all is well.
fn call(program: &Path, words: &[&str]) -> Result<String> {
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(words.iter().map(OsString::from));
    let done = command::run(&argv, LIMIT)?;
    if !done.ok() {
        bail!("{} {}: {}", text::path(program), words.join(" "), done.describe());
    }
    Ok("done".to_owned())
}

/// Asks for a job and sees that the unit is up; one that does its work and ends is up once it has.
fn come_up(systemctl: &Path, verb: &str, unit: &str) -> Result<String> {
    units::ask(systemctl, verb, unit).map_err(anyhow::Error::msg)?;
    match units::come_up(systemctl, unit, UP_LIMIT).map_err(anyhow::Error::msg)? {
        units::Up::Active => Ok("active".to_owned()),
        units::Up::Failed => bail!("{unit} failed; see `journalctl -u {unit}`"),
        // a round may take minutes, and nobody has to wait for that
        units::Up::Not(state) => Ok(format!("asked for; it is {state}")),
    }
}

/// Whole or not at all.
fn write(content: &Content, path: &Path) -> Result<()> {
    let whole = || format!("write {}", text::path(path));
    let dir = path.parent().with_context(whole)?;
    make_directories(dir).with_context(whole)?;
    let there = std::fs::metadata(path).ok();
    let mode = there.as_ref().map_or(content.mode, |there| there.mode() & 0o7777);
    let mut file =
        tempfile::Builder::new().prefix(".unwedge.").tempfile_in(dir).with_context(whole)?;
    match &content.body {
        Body::Text(bytes) => file.write_all(bytes).with_context(whole)?,
        Body::CopyOf(source) => {
            let from = || format!("read {}", text::path(source));
            let mut source = std::fs::File::open(source).with_context(from)?;
            std::io::copy(&mut source, file.as_file_mut()).with_context(whole)?;
        }
    }
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).with_context(whole)?;
    if let Some(there) = there {
        std::os::unix::fs::fchown(file.as_file(), Some(there.uid()), Some(there.gid()))
            .with_context(whole)?;
    }
    file.as_file().sync_all().with_context(whole)?;
    file.persist(path).with_context(whole)?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).with_context(whole)
}

/// Made as everybody may enter them, whatever the umask of whoever installs.
fn make_directories(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        make_directories(above)?;
    }
    std::fs::create_dir(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}

/// The file, and the directories that were made for it where nothing else is in them.
fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("remove {}", text::path(path)))?;
    for dir in path.ancestors().skip(1).take_while(|dir| is_only_ours(dir)) {
        // whatever somebody else has put there stays, and with it the directory
        if std::fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}

/// Directories of documentation, of scripts and of drop-ins.
fn is_only_ours(dir: &Path) -> bool {
    let doc = Path::new("share/doc/unwedge");
    let is_doc = dir.ancestors().any(|above| above.ends_with(doc));
    is_doc
        || dir.ends_with("lib/unwedge")
        || dir.extension().is_some_and(|it| it == "d")
            && dir.parent().is_some_and(|it| it.ends_with("systemd/system"))
}

/// What the hidden verb does: writes a file into `dir`, which is then gone again.
///
/// # Errors
/// It cannot.
pub fn write_and_take_back(dir: &Path) -> Result<()> {
    let whole = || format!("write into {}", text::path(dir));
    let mut file =
        tempfile::Builder::new().prefix(".unwedge.").tempfile_in(dir).with_context(whole)?;
    file.write_all(b"\n").with_context(whole)?;
    file.close().with_context(whole)
}
