//! A server that speaks S3, of the tests' own: one a test run, on loopback, and a bucket for each test. It ends with the
//! test binary. Between it and who is tested stands a proxy that may refuse, break off, be mute, or wait.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use unwedge::sys::s3::{Client, Place};

use super::isolate;

/// Waits for the end of its input, which is ours, and then ends the server.
const SCRIPT: &str = r#"
set -eu
program=$1 port=$2 log=$3 way=http; shift 3
[ $# = 0 ] || way=https
"$program" -H 127.0.0.1 -p "$port" "$@" >"$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid || :' EXIT
until curl -sko /dev/null "$way://127.0.0.1:$port/"; do kill -0 $pid; sleep 0.1; done
echo ready
read -r _ || :
"#;

/// A server, for as long as it is kept.
pub struct Server {
    pub port: u16,
    /// As long as this is open it runs.
    _alive: Mutex<ChildStdin>,
    _log: tempfile::NamedTempFile,
}

fn program() -> PathBuf {
    // a copy of the tree has none of its own
    let there = std::env::var_os("UNWEDGE_MOTO").map(PathBuf::from);
    there.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin/moto_server")
    })
}

/// A server of its own that shows the certificate of the tests' PostgreSQL, `localhost`. None where there can be none.
pub fn with_tls(test: &str) -> Option<Server> {
    let cluster = super::postgres::cluster(test)?;
    if !program().exists() {
        isolate::skip(test, "needs moto_server, which tests/setup installs");
        return None;
    }
    let file = |name: &str| cluster.dir.join(name).display().to_string();
    Some(start(&["-s", "-c", &file("server.pem"), "-k", &file("server.key")]))
}

fn start(flags: &[&str]) -> Server {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let log = tempfile::NamedTempFile::new().unwrap();
    #[allow(clippy::zombie_processes, reason = "it ends when its input does, after this process")]
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(program())
        .arg(port.to_string())
        .arg(log.path())
        .args(flags)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let told = std::fs::read_to_string(log.path()).unwrap_or_default();
    assert_eq!(said, "ready\n", "moto_server does not start: {told}");
    Server { port, _alive: Mutex::new(child.stdin.take().unwrap()), _log: log }
}

/// What the proxy does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    /// Answers with this status and a body of XML.
    Answer(u16, &'static str),
    /// Breaks the connection off.
    Reset,
    /// Says nothing.
    Mute,
    /// Passes it on, and keeps the answer for itself.
    LoseAnswer,
    /// Passes it on, and changes the last byte of the answer.
    Damage,
    /// Passes it on, and takes the versions out of the listing.
    NoVersions,
}

type Rule = Box<dyn FnMut(&str) -> Act + Send>;

/// A bucket of its own, behind a proxy of its own.
pub struct Bucket {
    pub place: Place,
    /// Past the proxy.
    pub direct: Client,
    past: Place,
    rule: Arc<Mutex<Rule>>,
    /// Every question that came: `PUT /out/a`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Bucket {
    /// Or a counted skip where there can be none.
    pub fn new(test: &str) -> Option<Self> {
        static SERVER: OnceLock<Server> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        if !program().exists() {
            isolate::skip(test, "needs moto_server, which tests/setup installs");
            return None;
        }
        let server = SERVER.get_or_init(|| start(&[]));
        let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = format!("http://127.0.0.1:{}", server.port);
        let agent = unwedge::sys::http::agent(&url, None, Duration::from_secs(20)).unwrap();
        assert!(agent.put(format!("{url}/{name}")).send_empty().unwrap().status().is_success());
        let place = Place {
            endpoint: url,
            region: "us-east-1".to_owned(),
            bucket: name,
            path_style: true,
            ca_file: None,
            timeout_ms: 20_000,
        };
        let direct = Client::to(&place, "key:secret").unwrap();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Act::Pass)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let (port, rules, log) = (server.port, Arc::clone(&rule), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (rules, log) = (Arc::clone(&rules), Arc::clone(&log));
                std::thread::spawn(move || serve(stream, port, &rules, &log));
            }
        });
        let past = place.clone();
        let place = Place { endpoint, timeout_ms: 2_000, ..place };
        Some(Self { place, direct, past, rule, asked })
    }

    /// Where it is, past the proxy.
    pub fn direct_place(&self) -> Place {
        self.past.clone()
    }

    /// What the proxy does from now on, told `METHOD /KEY` without its bucket.
    pub fn rule(&self, rule: impl FnMut(&str) -> Act + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub fn put(&self, key: &str, text: &str) {
        self.direct.write(key, text.as_bytes()).unwrap();
    }

    /// The objects.
    pub fn list(&self) -> Vec<unwedge::sys::s3::Object> {
        self.direct.list("", Duration::from_secs(20)).unwrap()
    }

    /// What is there, by key.
    pub fn all(&self) -> BTreeMap<String, String> {
        let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
        self.all_bytes().into_iter().map(|(key, it)| (key, text(it))).collect()
    }

    pub fn all_bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let bytes = |key: &str| {
            let file = dir.path().join("x");
            let _ = std::fs::remove_file(&file);
            self.direct.get(key, None, &file, 0).unwrap();
            std::fs::read(&file).unwrap()
        };
        let all = self.list();
        all.into_iter().map(|it| (it.key.clone(), bytes(&it.key))).collect()
    }
}

