use std::collections::BTreeSet;

use twox_hash::XxHash3_64;

use modelseal_format::manifest::{RowSketch, SKETCH_SIZE};

/// XXH3, 64 bits, seed zero: fast, and the same on every machine. It has no key and does not resist attackers.
pub(super) fn hash(row: &[u8]) -> u64 {
    XxHash3_64::oneshot(row)
}

/// A row sketch under construction.
#[derive(Debug, Clone, Default)]
pub(super) struct Sketch {
    hashes: BTreeSet<u64>,
    /// The largest hash, once there are enough: larger ones do not belong to the sketch.
    limit: Option<u64>,
    sum: u64,
}

impl Sketch {
    pub(super) fn add(&mut self, hash: u64) {
        self.sum = self.sum.wrapping_add(hash);
        self.keep(hash);
    }

    pub(super) fn merge(&mut self, other: &Sketch) {
        self.sum = self.sum.wrapping_add(other.sum);
        other.hashes.iter().for_each(|hash| self.keep(*hash));
    }

    pub(super) fn sealed(&self) -> RowSketch {
        RowSketch { hashes: self.hashes.iter().copied().collect(), sum: self.sum }
    }

    fn keep(&mut self, hash: u64) {
        if self.limit.is_some_and(|limit| hash >= limit) || !self.hashes.insert(hash) {
            return;
        }
        if self.hashes.len() > SKETCH_SIZE {
            self.hashes.pop_last();
        }
        if self.hashes.len() == SKETCH_SIZE {
            self.limit = self.hashes.last().copied();
        }
    }
}

/// How many of their distinct rows two data sets share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// The share of all distinct rows that are in both, from 0 to 1 (the Jaccard index).
    pub share: f64,
    /// Whether the share is exact. An estimate has a standard error of at most 1.6 percentage points.
    pub is_exact: bool,
}

/// Estimates the overlap of two data sets: how many of the smallest hashes of their union are in both. `None` if
/// neither has a row.
///
/// Bottom-k sketches: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
pub fn overlap(left: &RowSketch, right: &RowSketch) -> Option<Overlap> {
    let (first, second): (BTreeSet<u64>, BTreeSet<u64>) =
        (left.hashes.iter().copied().collect(), right.hashes.iter().copied().collect());
    let is_exact = left.is_complete() && right.is_complete();
    let size = if is_exact { usize::MAX } else { SKETCH_SIZE };
    let union: Vec<u64> = first.union(&second).copied().take(size).collect();
    if union.is_empty() {
        return None;
    }
    let shared = union.iter().filter(|hash| first.contains(hash) && second.contains(hash)).count();
    Some(Overlap { share: shared as f64 / union.len() as f64, is_exact })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(rows: impl Iterator<Item = u64>) -> RowSketch {
        let mut sketch = Sketch::default();
        rows.for_each(|row| sketch.add(hash(&row.to_le_bytes())));
        sketch.sealed()
    }

    #[test]
    fn sketch_hashes_ignore_row_order_and_repetition() {
        for count in [10, 5000] {
            let plain = sketch(0..count);
            let reversed = sketch((0..count).rev());
            assert_eq!(plain, reversed);
            let repeated = sketch((0..count).chain(0..count));
            assert_eq!(plain.hashes, repeated.hashes);
            assert_ne!(plain.sum, repeated.sum);
            assert_eq!(plain.is_complete(), count < 1024);
        }
    }

    #[test]
    fn sketches_of_parts_merge_into_the_sketch_of_the_whole() {
        let mut left = Sketch::default();
        let mut right = Sketch::default();
        for row in 0u64..3000 {
            let part = if row % 3 == 0 { &mut left } else { &mut right };
            part.add(hash(&row.to_le_bytes()));
        }
        left.merge(&right);
        assert_eq!(left.sealed(), sketch(0..3000));
    }

    #[test]
    fn sketch_overlap_is_exact_for_few_rows_and_estimated_for_many() {
        let few = overlap(&sketch(0..100), &sketch(50..150)).expect("has rows");
        assert_eq!(few, Overlap { share: 50.0 / 150.0, is_exact: true });
        let many = overlap(&sketch(0..100_000), &sketch(50_000..150_000)).expect("has rows");
        assert!(!many.is_exact && (many.share - 1.0 / 3.0).abs() < 0.05, "{many:?}");
        let one_large = overlap(&sketch(0..10), &sketch(0..100_000)).expect("has rows");
        assert!(!one_large.is_exact && one_large.share < 0.01, "{one_large:?}");
        assert_eq!(overlap(&sketch(0..0), &sketch(0..0)), None);
    }

    #[test]
    fn sketch_hash_matches_the_published_xxh3_vector() {
        // XXH3_64bits of the empty input with seed 0, from the test vectors of the reference implementation.
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    }
}
