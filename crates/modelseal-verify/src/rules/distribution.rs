//! Shared by the rules about the distribution of labels.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::source::check_within;
use super::statistics::{Class, Comparison, Counts, Moved};
use crate::report::{Check, CheckId};
use crate::rule::{Proposal, SectionError};
use modelseal_format::display::number;
use modelseal_format::manifest::{DataEvidence, TimeForms};

/// The largest possible Jensen-Shannon distance: the square root of the natural logarithm of 2.
const LARGEST_DISTANCE: f64 = 0.832_554;

pub(super) const NO_LABELS: &str = "no labels were sealed: name the `label` in the recipe";

/// The largest distance that two distributions of labels may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Distance {
    /// Jensen-Shannon distance with the natural logarithm, from 0 to 0.83. The default is 0.1.
    max_js_distance: Option<Spanned<f64>>,
}

impl Distance {
    pub(super) fn check(&self) -> Result<(), SectionError> {
        self.max_js_distance.as_ref().map_or(Ok(()), |limit| check_within(limit, LARGEST_DISTANCE))
    }

    pub(super) fn limit(&self) -> f64 {
        self.max_js_distance.as_ref().map_or(0.1, |limit| *limit.get_ref())
    }
}

/// Proposes the strictest of these limits that the release itself meets. With a stricter limit, the release has too few
/// rows to be judged.
pub(super) fn propose(proposal: &Proposal<'_>, key: &str, limits: &[f64], meaning: &str) -> String {
    let demand = |limit: f64| format!("{key} = {{ max_js_distance = {limit} }}");
    match limits.iter().map(|limit| demand(*limit)).find(|demand| (proposal.holds)(demand)) {
        Some(demand) => format!("{demand:<45} # {meaning}\n"),
        None => {
            let demand = format!("# {}", demand(limits[0]));
            format!("{demand:<45} # {meaning}: this release does not meet it\n")
        }
    }
}

/// Number of rows per class. Rows without a label form their own class.
pub(super) fn counts(data: &DataEvidence) -> Result<Counts, String> {
    let Some(labels) = &data.labels else {
        return Err(match data.labels_uncounted {
            Some(true) => {
                "the labels were not counted: more than 1,000 classes, or longer than 256 bytes".into()
            }
            _ => "no labels were sealed: the recipe names no `label`".to_string(),
        });
    };
    let mut counts: Counts =
        labels.iter().map(|(label, rows)| (Class::Named(label.clone()), *rows)).collect();
    if let Some(nulls) = data.nulls.filter(|nulls| *nulls > 0) {
        counts.insert(Class::Unlabelled, nulls);
    }
    match counts.is_empty() {
        true => Err("there are no rows".to_string()),
        false => Ok(counts),
    }
}

pub(super) struct Words {
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

pub(super) fn described(id: CheckId, source: &str, judged: &Comparison, limit: f64, words: &Words) -> Check {
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
    let hint =
        "check what happened to the labels upstream; if it is intended, raise the limit or waive this check";
    match judged {
        Comparison::Pass { distance } => {
            Check::pass(id, format!("distance {distance:.3}")).measured(*distance, limit)
        }
        Comparison::Warn { distance, worst } => Check::warn(
            id,
            format!("the labels of `{source}` are shifting: {} (distance {distance:.3})", moved(worst)),
        ),
        Comparison::Fail { distance, limit, worst } => Check::fail(
            id,
            format!(
                "the labels of `{source}` shifted: {} (distance {distance:.3}, limit {limit})",
                moved(worst)
            ),
        )
        .hint(hint),
        Comparison::Lost { class, rows } => {
            let rows = modelseal_format::display::count(*rows, "row", "rows");
            Check::fail(id, format!("`{source}` lost the class {}: {rows} {before}, none {after}", class))
                .hint(hint)
        }
        Comparison::New { class, rows } => {
            let rows = modelseal_format::display::count(*rows, "row", "rows");
            Check::fail(id, format!("`{source}` has a new class {}: none {before}, {rows} {after}", class))
                .hint(hint)
        }
        Comparison::TooFew { needed } => Check::unknown(
            id,
            format!(
                "`{source}` has too few rows to compare: about {} are needed on each side",
                number(*needed)
            ),
        ),
    }
}

pub(super) struct LabelCounts {
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) rows: u64,
}

impl LabelCounts {
    pub(super) fn largest(&self) -> Option<String> {
        self.counts.iter().max_by_key(|(_, rows)| **rows).map(|(label, _)| label.clone())
    }

    pub(super) fn lose_largest(&mut self) {
        if let Some(label) = self.largest() {
            let lost = self.counts.remove(&label).unwrap_or(0);
            if let Some(other) = self.largest().and_then(|other| self.counts.get_mut(&other)) {
                *other += lost;
            }
        }
    }

    pub(super) fn add_class(&mut self) {
        self.counts.insert("a class that was never seen".to_string(), self.rows.max(100));
    }

    pub(super) fn shift(&mut self) {
        let rows: u64 = self.counts.values().sum();
        let smallest = self.counts.iter().min_by_key(|(_, rows)| **rows).map(|(label, _)| label.clone());
        let others = self.counts.len() as u64 - 1;
        for (label, count) in &mut self.counts {
            *count = if Some(label) == smallest.as_ref() { rows.saturating_sub(others).max(1) } else { 1 };
        }
    }
}

/// Whether the counts can be multiplied without overflow.
pub(super) fn has_sane_rows(data: &DataEvidence) -> bool {
    data.rows.is_some_and(|rows| rows < 1 << 50)
}

/// Spreads changed counts of classes and rows evenly over the same time, so that only the counts are faulty.
pub(super) fn spread(data: &mut DataEvidence) {
    let rows = data.rows.unwrap_or(0);
    data.time_forms = data.time_forms.map(|_| TimeForms { dates: rows, ..TimeForms::default() });
    let Some(timeline) = &mut data.timeline else { return };
    let buckets = timeline.rows.len() as u64;
    let share =
        |total: u64| (0..buckets).map(move |place| total / buckets + u64::from(place < total % buckets));
    data.unparsed = data.unparsed.map(|_| 0);
    timeline.rows = share(data.rows.unwrap_or(0)).collect();
    let Some(labels) = &data.labels else { return };
    timeline.labels = labels.iter().map(|(label, rows)| (label.clone(), share(*rows).collect())).collect();
    let mut rows: Vec<u64> = share(data.nulls.unwrap_or(0)).collect();
    for counts in timeline.labels.values() {
        rows.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    timeline.rows = rows;
}
