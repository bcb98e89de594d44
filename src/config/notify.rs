//! `[notify]` and `[[notify.webhook]]`: who is told of incidents, and the rules for it. A URL is a secret, for who has
//! it can write in somebody's name: it stands in a file of its own or comes as a credential, never in the
//! configuration.

use std::path::PathBuf;
use std::time::Duration;

use super::check::{Checker, Word};
use super::defaults::time;
use super::fragment::{NotifyFragment, WebhookFragment};
use super::secret::{Secret, secret};
use super::tree::{KeyPath, Node, Origin, Tree};

/// Shortest and longest `[notify] repeat`: 1 min and 1 week.
const REPEAT_MIN: Duration = Duration::from_secs(60);
const REPEAT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Shortest and longest `[notify] timeout`: 100 ms and 30 s.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// `[notify]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The same symptom is told at most once in this time. Default 1 h, from 1 min to 1 week.
    pub repeat: Duration,
    /// For one delivery. Default 10 s, from 100 ms to 30 s.
    pub timeout: Duration,
    /// A command that is given title and text as its last two arguments. Default none.
    pub command: Option<Vec<String>>,
    /// Web hooks. Default none.
    pub webhook: Vec<Webhook>,
    /// Where a sign of life goes each round, as healthchecks.io has it. Default none.
    pub ping: Option<Secret>,
    /// The certificates that servers must come from, PEM. Default none: those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            repeat: Duration::from_secs(3600),
            timeout: Duration::from_secs(10),
            command: None,
            webhook: Vec::new(),
            ping: None,
            ca_file: None,
        }
    }
}

impl Notify {
    /// The credentials that its unit must be given.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        let urls = self.webhook.iter().map(|hook| &hook.url).chain(&self.ping);
        urls.filter_map(Secret::credential)
    }
}

/// One web hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What it wants to be sent.
    pub shape: Shape,
    /// Where it is.
    pub url: Secret,
}

/// What a web hook wants to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"text": …}`.
    Slack,
    /// `{"content": …}`.
    Discord,
    /// The text as it is, with a title in a header.
    Ntfy,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Slack, Self::Discord, Self::Ntfy];
}

impl Word for Shape {
    fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Ntfy => "ntfy",
        }
    }
}

/// What its secrets are called, and what they are.
const URL: (&str, &str) = ("url", "the URL");

/// Makes settings of `[notify]`.
pub(super) fn notify(check: &mut Checker<'_>, written: NotifyFragment) -> Notify {
    let at = KeyPath::of(&["notify"]);
    let default = Notify::default();
    let webhooks = written.webhook.unwrap_or_default();
    let of_ping = written.ping.unwrap_or_default();
    let has_ping = of_ping.url_file.is_some() || of_ping.url_credential.is_some();
    let notify = Notify {
        repeat: check.duration(
            &at.key("repeat"),
            written.repeat,
            default.repeat,
            REPEAT_MIN..=REPEAT_MAX,
        ),
        timeout: check.duration(
            &at.key("timeout"),
            written.timeout,
            default.timeout,
            TIMEOUT_MIN..=TIMEOUT_MAX,
        ),
        command: written.command.map(|argv| check.argv(&at.key("command"), &argv)),
        webhook: webhooks
            .into_iter()
            .enumerate()
            .map(|(index, hook)| webhook(check, &at.key("webhook").index(index), hook))
            .collect(),
        ping: has_ping
            .then(|| secret(check, &at.key("ping"), URL, of_ping.url_file, of_ping.url_credential)),
        ca_file: written.ca_file.and_then(|text| check.absolute(&at.key("ca_file"), &text)),
    };
    if notify.command.is_none() && notify.webhook.is_empty() && notify.ping.is_none() {
        check.problem(&at, "tells nobody; give command, [[notify.webhook]] or [notify.ping]");
    }
    notify
}

fn webhook(check: &mut Checker<'_>, at: &KeyPath, written: WebhookFragment) -> Webhook {
    if written.shape.is_none() {
        check.problem(&at.key("shape"), "missing, expected \"slack\" or \"discord\" or \"ntfy\"");
    }
    Webhook {
        shape: check.choice(&at.key("shape"), written.shape, &Shape::ALL, Shape::Ntfy),
        url: secret(check, at, URL, written.url_file, written.url_credential),
    }
}

