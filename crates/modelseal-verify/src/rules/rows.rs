//! `rows` of `[data.NAME]`: whether there are about as many rows as in the previous release.

use serde::Deserialize;
use toml::Spanned;

use super::distribution::{has_sane_rows, spread};
use super::source::{Source, check_within};
use crate::report::{About, Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display::number;
use modelseal_format::manifest::DataEvidence;

pub(super) struct Rows;

const ROWS: CheckKind = CheckKind::waivable("gate.rows", About::Data);

/// Limits on the number of rows, as multiples of the number in the previous release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratio {
    min_ratio: Option<Spanned<f64>>,
    max_ratio: Option<Spanned<f64>>,
}

#[derive(Debug)]
struct AboutAsMany {
    source: String,
    ratio: Ratio,
}

const NO_ROWS: &str = "no rows were counted";

impl Rule for Rows {
    fn kinds(&self) -> &'static [CheckKind] {
        &[ROWS]
    }

    fn table(&self) -> Table {
        Table::Each("data")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["rows"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let source = section.subject().to_string();
        let Some(ratio) = section.take::<Spanned<Ratio>>("rows")? else { return Ok(None) };
        let (span, ratio) = (ratio.span(), ratio.into_inner());
        for limit in [&ratio.min_ratio, &ratio.max_ratio].into_iter().flatten() {
            check_within(limit, f64::MAX)?;
        }
        if ratio.min_ratio.is_none() && ratio.max_ratio.is_none() {
            let message = "`rows` needs `min_ratio` or `max_ratio`: without them it demands nothing";
            return Err(SectionError::at(span, message));
        }
        if let (Some(least), Some(most)) = (&ratio.min_ratio, &ratio.max_ratio)
            && least.get_ref() > most.get_ref()
        {
            return Err(SectionError::at(least.span(), "`min_ratio` is greater than `max_ratio`"));
        }
        Ok(Some(Box::new(AboutAsMany { source, ratio })))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        match proposal.manifest.data(proposal.subject).and_then(|data| data.rows) {
            Some(_) => {
                "rows = { min_ratio = 0.5, max_ratio = 2.0 }   # against the previous release\n".into()
            }
            None => String::new(),
        }
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let fewer = healthy.changed_data(|data| scale(data, |rows| rows.div_ceil(10)));
        let more = healthy.changed_data(|data| scale(data, |rows| rows * 10));
        vec![
            Fault::new("a tenth of the rows", "rows = { min_ratio = 0.5 }", fewer, NO_ROWS),
            Fault::new("ten times the rows", "rows = { max_ratio = 2.0 }", more, NO_ROWS),
        ]
    }
}

impl Demand for AboutAsMany {
    fn words(&self) -> Option<String> {
        Some("about as many rows as before".to_string())
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let source = Source::find(evidence, &self.source, ROWS);
        source.iter().map(|source| judge(source, &self.ratio)).collect()
    }
}

fn judge(source: &Source<'_>, ratio: &Ratio) -> Check {
    let id = source.id();
    let Some(rows) = source.data.rows else {
        return Check::unknown(id, "no rows were counted: the format of the data is not known");
    };
    let Some(previous) = source.previous else { return source.no_previous() };
    let Some(before) = previous.rows else {
        return Check::unknown(id, "no rows were counted in the previous release");
    };
    let counts = format!("{} → {} rows", number(before), number(rows));
    if before == 0 {
        return Check::unknown(id, format!("{counts}: there is no ratio to 0 rows"));
    }
    let found = rows as f64 / before as f64;
    let limit = |limit: &Option<Spanned<f64>>| limit.as_ref().map(|limit| *limit.get_ref());
    let hint = "check whether a partition is missing or was read twice";
    match (limit(&ratio.min_ratio), limit(&ratio.max_ratio)) {
        (Some(least), _) if found < least => Check::fail(
            id,
            format!("`{}` shrank: {counts}, {found:.2} times (at least {least})", source.name),
        )
        .hint(hint)
        .measured(found, least),
        (_, Some(most)) if found > most => {
            Check::fail(id, format!("`{}` grew: {counts}, {found:.2} times (at most {most})", source.name))
                .hint(hint)
                .measured(found, most)
        }
        (least, most) => {
            let limit = if found < 1.0 { least } else { most };
            Check::pass(id, format!("{counts}, {found:.2} times")).measured(found, limit.unwrap_or(f64::NAN))
        }
    }
}

fn scale(data: &mut DataEvidence, scaled: impl Fn(u64) -> u64) -> bool {
    let Some(rows) = data.rows.filter(|_| has_sane_rows(data)) else { return false };
    data.rows = Some(scaled(rows));
    if let Some(labels) = &mut data.labels {
        labels.values_mut().for_each(|count| *count = scaled(*count));
        data.nulls = data.nulls.map(&scaled);
        data.rows = Some(labels.values().sum::<u64>() + data.nulls.unwrap_or(0));
    }
    spread(data);
    true
}
