//! Arrays of numbers in files, compared in bounded memory on all cores.

use std::fs::File;
use std::io;

use super::{Likeness, read_some_at};
use crate::digest::{map_files, threads};
use crate::manifest::{Demand, Rung};
use crate::text::number;

/// How many bytes one thread takes at a time. A multiple of the width of every kind of number.
const BLOCK: u64 = 1 << 20;

/// A kind of number, and how its bytes are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) number: Number,
    pub(super) big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    F16,
    Bf16,
    F32,
    F64,
    /// Signed or not, of this many bytes. Booleans are unsigned of one.
    Signed(usize),
    Unsigned(usize),
    /// Something that is only the same or not, of this many bytes.
    Opaque(usize),
}

impl Number {
    /// In bytes.
    pub(super) fn width(self) -> usize {
        match self {
            Number::F16 | Number::Bf16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
            Number::Signed(width) | Number::Unsigned(width) | Number::Opaque(width) => width,
        }
    }
}

/// Where an array lies in a file.
pub(super) struct Array<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

/// How far two arrays are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Distance {
    /// How many elements differ at all.
    pub(super) differing: u64,
    /// How many differ beyond the tolerance.
    pub(super) beyond: u64,
    /// The first that differs.
    pub(super) first: Option<(u64, f64, f64)>,
    pub(super) absolute: f64,
    pub(super) relative: f64,
    /// In units in the last place; of floating-point numbers.
    pub(super) ulp: u64,
    /// Both are whole numbers.
    whole: bool,
}

impl Distance {
    fn add(&mut self, other: &Self) {
        self.first = self.first.or(other.first);
        self.differing += other.differing;
        self.beyond += other.beyond;
        self.absolute = self.absolute.max(other.absolute);
        self.relative = self.relative.max(other.relative);
        self.ulp = self.ulp.max(other.ulp);
        self.whole |= other.whole;
    }

    /// What that means for a file in which the rest is the same.
    pub(super) fn likeness(&self, what: &str, total: u64) -> Likeness {
        let Some((index, sealed, found)) = self.first else {
            return Likeness::same();
        };
        let share = format!("{what}: {} of {} numbers differ", number(self.differing), number(total));
        let largest = format!("by at most {:.3e} ({:.3e} relative", self.absolute, self.relative);
        let ulp = if self.whole { String::new() } else { format!(", {} ULP", number(self.ulp)) };
        let first = format!("first at {}: {sealed} / {found}", number(index));
        let text = format!("{share}, {largest}{ulp}), {first}");
        if self.beyond == 0 { Likeness::at(Rung::R2, text) } else { Likeness::different(text) }
    }
}

/// Compares `count` numbers.
pub(super) fn compare(
    sealed: &Array<'_>,
    rebuilt: &Array<'_>,
    count: u64,
    kind: Kind,
    tolerance: &Demand,
) -> io::Result<Distance> {
    let width = kind.number.width() as u64;
    let length = count * width;
    let block = BLOCK / width * width;
    let round = block * threads() as u64 * 4;
    let mut distance = Distance::default();
    let mut start = 0;
    while start < length {
        crate::interrupt::check()?;
        let blocks: Vec<u64> = (start..length.min(start + round)).step_by(block as usize).collect();
        let parts = map_files(&blocks, |place| {
            let size = block.min(length - place) as usize;
            let left = read_some_at(sealed.file, sealed.offset + place, size)?;
            let right = read_some_at(rebuilt.file, rebuilt.offset + place, size)?;
            if left.len() != size || right.len() != size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok::<_, io::Error>(compare_blocks(&left, &right, kind, tolerance, place / width))
        })?;
        parts.iter().for_each(|part| distance.add(part));
        start += round;
    }
    Ok(distance)
}

/// Compares numbers at hand; the first has this index.
pub(super) fn compare_blocks(
    sealed: &[u8],
    rebuilt: &[u8],
    kind: Kind,
    tolerance: &Demand,
    index: u64,
) -> Distance {
    if sealed == rebuilt {
        return Distance::default();
    }
    let pairs = sealed.chunks_exact(kind.number.width()).zip(rebuilt.chunks_exact(kind.number.width()));
    let pairs = pairs.enumerate().filter(|(_, (left, right))| left != right);
    let mut distance = Distance::default();
    for (place, (left, right)) in pairs {
        distance.take(index + place as u64, read(left, kind), read(right, kind), tolerance);
    }
    distance
}

/// A number as a double, and its place in the order of its kind's values.
struct Read {
    value: f64,
    ordinal: i64,
    whole: bool,
}

impl Distance {
    fn take(&mut self, index: u64, sealed: Read, found: Read, tolerance: &Demand) {
        self.differing += 1;
        self.first = self.first.or(Some((index, sealed.value, found.value)));
        self.whole |= sealed.whole;
        let absolute = (sealed.value - found.value).abs();
        // A number that is none is never close to anything, nor is an infinity to another number.
        let both_none = sealed.value.is_nan() && found.value.is_nan();
        if !both_none && absolute.is_nan() || absolute.is_infinite() {
            self.absolute = f64::INFINITY;
            self.relative = f64::INFINITY;
            self.beyond += 1;
            return;
        }
        if both_none {
            // The same kind of none in other bits.
            return;
        }
        self.absolute = self.absolute.max(absolute);
        let size = sealed.value.abs();
        let relative = if size > 0.0 { absolute / size } else { f64::INFINITY };
        self.relative = self.relative.max(if absolute == 0.0 { 0.0 } else { relative });
        self.ulp = self.ulp.max(sealed.ordinal.abs_diff(found.ordinal));
        if absolute > tolerance.atol + tolerance.rtol * size || sealed.ordinal == i64::MIN {
            self.beyond += 1;
        }
    }
}

