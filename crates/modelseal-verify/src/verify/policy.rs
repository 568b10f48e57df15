//! Step 7: what the deployer's policy demands, judged on the sealed evidence.

use super::{Error, Verification, previous, rollback, signatures};
use crate::gate::{Evidence, count_warnings, judge, judge_model, tighten};
use modelseal_format::release::Seal;

/// Judges the release by the policy, if there is one.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal) -> Result<(), Error> {
    let Some(policy) = verification.options.policy else {
        verification.not_reached("policy (none given)");
        return Ok(());
    };
    verification.add(judge_model(policy, &seal.manifest));
    let previous = previous::check(verification, policy, seal)?;
    signatures::check(verification, policy);
    rollback::check(verification, policy, seal, previous.as_ref());
    let evidence = Evidence {
        policy,
        manifest: &seal.manifest,
        previous: previous.as_ref().map(|previous| &previous.manifest),
        origin: verification.report.origin.unwrap_or(seal.manifest.internal().origin),
        now: verification.options.context.now,
    };
    let mut judged = judge(&evidence);
    let checks = &mut verification.report.checks;
    // What the policy says about an input stands in the place of its mere name.
    checks.retain(|check| judged.iter().all(|other| other.id != check.id));
    checks.append(&mut judged);
    tighten(checks, &evidence);
    count_warnings(checks, policy);
    Ok(())
}
