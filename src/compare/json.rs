//! JSON: equal content, regardless of white space and the order of members.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Cause, Failed, Likeness, Pair, text};
use modelseal_format::display::name;
use modelseal_format::manifest::{Demand, Rung};

/// Maximum size of a file that is compared as JSON. In memory it takes about twenty times its size. Longer files are
/// compared line by line.
const LONGEST: u64 = 32 << 20;

/// `None` if either file is not JSON.
pub(super) fn compare(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    if pair.sealed.metadata()?.len().max(pair.rebuilt.metadata()?.len()) > LONGEST {
        return text::compare(pair);
    }
    let (Some(left), Some(right)) = (read(pair.sealed)?, read(pair.rebuilt)?) else {
        return text::compare(pair);
    };
    let mut comparison = Comparison { tolerance: pair.tolerance, close: None };
    if let Some((place, left, right)) = comparison.compare("", &left, &right) {
        let key = place.rsplit('.').next().unwrap_or_default().to_string();
        let cause = text::cause(&key, &left, &right);
        let shown = |text: &str| name(&text.chars().take(60).collect::<String>());
        let text = format!("at {}: {} / {}", name(&place), shown(&left), shown(&right));
        return Ok(Some(Likeness::different(text).because(cause)));
    }
    Ok(Some(match comparison.close {
        Some((text, cause)) => Likeness::at(Rung::R2, text).because(cause),
        None => {
            Likeness::at(Rung::R1, "white space or the order of members differs; the values are the same")
                .because(Some(Cause::Order))
        }
    }))
}

fn read(file: &File) -> io::Result<Option<Value>> {
    let mut file = BufReader::new(file);
    io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
    Ok(serde_json::from_reader(file).ok().map(|Unique(value)| value))
}

/// A value in which no object has two members of the same name. Parsers disagree about what such a file means.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Unique)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            if object.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("duplicate member"));
            }
        }
        Ok(object.into())
    }
}

struct Comparison<'a> {
    tolerance: &'a Demand,
    /// The first number that differs but is within the tolerance, and the cause if it can be seen.
    close: Option<(String, Option<Cause>)>,
}

/// Where two files differ, and the value on each side.
type Place = (String, String, String);

impl Comparison<'_> {
    fn compare(&mut self, place: &str, sealed: &Value, rebuilt: &Value) -> Option<Place> {
        match (sealed, rebuilt) {
            (Value::Object(left), Value::Object(right)) => {
                let below =
                    |key: &str| if place.is_empty() { key.to_string() } else { format!("{place}.{key}") };
                let nothing = || "nothing".to_string();
                if let Some((key, value)) = right.iter().find(|(key, _)| !left.contains_key(*key)) {
                    return Some((below(key), nothing(), value.to_string()));
                }
                left.iter().find_map(|(key, left)| match right.get(key) {
                    Some(right) => self.compare(&below(key), left, right),
                    None => Some((below(key), left.to_string(), nothing())),
                })
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                let mut pairs = left.iter().zip(right).enumerate();
                pairs.find_map(|(index, (left, right))| {
                    self.compare(&format!("{place}[{index}]"), left, right)
                })
            }
            (Value::Number(left), Value::Number(right)) if left != right => {
                let (sealed, found) = (left.as_f64()?, right.as_f64()?);
                let apart = (sealed - found).abs();
                if apart > self.tolerance.atol + self.tolerance.rtol * sealed.abs() || apart.is_nan() {
                    return Some((place.to_string(), left.to_string(), right.to_string()));
                }
                let key = place.rsplit('.').next().unwrap_or_default();
                self.close.get_or_insert_with(|| {
                    let cause = text::cause(key, &left.to_string(), &right.to_string());
                    (format!("at {}: {left} / {right}", name(place)), cause)
                });
                None
            }
            (left, right) if left == right => None,
            (Value::Array(left), Value::Array(right)) => {
                let count = |values: &[Value]| format!("{} values", values.len());
                Some((place.to_string(), count(left), count(right)))
            }
            (left, right) => Some((place.to_string(), left.to_string(), right.to_string())),
        }
    }
}
