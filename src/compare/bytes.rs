//! Files that are compared as bytes.

use std::fs::File;
use std::io;

use super::{Pair, read_some_at};
use modelseal_format::context::threads;
use modelseal_format::digest::map_files;
use modelseal_format::display::number;

/// How many bytes are compared at a time.
const BLOCK: u64 = 4 << 20;

/// How many bytes of each side are shown.
const SHOWN: usize = 16;

/// Where two files begin to differ.
pub(super) struct First {
    offset: u64,
    sealed: u64,
    rebuilt: u64,
}

/// The first byte that differs. `None` if the files are the same.
pub(super) fn first_difference(pair: &Pair<'_>) -> io::Result<Option<First>> {
    let (left, right) = (pair.sealed.metadata()?.len(), pair.rebuilt.metadata()?.len());
    let common = left.min(right);
    let first = |offset| Some(First { offset, sealed: left, rebuilt: right });
    match first_difference_in(pair, 0, 0, common)? {
        Some(offset) => Ok(first(offset)),
        None if left != right => Ok(first(common)),
        None => Ok(None),
    }
}

/// The first byte that differs between a part of each file. Each part has its own offset.
pub(super) fn first_difference_in(
    pair: &Pair<'_>,
    sealed_start: u64,
    rebuilt_start: u64,
    length: u64,
) -> io::Result<Option<u64>> {
    let round = BLOCK * threads() as u64;
    let mut start = 0;
    while start < length {
        pair.context.check()?;
        let blocks: Vec<u64> = (start..length.min(start + round)).step_by(BLOCK as usize).collect();
        let found = map_files(&blocks, pair.context, |block| {
            let size = BLOCK.min(length - block) as usize;
            let left = read_some_at(pair.sealed, sealed_start + block, size)?;
            let right = read_some_at(pair.rebuilt, rebuilt_start + block, size)?;
            if left == right {
                return Ok::<_, io::Error>(None);
            }
            let place = left.iter().zip(&right).position(|(left, right)| left != right);
            Ok(Some(block + place.unwrap_or(left.len().min(right.len())) as u64))
        })?;
        if let Some(offset) = found.into_iter().flatten().next() {
            return Ok(Some(offset));
        }
        start += round;
    }
    Ok(None)
}

/// Describes the first difference in one line.
pub(super) fn describe(pair: &Pair<'_>, first: &First) -> io::Result<String> {
    if first.offset == first.sealed.min(first.rebuilt) {
        let (left, right) = (number(first.sealed), number(first.rebuilt));
        let same = number(first.offset);
        return Ok(format!("sealed {left} bytes, found {right}; the first {same} are the same"));
    }
    let hex = |file: &File| {
        let bytes = read_some_at(file, first.offset, SHOWN)?;
        Ok::<_, io::Error>(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
    };
    Ok(format!("from byte {}: {} / {}", number(first.offset), hex(pair.sealed)?, hex(pair.rebuilt)?))
}
