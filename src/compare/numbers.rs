//! Arrays of numbers in files, compared in bounded memory on all cores.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::Likeness;
use modelseal_format::context::{Context, threads};
use modelseal_format::digest::map_files;
use modelseal_format::display::number;
use modelseal_format::manifest::{Demand, Rung};

/// How many bytes a thread processes at a time. A multiple of the width of every kind of number.
const BLOCK: u64 = 1 << 20;

/// A number type and its byte order.
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
    /// Signed or unsigned integers of this many bytes. Booleans are unsigned integers of one byte.
    Signed(usize),
    Unsigned(usize),
    /// Values of this many bytes that are either the same or not.
    Opaque(usize),
}

impl Number {
    /// The width in bytes.
    pub(super) fn width(self) -> usize {
        match self {
            Number::F16 | Number::Bf16 => 2,
            Number::F32 => 4,
            Number::F64 => 8,
            Number::Signed(width) | Number::Unsigned(width) | Number::Opaque(width) => width,
        }
    }
}

/// The position of an array in a file.
pub(super) struct Array<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

/// How far two arrays differ.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Distance {
    /// How many elements differ at all.
    pub(super) differing: u64,
    /// How many elements differ beyond the tolerance.
    pub(super) beyond: u64,
    /// The first element that differs: its index and both values.
    pub(super) first: Option<(u64, f64, f64)>,
    pub(super) absolute: f64,
    pub(super) relative: f64,
    /// In units in the last place; only for floating-point numbers.
    pub(super) ulp: u64,
    /// The elements are integers.
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

    /// The likeness of a file in which nothing else differs.
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
    context: &Context,
) -> io::Result<Distance> {
    let width = kind.number.width() as u64;
    let length = count * width;
    let block = BLOCK / width * width;
    // Each thread compares one stripe and reuses two buffers.
    let stripe = (length.div_ceil(threads() as u64 * block) * block).max(block);
    let stripes: Vec<u64> = (0..length).step_by(stripe as usize).collect();
    let parts = map_files(&stripes, context, |start| {
        let mut distance = Distance::default();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let end = length.min(start + stripe);
        for place in (*start..end).step_by(block as usize) {
            context.check()?;
            let size = block.min(end - place) as usize;
            fill_at(sealed.file, sealed.offset + place, size, &mut left)?;
            fill_at(rebuilt.file, rebuilt.offset + place, size, &mut right)?;
            distance.add(&compare_blocks(&left, &right, kind, tolerance, place / width));
        }
        Ok::<_, io::Error>(distance)
    })?;
    let mut distance = Distance::default();
    parts.iter().for_each(|part| distance.add(part));
    Ok(distance)
}

/// Reads exactly `size` bytes at an offset.
fn fill_at(file: &File, offset: u64, size: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(size, 0);
    file.read_exact_at(buffer, offset)
}

/// Compares numbers in memory. `index` is the index of the first.
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
    let blocks = Blocks { sealed, rebuilt, tolerance, index };
    // One loop per number type, so that the type is not dispatched for every element.
    match kind.number {
        Number::F16 => {
            blocks.compare(kind, |bits| float(half::f16::from_bits(bits as u16).to_f64(), bits, 2))
        }
        Number::Bf16 => {
            blocks.compare(kind, |bits| float(f64::from(f32::from_bits((bits as u32) << 16)), bits, 2))
        }
        Number::F32 => blocks.compare(kind, |bits| float(f64::from(f32::from_bits(bits as u32)), bits, 4)),
        Number::F64 => blocks.compare(kind, |bits| float(f64::from_bits(bits), bits, 8)),
        Number::Signed(width) => blocks.compare(kind, move |bits| {
            let shift = 64 - 8 * width as u32;
            let value = ((bits << shift) as i64) >> shift;
            Read { value: value as f64, ordinal: value, whole: true }
        }),
        Number::Unsigned(_) => {
            blocks.compare(kind, |bits| Read { value: bits as f64, ordinal: bits as i64, whole: true })
        }
        // `ordinal: i64::MIN` means never within the tolerance, even if the bits read as numbers are close.
        Number::Opaque(_) => {
            blocks.compare(kind, |bits| Read { value: bits as f64, ordinal: i64::MIN, whole: true })
        }
    }
}

/// Two blocks of numbers of one type.
struct Blocks<'a> {
    sealed: &'a [u8],
    rebuilt: &'a [u8],
    tolerance: &'a Demand,
    /// The index of the first number.
    index: u64,
}

