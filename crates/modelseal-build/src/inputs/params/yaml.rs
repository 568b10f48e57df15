use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{DEEPEST, ParamsError, number};
use modelseal_format::manifest::Value;

/// Maximum number of values. More come from anchors that multiply each other, not from hyperparameters.
const MOST_VALUES: usize = 1_000_000;

/// Parses one YAML 1.2 document with the core schema, and keeps the text of every number.
pub(super) fn parse(text: &str) -> Result<Value, ParamsError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => return Ok(document.unwrap_or(Value::Null)),
            Event::DocumentStart(_) if document.is_some() => {
                return Err(ParamsError::Syntax("it contains more than one document".into()));
            }
            Event::DocumentStart(_) => {
                let event = reader.next()?;
                document = Some(reader.value(event, 0)?);
            }
            _ => return Err(ParamsError::Syntax("it is not a single YAML document".into())),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The value of each anchor, and the number of values that it contains.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, ParamsError> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(ParamsError::Syntax(modelseal_format::display::message(&error))),
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value, ParamsError> {
        if depth > DEEPEST {
            return Err(ParamsError::TooDeep);
        }
        let before = self.values;
        self.count(1)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let (value, size) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| ParamsError::Syntax("an alias is inside its own anchor".into()))?;
                self.count(size)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref())?, anchor),
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq")?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event, depth + 1)?),
                    }
                }
                (Value::Array(items), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map")?;
                (self.table(depth)?, anchor)
            }
            _ => return Err(ParamsError::Syntax("a value is missing".into())),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before));
        }
        Ok(value)
    }

    fn table(&mut self, depth: usize) -> Result<Value, ParamsError> {
        let mut table = BTreeMap::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Table(table)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(ParamsError::Syntax("a key is not plain text".into())),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            if table.insert(key.clone(), value).is_some() {
                return Err(ParamsError::Duplicate(key));
            }
        }
    }

    fn count(&mut self, values: usize) -> Result<(), ParamsError> {
        self.values += values;
        if self.values > MOST_VALUES {
            return Err(ParamsError::Syntax("its anchors expand to too many values".into()));
        }
        Ok(())
    }
}

/// Refuses tags outside the core schema, because their meaning is unknown.
fn check_tag(tag: Option<&Tag>, expected: &str) -> Result<(), ParamsError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
            let shown = modelseal_format::display::name(&format!("{}{}", tag.handle, tag.suffix));
            Err(ParamsError::Syntax(format!("the tag {shown} is not supported")))
        }
        _ => Ok(()),
    }
}

/// Resolves a scalar (YAML 1.2, 10.3.2, for plain scalars). Quoted text is a string.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, ParamsError> {
    if style != ScalarStyle::Plain {
        check_tag(tag, "str")?;
        return Ok(Value::String(text.to_string()));
    }
    if let Some(tag) = tag {
        check_tag(Some(tag), "str")?;
        return Ok(Value::String(text.to_string()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => number(text)?,
        _ if is_special_float(text) => return Err(ParamsError::NotFinite(text.to_string())),
        _ => match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
            (Some(digits), _) => based(text, digits, 16)?,
            (_, Some(digits)) => based(text, digits, 8)?,
            _ => Value::String(text.to_string()),
        },
    })
}

/// Whether the text matches `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_right = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_is_right
}

fn is_special_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// Converts a number in another base. Text that only starts like one is a string.
fn based(text: &str, digits: &str, radix: u32) -> Result<Value, ParamsError> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Ok(Value::String(text.to_string()));
    }
    match u128::from_str_radix(digits, radix) {
        Ok(number) => Ok(Value::Integer(number.to_string())),
        Err(_) => Err(ParamsError::Syntax(format!("{} is too large", modelseal_format::display::name(text)))),
    }
}
