use std::collections::{BTreeMap, HashMap};

/// With more classes than this, the label is not counted.
const MOST_CLASSES: usize = 1000;

/// A label longer than this is not the name of a class.
const LONGEST_LABEL: usize = 256;

/// Rows by class. Classes are numbered in the order in which they first occur.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    numbers: HashMap<String, usize>,
    counts: Vec<u64>,
    /// Whether there were too many classes, or labels too long for a class.
    given_up: bool,
    /// The class of the last row: rows of one class often follow each other.
    last: Option<(String, usize)>,
}

impl Labels {
    /// The number of the class; `None` once counting has stopped.
    pub(super) fn count(&mut self, label: &str) -> Option<usize> {
        let number = match &self.last {
            Some((last, number)) if last == label => *number,
            _ => {
                let number = self.add(label, 0)?;
                let mut last = self.last.take().map(|(last, _)| last).unwrap_or_default();
                last.clear();
                last.push_str(label);
                self.last = Some((last, number));
                number
            }
        };
        *self.counts.get_mut(number)? += 1;
        Some(number)
    }

    /// Rows by class; `None` if counting has stopped.
    pub(super) fn counts(&self) -> Option<BTreeMap<String, u64>> {
        (!self.given_up).then(|| self.iter().map(|(label, count)| (label.to_string(), count)).collect())
    }

    /// Each class with its number.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.numbers.iter().map(|(label, number)| (label.as_str(), *number))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.numbers().filter_map(|(label, number)| Some((label, *self.counts.get(number)?)))
    }

    /// Adds the counts of another part. The result maps the class numbers of that part to the numbers here.
    pub(super) fn merge(&mut self, other: &Labels) -> Vec<Option<usize>> {
        if other.given_up {
            self.give_up();
        }
        let mut numbers = vec![None; other.counts.len()];
        for (label, number) in other.numbers() {
            numbers[number] = self.add(label, other.counts[number]);
        }
        if self.given_up { vec![None; numbers.len()] } else { numbers }
    }

    fn add(&mut self, label: &str, count: u64) -> Option<usize> {
        if self.given_up {
            return None;
        }
        if let Some(number) = self.numbers.get(label) {
            self.counts[*number] += count;
            return Some(*number);
        }
        if self.counts.len() == MOST_CLASSES || label.len() > LONGEST_LABEL {
            self.give_up();
            return None;
        }
        self.numbers.insert(label.to_string(), self.counts.len());
        self.counts.push(count);
        Some(self.counts.len() - 1)
    }

    fn give_up(&mut self) {
        *self = Self { given_up: true, ..Self::default() };
    }
}