fn read(bytes: &[u8], kind: Kind) -> Read {
    let mut wide = [0u8; 8];
    let used = bytes.len().min(8);
    for (index, byte) in bytes.iter().take(used).enumerate() {
        wide[if kind.big_endian { used - 1 - index } else { index }] = *byte;
    }
    let bits = u64::from_le_bytes(wide);
    let whole = |value: f64, ordinal: i64| Read { value, ordinal, whole: true };
    // The bits of floating-point numbers of one sign are ordered as their values are.
    let float = |value: f64, width: u32| {
        let sign = 1u64 << (8 * width - 1);
        let magnitude = (bits & (sign - 1)) as i64;
        Read { value, ordinal: if bits & sign == 0 { magnitude } else { -magnitude }, whole: false }
    };
    match kind.number {
        Number::F16 => float(half::f16::from_bits(bits as u16).to_f64(), 2),
        Number::Bf16 => float(half::bf16::from_bits(bits as u16).to_f64(), 2),
        Number::F32 => float(f64::from(f32::from_bits(bits as u32)), 4),
        Number::F64 => float(f64::from_bits(bits), 8),
        Number::Signed(width) => {
            let shift = 64 - 8 * width as u32;
            let value = ((bits << shift) as i64) >> shift;
            whole(value as f64, value)
        }
        Number::Unsigned(_) => whole(bits as f64, bits as i64),
        // Never close, whatever its bits would be as a number.
        Number::Opaque(_) => whole(bits as f64, i64::MIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(left: &[u8], right: &[u8], number: Number, big_endian: bool) -> Distance {
        let tolerance = Demand { level: Rung::R2, atol: 0.0, rtol: 1e-6 };
        compare_blocks(left, right, Kind { number, big_endian }, &tolerance, 0)
    }

    #[test]
    fn distances_are_measured_in_every_kind_of_number() {
        let next = |value: f32| f32::from_bits(value.to_bits() + 1);
        let found = distance(&1f32.to_le_bytes(), &next(1.0).to_le_bytes(), Number::F32, false);
        assert_eq!((found.differing, found.beyond, found.ulp), (1, 0, 1));
        let found = distance(&1f32.to_be_bytes(), &1.1f32.to_be_bytes(), Number::F32, true);
        assert_eq!((found.differing, found.beyond), (1, 1));
        assert!((found.relative - 0.1).abs() < 1e-6);
        let found = distance(&(-0f64).to_le_bytes(), &0f64.to_le_bytes(), Number::F64, false);
        assert_eq!((found.differing, found.beyond, found.ulp, found.absolute), (1, 0, 0, 0.0));
        let found = distance(&0x3c00u16.to_le_bytes(), &0x3c01u16.to_le_bytes(), Number::F16, false);
        assert_eq!((found.ulp, found.beyond), (1, 1));
        let found = distance(&0x3f80u16.to_le_bytes(), &0x3f82u16.to_le_bytes(), Number::Bf16, false);
        assert_eq!(found.ulp, 2);
        let found = distance(&(-5i16).to_le_bytes(), &(-7i16).to_le_bytes(), Number::Signed(2), false);
        assert_eq!((found.absolute, found.beyond), (2.0, 1));
        let found = distance(&[200], &[201], Number::Unsigned(1), false);
        assert_eq!((found.absolute, found.beyond), (1.0, 1));
        let found = distance(&[1, 1], &[1, 2], Number::Opaque(2), false);
        assert_eq!(found.beyond, 1);
    }

    #[test]
    fn what_is_not_a_number_is_never_close_to_one() {
        for (left, right, beyond) in [
            (f64::NAN, 1.0, 1),
            (1.0, f64::NAN, 1),
            (f64::INFINITY, 1.0, 1),
            (f64::INFINITY, f64::NEG_INFINITY, 1),
            (f64::NAN, -f64::NAN, 0),
        ] {
            let found = distance(&left.to_le_bytes(), &right.to_le_bytes(), Number::F64, false);
            assert_eq!(found.beyond, beyond, "{left} {right}");
        }
    }

    #[test]
    fn small_numbers_are_close_only_within_the_absolute_tolerance() {
        let tolerance = Demand { level: Rung::R2, atol: 1e-9, rtol: 0.0 };
        let kind = Kind { number: Number::F64, big_endian: false };
        let found = |left: f64, right: f64| {
            compare_blocks(&left.to_le_bytes(), &right.to_le_bytes(), kind, &tolerance, 7).beyond
        };
        assert_eq!(found(0.0, 1e-10), 0);
        assert_eq!(found(0.0, 1e-8), 1);
    }
}
