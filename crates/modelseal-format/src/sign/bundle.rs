//! The Sigstore bundle v0.3 with one DSSE signature.
//!
//! A bundle that modelseal writes has exactly one form: fixed text, the payload, the signature, then spaces up to a
//! length that does not depend on the signature.

use std::io::{self, BufWriter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

use super::{Form, Material, PublicKey, SignatureError};
#[cfg(feature = "signing")]
use super::{KeyError, Signer};
use crate::canonical::{BUFFER, Canonical, Counted};

pub(super) const START: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"#;
pub(super) const HINT: &str = r#""publicKey":{"hint":""#;
pub(super) const HINT_END: &str = r#""}"#;
pub(super) const CHAIN: &str = r#""x509CertificateChain":{"certificates":["#;
pub(super) const CERTIFICATE: &str = r#"{"rawBytes":""#;
pub(super) const CHAIN_END: &str = "]}";
pub(super) const PAYLOAD: &str = r#","tlogEntries":[]},"dsseEnvelope":{"payload":""#;
pub(super) const SIGNATURE: &str = r#"","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":""#;
pub(super) const KEY_ID: &str = r#"","keyid":""#;
pub(super) const END: &str = r#""}]}}"#;

/// Space for the longest signature in base64: 139 bytes of DER for P-521, and a little more.
pub(super) const SIGNATURE_ROOM: usize = 192;

/// The parts of a seal. None of them is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub material: Material,
    /// `None` if the payload was passed on while the bundle was read, and not kept.
    pub payload: Option<Vec<u8>>,
    pub signature: Vec<u8>,
    /// Signed times of the signature (RFC 3161).
    pub timestamps: Vec<Vec<u8>>,
    pub form: Form,
}

/// Why bytes are not a seal that this version can check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    #[error("it is not valid JSON: {0}")]
    NotJson(String),
    #[error("it is not a Sigstore bundle: {0}")]
    NotABundle(String),
    #[error("it is a Sigstore bundle of a later version ({0}): a newer modelseal may be needed")]
    Version(String),
    #[error("it has {0} signatures; a bundle must have exactly one")]
    Signatures(usize),
    #[error("it is not in modelseal's canonical form")]
    NotCanonical,
}

impl Bundle {
    /// Verifies the signature with a key that the caller trusts.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        self.verify_over(self.payload.as_ref().ok_or(SignatureError::Wrong)?, key)
    }

    /// Verifies the signature over a payload that was passed on while the bundle was read.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_over(&self, payload: &impl Canonical, key: &PublicKey) -> Result<(), SignatureError> {
        match self.form {
            Form::Canonical => key.verify(payload, &self.signature),
            Form::Foreign => key.verify_foreign(payload, &self.signature),
        }
    }

    /// The payload, or nothing if it was not kept.
    pub fn payload(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or_default()
    }
}

/// A bundle in the form that modelseal writes. It is read as canonical if its signature is canonical.
pub struct SignedBundle<D> {
    payload: Counted<D>,
    /// In base64.
    signature: String,
    material: Material,
}

impl<D: Canonical> SignedBundle<D> {
    /// Signs a payload.
    ///
    /// # Errors
    /// [`KeyError`] for a key that cannot sign.
    #[cfg(feature = "signing")]
    pub fn sign(payload: Counted<D>, signer: &Signer) -> Result<Self, KeyError> {
        let signature = signer.sign(&payload)?;
        Ok(Self::new(payload, &signature, signer.material()))
    }

    /// A bundle of a payload with an existing signature.
    pub fn new(payload: Counted<D>, signature: &[u8], material: Material) -> Self {
        Self { payload, signature: STANDARD.encode(signature), material }
    }
}

impl<D: Canonical> Canonical for SignedBundle<D> {
    fn write_to(&self, output: &mut dyn Write) -> io::Result<()> {
        // The encoder writes a KiB at a time.
        let mut output = BufWriter::with_capacity(BUFFER, output);
        let (material, key_id) = text_of(&self.material);
        for part in [START, &material, PAYLOAD] {
            output.write_all(part.as_bytes())?;
        }
        {
            let mut encoder = EncoderWriter::new(&mut output, &STANDARD);
            self.payload.write_to(&mut encoder)?;
            encoder.finish()?;
        }
        for part in [SIGNATURE, &self.signature, KEY_ID, &key_id, END] {
            output.write_all(part.as_bytes())?;
        }
        let padding = SIGNATURE_ROOM.saturating_sub(self.signature.len());
        output.write_all(&[b' '; SIGNATURE_ROOM][..padding])?;
        output.flush()
    }

    fn length(&self) -> u64 {
        bundle_length(self.payload.length, &self.material)
    }
}

/// Length in bytes of a [`SignedBundle`] with a payload of `payload` bytes and this material. It is the same for every
/// signer.
pub fn bundle_length(payload: u64, material: &Material) -> u64 {
    let (material, key_id) = text_of(material);
    let fixed = [START, &material, PAYLOAD, SIGNATURE, KEY_ID, &key_id, END];
    let fixed: usize = fixed.iter().map(|part| part.len()).sum();
    payload.div_ceil(3) * 4 + (fixed + SIGNATURE_ROOM) as u64
}

/// The text that describes the signer of a bundle, and its `keyid`. modelseal never writes a bundle with another tool's
/// log entries.
pub(super) fn text_of(material: &Material) -> (String, String) {
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
