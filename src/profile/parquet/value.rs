use std::borrow::Cow;
use std::str::Utf8Error;

use jiff::Timestamp;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::schema::types::ColumnDescriptor;

use super::super::time::{Form, TimeReader};

/// The number of 1970-01-01 in the count of days that INT96 uses.
const JULIAN_1970: i128 = 2_440_588;

const NANOSECONDS_A_DAY: i128 = 86_400 * 1_000_000_000;

/// A value as the file stores it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Single(f32),
    Double(f64),
    Bytes(&'a [u8]),
    /// A time, since 1970.
    Nanoseconds(i128),
}

/// What the values of a label's or a time's column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As they are stored: text, numbers, booleans.
    Plain,
    Unsigned32,
    Unsigned64,
}

impl Kind {
    /// `None`: values of this type are not the names of classes.
    pub(super) fn of_label(column: &ColumnDescriptor) -> Option<Self> {
        use ConvertedType::*;
        if matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(_) | LogicalType::Time(_))) {
            return None;
        }
        match (column.physical_type(), column.converted_type()) {
            (Type::INT32, UINT_8 | UINT_16 | UINT_32) => Some(Kind::Unsigned32),
            (Type::INT64, UINT_64) => Some(Kind::Unsigned64),
            (Type::INT32 | Type::INT64, NONE | INT_8 | INT_16 | INT_32 | INT_64)
            | (Type::BYTE_ARRAY, NONE | UTF8 | ENUM)
            | (Type::BOOLEAN | Type::FLOAT | Type::DOUBLE, NONE) => Some(Kind::Plain),
            _ => None,
        }
    }

    /// `None`: values of this type are not times.
    pub(super) fn of_time(column: &ColumnDescriptor) -> Option<Self> {
        match column.physical_type() {
            Type::INT96 => Some(Kind::Plain),
            _ if unit(column).is_some() => Some(Kind::Plain),
            Type::INT32 | Type::INT64 | Type::BYTE_ARRAY => Self::of_label(column),
            _ => None,
        }
    }
}

/// The unit of a column of times or dates, in nanoseconds.
pub(super) fn unit(column: &ColumnDescriptor) -> Option<i128> {
    match (column.physical_type(), column.logical_type_ref(), column.converted_type()) {
        (Type::INT64, Some(LogicalType::Timestamp(timestamp)), _) => Some(match timestamp.unit {
            TimeUnit::MILLIS => 1_000_000,
            TimeUnit::MICROS => 1_000,
            TimeUnit::NANOS => 1,
        }),
        (Type::INT64, _, ConvertedType::TIMESTAMP_MILLIS) => Some(1_000_000),
        (Type::INT64, _, ConvertedType::TIMESTAMP_MICROS) => Some(1_000),
        (Type::INT32, _, ConvertedType::DATE) => Some(NANOSECONDS_A_DAY),
        _ => None,
    }
}

impl<'a> Value<'a> {
    /// With times in nanoseconds, whatever the unit of the column.
    pub(super) fn in_nanoseconds(self, unit: Option<i128>) -> Self {
        match (self, unit) {
            (Value::Integer(value), Some(unit)) => Value::Nanoseconds(i128::from(value) * unit),
            (other, _) => other,
        }
    }

    /// Appends the value: numbers in the widest form of their kind, so that a wider column of the same
    /// numbers stays the same.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Value::Boolean(value) => bytes.push(u8::from(*value)),
            Value::Integer(value) => bytes.extend(value.to_le_bytes()),
            Value::Single(value) => bytes.extend(f64::from(*value).to_le_bytes()),
            Value::Double(value) => bytes.extend(value.to_le_bytes()),
            Value::Nanoseconds(value) => bytes.extend(value.to_le_bytes()),
            Value::Bytes(value) => {
                bytes.extend((value.len() as u64).to_le_bytes());
                bytes.extend(*value);
            }
        }
    }

    /// The name of a class; `None`: not a number, which is no class.
    pub(super) fn label(self, kind: Kind) -> Option<Result<Cow<'a, str>, Utf8Error>> {
        Some(match self {
            Value::Bytes(text) => std::str::from_utf8(text).map(Cow::from),
            Value::Single(value) if value.is_nan() => return None,
            Value::Double(value) if value.is_nan() => return None,
            other => Ok(Cow::from(other.plain(kind))),
        })
    }

    /// The time, or the text that is none.
    pub(super) fn time(self, kind: Kind, reader: &mut TimeReader) -> Result<(Timestamp, Form), String> {
        let text = match self {
            Value::Nanoseconds(value) => {
                let time = Timestamp::from_nanosecond(value);
                return time.map(|time| (time, Form::Date)).map_err(|_| value.to_string());
            }
            Value::Bytes(text) => String::from_utf8_lossy(text),
            other => Cow::from(other.plain(kind)),
        };
        reader.read(&text).ok_or_else(|| text.into_owned())
    }

    /// A number or boolean as CSV has it.
    fn plain(self, kind: Kind) -> String {
        match (self, kind) {
            (Value::Boolean(value), _) => value.to_string(),
            (Value::Integer(value), Kind::Unsigned32) => (value as u32).to_string(),
            (Value::Integer(value), Kind::Unsigned64) => (value as u64).to_string(),
            (Value::Integer(value), _) => value.to_string(),
            (Value::Single(value), _) => format!("{value:?}"),
            (Value::Double(value), _) => format!("{value:?}"),
            (Value::Nanoseconds(value), _) => value.to_string(),
            (Value::Bytes(value), _) => String::from_utf8_lossy(value).into_owned(),
        }
    }
}

/// Of the types that the library decodes to.
pub(super) trait AsValue {
    fn as_value(&self) -> Value<'_>;
}

impl AsValue for bool {
    fn as_value(&self) -> Value<'_> {
        Value::Boolean(*self)
    }
}

impl AsValue for i32 {
    fn as_value(&self) -> Value<'_> {
        Value::Integer((*self).into())
    }
}

impl AsValue for i64 {
    fn as_value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl AsValue for f32 {
    fn as_value(&self) -> Value<'_> {
        Value::Single(*self)
    }
}

impl AsValue for f64 {
    fn as_value(&self) -> Value<'_> {
        Value::Double(*self)
    }
}

impl AsValue for ByteArray {
    fn as_value(&self) -> Value<'_> {
        Value::Bytes(self.data())
    }
}

impl AsValue for FixedLenByteArray {
    fn as_value(&self) -> Value<'_> {
        Value::Bytes(self.data())
    }
}

impl AsValue for Int96 {
    fn as_value(&self) -> Value<'_> {
        let [low, high, day] = [0, 1, 2].map(|place| i128::from(self.data()[place]));
        Value::Nanoseconds((day - JULIAN_1970) * NANOSECONDS_A_DAY + (high << 32) + low)
    }
}
