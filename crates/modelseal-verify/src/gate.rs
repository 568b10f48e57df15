//! Judging the evidence of a release: is the data fresh, are its labels what they were, did anything new go
//! in, does the model look at its inputs?
//!
//! Everything is judged from what was sealed, now and by the deployer's policy. Nothing is executed. How
//! much may differ has a floor that follows from the number of rows: a gate that cries wolf is switched off.

mod behaviour;
mod freshness;
mod labels;
mod refresh;
mod rows;
mod statistics;

use jiff::Timestamp;

use crate::policy::{Policy, Warnings};
use crate::report::{Check, Status};
use modelseal_format::manifest::{DataEvidence, Origin, Statement};

pub use behaviour::judge_probe;

/// What is judged.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub policy: &'a Policy,
    pub manifest: &'a Statement,
    /// Of the release that is deployed now, accepted by the same keys.
    pub previous: Option<&'a Statement>,
    /// After statements of others were counted.
    pub origin: Origin,
    pub now: Timestamp,
}

/// Whether the policy is for this model.
pub fn judge_model(policy: &Policy, manifest: &Statement) -> Check {
    let (demanded, found) = (policy.tables.model.get_ref(), &manifest.model().name);
    if demanded == found {
        return Check::pass("model", found.clone());
    }
    Check::fail("model", format!("this is the model `{found}`, and the policy is for `{demanded}`"))
        .hint("the wrong archive, or the wrong policy")
}

/// Judges a release by a policy: one check for each demand.
pub fn judge(evidence: &Evidence<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, demand) in &evidence.policy.tables.data {
        let Some(facts) = evidence.data(name) else {
            let message = format!(
                "the release has no data {}, which the policy judges",
                modelseal_format::text::name(name)
            );
            checks.push(Check::fail(format!("lineage.data.{name}"), message));
            continue;
        };
        let source = Source { name, facts, previous: evidence.previous_data(name), evidence };
        checks.extend(demand.max_age.as_ref().map(|age| freshness::judge(&source, *age.get_ref())));
        checks.extend(
            demand.labels.as_ref().map(|distance| labels::against_previous(&source, distance.limit())),
        );
        checks.extend(demand.slices.as_ref().map(|distance| labels::over_time(&source, distance.limit())));
        checks.extend(demand.rows.as_ref().map(|ratio| rows::judge(&source, ratio.get_ref())));
    }
    if let Some(refresh) = &evidence.policy.tables.refresh {
        checks.push(refresh::judge(evidence, refresh.inert));
    }
    checks.extend(behaviour::judge(evidence));
    checks
}

/// Holds what is already in the report to the policy: the origin, the code, and what a waiver excuses.
pub fn tighten(checks: &mut [Check], evidence: &Evidence<'_>) {
    for check in checks.iter_mut() {
        match check.id.as_str() {
            "lineage.origin" => origin(check, evidence),
            "lineage.code" => code(check, evidence),
            _ => {}
        }
    }
    excuse(checks, evidence.policy, evidence.now);
}

/// Makes a warning of what fails and what a waiver excuses for now.
pub fn excuse(checks: &mut [Check], policy: &Policy, now: Timestamp) {
    for check in checks.iter_mut() {
        waive(check, policy, now);
    }
}

fn origin(check: &mut Check, evidence: &Evidence<'_>) {
    let Some(demanded) = evidence.policy.tables.origin else { return };
    if evidence.origin >= demanded || check.status != Status::Pass {
        return;
    }
    check.status = Status::Fail;
    check.message = format!(
        "{}: {}, and the policy demands {}",
        evidence.origin.name(),
        evidence.origin.description(),
        demanded.name()
    );
    check.hint = Some(match demanded {
        Origin::Reproduced => "`modelseal reproduce --attest` by another trusted signer makes it that".into(),
        _ => "build it with `[run]` in the recipe, in CI with `--clean`".into(),
    });
}

fn code(check: &mut Check, evidence: &Evidence<'_>) {
    let Some(demand) = &evidence.policy.tables.code else { return };
    let Some(sealed) = evidence.manifest.code() else {
        check.status = Status::Fail;
        check.message = "no code revision was sealed, and the policy demands one".to_string();
        return;
    };
    let fail = |check: &mut Check, message: String| {
        check.status = Status::Fail;
        check.message = message;
    };
    if let Some(remote) = &demand.remote {
        let found = sealed.remote();
        if found != Some(remote.as_str()) {
            let found = found.map_or("no remote".to_string(), modelseal_format::text::name);
            fail(
                check,
                format!(
                    "the code is at {found}, and the policy demands {}",
                    modelseal_format::text::name(remote)
                ),
            );
            return;
        }
    }
    if let (Some(false), Some(path)) = (demand.dirty, sealed.dirty().first()) {
        fail(
            check,
            format!(
                "{} was not as committed, and the policy demands that",
                modelseal_format::text::name(path)
            ),
        );
    }
}

/// A check that may fail for now: a warning that says why, and until when.
fn waive(check: &mut Check, policy: &Policy, now: Timestamp) {
    if !matches!(check.status, Status::Fail | Status::Unknown) {
        return;
    }
    let waivers = policy.tables.waiver.iter().filter(|waiver| *waiver.check.get_ref() == check.id);
    let Some(waiver) = waivers.max_by_key(|waiver| waiver.until) else { return };
    let reason = modelseal_format::text::Escaped(waiver.reason.get_ref()).to_string();
    if waiver.until < now {
        check.message = format!("{} (the waiver ended {}: {reason})", check.message, waiver.until);
        return;
    }
    check.status = Status::Warn;
    check.message = format!("{} (waived until {}: {reason})", check.message, waiver.until);
    check.is_waived = true;
}

/// Where the policy says so, a warning is a failure; what is waived stays one.
pub fn count_warnings(checks: &mut [Check], policy: &Policy) {
    if policy.tables.warnings == Warnings::Allow {
        return;
    }
    for check in checks.iter_mut().filter(|check| check.status == Status::Warn && !check.is_waived) {
        check.status = Status::Fail;
        check.message = format!("{} (a warning, and the policy says `warnings = \"fail\"`)", check.message);
    }
}

impl<'a> Evidence<'a> {
    fn data(&self, name: &str) -> Option<&'a DataEvidence> {
        self.manifest.data(name)
    }

    fn previous_data(&self, name: &str) -> Option<&'a DataEvidence> {
        self.previous?.data(name)
    }
}

/// One data source under judgement.
struct Source<'a> {
    name: &'a str,
    facts: &'a DataEvidence,
    /// The same source of the previous release.
    previous: Option<&'a DataEvidence>,
    evidence: &'a Evidence<'a>,
}

impl Source<'_> {
    /// Whether the previous release has the very same data.
    fn is_same_as_before(&self) -> bool {
        let digest = |manifest: &Statement| {
            let mut sources = manifest.inputs("data");
            sources.find(|(name, _)| *name == self.name).map(|(_, input)| input.digest.tagged())
        };
        self.evidence.previous.and_then(digest) == digest(self.evidence.manifest)
    }

    fn id(&self, kind: &str) -> String {
        format!("gate.{kind}.{}", self.name)
    }

    /// Something was demanded that only the previous release can tell.
    fn no_previous(&self, kind: &str) -> Check {
        let message = match self.evidence.previous {
            None => "there is no previous release to compare with".to_string(),
            Some(_) => {
                format!("the previous release has no data {}", modelseal_format::text::name(self.name))
            }
        };
        Check::unknown(self.id(kind), message).hint("`--previous` names the release that is deployed now")
    }
}
