//! `max_age` of `[data.NAME]`: how old the newest record is, and whether it is newer than in the previous release.

use jiff::Timestamp;
use toml::Spanned;

use super::source::Source;
use crate::config::Age;
use crate::report::{About, Check, CheckKind};
use crate::rule::{Demand, Evidence, Fault, Healthy, Proposal, Rule, Section, SectionError, Table};
use modelseal_format::display::Escaped;
use modelseal_format::manifest::DataEvidence;

pub(super) struct Freshness;

const FRESHNESS: CheckKind = CheckKind::waivable("gate.freshness", About::Data);

#[derive(Debug)]
struct MaxAge {
    source: String,
    limit: Age,
}

const HOUR: i64 = 3600;

const NO_TIMES: &str = "no times were sealed: name the `timestamp` in the recipe";

impl Rule for Freshness {
    fn kinds(&self) -> &'static [CheckKind] {
        &[FRESHNESS]
    }

    fn table(&self) -> Table {
        Table::Each("data")
    }

    fn keys(&self) -> &'static [&'static str] {
        &["max_age"]
    }

    fn read(&self, section: &mut Section<'_>) -> Result<Option<Box<dyn Demand>>, SectionError> {
        let source = section.subject().to_string();
        let age: Option<Spanned<Age>> = section.take("max_age")?;
        Ok(age.map(|age| Box::new(MaxAge { source, limit: age.into_inner() }) as Box<dyn Demand>))
    }

    fn propose(&self, proposal: &Proposal<'_>) -> String {
        let Some(data) = proposal.manifest.data(proposal.subject) else { return String::new() };
        match data.newest.as_ref().and_then(|time| time.parse::<Timestamp>().ok()) {
            Some(newest) => {
                let age = (proposal.now.as_second() - newest.as_second()).max(0).unsigned_abs();
                let days = (2 * age).div_ceil(86_400).max(1);
                let shown = Age(std::time::Duration::from_secs(age));
                format!(
                    "max_age = \"{days}d\"            # of the newest record at deployment; now {shown} old\n"
                )
            }
            None => {
                "# max_age = \"30d\"          # no times were sealed: name the `timestamp` in the recipe\n"
                    .into()
            }
        }
    }

    fn faults(&self, healthy: &Healthy<'_>) -> Vec<Fault> {
        let now = healthy.now;
        let at = |seconds: i64| Timestamp::from_second(now.as_second() + seconds).unwrap_or(now).to_string();
        let with_times = |change: &dyn Fn(&mut DataEvidence)| {
            healthy.changed_data(|data| {
                let has_times = data.newest.is_some();
                if has_times {
                    change(data);
                }
                has_times
            })
        };
        let before = healthy.previous.data(healthy.subject).and_then(|data| data.newest.clone());
        // The oldest record can never be newer than the newest one.
        let newest = |data: &mut DataEvidence, time: Option<String>| {
            data.oldest.clone_from(&time);
            data.newest = time;
        };
        let plants = [
            ("records from ten years ago", with_times(&|data| newest(data, Some(at(-87_600 * HOUR))))),
            ("new data without a newer record", with_times(&|data| newest(data, before.clone()))),
            ("records from the future", with_times(&|data| data.newest = Some(at(1000 * HOUR)))),
            (
                "times that cannot be read",
                with_times(&|data| {
                    data.unparsed = data.rows;
                    data.unparsed_examples = vec!["yesterday".to_string()];
                    (data.oldest, data.newest, data.timeline, data.time_forms) = (None, None, None, None);
                }),
            ),
        ];
        plants.map(|(name, plant)| Fault::new(name, "max_age = \"…\"", plant, NO_TIMES)).into()
    }
}

impl Demand for MaxAge {
    fn words(&self) -> Option<String> {
        Some(format!("at most {} old", self.limit))
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Vec<Check> {
        let source = Source::find(evidence, &self.source, FRESHNESS);
        source.iter().map(|source| judge(source, self.limit)).collect()
    }
}

/// Tolerance for records in the future, because a clock may be slightly wrong or a time zone may be missing.
const TOLERATED_FUTURE_SECONDS: i64 = 86_400;

/// Largest share of times that may be unreadable.
const MOST_UNPARSED: f64 = 0.01;

fn judge(source: &Source<'_>, limit: Age) -> Check {
    let id = source.id();
    let (newest, age) = match newest(source) {
        Ok(newest) => newest,
        Err(reason) => {
            return Check::unknown(id, format!("the age of `{}` cannot be judged: {reason}", source.name));
        }
    };
    let before = source.previous.and_then(|data| data.newest.as_ref()).and_then(|time| time.parse().ok());
    let seconds = |age: Age| age.0.as_secs() as f64;
    let measured = |check: Check| check.measured(seconds(age), seconds(limit));
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
        let hint = "check whether upstream stopped or the wrong partition was read";
        return measured(Check::fail(id, message).hint(hint));
    }
    measured(match moved_on {
        Some(std::cmp::Ordering::Less) => Check::fail(
            id,
            format!("source `{name}`: newest record {newest} is older than that of the previous release"),
        )
        .hint("check whether the wrong partition was read or records were lost"),
        Some(std::cmp::Ordering::Equal) if !source.is_same_as_before() => Check::fail(
            id,
            format!("source `{name}`: the data changed, but its newest record is still {newest}"),
        )
        .hint("check whether upstream stopped: the new data has no newer record"),
        _ => Check::pass(id, format!("newest record {newest}, {age} old (limit {limit})")),
    })
}

/// The newest record and its age. The error says why they prove nothing.
fn newest(source: &Source<'_>) -> Result<(Timestamp, Age), String> {
    let data = source.data;
    if data.timestamp.is_none() {
        return Err("no times were sealed: the recipe names no `timestamp`".to_string());
    }
    let (rows, unparsed) = (data.rows.unwrap_or(0), data.unparsed.unwrap_or(0));
    if unparsed as f64 > MOST_UNPARSED * rows as f64 {
        let examples: Vec<String> =
            data.unparsed_examples.iter().map(|text| modelseal_format::display::name(text)).collect();
        return Err(format!(
            "{unparsed} of {} have no readable time, such as {}",
            modelseal_format::display::count(rows, "row", "rows"),
            examples.join(", ")
        ));
    }
    if let Some(forms) = data.time_forms.filter(|forms| forms.are_mixed()) {
        return Err(format!(
            "one column mixes seconds and milliseconds, in {} and {} rows",
            forms.seconds, forms.milliseconds
        ));
    }
    let parse = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(newest) = parse(&data.newest) else {
        return Err("no record has a readable time".to_string());
    };
    let now = source.evidence.now.as_second();
    let seconds = now - newest.as_second();
    if parse(&data.oldest).is_some_and(|oldest| oldest.as_second() > now) {
        return Err(format!("all records are in the future, the newest at {}", Escaped(&newest.to_string())));
    }
    if seconds < -TOLERATED_FUTURE_SECONDS {
        return Err(format!("its newest record, {newest}, is in the future"));
    }
    Ok((newest, Age(std::time::Duration::from_secs(seconds.max(0).unsigned_abs()))))
}