/// Puts the defaults of `[notify]` in where there is such a section: without one nobody is told.
pub(super) fn complete(tree: &mut Tree) {
    let Node::Table(sections) = &mut tree.node else { return };
    let Some(Tree { node: Node::Table(keys), .. }) = sections.get_mut("notify") else { return };
    let default = Notify::default();
    for (key, value) in [("repeat", default.repeat), ("timeout", default.timeout)] {
        let default = || Tree::from_value(time(value), &Origin::Default);
        keys.entry(key.to_owned()).or_insert_with(default);
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let errors = from_str(text).unwrap_err().to_string();
        assert!(errors.contains(expected), "{errors}");
    }

    #[test]
    fn what_is_written_is_what_is_told() {
        let text = "[notify]\nrepeat = \"2h\"\ncommand = [\"/bin/page\", \"me\"]\n[[notify.webhook]]\nshape = \"slack\"\n\
                    url_file = \"/etc/unwedge/slack.url\"\n[[notify.webhook]]\nshape = \"ntfy\"\nurl_credential = \"ntfy\"\n\
                    [notify.ping]\nurl_credential = \"ping\"\n";
        let notify = from_str(text).unwrap().notify.unwrap();
        assert_eq!(
            (notify.repeat, notify.timeout),
            (Duration::from_secs(7200), Duration::from_secs(10))
        );
        assert_eq!(notify.command.as_ref().unwrap().join(" "), "/bin/page me");
        assert_eq!(notify.webhook[0].url, Secret::File("/etc/unwedge/slack.url".into()));
        assert_eq!(notify.credentials().collect::<Vec<_>>(), ["ntfy", "ping"]);
        assert_eq!(from_str("").unwrap().notify, None);
        let usual = || {
            let command = Some(vec!["/page".to_owned()]);
            Notify { command, ..Notify::default() }
        };
        let of = |line: &str| {
            from_str(&format!("[notify]\ncommand = [\"/page\"]\n{line}\n")).unwrap().notify
        };
        let seven = Duration::from_secs(7);
        assert_eq!(of(""), Some(usual()));
        assert_eq!(of("repeat = \"7m\""), Some(Notify { repeat: 60 * seven, ..usual() }));
        assert_eq!(of("timeout = \"7s\""), Some(Notify { timeout: seven, ..usual() }));
        let ca_file = Some(PathBuf::from("/etc/hooks.pem"));
        assert_eq!(of("ca_file = \"/etc/hooks.pem\""), Some(Notify { ca_file, ..usual() }));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_no_url_can_stand_in_it() {
        refused("[notify]\n", "1: notify: tells nobody");
        refused("[notify.ping]\nurl = \"https://s3cr3t\"\n", "unknown key");
        refused("[[notify.webhook]]\nurl_file = \"/a\"\n", "shape: missing");
        refused(
            "[[notify.webhook]]\nshape = \"ntfi\"\nurl_file = \"/a\"\n",
            "did you mean \"ntfy\"?",
        );
        refused("[[notify.webhook]]\nshape = \"ntfy\"\n", "url_file: missing");
        refused(
            "[notify.ping]\nurl_file = \"/a\"\nurl_credential = \"b\"\n",
            "give one of the two",
        );
        refused("[notify.ping]\nurl_credential = \"../b\"\n", "is no name of a credential");
        refused("[notify]\ncommand = [\"page\"]\n", "is relative");
        refused(
            "[notify]\ncommand = [\"/page\"]\nrepeat = \"59s\"\n",
            "too short, expected at least 1m",
        );
        from_str("[notify]\ncommand = [\"/page\"]\nrepeat = \"1m\"\ntimeout = \"30s\"\n").unwrap();
        refused(
            "[notify]\ncommand = [\"/page\"]\ntimeout = \"31s\"\n",
            "too long, expected at most 30s",
        );
    }
}
