//! `probe.NAME.…`: what the sealed answers say about the model.

use super::Evidence;
use crate::policy::{Probe, Verdict, judge_answers};
use crate::report::{Check, Status};
use modelseal_format::manifest::{Byproduct, ProbeFacts};
use modelseal_format::text;

pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, demand) in &evidence.policy.tables.probe {
        let Some(sealed) = evidence.manifest.probe(name) else {
            let message = format!("no results of the probe `{name}` were sealed");
            let status = if demand.required { Status::Fail } else { Status::Skip };
            checks.push(
                Check::new(format!("probe.{name}"), status, message)
                    .hint("`[[probe]]` in the recipe asks the model when it is built"),
            );
            continue;
        };
        let previous = evidence.previous.and_then(|previous| previous.probe(name));
        checks.extend(previous.map(|previous| questions(name, sealed, previous)));
        // Other questions get other answers.
        let previous = previous.filter(|previous| previous.digest == sealed.digest);
        let previous = previous.map(|previous| &previous.annotations);
        checks.extend(judge_probe(name, demand, &sealed.annotations, previous));
    }
    checks
}

/// A probe that asks less than it did finds less.
fn questions(name: &str, sealed: &Byproduct, other: &Byproduct) -> Check {
    let (facts, previous) = (&sealed.annotations, &other.annotations);
    let id = format!("probe.{name}.questions");
    let lost = |what: &str, before: u64, now: u64| {
        (now < before).then(|| format!("{before} {what} before, {now} now"))
    };
    let feature = previous.influence.keys().find(|feature| !facts.influence.contains_key(*feature));
    let less = lost("inputs", previous.inputs(), facts.inputs())
        .or_else(|| lost("expected answers", previous.expected.tried, facts.expected.tried))
        .or_else(|| {
            feature.map(|feature| format!("{} need not make a difference any more", text::name(feature)))
        });
    let other_questions = sealed.digest != other.digest;
    match less {
        None if other_questions || facts.command != previous.command => {
            let message = match other_questions {
                true => "other questions than in the previous release: nothing is compared with that",
                false => "another command answers than in the previous release",
            };
            Check::warn(id, message)
                .hint("look at what changed in the inputs, the expected answers and the command")
        }
        Some(less) => Check::fail(id, format!("it asks less than that of the previous release: {less}"))
            .hint("a waiver lets a smaller probe through once"),
        None => {
            Check::pass(id, format!("the same as before: {}", text::count(facts.inputs(), "input", "inputs")))
        }
    }
}

/// Holds what a probe found to the policy; `previous` is what it found before.
pub fn judge_probe(
    name: &str,
    demand: &Probe,
    facts: &ProbeFacts,
    previous: Option<&ProbeFacts>,
) -> Vec<Check> {
    let id = |aspect: &str| format!("probe.{name}.{aspect}");
    let mut checks = Vec::new();
    if demand.isolated && !facts.isolated {
        let message = "it was not isolated: it could have read the expected answers, or asked the network";
        checks.push(Check::fail(id("isolation"), message));
    }
    for (what, most, found) in [
        ("max_atol", &demand.max_atol, facts.tolerance.atol),
        ("max_rtol", &demand.max_rtol, facts.tolerance.rtol),
    ] {
        if let Some(most) = most.as_ref().map(|most| *most.get_ref()).filter(|most| found > *most) {
            let message =
                format!("answers were compared within {found:?}, and the policy says {what} = {most:?}");
            checks.push(Check::fail(id("tolerance"), message));
        }
    }
    checks.extend(judge_answers(facts, previous, demand.bounds()).into_iter().map(|finding| {
        let status = match finding.verdict {
            Verdict::Pass => Status::Pass,
            Verdict::Fail => Status::Fail,
            Verdict::Unknown => Status::Unknown,
        };
        Check::new(id(finding.aspect.name()), status, finding.message)
    }));
    checks
}
