//! `gate.freshness.NAME`: how old is the newest record, and did it move on?

use jiff::Timestamp;

use super::Source;
use crate::config::Age;
use crate::report::Check;
use modelseal_format::text::Escaped;

/// A clock that is a little wrong, or a zone that was left out, does not make a record one of the future.
const TOLERATED_FUTURE_SECONDS: i64 = 86_400;

/// This share of times may be unreadable.
const MOST_UNPARSED: f64 = 0.01;

pub(super) fn judge(source: &Source<'_>, limit: Age) -> Check {
    let id = source.id("freshness");
    let (newest, age) = match newest(source) {
        Ok(newest) => newest,
        Err(reason) => {
            return Check::unknown(id, format!("the age of `{}` cannot be judged: {reason}", source.name));
        }
    };
    let before = source.previous.and_then(|facts| facts.newest.as_ref()).and_then(|time| time.parse().ok());
    let moved_on = before.map(|before: Timestamp| newest.cmp(&before));
    let name = source.name;
    if age > limit {
        let previous = match moved_on {
            Some(std::cmp::Ordering::Equal) => ", and the previous release had the same newest record",
            Some(std::cmp::Ordering::Less) => ", and the previous release had a newer one",
            _ => "",
        };
        let message =
            format!("source `{name}`: newest record {newest} is {age} old (limit {limit}){previous}");
        return Check::fail(id, message).hint("upstream stopped, or the wrong partition was read");
    }
    match moved_on {
        Some(std::cmp::Ordering::Less) => Check::fail(
            id,
            format!("source `{name}`: newest record {newest} is older than that of the previous release"),
        )
        .hint("the wrong partition was read, or records were lost"),
        Some(std::cmp::Ordering::Equal) if !source.is_same_as_before() => Check::fail(
            id,
            format!("source `{name}`: the data changed, but its newest record is still {newest}"),
        )
        .hint("upstream stopped, and what is new is not newer"),
        _ => Check::pass(id, format!("newest record {newest}, {age} old (limit {limit})")),
    }
}

/// The newest record and its age; or why that says nothing.
fn newest(source: &Source<'_>) -> Result<(Timestamp, Age), String> {
    let facts = source.facts;
    if facts.timestamp.is_none() {
        return Err("no times were sealed: the recipe names no `timestamp`".to_string());
    }
    let (rows, unparsed) = (facts.rows.unwrap_or(0), facts.unparsed.unwrap_or(0));
    if unparsed as f64 > MOST_UNPARSED * rows as f64 {
        let examples: Vec<String> =
            facts.unparsed_examples.iter().map(|text| modelseal_format::text::name(text)).collect();
        return Err(format!(
            "{unparsed} of {} have no readable time, such as {}",
            modelseal_format::text::count(rows, "row", "rows"),
            examples.join(", ")
        ));
    }
    if let Some(forms) = facts.time_forms.filter(|forms| forms.are_mixed()) {
        return Err(format!(
            "seconds and milliseconds stand in one column, in {} and {} rows",
            forms.seconds, forms.milliseconds
        ));
    }
    let parse = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(newest) = parse(&facts.newest) else {
        return Err("no record has a time that can be read".to_string());
    };
    let now = source.evidence.now.as_second();
    let seconds = now - newest.as_second();
    if parse(&facts.oldest).is_some_and(|oldest| oldest.as_second() > now) {
        return Err(format!("all records lie in the future, the newest at {}", Escaped(&newest.to_string())));
    }
    if seconds < -TOLERATED_FUTURE_SECONDS {
        return Err(format!("its newest record, {newest}, lies in the future"));
    }
    Ok((newest, Age(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()))))
}
