//! Delivering a message: by a command, by a web hook, and a sign of life by a ping. Each has its limit, none follows
//! where a server sends it on, and what went wrong is said without a word of the URL, which is a secret.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::notify::{Notify, Shape};
use crate::config::secret::Secret;
use crate::probes::messages::{Message, Phase};
use crate::probes::secret;
use crate::sys::{command, http, text};

/// Longest part of an answer that is passed on, bytes.
const ANSWER_BYTES_MAX: u64 = 200;
/// Discord refuses what is longer, characters.
const DISCORD_CHARS_MAX: usize = 1900;

/// One way for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// What it is called: `command`, `webhook 1 (ntfy)`.
    pub name: String,
    how: How<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum How<'a> {
    Command(&'a [String]),
    Webhook(Shape, &'a Secret),
}

/// Every way that is configured.
#[must_use]
pub fn ways(notify: &Notify) -> Vec<Way<'_>> {
    use crate::config::Word as _;
    let command = notify
        .command
        .iter()
        .map(|argv| Way { name: "command".to_owned(), how: How::Command(argv) });
    let hooks = notify.webhook.iter().enumerate().map(|(index, hook)| Way {
        name: format!("webhook {} ({})", index + 1, hook.shape.as_str()),
        how: How::Webhook(hook.shape, &hook.url),
    });
    command.chain(hooks).collect()
}

/// Delivers a message.
///
/// # Errors
/// Why it is not delivered, or not known to be.
pub fn deliver(notify: &Notify, way: &Way<'_>, message: &Message) -> Result<(), String> {
    match &way.how {
        How::Command(argv) => by_command(argv, message, notify.timeout),
        How::Webhook(shape, url) => by_webhook(notify, *shape, url, message),
    }
}

fn by_command(argv: &[String], message: &Message, limit: Duration) -> Result<(), String> {
    let words = argv.iter().chain([&message.title, &message.text]);
    let argv: Vec<OsString> = words.map(OsString::from).collect();
    let variables =
        [("UNWEDGE_INCIDENT", message.incident.as_str()), ("UNWEDGE_PHASE", message.phase.name())];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match command::run_with(&argv, &variables, limit) {
        Ok(finished) if finished.ok() => Ok(()),
        Ok(finished) => Err(finished.describe()),
        Err(failure) => Err(failure.to_string()),
    }
}

