//! The figures: what a round costs, and how that grows. `cargo bench --bench figures` as root prints
//! a table in Markdown, with the date and the machine; RESULTS.md is what it printed once.
//!
//! Nothing here passes or fails. Every time is a median of at least [`RUNS`] runs that alternate
//! with what they are compared to, so that a busy moment of the machine falls on both.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unused_self,
    reason = "a bench may panic, talk, start processes and look at the clock"
)]
#![allow(missing_docs, reason = "a program to be run and read")]
#![allow(clippy::cast_precision_loss, reason = "ratios are shown with two digits")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _, pipe};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_bind};
use serde_json::Value;
use unwedge::config::{self, Request, Settings};
use unwedge::decide::watch;
use unwedge::probes::mounts;
use unwedge::sys::clock::Now;

#[macro_use]
#[allow(unused_macros, reason = "the bench is no test")]
#[path = "../tests/support/mod.rs"]
mod support;

mod chaos;
mod claiming;
mod idle;
#[allow(unused_imports, reason = "of the test only its scene is needed")]
#[path = "../tests/incident.rs"]
mod incident;
#[allow(unused_imports, reason = "the bench is no test")]
#[path = "../tests/libraries.rs"]
mod libraries;
mod many;
mod queue;
#[allow(unused_imports, reason = "of the tests only what furnishes a host is needed")]
#[path = "../tests/queue_host.rs"]
mod queue_host;
mod reading;
mod rivals;
#[allow(unused_imports, reason = "of the tests only what furnishes a host is needed")]
#[path = "../tests/runner.rs"]
mod runner;
mod spawning;
mod taking_in;

use support::host::Host;
use support::lab::{processes, verdict};
use support::{Fault, Lab};

/// How often everything is measured.
const RUNS: usize = 21;
/// Set in the copy of this program that has namespaces of its own.
const INSIDE: &str = "UNWEDGE_BENCH_INSIDE";
const CAT: [&str; 2] = ["/usr/bin/cat", "/proc/self/mountinfo"];

/// What the figures mean; printed behind them.
const READING: &str = "
On a machine that does other work ratios move by a fifth from run to run, single times by more.

- Table of 10,000: two reads are two thirds of the time, and the kernel's: it returns a page a call,
  whatever the buffer. One read and `cat` cost about the same; the second read is what finds a table
  that changed under the first. The rest is parsing (5 ms) and the index (2 ms); growth is linear.
- Watching every one of 10,000 costs a walk each, twice: for the mount itself and for what lies above.
- A round with a FUSE mount looks through every process's descriptors for its daemon; without one it
  does not, which is why a host without FUSE is cheaper.
- The first round on hung mounts lasts as long as the probe timeout, because it waits for answers. Later
  ones find the probers still waiting. One of them can wait longer, while a prober is not yet as old
  as the timeout.
- A round of `unwedge-worker` starts two more programs: the child that asks, and what tells how the worker is.
  Before it counts, the child holds the map against the catalogue, and looks for states that nobody knows: by a
  socket that is what takes longer than all of `psql`. By TLS the handshake outweighs it. None of that grows
  with the finished jobs.
";

fn main() {
    // our own probers and actors start us with their words
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = unwedge::act::child::dispatch(&args) {
        std::process::exit(code);
    }
    if std::env::var_os(INSIDE).is_some() {
        inside();
        return;
    }
    heading();
    if std::env::args().any(|arg| arg == "rivals") {
        rivals::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "chaos") {
        chaos::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "spawning") {
        spawning::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "many") {
        many::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "taking-in") {
        taking_in::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "idle") {
        idle::rows();
        return;
    }
    if std::env::args().any(|arg| arg == "reading") {
        reading::rows();
        return;
    }
    no_config("this host as it is");
    if let Some(reason) = support::isolate::missing() {
        println!("\nThe rest is left out: {reason}.");
        return;
    }
    let status = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "in its own namespaces: {status}");
    queue::rounds();
    healing_under_systemd();
    claiming::rows();
    chaos::rows();
    many::rows();
    reading::rows();
    spawning::rows();
    taking_in::rows();
    idle::rows();
    rivals::rows();
    print!("{READING}");
}

