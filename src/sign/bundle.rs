//! The Sigstore bundle v0.3 with one DSSE signature.
//!
//! Ours has exactly one spelling: fixed text, the payload, the signature, then spaces up to a length
//! that does not depend on the signature. Reading compares with that text instead of parsing JSON. What
//! another tool completed, with log entries, is read by [`super::foreign`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::foreign::read_foreign;
use super::{KeyError, PublicKey, SignatureError, Signer};

const START: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"#;
const HINT: &str = r#""publicKey":{"hint":""#;
const HINT_END: &str = r#""}"#;
const CHAIN: &str = r#""x509CertificateChain":{"certificates":["#;
const CERTIFICATE: &str = r#"{"rawBytes":""#;
const CHAIN_END: &str = "]}";
const PAYLOAD: &str = r#","tlogEntries":[]},"dsseEnvelope":{"payload":""#;
const SIGNATURE: &str = r#"","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":""#;
const KEY_ID: &str = r#"","keyid":""#;
const END: &str = r#""}]}}"#;

/// Room for the longest signature in base64: 139 bytes of DER for P-521, and a little more.
const SIGNATURE_ROOM: usize = 192;

/// A seal taken apart. Nothing in it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub material: Material,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// Signed times of the signature (RFC 3161).
    pub timestamps: Vec<Vec<u8>>,
    pub form: Form,
}

/// What a bundle offers for checking its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A key that the verifier must have: by the SHA-256 of its PEM text in hex, as we and OMS name it, or
    /// in another tool's way, or not at all. Only ever compared.
    Key { hint: Option<String> },
    /// The signer's certificate first, in DER, then each one's issuer.
    Certificates(Vec<Vec<u8>>),
    /// A short-lived certificate of an identity, in DER, with entries of a transparency log.
    Identity {
        certificate: Vec<u8>,
        /// The bundle as it is.
        whole: Vec<u8>,
    },
}

/// In how many spellings a signature and its bundle are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The one that we write; the signature in DER, with the lower of the two possible S.
    Canonical,
    /// As other tools write it; the signature in DER.
    Foreign,
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
    #[error("it is not in the form in which modelseal writes it")]
    NotCanonical,
}

impl Bundle {
    /// Checks the signature by a key that the caller trusts.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        match self.form {
            Form::Canonical => key.verify(&self.payload, &self.signature),
            Form::Foreign => key.verify_foreign(&self.payload, &self.signature),
        }
    }
}

/// How many bytes [`write_bundle`] makes of a payload of this many bytes with this material, whoever signs.
pub fn bundle_length(payload: usize, material: &Material) -> u64 {
    let (material, key_id) = text_of(material);
    let fixed = [START, &material, PAYLOAD, SIGNATURE, KEY_ID, &key_id, END];
    let fixed: usize = fixed.iter().map(|part| part.len()).sum();
    (fixed + payload.div_ceil(3) * 4 + SIGNATURE_ROOM) as u64
}

/// Signs a payload and writes the bundle.
///
/// # Errors
/// [`KeyError`] for a key that cannot sign.
pub fn write_bundle(payload: &[u8], signer: &Signer) -> Result<Vec<u8>, KeyError> {
    Ok(canonical_text(payload, &signer.sign(payload)?, &signer.material()))
}

/// A bundle in the one spelling in which it is read as canonical, if its signature is.
pub fn canonical_text(payload: &[u8], signature: &[u8], material: &Material) -> Vec<u8> {
    let length = bundle_length(payload.len(), material);
    let (material, key_id) = text_of(material);
    let mut text = String::with_capacity(usize::try_from(length).unwrap_or_default());
    for part in [START, &material, PAYLOAD] {
        text.push_str(part);
    }
    STANDARD.encode_string(payload, &mut text);
    let signature = STANDARD.encode(signature);
    for part in [SIGNATURE, &signature, KEY_ID, &key_id, END] {
        text.push_str(part);
    }
    text.extend(std::iter::repeat_n(' ', SIGNATURE_ROOM.saturating_sub(signature.len())));
    text.into_bytes()
}

/// What a bundle says of its signer, and the `keyid` that goes with it. A bundle with the log entries of
/// another tool is never written here.
fn text_of(material: &Material) -> (String, String) {
    match material {
        Material::Key { hint } => {
            let hint = hint.clone().unwrap_or_default();
            (format!("{HINT}{hint}{HINT_END}"), hint)
        }
        Material::Certificates(chain) => {
            let certificates: Vec<String> = chain
                .iter()
                .map(|certificate| format!("{CERTIFICATE}{}{HINT_END}", STANDARD.encode(certificate)))
                .collect();
            (format!("{CHAIN}{}{CHAIN_END}", certificates.join(",")), String::new())
        }
        Material::Identity { .. } => Default::default(),
    }
}

