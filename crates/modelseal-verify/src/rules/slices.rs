//! `slices` of `[data.NAME]`: whether the distribution of the labels changes over time within the data.

use super::distribution::{Distance, Words, counts, described, propose};
use super::source::Source;
use super::statistics::{Class, Counts, compare_counts};
use crate::report::{About, Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::manifest::Timeline;

pub(super) struct Slices;

const SLICES: CheckKind = CheckKind::waivable("gate.slices", About::Data);

#[derive(Debug)]
struct StableOverTime {
    source: String,
    limit: f64,
}

impl Rule for Slices {
    fn kinds(&self) -> &'static [CheckKind] {
        &[SLICES]
    }

    fn table(&self) -> Table {
        Table::Each("data")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["slices"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let source = section.subject().to_string();
        let Some(distance) = section.take::<Distance>("slices")? else { return Ok(None) };
        distance.check()?;
        Ok(Some(Box::new(StableOverTime { source, limit: distance.limit() })))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        let data = proposal.manifest.data(proposal.subject);
        if data.is_none_or(|data| data.timeline.is_none() || data.labels.is_none()) {
            return String::new();
        }
        let meaning = "the oldest quarter of the rows against the newest";
        propose(proposal, "slices", &[0.2, 0.25, 0.3, 0.4, 0.5], meaning)
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let sorted = healthy.changed_data(|data| data.timeline.as_mut().is_some_and(sort_by_time));
        let cure = "slices = { max_js_distance = 0.2 }";
        vec![Fault::new("labels that shift over time", cure, sorted, "no labels over time were sealed")]
    }
}

impl Demand for StableOverTime {
    fn words(&self) -> Option<String> {
        Some("labels stable over time".to_string())
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let source = Source::find(evidence, &self.source, SLICES);
        source.iter().map(|source| over_time(source, self.limit)).collect()
    }
}

/// Compares the labels of the oldest quarter of the rows with those of the newest.
fn over_time(source: &Source<'_>, limit: f64) -> Check {
    let id = source.id();
    if let Err(reason) = counts(source.data) {
        return Check::unknown(id, reason);
    }
    let Some(timeline) = &source.data.timeline else {
        return Check::unknown(id, "no times were sealed: the recipe names no `timestamp`");
    };
    let Some((oldest, newest)) = quarters(timeline) else {
        return Check::unknown(
            id,
            "the rows are not spread over time, so the oldest and newest quarter overlap",
        );
    };
    let words = Words { before: "in the oldest quarter of the rows", after: "in the newest" };
    described(id, source.name, &compare_counts(&oldest, &newest, limit), limit, &words)
}

/// The buckets at each end that together have at least a quarter of the rows. `None` if the two ends overlap.
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

/// Sorts the rows by their class over the same time. `false` if there are too few classes or buckets.
fn sort_by_time(timeline: &mut Timeline) -> bool {
    let buckets = timeline.rows.len();
    if timeline.labels.len() < 2 || buckets < 4 {
        return false;
    }
    let totals: Vec<(String, u64)> =
        timeline.labels.iter().map(|(label, counts)| (label.clone(), counts.iter().sum())).collect();
    timeline.labels.values_mut().for_each(|counts| counts.fill(0));
    let mut room = timeline.rows.clone();
    let mut bucket = 0;
    for (label, mut rows) in totals {
        while rows > 0 && bucket < buckets {
            let taken = rows.min(room[bucket]);
            if let Some(counts) = timeline.labels.get_mut(&label) {
                counts[bucket] += taken;
            }
            (rows, room[bucket]) = (rows - taken, room[bucket] - taken);
            if room[bucket] == 0 {
                bucket += 1;
            }
        }
    }
    true
}
