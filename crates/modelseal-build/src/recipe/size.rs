use serde::{Deserialize, Deserializer};

/// A number of bytes in a recipe: `500kB`, `64MiB`, `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl Size {
    /// Parses a whole number above zero and its unit.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, unit) =
            UNITS.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
        Some(Self(count.checked_mul(unit)?))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Size::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "a size must be a whole number above 0 with a unit, such as `500kB`, `64MiB` or `1GB`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_size_requires_a_whole_number_and_a_unit() {
        for (text, bytes) in [("1B", 1), ("500kB", 500_000), ("64MiB", 64 << 20), ("2GB", 2_000_000_000)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "B", "1", "0MB", "-1MB", "1.5GB", "1 MB", "1mb", "99999999999999GiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
