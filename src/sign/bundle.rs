//! The Sigstore bundle v0.3 with one DSSE signature made by a key.
//!
//! Ours has exactly one spelling: fixed text, the payload, the signature, then spaces up to a length
//! that does not depend on the signature. Reading compares with that text instead of parsing JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{KeyError, PrivateKey};
use crate::digest::Digest;
use crate::manifest::PAYLOAD_TYPE;

const HINT: &str = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":""#;
const PAYLOAD: &str = r#""},"tlogEntries":[]},"dsseEnvelope":{"payload":""#;
const SIGNATURE: &str = r#"","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":""#;
const KEY_ID: &str = r#"","keyid":""#;
const END: &str = r#""}]}}"#;

/// Room for the longest signature in base64: 139 bytes of DER for P-521, and a little more.
const SIGNATURE_ROOM: usize = 192;

/// A seal taken apart. Nothing in it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Which key it says that it was signed with; only ever compared.
    pub hint: Digest,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

/// Why bytes are not a seal that this version can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("it is not valid JSON: {0}")]
    NotJson(String),
    #[error("it is not a Sigstore bundle: {0}")]
    NotABundle(String),
    #[error("it has {0} signatures; exactly one belongs into a bundle")]
    Signatures(usize),
    #[error(
        "it was completed by another tool, with a certificate or log entries; this version checks signatures by keys"
    )]
    OtherTool,
    #[error("it is not in the form in which modelseal writes it")]
    NotCanonical,
}

/// How many bytes [`write_bundle`] makes of a payload of this many bytes, whoever signs it.
pub fn bundle_length(payload: usize) -> u64 {
    let fixed = [HINT, PAYLOAD, SIGNATURE, KEY_ID, END];
    let fixed: usize = fixed.iter().map(|part| part.len()).sum();
    (fixed + 2 * 64 + payload.div_ceil(3) * 4 + SIGNATURE_ROOM) as u64
}

/// Signs a payload and writes the bundle.
///
/// # Errors
/// [`KeyError`] for a key that cannot sign.
pub fn write_bundle(payload: &[u8], key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let signature = STANDARD.encode(key.sign(payload)?);
    let hint = key.public_key().hint().to_string();
    let mut text = String::with_capacity(bundle_length(payload.len()) as usize);
    for part in [HINT, &hint, PAYLOAD] {
        text.push_str(part);
    }
    STANDARD.encode_string(payload, &mut text);
    for part in [SIGNATURE, &signature, KEY_ID, &hint, END] {
        text.push_str(part);
    }
    text.extend(std::iter::repeat_n(' ', SIGNATURE_ROOM.saturating_sub(signature.len())));
    Ok(text.into_bytes())
}

/// Reads a bundle that is exactly as [`write_bundle`] writes it.
///
/// # Errors
/// [`BundleError`], as precise as a second, lenient reading can make it.
pub fn read_bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
    read_canonical(bytes).ok_or_else(|| explain(bytes))
}

fn read_canonical(bytes: &[u8]) -> Option<Bundle> {
    let text = std::str::from_utf8(bytes).ok()?;
    let rest = text.strip_prefix(HINT)?;
    let (hint, rest) = rest.split_at_checked(64)?;
    let rest = rest.strip_prefix(PAYLOAD)?;
    let (payload, rest) = rest.split_at(rest.find('"')?);
    let rest = rest.strip_prefix(SIGNATURE)?;
    let (signature, rest) = rest.split_at(rest.find('"')?);
    let rest = rest.strip_prefix(KEY_ID)?;
    let rest = rest.strip_prefix(hint)?;
    let padding = rest.strip_prefix(END)?;
    if padding.len() != SIGNATURE_ROOM.checked_sub(signature.len())?
        || padding.bytes().any(|byte| byte != b' ')
    {
        return None;
    }
    // The decoder refuses everything but the one right spelling: white space, missing or surplus
    // padding, spare bits that are not zero, the URL-safe alphabet.
    Some(Bundle {
        hint: hint.parse().ok()?,
        payload: STANDARD.decode(payload).ok()?,
        signature: STANDARD.decode(signature).ok()?,
    })
}

