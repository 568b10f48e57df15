//! Faults of data: whole, rightly signed, from the right place, and wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use super::release::Draft;
use super::{Attempt, Error, Fault, fault};
use modelseal_format::manifest::{DataEvidence, TimeForms, Timeline};
use modelseal_verify::gate::{self, Evidence};
use modelseal_verify::policy::Policy;
use modelseal_verify::report::Status;

const HOUR: i64 = 3600;

const NO_TIMES: &str = "no times were sealed: name the `timestamp` in the recipe";
const NO_LABELS: &str = "no labels were sealed: name the `label` in the recipe";
const NO_ROWS: &str = "no rows were counted";

/// Of each data source, and of all together.
pub(super) fn faults(healthy: &Draft<'_>, previous: &Draft<'_>, now: Timestamp) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    for name in healthy.sources() {
        let source = Source { name: &name, healthy, previous, now };
        faults.extend(source.times()?);
        faults.extend(source.labels()?);
        faults.extend(source.rows()?);
    }
    faults.extend(refresh_faults(healthy, previous)?);
    Ok(faults)
}

/// One data source.
struct Source<'a> {
    name: &'a str,
    healthy: &'a Draft<'a>,
    previous: &'a Draft<'a>,
    now: Timestamp,
}

impl Source<'_> {
    fn fault(&self, what: &str, demand: &str, attempt: Option<Attempt>, lacks: &str) -> Fault {
        let cure = match self.undecided(demand) {
            // With this line the gate would refuse a healthy successor as well.
            Some(reason) => format!("nothing yet, because {reason}"),
            None => format!("[data.{}] {demand}", self.name),
        };
        fault(self.healthy.named(what, "data", self.name), &cure, attempt, lacks)
    }

    /// Why a demand could not be decided for a healthy successor; `None`: it could.
    fn undecided(&self, demand: &str) -> Option<String> {
        let model = &self.healthy.manifest.model().name;
        let text = format!("model = \"{model}\"\n[data.{}]\n{demand}\n", self.name);
        let policy = Policy::parse(PathBuf::from("gate.toml"), text).ok()?;
        let checks = gate::judge(&Evidence {
            policy: &policy,
            manifest: &self.healthy.manifest,
            previous: Some(&self.previous.manifest),
            origin: self.healthy.manifest.internal().origin,
            now: self.now,
        });
        let unknown = checks.into_iter().find(|check| check.status == Status::Unknown)?;
        Some(unknown.message)
    }

    /// The release with other facts about this source; `None`: it has nothing to change.
    fn changed(&self, change: impl Fn(&mut DataEvidence) -> bool) -> Result<Option<Attempt>, Error> {
        self.healthy.changed_data(self.name, change)
    }

    fn times(&self) -> Result<Vec<Fault>, Error> {
        let now = self.now;
        let at = |seconds: i64| Timestamp::from_second(now.as_second() + seconds).unwrap_or(now).to_string();
        let with_times = |change: &dyn Fn(&mut DataEvidence)| {
            self.changed(|facts| {
                let has = facts.newest.is_some();
                if has {
                    change(facts);
                }
                has
            })
        };
        let before = self.previous.data(self.name).and_then(|facts| facts.newest.clone());
        // Whatever the newest record is, the oldest one is no newer.
        let newest = |facts: &mut DataEvidence, time: Option<String>| {
            facts.oldest.clone_from(&time);
            facts.newest = time;
        };
        let max_age = "max_age = \"…\"";
        let times = [
            ("records of ten years ago", with_times(&|facts| newest(facts, Some(at(-87_600 * HOUR))))?),
            ("new data without a newer record", with_times(&|facts| newest(facts, before.clone()))?),
            ("records of the future", with_times(&|facts| facts.newest = Some(at(1000 * HOUR)))?),
            (
                "times that cannot be read",
                with_times(&|facts| {
                    facts.unparsed = facts.rows;
                    facts.unparsed_examples = vec!["yesterday".to_string()];
                    (facts.oldest, facts.newest, facts.timeline, facts.time_forms) = (None, None, None, None);
                })?,
            ),
        ];
        Ok(times.map(|(what, attempt)| self.fault(what, max_age, attempt, NO_TIMES)).into())
    }

    fn labels(&self) -> Result<Vec<Fault>, Error> {
        let labels = |change: &dyn Fn(&mut Labels)| {
            self.changed(|facts| {
                let Some(labels) =
                    facts.labels.clone().filter(|labels| labels.len() > 1 && has_sane_rows(facts))
                else {
                    return false;
                };
                let mut counts = Labels { counts: labels, rows: facts.rows.unwrap_or(0) };
                change(&mut counts);
                facts.rows = Some(counts.counts.values().sum());
                (facts.labels, facts.nulls) = (Some(counts.counts), Some(0));
                spread(facts);
                true
            })
        };
        let against = "labels = { max_js_distance = 0.1 }";
        Ok(vec![
            self.fault("a class lost", against, labels(&|labels| labels.lose_largest())?, NO_LABELS),
            self.fault("a new class", against, labels(&|labels| labels.add_class())?, NO_LABELS),
            self.fault("labels shifted to one class", against, labels(&|labels| labels.shift())?, NO_LABELS),
            self.fault(
                "labels that move over time",
                "slices = { max_js_distance = 0.2 }",
                self.changed(|facts| facts.timeline.as_mut().is_some_and(sort_by_time))?,
                "no labels were sealed by time",
            ),
        ])
    }

    fn rows(&self) -> Result<Vec<Fault>, Error> {
        let fewer = self.changed(|facts| scale(facts, |rows| rows.div_ceil(10)))?;
        let more = self.changed(|facts| scale(facts, |rows| rows * 10))?;
        Ok(vec![
            self.fault("a tenth of the rows", "rows = { min_ratio = 0.5 }", fewer, NO_ROWS),
            self.fault("ten times the rows", "rows = { max_ratio = 2.0 }", more, NO_ROWS),
        ])
    }
}