/// What checks signatures as S3 does: a gate before the server, in the Python that this is installed in.
pub struct Gate {
    pub port: u16,
    child: std::process::Child,
    log: tempfile::NamedTempFile,
}

impl Gate {
    /// What it refused, and why.
    pub fn refused(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Bucket {
    /// A gate before the server, past the proxy, that knows one key: `REGION KEY SECRET [TOKEN]`. Its clock is so many
    /// seconds fast.
    pub fn gate(&self, words: &[&str], ahead_s: i32) -> Gate {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new(program().with_file_name("python3"))
            .arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/checking.py"))
            .arg(self.past.endpoint.rsplit_once(':').unwrap().1)
            .args(words)
            .env("CHECKING_AHEAD_S", ahead_s.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let Ok(port) = said.trim().parse() else {
            panic!("{}", std::fs::read_to_string(log.path()).unwrap())
        };
        Gate { port, child, log }
    }

    /// The bucket as it is reached through a gate: by path, or by `BUCKET.s3.test`, which only [`Bucket::with_names`]
    /// makes a name.
    pub fn through(&self, gate: &Gate, path_style: bool) -> Place {
        let host = if path_style { "127.0.0.1" } else { "s3.test" };
        let endpoint = format!("http://{host}:{}", gate.port);
        Place { endpoint, region: "eu-central-1".to_owned(), path_style, ..self.past.clone() }
    }

    /// In a mount namespace of its own (`isolate::isolated`), and for it alone: makes `BUCKET.s3.test` a name of this
    /// machine, and asks nobody but that file. `s3.test` itself stays unknown, so that a bucket in the path is not found.
    pub fn with_names(&self, dir: &Path) {
        let hosts = format!("127.0.0.1 localhost {}.s3.test\n", self.place.bucket);
        let switch = "passwd: files\ngroup: files\nhosts: files\n".to_owned();
        for (name, text) in [("hosts", hosts), ("nsswitch.conf", switch)] {
            let file = dir.join(name);
            std::fs::write(&file, text).unwrap();
            rustix::mount::mount_bind(&file, Path::new("/etc").join(name)).unwrap();
        }
    }
}

/// One question of a connection, and the end of it.
fn serve(mut stream: TcpStream, port: u16, rule: &Mutex<Rule>, asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(said) = lower.strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") && !lower.starts_with("expect:") {
            head.push_str(&line);
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    let question = format!("{method} /{key}");
    asked.lock().unwrap().push(question.clone());
    let act = (rule.lock().unwrap())(&question);
    let mut body = vec![0; length];
    match act {
        Act::Pass | Act::LoseAnswer | Act::Damage | Act::NoVersions => {
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let Ok(mut up) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let _ = up.write_all(format!("{head}connection: close\r\n\r\n").as_bytes());
            let _ = up.write_all(&body);
            let mut answer = Vec::new();
            let _ = up.read_to_end(&mut answer);
            if let (Act::Damage, Some(last)) = (act, answer.last_mut()) {
                *last = !*last;
            }
            if act == Act::NoVersions {
                answer = without_versions(&answer);
            }
            if act != Act::LoseAnswer {
                let _ = stream.write_all(&answer);
            }
        }
        Act::Answer(status, code) => {
            let _ = reader.read_exact(&mut body);
            let body = format!("<Error><Code>{code}</Code></Error>");
            let length = body.len();
            let _ = stream.write_all(
                format!("HTTP/1.1 {status} No\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                    .as_bytes(),
            );
        }
        Act::Reset => {}
        Act::Mute => std::thread::sleep(Duration::from_secs(30)),
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// The same length, so that what was said of it holds.
fn without_versions(answer: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8(answer.to_vec()).unwrap();
    while let Some((from, to)) = text.find("<ETag>").zip(text.find("</ETag>")) {
        let end = to + "</ETag>".len();
        text.replace_range(from..end, &" ".repeat(end - from));
    }
    text.into_bytes()
}
