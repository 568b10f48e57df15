use serde::{Deserialize, Serialize};
use serde_json::Value;

/// From here on, every double is a whole number.
const LARGEST_WHOLE: f64 = (1u64 << 53) as f64;

/// Numbers agree if they are no further apart than `atol + rtol * |expected|`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

impl Tolerance {
    /// Whether two numbers agree. Whole numbers are ids, classes and counts, so they must be equal.
    pub fn allows(self, expected: f64, found: f64) -> bool {
        let is_whole = |number: f64| number.fract() == 0.0 && number.abs() < LARGEST_WHOLE;
        if is_whole(expected) && is_whole(found) {
            return expected == found;
        }
        // A negated `>` would accept NaN.
        (expected - found).abs() <= self.atol + self.rtol * expected.abs()
    }

    /// Whether all numbers of two lists agree within the tolerance.
    pub fn allows_all(self, expected: &[f64], found: &[f64]) -> bool {
        expected.len() == found.len()
            && expected.iter().zip(found).all(|(expected, found)| self.allows(*expected, *found))
    }

    /// Whether two answers are equal apart from numbers within the tolerance.
    pub fn accepts(self, expected: &Value, found: &Value) -> bool {
        match (expected, found) {
            (Value::Number(left), Value::Number(right)) => {
                left == right
                    || left.as_f64().zip(right.as_f64()).is_some_and(|(left, right)| self.allows(left, right))
            }
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len()
                    && left.iter().zip(right).all(|(left, right)| self.accepts(left, right))
            }
            (Value::Object(left), Value::Object(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .all(|(name, value)| right.get(name).is_some_and(|other| self.accepts(value, other)))
            }
            _ => expected == found,
        }
    }
}
