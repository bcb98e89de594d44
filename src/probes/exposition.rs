//! The text format that `node_exporter` reads from its textfile directory, as strictly as its parser: one bad line, and
//! the whole file is left out.

use std::collections::BTreeSet;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels, as they are written.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// Understands a file.
///
/// # Errors
/// The first line that the parser would not take, by its number.
pub fn parse(bytes: &[u8]) -> Result<Vec<Sample>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("it has no end: its last line is cut off".to_owned());
    }
    let (mut samples, mut typed, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (index, line) in text.lines().enumerate() {
        let wrong = |why: &str| format!("line {}: {why}", index + 1);
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if let (Some("TYPE"), Some(name)) = (words.next(), words.next())
                && !typed.insert(name.to_owned())
            {
                return Err(wrong("a second TYPE of the same family"));
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let sample = sample(line).map_err(wrong)?;
        if !seen.insert(format!("{}{:?}", sample.name, sample.labels)) {
            return Err(wrong("the same sample twice"));
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(|c: char| !is_name(c)).ok_or("a name without a value")?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("no name");
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next().and_then(number).ok_or("a value that is no number")?;
    match (words.next(), words.next()) {
        (None, _) => Ok(Sample { name: name.to_owned(), labels, value }),
        // node_exporter refuses a file with timestamps
        (Some(_), _) => Err("something after the value"),
    }
}

type Labels = Vec<(String, String)>;

fn labels(mut rest: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or("a label without a value")?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| is_name(c) && c != ':') {
            return Err("a label without a name");
        }
        let mut value = String::new();
        let mut chars =
            after.trim_start().strip_prefix('"').ok_or("a value without quotes")?.chars();
        loop {
            match chars.next().ok_or("a value without an end")? {
                '"' => break,
                '\\' => value.push(match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    Some(_) | None => return Err("an escape that is none"),
                }),
                c => value.push(c),
            }
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err("a label twice");
        }
        labels.push((name.to_owned(), value));
        rest = chars.as_str().trim_start();
        rest = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None if rest.starts_with('}') => rest,
            None => return Err("no comma between labels"),
        };
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+' || c == '.') => {
            word.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_exporter_takes_is_taken_and_what_it_refuses_is_refused() {
        for (text, expected) in [
            ("", Ok(0)),
            ("# HELP a b\n# TYPE a gauge\na 1\n", Ok(1)),
            ("a{x=\"1\",y=\"a\\\\b\\\"c\\nd\"} 1e3\na{x=\"2\",} -0.5\n\n", Ok(2)),
            ("a NaN\nb +Inf\n", Ok(2)),
            ("a 1", Err("it has no end: its last line is cut off")),
            ("a\n", Err("line 1: a name without a value")),
            ("a x\n", Err("line 1: a value that is no number")),
            ("a 1 123\n", Err("line 1: something after the value")),
            ("a{x=1} 1\n", Err("line 1: a value without quotes")),
            ("a{x=\"1} 1\n", Err("line 1: a value without an end")),
            ("a{x=\"1\"y=\"2\"} 1\n", Err("line 1: no comma between labels")),
            ("a{x=\"1\",x=\"2\"} 1\n", Err("line 1: a label twice")),
            ("a{x=\"\\q\"} 1\n", Err("line 1: an escape that is none")),
            ("a 1\na 1\n", Err("line 2: the same sample twice")),
            ("# TYPE a gauge\n# TYPE a gauge\n", Err("line 2: a second TYPE of the same family")),
            ("1a 1\n", Err("line 1: no name")),
        ] {
            let parsed = parse(text.as_bytes()).map(|samples| samples.len());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{text:?}");
        }
        assert!(parse(b"a{x=\"\xff\"} 1\n").is_err());
    }
}
