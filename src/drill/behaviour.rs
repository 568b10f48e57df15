//! Faults of behaviour: what the model answered when it was built.

use super::release::Draft;
use super::{Attempt, Error, Fault, fault};
use modelseal_format::manifest::{ProbeFacts, Tally};

const NO_PROBES: &str = "no probe was sealed: `[[probe]]` in the recipe asks the model";

/// Of each probe, and of all together.
pub(super) fn faults(healthy: &Draft<'_>) -> Result<Vec<Fault>, Error> {
    let names: Vec<String> =
        healthy.manifest.probes().iter().map(|probe| probe.probe().to_string()).collect();
    let missing = healthy.changed(|manifest| manifest.probes_mut().clear())?;
    let cure = "[probe.NAME]".replace("NAME", names.first().map_or("NAME", String::as_str));
    let mut faults = vec![fault(
        "a model that nobody asked".to_string(),
        &cure,
        (!names.is_empty()).then_some(missing),
        NO_PROBES,
    )];
    for name in &names {
        faults.extend(of_one(healthy, name)?);
    }
    Ok(faults)
}

fn of_one(healthy: &Draft<'_>, name: &str) -> Result<Vec<Fault>, Error> {
    let fault = |what: &str, demand: &str, attempt: Option<Attempt>, lacks: &str| {
        let cure = format!("[probe.{name}]{demand}");
        fault(healthy.named(what, "probe", name), &cure, attempt, lacks)
    };
    let changed = |change: &dyn Fn(&mut ProbeFacts)| healthy.changed_probe(name, change);
    let has_influence = healthy
        .manifest
        .probes()
        .iter()
        .any(|probe| probe.probe() == name && !probe.annotations.influence.is_empty());
    let ignored = changed(&|facts| {
        facts.influence.values_mut().for_each(|tally| *tally = Tally { tried: tally.tried.max(1), hit: 0 });
    })?;
    Ok(vec![
        fault(
            "one answer for everyone",
            "",
            changed(&|facts| (facts.distinct, facts.commonest) = (1, facts.inputs()))?,
            NO_PROBES,
        ),
        fault(
            "the fallback for everyone",
            "",
            changed(&|facts| facts.fallbacks = facts.inputs())?,
            NO_PROBES,
        ),
        fault("inputs ignored", "", changed(&|facts| facts.swapped.hit = 0)?, NO_PROBES),
        fault(
            "one feature ignored",
            "",
            ignored.filter(|_| has_influence),
            "the recipe says of no feature that it `must_influence`",
        ),
        fault("another answer each time", "", changed(&|facts| facts.deterministic = false)?, NO_PROBES),
        fault(
            "a fact answered wrongly",
            "",
            changed(&|facts| facts.expected = Tally { tried: facts.inputs(), hit: 0 })?,
            NO_PROBES,
        ),
        fault(
            "a model that was asked without isolation",
            " isolated = true",
            changed(&|facts| facts.isolated = false)?,
            NO_PROBES,
        ),
        fault(
            "any answer counted as the expected one",
            " max_atol = …",
            changed(&|facts| facts.tolerance.atol = 1e9)?,
            NO_PROBES,
        ),
        fault("fewer questions than before", "", changed(&halve)?, NO_PROBES),
    ])
}

/// Half of the questions, and good answers to them.
fn halve(facts: &mut ProbeFacts) {
    let rest = facts.inputs().div_ceil(2);
    facts.answers.truncate(rest as usize);
    (facts.distinct, facts.commonest) = (rest, 1);
    facts.fallbacks = facts.fallbacks.min(rest);
    let tallies = facts.influence.values_mut().chain([&mut facts.swapped, &mut facts.expected]);
    for tally in tallies {
        tally.tried = tally.tried.min(rest);
        tally.hit = tally.hit.min(rest);
    }
}
