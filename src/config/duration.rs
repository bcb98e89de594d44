//! Durations as people write them: `5s`, `15m`, `2h 30m`, `1day 12h`. The reading is humantime's, behind a
//! check of the shape, because humantime takes `2 30m` for 230 minutes, reads months and years whose length nobody
//! agrees on, and panics on some sums near the end of its range. The writing is our own and prints days as days.

use std::time::Duration;

/// The longest duration a configuration may hold: 520 weeks. It keeps every later sum with a clock far from overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(520 * 7 * 86_400);

/// Most digits of one number. With the longest text this keeps humantime's own sums far from overflow.
const DIGITS_MAX: usize = 12;

/// Longest text that is looked at, in bytes.
const TEXT_MAX: usize = 64;

/// Reads a duration. The error says what was found and what is expected, without naming the key.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    check_shape(text)?;
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration: {error}"))?;
    if duration > DURATION_MAX {
        return Err(format!(
            "{text:?} is too long; the longest duration is {}",
            display(DURATION_MAX)
        ));
    }
    Ok(duration)
}

/// Writes a duration the way `parse` reads it: `0s`, `1500ms` as `1s 500ms`, 31 days as `31days`.
pub fn display(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = u64::from(duration.subsec_nanos());
    let day_unit = if seconds / 86_400 == 1 { "day" } else { "days" };
    let parts = [
        (seconds / 86_400, day_unit),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (nanos / 1_000_000, "ms"),
        (nanos / 1_000 % 1_000, "us"),
        (nanos % 1_000, "ns"),
    ];
    let written: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if written.is_empty() { "0s".to_owned() } else { written.join(" ") }
}

/// Numbers and units must take turns, and each unit be one whose length is not in doubt.
fn check_shape(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty, expected a duration such as \"30s\"".to_owned());
    }
    if text.len() > TEXT_MAX {
        return Err(format!(
            "is {} bytes long, expected a duration such as \"2h 30m\"",
            text.len()
        ));
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = prefix(rest, |c| c.is_ascii_digit() || c == '.');
        let after = rest[number.len()..].trim_start();
        let unit = prefix(after, char::is_alphabetic);
        if number.is_empty() {
            return Err(format!(
                "{text:?} is no duration, expected a number and a unit such as \"30s\""
            ));
        }
        if number.len() > DIGITS_MAX {
            return Err(format!(
                "{text:?} is too long; the longest duration is {}",
                display(DURATION_MAX)
            ));
        }
        if unit.is_empty() {
            return Err(format!(
                "{text:?} has a number without a unit, expected one such as \"{number}s\" or \"{number}m\""
            ));
        }
        check_unit(text, unit)?;
        rest = after[unit.len()..].trim_start();
    }
    Ok(())
}

fn check_unit(text: &str, unit: &str) -> Result<(), String> {
    match unit {
        "month" | "months" | "M" | "year" | "years" | "yr" | "yrs" | "y" | "Y" => Err(format!(
            "{text:?} uses {unit:?}, whose length is in doubt; the longest unit is the week (for minutes write \"m\")"
        )),
        _ => Ok(()),
    }
}

/// The longest beginning of `text` whose characters all fit.
fn prefix(text: &str, fits: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected_ms: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(expected_ms)), "{text:?}");
    }

    #[track_caller]
    fn check_refused(text: &str, word: &str) {
        let message = parse(text).expect_err(text);
        assert!(message.contains(word), "{text:?}: {message:?} has no {word:?}");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        check("5s", 5_000);
        check("15m", 900_000);
        check("2h 30m", 9_000_000);
        check("2h30m", 9_000_000);
        check("100 ms", 100);
        check(" 1day 12h ", 129_600_000);
        check("2weeks", 1_209_600_000);
        check("1.5h", 5_400_000);
        check("0", 0);
        check("0s", 0);
    }

    #[test]
    fn a_number_needs_a_unit_unless_it_is_zero() {
        check_refused("5", "without a unit");
        check_refused("1h 30", "without a unit");
        check_refused("2 30m", "without a unit");
        check_refused("-5s", "expected a number");
        check_refused("", "empty");
        check_refused("s", "expected a number");
        check_refused("5 parsecs", "parsecs");
        check_refused("1..5s", "no duration");
    }

    #[test]
    fn units_above_the_week_are_refused() {
        check("1w", 604_800_000);
        for text in ["1month", "2months", "1M", "1year", "1h 1y"] {
            check_refused(text, "the longest unit is the week");
        }
    }

    #[test]
    fn the_longest_duration_is_520_weeks() {
        check("520w", 314_496_000_000);
        check_refused("520w 1ns", "too long");
        check_refused("18446744073709551615s 1000000000ns", "too long");
        check_refused(&"1s ".repeat(30), "bytes long");
    }

    #[test]
    fn days_are_printed_as_days() {
        let shown = |ms| display(Duration::from_millis(ms));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(1_500), "1s 500ms");
        assert_eq!(shown(240_000), "4m");
        assert_eq!(shown(86_400_000), "1day");
        assert_eq!(shown(31 * 86_400_000 + 3_600_000), "31days 1h");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in 0..=DURATION_MAX.as_nanos()) {
            let duration = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            prop_assert_eq!(parse(&display(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_text_of_the_right_letters_panics(text in "[0-9.smhdwnuµ ]{0,70}") {
            let _ = parse(&text);
        }
    }
}
