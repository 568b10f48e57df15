use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A length of time in a recipe or a policy, such as `36h`, `30d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)];

impl Age {
    /// Parses a whole number above zero with its unit: `s`, `m`, `h`, `d` or `w`.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().last()?;
        let (_, seconds) = UNITS.into_iter().find(|(letter, _)| *letter == unit)?;
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
        Some(Self(Duration::from_secs(count.checked_mul(seconds)?)))
    }
}

/// In the largest unit of which there are at least two: `21 days`, `36 hours`.
impl fmt::Display for Age {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            172_800.. => (seconds / 86_400, "day"),
            7200.. => (seconds / 3600, "hour"),
            120.. => (seconds / 60, "minute"),
            _ => (seconds, "second"),
        };
        let plural = if count == 1 { "" } else { "s" };
        write!(formatter, "{} {unit}{plural}", modelseal_format::display::number(count))
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Age::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "a duration is a whole number above 0 with a unit, such as `36h`, `30d` or `2w`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_age_requires_a_whole_number_and_a_unit() {
        for (text, seconds) in
            [("1s", 1), ("90m", 5400), ("36h", 129_600), ("30d", 2_592_000), ("2w", 1_209_600)]
        {
            assert_eq!(Age::parse(text), Some(Age(Duration::from_secs(seconds))), "{text}");
        }
        for text in [
            "",
            "d",
            "30",
            "30 d",
            "-1d",
            "+1d",
            "1.5d",
            "0d",
            "1y",
            "30D",
            "99999999999999999999d",
            "9999999999999999999w",
            "1é",
        ] {
            assert_eq!(Age::parse(text), None, "{text}");
        }
    }

    #[test]
    fn policy_age_is_shown_in_whole_units() {
        let shown = |seconds| Age(Duration::from_secs(seconds)).to_string();
        assert_eq!(shown(1), "1 second");
        assert_eq!(shown(129_600), "36 hours");
        assert_eq!(shown(86_400 * 21), "21 days");
    }
}