/// Why bytes are not one of our bundles.
fn explain(bytes: &[u8]) -> BundleError {
    let lenient: Lenient<'_> = match serde_json::from_slice(bytes) {
        Ok(lenient) => lenient,
        Err(error) => {
            let text = crate::text::Escaped(&error.to_string()).to_string();
            return if error.is_data() { BundleError::NotABundle(text) } else { BundleError::NotJson(text) };
        }
    };
    if !lenient.media_type.starts_with("application/vnd.dev.sigstore.bundle") {
        let what = format!("its mediaType is {}", crate::text::name(&lenient.media_type));
        return BundleError::NotABundle(what);
    }
    if lenient.dsse_envelope.payload_type != PAYLOAD_TYPE {
        let found = crate::text::name(&lenient.dsse_envelope.payload_type);
        return BundleError::NotABundle(format!("its payloadType is {found}"));
    }
    if lenient.dsse_envelope.signatures.len() != 1 {
        return BundleError::Signatures(lenient.dsse_envelope.signatures.len());
    }
    let material = &lenient.verification_material;
    if material.certificate.is_some()
        || material.x509_certificate_chain.is_some()
        || !material.tlog_entries.is_empty()
    {
        return BundleError::OtherTool;
    }
    BundleError::NotCanonical
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lenient<'a> {
    #[serde(borrow)]
    media_type: Cow<'a, str>,
    verification_material: LenientMaterial,
    #[serde(borrow)]
    dsse_envelope: LenientEnvelope<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LenientMaterial {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
    #[serde(default)]
    tlog_entries: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LenientEnvelope<'a> {
    #[serde(borrow)]
    payload_type: Cow<'a, str>,
    signatures: Vec<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::KeyAlgorithm;

    fn key(algorithm: KeyAlgorithm) -> PrivateKey {
        PrivateKey::generate(algorithm).expect("makes a key")
    }

    #[test]
    fn a_bundle_reads_back_and_has_a_length_that_depends_on_the_payload_alone() {
        let payload = br#"{"_type":"x"}"#;
        let mut lengths = std::collections::HashSet::new();
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::P521, KeyAlgorithm::Ed25519] {
            for _ in 0..20 {
                let key = key(algorithm);
                let bytes = write_bundle(payload, &key).expect("signs");
                assert_eq!(bytes, write_bundle(payload, &key).expect("signs"), "deterministic");
                assert_eq!(bytes.len() as u64, bundle_length(payload.len()));
                lengths.insert(bytes.len());
                let bundle = read_bundle(&bytes).expect("reads");
                assert_eq!(bundle.payload, payload);
                assert_eq!(bundle.hint, key.public_key().hint());
                key.public_key().verify(payload, &bundle.signature).expect("verifies");
                serde_json::from_slice::<serde_json::Value>(&bytes).expect("is JSON");
            }
        }
        assert_eq!(lengths.len(), 1);
    }

    #[test]
    fn every_other_spelling_is_refused_and_explained() {
        let bytes = write_bundle(b"{}", &key(KeyAlgorithm::P256)).expect("signs");
        let text = String::from_utf8(bytes).expect("is text");
        let trimmed = text.trim_end();
        for (other, expected) in [
            (format!(" {text}"), BundleError::NotCanonical),
            (format!("{text} "), BundleError::NotCanonical),
            (trimmed.to_string(), BundleError::NotCanonical),
            (format!("{trimmed}\n"), BundleError::NotCanonical),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e31=""#), BundleError::NotCanonical),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e30""#), BundleError::NotCanonical),
            (text.replace(r#""keyid":""#, r#""keyid" :""#), BundleError::NotCanonical),
            (text.replace(r#""tlogEntries":[]"#, r#""tlogEntries":[{}]"#), BundleError::OtherTool),
            (text.replace(r#""publicKey":{"hint""#, r#""certificate":{"hint""#), BundleError::OtherTool),
            (text.replace(r#"}]}}"#, r#"},{}]}}"#), BundleError::Signatures(2)),
        ] {
            assert_ne!(other, text);
            assert_eq!(read_bundle(other.as_bytes()), Err(expected), "{other}");
        }
        for (other, expected) in [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("\u{feff}{}", "not valid JSON"),
            (&format!("{trimmed}{trimmed}"), "not valid JSON"),
            (&"[".repeat(100_000), "not a Sigstore bundle"),
            (&format!("{{\"x\":{}", "[".repeat(100_000)), "not valid JSON"),
            ("{}", "not a Sigstore bundle"),
            ("[]", "not a Sigstore bundle"),
            (&text.replace("bundle.v0.3", "other"), "not a Sigstore bundle"),
            (&text.replace("vnd.in-toto+json", "json"), "payloadType"),
        ] {
            let error = read_bundle(other.as_bytes()).expect_err("is refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
