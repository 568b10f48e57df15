//! Step 2: a signer that the caller named signed it.

use super::Verification;
use crate::report::Check;
use crate::report::id::SIGNATURE;
use crate::trust::{self, Accepted, Role};
use modelseal_format::release::Seal;
use modelseal_format::sign::Bundle;

/// Checks the signature of a seal with [`Seal::verify`].
pub(super) fn check<'a>(verification: &mut Verification<'a>, seal: &Seal) -> Option<Accepted<'a>> {
    check_by(verification, &seal.bundle, &|key| seal.verify(key))
}

/// Tries every trusted signer. What the bundle says about its signer is only compared.
pub(super) fn check_by<'a>(
    verification: &mut Verification<'a>,
    bundle: &Bundle,
    check: trust::Check<'_>,
) -> Option<Accepted<'a>> {
    let options = verification.options;
    let accepted = match trust::accept(options.signers, bundle, check, options.context.now) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let mut check = Check::fail(SIGNATURE, refusal.message);
            (check.expected, check.actual) = (refusal.expected, refusal.actual);
            check.hint = refusal.hint;
            verification.add(check);
            return None;
        }
    };
    let accepted = match accepted.acting(Role::Build, options.context.now) {
        Ok(accepted) => accepted,
        Err(reason) => {
            let check = Check::fail(SIGNATURE, format!("signed by {reason}"));
            verification
                .add(check.hint("do not deploy it unless the policy should allow this signer to build"));
            return None;
        }
    };
    verification.add(Check::pass(SIGNATURE, accepted.shown()));
    Some(accepted)
}
