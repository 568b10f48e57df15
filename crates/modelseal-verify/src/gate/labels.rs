//! `gate.labels.NAME` and `gate.slices.NAME`: did the distribution of the labels move?

use super::Source;
use super::statistics::{Class, Counts, Judged, Moved, compare_counts};
use crate::report::Check;
use modelseal_format::manifest::{DataEvidence, Timeline};
use modelseal_format::text::{name, number};

/// Labels against those of the previous release.
pub(super) fn against_previous(source: &Source<'_>, limit: f64) -> Check {
    let id = source.id("labels");
    let after = match counts(source.facts) {
        Ok(counts) => counts,
        Err(reason) => return Check::unknown(id, reason),
    };
    let Some(previous) = source.previous else { return source.no_previous("labels") };
    let before = match counts(previous) {
        Ok(counts) => counts,
        Err(reason) => return Check::unknown(id, format!("in the previous release {reason}")),
    };
    if source.facts.label != previous.label {
        let column = |facts: &DataEvidence| facts.label.as_deref().map_or("none".to_string(), name);
        let message = format!(
            "the labels were those of {}, and are those of {}",
            column(previous),
            column(source.facts)
        );
        return Check::unknown(id, message).hint("a waiver lets a renamed column through once");
    }
    let words = Words { before: "in the previous release", after: "now" };
    described(id, source.name, &compare_counts(&before, &after, limit), &words)
}

/// Labels of the oldest quarter of the rows against those of the newest.
pub(super) fn over_time(source: &Source<'_>, limit: f64) -> Check {
    let id = source.id("slices");
    if let Err(reason) = counts(source.facts) {
        return Check::unknown(id, reason);
    }
    let Some(timeline) = &source.facts.timeline else {
        return Check::unknown(id, "no times were sealed: the recipe names no `timestamp`");
    };
    let Some((oldest, newest)) = quarters(timeline) else {
        return Check::unknown(
            id,
            "the rows are not spread over time: there is no oldest and no newest quarter",
        );
    };
    let words = Words { before: "in the oldest quarter of the rows", after: "in the newest" };
    described(id, source.name, &compare_counts(&oldest, &newest, limit), &words)
}

/// Rows by class, those without a label as a class of their own.
fn counts(facts: &DataEvidence) -> Result<Counts, String> {
    let Some(labels) = &facts.labels else {
        return Err(match facts.labels_uncounted {
            Some(true) => {
                "the labels were not counted: more than 1,000 classes, or longer than 256 bytes".into()
            }
            _ => "no labels were sealed: the recipe names no `label`".to_string(),
        });
    };
    let mut counts: Counts =
        labels.iter().map(|(label, rows)| (Class::Named(label.clone()), *rows)).collect();
    if let Some(nulls) = facts.nulls.filter(|nulls| *nulls > 0) {
        counts.insert(Class::Unlabelled, nulls);
    }
    match counts.is_empty() {
        true => Err("there are no rows".to_string()),
        false => Ok(counts),
    }
}

/// The buckets from either end that hold at least a quarter of the rows each; `None` if they meet.
fn quarters(timeline: &Timeline) -> Option<(Counts, Counts)> {
    let total: u64 = timeline.rows.iter().sum();
    let quarter = total.div_ceil(4);
    let reach = |mut rows: Box<dyn Iterator<Item = &u64> + '_>| {
        let mut sum = 0;
        rows.position(|rows| {
            sum += rows;
            sum >= quarter
        })
    };
    let oldest = reach(Box::new(timeline.rows.iter()))? + 1;
    let newest = timeline.rows.len() - (reach(Box::new(timeline.rows.iter().rev()))? + 1);
    (oldest <= newest).then(|| (slice(timeline, 0..oldest), slice(timeline, newest..timeline.rows.len())))
}

fn slice(timeline: &Timeline, buckets: std::ops::Range<usize>) -> Counts {
    let sum = |counts: &[u64]| counts.get(buckets.clone()).unwrap_or_default().iter().sum::<u64>();
    let mut slice: Counts =
        timeline.labels.iter().map(|(label, counts)| (Class::Named(label.clone()), sum(counts))).collect();
    let labelled: u64 = slice.values().sum();
    let rest = sum(&timeline.rows).saturating_sub(labelled);
    if rest > 0 {
        slice.insert(Class::Unlabelled, rest);
    }
    slice
}

struct Words {
    before: &'static str,
    after: &'static str,
}

fn described(id: String, source: &str, judged: &Judged, words: &Words) -> Check {
    let Words { before, after } = words;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let moved = |moved: &Moved| {
        format!(
            "{} was {} {before} and is {} {after}",
            moved.class,
            percent(moved.before),
            percent(moved.after)
        )
    };
    let hint = "look at what happened to the labels upstream; if it is meant, raise the limit or waive it";
    match judged {
        Judged::Pass { distance } => Check::pass(id, format!("distance {distance:.3}")),
        Judged::Warn { distance, worst } => Check::warn(
            id,
            format!("the labels of `{source}` move: {} (distance {distance:.3})", moved(worst)),
        ),
        Judged::Fail { distance, limit, worst } => Check::fail(
            id,
            format!(
                "the labels of `{source}` moved: {} (distance {distance:.3}, limit {limit})",
                moved(worst)
            ),
        )
        .hint(hint),
        Judged::Lost { class, rows } => {
            let rows = modelseal_format::text::count(*rows, "row", "rows");
            Check::fail(id, format!("`{source}` lost the class {}: {rows} {before}, none {after}", class))
                .hint(hint)
        }
        Judged::New { class, rows } => {
            let rows = modelseal_format::text::count(*rows, "row", "rows");
            Check::fail(id, format!("`{source}` has a new class {}: none {before}, {rows} {after}", class))
                .hint(hint)
        }
        Judged::TooFew { needed } => Check::unknown(
            id,
            format!(
                "too few rows of `{source}` to judge: about {} would be needed on each side",
                number(*needed)
            ),
        ),
    }
}
