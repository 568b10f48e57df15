use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Epoch numbers from here on are milliseconds: as seconds they would lie after the year 5138, and as
/// milliseconds before it they lie in 1973.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

/// And from here on they are neither.
const FIRST_NEITHER: u64 = FIRST_MILLISECONDS * 1000;

/// Reads a record's time: epoch seconds or milliseconds, RFC 3339, a date, a date and a time; without a
/// zone it is UTC.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        return match number.unsigned_abs() {
            0..FIRST_MILLISECONDS => Timestamp::from_second(number).ok(),
            FIRST_MILLISECONDS..FIRST_NEITHER => Timestamp::from_millisecond(number).ok(),
            _ => None,
        };
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    TimeZone::UTC.to_timestamp(local).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_to_write_a_time_is_understood() {
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
            let time = parse(text).map(|time| time.to_string());
            assert_eq!(time.as_deref(), Some("2026-11-02T06:00:00Z"), "{text}");
        }
        let date = parse("2026-11-02").map(|time| time.to_string());
        assert_eq!(date.as_deref(), Some("2026-11-02T00:00:00Z"));
    }

    #[test]
    fn what_is_not_a_time_is_not_guessed() {
        for text in
            ["", "-", "yesterday", "02.11.2026", "11/02/2026", "2026-13-01", "1793599200000000", "1e9", "NaN"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
