//! `labels` of `[data.NAME]`: whether the distribution of the labels changed since the previous release.

use super::distribution::{
    Distance, LabelCounts, NO_LABELS, Words, counts, described, has_sane_rows, propose, spread,
};
use super::source::Source;
use super::statistics::compare_counts;
use crate::report::{About, Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display::name;
use modelseal_format::manifest::DataEvidence;

pub(super) struct Labels;

const LABELS: CheckKind = CheckKind::waivable("gate.labels", About::Data);

#[derive(Debug)]
struct AsBefore {
    source: String,
    limit: f64,
}

impl Rule for Labels {
    fn kinds(&self) -> &'static [CheckKind] {
        &[LABELS]
    }

    fn table(&self) -> Table {
        Table::Each("data")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["labels"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let source = section.subject().to_string();
        let Some(distance) = section.take::<Distance>("labels")? else { return Ok(None) };
        distance.check()?;
        Ok(Some(Box::new(AsBefore { source, limit: distance.limit() })))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        match proposal.manifest.data(proposal.subject) {
            None => String::new(),
            Some(data) if data.labels.is_none() => {
                "# labels = {}               # no labels were sealed: name the `label` in the recipe\n".into()
            }
            Some(_) => propose(
                proposal,
                "labels",
                &[0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5],
                "against the previous release",
            ),
        }
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let fault = |name: &str, change: &dyn Fn(&mut LabelCounts)| {
            let plant = healthy.changed_data(|data| {
                let labels = data.labels.clone().filter(|labels| labels.len() > 1 && has_sane_rows(data));
                let Some(labels) = labels else { return false };
                let mut counts = LabelCounts { counts: labels, rows: data.rows.unwrap_or(0) };
                change(&mut counts);
                data.rows = Some(counts.counts.values().sum());
                (data.labels, data.nulls) = (Some(counts.counts), Some(0));
                spread(data);
                true
            });
            Fault::new(name, "labels = { max_js_distance = 0.1 }", plant, NO_LABELS)
        };
        vec![
            fault("a class lost", &LabelCounts::lose_largest),
            fault("a new class", &LabelCounts::add_class),
            fault("labels shifted to one class", &LabelCounts::shift),
        ]
    }
}

impl Demand for AsBefore {
    fn words(&self) -> Option<String> {
        Some("labels as before".to_string())
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let source = Source::find(evidence, &self.source, LABELS);
        source.iter().map(|source| against_previous(source, self.limit)).collect()
    }
}

/// Compares the labels with those of the previous release.
fn against_previous(source: &Source<'_>, limit: f64) -> Check {
    let id = source.id();
    let after = match counts(source.data) {
        Ok(counts) => counts,
        Err(reason) => return Check::unknown(id, reason),
    };
    let Some(previous) = source.previous else { return source.no_previous() };
    let before = match counts(previous) {
        Ok(counts) => counts,
        Err(reason) => return Check::unknown(id, format!("in the previous release, {reason}")),
    };
    if source.data.label != previous.label {
        let column = |data: &DataEvidence| data.label.as_deref().map_or("none".to_string(), name);
        let message = format!("the label column was {} and is now {}", column(previous), column(source.data));
        return Check::unknown(id, message).hint("to accept a renamed column once, waive this check");
    }
    let words = Words { before: "in the previous release", after: "now" };
    described(id, source.name, &compare_counts(&before, &after, limit), limit, &words)
}
