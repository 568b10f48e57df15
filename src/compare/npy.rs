//! npy: one array of NumPy. <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::fs::File;
use std::io;

use super::numbers::{self, Array, Kind, Number};
use super::{Failed, Likeness, Pair, read_some_at};
use modelseal_format::display::name;
use modelseal_format::manifest::Rung;

/// Maximum length of a header in bytes.
const LONGEST_HEADER: usize = 1 << 20;

#[derive(PartialEq, Eq)]
struct Header {
    /// The Python literal of the header, unchanged.
    text: String,
    /// The offset of the numbers in the file.
    start: u64,
}

/// `None` if either file is not npy.
pub(super) fn compare(pair: &Pair<'_>) -> Result<Option<Likeness>, Failed> {
    let (Some(left), Some(right)) = (read(pair.sealed)?, read(pair.rebuilt)?) else {
        return Ok(None);
    };
    if left.text != right.text {
        let shown = |header: &Header| name(&header.text.chars().take(100).collect::<String>());
        let text = format!("array: {} / {}", shown(&left), shown(&right));
        return Ok(Some(Likeness::different(text)));
    }
    let (left_size, right_size) = (pair.sealed.metadata()?.len(), pair.rebuilt.metadata()?.len());
    let length = left_size.saturating_sub(left.start);
    let Some(kind) = value(&left.text, "descr").and_then(kind) else { return Ok(None) };
    if length != right_size.saturating_sub(right.start) || length % kind.number.width() as u64 != 0 {
        return Ok(None);
    }
    let count = length / kind.number.width() as u64;
    let sealed = Array { file: pair.sealed, offset: left.start };
    let rebuilt = Array { file: pair.rebuilt, offset: right.start };
    let distance = numbers::compare(&sealed, &rebuilt, count, kind, pair.tolerance, pair.context)?;
    let header = Likeness::at(Rung::R1, "the array's header is padded differently");
    Ok(Some(header.and(distance.likeness("array", count))))
}

fn read(file: &File) -> io::Result<Option<Header>> {
    let start = read_some_at(file, 0, 12)?;
    let (length, at) = match start.as_slice() {
        [_, _, _, _, _, _, 1, _, low, high, ..] => (usize::from(u16::from_le_bytes([*low, *high])), 10),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        _ => return Ok(None),
    };
    if length > LONGEST_HEADER {
        return Ok(None);
    }
    let text = read_some_at(file, at, length)?;
    if text.len() < length {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&text).trim().to_string();
    Ok(Some(Header { text, start: at + length as u64 }))
}

/// The text of a string value in the header's literal.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    rest.trim_start().strip_prefix('\'')?.split('\'').next()
}

/// The meaning of a NumPy type string such as `<f4`. Complex numbers are pairs, strings are opaque.
pub(super) fn kind(descr: &str) -> Option<Kind> {
    let (order, rest) = descr.split_at_checked(1)?;
    let (letter, width) = rest.split_at_checked(1)?;
    let width: usize = width.parse().ok()?;
    let number = match (letter, width) {
        ("f", 2) => Number::F16,
        ("f", 4) | ("c", 8) => Number::F32,
        ("f", 8) | ("c", 16) => Number::F64,
        ("i", 1 | 2 | 4 | 8) => Number::Signed(width),
        ("u", 1 | 2 | 4 | 8) | ("b", 1) => Number::Unsigned(width),
        ("S" | "V" | "M" | "m", 1..=4096) => Number::Opaque(width),
        ("U", 1..=1024) => Number::Opaque(4 * width),
        _ => return None,
    };
    Some(Kind { number, big_endian: order == ">" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_reader_understands_numpy_type_strings() {
        let little = |number| Some(Kind { number, big_endian: false });
        assert_eq!(kind("<f4"), little(Number::F32));
        assert_eq!(kind("|b1"), little(Number::Unsigned(1)));
        assert_eq!(kind("<U5"), little(Number::Opaque(20)));
        assert_eq!(kind(">i8"), Some(Kind { number: Number::Signed(8), big_endian: true }));
        for other in ["", "<", "<f", "<f3", "|O", "é4", "<i99999999999999999999"] {
            assert_eq!(kind(other), None, "{other}");
        }
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }";
        assert_eq!(value(header, "descr"), Some("<f8"));
        assert_eq!(value("{'descr': [('a', '<f8')]}", "descr"), None);
    }
}