impl Blocks<'_> {
    fn compare(&self, kind: Kind, decode: impl Fn(u64) -> Read) -> Distance {
        match (kind.number.width(), kind.big_endian) {
            (1, _) => self.fold::<1>(|bytes| u64::from(bytes[0]), decode),
            (2, false) => self.fold::<2>(|bytes| u64::from(u16::from_le_bytes(bytes)), decode),
            (2, true) => self.fold::<2>(|bytes| u64::from(u16::from_be_bytes(bytes)), decode),
            (4, false) => self.fold::<4>(|bytes| u64::from(u32::from_le_bytes(bytes)), decode),
            (4, true) => self.fold::<4>(|bytes| u64::from(u32::from_be_bytes(bytes)), decode),
            (8, false) => self.fold::<8>(u64::from_le_bytes, decode),
            (8, true) => self.fold::<8>(u64::from_be_bytes, decode),
            (width, _) => self.fold_opaque(width, decode),
        }
    }

    fn fold<const WIDTH: usize>(
        &self,
        bits: impl Fn([u8; WIDTH]) -> u64,
        decode: impl Fn(u64) -> Read,
    ) -> Distance {
        let (sealed, _) = self.sealed.as_chunks::<WIDTH>();
        let (rebuilt, _) = self.rebuilt.as_chunks::<WIDTH>();
        let mut distance = Distance::default();
        let mut start = 0;
        if let Some(first) = sealed.iter().zip(rebuilt).position(|(left, right)| left != right) {
            let (left, right) = (decode(bits(sealed[first])), decode(bits(rebuilt[first])));
            distance.first = Some((self.index + first as u64, left.value, right.value));
            distance.whole = left.whole;
            start = first;
        }
        let Demand { atol, rtol, .. } = *self.tolerance;
        // Local accumulators, which the compiler keeps in registers.
        let (mut differing, mut beyond, mut ulp) = (0, 0, 0);
        let (mut absolute, mut relative) = (0.0, Ratio { part: 0.0, whole: 1.0 });
        for (left, right) in sealed[start..].iter().zip(&rebuilt[start..]) {
            let (left, right) = (bits(*left), bits(*right));
            if left == right {
                continue;
            }
            let (left, right) = (decode(left), decode(right));
            let (apart, size) = ((left.value - right.value).abs(), left.value.abs());
            if !(apart < f64::INFINITY && size > 0.0) || left.ordinal == i64::MIN {
                distance.take(left, right, self.tolerance);
                continue;
            }
            differing += 1;
            beyond += u64::from(apart > atol + rtol * size);
            ulp = left.ordinal.abs_diff(right.ordinal).max(ulp);
            absolute = if apart > absolute { apart } else { absolute };
            // Avoids a division for each number, which would cost more than everything else.
            if apart * relative.whole > relative.part * size {
                relative = Ratio { part: apart, whole: size };
            }
        }
        let relative = relative.part / relative.whole;
        distance.add(&Distance { differing, beyond, absolute, relative, ulp, ..Distance::default() });
        distance
    }

    /// Compares values of any width for equality. A difference is shown by the first bytes.
    fn fold_opaque(&self, width: usize, decode: impl Fn(u64) -> Read) -> Distance {
        let mut distance = Distance::default();
        let first =
            |bytes: &[u8]| bytes.iter().take(8).rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        let pairs = self.sealed.chunks_exact(width).zip(self.rebuilt.chunks_exact(width));
        for (place, (left, right)) in pairs.enumerate().filter(|(_, (left, right))| left != right) {
            let (left, right) = (decode(first(left)), decode(first(right)));
            let index = self.index + place as u64;
            distance.first.get_or_insert((index, left.value, right.value));
            distance.take(left, right, self.tolerance);
        }
        distance
    }
}

/// A quotient before the division.
struct Ratio {
    part: f64,
    whole: f64,
}

/// A number as a double, and its rank among the values of its type.
struct Read {
    value: f64,
    ordinal: i64,
    whole: bool,
}

impl Distance {
    /// Adds a pair of values, which may also be NaN, infinite or opaque.
    #[cold]
    fn take(&mut self, sealed: Read, found: Read, tolerance: &Demand) {
        self.differing += 1;
        self.whole |= sealed.whole;
        let absolute = (sealed.value - found.value).abs();
        // A NaN is never close to a number, and neither is an infinity.
        let both_none = sealed.value.is_nan() && found.value.is_nan();
        if !both_none && absolute.is_nan() || absolute.is_infinite() {
            self.absolute = f64::INFINITY;
            self.relative = f64::INFINITY;
            self.beyond += 1;
            return;
        }
        if both_none {
            // Both are NaN, with different bits.
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

/// For floating-point numbers of one sign, the order of the bits is the order of the values.
#[inline]
fn float(value: f64, bits: u64, width: u32) -> Read {
    let place = 8 * width - 1;
    let magnitude = (bits & ((1u64 << place) - 1)) as i64;
    // All bits are set if the number is negative. The next line then negates without a branch.
    let sign = -((bits >> place) as i64 & 1);
    Read { value, ordinal: (magnitude ^ sign) - sign, whole: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(left: &[u8], right: &[u8], number: Number, big_endian: bool) -> Distance {
        let tolerance = Demand { level: Rung::R2, atol: 0.0, rtol: 1e-6 };
        compare_blocks(left, right, Kind { number, big_endian }, &tolerance, 0)
    }

    #[test]
    fn comparison_measures_distances_in_every_kind_of_number() {
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
    fn comparison_finds_nan_and_infinity_close_to_no_number() {
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
    fn comparison_applies_the_absolute_tolerance_to_small_numbers() {
        let tolerance = Demand { level: Rung::R2, atol: 1e-9, rtol: 0.0 };
        let kind = Kind { number: Number::F64, big_endian: false };
        let found = |left: f64, right: f64| {
            compare_blocks(&left.to_le_bytes(), &right.to_le_bytes(), kind, &tolerance, 7).beyond
        };
        assert_eq!(found(0.0, 1e-10), 0);
        assert_eq!(found(0.0, 1e-8), 1);
    }
}
