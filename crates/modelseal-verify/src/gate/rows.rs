//! `gate.rows.NAME`: about as many rows as before.

use super::Source;
use crate::policy::Ratio;
use crate::report::Check;
use modelseal_format::text::number;

pub(super) fn judge(source: &Source<'_>, ratio: &Ratio) -> Check {
    let id = source.id("rows");
    let Some(rows) = source.facts.rows else {
        return Check::unknown(id, "no rows were counted: the format of the data is not known");
    };
    let Some(previous) = source.previous else { return source.no_previous("rows") };
    let Some(before) = previous.rows else {
        return Check::unknown(id, "no rows were counted in the previous release");
    };
    let counts = format!("{} → {} rows", number(before), number(rows));
    if before == 0 {
        return Check::unknown(id, format!("{counts}: there is no ratio to none"));
    }
    let found = rows as f64 / before as f64;
    let limit = |limit: &Option<toml::Spanned<f64>>| limit.as_ref().map(|limit| *limit.get_ref());
    let hint = "look whether a partition is missing or was read twice";
    match (limit(&ratio.min_ratio), limit(&ratio.max_ratio)) {
        (Some(least), _) if found < least => Check::fail(
            id,
            format!("`{}` shrank: {counts}, {found:.2} times (at least {least})", source.name),
        )
        .hint(hint),
        (_, Some(most)) if found > most => {
            Check::fail(id, format!("`{}` grew: {counts}, {found:.2} times (at most {most})", source.name))
                .hint(hint)
        }
        _ => Check::pass(id, format!("{counts}, {found:.2} times")),
    }
}
