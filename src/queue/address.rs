//! From a URL to a database, and what is demanded of the way there: over TCP a certificate that is
//! checked against the name, unless the server is this very host and the URL says `sslmode=disable`.
//!
//! The names of libpq are understood here, because the parser of the client refuses them. What is said of a URL that is
//! not understood repeats no part of it; of one that is, the server, the database and the user are named.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use ::postgres::Config;
use ::postgres::config::Host;

use super::{Fault, local};
use crate::config::queue::Database;
use crate::config::url_problem;
use crate::probes::secret;
use crate::sys::text;

/// What a password is replaced by.
const MASK: &str = "***";

/// Where a database is.
#[derive(Debug)]
pub enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<Server>),
}

/// A server and the way to it.
pub struct Server {
    /// What the client is told, password included.
    pub config: Config,
    /// How the way is secured.
    pub way: Way,
    /// `sslrootcert` of the URL.
    pub root_file: Option<PathBuf>,
}

impl Server {
    /// As whom it is asked; where the URL names nobody, as the service user.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or("unwedge")
    }

    /// The command that asks it whether it answers, as a shell takes it.
    #[must_use]
    pub fn asks_whether_it_answers(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(dir) => text::path(dir),
        });
        let ports = self.config.get_ports().iter().map(u16::to_string);
        let words = [
            ("-h", hosts.collect::<Vec<_>>().join(",")),
            ("-p", ports.collect::<Vec<_>>().join(",")),
            ("-d", self.config.get_dbname().unwrap_or(self.user()).to_owned()),
        ];
        let words = words.into_iter().filter(|(_, value)| !value.is_empty());
        let words = words.map(|(flag, value)| format!(" {flag} {}", in_shell(&value)));
        format!("pg_isready{}", words.collect::<String>())
    }

    /// Where that is and as whom it is asked, in words: never the password.
    #[must_use]
    pub fn place(&self) -> String {
        let ports = self.config.get_ports();
        let port = |nth: usize| ports.get(nth).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self.config.get_hosts().iter().enumerate().map(|(nth, host)| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(nth)),
            Host::Tcp(name) => format!("{name}:{}", port(nth)),
            Host::Unix(dir) => format!("{}:{}", text::path(dir), port(nth)),
        });
        let hosts: Vec<String> = hosts.collect();
        let database = self.config.get_dbname().unwrap_or(self.user());
        text::bytes(format!("{}/{database} as {}", hosts.join(","), self.user()).as_bytes())
    }
}

/// A word as a shell takes it.
fn in_shell(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-./,:%+@".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", text::bytes(word.as_bytes()).replace('\'', "'\\''"))
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Server({:?})", self.way)
    }
}

/// How the way to a server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It does not leave this host.
    Local,
    /// TLS, and the server's certificate must be for its name.
    VerifyFull,
}

impl Address {
    /// The address that the config gives, or names the file of.
    pub fn of(database: &Database) -> Result<Self, Fault> {
        match database {
            Database::Url(url) => Self::parse(&url.0),
            Database::UrlFile(path) => {
                let named = |fault: Fault| Fault(format!("{}: {fault}", text::path(path)));
                let path = local::resolve(path, local::MAY_HANG)?;
                let url = secret::line(&path, false).map_err(|why| named(Fault(why)))?;
                Self::parse(&url).map_err(named)
            }
        }
    }

    /// Understands a URL.
    pub fn parse(url: &str) -> Result<Self, Fault> {
        if let Some(problem) = url_problem(url) {
            return Err(Fault(format!("the URL {problem}")));
        }
        match url.strip_prefix("sqlite://") {
            Some(path) => Ok(Self::Sqlite(PathBuf::from(path))),
            None => Ok(Self::Postgres(Box::new(server(url)?))),
        }
    }

    /// A text without the password, should a server have repeated it.
    pub fn scrub(&self, said: &str) -> String {
        let password = match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => server.config.get_password(),
        };
        match password.map(String::from_utf8_lossy) {
            Some(password) if !password.is_empty() => said.replace(&*password, MASK),
            Some(_) | None => said.to_owned(),
        }
    }
}

fn server(url: &str) -> Result<Server, Fault> {
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root_file, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", value)) => root_file = Some(absolute(value)?),
            Some(_) | None => rest.push(pair),
        }
    }
    let plain =
        if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    let config = Config::from_str(&plain).map_err(|_| {
        Fault::new(
            "the URL is not understood; expected postgres://user:password@host:port/database, with \
             what is no letter, digit, '-', '_' or '.' in user and password percent-encoded",
        )
    })?;
    let way = way(&config, mode)?;
    Ok(Server { config, way, root_file })
}

fn absolute(text: &str) -> Result<PathBuf, Fault> {
    let text = text.replace("%2F", "/").replace("%2f", "/");
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(Fault::new("sslrootcert is no absolute path")) }
}

fn way(config: &Config, mode: Option<&str>) -> Result<Way, Fault> {
    let sockets = config.get_hosts().iter().filter(|host| matches!(host, Host::Unix(_))).count();
    let (local, hosts) = (is_this_host(config), config.get_hosts().len());
    if hosts == 0 {
        return Err(Fault::new("the URL names no host"));
    }
    if sockets > 0 && sockets < hosts {
        return Err(Fault::new("the URL mixes sockets and TCP hosts; give the one or the other"));
    }
    match mode {
        None | Some("disable") if sockets == hosts => Ok(Way::Local),
        None | Some("verify-full") if sockets == 0 => Ok(Way::VerifyFull),
        Some("disable") if local => Ok(Way::Local),
        Some("disable") => Err(Fault::new(
            "sslmode=disable is only for this host (127.0.0.0/8, ::1, localhost, a socket); without it \
             the server's certificate is checked (verify-full)",
        )),
        Some("verify-full") => Err(Fault::new("sslmode=verify-full has no sense on a socket")),
        Some(_) | None => Err(Fault::new(
            "sslmode is verify-full (the default over TCP) or, for this host, disable: every other \
             mode lets somebody in between read along",
        )),
    }
}

