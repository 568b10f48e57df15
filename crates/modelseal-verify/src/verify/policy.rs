//! Step 7: what the deployer's policy demands of the sealed evidence.

use super::{Error, Verification, previous, rollback, signatures};
use crate::policy::merge;
use crate::rule::{Evidence, Previous};
use modelseal_format::release::Seal;

/// Judges the release by the policy, if there is one. It answers all questions first, then applies the waivers, then
/// the setting for warnings.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal) -> Result<(), Error> {
    let Some(policy) = verification.options.policy else {
        verification.not_reached("policy (none given)");
        return Ok(());
    };
    let now = verification.options.context.now;
    verification.add(policy.judge_model(&seal.manifest));
    let previous = previous::check(verification, policy, seal)?;
    signatures::check(verification, policy);
    rollback::check(verification, policy, seal, previous.as_ref());
    let previous = previous.as_ref();
    let evidence = Evidence {
        manifest: &seal.manifest,
        previous: previous.map(|seal| Previous { manifest: &seal.manifest, release: seal.release }),
        origin: verification.report.origin.unwrap_or(seal.manifest.internal().origin),
        now,
    };
    // The result of the policy for an input replaces the plain description of the input.
    merge(&mut verification.report.checks, policy.judge(&evidence));
    policy.settle(&mut verification.report.checks, now);
    Ok(())
}