fn inside() {
    let lab = Lab::build();
    {
        let _alive = lab.fault(&lab.root("box"), &[]);
        no_config("one live FUSE mount on it");
    }
    end_connections(&lab);
    healing(&lab);
    hanging(&lab);
    table_growth();
}

fn heading() {
    let uname = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("# Figures\n");
    println!(
        "{}, Linux {}, {cores} cores; release build; `cargo bench --bench figures` as root.",
        Now::take().unwrap().stamp().utc(),
        uname.release().to_string_lossy(),
    );
    println!(
        "Medians of {RUNS} runs alternating with what they are compared to. No pass, no fail.\n"
    );
    println!("| what | measured | compared with | ratio | target |");
    println!("|---|---|---|---|---|");
}

fn row(what: &str, measured: &str, compared: &str, ratio: &str, target: &str) {
    println!("| {what} | {measured} | {compared} | {ratio} | {target} |");
}

fn note(text: &str) {
    eprintln!("{text}");
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Medians of two things done in turn.
fn alternating(
    runs: usize,
    mut one: impl FnMut() -> Duration,
    mut other: impl FnMut() -> Duration,
) -> (Duration, Duration) {
    let _warm = (one(), other());
    let (ones, others) = (0..runs).map(|_| (one(), other())).unzip();
    (median(ones), median(others))
}

/// The wall time of a command, start and end of its process included.
fn wall(program: &str, args: &[&str]) -> Duration {
    let start = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).status().unwrap();
    let took = start.elapsed();
    assert!(status.success(), "{program}: {status}");
    took
}

