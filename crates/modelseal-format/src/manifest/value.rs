use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest integer up to which all JSON readers agree: 2^53.
const LAST_EXACT: i64 = 1 << 53;

/// A hyperparameter: the value and its kind, so that `1`, `1.0`, `"1"` and `true` remain four different values.
///
/// Numbers keep their text. On the wire, a number is a JSON number only if every reader gets the same kind and value
/// back. Otherwise it is `{"kind":"integer","value":"9007199254740993"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Decimal digits, with an optional leading `-`.
    Integer(String),
    /// A finite decimal number.
    Float(String),
    String(String),
    /// A TOML date or time, as written.
    Datetime(String),
    Array(Vec<Value>),
    Table(BTreeMap<String, Value>),
}

impl Value {
    /// Number of hyperparameters in this value. A table counts its entries, and a list without tables counts as one.
    pub fn count(&self) -> u64 {
        match self {
            Value::Array(values) if values.iter().any(|value| matches!(value, Value::Table(_))) => {
                values.iter().map(Value::count).sum()
            }
            Value::Table(values) => values.values().map(Value::count).sum(),
            _ => 1,
        }
    }

    /// A JSON integer, if every reader agrees on it.
    fn exact_integer(text: &str) -> Option<i64> {
        let value: i64 = text.parse().ok()?;
        let exact = (-LAST_EXACT..=LAST_EXACT).contains(&value) && value.to_string() == text;
        exact.then_some(value)
    }

    /// A JSON number with a fraction that reads back as the same text.
    fn exact_float(text: &str) -> Option<f64> {
        let value: f64 = text.parse().ok()?;
        let exact = value.is_finite() && value.fract() != 0.0 && float_text(value)? == text;
        exact.then_some(value)
    }
}

/// The text of a double in modelseal's serialisation.
fn float_text(value: f64) -> Option<String> {
    serde_json::to_string(&value).ok()
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    kind: &'a str,
    value: T,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = |kind, value: &str| Tagged { kind, value: value.to_string() };
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(text) => match Value::exact_integer(text) {
                Some(value) => serializer.serialize_i64(value),
                None => tagged("integer", text).serialize(serializer),
            },
            Value::Float(text) => match Value::exact_float(text) {
                Some(value) => serializer.serialize_f64(value),
                None => tagged("float", text).serialize(serializer),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Datetime(text) => tagged("datetime", text).serialize(serializer),
            Value::Array(values) => values.serialize(serializer),
            // A table that looks like a tag is tagged itself, so that no value can be mistaken for another.
            Value::Table(table) if looks_like_a_tag(table) => {
                Tagged { kind: "table", value: PlainTable(table) }.serialize(serializer)
            }
            Value::Table(table) => PlainTable(table).serialize(serializer),
        }
    }
}

fn looks_like_a_tag<T>(table: &BTreeMap<String, T>) -> bool {
    table.len() == 2 && table.contains_key("kind") && table.contains_key("value")
}

struct PlainTable<'a>(&'a BTreeMap<String, Value>);

impl Serialize for PlainTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Plain(value) => Ok(value),
            Wire::Table(table) => read_table(table).map_err(D::Error::custom),
        }
    }
}

/// A value on the wire, before tables are checked for tags.
enum Wire {
    Plain(Value),
    Table(BTreeMap<String, Wire>),
}

fn read(wire: Wire) -> Result<Value, &'static str> {
    match wire {
        Wire::Plain(value) => Ok(value),
        Wire::Table(table) => read_table(table),
    }
}

fn read_table(mut table: BTreeMap<String, Wire>) -> Result<Value, &'static str> {
    if !looks_like_a_tag(&table) {
        return plain_table(table);
    }
    match (table.remove("kind"), table.remove("value")) {
        (Some(Wire::Plain(Value::String(kind))), Some(Wire::Plain(Value::String(text)))) => {
            match kind.as_str() {
                "integer" => Ok(Value::Integer(text)),
                "float" => Ok(Value::Float(text)),
                "datetime" => Ok(Value::Datetime(text)),
                _ => Err(MALFORMED),
            }
        }
        (Some(Wire::Plain(Value::String(kind))), Some(Wire::Table(table))) if kind == "table" => {
            plain_table(table)
        }
        _ => Err(MALFORMED),
    }
}

const MALFORMED: &str = "the kind of a hyperparameter does not match its value";

fn plain_table(table: BTreeMap<String, Wire>) -> Result<Value, &'static str> {
    let entries = table.into_iter().map(|(key, wire)| Ok((key, read(wire)?)));
    Ok(Value::Table(entries.collect::<Result<_, &'static str>>()?))
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor)
    }
}

struct WireVisitor;