fn by_webhook(
    notify: &Notify,
    shape: Shape,
    url: &Secret,
    message: &Message,
) -> Result<(), String> {
    let whole = format!("{}\n{}", message.title, message.text);
    let json = |key: &str, text: &str| serde_json::json!({ key: text }).to_string();
    match shape {
        Shape::Slack => post(notify, url, "", &json("text", &whole), &JSON),
        Shape::Discord => {
            let short: String = whole.chars().take(DISCORD_CHARS_MAX).collect();
            post(notify, url, "", &json("content", &short), &JSON)
        }
        Shape::Ntfy => {
            let tag = match message.phase {
                Phase::Opened => "rotating_light",
                Phase::Over => "white_check_mark",
            };
            // a header is one line of ASCII
            let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
            let title: String = message.title.chars().map(plain).collect();
            let headers =
                [("Content-Type", "text/plain; charset=utf-8"), ("Title", &title), ("Tags", tag)];
            post(notify, url, "", &message.text, &headers)
        }
    }
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ping {
    /// A round begins.
    Start,
    /// All is well.
    Success,
    /// This is not.
    Fail(String),
}

/// Gives a sign of life, as healthchecks.io has it.
///
/// # Errors
/// Why it did not arrive, or is not known to have.
pub fn ping(notify: &Notify, url: &Secret, ping: &Ping) -> Result<(), String> {
    let (below, text) = match ping {
        Ping::Start => ("/start", ""),
        Ping::Success => ("", ""),
        Ping::Fail(why) => ("/fail", why.as_str()),
    };
    post(notify, url, below, text, &[("Content-Type", "text/plain; charset=utf-8")])
}

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

fn post(
    notify: &Notify,
    url: &Secret,
    below: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Result<(), String> {
    let url = secret::read(url)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err("the URL begins with neither https:// nor http://".to_owned());
    }
    let (base, query) =
        url.split_once('?').map_or((url.as_str(), ""), |(base, query)| (base, query));
    let mut address = format!("{}{below}", base.trim_end_matches('/'));
    if !query.is_empty() {
        address = format!("{address}?{query}");
    }
    let mut request = http::agent(&url, notify.ca_file.as_deref(), notify.timeout)?.post(&address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body).map_err(|error| scrub(&error.to_string(), &url))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let said = said.map_or_else(|_| String::new(), |said| text::tail(said.as_bytes(), 200));
    Err(scrub(format!("HTTP {}: {said}", status.as_u16()).trim_end_matches([':', ' ']), &url))
}

/// What was said, without the URL nor any longer part of its way.
fn scrub(said: &str, url: &str) -> String {
    let way = url.split_once("://").map_or("", |(_, rest)| rest);
    let parts = way.split(['/', '?', '&', '=']).skip(1).filter(|part| part.len() > 5);
    parts.fold(said.replace(url, "the URL"), |said, part| said.replace(part, "***"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;
    use crate::config::notify::Webhook;
    use crate::sys::clock::{Stamp, boottime};

    /// A server that takes one request, answers this, and hands over what it was sent.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/s3cr3t-path?key=s3cr3t-key", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0);
            }
            let length = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            (head, String::from_utf8(body).unwrap())
        });
        (url, served)
    }

    fn secret_of(dir: &Path, url: &str) -> Secret {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("url");
        std::fs::write(&path, url).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Secret::File(path)
    }

    fn message() -> Message {
        Message {
            incident: "2026-01-24-1".to_owned(),
            phase: Phase::Opened,
            way: String::new(),
            title: "böx: \"/srv/a\" is dead".to_owned(),
            text: "more\nof it".to_owned(),
            written: Stamp { utc_ms: 0, boot_ms: 0, boot_id: String::new() },
            tries: 0,
            last: None,
            why: String::new(),
        }
    }

    fn told(shape: Shape, answer: &'static str) -> (Result<(), String>, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let (url, served) = server(answer);
        let webhook = vec![Webhook { shape, url: secret_of(dir.path(), &url) }];
        let notify = Notify { webhook, timeout: Duration::from_secs(5), ..Notify::default() };
        let came = deliver(&notify, &ways(&notify)[0], &message());
        let (head, body) = served.join().unwrap();
        (came, head, body)
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn each_shape_is_what_its_service_takes() {
        let (came, head, body) = told(Shape::Slack, OK);
        assert_eq!(
            (came, body.as_str()),
            (Ok(()), "{\"text\":\"böx: \\\"/srv/a\\\" is dead\\nmore\\nof it\"}")
        );
        assert!(head.starts_with("POST /s3cr3t-path?key=s3cr3t-key HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        let (_, _, body) = told(Shape::Discord, OK);
        assert_eq!(body, "{\"content\":\"böx: \\\"/srv/a\\\" is dead\\nmore\\nof it\"}");
        let (came, head, body) = told(Shape::Ntfy, OK);
        assert_eq!((came, body.as_str()), (Ok(()), "more\nof it"));
        assert!(head.to_lowercase().contains("title: b?x: \"/srv/a\" is dead\r\n"), "{head}");
    }

    #[test]
    fn a_refusal_and_a_redirection_are_no_delivery_and_nothing_said_holds_the_secret() {
        let refusal =
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 24\r\n\r\nno such hook s3cr3t-path";
        let redirection = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n";
        for (answer, expected) in [
            (refusal, "HTTP 403: no such hook ***"),
            (redirection, "HTTP 302"),
            ("nonsense\r\n\r\n", ""),
        ] {
            let (came, _, _) = told(Shape::Slack, answer);
            let why = came.unwrap_err();
            assert!(why.contains(expected) && !why.contains("s3cr3t"), "{why}");
        }
    }

    #[test]
    fn a_server_that_says_nothing_costs_the_limit_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/s3cr3t-path", listener.local_addr().unwrap());
        let url = secret_of(dir.path(), &url);
        let notify = Notify { timeout: Duration::from_millis(200), ..Notify::default() };
        let start = boottime();
        let why = ping(&notify, &url, &Ping::Success).unwrap_err();
        // far above the limit, for a busy machine; without one it would never end
        assert!(
            boottime().saturating_sub(start) < Duration::from_secs(20) && !why.contains("s3cr3t"),
            "{why}"
        );
    }

    #[test]
    fn a_sign_of_life_says_which_it_is() {
        for (sign, expected) in [
            (Ping::Start, "POST /s3cr3t-path/start?key=s3cr3t-key "),
            (Ping::Success, "POST /s3cr3t-path?key=s3cr3t-key "),
            (
                Ping::Fail("unwedge-mounts has never run".to_owned()),
                "POST /s3cr3t-path/fail?key=s3cr3t-key ",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (url, served) = server(OK);
            let notify = Notify { timeout: Duration::from_secs(5), ..Notify::default() };
            ping(&notify, &secret_of(dir.path(), &url), &sign).unwrap();
            let (head, body) = served.join().unwrap();
            assert!(head.starts_with(expected), "{head}");
            assert_eq!(body, if let Ping::Fail(why) = &sign { why.as_str() } else { "" });
        }
    }

    #[test]
    fn a_command_is_given_title_and_text_and_its_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!(
            "printf '%s|%s|%s|%s' \"$UNWEDGE_INCIDENT\" \"$UNWEDGE_PHASE\" \"$1\" \"$2\" >{}",
            out.display()
        );
        let command = Some(["/bin/sh", "-c", &script, "x"].map(str::to_owned).to_vec());
        let notify = Notify { command, ..Notify::default() };
        deliver(&notify, &ways(&notify)[0], &message()).unwrap();
        let said = std::fs::read_to_string(&out).unwrap();
        assert_eq!(said, "2026-01-24-1|opened|böx: \"/srv/a\" is dead|more\nof it");
        let command = Some(["/bin/sh", "-c", "echo full >&2; exit 3"].map(str::to_owned).to_vec());
        let notify = Notify { command, ..Notify::default() };
        assert_eq!(
            deliver(&notify, &ways(&notify)[0], &message()).unwrap_err(),
            "exit 3; it said: full"
        );
    }
}
