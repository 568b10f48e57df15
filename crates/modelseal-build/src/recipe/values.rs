//! `[params] values`, read with the text of every number, because `1` and `1.0` are different values.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Error;
use modelseal_format::manifest::Value;
use modelseal_verify::config::Mistake;

/// The inline hyperparameters of a recipe, by name.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<(String, Value)>, Error> {
    let mistake = |span, message| Error::Mistake(Box::new(Mistake::new(path, text, span, message)));
    let document = DeTable::parse(text)
        .map_err(|error| mistake(error.span(), error.message().to_string()))?
        .into_inner();
    let Some(DeValue::Table(params)) = document.get("params").map(Spanned::get_ref) else {
        return Ok(Vec::new());
    };
    let Some(values) = params.get("values") else {
        return Ok(Vec::new());
    };
    let DeValue::Table(table) = values.get_ref() else {
        return Err(mistake(Some(values.span()), "`values` must be a table of names and values".into()));
    };
    let convert = |(key, value): (_, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<toml::de::DeString<'_>> = key;
        let converted = value_of(value.get_ref());
        match converted {
            Ok(value) => Ok((key.get_ref().to_string(), value)),
            Err(message) => Err(mistake(Some(value.span()), message)),
        }
    };
    table.iter().map(convert).collect()
}

/// Reads a whole TOML text as hyperparameters.
///
/// # Errors
/// A description of the mistake, and its line if it is known.
pub fn read_toml_values(text: &str) -> Result<Value, (Option<usize>, String)> {
    let line = |error: &toml::de::Error| {
        let start = error.span()?.start;
        Some(text.get(..start)?.matches('\n').count() + 1)
    };
    let document = DeTable::parse(text).map_err(|error| (line(&error), error.message().to_string()))?;
    table_of(document.get_ref()).map_err(|message| (None, message))
}

fn table_of(table: &DeTable<'_>) -> Result<Value, String> {
    let entries = table.iter().map(|(key, value)| {
        let value = value_of(value.get_ref())?;
        Ok((key.get_ref().to_string(), value))
    });
    Ok(Value::Table(entries.collect::<Result<_, String>>()?))
}

fn value_of(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            let parsed = parsed.map_err(|_| "this integer is too large".to_string())?;
            Value::Integer(parsed.to_string())
        }
        DeValue::Float(number) => {
            let text = number.as_str().trim_start_matches('+');
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Value::Float(text.to_string()),
                _ => return Err(format!("`{}` is not a finite number", number.as_str())),
            }
        }
        DeValue::Array(values) => {
            let values = values.iter().map(|value| value_of(value.get_ref()));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => table_of(table)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_values_keep_their_kinds_and_number_texts() {
        let text = "[params]\nvalues = { a = 1, b = 1.0, c = '1', d = true, e = 0xff, f = 1_000, g = 1e-3, \
                    h = 9223372036854775807, i = 2026-11-24, j = [1, 2.50], k = { l = -0.0 }, m = +1.5 }\n";
        let values = read(Path::new("x"), text).expect("reads");
        let shown: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            shown.join(" "),
            "a=1 b=1.0 c=\"1\" d=true e=255 f=1000 g=1e-3 h=9223372036854775807 i=2026-11-24 \
             j=[1, 2.50] k={ l = -0.0 } m=1.5"
        );
    }

    #[test]
    fn recipe_values_reject_numbers_that_are_not_finite() {
        for bad in ["nan", "-inf", "inf", "1e400"] {
            let text = format!("[params.values]\nx = {bad}\n");
            let error = read(Path::new("x.toml"), &text).expect_err("is refused").to_string();
            assert!(error.contains("not a finite number") && error.contains("x.toml:2:5"), "{error}");
        }
    }
}