impl<'de> serde::de::Visitor<'de> for WireVisitor {
    type Value = Wire;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a hyperparameter")
    }

    fn visit_unit<E>(self) -> Result<Wire, E> {
        Ok(Wire::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Wire, E> {
        Ok(Wire::Plain(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Wire, E> {
        Ok(Wire::Plain(Value::Integer(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Wire, E> {
        Ok(Wire::Plain(Value::Integer(value.to_string())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Wire, E> {
        let text = float_text(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Wire::Plain(Value::Float(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Wire, E> {
        Ok(Wire::Plain(Value::String(text.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Wire, A::Error> {
        let mut values = Vec::new();
        while let Some(item) = items.next_element()? {
            values.push(item);
        }
        Ok(Wire::Plain(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Wire, A::Error> {
        let mut table = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Wire>()? {
            if table.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            table.insert(key, value);
        }
        Ok(Wire::Table(table))
    }
}

/// Formats a value for people. Strings are quoted, so that `"1"` is not `1`.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => formatter.write_str("null"),
            Value::Bool(value) => write!(formatter, "{value}"),
            Value::Integer(text) | Value::Float(text) | Value::Datetime(text) => formatter.write_str(text),
            Value::String(text) => write!(formatter, "\"{}\"", crate::display::Escaped(text)),
            Value::Array(values) => {
                formatter.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(formatter, "{comma}{value}")?;
                }
                formatter.write_str("]")
            }
            Value::Table(table) => {
                formatter.write_str("{")?;
                for (index, (key, value)) in table.iter().enumerate() {
                    let comma = if index == 0 { " " } else { ", " };
                    write!(formatter, "{comma}{} = {value}", crate::display::Escaped(key))?;
                }
                formatter.write_str(" }")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(text: &str) -> Value {
        Value::Integer(text.into())
    }

    fn float(text: &str) -> Value {
        Value::Float(text.into())
    }

    fn tag_like() -> Value {
        let entries = [("kind", "float"), ("value", "1.0")];
        Value::Table(entries.map(|(key, text)| (key.into(), Value::String(text.into()))).into())
    }

    #[test]
    fn hyperparameter_count_includes_nested_values() {
        let integer = || Value::Integer("1".to_string());
        let table = |values: Vec<Value>| {
            Value::Table(
                values.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            )
        };
        let list = Value::Array(vec![integer(), integer()]);
        assert_eq!(table(vec![integer(), table(vec![integer(), list.clone()])]).count(), 3);
        assert_eq!(Value::Array(vec![table(vec![integer(), list]), integer()]).count(), 3);
        assert_eq!(table(Vec::new()).count(), 0);
    }

    #[test]
    fn manifest_values_of_different_kinds_have_different_texts_and_round_trip() {
        for (value, wire) in [
            (integer("1"), "1"),
            (float("1.0"), r#"{"kind":"float","value":"1.0"}"#),
            (Value::String("1".into()), r#""1""#),
            (Value::Bool(true), "true"),
            (Value::Null, "null"),
            (integer("9007199254740992"), "9007199254740992"),
            (integer("9007199254740993"), r#"{"kind":"integer","value":"9007199254740993"}"#),
            (integer("-9007199254740993"), r#"{"kind":"integer","value":"-9007199254740993"}"#),
            (integer("-0"), r#"{"kind":"integer","value":"-0"}"#),
            (integer(&"9".repeat(40)), &format!(r#"{{"kind":"integer","value":"{}"}}"#, "9".repeat(40))),
            (float("0.1"), "0.1"),
            (float("1e-3"), r#"{"kind":"float","value":"1e-3"}"#),
            (float("0.1000000000000000000001"), r#"{"kind":"float","value":"0.1000000000000000000001"}"#),
            (float("-0.0"), r#"{"kind":"float","value":"-0.0"}"#),
            (float("1e300"), r#"{"kind":"float","value":"1e300"}"#),
            (Value::Datetime("1979-05-27".into()), r#"{"kind":"datetime","value":"1979-05-27"}"#),
            (tag_like(), r#"{"kind":"table","value":{"kind":"float","value":"1.0"}}"#),
            (Value::Array(vec![float("2.0")]), r#"[{"kind":"float","value":"2.0"}]"#),
        ] {
            assert_eq!(serde_json::to_string(&value).expect("writes"), wire);
            let back: Value = serde_json::from_str(wire).expect("reads");
            assert_eq!(back, value, "{wire}");
        }
    }

    #[test]
    fn manifest_value_parser_rejects_malformed_tags_and_duplicate_keys() {
        for wire in [
            r#"{"kind":"float","value":1.0}"#,
            r#"{"kind":"number","value":"1"}"#,
            r#"{"kind":1,"value":"1"}"#,
            r#"{"kind":"table","value":"x"}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            "1e400",
            "NaN",
        ] {
            assert!(serde_json::from_str::<Value>(wire).is_err(), "{wire}");
        }
    }
}
