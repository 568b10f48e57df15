//! The Sigstore bundle around a model signature, as other tools write it: read leniently in its form, and
//! strictly as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Error;
use crate::manifest::PAYLOAD_TYPE;

/// The only kind of bundle that model signatures come in; the reference tool wrote it from its first release.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A bundle taken apart. Nothing in it is trusted.
#[derive(Debug)]
pub struct Bundle {
    pub material: Material,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

/// What a bundle offers for checking its signature.
#[derive(Debug)]
pub enum Material {
    /// A key, by the SHA-256 of its PEM text in hex; releases before 1.1 of the reference tool name none.
    Key { hint: Option<String> },
    /// The signer's certificate first, in DER, then those that lead to its root.
    Certificates(Vec<Vec<u8>>),
    /// A short-lived certificate, with entries of a transparency log.
    Sigstore,
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`Error::Bundle`].
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| Error::bundle(crate::text::Escaped(&error.to_string())))?;
        if wire.media_type != MEDIA_TYPE {
            return Err(Error::bundle(format!("its mediaType is {}", crate::text::name(&wire.media_type))));
        }
        let envelope = wire.dsse_envelope;
        if envelope.payload_type != PAYLOAD_TYPE {
            let found = crate::text::name(&envelope.payload_type);
            return Err(Error::bundle(format!("its payloadType is {found}")));
        }
        let [signature] = <[WireSignature; 1]>::try_from(envelope.signatures).map_err(|signatures| {
            Error::bundle(format!(
                "it has {} signatures; exactly one belongs into a bundle",
                signatures.len()
            ))
        })?;
        Ok(Self {
            material: wire.verification_material.read()?,
            payload: decode(&envelope.payload, "payload")?,
            signature: decode(&signature.sig, "signature")?,
        })
    }
}

/// The one spelling that the protocol buffers of all tools write: standard alphabet, padding, no white space.
fn decode(text: &str, what: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::bundle(format!("its {what} is not standard base64")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    media_type: String,
    verification_material: WireMaterial,
    dsse_envelope: WireEnvelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMaterial {
    public_key: Option<WireKey>,
    x509_certificate_chain: Option<WireChain>,
    certificate: Option<Box<RawValue>>,
    #[serde(default)]
    tlog_entries: Vec<Box<RawValue>>,
    timestamp_verification_data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireKey {
    hint: Option<String>,
    // What releases before 1.1 wrote instead. A key that comes with the signature proves nothing.
    #[expect(dead_code)]
    raw_bytes: Option<String>,
    #[expect(dead_code)]
    key_details: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireChain {
    certificates: Vec<WireCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    sig: String,
    // Only ever a hint.
    #[expect(dead_code)]
    #[serde(default)]
    keyid: Option<String>,
}

impl WireMaterial {
    fn read(self) -> Result<Material, Error> {
        let has_log = !self.tlog_entries.is_empty() || self.timestamp_verification_data.is_some();
        match (self.public_key, self.x509_certificate_chain, self.certificate) {
            (Some(key), None, None) if !has_log => {
                Ok(Material::Key { hint: key.hint.filter(|hint| !hint.is_empty()) })
            }
            (None, Some(chain), None) if !has_log => {
                let certificates = chain.certificates.iter();
                let certificates: Vec<Vec<u8>> = certificates
                    .map(|certificate| decode(&certificate.raw_bytes, "certificate"))
                    .collect::<Result<_, _>>()?;
                match certificates.is_empty() {
                    true => Err(Error::bundle("its chain has no certificate")),
                    false => Ok(Material::Certificates(certificates)),
                }
            }
            (None, None, Some(_)) => Ok(Material::Sigstore),
            (None, None, None) => Err(Error::bundle("it names neither a key nor a certificate")),
            _ => Err(Error::bundle(
                "it mixes a key, a certificate chain and log entries: one of them belongs into it",
            )),
        }
    }
}
