//! Step 5: `model.sig` is present if and only if the manifest says so, and agrees with the manifest.

use super::Verification;
use crate::report::Check;
use crate::report::id::MODEL_SIGNATURE;
use modelseal_format::manifest::{MODEL_SIGNATURE_PATH, sealed_release};
use modelseal_format::release::{ModelSignature, Seal};
use modelseal_format::sign::{Material, read_bundle};

/// The content depends only on the manifest, so it is generated again and compared.
pub(super) fn check(verification: &mut Verification<'_>, seal: &Seal, found: Option<&ModelSignature>) {
    let check = match (seal.manifest.internal().model_signature, found) {
        (false, None) => Check::pass(MODEL_SIGNATURE, "none, as sealed"),
        (false, Some(_)) => Check::fail(
            MODEL_SIGNATURE,
            format!("`{MODEL_SIGNATURE_PATH}` exists, but no model signature was sealed"),
        ),
        (true, None) => Check::fail(MODEL_SIGNATURE, format!("`{MODEL_SIGNATURE_PATH}` is missing")),
        (true, Some(ModelSignature::Own { signature, payload })) => {
            verify(verification, seal, *payload, signature)
        }
        (true, Some(ModelSignature::Other { text: Some(text) })) => explain(seal, text),
        (true, Some(ModelSignature::Other { text: None })) => {
            Check::fail(MODEL_SIGNATURE, "its file list or its key differs from that of the seal")
        }
    };
    verification.add(check);
}

fn verify(verification: &Verification<'_>, seal: &Seal, payload: u64, signature: &[u8]) -> Check {
    let Some(signer) = &verification.accepted else {
        return Check::fail(MODEL_SIGNATURE, "the seal has no accepted signer");
    };
    match signer.key.verify(&seal.model_signature_payload(payload), signature) {
        Ok(()) => Check::pass(MODEL_SIGNATURE, "OMS, same key, same files"),
        Err(error) => Check::fail(MODEL_SIGNATURE, format!("its signature is not accepted: {error}")),
    }
}

/// Says why this is not the expected model signature.
fn explain(seal: &Seal, text: &[u8]) -> Check {
    let bundle = match read_bundle(text) {
        Ok(bundle) => bundle,
        Err(error) => {
            return Check::fail(MODEL_SIGNATURE, format!("cannot read `{MODEL_SIGNATURE_PATH}`: {error}"));
        }
    };
    if seal.bundle.material != bundle.material {
        let check = Check::fail(MODEL_SIGNATURE, "its key differs from the key of the seal");
        return match (&seal.bundle.material, &bundle.material) {
            (Material::Key { hint: Some(expected) }, Material::Key { hint: Some(found) }) => {
                check.differs(format!("sha256:{expected}"), format!("sha256:{found}"))
            }
            _ => check,
        };
    }
    match sealed_release(bundle.payload()) {
        Some(other) if other != seal.release => Check::fail(MODEL_SIGNATURE, "it belongs to another release")
            .differs(format!("sha256:{}", seal.release), format!("sha256:{other}")),
        _ => Check::fail(MODEL_SIGNATURE, "its file list differs from the manifest"),
    }
}