/// Reads a bundle that is exactly as [`write_bundle`] writes it, or that another tool completed with what
/// vouches for a certificate: log entries, or signed times.
///
/// # Errors
/// [`BundleError`], as precise as a second, lenient reading can make it.
pub fn read_bundle(bytes: &[u8]) -> Result<Bundle, BundleError> {
    if let Some(bundle) = read_canonical(bytes) {
        return Ok(bundle);
    }
    let foreign = read_foreign(bytes)?;
    match &foreign.material {
        Material::Identity { .. } => Ok(foreign),
        Material::Certificates(_) if !foreign.timestamps.is_empty() => Ok(foreign),
        // What is said of a key beside its signature vouches for nothing.
        Material::Certificates(_) | Material::Key { .. } => Err(BundleError::NotCanonical),
    }
}

fn read_canonical(bytes: &[u8]) -> Option<Bundle> {
    let rest = std::str::from_utf8(bytes).ok()?.strip_prefix(START)?;
    let (material, key_id, rest) = read_material(rest)?;
    let rest = rest.strip_prefix(PAYLOAD)?;
    let (payload, rest) = rest.split_at(rest.find('"')?);
    let rest = rest.strip_prefix(SIGNATURE)?;
    let (signature, rest) = rest.split_at(rest.find('"')?);
    let rest = rest.strip_prefix(KEY_ID)?;
    let padding = rest.strip_prefix(key_id)?.strip_prefix(END)?;
    if padding.len() != SIGNATURE_ROOM.checked_sub(signature.len())?
        || padding.bytes().any(|byte| byte != b' ')
    {
        return None;
    }
    // The decoder refuses everything but the one right spelling: white space, missing or surplus
    // padding, spare bits that are not zero, the URL-safe alphabet.
    Some(Bundle {
        material,
        payload: STANDARD.decode(payload).ok()?,
        signature: STANDARD.decode(signature).ok()?,
        timestamps: Vec::new(),
        form: Form::Canonical,
    })
}

/// What stands of the signer at the start of this text, the `keyid` that belongs to it, and the rest.
fn read_material(text: &str) -> Option<(Material, &str, &str)> {
    if let Some(rest) = text.strip_prefix(HINT) {
        let (hint, rest) = rest.split_at_checked(64)?;
        let _: crate::digest::Digest = hint.parse().ok()?;
        return Some((Material::Key { hint: Some(hint.to_string()) }, hint, rest.strip_prefix(HINT_END)?));
    }
    let mut rest = text.strip_prefix(CHAIN)?;
    let mut chain = Vec::new();
    loop {
        let (certificate, after) = rest.strip_prefix(CERTIFICATE)?.split_once('"')?;
        chain.push(STANDARD.decode(certificate).ok()?);
        rest = after.strip_prefix('}')?;
        match rest.strip_prefix(CHAIN_END) {
            Some(rest) => return Some((Material::Certificates(chain), "", rest)),
            None => rest = rest.strip_prefix(',')?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{KeyAlgorithm, PrivateKey};

    fn key(algorithm: KeyAlgorithm) -> Signer {
        PrivateKey::generate(algorithm).expect("makes a key").into()
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
                assert_eq!(bytes.len() as u64, bundle_length(payload.len(), &key.material()));
                lengths.insert(bytes.len());
                let bundle = read_bundle(&bytes).expect("reads");
                assert_eq!(bundle.payload, payload);
                assert_eq!(bundle.material, key.material());
                bundle.verify(key.public_key()).expect("verifies");
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
        let not_base64 = || BundleError::NotABundle("its payload is not base64".to_string());
        for (other, expected) in [
            (format!(" {text}"), BundleError::NotCanonical),
            (format!("{text} "), BundleError::NotCanonical),
            (trimmed.to_string(), BundleError::NotCanonical),
            (format!("{trimmed}\n"), BundleError::NotCanonical),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e31=""#), not_base64()),
            (text.replace(r#""payload":"e30=""#, r#""payload":"e30""#), not_base64()),
            (text.replace(r#""keyid":""#, r#""keyid" :""#), BundleError::NotCanonical),
            (text.replace(r#""keyid":""#, r#""keyid":"0"#), BundleError::NotCanonical),
            (text.replace(r#"}]}}"#, r#"},{"sig":""}]}}"#), BundleError::Signatures(2)),
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
            (&format!("{{\"x\":{}", "[".repeat(100_000)), "not a Sigstore bundle"),
            (&format!("{{\"mediaType\":{}", "[".repeat(100_000)), "not a Sigstore bundle"),
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
