//! `unwedge demo`: a real FUSE mount with data in it dies, hangs, and is healed, and so is a bind onto
//! it, by the very program an operator would run, with its dry run, its sentinels and its budget.
//!
//! It plays in mount and process namespaces of its own, on a tmpfs, so the host sees nothing of it,
//! and whatever happens, also Ctrl-C, the kernel takes everything down with the namespace's first
//! process. It needs root, or user namespaces and a /dev/fuse that anybody may open.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::probes::connections::{CONNECTIONS, Connections};
use crate::report::out;
use crate::sys::clock::{boottime, pause};
use crate::sys::{command, text};

/// Directories the stage may be built over, in the new namespace only.
const STAGES: [&str; 4] = ["/mnt", "/media", "/srv", "/opt"];
/// No command of the demo takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Goes into namespaces of its own and plays there. Returns only if that cannot be had.
///
/// # Errors
/// What is missing for it.
pub fn set_up() -> Result<()> {
    rustix::fs::access("/dev/fuse", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
        .context("open /dev/fuse: the demo mounts a real FUSE file system; run it as root")?;
    let own = std::env::current_exe().context("find this program's own file")?;
    let mut argv: Vec<OsString> = vec!["/usr/bin/unshare".into()];
    if !rustix::process::geteuid().is_root() {
        argv.extend(["--user", "--map-root-user"].map(OsString::from));
    }
    let flags = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"];
    argv.extend(flags.map(OsString::from));
    argv.extend([own.into(), "demo".into(), "--on-stage".into()]);
    Err(command::become_program(&argv)).context("run /usr/bin/unshare (package util-linux)")
}

/// Plays, on a stage that nobody else sees.
///
/// # Errors
/// A scene did not go as it must.
pub fn play() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // the first process of a namespace is deaf to signals it does not handle
        let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 130, always)
            .context("listen to Ctrl-C")?;
    }
    let stage = Stage::build()?;
    stage.prologue()?;
    stage.a_mount_dies()?;
    stage.a_mount_hangs()?;
    stage.a_bind_outlives_its_mount()?;
    stage.the_budget_is_spent()?;
    say("\nThe end. Nothing of this is left: the namespace goes with its first process.\n")
}

/// What everything plays on.
struct Stage {
    /// This program, for its verbs.
    unwedge: PathBuf,
    /// The tool that is shown.
    mounts: PathBuf,
    /// The directory of the demo.
    dir: PathBuf,
    /// The mount that will suffer.
    storagebox: PathBuf,
    /// Where a directory of it is bound.
    job: PathBuf,
    /// Its daemon's ear.
    control: PathBuf,
    /// The configuration.
    config: PathBuf,
}

