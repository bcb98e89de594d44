//! A PostgreSQL of the tests' own: one cluster a test run, on a socket and on loopback with TLS, and a
//! database for each test. It ends with the test binary, whatever becomes of that.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use postgres::{Client, NoTls};

use super::isolate;

/// Where Debian has it.
const BIN: &str = "/usr/lib/postgresql/15/bin";
/// The password of every role that comes over TCP.
pub const PASSWORD: &str = "s3cr3t-word";

/// Made once: two authorities, a certificate for `localhost`, and a cluster that shows it. The shell
/// waits for the end of its input, which is ours, and then takes everything away.
const SCRIPT: &str = r#"
set -eu
bin=$1 dir=$2 port=$3 password=$4
cd "$dir"
{
  for ca in right wrong; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
      -keyout "$ca.key" -out "$ca.pem" -subj "/CN=$ca" -addext basicConstraints=critical,CA:TRUE
  done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr \
    -subj /CN=localhost
  printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' >ext
  openssl x509 -req -in server.csr -CA right.pem -CAkey right.key -CAcreateserial -days 30 \
    -extfile ext -out server.pem
  chmod 600 server.key
  printf '%s' "$password" >pw
  "$bin/initdb" -D data -U postgres -E UTF8 --no-locale --no-sync --pwfile=pw
  printf 'local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n' >data/pg_hba.conf
} >log 2>&1
"$bin/postgres" -D data -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=off \
  -c ssl=on -c ssl_cert_file="$dir/server.pem" -c ssl_key_file="$dir/server.key" -c autovacuum=off \
  -c max_connections=100 >>log 2>&1 &
pid=$!
trap 'kill -INT $pid 2>/dev/null; wait $pid || :; cd /; rm -rf "$dir"' EXIT
until "$bin/pg_isready" -q -h "$dir" -p "$port"; do kill -0 $pid; sleep 0.05; done
echo ready
read -r _ || :
"#;

/// A cluster of its own that is brought to this state, and is a standby from then on: what it has is read, and nothing is
/// written. It ends like the other.
const STANDBY: &str = r#"
set -eu
bin=$1 dir=$2 port=$3
cd "$dir"
start() {
  "$bin/postgres" -D data -k "$dir" -p "$port" -c listen_addresses= -c fsync=off >>log 2>&1 &
  pid=$!
  until "$bin/pg_isready" -q -h "$dir" -p "$port"; do kill -0 $pid; sleep 0.05; done
}
"$bin/initdb" -D data -U postgres -E UTF8 --no-locale --no-sync -A trust >log 2>&1
trap 'kill -INT $pid 2>/dev/null; wait $pid || :; cd /; rm -rf "$dir"' EXIT
start
"$bin/psql" -qX -v ON_ERROR_STOP=1 -h "$dir" -p "$port" -U postgres -f sql >>log 2>&1
kill -INT $pid; wait $pid || :
touch data/standby.signal
start
echo ready
read -r _ || :
"#;

/// The cluster.
pub struct Cluster {
    pub dir: PathBuf,
    pub port: u16,
    /// As long as this is open it runs.
    _alive: Mutex<ChildStdin>,
}

/// A database of it.
pub struct Database {
    pub name: String,
    pub cluster: &'static Cluster,
}

/// The cluster, or a counted skip where there can be none.
pub fn cluster(test: &str) -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    for needed in [&format!("{BIN}/postgres"), "/usr/bin/openssl", "/usr/bin/setpriv"] {
        if !Path::new(needed).exists() {
            isolate::skip(test, &format!("needs {needed}"));
            return None;
        }
    }
    if !rustix::process::geteuid().is_root() {
        isolate::skip(test, "needs root: PostgreSQL is started as another user");
        return None;
    }
    Some(CLUSTER.get_or_init(start))
}

fn start() -> Cluster {
    made(SCRIPT, PASSWORD, None)
}

/// A standby that has what this SQL has made in the database `postgres`.
pub fn standby(sql: &str) -> Cluster {
    made(STANDBY, "", Some(sql))
}

#[allow(clippy::disallowed_methods, reason = "tests start processes")]
fn made(script: &str, password: &str, sql: Option<&str>) -> Cluster {
    let dir = tempfile::tempdir().unwrap().keep();
    if let Some(sql) = sql {
        fs::write(dir.join("sql"), sql).unwrap();
    }
    let owned = Command::new("chown").arg("postgres:postgres").arg(&dir).status().unwrap();
    assert!(owned.success());
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    #[allow(clippy::zombie_processes, reason = "it ends when its input does, after this process")]
    let mut child = Command::new("/usr/bin/setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
        .args(["/bin/sh", "-c", script, "sh", BIN])
        .arg(&dir)
        .arg(port.to_string())
        .arg(password)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    assert_eq!(said, "ready\n", "PostgreSQL does not start: {log}");
    Cluster { dir, port, _alive: Mutex::new(child.stdin.take().unwrap()) }
}

impl Cluster {
    /// A new database.
    pub fn database(&'static self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("q{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.admin("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        Database { name, cluster: self }
    }

    /// A database of it that is there already.
    pub fn database_called(&'static self, name: &str) -> Database {
        Database { name: name.to_owned(), cluster: self }
    }

    /// A database of it, by the socket.
    pub fn url(&self, role: &str, database: &str) -> String {
        let dir = self.dir.to_str().unwrap().replace('/', "%2F");
        format!("postgres://{role}@{dir}:{}/{database}", self.port)
    }

    pub fn admin(&self, database: &str) -> Client {
        let (dir, port) = (self.dir.display(), self.port);
        let config = format!("host={dir} port={port} user=postgres dbname={database}");
        Client::connect(&config, NoTls).unwrap()
    }
}

impl Database {
    /// Runs statements as the owner of everything.
    #[track_caller]
    pub fn sql(&self, text: &str) {
        self.client().batch_execute(text).unwrap_or_else(|error| panic!("{error:?}: {text}"));
    }

    /// The one value of a statement's answer, as text.
    #[track_caller]
    pub fn value(&self, text: &str) -> String {
        let answer = self.client().simple_query(text).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        let row = answer.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => {
                Some(row.get(0).unwrap_or_default().to_owned())
            }
            _ => None,
        });
        row.unwrap_or_else(|| panic!("no row: {text}"))
    }

    /// A connection as the owner of everything.
    pub fn client(&self) -> Client {
        self.cluster.admin(&self.name)
    }

    /// A role of this database's own that may log in, and how it is called.
    pub fn role(&self, name: &str) -> String {
        let role = format!("{}_{name}", self.name);
        self.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
        role
    }

    /// By the socket.
    pub fn url(&self, role: &str) -> String {
        self.cluster.url(role, &self.name)
    }

    /// All of it, as SQL.
    pub fn dump(&self) -> String {
        let (dir, port) = (self.cluster.dir.as_os_str(), self.cluster.port.to_string());
        let dump = Command::new(format!("{BIN}/pg_dump"))
            .args(["-U", "postgres", "-p", &port, "-d", &self.name, "-h"])
            .arg(dir)
            .output()
            .unwrap();
        assert!(dump.status.success(), "{dump:?}");
        String::from_utf8(dump.stdout).unwrap()
    }

    /// Over TCP, with a password.
    pub fn tcp_url(&self, role: &str, host: &str, rest: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@{host}:{}/{}{rest}", self.cluster.port, self.name)
    }
}
