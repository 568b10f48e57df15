//! Counts the signers of a release: the builder and those who approve it. Each is counted once, even with several keys
//! or names.

use super::Verification;
use crate::policy::Policy;
use crate::report::Check;
use crate::report::id::SIGNATURES;

/// Counts the signers, if the policy demands more than one.
pub(super) fn check(verification: &mut Verification<'_>, policy: &Policy) {
    let Some(demanded) = &policy.signatures else { return };
    let demanded = usize::try_from(*demanded.get_ref()).unwrap_or(usize::MAX);
    let builder = verification.accepted.iter();
    let names: Vec<&str> =
        builder.chain(&verification.approvals).map(|accepted| accepted.signer.name.as_str()).collect();
    let who = names.join(", ");
    let check = match names.len() {
        count if count >= demanded => Check::pass(SIGNATURES, format!("{count} of {demanded}: {who}")),
        count => Check::fail(SIGNATURES, format!("{count} of {demanded} required signatures: {who}"))
            .hint("a signer that may approve adds a signature with `modelseal countersign`"),
    };
    verification.add(check.measured(names.len() as f64, demanded as f64));
}