/// Whether no word leaves this host.
fn is_this_host(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    });
    named && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<Way, &str>) {
        match (Address::parse(url), expected) {
            (Ok(Address::Postgres(server)), Ok(way)) => assert_eq!(server.way, way, "{url}"),
            (Err(Fault(why)), Err(words)) => {
                assert!(why.contains(words), "{url}: {why}");
                assert!(!why.contains("s3cr3t"), "{url}: {why}");
            }
            (parsed, expected) => panic!("{url}: {parsed:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_server_is_named_without_its_password() {
        for (url, expected) in [
            ("postgres://u:s3cr3t@db.example/d", "db.example:5432/d as u"),
            ("postgres://u:s3cr3t@a:1,b:2/d", "a:1,b:2/d as u"),
            ("postgres://u@[::1]:7/d?sslmode=disable", "[::1]:7/d as u"),
            ("postgres://u@%2Frun%2Fpostgresql", "/run/postgresql:5432/u as u"),
        ] {
            let Ok(Address::Postgres(server)) = Address::parse(url) else { panic!("{url}") };
            assert_eq!(server.place(), expected);
        }
    }

    #[test]
    fn what_asks_whether_a_server_answers_can_be_pasted() {
        for (url, expected) in [
            ("postgres://u:s3cr3t@db.example/d", "pg_isready -h db.example -p 5432 -d d"),
            ("postgres://u:s3cr3t@a:1,b:2/d", "pg_isready -h a,b -p 1,2 -d d"),
            ("postgres://u@%2Frun%2Fpostgresql:7", "pg_isready -h /run/postgresql -p 7 -d u"),
            ("postgres://u@a/it%27s%20$d", r"pg_isready -h a -p 5432 -d 'it'\''s $d'"),
        ] {
            let Ok(Address::Postgres(server)) = Address::parse(url) else { panic!("{url}") };
            assert_eq!(server.asks_whether_it_answers(), expected);
        }
    }

    #[test]
    fn tcp_is_verified_in_full_unless_it_stays_on_this_host_and_says_so() {
        for (url, expected) in [
            ("postgres://u:s3cr3t@db.example/d", Ok(Way::VerifyFull)),
            ("postgresql://u:s3cr3t@db.example:5433/d?sslmode=verify-full", Ok(Way::VerifyFull)),
            ("postgres://u@127.0.0.1/d", Ok(Way::VerifyFull)),
            ("postgres://u@127.0.0.1/d?sslmode=disable", Ok(Way::Local)),
            ("postgres://u@localhost/d?sslmode=disable&application_name=x", Ok(Way::Local)),
            ("postgres://u@[::1]/d?sslmode=disable", Ok(Way::Local)),
            ("postgres://u@%2Frun%2Fpostgresql/d", Ok(Way::Local)),
            ("postgres:///d?host=/run/postgresql&user=u", Ok(Way::Local)),
            ("postgres://u:s3cr3t@db.example/d?sslmode=disable", Err("only for this host")),
            (
                "postgres://u@localhost/d?sslmode=disable&hostaddr=10.0.0.1",
                Err("only for this host"),
            ),
            ("postgres://u:s3cr3t@db.example/d?sslmode=require", Err("every other mode")),
            ("postgres://u:s3cr3t@db.example/d?sslmode=prefer", Err("every other mode")),
            ("postgres://u@%2Frun%2Fpostgresql/d?sslmode=verify-full", Err("no sense")),
            ("postgres://u@%2Frun,db.example/d", Err("mixes")),
            ("postgres:///d", Err("names no host")),
            ("postgres://u:s3cr3t@h:port/d", Err("not understood")),
            ("postgres://u:s3cr3t@h/d?colour=red", Err("not understood")),
            ("postgres://u:s3cr3t@h/d?sslrootcert=ca.pem", Err("no absolute path")),
            ("mysql://u:s3cr3t@h/d", Err("no URL of a database")),
        ] {
            check(url, expected);
        }
    }

    #[test]
    fn a_password_is_taken_out_of_what_a_server_says() {
        let address = Address::parse("postgres://u:s3%20cr3t@h/d").unwrap();
        assert_eq!(address.scrub("no s3 cr3t here"), "no *** here");
    }

    #[test]
    fn a_file_holds_one_url_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        for (content, expected) in [
            ("\nsqlite:///a/b\n\n", Ok("/a/b")),
            ("sqlite:///a\nsqlite:///b\n", Err("more than one line")),
            ("\n", Err("is empty")),
            ("sqlite://rel", Err("no URL")),
        ] {
            std::fs::write(&path, content).unwrap();
            match (Address::of(&Database::UrlFile(path.clone())), expected) {
                (Ok(Address::Sqlite(found)), Ok(way)) => assert_eq!(found, Path::new(way)),
                (Err(Fault(why)), Err(words)) => assert!(why.contains(words), "{why}"),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        }
    }
}
