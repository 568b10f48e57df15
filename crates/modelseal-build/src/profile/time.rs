use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use modelseal_format::manifest::TimeForms;

/// Epoch numbers from here on are milliseconds. As seconds, this number is in the year 5138; as milliseconds, it is in
/// 1973.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

/// The length of YYYYMMDD. As seconds since 1970, such a number would be in 1970, where no record is.
const BASIC_DATE: usize = 8;

/// Numbers from here on are neither seconds nor milliseconds.
const FIRST_NEITHER: u64 = FIRST_MILLISECONDS * 1000;

/// How a time was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Seconds,
    Milliseconds,
    Date,
}

impl Form {
    /// The counter of this form.
    pub(super) fn of(self, forms: &mut TimeForms) -> &mut u64 {
        match self {
            Form::Seconds => &mut forms.seconds,
            Form::Milliseconds => &mut forms.milliseconds,
            Form::Date => &mut forms.dates,
        }
    }
}

/// Reads the times of records: epoch seconds or milliseconds, RFC 3339, a date, or a date and a time. Without a zone, a
/// time is UTC.
#[derive(Debug, Clone, Default)]
pub(super) struct TimeReader {
    /// The date that was read last, `YYYY-MM-DD`, and its midnight in seconds since 1970.
    day: Option<([u8; 10], i64)>,
}

impl TimeReader {
    pub(super) fn read(&mut self, text: &str) -> Option<(Timestamp, Form)> {
        match self.read_usual(text.as_bytes()) {
            Some(time) => Some((time, Form::Date)),
            None => parse(text),
        }
    }

    /// Reads `YYYY-MM-DD` and a time to the second, as in most records. Each day is parsed only once.
    fn read_usual(&mut self, text: &[u8]) -> Option<Timestamp> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        let [b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, zone @ ..] = rest else { return None };
        if !matches!(zone, [] | [b'Z']) {
            return None;
        }
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
        let two = |tens: &u8, ones: &u8| Some(digit(tens)? * 10 + digit(ones)?);
        let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let midnight = match &self.day {
            Some((last, midnight)) if last == date => *midnight,
            _ => {
                // Ten digits would be seconds since 1970.
                let [.., b'-', _, _, b'-', _, _] = date else { return None };
                let midnight = parse(std::str::from_utf8(date).ok()?)?.0.as_second();
                self.day = Some((*date, midnight));
                midnight
            }
        };
        Timestamp::from_second(midnight + hour * 3600 + minute * 60 + second).ok()
    }
}

/// Parses a time in any supported form.
fn parse(text: &str) -> Option<(Timestamp, Form)> {
    let text = text.trim();
    if text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() == BASIC_DATE
            && let Ok(date) = text.parse::<Date>()
            && date.year() >= 1900
        {
            let midnight = date.to_datetime(jiff::civil::Time::midnight());
            return Some((TimeZone::UTC.to_timestamp(midnight).ok()?, Form::Date));
        }
        let number: i64 = text.parse().ok()?;
        return match number.unsigned_abs() {
            0..FIRST_MILLISECONDS => Some((Timestamp::from_second(number).ok()?, Form::Seconds)),
            FIRST_MILLISECONDS..FIRST_NEITHER => {
                Some((Timestamp::from_millisecond(number).ok()?, Form::Milliseconds))
            }
            _ => None,
        };
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((time, Form::Date));
    }
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    Some((TimeZone::UTC.to_timestamp(local).ok()?, Form::Date))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads with a reader that has seen this day, with one that has seen another day, and with a fresh one.
    fn read(text: &str) -> Option<String> {
        let fresh = TimeReader::default().read(text);
        let mut reader = TimeReader::default();
        for before in ["2026-11-02T00:00:01Z", "2024-02-29 10:00:00", text] {
            reader.read(before);
            assert_eq!(reader.clone().read(text), fresh, "{text}");
        }
        fresh.map(|(time, _)| time.to_string())
    }

    #[test]
    fn time_reader_accepts_common_formats() {
        for text in [
            "1793599200",
            "1793599200000",
            " 1793599200 ",
            "2026-11-02T06:00:00Z",
            "2026-11-02T07:00:00+01:00",
            "2026-11-02 06:00:00Z",
            "2026-11-02T06:00:00",
            "2026-11-02 06:00:00",
            "2026-11-02 06:00",
            "2026-11-02T06:00:00.000",
            "20261102T060000Z",
        ] {
            assert_eq!(read(text).as_deref(), Some("2026-11-02T06:00:00Z"), "{text}");
        }
        for text in ["2026-11-02", "20261102"] {
            assert_eq!(read(text).as_deref(), Some("2026-11-02T00:00:00Z"), "{text}");
        }
        // Not a date, so seconds.
        assert_eq!(read("20261302").as_deref(), Some("1970-08-23T12:08:22Z"));
    }

    #[test]
    fn time_reader_rejects_ambiguous_and_invalid_texts() {
        for text in [
            "",
            "-",
            "yesterday",
            "02.11.2026",
            "11/02/2026",
            "2026-13-01",
            "1793599200000000",
            "1e9",
            "NaN",
            "2026-02-30 00:00:00",
            "2026-11-02T24:00:00Z",
            "2026-11-02T06:60:00Z",
            "2026-11-02T06:0a:00Z",
            "2026-11-02T06:00:00Zjunk",
            "1793599200 23:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn time_reader_reports_the_form_of_a_time() {
        let form = |text| TimeReader::default().read(text).map(|(_, form)| form);
        assert_eq!(form("1793599200"), Some(Form::Seconds));
        assert_eq!(form("1793599200000"), Some(Form::Milliseconds));
        assert_eq!(form("2026-11-02"), Some(Form::Date));
    }
}
