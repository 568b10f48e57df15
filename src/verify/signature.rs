//! Step 2: a key that the caller named signed it.

use super::{TrustedKey, Verification};
use crate::report::Check;
use crate::sign::{Bundle, SignatureError};

/// Tries every trusted key; what the seal says about its key is only compared afterwards.
pub(super) fn check<'a>(verification: &mut Verification<'a>, bundle: &Bundle) -> Option<&'a TrustedKey> {
    let keys = verification.options.keys;
    let mut not_canonical = None;
    for trusted in keys {
        match trusted.key.verify(&bundle.payload, &bundle.signature) {
            Ok(()) if trusted.key.hint() == bundle.hint => {
                if let Err(reason) = &trusted.may_build {
                    let message = format!("signed by {}, which does not count: {reason}", trusted.shown);
                    verification.add(
                        Check::fail("signature", message)
                            .hint("the policy says who may build; do not deploy what others built"),
                    );
                    return None;
                }
                verification.add(Check::pass("signature", trusted.shown.clone()));
                return Some(trusted);
            }
            Ok(()) => {
                let message = format!("signed by {}, but the seal names another key", trusted.shown);
                verification.add(
                    Check::fail("signature", message)
                        .differs(format!("sha256:{}", trusted.key.hint()), format!("sha256:{}", bundle.hint)),
                );
                return None;
            }
            Err(SignatureError::NotCanonical) if trusted.key.hint() == bundle.hint => {
                not_canonical = Some(SignatureError::NotCanonical);
            }
            Err(_) => {}
        }
    }
    let named = keys.iter().find(|trusted| trusted.key.hint() == bundle.hint);
    let check = match (named, not_canonical) {
        (Some(trusted), Some(error)) => {
            Check::fail("signature", format!("it names {}, but {error}", trusted.shown))
        }
        (Some(trusted), None) => Check::fail(
            "signature",
            format!("it names {}, but the manifest was changed after signing", trusted.shown),
        ),
        (None, _) => {
            let expected: Vec<String> =
                keys.iter().map(|trusted| format!("sha256:{}", trusted.key.hint())).collect();
            Check::fail("signature", "none of the trusted keys signed this")
                .differs(expected.join(" or "), format!("sha256:{}", bundle.hint))
                .hint("if the signer is right, the `--key` is another one; if not, do not deploy it")
        }
    };
    verification.add(check);
    None
}
