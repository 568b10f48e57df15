use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess};
use serde_json::value::RawValue;

use super::{DEEPEST, ParamsError, number};
use modelseal_format::manifest::Value;

/// Parses JSON, and keeps the text of every number.
pub(super) fn parse(text: &str) -> Result<Value, ParamsError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    value(raw, 0)
}

fn syntax(error: &serde_json::Error) -> ParamsError {
    ParamsError::Syntax(modelseal_format::display::message(error))
}

fn value(raw: &RawValue, depth: usize) -> Result<Value, ParamsError> {
    if depth > DEEPEST {
        return Err(ParamsError::TooDeep);
    }
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(text).map_err(|error| syntax(&error))?;
            let mut table = BTreeMap::new();
            for (key, raw) in members.0 {
                if table.insert(key.clone(), value(raw, depth + 1)?).is_some() {
                    return Err(ParamsError::Duplicate(key));
                }
            }
            Value::Table(table)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| syntax(&error))?;
            Value::Array(items.into_iter().map(|raw| value(raw, depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::String(serde_json::from_str(text).map_err(|error| syntax(&error))?),
        Some(b't' | b'f') => Value::Bool(text == "true"),
        Some(b'n') | None => Value::Null,
        Some(_) => number(text)?,
    })
}

/// The members of an object in their order, including duplicates.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value = map.next_value::<&RawValue>().map_err(A::Error::custom)?;
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
