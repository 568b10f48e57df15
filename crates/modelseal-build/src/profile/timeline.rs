use super::labels::Labels;
use modelseal_format::manifest::{MOST_BUCKETS, Timeline};

/// Counts rows by time bucket.
///
/// The width of a bucket is a power of two in seconds, and a bucket begins at a multiple of its width. Buckets are as
/// narrow as [`MOST_BUCKETS`] allows. So the same rows give the same buckets, in any order and in any parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    /// The width is two to this power, in seconds.
    power: u32,
    /// The number of the first bucket, counted in widths since 1970.
    first: i64,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    rows: u64,
    /// Rows by class number.
    classes: Vec<u64>,
}

impl Bucket {
    fn count(&mut self, class: Option<usize>, rows: u64) {
        let Some(class) = class else { return };
        if self.classes.len() <= class {
            self.classes.resize(class + 1, 0);
        }
        self.classes[class] += rows;
    }

    fn absorb(&mut self, other: &Bucket) {
        self.rows += other.rows;
        for (class, rows) in other.classes.iter().enumerate() {
            self.count(Some(class), *rows);
        }
    }
}

impl Buckets {
    /// Counts a row at this second since 1970.
    pub(super) fn count(&mut self, second: i64, class: Option<usize>) {
        let bucket = self.at(second);
        bucket.rows += 1;
        bucket.count(class, 1);
    }

    /// Adds another part. `classes` maps the class numbers of that part to the numbers here.
    pub(super) fn merge(&mut self, other: &Buckets, classes: &[Option<usize>]) {
        if other.buckets.is_empty() {
            return;
        }
        while self.power < other.power {
            self.widen();
        }
        for (index, bucket) in other.buckets.iter().enumerate() {
            if bucket.rows == 0 {
                continue;
            }
            let second = (other.first + index as i64) << other.power;
            let own = self.at(second);
            own.rows += bucket.rows;
            for (class, rows) in bucket.classes.iter().enumerate() {
                own.count(classes.get(class).copied().flatten(), *rows);
            }
        }
    }

    pub(super) fn timeline(&self, labels: &Labels) -> Option<Timeline> {
        if self.buckets.is_empty() {
            return None;
        }
        let by_class = |class: usize| {
            let count = |bucket: &Bucket| bucket.classes.get(class).copied().unwrap_or(0);
            self.buckets.iter().map(count).collect()
        };
        Some(Timeline {
            start: self.first << self.power,
            width: 1 << self.power,
            rows: self.buckets.iter().map(|bucket| bucket.rows).collect(),
            labels: labels.numbers().map(|(label, class)| (label.to_string(), by_class(class))).collect(),
        })
    }

    /// The bucket of a second. Adds or merges buckets to make space for it.
    fn at(&mut self, second: i64) -> &mut Bucket {
        loop {
            let number = second >> self.power;
            if self.buckets.is_empty() {
                self.first = number;
                self.buckets.push(Bucket::default());
            }
            let last = self.first + self.buckets.len() as i64 - 1;
            if self.first.min(number) + (MOST_BUCKETS as i64) <= last.max(number) {
                self.widen();
                continue;
            }
            if number < self.first {
                let before = (self.first - number) as usize;
                self.buckets.splice(0..0, std::iter::repeat_with(Bucket::default).take(before));
                self.first = number;
            }
            let index = (number - self.first) as usize;
            if self.buckets.len() <= index {
                self.buckets.resize_with(index + 1, Bucket::default);
            }
            return &mut self.buckets[index];
        }
    }

    /// Merges each pair of buckets into one.
    fn widen(&mut self) {
        let first = self.first >> 1;
        let mut wider: Vec<Bucket> = Vec::with_capacity(self.buckets.len() / 2 + 1);
        for (index, bucket) in self.buckets.iter().enumerate() {
            let number = ((self.first + index as i64) >> 1) - first;
            if wider.len() <= number as usize {
                wider.push(Bucket::default());
            }
            if let Some(last) = wider.last_mut() {
                last.absorb(bucket);
            }
        }
        (self.power, self.first, self.buckets) = (self.power + 1, first, wider);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(seconds: impl Iterator<Item = i64>) -> Timeline {
        let mut buckets = Buckets::default();
        seconds.for_each(|second| buckets.count(second, None));
        buckets.timeline(&Labels::default()).expect("has rows")
    }

    #[test]
    fn timeline_buckets_are_as_narrow_as_possible_and_independent_of_order() {
        let narrow = count(-3..200);
        assert_eq!((narrow.start, narrow.width, narrow.rows.len()), (-3, 1, 203));
        let wide = count([0, 1_000_000, -5].into_iter());
        assert_eq!((wide.width, wide.start), (4096, -4096));
        assert_eq!(wide.rows.iter().sum::<u64>(), 3);
        assert!(wide.rows.len() <= MOST_BUCKETS && wide.rows.len() > MOST_BUCKETS / 2 - 12);

        let seconds: Vec<i64> = (0..2000).map(|number: i64| number * number * 37 - 4_000_000).collect();
        let forwards = count(seconds.iter().copied());
        assert_eq!(forwards, count(seconds.iter().rev().copied()));
        let mut parts = [Buckets::default(), Buckets::default()];
        for (index, second) in seconds.iter().enumerate() {
            parts[usize::from(index % 7 == 0)].count(*second, None);
        }
        let [mut left, right] = parts;
        left.merge(&right, &[]);
        assert_eq!(left.timeline(&Labels::default()), Some(forwards));
    }

    #[test]
    fn timeline_holds_the_earliest_and_latest_timestamps() {
        let ends = [jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second()];
        let timeline = count(ends.into_iter());
        assert!(timeline.rows.len() <= MOST_BUCKETS);
        assert_eq!(timeline.rows.iter().sum::<u64>(), 2);
    }
}
