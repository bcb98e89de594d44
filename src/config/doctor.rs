//! `[doctor]`: the Prometheus that should know our alerts, and lines of a unit's journal that tell of a trouble which
//! only this host's people know.

use regex::Regex;

use super::check::{Checker, Word};
use super::fragment::{DoctorFragment, PatternFragment};
use super::tree::KeyPath;

/// More patterns than these are a program of its own.
const PATTERNS_MAX: usize = 50;

/// `[doctor]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Doctor {
    /// Where a Prometheus answers that should have loaded the alerts, `http://127.0.0.1:9090`. Default none.
    pub prometheus: Option<String>,
    /// `[[doctor.pattern]]`, in the order of the files. Default none.
    pub patterns: Vec<Pattern>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// Whose journal.
    pub unit: String,
    /// What a line has to hold; the syntax is that of the regex crate.
    pub expression: Regex,
    /// How bad that is. Default `warn`.
    pub severity: Severity,
    /// What it means, for a person.
    pub text: String,
    /// What mends it. Default none.
    pub command: Option<String>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.unit.clone(), it.severity, it.text.clone(), it.command.clone());
        key(self) == key(other) && self.expression.as_str() == other.expression.as_str()
    }
}

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should know.
    Warn,
    /// Somebody must do something.
    Fault,
}

impl Severity {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Warn, Self::Fault];
}

impl Word for Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Fault => "fault",
        }
    }
}

/// Makes settings of `[doctor]`.
pub(super) fn doctor(check: &mut Checker<'_>, written: DoctorFragment) -> Doctor {
    let at = KeyPath::of(&["doctor", "prometheus"]);
    let prometheus = written.prometheus.map(|url| {
        let known = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '@' | '?' | '#');
        if !known || url.contains(odd) {
            let expected = "expected http:// or https://, host and path alone";
            check.problem(&at, format!("{url:?} found, {expected}"));
        }
        url.trim_end_matches('/').to_owned()
    });
    Doctor { prometheus, patterns: patterns(check, written.pattern.unwrap_or_default()) }
}

fn patterns(check: &mut Checker<'_>, written: Vec<PatternFragment>) -> Vec<Pattern> {
    let at = KeyPath::of(&["doctor", "pattern"]);
    if written.len() > PATTERNS_MAX {
        check.problem(&at, format!("{} of them, expected at most {PATTERNS_MAX}", written.len()));
    }
    let indexed = written.into_iter().enumerate();
    indexed.filter_map(|(index, it)| pattern(check, &at.index(index), it)).collect()
}

fn pattern(check: &mut Checker<'_>, at: &KeyPath, written: PatternFragment) -> Option<Pattern> {
    let mut required = |key: &str, value: Option<String>| {
        if value.is_none() {
            check.problem(&at.key(key), "missing");
        }
        value
    };
    let unit = required("unit", written.unit);
    let expression = required("expression", written.expression);
    let text = required("text", written.text);
    let severity =
        check.choice(&at.key("severity"), written.severity, &Severity::ALL, Severity::Warn);
    let unit = unit.map(|unit| check.unit(&at.key("unit"), &unit));
    let text = text.map(|text| check.word(&at.key("text"), &text));
    let command = written.command.map(|command| check.word(&at.key("command"), &command));
    let expression = Regex::new(&expression?)
        .map_err(|error| check.problem(&at.key("expression"), error.to_string()))
        .ok()?;
    Some(Pattern { unit: unit?, expression, severity, text: text?, command })
}

#[cfg(test)]
mod tests {
    use super::super::from_str;
    use super::*;

    #[test]
    fn a_prometheus_is_a_plain_url() {
        let read = |url: &str| from_str(&format!("[doctor]\nprometheus = \"{url}\"\n"));
        assert_eq!(
            read("http://127.0.0.1:9090/").unwrap().doctor.prometheus.as_deref(),
            Some("http://127.0.0.1:9090")
        );
        for wrong in
            ["127.0.0.1:9090", "http://a b", "http://u:p@h", "file:///etc/passwd", "http://h?x"]
        {
            assert!(
                read(wrong).unwrap_err().to_string().contains("2: [doctor] prometheus: "),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_pattern_is_read_whole_and_each_slip_has_its_line() {
        let text = "[[doctor.pattern]]\nunit = \"app.service\"\nexpression = \"quota .* exceeded\"\nseverity = \"fault\"\n\
                    text = \"the box is full\"\ncommand = \"box-quota show\"\n";
        let patterns = from_str(text).unwrap().doctor.patterns;
        assert_eq!((patterns.len(), patterns[0].severity), (1, Severity::Fault));
        assert!(patterns[0].expression.is_match("write: quota of u1 exceeded"));
        for (from, to, expected) in [
            (".*", "(", "expression: regex parse error"),
            ("app.service", "app", "unit: \"app\""),
            ("\"fault\"", "\"bad\"", "severity: \"bad\" found"),
            ("text = ", "texts = ", "did you mean \"text\"?"),
        ] {
            let errors = from_str(&text.replace(from, to)).unwrap_err().to_string();
            assert!(errors.contains(expected), "{expected}: {errors}");
        }
    }
}