fn refresh_faults(healthy: &Draft<'_>, previous: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let cure = "[refresh] inert = \"fail\"";
    let old = |name: &str| previous.manifest.input(name).and_then(|input| input.data());
    let has_sketch = previous
        .manifest
        .dependencies()
        .iter()
        .any(|input| input.data().is_some_and(|data| data.sketch.is_some()));
    let same_rows = healthy.changed(|manifest| {
        for input in manifest.dependencies_mut() {
            let before = old(&input.name).and_then(|data| data.sketch.clone());
            if let (Some(data), Some(before)) = (input.data_mut(), before) {
                data.sketch = Some(before);
            }
        }
    })?;
    let mut inert = healthy.clone();
    inert.contents.clone_from(&previous.contents);
    inert.seal_files();
    let inert = Attempt::trusted(inert.archive()?);
    let has_data = healthy.manifest.dependencies().iter().any(|input| input.name.starts_with("data/"));
    Ok(vec![
        fault("the same rows, written again".to_string(), cure, has_sketch.then_some(same_rows), NO_ROWS),
        fault(
            "a training that had no effect".to_string(),
            cure,
            has_data.then_some(inert),
            "no data was sealed",
        ),
    ])
}

struct Labels {
    counts: BTreeMap<String, u64>,
    rows: u64,
}

impl Labels {
    fn largest(&self) -> Option<String> {
        self.counts.iter().max_by_key(|(_, rows)| **rows).map(|(label, _)| label.clone())
    }

    fn lose_largest(&mut self) {
        if let Some(label) = self.largest() {
            let lost = self.counts.remove(&label).unwrap_or(0);
            if let Some(other) = self.largest().and_then(|other| self.counts.get_mut(&other)) {
                *other += lost;
            }
        }
    }

    fn add_class(&mut self) {
        self.counts.insert("a class that was never seen".to_string(), self.rows.max(100));
    }

    fn shift(&mut self) {
        let rows: u64 = self.counts.values().sum();
        let smallest = self.counts.iter().min_by_key(|(_, rows)| **rows).map(|(label, _)| label.clone());
        let others = self.counts.len() as u64 - 1;
        for (label, count) in &mut self.counts {
            *count = if Some(label) == smallest.as_ref() { rows.saturating_sub(others).max(1) } else { 1 };
        }
    }
}

/// Counts that can be multiplied without running over.
fn has_sane_rows(facts: &DataEvidence) -> bool {
    facts.rows.is_some_and(|rows| rows < 1 << 50)
}

/// Other counts of classes and rows, spread evenly over the same time: nothing but the counts is at fault.
fn spread(facts: &mut DataEvidence) {
    let rows = facts.rows.unwrap_or(0);
    facts.time_forms = facts.time_forms.map(|_| TimeForms { dates: rows, ..TimeForms::default() });
    let Some(timeline) = &mut facts.timeline else { return };
    let buckets = timeline.rows.len() as u64;
    let share =
        |total: u64| (0..buckets).map(move |place| total / buckets + u64::from(place < total % buckets));
    facts.unparsed = facts.unparsed.map(|_| 0);
    timeline.rows = share(facts.rows.unwrap_or(0)).collect();
    let Some(labels) = &facts.labels else { return };
    timeline.labels = labels.iter().map(|(label, rows)| (label.clone(), share(*rows).collect())).collect();
    let mut rows: Vec<u64> = share(facts.nulls.unwrap_or(0)).collect();
    for counts in timeline.labels.values() {
        rows.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    timeline.rows = rows;
}

/// Rows in the order of their class, over the same time; `false`: there are no classes.
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

fn scale(facts: &mut DataEvidence, scaled: impl Fn(u64) -> u64) -> bool {
    let Some(rows) = facts.rows.filter(|_| has_sane_rows(facts)) else { return false };
    facts.rows = Some(scaled(rows));
    if let Some(labels) = &mut facts.labels {
        labels.values_mut().for_each(|count| *count = scaled(*count));
        facts.nulls = facts.nulls.map(&scaled);
        facts.rows = Some(labels.values().sum::<u64>() + facts.nulls.unwrap_or(0));
    }
    spread(facts);
    true
}
