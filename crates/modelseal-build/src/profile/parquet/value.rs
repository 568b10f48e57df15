use std::borrow::Cow;
use std::str::Utf8Error;

use jiff::Timestamp;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use super::super::time::{Form, TimeReader};

/// The number of 1970-01-01 in the Julian day count that INT96 uses.
const JULIAN_1970: i128 = 2_440_588;

const NANOSECONDS_A_DAY: i128 = 86_400 * 1_000_000_000;

/// A value as its column defines it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    Bytes(&'a [u8]),
    /// A time since 1970, or since midnight.
    Nanoseconds(i128),
}

/// What the stored values of a column mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    is_unsigned: bool,
    /// The unit of times and dates, in nanoseconds.
    unit: Option<i128>,
    /// Digits after the decimal point of decimals, which are stored as whole numbers.
    scale: Option<i32>,
}

impl Meaning {
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        use ConvertedType::*;
        let is_unsigned = matches!(column.converted_type(), UINT_8 | UINT_16 | UINT_32 | UINT_64);
        let is_decimal = column.converted_type() == DECIMAL
            || matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)));
        Self { is_unsigned, unit: unit(column), scale: is_decimal.then(|| column.type_scale()) }
    }
}

/// Whether the values of a column can be the names of classes: text, whole numbers, booleans, numbers.
pub(super) fn can_be_label(column: &ColumnDescriptor) -> bool {
    use ConvertedType::*;
    if matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(_) | LogicalType::Time(_))) {
        return false;
    }
    matches!(
        (column.physical_type(), column.converted_type()),
        (Type::INT32, NONE | INT_8 | INT_16 | INT_32 | UINT_8 | UINT_16 | UINT_32)
            | (Type::INT64, NONE | INT_64 | UINT_64)
            | (Type::BYTE_ARRAY, NONE | UTF8 | ENUM)
            | (Type::BOOLEAN | Type::FLOAT | Type::DOUBLE, NONE)
    )
}

/// Whether the values of a column can be times: timestamps, dates, or values that would be times in CSV.
pub(super) fn can_be_time(column: &ColumnDescriptor) -> bool {
    let is_time_of_day = matches!(column.logical_type_ref(), Some(LogicalType::Time(_)))
        || matches!(column.converted_type(), ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS);
    match column.physical_type() {
        _ if is_time_of_day => false,
        Type::INT96 => true,
        _ if unit(column).is_some() => true,
        Type::INT32 | Type::INT64 | Type::BYTE_ARRAY => can_be_label(column),
        _ => false,
    }
}

/// The unit of a column of times, times of day or dates, in nanoseconds.
fn unit(column: &ColumnDescriptor) -> Option<i128> {
    let of = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1_000,
        TimeUnit::NANOS => 1,
    };
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Timestamp(timestamp)), _) => Some(of(&timestamp.unit)),
        (Some(LogicalType::Time(time)), _) => Some(of(&time.unit)),
        (_, ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS) => Some(1_000_000),
        (_, ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS) => Some(1_000),
        (_, ConvertedType::DATE) => Some(NANOSECONDS_A_DAY),
        _ => None,
    }
}

impl<'a> Value<'a> {
    /// A signed number, or the time that it represents.
    fn number(number: i64, meaning: Meaning) -> Self {
        match meaning.unit {
            Some(unit) => Value::Nanoseconds(i128::from(number) * unit),
            None => Value::Integer(number),
        }
    }

    /// Appends the value. Numbers have the widest form of their kind, so that a wider column with the same numbers
    /// gives the same bytes.
    pub(super) fn encode(&self, meaning: Meaning, bytes: &mut Vec<u8>) {
        if let Some(scale) = meaning.scale {
            bytes.extend(scale.to_le_bytes());
        }
        match self {
            Value::Boolean(value) => bytes.push(u8::from(*value)),
            Value::Integer(value) => bytes.extend(value.to_le_bytes()),
            Value::Unsigned(value) => match i64::try_from(*value) {
                Ok(value) => bytes.extend(value.to_le_bytes()),
                Err(_) => bytes.extend(i128::from(*value).to_le_bytes()),
            },
            Value::Single(value) => bytes.extend(f64::from(*value).to_le_bytes()),
            Value::Double(value) => bytes.extend(value.to_le_bytes()),
            Value::Nanoseconds(value) => bytes.extend(value.to_le_bytes()),
            Value::Bytes(value) => {
                bytes.extend((value.len() as u64).to_le_bytes());
                bytes.extend(*value);
            }
        }
    }

    /// The name of a class; `None` for NaN, which is not a class.
    pub(super) fn label(self) -> Option<Result<Cow<'a, str>, Utf8Error>> {
        Some(match self {
            Value::Bytes(text) => std::str::from_utf8(text).map(Cow::from),
            Value::Single(value) if value.is_nan() => return None,
            Value::Double(value) if value.is_nan() => return None,
            other => Ok(Cow::from(other.plain())),
        })
    }

    /// The time; the error is the text that is not a time.
    pub(super) fn time(self, reader: &mut TimeReader) -> Result<(Timestamp, Form), String> {
        let text = match self {
            Value::Nanoseconds(value) => {
                let time = Timestamp::from_nanosecond(value);
                return time.map(|time| (time, Form::Date)).map_err(|_| value.to_string());
            }
            Value::Bytes(text) => String::from_utf8_lossy(text),
            other => Cow::from(other.plain()),
        };
        reader.read(&text).ok_or_else(|| text.into_owned())
    }

    /// A number or boolean as CSV writes it.
    fn plain(self) -> String {
        match self {
            Value::Boolean(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Unsigned(value) => value.to_string(),
            Value::Single(value) => format!("{value:?}"),
            Value::Double(value) => format!("{value:?}"),
            Value::Nanoseconds(value) => value.to_string(),
            Value::Bytes(value) => String::from_utf8_lossy(value).into_owned(),
        }
    }
}

/// Implemented by the types that the library decodes to: what a stored value means in its column.
pub(super) trait AsValue {
    fn as_value(&self, meaning: Meaning) -> Value<'_>;
}

impl AsValue for bool {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        Value::Boolean(*self)
    }
}

impl AsValue for f32 {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        Value::Single(*self)
    }
}

impl AsValue for f64 {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        Value::Double(*self)
    }
}

impl AsValue for ByteArray {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        Value::Bytes(self.data())
    }
}

impl AsValue for FixedLenByteArray {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        Value::Bytes(self.data())
    }
}

impl AsValue for i32 {
    fn as_value(&self, meaning: Meaning) -> Value<'_> {
        match meaning.is_unsigned {
            true => Value::Unsigned((*self as u32).into()),
            false => Value::number((*self).into(), meaning),
        }
    }
}

impl AsValue for i64 {
    fn as_value(&self, meaning: Meaning) -> Value<'_> {
        match meaning.is_unsigned {
            true => Value::Unsigned(*self as u64),
            false => Value::number(*self, meaning),
        }
    }
}

impl AsValue for Int96 {
    fn as_value(&self, _: Meaning) -> Value<'_> {
        let [low, high, day] = [0, 1, 2].map(|place| i128::from(self.data()[place]));
        Value::Nanoseconds((day - JULIAN_1970) * NANOSECONDS_A_DAY + (high << 32) + low)
    }
}
