//! What a round of `unwedge-worker` costs beside one `psql` that only counts: PostgreSQL by its socket and by TLS,
//! 20 jobs that wait, and finished ones by the hundred thousand and by the ten million.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procfs::process::Process;

use super::support::postgres::cluster;
use super::{RUNS, alternating, ms, note, ratio, row};

/// The service user of these rounds.
const USER: &str = "nobody";
const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
const COUNT: &str =
    "SELECT status, count(*) FROM jobs WHERE status IN ('queued', 'retry', 'running') GROUP BY 1";
/// CPU is booked in hundredths of a second, so it is taken over many runs at once.
const CPU_RUNS: u32 = 100;

pub fn rounds() {
    let Some(cluster) = cluster("figures::queue") else {
        note("rounds over a queue are left out: no PostgreSQL can be started here");
        return;
    };
    let database = cluster.database();
    database.sql(
        "CREATE UNLOGGED TABLE jobs (id bigint PRIMARY KEY, status text NOT NULL, created_at timestamptz, \
         dir text); CREATE INDEX jobs_status ON jobs (status); \
         INSERT INTO jobs SELECT -n, 'queued', now(), '/srv/jobs/' || n FROM generate_series(1, 20) n",
    );
    let authority = cluster.dir.join("right.pem");
    let own = format!("?sslmode=verify-full&sslrootcert={}", authority.display());
    let ways = [
        ("its socket", Desk::new(&database.url("postgres"), "", "")),
        // both verify the server's certificate and log in with a password
        (
            "TLS",
            Desk::new(
                &database.tcp_url("postgres", "localhost", ""),
                &own,
                &format!("ca_file = \"{}\"\n", authority.display()),
            ),
        ),
    ];
    let mut filled = 0;
    let mut psql_on_few = BTreeMap::new();
    for finished in [100_000_u64, 10_000_000] {
        note(&format!("{finished} finished jobs ..."));
        database.sql(&format!(
            "INSERT INTO jobs SELECT n, 'done', now(), '/srv/jobs/' || n FROM generate_series({}, {finished}) n",
            filled + 1
        ));
        database.sql("VACUUM ANALYZE jobs");
        filled = finished;
        for (way, desk) in &ways {
            let (round, psql) = alternating(RUNS, || wall(desk.round()), || wall(desk.psql()));
            let (round_cpu, psql_cpu) = (cpu(|| desk.round()), cpu(|| desk.psql()));
            // what it is held against is the count over the few, both times
            let (wall_of, cpu_of) = *psql_on_few.entry(way).or_insert((psql, psql_cpu));
            for (what, measured, now, few) in
                [("wall", round, psql, wall_of), ("CPU", round_cpu, psql_cpu, cpu_of)]
            {
                row(
                    &format!(
                        "a round of `unwedge-worker` by {way}, 20 jobs wait, {finished} are done: {what}"
                    ),
                    &ms(measured),
                    &format!("`psql` that counts them {}, over 100000 {}", ms(now), ms(few)),
                    &format!("{:.2}", ratio(measured, few)),
                    "1",
                );
            }
        }
    }
}

/// The programs where the service user can run them, and their configuration.
struct Desk {
    dir: tempfile::TempDir,
    /// As `psql` is told it.
    url: String,
}

impl Desk {
    /// `of_psql` says to `psql` what `of_queue` says in `[queue]`.
    fn new(url: &str, of_psql: &str, of_queue: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let desk = Self { dir, url: format!("{url}{of_psql}") };
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(desk.dir.path(), 0o755);
        for (built, name) in [
            (env!("CARGO_BIN_EXE_unwedge-worker"), "unwedge-worker"),
            (env!("CARGO_BIN_EXE_unwedge-jobs"), "unwedge-jobs"),
        ] {
            fs::copy(built, desk.path(name)).unwrap();
        }
        for made in ["state", "metrics", "run", "sentinels"] {
            fs::create_dir(desk.path(made)).unwrap();
            give(&desk.path(made), USER);
        }
        let at = desk.dir.path().display();
        let text = format!(
            "[host]\nservices = \"process\"\nuser = \"{USER}\"\nstate_dir = \"{at}/state\"\n\
             run_dir = \"{at}/run\"\nsentinel_dir = \"{at}/sentinels\"\ntextfile_dir = \"{at}/metrics\"\n\
             [worker]\nstart = [\"/bin/true\"]\nstop = [\"/bin/true\"]\nstatus = [\"/bin/false\"]\n\
             [queue]\nurl = \"{url}\"\n{of_queue}adapter = \"table\"\n[queue.table]\nname = \"jobs\"\nid = \"id\"\n\
             status = \"status\"\nstates = {{ pending = [\"queued\"], retryable = [\"retry\"], \
             running = [\"running\"], finished = [\"done\"] }}\norder = [\"created_at\"]\noutput = \"dir\"\n\
             created_at = \"created_at\"\n",
        );
        let config = desk.path("unwedge.toml");
        fs::write(&config, text).unwrap();
        open(&config, 0o640);
        give(&config, ":nogroup");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn round(&self) -> Command {
        let mut command = Command::new(self.path("unwedge-worker"));
        command.arg("--config").arg(self.path("unwedge.toml"));
        command
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(PSQL);
        command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--command", COUNT, &self.url]);
        command
    }
}

fn give(path: &Path, to: &str) {
    assert!(Command::new("chown").arg(to).arg(path).status().unwrap().success());
}

fn wall(mut command: Command) -> Duration {
    let start = Instant::now();
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    // the answer is in it: otherwise the quickest would be the one that fails
    assert!(output.status.success() && said.contains("20"), "{command:?}: {output:?}");
    took
}

/// The CPU time of one run, its children's included; that of the server is not in it.
fn cpu(command: impl Fn() -> Command) -> Duration {
    let used = || {
        let stat = Process::myself().unwrap().stat().unwrap();
        u64::try_from(stat.cutime + stat.cstime).unwrap()
    };
    let before = used();
    for _ in 0..CPU_RUNS {
        wall(command());
    }
    let ticks = used() - before;
    Duration::from_secs(ticks) / u32::try_from(procfs::ticks_per_second()).unwrap() / CPU_RUNS
}
