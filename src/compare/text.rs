//! Text, line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use super::{Cause, Failed, Likeness, Pair};
use modelseal_format::display::{name, number};

/// Maximum length of a line. Longer lines are compared in parts.
const LONGEST: u64 = 1 << 20;

/// How many characters of a line are shown.
const SHOWN: usize = 60;

/// The first line that differs. `None` if either file is not text.
pub(super) fn compare(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let (mut left, mut right) = (open(pair.sealed)?, open(pair.rebuilt)?);
    let mut lines = 0;
    loop {
        lines += 1;
        let (Some(sealed), Some(rebuilt)) = (line(&mut left)?, line(&mut right)?) else {
            return Ok(None);
        };
        if sealed == rebuilt {
            if sealed.is_empty() {
                return Ok(None);
            }
            continue;
        }
        if sealed.trim_end() == rebuilt.trim_end() {
            let text = format!("line {}: only the white space at the end differs", number(lines));
            return Ok(Some(Likeness::different(text)));
        }
        let start = sealed.chars().zip(rebuilt.chars()).take_while(|(left, right)| left == right).count();
        let from = start.saturating_sub(SHOWN / 2);
        let shown = |text: &str| {
            let part: String = text.trim_end().chars().skip(from).take(SHOWN).collect();
            if text.is_empty() { "the end of the file".to_string() } else { name(&part) }
        };
        let text = format!("line {}: {} / {}", number(lines), shown(&sealed), shown(&rebuilt));
        let cause = cause("", sealed.trim(), rebuilt.trim());
        return Ok(Some(Likeness::different(text).because(cause)));
    }
}

fn open(file: &File) -> io::Result<BufReader<&File>> {
    let mut file = BufReader::new(file);
    file.seek(io::SeekFrom::Start(0))?;
    Ok(file)
}

/// Reads a line with its line ending; empty at the end of the file. `None` if it is not text.
fn line(file: &mut BufReader<&File>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    file.take(LONGEST).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8(line).ok())
}

/// The cause of a difference between two values under one name, if the values show it.
pub(super) fn cause(key: &str, sealed: &str, rebuilt: &str) -> Option<Cause> {
    let key = key.to_lowercase();
    let (left, right) = differing_words(sealed, rebuilt);
    let has = |words: &[&str]| words.iter().any(|word| key.contains(word));
    if has(&["thread", "n_jobs", "num_workers"]) || sealed.to_lowercase().contains("thread") {
        return Some(Cause::Threads);
    }
    if is_address(&left) && is_address(&right) {
        return Some(Cause::Address);
    }
    if are_times(&left, &right) {
        return Some(Cause::Clock);
    }
    if left.contains('/') && right.contains('/') {
        return Some(Cause::Path);
    }
    let sorted = |text: &str| {
        let mut words: Vec<String> = text.split([',', ' ', '[', ']', '{', '}']).map(str::to_string).collect();
        words.sort();
        words
    };
    (sealed.len() == rebuilt.len() && sorted(sealed) == sorted(rebuilt)).then_some(Cause::Order)
}

/// The first word that differs, in each of two texts.
fn differing_words(left: &str, right: &str) -> (String, String) {
    let words = |text: &str| -> Vec<String> {
        let is_between = |character: char| character.is_whitespace() || "\"',;=()[]{}<>".contains(character);
        text.split(is_between).map(str::to_string).collect()
    };
    let (left, right) = (words(left), words(right));
    let place = left.iter().zip(&right).position(|(left, right)| left != right).unwrap_or(0);
    let at = |words: &[String]| words.get(place).cloned().unwrap_or_default();
    (at(&left), at(&right))
}

/// Whether a number looks like an address in the memory of a 64-bit process.
pub(super) fn is_address(text: &str) -> bool {
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    // The program, heap and stack of a 64-bit process on Linux. A time in microseconds is far above this range.
    value.is_some_and(|value| (0x5500_0000_0000..0x8000_0000_0000).contains(&value))
}

/// Whether both texts are times that two runs of one program could have seen.
fn are_times(left: &str, right: &str) -> bool {
    // Seconds, milliseconds or nanoseconds since 1970, between 2001 and 2100, and not years apart.
    let seconds = |text: &str, unit: f64| {
        let value = text.parse::<f64>().ok()? / unit;
        (978_307_200.0..4_102_444_800.0).contains(&value).then_some(value)
    };
    let close = |unit: f64| {
        let pair = seconds(left, unit).zip(seconds(right, unit));
        pair.is_some_and(|(left, right)| (left - right).abs() < 50_000_000.0)
    };
    let is_date = |text: &str| {
        let date = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| {
            date.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
        };
        (digits(0..4) && matches!(date.get(4), Some(b'-' | b'/')) && digits(5..7) && date.len() >= 8)
            || (digits(0..2) && date.get(2) == Some(&b':') && digits(3..5))
    };
    [1.0, 1e3, 1e9].into_iter().any(close) || (is_date(left) && is_date(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_names_the_cause_of_a_difference_from_its_values() {
        for (key, left, right, expected) in [
            ("_stop_words_id", "140213455", "140213456", None),
            ("_stop_words_id", "139764423512000", "140322212364224", Some(Cause::Address)),
            ("", "<function f at 0x7f0512345678>", "<function f at 0x7f6612345678>", Some(Cause::Address)),
            ("created", "2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z", Some(Cause::Clock)),
            ("created", "1793599200.25", "1793599201.5", Some(Cause::Clock)),
            ("", "built 2026-11-23 09:00", "built 2026-11-23 09:01", Some(Cause::Clock)),
            ("num_threads", "1", "2", Some(Cause::Threads)),
            ("", "[num_threads: 1]", "[num_threads: 2]", Some(Cause::Threads)),
            ("", "\"/home/a/x\"", "\"/tmp/b/x\"", Some(Cause::Path)),
            ("", "a,b,c", "c,a,b", Some(Cause::Order)),
            ("random_state", "1848059514", "2053256343", None),
            ("weight", "0.25", "0.26", None),
        ] {
            assert_eq!(cause(key, left, right), expected, "{key} {left} {right}");
        }
    }
}