impl Stage {
    fn build() -> Result<Self> {
        let unwedge = std::env::current_exe().context("find this program's own file")?;
        let mounts = unwedge.with_file_name("unwedge-mounts");
        if !mounts.exists() {
            bail!("{} is missing: build both programs", text::path(&mounts));
        }
        let free = |dir: &&&str| Path::new(dir).is_dir() && !unwedge.starts_with(dir);
        let dir = PathBuf::from(STAGES.iter().find(free).context("no directory to build upon")?);
        mount("proc", "/proc", "proc", MountFlags::empty(), None).context("mount a new /proc")?;
        mount("demo", &dir, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
            .context("mount a tmpfs for the stage")?;
        if Connections::read() == Connections::NotMounted {
            // without it a hang cannot be aborted, and its scene says so
            let _ = mount("fusectl", CONNECTIONS, "fusectl", MountFlags::empty(), None);
        }
        let stage = Self {
            storagebox: dir.join("storagebox"),
            job: dir.join("job"),
            control: dir.join("control"),
            config: dir.join("unwedge.toml"),
            unwedge,
            mounts,
            dir,
        };
        for made in ["storagebox", "job", "state", "run", "metrics", "sentinels"] {
            fs::create_dir(stage.dir.join(made)).with_context(|| format!("make {made}"))?;
        }
        fs::write(&stage.config, stage.settings()).context("write the configuration")?;
        Ok(stage)
    }

    fn settings(&self) -> String {
        let (dir, box_, control) =
            (self.dir.display(), self.storagebox.display(), self.control.display());
        let job = self.job.display();
        let unwedge = self.unwedge.display();
        format!(
            r#"[host]
services     = "process"
state_dir    = "{dir}/state"
run_dir      = "{dir}/run"
sentinel_dir = "{dir}/sentinels"
textfile_dir = "{dir}/metrics"
[gates]
deploy_lock  = "{dir}/run/deploy.lock"
[probe]
timeout      = "500ms"
daemons      = "here"                      # this namespace mounts its own storage
[mounts]
repair_under = ["{box_}", "{job}"]
[mounts.confirm]
hung         = {{ runs = 2, age = "1s" }}   # 2m on a real host
[mounts.budget]
cooldown     = "0s"                        # 15m on a real host
per_hour     = 10
per_target_per_day = 3
[[mount]]
path    = "{box_}"
fstype  = "fuse.demo"
wait    = "10s"
remount = ["{unwedge}", "faultfs", "--background", "--control", "{control}",
           "--fstype", "fuse.demo", "--source", "demo", "{box_}"]
"#
        )
    }

    fn prologue(&self) -> Result<()> {
        let box_ = self.storagebox.display();
        say(&format!(
            "A FUSE file system is mounted on {box_}, in a namespace of this demo's own.\n"
        ))?;
        self.serve()?;
        self.read_data()
    }

    fn a_mount_dies(&self) -> Result<()> {
        title("1. Its daemon is killed")?;
        self.order("exit")?;
        self.await_death()?;
        say("$ cat data.txt\n")?;
        match fs::read(self.storagebox.join("data.txt")) {
            Ok(_) => bail!("the mount should be dead, and answers"),
            Err(error) => say(&format!("  {error}\n"))?,
        }
        say("\nA dry run shows the plan and changes nothing:\n")?;
        self.round(&[])?;
        say("\nIt must be permitted to act, and then it heals:\n")?;
        let reason = "the demo has shown its plan above";
        self.tool(&self.unwedge, &["sentinel", "arm", "mounts", "--because", reason])?;
        self.round(&["--apply"])?;
        self.read_data()
    }

    fn a_mount_hangs(&self) -> Result<()> {
        title("2. The daemon takes requests and never answers")?;
        if Connections::read() == Connections::NotMounted {
            return say("  (left out: /sys/fs/fuse/connections cannot be mounted here)\n");
        }
        self.order("swallow")?;
        say("One late answer is not acted upon:\n")?;
        self.round(&["--apply"])?;
        pause(Duration::from_millis(1100));
        say("\nThe same request is still unanswered a round later: its connection is aborted.\n")?;
        self.round(&["--apply"])?;
        self.read_data()
    }

    fn a_bind_outlives_its_mount(&self) -> Result<()> {
        title("3. A job's directory is bound from it, and the mount is replaced")?;
        let bind = format!(
            "[[bind]]\ncold = \"{}/jobs/a\"\nhot  = \"{}\"\n",
            self.storagebox.display(),
            self.job.display()
        );
        say(&format!("The configuration gets\n\n{bind}\n"))?;
        fs::write(&self.config, self.settings() + &bind).context("write the configuration")?;
        self.round(&[])?;
        let reason = "the demo has shown this plan too";
        self.tool(&self.unwedge, &["sentinel", "arm", "binds", "--because", reason])?;
        self.round(&["--apply"])?;
        self.read_input()?;
        say("\nThe daemon is killed, and somebody mounts the file system again at once:\n")?;
        self.order("exit")?;
        self.await_death()?;
        unmount(&self.storagebox, UnmountFlags::DETACH).context("detach the dead mount")?;
        self.serve()?;
        self.read_data()?;
        match fs::read(self.job.join("in.txt")) {
            Ok(_) => bail!("the bind should hold the dead mount, and answers"),
            Err(error) => say(&format!("$ cat {}/in.txt\n  {error}\n", self.job.display()))?,
        }
        say("\nThe bind still holds the old one, and is swapped:\n")?;
        self.round(&["--apply"])?;
        self.read_input()
    }

    fn the_budget_is_spent(&self) -> Result<()> {
        title("4. It dies again, and the day's budget for it is spent")?;
        self.order("exit")?;
        self.await_death()?;
        let said = self.round(&["--apply"])?;
        if !said.contains("over-target-cap") {
            bail!("the budget should have refused this");
        }
        Ok(())
    }

    fn serve(&self) -> Result<()> {
        let settings = crate::config::from_str(&self.settings())?;
        let remount = settings.mount.first().and_then(|spec| spec.remount.clone());
        let argv: Vec<OsString> =
            remount.unwrap_or_default().into_iter().map(OsString::from).collect();
        let done = command::run(&argv, LIMIT)?;
        if done.ok() { Ok(()) } else { bail!("mount the file system: {}", done.describe()) }
    }

    /// Tells the daemon what to be.
    fn order(&self, word: &str) -> Result<()> {
        let mut fifo = fs::OpenOptions::new().write(true).open(&self.control)?;
        writeln!(fifo, "{word}").context("tell the daemon")
    }

    /// Waits for the daemon's end; never by touching its mount.
    fn await_death(&self) -> Result<()> {
        use crate::config::Whereabouts;
        use crate::probes::holders::{Daemons, Holders};
        use crate::probes::mountinfo;
        let table = mountinfo::read(|_| false)?;
        let dev = table.walk(&self.storagebox).layers.last().map(|mount| mount.dev);
        let dev = dev.context("the file system is not mounted")?;
        for _ in 0..100 {
            if Daemons::scan(Whereabouts::Here).of(dev) == Holders::None {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("the daemon does not end")
    }

    fn read_data(&self) -> Result<()> {
        let data = fs::read_to_string(self.storagebox.join("data.txt")).context("read data.txt")?;
        say(&format!("$ cat data.txt\n  {data}"))
    }

    /// What the job finds in its own directory.
    fn read_input(&self) -> Result<()> {
        let input = fs::read_to_string(self.job.join("in.txt")).context("read in.txt")?;
        say(&format!("$ cat {}/in.txt\n  {input}", self.job.display()))
    }

    fn round(&self, flags: &[&str]) -> Result<String> {
        self.tool(&self.mounts, flags)
    }

    /// Runs one of our programs with the demo's configuration and shows what it says.
    fn tool(&self, program: &Path, flags: &[&str]) -> Result<String> {
        let name = program.file_name().map(text::name).unwrap_or_default();
        let shown: Vec<String> = flags
            .iter()
            .map(|flag| if flag.contains(' ') { format!("'{flag}'") } else { (*flag).to_owned() })
            .collect();
        let config = text::path(&self.config);
        say(&format!(
            "{}\n",
            format!("$ {name} --config {config} {}", shown.join(" ")).trim_end()
        ))?;
        let mut argv: Vec<OsString> = vec![program.into()];
        argv.extend(["--config".into(), self.config.clone().into()]);
        argv.extend(flags.iter().map(OsString::from));
        let start = boottime();
        let done = command::run(&argv, LIMIT)?;
        let took = boottime().saturating_sub(start);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let mut shown = String::new();
        for line in said.lines() {
            // writing to a String cannot fail
            let _ = writeln!(shown, "{}", format!("  {line}").trim_end());
        }
        let _ = writeln!(shown, "  -- exit {}, {}", done.code, text::duration(took));
        say(&shown)?;
        if done.ok() { Ok(said) } else { bail!("{name}: {}", done.describe()) }
    }
}

fn title(text: &str) -> Result<()> {
    say(&format!("\n== {text}\n"))
}

fn say(text: &str) -> Result<()> {
    Ok(out::print(text)?)
}
