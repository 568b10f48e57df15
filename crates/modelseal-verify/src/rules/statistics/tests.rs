use super::*;

/// A small generator with a known sequence (SplitMix64), so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws this number of rows from classes with these weights.
    fn sample(&mut self, weights: &[f64], rows: usize) -> Counts {
        let mut total = 0.0;
        let ends: Vec<f64> = weights
            .iter()
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        let mut counts = vec![0u64; weights.len()];
        for _ in 0..rows {
            let point = self.next() * total;
            counts[ends.partition_point(|end| *end <= point).min(weights.len() - 1)] += 1;
        }
        let named = counts.into_iter().enumerate().filter(|(_, rows)| *rows > 0);
        named.map(|(class, rows)| (Class::Named(format!("c{class:03}")), rows)).collect()
    }
}

fn counts(pairs: &[(&str, u64)]) -> Counts {
    pairs.iter().map(|(class, rows)| (Class::Named(class.to_string()), *rows)).collect()
}

fn named(class: &str) -> Class {
    Class::Named(class.to_string())
}

fn is_alarm(judged: &Comparison) -> bool {
    !matches!(judged, Comparison::Pass { .. } | Comparison::TooFew { .. })
}

#[test]
fn chi_squared_quantiles_match_published_tables() {
    // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4, upper critical values of the χ² distribution.
    for (degrees, probability, expected) in [
        (1, 0.95, 3.841),
        (1, 0.999, 10.828),
        (2, 0.99, 9.210),
        (9, 0.95, 16.919),
        (9, 0.999, 27.877),
        (50, 0.99, 76.154),
        (99, 0.95, 123.225),
        (100, 0.999, 149.449),
    ] {
        let found = chi_squared(degrees, probability);
        assert!((found - expected).abs() < 0.001, "{degrees} {probability}: {found}");
    }
}

#[test]
fn label_comparison_raises_no_alarm_for_samples_of_one_distribution() {
    let mut random = Random(7);
    for classes in [2, 10, 100, 1000] {
        let even = vec![1.0; classes];
        let uneven: Vec<f64> = (0..classes).map(|class| 0.7f64.powi(class as i32 % 30)).collect();
        for weights in [even, uneven] {
            for rows in [100, 200, 1000, 10_000] {
                // Fewer pairs if there are many rows, to limit the time of the test.
                let pairs = 1_000_000 / rows;
                let alarms = (0..pairs)
                    .filter(|_| {
                        let before = random.sample(&weights, rows);
                        let after = random.sample(&weights, rows);
                        is_alarm(&compare_counts(&before, &after, 0.1))
                    })
                    .count();
                // One in a thousand, plus an allowance for chance.
                let allowed = pairs / 1000 + 3;
                assert!(alarms <= allowed, "{classes} classes, {rows} rows: {alarms} of {pairs}");
            }
        }
    }
}

#[test]
fn label_comparison_fails_on_gross_faults_in_few_rows() {
    let all_moved = compare_counts(&counts(&[("a", 30), ("b", 30)]), &counts(&[("a", 58), ("b", 2)]), 0.1);
    assert!(matches!(all_moved, Comparison::Fail { .. }), "{all_moved:?}");
    let lost = compare_counts(&counts(&[("a", 50), ("b", 50)]), &counts(&[("a", 100)]), 0.1);
    assert_eq!(lost, Comparison::Lost { class: named("b"), rows: 50 });
    let new = compare_counts(&counts(&[("a", 100)]), &counts(&[("a", 70), ("b", 30)]), 0.1);
    assert_eq!(new, Comparison::New { class: named("b"), rows: 30 });
}

#[test]
fn label_comparison_reports_how_many_rows_are_needed() {
    let few = compare_counts(&counts(&[("a", 10), ("b", 12)]), &counts(&[("a", 14), ("b", 8)]), 0.1);
    let Comparison::TooFew { needed } = few else { panic!("{few:?}") };
    assert!((350..400).contains(&needed), "{needed}");
    // With that number of rows, it is judged.
    let enough = compare_counts(
        &counts(&[("a", needed), ("b", needed)]),
        &counts(&[("a", needed), ("b", needed)]),
        0.1,
    );
    assert!(matches!(enough, Comparison::Pass { .. }), "{enough:?}");
    assert_eq!(compare_counts(&counts(&[]), &counts(&[("a", 1)]), 0.1), Comparison::TooFew { needed: 1 });
}

#[test]
fn label_comparison_warns_of_a_shift_between_half_the_limit_and_the_limit() {
    let before = counts(&[("a", 50_000), ("b", 50_000)]);
    let share = |a: u64| counts(&[("a", a), ("b", 100_000 - a)]);
    let judge = |a| compare_counts(&before, &share(a), 0.1);
    assert!(matches!(judge(50_500), Comparison::Pass { .. }), "{:?}", judge(50_500));
    let Comparison::Warn { worst, .. } = judge(60_000) else { panic!("{:?}", judge(60_000)) };
    assert_eq!((worst.class, worst.before, worst.after), (named("b"), 0.5, 0.4));
    assert!(matches!(judge(75_000), Comparison::Fail { .. }), "{:?}", judge(75_000));
}

#[test]
fn label_comparison_pools_rare_classes() {
    let many = |shift: u64| -> Counts {
        let rare = (0..200).map(|class| (named(&format!("r{class:03}")), 5 + (class + shift) % 3));
        rare.chain([(named("common"), 100_000)]).collect()
    };
    let judged = compare_counts(&many(0), &many(1), 0.1);
    assert!(matches!(judged, Comparison::Pass { distance } if distance < 0.01), "{judged:?}");
}

/// Every one of the classes is rare, but they have enough rows to be told apart.
#[test]
fn label_comparison_fails_on_a_shift_among_a_thousand_classes() {
    let weights = |shift: usize| -> Vec<f64> {
        (0..1000).map(|class| if (class + shift) % 1000 < 500 { 3.0 } else { 1.0 }).collect()
    };
    let mut random = Random(3);
    let (before, after) = (random.sample(&weights(0), 50_000), random.sample(&weights(500), 50_000));
    let judged = compare_counts(&before, &after, 0.1);
    assert!(matches!(judged, Comparison::Fail { .. }), "{judged:?}");
    let healthy = compare_counts(&before, &random.sample(&weights(0), 50_000), 0.1);
    assert!(matches!(healthy, Comparison::Pass { .. }), "{healthy:?}");
}
