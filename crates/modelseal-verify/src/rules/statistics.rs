//! Whether two distributions of classes differ by more than chance.
//!
//! The distance is the Jensen-Shannon distance. It is not zero between two samples of one distribution: eight times the
//! divergence, times nm/(n+m), follows a χ² distribution with k-1 degrees of freedom (Grosse et al., "Analysis of
//! symbolic sequences using the Jensen-Shannon divergence", Phys. Rev. E 65, 2002). The floor is its 99.99 % quantile.
//! Noise therefore never fails, and a gross shift fails even with few rows.

use std::collections::BTreeMap;
use std::fmt;

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The probability that two samples of one distribution are called different.
const ALPHA: f64 = 1e-4;

/// Classes with a smaller share of both sides together do not increase the number of rows needed.
const RARE: f64 = 0.01;

/// Classes with a smaller expected count on the smaller side are merged into one. The statistic follows the χ²
/// distribution only above this count (Cochran's rule).
const LEAST_EXPECTED: f64 = 5.0;

/// The class that a row counts towards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Named(String),
    Unlabelled,
    /// All rare classes together.
    Rare,
}

impl fmt::Display for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Named(class) => formatter.write_str(&modelseal_format::display::name(class)),
            Class::Unlabelled => formatter.write_str("(no label)"),
            Class::Rare => formatter.write_str("(rare classes)"),
        }
    }
}

/// Number of rows per class.
pub type Counts = BTreeMap<Class, u64>;

/// The result of comparing two distributions.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    Pass {
        distance: f64,
    },
    /// The distance is above half of the limit.
    Warn {
        distance: f64,
        worst: Moved,
    },
    Fail {
        distance: f64,
        limit: f64,
        worst: Moved,
    },
    /// A class of the first distribution is not in the second.
    Lost {
        class: Class,
        rows: u64,
    },
    /// A class of the second distribution is not in the first.
    New {
        class: Class,
        rows: u64,
    },
    /// Chance alone causes differences as large as the limit. `needed` is the number of rows required on each side.
    TooFew {
        needed: u64,
    },
}

/// The class whose share changed most, and its shares before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub class: Class,
    pub before: f64,
    pub after: f64,
}

/// The quantile of the χ² distribution for a cumulative `probability`.
pub fn chi_squared(degrees: u64, probability: f64) -> f64 {
    ChiSquared::new(degrees as f64)
        .map_or(f64::INFINITY, |distribution| distribution.inverse_cdf(probability))
}

/// Compares two distributions. `limit` is a Jensen-Shannon distance with the natural logarithm.
pub fn compare_counts(before: &Counts, after: &Counts, limit: f64) -> Comparison {
    let (n, m) = (total(before), total(after));
    if n == 0 || m == 0 {
        return Comparison::TooFew { needed: 1 };
    }
    let classes = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>().len();
    if let Some((class, rows)) = gone(before, after, n, m, classes) {
        return Comparison::Lost { class, rows };
    }
    if let Some((class, rows)) = gone(after, before, m, n, classes) {
        return Comparison::New { class, rows };
    }
    let floor = |classes: usize| (quantile(classes) * (1.0 / n as f64 + 1.0 / m as f64) / 8.0).sqrt();
    // Sparse classes are merged for the distance, but they count for the number of rows needed. For rare classes it is
    // the other way around: otherwise a long tail of classes would need more rows than any data set has.
    let all = shares(before, after, RARE, 0.0);
    let shares = shares(before, after, 0.0, LEAST_EXPECTED);
    let distance = divergence(&shares).max(0.0).sqrt();
    if distance > limit.max(floor(shares.len())) {
        return Comparison::Fail { distance, limit, worst: worst(&shares) };
    }
    if floor(all.len()) > limit {
        return Comparison::TooFew { needed: (quantile(all.len()) / (4.0 * limit * limit)).ceil() as u64 };
    }
    if distance > (limit / 2.0).max(floor(shares.len())) {
        return Comparison::Warn { distance, worst: worst(&shares) };
    }
    Comparison::Pass { distance }
}

/// The χ² critical value at [`ALPHA`] for this number of classes.
fn quantile(classes: usize) -> f64 {
    match classes {
        0 | 1 => 0.0,
        several => chi_squared(several as u64 - 1, 1.0 - ALPHA),
    }
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// Finds a class that is only on one side and cannot be missing on the other by chance.
///
/// If both sides are samples of one distribution, each row of the class is on this side with the probability n/(n+m).
/// The probability that all of them are is that value to the power of their number. The threshold is divided by the
/// number of classes, because every class is examined.
fn gone(here: &Counts, there: &Counts, n: u64, m: u64, classes: usize) -> Option<(Class, u64)> {
    let chance = n as f64 / (n as f64 + m as f64);
    let only_here =
        here.iter().filter(|(class, rows)| **rows > 0 && there.get(*class).is_none_or(|rows| *rows == 0));
    let (class, rows) = only_here.max_by_key(|(_, rows)| **rows)?;
    let power = i32::try_from(*rows).unwrap_or(i32::MAX);
    (chance.powi(power) < ALPHA / classes as f64).then(|| (class.clone(), *rows))
}

/// Shares before and after, by class.
type Shares = BTreeMap<Class, (f64, f64)>;

/// Shares before and after, by class. Classes that are rare, or have a smaller expected count than the limit, are
/// merged.
///
/// Both sides together decide which classes are merged. A choice by the counts of one side would keep the classes that
/// differ most, and so report noise as a shift.
fn shares(before: &Counts, after: &Counts, rare: f64, least_expected: f64) -> Shares {
    let (n, m) = (total(before) as f64, total(after) as f64);
    let mut counts: BTreeMap<&Class, (f64, f64)> = BTreeMap::new();
    for (class, rows) in before {
        counts.entry(class).or_default().0 = *rows as f64;
    }
    for (class, rows) in after {
        counts.entry(class).or_default().1 = *rows as f64;
    }
    let mut shares = Shares::new();
    for (class, (left, right)) in counts {
        let share = (left + right) / (n + m);
        let is_rare = share < rare || share * n.min(m) < least_expected;
        let entry = shares.entry(if is_rare { Class::Rare } else { class.clone() }).or_default();
        *entry = (entry.0 + left / n, entry.1 + right / m);
    }
    shares.retain(|_, share| share.0 > 0.0 || share.1 > 0.0);
    shares
}

/// Jensen-Shannon divergence in nats.
fn divergence(shares: &Shares) -> f64 {
    let part = |share: f64, middle: f64| if share > 0.0 { share * (share / middle).ln() } else { 0.0 };
    let sum = shares.values().map(|(left, right)| {
        let middle = (left + right) / 2.0;
        part(*left, middle) + part(*right, middle)
    });
    sum.sum::<f64>() / 2.0
}

fn worst(shares: &Shares) -> Moved {
    let moved = |share: &(f64, f64)| (share.0 - share.1).abs();
    let worst = shares.iter().max_by(|left, right| moved(left.1).total_cmp(&moved(right.1)));
    worst.map_or(Moved { class: Class::Rare, before: 0.0, after: 0.0 }, |(class, share)| Moved {
        class: class.clone(),
        before: share.0,
        after: share.1,
    })
}

#[cfg(test)]
mod tests;