/// `unwedge-mounts` with no configuration: what a newcomer runs first.
fn no_config(place: &str) {
    let tool = env!("CARGO_BIN_EXE_unwedge-mounts");
    let mut probes = Vec::new();
    let one_round = || {
        let start = Instant::now();
        let output = Command::new(tool).arg("--json").current_dir("/").output().unwrap();
        let took = start.elapsed();
        assert!(output.status.success(), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seen = json["observations"].as_array().unwrap();
        let slowest = seen.iter().filter_map(|seen| seen["probe_ms"].as_u64()).max();
        probes.push(Duration::from_millis(slowest.unwrap_or(0)));
        took
    };
    let (round, cat) = alternating(RUNS, one_round, || wall(CAT[0], &CAT[1..]));
    let watched = {
        let output = Command::new(tool).arg("--json").current_dir("/").output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["observations"].as_array().unwrap().len()
    };
    let slowest = median(probes);
    row(
        &format!("`unwedge-mounts`, no config, {place} ({watched} watched)"),
        &ms(round),
        &format!(
            "`cat /proc/self/mountinfo` {} + slowest probe {} whole ms",
            ms(cat),
            slowest.as_millis()
        ),
        &format!("{:.2}", ratio(round, cat + slowest)),
        "3",
    );
    row(
        &format!("its peak memory, {place} (VmHWM)"),
        &format!("{:.2} MiB", peak_kib(tool) as f64 / 1024.0),
        "",
        "",
        "12 MiB",
    );
}

/// The most memory that a round ever had: it is kept from ending by a pipe that is full, so that
/// all is done and the process can still be looked at.
fn peak_kib(tool: &str) -> u64 {
    let (mut reader, mut writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut filled = 0;
    while let Ok(written) = writer.write(&[b' '; 4096]) {
        filled += written;
    }
    rustix::io::ioctl_fionbio(writer.as_fd(), false).unwrap();
    let mut child = Command::new(tool)
        .arg("--json")
        .current_dir("/")
        .stdout(Stdio::from(writer))
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = line.expect("it ended too early").split_whitespace().nth(1).unwrap();
    let peak = peak.parse().unwrap();
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    assert!(child.wait().unwrap().success() && answer.len() > filled);
    peak
}

/// From the death of a daemon that is known to a round, to data read through the path again.
fn healing(lab: &Lab) {
    let path = lab.root("box");
    lab.configure("", &lab.listed(&path));
    lab.arm();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mut fault = lab.fault(&path, &[]);
        fault.kill();
        let start = Instant::now();
        let ran = lab.round(&["--apply", "--json"]);
        let data = fs::read_to_string(path.join("data.txt"));
        times.push(start.elapsed());
        assert_eq!(data.unwrap(), "the data is here\n", "{ran:?}");
        // the new daemon is ours to end: PID 1 of this namespace
        let round = lab.json(&[]);
        assert_eq!(verdict(&round, &path), "live");
        end_connections(lab);
    }
    let worst = *times.iter().max().unwrap();
    row(
        "a dead mount (process mode), from the start of the round to data read",
        &format!("{}, worst {}", ms(median(times)), ms(worst)),
        "",
        "",
        "2 s",
    );
}

/// The same under a real systemd: sshfs in its unit, killed, detached, its unit restarted.
fn healing_under_systemd() {
    let Some(host) = Host::boot("figures", &["/usr/bin/sshfs"]) else {
        note("healing under systemd is left out: no throw-away host can be booted here");
        return;
    };
    host.arm();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        host.ok("kill -KILL $(main_pid)");
        host.until("systemctl is-failed --quiet storagebox.service");
        let us: u64 = host
            .ok("from=$EPOCHREALTIME; unwedge-mounts --apply >/dev/null; await_data
                 to=$EPOCHREALTIME; echo $((${to/./} - ${from/./}))")
            .parse()
            .unwrap();
        times.push(Duration::from_micros(us));
        // as many restarts as this are more than systemd's start limit allows
        host.ok("systemctl reset-failed storagebox.service 2>/dev/null || :");
    }
    let worst = *times.iter().max().unwrap();
    row(
        "a dead sshfs (systemd, unit restarted), from the start of the round to data read",
        &format!("{}, worst {}", ms(median(times)), ms(worst)),
        "",
        "",
        "2 s",
    );
    healing_by_the_watch(&host);
}

/// The same, and nobody starts the round but the watch: from the kill on, its debounce included.
fn healing_by_the_watch(host: &Host) {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        // a new one has no starts behind it that would keep it from the next
        host.ok("systemctl restart unwedge-watch");
        let us: u64 = host
            .ok("from=$EPOCHREALTIME; kill -KILL $(main_pid); await_data
                 to=$EPOCHREALTIME; echo $((${to/./} - ${from/./}))")
            .parse()
            .unwrap();
        times.push(Duration::from_micros(us));
        host.until("! systemctl is-active --quiet unwedge-mounts.service");
        host.ok("systemctl reset-failed storagebox.service 2>/dev/null || :");
    }
    host.ok("systemctl stop unwedge-watch");
    let worst = *times.iter().max().unwrap();
    row(
        "a dead sshfs under `unwedge-watch`, from the kill to data read",
        &format!("{}, worst {}", ms(median(times)), ms(worst)),
        &format!("the timer: up to a minute; debounce {}", ms(watch::DEBOUNCE)),
        "",
        "2 s",
    );
}

/// Ends every FUSE mount of the lab, dead ones too.
fn end_connections(lab: &Lab) {
    use unwedge::probes::mountinfo;
    let table = mountinfo::read_bytes(Path::new(mountinfo::MOUNTINFO)).unwrap();
    for mount in mountinfo::parse(&table).unwrap() {
        if mount.path.starts_with(lab.dir.join("roots")) {
            let _ = fs::write(format!("/sys/fs/fuse/connections/{}/abort", mount.dev.minor), "1");
            let _ = rustix::mount::unmount(&mount.path, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Many mounts whose daemons take requests and never answer.
fn hanging(lab: &Lab) {
    const MOUNTS: usize = 64;
    const ROUNDS: usize = 100;
    let timeout = Duration::from_millis(500);
    note(&format!("{MOUNTS} hung mounts, {ROUNDS} rounds ..."));
    lab.configure("confirm.hung = { runs = 100, age = \"1h\" }", "");
    let mut faults: Vec<Fault> = (0..MOUNTS)
        .map(|nth| {
            let mut fault = lab.fault(&lab.root(&format!("hung{nth}")), &[]);
            fault.order("swallow");
            fault
        })
        .collect();
    let (mut first, mut later, mut probers_max) = (Duration::ZERO, Vec::new(), 0);
    for nth in 0..ROUNDS {
        let flags: &[&str] = if nth % 3 == 0 { &["--json", "--apply"] } else { &["--json"] };
        let ran = lab.round(flags);
        let json: Value = serde_json::from_str(&ran.stdout).unwrap();
        let hung = json["observations"].as_array().unwrap().iter();
        assert_eq!(hung.filter(|seen| seen["verdict"] == "hung").count(), MOUNTS);
        if nth == 0 {
            first = ran.took;
        } else {
            later.push(ran.took);
        }
        probers_max = probers_max.max(processes("uw-").len());
    }
    let worst = later.iter().copied().max().unwrap();
    row(
        &format!("a round on {MOUNTS} hung mounts, the first, that starts the probers"),
        &ms(first),
        &format!("probe timeout {}", ms(timeout)),
        &format!("{:.2}", ratio(first, timeout)),
        "timeout + 1 s",
    );
    row(
        &format!("{} more rounds on them", ROUNDS - 1),
        &format!("{}, worst {}", ms(median(later)), ms(worst)),
        "",
        "",
        "timeout + 1 s",
    );
    row(
        &format!("probers outstanding after {ROUNDS} rounds"),
        &probers_max.to_string(),
        &format!("{MOUNTS} hung mounts"),
        &format!("{:.2}", probers_max as f64 / MOUNTS as f64),
        "1",
    );
    for fault in &mut faults {
        fault.order("alive");
    }
    drop(faults);
    end_connections(lab);
}

/// The mount table from small to large.
fn table_growth() {
    let dir = PathBuf::from("/mnt/many");
    fs::create_dir(&dir).unwrap();
    mount("many", &dir, "tmpfs", MountFlags::empty(), None).unwrap();
    let loaded = config::load(&Request { system_dir: "/nonexistent".into(), ..Request::default() });
    let settings = loaded.unwrap().settings;
    let mut made = 0;
    for mounts in [100, 1_000, 10_000] {
        note(&format!("{mounts} entries in the mount table ..."));
        while made < mounts {
            let target = dir.join(format!("mount-{made}"));
            fs::create_dir(&target).unwrap();
            mount_bind(&dir, &target).unwrap();
            made += 1;
        }
        table(mounts, &settings);
    }
}

fn table(mounts: usize, settings: &Settings) {
    let mut all_watched = settings.clone();
    all_watched.mounts.repair_under = vec!["/mnt/many".into()];
    let cases =
        [("none of them watched", settings, "2.5"), ("all of them watched", &all_watched, "")];
    for (which, settings, target) in cases {
        let classify = || {
            let start = Instant::now();
            let watched = mounts::watched(settings, &BTreeSet::new(), true).unwrap();
            let took = start.elapsed();
            drop(watched);
            took
        };
        let (classified, cat) = alternating(RUNS, classify, || wall(CAT[0], &CAT[1..]));
        row(
            &format!("read and classify {mounts} bind mounts, {which}, without probes"),
            &ms(classified),
            &format!("`cat /proc/self/mountinfo` {}", ms(cat)),
            &format!("{:.2}", ratio(classified, cat)),
            if mounts == 10_000 { target } else { "" },
        );
    }
    let tool = env!("CARGO_BIN_EXE_unwedge-mounts");
    let (round, cat) = alternating(RUNS, || wall(tool, &["--json"]), || wall(CAT[0], &CAT[1..]));
    row(
        &format!("a whole round without config over {mounts} bind mounts"),
        &ms(round),
        &format!("`cat /proc/self/mountinfo` {}", ms(cat)),
        &format!("{:.2}", ratio(round, cat)),
        "",
    );
}
